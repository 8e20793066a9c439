package lease

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Wait takes a lease, or stands in line for it until ctx ends: first come, first
// served. Who waits gives signs of life, and loses its place without. Only the
// first in line is woken when the lease is free, and only it watches for the end of
// one that nobody gives back.
func (m *Leases) Wait(ctx context.Context, r Resource, holder string, q Request) (*Lease, error) {
	made := m.name(&q)
	// Whoever is told of its turn while it asks need not ask again.
	turn := m.wakes.heard(r, q.ID)
	defer m.wakes.leave(r, q.ID)
	l, refused, err := m.attempt(ctx, r, holder, q, true)
	if l != nil {
		return l, nil
	}
	if err != nil {
		return nil, m.failed(r, q, made || !m.unknown(ctx, err), err)
	}
	last := refused.err
	timer := time.NewTimer(m.pause(refused))
	defer timer.Stop()
	if turn == nil {
		turn = m.wakes.join(ctx, r, q.ID)
		timer.Reset(0) // what was told before anybody listened is asked for
	}
	for {
		select {
		case <-turn:
			m.wakes.count.Add(1)
		case <-timer.C:
		case <-ctx.Done():
			return nil, m.failed(r, q, true, fmt.Errorf("wait for %s: %w: %w", m.opt.Title(r), ctx.Err(), last))
		}
		l, refused, err = m.attempt(ctx, r, holder, q, true)
		switch {
		case l != nil:
			return l, nil
		case err == nil:
			last = refused.err
		case !m.unknown(ctx, err):
			return nil, m.failed(r, q, true, err)
		default:
			// Cut off, it keeps its place for a while.
			refused = &refusal{place: 1}
			if ctx.Err() == nil {
				last = err
			}
		}
		timer.Reset(m.pause(refused))
	}
}

// pause is until when to ask again if nobody says anything.
func (m *Leases) pause(r *refusal) time.Duration {
	// Not all at once.
	beat := time.Duration(float64(m.opt.WaiterTTL) / 10 * (0.8 + 0.2*rand.Float64()))
	if r.place == 0 && r.left > 0 {
		// Redis ends it by the millisecond.
		beat = min(beat, r.left+time.Millisecond)
	}
	return beat
}

// Wakes is how often somebody was woken.
func (m *Leases) Wakes() int64 { return m.wakes.count.Load() }

// wakes listens for whose turn it is: one connection per group in which somebody
// waits.
type wakes struct {
	m     *Leases
	idle  time.Duration // for how long a connection is kept that nobody waits on
	count atomic.Int64

	mu       sync.Mutex
	channels map[string]*wakeChannel
}

type wakeChannel struct {
	waiting map[string]chan struct{} // by request
	ready   chan struct{}            // closed once it listened
	listens bool
}

// heard returns what tells that it is a request's turn, if that is listened for; or
// nil.
func (w *wakes) heard(r Resource, request string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.channels[w.m.opt.Wakes(r.Group, w.m.id)]
	if c == nil || !c.listens {
		return nil
	}
	turn := make(chan struct{}, 1)
	c.waiting[request] = turn
	return turn
}

// join is heard, but begins to listen, and returns once that is so or could not be
// soon: signs of life find out too.
func (w *wakes) join(ctx context.Context, r Resource, request string) <-chan struct{} {
	name := w.m.opt.Wakes(r.Group, w.m.id)
	turn := make(chan struct{}, 1)
	w.mu.Lock()
	c := w.channels[name]
	if c == nil {
		c = &wakeChannel{waiting: make(map[string]chan struct{}), ready: make(chan struct{})}
		w.channels[name] = c
		_ = w.m.db.Background(func(ctx context.Context) { w.listen(ctx, name, c) }) // closed, every call says so
	}
	c.waiting[request] = turn
	w.mu.Unlock()
	soon := time.NewTimer(w.m.opt.WaiterTTL / 10)
	defer soon.Stop()
	select {
	case <-c.ready:
	case <-soon.C:
	case <-ctx.Done():
	}
	return turn
}

func (w *wakes) leave(r Resource, request string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c := w.channels[w.m.opt.Wakes(r.Group, w.m.id)]; c != nil {
		delete(c.waiting, request)
	}
}

// listen keeps a connection until nobody has waited for a while.
func (w *wakes) listen(ctx context.Context, name string, c *wakeChannel) {
	for !w.serve(ctx, name, c) {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// serve listens over one connection, and reports whether nobody needs another.
func (w *wakes) serve(ctx context.Context, name string, c *wakeChannel) (done bool) {
	// The server may end the subscription by itself, as it does when a slot moves.
	ctx, drop := context.WithCancel(ctx)
	defer drop()
	s, err := w.m.db.Session(ctx, func(_, request string) { w.wake(c, request) }, func(string) { drop() })
	if err == nil {
		defer s.Close()
		err = s.Subscribe(ctx, []string{name})
	}
	if err != nil {
		return false
	}
	w.listening(c, true)
	defer w.listening(c, false)
	sweep := time.NewTicker(w.idle)
	defer sweep.Stop()
	for {
		select {
		case <-sweep.C:
			if w.unused(name, c) {
				return true
			}
			continue
		case <-ctx.Done():
		case err := <-s.Lost():
			_ = err // why does not matter: who waits asks again, and joins anew
		}
		return false
	}
}

// listening notes that a channel is listened to, or is not any more.
func (w *wakes) listening(c *wakeChannel, listens bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c.listens = listens
	select {
	case <-c.ready:
	default:
		close(c.ready)
	}
}

// unused forgets a channel on which nobody waits.
func (w *wakes) unused(name string, c *wakeChannel) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	unused := len(c.waiting) == 0
	if unused {
		delete(w.channels, name)
	}
	return unused
}

// wake is called by the connection's reader.
func (w *wakes) wake(c *wakeChannel, request string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if turn := c.waiting[request]; turn != nil {
		select {
		case turn <- struct{}{}:
		default:
		}
	}
}
