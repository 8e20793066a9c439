// Package redisproc runs a private redis-server process: on a unix socket or a
// free loopback port, with a folder of its own, gone with its parent.
package redisproc

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// ErrNotInstalled says that there is no redis-server on PATH.
var ErrNotInstalled = errors.New(`redis-server not found on PATH: install it, for example with "make servers"`)

// Options say what to start. The zero value is a server on a free TCP port that
// keeps nothing on disk.
type Options struct {
	// Socket makes it listen on a unix socket in its folder and on no port.
	Socket bool
	// Args are further arguments, such as "--appendonly", "yes".
	Args []string
	// TLS makes it listen with TLS only; Args name the certificates.
	TLS bool
	// Config is the text of a configuration file, in which "%d" is the port.
	Config string
	// Binary is the program. Defaults to redis-server.
	Binary string
}

// Server is a running redis-server.
type Server struct {
	opt  Options
	dir  string
	port int

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	log  *tail
}

// attempts bounds how often another port is tried if one was taken meanwhile.
const attempts = 5

// Start starts a server and waits until it accepts connections.
func Start(ctx context.Context, opt Options) (*Server, error) {
	if opt.Binary == "" {
		opt.Binary = "redis-server"
	}
	binary, err := exec.LookPath(opt.Binary)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNotInstalled, err)
	}
	opt.Binary = binary
	dir, err := os.MkdirTemp("", "fulloncache-redis-")
	if err != nil {
		return nil, fmt.Errorf("folder for redis-server: %w", err)
	}
	s := &Server{opt: opt, dir: dir}
	for range attempts {
		if s.port, err = FreePort(); err != nil {
			break
		}
		if err = s.run(ctx); err == nil || !strings.Contains(err.Error(), "Address already in use") {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// FreePort returns a free loopback port, below those that systems hand out to
// outgoing connections: one of them could take the port of a server that is
// down for a restart.
func FreePort() (int, error) {
	const first, last = 10_000, 30_000
	var err error
	for range 100 {
		port := first + rand.IntN(last-first)
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("free port: %w", err)
}

// ready is what the server logs when it accepts connections.
var ready = regexp.MustCompile(`[Rr]eady to accept connections|Sentinel ID is`)

// run starts the process and waits until it is ready or has ended.
func (s *Server) run(ctx context.Context) error {
	cmd := exec.Command(s.opt.Binary, s.args()...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = childAttributes()
	out, in := io.Pipe()
	cmd.Stdout, cmd.Stderr = in, in
	log := &tail{}
	up, read := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(read)
		defer func() { _ = out.Close() }() // a pipe's Close returns no error
		var once sync.Once
		for lines := bufio.NewScanner(out); lines.Scan(); {
			log.add(lines.Text())
			if ready.MatchString(lines.Text()) {
				once.Do(func() { close(up) })
			}
		}
	}()
	if s.opt.Config != "" {
		text := strings.ReplaceAll(s.opt.Config, "%d", strconv.Itoa(s.port))
		if err := os.WriteFile(filepath.Join(s.dir, "redis.conf"), []byte(text), 0o600); err != nil {
			return fmt.Errorf("configure redis-server: %w", errors.Join(err, in.Close()))
		}
	}
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		// The child is told to die with the thread that started it, so that thread
		// must live as long as the child does.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is in its log
		}
		_ = in.Close() // a pipe's Close returns no error
		<-read         // the log is complete
		close(done)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start redis-server: %w", err)
	}
	select {
	case <-up:
		s.mu.Lock()
		s.cmd, s.done, s.log = cmd, done, log
		s.mu.Unlock()
		return nil
	case <-done:
		return fmt.Errorf("redis-server ended at start: %s", log)
	case <-ctx.Done():
		_ = cmd.Process.Kill() // it may just have ended
		<-done
		return fmt.Errorf("redis-server is not ready: %w: %s", ctx.Err(), log)
	}
}

func (s *Server) args() []string {
	var args []string
	if s.opt.Config != "" {
		args = append(args, filepath.Join(s.dir, "redis.conf"))
	}
	args = append(args, "--dir", s.dir, "--save", "", "--bind", "127.0.0.1", "--daemonize", "no", "--logfile", "")
	switch {
	case s.opt.Socket:
		args = append(args, "--port", "0", "--unixsocket", s.Addr(), "--unixsocketperm", "700")
	case s.opt.TLS:
		args = append(args, "--port", "0", "--tls-port", strconv.Itoa(s.port))
	default:
		args = append(args, "--port", strconv.Itoa(s.port))
	}
	return append(args, s.opt.Args...)
}

// Network is "tcp" or "unix".
func (s *Server) Network() string {
	if s.opt.Socket {
		return "unix"
	}
	return "tcp"
}

// Addr is host:port or the socket's path.
func (s *Server) Addr() string {
	if s.opt.Socket {
		return filepath.Join(s.dir, "redis.sock")
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
}

// Port is the TCP port.
func (s *Server) Port() int { return s.port }

// Dir is the server's folder.
func (s *Server) Dir() string { return s.dir }

// Pid is the process id.
func (s *Server) Pid() int { return s.process().Pid }

// Log is the end of what the server logged.
func (s *Server) Log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.String()
}

func (s *Server) process() *os.Process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd.Process
}

// Kill ends the process as a crash would, and waits for its end.
func (s *Server) Kill() { s.end(syscall.SIGKILL) }

// Restart ends the process, if it runs, and starts it anew at the same address;
// with what it keeps on disk, which by default is nothing.
func (s *Server) Restart(ctx context.Context) error {
	s.Kill()
	return s.run(ctx)
}

// Stop ends the process and removes its folder.
func (s *Server) Stop() error {
	s.end(syscall.SIGKILL)
	return os.RemoveAll(s.dir)
}

func (s *Server) end(sig syscall.Signal) {
	s.mu.Lock()
	cmd, done := s.cmd, s.done
	s.mu.Unlock()
	_ = cmd.Process.Signal(sig) // it may have ended already
	<-done
}

// tail keeps the last lines of a log.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (t *tail) add(line string) {
	const kept = 40
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lines = append(t.lines, line); len(t.lines) > kept {
		t.lines = t.lines[1:]
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}
