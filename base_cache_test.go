package fulloncache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

func cancelled(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}

func TestPing(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Base.Ping(s.ctx))
		wantErr(s, c.Base.Ping(cancelled(s.ctx)), context.Canceled)
		c.Close()
		wantErr(s, c.Base.Ping(s.ctx), fulloncache.ErrClosed)
	})
}

func TestHealth(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		h, err := c.Base.Health(s.ctx)
		must(s, err)
		mode, masters := s.mode.name, 1
		switch mode {
		case "embedded":
			mode = "in-process"
		case "cluster":
			masters = 3
		}
		if h.Mode != mode || h.Breaker != "closed" || len(h.Nodes) != masters {
			s.Fatalf("health %+v", h)
		}
		if !slices.IsSortedFunc(h.Nodes, func(a, b fulloncache.NodeHealth) int { return strings.Compare(a.Addr, b.Addr) }) {
			s.Errorf("nodes are not sorted: %+v", h.Nodes)
		}
		for _, n := range h.Nodes {
			if _, _, err := net.SplitHostPort(n.Addr); err != nil || n.RoundTrip <= 0 || n.RoundTrip > time.Minute {
				s.Errorf("node %+v", n)
			}
			if n.ClockOffset < -time.Minute || n.ClockOffset > time.Minute {
				s.Errorf("the clock is off by %s", n.ClockOffset)
			}
			if s.mode.name == "embedded" {
				continue // it cannot tell more
			}
			if n.Persistence != "none" || n.Tracking < 1 || n.Evicted != 0 {
				s.Errorf("node %+v", n)
			}
			if strings.Count(n.Version, ".") != 2 || n.Role != "master" || n.UsedMemory < 100_000 || n.Policy != "noeviction" || n.MaxMemory != 0 {
				s.Errorf("node %+v", n)
			}
		}
		h, err = c.Base.Health(cancelled(s.ctx))
		wantErr(s, err, context.Canceled)
		if h.Mode != mode || h.Breaker != "closed" || len(h.Nodes) != 0 {
			s.Errorf("with the error: %+v", h)
		}
	})
}

func TestHealthBehindSentinel(t *testing.T) {
	t.Parallel()
	s := testenv.NewSentinel(t)
	c := open(t, fulloncache.Config{SentinelMaster: testenv.SentinelMaster, SentinelNodes: s.Addrs()})
	h, err := c.Base.Health(testenv.Context(t))
	must(t, err)
	if h.Mode != "sentinel" || len(h.Nodes) == 0 || h.Nodes[0].Role != "master" {
		t.Errorf("health %+v", h)
	}
}

func TestHealthTellsMemoryLimit(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t, "--maxmemory", "123mb", "--maxmemory-policy", "allkeys-lru")
	h, err := open(t, fulloncache.Config{URL: srv.URL()}).Base.Health(testenv.Context(t))
	must(t, err)
	if n := h.Nodes[0]; n.MaxMemory != 123<<20 || n.Policy != "allkeys-lru" {
		t.Errorf("node %+v", n)
	}
}

func TestHealthTellsWhatOutlivesARestart(t *testing.T) {
	t.Parallel()
	for want, settings := range map[string][]string{
		"none":   nil,
		"rdb":    {"--save", "3600 1"},
		"always": {"--appendonly", "yes", "--appendfsync", "always"},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			srv := testenv.NewRedis(t, append(settings, "--slowlog-log-slower-than", "0")...)
			h, err := open(t, fulloncache.Config{URL: srv.URL()}).Base.Health(testenv.Context(t))
			must(t, err)
			if n := h.Nodes[0]; n.Persistence != want || n.SlowLog < 1 || n.Replicas != 0 {
				t.Errorf("node %+v", n)
			}
		})
	}
	// A user that may not ask is told the rest.
	srv := testenv.NewRedis(t)
	srv.Do(t, "ACL", "SETUSER", "bot", "on", ">secret", "~*", "&*", "+@all", "-config", "-slowlog")
	h, err := open(t, fulloncache.Config{URL: "redis://bot:secret@" + srv.Addr()}).Base.Health(testenv.Context(t))
	must(t, err)
	if n := h.Nodes[0]; n.Persistence != "" || n.Role != "master" {
		t.Errorf("node %+v", n)
	}
}

