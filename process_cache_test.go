package fulloncache_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// beatEvery is the interval of tests that wait for deaths: a busy machine must not
// make dead who lives.
const beatEvery = time.Second

// seldom is the interval of who must not die.
const seldom = 20 * time.Second

func botProcess(component string) fulloncache.Process {
	return fulloncache.Process{Type: fulloncache.ProcessBot, Component: component}
}

func register(t testing.TB, c *fulloncache.Client, p fulloncache.Process) *fulloncache.ProcessHandle {
	t.Helper()
	h, err := c.Processes.Register(testenv.Context(t), p)
	must(t, err)
	return h
}

// processes reads a listing in which everything can be read.
func processes(t testing.TB, list iter.Seq2[fulloncache.Process, error]) (all []fulloncache.Process) {
	t.Helper()
	for p, err := range list {
		must(t, err)
		all = append(all, p)
	}
	return all
}

// components are those of a listing, sorted.
func components(t testing.TB, list iter.Seq2[fulloncache.Process, error]) (names []string) {
	t.Helper()
	for _, p := range processes(t, list) {
		names = append(names, p.Component)
	}
	slices.Sort(names)
	return names
}

func wantNames(t testing.TB, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// becomes waits until a process is as told.
func becomes(t testing.TB, c *fulloncache.Client, h *fulloncache.ProcessHandle, kind fulloncache.ProcessType, what string, is func(p fulloncache.Process) bool) (p fulloncache.Process) {
	t.Helper()
	testenv.Eventually(t, what, func() (bool, string) {
		var err error
		p, err = c.Processes.Get(testenv.Context(t), kind, h.ID())
		return err == nil && is(p), fmt.Sprintf("%+v, %v", p, err)
	})
	return p
}

func TestProcessRegisterUpdateStop(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		other := s.open()
		before := time.Now()
		h, err := c.Processes.Register(s.ctx, fulloncache.Process{
			Type: fulloncache.ProcessTick, Component: "kraken", Message: "connecting", Params: map[string]string{"symbols": "3", "url": "wss://x"},
			PID: 7, Host: "moon",
		})
		must(s, err)
		p, err := other.Processes.Get(s.ctx, fulloncache.ProcessTick, h.ID())
		must(s, err)
		if p.Type != fulloncache.ProcessTick || p.Component != "kraken" || p.ID != h.ID() || p.Status != fulloncache.ProcessStarting ||
			p.Message != "connecting" || p.Params["symbols"] != "3" || p.Params["url"] != "wss://x" || p.Host != "moon" || p.PID != 7 ||
			p.Interval != 15*time.Second || !p.Alive || p.Stale() || p.Age > time.Minute || !p.Died.IsZero() {
			s.Fatalf("process %+v", p)
		}
		for _, at := range []time.Time{p.Started, p.Updated, p.Heartbeat} {
			if at.Before(before.Add(-time.Minute)) || time.Since(at) > time.Minute {
				s.Errorf("time %s", at)
			}
		}
		if h.Err() != nil {
			s.Error(h.Err())
		}

		// What was quiet is told at once, not with the next heartbeat.
		must(s, h.Update(s.ctx, fulloncache.ProcessRunning, "", map[string]string{"symbols": "4"}))
		p = becomes(s, other, h, p.Type, "running", func(p fulloncache.Process) bool { return p.Status == fulloncache.ProcessRunning })
		if p.Message != "" || p.Params["symbols"] != "4" || p.Params["url"] != "wss://x" || !p.Updated.After(p.Started) {
			s.Errorf("process %+v", p)
		}
		// An error is told before Update returns, and so is a stop.
		must(s, h.Update(s.ctx, fulloncache.ProcessError, "no answer", nil))
		p, err = other.Processes.Get(s.ctx, p.Type, h.ID())
		must(s, err)
		if p.Status != fulloncache.ProcessError || p.Message != "no answer" || !p.Alive {
			s.Errorf("process %+v", p)
		}
		must(s, h.Update(s.ctx, "", "still none", nil)) // coalesced: the status stays
		must(s, h.Stop(s.ctx, "done"))
		p, err = other.Processes.Get(s.ctx, p.Type, h.ID())
		must(s, err)
		if p.Status != fulloncache.ProcessStopped || p.Message != "done" || p.Alive || p.Stale() || p.Params["symbols"] != "4" {
			s.Errorf("process %+v", p)
		}
		<-h.Done()
		must(s, h.Stop(s.ctx, "")) // again
		must(s, h.Err())
		wantErr(s, h.Update(s.ctx, fulloncache.ProcessRunning, "", nil), fulloncache.ErrInvalid, "was stopped")

		var changes []fulloncache.ProcessChange
		for r, err := range other.Processes.History(s.ctx, fulloncache.ProcessTick, "kraken", 100) {
			must(s, err)
			if r.ID != h.ID() || r.Host != "moon" || r.PID != 7 || r.Time.IsZero() {
				s.Errorf("record %+v", r)
			}
			changes = append(changes, r.Change)
		}
		if want := []fulloncache.ProcessChange{"stopped", "changed", "changed", "started"}; !slices.Equal(changes, want) {
			s.Errorf("history %v", changes)
		}

		// Stopped by an update, by a process that says nothing of itself.
		h = register(s, c, botProcess("bot_1"))
		must(s, h.Update(s.ctx, fulloncache.ProcessStopped, "bye", map[string]string{"a": "b"}))
		p, err = other.Processes.Get(s.ctx, fulloncache.ProcessBot, h.ID())
		must(s, err)
		if p.Status != fulloncache.ProcessStopped || p.Message != "bye" || p.Params["a"] != "b" || p.Host == "" || p.PID == 0 {
			s.Errorf("process %+v", p)
		}
		_, err = c.Processes.Get(s.ctx, fulloncache.ProcessBot, "nobody")
		wantErr(s, err, fulloncache.ErrNotFound, "process bot nobody")
	})
}

