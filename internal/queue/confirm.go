package queue

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/fullon/fulloncache/internal/kv"
)

// confirmer submits on one connection of its own, because replicas confirm what
// was sent on the connection that asks them. Who comes while it waits for them
// shares the next turn.
type confirmer struct {
	q      *Queue
	linger time.Duration // for how long an unused connection is kept

	mu      sync.Mutex
	waiting []*confirmation
	serving bool          // a goroutine takes what waits
	wake    chan struct{} // tells it, buffered
}

type confirmation struct {
	ctx      context.Context
	calls    []kv.ScriptCall
	replicas int

	done      chan struct{}
	replies   []kv.Reply
	confirmed int
	err       error
}

func (c *confirmer) run(ctx context.Context, calls []kv.ScriptCall, replicas int) ([]kv.Reply, int, error) {
	one := &confirmation{ctx: ctx, calls: calls, replicas: replicas, done: make(chan struct{})}
	c.mu.Lock()
	c.waiting = append(c.waiting, one)
	if !c.serving {
		c.serving = true
		c.wake = make(chan struct{}, 1)
		if !c.q.db.Background(c.serve) {
			c.serving = false
			c.closed()
		}
	} else {
		signal(c.wake)
	}
	c.mu.Unlock()
	select {
	case <-one.done:
		return one.replies, one.confirmed, one.err
	case <-ctx.Done():
		return nil, 0, ctx.Err()
	}
}

// signal wakes whoever waits for it, or will.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// serve takes what waits until nothing has come for a while.
func (c *confirmer) serve(life context.Context) {
	var s *kv.Session
	leave := func() {
		if s != nil {
			s.Close()
			s = nil
		}
	}
	defer leave()
	idle := time.NewTimer(c.linger)
	defer idle.Stop()
	for {
		if turn := c.next(); len(turn) > 0 {
			// The client's end is told in words of its own.
			s = c.take(context.WithoutCancel(life), s, turn)
			idle.Reset(c.linger)
			continue
		}
		select {
		case <-c.wake:
			continue
		case <-idle.C:
		case <-life.Done():
		}
		if c.end(life) {
			return
		}
	}
}

// end ends serve, unless somebody has just come.
func (c *confirmer) end(life context.Context) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.serving = len(c.waiting) > 0 && life.Err() == nil
	if !c.serving {
		c.closed()
	}
	return !c.serving
}

// closed answers who waits for a client that was closed, if anybody does.
func (c *confirmer) closed() {
	for _, one := range c.waiting {
		_, one.err = c.q.db.Session(context.Background(), nil, nil)
		close(one.done)
	}
	c.waiting = nil
}

// next returns those who can share a turn: they demand the same.
func (c *confirmer) next() []*confirmation {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = slices.DeleteFunc(c.waiting, func(one *confirmation) bool { return one.ctx.Err() != nil })
	n, calls := 0, 0
	for n < len(c.waiting) && c.waiting[n].replicas == c.waiting[0].replicas && calls < kv.Pipelined {
		calls += len(c.waiting[n].calls)
		n++
	}
	turn := c.waiting[:n:n]
	c.waiting = c.waiting[n:]
	return turn
}

// take submits for all of a turn, and returns the session for the next one.
func (c *confirmer) take(ctx context.Context, s *kv.Session, turn []*confirmation) *kv.Session {
	var calls []kv.ScriptCall
	for _, one := range turn {
		calls = append(calls, one.calls...)
	}
	var replies []kv.Reply
	var confirmed int
	var err error
	// A session of before may have been lost without anybody knowing.
	for fresh := false; !fresh; {
		fresh = s == nil
		if fresh {
			if s, err = c.q.db.Session(ctx, func(string, string) {}, func(string) {}); err != nil {
				break
			}
		}
		replies, confirmed, err = s.RunConfirmed(ctx, kv.QueueSubmit, calls, turn[0].replicas, c.q.opt.ConfirmTimeout)
		// A server that refuses may be none that is to be asked any more.
		if err == nil && !slices.ContainsFunc(replies, func(r kv.Reply) bool { return r.Err != nil }) {
			break
		}
		s.Close()
		s = nil
	}
	for _, one := range turn {
		one.err, one.confirmed = err, confirmed
		if err == nil {
			one.replies, replies = replies[:len(one.calls)], replies[len(one.calls):]
		}
		close(one.done)
	}
	return s
}
