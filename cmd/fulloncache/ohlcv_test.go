package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// candles is a CSV of minutes, some of which are missing.
func candles(n int, missing ...int) string {
	var b strings.Builder
	b.WriteString("timestamp,open,high,low,close,volume\n")
minutes:
	for i := range n {
		for _, m := range missing {
			if i == m {
				continue minutes
			}
		}
		p := 100 + i%17
		fmt.Fprintf(&b, "%d,%d.0,%d.5,%d.25,%d.0,0.1\n", 1704067200+60*i, p, p+1, p-2, p+i%3-1)
	}
	return b.String()
}

func TestOHLCVCommands(t *testing.T) {
	s := newShell(t)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile("candles.csv", []byte(candles(1500)), 0o600))
	where := []string{"--exchange", "kraken", "--symbol", "BTC/USD", "--timeframe", "60s"}
	_, errs := s.call(2, "", append([]string{"ohlcv", "load", "candles.csv"}, where...)...)
	if !strings.Contains(errs, `timeframe "60s"`) {
		t.Errorf("got %s", errs)
	}
	where[5] = "1m"
	out, errs := s.call(0, "", append([]string{"ohlcv", "load", "candles.csv"}, where...)...)
	if !strings.HasPrefix(out, "1500 read: 1500 added, 0 replaced, 0 unchanged, 0 rejected, in ") || errs != "" {
		t.Errorf("got %s%s", out, errs)
	}
	out, _ = s.call(0, candles(3)+"1704067320,1,1,1,1,1\n1704067321,1,1,1,1,1\nx\n", append([]string{"ohlcv", "load", "-", "--json"}, where...)...)
	got := decode[map[string]int](t, out)
	for name, want := range map[string]int{"read": 6, "added": 0, "replaced": 2, "unchanged": 2, "dropped": 0, "rejected": 2} {
		if got[name] != want {
			t.Errorf("%s is %d, want %d", name, got[name], want)
		}
	}
	_, errs = s.call(0, candles(1)+"x\n", append([]string{"ohlcv", "load", "-"}, where...)...)
	if !strings.Contains(errs, "-: invalid input: line 3: time") {
		t.Errorf("got %s", errs)
	}
	_, errs = s.call(1, candles(1)+"x\n"+"1704067200,2,2,2,2,2\n", append([]string{"ohlcv", "load", "-", "--strict"}, where...)...)
	if !strings.Contains(errs, "line 3") {
		t.Errorf("got %s", errs)
	}
	s.call(1, "", append([]string{"ohlcv", "load", "none.csv"}, where...)...)
	s.call(2, "", "ohlcv", "load", "candles.csv", "--timeframe", "1m", "--exchange", "kraken")

	out, _ = s.call(0, "", "ohlcv", "latest", "kraken", "BTC/USD", "1m", "--count", "1", "--json")
	if want := `{"time":"2024-01-02T00:59:00Z","open":"103","high":"104.5","low":"101.25","close":"104","volume":"0.1"}` + "\n"; out != want {
		t.Errorf("got %s, want %s", out, want)
	}
	out, _ = s.call(0, "", "ohlcv", "latest", "kraken", "BTC/USD", "1m")
	if lines := strings.Split(out, "\n"); len(lines) != 12 || !strings.HasPrefix(lines[0], "TIME") || !strings.HasPrefix(lines[10], "2024-01-02T00:59:00Z") {
		t.Errorf("got %s", out)
	}
	_, errs = s.call(1, "", "ohlcv", "latest", "kraken", "BTC/USD", "1m", "--count", "0")
	if !strings.Contains(errs, "at least 1") {
		t.Errorf("got %s", errs)
	}
	_, errs = s.call(1, "", "ohlcv", "latest", "kraken", "BTC/USD", "5m")
	if !strings.Contains(errs, "kraken BTC/USD 5m: not found") {
		t.Errorf("got %s", errs)
	}
	out, _ = s.call(0, "", "ohlcv", "range", "kraken", "BTC/USD", "1m", "--from", "2024-01-01T00:10:00Z", "--to", "1704067980", "--json")
	if strings.Count(out, "\n") != 3 {
		t.Errorf("got %s", out)
	}
	for _, flag := range []string{"--from", "--to"} {
		s.call(2, "", "ohlcv", "range", "kraken", "BTC/USD", "1m", flag, "yesterday")
		s.call(2, "", "ohlcv", "resample", "kraken", "BTC/USD", "1m", "1h", flag, "yesterday")
	}
	out, _ = s.call(0, "", "ohlcv", "resample", "kraken", "BTC/USD", "1m", "1d", "--json")
	if lines := strings.Split(out, "\n"); len(lines) != 3 || !strings.Contains(lines[0], `"volume":"144.9"`) || !strings.Contains(lines[1], `"volume":"6"`) {
		t.Errorf("got %s", out)
	}
	s.call(2, "", "ohlcv", "resample", "kraken", "BTC/USD", "1m", "1x")
	s.call(1, "", "ohlcv", "resample", "kraken", "BTC/USD", "5m", "1d")
	out, _ = s.call(0, "", "ohlcv", "series", "--json")
	if out != `{"exchange":"kraken","symbol":"BTC/USD","timeframe":"1m","bars":1500}`+"\n" {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "ohlcv", "series", "kraken")
	if !strings.Contains(out, "kraken    BTC/USD  1m         1500") {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "ohlcv", "watch", "kraken", "BTC/USD", "1m", "--count", "1", "--json")
	if u := decode[map[string]any](t, out); u["close"] != "104" || u["timeframe"] != "1m" || u["rev"] == nil {
		t.Errorf("got %s", out)
	}

	// Fewer than there are: the command tells.
	where[3] = "ETH/USD"
	_, errs = s.call(0, "", append([]string{"ohlcv", "load", "candles.csv", "--keep", "100"}, where...)...)
	if !strings.Contains(errs, "1400 of the oldest bars were dropped: kraken ETH/USD 1m keeps 100") {
		t.Errorf("got %s", errs)
	}
	out, _ = s.call(0, "", "ohlcv", "delete", "kraken", "ETH/USD", "1m")
	if out != "kraken ETH/USD 1m deleted\n" {
		t.Errorf("got %s", out)
	}
	s.call(1, "", "ohlcv", "delete", "kraken", "ETH/USD", "1m")
	s.call(2, "", "ohlcv")
}

