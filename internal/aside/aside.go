// Package aside caches what a slow record knows, PostgreSQL usually: Redis is
// the cache that all processes share, in front of it each has a near cache.
//
// One caller of all processes asks the record for what nobody has, and what it
// is told becomes the entry, unless somebody writes or invalidates meanwhile. A
// reader that starts after a write has ended never sees what was before it, as
// far as its process has heard from the server (see [kv.Near]).
//
// An entry is a hash: the field with the empty name holds "loaded fresh-until
// generation present|absent", every other field is an element. Beside it lies
// its guard, the entry's key with ":fill", which holds the claim of a loader or
// of writers. An entry counts only in the generation that is in force, so that
// one command makes all entries of a kind void. All times are the server's.
package aside

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fullon/fulloncache/internal/kv"
)

// Event is something that went wrong and that no caller, or not every caller,
// is told.
type Event int

// The events.
const (
	LoadFailed  Event = iota + 1 // the record could not be read; older values may have been served
	Corrupt                      // what Redis holds cannot be read; it is replaced
	NotStored                    // a loaded value could not be stored
	NotReleased                  // a claim could not be given back; it ends by its TTL
)

// Options say what is cached. All fields are required.
type Options[V any] struct {
	Name       string // of the near cache, in the events of the connection
	Generation string // the key of the generation

	TTL         time.Duration // up to a tenth less, so that entries do not expire together
	NegativeTTL time.Duration // the same, of what does not exist
	// LoadTimeout is how long a load may take, and a write.
	LoadTimeout time.Duration
	NearSize    int

	// Decode makes a value of the elements of a key's entry. What it returns is
	// shared by all callers: it must not be changed.
	Decode func(key string, elements map[string]string) (V, error)
	// OnEvent must not block.
	OnEvent func(e Event, key string, err error)
}

// Load asks the record: for the elements by their names, which are not empty, or
// whether there is such a thing at all.
type Load func(ctx context.Context) (elements map[string]string, found bool, err error)

// Entry is what the record said.
type Entry[V any] struct {
	Value  V
	Loaded time.Time // when the record was asked
	Absent bool      // there is no such thing
	Hit    bool      // neither the server nor the record was asked
	// Outdated says that it was due for a reload, which was not possible: what it
	// lacks may be there by now.
	Outdated bool
}

// ErrNoLoad is the cause of the [LoadError] of a caller that cannot load.
var ErrNoLoad = errors.New("there is nothing to load from")

// LoadError says that the record could not be read.
type LoadError struct {
	Key string
	Err error
}

func (e *LoadError) Error() string { return fmt.Sprintf("load %s: %v", e.Key, e.Err) }

// Unwrap returns why.
func (e *LoadError) Unwrap() error { return e.Err }

const (
	// margin is what a claim lasts beyond the load: time to store its result.
	margin = 2 * time.Second
	// retryAfter is for how long a failed load is not tried again while there is
	// an older value.
	retryAfter = time.Second
)

// Cache is a cache of one kind of things.
//
// It is an interface for the reason that [kv.Bounded] gives.
type Cache[V any] interface {
	// Get returns the entry of key, which load fills if need be. An entry whose time
	// is over is loaded anew; if that fails, it is returned all the same, as often
	// as Loaded tells. Without one the error is a [LoadError]. If the server cannot
	// be asked, the error is that of [kv.Client]. Without load it answers what others
	// have loaded: it claims no load that it cannot do.
	//
	// In a cluster the key carries a hash tag.
	Get(ctx context.Context, key string, load Load) (Entry[V], error)
	// GetWithin is Get for a caller who misses something in an entry that may have
	// come since: one that was loaded longer ago than that is loaded anew.
	GetWithin(ctx context.Context, key string, within time.Duration, load Load) (Entry[V], error)
	// Refresh loads the entry of key anew, however fresh it is, or waits for a load
	// that began after the call.
	Refresh(ctx context.Context, key string, load Load) (Entry[V], error)
	// Write runs write, which changes what the entries of keys are copies of. The
	// entries go before and after, and nothing becomes an entry between, even if
	// this process dies. If the server cannot be told first, write is not run. The
	// context that write gets ends after LoadTimeout: its claim lasts no longer.
	Write(ctx context.Context, keys []string, write func(ctx context.Context) error) error
	// Invalidate removes the entries of keys.
	Invalidate(ctx context.Context, keys ...string) error
	// InvalidateAll makes all entries void.
	InvalidateAll(ctx context.Context) error
	// Distrust makes all entries that were loaded before due for a reload. It is for
	// when the server is another than before, or the same after a restart: its data
	// may be older than what was removed from it.
	Distrust()
}

type cache[V any] struct {
	db  *kv.Client
	opt Options[V]

	entries     kv.Near[*entry[V]]
	generations kv.Near[int64]
	failures    kv.Bounded // of keys: until when (time.Time) they are not tried again

	// trusted is a time in microseconds: what was loaded before is to be loaded
	// anew. A time that is not known yet is beyond all times.
	trusted   atomic.Int64
	distrusts atomic.Int64

	mu      sync.Mutex
	flights map[flightKey]*flight[V]
}

// New returns a cache.
func New[V any](db *kv.Client, opt Options[V]) Cache[V] {
	c := &cache[V]{
		db:          db,
		opt:         opt,
		generations: kv.NewNear(db, opt.Name+" generation", opt.NearSize, kv.Read[int64]{Command: kv.GetCommand, Decode: decodeGeneration}),
		failures:    kv.NewBounded(opt.NearSize),
		flights:     make(map[flightKey]*flight[V]),
	}
	c.entries = kv.NewNear(db, opt.Name, opt.NearSize, kv.Read[*entry[V]]{Command: kv.HgetallCommand, Decode: c.decode})
	return c
}

