package embedded_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/embedded"
	"github.com/fullon/fulloncache/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// captured collects what the default logger is told while a test runs.
func captured(t *testing.T) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&b, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	return &b
}

// use opens a client and stores and reads a tick.
func use(t *testing.T, cfg fulloncache.Config) {
	t.Helper()
	ctx := testenv.Context(t)
	c, err := fulloncache.New(ctx, cfg)
	must(t, err)
	defer c.Close()
	tick := fulloncache.Tick{
		Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"},
		Price:  fulloncache.MustDecimal("67123.4"), Time: time.Now(),
	}
	must(t, c.Ticks.Set(ctx, tick))
	got, err := c.Ticks.Get(ctx, tick.Market)
	must(t, err)
	if !got.Equal(tick) {
		t.Fatalf("got %s, want %s", got, tick)
	}
}

func TestProcess(t *testing.T) {
	log := captured(t)
	srv, err := embedded.Start(testenv.Context(t))
	must(t, err)
	if srv.InProcess() || srv.String() != "private redis-server process" {
		t.Errorf("started %s, in-process %t", srv, srv.InProcess())
	}
	if !strings.Contains(log.String(), "level=INFO") || !strings.Contains(log.String(), "private redis-server process") {
		t.Errorf("the log does not tell the kind: %s", log)
	}
	cfg := srv.Config()
	socket, ok := strings.CutPrefix(cfg.URL, "unix://")
	if !ok || cfg.InProcess {
		t.Fatalf("config %+v", cfg)
	}
	use(t, cfg)
	must(t, srv.Close())
	if _, err := os.Stat(socket); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is left: %v", err)
	}
	must(t, srv.Close()) // may be called again
}

func TestInProcess(t *testing.T) {
	log := captured(t)
	srv, err := embedded.Start(testenv.Context(t), embedded.InProcess)
	must(t, err)
	wantInProcess(t, srv, log.String())
}

func TestInProcessWithoutRedisOnPath(t *testing.T) {
	log := captured(t)
	t.Setenv("PATH", "")
	srv, err := embedded.Start(testenv.Context(t))
	must(t, err)
	wantInProcess(t, srv, log.String())
}

func wantInProcess(t *testing.T, srv *embedded.Server, log string) {
	t.Helper()
	if !srv.InProcess() || srv.String() != "in-process server" {
		t.Errorf("started %s, in-process %t", srv, srv.InProcess())
	}
	if !strings.Contains(log, "level=INFO") || !strings.Contains(log, "in-process server") {
		t.Errorf("the log does not tell the kind: %s", log)
	}
	cfg := srv.Config()
	addr, ok := strings.CutPrefix(cfg.URL, "redis://")
	if !ok || !cfg.InProcess {
		t.Fatalf("config %+v", cfg)
	}
	use(t, cfg)
	must(t, srv.Close())
	if c, err := net.Dial("tcp", addr); err == nil {
		t.Error("something still listens", c.Close())
	}
	must(t, srv.Close()) // may be called again
	if got := srv.Config().URL; got != cfg.URL {
		t.Errorf("it was at %q, and says %q once closed", cfg.URL, got)
	}
}

// Time passes in the in-process server as it does in Redis.
func TestInProcessTTL(t *testing.T) {
	t.Parallel()
	srv, err := embedded.Start(testenv.Context(t), embedded.InProcess)
	must(t, err)
	defer func() { must(t, srv.Close()) }()
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress:  []string{strings.TrimPrefix(srv.Config().URL, "redis://")},
		DisableCache: true, ForceSingleClient: true, AlwaysRESP2: true,
	})
	must(t, err)
	defer c.Close()
	ctx := testenv.Context(t)
	must(t, c.Do(ctx, c.B().Set().Key("short").Value("x").Px(time.Second).Build()).Error())
	must(t, c.Do(ctx, c.B().Set().Key("long").Value("x").Ex(time.Hour).Build()).Error())
	stored := time.Now()
	testenv.Eventually(t, "the key expires", func() (bool, string) {
		n, err := c.Do(ctx, c.B().Exists().Key("short").Build()).AsInt64()
		must(t, err)
		return n == 0, "it exists"
	})
	// The clock moves in steps of 250 ms.
	if lived := time.Since(stored); lived < 700*time.Millisecond {
		t.Errorf("a key of a second lived %s", lived)
	}
	left, err := c.Do(ctx, c.B().Pttl().Key("long").Build()).AsInt64()
	must(t, err)
	if passed := time.Hour - time.Duration(left)*time.Millisecond; passed < 700*time.Millisecond || passed > time.Minute {
		t.Errorf("%s of an hour have passed", passed)
	}
}

// Two servers have nothing in common.
func TestServersAreApart(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for range 2 {
		for _, opts := range [][]embedded.Option{nil, {embedded.InProcess}} {
			wg.Go(func() {
				ctx := testenv.Context(t)
				srv, err := embedded.Start(ctx, opts...)
				if err != nil {
					t.Error(err)
					return
				}
				defer func() {
					if err := srv.Close(); err != nil {
						t.Error(err)
					}
				}()
				c, err := fulloncache.New(ctx, srv.Config())
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				for key, err := range c.Base.Keys(ctx, "*") {
					t.Errorf("%s: key %q, %v", srv, key, err)
				}
				if err := c.Base.PushGlobalError(ctx, fulloncache.GlobalError{Component: "a", Message: "b"}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
}

func TestStartFails(t *testing.T) {
	ctx, cancel := context.WithCancel(testenv.Context(t))
	cancel()
	if srv, err := embedded.Start(ctx); !errors.Is(err, context.Canceled) || srv != nil || !strings.HasPrefix(err.Error(), "embedded server: ") {
		t.Errorf("with a cancelled context: %v, %v", srv, err)
	}
	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	none := limit
	none.Cur = 0
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none))
	srv, err := embedded.Start(testenv.Context(t), embedded.InProcess)
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	if !errors.Is(err, syscall.EMFILE) || srv != nil {
		t.Errorf("without sockets: %v, %v", srv, err)
	}
}
