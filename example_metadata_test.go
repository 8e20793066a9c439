package fulloncache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/embedded"
)

// database returns what the examples stand on: an empty database with one user.
func database() (exchanges fulloncache.ExchangeStore, symbols fulloncache.SymbolStore, user int64) {
	b := newBook()
	return exchangeBook{b}, symbolBook{b}, b.user()
}

// tryStored is try with a database that has a user, the exchanges binance and
// kraken, and two symbols of kraken.
func tryStored() (c *fulloncache.Client, user int64, end func()) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	was := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(io.Discard, nil)))
	defer slog.SetDefault(was)
	srv, err := embedded.Start(ctx)
	if err != nil {
		panic(err)
	}
	cfg := srv.Config()
	cfg.KeyPrefix = "example"
	cfg.ExchangeStore, cfg.SymbolStore, user = database()
	if c, err = fulloncache.New(ctx, cfg); err != nil {
		panic(err)
	}
	_, err = c.Exchanges.AddCatalogue(ctx, fulloncache.CatExchange{Name: "binance"})
	report(err)
	_, err = c.Symbols.Upsert(ctx, []fulloncache.Symbol{
		{Market: kraken("BTC/USD"), Base: "BTC", Quote: "USD", Decimals: 1, LotDecimals: 8, OrderMin: fulloncache.Some(fulloncache.MustDecimal("0.0001"))},
		{Market: kraken("ETH/USD"), Base: "ETH", Quote: "USD", Decimals: 2, LotDecimals: 8, OrderMin: fulloncache.Some(fulloncache.MustDecimal("0.002"))},
	})
	report(err)
	return c, user, func() {
		c.Close()
		if err := srv.Close(); err != nil {
			panic(err)
		}
	}
}

func kraken(symbol string) fulloncache.Market {
	return fulloncache.Market{Exchange: "kraken", Symbol: symbol}
}

func ExampleSymbolCache_Get() {
	ctx := context.Background()
	c, _, end := tryStored()
	defer end()
	s, err := c.Symbols.Get(ctx, kraken("BTC/USD"))
	fmt.Println(s.Decimals, s.OrderMin, s.Age(time.Now()) < time.Minute, err)
	_, err = c.Symbols.Get(ctx, kraken("XRP/USD"))
	fmt.Println(errors.Is(err, fulloncache.ErrNotFound))
	ok, err := c.Symbols.Exists(ctx, kraken("ETH/USD"))
	fmt.Println(ok, err)
	p, err := c.Symbols.Precision(ctx, kraken("ETH/USD"))
	fmt.Println(p.Decimals, p.LotDecimals, err)
	// Output:
	// 1 0.0001 true <nil>
	// true
	// true <nil>
	// 2 8 <nil>
}

func ExampleSymbolCache_List() {
	ctx := context.Background()
	c, _, end := tryStored()
	defer end()
	list, err := c.Symbols.List(ctx, "kraken")
	report(err)
	for _, s := range list {
		fmt.Println(s.Symbol, s.Base, s.Quote)
	}
	// Output:
	// BTC/USD BTC USD
	// ETH/USD ETH USD
}

// Accounts carry the exchange's id in the catalogue.
func ExampleSymbolCache_GetByID() {
	ctx := context.Background()
	c, _, end := tryStored()
	defer end()
	id, err := c.Exchanges.CatalogueID(ctx, "kraken")
	report(err)
	s, err := c.Symbols.GetByID(ctx, id, "ETH/USD")
	fmt.Println(s.Market, err)
	list, err := c.Symbols.ListByID(ctx, id)
	fmt.Println(len(list), err)
	// Output:
	// kraken ETH/USD <nil>
	// 2 <nil>
}

func ExampleSymbolCache_Search() {
	ctx := context.Background()
	c, _, end := tryStored()
	defer end()
	found, err := c.Symbols.Search(ctx, "eth") // at all exchanges
	report(err)
	for _, s := range found {
		fmt.Println(s.Market)
	}
	// Output: kraken ETH/USD
}