func TestProcessListings(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		quick := botProcess("bot_1")
		quick.Interval = beatEvery
		one := register(s, c, quick)
		two := register(s, c, botProcess("bot_2"))
		tick := register(s, c, fulloncache.Process{Type: fulloncache.ProcessTick, Component: "kraken"})
		other := s.open().Processes
		all := fulloncache.ProcessFilter{}
		wantNames(s, components(s, other.Active(s.ctx, all)), "bot_1", "bot_2", "kraken")
		must(s, two.Stop(s.ctx, ""))
		wantNames(s, components(s, other.Active(s.ctx, all)), "bot_1", "kraken")
		wantNames(s, components(s, other.List(s.ctx, all)), "bot_1", "bot_2", "kraken")
		wantNames(s, components(s, other.List(s.ctx, fulloncache.ProcessFilter{Type: fulloncache.ProcessBot})), "bot_1", "bot_2")
		wantNames(s, components(s, other.Active(s.ctx, fulloncache.ProcessFilter{Component: "kraken", Since: time.Minute})), "kraken")
		wantNames(s, components(s, other.Active(s.ctx, fulloncache.ProcessFilter{Type: fulloncache.ProcessCrawler})))
		testenv.Eventually(s, "an age", func() (bool, string) {
			p, err := other.Get(s.ctx, fulloncache.ProcessTick, tick.ID())
			return err == nil && p.Age > 5*time.Millisecond, fmt.Sprint(p.Age, err)
		})
		wantNames(s, components(s, other.Active(s.ctx, fulloncache.ProcessFilter{Type: fulloncache.ProcessTick, Since: time.Microsecond})))
		for range other.List(s.ctx, all) {
			break // a loop may end early
		}

		h, err := other.SystemHealth(s.ctx)
		must(s, err)
		if !h.Healthy || h.Total != 3 || h.Alive != 2 || len(h.Stale)+len(h.Failed) != 0 || time.Since(h.Time) > time.Minute ||
			!maps.Equal(h.Types, map[fulloncache.ProcessType]int{"bot": 2, "tick": 1}) ||
			!maps.Equal(h.Statuses, map[fulloncache.ProcessStatus]int{"starting": 2, "stopped": 1}) {
			s.Errorf("health %+v", h)
		}
		must(s, one.Update(s.ctx, fulloncache.ProcessError, "lost", nil))
		h, err = other.SystemHealth(s.ctx)
		must(s, err)
		if h.Healthy || len(h.Failed) != 1 || h.Failed[0].Component != "bot_1" || h.Statuses["error"] != 1 {
			s.Errorf("health %+v", h)
		}
		must(s, one.Update(s.ctx, fulloncache.ProcessRunning, "", nil))
		becomes(s, c, one, "bot", "running", func(p fulloncache.Process) bool { return p.Status == fulloncache.ProcessRunning })
		h, err = other.SystemHealth(s.ctx)
		must(s, err)
		if !h.Healthy {
			s.Errorf("health %+v", h)
		}

		n, err := other.CleanupStale(s.ctx, time.Hour)
		must(s, err)
		if n != 0 {
			s.Errorf("%d forgotten", n)
		}
		n, err = other.CleanupStale(s.ctx, 0)
		must(s, err)
		if n != 1 {
			s.Errorf("%d forgotten", n)
		}
		wantNames(s, components(s, other.List(s.ctx, all)), "bot_1", "kraken")
	})
}

