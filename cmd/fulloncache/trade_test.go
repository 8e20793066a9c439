package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// printed are the trades of lines of JSON.
func printed(t *testing.T, out string) []fulloncache.Trade {
	t.Helper()
	var trades []fulloncache.Trade
	for line := range strings.Lines(out) {
		trades = append(trades, decode[fulloncache.Trade](t, line))
	}
	return trades
}

func ids(trades []fulloncache.Trade) []string {
	list := []string{}
	for _, u := range trades {
		list = append(list, u.ExTradeID)
	}
	return list
}

func TestTradeCommands(t *testing.T) {
	s := newShell(t)
	const when = "2026-01-02T03:04:05.6Z"
	out, _ := s.call(0, "", "trade", "push", "kraken", "BTC/USD", "buy", "0.50", "67123.4", "--id", "A", "--time", when, "--json")
	if out != `{"added":1,"duplicates":0,"dropped":0}`+"\n" {
		t.Fatalf("got %s", out)
	}
	for _, want := range []string{"1 added, 0 duplicates, 0 dropped\n", "0 added, 1 duplicates, 0 dropped\n"} {
		out, _ = s.call(0, "", "trade", "push", "kraken", "BTC/USD", "sell", "1", "67000", "--id", "B", "--cost", "67001", "--fee", "-0.2", "--unique", "1h", "--time", when)
		if out != want {
			t.Errorf("got %s", out)
		}
	}
	out, _ = s.call(0, "", "trade", "peek", "kraken", "BTC/USD")
	if want := "2026-01-02T03:04:05.6Z  kraken BTC/USD  buy 0.5 @ 67123.4  cost 33561.7  fee 0  id A\n" +
		"2026-01-02T03:04:05.6Z  kraken BTC/USD  sell 1 @ 67000  cost 67001  fee -0.2  id B\n"; out != want {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "trade", "peek", "kraken", "BTC/USD", "--limit", "1", "--json")
	if want := `{"exchange":"kraken","symbol":"BTC/USD","ex_trade_id":"A","side":"buy","volume":"0.5","price":"67123.4","cost":"33561.7","fee":"0","time":"2026-01-02T03:04:05.6Z"}` + "\n"; out != want {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "trade", "status", "kraken", "BTC/USD", "--json")
	if out != `{"exchange":"kraken","symbol":"BTC/USD","waiting":2,"in_flight":0}`+"\n" {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "trade", "drain", "kraken", "BTC/USD", "--limit", "1", "--json")
	if got := ids(printed(t, out)); !slices.Equal(got, []string{"A"}) {
		t.Errorf("drained %q", got)
	}
	out, _ = s.call(0, "", "trade", "status", "kraken", "BTC/USD")
	if out != "kraken BTC/USD  1 wait, 0 in flight\n" {
		t.Errorf("got %s", out)
	}
	for _, want := range []int{1, 0} {
		out, _ = s.call(0, "", "trade", "drain", "kraken", "BTC/USD")
		if strings.Count(out, "\n") != want {
			t.Errorf("got %s", out)
		}
	}

	// Those of a user.
	out, _ = s.call(0, "", "trade", "push", "kraken", "ETH/USD", "buy", "2", "3500", "--id", "C", "--user", "7", "--account", "3", "--type", "limit", "--order-id", "O", "--time", when)
	if !strings.HasPrefix(out, "1 added") {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "trade", "status", "kraken", "--user", "7", "--json")
	if out != `{"exchange":"kraken","uid":7,"waiting":1,"in_flight":0}`+"\n" {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "trade", "peek", "kraken", "--user", "7")
	if out != "2026-01-02T03:04:05.6Z  kraken ETH/USD  buy 2 @ 3500  cost 7000  fee 0  id C  user 7  order O\n" {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "trade", "drain", "kraken", "--user", "7", "--json")
	if got := printed(t, out); len(got) != 1 || got[0].UserID != 7 || got[0].ExchangeID != 3 || got[0].Type != "limit" {
		t.Errorf("drained %s", out)
	}
	out, _ = s.call(0, "", "trade", "status", "kraken", "--user", "7")
	if out != "user 7 at kraken  0 wait, 0 in flight\n" {
		t.Errorf("got %s", out)
	}
}

