package fulloncache

import (
	"fmt"
	"time"
)

// Bar is what a market did during one timeframe: a candle.
//
//	bar := fulloncache.Bar{
//		Time: time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC), // when it opened
//		Open: fulloncache.MustDecimal("67000"), High: fulloncache.MustDecimal("67123.5"),
//		Low: fulloncache.MustDecimal("66990"), Close: fulloncache.MustDecimal("67100"),
//		Volume: fulloncache.MustDecimal("12.5"),
//	}
type Bar struct {
	// Time is when the bar opened, in UTC.
	Time time.Time `json:"time"`
	// Open, High, Low and Close are prices, in units of the quote.
	Open  Decimal `json:"open"`
	High  Decimal `json:"high"`
	Low   Decimal `json:"low"`
	Close Decimal `json:"close"`
	// Volume is what was traded, in the units of the exchange; mostly of the base.
	Volume Decimal `json:"volume"`
}

// String returns the bar in a line for people.
func (b Bar) String() string {
	return fmt.Sprintf("%s open %s high %s low %s close %s volume %s", b.Time.UTC().Format(time.RFC3339), b.Open, b.High, b.Low, b.Close, b.Volume)
}

// Equal reports whether both say the same about the same time, numbers compared
// as numbers and times as instants.
func (b Bar) Equal(o Bar) bool {
	return b.Time.Equal(o.Time) && b.Open.Equal(o.Open) && b.High.Equal(o.High) && b.Low.Equal(o.Low) && b.Close.Equal(o.Close) &&
		b.Volume.Equal(o.Volume)
}

// Validate returns [ErrInvalid], naming the field, unless it is a bar of a
// timeframe: it opens when one does, its prices are more than 0, none is higher
// than the high or lower than the low, and its volume is not negative.
func (b Bar) Validate(timeframe Timeframe) error {
	p, err := timeframe.period()
	if err != nil {
		return err
	}
	if name, err := b.invalid(&p); err != nil {
		return fmt.Errorf("%w: bar: %s %w", ErrInvalid, name, err)
	}
	return nil
}

// maxBarTime is where ten digits of seconds end: in November 2286.
const maxBarTime = 9_999_999_999

// invalid returns what is wrong with a bar, and the name of the field.
func (b *Bar) invalid(p *period) (name string, err error) {
	if b.sound(p) {
		return "", nil
	}
	switch at := b.Time.Unix(); {
	case b.Time.IsZero() || at < 0 || at > maxBarTime:
		return "time", fmt.Errorf("%s: want one from 1970 to 2286", b.Time)
	case b.Time.Nanosecond() != 0 || !p.aligned(at):
		opens := unixUTC(p.opens(p.number(at)))
		return "time", fmt.Errorf("%s: want when a bar of %s opens, such as %s", b.Time.UTC().Format(time.RFC3339Nano), p.name, opens.Format(time.RFC3339))
	}
	for _, n := range [...]struct {
		name  string
		value *Decimal
	}{{"open", &b.Open}, {"high", &b.High}, {"low", &b.Low}, {"close", &b.Close}} {
		if n.value.Sign() <= 0 || !n.value.fits() {
			return n.name, fmt.Errorf("%s: want more than 0, and at most %d digits", n.value, MaxDecimalDigits)
		}
	}
	switch {
	case b.Volume.Sign() < 0 || !b.Volume.fits():
		return "volume", fmt.Errorf("%s: want at least 0, and at most %d digits", b.Volume, MaxDecimalDigits)
	case b.High.Cmp(b.Low) < 0:
		return "high", fmt.Errorf("%s: want at least the low, %s", b.High, b.Low)
	case b.High.Cmp(b.Open) < 0:
		return "high", fmt.Errorf("%s: want at least the open, %s", b.High, b.Open)
	case b.High.Cmp(b.Close) < 0:
		return "high", fmt.Errorf("%s: want at least the close, %s", b.High, b.Close)
	case b.Low.Cmp(b.Open) > 0:
		return "low", fmt.Errorf("%s: want at most the open, %s", b.Low, b.Open)
	case b.Low.Cmp(b.Close) > 0:
		return "low", fmt.Errorf("%s: want at most the close, %s", b.Low, b.Close)
	}
	return "", nil
}

// sound reports whether nothing is wrong with a bar. It is for those whose numbers
// are short, which are nearly all: tens of thousands are looked at at once.
func (b *Bar) sound(p *period) bool {
	at := b.Time.Unix()
	open, high, low, closed, short := b.short()
	return short && at >= 0 && at <= maxBarTime && b.Time.Nanosecond() == 0 && p.aligned(at) && low.digits > 0 &&
		low.compare(open) <= 0 && low.compare(closed) <= 0 && high.compare(open) >= 0 && high.compare(closed) >= 0 &&
		b.Volume.Sign() >= 0 && b.Volume.fits()
}

// short returns the prices, to compare them; false if one is too long for that.
func (b *Bar) short() (open, high, low, closed shortNumber, ok bool) {
	var all [4]bool
	open, all[0] = b.Open.short()
	high, all[1] = b.High.short()
	low, all[2] = b.Low.short()
	closed, all[3] = b.Close.short()
	return open, high, low, closed, all == [4]bool{true, true, true, true}
}

// Series names bars that follow each other: of a market, in a timeframe. It can be
// a map's key, as long as timeframes are spelt the same.
//
//	minutes := fulloncache.Series{Market: btc, Timeframe: "1m"}
type Series struct {
	Market
	Timeframe Timeframe `json:"timeframe"`
}

// String returns "exchange symbol timeframe", quoted where a name has odd
// characters.
func (s Series) String() string { return s.Market.String() + " " + printable(string(s.Timeframe)) }

// Validate returns [ErrInvalid], naming the part, unless market and timeframe are
// usable.
func (s Series) Validate() error {
	_, err := s.period()
	return err
}

func (s Series) period() (p period, err error) {
	if err := s.Market.Validate(); err != nil {
		return p, err
	}
	return s.Timeframe.period()
}
