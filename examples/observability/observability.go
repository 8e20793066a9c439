// Package observability counts operations for Prometheus, logs what happens, and hears
// events.
//
// Next: fulloncache docs operations_guide.
package observability

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/embedded"
	"github.com/fullon/fulloncache/logging"
	"github.com/fullon/fulloncache/metrics"
)

// Run runs the example on a private server; a real program takes
// fulloncache.ConfigFromEnv and logging.FromEnv(os.LookupEnv).
func Run(ctx context.Context, w io.Writer) (err error) {
	srv, err := embedded.Start(ctx)
	if err != nil {
		return err
	}
	defer srv.Close()

	// Logs: a console, here w, and a file that rotates.
	dir, err := os.MkdirTemp("", "fulloncache-example-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	logger, closer, err := logging.Setup(logging.Config{Format: logging.Minimal, Dir: dir, Stderr: w})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	logger.Info("the desk starts", slog.String("exchange", "kraken"))

	// Metrics: a collector, and hooks that feed it.
	collector, registry := metrics.New(), prometheus.NewRegistry()
	if err := registry.Register(collector); err != nil {
		return err
	}
	cfg := srv.Config()
	cfg.Logger = logger
	cfg.Hooks = append(cfg.Hooks, collector.Hooks())
	c, err := fulloncache.New(ctx, cfg)
	if err != nil {
		return err
	}
	defer c.Close()

	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	for i := range 3 {
		tick := fulloncache.Tick{Market: btc, Price: fulloncache.MustDecimal("67000"), Time: time.Now().Add(time.Duration(i) * time.Millisecond)}
		if err := c.Ticks.Set(ctx, tick); err != nil {
			return err
		}
	}
	if _, err := c.Ticks.Get(ctx, fulloncache.Market{Exchange: "kraken", Symbol: "NONE/USD"}); !errors.Is(err, fulloncache.ErrNotFound) {
		return fmt.Errorf("want that it is absent, got %w", err)
	}

	// A real program serves them: http.Handle("/metrics", promhttp.HandlerFor(registry, …)).
	families, err := registry.Gather()
	if err != nil {
		return err
	}
	for _, f := range families {
		if f.GetName() != "fulloncache_operations_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := m.GetLabel() // operation, outcome
			fmt.Fprintln(w, labels[0].GetValue(), labels[1].GetValue(), m.GetCounter().GetValue())
		}
	}
	return nil
}
