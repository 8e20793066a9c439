package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
)

func (a *app) processTop() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "top",
		Short: "Watch all processes live, in a table that can be sorted",
		Long: `Watch all processes live, in a table that can be sorted: t by type, c by component, s by
status, h by when they were last heard of, u by how long they are up; the same key again, or
r, turns the order round; a shows or hides those that stopped; arrows scroll; q ends.

With --json, or where the output is no terminal, each look is one line of JSON.`,
		Example: `  fulloncache process top
  fulloncache process top --type bot --sort heard --reverse
  fulloncache process top --json --count 1`,
		Args: cobra.NoArgs,
	}
	filtered := filter(cmd)
	every := cmd.Flags().Duration("interval", time.Second, "look so often")
	sortBy := cmd.Flags().String("sort", "status", "sort by "+join(sortNames()))
	reverse := cmd.Flags().Bool("reverse", false, "turn the order round")
	count := cmd.Flags().Int("count", 0, "end after so many looks (0: never)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		f, err := filtered()
		if err != nil {
			return err
		}
		column := slices.IndexFunc(topColumns[:], func(c topColumn) bool { return c.name == *sortBy })
		switch {
		case column < 0:
			return usageError{fmt.Errorf("--sort %q: want one of %s", *sortBy, join(sortNames()))}
		case *every < 50*time.Millisecond:
			return usageError{fmt.Errorf("--interval %s: want at least 50ms", *every)}
		case *count < 0:
			return usageError{fmt.Errorf("--count %d: want at least 0", *count)}
		}
		live := !a.json && terminal(a.stdout)
		if live {
			// What is logged to the terminal would spoil the view; the file has it.
			defer func(was io.Writer) { a.stderr = was }(a.stderr)
			a.stderr = io.Discard
		}
		return a.withClient(func(cmd *cobra.Command, _ []string, c *fulloncache.Client) error {
			t := topView{
				look: func() looked { return lookAt(cmd.Context(), c, f) }, every: *every, left: *count,
				column: column, reverse: *reverse, width: 100, height: 24,
			}
			if live {
				return t.show(cmd.Context(), a.stdin, a.stdout)
			}
			return a.printTop(cmd.Context(), t)
		})(cmd, args)
	}
	return cmd
}

// looked is what one look at the processes shows.
type looked struct {
	Time      time.Time             `json:"time"`
	Processes []fulloncache.Process `json:"processes"`
	err       error
}

func lookAt(ctx context.Context, c *fulloncache.Client, f fulloncache.ProcessFilter) looked {
	l := looked{Time: time.Now().UTC(), Processes: []fulloncache.Process{}}
	for p, err := range c.Processes.List(ctx, f) {
		if err != nil {
			l.err = errors.Join(l.err, err)
			continue
		}
		l.Processes = append(l.Processes, p)
	}
	return l
}

// printTop prints each look as a line of JSON.
func (a *app) printTop(ctx context.Context, t topView) error {
	again := time.NewTicker(t.every)
	defer again.Stop()
	for n := 1; ; n++ {
		l := t.look()
		if ctx.Err() != nil {
			return nil
		}
		if l.err != nil {
			a.warn(l.err)
		}
		t.sort(l.Processes)
		line := *a
		line.json = true
		if err := line.print(l, ""); err != nil {
			return err
		}
		if n == t.left {
			return l.err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-again.C:
		}
	}
}

// topColumn is a column by which the table can be sorted.
type topColumn struct {
	key, name string
	width     int
	compare   func(a, b fulloncache.Process) int
}

// urgency puts what needs somebody first.
var urgency = map[string]int{"stale": 1, "error": 2, "starting": 3, "processing": 4, "running": 5, "idle": 6, "stopped": 7}

var topColumns = [...]topColumn{
	{"t", "type", 20, func(a, b fulloncache.Process) int { return cmp.Compare(a.Type, b.Type) }},
	{"c", "component", 20, func(a, b fulloncache.Process) int { return cmp.Compare(a.Component, b.Component) }},
	{"s", "status", 11, func(a, b fulloncache.Process) int { return cmp.Compare(urgency[statusOf(a)], urgency[statusOf(b)]) }},
	{"h", "heard", 8, func(a, b fulloncache.Process) int { return cmp.Compare(a.Age, b.Age) }},
	{"u", "up", 9, func(a, b fulloncache.Process) int { return cmp.Compare(up(a), up(b)) }},
}

func sortNames() (names []string) {
	for _, c := range topColumns {
		names = append(names, c.name)
	}
	return names
}

// topView is the live table.
type topView struct {
	look    func() looked
	every   time.Duration
	left    int // looks until it ends; 0: never
	column  int
	reverse bool
	hidden  bool // those that stopped
	first   int  // the first row that is shown
	width   int
	height  int

	shown  looked // the last look at which all, or something, could be read
	failed error  // why the last one could not
}

func (v topView) show(ctx context.Context, in io.Reader, out io.Writer, options ...tea.ProgramOption) error {
	options = append(options, tea.WithContext(ctx), tea.WithInput(in), tea.WithOutput(out), tea.WithoutSignalHandler())
	_, err := tea.NewProgram(v, options...).Run()
	if errors.Is(err, tea.ErrProgramKilled) || errors.Is(err, tea.ErrInterrupted) {
		return nil // the context ended, or Ctrl-C
	}
	return err
}

func (v topView) Init() tea.Cmd { return v.ask() }

// ask looks, without holding up the keyboard.
func (v topView) ask() tea.Cmd {
	return func() tea.Msg { return v.look() }
}

type lookAgain struct{}

