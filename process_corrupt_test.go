package fulloncache_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// What is stored and is no process is named, by key and field, wherever it shows,
// hides no other, and never looks healthy. It is mended by the process's own next
// beat where that can tell, and cleaned up.
func TestProcessCorruptField(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		register(s, c, botProcess("other"))
		for _, damage := range []struct{ field, value string }{
			{"", "2"}, // the id of another
			{"process_type", "cook"}, {"process_type", ""}, {"process_id", ""}, {"component", ""}, {"status", "asleep"},
			{"instance", ""}, {"params", "{"}, {"pid", "x"}, {"interval", "0"}, {"interval", "soon"}, {"rev", ""},
			{"started", "yesterday"}, {"updated", ""}, {"heartbeat", "now"}, {"died", "x"},
		} {
			p := botProcess("bot_1")
			p.ID = "1"
			h := register(s, c, p)
			key := s.key("process", "bot", ":1")
			switch {
			case damage.field == "":
				s.do("HSET", key, "process_id", damage.value)
			case damage.value == "":
				s.do("HDEL", key, damage.field)
			default:
				s.do("HSET", key, damage.field, damage.value)
			}
			_, err := c.Processes.Get(s.ctx, "bot", "1")
			wantCorrupt(s, err, key, damage.field)
			var names []string
			for p, err := range c.Processes.List(s.ctx, fulloncache.ProcessFilter{}) {
				if names = append(names, p.Component); p.ID == "1" {
					wantCorrupt(s, err, key, damage.field)
				} else {
					must(s, err)
				}
			}
			wantNames(s, names, "other", "bot_1")
			health, err := c.Processes.SystemHealth(s.ctx)
			wantCorrupt(s, err, key, damage.field)
			if health.Healthy || health.Total != 1 {
				s.Errorf("health %+v", health)
			}
			_, err = c.Processes.Component(s.ctx, "bot", "bot_1")
			wantCorrupt(s, err, key, damage.field)
			reader := s.open()
			w := watchProcesses(s, reader, "bot")
			seen := map[string]bool{}
			for range 2 {
				if e := w.next(); e.err != nil {
					wantCorrupt(s, e.err, key, damage.field)
					seen["corrupt"] = true
				} else {
					seen[e.v.Process.Component] = true
				}
			}
			if !seen["corrupt"] || !seen["other"] {
				s.Errorf("the watch told of %v", seen)
			}
			reader.Close()
			must(s, h.Stop(s.ctx, ""))
			n, err := c.Processes.CleanupStale(s.ctx, 0)
			must(s, err)
			if damage.field == "instance" {
				// Nothing tells whose it is: it dies and is cleaned up later.
				s.do("DEL", key)
				continue
			}
			if n != 1 {
				s.Errorf("%s: %d forgotten", damage.field, n)
			}
		}
	})
}

// A process that is registered mends its own entry, whatever was done to it.
func TestProcessMendsItsEntry(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		s.cfg.ProcessHeartbeat = 200 * time.Millisecond
		p := botProcess("bot_1")
		p.ID = "1"
		h := register(s, s.open(), p)
		key := s.key("process", "bot", ":1")
		for _, damage := range [][]string{
			{"DEL"}, {"HDEL", "instance"}, {"HDEL", "seq"}, {"HSET", "seq", "x"},
		} {
			s.do(damage[0], key, damage[1:]...)
			testenv.Eventually(s, "mended", func() (bool, string) {
				seq, err := s.mode.admin(s, key).Try(s, "HGET", key, "seq")
				text, _ := seq.ToString()
				got, gerr := c.Processes.Get(s.ctx, "bot", "1")
				return err == nil && text != "x" && gerr == nil && got.Alive, fmt.Sprint(damage, err, gerr)
			})
		}
		s.do("DEL", key)
		s.do("SET", key, "x") // it may be there again
		testenv.Eventually(s, "mended", func() (bool, string) {
			got, err := c.Processes.Get(s.ctx, "bot", "1")
			return err == nil && got.Alive, fmt.Sprint(err)
		})
		testenv.Eventually(s, "no error", func() (bool, string) { return h.Err() == nil, fmt.Sprint(h.Err()) })
	})
}

