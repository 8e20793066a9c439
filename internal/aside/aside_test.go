package aside_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/aside"
	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var (
	errClosed = errors.New("client is closed")
	errDown   = errors.New("the database is down")
)

type unavailable struct{ err error }

func (u *unavailable) Error() string { return fmt.Sprintf("unavailable: %v", u.err) }

func isUnavailable(err error) bool {
	var u *unavailable
	return errors.As(err, &u)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// mode is a kind of server, and keys of the test's own.
type mode struct {
	opt    kv.Options
	prefix string
	admin  *kv.Client
}

// modes runs a test against each kind of server.
func modes(t *testing.T, test func(t *testing.T, m *mode)) {
	t.Parallel()
	for name, start := range map[string]func(*testing.T) kv.Options{
		"standalone": func(t *testing.T) kv.Options {
			return kv.Options{Addrs: []string{testenv.Redis(t).Addr()}}
		},
		"cluster": func(t *testing.T) kv.Options {
			return kv.Options{Addrs: testenv.SharedCluster(t).Addrs(), Cluster: true}
		},
		"in-process": func(t *testing.T) kv.Options {
			return kv.Options{Addrs: []string{testenv.InProcess(t)}, InProcess: true}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newMode(t, start(t)))
		})
	}
}

func newMode(t testing.TB, opt kv.Options) *mode {
	opt.Network = "tcp"
	opt.MaxConnections = 8
	opt.CallTimeout, opt.ConnectTimeout = 2*time.Second, 5*time.Second
	opt.BreakerFailures, opt.BreakerCooldown = 1000, 200*time.Millisecond
	opt.NearStaleness = time.Minute
	opt.Unavailable = func(_ time.Duration, err error) error { return &unavailable{err} }
	opt.Closed = errClosed
	opt.OnEvent = func(kv.Event, string, error) {}
	m := &mode{opt: opt, prefix: testenv.Prefix(t)}
	m.admin = m.connect(t)
	return m
}

func (m *mode) connect(t testing.TB) *kv.Client {
	t.Helper()
	c, err := kv.Open(testenv.Context(t), m.opt)
	must(t, err)
	t.Cleanup(func() {
		c.Close()
		if m.opt.Cluster {
			forgotten(t)
		}
	})
	return c
}

// forgotten waits until rueidis has no refresh of the topology asleep: it does
// not wake one to end it, and one sleeps for a second.
func forgotten(t testing.TB) {
	testenv.Eventually(t, "end of the topology's refresh", func() (bool, string) {
		stacks := make([]byte, 16<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		return !bytes.Contains(stacks, []byte("rueidis.(*call).DelayDo.func1")), "asleep"
	})
}

// key is a key of the test's own with a slot of its own.
func (m *mode) key(name string) string { return m.prefix + ":{" + name + "}" }

func (m *mode) generation() string { return m.prefix + ":generation" }

// do sends a command as an operator would; its second word is a key.
func (m *mode) do(t testing.TB, words ...string) rueidis.RedisMessage {
	t.Helper()
	msg, err := m.admin.Do(testenv.Context(t), m.admin.B().Arbitrary(words[0]).Keys(words[1]).Args(words[2:]...).Build())
	if err != nil && !kv.IsNil(err) {
		t.Fatalf("%v: %v", words, err)
	}
	return msg
}

func (m *mode) text(t testing.TB, words ...string) string {
	t.Helper()
	msg := m.do(t, words...)
	if msg.IsNil() {
		return ""
	}
	s, err := msg.ToString()
	must(t, err)
	return s
}

func (m *mode) number(t testing.TB, words ...string) int64 {
	t.Helper()
	msg := m.do(t, words...)
	n, err := msg.AsInt64()
	must(t, err)
	return n
}

type things = map[string]string

// process is one as far as the cache can tell.
type process struct {
	aside.Cache[things]
	db *kv.Client

	mu     sync.Mutex
	events []string
}

var eventNames = map[aside.Event]string{
	aside.LoadFailed: "load failed", aside.Corrupt: "corrupt", aside.NotStored: "not stored", aside.NotReleased: "not released",
}

// process starts one; change its options before use.
func (m *mode) process(t testing.TB, change ...func(*aside.Options[things])) *process {
	t.Helper()
	p := &process{db: m.connect(t)}
	opt := aside.Options[things]{
		Name: "things", Generation: m.generation(),
		TTL: time.Minute, NegativeTTL: 10 * time.Second, LoadTimeout: 5 * time.Second, NearSize: 1000,
		Decode: func(_ string, elements map[string]string) (things, error) {
			for id, element := range elements {
				if !json.Valid([]byte(element)) {
					return nil, fmt.Errorf("element %q is not JSON: %s", id, element)
				}
			}
			return elements, nil
		},
		OnEvent: func(e aside.Event, key string, err error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.events = append(p.events, fmt.Sprintf("%s %s: %v", eventNames[e], strings.TrimPrefix(key, m.prefix+":"), err))
		},
	}
	for _, f := range change {
		f(&opt)
	}
	p.Cache = aside.New(p.db, opt)
	return p
}

// of returns the events of a kind.
func (p *process) of(kind string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.events), func(e string) bool { return !strings.HasPrefix(e, kind) })
}

// quiet fails the test if there was an event.
func (p *process) quiet(t testing.TB) {
	t.Helper()
	if got := p.of(""); len(got) > 0 {
		t.Errorf("events: %v", got)
	}
}

func short(ttl time.Duration) func(*aside.Options[things]) {
	return func(o *aside.Options[things]) { o.TTL, o.NegativeTTL = ttl, ttl }
}

func loadTimeout(d time.Duration) func(*aside.Options[things]) {
	return func(o *aside.Options[things]) { o.LoadTimeout = d }
}

