package logging

import (
	"context"
	"encoding"
	"fmt"
	"io"
	"log/slog"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"
)

// textHandler is what the text formats share: slog's rules of levels, attributes
// and groups. A format writes a record of which the time is UTC, together with
// all its attributes as a flat list: keys bear their groups ("order.id"), values
// are strings, numbers, booleans or durations.
type textHandler struct {
	level  slog.Level
	attrs  []slog.Attr
	prefix string // the open groups, as they stand before a key
	write  func(ctx context.Context, r slog.Record, attrs []slog.Attr) error
}

func (h *textHandler) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h *textHandler) Handle(ctx context.Context, r slog.Record) error {
	attrs := slices.Clip(h.attrs) // appending copies: others share h.attrs
	r.Attrs(func(a slog.Attr) bool {
		attrs = flatten(attrs, h.prefix, a)
		return true
	})
	r.Time = r.Time.UTC()
	return h.write(ctx, r, attrs)
}

func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	with.attrs = slices.Clip(h.attrs)
	for _, a := range attrs {
		with.attrs = flatten(with.attrs, h.prefix, a)
	}
	return &with
}

func (h *textHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	with := *h
	with.prefix += name + "."
	return &with
}

// flatten appends an attribute, or those of a group with its name in front.
func flatten(to []slog.Attr, prefix string, a slog.Attr) []slog.Attr {
	a.Value = a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return to
	}
	switch a.Value.Kind() {
	case slog.KindGroup:
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range a.Value.Group() {
			to = flatten(to, prefix, inner)
		}
		return to
	case slog.KindTime:
		a.Value = slog.StringValue(a.Value.Time().UTC().Format(time.RFC3339Nano))
	case slog.KindAny:
		a.Value = slog.StringValue(text(a.Value.Any()))
	}
	a.Key = prefix + a.Key
	return append(to, a)
}

// text is how a value of any type reads. One that panics must not end the program
// that logs it; fmt takes care of the methods it calls itself.
func text(v any) (s string) {
	defer func() {
		if r := recover(); r != nil {
			s = fmt.Sprintf("!PANIC: %v", r)
			if v := reflect.ValueOf(v); v.Kind() == reflect.Pointer && v.IsNil() {
				s = "<nil>"
			}
		}
	}()
	switch v := v.(type) {
	case encoding.TextMarshaler:
		b, err := v.MarshalText()
		if err != nil {
			return "!ERROR: " + err.Error()
		}
		return string(b)
	case []byte:
		return string(v)
	}
	return fmt.Sprintf("%+v", v)
}

// lines writes each record as layout puts it, in one call and one line.
func lines(w io.Writer, layout func(r slog.Record, attrs []slog.Attr) []byte) func(context.Context, slog.Record, []slog.Attr) error {
	var mu sync.Mutex
	return func(_ context.Context, r slog.Record, attrs []slog.Attr) error {
		line := append(layout(r, attrs), '\n')
		mu.Lock()
		defer mu.Unlock()
		_, err := w.Write(line)
		return err
	}
}

// levelName is slog's name of a level, and CRITICAL.
func levelName(level slog.Level) string {
	switch {
	case level < LevelCritical:
		return level.String()
	case level == LevelCritical:
		return "CRITICAL"
	}
	return fmt.Sprintf("CRITICAL%+d", int(level-LevelCritical))
}

// oneLine escapes what would begin another line or steer the terminal: what comes
// from outside must not look like a record of its own.
func oneLine(s string) string {
	if plain(s) {
		return s
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

// quoted quotes what would not read as one word.
func quoted(s string) string {
	if s != "" && plain(s) && !strings.ContainsAny(s, ` "=`) {
		return s
	}
	return strconv.Quote(s)
}

func plain(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