func TestTradeStatusCommand(t *testing.T) {
	s := newShell(t)
	out, _ := s.call(0, "", "trade", "status", "kraken", "--set", "2026-01-02T03:04:05Z", "--json")
	if out != `{"exchange":"kraken","time":"2026-01-02T03:04:05Z"}`+"\n" {
		t.Errorf("got %s", out)
	}
	if _, errs := s.call(exitError, "", "trade", "status", "kraken", "--set", "1"); !strings.Contains(errs, "outdated") {
		t.Errorf("got %s", errs)
	}
	s.call(0, "", "trade", "status", "bitmex", "--set", "1700000000.5")
	out, _ = s.call(0, "", "trade", "status")
	if lines := strings.Split(out, "\n"); len(lines) != 4 || !strings.HasPrefix(lines[0], "EXCHANGE") ||
		!strings.HasPrefix(lines[1], "bitmex    2023-11-14T22:13:20.5Z") || !strings.HasPrefix(lines[2], "kraken    2026-01-02T03:04:05Z") {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "trade", "status", "kraken")
	if !strings.HasPrefix(out, "kraken  known until 2026-01-02T03:04:05Z (") {
		t.Errorf("got %s", out)
	}
	s.call(0, "", "trade", "status", "--user", "7", "--set", "2026-01-02T03:04:05Z")
	out, _ = s.call(0, "", "trade", "status", "--users", "--json")
	if out != `{"uid":7,"time":"2026-01-02T03:04:05Z"}`+"\n" {
		t.Errorf("got %s", out)
	}
	for _, subject := range [][]string{{"kraken"}, {"--user", "7"}} {
		out, _ = s.call(0, "", append([]string{"trade", "status", "--delete"}, subject...)...)
		if out != "1 deleted\n" {
			t.Errorf("got %s", out)
		}
		if _, errs := s.call(exitError, "", append([]string{"trade", "status"}, subject...)...); !strings.Contains(errs, "not found") {
			t.Errorf("got %s", errs)
		}
	}
	// What cannot be read hides no other.
	testenv.Redis(t).Do(t, "HSET", os.Getenv("CACHE_KEY_PREFIX")+":trade_status", "kraken", "noon")
	out, errs := s.call(exitError, "", "trade", "status", "--json")
	if decode[fulloncache.TradeStatus](t, out).Exchange != "bitmex" || !strings.Contains(errs, `field "kraken"`) || !strings.Contains(errs, "1 statuses") {
		t.Errorf("%s%s", out, errs)
	}
}

func TestTradeMistakes(t *testing.T) {
	s := newShell(t)
	for _, args := range [][]string{
		{"trade"}, {"trade", "push", "kraken", "BTC/USD"}, {"trade", "push", "kraken", "BTC/USD", "buy", "1", "2"},
		{"trade", "push", "kraken", "BTC/USD", "hold", "1", "2", "--id", "A"}, {"trade", "push", "kraken", "BTC/USD", "buy", "x", "2", "--id", "A"},
		{"trade", "push", "kraken", "BTC/USD", "buy", "1", "-2", "--id", "A"}, {"trade", "push", "kraken", "BTC/USD", "buy", "1", "2", "--id", "A", "--time", "noon"},
		{"trade", "push", "kraken", "BTC/USD", "buy", "0.0000000001", "0.0000000001", "--id", "A"},
		{"trade", "peek", "kraken"}, {"trade", "peek", "kraken", "BTC/USD", "--limit", "0"}, {"trade", "peek", "kraken", "BTC/USD", "--user", "7"},
		{"trade", "drain"}, {"trade", "drain", "kraken"}, {"trade", "drain", "kraken", "BTC/USD", "--limit", "-1"},
		{"trade", "status", "--users", "--user", "7"}, {"trade", "status", "--users", "kraken"}, {"trade", "status", "--set", "1"},
		{"trade", "status", "kraken", "--set", "noon"}, {"trade", "status", "kraken", "BTC/USD", "--delete"},
		{"trade", "status", "kraken", "--set", "1", "--delete"}, {"trade", "status", "kraken", "BTC/USD", "--user", "7"},
		{"replay", "--unique", "1h"}, {"replay", "--drop-oldest"}, {"replay", "--trades", "--loop"},
	} {
		out, errs := s.call(exitUsage, "", args...)
		if out != "" || !strings.Contains(errs, `see "fulloncache help"`) {
			t.Errorf("%v: %q, %q", args, out, errs)
		}
	}
	for _, args := range [][]string{
		{"trade", "peek", "", "BTC/USD"}, {"trade", "drain", "kraken", ""}, {"trade", "status", "kraken", "--user", "0"},
		{"trade", "push", "kraken", "BTC/USD", "buy", "1", "2", "--id", "A", "--user", "0"},
		{"trade", "push", "kraken", "BTC/USD", "buy", "1", "2", "--id", "A", "--unique", "1ns"},
	} {
		if _, errs := s.call(exitError, "", args...); !strings.Contains(errs, "invalid input") {
			t.Errorf("%v: %s", args, errs)
		}
	}
}

