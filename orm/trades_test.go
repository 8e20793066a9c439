package orm_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/orm"
)

// trade is one of the book's user at kraken.
func (b *book) trade(id string) fulloncache.Trade {
	return fulloncache.Trade{
		Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, ExTradeID: id, ExOrderID: "O-1",
		UserID: b.user, ExchangeID: b.kraken, Type: "limit", Side: fulloncache.Sell,
		Volume: dec("0.5"), Price: dec("67000"), Cost: dec("33500"), Fee: dec("-0.25"), Time: noon,
	}
}

func (b *book) wantTrade(want fulloncache.Trade) {
	b.Helper()
	got := get(b.db.Trades.ByID(b.ctx, want.ID))(b)
	if !got.Equal(want) {
		b.Fatalf("stored is %+v,\nwant %+v", got, want)
	}
}

func TestTrades(t *testing.T) {
	books(t, func(b *book) {
		trades := b.db.Trades
		given := b.trade("it's")
		given.ID = 99
		want := get(trades.Add(b.ctx, given))(b)
		if want.ID == 0 || want.ID == 99 {
			b.Errorf("added %+v", want)
		}
		given.ID = want.ID
		if !want.Equal(given) {
			b.Errorf("added %+v, want %+v", want, given)
		}
		b.wantTrade(want)
		_, err := trades.Add(b.ctx, given)
		b.fails(err, fulloncache.ErrDuplicate, "it's")
		// The other side of a trade with oneself has its id.
		other := given
		other.ExOrderID, other.Side = "", fulloncache.Buy
		other = get(trades.Add(b.ctx, other))(b)
		if got := get(trades.ByExTradeID(b.ctx, "it's", ""))(b); !got.Equal(other) {
			b.Errorf("got %+v", got)
		}
		b.must(trades.Delete(b.ctx, want.ID))
		b.fails(trades.Delete(b.ctx, want.ID), fulloncache.ErrNotFound)
		_, err = trades.ByID(b.ctx, want.ID)
		b.fails(err, fulloncache.ErrNotFound)
		_, err = trades.ByExTradeID(b.ctx, "it's", "O-1")
		b.fails(err, fulloncache.ErrNotFound, "it's")
		b.wantTrade(other)
	})
}

func TestTradesInBulk(t *testing.T) {
	books(t, func(b *book) {
		const many = 10_000
		var trades []fulloncache.Trade
		for i := range many {
			trades = append(trades, b.trade(fmt.Sprintf("t%05d", i)))
		}
		add := func(trades []fulloncache.Trade, want int) {
			b.Helper()
			start := time.Now()
			if n := get(b.db.Trades.AddAll(b.ctx, trades))(b); n != want {
				b.Errorf("%d of %d were new, want %d", n, len(trades), want)
			}
			b.Logf("%d trades, %d of them new: %s", len(trades), want, time.Since(start).Round(time.Millisecond))
		}
		add(trades[:many/2], many/2)
		slices.Reverse(trades)
		add(trades, many/2)
		add(trades, 0)
		add(nil, 0)
		fresh := b.trade("new")
		add([]fulloncache.Trade{fresh, trades[7], fresh}, 1)
		// What is stored stays as it is.
		fresh.Price = dec("1")
		add([]fulloncache.Trade{fresh}, 0)
		if got := get(b.db.Trades.ByExTradeID(b.ctx, "new", "O-1"))(b); !got.Price.Equal(dec("67000")) {
			b.Errorf("got %+v", got)
		}
		if n := b.insert("SELECT count(*) FROM trades"); n != many+1 {
			b.Errorf("%d rows", n)
		}
	})
}

