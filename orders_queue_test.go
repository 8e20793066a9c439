package fulloncache_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// ordersFrom are n open orders, with the ids prefix0, prefix1 and so on.
func ordersFrom(prefix string, n int) []fulloncache.Order {
	list := make([]fulloncache.Order, n)
	for i := range list {
		list[i] = orderAt(fmt.Sprint(prefix, i), i)
	}
	return list
}

// consume starts a consumer. The returned function stops it and returns its error;
// the test's end does too.
func consume(t testing.TB, c *fulloncache.Client, opts fulloncache.ConsumeOptions, h fulloncache.OrderHandler) func() error {
	t.Helper()
	ctx, cancel := context.WithCancel(testenv.Context(t))
	if opts.Exchange == "" {
		opts.Exchange = "kraken"
	}
	result := make(chan error, 1)
	go func() { result <- c.Orders.Consume(ctx, opts, h) }()
	stop := sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-result:
			return err
		case <-time.After(testenv.Patience):
			return errors.New("the consumer does not stop")
		}
	})
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return stop
}

// handled keeps what handlers were given, in order.
type handled struct {
	mu   sync.Mutex
	list []string
}

func (h *handled) add(d *fulloncache.OrderDelivery) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.list = append(h.list, fmt.Sprint(d.Order.ID, " ", d.Number))
}

func (h *handled) all() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.list)
}

// await waits for n deliveries.
func (h *handled) await(t testing.TB, n int) []string {
	t.Helper()
	testenv.Eventually(t, fmt.Sprintf("%d deliveries", n), func() (bool, string) {
		all := h.all()
		return len(all) >= n, fmt.Sprint(all)
	})
	return h.all()
}

// wantStats waits until the queue of kraken is so.
func wantStats(t testing.TB, c *fulloncache.Client, want fulloncache.QueueStats) {
	t.Helper()
	testenv.Eventually(t, fmt.Sprintf("%+v", want), func() (bool, string) {
		got, err := c.Orders.QueueStats(testenv.Context(t), "kraken")
		return err == nil && got == want, fmt.Sprint(got, err)
	})
}

// deadOrders are the dead letters of kraken.
func deadOrders(t testing.TB, c *fulloncache.Client) []fulloncache.DeadOrder {
	t.Helper()
	var list []fulloncache.DeadOrder
	for d, err := range c.Orders.DeadOrders(testenv.Context(t), "kraken") {
		must(t, err)
		list = append(list, d)
	}
	return list
}

func TestSubmittedOrdersAreHandledOnce(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		full := fullOrder()
		must(s, c.Orders.Submit(s.ctx, full))
		must(s, c.Orders.Submit(s.ctx, full)) // nobody knows whether it was added
		must(s, c.Orders.SubmitMany(s.ctx, append(ordersFrom("o", 20), full)))
		other := full
		other.Exchange = "bitmex"
		must(s, c.Orders.SubmitMany(s.ctx, []fulloncache.Order{full, other}))
		wantStats(s, c, fulloncache.QueueStats{Length: 21})

		var got handled
		worker := s.open()
		first := make(chan fulloncache.Order, 1)
		stop := consume(s, worker, fulloncache.ConsumeOptions{}, func(_ context.Context, d *fulloncache.OrderDelivery) error {
			if d.Order.ID == full.ID {
				first <- d.Order
			}
			got.add(d)
			return nil
		})
		got.await(s, 21)
		wantStats(s, c, fulloncache.QueueStats{})
		must(s, stop())
		if all := got.all(); len(all) != 21 {
			s.Errorf("deliveries %q", all)
		}
		wantOrder(s, <-first, nil, full)
		// It was handled, and stays so.
		must(s, c.Orders.Submit(s.ctx, full))
		wantStats(s, c, fulloncache.QueueStats{})
		stats, err := c.Orders.QueueStats(s.ctx, "bitmex")
		if must(s, err); stats.Length != 1 {
			s.Errorf("bitmex: %+v", stats)
		}
	})
}

