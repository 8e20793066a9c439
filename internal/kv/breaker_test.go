package kv_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/testenv"
)

func TestBreakerOpensOnAKilledServerAndClosesWhenItIsBack(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c, j := connect(t, []string{srv.Addr()}, func(o *kv.Options) { o.BreakerCooldown = 300 * time.Millisecond })
	must(t, set(ctx, c, "k", "v"))
	if got := c.BreakerState(); got != "closed" {
		t.Errorf("breaker is %s", got)
	}
	srv.Kill()
	for i := range 3 {
		var u *unavailable
		if err := set(ctx, c, "k", "v"); !errors.As(err, &u) || u.retryAfter != 0 {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	if got := c.BreakerState(); got != "open" {
		t.Errorf("breaker is %s after three failures", got)
	}
	start := time.Now()
	var u *unavailable
	if err := set(ctx, c, "k", "v"); !errors.As(err, &u) || u.retryAfter <= 0 || u.retryAfter > 300*time.Millisecond {
		t.Errorf("open: %v, retry after %v", err, u)
	}
	if took := time.Since(start); took > 100*time.Millisecond {
		t.Errorf("an open breaker answered after %s", took)
	}
	for _, r := range c.DoMulti(ctx, []rueidis.Completed{c.B().Get().Key("k").Build(), c.B().Get().Key("k").Build()}) {
		if !errors.As(r.Err, &u) || u.retryAfter <= 0 {
			t.Errorf("batch: %v", r.Err)
		}
	}

	// A probe that fails opens it anew.
	testenv.Eventually(t, "failed probe", func() (bool, string) {
		_, err := get(ctx, c, "k")
		return isUnavailable(err) && len(j.of("opened")) == 2, fmt.Sprint(err, j.events())
	})
	srv.Restart(t)
	testenv.Eventually(t, "probe", func() (bool, string) {
		err := set(ctx, c, "k", "new")
		return err == nil, fmt.Sprint(err)
	})
	if got := c.BreakerState(); got != "closed" {
		t.Errorf("breaker is %s after a probe", got)
	}
	opened := slices.Repeat([]string{"opened " + srv.Addr()}, len(j.of("opened")))
	want := append(opened, "closed "+srv.Addr(), "reconnected "+srv.Addr())
	if got := j.events(); !slices.Equal(got, want) {
		t.Errorf("events %v, want %v", got, want)
	}
}

func TestBreakerCountsTransportFailuresOnly(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c, j := connect(t, []string{srv.Addr()}, func(o *kv.Options) { o.BreakerFailures = 1 })
	must(t, set(ctx, c, "text", "v"))
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	for range 5 {
		if _, err := get(ctx, c, "none"); !kv.IsNil(err) {
			t.Errorf("nil: %v", err)
		}
		if _, err := c.Do(ctx, c.B().Lpush().Key("text").Element("x").Build()); !kv.IsWrongType(err) {
			t.Errorf("wrong type: %v", err)
		}
		if err := push(ctx, c, "text", "x"); !kv.IsWrongType(err) || isUnavailable(err) {
			t.Errorf("wrong type in a script: %v", err)
		}
		if _, err := c.Run(ctx, kv.ListPush, []string{"list"}, []string{"no number", "x"}); err == nil || isUnavailable(err) {
			t.Errorf("script error: %v", err)
		}
		if err := set(cancelled, c, "k", "v"); !errors.Is(err, context.Canceled) || isUnavailable(err) {
			t.Errorf("cancelled: %v", err)
		}
	}
	// Cancelled while the server is asked.
	srv.Freeze(t)
	for range 5 {
		short, cancel := context.WithTimeout(ctx, 10*time.Millisecond)
		if _, err := get(short, c, "k"); !errors.Is(err, context.DeadlineExceeded) || isUnavailable(err) {
			t.Errorf("given up: %v", err)
		}
		cancel()
	}
	if got := c.BreakerState(); got != "closed" {
		t.Errorf("breaker is %s", got)
	}
	srv.Thaw(t)
	must(t, set(ctx, c, "k", "v"))
	if got := j.events(); len(got) != 0 {
		t.Errorf("events: %v", got)
	}
}

// keys returns a key of each node.
func keys(t testing.TB, cl *testenv.Cluster) []string {
	t.Helper()
	found := make([]string, len(cl.Nodes))
	for i := 0; slices.Contains(found, ""); i++ {
		key := fmt.Sprint("key", i)
		at := slices.Index(cl.Nodes, cl.Owner(t, cl.Slot(t, key)))
		if found[at] == "" {
			found[at] = key
		}
	}
	return found
}

func TestClusterNodeThatIsDownDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(testing.TB, *testenv.Server){
		"killed": func(_ testing.TB, s *testenv.Server) { s.Kill() },
		"frozen": func(t testing.TB, s *testenv.Server) { s.Freeze(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := testenv.Context(t)
			cl := testenv.NewCluster(t)
			c, j := connect(t, cl.Addrs(), inCluster, func(o *kv.Options) {
				o.CallTimeout, o.BreakerCooldown = 500*time.Millisecond, time.Minute
			})
			keys := keys(t, cl)
			for _, key := range keys {
				must(t, set(ctx, c, key, "v"))
			}
			fault(t, cl.Nodes[1])
			testenv.Eventually(t, "open breaker", func() (bool, string) {
				err := set(ctx, c, keys[1], "w")
				var u *unavailable
				return errors.As(err, &u) && u.retryAfter > 0, fmt.Sprint(err)
			})
			batch := make([]rueidis.Completed, len(keys))
			for i, key := range keys {
				batch[i] = c.B().Get().Key(key).Build()
			}
			for i, r := range c.DoMulti(ctx, batch) {
				v, _ := r.Msg.ToString()
				if i == 1 && !isUnavailable(r.Err) || i != 1 && (r.Err != nil || v != "v") {
					t.Errorf("node %d: %q %v", i, v, r.Err)
				}
			}
			must(t, set(ctx, c, keys[0], "w"))
			must(t, push(ctx, c, "{"+keys[2]+"}list", "x"))
			if got := c.BreakerState(); got != "open" {
				t.Errorf("the worst breaker is open, reported %s", got)
			}
			want := []string{fmt.Sprint("opened slot ", cl.Slot(t, keys[1]))}
			if got := j.of("opened"); !slices.Equal(got, want) {
				t.Errorf("events %v, want %v", got, want)
			}
			if c.Publish() != "SPUBLISH" || !c.Cluster() {
				t.Error("a cluster publishes in shards")
			}
		})
	}
}

func TestCallTimeout(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(testing.TB, *testenv.Server, *testenv.Proxy){
		"frozen":  func(t testing.TB, s *testenv.Server, _ *testenv.Proxy) { s.Freeze(t) },
		"stalled": func(_ testing.TB, _ *testenv.Server, p *testenv.Proxy) { p.Stall() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := testenv.Context(t)
			srv := testenv.NewRedis(t)
			proxy := testenv.NewProxy(t, srv.Addr())
			c, _ := connect(t, []string{proxy.Addr()}, func(o *kv.Options) {
				o.CallTimeout, o.BreakerFailures = 200*time.Millisecond, 1000
			})
			must(t, set(ctx, c, "k", "v"))
			fault(t, srv, proxy)
			// Until the connection is given up, and while a new one is tried.
			for end := time.Now().Add(2500 * time.Millisecond); time.Now().Before(end); {
				start := time.Now()
				for what, do := range map[string]func() error{
					"read":   func() error { _, err := get(ctx, c, "k"); return err },
					"write":  func() error { return set(ctx, c, "k", "w") },
					"script": func() error { return push(ctx, c, "list", "x") },
				} {
					if err := do(); !isUnavailable(err) {
						t.Fatalf("%s: %v", what, err)
					}
				}
				if took := time.Since(start); took > 3*200*time.Millisecond+700*time.Millisecond {
					t.Errorf("three calls took %s", took)
				}
			}
			if name == "frozen" {
				srv.Thaw(t)
			} else {
				proxy.Flow()
			}
			testenv.Eventually(t, "answer", func() (bool, string) {
				_, err := get(ctx, c, "k")
				return err == nil, fmt.Sprint(err)
			})
		})
	}
}

