// Package testenv gives tests real servers: private redis-server processes on
// free loopback ports, standalone, with replicas, as a cluster, behind Sentinels
// or TLS, likewise PostgreSQL servers, and a proxy that breaks connections. What
// it starts it ends.
package testenv

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/goleak"

	"github.com/fullon/fulloncache/internal/inprocess"
	"github.com/fullon/fulloncache/internal/redisproc"
)

// Patience is how long a test waits for something that must happen.
const Patience = 20 * time.Second

// shared are the servers that all tests of the binary use.
var shared struct {
	redis    one[Server]
	cluster  one[Cluster]
	postgres one[PostgresServer]
}

// one is a server that the first test which asks for it starts. Who asks for another
// does not wait for it: a cluster takes seconds, in which processes of tests would die.
type one[T any] struct {
	mu     sync.Mutex
	server *T
}

func (o *one[T]) get(start func() *T) *T {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.server == nil {
		o.server = start()
	}
	return o.server
}

// Main runs a package's tests, ends the shared servers, and fails if a goroutine
// is left. The caller's settings are ignored.
func Main(m *testing.M) {
	for _, kv := range os.Environ() {
		name, _, _ := strings.Cut(kv, "=")
		if foreign(name) {
			if err := os.Unsetenv(name); err != nil {
				panic(err)
			}
		}
	}
	code := m.Run()
	if s := shared.redis.server; s != nil {
		s.stop()
	}
	if c := shared.cluster.server; c != nil {
		c.stop()
	}
	if p := shared.postgres.server; p != nil {
		p.discard()
	}
	if code == 0 {
		// After a change of topology rueidis waits 5 s before it closes what left, and
		// a second before it asks for the topology anew.
		if err := goleak.Find(
			goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"),
			goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"),
			goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient).redirectOrNew.func1"),
		); err != nil {
			fmt.Fprintln(os.Stderr, "goroutines are left:", err)
			code = 1
		}
	}
	os.Exit(code)
}

// foreign tells the environment variables that the library, or PostgreSQL and its
// driver, would read.
func foreign(name string) bool {
	return strings.HasPrefix(name, "REDIS_") || strings.HasPrefix(name, "CACHE_") || strings.HasPrefix(name, "PG") ||
		name == "DATABASE_URL" || name == "DOTENV_FILE"
}

// Soak reports whether the faults are to be tested in their full form.
func Soak() bool { return os.Getenv("FULLON_CACHE_SOAK") == "1" }

// Context returns a context that ends with the test, and before a hang does. What
// runs in parallel may have waited for minutes for its turn.
func Context(t testing.TB) context.Context {
	limit := 10 * time.Minute
	if Soak() {
		limit = time.Hour
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

// Prefix returns a key prefix of the test's own. Parallel tests share servers.
func Prefix(t testing.TB) string {
	clean := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' {
			return r
		}
		return '_'
	}, t.Name())
	return fmt.Sprintf("%s-%d", clean, time.Now().UnixNano())
}

// Eventually polls until ok, or fails the test with the last detail. Who waits for long
// polls less often: many tests wait at the same time, beside others that work.
func Eventually(t testing.TB, what string, ok func() (bool, string)) {
	t.Helper()
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	for pause := 2 * time.Millisecond; ; pause = min(pause*3/2, 40*time.Millisecond) {
		done, detail := ok()
		if done {
			return
		}
		select {
		case <-deadline.C:
			t.Fatalf("%s: not within %s: %s", what, Patience, detail)
		case <-time.After(pause):
		}
	}
}

// Server is a redis-server.
type Server struct {
	proc  *redisproc.Server
	admin rueidis.Client
	user  string // a server of the user's own
	opt   rueidis.ClientOption
}

// Redis returns the standalone server that the binary's tests share, or the one
// that FULLON_CACHE_TEST_REDIS_URL names.
func Redis(t testing.TB) *Server {
	t.Helper()
	return shared.redis.get(func() *Server {
		url := os.Getenv("FULLON_CACHE_TEST_REDIS_URL")
		if url == "" {
			return start(t, redisproc.Options{})
		}
		opt, err := rueidis.ParseURL(url)
		if err != nil {
			t.Fatalf("FULLON_CACHE_TEST_REDIS_URL: %v", err)
		}
		return &Server{user: url, opt: opt}
	})
}

// NewRedis starts a server of the test's own.
func NewRedis(t testing.TB, args ...string) *Server {
	t.Helper()
	return newServer(t, redisproc.Options{Args: args})
}

// NewSocket starts a server of the test's own on a unix socket.
func NewSocket(t testing.TB) *Server {
	t.Helper()
	return newServer(t, redisproc.Options{Socket: true})
}

// InProcess starts the Redis written in Go inside this process, ended with the test,
// and returns its address.
func InProcess(t testing.TB) string {
	t.Helper()
	s, err := inprocess.Start()
	must(t, err)
	t.Cleanup(s.Close)
	return s.Addr()
}

func newServer(t testing.TB, opt redisproc.Options) *Server {
	t.Helper()
	s := start(t, opt)
	t.Cleanup(s.stop)
	return s
}

