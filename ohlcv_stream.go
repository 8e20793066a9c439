package fulloncache

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/feed"
	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
)

// BarUpdate is one element of a stream: a bar that is new or has changed, or that a
// series was deleted.
type BarUpdate struct {
	Series Series
	Bar    Bar // Bar is the zero Bar if the series was deleted.
	// Rev numbers the changes of an exchange's bars: a later one is greater. What one
	// call appended has the same Rev, up to 1,000 bars.
	Rev int64
	// Deleted says that the series has no bars any more.
	Deleted bool
}

// Stream follows series: the newest bar of each comes first, then every bar that is
// appended, late ones too, until ctx ends. The bar that is under way comes with every
// change of it.
//
// No bar is lost. A consumer that was too slow, or whose feed was disconnected, gets
// once more what the series holds from the first change on that it may have missed:
// bars may come again, and only states of a bar that were replaced meanwhile do not
// come. What a disconnect hides are changes of bars older than the newest that the
// stream had delivered, and bars that went for want of room.
//
// An element with an error means that the feed is disconnected ([ErrUnavailable]) or
// that something stored is corrupt ([ErrCorrupt]); the loop goes on. Silence, however
// long, is no error. The last element is [ErrClosed] if the Client is closed, and
// [ErrInvalid] is the only one if a series is unusable or none is given.
func (c *OHLCVCache) Stream(ctx context.Context, series ...Series) iter.Seq2[BarUpdate, error] {
	return func(yield func(BarUpdate, error) bool) {
		followers, topics, err := c.followers(series)
		if err != nil {
			yield(BarUpdate{}, err)
			return
		}
		for u, err := range followed(ctx, c.hub, topics) {
			if err != nil {
				if !yield(BarUpdate{}, err) {
					return
				}
				continue
			}
			f := followers[u.Key]
			if f == nil {
				continue // two symbols can meet in one channel
			}
			if !f.deliver(ctx, c, u, yield) {
				return
			}
		}
	}
}

// barFollower is what a stream knows of a series.
type barFollower struct {
	*barSeries
	asked  Series // as the caller spells it
	began  bool   // something was delivered
	newest int64  // of the bars that were delivered, in seconds; 0 if none is left
	link   int64  // what told it last
}

func (c *OHLCVCache) followers(series []Series) (map[Series]*barFollower, []feed.Topic, error) {
	if len(series) == 0 {
		return nil, nil, fmt.Errorf("%w: no series to follow", ErrInvalid)
	}
	followers := make(map[Series]*barFollower, len(series))
	topics := make([]feed.Topic, len(series))
	for i, asked := range series {
		s, err := c.series(asked)
		if err != nil {
			return nil, nil, err
		}
		followers[s.Series] = &barFollower{barSeries: s, asked: asked}
		topics[i] = feed.Topic{Group: s.Exchange, Channel: s.channel}
	}
	return followers, unique(topics), nil
}

// deliver yields the bars that an update tells of; it reports whether yield wants
// more.
func (f *barFollower) deliver(ctx context.Context, c *OHLCVCache, u feed.Update[Series, barBurst], yield func(BarUpdate, error) bool) bool {
	if u.Deleted {
		f.began, f.newest = true, 0
		return yield(BarUpdate{Series: f.asked, Rev: u.Rev, Deleted: true}, nil)
	}
	bars, from := u.Value.bars, u.Value.from
	missed := u.Value.link != f.link // changes may have been missed, as it was cut off
	if !f.began {
		missed = u.Later // there was no bar then, and the first ones may have been
	}
	switch {
	case !f.began && !missed && (u.Known || from == 0):
		bars = u.Value.newest
	case missed || len(bars) == 0: // or it was too much for a message
		if from == 0 || missed && f.newest < from {
			from = f.newest
		}
		var more bool
		if bars, more = f.again(ctx, c, from, yield); !more {
			return false
		}
		if len(bars) == 0 {
			bars = u.Value.newest // the server has forgotten what was delivered
		}
	case !f.began && len(u.Value.newest) > 0 && bars[len(bars)-1].Time.Before(u.Value.newest[0].Time):
		// A late bar came while the state was read.
		bars = slices.Concat(u.Value.newest, bars)
	}
	f.began, f.link = true, u.Value.link
	for _, b := range bars {
		f.newest = max(f.newest, b.Time.Unix())
		if !yield(BarUpdate{Series: f.asked, Bar: b, Rev: u.Rev}, nil) {
			return false
		}
	}
	return true
}

