package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/fullon/fulloncache/internal/testenv"
)

// diagnose calls the doctor and returns its findings by check.
func (s *shell) diagnose(code int) map[string]finding {
	s.Helper()
	out, _ := s.call(code, "", "doctor", "--json")
	found := make(map[string]finding)
	for line := range strings.Lines(out) {
		var f finding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			s.Fatalf("%q: %v", line, err)
		}
		if f.Status != well && f.Advice == "" {
			s.Errorf("no advice: %+v", f)
		}
		found[f.Check] = f
	}
	return found
}

func TestDoctor(t *testing.T) {
	s := newShell(t)
	healthy := testenv.NewRedis(t, "--appendonly", "yes", "--appendfsync", "always")
	for _, tc := range []struct {
		name     string
		settings []string
		before   func(srv *testenv.Server)
		code     int
		want     map[string]string // statuses
	}{
		{"healthy", nil, nil, 0, map[string]string{
			"settings": well, "connection": well, "version": well, "clock": well, "eviction": well, "memory": well, "persistence": well,
			"tracking": well, "slow log": well, "reported errors": well,
		}},
		{"nothing outlives a restart", []string{}, nil, 0, map[string]string{"persistence": warning}},
		{"nor does a queue", []string{}, func(*testenv.Server) { s.call(0, "", "order", "queue", "push", "spot", "7") }, 1,
			map[string]string{"persistence": bad}},
		{"no fsync", []string{"--appendonly", "yes", "--appendfsync", "no"}, nil, 0, map[string]string{"persistence": warning}},
		{"eviction", []string{"--maxmemory-policy", "allkeys-lru", "--appendonly", "yes"}, nil, 1, map[string]string{"eviction": bad, "persistence": well}},
		{"little memory", []string{"--maxmemory", "1kb", "--appendonly", "yes"}, nil, 0, map[string]string{"memory": warning}},
		{"room", []string{"--maxmemory", "1gb", "--appendonly", "yes"}, nil, 0, map[string]string{"memory": well}},
		{"slow", []string{"--slowlog-log-slower-than", "0", "--appendonly", "yes"}, nil, 0, map[string]string{"slow log": warning}},
		{"errors", []string{"--appendonly", "yes"}, func(*testenv.Server) { s.call(0, "", "error", "push", "bot_1", "it hurts") }, 0,
			map[string]string{"reported errors": warning}},
	} {
		srv := healthy
		if tc.settings != nil {
			srv = testenv.NewRedis(t, tc.settings...)
		}
		t.Setenv("REDIS_URL", srv.URL())
		if tc.before != nil {
			tc.before(srv)
		}
		found := s.diagnose(tc.code)
		for check, want := range tc.want {
			if f := found[check]; f.Status != want {
				t.Errorf("%s: %s: got %+v, want %s", tc.name, check, f, want)
			}
		}
	}

	srv := testenv.NewRedis(t)
	t.Setenv("REDIS_URL", srv.URL())
	s.call(0, "", "order", "submit", "kraken", "BTC/USD", "buy", "1", "--id", "o-1")
	s.call(0, "", "order", "queue", "push", "spot", "7")
	s.call(0, "", "trade", "push", "kraken", "BTC/USD", "buy", "0.5", "67123.4", "--id", "TX-1", "--unique", "1h")
	if f := s.diagnose(1)["persistence"]; !strings.HasSuffix(f.Found, "queues in use: 3") {
		t.Errorf("three queues, and what lies beside them: %+v", f)
	}
	srv.Do(t, "ACL", "SETUSER", "bot", "on", ">secret", "~*", "&*", "+@all", "-config", "-scan")
	t.Setenv("REDIS_URL", "redis://bot:secret@"+srv.Addr())
	if found := s.diagnose(0); found["persistence"].Status != warning || found["queues"].Status != warning {
		t.Errorf("a user that may not ask: %+v", found)
	}

	t.Setenv("REDIS_URL", healthy.URL())
	out, _ := s.call(0, "", "doctor")
	if !strings.Contains(out, "latency") || !strings.Contains(out, "CHECK") {
		t.Errorf("printed %s", out)
	}
	t.Setenv("REDIS_URL", "redis://127.0.0.1:1")
	if found := s.diagnose(1); found["connection"].Status != bad || found["settings"].Status != well {
		t.Errorf("no server: %+v", found)
	}
	t.Setenv("REDIS_PORT", "many")
	if found := s.diagnose(1); found["settings"].Status != bad || !strings.Contains(found["settings"].Found, "REDIS_PORT") {
		t.Errorf("a malformed setting: %+v", found)
	}
}