func (v topView) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case looked:
		if v.failed = msg.err; msg.err == nil || len(msg.Processes) > 0 {
			v.shown = msg
		}
		if v.left == 1 {
			return v, tea.Quit
		}
		v.left = max(v.left-1, 0)
		return v, tea.Tick(v.every, func(time.Time) tea.Msg { return lookAgain{} })
	case lookAgain:
		return v, v.ask()
	case tea.WindowSizeMsg:
		v.width, v.height = msg.Width, msg.Height
	case tea.KeyPressMsg:
		return v.press(msg.String())
	}
	return v, nil
}

func (v topView) press(key string) (tea.Model, tea.Cmd) {
	switch key {
	case "q", "ctrl+c", "esc":
		return v, tea.Quit
	case "r":
		v.reverse = !v.reverse
	case "a":
		v.hidden = !v.hidden
	case "down", "j":
		v.first++
	case "up", "k":
		v.first--
	case "pgdown":
		v.first += v.room()
	case "pgup":
		v.first -= v.room()
	default:
		at := slices.IndexFunc(topColumns[:], func(c topColumn) bool { return c.key == key })
		if at >= 0 {
			v.column, v.reverse = at, at == v.column && !v.reverse
		}
	}
	v.first = max(min(v.first, len(v.rows())-v.room()), 0)
	return v, nil
}

// room is how many rows there is room for.
func (v topView) room() int { return max(v.height-7, 1) }

func (v topView) sort(list []fulloncache.Process) {
	slices.SortStableFunc(list, func(a, b fulloncache.Process) int {
		order := topColumns[v.column].compare(a, b)
		if v.reverse {
			order = -order
		}
		return cmp.Or(order, cmp.Compare(a.Type, b.Type), cmp.Compare(a.Component, b.Component), cmp.Compare(a.ID, b.ID))
	})
}

// rows are the processes that are shown, in order.
func (v topView) rows() []fulloncache.Process {
	list := slices.DeleteFunc(slices.Clone(v.shown.Processes), func(p fulloncache.Process) bool {
		return v.hidden && p.Status == fulloncache.ProcessStopped
	})
	v.sort(list)
	return list
}

var yellow = lipgloss.NewStyle().Foreground(lipgloss.Color("11"))

// statusStyles are how statuses are shown.
var statusStyles = map[string]lipgloss.Style{
	"stale": red.Bold(true), "error": red, "starting": yellow, "running": green, "processing": green, "idle": faint, "stopped": faint,
}

func (v topView) View() tea.View {
	var b strings.Builder
	rows := v.rows()
	counts := make(map[string]int)
	for _, p := range v.shown.Processes {
		counts[statusOf(p)]++
	}
	fmt.Fprintf(&b, "%s  %d processes", bold.Render("fulloncache process top"), len(v.shown.Processes))
	for _, status := range []string{"stale", "error", "starting", "running", "processing", "idle", "stopped"} {
		if n := counts[status]; n > 0 {
			fmt.Fprintf(&b, "  %s", statusStyles[status].Render(fmt.Sprintf("%d %s", n, status)))
		}
	}
	b.WriteString("\n")
	switch {
	case v.failed != nil && v.shown.Time.IsZero():
		b.WriteString(red.Render(firstLine(v.failed.Error())))
	case v.failed != nil:
		b.WriteString(red.Render(fmt.Sprintf("as of %s ago: %s", people(time.Since(v.shown.Time)), firstLine(v.failed.Error()))))
	case v.shown.Time.IsZero():
		b.WriteString(faint.Render("looking…"))
	}
	b.WriteString("\n\n")

	head := ""
	for i, c := range topColumns {
		name := strings.ToUpper(c.name)
		if i == v.column {
			name += map[bool]string{false: " ↑", true: " ↓"}[v.reverse]
		}
		head += fmt.Sprintf("%-*s ", c.width, name)
	}
	b.WriteString(bold.Render(v.cut(head+fmt.Sprintf("%-12s %-7s %s", "HOST", "PID", "MESSAGE"))) + "\n")
	first := max(min(v.first, len(rows)-v.room()), 0)
	for _, p := range rows[first:min(first+v.room(), len(rows))] {
		b.WriteString(v.line(p) + "\n")
	}
	if more := len(rows) - first - v.room(); more > 0 {
		b.WriteString(faint.Render(fmt.Sprintf("… and %d more", more)) + "\n")
	}
	keys := make([]string, len(topColumns))
	for i, c := range topColumns {
		keys[i] = c.key
	}
	b.WriteString(faint.Render(v.cut(fmt.Sprintf("%s sort · r reverse · a stopped ones · ↑↓ scroll · q ends", strings.Join(keys, " ")))))
	view := tea.NewView(b.String())
	view.AltScreen = true
	return view
}

// line is a row, cut to the width of the screen.
func (v topView) line(p fulloncache.Process) string {
	status := statusOf(p)
	cells := []string{string(p.Type), p.Component, status, people(p.Age), people(up(p))}
	text := ""
	for i, c := range topColumns {
		text += fmt.Sprintf("%-*s ", c.width, clip(cells[i], c.width))
	}
	text = v.cut(text + fmt.Sprintf("%-12s %-7d %s", clip(p.Host, 12), p.PID, firstLine(p.Message)))
	// The style goes where the status is: it is no part of the width.
	at := topColumns[0].width + topColumns[1].width + 2
	runes := []rune(text)
	if end := at + len(status); len(runes) >= end {
		return string(runes[:at]) + statusStyles[status].Render(string(runes[at:end])) + string(runes[end:])
	}
	return text
}

// cut shortens a line to the width of the screen.
func (v topView) cut(text string) string { return clip(text, v.width) }

// clip shortens a text to so many characters.
func clip(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	return string(runes[:max(width-1, 0)]) + "…"
}
