package fulloncache

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/fullon/fulloncache/internal/kv"
)

// exchangeIndex is a set of exchanges. Who writes adds to it again and again, so that
// one that was cleared or lost comes back. In a cluster it has a slot of its own,
// where scripts cannot reach it.
type exchangeIndex struct {
	kv  *kv.Client
	log *slog.Logger
	key string

	mu   sync.Mutex
	said map[string]time.Time // when this process last added an exchange, in a cluster
}

func newExchangeIndex(db *kv.Client, log *slog.Logger, key string) *exchangeIndex {
	return &exchangeIndex{kv: db, log: log, key: key, said: make(map[string]time.Time)}
}

// keys are the keys by which a script reaches the index; none in a cluster.
func (x *exchangeIndex) keys() []string {
	if x.kv.Cluster() {
		return nil
	}
	return []string{x.key}
}

// renew adds an exchange, every now and then, where scripts cannot.
func (x *exchangeIndex) renew(exchange string) {
	if !x.kv.Cluster() {
		return
	}
	now := time.Now()
	x.mu.Lock()
	due := now.Sub(x.said[exchange]) >= indexEvery
	if due {
		x.said[exchange] = now
	}
	x.mu.Unlock()
	if due {
		_ = x.kv.Background(func(ctx context.Context) { x.add(ctx, exchange) }) // after Close nothing is indexed
	}
}

// add adds an exchange where a script cannot. If that fails, the next call tries
// again.
func (x *exchangeIndex) add(ctx context.Context, exchange string) {
	if _, err := x.kv.Do(ctx, x.kv.B().Sadd().Key(x.key).Member(exchange).Build()); err != nil {
		x.forget(exchange)
		x.log.WarnContext(ctx, "exchange not indexed", "exchange", exchange, "error", err)
	}
}

// forget makes the next call add an exchange.
func (x *exchangeIndex) forget(exchange string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.said, exchange)
}

// remove takes an exchange out that has nothing left; a script has, where it can.
// What is written meanwhile puts it back.
func (x *exchangeIndex) remove(ctx context.Context, exchange string) error {
	x.forget(exchange)
	if !x.kv.Cluster() {
		return nil
	}
	_, err := x.kv.Do(ctx, x.kv.B().Srem().Key(x.key).Member(exchange).Build())
	return redisError(x.key, err)
}

// members lists the exchanges, sorted.
func (x *exchangeIndex) members(ctx context.Context) ([]string, error) {
	reply, err := x.kv.Do(ctx, x.kv.B().Smembers().Key(x.key).Build())
	if err != nil {
		return nil, redisError(x.key, err)
	}
	members, err := reply.AsStrSlice()
	slices.Sort(members)
	return members, err
}
