package fulloncache_test

import (
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// What is stored and is no order is named, by key and field, wherever it shows,
// and hides no other.
func TestOrderCorruptField(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		key := s.key("order_status", "kraken", ":1")
		must(s, c.Orders.Save(s.ctx, orderAt("2", 1)))
		for _, damage := range []struct {
			field, value string
			mended       bool // by an Update, which only looks at time and status
		}{
			{"exchange", "bitmex", true}, {"symbol", "", true}, {"side", "long", true}, {"volume", "NaN", true}, {"volume", "-1", true},
			{"final_volume", "garbage", true}, {"cached", "now", true}, {"rev", "x", true},
			{"time", "yesterday", false}, {"time", "", false}, {"time", "9000-01-01T00:00:00.000000000Z", false}, {"status", "lost", false}, {"status", "", false},
		} {
			good := orderAt("1", 0)
			good.ExOrderID = "ex-1"
			must(s, c.Orders.Save(s.ctx, good))
			if damage.value == "" {
				s.do("HDEL", key, damage.field)
			} else {
				s.do("HSET", key, damage.field, damage.value)
			}
			future := strings.HasPrefix(damage.value, "9000")
			if !future {
				_, err := c.Orders.Get(s.ctx, "kraken", "1")
				wantCorrupt(s, err, key, damage.field)
				_, err = c.Orders.ByExOrderID(s.ctx, "kraken", "ex-1")
				wantCorrupt(s, err, key, damage.field)
				for _, list := range []func(func(fulloncache.Order, error) bool){c.Orders.List(s.ctx, "kraken"), c.Orders.Open(s.ctx, "kraken")} {
					var ids []string
					for o, err := range list {
						if ids = append(ids, o.ID); o.ID == "1" {
							wantCorrupt(s, err, key, damage.field)
						} else {
							must(s, err)
						}
					}
					if !slices.Equal(ids, []string{"1", "2"}) {
						s.Fatalf("orders %q", ids)
					}
				}
				reader := s.open()
				w := watchOrders(s, reader, "kraken")
				wantCorrupt(s, w.next().err, key, damage.field)
				w.want(orderAt("2", 1))
				w.cancel()
				w.wantEnd()
				reader.Close()
			}
			status, err := c.Orders.Status(s.ctx, "kraken", "1")
			if damage.field == "status" {
				wantCorrupt(s, err, key, "status")
			} else if must(s, err); status != fulloncache.OrderOpen {
				s.Errorf("status %s", status)
			}
			update := change("1", 0, "", "0.5")
			update.Side, update.Volume, update.Market = good.Side, good.Volume, good.Market
			got, err := c.Orders.Update(s.ctx, update)
			if !damage.mended {
				wantCorrupt(s, err, key, damage.field)
			} else {
				want := good
				want.FinalVolume = some("0.5")
				wantOrder(s, got, err, want)
			}
			// Saving it anew mends it, whatever the time.
			again := orderAt("1", -1)
			again.FinalVolume = some("0.7")
			if damage.mended {
				again = orderAt("1", 1)
				again.FinalVolume = some("0.7")
			}
			must(s, c.Orders.Save(s.ctx, again))
			got, err = c.Orders.Get(s.ctx, "kraken", "1")
			if damage.mended {
				again.ExOrderID = "ex-1" // it was readable
			}
			wantOrder(s, got, err, again)
			must(s, c.Orders.Delete(s.ctx, "kraken", "1"))
		}
	})
}

