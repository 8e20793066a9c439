package fulloncache

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/feed"
	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/queue"
)

// OrdersCache holds the orders of all bots as they are now, and hands them to who
// executes them.
//
//	err := c.Orders.Save(ctx, order)   // the bot that made it
//	err = c.Orders.Submit(ctx, order)
//
//	err := c.Orders.Consume(ctx, fulloncache.ConsumeOptions{Exchange: "kraken"}, // who executes it
//		func(ctx context.Context, d *fulloncache.OrderDelivery) error {
//			exID, t, err := place(ctx, d.Order)
//			if err != nil {
//				return err // it is delivered again
//			}
//			_, err = c.Orders.Update(ctx, fulloncache.Order{
//				Market: d.Order.Market, ID: d.Order.ID, Status: fulloncache.OrderOpen, ExOrderID: exID, Time: t,
//			})
//			return err // nil acknowledges it
//		})
//
// # What is said about an order
//
// What is said about an order arrives late, twice and in any order; what is
// stored only goes forward, each time decided by the server in one step:
//
//   - An older [OrdersCache.Save] or [OrdersCache.Update] changes nothing
//     ([ErrOutdated]); one of the same time is merged, field by field, as is an
//     Update without a time.
//   - The status never goes back, from open to pending, say: what is behind is
//     ignored.
//   - A final order stays as it is ([ErrFinal]), but that a cancelled or expired
//     one may prove to be filled.
//   - The filled volume only grows. One that tells of more fills than are known
//     always counts, with its status if that is further on, however late it
//     comes; of one that is outdated or that a final order refuses otherwise,
//     nothing else does.
//   - An order keeps the id that the exchange gave it until it gets another.
//
// Cancelled orders go after [Config].TTLOrder, others that are final after
// [Config].TTLOrderFinal, each counted from the last write to that order.
//
// # What a queue of orders promises
//
// An order that [OrdersCache.Submit] has accepted is handled at least once, or is
// a dead letter, whoever dies: the bot, the consumer, the network. It is handled
// twice only after a fault, or if its handler takes longer than
// [ConsumeOptions].Visibility: make the handler's work safe to repeat, by the
// order's ID ([OrderDelivery].Number tells that it may have been done). What can
// cost an order is the server:
//
//   - Restarted without appendonly it has forgotten all; with "appendfsync
//     everysec" the last second or two before a crash. With "appendfsync always"
//     nothing.
//   - After a failover the new master lacks what the old one had not sent: the
//     last moments, and more if the replica was behind. Of 5,000 orders a test lost
//     550 when the replica had been cut off for a tenth of a second. An order that
//     was accepted with [WaitReplicas] is not among it, if it is one of those
//     replicas that takes over.
//   - A server that evicts keys can evict a queue: set maxmemory-policy to
//     noeviction ([BaseCache.Health] tells it).
//   - Acknowledgements that are lost in this way make orders be handled again.
//   - With [Config].OrderQueueDisplace the oldest orders of a full queue become
//     dead letters, and of more dead letters than [Config].OrderQueueDeadCap the
//     oldest go: each time an [Event], and a report to the global error queue.
//
// To lose nothing: appendonly with appendfsync always, noeviction, WaitReplicas
// with the number of all replicas, and submit again until there is no error.
//
// The simple queues, [OrdersCache.PushOpenOrder] and [OrdersCache.PopOpenOrder],
// hand ids on, once: of what was popped nobody knows any more.
type OrdersCache struct {
	*observer
	kv        *kv.Client
	keys      keys.Space
	cap       int
	tolerance time.Duration
	cancelled time.Duration // how long orders stay then
	final     time.Duration
	hub       feed.Hub[orderName, storedOrder]
	tidying   chores[string] // of exchanges

	queueOptions queue.Options
	errors       errorQueue

	mu       sync.Mutex
	queues   map[string]*queue.Queue // by exchange
	alarms   []GlobalError           // that are to be told
	alarming bool                    // they are being told
}

// orderName is what identifies an order.
type orderName struct{ exchange, id string }

