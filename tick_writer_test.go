package fulloncache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// Ticks that come while the calls of others are under way share one, and each
// gets its own answer.
func TestSetsShareACall(t *testing.T) {
	t.Parallel()
	srv, ctx := testenv.NewRedis(t), testenv.Context(t)
	c := open(t, fulloncache.Config{URL: srv.URL()})
	stream := c.Ticks.SubscribeExchange(ctx, "kraken")
	must(t, c.Ticks.Set(ctx, tickOf(btc, "1", 5)))
	<-stream
	const callers = 200
	srv.Freeze(t)
	errs := make([]error, callers)
	var wg, started sync.WaitGroup
	for i := range callers {
		started.Add(1)
		wg.Go(func() {
			started.Done()
			tick := tickOf(fulloncache.Market{Exchange: "kraken", Symbol: fmt.Sprint("S", i)}, "1", 1)
			switch i % 4 {
			case 1:
				tick.Market = btc // outdated
			case 2:
				tick.Symbol = "BTCUSD" // taken
			}
			errs[i] = c.Ticks.Set(ctx, tick)
		})
	}
	started.Wait()
	srv.Thaw(t)
	wg.Wait()
	for i, err := range errs {
		want := []error{nil, fulloncache.ErrOutdated, fulloncache.ErrInvalid, nil}[i%4]
		if !errors.Is(err, want) {
			t.Errorf("caller %d: got %v, want %v", i, err, want)
		}
	}
	seen := make(map[string]bool)
	for len(seen) < callers/2 {
		u := <-stream
		must(t, u.Err)
		seen[u.Update.Tick.Symbol] = true
	}
	if calls := srv.Counts(t)["evalsha"]; calls == 0 || calls > callers/4 {
		t.Errorf("%d calls of the script for %d ticks", calls, callers)
	}
}

// A caller that gives up is not held up by the calls of others, and a closed
// client answers all of them.
func TestSetsThatWaitCanBeGivenUp(t *testing.T) {
	t.Parallel()
	srv, ctx := testenv.NewRedis(t), testenv.Context(t)
	c := open(t, fulloncache.Config{URL: srv.URL()})
	must(t, c.Ticks.Set(ctx, tickOf(btc, "1", 0)))
	srv.Freeze(t)
	defer srv.Thaw(t)
	const callers = 10
	patient := make(chan error, callers)
	for i := range callers {
		go func() { patient <- c.Ticks.Set(ctx, tickOf(btc, "2", 1+i)) }()
	}
	hasty, cancel := context.WithCancel(ctx)
	given := make(chan error, callers)
	for i := range callers {
		go func() { given <- c.Ticks.Set(hasty, tickOf(btc, "3", 1+i)) }()
	}
	cancel()
	for range callers {
		wantErr(t, <-given, context.Canceled)
	}
	c.Close()
	for range callers {
		// A frozen server is noticed and its connection given up at about the time
		// that Close gives up on it.
		if err := <-patient; !errors.Is(err, fulloncache.ErrClosed) && !errors.Is(err, fulloncache.ErrUnavailable) {
			t.Fatal(err)
		}
	}
	wantErr(t, c.Ticks.Set(ctx, tickOf(btc, "4", 4)), fulloncache.ErrClosed)
}

// In a cluster the index of exchanges is written apart: where that fails, the
// tick is stored all the same, it is logged, and the next tick tries again.
func TestClusterIndexIsTriedAgain(t *testing.T) {
	t.Parallel()
	cluster, ctx := testenv.SharedCluster(t), testenv.Context(t)
	var log syncBuffer
	cfg := fulloncache.Config{
		ClusterMode: true, ClusterNodes: cluster.Addrs(), KeyPrefix: testenv.Prefix(t),
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}
	index := cfg.KeyPrefix + ":exchanges"
	owner := cluster.Owner(t, cluster.Slot(t, index))
	owner.Do(t, "SET", index, "in the way")
	c := open(t, cfg)
	must(t, c.Ticks.Set(ctx, tickOf(btc, "1", 0)))
	testenv.Eventually(t, "a warning", func() (bool, string) {
		return strings.Contains(log.String(), "exchange not indexed"), log.String()
	})
	_, err := c.Ticks.Exchanges(ctx)
	wantErr(t, err, fulloncache.ErrCorrupt, index)
	owner.Do(t, "DEL", index)
	must(t, c.Ticks.Set(ctx, tickOf(btc, "2", 1)))
	testenv.Eventually(t, "the exchange is indexed", func() (bool, string) {
		exchanges, err := c.Ticks.Exchanges(ctx)
		return len(exchanges) == 1, fmt.Sprint(exchanges, err)
	})
}

// syncBuffer is a buffer that may be read while it is written.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// Next ends with the client.
func TestNextEndsWithTheClient(t *testing.T) {
	everyMode(t, func(s *suite) {
		var seen events
		cfg := s.cfg
		cfg.Hooks = []fulloncache.Hooks{seen.hook()}
		c := open(s, cfg)
		done := make(chan error, 1)
		go func() {
			_, err := c.Ticks.Next(s.ctx, btc)
			done <- err
		}()
		testenv.Eventually(s, "the feed", func() (bool, string) {
			return seen.count(fulloncache.EventFeedConnected) == 1, ""
		})
		c.Close()
		wantErr(s, <-done, fulloncache.ErrClosed)
	})
}
