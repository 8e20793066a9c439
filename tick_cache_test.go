package fulloncache_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

func wantTick(t testing.TB, got fulloncache.Tick, err error, want fulloncache.Tick) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if !got.Equal(want) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

func wantErr(t testing.TB, err, want error, mentions ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
	for _, m := range mentions {
		if !strings.Contains(err.Error(), m) {
			t.Fatalf("error %q does not name %q", err, m)
		}
	}
}

func TestTickSetGet(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		full := fulloncache.Tick{
			Market: btc, Price: dec("67123.45"), Bid: some("67123.40"), Ask: some("67123.50"),
			Last: some("67123.45"), Volume: some("0.00000001"), Time: at(1).Add(7),
		}
		_, err := c.Ticks.Get(s.ctx, btc)
		wantErr(s, err, fulloncache.ErrNotFound, "kraken BTC/USD")
		must(s, c.Ticks.Set(s.ctx, full))
		got, err := s.open().Ticks.Get(s.ctx, btc)
		wantTick(s, got, err, full)
		if since := time.Since(got.Received); since < -time.Minute || since > time.Minute {
			s.Fatalf("received %s is not the server's time", got.Received)
		}

		// What the newer tick does not carry is absent, not left over.
		bare := tickOf(btc, "67000", 2)
		must(s, c.Ticks.Set(s.ctx, bare))
		got, err = c.Ticks.Get(s.ctx, btc)
		wantTick(s, got, err, bare)
		if got.Bid.Valid || got.Volume.Valid {
			s.Fatalf("optional fields came back: %+v", got)
		}
		zero := bare
		zero.Volume = some("0")
		must(s, c.Ticks.Set(s.ctx, zero))
		got, err = c.Ticks.Get(s.ctx, btc)
		wantTick(s, got, err, zero)
		if !got.Volume.Valid {
			s.Fatal("a volume of 0 became absent")
		}
	})
}

// P14: prices are floats. Here every digit that a Decimal can hold comes back, by
// every way to a price.
func TestTickKeepsEveryDigitP14(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		mirror, err := s.open().Ticks.Mirror(s.ctx, "kraken")
		must(s, err)
		must(s, mirror.Ready(s.ctx))
		stream := c.Ticks.Subscribe(s.ctx, btc)
		for i, price := range []string{
			"0.1", "0.30000000000000004", "9007199254740993", "1e-19", "1234567890123456789.0123456789012345678",
			"99999999999999999999999999999999999999", "0.0000000000000000001", "1e37",
		} {
			want := tickOf(btc, price, i)
			want.Volume = some(price)
			must(s, c.Ticks.Set(s.ctx, want))
			got, err := c.Ticks.Get(s.ctx, btc)
			wantTick(s, got, err, want)
			u := <-stream
			wantTick(s, u.Update.Tick, u.Err, want)
			for got, err := range c.Ticks.All(s.ctx) {
				wantTick(s, got, err, want)
			}
			got, err = c.Ticks.Any(s.ctx, btc.Symbol)
			wantTick(s, got, err, want)
			testenv.Eventually(s, "the mirror", func() (bool, string) {
				q, err := mirror.Get(btc)
				return err == nil && q.Tick().Equal(want), fmt.Sprint(q, err)
			})
		}
	})
}

// P15: a late tick overwrites a newer one.
func TestTickOutdatedP15(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Ticks.Set(s.ctx, tickOf(btc, "2", 2)))
		wantErr(s, c.Ticks.Set(s.ctx, tickOf(btc, "1", 1)), fulloncache.ErrOutdated, "kraken BTC/USD")
		got, err := c.Ticks.Get(s.ctx, btc)
		wantTick(s, got, err, tickOf(btc, "2", 2))
		same := tickOf(btc, "3", 2)
		must(s, c.Ticks.Set(s.ctx, same))
		got, err = c.Ticks.Get(s.ctx, btc)
		wantTick(s, got, err, same)
	})
}

