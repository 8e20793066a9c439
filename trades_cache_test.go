package fulloncache_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// tradeOf is trade number n of a market.
func tradeOf(m fulloncache.Market, n int) fulloncache.Trade {
	return fulloncache.Trade{
		Market: m, ExTradeID: strconv.Itoa(n), UserID: 7, Side: fulloncache.Sell, Volume: dec("0.5"), Price: dec("2"), Cost: dec("1"),
		Fee: dec("-0.01"), Time: at(n),
	}
}

func tradesOf(m fulloncache.Market, from, to int) []fulloncache.Trade {
	var trades []fulloncache.Trade
	for n := from; n < to; n++ {
		trades = append(trades, tradeOf(m, n))
	}
	return trades
}

// numbers are the numbers of trades.
func numbers(trades []fulloncache.Trade) []int {
	list := []int{}
	for _, u := range trades {
		n, _ := strconv.Atoi(u.ExTradeID)
		list = append(list, n)
	}
	return list
}

func counting(from, to int) []int {
	list := []int{}
	for n := from; n < to; n++ {
		list = append(list, n)
	}
	return list
}

func wantNumbers(t testing.TB, trades []fulloncache.Trade, want []int) {
	t.Helper()
	if got := numbers(trades); !slices.Equal(got, want) {
		t.Fatalf("trades %v, want %v", got, want)
	}
}

func peeked(t testing.TB, seq iter.Seq2[fulloncache.Trade, error]) []fulloncache.Trade {
	t.Helper()
	var trades []fulloncache.Trade
	for u, err := range seq {
		must(t, err)
		trades = append(trades, u)
	}
	return trades
}

// side is a list of trades: of a market or of a user.
type tradeSide struct {
	name     string
	push     func(ctx context.Context, u fulloncache.Trade, opts ...fulloncache.PushOption) (fulloncache.Pushed, error)
	pushMany func(ctx context.Context, u []fulloncache.Trade, opts ...fulloncache.PushOption) (fulloncache.Pushed, error)
	peek     func(n int) iter.Seq2[fulloncache.Trade, error]
	drain    func(n int) (*fulloncache.TradeBatch, error)
	count    func() (int, int, error)
	key      string
}

// sides are the two kinds of lists, of trades of btc that tradeOf made.
func sides(s *suite, c *fulloncache.Client) []tradeSide {
	return []tradeSide{
		{
			"market", c.Trades.Push, c.Trades.PushMany,
			func(n int) iter.Seq2[fulloncache.Trade, error] { return c.Trades.Peek(s.ctx, btc, n) },
			func(n int) (*fulloncache.TradeBatch, error) { return c.Trades.Drain(s.ctx, btc, n) },
			func() (int, int, error) { return c.Trades.Len(s.ctx, btc) },
			s.key("trades", "kraken", ":BTCUSD"),
		},
		{
			"user", c.Trades.PushUser, c.Trades.PushManyUser,
			func(n int) iter.Seq2[fulloncache.Trade, error] { return c.Trades.PeekUser(s.ctx, 7, "kraken", n) },
			func(n int) (*fulloncache.TradeBatch, error) { return c.Trades.DrainUser(s.ctx, 7, "kraken", n) },
			func() (int, int, error) { return c.Trades.LenUser(s.ctx, 7, "kraken") },
			s.key("user_trades", "user_7", ":kraken"),
		},
	}
}

// eachSide runs a test in every mode for both kinds of lists.
func eachSide(t *testing.T, tune func(*fulloncache.Config), test func(s *suite, l tradeSide)) {
	t.Helper()
	everyMode(t, func(s *suite) {
		if tune != nil {
			tune(&s.cfg)
		}
		for _, l := range sides(s, s.open()) {
			test(s, l)
		}
	})
}

func (l tradeSide) wantLen(t testing.TB, waiting, inFlight int) {
	t.Helper()
	n, flying, err := l.count()
	if must(t, err); n != waiting || flying != inFlight {
		t.Fatalf("%s: %d wait and %d are in flight, want %d and %d", l.name, n, flying, waiting, inFlight)
	}
}

