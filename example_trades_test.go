package fulloncache_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fullon/fulloncache"
)

// trade is a trade of the examples.
func trade(id, price string) fulloncache.Trade {
	return fulloncache.Trade{
		Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, ExTradeID: id, UserID: 123, Side: fulloncache.Buy,
		Volume: fulloncache.MustDecimal("1"), Price: fulloncache.MustDecimal(price), Cost: fulloncache.MustDecimal(price), Time: noon,
	}
}

func ExampleTradesCache_Drain() {
	ctx := context.Background()
	c, end := try()
	defer end()
	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	// A feed pushes what it sees; what it pushes twice is once.
	pushed, err := c.Trades.PushMany(ctx, []fulloncache.Trade{trade("1", "67000"), trade("2", "67001"), trade("2", "67001")}, fulloncache.Unique(time.Hour))
	fmt.Println(pushed.Added, pushed.Duplicates, err)
	_, err = c.Trades.Push(ctx, trade("3", "67002"))
	report(err)

	// Who stores them takes a batch: its trades are in flight until it says so.
	batch, err := c.Trades.Drain(ctx, btc, 2)
	report(err)
	waiting, inFlight, err := c.Trades.Len(ctx, btc)
	fmt.Println(len(batch.Trades), waiting, inFlight, err)
	// The database failed: they go back, to the front.
	report(batch.Return(ctx))
	for u, err := range c.Trades.Peek(ctx, btc, 10) {
		fmt.Println(u.ExTradeID, u.Price, err)
	}
	// Now it works.
	batch, err = c.Trades.Drain(ctx, btc, 10)
	report(err)
	fmt.Println(len(batch.Trades), batch.Ack(ctx))
	// Output:
	// 2 1 <nil>
	// 2 1 2 <nil>
	// 1 67000 <nil>
	// 2 67001 <nil>
	// 3 67002 <nil>
	// 3 <nil>
}

func ExampleTradesCache_PopUser() {
	ctx := context.Background()
	c, end := try()
	defer end()
	_, err := c.Trades.PushUser(ctx, trade("1", "67000"))
	report(err)
	_, err = c.Trades.PushManyUser(ctx, []fulloncache.Trade{trade("2", "67001"), trade("3", "67002")})
	report(err)
	for u, err := range c.Trades.PeekUser(ctx, 123, "kraken", 1) {
		fmt.Println("next:", u.ExTradeID, err)
	}
	u, err := c.Trades.PopUser(ctx, 123, "kraken", time.Second)
	fmt.Println(u.ExTradeID, err)
	batch, err := c.Trades.DrainUser(ctx, 123, "kraken", 10)
	report(err)
	fmt.Println(len(batch.Trades), batch.Ack(ctx))
	waiting, inFlight, err := c.Trades.LenUser(ctx, 123, "kraken")
	fmt.Println(waiting, inFlight, err)
	// Output:
	// next: 1 <nil>
	// 1 <nil>
	// 2 <nil>
	// 0 0 <nil>
}

func ExampleTradesCache_Stream() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, end := try()
	defer end()
	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	go func() { // a feed, mostly in another process
		for ctx.Err() == nil {
			_, _ = c.Trades.Push(ctx, trade("1", "67000")) // until somebody has seen one
		}
	}()
	for u, err := range c.Trades.Stream(ctx, btc) {
		if err != nil {
			continue // disconnected; the loop goes on
		}
		fmt.Println(u.Trade.Price, u.Trade.Side, u.Missed)
		break
	}
	// Output: 67000 buy 0
}

func ExampleTradesCache_UpdateStatus() {
	ctx := context.Background()
	c, end := try()
	defer end()
	report(c.Trades.UpdateStatus(ctx, "kraken", noon))
	report(c.Trades.UpdateStatuses(ctx, []fulloncache.TradeStatus{{Exchange: "bitmex", Time: noon.Add(time.Minute)}}))
	// Two crawlers never set it back.
	err := c.Trades.UpdateStatus(ctx, "kraken", noon.Add(-time.Hour))
	fmt.Println(errors.Is(err, fulloncache.ErrOutdated))
	t, err := c.Trades.Status(ctx, "kraken")
	fmt.Println(t, err)
	for status, err := range c.Trades.Statuses(ctx) {
		fmt.Println(status.Exchange, status.Time.Format(time.TimeOnly), err)
	}
	exchanges, err := c.Trades.StatusKeys(ctx)
	fmt.Println(exchanges, err)
	deleted, err := c.Trades.DeleteStatuses(ctx)
	fmt.Println(deleted, err)
	// Output:
	// true
	// 2026-01-02 12:00:00 +0000 UTC <nil>
	// bitmex 12:01:00 <nil>
	// kraken 12:00:00 <nil>
	// [bitmex kraken] <nil>
	// 2 <nil>
}

func ExampleTradesCache_UpdateUserStatus() {
	ctx := context.Background()
	c, end := try()
	defer end()
	report(c.Trades.UpdateUserStatus(ctx, 123, noon))
	report(c.Trades.UpdateUserStatuses(ctx, []fulloncache.UserTradeStatus{{UserID: 7, Time: noon}, {UserID: 123, Time: noon.Add(time.Second)}}))
	t, err := c.Trades.UserStatus(ctx, 123)
	fmt.Println(t, err)
	for status, err := range c.Trades.UserStatuses(ctx) {
		fmt.Println(status.UserID, status.Time.Format(time.TimeOnly), err)
	}
	users, err := c.Trades.UserStatusKeys(ctx)
	fmt.Println(users, err)
	deleted, err := c.Trades.DeleteUserStatuses(ctx, 123)
	fmt.Println(deleted, err)
	// Output:
	// 2026-01-02 12:00:01 +0000 UTC <nil>
	// 7 12:00:00 <nil>
	// 123 12:00:01 <nil>
	// [7 123] <nil>
	// 1 <nil>
}
