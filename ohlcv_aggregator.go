package fulloncache

import (
	"fmt"
	"time"
)

// Aggregator makes bars of a series out of its market's trades, or ticks, as they
// come. It is for one goroutine.
//
//	agg, err := fulloncache.NewAggregator(minutes)
//	if err != nil {
//		return err
//	}
//	for u, err := range c.Trades.Stream(ctx, btc) {
//		if err != nil {
//			continue
//		}
//		closed, err := agg.Trade(u.Trade) // ErrOutdated: too late for its bar
//		for _, bar := range closed {
//			_, err = c.OHLCV.Append(ctx, minutes, []fulloncache.Bar{bar.Bar})
//		}
//	}
//
// A bar is closed by what comes after its end: the first trade of a later bar, or
// [Aggregator.Advance], which a quiet market needs. Where nothing was traded there is
// no bar, and the next one tells how many are missing, unless [FillGaps] asks for
// bars to be invented. Trades may come in any order within their bar: its open is the
// earliest one's price, its close the latest one's. A trade whose id its bar has seen
// counts once.
type Aggregator struct {
	series Series
	period period
	fill   int

	bar         Bar
	number      int64               // of the bar under way or, if it is closed, of the last one
	began       bool                // there was a bar
	open        bool                // a bar is under way
	missing     int64               // between it and the one before
	first, last time.Time           // of its trades
	seen        map[string]struct{} // their ids
	previous    Decimal             // the close of the bar before
	invented    int                 // since
}

// AggregatorOption says how bars are made. See [FillGaps].
type AggregatorOption struct {
	fill int
	set  bool
}

// FillGaps makes an [Aggregator] invent bars where nothing was traded: of the last
// price, without volume, and up to so many in a row. What a longer gap has beyond them
// is missing.
func FillGaps(inARow int) AggregatorOption { return AggregatorOption{fill: inARow, set: true} }

// NewAggregator returns an aggregator that has seen nothing yet. It returns
// [ErrInvalid] if the series or an option is unusable.
func NewAggregator(series Series, opts ...AggregatorOption) (*Aggregator, error) {
	p, err := series.period()
	if err != nil {
		return nil, err
	}
	a := &Aggregator{series: series, period: p, seen: make(map[string]struct{})}
	for _, o := range opts {
		if o.set && (o.fill < 1 || o.fill > maxBars) {
			return nil, fmt.Errorf("%w: fill gaps of %d bars: want from 1 to %d", ErrInvalid, o.fill, maxBars)
		}
		a.fill = o.fill
	}
	return a, nil
}

// ClosedBar is a bar that is complete.
type ClosedBar struct {
	Bar
	// Missing is how many bars are not there between the one before and this one: in
	// their time nothing came.
	Missing int `json:"missing,omitzero"`
	// Invented says that nothing was traded: the bar is one of [FillGaps].
	Invented bool `json:"invented,omitzero"`
}

// Trade adds a trade and returns the bars that it closes, the oldest first: none
// while its bar is under way.
//
// It returns [ErrOutdated] for a trade whose bar is closed: it is not counted, and the
// bar that was made lacks it. It returns [ErrInvalid] if the trade is unusable or of
// another market.
func (a *Aggregator) Trade(trade Trade) ([]ClosedBar, error) {
	if err := trade.Validate(); err != nil {
		return nil, err
	}
	closed, err := a.advance(trade.Market, trade.Time)
	if err != nil {
		return nil, err
	}
	if _, again := a.seen[trade.ExTradeID]; !again {
		a.seen[trade.ExTradeID] = struct{}{}
		a.add(trade.Price, trade.Volume, trade.Time)
	}
	return closed, nil
}

// Tick adds a tick's price, as [Aggregator.Trade] adds a trade. It adds no volume: a
// tick's is that of the exchange's window.
func (a *Aggregator) Tick(tick Tick) ([]ClosedBar, error) {
	if err := tick.Validate(); err != nil {
		return nil, err
	}
	closed, err := a.advance(tick.Market, tick.Time)
	if err != nil {
		return nil, err
	}
	a.add(tick.Price, Decimal{}, tick.Time)
	return closed, nil
}

// Advance closes the bar under way if it has ended by now, and with [FillGaps]
// invents those that have ended since. Trades of them are late from then on. Call it
// with a time a little in the past, to leave trades the time to come.
func (a *Aggregator) Advance(now time.Time) []ClosedBar {
	if !a.began {
		return nil
	}
	number := a.period.number(now.Unix())
	return a.invent(number, a.close(number))
}

// Current returns the bar under way, if there is one.
func (a *Aggregator) Current() (bar Bar, ok bool) {
	if !a.open {
		return Bar{}, false
	}
	return a.bar, true
}

// advance makes the bar of a moment the one under way, and returns those that this
// closes.
func (a *Aggregator) advance(m Market, at time.Time) ([]ClosedBar, error) {
	if m != a.series.Market {
		return nil, fmt.Errorf("%w: %s: want what happens to %s", ErrInvalid, m, a.series.Market)
	}
	number := a.period.number(at.Unix())
	if a.began && (number < a.number || number == a.number && !a.open) {
		return nil, fmt.Errorf("%s at %s: %w: its bar is closed", a.series, formatTime(at), ErrOutdated)
	}
	closed := a.close(number)
	if a.open {
		return closed, nil
	}
	if a.began {
		closed = a.invent(number, closed)
		a.missing = number - a.number - 1
	}
	a.invented = 0
	a.bar = Bar{Time: unixUTC(a.period.opens(number))}
	a.number, a.began = number, true
	clear(a.seen)
	return closed, nil
}

// close closes the bar under way if it is before that of a number.
func (a *Aggregator) close(before int64) []ClosedBar {
	if !a.open || a.number >= before {
		return nil
	}
	a.open, a.previous = false, a.bar.Close
	return []ClosedBar{{Bar: a.bar, Missing: int(a.missing)}}
}

// invent appends bars after the last one, up to one of a number, without it.
func (a *Aggregator) invent(before int64, bars []ClosedBar) []ClosedBar {
	for a.number+1 < before && a.invented < a.fill {
		a.number++
		a.invented++
		p := a.previous
		bars = append(bars, ClosedBar{Bar: Bar{Time: unixUTC(a.period.opens(a.number)), Open: p, High: p, Low: p, Close: p}, Invented: true})
	}
	return bars
}

// add adds a price to the bar under way, which is opened by the first one.
func (a *Aggregator) add(price, volume Decimal, at time.Time) {
	b := &a.bar
	if !a.open {
		a.open = true
		b.Open, b.High, b.Low, b.Close = price, price, price, price
		a.first, a.last = at, at
	}
	if at.Before(a.first) {
		b.Open, a.first = price, at
	}
	if !at.Before(a.last) {
		b.Close, a.last = price, at
	}
	if b.High.Cmp(price) < 0 {
		b.High = price
	}
	if b.Low.Cmp(price) > 0 {
		b.Low = price
	}
	b.Volume = b.Volume.Add(volume)
}
