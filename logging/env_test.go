package logging_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/fullon/fulloncache/logging"
)

func env(vars map[string]string) func(string) (string, bool) {
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

func TestFromEnvDefaults(t *testing.T) {
	t.Parallel()
	want := logging.Config{Level: slog.LevelInfo, Format: logging.Beautiful, Dir: "/tmp/fullon_log"}
	for name, vars := range map[string]map[string]string{
		"unset": nil,
		"empty": {"LOG_LEVEL": "", "LOG_FORMAT": "", "LOG_CONSOLE": "", "LOG_COLORS": "", "NO_COLOR": "", "FULLON_CACHE_LOG_DIR": ""},
	} {
		if got, err := logging.FromEnv(env(vars)); err != nil || got != want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, want)
		}
	}
}

func TestFromEnv(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]slog.Level{
		"debug": slog.LevelDebug, "Info": slog.LevelInfo, "WARN": slog.LevelWarn, "warning": slog.LevelWarn,
		"ERROR": slog.LevelError, "critical": logging.LevelCritical,
	} {
		if got, err := logging.FromEnv(env(map[string]string{"LOG_LEVEL": value})); err != nil || got.Level != want {
			t.Errorf("LOG_LEVEL=%s: got %v, %v", value, got.Level, err)
		}
	}
	for _, format := range formats {
		if got, err := logging.FromEnv(env(map[string]string{"LOG_FORMAT": strings.ToUpper(format)})); err != nil || got.Format != format {
			t.Errorf("LOG_FORMAT=%s: got %v, %v", format, got.Format, err)
		}
	}
	for value, on := range map[string]bool{"1": true, "T": true, "True": true, "yes": true, "ON": true, "0": false, "f": false, "FALSE": false, "No": false, "off": false} {
		got, err := logging.FromEnv(env(map[string]string{"LOG_CONSOLE": value, "LOG_COLORS": "true"}))
		if err != nil || got.NoConsole == on || got.NoColors {
			t.Errorf("LOG_CONSOLE=%s: got %+v, %v", value, got, err)
		}
		got, err = logging.FromEnv(env(map[string]string{"LOG_COLORS": value}))
		if err != nil || got.NoColors == on || got.NoConsole {
			t.Errorf("LOG_COLORS=%s: got %+v, %v", value, got, err)
		}
	}
	got, err := logging.FromEnv(env(map[string]string{"NO_COLOR": "0", "LOG_COLORS": "true", "FULLON_CACHE_LOG_DIR": "/x"}))
	if err != nil || !got.NoColors || got.Dir != "/x" {
		t.Errorf("NO_COLOR: got %+v, %v", got, err)
	}
}

func TestFromEnvMalformed(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{"LOG_LEVEL": "loud", "LOG_FORMAT": "Fancy", "LOG_CONSOLE": "maybe", "LOG_COLORS": "2"} {
		got, err := logging.FromEnv(env(map[string]string{name: value}))
		var setting *logging.SettingError
		if !errors.As(err, &setting) || setting.Variable != name || setting.Value != value || setting.Want == "" {
			t.Errorf("%s=%s: got %v", name, value, err)
			continue
		}
		if want := "setting " + name + `="` + value + `": want ` + setting.Want; err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
		if got != (logging.Config{}) {
			t.Errorf("%s=%s: got %+v beside the error", name, value, got)
		}
	}
}

// Whatever the environment holds, it is accepted or refused by name.
func FuzzFromEnv(f *testing.F) {
	f.Add("debug", "json", "on", "off")
	f.Add("loud", "fancy\n", "\x00", "\xff")
	f.Fuzz(func(t *testing.T, level, format, console, colors string) {
		vars := map[string]string{"LOG_LEVEL": level, "LOG_FORMAT": format, "LOG_CONSOLE": console, "LOG_COLORS": colors}
		got, err := logging.FromEnv(env(vars))
		var setting *logging.SettingError
		switch {
		case err == nil && (got.Format == "" || got.Dir == ""):
			t.Fatalf("accepted %q as %+v", vars, got)
		case err != nil && (!errors.As(err, &setting) || vars[setting.Variable] != setting.Value):
			t.Fatalf("refused %q with %v", vars, err)
		}
	})
}
