package fulloncache_test

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

var (
	desk  = fulloncache.Account{UserID: 123, Exchange: "kraken"}
	desk2 = fulloncache.Account{UserID: 123, Exchange: "bitmex"}
	other = fulloncache.Account{UserID: 7, Exchange: "kraken"}
)

const (
	btcUSD = "BTC/USD"
	ethUSD = "ETH/USD"
)

// fillOf is a fill of desk in BTC/USD, n milliseconds after t0, whose id is n.
func fillOf(n int, side fulloncache.Side, volume, price string) fulloncache.Trade {
	return fulloncache.Trade{
		Market: btc, UserID: desk.UserID, ExTradeID: fmt.Sprint(n), Side: side, Volume: dec(volume), Price: dec(price), Time: at(n),
	}
}

// of makes a fill one of an account and a symbol.
func of(a fulloncache.Account, symbol string, t fulloncache.Trade) fulloncache.Trade {
	t.UserID, t.Exchange, t.Symbol = a.UserID, a.Exchange, symbol
	return t
}

// positionOf is a position of desk in BTC/USD, n milliseconds after t0.
func positionOf(n int, side fulloncache.PositionSide, volume, price string) fulloncache.Position {
	p := fulloncache.Position{Account: desk, Symbol: btcUSD, Side: side, Volume: dec(volume), AvgPrice: dec(price), Time: at(n)}
	if side != fulloncache.Flat {
		t := fillOf(0, fulloncache.Buy, volume, price)
		p.Cost = dec(fmt.Sprint(t.Volume.Float64() * t.Price.Float64())) // small whole numbers
	}
	return p
}

func in(a fulloncache.Account, symbol string, p fulloncache.Position) fulloncache.Position {
	p.Account, p.Symbol = a, symbol
	return p
}

func earned(profit, fees string, p fulloncache.Position) fulloncache.Position {
	p.RealisedProfit, p.Fees = dec(profit), dec(fees)
	return p
}

func wantPosition(t testing.TB, got fulloncache.Position, err error, want fulloncache.Position) fulloncache.Position {
	t.Helper()
	if err != nil || !got.Equal(want) {
		t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
	}
	if got.Rev <= 0 {
		t.Fatalf("%+v has no revision", got)
	}
	return got
}

// stored checks that a position is stored so.
func stored(s *suite, c *fulloncache.Client, want fulloncache.Position) fulloncache.Position {
	s.Helper()
	got, err := c.Accounts.Position(s.ctx, want.Account, want.Symbol)
	return wantPosition(s, got, err, want)
}

func wantPositions(t testing.TB, list iter.Seq2[fulloncache.Position, error], want ...fulloncache.Position) {
	t.Helper()
	var got []fulloncache.Position
	for p, err := range list {
		must(t, err)
		got = append(got, p)
	}
	if !slices.EqualFunc(got, want, fulloncache.Position.Equal) {
		t.Fatalf("got %+v\nwant %+v", got, want)
	}
}

