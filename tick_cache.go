package fulloncache

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/feed"
	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
)

// TickCache holds the newest tick of every market, and tells everybody who
// follows one when it changes.
//
//	err := c.Ticks.Set(ctx, tick)                                    // feeds write
//	tick, err := c.Ticks.Get(ctx, btc, fulloncache.MaxAge(2*time.Second)) // bots read
//	for u, err := range c.Ticks.Stream(ctx, btc) { … }               // or follow
//	m, err := c.Ticks.Mirror(ctx, "kraken")                          // or keep a view in memory
//
// Reads return [ErrNotFound] if there is no tick, [ErrStale] if it is older than
// allowed, [ErrCorrupt] if what is stored is not a tick, and [ErrUnavailable] if
// Redis cannot answer: an unknown price never looks like an absent one.
type TickCache struct {
	*observer
	kv         *kv.Client
	keys       keys.Space
	now        func() time.Time
	tolerance  time.Duration
	tolerated  string // the same in microseconds
	precision  PrecisionSource
	quotes     map[string]int // decimals by currency, in capitals
	dustLimit  int
	stablecoin string
	crawlers   kv.Near[[]TickCrawler]
	hub        feed.Hub[Market, Tick]

	mu      sync.Mutex
	writers map[string]*tickWriter // by exchange
}

func newTickCache(cfg Config, db *kv.Client, space keys.Space, connection *observer) *TickCache {
	c := &TickCache{
		observer:   newObserver("tick", cfg),
		kv:         db,
		keys:       space,
		now:        cfg.Now,
		tolerance:  cfg.ClockTolerance,
		tolerated:  strconv.FormatInt(cfg.ClockTolerance.Microseconds(), 10),
		precision:  cfg.Precision,
		quotes:     make(map[string]int, len(cfg.QuoteDecimals)),
		dustLimit:  cfg.DustLimit,
		stablecoin: strings.ToUpper(cfg.Stablecoin),
		crawlers:   kv.NewNear(db, "tick_crawlers", cfg.NearMaxEntries, readCrawlers),
		writers:    make(map[string]*tickWriter),
	}
	for currency, places := range cfg.QuoteDecimals {
		c.quotes[strings.ToUpper(currency)] = places
	}
	c.hub = feed.NewHub(tickSource{connector{db}, c}, nil, feedOptions(cfg, connection, ""))
	return c
}

// feedOptions are those of a feed whose exchanges are called so in events.
func feedOptions(cfg Config, connection *observer, kind string) feed.Options {
	return feed.Options{
		Heartbeat: cfg.FeedHeartbeat,
		Buffer:    cfg.StreamBuffer,
		Closed:    ErrClosed,
		Now:       cfg.Now,
		OnState: func(exchange string, err error) {
			if err != nil {
				connection.event(EventFeedDisconnected, kind+exchange, err)
				return
			}
			connection.event(EventFeedConnected, kind+exchange, nil)
		},
	}
}

func (c *TickCache) stop() { c.hub.Close() }

// Set stores a tick, unless a newer one is stored, and publishes it, in one
// atomic round trip; calls at the same time share one. A tick of the same time
// replaces the stored one.
//
// It returns [ErrOutdated] if a newer tick is stored; [ErrInvalid] if a field is
// unusable, if the time is further ahead of the server's clock than
// [Config].ClockTolerance (a tick in milliseconds read as seconds would block
// its market for ever), or if the market's key is taken by another symbol
// ("BTC/USD" and "BTCUSD" meet); [ErrUnavailable] if it is unknown whether the
// tick was stored. Setting it again is always safe.
func (c *TickCache) Set(ctx context.Context, tick Tick) (err error) {
	call := c.begin(ctx, "tick.set", tick.Market)
	defer func() { call.end(ctx, err) }()
	if err := tick.Validate(); err != nil {
		return err
	}
	return c.writer(tick.Exchange).set(ctx, &tick)
}