// P9: stopping an old instance removed the new one's entry, both of one component
// and of one id.
func TestProcessOldInstanceDoesNotHideTheNewOne(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		other := s.open()
		newest := func(want *fulloncache.ProcessHandle) {
			s.Helper()
			p, err := other.Processes.Component(s.ctx, fulloncache.ProcessBot, "bot_1")
			must(s, err)
			if p.ID != want.ID() || !p.Alive {
				s.Fatalf("got %+v, want %s", p, want.ID())
			}
		}
		_, err := other.Processes.Component(s.ctx, fulloncache.ProcessBot, "bot_1")
		wantErr(s, err, fulloncache.ErrNotFound, "bot bot_1")
		first := register(s, c, botProcess("bot_1"))
		newest(first)
		second := register(s, s.open(), botProcess("bot_1"))
		third := register(s, s.open(), botProcess("bot_1"))
		newest(third)
		must(s, first.Stop(s.ctx, ""))
		newest(third)
		must(s, third.Stop(s.ctx, ""))
		newest(second)
		must(s, second.Stop(s.ctx, ""))
		_, err = other.Processes.Component(s.ctx, fulloncache.ProcessBot, "bot_1")
		wantErr(s, err, fulloncache.ErrNotFound)

		// The same with an id of one's own, which the restarted one takes over.
		p := botProcess("bot_2")
		p.ID, p.Interval = "b:2", beatEvery
		var seen events
		s.cfg.Hooks = []fulloncache.Hooks{seen.hook()}
		old := register(s, s.open(), p)
		p.Message = "the new one"
		fresh := register(s, other, p)
		<-old.Done()
		wantErr(s, old.Err(), fulloncache.ErrOutdated, "another instance")
		wantErr(s, old.Update(s.ctx, fulloncache.ProcessRunning, "", nil), fulloncache.ErrOutdated)
		testenv.Eventually(s, "event", func() (bool, string) { return seen.count(fulloncache.EventHeartbeatLost) == 1, "" })
		must(s, old.Stop(s.ctx, "the old one"))
		got, err := c.Processes.Get(s.ctx, fulloncache.ProcessBot, "b:2")
		must(s, err)
		if got.Message != "the new one" || !got.Alive {
			s.Errorf("process %+v", got)
		}
		must(s, fresh.Err())

		// An id is of one component.
		p.Component = "bot_3"
		_, err = c.Processes.Register(s.ctx, p)
		wantErr(s, err, fulloncache.ErrInvalid, "bot_2")
		must(s, fresh.Stop(s.ctx, ""))
		_, err = c.Processes.CleanupStale(s.ctx, 0)
		must(s, err)
		_, err = c.Processes.Register(s.ctx, p)
		must(s, err)
	})
}

// The old one may learn of it by its own stop.
func TestProcessStopOfOneThatWasReplaced(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		p := botProcess("bot_1")
		p.ID = "1"
		old := register(s, c, p)
		register(s, s.open(), p)
		must(s, old.Stop(s.ctx, ""))
		got, err := c.Processes.Get(s.ctx, fulloncache.ProcessBot, "1")
		must(s, err)
		if !got.Alive {
			s.Errorf("process %+v", got)
		}
	})
}

