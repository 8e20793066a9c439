package orm

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/fullon/fulloncache"
)

// ConstraintError is the [fulloncache.ErrDuplicate], [fulloncache.ErrForeignKey]
// or [fulloncache.ErrInvalid] of a row that the database refused. Nothing was
// changed.
type ConstraintError struct {
	Kind       error  // Kind is which of the three.
	Table      string // Table has the constraint; "" if the database does not say.
	Constraint string // Constraint is its name, or on SQLite its columns; "" likewise.
	Err        error  // Err is what the database said.
}

// Error names the constraint and quotes the database.
func (e *ConstraintError) Error() string { return fmt.Sprintf("%v: %v", e.Kind, e.Err) }

// Is matches Kind.
func (e *ConstraintError) Is(target error) bool { return target == e.Kind }

// Unwrap returns what the database said.
func (e *ConstraintError) Unwrap() error { return e.Err }

// ConflictError is the [fulloncache.ErrUnavailable] of a transaction that was
// rolled back because of another one: a deadlock, or a serialization failure. The
// same again, from the start of the transaction, can succeed at once.
type ConflictError struct {
	Err error // Err is what the database said.
}

// Error says that it may be tried again.
func (e *ConflictError) Error() string {
	return fmt.Sprintf("conflict with another transaction, try again: %v", e.Err)
}

// Is matches [fulloncache.ErrUnavailable].
func (e *ConflictError) Is(target error) bool { return target == fulloncache.ErrUnavailable }

// Unwrap returns what the database said.
func (e *ConflictError) Unwrap() error { return e.Err }

// Temporary is true.
func (e *ConflictError) Temporary() bool { return true }

// SchemaError says that the database has not the tables or columns that this
// program needs, or that it is newer than the program.
type SchemaError struct {
	// Version is the schema's version: 0 if it was never migrated, -1 if unknown.
	Version int64
	// Latest is the version of this program.
	Latest int64
	Err    error // Err is what the database said, if it was asked.
}

// Error says what to do.
func (e *SchemaError) Error() string {
	var s string
	switch {
	case e.Version > e.Latest:
		s = fmt.Sprintf("the database's schema is of version %d, newer than this program's %d: upgrade the program", e.Version, e.Latest)
	case e.Version == e.Latest:
		s = "the database's schema was changed by hand: compare it with that of a database made by `fulloncache db migrate`"
	default:
		s = fmt.Sprintf("the database's schema is older than this program's version %d: run `fulloncache db migrate`", e.Latest)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns what the database said.
func (e *SchemaError) Unwrap() error { return e.Err }

// fail is the error of what was asked for, as this package's errors are. Within a
// transaction it is its end, if the database gave it.
func (c *conn) fail(ctx context.Context, what string, err error) error {
	err = fmt.Errorf("%s: %w", what, c.classify(ctx, err))
	if c.tx != nil && c.tx.failed == nil && !errors.Is(err, fulloncache.ErrNotFound) && !errors.Is(err, fulloncache.ErrCorrupt) {
		c.tx.failed = err
		_ = c.tx.rollback() // what it says is less
	}
	return err
}

func (c *conn) classify(ctx context.Context, err error) error {
	var pg *pgconn.PgError
	var lite *sqlite.Error
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return fulloncache.ErrNotFound
	case errors.Is(err, fulloncache.ErrCorrupt):
		return err
	case c.tx != nil && c.tx.failed != nil:
		return fmt.Errorf("the transaction failed before: %w", c.tx.failed)
	case c.db.closed.Load():
		return fmt.Errorf("%w: %w", fulloncache.ErrClosed, err)
	case errors.As(err, &pg):
		if classified := c.postgresError(ctx, pg, err); classified != nil {
			return classified
		}
	case errors.As(err, &lite):
		if classified := c.sqliteError(ctx, lite, err); classified != nil {
			return classified
		}
	}
	ended := ctx.Err()
	if ended == nil && c.tx != nil {
		ended = c.tx.ctx.Err()
	}
	if ended != nil {
		if errors.Is(err, ended) {
			return err
		}
		return fmt.Errorf("%w: %w", ended, err)
	}
	var network net.Error
	if errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, driver.ErrBadConn) || pgconn.SafeToRetry(err) {
		return unavailable(err)
	}
	return err
}

