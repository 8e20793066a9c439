package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/sim"
	"github.com/fullon/fulloncache/internal/testenv"
)

func TestMain(m *testing.M) {
	if os.Getenv(demoBotEnv) != "" {
		main() // this process is a bot of the demo
	}
	testenv.Main(m)
}

// shell calls the command as a shell would.
type shell struct {
	*testing.T
	ctx context.Context
}

func newShell(t *testing.T) *shell {
	t.Helper()
	t.Setenv("REDIS_URL", testenv.Redis(t).URL())
	t.Setenv("CACHE_KEY_PREFIX", testenv.Prefix(t))
	t.Setenv("FULLON_CACHE_LOG_DIR", t.TempDir())
	t.Chdir(t.TempDir())
	return &shell{T: t, ctx: testenv.Context(t)}
}

// call returns what the command printed; it must end with the code.
func (s *shell) call(code int, stdin string, args ...string) (stdout, stderr string) {
	s.Helper()
	var out, errs bytes.Buffer
	if got := run(s.ctx, args, strings.NewReader(stdin), &out, &errs); got != code {
		s.Fatalf("%v: exit code %d, want %d\n%s%s", args, got, code, &out, &errs)
	}
	return out.String(), errs.String()
}

func decode[T any](t *testing.T, text string) (v T) {
	t.Helper()
	if strings.Count(text, "\n") != 1 {
		t.Fatalf("want one line of JSON, got %q", text)
	}
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return v
}

func TestTickCommands(t *testing.T) {
	s := newShell(t)
	out, _ := s.call(0, "", "tick", "set", "kraken", "BTC/USD", "67123.40", "--bid", "67123.3", "--time", "2026-01-02T03:04:05Z", "--json")
	if want := `{"exchange":"kraken","symbol":"BTC/USD","price":"67123.4","bid":"67123.3","time":"2026-01-02T03:04:05Z"}` + "\n"; out != want {
		t.Fatalf("got %s", out)
	}
	got := decode[map[string]any](t, first(s.call(0, "", "tick", "get", "kraken", "BTC/USD", "--json")))
	for field, want := range map[string]any{"price": "67123.4", "bid": "67123.3", "time": "2026-01-02T03:04:05Z", "ask": nil, "last": nil, "volume": nil} {
		if got[field] != want {
			t.Errorf("%s is %v, want %v", field, got[field], want)
		}
	}
	out, _ = s.call(0, "", "tick", "get", "kraken", "BTC/USD")
	if !strings.HasPrefix(out, "kraken BTC/USD  67123.4  bid 67123.3  at 2026-01-02T03:04:05Z (") {
		t.Errorf("got %s", out)
	}
	_, errs := s.call(1, "", "tick", "get", "kraken", "BTC/USD", "--max-age", "1s")
	if !strings.Contains(errs, "stale: kraken BTC/USD") {
		t.Errorf("got %s", errs)
	}
	s.call(0, "", "tick", "get", "kraken", "BTC/USD", "--max-age", "1s", "--feed-alive", "1m")
	_, errs = s.call(1, "", "tick", "get", "kraken", "XRP/USD")
	if !strings.Contains(errs, "not found") {
		t.Errorf("got %s", errs)
	}
	_, errs = s.call(1, "", "tick", "set", "kraken", "BTC/USD", "1", "--time", "1")
	if !strings.Contains(errs, "outdated") {
		t.Errorf("got %s", errs)
	}
	s.call(0, "", "tick", "set", "coinbase", "BTC/USD", "67000", "--volume", "1e-8")
	out, _ = s.call(0, "", "tick", "any", "BTC/USD", "--json")
	if decode[fulloncache.Tick](t, out).Exchange != "coinbase" {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "tick", "any", "BTC/USD", "--prefer", "kraken,coinbase", "--json")
	if decode[fulloncache.Tick](t, out).Exchange != "kraken" {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "tick", "list")
	if lines := strings.Split(out, "\n"); len(lines) != 4 || !strings.HasPrefix(lines[0], "EXCHANGE") || !strings.Contains(lines[1], "0.00000001") {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "tick", "list", "kraken", "--json")
	if decode[fulloncache.Tick](t, out).Exchange != "kraken" {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "tick", "watch", "kraken", "BTC/USD", "--count", "1", "--json")
	update := decode[map[string]any](t, out)
	if update["price"] != "67123.4" || update["rev"] == nil || update["conflated"] != nil {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "tick", "watch", "coinbase", "--count", "1")
	if !strings.Contains(out, "coinbase BTC/USD  67000") {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "tick", "delete", "kraken", "BTC/USD")
	if out != "1 deleted\n" {
		t.Errorf("got %s", out)
	}
	s.call(1, "", "tick", "delete", "kraken", "BTC/USD")
	out, _ = s.call(0, "", "tick", "delete", "coinbase", "--all", "--json")
	if out != `{"deleted":1}`+"\n" {
		t.Errorf("got %s", out)
	}
}

