// Package advancedpatterns is one bot, whole: it reads prices from a mirror, takes its
// market with a lease, submits orders under it, and knows its position.
//
// Next: fulloncache docs coordination_guide and queue_guide.
package advancedpatterns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/embedded"
)

var (
	btc  = fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	desk = fulloncache.Account{UserID: 123, Exchange: "kraken"}
)

// Run runs the bot, and beside it who executes its orders, on a private server. In a real
// system these are processes of their own, and each calls fulloncache.Open(ctx).
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
	tick := fulloncache.Tick{Market: btc, Price: fulloncache.MustDecimal("67000"), Time: time.Now()}
	if err := c.Ticks.Set(ctx, tick); err != nil {
		return err
	}

	executing, stop := context.WithCancel(ctx)
	executed := make(chan error, 1)
	go func() { executed <- execute(executing, c) }()
	err = bot(ctx, w, c)
	stop()
	if ended := <-executed; err == nil {
		err = ended
	}
	return err
}

// bot buys once and tells what it owns then.
func bot(ctx context.Context, w io.Writer, c *fulloncache.Client) (err error) {
	self, err := c.Processes.Register(ctx, fulloncache.Process{Type: fulloncache.ProcessBot, Component: "bot_1"})
	if err != nil {
		return err
	}
	ending := context.WithoutCancel(ctx) // what was begun is ended, also when ctx is over
	defer func() { err = errors.Join(err, self.Stop(ending, "done")) }()
	prices, err := c.Ticks.Mirror(ctx, "kraken")
	if err != nil {
		return err
	}
	defer prices.Close()
	if err := prices.Ready(ctx); err != nil {
		return err
	}

	lease, err := c.Bots.AcquireWait(ctx, btc, "bot_1", fulloncache.LeaseOptions{TTL: 10 * time.Second})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lease.Release(ending)) }()
	ctx = lease.Context() // nothing is done any more once the lease is lost
	fmt.Fprintln(w, lease.Bot(), "has", lease.Market())

	q, err := prices.Get(btc, fulloncache.MaxAge(time.Minute))
	if err != nil {
		return err // absent or too old: no price, no trade
	}
	order := fulloncache.Order{
		Market: btc, ID: "bot_1-0001", UserID: desk.UserID, Type: "limit", Side: fulloncache.Buy, Status: fulloncache.OrderNew,
		Volume: fulloncache.MustDecimal("0.25"), Price: fulloncache.Some(q.Price()), Time: time.Now(),
	}
	if err := c.Orders.Save(ctx, order); err != nil {
		return err
	}
	if err := c.Orders.Submit(ctx, order, fulloncache.UnderLease(lease.Token())); err != nil {
		return err // whatever it is, submitting again is safe
	}
	fmt.Fprintln(w, "submitted", order.ID, order.Side, order.Volume, "at", order.Price)

	// The position is there once the fill counts.
	p, err := c.Accounts.WaitPosition(ctx, desk, btc.Symbol, 0)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "position:", p.Side, p.Volume, "at", p.AvgPrice)
	for u, err := range c.Orders.Watch(ctx, "kraken", order.ID) {
		if err != nil {
			continue // disconnected; the loop goes on
		}
		if u.Order.Status.Final() {
			fmt.Fprintln(w, "order:", u.Order.Status, "filled", u.Order.FinalVolume)
			break
		}
	}
	return nil
}

// execute stands for the exchange: it fills each order at its price.
func execute(ctx context.Context, c *fulloncache.Client) error {
	return c.Orders.Consume(ctx, fulloncache.ConsumeOptions{Exchange: "kraken"}, func(ctx context.Context, d *fulloncache.OrderDelivery) error {
		o := d.Order
		_, err := c.Accounts.ApplyTrade(ctx, fulloncache.Trade{
			Market: o.Market, UserID: o.UserID, ExTradeID: "T-" + o.ID, Side: o.Side, Volume: o.Volume, Price: o.Price.Decimal, Time: time.Now(),
		})
		if err != nil {
			return err // it is delivered again; the fill counts once
		}
		_, err = c.Orders.Update(ctx, fulloncache.Order{
			Market: o.Market, ID: o.ID, Status: fulloncache.OrderFilled, FinalVolume: fulloncache.Some(o.Volume), Time: time.Now(),
		})
		return err // nil acknowledges it
	})
}
