package fulloncache_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// pulled is an iterator under test: it is read with a deadline.
type pulled[T any] struct {
	t      testing.TB
	ch     chan element[T]
	cancel context.CancelFunc
}

type element[T any] struct {
	v   T
	err error
}

// pull reads an iterator in the background until it ends or is cancelled.
func pull[T any](t testing.TB, open func(ctx context.Context) iter.Seq2[T, error]) *pulled[T] {
	ctx, cancel := context.WithCancel(testenv.Context(t))
	t.Cleanup(cancel)
	p := &pulled[T]{t: t, ch: make(chan element[T]), cancel: cancel}
	go func() {
		defer close(p.ch)
		for v, err := range open(ctx) {
			select {
			case p.ch <- element[T]{v, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return p
}

func (p *pulled[T]) next() element[T] {
	p.t.Helper()
	deadline := time.NewTimer(testenv.Patience)
	defer deadline.Stop()
	select {
	case e, ok := <-p.ch:
		if !ok {
			p.t.Fatal("it ended")
		}
		return e
	case <-deadline.C:
		p.t.Fatal("nothing comes")
		panic("unreachable")
	}
}

// wantEnd reads the end.
func (p *pulled[T]) wantEnd() {
	p.t.Helper()
	deadline := time.NewTimer(testenv.Patience)
	defer deadline.Stop()
	select {
	case e, ok := <-p.ch:
		if ok {
			p.t.Fatalf("it goes on: %+v", e)
		}
	case <-deadline.C:
		p.t.Fatal("it does not end")
	}
}

// watchedOrders is a watch under test.
type watchedOrders struct {
	*pulled[fulloncache.OrderUpdate]
}

func watchOrders(t testing.TB, c *fulloncache.Client, exchange string, ids ...string) watchedOrders {
	return watchedOrders{pull(t, func(ctx context.Context) iter.Seq2[fulloncache.OrderUpdate, error] {
		return c.Orders.Watch(ctx, exchange, ids...)
	})}
}

func (w watchedOrders) want(o fulloncache.Order) fulloncache.OrderUpdate {
	w.t.Helper()
	e := w.next()
	wantOrder(w.t, e.v.Order, e.err, o)
	if e.v.Deleted {
		w.t.Fatalf("deleted: %+v", e.v)
	}
	return e.v
}

func (w watchedOrders) wantDeleted(exchange, id string) {
	w.t.Helper()
	e := w.next()
	wantOrder(w.t, e.v.Order, e.err, fulloncache.Order{Market: fulloncache.Market{Exchange: exchange}, ID: id})
	if !e.v.Deleted {
		w.t.Fatalf("not deleted: %+v", e.v)
	}
}

func TestOrderWatch(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		one, two := orderAt("1", 0), orderAt("2", 1)
		two.Status = fulloncache.OrderFilled
		must(s, c.Orders.Save(s.ctx, one))
		must(s, c.Orders.Save(s.ctx, two))
		reader := s.open()
		all, some := watchOrders(s, reader, "kraken"), watchOrders(s, reader, "kraken", "1", "3", "1")
		rev := all.want(one).Rev
		if u := all.want(two); u.Rev <= rev || u.Order.Cached.IsZero() {
			s.Fatalf("update %+v after revision %d", u, rev)
		}
		some.want(one)
		for n := 2; n < 30; n++ {
			got, err := c.Orders.Update(s.ctx, change("1", n, fulloncache.OrderPartial, fmt.Sprint(n)))
			must(s, err)
			u := all.want(got)
			if u.Rev <= rev || u.Conflated != 0 {
				s.Fatalf("update %+v after revision %d", u, rev)
			}
			rev = u.Rev
			if v := some.want(got); v.Rev != rev {
				s.Fatalf("revisions %d and %d of one change", v.Rev, rev)
			}
		}
		// What is refused is not told, and nobody asked for 2.
		_, err := c.Orders.Update(s.ctx, change("1", 2, "", ""))
		wantErr(s, err, fulloncache.ErrOutdated)
		must(s, c.Orders.Delete(s.ctx, "kraken", "2"))
		all.wantDeleted("kraken", "2")
		three := orderAt("3", 0)
		must(s, c.Orders.Save(s.ctx, three))
		all.want(three)
		some.want(three)
		// It ends with its context, or with the Client, which it says.
		some.cancel()
		some.wantEnd()
		reader.Close()
		wantErr(s, all.next().err, fulloncache.ErrClosed)
		all.wantEnd()
		wantErr(s, watchOrders(s, reader, "kraken").next().err, fulloncache.ErrClosed)
	})
}

// A slow consumer gets the newest of each order and the count of the others.
func TestOrderWatchConflates(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Orders.Save(s.ctx, orderAt("1", 0)))
		s.cfg.StreamBuffer = 1
		reader := s.open()
		const n = 40
		sum := 0
		for u, err := range reader.Orders.Watch(s.ctx, "kraken", "1") {
			must(s, err)
			if sum == 0 {
				for i := 1; i <= n; i++ {
					_, err := c.Orders.Update(s.ctx, change("1", i, "", ""))
					must(s, err)
				}
			}
			sum += 1 + u.Conflated
			if u.Order.Time.Equal(at(n)) {
				break
			}
		}
		if sum != n+1 {
			s.Errorf("%d changes are accounted for, of %d", sum, n+1)
		}
	})
}

// Cut off and connected again, the orders as they are come first.
func TestOrderWatchFault(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	proxy := testenv.NewProxy(t, srv.Addr())
	c := open(t, fulloncache.Config{URL: srv.URL()})
	reader := open(t, fulloncache.Config{URL: proxy.URL(), FeedHeartbeat: 200 * time.Millisecond, SocketTimeout: time.Second})
	must(t, c.Orders.Save(ctx, orderAt("1", 0)))
	must(t, c.Orders.Save(ctx, orderAt("2", 0)))
	w, one := watchOrders(t, reader, "kraken"), watchOrders(t, reader, "kraken", "1")
	for range 2 {
		must(t, w.next().err)
	}
	one.want(orderAt("1", 0))
	proxy.Cut()
	wantErr(t, w.next().err, fulloncache.ErrUnavailable)
	wantErr(t, one.next().err, fulloncache.ErrUnavailable)
	now, err := c.Orders.Update(ctx, change("1", 1, fulloncache.OrderFilled, "1"))
	must(t, err)
	must(t, c.Orders.Delete(ctx, "kraken", "2"))
	proxy.Restore(t)
	// More errors may come until it is connected.
	settle := func(w watchedOrders) fulloncache.OrderUpdate {
		for {
			if e := w.next(); e.err == nil {
				return e.v
			} else if !errors.Is(e.err, fulloncache.ErrUnavailable) {
				t.Fatal(e.err)
			}
		}
	}
	wantOrder(t, settle(w).Order, nil, now)
	w.wantDeleted("kraken", "2")
	wantOrder(t, settle(one).Order, nil, now)

	// A server that forgot everything, whose revisions begin anew.
	srv.Kill()
	srv.Restart(t)
	testenv.Eventually(t, "a write", func() (bool, string) {
		err := c.Orders.Save(ctx, orderAt("3", 0))
		return err == nil, fmt.Sprint(err)
	})
	gone, came := false, false
	for !gone || !came {
		u := settle(w)
		gone = gone || u.Deleted && u.Order.ID == "1"
		came = came || !u.Deleted && u.Order.ID == "3"
	}
}
