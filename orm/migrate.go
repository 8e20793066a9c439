package orm

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed migrations
var migrations embed.FS

// versionTable is where goose notes what was applied. It is not goose's default:
// another program may keep its own migrations in the same database.
const versionTable = "fulloncache_migrations"

// Migration is one step of the schema.
type Migration struct {
	Version int64
	Name    string // Name is "" for one that is newer than this program.
	// Applied is when it was applied, to the second at least, in UTC; zero if it is
	// pending.
	Applied time.Time
}

// known lists the migrations of this program for a database, in order.
func known(postgres bool) []Migration {
	files, _ := fs.Glob(migrations, folder(postgres)+"/*.sql") // the pattern is a good one
	list := make([]Migration, len(files))
	for i, file := range files {
		number, name, _ := strings.Cut(strings.TrimSuffix(path.Base(file), ".sql"), "_")
		list[i].Version, _ = strconv.ParseInt(number, 10, 64) // a test looks at them
		list[i].Name = name
	}
	return list
}

func folder(postgres bool) string {
	if postgres {
		return "migrations/postgres"
	}
	return "migrations/sqlite"
}

// latest is the version of this program's schema.
func latest(postgres bool) int64 {
	list := known(postgres)
	return list[len(list)-1].Version
}

// version is that of the database's schema, 0 if it was never migrated. Its errors
// are the driver's: those of this package ask for the version.
func (c *conn) version(ctx context.Context) (version int64, err error) {
	exists := "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?"
	if c.postgres {
		exists = "SELECT count(*) WHERE to_regclass(?) IS NOT NULL"
	}
	var tables int
	err = c.q.NewRaw(exists, versionTable).Scan(ctx, &tables)
	if err == nil && tables > 0 {
		err = c.q.NewRaw("SELECT coalesce(max(version_id), 0) FROM "+versionTable).Scan(ctx, &version)
	}
	return version, err
}

// Migrate brings the schema to this program's version, each step whole or not at
// all; a schema that is there already stays as it is. Several processes may call
// it at once: one works, the others wait. A database that is newer than this
// program is a [SchemaError].
func (db *DB) Migrate(ctx context.Context) error {
	const what = "migrate"
	version, err := db.conn.version(ctx)
	if err != nil {
		return db.conn.fail(ctx, what, err)
	}
	if newest := latest(db.conn.postgres); version > newest {
		return fmt.Errorf("%s: %w", what, &SchemaError{Version: version, Latest: newest})
	}
	for _, m := range known(db.conn.postgres) {
		if err := db.apply(ctx, m.Version); err != nil {
			return db.conn.fail(ctx, fmt.Sprintf("%s: version %d (%s)", what, m.Version, m.Name), err)
		}
	}
	return nil
}

// apply applies one migration, unless it was applied.
func (db *DB) apply(ctx context.Context, version int64) error {
	files, _ := fs.Sub(migrations, folder(db.conn.postgres)) // the name is a good one
	dialect, locker := goose.DialectSQLite3, lock.SessionLocker(sqliteLock(version))
	if db.conn.postgres {
		dialect, locker = goose.DialectPostgres, postgresLock{}
	}
	steps, err := goose.NewProvider(dialect, db.bun.DB, files,
		goose.WithTableName(versionTable), goose.WithDisableGlobalRegistry(true), goose.WithSessionLocker(locker),
		// What the lock for SQLite opened is the transaction already.
		goose.WithIsolateDDL(!db.conn.postgres))
	if err == nil {
		_, err = steps.ApplyVersion(ctx, version, true)
	}
	if errors.Is(err, goose.ErrAlreadyApplied) {
		return nil
	}
	return err
}

// postgresLock is an advisory lock of the database, which goes with its session.
type postgresLock struct{}

// postgresLockID is the lock's number: "fullonca" in ASCII.
const postgresLockID int64 = 0x66756c6c6f6e6361

func (postgresLock) SessionLock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", postgresLockID)
	return err
}

func (postgresLock) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "SELECT pg_advisory_unlock($1)", postgresLockID)
	return err
}

// sqliteLock is the transaction in which a migration of that version runs: SQLite
// has no other lock that ends with its owner.
type sqliteLock int64

func (sqliteLock) SessionLock(ctx context.Context, conn *sql.Conn) error {
	_, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE")
	return err
}

// SessionUnlock commits if the migration was noted, which is its last step.
func (version sqliteLock) SessionUnlock(ctx context.Context, conn *sql.Conn) error {
	var applied int
	end := "COMMIT"
	row := conn.QueryRowContext(ctx, "SELECT count(*) FROM "+versionTable+" WHERE version_id = ?", int64(version))
	if err := row.Scan(&applied); err != nil || applied == 0 {
		end = "ROLLBACK"
	}
	_, err := conn.ExecContext(ctx, end)
	return err
}

// appliedRow is a row of the version table.
type appliedRow struct {
	Version int64   `bun:"version_id"`
	Time    instant `bun:"tstamp"`
}

// Migrations lists this program's migrations, and those that the database has
// beyond them, in the order of their versions. It changes nothing.
func (db *DB) Migrations(ctx context.Context) ([]Migration, error) {
	const what = "list migrations"
	version, err := db.conn.version(ctx)
	if err != nil {
		return nil, db.conn.fail(ctx, what, err)
	}
	list := known(db.conn.postgres)
	if version == 0 {
		return list, nil
	}
	rows, err := query[appliedRow](ctx, db.conn, what,
		"SELECT version_id, tstamp FROM "+versionTable+" WHERE version_id > 0 ORDER BY version_id")
	if err != nil {
		return nil, err
	}
	applied := make(map[int64]time.Time, len(rows))
	for _, row := range rows {
		applied[row.Version] = row.Time.Time
		if row.Version > list[len(list)-1].Version {
			list = append(list, Migration{Version: row.Version})
		}
	}
	for i := range list {
		list[i].Applied = applied[list[i].Version]
	}
	return list, nil
}
