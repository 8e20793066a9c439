package fulloncache_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// corruptMode runs a test where an operator can damage keys.
func corruptMode(t *testing.T, test func(s *suite, c *fulloncache.Client)) {
	t.Helper()
	conformance(t, func(s *suite, c *fulloncache.Client) {
		if s.mode.admin == nil {
			// Nobody else reaches the server in this process: there it can only be
			// checked that all is well.
			must(s, c.Ticks.Set(s.ctx, tickOf(btc, "1", 0)))
			got, err := c.Ticks.Get(s.ctx, btc)
			wantTick(s, got, err, tickOf(btc, "1", 0))
			return
		}
		test(s, c)
	})
}

func wantCorrupt(t testing.TB, err error, key, field string) {
	t.Helper()
	var corrupt *fulloncache.CorruptError
	if !errors.Is(err, fulloncache.ErrCorrupt) || !errors.As(err, &corrupt) || corrupt.Key != key || corrupt.Field != field {
		t.Fatalf("got %v, want that key %q, field %q is corrupt", err, key, field)
	}
}

func TestTickCorruptField(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		key := s.key("tickers", "kraken", ":BTCUSD")
		for _, damage := range []struct{ field, value, blamed string }{
			{"exchange", "", "exchange"},
			{"exchange", "bitmex", "exchange"},
			{"symbol", "", "symbol"},
			{"price", "", "price"},
			{"price", "NaN", "price"},
			{"price", "Inf", "price"},
			{"price", "-Inf", "price"},
			{"price", "1e999", "price"},
			{"price", "garbage", "price"},
			{"price", "1.2.3", "price"},
			{"price", "-1", ""},
			{"price", "0", ""},
			{"bid", "NaN", "bid"},
			{"ask", "x", "ask"},
			{"last", "1e999", "last"},
			{"volume", "-1", ""},
			{"time", "", "time"},
			{"time", "yesterday", "time"},
			{"time", "2026-13-01T00:00:00.000000000Z", "time"},
			{"time", "2026-01-01T00:00:00+00:00", "time"},
			{"rev", "", "rev"},
			{"rev", "x", "rev"},
			{"rev", "1.5", "rev"},
			{"received", "", "received"},
			{"received", "now", "received"},
		} {
			must(s, c.Ticks.Set(s.ctx, tickOf(btc, "1", 0)))
			must(s, c.Ticks.Set(s.ctx, tickOf(eth, "2", 0)))
			if damage.value == "" {
				s.do("HDEL", key, damage.field)
			} else {
				s.do("HSET", key, damage.field, damage.value)
			}
			got, err := c.Ticks.Get(s.ctx, btc)
			wantCorrupt(s, err, key, damage.blamed)
			if got.Price.Sign() != 0 {
				s.Errorf("%s=%s: a price came out: %v", damage.field, damage.value, got)
			}
			// What is corrupt is reported and hides nothing.
			for name, list := range map[string]func(func(fulloncache.Tick, error) bool){
				"List": c.Ticks.List(s.ctx, "kraken"), "All": c.Ticks.All(s.ctx),
				"GetMany": c.Ticks.GetMany(s.ctx, []fulloncache.Market{btc, eth}),
			} {
				bad, good := 0, 0
				for tick, err := range list {
					if tick.Market == btc {
						wantCorrupt(s, err, key, damage.blamed)
						bad++
						continue
					}
					wantTick(s, tick, err, tickOf(eth, "2", 0))
					good++
				}
				if bad != 1 || good != 1 {
					s.Errorf("%s with %s=%q: %d corrupt, %d good", name, damage.field, damage.value, bad, good)
				}
			}
			_, err = c.Ticks.Any(s.ctx, "BTC/USD")
			wantCorrupt(s, err, key, damage.blamed)

			reader := s.open()
			stream := followExchange(s, reader, "kraken")
			wantCorrupt(s, stream.next().Err, key, damage.blamed)
			stream.want(tickOf(eth, "2", 0))
			// Setting it anew mends it, whatever the time.
			must(s, c.Ticks.Set(s.ctx, tickOf(btc, "3", 0)))
			got, err = c.Ticks.Get(s.ctx, btc)
			wantTick(s, got, err, tickOf(btc, "3", 0))
			for {
				if x := stream.next(); x.Err == nil && x.Update.Tick.Equal(tickOf(btc, "3", 0)) {
					break
				}
			}
			stream.cancel()
			reader.Close()
		}
		// Nothing damaged is left.
		for _, err := range c.Ticks.All(s.ctx) {
			must(s, err)
		}
	})
}

