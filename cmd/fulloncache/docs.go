package main

import (
	"fmt"
	"slices"
	"strings"

	"charm.land/glamour/v2"
	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache/docs"
)

func (a *app) docsCommand() *cobra.Command {
	all := false
	cmd := &cobra.Command{
		Use:   "docs [TOPIC [PAGE]]",
		Short: "Read the guides",
		Long: `Prints the guides that are part of this program: without a topic their list, with one
the guide. On a terminal it is rendered, elsewhere it is Markdown.

--all prints everything as one text, fit for a language model.`,
		Example: `  fulloncache docs
  fulloncache docs quickstart
  fulloncache docs api_reference tick
  fulloncache docs --all > fulloncache.md`,
		Args: cobra.MaximumNArgs(2),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return topicsBelow(args), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			switch {
			case all && len(args) > 0:
				return usageError{fmt.Errorf("--all prints all guides: leave %q out", strings.Join(args, " "))}
			case all && a.json:
				for _, t := range docs.Topics() {
					if err := a.printGuide(t); err != nil {
						return err
					}
				}
				return nil
			case all:
				_, err := fmt.Fprint(a.stdout, docs.Whole())
				return err
			case len(args) == 0:
				return table(a, []string{"TOPIC", "ABOUT"}, guides(), func(g guide) []string {
					return []string{strings.ReplaceAll(g.Topic, "/", " "), g.About}
				})
			}
			t := docs.Topic(strings.Join(args, "/"))
			if !slices.Contains(docs.Topics(), t) {
				return usageError{fmt.Errorf("no guide %q: one of %s", strings.Join(args, " "), strings.Join(topicsBelow(args[:len(args)-1]), ", "))}
			}
			return a.printGuide(t)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "print all guides as one text")
	return cmd
}

// guide is a line of the list, and with its text what --json prints.
type guide struct {
	Topic string `json:"topic"`
	About string `json:"about"`
	Text  string `json:"text,omitempty"`
}

func guides() []guide {
	var list []guide
	for _, t := range docs.Topics() {
		list = append(list, guide{Topic: string(t), About: t.About()})
	}
	return list
}

// topicsBelow lists what may follow the words.
func topicsBelow(words []string) []string {
	below := ""
	if len(words) > 0 {
		below = words[0] + "/"
	}
	var list []string
	for _, t := range docs.Topics() {
		if rest, ok := strings.CutPrefix(string(t), below); ok && !strings.Contains(rest, "/") && len(words) < 2 {
			list = append(list, rest)
		}
	}
	return list
}

func (a *app) printGuide(t docs.Topic) error {
	text := t.Text()
	switch {
	case a.json:
		return a.print(guide{string(t), t.About(), text}, "")
	case terminal(a.stdout):
		width, _, _ := a.screen()
		r, err := glamour.NewTermRenderer(glamour.WithEnvironmentConfig(), glamour.WithWordWrap(min(width, 100)))
		if err != nil {
			return err
		}
		if text, err = r.Render(text); err != nil {
			return fmt.Errorf("render %s: %w", t, err)
		}
	}
	_, err := fmt.Fprint(a.stdout, text)
	return err
}
