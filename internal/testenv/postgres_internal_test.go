package testenv

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestPostgresBin(t *testing.T) {
	dir := t.TempDir()
	install := func(version string, programs ...string) string {
		bin := filepath.Join(dir, version, "bin")
		must(t, os.MkdirAll(bin, 0o700))
		for _, p := range programs {
			must(t, os.WriteFile(filepath.Join(bin, p), []byte("#!/bin/sh\n"), 0o700))
		}
		return bin
	}
	find := func(want string) {
		t.Helper()
		if got, err := postgresBin([]string{filepath.Join(dir, "none-*"), filepath.Join(dir, "[0-9p]*", "bin")}); err != nil || got != want {
			t.Errorf("%s, %v; want %s", got, err, want)
		}
	}
	t.Setenv("PATH", install("path"))
	install("99", "psql")
	install("98", "initdb")
	if _, err := postgresBin([]string{filepath.Join(dir, "[0-9]*", "bin")}); !errors.Is(err, errNoPostgres) || !strings.Contains(err.Error(), "make servers") {
		t.Errorf("not installed: %v", err)
	}
	onPath := install("path", "initdb", "postgres")
	if got, err := postgresBin([]string{filepath.Join(dir, "[0-9]*", "bin")}); err != nil || got != onPath {
		t.Errorf("on PATH: %s, %v", got, err)
	}
	find(onPath)
	find(install("9.6", "initdb", "postgres"))
	find(install("postgresql@17", "initdb", "postgres"))
	install("14", "initdb", "postgres")
	find(filepath.Join(dir, "postgresql@17", "bin"))
}

// Between asking for a free port and listening on it, somebody else can take it.
func TestPostgresPortTakenMeanwhile(t *testing.T) {
	t.Parallel()
	s := NewPostgres(t)
	s.Stop()
	l, err := net.Listen("tcp", s.Addr())
	must(t, err)
	err = s.proc.run(Context(t))
	l.Close()
	if err == nil || !strings.Contains(err.Error(), portTaken) {
		t.Errorf("got %v", err)
	}
	must(t, s.proc.listen(Context(t)))
	s.Do(t, "SELECT 1")
}
