package fulloncache_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// P2: the predecessor pinged before each command. Here a Set is one command of
// one round trip, a Get another, and nothing is sent before them.
func TestOneCommandPerCall(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c := open(t, fulloncache.Config{URL: srv.URL(), KeyPrefix: "p2", FeedHeartbeat: time.Hour})
	must(t, c.Ticks.Set(ctx, tickOf(btc, "1", 0))) // loads the script
	srv.Do(t, "CONFIG", "RESETSTAT")
	const n = 200
	for i := 1; i <= n; i++ {
		must(t, c.Ticks.Set(ctx, tickOf(btc, "1", i)))
	}
	for range n {
		if _, err := c.Ticks.Get(ctx, btc); err != nil {
			t.Fatal(err)
		}
	}
	got := srv.Counts(t)
	if got["evalsha"] != n || got["eval"] != 0 {
		t.Errorf("%d sets sent %d EVALSHA and %d EVAL", n, got["evalsha"], got["eval"])
	}
	reads := got["hmget"] + got["hgetall"]
	if reads != 2*n { // one of them inside each Set's script
		t.Errorf("%d sets and gets read %d hashes", 2*n, reads)
	}
	// A connection that nobody used for 0.5 s is pinged; these are in use.
	if got["ping"] > n/20 {
		t.Errorf("%d PINGs for %d calls", got["ping"], 2*n)
	}
	for name := range got {
		if !slices.Contains([]string{
			"evalsha", "hmget", "hgetall", "ping",
			"time", "set", "sadd", "hset", "hdel", "publish", // the script
			"config|resetstat", "info", // the test
		}, name) {
			t.Errorf("unexpected %s, %d times", name, got[name])
		}
	}
}

// What a call sends arrives in one piece: with an answer that takes 50 ms a Set
// or a Get takes it once.
func TestOneRoundTripPerCall(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	proxy := testenv.NewProxy(t, testenv.Redis(t).Addr())
	c := open(t, fulloncache.Config{URL: proxy.URL(), KeyPrefix: testenv.Prefix(t), FeedHeartbeat: time.Hour})
	must(t, c.Ticks.Set(ctx, tickOf(btc, "1", 0)))
	fills := 0
	_, err := c.Accounts.ApplyTrade(ctx, fillOf(fills, fulloncache.Buy, "1", "1"))
	must(t, err)
	const delay = 200 * time.Millisecond
	proxy.Slow(delay)
	for name, call := range map[string]func() error{
		"Set": func() error { return c.Ticks.Set(ctx, tickOf(btc, "2", 1)) },
		"Get": func() error { _, err := c.Ticks.Get(ctx, btc); return err },
		"ApplyTrade": func() error {
			fills++
			_, err := c.Accounts.ApplyTrade(ctx, fillOf(fills, fulloncache.Buy, "1", "1"))
			return err
		},
		"Position": func() error { _, err := c.Accounts.Position(ctx, desk, btcUSD); return err },
	} {
		best := time.Hour // a busy machine only makes it longer
		for range 3 {
			start := time.Now()
			must(t, call())
			best = min(best, time.Since(start))
		}
		if best < delay || best >= 2*delay {
			t.Errorf("%s took %s where one round trip takes %s", name, best, delay)
		}
	}
}

// P16: importing the predecessor made files, folders and settings.
func TestOpeningAClientLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	srv := testenv.Redis(t)
	for name, value := range map[string]string{
		"REDIS_URL": srv.URL(), "CACHE_KEY_PREFIX": testenv.Prefix(t), "HOME": dir, "TMPDIR": dir, "XDG_CACHE_HOME": dir,
		"CACHE_TTL_EXCHANGE": "11", "CACHE_TTL_SYMBOL": "12", "CACHE_TTL_ORDER": "13", "CACHE_TTL_ORDER_FINAL": "14",
	} {
		t.Setenv(name, value)
	}
	before := slices.Sorted(slices.Values(os.Environ()))
	ctx := testenv.Context(t)
	c, err := fulloncache.Open(ctx)
	must(t, err)
	must(t, c.Ticks.Set(ctx, tickOf(btc, "1", 0)))
	must(t, c.Base.Ping(ctx))
	c.Close()
	if after := slices.Sorted(slices.Values(os.Environ())); !slices.Equal(before, after) {
		t.Errorf("the environment changed:\n%v\n%v", before, after)
	}
	must(t, fs.WalkDir(os.DirFS(dir), ".", func(path string, _ fs.DirEntry, err error) error {
		if path != "." {
			t.Errorf("%s was made", path)
		}
		return err
	}))
	cfg, err := fulloncache.ConfigFromEnv()
	must(t, err)
	for i, got := range []time.Duration{cfg.TTLExchange, cfg.TTLSymbol, cfg.TTLOrder, cfg.TTLOrderFinal} {
		if want := time.Duration(11+i) * time.Second; got != want {
			t.Errorf("TTL %d is %s, want %s", i, got, want)
		}
	}
}

