package aside_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/testenv"
)

// cut returns a server of the test's own, and the network before it.
func cut(t testing.TB, change ...func(*kv.Options)) (*mode, *testenv.Proxy) {
	proxy := testenv.NewProxy(t, testenv.NewRedis(t).Addr())
	opt := kv.Options{Addrs: []string{proxy.Addr()}}
	m := newMode(t, opt)
	for _, f := range change {
		f(&m.opt)
	}
	return m, proxy
}

func TestRedisLostDuringALoad(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		rows  things
		err   error
		event string
	}{
		"that succeeds": {things{"x": "1"}, nil, "not stored {k}: "},
		"that fails":    {nil, errDown, "not released {k}: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := testenv.Context(t)
			m, proxy := cut(t)
			p, key := m.process(t, loadTimeout(time.Second)), m.key("k")
			db := &record{rows: c.rows, err: c.err}
			g := newGate(db.load)
			first := p.get(ctx, key, g.load)
			<-g.begun
			// Who comes while the record is being asked cannot know whether what it
			// says is older than a write that this process has not heard of.
			second := p.get(ctx, key, g.load)
			proxy.Cut()
			g.open <- struct{}{}
			got := <-first
			if c.err == nil {
				wantEntry(t, got.entry, got.err, c.rows)
			} else {
				wantLoadError(t, got.err, key, c.err.Error())
			}
			if got := <-second; !isUnavailable(got.err) && c.err == nil {
				t.Errorf("got %v, %v", got.entry, got.err)
			}
			if got := p.of(""); !strings.HasPrefix(got[0], c.event) {
				t.Errorf("events: %v", got)
			}
			for _, err := range []error{
				(<-p.get(ctx, key, db.load)).err, (<-p.refresh(ctx, key, db.load)).err,
				p.Invalidate(ctx, key), p.InvalidateAll(ctx),
				p.Write(ctx, []string{key}, func(context.Context) error { t.Error("it was run"); return nil }),
			} {
				if !isUnavailable(err) {
					t.Errorf("got %v", err)
				}
			}
			db.asked(t, 1)
			proxy.Restore(t)
			db.set(things{"x": "2"}, nil)
			testenv.Eventually(t, "the new value", func() (bool, string) {
				e, err := p.Get(ctx, key, db.load)
				return err == nil && e.Value["x"] == "2", fmt.Sprint(e, err)
			})
			db.asked(t, 1)
		})
	}
}

// What has been written is, even if the server cannot be told of the end.
func TestRedisLostDuringAWrite(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	m, proxy := cut(t)
	p, key := m.process(t, loadTimeout(time.Second)), m.key("k")
	db := &record{rows: things{"x": "1"}}
	_, err := p.Get(ctx, key, db.load)
	must(t, err)
	must(t, p.Write(ctx, []string{key}, func(context.Context) error {
		proxy.Cut()
		db.set(things{"x": "2"}, nil)
		return nil
	}))
	if got := p.of(""); len(got) != 1 || !strings.HasPrefix(got[0], "not released {k}: invalidate ") {
		t.Errorf("events: %v", got)
	}
	proxy.Restore(t)
	testenv.Eventually(t, "the new value in the cache", func() (bool, string) {
		e, err := p.Get(ctx, key, db.load)
		if err == nil && e.Value["x"] != "2" {
			t.Errorf("got %v", e.Value)
		}
		return err == nil && m.number(t, "EXISTS", key) == 1, fmt.Sprint(err)
	})
}

// The server dies while this process waits for a load of another one, or reads
// what that has loaded.
func TestRedisLostWhileWaiting(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	m, proxy := cut(t)
	p, key := m.process(t), m.key("k")
	m.do(t, "SET", key+":fill", "L other - ", "PX", "100000")
	db := &record{}
	waiting := p.get(ctx, key, db.load)
	waits(t, p, key)
	proxy.Cut()
	if got := <-waiting; !isUnavailable(got.err) {
		t.Errorf("got %v", got.err)
	}
	db.asked(t, 0)
	p.quiet(t)
}