func TestApplyTrade(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		second := s.open()
		_, err := c.Accounts.Position(s.ctx, desk, btcUSD)
		wantErr(s, err, fulloncache.ErrNotFound, "user 123 at kraken", "BTC/USD", "unknown")
		rev := int64(0)
		for n, step := range []struct {
			side          fulloncache.Side
			volume, price string
			want          fulloncache.Position
		}{
			{fulloncache.Buy, "2", "100", positionOf(0, fulloncache.Long, "2", "100")},
			{fulloncache.Buy, "2", "110", positionOf(1, fulloncache.Long, "4", "105")},
			{fulloncache.Sell, "1", "115", earned("10", "0", positionOf(2, fulloncache.Long, "3", "105"))},
			{fulloncache.Sell, "3", "100", earned("-5", "0", positionOf(3, fulloncache.Flat, "0", "0"))},
			{fulloncache.Sell, "2", "100", earned("-5", "0", positionOf(4, fulloncache.Short, "2", "100"))},
			{fulloncache.Buy, "5", "90", earned("15", "0", positionOf(5, fulloncache.Long, "3", "90"))},
		} {
			fill := fillOf(n, step.side, step.volume, step.price)
			fill.Fee = dec("0.1")
			step.want.Fees = dec(fmt.Sprintf("0.%d", n+1))
			// Two processes by turns, and each fill again by the other one.
			one, two := c, second
			if n%2 == 1 {
				one, two = two, one
			}
			got, err := one.Accounts.ApplyTrade(s.ctx, fill)
			now := wantPosition(s, got, err, step.want)
			if now.Rev <= rev {
				s.Fatalf("revision %d after %d", now.Rev, rev)
			}
			rev = now.Rev
			got, err = two.Accounts.ApplyTrade(s.ctx, fill)
			if again := wantPosition(s, got, err, step.want); again.Rev != rev {
				s.Fatalf("revision %d was changed to %d", rev, again.Rev)
			}
			if p := stored(s, two, step.want); p.Rev != rev {
				s.Fatalf("stored revision %d, want %d", p.Rev, rev)
			}
		}
		// A late fill counts; the time is that of the newest.
		late := fillOf(100, fulloncache.Sell, "1", "90")
		late.Time = at(-50)
		got, err := second.Accounts.ApplyTrade(s.ctx, late)
		wantPosition(s, got, err, earned("15", "0.6", positionOf(5, fulloncache.Long, "2", "90")))
		// Others have positions of their own.
		for _, a := range []fulloncache.Account{desk2, other} {
			got, err = c.Accounts.ApplyTrade(s.ctx, of(a, btcUSD, fillOf(0, fulloncache.Sell, "1", "7")))
			wantPosition(s, got, err, in(a, btcUSD, positionOf(0, fulloncache.Short, "1", "7")))
		}
		got, err = c.Accounts.ApplyTrade(s.ctx, of(desk, "BTCUSD", fillOf(0, fulloncache.Sell, "1", "7"))) // meets BTC/USD in keys
		wantPosition(s, got, err, in(desk, "BTCUSD", positionOf(0, fulloncache.Short, "1", "7")))
		stored(s, c, earned("15", "0.6", positionOf(5, fulloncache.Long, "2", "90")))
		wantPositions(s, second.Accounts.AllPositions(s.ctx),
			in(other, btcUSD, positionOf(0, fulloncache.Short, "1", "7")),
			in(desk2, btcUSD, positionOf(0, fulloncache.Short, "1", "7")),
			earned("15", "0.6", positionOf(5, fulloncache.Long, "2", "90")),
			in(desk, "BTCUSD", positionOf(0, fulloncache.Short, "1", "7")))
	})
}

// A position that is gone without a word takes its fills with it: they count again,
// each once.
func TestApplyTradeWherePositionIsGone(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		one, two := fillOf(1, fulloncache.Buy, "1", "100"), fillOf(2, fulloncache.Buy, "1", "100")
		for _, fill := range []fulloncache.Trade{one, two} {
			_, err := c.Accounts.ApplyTrade(s.ctx, fill)
			must(s, err)
		}
		s.do("HDEL", s.userKey("positions", ":kraken"), "BTC/USD")
		for range 2 {
			got, err := c.Accounts.ApplyTrade(s.ctx, two)
			wantPosition(s, got, err, positionOf(2, fulloncache.Long, "1", "100"))
		}
		for range 2 {
			got, err := c.Accounts.ApplyTrade(s.ctx, one)
			wantPosition(s, got, err, positionOf(2, fulloncache.Long, "2", "100"))
		}
	})
}

// Nor does a position that is told anew have the fills of one that is gone.
func TestUpsertPositionWhereItIsGone(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		fill := fillOf(2, fulloncache.Buy, "1", "100")
		_, err := c.Accounts.ApplyTrade(s.ctx, fill)
		must(s, err)
		s.do("HDEL", s.userKey("positions", ":kraken"), "BTC/USD")
		must(s, c.Accounts.UpsertPosition(s.ctx, positionOf(1, fulloncache.Long, "1", "100")))
		for range 2 {
			got, err := c.Accounts.ApplyTrade(s.ctx, fill)
			wantPosition(s, got, err, positionOf(2, fulloncache.Long, "2", "100"))
		}
	})
}

func TestApplyTradesOfManyPositions(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		var trades []fulloncache.Trade
		const symbols, each = 3, 700
		for n := range each {
			for k := range symbols {
				trades = append(trades, of(desk, fmt.Sprintf("S%d", k), fillOf(n, fulloncache.Buy, "1", "2")))
			}
			trades = append(trades, of(other, btcUSD, fillOf(n, fulloncache.Sell, "1", "2")))
		}
		trades = append(trades, trades[0], trades[1], trades[len(trades)-1]) // in one call with themselves, too
		applied, err := c.Accounts.ApplyTrades(s.ctx, trades)
		must(s, err)
		if want := (fulloncache.Applied{Applied: (symbols + 1) * each, Duplicates: 3}); applied != want {
			s.Fatalf("%+v, want %+v", applied, want)
		}
		applied, err = s.open().Accounts.ApplyTrades(s.ctx, trades)
		if want := (fulloncache.Applied{Duplicates: len(trades)}); err != nil || applied != want {
			s.Fatalf("again: %+v, %v, want %+v", applied, err, want)
		}
		for k := range symbols {
			stored(s, c, in(desk, fmt.Sprintf("S%d", k), positionOf(each-1, fulloncache.Long, fmt.Sprint(each), "2")))
		}
		stored(s, c, in(other, btcUSD, positionOf(each-1, fulloncache.Short, fmt.Sprint(each), "2")))
		applied, err = c.Accounts.ApplyTrades(s.ctx, nil)
		if err != nil || applied != (fulloncache.Applied{}) {
			s.Fatalf("nothing: %+v, %v", applied, err)
		}
	})
}