// P15: nothing tells the age of a price.
func TestTickAgeP15(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Ticks.Set(s.ctx, tickOf(btc, "2", 0))) // a minute old
		_, err := c.Ticks.Get(s.ctx, btc, fulloncache.MaxAge(2*time.Second))
		wantErr(s, err, fulloncache.ErrStale, "kraken BTC/USD", "2s")
		var stale *fulloncache.StaleError
		if !errors.As(err, &stale) || stale.Age < time.Minute || stale.MaxAge != 2*time.Second || stale.FeedAge >= 0 {
			s.Fatalf("details: %+v", stale)
		}
		_, err = c.Ticks.Get(s.ctx, btc, fulloncache.MaxAge(time.Hour))
		must(s, err)
		// Set was a sign of life: the quiet market is not a dead feed.
		alive := []fulloncache.ReadOption{fulloncache.MaxAge(2 * time.Second), fulloncache.FeedAlive(time.Minute)}
		_, err = c.Ticks.Get(s.ctx, btc, alive...)
		must(s, err)
		_, err = c.Ticks.Get(s.ctx, btc, fulloncache.MaxAge(time.Second), fulloncache.FeedAlive(time.Nanosecond))
		wantErr(s, err, fulloncache.ErrStale, "last alive")
	})
}

// Ages are exact: the limit itself is accepted, a nanosecond more is not.
func TestTickAgeIsExact(t *testing.T) {
	t.Parallel()
	clock, ctx := testenv.NewClock(at(0)), testenv.Context(t)
	c := open(t, fulloncache.Config{URL: testenv.Redis(t).URL(), KeyPrefix: testenv.Prefix(t), Now: clock.Now})
	must(t, c.Ticks.Set(ctx, tickOf(btc, "2", 0)))
	m, err := c.Ticks.Mirror(ctx, "kraken")
	must(t, err)
	must(t, m.Ready(ctx))
	clock.Advance(2 * time.Second)
	_, err = c.Ticks.Get(ctx, btc, fulloncache.MaxAge(2*time.Second))
	must(t, err)
	q, err := m.Get(btc, fulloncache.MaxAge(2*time.Second))
	must(t, err)
	if q.Age() != 2*time.Second {
		t.Fatalf("age %s", q.Age())
	}
	clock.Advance(1)
	_, err = c.Ticks.Get(ctx, btc, fulloncache.MaxAge(2*time.Second))
	wantErr(t, err, fulloncache.ErrStale)
	_, err = m.Get(btc, fulloncache.MaxAge(2*time.Second))
	wantErr(t, err, fulloncache.ErrStale)
}

// A symbol that nobody writes again disappears everywhere when it is cleared,
// while the feed goes on with others.
func TestClearLeavesNoGhost(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Ticks.SetMany(s.ctx, []fulloncache.Tick{tickOf(btc, "1", 0), tickOf(eth, "1", 0)}))
		m, err := c.Ticks.Mirror(s.ctx, "kraken")
		must(s, err)
		must(s, m.Ready(s.ctx))
		feed := s.open()
		ctx, stop := context.WithCancel(s.ctx)
		var wg sync.WaitGroup
		wg.Go(func() {
			for i := 1; ctx.Err() == nil; i++ {
				if err := feed.Ticks.Set(ctx, tickOf(btc, "2", i%50_000)); err != nil && ctx.Err() == nil && !errors.Is(err, fulloncache.ErrOutdated) {
					s.Error(err)
					return
				}
			}
		})
		defer wg.Wait()
		defer stop()
		_, err = s.open().Base.Clear(s.ctx)
		must(s, err)
		testenv.Eventually(s, "the ghost goes", func() (bool, string) {
			_, gone := m.Get(eth)
			_, there := m.Get(btc)
			return errors.Is(gone, fulloncache.ErrNotFound) && there == nil, fmt.Sprint(gone, there)
		})
	})
}

func TestTickBeat(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Ticks.Set(s.ctx, tickOf(btc, "2", 0)))
		feedAge := func() time.Duration {
			_, err := c.Ticks.Get(s.ctx, btc, fulloncache.MaxAge(time.Second), fulloncache.FeedAlive(time.Nanosecond))
			var stale *fulloncache.StaleError
			if !errors.As(err, &stale) {
				s.Fatal(err)
			}
			return stale.FeedAge
		}
		testenv.Eventually(s, "silence", func() (bool, string) { d := feedAge(); return d > 50*time.Millisecond, d.String() })
		before := time.Now()
		must(s, c.Ticks.Beat(s.ctx, "kraken"))
		if d := feedAge(); d > time.Since(before) {
			s.Fatalf("after a beat the feed was last alive %s ago", d)
		}
		wantErr(s, c.Ticks.Beat(s.ctx, ""), fulloncache.ErrInvalid, "exchange is empty")
	})
}

