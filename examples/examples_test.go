package examples_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/examples"
	"github.com/fullon/fulloncache/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// Each example prints what testdata says: on a real server, and on the one in this
// process.
func TestExamples(t *testing.T) {
	for _, e := range examples.List() {
		want, err := os.ReadFile(filepath.Join("testdata", e.Name+".txt"))
		if err != nil {
			t.Fatal(err)
		}
		pattern := regexp.QuoteMeta(string(want))
		if e.Name == "performance" { // what it measures is no example's to know
			pattern = string(want)
		}
		for _, server := range []string{"redis-server", "in-process"} {
			t.Run(e.Name+"/"+server, func(t *testing.T) {
				if server == "in-process" {
					t.Setenv("PATH", "")
				}
				var out strings.Builder
				if err := examples.Run(testenv.Context(t), e.Name, &out); err != nil {
					t.Fatalf("%v\n%s", err, &out)
				}
				if !regexp.MustCompile("^" + pattern + "$").MatchString(out.String()) {
					t.Errorf("printed\n%s\nand not\n%s", &out, want)
				}
			})
		}
	}
}

// The texts are those of the folders, and each says what it shows.
func TestAll(t *testing.T) {
	all := examples.All()
	folders, err := filepath.Glob("*/*.go")
	if err != nil || len(folders) != len(all) {
		t.Fatalf("%d examples, of %q, %v", len(all), folders, err)
	}
	for _, e := range examples.List() {
		text, err := os.ReadFile(filepath.Join(e.Name, e.Name+".go"))
		if err != nil || all[e.Name] != string(text) {
			t.Errorf("%s: its text is not that of its folder (%v)", e.Name, err)
		}
		if !strings.HasPrefix(all[e.Name], "// Package ") || !strings.Contains(all[e.Name], "fulloncache docs ") || e.About == "" {
			t.Errorf("%s does not say what it shows, and what to read next", e.Name)
		}
	}
}

func TestUnknown(t *testing.T) {
	_, err := examples.Source("nonsense")
	for _, err := range []error{err, examples.Run(testenv.Context(t), "nonsense", os.Stdout)} {
		if !errors.Is(err, fulloncache.ErrInvalid) || !strings.Contains(err.Error(), "one of basic_usage, ") {
			t.Errorf("got %v", err)
		}
	}
	ctx, cancel := context.WithCancel(testenv.Context(t))
	cancel()
	if err := examples.Run(ctx, "positions", os.Stdout); !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "example positions") {
		t.Errorf("with an ended context: %v", err)
	}
}
