package redisproc_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
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

	"github.com/fullon/fulloncache/internal/redisproc"
	"github.com/fullon/fulloncache/internal/testenv"
)

// orphanHelper makes the test binary start a server, tell its process id and
// folder, and hang until it is killed.
const orphanHelper = "REDISPROC_ORPHAN_HELPER"

func TestMain(m *testing.M) {
	if os.Getenv(orphanHelper) != "" {
		s, err := redisproc.Start(context.Background(), redisproc.Options{})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println(s.Pid(), s.Dir())
		_, _ = bufio.NewReader(os.Stdin).ReadByte() // the parent never writes
		os.Exit(1)
	}
	testenv.Main(m)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func start(t *testing.T, opt redisproc.Options) *redisproc.Server {
	t.Helper()
	s, err := redisproc.Start(testenv.Context(t), opt)
	must(t, err)
	t.Cleanup(func() { must(t, s.Stop()) })
	return s
}

// conn speaks to a server.
type conn struct {
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, s *redisproc.Server) conn {
	t.Helper()
	c, err := net.DialTimeout(s.Network(), s.Addr(), testenv.Patience)
	must(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return conn{c, bufio.NewReader(c)}
}

// ask sends a command and returns the first line of the answer.
func (c conn) ask(command string, within time.Duration) (string, error) {
	if _, err := fmt.Fprintf(c, "%s\r\n", command); err != nil {
		return "", err
	}
	return c.answer(within)
}

func (c conn) answer(within time.Duration) (string, error) {
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		return "", err
	}
	line, err := c.in.ReadString('\n')
	return strings.TrimSpace(line), err
}

func wantAnswer(t *testing.T, s *redisproc.Server, command, want string) {
	t.Helper()
	if got, err := dial(t, s).ask(command, testenv.Patience); err != nil || got != want {
		t.Fatalf("%s: %q, %v; want %q", command, got, err, want)
	}
}

// alive reports whether a process runs; one that nobody waited for does not.
func alive(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err != nil && runtime.GOOS != "linux" || err == nil && !strings.Contains(string(stat), ") Z ")
}

func TestStartStop(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		opt     redisproc.Options
		network string
	}{
		"port":   {redisproc.Options{}, "tcp"},
		"socket": {redisproc.Options{Socket: true}, "unix"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, c.opt)
			wantAnswer(t, s, "PING", "+PONG")
			if s.Network() != c.network {
				t.Errorf("network %s", s.Network())
			}
			if c.network == "tcp" && s.Addr() != "127.0.0.1:"+strconv.Itoa(s.Port()) {
				t.Errorf("address %s, port %d", s.Addr(), s.Port())
			}
			if c.network == "unix" && filepath.Dir(s.Addr()) != s.Dir() {
				t.Errorf("socket %s outside %s", s.Addr(), s.Dir())
			}
			if !alive(s.Pid()) {
				t.Errorf("process %d does not run", s.Pid())
			}
			if info, err := os.Stat(s.Dir()); err != nil || !info.IsDir() {
				t.Errorf("folder: %v", err)
			}
			if log := s.Log(); !strings.Contains(log, "eady to accept connections") {
				t.Errorf("log: %s", log)
			}
			must(t, s.Stop())
			if alive(s.Pid()) {
				t.Error("the process is left")
			}
			if _, err := os.Stat(s.Dir()); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the folder is left: %v", err)
			}
			if _, err := net.Dial(s.Network(), s.Addr()); err == nil {
				t.Error("something still listens")
			}
		})
	}
}

func TestKillAndRestart(t *testing.T) {
	t.Parallel()
	s := start(t, redisproc.Options{})
	addr, pid := s.Addr(), s.Pid()
	wantAnswer(t, s, "SET k v", "+OK")
	s.Kill()
	if alive(pid) {
		t.Error("the process is left")
	}
	must(t, s.Restart(testenv.Context(t)))
	if s.Addr() != addr || s.Pid() == pid {
		t.Errorf("restarted at %s as %d, was %s as %d", s.Addr(), s.Pid(), addr, pid)
	}
	wantAnswer(t, s, "EXISTS k", ":0") // nothing is kept
	pid = s.Pid()
	must(t, s.Restart(testenv.Context(t))) // one that runs
	if s.Pid() == pid || alive(pid) {
		t.Error("the running process was not replaced")
	}
	wantAnswer(t, s, "PING", "+PONG")
}

