package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
)

// measured is what one piece of work takes.
type measured struct {
	Work    string        `json:"work"`
	Callers int           `json:"callers"`
	Calls   int           `json:"calls"`
	P50     time.Duration `json:"p50_ns"`
	P99     time.Duration `json:"p99_ns"`
	Max     time.Duration `json:"max_ns"`
	Rate    float64       `json:"per_second"` // Rate is of what a call does: a call of 100 ticks counts 100.
}

func (a *app) benchCommand() *cobra.Command {
	var duration time.Duration
	var callers int
	cmd := &cobra.Command{
		Use:   "bench",
		Short: "Measure what reads, writes, leases and queues take on your server",
		Long: `Measures the server of the settings from where you are: each piece of work for --duration
with one caller, then with --callers at once. It works on keys of its own prefix, which it
deletes at the end, also when it is interrupted; the server is busy meanwhile.

"per second" counts what a call does: SetMany of 100 ticks counts 100.`,
		Example: `  fulloncache bench
  fulloncache bench --duration 5s --callers 256 --json`,
		Args: cobra.NoArgs,
	}
	cmd.Flags().DurationVar(&duration, "duration", time.Second, "how long to do each piece of work")
	cmd.Flags().IntVar(&callers, "callers", 64, "how many callers at once")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if duration <= 0 || callers < 1 || callers > 10_000 {
			return usageError{errors.New("bench: want a --duration of more than 0 and 1 to 10000 --callers")}
		}
		cfg, done, err := a.config()
		if err != nil {
			return err
		}
		defer done()
		cfg.KeyPrefix += "bench-" + strings.ToLower(rand.Text())[:8]
		c, err := fulloncache.New(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		defer c.Close()
		defer func() {
			_, cerr := c.Base.Clear(context.WithoutCancel(cmd.Context()))
			err = errors.Join(err, cerr)
		}()
		list, err := benchAll(cmd.Context(), c, duration, callers)
		if interrupted := cmd.Context().Err(); interrupted != nil {
			err = interrupted // whatever it cut short
		}
		return errors.Join(err, table(a, []string{"WORK", "CALLERS", "P50", "P99", "MAX", "PER SECOND"}, list, func(m measured) []string {
			return []string{m.Work, strconv.Itoa(m.Callers), m.P50.String(), m.P99.String(), m.Max.String(), strconv.FormatFloat(m.Rate, 'f', 0, 64)}
		}))
	}
	return cmd
}

// piece is work to be measured; do is called with the caller and how often it was
// before.
type piece struct {
	name string
	each int // how many things a call does
	do   func(caller, n int) error
}

// benchAll measures all pieces. What was measured before an error is returned too.
func benchAll(ctx context.Context, c *fulloncache.Client, duration time.Duration, callers int) (list []measured, err error) {
	pieces, end, err := benchPieces(ctx, c)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, end()) }()
	for _, p := range pieces {
		for _, callers := range slices.Compact([]int{1, callers}) {
			m, err := p.measure(ctx, duration, callers)
			if err != nil {
				return list, fmt.Errorf("%s: %w", p.name, err)
			}
			list = append(list, m)
		}
	}
	return list, nil
}