// Each invalid fill is named by element and field, and the others count.
func TestApplyTradesRefusesInput(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		good := fillOf(0, fulloncache.Buy, "1", "100")
		bad := []struct {
			field string
			edit  func(*fulloncache.Trade)
		}{
			{"ex_trade_id", func(t *fulloncache.Trade) { t.ExTradeID = "" }},
			{"side", func(t *fulloncache.Trade) { t.Side = "" }},
			{"side", func(t *fulloncache.Trade) { t.Side = "long" }},
			{"volume", func(t *fulloncache.Trade) { t.Volume = fulloncache.Decimal{} }},
			{"volume", func(t *fulloncache.Trade) { t.Volume = dec("-1") }},
			{"price", func(t *fulloncache.Trade) { t.Price = fulloncache.Decimal{} }},
			{"cost", func(t *fulloncache.Trade) { t.Cost = dec("-1") }},
			{"uid", func(t *fulloncache.Trade) { t.UserID = 0 }},
			{"uid", func(t *fulloncache.Trade) { t.UserID = -1 }},
			{"exchange", func(t *fulloncache.Trade) { t.Exchange = "" }},
			{"symbol", func(t *fulloncache.Trade) { t.Symbol = "" }},
			{"symbol", func(t *fulloncache.Trade) { t.Symbol = "\xff" }},
			{"time", func(t *fulloncache.Trade) { t.Time = time.Time{} }},
			{"time", func(t *fulloncache.Trade) { t.Time = time.Now().Add(time.Hour) }},
			{"volume", func(t *fulloncache.Trade) {
				t.Volume = dec("99999999999999999999999999999999999999")
				t.Cost = dec("1")
			}},
		}
		trades := []fulloncache.Trade{good}
		for i, b := range bad {
			trade := fillOf(i+1, fulloncache.Buy, "1", "100")
			b.edit(&trade)
			trades = append(trades, trade)
			_, err := c.Accounts.ApplyTrade(s.ctx, trade)
			if i < len(bad)-1 {
				wantErr(s, err, fulloncache.ErrInvalid, b.field)
			}
		}
		must(s, c.Accounts.DeletePosition(s.ctx, desk, btcUSD)) // the last one alone does fit
		trades = append(trades, fillOf(50, fulloncache.Buy, "1", "100"))
		applied, err := c.Accounts.ApplyTrades(s.ctx, trades)
		wantErr(s, err, fulloncache.ErrInvalid)
		var batch *fulloncache.BatchError
		if !errors.As(err, &batch) || len(batch.Errs) != len(trades) || applied.Applied != 2 {
			s.Fatalf("%+v, %v", applied, err)
		}
		for i, err := range batch.Errs {
			if i == 0 || i == len(trades)-1 {
				must(s, err)
				continue
			}
			wantErr(s, err, fulloncache.ErrInvalid, bad[i-1].field)
			if early := i < len(bad)-1; early { // before anything is sent
				wantErr(s, err, fulloncache.ErrInvalid, fmt.Sprintf("element %d: ", i))
			}
			if id := trades[i].ExTradeID; id != "" && bad[i-1].field != "exchange" && bad[i-1].field != "symbol" && !strings.Contains(err.Error(), " "+id) {
				s.Errorf("%v does not name the fill %s", err, id)
			}
		}
		stored(s, c, positionOf(50, fulloncache.Long, "2", "100"))
	})
}

// Both sides of a trade between two orders of one user have the same id, and both
// count, each once.
func TestFillsOfBothSidesCount(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		buy, sell := fillOf(7, fulloncache.Buy, "1", "100"), fillOf(7, fulloncache.Sell, "1", "100")
		buy.Fee, sell.Fee = dec("0.5"), dec("0.25")
		want := earned("0", "0.75", positionOf(7, fulloncache.Flat, "0", "0"))
		for _, fill := range []fulloncache.Trade{buy, sell} {
			_, err := c.Accounts.ApplyTrade(s.ctx, fill)
			must(s, err)
		}
		stored(s, c, want)
		applied, err := s.open().Accounts.ApplyTrades(s.ctx, []fulloncache.Trade{sell, buy, sell})
		if err != nil || applied != (fulloncache.Applied{Duplicates: 3}) {
			s.Fatalf("%+v, %v", applied, err)
		}
		stored(s, c, want)
		applied, err = c.Accounts.ApplyTrades(s.ctx, []fulloncache.Trade{of(desk, ethUSD, buy), of(desk, ethUSD, sell), of(desk, ethUSD, buy)})
		if err != nil || applied != (fulloncache.Applied{Applied: 2, Duplicates: 1}) {
			s.Fatalf("%+v, %v", applied, err)
		}
		stored(s, c, in(desk, ethUSD, want))
	})
}