func TestUnreadableTradesDoNotHideOthers(t *testing.T) {
	s := newShell(t)
	list := os.Getenv("CACHE_KEY_PREFIX") + ":trades:kraken:BTCUSD"
	push := func(id string) {
		s.call(0, "", "trade", "push", "kraken", "BTC/USD", "buy", "1", "2", "--id", id)
	}
	push("A")
	testenv.Redis(t).Do(t, "RPUSH", list, "garbage")
	push("B")
	for _, command := range []string{"peek", "drain"} {
		out, errs := s.call(exitError, "", "trade", command, "kraken", "BTC/USD", "--json")
		if got := ids(printed(t, out)); !slices.Equal(got, []string{"A", "B"}) || !strings.Contains(errs, `"garbage"`) || !strings.Contains(errs, "1 elements") {
			t.Errorf("%s: %q, %s", command, got, errs)
		}
	}
	if out, _ := s.call(0, "", "trade", "status", "kraken", "BTC/USD"); out != "kraken BTC/USD  0 wait, 0 in flight\n" {
		t.Errorf("got %s", out)
	}
	testenv.Redis(t).Do(t, "SET", list, "x")
	for _, command := range []string{"peek", "drain", "status"} {
		if _, errs := s.call(exitError, "", "trade", command, "kraken", "BTC/USD"); !strings.Contains(errs, "corrupt") {
			t.Errorf("%s: %s", command, errs)
		}
	}
}

