package queue_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/queue"
	"github.com/fullon/fulloncache/internal/testenv"
)

func TestMain(m *testing.M) {
	testenv.Child(orderVariable, order.consume) // does not return in a process that a test started
	testenv.Main(m)
}

var errClosed = errors.New("client is closed")

// unavailable is what the tests' clients return for a server that cannot answer.
type unavailable struct{ err error }

func (u *unavailable) Error() string { return fmt.Sprintf("unavailable: %v", u.err) }
func (u *unavailable) Unwrap() error { return u.err }

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

func options(addrs ...string) kv.Options {
	return kv.Options{
		Network: "tcp", Addrs: addrs,
		MaxConnections: 64,
		CallTimeout:    2 * time.Second, ConnectTimeout: 5 * time.Second,
		BreakerFailures: 1000, BreakerCooldown: 50 * time.Millisecond,
		NearStaleness: time.Second,
		Unavailable:   func(_ time.Duration, err error) error { return &unavailable{err} },
		Closed:        errClosed,
		OnEvent:       func(kv.Event, string, error) {},
	}
}

// connect opens a client that the test's end closes.
func connect(t testing.TB, opt kv.Options) *kv.Client {
	t.Helper()
	c, err := kv.Open(testenv.Context(t), opt)
	must(t, err)
	t.Cleanup(func() {
		c.Close()
		if opt.Cluster {
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

// suite is what a test gets: a mode, and a queue's keys of its own.
type suite struct {
	*testing.T
	ctx   context.Context
	opt   kv.Options
	space keys.Space
	keys  keys.Queue
	log   *journal
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
func conformance(t *testing.T, test func(s *suite, db *kv.Client)) {
	t.Helper()
	t.Parallel()
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			s := newSuite(t, m.opt(t))
			test(s, connect(t, s.opt))
		})
	}
}

// standalone runs a test with a client of the shared server.
func standalone(t *testing.T) (*suite, *kv.Client) {
	t.Helper()
	s := newSuite(t, options(testenv.Redis(t).Addr()))
	return s, connect(t, s.opt)
}

func newSuite(t *testing.T, opt kv.Options) *suite {
	space := keys.New(testenv.Prefix(t), 0, opt.Cluster)
	s := &suite{T: t, ctx: testenv.Context(t), opt: opt, space: space, keys: space.OrderQueue("kraken"), log: &journal{}}
	return s
}

// do sends a command about one of the queue's keys.
func (s *suite) do(db *kv.Client, words ...string) string {
	s.Helper()
	msg, err := db.Do(s.ctx, db.B().Arbitrary(strings.Fields(words[0])...).Keys(words[1]).Args(words[2:]...).Build())
	if err != nil && !kv.IsNil(err) {
		s.Fatal(words, err)
	}
	if n, err := msg.AsInt64(); err == nil {
		return fmt.Sprint(n)
	}
	text, _ := msg.ToString()
	return text
}

// json is do for replies of many parts.
func (s *suite) json(db *kv.Client, words ...string) string {
	s.Helper()
	msg, err := db.Do(s.ctx, db.B().Arbitrary(strings.Fields(words[0])...).Keys(words[1]).Args(words[2:]...).Build())
	must(s, err)
	return msg.String()
}

// given makes the group of a stream, and gives the oldest n entries to one of its
// consumers. It returns their ids.
func (s *suite) given(db *kv.Client, stream, consumer string, n int64) []string {
	s.Helper()
	s.do(db, "XGROUP CREATE", stream, "consumers", "0")
	m, err := db.Do(s.ctx, db.B().Xreadgroup().Group("consumers", consumer).Count(n).Streams().Key(stream).Id(">").Build())
	must(s, err)
	streams, err := m.AsXRead()
	must(s, err)
	var ids []string
	for _, e := range streams[stream] {
		ids = append(ids, e.ID)
	}
	return ids
}

func (s *suite) queue(db *kv.Client, opt queue.Options) *queue.Queue {
	s.Helper()
	if opt.OnEvent == nil {
		opt.OnEvent = s.log.add
	}
	q, err := queue.New(db, s.keys, opt)
	must(s, err)
	return q
}

// journal keeps a queue's events.
type journal struct {
	mu   sync.Mutex
	list []string
}

var events = map[queue.Event]string{
	queue.DeadLetter: "dead", queue.DeadDropped: "dropped", queue.Displaced: "displaced", queue.ReadFailed: "read",
	queue.SettleFailed: "settle", queue.LeaseLost: "lease", queue.Panicked: "panicked",
}

func (j *journal) add(e queue.Event, subject string, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	line := events[e] + " " + subject
	if err != nil {
		line += ": " + err.Error()
	}
	j.list = append(j.list, line)
}

// of returns the events of a kind.
func (j *journal) of(kind string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(j.list), func(e string) bool { return !strings.HasPrefix(e, kind+" ") })
}

// consume starts a consumer. The returned function stops it and returns its
// error; the test's end does too.
func (s *suite) consume(q *queue.Queue, opt queue.ConsumeOptions, h queue.Handler) func() error {
	s.Helper()
	ctx, cancel := context.WithCancel(s.ctx)
	result := make(chan error, 1)
	go func() { result <- q.Consume(ctx, opt, h) }()
	stop := sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-result:
			return err
		case <-time.After(testenv.Patience):
			return errors.New("the consumer does not stop")
		}
	})
	s.Cleanup(func() {
		if err := stop(); err != nil {
			s.Error(err)
		}
	})
	return stop
}

// record keeps what handlers were given, in order.
type record struct {
	mu   sync.Mutex
	list []string
}

func (r *record) add(what string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, what)
}

func (r *record) all() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.list)
}

// await waits until the record has n entries.
func (r *record) await(t testing.TB, n int) []string {
	t.Helper()
	testenv.Eventually(t, fmt.Sprintf("%d deliveries", n), func() (bool, string) {
		all := r.all()
		return len(all) >= n, fmt.Sprint(all)
	})
	return r.all()
}

// empty waits until nothing is left of the queue but dead letters.
func (s *suite) empty(q *queue.Queue) {
	s.Helper()
	testenv.Eventually(s, "an empty queue", func() (bool, string) {
		st, err := q.Stats(s.ctx)
		return err == nil && st.Length == 0 && st.Pending == 0 && st.Delayed == 0, fmt.Sprint(st, err)
	})
}

func msg(n int) queue.Message {
	return queue.Message{ID: fmt.Sprintf("id-%d", n), Body: fmt.Sprintf("body %d", n)}
}

func msgs(n int) []queue.Message {
	list := make([]queue.Message, n)
	for i := range list {
		list[i] = msg(i)
	}
	return list
}

func (s *suite) submit(q *queue.Queue, list ...queue.Message) {
	s.Helper()
	results, err := q.SubmitMany(s.ctx, list, queue.Demands{})
	must(s, err)
	for i, r := range results {
		if r.Err != nil || r.Duplicate {
			s.Fatalf("%s: %+v", list[i].ID, r)
		}
	}
}