// again reads what the series holds from a time on, as soon as it can be read; it
// reports whether yield wants more.
func (f *barFollower) again(ctx context.Context, c *OHLCVCache, from int64, yield func(BarUpdate, error) bool) (bars []Bar, more bool) {
	for {
		bars, err := c.between(ctx, f.barSeries, unixUTC(from), time.Time{})
		switch {
		case err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrClosed):
			return bars, true
		case ctx.Err() != nil:
			return nil, false
		}
		if !yield(BarUpdate{}, err) {
			return nil, false
		}
		if !errors.Is(err, ErrUnavailable) {
			return bars, true
		}
		beforeReread(ctx)
	}
}

// Messages on the channel of a series, as the scripts write them:
//
//	C rev from n bar… newest timeframe m exchange+symbol
//	D rev timeframe m exchange+symbol
//	R rev
//
// n bars have changed, of which the first has the time from; n is 0 if they are too
// many for a message. newest is the last one of the series, or "-" where it cannot be
// one. m is the length of the exchange in bytes, so that names may hold anything.
const messageChanged = "C"

// barBurst is what one call changed in a series.
type barBurst struct {
	from   int64 // the time of the first bar that has changed; 0 if only newest is known
	bars   []Bar // those that have changed; none if they are too many
	newest []Bar // the last one of the series, if it can be read
	link   int64 // numbers the connection by which it came
}

// conflateBars makes a burst stand for one that still waits: what both have changed
// is to be read again.
func conflateBars(waiting feed.Update[Series, barBurst], burst barBurst) barBurst {
	before := waiting.Value.from
	if before == 0 && len(waiting.Value.newest) > 0 {
		before = waiting.Value.newest[0].Time.Unix()
	}
	burst.bars = nil
	if before != 0 && (burst.from == 0 || before < burst.from) {
		burst.from = before
	}
	return burst
}

var errBarMessage = errors.New("malformed")

// readBars decodes a message; channel names it in errors.
func readBars(channel, message string) (feed.Message[Series, barBurst], error) {
	m, err := parseBars(message)
	if err != nil {
		return feed.Message[Series, barBurst]{}, &CorruptError{Key: channel, Err: fmt.Errorf("message %s: %w", excerpt(message), err)}
	}
	return m, nil
}

func parseBars(message string) (m feed.Message[Series, barBurst], err error) {
	rest := message
	word := func() (w string) {
		w, rest, _ = strings.Cut(rest, " ")
		return w
	}
	number := func() int64 {
		n, nerr := strconv.ParseInt(word(), 10, 64)
		err = errors.Join(err, nerr)
		return n
	}
	kind := word()
	if kind == messageReset {
		m.Kind = feed.Reset
		return m, nil
	}
	e := &m.Event
	e.Rev = number()
	var lines []string
	switch kind {
	case messageDeleted:
		e.Deleted = true
	case messageChanged:
		e.Value.from = number()
		for many := number(); many >= 0 && rest != ""; many-- {
			lines = append(lines, word())
		}
	default:
		return m, errBarMessage
	}
	e.Key.Timeframe = Timeframe(word())
	if n := number(); err == nil && n >= 0 && n <= int64(len(rest)) {
		e.Key.Exchange, e.Key.Symbol = rest[:n], rest[n:]
	}
	p, perr := e.Key.period()
	if err = errors.Join(err, perr); err != nil {
		return m, err
	}
	for i, line := range lines {
		var b Bar
		err := readBar(line, &p, &b)
		switch {
		case i < len(lines)-1 && err != nil:
			return m, err
		case i < len(lines)-1:
			e.Value.bars = append(e.Value.bars, b)
		case err == nil: // else it cannot be read, and readers of the series are told
			e.Value.newest = []Bar{b}
		}
	}
	return m, nil
}

