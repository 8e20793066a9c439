package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
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
		Short: "Watch a whole desk live, on a private server of its own",
		Example: `  fulloncache demo
  fulloncache demo --duration 10s --kill 5s --json`,
		Long: `Start a private server and a desk on it: simulated exchanges, a ticker service, a candle service,
and three bots, processes of their own, which compete for two symbols with leases, submit
orders under them, and execute the orders of all from the acknowledged queue into positions.

k kills a bot that holds a symbol, as a crash would: its lease passes on, its orders are
delivered to others, and each fill still counts once. Needs no Redis. Ctrl-C or q ends it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return d.run(cmd.Context()) },
	}
	cmd.Flags().DurationVar(&d.duration, "duration", 0, "end after so long (default: when interrupted)")
	cmd.Flags().IntVar(&d.rate, "rate", 2000, "ticks per second")
	cmd.Flags().Uint64Var(&d.seed, "seed", 1, "of the simulation: the same seed makes the same prices")
	cmd.Flags().DurationVar(&d.kill, "kill", 0, "kill a bot after so long, as k does (default: never)")
	return cmd
}

// demoPrefix is before the demo's keys.
const demoPrefix = "demo"

// demo is a feeder, a follower, a desk and a view of them.
type demo struct {
	*app
	duration time.Duration
	rate     int
	seed     uint64
	kill     time.Duration

	server string
	start  time.Time
	ticks  atomic.Int64
	seen   atomic.Int64
	missed atomic.Int64 // conflated updates
	desk   *demoDesk

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
	if d.kill < 0 {
		return usageError{fmt.Errorf("--kill %s: want more than 0", d.kill)}
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
	cfg.KeyPrefix = demoPrefix
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
	d.desk = &demoDesk{cfg: cfg, bots: make(map[string]*exec.Cmd)}
	tasks := []func() error{
		func() error { return d.feed(ctx, feeder) },
		func() error { return d.candles(ctx, follower) },
		func() error { return d.desk.run(ctx) },
		func() error { return d.killLater(ctx) },
	}
	for _, exchange := range sim.Exchanges {
		tasks = append(tasks, func() error { d.follow(ctx, follower.Ticks, exchange); return nil })
	}
	var wg sync.WaitGroup
	failures := make(chan error, len(tasks))
	for _, task := range tasks {
		wg.Go(func() {
			if err := task(); err != nil {
				failures <- err
			}
		})
	}
	if d.json || !terminal(d.stdout) {
		select {
		case <-ctx.Done():
		case err = <-failures:
		}
	} else {
		err = d.show(ctx, follower, mirror, failures)
	}
	cancel()
	wg.Wait()
	elapsed := time.Since(d.start)
	close(failures)
	for ferr := range failures {
		err = errors.Join(err, ferr)
	}
	if err != nil {
		return err
	}
	outcome, err := settleDemo(context.WithoutCancel(ctx), follower)
	if err != nil {
		return err
	}
	return d.summary(elapsed, outcome)
}

// registered registers a service, runs it, and says that it has stopped.
func registered(ctx context.Context, c *fulloncache.Client, kind fulloncache.ProcessType, component string, run func() error) error {
	p, err := c.Processes.Register(ctx, fulloncache.Process{
		Type: kind, Component: component, Interval: demoHeartbeat, Status: fulloncache.ProcessRunning,
	})
	if err != nil {
		return ignore(err, context.Canceled)
	}
	return errors.Join(run(), p.Stop(context.WithoutCancel(ctx), ""))
}

// killLater kills a bot if that was asked for.
func (d *demo) killLater(ctx context.Context) error {
	if d.kill == 0 {
		return nil
	}
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(d.kill):
		_, err := d.desk.kill()
		return err
	}
}

// feed writes simulated ticks at the rate, in batches of what is due.
func (d *demo) feed(ctx context.Context, c *fulloncache.Client) error {
	return registered(ctx, c, fulloncache.ProcessTick, "simulator", func() error { return d.write(ctx, c.Ticks) })
}

func (d *demo) write(ctx context.Context, ticks *fulloncache.TickCache) error {
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
func (d *demo) summary(elapsed time.Duration, desk demoOutcome) error {
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

		Submitted   int64 `json:"orders_submitted"`
		Redelivered int64 `json:"orders_redelivered"`
		Leases      int64 `json:"leases"`
		Kills       int64 `json:"bots_killed"`
		demoOutcome
		ElapsedMS int64 `json:"elapsed_ms"`
	}{
		d.server, len(sim.Exchanges), len(sim.Symbols()), d.ticks.Load(), d.seen.Load(), d.missed.Load(),
		round(float64(d.ticks.Load()) / elapsed.Seconds()), round(float64(d.seen.Load()) / elapsed.Seconds()),
		p[0].Microseconds(), p[1].Microseconds(), p[2].Microseconds(),
		d.desk.submitted.Load(), d.desk.again.Load(), d.desk.leases.Load(), d.desk.kills.Load(), desk, elapsed.Milliseconds(),
	}
	return d.print(sum, `%d ticks written, %d updates seen (%d conflated) in %s, %.0f a second.
From the feeder's call to the follower: p50 %s, p90 %s, p99 %s.
%d orders submitted under %d leases, %d bots killed, %d orders delivered again, %d filled, %d left.
Positions equal the fills of the orders, each counted once: %t. %d bars.`,
		sum.Ticks, sum.Seen, sum.Conflated, elapsed.Round(time.Millisecond), sum.SeenPerSec,
		p[0].Round(time.Microsecond), p[1].Round(time.Microsecond), p[2].Round(time.Microsecond),
		sum.Submitted, sum.Leases, sum.Kills, sum.Redelivered, sum.Filled, sum.Left, sum.Exact, sum.Bars)
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