// notFound is the error of what no database can hold.
func notFound(what string) error { return fmt.Errorf("%s: %w", what, fulloncache.ErrNotFound) }

func unavailable(err error) error {
	return fmt.Errorf("database %w: %w", fulloncache.ErrUnavailable, err)
}

// postgresError classifies by SQLSTATE; nil for what this package does not know.
// The message of an error of PostgreSQL holds no values of rows but those it
// could not read; its details, which do, are not quoted.
func (c *conn) postgresError(ctx context.Context, pg *pgconn.PgError, err error) error {
	constraint := func(kind error) error {
		return &ConstraintError{Kind: kind, Table: pg.TableName, Constraint: pg.ConstraintName, Err: err}
	}
	switch pg.Code {
	case "23505": // unique_violation
		return constraint(fulloncache.ErrDuplicate)
	case "23503", "23001": // foreign_key_violation, restrict_violation
		return constraint(fulloncache.ErrForeignKey)
	case "40001", "40P01": // serialization_failure, deadlock_detected
		return &ConflictError{Err: err}
	case "42P01", "42703", "42883", "3F000": // undefined table, column, function, schema
		return c.schemaError(ctx, err)
	case "25006", "3D000", "55P03": // read-only, no such database, lock not available
		return unavailable(err)
	}
	switch pg.Code[:min(2, len(pg.Code))] {
	case "22", "23": // data exceptions and the other constraints
		return constraint(fulloncache.ErrInvalid)
	case "08", "28", "53", "57", "58": // connection, authorization, resources, operator and timeouts, system
		return unavailable(err)
	}
	return nil
}

// sqliteError classifies by the result code; nil for what this package does not
// know.
func (c *conn) sqliteError(ctx context.Context, lite *sqlite.Error, err error) error {
	constraint := func(kind error) error {
		// "constraint failed: UNIQUE constraint failed: users.mail (2067)"
		_, columns, _ := strings.Cut(lite.Error(), " constraint failed: ")
		columns, _, _ = strings.Cut(columns, " (")
		table, _, _ := strings.Cut(columns, ".")
		return &ConstraintError{Kind: kind, Table: table, Constraint: columns, Err: err}
	}
	switch lite.Code() {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY:
		return constraint(fulloncache.ErrDuplicate)
	case sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return constraint(fulloncache.ErrForeignKey)
	case sqlite3.SQLITE_CONSTRAINT_TRIGGER: // by ON DELETE RESTRICT, or by somebody's trigger
		if strings.Contains(lite.Error(), "FOREIGN KEY") {
			return constraint(fulloncache.ErrForeignKey)
		}
	}
	switch lite.Code() & 0xff {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH:
		return constraint(fulloncache.ErrInvalid)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR,
		sqlite3.SQLITE_FULL, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB,
		sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_PERM:
		return unavailable(err)
	case sqlite3.SQLITE_ERROR:
		// SQLite has no codes for these.
		if text := lite.Error(); strings.Contains(text, "no such table") || strings.Contains(text, "no such column") ||
			strings.Contains(text, "has no column named") {
			return c.schemaError(ctx, err)
		}
	}
	return nil
}

// schemaError asks for the database's version: on PostgreSQL outside of the
// transaction, which has failed.
func (c *conn) schemaError(ctx context.Context, err error) error {
	e := &SchemaError{Version: -1, Latest: latest(c.postgres), Err: err}
	asking := *c
	if c.postgres {
		asking = *c.db.conn
	}
	if version, versionErr := asking.version(ctx); versionErr == nil {
		e.Version = version
	}
	return e
}
