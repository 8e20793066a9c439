package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

const krakenSymbols = `{"exchange": "kraken", "symbol": "BTC/USD", "base": "BTC", "quote": "USD", "decimals": 1, "lot_decimals": 8, "order_min": "0.0001"}
{"exchange": "kraken", "symbol": "ETH/USD", "base": "ETH", "quote": "USD", "decimals": 2, "lot_decimals": 8, "order_min": 0.01}

{"exchange": "coinbase", "symbol": "BTC/USD", "base": "BTC", "quote": "USD", "decimals": 2, "lot_decimals": 8}
`

// databases are what the metadata commands must work with.
var databases = []struct {
	name string
	dsn  func(t *testing.T) string // "": the default
}{
	{"SQLite in the user's folder", func(*testing.T) string { return "" }},
	{"SQLite", func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "desk.db") }},
	{"PostgreSQL", func(t *testing.T) string { return testenv.Postgres(t).Database(t) }},
}

// TestMetadataCommands goes the way of a new user.
func TestMetadataCommands(t *testing.T) {
	for _, database := range databases {
		t.Run(database.name, func(t *testing.T) {
			s := newShell(t)
			data := t.TempDir()
			t.Setenv("XDG_DATA_HOME", data)
			t.Setenv("HOME", data)
			t.Setenv("DATABASE_URL", database.dsn(t))

			_, errs := s.call(1, "", "symbol", "list", "kraken")
			if !strings.Contains(errs, "fulloncache db migrate") {
				t.Errorf("without tables: %s", errs)
			}
			out, _ := s.call(0, "", "db", "status")
			if !strings.Contains(out, "pending") || strings.Contains(out, "applied") {
				t.Errorf("got %s", out)
			}
			out, _ = s.call(0, "", "db", "migrate", "--json")
			for line := range strings.Lines(out) {
				if !strings.Contains(line, `"applied":"20`) {
					t.Errorf("got %s", line)
				}
			}
			s.call(0, "", "db", "migrate") // again changes nothing
			out, _ = s.call(0, "", "db", "status")
			if strings.Contains(out, "pending") {
				t.Errorf("got %s", out)
			}

			_, errs = s.call(1, "", "symbol", "get", "kraken", "BTC/USD")
			if !strings.Contains(errs, "exchange kraken: not found") {
				t.Errorf("got %s", errs)
			}
			out, _ = s.call(0, krakenSymbols, "symbol", "import", "-", "--json")
			got := decode[map[string]int](t, out)
			delete(got, "elapsed_ms")
			if want := fmt.Sprint(map[string]int{"read": 3, "added": 3, "updated": 0, "rejected": 0}); fmt.Sprint(got) != want {
				t.Errorf("got %v, want %s", got, want)
			}
			symbol := decode[fulloncache.Symbol](t, first(s.call(0, "", "symbol", "get", "kraken", "BTC/USD", "--json")))
			if symbol.Decimals != 1 || symbol.LotDecimals != 8 || symbol.OrderMin.String() != "0.0001" || symbol.Quote != "USD" || symbol.ID == 0 || symbol.Loaded.IsZero() {
				t.Errorf("got %+v", symbol)
			}
			out, _ = s.call(0, "", "symbol", "get", "kraken", "BTC/USD")
			if !strings.HasPrefix(out, "kraken BTC/USD  base BTC  quote USD  decimals 1  lot decimals 8  minimum 0.0001  (read ") {
				t.Errorf("got %s", out)
			}

			// The same again changes nothing; one that differs is updated, and seen at
			// once. Of two lines the later counts.
			out, _ = s.call(0, krakenSymbols, "symbol", "import", "-")
			if !strings.HasPrefix(out, "3 read: 0 added, 0 updated, 0 rejected") {
				t.Errorf("got %s", out)
			}
			change := strings.Replace(strings.SplitAfter(krakenSymbols, "\n")[0], `"decimals": 1`, `"decimals": 5`, 1)
			out, _ = s.call(0, krakenSymbols+change, "symbol", "import", "-")
			if !strings.HasPrefix(out, "4 read: 0 added, 1 updated, 0 rejected") {
				t.Errorf("got %s", out)
			}
			symbol = decode[fulloncache.Symbol](t, first(s.call(0, "", "symbol", "get", "kraken", "BTC/USD", "--json")))
			if symbol.Decimals != 5 {
				t.Errorf("got %+v", symbol)
			}

			out, _ = s.call(0, "", "symbol", "list", "kraken")
			if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 3 || !strings.HasPrefix(lines[0], "SYMBOL") ||
				!strings.HasPrefix(lines[1], "BTC/USD") || !strings.HasPrefix(lines[2], "ETH/USD") {
				t.Errorf("got %s", out)
			}
			out, _ = s.call(0, "", "symbol", "list", "kraken", "--search", "eth", "--json")
			if symbol := decode[fulloncache.Symbol](t, out); symbol.Symbol != "ETH/USD" {
				t.Errorf("got %s", out)
			}
			out, _ = s.call(0, "", "symbol", "refresh", "kraken", "--json")
			if out != `{"exchange":"kraken","symbols":2}`+"\n" {
				t.Errorf("got %s", out)
			}

			out, _ = s.call(0, "", "exchange", "list")
			if !strings.Contains(out, "coinbase") || !strings.Contains(out, "kraken") {
				t.Errorf("got %s", out)
			}
			exchange := decode[fulloncache.CatExchange](t, first(s.call(0, "", "exchange", "get", "kraken", "--json")))
			if exchange.Name != "kraken" || exchange.ID != symbol.CatExchangeID {
				t.Errorf("got %+v", exchange)
			}
			out, _ = s.call(0, "", "exchange", "get", "kraken")
			if !strings.HasPrefix(out, fmt.Sprintf("exchange %d  kraken", exchange.ID)) {
				t.Errorf("got %s", out)
			}

			// A symbol goes with its ticker.
			s.call(0, "", "tick", "set", "kraken", "ETH/USD", "2000")
			out, _ = s.call(0, "", "symbol", "delete", "kraken", "ETH/USD", "--json")
			if out != `{"deleted":true,"exchange":"kraken","symbol":"ETH/USD"}`+"\n" {
				t.Errorf("got %s", out)
			}
			for _, args := range [][]string{{"symbol", "get", "kraken", "ETH/USD"}, {"tick", "get", "kraken", "ETH/USD"}, {"symbol", "delete", "kraken", "ETH/USD"}} {
				if _, errs := s.call(1, "", args...); !strings.Contains(errs, "not found") {
					t.Errorf("%v: %s", args, errs)
				}
			}

			s.call(0, "", "db", "seed")
			s.call(0, "", "db", "seed")
			account := first(s.call(0, "", "exchange", "list", "--user", "1", "--json"))
			if account == "" {
				t.Fatal("the demo user has no account")
			}
			first, _, _ := strings.Cut(account, "\n")
			e := decode[fulloncache.Exchange](t, first+"\n")
			out, _ = s.call(0, "", "exchange", "get", fmt.Sprint(e.ID))
			if !strings.HasPrefix(out, fmt.Sprintf("account %d  %s", e.ID, e.CatName)) {
				t.Errorf("got %s", out)
			}
			out, _ = s.call(0, "", "exchange", "list", "--user", "1")
			if !strings.HasPrefix(out, "ID") || !strings.Contains(out, e.CatName) {
				t.Errorf("got %s", out)
			}
		})
	}
}