// record is a database that counts its queries.
type record struct {
	mu      sync.Mutex
	rows    things // nil: there is no such thing
	err     error
	queries atomic.Int64
}

func (r *record) set(rows things, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows, r.err = rows, err
}

func (r *record) load(context.Context) (map[string]string, bool, error) {
	r.queries.Add(1)
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.rows), r.rows != nil, r.err
}

// asked fails the test if there were not as many queries since the last call.
func (r *record) asked(t testing.TB, want int64) {
	t.Helper()
	if got := r.queries.Swap(0); got != want {
		t.Errorf("%d queries, want %d", got, want)
	}
}

// gate is a loader that waits until it is let go.
type gate struct {
	begun chan struct{} // one for each load
	open  chan struct{} // one lets one load go
	load  aside.Load
}

func newGate(load aside.Load) *gate {
	g := &gate{begun: make(chan struct{}, 100), open: make(chan struct{}, 100)}
	g.load = func(ctx context.Context) (map[string]string, bool, error) {
		elements, found, err := load(ctx)
		g.begun <- struct{}{}
		<-g.open
		return elements, found, err
	}
	return g
}

// answer is what a Get returned.
type answer struct {
	entry aside.Entry[things]
	err   error
}

// get runs Get in the background.
func (p *process) get(ctx context.Context, key string, load aside.Load) <-chan answer {
	return p.background(ctx, key, load, p.Get)
}

func (p *process) refresh(ctx context.Context, key string, load aside.Load) <-chan answer {
	return p.background(ctx, key, load, p.Refresh)
}

func (p *process) background(ctx context.Context, key string, load aside.Load, get func(context.Context, string, aside.Load) (aside.Entry[things], error)) <-chan answer {
	a := make(chan answer, 1)
	go pprof.Do(ctx, p.label(key), func(ctx context.Context) {
		e, err := get(ctx, key, load)
		a <- answer{e, err}
	})
	return a
}

// label marks the goroutines that work on a key of the process.
func (p *process) label(key string) pprof.LabelSet {
	return pprof.Labels("flight", fmt.Sprintf("%p %s", p, key))
}

// What a goroutine that works on a key is waiting for.
const (
	aFlight      = ".wait+"  // a caller, for a flight
	anotherLoads = ".bring+" // a flight, between two looks at another process's load
)

// hears returns a function that waits until the process has heard that a key has
// changed since the call.
func (p *process) hears(t testing.TB, key string) func() {
	t.Helper()
	probe := kv.NewNear(p.db, "probe", 1, kv.Read[bool]{
		Command: kv.GetCommand,
		Decode: func(_ string, _ rueidis.RedisMessage, err error) (bool, error) {
			if kv.IsNil(err) {
				err = nil
			}
			return true, err
		},
	})
	_, _, err := probe.Get(testenv.Context(t), key)
	must(t, err)
	return func() {
		t.Helper()
		testenv.Eventually(t, "news of "+key, func() (bool, string) {
			_, known := probe.Peek(key, time.Now())
			return !known, "not heard of"
		})
	}
}

// waiting is how many goroutines of the process wait for something.
func (p *process) waiting(t testing.TB, key, what string) (n int) {
	t.Helper()
	var profile bytes.Buffer
	must(t, pprof.Lookup("goroutine").WriteTo(&profile, 1))
	label := fmt.Sprintf("%q:%q", "flight", fmt.Sprintf("%p %s", p, key))
	_, blocks, _ := strings.Cut(profile.String(), "\n") // the first line counts all
	for block := range strings.SplitSeq(blocks, "\n\n") {
		_, frames, _ := strings.Cut(block, "\n#\t")
		top, _, _ := strings.Cut(frames, "\n")
		if strings.Contains(block, label) && strings.Contains(top, what) {
			var some int
			_, err := fmt.Sscanf(block, "%d @", &some)
			must(t, err)
			n += some
		}
	}
	return n
}

func wantEntry(t testing.TB, e aside.Entry[things], err error, want things) {
	t.Helper()
	if err != nil || e.Absent != (want == nil) || !maps.Equal(e.Value, want) || e.Loaded.IsZero() {
		t.Errorf("got %v (absent %t, loaded %s), %v; want %v", e.Value, e.Absent, e.Loaded, err, want)
	}
}

func wantLoadError(t testing.TB, err error, key, text string) {
	t.Helper()
	var failed *aside.LoadError
	if !errors.As(err, &failed) || failed.Key != key || !strings.Contains(err.Error(), text) {
		t.Errorf("got %v, want a load error of %s with %q", err, key, text)
	}
}

func TestGetAsksTheRecordOnce(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		a, b := m.process(t), m.process(t)
		for name, rows := range map[string]things{
			"some": {"x": `{"id":1}`, "y": `"z"`}, "empty": {}, "absent": nil,
		} {
			db, key := &record{rows: rows}, m.key(name)
			before := time.Now()
			e, err := a.Get(ctx, key, db.load)
			wantEntry(t, e, err, rows)
			if e.Hit || e.Loaded.Before(before.Add(-time.Second)) || e.Loaded.After(time.Now().Add(time.Second)) {
				t.Errorf("hit %t, loaded %s", e.Hit, e.Loaded)
			}
			for range 3 {
				for _, p := range []*process{a, b} {
					again, err := p.Get(ctx, key, db.load)
					wantEntry(t, again, err, rows)
					if !again.Loaded.Equal(e.Loaded) {
						t.Errorf("loaded %s, want %s", again.Loaded, e.Loaded)
					}
				}
			}
			if e, err := b.Get(ctx, key, db.load); e.Hit == m.opt.InProcess || err != nil {
				t.Errorf("hit %t, %v", e.Hit, err)
			}
			db.asked(t, 1)
			ttl, most := m.number(t, "PTTL", key), int64(120_000)
			if rows == nil {
				most = 10_000
			}
			if ttl > most || ttl < most*9/10-2000 {
				t.Errorf("%s: a TTL of %d ms", name, ttl)
			}
			if m.number(t, "EXISTS", key+":fill") != 0 {
				t.Errorf("%s: the claim is left", name)
			}
		}
		a.quiet(t)
		b.quiet(t)
	})
}

