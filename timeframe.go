package fulloncache

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Timeframe is how long a bar is: a whole number and a unit, which is m (minutes),
// h (hours), d (days), w (weeks) or M (months of the calendar), as in "1m", "5m",
// "4h", "1d", "1w" and "1M".
//
// Bars of a timeframe follow each other without a gap, in UTC: minutes, hours and
// days are counted from 1970-01-01 00:00, so that "4h" opens at 0, 4, 8 … o'clock;
// weeks open on Mondays at 00:00 (counted from 1970-01-05), months on the first at
// 00:00 (counted from January 1970, so that "3M" are the quarters). "60m" and "1h"
// are the same timeframe, and so are "24h" and "1d"; "7d" is not "1w", for it does
// not open on Mondays.
//
//	tf, err := fulloncache.ParseTimeframe("60m")
//	if err != nil {
//		return err
//	}
//	opens, closes, err := tf.Span(time.Now())
//	fmt.Println(tf, opens, closes) // 1h 2026-01-02 12:00:00 +0000 UTC 2026-01-02 13:00:00 +0000 UTC
type Timeframe string

// ParseTimeframe reads a timeframe and returns its canonical spelling: "60m" is
// "1h". It returns [ErrInvalid], naming the text, for what is none.
func ParseTimeframe(s string) (Timeframe, error) {
	p, err := Timeframe(s).period()
	return p.name, err
}

// Validate returns [ErrInvalid] unless it is a timeframe.
func (t Timeframe) Validate() error {
	_, err := t.period()
	return err
}

// Span returns when the bar of a moment opens and when it closes, which is when
// the next one opens. It returns [ErrInvalid] unless it is a timeframe.
func (t Timeframe) Span(at time.Time) (opens, closes time.Time, err error) {
	p, err := t.period()
	if err != nil {
		return opens, closes, err
	}
	n := p.number(at.Unix())
	return unixUTC(p.opens(n)), unixUTC(p.opens(n + 1)), nil
}

func unixUTC(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }

const (
	hour = 60 * 60
	day  = 24 * hour
	week = 7 * day
	// monday is the first Monday after 1970-01-01.
	monday = 4 * day
	// maxTimeframe bounds the number of a timeframe.
	maxTimeframe = 9999
)

// period is a timeframe as numbers. Its bars are numbered from its origin.
type period struct {
	name    Timeframe // the canonical spelling
	seconds int64     // its length; 0 if it is months
	months  int64
	origin  int64 // when bar 0 opens, in seconds since 1970
}

var errTimeframe = errors.New(`want a number from 1 to 9999 and m, h, d, w or M, such as "1m", "4h", "1d", "1w" or "1M"`)

func (t Timeframe) period() (p period, err error) {
	refused := func() (period, error) {
		return period{}, fmt.Errorf("%w: timeframe %s: %w", ErrInvalid, excerpt(string(t)), errTimeframe)
	}
	if len(t) < 2 || t[0] == '0' {
		return refused()
	}
	digits, unit := string(t[:len(t)-1]), t[len(t)-1]
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > maxTimeframe || strings.Trim(digits, "0123456789") != "" {
		return refused()
	}
	switch unit {
	case 'm':
		p.seconds = n * 60
	case 'h':
		p.seconds = n * hour
	case 'd':
		p.seconds = n * day
	case 'w':
		p.seconds, p.origin = n*week, monday
	case 'M':
		p.months = n
	default:
		return refused()
	}
	p.name = t
	switch {
	case unit == 'w' || unit == 'M':
	case p.seconds%day == 0:
		p.name = spelt(p.seconds/day, "d")
	case p.seconds%hour == 0:
		p.name = spelt(p.seconds/hour, "h")
	}
	return p, nil
}

func spelt(n int64, unit string) Timeframe { return Timeframe(strconv.FormatInt(n, 10) + unit) }

// number is the number of the bar of a moment, in seconds since 1970.
func (p *period) number(at int64) int64 {
	if p.months == 0 {
		return floorDiv(at-p.origin, p.seconds)
	}
	t := unixUTC(at)
	return floorDiv(int64(t.Year()-1970)*12+int64(t.Month()-time.January), p.months)
}

// opens is when the bar of a number opens, in seconds since 1970.
func (p *period) opens(number int64) int64 {
	if p.months == 0 {
		return p.origin + number*p.seconds
	}
	return time.Date(1970, time.January+time.Month(number*p.months), 1, 0, 0, 0, 0, time.UTC).Unix()
}

// aligned reports whether a bar opens at a moment.
func (p *period) aligned(at int64) bool {
	if p.months == 0 {
		return (at-p.origin)%p.seconds == 0
	}
	return p.opens(p.number(at)) == at
}

// divides reports whether every bar of the other timeframe is made of whole bars
// of this one.
func (p *period) divides(of *period) bool {
	switch {
	case p.months > 0:
		return of.months%p.months == 0 && of.months > 0
	case of.months > 0: // every day, from 1970 on, can be the first of a month
		return day%p.seconds == 0
	}
	return of.seconds%p.seconds == 0 && (of.origin-p.origin)%p.seconds == 0
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
