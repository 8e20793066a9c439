package orm_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/orm"
)

func TestBots(t *testing.T) {
	books(t, func(b *book) {
		bots := b.db.Bots
		before := time.Now().Add(-time.Minute)
		added := get(bots.Add(b.ctx, fulloncache.Bot{ID: 99, UserID: b.user, Name: "it's", DryRun: true, Created: noon}))(b)
		if added.ID == 99 || added.Created.Before(before) || added.Created.After(time.Now().Add(time.Minute)) {
			b.Errorf("added %+v", added)
		}
		if want := (fulloncache.Bot{ID: added.ID, UserID: b.user, Name: "it's", DryRun: true, Created: added.Created}); !added.Equal(want) {
			b.Errorf("added %+v", added)
		}
		same := func(got fulloncache.Bot, err error) {
			b.Helper()
			b.must(err)
			if !got.Equal(added) {
				b.Errorf("got %+v, want %+v", got, added)
			}
		}
		same(bots.ByID(b.ctx, added.ID))
		same(bots.ByName(b.ctx, b.user, "it's"))

		added.Name, added.DryRun, added.Active = "its", false, true
		same(bots.Update(b.ctx, added))
		same(bots.ByID(b.ctx, added.ID))
		added.Active = false
		same(bots.SetActive(b.ctx, added.ID, false))
		same(bots.ByID(b.ctx, added.ID))

		_, err := bots.Update(b.ctx, fulloncache.Bot{ID: added.ID, UserID: b.other, Name: "mine"})
		b.fails(err, fulloncache.ErrNotFound)
		same(bots.ByID(b.ctx, added.ID))
		b.must(bots.Delete(b.ctx, added.ID))
		b.fails(bots.Delete(b.ctx, added.ID), fulloncache.ErrNotFound)
		_, err = bots.ByID(b.ctx, added.ID)
		b.fails(err, fulloncache.ErrNotFound)
	})
}

func TestBotsInPages(t *testing.T) {
	books(t, func(b *book) {
		var want []int64
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			bot := get(b.db.Bots.Add(b.ctx, fulloncache.Bot{UserID: b.user, Name: name, Active: name > "c"}))(b)
			want = append(want, bot.ID)
		}
		ids := func(f orm.BotFilter) (ids []int64) {
			b.Helper()
			for _, bot := range get(b.db.Bots.List(b.ctx, f))(b) {
				ids = append(ids, bot.ID)
			}
			return ids
		}
		for _, c := range []struct {
			filter orm.BotFilter
			want   []int64
		}{
			{orm.BotFilter{}, append([]int64{b.bot, b.botOfOther}, want...)},
			{orm.BotFilter{UserID: b.user}, append([]int64{b.bot}, want...)},
			{orm.BotFilter{UserID: b.user, Limit: 2}, []int64{b.bot, want[0]}},
			{orm.BotFilter{UserID: b.user, Limit: 2, After: want[0]}, want[1:3]},
			{orm.BotFilter{After: want[4]}, nil},
			{orm.BotFilter{Active: true}, want[3:]},
			{orm.BotFilter{UserID: b.user, Inactive: true}, append([]int64{b.bot}, want[:3]...)},
			{orm.BotFilter{Active: true, Inactive: true}, nil},
			{orm.BotFilter{UserID: -1}, nil},
		} {
			if got := ids(c.filter); !slices.Equal(got, c.want) {
				b.Errorf("%+v: got %v, want %v", c.filter, got, c.want)
			}
		}
		for _, limit := range []int{-1, orm.MaxLimit + 1} {
			_, err := b.db.Bots.List(b.ctx, orm.BotFilter{Limit: limit})
			b.fails(err, fulloncache.ErrInvalid, "limit")
		}
	})
}