func (c *cache[V]) Get(ctx context.Context, key string, load Load) (Entry[V], error) {
	return c.GetWithin(ctx, key, 0, load)
}

func (c *cache[V]) GetWithin(ctx context.Context, key string, within time.Duration, load Load) (Entry[V], error) {
	now := time.Now()
	if e, ok := c.entries.Peek(key, now); ok {
		if g, ok := c.generations.Peek(c.opt.Generation, now); ok && c.usable(e, g, now, within) {
			return e.answer(true), nil
		}
	}
	for {
		r := request{key: key, within: within, load: load}
		e, g, hit, err := c.look(ctx, &r)
		if err != nil {
			return Entry[V]{}, err
		}
		r.generation = g
		now := time.Now()
		if e != nil && c.usable(e, g, now, within) {
			return e.answer(hit), nil
		}
		// What the entry says is better than no answer, but that something was
		// absent says little about now.
		outdated := e != nil && !e.absent && e.generation == g
		if load == nil {
			if r.corrupt != nil {
				c.opt.OnEvent(Corrupt, key, r.corrupt)
			}
			if outdated {
				return e.outdated(hit), nil
			}
			return Entry[V]{}, &LoadError{key, ErrNoLoad}
		}
		if outdated {
			if again, failed := c.failures.Get(key); failed {
				// Who asks does not wait for a record that did not answer the last time.
				if now.After(again.(time.Time)) {
					c.join(r)
				}
				return e.outdated(hit), nil
			}
		}
		f, joined := c.join(r)
		o, err := f.wait(ctx)
		var failed *LoadError
		switch {
		case err == nil && (o.load == 0 || joined < o.load):
			return o.entry, nil
		case err == nil:
			// It was loaded before this caller asked, and never became the entry: a
			// write may have ended between.
		case outdated && (errors.As(err, &failed) || errors.Is(ctx.Err(), context.DeadlineExceeded)):
			return e.outdated(hit), nil
		default:
			return Entry[V]{}, err
		}
	}
}

func (c *cache[V]) Refresh(ctx context.Context, key string, load Load) (Entry[V], error) {
	if err := ctx.Err(); err != nil {
		return Entry[V]{}, err
	}
	f := newFlight[V]()
	c.start(f, request{key: key, load: load, refresh: true})
	o, err := f.wait(ctx)
	return o.entry, err
}

func (c *cache[V]) Write(ctx context.Context, keys []string, write func(ctx context.Context) error) error {
	token := rand.Text()
	// The outcome of a write that fails may be unknown: the entries go all the same.
	defer c.end(ctx, keys, token)
	for i, r := range c.db.RunMulti(ctx, kv.AsideWrite, guarded(keys, token, millis(c.claimTTL()))) {
		if r.Err != nil {
			return fmt.Errorf("write %s: nothing was written: %w", keys[i], r.Err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, c.opt.LoadTimeout)
	defer cancel()
	return write(ctx)
}

// end ends a write. The caller may have given up meanwhile.
func (c *cache[V]) end(ctx context.Context, keys []string, token string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), margin)
	defer cancel()
	for i, err := range c.invalidate(ctx, keys, token) {
		if err != nil {
			c.opt.OnEvent(NotReleased, keys[i], err)
		}
	}
}

func (c *cache[V]) Invalidate(ctx context.Context, keys ...string) error {
	return errors.Join(c.invalidate(ctx, keys, "")...)
}

func (c *cache[V]) invalidate(ctx context.Context, keys []string, token string) []error {
	errs := make([]error, len(keys))
	for i, r := range c.db.RunMulti(ctx, kv.AsideInvalidate, guarded(keys, token)) {
		if r.Err != nil {
			errs[i] = fmt.Errorf("invalidate %s: %w", keys[i], r.Err)
		}
		c.db.Forget(keys[i]) // it may be of another cache
	}
	return errs
}

func (c *cache[V]) InvalidateAll(ctx context.Context) error {
	if _, _, err := c.generation(ctx, "new"); err != nil {
		return fmt.Errorf("invalidate %s: %w", c.opt.Name, err)
	}
	c.db.Forget(c.opt.Generation) // other caches may share it
	return nil
}

func (c *cache[V]) Distrust() {
	c.trusted.Store(math.MaxInt64 - c.distrusts.Add(1))
}

// usable reports whether an entry is one that a caller may have without the
// record being asked. The clock is this process's: if it errs to one side, the
// server decides, and to the other, entries live as much longer.
func (c *cache[V]) usable(e *entry[V], generation int64, now time.Time, within time.Duration) bool {
	return e.generation == generation && now.Before(e.fresh) && e.loaded.UnixMicro() > c.trusted.Load() &&
		(within == 0 || now.Sub(e.loaded) <= within)
}

// claimTTL is how long a claim lasts if it is not given back.
func (c *cache[V]) claimTTL() time.Duration { return c.opt.LoadTimeout + margin }

func guard(key string) string { return key + ":fill" }

// guarded are calls of a script on each key and its guard.
func guarded(keys []string, args ...string) []kv.ScriptCall {
	calls := make([]kv.ScriptCall, len(keys))
	for i, key := range keys {
		calls[i] = kv.ScriptCall{Keys: []string{key, guard(key)}, Args: args}
	}
	return calls
}

func millis(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }
