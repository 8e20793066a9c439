// Package metrics turns the hooks of a fulloncache.Client into Prometheus
// metrics: how often each operation ended how, how long it took, how often a
// memory close to the caller answered, and what happened to the connection.
//
//	collector := metrics.New()
//	prometheus.MustRegister(collector)
//	cfg, err := fulloncache.ConfigFromEnv()
//	if err != nil {
//		return err
//	}
//	cfg.Hooks = append(cfg.Hooks, collector.Hooks())
//	c, err := fulloncache.New(ctx, cfg)
//
// The metrics are
//
//	fulloncache_operations_total{operation,outcome}   counter
//	fulloncache_operation_seconds{operation,outcome}  histogram, classic and native
//	fulloncache_near_hits_total{operation}            counter
//	fulloncache_near_misses_total{operation}          counter
//	fulloncache_events_total{kind}                    counter
//
// An operation is cache and method, "tick.set". An outcome is ok, not_found,
// stale, outdated, unavailable, invalid, corrupt, canceled (deadlines included)
// or error. No label names a symbol or an exchange: the number of series does
// not grow with the number of markets.
package metrics

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fullon/fulloncache"
)

// Collector counts what the hooks tell. It can be shared by several Clients, and
// is safe for concurrent use.
//
//	collector := metrics.New()
//	prometheus.MustRegister(collector)
//	cfg.Hooks = append(cfg.Hooks, collector.Hooks())
type Collector struct {
	operations *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
	hits       *prometheus.CounterVec
	misses     *prometheus.CounterVec
	events     *prometheus.CounterVec
}

var _ prometheus.Collector = (*Collector)(nil)

// buckets reach from a hit in memory, 1 µs, to the default call timeout, 5 s.
func buckets() []float64 {
	return []float64{
		1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4,
		1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1, 2, 5,
	}
}

// New returns a Collector without samples.
func New() *Collector {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "fulloncache", Name: name, Help: help}, labels)
	}
	return &Collector{
		operations: counter("operations_total", "Operations that ended, by outcome.", "operation", "outcome"),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "fulloncache", Name: "operation_seconds", Help: "Time that operations took, by outcome.",
			Buckets:                        buckets(),
			NativeHistogramBucketFactor:    1.1,
			NativeHistogramMaxBucketNumber: 160,
		}, []string{"operation", "outcome"}),
		hits:   counter("near_hits_total", "Operations that a near cache or a mirror answered.", "operation"),
		misses: counter("near_misses_total", "Operations that a near cache could not answer.", "operation"),
		events: counter("events_total", "Events of connections and feeds.", "kind"),
	}
}

func (c *Collector) all() []prometheus.Collector {
	return []prometheus.Collector{c.operations, c.seconds, c.hits, c.misses, c.events}
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.all() {
		m.Describe(ch)
	}
}

// Collect implements [prometheus.Collector].
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	for _, m := range c.all() {
		m.Collect(ch)
	}
}

// Hooks returns the hooks that feed the Collector.
func (c *Collector) Hooks() fulloncache.Hooks {
	return fulloncache.Hooks{Operation: c.operation, Event: c.event}
}

func (c *Collector) operation(op fulloncache.Operation) {
	result := outcome(op.Err)
	c.operations.WithLabelValues(op.Name, result).Inc()
	c.seconds.WithLabelValues(op.Name, result).Observe(op.Duration.Seconds())
	switch op.Hit {
	case fulloncache.HitNear:
		c.hits.WithLabelValues(op.Name).Inc()
	case fulloncache.HitMiss:
		c.misses.WithLabelValues(op.Name).Inc()
	}
}

func (c *Collector) event(e fulloncache.Event) {
	c.events.WithLabelValues(e.Kind.String()).Inc()
}

// outcome names an error. Of several, as a batch may hold, it names the one that
// an operator must know of first.
func outcome(err error) string {
	if err == nil {
		return "ok"
	}
	for _, known := range [...]struct {
		err  error
		name string
	}{
		{fulloncache.ErrUnavailable, "unavailable"},
		{fulloncache.ErrCorrupt, "corrupt"},
		{fulloncache.ErrInvalid, "invalid"},
		{context.Canceled, "canceled"},
		{context.DeadlineExceeded, "canceled"},
		{fulloncache.ErrStale, "stale"},
		{fulloncache.ErrOutdated, "outdated"},
		{fulloncache.ErrNotFound, "not_found"},
	} {
		if errors.Is(err, known.err) {
			return known.name
		}
	}
	return "error"
}
