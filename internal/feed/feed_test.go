package feed

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fullon/fulloncache/internal/testenv"
)

func TestCurrentFirst(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.m.set("g", "b", "1")
	r.m.set("g", "a", "2")
	r.m.set("other", "c", "3")
	s, one := r.subscribe(whole), r.subscribe(keyTopic("a"))
	r.want(s, "b=1", "a=2")
	r.want(one, "a=2")
	r.m.set("g", "b", "4")
	r.m.delete("g", "a")
	r.m.delete("g", "nothing")
	r.m.set("g", "a", "5")
	r.want(s, "b=4", "a-", "a=5")
	r.want(one, "a-", "a=5")
	// A later consumer begins with the state as it is known, and is told so.
	late := r.subscribe(whole)
	for range 2 {
		if u, err := late.Next(testenv.Context(t)); err != nil || !u.Known {
			t.Errorf("%s, known %t", show(u, err), u.Known)
		}
	}
	r.m.set("g", "a", "6")
	r.want(s, "a=6")
	r.want(one, "a=6")
	if u, err := late.Next(testenv.Context(t)); err != nil || u.Known || u.Value != "6" {
		t.Errorf("%s, known %t", show(u, err), u.Known)
	}
	for _, s := range []*sub[string, string]{s, one, late} {
		r.idle(s)
	}
	r.states.wait(t, true)
	if n := r.m.load(func(m *memory) int { return len(m.all) }); n != 1 {
		t.Fatalf("%d connections of one group", n)
	}
}

// Who conflates can keep what waited.
func TestConflationKeeps(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) { o.Buffer = 1 })
	r.hub.conflate = func(waiting Update[string, string], value string) string { return waiting.Value + value }
	r.m.set("g", "a", "1")
	s := r.subscribe(whole)
	r.want(s, "a=1")
	other := r.subscribe(keyTopic("b"))
	for _, v := range []string{"2", "3", "4"} {
		r.m.set("g", "a", v)
		r.m.set("g", "b", v)
		r.want(other, "b="+v) // and so all of them have come
	}
	r.want(s, "a=234+2")
}

func TestConflation(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) { o.Buffer = 3 })
	s := r.subscribe(whole)
	r.states.wait(t, true)
	for i := range 10 {
		r.m.set("g", "a", fmt.Sprint(i))
	}
	r.m.set("g", "b", "x") // beyond the buffer, but nothing to stand for
	r.m.set("g", "b", "y")
	r.m.delete("g", "a")
	r.want(s, "a=0", "a=1")
	// Two places are free: one more fits beside the two that wait.
	r.m.set("g", "a", "z")
	u, err := s.Next(t.Context())
	if err != nil || !u.Deleted || u.Conflated != 8 {
		t.Fatalf("got %+v, %v", u, err)
	}
	r.want(s, "b=y+1", "a=z")
	r.idle(s)
}

// What was taken leaves room, and the places of what waits stay right.
func TestQueueIsCompacted(t *testing.T) {
	t.Parallel()
	const n = 5000
	r := newRig(t, func(o *Options) { o.Buffer = n })
	s := r.subscribe(whole)
	r.states.wait(t, true)
	for i := range n {
		r.m.set("g", fmt.Sprint("k", i), "1")
	}
	r.m.say("g", "malformed")
	for i := range 3000 {
		r.want(s, fmt.Sprintf("k%d=1", i))
	}
	if len(s.queue) > n-2500+1 || cap(s.queue) > 2*n {
		t.Fatalf("the queue holds %d items", len(s.queue))
	}
	s.hub.opt.Buffer = 1 // from here on everything is conflated
	for i := 3000; i < n; i++ {
		r.m.set("g", fmt.Sprint("k", i), "2")
	}
	r.m.say("g", "again_malformed") // in the place of the first
	for i := 3000; i < n; i++ {
		r.want(s, fmt.Sprintf("k%d=2+1", i))
	}
	r.want(s, "!again_malformed")
	r.idle(s)
	if len(s.last) != 0 || len(s.errs) != 0 {
		t.Fatalf("left over: %v %v", s.last, s.errs)
	}
}

