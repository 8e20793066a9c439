package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
)

func (a *app) ohlcvCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "ohlcv",
		Short:   "Load, read, follow, resample, draw and delete bars",
		Example: "  fulloncache ohlcv latest kraken BTC/USD 1m",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return usageError{errors.New("ohlcv: want a subcommand")} },
	}
	cmd.AddCommand(a.ohlcvLoad(), a.ohlcvLatest(), a.ohlcvRange(), a.ohlcvResample(), a.ohlcvShow(), a.ohlcvWatch(), a.ohlcvSeries(), a.ohlcvDelete())
	return cmd
}

// seriesOf is the series that the arguments EXCHANGE SYMBOL TIMEFRAME name.
func seriesOf(args []string) (s fulloncache.Series, err error) {
	s.Market = fulloncache.Market{Exchange: args[0], Symbol: args[1]}
	if s.Timeframe, err = fulloncache.ParseTimeframe(args[2]); err != nil {
		return s, usageError{err}
	}
	return s, nil
}

// withSeries runs do with a connected client and the series that the arguments name.
func (a *app) withSeries(do func(cmd *cobra.Command, args []string, c *fulloncache.Client, s fulloncache.Series) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		s, err := seriesOf(args)
		if err != nil {
			return err
		}
		return a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
			return do(cmd, args, c, s)
		})(cmd, args)
	}
}

// span adds the flags that bound a span of time.
func span(cmd *cobra.Command) func() (from, to time.Time, err error) {
	first := cmd.Flags().String("from", "", "first time, RFC 3339 or seconds since 1970 (default: the oldest bar's)")
	last := cmd.Flags().String("to", "", "time at which to end, without it (default: behind the newest bar)")
	return func() (from, to time.Time, err error) {
		for _, bound := range []struct {
			name, text string
			to         *time.Time
		}{{"--from", *first, &from}, {"--to", *last, &to}} {
			if bound.text == "" {
				continue
			}
			if *bound.to, err = parseWhen(bound.text); err != nil {
				return from, to, usageError{fmt.Errorf("%s: %w", bound.name, err)}
			}
		}
		return from, to, nil
	}
}

// printBars prints what can be read, one bar a line, and returns why others cannot.
func (a *app) printBars(bars []fulloncache.Bar, err error) error {
	if err != nil && len(bars) == 0 {
		return err
	}
	return errors.Join(err, table(a, []string{"TIME", "OPEN", "HIGH", "LOW", "CLOSE", "VOLUME"}, bars, func(b fulloncache.Bar) []string {
		return []string{b.Time.Format(time.RFC3339), b.Open.String(), b.High.String(), b.Low.String(), b.Close.String(), b.Volume.String()}
	}))
}

func (a *app) ohlcvLatest() *cobra.Command {
	cmd := &cobra.Command{Use: "latest EXCHANGE SYMBOL TIMEFRAME", Short: "List the newest bars of a series", Example: "  fulloncache ohlcv latest kraken BTC/USD 1m --count 10", Args: cobra.ExactArgs(3)}
	count := cmd.Flags().Int("count", 10, "how many bars")
	cmd.RunE = a.withSeries(func(cmd *cobra.Command, _ []string, c *fulloncache.Client, s fulloncache.Series) error {
		return a.printBars(c.OHLCV.Latest(cmd.Context(), s, *count))
	})
	return cmd
}

func (a *app) ohlcvRange() *cobra.Command {
	cmd := &cobra.Command{Use: "range EXCHANGE SYMBOL TIMEFRAME", Short: "List the bars of a span of time", Example: "  fulloncache ohlcv range kraken BTC/USD 1h --from 2026-01-01T00:00:00Z --to 2026-01-02T00:00:00Z", Args: cobra.ExactArgs(3)}
	bounds := span(cmd)
	cmd.RunE = a.withSeries(func(cmd *cobra.Command, _ []string, c *fulloncache.Client, s fulloncache.Series) error {
		from, to, err := bounds()
		if err != nil {
			return err
		}
		return a.printBars(c.OHLCV.Range(cmd.Context(), s, from, to))
	})
	return cmd
}

