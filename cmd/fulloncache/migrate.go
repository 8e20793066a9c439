package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/legacy"
)

func (a *app) migrateCommand() *cobra.Command {
	opt := legacy.Options{}
	var to string
	var accounts, symbols []string
	var follow bool
	var every time.Duration
	cmd := &cobra.Command{
		Use:   "migrate --from URL",
		Short: "Move what the Python fullon_cache has in a Redis",
		Long: `Reads a Redis that the Python fullon_cache (0.5) fills, and writes what is there into the
one of the settings, or of --to. It never writes to the source, and refuses a target that
is the source. What the target has and is as new, or newer, stays: to run it again is safe.

Ids of orders and trades are moved once within --window, also if they were taken from the
target meanwhile. Blocks and marks of opening positions do not end in the source; here they
last for --block-ttl.

Some things the source does not say. Whose an exchange id ("ex_id") is: --account; without
it the positions and balances of that id are refused. Of which exchange bars are:
--bars-exchange. How a symbol without a slash is spelt, where no ticker of the source tells:
--symbol.

With --follow it goes on copying what changes, and shows the processes of the source, until
it is interrupted: for the time in which Python programs still run. Locks are not bridged: a
market that a Python bot has blocked is free here. Move whole markets at a time.

A report says what was moved, skipped and refused, and why. The exit code is 1 if something
was refused.`,
		Example: `  fulloncache migrate --from redis://old:6379/0 --dry-run
  fulloncache migrate --from redis://old:6379/0 --to redis://new:6379/0 --account 1=7@kraken --bars-exchange kraken
  fulloncache migrate --from redis://old:6379/0 --only ticks,bars --bars-exchange kraken --follow`,
		Args: cobra.NoArgs,
	}
	f := cmd.Flags()
	f.StringVar(&opt.Source, "from", "", "the Redis to read, redis://user:password@host:port/db")
	f.StringVar(&to, "to", "", "the Redis to write (default: that of the settings)")
	f.BoolVar(&opt.DryRun, "dry-run", false, "look, and write nothing")
	f.StringSliceVar(&opt.Kinds, "only", nil, "what to move, of "+strings.Join(legacy.Kinds(), ", ")+" (default: all)")
	f.StringArrayVar(&accounts, "account", nil, "whose an exchange id of the source is, ID=USER@EXCHANGE; may be repeated")
	f.StringVar(&opt.BarsExchange, "bars-exchange", "", "the exchange of the bars")
	f.StringArrayVar(&symbols, "symbol", nil, "how a symbol without a slash is spelt, BTCUSD=BTC/USD; may be repeated")
	f.DurationVar(&opt.BlockTTL, "block-ttl", time.Hour, "how long blocks and marks of opening positions last")
	f.DurationVar(&opt.Window, "window", 24*time.Hour, "for how long a trade or an order's id that was moved is not moved again")
	f.BoolVar(&follow, "follow", false, "go on copying what changes, until interrupted")
	f.DurationVar(&every, "every", time.Second, "how often to look for changes, with --follow")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var err error
		switch {
		case opt.Source == "":
			return usageError{errors.New("migrate: --from is missing")}
		case follow && opt.DryRun:
			return usageError{errors.New("migrate: --follow and --dry-run exclude each other")}
		case every <= 0:
			return usageError{fmt.Errorf("migrate: --every %s: want more than 0", every)}
		}
		if opt.Accounts, err = parseAccounts(accounts); err != nil {
			return usageError{err}
		}
		if opt.Symbols, err = pairs("--symbol", "BTCUSD=BTC/USD", symbols); err != nil {
			return usageError{err}
		}
		cfg, done, err := a.config()
		if err != nil {
			return err
		}
		defer done()
		opt.TradesCap, opt.OrdersCap = cfg.TradesCap, cfg.NewOrdersCap
		if to != "" {
			cfg.URL = to
		}
		c, err := fulloncache.New(cmd.Context(), cfg)
		if err != nil {
			return fmt.Errorf("target: %w", err)
		}
		defer c.Close()
		return a.migrate(cmd.Context(), c, opt, follow, every)
	}
	return cmd
}

