package fulloncache_test

import (
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// tradeStream is a stream under test.
type tradeStream struct {
	*pulled[fulloncache.TradeUpdate]
}

func followTrades(t testing.TB, c *fulloncache.Client, markets ...fulloncache.Market) tradeStream {
	return tradeStream{pull(t, func(ctx context.Context) iter.Seq2[fulloncache.TradeUpdate, error] {
		return c.Trades.Stream(ctx, markets...)
	})}
}

func (f tradeStream) want(u fulloncache.Trade, seq, missed int64) {
	f.t.Helper()
	e := f.next()
	if e.err != nil || !e.v.Trade.Equal(u) || e.v.Seq != seq || e.v.Missed != missed {
		f.t.Fatalf("got %+v, %v; want %+v as number %d, %d missed", e.v, e.err, u, seq, missed)
	}
}

// connected waits until a client follows the trades of so many exchanges.
func (s *suite) connected(seen *events, n int) {
	s.Helper()
	testenv.Eventually(s, "connection", func() (bool, string) { return seen.count(fulloncache.EventFeedConnected) >= n, "" })
}

func (s *suite) listen() (*fulloncache.Client, *events) {
	var seen events
	cfg := s.cfg
	cfg.Hooks = []fulloncache.Hooks{seen.hook()}
	return open(s.T, cfg), &seen
}

// Only what is pushed from then on, whoever followed before, every trade of it.
func TestTradeStream(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		push := func(trades ...fulloncache.Trade) {
			s.Helper()
			_, err := c.Trades.PushMany(s.ctx, trades)
			must(s, err)
		}
		push(tradesOf(btc, 1, 4)...)
		reader, seen := s.listen()
		first := followTrades(s, reader, btc, btc)
		s.connected(seen, 1)
		push(tradesOf(btc, 4, 7)...)
		for n := 4; n < 7; n++ {
			first.want(tradeOf(btc, n), int64(n), 0)
		}
		// One that comes later does not get what was there.
		second := followTrades(s, reader, btc, eth)
		joined := fulloncache.Market{Exchange: "kraken", Symbol: "BTCUSD"}
		third := followTrades(s, reader, joined)
		// What was taken off the list counts on.
		b, err := c.Trades.Drain(s.ctx, btc, 100)
		must(s, err)
		must(s, b.Ack(s.ctx))
		testenv.Eventually(s, "the second", func() (bool, string) {
			push(tradeOf(eth, 1))
			select {
			case e := <-second.ch:
				return e.err == nil && e.v.Trade.Market == eth, ""
			default:
				return false, ""
			}
		})
		push(tradeOf(btc, 7))
		first.want(tradeOf(btc, 7), 7, 0)
		for {
			if e := second.next(); e.err != nil || e.v.Trade.Market == btc {
				if e.err != nil || !e.v.Trade.Equal(tradeOf(btc, 7)) || e.v.Seq != 7 || e.v.Missed != 0 {
					s.Fatalf("got %+v, %v", e.v, e.err)
				}
				break
			}
		}
		// A symbol that meets it in one key is another market.
		b, err = c.Trades.Drain(s.ctx, btc, 100)
		must(s, err)
		must(s, b.Ack(s.ctx))
		testenv.Eventually(s, "the third", func() (bool, string) {
			push(tradeOf(joined, 1))
			select {
			case e := <-third.ch:
				return e.err == nil && e.v.Trade.Market == joined && e.v.Missed == 0, ""
			default:
				return false, ""
			}
		})
		first.cancel()
		first.wantEnd()
		reader.Close()
		for {
			if e := third.next(); e.err != nil {
				wantErr(s, e.err, fulloncache.ErrClosed)
				break
			}
		}
		third.wantEnd()
	})
}

// What a slow consumer was not told is counted.
func TestTradeStreamCountsWhatItMissed(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		s.cfg.StreamBuffer = 1
		reader, seen := s.listen()
		const n = 60
		pushed := make(chan error, 1)
		go func() {
			s.connected(seen, 1)
			for i := 1; i <= n; i++ {
				if _, err := c.Trades.Push(s.ctx, tradeOf(btc, i)); err != nil {
					pushed <- err
					return
				}
			}
			pushed <- nil
		}()
		told, missed := int64(0), int64(0)
		for u, err := range reader.Trades.Stream(s.ctx, btc) {
			must(s, err)
			if told++; told == 1 {
				must(s, <-pushed) // meanwhile nobody listens
			}
			missed += u.Missed
			if told+missed != u.Seq {
				s.Fatalf("number %d after %d that were told and %d missed", u.Seq, told, missed)
			}
			if u.Seq == n {
				break
			}
		}
		if missed == 0 {
			s.Error("nothing was missed")
		}
	})
}