func TestErrorsCoalesce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.subscribe(whole)
	r.states.wait(t, true)
	for i := range 100 {
		r.m.say("g", fmt.Sprint("bad", i))
	}
	r.m.set("g", "a", "1")
	r.want(s, "!bad99", "a=1")
	r.m.say("g", "bad")
	r.want(s, "!bad")
	r.idle(s)
}

// loadGate holds the n-th reading of the state: before it is read (n), or with
// what was read in hand (-n).
func (r *rig) loadGate(n int) (entered, release chan struct{}) {
	entered, release = make(chan struct{}), make(chan struct{})
	r.m.locked(func(m *memory) {
		m.loading = func(at int) {
			if at == n {
				close(entered)
				<-release
			}
		}
	})
	return entered, release
}

func TestEventsOvertakeTheReading(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for _, k := range []string{"a", "b", "c"} {
		r.m.set("g", k, "old")
	}
	entered, release := r.loadGate(-1)
	s := r.subscribe(whole)
	v, err := r.hub.View(whole)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	<-entered
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := v.Ready(ended); !errors.Is(err, context.Canceled) {
		t.Fatalf("ready: %v", err)
	}
	if err := v.Err(); v.Connected() || !errors.Is(err, errUnknown) {
		t.Fatalf("connected without a state: %v", err)
	}
	r.m.set("g", "a", "new")
	r.m.delete("g", "b")
	r.m.set("g", "d", "new")
	r.m.set("g", "e", "new")
	r.m.delete("g", "e")
	if v.Get("b") != nil || v.Get("a").Value != "new" {
		t.Fatal("the view does not show what is known")
	}
	v.All(func(e *Entry[string, string]) bool {
		if e.Deleted {
			t.Errorf("a tombstone: %+v", e)
		}
		return true
	})
	close(release)
	r.want(s, "a=new", "d=new", "e=new", "e-", "c=old")
	r.states.wait(t, true)
	r.idle(s)
	if got := r.keys(v); got != "a=new c=old d=new" {
		t.Fatal(got)
	}
	r.m.set("g", "b", "back")
	r.want(s, "b=back")
}

// keys is what a view shows, sorted.
func (r *rig) keys(v View[string, string]) string {
	var list []string
	v.All(func(e *Entry[string, string]) bool {
		list = append(list, e.Key+"="+e.Value)
		return true
	})
	slices.Sort(list)
	return strings.Join(list, " ")
}

// waitFor waits until a view shows something.
func (r *rig) waitFor(v View[string, string], want string) {
	r.Helper()
	testenv.Eventually(r, "view", func() (bool, string) { got := r.keys(v); return got == want, got })
}

func TestReconnect(t *testing.T) {
	t.Parallel()
	for name, cause := range map[string]error{"pulled": errors.New("pulled"), errDropped.Error(): nil} {
		r := newRig(t)
		r.m.set("g", "a", "1")
		r.m.set("g", "b", "1")
		s, v := r.subscribe(whole), r.view(whole)
		r.want(s, "a=1", "b=1")
		rev := v.Get("a").Rev
		refused := errors.New("refused")
		r.m.locked(func(m *memory) { m.connectErr = refused })
		r.m.cut(cause)
		_, err := s.Next(t.Context())
		var cut *Disconnected
		if !errors.As(err, &cut) || cut.Group != "g" || !strings.Contains(err.Error(), name) {
			t.Fatalf("got %v", err)
		}
		if v.Connected() {
			t.Fatal("connected")
		}
		if v.Get("a").Value != "1" {
			t.Fatal("the view does not answer any more")
		}
		r.want(s, "!refused")
		if err := v.Err(); !errors.Is(err, refused) {
			t.Fatalf("state: %v", err)
		}
		// A consumer that comes now is told that it knows nothing.
		late := r.subscribe(whole)
		r.want(late, "!refused")
		r.m.missed("g", "b", "")
		r.m.missed("g", "c", "1")
		r.m.locked(func(m *memory) { m.connectErr = nil })
		for _, s := range []*sub[string, string]{s, late} {
			for {
				u, err := s.Next(t.Context())
				if errors.Is(err, refused) {
					continue
				}
				if err != nil || u.Key != "a" || u.Rev != rev {
					t.Fatalf("got %s of %d", show(u, err), u.Rev)
				}
				break
			}
			r.want(s, "c=1", "b-")
		}
		r.waitFor(v, "a=1 c=1")
		r.states.wait(t, true, false, true)
		if v.Err() != nil || v.State().Confirmed().IsZero() {
			t.Fatalf("state: %v", v.Err())
		}
		r.hub.Close()
	}
}