func first(out, _ string) string { return out }

func TestWatchShowsDeletions(t *testing.T) {
	s := newShell(t)
	s.call(0, "", "tick", "set", "kraken", "A/B", "1")
	for _, format := range [][]string{{"--json"}, nil} {
		r, w := io.Pipe()
		done := make(chan int, 1)
		go func() {
			done <- run(s.ctx, append([]string{"tick", "watch", "kraken", "--count", "2"}, format...), nil, w, io.Discard)
			w.Close()
		}()
		// The first element is there: the watch follows.
		buf := make([]byte, 1000)
		n, err := r.Read(buf)
		if err != nil || !strings.Contains(string(buf[:n]), "A/B") {
			t.Fatalf("%q, %v", buf[:n], err)
		}
		s.call(0, "", "tick", "delete", "kraken", "A/B")
		rest, err := io.ReadAll(r)
		if err != nil || !strings.Contains(string(rest), "deleted") || <-done != 0 {
			t.Fatalf("%q, %v", rest, err)
		}
		s.call(0, "", "tick", "set", "kraken", "A/B", "2")
	}
}

func TestServerCommands(t *testing.T) {
	s := newShell(t)
	ping := decode[struct {
		OK      bool    `json:"ok"`
		Latency float64 `json:"latency_ms"`
	}](t, first(s.call(0, "", "ping", "--json")))
	if !ping.OK || ping.Latency <= 0 {
		t.Errorf("got %+v", ping)
	}
	if out, _ := s.call(0, "", "ping"); !strings.HasPrefix(out, "PONG in ") {
		t.Errorf("got %s", out)
	}
	health := decode[fulloncache.Health](t, first(s.call(0, "", "health", "--json")))
	if health.Mode != "standalone" || len(health.Nodes) != 1 || health.Nodes[0].Role != "master" || health.Nodes[0].Version == "" {
		t.Errorf("got %+v", health)
	}
	if out, _ := s.call(0, "", "health"); !strings.Contains(out, "version   "+health.Nodes[0].Version) {
		t.Errorf("got %s", out)
	}
	s.call(0, "", "tick", "set", "kraken", "A/B", "1")
	if out, _ := s.call(0, "", "keys", "tickers:*"); out != "tickers:kraken:AB\n" {
		t.Errorf("got %s", out)
	}
	if out, _ := s.call(0, "", "keys", "--json"); strings.Count(out, `{"key":"`) != 5 {
		t.Errorf("got %s", out)
	}
	if out, _ := s.call(0, "", "version", "--json"); decode[map[string]string](t, out)["go"] == "" {
		t.Errorf("got %s", out)
	}
	t.Setenv("REDIS_PASSWORD", "s3cret")
	for _, format := range [][]string{{"config"}, {"config", "--json"}} {
		out, _ := s.call(0, "", format...)
		if !strings.Contains(out, "REDIS_SOCKET_TIMEOUT") || strings.Contains(out, "s3cret") || !strings.Contains(out, "***") {
			t.Errorf("got %s", out)
		}
	}
}

