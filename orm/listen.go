package orm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/fullon/fulloncache"
)

const (
	// heartbeat is how often a quiet connection is asked for a sign of life, and
	// how long it may take to give it.
	heartbeat = 2 * time.Second
	// longestPause bounds the time between two attempts to connect.
	longestPause = 5 * time.Second
)

// change is a notification of the triggers that the migrations install.
type change struct {
	Table    string `json:"table"`
	All      bool   `json:"all"`      // more than one thing changed
	Exchange string `json:"exchange"` // of symbols and cat_exchanges
	ID       int64  `json:"id"`       // of exchanges, with User
	User     int64  `json:"user"`
}

// Listen makes the caches of all processes forget what changes in PostgreSQL,
// whoever changes it, until ctx ends; it returns the reason. One process that
// runs it serves all that share the caches of c; several do no harm.
//
//	go func() {
//		if err := db.Listen(ctx, c); !errors.Is(err, context.Canceled) {
//			log.Print(err)
//		}
//	}()
//
// While its connection is lost, changes are not seen: that is logged, and pushed
// to the queue of global errors. It connects anew, as often as it takes, and
// makes the caches forget everything it may have missed. The same while Redis is
// unavailable. A connection that is silently dead is noticed within seconds.
//
// It returns [fulloncache.ErrUnsupported] on SQLite, which has no such notices:
// there the caches follow only what is written through them; a [SchemaError] if
// the migrations that install the triggers are missing.
func (db *DB) Listen(ctx context.Context, c *fulloncache.Client) error {
	const what = "listen for changes"
	if db.listen == nil {
		return fmt.Errorf("%s: %w: SQLite tells nobody of changes", what, fulloncache.ErrUnsupported)
	}
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 50*time.Millisecond, longestPause
	l := &listener{db: db, caches: c, connected: pause.Reset, log: slog.With("component", "fullon.cache.listener")}
	for {
		err := l.listen(ctx)
		var schema *SchemaError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &schema), errors.Is(err, fulloncache.ErrClosed):
			return fmt.Errorf("%s: %w", what, err)
		}
		l.lost(ctx, db.conn.fail(ctx, what, err))
		select {
		case <-time.After(pause.NextBackOff()):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// listener is one Listen under way.
type listener struct {
	db        *DB
	caches    *fulloncache.Client
	connected func() // is called when a connection has proved itself
	log       *slog.Logger
	down      bool // the loss was reported
}

// lost reports that changes are not seen: each attempt to the log, the first of
// them to the operators.
func (l *listener) lost(ctx context.Context, err error) {
	l.log.Warn("changes in the database are not seen", "error", err)
	if l.down {
		return
	}
	l.down = true
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	err = l.caches.Base.PushGlobalError(ctx, fulloncache.GlobalError{
		Component: "fullon.cache.listener", Message: "changes in the database are not seen: " + err.Error(),
	})
	if err != nil {
		// Redis may be down, too.
		l.log.Warn("the loss of the listener could not be reported", "error", err)
	}
}

// listen connects and passes changes on until that fails.
func (l *listener) listen(ctx context.Context) error {
	version, err := l.db.conn.version(ctx)
	if err != nil {
		return err
	}
	if newest := latest(true); version < newest {
		return &SchemaError{Version: version, Latest: newest}
	}
	conn, err := pgx.ConnectConfig(ctx, l.db.listen.Copy())
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), heartbeat)
		defer cancel()
		_ = conn.Close(ctx) // it was only listened to
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+MetadataChannel); err != nil {
		return err
	}
	// What changed before is forgotten once what changes from now on is heard.
	if err := l.forgetAll(ctx); err != nil {
		return err
	}
	l.connected()
	if l.down {
		l.down = false
		l.log.Info("changes in the database are seen again")
	}
	for {
		n, err := l.next(ctx, conn)
		if err != nil {
			return err
		}
		if n == nil {
			continue
		}
		if err := l.forget(ctx, n.Payload); err != nil {
			if ctx.Err() != nil {
				return err
			}
			// It is known that something changed; what else does meanwhile is
			// unknown, so nothing less than everything will do.
			l.log.Warn("the caches cannot be told of a change", "error", err)
			if err := l.forgetAll(ctx); err != nil {
				return err
			}
		}
	}
}

// next waits for a notification; nil after a heartbeat without one.
func (l *listener) next(ctx context.Context, conn *pgx.Conn) (*pgconn.Notification, error) {
	wait, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	n, err := conn.WaitForNotification(wait)
	if err == nil || !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
		return n, err
	}
	answer, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	return nil, conn.Ping(answer)
}

// forget makes the caches forget what a notification is about.
func (l *listener) forget(ctx context.Context, payload string) error {
	var ch change
	if err := json.Unmarshal([]byte(payload), &ch); err != nil {
		l.log.Warn("a notice of a change that cannot be read", "payload", payload, "error", err)
		ch = change{All: true}
	}
	exchanges, symbols := l.caches.Exchanges, l.caches.Symbols
	switch {
	case ch.Table == "symbols" && ch.Exchange != "":
		return symbols.Invalidate(ctx, ch.Exchange)
	case ch.Table == "symbols":
		return symbols.InvalidateAll(ctx)
	case ch.Table == "exchanges" && ch.ID > 0 && ch.User > 0:
		return errors.Join(exchanges.Invalidate(ctx, ch.ID), exchanges.InvalidateUser(ctx, ch.User))
	case ch.Table == "exchanges":
		return exchanges.InvalidateAll(ctx)
	case ch.Table == "cat_exchanges" && ch.Exchange != "":
		// Accounts carry its name.
		return errors.Join(symbols.Invalidate(ctx, ch.Exchange), exchanges.InvalidateAll(ctx))
	}
	return errors.Join(symbols.InvalidateAll(ctx), exchanges.InvalidateAll(ctx))
}

// forgetAll makes the caches forget everything, trying until Redis answers.
func (l *listener) forgetAll(ctx context.Context) error {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval = 50*time.Millisecond, heartbeat
	_, err := backoff.Retry(ctx, func() (struct{}, error) {
		err := errors.Join(l.caches.Symbols.InvalidateAll(ctx), l.caches.Exchanges.InvalidateAll(ctx))
		if errors.Is(err, fulloncache.ErrClosed) {
			err = backoff.Permanent(err)
		}
		return struct{}{}, err
	}, backoff.WithBackOff(pause), backoff.WithMaxElapsedTime(0))
	return err
}
