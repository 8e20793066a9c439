package fulloncache_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// orderAt is an open order with what is required, n milliseconds after t0.
func orderAt(id string, n int) fulloncache.Order {
	return fulloncache.Order{
		Market: btc, ID: id, Type: "limit", Side: fulloncache.Buy, Volume: dec("1"), Status: fulloncache.OrderOpen, Time: at(n),
	}
}

// change is an update of an order of kraken, n milliseconds after t0.
func change(id string, n int, status fulloncache.OrderStatus, filled string) fulloncache.Order {
	o := fulloncache.Order{Market: fulloncache.Market{Exchange: "kraken"}, ID: id, Status: status, Time: at(n)}
	if filled != "" {
		o.FinalVolume = some(filled)
	}
	return o
}

func wantOrder(t testing.TB, got fulloncache.Order, err error, want fulloncache.Order) {
	t.Helper()
	if err != nil || !got.Equal(want) {
		t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
	}
}

// orderIDs are the ids of a listing without errors.
func orderIDs(t testing.TB, list func(func(fulloncache.Order, error) bool)) []string {
	t.Helper()
	ids := []string{}
	for o, err := range list {
		must(t, err)
		ids = append(ids, o.ID)
	}
	return ids
}

func wantIDs(t testing.TB, list func(func(fulloncache.Order, error) bool), want ...string) {
	t.Helper()
	if got := orderIDs(t, list); !slices.Equal(got, want) {
		t.Fatalf("orders %q, want %q", got, want)
	}
}

// P13: the predecessor replaced an order's own time with now and its exchange id
// with the local one. Here both stay as given, and when it was cached is a field
// of its own.
func TestOrderComesBackAsGiven(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		_, err := c.Orders.Get(s.ctx, "kraken", "o-1")
		wantErr(s, err, fulloncache.ErrNotFound, "kraken", "o-1")
		_, err = c.Orders.Status(s.ctx, "kraken", "o-1")
		wantErr(s, err, fulloncache.ErrNotFound, "kraken", "o-1")
		full := fullOrder()
		must(s, c.Orders.Save(s.ctx, full))
		reader := s.open()
		got, err := reader.Orders.Get(s.ctx, "kraken", "o-1")
		wantOrder(s, got, err, full)
		if !got.Time.Equal(t0) || got.ID != "o-1" || got.ExOrderID != "OX-1" {
			s.Fatalf("time or ids were changed: %+v", got)
		}
		if since := time.Since(got.Cached); since < -time.Minute || since > time.Minute {
			s.Fatalf("cached %s is not the server's time", got.Cached)
		}
		got, err = reader.Orders.ByExOrderID(s.ctx, "kraken", "OX-1")
		wantOrder(s, got, err, full)
		status, err := reader.Orders.Status(s.ctx, "kraken", "o-1")
		if must(s, err); status != fulloncache.OrderPartial {
			s.Fatalf("status %s", status)
		}
		// The whole replaces the whole, but for fills and the exchange's id.
		less := orderAt("o-1", 1)
		less.Status = "OPEN" // behind what is known
		must(s, c.Orders.Save(s.ctx, less))
		less.Status, less.FinalVolume, less.ExOrderID = full.Status, full.FinalVolume, full.ExOrderID
		got, err = reader.Orders.Get(s.ctx, "kraken", "o-1")
		wantOrder(s, got, err, less)
		// Another exchange has ids of its own.
		other := less
		other.Exchange = "bitmex"
		must(s, c.Orders.Save(s.ctx, other))
		must(s, c.Orders.Delete(s.ctx, "kraken", "o-1"))
		got, err = reader.Orders.Get(s.ctx, "bitmex", "o-1")
		wantOrder(s, got, err, other)
		wantErr(s, c.Orders.Delete(s.ctx, "kraken", "o-1"), fulloncache.ErrNotFound, "o-1")
		_, err = c.Orders.ByExOrderID(s.ctx, "kraken", "OX-1")
		wantErr(s, err, fulloncache.ErrNotFound, "OX-1")
	})
}

// An id, a name and a reason can hold anything that is UTF-8.
func TestOrderOddNames(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		o := fullOrder()
		o.Exchange, o.Symbol, o.ID, o.ExOrderID = "a:{b}*%", "7 x/ü:9", "1:2 {3}\n/é", "5 6:7"
		o.Type, o.Command, o.Reason = "li mit", "3:x", "\"quoted\"\r\n"
		must(s, c.Orders.Save(s.ctx, o))
		got, err := c.Orders.Get(s.ctx, o.Exchange, o.ID)
		wantOrder(s, got, err, o)
		got, err = c.Orders.ByExOrderID(s.ctx, o.Exchange, o.ExOrderID)
		wantOrder(s, got, err, o)
		w := watchOrders(s, s.open(), o.Exchange, o.ID)
		w.want(o)
		wantIDs(s, c.Orders.Open(s.ctx, o.Exchange), o.ID)
		must(s, c.Orders.Delete(s.ctx, o.Exchange, o.ID))
		w.wantDeleted(o.Exchange, o.ID)
		wantIDs(s, c.Orders.List(s.ctx, o.Exchange))
	})
}

