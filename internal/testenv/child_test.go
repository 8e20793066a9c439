package testenv_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache/internal/testenv"
)

const (
	parentOfOne = "TESTENV_PARENT_OF_ONE"
	waits       = "TESTENV_WAITS"
)

// children are what the tests start.
func children() {
	// It starts another, to which it hands its output, and waits for it.
	testenv.Child(parentOfOne, func(command []string) error {
		cmd := exec.Command(command[0])
		cmd.Env, cmd.Stdout = append(command[1:], fmt.Sprintf("FULLON_CACHE_TEST_PARENT=%d", os.Getpid())), os.Stdout
		return cmd.Run()
	})
	testenv.Child(waits, func(string) error {
		fmt.Println("here")
		select {}
	})
}

// A child does not outlive who started it, however that ended.
func TestChildEndsWithItsParent(t *testing.T) {
	t.Parallel()
	grandchild := testenv.Command(t, waits, "")
	child := testenv.Command(t, parentOfOne, append([]string{grandchild.Path}, grandchild.Env...))
	// The pipe has its end when nobody is left who holds the other.
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if line, err := lines.ReadString('\n'); strings.TrimSpace(line) != "here" {
		t.Fatal(line, err)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, lines)
		ended <- err
	}()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(testenv.Patience):
		t.Error("it lives")
	}
	_ = child.Wait() // it was killed
}
