package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"strings"
	"testing"

	"github.com/fullon/fulloncache/internal/legacy"
	"github.com/fullon/fulloncache/internal/testenv"
)

// The engine's own tests see to what is moved and what is not.
func TestMigrateCommand(t *testing.T) {
	s := newShell(t)
	old, target := testenv.NewRedis(t), testenv.NewRedis(t)
	old.Do(t, "HSET", "tickers:kraken", "BTC/USD", `{"price": 50000.5, "time": 1700000000.5}`)
	old.Do(t, "HSET", "accounts", "1", `{"USD": {"balance": 10.0}, "date": "2026-03-01T12:00:00+00:00"}`)
	args := func(more ...string) []string {
		return append([]string{"migrate", "--from", old.URL(), "--to", target.URL()}, more...)
	}

	out, errs := s.call(1, "", args("--dry-run")...)
	for _, want := range []string{"WOULD MOVE", "accounts: 1 refused: nothing tells whose ex_id \"1\" is: name it with --account 1=USER@EXCHANGE (accounts 1)"} {
		if !strings.Contains(out, want) {
			t.Errorf("got %s, want %q", out, want)
		}
	}
	if !strings.Contains(errs, "1 records were refused") {
		t.Errorf("got %s", errs)
	}
	out, _ = s.call(0, "", args("--json", "--account", "1=7@kraken", "--only", "ticks,accounts")...)
	for line := range strings.Lines(out) {
		if r := decode[legacy.Report](t, line); r.Found != 1 || r.Moved != 1 {
			t.Errorf("got %s", line)
		}
	}
	t.Setenv("REDIS_URL", target.URL())
	out, _ = s.call(0, "", "migrate", "--from", old.URL(), "--account", "1=7@kraken", "--only", "ticks")
	if !strings.Contains(out, "ticks: 1 skipped: what the target has is as new, or newer (tickers:kraken BTC/USD)") {
		t.Errorf("got %s", out)
	}

	for _, tc := range []struct {
		code int
		want string
		args []string
	}{
		{2, "--from is missing", []string{"migrate"}},
		{2, "exclude each other", args("--follow", "--dry-run")},
		{2, "--every 0s", args("--every", "0")},
		{2, `--account "1": want ID=USER@EXCHANGE`, args("--account", "1")},
		{2, `--account "1=me@kraken"`, args("--account", "1=me@kraken")},
		{2, `--symbol "BTCUSD=": want BTCUSD=BTC/USD`, args("--symbol", "BTCUSD=")},
		{1, `"locks"`, args("--only", "locks")},
		{1, "it is the target", []string{"migrate", "--from", old.URL(), "--to", old.URL() + "/1"}},
	} {
		if _, errs := s.call(tc.code, "", tc.args...); !strings.Contains(errs, tc.want) {
			t.Errorf("%v: got %s, want %q", tc.args, errs, tc.want)
		}
	}
}

func TestMigrateFollows(t *testing.T) {
	s := newShell(t)
	old, target := testenv.NewRedis(t), testenv.NewRedis(t)
	old.Do(t, "HSET", "tickers:kraken", "BTC/USD", `{"price": 1, "time": 1700000000}`)
	old.Do(t, "HSET", "accounts", "1", `{"USD": 1, "date": 1}`)
	ctx, interrupt := context.WithCancel(s.ctx)
	r, w := io.Pipe()
	done := make(chan int, 1)
	var errs strings.Builder
	go func() {
		args := []string{"migrate", "--from", old.URL(), "--to", target.URL(), "--follow", "--every", "5ms", "--json"}
		done <- run(ctx, args, strings.NewReader(""), w, &errs)
		_ = w.Close()
	}()
	lines := bufio.NewScanner(r)
	for i := range 2 {
		var report legacy.Report
		if !lines.Scan() || json.Unmarshal(lines.Bytes(), &report) != nil || report.Kind != "ticks" || report.Moved != 1 {
			t.Fatalf("line %d: %s", i, lines.Text())
		}
		old.Do(t, "HSET", "tickers:kraken", "BTC/USD", `{"price": 2, "time": 1700000001}`)
	}
	interrupt()
	code := <-done
	if code != 0 || !strings.Contains(errs.String(), "locks are not bridged") || strings.Count(errs.String(), "accounts: 1 refused: nothing tells") != 1 {
		t.Errorf("exit code %d: %s", code, &errs)
	}
}
