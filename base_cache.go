package fulloncache

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
)

// BaseCache is what is common to all caches: how the server is, which keys
// there are, clearing them, and the queue of errors that any component reports
// to and an operator reads.
//
//	if err := c.Base.Ping(ctx); err != nil {
//		return err // ErrUnavailable
//	}
//	for key, err := range c.Base.Keys(ctx, "tickers:*") { … }
type BaseCache struct {
	*observer
	kv     *kv.Client
	keys   keys.Space
	mode   string
	errors errorQueue
}

func newBaseCache(cfg Config, db *kv.Client, space keys.Space) *BaseCache {
	mode := "standalone"
	switch {
	case cfg.InProcess:
		mode = "in-process"
	case cfg.ClusterMode:
		mode = "cluster"
	case cfg.SentinelMaster != "":
		mode = "sentinel"
	}
	return &BaseCache{observer: newObserver("base", cfg), kv: db, keys: space, mode: mode, errors: errorQueue{db, cfg.ErrorQueueCap}}
}

// Ping asks every master for a sign of life. It returns [ErrUnavailable] if one
// does not give it.
func (b *BaseCache) Ping(ctx context.Context) (err error) {
	call := b.begin(ctx, "base.ping", Market{})
	defer func() { call.end(ctx, err) }()
	nodes, err := b.kv.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, node := range nodes {
		if _, err := b.kv.DoNode(ctx, node, node.B().Ping().Build()); err != nil {
			return err
		}
	}
	return nil
}

// Health is how the servers are.
type Health struct {
	// Mode is how the Client is connected: standalone, sentinel, cluster or in-process.
	Mode string `json:"mode"`
	// Breaker is the worst state of the circuit breakers: closed, half-open or open.
	Breaker string `json:"breaker"`
	// Nodes are the masters, by address; there is one but in a cluster.
	Nodes []NodeHealth `json:"nodes"`
}

// NodeHealth is how one server is.
type NodeHealth struct {
	Addr string `json:"addr"`
	// Version is the server's version: "7.0.15".
	Version string `json:"version"`
	// RunID is what the server calls itself since it started; empty if it does not tell.
	RunID string `json:"run_id,omitempty"`
	// Role is the server's role: master.
	Role string `json:"role"`
	// RoundTrip is the time one PING took.
	RoundTrip time.Duration `json:"round_trip_ns"`
	// UsedMemory and MaxMemory are in bytes; a MaxMemory of 0 is no limit.
	UsedMemory int64 `json:"used_memory"`
	MaxMemory  int64 `json:"max_memory"`
	// Policy says what the server evicts when MaxMemory is reached; anything but
	// noeviction can lose orders.
	Policy string `json:"maxmemory_policy"`
	// ClockOffset is the server's clock minus this machine's, to within half a
	// round trip. Ages are computed with this machine's clock.
	ClockOffset time.Duration `json:"clock_offset_ns"`
	// Persistence is what outlives a restart: "none", "rdb" (the last snapshot), or
	// what "appendfsync" says beside an append-only file: "always", "everysec", "no".
	// Empty if the server does not tell.
	Persistence string `json:"persistence,omitempty"`
	// Replicas is how many replicas are connected.
	Replicas int64 `json:"replicas"`
	// Evicted is how many keys the server has evicted since it started.
	Evicted int64 `json:"evicted_keys"`
	// Tracking is how many connections are told what changes: the near cache of each
	// Client has one.
	Tracking int64 `json:"tracking_clients"`
	// SlowLog is how many entries the server's slow log has.
	SlowLog int64 `json:"slow_log"`
}

// Health asks every master how it is. It returns [ErrUnavailable] if one does
// not answer; mode and breaker are filled all the same.
func (b *BaseCache) Health(ctx context.Context) (h Health, err error) {
	call := b.begin(ctx, "base.health", Market{})
	defer func() { call.end(ctx, err) }()
	h = Health{Mode: b.mode, Breaker: b.kv.BreakerState()}
	nodes, err := b.kv.Nodes(ctx)
	if err != nil {
		return h, err
	}
	for addr, node := range nodes {
		n, err := b.nodeHealth(ctx, addr, node)
		if err != nil {
			return h, err
		}
		h.Nodes = append(h.Nodes, n)
	}
	slices.SortFunc(h.Nodes, func(a, b NodeHealth) int { return strings.Compare(a.Addr, b.Addr) })
	h.Breaker = b.kv.BreakerState()
	return h, nil
}

