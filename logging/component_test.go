package logging_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log"
	"log/slog"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"

	"github.com/fullon/fulloncache/logging"
)

// early is made before anything is set up, as a package would.
var early = logging.Component("tick")

// setDefault sets slog's default for one test, which must not be parallel.
func setDefault(t *testing.T, l *slog.Logger) {
	t.Helper()
	was, flags, out := slog.Default(), log.Flags(), log.Writer()
	slog.SetDefault(l)
	t.Cleanup(func() {
		slog.SetDefault(was)
		log.SetFlags(flags) // SetDefault changes the log package too
		log.SetOutput(out)
	})
}

// timeless writes records without their time.
func timeless(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func TestComponentFollowsTheDefault(t *testing.T) {
	group := logging.Component("fullon.cache.examples.pubsub").With("a", 1).WithGroup("g")
	want := "level=INFO msg=one component=fullon.cache.tick\n" +
		"level=INFO msg=two component=fullon.cache.examples.pubsub a=1 g.b=2\n"
	for range 2 { // the default may change again
		var buf bytes.Buffer
		setDefault(t, timeless(&buf))
		early.Info("one")
		group.Info("two", "b", 2)
		early.Debug("hidden")
		if buf.String() != want {
			t.Errorf("got %q, want %q", buf.String(), want)
		}
	}
}

func TestComponentKeepsSlogsRules(t *testing.T) {
	var buf bytes.Buffer
	setDefault(t, slog.New(slog.NewJSONHandler(&buf, nil)))
	slogtest.Run(t, func(*testing.T) slog.Handler {
		buf.Reset()
		return logging.Component("tick").Handler()
	}, func(t *testing.T) map[string]any {
		var got map[string]any
		if err := json.Unmarshal(buf.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		return got
	})
}

func TestComponentThatIsOffCostsNothing(t *testing.T) {
	setDefault(t, timeless(io.Discard))
	ctx := context.Background()
	early.Debug("the first record derives the handler")
	if n := testing.AllocsPerRun(100, func() {
		early.LogAttrs(ctx, slog.LevelDebug, "tick.get", slog.String("exchange", "kraken"), slog.Float64("latency_ms", 0.08))
	}); n != 0 {
		t.Errorf("%v allocations for a record that is off", n)
	}
}

// Several goroutines meet in the first record after the default changed.
func TestComponentConcurrently(t *testing.T) {
	for range 20 {
		var buf bytes.Buffer
		setDefault(t, timeless(&buf))
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() { early.With("a", 1).Info("x") })
		}
		wg.Wait()
		if want := strings.Repeat("level=INFO msg=x component=fullon.cache.tick a=1\n", 8); buf.String() != want {
			t.Fatalf("got %q", buf.String())
		}
	}
}

func TestComponentAsTheDefault(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	was := os.Stderr
	os.Stderr = w
	defer func() { os.Stderr = was }()
	setDefault(t, logging.Component("bot"))
	slog.Info("here")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); err != nil || !strings.HasSuffix(string(b), " level=INFO msg=here component=fullon.cache.bot\n") {
		t.Errorf("standard error has %q, %v", b, err)
	}
}