// pairs reads NAME=VALUE of a flag.
func pairs(flag, want string, list []string) (map[string]string, error) {
	m := make(map[string]string, len(list))
	for _, text := range list {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" || value == "" {
			return nil, fmt.Errorf("migrate: %s %q: want %s", flag, text, want)
		}
		m[name] = value
	}
	return m, nil
}

func parseAccounts(list []string) (map[string]fulloncache.Account, error) {
	const want = "ID=USER@EXCHANGE, as 1=7@kraken"
	texts, err := pairs("--account", want, list)
	if err != nil {
		return nil, err
	}
	accounts := make(map[string]fulloncache.Account, len(texts))
	for id, text := range texts {
		user, exchange, _ := strings.Cut(text, "@")
		n, err := strconv.ParseInt(user, 10, 64)
		account := fulloncache.Account{UserID: n, Exchange: exchange}
		if err != nil || account.Validate() != nil {
			return nil, fmt.Errorf("migrate: --account %q: want %s", id+"="+text, want)
		}
		accounts[id] = account
	}
	return accounts, nil
}

// migrate moves, and reports also what was done before a failure or an interrupt.
func (a *app) migrate(ctx context.Context, c *fulloncache.Client, opt legacy.Options, follow bool, every time.Duration) (err error) {
	b := &bar{} // which draws nothing: what is followed has no end
	if !follow {
		b = newBar(a.stderr, nil)
	}
	opt.Progress = func(done, total int64) {
		b.total = total
		b.add(int(done - b.read))
	}
	m, err := legacy.Open(ctx, c, opt)
	if err != nil {
		return err
	}
	// What is said last is said also after an interrupt.
	defer func() { err = errors.Join(err, m.Close(context.WithoutCancel(ctx))) }()
	if follow {
		a.warn("following; locks are not bridged: a market that a Python bot has blocked is free here")
		refused := make(map[string]int) // what was said before, by kind
		return m.Follow(ctx, every, func(reports []legacy.Report, ferr error) {
			if ferr != nil && ctx.Err() == nil {
				a.warn(ferr)
			}
			for _, r := range reports {
				if r.Moved > 0 {
					// An output that is gone ends the command by itself.
					_ = a.print(r, "%s: %d moved", r.Kind, r.Moved)
				}
				if r.Refused != refused[r.Kind] {
					refused[r.Kind] = r.Refused
					for _, reason := range r.Reasons {
						if reason.Outcome == legacy.Refused {
							a.warn(reasonText(r.Kind, reason))
						}
					}
				}
			}
		})
	}
	reports, err := m.Run(ctx)
	b.done()
	return errors.Join(err, a.migrated(reports, opt.DryRun))
}

// migrated prints what became of everything.
func (a *app) migrated(reports []legacy.Report, dry bool) error {
	moved := "MOVED"
	if dry {
		moved = "WOULD MOVE"
	}
	err := table(a, []string{"KIND", "FOUND", moved, "SKIPPED", "REFUSED"}, reports, func(r legacy.Report) []string {
		return []string{r.Kind, strconv.Itoa(r.Found), strconv.Itoa(r.Moved), strconv.Itoa(r.Skipped), strconv.Itoa(r.Refused)}
	})
	if err != nil {
		return err
	}
	refused := 0
	for _, r := range reports {
		refused += r.Refused
		for _, reason := range r.Reasons {
			if a.json {
				continue // they are in the lines
			}
			if err := a.print(nil, "%s", reasonText(r.Kind, reason)); err != nil {
				return err
			}
		}
	}
	if refused > 0 {
		return fmt.Errorf("%d records were refused", refused)
	}
	return nil
}

// reasonText says why records of a kind were not moved, and names the first of them.
func reasonText(kind string, r legacy.Reason) string {
	more := ""
	if r.Count > len(r.Records) {
		more = ", …"
	}
	return fmt.Sprintf("%s: %d %s: %s (%s%s)", kind, r.Count, r.Outcome, r.Why, strings.Join(r.Records, ", "), more)
}
