// Package pubsub follows prices: as a stream of changes, and as a mirror in memory.
//
// A stream gives the current state first, then every change, through reconnects. A
// mirror answers from memory. Next: fulloncache docs caching_guide.
package pubsub

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
	start := time.Now()
	set := func(price string, after time.Duration) error {
		return c.Ticks.Set(ctx, fulloncache.Tick{Market: btc, Price: fulloncache.MustDecimal(price), Time: start.Add(after)})
	}
	if err := set("67000", 0); err != nil {
		return err
	}

	// The feed sets the next price when the last one was seen.
	next := []string{"67001", "67002"}
	for u, err := range c.Ticks.Stream(ctx, btc) {
		if err != nil {
			fmt.Fprintln(w, "disconnected: prices may be old now")
			continue // the loop goes on, and the current state comes first again
		}
		fmt.Fprintln(w, "stream:", u.Tick.Price)
		if len(next) == 0 {
			break
		}
		if err := set(next[0], time.Duration(3-len(next))*time.Millisecond); err != nil {
			return err
		}
		next = next[1:]
	}

	// A mirror keeps whole exchanges in memory: a read takes some 13 ns.
	m, err := c.Ticks.Mirror(ctx, "kraken")
	if err != nil {
		return err
	}
	defer m.Close()
	if err := m.Ready(ctx); err != nil {
		return err
	}
	q, err := m.Get(btc, fulloncache.MaxAge(time.Minute))
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "mirror:", q.Price(), "connected:", q.Connected())
	return nil
}