// buys are the first fills of desk in BTC/USD, each of 1 at 100.
func buys(n int) (trades []fulloncache.Trade) {
	for i := range n {
		trades = append(trades, fillOf(i, fulloncache.Buy, "1", "100"))
	}
	return trades
}

// The last fills are known by their ids, older ones are refused: none counts twice.
func TestFillsAreRemembered(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		s.cfg.FillsCap = 10
		few := s.open()
		trades := buys(30)
		applied, err := few.Accounts.ApplyTrades(s.ctx, trades)
		must(s, err)
		if applied.Applied != 30 {
			s.Fatalf("%+v", applied)
		}
		again := func(c *fulloncache.Client, newest int) {
			s.Helper()
			for n, trade := range trades {
				_, err := c.Accounts.ApplyTrade(s.ctx, trade)
				if n < len(trades)-10 {
					wantErr(s, err, fulloncache.ErrOutdated, "trade kraken BTC/USD "+trade.ExTradeID)
				} else {
					must(s, err)
				}
			}
			stored(s, c, positionOf(newest, fulloncache.Long, "30", "100"))
		}
		again(few, 29)
		// One that is older than all of them cannot be told from one that counts.
		late := fillOf(1000, fulloncache.Buy, "1", "100")
		late.Time = at(19)
		_, err = few.Accounts.ApplyTrade(s.ctx, late)
		wantErr(s, err, fulloncache.ErrOutdated, at(19).UTC().Format("15:04:05.000"))
		// A later one counts, though others are newer, and takes the place of the oldest.
		late.Time = at(19).Add(time.Microsecond)
		_, err = few.Accounts.ApplyTrade(s.ctx, late)
		must(s, err)
		_, err = few.Accounts.ApplyTrade(s.ctx, late)
		wantErr(s, err, fulloncache.ErrOutdated)
		stored(s, c, positionOf(29, fulloncache.Long, "31", "100"))
		// Who remembers more forgets no less than what is forgotten.
		_, err = c.Accounts.ApplyTrade(s.ctx, fillOf(30, fulloncache.Sell, "1", "100"))
		must(s, err)
		again(c, 30)
		again(few, 30)
	})
}

// A position as it was told does not count among the fills that are remembered.
func TestFillsAreRememberedBesideWhatWasTold(t *testing.T) {
	everyMode(t, func(s *suite) {
		s.cfg.FillsCap = 10
		c := s.open()
		trades := buys(10)
		_, err := c.Accounts.ApplyTrades(s.ctx, trades)
		must(s, err)
		must(s, c.Accounts.UpsertPosition(s.ctx, positionOf(20, fulloncache.Long, "10", "100")))
		_, err = c.Accounts.ApplyTrade(s.ctx, fillOf(21, fulloncache.Buy, "1", "100"))
		must(s, err)
		_, err = c.Accounts.ApplyTrade(s.ctx, trades[0])
		wantErr(s, err, fulloncache.ErrOutdated, at(20).UTC().Format("15:04:05.000"))
		applied, err := c.Accounts.ApplyTrades(s.ctx, trades[1:])
		if want := (fulloncache.Applied{Duplicates: 9}); err != nil || applied != want {
			s.Fatalf("%+v (%v), want %+v", applied, err, want)
		}
	})
}