func TestTickInvalid(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		long := strings.Repeat("x", 300)
		for name, tick := range map[string]fulloncache.Tick{
			"exchange is empty":   {Market: fulloncache.Market{Symbol: "A"}, Price: dec("1"), Time: at(0)},
			"symbol is empty":     {Market: fulloncache.Market{Exchange: "A"}, Price: dec("1"), Time: at(0)},
			"300 bytes":           {Market: fulloncache.Market{Exchange: "A", Symbol: long}, Price: dec("1"), Time: at(0)},
			"price 0":             {Market: btc, Time: at(0)},
			"price -1":            {Market: btc, Price: dec("-1"), Time: at(0)},
			"bid -1":              {Market: btc, Price: dec("1"), Bid: some("-1"), Time: at(0)},
			"volume -0.1":         {Market: btc, Price: dec("1"), Volume: some("-0.1"), Time: at(0)},
			"time 0001":           {Market: btc, Price: dec("1")},
			"time 1969":           {Market: btc, Price: dec("1"), Time: time.Date(1969, 1, 1, 0, 0, 0, 0, time.UTC)},
			"time 10000":          {Market: btc, Price: dec("1"), Time: time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)},
			"ahead of the server": {Market: btc, Price: dec("1"), Time: time.Now().Add(time.Minute)},
		} {
			err := c.Ticks.Set(s.ctx, tick)
			if !errors.Is(err, fulloncache.ErrInvalid) {
				s.Errorf("%s: got %v", name, err)
			}
			if err != nil && !strings.Contains(err.Error(), name) {
				s.Errorf("error %q does not name %q", err, name)
			}
		}
		// Milliseconds read as seconds would block the market for ever.
		wantErr(s, c.Ticks.Set(s.ctx, fulloncache.Tick{Market: btc, Price: dec("1"), Time: time.Unix(1_618_677_709_984, 0).AddDate(-49_000, 0, 0)}), fulloncache.ErrInvalid)
		for key, err := range c.Base.Keys(s.ctx, "tickers:*") {
			s.Errorf("something was written: %q %v", key, err)
		}
	})
}

var oddSymbols = []string{
	"BTC/USDT:USDT", "A:B", "{tag}", "a*b", "50%", "with space", "a/b/c", "/", "x/", "/x", "\xff\xfe", "ünï¢ode", "₿/USD",
	"new\nline", "\x00", "[a-z]", "?", `back\slash`, "-", "BTC-PERP", strings.Repeat("L", 256),
}

func TestTickOddSymbols(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		for _, exchange := range []string{"odd", "o{d}d:x*\xff"} {
			stream := c.Ticks.SubscribeExchange(s.ctx, exchange)
			var want []string
			for i, symbol := range oddSymbols {
				tick := tickOf(fulloncache.Market{Exchange: exchange, Symbol: symbol}, fmt.Sprint(i+1), i)
				must(s, c.Ticks.Set(s.ctx, tick))
				got, err := c.Ticks.Get(s.ctx, tick.Market)
				wantTick(s, got, err, tick)
				u := <-stream
				wantTick(s, u.Update.Tick, u.Err, tick)
				want = append(want, symbol)
			}
			slices.Sort(want)
			var listed []string
			for tick, err := range c.Ticks.List(s.ctx, exchange) {
				must(s, err)
				listed = append(listed, tick.Symbol)
			}
			if !slices.Equal(listed, want) {
				s.Fatalf("listed %q, want %q", listed, want)
			}
		}
		exchanges, err := c.Ticks.Exchanges(s.ctx)
		must(s, err)
		if !slices.Equal(exchanges, []string{"odd", "o{d}d:x*\xff"}) {
			s.Fatalf("exchanges: %q", exchanges)
		}
	})
}

