package legacy_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/legacy"
	"github.com/fullon/fulloncache/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// python is a Redis that is written as the Python library writes it, and a user of it
// that may only read.
type python struct {
	*testenv.Server
	testing.TB
}

func newPython(t *testing.T) python {
	p := python{testenv.NewRedis(t), t}
	p.do("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@read", "+@connection", "+info")
	return p
}

func (p python) do(words ...string) { p.Helper(); p.Do(p.TB, words...) }

func (p python) url() string { return "redis://reader:secret@" + p.Addr() }

// iso is datetime.isoformat() of a moment in UTC.
func iso(at time.Time) string { return at.UTC().Format("2006-01-02T15:04:05.000000+00:00") }

// at is a moment of the layout.
func at(seconds int) time.Time {
	return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(time.Duration(seconds) * time.Second)
}

func unix(at time.Time) string { return fmt.Sprintf("%d.%06d", at.Unix(), at.Nanosecond()/1000) }

// fill writes something of each kind.
func (p python) fill() {
	p.Helper()
	p.tick("kraken", "BTC/USD", "50000.5", at(1))
	p.do("HSET", "tickers:binance", "ETH/USDT", `{"symbol": "ETH/USDT", "exchange": "binance", "price": 1e3, "volume": null, "time": "`+iso(at(2))+`", "bid": 0.0}`)
	p.do("SET", "ticker_time:kraken:BTC/USD", unix(at(1)))
	p.do("HSET", "account_positions", "12", `{"BTC/USD": {"cost": 25000.0, "volume": 0.5, "fee": 25.0, "count": 1.0, "price": 50000.0, "timestamp": `+unix(at(0))+`},
		"ETH/USD": {"cost": -2000.0, "volume": -1.0, "fee": 0.0, "price": 2000.0, "timestamp": 1}, "XRP/USD": {"cost": 0.0, "volume": 0.0, "fee": 0.1, "price": 0.0},
		"timestamp": "`+iso(at(3))+`"}`)
	p.do("HSET", "accounts", "12", `{"USD": {"balance": 10000.0, "available": 8000.0}, "BTC": {"total": 0.5}, "ETH": {"free": 2.0}, "XRP": 7, "date": "`+iso(at(4))+`"}`)
	p.order("kraken", "O-1", "open", at(5))
	p.do("HSET", "order_status:12", "O-2", `{"order_id": "O-2", "ex_order_id": "O-2", "exchange": "kraken", "symbol": "BTC/USD", "order_type": "market", "side": "SELL",
		"volume": 0.25, "final_volume": 0.25, "price": null, "status": "filled", "bot_id": 3, "uid": 7, "ex_id": 12, "futures": true, "leverage": 2.0, "timestamp": "`+iso(at(6))+`"}`)
	p.do("RPUSH", "new_orders:local-1", "O-1", "O-2")
	p.do("RPUSH", "trades:kraken:BTCUSD", trade("T-1", "BTC/USD", at(7)), trade("T-2", "BTC/USD", at(8)))
	p.do("RPUSH", "user_trades:7:kraken", trade("T-3", "BTC/USD", at(9)))
	p.do("SET", "TRADE:STATUS:kraken", iso(at(10)))
	p.do("SET", "USER_TRADE:STATUS:7", iso(at(11)))
	p.do("HSET", "bot_status", "bot_1", `{"feed_1": {"status": "running", "symbols": ["BTC/USD"], "timestamp": "`+iso(at(12))+`"}}`)
	p.do("HSET", "block_exchange", "kraken:BTC/USD", "bot_1")
	p.do("HSET", "opening_position", "kraken:BTC/USD", "bot_1:"+iso(time.Now()))
	p.do("HSET", "opening_position", "kraken:ETH/USD", "bot_2:"+iso(at(0)))
	p.do("RPUSH", "ohlcv:BTCUSD:1m", bar(at(0), "1"), bar(at(60), "2"), bar(at(60), "3"), bar(at(0).Add(-time.Minute), "5"))
	p.process("ohlcv:kraken:1", "running", time.Now())
}

func (p python) tick(exchange, symbol, price string, when time.Time) {
	p.Helper()
	p.do("HSET", "tickers:"+exchange, symbol, fmt.Sprintf(`{"symbol": %q, "exchange": %q, "price": %s, "volume": 12.5, "time": %s, "bid": 50000.25, "ask": 50001.0, "last": 50000.5}`,
		symbol, exchange, price, unix(when)))
}

func (p python) order(exchange, id, status string, when time.Time) {
	p.Helper()
	p.do("HSET", "order_status:"+exchange, id, fmt.Sprintf(`{"order_id": %q, "ex_order_id": %q, "exchange": %q, "symbol": "BTC/USD", "order_type": "limit", "side": "buy",
		"volume": 0.1, "price": 50000.0, "status": %q, "command": null, "reason": "signal", "timestamp": %q}`, id, id, exchange, status, iso(when)))
}

