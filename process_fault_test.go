package fulloncache_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// member is what a real process is told that registers itself.
type member struct {
	URL      string
	Process  fulloncache.Process
	Interval time.Duration
}

const memberVariable = "FULLON_CACHE_PROCESS_MEMBER"

// run registers, tells its id, and works until it is told to end.
func (m member) run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	c, err := fulloncache.New(ctx, fulloncache.Config{URL: m.URL, Logger: quiet, ProcessHeartbeat: m.Interval})
	if err != nil {
		return err
	}
	defer c.Close()
	h, err := c.Processes.Register(ctx, m.Process)
	if err != nil {
		return err
	}
	fmt.Println(h.ID())
	work := time.NewTicker(20 * time.Millisecond)
	defer work.Stop()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return h.Stop(context.WithoutCancel(ctx), "told to")
		case <-work.C:
			if err := h.Update(ctx, fulloncache.ProcessProcessing, fmt.Sprint("round ", n), nil); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}

// spawned is such a process.
type spawned struct {
	member
	id  string
	cmd *exec.Cmd
}

// start starts processes, all at once.
func start(t testing.TB, members ...member) []*spawned {
	t.Helper()
	list := make([]*spawned, len(members))
	lines := make([]*bufio.Reader, len(members))
	for i, m := range members {
		s := &spawned{member: m, cmd: testenv.Command(t, memberVariable, m)}
		s.cmd.Stderr = os.Stderr
		out, err := s.cmd.StdoutPipe()
		must(t, err)
		must(t, s.cmd.Start())
		t.Cleanup(s.kill)
		list[i], lines[i] = s, bufio.NewReader(out)
	}
	for i, s := range list {
		line, err := lines[i].ReadString('\n')
		if err != nil {
			t.Fatalf("member %s: %v", s.Process.Component, err)
		}
		s.id = strings.TrimSpace(line)
	}
	return list
}

func (s *spawned) signal(t testing.TB, what syscall.Signal) {
	t.Helper()
	must(t, s.cmd.Process.Signal(what))
}

// kill ends it as kill -9 does.
func (s *spawned) kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	_ = s.cmd.Wait()         // by a signal
}

// stop tells it to end and waits until it has.
func (s *spawned) stop(t testing.TB) {
	t.Helper()
	s.signal(t, syscall.SIGTERM)
	if err := s.cmd.Wait(); err != nil {
		t.Errorf("a member ended with %v", err)
	}
}

// told collects what a watch tells, by process id.
type told struct {
	*pulled[fulloncache.ProcessEvent]
	changes map[string][]fulloncache.ProcessEvent
	cuts    int
}

func tell(t testing.TB, c *fulloncache.Client) *told {
	return &told{pulled: watchProcesses(t, c), changes: make(map[string][]fulloncache.ProcessEvent)}
}

// await reads until the last event of each process is the one wanted.
func (w *told) await(want map[string]fulloncache.ProcessChange) {
	w.t.Helper()
	for {
		missing := ""
		for id, change := range want {
			if got := w.changes[id]; len(got) == 0 || got[len(got)-1].Change != change {
				missing = id
			}
		}
		if missing == "" {
			return
		}
		e := w.next()
		if isCut(e.err) {
			w.cuts++
			continue
		}
		must(w.t, e.err)
		w.changes[e.v.Process.ID] = append(w.changes[e.v.Process.ID], e.v)
	}
}

// count says how often something was told of a process.
func (w *told) count(id string, change fulloncache.ProcessChange) (n int) {
	for _, e := range w.changes[id] {
		if e.Change == change {
			n++
		}
	}
	return n
}

// reports takes the queue of global errors apart: how often each id is named.
func reports(ctx context.Context, t testing.TB, c *fulloncache.Client, ids ...string) map[string]int {
	t.Helper()
	all := make(map[string]int)
	for e, err := range c.Base.GlobalErrors(ctx) {
		must(t, err)
		known := false
		for _, id := range ids {
			if strings.Contains(e.Message, id) {
				all[id]++
				known = true
			}
		}
		if !known {
			t.Errorf("global error %+v", e)
		}
	}
	return all
}

