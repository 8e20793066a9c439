package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache"
)

// producers hand orders to as many consumers, which run all the while; a submit
// and a read by hand have as many orders as ours.
const (
	producers   = 8
	ordersBatch = 100
)

//go:embed peer_submit.lua
var peerSubmit string

//go:embed peer_ack.lua
var peerAck string

// benchOrder is an order of the usual size.
func benchOrder(exchange string, n int) fulloncache.Order {
	return fulloncache.Order{
		Market: fulloncache.Market{Exchange: exchange, Symbol: "BTC/USD"}, ID: "bot-17-" + strconv.Itoa(n),
		BotID: 17, UserID: 123, ExchangeID: 12, CatExchangeID: 1,
		Type: "limit", Side: fulloncache.Buy, Volume: volume, Price: fulloncache.Some(price), Tick: fulloncache.Some(bid),
		Status: fulloncache.OrderNew, Command: "spread", Reason: "signal 42", Time: time.Now(),
	}
}

// handOrder is an order as a careful user would write it for encoding/json: numbers
// are text.
type handOrder struct {
	Exchange      string    `json:"exchange"`
	Symbol        string    `json:"symbol"`
	ID            string    `json:"order_id"`
	BotID         int64     `json:"bot_id"`
	UserID        int64     `json:"uid"`
	ExchangeID    int64     `json:"ex_id"`
	CatExchangeID int64     `json:"cat_ex_id"`
	Type          string    `json:"order_type"`
	Side          string    `json:"side"`
	Volume        string    `json:"volume"`
	Price         string    `json:"price"`
	Tick          string    `json:"tick"`
	Status        string    `json:"status"`
	Command       string    `json:"command"`
	Reason        string    `json:"reason"`
	Time          time.Time `json:"time"`
}

// handBody is such an order as it is queued.
func handBody(n int) (id, body string, err error) {
	o := handOrder{
		Exchange: "kraken", Symbol: "BTC/USD", ID: "bot-17-" + strconv.Itoa(n), BotID: 17, UserID: 123, ExchangeID: 12, CatExchangeID: 1,
		Type: "limit", Side: "buy", Volume: "1834.20491733", Price: "67123.45", Tick: "67123.4",
		Status: "new", Command: "spread", Reason: "signal 42", Time: time.Now(),
	}
	text, err := json.Marshal(o)
	return o.ID, string(text), err
}

// readHand reads it.
func readHand(body []byte) error {
	var o handOrder
	if err := json.Unmarshal(body, &o); err != nil {
		return err
	}
	if o.ID == "" {
		return errors.New("an order without an id")
	}
	return nil
}

// flow is one way to hand orders on.
type flow struct {
	name   string
	batch  int                      // how many one submit has
	orders int                      // how many a round has
	submit func(first, n int) error // submits the orders of these numbers
	tidy   func() error             // after a round; nil if there is nothing to do
	next   atomic.Int64             // the number of the next order
	seen   atomic.Int64             // how many were handled
	target atomic.Int64             // of which one ends the round
	done   chan struct{}            // tells that, buffered
	failed atomic.Pointer[error]    // a consumer's error
}

func newFlow(name string, batch, orders int) *flow {
	return &flow{name: name, batch: batch, orders: orders, done: make(chan struct{}, 1)}
}

// handled counts an order that a consumer has handled.
func (f *flow) handled() {
	if f.seen.Add(1) == f.target.Load() {
		f.done <- struct{}{}
	}
}

// fail ends the rounds with a consumer's error.
func (f *flow) fail(err error) {
	f.failed.Store(&err)
	select {
	case f.done <- struct{}{}:
	default:
	}
}