func TestTradesRefuse(t *testing.T) {
	books(t, func(b *book) {
		trades := b.db.Trades
		want := get(trades.Add(b.ctx, b.trade("good")))(b)
		for _, c := range []struct {
			name   string
			change func(*fulloncache.Trade)
			want   error
			words  string
		}{
			{"no id", func(t *fulloncache.Trade) { t.ExTradeID = "" }, fulloncache.ErrInvalid, "ex_trade_id"},
			{"a long id", func(t *fulloncache.Trade) { t.ExTradeID = strings.Repeat("x", 65) }, fulloncache.ErrInvalid, "ex_trade_id"},
			{"a null byte", func(t *fulloncache.Trade) { t.ExOrderID = "\x00" }, fulloncache.ErrInvalid, "ex_order_id"},
			{"a negative user", func(t *fulloncache.Trade) { t.UserID = -1 }, fulloncache.ErrInvalid, "uid"},
			{"a long symbol", func(t *fulloncache.Trade) { t.Symbol = strings.Repeat("x", 10_000) }, fulloncache.ErrInvalid, "symbol"},
			{"a side", func(t *fulloncache.Trade) { t.Side = "Buy!" }, fulloncache.ErrInvalid, "side"},
			{"a negative volume", func(t *fulloncache.Trade) { t.Volume = dec("-1") }, fulloncache.ErrInvalid, "volume"},
			{"no price", func(t *fulloncache.Trade) { t.Price = dec("0") }, fulloncache.ErrInvalid, "price"},
			{"no time", func(t *fulloncache.Trade) { t.Time = time.Time{} }, fulloncache.ErrInvalid, "time"},
			{"no account", func(t *fulloncache.Trade) { t.ExchangeID = 0 }, fulloncache.ErrForeignKey, "account 0"},
			{"an account", func(t *fulloncache.Trade) { t.ExchangeID = 987654 }, fulloncache.ErrForeignKey, "account 987654"},
			{"an exchange", func(t *fulloncache.Trade) { t.Exchange = "binance" }, fulloncache.ErrInvalid, "kraken, not binance"},
		} {
			trade := b.trade("bad")
			c.change(&trade)
			_, err := trades.Add(b.ctx, trade)
			b.fails(err, c.want, c.words)
			_, err = trades.AddAll(b.ctx, []fulloncache.Trade{b.trade("fine"), trade})
			b.fails(err, c.want, c.words)
		}
		// Ids of another account's trade: it would be lost without a word.
		stranger := b.trade("good")
		stranger.Exchange, stranger.ExchangeID = "binance", b.binance
		for _, batch := range [][]fulloncache.Trade{{b.trade("fine"), stranger}, {stranger, b.trade("good")}} {
			_, err := trades.AddAll(b.ctx, batch)
			b.fails(err, fulloncache.ErrDuplicate, "good", fmt.Sprint(b.kraken), fmt.Sprint(b.binance))
		}
		for _, s := range strange {
			_, err := trades.ByExTradeID(b.ctx, s, "O-1")
			b.fails(err, fulloncache.ErrNotFound)
			_, err = trades.ByExTradeID(b.ctx, "good", s)
			b.fails(err, fulloncache.ErrNotFound)
			if s == "" {
				continue
			}
			for _, f := range []orm.TradeFilter{{Exchange: s}, {Symbol: s}, {ExOrderID: s}} {
				_, err = trades.Last(b.ctx, f)
				b.fails(err, fulloncache.ErrNotFound)
			}
		}
		for _, id := range []int64{0, -1, 987654} {
			_, err := trades.ByID(b.ctx, id)
			b.fails(err, fulloncache.ErrNotFound)
			_, err = trades.UpdatePosition(b.ctx, id, orm.Position{ROI: some("1")})
			b.fails(err, fulloncache.ErrNotFound)
			b.fails(trades.Delete(b.ctx, id), fulloncache.ErrNotFound)
		}
		_, err := trades.List(b.ctx, orm.TradeFilter{Limit: -1})
		b.fails(err, fulloncache.ErrInvalid, "limit")
		b.wantTrade(want)
		if n := b.insert("SELECT count(*) FROM trades"); n != 1 {
			b.Errorf("%d rows", n)
		}
	})
}

func TestTradePosition(t *testing.T) {
	books(t, func(b *book) {
		want := get(b.db.Trades.Add(b.ctx, b.trade("a")))(b)
		update := func(p orm.Position) {
			b.Helper()
			if got := get(b.db.Trades.UpdatePosition(b.ctx, want.ID, p))(b); !got.Equal(want) {
				b.Errorf("returned %+v, want %+v", got, want)
			}
			b.wantTrade(want)
		}
		if all := get(b.db.Trades.List(b.ctx, orm.TradeFilter{Uncalculated: true}))(b); len(all) != 1 {
			b.Errorf("uncalculated: %+v", all)
		}
		want.CurVolume, want.CurAvgPrice, want.CurAvgCost, want.CurFee = some("-1.5"), some("67000.1"), some("0"), some("0.0000000000000000001")
		update(orm.Position{CurVolume: want.CurVolume, CurAvgPrice: want.CurAvgPrice, CurAvgCost: want.CurAvgCost, CurFee: want.CurFee})
		want.ROI, want.ROIPct, want.TotalFee = some("-12345678901234567890"), some("3.5"), some("1")
		update(orm.Position{ROI: want.ROI, ROIPct: want.ROIPct, TotalFee: want.TotalFee})
		update(orm.Position{})
		want.CurVolume = some("2")
		update(orm.Position{CurVolume: want.CurVolume})
		if all := get(b.db.Trades.List(b.ctx, orm.TradeFilter{Uncalculated: true}))(b); len(all) != 0 {
			b.Errorf("uncalculated: %+v", all)
		}
	})
}