// A position as the exchange tells it, and fills, fit together by their times.
func TestUpsertPositionAndFills(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		_, err := c.Accounts.ApplyTrade(s.ctx, fillOf(10, fulloncache.Buy, "1", "100"))
		must(s, err)
		// It lacks that fill.
		wantErr(s, c.Accounts.UpsertPosition(s.ctx, positionOf(9, fulloncache.Short, "5", "50")), fulloncache.ErrOutdated, at(10).UTC().Format("15:04:05.000"))
		stored(s, c, positionOf(10, fulloncache.Long, "1", "100"))
		// It has it, and others that are not known here.
		told := earned("3", "-1", positionOf(20, fulloncache.Long, "3", "110"))
		must(s, c.Accounts.UpsertPosition(s.ctx, told))
		first := stored(s, c, told)
		got, err := c.Accounts.ApplyTrade(s.ctx, fillOf(10, fulloncache.Buy, "1", "100")) // known
		wantPosition(s, got, err, told)
		for _, n := range []int{11, 20} {
			_, err = c.Accounts.ApplyTrade(s.ctx, fillOf(n, fulloncache.Buy, "1", "100"))
			wantErr(s, err, fulloncache.ErrOutdated, at(20).UTC().Format("15:04:05.000"))
		}
		got, err = s.open().Accounts.ApplyTrade(s.ctx, fillOf(21, fulloncache.Sell, "1", "120"))
		wantPosition(s, got, err, earned("13", "-1", positionOf(21, fulloncache.Long, "2", "110")))
		// The same again is outdated now, one of the same time is not.
		wantErr(s, c.Accounts.UpsertPosition(s.ctx, told), fulloncache.ErrOutdated)
		flat := positionOf(21, fulloncache.Flat, "0", "0")
		must(s, c.Accounts.UpsertPosition(s.ctx, flat))
		if p := stored(s, c, flat); p.Rev <= first.Rev || !p.Flat() {
			s.Fatalf("%+v after revision %d", p, first.Rev)
		}
		// The price is derived from the cost, and the cost from the price where there is none.
		priced := positionOf(22, fulloncache.Long, "3", "7")
		priced.Cost, priced.AvgPrice = dec("10"), dec("99")
		must(s, c.Accounts.UpsertPosition(s.ctx, priced))
		priced.AvgPrice = dec("3.333333333333333333")
		stored(s, c, priced)
		priced.Cost = fulloncache.Decimal{}
		must(s, c.Accounts.UpsertPosition(s.ctx, priced))
		priced.Cost = dec("9.999999999999999999")
		stored(s, c, priced)
	})
}

func TestUpsertPositionRefusesInput(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		for _, b := range []struct {
			field string
			edit  func(*fulloncache.Position)
		}{
			{"uid", func(p *fulloncache.Position) { p.UserID = 0 }},
			{"exchange", func(p *fulloncache.Position) { p.Exchange = "" }},
			{"exchange", func(p *fulloncache.Position) { p.Exchange = "\xff" }},
			{"symbol", func(p *fulloncache.Position) { p.Symbol = "" }},
			{"symbol", func(p *fulloncache.Position) { p.Symbol = "a\x00" }},
			{"side", func(p *fulloncache.Position) { p.Side = "" }},
			{"side", func(p *fulloncache.Position) { p.Side = "buy" }},
			{"volume", func(p *fulloncache.Position) { p.Volume = fulloncache.Decimal{} }},
			{"volume", func(p *fulloncache.Position) { p.Volume = dec("-1") }},
			{"volume", func(p *fulloncache.Position) { p.Side = fulloncache.Flat }},
			{"cost", func(p *fulloncache.Position) {
				p.Side, p.Volume, p.AvgPrice = fulloncache.Flat, fulloncache.Decimal{}, fulloncache.Decimal{}
			}},
			{"cost", func(p *fulloncache.Position) { p.Cost = dec("-1") }},
			{"avg_price", func(p *fulloncache.Position) { p.AvgPrice = dec("-1") }},
			{"avg_price", func(p *fulloncache.Position) { p.Volume, p.Cost = dec("7e-19"), dec("1000") }},
			{"cost", func(p *fulloncache.Position) {
				p.Volume, p.Cost, p.AvgPrice = dec("10"), fulloncache.Decimal{}, dec("99999999999999999999999999999999999999")
			}},
			{"fees", func(p *fulloncache.Position) {
				p.Fees = dec("99999999999999999999999999999999999999").Add(dec("1"))
			}},
			{"time", func(p *fulloncache.Position) { p.Time = time.Time{} }},
			{"time", func(p *fulloncache.Position) { p.Time = time.Now().Add(time.Hour) }},
		} {
			p := positionOf(0, fulloncache.Long, "1", "100")
			b.edit(&p)
			wantErr(s, c.Accounts.UpsertPosition(s.ctx, p), fulloncache.ErrInvalid, b.field)
			if p.Time.Before(time.Now()) {
				wantErr(s, p.Validate(), fulloncache.ErrInvalid, b.field)
			}
		}
		_, err := c.Accounts.Position(s.ctx, desk, btcUSD)
		wantErr(s, err, fulloncache.ErrNotFound)
		for _, a := range []fulloncache.Account{{}, {UserID: -1, Exchange: "kraken"}, {UserID: 1}} {
			_, err := c.Accounts.Position(s.ctx, a, btcUSD)
			wantErr(s, err, fulloncache.ErrInvalid)
			_, err = c.Accounts.WaitPosition(s.ctx, a, btcUSD, 0)
			wantErr(s, err, fulloncache.ErrInvalid)
			_, err = c.Accounts.ClearPositions(s.ctx, a)
			wantErr(s, err, fulloncache.ErrInvalid)
			wantErr(s, c.Accounts.DeletePosition(s.ctx, a, btcUSD), fulloncache.ErrInvalid)
			wantErr(s, c.Accounts.ReplacePositions(s.ctx, a, t0, nil), fulloncache.ErrInvalid)
			for _, err := range c.Accounts.Positions(s.ctx, a) {
				wantErr(s, err, fulloncache.ErrInvalid)
			}
			for _, err := range c.Accounts.WatchPositions(s.ctx, a) {
				wantErr(s, err, fulloncache.ErrInvalid)
			}
		}
		_, err = c.Accounts.Position(s.ctx, desk, "")
		wantErr(s, err, fulloncache.ErrInvalid, "symbol")
		for _, err := range c.Accounts.WatchPositions(s.ctx, desk, btcUSD, "") {
			wantErr(s, err, fulloncache.ErrInvalid, "symbol")
		}
		_, err = c.Accounts.WaitPosition(s.ctx, desk, btcUSD, -1)
		wantErr(s, err, fulloncache.ErrInvalid, "rev")
	})
}