func trade(id, symbol string, when time.Time) string {
	return fmt.Sprintf(`{"trade_id": 5, "ex_trade_id": %q, "ex_order_id": "O-1", "uid": 7, "ex_id": 12, "symbol": %q, "order_type": "limit", "side": "buy", "volume": 0.1, "price": 50000.0, "cost": 5000.0, "fee": 5.0, "time": %q}`,
		id, symbol, iso(when))
}

func bar(when time.Time, last string) string {
	return fmt.Sprintf("[%d, 1.0, 9.0, 0.5, %s.0, 12.5]", when.Unix(), last)
}

func (p python) process(id, status string, heard time.Time) {
	p.Helper()
	p.do("SET", "process:data:"+id, fmt.Sprintf(`{"process_id": %q, "process_type": "ohlcv", "component": "kraken", "params": {"n": 2}, "status": %q, "message": "it is %s",
		"created_at": %q, "updated_at": %q, "heartbeat": %q}`, id, status, status, iso(heard), iso(heard), iso(heard)), "EX", "86400")
}

func options(p python) legacy.Options {
	return legacy.Options{
		Source: p.url(), Accounts: map[string]fulloncache.Account{"12": {UserID: 7, Exchange: "kraken"}},
		BarsExchange: "kraken", BlockTTL: time.Hour, Window: time.Hour,
	}
}