// While the connection is cut, an element of the stream tells it again and
// again, but monitoring hears of it once.
func TestDisconnectIsReportedOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.m.locked(func(m *memory) { m.connectErr = errors.New("refused") })
	s := r.subscribe(whole)
	r.want(s, "!refused", "!refused", "!refused")
	r.states.wait(t, false)
	r.m.locked(func(m *memory) { m.connectErr, m.subscribeErr = nil, errors.New("no subscription") })
	for {
		if _, err := s.Next(t.Context()); strings.Contains(err.Error(), "no subscription") {
			break
		}
	}
	r.m.locked(func(m *memory) { m.subscribeErr = nil })
	r.m.set("g", "a", "1")
	for {
		if u, err := s.Next(t.Context()); err == nil {
			if show(u, nil) != "a=1" {
				t.Fatal(show(u, nil))
			}
			break
		}
	}
	r.states.wait(t, false, true)
}

func TestReset(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.m.set("g", "a", "1")
	r.m.set("g", "b", "1")
	s, v := r.subscribe(whole), r.view(whole)
	r.want(s, "a=1", "b=1")
	r.m.missed("g", "a", "")
	r.m.say("g!", "R")
	r.want(s, "a-")
	r.waitFor(v, "b=1")
	r.idle(s) // b is as it was
	r.states.wait(t, true)
	if !v.Connected() {
		t.Fatal("not connected")
	}
}

// What a consumer finds in the first complete state was there when it began; what it
// hears of afterwards came later, also if a reading tells it before its message does.
func TestWhatCameLater(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	want := func(s *sub[string, string], text string, later bool) {
		t.Helper()
		u, err := s.Next(testenv.Context(t))
		if got := show(u, err); got != text || u.Later != later {
			t.Fatalf("got %s, later %t, want %s, %t", got, u.Later, text, later)
		}
	}
	r.m.set("g", "a", "1")
	first := r.subscribe(whole)
	want(first, "a=1", false)
	r.states.wait(t, true)
	r.m.missed("g", "b", "1")
	r.m.say("g!", "R")
	want(first, "b=1", true)
	second := r.subscribe(whole)
	want(second, "a=1", false)
	want(second, "b=1", false)
	r.m.set("g", "c", "1")
	want(first, "c=1", true)
	want(second, "c=1", true)
}

// A new counter is announced before its first update: the reading that follows
// does not deliver that update twice.
func TestResetDoesNotRepeat(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.subscribe(whole)
	r.states.wait(t, true)
	entered, release := r.loadGate(2)
	r.m.say("g!", "R")
	r.m.set("g", "a", "1")
	<-entered
	close(release)
	r.m.say("g!", "R")
	testenv.Eventually(t, "readings", func() (bool, string) {
		n := r.m.load(func(m *memory) int { return m.loads })
		return n >= 3, fmt.Sprint(n)
	})
	r.m.set("g", "b", "1")
	r.want(s, "a=1", "b=1")
	r.idle(s)
}

// A reset that arrives while the state is read makes it be read again.
func TestResetWhileReading(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.m.set("g", "a", "1")
	entered, release := r.loadGate(-1)
	s := r.subscribe(whole)
	<-entered
	r.m.missed("g", "a", "")
	r.m.say("g!", "R")
	close(release)
	r.want(s, "a=1", "a-")
}