func TestMistakes(t *testing.T) {
	s := newShell(t)
	for _, args := range [][]string{
		{"nonsense"}, {"ping", "x"}, {"--nonsense"}, {"tick"}, {"tick", "get", "kraken"}, {"tick", "delete", "kraken"},
		{"tick", "delete", "kraken", "A/B", "--all"}, {"tick", "set", "kraken", "A/B", "NaN"},
		{"tick", "set", "kraken", "A/B", "1", "--bid", "x"}, {"tick", "set", "kraken", "A/B", "1", "--time", "noon"},
		{"replay", "--speed", "0"}, {"replay", "--speed", "fast"}, {"replay", "--speed", "NaN"}, {"replay", "--loop"},
		{"demo", "--rate", "0"}, {"demo", "--duration", "-1s"},
	} {
		out, errs := s.call(exitUsage, "", args...)
		if out != "" || !strings.Contains(errs, `see "fulloncache help"`) {
			t.Errorf("%v: %q, %q", args, out, errs)
		}
	}
	for _, args := range [][]string{
		{"replay", "no-such-file"}, {"tick", "watch", ""}, {"tick", "list", ""},
	} {
		_, errs := s.call(exitError, "", args...)
		if errs == "" {
			t.Errorf("%v: no error", args)
		}
	}
	if out, _ := s.call(0, ""); !strings.Contains(out, "Usage:") {
		t.Errorf("got %s", out)
	}
	for name, value := range map[string]string{"REDIS_PORT": "seven", "LOG_LEVEL": "loud", "DOTENV_FILE": "no-such-file", "FULLON_CACHE_LOG_DIR": "/dev/null/x"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, value)
			_, errs := (&shell{T: t, ctx: s.ctx}).call(exitError, "", "ping")
			if !strings.Contains(errs, name) || !strings.Contains(errs, value) {
				t.Errorf("%q does not name %s=%s", errs, name, value)
			}
		})
	}
	t.Setenv("REDIS_URL", "redis://127.0.0.1:1")
	if _, errs := s.call(exitError, "", "ping"); !strings.Contains(errs, "redis unavailable") {
		t.Errorf("got %s", errs)
	}
}

func TestUnreadableTicksDoNotHideOthers(t *testing.T) {
	s := newShell(t)
	s.call(0, "", "tick", "set", "kraken", "A/B", "1")
	s.call(0, "", "tick", "set", "kraken", "C/D", "2")
	testenv.Redis(t).Do(t, "HSET", os.Getenv("CACHE_KEY_PREFIX")+":tickers:kraken:AB", "price", "NaN")
	out, errs := s.call(exitError, "", "tick", "list", "--json")
	if decode[fulloncache.Tick](t, out).Symbol != "C/D" || !strings.Contains(errs, `field "price"`) {
		t.Errorf("%s%s", out, errs)
	}
}

// recording makes a recording of simulated ticks.
func recording(t *testing.T, n int) []fulloncache.Tick {
	t.Helper()
	market := sim.New(3)
	ticks := make([]fulloncache.Tick, n)
	for i := range ticks {
		ticks[i] = market.Next(time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC).Add(time.Duration(i) * 7 * time.Millisecond))
	}
	return ticks
}

