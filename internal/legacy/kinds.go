package legacy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fullon/fulloncache"
)

// kind is something that the source holds: in which keys, and how one of them is moved.
type kind struct {
	name string
	keys []keyed
}

// keyed are the keys that begin so or, if that does not end with a colon, the key.
type keyed struct {
	begin string
	move  func(ctx context.Context, t *tally, e element)
}

func (k keyed) match(key string) bool {
	return key == k.begin || strings.HasSuffix(k.begin, ":") && strings.HasPrefix(key, k.begin)
}

// tickers begins the keys that also tell how symbols are spelt.
const tickers = "tickers:"

// kinds are all of them, in the order in which they are moved.
var kinds = []kind{
	{"ticks", []keyed{{tickers, each(moveTick)}}},
	{"positions", []keyed{{"account_positions", each(movePositions)}}},
	{"accounts", []keyed{{"accounts", each(moveAccount)}}},
	{"orders", []keyed{{"order_status:", each(moveOrder)}}},
	{"new_orders", []keyed{{"new_orders:", moveQueue}}},
	{"trades", []keyed{{"trades:", moveTrades}}},
	{"user_trades", []keyed{{"user_trades:", moveUserTrades}}},
	{"trade_status", []keyed{{"TRADE:STATUS:", moveStatus}, {"USER_TRADE:STATUS:", moveUserStatus}}},
	{"bots", []keyed{{"bot_status", each(moveBot)}}},
	{"blocks", []keyed{{"block_exchange", each(moveBlock)}}},
	{"opening_positions", []keyed{{"opening_position", each(moveOpening)}}},
	{"bars", []keyed{{"ohlcv:", moveBars}}},
	{"processes", []keyed{{"process:data:", moveProcess}}},
}

