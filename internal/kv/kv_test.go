package kv_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

var errClosed = errors.New("client is closed")

// unavailable is what the tests' clients return for a server that cannot answer.
type unavailable struct {
	retryAfter time.Duration
	err        error
}

func (u *unavailable) Error() string { return fmt.Sprintf("unavailable: %v", u.err) }
func (u *unavailable) Unwrap() error { return u.err }

func isUnavailable(err error) bool {
	var u *unavailable
	return errors.As(err, &u)
}

// journal keeps a client's events in order.
type journal struct {
	mu   sync.Mutex
	list []string
}

func (j *journal) add(e kv.Event, subject string) {
	names := map[kv.Event]string{
		kv.Reconnected: "reconnected", kv.BreakerOpened: "opened", kv.BreakerClosed: "closed", kv.NearFlushed: "flushed",
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.list = append(j.list, names[e]+" "+subject)
}

func (j *journal) events() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.list)
}

// of returns the events of a kind.
func (j *journal) of(kind string) []string {
	return slices.DeleteFunc(j.events(), func(e string) bool { return !strings.HasPrefix(e, kind) })
}

// options reach addrs; change them before use.
func options(j *journal, addrs ...string) kv.Options {
	return kv.Options{
		Network: "tcp", Addrs: addrs,
		MaxConnections: 8,
		CallTimeout:    2 * time.Second, ConnectTimeout: 5 * time.Second,
		BreakerFailures: 3, BreakerCooldown: 200 * time.Millisecond,
		NearStaleness: time.Second,
		Unavailable:   func(after time.Duration, err error) error { return &unavailable{after, err} },
		Closed:        errClosed,
		OnEvent:       func(e kv.Event, subject string, _ error) { j.add(e, subject) },
	}
}