// contestant measures orders per second from the first submit to the last order
// handled.
func (f *flow) contestant() contestant {
	return contestant{f.name, func() (float64, []time.Duration, error) {
		f.target.Store(f.seen.Load() + int64(f.orders))
		last := f.next.Load() + int64(f.orders)
		samples := make([][]time.Duration, producers)
		errs := make([]error, producers)
		var wg sync.WaitGroup
		start := time.Now()
		for i := range producers {
			wg.Go(func() {
				for errs[i] == nil {
					first := f.next.Add(int64(f.batch)) - int64(f.batch)
					if first >= last {
						return
					}
					from := time.Now()
					errs[i] = f.submit(int(first), f.batch)
					samples[i] = append(samples[i], time.Since(from))
				}
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			return 0, nil, fmt.Errorf("%s: submit: %w", f.name, err)
		}
		select {
		case <-f.done:
		case <-time.After(time.Minute):
			return 0, nil, fmt.Errorf("%s: %d of %d orders were handled within a minute", f.name, f.seen.Load(), f.target.Load())
		}
		took := time.Since(start)
		if err := f.failed.Load(); err != nil {
			return 0, nil, fmt.Errorf("%s: consume: %w", f.name, *err)
		}
		f.next.Store(last)
		var err error
		if f.tidy != nil {
			err = f.tidy()
		}
		var all []time.Duration
		for _, s := range samples {
			all = append(all, s...)
		}
		return float64(f.orders) / took.Seconds(), all, err
	}}
}

// ordersFlow: from 8 producers to 8 consumers.
func ordersFlow(b *bench, c *fulloncache.Client, peers []*byHand) error {
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	var consumers sync.WaitGroup
	defer consumers.Wait()
	defer cancel()

	orders := b.scale(10_000)
	start := func(f *flow, consume func(ctx context.Context, name string) error) {
		for i := range producers {
			consumers.Go(func() {
				if err := consume(ctx, "c"+strconv.Itoa(i)); err != nil && ctx.Err() == nil {
					f.fail(err)
				}
			})
		}
	}
	ours := func(exchange string, batch, orders int) *flow {
		f := newFlow("fulloncache", batch, orders)
		f.submit = func(first, n int) error {
			if n == 1 {
				return c.Orders.Submit(b.ctx, benchOrder(exchange, first))
			}
			list := make([]fulloncache.Order, n)
			for i := range list {
				list[i] = benchOrder(exchange, first+i)
			}
			return c.Orders.SubmitMany(b.ctx, list)
		}
		start(f, func(ctx context.Context, _ string) error {
			return c.Orders.Consume(ctx, fulloncache.ConsumeOptions{Exchange: exchange, Concurrency: 1, Batch: ordersBatch},
				func(context.Context, *fulloncache.OrderDelivery) error {
					f.handled()
					return nil
				})
		})
		return f
	}
	byHand := func(scripts, coded bool, batch, orders int) (flows []*flow, err error) {
		for i, p := range peers {
			f := newFlow(rueidisConfigs[i].name, batch, orders)
			h, err := newHandQueue(b.ctx, p.redis, fmt.Sprintf("hand:%t:%t:%d:%d", scripts, coded, batch, i), scripts, coded)
			if err != nil {
				return nil, err
			}
			f.submit = func(first, n int) error { return h.submit(b.ctx, first, n) }
			f.tidy = func() error { return h.tidy(b.ctx) }
			start(f, func(ctx context.Context, name string) error { return h.consume(ctx, name, f.handled) })
			flows = append(flows, f)
		}
		return flows, nil
	}
	run := func(ours *flow, peers ...[]*flow) (s series, best1 []series, err error) {
		list := []contestant{ours.contestant()}
		for _, flows := range peers {
			for _, f := range flows {
				list = append(list, f.contestant())
			}
		}
		all, err := alternate(b.rounds, list)
		if err != nil {
			return s, nil, err
		}
		at := 1
		for _, flows := range peers {
			best1 = append(best1, best(all[at:at+len(flows)], true))
			at += len(flows)
		}
		return all[0], best1, nil
	}

	scripted, err := byHand(true, true, ordersBatch, orders)
	if err != nil {
		return err
	}
	opaque, err := byHand(true, false, ordersBatch, orders)
	if err != nil {
		return err
	}
	bare, err := byHand(false, false, ordersBatch, orders)
	if err != nil {
		return err
	}
	s, beaten, err := run(ours("orders-many", ordersBatch, orders), scripted, opaque, bare)
	if err != nil {
		return err
	}
	r := ratios(s, beaten[0])
	work := fmt.Sprintf("Orders from 8 producers to 8 consumers, submitted by %d", ordersBatch)
	b.report.add(row{
		work: work, ours: rates(s), peer: rates(beaten[0]), peerName: beaten[0].name + ", scripts that do the same, encoding/json",
		ratio: r, limit: "≥ 0.80", ok: r.median >= 0.8,
	})
	for i, how := range []string{"scripts that do the same, of one ready-made text", "bare XADD, XREADGROUP, XACK, of one ready-made text"} {
		peer := beaten[1+i]
		b.report.add(row{
			work: work, ours: rates(s), peer: rates(peer), peerName: peer.name + ", " + how,
			ratio: ratios(s, peer), limit: "stated", ok: true,
		})
	}

	single := max(orders/5, 1)
	scripted, err = byHand(true, true, 1, single)
	if err != nil {
		return err
	}
	queue, closeAsynq, err := newAsynq(b, single)
	if err != nil {
		return err
	}
	defer closeAsynq()
	s, beaten, err = run(ours("orders-one", 1, single), scripted, []*flow{queue})
	if err != nil {
		return err
	}
	work = "The same, submitted one by one"
	r = ratios(s, beaten[0])
	b.report.add(row{
		work: work, ours: rates(s), peer: rates(beaten[0]), peerName: beaten[0].name + ", scripts that do the same, encoding/json",
		ratio: r, limit: "≥ 0.80", ok: r.median >= 0.8,
	})
	r = ratios(s, beaten[1])
	b.report.add(row{
		work: work, ours: rates(s), peer: rates(beaten[1]), peerName: beaten[1].name + ", Enqueue with TaskID, 8 workers",
		ratio: r, limit: "≥ 2.00", ok: r.median >= 2,
	})
	return nil
}

// handQueue is a queue as a careful user would write it with rueidis.
type handQueue struct {
	redis         rueidis.Client
	stream        string
	submits, acks *rueidis.Lua // nil: bare commands
	coded         bool         // bodies are orders, written and read; else always the same text
	body          string       // that
}

func newHandQueue(ctx context.Context, redis rueidis.Client, stream string, scripts, coded bool) (*handQueue, error) {
	_, body, err := handBody(0)
	if err != nil {
		return nil, err
	}
	h := &handQueue{redis: redis, stream: stream, coded: coded, body: body}
	if scripts {
		h.submits, h.acks = rueidis.NewLuaScript(peerSubmit), rueidis.NewLuaScript(peerAck)
	}
	err = redis.Do(ctx, redis.B().XgroupCreate().Key(stream).Group("consumers").Id("0").Mkstream().Build()).Error()
	return h, err
}

// order is the id and the body of the order of a number.
func (h *handQueue) order(n int) (id, body string, err error) {
	if h.coded {
		return handBody(n)
	}
	return "bot-17-" + strconv.Itoa(n), h.body, nil
}

func (h *handQueue) submit(ctx context.Context, first, n int) error {
	if h.submits == nil {
		cmds := make([]rueidis.Completed, n)
		for i := range cmds {
			id, body, err := h.order(first + i)
			if err != nil {
				return err
			}
			cmds[i] = h.redis.B().Xadd().Key(h.stream).Id("*").FieldValue().FieldValue("id", id).FieldValue("body", body).Build()
		}
		for _, r := range h.redis.DoMulti(ctx, cmds...) {
			if err := r.Error(); err != nil {
				return err
			}
		}
		return nil
	}
	args := make([]string, 0, 2+2*n)
	args = append(args, "100000", "600000000")
	for i := range n {
		id, body, err := h.order(first + i)
		if err != nil {
			return err
		}
		args = append(args, id, body)
	}
	added, err := h.submits.Exec(ctx, h.redis, []string{h.stream, h.stream + ":seen"}, args).AsInt64()
	if err == nil && int(added) != n {
		err = fmt.Errorf("%d of %d were added", added, n)
	}
	return err
}

func (h *handQueue) consume(ctx context.Context, name string, handled func()) error {
	for ctx.Err() == nil {
		got, err := h.redis.Do(ctx, h.redis.B().Xreadgroup().Group("consumers", name).Count(ordersBatch).Block(250).Streams().Key(h.stream).Id(">").Build()).AsXRead()
		if rueidis.IsRedisNil(err) {
			continue
		}
		if err != nil {
			return err
		}
		var ids []string
		for _, entry := range got[h.stream] {
			body := entry.FieldValues["body"]
			if body == "" {
				return errors.New("an order without a body")
			}
			if h.coded {
				if err := readHand([]byte(body)); err != nil {
					return err
				}
			}
			handled()
			ids = append(ids, entry.ID)
		}
		if h.acks != nil {
			err = h.acks.Exec(ctx, h.redis, []string{h.stream}, ids).Error()
		} else {
			err = h.redis.Do(ctx, h.redis.B().Xack().Key(h.stream).Group("consumers").Id(ids...).Build()).Error()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// tidy removes what bare XACK leaves in the stream.
func (h *handQueue) tidy(ctx context.Context) error {
	if h.acks != nil {
		return nil
	}
	return h.redis.Do(ctx, h.redis.B().Xtrim().Key(h.stream).Maxlen().Threshold("0").Build()).Error()
}

// newAsynq is asynq with as many workers.
func newAsynq(b *bench, orders int) (*flow, func(), error) {
	f := newFlow("asynq", 1, orders)
	opt := asynq.RedisClientOpt{Addr: b.addr, PoolSize: 3 * producers}
	client := asynq.NewClient(opt)
	f.submit = func(first, _ int) error {
		id, body, err := handBody(first)
		if err != nil {
			return err
		}
		_, err = client.EnqueueContext(b.ctx, asynq.NewTask("order", []byte(body)), asynq.TaskID(id))
		return err
	}
	// It looks once a second whether an empty queue still is: that would be no match.
	server := asynq.NewServer(opt, asynq.Config{Concurrency: producers, TaskCheckInterval: 5 * time.Millisecond, LogLevel: asynq.FatalLevel})
	err := server.Start(asynq.HandlerFunc(func(_ context.Context, t *asynq.Task) error {
		if err := readHand(t.Payload()); err != nil {
			return err
		}
		f.handled()
		return nil
	}))
	if err != nil {
		return nil, nil, errors.Join(err, client.Close())
	}
	return f, func() {
		server.Shutdown()
		_ = client.Close() // the run is over
	}, nil
}

// pushPop hands one id on.
func pushPop(b *bench, c *fulloncache.Client) func() (time.Duration, error) {
	return timed(func() error {
		if err := c.Orders.PushOpenOrder(b.ctx, "bench", "bot-17-1"); err != nil {
			return err
		}
		_, err := c.Orders.PopOpenOrder(b.ctx, "bench", time.Second)
		return err
	})
}

// orderIDs: push and pop of one id, in network round trips, and on loopback.
func orderIDs(b *bench, c *fulloncache.Client, peers []*byHand) error {
	work := "PushOpenOrder and PopOpenOrder of one id"
	if err := trips(b, work, func(c *fulloncache.Client) func() (time.Duration, error) { return pushPop(b, c) }); err != nil {
		return err
	}
	callers := []caller{{"fulloncache", pushPop(b, c)}}
	for i, p := range peers {
		callers = append(callers, caller{rueidisConfigs[i].name, timed(func() error { return p.redis.Do(b.ctx, p.redis.B().Ping().Build()).Error() })})
	}
	s, err := interleave(b.rounds, b.scale(200), callers)
	if err != nil {
		return err
	}
	peer := best(s[1:], false)
	b.report.add(row{
		work: work + ", loopback", ours: latencies(s[0]), peer: latencies(peer), peerName: peer.name + ", PING",
		ratio: ratios(s[0], peer), limit: "stated", ok: true,
	})
	return nil
}

// orderMemory: what a queued order takes of the server.
func orderMemory(b *bench, c *fulloncache.Client, peers []*byHand) error {
	const orders = 10_000
	list := make([]fulloncache.Order, orders)
	for i := range list {
		list[i] = benchOrder("memory", i)
	}
	if err := c.Orders.SubmitMany(b.ctx, list); err != nil {
		return err
	}
	var bytes [2]int64
	for i, key := range []string{"order_queue:memory", "order_queue:memory:seen"} {
		n, err := peers[0].redis.Do(b.ctx, peers[0].redis.B().MemoryUsage().Key(key).Samples(0).Build()).AsInt64()
		if err != nil {
			return err
		}
		bytes[i] = n / orders
	}
	text, err := json.Marshal(list[0])
	if err != nil {
		return err
	}
	b.report.add(row{
		work: "Memory per queued order, 10,000 orders", ours: fmt.Sprintf("%d bytes", bytes[0]+bytes[1]), limit: "stated", ok: true,
		note: fmt.Sprintf("%d bytes in the stream, %d for its id in the window; as JSON it has %d bytes", bytes[0], bytes[1], len(text)),
	})
	return nil
}