// P9: a process that was dead for long reported healthy. Its own client is closed
// without a stop, as by a crash.
func TestProcessThatVanishes(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		s.cfg.ProcessHeartbeat = beatEvery
		watcher := s.open()
		w := watchProcesses(s, watcher)
		crashing := s.open()
		h := register(s, crashing, botProcess("bot_1"))
		alive := register(s, watcher, fulloncache.Process{Type: fulloncache.ProcessTick, Component: "kraken", Interval: seldom})
		started := map[string]bool{}
		for range 2 {
			e := w.next()
			must(s, e.err)
			started[e.v.Process.Component] = e.v.Change == fulloncache.ChangeStarted && e.v.Process.Alive
		}
		if !started["bot_1"] || !started["kraken"] {
			s.Fatalf("started: %v", started)
		}
		// It beats: it lives for longer than its silence may last.
		first, err := c.Processes.Get(s.ctx, "bot", h.ID())
		must(s, err)
		becomes(s, c, h, "bot", "beats", func(p fulloncache.Process) bool { return p.Heartbeat.Sub(first.Heartbeat) > beatEvery })
		crashing.Close()
		wantErr(s, h.Err(), fulloncache.ErrClosed)
		wantErr(s, h.Update(s.ctx, "", "", nil), fulloncache.ErrClosed)
		wantErr(s, h.Stop(s.ctx, ""), fulloncache.ErrClosed)
		e := w.next()
		must(s, e.err)
		if e.v.Change != fulloncache.ChangeDied || e.v.Process.ID != h.ID() || e.v.Process.Alive || !e.v.Process.Stale() || e.v.Process.Age < beatEvery*3/2 {
			s.Fatalf("event %+v", e.v)
		}
		dead, err := c.Processes.Get(s.ctx, "bot", h.ID())
		must(s, err)
		if dead.Alive || !dead.Stale() || dead.Died.IsZero() || dead.Status != fulloncache.ProcessStarting {
			s.Errorf("process %+v", dead)
		}
		wantNames(s, components(s, c.Processes.Active(s.ctx, fulloncache.ProcessFilter{})), "kraken")
		health, err := c.Processes.SystemHealth(s.ctx)
		must(s, err)
		if health.Healthy || len(health.Stale) != 1 || health.Stale[0].ID != h.ID() || health.Alive != 1 {
			s.Errorf("health %+v", health)
		}
		_, err = c.Processes.Component(s.ctx, fulloncache.ProcessBot, "bot_1")
		wantErr(s, err, fulloncache.ErrNotFound)
		// Its death is in the queue once.
		ge, err := c.Base.PopGlobalError(s.ctx, testenv.Patience)
		must(s, err)
		if ge.Component != "bot_1" || !strings.Contains(ge.Message, "died") || !strings.Contains(ge.Message, h.ID()) {
			s.Errorf("global error %+v", ge)
		}
		_, err = c.Base.PopGlobalError(s.ctx, 0)
		wantErr(s, err, fulloncache.ErrNotFound)

		// P9: it is cleaned up, with all that is known of it.
		n, err := c.Processes.CleanupStale(s.ctx, 0)
		must(s, err)
		if n != 1 {
			s.Errorf("%d forgotten", n)
		}
		_, err = c.Processes.Get(s.ctx, "bot", h.ID())
		wantErr(s, err, fulloncache.ErrNotFound)
		health, err = c.Processes.SystemHealth(s.ctx)
		must(s, err)
		if !health.Healthy {
			s.Errorf("health %+v", health)
		}
		must(s, alive.Err())
		var changes []fulloncache.ProcessChange
		for r, err := range c.Processes.History(s.ctx, fulloncache.ProcessBot, "bot_1", 1) {
			must(s, err)
			changes = append(changes, r.Change)
		}
		if !slices.Equal(changes, []fulloncache.ProcessChange{"died"}) {
			s.Errorf("history %v", changes)
		}
		_, err = c.Base.PopGlobalError(s.ctx, 0)
		wantErr(s, err, fulloncache.ErrNotFound)
		w.cancel()
		w.wantEnd()
	})
}

// watchProcesses is a watch under test.
func watchProcesses(t testing.TB, c *fulloncache.Client, types ...fulloncache.ProcessType) *pulled[fulloncache.ProcessEvent] {
	return pull(t, func(ctx context.Context) iter.Seq2[fulloncache.ProcessEvent, error] {
		return c.Processes.Watch(ctx, types...)
	})
}

