package fulloncache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/fullon/fulloncache/internal/kv"
)

// TradeBatch is what [TradesCache.Drain] took: trades in flight. Whoever took it
// stores them and calls Ack; until then they are not lost, and come back when the
// batch is returned or its time is over.
//
//	if err := store(batch.Trades); err != nil {
//		return errors.Join(err, batch.Return(ctx))
//	}
//	err := batch.Ack(ctx)
//	if errors.Is(err, fulloncache.ErrNotFound) {
//		log.Print("too late: they are delivered again")
//	}
//
// A trade that the store refuses for good comes back with its batch again and
// again, and nobody gets past it: store the others, put it aside, and then Ack.
type TradeBatch struct {
	Trades []Trade
	// Corrupt has a [CorruptError], with the element as it was, for each one that
	// is no trade. They go, and come back, with the batch; Ack reports them to the
	// global error queue before it lets them go.
	Corrupt []error
	// Due is when the batch comes back, by this machine's clock: a little earlier
	// than it really does.
	Due time.Time

	c    *TradesCache
	list *tradeList
	id   string
}

// Drain takes the oldest n trades of a market's list, at most, as a batch that
// the caller must [TradeBatch.Ack] or [TradeBatch.Return]. It does not wait: of
// an empty list the batch is empty. A batch that is neither, also because the
// caller died, comes back after [Config].TradesBatchTimeout: in front of the
// list, in order.
//
// It returns [ErrQueueFull] if as many trades are in flight as a list may hold.
func (c *TradesCache) Drain(ctx context.Context, market Market, n int) (batch *TradeBatch, err error) {
	call := c.begin(ctx, "trades.drain", market)
	defer func() { call.end(ctx, err) }()
	list, err := c.market(market)
	if err != nil {
		return nil, err
	}
	return c.drain(ctx, list, n)
}

// DrainUser is [TradesCache.Drain] for the list of a user and an exchange.
func (c *TradesCache) DrainUser(ctx context.Context, user int64, exchange string, n int) (batch *TradeBatch, err error) {
	call := c.begin(ctx, "trades.drain_user", Market{Exchange: exchange})
	defer func() { call.end(ctx, err) }()
	list, err := c.user(user, exchange)
	if err != nil {
		return nil, err
	}
	return c.drain(ctx, list, n)
}

func (c *TradesCache) drain(ctx context.Context, list *tradeList, n int) (*TradeBatch, error) {
	if n < 1 {
		return nil, fmt.Errorf("%w: drain %d trades: want at least 1", ErrInvalid, n)
	}
	batch := &TradeBatch{Due: time.Now().Add(c.timeout), c: c, list: list, id: rand.Text()}
	parts, err := replyParts(c.kv.Run(ctx, kv.TradesDrain, list.keys(), []string{
		strconv.Itoa(n), list.symbol, batch.id, strconv.FormatInt(c.timeout.Milliseconds(), 10), c.cap,
	}))
	if err != nil {
		return nil, c.blame(ctx, list, err)
	}
	if status, _ := parts[0].AsInt64(); status != 1 {
		flying, _ := parts[1].AsInt64()
		return nil, fmt.Errorf("%s: %w: %d are in flight, of %s that may be: acknowledge or return a batch first", list.name, ErrQueueFull, flying, c.cap)
	}
	elements, _ := parts[1].AsStrSlice()
	batch.Trades = make([]Trade, 0, len(elements))
	for _, text := range elements {
		t, err := decodeTrade(text)
		if err != nil {
			batch.Corrupt = append(batch.Corrupt, corruptTrade(list.key, text, err))
			continue
		}
		batch.Trades = append(batch.Trades, t)
	}
	return batch, nil
}

// Ack says that the trades are stored: they do not come back. It returns
// [ErrNotFound] if the batch is not in flight any more: its time was over, and
// the trades were taken again or wait to be; or an earlier call, whose outcome
// was unknown, settled it. Nothing of an empty batch is to be acknowledged.
//
// Elements that are no trades go too, once they are in the global error queue,
// with what they held ([BaseCache.PopGlobalError]): if they cannot be reported,
// the batch stays in flight.
func (b *TradeBatch) Ack(ctx context.Context) (err error) {
	call := b.c.begin(ctx, "trades.ack", Market{})
	defer func() { call.end(ctx, err) }()
	if len(b.Corrupt) > 0 {
		report := GlobalError{
			Component: "trades", Time: time.Now().UTC(),
			Message: fmt.Sprintf("%s: %d elements that are no trades were taken off: %v", b.list.name, len(b.Corrupt), errors.Join(b.Corrupt...)),
		}
		if err := b.c.errors.push(ctx, b.c.keys.GlobalError(), report); err != nil {
			return err
		}
	}
	return b.settle(ctx, "ack")
}

// Return puts the trades back, in front of the list and in order, for the next
// who drains it. Its errors are those of [TradeBatch.Ack].
func (b *TradeBatch) Return(ctx context.Context) (err error) {
	call := b.c.begin(ctx, "trades.return", Market{})
	defer func() { call.end(ctx, err) }()
	return b.settle(ctx, "return")
}

func (b *TradeBatch) settle(ctx context.Context, how string) error {
	many := len(b.Trades) + len(b.Corrupt)
	if many == 0 {
		return nil
	}
	reply, err := b.c.kv.Run(ctx, kv.TradesSettle, b.list.keys(), []string{b.id, how, strconv.Itoa(many)})
	if err != nil {
		return b.c.blame(ctx, b.list, err)
	}
	if settled, _ := reply.AsInt64(); settled != 1 {
		return fmt.Errorf("%s: batch of %d: %w: its time was over, or it is settled", b.list.name, many, ErrNotFound)
	}
	return nil
}

// PopUser takes the oldest trade off the list of a user and an exchange, waiting
// up to wait for one; a wait of 0 does not wait. It returns [ErrNotFound] if
// there is none in time. Cancelling the context loses no trade. Unlike
// [TradesCache.DrainUser] it can cost one: the trade that the server has taken
// off and whose way here a broken connection or a crash cuts short. The error is
// [ErrUnavailable] then.
func (c *TradesCache) PopUser(ctx context.Context, user int64, exchange string, wait time.Duration) (trade Trade, err error) {
	call := c.begin(ctx, "trades.pop_user", Market{Exchange: exchange})
	defer func() { call.end(ctx, err) }()
	list, err := c.user(user, exchange)
	if err != nil {
		return trade, err
	}
	text, err := await(ctx, c.kv, list.key, wait, func(ctx context.Context) (text string, next time.Duration, err error) {
		reply, err := c.kv.Run(ctx, kv.TradesPop, list.keys(), nil)
		if err != nil {
			return "", 0, c.blame(ctx, list, err)
		}
		if trade, err := reply.AsStrSlice(); err == nil && len(trade) == 1 {
			return trade[0], 0, nil
		}
		// A batch in flight may come back before anything is pushed.
		ms, _ := reply.AsInt64()
		return "", time.Duration(ms) * time.Millisecond, ErrNotFound
	})
	if err != nil {
		return trade, err
	}
	if trade, err = decodeTrade(text); err != nil {
		return Trade{}, corruptTrade(list.key, text, err)
	}
	return trade, nil
}
