package testenv_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/fullon/fulloncache/internal/testenv"
)

// helper makes the test binary run one test as another process, to be killed or
// to end well.
const helper = "TESTENV_HELPER"

func TestMain(m *testing.M) {
	children()
	testenv.Main(m)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func connect(t testing.TB, dsn string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(testenv.Context(t), dsn)
	must(t, err)
	// The context of the test has ended by then, and the server may have too.
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func exec1(t testing.TB, conn *pgx.Conn, sql string) {
	t.Helper()
	_, err := conn.Exec(testenv.Context(t), sql)
	must(t, err)
}

// value runs a query for one value.
func value[T any](t testing.TB, conn *pgx.Conn, sql string) (v T) {
	t.Helper()
	must(t, conn.QueryRow(testenv.Context(t), sql).Scan(&v))
	return v
}

func wantValue[T comparable](t testing.TB, conn *pgx.Conn, sql string, want T) {
	t.Helper()
	if got := value[T](t, conn, sql); got != want {
		t.Errorf("%s: %v, want %v", sql, got, want)
	}
}

// wantCode checks for an error that the server sent.
func wantCode(t testing.TB, err error, code string) {
	t.Helper()
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Code != code {
		t.Errorf("got %v, want an error %s", err, code)
	}
}

// wantBroken checks for an error that no server sent.
func wantBroken(t testing.TB, err error) {
	t.Helper()
	var refused *pgconn.PgError
	if err == nil || errors.As(err, &refused) {
		t.Errorf("got %v, want a broken connection", err)
	}
}

// wantDown checks that nobody listens.
func wantDown(t testing.TB, addr string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, testenv.Patience)
	if err == nil {
		conn.Close()
		t.Errorf("something listens at %s", addr)
	}
}

func wantGone(t testing.TB, path string) {
	t.Helper()
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", path, err)
	}
}

// eventuallyEnded waits for the end of a process; one that nobody waited for has
// ended.
func eventuallyEnded(t testing.TB, pid int) {
	t.Helper()
	testenv.Eventually(t, "its end", func() (bool, string) {
		stat, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat")) // only Linux has it
		return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) || strings.Contains(string(stat), ") Z "), fmt.Sprint("process ", pid)
	})
}

func TestPostgresIsShared(t *testing.T) {
	t.Parallel()
	s := testenv.Postgres(t)
	if again := testenv.Postgres(t); again != s {
		t.Error("it is not the same server")
	}
	conn := connect(t, s.Database(t))
	wantValue(t, conn, "SHOW timezone", "America/New_York")
	wantValue(t, conn, "SHOW server_encoding", "UTF8")
	wantValue(t, conn, "SELECT datcollate FROM pg_database WHERE datname = current_database()", "C")
	wantValue(t, conn, "SHOW max_connections", "200")
	wantValue(t, conn, "SHOW listen_addresses", "127.0.0.1")
	wantValue(t, conn, "SHOW unix_socket_directories", "")
}

func TestPostgresDatabasesAreSeparate(t *testing.T) {
	t.Parallel()
	s := testenv.Postgres(t)
	one, two := connect(t, s.Database(t)), connect(t, s.Database(t))
	exec1(t, one, "CREATE TABLE bots (name text)")
	exec1(t, one, "INSERT INTO bots VALUES ('one')")
	exec1(t, two, "CREATE TABLE bots (name text)")
	wantValue(t, one, "SELECT count(*) FROM bots", int64(1))
	wantValue(t, two, "SELECT count(*) FROM bots", int64(0))
}

func TestPostgresDatabaseGoesWithItsTest(t *testing.T) {
	t.Parallel()
	s := testenv.Postgres(t)
	var dsn string
	var conn *pgx.Conn
	t.Run("a test", func(t *testing.T) {
		dsn = s.Database(t)
		var err error
		conn, err = pgx.Connect(testenv.Context(t), dsn) // and leave it open
		must(t, err)
	})
	if conn.Ping(testenv.Context(t)) == nil {
		t.Error("a connection is left")
	}
	_, err := pgx.Connect(testenv.Context(t), dsn)
	wantCode(t, err, "3D000") // no such database
}