// wantChange reads the next event of a watch.
func wantChange(t testing.TB, w *pulled[fulloncache.ProcessEvent], change fulloncache.ProcessChange, id string) fulloncache.ProcessEvent {
	t.Helper()
	e := w.next()
	must(t, e.err)
	if e.v.Change != change || e.v.Process.ID != id {
		t.Fatalf("got %s of %s, want %s of %s", e.v.Change, e.v.Process, change, id)
	}
	return e.v
}

func TestProcessWatch(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		before := register(s, c, botProcess("before"))
		over := register(s, c, botProcess("over"))
		must(s, over.Stop(s.ctx, ""))
		reader := s.open()
		w := watchProcesses(s, reader, "bot", "crawler", "bot")
		wantChange(s, w, "started", before.ID())
		rev := int64(0)
		for i := range 5 {
			h := register(s, c, botProcess(fmt.Sprint("bot_", i)))
			e := wantChange(s, w, "started", h.ID())
			if e.Rev <= rev || e.Conflated != 0 {
				s.Errorf("event %+v after %d", e, rev)
			}
			rev = e.Rev
			register(s, c, fulloncache.Process{Type: fulloncache.ProcessTick, Component: "kraken"}) // nobody asked
			must(s, h.Update(s.ctx, fulloncache.ProcessError, "x", nil))                            // no event
			must(s, h.Stop(s.ctx, "bye"))
			if e := wantChange(s, w, "stopped", h.ID()); e.Process.Message != "bye" {
				s.Errorf("event %+v", e)
			}
		}
		crawler := register(s, c, fulloncache.Process{Type: fulloncache.ProcessCrawler, Component: "x"})
		wantChange(s, w, "started", crawler.ID())
		// An instance takes the place of another.
		p := botProcess("bot_1")
		p.ID = "mine"
		register(s, c, p)
		wantChange(s, w, "started", "mine")
		register(s, reader, p)
		wantChange(s, w, "started", "mine")
		reader.Close()
		wantErr(s, w.next().err, fulloncache.ErrClosed)
		w.wantEnd()
		wantErr(s, watchProcesses(s, reader).next().err, fulloncache.ErrClosed)
		wantErr(s, watchProcesses(s, c, "nonsense").next().err, fulloncache.ErrInvalid, "nonsense")
	})
}

// A slow consumer gets the newest event of each process.
func TestProcessWatchConflates(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		p := botProcess("bot_1")
		p.ID = "1"
		register(s, c, p)
		s.cfg.StreamBuffer = 1
		reader := s.open()
		const n = 20
		sum := 0
		for e, err := range reader.Processes.Watch(s.ctx, "bot") {
			must(s, err)
			if sum == 0 {
				for i := range n {
					p.Message = fmt.Sprint(i)
					h := register(s, c, p)
					if i == n-1 {
						must(s, h.Stop(s.ctx, ""))
					}
				}
			}
			sum += 1 + e.Conflated
			if e.Change == fulloncache.ChangeStopped {
				break
			}
		}
		if sum != n+2 {
			s.Errorf("%d events are accounted for, of %d", sum, n+2)
		}
	})
}

// P8: updates of processes at once lost each other. Many goroutines of one process
// tell different parameters, as many processes do theirs: all are kept.
func TestProcessConcurrentUpdatesLoseNothing(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		s.cfg.ProcessHeartbeat = 300 * time.Millisecond
		const members, writers, rounds = 4, 4, 50
		handles := make([]*fulloncache.ProcessHandle, members)
		for i := range handles {
			handles[i] = register(s, s.open(), botProcess(fmt.Sprint("bot_", i)))
		}
		var all sync.WaitGroup
		for i, h := range handles {
			for w := range writers {
				all.Go(func() {
					for n := range rounds {
						status := fulloncache.ProcessRunning
						if n%10 == 0 {
							status = fulloncache.ProcessError
						}
						if err := h.Update(s.ctx, status, "", map[string]string{fmt.Sprint("w", w): fmt.Sprint(i, "-", n)}); err != nil {
							s.Error(err)
						}
					}
				})
			}
		}
		all.Wait()
		for i, h := range handles {
			becomes(s, c, h, "bot", "all parameters", func(p fulloncache.Process) bool {
				ok := len(p.Params) == writers && p.Component == fmt.Sprint("bot_", i)
				for w := range writers {
					ok = ok && p.Params[fmt.Sprint("w", w)] == fmt.Sprint(i, "-", rounds-1)
				}
				return ok
			})
			testenv.Eventually(s, "no error", func() (bool, string) { return h.Err() == nil, fmt.Sprint(h.Err()) })
		}
	})
}

