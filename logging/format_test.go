package logging_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fullon/fulloncache/logging"
)

// operation logs as the caches do, at a time of another zone.
func operation(t *testing.T, l *slog.Logger) {
	t.Helper()
	at := time.Date(2026, 1, 2, 4, 4, 5, 678_901_234, time.FixedZone("CET", 3600))
	r := slog.NewRecord(at, slog.LevelInfo, "price stored", 0)
	r.Add("operation", "tick.set", "exchange", "kraken", "symbol", "BTC/USD", "latency_ms", 0.08, "cache_hit", false)
	if err := l.With("component", "fullon.cache.tick").Handler().Handle(context.Background(), r); err != nil {
		t.Error(err)
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	const (
		attrs    = "operation=tick.set exchange=kraken symbol=BTC/USD latency_ms=0.08 cache_hit=false\n"
		detailed = "time=2026-01-02T03:04:05.678901234Z level=INFO component=fullon.cache.tick msg=\"price stored\" " + attrs
		trading  = "INFO     tick       tick.set           kraken     BTC/USD          0.080 price stored cache_hit=false\n"
		object   = `{"time":"2026-01-02T03:04:05.678901234Z","level":"INFO","msg":"price stored","component":"fullon.cache.tick",` +
			`"operation":"tick.set","exchange":"kraken","symbol":"BTC/USD","latency_ms":0.08,"cache_hit":false}` + "\n"
	)
	for format, want := range map[string]struct{ console, file string }{
		"":                  {"03:04:05.678Z INFO  tick: price stored " + attrs, "2026-01-02T03:04:05.678Z INFO  tick: price stored " + attrs},
		logging.Beautiful:   {"03:04:05.678Z INFO  tick: price stored " + attrs, "2026-01-02T03:04:05.678Z INFO  tick: price stored " + attrs},
		logging.Development: {"03:04:05.678Z INFO  tick: price stored " + attrs, "2026-01-02T03:04:05.678Z INFO  tick: price stored " + attrs},
		logging.Minimal:     {"INFO  price stored\n", "2026-01-02T03:04:05.678Z INFO  tick: price stored " + attrs},
		logging.Detailed:    {detailed, detailed},
		logging.Trading:     {"03:04:05.678901Z " + trading, "2026-01-02T03:04:05.678901Z " + trading},
		logging.JSON:        {object, object},
	} {
		console, file := logged(t, logging.Config{Format: format}, func(l *slog.Logger) { operation(t, l) })
		if diff := cmp.Diff(want.console, console); diff != "" {
			t.Errorf("%s, console (-want +got):\n%s", format, diff)
		}
		if diff := cmp.Diff(want.file, file); diff != "" {
			t.Errorf("%s, file (-want +got):\n%s", format, diff)
		}
	}
}

func TestSource(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{
		logging.Development: `Z INFO  logging/format_test.go:\d+ here\n$`,
		logging.Detailed:    ` level=INFO source="?/.*/logging/format_test.go:\d+"? msg=here\n$`,
	} {
		console, file := logged(t, logging.Config{Format: format}, func(l *slog.Logger) { l.Info("here") })
		for where, text := range map[string]string{"console": console, "file": file} {
			if !regexp.MustCompile(want).MatchString(text) {
				t.Errorf("%s, %s: %q does not match %s", format, where, text, want)
			}
		}
	}
}

func TestTradingColumns(t *testing.T) {
	t.Parallel()
	const blank = "-          -                  -          -                    - "
	for want, log := range map[string]func(l *slog.Logger){
		blank + "m":                      func(l *slog.Logger) { l.Info("m") },
		blank + `m empty="" words="a b"`: func(l *slog.Logger) { l.Info("m", "component", "", "empty", "", "words", "a b") },
		blank + "m order.symbol=X": func(l *slog.Logger) {
			slog.New(l.Handler().WithGroup("").WithGroup("order")).Info("m", "symbol", "X")
		},
		blank[:len(blank)-10] + " 1234.500 m":              func(l *slog.Logger) { l.Info("m", "latency_ms", "1234.5") },
		blank[:len(blank)-10] + "    quick m":              func(l *slog.Logger) { l.Info("m", "latency_ms", "quick") },
		`"a b"` + blank[5:] + "m":                          func(l *slog.Logger) { l.Info("m", "component", "a b") },
		"last" + strings.Repeat(" ", 7) + blank[11:] + "m": func(l *slog.Logger) { l.With("component", "first").Info("m", "component", "last") },
	} {
		console, _ := logged(t, logging.Config{Format: logging.Trading}, log)
		if !strings.HasSuffix(console, "Z INFO     "+want+"\n") {
			t.Errorf("got %q, want it to end in %q", console, want)
		}
	}
}

type marshaler func() ([]byte, error)

func (m marshaler) MarshalText() ([]byte, error) { return m() }

type pointed struct{ text string }

func (p *pointed) MarshalText() ([]byte, error) { return []byte(p.text), nil }

type valuer struct{}

func (valuer) LogValue() slog.Value { return slog.GroupValue(slog.Int("a", 1), slog.Group("", "b", 2)) }

func TestValues(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("9", 1<<20)
	for want, value := range map[string]any{
		"v=<nil>":                  nil,
		"v=1.5":                    1.5,
		"v=NaN":                    math.NaN(),
		"v=18446744073709551615":   uint64(math.MaxUint64),
		"v=true":                   true,
		"v=1.5s":                   1500 * time.Millisecond,
		"v=2026-01-02T03:04:05.6Z": time.Date(2026, 1, 2, 4, 4, 5, 600_000_000, time.FixedZone("CET", 3600)),
		`v="a b"`:                  []byte("a b"),
		`v="caf\xe9"`:              "caf\xe9",
		`v="one\ntwo"`:             errors.Join(errors.New("one"), errors.New("two")),
		"v={text:x}":               struct{ text string }{"x"},
		"v=x":                      &pointed{"x"},
		"v=<nil> w=1":              (*pointed)(nil),
		`v="!PANIC: boom"`:         marshaler(func() ([]byte, error) { panic("boom") }),
		`v="!ERROR: no"`:           marshaler(func() ([]byte, error) { return nil, errors.New("no") }),
		"v.a=1 v.b=2":              valuer{},
		"v=" + huge:                huge,
	} {
		console, _ := logged(t, logging.Config{Format: logging.Detailed}, func(l *slog.Logger) {
			l.Info("m", "v", value, "w", 1)
			l.With("v", value).Info("m", "w", 1)
		})
		want = strings.TrimSuffix(want, " w=1") + " w=1\n"
		for line := range strings.Lines(console) {
			if !strings.HasSuffix(line, " msg=m "+want) {
				t.Errorf("%.100T: got %.200q, want it to end in %.100q", value, line, want)
			}
		}
		if n := strings.Count(console, "\n"); n != 2 {
			t.Errorf("%T: %d lines", value, n)
		}
	}
}

// What comes from outside must not look like a record of its own.
func TestOneRecordIsOneLine(t *testing.T) {
	t.Parallel()
	for _, evil := range []string{"x\n12:00:00.000Z INFO  forged", "\r", "\u0085\u2028", "\x1b[2J", "\x00"} {
		for _, format := range formats {
			console, file := logged(t, logging.Config{Format: format}, func(l *slog.Logger) {
				l.With("component", evil).WithGroup("g"+evil).Info("m"+evil, "symbol", evil, "k"+evil, errors.New(evil))
				l.Info("m"+evil, "symbol", evil, "latency_ms", evil, evil, evil, slog.Group(evil, evil, []string{evil}))
			})
			for where, text := range map[string]string{"console": console, "file": file} {
				if strings.Count(text, "\n") != 2 || strings.ContainsAny(text, "\r\x1b\x00") {
					t.Errorf("%s, %s: %q", format, where, text)
				}
				if format != logging.JSON && strings.ContainsAny(text, "\u0085\u2028") {
					t.Errorf("%s, %s: %q", format, where, text)
				}
			}
		}
	}
}

// The text formats keep slog's rules: their lines are parsed back.
func TestFormatsKeepSlogsRules(t *testing.T) {
	t.Parallel()
	const padding = 5 // the empty columns of trading
	for format, head := range map[string]int{logging.Beautiful: 0, logging.Development: 0, logging.Trading: padding, logging.Detailed: -1, logging.JSON: -2} {
		t.Run(format, func(t *testing.T) {
			t.Parallel()
			var buf bytes.Buffer
			slogtest.Run(t, func(t *testing.T) slog.Handler {
				buf.Reset()
				logger, _ := setup(t, logging.Config{Format: format, Stderr: &buf, Dir: t.TempDir()})
				return logger.Handler()
			}, func(t *testing.T) map[string]any {
				result := make(map[string]any)
				if head == -2 {
					if err := json.Unmarshal(buf.Bytes(), &result); err != nil {
						t.Fatal(err)
					}
					return result
				}
				words := strings.Fields(buf.String())
				if head >= 0 {
					if strings.HasSuffix(words[0], "Z") {
						result[slog.TimeKey] = words[0]
						words = words[1:]
					} else if words[0] == "-" {
						words = words[1:]
					}
					result[slog.LevelKey] = words[0]
					words = words[1+head:]
					if strings.Contains(words[0], ".go:") {
						words = words[1:]
					}
					result[slog.MessageKey] = words[0]
					words = words[1:]
				}
				for _, pair := range words {
					key, value, ok := strings.Cut(pair, "=")
					if !ok {
						t.Fatalf("%q in %q is no pair", pair, buf.String())
					}
					groups := strings.Split(key, ".")
					at := result
					for _, g := range groups[:len(groups)-1] {
						if at[g] == nil {
							at[g] = make(map[string]any)
						}
						at = at[g].(map[string]any)
					}
					at[groups[len(groups)-1]] = value
				}
				return result
			})
		})
	}
}

// Loggers derived from one share what they have in common, and only that.
func TestConcurrentRecordsStayWhole(t *testing.T) {
	t.Parallel()
	digits := regexp.MustCompile(`\d`)
	for _, format := range []string{logging.Beautiful, logging.Detailed, logging.Trading, logging.JSON} {
		const writers, each = 8, 50
		console, file := logged(t, logging.Config{Format: format}, func(l *slog.Logger) {
			l = l.With("a", 1).With("b", 2).With("c", 3).WithGroup("x").WithGroup("y").WithGroup("z")
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					mine := l.With("writer", w).WithGroup("g" + strconv.Itoa(w))
					for range each {
						mine.Info("m", slog.Group("h", "writer", w), "n", w)
					}
				})
			}
			wg.Wait()
		})
		for _, text := range []string{console, file} {
			for line := range strings.Lines(text) {
				_, mine, _ := strings.Cut(line, "writer")
				if n := digits.FindAllString(mine, -1); len(n) < 4 || len(slices.Compact(n)) != 1 {
					t.Fatalf("%s: %q", format, line)
				}
			}
			if n := strings.Count(text, "\n"); n != writers*each {
				t.Errorf("%s: %d records", format, n)
			}
		}
	}
}

func BenchmarkFormats(b *testing.B) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		b.Fatal(err)
	}
	defer null.Close()
	for _, format := range formats {
		b.Run(format, func(b *testing.B) {
			logger, _ := setup(b, logging.Config{Format: format, Stderr: null, Dir: b.TempDir()})
			b.ReportAllocs()
			for b.Loop() {
				logger.Info("price stored", "component", "fullon.cache.tick", "exchange", "kraken", "latency_ms", 0.08)
			}
		})
	}
}
