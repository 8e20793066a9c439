package fulloncache

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Structured values in Redis are flat JSON objects. encoding/json takes some
// microseconds for one; a listing has hundreds. What follows writes them, and
// reads what it writes, several times as fast, and leaves the rest to
// encoding/json.

// jsonObject appends members to a JSON object under way.
type jsonObject struct{ b []byte }

func (o *jsonObject) name(name string) {
	if len(o.b) == 0 {
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

func (o *jsonObject) String() string { return string(append(o.b, '}')) }

// appendJSONString quotes a text that is valid UTF-8.
func appendJSONString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// flatJSON calls member with each member of a flat JSON object as jsonObject
// writes it: without white space, nesting, escapes and exponents. value is a text
// without its quotes, or a literal. It reports false, perhaps after some calls, for
// everything else, and if member does.
func flatJSON(s string, member func(name, value string, text bool) bool) bool {
	if s == "" || s[0] != '{' {
		return false
	}
	for at := 1; ; {
		name, end := quoted(s, at)
		if end < 0 || end+1 >= len(s) || s[end] != ':' {
			return false
		}
		at = end + 1
		var value string
		text := s[at] == '"'
		if text {
			value, end = quoted(s, at)
		} else {
			value, end = literal(s, at)
		}
		if end < 0 || end == len(s) || !member(name, value, text) {
			return false
		}
		if s[end] == '}' {
			return end == len(s)-1
		}
		if s[end] != ',' {
			return false
		}
		at = end + 1
	}
}

// quoted returns the text in quotes that begins at a position, without escapes,
// and where it ends; -1 if there is none.
func quoted(s string, at int) (text string, end int) {
	if at >= len(s) || s[at] != '"' {
		return "", -1
	}
	at++
	all := byte(0)
	for end := at; end < len(s); end++ {
		c := s[end]
		switch {
		case c == '"':
			text = s[at:end]
			if all >= utf8.RuneSelf && !utf8.ValidString(text) {
				return "", -1
			}
			return text, end + 1
		case c == '\\' || c < ' ':
			return "", -1
		}
		all |= c
	}
	return "", -1
}

// literal returns the number without an exponent, or the word, that begins at a
// position, and where it ends; -1 if there is none.
func literal(s string, at int) (value string, end int) {
	for end = at; end < len(s) && s[end] != ',' && s[end] != '}'; end++ {
	}
	value = s[at:end]
	if value == "true" || value == "false" || value == "null" {
		return value, end
	}
	whole, fraction, pointed := strings.Cut(strings.TrimPrefix(value, "-"), ".")
	if !digits(whole) || whole[0] == '0' && len(whole) > 1 || pointed && !digits(fraction) {
		return "", -1
	}
	return value, end
}

// digits reports whether a text is decimal digits, one at least.
func digits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
