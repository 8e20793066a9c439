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

// try starts a private Redis and returns a client of it, as the examples need.
// A real program calls fulloncache.Open(ctx), which reads the environment.
func try() (c *fulloncache.Client, end func()) {
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
	cfg.Precision = table{}
	if c, err = fulloncache.New(ctx, cfg); err != nil {
		panic(err)
	}
	return c, func() {
		c.Close()
		if err := srv.Close(); err != nil {
			panic(err)
		}
	}
}

// table is a PrecisionSource.
type table struct{}

func (table) Precision(context.Context, fulloncache.Market) (fulloncache.Precision, error) {
	return fulloncache.Precision{Decimals: 1, LotDecimals: 4}, nil
}

// Times of the examples.
var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func price(exchange, symbol, p string, seconds int) fulloncache.Tick {
	return fulloncache.Tick{
		Market: fulloncache.Market{Exchange: exchange, Symbol: symbol},
		Price:  fulloncache.MustDecimal(p),
		Time:   noon.Add(time.Duration(seconds) * time.Second),
	}
}

// report prints an error, as a program would log it.
func report(err error) {
	if err != nil {
		fmt.Println("error:", err)
	}
}

func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, end := try() // a real program: fulloncache.Open(ctx)
	defer end()

	// A feed writes.
	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	err := c.Ticks.Set(ctx, fulloncache.Tick{
		Market: btc,
		Price:  fulloncache.MustDecimal("67123.4"),
		Bid:    fulloncache.Some(fulloncache.MustDecimal("67123.3")),
		Time:   time.Now(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	// A bot, mostly in another process, reads: no price older than 2 seconds.
	tick, err := c.Ticks.Get(ctx, btc, fulloncache.MaxAge(2*time.Second))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tick.Price, tick.Bid, tick.Ask.Valid)

	// Or it follows: what is there comes first.
	for u, err := range c.Ticks.Stream(ctx, btc) {
		if err != nil {
			continue // disconnected; the loop goes on
		}
		fmt.Println(u.Tick.Price)
		break
	}
	// Output:
	// 67123.4 67123.3 false
	// 67123.4
}

func ExampleOpen() {
	// Settings come from the environment and .env; a malformed one is named.
	_, err := fulloncache.ConfigFrom(map[string]string{"REDIS_PORT": "seven"})
	fmt.Println(err)
	// Output: setting REDIS_PORT="seven": want a whole number
}

func ExampleNew() {
	ctx := context.Background()
	// Nobody listens here: the server is unavailable, which is not "not found".
	_, err := fulloncache.New(ctx, fulloncache.Config{Host: "127.0.0.1", Port: 1})
	fmt.Println(errors.Is(err, fulloncache.ErrUnavailable))
	// Output: true
}

func ExampleTickCache_Set() {
	ctx := context.Background()
	c, end := try()
	defer end()
	report(c.Ticks.Set(ctx, price("kraken", "BTC/USD", "67000", 2)))
	// A late tick does not overwrite a newer one.
	err := c.Ticks.Set(ctx, price("kraken", "BTC/USD", "66000", 1))
	fmt.Println(errors.Is(err, fulloncache.ErrOutdated))
	// Nor can one from the future, such as milliseconds read as seconds.
	future := price("kraken", "BTC/USD", "66000", 0)
	future.Time = time.Now().Add(time.Hour)
	fmt.Println(errors.Is(c.Ticks.Set(ctx, future), fulloncache.ErrInvalid))
	// Output:
	// true
	// true
}

func ExampleTickCache_SetMany() {
	ctx := context.Background()
	c, end := try()
	defer end()
	err := c.Ticks.SetMany(ctx, []fulloncache.Tick{
		price("kraken", "BTC/USD", "67000", 2),
		price("kraken", "BTC/USD", "66000", 1), // late
		price("kraken", "ETH/USD", "3500", 1),
	})
	var batch *fulloncache.BatchError
	if errors.As(err, &batch) {
		for i, err := range batch.Errs {
			fmt.Println(i, err == nil)
		}
	}
	// Output:
	// 0 true
	// 1 false
	// 2 true
}

func ExampleTickCache_Get() {
	ctx := context.Background()
	c, end := try()
	defer end()
	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	_, err := c.Ticks.Get(ctx, btc)
	fmt.Println(errors.Is(err, fulloncache.ErrNotFound))

	report(c.Ticks.Set(ctx, price("kraken", "BTC/USD", "67000", 0)))
	_, err = c.Ticks.Get(ctx, btc, fulloncache.MaxAge(2*time.Second))
	var stale *fulloncache.StaleError
	fmt.Println(errors.As(err, &stale) && stale.Age > 2*time.Second)
	// Output:
	// true
	// true
}

func ExampleTickCache_Beat() {
	ctx := context.Background()
	c, end := try()
	defer end()
	report(c.Ticks.Set(ctx, price("kraken", "BTC/USD", "67000", 0))) // long ago
	report(c.Ticks.Beat(ctx, "kraken"))                              // but the feed is alive
	tick, err := c.Ticks.Get(ctx, fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"},
		fulloncache.MaxAge(2*time.Second), fulloncache.FeedAlive(10*time.Second))
	fmt.Println(tick.Price, err)
	// Output: 67000 <nil>
}

func ExampleTickCache_GetMany() {
	ctx := context.Background()
	c, end := try()
	defer end()
	report(c.Ticks.Set(ctx, price("kraken", "BTC/USD", "67000", 0)))
	for tick, err := range c.Ticks.GetMany(ctx, []fulloncache.Market{
		{Exchange: "kraken", Symbol: "BTC/USD"},
		{Exchange: "kraken", Symbol: "XRP/USD"},
	}) {
		if err != nil {
			fmt.Println(tick.Market, "is", err)
			continue
		}
		fmt.Println(tick.Market, tick.Price)
	}
	// Output:
	// kraken BTC/USD 67000
	// kraken XRP/USD is tick kraken XRP/USD: not found
}

func ExampleTickCache_List() {
	ctx := context.Background()
	c, end := try()
	defer end()
	report(c.Ticks.Set(ctx, price("kraken", "ETH/USD", "3500", 0)))
	report(c.Ticks.Set(ctx, price("kraken", "BTC/USD", "67000", 0)))
	report(c.Ticks.Set(ctx, price("coinbase", "BTC/USD", "67001", 0)))
	for tick, err := range c.Ticks.List(ctx, "kraken") {
		if err != nil {
			fmt.Println(err) // one that cannot be read; the rest comes
			continue
		}
		fmt.Println(tick.Symbol, tick.Price)
	}
	n := 0
	for _, err := range c.Ticks.All(ctx) {
		report(err)
		n++
	}
	exchanges, err := c.Ticks.Exchanges(ctx)
	report(err)
	symbols, err := c.Ticks.Symbols(ctx, "kraken")
	report(err)
	fmt.Println(n, exchanges, symbols)
	// Output:
	// BTC/USD 67000
	// ETH/USD 3500
	// 3 [coinbase kraken] [BTC/USD ETH/USD]
}

func ExampleTickCache_Any() {
	ctx := context.Background()
	c, end := try()
	defer end()
	report(c.Ticks.Set(ctx, price("kraken", "BTC/USD", "67000", 5)))
	report(c.Ticks.Set(ctx, price("coinbase", "BTC/USD", "67001", 6)))
	tick, err := c.Ticks.Any(ctx, "BTC/USD") // the freshest
	fmt.Println(tick.Exchange, err)
	p, err := c.Ticks.Price(ctx, "BTC/USD", fulloncache.Prefer("bitfinex", "kraken")) // the first that has one
	fmt.Println(p, err)
	// Output:
	// coinbase <nil>
	// 67000 <nil>
}

func ExampleTickCache_Delete() {
	ctx := context.Background()
	c, end := try()
	defer end()
	report(c.Ticks.Set(ctx, price("kraken", "BTC/USD", "67000", 0)))
	report(c.Ticks.Set(ctx, price("kraken", "ETH/USD", "3500", 0)))
	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	fmt.Println(c.Ticks.Delete(ctx, btc))
	fmt.Println(errors.Is(c.Ticks.Delete(ctx, btc), fulloncache.ErrNotFound))
	fmt.Println(c.Ticks.DeleteExchange(ctx, "kraken"))
	// Output:
	// <nil>
	// true
	// 1 <nil>
}

func ExampleTickCache_Stream() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, end := try()
	defer end()
	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	report(c.Ticks.Set(ctx, price("kraken", "BTC/USD", "67000", 0)))
	seconds := 0
	for u, err := range c.Ticks.Stream(ctx, btc) {
		if err != nil {
			fmt.Println("disconnected:", err) // prices may be old now; the loop goes on
			continue
		}
		fmt.Println(u.Tick.Price, u.Conflated, u.Deleted)
		if seconds++; seconds == 3 {
			break
		}
		report(c.Ticks.Set(ctx, price("kraken", "BTC/USD", fmt.Sprint(67000+seconds), seconds)))
	}
	// Output:
	// 67000 0 false
	// 67001 0 false
	// 67002 0 false
}