func start(t testing.TB, opt redisproc.Options) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	proc, err := redisproc.Start(ctx, opt)
	if err != nil {
		t.Fatal(err)
	}
	return &Server{proc: proc}
}

func (s *Server) stop() {
	if s.admin != nil {
		s.admin.Close()
	}
	if s.proc != nil {
		_ = s.proc.Thaw() // a frozen process takes SIGKILL all the same; a dead one is gone
		if err := s.proc.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "testenv:", err)
		}
	}
}

// URL is what REDIS_URL takes to reach the server.
func (s *Server) URL() string {
	switch {
	case s.user != "":
		return s.user
	case s.proc.Network() == "unix":
		return "unix://" + s.proc.Addr()
	}
	return "redis://" + s.proc.Addr()
}

// Addr is the server's host:port or socket.
func (s *Server) Addr() string { return s.own().Addr() }

// Port is the server's port.
func (s *Server) Port() int { return s.own().Port() }

func (s *Server) own() *redisproc.Server {
	if s.proc == nil {
		panic("this test needs a server that it started itself: unset FULLON_CACHE_TEST_REDIS_URL")
	}
	return s.proc
}

// Do sends a command as an operator would and returns the reply.
func (s *Server) Do(t testing.TB, words ...string) *rueidis.RedisMessage {
	t.Helper()
	msg, err := s.Try(t, words...)
	if err != nil && !rueidis.IsRedisNil(err) {
		t.Fatalf("%s: %v", strings.Join(words, " "), err)
	}
	return &msg
}

// Counts is how often the server was sent each command, by clients and scripts.
func (s *Server) Counts(t testing.TB) map[string]int {
	t.Helper()
	info, err := s.Do(t, "INFO", "commandstats").ToString()
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]int)
	for line := range strings.Lines(info) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		if !ok {
			continue
		}
		var n int
		if _, err := fmt.Sscanf(rest, "%d,", &n); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		counts[name] = n
	}
	return counts
}

// Try is Do for commands that may fail.
func (s *Server) Try(t testing.TB, words ...string) (rueidis.RedisMessage, error) {
	t.Helper()
	client := s.client(t)
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	return client.Do(ctx, client.B().Arbitrary(words...).Build()).ToMessage()
}

var adminMu sync.Mutex

func (s *Server) client(t testing.TB) rueidis.Client {
	t.Helper()
	adminMu.Lock()
	defer adminMu.Unlock()
	if s.admin != nil {
		return s.admin
	}
	opt := s.opt
	if s.proc != nil {
		opt.InitAddress = []string{s.proc.Addr()}
		if s.proc.Network() == "unix" {
			opt.DialCtxFn = dialUnix
		}
	}
	opt.ForceSingleClient, opt.DisableCache = true, true
	client, err := rueidis.NewClient(opt)
	if err != nil {
		t.Fatalf("admin connection: %v", err)
	}
	s.admin = client
	return client
}

// Kill ends the server as a crash does.
func (s *Server) Kill() {
	s.disconnect()
	s.own().Kill()
}

// disconnect ends the admin connection, which the server is about to end.
func (s *Server) disconnect() {
	adminMu.Lock()
	defer adminMu.Unlock()
	if s.admin != nil {
		s.admin.Close()
		s.admin = nil
	}
}

// Freeze stops the server without closing a connection.
func (s *Server) Freeze(t testing.TB) { t.Helper(); must(t, s.own().Freeze()) }

// Thaw lets a frozen server go on.
func (s *Server) Thaw(t testing.TB) { t.Helper(); must(t, s.own().Thaw()) }

// Restart starts the server anew at its address, without data unless it was
// started with persistence.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	s.disconnect()
	must(t, s.own().Restart(ctx))
}

// Rewrite lets a server that appends to a file write it anew. After a crash in the
// middle of a write Redis 7.0 loses what it appends, at the next crash, unless that
// was done (decision 0056).
func (s *Server) Rewrite(t testing.TB) {
	t.Helper()
	s.Do(t, "BGREWRITEAOF")
	Eventually(t, "a file that is rewritten", func() (bool, string) {
		info, err := s.Do(t, "INFO", "persistence").ToString()
		return err == nil && strings.Contains(info, "aof_rewrite_in_progress:0\r\n") && strings.Contains(info, "aof_rewrite_scheduled:0\r\n"), fmt.Sprint(info, err)
	})
}

// FailToSave makes the server fail to save a snapshot. From then on it refuses writes,
// and answers a PING with the same error (MISCONF).
func (s *Server) FailToSave(t testing.TB) {
	t.Helper()
	s.Do(t, "CONFIG", "SET", "save", "1000 1000")
	s.Do(t, "SET", "something", "to save")
	// The folder that the snapshot goes to is one that nobody can write.
	must(t, os.RemoveAll(s.own().Dir()))
	s.Do(t, "BGSAVE")
	Eventually(t, "failed save", func() (bool, string) {
		info, err := s.Do(t, "INFO", "persistence").ToString()
		must(t, err)
		return strings.Contains(info, "rdb_last_bgsave_status:err"), info
	})
}

// KillClients closes the connections of a type (normal or pubsub), but the
// admin's own.
func (s *Server) KillClients(t testing.TB, kind string) {
	t.Helper()
	s.Do(t, "CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
