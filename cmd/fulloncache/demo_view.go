package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"

	"github.com/fullon/fulloncache"
)

// show draws the live table until the context ends, the user quits or a failure
// comes.
func (d *demo) show(ctx context.Context, c *fulloncache.Client, mirror *fulloncache.Mirror, failures <-chan error) error {
	v := demoView{demo: d, ctx: ctx, c: c, mirror: mirror, rows: make(map[fulloncache.Market]*demoRow), height: 24}
	program := tea.NewProgram(v, tea.WithContext(ctx), tea.WithInput(d.stdin), tea.WithOutput(d.stdout), tea.WithoutSignalHandler())
	failed := make(chan error, 1)
	go func() {
		select {
		case err := <-failures:
			failed <- err
			program.Quit()
		case <-ctx.Done():
		}
	}()
	_, err := program.Run()
	if errors.Is(err, tea.ErrProgramKilled) || errors.Is(err, tea.ErrInterrupted) {
		err = nil // the context ended, or Ctrl-C
	}
	select {
	case ferr := <-failed:
		return errors.Join(err, ferr)
	default:
		return err
	}
}

// demoRow is what the view remembers of a market.
type demoRow struct {
	first, last fulloncache.Decimal
	rev         int64
	rate        float64 // updates a second, smoothed
	up          int     // whether the price rose (1) or fell (-1) last
}

// demoView is the live table.
type demoView struct {
	*demo
	ctx    context.Context
	c      *fulloncache.Client
	now    deskView
	said   string // what became of the last key
	failed error  // to look at the desk
	mirror *fulloncache.Mirror
	rows   map[fulloncache.Market]*demoRow
	drawn  time.Time
	lag    [3]time.Duration
	height int
}

type redraw time.Time

func again() tea.Cmd {
	return tea.Tick(100*time.Millisecond, func(t time.Time) tea.Msg { return redraw(t) })
}

func (v demoView) Init() tea.Cmd { return tea.Batch(again(), v.look()) }

// deskLooked is what a look at the desk brought.
type deskLooked struct {
	desk deskView
	err  error
}

// look looks at the desk, and again a little later.
func (v demoView) look() tea.Cmd {
	return func() tea.Msg {
		select {
		case <-v.ctx.Done():
		case <-time.After(250 * time.Millisecond):
		}
		desk, err := look(v.ctx, v.c)
		return deskLooked{desk, err}
	}
}

func (v demoView) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.KeyPressMsg:
		switch msg.String() {
		case "q", "ctrl+c", "esc":
			return v, tea.Quit
		case "k":
			v.said = v.killOne()
		}
	case tea.WindowSizeMsg:
		v.height = msg.Height
	case deskLooked:
		if v.failed = msg.err; msg.err == nil {
			v.now = msg.desk
		}
		return v, v.look()
	case redraw:
		v.read(time.Time(msg))
		return v, again()
	}
	return v, nil
}

// killOne kills a bot that has a market, if any has.
func (v demoView) killOne() string {
	var holders []string
	for _, b := range v.now.blocks {
		holders = append(holders, b.Holder)
	}
	name, err := v.desk.kill(holders...)
	switch {
	case err != nil:
		return err.Error()
	case name == "":
		return "no bot runs that holds a symbol"
	}
	return fmt.Sprintf("killed %s: its lease passes on within %s, its orders within %s; it restarts in %s", name, demoLease, demoVisibility, demoRestart)
}

// read takes the state of the mirror and the latencies since the last drawing.
func (v *demoView) read(now time.Time) {
	passed := now.Sub(v.drawn).Seconds()
	v.mu.Lock()
	defer v.mu.Unlock()
	for q := range v.mirror.All() {
		row := v.rows[q.Market()]
		if row == nil {
			row = &demoRow{first: q.Price(), last: q.Price()}
			v.rows[q.Market()] = row
		}
		if q.Rev() != row.rev {
			row.up = q.Price().Cmp(row.last)
			row.rev, row.last = q.Rev(), q.Price()
		}
		if !v.drawn.IsZero() {
			row.rate += (float64(v.updates[q.Market()])/passed - row.rate) * 0.2
		}
	}
	clear(v.updates)
	if len(v.recent) > 0 {
		v.lag = percentiles(v.recent)
		v.recent = v.recent[:0]
	}
	v.drawn = now
}

var (
	bold  = lipgloss.NewStyle().Bold(true)
	faint = lipgloss.NewStyle().Faint(true)
	green = lipgloss.NewStyle().Foreground(lipgloss.Color("10"))
	red   = lipgloss.NewStyle().Foreground(lipgloss.Color("9"))
)