func TestTradesPushPeekDrain(t *testing.T) {
	eachSide(t, nil, func(s *suite, l tradeSide) {
		l.wantLen(s, 0, 0)
		wantNumbers(s, peeked(s, l.peek(5)), []int{})
		empty, err := l.drain(5)
		must(s, err)
		wantNumbers(s, empty.Trades, []int{})
		must(s, empty.Ack(s.ctx))
		must(s, empty.Return(s.ctx))

		full := fullTrade()
		full.UserID = 7
		pushed, err := l.push(s.ctx, full)
		if must(s, err); pushed != (fulloncache.Pushed{Added: 1}) {
			s.Fatalf("pushed %+v", pushed)
		}
		pushed, err = l.pushMany(s.ctx, tradesOf(btc, 1, 10))
		if must(s, err); pushed != (fulloncache.Pushed{Added: 9}) {
			s.Fatalf("pushed %+v", pushed)
		}
		// Peeking leaves them.
		for range 2 {
			got := peeked(s, l.peek(3))
			if len(got) != 3 || !got[0].Equal(full) || !got[2].Equal(tradeOf(btc, 2)) {
				s.Fatalf("peeked %+v", got)
			}
		}
		for range l.peek(3) {
			break
		}
		l.wantLen(s, 10, 0)
		batch, err := l.drain(4)
		must(s, err)
		wantNumbers(s, batch.Trades, []int{0, 1, 2, 3})
		if left := time.Until(batch.Due); left < 50*time.Second || left > time.Minute {
			s.Errorf("the batch comes back in %s", left)
		}
		l.wantLen(s, 6, 4)
		wantNumbers(s, peeked(s, l.peek(100)), counting(4, 10))
		must(s, batch.Ack(s.ctx))
		l.wantLen(s, 6, 0)
		wantErr(s, batch.Ack(s.ctx), fulloncache.ErrNotFound, "batch of 4")
		wantErr(s, batch.Return(s.ctx), fulloncache.ErrNotFound, "batch of 4")
		// More than there are.
		batch, err = l.drain(100)
		must(s, err)
		wantNumbers(s, batch.Trades, counting(4, 10))
		must(s, batch.Return(s.ctx))
		wantErr(s, batch.Ack(s.ctx), fulloncache.ErrNotFound)
		l.wantLen(s, 6, 0)
		batch, err = l.drain(1)
		must(s, err)
		wantNumbers(s, batch.Trades, []int{4})
		must(s, batch.Ack(s.ctx))
	})
}

// What comes back stands in front, in order, whoever pushed meanwhile.
func TestTradesBatchesReturnInOrder(t *testing.T) {
	eachSide(t, nil, func(s *suite, l tradeSide) {
		_, err := l.pushMany(s.ctx, tradesOf(btc, 0, 9))
		must(s, err)
		var batches []*fulloncache.TradeBatch
		for range 3 {
			b, err := l.drain(3)
			must(s, err)
			batches = append(batches, b)
		}
		_, err = l.push(s.ctx, tradeOf(btc, 9))
		must(s, err)
		must(s, batches[2].Return(s.ctx))
		must(s, batches[1].Ack(s.ctx))
		must(s, batches[0].Return(s.ctx))
		wantNumbers(s, peeked(s, l.peek(100)), []int{0, 1, 2, 6, 7, 8, 9})
		l.wantLen(s, 7, 0)
	})
}

// Whoever takes, returns, pops and acknowledges in whatever order: what waits is
// in the order in which it was pushed.
func TestTradesStayInOrder(t *testing.T) {
	eachSide(t, nil, func(s *suite, l tradeSide) {
		s.property(func(t *rapid.T) {
			var flying [][]int
			var batches []*fulloncache.TradeBatch
			var waiting []int
			pushed := 0
			check := func(err error) {
				if err != nil {
					t.Fatal(err)
				}
			}
			t.Repeat(map[string]func(*rapid.T){
				"push": func(t *rapid.T) {
					n := rapid.IntRange(1, 4).Draw(t, "n")
					_, err := l.pushMany(s.ctx, tradesOf(btc, pushed, pushed+n))
					check(err)
					waiting = append(waiting, counting(pushed, pushed+n)...)
					pushed += n
				},
				"drain": func(t *rapid.T) {
					n := rapid.IntRange(1, 5).Draw(t, "n")
					b, err := l.drain(n)
					check(err)
					n = min(n, len(waiting))
					if got := numbers(b.Trades); !slices.Equal(got, waiting[:n]) {
						t.Fatalf("took %v of %v", got, waiting)
					}
					batches, flying, waiting = append(batches, b), append(flying, waiting[:n:n]), waiting[n:]
				},
				"settle": func(t *rapid.T) {
					if len(batches) == 0 {
						return
					}
					i := rapid.IntRange(0, len(batches)-1).Draw(t, "i")
					if rapid.Bool().Draw(t, "return") {
						check(batches[i].Return(s.ctx))
						waiting = slices.Concat(waiting, flying[i])
						slices.Sort(waiting)
					} else {
						check(batches[i].Ack(s.ctx))
					}
					batches, flying = slices.Delete(batches, i, i+1), slices.Delete(flying, i, i+1)
				},
				"": func(t *rapid.T) {
					var got []int
					for u, err := range l.peek(100_000) {
						check(err)
						got = append(got, numbers([]fulloncache.Trade{u})...)
					}
					n, inFlight, err := l.count()
					check(err)
					many := 0
					for _, f := range flying {
						many += len(f)
					}
					if !slices.Equal(got, waiting) || n != len(waiting) || inFlight != many {
						t.Fatalf("%v and %d wait, %d are in flight; want %v and %d", got, n, inFlight, waiting, many)
					}
				},
			})
			for _, b := range batches {
				check(b.Ack(s.ctx))
			}
			b, err := l.drain(100_000)
			check(err)
			check(b.Ack(s.ctx))
		})
	})
}

