package testenv

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/fullon/fulloncache/internal/redisproc"
)

var errNoPostgres = errors.New(`PostgreSQL's initdb and postgres not found, neither on PATH nor where packages put them: install them, for example with "make servers"`)

// postgresSettings are appended to what initdb writes.
const postgresSettings = `
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 16MB
# What a crashed process had committed stays: it was handed to the system, and
# only a crash of that loses what was not synced. So commits are synchronous.
fsync = off
full_page_writes = off
synchronous_commit = on
# Its files are in the folder, and gone with it, whatever ends the server.
dynamic_shared_memory_type = mmap
autovacuum = off
timezone = 'America/New_York'
log_timezone = 'America/New_York'
`

// postgresProc is a postgres process with a folder of its own, gone with its
// parent.
type postgresProc struct {
	bin   string // the folder of the programs
	dir   string
	port  int
	owner *syscall.Credential // nil: this process's own

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when the process and its children have ended
}

// newPostgresProc starts a server and waits until it accepts connections.
func newPostgresProc(ctx context.Context, auth string) (*postgresProc, error) {
	bin, err := postgresBin(postgresFolders)
	if err != nil {
		return nil, err
	}
	p := &postgresProc{bin: bin}
	const name = "fulloncache-postgres-"
	if p.dir, err = os.MkdirTemp(postgresRoom(), name); err != nil {
		p.dir, err = os.MkdirTemp("", name)
	}
	if err != nil {
		return nil, fmt.Errorf("folder for postgres: %w", err)
	}
	if err = p.initdb(auth); err == nil {
		err = p.listen(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.dir))
	}
	return p, nil
}

// postgresFolders are where packages put the programs of a version: Debian's,
// those of postgresql.org for Fedora, and Homebrew's.
var postgresFolders = []string{
	"/usr/lib/postgresql/*/bin",
	"/usr/pgsql-*/bin",
	"/opt/homebrew/opt/postgresql@*/bin",
	"/usr/local/opt/postgresql@*/bin",
}

var folderVersion = regexp.MustCompile(`[0-9]+`)

// postgresBin finds the newest version's programs.
func postgresBin(folders []string) (string, error) {
	newest, bin := -1, ""
	for _, pattern := range folders {
		found, err := filepath.Glob(filepath.Join(pattern, "initdb"))
		if err != nil {
			return "", err
		}
		for _, initdb := range found {
			dir := filepath.Dir(initdb)
			// A folder may be left of a version whose server was removed.
			if _, err := exec.LookPath(filepath.Join(dir, "postgres")); err != nil {
				continue
			}
			version, _ := strconv.Atoi(folderVersion.FindString(filepath.Base(filepath.Dir(dir))))
			if version > newest {
				newest, bin = version, dir
			}
		}
	}
	if bin != "" {
		return bin, nil
	}
	initdb, err := exec.LookPath("initdb")
	if err != nil {
		return "", fmt.Errorf("%w (%w)", errNoPostgres, err)
	}
	return filepath.Dir(initdb), nil
}

// initdb fills the folder of a server that checks passwords in that way.
func (p *postgresProc) initdb(auth string) error {
	password := filepath.Join(p.dir, "password")
	if err := os.WriteFile(password, []byte(PostgresPassword), 0o600); err != nil {
		return err
	}
	if os.Geteuid() == 0 { // whom PostgreSQL refuses
		owner, err := unprivileged()
		if err != nil {
			return err
		}
		p.owner = owner
		if err := errors.Join(p.give(p.dir), p.give(password)); err != nil {
			return err
		}
	}
	cmd := p.command("initdb", "--pgdata", p.data(), "--username", PostgresUser, "--pwfile", password,
		"--auth", auth, "--encoding", "UTF8", "--locale", "C", "--wal-segsize", "1", "--no-sync")
	// A child is told of the end of the thread that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	conf, err := os.OpenFile(filepath.Join(p.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = conf.WriteString(postgresSettings)
	return errors.Join(err, conf.Close())
}