// Who comes while a reset makes the state be read again misses nothing of it.
func TestAttachWhileReadingAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.m.set("g", "a", "1")
	r.m.set("g", "b", "1")
	r.m.set("g", "c", "1")
	first := r.subscribe(whole)
	r.want(first, "a=1", "b=1", "c=1")
	entered, release := r.loadGate(2)
	r.m.say("g!", "R")
	<-entered
	s := r.subscribe(whole)
	r.m.missed("g", "c", "")
	r.m.set("g", "b", "2")
	close(release)
	state := make(map[string]string)
	testenv.Eventually(t, "state", func() (bool, string) {
		for {
			u, ok, err := s.pop()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			if state[u.Key] = u.Value; u.Deleted {
				delete(state, u.Key)
			}
		}
		return len(state) == 2 && state["a"] == "1" && state["b"] == "2", fmt.Sprint(state)
	})
	r.want(first, "b=2", "c-")
	r.idle(first)
}

// A counter that went back was lost, whether or not anybody says so.
func TestProbeFindsReset(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) { o.Heartbeat = 5 * time.Millisecond })
	r.m.set("g", "a", "1")
	s, v := r.subscribe(whole), r.view(whole)
	r.want(s, "a=1")
	for range 2 {
		before := v.State().Confirmed()
		testenv.Eventually(t, "probes", func() (bool, string) {
			now := v.State().Confirmed()
			return now.After(before), now.String()
		})
	}
	// The second came after whatever the first one made of its answer.
	if n := r.m.load(func(m *memory) int { return m.loads }); n != 1 {
		t.Errorf("the state was read %d times, and nothing had begun anew", n)
	}
	r.m.locked(func(m *memory) { clear(m.state); m.rev = 0 })
	r.want(s, "a-")
	r.m.set("g", "a", "2") // of revision 1 again
	r.want(s, "a=2")
	r.states.wait(t, true)
}

func TestProbeFails(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) { o.Heartbeat = 5 * time.Millisecond })
	r.m.set("g", "a", "1")
	s := r.subscribe(whole)
	r.want(s, "a=1")
	r.m.locked(func(m *memory) { m.silent = true })
	_, err := s.Next(t.Context())
	if !errors.Is(err, errSilent) {
		t.Fatalf("got %v", err)
	}
	r.m.locked(func(m *memory) { m.silent, m.probeErr = false, errors.New("wrong type") })
	for {
		if _, err = s.Next(t.Context()); err != nil && !errors.Is(err, errSilent) {
			break
		}
	}
	if !strings.Contains(err.Error(), "wrong type") {
		t.Fatalf("got %v", err)
	}
	r.m.locked(func(m *memory) { m.probeErr = nil })
	for err != nil {
		_, err = s.Next(t.Context())
	}
}

func TestLoadFails(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.m.set("g", "a", "1")
	r.m.set("g", "b", "1")
	r.m.locked(func(m *memory) { m.loadErr, m.bad["g/a"] = errors.New("no index"), errors.New("corrupt a") })
	s := r.subscribe(whole)
	v, err := r.hub.View(whole)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	r.want(s, "!no index")
	if v.Connected() {
		t.Fatal("connected without a state")
	}
	r.m.locked(func(m *memory) { m.loadErr = nil })
	for {
		if _, err := s.Next(t.Context()); err == nil || strings.Contains(err.Error(), "corrupt a") {
			break
		}
	}
	r.want(s, "b=1")
	if err := v.Ready(testenv.Context(t)); err != nil {
		t.Fatal(err)
	}
	if got := r.keys(v); got != "b=1" {
		t.Fatal(got)
	}
	r.m.set("g", "a", "2")
	r.want(s, "a=2")
}