// An instance whose entry cannot be compared registers itself anew, but never in the
// place of a newer one.
func TestProcessOldInstanceRegistersAnew(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		p := botProcess("bot_1")
		p.ID, p.Interval = "1", time.Hour
		old := register(s, c, p)
		fresh := register(s, c, p)
		s.do("HDEL", s.key("process", "bot", ":1"), "seq")
		wantErr(s, old.Update(s.ctx, fulloncache.ProcessError, "", nil), fulloncache.ErrOutdated, "another instance")
		must(s, fresh.Update(s.ctx, fulloncache.ProcessError, "mine", nil))
		got, err := c.Processes.Get(s.ctx, "bot", "1")
		must(s, err)
		if got.Message != "mine" {
			s.Errorf("process %+v", got)
		}
		// Forgotten, its id may go to another component: then it is taken, too.
		_, err = c.Base.Clear(s.ctx)
		must(s, err)
		p.Component = "bot_2"
		register(s, c, p)
		s.do("HDEL", s.key("process", "bot", ":1"), "seq")
		wantErr(s, fulloncache.WriteProcess(s.ctx, fresh), fulloncache.ErrOutdated, "bot_2")
		<-fresh.Done()
		wantErr(s, fresh.Err(), fulloncache.ErrOutdated, "bot_2")
	})
}

// A key of another type is named, by those who write and those who read.
func TestProcessWrongTypes(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		p := botProcess("bot_1")
		p.ID = "1"
		var log syncBuffer
		s.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		for _, rest := range []string{"", ":due", ":components", ":rev", ":component:bot_1", ":history:bot_1"} {
			h := register(s, c, p)
			key := s.key("processes", "bot", rest)
			s.do("DEL", key)
			if s.do("LPUSH", key, "x"); rest == ":history:bot_1" {
				s.do("DEL", key)
				s.do("SET", key, "x")
			}
			_, err := c.Processes.Register(s.ctx, p)
			wantCorrupt(s, err, key, "")
			err = h.Update(s.ctx, fulloncache.ProcessError, "x", nil)
			if rest != ":rev" { // only what is published is numbered
				wantCorrupt(s, err, key, "")
				wantCorrupt(s, h.Err(), key, "")
			}
			list := firstError(c.Processes.List(s.ctx, fulloncache.ProcessFilter{Type: "bot"}))
			_, health := c.Processes.SystemHealth(s.ctx)
			_, component := c.Processes.Component(s.ctx, "bot", "bot_1")
			history := firstError(c.Processes.History(s.ctx, "bot", "bot_1", 1))
			_, cleanup := c.Processes.CleanupStale(s.ctx, 0)
			reader := s.open()
			watch := watchProcesses(s, reader, "bot").next().err
			for name, check := range map[string]struct {
				err  error
				when bool
			}{
				"list": {list, rest == "" || rest == ":components"}, "health": {health, rest == "" || rest == ":components"},
				"component": {component, rest == ":component:bot_1" || rest == ":components"},
				"history":   {history, rest == ":history:bot_1"},
				"cleanup":   {cleanup, rest != ":rev" && !strings.HasPrefix(rest, ":history") && !strings.HasPrefix(rest, ":component:")},
				"watch":     {watch, rest == "" || rest == ":rev" || rest == ":components"},
			} {
				if check.when {
					if check.err == nil {
						s.Errorf("%s with %s: no error", name, rest)
						continue
					}
					wantCorrupt(s, check.err, key, "")
				} else if check.err != nil {
					s.Errorf("%s with %s: %v", name, rest, check.err)
				}
			}
			reader.Close()
			s.do("DEL", key)
			must(s, h.Stop(s.ctx, ""))
			_, err = c.Processes.CleanupStale(s.ctx, 0)
			must(s, err)
		}
		key := s.key("process", "bot", ":1")
		s.do("SET", key, "x")
		_, err := c.Processes.Get(s.ctx, "bot", "1")
		wantCorrupt(s, err, key, "")
		register(s, c, p) // which replaces it
		_, err = c.Processes.Get(s.ctx, "bot", "1")
		must(s, err)
	})
}

