package logging_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/slogtest"
	"time"

	"go.uber.org/goleak"

	"github.com/fullon/fulloncache/logging"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func env(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

func TestFromEnvDefaults(t *testing.T) {
	t.Parallel()
	got, err := logging.FromEnv(env(map[string]string{"LOG_LEVEL": ""}))
	if err != nil {
		t.Fatal(err)
	}
	want := logging.Config{Level: slog.LevelInfo, Format: logging.Beautiful, Dir: "/tmp/fullon_log"}
	if got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

func TestFromEnv(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]slog.Level{
		"debug": slog.LevelDebug, "Info": slog.LevelInfo, "WARN": slog.LevelWarn, "warning": slog.LevelWarn,
		"ERROR": slog.LevelError, "critical": logging.LevelCritical,
	} {
		got, err := logging.FromEnv(env(map[string]string{
			"LOG_LEVEL": name, "LOG_FORMAT": "JSON", "LOG_CONSOLE": "off", "LOG_COLORS": "No", "FULLON_CACHE_LOG_DIR": "/x",
		}))
		if err != nil {
			t.Fatal(err)
		}
		if got != (logging.Config{Level: want, Format: logging.JSON, NoConsole: true, NoColors: true, Dir: "/x"}) {
			t.Errorf("%s: got %+v", name, got)
		}
	}
	got, err := logging.FromEnv(env(map[string]string{"NO_COLOR": "1", "LOG_CONSOLE": "yes"}))
	if err != nil || !got.NoColors || got.NoConsole {
		t.Errorf("NO_COLOR: %+v, %v", got, err)
	}
}

func TestFromEnvMalformed(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{"LOG_LEVEL": "loud", "LOG_FORMAT": "fancy", "LOG_CONSOLE": "maybe", "LOG_COLORS": "2"} {
		_, err := logging.FromEnv(env(map[string]string{name: value}))
		var setting *logging.SettingError
		if !errors.As(err, &setting) || setting.Variable != name || setting.Value != value || setting.Want == "" {
			t.Errorf("%s=%s: got %v", name, value, err)
			continue
		}
		for _, part := range []string{name, value, setting.Want} {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%q does not name %q", err, part)
			}
		}
	}
}

// logged sets logging up in a format and returns what a record looks like on the
// console and in the file.
func logged(t *testing.T, cfg logging.Config, log func(*slog.Logger)) (console, file string) {
	t.Helper()
	var buf bytes.Buffer
	cfg.Stderr, cfg.Dir = &buf, filepath.Join(t.TempDir(), "new", "folder")
	logger, closer, err := logging.Setup(cfg)
	if err != nil {
		t.Fatal(err)
	}
	log(logger)
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(filepath.Join(cfg.Dir, "fullon_cache.log"))
	if err != nil {
		t.Fatal(err)
	}
	return buf.String(), string(b)
}

func operation(l *slog.Logger) {
	l.With("component", "fullon.cache.tick").Log(context.Background(), slog.LevelInfo, "tick.set",
		"operation", "tick.set", "exchange", "kraken", "symbol", "BTC/USD", "latency_ms", 0.081, "cache_hit", false)
}

func TestFormats(t *testing.T) {
	t.Parallel()
	for format, want := range map[string]string{
		"":                  `^\d\d:\d\d:\d\d\.\d{3} INF tick.set component=tick operation=tick.set exchange=kraken symbol=BTC/USD latency_ms=0.081 cache_hit=false\n$`,
		logging.Beautiful:   `^\d\d:\d\d:\d\d\.\d{3} INF tick.set component=tick .*\n$`,
		logging.Development: `^\d\d:\d\d:\d\d\.\d{3} INF .*logging_test.go:\d+ tick.set component=tick .*\n$`,
		logging.Minimal:     `^INF tick.set operation=tick.set exchange=kraken .*\n$`,
		logging.Detailed:    `^time=\d{4}-\d\d-\d\dT[\d:.]+Z level=INFO source=.*logging_test.go:\d+ msg=tick.set component=fullon.cache.tick operation=tick.set .*\n$`,
		logging.Trading:     `^\d\d:\d\d:\d\d\.\d{6} INFO     tick       tick.set           kraken     BTC/USD      0.081     tick.set cache_hit=false\n$`,
	} {
		console, file := logged(t, logging.Config{Format: format}, operation)
		for where, text := range map[string]string{"console": console, "file": file} {
			if !regexp.MustCompile(want).MatchString(text) {
				t.Errorf("%s, %s: %q does not match %s", format, where, text, want)
			}
		}
	}
	_, file := logged(t, logging.Config{Format: logging.JSON, NoConsole: true}, operation)
	var record map[string]any
	if err := json.Unmarshal([]byte(file), &record); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{"level": "INFO", "msg": "tick.set", "component": "fullon.cache.tick", "latency_ms": 0.081, "cache_hit": false} {
		if record[key] != want {
			t.Errorf("%s is %v, want %v", key, record[key], want)
		}
	}
	if when, ok := record["time"].(string); !ok || !strings.HasSuffix(when, "Z") {
		t.Errorf("time %v is not UTC", record["time"])
	}
}

func TestCriticalIsNamed(t *testing.T) {
	t.Parallel()
	for _, format := range []string{logging.Beautiful, logging.Minimal, logging.Development, logging.Detailed, logging.Trading, logging.JSON} {
		console, _ := logged(t, logging.Config{Format: format, Level: logging.LevelCritical}, func(l *slog.Logger) {
			l.Error("hidden")
			l.Log(context.Background(), logging.LevelCritical, "lease lost")
		})
		if !strings.Contains(console, "CRITICAL") || strings.Contains(console, "hidden") {
			t.Errorf("%s: %q", format, console)
		}
	}
}

