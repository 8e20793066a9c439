package logging_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/fullon/fulloncache/logging"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var formats = []string{
	logging.Beautiful, logging.Minimal, logging.Development, logging.Detailed, logging.Trading, logging.JSON,
}

// setup sets logging up and returns the logger, and what closes it before the
// test's end.
func setup(t testing.TB, cfg logging.Config) (*slog.Logger, func()) {
	t.Helper()
	logger, closer, err := logging.Setup(cfg)
	if err != nil {
		t.Fatal(err)
	}
	closeIt := func() {
		if err := closer.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	t.Cleanup(closeIt) // closing twice does nothing
	return logger, closeIt
}

// logged returns what log leaves on the console and in the file.
func logged(t *testing.T, cfg logging.Config, log func(*slog.Logger)) (console, file string) {
	t.Helper()
	var buf bytes.Buffer
	cfg.Stderr, cfg.Dir = &buf, filepath.Join(t.TempDir(), "new", "folder")
	logger, closeIt := setup(t, cfg)
	log(logger)
	closeIt()
	return buf.String(), read(t, filepath.Join(cfg.Dir, "fullon_cache.log"))
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestConsoleIsStderr(t *testing.T) {
	was := os.Stderr
	defer func() { os.Stderr = was }()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	os.Stderr = w
	logger, closeIt := setup(t, logging.Config{Dir: t.TempDir()})
	logger.Debug("hidden")
	logger.Info("hello", "a", 1)
	closeIt()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil || !strings.HasSuffix(string(b), "Z INFO  hello a=1\n") || strings.Contains(string(b), "hidden") {
		t.Errorf("standard error has %q, %v", b, err)
	}
}

func TestConsoleCanBeOff(t *testing.T) {
	t.Parallel()
	console, file := logged(t, logging.Config{NoConsole: true}, func(l *slog.Logger) { l.Info("hello") })
	if console != "" || !strings.HasSuffix(file, "INFO  hello\n") {
		t.Errorf("console %q, file %q", console, file)
	}
}

func TestSetupRefuses(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken := t.TempDir()
	if err := os.Mkdir(filepath.Join(taken, "fullon_cache.log"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		cfg             logging.Config
		variable, value string
	}{
		"an unknown format":         {logging.Config{Format: "fancy"}, "LOG_FORMAT", "fancy"},
		"a folder that is a file":   {logging.Config{Dir: file}, "FULLON_CACHE_LOG_DIR", file},
		"a file that is a folder":   {logging.Config{Dir: taken}, "FULLON_CACHE_LOG_DIR", taken},
		"a folder of a file's name": {logging.Config{Dir: filepath.Join(file, "x")}, "FULLON_CACHE_LOG_DIR", filepath.Join(file, "x")},
	} {
		logger, closer, err := logging.Setup(test.cfg)
		var setting *logging.SettingError
		if !errors.As(err, &setting) || setting.Variable != test.variable || setting.Value != test.value {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		if logger != nil || closer != nil {
			t.Errorf("%s: got a logger beside the error", name)
		}
		var path *fs.PathError
		if isDir := test.variable != "LOG_FORMAT"; errors.As(err, &path) != isDir {
			t.Errorf("%s: the cause is %v", name, errors.Unwrap(err))
		}
		if !strings.HasPrefix(err.Error(), "setting "+test.variable+`="`+test.value+`": want `) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSetupLeavesSlogsDefault(t *testing.T) {
	was := slog.Default()
	setup(t, logging.Config{Dir: t.TempDir(), NoConsole: true})
	if slog.Default() != was {
		t.Error("Setup changed slog's default")
	}
}

func TestColoursNeedATerminal(t *testing.T) {
	t.Parallel()
	f, err := os.Create(filepath.Join(t.TempDir(), "console"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	logger, _ := setup(t, logging.Config{Stderr: f, Dir: t.TempDir()})
	logger.Warn("plain")
	if got := read(t, f.Name()); !strings.HasSuffix(got, "Z WARN  plain\n") || strings.Contains(got, "\x1b") {
		t.Errorf("a file as the console has %q", got)
	}
}

func TestCriticalIsALevel(t *testing.T) {
	t.Parallel()
	for _, format := range formats {
		both := logging.Config{Format: format, Level: logging.LevelCritical}
		console, file := logged(t, both, func(l *slog.Logger) {
			l.Error("hidden")
			l.Log(context.Background(), logging.LevelCritical, "lease lost")
			l.Log(context.Background(), logging.LevelCritical+1, "worse")
		})
		for where, text := range map[string]string{"console": console, "file": file} {
			if strings.Count(text, "\n") != 2 || strings.Count(text, "CRITICAL") != 2 || strings.Count(text, "CRITICAL+1") != 1 {
				t.Errorf("%s, %s: %q", format, where, text)
			}
		}
	}
}
