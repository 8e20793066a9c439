// Package botcoordination keeps two bots off one market: a lease, who waits for it,
// and the fencing token that stops who does not know yet that its lease is over.
//
// Next: fulloncache docs coordination_guide.
package botcoordination

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
func Run(ctx context.Context, w io.Writer) (err error) {
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
	first, err := c.Bots.Acquire(ctx, btc, "bot_1", fulloncache.LeaseOptions{TTL: 10 * time.Second})
	if err != nil {
		return err
	}
	fmt.Fprintln(w, first.Bot(), "trades", first.Market())

	// Another bot is told who has it.
	_, err = c.Bots.Acquire(ctx, btc, "bot_2", fulloncache.LeaseOptions{})
	var blocked *fulloncache.BlockedError
	if !errors.As(err, &blocked) {
		return fmt.Errorf("two bots have one market: %w", err)
	}
	fmt.Fprintln(w, "bot_2 is blocked by", blocked.Holder)

	// Or it waits in line: first come, first served. Only the first is woken.
	type outcome struct {
		lease *fulloncache.Lease
		err   error
	}
	waited := make(chan outcome, 1)
	go func() {
		l, err := c.Bots.AcquireWait(ctx, btc, "bot_2", fulloncache.LeaseOptions{})
		waited <- outcome{l, err}
	}()
	if err := first.Release(ctx); err != nil {
		return err
	}
	second := <-waited
	if second.err != nil {
		return second.err
	}
	defer func() { err = errors.Join(err, second.lease.Release(context.WithoutCancel(ctx))) }()
	fmt.Fprintln(w, second.lease.Bot(), "has it now, its token is greater:", second.lease.Token() > first.Token())

	// The first bot does not know yet, and submits an order. The token tells.
	order := fulloncache.Order{
		Market: btc, ID: "bot_1-1", Type: "market", Side: fulloncache.Buy, Volume: fulloncache.MustDecimal("0.1"),
		Status: fulloncache.OrderNew, Time: time.Now(),
	}
	err = c.Orders.Submit(ctx, order, fulloncache.UnderLease(first.Token()))
	fmt.Fprintln(w, "its late order is refused:", errors.Is(err, fulloncache.ErrLeaseLost))
	fmt.Fprintln(w, "and it can know:", first.Err() != nil, first.Context().Err())

	order.ID = "bot_2-1"
	if err := c.Orders.Submit(ctx, order, fulloncache.UnderLease(second.lease.Token())); err != nil {
		return err
	}
	fmt.Fprintln(w, "bot_2's order is taken")
	return nil
}
