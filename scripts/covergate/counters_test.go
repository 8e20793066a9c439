package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// hidden has a race of two goroutines that run the same statements: counted atomically,
// these would wait for each other there. What else they wait for each other with goes
// unseen.
const hidden = `package hidden

import "runtime"

var written, done bool

func both() bool { return len(runtime.Version()) > 0 }

//go:norace
func tell() { done = true }

//go:norace
func await() {
	for {
		runtime.Gosched()
		if done {
			return
		}
	}
}

func Race() bool {
	go func() {
		written = true
		both()
		tell()
	}()
	await()
	return both() && written
}
`

// never is what no test runs.
const never = `package hidden

func Never() int {
	return 1
}
`

const hiddenTest = `package hidden

import "testing"

func TestRace(t *testing.T) {
	if !Race() {
		t.Error("it is not written")
	}
}
`

// Run as make cover runs tests, the race detector sees no counters, and all is counted.
func TestRaceDetectorSeesNoCounters(t *testing.T) {
	t.Parallel()
	script, err := filepath.Abs("../cover-norace.sh")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module hidden\n\ngo 1.26\n", "hidden.go": hidden, "never.go": never, "hidden_test.go": hiddenTest} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-race", "-vet=off", "-toolexec="+script, "-covermode=atomic", "-coverprofile=coverage.out", ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOFLAGS=", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), "DATA RACE") {
		t.Errorf("the race is not seen (%v): %s", err, out)
	}
	profile, err := os.ReadFile(filepath.Join(dir, "coverage.out"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(string(profile)), "\n")[1:] {
		if ran, want := strings.HasSuffix(line, " 1"), strings.HasPrefix(line, "hidden/hidden.go:"); ran != want {
			t.Errorf("%s: ran %v, want %v", line, ran, want)
		}
	}
}