func TestUnfollow(t *testing.T) {
	t.Parallel()
	r := newRig(t, beats)
	r.m.set("g", "a", "1")
	r.m.set("g", "b", "1")
	entered, release := r.loadGate(1)
	stay := r.subscribe(keyTopic("a"))
	<-entered
	gone, err := r.hub.Subscribe([]Topic{keyTopic("b"), whole})
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	gone.Close() // harmless
	close(release)
	r.want(stay, "a=1")

	// A consumer that goes while its state is read.
	entered, release = r.loadGate(2)
	gone, err = r.hub.Subscribe([]Topic{keyTopic("b")})
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	gone.Close()
	close(release)
	r.carries("g/a")
	r.m.set("g", "b", "2") // nobody follows it
	r.m.set("g", "a", "2")
	r.want(stay, "a=2")
	r.states.wait(t, true)

	// With its last topic a group ends its connection.
	stay.Close()
	testenv.Eventually(t, "connection closed", func() (bool, string) {
		n := r.m.load(func(m *memory) int { return len(m.conns) })
		return n == 0, fmt.Sprint(n)
	})
}

// beats makes the heartbeats of a rig so short that one waits for them.
func beats(o *Options) { o.Heartbeat = 20 * time.Millisecond }

// carries waits until the only connection has these channels besides that of signs of
// life.
func (r *rig) carries(channels ...string) {
	r.Helper()
	testenv.Eventually(r, "connection", func() (bool, string) {
		r.m.mu.Lock()
		defer r.m.mu.Unlock()
		for c := range r.m.conns {
			got := slices.Sorted(maps.Keys(c.channels))
			return len(r.m.conns) == 1 && slices.Equal(got, append([]string{"g!"}, channels...)), fmt.Sprint(got)
		}
		return false, "none"
	})
}

// A connection that carries what nobody follows any more is replaced, and those who
// follow the rest do not notice.
func TestLeftChannelsAreNotCarried(t *testing.T) {
	t.Parallel()
	r := newRig(t, beats)
	r.m.set("g", "a", "1")
	r.m.set("g", "b", "1")
	stay := r.subscribe(keyTopic("a"))
	r.want(stay, "a=1")
	gone := r.subscribe(keyTopic("b"))
	r.want(gone, "b=1")
	r.carries("g/a", "g/b")
	v := r.view(keyTopic("a"))
	gone.Close()
	r.carries("g/a")
	if !v.Connected() {
		t.Error("who stays is told of a disconnect")
	}
	r.m.set("g", "a", "2")
	r.want(stay, "a=2")
	r.waitFor(v, "a=2")

	// Also if the state was read anew in between.
	gone = r.subscribe(keyTopic("b"))
	r.want(gone, "b=1")
	gone.Close()
	r.m.say("g!", "R")
	r.carries("g/a")
	r.m.missed("g", "a", "3")
	again := r.subscribe(keyTopic("b"))
	r.want(again, "b=1")
	r.m.set("g", "c", "1")
	gone = r.subscribe(keyTopic("c"))
	r.want(gone, "c=1")
	gone.Close()
	r.carries("g/a", "g/b")
	r.want(stay, "a=3") // read by whatever connection took its place
	r.states.wait(t, true)
}

// A channel that is followed again before its connection is replaced begins with its
// state, like any other.
func TestFollowAgain(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.m.set("g", "a", "1")
	r.m.set("g", "b", "1")
	stay := r.subscribe(keyTopic("a"))
	r.want(stay, "a=1")
	gone := r.subscribe(keyTopic("b"))
	r.want(gone, "b=1")
	gone.Close()
	r.m.set("g", "b", "2")
	again := r.subscribe(keyTopic("b"))
	r.want(again, "b=2")
	r.m.set("g", "b", "3")
	r.m.set("g", "a", "2")
	r.want(again, "b=3")
	r.want(stay, "a=2")
	r.states.wait(t, true)
}

// Those who follow the rest are told if no other connection comes.
func TestReplacementFails(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(m *memory, failing bool){
		"connection refused": func(m *memory, failing bool) {
			if m.connectErr = nil; failing {
				m.connectErr = errors.New("connection refused")
			}
		},
		context.DeadlineExceeded.Error(): func(m *memory, failing bool) { m.unreachable = failing },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, beats)
			r.m.set("g", "a", "1")
			stay, gone := r.subscribe(keyTopic("a")), r.subscribe(keyTopic("b"))
			r.want(stay, "a=1")
			r.states.wait(t, true)
			r.m.locked(func(m *memory) { change(m, true) })
			gone.Close()
			r.want(stay, "!"+name)
			r.states.wait(t, true, false)
			r.m.locked(func(m *memory) { change(m, false) })
			for {
				u, err := stay.Next(t.Context())
				if err == nil {
					if got := show(u, err); got != "a=1" {
						t.Errorf("got %s", got)
					}
					break
				}
			}
			r.states.wait(t, true, false, true)
		})
	}
}

