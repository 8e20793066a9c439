// Package queuepatterns hands orders to who executes them, at least once: one that
// fails is delivered again, one that cannot succeed becomes a dead letter, and each
// that was acknowledged is in the database.
//
// Next: fulloncache docs queue_guide and repository_guide.
package queuepatterns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/embedded"
	"github.com/fullon/fulloncache/orm"
)

// Run runs the example on a private server and a database in memory; a real program
// calls fulloncache.Open(ctx) and orm.Open(ctx, os.Getenv("DATABASE_URL")).
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
	db, err := orm.Open(ctx, "sqlite::memory:")
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.Migrate(ctx); err != nil {
		return err
	}

	// A bot submits. The id makes an order the same: twice is once.
	for _, id := range []string{"bot_1-1", "bot_1-2", "bot_1-2", "bot_1-bad"} {
		if err := c.Orders.Submit(ctx, order(id)); err != nil {
			return err
		}
	}

	// Who executes them stores, then acknowledges: a crash in between costs nothing,
	// the order comes again, and the database knows it by its id.
	consuming, stop := context.WithCancel(ctx)
	defer stop()
	left := 3
	opts := fulloncache.ConsumeOptions{
		Exchange: "kraken", Concurrency: 1, Backoff: func(int) time.Duration { return 50 * time.Millisecond },
	}
	err = c.Orders.Consume(consuming, opts, func(ctx context.Context, d *fulloncache.OrderDelivery) error {
		switch {
		case d.Order.ID == "bot_1-bad":
			fmt.Fprintln(w, d.Order.ID, "rejected")
			if err := d.Reject(ctx, "unknown account"); err != nil {
				return err
			}
		case d.Order.ID == "bot_1-1" && d.Number == 1:
			fmt.Fprintln(w, d.Order.ID, "failed, and is delivered again")
			return errors.New("the exchange is busy")
		default:
			if _, err := db.Orders.Save(ctx, d.Order); err != nil {
				return err
			}
			fmt.Fprintln(w, d.Order.ID, "stored, delivery", d.Number)
			if err := d.Ack(ctx); err != nil {
				return err
			}
		}
		if left--; left == 0 {
			stop()
		}
		return nil
	})
	if err != nil {
		return err
	}

	for dead, err := range c.Orders.DeadOrders(ctx, "kraken") {
		if err != nil {
			return err
		}
		fmt.Fprintln(w, "dead letter:", dead.OrderID, "-", dead.Reason)
	}
	rows, err := db.Orders.List(ctx, orm.OrderFilter{Exchange: "kraken"})
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "in the database:", len(rows))
	return nil
}

func order(id string) fulloncache.Order {
	return fulloncache.Order{
		Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, ID: id, Type: "limit", Side: fulloncache.Buy,
		Volume: fulloncache.MustDecimal("0.5"), Price: fulloncache.Some(fulloncache.MustDecimal("67000")),
		Status: fulloncache.OrderNew, Time: time.Now(),
	}
}
