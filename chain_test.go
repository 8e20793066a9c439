package fulloncache_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
	"github.com/fullon/fulloncache/orm"
)

// deskhand is what a process of a desk is told.
type deskhand struct {
	Role, Name    string
	URL, Prefix   string
	Nodes         []string // of a cluster, instead of URL
	DSN           string
	Market        fulloncache.Market
	Orders        int
	User, Account int64 // in the database, as Bot
	Bot           int64
}

const deskhandVariable = "FULLON_CACHE_DESKHAND"

// working is a deskhand at work.
type working struct {
	deskhand
	c  *fulloncache.Client
	db *orm.DB
}

// run works in its role until it is done, or told to end.
func (d deskhand) run() (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	db, err := orm.Open(ctx, d.DSN)
	if err != nil {
		return err
	}
	defer db.Close()
	c, err := fulloncache.New(ctx, fulloncache.Config{
		URL: d.URL, ClusterMode: d.Nodes != nil, ClusterNodes: d.Nodes, KeyPrefix: d.Prefix,
		ProcessHeartbeat: 200 * time.Millisecond, Logger: quiet, ExchangeStore: db.Exchanges, SymbolStore: db.Symbols,
	})
	if err != nil {
		return err
	}
	defer c.Close()
	types := map[string]fulloncache.ProcessType{
		"feed": fulloncache.ProcessTick, "bot": fulloncache.ProcessBot, "executor": fulloncache.ProcessOrder, "settler": fulloncache.ProcessUserTradesService,
	}
	h, err := c.Processes.Register(ctx, fulloncache.Process{Type: types[d.Role], Component: d.Name, ID: d.Name, Status: fulloncache.ProcessRunning})
	if err != nil {
		return err
	}
	w := working{d, c, db}
	err = map[string]func(context.Context) error{"feed": w.feed, "bot": w.trade, "executor": w.execute, "settler": w.settle}[d.Role](ctx)
	if ctx.Err() != nil {
		err = nil // it was told to
	}
	return errors.Join(err, h.Stop(context.WithoutCancel(ctx), "done"))
}