func newOrdersCache(cfg Config, db *kv.Client, space keys.Space, connection *observer) *OrdersCache {
	c := &OrdersCache{
		observer:  newObserver("orders", cfg),
		kv:        db,
		keys:      space,
		cap:       cfg.NewOrdersCap,
		tolerance: cfg.ClockTolerance,
		cancelled: cfg.TTLOrder,
		final:     cfg.TTLOrderFinal,

		queueOptions: queue.Options{
			Ordered: cfg.OrderQueueOrdered, Cap: cfg.OrderQueueCap, Displace: cfg.OrderQueueDisplace, DeadCap: cfg.OrderQueueDeadCap,
			Window: cfg.OrderQueueWindow, ConfirmTimeout: cfg.OrderConfirmTimeout, Lost: fmt.Errorf("%w: %w", ErrLeaseLost, queue.ErrLost),
		},
		errors: errorQueue{db, cfg.ErrorQueueCap},
		queues: make(map[string]*queue.Queue),
	}
	c.hub = feed.NewHub(orderSource{connector{db}, c}, nil, feedOptions(cfg, connection, "orders "))
	return c
}

func (c *OrdersCache) stop() { c.hub.Close() }

func (c *OrdersCache) blame(ctx context.Context, exchange, id string, err error) error {
	return blame(ctx, c.kv, err,
		typedKey{c.keys.OrderStatus(exchange, id), "hash"}, typedKey{c.keys.Orders(exchange), "zset"},
		typedKey{c.keys.OrdersFinal(exchange), "zset"}, typedKey{c.keys.OrderIDs(exchange), "hash"},
		typedKey{c.keys.OrderRev(exchange), "string"})
}

// orderKeys are the keys of the scripts order_write and order_delete.
func (c *OrdersCache) orderKeys(exchange, id string) []string {
	return []string{
		c.keys.OrderStatus(exchange, id), c.keys.Orders(exchange), c.keys.OrdersFinal(exchange), c.keys.OrderIDs(exchange),
		c.keys.OrderRev(exchange),
	}
}

// validOrderName refuses what cannot name an order.
func validOrderName(exchange, id string) error {
	if err := validName("exchange", exchange); err != nil {
		return err
	}
	return validRef("order of "+printable(exchange), "order_id", id, true)
}

// Save stores an order as a whole, indexes it and tells those who follow it, in
// one atomic round trip. What an older one has and this has not is gone, but for
// fills and the exchange's id; of one of the same time it stays. Saving the same
// again is safe.
//
// It returns [ErrOutdated], [ErrFinal], [ErrInvalid] if a field is unusable, if
// the time is further ahead of the server's clock than [Config].ClockTolerance,
// if the id is taken by an order of another symbol, or the exchange's id by
// another order; and [ErrUnavailable] if it is unknown whether the order was
// stored. A corrupt order is replaced.
func (c *OrdersCache) Save(ctx context.Context, order Order) (err error) {
	call := c.begin(ctx, "orders.save", order.Market)
	defer func() { call.end(ctx, err) }()
	if err := order.Validate(); err != nil {
		return err
	}
	_, err = c.write(ctx, "save", &order)
	return err
}

// Update merges what is given of an order, all fields that are not zero, into
// what is stored, as one step, and returns the order as it then is. Exchange and
// ID say which order it is. An update without a time is of the time of the stored
// order, whatever that is: for what has no time at the exchange, such as a
// RecordID.
//
// It returns [ErrNotFound] if there is no such order and [ErrCorrupt] if what is
// stored cannot be merged into; else its errors are those of [OrdersCache.Save].
func (c *OrdersCache) Update(ctx context.Context, order Order) (now Order, err error) {
	call := c.begin(ctx, "orders.update", order.Market)
	defer func() { call.end(ctx, err) }()
	// What is not given cannot be wrong.
	check := order
	for _, f := range [...]struct {
		text  *string
		valid string
	}{
		{&check.Symbol, "-"}, {&check.Type, "-"}, {(*string)(&check.Side), string(Buy)}, {(*string)(&check.Status), string(OrderNew)},
	} {
		if *f.text == "" {
			*f.text = f.valid
		}
	}
	if check.Volume.IsZero() {
		check.Volume = MustDecimal("1")
	}
	if check.Time.IsZero() {
		check.Time = time.Unix(0, 0)
	}
	if err := check.Validate(); err != nil {
		return now, err
	}
	return c.write(ctx, "update", &order)
}

