package kv_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/testenv"
)

// nearText is a near cache of text.
func nearText(c *kv.Client, name string, size int) kv.Near[string] {
	return nearTextDuring(c, name, size, func(string) {})
}

// nearTextDuring calls a function between each reply and its being kept.
func nearTextDuring(c *kv.Client, name string, size int, during func(key string)) kv.Near[string] {
	return kv.NewNear(c, name, size, kv.Read[string]{
		Command: kv.GetCommand,
		Decode: func(key string, m rueidis.RedisMessage, err error) (string, error) {
			if err != nil {
				return "", err
			}
			during(key)
			return m.ToString()
		},
	})
}

// held waits until a read of key is answered by the near cache, with want.
func held(t testing.TB, n kv.Near[string], key, want string) {
	t.Helper()
	testenv.Eventually(t, "near value", func() (bool, string) {
		v, hit, err := n.Get(context.Background(), key)
		return v == want && hit && err == nil, fmt.Sprint(v, hit, err)
	})
}

func TestNearAnswersWithoutTheServerUntilTheKeyChanges(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c, j := connect(t, []string{srv.Addr()}, func(o *kv.Options) { o.NearStaleness = time.Minute })
	near := nearText(c, "near", 100)
	other := nearText(c, "other", 100)
	srv.Do(t, "SET", "k", "v")
	if v, hit, err := near.Get(ctx, "k"); v != "v" || hit || err != nil {
		t.Fatalf("first read: %q %t %v", v, hit, err)
	}
	before := srv.Counts(t)["get"]
	for range 1000 {
		if v, hit, err := near.Get(ctx, "k"); v != "v" || !hit || err != nil {
			t.Fatalf("later read: %q %t %v", v, hit, err)
		}
	}
	if got := srv.Counts(t)["get"] - before; got != 0 {
		t.Errorf("1000 hits asked the server %d times", got)
	}
	held(t, other, "k", "v")

	for i := range 20 {
		want := strconv.Itoa(i)
		srv.Do(t, "SET", "k", want)
		held(t, near, "k", want)
		held(t, other, "k", want)
	}
	srv.Do(t, "DEL", "k")
	testenv.Eventually(t, "absence", func() (bool, string) {
		_, _, err := near.Get(ctx, "k")
		return kv.IsNil(err), fmt.Sprint(err)
	})
	before = srv.Counts(t)["get"]
	if _, hit, err := near.Get(ctx, "k"); !kv.IsNil(err) || hit || srv.Counts(t)["get"] != before+1 {
		t.Errorf("absence is not kept: %t %v", hit, err)
	}
	if got := j.events(); len(got) != 0 {
		t.Errorf("events: %v", got)
	}

	srv.Do(t, "SET", "k", "again")
	held(t, near, "k", "again")
	srv.Do(t, "FLUSHALL")
	testenv.Eventually(t, "FLUSHALL", func() (bool, string) {
		_, _, err := near.Get(ctx, "k")
		return kv.IsNil(err), fmt.Sprint(err)
	})
	if got := j.of("flushed"); !slices.Equal(got, []string{"flushed near", "flushed other"}) {
		t.Errorf("events: %v", got)
	}
}

func TestNearKeepsNoFailure(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c, _ := connect(t, []string{srv.Addr()})
	asked := errors.New("not a number")
	near := kv.NewNear(c, "near", 100, kv.Read[int64]{
		Command: kv.GetCommand,
		Decode: func(_ string, m rueidis.RedisMessage, err error) (int64, error) {
			if err != nil {
				return 0, err
			}
			n, err := m.AsInt64()
			if err != nil {
				return 0, asked
			}
			return n, nil
		},
	})
	srv.Do(t, "SET", "k", "x")
	for range 3 {
		before := srv.Counts(t)["get"]
		if _, hit, err := near.Get(ctx, "k"); hit || !errors.Is(err, asked) {
			t.Errorf("got %t %v", hit, err)
		}
		if got := srv.Counts(t)["get"] - before; got != 1 {
			t.Errorf("asked %d times", got)
		}
	}
	srv.Do(t, "DEL", "k")
	srv.Do(t, "LPUSH", "k", "x")
	if _, hit, err := near.Get(ctx, "k"); hit || !kv.IsWrongType(err) {
		t.Errorf("got %t %v", hit, err)
	}
}

func TestNearIsBounded(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c, _ := connect(t, []string{srv.Addr()}, func(o *kv.Options) { o.NearStaleness = time.Minute })
	const size, keys = 20, 500
	near := nearText(c, "near", size)
	for i := range keys {
		key := strconv.Itoa(i)
		srv.Do(t, "SET", key, key)
		if v, _, err := near.Get(ctx, key); v != key || err != nil {
			t.Fatalf("%s: %q %v", key, v, err)
		}
	}
	testenv.Eventually(t, "eviction", func() (bool, string) {
		// Which ones are kept is read from memory: nothing is asked for a hit, and
		// a context that has ended asks nothing at all.
		ended, cancel := context.WithCancel(ctx)
		cancel()
		hits := 0
		for i := range keys {
			if _, hit, _ := near.Get(ended, strconv.Itoa(i)); hit {
				hits++
			}
		}
		return hits > 0 && hits <= size, fmt.Sprintf("%d kept", hits)
	})
}