// feed writes the prices of all symbols of an exchange, rounded as the database says,
// and bars of an hour ago.
func (w working) feed(ctx context.Context) error {
	symbols, err := w.c.Symbols.List(ctx, "kraken")
	if err != nil {
		return err
	}
	agg, err := fulloncache.NewAggregator(fulloncache.Series{Market: w.Market, Timeframe: "1m"})
	if err != nil {
		return err
	}
	hourAgo := time.Now().Add(-time.Hour).Truncate(time.Minute)
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for n := 0; ; n++ {
		for _, s := range symbols {
			price, err := w.c.Ticks.RoundPrice(ctx, s.Market, fulloncache.MustDecimal(fmt.Sprintf("%d.123456", 1000+n%50)))
			if err != nil {
				return err
			}
			if err := w.c.Ticks.Set(ctx, fulloncache.Tick{Market: s.Market, Price: price, Time: time.Now()}); err != nil {
				return err
			}
		}
		if n < 100 { // twenty seconds apart
			closed, err := agg.Trade(fulloncache.Trade{
				Market: w.Market, ExTradeID: fmt.Sprint("P-", n), Side: fulloncache.Sell, Volume: fulloncache.MustDecimal("1"),
				Price: fulloncache.MustDecimal(fmt.Sprint(1000 + n)), Time: hourAgo.Add(time.Duration(n) * 20 * time.Second),
			})
			if err != nil {
				return err
			}
			for _, b := range closed {
				if _, err := w.c.OHLCV.Append(ctx, fulloncache.Series{Market: w.Market, Timeframe: "1m"}, []fulloncache.Bar{b.Bar}); err != nil {
					return err
				}
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-pace.C:
		}
	}
}

// trade takes the market when it is its turn, and submits its orders under the lease.
func (w working) trade(ctx context.Context) (err error) {
	prices, err := w.c.Ticks.Mirror(ctx, w.Market.Exchange)
	if err != nil {
		return err
	}
	defer prices.Close()
	if err := prices.Ready(ctx); err != nil {
		return err
	}
	lease, err := w.c.Bots.AcquireWait(ctx, w.Market, w.Name, fulloncache.LeaseOptions{TTL: 10 * time.Second})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lease.Release(context.WithoutCancel(ctx))) }()
	ctx = lease.Context()
	if _, err := w.c.Bots.MarkOpeningPosition(ctx, w.Market, w.Name, fulloncache.BlockOptions{}); err != nil {
		return err
	}
	size, err := w.c.Ticks.RoundSize(ctx, w.Market, fulloncache.MustDecimal("0.2500000001"))
	if err != nil {
		return err
	}
	for n := range w.Orders {
		q, err := prices.Get(w.Market, fulloncache.MaxAge(10*time.Second))
		if err != nil {
			return err
		}
		order := fulloncache.Order{
			Market: w.Market, ID: fmt.Sprintf("%s-%d", w.Name, n), UserID: w.User, ExchangeID: w.Account, BotID: w.Bot, Type: "limit", Side: fulloncache.Buy,
			Volume: size, Price: fulloncache.Some(q.Price()), Status: fulloncache.OrderNew, Time: time.Now(),
		}
		if err := w.c.Orders.Save(ctx, order); err != nil {
			return err
		}
		if err := w.c.Orders.Submit(ctx, order, fulloncache.UnderLease(lease.Token())); err != nil {
			return err
		}
	}
	if err := w.c.Bots.UpdateBot(ctx, w.Name, map[string]json.RawMessage{"orders": json.RawMessage(fmt.Sprint(w.Orders))}); err != nil {
		return err
	}
	return w.c.Bots.UnmarkOpeningPosition(ctx, w.Market, w.Name, fulloncache.UnblockOptions{})
}

// execute fills orders: stored first, then counted, handed on, and told.
func (w working) execute(ctx context.Context) error {
	return w.c.Orders.Consume(ctx, fulloncache.ConsumeOptions{Exchange: "kraken", Visibility: time.Second}, func(ctx context.Context, d *fulloncache.OrderDelivery) error {
		o := d.Order
		if _, err := w.db.Orders.Save(ctx, o); err != nil {
			return err
		}
		fill := fulloncache.Trade{
			Market: o.Market, UserID: o.UserID, ExchangeID: o.ExchangeID, ExTradeID: "T-" + o.ID, ExOrderID: "X-" + o.ID, Side: o.Side,
			Volume: o.Volume, Price: o.Price.Decimal, Cost: fulloncache.MustDecimal("1"), Time: o.Time,
		}
		if _, err := w.c.Accounts.ApplyTrade(ctx, fill); err != nil {
			return err
		}
		if _, err := w.c.Trades.PushUser(ctx, fill, fulloncache.Unique(time.Hour)); err != nil {
			return err
		}
		if _, err := w.db.Orders.UpdateStatus(ctx, o.Exchange, o.ID, fulloncache.OrderFilled); err != nil {
			return err
		}
		_, err := w.c.Orders.Update(ctx, fulloncache.Order{
			Market: o.Market, ID: o.ID, Status: fulloncache.OrderFilled, FinalVolume: fulloncache.Some(o.Volume), Time: time.Now(),
		})
		return err
	})
}

// settle stores the fills, acknowledges them, and tells the balance.
func (w working) settle(ctx context.Context) error {
	stored := 0
	pace := time.NewTicker(5 * time.Millisecond)
	defer pace.Stop()
	for {
		batch, err := w.c.Trades.DrainUser(ctx, w.User, "kraken", 100)
		if err == nil {
			if len(batch.Trades) > 0 {
				n, err := w.db.Trades.AddAll(ctx, batch.Trades)
				if err != nil {
					return err
				}
				stored += n
			}
			if err := batch.Ack(ctx); err != nil {
				return err
			}
			err = w.c.Accounts.SetAccount(ctx, fulloncache.AccountBalances{
				Account: fulloncache.Account{UserID: w.User, Exchange: "kraken"}, Time: time.Now(),
				Balances: []fulloncache.Balance{{Currency: "FILLS", Free: fulloncache.MustDecimal(fmt.Sprint(stored))}},
			})
			if err != nil {
				return err
			}
		} else if !errors.Is(err, fulloncache.ErrNotFound) {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-pace.C:
		}
	}
}