func TestSubscribeFailsLater(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.m.set("g", "a", "1")
	s := r.subscribe(keyTopic("a"))
	r.want(s, "a=1")
	r.m.locked(func(m *memory) { m.subscribeErr = errors.New("not allowed") })
	other := r.subscribe(keyTopic("b"))
	r.want(s, "!not allowed")
	r.want(other, "!not allowed")
}

// The server ends subscriptions when a slot moves.
func TestDropped(t *testing.T) {
	t.Parallel()
	for _, channel := range []string{"g", "g!"} {
		r := newRig(t)
		r.m.set("g", "a", "1")
		s := r.subscribe(whole)
		r.want(s, "a=1")
		r.m.mu.Lock()
		first := r.m.all[0]
		r.m.mu.Unlock()
		first.onDrop("somebody else's")
		r.m.set("g", "a", "2")
		r.want(s, "a=2")
		first.onDrop(channel)
		r.want(s, "!"+errDropped.Error(), "a=2")
	}
}

// Only the end of what is followed over the connection of now is news.
func TestDropOfWhatIsFollowed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		link    int
		channel string
		dropped bool
	}{
		{2, "g", true},
		{2, "g!", true},
		{2, "g/left", false},
		{1, "g", false},
		{3, "g!", false},
	} {
		g := newGroup(newRig(t).hub, "g")
		g.link, g.topics["g"] = 2, newTopic(g, "g")
		g.drop(c.link, c.channel)
		if got := len(g.dropped) == 1; got != c.dropped {
			t.Errorf("%+v: %t", c, got)
		}
	}
}

// What an earlier connection still has to say is old.
func TestLateMessageOfAnEarlierConnection(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.m.set("g", "a", "1")
	s, v := r.subscribe(whole), r.view(whole)
	r.want(s, "a=1")
	r.m.mu.Lock()
	first := r.m.all[0]
	r.m.mu.Unlock()
	r.m.missed("g", "a", "")
	entered, release := r.loadGate(-2)
	r.m.cut(errors.New("pulled"))
	<-entered
	first.onMessage("g", "1 a 1")
	first.onMessage("g", "0 z 1")
	first.onDrop("g")
	close(release)
	r.want(s, "!pulled", "a-")
	r.waitFor(v, "")
	first.onMessage("g", "99 y 1")
	r.m.set("g", "b", "1")
	r.want(s, "b=1")
	r.states.wait(t, true, false, true)
}

// A sign of life is no event, wherever it is published.
func TestAlive(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	heard := time.Now().Add(-time.Hour)
	r.m.locked(func(m *memory) { m.heard = heard })
	s, v := r.subscribe(whole), r.view(whole)
	if got := v.State().Heard(); !got.Equal(heard) {
		t.Fatalf("heard %s", got)
	}
	r.m.say("g", "B")
	r.m.say("g!", "B")
	if got := v.State().Heard(); time.Since(got) > time.Minute {
		t.Fatalf("heard %s", got)
	}
	r.m.set("g", "a", "1")
	r.want(s, "a=1")
	r.waitFor(v, "a=1")
}

// A group of more channels than one command takes.
func TestManyTopics(t *testing.T) {
	t.Parallel()
	r := newRig(t, beats)
	const n = 1200
	var topics []Topic
	for i := range n {
		r.m.set("g", fmt.Sprint(i), "1")
		topics = append(topics, keyTopic(fmt.Sprint(i)))
	}
	stay := r.subscribe(keyTopic("0"))
	s := r.subscribe(topics...)
	seen := make(map[string]bool)
	for range n {
		u, err := s.Next(t.Context())
		if err != nil || seen[u.Key] {
			t.Fatal(show(u, err))
		}
		seen[u.Key] = true
	}
	r.idle(s)
	s.Close()
	r.carries("g/0")
	r.want(stay, "0=1")
}