func TestTickSymbolsMeet(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		twin := fulloncache.Market{Exchange: "kraken", Symbol: "BTCUSD"}
		must(s, c.Ticks.Set(s.ctx, tickOf(btc, "1", 0)))
		wantErr(s, c.Ticks.Set(s.ctx, tickOf(twin, "2", 1)), fulloncache.ErrInvalid, `"BTC/USD"`, `"BTCUSD"`)
		_, err := c.Ticks.Get(s.ctx, twin)
		wantErr(s, err, fulloncache.ErrNotFound, `"BTC/USD"`)
		wantErr(s, c.Ticks.Delete(s.ctx, twin), fulloncache.ErrNotFound, `"BTC/USD"`)
		got, err := c.Ticks.Get(s.ctx, btc)
		wantTick(s, got, err, tickOf(btc, "1", 0))

		// Nor does a stream of one carry the other's updates.
		both, one := c.Ticks.Subscribe(s.ctx, btc, twin, btc), c.Ticks.Subscribe(s.ctx, twin)
		u := <-both
		wantTick(s, u.Update.Tick, u.Err, tickOf(btc, "1", 0))
		must(s, c.Ticks.Delete(s.ctx, btc))
		must(s, c.Ticks.Set(s.ctx, tickOf(twin, "2", 1)))
		u = <-one
		wantTick(s, u.Update.Tick, u.Err, tickOf(twin, "2", 1))
	})
}

func TestTickSetMany(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Ticks.SetMany(s.ctx, nil))
		must(s, c.Ticks.SetMany(s.ctx, []fulloncache.Tick{tickOf(btc, "1", 1), tickOf(btc, "2", 2), tickOf(eth, "3", 1)}))
		other := fulloncache.Market{Exchange: "coinbase", Symbol: "BTC/USD"}
		err := c.Ticks.SetMany(s.ctx, []fulloncache.Tick{
			tickOf(btc, "9", 3), tickOf(btc, "8", 1), {Market: btc}, tickOf(other, "7", 1), tickOf(btc, "10", 3),
		})
		var batch *fulloncache.BatchError
		if !errors.As(err, &batch) || len(batch.Errs) != 5 {
			s.Fatalf("got %v", err)
		}
		for i, want := range []error{nil, fulloncache.ErrOutdated, fulloncache.ErrInvalid, nil, nil} {
			if !errors.Is(batch.Errs[i], want) {
				s.Errorf("tick %d: got %v, want %v", i, batch.Errs[i], want)
			}
		}
		wantErr(s, err, fulloncache.ErrOutdated, "2 of 5 failed")
		got, err := c.Ticks.Get(s.ctx, btc)
		wantTick(s, got, err, tickOf(btc, "10", 3)) // the order given
		exchanges, err := c.Ticks.Exchanges(s.ctx)
		must(s, err)
		if !slices.Equal(exchanges, []string{"coinbase", "kraken"}) {
			s.Fatalf("exchanges: %q", exchanges)
		}
	})
}

// P10: tickers of any exchange outside a list are invisible. And the 10,000th
// element is there.
func TestTickListsP10(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		n := 10_000
		if s.mode.name == "embedded" {
			n = 500 // it is slow, and no Redis
		}
		ticks := make([]fulloncache.Tick, n)
		for i := range ticks {
			ticks[i] = tickOf(fulloncache.Market{Exchange: "someone_new", Symbol: fmt.Sprintf("S%05d/USD", i)}, fmt.Sprint(i+1), 0)
		}
		must(s, c.Ticks.SetMany(s.ctx, ticks))
		must(s, c.Ticks.Set(s.ctx, tickOf(btc, "1", 0)))
		i := 0
		for tick, err := range c.Ticks.List(s.ctx, "someone_new", fulloncache.MaxAge(time.Hour)) {
			wantTick(s, tick, err, ticks[i])
			i++
		}
		if i != n {
			s.Fatalf("listed %d of %d", i, n)
		}
		i = 0
		for _, err := range c.Ticks.All(s.ctx) {
			must(s, err)
			i++
		}
		if i != n+1 {
			s.Fatalf("all: %d of %d", i, n+1)
		}
		for range c.Ticks.All(s.ctx) {
			break // a loop may end early
		}
		symbols, err := c.Ticks.Symbols(s.ctx, "someone_new")
		must(s, err)
		if len(symbols) != n || symbols[n-1] != ticks[n-1].Symbol {
			s.Fatalf("%d symbols", len(symbols))
		}
		_, err = c.Ticks.Symbols(s.ctx, "")
		wantErr(s, err, fulloncache.ErrInvalid)
		for _, err := range c.Ticks.List(s.ctx, "") {
			wantErr(s, err, fulloncache.ErrInvalid)
		}
		for range c.Ticks.List(s.ctx, "nobody") {
			s.Fatal("an exchange without ticks listed one")
		}
		deleted, err := c.Ticks.DeleteExchange(s.ctx, "someone_new")
		must(s, err)
		if deleted != n {
			s.Fatalf("deleted %d", deleted)
		}
		exchanges, err := c.Ticks.Exchanges(s.ctx)
		must(s, err)
		if !slices.Equal(exchanges, []string{"kraken"}) {
			s.Fatalf("exchanges: %q", exchanges)
		}
	})
}