// every calls each exported method that takes a context and returns its error,
// by the method's name.
func every(ctx context.Context, t *testing.T, c *fulloncache.Client) map[string]error {
	t.Helper()
	wait := 50 * time.Millisecond
	arguments := map[string][]any{
		"BaseCache.Clear":                {},
		"BaseCache.GlobalErrors":         {},
		"BaseCache.Health":               {},
		"BaseCache.Keys":                 {"*"},
		"BaseCache.Ping":                 {},
		"BaseCache.PopGlobalError":       {wait},
		"BaseCache.PushGlobalError":      {fulloncache.GlobalError{Component: "test", Message: "message"}},
		"ExchangeCache.Add":              {fulloncache.Exchange{UserID: 1, CatExchangeID: 1, Name: "name"}},
		"ExchangeCache.AddCatalogue":     {fulloncache.CatExchange{Name: "kraken"}},
		"ExchangeCache.ByName":           {"kraken"},
		"ExchangeCache.ByUser":           {int64(1)},
		"ExchangeCache.Catalogue":        {},
		"ExchangeCache.CatalogueID":      {"kraken"},
		"ExchangeCache.CatalogueName":    {int64(1)},
		"ExchangeCache.Delete":           {int64(1)},
		"ExchangeCache.DeleteCatalogue":  {int64(1)},
		"ExchangeCache.Get":              {int64(1)},
		"ExchangeCache.Invalidate":       {int64(1)},
		"ExchangeCache.InvalidateAll":    {},
		"ExchangeCache.InvalidateUser":   {int64(1)},
		"ExchangeCache.Params":           {"kraken"},
		"ExchangeCache.PopWSError":       {"kraken", wait},
		"ExchangeCache.PushWSError":      {fulloncache.WSError{Exchange: "kraken", Message: "message"}},
		"ExchangeCache.Update":           {fulloncache.Exchange{ID: 1, UserID: 1, CatExchangeID: 1, Name: "name"}},
		"ExchangeCache.UpdateCatalogue":  {fulloncache.CatExchange{ID: 1, Name: "kraken"}},
		"BotCache.Acquire":               {btc, "bot_1", fulloncache.LeaseOptions{}},
		"BotCache.AcquireWait":           {btc, "bot_1", fulloncache.LeaseOptions{}},
		"BotCache.Block":                 {btc, "bot_1", fulloncache.BlockOptions{}},
		"BotCache.Blocks":                {"kraken"},
		"BotCache.Bot":                   {"bot_1"},
		"BotCache.Bots":                  {},
		"BotCache.DeleteAll":             {},
		"BotCache.DeleteBot":             {"bot_1"},
		"BotCache.IsBlocked":             {btc},
		"BotCache.IsOpeningPosition":     {btc},
		"BotCache.MarkOpeningPosition":   {btc, "bot_1", fulloncache.BlockOptions{}},
		"BotCache.OpeningPositions":      {"kraken"},
		"BotCache.Unblock":               {btc, "bot_1", fulloncache.UnblockOptions{}},
		"BotCache.UnmarkOpeningPosition": {btc, "bot_1", fulloncache.UnblockOptions{}},
		"BotCache.UpdateBot":             {"bot_1", map[string]json.RawMessage{"feed": []byte("{}")}},
		"BotCache.Validate":              {btc, int64(1)},
		"BotCache.Watch":                 {},
		"OrdersCache.ByExOrderID":        {"kraken", "OX-1"},
		"OrdersCache.Consume":            {fulloncache.ConsumeOptions{Exchange: "kraken"}, fulloncache.OrderHandler(nobody)},
		"OrdersCache.DeadOrders":         {"kraken"},
		"OrdersCache.Delete":             {"kraken", "1"},
		"OrdersCache.Get":                {"kraken", "1"},
		"OrdersCache.List":               {"kraken"},
		"OrdersCache.Open":               {"kraken"},
		"OrdersCache.PeekOpenOrders":     {"spot", 1},
		"OrdersCache.PopOpenOrder":       {"spot", wait},
		"OrdersCache.PurgeDead":          {"kraken", "1-0"},
		"OrdersCache.PushOpenOrder":      {"spot", "1"},
		"OrdersCache.PushOpenOrders":     {"spot", []string{"1"}},
		"OrdersCache.QueueLength":        {"spot"},
		"OrdersCache.QueueStats":         {"kraken"},
		"OrdersCache.RequeueDead":        {"kraken", "1-0"},
		"OrdersCache.Save":               {orderAt("1", 0)},
		"OrdersCache.Status":             {"kraken", "1"},
		"OrdersCache.Submit":             {orderAt("1", 0)},
		"OrdersCache.SubmitMany":         {[]fulloncache.Order{orderAt("1", 0)}},
		"OrdersCache.Update":             {orderAt("1", 0)},
		"OrdersCache.Watch":              {"kraken"},
		"ProcessCache.Active":            {fulloncache.ProcessFilter{}},
		"ProcessCache.CleanupStale":      {time.Hour},
		"ProcessCache.Component":         {fulloncache.ProcessBot, "bot_1"},
		"ProcessCache.Get":               {fulloncache.ProcessBot, "1"},
		"ProcessCache.History":           {fulloncache.ProcessBot, "bot_1", 1},
		"ProcessCache.List":              {fulloncache.ProcessFilter{}},
		"ProcessCache.Register":          {fulloncache.Process{Type: fulloncache.ProcessBot, Component: "bot_1"}},
		"ProcessCache.SystemHealth":      {},
		"ProcessCache.Watch":             {fulloncache.ProcessBot},
		"AccountCache.Account":           {desk},
		"AccountCache.Accounts":          {},
		"AccountCache.AllPositions":      {},
		"AccountCache.ApplyTrade":        {fillOf(1, fulloncache.Buy, "1", "1")},
		"AccountCache.ApplyTrades":       {[]fulloncache.Trade{fillOf(1, fulloncache.Buy, "1", "1")}},
		"AccountCache.Balance":           {desk, "USD"},
		"AccountCache.ClearPositions":    {desk},
		"AccountCache.DeleteAccount":     {desk},
		"AccountCache.DeletePosition":    {desk, btcUSD},
		"AccountCache.Position":          {desk, btcUSD},
		"AccountCache.Positions":         {desk},
		"AccountCache.ReplacePositions":  {desk, t0, []fulloncache.Position(nil)},
		"AccountCache.SetAccount":        {balancesOf(desk, 0, "USD", "1")},
		"AccountCache.Touch":             {desk, t0},
		"AccountCache.UpsertPosition":    {positionOf(0, fulloncache.Long, "1", "1")},
		"AccountCache.WaitPosition":      {desk, btcUSD, int64(0)},
		"AccountCache.WatchPositions":    {desk},
		"OHLCVCache.Append":              {minutes, barsOf(0, 1)},
		"OHLCVCache.Delete":              {minutes},
		"OHLCVCache.Exchanges":           {},
		"OHLCVCache.Last":                {minutes},
		"OHLCVCache.Latest":              {minutes, 1},
		"OHLCVCache.Len":                 {minutes},
		"OHLCVCache.Range":               {minutes, b0, b0},
		"OHLCVCache.Series":              {"kraken"},
		"OHLCVCache.Stream":              {minutes},
		"SymbolCache.Add":                {symbolOf(btc)},
		"SymbolCache.Delete":             {btc},
		"SymbolCache.Exists":             {btc},
		"SymbolCache.Get":                {btc},
		"SymbolCache.GetByID":            {int64(1), "BTC/USD"},
		"SymbolCache.Invalidate":         {"kraken"},
		"SymbolCache.InvalidateAll":      {},
		"SymbolCache.List":               {"kraken"},
		"SymbolCache.ListByID":           {int64(1)},
		"SymbolCache.Precision":          {btc},
		"SymbolCache.Refresh":            {"kraken"},
		"SymbolCache.Search":             {"btc"},
		"SymbolCache.Update":             {symbolOf(btc)},
		"SymbolCache.Upsert":             {[]fulloncache.Symbol{symbolOf(btc)}},
		"TickCache.All":                  {},
		"TickCache.Any":                  {"BTC/USD"},
		"TickCache.Beat":                 {"kraken"},
		"TickCache.Crawlers":             {},
		"TickCache.Delete":               {btc},
		"TickCache.DeleteCrawler":        {"kraken", "name"},
		"TickCache.DeleteExchange":       {"kraken"},
		"TickCache.DropDust":             {"BTC", dec("0.000001")},
		"TickCache.Exchanges":            {},
		"TickCache.Get":                  {btc},
		"TickCache.GetMany":              {[]fulloncache.Market{btc, eth}},
		"TickCache.List":                 {"kraken"},
		"TickCache.Mirror":               {"kraken"},
		"TickCache.Next":                 {btc},
		"TickCache.Price":                {"BTC/USD"},
		"TickCache.RoundPrice":           {btc, dec("1.5")},
		"TickCache.RoundSize":            {btc, dec("1.5")},
		"TickCache.Set":                  {tickOf(btc, "2", 1)},
		"TickCache.SetCrawler":           {fulloncache.TickCrawler{Exchange: "kraken", Name: "name", Config: []byte("{}")}},
		"TickCache.SetMany":              {[]fulloncache.Tick{tickOf(btc, "2", 1), tickOf(eth, "1", 1)}},
		"TickCache.Stream":               {btc},
		"TickCache.StreamExchange":       {"kraken"},
		"TickCache.Subscribe":            {btc},
		"TickCache.SubscribeExchange":    {"kraken"},
		"TickCache.Symbols":              {"kraken"},
		"TradesCache.DeleteStatuses":     {},
		"TradesCache.DeleteUserStatuses": {int64(7)},
		"TradesCache.Drain":              {btc, 1},
		"TradesCache.DrainUser":          {int64(7), "kraken", 1},
		"TradesCache.Len":                {btc},
		"TradesCache.LenUser":            {int64(7), "kraken"},
		"TradesCache.Peek":               {btc, 1},
		"TradesCache.PeekUser":           {int64(7), "kraken", 1},
		"TradesCache.PopUser":            {int64(7), "kraken", wait},
		"TradesCache.Push":               {tradeOf(btc, 1)},
		"TradesCache.PushMany":           {tradesOf(btc, 1, 3)},
		"TradesCache.PushManyUser":       {tradesOf(btc, 1, 3)},
		"TradesCache.PushUser":           {tradeOf(btc, 1)},
		"TradesCache.Status":             {"kraken"},
		"TradesCache.StatusKeys":         {},
		"TradesCache.Statuses":           {},
		"TradesCache.Stream":             {btc},
		"TradesCache.UpdateStatus":       {"kraken", t0},
		"TradesCache.UpdateStatuses":     {[]fulloncache.TradeStatus{{Exchange: "kraken", Time: t0}}},
		"TradesCache.UpdateUserStatuses": {[]fulloncache.UserTradeStatus{{UserID: 7, Time: t0}}},
		"TradesCache.UpdateUserStatus":   {int64(7), t0},
		"TradesCache.UserStatus":         {int64(7)},
		"TradesCache.UserStatusKeys":     {},
		"TradesCache.UserStatuses":       {},
	}
	got := make(map[string]error)
	for _, cache := range []any{
		c.Base, c.Exchanges, c.Symbols, c.Ticks, c.Orders, c.Trades, c.Bots, c.Processes, c.Accounts, c.OHLCV,
	} {
		v := reflect.ValueOf(cache)
		for i := range v.NumMethod() {
			method := v.Type().Method(i)
			if method.Type.NumIn() < 2 || method.Type.In(1) != reflect.TypeFor[context.Context]() {
				continue
			}
			name := v.Type().Elem().Name() + "." + method.Name
			args, known := arguments[name]
			if !known {
				t.Errorf("%s is new: say here how it is called", name)
				continue
			}
			in := []reflect.Value{reflect.ValueOf(ctx)}
			for _, a := range args {
				in = append(in, reflect.ValueOf(a))
			}
			got[name] = outcome(ctx, t, name, v.Method(i).Call(in))
		}
	}
	for name := range arguments {
		if _, called := got[name]; !called {
			t.Errorf("%s is gone: nothing was called", name)
		}
	}
	return got
}