// A value from outside must not look like a record of its own, or move the cursor.
func TestOneRecordIsOneLine(t *testing.T) {
	t.Parallel()
	const evil = "x\n12:00:00 INFO forged\x1b[2J"
	for _, format := range []string{logging.Beautiful, logging.Minimal, logging.Development, logging.Detailed, logging.Trading, logging.JSON} {
		console, _ := logged(t, logging.Config{Format: format}, func(l *slog.Logger) {
			l.Info(evil, "symbol", evil, "note", evil, "nothing", nil)
		})
		if strings.Count(console, "\n") != 1 || strings.Contains(console, "\x1b") {
			t.Errorf("%s: %q", format, console)
		}
	}
}

func TestSetupFails(t *testing.T) {
	t.Parallel()
	_, _, err := logging.Setup(logging.Config{Format: "fancy"})
	var setting *logging.SettingError
	if !errors.As(err, &setting) || setting.Variable != "LOG_FORMAT" {
		t.Errorf("got %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken := t.TempDir()
	if err := os.Mkdir(filepath.Join(taken, "fullon_cache.log"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, taken} {
		_, _, err := logging.Setup(logging.Config{Dir: dir})
		if !errors.As(err, &setting) || setting.Variable != "FULLON_CACHE_LOG_DIR" || setting.Value != dir {
			t.Errorf("%s: got %v", dir, err)
		}
	}
}

func TestFileRotates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	logger, closer, err := logging.Setup(logging.Config{Format: logging.JSON, NoConsole: true, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	const records = 12
	for i := range records {
		logger.Info(strings.Repeat("x", 1<<20), "n", i)
	}
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > 10<<20 {
			t.Errorf("%s has %d bytes", f, len(b))
		}
		lines += bytes.Count(b, []byte("\n"))
	}
	if len(files) != 2 || lines != records {
		t.Fatalf("%d records in %v, want %d in two files", lines, files, records)
	}
}

func TestColoursOnlyWhereWanted(t *testing.T) {
	t.Parallel()
	console, file := logged(t, logging.Config{}, operation)
	if strings.Contains(console+file, "\x1b") {
		t.Fatalf("colours where there is no terminal: %q", console)
	}
	// A file is no terminal either.
	f, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	logger, closer, err := logging.Setup(logging.Config{Stderr: f, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	operation(logger)
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	if len(b) == 0 || bytes.Contains(b, []byte("\x1b")) {
		t.Fatalf("colours in a file: %q", b)
	}
}

func TestDefaultConsoleIsStderr(t *testing.T) {
	was := os.Stderr
	defer func() { os.Stderr = was }()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	os.Stderr = w
	t.Chdir(t.TempDir())
	logger, closer, err := logging.Setup(logging.Config{Format: logging.Minimal})
	if err != nil {
		t.Fatal(err)
	}
	logger.Info("hello")
	if err := errors.Join(w.Close(), closer.Close()); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil || string(b) != "INF hello\n" {
		t.Fatalf("%q, %v", b, err)
	}
}

// The handler of our own keeps slog's rules, by way of its key=value tail.
func TestTradingKeepsSlogsRules(t *testing.T) {
	t.Parallel()
	var buf bytes.Buffer
	newHandler := func(t *testing.T) slog.Handler {
		buf.Reset()
		logger, closer, err := logging.Setup(logging.Config{Format: logging.Trading, Stderr: &buf, Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := closer.Close(); err != nil {
				t.Error(err)
			}
		})
		return logger.Handler()
	}
	slogtest.Run(t, newHandler, func(t *testing.T) map[string]any {
		fields := strings.Fields(buf.String())
		if len(fields) < 8 {
			t.Fatalf("record %q", buf.String())
		}
		result := map[string]any{slog.LevelKey: fields[1], slog.MessageKey: fields[7]}
		if fields[0] != "-" {
			result[slog.TimeKey] = fields[0]
		}
		for _, pair := range fields[8:] {
			path, value, _ := strings.Cut(pair, "=")
			at := result
			parts := strings.Split(path, ".")
			for _, group := range parts[:len(parts)-1] {
				inner, ok := at[group].(map[string]any)
				if !ok {
					inner = make(map[string]any)
					at[group] = inner
				}
				at = inner
			}
			at[parts[len(parts)-1]] = value
		}
		return result
	})
}

func TestTradingQuotes(t *testing.T) {
	t.Parallel()
	console, _ := logged(t, logging.Config{Format: logging.Trading}, func(l *slog.Logger) {
		l.WithGroup("").With("empty", "", "words", "a b").Info("m", "component", "")
	})
	if !strings.HasSuffix(console, ` m empty="" words="a b"`+"\n") {
		t.Fatalf("%q", console)
	}
}

func TestConcurrentRecordsStayWhole(t *testing.T) {
	t.Parallel()
	console, _ := logged(t, logging.Config{Format: logging.Trading}, func(l *slog.Logger) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 100 {
					l.Info("whole", "end", "end")
				}
			})
		}
		wg.Wait()
	})
	for line := range strings.Lines(console) {
		if !strings.HasSuffix(line, " whole end=end\n") {
			t.Fatalf("torn: %q", line)
		}
	}
	if n := strings.Count(console, "\n"); n != 800 {
		t.Fatalf("%d records", n)
	}
}

func TestTimeOfARecordIsOptional(t *testing.T) {
	t.Parallel()
	console, _ := logged(t, logging.Config{Format: logging.Trading}, func(l *slog.Logger) {
		r := slog.NewRecord(time.Time{}, slog.LevelInfo, "m", 0)
		if err := l.Handler().Handle(context.Background(), r); err != nil {
			t.Error(err)
		}
	})
	if !strings.HasPrefix(console, "-") {
		t.Fatalf("%q", console)
	}
}