func newTarget(t *testing.T, cfg fulloncache.Config) *fulloncache.Client {
	t.Helper()
	c, err := fulloncache.New(testenv.Context(t), cfg)
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

// target is a server that ours have for themselves.
func target(t *testing.T) *fulloncache.Client {
	t.Helper()
	return newTarget(t, fulloncache.Config{URL: testenv.NewRedis(t).URL()})
}

func open(t *testing.T, c *fulloncache.Client, opt legacy.Options) *legacy.Migration {
	t.Helper()
	m, err := legacy.Open(testenv.Context(t), c, opt)
	must(t, err)
	t.Cleanup(func() { must(t, m.Close(context.Background())) })
	return m
}

// migrate runs once and returns the reports by kind.
func migrate(t *testing.T, c *fulloncache.Client, opt legacy.Options) map[string]legacy.Report {
	t.Helper()
	reports, err := open(t, c, opt).Run(testenv.Context(t))
	must(t, err)
	byKind := make(map[string]legacy.Report)
	for _, r := range reports {
		byKind[r.Kind] = r
		if r.Found != r.Moved+r.Skipped+r.Refused {
			t.Errorf("%s does not add up: %+v", r.Kind, r)
		}
	}
	return byKind
}

// counts are found, moved, skipped and refused.
type counts [4]int

func (want counts) of(t *testing.T, r legacy.Report) {
	t.Helper()
	if got := (counts{r.Found, r.Moved, r.Skipped, r.Refused}); got != want {
		t.Errorf("%s: found, moved, skipped, refused %v, want %v: %+v", r.Kind, got, want, r.Reasons)
	}
}

// all is what becomes of what fill writes.
var all = map[string]counts{
	"ticks": {2, 2, 0, 0}, "positions": {1, 1, 0, 0}, "accounts": {1, 1, 0, 0}, "orders": {2, 2, 0, 0}, "new_orders": {2, 2, 0, 0},
	"trades": {2, 2, 0, 0}, "user_trades": {1, 1, 0, 0}, "trade_status": {2, 2, 0, 0}, "bots": {1, 1, 0, 0},
	"blocks": {1, 1, 0, 0}, "opening_positions": {2, 1, 1, 0}, "bars": {4, 3, 1, 0}, "processes": {1, 0, 1, 0},
}

func TestEverythingIsMoved(t *testing.T) {
	t.Parallel()
	for name, connect := range map[string]func(*testing.T) *fulloncache.Client{
		"standalone": target,
		"cluster": func(t *testing.T) *fulloncache.Client {
			return newTarget(t, fulloncache.Config{ClusterMode: true, ClusterNodes: testenv.SharedCluster(t).Addrs(), KeyPrefix: testenv.Prefix(t)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, c := newPython(t), connect(t)
			p.fill()
			dry := options(p)
			dry.DryRun = true
			for kind, r := range migrate(t, c, dry) {
				all[kind].of(t, r)
			}
			for key, err := range c.Base.Keys(testenv.Context(t), "*") {
				t.Errorf("a dry run wrote %s, %v", key, err)
			}
			var done, total int64
			opt := options(p)
			opt.Progress = func(d, n int64) { done, total = d, n }
			for kind, r := range migrate(t, c, opt) {
				all[kind].of(t, r)
			}
			if done != 22 || total != 22 {
				t.Errorf("progress %d of %d", done, total)
			}
			checkMoved(t, c)
			for kind, r := range migrate(t, c, options(p)) {
				counts{all[kind][0], 0, all[kind][0], 0}.of(t, r)
			}
			checkMoved(t, c)
		})
	}
}

// checkMoved looks at what the target has.
func checkMoved(t *testing.T, c *fulloncache.Client) {
	t.Helper()
	ctx := testenv.Context(t)
	same := func(what string, got, want any, err error) {
		t.Helper()
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: got %v, %v; want %v", what, got, err, want)
		}
	}
	btc, account := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, fulloncache.Account{UserID: 7, Exchange: "kraken"}
	tick, err := c.Ticks.Get(ctx, btc)
	same("tick", []any{tick.Price, tick.Bid, tick.Ask, tick.Last, tick.Volume, tick.Time}, []any{"50000.5", "50000.25", "50001", "50000.5", "12.5", at(1)}, err)
	tick, err = c.Ticks.Get(ctx, fulloncache.Market{Exchange: "binance", Symbol: "ETH/USDT"})
	same("tick", []any{tick.Price, tick.Bid.Valid, tick.Volume.Valid, tick.Time}, []any{"1000", false, false, at(2)}, err)
	p, err := c.Accounts.Position(ctx, account, "BTC/USD")
	same("position", []any{p.Side, p.Volume, p.AvgPrice, p.Cost, p.Fees, p.Time}, []any{"long", "0.5", "50000", "25000", "25", at(3)}, err)
	p, err = c.Accounts.Position(ctx, account, "ETH/USD")
	same("short position", []any{p.Side, p.Volume, p.AvgPrice, p.Cost}, []any{"short", "1", "2000", "2000"}, err)
	p, err = c.Accounts.Position(ctx, account, "XRP/USD")
	same("flat position", p.Side, "flat", err)
	a, err := c.Accounts.Account(ctx, account)
	var balances []any
	for _, b := range a.Balances {
		balances = append(balances, b.Currency, b.Free, b.Used)
	}
	same("balances", balances, []any{"BTC", "0.5", "0", "ETH", "2", "0", "USD", "8000", "2000", "XRP", "7", "0"}, err)
	same("time of the balances", a.Time, at(4), nil)
	o, err := c.Orders.Get(ctx, "kraken", "O-1")
	same("order", []any{o.Market, o.ExOrderID, o.Type, o.Side, o.Volume, o.Price, o.Status, o.Reason, o.Time},
		[]any{btc, "O-1", "limit", "buy", "0.1", "50000", "open", "signal", at(5)}, err)
	o, err = c.Orders.ByExOrderID(ctx, "kraken", "O-2")
	same("order of an id", []any{o.Side, o.FinalVolume, o.Price.Valid, o.Status, o.BotID, o.UserID, o.ExchangeID, o.Futures, o.Leverage},
		[]any{"sell", "0.25", false, "closed", 3, 7, 12, true, "2"}, err)
	ids, err := c.Orders.PeekOpenOrders(ctx, "local-1", 10)
	same("queue", ids, []string{"O-1", "O-2"}, err)
	var trades []string
	for u, err := range c.Trades.Peek(ctx, btc, 10) {
		must(t, err)
		trades = append(trades, fmt.Sprintln(u.ExTradeID, u.ExOrderID, u.ID, u.UserID, u.Side, u.Volume, u.Price, u.Cost, u.Fee, u.Time))
	}
	same("trades", trades, []string{fmt.Sprintln("T-1", "O-1", 5, 7, "buy", "0.1", "50000", "5000", "5", at(7)), fmt.Sprintln("T-2", "O-1", 5, 7, "buy", "0.1", "50000", "5000", "5", at(8))}, nil)
	n, _, err := c.Trades.LenUser(ctx, 7, "kraken")
	same("user's trades", n, 1, err)
	when, err := c.Trades.Status(ctx, "kraken")
	same("status", when, at(10), err)
	when, err = c.Trades.UserStatus(ctx, 7)
	same("user's status", when, at(11), err)
	bot, err := c.Bots.Bot(ctx, "bot_1")
	same("bot", string(bot.Feeds["feed_1"].Status), `{"status":"running","symbols":["BTC/USD"],"timestamp":"`+iso(at(12))+`"}`, err)
	b, ok, err := c.Bots.IsBlocked(ctx, btc)
	same("block", []any{b.Holder, ok, b.Until.Sub(b.Since).Round(time.Second)}, []any{"bot_1", true, time.Hour}, err)
	b, ok, err = c.Bots.IsOpeningPosition(ctx, btc)
	same("mark", []any{b.Holder, ok}, []any{"bot_1", true}, err)
	_, ok, err = c.Bots.IsOpeningPosition(ctx, fulloncache.Market{Exchange: "kraken", Symbol: "ETH/USD"})
	same("mark that is over", ok, false, err)
	bars, err := c.OHLCV.Latest(ctx, fulloncache.Series{Market: btc, Timeframe: "1m"}, 10)
	var closes []any
	for _, b := range bars {
		closes = append(closes, b.Time, b.Close)
	}
	same("bars", closes, []any{at(-60), "5", at(0), "1", at(60), "3"}, err)
}

// What the target has and is newer stays; what the source has and is newer comes.
func TestNewerStays(t *testing.T) {
	t.Parallel()
	p, c, ctx := newPython(t), target(t), testenv.Context(t)
	p.fill()
	btc, account := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, fulloncache.Account{UserID: 7, Exchange: "kraken"}
	one := fulloncache.MustDecimal("1")
	must(t, c.Ticks.Set(ctx, fulloncache.Tick{Market: btc, Price: one, Time: at(100)}))
	must(t, c.Accounts.ReplacePositions(ctx, account, at(100), []fulloncache.Position{{Symbol: "BTC/USD", Side: fulloncache.Short, Volume: one, AvgPrice: one}}))
	must(t, c.Accounts.SetAccount(ctx, fulloncache.AccountBalances{Account: account, Time: at(100)}))
	must(t, c.Orders.Save(ctx, fulloncache.Order{Market: btc, ID: "O-1", Type: "limit", Side: fulloncache.Buy, Volume: one, Status: fulloncache.OrderFilled, Time: at(4)}))
	must(t, c.Trades.UpdateStatus(ctx, "kraken", at(100)))
	_, err := c.Bots.Block(ctx, btc, "bot_9", fulloncache.BlockOptions{TTL: time.Hour})
	must(t, err)
	series := fulloncache.Series{Market: btc, Timeframe: "1m"}
	_, err = c.OHLCV.Append(ctx, series, []fulloncache.Bar{{Time: at(0), Open: one, High: one, Low: one, Close: one}})
	must(t, err)

	got := migrate(t, c, options(p))
	for kind, want := range map[string]counts{
		"ticks": {2, 1, 1, 0}, "positions": {1, 0, 1, 0}, "accounts": {1, 0, 1, 0}, "orders": {2, 1, 1, 0},
		"trade_status": {2, 1, 1, 0}, "blocks": {1, 0, 1, 0}, "bars": {4, 2, 2, 0},
	} {
		want.of(t, got[kind])
	}
	if b, _, err := c.Bots.IsBlocked(ctx, btc); err != nil || b.Holder != "bot_9" {
		t.Errorf("the market is %+v's, %v", b, err)
	}
	if o, err := c.Orders.Status(ctx, "kraken", "O-1"); err != nil || o != fulloncache.OrderFilled {
		t.Errorf("an order that was filled is %s, %v", o, err)
	}

	p.tick("kraken", "BTC/USD", "2", at(101))
	p.do("HSET", "bot_status", "bot_1", `{"feed_1": {"timestamp": "`+iso(time.Now().Add(time.Minute))+`"}, "feed_2": {"status": "new"}, "feed_3": 5}`)
	got = migrate(t, c, options(p))
	counts{2, 1, 1, 0}.of(t, got["ticks"])
	counts{1, 1, 0, 0}.of(t, got["bots"])
	bot, err := c.Bots.Bot(ctx, "bot_1")
	if names := slices.Sorted(maps.Keys(bot.Feeds)); err != nil || strings.Join(names, " ") != "feed_1 feed_2 feed_3" {
		t.Errorf("feeds %v, %v", names, err)
	}
	// What has no time is not known to be newer.
	counts{1, 1, 0, 0}.of(t, migrate(t, c, options(p))["bots"]) // feed_1 alone: it says that it is of the future
}

// What cannot be read is refused, with its name and the reason, and keeps nothing else
// back.
func TestWhatCannotBeReadIsRefused(t *testing.T) {
	t.Parallel()
	p, c := newPython(t), target(t)
	p.fill()
	bad := map[string][][]string{
		"ticks": {
			{"HSET", "tickers:kraken", "A/B", `{"price": NaN, "time": 1}`}, {"HSET", "tickers:kraken", "B/C", `{"price": 1, "time": "soon"}`},
			{"HSET", "tickers:kraken", "C/D", `[]`}, {"HSET", "tickers:kraken", "D/E", `{"price": "much", "time": 1}`}, {"HSET", "tickers:kraken", "E/F", `null`},
			{"HSET", "tickers:kraken", "F/G", `{} {}`}, {"HSET", "tickers:kraken", "G/H", `{"price": -1, "time": 1}`}, {"SET", "tickers:none", "x"},
			{"HSET", "tickers:kraken", "H/I", `{"price": 1, "time": -1}`}, {"HSET", "tickers:kraken", "I/J", `{"price": 1, "time": 1e9}`},
			{"HSET", "tickers:kraken", "J/K", `{"price": 1, "time": 99999999999999999999}`},
		},
		"positions": {
			{"HSET", "account_positions", "99", `{}`}, {"HSET", "account_positions", "1", `x`}, {"HSET", "account_positions", "2", `{}`},
			{"HSET", "account_positions", "3", `{"A/B": 1, "timestamp": 1}`}, {"HSET", "account_positions", "4", `{"A/B": {"volume": "x"}, "timestamp": 1}`},
			{"HSET", "account_positions", "5", `{"": {"volume": 1}, "timestamp": 1}`},
		},
		"accounts": {
			{"HSET", "accounts", "99", `{}`}, {"HSET", "accounts", "1", `x`}, {"HSET", "accounts", "2", `{}`},
			{"HSET", "accounts", "3", `{"USD": {"balance": "x"}, "date": 1}`}, {"HSET", "accounts", "4", `{"USD": {}, "date": 1}`}, {"HSET", "accounts", "5", `{"USD": "x", "date": 1}`},
		},
		"orders": {
			{"HSET", "order_status:kraken", "1", `x`}, {"HSET", "order_status:99", "2", `{}`}, {"HSET", "order_status:kraken", "3", `{"status": "odd"}`},
			{"HSET", "order_status:kraken", "4", `{"status": "open", "volume": "x", "timestamp": 1}`},
			{"HSET", "order_status:kraken", "5", `{"status": "open", "symbol": "A/B", "side": "up", "order_type": "limit", "volume": 1, "timestamp": 1}`},
		},
		"new_orders": {{"RPUSH", "new_orders:local-1", ""}, {"SET", "new_orders:local-2", "x"}},
		"trades": {
			{"RPUSH", "trades:kraken:BTCUSD", `x`}, {"RPUSH", "trades:kraken:BTCUSD", trade("T-9", "ETH/USD", at(0))}, {"RPUSH", "trades:99:BTCUSD", trade("T-9", "BTC/USD", at(0))},
			{"RPUSH", "trades:kraken:BTCUSD", trade("", "BTC/USD", at(0))}, {"RPUSH", "trades:kraken:BTCUSD", strings.Replace(trade("T-9", "BTC/USD", at(0)), `"buy"`, `"up"`, 1)},
			{"RPUSH", "trades:kraken:BTCUSD", strings.Replace(trade("T-9", "BTC/USD", at(0)), `0.1`, `"x"`, 1)},
		},
		"user_trades":       {{"RPUSH", "user_trades:me:kraken", trade("T-9", "BTC/USD", at(0))}},
		"trade_status":      {{"SET", "TRADE:STATUS:99", iso(at(0))}, {"SET", "TRADE:STATUS:binance", "soon"}, {"SET", "USER_TRADE:STATUS:me", iso(at(0))}, {"RPUSH", "TRADE:STATUS:list", "x"}},
		"bots":              {{"HSET", "bot_status", "1", "x"}, {"HSET", "bot_status", "2", "null"}},
		"blocks":            {{"HSET", "block_exchange", "99:BTC/USD", "bot_1"}, {"HSET", "block_exchange", "nothing", "bot_1"}},
		"opening_positions": {{"HSET", "opening_position", "kraken:XRP/USD", "bot_1"}},
		"bars": {
			{"RPUSH", "ohlcv:BTCUSD:1m", "x"}, {"RPUSH", "ohlcv:BTCUSD:1m", `["x", 1, 1, 1, 1, 1]`}, {"RPUSH", "ohlcv:BTCUSD:1m", "[1e5, 1, 1, 1, 1, 1]"},
			{"RPUSH", "ohlcv:BTCUSD:1m", "[60, 1, 1e99, 1, 1, 1]"}, {"RPUSH", "ohlcv:BTCUSD:1m", "[61, 1, 1, 1, 1, 1]"},
			{"RPUSH", "ohlcv:NOSUCH:1m", bar(at(0), "1")}, {"RPUSH", "ohlcv:BTCUSD:2x", bar(at(0), "1")}, {"RPUSH", "ohlcv:BTCUSD", bar(at(0), "1")},
		},
	}
	for _, list := range bad {
		for _, words := range list {
			p.do(words...)
		}
	}
	opt := options(p)
	for _, id := range []string{"1", "2", "3", "4", "5"} {
		opt.Accounts[id] = fulloncache.Account{UserID: 8, Exchange: "kraken"}
	}
	got := migrate(t, c, opt)
	for kind, want := range all {
		n := len(bad[kind])
		counts{want[0] + n, want[1], want[2], n}.of(t, got[kind])
		for _, r := range got[kind].Reasons {
			if r.Why == "" || len(r.Records) == 0 || r.Records[0] == "" {
				t.Errorf("%s: no reason: %+v", kind, r)
			}
		}
	}
	checkMoved(t, c)

	// Of many reasons some are named, and all are counted.
	for i := range 200 {
		p.do("HSET", "tickers:coinbase", fmt.Sprintf("%d/X", i), fmt.Sprintf(`{"price": 1, "time": "t%d"}`, i))
	}
	r := migrate(t, c, opt)["ticks"]
	counts{213, 0, 2, 211}.of(t, r)
	if len(r.Reasons) > 51 || r.Reasons[0].Why != "other reasons" || len(r.Reasons[0].Records) != 3 {
		t.Errorf("%d reasons, the first %+v", len(r.Reasons), r.Reasons[0])
	}
}

// What the source leaves open is asked for.
func TestWhatTheSourceDoesNotSay(t *testing.T) {
	t.Parallel()
	p, c := newPython(t), target(t)
	p.do("RPUSH", "ohlcv:BTCUSD:1m", bar(at(0), "1"), bar(at(60), "1"))
	bars := func(opt legacy.Options) legacy.Report { t.Helper(); return migrate(t, c, opt)["bars"] }
	why := func(r legacy.Report, want string) {
		t.Helper()
		counts{2, 0, 0, 2}.of(t, r)
		if len(r.Reasons) != 1 || !strings.Contains(r.Reasons[0].Why, want) {
			t.Errorf("got %+v, want %q", r.Reasons, want)
		}
	}
	opt := options(p)
	opt.BarsExchange = ""
	why(bars(opt), "--bars-exchange")
	why(bars(options(p)), "--symbol BTCUSD=")
	p.tick("kraken", "BTC/USD", "1", at(1))
	p.tick("kraken", "BT/CUSD", "1", at(1))
	why(bars(options(p)), `may be each of ["BT`)
	opt = options(p)
	opt.Symbols = map[string]string{"BTCUSD": "BTC/USD"}
	counts{2, 2, 0, 0}.of(t, bars(opt))
	p.do("RPUSH", "ohlcv:ETH/USD:1h", fmt.Sprintf("[%d, 1, 1, 1, 1, 1]", at(0).UnixMilli()))
	p.do("SET", "tickers:odd", "no hash")
	counts{3, 1, 2, 0}.of(t, bars(opt))
	p.do("RPUSH", "ohlcv:SOLUSD:1h", bar(at(0), "1"))
	if r := bars(opt); r.Refused != 1 || !strings.Contains(r.Reasons[1].Why, "--symbol SOLUSD=") {
		t.Errorf("a symbol that nothing spells: %+v", r)
	}
}

// Lists that are full here refuse what does not fit.
func TestListsAreFull(t *testing.T) {
	t.Parallel()
	p := newPython(t)
	c := newTarget(t, fulloncache.Config{URL: testenv.NewRedis(t).URL(), NewOrdersCap: 1, TradesCap: 1})
	p.fill()
	got := migrate(t, c, options(p))
	counts{2, 0, 0, 2}.of(t, got["new_orders"])
	counts{2, 1, 0, 1}.of(t, got["trades"])

	opt := options(p)
	opt.TradesCap, opt.OrdersCap = 1, 1
	got = migrate(t, c, opt)
	for kind, setting := range map[string]string{"new_orders": "CACHE_NEW_ORDERS_CAP", "trades": "CACHE_TRADES_CAP"} {
		counts{2, 0, 0, 2}.of(t, got[kind])
		if why := got[kind].Reasons[0].Why; !strings.Contains(why, "raise "+setting) {
			t.Errorf("%s are refused because %s", kind, why)
		}
	}
}

// What did not fit, or did not get through, is tried again, though the list in the
// source has not changed.
func TestFollowTriesAgain(t *testing.T) {
	t.Parallel()
	p := newPython(t)
	p.do("RPUSH", "trades:kraken:BTCUSD", trade("T-1", "BTC/USD", at(0)), trade("T-2", "BTC/USD", at(1)), trade("T-3", "BTC/USD", at(2)))
	proxy := testenv.NewProxy(t, testenv.NewRedis(t).Addr())
	c := newTarget(t, fulloncache.Config{URL: "redis://" + proxy.Addr(), TradesCap: 4, BreakerCooldown: 50 * time.Millisecond})
	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	one := fulloncache.MustDecimal("1")
	for _, id := range []string{"X-1", "X-2", "X-3"} {
		_, err := c.Trades.Push(testenv.Context(t), fulloncache.Trade{Market: btc, ExTradeID: id, Side: fulloncache.Buy, Volume: one, Price: one, Time: at(0)})
		must(t, err)
	}
	opt := options(p)
	opt.Kinds = []string{"trades"}
	m := open(t, c, opt)
	ctx, cancel := context.WithCancel(testenv.Context(t))
	ended := make(chan error, 1)
	rounds := make(chan error, 10_000)
	go func() {
		ended <- m.Follow(ctx, 5*time.Millisecond, func(_ []legacy.Report, err error) { rounds <- err })
	}()
	must(t, <-rounds)
	take := func(want string) {
		t.Helper()
		testenv.Eventually(t, want, func() (bool, string) {
			batch, err := c.Trades.Drain(ctx, btc, 1)
			if err != nil || len(batch.Trades) == 0 {
				return false, fmt.Sprint(err)
			}
			// What follows shares the breaker, which its last failure may open just now.
			testenv.Eventually(t, "an acknowledgement", func() (bool, string) {
				err := batch.Ack(ctx)
				if err != nil && !errors.Is(err, fulloncache.ErrUnavailable) {
					t.Fatal(err)
				}
				return err == nil, fmt.Sprint(err)
			})
			return batch.Trades[0].ExTradeID == want, batch.Trades[0].ExTradeID
		})
	}
	take("X-1")
	take("X-2")
	take("X-3")
	take("T-1")
	proxy.Cut()
	p.do("RPUSH", "trades:kraken:BTCUSD", trade("T-4", "BTC/USD", at(3))) // the list may have been moved whole by now
	testenv.Eventually(t, "a round without the target", func() (bool, string) { err := <-rounds; return err != nil, "" })
	proxy.Restore(t)
	take("T-2")
	take("T-3")
	take("T-4")
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	p, c, ctx := newPython(t), target(t), testenv.Context(t)
	refused := func(c *fulloncache.Client, opt legacy.Options, want string) {
		t.Helper()
		if m, err := legacy.Open(ctx, c, opt); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, %v; want %q", m, err, want)
		}
	}
	itself := newTarget(t, fulloncache.Config{URL: p.URL() + "/3", KeyPrefix: "ours"})
	refused(itself, options(p), "it is the target")
	refused(c, legacy.Options{Source: p.url(), Kinds: []string{"ticks", "secrets"}}, `"secrets"`)
	refused(c, legacy.Options{Source: "redis://%:secret@h"}, "want redis://")
	p.do("ACL", "SETUSER", "blind", "on", ">secret", "~*", "+@read", "+@connection")
	refused(c, legacy.Options{Source: "redis://blind:secret@" + p.Addr()}, "let both users run INFO")
	proxy := testenv.NewProxy(t, p.Addr())
	proxy.Cut()
	refused(c, legacy.Options{Source: "redis://reader:secret@" + proxy.Addr()}, "source: ")
	c.Close()
	refused(c, options(p), "target: ")
}