// A time that no tick can have does not block its market for ever.
func TestTickCorruptFutureTime(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Ticks.Set(s.ctx, tickOf(btc, "1", 0)))
		s.do("HSET", s.key("tickers", "kraken", ":BTCUSD"), "time", "9000-01-01T00:00:00.000000000Z")
		must(s, c.Ticks.Set(s.ctx, tickOf(btc, "2", 1)))
		got, err := c.Ticks.Get(s.ctx, btc)
		wantTick(s, got, err, tickOf(btc, "2", 1))
	})
}

func TestTickCorruptKey(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		key := s.key("tickers", "kraken", ":BTCUSD")
		must(s, c.Ticks.Set(s.ctx, tickOf(btc, "1", 0)))
		must(s, c.Ticks.Set(s.ctx, tickOf(eth, "2", 0)))
		s.do("DEL", key)
		s.do("RPUSH", key, "not a hash")
		_, err := c.Ticks.Get(s.ctx, btc)
		wantCorrupt(s, err, key, "")
		wantCorrupt(s, c.Ticks.Set(s.ctx, tickOf(btc, "3", 1)), key, "")
		bad := 0
		for tick, err := range c.Ticks.List(s.ctx, "kraken") {
			if tick.Market == btc {
				wantCorrupt(s, err, key, "")
				bad++
			}
		}
		if bad != 1 {
			s.Fatalf("%d reported", bad)
		}
		stream := follow(s, s.open(), btc)
		wantCorrupt(s, stream.next().Err, key, "")
		must(s, c.Ticks.Delete(s.ctx, btc))
		_, err = c.Ticks.Get(s.ctx, btc)
		wantErr(s, err, fulloncache.ErrNotFound)
		must(s, c.Ticks.Set(s.ctx, tickOf(btc, "4", 2)))
		stream.want(tickOf(btc, "4", 2))
	})
}