func TestBotsRefuse(t *testing.T) {
	books(t, func(b *book) {
		bots := b.db.Bots
		for _, bot := range []fulloncache.Bot{
			{Name: "x"}, {UserID: -1, Name: "x"}, {ID: -1, UserID: b.user, Name: "x"}, {UserID: b.user},
			{UserID: b.user, Name: "a\x00b"}, {UserID: b.user, Name: strings.Repeat("x", 10_000)},
		} {
			_, err := bots.Add(b.ctx, bot)
			b.fails(err, fulloncache.ErrInvalid)
			_, err = bots.Update(b.ctx, bot)
			b.fails(err, fulloncache.ErrInvalid)
		}
		_, err := bots.Add(b.ctx, fulloncache.Bot{UserID: 987654, Name: "x"})
		b.fails(err, fulloncache.ErrForeignKey)
		// A second bot of the name is not what the name finds.
		get(bots.Add(b.ctx, fulloncache.Bot{UserID: b.user, Name: "trend"}))(b)
		if got := get(bots.ByName(b.ctx, b.user, "trend"))(b); got.ID != b.bot {
			b.Errorf("got %+v", got)
		}
		for _, id := range []int64{0, -1, 987654} {
			_, err = bots.ByID(b.ctx, id)
			b.fails(err, fulloncache.ErrNotFound)
			_, err = bots.SetActive(b.ctx, id, true)
			b.fails(err, fulloncache.ErrNotFound)
			b.fails(bots.Delete(b.ctx, id), fulloncache.ErrNotFound)
		}
		_, err = bots.ByName(b.ctx, b.other, "Trend")
		b.fails(err, fulloncache.ErrNotFound, "Trend")
		for _, name := range strange {
			_, err = bots.ByName(b.ctx, b.user, name)
			b.fails(err, fulloncache.ErrNotFound)
		}
	})
}

func TestBotsAccounts(t *testing.T) {
	books(t, func(b *book) {
		bots := b.db.Bots
		want := func(want ...int64) {
			b.Helper()
			if got := get(bots.ExchangesOf(b.ctx, b.bot))(b); !slices.Equal(got, want) {
				b.Errorf("got %v, want %v", got, want)
			}
		}
		want()
		b.must(bots.AddExchange(b.ctx, b.bot, b.binance))
		b.must(bots.AddExchange(b.ctx, b.bot, b.kraken))
		want(b.kraken, b.binance)
		b.fails(bots.AddExchange(b.ctx, b.bot, b.kraken), fulloncache.ErrDuplicate)
		b.fails(bots.AddExchange(b.ctx, b.bot, 987654), fulloncache.ErrForeignKey)
		b.fails(bots.AddExchange(b.ctx, 987654, b.kraken), fulloncache.ErrForeignKey)
		b.must(bots.RemoveExchange(b.ctx, b.bot, b.kraken))
		b.fails(bots.RemoveExchange(b.ctx, b.bot, b.kraken), fulloncache.ErrNotFound)
		want(b.binance)
	})
}