// Of the orders whose submit is given up, those that waited for a call to share are
// not sent; whether the two that were under way are added, nobody knows. All are
// submitted again, and each is there once.
func TestSubmitsThatAreGivenUp(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c := open(t, fulloncache.Config{URL: srv.URL()})
	list := ordersFrom("", 20)
	srv.Freeze(t)
	hasty, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	given := make(chan error, len(list))
	for _, o := range list {
		go func() { given <- c.Orders.Submit(hasty, o) }()
	}
	for range list {
		wantErr(t, <-given, context.DeadlineExceeded)
	}
	srv.Thaw(t)
	stats, err := c.Orders.QueueStats(ctx, "kraken")
	if must(t, err); stats.Length > 2 {
		t.Errorf("%d orders were sent", stats.Length)
	}
	for _, o := range list {
		must(t, c.Orders.Submit(ctx, o))
	}
	var got handled
	stop := consume(t, c, fulloncache.ConsumeOptions{}, func(_ context.Context, d *fulloncache.OrderDelivery) error {
		got.add(d)
		return nil
	})
	got.await(t, len(list))
	wantStats(t, c, fulloncache.QueueStats{})
	must(t, stop())
	if all := got.all(); len(all) != len(list) {
		t.Errorf("deliveries %q", all)
	}
}

func TestOrderVerbs(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Orders.SubmitMany(s.ctx, ordersFrom("", 5)))
		var got handled
		errs := make(chan error, 5)
		stop := consume(s, s.open(), fulloncache.ConsumeOptions{
			Concurrency: 1, MaxDeliveries: 2, Visibility: time.Minute, Backoff: func(int) time.Duration { return time.Millisecond },
		}, func(ctx context.Context, d *fulloncache.OrderDelivery) error {
			got.add(d)
			switch {
			case d.Order.ID == "0":
				errs <- errors.Join(d.Extend(ctx), d.Ack(ctx))
				errs <- d.Nak(ctx, 0, nil) // too late
				errs <- d.Extend(ctx)
				return errors.New("it is settled: this changes nothing")
			case d.Order.ID == "1" && d.Number == 1:
				return d.Nak(ctx, time.Millisecond, errors.New("busy"))
			case d.Order.ID == "2":
				return d.Reject(ctx, "no such symbol")
			case d.Order.ID == "3":
				return errors.New("always fails")
			case d.Order.ID == "4" && d.Number == 1:
				panic("a handler's mistake")
			}
			return nil
		})
		wantStats(s, c, fulloncache.QueueStats{Dead: 2})
		must(s, stop())
		must(s, <-errs)
		wantErr(s, <-errs, fulloncache.ErrInvalid, "order kraken BTC/USD 0", "settled")
		wantErr(s, <-errs, fulloncache.ErrInvalid, "settled")
		all := got.all()
		if slices.Sort(all); !slices.Equal(all, []string{"0 1", "1 1", "1 2", "2 1", "3 1", "3 2", "4 1", "4 2"}) {
			s.Errorf("deliveries %q", all)
		}

		dead := deadOrders(s, c)
		slices.SortFunc(dead, func(a, b fulloncache.DeadOrder) int { return strings.Compare(a.OrderID, b.OrderID) })
		for i, want := range []fulloncache.DeadOrder{
			{OrderID: "2", Reason: "no such symbol", Deliveries: 1}, {OrderID: "3", Reason: "always fails", Deliveries: 2},
		} {
			d := dead[i]
			if d.OrderID != want.OrderID || d.Reason != want.Reason || d.Deliveries != want.Deliveries || d.DeadID == "" || d.Time.IsZero() {
				s.Errorf("dead letter %+v, want %+v", d, want)
			}
			wantOrder(s, *d.Order, nil, orderAt(want.OrderID, i+2))
		}
		moved, err := c.Orders.RequeueDead(s.ctx, "kraken", dead[1].DeadID, "1-1")
		if must(s, err); moved != 1 {
			s.Errorf("%d requeued", moved)
		}
		purged, err := c.Orders.PurgeDead(s.ctx, "kraken", dead[0].DeadID, dead[1].DeadID)
		if must(s, err); purged != 1 {
			s.Errorf("%d purged", purged)
		}
		stop = consume(s, c, fulloncache.ConsumeOptions{}, func(_ context.Context, d *fulloncache.OrderDelivery) error {
			got.add(d)
			return nil
		})
		if all := got.await(s, 9); all[8] != "3 1" {
			s.Errorf("requeued, it is delivered as %q", all[8])
		}
		wantStats(s, c, fulloncache.QueueStats{})
		must(s, stop())
	})
}

