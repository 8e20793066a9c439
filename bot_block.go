package fulloncache

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/lease"
)

// Block says which bot has a market, or opens a position in it.
type Block struct {
	Market
	Holder string    `json:"holder"`
	Token  int64     `json:"token"` // Token is its fencing token.
	Since  time.Time `json:"since"` // Since is by the server's clock, UTC, as is Until.
	Until  time.Time `json:"until"` // Until is when it ends, unless it is renewed.
}

func blockOf(m Market, h lease.Held) Block {
	return Block{Market: m, Holder: h.Holder, Token: h.Token, Since: h.Since, Until: h.Until}
}

// BlockOptions say how a market is blocked.
type BlockOptions struct {
	// TTL is after what time the block ends if nobody ends it, from 100 ms to 30
	// days. Defaults to [Config].TTLBlock, for opening positions to
	// [Config].TTLOpening.
	TTL time.Duration
}

// UnblockOptions say who may end a block.
type UnblockOptions struct {
	// Force ends it whoever holds it, and also one that cannot be read: for
	// operators. Its holder learns of that when it next renews, and in a moment if it
	// asks [BotCache.Validate].
	Force bool
}

// Block is [BotCache.Acquire] for scripts, without anything that renews or that
// knows when it is over. The same bot that blocks again prolongs it, under the same
// token; calling it again is always safe. Its errors are those of Acquire.
func (c *BotCache) Block(ctx context.Context, market Market, bot string, options BlockOptions) (b Block, err error) {
	call := c.begin(ctx, "bots.block", market)
	defer func() { call.end(ctx, err) }()
	return c.hold(ctx, c.blocks, market, bot, options)
}

func (c *BotCache) hold(ctx context.Context, kind leaseKind, market Market, bot string, options BlockOptions) (Block, error) {
	if err := validBot(market, bot); err != nil {
		return Block{}, err
	}
	ttl, err := validTTL(options.TTL, kind.ttl)
	if err != nil {
		return Block{}, err
	}
	h, err := c.leases.Hold(ctx, c.resource(kind, market), bot, ttl)
	if err != nil {
		return Block{}, err
	}
	return blockOf(market, h), nil
}

// Unblock frees a market that a bot holds, by a lease or a block, and wakes the
// first in line. It returns a [BlockedError] if another bot holds it, unless it is
// forced, [ErrNotFound] if nobody does, and [ErrCorrupt] or [ErrUnavailable] if it
// is unknown.
func (c *BotCache) Unblock(ctx context.Context, market Market, bot string, options UnblockOptions) (err error) {
	call := c.begin(ctx, "bots.unblock", market)
	defer func() { call.end(ctx, err) }()
	return c.drop(ctx, c.blocks, market, bot, options)
}

func (c *BotCache) drop(ctx context.Context, kind leaseKind, market Market, bot string, options UnblockOptions) error {
	if err := validBot(market, bot); err != nil {
		return err
	}
	ended, err := c.leases.Drop(ctx, c.resource(kind, market), bot, options.Force)
	if err == nil && !ended {
		return fmt.Errorf("block of %s: %w", market, ErrNotFound)
	}
	return err
}

// IsBlocked tells who holds a market, if somebody does. It returns true with every
// error: [ErrCorrupt], [ErrUnavailable], and [ErrInvalid] if the market's key is
// taken by another symbol.
//
// A bot that finds a market free and then trades it races with all others: it is
// [BotCache.Acquire] that decides.
func (c *BotCache) IsBlocked(ctx context.Context, market Market) (b Block, blocked bool, err error) {
	call := c.begin(ctx, "bots.is_blocked", market)
	defer func() { call.end(ctx, err) }()
	return c.held(ctx, c.blocks, market)
}

func (c *BotCache) held(ctx context.Context, kind leaseKind, market Market) (Block, bool, error) {
	if err := market.Validate(); err != nil {
		return Block{}, true, err
	}
	h, held, err := c.leases.Get(ctx, c.resource(kind, market))
	if err != nil {
		return Block{}, true, err
	}
	if !held {
		return Block{}, false, nil
	}
	return blockOf(market, h), true, nil
}

