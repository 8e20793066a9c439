package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The reference in docs/ is what the code says.
func TestCurrent(t *testing.T) {
	if err := run("../..", false); err != nil {
		t.Error(err)
	}
}

// sourcesCopied is a tree with all that the reference is made of.
func sourcesCopied(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, folder := range []string{".", "orm", "embedded", "logging", "metrics", "internal/keys", "docs", "docs/api_reference"} {
		list, err := os.ReadDir(filepath.Join("../..", folder))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
		for _, e := range list {
			if e.IsDir() {
				continue
			}
			text, err := os.ReadFile(filepath.Join("../..", folder, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, folder, e.Name()), text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

func TestWriteAndCheck(t *testing.T) {
	dir := sourcesCopied(t)
	page := filepath.Join(dir, "docs/api_reference/tick.md")
	if err := os.WriteFile(page, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(dir, false); err == nil || !strings.Contains(err.Error(), page) || strings.Contains(err.Error(), "keys.md") {
		t.Errorf("got %v, want it to name %s alone", err, page)
	}
	if err := run(dir, true); err != nil {
		t.Fatal(err)
	}
	if err := run(dir, false); err != nil {
		t.Errorf("written, and yet: %v", err)
	}
	// What nobody has a page for is not left out silently.
	if err := os.WriteFile(filepath.Join(dir, "novelty.go"), []byte("package fulloncache\n\n// Novel is new.\ntype Novel int\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := run(dir, true); err == nil || !strings.Contains(err.Error(), "Novel, of novelty.go, is on 0 pages") {
		t.Errorf("got %v", err)
	}
}