func TestOrderUpdateMergesWhatIsGiven(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		_, err := c.Orders.Update(s.ctx, change("1", 1, "", ""))
		wantErr(s, err, fulloncache.ErrNotFound, "kraken 1")
		want := fulloncache.Order{Market: btc, ID: "1", Type: "market", Side: fulloncache.Sell, Volume: dec("2"), Status: fulloncache.OrderNew, Time: at(0)}
		must(s, c.Orders.Save(s.ctx, want))
		full := fullOrder()
		for i, update := range []func(o *fulloncache.Order){
			func(o *fulloncache.Order) { o.Status, o.Time = fulloncache.OrderPending, at(1) },
			func(o *fulloncache.Order) { o.ExOrderID = full.ExOrderID },
			func(o *fulloncache.Order) { o.RecordID, o.BotID, o.UserID = full.RecordID, full.BotID, full.UserID },
			func(o *fulloncache.Order) { o.ExchangeID, o.CatExchangeID = full.ExchangeID, full.CatExchangeID },
			func(o *fulloncache.Order) { o.Type, o.Side = full.Type, full.Side },
			func(o *fulloncache.Order) { o.Volume, o.Price, o.PLimit = full.Volume, full.Price, full.PLimit },
			func(o *fulloncache.Order) { o.Tick, o.Leverage, o.Futures = full.Tick, full.Leverage, true },
			func(o *fulloncache.Order) { o.Command, o.Reason = full.Command, full.Reason },
			func(o *fulloncache.Order) { o.Status, o.FinalVolume, o.Time = full.Status, full.FinalVolume, at(1) },
			func(o *fulloncache.Order) { o.Symbol = btc.Symbol },
			func(*fulloncache.Order) {},
		} {
			u := fulloncache.Order{Market: fulloncache.Market{Exchange: "kraken"}, ID: "1"}
			update(&u)
			update(&want)
			got, err := c.Orders.Update(s.ctx, u)
			if wantOrder(s, got, err, want); got.Cached.IsZero() {
				s.Errorf("update %d: when it was cached is not told", i)
			}
			got, err = c.Orders.Get(s.ctx, "kraken", "1")
			wantOrder(s, got, err, want)
		}
	})
}