func ExampleTickCache_StreamExchange() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, end := try()
	defer end()
	report(c.Ticks.Set(ctx, price("kraken", "BTC/USD", "67000", 0)))
	report(c.Ticks.Set(ctx, price("kraken", "ETH/USD", "3500", 0)))
	n := 0
	for u, err := range c.Ticks.StreamExchange(ctx, "kraken") {
		if err != nil {
			continue
		}
		fmt.Println(u.Tick.Symbol, u.Tick.Price, u.Deleted)
		if n++; n == 2 {
			report(c.Ticks.Delete(ctx, u.Tick.Market))
		}
		if n == 3 {
			break
		}
	}
	// Output:
	// BTC/USD 67000 false
	// ETH/USD 3500 false
	// ETH/USD 0 true
}

func ExampleTickCache_Subscribe() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, end := try()
	defer end()
	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	report(c.Ticks.Set(ctx, price("kraken", "BTC/USD", "67000", 0)))
	one, all := c.Ticks.Subscribe(ctx, btc), c.Ticks.SubscribeExchange(ctx, "kraken")
	for range 2 {
		select {
		case u := <-one:
			fmt.Println(u.Update.Tick.Price, u.Err)
			one = nil
		case u := <-all:
			fmt.Println(u.Update.Tick.Price, u.Err)
			all = nil
		}
	}
	// Output:
	// 67000 <nil>
	// 67000 <nil>
}

