package logging

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/lmittmann/tint"
)

// formats make the handlers.
var formats = map[string]func(w io.Writer, level slog.Level, colours bool) slog.Handler{
	Beautiful: func(w io.Writer, level slog.Level, colours bool) slog.Handler {
		return tint.NewTextHandler(w, &tint.Options{Level: level, NoColor: !colours, TimeFormat: "15:04:05.000", ReplaceAttr: replace(short)})
	},
	Development: func(w io.Writer, level slog.Level, colours bool) slog.Handler {
		return tint.NewTextHandler(w, &tint.Options{Level: level, NoColor: !colours, TimeFormat: "15:04:05.000", AddSource: true, ReplaceAttr: replace(short)})
	},
	Minimal: func(w io.Writer, level slog.Level, colours bool) slog.Handler {
		return tint.NewTextHandler(w, &tint.Options{Level: level, NoColor: !colours, ReplaceAttr: replace(bare)})
	},
	Detailed: func(w io.Writer, level slog.Level, _ bool) slog.Handler {
		return slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, AddSource: true, ReplaceAttr: replace(precise)})
	},
	JSON: func(w io.Writer, level slog.Level, _ bool) slog.Handler {
		return slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: replace(precise)})
	},
	Trading: func(w io.Writer, level slog.Level, _ bool) slog.Handler {
		return &trading{w: w, mu: &sync.Mutex{}, level: level}
	},
}

// replace names CRITICAL, keeps a record on one line, and applies f to the
// attributes outside groups.
func replace(f func(slog.Attr) slog.Attr) func([]string, slog.Attr) slog.Attr {
	return func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) > 0 {
			return a
		}
		switch a.Key {
		case slog.LevelKey:
			if level, ok := a.Value.Any().(slog.Level); ok && level >= LevelCritical {
				return slog.String(slog.LevelKey, "CRITICAL")
			}
		case slog.MessageKey:
			a.Value = slog.StringValue(oneLine(a.Value.String()))
		}
		return f(a)
	}
}

// oneLine escapes what would begin another line or move the cursor: a logged
// value must not look like a record.
func oneLine(s string) string {
	if !strings.ContainsFunc(s, unicode.IsControl) {
		return s
	}
	q := strconv.Quote(s)
	return q[1 : len(q)-1]
}

// short leaves the common part of a component's name out.
func short(a slog.Attr) slog.Attr {
	if a.Key == "component" {
		a.Value = slog.StringValue(strings.TrimPrefix(a.Value.String(), componentPrefix))
	}
	return a
}

// bare leaves time and component out.
func bare(a slog.Attr) slog.Attr {
	if a.Key == "component" || a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// precise writes the time in UTC.
func precise(a slog.Attr) slog.Attr {
	if a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
		a.Value = slog.StringValue(a.Value.Time().UTC().Format(time.RFC3339Nano))
	}
	return a
}

// trading is the handler of columns: what a trader looks for stands where it
// always stands.
type trading struct {
	w     io.Writer
	mu    *sync.Mutex
	level slog.Level
	attrs []slog.Attr // with their groups in their keys
	group string      // prefix of keys to come
}

var columns = [...]struct {
	key   string
	width int
}{{"component", 10}, {"operation", 18}, {"exchange", 10}, {"symbol", 12}, {"latency_ms", 9}}

func (h *trading) Enabled(_ context.Context, level slog.Level) bool { return level >= h.level }

func (h *trading) Handle(_ context.Context, r slog.Record) error {
	attrs := h.attrs
	r.Attrs(func(a slog.Attr) bool {
		attrs = flatten(attrs[:len(attrs):len(attrs)], h.group, a)
		return true
	})
	var b bytes.Buffer
	level := r.Level.String()
	if r.Level >= LevelCritical {
		level = "CRITICAL"
	}
	when := "-"
	if !r.Time.IsZero() {
		when = r.Time.UTC().Format("15:04:05.000000")
	}
	fmt.Fprintf(&b, "%-15s %-8s", when, level)
	for _, c := range columns {
		value := "-"
		for _, a := range attrs {
			if text := short(a).Value.String(); a.Key == c.key && text != "" {
				value = oneLine(text)
			}
		}
		fmt.Fprintf(&b, " %-*s", c.width, value)
	}
	fmt.Fprintf(&b, " %s", oneLine(r.Message))
	for _, a := range attrs {
		if !isColumn(a.Key) {
			fmt.Fprintf(&b, " %s=%s", oneLine(a.Key), quoted(a.Value.String()))
		}
	}
	b.WriteByte('\n')
	h.mu.Lock()
	defer h.mu.Unlock()
	_, err := h.w.Write(b.Bytes())
	return err
}

func isColumn(key string) bool {
	for _, c := range columns {
		if c.key == key {
			return true
		}
	}
	return false
}

// quoted quotes a value that would not read as one word.
func quoted(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '"' || r == '=' }) {
		return strconv.Quote(s)
	}
	return s
}

func (h *trading) WithAttrs(attrs []slog.Attr) slog.Handler {
	with := *h
	for _, a := range attrs {
		with.attrs = flatten(with.attrs[:len(with.attrs):len(with.attrs)], h.group, a)
	}
	return &with
}

func (h *trading) WithGroup(name string) slog.Handler {
	with := *h
	if name != "" {
		with.group += name + "."
	}
	return &with
}

// flatten appends an attribute, or those of a group with its name in front.
func flatten(to []slog.Attr, prefix string, a slog.Attr) []slog.Attr {
	a.Value = a.Value.Resolve()
	if a.Value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, inner := range a.Value.Group() {
			to = flatten(to, prefix, inner)
		}
		return to
	}
	if a.Equal(slog.Attr{}) {
		return to
	}
	a.Key = prefix + a.Key
	return append(to, a)
}