// The answers that a process waits for may be late: who asks after a write does
// not join a flight whose answer is from before it.
func TestWriteBetweenAnAnswerAndItsArrival(t *testing.T) {
	t.Parallel()
	const late = 300 * time.Millisecond
	// Each returns when the answer is on its way.
	for name, sent := range map[string]func(*testing.T, *mode, *testenv.Server, string){
		"of its own load": func(t *testing.T, m *mode, _ *testenv.Server, key string) {
			testenv.Eventually(t, "the entry", func() (bool, string) { return m.number(t, "EXISTS", key) == 1, "none" })
		},
		"of another's load": func(t *testing.T, m *mode, srv *testenv.Server, key string) {
			now, end := time.Now().UTC(), time.Now().UTC().Add(time.Minute)
			reads := srv.Counts(t)["hgetall"]
			m.do(t, "HSET", key, "x", "1", "", strings.Join([]string{
				now.Format(stampFormat), end.Format(stampFormat), m.text(t, "GET", m.generation()), "present",
			}, " "))
			testenv.Eventually(t, "a read", func() (bool, string) { return srv.Counts(t)["hgetall"] != reads, "none" })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := testenv.Context(t)
			srv := testenv.NewRedis(t)
			proxy := testenv.NewProxy(t, srv.Addr())
			m := newMode(t, kv.Options{Addrs: []string{srv.Addr()}})
			b, key := m.process(t), m.key("k")
			m.opt.Addrs = []string{proxy.Addr()}
			a := m.process(t)
			db := &record{rows: things{"x": "1"}}
			must(t, b.InvalidateAll(ctx))
			g := newGate(db.load)
			var first <-chan answer
			if name == "of its own load" {
				first = a.get(ctx, key, g.load)
				<-g.begun
				proxy.Slow(late)
				g.open <- struct{}{}
			} else {
				m.do(t, "SET", key+":fill", "L other - ", "PX", "60000")
				first = a.get(ctx, key, db.load)
				waits(t, a, key)
				proxy.Slow(late)
			}
			sent(t, m, srv, key)
			must(t, b.Write(ctx, []string{key}, func(context.Context) error {
				db.set(things{"x": "2"}, nil)
				return nil
			}))
			second := a.get(ctx, key, db.load)
			got := <-first
			wantEntry(t, got.entry, got.err, things{"x": "1"})
			got = <-second
			wantEntry(t, got.entry, got.err, things{"x": "2"})
		})
	}
}

// A server that restarts with older data serves what was removed from it, unless
// it is distrusted.
func TestServerThatComesBackWithOlderData(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t, "--save", "3600 1")
	m := newMode(t, kv.Options{Addrs: []string{srv.Addr()}})
	back := make(chan func(), 1)
	m.opt.OnEvent = func(e kv.Event, _ string, _ error) {
		if e == kv.Reconnected {
			distrust := <-back
			distrust()
			back <- distrust
		}
	}
	p, key := m.process(t), m.key("k")
	back <- p.Distrust
	db := &record{rows: things{"x": "1"}}
	_, err := p.Get(ctx, key, db.load)
	must(t, err)
	srv.Do(t, "SAVE")
	must(t, p.Write(ctx, []string{key}, func(context.Context) error {
		db.set(things{"x": "2"}, nil)
		return nil
	}))
	srv.Kill()
	if _, err := p.Get(ctx, key, db.load); !isUnavailable(err) {
		t.Errorf("got %v", err)
	}
	srv.Restart(t)
	if n := m.number(t, "EXISTS", key); n != 1 {
		t.Fatal("the old data is not back")
	}
	testenv.Eventually(t, "an answer", func() (bool, string) {
		e, err := p.Get(ctx, key, db.load)
		if err == nil && e.Value["x"] != "2" {
			t.Errorf("got %v", e.Value)
		}
		return err == nil, fmt.Sprint(err)
	})
}

// A user who may not run scripts or read a key sees why.
func TestServerThatRefuses(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	m := newMode(t, kv.Options{Addrs: []string{srv.Addr()}})
	m.opt.Username, m.opt.Password = "bot", "secret"
	srv.Do(t, "ACL", "SETUSER", "bot", "on", ">secret", "~*", "&*", "+@all")
	db := &record{rows: things{"x": "1"}}
	for _, refused := range []string{"evalsha", "hgetall", "get"} {
		srv.Do(t, "ACL", "SETUSER", "bot", "+@all", "-"+refused)
		p := m.process(t)
		_, err := p.Get(ctx, m.key("k"), db.load)
		if err == nil || isUnavailable(err) || !strings.Contains(err.Error(), "NOPERM") || !strings.Contains(err.Error(), m.prefix) {
			t.Errorf("without %s: %v", refused, err)
		}
		p.quiet(t)
	}
	db.asked(t, 0)
}

// A user who may only read the entries is told so, and what was loaded before
// that is his all the same.
func TestServerThatRefusesToStore(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	m := newMode(t, kv.Options{Addrs: []string{srv.Addr()}})
	m.opt.Username, m.opt.Password = "bot", "secret"
	srv.Do(t, "ACL", "SETUSER", "bot", "on", ">secret", "~*", "&*", "+@all")
	p, key := m.process(t), m.key("k")
	rows := things{"x": "1"}
	e, err := p.Get(ctx, key, func(context.Context) (map[string]string, bool, error) {
		srv.Do(t, "ACL", "SETUSER", "bot", "resetkeys", "~"+m.generation(), "%R~*")
		return rows, true, nil
	})
	wantEntry(t, e, err, rows)
	if got := p.of(""); len(got) != 1 || !strings.HasPrefix(got[0], "not stored {k}: NOPERM") {
		t.Errorf("events: %v", got)
	}
	if e, err := p.Get(ctx, key, new(record).load); err == nil || !strings.Contains(err.Error(), "claim "+key+": NOPERM") {
		t.Errorf("got %v, %v", e, err)
	}
}
