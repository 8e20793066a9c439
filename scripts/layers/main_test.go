package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		name, from, imports, want string
	}{
		{"the standard library", ".", "database/sql", ""},
		{"a module that is free", ".", "github.com/redis/rueidis", ""},
		{"the root on its engine", ".", module + "/internal/kv", ""},
		{"a package on one of its own layer", "internal/testenv/proxy", module + "/internal/testenv", ""},
		{"a package below a row", "cmd/fulloncache/view", "charm.land/lipgloss/v2", ""},
		{"the root on what is above", ".", module + "/orm", "may import internal/aside"},
		{"an engine on the root", "internal/kv", module, "may import internal/clock, internal/keys"},
		{"the lowest on anything", "internal/keys", module + "/internal/kv", "imports nothing of this module"},
		{"a heavy module outside its package", ".", "github.com/jackc/pgx/v5/stdlib", "only orm, internal/testenv may"},
		{"a heavy module shared by some", "logging", "github.com/prometheus/client_golang/prometheus", "only metrics, cmd/fulloncache, examples may"},
		{"a name that only begins alike", "logging", "charm.landing/x", ""},
		{"a package in no layer", "surprise", "", "add a row"},
		{"an import in no layer", ".", module + "/surprise", "it is in no layer"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := pkg{ImportPath: module + "/" + tc.from, Imports: []string{tc.imports}}
			if tc.from == "." {
				p.ImportPath = module
			}
			got := strings.Join(check([]pkg{p}), "\n")
			if tc.want == "" && got != "" {
				t.Errorf("refused: %s", got)
			}
			if !strings.Contains(got, tc.want) {
				t.Errorf("got %q, want it to say %q", got, tc.want)
			}
		})
	}
}

// The table itself says what the design does.
func TestTable(t *testing.T) {
	var above []string // rows seen, from the top down
	for _, l := range slices.Backward(layers) {
		above = append(above, l.path)
		for _, to := range l.imports {
			if !slices.ContainsFunc(layers, func(l layer) bool { return l.path == to }) {
				t.Errorf("%s may import %s, which is no row", l.path, to)
			}
			if slices.Contains(above, to) {
				t.Errorf("%s depends upward, on %s", l.path, to)
			}
		}
		onRoot := slices.Contains(l.imports, ".")
		if strings.HasPrefix(l.path, "internal/") && onRoot && !slices.Contains([]string{"internal/sim", "internal/legacy", "internal/testenv"}, l.path) {
			t.Errorf("%s imports the root", l.path)
		}
	}
	for _, c := range confined {
		for _, to := range c.to {
			if !slices.Contains(above, to) {
				t.Errorf("%v are confined to %s, which is no row", c.modules, to)
			}
		}
	}
}

func TestWithTable(t *testing.T) {
	got, err := withTable("before\n"+begin+"old\n"+end+"after\n", "new\n")
	if want := "before\n" + begin + "new\n" + end + "after\n"; err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
	for _, text := range []string{"", begin, end, end + begin} {
		if _, err := withTable(text, "new\n"); err == nil {
			t.Errorf("%q: accepted without both marks", text)
		}
	}
}

func TestWriteThenCheck(t *testing.T) {
	doc := filepath.Join(t.TempDir(), "DOC.md")
	if err := os.WriteFile(doc, []byte(begin+end), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(doc, false); err == nil || !strings.Contains(err.Error(), "run make fmt") {
		t.Errorf("an outdated table: got %v", err)
	}
	if err := run(doc, true); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(doc)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), "| the root | the public vocabulary") {
		t.Errorf("the table was not written:\n%s", text)
	}
	if err := run(doc, false); err != nil && strings.Contains(err.Error(), "run make fmt") {
		t.Errorf("a table just written: got %v", err)
	}
}