func TestTradesByFilterInPages(t *testing.T) {
	books(t, func(b *book) {
		for i, change := range []func(*fulloncache.Trade){
			func(*fulloncache.Trade) {},
			func(t *fulloncache.Trade) { t.Exchange, t.ExchangeID = "binance", b.binance },
			func(t *fulloncache.Trade) { t.Symbol = "ETH/USD" },
			func(t *fulloncache.Trade) { t.UserID = b.other },
			func(t *fulloncache.Trade) { t.ExOrderID = "O-2" },
		} {
			trade := b.trade(fmt.Sprint(5 - i))
			trade.Time = noon.Add(time.Duration(i/2) * 100)
			change(&trade)
			get(b.db.Trades.Add(b.ctx, trade))(b)
		}
		ids := func(trades []fulloncache.Trade) (ids string) {
			for _, t := range trades {
				ids += t.ExTradeID
			}
			return ids
		}
		for _, c := range []struct {
			filter orm.TradeFilter
			want   string
		}{
			{orm.TradeFilter{}, "54321"},
			{orm.TradeFilter{UserID: b.user}, "5431"},
			{orm.TradeFilter{ExchangeID: b.kraken}, "5321"},
			{orm.TradeFilter{Exchange: "binance"}, "4"},
			{orm.TradeFilter{Exchange: "bitso"}, ""},
			{orm.TradeFilter{Symbol: "ETH/USD", UserID: b.user}, "3"},
			{orm.TradeFilter{ExOrderID: "O-2"}, "1"},
			{orm.TradeFilter{From: noon.Add(1), To: noon.Add(200)}, "32"},
			{orm.TradeFilter{From: noon.Add(1), To: noon.Add(201)}, "321"},
		} {
			for _, newest := range []bool{false, true} {
				f := c.filter
				f.Newest, f.Limit = newest, 2
				got := ""
				for {
					page := get(b.db.Trades.List(b.ctx, f))(b)
					if len(page) == 0 {
						break
					}
					got += ids(page)
					last := page[len(page)-1]
					f.After = orm.Cursor{Time: last.Time, ID: last.ID}
				}
				want := []byte(c.want)
				if newest {
					slices.Reverse(want)
				}
				if got != string(want) {
					b.Errorf("%+v: got %s, want %s", f, got, want)
				}
			}
			last, err := b.db.Trades.Last(b.ctx, c.filter)
			if c.want == "" {
				b.fails(err, fulloncache.ErrNotFound)
			} else if err != nil || last.ExTradeID != c.want[len(c.want)-1:] {
				b.Errorf("%+v: last is %+v, %v", c.filter, last, err)
			}
		}
	})
}

// Drains of the same queue at once store each trade once.
func TestTradesAddedAtOnce(t *testing.T) {
	books(t, func(b *book) {
		const writers, many = 4, 300
		var wg sync.WaitGroup
		added := make([]int, writers)
		for w := range writers {
			wg.Go(func() {
				var batch []fulloncache.Trade
				for i := range many {
					batch = append(batch, b.trade(fmt.Sprint("t", i)))
				}
				if w%2 == 1 {
					slices.Reverse(batch)
				}
				var err error
				if added[w], err = b.db.Trades.AddAll(b.ctx, batch); err != nil {
					b.Error(err)
				}
			})
		}
		wg.Wait()
		sum := 0
		for _, n := range added {
			sum += n
		}
		if n := b.insert("SELECT count(*) FROM trades"); n != many || sum != many {
			b.Errorf("%d rows, %d new", n, sum)
		}
	})
}