func ExampleTickCache_Next() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, end := try()
	defer end()
	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	report(c.Ticks.Set(ctx, price("kraken", "BTC/USD", "1", 0))) // there before the call: not this one
	go func() {
		for i := 1; ctx.Err() == nil; i++ {
			_ = c.Ticks.Set(ctx, price("kraken", "BTC/USD", "2", i))
		}
	}()
	tick, err := c.Ticks.Next(ctx, btc)
	fmt.Println(tick.Price, err)
	// Output: 2 <nil>
}

func ExampleTickCache_Mirror() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, end := try()
	defer end()
	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	report(c.Ticks.Set(ctx, price("kraken", "BTC/USD", "67000", 0)))

	m, err := c.Ticks.Mirror(ctx, "kraken")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer m.Close()
	report(m.Ready(ctx))
	q, err := m.Get(btc) // no I/O, no lock, no allocation
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(q.Price(), q.Age() > time.Hour, q.Connected())
	_, err = m.Get(btc, fulloncache.MaxAge(2*time.Second))
	fmt.Println(errors.Is(err, fulloncache.ErrStale))
	for q := range m.All() {
		fmt.Println(q.Market())
	}
	state, err := m.Feed("kraken")
	fmt.Println(state.Connected, state.Err, err)
	// Output:
	// 67000 true true
	// true
	// kraken BTC/USD
	// true <nil> <nil>
}

