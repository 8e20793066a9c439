package legacy

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/fullon/fulloncache"
)

// object is a JSON object as Python writes it, numbers with all their digits. It keeps
// the first error of those who read numbers and times of it.
type object struct {
	fields map[string]any
	err    error
}

func parse(text string) (*object, error) {
	o := &object{}
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&o.fields); err != nil {
		return o, fmt.Errorf("it is no JSON object: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) || o.fields == nil {
		return o, errors.New("it is no JSON object")
	}
	return o, nil
}

// inner is a field that is an object itself.
func (o *object) inner(name string) (*object, bool) {
	fields, ok := o.fields[name].(map[string]any)
	return &object{fields: fields}, ok
}

// text is a field as text; "" if it is not there, or null.
func (o *object) text(name string) string {
	switch v := o.fields[name].(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

// integer is a field that is a whole number; 0 if it is not there, or is a text.
func (o *object) integer(name string) int64 {
	n, err := strconv.ParseInt(o.text(name), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// flag is a field that is true or 1.
func (o *object) flag(name string) bool {
	set, _ := o.fields[name].(bool)
	return set || o.text(name) == "1"
}

// some is a number; not valid if there is none.
func (o *object) some(name string) (n fulloncache.NullDecimal) {
	if o.fields[name] == nil {
		return n
	}
	value, err := fulloncache.ParseDecimal(o.text(name))
	if err != nil && o.err == nil {
		o.err = fmt.Errorf("%s: %w", name, err)
	}
	return fulloncache.NullDecimal{Decimal: value, Valid: err == nil}
}

// number is a number; 0 if there is none.
func (o *object) number(name string) fulloncache.Decimal { return o.some(name).Decimal }

// when is the time of a field.
func (o *object) when(name string) time.Time {
	t, err := readTime(o.text(name))
	if err != nil && o.err == nil {
		o.err = fmt.Errorf("%s: %w", name, err)
	}
	return t
}

// offer is a price; not valid if there is none, which the source may write as 0.
func (o *object) offer(name string) fulloncache.NullDecimal {
	n := o.some(name)
	n.Valid = n.Valid && !n.Decimal.IsZero()
	return n
}

// first is the first of some fields that is there.
func (o *object) first(names ...string) (n fulloncache.NullDecimal) {
	for _, name := range names {
		if n = o.some(name); n.Valid {
			return n
		}
	}
	return n
}

// layouts are how Python writes times; without a zone they are UTC.
var layouts = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999"}

// readTime reads a time: one of the layouts, or seconds since 1970; so large that
// they were after the year 5000, milliseconds.
func readTime(text string) (time.Time, error) {
	for _, layout := range layouts {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC(), nil
		}
	}
	nanos, ok := new(big.Rat).SetString(text)
	// An exponent could name a number that no memory holds.
	if !ok || strings.Trim(text, "0123456789.") != "" || len(text) > 40 {
		return time.Time{}, fmt.Errorf("%q is no time", text)
	}
	scale := int64(time.Second)
	if nanos.Cmp(big.NewRat(1e11, 1)) >= 0 {
		scale = int64(time.Millisecond)
	}
	nanos.Mul(nanos, big.NewRat(scale, 1))
	whole := new(big.Int).Quo(nanos.Num(), nanos.Denom())
	if !whole.IsInt64() {
		return time.Time{}, fmt.Errorf("%q is no time", text)
	}
	return time.Unix(0, whole.Int64()).UTC(), nil
}