// A listing of dead letters goes on beyond one page, and can be left.
func TestDeadOrdersArePaged(t *testing.T) {
	everyMode(t, func(s *suite) {
		const n = 1001
		s.cfg.OrderQueueCap, s.cfg.OrderQueueDisplace = 1, true
		c := s.open()
		must(s, c.Orders.SubmitMany(s.ctx, ordersFrom("", n+1)))
		for i, d := range deadOrders(s, c) {
			if d.OrderID != fmt.Sprint(i) {
				s.Fatalf("dead letter %d is of order %s", i, d.OrderID)
			}
		}
		if got := len(deadOrders(s, c)); got != n {
			s.Errorf("%d dead letters", got)
		}
		for d, err := range c.Orders.DeadOrders(s.ctx, "kraken") {
			if must(s, err); d.OrderID != "0" {
				s.Errorf("the first is of order %s", d.OrderID)
			}
			break
		}
	})
}

func TestSubmitRefusesInput(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		for field, spoil := range map[string]func(o *fulloncache.Order){
			"exchange": func(o *fulloncache.Order) { o.Exchange = "" },
			"symbol":   func(o *fulloncache.Order) { o.Symbol = "" },
			"order_id": func(o *fulloncache.Order) { o.ID = "" },
			"side":     func(o *fulloncache.Order) { o.Side = "long" },
			"status":   func(o *fulloncache.Order) { o.Status = "lost" },
			"volume":   func(o *fulloncache.Order) { o.Volume = dec("-1") },
			"price":    func(o *fulloncache.Order) { o.Price = some("-1") },
			"time":     func(o *fulloncache.Order) { o.Time = time.Time{} },
		} {
			o := fullOrder()
			spoil(&o)
			wantErr(s, c.Orders.Submit(s.ctx, o), fulloncache.ErrInvalid, field)
		}
		wantErr(s, c.Orders.Submit(s.ctx, fullOrder(), fulloncache.WaitReplicas(-1)), fulloncache.ErrInvalid, "-1")
		wantStats(s, c, fulloncache.QueueStats{})
		// One that is refused does not hold up the others.
		list := ordersFrom("", 3)
		list[1].Side = ""
		err := c.Orders.SubmitMany(s.ctx, list)
		var batch *fulloncache.BatchError
		if !errors.As(err, &batch) || batch.Errs[0] != nil || !errors.Is(batch.Errs[1], fulloncache.ErrInvalid) || batch.Errs[2] != nil {
			s.Errorf("got %v", err)
		}
		wantStats(s, c, fulloncache.QueueStats{Length: 2})

		nothing := func(context.Context, *fulloncache.OrderDelivery) error { return nil }
		wantErr(s, c.Orders.Consume(s.ctx, fulloncache.ConsumeOptions{}, nothing), fulloncache.ErrInvalid, "exchange")
		wantErr(s, c.Orders.Consume(s.ctx, fulloncache.ConsumeOptions{Exchange: "kraken"}, nil), fulloncache.ErrInvalid, "handler")
		wantErr(s, c.Orders.Consume(s.ctx, fulloncache.ConsumeOptions{Exchange: "kraken", Concurrency: -1}, nothing), fulloncache.ErrInvalid, "negative")
		_, err = c.Orders.QueueStats(s.ctx, "")
		wantErr(s, err, fulloncache.ErrInvalid, "exchange")
		for _, err := range c.Orders.DeadOrders(s.ctx, "") {
			wantErr(s, err, fulloncache.ErrInvalid, "exchange")
		}
		_, err = c.Orders.PurgeDead(s.ctx, "", "1-1")
		wantErr(s, err, fulloncache.ErrInvalid, "exchange")
		for _, id := range []string{"", "1", "x-1", "1-x", "-", "1-1 "} {
			_, err = c.Orders.RequeueDead(s.ctx, "kraken", id)
			wantErr(s, err, fulloncache.ErrInvalid, "dead letter")
			_, err = c.Orders.PurgeDead(s.ctx, "kraken", "1-1", id)
			wantErr(s, err, fulloncache.ErrInvalid, "dead letter")
		}
	})
}