// barSource is what the feed follows: one group per exchange.
type barSource struct {
	connector
	c *OHLCVCache
}

// Connect numbers the connections. A stream that finds another number knows that it
// may have missed something, however the errors stand that it was told.
func (s barSource) Connect(ctx context.Context, exchange string, onMessage func(channel, message string), onDrop func(channel string)) (feed.Conn, error) {
	s.link(exchange).Add(1)
	return s.connector.Connect(ctx, exchange, onMessage, onDrop)
}

func (s barSource) link(exchange string) *atomic.Int64 {
	link, _ := s.c.links.LoadOrStore(exchange, new(atomic.Int64))
	return link.(*atomic.Int64)
}

func (s barSource) Control(exchange string) string { return s.c.keys.BarRevChannel(exchange) }

func (s barSource) Probe(ctx context.Context, conn feed.Conn, exchange string) (int64, error) {
	return probe(ctx, conn, s.c.keys.BarRev(exchange))
}

func (s barSource) Decode(channel, message string) (feed.Message[Series, barBurst], error) {
	m, err := readBars(channel, message)
	m.Event.Value.link = s.link(m.Event.Key.Exchange).Load()
	return m, err
}

// Load reads the newest bars of the series behind channels. A series' entry is read
// before its bar: what is told with its number is not older than that.
func (s barSource) Load(ctx context.Context, exchange string, channels []string, emit func(string, feed.Event[Series, barBurst], error)) (heard time.Time, err error) {
	c := s.c
	index := c.keys.BarSeries(exchange)
	for some := range slices.Chunk(channels, kv.Pipelined/2) {
		cmds := make([]rueidis.Completed, 0, 2*len(some))
		for _, channel := range some {
			key := c.keys.ChannelKey(channel)
			cmds = append(cmds, c.kv.B().Hget().Key(index).Field(keys.BarsNameOf(key)).Build(), c.kv.B().Lindex().Key(key).Index(-1).Build())
		}
		replies := c.kv.DoMulti(ctx, cmds)
		for i, channel := range some {
			key := c.keys.ChannelKey(channel)
			e, err := readSeriesState(exchange, index, key, replies[2*i], replies[2*i+1])
			switch {
			case errors.Is(err, ErrNotFound):
				continue
			case errors.Is(err, ErrCorrupt):
				emit(channel, e, err)
			case err != nil:
				return heard, err
			}
			e.Value.link = s.link(exchange).Load()
			if e.Rev != 0 { // a series whose newest bar is corrupt is there all the same
				emit(channel, e, nil)
			}
		}
	}
	return heard, nil
}

// readSeriesState reads a series' entry in the index and its newest bar.
func readSeriesState(exchange, index, key string, entry, newest kv.Reply) (e feed.Event[Series, barBurst], err error) {
	switch {
	case kv.IsNil(newest.Err) || kv.IsNil(entry.Err):
		return e, ErrNotFound // without an entry the next append tells
	case entry.Err != nil:
		return e, redisError(index, entry.Err)
	case newest.Err != nil:
		return e, redisError(key, newest.Err)
	}
	text, _ := entry.Msg.ToString()
	rev, series, p, err := readBarEntry(exchange, keys.BarsNameOf(key), text)
	if err != nil {
		return e, &CorruptError{Key: index, Field: keys.BarsNameOf(key), Err: fmt.Errorf("%s: %w", excerpt(text), err)}
	}
	e.Key, e.Rev = series, rev
	line, _ := newest.Msg.ToString()
	var b Bar
	if err := readBar(line, &p, &b); err != nil {
		return e, corruptBar(key, -1, line, err)
	}
	e.Value.newest = []Bar{b}
	return e, nil
}

func (s barSource) Name(k Series) string { return k.Symbol + " " + string(k.Timeframe) }

func (s barSource) Own(k Series) Series {
	return Series{Market{strings.Clone(k.Exchange), strings.Clone(k.Symbol)}, Timeframe(strings.Clone(string(k.Timeframe)))}
}

func (s barSource) Rename(*barBurst, Series) {} // bars share no memory with a message