func (a *app) ohlcvResample() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "resample EXCHANGE SYMBOL TIMEFRAME LONGER",
		Short: "List longer bars, made of those of a series",
		Long: `List bars of a longer timeframe, made of those of a series: one bar a line. The first and the
last one are made of what there is of them; where there is nothing, there is no bar. Weeks open
on Mondays and months on the first, at 00:00 UTC.`,
		Example: "  fulloncache ohlcv resample kraken BTC/USD 1m 1h",
		Args:    cobra.ExactArgs(4),
	}
	bounds := span(cmd)
	cmd.RunE = a.withSeries(func(cmd *cobra.Command, args []string, c *fulloncache.Client, s fulloncache.Series) error {
		longer, err := fulloncache.ParseTimeframe(args[3])
		if err != nil {
			return usageError{err}
		}
		from, to, err := bounds()
		if err != nil {
			return err
		}
		bars, err := c.OHLCV.Range(cmd.Context(), s, from, to)
		if err != nil {
			return err // what is corrupt would be missing from a sum
		}
		return a.printBars(fulloncache.Resample(bars, s.Timeframe, longer))
	})
	return cmd
}

func (a *app) ohlcvWatch() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "watch EXCHANGE SYMBOL TIMEFRAME",
		Short:   "Follow a series until interrupted",
		Example: "  fulloncache ohlcv watch kraken BTC/USD 1m --json",
		Long: `Follow a series: its newest bar first, then every bar that is new or changes, until
interrupted. A disconnect is reported on standard error, and the watch goes on.`,
		Args: cobra.ExactArgs(3),
	}
	count := cmd.Flags().Int("count", 0, "end after so many updates (0: never)")
	cmd.RunE = a.withSeries(func(cmd *cobra.Command, _ []string, c *fulloncache.Client, s fulloncache.Series) error {
		seen := 0
		for u, err := range c.OHLCV.Stream(cmd.Context(), s) {
			if errors.Is(err, fulloncache.ErrInvalid) {
				return err
			}
			if err != nil {
				a.warn(err)
				continue
			}
			if err := a.printBarUpdate(u); err != nil {
				return err
			}
			if seen++; seen == *count {
				break
			}
		}
		return nil
	})
	return cmd
}

func (a *app) printBarUpdate(u fulloncache.BarUpdate) error {
	switch {
	case a.json && u.Deleted:
		return a.print(struct {
			fulloncache.Series
			Rev     int64 `json:"rev"`
			Deleted bool  `json:"deleted"`
		}{u.Series, u.Rev, true}, "")
	case a.json:
		return a.print(struct {
			fulloncache.Series
			fulloncache.Bar
			Rev int64 `json:"rev"`
		}{u.Series, u.Bar, u.Rev}, "")
	case u.Deleted:
		return a.print(nil, "%s  deleted", u.Series)
	}
	return a.print(nil, "%s  %s", u.Series, u.Bar)
}

func (a *app) ohlcvSeries() *cobra.Command {
	return &cobra.Command{
		Use:   "series [EXCHANGE]",
		Short: "List the series of an exchange, or of all",
		Example: `  fulloncache ohlcv series
  fulloncache ohlcv series kraken`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
			exchanges := args
			if len(args) == 0 {
				var err error
				if exchanges, err = c.OHLCV.Exchanges(cmd.Context()); err != nil {
					return err
				}
			}
			type row struct {
				fulloncache.Series
				Bars int `json:"bars"`
			}
			var rows []row
			var errs []error
			for _, exchange := range exchanges {
				list, err := c.OHLCV.Series(cmd.Context(), exchange)
				errs = append(errs, err)
				for _, s := range list {
					n, err := c.OHLCV.Len(cmd.Context(), s)
					errs = append(errs, err)
					rows = append(rows, row{s, n})
				}
			}
			errs = append(errs, table(a, []string{"EXCHANGE", "SYMBOL", "TIMEFRAME", "BARS"}, rows, func(r row) []string {
				return []string{r.Exchange, r.Symbol, string(r.Timeframe), fmt.Sprint(r.Bars)}
			}))
			return errors.Join(errs...)
		}),
	}
}

func (a *app) ohlcvDelete() *cobra.Command {
	return &cobra.Command{
		Use:     "delete EXCHANGE SYMBOL TIMEFRAME",
		Short:   "Delete a series",
		Example: "  fulloncache ohlcv delete kraken BTC/USD 1m",
		Args:    cobra.ExactArgs(3),
		RunE: a.withSeries(func(cmd *cobra.Command, _ []string, c *fulloncache.Client, s fulloncache.Series) error {
			if err := c.OHLCV.Delete(cmd.Context(), s); err != nil {
				return err
			}
			return a.print(struct {
				fulloncache.Series
				Deleted bool `json:"deleted"`
			}{s, true}, "%s deleted", s)
		}),
	}
}