// SetMany stores ticks as [TickCache.Set] does, each by itself, in one round trip
// per 500 of an exchange. Ticks of one exchange are stored in the order given.
// If some fail, it returns a [BatchError] with the error of each.
func (c *TickCache) SetMany(ctx context.Context, ticks []Tick) (err error) {
	call := c.begin(ctx, "tick.set_many", Market{})
	defer func() { call.end(ctx, err) }()
	errs := make([]error, len(ticks))
	indexes := make(map[string][]int)
	for i := range ticks {
		if errs[i] = ticks[i].Validate(); errs[i] == nil {
			indexes[ticks[i].Exchange] = append(indexes[ticks[i].Exchange], i)
		}
	}
	var (
		batches [][]int // of indexes, each of one exchange
		calls   []kv.ScriptCall
	)
	for exchange, all := range indexes {
		w := c.writer(exchange)
		for some := range slices.Chunk(all, batchTicks) {
			batch := make([]*Tick, len(some))
			for i, at := range some {
				batch[i] = &ticks[at]
			}
			batches = append(batches, some)
			calls = append(calls, w.call(batch))
		}
	}
	for i, reply := range c.kv.RunMulti(ctx, kv.TickSet, calls) {
		batch := batches[i]
		w := c.writer(ticks[batch[0]].Exchange)
		w.results(ctx, reply, len(batch), func(n int, result rueidis.RedisMessage, err error) (created bool) {
			created, errs[batch[n]] = c.setResult(&ticks[batch[n]], result, err)
			return created
		})
	}
	return batchError(errs)
}

// setResult reads what the script tick_set returned of a tick.
func (c *TickCache) setResult(tick *Tick, result rueidis.RedisMessage, err error) (created bool, _ error) {
	if err == nil && result.IsInt64() {
		n, err := result.AsInt64()
		return n == 1, err
	}
	key := c.keys.Ticker(tick.Exchange, tick.Symbol)
	if err != nil {
		return false, err
	}
	switch status, detail := verdict(result); status {
	case 2:
		return false, fmt.Errorf("tick %s of %s: %w: of %s", tick.Market, formatTime(tick.Time), ErrOutdated, detail)
	case 3:
		return false, takenError(tick.Market, key, detail)
	case 4:
		return false, fmt.Errorf("%w: tick %s: time %s is more than %s ahead of the server's clock, %s", ErrInvalid, tick.Market, formatTime(tick.Time), c.tolerance, detail)
	default:
		return false, &CorruptError{Key: key, Err: errors.New(detail)}
	}
}

// verdict reads a number and a text that a script returned.
func verdict(reply rueidis.RedisMessage) (status int64, detail string) {
	if parts, err := reply.ToArray(); err == nil && len(parts) == 2 {
		status, _ = parts[0].AsInt64()
		detail, _ = parts[1].ToString()
	}
	return status, detail
}

// blame names the key that made a script fail.
func (c *TickCache) blame(ctx context.Context, exchange string, err error) error {
	return blame(ctx, c.kv, err,
		typedKey{c.keys.TickerRev(exchange), "string"}, typedKey{c.keys.TickerSymbols(exchange), "set"}, typedKey{c.keys.Exchanges(), "set"})
}

// takenError says that two symbols meet in one key.
func takenError(m Market, key, holder string) error {
	return fmt.Errorf("%w: symbol %q cannot be stored beside %q: both have the key %q", ErrInvalid, m.Symbol, holder, key)
}

// Beat tells that an exchange's feed is alive though no market moved. Reads with
// [FeedAlive] then accept older prices. A feed calls it every few seconds; a
// tick is a sign of life too.
func (c *TickCache) Beat(ctx context.Context, exchange string) (err error) {
	call := c.begin(ctx, "tick.beat", Market{Exchange: exchange})
	defer func() { call.end(ctx, err) }()
	if err := validName("exchange", exchange); err != nil {
		return err
	}
	key := c.keys.TickerBeat(exchange)
	_, err = c.kv.Run(ctx, kv.TickBeat, []string{key}, []string{
		beatTTLText, c.kv.Publish(), c.keys.BeatChannel(exchange),
	})
	return redisError(key, err)
}