func ExampleSymbolCache_Add() {
	ctx := context.Background()
	c, _, end := tryStored()
	defer end()
	s := fulloncache.Symbol{Market: kraken("XRP/USD"), Base: "XRP", Quote: "USD", Decimals: 5, LotDecimals: 8}
	s, err := c.Symbols.Add(ctx, s)
	fmt.Println(s.ID > 0, err)
	_, err = c.Symbols.Add(ctx, s)
	fmt.Println(errors.Is(err, fulloncache.ErrDuplicate))

	s.Decimals = 4
	_, err = c.Symbols.Update(ctx, s)
	report(err)
	s, err = c.Symbols.Get(ctx, s.Market) // never the old one
	fmt.Println(s.Decimals, err)
	// Output:
	// true <nil>
	// true
	// 4 <nil>
}

func ExampleSymbolCache_Upsert() {
	ctx := context.Background()
	c, _, end := tryStored()
	defer end()
	done, err := c.Symbols.Upsert(ctx, []fulloncache.Symbol{
		{Market: kraken("BTC/USD"), Base: "BTC", Quote: "USD", Decimals: 2, LotDecimals: 8},
		{Market: fulloncache.Market{Exchange: "bitmex", Symbol: "XBTUSD"}, Base: "XBT", Quote: "USD", Futures: true},
	})
	fmt.Printf("%+v %v\n", done, err)

	_, err = c.Symbols.Upsert(ctx, []fulloncache.Symbol{{Market: kraken("SOL/USD"), Base: "SOL"}, {Market: kraken("ADA/USD")}})
	var batch *fulloncache.BatchError
	if errors.As(err, &batch) { // and nothing was stored
		fmt.Println(batch.Errs[1])
	}
	// Output:
	// {Added:1 Updated:1} <nil>
	// invalid input: symbol kraken ADA/USD: base "": want a currency
}

func ExampleSymbolCache_Delete() {
	ctx := context.Background()
	c, _, end := tryStored()
	defer end()
	report(c.Ticks.Set(ctx, price("kraken", "ETH/USD", "3500", 0)))
	fmt.Println(c.Symbols.Delete(ctx, kraken("ETH/USD")))
	_, err := c.Ticks.Get(ctx, kraken("ETH/USD")) // its ticker is gone too
	fmt.Println(errors.Is(err, fulloncache.ErrNotFound))
	fmt.Println(errors.Is(c.Symbols.Delete(ctx, kraken("ETH/USD")), fulloncache.ErrNotFound))
	// Output:
	// <nil>
	// true
	// true
}

// Who changes the database by other means says so, or reads anew.
func ExampleSymbolCache_Invalidate() {
	ctx := context.Background()
	c, _, end := tryStored()
	defer end()
	fmt.Println(c.Symbols.Invalidate(ctx, "kraken", "binance"))
	fmt.Println(c.Symbols.InvalidateAll(ctx))
	list, err := c.Symbols.Refresh(ctx, "kraken")
	fmt.Println(len(list), err)
	// Output:
	// <nil>
	// <nil>
	// 2 <nil>
}

func ExampleExchangeCache_Get() {
	ctx := context.Background()
	c, user, end := tryStored()
	defer end()
	id, err := c.Exchanges.CatalogueID(ctx, "kraken")
	report(err)
	main, err := c.Exchanges.Add(ctx, fulloncache.Exchange{UserID: user, CatExchangeID: id, Name: "main", Active: true})
	report(err)

	account, err := c.Exchanges.Get(ctx, main.ID)
	fmt.Println(account.Name, account.CatName, account.Active, err)
	mine, err := c.Exchanges.ByUser(ctx, user)
	fmt.Println(len(mine), err)
	_, err = c.Exchanges.Get(ctx, 999)
	fmt.Println(errors.Is(err, fulloncache.ErrNotFound))
	// Output:
	// main kraken true <nil>
	// 1 <nil>
	// true
}