func TestImportReportsLines(t *testing.T) {
	s := newShell(t)
	t.Setenv("DATABASE_URL", "sqlite:"+filepath.Join(t.TempDir(), "desk.db"))
	s.call(0, "", "db", "migrate")
	bad := `{"exchange": "kraken", "symbol": "A/USD", "base": "A", "decimals": 1, "lot_decimals": 8}
not JSON
{"exchange": "kraken", "symbol": "B/USD", "base": "B", "lot_decimals": 8}
{"exchange": "kraken", "symbol": "C/USD", "base": "C", "decimals": 20, "lot_decimals": 8}
{"exchange": "kraken", "symbol": "D/USD", "decimals": 1, "lot_decimals": 8}
{"exchange": "kraken", "symbol": "E/USD", "base": "E", "decimals": 1, "lot_decimals": 8, "order_min": "-1"}
{"exchange": "kraken", "symbol": "F/USD", "base": "F", "decimals": 1, "lot_decimals": 8}`
	file := filepath.Join(t.TempDir(), "symbols.ndjson")
	if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
		t.Fatal(err)
	}
	_, errs := s.call(1, "", "symbol", "import", file, "--strict")
	if !strings.Contains(errs, file+":2: ") {
		t.Errorf("got %s", errs)
	}
	out, errs := s.call(0, "", "symbol", "import", file)
	if !strings.HasPrefix(out, "7 read: 2 added, 0 updated, 5 rejected") {
		t.Errorf("got %s", out)
	}
	for line, reason := range map[int]string{2: "invalid character", 3: "decimals is missing", 4: "decimals 20", 5: "base", 6: "order_min -1"} {
		if want := fmt.Sprintf("%s:%d: ", file, line); !strings.Contains(errs, want) || !strings.Contains(errs, reason) {
			t.Errorf("line %d (%s) is not reported: %s", line, reason, errs)
		}
	}
	if _, errs = s.call(1, "", "symbol", "import", file+".missing"); !strings.Contains(errs, "no such file") {
		t.Errorf("got %s", errs)
	}
}