// P3: the predecessor read a list and then deleted it: what was pushed in between
// was lost, and so was the batch of a consumer that failed. Here a batch that
// nobody acknowledges comes back, in front and in order, even if the one who took
// it is gone.
func TestTradesUnacknowledgedComeBack(t *testing.T) {
	eachSide(t, func(cfg *fulloncache.Config) { cfg.TradesBatchTimeout = 400 * time.Millisecond }, func(s *suite, l tradeSide) {
		_, err := l.pushMany(s.ctx, tradesOf(btc, 0, 30))
		must(s, err)
		var first *fulloncache.TradeBatch
		for i := range 3 {
			b, err := l.drain(10)
			must(s, err)
			wantNumbers(s, b.Trades, counting(10*i, 10*i+10))
			if i == 0 {
				first = b
			}
		}
		_, err = l.push(s.ctx, tradeOf(btc, 30))
		must(s, err)
		testenv.Eventually(s, "return", func() (bool, string) {
			n, flying, err := l.count()
			return n == 31 && flying == 0, fmt.Sprint(n, flying, err)
		})
		wantNumbers(s, peeked(s, l.peek(100)), counting(0, 31))
		wantErr(s, first.Ack(s.ctx), fulloncache.ErrNotFound)
		wantErr(s, first.Return(s.ctx), fulloncache.ErrNotFound)
		l.wantLen(s, 31, 0)
		b, err := l.drain(100)
		must(s, err)
		wantNumbers(s, b.Trades, counting(0, 31))
		// Too late, but nobody asked for them yet.
		testenv.Eventually(s, "its time to be over", func() (bool, string) { return time.Now().After(b.Due), "" })
		must(s, b.Ack(s.ctx))
		l.wantLen(s, 0, 0)
	})
}

// A batch can come back again and again; who took it before has no say in it.
func TestTradesComeBackTwice(t *testing.T) {
	eachSide(t, func(cfg *fulloncache.Config) { cfg.TradesBatchTimeout = 200 * time.Millisecond }, func(s *suite, l tradeSide) {
		_, err := l.pushMany(s.ctx, tradesOf(btc, 0, 20))
		must(s, err)
		var before []*fulloncache.TradeBatch
		for round := range 3 {
			var b *fulloncache.TradeBatch
			testenv.Eventually(s, "return", func() (bool, string) {
				b, err = l.drain(20)
				must(s, err)
				return len(b.Trades) > 0, ""
			})
			wantNumbers(s, b.Trades, counting(0, 20))
			for _, late := range before {
				wantErr(s, late.Ack(s.ctx), fulloncache.ErrNotFound)
				wantErr(s, late.Return(s.ctx), fulloncache.ErrNotFound)
			}
			if before = append(before, b); round == 2 {
				must(s, b.Ack(s.ctx))
			}
		}
		l.wantLen(s, 0, 0)
	})
}

// Scripts unpack no more than thousands at once.
func TestTradesDrainTenThousand(t *testing.T) {
	eachSide(t, nil, func(s *suite, l tradeSide) {
		const n = 10_000
		pushed, err := l.pushMany(s.ctx, tradesOf(btc, 0, n))
		if must(s, err); pushed.Added != n {
			s.Fatalf("pushed %+v", pushed)
		}
		for i := range 2 {
			b, err := l.drain(n)
			must(s, err)
			wantNumbers(s, b.Trades, counting(0, n))
			l.wantLen(s, 0, n)
			if i == 0 {
				must(s, b.Return(s.ctx))
				l.wantLen(s, n, 0)
				continue
			}
			must(s, b.Ack(s.ctx))
		}
		l.wantLen(s, 0, 0)
	})
}

func TestTradesFullList(t *testing.T) {
	eachSide(t, func(cfg *fulloncache.Config) { cfg.TradesCap = 10 }, func(s *suite, l tradeSide) {
		pushed, err := l.pushMany(s.ctx, tradesOf(btc, 0, 13))
		wantErr(s, err, fulloncache.ErrQueueFull, "3 of 13", "10")
		var batch *fulloncache.BatchError
		if !errors.As(err, &batch) || pushed != (fulloncache.Pushed{Added: 10}) {
			s.Fatalf("pushed %+v, %v", pushed, err)
		}
		for i, err := range batch.Errs {
			if (err != nil) != (i >= 10) {
				s.Errorf("trade %d: %v", i, err)
			}
		}
		pushed, err = l.push(s.ctx, tradeOf(btc, 99))
		wantErr(s, err, fulloncache.ErrQueueFull)
		if pushed != (fulloncache.Pushed{}) {
			s.Errorf("pushed %+v", pushed)
		}
		wantNumbers(s, peeked(s, l.peek(100)), counting(0, 10))
		// Dropping the oldest has to be asked for, and is counted.
		pushed, err = l.pushMany(s.ctx, tradesOf(btc, 10, 14), fulloncache.DropOldest())
		if must(s, err); pushed != (fulloncache.Pushed{Added: 4, Dropped: 4}) {
			s.Errorf("pushed %+v", pushed)
		}
		wantNumbers(s, peeked(s, l.peek(100)), counting(4, 14))

		// As many may be in flight, and no more.
		taken, err := l.drain(6)
		must(s, err)
		_, err = l.pushMany(s.ctx, tradesOf(btc, 14, 20))
		must(s, err)
		more, err := l.drain(6)
		must(s, err)
		wantNumbers(s, more.Trades, counting(10, 14))
		_, err = l.drain(1)
		wantErr(s, err, fulloncache.ErrQueueFull, "10 are in flight")
		must(s, more.Ack(s.ctx))
		// What comes back to a full list is not refused: pushes are.
		_, err = l.pushMany(s.ctx, tradesOf(btc, 20, 24))
		must(s, err)
		must(s, taken.Return(s.ctx))
		l.wantLen(s, 16, 0)
		_, err = l.push(s.ctx, tradeOf(btc, 99))
		wantErr(s, err, fulloncache.ErrQueueFull)
		rest, err := l.drain(100)
		must(s, err)
		wantNumbers(s, rest.Trades, append(counting(4, 10), counting(14, 18)...))
		must(s, rest.Ack(s.ctx))
	})
}