// promptly fails the test unless do ends with the context's error well before
// any timeout could have ended it, be it cancelled or late.
func promptly(t *testing.T, what string, do func(ctx context.Context) error) {
	t.Helper()
	for _, want := range []error{context.DeadlineExceeded, context.Canceled} {
		ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
		if want == context.Canceled {
			ctx, cancel = context.WithCancel(context.Background())
			time.AfterFunc(50*time.Millisecond, cancel)
		}
		start := time.Now()
		if err := do(ctx); !errors.Is(err, want) || isUnavailable(err) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
		if took := time.Since(start); took > 600*time.Millisecond {
			t.Errorf("%s returned %s after it began, its context ended after 50 ms", what, took)
		}
		cancel()
	}
}

// everyCall calls each method that asks the server.
func everyCall(t *testing.T, c *kv.Client, near kv.Near[string], key string) {
	t.Helper()
	promptly(t, "Do", func(ctx context.Context) error { return set(ctx, c, key, "v") })
	promptly(t, "read", func(ctx context.Context) error { _, err := get(ctx, c, key); return err })
	promptly(t, "DoMulti", func(ctx context.Context) error {
		return c.DoMulti(ctx, []rueidis.Completed{c.B().Get().Key(key).Build()})[0].Err
	})
	promptly(t, "Run", func(ctx context.Context) error { return push(ctx, c, key, "x") })
	promptly(t, "RunMulti", func(ctx context.Context) error {
		return c.RunMulti(ctx, kv.TickBeat, []kv.ScriptCall{beat(key), beat(key)})[1].Err
	})
	promptly(t, "Block", func(ctx context.Context) error {
		_, err := c.Block(ctx, time.Minute, c.B().Blpop().Key(key).Timeout(60).Build())
		return err
	})
	promptly(t, "Near", func(ctx context.Context) error { _, _, err := near.Get(ctx, key); return err })
	promptly(t, "Session", func(ctx context.Context) error {
		s, err := c.Session(ctx, func(string, string) {}, func(string) {})
		if err != nil {
			return err
		}
		defer func() { go s.Close() }() // a silent server holds it up for a second
		return s.Subscribe(ctx, []string{key})
	})
}

