package feed

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/puzpuzpuz/xsync/v4"
)

// View is the current state behind a topic. It reads without lock, I/O or
// allocation.
type View[K comparable, V any] interface {
	// Close stops following. What was read last stays readable.
	Close()
	// Get returns the newest event of the key of a name, or nil.
	Get(name string) *Entry[K, V]
	// All calls yield for the newest event of each key, until it returns false.
	All(yield func(*Entry[K, V]) bool)
	// Connected reports whether the view is complete and current.
	Connected() bool
	// Err is why the view is not complete and current; nil if it is.
	Err() error
	// Now is the time by the hub's clock.
	Now() time.Time
	// State tells about the connection.
	State() *State
	// Ready waits until the state has been complete once.
	Ready(ctx context.Context) error
}

type view[K comparable, V any] struct {
	hub    *hub[K, V]
	topic  *topic[K, V]
	table  *xsync.Map[string, *slot[K, V]] // the topic's: one step less for readers
	closed atomic.Bool
}

func (h *hub[K, V]) View(name Topic) (View[K, V], error) {
	t, err := h.follow(name, nil)
	if err != nil {
		return nil, err
	}
	return &view[K, V]{hub: h, topic: t, table: t.table}, nil
}

func (v *view[K, V]) Close() {
	v.closed.Store(true)
	v.hub.unfollow(v.topic)
}

func (v *view[K, V]) Get(name string) *Entry[K, V] {
	s, ok := v.table.Load(name)
	if !ok {
		return nil
	}
	return s.Load()
}

func (v *view[K, V]) All(yield func(*Entry[K, V]) bool) {
	v.table.Range(func(_ string, s *slot[K, V]) bool {
		return yield(s.Load())
	})
}

func (v *view[K, V]) Connected() bool {
	return !v.closed.Load() && v.complete() && v.topic.group.state.Err() == nil
}

// complete reports whether the state has been complete once: the group may have
// been connected before the topic joined it.
func (v *view[K, V]) complete() bool {
	select {
	case <-v.topic.ready:
		return true
	default:
		return false
	}
}

func (v *view[K, V]) Err() error {
	g := v.topic.group
	if v.closed.Load() {
		return &Disconnected{Group: g.name, Err: errEnded}
	}
	if err := g.state.Err(); err != nil {
		return err
	}
	if !v.complete() {
		return &Disconnected{Group: g.name, Err: errUnknown}
	}
	return nil
}

func (v *view[K, V]) Now() time.Time { return v.hub.opt.Now() }

func (v *view[K, V]) State() *State { return &v.topic.group.state }

func (v *view[K, V]) Ready(ctx context.Context) error {
	select {
	case <-v.topic.ready:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-v.hub.ctx.Done():
		return v.hub.opt.Closed
	}
}
