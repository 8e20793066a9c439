package fulloncache

import (
	"context"
	"errors"
	"fmt"
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

// OHLCVCache holds the bars of every market: for each timeframe a [Series], in
// which every bar is once and in its place, whoever appends it, when and how often.
//
//	minutes := fulloncache.Series{Market: btc, Timeframe: "1m"}
//	_, err := c.OHLCV.Append(ctx, minutes, bars)     // feeds write
//	bars, err := c.OHLCV.Latest(ctx, minutes, 500)   // bots read
//	for u, err := range c.OHLCV.Stream(ctx, minutes) { … } // or follow
//	hours, err := fulloncache.Resample(bars, "1m", "1h")
//
// A series holds [Config].OHLCVCap bars, or as many as [Keep] or [KeepAll] say; the oldest go
// first.
//
// Reads return [ErrNotFound] if there is no such series and [ErrUnavailable] if
// Redis cannot answer. Of elements that are no bars they return a [CorruptError]
// each, joined, beside all bars that can be read.
type OHLCVCache struct {
	*observer
	kv        *kv.Client
	keys      keys.Space
	cap       string
	exchanges *exchangeIndex
	hub       feed.Hub[Series, barBurst]
	links     sync.Map // exchange → *atomic.Int64, see barSource
}

func newOHLCVCache(cfg Config, db *kv.Client, space keys.Space, connection *observer) *OHLCVCache {
	c := &OHLCVCache{
		observer: newObserver("ohlcv", cfg),
		kv:       db,
		keys:     space,
		cap:      strconv.Itoa(cfg.OHLCVCap),
	}
	c.exchanges = newExchangeIndex(db, c.log, space.BarExchanges())
	c.hub = feed.NewHub(barSource{connector{db}, c}, conflateBars, feedOptions(cfg, connection, "bars "))
	return c
}

func (c *OHLCVCache) stop() { c.hub.Close() }

// barSeries is a series that is known to be one, and where it is kept.
type barSeries struct {
	Series
	period  period
	name    string // in the index
	key     string
	index   string
	channel string
}

func (c *OHLCVCache) series(s Series) (b *barSeries, err error) {
	p, err := s.period()
	if err != nil {
		return nil, err
	}
	s.Timeframe = p.name
	name := keys.BarsName(s.Symbol, string(p.name))
	channel := c.keys.BarsChannel(s.Exchange, s.Symbol, string(p.name))
	return &barSeries{
		Series: s, period: p, name: name,
		key: c.keys.ChannelKey(channel), index: c.keys.BarSeries(s.Exchange), channel: channel,
	}, nil
}

// ending is how messages about the series end.
func (s *barSeries) ending() string {
	return string(s.Timeframe) + " " + strconv.Itoa(len(s.Exchange)) + " " + s.Exchange + s.Symbol
}

func (s *barSeries) absent() error { return fmt.Errorf("bars %s: %w", s.Series, ErrNotFound) }

// holds says that the series' key is taken by another symbol.
func (s *barSeries) holds(holder string) error {
	return fmt.Errorf("bars %s: %w: the key holds %q", s.Series, ErrNotFound, holder)
}

// blame names the key that made a script fail.
func (c *OHLCVCache) blame(ctx context.Context, s *barSeries, err error) error {
	return blame(ctx, c.kv, err, typedKey{s.key, "list"}, typedKey{s.index, "hash"},
		typedKey{c.keys.BarRev(s.Exchange), "string"}, typedKey{c.keys.BarExchanges(), "set"})
}

// AppendOption says how bars are appended. See [Keep] and [KeepAll].
type AppendOption struct {
	keep int
	all  bool
}

// maxBars is how many bars a series can be told to hold.
const maxBars = 100_000_000

// Keep makes the series hold up to n bars from now on, whoever appends to it,
// instead of [Config].OHLCVCap. It is from 1 to 100,000,000.
func Keep(n int) AppendOption { return AppendOption{keep: n} }

// KeepAll drops nothing: where the bars do not fit, the series holds as many as it
// has then from now on, whoever appends to it.
func KeepAll() AppendOption { return AppendOption{all: true} }

// Appended is what became of the bars that were appended.
type Appended struct {
	// Added is how many the series did not have.
	Added int `json:"added"`
	// Replaced is how many took the place of another bar of the same time.
	Replaced int `json:"replaced"`
	// Unchanged is how many were there already, just so.
	Unchanged int `json:"unchanged"`
	// Dropped is how many of the oldest, old ones or new ones, went for want of room:
	// the series is longer by Added less Dropped.
	Dropped int `json:"dropped"`
}

const (
	// batchBars is how many bars one call of the script merges at most: it holds up
	// everybody else meanwhile, some 0.5 µs a bar at the end of a series.
	batchBars = 1000
	// callsOfBars is how many of its calls are sent at once: a megabyte.
	callsOfBars = 20
)

// Append merges bars into a series by their times: a bar of the same time is
// replaced, a late one is put in its place, and if the series holds too many then
// the oldest go. Bars may come in any order. What changes is published.
//
// 1,000 bars at a time are merged, numbered and published in one atomic step, the
// earliest first, and several times a round trip. Appending the same bars again
// changes nothing, so that it is always safe; if a connection broke meanwhile,
// those that had arrived can count as unchanged.
//
// Of a bar that is unusable, see [Bar.Validate], or whose time an earlier one of
// this call has, it returns [ErrInvalid], naming the element and the field; the
// others are stored. It returns ErrInvalid for all of them if the series' key is
// taken by another symbol ("BTC/USD" and "BTCUSD" meet), and [ErrUnavailable] for
// those of which it is unknown whether they were stored. The errors of bars come as
// one [BatchError].
func (c *OHLCVCache) Append(ctx context.Context, series Series, bars []Bar, opts ...AppendOption) (done Appended, err error) {
	call := c.begin(ctx, "ohlcv.append", series.Market)
	defer func() { call.end(ctx, err) }()
	s, err := c.series(series)
	if err != nil {
		return done, err
	}
	keep := ""
	for _, o := range opts {
		switch {
		case o.all:
			keep = "all"
		case o.keep < 1 || o.keep > maxBars:
			return done, fmt.Errorf("%w: keep %d bars: want from 1 to %d", ErrInvalid, o.keep, maxBars)
		default:
			keep = strconv.Itoa(o.keep)
		}
	}
	c.exchanges.renew(s.Exchange)
	order, errs := s.sorted(bars)
	for many := range slices.Chunk(order, callsOfBars*batchBars) {
		parts := slices.Collect(slices.Chunk(many, batchBars))
		calls := make([]kv.ScriptCall, len(parts))
		atOnce(len(parts), func(i int) { calls[i] = c.appendCall(s, bars, parts[i], keep) })
		for i, reply := range c.kv.RunMulti(ctx, kv.BarsAppend, calls) {
			part, err := c.appendResult(ctx, s, len(parts[i]), reply)
			done.Added += part.Added
			done.Replaced += part.Replaced
			done.Unchanged += part.Unchanged
			done.Dropped += part.Dropped
			for _, at := range parts[i] {
				errs[at] = err
			}
		}
	}
	return done, batchError(errs)
}

// sorted returns the indexes of the bars to store in the order of their times, and
// what is wrong with the others.
func (s *barSeries) sorted(bars []Bar) (order []int, errs []error) {
	errs = make([]error, len(bars))
	order = make([]int, 0, len(bars))
	refuse := func(i int, name string, err error) {
		errs[i] = fmt.Errorf("%w: bars %s: element %d: %s %w", ErrInvalid, s.Series, i, name, err)
	}
	inOrder := true
	for i := range bars {
		if name, err := bars[i].invalid(&s.period); err != nil {
			refuse(i, name, err)
			continue
		}
		if n := len(order); n > 0 && !bars[order[n-1]].Time.Before(bars[i].Time) {
			inOrder = false
		}
		order = append(order, i)
	}
	if inOrder {
		return order, errs
	}
	slices.SortStableFunc(order, func(a, b int) int { return bars[a].Time.Compare(bars[b].Time) })
	first := -1
	order = slices.DeleteFunc(order, func(i int) bool {
		if first >= 0 && bars[first].Time.Equal(bars[i].Time) {
			refuse(i, "time", fmt.Errorf("%s: element %d has it already", bars[i].Time.UTC().Format(time.RFC3339), first))
			return true
		}
		first = i
		return false
	})
	return order, errs
}

// appendCall builds the arguments of the script bars_append.
func (c *OHLCVCache) appendCall(s *barSeries, bars []Bar, part []int, keep string) kv.ScriptCall {
	names := append([]string{s.key, s.index, c.keys.BarRev(s.Exchange)}, c.exchanges.keys()...)
	args := make([]string, 0, 9+len(part))
	args = append(args, c.cap, keep, s.Symbol, s.name, c.kv.Publish(), s.channel, c.keys.BarRevChannel(s.Exchange), s.Exchange, s.ending())
	lines := make([]byte, 0, 64*len(part))
	ends := make([]int, len(part))
	for i, at := range part {
		lines = bars[at].append(lines)
		ends[i] = len(lines)
	}
	return kv.ScriptCall{Keys: names, Args: appendParts(args, lines, ends)}
}

// appendResult reads what the script bars_append returned of some bars.
func (c *OHLCVCache) appendResult(ctx context.Context, s *barSeries, bars int, reply kv.Reply) (done Appended, err error) {
	parts, err := replyParts(reply.Msg, reply.Err)
	if err != nil {
		// What was said with this call may not have arrived.
		c.exchanges.forget(s.Exchange)
		return done, c.blame(ctx, s, err)
	}
	if len(parts) == 2 {
		holder, _ := parts[1].ToString()
		return done, takenError(s.Market, s.key, holder)
	}
	var n [5]int
	for i := range n {
		v, _ := parts[i].AsInt64()
		n[i] = int(v)
	}
	if created := n[4] == 1; created && c.kv.Cluster() {
		c.exchanges.add(ctx, s.Exchange)
	}
	return Appended{Added: n[1], Replaced: n[2], Unchanged: bars - n[1] - n[2], Dropped: n[3]}, nil
}

// Latest returns the newest n bars of a series, or as many as there are, the oldest
// first, in one round trip. It returns [ErrInvalid] unless n is at least 1.
func (c *OHLCVCache) Latest(ctx context.Context, series Series, n int) (bars []Bar, err error) {
	call := c.begin(ctx, "ohlcv.latest", series.Market)
	defer func() { call.end(ctx, err) }()
	s, err := c.series(series)
	if err != nil {
		return nil, err
	}
	if n < 1 {
		return nil, fmt.Errorf("%w: latest %d bars: want at least 1", ErrInvalid, n)
	}
	return c.latest(ctx, s, n)
}

// Last returns the newest bar of a series.
func (c *OHLCVCache) Last(ctx context.Context, series Series) (bar Bar, err error) {
	call := c.begin(ctx, "ohlcv.last", series.Market)
	defer func() { call.end(ctx, err) }()
	s, err := c.series(series)
	if err != nil {
		return bar, err
	}
	bars, err := c.latest(ctx, s, 1)
	if err != nil {
		return bar, err
	}
	return bars[0], nil
}

// latest reads the newest n bars. A script would hand each one over twice more, so
// it is two commands, and the length of the list, by which elements are named.
func (c *OHLCVCache) latest(ctx context.Context, s *barSeries, n int) ([]Bar, error) {
	replies := c.kv.DoMulti(ctx, []rueidis.Completed{
		c.kv.B().Hget().Key(s.index).Field(s.name).Build(),
		c.kv.B().Llen().Key(s.key).Build(),
		c.kv.B().Lrange().Key(s.key).Start(int64(-n)).Stop(-1).Build(),
	})
	if err := c.holder(s, replies[0]); err != nil {
		return nil, err
	}
	if err := errors.Join(redisError(s.key, replies[1].Err), redisError(s.key, replies[2].Err)); err != nil {
		return nil, err
	}
	length, _ := replies[1].Msg.AsInt64()
	elements, _ := replies[2].Msg.ToArray() // LRANGE answers nothing else
	if len(elements) == 0 {
		return nil, s.absent()
	}
	return s.read(int(length)-len(elements), elements)
}

// holder returns ErrNotFound if the series' key is another symbol's.
func (c *OHLCVCache) holder(s *barSeries, entry kv.Reply) error {
	if kv.IsNil(entry.Err) {
		return nil // the list tells
	}
	if entry.Err != nil {
		return redisError(s.index, entry.Err)
	}
	text, _ := entry.Msg.ToString()
	if _, holder, _, err := readBarEntry(s.Exchange, s.name, text); err == nil && holder.Symbol != s.Symbol {
		return s.holds(holder.Symbol)
	}
	return nil
}

// read reads the elements of the series' list from an index on: the bars, and a
// CorruptError for each that is none.
func (s *barSeries) read(index int, elements []rueidis.RedisMessage) ([]Bar, error) {
	bars := make([]Bar, len(elements))
	bad := make([][]error, (len(elements)+barsAtOnce-1)/barsAtOnce) // by part
	atOnce(len(bad), func(part int) {
		for i := part * barsAtOnce; i < min((part+1)*barsAtOnce, len(elements)); i++ {
			text, _ := elements[i].ToString()
			if err := readBar(text, &s.period, &bars[i]); err != nil {
				bars[i] = Bar{}
				bad[part] = append(bad[part], corruptBar(s.key, index+i, text, err))
			}
		}
	})
	if err := errors.Join(slices.Concat(bad...)...); err != nil {
		return slices.DeleteFunc(bars, func(b Bar) bool { return b.Time.IsZero() }), err
	}
	return bars, nil
}

// barsAtOnce is how many bars are read or written by one goroutine.
const barsAtOnce = 1000

// atOnce calls f for each of the parts of some work, at the same time.
func atOnce(parts int, f func(part int)) {
	var wg sync.WaitGroup
	for part := 1; part < parts; part++ {
		wg.Go(func() { f(part) })
	}
	if parts > 0 {
		f(0)
	}
	wg.Wait()
}

// Range returns the bars of a series that open from one time on and before another,
// the oldest first, in one round trip. Without a first time, which is then the zero
// Time, it begins with the oldest bar; without a second one it ends with the newest.
// It returns [ErrInvalid] if the span ends before it begins. A series that has no
// bar in the span is no error.
func (c *OHLCVCache) Range(ctx context.Context, series Series, from, to time.Time) (bars []Bar, err error) {
	call := c.begin(ctx, "ohlcv.range", series.Market)
	defer func() { call.end(ctx, err) }()
	s, err := c.series(series)
	if err != nil {
		return nil, err
	}
	if !to.IsZero() && to.Before(from) {
		return nil, fmt.Errorf("%w: bars from %s to %s: want an end that is not before the beginning", ErrInvalid, from, to)
	}
	return c.between(ctx, s, from, to)
}

func (c *OHLCVCache) between(ctx context.Context, s *barSeries, from, to time.Time) ([]Bar, error) {
	parts, err := replyParts(c.kv.Run(ctx, kv.BarsRange, []string{s.key, s.index}, []string{s.Symbol, s.name, barBound(from), barBound(to)}))
	if err != nil {
		return nil, c.blame(ctx, s, err)
	}
	switch len(parts) {
	case 1:
		return nil, s.absent()
	case 2:
		holder, _ := parts[1].ToString()
		return nil, s.holds(holder)
	}
	first, _ := parts[1].AsInt64()
	elements, _ := parts[2].ToArray() // as LRANGE answers
	return s.read(int(first), elements)
}

// barBound is a bound of a span as bars are sorted: the first second that is not
// before it.
func barBound(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	at := t.Unix()
	if t.Nanosecond() > 0 {
		at++
	}
	return fmt.Sprintf("%010d", min(max(at, 0), maxBarTime))
}

// Len returns how many bars a series has; 0 if there is none.
func (c *OHLCVCache) Len(ctx context.Context, series Series) (n int, err error) {
	call := c.begin(ctx, "ohlcv.len", series.Market)
	defer func() { call.end(ctx, err) }()
	s, err := c.series(series)
	if err != nil {
		return 0, err
	}
	replies := c.kv.DoMulti(ctx, []rueidis.Completed{
		c.kv.B().Hget().Key(s.index).Field(s.name).Build(),
		c.kv.B().Llen().Key(s.key).Build(),
	})
	switch err := c.holder(s, replies[0]); {
	case errors.Is(err, ErrNotFound):
		return 0, nil
	case err != nil:
		return 0, err
	}
	length, err := replies[1].Msg.AsInt64()
	if replies[1].Err != nil {
		err = redisError(s.key, replies[1].Err)
	}
	return int(length), err
}

// Delete deletes a series, atomically with its entry in the index, and tells those
// who follow it. It returns [ErrNotFound] if there was none. A corrupt series is
// deleted too.
func (c *OHLCVCache) Delete(ctx context.Context, series Series) (err error) {
	call := c.begin(ctx, "ohlcv.delete", series.Market)
	defer func() { call.end(ctx, err) }()
	s, err := c.series(series)
	if err != nil {
		return err
	}
	names := append([]string{s.key, s.index, c.keys.BarRev(s.Exchange)}, c.exchanges.keys()...)
	reply, err := c.kv.Run(ctx, kv.BarsDelete, names, []string{
		s.Symbol, s.name, c.kv.Publish(), s.channel, c.keys.BarRevChannel(s.Exchange), s.Exchange, s.ending(),
	})
	if err != nil {
		return c.blame(ctx, s, err)
	}
	status, detail := verdict(reply)
	switch status {
	case 2:
		err = s.absent()
	case 3:
		return s.holds(detail)
	}
	if detail == "0" {
		err = errors.Join(err, c.exchanges.remove(ctx, s.Exchange))
	}
	return err
}

// Series lists the series of an exchange, sorted by symbol and then as timeframes
// grow. If there are entries of the index that name no series, it returns their
// errors, joined, beside the others.
func (c *OHLCVCache) Series(ctx context.Context, exchange string) (list []Series, err error) {
	call := c.begin(ctx, "ohlcv.series", Market{Exchange: exchange})
	defer func() { call.end(ctx, err) }()
	if err := validName("exchange", exchange); err != nil {
		return nil, err
	}
	key := c.keys.BarSeries(exchange)
	reply, err := c.kv.Do(ctx, c.kv.B().Hgetall().Key(key).Build())
	if err != nil {
		return nil, redisError(key, err)
	}
	entries, _ := reply.AsStrMap() // HGETALL answers nothing else
	var bad []error
	lengths := make(map[Series]int64, len(entries))
	for name, text := range entries {
		_, s, p, err := readBarEntry(exchange, name, text)
		if err != nil {
			bad = append(bad, &CorruptError{Key: key, Field: name, Err: fmt.Errorf("%s: %w", excerpt(text), err)})
			continue
		}
		lengths[s] = p.opens(1) - p.opens(0)
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Series) int {
		if n := strings.Compare(a.Symbol, b.Symbol); n != 0 {
			return n
		}
		return int(lengths[a]/60 - lengths[b]/60)
	})
	return list, errors.Join(bad...)
}

// Exchanges lists the exchanges that have bars, sorted.
func (c *OHLCVCache) Exchanges(ctx context.Context) (exchanges []string, err error) {
	call := c.begin(ctx, "ohlcv.exchanges", Market{})
	defer func() { call.end(ctx, err) }()
	return c.exchanges.members(ctx)
}

var errBarEntry = errors.New("want a revision, a cap or -, and a symbol")

// readBarEntry reads an entry of the index of series.
func readBarEntry(exchange, name, text string) (rev int64, s Series, p period, err error) {
	number, rest, _ := strings.Cut(text, " ")
	_, symbol, _ := strings.Cut(rest, " ")
	_, timeframe, _ := strings.Cut(name, ":")
	s = Series{Market{exchange, symbol}, Timeframe(timeframe)}
	rev, err = strconv.ParseInt(number, 10, 64)
	p, perr := s.period()
	if err != nil || perr != nil || keys.BarsName(symbol, timeframe) != name {
		return 0, Series{}, period{}, errBarEntry
	}
	return rev, s, p, nil
}
