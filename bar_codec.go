package fulloncache

import (
	"cmp"
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
	if open, high, low, closed, short := b.short(); short {
		upper, lower := open, closed
		order := open.compare(closed)
		if order < 0 {
			upper, lower = lower, upper
		}
		return order == 0, high.compare(upper) == 0, low.compare(lower) == 0
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
	short, ok := d.short()
	if !ok {
		return d.append(to)
	}
	n, places := short.digits, short.places
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
	if b.quick(text, p) {
		return nil
	}
	fields := strings.Split(text, ",")
	seconds, err := strconv.ParseUint(fields[0], 10, 64)
	switch {
	case len(fields[0]) != 10 || err != nil:
		return &elementError{name: "time", err: errors.New("want ten digits of seconds since 1970")}
	case len(fields) != len(barFields):
		return errBarFields
	}
	b.Time = unixUTC(int64(seconds))
	for i, to := range b.numbers() {
		name, text := barFields[1+i], fields[1+i]
		switch {
		case text != "":
			*to, err = ParseDecimal(text)
		case name == "open" || name == "volume":
			err = errMissing
		}
		if err != nil {
			return &elementError{name: name, err: err}
		}
	}
	if fields[4] == "" {
		b.Close = b.Open
	}
	higher, lower := b.ends()
	if fields[2] == "" {
		b.High = *higher
	}
	if fields[3] == "" {
		b.Low = *lower
	}
	// What no write takes was not written by one: never let it look right.
	if name, err := b.invalid(p); err != nil {
		return &elementError{name: name, err: err}
	}
	return nil
}

// quick reads a bar whose numbers are short, as nearly all are: a listing has tens of
// thousands. It reports false for all others, and if anything is wrong.
func (b *Bar) quick(text string, p *period) bool {
	const comma = 10
	if len(text) <= comma || text[comma] != ',' {
		return false
	}
	seconds, left, ok := takeNumber(text)
	if !ok || seconds.places > 0 || left != text[comma:] || !p.aligned(int64(seconds.digits)) {
		return false
	}
	var n [5]shortNumber
	for i := range n {
		if left == "" {
			return false
		}
		if n[i], left, ok = takeNumber(left[1:]); !ok {
			return false
		}
	}
	open, high, low, closed := &n[0], &n[1], &n[2], &n[3]
	if left != "" || open.absent || n[4].absent {
		return false
	}
	if closed.absent {
		*closed = *open
	}
	top, bottom := *open, *closed
	if open.compare(*closed) < 0 {
		top, bottom = bottom, top
	}
	if high.absent {
		*high = top
	}
	if low.absent {
		*low = bottom
	}
	if low.digits == 0 || low.compare(bottom) > 0 || high.compare(top) < 0 {
		return false
	}
	b.Time = unixUTC(int64(seconds.digits))
	for i, to := range b.numbers() {
		to.d, _ = udecimal.NewFromHiLo(false, 0, n[i].digits, n[i].places) // less than 19 places always fit
	}
	return true
}

// numbers are the numbers of a bar, in the order of its text.
func (b *Bar) numbers() [5]*Decimal {
	return [...]*Decimal{&b.Open, &b.High, &b.Low, &b.Close, &b.Volume}
}

// shortNumber is a number whose digits, of which as many as places are behind the
// point, fit a uint64, as those of nearly all prices do.
type shortNumber struct {
	digits uint64
	places uint8
	absent bool
}

// short returns the number as a shortNumber; false if it is none, or negative.
func (d Decimal) short() (n shortNumber, ok bool) {
	negative, high, low, places, ok := d.d.ToHiLo()
	return shortNumber{digits: low, places: places}, ok && !negative && high == 0
}

// compare returns -1, 0 or 1 as n is less than, equal to or greater than o.
func (n shortNumber) compare(o shortNumber) int {
	for ; n.places < o.places; n.places++ {
		if n.digits > math.MaxUint64/10 {
			return 1
		}
		n.digits *= 10
	}
	for ; o.places < n.places; o.places++ {
		if o.digits > math.MaxUint64/10 {
			return -1
		}
		o.digits *= 10
	}
	return cmp.Compare(n.digits, o.digits)
}

// maxShort is how many characters a short number has at most: their digits fit.
const maxShort = 19

// takeNumber takes the number off that a text begins with, up to a comma or its end. It
// reports false for what has other characters than digits and a point, or too many.
func takeNumber(s string) (n shortNumber, left string, ok bool) {
	at, point := 0, -1
	for ; at < len(s) && s[at] != ','; at++ {
		switch c := s[at]; {
		case c >= '0' && c <= '9':
			n.digits = 10*n.digits + uint64(c-'0')
		case c == '.' && point < 0:
			point = at
		default:
			return n, s, false
		}
	}
	n.absent = at == 0
	if point >= 0 {
		n.places = uint8(at - point - 1)
	}
	return n, s[at:], at <= maxShort && (point < 0 || point > 0 && n.places > 0)
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
