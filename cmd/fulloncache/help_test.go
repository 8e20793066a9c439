package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache/internal/testenv"
)

// Every command has examples, and each of them is a call that the command takes.
func TestEveryCommandHasExamples(t *testing.T) {
	t.Parallel()
	n := 0
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if cmd.Name() == "completion" || cmd.Name() == "help" {
			return // of the library
		}
		if cmd.Runnable() && !cmd.Hidden {
			if cmd.Short == "" || cmd.Example == "" {
				t.Errorf("%s: a line of help, or the examples, are missing", cmd.CommandPath())
			}
			for line := range strings.Lines(cmd.Example) {
				n++
				if err := takes(line); err != nil {
					t.Errorf("%s: example %q: %v", cmd.CommandPath(), line, err)
				}
			}
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk((&app{}).root())
	if n < 60 {
		t.Errorf("there are %d examples", n)
	}
}

// takes returns an error unless the line is a call that its command takes.
func takes(line string) error {
	// What the shell does with it is not ours.
	call := regexp.MustCompile(`\bfulloncache [^|;>]*`).FindString(line)
	var words []string
	for i, part := range strings.Split(call, "\"") {
		if i%2 == 1 {
			words = append(words, part) // it is quoted
		} else {
			words = append(words, strings.Fields(part)...)
		}
	}
	root := (&app{}).root()
	cmd, rest, err := root.Find(words[1:])
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(rest); err != nil {
		return err
	}
	return cmd.ValidateArgs(cmd.Flags().Args())
}

func TestCommandReference(t *testing.T) {
	s := newShell(t)
	out, _ := s.call(0, "", "docs", "commands")
	for _, want := range []string{"## fulloncache order dead requeue", "--bars-exchange string", "fulloncache tick watch kraken", "exit code 1"} {
		if !strings.Contains(out, want) {
			t.Errorf("the reference lacks %q", want)
		}
	}
	if strings.Contains(out, "demo bot") {
		t.Error("the reference has a hidden command")
	}
	all, _ := s.call(0, "", "docs", "--all")
	if !strings.HasSuffix(all, out) {
		t.Error("docs --all lacks the commands")
	}
	s.call(0, "", "completion", "bash")
}

func TestBenchCommand(t *testing.T) {
	s := newShell(t)
	out, _ := s.call(0, "", "bench", "--duration", "1ms", "--callers", "2", "--json")
	works := 0
	for line := range strings.Lines(out) {
		m := decode[measured](t, line)
		if m.Calls < 1 || m.P50 <= 0 || m.P99 < m.P50 || m.Max < m.P99 || m.Rate <= 0 {
			t.Errorf("got %s", line)
		}
		works++
	}
	if works != 20 {
		t.Errorf("%d lines", works)
	}
	keys := func() (n int) {
		list, err := testenv.Redis(t).Do(t, "KEYS", os.Getenv("CACHE_KEY_PREFIX")+"bench-*").AsStrSlice()
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	if n := keys(); n != 0 {
		t.Errorf("it left %d keys", n)
	}
	out, _ = s.call(0, "", "bench", "--duration", "1ms", "--callers", "1")
	if strings.Count(out, "\n") != 11 || !strings.HasPrefix(out, "WORK") {
		t.Errorf("got %s", out)
	}
	s.call(2, "", "bench", "--callers", "0")

	// Interrupted, it deletes its keys too, and says once why it ended.
	ctx, interrupt := context.WithCancel(s.ctx)
	var errs strings.Builder
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"bench", "--duration", "1h"}, strings.NewReader(""), io.Discard, &errs)
	}()
	testenv.Eventually(t, "its keys are there", func() (bool, string) { n := keys(); return n > 0, fmt.Sprint(n) })
	interrupt()
	if code := <-done; code != 1 || strings.Count(errs.String(), "context canceled") != 1 || keys() != 0 {
		t.Errorf("exit code %d, %d keys left: %s", code, keys(), &errs)
	}
}
