package feed

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullon/fulloncache/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var errClosed = errors.New("closed")

// memory is a Source in memory. The channel of a group is "group", that of a key
// "group/key", that of signs of life "group!". Its fields may be changed while
// mu is held; what a hub does meanwhile waits.
type memory struct {
	mu    sync.Mutex
	rev   int64
	state map[string]Event[string, string] // by group/key
	conns map[*memoryConn]bool
	all   []*memoryConn // also those that are closed
	loads int
	heard time.Time

	bad          map[string]error // what Load says of a group/key
	loading      func(n int)      // called before and after the state is read, without the lock
	connectErr   error
	unreachable  bool // connecting takes for ever
	subscribeErr error
	loadErr      error
	probeErr     error
	silent       bool // probes are not answered
	subscribed   []string
}

type memoryConn struct {
	m         *memory
	onMessage func(channel, message string)
	onDrop    func(channel string)
	channels  map[string]bool
	lost      chan error
}

func newMemory() *memory {
	return &memory{state: make(map[string]Event[string, string]), conns: make(map[*memoryConn]bool), bad: make(map[string]error)}
}

func (m *memory) Connect(ctx context.Context, _ string, onMessage func(channel, message string), onDrop func(channel string)) (Conn, error) {
	m.mu.Lock()
	unreachable := m.unreachable
	m.mu.Unlock()
	if unreachable {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.connectErr != nil {
		return nil, m.connectErr
	}
	c := &memoryConn{m: m, onMessage: onMessage, onDrop: onDrop, channels: make(map[string]bool), lost: make(chan error, 1)}
	m.conns[c] = true
	m.all = append(m.all, c)
	return c, nil
}

func (m *memory) Control(group string) string { return group + "!" }

func (m *memory) Probe(ctx context.Context, _ Conn, _ string) (int64, error) {
	m.mu.Lock()
	rev, silent, err := m.rev, m.silent, m.probeErr
	m.mu.Unlock()
	if silent {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	return rev, err
}

func (m *memory) Decode(_, message string) (Message[string, string], error) {
	switch message {
	case "R":
		return Message[string, string]{Kind: Reset}, nil
	case "B":
		return Message[string, string]{Kind: Alive}, nil
	}
	words := strings.Fields(message)
	if len(words) < 2 {
		return Message[string, string]{}, fmt.Errorf("malformed %q", message)
	}
	rev, err := strconv.ParseInt(words[0], 10, 64)
	e := Event[string, string]{Key: words[1], Rev: rev, Deleted: len(words) == 2}
	if !e.Deleted {
		e.Value = words[2]
	}
	return Message[string, string]{Event: e}, err
}

func (m *memory) Load(_ context.Context, group string, channels []string, emit func(string, Event[string, string], error)) (time.Time, error) {
	m.mu.Lock()
	m.loads++
	n, loading := m.loads, m.loading
	m.mu.Unlock()
	if loading != nil {
		loading(n)
	}
	type found struct {
		channel string
		e       Event[string, string]
		err     error
	}
	var list []found
	m.mu.Lock()
	for name, e := range m.state {
		for _, c := range channels {
			if c == name || c == group && strings.HasPrefix(name, group+"/") {
				list = append(list, found{c, e, m.bad[name]})
			}
		}
	}
	heard, err := m.heard, m.loadErr
	m.mu.Unlock()
	if loading != nil {
		loading(-n)
	}
	for _, f := range list {
		emit(f.channel, f.e, f.err)
	}
	return heard, err
}

func (m *memory) Name(key string) string { return key }

func (m *memory) Own(key string) string           { return strings.Clone(key) }
func (m *memory) Rename(v *string, key string)    { _, _ = v, key }
func (c *memoryConn) Lost() <-chan error          { return c.lost }
func (m *memory) locked(change func(m *memory))   { m.mu.Lock(); defer m.mu.Unlock(); change(m) }
func (m *memory) load(f func(m *memory) int) int  { m.mu.Lock(); defer m.mu.Unlock(); return f(m) }
func (m *memory) set(group, key, value string)    { m.write(group, key, value, true) }
func (m *memory) delete(group, key string)        { m.write(group, key, "", true) }
func (m *memory) missed(group, key, value string) { m.write(group, key, value, false) }

func (c *memoryConn) Subscribe(_ context.Context, channels []string) error {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	for _, name := range channels {
		c.channels[name] = true
		c.m.subscribed = append(c.m.subscribed, name)
	}
	return c.m.subscribeErr
}

func (c *memoryConn) Close() {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	delete(c.m.conns, c)
}

// write changes the state and, unless the message is lost, publishes it.
func (m *memory) write(group, key, value string, publish bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rev++
	message := fmt.Sprintf("%d %s %s", m.rev, key, value)
	if value == "" {
		delete(m.state, group+"/"+key)
	} else {
		m.state[group+"/"+key] = Event[string, string]{Key: key, Value: value, Rev: m.rev}
	}
	if publish {
		m.publish(group, message)
		m.publish(group+"/"+key, message)
	}
}

// publish delivers a message. The lock is held.
func (m *memory) publish(channel, message string) {
	for c := range m.conns {
		if c.channels[channel] {
			c.onMessage(channel, message)
		}
	}
}

func (m *memory) say(channel, message string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.publish(channel, message)
}

// cut ends all connections.
func (m *memory) cut(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for c := range m.conns {
		select {
		case c.lost <- err:
		default: // it is ending already
		}
	}
}

// states collects what OnState is told.
type states struct {
	mu   sync.Mutex
	list []error
}

func (s *states) add(_ string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.list = append(s.list, err)
}

func (s *states) wait(t *testing.T, connected ...bool) {
	t.Helper()
	testenv.Eventually(t, "states", func() (bool, string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		got := make([]bool, len(s.list))
		for i, err := range s.list {
			got[i] = err == nil
		}
		return slices.Equal(got, connected), fmt.Sprint(s.list)
	})
}

type rig struct {
	*testing.T
	m      *memory
	hub    *hub[string, string]
	states *states
}

func newRig(t *testing.T, tune ...func(*Options)) *rig {
	r := &rig{T: t, m: newMemory(), states: &states{}}
	opt := Options{Heartbeat: time.Hour, Now: time.Now, Buffer: 1000, Closed: errClosed, OnState: r.states.add}
	for _, f := range tune {
		f(&opt)
	}
	r.hub = NewHub(r.m, nil, opt).(*hub[string, string])
	t.Cleanup(r.hub.Close)
	return r
}

func (r *rig) subscribe(topics ...Topic) *sub[string, string] {
	r.Helper()
	s, err := r.hub.Subscribe(topics)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(s.Close)
	return s.(*sub[string, string])
}

func (r *rig) view(topic Topic) View[string, string] {
	r.Helper()
	v, err := r.hub.View(topic)
	if err != nil {
		r.Fatal(err)
	}
	r.Cleanup(v.Close)
	if err := v.Ready(testenv.Context(r)); err != nil {
		r.Fatal(err)
	}
	return v
}

// want reads updates and compares them: "key=value", "key-" for a deletion,
// "!text" for an error that contains text.
func (r *rig) want(s *sub[string, string], want ...string) {
	r.Helper()
	for i, w := range want {
		u, err := s.Next(testenv.Context(r))
		got := show(u, err)
		if text, isErr := strings.CutPrefix(w, "!"); isErr && err != nil && strings.Contains(err.Error(), text) {
			continue
		}
		if got != w {
			r.Fatalf("element %d: got %s, want %s of %q", i, got, w, want)
		}
	}
}

// idle checks that nothing waits.
func (r *rig) idle(s *sub[string, string]) {
	r.Helper()
	if u, ok, err := s.pop(); ok {
		r.Fatalf("unexpected %s", show(u, err))
	}
}

func show(u Update[string, string], err error) string {
	switch {
	case err != nil:
		return "!" + err.Error()
	case u.Deleted:
		return u.Key + "-"
	case u.Conflated > 0:
		return fmt.Sprintf("%s=%s+%d", u.Key, u.Value, u.Conflated)
	}
	return u.Key + "=" + u.Value
}

var whole = Topic{Group: "g", Channel: "g"}

func keyTopic(key string) Topic { return Topic{Group: "g", Channel: "g/" + key} }