// Delete deletes the tick of a market, atomically with its entry in the index,
// and tells those who follow it. It returns [ErrNotFound] if there was none. A
// corrupt ticker is deleted too.
func (c *TickCache) Delete(ctx context.Context, market Market) (err error) {
	call := c.begin(ctx, "tick.delete", market)
	defer func() { call.end(ctx, err) }()
	if err := market.Validate(); err != nil {
		return err
	}
	del := c.deleteCall(market)
	reply, err := c.kv.Run(ctx, kv.TickDelete, del.Keys, del.Args)
	left, err := c.deleteResult(ctx, market, reply, err)
	if err == nil && left == 0 {
		err = c.unindex(ctx, market.Exchange)
	}
	return err
}

// DeleteExchange deletes all ticks of an exchange, each as [TickCache.Delete]
// does, and its feed's sign of life. It returns how many ticks it deleted. A
// running feed writes new ones, and all is as before.
func (c *TickCache) DeleteExchange(ctx context.Context, exchange string) (deleted int, err error) {
	call := c.begin(ctx, "tick.delete_exchange", Market{Exchange: exchange})
	defer func() { call.end(ctx, err) }()
	symbols, err := c.symbols(ctx, exchange)
	if err != nil {
		return 0, err
	}
	calls := make([]kv.ScriptCall, len(symbols))
	for i, s := range symbols {
		calls[i] = c.deleteCall(Market{Exchange: exchange, Symbol: s})
	}
	var errs []error
	for i, r := range c.kv.RunMulti(ctx, kv.TickDelete, calls) {
		switch _, err := c.deleteResult(ctx, Market{Exchange: exchange, Symbol: symbols[i]}, r.Msg, r.Err); {
		case err == nil:
			deleted++
		case !errors.Is(err, ErrNotFound):
			errs = append(errs, err)
		}
	}
	beat := c.keys.TickerBeat(exchange)
	_, err = c.kv.Do(ctx, c.kv.B().Del().Key(beat).Build())
	if err = errors.Join(append(errs, err)...); err == nil {
		err = c.unindex(ctx, exchange)
	}
	return deleted, err
}

func (c *TickCache) deleteCall(m Market) kv.ScriptCall {
	names := []string{c.keys.Ticker(m.Exchange, m.Symbol), c.keys.TickerSymbols(m.Exchange), c.keys.TickerRev(m.Exchange)}
	if !c.kv.Cluster() {
		names = append(names, c.keys.Exchanges())
	}
	return kv.ScriptCall{Keys: names, Args: []string{
		c.kv.Publish(),
		c.keys.TickerChannel(m.Exchange, m.Symbol), c.keys.ExchangeChannel(m.Exchange), c.keys.BeatChannel(m.Exchange),
		m.Exchange, m.Symbol,
	}}
}

// deleteResult reads what the script tick_delete returned; left is how many
// ticks the exchange still has.
func (c *TickCache) deleteResult(ctx context.Context, m Market, reply rueidis.RedisMessage, err error) (left int64, _ error) {
	if err != nil {
		return 0, c.blame(ctx, m.Exchange, err)
	}
	switch status, detail := verdict(reply); status {
	case 1:
		return strconv.ParseInt(detail, 10, 64)
	case 2:
		return 0, fmt.Errorf("tick %s: %w", m, ErrNotFound)
	default:
		return 0, fmt.Errorf("tick %s: %w: the key holds %q", m, ErrNotFound, detail)
	}
}

// unindex takes an exchange without ticks out of the index, in a cluster, where
// the scripts cannot. A tick that is stored meanwhile puts it back.
func (c *TickCache) unindex(ctx context.Context, exchange string) error {
	c.writer(exchange).forget()
	if !c.kv.Cluster() {
		return nil
	}
	key := c.keys.Exchanges()
	_, err := c.kv.Do(ctx, c.kv.B().Srem().Key(key).Member(exchange).Build())
	return redisError(key, err)
}

// ReadOption says what a read accepts. See [MaxAge], [FeedAlive] and [Prefer].
type ReadOption struct {
	maxAge    time.Duration
	feedAlive time.Duration
	prefer    []string
}

// MaxAge makes a read return a [StaleError] for a tick whose time is longer ago.
// Ages are computed with this machine's clock: [BaseCache.Health] tells how far
// it is from the server's. The default is any age.
func MaxAge(d time.Duration) ReadOption { return ReadOption{maxAge: d} }

