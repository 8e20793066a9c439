package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
)

func (a *app) ohlcvShow() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show EXCHANGE SYMBOL TIMEFRAME",
		Short:   "Draw the newest bars of a series as candles",
		Example: "  fulloncache ohlcv show kraken BTC/USD 1m",
		Long: `Draw the newest bars of a series as candles, and their volumes below: as many as fit, or
--count. A dotted line stands where bars are missing. With --json, the bars themselves.`,
		Args: cobra.ExactArgs(3),
	}
	count := cmd.Flags().Int("count", 0, "how many bars at most (0: as many as fit)")
	width := cmd.Flags().Int("width", 0, "columns (0: those of the terminal, or 80)")
	height := cmd.Flags().Int("height", 0, "lines (0: those of the terminal, or 24)")
	cmd.RunE = a.withSeries(func(cmd *cobra.Command, _ []string, c *fulloncache.Client, s fulloncache.Series) error {
		if *count < 0 {
			return usageError{fmt.Errorf("--count %d: want at least 0", *count)}
		}
		v := chart{series: s}
		v.width, v.height, v.colors = a.screen()
		if *width > 0 {
			v.width = *width
		}
		if *height > 0 {
			v.height = *height
		}
		n := *count
		if n == 0 {
			n = max(v.width, 1)
		}
		bars, err := c.OHLCV.Latest(cmd.Context(), s, n)
		if a.json || len(bars) == 0 {
			return a.printBars(bars, err)
		}
		v.candles = candlesOf(s, bars)
		if *count == 0 {
			v.step = min(2, v.width)
		}
		_, perr := fmt.Fprint(a.stdout, v.draw())
		return errors.Join(err, perr)
	})
	return cmd
}

// screen is how large the terminal is and whether it shows colours.
func (a *app) screen() (width, height int, colors bool) {
	f, ok := a.stdout.(*os.File)
	if !ok || !terminal(f) {
		return 80, 24, false
	}
	width, height, err := term.GetSize(f.Fd())
	if err != nil || width < 1 || height < 1 {
		width, height = 80, 24
	}
	return width, height - 1, os.Getenv("NO_COLOR") == "" // the prompt takes a line
}

// candle is a bar as it is drawn; or a gap, where bars are missing.
type candle struct {
	gap                             bool
	at                              time.Time
	open, high, low, closed, volume float64
	places                          int // of its prices
}

func candlesOf(s fulloncache.Series, bars []fulloncache.Bar) []candle {
	var list []candle
	var next time.Time
	for i, b := range bars {
		if i > 0 && !b.Time.Equal(next) {
			list = append(list, candle{gap: true})
		}
		if _, closes, err := s.Timeframe.Span(b.Time); err == nil {
			next = closes
		}
		c := candle{at: b.Time, open: b.Open.Float64(), high: b.High.Float64(), low: b.Low.Float64(), closed: b.Close.Float64(), volume: b.Volume.Float64()}
		for _, d := range []fulloncache.Decimal{b.Open, b.High, b.Low, b.Close} {
			if _, places, ok := strings.Cut(d.String(), "."); ok {
				c.places = max(c.places, len(places))
			}
		}
		list = append(list, c)
	}
	return list
}

// chart draws candles.
type chart struct {
	series        fulloncache.Series
	width, height int
	colors        bool
	step          int // columns a candle; 0: what fits
	candles       []candle

	high, low, volume float64 // the extremes
	places            int
}

// The lines of a chart beside the candles': a head, the volumes, an axis of times.
const (
	volumeLines = 3
	otherLines  = volumeLines + 2
	leastLines  = 4
)

// draw returns the chart, a line of text for each of its lines.
func (v *chart) draw() string {
	v.fit()
	lines := max(v.height-otherLines, leastLines)
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", v.head())
	for line := range lines {
		for i := range v.candles {
			v.cell(&b, i, v.glyph(&v.candles[i], line, lines))
		}
		if line%4 == 0 || line == lines-1 {
			price := v.high - (v.high-v.low)*(float64(line)+0.5)/float64(lines)
			fmt.Fprintf(&b, " ┤ %s", strconv.FormatFloat(price, 'f', v.places, 64))
		} else {
			b.WriteString(" │")
		}
		b.WriteByte('\n')
	}
	for line := range volumeLines {
		for i := range v.candles {
			v.cell(&b, i, v.block(&v.candles[i], volumeLines-1-line))
		}
		b.WriteString(" │")
		if line == 0 {
			fmt.Fprintf(&b, " %s", amount(v.volume))
		}
		b.WriteByte('\n')
	}
	b.WriteString(v.times())
	b.WriteByte('\n')
	return b.String()
}