func TestContextEndsABusyConsumer(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	s := r.subscribe(whole)
	r.m.set("g", "a", "1")
	r.m.set("g", "b", "1")
	r.want(s, "a=1")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if u, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %s", show(u, err))
	}
	r.want(s, "b=1")
	waiting := make(chan error)
	ctx, cancel = context.WithCancel(t.Context())
	go func() { _, err := s.Next(ctx); waiting <- err }()
	cancel()
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestClose(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.m.set("g", "a", "1")
	s, v := r.subscribe(whole), r.view(whole)
	entered, release := r.loadGate(2)
	other, err := r.hub.View(keyTopic("a"))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	<-entered
	ready := make(chan error)
	go func() { ready <- other.Ready(t.Context()) }()
	waiting := make(chan error)
	go func() {
		for {
			if _, err := s.Next(t.Context()); err != nil {
				waiting <- err
				return
			}
		}
	}()
	closed := make(chan struct{})
	go func() { r.hub.Close(); close(closed) }()
	if err := <-waiting; !errors.Is(err, errClosed) {
		t.Fatal(err)
	}
	if err := <-ready; !errors.Is(err, errClosed) {
		t.Fatal(err)
	}
	close(release)
	<-closed
	if _, err := r.hub.Subscribe([]Topic{whole}); !errors.Is(err, errClosed) {
		t.Fatal(err)
	}
	if _, err := r.hub.View(whole); !errors.Is(err, errClosed) {
		t.Fatal(err)
	}
	if v.Get("a") == nil {
		t.Fatal("the view forgot")
	}
	if v.Connected() || !errors.Is(v.Err(), errClosed) {
		t.Fatalf("the view of a closed hub is connected: %v", v.Err())
	}
}

// Closing while the next attempt is being waited for.
func TestCloseWhileDisconnected(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.m.locked(func(m *memory) { m.connectErr = errors.New("refused") })
	s := r.subscribe(whole)
	for range 5 { // by now the pause is long
		r.want(s, "!refused")
	}
	r.hub.Close()
	testenv.Eventually(t, "closed", func() (bool, string) {
		_, err := s.Next(t.Context())
		return errors.Is(err, errClosed), fmt.Sprint(err)
	})
}

// Everything at once, for the race detector.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(o *Options) { o.Buffer, o.Heartbeat = 8, time.Millisecond })
	var stop atomic.Bool
	done := make(chan struct{})
	run := func(f func(i int)) {
		go func() {
			defer func() { done <- struct{}{} }()
			for i := 0; !stop.Load(); i++ {
				f(i)
			}
		}()
	}
	s, v := r.subscribe(whole), r.view(whole)
	run(func(i int) { r.m.set("g", fmt.Sprint("k", i%50), fmt.Sprint(i)) })
	run(func(i int) { r.m.delete("g", fmt.Sprint("k", i%50)) })
	run(func(i int) {
		r.keys(v)
		if e := v.Get(fmt.Sprint("k", i%50)); e != nil && e.Deleted {
			t.Error("a tombstone is shown")
		}
	})
	run(func(i int) {
		if s, err := r.hub.Subscribe([]Topic{keyTopic(fmt.Sprint("k", i%50))}); err == nil {
			_, _, _ = s.(*sub[string, string]).pop()
			s.Close()
		}
	})
	run(func(int) { r.m.say("g!", "R") })
	model := make(map[string]string)
	for range 20 {
		r.m.cut(errors.New("pulled"))
		for range 50 {
			u, err := s.Next(t.Context())
			if err != nil {
				continue
			}
			if model[u.Key] = u.Value; u.Deleted {
				delete(model, u.Key)
			}
		}
	}
	stop.Store(true)
	for range 5 {
		<-done
	}
	r.m.set("g", "k0", "last")
	testenv.Eventually(t, "agreement", func() (bool, string) {
		for {
			u, ok, err := s.pop()
			if !ok {
				break
			}
			if err != nil {
				continue
			}
			if model[u.Key] = u.Value; u.Deleted {
				delete(model, u.Key)
			}
		}
		r.m.mu.Lock()
		defer r.m.mu.Unlock()
		same := len(model) == len(r.m.state)
		for k, e := range r.m.state {
			seen := v.Get(e.Key)
			same = same && model[strings.TrimPrefix(k, "g/")] == e.Value && seen != nil && seen.Value == e.Value
		}
		return same, fmt.Sprintf("%v\n%v", model, r.m.state)
	})
}