func TestStrategies(t *testing.T) {
	books(t, func(b *book) {
		bots := b.db.Bots
		want := fulloncache.Strategy{
			ID: 99, BotID: b.bot, Name: "momentum", TakeProfit: some("5"), Leverage: dec("1"), SizeCurrency: "USD",
			PreLoadBars: 100, Feeds: 2, Pairs: true, Params: map[string]string{"fast": "12", "slow": "26", "q": `'"`, "empty": ""},
		}
		got := get(bots.AddStrategy(b.ctx, want))(b)
		if got.ID == 99 || got.CatStrategyID == 0 {
			b.Errorf("added %+v", got)
		}
		want.ID, want.CatStrategyID = got.ID, got.CatStrategyID
		same := func(got fulloncache.Strategy, err error) {
			b.Helper()
			b.must(err)
			if !got.Equal(want) {
				b.Errorf("got %+v, want %+v", got, want)
			}
		}
		same(got, nil)

		// The kind is found by its name, or names itself.
		second := fulloncache.Strategy{BotID: b.bot, Name: "momentum", Leverage: dec("2")}
		second = get(bots.AddStrategy(b.ctx, second))(b)
		third := get(bots.AddStrategy(b.ctx, fulloncache.Strategy{BotID: b.bot, CatStrategyID: want.CatStrategyID, Leverage: dec("2.5")}))(b)
		if second.CatStrategyID != want.CatStrategyID || third.Name != "momentum" {
			b.Errorf("added %+v and %+v", second, third)
		}
		all := get(bots.Strategies(b.ctx, b.bot))(b)
		if !slices.EqualFunc(all, []fulloncache.Strategy{want, second, third}, fulloncache.Strategy.Equal) {
			b.Errorf("got %+v", all)
		}
		if none := get(bots.Strategies(b.ctx, b.botOfOther))(b); len(none) != 0 {
			b.Errorf("got %+v", none)
		}

		// Parameters are replaced, kinds changed.
		want.Params = map[string]string{"slow": "30"}
		want.TakeProfit, want.StopLoss, want.Pairs, want.Feeds = fulloncache.NullDecimal{}, some("2.5"), false, 1
		same(bots.UpdateStrategy(b.ctx, want))
		want.Params, want.Name, want.CatStrategyID = nil, "reversal", 0
		changed := get(bots.UpdateStrategy(b.ctx, want))(b)
		if changed.CatStrategyID == second.CatStrategyID {
			b.Errorf("changed to %+v", changed)
		}
		want.CatStrategyID = changed.CatStrategyID
		same(get(bots.Strategies(b.ctx, b.bot))(b)[0], nil)

		// Another bot's is none.
		stolen := want
		stolen.BotID = b.botOfOther
		_, err := bots.UpdateStrategy(b.ctx, stolen)
		b.fails(err, fulloncache.ErrNotFound)
		same(get(bots.Strategies(b.ctx, b.bot))(b)[0], nil)

		b.must(bots.DeleteStrategy(b.ctx, want.ID))
		b.fails(bots.DeleteStrategy(b.ctx, want.ID), fulloncache.ErrNotFound)
		b.must(bots.Delete(b.ctx, b.bot))
		if left := get(bots.Strategies(b.ctx, b.bot))(b); len(left) != 0 {
			b.Errorf("left are %+v", left)
		}
	})
}

func TestStrategiesRefuse(t *testing.T) {
	books(t, func(b *book) {
		bots := b.db.Bots
		good := get(bots.AddStrategy(b.ctx, fulloncache.Strategy{BotID: b.bot, Name: "good", Leverage: dec("1"), Params: map[string]string{"a": "1"}}))(b)
		for _, c := range []struct {
			change func(*fulloncache.Strategy)
			want   error
		}{
			{func(s *fulloncache.Strategy) { s.BotID = 0 }, fulloncache.ErrInvalid},
			{func(s *fulloncache.Strategy) { s.Leverage = dec("0") }, fulloncache.ErrInvalid},
			{func(s *fulloncache.Strategy) { s.Name, s.CatStrategyID = "", 0 }, fulloncache.ErrInvalid},
			{func(s *fulloncache.Strategy) { s.Name = ""; s.StopLoss = some("-1") }, fulloncache.ErrInvalid},
			{func(s *fulloncache.Strategy) { s.Name = "bad" }, fulloncache.ErrInvalid},
			{func(s *fulloncache.Strategy) { s.Params = map[string]string{"": "x"} }, fulloncache.ErrInvalid},
			{func(s *fulloncache.Strategy) { s.CatStrategyID = 987654 }, fulloncache.ErrForeignKey},
			{func(s *fulloncache.Strategy) { s.CatStrategyID = -1 }, fulloncache.ErrForeignKey},
		} {
			s := good
			c.change(&s)
			_, err := bots.UpdateStrategy(b.ctx, s)
			b.fails(err, c.want)
			_, err = bots.AddStrategy(b.ctx, s)
			b.fails(err, c.want)
		}
		// Nothing of what fails is left, not even the kind.
		orphan := fulloncache.Strategy{BotID: 987654, Name: "orphan", Leverage: dec("1")}
		_, err := bots.AddStrategy(b.ctx, orphan)
		b.fails(err, fulloncache.ErrForeignKey)
		if n := b.insert("SELECT count(*) FROM cat_strategies"); n != 1 {
			b.Errorf("%d kinds", n)
		}
		if all := get(bots.Strategies(b.ctx, b.bot))(b); len(all) != 1 || !all[0].Equal(good) {
			b.Errorf("got %+v", all)
		}
	})
}

