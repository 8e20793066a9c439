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

"docs commands" is the reference of this program. --all prints everything as one text, fit
for a language model.`,
		Example: `  fulloncache docs
  fulloncache docs commands
  fulloncache docs quickstart
  fulloncache docs api_reference tick
  fulloncache docs --all > fulloncache.md`,
		Args: cobra.MaximumNArgs(2),
		ValidArgsFunction: func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
			return topicsBelow(args), cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case all && len(args) > 0:
				return usageError{fmt.Errorf("--all prints all guides: leave %q out", strings.Join(args, " "))}
			case all && a.json:
				for _, t := range docs.Topics() {
					if err := a.printGuide(guideOf(t)); err != nil {
						return err
					}
				}
				return a.printGuide(commandsGuide(cmd))
			case all:
				_, err := fmt.Fprint(a.stdout, docs.Whole(), "\n", commandsGuide(cmd).Text)
				return err
			case len(args) == 0:
				return table(a, []string{"TOPIC", "ABOUT"}, guides(), func(g guide) []string {
					return []string{strings.ReplaceAll(g.Topic, "/", " "), g.About}
				})
			}
			t := docs.Topic(strings.Join(args, "/"))
			if t == commandsTopic {
				return a.printGuide(commandsGuide(cmd))
			}
			if !slices.Contains(docs.Topics(), t) {
				return usageError{fmt.Errorf("no guide %q: one of %s", strings.Join(args, " "), strings.Join(topicsBelow(args[:len(args)-1]), ", "))}
			}
			return a.printGuide(guideOf(t))
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
	return append(list, guide{Topic: commandsTopic, About: aboutCommands})
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
	if len(words) == 0 {
		list = append(list, commandsTopic)
	}
	return list
}

func guideOf(t docs.Topic) guide { return guide{string(t), t.About(), t.Text()} }

func (a *app) printGuide(g guide) error {
	text := g.Text
	switch {
	case a.json:
		return a.print(g, "")
	case terminal(a.stdout):
		width, _, _ := a.screen()
		r, err := glamour.NewTermRenderer(glamour.WithEnvironmentConfig(), glamour.WithWordWrap(min(width, 100)))
		if err != nil {
			return err
		}
		if text, err = r.Render(text); err != nil {
			return fmt.Errorf("render %s: %w", g.Topic, err)
		}
	}
	_, err := fmt.Fprint(a.stdout, text)
	return err
}

// commandsTopic is the guide that no file holds.
const (
	commandsTopic = "commands"
	aboutCommands = "Every command with its flags and examples, written by the program itself."
)

func commandsGuide(cmd *cobra.Command) guide {
	return guide{commandsTopic, aboutCommands, commandReference(cmd.Root())}
}

// commandReference is the reference of all commands, as Markdown.
func commandReference(root *cobra.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Commands\n\n%s\n\n%s\n", aboutCommands, root.Long)
	var walk func(cmd *cobra.Command)
	walk = func(cmd *cobra.Command) {
		if !cmd.IsAvailableCommand() && cmd != root {
			return
		}
		if cmd.Runnable() && cmd != root {
			text := cmd.Long
			if text == "" {
				text = cmd.Short + "."
			}
			fmt.Fprintf(&b, "\n## %s\n\n%s\n\n```\n%s\n```\n", cmd.CommandPath(), strings.TrimSpace(text), cmd.UseLine())
			if flags := cmd.NonInheritedFlags(); flags.HasAvailableFlags() {
				fmt.Fprintf(&b, "\nFlags:\n\n```\n%s\n```\n", strings.TrimRight(flags.FlagUsages(), "\n"))
			}
			if cmd.Example != "" {
				fmt.Fprintf(&b, "\nExamples:\n\n```\n%s\n```\n", cmd.Example)
			}
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
	}
	walk(root)
	return b.String()
}
