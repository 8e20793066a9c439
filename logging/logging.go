// Package logging sets slog up for the programs of a trading system: a console
// in the format of one's taste, and a file that rotates. The library itself
// never does: it logs to the logger it is given.
//
// Nothing happens at import; only [Setup] makes a folder or a file. All times are
// UTC. A program begins like this:
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
	"io"
	"log/slog"
	"os"

	"github.com/mattn/go-isatty"
)

// LevelCritical is above slog.LevelError and shown as CRITICAL.
const LevelCritical = slog.Level(12)

// The formats. All but JSON keep a record on one line of text, whatever is logged.
const (
	// Beautiful is for eyes: time, coloured level, component, message, attributes.
	Beautiful = "beautiful"
	// Minimal is level and message; the file is as of Beautiful.
	Minimal = "minimal"
	// Development is Beautiful with the source line.
	Development = "development"
	// Detailed is everything as key=value, with times in nanoseconds.
	Detailed = "detailed"
	// Trading is columns: time in microseconds, level, component, operation,
	// exchange, symbol, latency_ms; then message and other attributes.
	Trading = "trading"
	// JSON is one object a line.
	JSON = "json"
)

// Config says what is logged and where. The zero value is valid: INFO and above,
// beautiful, to the console and to /tmp/fullon_log/fullon_cache.log.
type Config struct {
	// Level is the lowest that is logged. Defaults to INFO.
	Level slog.Level
	// Format is one of the formats. Defaults to Beautiful.
	Format string
	// NoConsole turns the console off; the file stays.
	NoConsole bool
	// NoColors turns colours off. They are off anyway where the console is not a
	// terminal, and always in the file; [FromEnv] heeds NO_COLOR.
	NoColors bool
	// Dir is the folder of fullon_cache.log, made if it does not exist; any number
	// of processes may share it. Defaults to /tmp/fullon_log.
	Dir string
	// Stderr is the console. Defaults to os.Stderr.
	Stderr io.Writer
}

const defaultDir = "/tmp/fullon_log"

func (c Config) withDefaults() Config {
	if c.Format == "" {
		c.Format = Beautiful
	}
	if c.Dir == "" {
		c.Dir = defaultDir
	}
	if c.Stderr == nil {
		c.Stderr = os.Stderr
	}
	return c
}

// Setup makes the folder, opens the file and returns the logger. The closer closes
// the file and waits for the rotator's goroutine; call it when the program ends.
// The file rotates at 10 MB; files older than 7 days are removed.
//
// Setup does not change slog's default: pass the logger to slog.SetDefault, so that
// [Component] loggers and the library's use it. A folder that cannot be used, or
// an unknown format, is a [*SettingError].
func Setup(cfg Config) (*slog.Logger, io.Closer, error) {
	cfg = cfg.withDefaults()
	format := formats[cfg.Format]
	if format == nil {
		return nil, nil, &SettingError{Variable: formatVariable, Value: cfg.Format, Want: wantFormat}
	}
	file, err := openFile(cfg.Dir)
	if err != nil {
		return nil, nil, &SettingError{Variable: dirVariable, Value: cfg.Dir, Want: wantDir, Err: err}
	}
	handlers := []slog.Handler{format(sink{w: file, level: cfg.Level, file: true})}
	if !cfg.NoConsole {
		colours := !cfg.NoColors && isTerminal(cfg.Stderr)
		handlers = append(handlers, format(sink{w: cfg.Stderr, level: cfg.Level, colours: colours}))
	}
	return slog.New(slog.NewMultiHandler(handlers...)), file, nil
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && (isatty.IsTerminal(f.Fd()) || isatty.IsCygwinTerminal(f.Fd()))
}