// write runs the script order_write.
func (c *OrdersCache) write(ctx context.Context, how string, o *Order) (Order, error) {
	at, micros := "", "0"
	if !o.Time.IsZero() {
		at, micros = formatTime(o.Time), strconv.FormatInt(o.Time.UnixMicro(), 10)
	}
	args := []string{
		how, o.ID, at, micros, strconv.FormatInt(c.tolerance.Microseconds(), 10),
		string(o.Status), o.FinalVolume.String(), o.Symbol, o.ExOrderID,
		strconv.FormatInt(c.cancelled.Milliseconds(), 10), strconv.FormatInt(c.final.Milliseconds(), 10),
		c.kv.Publish(), c.keys.OrderChannel(o.Exchange, o.ID), c.keys.OrdersChannel(o.Exchange), c.keys.OrderRevChannel(o.Exchange),
	}
	parts, err := replyParts(c.kv.Run(ctx, kv.OrderWrite, c.orderKeys(o.Exchange, o.ID), append(args, o.given()...)))
	if err != nil {
		return Order{}, c.blame(ctx, o.Exchange, o.ID, err)
	}
	key := c.keys.OrderStatus(o.Exchange, o.ID)
	if status, _ := parts[0].AsInt64(); status != 1 {
		detail, _ := parts[1].ToString()
		return Order{}, c.refused(o, key, status, detail)
	}
	fields, _ := parts[1].AsStrMap()
	expired, _ := parts[2].AsStrSlice()
	c.tidy(o.Exchange, expired)
	stored, err := parseOrder(key, fields)
	return stored.Order, err
}

// refused says why the script order_write changed nothing.
func (c *OrdersCache) refused(o *Order, key string, status int64, detail string) error {
	name := "order " + printable(o.Exchange) + " " + printable(o.ID)
	switch status {
	case 2:
		return fmt.Errorf("%s at %s: %w: of %s", name, formatTime(o.Time), ErrOutdated, detail)
	case 3:
		return fmt.Errorf("%w: %s: symbol %s: the stored one is of %s", ErrInvalid, name, printable(o.Symbol), printable(detail))
	case 4:
		return fmt.Errorf("%w: %s: time %s is more than %s ahead of the server's clock, %s", ErrInvalid, name, formatTime(o.Time), c.tolerance, detail)
	case 5:
		return &CorruptError{Key: key, Field: detail, Err: errors.New("nothing can be merged into it: save the whole order")}
	case 6:
		return fmt.Errorf("%s: status %s: %w: it is %s", name, o.Status, ErrFinal, printable(detail))
	case 7:
		return fmt.Errorf("%s: %w", name, ErrNotFound)
	default:
		return fmt.Errorf("%w: %s: ex_order_id %s is that of order %s", ErrInvalid, name, printable(o.ExOrderID), printable(detail))
	}
}

// tidy forgets, behind the caller's back, orders whose time is over. What fails
// is done after a later write.
func (c *OrdersCache) tidy(exchange string, ids []string) {
	if len(ids) == 0 {
		return
	}
	c.tidying.begin(c.kv, exchange, func(ctx context.Context) {
		if err := c.forget(ctx, exchange, ids); err != nil {
			c.log.WarnContext(ctx, "expired orders are still indexed", "exchange", exchange, "error", err)
		}
	})
}

// forget takes orders that are gone out of the indexes, and tells those who
// follow them.
func (c *OrdersCache) forget(ctx context.Context, exchange string, ids []string) error {
	calls := make([]kv.ScriptCall, len(ids))
	for i, id := range ids {
		calls[i] = c.deleteCall(exchange, id, "absent")
	}
	var errs []error
	for i, reply := range c.kv.RunMulti(ctx, kv.OrderDelete, calls) {
		if reply.Err != nil {
			errs = append(errs, c.blame(ctx, exchange, ids[i], reply.Err))
		}
	}
	return errors.Join(errs...)
}

func (c *OrdersCache) deleteCall(exchange, id, how string) kv.ScriptCall {
	return kv.ScriptCall{Keys: c.orderKeys(exchange, id), Args: []string{
		how, id, exchange, c.kv.Publish(), c.keys.OrderChannel(exchange, id), c.keys.OrdersChannel(exchange), c.keys.OrderRevChannel(exchange),
	}}
}

// Delete deletes an order, atomically with all that finds it, and tells those who
// follow it. It returns [ErrNotFound] if there was none. A corrupt order is
// deleted too.
func (c *OrdersCache) Delete(ctx context.Context, exchange, id string) (err error) {
	call := c.begin(ctx, "orders.delete", Market{Exchange: exchange})
	defer func() { call.end(ctx, err) }()
	if err := validOrderName(exchange, id); err != nil {
		return err
	}
	del := c.deleteCall(exchange, id, "")
	reply, err := c.kv.Run(ctx, kv.OrderDelete, del.Keys, del.Args)
	if err != nil {
		return c.blame(ctx, exchange, id, err)
	}
	if deleted, _ := reply.AsInt64(); deleted == 0 {
		return fmt.Errorf("order %s %s: %w", printable(exchange), printable(id), ErrNotFound)
	}
	return nil
}

