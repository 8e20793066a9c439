package logging

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestDefaults(t *testing.T) {
	t.Parallel()
	want := Config{Level: slog.LevelInfo, Format: Beautiful, Dir: "/tmp/fullon_log", Stderr: os.Stderr}
	if got := (Config{}).withDefaults(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	var console bytes.Buffer
	full := Config{Level: slog.LevelWarn, Format: JSON, NoConsole: true, NoColors: true, Dir: "/x", Stderr: &console}
	if got := full.withDefaults(); got != full {
		t.Errorf("got %+v, want %+v", got, full)
	}
}

// coloured returns how a terminal gets a record, as the file would have it but
// for colours.
func coloured(t *testing.T, format string, level slog.Level, message string, args ...any) (with, without string) {
	t.Helper()
	r := slog.NewRecord(time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.UTC), level, message, 0)
	r.Add(args...)
	var out [2]bytes.Buffer
	for i := range out {
		h := formats[format](sink{w: &out[i], level: slog.LevelDebug, colours: i == 0})
		if err := h.Handle(context.Background(), r); err != nil {
			t.Fatal(err)
		}
	}
	return out[0].String(), out[1].String()
}

func TestColours(t *testing.T) {
	t.Parallel()
	for level, want := range map[slog.Level]string{
		slog.LevelDebug:   "\x1b[94mDEBUG\x1b[0m",
		slog.LevelInfo:    "\x1b[92mINFO \x1b[0m",
		slog.LevelWarn:    "\x1b[93mWARN \x1b[0m",
		slog.LevelError:   "\x1b[91mERROR\x1b[0m",
		LevelCritical:     "\x1b[95mCRITICAL\x1b[0m",
		LevelCritical + 1: "\x1b[95mCRITICAL+1\x1b[0m",
	} {
		got, _ := coloured(t, Beautiful, level, "started", componentKey, "fullon.cache.tick", "n", 1)
		if want := "\x1b[2m03:04:05.006Z\x1b[0m " + want + " \x1b[36mtick:\x1b[0m started \x1b[2mn=\x1b[0m1\n"; got != want {
			t.Errorf("%v: got %q, want %q", level, got, want)
		}
	}
	got, _ := coloured(t, Minimal, slog.LevelInfo, "started", "n", 1)
	if want := "\x1b[92mINFO \x1b[0m started\n"; got != want {
		t.Errorf("minimal: got %q, want %q", got, want)
	}
}

// Where colours are on, those of the handler are the only escape sequences.
func TestColoursAreNotForValues(t *testing.T) {
	t.Parallel()
	sequences := regexp.MustCompile(`\x1b\[(0|2|36|9[1-5])m`)
	for _, evil := range []string{"\x1b[2Jx y", `\x1b[2J x`, "\u009b2J x", "a\xff\x1b", "\r\n\v\f\u2028\u2029", "\u202e"} {
		for format := range formats {
			with, without := coloured(t, format, slog.LevelInfo, evil,
				componentKey, evil, "symbol", evil, "k"+evil, 1, slog.Group("g"+evil, "k", evil))
			if got := sequences.ReplaceAllString(with, ""); got != without || strings.Contains(got, "\x1b") {
				t.Errorf("%s: %q came as %q", format, evil, with)
			}
		}
	}
}
