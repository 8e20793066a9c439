package fulloncache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/fullon/fulloncache/internal/queue"
)

// SubmitOption says what a submit demands. See [WaitReplicas] and [UnderLease].
type SubmitOption struct {
	replicas int
	leased   bool
	token    int64
}

// WaitReplicas makes a submit return only when so many replicas have the order, or
// with [ErrUncertain] after [Config].OrderConfirmTimeout. A failover to one of
// them does not lose it; demand all replicas where it is not known which one takes
// over.
func WaitReplicas(n int) SubmitOption { return SubmitOption{replicas: n} }

// UnderLease makes a submit succeed only while the lease of the order's market is
// held under that fencing token; the server compares it in the step that adds the
// order. Else nothing is added and the error is [ErrLeaseLost].
func UnderLease(token int64) SubmitOption { return SubmitOption{leased: true, token: token} }

// Submit adds an order to the queue of its exchange, from which
// [OrdersCache.Consume] takes it, in one atomic round trip; submits at the same
// time, without options, share one. Its ID makes it the same order: submitted again
// within [Config].OrderQueueWindow, it is not added again, and that is no error. So
// whatever the error is, submitting again is safe.
//
// It returns [ErrInvalid], naming the field, for an order that
// [Order.Validate] refuses; [ErrQueueFull] if the queue holds
// [Config].OrderQueueCap orders, unless [Config].OrderQueueDisplace makes room;
// [ErrUncertain] and [ErrLeaseLost] with the options; and [ErrUnavailable] if it
// is unknown whether the order was added. WaitReplicas is [ErrUnsupported] on the
// in-process server.
func (c *OrdersCache) Submit(ctx context.Context, order Order, opts ...SubmitOption) (err error) {
	call := c.begin(ctx, "orders.submit", order.Market)
	defer func() { call.end(ctx, err) }()
	if err := order.Validate(); err != nil {
		return err
	}
	return c.submit(ctx, []*Order{&order}, demanded(opts))[0]
}

// SubmitMany submits orders as [OrdersCache.Submit] does, each by itself, those of
// an exchange in the order given, 500 of it in one step. If some fail, it returns
// a [BatchError] with the error of each. With [UnderLease] all must be of one
// market.
func (c *OrdersCache) SubmitMany(ctx context.Context, orders []Order, opts ...SubmitOption) (err error) {
	call := c.begin(ctx, "orders.submit_many", Market{})
	defer func() { call.end(ctx, err) }()
	how := demanded(opts)
	errs := make([]error, len(orders))
	var exchanges []string
	indexes := make(map[string][]int, 1) // of orders, by exchange
	for i := range orders {
		o := &orders[i]
		if errs[i] = o.Validate(); errs[i] == nil && how.leased && o.Market != orders[0].Market {
			errs[i] = fmt.Errorf("%w: order %s %s: a lease is of one market, not of %s too", ErrInvalid, o.Market, printable(o.ID), orders[0].Market)
		}
		if errs[i] != nil {
			continue
		}
		if indexes[o.Exchange] == nil {
			exchanges = append(exchanges, o.Exchange)
		}
		indexes[o.Exchange] = append(indexes[o.Exchange], i)
	}
	for _, exchange := range exchanges {
		at := indexes[exchange]
		list := make([]*Order, len(at))
		for i, n := range at {
			list[i] = &orders[n]
		}
		for i, err := range c.submit(ctx, list, how) {
			errs[at[i]] = err
		}
	}
	return batchError(errs)
}

// demanded is what all options demand together.
func demanded(opts []SubmitOption) (how SubmitOption) {
	for _, o := range opts {
		if o.leased {
			how.leased, how.token = true, o.token
		} else {
			how.replicas = o.replicas
		}
	}
	return how
}

// submit submits valid orders of one exchange, under a lease of one market, and
// returns the error of each.
func (c *OrdersCache) submit(ctx context.Context, orders []*Order, how SubmitOption) []error {
	messages := make([]queue.Message, len(orders))
	for i, o := range orders {
		messages[i] = queue.Message{ID: o.ID, Body: o.encode()}
		if c.queueOptions.Ordered {
			messages[i].Key = o.Symbol
		}
	}
	market := orders[0].Market
	demands := queue.Demands{WaitReplicas: how.replicas}
	if how.leased {
		demands.Fence = &queue.Fence{Key: c.keys.Block(market.Exchange, market.Symbol), Symbol: market.Symbol, Token: how.token}
	}
	q, err := c.queue(market.Exchange)
	var results []queue.Result
	if err == nil {
		results, err = q.SubmitMany(ctx, messages, demands)
	}
	err = queueError(err)
	errs := make([]error, len(orders))
	for i, o := range orders {
		if errs[i] = err; len(results) > 0 && results[i].Err != nil {
			errs[i] = fmt.Errorf("order %s %s: %w: it holds %d orders", o.Market, printable(o.ID), queueError(results[i].Err), c.queueOptions.Cap)
		}
	}
	return errs
}

