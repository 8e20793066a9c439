package logging_test

import (
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

	logging.Component("tick").Info("feed started", "exchange", "kraken")
	// Output: INF feed started exchange=kraken
}

func ExampleFromEnv() {
	_, err := logging.FromEnv(func(name string) (string, bool) { return "loud", name == "LOG_LEVEL" })
	fmt.Println(err)
	// Output: setting LOG_LEVEL="loud": want DEBUG, INFO, WARNING, WARN, ERROR or CRITICAL
}
