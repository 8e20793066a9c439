package fulloncache

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/quagmt/udecimal"
)

// Bounds of a [Decimal]. What goes beyond them is refused, never rounded.
const (
	// MaxDecimalPlaces is how many digits a Decimal can have after the point.
	MaxDecimalPlaces = 19
	// MaxDecimalDigits is how many digits a Decimal can have in all.
	MaxDecimalDigits = 38

	// maxDecimalText bounds what the parser looks at, so that a hostile value
	// costs nothing: 38 digits, a sign, a point, an exponent and leading and
	// trailing zeros fit with room.
	maxDecimalText = 128
)

// Decimal is an exact decimal number: a price, a size, a fee. It holds up to
// [MaxDecimalDigits] digits, [MaxDecimalPlaces] of them after the point, and is
// never rounded unless a caller names places and mode. The zero value is 0.
//
// Equality is numeric: "1.50" and "1.5" are [Decimal.Equal]; both print "1.5".
// Compare with Equal or Cmp, not with ==.
//
//	p, err := fulloncache.ParseDecimal("67123.45")
//	if err != nil {
//		return err
//	}
//	fmt.Println(p.Add(fulloncache.MustDecimal("0.05"))) // 67123.5
//
// In JSON a Decimal is written as a string and read from a string or a number.
type Decimal struct{ d udecimal.Decimal }

// ParseDecimal reads a number as exchanges send it: "0.1", "-3", "1e-8",
// "914332.06000000". It returns [ErrInvalid], naming the text, for anything
// that is not a finite number or that a Decimal cannot hold exactly.
func ParseDecimal(s string) (Decimal, error) {
	d, err := parseDecimal(s)
	if err != nil {
		if len(s) > maxDecimalText {
			s = s[:maxDecimalText] + "…"
		}
		return Decimal{}, fmt.Errorf("%w: decimal %q: %w", ErrInvalid, s, err)
	}
	return d, nil
}

func parseDecimal(s string) (Decimal, error) {
	if len(s) > maxDecimalText {
		return Decimal{}, fmt.Errorf("longer than %d characters", maxDecimalText)
	}
	if plain(s) {
		// The form nearly every exchange sends; 19 characters cannot leave the bounds.
		d, err := udecimal.Parse(s)
		return Decimal{d}, err
	}
	neg, coef, exp, ok := split(s)
	if !ok {
		return Decimal{}, errNotANumber
	}
	return compose(neg, coef, exp)
}

var errNotANumber = errors.New("not a finite decimal number")

// plain reports whether s is short and made of digits with at most a leading
// minus and one inner point.
func plain(s string) bool {
	if len(s) == 0 || len(s) > MaxDecimalPlaces {
		return false
	}
	points := 0
	for i := range len(s) {
		switch c := s[i]; {
		case c >= '0' && c <= '9':
		case c == '-' && i == 0 && len(s) > 1 && s[1] != '.':
		case c == '.' && i > 0 && i < len(s)-1:
			points++
		default:
			return false
		}
	}
	return points <= 1
}

// split takes a number apart: its digits without leading zeros, and the power
// of ten they are multiplied by.
func split(s string) (neg bool, coef string, exp int, ok bool) {
	if s != "" && (s[0] == '-' || s[0] == '+') {
		neg = s[0] == '-'
		s = s[1:]
	}
	mantissa, power, hasPower := s, "", false
	if i := strings.IndexAny(s, "eE"); i >= 0 {
		mantissa, power, hasPower = s[:i], s[i+1:], true
	}
	if hasPower {
		n, err := strconv.ParseInt(power, 10, 16)
		if err != nil {
			return false, "", 0, false
		}
		exp = int(n)
	}
	whole, frac, _ := strings.Cut(mantissa, ".")
	if whole+frac == "" || strings.Trim(whole, "0123456789") != "" || strings.Trim(frac, "0123456789") != "" {
		return false, "", 0, false
	}
	coef = strings.TrimLeft(whole+frac, "0")
	exp -= len(frac)
	trimmed := strings.TrimRight(coef, "0")
	return neg, trimmed, exp + len(coef) - len(trimmed), true
}