// Readers never see an older value than one whose invalidation has arrived
// before they asked, even when a write falls between a read's answer and its
// being kept.
func TestNearKeepsNoValueThatWasOverwrittenMeanwhile(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c, _ := connect(t, []string{srv.Addr()}, func(o *kv.Options) { o.NearStaleness = time.Minute })
	var near kv.Near[string]
	during := func() {}
	near = nearTextDuring(c, "near", 100, func(string) {
		do := during
		during = func() {} // not during what this one reads
		do()
	})
	srv.Do(t, "SET", "k", "old")

	// The write happens, and its invalidation arrives, while the old value is
	// being decoded: the answer of a later read on the same connection proves it.
	during = func() {
		srv.Do(t, "SET", "k", "new")
		if v, err := get(ctx, c, "k"); v != "new" || err != nil {
			t.Errorf("on the same connection: %q %v", v, err)
		}
		// One that begins now keeps its own, new value.
		if v, _, err := near.Get(ctx, "k"); v != "new" || err != nil {
			t.Errorf("a read that begins later: %q %v", v, err)
		}
	}
	v, hit, err := near.Get(ctx, "k")
	if v != "old" || hit || err != nil {
		t.Fatalf("got %q %t %v", v, hit, err)
	}
	if v, _, err := near.Get(ctx, "k"); v != "new" || err != nil {
		t.Errorf("afterwards: %q %v", v, err)
	}
	srv.Do(t, "SET", "k", "newest")
	held(t, near, "k", "newest")

	// The same with a flush.
	srv.Do(t, "SET", "f", "old")
	during = func() {
		srv.Do(t, "FLUSHALL")
		if _, err := get(ctx, c, "f"); !kv.IsNil(err) {
			t.Errorf("on the same connection: %v", err)
		}
	}
	_, _, err = near.Get(ctx, "f")
	must(t, err)
	if v, hit, err := near.Get(ctx, "f"); !kv.IsNil(err) {
		t.Errorf("after FLUSHALL: %q %t %v", v, hit, err)
	}
}

// Who has changed a key need not wait for the server's word, nor does a read
// that was under way bring the old value back.
func TestNearForgetsWhatItsCallerHasChanged(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c, _ := connect(t, []string{srv.Addr()}, func(o *kv.Options) { o.NearStaleness = time.Minute })
	var near kv.Near[string]
	forget := false
	near = nearTextDuring(c, "near", 100, func(key string) {
		if forget {
			near.Forget(key)
		}
	})
	if v, ok := near.Peek("k", time.Now()); ok {
		t.Errorf("an empty cache holds %q", v)
	}
	srv.Do(t, "SET", "k", "v")
	held(t, near, "k", "v")
	now := time.Now()
	if v, ok := near.Peek("k", now); v != "v" || !ok {
		t.Errorf("got %q %t", v, ok)
	}
	if v, ok := near.Peek("k", now.Add(2*time.Minute)); ok {
		t.Errorf("got %q without a sign of life for longer than allowed", v)
	}
	near.Forget("k")
	if v, ok := near.Peek("k", now); ok {
		t.Errorf("%q is held after it was forgotten", v)
	}
	forget = true
	_, _, err := near.Get(ctx, "k")
	must(t, err)
	forget = false
	if v, ok := near.Peek("k", now); ok {
		t.Errorf("%q is held though it was forgotten while it was read", v)
	}
	held(t, near, "k", "v")
}

func TestNearNeverGoesBackUnderConcurrentWrites(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	addr := []string{testenv.Redis(t).Addr()}
	c, _ := connect(t, addr, func(o *kv.Options) { o.NearStaleness = time.Minute })
	writer, _ := connect(t, addr)
	key := testenv.Prefix(t)
	near := nearText(c, "near", 100)
	var (
		wg      sync.WaitGroup
		written atomic.Int64 // acknowledged, and its invalidation has arrived
		stop    atomic.Bool
		hits    atomic.Int64
	)
	must(t, set(ctx, writer, key, "0"))
	for range 4 {
		wg.Go(func() {
			for !stop.Load() {
				least := written.Load()
				v, hit, err := near.Get(ctx, key)
				n, perr := strconv.ParseInt(v, 10, 64)
				if err != nil || perr != nil || n < least {
					t.Errorf("read %q (hit %t, %v) after %d was written", v, hit, err, least)
					return
				}
				if hit {
					hits.Add(1)
				}
				runtime.Gosched()
			}
		})
	}
	for i := int64(1); i <= 200 && !t.Failed(); i++ {
		must(t, set(ctx, writer, key, strconv.FormatInt(i, 10)))
		// An answer on the reader's connection: what was pushed before has arrived.
		if _, err := get(ctx, c, key); err != nil {
			t.Fatal(err)
		}
		written.Store(i)
		if i%50 == 0 {
			seen := hits.Load()
			testenv.Eventually(t, "hits", func() (bool, string) { return hits.Load() > seen || t.Failed(), "none" })
		}
	}
	stop.Store(true)
	wg.Wait()
}