func TestProcessInvalid(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		for name, spoil := range map[string]func(p *fulloncache.Process){
			"process type":         func(p *fulloncache.Process) { p.Type = "cook" },
			"component is empty":   func(p *fulloncache.Process) { p.Component = "" },
			"component ":           func(p *fulloncache.Process) { p.Component = strings.Repeat("x", 10<<10) },
			"component \"a\\x00\"": func(p *fulloncache.Process) { p.Component = "a\x00" },
			"process id ":          func(p *fulloncache.Process) { p.ID = strings.Repeat("x", 10<<10) },
			"process id \"\\xff\"": func(p *fulloncache.Process) { p.ID = "\xff" },
			"process status":       func(p *fulloncache.Process) { p.Status = "asleep" },
			"status stopped":       func(p *fulloncache.Process) { p.Status = fulloncache.ProcessStopped },
			"host":                 func(p *fulloncache.Process) { p.Host = "\x00" },
			"interval 1ms":         func(p *fulloncache.Process) { p.Interval = time.Millisecond },
			"interval 2h":          func(p *fulloncache.Process) { p.Interval = 2 * time.Hour },
			"message has 20000":    func(p *fulloncache.Process) { p.Message = strings.Repeat("x", 20000) },
			"message \"\\xff\"":    func(p *fulloncache.Process) { p.Message = "\xff" },
			"parameter":            func(p *fulloncache.Process) { p.Params = map[string]string{"": "x"} },
			"params have":          func(p *fulloncache.Process) { p.Params = map[string]string{"x": strings.Repeat("x", 70000)} },
		} {
			p := botProcess("bot_1")
			spoil(&p)
			_, err := c.Processes.Register(s.ctx, p)
			wantErr(s, err, fulloncache.ErrInvalid, name)
			if len(err.Error()) > 1000 {
				s.Errorf("an error of %d bytes", len(err.Error()))
			}
		}
		wantNames(s, components(s, c.Processes.List(s.ctx, fulloncache.ProcessFilter{})))
		h := register(s, c, botProcess("bot_1"))
		must(s, h.Update(s.ctx, "", "fine", map[string]string{"a": "1"}))
		wantErr(s, h.Update(s.ctx, "asleep", "", nil), fulloncache.ErrInvalid, "asleep")
		wantErr(s, h.Update(s.ctx, "", "\xff", map[string]string{"a": "2"}), fulloncache.ErrInvalid, "message")
		wantErr(s, h.Stop(s.ctx, "\xff"), fulloncache.ErrInvalid, "message")
		p := becomes(s, c, h, "bot", "told", func(p fulloncache.Process) bool { return p.Message == "fine" })
		if p.Params["a"] != "1" || !p.Alive {
			s.Errorf("process %+v", p)
		}
		wantErr(s, h.Update(cancelled(s.ctx), fulloncache.ProcessError, "", nil), context.Canceled)

		for _, id := range []string{"", strings.Repeat("x", 10<<10)} {
			_, err := c.Processes.Get(s.ctx, "bot", id)
			wantErr(s, err, fulloncache.ErrInvalid, "process id")
			_, err = c.Processes.Component(s.ctx, "bot", id)
			wantErr(s, err, fulloncache.ErrInvalid, "component")
		}
		_, err := c.Processes.Get(s.ctx, "cook", "1")
		wantErr(s, err, fulloncache.ErrInvalid, "cook")
		for _, f := range []fulloncache.ProcessFilter{{Type: "cook"}, {Component: "\xff"}, {Since: -1}} {
			wantErr(s, firstError(c.Processes.List(s.ctx, f)), fulloncache.ErrInvalid)
		}
		wantErr(s, firstError(c.Processes.History(s.ctx, "bot", "bot_1", 0)), fulloncache.ErrInvalid, "at least 1")
		wantErr(s, firstError(c.Processes.History(s.ctx, "cook", "", 1)), fulloncache.ErrInvalid, "cook")
		_, err = c.Processes.CleanupStale(s.ctx, -1)
		wantErr(s, err, fulloncache.ErrInvalid)
	})
}