// FeedAlive makes a read accept a tick older than [MaxAge] while its exchange's
// feed gave a sign of life within d: a quiet market is not a dead feed.
func FeedAlive(d time.Duration) ReadOption { return ReadOption{feedAlive: d} }

// Prefer makes [TickCache.Any] and [TickCache.Price] ask these exchanges only,
// and take the first whose tick is fresh enough.
func Prefer(exchanges ...string) ReadOption { return ReadOption{prefer: exchanges} }

// reading is what the options of a read amount to.
func reading(opts []ReadOption) (r ReadOption) {
	for _, o := range opts {
		if o.maxAge != 0 {
			r.maxAge = o.maxAge
		}
		if o.feedAlive != 0 {
			r.feedAlive = o.feedAlive
		}
		if o.prefer != nil {
			r.prefer = o.prefer
		}
	}
	return r
}

// check returns a StaleError unless the tick is fresh enough. heard is the feed's
// last sign of life, zero if there is none.
func (r ReadOption) check(t *Tick, now, heard time.Time) error {
	if r.maxAge == 0 {
		return nil
	}
	age := t.Age(now)
	if age <= r.maxAge {
		return nil
	}
	feedAge := time.Duration(-1)
	if !heard.IsZero() {
		feedAge = max(now.Sub(heard), 0)
		if r.feedAlive > 0 && feedAge <= r.feedAlive {
			return nil
		}
	}
	return &StaleError{Market: t.Market, Age: age, MaxAge: r.maxAge, FeedAge: feedAge, FeedMaxAge: r.feedAlive}
}

// Get returns the newest tick of a market, in one round trip. It returns
// [ErrNotFound], [ErrStale], [ErrCorrupt] or [ErrUnavailable].
func (c *TickCache) Get(ctx context.Context, market Market, opts ...ReadOption) (tick Tick, err error) {
	call := c.begin(ctx, "tick.get", market)
	defer func() { call.end(ctx, err) }()
	if err := market.Validate(); err != nil {
		return tick, err
	}
	want := reading(opts)
	if want.feedAlive == 0 {
		reply, err := c.kv.Do(ctx, c.getCommand(market))
		return c.fresh(market, kv.Reply{Msg: reply, Err: err}, want, time.Time{})
	}
	replies := c.kv.DoMulti(ctx, []rueidis.Completed{
		c.getCommand(market), c.kv.B().Get().Key(c.keys.TickerBeat(market.Exchange)).Build(),
	})
	heard, err := c.heard(market.Exchange, replies[1])
	if err != nil {
		return tick, err
	}
	return c.fresh(market, replies[0], want, heard)
}

func (c *TickCache) getCommand(m Market) rueidis.Completed {
	return c.kv.B().Hmget().Key(c.keys.Ticker(m.Exchange, m.Symbol)).Field(tickFields[:]...).Build()
}

// heard reads a feed's sign of life; zero if there is none.
func (c *TickCache) heard(exchange string, r kv.Reply) (time.Time, error) {
	key := c.keys.TickerBeat(exchange)
	if kv.IsNil(r.Err) {
		return time.Time{}, nil
	}
	if r.Err != nil {
		return time.Time{}, redisError(key, r.Err)
	}
	text, _ := r.Msg.ToString()
	t, err := parseTime(text)
	if err != nil {
		return t, &CorruptError{Key: key, Err: err}
	}
	return t, nil
}

// stored reads the reply to getCommand. A key that another symbol holds answers
// for that one alone.
func (c *TickCache) stored(m Market, r kv.Reply) (storedTick, error) {
	key := c.keys.Ticker(m.Exchange, m.Symbol)
	if r.Err != nil {
		return storedTick{}, redisError(key, r.Err)
	}
	s, err := readTick(key, r.Msg)
	switch {
	case errors.Is(err, ErrNotFound):
		return storedTick{}, fmt.Errorf("tick %s: %w", m, err)
	case err == nil && s.Symbol != m.Symbol:
		return storedTick{}, fmt.Errorf("tick %s: %w: the key holds %q", m, ErrNotFound, s.Symbol)
	case err == nil && s.Exchange != m.Exchange:
		return storedTick{}, &CorruptError{Key: key, Field: "exchange", Err: fmt.Errorf("%q, want %q", s.Exchange, m.Exchange)}
	}
	return s, err
}