func TestNearIsFlushedWhenItsConnectionIsLost(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	proxy := testenv.NewProxy(t, srv.Addr())
	c, j := connect(t, []string{proxy.Addr()}, func(o *kv.Options) { o.NearStaleness, o.BreakerFailures = time.Minute, 1000 })
	near := nearText(c, "near", 100)
	srv.Do(t, "SET", "k", "old")
	held(t, near, "k", "old")
	proxy.Cut()
	testenv.Eventually(t, "flush", func() (bool, string) { return len(j.of("flushed")) > 0, fmt.Sprint(j.events()) })
	if v, hit, err := near.Get(ctx, "k"); hit || !isUnavailable(err) {
		t.Errorf("cut off: %q %t %v", v, hit, err)
	}
	srv.Do(t, "SET", "k", "new")
	proxy.Restore(t)
	testenv.Eventually(t, "new value", func() (bool, string) {
		v, hit, err := near.Get(ctx, "k")
		if v == "old" {
			t.Errorf("the old value after a reconnect (hit %t)", hit)
		}
		return v == "new" && err == nil, fmt.Sprint(v, err)
	})
	if got := j.of("flushed"); !slices.Equal(got, []string{"flushed near"}) {
		t.Errorf("events: %v", got)
	}
}

func TestNearServesNothingOlderThanItsLimit(t *testing.T) {
	t.Parallel()
	const limit = 600 * time.Millisecond
	for name, fault := range map[string]func(testing.TB, *testenv.Server, *testenv.Proxy){
		"frozen":  func(t testing.TB, s *testenv.Server, _ *testenv.Proxy) { s.Freeze(t) },
		"stalled": func(_ testing.TB, _ *testenv.Server, p *testenv.Proxy) { p.Stall() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := testenv.NewRedis(t)
			proxy := testenv.NewProxy(t, srv.Addr())
			c, _ := connect(t, []string{proxy.Addr()}, func(o *kv.Options) {
				o.NearStaleness, o.BreakerFailures, o.CallTimeout = limit, 1000, 100*time.Millisecond
			})
			near := nearText(c, "near", 100)
			srv.Do(t, "SET", "k", "old")
			// While the server gives signs of life, hits go on beyond the limit.
			for end := time.Now().Add(3 * limit); time.Now().Before(end); {
				held(t, near, "k", "old")
			}
			before := srv.Counts(t)["get"]
			held(t, near, "k", "old")
			if got := srv.Counts(t)["get"] - before; got != 0 {
				t.Errorf("asked %d times while the server gave signs of life", got)
			}
			fault(t, srv, proxy)
			cut := time.Now()
			var last time.Time
			testenv.Eventually(t, "refusal", func() (bool, string) {
				now := time.Now()
				_, hit, err := near.Get(context.Background(), "k")
				if hit {
					last = now
				}
				return isUnavailable(err) && time.Since(cut) > 2*limit, fmt.Sprint(hit, err)
			})
			if age := last.Sub(cut); age > limit {
				t.Errorf("served a value %s after the server fell silent, %s is allowed", age, limit)
			}
			if last.IsZero() {
				t.Error("nothing was served within the limit")
			}
		})
	}
}

func TestNearInACluster(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	cl := testenv.NewCluster(t)
	keys := keys(t, cl)
	c, _ := connect(t, cl.Addrs(), inCluster, func(o *kv.Options) { o.NearStaleness = 600 * time.Millisecond })
	near := nearText(c, "near", 100)
	for i, key := range keys {
		cl.Nodes[i].Do(t, "SET", key, "v")
		held(t, near, key, "v")
		cl.Nodes[i].Do(t, "SET", key, "w")
		held(t, near, key, "w")
	}
	// A slot that moves takes its values along.
	cl.MoveSlot(t, cl.Slot(t, keys[0]), cl.Nodes[1])
	held(t, near, keys[0], "w")
	cl.Nodes[1].Do(t, "SET", keys[0], "x")
	testenv.Eventually(t, "value at the new node", func() (bool, string) {
		v, _, err := near.Get(ctx, keys[0])
		return v == "x" && err == nil, fmt.Sprint(v, err)
	})
	held(t, near, keys[0], "x")
}

func TestNearAsksTheInProcessServerEveryTime(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	c, j := connect(t, []string{testenv.InProcess(t)}, func(o *kv.Options) { o.InProcess = true })
	near := nearText(c, "near", 100)
	for _, want := range []string{"a", "b", "c"} {
		must(t, set(ctx, c, "k", want))
		for range 2 {
			if v, hit, err := near.Get(ctx, "k"); v != want || hit || err != nil {
				t.Errorf("got %q %t %v", v, hit, err)
			}
		}
	}
	must(t, push(ctx, c, "list", "x"))
	c.Close()
	if _, _, err := near.Get(ctx, "k"); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
	if got := j.events(); len(got) != 0 {
		t.Errorf("events: %v", got)
	}
}