// Ids and components that hold what separates names in keys and messages.
func TestProcessOddNames(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		w := watchProcesses(s, s.open())
		for _, name := range []string{":", "a:b", "{bot}", "}{", "*", "a b", "\n", "history:x", "component:x", "rev", "due", "%3A", "日本", strings.Repeat("x", 256), `"`, "/"} {
			p := botProcess(name)
			p.ID = name
			h, err := c.Processes.Register(s.ctx, p)
			must(s, err)
			wantChange(s, w, "started", name)
			got, err := c.Processes.Component(s.ctx, "bot", name)
			must(s, err)
			if got.ID != name || got.Component != name {
				s.Errorf("process %+v", got)
			}
			must(s, h.Stop(s.ctx, ""))
			wantChange(s, w, "stopped", name)
			for r, err := range c.Processes.History(s.ctx, "bot", name, 1) {
				must(s, err)
				if r.ID != name || r.Change != "stopped" {
					s.Errorf("record %+v", r)
				}
			}
		}
		n, err := c.Processes.CleanupStale(s.ctx, 0)
		must(s, err)
		if n != 16 {
			s.Errorf("%d forgotten", n)
		}
	})
}

// A chatty process costs a few writes per interval; what it says last is told.
func TestProcessUpdatesAreCoalesced(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	ctx := testenv.Context(t)
	c := open(t, fulloncache.Config{URL: srv.URL(), ProcessHeartbeat: 2 * time.Second})
	h := register(t, c, botProcess("bot_1"))
	srv.Do(t, "CONFIG", "RESETSTAT")
	begun := time.Now()
	n := 0
	for ; time.Since(begun) < 300*time.Millisecond || n < 1000; n++ {
		must(t, h.Update(ctx, fulloncache.ProcessRunning, fmt.Sprint(n), nil))
	}
	becomes(t, c, h, "bot", "the last message", func(p fulloncache.Process) bool { return p.Message == fmt.Sprint(n-1) })
	took := time.Since(begun)
	// One ahead of its time, then one per interval; reads are scripts, too, and have
	// no HSET.
	writes := srv.Counts(t)["hset"]
	if most := 2 * (3 + int(took/(2*time.Second))); writes > most {
		t.Errorf("%d updates in %s cost %d HSETs, want at most %d", n, took, writes, most)
	}
}

// The history is capped.
func TestProcessHistoryIsCapped(t *testing.T) {
	everyMode(t, func(s *suite) {
		s.cfg.ProcessHistoryCap = 5
		c := s.open()
		for range 4 {
			must(s, register(s, c, botProcess("bot_1")).Stop(s.ctx, ""))
		}
		n := 0
		for r, err := range c.Processes.History(s.ctx, "bot", "bot_1", 1000) {
			must(s, err)
			if want := []fulloncache.ProcessChange{"stopped", "started"}[n%2]; r.Change != want {
				s.Errorf("record %d: %+v", n, r)
			}
			n++
		}
		if n != 5 {
			s.Errorf("%d records", n)
		}
	})
}

// After Clear, or a restart without data, living processes come back whole.
func TestProcessComesBackAfterClear(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		s.cfg.ProcessHeartbeat = beatEvery
		running := s.open()
		p := botProcess("bot_1")
		p.Params = map[string]string{"a": "b"}
		h := register(s, running, p)
		w := watchProcesses(s, s.open(), "bot")
		wantChange(s, w, "started", h.ID())
		was, err := c.Processes.Get(s.ctx, "bot", h.ID())
		must(s, err)
		_, err = c.Base.Clear(s.ctx)
		must(s, err)
		got := becomes(s, c, h, "bot", "it is back", func(p fulloncache.Process) bool { return p.Alive })
		if got.Params["a"] != "b" || got.PID != was.PID || !got.Started.Equal(was.Started) {
			s.Errorf("got %+v, was %+v", got, was)
		}
		must(s, h.Err())
		testenv.Eventually(s, "the component is back", func() (bool, string) {
			got, err := c.Processes.Component(s.ctx, "bot", "bot_1")
			return err == nil && got.ID == h.ID(), fmt.Sprint(got, err)
		})
		// To who watches, nothing happened; and then it stops.
		must(s, h.Stop(s.ctx, ""))
		wantChange(s, w, "stopped", h.ID())

		// A stop that finds nothing to stop is done.
		h = register(s, s.open(), botProcess("bot_2"))
		_, err = c.Base.Clear(s.ctx)
		must(s, err)
		must(s, h.Stop(s.ctx, ""))
		wantChange(s, w, "started", h.ID())
	})
}