// fresh reads the reply to getCommand and checks the age.
func (c *TickCache) fresh(m Market, r kv.Reply, want ReadOption, heard time.Time) (Tick, error) {
	s, err := c.stored(m, r)
	if err != nil {
		return Tick{}, err
	}
	if err := want.check(&s.Tick, c.now(), heard); err != nil {
		return Tick{}, err
	}
	return s.Tick, nil
}

// GetMany reads the ticks of many markets in one round trip per 1,000. It yields one
// element per market, in the order given: its tick, or its error with a Tick
// that carries only the market.
func (c *TickCache) GetMany(ctx context.Context, markets []Market, opts ...ReadOption) iter.Seq2[Tick, error] {
	return func(yield func(Tick, error) bool) {
		var err error
		call := c.begin(ctx, "tick.get_many", Market{})
		defer func() { call.end(ctx, err) }()
		err = c.getMany(ctx, markets, reading(opts), yield)
	}
}

// getMany yields the ticks of markets; the error it returns is the last one.
func (c *TickCache) getMany(ctx context.Context, markets []Market, want ReadOption, yield func(Tick, error) bool) (last error) {
	beats := make(map[string]time.Time)
	for some := range slices.Chunk(markets, kv.Pipelined) {
		var cmds []rueidis.Completed
		var exchanges []string
		invalid := make(map[int]error)
		for i, m := range some {
			if err := m.Validate(); err != nil {
				invalid[i] = err
				continue
			}
			cmds = append(cmds, c.getCommand(m))
			if _, known := beats[m.Exchange]; !known && want.feedAlive > 0 {
				beats[m.Exchange] = time.Time{}
				exchanges = append(exchanges, m.Exchange)
			}
		}
		for _, e := range exchanges {
			cmds = append(cmds, c.kv.B().Get().Key(c.keys.TickerBeat(e)).Build())
		}
		replies := c.kv.DoMulti(ctx, cmds)
		ticks := len(replies) - len(exchanges)
		for i, e := range exchanges {
			// Of a feed whose sign of life cannot be read, none is known.
			heard, err := c.heard(e, replies[ticks+i])
			if err != nil {
				last = err
			}
			beats[e] = heard
		}
		for i, m := range some {
			err := invalid[i]
			tick := Tick{Market: m}
			if err == nil {
				var t Tick
				t, err = c.fresh(m, replies[0], want, beats[m.Exchange])
				replies = replies[1:]
				if err == nil {
					tick = t
				}
			}
			if err != nil {
				last = err
			}
			if !yield(tick, err) {
				return last
			}
		}
	}
	return last
}

// List yields the ticks of an exchange, in the order of their symbols, in two
// round trips (more beyond 1,000). A tick that cannot be used yields its error
// with a Tick that carries only the market, and the listing goes on; if the
// index cannot be read, that error is the only element. It is not a snapshot:
// ticks may change meanwhile.
func (c *TickCache) List(ctx context.Context, exchange string, opts ...ReadOption) iter.Seq2[Tick, error] {
	return func(yield func(Tick, error) bool) {
		var err error
		call := c.begin(ctx, "tick.list", Market{Exchange: exchange})
		defer func() { call.end(ctx, err) }()
		_, err = c.list(ctx, exchange, reading(opts), yield)
	}
}

// list yields the ticks of an exchange; it reports whether yield wants more.
func (c *TickCache) list(ctx context.Context, exchange string, want ReadOption, yield func(Tick, error) bool) (more bool, err error) {
	symbols, err := c.symbols(ctx, exchange)
	if err != nil {
		return yield(Tick{Market: Market{Exchange: exchange}}, err), err
	}
	more = true
	err = c.getMany(ctx, marketsOf(exchange, symbols), want, func(t Tick, err error) bool {
		if errors.Is(err, ErrNotFound) {
			return true // deleted since the index was read
		}
		more = yield(t, err)
		return more
	})
	return more, err
}

func marketsOf(exchange string, symbols []string) []Market {
	markets := make([]Market, len(symbols))
	for i, s := range symbols {
		markets[i] = Market{Exchange: exchange, Symbol: s}
	}
	return markets
}

