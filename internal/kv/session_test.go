package kv_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/testenv"
)

func ignoreMessage(string, string) {}

func ignoreDrop(string) {}

func receive(t testing.TB, what string, from <-chan string) string {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(testenv.Patience):
		t.Fatalf("no %s", what)
		return ""
	}
}

func TestSession(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(t testing.TB) (*kv.Client, func(key string) *testenv.Server){
		"standalone": func(t testing.TB) (*kv.Client, func(string) *testenv.Server) {
			c, _ := connect(t, []string{testenv.Redis(t).Addr()})
			return c, func(string) *testenv.Server { return testenv.Redis(t) }
		},
		"cluster": func(t testing.TB) (*kv.Client, func(string) *testenv.Server) {
			cl := testenv.SharedCluster(t)
			c, _ := connect(t, cl.Addrs(), inCluster)
			return c, func(key string) *testenv.Server { return cl.Owner(t, cl.Slot(t, key)) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := testenv.Context(t)
			c, node := start(t)
			tag := "{" + testenv.Prefix(t) + "}"
			messages, drops := make(chan string, 10), make(chan string, 10)
			s, err := c.Session(ctx, func(channel, m string) { messages <- channel + " " + m }, func(channel string) { drops <- channel })
			must(t, err)
			t.Cleanup(s.Close)
			must(t, s.Subscribe(ctx, []string{tag + "a", tag + "b"}))
			must(t, set(ctx, c, tag+"key", "v"))
			for _, channel := range []string{"a", "b"} {
				node(tag).Do(t, c.Publish(), tag+channel, "m"+channel)
				if got, want := receive(t, "message", messages), tag+channel+" m"+channel; got != want {
					t.Errorf("got %q, want %q", got, want)
				}
			}
			msg, err := s.Get(ctx, tag+"key")
			must(t, err)
			if v, err := msg.ToString(); v != "v" || err != nil {
				t.Errorf("got %q, %v", v, err)
			}
			if _, err := s.Get(ctx, tag+"none"); !kv.IsNil(err) {
				t.Errorf("absent: %v", err)
			}
			if len(drops) > 0 {
				t.Errorf("dropped %q", <-drops)
			}
		})
	}
}

func TestSessionTellsThatItsConnectionIsLost(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c, _ := connect(t, []string{srv.Addr()})
	s, err := c.Session(ctx, ignoreMessage, ignoreDrop)
	must(t, err)
	defer s.Close()
	must(t, s.Subscribe(ctx, []string{"channel"}))
	srv.KillClients(t, "pubsub")
	select {
	case err := <-s.Lost():
		if err == nil {
			t.Error("lost without an error")
		}
	case <-time.After(testenv.Patience):
		t.Fatal("the loss is not told")
	}
	if _, err := s.Get(ctx, "k"); err == nil {
		t.Error("a lost session answers")
	}
}

func TestSessionTellsThatItsSlotMoved(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	cl := testenv.NewCluster(t)
	keys := keys(t, cl)
	c, _ := connect(t, cl.Addrs(), inCluster)
	drops := make(chan string, 1)
	s, err := c.Session(ctx, ignoreMessage, func(channel string) { drops <- channel })
	must(t, err)
	defer s.Close()
	must(t, s.Subscribe(ctx, []string{keys[0]}))
	cl.MoveSlot(t, cl.Slot(t, keys[0]), cl.Nodes[1])
	if got := receive(t, "end of the subscription", drops); got != keys[0] {
		t.Errorf("dropped %q", got)
	}
}

func TestConnectionsBeyondTheMaximumWait(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	c, _ := connect(t, []string{testenv.Redis(t).Addr()}, func(o *kv.Options) { o.MaxConnections = 3 })
	key := testenv.Prefix(t)
	var sessions []*kv.Session
	for range 2 {
		s, err := c.Session(ctx, ignoreMessage, ignoreDrop)
		must(t, err)
		sessions = append(sessions, s)
	}
	open := func(ctx context.Context) error { _, err := c.Session(ctx, ignoreMessage, ignoreDrop); return err }
	block := func(ctx context.Context) error {
		_, err := c.Block(ctx, 5*time.Second, c.B().Blpop().Key(key).Timeout(5).Build())
		return err
	}
	promptly(t, "third session", open)
	promptly(t, "blocking wait", block)
	must(t, set(ctx, c, key+"other", "v")) // commands need none of them

	answered := make(chan string, 1)
	go func() {
		msg, err := c.Block(ctx, 20*time.Second, c.B().Blpop().Key(key).Timeout(20).Build())
		list, _ := msg.AsStrSlice()
		answered <- fmt.Sprint(list, err)
	}()
	sessions[0].Close()
	must(t, push(ctx, c, key, "element"))
	if got, want := receive(t, "answer", answered), fmt.Sprint([]string{key, "element"}, error(nil)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}

	// Those who wait when the client is closed are told.
	s, err := c.Session(ctx, ignoreMessage, ignoreDrop)
	must(t, err)
	waiting := make(chan error, 2)
	go func() { waiting <- open(ctx) }()
	go func() { waiting <- block(ctx) }()
	testenv.Eventually(t, "two who wait", func() (bool, string) { n := stacks("kv.(*Client).acquire"); return n >= 2, fmt.Sprint(n) })
	c.Close()
	for range 2 {
		if err := <-waiting; !errors.Is(err, errClosed) {
			t.Errorf("got %v", err)
		}
	}
	s.Close()
	sessions[1].Close()
}