func TestTradesUnique(t *testing.T) {
	eachSide(t, func(cfg *fulloncache.Config) { cfg.TradesCap = 20 }, func(s *suite, l tradeSide) {
		minute := fulloncache.Unique(time.Minute)
		trades := append(tradesOf(btc, 0, 5), tradesOf(btc, 3, 7)...)
		pushed, err := l.pushMany(s.ctx, trades, minute)
		if must(s, err); pushed != (fulloncache.Pushed{Added: 7, Duplicates: 2}) {
			s.Fatalf("pushed %+v", pushed)
		}
		pushed, err = l.push(s.ctx, tradeOf(btc, 6), minute)
		if must(s, err); pushed != (fulloncache.Pushed{Duplicates: 1}) {
			s.Fatalf("pushed %+v", pushed)
		}
		// Also once they are taken and gone; and only if asked.
		b, err := l.drain(100)
		must(s, err)
		wantNumbers(s, b.Trades, counting(0, 7))
		must(s, b.Ack(s.ctx))
		pushed, err = l.push(s.ctx, tradeOf(btc, 5), minute, fulloncache.DropOldest())
		if must(s, err); pushed.Duplicates != 1 {
			s.Fatalf("pushed %+v", pushed)
		}
		pushed, err = l.push(s.ctx, tradeOf(btc, 5))
		if must(s, err); pushed.Added != 1 {
			s.Fatalf("pushed %+v", pushed)
		}
		// A window that is over, or as many trades as a list may hold, forget.
		testenv.Eventually(s, "the end of the window", func() (bool, string) {
			pushed, err := l.push(s.ctx, tradeOf(btc, 6), fulloncache.Unique(50*time.Millisecond))
			return err == nil && pushed.Added == 1, fmt.Sprint(pushed, err)
		})
		_, err = l.pushMany(s.ctx, tradesOf(btc, 100, 125), minute, fulloncache.DropOldest())
		must(s, err)
		pushed, err = l.pushMany(s.ctx, tradesOf(btc, 100, 125), minute, fulloncache.DropOldest())
		if must(s, err); pushed.Added != 5 || pushed.Duplicates != 20 {
			s.Fatalf("pushed %+v", pushed)
		}
		// A full list refuses what is new, not what it knows.
		_, err = l.pushMany(s.ctx, tradesOf(btc, 124, 127), minute)
		var batch *fulloncache.BatchError
		if !errors.As(err, &batch) || batch.Errs[0] != nil || !errors.Is(batch.Errs[1], fulloncache.ErrQueueFull) || !errors.Is(batch.Errs[2], fulloncache.ErrQueueFull) {
			s.Fatalf("got %v", err)
		}
	})
}

// Both sides of a trade between two orders of one user have the same id, and so
// have trades of two markets: neither hides the other.
func TestTradesUniqueLosesNobodyOfTheSameID(t *testing.T) {
	eachSide(t, nil, func(s *suite, l tradeSide) {
		one, other, elsewhere := tradeOf(btc, 1), tradeOf(btc, 1), tradeOf(eth, 1)
		one.ExOrderID, other.ExOrderID = "a", "b"
		trades := []fulloncache.Trade{one, other, elsewhere, tradeOf(btc, 1)}
		for _, want := range []fulloncache.Pushed{{Added: 4}, {Duplicates: 4}} {
			pushed, err := l.pushMany(s.ctx, trades, fulloncache.Unique(time.Minute))
			if must(s, err); pushed != want {
				s.Fatalf("pushed %+v, want %+v", pushed, want)
			}
		}
	})
}

// Many go in several calls; what came before in one push is known to what comes
// after, and the cap counts all.
func TestTradesPushManyInSeveralCalls(t *testing.T) {
	eachSide(t, func(cfg *fulloncache.Config) { cfg.TradesCap = 2900 }, func(s *suite, l tradeSide) {
		trades := append(tradesOf(btc, 0, 2600), tradesOf(btc, 2400, 2800)...)
		pushed, err := l.pushMany(s.ctx, trades, fulloncache.Unique(time.Hour))
		if must(s, err); pushed != (fulloncache.Pushed{Added: 2800, Duplicates: 200}) {
			s.Fatalf("pushed %+v", pushed)
		}
		pushed, err = l.pushMany(s.ctx, tradesOf(btc, 2700, 4000), fulloncache.Unique(time.Hour))
		wantErr(s, err, fulloncache.ErrQueueFull, "1100 of 1300")
		if pushed != (fulloncache.Pushed{Added: 100, Duplicates: 100}) {
			s.Fatalf("pushed %+v", pushed)
		}
		wantNumbers(s, peeked(s, l.peek(5000)), counting(0, 2900))
		pushed, err = l.pushMany(s.ctx, tradesOf(btc, 2900, 4000), fulloncache.DropOldest())
		if must(s, err); pushed != (fulloncache.Pushed{Added: 1100, Dropped: 1100}) {
			s.Fatalf("pushed %+v", pushed)
		}
		b, err := l.drain(5000)
		must(s, err)
		wantNumbers(s, b.Trades, counting(1100, 4000))
		must(s, b.Ack(s.ctx))
	})
}

