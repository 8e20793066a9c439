package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
)

func (a *app) pingCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ping",
		Short: "Ask every server for a sign of life",
		Example: `  fulloncache ping
  fulloncache ping --json`,
		Args: cobra.NoArgs,
		RunE: a.withClient(func(cmd *cobra.Command, _ []string, c *fulloncache.Client) error {
			start := time.Now()
			if err := c.Base.Ping(cmd.Context()); err != nil {
				return err
			}
			took := time.Since(start)
			return a.print(struct {
				OK        bool    `json:"ok"`
				LatencyMS float64 `json:"latency_ms"`
			}{true, float64(took.Microseconds()) / 1000}, "PONG in %s", took.Round(time.Microsecond))
		}),
	}
}

func (a *app) healthCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "health",
		Short: "Show version, role, memory and round-trip time of every server",
		Example: `  fulloncache health
  fulloncache health --json`,
		Args: cobra.NoArgs,
		RunE: a.withClient(func(cmd *cobra.Command, _ []string, c *fulloncache.Client) error {
			h, err := c.Base.Health(cmd.Context())
			if err != nil {
				return err
			}
			if a.json {
				return a.print(h, "")
			}
			if err := a.print(nil, "mode      %s\nbreaker   %s", h.Mode, h.Breaker); err != nil {
				return err
			}
			for _, n := range h.Nodes {
				limit := "no limit"
				if n.MaxMemory > 0 {
					limit = "of " + mebibytes(n.MaxMemory)
				}
				if err := a.print(nil, "\nnode      %s\nversion   %s\nrole      %s\nping      %s\nmemory    %s (%s, %s)\nclock     %s ahead of this machine",
					n.Addr, n.Version, n.Role, n.RoundTrip.Round(time.Microsecond), mebibytes(n.UsedMemory), limit, n.Policy, n.ClockOffset.Round(time.Microsecond)); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func (a *app) keysCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "keys [PATTERN]",
		Short: "List the keys of this prefix that match a glob pattern",
		Example: `  fulloncache keys
  fulloncache keys "tickers:*"`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
			pattern := "*"
			if len(args) > 0 {
				pattern = args[0]
			}
			for key, err := range c.Base.Keys(cmd.Context(), pattern) {
				if err != nil {
					return err
				}
				if err := a.print(map[string]string{"key": key}, "%s", key); err != nil {
					return err
				}
			}
			return nil
		}),
	}
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Show the version of this program",
		Example: "  fulloncache version",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			version, revision := "(devel)", ""
			if info, ok := debug.ReadBuildInfo(); ok {
				version = info.Main.Version
				for _, s := range info.Settings {
					if s.Key == "vcs.revision" {
						revision = s.Value
					}
				}
			}
			return a.print(struct {
				Version  string `json:"version"`
				Revision string `json:"revision,omitempty"`
				Go       string `json:"go"`
			}{version, revision, runtime.Version()}, "fulloncache %s (%s)", version, runtime.Version())
		},
	}
}

func (a *app) configCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "config",
		Short: "Show the effective settings, secrets masked",
		Example: `  fulloncache config
  fulloncache config --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			cfg, done, err := a.config()
			if err != nil {
				return err
			}
			defer done()
			for _, s := range cfg.Settings() {
				if err := a.print(map[string]string{"variable": s.Variable, "value": s.Value}, "%s=%s", s.Variable, s.Value); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