// More bars than a series holds by default are all there.
func TestOHLCVLoadKeepsAll(t *testing.T) {
	s := newShell(t)
	t.Setenv("CACHE_OHLCV_CAP", "500")
	where := []string{"--exchange", "kraken", "--symbol", "BTC/USD", "--timeframe", "1m"}
	s.call(0, candles(600), append([]string{"ohlcv", "load", "-"}, where...)...)
	s.call(0, candles(700), append([]string{"ohlcv", "load", "-"}, where...)...)
	out, _ := s.call(0, "", "ohlcv", "latest", "kraken", "BTC/USD", "1m", "--count", "10000", "--json")
	if n := strings.Count(out, "\n"); n != 700 {
		t.Errorf("%d bars", n)
	}
}

func TestOHLCVShow(t *testing.T) {
	s := newShell(t)
	where := []string{"--exchange", "kraken", "--symbol", "BTC/USD", "--timeframe", "1m"}
	s.call(0, candles(12, 5, 6), append([]string{"ohlcv", "load", "-"}, where...)...)
	out, _ := s.call(0, "", "ohlcv", "show", "kraken", "BTC/USD", "1m", "--width", "40", "--height", "13")
	if want := `kraken BTC/USD 1m  2024-01-01 00:00 to 2024-01-01 00:11 UTC  high 112.50  low 98.25  close 112.00  +12.00 %
          ┊       ╷ ┃  ┤ 111.61
          ┊   ╻ ╽ ╿ │  │
          ┊ │ ┃ ┃ ╵    │
        ╷ ┊ ╿ │        │
      │ ╽ ┊ ╵          ┤ 104.48
  ╷ ┃ ┃ │ ┊            │
│ ╿ │ ╵   ┊            │
┃ ╵       ┊            ┤ 99.14
█ █ █ █ █ ┊ █ █ █ █ █  │ 0.1
█ █ █ █ █ ┊ █ █ █ █ █  │
█ █ █ █ █ ┊ █ █ █ █ █  │
└01-01 00:00  └01-01 00:08
`; out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}
	out, _ = s.call(0, "", "ohlcv", "show", "kraken", "BTC/USD", "1m", "--count", "3")
	if strings.Count(out, "\n") != 24 || !strings.Contains(out, "00:09 to 2024-01-01 00:11") {
		t.Errorf("got\n%s", out)
	}
	out, _ = s.call(0, "", "ohlcv", "show", "kraken", "BTC/USD", "1m", "--count", "2", "--json")
	if strings.Count(out, "\n") != 2 {
		t.Errorf("got %s", out)
	}
	// One flat bar, without volume, on a tiny screen.
	where[5] = "1d"
	s.call(0, "time,open,high,low,close,volume\n2024-01-01T00:00:00Z,5,5,5,5,0\n", append([]string{"ohlcv", "load", "-"}, where...)...)
	out, _ = s.call(0, "", "ohlcv", "show", "kraken", "BTC/USD", "1d", "--width", "1", "--height", "1")
	if !strings.Contains(out, "┃") && !strings.Contains(out, "╹") || !strings.Contains(out, "└2024-01-01") {
		t.Errorf("got\n%s", out)
	}
	s.call(1, "", "ohlcv", "show", "kraken", "BTC/USD", "1h")
	s.call(2, "", "ohlcv", "show", "kraken", "BTC/USD", "1h", "--count", "-1")
}

