package fulloncache_test

import (
	"fmt"
	"maps"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// wantOtherIDs checks what finds kraken's orders by the exchange's ids, and their ids
// by theirs.
func (s *suite) wantOtherIDs(want map[string]string) {
	s.Helper()
	key := s.key("order_ids", "kraken", "")
	got, err := s.mode.admin(s, key).Do(s, "HGETALL", key).AsStrMap()
	if must(s, err); !maps.Equal(got, want) {
		s.Fatalf("%s is %v, want %v", key, got, want)
	}
}

// Of the exchange's ids, what finds an order is what it has now, and nothing else.
func TestOrderIDsOfTheExchange(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		save := func(id, ex string, n int) {
			s.Helper()
			o := orderAt(id, n)
			o.ExOrderID = ex
			must(s, c.Orders.Save(s.ctx, o))
		}
		save("1", "a", 0)
		save("1", "b", 1)
		s.wantOtherIDs(map[string]string{"ex:b": "1", "id:1": "b"})
		// The order is gone, and what finds it is not yet.
		s.do("DEL", s.key("order_status", "kraken", ":1"))
		save("1", "", 2)
		s.wantOtherIDs(map[string]string{})
		// Its exchange's id is another's now, and stays so when it comes back.
		save("1", "c", 3)
		s.do("DEL", s.key("order_status", "kraken", ":1"))
		s.do("ZREM", s.key("orders", "kraken", ""), "1")
		save("2", "c", 0)
		save("1", "d", 4)
		s.wantOtherIDs(map[string]string{"ex:c": "2", "id:2": "c", "ex:d": "1", "id:1": "d"})
		got, err := c.Orders.ByExOrderID(s.ctx, "kraken", "c")
		must(s, err)
		if got.ID != "2" {
			s.Errorf("got order %s", got.ID)
		}
		must(s, c.Orders.Delete(s.ctx, "kraken", "1"))
		s.wantOtherIDs(map[string]string{"ex:c": "2", "id:2": "c"})
	})
}

// An open order that no index has is put into it by its next write, whatever is
// written.
func TestOrderIsIndexedAgain(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Orders.Save(s.ctx, orderAt("1", 0)))
		s.do("DEL", s.key("orders", "kraken", ""))
		u := change("1", 0, "", "")
		u.Time, u.Reason = time.Time{}, "only this"
		_, err := c.Orders.Update(s.ctx, u)
		must(s, err)
		wantIDs(s, c.Orders.Open(s.ctx, "kraken"), "1")
	})
}

// To delete what is not there is no change.
func TestOrderDeleteOfNothing(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Orders.Save(s.ctx, orderAt("1", 0)))
		revision := func() string {
			key := s.key("order_rev", "kraken", "")
			rev, err := s.mode.admin(s, key).Do(s, "GET", key).ToString()
			must(s, err)
			return rev
		}
		before := revision()
		wantErr(s, c.Orders.Delete(s.ctx, "kraken", "2"), fulloncache.ErrNotFound)
		if after := revision(); after != before {
			s.Errorf("the revision was %s and is %s", before, after)
		}
	})
}

// An order that comes back while somebody has noticed that it was gone stays.
func TestOrderThatComesBackIsNotForgotten(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	proxy := testenv.NewProxy(t, srv.Addr())
	far, near := open(t, fulloncache.Config{URL: proxy.URL()}), open(t, fulloncache.Config{URL: srv.URL()})
	must(t, near.Orders.Save(ctx, orderAt("1", 0)))
	srv.Do(t, "DEL", "order_status:kraken:1")
	before := srv.Counts(t)
	asked := func(command string) {
		t.Helper()
		testenv.Eventually(t, command, func() (bool, string) {
			counts := srv.Counts(t)
			return counts[command] > before[command], fmt.Sprint(counts)
		})
	}
	proxy.Slow(200 * time.Millisecond)
	done := make(chan error, 1)
	go func() {
		for _, err := range far.Orders.Open(ctx, "kraken") {
			done <- err
			return
		}
		close(done)
	}()
	asked("hgetall")
	must(t, near.Orders.Save(ctx, orderAt("1", 0)))
	must(t, <-done)
	asked("exists") // it is to be forgotten
	proxy.Slow(0)
	wantIDs(t, far.Orders.Open(ctx, "kraken"), "1")
}