func TestRestartKeepsWhatArgsAsk(t *testing.T) {
	t.Parallel()
	s := start(t, redisproc.Options{Args: []string{"--appendonly", "yes", "--appendfsync", "always"}})
	wantAnswer(t, s, "SET k v", "+OK")
	must(t, s.Restart(testenv.Context(t)))
	wantAnswer(t, s, "EXISTS k", ":1")
}

func TestFreezeAndThaw(t *testing.T) {
	t.Parallel()
	s := start(t, redisproc.Options{})
	c := dial(t, s)
	must(t, s.Freeze())
	if got, err := c.ask("PING", 200*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a frozen server answered %q, %v", got, err)
	}
	must(t, s.Thaw())
	if got, err := c.answer(testenv.Patience); err != nil || got != "+PONG" {
		t.Errorf("thawed: %q, %v", got, err)
	}
	must(t, s.Freeze()) // Stop ends a frozen one, too
}

func TestConfigFile(t *testing.T) {
	t.Parallel()
	s := start(t, redisproc.Options{Config: "requirepass pw-%d\n"})
	wantAnswer(t, s, "PING", "-NOAUTH Authentication required.")
	wantAnswer(t, s, fmt.Sprintf("AUTH pw-%d", s.Port()), "+OK")
	must(t, os.RemoveAll(s.Dir()))
	err := s.Restart(testenv.Context(t))
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "configure redis-server") {
		t.Errorf("without its folder: %v", err)
	}
}

func TestTLSOnly(t *testing.T) {
	t.Parallel()
	srv := testenv.NewTLS(t, "")
	srv.Do(t, "PING") // with TLS
	c, err := net.Dial("tcp", srv.Addr())
	must(t, err)
	defer func() { must(t, c.Close()) }()
	if got, err := (conn{c, bufio.NewReader(c)}).ask("PING", testenv.Patience); err == nil && strings.HasPrefix(got, "+PONG") {
		t.Error("it answers without TLS")
	}
}

func TestNotInstalled(t *testing.T) {
	t.Parallel()
	_, err := redisproc.Start(testenv.Context(t), redisproc.Options{Binary: filepath.Join(t.TempDir(), "redis-server")})
	if !errors.Is(err, redisproc.ErrNotInstalled) || !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "make servers") {
		t.Errorf("got %v", err)
	}
}

func TestNotOnPath(t *testing.T) {
	t.Setenv("PATH", "")
	_, err := redisproc.Start(testenv.Context(t), redisproc.Options{})
	if !errors.Is(err, redisproc.ErrNotInstalled) || !errors.Is(err, exec.ErrNotFound) {
		t.Errorf("got %v", err)
	}
}

// program writes a stand-in for redis-server. It can use $STATE, a folder.
func program(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "server")
	text = strings.ReplaceAll(text, "$STATE", t.TempDir())
	must(t, os.WriteFile(path, []byte(text), 0o700))
	return path
}

// failStart starts what cannot start and checks that nothing is left.
func failStart(ctx context.Context, t *testing.T, binary string) error {
	t.Helper()
	s, err := redisproc.Start(ctx, redisproc.Options{Binary: binary, Args: []string{"--marker", t.Name()}})
	if err == nil {
		t.Fatal("started", s.Stop())
	}
	return err
}

func TestBinaryEndsAtOnce(t *testing.T) {
	t.Parallel()
	err := failStart(testenv.Context(t), t, program(t, "#!/bin/sh\nfor i in $(seq 1 100); do echo line $i.; done\necho bad option >&2\nexit 1\n"))
	text := err.Error()
	if !strings.Contains(text, "ended at start") || !strings.HasSuffix(text, "line 100.\nbad option") {
		t.Errorf("got %v", err)
	}
	if !strings.Contains(text, "line 62.") || strings.Contains(text, "line 61.") {
		t.Errorf("not the last 40 lines: %v", err)
	}
}

func TestBinaryIsNoProgram(t *testing.T) {
	t.Parallel()
	err := failStart(testenv.Context(t), t, program(t, "\x00 garbage"))
	if !errors.Is(err, syscall.ENOEXEC) || !strings.Contains(err.Error(), "start redis-server") {
		t.Errorf("got %v", err)
	}
}