func ExampleTickCache_RoundPrice() {
	ctx := context.Background()
	c, end := try() // its Config.Precision says: prices 1 decimal, sizes 4
	defer end()
	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	p, err := c.Ticks.RoundPrice(ctx, btc, fulloncache.MustDecimal("67123.456"))
	fmt.Println(p, err)
	size, err := c.Ticks.RoundSize(ctx, btc, fulloncache.MustDecimal("0.12349")) // never up
	fmt.Println(size, err)
	usd, err := c.Ticks.RoundQuote("USD", fulloncache.MustDecimal("10.999"))
	fmt.Println(usd, err)
	// Output:
	// 67123.5 <nil>
	// 0.1234 <nil>
	// 10.99 <nil>
}

func ExampleTickCache_DropDust() {
	ctx := context.Background()
	c, end := try()
	defer end()
	report(c.Ticks.Set(ctx, price("kraken", "XRP/USDT", "0.5", 0)))
	left, err := c.Ticks.DropDust(ctx, "XRP", fulloncache.MustDecimal("3.9")) // worth 1.95
	fmt.Println(left, err)
	left, err = c.Ticks.DropDust(ctx, "XRP", fulloncache.MustDecimal("4"))
	fmt.Println(left, err)
	// Output:
	// 0 <nil>
	// 4 <nil>
}

func ExampleTickCache_SetCrawler() {
	ctx := context.Background()
	c, end := try()
	defer end()
	report(c.Ticks.SetCrawler(ctx, fulloncache.TickCrawler{Exchange: "kraken", Name: "main", Config: []byte(`{"symbols":["BTC/USD"]}`)}))
	for crawler, err := range c.Ticks.Crawlers(ctx) {
		report(err)
		fmt.Println(crawler.Exchange, crawler.Name, string(crawler.Config))
	}
	fmt.Println(c.Ticks.DeleteCrawler(ctx, "kraken", "main"))
	// Output:
	// kraken main {"symbols":["BTC/USD"]}
	// <nil>
}

func ExampleBaseCache_Health() {
	ctx := context.Background()
	c, end := try()
	defer end()
	fmt.Println(c.Base.Ping(ctx))
	h, err := c.Base.Health(ctx)
	fmt.Println(h.Mode, h.Breaker, len(h.Nodes), err)
	// Output:
	// <nil>
	// standalone closed 1 <nil>
}

func ExampleBaseCache_Keys() {
	ctx := context.Background()
	c, end := try()
	defer end()
	report(c.Ticks.Set(ctx, price("kraken", "BTC/USD", "67000", 0)))
	for key, err := range c.Base.Keys(ctx, "tickers:*") {
		report(err)
		fmt.Println(key)
	}
	deleted, err := c.Base.Clear(ctx) // this prefix alone
	fmt.Println(deleted > 0, err)
	// Output:
	// tickers:kraken:BTCUSD
	// true <nil>
}

func ExampleBaseCache_PushGlobalError() {
	ctx := context.Background()
	c, end := try()
	defer end()
	report(c.Base.PushGlobalError(ctx, fulloncache.GlobalError{Component: "crawler.kraken", Message: "websocket closed", Time: noon}))
	e, err := c.Base.PopGlobalError(ctx, time.Second)
	fmt.Println(e.Component, e.Message, e.Time, err)
	_, err = c.Base.PopGlobalError(ctx, 0)
	fmt.Println(errors.Is(err, fulloncache.ErrNotFound))
	// Output:
	// crawler.kraken websocket closed 2026-01-02 12:00:00 +0000 UTC <nil>
	// true
}
