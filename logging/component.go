package logging

import (
	"context"
	"log/slog"
	"strings"
)

// Component returns the logger of a component: base, process, exchange, symbol,
// tick, orders, account, bot, trades, ohlcv, connection or examples.NAME, with or
// without "fullon.cache." in front. It logs to slog's default at the time of each
// record, so it can be made before [Setup].
func Component(name string) *slog.Logger {
	name = componentPrefix + strings.TrimPrefix(name, componentPrefix)
	return slog.New(&late{build: func(h slog.Handler) slog.Handler {
		return h.WithAttrs([]slog.Attr{slog.String("component", name)})
	}})
}

// late builds its handler on slog's default when a record comes.
type late struct {
	build func(slog.Handler) slog.Handler
}

func (l *late) Enabled(ctx context.Context, level slog.Level) bool {
	return slog.Default().Handler().Enabled(ctx, level)
}

func (l *late) Handle(ctx context.Context, r slog.Record) error {
	return l.build(slog.Default().Handler()).Handle(ctx, r)
}

func (l *late) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &late{build: func(h slog.Handler) slog.Handler { return l.build(h).WithAttrs(attrs) }}
}

func (l *late) WithGroup(name string) slog.Handler {
	return &late{build: func(h slog.Handler) slog.Handler { return l.build(h).WithGroup(name) }}
}
