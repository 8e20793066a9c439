package fulloncache

import (
	"context"
	"fmt"
	"time"

	"github.com/fullon/fulloncache/internal/queue"
)

// ConsumeOptions say how a consumer behaves. Exchange is required; the zero value
// of the others means their default.
//
//	opts := fulloncache.ConsumeOptions{Exchange: "kraken", Concurrency: 4, Visibility: time.Minute}
type ConsumeOptions struct {
	// Exchange is whose orders are taken.
	Exchange string
	// Name begins the consumer's name at the server, for who looks there. Defaults
	// to "consumer".
	Name string
	// Concurrency is how many handlers run at the same time. Defaults to 8.
	Concurrency int
	// Batch is how many orders are read ahead at most, if handlers are so quick that
	// it takes them no more than a tenth of a second. Defaults to 256.
	Batch int
	// Visibility is how long a handler may take: then the order is delivered again,
	// and the handler's context ends with [ErrLeaseLost] as its cause. It counts from
	// [OrderDelivery.Extend] if that was called. Defaults to 30 s.
	Visibility time.Duration
	// MaxDeliveries is how often an order is delivered before it becomes a dead
	// letter. Defaults to 5.
	MaxDeliveries int
	// Backoff is how long an order waits after a failed delivery, the first of which
	// is 1. Defaults to 1 s, doubled with each delivery, a minute at most.
	Backoff func(delivery int) time.Duration
	// StopTimeout is how long handlers may go on after Consume was to stop, before
	// their contexts end. Defaults to 30 s.
	StopTimeout time.Duration
	// Lease is how long a consumer of an ordered queue that died, or cannot be heard,
	// keeps its symbols from others. Defaults to 5 s.
	Lease time.Duration
}

// OrderHandler handles an order. If it returns nil and has not settled the
// delivery, that is acknowledged; with an error, or a panic, the order is
// delivered again after [ConsumeOptions].Backoff. ctx ends when the delivery is
// lost, with [ErrLeaseLost] as its cause, or when Consume was to stop and has
// waited for long enough.
type OrderHandler func(ctx context.Context, d *OrderDelivery) error

// OrderDelivery is an order that was given to a handler. Its methods are safe for
// concurrent use. One of Ack, Nak and Reject settles it, the first one counts;
// they return when the server has answered, [ErrLeaseLost] if the delivery is not
// the handler's any more, and [ErrInvalid] if it was settled before.
//
//	func(ctx context.Context, d *fulloncache.OrderDelivery) error {
//		switch err := place(ctx, d.Order); {
//		case errors.Is(err, errRefused):
//			return d.Reject(ctx, err.Error())       // never again
//		case errors.Is(err, errRateLimit):
//			return d.Nak(ctx, 10*time.Second, err)  // later
//		default:
//			return err                              // nil acknowledges, else soon again
//		}
//	}
type OrderDelivery struct {
	Order Order
	// Number is which delivery of the order this is, from 1: from 2 on a handler may
	// have done its work before.
	Number int
	// Token is, in an ordered queue, the fencing token of the symbol: who takes over
	// has a greater one, and an Ack under a lower one is refused. Empty in others.
	Token string

	c *OrdersCache
	d *queue.Delivery
}

// Ack says that the order is done: it is not delivered again. Once it has returned
// nil that holds, unless the server loses what it has accepted.
func (d *OrderDelivery) Ack(ctx context.Context) error {
	return d.settle(ctx, "orders.ack", func() error { return d.d.Ack(ctx) })
}

// Nak says that the order was not handled: it is delivered again after the delay,
// or becomes a dead letter, with why as the reason, if it was delivered
// [ConsumeOptions].MaxDeliveries times. In an ordered queue the later orders of
// its symbol wait for it.
func (d *OrderDelivery) Nak(ctx context.Context, delay time.Duration, why error) error {
	return d.settle(ctx, "orders.nak", func() error { return d.d.Nak(ctx, delay, why) })
}

// Reject makes the order a dead letter at once.
func (d *OrderDelivery) Reject(ctx context.Context, reason string) error {
	return d.settle(ctx, "orders.reject", func() error { return d.d.Reject(ctx, reason) })
}

// Extend gives the handler another [ConsumeOptions].Visibility from now.
func (d *OrderDelivery) Extend(ctx context.Context) error {
	return d.settle(ctx, "orders.extend", func() error { return d.d.Extend(ctx) })
}

func (d *OrderDelivery) settle(ctx context.Context, name string, do func() error) (err error) {
	call := d.c.begin(ctx, name, d.Order.Market)
	defer func() { call.end(ctx, err) }()
	if err := queueError(do()); err != nil {
		return fmt.Errorf("order %s %s: %w", d.Order.Market, printable(d.Order.ID), err)
	}
	return nil
}

// Consume handles the orders that are submitted to an exchange's queue, each at
// least once, until ctx ends. Then it waits for its handlers, hands back what it
// has not begun, and returns nil. Any number of consumers in any number of
// processes share a queue; what one does not settle in time, because it died or
// is slow, another gets.
//
// With [Config].OrderQueueOrdered the orders of a symbol are handled one after
// another, in the order in which they were submitted, also through redelivery and
// Nak: of each symbol one consumer at a time is in charge.
//
// What is no order becomes a dead letter; no handler sees it. While the server is
// away Consume waits for it. It ends with an error only if the options are unusable
// ([ErrInvalid]), a key of the queue is ([ErrCorrupt]), the server refuses, or the
// Client is closed ([ErrClosed]).
func (c *OrdersCache) Consume(ctx context.Context, opts ConsumeOptions, handler OrderHandler) error {
	q, err := c.queue(opts.Exchange)
	if err != nil {
		return err
	}
	if handler == nil {
		return fmt.Errorf("%w: consume %s: there is no handler", ErrInvalid, printable(opts.Exchange))
	}
	return queueError(q.Consume(ctx, queue.ConsumeOptions{
		Name: opts.Name, Concurrency: opts.Concurrency, Batch: opts.Batch, Visibility: opts.Visibility, MaxDeliveries: opts.MaxDeliveries,
		Backoff: opts.Backoff, StopTimeout: opts.StopTimeout, Lease: opts.Lease,
	}, func(ctx context.Context, d *queue.Delivery) error {
		return c.handle(ctx, opts.Exchange, d, handler)
	}))
}

// handle gives a delivery to a handler, or what is no order to the dead letters.
func (c *OrdersCache) handle(ctx context.Context, exchange string, d *queue.Delivery, handler OrderHandler) (err error) {
	given := &OrderDelivery{Number: d.Number, Token: d.Token, c: c, d: d}
	malformed := given.read(exchange, d.Message)
	call := c.begin(ctx, "orders.handle", given.Order.Market)
	defer func() { call.end(ctx, err) }()
	if malformed != nil {
		return d.Reject(ctx, "malformed: "+malformed.Error())
	}
	return handler(ctx, given)
}

// read reads the order of a message, and refuses one that cannot have been
// submitted like this.
func (d *OrderDelivery) read(exchange string, m queue.Message) (err error) {
	defer func() {
		if err != nil {
			d.Order = Order{}
		}
	}()
	o := &d.Order
	switch err := o.decode(m.Body); {
	case err != nil:
		return err
	case o.Exchange != exchange:
		return fmt.Errorf("exchange %q in the queue of %q", o.Exchange, exchange)
	case o.ID != m.ID:
		return fmt.Errorf("order_id %q under the id %q", o.ID, m.ID)
	case m.Key != "" && m.Key != o.Symbol:
		return fmt.Errorf("symbol %q under the key %q", o.Symbol, m.Key)
	}
	return nil
}