// Keys of the wrong type beside the ticker are named, and nothing is half written.
func TestTickCorruptIndexes(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		ticker := s.key("tickers", "kraken", ":BTCUSD")
		beat := s.key("ticker_rev", "kraken", ":beat")
		symbols, rev := s.key("ticker_symbols", "kraken", ""), s.key("ticker_rev", "kraken", "")
		alive := []fulloncache.ReadOption{fulloncache.MaxAge(time.Second), fulloncache.FeedAlive(time.Minute)}
		for _, key := range []string{symbols, rev} {
			s.do("DEL", ticker)
			s.do("DEL", key)
			s.do("LPUSH", key, "x")
			err := c.Ticks.Set(s.ctx, tickOf(btc, "1", 0))
			wantCorrupt(s, err, key, "")
			wantCorrupt(s, c.Ticks.SetMany(s.ctx, []fulloncache.Tick{tickOf(btc, "1", 0)}), key, "")
			_, err = c.Ticks.Get(s.ctx, btc)
			wantErr(s, err, fulloncache.ErrNotFound)
			if key == symbols {
				_, err := c.Ticks.Symbols(s.ctx, "kraken")
				wantCorrupt(s, err, key, "")
				_, err = c.Ticks.DeleteExchange(s.ctx, "kraken")
				wantCorrupt(s, err, key, "")
				n := 0
				for _, err := range c.Ticks.List(s.ctx, "kraken") {
					wantCorrupt(s, err, key, "")
					n++
				}
				if n != 1 {
					s.Fatalf("%d elements", n)
				}
				x := followExchange(s, s.open(), "kraken").next()
				if !isCut(x.Err) || !errors.Is(x.Err, fulloncache.ErrCorrupt) || !strings.Contains(x.Err.Error(), key) {
					s.Fatalf("got %v", x.Err)
				}
			} else {
				_, err := c.Ticks.Next(s.ctx, btc)
				wantCorrupt(s, err, key, "")
			}
			s.do("DEL", key)
			must(s, c.Ticks.Set(s.ctx, tickOf(btc, "1", 0)))
		}
		s.do("SET", rev, "not a number")
		_, err := c.Ticks.Next(s.ctx, btc)
		wantCorrupt(s, err, rev, "")
		must(s, c.Ticks.Set(s.ctx, tickOf(btc, "1", 0))) // which mends it
		got, err := c.Ticks.Get(s.ctx, btc)
		wantTick(s, got, err, tickOf(btc, "1", 0))

		for _, damage := range [][]string{{"SET", beat, "not a time"}, {"LPUSH", beat, "x"}} {
			s.do("DEL", beat)
			s.do(damage[0], damage[1], damage[2])
			_, err = c.Ticks.Get(s.ctx, btc, alive...)
			wantCorrupt(s, err, beat, "")
			for _, err := range c.Ticks.GetMany(s.ctx, []fulloncache.Market{btc}, alive...) {
				wantErr(s, err, fulloncache.ErrStale)
			}
			stream := follow(s, s.open(), btc)
			stream.want(tickOf(btc, "1", 0))
			must(s, c.Ticks.Beat(s.ctx, "kraken"))
			_, err = c.Ticks.Get(s.ctx, btc, alive...)
			must(s, err)
		}

		// Of a deletion that fails nothing is done.
		must(s, c.Ticks.Set(s.ctx, tickOf(eth, "1", 0)))
		s.do("DEL", rev)
		s.do("LPUSH", rev, "x")
		wantCorrupt(s, c.Ticks.Delete(s.ctx, btc), rev, "")
		_, err = c.Ticks.DeleteExchange(s.ctx, "kraken")
		wantCorrupt(s, err, rev, "")
		for _, m := range []fulloncache.Market{btc, eth} {
			got, err := c.Ticks.Get(s.ctx, m)
			wantTick(s, got, err, tickOf(m, "1", 0))
		}
		left, err := c.Ticks.Symbols(s.ctx, "kraken")
		must(s, err)
		if len(left) != 2 {
			s.Fatalf("symbols: %q", left)
		}
		s.do("DEL", rev)
		must(s, c.Ticks.Delete(s.ctx, eth))

		index := s.cfg.KeyPrefix + ":exchanges"
		s.do("DEL", index)
		s.do("SET", index, "x")
		wantCorrupt(s, c.Ticks.Delete(s.ctx, btc), index, "")
		if s.mode.name == "standalone" { // elsewhere the index is another slot's
			got, err = c.Ticks.Get(s.ctx, btc)
			wantTick(s, got, err, tickOf(btc, "1", 0))
			fresh := s.open() // whose first write is to add to it
			wantCorrupt(s, fresh.Ticks.Set(s.ctx, tickOf(eth, "1", 0)), index, "")
			_, err = c.Ticks.Get(s.ctx, eth)
			wantErr(s, err, fulloncache.ErrNotFound)
			left, err = c.Ticks.Symbols(s.ctx, "kraken")
			if must(s, err); !slices.Equal(left, []string{"BTC/USD"}) {
				s.Errorf("symbols: %q", left)
			}
		}
		_, err = c.Ticks.Exchanges(s.ctx)
		wantCorrupt(s, err, index, "")
		_, err = c.Ticks.Any(s.ctx, "BTC/USD")
		wantCorrupt(s, err, index, "")
		n := 0
		for _, err := range c.Ticks.All(s.ctx) {
			wantCorrupt(s, err, index, "")
			n++
		}
		if n != 1 {
			s.Fatalf("%d elements", n)
		}
	})
}

