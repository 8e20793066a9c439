package fulloncache_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/fullon/fulloncache"
)

func ExampleBotCache_Acquire() {
	ctx := context.Background()
	c, end := try()
	defer end()
	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	l, err := c.Bots.Acquire(ctx, btc, "bot_1", fulloncache.LeaseOptions{TTL: 10 * time.Second})
	report(err)

	// Another bot, mostly in another process, is told who has it.
	_, err = c.Bots.Acquire(ctx, btc, "bot_2", fulloncache.LeaseOptions{})
	var blocked *fulloncache.BlockedError
	if errors.As(err, &blocked) {
		fmt.Println("held by", blocked.Holder)
	}

	// The lease is renewed by itself. Ask right before what counts, and let the
	// store refuse what comes too late.
	fmt.Println("lost:", l.Err())
	fmt.Println("current:", c.Bots.Validate(ctx, btc, l.Token()) == nil)

	report(l.Release(ctx))
	fmt.Println("lost:", errors.Is(l.Err(), fulloncache.ErrLeaseLost), l.Context().Err())
	fmt.Println("late:", errors.Is(c.Bots.Validate(ctx, btc, l.Token()), fulloncache.ErrLeaseLost))
	// Output:
	// held by bot_1
	// lost: <nil>
	// current: true
	// lost: true context canceled
	// late: true
}

func ExampleBotCache_AcquireWait() {
	ctx := context.Background()
	c, end := try()
	defer end()
	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	l, err := c.Bots.Acquire(ctx, btc, "bot_1", fulloncache.LeaseOptions{})
	report(err)
	go func() { report(l.Release(ctx)) }()

	// First come, first served; the wait ends with ctx.
	next, err := c.Bots.AcquireWait(ctx, btc, "bot_2", fulloncache.LeaseOptions{})
	report(err)
	fmt.Println(next.Bot(), "trades", next.Market(), next.Token() > l.Token())
	report(next.Release(ctx))
	// Output: bot_2 trades kraken BTC/USD true
}

func ExampleBotCache_Block() {
	ctx := context.Background()
	c, end := try()
	defer end()
	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	_, err := c.Bots.Block(ctx, btc, "bot_1", fulloncache.BlockOptions{TTL: time.Minute})
	report(err)

	b, blocked, err := c.Bots.IsBlocked(ctx, btc) // true with every error
	fmt.Println(blocked, b.Holder, err)
	for b, err := range c.Bots.Blocks(ctx) {
		fmt.Println(b.Market, b.Holder, err)
	}

	// Only its holder ends it, but for an operator.
	err = c.Bots.Unblock(ctx, btc, "bot_2", fulloncache.UnblockOptions{})
	fmt.Println(errors.Is(err, fulloncache.ErrBlocked))
	report(c.Bots.Unblock(ctx, btc, "operator", fulloncache.UnblockOptions{Force: true}))
	_, blocked, err = c.Bots.IsBlocked(ctx, btc)
	fmt.Println(blocked, err)
	// Output:
	// true bot_1 <nil>
	// kraken BTC/USD bot_1 <nil>
	// true
	// false <nil>
}

func ExampleBotCache_MarkOpeningPosition() {
	ctx := context.Background()
	c, end := try()
	defer end()
	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	_, err := c.Bots.MarkOpeningPosition(ctx, btc, "bot_1", fulloncache.BlockOptions{})
	report(err)
	b, opening, err := c.Bots.IsOpeningPosition(ctx, btc)
	fmt.Println(opening, b.Holder, err)
	for b, err := range c.Bots.OpeningPositions(ctx, "kraken") {
		fmt.Println(b.Symbol, b.Holder, err)
	}
	report(c.Bots.UnmarkOpeningPosition(ctx, btc, "bot_1", fulloncache.UnblockOptions{}))
	_, opening, err = c.Bots.IsOpeningPosition(ctx, btc)
	fmt.Println(opening, err)
	// Output:
	// true bot_1 <nil>
	// BTC/USD bot_1 <nil>
	// false <nil>
}

func ExampleBotCache_UpdateBot() {
	ctx := context.Background()
	c, end := try()
	defer end()
	// Each process writes its own feeds; the others' stay.
	report(c.Bots.UpdateBot(ctx, "bot_1", map[string]json.RawMessage{"BTC/USD": []byte(`{"position":"1.5"}`)}))
	report(c.Bots.UpdateBot(ctx, "bot_1", map[string]json.RawMessage{"ETH/USD": []byte(`{"position":"0"}`)}))

	s, err := c.Bots.Bot(ctx, "bot_1")
	report(err)
	fmt.Println(s.Bot, len(s.Feeds), string(s.Feeds["BTC/USD"].Status))
	for s, err := range c.Bots.Bots(ctx) {
		fmt.Println(s.Bot, err)
	}
	for u, err := range c.Bots.Watch(ctx, "bot_1") {
		if err != nil {
			continue // disconnected; the loop goes on
		}
		fmt.Println("watched:", string(u.Status.Feeds["ETH/USD"].Status))
		break
	}
	report(c.Bots.DeleteBot(ctx, "bot_1"))
	n, err := c.Bots.DeleteAll(ctx)
	fmt.Println(n, err)
	// Output:
	// bot_1 2 {"position":"1.5"}
	// bot_1 <nil>
	// watched: {"position":"0"}
	// 0 <nil>
}
