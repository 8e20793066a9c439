package fulloncache

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"time"

	"github.com/fullon/fulloncache/internal/feed"
	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
)

// TradesCache hands trades from who sees them to who stores them: a list per
// market, and one per user and exchange. Nobody loses one: a batch that was
// drained comes back unless it is acknowledged.
//
//	_, err := c.Trades.PushMany(ctx, trades)     // a feed
//
//	batch, err := c.Trades.Drain(ctx, btc, 1000) // who stores them
//	if err != nil {
//		return err
//	}
//	if _, err := db.Trades.AddAll(ctx, batch.Trades); err != nil {
//		return errors.Join(err, batch.Return(ctx)) // or do nothing: they come back
//	}
//	return batch.Ack(ctx)
//
// Each list holds [Config].TradesCap trades at most, and as many again in flight:
// a push to a full list is refused with [ErrQueueFull], unless [DropOldest] says
// otherwise. Taking and acknowledging work also while the server's memory is
// full, when pushes are [ErrUnavailable].
//
// A trade that was accepted is delivered at least once. It may be delivered
// twice: after a crash between the taking and the Ack, after a batch's time was
// over while it was being stored, after a failover that forgot an Ack, and after
// a push whose outcome was unknown was made again without [Unique]. Store trades
// by the exchange's id, as the package orm does, and twice is once.
//
// What can lose a trade:
//
//   - a push that was not accepted: it returned an error. Push it again, with
//     Unique, until it does not;
//   - a server that loses what it had accepted. With "appendonly yes" a crash costs
//     up to a second, with "appendfsync always" nothing; a failover costs what
//     the replica had not got yet ("min-replicas-to-write" bounds it); eviction
//     costs lists, so "maxmemory-policy noeviction";
//   - DropOldest, which counts them;
//   - [TradesCache.PopUser], if the process or its connection dies while the
//     trade is on its way. DrainUser has no such gap;
//   - an Ack before the trades are stored.
type TradesCache struct {
	*observer
	kv      *kv.Client
	keys    keys.Space
	cap     string
	timeout time.Duration
	errors  errorQueue
	hub     feed.Hub[Market, tradeBurst]
}

func newTradesCache(cfg Config, db *kv.Client, space keys.Space, connection *observer) *TradesCache {
	c := &TradesCache{
		observer: newObserver("trades", cfg),
		kv:       db,
		keys:     space,
		cap:      strconv.Itoa(cfg.TradesCap),
		timeout:  cfg.TradesBatchTimeout,
		errors:   errorQueue{db, cfg.ErrorQueueCap},
	}
	c.hub = feed.NewHub(tradeSource{connector{db}, c}, conflateTrades, feedOptions(cfg, connection, "trades "))
	return c
}

func (c *TradesCache) stop() { c.hub.Close() }

// tradeList is one of the lists: of a market, or of a user's account.
type tradeList struct {
	name   string // for errors
	key    string
	symbol string // whose trades it holds; "" if any
	// What is numbered and told when trades are pushed; "" if nothing is.
	rev, channel, control string
}

// memberOf is what a trade is known by among those of the list: trades of several
// symbols, and both sides of one trade, may have the same id.
func (l *tradeList) memberOf(t *Trade) string {
	id := t.ExTradeID
	if t.ExOrderID != "" {
		id += "\x00" + t.ExOrderID
	}
	if l.symbol == "" {
		id = t.Symbol + "\x00" + id
	}
	return id
}

func (l *tradeList) keys() []string {
	return []string{l.key, keys.TradesTaken(l.key), keys.TradesDue(l.key), keys.TradesInfo(l.key)}
}

func (c *TradesCache) blame(ctx context.Context, l *tradeList, err error) error {
	all := []typedKey{
		{l.key, "list"}, {keys.TradesTaken(l.key), "hash"}, {keys.TradesDue(l.key), "zset"}, {keys.TradesInfo(l.key), "hash"},
		{keys.TradesSeen(l.key), "zset"},
	}
	if l.rev != "" {
		all = append(all, typedKey{l.rev, "string"})
	}
	return blame(ctx, c.kv, err, all...)
}

func (c *TradesCache) market(m Market) (*tradeList, error) {
	if err := m.Validate(); err != nil {
		return nil, err
	}
	return &tradeList{
		name: "trades of " + m.String(), key: c.keys.Trades(m.Exchange, m.Symbol), symbol: m.Symbol,
		rev: c.keys.TradeRev(m.Exchange), channel: c.keys.TradesChannel(m.Exchange, m.Symbol), control: c.keys.TradeRevChannel(m.Exchange),
	}, nil
}