// outcome is the error among what a method returned, or the first that an
// iterator or a channel yields.
func outcome(ctx context.Context, t *testing.T, name string, out []reflect.Value) error {
	t.Helper()
	switch first := out[0].Interface().(type) {
	case iter.Seq2[string, error]:
		return firstError(first)
	case iter.Seq2[fulloncache.Tick, error]:
		return firstError(first)
	case iter.Seq2[fulloncache.TickCrawler, error]:
		return firstError(first)
	case iter.Seq2[fulloncache.Update, error]:
		return firstError(first)
	case iter.Seq2[fulloncache.Order, error]:
		return firstError(first)
	case iter.Seq2[fulloncache.OrderUpdate, error]:
		return firstError(first)
	case iter.Seq2[fulloncache.Trade, error]:
		return firstError(first)
	case iter.Seq2[fulloncache.TradeUpdate, error]:
		return firstError(first)
	case iter.Seq2[fulloncache.BarUpdate, error]:
		return firstError(first)
	case iter.Seq2[fulloncache.Position, error]:
		return firstError(first)
	case iter.Seq2[fulloncache.PositionUpdate, error]:
		return firstError(first)
	case iter.Seq2[fulloncache.AccountBalances, error]:
		return firstError(first)
	case iter.Seq2[fulloncache.TradeStatus, error]:
		return firstError(first)
	case iter.Seq2[fulloncache.UserTradeStatus, error]:
		return firstError(first)
	case iter.Seq2[fulloncache.GlobalError, error]:
		return firstError(first)
	case iter.Seq2[fulloncache.Process, error]:
		return firstError(first)
	case iter.Seq2[fulloncache.ProcessRecord, error]:
		return firstError(first)
	case iter.Seq2[fulloncache.ProcessEvent, error]:
		return firstError(first)
	case iter.Seq2[fulloncache.DeadOrder, error]:
		return firstError(first)
	case iter.Seq2[fulloncache.Block, error]:
		return firstError(first)
	case iter.Seq2[fulloncache.BotStatus, error]:
		return firstError(first)
	case iter.Seq2[fulloncache.BotUpdate, error]:
		return firstError(first)
	case <-chan fulloncache.UpdateOrErr:
		select {
		case u, ok := <-first:
			if !ok {
				return errEnded
			}
			return u.Err
		case <-time.After(testenv.Patience):
			t.Errorf("%s: the channel stays silent", name)
			return nil
		}
	case *fulloncache.Mirror:
		if first != nil { // it is returned at once, Ready waits
			defer first.Close()
			return first.Ready(ctx)
		}
	}
	err, _ := out[len(out)-1].Interface().(error)
	return err
}