// cutter is a proxy that drops a connection as soon as the client sends a word.
func cutter(t *testing.T, upstream, word string) string {
	t.Helper()
	return cutting(t, upstream, func(data []byte, asked bool) bool { return asked && bytes.Contains(data, []byte(word)) })
}

// cutting passes on between clients and a server, and ends a connection instead of
// passing on what cut tells, which the client asked or the server answered.
func cutting(t *testing.T, upstream string, cut func(data []byte, asked bool) bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	var wg sync.WaitGroup
	pass := func(from, to net.Conn, asked bool) {
		defer func() { _, _ = from.Close(), to.Close() }()
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			if err != nil || cut(buf[:n], asked) {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", upstream)
			if err != nil {
				t.Error(err, client.Close())
				return
			}
			wg.Go(func() { pass(client, server, true) })
			wg.Go(func() { pass(server, client, false) })
		}
	})
	t.Cleanup(func() {
		must(t, l.Close())
		wg.Wait()
	})
	return "redis://" + l.Addr().String()
}

// Whatever an operation is doing when the connection breaks, it says so.
func TestConnectionBreaks(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	ctx := testenv.Context(t)
	prefix := testenv.Prefix(t)
	for word, use := range map[string]func(*testing.T, *fulloncache.Client) error{
		"\nTIME\r": func(t *testing.T, c *fulloncache.Client) error {
			h, err := c.Base.Health(ctx)
			if h.Mode != "standalone" || h.Breaker == "" || len(h.Nodes) != 0 {
				t.Errorf("with the error: %+v", h)
			}
			return err
		},
		"\nINFO\r": func(_ *testing.T, c *fulloncache.Client) error { _, err := c.Base.Health(ctx); return err },
		"\nPING\r": func(_ *testing.T, c *fulloncache.Client) error { return c.Base.Ping(ctx) },
		"\nUNLINK\r": func(t *testing.T, c *fulloncache.Client) error {
			must(t, c.Base.PushGlobalError(ctx, fulloncache.GlobalError{Component: "a", Message: "b"}))
			n, err := c.Base.Clear(ctx)
			if n != 0 {
				t.Errorf("%d keys deleted", n)
			}
			return err
		},
		"\nSCAN\r": func(t *testing.T, c *fulloncache.Client) error {
			var last error
			n := 0
			for key, err := range c.Base.Keys(ctx, "*") {
				last = err
				if n++; key != "" {
					t.Errorf("key %q", key)
				}
			}
			if n != 1 {
				t.Errorf("%d elements, want the error alone", n)
			}
			return last
		},
		"\nBLMOVE\r": func(_ *testing.T, c *fulloncache.Client) error {
			_, err := c.Base.PopGlobalError(ctx, time.Minute)
			return err
		},
	} {
		t.Run(strings.TrimSpace(word), func(t *testing.T) {
			t.Parallel()
			c := open(t, fulloncache.Config{URL: cutter(t, srv.Addr(), word), KeyPrefix: prefix + strings.TrimSpace(word)})
			err := use(t, c)
			wantErr(t, err, fulloncache.ErrUnavailable)
			if errors.Is(err, fulloncache.ErrNotFound) {
				t.Errorf("unknown looks absent: %v", err)
			}
		})
	}
}

func TestServerGone(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	ctx := testenv.Context(t)
	c := open(t, fulloncache.Config{URL: srv.URL(), KeyPrefix: "x"})
	srv.Kill()
	wantErr(t, c.Base.Ping(ctx), fulloncache.ErrUnavailable)
	h, err := c.Base.Health(ctx)
	wantErr(t, err, fulloncache.ErrUnavailable)
	if h.Mode != "standalone" || h.Breaker == "" {
		t.Errorf("health %+v", h)
	}
	_, err = c.Base.Clear(ctx)
	wantErr(t, err, fulloncache.ErrUnavailable)
	_, err = c.Base.PopGlobalError(ctx, 0)
	wantErr(t, err, fulloncache.ErrUnavailable)
	wantErr(t, c.Base.PushGlobalError(ctx, fulloncache.GlobalError{Component: "a", Message: "b"}), fulloncache.ErrUnavailable)
	srv.Restart(t)
	testenv.Eventually(t, "it answers again", func() (bool, string) {
		err := c.Base.Ping(ctx)
		return err == nil, errorText(err)
	})
}

// keysOf collects a listing, sorted.
func keysOf(s *suite, c *fulloncache.Client, pattern string) []string {
	s.Helper()
	var got []string
	for key, err := range c.Base.Keys(s.ctx, pattern) {
		must(s, err)
		got = append(got, key)
	}
	slices.Sort(got)
	return slices.Compact(got)
}

