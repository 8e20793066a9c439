package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
)

func (a *app) tickCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "tick",
		Short:   "Read, follow, set and delete live prices",
		Example: "  fulloncache tick list",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return usageError{errors.New("tick: want a subcommand")} },
	}
	cmd.AddCommand(a.tickGet(), a.tickList(), a.tickAny(), a.tickWatch(), a.tickSet(), a.tickDelete())
	return cmd
}

// freshness adds the flags that say how old a price may be.
func freshness(cmd *cobra.Command) func() []fulloncache.ReadOption {
	maxAge := cmd.Flags().Duration("max-age", 0, `refuse a price that is older, such as "2s"`)
	alive := cmd.Flags().Duration("feed-alive", 0, "accept an older price while its feed was alive so recently")
	return func() []fulloncache.ReadOption {
		return []fulloncache.ReadOption{fulloncache.MaxAge(*maxAge), fulloncache.FeedAlive(*alive)}
	}
}

func (a *app) tickGet() *cobra.Command {
	cmd := &cobra.Command{Use: "get EXCHANGE SYMBOL", Short: "Show the newest tick of a market", Example: "  fulloncache tick get kraken BTC/USD --max-age 2s", Args: cobra.ExactArgs(2)}
	fresh := freshness(cmd)
	cmd.RunE = a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
		tick, err := c.Ticks.Get(cmd.Context(), fulloncache.Market{Exchange: args[0], Symbol: args[1]}, fresh()...)
		return a.printTick(tick, err)
	})
	return cmd
}

func (a *app) tickAny() *cobra.Command {
	cmd := &cobra.Command{Use: "any SYMBOL", Short: "Show the freshest tick of a symbol at any exchange", Example: "  fulloncache tick any BTC/USD --max-age 5s --prefer kraken,coinbase", Args: cobra.ExactArgs(1)}
	fresh := freshness(cmd)
	prefer := cmd.Flags().StringSlice("prefer", nil, "ask these exchanges only, and take the first that is fresh enough")
	cmd.RunE = a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
		opts := fresh()
		if len(*prefer) > 0 {
			opts = append(opts, fulloncache.Prefer(*prefer...))
		}
		tick, err := c.Ticks.Any(cmd.Context(), args[0], opts...)
		return a.printTick(tick, err)
	})
	return cmd
}

func (a *app) printTick(t fulloncache.Tick, err error) error {
	if err != nil {
		return err
	}
	text := fmt.Sprintf("%s  %s", t.Market, t.Price)
	for _, f := range []struct {
		name  string
		value fulloncache.NullDecimal
	}{{"bid", t.Bid}, {"ask", t.Ask}, {"last", t.Last}, {"volume", t.Volume}} {
		if f.value.Valid {
			text += fmt.Sprintf("  %s %s", f.name, f.value)
		}
	}
	return a.print(t, "%s  at %s (%s ago)", text, t.Time.Format(time.RFC3339Nano), age(t))
}

// age is how old a tick is, for people.
func age(t fulloncache.Tick) string { return people(t.Age(time.Now())) }

func (a *app) tickList() *cobra.Command {
	cmd := &cobra.Command{Use: "list [EXCHANGE]", Short: "List the newest ticks of an exchange, or of all", Example: `  fulloncache tick list
  fulloncache tick list kraken --json`, Args: cobra.MaximumNArgs(1)}
	fresh := freshness(cmd)
	cmd.RunE = a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
		ticks := c.Ticks.All(cmd.Context(), fresh()...)
		if len(args) > 0 {
			ticks = c.Ticks.List(cmd.Context(), args[0], fresh()...)
		}
		return a.printTicks(ticks)
	})
	return cmd
}

func (a *app) printTicks(ticks iter.Seq2[fulloncache.Tick, error]) error {
	head := []string{"EXCHANGE", "SYMBOL", "PRICE", "BID", "ASK", "LAST", "VOLUME", "AGE"}
	return listing(a, "ticks", head, ticks, func(t fulloncache.Tick) []string {
		return []string{t.Exchange, t.Symbol, t.Price.String(), dash(t.Bid), dash(t.Ask), dash(t.Last), dash(t.Volume), age(t)}
	})
}

func dash(d fulloncache.NullDecimal) string {
	if !d.Valid {
		return "-"
	}
	return d.String()
}