// compose builds the Decimal ±coef × 10^exp, refusing what it cannot hold.
func compose(neg bool, coef string, exp int) (Decimal, error) {
	switch {
	case coef == "":
		return Decimal{}, nil
	case -exp > MaxDecimalPlaces:
		return Decimal{}, fmt.Errorf("has %d decimals, at most %d fit", -exp, MaxDecimalPlaces)
	case len(coef)+max(exp, 0) > MaxDecimalDigits:
		return Decimal{}, fmt.Errorf("has %d digits, at most %d fit", len(coef)+max(exp, 0), MaxDecimalDigits)
	}
	places := max(-exp, 0)
	n, _ := new(big.Int).SetString(coef+strings.Repeat("0", max(exp, 0)), 10)
	return fromBig(neg, n, places)
}

// fromBig builds ±n × 10^-places. n has at most MaxDecimalDigits digits, which
// fit in 128 bits.
func fromBig(neg bool, n *big.Int, places int) (Decimal, error) {
	hi := new(big.Int).Rsh(n, 64).Uint64()
	lo := new(big.Int).And(n, new(big.Int).SetUint64(^uint64(0))).Uint64()
	d, err := udecimal.NewFromHiLo(neg && n.Sign() != 0, hi, lo, uint8(places))
	return Decimal{d}, err
}

// NewDecimal returns coef × 10^-places: NewDecimal(12345, 2) is 123.45. It
// returns [ErrInvalid] unless places is from 0 to [MaxDecimalPlaces].
func NewDecimal(coef int64, places int) (Decimal, error) {
	if places < 0 || places > MaxDecimalPlaces {
		return Decimal{}, fmt.Errorf("%w: decimal with %d places: want 0 to %d", ErrInvalid, places, MaxDecimalPlaces)
	}
	n := big.NewInt(coef)
	return fromBig(coef < 0, n.Abs(n), places)
}

// MustDecimal is [ParseDecimal] for numbers written in the source; it panics on
// one that is malformed.
func MustDecimal(s string) Decimal {
	d, err := ParseDecimal(s)
	if err != nil {
		panic(err)
	}
	return d
}

// String returns the number in plain notation without trailing zeros.
func (d Decimal) String() string { return d.d.String() }

// Cmp returns -1, 0 or 1 as d is less than, equal to or greater than e.
func (d Decimal) Cmp(e Decimal) int { return d.d.Cmp(e.d) }

// Equal reports whether both are the same number, whatever their zeros.
func (d Decimal) Equal(e Decimal) bool { return d.d.Equal(e.d) }

// Sign returns -1, 0 or 1 as d is negative, zero or positive.
func (d Decimal) Sign() int { return d.d.Sign() }

// IsZero reports whether d is 0.
func (d Decimal) IsZero() bool { return d.d.IsZero() }

// Add returns d + e, exactly.
func (d Decimal) Add(e Decimal) Decimal { return Decimal{d.d.Add(e.d)} }

// Sub returns d - e, exactly.
func (d Decimal) Sub(e Decimal) Decimal { return Decimal{d.d.Sub(e.d)} }

// Float64 returns the nearest float64, for a chart or a ratio. It is inexact:
// do not compute money with it.
func (d Decimal) Float64() float64 { return d.d.InexactFloat64() }

// Rounding says which neighbour [Decimal.Round] takes.
type Rounding int

// The rounding modes.
const (
	// Down takes the neighbour nearer to zero: a size never grows.
	Down Rounding = iota
	// HalfEven takes the nearest neighbour; a tie goes to the even digit.
	HalfEven
	// HalfUp takes the nearest neighbour; a tie goes away from zero.
	HalfUp
)