func TestOrderOnlyGoesForward(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Orders.Save(s.ctx, orderAt("1", 10)))
		refused := func(u fulloncache.Order, want error, mentions ...string) {
			s.Helper()
			was, err := c.Orders.Get(s.ctx, "kraken", u.ID)
			must(s, err)
			_, err = c.Orders.Update(s.ctx, u)
			wantErr(s, err, want, mentions...)
			whole := orderAt(u.ID, 0)
			whole.Time, whole.Status, whole.FinalVolume = u.Time, u.Status, u.FinalVolume
			if whole.Status == "" {
				whole.Status = was.Status
			}
			wantErr(s, c.Orders.Save(s.ctx, whole), want, mentions...)
			now, err := c.Orders.Get(s.ctx, "kraken", u.ID)
			if wantOrder(s, now, err, was); !now.Cached.Equal(was.Cached) {
				s.Fatal("something was written")
			}
		}
		accepted := func(u fulloncache.Order, status fulloncache.OrderStatus, n int, filled string) {
			s.Helper()
			got, err := c.Orders.Update(s.ctx, u)
			must(s, err)
			if got.Status != status || !got.Time.Equal(at(n)) || got.FinalVolume.String() != filled {
				s.Fatalf("%+v became %+v, want %s, %s, %q", u, got, status, at(n), filled)
			}
		}
		refused(change("1", 9, fulloncache.OrderPartial, ""), fulloncache.ErrOutdated, "kraken 1", at(10).UTC().Format("05.000"))
		refused(change("1", 9, fulloncache.OrderCancelled, ""), fulloncache.ErrOutdated)
		accepted(change("1", 10, fulloncache.OrderPending, ""), fulloncache.OrderOpen, 10, "") // equal time, behind
		accepted(change("1", 11, fulloncache.OrderNew, ""), fulloncache.OrderOpen, 11, "")
		accepted(change("1", 12, fulloncache.OrderPartial, "0.10"), fulloncache.OrderPartial, 12, "0.1")
		accepted(change("1", 13, fulloncache.OrderOpen, "0.05"), fulloncache.OrderPartial, 13, "0.1")
		// An older one counts only with more fills, and then only them and how far it is.
		older := change("1", 5, fulloncache.OrderPartial, "0.2")
		older.Reason = "not this"
		accepted(older, fulloncache.OrderPartial, 13, "0.2")
		if o, err := c.Orders.Get(s.ctx, "kraken", "1"); err != nil || o.Reason != "" {
			s.Fatalf("an older update was merged: %+v, %v", o, err)
		}
		refused(change("1", 5, fulloncache.OrderPartial, "0.20"), fulloncache.ErrOutdated)
		refused(change("1", 5, "", "0.19999999999999999"), fulloncache.ErrOutdated)

		// Cancelled, while fills are under way.
		accepted(change("1", 20, fulloncache.OrderCancelled, ""), fulloncache.OrderCancelled, 20, "0.2")
		refused(change("1", 21, fulloncache.OrderOpen, ""), fulloncache.ErrFinal, "status open", "canceled")
		refused(change("1", 20, fulloncache.OrderPartial, "0.2"), fulloncache.ErrFinal)
		refused(change("1", 21, fulloncache.OrderRejected, ""), fulloncache.ErrFinal)
		accepted(change("1", 21, fulloncache.OrderPartial, "0.3"), fulloncache.OrderCancelled, 20, "0.3")
		accepted(change("1", 4, fulloncache.OrderPartial, "0.4"), fulloncache.OrderCancelled, 20, "0.4")
		accepted(change("1", 22, "cancelled", ""), "cancelled", 22, "0.4")
		accepted(change("1", 3, "filled", "1"), "filled", 22, "1")
		refused(change("1", 30, fulloncache.OrderCancelled, ""), fulloncache.ErrFinal)
		refused(change("1", 30, fulloncache.OrderPartial, "1.0"), fulloncache.ErrFinal)
		accepted(change("1", 30, "", "1"), "filled", 30, "1")

		// Expired orders can prove filled, others that are final cannot.
		for _, status := range []fulloncache.OrderStatus{fulloncache.OrderExpired, fulloncache.OrderRejected, fulloncache.OrderError} {
			id := string(status)
			o := orderAt(id, 1)
			o.Status = status
			must(s, c.Orders.Save(s.ctx, o))
			if status == fulloncache.OrderExpired {
				accepted(change(id, 2, fulloncache.OrderFilled, "1"), fulloncache.OrderFilled, 2, "1")
				continue
			}
			refused(change(id, 2, fulloncache.OrderFilled, ""), fulloncache.ErrFinal)
			accepted(change(id, 2, fulloncache.OrderFilled, "1"), status, 1, "1")
		}
	})
}

// orderModel is what a write does, said once more in Go.
type orderModel struct {
	order  fulloncache.Order
	exists bool
}

func (m *orderModel) write(o fulloncache.Order, whole bool) error {
	if !m.exists {
		if !whole {
			return fulloncache.ErrNotFound
		}
		m.order, m.exists = o, true
		return nil
	}
	rank := func(s fulloncache.OrderStatus) int { return slices.IndexFunc(fulloncache.OpenStatuses(), s.Is) }
	was := m.order
	further := o.Status != "" && (o.Status.Is(was.Status) ||
		!was.Status.Final() && (o.Status.Final() || rank(o.Status) > rank(was.Status)) ||
		(was.Status.Is(fulloncache.OrderCancelled) || was.Status.Is(fulloncache.OrderExpired)) && o.Status.Is(fulloncache.OrderFilled))
	grows := o.FinalVolume.Valid && (!was.FinalVolume.Valid || o.FinalVolume.Decimal.Cmp(was.FinalVolume.Decimal) > 0)
	older := !o.Time.IsZero() && o.Time.Before(was.Time)
	stuck := was.Status.Final() && o.Status != "" && !further
	switch {
	case older && !grows:
		return fulloncache.ErrOutdated
	case !older && stuck && !grows:
		return fulloncache.ErrFinal
	case !older && !stuck:
		if whole && o.Time.After(was.Time) {
			m.order = o
			if o.ExOrderID == "" {
				m.order.ExOrderID = was.ExOrderID
			}
		} else {
			if !o.Time.IsZero() {
				m.order.Time = o.Time
			}
			if o.ExOrderID != "" {
				m.order.ExOrderID = o.ExOrderID
			}
			if o.Price.Valid {
				m.order.Price = o.Price
			}
			if o.Reason != "" {
				m.order.Reason = o.Reason
			}
		}
	}
	m.order.Status, m.order.FinalVolume = was.Status, was.FinalVolume
	if further {
		m.order.Status = o.Status
	}
	if grows {
		m.order.FinalVolume = o.FinalVolume
	}
	return nil
}

