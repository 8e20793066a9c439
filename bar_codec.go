package fulloncache

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/quagmt/udecimal"
)

// A bar in a list is a line of text:
//
//	time,open,high,low,close,volume
//	1640991660,46319,46385,,46377,2300413.7295
//
// The time is ten digits of seconds since 1970, so that bars sort as texts; the
// rest are exact decimals. What can be told from the open and the close is left
// out: a close that is the open, a high that is the higher of both, a low that is
// the lower.

// append writes the bar, of which nothing is wrong.
func (b *Bar) append(to []byte) []byte {
	at := b.Time.Unix()
	for unit := int64(1e9); unit > 0; unit /= 10 {
		to = append(to, '0'+byte(at/unit%10))
	}
	flat, top, bottom := b.redundant()
	to = appendNumber(append(to, ','), b.Open)
	if to = append(to, ','); !top {
		to = appendNumber(to, b.High)
	}
	if to = append(to, ','); !bottom {
		to = appendNumber(to, b.Low)
	}
	if to = append(to, ','); !flat {
		to = appendNumber(to, b.Close)
	}
	return appendNumber(append(to, ','), b.Volume)
}

// redundant reports whether the close is the open, the high the higher and the low
// the lower of both.
func (b *Bar) redundant() (flat, top, bottom bool) {
	if n, short := b.prices(); short {
		open, high, low, closed := n[0], n[1], n[2], n[3]
		return open == closed, high == max(open, closed), low == min(open, closed)
	}
	higher, lower := b.ends()
	return b.Open.Equal(b.Close), b.High.Equal(*higher), b.Low.Equal(*lower)
}

// ends are the higher and the lower one of open and close.
func (b *Bar) ends() (higher, lower *Decimal) {
	if b.Open.Cmp(b.Close) < 0 {
		return &b.Close, &b.Open
	}
	return &b.Open, &b.Close
}

// appendNumber is Decimal.append, faster for short numbers.
func appendNumber(to []byte, d Decimal) []byte {
	negative, high, n, places, ok := d.d.ToHiLo()
	if negative || high != 0 || !ok {
		return d.append(to)
	}
	for places > 0 && n%10 == 0 {
		n, places = n/10, places-1
	}
	var digits [2 * maxPlain]byte
	at := len(digits)
	for i := uint8(0); n > 0 || i <= places; i++ {
		if i == places && places > 0 {
			at--
			digits[at] = '.'
		}
		at--
		digits[at] = '0' + byte(n%10)
		n /= 10
	}
	return append(to, digits[at:]...)
}

// maxPlain is how many digits a uint64 has.
const maxPlain = 20

// barFields are the names of a bar's fields, in the order of its text.
var barFields = [...]string{"time", "open", "high", "low", "close", "volume"}

var errBarFields = errors.New("want time,open,high,low,close,volume")

// readBar reads what append writes into a bar. Its errors name the field where one is
// to blame; what is in the bar then means nothing.
func readBar(text string, p *period, b *Bar) error {
	when, rest, _ := strings.Cut(text, ",")
	seconds, err := strconv.ParseUint(when, 10, 64)
	if len(when) != 10 || err != nil {
		return &elementError{name: "time", err: errors.New("want ten digits of seconds since 1970")}
	}
	b.Time = unixUTC(int64(seconds))
	numbers := [...]*Decimal{&b.Open, &b.High, &b.Low, &b.Close, &b.Volume}
	var absent [len(numbers)]bool
	for i, to := range numbers {
		if i > 0 {
			if rest == "" {
				return errBarFields
			}
			rest = rest[1:] // the comma
		}
		left, quick := readNumber(rest, to)
		if !quick {
			var text string
			text, left = rest, ""
			if end := strings.IndexByte(rest, ','); end >= 0 {
				text, left = rest[:end], rest[end:]
			}
			if absent[i] = text == ""; !absent[i] {
				if *to, err = ParseDecimal(text); err != nil {
					return &elementError{name: barFields[1+i], err: err}
				}
			}
		}
		rest = left
	}
	switch {
	case rest != "":
		return errBarFields
	case absent[0]:
		return &elementError{name: "open", err: errMissing}
	case absent[4]:
		return &elementError{name: "volume", err: errMissing}
	}
	if absent[3] {
		b.Close = b.Open
	}
	if absent[1] || absent[2] {
		higher, lower := b.ends()
		if absent[1] {
			b.High = *higher
		}
		if absent[2] {
			b.Low = *lower
		}
	}
	// What no write takes was not written by one: never let it look right.
	if name, err := b.invalid(p); err != nil {
		return &elementError{name: name, err: err}
	}
	return nil
}

// readNumber reads the number that a text begins with, up to a comma or its end, and
// returns what is left. It knows digits and a point, which is what nearly all are
// made of, and reports false for the rest.
func readNumber(s string, to *Decimal) (left string, quick bool) {
	n, at, point := uint64(0), 0, -1
	for ; at < len(s) && s[at] != ','; at++ {
		switch c := s[at]; {
		case c >= '0' && c <= '9' && n < math.MaxUint64/100:
			n = 10*n + uint64(c-'0')
		case c == '.' && point < 0 && at > 0:
			point = at
		default:
			return "", false
		}
	}
	places := 0
	if point >= 0 {
		places = at - point - 1
	}
	if at == 0 || point == at-1 || places > MaxDecimalPlaces {
		return "", false
	}
	d, err := udecimal.NewFromHiLo(false, 0, n, uint8(places))
	to.d = d
	return s[at:], err == nil
}

// corruptBar says what is wrong with the element of a list.
func corruptBar(key string, index int, text string, err error) error {
	where := "element " + strconv.Itoa(index)
	var field *elementError
	if errors.As(err, &field) {
		where, err = where+", "+field.name, field.err
	}
	return &CorruptError{Key: key, Field: where, Err: fmt.Errorf("%s: %w", excerpt(text), err)}
}
