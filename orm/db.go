package orm

import (
	"context"
	"database/sql"
	"fmt"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/uptrace/bun"
)

// Repositories are the tables, as they are seen from outside of transactions (of
// a [DB]) or from within one (of a [Tx]).
type Repositories struct {
	Users     *UserRepository
	Exchanges *ExchangeRepository
	Symbols   *SymbolRepository
	Bots      *BotRepository
	Orders    *OrderRepository
	Trades    *TradeRepository
}

func repositories(c *conn) Repositories {
	return Repositories{
		Users:     &UserRepository{c},
		Exchanges: &ExchangeRepository{c},
		Symbols:   &SymbolRepository{c},
		Bots:      &BotRepository{c},
		Orders:    &OrderRepository{c},
		Trades:    &TradeRepository{c},
	}
}

// DB is a database: a pool of connections, and the repositories on it. [Open]
// makes one.
type DB struct {
	Repositories
	name   string // the DSN without secrets
	listen *pgx.ConnConfig
	conn   *conn
	bun    *bun.DB
	closed atomic.Bool
}

// Tx is a transaction: what [DB.InTx] hands to its function, which alone may use
// it, and only until it returns.
type Tx struct{ Repositories }

// Open connects to a database:
//
//	postgres://user:password@host:port/database?sslmode=verify-full
//	sqlite:trading.db             a file, made if it is missing
//	sqlite:///var/lib/trading.db  the same, by its absolute path
//	sqlite::memory:               gone with the DB
//
// Special characters in a PostgreSQL user or password are percent-encoded. What
// the URL leaves out comes from PostgreSQL's environment variables (PGPASSWORD,
// PGSSLMODE). A SQLite database in memory has one connection: within [DB.InTx],
// use the [Tx] alone.
//
// A malformed DSN is a [fulloncache.ConfigError] for DATABASE_URL. A server that
// cannot be reached, or refuses the password, is [fulloncache.ErrUnavailable]; a
// server that comes up later needs another Open. The tables may be missing: see
// [DB.Migrate].
func Open(ctx context.Context, dsn string) (*DB, error) {
	src, err := parseDSN(dsn)
	if err != nil {
		return nil, err
	}
	db := &DB{name: src.name, listen: src.listen}
	db.bun = bun.NewDB(src.open(), src.dialect)
	db.conn = &conn{db: db, q: db.bun, postgres: src.postgres}
	db.Repositories = repositories(db.conn)
	if err := db.bun.PingContext(ctx); err != nil {
		err = db.conn.fail(ctx, "open "+src.name, err)
		_ = db.bun.Close() // nothing was done with it
		return nil, err
	}
	return db, nil
}

// Close ends the connections, after the statements that run. What is called later
// returns [fulloncache.ErrClosed].
func (db *DB) Close() error {
	db.closed.Store(true)
	return db.bun.Close()
}

// String names the database, without secrets.
func (db *DB) String() string { return db.name }

// InTx runs fn in a transaction: either all that fn does through tx happens, or
// nothing. The transaction is committed when fn returns nil and rolled back when
// it returns an error, which InTx returns as it is, or panics.
//
// After an error that the database gave (a duplicate, a conflict, an ended
// context), tx does nothing more, and InTx returns that error even if fn does not.
// [fulloncache.ErrNotFound], and input that was refused before the database saw
// it, do no harm: fn may go on.
//
// There are no transactions within transactions; a method of several statements
// is all or nothing by itself within fn, too. On SQLite one transaction runs at a
// time: writes outside of tx wait until fn returns, so fn must not wait for one.
//
// Transactions see what others committed before each statement (READ COMMITTED).
// When two lock each other out, one gets a [ConflictError]: call InTx again. An
// [fulloncache.ErrUnavailable] leaves open whether the commit happened.
func (db *DB) InTx(ctx context.Context, fn func(tx *Tx) error) error {
	return db.conn.atomically(ctx, "transaction", func(c *conn) error {
		return fn(&Tx{repositories(c)})
	})
}