// What was pushed while it was cut off is counted, and the stream goes on.
func TestTradeStreamFault(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	proxy := testenv.NewProxy(t, srv.Addr())
	var seen events
	c := open(t, fulloncache.Config{URL: srv.URL()})
	reader := open(t, fulloncache.Config{
		URL: proxy.URL(), FeedHeartbeat: 200 * time.Millisecond, SocketTimeout: time.Second, Hooks: []fulloncache.Hooks{seen.hook()},
	})
	connected := func(n int) {
		t.Helper()
		testenv.Eventually(t, "connection", func() (bool, string) { return seen.count(fulloncache.EventFeedConnected) >= n, "" })
	}
	pushTo := func(m fulloncache.Market, from, to int) {
		t.Helper()
		_, err := c.Trades.PushMany(ctx, tradesOf(m, from, to))
		must(t, err)
	}
	push := func(from, to int) {
		t.Helper()
		pushTo(btc, from, to)
	}
	push(1, 3)
	f := followTrades(t, reader, btc, eth)
	connected(1)
	push(3, 4)
	f.want(tradeOf(btc, 3), 3, 0)
	testenv.Eventually(t, "a sign of life", func() (bool, string) { return srv.Counts(t)["get"] > 1, "" })
	proxy.Cut()
	wantErr(t, f.next().err, fulloncache.ErrUnavailable)
	before := seen.count(fulloncache.EventFeedConnected)
	push(4, 10)
	pushTo(eth, 1, 4) // where there was none when the stream began
	proxy.Restore(t)
	connected(before + 1)
	push(10, 11)
	pushTo(eth, 4, 5)
	for {
		e := f.next()
		if errors.Is(e.err, fulloncache.ErrUnavailable) {
			continue
		}
		if e.err != nil || !e.v.Trade.Equal(tradeOf(btc, 10)) || e.v.Seq != 10 || e.v.Missed != 6 {
			t.Fatalf("got %+v, %v", e.v, e.err)
		}
		break
	}
	f.want(tradeOf(eth, 4), 4, 3)
	// Trades that come while it is noticed that the count begins anew are counted by the
	// next one.
	anew := func(f tradeStream, when string) {
		t.Helper()
		pushed, told := 0, int64(0)
		testenv.Eventually(t, "the last trade", func() (bool, string) {
			for {
				select {
				case e := <-f.ch:
					if errors.Is(e.err, fulloncache.ErrUnavailable) {
						continue
					}
					if told++; e.err != nil || !e.v.Trade.Equal(tradeOf(btc, int(e.v.Seq))) || told+e.v.Missed != e.v.Seq {
						t.Fatalf("%s, element %d: got %+v, %v", when, told, e.v, e.err)
					}
					told = e.v.Seq
					continue
				default:
				}
				if pushed > 0 && told == int64(pushed) {
					return true, ""
				}
				pushed++
				push(pushed, pushed+1)
				return false, ""
			}
		})
	}
	srv.Do(t, "FLUSHALL")
	anew(f, "noticed with the first trade")
	read := srv.Counts(t)["hmget"]
	srv.Do(t, "FLUSHALL")
	testenv.Eventually(t, "the state is read", func() (bool, string) { return srv.Counts(t)["hmget"] > read, "" })
	anew(f, "noticed before")
	// Who begins meanwhile has never heard of what is gone.
	before = seen.count(fulloncache.EventFeedConnected)
	proxy.Cut()
	wantErr(t, f.next().err, fulloncache.ErrUnavailable)
	late := followTrades(t, reader, btc)
	wantErr(t, late.next().err, fulloncache.ErrUnavailable)
	srv.Do(t, "FLUSHALL")
	proxy.Restore(t)
	connected(before + 1)
	anew(late, "begun while it was cut off")
}

// What is published and is no trade is an error of its own; so is a count that
// cannot be read.
func TestTradeStreamCorrupt(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		_, err := c.Trades.Push(s.ctx, tradeOf(btc, 1))
		must(s, err)
		_, err = c.Trades.Push(s.ctx, tradeOf(eth, 1))
		must(s, err)
		info := s.key("trades", "kraken", ":BTCUSD") + ":info"
		for _, field := range []string{"rev", "count"} {
			s.do("HSET", info, field, "x")
			f := followTrades(s, s.open(), btc, eth)
			wantCorrupt(s, f.next().err, info, field)
			s.do("HSET", info, field, "1")
		}
		reader, seen := s.listen()
		f := followTrades(s, reader, btc)
		s.connected(seen, 1)
		channel := "db0:" + s.key("trades", "kraken", ":BTCUSD")
		publish := "PUBLISH"
		if s.mode.name == "cluster" {
			publish = "SPUBLISH"
		}
		s.mode.admin(s, s.key("trades", "kraken", "")).Do(s, publish, channel, "garbage")
		wantCorrupt(s, f.next().err, channel, "")
		_, err = c.Trades.Push(s.ctx, tradeOf(btc, 2))
		must(s, err)
		f.want(tradeOf(btc, 2), 2, 0)
		// A list whose info is of another type is no news of it.
		s.do("DEL", info)
		s.do("SET", info, "x")
		wantCorrupt(s, followTrades(s, s.open(), btc).next().err, info, "")
	})
}