func TestMetadataCommandsRefuse(t *testing.T) {
	s := newShell(t)
	for _, args := range [][]string{{"symbol"}, {"exchange"}, {"db"}, {"symbol", "get", "kraken"}, {"symbol", "import"}, {"db", "migrate", "now"}} {
		s.call(2, "", args...)
	}
	for dsn, want := range map[string]string{
		"mysql://u:s3cret@h/d":                              "DATABASE_URL",
		"postgres://u:s3cret@127.0.0.1:1/d?sslmode=disable": "unavailable",
	} {
		t.Setenv("DATABASE_URL", dsn)
		for _, args := range [][]string{{"db", "migrate"}, {"symbol", "list", "kraken"}} {
			if _, errs := s.call(1, "", args...); !strings.Contains(errs, want) || strings.Contains(errs, "s3cret") {
				t.Errorf("%s %v: %s", dsn, args, errs)
			}
		}
	}
	t.Setenv("DATABASE_URL", "sqlite::memory:")
	if _, errs := s.call(1, "", "db", "listen"); !strings.Contains(errs, "unsupported") {
		t.Errorf("got %s", errs)
	}
}

// TestListenCommand changes a row behind the caches' back.
func TestListenCommand(t *testing.T) {
	s := newShell(t)
	dsn := testenv.Postgres(t).Database(t)
	t.Setenv("DATABASE_URL", dsn)
	s.call(0, "", "db", "migrate")
	s.call(0, krakenSymbols, "symbol", "import", "-")
	s.call(0, "", "symbol", "get", "kraken", "BTC/USD")

	ctx, stop := context.WithCancel(s.ctx)
	var out, errs bytes.Buffer
	ended := make(chan int)
	go func() { ended <- run(ctx, []string{"db", "listen"}, strings.NewReader(""), &out, &errs) }()
	for n := 2; ; n++ { // what changes before it listens is forgotten when it begins
		execute(t, dsn, fmt.Sprintf("UPDATE symbols SET decimals = %d WHERE symbol = 'BTC/USD'", n))
		symbol := decode[fulloncache.Symbol](t, first(s.call(0, "", "symbol", "get", "kraken", "BTC/USD", "--json")))
		if symbol.Decimals == n {
			break
		}
		n %= 10
	}
	stop()
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d: %s%s", code, &out, &errs)
	}
}

// execute changes a database by other means.
func execute(t *testing.T, dsn, statement string) {
	t.Helper()
	ctx := testenv.Context(t)
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }() // what it was for is done
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Fatal(err)
	}
}