func TestReplacePositions(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		reader := s.open()
		a, b := positionOf(0, fulloncache.Long, "1", "100"), in(desk, ethUSD, positionOf(0, fulloncache.Short, "2", "10"))
		must(s, c.Accounts.ReplacePositions(s.ctx, desk, at(0), []fulloncache.Position{b, {
			Symbol: btcUSD, Side: fulloncache.Long, Volume: dec("1"), AvgPrice: dec("100"), Time: at(-77), // whose and when is as for all
		}}))
		wantPositions(s, reader.Accounts.Positions(s.ctx, desk), a, b)
		// One that is not among them is flat, as of then, not unknown.
		flat := positionOf(0, fulloncache.Flat, "0", "0")
		stored(s, reader, in(desk, "XRP/USD", flat))
		// Fills up to then do not count again, whatever they are in.
		for _, symbol := range []string{btcUSD, "XRP/USD"} {
			_, err := c.Accounts.ApplyTrade(s.ctx, of(desk, symbol, fillOf(0, fulloncache.Buy, "1", "100")))
			wantErr(s, err, fulloncache.ErrOutdated, at(0).UTC().Format("15:04:05.000"))
		}
		xrp, err := c.Accounts.ApplyTrade(s.ctx, of(desk, "XRP/USD", fillOf(5, fulloncache.Buy, "1", "1")))
		must(s, err)
		// One that lacks that fill is refused, for all.
		wantErr(s, c.Accounts.ReplacePositions(s.ctx, desk, at(4), nil), fulloncache.ErrOutdated, at(5).UTC().Format("15:04:05.000"))
		wantErr(s, c.Accounts.ReplacePositions(s.ctx, desk, time.Now().Add(time.Hour), nil), fulloncache.ErrInvalid, "ahead")
		wantPositions(s, reader.Accounts.Positions(s.ctx, desk), a, b, xrp)
		b = in(desk, ethUSD, positionOf(5, fulloncache.Short, "3", "10"))
		must(s, c.Accounts.ReplacePositions(s.ctx, desk, at(5), []fulloncache.Position{b}))
		wantPositions(s, reader.Accounts.Positions(s.ctx, desk), b)
		flat.Time = at(5)
		stored(s, reader, flat)
		stored(s, reader, in(desk, "XRP/USD", flat))
		// What was replaced is outdated now, by itself and as a whole.
		wantErr(s, c.Accounts.UpsertPosition(s.ctx, positionOf(4, fulloncache.Long, "1", "1")), fulloncache.ErrOutdated)
		wantErr(s, c.Accounts.ReplacePositions(s.ctx, desk, at(4), nil), fulloncache.ErrOutdated)
		// Nobody has anything: that is known, too.
		must(s, c.Accounts.ReplacePositions(s.ctx, desk, at(6), nil))
		wantPositions(s, reader.Accounts.Positions(s.ctx, desk))
		flat.Time = at(6)
		stored(s, reader, in(desk, ethUSD, flat))
		// Of other accounts nothing is known.
		_, err = reader.Accounts.Position(s.ctx, desk2, btcUSD)
		wantErr(s, err, fulloncache.ErrNotFound)
		for _, err := range reader.Accounts.Positions(s.ctx, desk2) {
			wantErr(s, err, fulloncache.ErrNotFound, "bitmex", "unknown")
		}
	})
}