// Kinds are the names of what can be moved.
func Kinds() (names []string) {
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// each moves the fields of a hash, one by one.
func each(move func(ctx context.Context, t *tally, key, field, value string) error) func(context.Context, *tally, element) {
	return func(ctx context.Context, t *tally, e element) {
		pairs, err := t.m.source.hash(ctx, e.key)
		if err != nil {
			t.one(ctx, e.key, err)
		}
		for _, pair := range pairs {
			if !t.one(ctx, e.key+" "+pair[0], move(ctx, t, e.key, pair[0], pair[1])) {
				return
			}
		}
	}
}

// rest is what comes behind the first part of a key.
func rest(key string) string {
	_, name, _ := strings.Cut(key, ":")
	return name
}

// unless returns newer if what the target has, whose time that is, need not be
// written over; err is that of asking for it.
func unless(has, is time.Time, err error) error {
	switch {
	case errors.Is(err, fulloncache.ErrNotFound):
		return nil
	case err != nil:
		return err
	case !has.Before(is):
		return newer
	}
	return nil
}

// account is whose an id of the source is.
func (m *Migration) account(id string) (fulloncache.Account, error) {
	a, ok := m.opt.Accounts[id]
	if !ok {
		return a, fmt.Errorf("nothing tells whose ex_id %q is: name it with --account %s=USER@EXCHANGE", id, id)
	}
	return a, nil
}

// exchange is the name of an exchange for which the source may have an id; beside that
// it may tell the name, or "".
func (m *Migration) exchange(name, told string) (string, error) {
	if _, err := strconv.ParseInt(name, 10, 64); err != nil {
		return name, nil
	}
	if told != "" {
		return told, nil
	}
	a, err := m.account(name)
	return a.Exchange, err
}

func moveTick(ctx context.Context, t *tally, key, symbol, text string) error {
	o, err := parse(text)
	if err != nil {
		return err
	}
	tick := fulloncache.Tick{
		Market: fulloncache.Market{Exchange: rest(key), Symbol: symbol},
		Price:  o.number("price"), Bid: o.offer("bid"), Ask: o.offer("ask"), Last: o.offer("last"), Volume: o.some("volume"),
		Time: o.when("time"),
	}
	if o.err != nil {
		return o.err
	}
	stored, err := t.m.to.Ticks.Get(ctx, tick.Market)
	if err := unless(stored.Time, tick.Time, err); err != nil {
		return err
	}
	return t.write(func() error { return t.m.to.Ticks.Set(ctx, tick) })
}

// moveOrder gives an order the id by which the source knows it: the exchange's, or
// its own before there is one. Its time is when the source wrote it last: the
// order's own is not kept there.
func moveOrder(ctx context.Context, t *tally, key, id, text string) error {
	o, err := parse(text)
	if err != nil {
		return err
	}
	exchange, err := t.m.exchange(rest(key), o.text("exchange"))
	if err != nil {
		return err
	}
	status, known := fulloncache.OrderStatus(o.text("status")).Canonical()
	if !known {
		return status.Validate()
	}
	order := fulloncache.Order{
		Market: fulloncache.Market{Exchange: exchange, Symbol: o.text("symbol")},
		ID:     id, ExOrderID: o.text("ex_order_id"),
		BotID: o.integer("bot_id"), UserID: o.integer("uid"), ExchangeID: o.integer("ex_id"), CatExchangeID: o.integer("cat_ex_id"),
		Type: o.text("order_type"), Side: fulloncache.Side(strings.ToLower(o.text("side"))),
		Volume: o.number("volume"), FinalVolume: o.some("final_volume"),
		Price: o.offer("price"), PLimit: o.offer("plimit"), Tick: o.offer("tick"), Leverage: o.offer("leverage"),
		Futures: o.flag("futures"), Status: status, Command: o.text("command"), Reason: o.text("reason"),
		Time: o.when("timestamp"),
	}
	if o.err != nil {
		return o.err
	}
	stored, err := t.m.to.Orders.Get(ctx, exchange, id)
	if err := unless(stored.Time, order.Time, err); err != nil {
		return err
	}
	return t.write(func() error { return t.m.to.Orders.Save(ctx, order) })
}

// moved counts records of a list that were found together.
func (t *tally) moved(ctx context.Context, key string, many int, pushed fulloncache.Pushed, err error) bool {
	t.found(many)
	t.report.Moved += pushed.Added
	if pushed.Duplicates > 0 {
		t.because(Skipped, key, before.Error(), pushed.Duplicates)
	}
	if left := many - pushed.Added - pushed.Duplicates; left > 0 {
		t.not(ctx, key, err, left)
	}
	return t.fatal == nil
}

// list reads a list, unless it is followed and has not changed since. One that is
// longer than most, if that is not 0, is refused.
func (t *tally) list(ctx context.Context, e element, most int, setting string) (list []string) {
	var end string
	var err error
	if t.m.follows {
		if end, err = t.m.source.end(ctx, e.key); err == nil && end == t.m.unchanged[e.key] {
			return nil
		}
	}
	if err == nil {
		list, err = t.m.source.list(ctx, e.key)
	}
	if err != nil {
		t.one(ctx, e.key, err)
		return nil
	}
	if most > 0 && len(list) > most {
		t.found(len(list))
		t.not(ctx, e.key, fmt.Errorf("it holds %d, and the target's may hold %d: raise %s", len(list), most, setting), len(list))
		return nil
	}
	t.m.unchanged[e.key] = end
	return list
}

func moveQueue(ctx context.Context, t *tally, e element) {
	ids := t.list(ctx, e, t.m.opt.OrdersCap, "CACHE_NEW_ORDERS_CAP")
	for some := range slices.Chunk(ids, 1000) {
		pushed, err := t.pushIDs(ctx, rest(e.key), some)
		if !errors.Is(err, fulloncache.ErrInvalid) {
			if !t.moved(ctx, e.key, len(some), pushed, err) {
				return
			}
			continue
		}
		// One that is unusable does not keep the others back.
		for i := range some {
			pushed, err := t.pushIDs(ctx, rest(e.key), some[i:i+1])
			if !t.moved(ctx, e.key, 1, pushed, err) {
				return
			}
		}
	}
}

func (t *tally) pushIDs(ctx context.Context, queue string, ids []string) (pushed fulloncache.Pushed, err error) {
	pushed.Added = len(ids)
	err = t.write(func() (err error) {
		pushed, err = t.m.to.Orders.PushOpenOrders(ctx, queue, ids, fulloncache.Unique(t.m.opt.Window))
		return err
	})
	return pushed, err
}

func moveTrades(ctx context.Context, t *tally, e element) {
	exchange, name, _ := strings.Cut(rest(e.key), ":")
	t.trades(ctx, e, t.m.to.Trades.PushMany, func(trade *fulloncache.Trade) (err error) {
		if strings.ReplaceAll(trade.Symbol, "/", "") != name {
			return fmt.Errorf("it is of %q, and in the list of %q", trade.Symbol, name)
		}
		trade.Exchange, err = t.m.exchange(exchange, "")
		return err
	})
}

func moveUserTrades(ctx context.Context, t *tally, e element) {
	user, exchange, _ := strings.Cut(rest(e.key), ":")
	t.trades(ctx, e, t.m.to.Trades.PushManyUser, func(trade *fulloncache.Trade) (err error) {
		if trade.UserID, err = userID(user); err == nil {
			trade.Exchange, err = t.m.exchange(exchange, "")
		}
		return err
	})
}

// userID reads the number of a user, before which there may be a word.
func userID(text string) (int64, error) {
	id, err := strconv.ParseInt(strings.TrimPrefix(text, "user_"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("user %q: want a number", text)
	}
	return id, nil
}

// trades moves a list of trades; whose says whose one is.
func (t *tally) trades(ctx context.Context, e element, push func(context.Context, []fulloncache.Trade, ...fulloncache.PushOption) (fulloncache.Pushed, error), whose func(*fulloncache.Trade) error) {
	texts := t.list(ctx, e, t.m.opt.TradesCap, "CACHE_TRADES_CAP")
	for some := range slices.Chunk(texts, 1000) {
		var trades []fulloncache.Trade
		for _, text := range some {
			trade, err := readTrade(text, whose)
			if err != nil {
				t.one(ctx, e.key, err)
				continue
			}
			trades = append(trades, trade)
		}
		if !t.pushTrades(ctx, e.key, trades, push) {
			return
		}
	}
}

func (t *tally) pushTrades(ctx context.Context, key string, trades []fulloncache.Trade, push func(context.Context, []fulloncache.Trade, ...fulloncache.PushOption) (fulloncache.Pushed, error)) bool {
	pushed := fulloncache.Pushed{Added: len(trades)}
	err := t.write(func() (err error) {
		pushed, err = push(ctx, trades, fulloncache.Unique(t.m.opt.Window))
		return err
	})
	var batch *fulloncache.BatchError
	if !errors.As(err, &batch) {
		return t.moved(ctx, key, len(trades), pushed, err)
	}
	t.moved(ctx, key, pushed.Added+pushed.Duplicates, pushed, nil)
	for _, err := range batch.Unwrap() {
		if !t.one(ctx, key, err) {
			return false
		}
	}
	return true
}

func readTrade(text string, whose func(*fulloncache.Trade) error) (trade fulloncache.Trade, err error) {
	o, err := parse(text)
	if err != nil {
		return trade, err
	}
	trade = fulloncache.Trade{
		Market: fulloncache.Market{Symbol: o.text("symbol")},
		ID:     o.integer("trade_id"), ExTradeID: o.text("ex_trade_id"), ExOrderID: o.text("ex_order_id"),
		UserID: o.integer("uid"), ExchangeID: o.integer("ex_id"),
		Type: o.text("order_type"), Side: fulloncache.Side(strings.ToLower(o.text("side"))),
		Volume: o.number("volume"), Price: o.number("price"), Cost: o.number("cost"), Fee: o.number("fee"),
		CurVolume: o.some("cur_volume"), CurAvgPrice: o.some("cur_avg_price"), CurAvgCost: o.some("cur_avg_cost"), CurFee: o.some("cur_fee"),
		ROI: o.some("roi"), ROIPct: o.some("roi_pct"), TotalFee: o.some("total_fee"), Leverage: o.some("leverage"),
		Time: o.when("time"),
	}
	if o.err != nil {
		return trade, o.err
	}
	if trade.ExTradeID == "" {
		// By nothing else would it be known that it was moved.
		return trade, errors.New("it has no ex_trade_id")
	}
	return trade, whose(&trade)
}

func moveStatus(ctx context.Context, t *tally, e element) {
	t.one(ctx, e.key, func() error {
		name, err := t.m.exchange(strings.TrimPrefix(e.key, "TRADE:STATUS:"), "")
		if err != nil {
			return err
		}
		return t.status(ctx, e.key,
			func() (time.Time, error) { return t.m.to.Trades.Status(ctx, name) },
			func(when time.Time) error { return t.m.to.Trades.UpdateStatus(ctx, name, when) })
	}())
}

func moveUserStatus(ctx context.Context, t *tally, e element) {
	t.one(ctx, e.key, func() error {
		user, err := userID(strings.TrimPrefix(e.key, "USER_TRADE:STATUS:"))
		if err != nil {
			return err
		}
		return t.status(ctx, e.key,
			func() (time.Time, error) { return t.m.to.Trades.UserStatus(ctx, user) },
			func(when time.Time) error { return t.m.to.Trades.UpdateUserStatus(ctx, user, when) })
	}())
}

// status moves a time, if it is later than what the target has.
func (t *tally) status(ctx context.Context, key string, get func() (time.Time, error), set func(time.Time) error) error {
	text, err := t.m.source.text(ctx, key)
	if err != nil {
		return err
	}
	when, err := readTime(text)
	if err != nil {
		return err
	}
	has, err := get()
	if err := unless(has, when, err); err != nil {
		return err
	}
	return t.write(func() error { return set(when) })
}

// movePositions moves all positions of an account or, if one of them cannot be
// read, none: what is not in the list would count as flat.
func movePositions(ctx context.Context, t *tally, _, id, text string) error {
	account, err := t.m.account(id)
	if err != nil {
		return err
	}
	o, err := parse(text)
	if err != nil {
		return err
	}
	asOf := o.when("timestamp")
	if o.err != nil {
		return o.err
	}
	var positions []fulloncache.Position
	for symbol := range o.fields {
		if symbol == "timestamp" {
			continue
		}
		d, ok := o.inner(symbol)
		if !ok {
			return fmt.Errorf("%s: it is no JSON object", symbol)
		}
		p := fulloncache.Position{
			Symbol: symbol, Side: fulloncache.Long,
			Volume: d.number("volume"), AvgPrice: d.number("price"), Cost: d.number("cost"), Fees: d.number("fee"),
		}
		if d.err != nil {
			return fmt.Errorf("%s: %w", symbol, d.err)
		}
		zero := fulloncache.Decimal{}
		switch p.Volume.Sign() {
		case 0:
			continue
		case -1:
			p.Side, p.Volume = fulloncache.Short, zero.Sub(p.Volume)
		}
		if p.Cost.Sign() < 0 {
			p.Cost = zero.Sub(p.Cost)
		}
		if p.AvgPrice.Sign() > 0 && p.Cost.Sign() > 0 {
			// The price is what is left when floats have been divided: the cost counts.
			p.AvgPrice = zero
		}
		positions = append(positions, p)
	}
	var has time.Time
	for p, err := range t.m.to.Accounts.Positions(ctx, account) {
		if err != nil && !errors.Is(err, fulloncache.ErrNotFound) {
			return err
		}
		if p.Time.After(has) {
			has = p.Time
		}
	}
	if !has.Before(asOf) {
		return newer
	}
	return t.write(func() error { return t.m.to.Accounts.ReplacePositions(ctx, account, asOf, positions) })
}

// moveAccount moves balances. Of a currency there is a number, or an object: what it
// has in all is its balance (or total), what can be used is available (or free).
func moveAccount(ctx context.Context, t *tally, _, id, text string) error {
	account, err := t.m.account(id)
	if err != nil {
		return err
	}
	o, err := parse(text)
	if err != nil {
		return err
	}
	balances := fulloncache.AccountBalances{Account: account, Time: o.when("date")}
	for currency := range o.fields {
		if currency == "date" {
			continue
		}
		b := fulloncache.Balance{Currency: currency}
		d, ok := o.inner(currency)
		if !ok {
			b.Free = o.number(currency)
			balances.Balances = append(balances.Balances, b)
			continue
		}
		total, free := d.first("balance", "total"), d.first("available", "free")
		switch {
		case d.err != nil:
			return fmt.Errorf("%s: %w", currency, d.err)
		case !total.Valid && !free.Valid:
			return fmt.Errorf("%s: it has none of balance, total, available and free", currency)
		case !free.Valid:
			b.Free = total.Decimal
		case !total.Valid:
			b.Free = free.Decimal
		default:
			b.Free, b.Used = free.Decimal, total.Decimal.Sub(free.Decimal)
		}
		balances.Balances = append(balances.Balances, b)
	}
	if o.err != nil {
		return o.err
	}
	stored, err := t.m.to.Accounts.Account(ctx, account)
	if err := unless(stored.Time, balances.Time, err); err != nil {
		return err
	}
	return t.write(func() error { return t.m.to.Accounts.SetAccount(ctx, balances) })
}

func moveBot(ctx context.Context, t *tally, _, bot, text string) error {
	var feeds map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &feeds); err != nil || feeds == nil {
		return fmt.Errorf("it is no JSON object: %w", err)
	}
	stored, err := t.m.to.Bots.Bot(ctx, bot)
	if err != nil && !errors.Is(err, fulloncache.ErrNotFound) {
		return err
	}
	for name, status := range feeds {
		has, ok := stored.Feeds[name]
		if !ok {
			continue
		}
		// One that does not say when it was written is not known to be newer.
		o, err := parse(string(status))
		is, terr := readTime(o.text("timestamp"))
		if err != nil || terr != nil || !has.Time.Before(is) {
			delete(feeds, name)
		}
	}
	if len(feeds) == 0 {
		return newer
	}
	return t.write(func() error { return t.m.to.Bots.UpdateBot(ctx, bot, feeds) })
}

const unbridged skip = "locks are not bridged while both run: move whole markets"

// block is what blocks and marks of opening positions have in common.
func (t *tally) block(ctx context.Context, field, bot string, ttl time.Duration,
	held func(context.Context, fulloncache.Market) (fulloncache.Block, bool, error),
	take func(context.Context, fulloncache.Market, string, fulloncache.BlockOptions) (fulloncache.Block, error),
) error {
	if t.m.follows {
		return unbridged
	}
	exchange, symbol, _ := strings.Cut(field, ":")
	exchange, err := t.m.exchange(exchange, "")
	if err != nil {
		return err
	}
	market := fulloncache.Market{Exchange: exchange, Symbol: symbol}
	has, ok, err := held(ctx, market)
	switch {
	case err != nil:
		return err
	case ok && has.Holder == bot:
		return there
	case ok:
		return skip("somebody else has it in the target")
	}
	return t.write(func() error {
		_, err := take(ctx, market, bot, fulloncache.BlockOptions{TTL: ttl})
		return err
	})
}

func moveBlock(ctx context.Context, t *tally, _, field, bot string) error {
	return t.block(ctx, field, bot, t.m.opt.BlockTTL, t.m.to.Bots.IsBlocked, t.m.to.Bots.Block)
}

// moveOpening moves a mark, whose value is the bot and when it was made: one that is
// old is over.
func moveOpening(ctx context.Context, t *tally, _, field, value string) error {
	bot, since, _ := strings.Cut(value, ":")
	when, err := readTime(since)
	if err != nil {
		return err
	}
	left := t.m.opt.BlockTTL - time.Since(when).Truncate(time.Millisecond)
	if left <= 0 {
		return skip("its time is over")
	}
	return t.block(ctx, field, bot, min(left, t.m.opt.BlockTTL), t.m.to.Bots.IsOpeningPosition, t.m.to.Bots.MarkOpeningPosition)
}

// moveProcess shows a process of the source for as long as it is followed. Else it is
// left where it is: a process is what tells that it is alive.
func moveProcess(ctx context.Context, t *tally, e element) {
	t.one(ctx, e.key, func() error {
		if !t.m.follows {
			return skip("a process registers by itself; --follow shows those of the source meanwhile")
		}
		text, err := t.m.source.text(ctx, e.key)
		if err != nil {
			return err
		}
		o, err := parse(text)
		if err != nil {
			return err
		}
		heard := o.when("heartbeat")
		if o.err != nil {
			return o.err
		}
		params, _ := o.inner("params")
		p := fulloncache.Process{
			Type: fulloncache.ProcessType(o.text("process_type")), Component: o.text("component"), ID: o.text("process_id"),
			Status: fulloncache.ProcessStatus(o.text("status")), Message: o.text("message"), Params: make(map[string]string, len(params.fields)),
		}
		for name, v := range params.fields {
			p.Params[name] = fmt.Sprint(v)
		}
		shown := t.m.shown[e.key]
		gone := time.Since(heard) > silence || p.Status == fulloncache.ProcessStopped
		switch {
		case gone && shown == nil:
			return skip("it is not alive")
		case gone:
			delete(t.m.shown, e.key)
			return shown.handle.Stop(ctx, p.Message)
		case shown == nil:
			return t.write(func() error {
				h, err := t.m.to.Processes.Register(ctx, p)
				if err == nil {
					t.m.shown[e.key] = &shownProcess{h, p}
				}
				return err
			})
		case shown.told.Status == p.Status && shown.told.Message == p.Message && maps.Equal(shown.told.Params, p.Params):
			return there
		}
		err = shown.handle.Update(ctx, p.Status, p.Message, p.Params)
		if err == nil {
			shown.told = p
		}
		return err
	}())
}

// shownProcess is a process of the source that the target shows, and what it told last.
type shownProcess struct {
	handle *fulloncache.ProcessHandle
	told   fulloncache.Process
}

// silence is after what time a process of the source counts as dead there.
const silence = 5 * time.Minute
