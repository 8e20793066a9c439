package fulloncache

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/feed"
	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
)

// TradeUpdate is one element of a stream: a trade that was pushed.
type TradeUpdate struct {
	Trade Trade
	// Seq numbers the trades that were ever pushed to a market's list, from 1.
	Seq int64
	// Missed is how many trades of this market were pushed between the last one and
	// this that the stream could not deliver: the consumer was too slow, or it was
	// disconnected. They wait in the list, unless somebody took them.
	Missed int64
}

// Stream follows markets: every trade that is pushed from now on, until ctx ends.
// It takes nothing off a list, and is no way to store trades: what it could not
// deliver is counted in the next trade's Missed.
//
// An element with an error means that the feed is disconnected ([ErrUnavailable])
// or that a message is corrupt ([ErrCorrupt]); the loop goes on. Silence,
// however long, is no error. The last element is [ErrClosed] if the Client is
// closed, and [ErrInvalid] is the only one if a market is unusable or none is
// given.
func (c *TradesCache) Stream(ctx context.Context, markets ...Market) iter.Seq2[TradeUpdate, error] {
	return func(yield func(TradeUpdate, error) bool) {
		topics, err := marketTopics(markets, c.keys.TradesChannel)
		if err != nil {
			yield(TradeUpdate{}, err)
			return
		}
		seen := make(map[Market]int64, len(markets)) // how many trades were pushed
		for u, err := range followed(ctx, c.hub, topics) {
			if err != nil {
				if !yield(TradeUpdate{}, err) {
					return
				}
				continue
			}
			if !slices.Contains(markets, u.Key) {
				continue // two symbols can meet in one channel
			}
			last, known := seen[u.Key]
			known = known || u.Later // then none was there when the stream began
			burst := u.Value
			if begins(u) {
				// Where the stream begins; later, what the feed read after it was cut off:
				// the next trade tells what was missed. Fewer than before means that the
				// count began anew, and that none of them was told.
				begin := before(u)
				if known {
					begin = 0
				}
				if !known || burst.last() < last {
					seen[u.Key] = begin
				}
				continue
			}
			missed := burst.skipped
			if known {
				missed = burst.since(last)
			}
			seen[u.Key] = burst.last()
			for i, t := range burst.trades {
				if !yield(TradeUpdate{Trade: t, Seq: burst.first + int64(i), Missed: missed}, nil) {
					return
				}
				missed = 0
			}
		}
	}
}

// begins reports whether an update says only how many trades were pushed before
// a stream began, or went on.
func begins(u feed.Update[Market, tradeBurst]) bool { return u.Known || len(u.Value.trades) == 0 }

// conflateTrades makes a burst stand for one that still waits.
func conflateTrades(waiting feed.Update[Market, tradeBurst], burst tradeBurst) tradeBurst {
	burst.skipped = burst.since(before(waiting))
	return burst
}

// before is the number of the last trade that is told, or was there, before an
// update.
func before(u feed.Update[Market, tradeBurst]) int64 {
	switch {
	case u.Deleted:
		return 0
	case begins(u):
		return u.Value.last() - u.Value.skipped
	default:
		return u.Value.first - 1 - u.Value.skipped
	}
}

// tradeSource is what the feed follows: one group per exchange.
type tradeSource struct {
	connector
	c *TradesCache
}

func (s tradeSource) Control(exchange string) string { return s.c.keys.TradeRevChannel(exchange) }

func (s tradeSource) Probe(ctx context.Context, conn feed.Conn, exchange string) (int64, error) {
	return probe(ctx, conn, s.c.keys.TradeRev(exchange))
}

func (s tradeSource) Decode(channel, message string) (m feed.Message[Market, tradeBurst], err error) {
	if strings.HasPrefix(message, messageReset+" ") {
		return feed.Message[Market, tradeBurst]{Kind: feed.Reset}, nil
	}
	rev, burst, err := readTrades(channel, message)
	if err != nil {
		return m, err
	}
	m.Event = feed.Event[Market, tradeBurst]{Key: burst.trades[0].Market, Value: burst, Rev: rev}
	return m, nil
}

// Load reads how many trades were pushed to the lists behind channels.
func (s tradeSource) Load(ctx context.Context, exchange string, channels []string, emit func(string, feed.Event[Market, tradeBurst], error)) (time.Time, error) {
	c := s.c
	for some := range slices.Chunk(channels, kv.Pipelined) {
		cmds := make([]rueidis.Completed, len(some))
		infos := make([]string, len(some))
		for i, channel := range some {
			infos[i] = keys.TradesInfo(c.keys.ChannelKey(channel))
			cmds[i] = c.kv.B().Hmget().Key(infos[i]).Field("symbol", "count", "rev").Build()
		}
		for i, reply := range c.kv.DoMulti(ctx, cmds) {
			event, err := readTradesInfo(exchange, infos[i], reply)
			switch {
			case errors.Is(err, ErrNotFound):
			case err != nil && !errors.Is(err, ErrCorrupt):
				return time.Time{}, err
			default:
				emit(some[i], event, err)
			}
		}
	}
	return time.Time{}, nil
}

// readTradesInfo reads the reply to HMGET symbol count rev.
func readTradesInfo(exchange, key string, reply kv.Reply) (e feed.Event[Market, tradeBurst], err error) {
	values, err := replyParts(reply.Msg, reply.Err)
	if err != nil {
		return e, redisError(key, err)
	}
	var text [3]string
	for i := range text {
		text[i], _ = values[i].ToString()
	}
	if text[2] == "" {
		return e, ErrNotFound // nothing was ever pushed
	}
	e.Key = Market{Exchange: exchange, Symbol: text[0]}
	if e.Rev, err = strconv.ParseInt(text[2], 10, 64); err != nil {
		return e, &CorruptError{Key: key, Field: "rev", Err: err}
	}
	count, err := strconv.ParseInt(text[1], 10, 64)
	if err != nil {
		return e, &CorruptError{Key: key, Field: "count", Err: err}
	}
	e.Value.first = count + 1
	return e, nil
}

func (s tradeSource) Name(m Market) string { return m.Symbol }

func (s tradeSource) Own(m Market) Market {
	return Market{Exchange: strings.Clone(m.Exchange), Symbol: strings.Clone(m.Symbol)}
}

func (s tradeSource) Rename(*tradeBurst, Market) {} // its trades share the message's memory