// Of what fails on a key of another type nothing is done, be it a registration, a
// write, a death or a clean-up; what is to be done is, once the key is mended.
func TestProcessFailuresAreWhole(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		var ids []string
		for i, rest := range []string{"", ":due", ":components", ":rev", ":component:bot_1", ":history:bot_1"} {
			lives, dies := botProcess("bot_1"), botProcess("bot_1")
			lives.ID, lives.Interval = "1", time.Hour
			dies.ID, dies.Interval = fmt.Sprint("dies-", i), 200*time.Millisecond
			h := register(s, c, lives)
			crashing := s.open()
			dead := register(s, crashing, dies)
			crashing.Close()
			becomes(s, c, dead, "bot", "stale", func(p fulloncache.Process) bool { return p.Stale() })

			key := s.key("processes", "bot", rest)
			s.do("RENAME", key, key+":kept")
			s.do("SETBIT", key, "0", "0")
			if rest == ":rev" {
				s.do("DEL", key)
				s.do("LPUSH", key, "x")
			}
			s.untouched(key, func() {
				_, err := c.Processes.Register(s.ctx, lives)
				wantCorrupt(s, err, key, "")
				wantCorrupt(s, h.Update(s.ctx, fulloncache.ProcessError, "x", nil), key, "")
				wantCorrupt(s, h.Stop(s.ctx, ""), key, "")
				_, err = c.Processes.CleanupStale(s.ctx, 0)
				wantCorrupt(s, err, key, "")
			})
			s.do("DEL", key)
			s.do("RENAME", key+":kept", key)
			n, err := c.Processes.CleanupStale(s.ctx, 0)
			must(s, err)
			ids = append(ids, dead.ID())
			if got := reports(s.ctx, s, c, ids...); n < 1 || got[dead.ID()] != 1 {
				s.Errorf("%d forgotten, reports %v", n, got)
			}
			for e, err := range c.Processes.History(s.ctx, "bot", "bot_1", 1) {
				must(s, err)
				if e.Change != fulloncache.ChangeDied || e.ID != dead.ID() {
					s.Errorf("the last that happened: %+v", e)
				}
			}
			must(s, h.Stop(s.ctx, ""))
		}
	})
}

// What cannot be read dies, too: it is told as gone, is listed as corrupt until it
// is cleaned up, and is not looked after again and again.
func TestProcessUnreadableDies(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		s.cfg.ProcessHeartbeat = beatEvery
		watcher := s.open()
		w := watchProcesses(s, watcher, "bot")
		var keys []string
		for _, id := range []string{"gone", "text"} {
			p := botProcess("bot_1")
			p.ID = id
			crashing := s.open()
			register(s, crashing, p)
			wantChange(s, w, "started", id)
			crashing.Close()
			keys = append(keys, s.key("process", "bot", ":"+id))
		}
		s.do("DEL", keys[0])
		s.do("SET", keys[1], "x")
		died := []string{w.next().v.Process.ID, w.next().v.Process.ID}
		if died[0] == died[1] {
			s.Errorf("told of %q", died)
		}
		due := s.key("processes", "bot", ":due")
		if n, err := s.mode.admin(s, due).Do(s, "ZCARD", due).AsInt64(); n != 0 || err != nil {
			s.Errorf("%d are still to be looked after, %v", n, err)
		}
		n := 0
		for _, err := range c.Processes.List(s.ctx, fulloncache.ProcessFilter{}) {
			wantCorrupt(s, err, keys[1], "")
			n++
		}
		forgotten, err := c.Processes.CleanupStale(s.ctx, 0)
		must(s, err)
		if n != 1 || forgotten != 1 {
			s.Errorf("%d listed, %d forgotten", n, forgotten)
		}
		wantNames(s, keysOf(s, c, "process:*"))
	})
}

