package kv

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// Near is a cache of decoded values close to the caller. The server tells when
// a key changes; and since a server that is frozen or cut off tells nothing, a
// hit also needs a sign of life that is not older than the allowed staleness.
// Where the server cannot track keys (in-process), every read asks it.
//
// It is an interface, as all generic types of the engines are that others hold: see
// [Bounded].
type Near[V any] interface {
	// Get returns the value of key, which must not be changed. hit says that the server
	// was not asked.
	Get(ctx context.Context, key string) (v V, hit bool, err error)
	// Peek returns the value of key if it is held and may be served at a moment,
	// which is now: several look-ups can share a reading of the clock.
	Peek(key string, now time.Time) (v V, ok bool)
	// Forget drops the value of key, and that of reads under way. A caller that has
	// changed the key sees the change from then on; the server's own word comes
	// only after the answer to the change.
	Forget(key string)
}

// Read is how a near cache reads a key. That it is told once, and not with each
// read, is what lets a hit allocate nothing.
type Read[V any] struct {
	// Command asks for what is stored.
	Command func(b rueidis.Builder, key string) rueidis.Cacheable
	// Decode makes the value of the reply, or of an error, which [IsNil] may know.
	// What it returns is shared by all callers.
	Decode func(key string, reply rueidis.RedisMessage, err error) (V, error)
}

// GetCommand asks for a string, for a [Read].
func GetCommand(b rueidis.Builder, key string) rueidis.Cacheable { return b.Get().Key(key).Cache() }

// HgetallCommand asks for a hash, for a [Read].
func HgetallCommand(b rueidis.Builder, key string) rueidis.Cacheable {
	return b.Hgetall().Key(key).Cache()
}

type near[V any] struct {
	c       *Client
	read    Read[V]
	entries Bounded // of *nearEntry[V]

	mu      sync.Mutex
	flights map[string]*nearFlight
}

type nearEntry[V any] struct {
	value V
	asked time.Time // when the server was asked
}

// nearFlight are the reads of a key under way. One whose key was invalidated
// meanwhile is not kept.
type nearFlight struct {
	reads int
	dirty bool
}

// NewNear returns a near cache of at most size values. Its name appears in events.
func NewNear[V any](c *Client, name string, size int, read Read[V]) Near[V] {
	n := &near[V]{
		c:       c,
		read:    read,
		entries: NewBounded(size),
		flights: make(map[string]*nearFlight),
	}
	c.near.add(nearCache{name: name, forget: n.Forget, flush: n.flush})
	return n
}

func (n *near[V]) Get(ctx context.Context, key string) (v V, hit bool, err error) {
	if v, ok := n.Peek(key, time.Now()); ok {
		return v, true, nil
	}
	if n.c.opt.InProcess {
		cmd := n.read.Command(n.c.redis.B(), key)
		msg, err := n.c.Do(ctx, rueidis.Completed(cmd))
		v, err = n.read.Decode(key, msg, err)
		return v, false, err
	}
	n.c.near.watch()
	flight := n.enter(key)
	asked := time.Now()
	cmd := n.read.Command(n.c.redis.B(), key).Pin()
	msg, err := call(ctx, n.c, request{slot: cmd.Slot(), again: true}, func(ctx context.Context) (rueidis.RedisMessage, error) {
		return n.c.redis.DoCache(ctx, cmd, time.Hour).ToMessage()
	})
	v, err = n.read.Decode(key, msg, err)
	n.leave(key, flight, &nearEntry[V]{v, asked}, err == nil)
	return v, false, err
}

func (n *near[V]) Peek(key string, now time.Time) (v V, ok bool) {
	held, ok := n.entries.Get(key)
	if !ok {
		return v, false
	}
	e := held.(*nearEntry[V])
	if !n.c.near.fresh(e.asked, now) {
		return v, false
	}
	return e.value, true
}

func (n *near[V]) enter(key string) *nearFlight {
	n.mu.Lock()
	defer n.mu.Unlock()
	f := n.flights[key]
	if f == nil || f.dirty {
		// A read that starts after an invalidation sees the new value.
		f = &nearFlight{}
		n.flights[key] = f
	}
	f.reads++
	return f
}