// A full queue refuses, or by choice the oldest give way, to the dead letters.
func TestFullOrderQueue(t *testing.T) {
	everyMode(t, func(s *suite) {
		s.cfg.OrderQueueCap = 3
		c := s.open()
		err := c.Orders.SubmitMany(s.ctx, ordersFrom("", 5))
		var batch *fulloncache.BatchError
		if !errors.As(err, &batch) || batch.Errs[2] != nil {
			s.Fatalf("got %v", err)
		}
		wantErr(s, batch.Errs[3], fulloncache.ErrQueueFull, "order kraken BTC/USD 3", "it holds 3 orders")
		wantErr(s, batch.Errs[4], fulloncache.ErrQueueFull)
		wantErr(s, c.Orders.Submit(s.ctx, orderAt("3", 0)), fulloncache.ErrQueueFull)
		wantStats(s, c, fulloncache.QueueStats{Length: 3})

		var ev events
		s.cfg.OrderQueueDisplace, s.cfg.OrderQueueDeadCap, s.cfg.Hooks = true, 1, []fulloncache.Hooks{ev.hook()}
		c = s.open()
		must(s, c.Orders.Submit(s.ctx, orderAt("3", 0)))
		must(s, c.Orders.Submit(s.ctx, orderAt("4", 0)))
		wantStats(s, c, fulloncache.QueueStats{Length: 3, Dead: 1})
		dead := deadOrders(s, c)
		if dead[0].OrderID != "1" || !strings.Contains(dead[0].Reason, "displaced") {
			s.Errorf("dead letters %+v", dead)
		}
		if ev.count(fulloncache.EventDisplaced) != 2 || ev.count(fulloncache.EventDeadDropped) != 1 {
			s.Errorf("events %+v", ev.list)
		}
		// It is never silent: whoever watches the global errors reads it too.
		for range 3 {
			e, err := c.Base.PopGlobalError(s.ctx, testenv.Patience)
			if must(s, err); e.Component != "orders" || !strings.Contains(e.Message, "kraken 1") {
				s.Errorf("global error %+v", e)
			}
		}
		_, err = c.Orders.RequeueDead(s.ctx, "kraken", dead[0].DeadID)
		wantErr(s, err, fulloncache.ErrQueueFull)
	})
}