// errEnded is that of an iterator or channel that ends without an element.
var errEnded = errors.New("ended")

func firstError[T any](seq iter.Seq2[T, error]) error {
	for _, err := range seq {
		return err
	}
	return errEnded
}

// nobody handles no order.
func nobody(context.Context, *fulloncache.OrderDelivery) error { return errors.New("it was handled") }

// contextual knows precisions only for contexts that live. Rounding asks it and
// no server.
type contextual struct{}

func (contextual) Precision(ctx context.Context, _ fulloncache.Market) (fulloncache.Precision, error) {
	return fulloncache.Precision{}, ctx.Err()
}

func TestCancelledContextsAndClosedClientsEverywhere(t *testing.T) {
	t.Parallel()
	rec, w := memory(t).under()
	c := open(t, fulloncache.Config{
		URL: testenv.Redis(t).URL(), KeyPrefix: testenv.Prefix(t), Precision: contextual{},
		ExchangeStore: rec.exchanges, SymbolStore: rec.symbols,
	})
	must(t, c.Ticks.Set(testenv.Context(t), tickOf(btc, "1", 0)))
	cancelled, cancel := context.WithCancel(testenv.Context(t))
	cancel()
	check := func(ctx context.Context, want error, others map[string]error) {
		t.Helper()
		for name, err := range every(ctx, t, c) {
			want := want
			if other, ok := others[name]; ok {
				want = other
			}
			if !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", name, err, want)
			}
		}
	}
	// A stream's context ends the stream: that is no error.
	check(cancelled, context.Canceled, map[string]error{
		"OHLCVCache.Stream":           errEnded,
		"AccountCache.WatchPositions": errEnded, "OrdersCache.Watch": errEnded, "TradesCache.Stream": errEnded, "TickCache.Stream": errEnded, "TickCache.StreamExchange": errEnded,
		"TickCache.Subscribe": errEnded, "TickCache.SubscribeExchange": errEnded,
		"ProcessCache.Watch": errEnded, "BotCache.Watch": errEnded,
		"OrdersCache.Consume": nil, // to be stopped is no error
	})
	if tick, err := c.Ticks.Get(testenv.Context(t), btc); err != nil || !tick.Price.Equal(dec("1")) {
		t.Errorf("calls with an ended context did something: %v, %v", tick, err)
	}
	c.Close()
	check(testenv.Context(t), fulloncache.ErrClosed, map[string]error{"TickCache.RoundPrice": nil, "TickCache.RoundSize": nil})
	if w.calls() != 0 {
		t.Errorf("the record was asked %d times", w.calls())
	}
	c.Close()
}

