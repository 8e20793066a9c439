package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

func TestAccountCommands(t *testing.T) {
	s := newShell(t)
	_, errs := s.call(1, "", "account", "positions", "123", "kraken", "BTC/USD")
	if !strings.Contains(errs, "not found") || !strings.Contains(errs, "not flat") {
		t.Errorf("got %s", errs)
	}
	out, errs := s.call(1, "", "account", "positions", "123", "kraken")
	if out != "" || !strings.Contains(errs, "positions of user 123 at kraken: not found") {
		t.Errorf("got %s%s", out, errs)
	}
	out, _ = s.call(0, "", "account", "positions")
	if out != "USER  EXCHANGE  SYMBOL  SIDE  VOLUME  PRICE  COST  PROFIT  FEES  TIME\n" {
		t.Errorf("got %s", out)
	}
	fill := []string{"account", "apply", "123", "kraken", "BTC/USD", "buy", "0.50", "67000", "--id", "t1", "--fee", "1.5", "--time", "2025-01-02T03:04:05Z"}
	for range 2 { // it counts once
		out, _ = s.call(0, "", fill...)
		if out != "user 123 at kraken: BTC/USD long 0.5 at 67000  cost 33500  profit 0  fees 1.5  at 2025-01-02T03:04:05Z\n" {
			t.Errorf("got %s", out)
		}
	}
	out, _ = s.call(0, "", "account", "apply", "123", "kraken", "BTC/USD", "sell", "0.7", "67100", "--id", "t2", "--cost", "46900", "--time", "1735787046.5", "--json")
	p := decode[map[string]any](t, out)
	for field, want := range map[string]any{
		"uid": 123.0, "exchange": "kraken", "symbol": "BTC/USD", "side": "short", "volume": "0.2", "avg_price": "67000", "cost": "13400",
		"realised_profit": "0", "fees": "1.5", "time": "2025-01-02T03:04:06.5Z",
	} {
		if p[field] != want {
			t.Errorf("%s is %v, want %v", field, p[field], want)
		}
	}
	if p["rev"] == nil {
		t.Errorf("no revision in %s", out)
	}
	again, _ := s.call(0, "", "account", "positions", "--json")
	one, _ := s.call(0, "", "account", "positions", "123", "kraken", "--json")
	this, _ := s.call(0, "", "account", "positions", "123", "kraken", "BTC/USD", "--json")
	if again != out || one != out || this != out {
		t.Errorf("got %s%s%swant %s", again, one, this, out)
	}
	table, _ := s.call(0, "", "account", "positions", "123", "kraken")
	if lines := strings.Split(strings.TrimSpace(table), "\n"); len(lines) != 2 || strings.Join(strings.Fields(lines[1]), " ") != "123 kraken BTC/USD short 0.2 67000 13400 0 1.5 2025-01-02T03:04:06.5Z" {
		t.Errorf("got %s", table)
	}
	_, errs = s.call(1, "", "account", "apply", "123", "kraken", "BTC/USD", "buy", "1", "2")
	if !strings.Contains(errs, "ex_trade_id is empty") {
		t.Errorf("got %s", errs)
	}
}