// What is corrupt is reported, and hides nothing but a sum.
func TestOHLCVCommandsWithCorruptBars(t *testing.T) {
	s := newShell(t)
	s.call(0, candles(5), "ohlcv", "load", "-", "--exchange", "kraken", "--symbol", "BTC/USD", "--timeframe", "1m")
	key := os.Getenv("CACHE_KEY_PREFIX") + ":ohlcv:kraken:BTCUSD:1m"
	testenv.Redis(t).Do(t, "LSET", key, "2", "garbage")
	for _, read := range []string{"latest", "range", "show"} {
		out, errs := s.call(1, "", "ohlcv", read, "kraken", "BTC/USD", "1m", "--json")
		if strings.Count(out, "\n") != 4 || !strings.Contains(errs, key) || !strings.Contains(errs, "element 2") {
			t.Errorf("%s: got %s%s", read, out, errs)
		}
	}
	out, errs := s.call(1, "", "ohlcv", "show", "kraken", "BTC/USD", "1m")
	if !strings.Contains(out, "┊") || !strings.Contains(errs, "element 2") {
		t.Errorf("got %s%s", out, errs)
	}
	out, errs = s.call(1, "", "ohlcv", "resample", "kraken", "BTC/USD", "1m", "5m", "--json")
	if out != "" || !strings.Contains(errs, "element 2") {
		t.Errorf("got %s%s", out, errs)
	}
	testenv.Redis(t).Do(t, "LTRIM", key, "2", "2")
	if out, _ := s.call(1, "", "ohlcv", "show", "kraken", "BTC/USD", "1m"); out != "" {
		t.Errorf("got %s", out)
	}
}

// An interrupt ends a load that waits for its input.
func TestOHLCVLoadIsInterrupted(t *testing.T) {
	s := newShell(t)
	ctx, interrupt := context.WithCancel(s.ctx)
	in, feed := io.Pipe()
	defer feed.Close()
	done := make(chan int, 1)
	go func() {
		done <- run(ctx, []string{"ohlcv", "load", "-", "--exchange", "kraken", "--symbol", "BTC/USD", "--timeframe", "1m"}, in, io.Discard, io.Discard)
	}()
	if _, err := io.WriteString(feed, candles(5)); err != nil {
		t.Fatal(err)
	}
	interrupt()
	select {
	case <-done:
	case <-time.After(testenv.Patience):
		t.Fatal("it goes on")
	}
}

func TestWatchShowsBars(t *testing.T) {
	s := newShell(t)
	c, err := fulloncache.Open(s.ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	series := fulloncache.Series{Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, Timeframe: "1m"}
	s.call(0, candles(2), "ohlcv", "load", "-", "--exchange", "kraken", "--symbol", "BTC/USD", "--timeframe", "1m")
	for _, format := range [][]string{{"--json"}, nil} {
		r, w := io.Pipe()
		done := make(chan int, 1)
		go func() {
			done <- run(s.ctx, append([]string{"ohlcv", "watch", "kraken", "BTC/USD", "1m", "--count", "2"}, format...), nil, w, io.Discard)
			w.Close()
		}()
		// The first element is there: the watch follows.
		buf := make([]byte, 1000)
		n, err := r.Read(buf)
		if err != nil || !strings.Contains(string(buf[:n]), "00:01:00Z") {
			t.Fatalf("got %s (%v)", buf[:n], err)
		}
		if err := c.OHLCV.Delete(s.ctx, series); err != nil {
			t.Fatal(err)
		}
		rest, err := io.ReadAll(r)
		if err != nil || !strings.Contains(string(rest), "deleted") || <-done != 0 {
			t.Errorf("got %s (%v)", rest, err)
		}
		s.call(0, candles(2), "ohlcv", "load", "-", "--exchange", "kraken", "--symbol", "BTC/USD", "--timeframe", "1m")
	}
	_, errs := s.call(2, "", "ohlcv", "watch", "kraken", "BTC/USD", "1x")
	if !strings.Contains(errs, "timeframe") {
		t.Errorf("got %s", errs)
	}
}