// Whatever is written in whatever order, the server decides as the model does,
// and the indexes say what the orders say.
func TestOrderWritesFollowTheModel(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		run := 0
		statuses := append(slices.Clone(allStatuses), "", "Filled", "CANCELLED", "cancel", "New", "Open")
		s.property(func(t *rapid.T) {
			run++
			exchange := fmt.Sprint("x", run)
			models := map[string]*orderModel{"a": {}, "b": {}}
			for range rapid.IntRange(1, 12).Draw(t, "writes") {
				o := orderAt(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "id"), rapid.IntRange(0, 4).Draw(t, "time"))
				o.Exchange = exchange
				o.Status = rapid.SampledFrom(statuses).Draw(t, "status")
				whole := rapid.Bool().Draw(t, "whole")
				if rapid.Bool().Draw(t, "filled") {
					o.FinalVolume = fulloncache.Some(dec(rapid.SampledFrom([]string{
						"0", "0.1", "0.10000000000000001", "0.09", "9", "10", "9.5", "10.05", "123456789012345678.1", "123456789012345678.09",
					}).Draw(t, "volume")))
				}
				if rapid.Bool().Draw(t, "priced") {
					o.Price = fulloncache.Some(dec(rapid.SampledFrom([]string{"1", "2"}).Draw(t, "price")))
				}
				o.Reason = rapid.SampledFrom([]string{"", "why"}).Draw(t, "reason")
				if rapid.Bool().Draw(t, "known there") {
					o.ExOrderID = o.ID + rapid.SampledFrom([]string{"1", "2"}).Draw(t, "exchange's id")
				}
				var err error
				if whole {
					if o.Status == "" {
						o.Status = fulloncache.OrderNew
					}
					err = c.Orders.Save(s.ctx, o)
				} else {
					if rapid.Bool().Draw(t, "timeless") {
						o.Time = time.Time{}
					}
					o.Symbol, o.Type, o.Side, o.Volume = "", "", "", fulloncache.Decimal{}
					_, err = c.Orders.Update(s.ctx, o)
				}
				m := models[o.ID]
				if want := m.write(o, whole); !errors.Is(err, want) {
					t.Fatalf("%+v after %+v: %v, want %v", o, m.order, err, want)
				}
				if !m.exists {
					continue
				}
				got, err := c.Orders.Get(s.ctx, exchange, o.ID)
				if err != nil || !got.Equal(m.order) {
					t.Fatalf("%+v made\n%+v, %v, want\n%+v", o, got, err, m.order)
				}
			}
			var open, all []string
			for _, id := range []string{"a", "b"} {
				m := models[id]
				if !m.exists {
					continue
				}
				all = append(all, id)
				if !m.order.Status.Final() {
					open = append(open, id)
				}
				for _, n := range []string{"1", "2"} {
					got, err := c.Orders.ByExOrderID(s.ctx, exchange, id+n)
					if m.order.ExOrderID == id+n && (err != nil || !got.Equal(m.order)) || m.order.ExOrderID != id+n && !errors.Is(err, fulloncache.ErrNotFound) {
						t.Fatalf("%s is found as %+v, %v; %+v", id+n, got, err, m.order)
					}
				}
			}
			for name, list := range map[string][]string{"open": open, "all": all} {
				seq := c.Orders.Open(s.ctx, exchange)
				if name == "all" {
					seq = c.Orders.List(s.ctx, exchange)
				}
				var got []string
				for o, err := range seq {
					if err != nil {
						t.Fatal(err)
					}
					got = append(got, o.ID)
				}
				slices.Sort(got)
				if !slices.Equal(got, list) {
					t.Fatalf("%s: %q, want %q", name, got, list)
				}
			}
		})
	})
}

func TestOrderListings(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		wantIDs(s, c.Orders.List(s.ctx, "kraken"))
		wantIDs(s, c.Orders.Open(s.ctx, "kraken"))
		for i, id := range []string{"late", "middle", "early"} {
			must(s, c.Orders.Save(s.ctx, orderAt(id, 30-i)))
		}
		wantIDs(s, c.Orders.Open(s.ctx, "kraken"), "early", "middle", "late")
		_, err := c.Orders.Update(s.ctx, change("middle", 40, fulloncache.OrderFilled, "1"))
		must(s, err)
		wantIDs(s, c.Orders.Open(s.ctx, "kraken"), "early", "late")
		wantIDs(s, c.Orders.List(s.ctx, "kraken"), "early", "late", "middle")
		// Those that were cancelled go sooner.
		_, err = c.Orders.Update(s.ctx, change("late", 41, fulloncache.OrderCancelled, ""))
		must(s, err)
		wantIDs(s, c.Orders.List(s.ctx, "kraken"), "early", "late", "middle")
		must(s, c.Orders.Delete(s.ctx, "kraken", "early"))
		must(s, c.Orders.Delete(s.ctx, "kraken", "middle"))
		wantIDs(s, c.Orders.List(s.ctx, "kraken"), "late")
		for range c.Orders.List(s.ctx, "kraken") {
			break
		}
	})
}