func lines(t *testing.T, ticks []fulloncache.Tick) string {
	t.Helper()
	var b strings.Builder
	for _, tick := range ticks {
		line, err := json.Marshal(tick)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n", line)
	}
	return b.String()
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "ticks.ndjson")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestReplayGivesTheFilesState(t *testing.T) {
	s := newShell(t)
	ticks := recording(t, 3000)
	newest := make(map[fulloncache.Market]fulloncache.Tick)
	for _, tick := range ticks {
		newest[tick.Market] = tick
	}
	state := func() map[fulloncache.Market]fulloncache.Tick {
		got := make(map[fulloncache.Market]fulloncache.Tick)
		out, _ := s.call(0, "", "tick", "list", "--json")
		for line := range strings.Lines(out) {
			tick := decode[fulloncache.Tick](t, line)
			got[tick.Market] = tick
		}
		return got
	}
	same := func(got map[fulloncache.Market]fulloncache.Tick) {
		t.Helper()
		if len(got) != len(newest) {
			t.Fatalf("%d markets, want %d", len(got), len(newest))
		}
		for m, want := range newest {
			if !got[m].Equal(want) {
				t.Fatalf("%s: got %v, want %v", m, got[m], want)
			}
		}
	}
	out, errs := s.call(0, "", "replay", write(t, lines(t, ticks)), "--speed", "max", "--json")
	if sum := decode[counts](t, out); sum.Read != 3000 || sum.Applied != 3000 || sum.Outdated+sum.Rejected != 0 || errs != "" {
		t.Fatalf("%+v %s", sum, errs)
	}
	same(state())

	// In any order the newest wins.
	s.call(0, "", "tick", "delete", "kraken", "--all")
	shuffled := slices.Clone(ticks)
	rand.New(rand.NewPCG(1, 2)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
	for _, e := range sim.Exchanges[1:] {
		s.call(0, "", "tick", "delete", e, "--all")
	}
	out, _ = s.call(0, lines(t, shuffled), "replay", "-", "--speed", "max", "--json")
	if sum := decode[counts](t, out); sum.Applied == 0 || sum.Outdated == 0 || sum.Applied+sum.Outdated != 3000 {
		t.Fatalf("%+v", sum)
	}
	same(state())
}

func TestReplayReportsWhatItCannotUse(t *testing.T) {
	s := newShell(t)
	good := `{"exchange": "kraken", "symbol": "A/B", "price": "1.5", "bid": 1e-8, "last": null, "time": "1618677709.984117"}`
	bad := map[int]string{
		2: "not JSON", 3: `{"exchange": "kraken", "symbol": "A/B", "time": "1"}`, 4: `{"exchange": "kraken", "symbol": "A/B", "price": "NaN", "time": "1"}`,
		5: `{"exchange": "", "symbol": "A/B", "price": "1", "time": "1"}`, 6: `{"exchange": "kraken", "symbol": "A/B", "price": "1", "time": "yesterday"}`,
		7: `{"exchange": "kraken", "symbol": "A/B", "price": "1"}`, 8: `{"exchange": "kraken", "symbol": "A/B", "price": "1", "time": "1618677709984"}`,
		9: `{"exchange": "kraken", "symbol": "AB", "price": "1", "time": "1618677710"}`, 10: `[1]`, 11: `{"exchange": "kraken", "symbol": "A/B", "price": "1", "time": "1618677709.1234567891"}`,
	}
	text := good + "\n"
	for i := 2; i <= 11; i++ {
		text += bad[i] + "\n"
	}
	text += "\n" + strings.Replace(good, "1.5", "2.5", 1)
	name := write(t, text)
	out, errs := s.call(0, "", "replay", name, "--speed", "max", "--json")
	if sum := decode[counts](t, out); sum.Read != 12 || sum.Applied != 2 || sum.Rejected != 10 {
		t.Fatalf("%+v\n%s", sum, errs)
	}
	for number := range bad {
		if !strings.Contains(errs, fmt.Sprintf("%s:%d: ", name, number)) {
			t.Errorf("line %d is not reported:\n%s", number, errs)
		}
	}
	out, _ = s.call(0, "", "tick", "get", "kraken", "A/B", "--json")
	tick := decode[fulloncache.Tick](t, out)
	if tick.Price.String() != "2.5" || tick.Bid.String() != "0.00000001" || tick.Last.Valid || !tick.Time.Equal(time.Unix(1618677709, 984117000)) {
		t.Fatalf("got %s", out)
	}
	out, errs = s.call(exitError, "", "replay", name, "--speed", "max", "--strict", "--json")
	if sum := decode[counts](t, out); sum.Rejected != 1 || !strings.Contains(errs, name+":2: ") {
		t.Fatalf("%+v\n%s", sum, errs)
	}
	_, errs = s.call(exitError, strings.Repeat("x", 2<<20), "replay", "--speed", "max")
	if !strings.Contains(errs, "line 1") || !strings.Contains(errs, "too long") {
		t.Fatalf("%s", errs)
	}
}

// A recording of 14 s is replayed in its own pace, 1,000 times faster.
func TestReplayKeepsThePace(t *testing.T) {
	s := newShell(t)
	name := write(t, lines(t, recording(t, 2000)))
	start := time.Now()
	out, _ := s.call(0, "", "replay", name, "--speed", "1000", "--json")
	if sum := decode[counts](t, out); sum.Applied != 2000 || time.Since(start) < 13*time.Millisecond {
		t.Fatalf("%+v after %s", sum, time.Since(start))
	}
}

func TestReplayLoopsUntilInterrupted(t *testing.T) {
	s := newShell(t)
	name := write(t, lines(t, recording(t, 100)))
	for _, speed := range []string{"max", "100"} {
		ctx, cancel := context.WithCancel(s.ctx)
		var out, errs bytes.Buffer
		done := make(chan int, 1)
		go func() {
			done <- run(ctx, []string{"replay", name, "--loop", "--speed", speed, "--json"}, nil, &out, &errs)
		}()
		cfg, err := fulloncache.ConfigFromEnv()
		if err != nil {
			t.Fatal(err)
		}
		c, err := fulloncache.New(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		// Ticks of a later pass carry a later time: they are not outdated.
		market := recording(t, 1)[0].Market
		for range 3 {
			tick, err := c.Ticks.Next(ctx, market)
			if err != nil {
				t.Fatal(err)
			}
			if age := tick.Age(time.Now()); age > time.Minute {
				t.Fatalf("a looped tick is %s old", age)
			}
		}
		cancel()
		if code := <-done; code != 0 {
			t.Fatalf("exit code %d: %s", code, &errs)
		}
		c.Close()
		if sum := decode[counts](t, out.String()); sum.Read < 100 || sum.Rejected != 0 {
			t.Fatalf("%+v\n%s", sum, &errs)
		}
	}
}

func TestReplayStopsWhenRedisDoes(t *testing.T) {
	s := newShell(t)
	srv := testenv.NewRedis(t)
	t.Setenv("REDIS_URL", srv.URL())
	r, w := io.Pipe()
	done := make(chan int, 1)
	var out, errs bytes.Buffer
	go func() { done <- run(s.ctx, []string{"replay", "--speed", "max", "--json"}, r, &out, &errs) }()
	ticks := recording(t, 2)
	if _, err := io.WriteString(w, lines(t, ticks[:1])); err != nil {
		t.Fatal(err)
	}
	testenv.Eventually(t, "the first tick", func() (bool, string) {
		n, err := srv.Do(t, "DBSIZE").AsInt64()
		return n > 0, fmt.Sprint(n, err)
	})
	srv.Kill()
	if _, err := io.WriteString(w, lines(t, ticks[1:])); err != nil {
		t.Fatal(err)
	}
	if code := <-done; code != exitError {
		t.Fatalf("exit code %d", code)
	}
	w.Close()
	if sum := decode[counts](t, out.String()); sum.Read != 2 || sum.Applied != 1 || !strings.Contains(errs.String(), "redis unavailable") {
		t.Fatalf("%+v\n%s", sum, &errs)
	}
}

func TestDemo(t *testing.T) {
	s := newShell(t)
	out, errs := s.call(0, "", "demo", "--duration", "700ms", "--rate", "500", "--json")
	sum := decode[map[string]any](t, out)
	ticks, seen := sum["ticks"].(float64), sum["updates_seen"].(float64)
	if ticks < 50 || seen < ticks*0.8 || sum["latency_p50_us"].(float64) <= 0 || errs != "" {
		t.Fatalf("%s%s", out, errs)
	}
	if !strings.HasPrefix(sum["server"].(string), "private redis-server process 7.") {
		t.Fatalf("server %v", sum["server"])
	}
	demoDeskWorks(s)
	// On a machine without redis-server.
	t.Setenv("PATH", t.TempDir())
	out, _ = s.call(0, "", "demo", "--duration", "700ms", "--rate", "200")
	if !strings.HasPrefix(out, "Feeding 4 simulated exchanges into the in-process server.\n") {
		t.Fatalf("got %s", out)
	}
}

// demoDeskWorks checks that killed bots cost nothing: every order that was submitted
// is filled in the end, and counts once. How many there are depends on how soon the
// bots' processes are there.
func demoDeskWorks(s *shell) {
	s.Helper()
	for duration := 2 * time.Second; ; duration *= 2 {
		out, errs := s.call(0, "", "demo", "--duration", duration.String(), "--kill", (duration * 3 / 4).String(), "--rate", "200", "--json")
		sum := decode[struct {
			Submitted, Filled, Left, Dead, Leases, Killed, Bars int64
			Exact                                               bool
		}](s.T, regexp.MustCompile(`"(?:orders|bots|positions)_`).ReplaceAllString(out, `"`))
		if errs != "" || !sum.Exact || sum.Left != 0 || sum.Dead != 0 || sum.Filled < sum.Submitted || sum.Killed != 1 || sum.Bars < 60 {
			s.Fatalf("%s%s", out, errs)
		}
		if sum.Submitted > 0 && sum.Leases >= 2 {
			return
		}
		if duration > 20*time.Second {
			s.Fatalf("the bots do nothing: %s", out)
		}
	}
}

func TestParseWhen(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Time{
		"1618677709.984117": time.Unix(1618677709, 984117000), "0": time.Unix(0, 0), "1.5": time.Unix(1, 5e8),
		"1.1234567890000": time.Unix(1, 123456789), "2026-01-02T03:04:05.000000006+02:00": time.Date(2026, 1, 2, 1, 4, 5, 6, time.UTC),
	} {
		if got, err := parseWhen(text); err != nil || !got.Equal(want) {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "1.x", "1.12345678901", "1e9", "NaN", "1.-5"} {
		if got, err := parseWhen(text); err == nil {
			t.Errorf("%q: got %v", text, got)
		}
	}
}