// A key of another type is named, whichever it is, and nothing is half done.
func TestOrderWrongType(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		order, open, final := s.key("order_status", "kraken", ":1"), s.key("orders", "kraken", ""), s.key("orders_final", "kraken", "")
		ids, rev := s.key("order_ids", "kraken", ""), s.key("order_rev", "kraken", "")
		good := orderAt("1", 0)
		good.ExOrderID = "ex-1"
		for _, key := range []string{order, open, final, ids, rev} {
			must(s, c.Orders.Save(s.ctx, orderAt("2", 0)))
			s.do("DEL", key)
			s.do("RPUSH", key, "x")
			wantCorrupt(s, c.Orders.Save(s.ctx, good), key, "")
			_, err := c.Orders.Update(s.ctx, change("2", 1, "", ""))
			if key != order {
				wantCorrupt(s, err, key, "")
				_, err = c.Orders.Get(s.ctx, "kraken", "1")
				wantErr(s, err, fulloncache.ErrNotFound)
				wantCorrupt(s, c.Orders.Delete(s.ctx, "kraken", "2"), key, "")
			} else {
				must(s, err)
				_, err = c.Orders.Get(s.ctx, "kraken", "1")
				wantCorrupt(s, err, key, "")
				_, err = c.Orders.Status(s.ctx, "kraken", "1")
				wantCorrupt(s, err, key, "")
				w := watchOrders(s, s.open(), "kraken", "1")
				wantCorrupt(s, w.next().err, key, "")
				must(s, c.Orders.Delete(s.ctx, "kraken", "1"))
				w.cancel()
			}
			for _, index := range []string{open, final} {
				if index != key {
					continue
				}
				for _, err := range c.Orders.List(s.ctx, "kraken") {
					wantCorrupt(s, err, key, "")
				}
				wantErr(s, watchOrders(s, s.open(), "kraken").next().err, fulloncache.ErrUnavailable, key)
			}
			if key == ids {
				_, err = c.Orders.ByExOrderID(s.ctx, "kraken", "ex-1")
				wantCorrupt(s, err, key, "")
			}
			s.do("DEL", key)
			must(s, c.Orders.Save(s.ctx, good))
			must(s, c.Orders.Delete(s.ctx, "kraken", "1"))
			_ = c.Orders.Delete(s.ctx, "kraken", "2") // its entries may be gone with the key
		}
		queue := s.key("new_orders", "spot", "")
		s.do("SET", queue, "x")
		wantCorrupt(s, c.Orders.PushOpenOrder(s.ctx, "spot", "1"), queue, "")
		_, err := c.Orders.PopOpenOrder(s.ctx, "spot", 0)
		wantCorrupt(s, err, queue, "")
		_, err = c.Orders.QueueLength(s.ctx, "spot")
		wantCorrupt(s, err, queue, "")
		_, err = c.Orders.PeekOpenOrders(s.ctx, "spot", 1)
		wantCorrupt(s, err, queue, "")
	})
}

func TestOrderQueueCorruptElement(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		queue := s.key("new_orders", "spot", "")
		must(s, c.Orders.PushOpenOrder(s.ctx, "spot", "1"))
		s.do("RPUSH", queue, "", strings.Repeat("x", 65))
		must(s, c.Orders.PushOpenOrder(s.ctx, "spot", "2"))
		ids, err := c.Orders.PeekOpenOrders(s.ctx, "spot", 10)
		wantCorrupt(s, err, queue, "")
		if !slices.Equal(ids, []string{"1", "2"}) {
			s.Errorf("ids %q", ids)
		}
		var got []string
		bad := 0
		for range 4 {
			id, err := c.Orders.PopOpenOrder(s.ctx, "spot", 0)
			if errors.Is(err, fulloncache.ErrCorrupt) {
				wantCorrupt(s, err, queue, "")
				bad++
				continue
			}
			must(s, err)
			got = append(got, id)
		}
		if !slices.Equal(got, []string{"1", "2"}) || bad != 2 {
			s.Errorf("ids %q, %d corrupt", got, bad)
		}
	})
}

// An index that names an order that is gone is mended by whoever notices.
func TestOrderIndexIsMended(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		for _, id := range []string{"1", "2"} {
			o := orderAt(id, 0)
			o.ExOrderID = "ex-" + id
			must(s, c.Orders.Save(s.ctx, o))
		}
		w := watchOrders(s, s.open(), "kraken")
		for range 2 {
			must(s, w.next().err)
		}
		s.do("DEL", s.key("order_status", "kraken", ":1"))
		two := orderAt("2", 0)
		two.ExOrderID = "ex-2"
		watchOrders(s, s.open(), "kraken").want(two)
		w.wantDeleted("kraken", "1")
		open := s.key("orders", "kraken", "")
		n, err := s.mode.admin(s, open).Do(s, "ZCARD", open).AsInt64()
		if must(s, err); n != 1 {
			s.Errorf("%d open orders are indexed", n)
		}
		_, err = c.Orders.ByExOrderID(s.ctx, "kraken", "ex-1")
		wantErr(s, err, fulloncache.ErrNotFound)
	})
}