func (v demoView) View() tea.View {
	var b strings.Builder
	elapsed := max(time.Since(v.start), time.Millisecond)
	fmt.Fprintf(&b, "%s  %s\n", bold.Render("fulloncache demo"), faint.Render(v.server))
	fmt.Fprintf(&b, "%d ticks/s written, %d/s seen, latency p50 %s p99 %s\n\n",
		int(float64(v.ticks.Load())/elapsed.Seconds()), int(float64(v.seen.Load())/elapsed.Seconds()),
		v.lag[0].Round(time.Microsecond), v.lag[2].Round(time.Microsecond))
	desk := v.deskLines()
	for _, line := range desk {
		fmt.Fprintln(&b, line)
	}
	fmt.Fprintln(&b, bold.Render(fmt.Sprintf("%-10s %-10s %14s %9s %9s %8s %9s", "EXCHANGE", "SYMBOL", "PRICE", "CHANGE", "SPREAD", "AGE", "UPDATES/S")))
	var quotes []fulloncache.Quote
	for q := range v.mirror.All() {
		quotes = append(quotes, q)
	}
	slices.SortFunc(quotes, func(a, b fulloncache.Quote) int { return strings.Compare(a.Market().String(), b.Market().String()) })
	room := max(v.height-8-len(desk), 1)
	for i, q := range quotes {
		if i == room {
			fmt.Fprintln(&b, faint.Render(fmt.Sprintf("… and %d more", len(quotes)-i)))
			break
		}
		fmt.Fprintln(&b, v.line(q))
	}
	b.WriteString(faint.Render("k kills a bot that holds a symbol, q or Ctrl-C ends"))
	if v.said != "" {
		b.WriteString("\n" + v.said)
	}
	if v.failed != nil {
		b.WriteString("\n" + red.Render(v.failed.Error()))
	}
	view := tea.NewView(b.String())
	view.AltScreen = true
	return view
}

func (v demoView) line(q fulloncache.Quote) string {
	t, row := q.Tick(), v.rows[q.Market()]
	change, rate, price := "-", "-", fmt.Sprintf("%14s", t.Price)
	if row != nil {
		change = fmt.Sprintf("%+.2f%%", (t.Price.Float64()/row.first.Float64()-1)*100)
		rate = fmt.Sprintf("%.1f", row.rate)
		switch {
		case row.up > 0:
			price = green.Render(price)
		case row.up < 0:
			price = red.Render(price)
		}
	}
	spread := "-"
	if t.Bid.Valid && t.Ask.Valid {
		spread = t.Ask.Decimal.Sub(t.Bid.Decimal).String()
	}
	text := fmt.Sprintf("%-10s %-10s %s %9s %9s %8s %9s", t.Exchange, t.Symbol, price, change, spread, q.Age().Round(time.Millisecond), rate)
	if !q.Connected() {
		return text + red.Render(" disconnected")
	}
	return text
}

// deskLines are the desk: who holds what, the orders, the positions, the processes
// and the candles.
func (v demoView) deskLines() []string {
	lines := []string{bold.Render(fmt.Sprintf("%-10s %-8s %-18s %8s %14s", "LEASE", "HOLDER", "TOKEN", "SINCE", "POSITION"))}
	for _, m := range demoMarkets {
		holder, token, since := faint.Render(fmt.Sprintf("%-8s", "free")), "", ""
		for _, b := range v.now.blocks {
			if b.Market == m {
				holder, token = green.Render(fmt.Sprintf("%-8s", b.Holder)), fmt.Sprint(b.Token)
				since = time.Since(b.Since).Round(time.Second).String()
			}
		}
		position := "flat"
		for _, p := range v.now.positions {
			if p.Symbol == m.Symbol && !p.Flat() {
				position = fmt.Sprintf("%s %s", p.Side, p.Volume)
			}
		}
		lines = append(lines, fmt.Sprintf("%-10s %s %-18s %8s %14s", m.Symbol, holder, token, since, position))
	}
	lines = append(lines, fmt.Sprintf("%s %d submitted, %d handled, %d delivered again, %d in the queue, %d with a bot",
		bold.Render("ORDERS   "), v.desk.submitted.Load(), v.desk.handled.Load(), v.desk.again.Load(), v.now.queue.Length, v.now.queue.Pending))
	var names []string
	for _, p := range v.now.processes {
		name := fmt.Sprintf("%s %s", p.Component, p.Status)
		switch {
		case p.Stale():
			name = red.Render(p.Component + " dead")
		case p.Status == fulloncache.ProcessRunning:
			name = green.Render(name)
		}
		names = append(names, name)
	}
	lines = append(lines, bold.Render("PROCESSES")+" "+strings.Join(names, ", "))
	if len(v.now.bars) > 0 {
		last := v.now.bars[len(v.now.bars)-1]
		lines = append(lines, fmt.Sprintf("%s %s %s open %s high %s low %s close %s",
			bold.Render("CANDLES  "), spark(v.now.bars), demoSeries, last.Open, last.High, last.Low, last.Close))
	}
	return append(lines, "")
}

// spark draws the closes of bars, each as high as it is among them.
func spark(bars []fulloncache.Bar) string {
	const levels = "▁▂▃▄▅▆▇█"
	low, high := bars[0].Close, bars[0].Close
	for _, b := range bars {
		if b.Close.Cmp(low) < 0 {
			low = b.Close
		}
		if b.Close.Cmp(high) > 0 {
			high = b.Close
		}
	}
	marks := []rune(levels)
	var line strings.Builder
	for _, b := range bars {
		at := 0
		if width := high.Sub(low).Float64(); width > 0 {
			at = int(b.Close.Sub(low).Float64() / width * float64(len(marks)-1))
		}
		line.WriteRune(marks[at])
	}
	return line.String()
}
