package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
)

func (a *app) errorCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "error",
		Short: "Look into the queue of errors of all components",
		Long: `Look into the queue of errors that all components report to: what needs an operator.
The library reports its own critical events there, such as the death of a process.`,
		Example: `  fulloncache error list
  fulloncache error push deployment "restarting the feeds"
  fulloncache error pop --wait 1m --json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usageError{errors.New("error: want a subcommand")} },
	}
	cmd.AddCommand(a.errorPush(), a.errorPop(), a.errorList())
	return cmd
}

func (a *app) errorPush() *cobra.Command {
	return &cobra.Command{
		Use:     "push COMPONENT MESSAGE",
		Short:   "Append an error; beyond the queue's cap the oldest goes",
		Example: `  fulloncache error push deployment "restarting the feeds"`,
		Args:    cobra.ExactArgs(2),
		RunE: a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
			e := fulloncache.GlobalError{Component: args[0], Message: args[1], Time: time.Now().UTC()}
			if err := c.Base.PushGlobalError(cmd.Context(), e); err != nil {
				return err
			}
			return a.printGlobalError(e)
		}),
	}
}

func (a *app) printGlobalError(e fulloncache.GlobalError) error {
	return a.print(e, "%s  %s  %s", e.Time.Format(time.RFC3339), e.Component, e.Message)
}

func (a *app) errorPop() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pop",
		Short: "Take the oldest error off the queue",
		Long:  `Take the oldest error off the queue, and show it. If there is none in time, exit with 1.`,
		Example: `  fulloncache error pop
  while fulloncache error pop --wait 1h --json; do :; done`,
		Args: cobra.NoArgs,
	}
	wait := cmd.Flags().Duration("wait", 0, "wait so long for one")
	cmd.RunE = a.withClient(func(cmd *cobra.Command, _ []string, c *fulloncache.Client) error {
		e, err := c.Base.PopGlobalError(cmd.Context(), *wait)
		if err != nil {
			return fmt.Errorf("global error: %w", err)
		}
		return a.printGlobalError(e)
	})
	return cmd
}

func (a *app) errorList() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "Show all errors in the queue, the oldest first, and leave them there",
		Example: `  fulloncache error list --json`,
		Args:    cobra.NoArgs,
		RunE: a.withClient(func(cmd *cobra.Command, _ []string, c *fulloncache.Client) error {
			list, bad := readable(a, c.Base.GlobalErrors(cmd.Context()))
			err := table(a, []string{"TIME", "COMPONENT", "MESSAGE"}, list, func(e fulloncache.GlobalError) []string {
				return []string{e.Time.Format(time.RFC3339), e.Component, e.Message}
			})
			if err == nil && bad > 0 {
				err = fmt.Errorf("%d errors could not be listed", bad)
			}
			return err
		}),
	}
}