func TestPostgresLongNames(t *testing.T) {
	t.Parallel()
	t.Run(`"Quoted" and `+strings.Repeat("long ", 20), func(t *testing.T) {
		s := testenv.Postgres(t)
		exec1(t, connect(t, s.Database(t)), "CREATE TABLE one ()")
		exec1(t, connect(t, s.Database(t)), "CREATE TABLE one ()")
	})
}

func TestPostgresPasswords(t *testing.T) {
	t.Parallel()
	for method, server := range map[string]func(testing.TB) *testenv.PostgresServer{
		"password":      testenv.Postgres,
		"scram-sha-256": testenv.NewPostgres,
	} {
		dsn := server(t).Database(t)
		wantValue(t, connect(t, dsn), "SELECT string_agg(DISTINCT auth_method, ', ') FROM pg_hba_file_rules", method)
		wrong := strings.Replace(dsn, ":"+testenv.PostgresPassword+"@", ":guess@", 1)
		if wrong == dsn {
			t.Fatal("no password in", dsn)
		}
		_, err := pgx.Connect(testenv.Context(t), wrong)
		wantCode(t, err, "28P01")
	}
}

func TestPostgresKillAndRestart(t *testing.T) {
	t.Parallel()
	s := testenv.NewPostgres(t)
	dsn := s.Database(t)
	conn := connect(t, dsn)
	exec1(t, conn, "CREATE TABLE orders (id int)")
	exec1(t, conn, "INSERT INTO orders VALUES (1)")
	other := connect(t, dsn)
	exec1(t, other, "BEGIN")
	exec1(t, other, "INSERT INTO orders VALUES (2)") // and no commit

	// One that computes does not look up when its postmaster ends.
	busy := connect(t, dsn)
	pid := value[int](t, busy, "SELECT pg_backend_pid()")
	ended := make(chan error, 1)
	go func() {
		_, err := busy.Exec(testenv.Context(t), "SELECT count(*) FROM generate_series(1, 1e12::bigint)")
		ended <- err
	}()
	testenv.Eventually(t, "a statement that runs", func() (bool, string) {
		state := value[string](t, conn, fmt.Sprintf("SELECT state FROM pg_stat_activity WHERE pid = %d", pid))
		return state == "active", state
	})

	s.Kill()
	wantBroken(t, <-ended)
	wantBroken(t, conn.Ping(testenv.Context(t)))
	wantDown(t, s.Addr())
	eventuallyEnded(t, pid)

	for range 2 { // one that was killed, then one that runs
		s.Restart(t)
		conn = connect(t, dsn)
		wantValue(t, conn, "SELECT count(*) FROM orders", int64(1))
		exec1(t, conn, "CREATE TABLE IF NOT EXISTS fills (id int)") // it writes still
	}
}

func TestPostgresStop(t *testing.T) {
	t.Parallel()
	s := testenv.NewPostgres(t)
	dsn := s.Database(t)
	conn := connect(t, dsn)
	exec1(t, conn, "CREATE TABLE orders (id int)")
	s.Stop()
	wantCode(t, conn.Ping(testenv.Context(t)), "57P01") // an operator's command
	wantDown(t, s.Addr())
	s.Restart(t)
	wantValue(t, connect(t, dsn), "SELECT count(*) FROM orders", int64(0))
}

func TestPostgresKillClients(t *testing.T) {
	t.Parallel()
	s := testenv.Postgres(t)
	dsn := s.Database(t)
	mine, others := connect(t, dsn), connect(t, s.Database(t))
	s.KillClients(t, dsn)
	wantCode(t, mine.Ping(testenv.Context(t)), "57P01")
	must(t, others.Ping(testenv.Context(t)))
}

