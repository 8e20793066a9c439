package logging_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"

	"github.com/fullon/fulloncache/logging"
)

func ExampleSetup() {
	dir, err := os.MkdirTemp("", "log")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	logger, closer, err := logging.Setup(logging.Config{Format: logging.Minimal, Stderr: os.Stdout, Dir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer closer.Close()
	was := slog.Default()
	slog.SetDefault(logger)
	defer slog.SetDefault(was)

	log := logging.Component("orders")
	log.Info("feed started", "exchange", "kraken")
	log.Log(context.Background(), logging.LevelCritical, "lease lost", "exchange", "kraken")
	log.Debug("not logged: the level is INFO")
	// Output:
	// INFO  feed started
	// CRITICAL lease lost
}

func ExampleComponent() {
	log := logging.Component("tick") // usually a package's variable

	was := slog.Default()
	defer slog.SetDefault(was)
	slog.SetDefault(slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{} // for an output that is always the same
			}
			return a
		},
	})))
	log.Info("feed started", "exchange", "kraken")
	// Output: level=INFO msg="feed started" component=fullon.cache.tick exchange=kraken
}

func ExampleFromEnv() {
	// os.LookupEnv, or one that knows the settings of a .env file too:
	settings := map[string]string{"LOG_LEVEL": "warning", "LOG_FORMAT": "fancy"}
	lookup := func(name string) (string, bool) { v, ok := settings[name]; return v, ok }

	_, err := logging.FromEnv(lookup)
	fmt.Println(err)

	settings["LOG_FORMAT"] = logging.Trading
	cfg, err := logging.FromEnv(lookup)
	fmt.Println(cfg.Level, cfg.Format, cfg.Dir, err)
	// Output:
	// setting LOG_FORMAT="fancy": want beautiful, minimal, development, detailed, trading or json
	// WARN trading /tmp/fullon_log <nil>
}
