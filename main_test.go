package fulloncache_test

import (
	"context"
	"io"
	"log/slog"
	"maps"
	"math"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/embedded"
	"github.com/fullon/fulloncache/internal/testenv"
)

func TestMain(m *testing.M) {
	// None returns in a process that a test started.
	testenv.Child(memberVariable, member.run)
	testenv.Child(drainerVariable, drainer.run)
	testenv.Child(deskhandVariable, deskhand.run)
	testenv.Child(feedWriterVariable, feedWriter.run)
	testenv.Main(m)
}

// quiet keeps the log of provoked faults out of the tests' output.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// mode is a kind of server that the conformance suites run against.
type mode struct {
	name   string
	config func(t testing.TB) fulloncache.Config
	// admin sends a command to the server that holds a key, as an operator would;
	// nil where the mode has no such server.
	admin func(t testing.TB, key string) *testenv.Server
}

var modes = []mode{
	{
		name: "standalone",
		config: func(t testing.TB) fulloncache.Config {
			return fulloncache.Config{URL: testenv.Redis(t).URL()}
		},
		admin: func(t testing.TB, _ string) *testenv.Server { return testenv.Redis(t) },
	},
	{
		name: "cluster",
		config: func(t testing.TB) fulloncache.Config {
			return fulloncache.Config{ClusterMode: true, ClusterNodes: testenv.SharedCluster(t).Addrs()}
		},
		admin: func(t testing.TB, key string) *testenv.Server {
			c := testenv.SharedCluster(t)
			return c.Owner(t, c.Slot(t, key))
		},
	},
	{
		name: "embedded",
		config: func(t testing.TB) fulloncache.Config {
			srv, err := embedded.Start(testenv.Context(t), embedded.InProcess)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := srv.Close(); err != nil {
					t.Error(err)
				}
			})
			cfg := srv.Config()
			cfg.SocketTimeout = 30 * time.Second // it is slow, above all beside other tests
			return cfg
		},
	},
}

// suite is what a conformance test gets: a mode and a prefix of its own.
type suite struct {
	*testing.T
	mode mode
	cfg  fulloncache.Config
	ctx  context.Context
}

// soak reports whether faults are to be tested in their full form. In process there
// is nothing that could crash or be cut, and it is slow: there, it is the short one.
func (s *suite) soak() bool { return testenv.Soak() && s.mode.admin != nil }

// property checks one with many examples; in process, where scripts are slow and the
// code is the same, with some.
func (s *suite) property(check func(t *rapid.T)) {
	s.Helper()
	left := math.MaxInt
	if s.mode.admin == nil {
		left = 20
	}
	rapid.Check(s.T, func(t *rapid.T) {
		if left == 0 {
			return
		}
		left--
		held := false
		defer func() {
			if !held || t.Failed() {
				left = math.MaxInt // it is tried again, to find a smaller example
			}
		}()
		check(t)
		held = true
	})
}

// conformance runs a test in every mode, in parallel, with a client.
func conformance(t *testing.T, test func(s *suite, c *fulloncache.Client)) {
	t.Helper()
	everyMode(t, func(s *suite) { test(s, s.open()) })
}

// everyMode runs a test in every mode, in parallel, which opens clients of its own.
func everyMode(t *testing.T, test func(s *suite)) {
	t.Helper()
	t.Parallel()
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			s := &suite{T: t, mode: m, cfg: m.config(t), ctx: testenv.Context(t)}
			s.cfg.KeyPrefix = testenv.Prefix(t)
			s.cfg.Logger = quiet
			test(s)
		})
	}
}

// open returns a client of the suite's prefix: another process, to Redis.
func (s *suite) open() *fulloncache.Client {
	s.Helper()
	return open(s.T, s.cfg)
}

func open(t testing.TB, cfg fulloncache.Config) *fulloncache.Client {
	t.Helper()
	if cfg.Logger == nil {
		cfg.Logger = quiet
	}
	c, err := fulloncache.New(testenv.Context(t), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// key is a key of the suite as it stands in Redis: kind:exchange:rest.
func (s *suite) key(kind, exchange, rest string) string {
	if s.mode.name == "cluster" {
		exchange = "{" + exchange + "}"
	}
	return s.cfg.KeyPrefix + ":" + kind + ":" + exchange + rest
}

// do sends a command about a key as an operator would.
func (s *suite) do(command, key string, args ...string) {
	s.Helper()
	s.mode.admin(s, key).Do(s, append([]string{command, key}, args...)...)
}

// subscribers counts who has subscribed to a channel of a server, in a shard or not.
func subscribers(t testing.TB, srv *testenv.Server, channel string) (n int64) {
	t.Helper()
	for _, verb := range []string{"NUMSUB", "SHARDNUMSUB"} {
		list, err := srv.Do(t, "PUBSUB", verb, channel).ToArray()
		must(t, err)
		some, err := list[1].AsInt64()
		must(t, err)
		n += some
	}
	return n
}

// untouched checks that a call changes nothing on the server that holds a key.
func (s *suite) untouched(key string, call func()) {
	s.Helper()
	srv := s.mode.admin(s, key)
	dump := func() map[string]string {
		names, err := srv.Do(s, "KEYS", s.cfg.KeyPrefix+":*").AsStrSlice()
		must(s, err)
		all := make(map[string]string)
		for _, name := range names {
			all[name], err = srv.Do(s, "DUMP", name).ToString()
			must(s, err)
		}
		return all
	}
	before := dump()
	call()
	after := dump()
	names := maps.Clone(before)
	maps.Copy(names, after)
	for name := range names {
		if before[name] != after[name] {
			s.Errorf("%s was changed to %q, it was %q", name, after[name], before[name])
		}
	}
}

// events collects a client's events.
type events struct {
	mu   sync.Mutex
	list []fulloncache.Event
}

func (e *events) hook() fulloncache.Hooks {
	return fulloncache.Hooks{Event: func(ev fulloncache.Event) {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.list = append(e.list, ev)
	}}
}

func (e *events) count(kind fulloncache.EventKind) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, ev := range e.list {
		if ev.Kind == kind {
			n++
		}
	}
	return n
}

func dec(s string) fulloncache.Decimal { return fulloncache.MustDecimal(s) }

func some(s string) fulloncache.NullDecimal { return fulloncache.Some(dec(s)) }

var (
	btc = fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	eth = fulloncache.Market{Exchange: "kraken", Symbol: "ETH/USD"}
	// t0 is a moment that is neither too old nor ahead.
	t0 = time.Now().Add(-time.Minute).Truncate(time.Microsecond)
)

func at(n int) time.Time { return t0.Add(time.Duration(n) * time.Millisecond) }

func tickOf(m fulloncache.Market, price string, n int) fulloncache.Tick {
	return fulloncache.Tick{Market: m, Price: dec(price), Time: at(n)}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