func TestPostgresThroughAProxy(t *testing.T) {
	t.Parallel()
	s := testenv.Postgres(t)
	p := testenv.NewProxy(t, s.Addr())
	dsn := s.Database(t)
	direct, through := connect(t, dsn), connect(t, p.DSN(t, dsn))
	exec1(t, through, "CREATE TABLE bots (name text)")
	wantValue(t, direct, "SELECT count(*) FROM bots", int64(0))

	p.Cut()
	wantBroken(t, through.Ping(testenv.Context(t)))
	_, err := pgx.Connect(testenv.Context(t), p.DSN(t, dsn))
	wantBroken(t, err)
	must(t, direct.Ping(testenv.Context(t)))

	p.Restore(t)
	through = connect(t, p.DSN(t, dsn))
	p.Stall()
	ctx, cancel := context.WithTimeout(testenv.Context(t), 100*time.Millisecond)
	defer cancel()
	if err := through.Ping(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("through a stalled proxy: %v", err)
	}
	p.Flow()
	must(t, connect(t, p.DSN(t, dsn)).Ping(testenv.Context(t)))
}

func TestPostgresIsCleanedUp(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testenv.PostgresServer){
		"running": func(*testenv.PostgresServer) {},
		"stopped": (*testenv.PostgresServer).Stop,
		"killed":  (*testenv.PostgresServer).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var addr, dir, memory string
			t.Run("a test", func(t *testing.T) {
				s := testenv.NewPostgres(t)
				conn := connect(t, s.Database(t))
				addr, dir = s.Addr(), filepath.Dir(value[string](t, conn, "SHOW data_directory"))
				lines := strings.Split(value[string](t, conn, "SELECT pg_read_file('postmaster.pid')"), "\n")
				memory = strings.Join(strings.Fields(lines[6]), " ") // key and id
				end(s)
			})
			wantDown(t, addr)
			wantGone(t, dir)
			segments, err := os.ReadFile("/proc/sysvipc/shm")
			if runtime.GOOS == "linux" { // elsewhere nothing tells
				must(t, err)
			}
			for line := range strings.Lines(string(segments)) {
				if strings.HasPrefix(strings.Join(strings.Fields(line), " "), memory+" ") {
					t.Errorf("shared memory is left: %s", line)
				}
			}
		})
	}
}

// The shared server ends with the test binary, well or killed.
func TestPostgresEndsWithTheBinary(t *testing.T) {
	t.Parallel()
	if os.Getenv(helper) != "" {
		s := testenv.Postgres(t)
		conn := connect(t, s.Database(t))
		fmt.Println(s.Addr(), value[int](t, conn, "SELECT pg_backend_pid()"), filepath.Dir(value[string](t, conn, "SHOW data_directory")))
		_, _ = io.Copy(io.Discard, os.Stdin) // until the parent closes it
		return
	}
	for _, killed := range []bool{false, true} {
		if killed && runtime.GOOS != "linux" {
			continue // nothing there tells a child of its parent's end
		}
		t.Run(fmt.Sprintf("killed %t", killed), func(t *testing.T) {
			t.Parallel()
			self, err := os.Executable()
			must(t, err)
			cmd := exec.Command(self, "-test.run=^"+t.Name()[:strings.Index(t.Name(), "/")]+"$")
			cmd.Env = append(os.Environ(), helper+"=1")
			stdin, err := cmd.StdinPipe()
			must(t, err)
			stdout, err := cmd.StdoutPipe()
			must(t, err)
			must(t, cmd.Start())
			out := bufio.NewReader(stdout)
			line, err := out.ReadString('\n')
			must(t, err)
			var addr, dir string
			var pid int
			if _, err := fmt.Sscan(line, &addr, &pid, &dir); err != nil {
				t.Fatalf("the helper said %q: %v", line, err)
			}
			if killed {
				defer func() { must(t, os.RemoveAll(dir)) }()
				must(t, cmd.Process.Kill())
			}
			must(t, stdin.Close())
			rest, err := io.ReadAll(out)
			must(t, err)
			if err := cmd.Wait(); (err != nil) != killed {
				t.Errorf("the helper: %v: %s", err, rest)
			}
			eventuallyEnded(t, pid)
			testenv.Eventually(t, "nobody listens", func() (bool, string) {
				conn, err := net.Dial("tcp", addr)
				if err == nil {
					conn.Close()
				}
				return err != nil, addr
			})
			if !killed {
				wantGone(t, dir)
			}
		})
	}
}