// Half of all processes crash at once, again and again. P9: each is reported dead,
// in time and once, by whoever looks; no other is.
func TestFaultHalfOfTheProcessesCrash(t *testing.T) {
	t.Parallel()
	rounds, size, interval := 1, 6, 1200*time.Millisecond
	if testenv.Soak() {
		rounds, size, interval = 5, 12, 3*time.Second
	}
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c := open(t, fulloncache.Config{URL: srv.URL(), ProcessHeartbeat: interval})
	w := tell(t, open(t, fulloncache.Config{URL: srv.URL()}))
	members := make([]member, size)
	for i := range members {
		types := fulloncache.ProcessTypes()
		each := interval
		if i%2 == 1 {
			each *= 3 // who lives on
		}
		members[i] = member{URL: srv.URL(), Interval: each, Process: fulloncache.Process{Type: types[i%len(types)], Component: fmt.Sprint("member_", i)}}
	}
	running := start(t, members...)
	var ids []string // all there ever were
	inTime, killed := 0, 0
	dead := make(map[string]bool)
	for range rounds {
		want := make(map[string]fulloncache.ProcessChange)
		for _, s := range running {
			want[s.id] = fulloncache.ChangeStarted
			if !slices.Contains(ids, s.id) {
				ids = append(ids, s.id)
			}
		}
		w.await(want)
		// Who watches must have been in touch for an interval, and so has everybody
		// beaten once.
		var victims, others []*spawned
		for _, s := range running {
			if s.Interval > interval {
				others = append(others, s)
				continue
			}
			victims = append(victims, s)
			testenv.Eventually(t, "a beat", func() (bool, string) {
				p, err := c.Processes.Get(ctx, s.Process.Type, s.id)
				return err == nil && p.Heartbeat.Sub(p.Started) > interval, fmt.Sprint(p, err)
			})
		}
		for _, s := range victims {
			s.kill()
			want[s.id] = fulloncache.ChangeDied
			dead[s.id] = true
		}
		killed += len(victims)
		w.await(want)
		for _, s := range victims {
			p, err := c.Processes.Get(ctx, s.Process.Type, s.id)
			must(t, err)
			if p.Alive || !p.Stale() || p.Died.IsZero() {
				t.Errorf("dead process %+v", p)
			}
			// Its last heartbeat came before it was killed; both by the server's clock.
			if p.Died.Sub(p.Heartbeat) <= 2*interval {
				inTime++
			}
			if n := w.count(s.id, fulloncache.ChangeDied); n != 1 {
				t.Errorf("a death was told %d times", n)
			}
			_, err = c.Processes.Component(ctx, s.Process.Type, s.Process.Component)
			wantErr(t, err, fulloncache.ErrNotFound)
		}
		health, err := c.Processes.SystemHealth(ctx)
		must(t, err)
		stale := make(map[string]bool)
		for _, p := range health.Stale {
			stale[p.ID] = true
		}
		if health.Healthy || !maps.Equal(stale, dead) || health.Alive != len(others) {
			t.Errorf("health %+v, dead %v", health, dead)
		}
		for _, s := range others {
			p, err := c.Processes.Component(ctx, s.Process.Type, s.Process.Component)
			must(t, err)
			if p.ID != s.id || !p.Alive {
				t.Errorf("living process %+v", p)
			}
		}
		testenv.Eventually(t, "reports", func() (bool, string) {
			got := reports(ctx, t, c, ids...)
			return len(got) == len(dead), fmt.Sprint(got)
		})
		// Others take their places: the newest is found.
		var again []member
		for _, s := range victims {
			again = append(again, s.member)
		}
		started := start(t, again...)
		for _, s := range started {
			p, err := c.Processes.Component(ctx, s.Process.Type, s.Process.Component)
			must(t, err)
			if p.ID != s.id {
				t.Errorf("process %+v, want %s", p, s.id)
			}
		}
		running = append(others, started...)
	}
	for _, s := range running {
		s.stop(t)
		ids = append(ids, s.id)
		w.await(map[string]fulloncache.ProcessChange{s.id: fulloncache.ChangeStopped})
		if w.count(s.id, fulloncache.ChangeDied) != 0 {
			t.Errorf("a living process was told as dead: %+v", w.changes[s.id])
		}
	}
	for id, n := range reports(ctx, t, c, ids...) {
		if n != 1 || !dead[id] {
			t.Errorf("%d reports of %s, dead: %t", n, id, dead[id])
		}
	}
	// A busy machine only makes it later.
	if t.Logf("%d of %d deaths within two intervals", inTime, killed); 2*inTime < killed {
		t.Error("deaths are told late")
	}
	n, err := c.Processes.CleanupStale(ctx, 0)
	must(t, err)
	if n != len(dead)+len(running) {
		t.Errorf("%d forgotten, want %d dead and %d stopped", n, len(dead), len(running))
	}
	health, err := c.Processes.SystemHealth(ctx)
	must(t, err)
	if !health.Healthy || health.Total != 0 {
		t.Errorf("health %+v", health)
	}
}