// More than one command's worth.
func TestOrderListingOfThousands(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	c := open(t, fulloncache.Config{URL: testenv.Redis(t).URL(), KeyPrefix: testenv.Prefix(t)})
	const n = 1100
	for i := range n {
		must(t, c.Orders.Save(ctx, orderAt(strconv.Itoa(i), i)))
	}
	for i, id := range orderIDs(t, c.Orders.Open(ctx, "kraken")) {
		if id != strconv.Itoa(i) {
			t.Fatalf("order %d is %s", i, id)
		}
	}
	if got := len(orderIDs(t, c.Orders.List(ctx, "kraken"))); got != n {
		t.Errorf("%d orders, want %d", got, n)
	}
}

// P4: the predecessor put the expiry of one cancelled order on all of the
// exchange. Here each goes by itself, and so does what finds it.
func TestOrderExpiresAlone(t *testing.T) {
	everyMode(t, func(s *suite) {
		s.cfg.TTLOrder = time.Second
		c := s.open()
		for i, id := range []string{"open", "cancelled", "filled", "revived"} {
			o := orderAt(id, i)
			o.ExOrderID = "ex-" + id
			must(s, c.Orders.Save(s.ctx, o))
		}
		w := watchOrders(s, s.open(), "kraken")
		for range 4 {
			must(s, w.next().err)
		}
		_, err := c.Orders.Update(s.ctx, change("filled", 10, fulloncache.OrderFilled, "1"))
		must(s, err)
		for _, id := range []string{"cancelled", "revived"} {
			_, err = c.Orders.Update(s.ctx, change(id, 10, fulloncache.OrderCancelled, ""))
			must(s, err)
		}
		// Filled after all: it stays as long as filled ones do.
		_, err = c.Orders.Update(s.ctx, change("revived", 11, fulloncache.OrderFilled, "1"))
		must(s, err)
		for range 4 {
			must(s, w.next().err)
		}
		if s.mode.admin != nil {
			for id, least := range map[string]time.Duration{"open": -time.Millisecond, "filled": 23 * time.Hour, "revived": 23 * time.Hour} {
				key := s.key("order_status", "kraken", ":"+id)
				ms, err := s.mode.admin(s, key).Do(s, "PTTL", key).AsInt64()
				if must(s, err); time.Duration(ms)*time.Millisecond < least || least < 0 && ms != -1 {
					s.Errorf("%s goes in %d ms", id, ms)
				}
			}
		}
		testenv.Eventually(s, "expiry", func() (bool, string) {
			_, err := c.Orders.Get(s.ctx, "kraken", "cancelled")
			return errors.Is(err, fulloncache.ErrNotFound), fmt.Sprint(err)
		})
		wantIDs(s, c.Orders.Open(s.ctx, "kraken"), "open")
		wantIDs(s, c.Orders.List(s.ctx, "kraken"), "open", "filled", "revived")
		_, err = c.Orders.ByExOrderID(s.ctx, "kraken", "ex-cancelled")
		wantErr(s, err, fulloncache.ErrNotFound)
		w.wantDeleted("kraken", "cancelled")
		// Its ids are free again: for another order, and for itself.
		other := orderAt("other", 0)
		other.ExOrderID = "ex-cancelled"
		must(s, c.Orders.Save(s.ctx, other))
		again := orderAt("cancelled", 0)
		must(s, c.Orders.Save(s.ctx, again))
		got, err := c.Orders.Get(s.ctx, "kraken", "cancelled")
		wantOrder(s, got, err, again)
		got, err = c.Orders.ByExOrderID(s.ctx, "kraken", "ex-cancelled")
		wantOrder(s, got, err, other)
	})
}

// Without any listing, a write to the exchange is enough to forget what expired.
func TestOrderExpiredIsForgottenByTheNextWrite(t *testing.T) {
	everyMode(t, func(s *suite) {
		s.cfg.TTLOrder = time.Second
		c := s.open()
		o := orderAt("1", 0)
		o.Status, o.ExOrderID = fulloncache.OrderCancelled, "ex-1"
		must(s, c.Orders.Save(s.ctx, o))
		w := watchOrders(s, s.open(), "kraken", "1")
		w.want(o)
		testenv.Eventually(s, "expiry", func() (bool, string) {
			_, err := c.Orders.Get(s.ctx, "kraken", "1")
			return errors.Is(err, fulloncache.ErrNotFound), fmt.Sprint(err)
		})
		// Its exchange's id may be given to another, though it is still indexed.
		other := orderAt("2", 0)
		other.ExOrderID = "ex-1"
		testenv.Eventually(s, "the id to be free", func() (bool, string) { // the in-process server's TTLs go in steps
			err := c.Orders.Save(s.ctx, other)
			return err == nil, fmt.Sprint(err)
		})
		w.wantDeleted("kraken", "1")
		got, err := c.Orders.ByExOrderID(s.ctx, "kraken", "ex-1")
		wantOrder(s, got, err, other)
	})
}