func (b *BaseCache) nodeHealth(ctx context.Context, addr string, node rueidis.Client) (NodeHealth, error) {
	n := NodeHealth{Addr: addr}
	start := time.Now()
	if _, err := b.kv.DoNode(ctx, node, node.B().Ping().Build()); err != nil {
		return n, err
	}
	n.RoundTrip = time.Since(start)
	asked := time.Now()
	clock, err := b.kv.DoNode(ctx, node, node.B().Time().Build())
	if err != nil {
		return n, err
	}
	local := asked.Add(time.Since(asked) / 2)
	if parts, err := clock.AsIntSlice(); err == nil && len(parts) == 2 {
		n.ClockOffset = time.Unix(parts[0], parts[1]*1000).Sub(local)
	}
	told := make(map[string]string)
	for _, cmd := range []rueidis.Completed{
		node.B().Info().Build(),
		node.B().ConfigGet().Parameter("appendfsync", "save").Build(),
		node.B().SlowlogLen().Build(),
	} {
		reply, err := b.kv.DoNode(ctx, node, cmd)
		if _, refused := rueidis.IsRedisErr(err); refused {
			continue // to this user, or by the in-process server: what it cannot tell stays empty
		}
		if err != nil {
			return n, err
		}
		tell(told, reply)
	}
	n.Version, n.RunID, n.Role, n.Policy = told["redis_version"], told["run_id"], told["role"], told["maxmemory_policy"]
	n.Persistence = persistence(told)
	for name, v := range map[string]*int64{
		"used_memory": &n.UsedMemory, "maxmemory": &n.MaxMemory, "connected_slaves": &n.Replicas,
		"evicted_keys": &n.Evicted, "tracking_clients": &n.Tracking, "slowlog": &n.SlowLog,
	} {
		*v, _ = strconv.ParseInt(told[name], 10, 64)
	}
	return n, nil
}

// tell adds what a reply tells: lines of INFO, settings, or the length of the slow
// log.
func tell(told map[string]string, reply rueidis.RedisMessage) {
	switch {
	case reply.IsMap():
		settings, _ := reply.AsStrMap()
		maps.Copy(told, settings)
	case reply.IsInt64():
		n, _ := reply.AsInt64()
		told["slowlog"] = strconv.FormatInt(n, 10)
	default:
		text, _ := reply.ToString()
		for line := range strings.Lines(text) {
			if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
				told[name] = value
			}
		}
	}
}

func persistence(told map[string]string) string {
	save, known := told["save"]
	switch {
	case told["aof_enabled"] == "1":
		return told["appendfsync"]
	case !known:
		return ""
	case save == "":
		return "none"
	}
	return "rdb"
}

// Keys lists the keys that match a glob pattern such as "tickers:*", on every
// master, without the prefix of [Config].KeyPrefix. It walks the keyspace in
// small steps and does not block the server; a key that is there all the while
// is listed at least once, one that comes or goes meanwhile perhaps. An error
// ends the listing.
func (b *BaseCache) Keys(ctx context.Context, pattern string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		var err error
		call := b.begin(ctx, "base.keys", Market{})
		defer func() { call.end(ctx, err) }()
		stopped := false
		err = b.scan(ctx, b.keys.Prefix()+pattern, func(_ rueidis.Client, keys []string) error {
			for _, k := range keys {
				if stopped = !yield(strings.TrimPrefix(k, b.keys.Prefix()), nil); stopped {
					return errStop
				}
			}
			return nil
		})
		if stopped {
			err = nil
			return
		}
		if err != nil {
			yield("", err)
		}
	}
}

var errStop = errors.New("stop")

// scan calls found with the matching keys of every master, batch by batch.
func (b *BaseCache) scan(ctx context.Context, pattern string, found func(node rueidis.Client, keys []string) error) error {
	nodes, err := b.kv.Nodes(ctx)
	if err != nil {
		return err
	}
	for _, node := range nodes {
		for cursor := uint64(0); ; {
			reply, err := b.kv.DoNode(ctx, node, node.B().Scan().Cursor(cursor).Match(pattern).Count(1000).Build())
			if err != nil {
				return err
			}
			page, _ := reply.AsScanEntry() // what SCAN answers is one
			if err := found(node, page.Elements); err != nil {
				return err
			}
			if cursor = page.Cursor; cursor == 0 {
				break
			}
		}
	}
	return nil
}

