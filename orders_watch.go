package fulloncache

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/feed"
	"github.com/fullon/fulloncache/internal/kv"
)

// OrderUpdate is one element of a watch: an order as it is now, or that it is
// gone.
type OrderUpdate struct {
	Order Order // Order is the whole order; of one that is gone only Exchange and ID.
	// Rev numbers the changes of an exchange's orders: a later one is greater. It
	// never goes back, and after a reconnect the same change comes with the same Rev.
	Rev int64
	// Conflated is how many older changes of this order the consumer was too slow
	// for; this one stands for them.
	Conflated int
	// Deleted says that the order was deleted, or that its time is over: that is
	// told with the next write to an order of its exchange.
	Deleted bool
}

// Watch follows orders of an exchange, or all of them if no id is named: the
// orders as they are come first, final ones included, then every change, until
// ctx ends. A consumer that is slower than the changes gets the newest of each
// order and the count of those it missed; nobody is held up. An order that does
// not exist is followed all the same.
//
// An element with an error means that the feed is disconnected ([ErrUnavailable])
// or that a stored order is corrupt ([ErrCorrupt]); the loop goes on, and once
// connected again the orders as they are come first again. Silence, however
// long, is no error. The last element is [ErrClosed] if the Client is closed, and
// [ErrInvalid] is the only one if the exchange or an id is unusable.
func (c *OrdersCache) Watch(ctx context.Context, exchange string, ids ...string) iter.Seq2[OrderUpdate, error] {
	return func(yield func(OrderUpdate, error) bool) {
		topics, err := c.topics(exchange, ids)
		if err != nil {
			yield(OrderUpdate{}, err)
			return
		}
		for u, err := range followed(ctx, c.hub, topics) {
			if u.Deleted {
				u.Value.Order = Order{Market: Market{Exchange: u.Key.exchange}, ID: u.Key.id}
			}
			if !yield(OrderUpdate{Order: u.Value.Order, Rev: u.Rev, Conflated: u.Conflated, Deleted: u.Deleted}, err) {
				return
			}
		}
	}
}

// topics names the channels of orders, or of all of an exchange.
func (c *OrdersCache) topics(exchange string, ids []string) ([]feed.Topic, error) {
	if err := validName("exchange", exchange); err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return []feed.Topic{{Group: exchange, Channel: c.keys.OrdersChannel(exchange)}}, nil
	}
	topics := make([]feed.Topic, len(ids))
	for i, id := range ids {
		if err := validOrderName(exchange, id); err != nil {
			return nil, err
		}
		topics[i] = feed.Topic{Group: exchange, Channel: c.keys.OrderChannel(exchange, id)}
	}
	return unique(topics), nil
}

// orderSource is what the feed follows: one group per exchange.
type orderSource struct {
	connector
	c *OrdersCache
}

func (s orderSource) Control(exchange string) string { return s.c.keys.OrderRevChannel(exchange) }

func (s orderSource) Probe(ctx context.Context, conn feed.Conn, exchange string) (int64, error) {
	return probe(ctx, conn, s.c.keys.OrderRev(exchange))
}

func (s orderSource) Decode(channel, message string) (feed.Message[orderName, storedOrder], error) {
	m, err := readOrderMessage(channel, message)
	if err != nil {
		return feed.Message[orderName, storedOrder]{}, err
	}
	if m.kind == messageReset {
		return feed.Message[orderName, storedOrder]{Kind: feed.Reset}, nil
	}
	return feed.Message[orderName, storedOrder]{Event: orderEvent(m.order, m.kind == messageDeleted)}, nil
}

func orderEvent(s storedOrder, deleted bool) feed.Event[orderName, storedOrder] {
	return feed.Event[orderName, storedOrder]{Key: orderName{s.Exchange, s.ID}, Value: s, Rev: s.rev, Deleted: deleted}
}

// Load reads the orders behind channels.
func (s orderSource) Load(ctx context.Context, exchange string, channels []string, emit func(string, feed.Event[orderName, storedOrder], error)) (time.Time, error) {
	c := s.c
	type read struct{ channel, key, id string } // id only of one that an index names
	var reads []read
	for _, channel := range channels {
		if channel != c.keys.OrdersChannel(exchange) {
			reads = append(reads, read{channel: channel, key: c.keys.ChannelKey(channel)})
			continue
		}
		ids, err := c.ids(ctx, exchange, true)
		if err != nil {
			return time.Time{}, err
		}
		for _, id := range ids {
			reads = append(reads, read{channel, c.keys.OrderStatus(exchange, id), id})
		}
	}
	var gone []string
	for some := range slices.Chunk(reads, kv.Pipelined) {
		cmds := make([]rueidis.Completed, len(some))
		for i, r := range some {
			cmds[i] = c.kv.B().Hgetall().Key(r.key).Build()
		}
		for i, reply := range c.kv.DoMulti(ctx, cmds) {
			order, err := readOrder(some[i].key, exchange, reply)
			switch {
			case errors.Is(err, ErrNotFound) && some[i].id != "":
				gone = append(gone, some[i].id)
			case errors.Is(err, ErrNotFound):
			case err != nil && !errors.Is(err, ErrCorrupt):
				return time.Time{}, err
			default:
				emit(some[i].channel, orderEvent(order, false), err)
			}
		}
	}
	c.tidy(exchange, gone)
	return time.Time{}, nil
}

func (s orderSource) Name(name orderName) string { return name.id }

func (s orderSource) Own(name orderName) orderName {
	return orderName{strings.Clone(name.exchange), strings.Clone(name.id)}
}

func (s orderSource) Rename(o *storedOrder, name orderName) {
	o.Exchange, o.ID = name.exchange, name.id
}
