package fulloncache_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fullon/fulloncache"
)

// fillAt is a fill of the examples, so many seconds after noon.
func fillAt(id string, seconds int, side fulloncache.Side, volume, price string) fulloncache.Trade {
	return fulloncache.Trade{
		Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, UserID: 123, ExTradeID: id, Side: side,
		Volume: fulloncache.MustDecimal(volume), Price: fulloncache.MustDecimal(price), Fee: fulloncache.MustDecimal("0.5"),
		Time: noon.Add(time.Duration(seconds) * time.Second),
	}
}

func ExampleAccountCache_ApplyTrade() {
	ctx := context.Background()
	c, end := try()
	defer end()
	for _, f := range []fulloncache.Trade{
		fillAt("t1", 0, fulloncache.Buy, "1", "67000"),
		fillAt("t2", 1, fulloncache.Buy, "2", "67300"),  // adds
		fillAt("t3", 2, fulloncache.Sell, "1", "67500"), // reduces
		fillAt("t3", 2, fulloncache.Sell, "1", "67500"), // comes twice, and counts once
		fillAt("t4", 3, fulloncache.Sell, "3", "67000"), // flips
		fillAt("t5", 4, fulloncache.Buy, "1", "66900"),  // closes
	} {
		p, err := c.Accounts.ApplyTrade(ctx, f)
		fmt.Println(p.Side, p.Volume, p.AvgPrice, "profit", p.RealisedProfit, "fees", p.Fees, err)
	}
	// Output:
	// long 1 67000 profit 0 fees 0.5 <nil>
	// long 3 67200 profit 0 fees 1 <nil>
	// long 2 67200 profit 300 fees 1.5 <nil>
	// long 2 67200 profit 300 fees 1.5 <nil>
	// short 1 67000 profit -100 fees 2 <nil>
	// flat 0 0 profit 0 fees 2.5 <nil>
}

func ExampleAccountCache_ApplyTrades() {
	ctx := context.Background()
	c, end := try()
	defer end()
	trades := []fulloncache.Trade{
		fillAt("t1", 0, fulloncache.Buy, "1", "67000"),
		fillAt("t2", 1, "", "1", "67000"),
		fillAt("t3", 2, fulloncache.Buy, "1", "67000"),
		fillAt("t1", 0, fulloncache.Buy, "1", "67000"),
	}
	applied, err := c.Accounts.ApplyTrades(ctx, trades)
	fmt.Println(applied.Applied, "applied,", applied.Duplicates, "counted already")
	var batch *fulloncache.BatchError
	if errors.As(err, &batch) {
		fmt.Println(batch.Errs[1])
	}
	// Output:
	// 2 applied, 1 counted already
	// element 1: trade kraken BTC/USD t2: invalid input: side "": want buy or sell
}

func ExampleAccountCache_Position() {
	ctx := context.Background()
	c, end := try()
	defer end()
	desk := fulloncache.Account{UserID: 123, Exchange: "kraken"}
	// Nothing is known yet. That is not flat.
	_, err := c.Accounts.Position(ctx, desk, "BTC/USD")
	fmt.Println("unknown:", errors.Is(err, fulloncache.ErrNotFound))
	// The exchange tells all positions of the account: others are flat.
	report(c.Accounts.ReplacePositions(ctx, desk, noon, []fulloncache.Position{{
		Symbol: "ETH/USD", Side: fulloncache.Short, Volume: fulloncache.MustDecimal("2"), AvgPrice: fulloncache.MustDecimal("3500"),
	}}))
	p, err := c.Accounts.Position(ctx, desk, "BTC/USD")
	fmt.Println("flat:", p.Flat(), err)
	// A fill of before that is in it already.
	_, err = c.Accounts.ApplyTrade(ctx, fillAt("t0", -1, fulloncache.Buy, "1", "67000"))
	fmt.Println("outdated:", errors.Is(err, fulloncache.ErrOutdated))
	_, err = c.Accounts.ApplyTrade(ctx, fillAt("t1", 1, fulloncache.Buy, "1", "67000"))
	report(err)
	for p, err := range c.Accounts.Positions(ctx, desk) {
		fmt.Println(p, err)
	}
	// One position alone, as the exchange tells it.
	report(c.Accounts.UpsertPosition(ctx, fulloncache.Position{
		Account: desk, Symbol: "ETH/USD", Side: fulloncache.Flat, Time: noon.Add(2 * time.Second),
	}))
	report(c.Accounts.DeletePosition(ctx, desk, "BTC/USD"))
	for p, err := range c.Accounts.AllPositions(ctx) {
		fmt.Println(p, err)
	}
	n, err := c.Accounts.ClearPositions(ctx, desk)
	fmt.Println(n, "cleared", err)
	// Output:
	// unknown: true
	// flat: true <nil>
	// outdated: true
	// user 123 at kraken: BTC/USD long 1 at 67000 <nil>
	// user 123 at kraken: ETH/USD short 2 at 3500 <nil>
	// user 123 at kraken: ETH/USD flat <nil>
	// 1 cleared <nil>
}