// A server that goes away ends a run with what was done so far.
func TestServersThatGoAway(t *testing.T) {
	t.Parallel()
	p := newPython(t)
	p.fill()
	run := func(break_ func(p *testenv.Proxy, c *fulloncache.Client), opt legacy.Options) error {
		t.Helper()
		proxy := testenv.NewProxy(t, p.Addr())
		opt.Source = "redis://reader:secret@" + proxy.Addr()
		c := target(t)
		m := open(t, c, opt)
		opt.Progress = nil
		break_(proxy, c)
		_, err := m.Run(testenv.Context(t))
		return err
	}
	for _, kind := range legacy.Kinds() {
		opt := options(p)
		opt.Kinds = []string{kind}
		if err := run(func(p *testenv.Proxy, _ *fulloncache.Client) { p.Cut() }, opt); err == nil || !strings.HasPrefix(err.Error(), "source: ") {
			t.Errorf("%s: a source that is away: %v", kind, err)
		}
		err := run(func(_ *testenv.Proxy, c *fulloncache.Client) { c.Close() }, opt)
		if kind == "processes" && err != nil || kind != "processes" && !errors.Is(err, fulloncache.ErrClosed) {
			t.Errorf("%s: a target that is away: %v", kind, err)
		}
	}
	for _, kind := range []string{"ticks", "orders", "trades"} {
		opt := options(p)
		opt.Kinds = []string{kind, "bars", "bots"}
		var proxy *testenv.Proxy
		opt.Progress = func(int64, int64) { proxy.Cut() }
		proxy = testenv.NewProxy(t, p.Addr())
		opt.Source = "redis://reader:secret@" + proxy.Addr()
		reports, err := open(t, target(t), opt).Run(testenv.Context(t))
		if err == nil || !strings.HasPrefix(err.Error(), "source: ") || reports[0].Moved == 0 {
			t.Errorf("a source that goes away after the first of %s: %+v, %v", kind, reports, err)
		}
	}

	// What comes behind an id of an order must not overtake it.
	p.do("RPUSH", "new_orders:odd", "", "1", "2")
	ctx, cancel := context.WithCancel(testenv.Context(t))
	opt := options(p)
	opt.Kinds = []string{"new_orders"}
	opt.Progress = func(done, _ int64) {
		if done == 4 {
			cancel()
		}
	}
	reports, err := open(t, target(t), opt).Run(ctx)
	counts{5, 3, 0, 1}.of(t, reports[0]) // the last one was found, and not moved
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a run that was cancelled: %v", err)
	}
	m := open(t, target(t), options(p))
	if _, err := m.Run(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a run that was cancelled: %v", err)
	}
}