// If one is invalid, nothing is stored, and every one that is is named.
func TestReplacePositionsRefusesInput(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		good := positionOf(0, fulloncache.Long, "1", "100")
		must(s, c.Accounts.ReplacePositions(s.ctx, desk, at(0), []fulloncache.Position{good}))
		bad := []fulloncache.Position{
			in(desk, "A", good), in(desk, "B", good), in(other, "C", good), in(desk, "A", good), in(desk, "", good),
		}
		bad[1].Volume = dec("-1")
		err := c.Accounts.ReplacePositions(s.ctx, desk, at(1), bad)
		wantErr(s, err, fulloncache.ErrInvalid)
		var batch *fulloncache.BatchError
		if !errors.As(err, &batch) || len(batch.Errs) != len(bad) || batch.Errs[0] != nil {
			s.Fatalf("got %v", err)
		}
		for i, field := range []string{"", "volume", "account", "symbol", "symbol"} {
			if i > 0 {
				wantErr(s, batch.Errs[i], fulloncache.ErrInvalid, fmt.Sprintf("element %d", i), field)
			}
		}
		wantErr(s, c.Accounts.ReplacePositions(s.ctx, desk, time.Time{}, nil), fulloncache.ErrInvalid, "time")
		wantPositions(s, c.Accounts.Positions(s.ctx, desk), good)
	})
}

// P7: the predecessor's positions of one account were those of every account, a
// position had no side, and clearing positions deleted the accounts too.
func TestPositionsOfOneAccountP7(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		want := make(map[fulloncache.Account][]fulloncache.Position)
		var all []fulloncache.Position
		accounts := []fulloncache.Account{other, desk2, desk} // as they are listed
		for i, a := range accounts {
			for k, symbol := range []string{btcUSD, ethUSD} {
				side := fulloncache.Long
				if (i+k)%2 == 1 {
					side = fulloncache.Short
				}
				p := in(a, symbol, positionOf(i, side, fmt.Sprint(i+1), "10"))
				must(s, c.Accounts.UpsertPosition(s.ctx, p))
				want[a], all = append(want[a], p), append(all, p)
			}
			must(s, c.Accounts.SetAccount(s.ctx, balancesOf(a, i, "USD", "5")))
		}
		reader := s.open()
		for _, a := range accounts {
			wantPositions(s, reader.Accounts.Positions(s.ctx, a), want[a]...) // sides included
		}
		wantPositions(s, reader.Accounts.AllPositions(s.ctx), all...)
		n, err := c.Accounts.ClearPositions(s.ctx, desk2)
		if err != nil || n != 2 {
			s.Fatalf("cleared %d, %v", n, err)
		}
		wantPositions(s, reader.Accounts.AllPositions(s.ctx), append(slices.Clone(want[other]), want[desk]...)...)
		for i, a := range accounts {
			got, err := reader.Accounts.Account(s.ctx, a)
			wantBalances(s, got, err, balancesOf(a, i, "USD", "5"))
		}
		// The other way round, too.
		must(s, c.Accounts.DeleteAccount(s.ctx, desk))
		wantPositions(s, reader.Accounts.Positions(s.ctx, desk), want[desk]...)
	})
}

// P6: with Redis down the predecessor's position read as flat. Here it is an error
// that says that it is unknown; and one of which nothing is known is not flat.
func TestUnknownIsNotFlatP6(t *testing.T) {
	t.Parallel()
	ctx, srv := testenv.Context(t), testenv.NewRedis(t)
	c := open(t, fulloncache.Config{URL: srv.URL(), SocketTimeout: time.Second, BreakerCooldown: 20 * time.Millisecond})
	_, err := c.Accounts.Position(ctx, desk, btcUSD)
	wantErr(t, err, fulloncache.ErrNotFound)
	_, err = c.Accounts.ApplyTrade(ctx, fillOf(1, fulloncache.Buy, "1", "100"))
	must(t, err)
	srv.Kill()
	p, err := c.Accounts.Position(ctx, desk, btcUSD)
	wantErr(t, err, fulloncache.ErrUnavailable)
	if p.Flat() || p.Side != "" {
		t.Fatalf("got %+v", p)
	}
	n := 0
	for p, err := range c.Accounts.Positions(ctx, desk) {
		n++
		wantErr(t, err, fulloncache.ErrUnavailable)
		if p.Flat() {
			t.Fatalf("got %+v", p)
		}
	}
	for _, err := range c.Accounts.AllPositions(ctx) {
		n++
		wantErr(t, err, fulloncache.ErrUnavailable)
	}
	if n != 2 {
		t.Fatalf("%d elements: a listing that cannot be read looks empty", n)
	}
	_, err = c.Accounts.Balance(ctx, desk, "USD")
	wantErr(t, err, fulloncache.ErrUnavailable)
	_, err = c.Accounts.ApplyTrade(ctx, fillOf(2, fulloncache.Sell, "1", "100"))
	wantErr(t, err, fulloncache.ErrUnavailable)
	srv.Restart(t) // it has forgotten everything
	testenv.Eventually(t, "an answer", func() (bool, string) {
		_, err = c.Accounts.Position(ctx, desk, btcUSD)
		return !errors.Is(err, fulloncache.ErrUnavailable), fmt.Sprint(err)
	})
	wantErr(t, err, fulloncache.ErrNotFound)
	// What this process remembers of it is not what is stored.
	got, err := c.Accounts.ApplyTrade(ctx, fillOf(2, fulloncache.Sell, "1", "100"))
	wantPosition(t, got, err, positionOf(2, fulloncache.Short, "1", "100"))
}