func ExampleAccountCache_WaitPosition() {
	ctx := context.Background()
	c, end := try()
	defer end()
	desk := fulloncache.Account{UserID: 123, Exchange: "kraken"}
	p, err := c.Accounts.ApplyTrade(ctx, fillAt("t1", 0, fulloncache.Buy, "1", "67000"))
	report(err)
	go func() { // somebody else, mostly in another process
		_, err := c.Accounts.ApplyTrade(ctx, fillAt("t2", 1, fulloncache.Sell, "1", "67100"))
		report(err)
	}()
	// The bot has sent an order, and waits for what it does: never for the one it knows.
	p, err = c.Accounts.WaitPosition(ctx, desk, "BTC/USD", p.Rev)
	fmt.Println(p.Side, p.RealisedProfit, err)
	// Output:
	// flat 100 <nil>
}

func ExampleAccountCache_WatchPositions() {
	ctx := context.Background()
	c, end := try()
	defer end()
	desk := fulloncache.Account{UserID: 123, Exchange: "kraken"}
	_, err := c.Accounts.ApplyTrade(ctx, fillAt("t1", 0, fulloncache.Buy, "1", "67000"))
	report(err)
	for u, err := range c.Accounts.WatchPositions(ctx, desk) {
		if err != nil {
			continue // disconnected; the loop goes on
		}
		fmt.Println(u.Position)
		if u.Position.Flat() {
			break
		}
		_, err = c.Accounts.ApplyTrade(ctx, fillAt("t2", 1, fulloncache.Sell, "1", "67100"))
		report(err)
	}
	// Output:
	// user 123 at kraken: BTC/USD long 1 at 67000
	// user 123 at kraken: BTC/USD flat
}

func ExampleAccountCache_SetAccount() {
	ctx := context.Background()
	c, end := try()
	defer end()
	desk := fulloncache.Account{UserID: 123, Exchange: "kraken"}
	report(c.Accounts.SetAccount(ctx, fulloncache.AccountBalances{Account: desk, Time: noon, Balances: []fulloncache.Balance{
		{Currency: "USD", Free: fulloncache.MustDecimal("1000"), Used: fulloncache.MustDecimal("250.5")},
		{Currency: "BTC", Free: fulloncache.MustDecimal("0.00000001")},
	}}))
	// Later they are still the same.
	report(c.Accounts.Touch(ctx, desk, noon.Add(time.Minute)))
	all, err := c.Accounts.Account(ctx, desk)
	report(err)
	for _, b := range all.Balances {
		fmt.Println(b.Currency, b.Free, b.Used, b.Total())
	}
	fmt.Println(all.Time.Sub(noon))
	// They are all: what is not among them is 0.
	eur, err := c.Accounts.Balance(ctx, desk, "EUR")
	fmt.Println(eur.Currency, eur.Total(), err)
	// One that is negative is refused, and nothing of it is stored.
	err = c.Accounts.SetAccount(ctx, fulloncache.AccountBalances{Account: desk, Time: noon.Add(time.Hour), Balances: []fulloncache.Balance{
		{Currency: "USD", Free: fulloncache.MustDecimal("-1")},
	}})
	fmt.Println(err)
	for all, err := range c.Accounts.Accounts(ctx) {
		fmt.Println(all.Account, all.Balance("USD").Free, err)
	}
	report(c.Accounts.DeleteAccount(ctx, desk))
	_, err = c.Accounts.Account(ctx, desk)
	fmt.Println(errors.Is(err, fulloncache.ErrNotFound))
	// Output:
	// BTC 0.00000001 0 0.00000001
	// USD 1000 250.5 1250.5
	// 1m0s
	// EUR 0 <nil>
	// 1 of 1 failed: element 0: invalid input: balance in USD: free -1: want at least 0
	// user 123 at kraken 1000 <nil>
	// true
}