func TestAccountBalancesCommand(t *testing.T) {
	s := newShell(t)
	desk := fulloncache.Account{UserID: 123, Exchange: "kraken"}
	_, errs := s.call(1, "", "account", "balances", "123", "kraken")
	if !strings.Contains(errs, "balances of user 123 at kraken: not found") {
		t.Errorf("got %s", errs)
	}
	c, err := fulloncache.Open(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	d := fulloncache.MustDecimal
	if err := c.Accounts.SetAccount(s.ctx, fulloncache.AccountBalances{
		Account: desk, Time: time.Date(2025, 1, 2, 3, 4, 5, 0, time.UTC),
		Balances: []fulloncache.Balance{{Currency: "USD", Free: d("100.50"), Used: d("20")}, {Currency: "BTC", Free: d("1e-8")}},
	}); err != nil {
		t.Fatal(err)
	}
	const btc = `{"uid":123,"exchange":"kraken","currency":"BTC","free":"0.00000001","used":"0","time":"2025-01-02T03:04:05Z","total":"0.00000001"}` + "\n"
	const usd = `{"uid":123,"exchange":"kraken","currency":"USD","free":"100.5","used":"20","time":"2025-01-02T03:04:05Z","total":"120.5"}` + "\n"
	for want, args := range map[string][]string{
		btc + usd: {"account", "balances", "--json"},
		usd:       {"account", "balances", "123", "kraken", "USD", "--json"},
		"user 123 at kraken: USD  free 100.5  used 20  total 120.5  at 2025-01-02T03:04:05Z\n": {"account", "balances", "123", "kraken", "USD"},
	} {
		if out, _ := s.call(0, "", args...); out != want {
			t.Errorf("%v: got %s", args, out)
		}
	}
	out, _ := s.call(0, "", "account", "balances", "123", "kraken")
	if lines := strings.Split(strings.TrimSpace(out), "\n"); len(lines) != 3 || strings.Join(strings.Fields(lines[2]), " ") != "123 kraken USD 100.5 20 120.5 2025-01-02T03:04:05Z" {
		t.Errorf("got %s", out)
	}
	// One that cannot be read hides no other.
	testenv.Redis(t).Do(t, "HSET", os.Getenv("CACHE_KEY_PREFIX")+":accounts:user_123:kraken", "EUR", "x")
	out, errs = s.call(1, "", "account", "balances", "--json")
	if out != btc+usd || !strings.Contains(errs, `field "EUR"`) {
		t.Errorf("got %s%s", out, errs)
	}
	s.call(1, "", "account", "balances", "123", "kraken", "EUR")
}

func TestAccountApplyFile(t *testing.T) {
	s := newShell(t)
	var lines strings.Builder
	for n := range 2500 {
		fmt.Fprintf(&lines, `{"exchange": "kraken", "symbol": "S%d", "ex_trade_id": "%d", "side": "buy", "volume": "0.1", "price": 3, "fee": "0.01", "time": "%d.5"}`+"\n\n", n%2, n, 1700000000+n)
	}
	file := filepath.Join(t.TempDir(), "fills.ndjson")
	bad := "nonsense\n" + `{"uid": 9, "exchange": "kraken", "symbol": "S0", "ex_trade_id": "x", "side": "", "volume": "1", "price": 3, "time": "1"}` + "\n" +
		`{"uid": 9, "exchange": "kraken", "symbol": "S0", "ex_trade_id": "x", "side": "buy", "volume": "1", "price": 3, "time": "noon"}` + "\n" +
		`{"uid": 9, "exchange": "kraken", "symbol": "S0", "ex_trade_id": "x", "side": "buy", "volume": "1", "price": 3, "time": "4000000000"}` + "\n"
	if err := os.WriteFile(file, []byte(lines.String()+bad), 0o600); err != nil {
		t.Fatal(err)
	}
	type counts struct{ Read, Applied, Duplicates, Outdated, Rejected int }
	out, errs := s.call(0, "", "account", "apply", "--file", file, "--user", "7", "--json")
	if got := decode[counts](t, out); got != (counts{2504, 2500, 0, 0, 4}) {
		t.Errorf("got %s", out)
	}
	for n, why := range []string{"invalid character", "side", "noon", "ahead of the server's clock"} {
		if !strings.Contains(errs, fmt.Sprintf("fills.ndjson:%d: ", 5001+n)) || !strings.Contains(errs, why) {
			t.Errorf("line %d: %s", 5001+n, errs)
		}
	}
	out, _ = s.call(0, lines.String(), "account", "apply", "--file", "-", "--user", "7")
	if !strings.HasPrefix(out, "2500 read: 0 applied, 2500 counted already, 0 outdated, 0 rejected, in ") {
		t.Errorf("got %s", out)
	}
	p := decode[fulloncache.Position](t, first(s.call(0, "", "account", "positions", "7", "kraken", "S1", "--json")))
	if p.Volume.String() != "125" || p.AvgPrice.String() != "3" || p.Fees.String() != "12.5" {
		t.Errorf("got %+v", p)
	}
	_, errs = s.call(1, bad, "account", "apply", "--file", "-", "--strict")
	if !strings.Contains(errs, "-:1: ") {
		t.Errorf("got %s", errs)
	}
	s.call(1, "", "account", "apply", "--file", filepath.Join(t.TempDir(), "none"))
	t.Setenv("CACHE_FILLS_CAP", "10")
	more := strings.ReplaceAll(lines.String(), `"S`, `"T`)
	s.call(0, more, "account", "apply", "--file", "-", "--user", "7")
	out, _ = s.call(0, more, "account", "apply", "--file", "-", "--user", "7", "--json")
	if got := decode[counts](t, out); got != (counts{2500, 0, 20, 2480, 0}) {
		t.Errorf("got %s", out)
	}
}

func TestAccountMistakes(t *testing.T) {
	s := newShell(t)
	fill := []string{"account", "apply", "1", "kraken", "A/B", "buy", "1", "2"}
	for _, args := range [][]string{
		{"account"}, {"account", "positions", "1"}, {"account", "positions", "1", "2", "3", "4"}, {"account", "positions", "x", "kraken"},
		{"account", "balances", "1"}, {"account", "balances", "x", "kraken"}, {"account", "apply"}, fill[:7], append(fill, "--file", "x"),
		{"account", "apply", "x", "kraken", "A/B", "buy", "1", "2"}, {"account", "apply", "1", "kraken", "A/B", "buy", "x", "2"},
		append(fill, "--cost", "x"), append(fill, "--fee", "NaN"), append(fill, "--time", "noon"),
	} {
		out, errs := s.call(exitUsage, "", args...)
		if out != "" || !strings.Contains(errs, `see "fulloncache help"`) {
			t.Errorf("%v: %q, %q", args, out, errs)
		}
	}
}