// connect opens a client that the test's end closes.
func connect(t testing.TB, addrs []string, change ...func(*kv.Options)) (*kv.Client, *journal) {
	t.Helper()
	j := &journal{}
	opt := options(j, addrs...)
	for _, f := range change {
		f(&opt)
	}
	c, err := kv.Open(testenv.Context(t), opt)
	must(t, err)
	t.Cleanup(func() {
		c.Close()
		if opt.Cluster {
			forgotten(t)
		}
	})
	return c, j
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

func inCluster(o *kv.Options) { o.Cluster = true }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func get(ctx context.Context, c *kv.Client, key string) (string, error) {
	msg, err := c.Do(ctx, c.B().Get().Key(key).Build())
	if err != nil {
		return "", err
	}
	return msg.ToString()
}

func set(ctx context.Context, c *kv.Client, key, value string) error {
	_, err := c.Do(ctx, c.B().Set().Key(key).Value(value).Build())
	return err
}

func push(ctx context.Context, c *kv.Client, key, element string) error {
	_, err := c.Run(ctx, kv.ListPush, []string{key}, []string{"1000000", element})
	return err
}

func list(t testing.TB, s *testenv.Server, key string) []string {
	t.Helper()
	all, err := s.Do(t, "LRANGE", key, "0", "-1").AsStrSlice()
	must(t, err)
	return all
}

func TestDoAndDoMultiReturnWhatTheServerSays(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	c, _ := connect(t, []string{testenv.Redis(t).Addr()})
	key := testenv.Prefix(t)
	if _, err := get(ctx, c, key); !kv.IsNil(err) || isUnavailable(err) {
		t.Errorf("absent: %v", err)
	}
	must(t, set(ctx, c, key, "v"))
	if v, err := get(ctx, c, key); v != "v" || err != nil {
		t.Errorf("got %q, %v", v, err)
	}
	replies := c.DoMulti(ctx, []rueidis.Completed{
		c.B().Get().Key(key).Build(),
		c.B().Get().Key(key + "none").Build(),
		c.B().Lpush().Key(key).Element("x").Build(),
		c.B().Append().Key(key).Value("w").Build(),
	})
	if v, err := replies[0].Msg.ToString(); v != "v" || err != nil || replies[0].Err != nil {
		t.Errorf("first: %q %v %v", v, err, replies[0].Err)
	}
	if !kv.IsNil(replies[1].Err) {
		t.Errorf("absent: %v", replies[1].Err)
	}
	if err := replies[2].Err; !kv.IsWrongType(err) || isUnavailable(err) {
		t.Errorf("wrong type: %v", err)
	}
	if n, err := replies[3].Msg.AsInt64(); n != 2 || err != nil {
		t.Errorf("last: %d %v", n, err)
	}
	if got := c.DoMulti(ctx, nil); len(got) != 0 {
		t.Errorf("nothing asked, %d replies", len(got))
	}
	if c.Cluster() || c.Publish() != "PUBLISH" {
		t.Error("a standalone server is not a cluster")
	}
	if kv.IsNil(nil) || kv.IsWrongType(nil) || kv.IsWrongType(errClosed) {
		t.Error("no error is neither absence nor a wrong type")
	}
}

func TestDatabasesOfOneServerAreApart(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	addr := []string{testenv.Redis(t).Addr()}
	first, _ := connect(t, addr)
	second, _ := connect(t, addr, func(o *kv.Options) { o.DB = 1 })
	key := testenv.Prefix(t)
	must(t, set(ctx, first, key, "v"))
	if _, err := get(ctx, second, key); !kv.IsNil(err) {
		t.Errorf("database 1 sees database 0: %v", err)
	}
}

func TestScriptsSurviveScriptFlush(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c, j := connect(t, []string{srv.Addr()})
	for _, element := range []string{"a", "b"} {
		must(t, push(ctx, c, "single", element))
		srv.Do(t, "SCRIPT", "FLUSH")
	}
	if got := list(t, srv, "single"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("single: %v", got)
	}

	// Another client loads the script again and again, and it is flushed as
	// often, while a batch that must not be sent twice goes through.
	for round := range 20 {
		srv.Do(t, "SCRIPT", "FLUSH")
		key := fmt.Sprint("batch", round)
		batch := make([]kv.ScriptCall, 2500)
		var want []string
		for i := range batch {
			want = append(want, strconv.Itoa(i))
			batch[i] = kv.ScriptCall{Keys: []string{key}, Args: []string{"1000000", want[i]}}
		}
		for i, r := range c.RunMulti(ctx, kv.ListPush, batch) {
			if r.Err != nil {
				t.Fatalf("round %d, call %d: %v", round, i, r.Err)
			}
		}
		if got := list(t, srv, key); !slices.Equal(got, want) {
			t.Fatalf("round %d: %d elements, order or number wrong", round, len(got))
		}
	}
	if got := j.events(); len(got) != 0 {
		t.Errorf("events: %v", got)
	}
}

// Whoever loads a script while a batch is on its way to a server that has
// forgotten it: a batch that begins with the script itself keeps its order.
func TestWholeScriptKeepsOrder(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(testenv.Context(t))
	srv := testenv.NewRedis(t)
	c, _ := connect(t, []string{srv.Addr()})
	other, _ := connect(t, []string{srv.Addr()})
	var loading sync.WaitGroup
	loading.Go(func() {
		for ctx.Err() == nil {
			_ = push(ctx, other, "loaded", "x") // ctx ends
		}
	})
	defer loading.Wait()
	defer cancel()
	for round := range 200 {
		srv.Do(t, "SCRIPT", "FLUSH")
		key := fmt.Sprint("batch", round)
		batch := make([]kv.ScriptCall, 20)
		var want []string
		for i := range batch {
			want = append(want, strconv.Itoa(i))
			batch[i] = kv.ScriptCall{Keys: []string{key}, Args: []string{"1000000", want[i]}, Whole: i == 0}
		}
		for _, r := range c.RunMulti(ctx, kv.ListPush, batch) {
			must(t, r.Err)
		}
		if got := list(t, srv, key); !slices.Equal(got, want) {
			t.Fatalf("round %d: %v", round, got)
		}
	}
}

// beat is an idempotent script call.
func beat(key string) kv.ScriptCall {
	return kv.ScriptCall{Keys: []string{key}, Args: []string{"100000", "PUBLISH", "channel"}}
}

func TestTwoScriptsAtOnce(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c, _ := connect(t, []string{srv.Addr()})
	for range 3 { // the server has neither, then both
		a, b := c.RunBoth(ctx, kv.TickBeat, kv.AsideGeneration, beat("a"), kv.ScriptCall{Keys: []string{"generation"}, Args: []string{"keep"}})
		must(t, a.Err)
		must(t, b.Err)
		if text, err := a.Msg.ToString(); err != nil || !strings.HasSuffix(text, "Z") {
			t.Errorf("the first returned %q (%v)", text, err)
		}
		words, err := b.Msg.AsStrSlice()
		must(t, err)
		if kept, err := srv.Do(t, "GET", "generation").ToString(); err != nil || words[0] != kept {
			t.Errorf("the second returned %q, %q is kept (%v)", words, kept, err)
		}
	}
}

func TestBatchOfAnIdempotentScriptIsSentAgainFromTheFirstLoss(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c, _ := connect(t, []string{srv.Addr()})
	batch := []kv.ScriptCall{beat("a"), beat("b"), beat("a")}
	for range 3 {
		srv.Do(t, "SCRIPT", "FLUSH")
		before := srv.Counts(t)["eval"]
		for i, r := range c.RunMulti(ctx, kv.TickBeat, batch) {
			if r.Err != nil {
				t.Fatalf("call %d: %v", i, r.Err)
			}
		}
		if got := srv.Counts(t)["eval"] - before; got != 3 {
			t.Errorf("%d scripts sent again, want 3", got)
		}
		before = srv.Counts(t)["eval"]
		for i, r := range c.RunMulti(ctx, kv.TickBeat, batch) {
			if r.Err != nil {
				t.Fatalf("call %d: %v", i, r.Err)
			}
		}
		if got := srv.Counts(t)["eval"] - before; got != 0 {
			t.Errorf("%d bodies sent of a script that the server has", got)
		}
	}
}

func TestNoReadFailsWhenItsConnectionIsKilled(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c, j := connect(t, []string{srv.Addr()})
	must(t, set(ctx, c, "k", "v"))
	var (
		wg       sync.WaitGroup
		stop     atomic.Bool
		reads    atomic.Int64
		failures = make(chan error, 1000)
	)
	fail := func(err error) {
		select {
		case failures <- err:
		default:
		}
	}
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				if v, err := get(ctx, c, "k"); v != "v" || err != nil {
					fail(fmt.Errorf("read %q: %w", v, err))
				}
				reads.Add(1)
			}
		})
		wg.Go(func() {
			for !stop.Load() {
				for _, r := range c.DoMulti(ctx, []rueidis.Completed{c.B().Get().Key("k").Build(), c.B().Strlen().Key("k").Build()}) {
					if r.Err != nil {
						fail(fmt.Errorf("batch: %w", r.Err))
					}
				}
				reads.Add(1)
			}
		})
	}
	// The next kill comes when reads have gone on after the last.
	for range 20 {
		srv.KillClients(t, "normal")
		seen := reads.Load()
		testenv.Eventually(t, "reads", func() (bool, string) { return reads.Load() > seen+100, "stalled" })
	}
	stop.Store(true)
	wg.Wait()
	close(failures)
	n := 0
	for err := range failures {
		if n++; n <= 3 {
			t.Error(err)
		}
	}
	if n > 0 {
		t.Errorf("%d of %d reads failed", n, reads.Load())
	}
	if got := j.of("opened"); len(got) != 0 {
		t.Errorf("the breaker opened for connections that were killed: %v", got)
	}
}