func TestTradesRefuseInput(t *testing.T) {
	eachSide(t, nil, func(s *suite, l tradeSide) {
		for field, spoil := range map[string]func(u *fulloncache.Trade){
			"exchange":    func(u *fulloncache.Trade) { u.Exchange = "" },
			"symbol":      func(u *fulloncache.Trade) { u.Symbol = "" },
			"ex_trade_id": func(u *fulloncache.Trade) { u.ExTradeID = "" },
			"side":        func(u *fulloncache.Trade) { u.Side = "" },
			"volume":      func(u *fulloncache.Trade) { u.Volume = dec("-1") },
			"uid":         func(u *fulloncache.Trade) { u.UserID = -1 },
			"time":        func(u *fulloncache.Trade) { u.Time = time.Time{} },
		} {
			u := tradeOf(btc, 1)
			spoil(&u)
			_, err := l.push(s.ctx, u)
			wantErr(s, err, fulloncache.ErrInvalid, field)
			// The others of many are pushed.
			pushed, err := l.pushMany(s.ctx, []fulloncache.Trade{tradeOf(btc, 0), u, tradeOf(btc, 2)})
			wantErr(s, err, fulloncache.ErrInvalid, "1 of 3", field)
			if pushed.Added != 2 {
				s.Errorf("%s: pushed %+v", field, pushed)
			}
			b, err := l.drain(100)
			must(s, err)
			wantNumbers(s, b.Trades, []int{0, 2})
			must(s, b.Ack(s.ctx))
		}
		for _, window := range []time.Duration{-time.Second, time.Microsecond} {
			_, err := l.push(s.ctx, tradeOf(btc, 1), fulloncache.Unique(window))
			wantErr(s, err, fulloncache.ErrInvalid, "window")
		}
		_, err := l.drain(0)
		wantErr(s, err, fulloncache.ErrInvalid, "0")
		for _, err := range l.peek(0) {
			wantErr(s, err, fulloncache.ErrInvalid, "0")
		}
		l.wantLen(s, 0, 0)
		pushed, err := l.pushMany(s.ctx, nil)
		if must(s, err); pushed != (fulloncache.Pushed{}) {
			s.Errorf("pushed %+v", pushed)
		}
	})
}

func TestTradesRefuseNames(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		stranger := tradeOf(btc, 1)
		stranger.UserID = 0
		_, err := c.Trades.PushUser(s.ctx, stranger)
		wantErr(s, err, fulloncache.ErrInvalid, "uid")
		nobody := fulloncache.Market{Exchange: "kraken"}
		_, err = c.Trades.Drain(s.ctx, nobody, 1)
		wantErr(s, err, fulloncache.ErrInvalid, "symbol")
		_, _, err = c.Trades.Len(s.ctx, nobody)
		wantErr(s, err, fulloncache.ErrInvalid, "symbol")
		for _, err := range c.Trades.Peek(s.ctx, nobody, 1) {
			wantErr(s, err, fulloncache.ErrInvalid, "symbol")
		}
		for _, markets := range [][]fulloncache.Market{{}, {btc, nobody}} {
			for _, err := range c.Trades.Stream(s.ctx, markets...) {
				wantErr(s, err, fulloncache.ErrInvalid)
			}
		}
		for _, who := range []struct {
			user     int64
			exchange string
		}{{0, "kraken"}, {7, ""}} {
			_, err = c.Trades.DrainUser(s.ctx, who.user, who.exchange, 1)
			wantErr(s, err, fulloncache.ErrInvalid)
			_, _, err = c.Trades.LenUser(s.ctx, who.user, who.exchange)
			wantErr(s, err, fulloncache.ErrInvalid)
			_, err = c.Trades.PopUser(s.ctx, who.user, who.exchange, 0)
			wantErr(s, err, fulloncache.ErrInvalid)
			for _, err := range c.Trades.PeekUser(s.ctx, who.user, who.exchange, 1) {
				wantErr(s, err, fulloncache.ErrInvalid)
			}
		}
		_, err = c.Trades.PopUser(s.ctx, 7, "kraken", -1)
		wantErr(s, err, fulloncache.ErrInvalid, "wait")
	})
}