// What nobody reads stays.
func TestTradeDrainPrintsOrPutsBack(t *testing.T) {
	s := newShell(t)
	const n = 600
	name := write(t, tradeLines(n))
	s.call(0, "", "replay", "--trades", name)
	wait := func(want int) {
		t.Helper()
		out, _ := s.call(0, "", "trade", "status", "kraken", "BTC/USD")
		if out != fmt.Sprintf("kraken BTC/USD  %d wait, 0 in flight\n", want) {
			t.Fatalf("got %s, want %d", out, want)
		}
	}
	drain := func(out io.Writer, limit string) (int, string) {
		var errs bytes.Buffer
		code := run(s.ctx, []string{"trade", "drain", "kraken", "BTC/USD", "--limit", limit, "--json"}, nil, out, &errs)
		return code, errs.String()
	}
	back := func(out io.Writer, limit string) {
		t.Helper()
		if code, errs := drain(out, limit); code != exitError || !strings.Contains(errs, "the trades go back") {
			t.Fatalf("exit code %d: %s", code, errs)
		}
		wait(n)
	}
	pipe := func() (r, w *os.File) {
		t.Helper()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _, _ = r.Close(), w.Close() })
		return r, w
	}

	readLine := func(r *os.File) {
		_, _ = bufio.NewReaderSize(r, 100).ReadString('\n')
		r.Close()
	}

	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err == nil { // where there is one
		back(full, "10")
		full.Close()
	}
	r, w := pipe()
	r.Close()
	back(w, "10")
	// More than a pipe holds, of which a line is read.
	r, w = pipe()
	go readLine(r)
	back(w, "600")
	if runtime.GOOS == "linux" {
		// All is written before anybody reads; a line is read, and no more.
		r, w = pipe()
		go readLine(r)
		back(w, "10")
	}

	// One who is slow gets all of them, and then they go.
	r, w = pipe()
	got := make(chan string)
	go func() {
		var all strings.Builder
		buf := make([]byte, 1000)
		for strings.Count(all.String(), "\n") < 400 {
			n, err := r.Read(buf)
			all.Write(buf[:n])
			if err != nil {
				break
			}
		}
		got <- all.String()
	}()
	if code, errs := drain(w, "400"); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	if trades := printed(t, <-got); len(trades) != 400 || trades[0].ExTradeID != "1" || trades[399].ExTradeID != "400" {
		t.Fatalf("%d trades", len(trades))
	}
	wait(n - 400)
	// A file.
	file, err := os.Create("trades.ndjson")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if code, errs := drain(file, "1000"); code != 0 {
		t.Fatalf("exit code %d: %s", code, errs)
	}
	wait(0)
	text, err := os.ReadFile("trades.ndjson")
	if trades := printed(t, string(text)); err != nil || len(trades) != n-400 || trades[0].ExTradeID != "401" {
		t.Fatalf("%d trades, %v", len(trades), err)
	}
	// What drain prints, replay takes.
	out, _ := s.call(0, "", "replay", "--trades", "trades.ndjson")
	if !strings.HasPrefix(out, "200 read: 200 added, 0 duplicates, 0 dropped, 0 rejected, in ") {
		t.Errorf("got %s", out)
	}
	wait(n - 400)
}

// Printing takes longer than the batch's time: the trades come back.
func TestTradeDrainTooLate(t *testing.T) {
	s := newShell(t)
	t.Setenv("CACHE_TRADES_BATCH_TIMEOUT", "0.05")
	s.call(0, "", "trade", "push", "kraken", "BTC/USD", "buy", "1", "2", "--id", "A")
	late := writer(func(p []byte) (int, error) {
		testenv.Eventually(t, "return", func() (bool, string) {
			out, _ := s.call(0, "", "trade", "status", "kraken", "BTC/USD")
			return strings.Contains(out, "1 wait"), out
		})
		return len(p), nil
	})
	var errs bytes.Buffer
	if code := run(s.ctx, []string{"trade", "drain", "kraken", "BTC/USD"}, nil, late, &errs); code != exitError || !strings.Contains(errs.String(), "delivered again") {
		t.Fatalf("exit code %d: %s", code, &errs)
	}
	if out, _ := s.call(0, "", "trade", "peek", "kraken", "BTC/USD"); strings.Count(out, "\n") != 1 {
		t.Errorf("got %s", out)
	}
}