func ExampleExchangeCache_Update() {
	ctx := context.Background()
	c, user, end := tryStored()
	defer end()
	id, err := c.Exchanges.CatalogueID(ctx, "kraken")
	report(err)
	account, err := c.Exchanges.Add(ctx, fulloncache.Exchange{UserID: user, CatExchangeID: id, Name: "main", Active: true})
	report(err)

	account.Active = false
	_, err = c.Exchanges.Update(ctx, account)
	report(err)
	account, err = c.Exchanges.Get(ctx, account.ID) // never the old one
	fmt.Println(account.Active, err)

	fmt.Println(c.Exchanges.Delete(ctx, account.ID))
	mine, err := c.Exchanges.ByUser(ctx, user)
	fmt.Println(len(mine), err)
	// Output:
	// false <nil>
	// <nil>
	// 0 <nil>
}

func ExampleExchangeCache_Catalogue() {
	ctx := context.Background()
	c, _, end := tryStored()
	defer end()
	list, err := c.Exchanges.Catalogue(ctx)
	report(err)
	for _, e := range list {
		name, err := c.Exchanges.CatalogueName(ctx, e.ID)
		fmt.Println(name, err)
	}
	_, err = c.Exchanges.ByName(ctx, "bitmex")
	fmt.Println(err)
	// Output:
	// binance <nil>
	// kraken <nil>
	// exchange bitmex: not found
}

func ExampleExchangeCache_AddCatalogue() {
	ctx := context.Background()
	c, _, end := tryStored()
	defer end()
	e, err := c.Exchanges.AddCatalogue(ctx, fulloncache.CatExchange{Name: "bitmex", Params: map[string]string{"rate_limit": "120"}})
	report(err)
	params, err := c.Exchanges.Params(ctx, "bitmex")
	fmt.Println(params, err)

	e.Params["rate_limit"] = "300"
	_, err = c.Exchanges.UpdateCatalogue(ctx, e)
	report(err)
	params, err = c.Exchanges.Params(ctx, "bitmex")
	fmt.Println(params, err)

	fmt.Println(c.Exchanges.DeleteCatalogue(ctx, e.ID))
	kraken, err := c.Exchanges.CatalogueID(ctx, "kraken")
	report(err)
	err = c.Exchanges.DeleteCatalogue(ctx, kraken) // it has symbols
	fmt.Println(errors.Is(err, fulloncache.ErrForeignKey))
	// Output:
	// map[rate_limit:120] <nil>
	// map[rate_limit:300] <nil>
	// <nil>
	// true
}

// Who changes the database by other means says so.
func ExampleExchangeCache_Invalidate() {
	ctx := context.Background()
	c, user, end := tryStored()
	defer end()
	fmt.Println(c.Exchanges.Invalidate(ctx, 1, 2))
	fmt.Println(c.Exchanges.InvalidateUser(ctx, user))
	fmt.Println(c.Exchanges.InvalidateAll(ctx))
	// Output:
	// <nil>
	// <nil>
	// <nil>
}

func ExampleExchangeCache_PushWSError() {
	ctx := context.Background()
	c, _, end := tryStored()
	defer end()
	report(c.Exchanges.PushWSError(ctx, fulloncache.WSError{Exchange: "kraken", Message: "connection reset", Time: noon}))
	e, err := c.Exchanges.PopWSError(ctx, "kraken", time.Second)
	fmt.Println(e.Exchange, e.Message, e.Time.Format(time.TimeOnly), err)
	_, err = c.Exchanges.PopWSError(ctx, "kraken", 0)
	fmt.Println(errors.Is(err, fulloncache.ErrNotFound))
	// Output:
	// kraken connection reset 12:00:00 <nil>
	// true
}