func TestFeeds(t *testing.T) {
	books(t, func(b *book) {
		bots := b.db.Bots
		s := get(bots.AddStrategy(b.ctx, fulloncache.Strategy{BotID: b.bot, Name: "kind", Leverage: dec("1")}))(b)
		second := get(bots.AddFeed(b.ctx, fulloncache.Feed{ID: 99, StrategyID: s.ID, SymbolID: b.btc, Period: "Days", Compression: 1, Order: 1}))(b)
		first := get(bots.AddFeed(b.ctx, fulloncache.Feed{StrategyID: s.ID, SymbolID: b.eth, Period: "Minutes", Compression: 10}))(b)
		want := func(want ...fulloncache.Feed) {
			b.Helper()
			if got := get(bots.Feeds(b.ctx, s.ID))(b); !slices.Equal(got, want) {
				b.Errorf("got %+v, want %+v", got, want)
			}
		}
		want(first, second)
		first.Order, first.Period, first.Compression, first.SymbolID = 2, "Ticks", 3, b.btc
		if got := get(bots.UpdateFeed(b.ctx, first))(b); got != first {
			b.Errorf("got %+v, want %+v", got, first)
		}
		want(second, first)

		bad := first
		bad.SymbolID = 987654
		_, err := bots.UpdateFeed(b.ctx, bad)
		b.fails(err, fulloncache.ErrForeignKey)
		_, err = bots.AddFeed(b.ctx, bad)
		b.fails(err, fulloncache.ErrForeignKey)
		bad.Compression = 0
		_, err = bots.UpdateFeed(b.ctx, bad)
		b.fails(err, fulloncache.ErrInvalid)
		_, err = bots.AddFeed(b.ctx, bad)
		b.fails(err, fulloncache.ErrInvalid)
		bad = first
		bad.StrategyID = 987654
		_, err = bots.UpdateFeed(b.ctx, bad)
		b.fails(err, fulloncache.ErrNotFound)
		want(second, first)

		b.must(bots.DeleteFeed(b.ctx, second.ID))
		b.fails(bots.DeleteFeed(b.ctx, second.ID), fulloncache.ErrNotFound)
		want(first)
		b.must(bots.DeleteStrategy(b.ctx, s.ID))
		want()
	})
}