// Blocks yields the blocks, by leases or not, of the exchanges given, or of all,
// sorted by exchange and symbol; in two round trips (three for all; more beyond
// 1,000 blocks of an exchange). One that cannot be read yields its error with a
// Block that carries only the market, and the listing goes on. It is not a
// snapshot: blocks come and go meanwhile.
func (c *BotCache) Blocks(ctx context.Context, exchanges ...string) iter.Seq2[Block, error] {
	return c.listing(ctx, "bots.blocks", c.blocks, exchanges)
}

func (c *BotCache) listing(ctx context.Context, name string, kind leaseKind, exchanges []string) iter.Seq2[Block, error] {
	return func(yield func(Block, error) bool) {
		var last error
		call := c.begin(ctx, name, Market{})
		defer func() { call.end(ctx, last) }()
		tell := func(b Block, err error) bool {
			if err != nil {
				last, b = err, Block{Market: b.Market}
			}
			return yield(b, err)
		}
		exchanges, err := c.exchanges(ctx, kind, exchanges)
		if err != nil {
			tell(Block{}, err)
			return
		}
		cmds := make([]rueidis.Completed, len(exchanges))
		for i, exchange := range exchanges {
			cmds[i] = c.kv.B().Zrange().Key(kind.index(exchange)).Min("0").Max("-1").Build()
		}
		var resources []lease.Resource
		for i, reply := range c.kv.DoMulti(ctx, cmds) {
			if err := redisError(kind.index(exchanges[i]), reply.Err); err != nil {
				if !tell(Block{Market: Market{Exchange: exchanges[i]}}, err) {
					return
				}
			}
			symbols, _ := reply.Msg.AsStrSlice()
			for _, symbol := range slices.Sorted(slices.Values(symbols)) {
				resources = append(resources, c.resource(kind, Market{exchanges[i], symbol}))
			}
		}
		for some := range slices.Chunk(resources, kv.Pipelined) {
			for i, found := range c.leases.GetMany(ctx, some) {
				if !found.OK && found.Err == nil {
					continue // it is over
				}
				if !tell(blockOf(Market{some[i].Group, some[i].Name}, found.Held), found.Err) {
					return
				}
			}
		}
	}
}

// exchanges are those given, or all that had leases of a kind, sorted.
func (c *BotCache) exchanges(ctx context.Context, kind leaseKind, exchanges []string) ([]string, error) {
	for _, exchange := range exchanges {
		if err := validName("exchange", exchange); err != nil {
			return nil, err
		}
	}
	if len(exchanges) == 0 {
		reply, err := c.kv.Do(ctx, c.kv.B().Smembers().Key(kind.groups).Build())
		if err != nil {
			return nil, redisError(kind.groups, err)
		}
		exchanges, _ = reply.AsStrSlice()
	}
	return slices.Compact(slices.Sorted(slices.Values(exchanges))), nil
}

// MarkOpeningPosition says that a bot is opening a position in a market, for
// others not to do the same at once. It always ends by itself:
// [BlockOptions].TTL. It is to opening positions what [BotCache.Block] is to
// markets, with the same errors, and has nothing to do with who may trade.
func (c *BotCache) MarkOpeningPosition(ctx context.Context, market Market, bot string, options BlockOptions) (b Block, err error) {
	call := c.begin(ctx, "bots.mark_opening_position", market)
	defer func() { call.end(ctx, err) }()
	return c.hold(ctx, c.openings, market, bot, options)
}

// UnmarkOpeningPosition says that it is not opening it any more. Its errors are
// those of [BotCache.Unblock].
func (c *BotCache) UnmarkOpeningPosition(ctx context.Context, market Market, bot string, options UnblockOptions) (err error) {
	call := c.begin(ctx, "bots.unmark_opening_position", market)
	defer func() { call.end(ctx, err) }()
	return c.drop(ctx, c.openings, market, bot, options)
}

// IsOpeningPosition tells who is opening a position in a market, if somebody is. As
// with [BotCache.IsBlocked], every error comes with true.
func (c *BotCache) IsOpeningPosition(ctx context.Context, market Market) (b Block, opening bool, err error) {
	call := c.begin(ctx, "bots.is_opening_position", market)
	defer func() { call.end(ctx, err) }()
	return c.held(ctx, c.openings, market)
}

// OpeningPositions yields the positions that are being opened, as
// [BotCache.Blocks] does blocks.
func (c *BotCache) OpeningPositions(ctx context.Context, exchanges ...string) iter.Seq2[Block, error] {
	return c.listing(ctx, "bots.opening_positions", c.openings, exchanges)
}