// Where the generation is known, a load asks the server once before it asks the record
// and once after: for the claim, and with the entry, each beside whether the generation
// is still that.
func TestLoadAsksTheServerTwice(t *testing.T) {
	t.Parallel()
	ctx, srv := testenv.Context(t), testenv.NewRedis(t)
	m := newMode(t, kv.Options{Addrs: []string{srv.Addr()}})
	p, db := m.process(t), &record{rows: things{"x": "1"}}
	get := func(key string) {
		t.Helper()
		e, err := p.Get(ctx, key, db.load)
		wantEntry(t, e, err, db.rows)
	}
	get(m.key("first")) // so that the server knows the scripts, and p the generation
	srv.Do(t, "CONFIG", "SET", "slowlog-log-slower-than", "0")
	key := m.key("second")
	get(key)
	srv.Do(t, "CONFIG", "SET", "slowlog-log-slower-than", "-1")
	log, err := srv.Do(t, "SLOWLOG", "GET", "-1").ToArray()
	must(t, err)
	var ran []string // the first key of each script, the newest first
	for _, entry := range log {
		parts, err := entry.ToArray()
		must(t, err)
		words, err := parts[3].AsStrSlice()
		must(t, err)
		if words[0] == "EVALSHA" {
			ran = append(ran, words[3])
		}
	}
	if want := []string{m.generation(), key, m.generation(), key}; !slices.Equal(ran, want) {
		t.Errorf("ran %q, want %q", ran, want)
	}
	p.quiet(t)
}

func TestThousandMissesAreOneQuery(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		m.opt.CallTimeout = testenv.Patience // a thousand at once are many beside other tests
		rows := things{"x": "1"}
		db := &record{rows: rows}
		for round := range 3 {
			key := m.key(strconv.Itoa(round))
			var processes []*process
			for range 4 {
				processes = append(processes, m.process(t, loadTimeout(testenv.Patience)))
			}
			var wg sync.WaitGroup
			start := make(chan struct{})
			for i := range 1000 {
				wg.Go(func() {
					<-start
					e, err := processes[i%4].Get(ctx, key, db.load)
					wantEntry(t, e, err, rows)
				})
			}
			close(start)
			wg.Wait()
			db.asked(t, 1)
			for _, p := range processes {
				p.quiet(t)
			}
		}
	})
}

// One that fails releases those who wait, here and in other processes, and the
// next caller asks again.
func TestLoaderThatFails(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		for name, c := range map[string]struct {
			fail aside.Load
			text string
		}{
			"error":    {func(context.Context) (map[string]string, bool, error) { return nil, false, errDown }, errDown.Error()},
			"panic":    {func(context.Context) (map[string]string, bool, error) { panic("out of range\nline 2") }, "panicked: out of range\nline 2"},
			"corrupt":  {func(context.Context) (map[string]string, bool, error) { return things{"x": "{"}, true, nil }, "not JSON"},
			"nameless": {func(context.Context) (map[string]string, bool, error) { return things{"": "1"}, true, nil }, "no name"},
		} {
			key := m.key(name)
			a, b := m.process(t), m.process(t)
			g := newGate(func(context.Context) (map[string]string, bool, error) { return nil, false, nil })
			failing := func(ctx context.Context) (map[string]string, bool, error) {
				_, _, _ = g.load(ctx) // it only waits
				return c.fail(ctx)
			}
			other := &record{err: errors.New("a second load")}
			waiting := []<-chan answer{a.get(ctx, key, failing)}
			<-g.begun
			for range 5 {
				waiting = append(waiting, a.get(ctx, key, other.load), b.get(ctx, key, other.load))
			}
			p := [...]*process{a, b}
			for i, callers := range []int{6, 5} {
				testenv.Eventually(t, "waiting callers", func() (bool, string) {
					n := p[i].waiting(t, key, aFlight)
					return n == callers, strconv.Itoa(n)
				})
			}
			waits(t, b, key)
			close(g.open)
			for _, w := range waiting {
				got := <-w
				wantLoadError(t, got.err, key, c.text)
			}
			if name == "error" && !errors.Is((<-a.get(ctx, key, failing)).err, errDown) {
				t.Error("the loader's own error is lost")
			}
			other.asked(t, 0)
			for _, p := range []*process{a, b} {
				if got := p.of(""); len(got) == 0 || !strings.HasPrefix(got[0], "load failed {"+name+"}: ") || !strings.Contains(got[0], c.text) {
					t.Errorf("events: %v", got)
				}
			}
			other.set(things{"x": "1"}, nil)
			e, err := b.Get(ctx, key, other.load)
			wantEntry(t, e, err, things{"x": "1"})
			e, err = a.Get(ctx, key, other.load)
			wantEntry(t, e, err, things{"x": "1"})
			other.asked(t, 1)
		}
	})
}

// waits returns when a process waits for another's load.
func waits(t testing.TB, p *process, key string) {
	t.Helper()
	testenv.Eventually(t, "a process that waits", func() (bool, string) { return p.waiting(t, key, anotherLoads) > 0, "none" })
}