// All goes on behind an exchange whose index cannot be read.
func TestTickCorruptIndexOfOneExchange(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		other := fulloncache.Market{Exchange: "z", Symbol: "BTC/USD"}
		must(s, c.Ticks.SetMany(s.ctx, []fulloncache.Tick{tickOf(btc, "1", 0), tickOf(other, "2", 0)}))
		index := s.key("ticker_symbols", "kraken", "")
		s.do("DEL", index)
		s.do("SET", index, "x")
		bad, good := 0, 0
		for tick, err := range c.Ticks.All(s.ctx) {
			if tick.Exchange == "kraken" {
				wantCorrupt(s, err, index, "")
				bad++
				continue
			}
			wantTick(s, tick, err, tickOf(other, "2", 0))
			good++
		}
		if bad != 1 || good != 1 {
			s.Fatalf("%d, %d", bad, good)
		}
	})
}

// What anybody publishes on a channel is told, and hides nothing.
func TestStreamMalformedMessages(t *testing.T) {
	t.Parallel()
	srv, ctx, prefix := testenv.Redis(t), testenv.Context(t), testenv.Prefix(t)
	c := open(t, fulloncache.Config{URL: srv.URL(), KeyPrefix: prefix})
	must(t, c.Ticks.Set(ctx, tickOf(btc, "1", 0)))
	stream := follow(t, c, btc)
	stream.want(tickOf(btc, "1", 0))
	channel := "db0:" + prefix + ":tickers:kraken:BTCUSD"
	now := time.Now().UTC().Format("2006-01-02T15:04:05.000000000Z")
	for i, message := range []string{
		"", "x", "T", "T 1", "T x " + now, "D", "D x " + now + " 6 krakenBTC/USD", "D 1 " + now + " 99 krakenBTC/USD",
		"D 1 " + now + " -1 krakenBTC/USD", strings.Repeat("long ", 1000),
		"T 9999999999999999 " + now + " " + now + " NaN - - - - 6 krakenBTC/USD",
		"T 9999999999999999 " + now + " " + now + " -5 - - - - 6 krakenBTC/USD",
		"T 9999999999999999 " + now + " yesterday 5 - - - - 6 krakenBTC/USD",
		"T 1 2 3 4 5 6 7 8 9",
	} {
		srv.Do(t, "PUBLISH", channel, message)
		x := stream.next()
		wantErr(t, x.Err, fulloncache.ErrCorrupt, channel)
		if len(x.Err.Error()) > 1000 {
			t.Errorf("an error of %d bytes", len(x.Err.Error()))
		}
		must(t, c.Ticks.Set(ctx, tickOf(btc, "2", i+1)))
		stream.want(tickOf(btc, "2", i+1))
	}
	// Signs of life are no ticks, and a false reset is only a reading.
	srv.Do(t, "PUBLISH", channel, "B "+now)
	srv.Do(t, "PUBLISH", channel, "R 1")
	srv.Do(t, "PUBLISH", "db0:"+prefix+":ticker_rev:kraken", "garbage")
	must(t, c.Ticks.Set(ctx, tickOf(btc, "3", 100)))
	stream.want(tickOf(btc, "3", 100))
}

// A symbol in the index without a ticker is no tick, and no error.
func TestTickIndexedWithoutTicker(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Ticks.SetMany(s.ctx, []fulloncache.Tick{tickOf(btc, "1", 0), tickOf(eth, "2", 0)}))
		s.do("DEL", s.key("tickers", "kraken", ":BTCUSD"))
		n := 0
		for tick, err := range c.Ticks.List(s.ctx, "kraken") {
			wantTick(s, tick, err, tickOf(eth, "2", 0))
			n++
		}
		deleted, err := c.Ticks.DeleteExchange(s.ctx, "kraken")
		must(s, err)
		if n != 1 || deleted != 1 {
			s.Fatalf("listed %d, deleted %d", n, deleted)
		}
		_, err = c.Ticks.Get(s.ctx, fulloncache.Market{})
		wantErr(s, err, fulloncache.ErrInvalid)
	})
}