// Get returns an order. It returns [ErrNotFound], [ErrCorrupt] or
// [ErrUnavailable].
func (c *OrdersCache) Get(ctx context.Context, exchange, id string) (order Order, err error) {
	call := c.begin(ctx, "orders.get", Market{Exchange: exchange})
	defer func() { call.end(ctx, err) }()
	if err := validOrderName(exchange, id); err != nil {
		return order, err
	}
	return c.get(ctx, exchange, id)
}

func (c *OrdersCache) get(ctx context.Context, exchange, id string) (Order, error) {
	key := c.keys.OrderStatus(exchange, id)
	reply, err := c.kv.Do(ctx, c.kv.B().Hgetall().Key(key).Build())
	stored, err := readOrder(key, exchange, kv.Reply{Msg: reply, Err: err})
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("order %s %s: %w", printable(exchange), printable(id), err)
	}
	return stored.Order, err
}

// readOrder reads the reply to HGETALL. It returns ErrNotFound if there is no
// hash.
func readOrder(key, exchange string, r kv.Reply) (s storedOrder, err error) {
	if r.Err != nil {
		return s, redisError(key, r.Err)
	}
	fields, err := r.Msg.AsStrMap()
	if err == nil && len(fields) == 0 {
		return s, ErrNotFound
	}
	if s, err = parseOrder(key, fields); err == nil && s.Exchange != exchange {
		return storedOrder{}, &CorruptError{Key: key, Field: "exchange", Err: fmt.Errorf("%q, want %q", s.Exchange, exchange)}
	}
	return s, err
}

// ByExOrderID returns the order that an exchange gave an id, in two round trips.
// Its errors are those of [OrdersCache.Get].
func (c *OrdersCache) ByExOrderID(ctx context.Context, exchange, exOrderID string) (order Order, err error) {
	call := c.begin(ctx, "orders.by_ex_order_id", Market{Exchange: exchange})
	defer func() { call.end(ctx, err) }()
	if err := validName("exchange", exchange); err != nil {
		return order, err
	}
	if err := validRef("order of "+printable(exchange), "ex_order_id", exOrderID, true); err != nil {
		return order, err
	}
	absent := fmt.Errorf("order %s with ex_order_id %s: %w", printable(exchange), printable(exOrderID), ErrNotFound)
	key := c.keys.OrderIDs(exchange)
	reply, err := c.kv.Do(ctx, c.kv.B().Hget().Key(key).Field("ex:"+exOrderID).Build())
	if kv.IsNil(err) {
		return order, absent
	}
	if err != nil {
		return order, redisError(key, err)
	}
	id, _ := reply.ToString()
	if order, err = c.get(ctx, exchange, id); err != nil {
		return Order{}, err
	}
	if order.ExOrderID != exOrderID {
		return Order{}, absent // it got another one since
	}
	return order, nil
}

// Status returns the status of an order. Its errors are those of
// [OrdersCache.Get].
func (c *OrdersCache) Status(ctx context.Context, exchange, id string) (status OrderStatus, err error) {
	call := c.begin(ctx, "orders.status", Market{Exchange: exchange})
	defer func() { call.end(ctx, err) }()
	if err := validOrderName(exchange, id); err != nil {
		return "", err
	}
	key := c.keys.OrderStatus(exchange, id)
	values, err := replyParts(c.kv.Do(ctx, c.kv.B().Hmget().Key(key).Field("status", "order_id").Build()))
	if err != nil {
		return "", redisError(key, err)
	}
	if values[0].IsNil() && values[1].IsNil() {
		return "", fmt.Errorf("order %s %s: %w", printable(exchange), printable(id), ErrNotFound)
	}
	text, _ := values[0].ToString()
	if err := OrderStatus(text).Validate(); err != nil {
		return "", &CorruptError{Key: key, Field: "status", Err: err}
	}
	return OrderStatus(text), nil
}

// List yields the orders of an exchange: the open ones by their times, then the
// final ones by when they go; in two round trips (more beyond 1,000). One that
// cannot be read yields its error with an Order that carries only exchange and
// id, and the listing goes on; if the indexes cannot be read, that error is the
// only element. It is not a snapshot: orders may change meanwhile.
func (c *OrdersCache) List(ctx context.Context, exchange string) iter.Seq2[Order, error] {
	return c.listing(ctx, "orders.list", exchange, true)
}