func TestKeysAndClear(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		name := s.cfg.KeyPrefix
		tag := func(e string) string {
			if s.mode.name == "cluster" {
				return "{" + e + "}"
			}
			return e
		}
		fill := func(c *fulloncache.Client) []string {
			want := []string{"exchanges", "global_error"}
			for i := range 20 {
				m := fulloncache.Market{Exchange: fmt.Sprint("e", i), Symbol: "BTC/USD"}
				must(s, c.Ticks.Set(s.ctx, tickOf(m, "1", 0)))
				e := tag(m.Exchange)
				want = append(want, "tickers:"+e+":BTCUSD", "ticker_symbols:"+e, "ticker_rev:"+e, "ticker_rev:"+e+":beat")
			}
			must(s, c.Base.PushGlobalError(s.ctx, fulloncache.GlobalError{Component: "a", Message: "b"}))
			slices.Sort(want)
			return want
		}
		// Neighbours whose prefixes begin or end alike.
		neighbours := make(map[string]*fulloncache.Client)
		want := fill(c)
		for _, prefix := range []string{name + "2", name + "-x", "x" + name} {
			cfg := s.cfg
			cfg.KeyPrefix = prefix
			neighbours[prefix] = open(s.T, cfg)
			fill(neighbours[prefix])
		}

		if got := keysOf(s, c, "*"); !slices.Equal(got, want) {
			s.Fatalf("got %v, want %v", got, want)
		}
		if got := keysOf(s, c, "tickers:*e7*:BTC?SD"); !slices.Equal(got, []string{"tickers:" + tag("e7") + ":BTCUSD"}) {
			s.Errorf("got %v", got)
		}
		if got := keysOf(s, c, "e[xy]changes"); !slices.Equal(got, []string{"exchanges"}) {
			s.Errorf("got %v", got)
		}
		if got := keysOf(s, c, "nothing*"); len(got) != 0 {
			s.Errorf("got %v", got)
		}
		n := 0
		for _, err := range c.Base.Keys(s.ctx, "*") {
			must(s, err)
			if n++; n == 3 {
				break
			}
		}
		if n != 3 {
			s.Errorf("%d keys before the break", n)
		}
		n = 0
		for key, err := range c.Base.Keys(cancelled(s.ctx), "*") {
			if n++; key != "" || !errors.Is(err, context.Canceled) {
				s.Errorf("cancelled: %q, %v", key, err)
			}
		}
		if n != 1 {
			s.Errorf("cancelled: %d elements", n)
		}

		deleted, err := c.Base.Clear(cancelled(s.ctx))
		if wantErr(s, err, context.Canceled); deleted != 0 {
			s.Errorf("cancelled: %d deleted", deleted)
		}
		deleted, err = c.Base.Clear(s.ctx)
		if must(s, err); deleted != int64(len(want)) {
			s.Errorf("%d deleted, want %d", deleted, len(want))
		}
		if got := keysOf(s, c, "*"); len(got) != 0 {
			s.Errorf("left %v", got)
		}
		for prefix, neighbour := range neighbours {
			if got := keysOf(s, neighbour, "*"); !slices.Equal(got, want) {
				s.Errorf("%s: got %v, want %v", prefix, got, want)
			}
		}
		if deleted, err = c.Base.Clear(s.ctx); err != nil || deleted != 0 {
			s.Errorf("cleared again: %d, %v", deleted, err)
		}
	})
}