// A view of a group that is connected already knows nothing before it is
// complete, and one that is closed nothing any more.
func TestViewIsConnectedWhileItIsKept(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.m.set("g", "a", "1")
	s := r.subscribe(keyTopic("a"))
	r.want(s, "a=1")
	r.states.wait(t, true)
	entered, release := r.loadGate(2)
	v, err := r.hub.View(whole)
	if err != nil {
		t.Fatal(err)
	}
	<-entered
	if err := v.Err(); v.Connected() || !errors.Is(err, errUnknown) {
		t.Fatalf("connected without a state: %v", err)
	}
	close(release)
	if err := v.Ready(testenv.Context(t)); err != nil {
		t.Fatal(err)
	}
	if err := v.Err(); !v.Connected() || err != nil {
		t.Fatalf("not connected: %v", err)
	}
	v.Close()
	if err := v.Err(); v.Connected() || !errors.Is(err, errEnded) {
		t.Fatalf("connected after Close: %v", err)
	}
	s.Close() // and with it the group
	testenv.Eventually(t, "the group's end", func() (bool, string) {
		return !v.State().Connected() && errors.Is(v.State().Err(), errEnded), fmt.Sprint(v.State().Err())
	})
	if v.Get("a") == nil {
		t.Fatal("the view forgot")
	}
}

// The reading may be ahead of the messages: while it is repeated, what comes
// late is not taken for news.
func TestReadingAheadOfMessages(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.m.missed("g", "a", "1")
	r.m.missed("g", "a", "2")
	s := r.subscribe(whole)
	r.want(s, "a=2")
	entered, release := r.loadGate(2)
	r.m.say("g!", "R")
	<-entered
	r.m.say("g", "1 a 1")
	r.m.say("g", "2 a 2")
	r.m.set("g", "b", "1")
	close(release)
	r.want(s, "b=1")
	r.m.set("g", "a", "3")
	r.want(s, "a=3")
	r.idle(s)
}

// What a message told while the state was read after a disconnect, the reading does not
// tell again.
func TestMessageAheadOfReading(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.m.set("g", "a", "1")
	s := r.subscribe(whole)
	r.want(s, "a=1")
	entered, release := r.loadGate(2)
	r.m.cut(errors.New("cut"))
	r.want(s, "!cut")
	<-entered
	r.m.set("g", "b", "1")
	r.want(s, "b=1")
	close(release)
	r.want(s, "a=1")
	r.m.set("g", "b", "2")
	r.want(s, "b=2")
	r.idle(s)
}

// Where revisions did go back, nothing published since is lost.
func TestRevisionsGoBack(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for i := range 9 {
		r.m.set("g", "a", fmt.Sprint(i))
	}
	r.m.set("g", "b", "1")
	s, v := r.subscribe(whole), r.view(whole)
	r.want(s, "a=8", "b=1")
	r.m.locked(func(m *memory) { m.rev = 0; clear(m.state) })
	r.m.missed("g", "a", "new")
	r.m.missed("g", "b", "new")
	entered, release := r.loadGate(-2)
	r.m.say("g!", "R")
	<-entered
	r.m.set("g", "a", "newer")
	r.m.delete("g", "b")
	close(release)
	r.want(s, "a=newer", "b-")
	r.waitFor(v, "a=newer")
	r.idle(s)
}
