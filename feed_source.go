package fulloncache

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/feed"
	"github.com/fullon/fulloncache/internal/kv"
)

// beforeReread waits until who follows something is to try again to read what it may
// have missed, or until ctx ends.
func beforeReread(ctx context.Context) {
	select {
	case <-time.After(200 * time.Millisecond):
	case <-ctx.Done():
	}
}

// connector is how all sources of feeds reach the server.
type connector struct{ kv *kv.Client }

// Connect opens a connection of the feed's own.
func (c connector) Connect(ctx context.Context, _ string, onMessage func(channel, message string), onDrop func(channel string)) (feed.Conn, error) {
	return c.kv.Session(ctx, onMessage, onDrop)
}

// probe reads the number of the last update over a feed's connection; 0 if there
// is none.
func probe(ctx context.Context, conn feed.Conn, key string) (int64, error) {
	reply, err := conn.(*kv.Session).Get(ctx, key)
	return readRevision(key, reply, err)
}

func readRevision(key string, reply rueidis.RedisMessage, err error) (int64, error) {
	if kv.IsNil(err) {
		return 0, nil
	}
	if err != nil {
		return 0, redisError(key, err)
	}
	rev, err := reply.AsInt64()
	if err != nil {
		return 0, &CorruptError{Key: key, Err: err}
	}
	return rev, nil
}

// marketTopics names the channels of markets.
func marketTopics(markets []Market, channel func(exchange, symbol string) string) ([]feed.Topic, error) {
	if len(markets) == 0 {
		return nil, fmt.Errorf("%w: no market to follow", ErrInvalid)
	}
	topics := make([]feed.Topic, len(markets))
	for i, m := range markets {
		if err := m.Validate(); err != nil {
			return nil, err
		}
		topics[i] = feed.Topic{Group: m.Exchange, Channel: channel(m.Exchange, m.Symbol)}
	}
	return unique(topics), nil
}

// unique drops topics that are named again: what comes over one comes once.
func unique(topics []feed.Topic) []feed.Topic {
	seen := make(map[feed.Topic]bool, len(topics))
	return slices.DeleteFunc(topics, func(t feed.Topic) bool {
		again := seen[t]
		seen[t] = true
		return again
	})
}