// Round returns d with at most the given number of decimal places, which is
// from 0 to [MaxDecimalPlaces]; other numbers of places and modes are
// [ErrInvalid].
func (d Decimal) Round(places int, mode Rounding) (Decimal, error) {
	if places < 0 || places > MaxDecimalPlaces {
		return Decimal{}, fmt.Errorf("%w: round to %d places: want 0 to %d", ErrInvalid, places, MaxDecimalPlaces)
	}
	switch p := uint8(places); mode {
	case Down:
		return Decimal{d.d.Trunc(p)}, nil
	case HalfEven:
		return Decimal{d.d.RoundBank(p)}, nil
	case HalfUp:
		return Decimal{d.d.RoundHAZ(p)}, nil
	}
	return Decimal{}, fmt.Errorf("%w: rounding mode %d: want Down, HalfEven or HalfUp", ErrInvalid, mode)
}

// rat returns d as a fraction, for products that would exceed a Decimal.
func (d Decimal) rat() *big.Rat {
	r, _ := new(big.Rat).SetString(d.String())
	return r
}

// AppendText appends the number as String gives it.
func (d Decimal) AppendText(b []byte) ([]byte, error) { return d.d.AppendText(b) }

// append is AppendText, which never fails.
func (d Decimal) append(b []byte) []byte {
	b, _ = d.AppendText(b)
	return b
}

// MarshalText returns the number as String gives it.
func (d Decimal) MarshalText() ([]byte, error) { return d.AppendText(nil) }

// UnmarshalText is [ParseDecimal].
func (d *Decimal) UnmarshalText(b []byte) (err error) {
	*d, err = ParseDecimal(string(b))
	return err
}

// UnmarshalJSON reads a JSON string or a JSON number, without a float64 in
// between. null is refused: an absent number is a [NullDecimal].
func (d *Decimal) UnmarshalJSON(b []byte) error {
	s := string(b)
	if len(s) >= 2 && s[0] == '"' && s[len(s)-1] == '"' {
		s = s[1 : len(s)-1]
	}
	return d.UnmarshalText([]byte(s))
}

// NullDecimal is a Decimal that may be absent, as a ticker's volume is where an
// exchange sends none. The zero value is absent, which is not 0. With the JSON
// option omitzero an absent one is left out.
type NullDecimal struct {
	Decimal Decimal
	Valid   bool // Valid is true if the number is there.
}

// Some returns d as a NullDecimal that is there.
func Some(d Decimal) NullDecimal { return NullDecimal{Decimal: d, Valid: true} }

// String returns the number, or "" if it is absent.
func (n NullDecimal) String() string {
	if !n.Valid {
		return ""
	}
	return n.Decimal.String()
}

// Equal reports whether both are absent, or both are there and the same number.
func (n NullDecimal) Equal(o NullDecimal) bool {
	return n.Valid == o.Valid && (!n.Valid || n.Decimal.Equal(o.Decimal))
}

// IsZero reports whether the number is absent.
func (n NullDecimal) IsZero() bool { return !n.Valid }

// MarshalJSON writes the number as a string, or null.
func (n NullDecimal) MarshalJSON() ([]byte, error) {
	if !n.Valid {
		return []byte("null"), nil
	}
	return []byte(`"` + n.Decimal.String() + `"`), nil
}

// UnmarshalJSON reads what [Decimal.UnmarshalJSON] reads, and null as absent.
func (n *NullDecimal) UnmarshalJSON(b []byte) error {
	if string(b) == "null" {
		*n = NullDecimal{}
		return nil
	}
	var d Decimal
	err := d.UnmarshalJSON(b)
	*n = NullDecimal{Decimal: d, Valid: err == nil}
	return err
}

// fits reports whether a Decimal can hold the number: a sum can have more digits.
func (d Decimal) fits() bool {
	_, hi, lo, _, ok := d.d.ToHiLo()
	// 10^38 is the first that has too many.
	const first, second = 0x4b3b4ca85a86c47a, 0x098a224000000000
	return ok && (hi < first || hi == first && lo < second)
}
