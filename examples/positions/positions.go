// Package positions counts fills into a position: exactly, and each once, however
// often it is told.
//
// Next: fulloncache docs api_reference account.
package positions

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

	desk := fulloncache.Account{UserID: 123, Exchange: "kraken"}
	noon := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	fill := func(id string, second int, side fulloncache.Side, volume, price string) fulloncache.Trade {
		return fulloncache.Trade{
			Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, UserID: desk.UserID, ExTradeID: id, Side: side,
			Volume: fulloncache.MustDecimal(volume), Price: fulloncache.MustDecimal(price), Fee: fulloncache.MustDecimal("0.1"),
			Time: noon.Add(time.Duration(second) * time.Second),
		}
	}

	// Unknown is not flat.
	_, err = c.Accounts.Position(ctx, desk, "BTC/USD")
	fmt.Fprintln(w, "nothing is known:", errors.Is(err, fulloncache.ErrNotFound))

	for _, t := range []fulloncache.Trade{
		fill("t1", 0, fulloncache.Buy, "0.3", "67000"),
		fill("t2", 1, fulloncache.Buy, "0.1", "67100.01"),
		fill("t2", 1, fulloncache.Buy, "0.1", "67100.01"), // told twice, counts once
		fill("t3", 2, fulloncache.Sell, "0.4", "67200"),
	} {
		p, err := c.Accounts.ApplyTrade(ctx, t)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s: %s %s cost %s, profit %s, fees %s\n", t.ExTradeID, p.Side, p.Volume, p.Cost, p.RealisedProfit, p.Fees)
	}

	// What the exchange says, all at once: what is not among them is flat.
	told := fulloncache.Position{
		Symbol: "ETH/USD", Side: fulloncache.Short, Volume: fulloncache.MustDecimal("2"), Cost: fulloncache.MustDecimal("7000"),
	}
	if err := c.Accounts.ReplacePositions(ctx, desk, noon.Add(time.Minute), []fulloncache.Position{told}); err != nil {
		return err
	}
	for p, err := range c.Accounts.Positions(ctx, desk) {
		if err != nil {
			return err
		}
		fmt.Fprintln(w, "held:", p.Symbol, p.Side, p.Volume, "at", p.AvgPrice)
	}

	// A fill from before is in there already.
	_, err = c.Accounts.ApplyTrade(ctx, fill("t4", 3, fulloncache.Buy, "1", "67000"))
	fmt.Fprintln(w, "an earlier fill does not count again:", errors.Is(err, fulloncache.ErrOutdated))
	return nil
}
