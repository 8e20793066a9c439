package main

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
)

func (a *app) botCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "bot",
		Short:   "Block and free markets, and show who has them and what bots say",
		Example: "  fulloncache bot status",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return usageError{errors.New("bot: want a subcommand")} },
	}
	cmd.AddCommand(a.botBlock(), a.botUnblock(), a.botBlocks(), a.botStatus())
	return cmd
}

func (a *app) botBlock() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "block EXCHANGE SYMBOL BOT",
		Short:   "Give a bot the exclusive right to trade a market, for a while",
		Example: "  fulloncache bot block kraken BTC/USD bot_1 --ttl 1h",
		Long: `Give a bot the exclusive right to trade a market, for a while. The same again prolongs
it. If another bot has it, that is told, with exit code 1.`,
		Args: cobra.ExactArgs(3),
	}
	ttl := cmd.Flags().Duration("ttl", 0, `for how long, such as "10m" (default CACHE_TTL_BLOCK)`)
	cmd.RunE = a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
		b, err := c.Bots.Block(cmd.Context(), fulloncache.Market{Exchange: args[0], Symbol: args[1]}, args[2], fulloncache.BlockOptions{TTL: *ttl})
		if err != nil {
			return err
		}
		return a.print(b, "%s  blocked by %s  until %s  token %d", b.Market, b.Holder, b.Until.Format(time.RFC3339), b.Token)
	})
	return cmd
}

func (a *app) botUnblock() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unblock EXCHANGE SYMBOL BOT",
		Short: "Free a market that a bot has, or with --force whoever has it",
		Example: `  fulloncache bot unblock kraken BTC/USD bot_1
  fulloncache bot unblock kraken BTC/USD operator --force`,
		Long: `Free a market that a bot has. If another bot has it, that is told, with exit code 1, and
nothing is changed, unless forced to: then its holder learns of that when it next
renews, and until then may trade.`,
		Args: cobra.ExactArgs(3),
	}
	force := cmd.Flags().Bool("force", false, "free it whoever has it, or if it cannot be read who has")
	cmd.RunE = a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
		m := fulloncache.Market{Exchange: args[0], Symbol: args[1]}
		if err := c.Bots.Unblock(cmd.Context(), m, args[2], fulloncache.UnblockOptions{Force: *force}); err != nil {
			return err
		}
		return a.print(struct {
			fulloncache.Market
			Unblocked bool `json:"unblocked"`
		}{m, true}, "%s  free", m)
	})
	return cmd
}

func (a *app) botBlocks() *cobra.Command {
	cmd := &cobra.Command{Use: "blocks [EXCHANGE...]", Short: "List who has which market, or with --opening who opens a position", Example: `  fulloncache bot blocks
  fulloncache bot blocks kraken --json`}
	opening := cmd.Flags().Bool("opening", false, "list positions that are being opened")
	cmd.RunE = a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
		list := c.Bots.Blocks(cmd.Context(), args...)
		if *opening {
			list = c.Bots.OpeningPositions(cmd.Context(), args...)
		}
		return listing(a, "blocks", []string{"EXCHANGE", "SYMBOL", "BOT", "SINCE", "UNTIL", "TOKEN"}, list, func(b fulloncache.Block) []string {
			return []string{b.Exchange, b.Symbol, b.Holder, b.Since.Format(time.RFC3339), b.Until.Format(time.RFC3339), strconv.FormatInt(b.Token, 10)}
		})
	})
	return cmd
}

// feedRow is a row of bot status.
type feedRow struct {
	bot, feed string
	said      fulloncache.BotFeed
}

func (a *app) botStatus() *cobra.Command {
	return &cobra.Command{
		Use:   "status [BOT]",
		Short: "Show what a bot says of its feeds, or what all do",
		Example: `  fulloncache bot status
  fulloncache bot status bot_1`,
		Args: cobra.MaximumNArgs(1),
		RunE: a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
			list := c.Bots.Bots(cmd.Context())
			if len(args) > 0 {
				s, err := c.Bots.Bot(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				list = func(yield func(fulloncache.BotStatus, error) bool) { yield(s, nil) }
			}
			if a.json {
				return listing(a, "bots", nil, list, nil)
			}
			rows := func(yield func(feedRow, error) bool) {
				for s, err := range list {
					if err != nil && !yield(feedRow{}, err) {
						return
					}
					for _, feed := range slices.Sorted(maps.Keys(s.Feeds)) {
						if !yield(feedRow{s.Bot, feed, s.Feeds[feed]}, nil) {
							return
						}
					}
				}
			}
			return listing(a, "bots", []string{"BOT", "FEED", "AGE", "STATUS"}, rows, func(r feedRow) []string {
				return []string{r.bot, r.feed, people(max(time.Since(r.said.Time), 0)), string(r.said.Status)}
			})
		}),
	}
}
