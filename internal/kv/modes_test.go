package kv_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/testenv"
)

func TestTLSWithAUserOfOnePrefix(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewTLS(t, "bots")
	c, _ := connect(t, []string{srv.Addr()}, func(o *kv.Options) {
		o.TLS, o.Username, o.Password = clientTLS(t, srv), srv.User, srv.Password
	})
	must(t, set(ctx, c, "bots:k", "v"))
	must(t, push(ctx, c, "bots:list", "x"))
	held(t, nearText(c, "near", 10), "bots:k", "v")
	err := set(ctx, c, "others:k", "v")
	if re, ok := rueidis.IsRedisErr(err); !ok || !strings.HasPrefix(re.Error(), "NOPERM") || isUnavailable(err) {
		t.Errorf("another prefix: %v", err)
	}

	// A server that speaks TLS to a client that does not, and one that asks for a
	// certificate that the client does not have.
	j := &journal{}
	if _, err := kv.Open(ctx, options(j, srv.Addr())); !isUnavailable(err) {
		t.Errorf("without TLS: %v", err)
	}
	opt := options(j, srv.Addr())
	opt.TLS = clientTLS(t, srv)
	opt.TLS.Certificates = nil
	if _, err := kv.Open(ctx, opt); !isUnavailable(err) {
		t.Errorf("without a certificate: %v", err)
	}
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewSocket(t)
	c, _ := connect(t, []string{srv.Addr()}, func(o *kv.Options) { o.Network = "unix" })
	must(t, set(ctx, c, "k", "v"))
	if v, err := srv.Do(t, "GET", "k").ToString(); v != "v" || err != nil {
		t.Errorf("got %q, %v", v, err)
	}
}

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	s := testenv.NewSentinel(t)
	c, j := connect(t, s.Addrs(), func(o *kv.Options) {
		o.SentinelMaster = testenv.SentinelMaster
		o.CallTimeout = time.Second
	})
	must(t, set(ctx, c, "k", "old"))
	if v, err := s.Master.Do(t, "GET", "k").ToString(); v != "old" || err != nil {
		t.Fatalf("the master has %q, %v", v, err)
	}
	var (
		wg     sync.WaitGroup
		stop   atomic.Bool
		failed atomic.Int64
	)
	wg.Go(func() {
		for i := 0; !stop.Load(); i++ {
			if err := set(ctx, c, "loop", strconv.Itoa(i)); err != nil {
				failed.Add(1)
				if !isUnavailable(err) {
					t.Errorf("write during the failover: %v", err)
				}
			}
		}
	})
	s.Failover(t)
	testenv.Eventually(t, "write to the new master", func() (bool, string) {
		err := set(ctx, c, "k", "new")
		return err == nil, fmt.Sprint(err)
	})
	stop.Store(true)
	wg.Wait()
	if v, err := s.Replicas[0].Do(t, "GET", "k").ToString(); v != "new" || err != nil {
		t.Errorf("the new master has %q, %v", v, err)
	}
	must(t, push(ctx, c, "list", "x"))
	if failed.Load() == 0 || len(j.of("reconnected")) == 0 || c.BreakerState() != "closed" {
		t.Errorf("%d writes failed, breaker %s, events: %v", failed.Load(), c.BreakerState(), j.events())
	}
}

func TestSlotThatMovesUnderCalls(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	cl := testenv.NewCluster(t)
	keys := keys(t, cl)
	tag := "{" + keys[0] + "}"
	c, j := connect(t, cl.Addrs(), inCluster)
	var (
		wg   sync.WaitGroup
		stop atomic.Bool
		done [3]atomic.Int64
	)
	loop := func(n int, do func(i int) error) {
		wg.Go(func() {
			for i := 0; !stop.Load(); i++ {
				if err := do(i); err != nil {
					t.Errorf("loop %d, call %d: %v", n, i, err)
					return
				}
				done[n].Add(1)
			}
		})
	}
	loop(0, func(i int) error {
		if err := set(ctx, c, tag+"k", strconv.Itoa(i)); err != nil {
			return err
		}
		v, err := get(ctx, c, tag+"k")
		if err == nil && v != strconv.Itoa(i) {
			err = fmt.Errorf("read %q after writing %d", v, i)
		}
		return err
	})
	loop(1, func(i int) error { return push(ctx, c, tag+"list", strconv.Itoa(i)) })
	loop(2, func(int) error {
		for _, r := range c.RunMulti(ctx, kv.TickBeat, []kv.ScriptCall{
			{Keys: []string{tag + "beat"}, Args: []string{"100000", "SPUBLISH", tag}},
			{Keys: []string{keys[2]}, Args: []string{"100000", "SPUBLISH", "{" + keys[2] + "}"}},
		}) {
			if r.Err != nil {
				return r.Err
			}
		}
		return nil
	})
	for _, to := range []int{1, 2, 0} {
		cl.MoveSlot(t, cl.Slot(t, keys[0]), cl.Nodes[to])
		for n := range done {
			seen := done[n].Load()
			testenv.Eventually(t, "calls", func() (bool, string) { return done[n].Load() > seen+20 || t.Failed(), fmt.Sprint("loop ", n) })
		}
	}
	stop.Store(true)
	wg.Wait()
	want := make([]string, done[1].Load())
	for i := range want {
		want[i] = strconv.Itoa(i)
	}
	if got := list(t, cl.Nodes[0], tag+"list"); !slices.Equal(got, want) {
		t.Errorf("%d elements, want %d in order", len(got), len(want))
	}
	if got := j.of("opened"); len(got) != 0 {
		t.Errorf("events: %v", got)
	}
}