func TestLoaderThatHangs(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		key := m.key("k")
		a, b := m.process(t, loadTimeout(300*time.Millisecond)), m.process(t)
		g := newGate((&record{rows: things{"late": "1"}}).load)
		defer close(g.open)
		first := a.get(ctx, key, g.load)
		<-g.begun
		second, third := a.get(ctx, key, g.load), b.get(ctx, key, g.load)
		for _, w := range []<-chan answer{first, second} {
			got := <-w
			wantLoadError(t, got.err, key, "within 300ms")
			if !errors.Is(got.err, context.DeadlineExceeded) {
				t.Errorf("got %v", got.err)
			}
		}
		// The third may have come before or after: then it asks by itself.
		select {
		case got := <-third:
			wantLoadError(t, got.err, key, "within 300ms")
		case <-g.begun:
			g.open <- struct{}{}
			got := <-third
			wantEntry(t, got.entry, got.err, things{"late": "1"})
			must(t, a.Invalidate(ctx, key))
		}
		db := &record{rows: things{"x": "1"}}
		e, err := a.Get(ctx, key, db.load)
		wantEntry(t, e, err, things{"x": "1"})
		g.open <- struct{}{} // its late result is dropped
		e, err = b.Get(ctx, key, db.load)
		wantEntry(t, e, err, things{"x": "1"})
		db.asked(t, 1)
	})
}

func TestCallerThatGivesUpHurtsNobody(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		key := m.key("k")
		p := m.process(t)
		g := newGate((&record{rows: things{"x": "1"}}).load)
		impatient, cancel := context.WithCancel(ctx)
		first := p.get(impatient, key, g.load)
		<-g.begun
		second := p.get(ctx, key, g.load)
		cancel()
		if got := <-first; !errors.Is(got.err, context.Canceled) {
			t.Errorf("got %v", got.err)
		}
		close(g.open)
		got := <-second
		wantEntry(t, got.entry, got.err, things{"x": "1"})
		if _, err := p.Get(impatient, m.key("other"), g.load); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		p.quiet(t)
	})
}

func TestValueLoadedBeforeAnInvalidationIsLoadedAgain(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		for name, invalidate := range map[string]func(p *process, key string) error{
			"one": func(p *process, key string) error { return p.Invalidate(ctx, key) },
			"all": func(p *process, _ string) error { return p.InvalidateAll(ctx) },
			"write": func(p *process, key string) error {
				return p.Write(ctx, []string{m.key("another"), key}, func(context.Context) error { return nil })
			},
		} {
			key := m.key(name)
			a, b := m.process(t), m.process(t)
			db := &record{rows: things{"x": "old"}}
			g := newGate(db.load)
			db.set(things{"x": "1"}, nil)
			heard := a.hears(t, m.generation())
			first := a.get(ctx, key, g.load)
			<-g.begun
			db.set(things{"x": "2"}, nil)
			must(t, invalidate(b, key))
			if name == "all" {
				// In a cluster the entry's node may answer before the generation's tells.
				heard()
			}
			// This caller must see what was before the invalidation in no case.
			second := a.get(ctx, key, g.load)
			close(g.open)
			for _, w := range []<-chan answer{first, second} {
				got := <-w
				wantEntry(t, got.entry, got.err, things{"x": "2"})
			}
			for _, p := range []*process{a, b} {
				e, err := p.Get(ctx, key, db.load)
				wantEntry(t, e, err, things{"x": "2"})
			}
			db.asked(t, 2)
			a.quiet(t)
			b.quiet(t)
		}
	})
}

func TestValueThatIsInvalidatedAgainAndAgain(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		key := m.key("k")
		p := m.process(t)
		var n int
		e, err := p.Get(ctx, key, func(context.Context) (map[string]string, bool, error) {
			n++
			return things{"n": strconv.Itoa(n)}, true, p.Invalidate(ctx, key)
		})
		wantEntry(t, e, err, things{"n": "3"})
		if m.number(t, "EXISTS", key) != 0 || m.number(t, "EXISTS", key+":fill") != 0 {
			t.Error("something is left")
		}
		// The same with all, whose claim is this loader's own.
		n = 0
		e, err = p.Get(ctx, key, func(context.Context) (map[string]string, bool, error) {
			n++
			return things{"n": strconv.Itoa(n)}, true, p.InvalidateAll(ctx)
		})
		wantEntry(t, e, err, things{"n": "3"})
		if m.number(t, "EXISTS", key+":fill") != 0 {
			t.Error("the claim is left")
		}
		db := &record{rows: things{"x": "1"}}
		e, err = p.Get(ctx, key, db.load)
		wantEntry(t, e, err, things{"x": "1"})
		p.quiet(t)
	})
}

// A claim whose holder has died delays others until its TTL has passed.
func TestLoaderThatDies(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		key := m.key("k")
		p := m.process(t, loadTimeout(200*time.Millisecond))
		db := &record{rows: things{"x": "1"}}
		m.do(t, "SET", key+":fill", "L dead - ", "PX", "300")
		begun := time.Now()
		e, err := p.Get(ctx, key, db.load)
		wantEntry(t, e, err, things{"x": "1"})
		if d := time.Since(begun); d < 200*time.Millisecond {
			t.Errorf("it waited %s", d)
		}
		db.asked(t, 1)
		p.quiet(t)

		// One that is claimed again and again by who dies again and again.
		must(t, p.Invalidate(ctx, key))
		m.do(t, "SET", key+":fill", "L dead - ", "PX", "1000000")
		_, err = p.Get(ctx, key, db.load)
		wantLoadError(t, err, key, "waited for other processes")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		db.asked(t, 0)
	})
}

