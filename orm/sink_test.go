package orm_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// A consumer stores what it is given, then acknowledges it. Whatever happens to the
// database, or to the consumer between the two, every order that was submitted is
// in the database, once.
func TestOrdersFromTheQueueAreStored(t *testing.T) {
	t.Parallel()
	b := newBook(t, kinds[0])
	n := 300
	if testenv.Soak() {
		n = 3000
	}
	proxy := testenv.NewProxy(t, testenv.Postgres(t).Addr())
	db := open(t, proxy.DSN(t, b.dsn))
	c, err := fulloncache.New(b.ctx, fulloncache.Config{
		URL: testenv.Redis(t).URL(), KeyPrefix: testenv.Prefix(t), Logger: slog.New(slog.DiscardHandler),
	})
	b.must(err)
	t.Cleanup(c.Close)

	var stored, failed atomic.Int64
	ctx, stop := context.WithCancel(b.ctx)
	consumed := make(chan error, 1)
	go func() {
		consumed <- c.Orders.Consume(ctx, fulloncache.ConsumeOptions{
			Exchange: "kraken", Concurrency: 4, Visibility: 5 * time.Second, MaxDeliveries: 1 << 20,
			Backoff: func(int) time.Duration { return 20 * time.Millisecond },
		}, func(ctx context.Context, d *fulloncache.OrderDelivery) error {
			if _, err := db.Orders.Save(ctx, d.Order); err != nil {
				failed.Add(1)
				return err
			}
			if stored.Add(1)%10 == 0 && d.Number == 1 {
				return errors.New("the consumer died before it acknowledged the order")
			}
			return d.Ack(ctx)
		})
	}()
	orders := make([]fulloncache.Order, n)
	for i := range orders {
		orders[i] = b.order(fmt.Sprint("queued-", i))
	}
	for first := 0; first < n; first += 50 {
		b.must(c.Orders.SubmitMany(b.ctx, orders[first:first+50]))
		want := stored.Load() + 10
		testenv.Eventually(t, "orders that are stored", func() (bool, string) {
			got := stored.Load()
			return got >= want, fmt.Sprint(got)
		})
		was := failed.Load()
		proxy.Cut()
		testenv.Eventually(t, "orders that cannot be stored", func() (bool, string) {
			stats, err := c.Orders.QueueStats(b.ctx, "kraken")
			b.must(err)
			return failed.Load() > was || stats.Length == 0, fmt.Sprint(stats)
		})
		proxy.Restore(t)
	}
	// How long that takes is the database's affair, as long as it goes on.
	for empty := false; !empty; {
		was := stored.Load()
		testenv.Eventually(t, "an empty queue, or one order more that is stored", func() (bool, string) {
			stats, err := c.Orders.QueueStats(b.ctx, "kraken")
			b.must(err)
			empty = stats == fulloncache.QueueStats{}
			return empty || stored.Load() > was, fmt.Sprint(stats)
		})
	}
	stop()
	b.must(<-consumed)
	var rows int
	b.must(b.raw.QueryRowContext(b.ctx, "SELECT count(*) FROM orders WHERE client_order_id LIKE 'queued-%'").Scan(&rows))
	if rows != n || failed.Load() == 0 {
		t.Errorf("%d rows of %d orders; %d times the database failed", rows, n, failed.Load())
	}
	for _, want := range []fulloncache.Order{orders[0], orders[n-1]} {
		got := get(b.db.Orders.ByID(b.ctx, "kraken", want.ID))(b)
		want.RecordID = got.RecordID
		if !got.Equal(want) {
			t.Errorf("stored is %+v, want %+v", got, want)
		}
	}
	t.Logf("%d orders, stored %d times, the database failed %d times", n, stored.Load(), failed.Load())
}