// Two symbols that meet in one key never answer for each other.
func TestTradesOfSymbolsThatMeet(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		joined := fulloncache.Market{Exchange: "kraken", Symbol: "BTCUSD"}
		_, err := c.Trades.Push(s.ctx, tradeOf(btc, 1))
		must(s, err)
		pushed, err := c.Trades.PushMany(s.ctx, []fulloncache.Trade{tradeOf(joined, 1), tradeOf(btc, 2), tradeOf(joined, 2), tradeOf(eth, 1)})
		wantErr(s, err, fulloncache.ErrInvalid, "2 of 4", `"BTCUSD"`, `"BTC/USD"`)
		if pushed.Added != 2 {
			s.Errorf("pushed %+v", pushed)
		}
		b, err := c.Trades.Drain(s.ctx, joined, 10)
		must(s, err)
		wantNumbers(s, b.Trades, nil)
		n, flying, err := c.Trades.Len(s.ctx, joined)
		if must(s, err); n != 0 || flying != 0 {
			s.Errorf("%d, %d", n, flying)
		}
		wantNumbers(s, peeked(s, c.Trades.Peek(s.ctx, joined, 10)), nil)
		// While trades are in flight the key is taken; then it is free.
		b, err = c.Trades.Drain(s.ctx, btc, 10)
		must(s, err)
		_, err = c.Trades.Push(s.ctx, tradeOf(joined, 3))
		wantErr(s, err, fulloncache.ErrInvalid)
		must(s, b.Ack(s.ctx))
		_, err = c.Trades.Push(s.ctx, tradeOf(joined, 3))
		must(s, err)
		wantNumbers(s, peeked(s, c.Trades.Peek(s.ctx, joined, 10)), []int{3})
		wantNumbers(s, peeked(s, c.Trades.Peek(s.ctx, btc, 10)), nil)
	})
}

// A list per user and exchange, whatever the symbols.
func TestUserTrades(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		_, err := c.Trades.PopUser(s.ctx, 7, "kraken", 0)
		wantErr(s, err, fulloncache.ErrNotFound)
		var trades []fulloncache.Trade
		for n := range 12 {
			u := tradeOf([]fulloncache.Market{btc, eth, {Exchange: "bitmex", Symbol: "XBTUSD"}}[n%3], n)
			u.UserID = int64(7 + n%2)
			trades = append(trades, u)
		}
		pushed, err := c.Trades.PushManyUser(s.ctx, trades)
		if must(s, err); pushed.Added != 12 {
			s.Fatalf("pushed %+v", pushed)
		}
		wantNumbers(s, peeked(s, c.Trades.PeekUser(s.ctx, 7, "kraken", 10)), []int{0, 4, 6, 10})
		wantNumbers(s, peeked(s, c.Trades.PeekUser(s.ctx, 8, "kraken", 10)), []int{1, 3, 7, 9})
		wantNumbers(s, peeked(s, c.Trades.PeekUser(s.ctx, 8, "bitmex", 10)), []int{5, 11})
		wantNumbers(s, peeked(s, c.Trades.Peek(s.ctx, btc, 10)), nil)
		reader := s.open()
		for _, n := range []int{0, 4, 6, 10} {
			u, err := reader.Trades.PopUser(s.ctx, 7, "kraken", 0)
			must(s, err)
			wantNumbers(s, []fulloncache.Trade{u}, []int{n})
		}
		// One that waits gets what comes.
		popped := make(chan string)
		go func() {
			u, err := reader.Trades.PopUser(s.ctx, 7, "kraken", testenv.Patience)
			popped <- u.ExTradeID + fmt.Sprint(err)
		}()
		_, err = c.Trades.PushUser(s.ctx, tradeOf(btc, 42))
		must(s, err)
		if got := <-popped; got != "42<nil>" {
			s.Fatalf("popped %s", got)
		}
		_, err = reader.Trades.PopUser(s.ctx, 7, "kraken", 20*time.Millisecond)
		wantErr(s, err, fulloncache.ErrNotFound)
	})
}

// Who waits for a trade gets one that comes back, too.
func TestUserTradesPopWhatComesBack(t *testing.T) {
	everyMode(t, func(s *suite) {
		s.cfg.TradesBatchTimeout = 300 * time.Millisecond
		c := s.open()
		_, err := c.Trades.PushManyUser(s.ctx, tradesOf(btc, 1, 3))
		must(s, err)
		b, err := c.Trades.DrainUser(s.ctx, 7, "kraken", 2)
		must(s, err)
		for n := 1; n < 3; n++ {
			u, err := c.Trades.PopUser(s.ctx, 7, "kraken", testenv.Patience)
			must(s, err)
			wantNumbers(s, []fulloncache.Trade{u}, []int{n})
		}
		if time.Now().Before(b.Due) {
			s.Errorf("they came back before %s", b.Due)
		}
	})
}

// What is popped of a batch that came back leaves the rest in its place: before what
// was taken later.
func TestUserTradesPopOfWhatCameBack(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		_, err := c.Trades.PushManyUser(s.ctx, tradesOf(btc, 0, 5))
		must(s, err)
		drain := func(numbers ...int) *fulloncache.TradeBatch {
			s.Helper()
			b, err := c.Trades.DrainUser(s.ctx, 7, "kraken", len(numbers))
			must(s, err)
			wantNumbers(s, b.Trades, numbers)
			return b
		}
		first, later := drain(0, 1, 2), drain(3, 4)
		must(s, first.Return(s.ctx))
		u, err := c.Trades.PopUser(s.ctx, 7, "kraken", 0)
		must(s, err)
		wantNumbers(s, []fulloncache.Trade{u}, []int{0})
		rest := drain(1, 2)
		must(s, later.Return(s.ctx))
		must(s, rest.Return(s.ctx))
		wantNumbers(s, peeked(s, c.Trades.PeekUser(s.ctx, 7, "kraken", 10)), counting(1, 5))
	})
}