func TestEntryWhoseTimeIsOverIsLoadedAnew(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		ttl := 200 * time.Millisecond
		if m.opt.InProcess {
			ttl = 600 * time.Millisecond // its time moves in steps of a quarter of a second
		}
		a, b := m.process(t, short(ttl)), m.process(t, short(ttl))
		for name, rows := range map[string]things{"present": {"x": "1"}, "absent": nil} {
			key := m.key(name)
			db := &record{rows: rows}
			e, err := a.Get(ctx, key, db.load)
			wantEntry(t, e, err, rows)
			first := e.Loaded
			db.set(things{"x": "2"}, nil)
			testenv.Eventually(t, "the new value", func() (bool, string) {
				if e, err = b.Get(ctx, key, db.load); err != nil {
					t.Fatal(err)
				}
				return e.Value["x"] == "2", fmt.Sprint(e)
			})
			if d := e.Loaded.Sub(first); d < 150*time.Millisecond {
				t.Errorf("%s: loaded anew after %s", name, d)
			}
		}
	})
}

func TestDatabaseThatIsDownLeavesWhatIsCached(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		key, other := m.key("k"), m.key("other")
		p := m.process(t, func(o *aside.Options[things]) {
			o.TTL, o.NegativeTTL, o.LoadTimeout = 10*time.Second, 100*time.Millisecond, 300*time.Millisecond
		})
		db := &record{rows: things{"x": "1"}}
		e, err := p.Get(ctx, key, db.load)
		wantEntry(t, e, err, things{"x": "1"})
		loaded := e.Loaded
		m.expire(t, p, key)
		db.asked(t, 1)
		db.set(nil, errDown)
		begun := time.Now()
		calls := 0
		for time.Since(begun) < 900*time.Millisecond {
			calls++
			e, err := p.Get(ctx, key, db.load)
			wantEntry(t, e, err, things{"x": "1"})
			if !e.Loaded.Equal(loaded) {
				t.Errorf("loaded %s, want %s", e.Loaded, loaded)
			}
		}
		db.asked(t, 1)
		if got := p.of(""); !slices.Equal(got, []string{"load failed {k}: the database is down"}) || calls < 3 {
			t.Errorf("%d calls, events: %v", calls, got)
		}
		_, err = p.Get(ctx, other, db.load)
		wantLoadError(t, err, other, "down")

		// From then on nobody waits for it, even if it hangs, and one asks it now and then.
		g := newGate(func(context.Context) (map[string]string, bool, error) { return nil, false, errDown })
		testenv.Eventually(t, "a second try", func() (bool, string) {
			e, err := p.Get(ctx, key, g.load)
			wantEntry(t, e, err, things{"x": "1"})
			return len(g.begun) > 0, "none"
		})
		for range 10 {
			e, err := p.Get(ctx, key, g.load)
			wantEntry(t, e, err, things{"x": "1"})
		}
		if len(g.begun) != 1 {
			t.Errorf("%d tries at once", len(g.begun))
		}
		close(g.open)
		db.set(things{"x": "2"}, nil)
		testenv.Eventually(t, "the new value", func() (bool, string) {
			e, err = p.Get(ctx, key, db.load)
			return err == nil && e.Value["x"] == "2", fmt.Sprint(e, err)
		})

		// The value can be seen before its loader is done, which is when the failure is
		// forgotten. Another load that is done has forgotten it too.
		_, err = p.Refresh(ctx, key, db.load)
		must(t, err)

		// Who cannot wait for as long as the first try takes is answered at the end.
		m.expire(t, p, key)
		g = newGate(db.load)
		defer close(g.open)
		hurried, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		e, err = p.Get(hurried, key, g.load)
		wantEntry(t, e, err, things{"x": "2"})
		if hurried.Err() == nil {
			t.Error("it did not wait")
		}
	})
}

// expire makes an entry one whose time is over.
func (m *mode) expire(t testing.TB, p *process, key string) {
	t.Helper()
	meta := strings.Split(m.text(t, "HGET", key, ""), " ")
	if len(meta) != 4 {
		t.Fatalf("meta %q", meta)
	}
	meta[1] = meta[0]
	m.do(t, "HSET", key, "", strings.Join(meta, " "))
	m.settle(t, p, key)
}

func TestCorruptValuesAreReportedAndReplaced(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		p := m.process(t)
		late := "9000-01-01T00:00:00.000000000Z"
		db := &record{rows: things{"x": "1"}}
		for name, c := range map[string]struct {
			spoil func(key string)
			event string
		}{
			"element":     {func(key string) { m.do(t, "HSET", key, "x", "{") }, `corrupt {element}: element "x" is not JSON: {`},
			"meta":        {func(key string) { m.do(t, "HSET", key, "", "x") }, `corrupt {meta}: not the meta text of an entry: "x"`},
			"kind":        {func(key string) { m.do(t, "HSET", key, "", late+" "+late+" 1 there") }, `corrupt {kind}: not the meta text`},
			"times":       {func(key string) { m.do(t, "HSET", key, "", "a b 1 present") }, `corrupt {times}: the meta text of an entry, "a b 1 present": parsing time`},
			"no meta":     {func(key string) { m.do(t, "HDEL", key, "") }, `corrupt {no meta}: not the meta text of an entry: ""`},
			"type":        {func(key string) { m.do(t, "DEL", key); m.do(t, "SET", key, "x") }, `corrupt {type}: `},
			"guard":       {func(key string) { m.do(t, "DEL", key); m.do(t, "SET", key+":fill", "x y z") }, `corrupt {guard}:fill: not a guard: x y z`},
			"no TTL":      {func(key string) { m.do(t, "DEL", key); m.do(t, "SET", key+":fill", "L a - ") }, `corrupt {no TTL}:fill: not a guard: L a - `},
			"guard type":  {func(key string) { m.do(t, "DEL", key); m.do(t, "LPUSH", key+":fill", "x") }, `corrupt {guard type}:fill: `},
			"generation":  {func(string) { m.do(t, "SET", m.generation(), "x") }, `corrupt generation: not a generation: x`},
			"generations": {func(string) { m.do(t, "SET", m.generation(), "99999999999999999999") }, `corrupt generation: not a generation: 99999999999999999999`},
			"last":        {func(string) { m.do(t, "SET", m.generation(), "9007199254740991") }, `corrupt generation: not a generation: 9007199254740991`},
			"generation type": {func(string) {
				m.do(t, "DEL", m.generation())
				m.do(t, "LPUSH", m.generation(), "x")
			}, `corrupt generation: `},
		} {
			key := m.key(name)
			_, err := p.Get(ctx, key, db.load)
			must(t, err)
			db.asked(t, 1)
			p.quiet(t)
			c.spoil(key)
			m.settle(t, p, key)
			for range 2 {
				e, err := p.Get(ctx, key, db.load)
				wantEntry(t, e, err, things{"x": "1"})
			}
			if got := p.of(""); len(got) != 1 || !strings.HasPrefix(got[0], c.event) {
				t.Errorf("%s: events %v", name, got)
			}
			db.asked(t, 1)
			p.events = nil
		}
	})
}