// A process that was frozen for too long is dead; once it goes on, it lives again.
func TestFaultFrozenProcess(t *testing.T) {
	t.Parallel()
	rounds := 1
	if testenv.Soak() {
		rounds = 5
	}
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c := open(t, fulloncache.Config{URL: srv.URL()})
	w := tell(t, open(t, fulloncache.Config{URL: srv.URL()}))
	s := start(t, member{URL: srv.URL(), Interval: beatEvery, Process: botProcess("bot_1")})[0]
	w.await(map[string]fulloncache.ProcessChange{s.id: fulloncache.ChangeStarted})
	for range rounds {
		s.signal(t, syscall.SIGSTOP)
		w.await(map[string]fulloncache.ProcessChange{s.id: fulloncache.ChangeDied})
		p, err := c.Processes.Get(ctx, "bot", s.id)
		must(t, err)
		if p.Alive {
			t.Errorf("frozen process %+v", p)
		}
		s.signal(t, syscall.SIGCONT)
		w.await(map[string]fulloncache.ProcessChange{s.id: fulloncache.ChangeStarted})
		p, err = c.Processes.Component(ctx, "bot", "bot_1")
		must(t, err)
		if !p.Alive || !p.Died.IsZero() || p.ID != s.id {
			t.Errorf("process %+v", p)
		}
	}
	s.stop(t)
	w.await(map[string]fulloncache.ProcessChange{s.id: fulloncache.ChangeStopped})
	if n := reports(ctx, t, c, s.id)[s.id]; n != rounds {
		t.Errorf("%d reports of %d deaths", n, rounds)
	}
}

// faultyProcesses are processes of one server, each with a client of its own.
type faultyProcesses struct {
	*testing.T
	ctx     context.Context
	handles []*fulloncache.ProcessHandle
	clients []*fulloncache.Client
	seen    []*events
}

func newFaultyProcesses(t *testing.T, srv *testenv.Server, intervals ...time.Duration) *faultyProcesses {
	t.Helper()
	f := &faultyProcesses{T: t, ctx: testenv.Context(t)}
	for i, interval := range intervals {
		seen := &events{}
		c := open(t, fulloncache.Config{
			URL: srv.URL(), ProcessHeartbeat: interval, SocketTimeout: time.Second, BreakerCooldown: 20 * time.Millisecond,
			Hooks: []fulloncache.Hooks{seen.hook()},
		})
		f.clients, f.seen = append(f.clients, c), append(f.seen, seen)
		f.handles = append(f.handles, register(t, c, botProcess(fmt.Sprint("bot_", i))))
	}
	return f
}

// started is what a watch tells of living processes.
func (f *faultyProcesses) started(handles ...*fulloncache.ProcessHandle) map[string]fulloncache.ProcessChange {
	want := make(map[string]fulloncache.ProcessChange)
	for _, h := range handles {
		want[h.ID()] = fulloncache.ChangeStarted
	}
	return want
}

// silent waits until each process knows that it cannot tell that it is alive.
func (f *faultyProcesses) silent(handles ...*fulloncache.ProcessHandle) {
	f.Helper()
	for _, h := range handles {
		testenv.Eventually(f, "an error", func() (bool, string) {
			return errors.Is(h.Err(), fulloncache.ErrUnavailable), fmt.Sprint(h.Err())
		})
	}
}