func TestNodes(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	t.Run("standalone", func(t *testing.T) {
		t.Parallel()
		srv := testenv.Redis(t)
		c, _ := connect(t, []string{srv.Addr()})
		nodes, err := c.Nodes(ctx)
		must(t, err)
		if got := slices.Collect(maps.Keys(nodes)); !slices.Equal(got, []string{srv.Addr()}) {
			t.Errorf("nodes %v", got)
		}
		pong, err := c.DoNode(ctx, nodes[srv.Addr()], c.B().Ping().Build())
		must(t, err)
		if text, err := pong.ToString(); text != "PONG" || err != nil {
			t.Errorf("got %q, %v", text, err)
		}
	})
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		cl := testenv.NewCluster(t)
		// A replica is no master, and listing both would list each key twice.
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		bus := strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
		must(t, l.Close())
		replica := testenv.NewRedis(t, "--cluster-enabled", "yes", "--cluster-port", bus)
		cl.Nodes[0].Do(t, "CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(replica.Port()), bus)
		id, err := cl.Nodes[0].Do(t, "CLUSTER", "MYID").ToString()
		must(t, err)
		testenv.Eventually(t, "replica", func() (bool, string) {
			_, err := replica.Try(t, "CLUSTER", "REPLICATE", id)
			if err != nil {
				return false, err.Error()
			}
			shards, err := cl.Nodes[1].Do(t, "CLUSTER", "NODES").ToString()
			must(t, err)
			return strings.Contains(shards, "slave "+id), shards
		})
		c, _ := connect(t, cl.Addrs(), inCluster, func(o *kv.Options) { o.CallTimeout, o.BreakerFailures = time.Second, 1000 })
		want := slices.Sorted(slices.Values(cl.Addrs()))
		testenv.Eventually(t, "client that knows the replica", func() (bool, string) {
			nodes, err := c.Nodes(ctx)
			must(t, err)
			if got := slices.Sorted(maps.Keys(nodes)); !slices.Equal(got, want) {
				t.Fatalf("nodes %v, want %v", got, want)
			}
			return replica.Counts(t)["role"] > 0, "it was never asked for its role"
		})
		cl.Nodes[2].Freeze(t)
		if _, err := c.Nodes(ctx); !isUnavailable(err) {
			t.Errorf("a node that does not answer is left out: %v", err)
		}
	})
}

// lateContext ends when the connection is already made.
type lateContext struct {
	context.Context
	made func()
}

func (c lateContext) Done() <-chan struct{} {
	c.made()
	ended := make(chan struct{})
	close(ended)
	return ended
}

func (c lateContext) Err() error { return context.Canceled }

func TestOpenGivenUpWhenTheConnectionIsMadeLeavesNone(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	ours := func() int {
		clients, err := srv.Do(t, "CLIENT", "LIST").ToString()
		must(t, err)
		return strings.Count(clients, "name=fulloncache")
	}
	for range 20 {
		ctx := lateContext{testenv.Context(t), func() {
			testenv.Eventually(t, "connection", func() (bool, string) { return ours() > 0, "none" })
		}}
		c, err := kv.Open(ctx, options(&journal{}, srv.Addr()))
		switch {
		case err == nil:
			c.Close()
		case !errors.Is(err, context.Canceled):
			t.Errorf("got %v", err)
		}
		testenv.Eventually(t, "its end", func() (bool, string) { n := ours(); return n == 0, fmt.Sprint(n) })
	}
}