// settle returns when a process has heard of what happened to a key before.
func (m *mode) settle(t testing.TB, p *process, key string) {
	t.Helper()
	ctx := testenv.Context(t)
	for _, k := range []string{key, m.generation()} {
		_, err := p.db.Do(ctx, p.db.B().Exists().Key(k).Build())
		must(t, err)
	}
}

// What a flight reads after another process's load can be corrupt too.
func TestCorruptValueOfAnotherLoader(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		key := m.key("k")
		p := m.process(t)
		db := &record{rows: things{"x": "1"}}
		must(t, p.InvalidateAll(ctx))
		now, late := time.Now().UTC().Format(stampFormat), "9000-01-01T00:00:00.000000000Z"
		m.do(t, "SET", key+":fill", "L other - ", "PX", "10000")
		waiting := p.get(ctx, key, db.load)
		waits(t, p, key)
		m.do(t, "HSET", key, "x", "{", "", strings.Join([]string{now, late, m.text(t, "GET", m.generation()), "present"}, " "))
		testenv.Eventually(t, "the report", func() (bool, string) { return len(p.of("corrupt {k}: element")) == 1, fmt.Sprint(p.of("")) })
		m.do(t, "DEL", key+":fill")
		got := <-waiting
		wantEntry(t, got.entry, got.err, things{"x": "1"})
		db.asked(t, 1)
	})
}

const stampFormat = "2006-01-02T15:04:05.000000000Z"

func TestManyElements(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		key := m.key("k")
		rows := things{}
		for i := range 10_000 {
			rows["element "+strconv.Itoa(i)] = fmt.Sprintf(`{"n":%d}`, i)
		}
		db := &record{rows: rows}
		a, b := m.process(t), m.process(t)
		for _, p := range []*process{a, b, a} {
			e, err := p.Get(ctx, key, db.load)
			if err != nil || !maps.Equal(e.Value, rows) {
				t.Errorf("%d elements, %v", len(e.Value), err)
			}
		}
		db.asked(t, 1)
		db.set(things{"x": "1"}, nil)
		e, err := a.Refresh(ctx, key, db.load)
		wantEntry(t, e, err, things{"x": "1"})
		if n := m.number(t, "HLEN", key); n != 2 {
			t.Errorf("%d fields are left", n)
		}
	})
}

func TestRefreshLoadsAnew(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		key := m.key("k")
		a, b := m.process(t), m.process(t)
		db := &record{rows: things{"x": "1"}}
		e, err := a.Get(ctx, key, db.load)
		wantEntry(t, e, err, things{"x": "1"})
		for i := range 3 {
			want := things{"x": strconv.Itoa(i + 10)}
			db.set(want, nil)
			e, err = a.Refresh(ctx, key, db.load)
			wantEntry(t, e, err, want)
			e, err = a.Get(ctx, key, db.load)
			wantEntry(t, e, err, want)
		}
		db.asked(t, 4)

		// A load that began before the call is not joined, one that began after is.
		g := newGate(db.load)
		first := a.refresh(ctx, key, g.load)
		<-g.begun
		db.set(things{"x": "20"}, nil)
		var later []<-chan answer
		for range 3 {
			later = append(later, a.refresh(ctx, key, db.load), b.refresh(ctx, key, db.load))
		}
		testenv.Eventually(t, "waiting processes", func() (bool, string) {
			n := a.waiting(t, key, anotherLoads) + b.waiting(t, key, anotherLoads)
			return n == len(later), strconv.Itoa(n)
		})
		close(g.open)
		got := <-first
		wantEntry(t, got.entry, got.err, things{"x": "12"})
		for _, w := range later {
			got := <-w
			wantEntry(t, got.entry, got.err, things{"x": "20"})
		}
		db.asked(t, 2)

		// It tells when it cannot; what is cached stays.
		db.set(nil, errDown)
		if _, err := a.Refresh(ctx, key, db.load); !errors.Is(err, errDown) {
			t.Errorf("got %v", err)
		}
		e, err = a.Get(ctx, key, db.load)
		wantEntry(t, e, err, things{"x": "20"})
	})
}