// Follow copies what changes, shows processes, and leaves locks alone.
func TestFollow(t *testing.T) {
	t.Parallel()
	p, c := newPython(t), target(t)
	p.fill()
	proxy := testenv.NewProxy(t, p.Addr())
	opt := options(p)
	opt.Source = "redis://reader:secret@" + proxy.Addr()
	m, err := legacy.Open(testenv.Context(t), c, opt)
	must(t, err)
	ctx, cancel := context.WithCancel(testenv.Context(t))
	ended := make(chan error, 1)
	rounds := make(chan map[string]legacy.Report, 10_000)
	go func() {
		ended <- m.Follow(ctx, 5*time.Millisecond, func(reports []legacy.Report, _ error) {
			byKind := make(map[string]legacy.Report)
			for _, r := range reports {
				byKind[r.Kind] = r
			}
			rounds <- byKind
		})
	}()
	first := <-rounds
	counts{1, 0, 1, 0}.of(t, first["blocks"])
	counts{2, 2, 0, 0}.of(t, first["ticks"])
	counts{1, 1, 0, 0}.of(t, first["processes"])
	second := <-rounds
	counts{0, 0, 0, 0}.of(t, second["trades"])    // a list that has not changed is not read again
	counts{1, 0, 1, 0}.of(t, second["processes"]) // nor is what a process has told already told again
	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	series := fulloncache.Series{Market: btc, Timeframe: "1m"}
	process := func() (fulloncache.Process, error) {
		return c.Processes.Get(testenv.Context(t), fulloncache.ProcessOHLCV, "ohlcv:kraken:1")
	}
	if pr, err := process(); err != nil || !pr.Alive || pr.Params["n"] != "2" {
		t.Errorf("the process shows as %+v, %v", pr, err)
	}
	proxy.Cut()
	p.tick("kraken", "BTC/USD", "51000", at(200))
	p.do("RPUSH", "ohlcv:BTCUSD:1m", bar(at(60), "4"))
	p.do("RPUSH", "trades:kraken:BTCUSD", trade("T-10", "BTC/USD", at(20)))
	p.process("ohlcv:kraken:1", "error", time.Now())
	p.process("ohlcv:kraken:2", "running", time.Now().Add(-time.Hour))
	p.process("ohlcv:kraken:3", "running", time.Now())
	p.do("SET", "new_orders:odd", "no list")
	p.do("SET", "process:data:4", "x")
	p.do("SET", "process:data:5", "{}")
	proxy.Restore(t)
	testenv.Eventually(t, "the changes come", func() (bool, string) {
		tick, err := c.Ticks.Get(testenv.Context(t), btc)
		must(t, err)
		bar, err := c.OHLCV.Last(testenv.Context(t), series)
		must(t, err)
		n, _, err := c.Trades.Len(testenv.Context(t), btc)
		must(t, err)
		pr, err := process()
		must(t, err)
		got := fmt.Sprint(tick.Price, " ", bar.Close, " ", n, " ", pr.Status)
		return got == "51000 4 3 error", got
	})
	p.process("ohlcv:kraken:1", "stopped", time.Now())
	testenv.Eventually(t, "the process has stopped", func() (bool, string) {
		pr, err := process()
		must(t, err)
		return pr.Status == fulloncache.ProcessStopped, string(pr.Status)
	})
	p.process("ohlcv:kraken:6", "running", time.Now())
	sixth := func() (fulloncache.ProcessStatus, error) {
		pr, err := c.Processes.Get(testenv.Context(t), fulloncache.ProcessOHLCV, "ohlcv:kraken:6")
		return pr.Status, err
	}
	testenv.Eventually(t, "one more process shows", func() (bool, string) {
		status, err := sixth()
		return err == nil && status == fulloncache.ProcessRunning, fmt.Sprint(status, err)
	})
	p.do("DEL", "process:data:ohlcv:kraken:6")
	testenv.Eventually(t, "it is gone with its key", func() (bool, string) {
		status, err := sixth()
		return err == nil && status == fulloncache.ProcessStopped, fmt.Sprint(status, err)
	})
	if _, blocked, err := c.Bots.IsBlocked(testenv.Context(t), btc); err != nil || blocked {
		t.Errorf("a lock was bridged: %t, %v", blocked, err)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("it ended with %v", err)
	}
	must(t, m.Close(context.Background()))
	pr, err := c.Processes.Get(testenv.Context(t), fulloncache.ProcessOHLCV, "ohlcv:kraken:3")
	if err != nil || pr.Status != fulloncache.ProcessStopped {
		t.Errorf("after the end a process shows as %+v, %v", pr, err)
	}

	opt = options(p)
	opt.Kinds = []string{"processes"}
	proxy = testenv.NewProxy(t, p.Addr())
	opt.Source = "redis://reader:secret@" + proxy.Addr()
	opt.Progress = func(int64, int64) { proxy.Cut() }
	ctx, cancel = context.WithCancel(testenv.Context(t))
	var broken error
	must(t, open(t, c, opt).Follow(ctx, time.Millisecond, func(_ []legacy.Report, err error) {
		if broken == nil {
			broken = err
		}
		cancel()
	}))
	if broken == nil || !strings.HasPrefix(broken.Error(), "source: process:data:") {
		t.Errorf("a source that goes away between processes: %v", broken)
	}

	m = open(t, c, options(p))
	c.Close()
	if err := m.Follow(testenv.Context(t), time.Millisecond, func([]legacy.Report, error) {}); !errors.Is(err, fulloncache.ErrClosed) {
		t.Errorf("a client that was closed: %v", err)
	}
}