// An element that is no trade is reported, hides no other, and stops nobody.
func TestTradesCorruptElement(t *testing.T) {
	eachSide(t, nil, func(s *suite, l tradeSide) {
		if s.mode.admin == nil {
			return
		}
		_, err := l.push(s.ctx, tradeOf(btc, 0))
		must(s, err)
		s.do("RPUSH", l.key, "gar\nbage", "")
		_, err = l.push(s.ctx, tradeOf(btc, 1))
		must(s, err)
		good, bad := 0, 0
		for u, err := range l.peek(10) {
			if err == nil {
				good++
				continue
			}
			wantCorrupt(s, err, l.key, "")
			if u.Exchange != "kraken" {
				s.Errorf("with the error: %+v", u)
			}
			bad++
		}
		if good != 2 || bad != 2 {
			s.Errorf("%d good, %d corrupt", good, bad)
		}
		for range 2 {
			b, err := l.drain(10)
			must(s, err)
			wantNumbers(s, b.Trades, []int{0, 1})
			if len(b.Corrupt) != 2 {
				s.Fatalf("corrupt: %v", b.Corrupt)
			}
			for i, want := range []string{`"gar\nbage"`, `""`} {
				wantCorrupt(s, b.Corrupt[i], l.key, "")
				wantErr(s, b.Corrupt[i], fulloncache.ErrCorrupt, want)
			}
			must(s, b.Return(s.ctx))
		}
		s.do("LSET", l.key, "0", `{"exchange":"kraken","symbol":"X","ex_trade_id":"1","side":"buy","volume":1,"price":-2,"cost":0,"fee":0,"time":"2026-01-01T00:00:00Z"}`)
		b, err := l.drain(1)
		must(s, err)
		wantCorrupt(s, b.Corrupt[0], l.key, "price")
		// It goes once it is reported.
		queue := s.cfg.KeyPrefix + ":global_error"
		s.do("SET", queue, "x")
		wantCorrupt(s, b.Ack(s.ctx), queue, "")
		l.wantLen(s, 3, 1)
		s.do("DEL", queue)
		must(s, b.Ack(s.ctx))
		l.wantLen(s, 3, 0)
		report, err := s.open().Base.PopGlobalError(s.ctx, 0)
		must(s, err)
		if report.Component != "trades" || !strings.Contains(report.Message, "1 elements") || !strings.Contains(report.Message, `"price":-2`) && !strings.Contains(report.Message, `\"price\":-2`) {
			s.Errorf("reported %+v", report)
		}
	})
}

func TestUserTradesPopCorrupt(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		key := s.key("user_trades", "user_7", ":kraken")
		s.do("RPUSH", key, "garbage")
		_, err := c.Trades.PopUser(s.ctx, 7, "kraken", 0)
		wantCorrupt(s, err, key, "")
		wantErr(s, err, fulloncache.ErrCorrupt, "garbage")
	})
}

// A batch in flight that somebody damaged comes back as far as it can be read.
func TestTradesCorruptBatch(t *testing.T) {
	eachSide(t, func(cfg *fulloncache.Config) { cfg.TradesBatchTimeout = 100 * time.Millisecond }, func(s *suite, l tradeSide) {
		if s.mode.admin == nil {
			return
		}
		for _, damage := range []struct {
			text string
			bad  int
		}{{"nonsense", 1}, {"", 1}, {"7 2 2:xxyy", 1}, {"0:2 2 2:xxyy", 2}, {"0:1,5:9 2 4:late2:so", 2}} {
			_, err := l.pushMany(s.ctx, tradesOf(btc, 0, 2))
			must(s, err)
			_, err = l.drain(2)
			must(s, err)
			taken := l.key + ":taken"
			ids, err := s.mode.admin(s, taken).Do(s, "HKEYS", taken).AsStrSlice()
			must(s, err)
			s.do("HSET", taken, ids[0], damage.text)
			testenv.Eventually(s, "return", func() (bool, string) {
				n, flying, err := l.count()
				return n > 0 && flying == 0, fmt.Sprint(n, flying, err)
			})
			b, err := l.drain(10)
			must(s, err)
			if len(b.Corrupt) != damage.bad || len(b.Trades) != 0 {
				s.Fatalf("%q came back as %+v", damage.text, b)
			}
			must(s, b.Ack(s.ctx))
			l.wantLen(s, 0, 0)
		}
		// One that is gone altogether is forgotten.
		_, err := l.pushMany(s.ctx, tradesOf(btc, 0, 2))
		must(s, err)
		_, err = l.drain(2)
		must(s, err)
		s.do("DEL", l.key+":taken")
		testenv.Eventually(s, "that nothing is in flight", func() (bool, string) {
			n, flying, err := l.count()
			return err == nil && n == 0 && flying == 0, fmt.Sprint(n, flying, err)
		})
	})
}

