// Package orm is the record behind the caches: users, accounts and the catalogue
// of exchanges, symbols, bots, orders and trades in PostgreSQL, or in a SQLite
// file for a program that runs alone.
//
//	db, err := orm.Open(ctx, os.Getenv("DATABASE_URL"))
//	if err != nil {
//		return err
//	}
//	defer db.Close()
//	if err := db.Migrate(ctx); err != nil {
//		return err
//	}
//	kraken, err := db.Symbols.ByExchange(ctx, "kraken")
//
// The tables are those of a fullon database, which [DB.Migrate] adopts as it is:
// it adds columns and changes none. Money is exact ([fulloncache.Decimal]) where
// the columns are; where such a database has double precision, a number is read
// as the shortest decimal that means it, and written as the nearest double.
//
// All times are UTC. Those that the database gives (created) are to the
// microsecond; those of orders and trades to the nanosecond.
//
// # Errors
//
// Every error names what was asked for and matches, with errors.Is, one of
// [fulloncache.ErrNotFound], [fulloncache.ErrDuplicate] and
// [fulloncache.ErrForeignKey] (with a [ConstraintError]),
// [fulloncache.ErrInvalid], [fulloncache.ErrUnavailable] (with a [ConflictError]
// where a new attempt is welcome at once), [fulloncache.ErrCorrupt] for a row that
// cannot be read, and [fulloncache.ErrClosed]; or it is a [SchemaError], or the
// context's. Anything else is a defect. No error holds a password.
//
// # Concurrency
//
// Everything may be used by several goroutines and several processes at once, but
// a [Tx] by one goroutine at a time.
package orm

// How a repository is written, one file each:
//
//   - A row struct with bun tags, private, with a method that returns the root's
//     type; columns as constants of SQL. Amounts are number, times instant (orders'
//     and trades' with nanosOf and withNanos): they scan what every database gives.
//   - Statements are SQL text in the dialect that PostgreSQL and SQLite share, run by
//     query, one (ErrNotFound if there is no row) and conn.exec, which take what is
//     asked for, for the errors. Values go through "?"; bun.List and bun.Tuple
//     take slices. Order names by conn.bytewise; where dialects differ, ask conn.postgres.
//   - Writes validate first, and return the row with RETURNING. A subquery there
//     fills what comes from another table.
//   - What takes several statements runs in conn.atomically, which is a savepoint
//     within a caller's transaction. In bulk, at most maxRows rows a statement,
//     sorted, so that two writers do not lock each other out.
//   - Text that storable refuses exists in no database: lookups return ErrNotFound.