// P8: the predecessor read, changed and wrote a blob; of two writers one lost.
func TestOrderTwoWritersOfDifferentFields(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		rounds := 300
		if s.soak() {
			rounds = 10_000
		}
		must(s, c.Orders.Save(s.ctx, orderAt("1", 0)))
		writers := []func(n int) fulloncache.Order{
			func(n int) fulloncache.Order { return fulloncache.Order{Price: fulloncache.Some(dec(strconv.Itoa(n)))} },
			func(n int) fulloncache.Order { return fulloncache.Order{Reason: strconv.Itoa(n)} },
		}
		errs := make(chan error, len(writers))
		for _, make := range writers {
			mine := s.open()
			go func() {
				for n := 1; n <= rounds; n++ {
					u := make(n)
					u.Exchange, u.ID = "kraken", "1"
					if n%2 == 0 {
						u.Time = at(0)
					}
					now, err := mine.Orders.Update(s.ctx, u)
					if err == nil && (u.Reason != "" && now.Reason != u.Reason || u.Price.Valid && !now.Price.Equal(u.Price)) {
						err = fmt.Errorf("round %d: wrote %+v, there is %+v", n, u, now)
					}
					if err != nil {
						errs <- err
						return
					}
				}
				errs <- nil
			}()
		}
		for range writers {
			must(s, <-errs)
		}
		want := orderAt("1", 0)
		want.Price, want.Reason = fulloncache.Some(dec(strconv.Itoa(rounds))), strconv.Itoa(rounds)
		got, err := c.Orders.Get(s.ctx, "kraken", "1")
		wantOrder(s, got, err, want)
	})
}

func TestOrderRefusesInput(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Orders.Save(s.ctx, orderAt("1", 0)))
		taken := orderAt("2", 0)
		taken.ExOrderID = "ex-2"
		must(s, c.Orders.Save(s.ctx, taken))
		for field, spoil := range map[string]func(o *fulloncache.Order){
			"exchange":     func(o *fulloncache.Order) { o.Exchange = "" },
			"order_id":     func(o *fulloncache.Order) { o.ID = "" },
			"side":         func(o *fulloncache.Order) { o.Side = "long" },
			"status":       func(o *fulloncache.Order) { o.Status = "lost" },
			"volume":       func(o *fulloncache.Order) { o.Volume = dec("-1") },
			"final_volume": func(o *fulloncache.Order) { o.FinalVolume = some("-1") },
			"price":        func(o *fulloncache.Order) { o.Price = some("-1") },
			"uid":          func(o *fulloncache.Order) { o.UserID = -1 },
			"reason":       func(o *fulloncache.Order) { o.Reason = "\xff" },
			"time":         func(o *fulloncache.Order) { o.Time = time.Now().Add(time.Hour) },
			"ETH/USD":      func(o *fulloncache.Order) { o.Symbol = "ETH/USD" },
			"ex_order_id":  func(o *fulloncache.Order) { o.ExOrderID = "ex-2" },
		} {
			o := orderAt("1", 5)
			o.Reason = "half"
			spoil(&o)
			wantErr(s, c.Orders.Save(s.ctx, o), fulloncache.ErrInvalid, field)
			o = change("1", 5, "", "")
			o.Reason = "half"
			spoil(&o)
			_, err := c.Orders.Update(s.ctx, o)
			wantErr(s, err, fulloncache.ErrInvalid, field)
		}
		for field, spoil := range map[string]func(o *fulloncache.Order){
			"symbol": func(o *fulloncache.Order) { o.Symbol = "" },
			"volume": func(o *fulloncache.Order) { o.Volume = fulloncache.Decimal{} },
			"time":   func(o *fulloncache.Order) { o.Time = time.Time{} },
		} {
			o := orderAt("1", 5)
			spoil(&o)
			wantErr(s, c.Orders.Save(s.ctx, o), fulloncache.ErrInvalid, field)
		}
		got, err := c.Orders.Get(s.ctx, "kraken", "1")
		wantOrder(s, got, err, orderAt("1", 0))
		long := strings.Repeat("x", 300)
		for _, name := range []string{"", long} {
			_, err := c.Orders.Get(s.ctx, name, "1")
			wantErr(s, err, fulloncache.ErrInvalid, "exchange")
			_, err = c.Orders.Get(s.ctx, "kraken", name)
			wantErr(s, err, fulloncache.ErrInvalid, "order_id")
			_, err = c.Orders.Status(s.ctx, "kraken", name)
			wantErr(s, err, fulloncache.ErrInvalid, "order_id")
			_, err = c.Orders.ByExOrderID(s.ctx, name, "1")
			wantErr(s, err, fulloncache.ErrInvalid, "exchange")
			_, err = c.Orders.ByExOrderID(s.ctx, "kraken", name)
			wantErr(s, err, fulloncache.ErrInvalid, "ex_order_id")
			wantErr(s, c.Orders.Delete(s.ctx, "kraken", name), fulloncache.ErrInvalid, "order_id")
			for _, err := range c.Orders.List(s.ctx, name) {
				wantErr(s, err, fulloncache.ErrInvalid, "exchange")
			}
			for _, err := range c.Orders.Open(s.ctx, name) {
				wantErr(s, err, fulloncache.ErrInvalid, "exchange")
			}
			for _, err := range c.Orders.Watch(s.ctx, name) {
				wantErr(s, err, fulloncache.ErrInvalid, "exchange")
			}
			for _, err := range c.Orders.Watch(s.ctx, "kraken", "1", name) {
				wantErr(s, err, fulloncache.ErrInvalid, "order_id")
			}
			wantErr(s, c.Orders.PushOpenOrder(s.ctx, name, "1"), fulloncache.ErrInvalid, "queue")
			wantErr(s, c.Orders.PushOpenOrder(s.ctx, "spot", name), fulloncache.ErrInvalid, "order_id")
			_, err = c.Orders.PopOpenOrder(s.ctx, name, 0)
			wantErr(s, err, fulloncache.ErrInvalid, "queue")
			_, err = c.Orders.QueueLength(s.ctx, name)
			wantErr(s, err, fulloncache.ErrInvalid, "queue")
			_, err = c.Orders.PeekOpenOrders(s.ctx, name, 1)
			wantErr(s, err, fulloncache.ErrInvalid, "queue")
		}
		_, err = c.Orders.PopOpenOrder(s.ctx, "spot", -1)
		wantErr(s, err, fulloncache.ErrInvalid, "wait")
		_, err = c.Orders.PeekOpenOrders(s.ctx, "spot", 0)
		wantErr(s, err, fulloncache.ErrInvalid, "0")
	})
}