func TestServerDownAtOpen(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	srv.Kill()
	c, err := fulloncache.New(testenv.Context(t), fulloncache.Config{URL: srv.URL(), Logger: quiet})
	var u *fulloncache.UnavailableError
	if c != nil || !errors.Is(err, fulloncache.ErrUnavailable) || !errors.As(err, &u) || !strings.Contains(err.Error(), srv.Addr()) {
		t.Errorf("got %v, %v", c, err)
	}
}

func TestWrongPasswordIsNotUnavailableAndNotShown(t *testing.T) {
	t.Parallel()
	srv := testenv.NewTLS(t, "bots")
	cfg := fulloncache.Config{
		URL: strings.Replace(srv.URL(), "redis://", "rediss://", 1), Username: srv.User, Password: "hunter2",
		TLSCA: srv.CA, TLSCert: srv.Cert, TLSKey: srv.Key, KeyPrefix: "bots", Logger: quiet,
	}
	c, err := fulloncache.New(testenv.Context(t), cfg)
	if c != nil || err == nil || errors.Is(err, fulloncache.ErrUnavailable) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v, %v", c, err)
	}
	cfg.Password = srv.Password
	c = open(t, cfg)
	must(t, c.Ticks.Set(testenv.Context(t), tickOf(btc, "1", 0)))
}

