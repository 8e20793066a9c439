package logging

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/lmittmann/tint"
)

// sink is where a handler writes, and for whom.
type sink struct {
	w       io.Writer
	level   slog.Level
	colours bool
	// file is read later and elsewhere: its times have dates, and nothing is left out.
	file bool
}

// formats make the handlers.
var formats = map[string]func(sink) slog.Handler{
	Beautiful:   func(s sink) slog.Handler { return tinted(s, look{}) },
	Development: func(s sink) slog.Handler { return tinted(s, look{source: true}) },
	Minimal:     func(s sink) slog.Handler { return tinted(s, look{bare: !s.file}) },
	Detailed: func(s sink) slog.Handler {
		return &textHandler{level: s.level, write: lines(s.w, detailed)}
	},
	Trading: func(s sink) slog.Handler {
		clock := s.clock("000000")
		return &textHandler{level: s.level, write: lines(s.w, func(r slog.Record, attrs []slog.Attr) []byte {
			return trading(clock, r, attrs)
		})}
	},
	JSON: func(s sink) slog.Handler {
		return slog.NewJSONHandler(s.w, &slog.HandlerOptions{Level: s.level, ReplaceAttr: replaceJSON})
	},
}

// clock is the layout of times: of the day on the console, with the date in the
// file. The Z says that they are UTC, as everywhere in the log.
func (s sink) clock(fraction string) string {
	layout := "15:04:05." + fraction + "Z07:00"
	if s.file {
		layout = "2006-01-02T" + layout
	}
	return layout
}

// look is what distinguishes the formats that tint writes.
type look struct {
	source bool // the source line
	bare   bool // level and message only
}

// tinted makes a handler of coloured lines. The attributes go to tint as part of
// the message, quoted: left to quote them itself, it lets escape sequences of
// values through to the terminal, and without colours it cuts values where they
// are not UTF-8.
func tinted(s sink, l look) slog.Handler {
	h := tint.NewTextHandler(s.w, &tint.Options{
		Level: s.level, NoColor: !s.colours, AddSource: l.source, TimeFormat: s.clock("000"), ReplaceAttr: tintLevel,
	})
	return &textHandler{level: s.level, write: func(ctx context.Context, r slog.Record, attrs []slog.Attr) error {
		message := oneLine(r.Message)
		if l.bare {
			return h.Handle(ctx, slog.NewRecord(time.Time{}, r.Level, message, 0))
		}
		component, attrs := take(attrs, componentKey)
		if component != "" {
			component = oneLine(strings.TrimPrefix(component, componentPrefix))
			message = s.paint(cyan, component+":") + " " + message
		}
		for _, a := range attrs {
			message += " " + s.paint(faint, quoted(a.Key)+"=") + quoted(a.Value.String())
		}
		return h.Handle(ctx, slog.NewRecord(r.Time, r.Level, message, r.PC))
	}}
}

// tintLevel names and colours the level.
func tintLevel(_ []string, a slog.Attr) slog.Attr {
	level, ok := a.Value.Any().(slog.Level)
	if !ok {
		return a // source or message
	}
	const red, green, yellow, blue, magenta = 9, 10, 11, 12, 13
	colour := uint8(blue)
	switch {
	case level >= LevelCritical:
		colour = magenta
	case level >= slog.LevelError:
		colour = red
	case level >= slog.LevelWarn:
		colour = yellow
	case level >= slog.LevelInfo:
		colour = green
	}
	return tint.Attr(colour, slog.String(a.Key, fmt.Sprintf("%-5s", levelName(level))))
}

// Parameters of the terminal's sequence that selects how text looks.
const (
	faint = "2"
	cyan  = "36"
)

func (s sink) paint(how, text string) string {
	if !s.colours {
		return text
	}
	return "\x1b[" + how + "m" + text + "\x1b[0m"
}

// detailed writes everything as key=value, what is the same in all records first.
func detailed(r slog.Record, attrs []slog.Attr) []byte {
	var b []byte
	if !r.Time.IsZero() {
		b = r.Time.AppendFormat(append(b, "time="...), "2006-01-02T15:04:05.000000000Z07:00")
		b = append(b, ' ')
	}
	b = append(append(b, "level="...), levelName(r.Level)...)
	component, attrs := take(attrs, componentKey)
	if component != "" {
		b = append(append(b, " component="...), quoted(component)...)
	}
	if source := r.Source(); source != nil {
		b = append(append(b, " source="...), quoted(fmt.Sprintf("%s:%d", source.File, source.Line))...)
	}
	b = append(append(b, " msg="...), quoted(r.Message)...)
	return pairs(b, attrs)
}

const latencyKey = "latency_ms"

// columns are what a trader looks for, each where it always stands.
var columns = [...]struct {
	key   string
	width int // negative: to the left
}{{componentKey, -10}, {"operation", -18}, {"exchange", -10}, {"symbol", -12}, {latencyKey, 9}}

// trading writes columns, then the message and what other attributes there are.
func trading(clock string, r slog.Record, attrs []slog.Attr) []byte {
	at := "-"
	if !r.Time.IsZero() {
		at = r.Time.Format(clock)
	}
	b := fmt.Appendf(nil, "%-*s %-8s", len(clock)-len("07:00"), at, levelName(r.Level))
	for _, c := range columns {
		var value string
		value, attrs = take(attrs, c.key)
		b = fmt.Appendf(b, " %*s", c.width, cell(c.key, value))
	}
	b = append(append(b, ' '), oneLine(r.Message)...)
	return pairs(b, attrs)
}

// cell is how a value reads in its column.
func cell(key, value string) string {
	switch key {
	case componentKey:
		value = strings.TrimPrefix(value, componentPrefix)
	case latencyKey:
		if ms, err := strconv.ParseFloat(value, 64); err == nil {
			value = strconv.FormatFloat(ms, 'f', 3, 64) // one decimal point below the other
		}
	}
	if value == "" {
		return "-"
	}
	return quoted(value)
}

// take returns the value of a key, the last one as elsewhere in slog, and the
// attributes without it.
func take(attrs []slog.Attr, key string) (value string, rest []slog.Attr) {
	rest = make([]slog.Attr, 0, len(attrs))
	for _, a := range attrs {
		if a.Key == key {
			value = a.Value.String()
		} else {
			rest = append(rest, a)
		}
	}
	return value, rest
}

func pairs(b []byte, attrs []slog.Attr) []byte {
	for _, a := range attrs {
		b = append(append(b, ' '), quoted(a.Key)...)
		b = append(append(b, '='), quoted(a.Value.String())...)
	}
	return b
}

// replaceJSON writes times in UTC and names CRITICAL.
func replaceJSON(_ []string, a slog.Attr) slog.Attr {
	switch v := a.Value.Any().(type) {
	case time.Time:
		a.Value = slog.TimeValue(v.UTC())
	case slog.Level:
		a.Value = slog.StringValue(levelName(v))
	}
	return a
}
