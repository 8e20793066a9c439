package lease_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/lease"
	"github.com/fullon/fulloncache/internal/testenv"
)

func TestMain(m *testing.M) {
	testenv.Child(deskVariable, desk.run) // does not return in a process that a test started
	testenv.Main(m)
}

var (
	errClosed      = errors.New("client is closed")
	errLost        = errors.New("lease lost")
	errUnavailable = errors.New("unavailable")
	errTaken       = errors.New("taken")
	errCorrupt     = errors.New("corrupt")
)

// blockedError says who is in the way.
type blockedError struct {
	lease.Held
	next bool
}

func (e *blockedError) Error() string { return fmt.Sprintf("blocked by %s, next %t", e.Holder, e.next) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func options(addrs ...string) kv.Options {
	return kv.Options{
		Network: "tcp", Addrs: addrs,
		MaxConnections: 64,
		CallTimeout:    2 * time.Second, ConnectTimeout: 5 * time.Second,
		BreakerFailures: 1000, BreakerCooldown: 50 * time.Millisecond,
		NearStaleness: time.Second,
		Unavailable:   func(_ time.Duration, err error) error { return fmt.Errorf("%w: %w", errUnavailable, err) },
		Closed:        errClosed,
		OnEvent:       func(kv.Event, string, error) {},
	}
}

// rules are leases' options. What is lost is noted.
func rules(space keys.Space, lost *losses) lease.Options {
	return lease.Options{
		Now:       time.Now,
		WaiterTTL: 10 * time.Second,
		Title:     func(r lease.Resource) string { return r.Group + " " + r.Name },
		Wakes:     space.WakeChannel,
		Lost:      errLost, Closed: errClosed, Unavailable: errUnavailable,
		Blocked: func(_ lease.Resource, h lease.Held, next bool) error { return &blockedError{h, next} },
		Taken: func(r lease.Resource, name string) error {
			return fmt.Errorf("%w: %s by %s", errTaken, r.Name, name)
		},
		Corrupt: func(key, field string, err error) error {
			return fmt.Errorf("%w: %s %s: %w", errCorrupt, key, field, err)
		},
		Blame: func(_ context.Context, r lease.Resource, err error) error {
			if kv.IsWrongType(err) {
				return fmt.Errorf("%w: %s: %w", errCorrupt, r.Key, err)
			}
			return err
		},
		OnLost: lost.add,
	}
}

// losses are the leases that were lost.
type losses struct {
	mu   sync.Mutex
	list []string
}

func (l *losses) add(what *lease.Lease, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, what.Holder+": "+err.Error())
}

func (l *losses) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.list...)
}

// resource names what is leased.
func resource(s keys.Space, exchange, symbol string) lease.Resource {
	return lease.Resource{
		Group: exchange, Name: symbol,
		Key: s.Block(exchange, symbol), Fence: s.Fence(exchange), Index: s.Blocks(exchange), Groups: s.BlockExchanges(),
	}
}

// suite is what a test gets: a mode, and keys of its own.
type suite struct {
	*testing.T
	ctx   context.Context
	opt   kv.Options
	space keys.Space
	btc   lease.Resource
	lost  *losses
	db    *kv.Client
}

var modes = []struct {
	name string
	opt  func(t testing.TB) kv.Options
}{
	{"standalone", func(t testing.TB) kv.Options { return options(testenv.Redis(t).Addr()) }},
	{"cluster", func(t testing.TB) kv.Options {
		opt := options(testenv.SharedCluster(t).Addrs()...)
		opt.Cluster = true
		return opt
	}},
	{"in-process", func(t testing.TB) kv.Options {
		opt := options(testenv.InProcess(t))
		opt.InProcess, opt.CallTimeout = true, 30*time.Second
		return opt
	}},
}

// conformance runs a test in every mode, in parallel.
func conformance(t *testing.T, test func(s *suite)) {
	t.Helper()
	t.Parallel()
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			test(newSuite(t, m.opt(t)))
		})
	}
}

func newSuite(t *testing.T, opt kv.Options) *suite {
	space := keys.New(testenv.Prefix(t), 0, opt.Cluster)
	s := &suite{T: t, ctx: testenv.Context(t), opt: opt, space: space, btc: resource(space, "kraken", "BTC/USD"), lost: &losses{}}
	s.db = s.connect()
	return s
}

// connect opens a client that the test's end closes.
func (s *suite) connect() *kv.Client {
	s.Helper()
	db, err := kv.Open(s.ctx, s.opt)
	must(s, err)
	s.Cleanup(db.Close)
	return db
}

// leases are those of a client, closed with the test.
func (s *suite) leases(tune ...func(*lease.Options)) *lease.Leases {
	opt := rules(s.space, s.lost)
	for _, set := range tune {
		set(&opt)
	}
	m := lease.New(s.db, opt)
	s.Cleanup(m.Close)
	return m
}

// do sends a command about a key.
func (s *suite) do(command, key string, args ...string) string {
	s.Helper()
	msg, err := s.db.Do(s.ctx, s.db.B().Arbitrary(command).Keys(key).Args(args...).Build())
	if err != nil && !kv.IsNil(err) {
		s.Fatal(command, key, args, err)
	}
	if n, err := msg.AsInt64(); err == nil {
		return fmt.Sprint(n)
	}
	text, _ := msg.ToString()
	return text
}

func asked(ttl time.Duration) lease.Request { return lease.Request{TTL: ttl} }

func wantErr(t testing.TB, err, want error, mentions ...string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
	for _, m := range mentions {
		if !strings.Contains(err.Error(), m) {
			t.Fatalf("error %q does not name %q", err, m)
		}
	}
}

func wantBlocked(t testing.TB, err error, holder string) {
	t.Helper()
	var blocked *blockedError
	if !errors.As(err, &blocked) || blocked.Holder != holder {
		t.Fatalf("got %v, want that %s is in the way", err, holder)
	}
}