func (c *TradesCache) user(user int64, exchange string) (*tradeList, error) {
	if err := validID("uid", user, 1); err != nil {
		return nil, err
	}
	if err := validName("exchange", exchange); err != nil {
		return nil, err
	}
	return &tradeList{name: fmt.Sprintf("trades of user %d at %s", user, printable(exchange)), key: c.keys.UserTrades(user, exchange)}, nil
}

// PushOption says how trades, or ids of orders, are pushed. See [DropOldest] and [Unique].
type PushOption struct {
	drop   bool
	window time.Duration
}

// DropOldest makes a push to a full list drop the oldest trades of it instead of
// being refused. [Pushed] counts them: they are lost.
func DropOldest() PushOption { return PushOption{drop: true} }

// Unique makes a push leave out the trades that were pushed, with this option,
// within the window (and are among as many last ones as the list may hold),
// acknowledged or not. A push whose outcome is unknown can then be made again. A
// trade is known by ExTradeID and, if it has one, ExOrderID: both sides of a trade
// between two orders of one user have the same ExTradeID. In a user's list its
// symbol counts too. All pushes to a list should name the same window, in whole
// milliseconds. Of ids of orders see [OrdersCache.PushOpenOrders].
func Unique(window time.Duration) PushOption { return PushOption{window: window} }

// pushOptions puts options together.
func pushOptions(opts []PushOption) (how PushOption, err error) {
	for _, o := range opts {
		how.drop = how.drop || o.drop
		if o.window != 0 {
			how.window = o.window
		}
	}
	if how.window < 0 || how.window%time.Millisecond != 0 {
		return how, fmt.Errorf("%w: window %s: want whole milliseconds", ErrInvalid, how.window)
	}
	return how, nil
}

// Pushed is what became of what was pushed.
type Pushed struct {
	Added      int `json:"added"`      // Added is how many were appended.
	Duplicates int `json:"duplicates"` // Duplicates is how many were known already, with [Unique].
	Dropped    int `json:"dropped"`    // Dropped is how many of the oldest were lost, with [DropOldest].
}

// Push appends a trade to its market's list and publishes it.
//
// It returns [ErrQueueFull] if the list is full; [ErrInvalid] if a field is
// unusable, or if the market's key is taken by trades of another symbol
// ("BTC/USD" and "BTCUSD" meet); [ErrUnavailable] if it is unknown whether the
// trade was appended: pushing it again may append it twice, but with [Unique].
func (c *TradesCache) Push(ctx context.Context, trade Trade, opts ...PushOption) (pushed Pushed, err error) {
	call := c.begin(ctx, "trades.push", trade.Market)
	defer func() { call.end(ctx, err) }()
	pushed, errs := c.push(ctx, []Trade{trade}, false, opts)
	return pushed, errs[0]
}

// PushMany appends trades as [TradesCache.Push] does, those of a market in the
// order given. Those of a market are appended 500 at a time, atomically; up to a
// thousand take one round trip, and some thousand more another. If some fail, it
// returns a [BatchError] with the error of each; those of other markets, and what
// came after them, may have been appended.
func (c *TradesCache) PushMany(ctx context.Context, trades []Trade, opts ...PushOption) (pushed Pushed, err error) {
	call := c.begin(ctx, "trades.push_many", Market{})
	defer func() { call.end(ctx, err) }()
	pushed, errs := c.push(ctx, trades, false, opts)
	return pushed, batchError(errs)
}

// PushUser appends a trade to the list of its user and exchange, as
// [TradesCache.Push] does to that of its market. UserID is required. It is not
// published.
func (c *TradesCache) PushUser(ctx context.Context, trade Trade, opts ...PushOption) (pushed Pushed, err error) {
	call := c.begin(ctx, "trades.push_user", trade.Market)
	defer func() { call.end(ctx, err) }()
	pushed, errs := c.push(ctx, []Trade{trade}, true, opts)
	return pushed, errs[0]
}

// PushManyUser appends trades to the lists of their users and exchanges, as
// [TradesCache.PushMany] does to those of their markets.
func (c *TradesCache) PushManyUser(ctx context.Context, trades []Trade, opts ...PushOption) (pushed Pushed, err error) {
	call := c.begin(ctx, "trades.push_many_user", Market{})
	defer func() { call.end(ctx, err) }()
	pushed, errs := c.push(ctx, trades, true, opts)
	return pushed, batchError(errs)
}

