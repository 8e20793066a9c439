package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/examples"
)

func (a *app) examplesCommand() *cobra.Command {
	names := func(_ *cobra.Command, args []string, _ string) (list []string, _ cobra.ShellCompDirective) {
		if len(args) == 0 {
			for _, e := range examples.List() {
				list = append(list, e.Name)
			}
		}
		return list, cobra.ShellCompDirectiveNoFileComp
	}
	cmd := &cobra.Command{
		Use:   "examples [NAME]",
		Short: "Show and run small programs, one for each subject",
		Long:  `Without a name lists the examples, with one prints its source, to be copied.`,
		Example: `  fulloncache examples
  fulloncache examples bot_coordination
  fulloncache examples run bot_coordination`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: names,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return table(a, []string{"NAME", "ABOUT"}, examples.List(), func(e examples.Example) []string { return []string{e.Name, e.About} })
			}
			text, err := examples.Source(args[0])
			if err != nil {
				return asUsage(err)
			}
			if a.json {
				return a.print(map[string]string{"name": args[0], "source": text}, "")
			}
			_, err = fmt.Fprint(a.stdout, text)
			return err
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use:               "run NAME",
		Short:             "Run an example on a private server",
		Example:           "  fulloncache examples run pubsub",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: names,
		RunE: func(cmd *cobra.Command, args []string) error {
			return asUsage(examples.Run(cmd.Context(), args[0], a.stdout))
		},
	})
	return cmd
}

// asUsage marks an error about the name of an example as a mistake in the call.
func asUsage(err error) error {
	if errors.Is(err, fulloncache.ErrInvalid) {
		return usageError{err}
	}
	return err
}