// One that nobody hears of again after the server lost its data is told as died.
func TestProcessForgottenByTheServer(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		s.cfg.ProcessHeartbeat = beatEvery
		running := s.open()
		p := botProcess("bot_2")
		p.Interval = 3 * time.Second
		h, stays := register(s, running, botProcess("bot_1")), register(s, s.open(), p)
		w := watchProcesses(s, s.open(), "bot")
		started := []string{w.next().v.Process.ID, w.next().v.Process.ID}
		slices.Sort(started)
		want := []string{h.ID(), stays.ID()}
		slices.Sort(want)
		wantNames(s, started, want...)
		running.Close()
		_, err := c.Base.Clear(s.ctx)
		must(s, err)
		e := wantChange(s, w, "died", h.ID())
		if e.Process.Alive || e.Process.Component != "bot_1" {
			s.Errorf("event %+v", e)
		}
		becomes(s, c, stays, "bot", "it is back", func(p fulloncache.Process) bool { return p.Alive })
		must(s, stays.Stop(s.ctx, ""))
		wantChange(s, w, "stopped", stays.ID())
	})
}

func TestGlobalErrorsList(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		list := func() (all []string) {
			for e, err := range c.Base.GlobalErrors(s.ctx) {
				must(s, err)
				all = append(all, e.Component+" "+e.Message)
			}
			return all
		}
		wantNames(s, list())
		for i := range 3 {
			must(s, c.Base.PushGlobalError(s.ctx, fulloncache.GlobalError{Component: "bot", Message: fmt.Sprint(i)}))
		}
		wantNames(s, list(), "bot 0", "bot 1", "bot 2")
		for range c.Base.GlobalErrors(s.ctx) {
			break
		}
		// Listing takes nothing away.
		e, err := c.Base.PopGlobalError(s.ctx, 0)
		must(s, err)
		if e.Message != "0" {
			s.Errorf("got %+v", e)
		}
		wantNames(s, list(), "bot 1", "bot 2")
		if s.mode.admin == nil {
			return
		}
		key := s.cfg.KeyPrefix + ":global_error"
		s.do("LPUSH", key, "garbage")
		var msgs []string
		for e, err := range c.Base.GlobalErrors(s.ctx) {
			if err != nil {
				wantCorrupt(s, err, key, "")
				continue
			}
			msgs = append(msgs, e.Message)
		}
		wantNames(s, msgs, "1", "2")
		s.do("DEL", key)
		s.do("SET", key, "x")
		err = firstError(c.Base.GlobalErrors(s.ctx))
		wantCorrupt(s, err, key, "")
		if errors.Is(err, fulloncache.ErrNotFound) {
			s.Error(err)
		}
	})
}

// Who gives up waiting for its turn writes nothing; neither does a beat that comes
// after the end, nor one of a closed Client.
func TestProcessHandleEnds(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	c := open(t, fulloncache.Config{URL: testenv.Redis(t).URL(), KeyPrefix: testenv.Prefix(t)})
	p := botProcess("bot_1")
	p.Interval = time.Hour
	h := register(t, c, p)
	release := fulloncache.HoldTurn(h)
	wantErr(t, fulloncache.WriteProcess(cancelled(ctx), h), context.Canceled)
	must(t, h.Err())
	release()
	before, err := c.Processes.Get(ctx, "bot", h.ID())
	must(t, err)
	fulloncache.EndProcess(h)
	must(t, fulloncache.WriteProcess(ctx, h))
	after, err := c.Processes.Get(ctx, "bot", h.ID())
	must(t, err)
	if !after.Heartbeat.Equal(before.Heartbeat) {
		t.Errorf("it beats after its end: %+v, before %+v", after, before)
	}
	c.Close()
	late, err := fulloncache.BeginProcess(c, p)
	wantErr(t, err, fulloncache.ErrClosed)
	wantErr(t, late.Err(), fulloncache.ErrClosed)
	<-late.Done()
}