func TestOpenBreakerSaysWhenToTryAgain(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	var seen events
	c := open(t, fulloncache.Config{
		URL: srv.URL(), BreakerFailures: 2, BreakerCooldown: 200 * time.Millisecond, Hooks: []fulloncache.Hooks{seen.hook()},
	})
	must(t, c.Ticks.Set(ctx, tickOf(btc, "1", 0)))
	srv.Kill()
	testenv.Eventually(t, "open breaker", func() (bool, string) {
		_, err := c.Ticks.Get(ctx, btc)
		if !errors.Is(err, fulloncache.ErrUnavailable) || errors.Is(err, fulloncache.ErrNotFound) {
			t.Errorf("got %v", err)
		}
		var u *fulloncache.UnavailableError
		return errors.As(err, &u) && u.RetryAfter > 0 && u.RetryAfter <= 200*time.Millisecond, fmt.Sprint(err)
	})
	srv.Restart(t)
	testenv.Eventually(t, "answer", func() (bool, string) {
		_, err := c.Ticks.Get(ctx, btc)
		return errors.Is(err, fulloncache.ErrNotFound), fmt.Sprint(err)
	})
	for _, kind := range []fulloncache.EventKind{fulloncache.EventBreakerOpened, fulloncache.EventBreakerClosed, fulloncache.EventReconnected} {
		if seen.count(kind) == 0 {
			t.Errorf("no event %s", kind)
		}
	}
}