// fit leaves those candles that there is room for, and finds their extremes.
func (v *chart) fit() {
	scan := func() {
		v.high, v.low, v.volume, v.places = math.Inf(-1), math.Inf(1), 0, 0
		for _, c := range v.candles {
			if !c.gap {
				v.high, v.low, v.volume, v.places = max(v.high, c.high), min(v.low, c.low), max(v.volume, c.volume), max(v.places, c.places)
			}
		}
	}
	scan()
	label := len(" ┤ ") - 2 + max(len(strconv.FormatFloat(v.high, 'f', v.places, 64)), len(amount(v.volume)))
	room := max(v.width-label, 10)
	if v.step == 0 {
		v.step = 1
		if 2*len(v.candles) <= room {
			v.step = 2
		}
	}
	if most := room / v.step; len(v.candles) > most {
		v.candles = v.candles[len(v.candles)-most:]
	}
	if v.candles[0].gap {
		v.candles = v.candles[1:]
	}
	scan()
}

// head says what is drawn.
func (v *chart) head() string {
	first, last := v.candles[0], v.candles[len(v.candles)-1]
	price := func(x float64) string { return strconv.FormatFloat(x, 'f', v.places, 64) }
	change := fmt.Sprintf("%+.2f %%", 100*(last.closed/first.open-1))
	return fmt.Sprintf("%s  %s to %s UTC  high %s  low %s  close %s  %s", v.series, first.at.Format("2006-01-02 15:04"), last.at.Format("2006-01-02 15:04"),
		price(v.high), price(v.low), price(last.closed), v.paint(change, last.closed >= first.open))
}

func (v *chart) paint(text string, rises bool) string {
	switch {
	case !v.colors:
		return text
	case rises:
		return green.Render(text)
	}
	return red.Render(text)
}

// cell writes what a candle shows in a line, and the space beside it.
func (v *chart) cell(b *strings.Builder, i int, glyph string) {
	c := &v.candles[i]
	if glyph != " " && !c.gap {
		glyph = v.paint(glyph, c.closed >= c.open)
	}
	b.WriteString(glyph)
	b.WriteString(strings.Repeat(" ", v.step-1))
}

// glyphs are what the upper and the lower half of a cell show: nothing, the wick or
// the body.
var glyphs = [3][3]string{{" ", "╷", "╻"}, {"╵", "│", "╽"}, {"╹", "╿", "┃"}}

func (v *chart) glyph(c *candle, line, lines int) string {
	if c.gap {
		return "┊"
	}
	halves := 2 * lines
	half := func(price float64) int {
		if v.high == v.low {
			return lines
		}
		return min(int((v.high-price)/(v.high-v.low)*float64(halves)), halves-1)
	}
	top, bottom := half(c.high), half(c.low)
	upper, lower := half(max(c.open, c.closed)), half(min(c.open, c.closed))
	part := func(at int) int {
		switch {
		case at >= upper && at <= lower:
			return 2
		case at >= top && at <= bottom:
			return 1
		}
		return 0
	}
	return glyphs[part(2*line)][part(2*line+1)]
}

// block is what a volume fills of a cell, so many cells above the lowest.
func (v *chart) block(c *candle, above int) string {
	if c.gap {
		return "┊"
	}
	eighths := 0
	if v.volume > 0 {
		eighths = int(math.Ceil(c.volume / v.volume * 8 * volumeLines))
	}
	blocks := []rune(" ▁▂▃▄▅▆▇█")
	return string(blocks[max(min(eighths-8*above, 8), 0)])
}

// amount is a volume for people: 4.01M.
func amount(x float64) string {
	unit := ""
	for _, u := range []string{"k", "M", "G", "T"} {
		if x < 1000 {
			break
		}
		x, unit = x/1000, u
	}
	return strconv.FormatFloat(x, 'g', 4, 64) + unit
}

// times is the axis of times: a mark under a candle, and its time beside it.
func (v *chart) times() string {
	layout := "01-02 15:04"
	if opens, closes, err := v.series.Timeframe.Span(v.candles[0].at); err == nil && closes.Sub(opens) >= 24*time.Hour {
		layout = "2006-01-02"
	}
	var b strings.Builder
	free := 0 // the first column that is free
	for i, c := range v.candles {
		if column := i * v.step; column >= free && !c.gap && (column+len(layout)+1 <= v.width || i == 0) {
			b.WriteString(strings.Repeat(" ", column-free))
			text := "└" + c.at.Format(layout)
			b.WriteString(text)
			free = column + 1 + len(layout)
			if next := (len(layout) + 3) / v.step * v.step; column+next > free {
				b.WriteString(strings.Repeat(" ", column+next-free))
				free = column + next
			}
		}
	}
	return strings.TrimRight(b.String(), " ")
}