func benchPieces(ctx context.Context, c *fulloncache.Client) (list []piece, end func() error, err error) {
	market := func(i int) fulloncache.Market {
		return fulloncache.Market{Exchange: "bench", Symbol: "COIN" + strconv.Itoa(i) + "/USD"}
	}
	one := fulloncache.MustDecimal("1.5")
	tick := func(i int) fulloncache.Tick {
		return fulloncache.Tick{Market: market(i), Price: one, Bid: fulloncache.Some(one), Ask: fulloncache.Some(one), Time: time.Now()}
	}
	var ticks []fulloncache.Tick
	for i := range 100 {
		ticks = append(ticks, tick(i))
	}
	if err := c.Ticks.SetMany(ctx, ticks); err != nil {
		return nil, nil, err
	}
	mirror, err := c.Ticks.Mirror(ctx, "bench")
	if err != nil {
		return nil, nil, err
	}
	if err := mirror.Ready(ctx); err != nil {
		mirror.Close()
		return nil, nil, err
	}
	// Orders are consumed as they come, or the queue would be full soon.
	consuming, stop := context.WithCancel(ctx)
	consumed := make(chan error, 1)
	consume := sync.OnceFunc(func() {
		go func() {
			consumed <- c.Orders.Consume(consuming, fulloncache.ConsumeOptions{Exchange: "bench", Concurrency: 8},
				func(context.Context, *fulloncache.OrderDelivery) error { return nil })
		}()
	})
	order := func(caller int, id string) fulloncache.Order {
		return fulloncache.Order{
			Market: market(caller), ID: id, Type: "market",
			Side: fulloncache.Buy, Volume: one, Status: fulloncache.OrderNew, Time: time.Now(),
		}
	}
	return []piece{
			{"Base.Ping", 1, func(int, int) error { return c.Base.Ping(ctx) }},
			{"Ticks.Set", 1, func(caller, _ int) error {
				return notLate(c.Ticks.Set(ctx, tick(caller%100)))
			}},
			{"Ticks.SetMany of 100", 100, func(int, int) error {
				some := slices.Clone(ticks)
				for i := range some {
					some[i].Time = time.Now()
				}
				return notLate(c.Ticks.SetMany(ctx, some))
			}},
			{"Ticks.Get", 1, func(caller, _ int) error { _, err := c.Ticks.Get(ctx, market(caller%100)); return err }},
			{"Mirror.Get 1,000 times", 1000, func(caller, _ int) error {
				for i := range 1000 {
					if _, err := mirror.Get(ticks[(caller+i)%100].Market); err != nil {
						return err
					}
				}
				return nil
			}},
			{"Bots.Acquire and Release", 1, func(caller, _ int) error {
				l, err := c.Bots.Acquire(ctx, market(caller), "bot", fulloncache.LeaseOptions{})
				if err != nil {
					return err
				}
				return l.Release(ctx)
			}},
			{"Orders.Save", 1, func(caller, n int) error {
				return c.Orders.Save(ctx, order(caller, fmt.Sprintf("%d-%d", caller, n%100)))
			}},
			{"Orders.Submit, consumed meanwhile", 1, func(caller, _ int) error {
				consume()
				return c.Orders.Submit(ctx, order(caller, unique(caller)))
			}},
			{"Trades.Push, Drain and Ack", 1, func(caller, _ int) error {
				_, err := c.Trades.Push(ctx, fulloncache.Trade{
					Market: market(caller), ExTradeID: unique(caller), Side: fulloncache.Buy, Volume: one, Price: one, Cost: one, Time: time.Now(),
				})
				if err != nil {
					return err
				}
				batch, err := c.Trades.Drain(ctx, market(caller), 1)
				if err != nil {
					return err
				}
				return batch.Ack(ctx)
			}},
			{"Accounts.ApplyTrade", 1, func(caller, _ int) error {
				_, err := c.Accounts.ApplyTrade(ctx, fulloncache.Trade{
					Market: market(caller), UserID: 1, ExTradeID: unique(caller), Side: fulloncache.Buy, Volume: one, Price: one, Cost: one, Time: time.Now(),
				})
				return err
			}},
		}, func() error {
			mirror.Close()
			consume()
			stop()
			return <-consumed
		}, nil
}

// notLate leaves out that another caller's tick of the same market was later.
func notLate(err error) error {
	var batch *fulloncache.BatchError
	if !errors.As(err, &batch) {
		batch = &fulloncache.BatchError{Errs: []error{err}}
	}
	for _, err := range batch.Errs {
		if err != nil && !errors.Is(err, fulloncache.ErrOutdated) {
			return err
		}
	}
	return nil
}

// unique is an id that no other call of the caller has.
func unique(caller int) string { return fmt.Sprintf("%d-%d", caller, time.Now().UnixNano()) }

// measure does a piece of work for a while with some callers.
func (p piece) measure(ctx context.Context, duration time.Duration, callers int) (m measured, err error) {
	took := make([][]time.Duration, callers)
	errs := make([]error, callers)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range callers {
		wg.Go(func() {
			for begun := start; begun.Sub(start) < duration && errs[i] == nil; {
				if errs[i] = ctx.Err(); errs[i] == nil {
					errs[i] = p.do(i, len(took[i]))
				}
				now := time.Now()
				took[i] = append(took[i], now.Sub(begun))
				begun = now
			}
		})
	}
	wg.Wait()
	elapsed := time.Since(start)
	all := slices.Concat(took...)
	slices.Sort(all)
	n := len(all)
	m = measured{
		Work: p.name, Callers: callers, Calls: n, P50: all[n/2], P99: all[n*99/100], Max: all[n-1],
		Rate: float64(n*p.each) / elapsed.Seconds(),
	}
	for _, err := range errs {
		if err != nil {
			return m, err // the others' are the same
		}
	}
	return m, nil
}