const (
	// batchTrades is how many trades one call of the script appends at most.
	batchTrades = 500
	// tradesAtOnce is how many trades are sent at once at most: a megabyte. The
	// first ones are fewer, so that the server need not wait for long.
	tradesAtOnce, tradesAtFirst = 4000, 1000
)

// push appends trades to the lists of their markets, or of their users, and
// returns the error of each.
func (c *TradesCache) push(ctx context.Context, trades []Trade, users bool, opts []PushOption) (pushed Pushed, errs []error) {
	errs = make([]error, len(trades))
	how, err := pushOptions(opts)
	if err != nil {
		for i := range errs {
			errs[i] = err
		}
		return pushed, errs
	}
	calls := c.pushCalls(trades, users, errs)
	// While the server takes some, the next are written.
	var sent []pushCall
	replies := make(chan []kv.Reply)
	collect := func() {
		if sent != nil {
			for i, reply := range <-replies {
				c.pushResult(ctx, sent[i], reply, &pushed, errs)
			}
		}
	}
	for most := tradesAtFirst; len(calls) > 0; most = min(2*most, tradesAtOnce) {
		var some []pushCall
		some, calls = cutCalls(calls, most)
		scripts := make([]kv.ScriptCall, len(some))
		for i, call := range some {
			scripts[i] = c.pushScript(call, trades, how)
			scripts[i].Whole = call.split && (i == 0 || some[i-1].list != call.list)
		}
		collect()
		sent = some
		go func() { replies <- c.kv.RunMulti(ctx, kv.TradesPush, scripts) }()
	}
	collect()
	return pushed, errs
}

// pushCall is a call of the script trades_push: trades, by their indexes, of a
// list, which are all for that list unless they are split.
type pushCall struct {
	list   *tradeList
	trades []int
	split  bool
}

// pushCalls sorts trades by their lists; what is wrong with those that cannot be
// pushed goes to errs.
func (c *TradesCache) pushCalls(trades []Trade, users bool, errs []error) (calls []pushCall) {
	type listID struct {
		market Market
		user   int64
	}
	var lists []*tradeList
	indexes := make(map[listID]int)
	parts := make([][]int, 0, 1) // of trades, by list
	for i := range trades {
		t := &trades[i]
		if _, errs[i] = t.invalid(); errs[i] != nil {
			continue
		}
		id := listID{market: t.Market}
		if users {
			id = listID{market: Market{Exchange: t.Exchange}, user: t.UserID}
		}
		at, known := indexes[id]
		if !known {
			var list *tradeList
			if users {
				list, errs[i] = c.user(t.UserID, t.Exchange)
			} else {
				list, errs[i] = c.market(t.Market)
			}
			if errs[i] != nil {
				continue
			}
			at = len(lists)
			indexes[id], lists, parts = at, append(lists, list), append(parts, nil)
		}
		parts[at] = append(parts[at], i)
	}
	for at, list := range lists {
		for some := range slices.Chunk(parts[at], batchTrades) {
			calls = append(calls, pushCall{list, some, len(some) < len(parts[at])})
		}
	}
	return calls
}

// cutCalls cuts the first calls off that push so many trades at most.
func cutCalls(calls []pushCall, most int) (first, rest []pushCall) {
	n := 0
	for n < len(calls) && len(calls[n].trades) <= most {
		most -= len(calls[n].trades)
		n++
	}
	return calls[:n], calls[n:]
}

func (c *TradesCache) pushScript(call pushCall, trades []Trade, how PushOption) kv.ScriptCall {
	l := call.list
	names := []string{l.key, keys.TradesInfo(l.key), keys.TradesSeen(l.key)}
	if l.rev != "" {
		names = append(names, l.rev)
	}
	drop, window := "", ""
	if how.drop {
		drop = "drop"
	}
	if how.window > 0 {
		window = strconv.FormatInt(how.window.Milliseconds(), 10)
	}
	args := make([]string, 0, 7+2*len(call.trades))
	args = append(args, c.cap, drop, window, l.symbol, c.kv.Publish(), l.channel, l.control)
	if window != "" {
		for _, i := range call.trades {
			args = append(args, l.memberOf(&trades[i]))
		}
	}
	lines, ends := make([]byte, 0, 320*len(call.trades)), make([]int, len(call.trades))
	for n, i := range call.trades {
		lines = trades[i].appendJSON(lines)
		ends[n] = len(lines)
	}
	return kv.ScriptCall{Keys: names, Args: appendParts(args, lines, ends)}
}

