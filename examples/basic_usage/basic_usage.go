// Package basicusage stores prices, reads them back, and says how old they may be.
//
// Next: fulloncache docs caching_guide.
package basicusage

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	now := time.Now()

	// A feed stores a tick: in one step it is stored, numbered, indexed and published.
	tick := fulloncache.Tick{
		Market: btc, Price: fulloncache.MustDecimal("67123.4"), Time: now,
		Bid: fulloncache.Some(fulloncache.MustDecimal("67123.3")), Ask: fulloncache.Some(fulloncache.MustDecimal("67123.5")),
	}
	if err := c.Ticks.Set(ctx, tick); err != nil {
		return err
	}

	// A bot reads it, and says how old it may be.
	got, err := c.Ticks.Get(ctx, btc, fulloncache.MaxAge(time.Minute))
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "price", got.Price, "bid", got.Bid, "ask", got.Ask)

	// What comes late never overwrites what is newer.
	late := tick
	late.Price, late.Time = fulloncache.MustDecimal("60000"), now.Add(-time.Second)
	if err := c.Ticks.Set(ctx, late); errors.Is(err, fulloncache.ErrOutdated) {
		fmt.Fprintln(w, "the late tick was refused")
	}

	// Absent, too old, unreadable and unknown are four different errors.
	_, err = c.Ticks.Get(ctx, fulloncache.Market{Exchange: "kraken", Symbol: "DOGE/USD"})
	fmt.Fprintln(w, "absent:", errors.Is(err, fulloncache.ErrNotFound))

	old := fulloncache.Tick{
		Market: fulloncache.Market{Exchange: "kraken", Symbol: "ETH/USD"}, Price: fulloncache.MustDecimal("3500"), Time: now.Add(-time.Hour),
	}
	if err := c.Ticks.Set(ctx, old); err != nil {
		return err
	}
	_, err = c.Ticks.Get(ctx, old.Market, fulloncache.MaxAge(2*time.Second))
	fmt.Fprintln(w, "too old:", errors.Is(err, fulloncache.ErrStale))

	// All of an exchange, in two round trips.
	for t, err := range c.Ticks.List(ctx, "kraken") {
		if err != nil {
			return err
		}
		fmt.Fprintln(w, "listed:", t.Market, t.Price)
	}
	return nil
}
