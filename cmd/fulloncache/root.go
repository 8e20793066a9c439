package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/logging"
)

// The exit codes.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// app is what the subcommands share.
type app struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	json           bool
}

// usageError is a mistake in the call.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// run runs the command and returns its exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{stdin: stdin, stdout: stdout, stderr: stderr}
	root := a.root()
	root.SetArgs(append([]string{}, args...)) // nil would mean those of the process
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	a.warn(err)
	var usage usageError
	if errors.As(err, &usage) || strings.HasPrefix(err.Error(), "unknown command") {
		a.warn(`see "fulloncache help"`)
		return exitUsage
	}
	return exitError
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "fulloncache",
		Short: "The shared real-time state of a trading system, on Redis",
		Long: `fulloncache looks into the shared real-time state of a trading system and feeds it.

It connects with the settings of the environment and .env: see "fulloncache config"
and .env.example. Output is text, or with --json one JSON object a line. Errors go to
standard error with exit code 1; mistakes in the call exit with 2.

"fulloncache completion" writes completions for your shell; "fulloncache docs commands"
prints all commands with their flags and examples.`,
		Example: `  fulloncache ping
  fulloncache tick watch kraken
  fulloncache docs quickstart`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.PersistentFlags().BoolVar(&a.json, "json", false, "print one JSON object a line")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		a.pingCommand(), a.healthCommand(), a.keysCommand(), a.versionCommand(), a.configCommand(),
		a.tickCommand(), a.replayCommand(), a.demoCommand(), a.demoBotCommand(),
		a.accountCommand(),
		a.databaseCommand(), a.exchangeCommand(), a.symbolCommand(),
		a.tradeCommand(),
		a.processCommand(), a.errorCommand(),
		a.botCommand(),
		a.ohlcvCommand(),
		a.orderCommand(),
		a.docsCommand(), a.doctorCommand(), a.examplesCommand(),
		a.migrateCommand(), a.benchCommand(),
	)
	mistakesAreUsage(root)
	return root
}

// mistakesAreUsage marks the errors of all commands' argument checks.
func mistakesAreUsage(cmd *cobra.Command) {
	if check := cmd.Args; check != nil {
		cmd.Args = func(cmd *cobra.Command, args []string) error {
			if err := check(cmd, args); err != nil {
				return usageError{fmt.Errorf("%s: %w", cmd.CommandPath(), err)}
			}
			return nil
		}
	}
	for _, sub := range cmd.Commands() {
		mistakesAreUsage(sub)
	}
}

// config reads the settings and sets logging up: to the file, and to the
// console only what an operator must see, for standard error is where the
// command itself speaks.
func (a *app) config() (fulloncache.Config, func(), error) {
	vars, err := fulloncache.Environment()
	if err != nil {
		return fulloncache.Config{}, nil, err
	}
	cfg, err := fulloncache.ConfigFrom(vars)
	if err != nil {
		return cfg, nil, err
	}
	logs, err := logging.FromEnv(func(name string) (string, bool) { v, ok := vars[name]; return v, ok })
	if err != nil {
		return cfg, nil, err
	}
	logs.Stderr = a.stderr
	logger, closer, err := logging.Setup(logs)
	if err != nil {
		return cfg, nil, err
	}
	was := slog.Default()
	slog.SetDefault(logger)
	cfg.Logger = logger
	return cfg, func() {
		slog.SetDefault(was)
		if err := closer.Close(); err != nil {
			a.warn("close the log:", err)
		}
	}, nil
}

// withClient runs do with a connected client.
func (a *app) withClient(do func(cmd *cobra.Command, args []string, c *fulloncache.Client) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		cfg, done, err := a.config()
		if err != nil {
			return err
		}
		defer done()
		c, err := fulloncache.New(cmd.Context(), cfg)
		if err != nil {
			return err
		}
		defer c.Close()
		return do(cmd, args, c)
	}
}

// print writes v as a line of JSON, or the text.
func (a *app) print(v any, text string, args ...any) error {
	if !a.json {
		_, err := fmt.Fprintf(a.stdout, text+"\n", args...)
		return err
	}
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(a.stdout, "%s\n", line)
	return err
}

// warn says something on standard error. Where that fails, there is nobody to
// tell.
func (a *app) warn(what ...any) {
	_, _ = fmt.Fprintln(a.stderr, append([]any{"fulloncache:"}, what...)...)
}

// terminal reports whether w is one.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}
