// Package performance measures a server: what a read, a write and a memory read take.
//
// Its figures are of your machine; for a comparison with peers see make bench. Next:
// fulloncache docs performance.
package performance

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/embedded"
)

// Run runs the example on a private server; a real program calls fulloncache.Open(ctx).
func Run(ctx context.Context, w io.Writer) error {
	srv, err := embedded.Start(ctx)
	if err != nil {
		return err
	}
	defer srv.Close()
	c, err := fulloncache.New(ctx, srv.Config())
	if err != nil {
		return err
	}
	defer c.Close()

	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	start := time.Now()
	n := 0
	set := func() error {
		n++
		return c.Ticks.Set(ctx, fulloncache.Tick{Market: btc, Price: fulloncache.MustDecimal("67000"), Time: start.Add(time.Duration(n))})
	}
	get := func() error {
		_, err := c.Ticks.Get(ctx, btc)
		return err
	}
	if err := set(); err != nil {
		return err
	}
	m, err := c.Ticks.Mirror(ctx, "kraken")
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.Ready(ctx); err != nil {
		return err
	}
	read := func() error {
		_, err := m.Get(btc)
		return err
	}
	for _, work := range []struct {
		name string
		do   func() error
	}{{"Set", set}, {"Get", get}, {"Mirror.Get", read}} {
		if err := measure(w, work.name, 1000, work.do); err != nil {
			return err
		}
	}
	return nil
}

// measure does something many times and prints how long it took.
func measure(w io.Writer, name string, times int, do func() error) error {
	took := make([]time.Duration, times)
	for i := range took {
		start := time.Now()
		if err := do(); err != nil {
			return err
		}
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	_, err := fmt.Fprintf(w, "%-10s  p50 %v  p99 %v\n", name, took[times/2], took[times*99/100])
	return err
}