func TestOrderQueue(t *testing.T) {
	everyMode(t, func(s *suite) {
		s.cfg.NewOrdersCap = 5
		c := s.open()
		_, err := c.Orders.PopOpenOrder(s.ctx, "spot", 0)
		wantErr(s, err, fulloncache.ErrNotFound)
		for i := range 5 {
			must(s, c.Orders.PushOpenOrder(s.ctx, "spot", fmt.Sprint("o:", i)))
		}
		wantErr(s, c.Orders.PushOpenOrder(s.ctx, "spot", "one more"), fulloncache.ErrQueueFull, "spot", "5")
		must(s, c.Orders.PushOpenOrder(s.ctx, "futures", "f"))
		n, err := c.Orders.QueueLength(s.ctx, "spot")
		if must(s, err); n != 5 {
			s.Fatalf("length %d", n)
		}
		ids, err := c.Orders.PeekOpenOrders(s.ctx, "spot", 2)
		if must(s, err); !slices.Equal(ids, []string{"o:0", "o:1"}) {
			s.Fatalf("peeked %q", ids)
		}
		reader := s.open()
		for i := range 5 {
			id, err := reader.Orders.PopOpenOrder(s.ctx, "spot", 0)
			if must(s, err); id != fmt.Sprint("o:", i) {
				s.Fatalf("popped %s as number %d", id, i)
			}
		}
		// One that waits gets what comes, and nothing is lost if it gives up.
		popped := make(chan string)
		go func() {
			id, err := reader.Orders.PopOpenOrder(s.ctx, "spot", testenv.Patience)
			popped <- fmt.Sprint(id, err)
		}()
		must(s, c.Orders.PushOpenOrder(s.ctx, "spot", "awaited"))
		if got := <-popped; got != "awaited<nil>" {
			s.Fatalf("popped %s", got)
		}
		waited := time.Now()
		_, err = reader.Orders.PopOpenOrder(s.ctx, "spot", 30*time.Millisecond)
		wantErr(s, err, fulloncache.ErrNotFound)
		if took := time.Since(waited); took < 30*time.Millisecond {
			s.Errorf("gave up after %s", took)
		}
	})
}