// queue returns the queue of an exchange.
func (c *OrdersCache) queue(exchange string) (*queue.Queue, error) {
	if err := validName("exchange", exchange); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if q := c.queues[exchange]; q != nil {
		return q, nil
	}
	opt := c.queueOptions
	opt.OnEvent = func(e queue.Event, subject string, err error) { c.queueEvent(exchange, e, subject, err) }
	q, err := queue.New(c.kv, c.keys.OrderQueue(exchange), opt)
	c.queues[exchange] = q
	return q, err
}

// queueError is the public form of an error of the engine.
func queueError(err error) error {
	if err == nil {
		return nil
	}
	var uncertain *queue.UncertainError
	var corrupt *queue.CorruptError
	switch {
	case errors.As(err, &uncertain):
		return fmt.Errorf("%w: %w", ErrUncertain, err)
	case errors.As(err, &corrupt):
		return &CorruptError{Key: corrupt.Key, Err: corrupt.Err}
	}
	for engine, public := range map[error]error{
		queue.ErrFull: ErrQueueFull, queue.ErrFenced: ErrLeaseLost, queue.ErrLost: ErrLeaseLost, queue.ErrSettled: ErrInvalid,
		queue.ErrInvalid: ErrInvalid, queue.ErrUnsupported: ErrUnsupported,
	} {
		if errors.Is(err, engine) {
			return fmt.Errorf("%w: %w", public, err)
		}
	}
	return err
}

// queueEvents are the engine's events as the hooks see them.
var queueEvents = map[queue.Event]EventKind{
	queue.DeadLetter:   EventDeadLetter,
	queue.DeadDropped:  EventDeadDropped,
	queue.Displaced:    EventDisplaced,
	queue.ReadFailed:   EventQueueFailed,
	queue.SettleFailed: EventQueueFailed,
	queue.LeaseLost:    EventPartitionLost,
	queue.Panicked:     EventHandlerPanicked,
}

// queueEvent reports what happened in the queue of an exchange. What can cost an
// order goes to the global error queue too.
func (c *OrdersCache) queueEvent(exchange string, e queue.Event, subject string, err error) {
	kind := queueEvents[e]
	subject = exchange + " " + subject
	c.event(kind, subject, err)
	switch e {
	case queue.DeadLetter, queue.DeadDropped, queue.Displaced:
		message := kind.String() + ": " + subject
		if err != nil {
			message += ": " + err.Error()
		}
		c.alarm(message)
	}
}

// alarm tells the global error queue, behind the caller's back and as well as may
// be: of many that wait the last ones are told.
func (c *OrdersCache) alarm(message string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.alarms = append(c.alarms, GlobalError{Component: "orders", Message: message, Time: time.Now().UTC()})
	c.alarms = c.alarms[max(0, len(c.alarms)-mostAlarms):]
	if !c.alarming {
		c.alarming = c.kv.Background(c.tellAlarms)
	}
}

const mostAlarms = 64

func (c *OrdersCache) tellAlarms(ctx context.Context) {
	for {
		c.mu.Lock()
		list := c.alarms
		c.alarms = nil
		c.alarming = len(list) > 0
		c.mu.Unlock()
		if len(list) == 0 {
			return
		}
		for _, e := range list {
			if err := c.errors.push(ctx, c.keys.GlobalError(), e); err != nil {
				c.log.WarnContext(ctx, "the global error queue could not be told", "message", e.Message, "error", err)
			}
		}
	}
}

// QueueStats count the orders of a queue.
type QueueStats struct {
	Length  int64 `json:"length"`  // Length is how many are in it: waiting, put back for later, and being handled.
	Pending int64 `json:"pending"` // Pending is how many of those a consumer was given and has not settled.
	Delayed int64 `json:"delayed"` // Delayed is how many of those were put back for later.
	Dead    int64 `json:"dead"`    // Dead is how many dead letters there are beside it.
}

