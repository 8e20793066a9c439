package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/sim"
)

// demoSeries are the candles of the demo.
var demoSeries = fulloncache.Series{Market: demoMarkets[0], Timeframe: "1m"}

// demoHistory is how many bars there are at the start.
const demoHistory = 60

// candles makes bars of the ticks of a market.
func (d *demo) candles(ctx context.Context, c *fulloncache.Client) error {
	return registered(ctx, c, fulloncache.ProcessOHLCV, demoSeries.Market.String(), func() error {
		bars, err := d.aggregate(ctx, c)
		if err != nil {
			return fmt.Errorf("candles: %w", err)
		}
		var appended time.Time
		for u, err := range c.Ticks.Stream(ctx, demoSeries.Market) {
			if err != nil {
				continue // the view shows that the feed is disconnected
			}
			closed, err := bars.Tick(u.Tick)
			if err != nil && !errors.Is(err, fulloncache.ErrOutdated) {
				return fmt.Errorf("candles: %w", err)
			}
			if len(closed) == 0 && time.Since(appended) < 200*time.Millisecond {
				continue
			}
			// The bar under way is stored too: what it becomes replaces it.
			appended = time.Now()
			list := make([]fulloncache.Bar, 0, len(closed)+1)
			for _, b := range closed {
				list = append(list, b.Bar)
			}
			if b, ok := bars.Current(); ok {
				list = append(list, b)
			}
			if _, err := c.OHLCV.Append(context.WithoutCancel(ctx), demoSeries, list); err != nil {
				return fmt.Errorf("candles: %w", err)
			}
		}
		return nil
	})
}

// aggregate makes bars of an hour before the demo.
func (d *demo) aggregate(ctx context.Context, c *fulloncache.Client) (*fulloncache.Aggregator, error) {
	bars, err := fulloncache.NewAggregator(demoSeries)
	if err != nil {
		return nil, err
	}
	// The prices before are those that the same seed makes, the other way round: they
	// lead to where the market begins.
	const perBar = 20
	market := sim.New(d.seed)
	prices := make([]fulloncache.Tick, 0, demoHistory*perBar)
	for len(prices) < cap(prices) {
		if tick := market.Next(time.Time{}); tick.Market == demoSeries.Market {
			prices = append(prices, tick)
		}
	}
	var past []fulloncache.Bar
	end := time.Now().Truncate(time.Minute)
	for i, tick := range slices.Backward(prices) {
		tick.Time = end.Add(-time.Duration(i+1) * time.Minute / perBar)
		closed, err := bars.Tick(tick)
		if err != nil {
			return nil, err
		}
		for _, b := range closed {
			past = append(past, b.Bar)
		}
	}
	_, err = c.OHLCV.Append(context.WithoutCancel(ctx), demoSeries, past)
	return bars, err
}

// demoOutcome is what the desk has in the end.
type demoOutcome struct {
	Filled int64 `json:"orders_filled"`
	Left   int64 `json:"orders_left"`
	Dead   int64 `json:"orders_dead"`
	Bars   int   `json:"bars"`
	// Exact says that the positions are the sum of the filled orders.
	Exact bool `json:"positions_exact"`
}

// settleDemo executes what is left in the queue, killed bots' orders too, and
// compares the positions with the orders.
func settleDemo(ctx context.Context, c *fulloncache.Client) (o demoOutcome, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	consuming, stop := context.WithCancel(ctx)
	defer stop()
	consumed := make(chan error, 1)
	last := &demoBot{name: "settler", c: c}
	go func() {
		consumed <- c.Orders.Consume(consuming, fulloncache.ConsumeOptions{
			Exchange: demoAccount.Exchange, Name: last.name, Concurrency: 16, Visibility: demoVisibility,
		}, last.execute)
	}()
	for {
		stats, err := c.Orders.QueueStats(ctx, demoAccount.Exchange)
		if err != nil {
			return o, err
		}
		if o.Left, o.Dead = stats.Length, stats.Dead; o.Left == 0 {
			break
		}
		select {
		case <-ctx.Done():
			return o, fmt.Errorf("%d orders are left: %w", o.Left, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
	stop()
	if err := <-consumed; err != nil {
		return o, err
	}
	owns := make(map[string]fulloncache.Decimal)
	for order, err := range c.Orders.List(ctx, demoAccount.Exchange) {
		if err != nil {
			return o, err
		}
		if order.Status != fulloncache.OrderFilled {
			continue
		}
		o.Filled++
		if order.Side == fulloncache.Buy {
			owns[order.Symbol] = owns[order.Symbol].Add(order.Volume)
		} else {
			owns[order.Symbol] = owns[order.Symbol].Sub(order.Volume)
		}
	}
	o.Exact = true
	for p, err := range c.Accounts.Positions(ctx, demoAccount) {
		if errors.Is(err, fulloncache.ErrNotFound) {
			break // nothing was filled
		}
		if err != nil {
			return o, err
		}
		held := p.Volume
		if p.Side == fulloncache.Short {
			held = fulloncache.Decimal{}.Sub(held)
		}
		o.Exact = o.Exact && held.Equal(owns[p.Symbol])
		delete(owns, p.Symbol)
	}
	o.Exact = o.Exact && len(owns) == 0
	o.Bars, err = c.OHLCV.Len(ctx, demoSeries)
	return o, err
}

// deskView is what the desk looks like.
type deskView struct {
	blocks    []fulloncache.Block
	queue     fulloncache.QueueStats
	positions []fulloncache.Position
	processes []fulloncache.Process
	bars      []fulloncache.Bar
}

// look reads the desk as any process could.
func look(ctx context.Context, c *fulloncache.Client) (v deskView, err error) {
	if v.blocks, err = collect(c.Bots.Blocks(ctx, demoAccount.Exchange)); err != nil {
		return v, err
	}
	v.positions, err = collect(c.Accounts.Positions(ctx, demoAccount))
	if err = ignore(err, fulloncache.ErrNotFound); err != nil { // before the first fill they are unknown
		return v, err
	}
	if v.processes, err = collect(c.Processes.List(ctx, fulloncache.ProcessFilter{})); err != nil {
		return v, err
	}
	if v.queue, err = c.Orders.QueueStats(ctx, demoAccount.Exchange); err != nil {
		return v, err
	}
	v.bars, err = c.OHLCV.Latest(ctx, demoSeries, demoHistory)
	return v, ignore(err, fulloncache.ErrNotFound)
}

// collect returns the elements of a listing, up to the first error.
func collect[T any](list iter.Seq2[T, error]) (all []T, err error) {
	for v, err := range list {
		if err != nil {
			return all, err
		}
		all = append(all, v)
	}
	return all, nil
}