func TestWritesAreNotSentTwice(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c, _ := connect(t, []string{srv.Addr()}, func(o *kv.Options) { o.BreakerFailures = 1 << 30 })
	var (
		wg        sync.WaitGroup
		stop      atomic.Bool
		done      atomic.Int64
		confirmed sync.Map
	)
	for w := range 4 {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				element := fmt.Sprintf("%d-%d", w, i)
				err := push(ctx, c, "list", element)
				if err == nil {
					confirmed.Store(element, true)
				} else if !isUnavailable(err) {
					t.Errorf("push: %v", err)
				}
				done.Add(1)
			}
		})
	}
	for range 20 {
		srv.KillClients(t, "normal")
		seen := done.Load()
		testenv.Eventually(t, "writes", func() (bool, string) { return done.Load() > seen+50, "stalled" })
	}
	stop.Store(true)
	wg.Wait()
	times := make(map[string]int)
	for _, element := range list(t, srv, "list") {
		if times[element]++; times[element] > 1 {
			t.Errorf("%s is there %d times", element, times[element])
		}
	}
	confirmed.Range(func(element, _ any) bool {
		if times[element.(string)] == 0 {
			t.Errorf("%s was confirmed and is lost", element)
		}
		return true
	})
}

func TestServersThatCannotAnswerNowAreUnavailable(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	write := func(t *testing.T, c *kv.Client, word string) {
		t.Helper()
		if err := set(ctx, c, "k", "v"); !isUnavailable(err) || !strings.Contains(err.Error(), word) {
			t.Errorf("write: %v", err)
		}
		replies := c.DoMulti(ctx, []rueidis.Completed{c.B().Set().Key("k").Value("v").Build()})
		if err := replies[0].Err; !isUnavailable(err) || !strings.Contains(err.Error(), word) {
			t.Errorf("batch: %v", err)
		}
		if err := push(ctx, c, "list", "x"); !isUnavailable(err) || !strings.Contains(err.Error(), word) {
			t.Errorf("script: %v", err)
		}
		if got := c.BreakerState(); got != "closed" {
			t.Errorf("the server answers, and the breaker is %s", got)
		}
	}
	t.Run("READONLY", func(t *testing.T) {
		t.Parallel()
		c, _ := connect(t, []string{testenv.NewReplicas(t, 1).Replicas[0].Addr()})
		write(t, c, "READONLY")
	})
	t.Run("OOM", func(t *testing.T) {
		t.Parallel()
		srv := testenv.NewRedis(t)
		c, _ := connect(t, []string{srv.Addr()})
		srv.Do(t, "CONFIG", "SET", "maxmemory", "1")
		write(t, c, "OOM")
	})
	t.Run("MISCONF", func(t *testing.T) {
		t.Parallel()
		srv := testenv.NewRedis(t)
		c, _ := connect(t, []string{srv.Addr()})
		srv.FailToSave(t)
		write(t, c, "MISCONF")
	})
	t.Run("MASTERDOWN", func(t *testing.T) {
		t.Parallel()
		r := testenv.NewReplicas(t, 1)
		r.Replicas[0].Do(t, "CONFIG", "SET", "replica-serve-stale-data", "no")
		c, _ := connect(t, []string{r.Replicas[0].Addr()})
		r.Master.Kill()
		testenv.Eventually(t, "lost master", func() (bool, string) {
			_, err := get(ctx, c, "k")
			return isUnavailable(err) && strings.Contains(err.Error(), "MASTERDOWN"), fmt.Sprint(err)
		})
	})
	t.Run("LOADING", func(t *testing.T) {
		t.Parallel()
		srv := testenv.NewRedis(t, "--enable-debug-command", "yes",
			"--key-load-delay", "200", "--loading-process-events-interval-bytes", "1024")
		c, _ := connect(t, []string{srv.Addr()})
		srv.Do(t, "DEBUG", "POPULATE", "5000")
		var wg sync.WaitGroup
		defer wg.Wait()
		wg.Go(func() {
			if _, err := srv.Try(t, "DEBUG", "RELOAD"); err != nil {
				t.Error(err)
			}
		})
		testenv.Eventually(t, "LOADING", func() (bool, string) {
			_, err := get(ctx, c, "k")
			return isUnavailable(err) && strings.Contains(err.Error(), "LOADING"), fmt.Sprint(err)
		})
		if got := c.BreakerState(); got != "closed" {
			t.Errorf("the server answers, and the breaker is %s", got)
		}
	})
	t.Run("CLUSTERDOWN", func(t *testing.T) {
		t.Parallel()
		cl := testenv.NewCluster(t)
		for _, n := range cl.Nodes {
			n.Do(t, "CONFIG", "SET", "cluster-require-full-coverage", "yes")
		}
		c, _ := connect(t, cl.Addrs(), inCluster)
		key := "k"
		slot := cl.Slot(t, key)
		cl.Owner(t, slot).Do(t, "CLUSTER", "DELSLOTS", strconv.Itoa(slot))
		testenv.Eventually(t, "CLUSTERDOWN", func() (bool, string) {
			_, err := get(ctx, c, key)
			return isUnavailable(err) && strings.Contains(err.Error(), "CLUSTERDOWN"), fmt.Sprint(err)
		})
	})
}

