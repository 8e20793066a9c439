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
// writes it: without white space, nesting and escapes. value is a text without
// its quotes, or a literal. It reports false, perhaps after some calls, for
// everything else, and if member does.
func flatJSON(s string, member func(name, value string, text bool) bool) bool {
	if len(s) < 2 || s[0] != '{' || s[len(s)-1] != '}' || strings.IndexByte(s, '\\') >= 0 || !utf8.ValidString(s) {
		return false
	}
	for rest := s[1:]; ; {
		name, after, ok := quoted(rest)
		if !ok || after == "" || after[0] != ':' {
			return false
		}
		rest = after[1:]
		value, text := "", rest[0] == '"'
		if text {
			if value, rest, ok = quoted(rest); !ok {
				return false
			}
		} else {
			end := strings.IndexAny(rest, `,}"{[] `)
			if end <= 0 {
				return false
			}
			value, rest = rest[:end], rest[end:]
		}
		if !member(name, value, text) || rest == "" {
			return false
		}
		if rest == "}" {
			return true
		}
		if rest[0] != ',' {
			return false
		}
		rest = rest[1:]
	}
}

// quoted cuts a text in quotes, without escapes, off s.
func quoted(s string) (text, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return "", "", false
	}
	text, rest, ok = strings.Cut(s[1:], `"`)
	return text, rest, ok
}