// ClearConfirm allows [BaseCache.Clear] what it would refuse.
type ClearConfirm int

// ClearUnprefixed confirms that the keys of a cache without a prefix are to be
// deleted: those of the names this library uses, whoever wrote them.
const ClearUnprefixed ClearConfirm = 1

// Clear deletes every key of this Client's prefix, and no other: the prefix
// "prod" never clears "prod2", and what shares the server without the prefix
// stays. Without a prefix it returns [ErrInvalid] unless [ClearUnprefixed] is
// given. It returns how many keys it deleted, also with an error. It is not
// atomic: what is written meanwhile may stay, and what feeds write afterwards is
// complete again.
func (b *BaseCache) Clear(ctx context.Context, confirm ...ClearConfirm) (deleted int64, err error) {
	call := b.begin(ctx, "base.clear", Market{})
	defer func() { call.end(ctx, err) }()
	if b.keys.Prefix() == "" && !slices.Contains(confirm, ClearUnprefixed) {
		return 0, fmt.Errorf("%w: clear without CACHE_KEY_PREFIX would delete every cache on this database: pass ClearUnprefixed to confirm", ErrInvalid)
	}
	// A feed that goes on writes new revisions, from which its followers read the
	// state anew, perhaps before all of it was cleared. Those go again at the end.
	for _, pattern := range append(b.keys.Patterns(), b.keys.Revs()...) {
		err := b.scan(ctx, pattern, func(_ rueidis.Client, keys []string) error {
			cmds := make([]rueidis.Completed, len(keys))
			for i, k := range keys {
				cmds[i] = b.kv.B().Unlink().Key(k).Build()
			}
			for _, r := range b.kv.DoMulti(ctx, cmds) {
				if r.Err != nil {
					return r.Err
				}
				n, _ := r.Msg.ToInt64()
				deleted += n
			}
			return nil
		})
		if err != nil {
			return deleted, err
		}
	}
	return deleted, nil
}

// GlobalError is an error that a component reports to whoever watches the
// system.
type GlobalError struct {
	Component string    `json:"component"` // Component is who reports it.
	Message   string    `json:"message"`   // Message says what happened.
	Time      time.Time `json:"time"`      // Time is when, UTC; PushGlobalError fills it if zero.
}

// PushGlobalError appends an error to the queue of all components, atomically
// dropping the oldest beyond [Config].ErrorQueueCap. Component and message must
// not be empty ([ErrInvalid]).
func (b *BaseCache) PushGlobalError(ctx context.Context, e GlobalError) (err error) {
	call := b.begin(ctx, "base.push_global_error", Market{})
	defer func() { call.end(ctx, err) }()
	if e.Component == "" || e.Message == "" {
		return fmt.Errorf("%w: global error: component %q and message %q must not be empty", ErrInvalid, e.Component, e.Message)
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC()
	return b.errors.push(ctx, b.keys.GlobalError(), e)
}

// PopGlobalError takes the oldest error off the queue, waiting up to wait for
// one; a wait of 0 does not wait. It returns [ErrNotFound] if there is none in
// time. Cancelling the context loses no error. Each error goes to one caller.
func (b *BaseCache) PopGlobalError(ctx context.Context, wait time.Duration) (e GlobalError, err error) {
	call := b.begin(ctx, "base.pop_global_error", Market{})
	defer func() { call.end(ctx, err) }()
	if err := b.errors.pop(ctx, b.keys.GlobalError(), wait, &e); err != nil {
		return GlobalError{}, err
	}
	return e, nil
}

// GlobalErrors yields the errors that are in the queue, the oldest first, as they
// are at one moment, and leaves them there: several may look, and
// [BaseCache.PopGlobalError] still gets each. One that cannot be read yields its
// error, and the listing goes on.
func (b *BaseCache) GlobalErrors(ctx context.Context) iter.Seq2[GlobalError, error] {
	return func(yield func(GlobalError, error) bool) {
		var err error
		call := b.begin(ctx, "base.global_errors", Market{})
		defer func() { call.end(ctx, err) }()
		key := b.keys.GlobalError()
		err = listed(ctx, b.kv, key, 0, func(text string) (e GlobalError, err error) {
			err = unmarshalReport(key, text, &e)
			return e, err
		}, yield)
	}
}

// redisError names the key where a value of another Redis type is in the way.
func redisError(key string, err error) error {
	if kv.IsWrongType(err) {
		return &CorruptError{Key: key, Err: err}
	}
	return err
}
