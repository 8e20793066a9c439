package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/embedded"
	"github.com/fullon/fulloncache/internal/sim"
)

func (a *app) demoCommand() *cobra.Command {
	d := &demo{app: a, updates: make(map[fulloncache.Market]int)}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch simulated exchanges live, on a private server of its own",
		Long: `Start a private server, feed it with simulated exchanges, and follow them live as a bot would:
prices, changes, spreads, ages, update rates and latencies from the feeder's call to the
follower's screen. Needs no Redis. Ctrl-C or q ends it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	cmd.Flags().DurationVar(&d.duration, "duration", 0, "end after so long (default: when interrupted)")
	cmd.Flags().IntVar(&d.rate, "rate", 2000, "ticks per second")
	cmd.Flags().Uint64Var(&d.seed, "seed", 1, "of the simulation: the same seed makes the same prices")
	return cmd
}

// demo is a feeder, a follower and a view of them.
type demo struct {
	*app
	duration time.Duration
	rate     int
	seed     uint64

	server string
	start  time.Time
	ticks  atomic.Int64
	seen   atomic.Int64
	missed atomic.Int64 // conflated updates

	mu      sync.Mutex
	latency []time.Duration            // of a sample
	recent  []time.Duration            // since the view was drawn
	updates map[fulloncache.Market]int // likewise
}

func (d *demo) run(ctx context.Context) error {
	if d.rate < 1 || d.rate > 1_000_000 {
		return usageError{fmt.Errorf("--rate %d: want 1 to 1,000,000", d.rate)}
	}
	if d.duration < 0 {
		return usageError{fmt.Errorf("--duration %s: want more than 0", d.duration)}
	}
	// The live view owns the terminal; what the library has to say would tear it.
	was := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	defer slog.SetDefault(was)

	srv, err := embedded.Start(ctx)
	if err != nil {
		return err
	}
	err = d.on(ctx, srv)
	return errors.Join(err, srv.Close())
}

func (d *demo) on(ctx context.Context, srv *embedded.Server) error {
	cfg := srv.Config()
	cfg.KeyPrefix = "demo"
	// Feeder and follower are clients of their own, as they would be processes.
	feeder, err := fulloncache.New(ctx, cfg)
	if err != nil {
		return err
	}
	defer feeder.Close()
	follower, err := fulloncache.New(ctx, cfg)
	if err != nil {
		return err
	}
	defer follower.Close()
	health, err := feeder.Base.Health(ctx)
	if err != nil {
		return err
	}
	d.server = srv.String()
	if v := health.Nodes[0].Version; v != "" {
		d.server += " " + v
	}
	if !d.json {
		if err := d.print(nil, "Feeding %d simulated exchanges into the %s.", len(sim.Exchanges), d.server); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	if d.duration > 0 {
		ctx, cancel = context.WithTimeout(ctx, d.duration)
	}
	defer cancel()
	mirror, err := follower.Ticks.Mirror(ctx, sim.Exchanges[:]...)
	if err != nil {
		return err
	}
	d.start = time.Now()
	var wg sync.WaitGroup
	failures := make(chan error, len(sim.Exchanges)+1)
	wg.Go(func() { failures <- d.feed(ctx, feeder.Ticks) })
	for _, exchange := range sim.Exchanges {
		wg.Go(func() { d.follow(ctx, follower.Ticks, exchange) })
	}
	if d.json || !terminal(d.stdout) {
		select {
		case <-ctx.Done():
		case err = <-failures:
		}
	} else {
		err = d.show(ctx, mirror, failures)
	}
	cancel()
	wg.Wait()
	if err != nil {
		return err
	}
	return d.summary()
}

// feed writes simulated ticks at the rate, in batches of what is due.
func (d *demo) feed(ctx context.Context, ticks *fulloncache.TickCache) error {
	market := sim.New(d.seed)
	pace := time.NewTicker(2 * time.Millisecond)
	defer pace.Stop()
	start, sent := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-pace.C:
		}
		// A server that cannot keep up is given what it can take.
		due := min(int(time.Since(start).Seconds()*float64(d.rate))-sent, 1000)
		if due <= 0 {
			continue
		}
		batch := make([]fulloncache.Tick, due)
		for i := range batch {
			batch[i] = market.Next(time.Now())
		}
		// A batch is finished, so that what is counted is what was written.
		if err := ticks.SetMany(context.WithoutCancel(ctx), batch); err != nil {
			return fmt.Errorf("feed: %w", err)
		}
		sent += due
		d.ticks.Add(int64(due))
	}
}

// follow counts what arrives of an exchange and samples how long it took.
func (d *demo) follow(ctx context.Context, ticks *fulloncache.TickCache, exchange string) {
	for u, err := range ticks.StreamExchange(ctx, exchange) {
		if err != nil {
			continue // the view shows that the feed is disconnected
		}
		took := time.Since(u.Tick.Time)
		n := d.seen.Add(1)
		d.missed.Add(int64(u.Conflated))
		const keep = 100_000
		d.mu.Lock()
		if len(d.latency) < keep {
			d.latency = append(d.latency, took)
		} else {
			d.latency[n%keep] = took
		}
		d.recent = append(d.recent, took)
		d.updates[u.Tick.Market]++
		d.mu.Unlock()
	}
}

// summary prints what was done.
func (d *demo) summary() error {
	elapsed := time.Since(d.start)
	d.mu.Lock()
	defer d.mu.Unlock()
	p := percentiles(d.latency)
	sum := struct {
		Server       string  `json:"server"`
		Exchanges    int     `json:"exchanges"`
		Symbols      int     `json:"symbols"`
		Ticks        int64   `json:"ticks"`
		Seen         int64   `json:"updates_seen"`
		Conflated    int64   `json:"updates_conflated"`
		TicksPerSec  float64 `json:"ticks_per_s"`
		SeenPerSec   float64 `json:"updates_per_s"`
		LatencyP50US int64   `json:"latency_p50_us"`
		LatencyP90US int64   `json:"latency_p90_us"`
		LatencyP99US int64   `json:"latency_p99_us"`
		ElapsedMS    int64   `json:"elapsed_ms"`
	}{
		d.server, len(sim.Exchanges), len(sim.Symbols()), d.ticks.Load(), d.seen.Load(), d.missed.Load(),
		round(float64(d.ticks.Load()) / elapsed.Seconds()), round(float64(d.seen.Load()) / elapsed.Seconds()),
		p[0].Microseconds(), p[1].Microseconds(), p[2].Microseconds(), elapsed.Milliseconds(),
	}
	return d.print(sum, "%d ticks written, %d updates seen (%d conflated) in %s, %.0f a second.\nFrom the feeder's call to the follower: p50 %s, p90 %s, p99 %s.",
		sum.Ticks, sum.Seen, sum.Conflated, elapsed.Round(time.Millisecond), sum.SeenPerSec,
		p[0].Round(time.Microsecond), p[1].Round(time.Microsecond), p[2].Round(time.Microsecond))
}

func round(f float64) float64 { return float64(int64(f*10)) / 10 }

// percentiles returns the 50th, 90th and 99th.
func percentiles(list []time.Duration) (p [3]time.Duration) {
	if len(list) == 0 {
		return p
	}
	sorted := slices.Sorted(slices.Values(list))
	for i, at := range []int{50, 90, 99} {
		p[i] = sorted[min(len(sorted)*at/100, len(sorted)-1)]
	}
	return p
}