// stacks counts the goroutines in a function.
func stacks(function string) int {
	buf := make([]byte, 16<<20)
	return strings.Count(string(buf[:runtime.Stack(buf, true)]), function+"(")
}

func TestBlockWaitsAsLongAsItIsAllowedTo(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	c, j := connect(t, []string{testenv.Redis(t).Addr()}, func(o *kv.Options) { o.CallTimeout = 300 * time.Millisecond })
	key := testenv.Prefix(t)
	start := time.Now()
	_, err := c.Block(ctx, 1500*time.Millisecond, c.B().Blpop().Key(key).Timeout(1.5).Build())
	if took := time.Since(start); !kv.IsNil(err) || took < 1400*time.Millisecond {
		t.Errorf("got %v after %s", err, took)
	}
	if _, err := c.Block(ctx, 0, c.B().Blpop().Key(key).Timeout(60).Build()); !isUnavailable(err) {
		t.Errorf("a server that keeps on blocking: %v", err)
	}
	if got := j.events(); len(got) != 0 {
		t.Errorf("events: %v", got)
	}
}

func TestGoneContextsAndClosedClients(t *testing.T) {
	t.Parallel()
	c, _ := connect(t, []string{testenv.Redis(t).Addr()})
	cancelled, cancel := context.WithCancel(testenv.Context(t))
	cancel()
	// A free connection and an ended context race: each must be told apart each time.
	all := func(ctx context.Context, want error) {
		t.Helper()
		near := nearText(c, "near", 10)
		for range 50 {
			for what, err := range map[string]error{
				"Do":    set(ctx, c, "k", "v"),
				"Run":   push(ctx, c, "k", "v"),
				"batch": c.RunMulti(ctx, kv.TickBeat, []kv.ScriptCall{beat("k")})[0].Err,
				"Block": func() error {
					_, err := c.Block(ctx, time.Second, c.B().Blpop().Key("k").Timeout(1).Build())
					return err
				}(),
				"Session": func() error { _, err := c.Session(ctx, ignoreMessage, ignoreDrop); return err }(),
				"Near":    func() error { _, _, err := near.Get(ctx, "k"); return err }(),
			} {
				if !errors.Is(err, want) || isUnavailable(err) {
					t.Fatalf("%s: %v, want %v", what, err, want)
				}
			}
		}
	}
	all(cancelled, context.Canceled)
	c.Close()
	all(testenv.Context(t), errClosed)
	c.Background(func(context.Context) { t.Error("a closed client starts goroutines") })
	c.Close()
}

func TestCloseWhileCallsAreInFlight(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(testing.TB, *testenv.Server){
		"answering": func(testing.TB, *testenv.Server) {},
		"frozen":    func(t testing.TB, s *testenv.Server) { s.Freeze(t) },
		"connecting": func(t testing.TB, s *testenv.Server) {
			s.KillClients(t, "normal")
			s.Freeze(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := testenv.Context(t)
			srv := testenv.NewRedis(t)
			c, _ := connect(t, []string{srv.Addr()}, func(o *kv.Options) { o.CallTimeout, o.ConnectTimeout = 30*time.Second, 20*time.Second })
			near := nearText(c, "near", 10)
			must(t, set(ctx, c, "k", "v"))
			ended := make(chan struct{})
			c.Background(func(ctx context.Context) { <-ctx.Done(); close(ended) })
			var (
				wg   sync.WaitGroup
				done atomic.Int64
			)
			loop := func(what string, do func() error) {
				wg.Go(func() {
					for {
						err := do()
						if errors.Is(err, errClosed) {
							return
						}
						if err != nil && !kv.IsNil(err) && (name == "answering" || !isUnavailable(err)) {
							t.Errorf("%s: %v", what, err)
							return
						}
						done.Add(1)
					}
				})
			}
			fault(t, srv)
			for range 4 {
				loop("read", func() error { _, err := get(ctx, c, "k"); return err })
				loop("write", func() error { return set(ctx, c, "k", "v") })
				loop("script", func() error { return push(ctx, c, "list", "x") })
				loop("near", func() error { _, _, err := near.Get(ctx, "k"); return err })
			}
			loop("block", func() error {
				_, err := c.Block(ctx, 60*time.Second, c.B().Blpop().Key("none").Timeout(60).Build())
				return err
			})
			if name == "answering" {
				testenv.Eventually(t, "calls", func() (bool, string) { return done.Load() > 500, "few" })
			} else {
				testenv.Eventually(t, "calls in flight", func() (bool, string) { n := stacks("kv.call[...]"); return n >= 13, fmt.Sprint(n) })
			}
			start := time.Now()
			c.Close()
			select {
			case <-ended:
			default:
				t.Error("Close returned before a background goroutine ended")
			}
			wg.Wait()
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("Close took %s", took)
			}
			c.Close()
		})
	}
}