// unprivileged is whom root runs the server as.
func unprivileged() (*syscall.Credential, error) {
	who, err := user.Lookup("postgres")
	if err != nil {
		if who, err = user.Lookup("nobody"); err != nil {
			return nil, fmt.Errorf("PostgreSQL does not run as root: %w", err)
		}
	}
	uid, err := strconv.ParseUint(who.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(who.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

func (p *postgresProc) give(path string) error {
	return os.Chown(path, int(p.owner.Uid), int(p.owner.Gid))
}

func (p *postgresProc) data() string { return filepath.Join(p.dir, "data") }

func (p *postgresProc) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(p.bin, name), args...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), "LC_ALL=C") // readyLine is English
	cmd.SysProcAttr = postgresAttributes(p.owner)
	return cmd
}

// portTaken is what the server logs when it cannot have its port.
const portTaken = "Address already in use"

// listen starts the server at a free port.
func (p *postgresProc) listen(ctx context.Context) error {
	const attempts = 5 // somebody else may take the port meanwhile
	var err error
	for range attempts {
		if p.port, err = redisproc.FreePort(); err != nil {
			return err
		}
		if err = p.run(ctx); err == nil || !strings.Contains(err.Error(), portTaken) {
			return err
		}
	}
	return err
}

// run starts the process and waits until it is ready or has ended.
func (p *postgresProc) run(ctx context.Context) error {
	log := &postgresLog{ready: make(chan struct{})}
	cmd := p.command("postgres", "-D", p.data(), "-p", strconv.Itoa(p.port))
	cmd.Stdout, cmd.Stderr = log, log
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread() // as for initdb
		defer runtime.UnlockOSThread()
		defer close(done)
		err := cmd.Start()
		started <- err
		if err == nil {
			// It returns once nobody can write to the log: all the children have
			// ended. How they did is in the log.
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	p.mu.Lock()
	p.cmd, p.done = cmd, done
	p.mu.Unlock()
	select {
	case <-log.ready:
		return nil
	case <-done:
		return fmt.Errorf("postgres ended at start: %s", log)
	case <-ctx.Done():
		p.kill()
		return fmt.Errorf("postgres is not ready: %w: %s", ctx.Err(), log)
	}
}

func (p *postgresProc) process() (*exec.Cmd, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd, p.done
}

func (p *postgresProc) running() bool {
	_, done := p.process()
	select {
	case <-done:
		return false
	default:
		return true
	}
}

// end sends a signal and waits until the server and its children have ended.
func (p *postgresProc) end(sig syscall.Signal) {
	cmd, done := p.process()
	_ = cmd.Process.Signal(sig) // it may have ended already
	<-done
}

func (p *postgresProc) stop() { p.end(syscall.SIGINT) }

// kill ends the server and its children at once. Left to themselves they would
// serve their clients to the end of a statement: each is in a process group of
// its own.
func (p *postgresProc) kill() {
	cmd, _ := p.process()
	if cmd.Process.Signal(syscall.SIGSTOP) == nil { // it starts no more of them
		for _, child := range childrenOf(cmd.Process.Pid) {
			_ = syscall.Kill(child, syscall.SIGKILL) // it may have ended already
		}
	}
	p.end(syscall.SIGKILL)
}

// discard ends the server and removes its folder.
func (p *postgresProc) discard() error {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	var err error
	if !p.running() {
		// One that was killed left a piece of shared memory with the system, which
		// goes when the next has come and ended well.
		err = p.run(ctx)
	}
	p.end(syscall.SIGQUIT) // at once, without a checkpoint
	return errors.Join(err, os.RemoveAll(p.dir))
}

// readyLine is what the server logs when it accepts connections.
const readyLine = "database system is ready to accept connections"

// postgresLog keeps what a server logs until it is ready, and the news that it
// is.
type postgresLog struct {
	ready chan struct{}

	mu   sync.Mutex
	text []byte
	up   bool
}

func (l *postgresLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.up {
		return len(b), nil
	}
	l.text = append(l.text, b...)
	if bytes.Contains(l.text, []byte(readyLine)) {
		l.up = true
		close(l.ready)
	}
	return len(b), nil
}

func (l *postgresLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}
