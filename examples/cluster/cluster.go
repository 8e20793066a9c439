// Package cluster shows what changes with a Redis Cluster: the settings, and the
// braces in the keys. The program is the same.
//
// It runs on a private server of one node, or on your cluster if REDIS_CLUSTER_MODE and
// REDIS_CLUSTER_NODES say where it is. Next: fulloncache docs operations_guide and keys.
package cluster

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/embedded"
)

// Run runs the example.
func Run(ctx context.Context, w io.Writer) error {
	cfg, err := fulloncache.ConfigFromEnv()
	if err != nil {
		return err
	}
	if !cfg.ClusterMode {
		srv, err := embedded.Start(ctx)
		if err != nil {
			return err
		}
		defer srv.Close()
		cfg = srv.Config()
	}
	cfg.KeyPrefix = "example"
	c, err := fulloncache.New(ctx, cfg)
	if err != nil {
		return err
	}
	defer c.Close()

	// Each exchange lives on one node. Nothing but its name decides on which.
	exchanges := []string{"binance", "bitmex", "kraken"}
	for _, exchange := range exchanges {
		m := fulloncache.Market{Exchange: exchange, Symbol: "BTC/USD"}
		tick := fulloncache.Tick{Market: m, Price: fulloncache.MustDecimal("67000"), Time: time.Now()}
		if err := c.Ticks.Set(ctx, tick); err != nil {
			return err
		}
	}
	// What is asked of all exchanges is asked of all nodes.
	found, err := c.Ticks.Exchanges(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "exchanges:", found)

	for _, exchange := range exchanges {
		for key, err := range c.Base.Keys(ctx, "tickers:*"+exchange+"*") {
			if err != nil {
				return err
			}
			fmt.Fprintln(w, "key:", key) // in a cluster the exchange stands in braces
		}
	}
	h, err := c.Base.Health(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "masters:", len(h.Nodes))
	deleted, err := c.Base.Clear(ctx) // the keys of the prefix, on every node
	fmt.Fprintln(w, "cleared:", deleted > 0)
	return err
}
