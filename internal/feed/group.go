package feed

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v5"
)

// group is a connection and the topics that come over it.
type group[K comparable, V any] struct {
	hub    *hub[K, V]
	name   string
	ctx    context.Context
	cancel context.CancelFunc

	mu     sync.RWMutex
	topics map[string]*topic[K, V]
	link   int // counts the connections

	changed chan struct{} // topics came or went
	resets  chan struct{} // the state must be read anew
	dropped chan struct{} // the server ended a subscription

	maxRev atomic.Int64 // the highest revision seen on this connection
	state  State
}

// State is what is known about a group's connection, for readers that cannot
// wait.
type State struct {
	since     atomic.Int64 // when it became connected, Unix nanoseconds; 0: it is not
	confirmed atomic.Int64 // when the server last answered on it
	heard     atomic.Int64 // when the group's writer last gave a sign of life here
	err       atomic.Pointer[error]
}

// Connected reports whether the state behind the group is complete and current.
func (s *State) Connected() bool { return s.since.Load() != 0 }

// Confirmed is when the server last proved that nothing is missing.
func (s *State) Confirmed() time.Time { return stamp(&s.confirmed) }

// Heard is when the group's writer last gave a sign of life.
func (s *State) Heard() time.Time { return stamp(&s.heard) }

// Err is why the group is not connected; nil if it is, or was not yet.
func (s *State) Err() error {
	if p := s.err.Load(); p != nil && !s.Connected() {
		return *p
	}
	return nil
}

func stamp(nanos *atomic.Int64) time.Time {
	if n := nanos.Load(); n != 0 {
		return time.Unix(0, n)
	}
	return time.Time{}
}

func newGroup[K comparable, V any](h *hub[K, V], name string) *group[K, V] {
	g := &group[K, V]{
		hub: h, name: name,
		topics:  make(map[string]*topic[K, V]),
		changed: make(chan struct{}, 1),
		resets:  make(chan struct{}, 1),
		dropped: make(chan struct{}, 1),
	}
	g.ctx, g.cancel = context.WithCancel(h.ctx)
	return g
}

// follow returns the topic of a channel. The hub's lock is held.
func (g *group[K, V]) follow(channel string, s *sub[K, V]) *topic[K, V] {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := g.topics[channel]
	if t == nil {
		t = newTopic(g, channel)
		g.topics[channel] = t
		signal(g.changed)
	}
	t.followers++
	if s != nil {
		t.attach(s)
	}
	return t
}

// unfollow reports whether the group has no topic left. The hub's lock is held.
func (g *group[K, V]) unfollow(t *topic[K, V]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if t.followers--; t.followers == 0 {
		delete(g.topics, t.channel)
		signal(g.changed)
	}
	return len(g.topics) == 0
}

// list returns the topics.
func (g *group[K, V]) list() []*topic[K, V] {
	g.mu.RLock()
	defer g.mu.RUnlock()
	list := make([]*topic[K, V], 0, len(g.topics))
	for _, t := range g.topics {
		list = append(list, t)
	}
	return list
}

// run keeps the group connected until nobody follows it.
func (g *group[K, V]) run() {
	defer g.ended()
	pause := &backoff.ExponentialBackOff{
		InitialInterval:     20 * time.Millisecond,
		RandomizationFactor: 0.3,
		Multiplier:          1.7,
		MaxInterval:         time.Second,
	}
	pause.Reset()
	for {
		if g.connected(pause) == errReplaced {
			continue
		}
		retry := time.NewTimer(pause.NextBackOff())
		select {
		case <-g.ctx.Done():
			retry.Stop()
			return
		case <-retry.C:
		}
	}
}

// ended makes what is left of the group say that nothing keeps it current.
func (g *group[K, V]) ended() {
	g.cancel()
	var err error = &Disconnected{Group: g.name, Err: errEnded}
	if g.hub.ctx.Err() != nil {
		err = g.hub.opt.Closed
	}
	g.state.err.Store(&err)
	g.state.since.Store(0)
}

// disconnected tells everybody once per disconnect.
func (g *group[K, V]) disconnected(err error) {
	if g.ctx.Err() != nil {
		return // it was meant
	}
	err = &Disconnected{Group: g.name, Err: err}
	known := g.state.err.Swap(&err)
	was := g.state.since.Swap(0)
	if was != 0 || known == nil {
		g.hub.opt.OnState(g.name, err)
	}
	for _, t := range g.list() {
		t.disconnected(err)
	}
}

// connected makes one connection, serves it until it ends, and returns why. Of one that
// is only to be replaced nobody is told, as long as the next one comes soon.
func (g *group[K, V]) connected(pause *backoff.ExponentialBackOff) error {
	g.mu.Lock()
	g.link++
	link := g.link
	g.mu.Unlock()
	drain(g.resets)
	drain(g.dropped)
	g.maxRev.Store(0)
	ctx := g.ctx
	if g.state.Connected() { // it takes the place of another; to wait for long would be a disconnect
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, g.hub.opt.Heartbeat)
		defer cancel()
	}
	conn, err := g.hub.src.Connect(ctx, g.name,
		func(channel, message string) { g.receive(link, channel, message) },
		func(channel string) { g.drop(link, channel) })
	if err != nil {
		g.disconnected(err)
		return err
	}
	defer conn.Close()
	// First of all: closing may have to wait for a server that is silent.
	if err = g.serve(conn, pause); err != errReplaced {
		g.disconnected(err)
	}
	return err
}