// Without a prefix Clear wants a confirmation and takes the library's own keys
// only; nothing ever flushes a database.
func TestClearWithoutPrefix(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	ctx := testenv.Context(t)
	c := open(t, fulloncache.Config{URL: srv.URL()})
	foreign := []string{"sessions:1", "exchanges2", "prod:tickers:kraken:BTCUSD", "global_error:x", "unrelated"}
	for _, key := range foreign {
		srv.Do(t, "SET", key, "x")
	}
	must(t, c.Ticks.Set(ctx, tickOf(btc, "1", 0)))
	must(t, c.Base.PushGlobalError(ctx, fulloncache.GlobalError{Component: "a", Message: "b"}))
	other := open(t, fulloncache.Config{URL: srv.URL() + "/1"})
	must(t, other.Ticks.Set(ctx, tickOf(btc, "1", 0)))
	before, err := srv.Do(t, "DBSIZE").AsInt64()
	must(t, err)

	for _, confirm := range [][]fulloncache.ClearConfirm{nil, {0}, {2}} {
		n, err := c.Base.Clear(ctx, confirm...)
		wantErr(t, err, fulloncache.ErrInvalid, "CACHE_KEY_PREFIX", "ClearUnprefixed")
		if n != 0 {
			t.Errorf("%d deleted", n)
		}
	}
	if now, _ := srv.Do(t, "DBSIZE").AsInt64(); now != before {
		t.Errorf("%d keys, were %d", now, before)
	}
	n, err := c.Base.Clear(ctx, fulloncache.ClearUnprefixed)
	if must(t, err); n != before-int64(len(foreign)) {
		t.Errorf("%d deleted of %d", n, before)
	}
	left, err := srv.Do(t, "KEYS", "*").AsStrSlice()
	must(t, err)
	slices.Sort(left)
	slices.Sort(foreign)
	if !slices.Equal(left, foreign) {
		t.Errorf("left %v, want %v", left, foreign)
	}
	if _, err := other.Ticks.Get(ctx, btc); err != nil {
		t.Errorf("the other database: %v", err)
	}
	stats, err := srv.Do(t, "INFO", "commandstats").ToString()
	must(t, err)
	if !strings.Contains(stats, "cmdstat_unlink:") || strings.Contains(stats, "flush") {
		t.Errorf("commands: %s", stats)
	}
}

func TestGlobalErrors(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		_, err := c.Base.PopGlobalError(s.ctx, 0)
		wantErr(s, err, fulloncache.ErrNotFound)
		stamp := time.Date(2024, 2, 29, 12, 0, 0, 123456789, time.FixedZone("", 3600))
		first := fulloncache.GlobalError{Component: "bot\n7", Message: `"quoted" {x} é`, Time: stamp}
		must(s, c.Base.PushGlobalError(s.ctx, first))
		must(s, c.Base.PushGlobalError(s.ctx, fulloncache.GlobalError{Component: "b", Message: "second"}))
		other := s.open()
		got, err := other.Base.PopGlobalError(s.ctx, 0)
		must(s, err)
		if got.Component != first.Component || got.Message != first.Message || !got.Time.Equal(stamp) || got.Time.Location() != time.UTC {
			s.Errorf("got %+v, want %+v", got, first)
		}
		got, err = other.Base.PopGlobalError(s.ctx, time.Minute)
		must(s, err)
		if got.Message != "second" || time.Since(got.Time) > time.Minute || time.Since(got.Time) < 0 {
			s.Errorf("got %+v", got)
		}

		for _, e := range []fulloncache.GlobalError{
			{Message: "m"}, {Component: "c"}, {Component: "c", Message: "m", Time: time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC)},
		} {
			wantErr(s, c.Base.PushGlobalError(s.ctx, e), fulloncache.ErrInvalid, "global")
		}
		_, err = c.Base.PopGlobalError(s.ctx, -1)
		wantErr(s, err, fulloncache.ErrInvalid, "wait -1ns")
		_, err = c.Base.PopGlobalError(cancelled(s.ctx), time.Minute)
		wantErr(s, err, context.Canceled)
		_, err = c.Base.PopGlobalError(s.ctx, 0)
		wantErr(s, err, fulloncache.ErrNotFound)
	})
}

// The oldest give way.
func TestGlobalErrorsAreCapped(t *testing.T) {
	everyMode(t, func(s *suite) {
		cfg := s.cfg
		cfg.ErrorQueueCap = 3
		c := open(s.T, cfg)
		for i := range 10 {
			must(s, c.Base.PushGlobalError(s.ctx, fulloncache.GlobalError{Component: "c", Message: fmt.Sprint(i)}))
		}
		for _, want := range []string{"7", "8", "9"} {
			got, err := c.Base.PopGlobalError(s.ctx, 0)
			if must(s, err); got.Message != want {
				s.Errorf("got %s, want %s", got.Message, want)
			}
		}
		_, err := c.Base.PopGlobalError(s.ctx, 0)
		wantErr(s, err, fulloncache.ErrNotFound)
	})
}