func TestContextEndsBeforeReady(t *testing.T) {
	t.Parallel()
	binary := program(t, "#!/bin/sh\necho $$ > $STATE/pid\npwd > $STATE/dir\necho starting up\nexec sleep 600\n")
	state := stateOf(t, binary)
	ctx, cancel := context.WithCancel(testenv.Context(t))
	go func() {
		for ctx.Err() == nil { // until it runs
			if pid, err := os.ReadFile(filepath.Join(state, "dir")); err == nil && len(pid) > 1 {
				cancel()
			}
			runtime.Gosched()
		}
	}()
	err := failStart(ctx, t, binary)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "not ready") {
		t.Errorf("got %v", err)
	}
	text, err := os.ReadFile(filepath.Join(state, "pid"))
	must(t, err)
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	must(t, err)
	if alive(pid) {
		t.Error("the process is left")
	}
	dir, err := os.ReadFile(filepath.Join(state, "dir"))
	must(t, err)
	if _, err := os.Stat(strings.TrimSpace(string(dir))); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is left: %v", err)
	}
}

// stateOf is the folder that a program's text has for $STATE.
func stateOf(t *testing.T, binary string) string {
	t.Helper()
	text, err := os.ReadFile(binary)
	must(t, err)
	_, rest, _ := strings.Cut(string(text), "> ")
	return filepath.Dir(strings.Fields(rest)[0])
}

// Between asking for a free port and listening on it, somebody else can take it.
func TestPortTakenMeanwhile(t *testing.T) {
	t.Parallel()
	const taken = `#!/bin/sh
echo "$@" >> $STATE/calls
if [ $(wc -l < $STATE/calls) -le %d ]; then
  echo "# Could not create server TCP listening socket 127.0.0.1:1: bind: Address already in use"
  exit 1
fi
exec redis-server "$@"
`
	binary := program(t, fmt.Sprintf(taken, 2))
	s := start(t, redisproc.Options{Binary: binary})
	wantAnswer(t, s, "PING", "+PONG")
	calls := portsOf(t, binary)
	if len(calls) != 3 || calls[2] != s.Port() {
		t.Errorf("tried %v, runs at %d", calls, s.Port())
	}

	binary = program(t, fmt.Sprintf(taken, 99))
	if err := failStart(testenv.Context(t), t, binary); !strings.Contains(err.Error(), "Address already in use") {
		t.Errorf("got %v", err)
	}
	if calls = portsOf(t, binary); len(calls) != 5 {
		t.Errorf("tried %v", calls)
	}
}

func portsOf(t *testing.T, binary string) (ports []int) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(stateOf(t, binary), "calls"))
	must(t, err)
	for line := range strings.Lines(string(text)) {
		_, rest, _ := strings.Cut(line, "--port ")
		port, err := strconv.Atoi(strings.Fields(rest)[0])
		must(t, err)
		ports = append(ports, port)
	}
	return ports
}

func TestNoFolder(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	_, err := redisproc.Start(testenv.Context(t), redisproc.Options{})
	if !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "folder for redis-server") {
		t.Errorf("got %v", err)
	}
}

func TestNoFreePort(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	none := limit
	none.Cur = 0
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &none))
	_, err := redisproc.Start(testenv.Context(t), redisproc.Options{})
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit))
	if !errors.Is(err, syscall.EMFILE) || !strings.Contains(err.Error(), "free port") {
		t.Errorf("got %v", err)
	}
	left, err := os.ReadDir(dir)
	must(t, err)
	if len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

// A test binary or a program that is killed leaves no server behind.
func TestOrphan(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		return // nothing there tells a child of its parent's end
	}
	self, err := os.Executable()
	must(t, err)
	helper := exec.Command(self)
	helper.Env = append(os.Environ(), orphanHelper+"=1")
	stdin, err := helper.StdinPipe() // stays open: the helper waits on it
	must(t, err)
	stdout, err := helper.StdoutPipe()
	must(t, err)
	must(t, helper.Start())
	defer func() { _ = stdin.Close() }()
	line, err := bufio.NewReader(stdout).ReadString('\n')
	must(t, err)
	var pid int
	var dir string
	if _, err := fmt.Sscan(line, &pid, &dir); err != nil {
		t.Fatalf("the helper said %q: %v", line, err)
	}
	defer func() { must(t, os.RemoveAll(dir)) }()
	if !alive(pid) {
		t.Fatal("the server does not run")
	}
	must(t, helper.Process.Kill())
	if err := helper.Wait(); err == nil {
		t.Error("the helper ended well")
	}
	testenv.Eventually(t, "the server ends with its parent", func() (bool, string) {
		return !alive(pid), fmt.Sprint("process ", pid)
	})
}