// Open yields the open orders of an exchange by their times, as
// [OrdersCache.List] does.
func (c *OrdersCache) Open(ctx context.Context, exchange string) iter.Seq2[Order, error] {
	return c.listing(ctx, "orders.open", exchange, false)
}

func (c *OrdersCache) listing(ctx context.Context, name, exchange string, final bool) iter.Seq2[Order, error] {
	return func(yield func(Order, error) bool) {
		var err error
		call := c.begin(ctx, name, Market{Exchange: exchange})
		defer func() { call.end(ctx, err) }()
		ids, err := c.ids(ctx, exchange, final)
		if err != nil {
			yield(Order{Market: Market{Exchange: exchange}}, err)
			return
		}
		err = c.read(ctx, exchange, ids, func(id string, s storedOrder, err error) bool {
			switch {
			case err != nil:
				return yield(Order{Market: Market{Exchange: exchange}, ID: id}, err)
			case !final && s.Status.Final():
				return true // it is since the index was read
			}
			return yield(s.Order, nil)
		})
	}
}

// ids lists the open orders of an exchange and, if asked, the final ones. Those
// are read later: an order that becomes final meanwhile is not missed.
func (c *OrdersCache) ids(ctx context.Context, exchange string, final bool) ([]string, error) {
	if err := validName("exchange", exchange); err != nil {
		return nil, err
	}
	indexes := []string{c.keys.Orders(exchange)}
	if final {
		indexes = append(indexes, c.keys.OrdersFinal(exchange))
	}
	cmds := make([]rueidis.Completed, len(indexes))
	for i, key := range indexes {
		cmds[i] = c.kv.B().Zrange().Key(key).Min("0").Max("-1").Build()
	}
	var ids []string
	seen := make(map[string]bool)
	for i, reply := range c.kv.DoMulti(ctx, cmds) {
		if reply.Err != nil {
			return nil, redisError(indexes[i], reply.Err)
		}
		members, _ := reply.Msg.AsStrSlice()
		for _, id := range members {
			if !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	return ids, nil
}

// read yields orders; the error it returns is the last one. Those that are gone
// are taken out of the indexes.
func (c *OrdersCache) read(ctx context.Context, exchange string, ids []string, yield func(id string, s storedOrder, err error) bool) (last error) {
	for some := range slices.Chunk(ids, kv.Pipelined) {
		cmds := make([]rueidis.Completed, len(some))
		for i, id := range some {
			cmds[i] = c.kv.B().Hgetall().Key(c.keys.OrderStatus(exchange, id)).Build()
		}
		var gone []string
		for i, reply := range c.kv.DoMulti(ctx, cmds) {
			s, err := readOrder(c.keys.OrderStatus(exchange, some[i]), exchange, reply)
			if errors.Is(err, ErrNotFound) {
				gone = append(gone, some[i])
				continue
			}
			if err != nil {
				last = err
			}
			if !yield(some[i], s, err) {
				return last
			}
		}
		c.tidy(exchange, gone)
	}
	return last
}

// PushOpenOrder appends the id of an order to a queue of orders to execute:
// strictly first in, first out. It returns [ErrQueueFull] if the queue holds
// [Config].NewOrdersCap ids, and [ErrUnavailable] if it is unknown whether the id
// was appended: pushing it again may append it twice, but for
// [OrdersCache.PushOpenOrders] with [Unique].
func (c *OrdersCache) PushOpenOrder(ctx context.Context, queue, orderID string) (err error) {
	call := c.begin(ctx, "orders.push_open_order", Market{})
	defer func() { call.end(ctx, err) }()
	_, err = c.pushIDs(ctx, queue, []string{orderID}, PushOption{})
	return err
}

// mostIDs is how many ids are pushed at once at most: scripts pass them on as
// arguments.
const mostIDs = 1000

// PushOpenOrders appends ids to a queue as [OrdersCache.PushOpenOrder] does one, in
// the order given: all of them, at most 1,000, in one atomic step, or none. With
// [Unique] it leaves out the ids that were pushed with it within the window and are
// among as many last ones as the queue may hold, taken or not, so that a push whose
// outcome is unknown can be made again. Nothing is ever dropped: [DropOldest] is
// [ErrInvalid].
func (c *OrdersCache) PushOpenOrders(ctx context.Context, queue string, orderIDs []string, opts ...PushOption) (pushed Pushed, err error) {
	call := c.begin(ctx, "orders.push_open_orders", Market{})
	defer func() { call.end(ctx, err) }()
	how, err := pushOptions(opts)
	if err != nil {
		return pushed, err
	}
	if how.drop {
		return pushed, fmt.Errorf("%w: push of ids of orders: DropOldest: none may be lost", ErrInvalid)
	}
	if n := len(orderIDs); n < 1 || n > mostIDs {
		return pushed, fmt.Errorf("%w: push of %d ids of orders: want 1 to %d", ErrInvalid, n, mostIDs)
	}
	return c.pushIDs(ctx, queue, orderIDs, how)
}

func (c *OrdersCache) pushIDs(ctx context.Context, queue string, ids []string, how PushOption) (pushed Pushed, err error) {
	if err := validName("queue", queue); err != nil {
		return pushed, err
	}
	for _, id := range ids {
		if err := validRef("queue "+printable(queue), "order_id", id, true); err != nil {
			return pushed, err
		}
	}
	key := c.keys.NewOrders(queue)
	names, args := []string{key}, append(make([]string, 0, 2+len(ids)), strconv.Itoa(c.cap), "")
	if how.window > 0 {
		names, args[1] = append(names, keys.NewOrdersSeen(key)), strconv.FormatInt(how.window.Milliseconds(), 10)
	}
	reply, err := c.kv.Run(ctx, kv.ListAppend, names, append(args, ids...))
	if err != nil {
		return pushed, redisError(key, err)
	}
	added, _ := reply.AsInt64()
	if added < 0 {
		return pushed, fmt.Errorf("queue %s: %w: it holds %d ids", printable(queue), ErrQueueFull, c.cap)
	}
	return Pushed{Added: int(added), Duplicates: len(ids) - int(added)}, nil
}

// PopOpenOrder takes the oldest id off a queue, waiting up to wait for one; a
// wait of 0 does not wait. It returns [ErrNotFound] if there is none in time.
// Each id goes to one caller, and cancelling the context loses none.
//
// What it can cost is one id: that which the server has taken off, and whose way
// here a broken connection or a crash cuts short. The error is [ErrUnavailable]
// then. The order itself is not lost: it is in [OrdersCache.Open] with a status
// of "new".
func (c *OrdersCache) PopOpenOrder(ctx context.Context, queue string, wait time.Duration) (orderID string, err error) {
	call := c.begin(ctx, "orders.pop_open_order", Market{})
	defer func() { call.end(ctx, err) }()
	if err := validName("queue", queue); err != nil {
		return "", err
	}
	key := c.keys.NewOrders(queue)
	text, err := pop(ctx, c.kv, key, wait)
	if err != nil {
		return "", err
	}
	return queuedID(key, text)
}

// queuedID refuses an element of a queue that no push takes.
func queuedID(key, text string) (string, error) {
	if err := validRef("element "+excerpt(text), "order_id", text, true); err != nil {
		return "", &CorruptError{Key: key, Err: err}
	}
	return text, nil
}

// QueueLength returns how many ids wait in a queue.
func (c *OrdersCache) QueueLength(ctx context.Context, queue string) (n int, err error) {
	call := c.begin(ctx, "orders.queue_length", Market{})
	defer func() { call.end(ctx, err) }()
	if err := validName("queue", queue); err != nil {
		return 0, err
	}
	key := c.keys.NewOrders(queue)
	reply, err := c.kv.Do(ctx, c.kv.B().Llen().Key(key).Build())
	if err != nil {
		return 0, redisError(key, err)
	}
	length, err := reply.AsInt64()
	return int(length), err
}

// PeekOpenOrders returns the oldest n ids of a queue, at most, and leaves them
// there. If there are elements that are no ids, it returns their errors beside
// the others.
func (c *OrdersCache) PeekOpenOrders(ctx context.Context, queue string, n int) (orderIDs []string, err error) {
	call := c.begin(ctx, "orders.peek_open_orders", Market{})
	defer func() { call.end(ctx, err) }()
	if err := validName("queue", queue); err != nil {
		return nil, err
	}
	if n < 1 {
		return nil, fmt.Errorf("%w: peek at %d orders: want at least 1", ErrInvalid, n)
	}
	key := c.keys.NewOrders(queue)
	reply, err := c.kv.Do(ctx, c.kv.B().Lrange().Key(key).Start(0).Stop(int64(n)-1).Build())
	if err != nil {
		return nil, redisError(key, err)
	}
	elements, _ := reply.AsStrSlice()
	var errs []error
	for _, text := range elements {
		id, err := queuedID(key, text)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		orderIDs = append(orderIDs, id)
	}
	return orderIDs, errors.Join(errs...)
}