func (n *near[V]) leave(key string, f *nearFlight, e *nearEntry[V], keep bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if keep && !f.dirty {
		n.entries.Set(key, e)
	}
	if f.reads--; f.reads == 0 && n.flights[key] == f {
		delete(n.flights, key)
	}
}

func (n *near[V]) Forget(key string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if f := n.flights[key]; f != nil {
		f.dirty = true
	}
	n.entries.Delete(key)
}

func (n *near[V]) flush() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, f := range n.flights {
		f.dirty = true
	}
	n.entries.Clear()
}

// nearCache is what the connection needs to know of a Near.
type nearCache struct {
	name   string
	forget func(key string)
	flush  func()
}

// nearState is what all near caches of a Client share.
type nearState struct {
	c       *Client
	mu      sync.Mutex
	caches  []nearCache
	started sync.Once
	alive   atomic.Int64 // when the last answered sign of life was asked for, Unix nanoseconds
}

func (s *nearState) init(c *Client) { s.c = c }

func (s *nearState) add(n nearCache) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.caches = append(s.caches, n)
}

// fresh reports whether a value asked for then has been under the server's
// watch until now, up to the allowed staleness.
func (s *nearState) fresh(asked, now time.Time) bool {
	limit := now.Add(-s.c.opt.NearStaleness)
	return s.alive.Load() >= limit.UnixNano() || !asked.Before(limit)
}

// watch starts asking for signs of life. They travel on the connection that
// carries the invalidations, so an answer proves that those before it arrived.
func (s *nearState) watch() {
	s.started.Do(func() {
		s.c.goroutine(func() {
			every := s.c.opt.NearStaleness / 4
			tick := time.NewTicker(every)
			defer tick.Stop()
			for {
				select {
				case <-s.c.ctx.Done():
					return
				case <-tick.C:
				}
				asked := time.Now()
				if s.ping(every) {
					s.alive.Store(asked.UnixNano())
				}
			}
		})
	})
}

// ping reports whether every node answered.
func (s *nearState) ping(within time.Duration) bool {
	ctx, cancel := context.WithTimeout(s.c.ctx, within)
	defer cancel()
	for _, node := range s.c.redis.Nodes() {
		if node.Do(ctx, node.B().Ping().Build()).Error() != nil {
			return false
		}
	}
	return true
}

// store returns the receiver of a connection's invalidations. rueidis would
// cache raw replies there; this one only passes on what it is told.
func (s *nearState) store(rueidis.CacheStoreOption) rueidis.CacheStore {
	return &invalidations{state: s}
}

type invalidations struct {
	state *nearState
	used  atomic.Bool // the connection tracks keys
}

func (i *invalidations) Flight(string, string, time.Duration, time.Time) (rueidis.RedisMessage, rueidis.CacheEntry) {
	i.used.Store(true)
	return rueidis.RedisMessage{}, nil
}

func (i *invalidations) Update(string, string, rueidis.RedisMessage) int64 { return 0 }

func (i *invalidations) Cancel(string, string, error) {}

func (i *invalidations) Delete(keys []rueidis.RedisMessage) {
	if keys == nil { // FLUSHALL, FLUSHDB
		i.state.flush(nil)
		return
	}
	for _, k := range keys {
		if key, err := k.ToString(); err == nil {
			i.state.forget(key)
		}
	}
}

func (i *invalidations) Close(err error) {
	if i.used.Load() {
		i.state.flush(err)
	}
}

// Forget drops what every near cache holds of a key, as [Near.Forget] does of one.
func (c *Client) Forget(key string) { c.near.forget(key) }

func (s *nearState) forget(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.caches {
		n.forget(key)
	}
}

// flush empties all near caches: the server's word on them is lost.
func (s *nearState) flush(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alive.Store(0)
	for _, n := range s.caches {
		n.flush()
		if s.c.ctx.Err() == nil {
			s.c.opt.OnEvent(NearFlushed, n.name, err)
		}
	}
}