// P9: entries that have expired are cleaned up by those that live, without anybody
// asking for it.
func TestProcessExpiredEntriesGo(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		s.cfg.ProcessHeartbeat = 100 * time.Millisecond
		old := register(s, c, botProcess("bot_1"))
		must(s, old.Stop(s.ctx, ""))
		key, index := s.key("process", "bot", ":"+old.ID()), s.key("processes", "bot", "")
		ttl, err := s.mode.admin(s, key).Do(s, "TTL", key).AsInt64()
		must(s, err)
		if ttl < 86000 || ttl > 86400 {
			s.Errorf("it expires in %d s", ttl)
		}
		s.do("DEL", key)
		wantNames(s, components(s, c.Processes.List(s.ctx, fulloncache.ProcessFilter{})))
		s.do("ZADD", index, fmt.Sprint(time.Now().Add(-25*time.Hour).UnixMicro()), old.ID())
		register(s, s.open(), botProcess("bot_2"))
		testenv.Eventually(s, "it is cleaned up", func() (bool, string) {
			n, err := s.mode.admin(s, index).Do(s, "ZCARD", index).AsInt64()
			must(s, err)
			components := s.key("processes", "bot", ":components")
			m, err := s.mode.admin(s, components).Do(s, "HLEN", components).AsInt64()
			must(s, err)
			return n == 1 && m == 1, fmt.Sprint(n, m)
		})
	})
}

// A sweep that fails is logged and done later; so is a report.
func TestProcessSweepFails(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		s.cfg.ProcessHeartbeat = 100 * time.Millisecond
		var log syncBuffer
		s.cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
		queue, history := s.cfg.KeyPrefix+":global_error", s.key("processes", "bot", ":history:bot_2")
		s.do("SET", queue, "x")
		crashing := s.open()
		sibling := botProcess("bot_1")
		sibling.Interval = beatEvery
		register(s, s.open(), sibling)
		register(s, crashing, botProcess("bot_2"))
		s.do("DEL", history)
		s.do("SET", history, "x")
		crashing.Close()
		logged := func(what ...string) {
			s.Helper()
			testenv.Eventually(s, "log", func() (bool, string) {
				text := log.String()
				ok := true
				for _, w := range what {
					ok = ok && strings.Contains(text, w)
				}
				return ok, text
			})
		}
		logged("not looked after", history)
		s.do("DEL", history)
		logged("not pushed to the queue of global errors", queue)
		// And one that a watch does.
		s.do("DEL", queue)
		crashing = s.open()
		watcher := s.open()
		w := tell(s, watcher)
		h := register(s, crashing, botProcess("bot_3"))
		w.await(map[string]fulloncache.ProcessChange{h.ID(): "started"})
		crashing.Close()
		damaged := s.key("processes", "bot", ":history:bot_3")
		s.do("DEL", damaged)
		s.do("SET", damaged, "x")
		testenv.Eventually(s, "a death", func() (bool, string) {
			p, err := c.Processes.Get(s.ctx, "bot", h.ID())
			must(s, err)
			return !p.Alive && p.Died.IsZero(), fmt.Sprint(p)
		})
		s.do("DEL", damaged)
		w.await(map[string]fulloncache.ProcessChange{h.ID(): "died"})
	})
}

// What others publish on the channels of processes is told as corrupt, and the
// watch goes on.
func TestProcessWatchOfGarbage(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		reader := s.open()
		w := watchProcesses(s, reader, "bot")
		first := register(s, c, botProcess("bot_1"))
		wantChange(s, w, "started", first.ID())
		publish := "PUBLISH"
		if s.mode.name == "cluster" {
			publish = "SPUBLISH"
		}
		channel := "db0:" + s.key("processes", "bot", "")
		key := s.key("processes", "bot", "")
		for _, garbage := range []string{"", "x", "P", "P 1 ", "P 1 3:x", "D", "D x y", "P 99999999999999999999 "} {
			s.mode.admin(s, key).Do(s, publish, channel, garbage)
			wantCorrupt(s, w.next().err, channel, map[bool]string{true: "process_type"}[garbage == "P 1 "])
		}
		// A deletion of nobody is nothing, and a process of another type is corrupt.
		s.mode.admin(s, key).Do(s, publish, channel, "D 1 nobody")
		tick := register(s, c, fulloncache.Process{Type: fulloncache.ProcessTick, Component: "kraken"})
		must(s, tick.Stop(s.ctx, ""))
		second := register(s, c, botProcess("bot_2"))
		wantChange(s, w, "started", second.ID())
	})
}