func (a *app) tickWatch() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch EXCHANGE [SYMBOL...]",
		Short: "Follow an exchange, or some of its symbols, until interrupted",
		Example: `  fulloncache tick watch kraken
  fulloncache tick watch kraken BTC/USD --count 1 --json`,
		Long: `Follow an exchange, or some of its symbols: the current state first, then every update,
until interrupted. A disconnect is reported on standard error, and the watch goes on.`,
		Args: cobra.MinimumNArgs(1),
	}
	count := cmd.Flags().Int("count", 0, "end after so many updates (0: never)")
	cmd.RunE = a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
		stream := c.Ticks.StreamExchange(cmd.Context(), args[0])
		if len(args) > 1 {
			var markets []fulloncache.Market
			for _, symbol := range args[1:] {
				markets = append(markets, fulloncache.Market{Exchange: args[0], Symbol: symbol})
			}
			stream = c.Ticks.Stream(cmd.Context(), markets...)
		}
		seen := 0
		for u, err := range stream {
			if errors.Is(err, fulloncache.ErrInvalid) {
				return err
			}
			if err != nil {
				a.warn(err)
				continue
			}
			if err := a.printUpdate(u); err != nil {
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

func (a *app) printUpdate(u fulloncache.Update) error {
	if a.json && u.Deleted {
		return a.print(struct {
			fulloncache.Market
			Rev     int64 `json:"rev"`
			Deleted bool  `json:"deleted"`
		}{u.Tick.Market, u.Rev, true}, "")
	}
	if a.json {
		return a.print(struct {
			fulloncache.Tick
			Rev       int64 `json:"rev"`
			Conflated int   `json:"conflated,omitempty"`
		}{u.Tick, u.Rev, u.Conflated}, "")
	}
	if u.Deleted {
		return a.print(nil, "%s  deleted", u.Tick.Market)
	}
	more := ""
	if u.Conflated > 0 {
		more = fmt.Sprintf("  (stands for %d more)", u.Conflated)
	}
	return a.print(nil, "%s  %s  %s%s", u.Tick.Time.Format("15:04:05.000000"), u.Tick.Market, u.Tick.Price, more)
}

func (a *app) tickSet() *cobra.Command {
	cmd := &cobra.Command{Use: "set EXCHANGE SYMBOL PRICE", Short: "Set the tick of a market", Example: "  fulloncache tick set kraken BTC/USD 67123.4 --bid 67123.3 --ask 67123.5", Args: cobra.ExactArgs(3)}
	optional := map[string]*string{}
	for _, name := range []string{"bid", "ask", "last", "volume"} {
		optional[name] = cmd.Flags().String(name, "", name+", absent if not given")
	}
	when := cmd.Flags().String("time", "", "time of the tick, RFC 3339 or seconds since 1970 (default now)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		tick := fulloncache.Tick{Market: fulloncache.Market{Exchange: args[0], Symbol: args[1]}, Time: time.Now()}
		var err error
		if tick.Price, err = fulloncache.ParseDecimal(args[2]); err != nil {
			return usageError{err}
		}
		for name, to := range map[string]*fulloncache.NullDecimal{"bid": &tick.Bid, "ask": &tick.Ask, "last": &tick.Last, "volume": &tick.Volume} {
			if text := *optional[name]; text != "" {
				d, err := fulloncache.ParseDecimal(text)
				if err != nil {
					return usageError{fmt.Errorf("--%s: %w", name, err)}
				}
				*to = fulloncache.Some(d)
			}
		}
		if *when != "" {
			if tick.Time, err = parseWhen(*when); err != nil {
				return usageError{fmt.Errorf("--time: %w", err)}
			}
		}
		return a.withClient(func(cmd *cobra.Command, _ []string, c *fulloncache.Client) error {
			if err := c.Ticks.Set(cmd.Context(), tick); err != nil {
				return err
			}
			return a.printTick(tick, nil)
		})(cmd, args)
	}
	return cmd
}

func (a *app) tickDelete() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delete EXCHANGE [SYMBOL]",
		Short: "Delete the tick of a market, or with --all those of an exchange",
		Example: `  fulloncache tick delete kraken BTC/USD
  fulloncache tick delete kraken --all`,
		Args: cobra.RangeArgs(1, 2),
	}
	all := cmd.Flags().Bool("all", false, "delete all ticks of the exchange")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *all == (len(args) == 2) {
			return usageError{errors.New("tick delete: want a SYMBOL or --all")}
		}
		return a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
			deleted, err := deleteTicks(cmd.Context(), c, args)
			if err != nil {
				return err
			}
			return a.print(map[string]int{"deleted": deleted}, "%d deleted", deleted)
		})(cmd, args)
	}
	return cmd
}

func deleteTicks(ctx context.Context, c *fulloncache.Client, args []string) (int, error) {
	if len(args) == 1 {
		return c.Ticks.DeleteExchange(ctx, args[0])
	}
	return 1, c.Ticks.Delete(ctx, fulloncache.Market{Exchange: args[0], Symbol: args[1]})
}
