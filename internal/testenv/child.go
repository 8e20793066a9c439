package testenv

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"
)

// Child does, in a process that a test started by [Command] with the same variable,
// what it was told, and does not return. Elsewhere it does nothing.
func Child[T any](variable string, do func(told T) error) {
	text := os.Getenv(variable)
	if text == "" {
		return
	}
	go endWith(os.Getenv(parentVariable))
	var told T
	err := json.Unmarshal([]byte(text), &told)
	if err == nil {
		err = do(told)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", variable, err)
		os.Exit(1) //revive:disable-line:deep-exit a child is nothing else
	}
	os.Exit(0) //revive:disable-line:deep-exit likewise
}

// parentVariable tells a child who started it.
const parentVariable = "FULLON_CACHE_TEST_PARENT"

// endWith ends a child whose parent is gone: a test that is killed, or takes too long,
// does not end its children.
func endWith(parent string) {
	for range time.Tick(100 * time.Millisecond) {
		if strconv.Itoa(os.Getppid()) != parent {
			os.Exit(1) //revive:disable-line:deep-exit likewise
		}
	}
}

// Command is this test binary as a process of its own that is told something, as
// JSON in an environment variable.
func Command(t testing.TB, variable string, told any) *exec.Cmd {
	t.Helper()
	text, err := json.Marshal(told)
	if err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), variable+"="+string(text), parentVariable+"="+strconv.Itoa(os.Getpid()))
	return cmd
}
