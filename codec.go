package fulloncache

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Structured values in Redis are flat JSON objects. encoding/json takes some
// microseconds for one; a listing has hundreds. What follows writes them, and
// reads what it has written, ten times as fast, and leaves the rest to
// encoding/json.

// jsonObject appends members to a JSON object under way.
type jsonObject struct {
	b     []byte
	start int // where in b it begins
}

func (o *jsonObject) name(name string) {
	if len(o.b) == o.start {
		o.b = append(o.b, '{')
	} else {
		o.b = append(o.b, ',')
	}
	o.b = append(o.b, '"')
	o.b = append(o.b, name...)
	o.b = append(o.b, '"', ':')
}

// text appends a text; an empty one is left out unless it is required.
func (o *jsonObject) text(name, value string, required bool) {
	if value == "" && !required {
		return
	}
	o.name(name)
	o.b = appendJSONString(o.b, value)
}

// whole appends a whole number; 0 is left out unless it is required.
func (o *jsonObject) whole(name string, value int64, required bool) {
	if value == 0 && !required {
		return
	}
	o.name(name)
	o.b = strconv.AppendInt(o.b, value, 10)
}

// flag appends a truth; false is left out.
func (o *jsonObject) flag(name string, value bool) {
	if value {
		o.name(name)
		o.b = append(o.b, "true"...)
	}
}

// decimal appends a number as an exact literal; an absent one is left out.
func (o *jsonObject) decimal(name string, value NullDecimal) {
	if value.Valid {
		o.name(name)
		o.b = value.Decimal.append(o.b)
	}
}

// moment appends a time as formatTime writes it.
func (o *jsonObject) moment(name string, t time.Time) {
	o.name(name)
	o.b = append(appendTime(append(o.b, '"'), t), '"')
}

func (o *jsonObject) String() string { return string(append(o.b, '}')) }

// appendJSONString quotes a text that is valid UTF-8.
func appendJSONString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	plain := 0 // from where on nothing was to be escaped
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		b = append(b, s[plain:i]...)
		plain = i + 1
		if c < ' ' {
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		} else {
			b = append(b, '\\', c)
		}
	}
	return append(append(b, s[plain:]...), '"')
}

// appendParts appends the parts of a text, each up to one of the ends. They are made
// as one string: many arguments then cost one allocation.
func appendParts(args []string, text []byte, ends []int) []string {
	whole, from := string(text), 0
	for _, end := range ends {
		args = append(args, whole[from:end])
		from = end
	}
	return args
}

// jsonReader takes members off a JSON object as jsonObject writes it: in the same
// order, without white space and escapes. What is not of that form it leaves to
// encoding/json: it marks it as odd.
type jsonReader struct {
	s   string
	at  int
	odd bool
}

// member reports whether a member of that name is next, and takes it off up to its
// value.
func (r *jsonReader) member(name string) bool {
	first, value := r.at+len(`,"`), r.at+len(`,"`)+len(name)+len(`":`)
	if value >= len(r.s) || r.s[first:value-2] != name || r.s[value-2] != '"' || r.s[value-1] != ':' || r.s[first-1] != '"' {
		return false
	}
	if opens := r.at == 0; opens && r.s[0] != '{' || !opens && r.s[r.at] != ',' {
		return false
	}
	r.at = value
	return true
}

// text takes a text off, "" if there is none.
func (r *jsonReader) text(name string) string {
	if !r.member(name) {
		return ""
	}
	first, all := r.at+1, byte(0)
	if r.s[r.at] != '"' {
		r.odd = true
		return ""
	}
	for i := first; i < len(r.s); i++ {
		c := r.s[i]
		switch {
		case c == '"':
			r.at = i + 1
			r.odd = r.odd || all >= utf8.RuneSelf && !utf8.ValidString(r.s[first:i])
			return r.s[first:i]
		case c == '\\' || c < ' ':
			r.odd = true
			return ""
		}
		all |= c
	}
	r.odd = true
	return ""
}

// whole takes a whole number off, 0 if there is none.
func (r *jsonReader) whole(name string) (n int64) {
	if !r.member(name) {
		return 0
	}
	digits := r.digits()
	if len(digits) == 0 || len(digits) > 18 || digits[0] == '0' && len(digits) > 1 {
		r.odd = true
		return 0
	}
	for i := range len(digits) {
		n = 10*n + int64(digits[i]-'0')
	}
	return n
}

// digits takes digits off.
func (r *jsonReader) digits() string {
	first := r.at
	for r.at < len(r.s) && r.s[r.at] >= '0' && r.s[r.at] <= '9' {
		r.at++
	}
	return r.s[first:r.at]
}

// flag takes a truth off; false if there is none.
func (r *jsonReader) flag(name string) bool {
	if !r.member(name) {
		return false
	}
	const word = "true"
	if !strings.HasPrefix(r.s[r.at:], word) {
		r.odd = true
		return false
	}
	r.at += len(word)
	return true
}

// decimal takes a number off, if there is one.
func (r *jsonReader) decimal(name string) (n NullDecimal) {
	if !r.member(name) {
		return n
	}
	first := r.at
	if r.at < len(r.s) && r.s[r.at] == '-' {
		r.at++
	}
	whole := r.digits()
	if r.at < len(r.s) && r.s[r.at] == '.' {
		r.at++
		r.odd = r.odd || r.digits() == ""
	}
	var err error
	n.Decimal, err = ParseDecimal(r.s[first:r.at])
	n.Valid = true
	r.odd = r.odd || err != nil || whole == "" || whole[0] == '0' && len(whole) > 1
	return n
}

// done reports whether that was all, and nothing was odd.
func (r *jsonReader) done() bool {
	return !r.odd && r.at > 0 && r.s[r.at:] == "}"
}

// decodeFields reads a JSON object as encoding/json does, each field to where
// field says, if anywhere. An error of one names it.
func decodeFields(text string, field func(name string) any) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		return err
	}
	for name, value := range fields {
		if to := field(name); to != nil {
			if err := json.Unmarshal(value, to); err != nil {
				return &elementError{name: name, err: err}
			}
		}
	}
	return nil
}

// errMissing is what is wrong with a field that is not there.
var errMissing = errors.New("missing")