func TestTickGetMany(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Ticks.Set(s.ctx, tickOf(btc, "1", 0)))
		other := fulloncache.Market{Exchange: "coinbase", Symbol: "BTC/USD"}
		must(s, c.Ticks.Set(s.ctx, tickOf(other, "2", 0)))
		markets := []fulloncache.Market{other, eth, {}, btc, btc}
		wants := []error{nil, fulloncache.ErrNotFound, fulloncache.ErrInvalid, nil, nil}
		i := 0
		for tick, err := range c.Ticks.GetMany(s.ctx, markets, fulloncache.MaxAge(time.Second), fulloncache.FeedAlive(time.Minute)) {
			if !errors.Is(err, wants[i]) || tick.Market != markets[i] {
				s.Errorf("element %d: %v, %v", i, tick, err)
			}
			i++
		}
		if i != len(markets) {
			s.Fatalf("%d elements", i)
		}
		for _, err := range c.Ticks.GetMany(s.ctx, markets[3:], fulloncache.MaxAge(time.Second)) {
			wantErr(s, err, fulloncache.ErrStale)
			break
		}
	})
}

func TestTickAny(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		_, err := c.Ticks.Any(s.ctx, "BTC/USD")
		wantErr(s, err, fulloncache.ErrNotFound, "BTC/USD")
		_, err = c.Ticks.Any(s.ctx, "")
		wantErr(s, err, fulloncache.ErrInvalid)
		on := func(exchange, price string, n int) fulloncache.Tick {
			return tickOf(fulloncache.Market{Exchange: exchange, Symbol: "BTC/USD"}, price, n)
		}
		now := int(time.Since(t0).Milliseconds())
		must(s, c.Ticks.SetMany(s.ctx, []fulloncache.Tick{on("a", "1", 0), on("b", "2", now), on("c", "3", 5)}))
		got, err := c.Ticks.Any(s.ctx, "BTC/USD")
		wantTick(s, got, err, on("b", "2", now))
		got, err = c.Ticks.Any(s.ctx, "BTC/USD", fulloncache.Prefer("z", "c", "b"))
		wantTick(s, got, err, on("c", "3", 5))
		got, err = c.Ticks.Any(s.ctx, "BTC/USD", fulloncache.Prefer("c", "b"), fulloncache.MaxAge(30*time.Second))
		wantTick(s, got, err, on("b", "2", now))
		_, err = c.Ticks.Any(s.ctx, "BTC/USD", fulloncache.Prefer("a", "c"), fulloncache.MaxAge(30*time.Second))
		wantErr(s, err, fulloncache.ErrStale)
		_, err = c.Ticks.Any(s.ctx, "BTC/USD", fulloncache.Prefer(""))
		wantErr(s, err, fulloncache.ErrInvalid)
		price, err := c.Ticks.Price(s.ctx, "BTC/USD")
		must(s, err)
		if !price.Equal(dec("2")) {
			s.Fatalf("price %s", price)
		}
	})
}

