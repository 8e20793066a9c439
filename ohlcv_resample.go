package fulloncache

import (
	"fmt"
	"time"
)

// Resample makes longer bars of shorter ones, exactly: the first one's open, the
// highest high, the lowest low, the last one's close, and the sum of their volumes.
// The bars are of one timeframe and in the order of their times; each bar of the
// other timeframe must be made of whole bars of theirs, as "5m", "1h", "1d", "1w" and
// "1M" are of "1m".
//
// A longer bar is made of the shorter ones that are there: the first and the last one
// may be made of a part of its time, and where there is nothing there is no bar.
//
// It returns [ErrInvalid], naming element and field, if a bar is unusable or out of
// order, or if the timeframes do not fit.
func Resample(bars []Bar, from, to Timeframe) ([]Bar, error) {
	short, err := from.period()
	if err != nil {
		return nil, err
	}
	long, err := to.period()
	if err != nil {
		return nil, err
	}
	if !short.divides(&long) {
		return nil, fmt.Errorf("%w: resample %s to %s: want a timeframe made of whole bars of %s", ErrInvalid, from, to, from)
	}
	var longer []Bar
	under := int64(0) // the number of the bar under way
	for i := range bars {
		b := &bars[i]
		if name, err := b.invalid(&short); err != nil {
			return nil, fmt.Errorf("%w: bar %d: %s %w", ErrInvalid, i, name, err)
		}
		if i > 0 && !bars[i-1].Time.Before(b.Time) {
			return nil, fmt.Errorf("%w: bar %d: time %s: want one after that of the bar before", ErrInvalid, i, b.Time.UTC().Format(time.RFC3339))
		}
		if n := long.number(b.Time.Unix()); len(longer) == 0 || n != under {
			under = n
			opened := *b
			opened.Time = unixUTC(long.opens(n))
			longer = append(longer, opened)
			continue
		}
		l := &longer[len(longer)-1]
		if l.High.Cmp(b.High) < 0 {
			l.High = b.High
		}
		if l.Low.Cmp(b.Low) > 0 {
			l.Low = b.Low
		}
		l.Close = b.Close
		l.Volume = l.Volume.Add(b.Volume)
	}
	return longer, nil
}