// QueueStats counts the orders submitted to an exchange's queue, in one round
// trip. It returns [ErrUnavailable] or [ErrCorrupt].
func (c *OrdersCache) QueueStats(ctx context.Context, exchange string) (s QueueStats, err error) {
	call := c.begin(ctx, "orders.queue_stats", Market{Exchange: exchange})
	defer func() { call.end(ctx, err) }()
	q, err := c.queue(exchange)
	if err != nil {
		return s, err
	}
	got, err := q.Stats(ctx)
	return QueueStats(got), queueError(err)
}

// DeadOrder is a dead letter: an order that was rejected, that failed too often,
// that gave way to newer ones, or what no order can be read from.
type DeadOrder struct {
	// DeadID is the dead letter's own id, by which it is requeued and purged; later
	// ones are greater.
	DeadID string    `json:"dead_id"`
	Time   time.Time `json:"time"` // Time is when it became one, by the server's clock, UTC.
	// Reason is the last error.
	Reason     string `json:"reason"`
	Deliveries int    `json:"deliveries"` // Deliveries is how often it was delivered.
	OrderID    string `json:"order_id,omitempty"`
	// Order is what was submitted; nil if it is malformed.
	Order *Order `json:"order,omitempty"`
	// Body is what was submitted, as it is in the queue; of a foreign entry its
	// fields, as JSON.
	Body string `json:"body"`
}

// DeadOrders yields the dead letters of an exchange's queue, oldest first, a round
// trip per 1,000. An error ends the listing: [ErrUnavailable], [ErrCorrupt] or
// [ErrInvalid].
func (c *OrdersCache) DeadOrders(ctx context.Context, exchange string) iter.Seq2[DeadOrder, error] {
	return func(yield func(DeadOrder, error) bool) {
		var err error
		call := c.begin(ctx, "orders.dead_orders", Market{Exchange: exchange})
		defer func() { call.end(ctx, err) }()
		q, err := c.queue(exchange)
		for after, more := "", err == nil; more; {
			var letters []queue.Letter
			letters, err = q.Dead(ctx, after, pageOfDead)
			err = queueError(err)
			for _, l := range letters {
				if !yield(deadOrder(l), nil) {
					return
				}
				after = l.Letter
			}
			more = len(letters) == pageOfDead
		}
		if err != nil {
			yield(DeadOrder{}, err)
		}
	}
}

// pageOfDead is how many dead letters one round trip lists.
const pageOfDead = 1000

func deadOrder(l queue.Letter) DeadOrder {
	d := DeadOrder{DeadID: l.Letter, Time: l.Time, Reason: l.Reason, Deliveries: l.Deliveries, OrderID: l.ID, Body: l.Body}
	if o, err := decodeOrder(l.Body); err == nil {
		d.Order = &o
	}
	if _, own := l.Fields["body"]; !own {
		text, _ := json.Marshal(l.Fields) // texts can be written
		d.Body = string(text)
	}
	return d
}

// RequeueDead moves dead letters to the end of the queue, to be delivered as often
// as new orders, and returns how many. Those that are not there are left out. With
// [ErrQueueFull] those that found room were moved; with [ErrUnavailable] it is
// unknown which: list them.
func (c *OrdersCache) RequeueDead(ctx context.Context, exchange string, deadIDs ...string) (moved int, err error) {
	call := c.begin(ctx, "orders.requeue_dead", Market{Exchange: exchange})
	defer func() { call.end(ctx, err) }()
	return c.dead(exchange, deadIDs, func(q *queue.Queue) (int, error) { return q.Requeue(ctx, deadIDs...) })
}

// PurgeDead deletes dead letters for good, and returns how many there were.
func (c *OrdersCache) PurgeDead(ctx context.Context, exchange string, deadIDs ...string) (purged int, err error) {
	call := c.begin(ctx, "orders.purge_dead", Market{Exchange: exchange})
	defer func() { call.end(ctx, err) }()
	return c.dead(exchange, deadIDs, func(q *queue.Queue) (int, error) { return q.Purge(ctx, deadIDs...) })
}

func (c *OrdersCache) dead(exchange string, deadIDs []string, do func(*queue.Queue) (int, error)) (int, error) {
	q, err := c.queue(exchange)
	if err != nil {
		return 0, err
	}
	for _, id := range deadIDs {
		ms, seq, _ := strings.Cut(id, "-")
		for _, part := range []string{ms, seq} {
			if _, err := strconv.ParseUint(part, 10, 64); err != nil {
				return 0, fmt.Errorf("%w: dead letter %s: want an id as it is listed, such as 1760000000000-0", ErrInvalid, excerpt(id))
			}
		}
	}
	n, err := do(q)
	return n, queueError(err)
}