// What finds an order is not believed.
func TestOrderIndexesThatAreBehind(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		o := orderAt("1", 0)
		o.ExOrderID, o.Status = "ex-1", fulloncache.OrderFilled
		must(s, c.Orders.Save(s.ctx, o))
		s.do("HSET", s.key("order_ids", "kraken", ""), "ex:ex-0", "1")
		_, err := c.Orders.ByExOrderID(s.ctx, "kraken", "ex-0")
		wantErr(s, err, fulloncache.ErrNotFound, "ex-0")
		s.do("ZADD", s.key("orders", "kraken", ""), "1", "1")
		wantIDs(s, c.Orders.Open(s.ctx, "kraken"))
		wantIDs(s, c.Orders.List(s.ctx, "kraken"), "1")
	})
}

func TestOrderWatchCorruptMessage(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Orders.Save(s.ctx, orderAt("1", 0)))
		w := watchOrders(s, s.open(), "kraken", "1")
		w.want(orderAt("1", 0))
		channel, publish := "db0:"+s.key("order_status", "kraken", ":1"), "PUBLISH"
		if s.mode.name == "cluster" {
			publish = "SPUBLISH"
		}
		s.mode.admin(s, s.key("orders", "kraken", "")).Do(s, publish, channel, "garbage")
		wantCorrupt(s, w.next().err, channel, "")
		now, err := c.Orders.Update(s.ctx, change("1", 1, "", ""))
		must(s, err)
		w.want(now)
	})
}

// What is gone and cannot be forgotten is logged, and tried again later.
func TestOrderThatCannotBeForgotten(t *testing.T) {
	corruptMode(t, func(s *suite, _ *fulloncache.Client) {
		var log syncBuffer
		s.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		mine := s.open()
		must(s, mine.Orders.Save(s.ctx, orderAt("1", 0)))
		ids, open := s.key("order_ids", "kraken", ""), s.key("orders", "kraken", "")
		s.do("DEL", s.key("order_status", "kraken", ":1"))
		s.do("SET", ids, "x")
		wantIDs(s, mine.Orders.Open(s.ctx, "kraken"))
		testenv.Eventually(s, "log", func() (bool, string) {
			text := log.String()
			return strings.Contains(text, "still indexed") && strings.Contains(text, ids), text
		})
		s.do("DEL", ids)
		testenv.Eventually(s, "the index to be mended", func() (bool, string) {
			wantIDs(s, mine.Orders.Open(s.ctx, "kraken"))
			n, err := s.mode.admin(s, open).Do(s, "ZCARD", open).AsInt64()
			return n == 0 && err == nil, ""
		})
	})
}

// Several who notice at once leave it to one.
func TestOrderIsForgottenOnce(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	proxy := testenv.NewProxy(t, srv.Addr())
	c := open(t, fulloncache.Config{URL: proxy.URL()})
	must(t, c.Orders.Save(ctx, orderAt("1", 0)))
	srv.Do(t, "DEL", "order_status:kraken:1")
	proxy.Slow(100 * time.Millisecond)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range c.Orders.Open(ctx, "kraken") {
				t.Error("it is gone")
			}
		})
	}
	wg.Wait()
	testenv.Eventually(t, "the index to be mended", func() (bool, string) {
		n, err := srv.Do(t, "ZCARD", "orders:kraken").AsInt64()
		return n == 0 && err == nil, ""
	})
	if n := srv.Counts(t)["zrem"]; n != 2+1 { // Save takes it out of the final ones
		t.Errorf("it was taken out of the indexes with %d ZREM", n)
	}
}

// Whatever the feed is reading when the connection breaks, it says so.
func TestWatchConnectionBreaks(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	must(t, open(t, fulloncache.Config{URL: srv.URL()}).Orders.Save(ctx, orderAt("1", 0)))
	for word, follow := range map[string]func(c *fulloncache.Client) error{
		"\nZRANGE\r":  func(c *fulloncache.Client) error { return watchOrders(t, c, "kraken").next().err },
		"\nHGETALL\r": func(c *fulloncache.Client) error { return watchOrders(t, c, "kraken", "1").next().err },
		"\nHMGET\r":   func(c *fulloncache.Client) error { return followTrades(t, c, btc).next().err },
	} {
		c := open(t, fulloncache.Config{URL: cutter(t, srv.Addr(), word)})
		if err := follow(c); !errors.Is(err, fulloncache.ErrUnavailable) {
			t.Errorf("%q: %v", word, err)
		}
		c.Close()
	}
}
