package logging

import (
	"fmt"
	"log/slog"
	"strings"
)

// The settings, and what they accept.
const (
	levelVariable   = "LOG_LEVEL"
	formatVariable  = "LOG_FORMAT"
	consoleVariable = "LOG_CONSOLE"
	colorsVariable  = "LOG_COLORS"
	dirVariable     = "FULLON_CACHE_LOG_DIR"

	wantLevel  = "DEBUG, INFO, WARNING, WARN, ERROR or CRITICAL"
	wantFormat = "beautiful, minimal, development, detailed, trading or json"
	wantBool   = "true or false"
	wantDir    = "a folder that exists or can be made, and be written to"
)

// SettingError is a setting that cannot be used.
type SettingError struct {
	Variable string // Variable is the environment variable's name.
	Value    string // Value is what it was set to.
	Want     string // Want says what is accepted.
	Err      error  // Err is the cause, if there is one beyond the value.
}

// Error names the variable, its value and what is accepted.
func (e *SettingError) Error() string {
	s := fmt.Sprintf("setting %s=%q: want %s", e.Variable, e.Value, e.Want)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *SettingError) Unwrap() error { return e.Err }

// FromEnv reads LOG_LEVEL (INFO), LOG_FORMAT (beautiful), LOG_CONSOLE (true),
// LOG_COLORS (true), NO_COLOR and FULLON_CACHE_LOG_DIR (/tmp/fullon_log) through
// lookup: os.LookupEnv, or one that knows the .env file too. Upper and lower case
// are the same; empty counts as unset. A value that is not accepted is a
// [*SettingError].
func FromEnv(lookup func(name string) (value string, ok bool)) (Config, error) {
	get := func(name, otherwise string) string {
		if v, ok := lookup(name); ok && v != "" {
			return v
		}
		return otherwise
	}
	var cfg Config
	var ok bool
	level := get(levelVariable, "INFO")
	if cfg.Level, ok = levels[strings.ToUpper(level)]; !ok {
		return Config{}, &SettingError{Variable: levelVariable, Value: level, Want: wantLevel}
	}
	format := get(formatVariable, Beautiful)
	cfg.Format = strings.ToLower(format)
	if formats[cfg.Format] == nil {
		return Config{}, &SettingError{Variable: formatVariable, Value: format, Want: wantFormat}
	}
	for _, s := range []struct {
		variable string
		off      *bool
	}{{consoleVariable, &cfg.NoConsole}, {colorsVariable, &cfg.NoColors}} {
		value := get(s.variable, "true")
		on, ok := bools[strings.ToLower(value)]
		if !ok {
			return Config{}, &SettingError{Variable: s.variable, Value: value, Want: wantBool}
		}
		*s.off = !on
	}
	if get("NO_COLOR", "") != "" { // whatever its value: https://no-color.org
		cfg.NoColors = true
	}
	cfg.Dir = get(dirVariable, defaultDir)
	return cfg, nil
}

var levels = map[string]slog.Level{
	"DEBUG": slog.LevelDebug, "INFO": slog.LevelInfo, "WARNING": slog.LevelWarn, "WARN": slog.LevelWarn,
	"ERROR": slog.LevelError, "CRITICAL": LevelCritical,
}

var bools = map[string]bool{
	"1": true, "t": true, "true": true, "yes": true, "on": true,
	"0": false, "f": false, "false": false, "no": false, "off": false,
}