// conn is what repositories run their statements on: the pool, or a transaction.
type conn struct {
	db       *DB
	q        bun.IDB
	postgres bool
	tx       *txState // nil outside of transactions
}

// txState is what the levels of a transaction share.
type txState struct {
	ctx context.Context // the transaction's, which ends it
	// rollback ends it at the first error that the database gives, which is failed.
	// PostgreSQL would refuse all that comes after that; SQLite would go on, and after
	// some errors without a transaction.
	rollback func() error
	failed   error
}

// maxRows bounds the rows of one statement.
const maxRows = 1000

// bytewise orders text as Go does, whatever the database's language.
func (c *conn) bytewise() bun.Safe {
	if c.postgres {
		return `COLLATE "C"`
	}
	return "COLLATE BINARY"
}

// atomically runs fn in a transaction, or with a savepoint where there is one.
// It returns fn's error as it is.
func (c *conn) atomically(ctx context.Context, what string, fn func(c *conn) error) error {
	if c.tx != nil {
		return c.withSavepoint(ctx, what, fn)
	}
	tx, err := c.q.BeginTx(ctx, nil)
	if err != nil {
		return c.fail(ctx, what, err)
	}
	inner := &conn{db: c.db, q: tx, postgres: c.postgres, tx: &txState{ctx: ctx, rollback: tx.Rollback}}
	// After an error or a panic; else the transaction has ended.
	defer func() { _ = tx.Rollback() }() // what it says is less than what the caller gets
	if err := fn(inner); err != nil {
		return err
	}
	if err := inner.tx.failed; err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return c.fail(ctx, what, err)
	}
	return nil
}

// withSavepoint undoes what fn did if it returns an error after which the
// transaction can go on.
func (c *conn) withSavepoint(ctx context.Context, what string, fn func(c *conn) error) error {
	if _, err := c.exec(ctx, what, "SAVEPOINT step"); err != nil {
		return err
	}
	err := fn(c)
	if err != nil && c.tx.failed == nil {
		// A failure of this one is the transaction's.
		_, _ = c.exec(ctx, what, "ROLLBACK TO SAVEPOINT step")
	}
	if err != nil {
		return err
	}
	_, err = c.exec(ctx, what, "RELEASE SAVEPOINT step")
	return err
}

// query returns the rows of a statement, which may be a write with RETURNING. T
// is a struct, or a basic type for a single column.
func query[T any](ctx context.Context, c *conn, what, statement string, args ...any) ([]T, error) {
	if err := checkText(args); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	var rows []T
	if err := c.q.NewRaw(statement, args...).Scan(ctx, &rows); err != nil {
		return nil, c.fail(ctx, what, err)
	}
	return rows, nil
}

// one is query for a single row; ErrNotFound if there is none.
func one[T any](ctx context.Context, c *conn, what, statement string, args ...any) (T, error) {
	rows, err := query[T](ctx, c, what, statement, args...)
	if err == nil && len(rows) == 0 {
		err = c.fail(ctx, what, sql.ErrNoRows)
	}
	if err != nil {
		return *new(T), err
	}
	return rows[0], nil
}

// exec runs a statement and returns how many rows it changed.
func (c *conn) exec(ctx context.Context, what, statement string, args ...any) (int64, error) {
	if err := checkText(args); err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	result, err := c.q.NewRaw(statement, args...).Exec(ctx)
	if err != nil {
		return 0, c.fail(ctx, what, err)
	}
	n, _ := result.RowsAffected() // both drivers know
	return n, nil
}

// execOne is exec for a single row; ErrNotFound if there is none.
func (c *conn) execOne(ctx context.Context, what, statement string, args ...any) error {
	n, err := c.exec(ctx, what, statement, args...)
	if err == nil && n == 0 {
		err = c.fail(ctx, what, sql.ErrNoRows)
	}
	return err
}
