package kv

import (
	"context"
	"sync"
)

// sharedAtOnce is how many calls are under way before callers wait for the next:
// while the server works on one, the next is made.
const sharedAtOnce = 2

// Sharing lets callers share calls: what comes while calls are under way goes
// with the next one, since most of what a call costs, it costs once. A lone caller
// never waits. Its methods are safe for concurrent use.
//
// It is an interface for the reason that [Bounded] gives.
type Sharing[T, R any] interface {
	// Do sends what is given, alone or with that of others, and returns its result.
	// Its error is that of ctx: what was under way when it ended may have been done,
	// what still waited is not sent.
	Do(ctx context.Context, what *T) (result R, err error)
}

// NewSharing returns one whose calls carry most at once. send makes a call, and
// tells the result of each, once.
func NewSharing[T, R any](db *Client, most int, send func(ctx context.Context, some []*T, tell func(i int, result R))) Sharing[T, R] {
	return &sharing[T, R]{db: db, most: most, send: send}
}

type sharing[T, R any] struct {
	db   *Client
	most int
	send func(ctx context.Context, some []*T, tell func(i int, result R))

	mu      sync.Mutex
	busy    int // calls under way
	waiting []*sharer[T, R]
}

// sharer is a caller that waits for the next call.
type sharer[T, R any] struct {
	ctx  context.Context
	what *T
	done chan R // of capacity 1: nobody may be waiting any more
}

func (s *sharing[T, R]) Do(ctx context.Context, what *T) (result R, err error) {
	s.mu.Lock()
	if s.busy < sharedAtOnce {
		s.busy++
		s.mu.Unlock()
		defer s.next()
		s.send(ctx, []*T{what}, func(_ int, r R) { result = r })
		return result, nil
	}
	own := *what // the caller may be gone before the call is made
	me := &sharer[T, R]{ctx, &own, make(chan R, 1)}
	s.waiting = append(s.waiting, me)
	s.mu.Unlock()
	select {
	case result := <-me.done:
		return result, nil
	case <-ctx.Done():
		return result, ctx.Err()
	}
}

// next gives up a call's turn, or passes it on to those that wait.
func (s *sharing[T, R]) next() {
	s.mu.Lock()
	idle := len(s.waiting) == 0
	if idle {
		s.busy--
	}
	s.mu.Unlock()
	if idle {
		return
	}
	if !s.db.Background(s.sendWaiting) {
		s.sendWaiting(context.Background()) // closed: the calls fail at once
	}
}

// sendWaiting sends what waits, until nothing does. Its context may be that of the
// client: once closed, it is the calls that say so.
func (s *sharing[T, R]) sendWaiting(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	for {
		batch := s.take()
		if batch == nil {
			return
		}
		some := make([]*T, len(batch))
		for i, one := range batch {
			some[i] = one.what
		}
		s.send(ctx, some, func(i int, r R) { batch[i].done <- r })
	}
}

// take returns who shares the next call; nil, and the turn is given up, if nobody
// waits any more.
func (s *sharing[T, R]) take() []*sharer[T, R] {
	s.mu.Lock()
	defer s.mu.Unlock()
	var batch []*sharer[T, R]
	for len(s.waiting) > 0 && len(batch) < s.most {
		if one := s.waiting[0]; one.ctx.Err() == nil {
			batch = append(batch, one)
		}
		s.waiting = s.waiting[1:]
	}
	if batch == nil {
		s.waiting = nil
		s.busy--
	}
	return batch
}