func TestGetWithinLoadsWhatMayBeTooOld(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		key := m.key("k")
		a, b := m.process(t), m.process(t)
		db := &record{rows: things{"x": "1"}}
		e, err := a.Get(ctx, key, db.load)
		wantEntry(t, e, err, things{"x": "1"})
		loaded := e.Loaded
		db.set(things{"x": "2"}, nil)
		testenv.Eventually(t, "the new value", func() (bool, string) {
			for _, p := range []*process{a, b} {
				e, err = p.GetWithin(ctx, key, 200*time.Millisecond, db.load)
				must(t, err)
			}
			return e.Value["x"] == "2", fmt.Sprint(e)
		})
		if d := e.Loaded.Sub(loaded); d < 200*time.Millisecond {
			t.Errorf("loaded anew after %s", d)
		}
		db.asked(t, 2)
		e, err = a.Get(ctx, key, db.load)
		wantEntry(t, e, err, things{"x": "2"})

		db.set(nil, errDown)
		e, err = a.GetWithin(ctx, key, time.Nanosecond, db.load)
		wantEntry(t, e, err, things{"x": "2"})
		db.asked(t, 1)
	})
}

// What another process loads meanwhile is new enough for whoever waits for it.
func TestGetWithinTakesWhatAnotherLoads(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		a, b, key := m.process(t), m.process(t), m.key("k")
		db := &record{rows: things{"x": "1"}}
		g := newGate(db.load)
		loading := a.get(ctx, key, g.load)
		<-g.begun
		waiting := b.background(ctx, key, db.load, func(ctx context.Context, key string, load aside.Load) (aside.Entry[things], error) {
			return b.GetWithin(ctx, key, time.Hour, load)
		})
		waits(t, b, key)
		g.open <- struct{}{}
		for _, answers := range []<-chan answer{loading, waiting} {
			got := <-answers
			wantEntry(t, got.entry, got.err, things{"x": "1"})
		}
		db.asked(t, 1)
	})
}

func TestDistrustedEntriesAreLoadedAnew(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		p := m.process(t)
		db := &record{rows: things{"x": "1"}}
		keys := []string{m.key("a"), m.key("b"), m.key("c")}
		for _, key := range keys {
			_, err := p.Get(ctx, key, db.load)
			must(t, err)
		}
		db.asked(t, 3)
		db.set(things{"x": "2"}, nil)
		p.Distrust()
		for range 3 {
			for _, key := range keys[:2] {
				e, err := p.Get(ctx, key, db.load)
				wantEntry(t, e, err, things{"x": "2"})
			}
		}
		db.asked(t, 2)
		db.set(nil, errDown)
		e, err := p.Get(ctx, keys[2], db.load)
		wantEntry(t, e, err, things{"x": "1"})
		p.Distrust()
		e, err = p.Get(ctx, keys[0], db.load)
		wantEntry(t, e, err, things{"x": "2"})
	})
}

func TestWrite(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		keys := []string{m.key("a"), m.key("b")}
		a, b := m.process(t), m.process(t)
		db := &record{rows: things{"x": "1"}}
		read := func(p *process, want things) {
			t.Helper()
			for _, key := range keys {
				e, err := p.Get(ctx, key, db.load)
				wantEntry(t, e, err, want)
			}
		}
		read(a, things{"x": "1"})
		db.asked(t, 2)
		must(t, a.Write(ctx, keys, func(context.Context) error {
			// Meanwhile readers ask the record, each time.
			read(a, things{"x": "1"})
			read(b, things{"x": "1"})
			db.asked(t, 4)
			db.set(things{"x": "2"}, nil)
			return nil
		}))
		read(a, things{"x": "2"})
		read(b, things{"x": "2"})
		db.asked(t, 2)

		// One that fails has perhaps been done.
		refused := errors.New("refused")
		if err := a.Write(ctx, keys, func(context.Context) error {
			db.set(things{"x": "3"}, nil)
			return refused
		}); !errors.Is(err, refused) {
			t.Errorf("got %v", err)
		}
		read(a, things{"x": "3"})
		m.settle(t, b, keys[0])
		m.settle(t, b, keys[1])
		read(b, things{"x": "3"})

		// One whose caller gives up, and one that panics, end as well.
		given, cancel := context.WithCancel(ctx)
		if err := a.Write(given, keys, func(ctx context.Context) error {
			db.set(things{"x": "4"}, nil)
			cancel()
			return ctx.Err()
		}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		read(a, things{"x": "4"})
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic is lost")
				}
			}()
			_ = a.Write(ctx, keys, func(context.Context) error { // it panics
				db.set(things{"x": "5"}, nil)
				panic("out of range")
			})
		}()
		read(a, things{"x": "5"})

		// One that cannot begin is not run.
		if err := a.Write(given, keys, func(context.Context) error {
			t.Error("it was run")
			return nil
		}); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		read(a, things{"x": "5"})

		// A load that fails meanwhile is its caller's business.
		must(t, a.Write(ctx, keys, func(context.Context) error {
			db.set(nil, errDown)
			_, err := a.Get(ctx, keys[0], db.load)
			wantLoadError(t, err, keys[0], "down")
			db.set(things{"x": "6"}, nil)
			return nil
		}))
		read(a, things{"x": "6"})
		limited := m.process(t, loadTimeout(50*time.Millisecond))
		if err := limited.Write(ctx, keys, func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

// Of several writers each keeps loaders from filling until its own end.
func TestWritersBesideEachOther(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		key := m.key("k")
		a, b, c := m.process(t), m.process(t), m.process(t)
		db := &record{rows: things{"x": "1"}}
		filled := func() bool {
			t.Helper()
			_, err := c.Get(ctx, key, db.load)
			must(t, err)
			return m.number(t, "EXISTS", key) == 1
		}
		must(t, a.Write(ctx, []string{key}, func(context.Context) error {
			must(t, b.Write(ctx, []string{key}, func(context.Context) error {
				if filled() {
					t.Error("filled while two write")
				}
				return nil
			}))
			if filled() {
				t.Error("filled while the first writes")
			}
			must(t, c.Invalidate(ctx, key))
			if filled() {
				t.Error("filled after an invalidation while the first writes")
			}
			if ttl := m.number(t, "PTTL", key+":fill"); ttl < 1 || ttl > 10_000 {
				t.Errorf("a guard for %d ms", ttl)
			}
			return nil
		}))
		if !filled() {
			t.Error("not filled after both")
		}
	})
}

