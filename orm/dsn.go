package orm

import (
	"context"
	"database/sql"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun/dialect/pgdialect"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	"github.com/uptrace/bun/schema"
	_ "modernc.org/sqlite" // the driver

	"github.com/fullon/fulloncache"
)

// source is where a database is.
type source struct {
	name     string // the DSN without secrets
	postgres bool
	dialect  schema.Dialect
	listen   *pgx.ConnConfig // of PostgreSQL
	open     func() *sql.DB
}

const (
	// maxConns bounds a pool: PostgreSQL gives 100 connections by default, to all.
	maxConns = 16
	// maxIdle is how long an unused connection is kept.
	maxIdle = 5 * time.Minute
	// connectTimeout bounds a connection attempt where the DSN does not.
	connectTimeout = 10 * time.Second
)

// parseDSN reads what DATABASE_URL holds.
func parseDSN(dsn string) (source, error) {
	scheme, rest, _ := strings.Cut(dsn, ":")
	switch scheme {
	case "postgres", "postgresql":
		return parsePostgres(dsn)
	case "sqlite":
		return parseSQLite(strings.TrimPrefix(rest, "//"))
	}
	// It may be anything, with the password anywhere.
	value := "***"
	if dsn == "" {
		value = ""
	}
	return source{}, &fulloncache.ConfigError{
		Variable: "DATABASE_URL", Value: value,
		Want: "postgres://user:password@host:port/database or sqlite:PATH",
	}
}

// parsePostgres quotes no error of the parsers: they quote the DSN.
func parsePostgres(dsn string) (source, error) {
	wrong := &fulloncache.ConfigError{
		Variable: "DATABASE_URL", Value: "postgres://***",
		Want: "postgres://user:password@host:port/database?sslmode=…, with special characters in user and password percent-encoded",
	}
	u, err := url.Parse(dsn)
	if err != nil || u.Opaque != "" {
		return source{}, wrong
	}
	// A "/", "?" or "#" in a password that is not escaped ends the host early, and
	// leaves the rest of the password elsewhere.
	if _, tail, _ := strings.Cut(strings.TrimPrefix(dsn, u.Scheme+"://"), "/"); strings.Contains(tail, "@") ||
		strings.Contains(u.RawQuery, "@") || u.Fragment != "" {
		return source{}, wrong
	}
	name := u.Scheme + "://"
	if u.User != nil {
		name += "***@"
	}
	name += u.Host + u.EscapedPath()
	if u.RawQuery != "" {
		name += "?***"
	}
	wrong.Value = name
	cfg, err := pgx.ParseConfig(dsn)
	if err != nil {
		return source{}, wrong
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = connectTimeout
	}
	// Statements come with their values in them, so there is nothing to prepare, and
	// a backslash must be a backslash. Neither the server's nor a role's settings
	// may change what a literal means.
	cfg.DefaultQueryExecMode = pgx.QueryExecModeExec
	for name, value := range map[string]string{
		"client_encoding": "UTF8", "standard_conforming_strings": "on", "timezone": "UTC", "datestyle": "ISO",
	} {
		cfg.RuntimeParams[name] = value
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "fulloncache"
	}
	return source{name: name, postgres: true, dialect: pgdialect.New(), listen: cfg, open: func() *sql.DB {
		db := stdlib.OpenDB(*cfg, stdlib.OptionAfterConnect(wholeFloats))
		db.SetMaxOpenConns(maxConns)
		db.SetMaxIdleConns(maxConns)
		db.SetConnMaxIdleTime(maxIdle)
		return db
	}}, nil
}

// wholeFloats makes doubles come with all their digits. It is no parameter of the
// connection, because poolers refuse connections with parameters that they do not
// know.
func wholeFloats(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "SET extra_float_digits = 3")
	return err
}

// pragmas of every SQLite connection: wait for the lock of another writer, let
// readers and a writer work side by side, keep references.
var pragmas = url.Values{
	"_txlock": {"immediate"}, // a transaction that starts as a reader may never write
	"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "foreign_keys(1)"},
}

func parseSQLite(path string) (source, error) {
	memory := path == ":memory:"
	file := "file::memory:"
	if !memory {
		absolute, err := filepath.Abs(path)
		if err != nil || path == "" || !storable(path) {
			return source{}, &fulloncache.ConfigError{
				Variable: "DATABASE_URL", Value: "sqlite:" + path, Want: "sqlite:PATH", Err: err,
			}
		}
		// As a URI, with whatever the path holds escaped. On Windows it starts with a
		// drive.
		uri := url.URL{Scheme: "file", Path: "/" + strings.TrimPrefix(filepath.ToSlash(absolute), "/")}
		file = uri.String()
	}
	return source{name: "sqlite:" + path, dialect: sqlitedialect.New(), open: func() *sql.DB {
		db, _ := sql.Open("sqlite", file+"?"+pragmas.Encode()) // it looks up the driver, which is imported
		db.SetMaxOpenConns(maxConns)
		if memory {
			db.SetMaxOpenConns(1) // each connection would be a database of its own
		}
		return db
	}}, nil
}
