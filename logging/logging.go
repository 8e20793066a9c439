// Package logging sets slog up for the programs of a trading system: a console
// in the format of one's taste, and a file that rotates. The library itself
// never does: it logs to the logger it is given.
//
//	cfg, err := logging.FromEnv(os.LookupEnv)
//	if err != nil {
//		return err
//	}
//	logger, closer, err := logging.Setup(cfg)
//	if err != nil {
//		return err
//	}
//	defer closer.Close()
//	slog.SetDefault(logger)
//	logging.Component("tick").Info("feed started", "exchange", "kraken")
package logging

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/DeRuina/timberjack"
	"github.com/mattn/go-isatty"
)

// LevelCritical is above slog.LevelError and shown as CRITICAL.
const LevelCritical = slog.Level(12)

// The formats.
const (
	Beautiful   = "beautiful"   // for eyes: time, coloured level, component, message
	Minimal     = "minimal"     // level and message
	Development = "development" // beautiful with the source line
	Detailed    = "detailed"    // everything, as key=value, UTC to the nanosecond
	Trading     = "trading"     // columns: time, level, component, operation, exchange, symbol, latency
	JSON        = "json"        // one JSON object a line
)

// Config says what is logged and where. The zero value is valid.
type Config struct {
	// Level is the lowest that is logged. Defaults to INFO.
	Level slog.Level
	// Format is one of the formats. Defaults to Beautiful.
	Format string
	// NoConsole turns the console off; the file stays.
	NoConsole bool
	// NoColors turns colours off. They are off anyway where the console is not a
	// terminal or NO_COLOR is set, and always in the file.
	NoColors bool
	// Dir is the folder of fullon_cache.log, made if it does not exist. Defaults
	// to /tmp/fullon_log.
	Dir string
	// Stderr is the console. Defaults to os.Stderr.
	Stderr io.Writer
}

const (
	defaultDir = "/tmp/fullon_log"
	fileName   = "fullon_cache.log"
	fileMB     = 10
	fileDays   = 7
)

// SettingError is a malformed setting.
type SettingError struct{ Variable, Value, Want string }

// Error names the variable, its value and what is accepted.
func (e *SettingError) Error() string {
	return fmt.Sprintf("setting %s=%q: want %s", e.Variable, e.Value, e.Want)
}

// FromEnv reads LOG_LEVEL, LOG_FORMAT, LOG_CONSOLE, LOG_COLORS, NO_COLOR and
// FULLON_CACHE_LOG_DIR through lookup, such as os.LookupEnv. Empty counts as
// unset. It returns a [SettingError].
func FromEnv(lookup func(name string) (string, bool)) (Config, error) {
	get := func(name, otherwise string) string {
		if v, ok := lookup(name); ok && v != "" {
			return v
		}
		return otherwise
	}
	cfg := Config{Format: strings.ToLower(get("LOG_FORMAT", Beautiful)), Dir: get("FULLON_CACHE_LOG_DIR", defaultDir)}
	levels := map[string]slog.Level{
		"DEBUG": slog.LevelDebug, "INFO": slog.LevelInfo, "WARN": slog.LevelWarn, "WARNING": slog.LevelWarn,
		"ERROR": slog.LevelError, "CRITICAL": LevelCritical,
	}
	var ok bool
	if cfg.Level, ok = levels[strings.ToUpper(get("LOG_LEVEL", "INFO"))]; !ok {
		return cfg, &SettingError{"LOG_LEVEL", get("LOG_LEVEL", ""), "DEBUG, INFO, WARNING, WARN, ERROR or CRITICAL"}
	}
	if formats[cfg.Format] == nil {
		return cfg, &SettingError{"LOG_FORMAT", get("LOG_FORMAT", ""), wantFormat}
	}
	for name, off := range map[string]*bool{"LOG_CONSOLE": &cfg.NoConsole, "LOG_COLORS": &cfg.NoColors} {
		switch strings.ToLower(get(name, "true")) {
		case "1", "t", "true", "yes", "on":
		case "0", "f", "false", "no", "off":
			*off = true
		default:
			return cfg, &SettingError{name, get(name, ""), "true or false"}
		}
	}
	cfg.NoColors = cfg.NoColors || get("NO_COLOR", "") != ""
	return cfg, nil
}

const wantFormat = "beautiful, minimal, development, detailed, trading or json"

// Setup opens the file and returns the logger; the closer closes the file. It
// does not change slog's default: that is for slog.SetDefault.
func Setup(cfg Config) (*slog.Logger, io.Closer, error) {
	if cfg.Format == "" {
		cfg.Format = Beautiful
	}
	if cfg.Dir == "" {
		cfg.Dir = defaultDir
	}
	if cfg.Stderr == nil {
		cfg.Stderr = os.Stderr
	}
	format := formats[cfg.Format]
	if format == nil {
		return nil, nil, &SettingError{"LOG_FORMAT", cfg.Format, wantFormat}
	}
	if err := os.MkdirAll(cfg.Dir, 0o755); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", &SettingError{"FULLON_CACHE_LOG_DIR", cfg.Dir, "a folder that can be written to"}, err)
	}
	path := filepath.Join(cfg.Dir, fileName)
	// The rotator opens the file with the first record: too late for a clear error.
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err == nil {
		err = f.Close()
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", &SettingError{"FULLON_CACHE_LOG_DIR", cfg.Dir, "a folder that can be written to"}, err)
	}
	file := &timberjack.Logger{Filename: path, MaxSize: fileMB, MaxAge: fileDays}
	handlers := []slog.Handler{format(file, cfg.Level, false)}
	if !cfg.NoConsole {
		handlers = append(handlers, format(cfg.Stderr, cfg.Level, !cfg.NoColors && colourful(cfg.Stderr)))
	}
	return slog.New(slog.NewMultiHandler(handlers...)), file, nil
}

// colourful reports whether w is a terminal.
func colourful(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
