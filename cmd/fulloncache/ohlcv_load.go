package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
)

func (a *app) ohlcvLoad() *cobra.Command {
	l := barLoad{app: a}
	cmd := &cobra.Command{
		Use:   "load FILE",
		Short: "Load bars from a CSV file or standard input",
		Long: `Load bars into a series, from a CSV file or, for "-", from standard input: a first line that
names the columns timestamp (or time, or date), open, high, low, close and volume, then a bar a
line; times are RFC 3339 or seconds since 1970. Bars that the series has are replaced; where a
time comes twice, the later line counts.

Nothing is dropped: the series keeps as many bars as it has then, unless --keep says how many.
A line that is malformed is reported with file, line and reason, and the rest goes on.`,
		Example: "  fulloncache ohlcv load candles.csv --exchange kraken --symbol BTC/USD --timeframe 1m",
		Args:    cobra.ExactArgs(1),
	}
	cmd.Flags().StringVar(&l.series.Exchange, "exchange", "", "the exchange")
	cmd.Flags().StringVar(&l.series.Symbol, "symbol", "", "the symbol")
	timeframe := cmd.Flags().String("timeframe", "", `how long the bars are, such as "1m"`)
	cmd.Flags().IntVar(&l.keep, "keep", 0, "how many bars the series holds from now on; the oldest go (0: all of them)")
	cmd.Flags().BoolVar(&l.strict, "strict", false, "stop at the first malformed line; what was loaded before stays")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var err error
		if l.series, err = seriesOf([]string{l.series.Exchange, l.series.Symbol, *timeframe}); err == nil {
			if err = l.series.Validate(); err != nil {
				err = usageError{err}
			}
		}
		if err != nil {
			return err
		}
		return a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
			l.bars = c.OHLCV
			return l.run(cmd.Context(), args[0])
		})(cmd, args)
	}
	return cmd
}

// barLoad loads a file of bars.
type barLoad struct {
	*app
	bars   *fulloncache.OHLCVCache
	series fulloncache.Series
	keep   int
	strict bool
	bar    *bar
	batch  []fulloncache.Bar
	at     map[time.Time]int // in the batch
	count  struct {
		Read int `json:"read"`
		fulloncache.Appended
		Rejected int   `json:"rejected"`
		Elapsed  int64 `json:"elapsed_ms"`
	}
}

// loadSize is how many bars are appended at once.
const loadSize = 10_000

// run loads the file and prints the summary, also of what was done before a failure or
// an interrupt.
func (l *barLoad) run(ctx context.Context, name string) error {
	begin := time.Now()
	l.bar = newBar(l.stderr, []string{name})
	err := l.file(ctx, name)
	l.bar.done()
	l.count.Elapsed = time.Since(begin).Milliseconds()
	perr := l.print(l.count, "%d read: %d added, %d replaced, %d unchanged, %d rejected, in %d ms", l.count.Read, l.count.Added,
		l.count.Replaced, l.count.Unchanged, l.count.Rejected, l.count.Elapsed)
	if l.count.Dropped > 0 {
		l.warn(fmt.Sprintf("%d of the oldest bars were dropped: %s keeps %d", l.count.Dropped, l.series, l.keep))
	}
	return errors.Join(err, perr)
}

func (l *barLoad) file(ctx context.Context, name string) error {
	in := io.NopCloser(l.stdin)
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		in = f
	}
	defer func() { _ = in.Close() }() // it is only read
	// Reading may block, as from a terminal; an interrupt ends it all the same.
	from, to := io.Pipe()
	defer context.AfterFunc(ctx, func() { _ = from.CloseWithError(ctx.Err()) })() // it never fails
	go func() {
		_, err := io.Copy(to, in)
		_ = to.CloseWithError(err) // it never fails
	}()
	defer func() { _ = from.Close() }() // likewise
	l.at = make(map[time.Time]int)
	for b, err := range fulloncache.ReadBars(progressReader{from, l.bar}, l.series.Timeframe) {
		if err != nil && !errors.Is(err, fulloncache.ErrInvalid) {
			return fmt.Errorf("%s: %w", name, err)
		}
		l.count.Read++
		if err != nil {
			if err = fmt.Errorf("%s: %w", name, err); l.strict {
				return errors.Join(l.store(ctx), err)
			}
			l.count.Rejected++
			l.bar.clear()
			l.warn(err)
			continue
		}
		if at, twice := l.at[b.Time]; twice {
			l.count.Replaced++
			l.batch[at] = b
			continue
		}
		l.at[b.Time] = len(l.batch)
		if l.batch = append(l.batch, b); len(l.batch) == loadSize {
			if err := l.store(ctx); err != nil {
				return err
			}
		}
	}
	return l.store(ctx)
}

func (l *barLoad) store(ctx context.Context) error {
	how := fulloncache.KeepAll()
	if l.keep != 0 {
		how = fulloncache.Keep(l.keep)
	}
	done, err := l.bars.Append(ctx, l.series, l.batch, how)
	l.count.Added += done.Added
	l.count.Replaced += done.Replaced
	l.count.Unchanged += done.Unchanged
	l.count.Dropped += done.Dropped
	l.batch = l.batch[:0]
	clear(l.at)
	return err
}

// progressReader tells a bar what is read.
type progressReader struct {
	io.Reader
	bar *bar
}

func (r progressReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	r.bar.add(n)
	return n, err
}