// Malformed payloads go to the dead letters with the reason; no handler sees them,
// and they hold up nobody.
func TestMalformedOrdersAreDeadLetters(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		if s.mode.admin == nil {
			return // nobody else can write to it
		}
		var ev events
		s.cfg.Hooks = []fulloncache.Hooks{ev.hook()}
		var got handled
		stop := consume(s, s.open(), fulloncache.ConsumeOptions{}, func(_ context.Context, d *fulloncache.OrderDelivery) error {
			got.add(d)
			return nil
		})
		good := `{"exchange":"kraken","symbol":"BTC/USD","order_id":"ID","order_type":"limit","side":"buy","status":"new","volume":1,"time":"2026-01-02T03:04:05Z"}`
		stream := s.key("order_queue", "kraken", "")
		bad := map[string]string{ // by id, what the reason mentions
			"no-json": "unexpected end", "no-object": "cannot unmarshal", "float": `"volume"`, "side": "side", "exchange": "bitmex",
			"id": `order_id "other"`, "time": `"time"`, "missing": "order_type is empty",
		}
		for id, body := range map[string]string{
			"no-json":   "{",
			"no-object": "[]",
			"float":     strings.Replace(good, `"volume":1`, `"volume":"one"`, 1),
			"side":      strings.Replace(good, "buy", "long", 1),
			"exchange":  strings.Replace(good, "kraken", "bitmex", 1),
			"id":        strings.Replace(good, "ID", "other", 1),
			"time":      strings.Replace(good, "T03:04:05Z", "", 1),
			"missing":   strings.Replace(good, `"order_type":"limit",`, "", 1),
		} {
			s.do("XADD", stream, "*", "id", id, "body", strings.Replace(body, "ID", id, 1))
		}
		s.do("XADD", stream, "*", "foreign", "field")
		s.do("XADD", stream, "*", "id", "good", "body", strings.Replace(good, "ID", "good", 1))
		must(s, c.Orders.Submit(s.ctx, orderAt("better", 0)))
		wantStats(s, c, fulloncache.QueueStats{Dead: int64(len(bad)) + 1})
		if all := got.await(s, 2); len(all) != 2 || !slices.Contains(all, "good 1") || !slices.Contains(all, "better 1") {
			s.Errorf("handled %q", all)
		}
		for _, d := range deadOrders(s, c) {
			want, ok := bad[d.OrderID]
			if !ok {
				want = "no field id"
				if d.Body != `{"foreign":"field"}` {
					s.Errorf("a foreign entry is %+v", d)
				}
			}
			if d.Order != nil && d.OrderID != "exchange" && d.OrderID != "id" || !strings.HasPrefix(d.Reason, "malformed: ") || !strings.Contains(d.Reason, want) {
				s.Errorf("%s: %+v, want a reason with %q", d.OrderID, d, want)
			}
		}
		testenv.Eventually(s, "events", func() (bool, string) {
			n := ev.count(fulloncache.EventDeadLetter)
			return n == len(bad)+1, fmt.Sprint(n)
		})
		must(s, stop())
	})
}

// An order can be submitted only while its market's lease is held under the token.
func TestSubmitUnderLease(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		submit := func(token int64) error { return c.Orders.Submit(s.ctx, orderAt("1", 0), fulloncache.UnderLease(token)) }
		wantErr(s, submit(7), fulloncache.ErrLeaseLost, `""`)
		wantErr(s, submit(0), fulloncache.ErrLeaseLost)
		err := c.Orders.SubmitMany(s.ctx, []fulloncache.Order{
			orderAt("1", 0), {Market: eth, ID: "2", Type: "limit", Side: fulloncache.Buy, Volume: dec("1"), Status: fulloncache.OrderNew, Time: t0},
		}, fulloncache.UnderLease(7))
		wantErr(s, err, fulloncache.ErrLeaseLost)
		wantErr(s, err, fulloncache.ErrInvalid, "ETH/USD 2", "of one market")
		wantStats(s, c, fulloncache.QueueStats{})
		if s.mode.admin == nil {
			return // who takes leases is tested with them
		}
		key := s.key("block_exchange", "kraken", ":BTCUSD")
		s.do("HSET", key, "symbol", "BTC/USD", "holder", "bot_1", "token", "7", "until", "2999-01-01T00:00:00.000000000Z")
		wantErr(s, submit(6), fulloncache.ErrLeaseLost, `"7"`)
		must(s, submit(7))
		wantStats(s, c, fulloncache.QueueStats{Length: 1})
		s.do("HSET", key, "token", "8")
		wantErr(s, submit(7), fulloncache.ErrLeaseLost, `"8"`)
		s.do("HSET", key, "until", "2001-01-01T00:00:00.000000000Z")
		wantErr(s, submit(8), fulloncache.ErrLeaseLost)
		s.do("DEL", key)
		s.do("SET", key, "x")
		var corrupt *fulloncache.CorruptError
		if err := submit(8); !errors.As(err, &corrupt) || corrupt.Key != key {
			s.Errorf("got %v", err)
		}
	})
}

