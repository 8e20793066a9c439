// Package metadata keeps what the database knows of symbols in every process's
// memory: one query for all, and never an old row after a change.
//
// Next: fulloncache docs repository_guide.
package metadata

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/embedded"
	"github.com/fullon/fulloncache/orm"
)

// Run runs the example on a private server and a database in memory; a real program
// takes fulloncache.ConfigFromEnv and orm.Open(ctx, os.Getenv("DATABASE_URL")).
func Run(ctx context.Context, w io.Writer) error {
	srv, err := embedded.Start(ctx)
	if err != nil {
		return err
	}
	defer srv.Close()
	db, err := orm.Open(ctx, "sqlite::memory:")
	if err != nil {
		return err
	}
	defer db.Close()
	if err := errors.Join(db.Migrate(ctx), db.Seed(ctx)); err != nil { // two exchanges, four symbols
		return err
	}
	cfg := srv.Config()
	cfg.ExchangeStore, cfg.SymbolStore = db.Exchanges, db.Symbols
	c, err := fulloncache.New(ctx, cfg)
	if err != nil {
		return err
	}
	defer c.Close()

	// The first read asks the database, once for all processes. Later ones are answered
	// from memory.
	list, err := c.Symbols.List(ctx, "kraken")
	if err != nil {
		return err
	}
	for _, s := range list {
		fmt.Fprintln(w, s.Market, "decimals", s.Decimals)
	}

	// Prices are rounded as the exchange trades them.
	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	price, err := c.Ticks.RoundPrice(ctx, btc, fulloncache.MustDecimal("67123.4321"))
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "rounded:", price)

	// A write goes through the cache to the database; nobody reads the old row afterwards.
	s, err := c.Symbols.Get(ctx, btc)
	if err != nil {
		return err
	}
	s.Decimals = 3
	if _, err := c.Symbols.Update(ctx, s); err != nil {
		return err
	}
	price, err = c.Ticks.RoundPrice(ctx, btc, fulloncache.MustDecimal("67123.4321"))
	if err != nil {
		return err
	}
	row, err := db.Symbols.One(ctx, btc)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "rounded:", price, "in the database:", row.Decimals)

	_, err = c.Symbols.Get(ctx, fulloncache.Market{Exchange: "kraken", Symbol: "NONE/USD"})
	fmt.Fprintln(w, "absent, as the database says:", errors.Is(err, fulloncache.ErrNotFound))
	return nil
}
