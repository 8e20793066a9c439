package logging

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
)

const (
	componentKey    = "component"
	componentPrefix = "fullon.cache."
)

// Component returns the logger of a component: base, process, exchange, symbol,
// tick, orders, account, bot, trades, ohlcv, connection or examples.NAME, with or
// without "fullon.cache." in front; a bot may choose names of its own. Its records
// carry the full name as the attribute component.
//
// It logs to what is slog's default at the time of each record, so that it can be
// made before [Setup], in a package's variable:
//
//	var log = logging.Component("tick")
//
// A level that is off costs no allocation. Do not make it slog's default itself:
// its records would then have nowhere to go but plain standard error.
func Component(name string) *slog.Logger {
	name = componentPrefix + strings.TrimPrefix(name, componentPrefix)
	return slog.New(&late{derive: func(h slog.Handler) slog.Handler {
		return h.WithAttrs([]slog.Attr{slog.String(componentKey, name)})
	}})
}

// late is a handler that derives itself from slog's default when it is needed.
type late struct {
	derive func(slog.Handler) slog.Handler
	last   atomic.Pointer[derived] // spares a derivation per record
}

type derived struct {
	from *slog.Logger
	to   slog.Handler
}

func (l *late) handler() slog.Handler {
	now := slog.Default()
	if d := l.last.Load(); d != nil && d.from == now {
		return d.to
	}
	base := now.Handler()
	if _, ok := base.(*late); ok {
		// A component as the default would ask itself for ever.
		base = slog.NewTextHandler(os.Stderr, nil)
	}
	d := &derived{from: now, to: l.derive(base)}
	l.last.Store(d)
	return d.to
}

func (l *late) Enabled(ctx context.Context, level slog.Level) bool {
	return l.handler().Enabled(ctx, level)
}

func (l *late) Handle(ctx context.Context, r slog.Record) error {
	return l.handler().Handle(ctx, r)
}

func (l *late) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &late{derive: func(h slog.Handler) slog.Handler { return l.derive(h).WithAttrs(attrs) }}
}

func (l *late) WithGroup(name string) slog.Handler {
	return &late{derive: func(h slog.Handler) slog.Handler { return l.derive(h).WithGroup(name) }}
}