// All yields the ticks of all exchanges, as [TickCache.List] does for one.
func (c *TickCache) All(ctx context.Context, opts ...ReadOption) iter.Seq2[Tick, error] {
	return func(yield func(Tick, error) bool) {
		var err error
		call := c.begin(ctx, "tick.all", Market{})
		defer func() { call.end(ctx, err) }()
		exchanges, err := c.exchanges(ctx)
		if err != nil {
			yield(Tick{}, err)
			return
		}
		for _, exchange := range exchanges {
			more, lerr := c.list(ctx, exchange, reading(opts), yield)
			if lerr != nil {
				err = lerr
			}
			if !more {
				return
			}
		}
	}
}

// Any returns the freshest tick of a symbol among all exchanges or, with
// [Prefer], that of the first exchange named whose tick is fresh enough. It
// returns [ErrNotFound] if no exchange has one, and if none can be used the
// errors of all. It takes two round trips, one with Prefer.
func (c *TickCache) Any(ctx context.Context, symbol string, opts ...ReadOption) (tick Tick, err error) {
	call := c.begin(ctx, "tick.any", Market{Symbol: symbol})
	defer func() { call.end(ctx, err) }()
	return c.any(ctx, symbol, reading(opts))
}

// Price is [TickCache.Any], the price alone.
func (c *TickCache) Price(ctx context.Context, symbol string, opts ...ReadOption) (price Decimal, err error) {
	call := c.begin(ctx, "tick.price", Market{Symbol: symbol})
	defer func() { call.end(ctx, err) }()
	tick, err := c.any(ctx, symbol, reading(opts))
	return tick.Price, err
}

func (c *TickCache) any(ctx context.Context, symbol string, want ReadOption) (Tick, error) {
	if err := validName("symbol", symbol); err != nil {
		return Tick{}, err
	}
	exchanges := want.prefer
	if exchanges == nil {
		var err error
		if exchanges, err = c.exchanges(ctx); err != nil {
			return Tick{}, err
		}
	}
	markets := make([]Market, len(exchanges))
	for i, e := range exchanges {
		markets[i] = Market{Exchange: e, Symbol: symbol}
	}
	var (
		best Tick
		errs []error
	)
	_ = c.getMany(ctx, markets, want, func(t Tick, err error) bool {
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			errs = append(errs, err)
		case best.Time.IsZero() || t.Time.After(best.Time):
			best = t
			return want.prefer == nil
		}
		return true
	})
	switch {
	case !best.Time.IsZero():
		return best, nil
	case len(errs) > 0:
		return Tick{}, errors.Join(errs...)
	}
	return Tick{}, fmt.Errorf("tick of %s at any of %d exchanges: %w", printable(symbol), len(exchanges), ErrNotFound)
}

// Exchanges lists the exchanges that have ticks, sorted.
func (c *TickCache) Exchanges(ctx context.Context) (exchanges []string, err error) {
	call := c.begin(ctx, "tick.exchanges", Market{})
	defer func() { call.end(ctx, err) }()
	return c.exchanges(ctx)
}

func (c *TickCache) exchanges(ctx context.Context) ([]string, error) {
	return c.members(ctx, c.keys.Exchanges())
}

// Symbols lists the symbols of an exchange that have ticks, sorted.
func (c *TickCache) Symbols(ctx context.Context, exchange string) (symbols []string, err error) {
	call := c.begin(ctx, "tick.symbols", Market{Exchange: exchange})
	defer func() { call.end(ctx, err) }()
	return c.symbols(ctx, exchange)
}

func (c *TickCache) symbols(ctx context.Context, exchange string) ([]string, error) {
	if err := validName("exchange", exchange); err != nil {
		return nil, err
	}
	return c.members(ctx, c.keys.TickerSymbols(exchange))
}

// members returns the sorted members of an index.
func (c *TickCache) members(ctx context.Context, key string) ([]string, error) {
	reply, err := c.kv.Do(ctx, c.kv.B().Smembers().Key(key).Build())
	if err != nil {
		return nil, redisError(key, err)
	}
	members, err := reply.AsStrSlice()
	slices.Sort(members)
	return members, err
}