// heard waits until each process is known to live, and knows it.
func (f *faultyProcesses) heard(c *fulloncache.Client, handles ...*fulloncache.ProcessHandle) {
	f.Helper()
	for _, h := range handles {
		testenv.Eventually(f, "alive", func() (bool, string) {
			p, err := c.Processes.Get(f.ctx, "bot", h.ID())
			return h.Err() == nil && err == nil && p.Alive, fmt.Sprint(h.Err(), p, err)
		})
	}
}

// The server is restarted without data, and half of the processes crash meanwhile:
// the others register themselves again, and who watches learns who is missing.
func TestFaultProcessesServerRestartsEmpty(t *testing.T) {
	t.Parallel()
	rounds := 1
	if testenv.Soak() {
		rounds = 4
	}
	for range rounds {
		srv := testenv.NewRedis(t)
		f := newFaultyProcesses(t, srv, beatEvery, beatEvery, 2*beatEvery, 2*beatEvery)
		watcher := open(t, fulloncache.Config{URL: srv.URL(), FeedHeartbeat: heartbeat, SocketTimeout: time.Second, BreakerCooldown: 20 * time.Millisecond})
		w := tell(t, watcher)
		w.await(f.started(f.handles...))
		srv.Kill()
		f.silent(f.handles...)
		dead, alive := f.handles[:2], f.handles[2:]
		for _, c := range f.clients[:2] {
			c.Close()
		}
		srv.Restart(t)
		want := f.started(alive...)
		for _, h := range dead {
			want[h.ID()] = fulloncache.ChangeDied
		}
		w.await(want)
		f.heard(watcher, alive...)
		for i, h := range alive {
			if w.count(h.ID(), fulloncache.ChangeDied) != 0 {
				t.Errorf("a living process was told as dead: %+v", w.changes[h.ID()])
			}
			ev := f.seen[2+i]
			if ev.count(fulloncache.EventHeartbeatLost) == 0 || ev.count(fulloncache.EventHeartbeatRestored) == 0 {
				t.Error("the hooks were not told")
			}
		}
		if w.cuts == 0 {
			t.Error("the watch did not tell of the disconnect")
		}
		if got := reports(f.ctx, t, watcher); len(got) != 0 {
			t.Errorf("reports %v", got)
		}
	}
}

// A server that was frozen for long, with all its data, makes nobody dead.
func TestFaultProcessesServerFrozen(t *testing.T) {
	t.Parallel()
	interval := 1200 * time.Millisecond
	if testenv.Soak() {
		interval = 3 * time.Second
	}
	srv := testenv.NewRedis(t)
	f := newFaultyProcesses(t, srv, interval, interval, interval, interval)
	watcher := open(t, fulloncache.Config{URL: srv.URL(), FeedHeartbeat: heartbeat, SocketTimeout: time.Second, BreakerCooldown: 20 * time.Millisecond})
	w := tell(t, watcher)
	w.await(f.started(f.handles...))
	srv.Freeze(t)
	longEnough := time.After(2 * interval)
	f.silent(f.handles...)
	<-longEnough
	srv.Thaw(t)
	f.heard(watcher, f.handles...)
	// Everybody beats again and again.
	for _, h := range f.handles {
		was, err := watcher.Processes.Get(f.ctx, "bot", h.ID())
		must(t, err)
		becomes(t, watcher, h, "bot", "beats", func(p fulloncache.Process) bool { return p.Heartbeat.After(was.Heartbeat) })
		for r, err := range watcher.Processes.History(f.ctx, "bot", was.Component, 100) {
			must(t, err)
			if r.Change == fulloncache.ChangeDied {
				t.Errorf("record %+v", r)
			}
		}
	}
	if got := reports(f.ctx, t, watcher); len(got) != 0 {
		t.Errorf("reports %v", got)
	}
	must(t, f.handles[0].Stop(f.ctx, ""))
	w.await(map[string]fulloncache.ProcessChange{f.handles[0].ID(): fulloncache.ChangeStopped})
	for id, changes := range w.changes {
		if w.count(id, fulloncache.ChangeDied) != 0 {
			t.Errorf("told of a living process: %+v", changes)
		}
	}
}