// The whole chain, as a desk uses it: exchange, symbol, tick, account, order, trade,
// bot and candle, in processes of their own around one server and one database. One
// of those who execute orders is killed.
func TestWholeChain(t *testing.T) {
	t.Parallel()
	for _, mode := range modes[:2] { // what is in this process has no other one
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			wholeChain(t, mode.config(t))
		})
	}
}

func wholeChain(t *testing.T, cfg fulloncache.Config) {
	ctx := testenv.Context(t)
	cfg.KeyPrefix = testenv.Prefix(t)
	cfg.ProcessHeartbeat = 200 * time.Millisecond
	dsn := testenv.Postgres(t).Database(t)
	db, err := orm.Open(ctx, dsn)
	must(t, err)
	defer db.Close()
	must(t, db.Migrate(ctx))
	must(t, db.Seed(ctx))
	user, err := db.Users.ByMail(ctx, orm.SeedMail)
	must(t, err)
	accounts, err := db.Exchanges.ByUser(ctx, user.ID)
	must(t, err)
	bot, err := db.Bots.Add(ctx, fulloncache.Bot{UserID: user.ID, Name: "bot"})
	must(t, err)

	btc, eth := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, fulloncache.Market{Exchange: "kraken", Symbol: "ETH/USD"}
	const orders = 20
	start := func(role, name string, market fulloncache.Market) *exec.Cmd {
		t.Helper()
		cmd := testenv.Command(t, deskhandVariable, deskhand{role, name, cfg.URL, cfg.KeyPrefix, cfg.ClusterNodes, dsn, market, orders, user.ID, accounts[0].ID, bot.ID})
		cmd.Stderr = os.Stderr
		must(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }) // it may have ended
		return cmd
	}
	cfg.Logger, cfg.ExchangeStore, cfg.SymbolStore = quiet, db.Exchanges, db.Symbols
	c, err := fulloncache.New(ctx, cfg)
	must(t, err)
	defer c.Close()

	feed := start("feed", "feed", btc)
	victim, executor, settler := start("executor", "executor_1", btc), start("executor", "executor_2", btc), start("settler", "settler", btc)
	for _, m := range []fulloncache.Market{btc, eth} {
		testenv.Eventually(t, "the first price of "+m.Symbol, func() (bool, string) {
			_, err := c.Ticks.Get(ctx, m)
			return err == nil, fmt.Sprint(err)
		})
	}
	bots := []*exec.Cmd{start("bot", "bot_1", btc), start("bot", "bot_2", btc), start("bot", "bot_3", eth)}
	final := func() (n int) {
		for o, err := range c.Orders.List(ctx, "kraken") {
			must(t, err)
			if o.Status.Final() {
				n++
			}
		}
		return n
	}
	testenv.Eventually(t, "orders are executed", func() (bool, string) { n := final(); return n >= 5, fmt.Sprint(n) })
	must(t, victim.Process.Kill())
	for _, b := range bots {
		if err := b.Wait(); err != nil {
			t.Fatalf("a bot ended with %v", err)
		}
	}
	const all = 3 * orders
	stored := func() int {
		list, err := db.Trades.List(ctx, orm.TradeFilter{Exchange: "kraken", Limit: 1000})
		must(t, err)
		return len(list)
	}
	account := fulloncache.Account{UserID: user.ID, Exchange: "kraken"}
	testenv.Eventually(t, "all orders are executed, and all fills are stored", func() (bool, string) {
		n, m := final(), stored()
		b, err := c.Accounts.Balance(ctx, account, "FILLS")
		got := fmt.Sprint(n, " ", m, " ", b.Free, " ", err)
		return got == fmt.Sprint(all, " ", all, " ", all, " <nil>"), got
	})

	for m, want := range map[fulloncache.Market]string{btc: "10", eth: "5"} {
		p, err := c.Accounts.Position(ctx, account, m.Symbol)
		if err != nil || p.Side != fulloncache.Long || p.Volume.String() != want {
			t.Errorf("position in %s: %s %s, %v, want long %s", m, p.Side, p.Volume, err, want)
		}
		s, err := c.Symbols.Get(ctx, m)
		must(t, err)
		tick, err := c.Ticks.Get(ctx, m, fulloncache.MaxAge(10*time.Second))
		must(t, err)
		if rounded, err := tick.Price.Round(s.Decimals, fulloncache.Down); err != nil || !rounded.Equal(tick.Price) {
			t.Errorf("the price of %s is %s, with %d decimals, %v", m, tick.Price, s.Decimals, err)
		}
		if _, blocked, err := c.Bots.IsBlocked(ctx, m); err != nil || blocked {
			t.Errorf("%s is still blocked: %t, %v", m, blocked, err)
		}
		if _, opening, err := c.Bots.IsOpeningPosition(ctx, m); err != nil || opening {
			t.Errorf("%s is still marked: %t, %v", m, opening, err)
		}
	}
	rows, err := db.Orders.List(ctx, orm.OrderFilter{Exchange: "kraken", Statuses: []fulloncache.OrderStatus{fulloncache.OrderFilled}, Limit: 1000})
	if err != nil || len(rows) != all {
		t.Errorf("the database has %d executed orders, %v, want %d", len(rows), err, all)
	}
	for _, name := range []string{"bot_1", "bot_2", "bot_3"} {
		s, err := c.Bots.Bot(ctx, name)
		if err != nil || string(s.Feeds["orders"].Status) != fmt.Sprint(orders) {
			t.Errorf("%s says %v, %v", name, s.Feeds, err)
		}
	}
	series := fulloncache.Series{Market: btc, Timeframe: "1m"}
	testenv.Eventually(t, "the bars are there", func() (bool, string) {
		n, err := c.OHLCV.Len(ctx, series)
		return n == 33, fmt.Sprint(n, err)
	})
	bars, err := c.OHLCV.Latest(ctx, series, 1)
	if err != nil || bars[0].Open.String() != "1096" || bars[0].Close.String() != "1098" || bars[0].Volume.String() != "3" {
		t.Errorf("the last bar is %v, %v", bars, err)
	}
	stats, err := c.Orders.QueueStats(ctx, "kraken")
	if err != nil || stats.Dead != 0 {
		t.Errorf("the queue is left as %+v, %v", stats, err)
	}
	testenv.Eventually(t, "nothing is left with a consumer", func() (bool, string) {
		stats, err := c.Orders.QueueStats(ctx, "kraken")
		return err == nil && stats == (fulloncache.QueueStats{}), fmt.Sprintf("%+v %v", stats, err)
	})
	testenv.Eventually(t, "the killed process counts as dead", func() (bool, string) {
		p, err := c.Processes.Get(ctx, fulloncache.ProcessOrder, "executor_1")
		return err == nil && !p.Died.IsZero(), fmt.Sprintf("%+v %v", p, err)
	})
	for _, cmd := range []*exec.Cmd{feed, executor, settler} {
		must(t, cmd.Process.Signal(syscall.SIGTERM))
		if err := cmd.Wait(); err != nil {
			t.Errorf("a process ended with %v", err)
		}
	}
	p, err := c.Processes.Get(ctx, fulloncache.ProcessTick, "feed")
	if err != nil || p.Status != fulloncache.ProcessStopped {
		t.Errorf("the feed shows as %+v, %v", p, err)
	}
}