// P1: a wait longer than the socket timeout ends as an error of the connection.
func TestGlobalErrorsWaitBeyondSocketTimeoutP1(t *testing.T) {
	everyMode(t, func(s *suite) {
		cfg := s.cfg
		cfg.SocketTimeout = 50 * time.Millisecond
		c := open(s.T, cfg)
		start := time.Now()
		_, err := c.Base.PopGlobalError(s.ctx, 300*time.Millisecond)
		wantErr(s, err, fulloncache.ErrNotFound)
		if took := time.Since(start); took < 300*time.Millisecond || took > 10*time.Second {
			s.Errorf("waited %s", took)
		}
		// What comes during the wait ends it.
		popped := make(chan error, 1)
		var got fulloncache.GlobalError
		go func() {
			var err error
			got, err = c.Base.PopGlobalError(s.ctx, time.Minute)
			popped <- err
		}()
		must(s, s.open().Base.PushGlobalError(s.ctx, fulloncache.GlobalError{Component: "c", Message: "late"}))
		if must(s, <-popped); got.Message != "late" {
			s.Errorf("got %+v", got)
		}
	})
}

// A caller that gives up takes nothing with it: none is lost, none comes twice.
func TestGlobalErrorsCancelledWaitsLoseNothing(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		const pushed = 200
		var (
			mu       sync.Mutex
			seen     = make(map[string]int)
			gaveUp   int
			wg       sync.WaitGroup
			all      = make(chan struct{})
			received = func(e fulloncache.GlobalError) {
				mu.Lock()
				defer mu.Unlock()
				seen[e.Message]++
			}
		)
		for i := range 4 {
			waiter := s.open()
			random := rand.New(rand.NewPCG(1, uint64(i)))
			wg.Go(func() {
				for {
					select {
					case <-all:
						return
					default:
					}
					ctx, cancel := context.WithCancel(s.ctx)
					giveUp := time.AfterFunc(time.Duration(random.IntN(3000))*time.Microsecond, cancel)
					e, err := waiter.Base.PopGlobalError(ctx, time.Minute)
					giveUp.Stop()
					cancel()
					switch {
					case err == nil:
						received(e)
					case errors.Is(err, context.Canceled):
						mu.Lock()
						gaveUp++
						mu.Unlock()
					default:
						s.Error(err)
						return
					}
				}
			})
		}
		for i := range pushed {
			must(s, c.Base.PushGlobalError(s.ctx, fulloncache.GlobalError{Component: "c", Message: fmt.Sprint(i)}))
		}
		testenv.Eventually(s.T, "some waits were given up", func() (bool, string) {
			mu.Lock()
			defer mu.Unlock()
			return gaveUp > 10, fmt.Sprint(gaveUp)
		})
		close(all)
		wg.Wait()
		for {
			e, err := c.Base.PopGlobalError(s.ctx, 0)
			if errors.Is(err, fulloncache.ErrNotFound) {
				break
			}
			must(s, err)
			received(e)
		}
		for i := range pushed {
			if n := seen[fmt.Sprint(i)]; n != 1 {
				s.Errorf("error %d came %d times", i, n)
			}
		}
	})
}

func TestGlobalErrorsCorrupt(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		if s.mode.admin == nil {
			return // nobody else can write there
		}
		key := s.cfg.KeyPrefix + ":global_error"
		// A malformed element is told once and does not stop those behind it.
		s.do("RPUSH", key, "not JSON", `{"component": 7}`)
		must(s, c.Base.PushGlobalError(s.ctx, fulloncache.GlobalError{Component: "c", Message: "good"}))
		for _, text := range []string{"not JSON", `component`} {
			got, err := c.Base.PopGlobalError(s.ctx, 0)
			wantErr(s, err, fulloncache.ErrCorrupt, key, text)
			if got != (fulloncache.GlobalError{}) {
				s.Errorf("with the error: %+v", got)
			}
		}
		if got, err := c.Base.PopGlobalError(s.ctx, 0); err != nil || got.Message != "good" {
			s.Errorf("got %+v, %v", got, err)
		}

		s.do("SET", key, "a string")
		var corrupt *fulloncache.CorruptError
		_, err := c.Base.PopGlobalError(s.ctx, 0)
		if !errors.As(err, &corrupt) || corrupt.Key != key {
			s.Errorf("pop: %v", err)
		}
		err = c.Base.PushGlobalError(s.ctx, fulloncache.GlobalError{Component: "c", Message: "m"})
		if corrupt = nil; !errors.As(err, &corrupt) || corrupt.Key != key {
			s.Errorf("push: %v", err)
		}
	})
}