// Rows of programs of old: sides of their own, no position, and accounts that are
// gone.
func TestLegacyTrades(t *testing.T) {
	books(t, func(b *book) {
		row := func(id string, account int64) int64 {
			return b.insert(`INSERT INTO trades (ex_trade_id, ex_order_id, uid, ex_id, symbol, order_type, side, volume, price, cost, fee, roi, time)
				VALUES ($1, 'O', $2, $3, 'BTC/USD', 'market', 'Sell', 0.1, 67123.45, 6712.345, 0.00000001, NULL, $4) RETURNING trade_id`,
				id, b.user, account, b.stamp("2024-02-29T23:59:59"))
		}
		want := fulloncache.Trade{
			Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, ID: row("a", b.kraken), ExTradeID: "a", ExOrderID: "O",
			UserID: b.user, ExchangeID: b.kraken, Type: "market", Side: fulloncache.Sell,
			Volume: dec("0.1"), Price: dec("67123.45"), Cost: dec("6712.345"), Fee: dec("0.00000001"),
			Time: time.Date(2024, 2, 29, 23, 59, 59, 0, time.UTC),
		}
		b.wantTrade(want)
		want.ID, want.ExTradeID, want.ExchangeID, want.Exchange = row("b", 987654), "b", 987654, ""
		b.wantTrade(want)
		if got := get(b.db.Trades.Last(b.ctx, orm.TradeFilter{ExchangeID: 987654}))(b); !got.Equal(want) {
			b.Errorf("got %+v", got)
		}
	})
}

func TestTradesHeedTheContext(t *testing.T) {
	books(t, func(b *book) {
		trades, ctx := b.db.Trades, cancelled(b.ctx)
		want := get(trades.Add(b.ctx, b.trade("a")))(b)
		for name, call := range map[string]func() error{
			"Add":            func() error { _, err := trades.Add(ctx, b.trade("b")); return err },
			"AddAll":         func() error { _, err := trades.AddAll(ctx, []fulloncache.Trade{b.trade("b")}); return err },
			"ByID":           func() error { _, err := trades.ByID(ctx, want.ID); return err },
			"ByExTradeID":    func() error { _, err := trades.ByExTradeID(ctx, "a", "O-1"); return err },
			"List":           func() error { _, err := trades.List(ctx, orm.TradeFilter{}); return err },
			"Last":           func() error { _, err := trades.Last(ctx, orm.TradeFilter{}); return err },
			"UpdatePosition": func() error { _, err := trades.UpdatePosition(ctx, want.ID, orm.Position{}); return err },
			"Delete":         func() error { return trades.Delete(ctx, want.ID) },
		} {
			if err := call(); !errors.Is(err, context.Canceled) {
				b.Errorf("%s: %v", name, err)
			}
		}
		b.wantTrade(want)
	})
}

func TestAnyTrade(t *testing.T) {
	books(t, func(b *book) {
		rapid.Check(b.T, func(t *rapid.T) {
			number := maybe(signedDecimal)
			want := fulloncache.Trade{
				Market:    fulloncache.Market{Exchange: "kraken", Symbol: anyText(1, 20).Draw(t, "symbol")},
				ExTradeID: unique(t), ExOrderID: anyText(0, 20).Draw(t, "order"), UserID: b.user, ExchangeID: b.kraken,
				Type: anyText(0, 15).Draw(t, "type"), Side: rapid.SampledFrom([]fulloncache.Side{fulloncache.Buy, fulloncache.Sell}).Draw(t, "side"),
				Volume: positiveDecimal.Draw(t, "volume"), Price: positiveDecimal.Draw(t, "price"), Cost: anyDecimal.Draw(t, "cost"),
				Fee: signedDecimal.Draw(t, "fee"), CurVolume: number.Draw(t, "cur_volume"), CurAvgPrice: number.Draw(t, "cur_avg_price"),
				CurAvgCost: number.Draw(t, "cur_avg_cost"), CurFee: number.Draw(t, "cur_fee"), ROI: number.Draw(t, "roi"),
				ROIPct: number.Draw(t, "roi_pct"), TotalFee: number.Draw(t, "total_fee"), Leverage: number.Draw(t, "leverage"),
				Time: anyTime.Draw(t, "time"),
			}
			added, err := b.db.Trades.Add(b.ctx, want)
			if err != nil {
				t.Fatal(err)
			}
			want.ID = added.ID
			if !added.Equal(want) {
				t.Fatalf("got %+v,\nwant %+v", added, want)
			}
			page, err := b.db.Trades.List(b.ctx, orm.TradeFilter{From: want.Time, To: want.Time.Add(1), Symbol: want.Symbol})
			if err != nil || !slices.ContainsFunc(page, want.Equal) {
				t.Fatalf("listed %+v, %v", page, err)
			}
		})
	})
}