// Ids are pushed all or none, and with Unique each once within the window, whether
// it was taken meanwhile or not.
func TestPushOpenOrders(t *testing.T) {
	everyMode(t, func(s *suite) {
		s.cfg.NewOrdersCap = 5
		c := s.open()
		push := func(want fulloncache.Pushed, opts []fulloncache.PushOption, ids ...string) {
			s.Helper()
			pushed, err := c.Orders.PushOpenOrders(s.ctx, "spot", ids, opts...)
			if must(s, err); pushed != want {
				s.Errorf("%q: pushed %+v, want %+v", ids, pushed, want)
			}
		}
		once := []fulloncache.PushOption{fulloncache.Unique(time.Minute)}
		push(fulloncache.Pushed{Added: 2}, nil, "1", "1")
		push(fulloncache.Pushed{Added: 2, Duplicates: 1}, once, "2", "1", "2")
		_, err := c.Orders.PushOpenOrders(s.ctx, "spot", []string{"3", "4"}, once...)
		wantErr(s, err, fulloncache.ErrQueueFull, "spot", "5")
		push(fulloncache.Pushed{Added: 1}, nil, "3")
		for _, want := range []string{"1", "1", "2", "1", "3"} {
			if id, err := c.Orders.PopOpenOrder(s.ctx, "spot", 0); err != nil || id != want {
				s.Fatalf("popped %s, %v, want %s", id, err, want)
			}
		}
		push(fulloncache.Pushed{Duplicates: 2}, once, "2", "1")
		push(fulloncache.Pushed{Added: 1}, once, "5")
		if s.mode.admin != nil {
			key := s.key("new_orders", "spot", ":seen")
			if ms, err := s.mode.admin(s, key).Do(s, "PTTL", key).AsInt64(); err != nil || ms < 1 || ms > 60_000 {
				s.Errorf("what is known goes in %d ms, %v", ms, err)
			}
		}
		testenv.Eventually(s, "the window is over", func() (bool, string) {
			pushed, err := c.Orders.PushOpenOrders(s.ctx, "spot", []string{"5"}, fulloncache.Unique(time.Millisecond))
			must(s, err)
			return pushed.Added == 1, fmt.Sprintf("%+v", pushed)
		})
		// As many as the queue may hold are known.
		for i := range 6 {
			push(fulloncache.Pushed{Added: 1}, once, fmt.Sprint("n", i))
			for {
				if _, err := c.Orders.PopOpenOrder(s.ctx, "spot", 0); err != nil {
					wantErr(s, err, fulloncache.ErrNotFound)
					break
				}
			}
		}
		push(fulloncache.Pushed{Added: 2, Duplicates: 1}, once, "n0", "n5", "last")

		for want, call := range map[string]func() error{
			"DropOldest": func() error {
				_, err := c.Orders.PushOpenOrders(s.ctx, "spot", []string{"9"}, fulloncache.DropOldest())
				return err
			},
			"window": func() error {
				_, err := c.Orders.PushOpenOrders(s.ctx, "spot", []string{"9"}, fulloncache.Unique(-1))
				return err
			},
			"0 ids": func() error { _, err := c.Orders.PushOpenOrders(s.ctx, "spot", nil); return err },
			"1001 ids": func() error {
				_, err := c.Orders.PushOpenOrders(s.ctx, "spot", make([]string, 1001))
				return err
			},
			"order_id": func() error { _, err := c.Orders.PushOpenOrders(s.ctx, "spot", []string{"9", ""}); return err },
			"queue":    func() error { _, err := c.Orders.PushOpenOrders(s.ctx, "", []string{"9"}); return err },
		} {
			wantErr(s, call(), fulloncache.ErrInvalid, want)
		}
		if n, err := c.Orders.QueueLength(s.ctx, "spot"); err != nil || n != 2 {
			s.Errorf("%d ids are left, %v", n, err)
		}
	})
}

// No id is lost when those who wait give up all the time.
func TestOrderQueueCancelledWaitsLoseNothing(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		const n = 60
		reader := s.open()
		popped := make(chan string, n)
		done := make(chan struct{})
		for range 3 {
			go func() {
				for {
					ctx, cancel := context.WithTimeout(s.ctx, 2*time.Millisecond)
					id, err := reader.Orders.PopOpenOrder(ctx, "spot", time.Minute)
					cancel()
					if err == nil {
						popped <- id
					}
					select {
					case <-done:
						return
					default:
					}
				}
			}()
		}
		defer close(done)
		for i := range n {
			must(s, c.Orders.PushOpenOrder(s.ctx, "spot", strconv.Itoa(i)))
		}
		got := make(map[string]bool)
		deadline := time.After(testenv.Patience)
		for len(got) < n {
			select {
			case id := <-popped:
				if got[id] {
					s.Fatalf("%s came twice", id)
				}
				got[id] = true
			case <-deadline:
				s.Fatalf("%d of %d ids came", len(got), n)
			}
		}
	})
}