// A key of another type is named, whichever it is, and nothing is half done.
func TestTradesWrongType(t *testing.T) {
	eachSide(t, nil, func(s *suite, l tradeSide) {
		if s.mode.admin == nil {
			return
		}
		rev := s.key("trade_rev", "kraken", "")
		for _, key := range []string{l.key, l.key + ":taken", l.key + ":due", l.key + ":info", l.key + ":seen", rev} {
			s.do("DEL", key)
			if strings.HasSuffix(key, ":info") || strings.HasSuffix(key, ":taken") || key == l.key {
				s.do("SET", key, "x")
			} else {
				s.do("HSET", key, "x", "y")
			}
			used := map[string]bool{l.key: true, l.key + ":taken": true, l.key + ":due": true, l.key + ":info": true}[key]
			if pushes := !strings.HasSuffix(key, ":taken") && !strings.HasSuffix(key, ":due"); pushes && (key != rev || l.name == "market") {
				_, err := l.push(s.ctx, tradeOf(btc, 1))
				wantCorrupt(s, err, key, "")
			}
			if used {
				_, err := l.drain(1)
				wantCorrupt(s, err, key, "")
				_, _, err = l.count()
				wantCorrupt(s, err, key, "")
				for _, err := range l.peek(1) {
					wantCorrupt(s, err, key, "")
				}
			}
			s.do("DEL", key)
			l.wantLen(s, 0, 0)
		}
		_, err := l.push(s.ctx, tradeOf(btc, 1))
		must(s, err)
		b, err := l.drain(1)
		must(s, err)
		s.do("SET", l.key, "x")
		wantCorrupt(s, b.Return(s.ctx), l.key, "")
		s.do("DEL", l.key)
		must(s, b.Return(s.ctx))
		l.wantLen(s, 1, 0)
		b, err = l.drain(1)
		must(s, err)
		s.do("SET", l.key+":info", "x")
		wantCorrupt(s, b.Ack(s.ctx), l.key+":info", "")
		s.do("DEL", l.key+":info")
		must(s, b.Ack(s.ctx))
	})
}

// Of what is acknowledged nothing stays, and the ids of a window go with it.
func TestTradesLeaveNothingBehind(t *testing.T) {
	eachSide(t, nil, func(s *suite, l tradeSide) {
		if s.mode.admin == nil {
			return
		}
		_, err := l.pushMany(s.ctx, tradesOf(btc, 0, 3), fulloncache.Unique(time.Hour))
		must(s, err)
		b, err := l.drain(3)
		must(s, err)
		must(s, b.Ack(s.ctx))
		admin := s.mode.admin(s, l.key)
		for _, key := range []string{l.key, l.key + ":taken", l.key + ":due"} {
			n, err := admin.Do(s, "EXISTS", key).AsInt64()
			if must(s, err); n != 0 {
				s.Errorf("%s is left", key)
			}
		}
		ms, err := admin.Do(s, "PTTL", l.key+":seen").AsInt64()
		if must(s, err); ms <= 0 || ms > time.Hour.Milliseconds() {
			s.Errorf("the ids go in %d ms", ms)
		}
	})
}

// What came back and gave way to new trades takes its places with it.
func TestTradesPlacesOfWhatIsDropped(t *testing.T) {
	eachSide(t, func(cfg *fulloncache.Config) { cfg.TradesCap = 5 }, func(s *suite, l tradeSide) {
		_, err := l.pushMany(s.ctx, tradesOf(btc, 0, 5))
		must(s, err)
		first, err := l.drain(2)
		must(s, err)
		later, err := l.drain(2)
		must(s, err)
		must(s, first.Return(s.ctx))
		_, err = l.pushMany(s.ctx, tradesOf(btc, 5, 8), fulloncache.DropOldest())
		must(s, err)
		rest, err := l.drain(1)
		must(s, err)
		wantNumbers(s, rest.Trades, []int{1})
		must(s, later.Return(s.ctx))
		must(s, rest.Return(s.ctx))
		wantNumbers(s, peeked(s, l.peek(10)), counting(1, 8))
	})
}

// Where somebody else emptied a list, nobody has the places of what had come back.
func TestTradesPlacesWhereOthersTook(t *testing.T) {
	eachSide(t, nil, func(s *suite, l tradeSide) {
		if s.mode.admin == nil {
			return
		}
		drain := func(numbers ...int) *fulloncache.TradeBatch {
			s.Helper()
			b, err := l.drain(len(numbers))
			must(s, err)
			wantNumbers(s, b.Trades, numbers)
			return b
		}
		push := func(from, to int) {
			s.Helper()
			_, err := l.pushMany(s.ctx, tradesOf(btc, from, to))
			must(s, err)
		}
		push(0, 3)
		must(s, drain(0, 1, 2).Return(s.ctx))
		s.do("DEL", l.key)
		push(3, 5)
		three := drain(3)
		push(5, 8)
		four := drain(4)
		must(s, three.Return(s.ctx))
		must(s, four.Return(s.ctx))
		wantNumbers(s, peeked(s, l.peek(10)), counting(3, 8))
	})
}

func TestUserTradesPopWrongType(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		key := s.key("user_trades", "user_7", ":kraken")
		s.do("SET", key, "x")
		_, err := c.Trades.PopUser(s.ctx, 7, "kraken", 0)
		wantCorrupt(s, err, key, "")
		s.do("DEL", key)
		s.do("SET", key+":info", "x")
		_, err = c.Trades.PopUser(s.ctx, 7, "kraken", 0)
		wantCorrupt(s, err, key+":info", "")
	})
}
