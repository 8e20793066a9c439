// Package candles makes bars of trades, stores them, and reads longer ones.
//
// Next: fulloncache docs caching_guide and api_reference ohlcv.
package candles

import (
	"context"
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
	minutes := fulloncache.Series{Market: btc, Timeframe: "1m"}
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

	// A real program takes them from c.Trades.Stream(ctx, btc), or ticks from
	// c.Ticks.Stream.
	agg, err := fulloncache.NewAggregator(minutes)
	if err != nil {
		return err
	}
	for i, price := range []string{"67000", "67020", "66990", "67010", "67050", "67040"} {
		closed, err := agg.Trade(fulloncache.Trade{
			Market: btc, ExTradeID: fmt.Sprint("t", i), Side: fulloncache.Buy, Price: fulloncache.MustDecimal(price),
			Volume: fulloncache.MustDecimal("0.5"), Time: noon.Add(time.Duration(i) * 25 * time.Second),
		})
		if err != nil {
			return err
		}
		if err := store(ctx, c, minutes, closed); err != nil {
			return err
		}
	}
	// A quiet market needs somebody who says that time has passed.
	if err := store(ctx, c, minutes, agg.Advance(noon.Add(3*time.Minute))); err != nil {
		return err
	}

	bars, err := c.OHLCV.Latest(ctx, minutes, 100)
	if err != nil {
		return err
	}
	for _, b := range bars {
		fmt.Fprintln(w, b)
	}
	hours, err := fulloncache.Resample(bars, "1m", "1h")
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "the hour:", hours[0])

	// The same again changes nothing; a late bar would go to its place.
	done, err := c.OHLCV.Append(ctx, minutes, bars)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "unchanged:", done.Unchanged)
	return nil
}

func store(ctx context.Context, c *fulloncache.Client, series fulloncache.Series, closed []fulloncache.ClosedBar) error {
	for _, bar := range closed {
		if _, err := c.OHLCV.Append(ctx, series, []fulloncache.Bar{bar.Bar}); err != nil {
			return err
		}
	}
	return nil
}