func TestDeletePosition(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		wantErr(s, c.Accounts.DeletePosition(s.ctx, desk, btcUSD), fulloncache.ErrNotFound, "kraken", "BTC/USD")
		n, err := c.Accounts.ClearPositions(s.ctx, desk)
		if err != nil || n != 0 {
			s.Fatalf("cleared %d, %v", n, err)
		}
		eth := in(desk, ethUSD, positionOf(0, fulloncache.Short, "1", "10"))
		must(s, c.Accounts.ReplacePositions(s.ctx, desk, at(0), []fulloncache.Position{positionOf(0, fulloncache.Long, "1", "10"), eth}))
		must(s, c.Accounts.DeletePosition(s.ctx, desk, btcUSD))
		// It is unknown now, and so is what was flat because it was not among all.
		for _, symbol := range []string{btcUSD, "XRP/USD"} {
			_, err := c.Accounts.Position(s.ctx, desk, symbol)
			wantErr(s, err, fulloncache.ErrNotFound)
		}
		wantPositions(s, c.Accounts.Positions(s.ctx, desk), eth)
		wantPositions(s, c.Accounts.AllPositions(s.ctx), eth)
		_, err = c.Accounts.ApplyTrade(s.ctx, fillOf(0, fulloncache.Buy, "1", "10"))
		wantErr(s, err, fulloncache.ErrOutdated) // all of then were told
		// Deleted with all that counted in it, it begins anew.
		fills := []fulloncache.Trade{fillOf(1, fulloncache.Buy, "1", "10"), fillOf(2, fulloncache.Buy, "1", "10")}
		for range 2 {
			applied, err := c.Accounts.ApplyTrades(s.ctx, fills)
			if err != nil || applied.Applied != 2 {
				s.Fatalf("%+v, %v", applied, err)
			}
			stored(s, c, positionOf(2, fulloncache.Long, "2", "10"))
			n, err := s.open().Accounts.ClearPositions(s.ctx, desk)
			if err != nil || n < 1 {
				s.Fatalf("cleared %d, %v", n, err)
			}
			_, err = c.Accounts.Position(s.ctx, desk, btcUSD)
			wantErr(s, err, fulloncache.ErrNotFound)
			wantPositions(s, c.Accounts.AllPositions(s.ctx))
		}
		_, err = c.Accounts.ApplyTrade(s.ctx, fillOf(0, fulloncache.Buy, "1", "10"))
		must(s, err)
		must(s, c.Accounts.DeletePosition(s.ctx, desk, btcUSD))
		for _, err := range c.Accounts.Positions(s.ctx, desk) {
			wantErr(s, err, fulloncache.ErrNotFound)
		}
		for key, err := range c.Base.Keys(s.ctx, "*") {
			must(s, err)
			if !strings.HasPrefix(key, "position_rev:") {
				s.Errorf("%s is left", key)
			}
		}
	})
}

// What is remembered of a position may be long gone, and must not refuse a fill.
func TestApplyTradeLooksBeforeItRefuses(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		huge := fillOf(1, fulloncache.Buy, "99999999999999999999999999999999999999", "1")
		huge.Cost = dec("1")
		_, err := c.Accounts.ApplyTrade(s.ctx, huge)
		must(s, err)
		_, err = c.Accounts.ApplyTrade(s.ctx, fillOf(2, fulloncache.Buy, "1", "10"))
		wantErr(s, err, fulloncache.ErrInvalid, "volume", "39 digits")
		elsewhere := s.open()
		must(s, elsewhere.Accounts.DeletePosition(s.ctx, desk, btcUSD))
		got, err := c.Accounts.ApplyTrade(s.ctx, fillOf(2, fulloncache.Buy, "1", "10"))
		wantPosition(s, got, err, positionOf(2, fulloncache.Long, "1", "10"))
		if s.mode.admin == nil {
			return
		}
		huge.Symbol = ethUSD
		_, err = c.Accounts.ApplyTrade(s.ctx, huge)
		must(s, err)
		key := s.userKey("positions", ":kraken")
		s.do("DEL", key)
		s.do("SET", key, "x")
		_, err = c.Accounts.ApplyTrade(s.ctx, of(desk, ethUSD, fillOf(2, fulloncache.Buy, "1", "10")))
		wantCorrupt(s, err, key, "")
	})
}