func TestOpen(t *testing.T) {
	t.Parallel()
	opened := func(ctx context.Context, opt kv.Options) error {
		c, err := kv.Open(ctx, opt)
		if err == nil {
			c.Close()
		}
		return err
	}
	t.Run("refused", func(t *testing.T) {
		t.Parallel()
		srv := testenv.NewRedis(t)
		srv.Kill()
		if err := opened(testenv.Context(t), options(&journal{}, srv.Addr())); !isUnavailable(err) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("wrong password", func(t *testing.T) {
		t.Parallel()
		srv := testenv.NewTLS(t, "p")
		opt := options(&journal{}, srv.Addr())
		opt.Username, opt.Password, opt.TLS = srv.User, "hunter2", clientTLS(t, srv)
		err := opened(testenv.Context(t), opt)
		if err == nil || isUnavailable(err) || !strings.Contains(err.Error(), "WRONGPASS") {
			t.Errorf("got %v", err)
		}
		if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), "hunter2") {
			t.Errorf("the password is in %v", err)
		}
	})
	t.Run("no password", func(t *testing.T) {
		t.Parallel()
		srv := testenv.NewRedis(t, "--requirepass", "s3cret")
		err := opened(testenv.Context(t), options(&journal{}, srv.Addr()))
		if err == nil || isUnavailable(err) || !strings.Contains(err.Error(), "NOAUTH") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("cancelled before", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(testenv.Context(t))
		cancel()
		if err := opened(ctx, options(&journal{}, testenv.Redis(t).Addr())); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	})
	for name, fault := range map[string]func(testing.TB) string{
		"frozen": func(t testing.TB) string {
			srv := testenv.NewRedis(t)
			srv.Freeze(t)
			return srv.Addr()
		},
		"stalled": func(t testing.TB) string {
			p := testenv.NewProxy(t, testenv.Redis(t).Addr())
			p.Stall()
			return p.Addr()
		},
		"slow": func(t testing.TB) string {
			p := testenv.NewProxy(t, testenv.Redis(t).Addr())
			p.Slow(700 * time.Millisecond)
			return p.Addr()
		},
		"blackholed": blackhole,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr := fault(t)
			ctx, cancel := context.WithTimeout(testenv.Context(t), 100*time.Millisecond)
			defer cancel()
			start := time.Now()
			err := opened(ctx, options(&journal{}, addr))
			if took := time.Since(start); !errors.Is(err, context.DeadlineExceeded) || took > 600*time.Millisecond {
				t.Errorf("got %v after %s", err, took)
			}
		})
	}
}

// clientTLS is what a client of a TLS server needs.
func clientTLS(t testing.TB, srv *testenv.TLS) *tls.Config {
	t.Helper()
	pem, err := os.ReadFile(srv.CA)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	pair, err := tls.LoadX509KeyPair(srv.Cert, srv.Key)
	must(t, err)
	return &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
}

// blackhole returns an address where connecting is neither accepted nor refused.
func blackhole(t testing.TB) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	must(t, err)
	t.Cleanup(func() { must(t, syscall.Close(fd)) })
	must(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(t, syscall.Listen(fd, 0))
	name, err := syscall.Getsockname(fd)
	must(t, err)
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*syscall.SockaddrInet4).Port))
	// Nobody accepts, so that the queue is full after a few connections.
	for {
		conn, err := net.DialTimeout("tcp", addr, 100*time.Millisecond)
		if err != nil {
			return addr
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
}
