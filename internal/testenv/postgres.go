package testenv

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
)

// The only role of a server for tests, a superuser. Wrong passwords are refused.
const (
	PostgresUser     = "bot"
	PostgresPassword = "s3cret"
)

// PostgresServer is a PostgreSQL server that listens on a loopback port alone.
// Its time zone is New York's: who forgets to say which zone is meant is hours
// wrong.
type PostgresServer struct {
	proc      *postgresProc
	databases atomic.Int64
}

// How a server checks passwords: as servers do unless they are told otherwise, or
// at once. SCRAM takes ten milliseconds of a program with the race detector.
const (
	scram = "scram-sha-256"
	plain = "password"
)

// Postgres returns the server that the binary's tests share. It takes passwords in
// plain text, other than NewPostgres's.
func Postgres(t testing.TB) *PostgresServer {
	t.Helper()
	return shared.postgres.get(func() *PostgresServer { return startPostgres(t, plain) })
}

// NewPostgres starts a server of the test's own, to be broken.
func NewPostgres(t testing.TB) *PostgresServer {
	t.Helper()
	s := startPostgres(t, scram)
	t.Cleanup(s.discard)
	return s
}

func startPostgres(t testing.TB, auth string) *PostgresServer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	proc, err := newPostgresProc(ctx, auth)
	if err != nil {
		t.Fatal(err)
	}
	return &PostgresServer{proc: proc}
}

// StartPostgres starts a server for a program that is no test: the benchmarks.
func StartPostgres(ctx context.Context) (s *PostgresServer, stop func(), err error) {
	proc, err := newPostgresProc(ctx, scram)
	if err != nil {
		return nil, nil, err
	}
	s = &PostgresServer{proc: proc}
	return s, s.discard, nil
}

func (s *PostgresServer) discard() {
	if err := s.proc.discard(); err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
	}
}

// Addr is the server's host:port.
func (s *PostgresServer) Addr() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.proc.port))
}

// DSN is what DATABASE_URL takes to reach a database, of this server, at an
// address, which may be that of something in between.
func (s *PostgresServer) DSN(addr, database string) string {
	dsn := url.URL{
		Scheme: "postgres", User: url.UserPassword(PostgresUser, PostgresPassword),
		Host: addr, Path: "/" + database, RawQuery: "sslmode=disable",
	}
	return dsn.String()
}

// DSN is the DSN of a database as it is reached through the proxy.
func (p *Proxy) DSN(t testing.TB, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	must(t, err)
	u.Host = p.addr
	return u.String()
}

// Database returns the DSN of an empty database of the test's own.
func (s *PostgresServer) Database(t testing.TB) string {
	t.Helper()
	return s.create(t, "template1")
}

// CopyOf returns the DSN of a copy, the test's own, of a database that nobody is
// connected to.
func (s *PostgresServer) CopyOf(t testing.TB, dsn string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	must(t, err)
	return s.create(t, strings.TrimPrefix(u.Path, "/"))
}

func (s *PostgresServer) create(t testing.TB, template string) string {
	t.Helper()
	// A name holds 63 bytes at most. The number makes it unique.
	name := strings.ToLower(Prefix(t))
	name = fmt.Sprintf("%.40s_%d", name, s.databases.Add(1))
	quoted := pgx.Identifier{name}.Sanitize()
	s.Do(t, "CREATE DATABASE "+quoted+" TEMPLATE "+pgx.Identifier{template}.Sanitize())
	t.Cleanup(func() {
		// That of a server that is down goes with the server's folder.
		if s.proc.running() {
			s.Do(t, "DROP DATABASE "+quoted+" WITH (FORCE)")
		}
	})
	return s.DSN(s.Addr(), name)
}

// Do runs a statement as an operator would, outside the tests' databases.
func (s *PostgresServer) Do(t testing.TB, sql string, args ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.DSN(s.Addr(), "postgres"))
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	defer func() { _ = conn.Close(ctx) }() // what it was for is done
	if _, err := conn.Exec(ctx, sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// KillClients ends the connections to the database of a DSN.
func (s *PostgresServer) KillClients(t testing.TB, dsn string) {
	t.Helper()
	cfg, err := pgx.ParseConfig(dsn)
	must(t, err)
	s.Do(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", cfg.Database)
}

// Kill ends the server as a crash does: clients get no farewell, and the next
// start recovers what was committed.
func (s *PostgresServer) Kill() { s.proc.kill() }

// Stop ends the server as an operator does, who tells the clients.
func (s *PostgresServer) Stop() { s.proc.stop() }

// Restart starts the server anew at its address, with the data that it had. One
// that runs is killed first.
func (s *PostgresServer) Restart(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	s.Kill()
	must(t, s.proc.run(ctx))
}
