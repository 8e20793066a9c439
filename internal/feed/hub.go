package feed

import (
	"context"
	"sync"
)

// Topic is a channel of a group.
type Topic struct{ Group, Channel string }

// Hub follows groups for all consumers of a client. A group is connected while
// somebody follows one of its channels.
//
// It is an interface, like what it returns, for the reason that [kv.Bounded] gives.
type Hub[K comparable, V any] interface {
	// Subscribe follows topics. The consumer must be closed.
	Subscribe(topics []Topic) (Sub[K, V], error)
	// View follows a topic. It must be closed.
	View(name Topic) (View[K, V], error)
	// Close ends all connections and consumers.
	Close()
}

type hub[K comparable, V any] struct {
	src      Source[K, V]
	conflate Conflate[K, V]
	opt      Options

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex // guards groups, their topics and the topics' followers' number
	groups map[string]*group[K, V]
}

// NewHub returns a hub that follows nothing yet.
func NewHub[K comparable, V any](src Source[K, V], conflate Conflate[K, V], opt Options) Hub[K, V] {
	h := &hub[K, V]{src: src, conflate: conflate, opt: opt, groups: make(map[string]*group[K, V])}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

func (h *hub[K, V]) Close() {
	h.mu.Lock()
	h.cancel()
	h.mu.Unlock()
	h.wg.Wait()
}

// follow returns the topic, connecting its group if nobody follows it yet. A
// consumer, if there is one, is attached before anything is read: what cannot be
// read is told once. Each follow is undone by one unfollow.
func (h *hub[K, V]) follow(name Topic, s *sub[K, V]) (*topic[K, V], error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ctx.Err() != nil {
		return nil, h.opt.Closed
	}
	g := h.groups[name.Group]
	if g == nil {
		g = newGroup(h, name.Group)
		h.groups[name.Group] = g
		defer h.wg.Go(g.run)
	}
	return g.follow(name.Channel, s), nil
}

// unfollow forgets a topic that nobody follows any more, and its group with the
// last of its topics.
func (h *hub[K, V]) unfollow(t *topic[K, V]) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := t.group
	if g.unfollow(t) {
		delete(h.groups, g.name)
		g.cancel()
	}
}