// Orders of one symbol are handled one after another, in order, also through Nak
// and a handler that fails; those of others go on.
func TestOrderedOrders(t *testing.T) {
	everyMode(t, func(s *suite) {
		s.cfg.OrderQueueOrdered = true
		c := s.open()
		const each = 12
		markets := []fulloncache.Market{btc, eth, {Exchange: "kraken", Symbol: "XRP/USD"}}
		var list []fulloncache.Order
		for i := range each * len(markets) {
			o := orderAt(fmt.Sprint(i), i)
			o.Market = markets[i%len(markets)]
			list = append(list, o)
		}
		must(s, c.Orders.SubmitMany(s.ctx, list))
		var (
			mu    sync.Mutex
			done  = map[string][]string{}
			busy  = map[string]bool{}
			fails atomic.Int64
		)
		handler := func(ctx context.Context, d *fulloncache.OrderDelivery) error {
			mu.Lock()
			defer mu.Unlock()
			symbol := d.Order.Symbol
			if busy[symbol] || d.Token == "" {
				s.Errorf("%s: two at a time, or no token %q", symbol, d.Token)
			}
			busy[symbol] = true
			mu.Unlock()
			err := ctx.Err()
			if d.Number == 1 && fails.Add(1)%3 == 0 {
				err = d.Nak(ctx, time.Millisecond, errors.New("later"))
			} else {
				mu.Lock()
				done[symbol] = append(done[symbol], d.Order.ID)
				mu.Unlock()
			}
			mu.Lock()
			busy[symbol] = false
			return err
		}
		opts := fulloncache.ConsumeOptions{MaxDeliveries: 1000}
		stops := []func() error{consume(s, c, opts, handler), consume(s, s.open(), opts, handler)}
		wantStats(s, c, fulloncache.QueueStats{})
		for _, stop := range stops {
			must(s, stop())
		}
		for n, m := range markets {
			var want []string
			for i := range each {
				want = append(want, fmt.Sprint(n+i*len(markets)))
			}
			if !slices.Equal(done[m.Symbol], want) {
				s.Errorf("%s: %q, want %q", m.Symbol, done[m.Symbol], want)
			}
		}
		// Who uses the queue in another way is told.
		s.cfg.OrderQueueOrdered = false
		plain := s.open()
		wantErr(s, plain.Orders.Submit(s.ctx, orderAt("x", 0)), fulloncache.ErrInvalid, "is not plain")
		wantErr(s, plain.Orders.Consume(s.ctx, fulloncache.ConsumeOptions{Exchange: "kraken"}, handler), fulloncache.ErrInvalid, "is not plain")
	})
}

// An order whose handler takes too long goes to another; the first one is told, and
// can settle nothing any more.
func TestOrderDeliveryIsLost(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Orders.Submit(s.ctx, orderAt("1", 0)))
		lost, done := make(chan error, 2), make(chan struct{})
		stop := consume(s, c, fulloncache.ConsumeOptions{Visibility: 200 * time.Millisecond, MaxDeliveries: 100}, func(ctx context.Context, d *fulloncache.OrderDelivery) error {
			if d.Number > 1 {
				err := d.Ack(s.ctx)
				if err == nil {
					close(done)
				}
				return err
			}
			<-ctx.Done()
			lost <- context.Cause(ctx)
			<-done
			lost <- d.Ack(s.ctx)
			return nil
		})
		wantErr(s, <-lost, fulloncache.ErrLeaseLost)
		wantErr(s, <-lost, fulloncache.ErrLeaseLost, "order kraken BTC/USD 1")
		wantStats(s, c, fulloncache.QueueStats{})
		must(s, stop())
	})
}