type writer func(p []byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

// tradeLines makes a recording of n trades in the form of one of an exchange.
func tradeLines(n int) string {
	dice := rand.New(rand.NewPCG(3, 4))
	var b strings.Builder
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for i := 1; i <= n; i++ {
		when = when.Add(time.Duration(dice.IntN(40_000)) * time.Millisecond)
		side := [...]string{"buy", "sell"}[dice.IntN(2)]
		fmt.Fprintf(&b, `{"exchange": "kraken", "symbol": "BTC/USD", "ex_trade_id": "%d", "side": "%s", "price": "0.00%d", "volume": "%d.0", "time": "%d.%03d"}`+"\n",
			i, side, 141_000+dice.IntN(1000), 1+dice.IntN(900), when.Unix(), when.Nanosecond()/1e6)
	}
	return b.String()
}

func TestReplayTrades(t *testing.T) {
	s := newShell(t)
	const n = 1200
	name := write(t, tradeLines(n))
	out, errs := s.call(0, "", "replay", "--trades", name, "--unique", "1h", "--json")
	type sum struct {
		Read, Added, Duplicates, Dropped, Rejected int
	}
	if got := decode[sum](t, out); got != (sum{Read: n, Added: n}) || errs != "" || !strings.Contains(out, `"elapsed_ms":`) || strings.Contains(out, "outdated") {
		t.Fatalf("%s%s", out, errs)
	}
	trades := printed(t, first(s.call(0, "", "trade", "peek", "kraken", "BTC/USD", "--limit", "5000", "--json")))
	if len(trades) != n {
		t.Fatalf("%d trades", len(trades))
	}
	for i, u := range trades {
		if u.ExTradeID != fmt.Sprint(i+1) {
			t.Fatalf("trade %s is number %d", u.ExTradeID, i+1)
		}
	}
	// From standard input, once more.
	out, _ = s.call(0, tradeLines(n), "replay", "--trades", "--unique", "1h", "--speed", "1e9")
	if !strings.HasPrefix(out, "1200 read: 0 added, 1200 duplicates, 0 dropped, 0 rejected, in ") {
		t.Errorf("got %s", out)
	}
	// A list that is full ends it; or the oldest give way.
	t.Setenv("CACHE_TRADES_CAP", "1700")
	out, errs = s.call(exitError, "", "replay", "--trades", name)
	// How far it has read by then is a matter of time.
	if !strings.Contains(out, " read: 500 added") || !strings.Contains(errs, name+":501: ") || !strings.Contains(errs, "queue is full") {
		t.Errorf("%s%s", out, errs)
	}
	out, _ = s.call(0, "", "replay", "--trades", name, "--drop-oldest")
	if !strings.HasPrefix(out, "1200 read: 1200 added, 0 duplicates, 1200 dropped, 0 rejected") {
		t.Errorf("got %s", out)
	}
}

func TestReplayTradesReportsWhatItCannotUse(t *testing.T) {
	s := newShell(t)
	good := `{"exchange": "kraken", "symbol": "A/B", "ex_trade_id": "1", "side": "buy", "price": 1e-3, "volume": "2.0", "time": 1618677709.984117, "fee": -0.1, "uid": 7, "cost": null}`
	bad := map[int]string{
		2: "not JSON", 3: strings.Replace(good, `"buy"`, `"hold"`, 1), 4: strings.Replace(good, `1e-3`, `"NaN"`, 1),
		5: strings.Replace(good, `"kraken"`, `""`, 1), 6: strings.Replace(good, "1618677709.984117", `"yesterday"`, 1),
		7: strings.Replace(good, `"volume": "2.0", `, "", 1), 8: strings.Replace(good, `"ex_trade_id": "1", `, "", 1),
		9: strings.Replace(good, `"A/B"`, `"AB"`, 1), 10: `[1]`, 11: strings.Replace(strings.Replace(good, "1e-3", "1e-12", 1), "2.0", "2e-12", 1),
	}
	text := good + "\n"
	for i := 2; i <= 11; i++ {
		text += bad[i] + "\n"
	}
	text += "\n" + strings.Replace(strings.Replace(good, `"1"`, `"2"`, 1), "null", "0.5", 1)
	name := write(t, text)
	out, errs := s.call(0, "", "replay", "--trades", name)
	if !strings.HasPrefix(out, "12 read: 2 added, 0 duplicates, 0 dropped, 10 rejected") {
		t.Fatalf("%s%s", out, errs)
	}
	for number := range bad {
		if !strings.Contains(errs, fmt.Sprintf("%s:%d: ", name, number)) {
			t.Errorf("line %d is not reported:\n%s", number, errs)
		}
	}
	trades := printed(t, first(s.call(0, "", "trade", "peek", "kraken", "A/B", "--json")))
	if len(trades) != 2 || trades[0].Cost.String() != "0.002" || trades[1].Cost.String() != "0.5" || trades[0].Fee.String() != "-0.1" ||
		trades[0].UserID != 7 || !trades[0].Time.Equal(time.Unix(1618677709, 984117000)) {
		t.Fatalf("got %+v", trades)
	}
	out, errs = s.call(exitError, "", "replay", "--trades", name, "--strict")
	if !strings.Contains(out, "1 rejected") || !strings.Contains(errs, name+":2: ") {
		t.Fatalf("%s%s", out, errs)
	}
}