// A writer that dies between its write and its end leaves no old value.
func TestWriterThatDies(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		key := m.key("k")
		p := m.process(t)
		db := &record{rows: things{"x": "1"}}
		g := newGate(db.load)
		reader := p.get(ctx, key, g.load)
		<-g.begun
		_, err := m.admin.Run(ctx, kv.AsideWrite, []string{key, key + ":fill"}, []string{"dead", "400"})
		must(t, err)
		db.set(things{"x": "2"}, nil)
		g.open <- struct{}{}
		g.open <- struct{}{}
		got := <-reader
		wantEntry(t, got.entry, got.err, things{"x": "2"})
		if n := m.number(t, "EXISTS", key); n != 0 {
			t.Error("filled while the writer may live")
		}
		testenv.Eventually(t, "the end of its time", func() (bool, string) {
			e, err := p.Get(ctx, key, db.load)
			wantEntry(t, e, err, things{"x": "2"})
			return m.number(t, "EXISTS", key) == 1, "not filled"
		})
		// Another writer does not renew it.
		_, err = m.admin.Run(ctx, kv.AsideWrite, []string{key, key + ":fill"}, []string{"dead", "1"})
		must(t, err)
		testenv.Eventually(t, "no trace of it", func() (bool, string) {
			must(t, p.Write(ctx, []string{key}, func(context.Context) error { return nil }))
			return m.number(t, "EXISTS", key+":fill") == 0, m.text(t, "GET", key+":fill")
		})
	})
}

// Who invalidates sees it at once, and need not wait for what the server tells
// the near cache.
func TestInvalidationIsSeenAtOnce(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		key := m.key("k")
		p := m.process(t)
		db := &record{rows: things{"x": "0"}}
		for i := 1; i < 200; i++ {
			_, err := p.Get(ctx, key, db.load)
			must(t, err)
			_, err = p.Get(ctx, key, db.load) // it is near then
			must(t, err)
			want := things{"x": strconv.Itoa(i)}
			db.set(want, nil)
			if i%2 == 0 {
				must(t, p.Invalidate(ctx, key))
			} else {
				must(t, p.InvalidateAll(ctx))
			}
			e, err := p.Get(ctx, key, db.load)
			wantEntry(t, e, err, want)
			if t.Failed() {
				return
			}
		}
	})
}

func TestInvalidateAll(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		a, b := m.process(t), m.process(t)
		keys := []string{m.key("a"), m.key("b")}
		db := &record{rows: things{"x": "1"}}
		read := func(p *process, want things) {
			t.Helper()
			for _, key := range keys {
				m.settle(t, p, key)
				e, err := p.Get(ctx, key, db.load)
				wantEntry(t, e, err, want)
			}
		}
		read(a, things{"x": "1"})
		read(b, things{"x": "1"})
		first := m.number(t, "GET", m.generation())
		db.set(things{"x": "2"}, nil)
		must(t, a.InvalidateAll(ctx))
		read(a, things{"x": "2"})
		read(b, things{"x": "2"})
		db.asked(t, 4)
		second := m.number(t, "GET", m.generation())
		// It does not go back, neither with the clock nor with its loss.
		ahead := time.Now().Add(time.Hour).UnixMicro()
		m.do(t, "SET", m.generation(), strconv.FormatInt(ahead, 10))
		must(t, b.InvalidateAll(ctx))
		if got := m.number(t, "GET", m.generation()); first >= second || got != ahead+1 {
			t.Errorf("generations %d, %d, %d, %d", first, second, ahead, got)
		}
		// Without one, nothing counts, and the next load begins one.
		read(a, things{"x": "2"})
		db.asked(t, 2)
		m.do(t, "DEL", m.generation())
		read(a, things{"x": "2"})
		read(b, things{"x": "2"})
		db.asked(t, 2)
		// Void entries are no help when the database is down.
		must(t, a.InvalidateAll(ctx))
		db.set(nil, errDown)
		_, err := a.Get(ctx, keys[0], db.load)
		wantLoadError(t, err, keys[0], "down")
	})
}

func TestClose(t *testing.T) {
	modes(t, func(t *testing.T, m *mode) {
		ctx := testenv.Context(t)
		key := m.key("k")
		db := &record{rows: things{"x": "1"}}

		// Under a load.
		p := m.process(t)
		ended := make(chan struct{})
		waiting := p.get(ctx, key, func(ctx context.Context) (map[string]string, bool, error) {
			close(ended)
			<-ctx.Done()
			return nil, false, ctx.Err()
		})
		<-ended
		p.db.Close()
		if got := <-waiting; !errors.Is(got.err, errClosed) {
			t.Errorf("got %v", got.err)
		}
		for _, err := range []error{
			p.Invalidate(ctx, key), p.InvalidateAll(ctx),
			p.Write(ctx, []string{key}, func(context.Context) error { t.Error("it was run"); return nil }),
			func() error { _, err := p.Get(ctx, key, db.load); return err }(),
			func() error { _, err := p.Refresh(ctx, key, db.load); return err }(),
		} {
			if !errors.Is(err, errClosed) {
				t.Errorf("got %v", err)
			}
		}

		// While it waits for another process.
		p = m.process(t)
		m.do(t, "SET", key+":fill", "L other - ", "PX", "10000")
		waiting = p.get(ctx, key, db.load)
		waits(t, p, key)
		p.db.Close()
		if got := <-waiting; !errors.Is(got.err, errClosed) {
			t.Errorf("got %v", got.err)
		}
		db.asked(t, 0)
	})
}