// noticed returns when the client knows that its connection was killed, and
// cannot make another.
func noticed(t testing.TB, c *kv.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(testenv.Context(t), 50*time.Millisecond)
	defer cancel()
	if _, err := get(ctx, c, "k"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after the connection was killed: %v", err)
	}
}

func TestCallersWhoGiveUpAreNotHeldUp(t *testing.T) {
	t.Parallel()
	long := func(o *kv.Options) {
		o.CallTimeout, o.ConnectTimeout, o.BreakerFailures, o.MaxConnections = 30*time.Second, 20*time.Second, 1000, 50
	}
	t.Run("frozen", func(t *testing.T) {
		t.Parallel()
		srv := testenv.NewRedis(t)
		c, _ := connect(t, []string{srv.Addr()}, long)
		near := nearText(c, "near", 10)
		must(t, set(testenv.Context(t), c, "k", "v"))
		srv.Freeze(t)
		everyCall(t, c, near, "k")
	})
	t.Run("connecting to a frozen server", func(t *testing.T) {
		t.Parallel()
		srv := testenv.NewRedis(t)
		c, _ := connect(t, []string{srv.Addr()}, long)
		near := nearText(c, "near", 10)
		must(t, set(testenv.Context(t), c, "k", "v"))
		srv.KillClients(t, "normal")
		srv.Freeze(t)
		noticed(t, c)
		everyCall(t, c, near, "k")
	})
	t.Run("connecting to a stalled proxy", func(t *testing.T) {
		t.Parallel()
		proxy := testenv.NewProxy(t, testenv.Redis(t).Addr())
		c, _ := connect(t, []string{proxy.Addr()}, long)
		near := nearText(c, "near", 10)
		must(t, set(testenv.Context(t), c, "k", "v"))
		proxy.Cut()
		proxy.Restore(t)
		proxy.Stall()
		noticed(t, c)
		everyCall(t, c, near, "k")
	})
	t.Run("before any connection to a frozen node", func(t *testing.T) {
		t.Parallel()
		cl := testenv.NewCluster(t)
		keys := keys(t, cl)
		c, _ := connect(t, cl.Addrs()[:1], inCluster, long)
		near := nearText(c, "near", 10)
		cl.Nodes[1].Freeze(t)
		// Somebody who is patient connects, and must not hold up the others.
		var patient sync.WaitGroup
		ctx, cancel := context.WithCancel(testenv.Context(t))
		patient.Go(func() {
			if _, err := get(ctx, c, keys[1]); !errors.Is(err, context.Canceled) && !isUnavailable(err) {
				t.Errorf("patient: %v", err)
			}
		})
		everyCall(t, c, near, keys[1])
		cancel()
		patient.Wait()
	})
}

func TestOneCallerGivingUpDoesNotFailOthersWhoConnect(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	cl := testenv.NewCluster(t)
	keys := keys(t, cl)
	c, j := connect(t, cl.Addrs()[:1], inCluster, func(o *kv.Options) { o.BreakerFailures = 1 })
	cl.Nodes[1].Freeze(t)
	var wg sync.WaitGroup
	defer wg.Wait()
	for range 4 {
		wg.Go(func() {
			if _, err := get(ctx, c, keys[1]); !kv.IsNil(err) {
				t.Errorf("patient caller: %v", err)
			}
		})
	}
	for range 3 { // a handshake may take a second
		promptly(t, "impatient caller", func(ctx context.Context) error { _, err := get(ctx, c, keys[1]); return err })
	}
	cl.Nodes[1].Thaw(t)
	wg.Wait()
	if got := j.of("opened"); len(got) != 0 {
		t.Errorf("events: %v", got)
	}
}