func TestTickDelete(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		wantErr(s, c.Ticks.Delete(s.ctx, btc), fulloncache.ErrNotFound)
		wantErr(s, c.Ticks.Delete(s.ctx, fulloncache.Market{}), fulloncache.ErrInvalid)
		_, err := c.Ticks.DeleteExchange(s.ctx, "")
		wantErr(s, err, fulloncache.ErrInvalid)
		must(s, c.Ticks.SetMany(s.ctx, []fulloncache.Tick{tickOf(btc, "1", 0), tickOf(eth, "1", 0)}))
		must(s, c.Ticks.Delete(s.ctx, btc))
		_, err = c.Ticks.Get(s.ctx, btc)
		wantErr(s, err, fulloncache.ErrNotFound)
		exchanges, err := c.Ticks.Exchanges(s.ctx)
		must(s, err)
		if len(exchanges) != 1 {
			s.Fatalf("exchanges: %q", exchanges)
		}
		must(s, c.Ticks.Delete(s.ctx, eth))
		exchanges, err = c.Ticks.Exchanges(s.ctx)
		must(s, err)
		if len(exchanges) != 0 {
			s.Fatalf("exchanges: %q", exchanges)
		}
	})
}

// What stands in Redis must be readable by people and other programs.
func TestTickStored(t *testing.T) {
	t.Parallel()
	c := open(t, fulloncache.Config{URL: testenv.Redis(t).URL(), KeyPrefix: testenv.Prefix(t)})
	cfg := testenv.Redis(t)
	ctx := testenv.Context(t)
	must(t, c.Ticks.Set(ctx, fulloncache.Tick{Market: btc, Price: dec("1e-8"), Bid: some("0.10"), Time: time.Date(2026, 2, 3, 4, 5, 6, 7, time.UTC)}))
	var prefix string
	for key, err := range c.Base.Keys(ctx, "tickers:*") {
		must(t, err)
		prefix = key
	}
	if prefix != "tickers:kraken:BTCUSD" {
		t.Fatalf("key %q", prefix)
	}
	keys, err := cfg.Do(t, "KEYS", "TestTickStored*:tickers:kraken:BTCUSD").AsStrSlice()
	must(t, err)
	hash, err := cfg.Do(t, "HGETALL", keys[len(keys)-1]).AsStrMap()
	must(t, err)
	for field, want := range map[string]string{
		"exchange": "kraken", "symbol": "BTC/USD", "price": "0.00000001", "bid": "0.1", "time": "2026-02-03T04:05:06.000000007Z",
	} {
		if hash[field] != want {
			t.Errorf("%s is %q, want %q", field, hash[field], want)
		}
	}
	if len(hash) != 7 || len(hash["received"]) != 30 || len(hash["rev"]) != 16 {
		t.Errorf("hash: %v", hash)
	}
}

// The revision is the order of updates, also when many write at once.
func TestTickManyWriters(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		const writers, each = 8, 50
		ctx, cancel := context.WithCancel(s.ctx)
		defer cancel()
		stream := c.Ticks.SubscribeExchange(ctx, "kraken")
		var wg sync.WaitGroup
		var applied sync.Map
		for w := range writers {
			wg.Go(func() {
				for i := range each {
					tick := tickOf(btc, fmt.Sprint(w*each+i+1), i)
					switch err := c.Ticks.Set(ctx, tick); {
					case err == nil:
						applied.Store(tick.Price.String(), tick)
					case !errors.Is(err, fulloncache.ErrOutdated):
						s.Error(err)
					}
				}
			})
		}
		wg.Wait()
		last, err := c.Ticks.Get(ctx, btc)
		must(s, err)
		if !last.Time.Equal(at(each - 1)) {
			s.Fatalf("an older tick won: %v", last)
		}
		rev, n := int64(0), 0
		for u := range stream {
			must(s, u.Err)
			if u.Update.Rev <= rev {
				s.Fatalf("revision %d after %d", u.Update.Rev, rev)
			}
			rev = u.Update.Rev
			n++
			if u.Update.Tick.Equal(last) {
				break
			}
		}
		sent := 0
		applied.Range(func(any, any) bool { sent++; return true })
		if n > sent {
			s.Fatalf("%d updates of %d ticks", n, sent)
		}
	})
}