// serve follows the topics over a connection until it ends, and returns why.
func (g *group[K, V]) serve(conn Conn, pause *backoff.ExponentialBackOff) error {
	if err := conn.Subscribe(g.ctx, []string{g.hub.src.Control(g.name)}); err != nil {
		return err
	}
	beat := time.NewTicker(g.hub.opt.Heartbeat)
	defer beat.Stop()
	subscribed := make(map[string]*topic[K, V]) // nil: its state must be read
	for first := true; ; first = false {
		left, err := g.reconcile(conn, subscribed)
		if err != nil {
			return err
		}
		if first {
			g.complete(pause)
		}
		select {
		case <-g.ctx.Done():
			return g.ctx.Err()
		case err := <-conn.Lost():
			return lost(err)
		case <-g.dropped:
			return errDropped
		case <-g.changed:
		case <-g.resets:
			forget(subscribed)
		case <-beat.C:
			if left {
				return errReplaced
			}
			reset, err := g.probe(conn)
			if err != nil {
				return err
			}
			if reset {
				forget(subscribed)
			}
		}
	}
}

// complete notes that all is known over a new connection, and tells so if it was not.
func (g *group[K, V]) complete(pause *backoff.ExponentialBackOff) {
	now := g.hub.opt.Now().UnixNano()
	g.state.confirmed.Store(now)
	if g.state.since.CompareAndSwap(0, now) {
		g.state.err.Store(nil)
		g.hub.opt.OnState(g.name, nil)
		pause.Reset()
	}
}

// forget makes the state of all topics be read again. What is subscribed stays so.
func forget[K comparable, V any](subscribed map[string]*topic[K, V]) {
	for channel := range subscribed {
		subscribed[channel] = nil
	}
}

// lost is never nil: a connection that was closed without an error is lost too.
func lost(err error) error {
	if err == nil {
		err = errDropped
	}
	return err
}

// probe asks for a sign of life. reset says that the revisions began anew.
func (g *group[K, V]) probe(conn Conn) (reset bool, err error) {
	seen := g.maxRev.Load()
	asked := g.hub.opt.Now()
	ctx, cancel := context.WithTimeout(g.ctx, g.hub.opt.Heartbeat)
	defer cancel()
	rev, err := g.hub.src.Probe(ctx, conn, g.name)
	if err != nil {
		if errors.Is(err, context.DeadlineExceeded) {
			err = errSilent
		}
		return false, err
	}
	g.state.confirmed.Store(asked.UnixNano())
	if rev < seen {
		g.maxRev.Store(rev)
		return true, nil
	}
	return false, nil
}

// reconcile subscribes to what is followed and not yet subscribed, and reads its
// state. left says that nobody follows some of the rest any more.
func (g *group[K, V]) reconcile(conn Conn, subscribed map[string]*topic[K, V]) (left bool, err error) {
	const batch = 512 // channels a command
	var fresh []string
	topics := g.list()
	for _, t := range topics {
		if subscribed[t.channel] != t {
			fresh = append(fresh, t.channel)
			subscribed[t.channel] = t
		}
	}
	for some := range slices.Chunk(fresh, batch) {
		if err := conn.Subscribe(g.ctx, some); err != nil {
			return false, err
		}
		if err := g.load(some, subscribed); err != nil {
			return false, err
		}
	}
	return len(subscribed) > len(topics), nil
}

// load reads the state behind channels that are subscribed: what changes
// meanwhile arrives as messages, and the revision puts both in order.
func (g *group[K, V]) load(channels []string, topics map[string]*topic[K, V]) error {
	for _, c := range channels {
		topics[c].begin()
	}
	type found struct {
		e   Event[K, V]
		err error
	}
	state := make(map[string][]found)
	heard, err := g.hub.src.Load(g.ctx, g.name, channels, func(channel string, e Event[K, V], err error) {
		state[channel] = append(state[channel], found{e, err})
	})
	if err != nil {
		return err
	}
	if !heard.IsZero() {
		raise(&g.state.heard, heard.UnixNano())
	}
	for _, c := range channels {
		t := topics[c]
		events := make([]Event[K, V], 0, len(state[c]))
		for _, f := range state[c] {
			if f.err != nil {
				t.fail(f.err)
				continue
			}
			events = append(events, f.e)
			raise(&g.maxRev, f.e.Rev)
		}
		t.complete(events)
	}
	return nil
}

// receive handles a message. It is called by the connection's reader, one
// message at a time, and does not block on consumers. What an earlier connection
// still delivers is older than the state that was read since: it must not
// confirm an entry.
func (g *group[K, V]) receive(link int, channel, message string) {
	m, err := g.hub.src.Decode(channel, message)
	g.mu.RLock()
	defer g.mu.RUnlock()
	if link != g.link {
		return
	}
	if err == nil && m.Kind == Reset {
		signal(g.resets)
		return
	}
	if err == nil && !m.Event.Deleted {
		raise(&g.state.heard, g.hub.opt.Now().UnixNano())
	}
	t := g.topics[channel]
	switch {
	case t == nil || err == nil && m.Kind == Alive: // no event, or nobody follows it any more
	case err != nil:
		t.fail(err)
	default:
		raise(&g.maxRev, m.Event.Rev)
		t.apply(m.Event)
	}
}

// drop handles the end of a subscription that came from the server.
func (g *group[K, V]) drop(link int, channel string) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if link != g.link {
		return
	}
	if g.topics[channel] != nil || channel == g.hub.src.Control(g.name) {
		signal(g.dropped)
	}
}

// raise sets an atomic to n unless it is higher.
func raise(a *atomic.Int64, n int64) {
	for {
		was := a.Load()
		if n <= was || a.CompareAndSwap(was, n) {
			return
		}
	}
}

// signal wakes whoever waits on a channel of capacity 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func drain(c chan struct{}) {
	select {
	case <-c:
	default:
	}
}
