package orm_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// P3: the trades of a batch are stored, and then acknowledged. Whatever fails in
// between, the database, its connection or the process, each trade is stored,
// and stored once.
func TestDrainedTradesAreStoredOnce(t *testing.T) {
	t.Parallel()
	n, faults := 300, 3
	if testenv.Soak() {
		n, faults = 10_000, 40
	}
	b := newBook(t, kinds[0])
	proxy := testenv.NewProxy(t, testenv.Postgres(t).Addr())
	db := open(t, proxy.DSN(t, b.dsn))
	c, err := fulloncache.New(b.ctx, fulloncache.Config{
		URL: testenv.Redis(t).URL(), KeyPrefix: testenv.Prefix(t), TradesBatchTimeout: 300 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	b.must(err)
	t.Cleanup(c.Close)
	trades := make([]fulloncache.Trade, n)
	for i := range trades {
		trades[i] = b.trade(fmt.Sprint(i))
	}
	get(c.Trades.PushManyUser(b.ctx, trades))(b)

	var failed, abandoned, again atomic.Int64
	ctx, stop := context.WithCancel(b.ctx)
	var storing sync.WaitGroup
	defer storing.Wait()
	defer stop()
	for w := range 3 {
		storing.Go(func() {
			dice := rand.New(rand.NewPCG(4, uint64(w)))
			for ctx.Err() == nil {
				batch, err := c.Trades.DrainUser(ctx, b.user, "kraken", 10)
				if err != nil {
					if ctx.Err() == nil {
						t.Error(err)
					}
					return
				}
				if len(batch.Trades) == 0 {
					continue
				}
				added, err := db.Trades.AddAll(ctx, batch.Trades)
				settle := batch.Ack
				switch {
				case err != nil:
					if failed.Add(1); !errors.Is(err, fulloncache.ErrUnavailable) && ctx.Err() == nil {
						t.Errorf("the database answered %v", err)
					}
					settle = batch.Return
				case dice.IntN(8) == 0: // it dies before it acknowledges
					abandoned.Add(1)
					continue
				}
				if err == nil {
					again.Add(int64(len(batch.Trades) - added))
				}
				if err := settle(ctx); err != nil && !errors.Is(err, fulloncache.ErrNotFound) && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	stored := func() int {
		return int(b.insert("SELECT count(*) FROM trades"))
	}
	for fault := range faults {
		testenv.Eventually(t, "progress", func() (bool, string) {
			at := stored()
			return at > fault*n/(faults+1), fmt.Sprint(at)
		})
		proxy.Cut()
		before := failed.Load()
		testenv.Eventually(t, "a failure", func() (bool, string) { return failed.Load() > before || stored() == n, "" })
		proxy.Restore(t)
	}
	// How long that takes is the database's affair, as long as it goes on.
	for all := false; !all; {
		was := stored()
		testenv.Eventually(t, "everything to be stored, or something more", func() (bool, string) {
			waiting, flying, err := c.Trades.LenUser(b.ctx, b.user, "kraken")
			now := stored()
			all = now == n && waiting == 0 && flying == 0
			return all || now > was, fmt.Sprint(now, " stored, ", waiting, " wait, ", flying, " in flight ", err)
		})
	}
	stop()
	storing.Wait()
	for i := range n {
		get(b.db.Trades.ByExTradeID(b.ctx, fmt.Sprint(i), "O-1"))(b)
	}
	t.Logf("%d trades: %d batches the database refused, %d were abandoned, %d trades came again", n, failed.Load(), abandoned.Load(), again.Load())
}