// pushResult reads what the script trades_push returned.
func (c *TradesCache) pushResult(ctx context.Context, call pushCall, reply kv.Reply, pushed *Pushed, errs []error) {
	fail := func(err error) {
		for _, i := range call.trades {
			errs[i] = err
		}
	}
	parts, err := replyParts(reply.Msg, reply.Err)
	if err != nil {
		fail(c.blame(ctx, call.list, err))
		return
	}
	if len(parts) == 2 {
		holder, _ := parts[1].ToString()
		fail(takenError(Market{Symbol: call.list.symbol}, call.list.key, holder))
		return
	}
	dropped, _ := parts[1].AsInt64()
	pushed.Dropped += int(dropped)
	codes, _ := parts[2].ToString()
	if codes == "" {
		pushed.Added += len(call.trades)
		return
	}
	for n, i := range call.trades {
		switch codes[n] {
		case 'a':
			pushed.Added++
		case 'd':
			pushed.Duplicates++
		default:
			errs[i] = fmt.Errorf("%s: %w: it holds %s trades", call.list.name, ErrQueueFull, c.cap)
		}
	}
}

// Peek yields the oldest n trades of a market's list, at most, and leaves them
// there. One that cannot be read yields its error with a Trade that carries only
// the market, and the listing goes on; if the list cannot be read, that error is
// the only element. Those in flight are not listed.
func (c *TradesCache) Peek(ctx context.Context, market Market, n int) iter.Seq2[Trade, error] {
	return func(yield func(Trade, error) bool) {
		var err error
		call := c.begin(ctx, "trades.peek", market)
		defer func() { call.end(ctx, err) }()
		list, err := c.market(market)
		if err == nil {
			err = c.peek(ctx, list, n, market, yield)
		} else {
			yield(Trade{Market: market}, err)
		}
	}
}

// PeekUser is [TradesCache.Peek] for the list of a user and an exchange.
func (c *TradesCache) PeekUser(ctx context.Context, user int64, exchange string, n int) iter.Seq2[Trade, error] {
	return func(yield func(Trade, error) bool) {
		var err error
		market := Market{Exchange: exchange}
		call := c.begin(ctx, "trades.peek_user", market)
		defer func() { call.end(ctx, err) }()
		list, err := c.user(user, exchange)
		if err == nil {
			err = c.peek(ctx, list, n, market, yield)
		} else {
			yield(Trade{Market: market}, err)
		}
	}
}

// peek yields trades; the error it returns is the last one.
func (c *TradesCache) peek(ctx context.Context, list *tradeList, n int, market Market, yield func(Trade, error) bool) (last error) {
	if n < 1 {
		last = fmt.Errorf("%w: peek at %d trades: want at least 1", ErrInvalid, n)
		yield(Trade{Market: market}, last)
		return last
	}
	_, _, elements, err := c.look(ctx, list, n)
	if err != nil {
		yield(Trade{Market: market}, err)
		return err
	}
	for _, text := range elements {
		t, err := decodeTrade(text)
		if err != nil {
			t, err = Trade{Market: market}, corruptTrade(list.key, text, err)
			last = err
		}
		if !yield(t, err) {
			break
		}
	}
	return last
}

// look runs the script trades_peek.
func (c *TradesCache) look(ctx context.Context, list *tradeList, n int) (waiting, inFlight int, elements []string, err error) {
	parts, err := replyParts(c.kv.Run(ctx, kv.TradesPeek, list.keys(), []string{strconv.Itoa(n), list.symbol}))
	if err != nil {
		return 0, 0, nil, c.blame(ctx, list, err)
	}
	many, _ := parts[0].AsInt64()
	flying, _ := parts[1].AsInt64()
	elements, err = parts[2].AsStrSlice()
	return int(many), int(flying), elements, err
}

// Len returns how many trades wait in a market's list, and how many are in
// flight.
func (c *TradesCache) Len(ctx context.Context, market Market) (waiting, inFlight int, err error) {
	call := c.begin(ctx, "trades.len", market)
	defer func() { call.end(ctx, err) }()
	list, err := c.market(market)
	if err != nil {
		return 0, 0, err
	}
	waiting, inFlight, _, err = c.look(ctx, list, 0)
	return waiting, inFlight, err
}

// LenUser is [TradesCache.Len] for the list of a user and an exchange.
func (c *TradesCache) LenUser(ctx context.Context, user int64, exchange string) (waiting, inFlight int, err error) {
	call := c.begin(ctx, "trades.len_user", Market{Exchange: exchange})
	defer func() { call.end(ctx, err) }()
	list, err := c.user(user, exchange)
	if err != nil {
		return 0, 0, err
	}
	waiting, inFlight, _, err = c.look(ctx, list, 0)
	return waiting, inFlight, err
}
