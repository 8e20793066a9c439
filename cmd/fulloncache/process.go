package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
)

func (a *app) processCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "process",
		Short: "See which processes are alive, and which have died",
		Long: `See which processes are alive, what they do, and which have died. A process is alive if it
was heard of within 1¾ of its heartbeat intervals, stale if it was not and did not stop: it
has crashed, hangs or is cut off. The clock is the server's.`,
		Example: `  fulloncache process list --type bot
  fulloncache process top
  fulloncache process health || echo "call somebody"`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usageError{errors.New("process: want a subcommand")} },
	}
	cmd.AddCommand(a.processList(), a.processTop(), a.processHealth(), a.processCleanup())
	return cmd
}

// filter adds the flags that say which processes are meant.
func filter(cmd *cobra.Command) func() (fulloncache.ProcessFilter, error) {
	kind := cmd.Flags().String("type", "", "only this type: "+join(fulloncache.ProcessTypes()))
	component := cmd.Flags().String("component", "", "only this component")
	since := cmd.Flags().Duration("since", 0, `only those that were heard of so recently, such as "5m"`)
	return func() (f fulloncache.ProcessFilter, _ error) {
		f = fulloncache.ProcessFilter{Type: fulloncache.ProcessType(*kind), Component: *component, Since: *since}
		if f.Type != "" {
			if err := f.Type.Validate(); err != nil {
				return f, usageError{err}
			}
		}
		if f.Since < 0 {
			return f, usageError{fmt.Errorf("--since %s: want at least 0", f.Since)}
		}
		return f, nil
	}
}

func join[T ~string](list []T) string {
	texts := make([]string, len(list))
	for i, t := range list {
		texts[i] = string(t)
	}
	return strings.Join(texts, ", ")
}

func (a *app) processList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the processes that are alive, or with --all also those that are not",
		Example: `  fulloncache process list
  fulloncache process list --type bot --component bot_1 --all
  fulloncache process list --since 1m --json`,
		Args: cobra.NoArgs,
	}
	filtered := filter(cmd)
	all := cmd.Flags().Bool("all", false, "also those that stopped or died within 24 h")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := filtered()
		if err != nil {
			return err
		}
		return a.withClient(func(cmd *cobra.Command, _ []string, c *fulloncache.Client) error {
			listing := c.Processes.Active(cmd.Context(), f)
			if *all {
				listing = c.Processes.List(cmd.Context(), f)
			}
			list, bad := readable(a, listing)
			err := table(a, []string{"TYPE", "COMPONENT", "STATUS", "HEARD", "UP", "HOST", "PID", "ID", "MESSAGE"}, list, func(p fulloncache.Process) []string {
				return []string{
					string(p.Type), p.Component, statusOf(p), people(p.Age), people(up(p)), p.Host, fmt.Sprint(p.PID), p.ID, firstLine(p.Message),
				}
			})
			if err == nil && bad > 0 {
				err = fmt.Errorf("%d processes could not be listed", bad)
			}
			return err
		})(cmd, args)
	}
	return cmd
}

// statusOf is a process's status for people: of one that is not heard of any
// more, that it is stale.
func statusOf(p fulloncache.Process) string {
	if p.Stale() {
		return "stale"
	}
	return string(p.Status)
}

// up is how long a process ran, or has run by now.
func up(p fulloncache.Process) time.Duration {
	ran := p.Heartbeat.Sub(p.Started)
	if p.Alive {
		ran += p.Age
	}
	return max(ran, 0)
}

// firstLine is the beginning of a text, for a cell of a table.
func firstLine(text string) string {
	const most = 60
	line, more, _ := strings.Cut(text, "\n")
	runes := []rune(strings.ReplaceAll(line, "\t", " "))
	if len(runes) > most || more != "" {
		return string(runes[:min(len(runes), most)]) + "…"
	}
	return string(runes)
}

func (a *app) processHealth() *cobra.Command {
	return &cobra.Command{
		Use:   "health",
		Short: "Show how all processes are; exit with 1 unless all are well",
		Long: `Show totals by type and status, and which processes are stale or in error. The exit code is
0 only if there is no such process and all can be read. A stale process stays one until it
is heard of again, or cleaned up: see "fulloncache process cleanup".`,
		Example: `  fulloncache process health
  fulloncache process health --json | jq .stale`,
		Args: cobra.NoArgs,
		RunE: a.withClient(func(cmd *cobra.Command, _ []string, c *fulloncache.Client) error {
			h, err := c.Processes.SystemHealth(cmd.Context())
			if err != nil && h.Time.IsZero() {
				return err
			}
			if perr := a.printSystemHealth(h); perr != nil {
				return perr
			}
			if err == nil && !h.Healthy {
				err = errors.New("not healthy: " + verdict(h))
			}
			return err
		}),
	}
}

// verdict says in a line how all are.
func verdict(h fulloncache.SystemHealth) string {
	return fmt.Sprintf("%d alive, %d stale, %d in error", h.Alive, len(h.Stale), len(h.Failed))
}

func (a *app) printSystemHealth(h fulloncache.SystemHealth) error {
	if a.json {
		return a.print(h, "")
	}
	healthy := "no"
	if h.Healthy {
		healthy = "yes"
	}
	if err := a.print(nil, "healthy   %s\nprocesses %s\ntypes     %s\nstatuses  %s", healthy, verdict(h), counted(h.Types), counted(h.Statuses)); err != nil {
		return err
	}
	for _, p := range slices.Concat(h.Stale, h.Failed) {
		what := fmt.Sprintf("heard of %s ago, it was %s", people(p.Age), p.Status)
		if p.Alive {
			what = "in error"
		}
		if p.Message != "" {
			what += ": " + firstLine(p.Message)
		}
		if err := a.print(nil, "%s on %s (pid %d): %s", p, p.Host, p.PID, what); err != nil {
			return err
		}
	}
	return nil
}

// counted is a count of each kind, for people.
func counted[K ~string](counts map[K]int) string {
	var list []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		list = append(list, fmt.Sprintf("%s %d", k, counts[k]))
	}
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

func (a *app) processCleanup() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Forget processes that stopped or died",
		Long: `Forget the processes that stopped or died, if they were last heard of long enough ago. Deaths
that nobody had noticed are reported to the queue of global errors first. The histories of
their components stay.`,
		Example: `  fulloncache process cleanup
  fulloncache process cleanup --older-than 0s`,
		Args: cobra.NoArgs,
	}
	older := cmd.Flags().Duration("older-than", 30*time.Minute, "only those that were last heard of at least so long ago")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *older < 0 {
			return usageError{fmt.Errorf("--older-than %s: want at least 0", *older)}
		}
		return a.withClient(func(cmd *cobra.Command, _ []string, c *fulloncache.Client) error {
			n, err := c.Processes.CleanupStale(cmd.Context(), *older)
			if perr := a.print(map[string]int{"forgotten": n}, "%d forgotten", n); perr != nil {
				return perr
			}
			return err
		})(cmd, args)
	}
	return cmd
}
