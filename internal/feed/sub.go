package feed

import (
	"context"
	"sync"
)

// Sub is the queue of one consumer: every event of its topics, or, once more
// than the buffer wait, the newest of each key.
type Sub[K comparable, V any] interface {
	// Next waits for the next update. Its error is a *Disconnected or that of a
	// value that cannot be read, after both of which Next goes on; the context's;
	// or, for good, that of a closed hub.
	Next(ctx context.Context) (Update[K, V], error)
	// Close ends the consumer.
	Close()
}

type sub[K comparable, V any] struct {
	hub    *hub[K, V]
	topics []*topic[K, V]
	wake   chan struct{}

	mu    sync.Mutex
	queue []item[K, V]
	head  int            // of what waits, in queue
	base  int            // the number of queue[0] among all items there ever were
	last  map[K]int      // number of the newest waiting event of a key
	errs  map[string]int // number of the waiting error of a subject
}

type item[K comparable, V any] struct {
	update  Update[K, V]
	subject string // of an error
	err     error
}

func (h *hub[K, V]) Subscribe(topics []Topic) (Sub[K, V], error) {
	s := &sub[K, V]{
		hub:  h,
		wake: make(chan struct{}, 1),
		last: make(map[K]int),
		errs: make(map[string]int),
	}
	for _, name := range topics {
		t, err := h.follow(name, s)
		if err != nil {
			s.Close()
			return nil, err
		}
		s.topics = append(s.topics, t)
	}
	return s, nil
}

func (s *sub[K, V]) Close() {
	for _, t := range s.topics {
		t.detach(s)
		s.hub.unfollow(t)
	}
	s.topics = nil
}

func (s *sub[K, V]) Next(ctx context.Context) (Update[K, V], error) {
	for {
		// A consumer that never catches up must end too.
		if err := ctx.Err(); err != nil {
			return Update[K, V]{}, err
		}
		if u, ok, err := s.pop(); ok {
			return u, err
		}
		select {
		case <-s.wake:
		case <-ctx.Done():
			return Update[K, V]{}, ctx.Err()
		case <-s.hub.ctx.Done():
			return Update[K, V]{}, s.hub.opt.Closed
		}
	}
}

func (s *sub[K, V]) pop() (u Update[K, V], ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head == len(s.queue) {
		return u, false, nil
	}
	it := s.queue[s.head]
	s.queue[s.head] = item[K, V]{}
	number := s.base + s.head
	s.head++
	if it.err != nil {
		delete(s.errs, it.subject)
	} else if s.last[it.update.Key] == number {
		delete(s.last, it.update.Key)
	}
	// The space of what was taken is used again, at an amortised constant cost.
	if s.head == len(s.queue) || s.head > 1024 && s.head > len(s.queue)/2 {
		n := copy(s.queue, s.queue[s.head:])
		clear(s.queue[n:])
		s.queue, s.base, s.head = s.queue[:n], s.base+s.head, 0
	}
	return it.update, true, it.err
}

func (s *sub[K, V]) push(it item[K, V]) (number int) {
	s.queue = append(s.queue, it)
	signal(s.wake)
	return s.base + len(s.queue) - 1
}

// offer adds an event, or puts it in the place of the newest waiting one of its
// key if the buffer is full. More than the buffer plus one event per key never
// wait.
func (s *sub[K, V]) offer(u Update[K, V]) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue)-s.head >= s.hub.opt.Buffer {
		if number, ok := s.last[u.Key]; ok {
			waiting := &s.queue[number-s.base].update
			if s.hub.conflate != nil {
				u.Value = s.hub.conflate(*waiting, u.Value)
			}
			*waiting = Update[K, V]{Event: u.Event, Conflated: waiting.Conflated + 1, Later: waiting.Later}
			return
		}
	}
	s.last[u.Key] = s.push(item[K, V]{update: u})
}

// fail adds an error; of one subject only the newest waits.
func (s *sub[K, V]) fail(subject string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if number, ok := s.errs[subject]; ok {
		s.queue[number-s.base].err = err
		return
	}
	s.errs[subject] = s.push(item[K, V]{subject: subject, err: err})
}