// Who watches is cut off while one stops, one dies and one starts: all is told.
func TestFaultProcessWatchCutOff(t *testing.T) {
	t.Parallel()
	rounds := 1
	if testenv.Soak() {
		rounds = 4
	}
	for range rounds {
		srv := testenv.NewRedis(t)
		proxy := testenv.NewProxy(t, srv.Addr())
		f := newFaultyProcesses(t, srv, seldom, beatEvery, seldom)
		watcher := open(t, fulloncache.Config{URL: proxy.URL(), FeedHeartbeat: heartbeat, SocketTimeout: time.Second, BreakerCooldown: 20 * time.Millisecond})
		w := tell(t, watcher)
		w.await(f.started(f.handles...))
		proxy.Cut()
		for w.cuts == 0 {
			if e := w.next(); isCut(e.err) {
				w.cuts++
			}
		}
		must(t, f.handles[0].Stop(f.ctx, ""))
		f.clients[1].Close()
		fresh := register(t, f.clients[2], botProcess("bot_3"))
		short := register(t, f.clients[2], botProcess("bot_4")) // comes and goes
		must(t, short.Stop(f.ctx, ""))
		proxy.Restore(t)
		want := f.started(f.handles[2], fresh)
		want[f.handles[0].ID()], want[f.handles[1].ID()] = fulloncache.ChangeStopped, fulloncache.ChangeDied
		want[short.ID()] = fulloncache.ChangeStopped
		w.await(want)
		for id, changes := range w.changes {
			if n := len(changes); n > 2 {
				t.Errorf("%s was told %d times: %+v", id, n, changes)
			}
		}
	}
}

// A process that is cut off knows it by the clock, before any call has failed.
func TestFaultProcessKnowsThatItIsSilent(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	proxy := testenv.NewProxy(t, srv.Addr())
	var seen events
	c := open(t, fulloncache.Config{URL: proxy.URL(), ProcessHeartbeat: 200 * time.Millisecond, SocketTimeout: time.Second, Hooks: []fulloncache.Hooks{seen.hook()}})
	h := register(t, c, botProcess("bot_1"))
	proxy.Stall()
	testenv.Eventually(t, "silence", func() (bool, string) {
		err := h.Err()
		return err != nil && strings.Contains(err.Error(), "counts as dead") && errors.Is(err, fulloncache.ErrUnavailable), fmt.Sprint(err)
	})
	must(t, h.Update(ctx, fulloncache.ProcessRunning, "later", nil))
	// What cannot be told at once says so, and is told later.
	wantErr(t, h.Update(ctx, fulloncache.ProcessError, "cut off", nil), fulloncache.ErrUnavailable)
	testenv.Eventually(t, "event", func() (bool, string) { return seen.count(fulloncache.EventHeartbeatLost) > 0, "" })
	proxy.Flow()
	reader := open(t, fulloncache.Config{URL: srv.URL()})
	becomes(t, reader, h, "bot", "told", func(p fulloncache.Process) bool {
		return p.Status == fulloncache.ProcessError && p.Message == "cut off" && p.Alive
	})
	testenv.Eventually(t, "no error", func() (bool, string) { return h.Err() == nil, fmt.Sprint(h.Err()) })

	// A stop that cannot be told is no stop to others; it can be tried again.
	proxy.Stall()
	wantErr(t, h.Stop(ctx, ""), fulloncache.ErrUnavailable)
	<-h.Done()
	wantErr(t, h.Err(), fulloncache.ErrUnavailable)
	proxy.Flow()
	testenv.Eventually(t, "stopped", func() (bool, string) {
		err := h.Stop(ctx, "at last")
		return err == nil, fmt.Sprint(err)
	})
	p, err := reader.Processes.Get(ctx, "bot", h.ID())
	must(t, err)
	if p.Status != fulloncache.ProcessStopped || p.Message != "at last" {
		t.Errorf("process %+v", p)
	}
	must(t, h.Err())
}