func TestBotsHeedTheContext(t *testing.T) {
	books(t, func(b *book) {
		bots, ctx := b.db.Bots, cancelled(b.ctx)
		bot := fulloncache.Bot{ID: b.bot, UserID: b.user, Name: "x"}
		strategy := fulloncache.Strategy{ID: 1, BotID: b.bot, Name: "x", Leverage: dec("1")}
		feed := fulloncache.Feed{ID: 1, StrategyID: 1, SymbolID: b.btc, Period: "Days", Compression: 1}
		for name, call := range map[string]func() error{
			"ByID":           func() error { _, err := bots.ByID(ctx, b.bot); return err },
			"ByName":         func() error { _, err := bots.ByName(ctx, b.user, "trend"); return err },
			"List":           func() error { _, err := bots.List(ctx, orm.BotFilter{}); return err },
			"Add":            func() error { _, err := bots.Add(ctx, bot); return err },
			"Update":         func() error { _, err := bots.Update(ctx, bot); return err },
			"SetActive":      func() error { _, err := bots.SetActive(ctx, b.bot, true); return err },
			"Delete":         func() error { return bots.Delete(ctx, b.bot) },
			"ExchangesOf":    func() error { _, err := bots.ExchangesOf(ctx, b.bot); return err },
			"AddExchange":    func() error { return bots.AddExchange(ctx, b.bot, b.kraken) },
			"RemoveExchange": func() error { return bots.RemoveExchange(ctx, b.bot, b.kraken) },
			"Strategies":     func() error { _, err := bots.Strategies(ctx, b.bot); return err },
			"AddStrategy":    func() error { _, err := bots.AddStrategy(ctx, strategy); return err },
			"UpdateStrategy": func() error { _, err := bots.UpdateStrategy(ctx, strategy); return err },
			"DeleteStrategy": func() error { return bots.DeleteStrategy(ctx, 1) },
			"Feeds":          func() error { _, err := bots.Feeds(ctx, 1); return err },
			"AddFeed":        func() error { _, err := bots.AddFeed(ctx, feed); return err },
			"UpdateFeed":     func() error { _, err := bots.UpdateFeed(ctx, feed); return err },
			"DeleteFeed":     func() error { return bots.DeleteFeed(ctx, 1) },
		} {
			if err := call(); !errors.Is(err, context.Canceled) {
				b.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestAnyBot(t *testing.T) {
	books(t, func(b *book) {
		rapid.Check(b.T, func(t *rapid.T) {
			want := fulloncache.Bot{
				UserID: rapid.SampledFrom([]int64{b.user, b.other}).Draw(t, "user"), Name: unique(t),
				DryRun: rapid.Bool().Draw(t, "dry"), Active: rapid.Bool().Draw(t, "active"),
			}
			added, err := b.db.Bots.Add(b.ctx, want)
			if err != nil {
				t.Fatal(err)
			}
			want.ID, want.Created = added.ID, added.Created
			got, err := b.db.Bots.ByName(b.ctx, want.UserID, want.Name)
			if err != nil || !got.Equal(want) || !added.Equal(want) {
				t.Fatalf("got %+v, %v, want %+v", got, err, want)
			}
		})
	})
}

func TestAnyStrategyAndFeed(t *testing.T) {
	books(t, func(b *book) {
		small := rapid.IntRange(0, 32767)
		rapid.Check(b.T, func(t *rapid.T) {
			maybe := maybe(anyDecimal)
			want := fulloncache.Strategy{
				BotID: b.bot, Name: anyText(1, 4).Draw(t, "kind"),
				TakeProfit: maybe.Draw(t, "take profit"), StopLoss: maybe.Draw(t, "stop loss"), TrailingStop: maybe.Draw(t, "trailing stop"),
				Timeout: maybe.Draw(t, "timeout"), Leverage: positiveDecimal.Draw(t, "leverage"),
				SizePct: maybe.Draw(t, "size %"), Size: maybe.Draw(t, "size"), SizeCurrency: anyText(0, 5).Draw(t, "currency"),
				PreLoadBars: small.Draw(t, "bars"), Feeds: small.Draw(t, "feeds"), Pairs: rapid.Bool().Draw(t, "pairs"),
				Params: rapid.MapOfN(anyText(1, 20), anyText(0, 50), 0, 3).Draw(t, "params"),
			}
			added, err := b.db.Bots.AddStrategy(b.ctx, want)
			if err != nil {
				t.Fatal(err)
			}
			want.ID, want.CatStrategyID = added.ID, added.CatStrategyID
			if !added.Equal(want) {
				t.Fatalf("got %+v, want %+v", added, want)
			}
			feed := fulloncache.Feed{
				StrategyID: added.ID, SymbolID: b.btc, Period: anyText(1, 10).Draw(t, "period"),
				Compression: rapid.IntRange(1, 32767).Draw(t, "compression"), Order: small.Draw(t, "order"),
			}
			fed, err := b.db.Bots.AddFeed(b.ctx, feed)
			if err != nil {
				t.Fatal(err)
			}
			feed.ID = fed.ID
			feeds, err := b.db.Bots.Feeds(b.ctx, added.ID)
			if err != nil || !slices.Equal(feeds, []fulloncache.Feed{feed}) {
				t.Fatalf("got %+v, %v, want %+v", feeds, err, feed)
			}
		})
	})
}
