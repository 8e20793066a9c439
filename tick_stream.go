package fulloncache

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/feed"
	"github.com/fullon/fulloncache/internal/kv"
)

// Update is one element of a stream: the newest tick of a market, or that it was
// deleted.
type Update struct {
	Tick Tick // Tick is the new tick; of a deletion it carries only the market.
	// Rev numbers the updates of an exchange: a later one is greater. It never
	// goes back, and after a reconnect the same update comes with the same Rev.
	Rev int64
	// Conflated is how many older updates of this market the consumer was too slow
	// for; this one stands for them.
	Conflated int
	// Deleted says that the market has no tick any more.
	Deleted bool
}

// UpdateOrErr is an element of the channels of [TickCache.Subscribe].
type UpdateOrErr struct {
	Update Update
	Err    error
}

// Stream follows markets: the current tick of each comes first, then every
// update, until ctx ends. A consumer that is slower than the updates gets the
// newest of each market and the count of those it missed; nobody is held up.
//
// An element with an error means that the feed is disconnected ([ErrUnavailable])
// or that a stored tick is corrupt ([ErrCorrupt]); the loop goes on, and once
// connected again the current tick of each market comes first again, so that
// nothing is lost but ticks that were replaced meanwhile. Silence, however long,
// is no error. The last element is [ErrClosed] if the Client is closed, and
// [ErrInvalid] is the only one if a market is unusable or none is given.
func (c *TickCache) Stream(ctx context.Context, markets ...Market) iter.Seq2[Update, error] {
	return c.stream(ctx, func(m Market) bool { return slices.Contains(markets, m) }, func() ([]feed.Topic, error) {
		return marketTopics(markets, c.keys.TickerChannel)
	})
}

// StreamExchange follows all markets of an exchange, as [TickCache.Stream] does,
// those that appear later included.
func (c *TickCache) StreamExchange(ctx context.Context, exchange string) iter.Seq2[Update, error] {
	return c.stream(ctx, func(Market) bool { return true }, func() ([]feed.Topic, error) {
		return c.exchangeTopics([]string{exchange})
	})
}

// Subscribe is [TickCache.Stream] as a channel, for select. It is closed when
// ctx ends, or after the last error. The caller must end ctx to release it.
func (c *TickCache) Subscribe(ctx context.Context, markets ...Market) <-chan UpdateOrErr {
	return channel(ctx, c.Stream(ctx, markets...))
}

// SubscribeExchange is [TickCache.StreamExchange] as a channel.
func (c *TickCache) SubscribeExchange(ctx context.Context, exchange string) <-chan UpdateOrErr {
	return channel(ctx, c.StreamExchange(ctx, exchange))
}

