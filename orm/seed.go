package orm

import (
	"context"
	"errors"

	"github.com/fullon/fulloncache"
)

// SeedMail is the mail address of the user that [DB.Seed] makes.
const SeedMail = "demo@example.com"

// Seed stores a small data set to try things with: a user without a password (so
// nobody can log in), the exchanges kraken and binance with two symbols each, and
// the user's account at kraken's test net. What is there already stays as it is.
func (db *DB) Seed(ctx context.Context) error {
	return db.InTx(ctx, func(tx *Tx) error {
		symbol := func(exchange, name, base, quote string, decimals, lotDecimals int, least string) fulloncache.Symbol {
			return fulloncache.Symbol{
				Market: fulloncache.Market{Exchange: exchange, Symbol: name}, Base: base, Quote: quote,
				Decimals: decimals, LotDecimals: lotDecimals, OrderMin: fulloncache.Some(fulloncache.MustDecimal(least)),
				UpdateFrame: "1h", Backtest: 30,
			}
		}
		var missing []fulloncache.Symbol
		for _, s := range []fulloncache.Symbol{
			symbol("kraken", "BTC/USD", "BTC", "USD", 1, 8, "0.0001"),
			symbol("kraken", "ETH/USD", "ETH", "USD", 2, 8, "0.002"),
			symbol("binance", "BTC/USDT", "BTC", "USDT", 2, 5, "0.00001"),
			symbol("binance", "ETH/USDT", "ETH", "USDT", 2, 4, "0.0001"),
		} {
			_, err := tx.Symbols.One(ctx, s.Market)
			if errors.Is(err, fulloncache.ErrNotFound) {
				missing = append(missing, s)
			} else if err != nil {
				return err
			}
		}
		if _, err := tx.Symbols.Upsert(ctx, missing); err != nil {
			return err
		}
		user, err := tx.Users.ByMail(ctx, SeedMail)
		if !errors.Is(err, fulloncache.ErrNotFound) {
			return err
		}
		if user, err = tx.Users.Add(ctx, fulloncache.User{Mail: SeedMail, Role: "demo", Name: "Demo", LastName: "User", Active: true}); err != nil {
			return err
		}
		kraken, err := tx.Exchanges.CatalogueByName(ctx, "kraken")
		if err != nil {
			return err
		}
		_, err = tx.Exchanges.Add(ctx, fulloncache.Exchange{
			UserID: user.ID, CatExchangeID: kraken.ID, Name: "demo", Test: true, Active: true,
		})
		return err
	})
}
