package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/metrics"
)

// counters gathers the counters of c: `name{label="value"}` → value.
func counters(t *testing.T, c prometheus.Collector) map[string]float64 {
	t.Helper()
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetCounter() == nil {
				continue
			}
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			found[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = m.GetCounter().GetValue()
		}
	}
	return found
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"success", nil, "ok"},
		{"absent", fmt.Errorf("tick: %w", fulloncache.ErrNotFound), "not_found"},
		{"too old", &fulloncache.StaleError{Age: time.Second}, "stale"},
		{"older than stored", fmt.Errorf("tick: %w", fulloncache.ErrOutdated), "outdated"},
		{"no server", &fulloncache.UnavailableError{Err: errors.New("refused")}, "unavailable"},
		{"timeout of the library's own", &fulloncache.UnavailableError{Err: context.DeadlineExceeded}, "unavailable"},
		{"bad input", &fulloncache.ConfigError{Variable: "REDIS_PORT"}, "invalid"},
		{"bad value", &fulloncache.CorruptError{Key: "k", Err: errors.New("no number")}, "corrupt"},
		{"caller gave up", fmt.Errorf("next: %w", context.Canceled), "canceled"},
		{"caller's deadline", fmt.Errorf("next: %w", context.DeadlineExceeded), "canceled"},
		{"closed", fulloncache.ErrClosed, "error"},
		{"worst of a batch", &fulloncache.BatchError{Errs: []error{
			nil, fulloncache.ErrOutdated, &fulloncache.UnavailableError{Err: errors.New("cut")}, fulloncache.ErrInvalid,
		}}, "unavailable"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := metrics.New()
			c.Hooks().Operation(fulloncache.Operation{Name: "tick.get", Err: tt.err})
			want := map[string]float64{fmt.Sprintf("fulloncache_operations_total{operation=%q,outcome=%q}", "tick.get", tt.want): 1}
			if diff := cmp.Diff(want, counters(t, c)); diff != "" {
				t.Errorf("counters (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	c := metrics.New()
	for _, d := range []time.Duration{800 * time.Nanosecond, 90 * time.Microsecond, 3 * time.Second, time.Minute} {
		c.Hooks().Operation(fulloncache.Operation{Name: "tick.set", Duration: d})
	}
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "fulloncache_operation_seconds" {
			continue
		}
		h := f.GetMetric()[0].GetHistogram()
		if h.GetSampleCount() != 4 {
			t.Errorf("samples: got %d, want 4", h.GetSampleCount())
		}
		if got := h.GetSampleSum(); got < 63.00009 || got > 63.0001 {
			t.Errorf("sum: got %v s, want 63.0000908", got)
		}
		if len(h.GetPositiveSpan()) == 0 {
			t.Error("no native buckets")
		}
		counts := make(map[float64]uint64)
		for _, b := range h.GetBucket() {
			counts[b.GetUpperBound()] = b.GetCumulativeCount()
		}
		for bound, want := range map[float64]uint64{1e-6: 1, 5e-5: 1, 1e-4: 2, 2: 2, 5: 3} {
			if got, ok := counts[bound]; !ok || got != want {
				t.Errorf("bucket %v s: got %d (exists: %v), want %d", bound, got, ok, want)
			}
		}
		return
	}
	t.Fatal("no histogram was collected")
}

func TestHitsAndMisses(t *testing.T) {
	t.Parallel()
	c := metrics.New()
	hooks := c.Hooks()
	for range 3 {
		hooks.Operation(fulloncache.Operation{Name: "tick.crawlers", Hit: fulloncache.HitNear})
	}
	hooks.Operation(fulloncache.Operation{Name: "tick.crawlers", Hit: fulloncache.HitMiss})
	hooks.Operation(fulloncache.Operation{Name: "tick.set"}) // neither
	want := map[string]float64{
		`fulloncache_operations_total{operation="tick.crawlers",outcome="ok"}`: 4,
		`fulloncache_operations_total{operation="tick.set",outcome="ok"}`:      1,
		`fulloncache_near_hits_total{operation="tick.crawlers"}`:               3,
		`fulloncache_near_misses_total{operation="tick.crawlers"}`:             1,
	}
	if diff := cmp.Diff(want, counters(t, c)); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	c := metrics.New()
	hooks := c.Hooks()
	hooks.Event(fulloncache.Event{Kind: fulloncache.EventBreakerOpened, Subject: "localhost:6379"})
	hooks.Event(fulloncache.Event{Kind: fulloncache.EventFeedDisconnected, Subject: "kraken"})
	hooks.Event(fulloncache.Event{Kind: fulloncache.EventFeedDisconnected, Subject: "coinbase"})
	want := map[string]float64{
		`fulloncache_events_total{kind="breaker_opened"}`:    1,
		`fulloncache_events_total{kind="feed_disconnected"}`: 2,
	}
	if diff := cmp.Diff(want, counters(t, c)); diff != "" {
		t.Errorf("counters (-want +got):\n%s", diff)
	}
}

// The number of series must not grow with the markets.
func TestSeriesPerOperationOnly(t *testing.T) {
	t.Parallel()
	c := metrics.New()
	hooks := c.Hooks()
	for i := range 100 {
		hooks.Operation(fulloncache.Operation{Name: "tick.get", Market: fulloncache.Market{Exchange: "kraken", Symbol: fmt.Sprint(i)}})
		hooks.Event(fulloncache.Event{Kind: fulloncache.EventFeedConnected, Subject: fmt.Sprint(i)})
	}
	ch := make(chan prometheus.Metric, 1000)
	c.Collect(ch)
	// The operation's counter, its histogram, the event's counter.
	if len(ch) != 3 {
		t.Errorf("series: got %d, want 3", len(ch))
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	ch := make(chan *prometheus.Desc, 100)
	metrics.New().Describe(ch)
	close(ch)
	var got []string
	for d := range ch {
		_, name, _ := strings.Cut(d.String(), `fqName: "`)
		name, _, _ = strings.Cut(name, `"`)
		got = append(got, name)
	}
	slices.Sort(got)
	want := []string{
		"fulloncache_events_total", "fulloncache_near_hits_total", "fulloncache_near_misses_total",
		"fulloncache_operation_seconds", "fulloncache_operations_total",
	}
	if !slices.Equal(got, want) {
		t.Errorf("descriptions: got %v, want %v", got, want)
	}
}

func TestLint(t *testing.T) {
	t.Parallel()
	c := metrics.New()
	c.Hooks().Operation(fulloncache.Operation{Name: "tick.crawlers", Hit: fulloncache.HitNear})
	c.Hooks().Event(fulloncache.Event{Kind: fulloncache.EventReconnected})
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(c)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	if len(problems) > 0 {
		t.Errorf("problems: %v", problems)
	}
}