func TestSubmitWaitsForReplicas(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	r := testenv.NewReplicas(t, 1)
	cfg := fulloncache.Config{URL: r.Master.URL(), OrderConfirmTimeout: 50 * time.Millisecond}
	c := open(t, cfg)
	r.Replicas[0].Freeze(t)
	wantErr(t, c.Orders.Submit(ctx, orderAt("1", 0), fulloncache.WaitReplicas(1)), fulloncache.ErrUncertain, "0 of 1 replicas", "submit it again")
	r.Replicas[0].Thaw(t)
	testenv.Eventually(t, "a confirmed submit", func() (bool, string) {
		err := c.Orders.Submit(ctx, orderAt("1", 0), fulloncache.WaitReplicas(1))
		return err == nil, fmt.Sprint(err)
	})
	wantStats(t, c, fulloncache.QueueStats{Length: 1})
	if n, err := r.Replicas[0].Do(t, "XLEN", "order_queue:kraken").AsInt64(); err != nil || n != 1 {
		t.Errorf("the replica has %d orders, %v", n, err)
	}
}

// What the in-process server cannot do, it says.
func TestSubmitInProcessHasNoReplicas(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		err := c.Orders.Submit(s.ctx, orderAt("1", 0), fulloncache.WaitReplicas(1))
		if s.mode.name == "embedded" {
			wantErr(s, err, fulloncache.ErrUnsupported, "replicas")
			return
		}
		wantErr(s, err, fulloncache.ErrUncertain) // it has none
	})
}

// Unreachable, corrupt and closed are three different errors.
func TestOrderQueueErrors(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c := open(t, fulloncache.Config{URL: srv.URL(), SocketTimeout: time.Second})
	srv.Do(t, "SET", "order_queue:kraken", "x")
	nothing := func(context.Context, *fulloncache.OrderDelivery) error { return nil }
	try := func() map[string]error {
		errs := map[string]error{"submit": c.Orders.Submit(ctx, orderAt("1", 0))}
		_, errs["stats"] = c.Orders.QueueStats(ctx, "kraken")
		for _, err := range c.Orders.DeadOrders(ctx, "kraken") {
			errs["list"] = err
		}
		_, errs["purge"] = c.Orders.PurgeDead(ctx, "kraken", "1-1")
		_, errs["requeue"] = c.Orders.RequeueDead(ctx, "kraken", "1-1")
		return errs
	}
	// That the global errors are not told is no error of who submits or consumes.
	srv.Do(t, "SET", "global_error", "x")
	srv.Do(t, "XADD", "order_queue:bitmex", "*", "no", "order")
	stop := consume(t, c, fulloncache.ConsumeOptions{Exchange: "bitmex"}, nothing)
	testenv.Eventually(t, "a dead letter", func() (bool, string) {
		stats, err := c.Orders.QueueStats(ctx, "bitmex")
		return err == nil && stats.Dead == 1, fmt.Sprint(stats, err)
	})
	must(t, stop())
	srv.Do(t, "SET", "order_queue:kraken:dead", "x")
	for what, err := range try() {
		var corrupt *fulloncache.CorruptError
		if !errors.As(err, &corrupt) || !strings.HasPrefix(corrupt.Key, "order_queue:kraken") {
			t.Errorf("%s: %v", what, err)
		}
	}
	wantErr(t, c.Orders.Consume(ctx, fulloncache.ConsumeOptions{Exchange: "kraken"}, nothing), fulloncache.ErrCorrupt)
	srv.Kill()
	for what, err := range try() {
		if !errors.Is(err, fulloncache.ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	closed := make(chan error, 1)
	go func() { closed <- c.Orders.Consume(ctx, fulloncache.ConsumeOptions{Exchange: "kraken"}, nothing) }()
	c.Close()
	wantErr(t, <-closed, fulloncache.ErrClosed)
	for what, err := range try() {
		if !errors.Is(err, fulloncache.ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