// A watch that begins while the server is down says so and waits.
func TestFaultProcessWatchBeginsWithoutServer(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	cfg := fulloncache.Config{URL: srv.URL(), SocketTimeout: time.Second, BreakerCooldown: 20 * time.Millisecond}
	c, closing := open(t, cfg), open(t, cfg)
	srv.Kill()
	_, err := c.Processes.Register(ctx, botProcess("bot_1"))
	wantErr(t, err, fulloncache.ErrUnavailable)
	_, err = c.Processes.SystemHealth(ctx)
	wantErr(t, err, fulloncache.ErrUnavailable)
	if h, _ := c.Processes.SystemHealth(ctx); h.Healthy {
		t.Errorf("health %+v", h)
	}
	_, err = c.Processes.Component(ctx, "bot", "bot_1")
	wantErr(t, err, fulloncache.ErrUnavailable)
	_, err = c.Processes.CleanupStale(ctx, 0)
	wantErr(t, err, fulloncache.ErrUnavailable)
	w, ended, closed := tell(t, c), watchProcesses(t, c), watchProcesses(t, closing)
	for _, w := range []*pulled[fulloncache.ProcessEvent]{w.pulled, ended, closed} {
		wantErr(t, w.next().err, fulloncache.ErrUnavailable)
	}
	ended.cancel()
	ended.wantEnd()
	closing.Close()
	wantErr(t, closed.next().err, fulloncache.ErrClosed)
	closed.wantEnd()
	for range closing.Processes.Watch(ctx) {
		break
	}
	srv.Restart(t)
	var h *fulloncache.ProcessHandle
	testenv.Eventually(t, "register", func() (bool, string) {
		h, err = c.Processes.Register(ctx, botProcess("bot_1"))
		return err == nil, fmt.Sprint(err)
	})
	w.await(map[string]fulloncache.ProcessChange{h.ID(): fulloncache.ChangeStarted})
}

// Without anybody who watches, another process of the type notices a death, later.
func TestProcessDeathIsNoticedByOthers(t *testing.T) {
	everyMode(t, func(s *suite) {
		s.cfg.ProcessHeartbeat = 300 * time.Millisecond
		running, crashing := s.open(), s.open()
		register(s, running, botProcess("bot_1"))
		h := register(s, crashing, botProcess("bot_2"))
		crashing.Close()
		var e fulloncache.GlobalError
		for e.Component == "" || e.Component == "bot_1" { // a busy machine
			var err error
			e, err = running.Base.PopGlobalError(s.ctx, testenv.Patience)
			must(s, err)
		}
		if e.Component != "bot_2" || !strings.Contains(e.Message, h.ID()) {
			s.Errorf("global error %+v", e)
		}
	})
}

// So does who lists processes again and again. A death that cannot be reported is
// logged.
func TestProcessDeathIsNoticedByListings(t *testing.T) {
	everyMode(t, func(s *suite) {
		s.cfg.ProcessHeartbeat = 200 * time.Millisecond
		crashing := s.open()
		h := register(s, crashing, botProcess("bot_1"))
		crashing.Close()
		var seen events
		s.cfg.Hooks = []fulloncache.Hooks{seen.hook()}
		c := s.open()
		testenv.Eventually(s, "a death", func() (bool, string) {
			health, err := c.Processes.SystemHealth(s.ctx)
			must(s, err)
			if len(health.Stale) == 1 {
				_, err := c.Processes.Component(s.ctx, "bot", "bot_1")
				wantErr(s, err, fulloncache.ErrNotFound)
			}
			return seen.count(fulloncache.EventProcessDied) == 1, fmt.Sprintf("%+v", health)
		})
		if e := seen.of(fulloncache.EventProcessDied)[0]; !strings.Contains(e.Subject, h.ID()) || !strings.Contains(e.Err.Error(), "died") {
			s.Errorf("event %+v", e)
		}
	})
}

// A death that nobody has noticed is reported when it is cleaned up, by a client
// that has just come.
func TestProcessCleanupReportsDeaths(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		s.cfg.ProcessHeartbeat = 200 * time.Millisecond
		crashing := s.open()
		h := register(s, crashing, botProcess("bot_1"))
		crashing.Close()
		becomes(s, c, h, "bot", "stale", func(p fulloncache.Process) bool { return p.Stale() })
		n, err := s.open().Processes.CleanupStale(s.ctx, 0)
		must(s, err)
		if got := reports(s.ctx, s, c, h.ID()); n != 1 || got[h.ID()] != 1 {
			s.Errorf("%d forgotten, reports %v", n, got)
		}
	})
}