func channel(ctx context.Context, stream iter.Seq2[Update, error]) <-chan UpdateOrErr {
	ch := make(chan UpdateOrErr)
	go func() {
		defer close(ch)
		for u, err := range stream {
			select {
			case ch <- UpdateOrErr{Update: u, Err: err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return ch
}

// stream follows topics. Two symbols can meet in one channel, as they do in one
// key: wanted tells them apart.
func (c *TickCache) stream(ctx context.Context, wanted func(Market) bool, topics func() ([]feed.Topic, error)) iter.Seq2[Update, error] {
	return func(yield func(Update, error) bool) {
		names, err := topics()
		if err != nil {
			yield(Update{}, err)
			return
		}
		for u, err := range followed(ctx, c.hub, names) {
			if err == nil && !wanted(u.Key) {
				continue
			}
			if !yield(update(u), err) {
				return
			}
		}
	}
}

// followed yields what comes over topics until ctx ends or, after saying so, the
// hub is closed.
func followed[K comparable, V any](ctx context.Context, hub feed.Hub[K, V], topics []feed.Topic) iter.Seq2[feed.Update[K, V], error] {
	return func(yield func(feed.Update[K, V], error) bool) {
		sub, err := hub.Subscribe(topics)
		if err != nil {
			yield(feed.Update[K, V]{}, err)
			return
		}
		defer sub.Close()
		for {
			u, err := sub.Next(ctx)
			if err != nil && ctx.Err() != nil {
				return
			}
			if !yield(u, feedError(err)) || errors.Is(err, ErrClosed) {
				return
			}
		}
	}
}

// update is what a consumer sees of an event.
func update(u feed.Update[Market, Tick]) Update {
	if u.Deleted {
		u.Value = Tick{Market: u.Key}
	}
	return Update{Tick: u.Value, Rev: u.Rev, Conflated: u.Conflated, Deleted: u.Deleted}
}

// feedError makes a disconnect an ErrUnavailable, whatever its cause.
func feedError(err error) error {
	var cut *feed.Disconnected
	if errors.As(err, &cut) && !errors.Is(err, ErrUnavailable) {
		return &UnavailableError{Err: err}
	}
	return err
}

// Next waits for an update of a market that is newer than the call and returns
// its tick: never the one that was there before, however fresh. It waits through
// disconnects until ctx ends, and returns ctx's error then.
func (c *TickCache) Next(ctx context.Context, market Market) (tick Tick, err error) {
	call := c.begin(ctx, "tick.next", market)
	defer func() { call.end(ctx, err) }()
	if err := market.Validate(); err != nil {
		return tick, err
	}
	before, err := c.revision(ctx, market.Exchange)
	if err != nil {
		return tick, fmt.Errorf("next tick of %s: %w", market, err)
	}
	for u, err := range c.Stream(ctx, market) {
		switch {
		case errors.Is(err, ErrClosed):
			return tick, err
		case err == nil && !u.Deleted && u.Rev > before:
			return u.Tick, nil
		}
	}
	return tick, fmt.Errorf("next tick of %s: %w", market, ctx.Err())
}

// revision returns the number of an exchange's last update; 0 if there is none.
func (c *TickCache) revision(ctx context.Context, exchange string) (int64, error) {
	key := c.keys.TickerRev(exchange)
	reply, err := c.kv.Do(ctx, c.kv.B().Get().Key(key).Build())
	return readRevision(key, reply, err)
}

// exchangeTopics names the channels of exchanges.
func (c *TickCache) exchangeTopics(exchanges []string) ([]feed.Topic, error) {
	topics := make([]feed.Topic, len(exchanges))
	for i, e := range exchanges {
		if err := validName("exchange", e); err != nil {
			return nil, err
		}
		topics[i] = feed.Topic{Group: e, Channel: c.keys.ExchangeChannel(e)}
	}
	return unique(topics), nil
}

// tickSource is what the feed follows: one group per exchange.
type tickSource struct {
	connector
	c *TickCache
}

func (s tickSource) Control(exchange string) string { return s.c.keys.BeatChannel(exchange) }

func (s tickSource) Probe(ctx context.Context, conn feed.Conn, exchange string) (int64, error) {
	return probe(ctx, conn, s.c.keys.TickerRev(exchange))
}

func (s tickSource) Decode(channel, message string) (feed.Message[Market, Tick], error) {
	m, err := readMessage(channel, message)
	if err != nil {
		return feed.Message[Market, Tick]{}, err
	}
	switch m.kind {
	case messageReset:
		return feed.Message[Market, Tick]{Kind: feed.Reset}, nil
	case messageBeat:
		return feed.Message[Market, Tick]{Kind: feed.Alive}, nil
	}
	return feed.Message[Market, Tick]{Event: event(m.tick, m.kind == messageDeleted)}, nil
}

func event(s storedTick, deleted bool) feed.Event[Market, Tick] {
	return feed.Event[Market, Tick]{Key: s.Market, Value: s.Tick, Rev: s.rev, Deleted: deleted}
}

// Load reads the ticks behind channels, and the feed's last sign of life.
func (s tickSource) Load(ctx context.Context, exchange string, channels []string, emit func(string, feed.Event[Market, Tick], error)) (heard time.Time, err error) {
	c := s.c
	whole := c.keys.ExchangeChannel(exchange)
	type read struct{ channel, key string }
	var reads []read
	for _, channel := range channels {
		if channel != whole {
			reads = append(reads, read{channel, c.keys.ChannelKey(channel)})
			continue
		}
		symbols, err := c.symbols(ctx, exchange)
		if err != nil {
			return heard, err
		}
		for _, symbol := range symbols {
			reads = append(reads, read{channel, c.keys.Ticker(exchange, symbol)})
		}
	}
	for some := range slices.Chunk(reads, kv.Pipelined) {
		cmds := make([]rueidis.Completed, len(some))
		for i, r := range some {
			cmds[i] = c.kv.B().Hmget().Key(r.key).Field(tickFields[:]...).Build()
		}
		for i, reply := range c.kv.DoMulti(ctx, cmds) {
			var tick storedTick
			err := redisError(some[i].key, reply.Err)
			if err == nil {
				tick, err = readTick(some[i].key, reply.Msg)
			}
			if err == nil && tick.Exchange != exchange {
				err = &CorruptError{Key: some[i].key, Field: "exchange", Err: fmt.Errorf("%q, want %q", tick.Exchange, exchange)}
			}
			switch {
			case errors.Is(err, ErrNotFound):
			case err != nil && !errors.Is(err, ErrCorrupt):
				return heard, err
			default:
				emit(some[i].channel, event(tick, false), err)
			}
		}
	}
	key := c.keys.TickerBeat(exchange)
	reply, err := c.kv.Do(ctx, c.kv.B().Get().Key(key).Build())
	heard, err = c.heard(exchange, kv.Reply{Msg: reply, Err: err})
	if errors.Is(err, ErrCorrupt) {
		return time.Time{}, nil // the next sign of life mends it
	}
	return heard, err
}

func (s tickSource) Name(m Market) string { return m.Symbol }

func (s tickSource) Own(m Market) Market {
	return Market{Exchange: strings.Clone(m.Exchange), Symbol: strings.Clone(m.Symbol)}
}

func (s tickSource) Rename(t *Tick, m Market) { t.Market = m }
