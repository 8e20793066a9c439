package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
)

func (a *app) accountCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "account",
		Short:   "Show positions and balances of accounts, and apply fills",
		Example: "  fulloncache account positions",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return usageError{errors.New("account: want a subcommand")} },
	}
	cmd.AddCommand(a.accountPositions(), a.accountBalances(), a.accountApply())
	return cmd
}

// accountArgs takes no arguments, or USER and EXCHANGE, and one more.
func accountArgs(_ *cobra.Command, args []string) error {
	if len(args) == 1 || len(args) > 3 {
		return errors.New("want no arguments, or USER and EXCHANGE, and perhaps one of them")
	}
	return nil
}

// accountOf reads USER and EXCHANGE.
func accountOf(args []string) (account fulloncache.Account, err error) {
	user, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return account, usageError{fmt.Errorf("USER %q: want a number", args[0])}
	}
	return fulloncache.Account{UserID: user, Exchange: args[1]}, nil
}

var positionHead = []string{"USER", "EXCHANGE", "SYMBOL", "SIDE", "VOLUME", "PRICE", "COST", "PROFIT", "FEES", "TIME"}

func positionCells(p fulloncache.Position) []string {
	return []string{
		strconv.FormatInt(p.UserID, 10), p.Exchange, p.Symbol, string(p.Side), p.Volume.String(), p.AvgPrice.String(), p.Cost.String(),
		p.RealisedProfit.String(), p.Fees.String(), p.Time.Format(time.RFC3339Nano),
	}
}

func (a *app) printPosition(p fulloncache.Position, err error) error {
	if err != nil {
		return err
	}
	return a.print(p, "%s  cost %s  profit %s  fees %s  at %s", p, p.Cost, p.RealisedProfit, p.Fees, p.Time.Format(time.RFC3339Nano))
}

// withAccount runs a command whose arguments may name an account; one that is
// misspelt is refused before anything is asked.
func (a *app) withAccount(run func(ctx context.Context, args []string, c *fulloncache.Client, account fulloncache.Account) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		var account fulloncache.Account
		if len(args) > 0 {
			var err error
			if account, err = accountOf(args); err != nil {
				return err
			}
		}
		return a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
			return run(cmd.Context(), args, c, account)
		})(cmd, args)
	}
}

func (a *app) accountPositions() *cobra.Command {
	return &cobra.Command{
		Use:   "positions [USER EXCHANGE [SYMBOL]]",
		Short: "List the positions of all accounts or of one, or show the one in a symbol",
		Example: `  fulloncache account positions
  fulloncache account positions 7 kraken BTC/USD`,
		Long: `List the positions of all accounts or of one, or show the one in a symbol. A position that
is flat is shown as such; one of which nothing is known is an error.`,
		Args: accountArgs,
		RunE: a.withAccount(func(ctx context.Context, args []string, c *fulloncache.Client, account fulloncache.Account) error {
			if len(args) == 3 {
				p, err := c.Accounts.Position(ctx, account, args[2])
				return a.printPosition(p, err)
			}
			positions := c.Accounts.AllPositions(ctx)
			if len(args) > 0 {
				positions = c.Accounts.Positions(ctx, account)
			}
			return listing(a, "positions", positionHead, positions, positionCells)
		}),
	}
}

func (a *app) accountBalances() *cobra.Command {
	return &cobra.Command{
		Use:   "balances [USER EXCHANGE [CURRENCY]]",
		Short: "List the balances of all accounts or of one, or show the one in a currency",
		Example: `  fulloncache account balances
  fulloncache account balances 7 kraken USD`,
		Args: accountArgs,
		RunE: a.withAccount(func(ctx context.Context, args []string, c *fulloncache.Client, account fulloncache.Account) error {
			switch len(args) {
			case 3:
				b, err := c.Accounts.Balance(ctx, account, args[2])
				if err != nil {
					return err
				}
				return a.print(balanceOf(account, b), "%s: %s  free %s  used %s  total %s  at %s",
					account, b.Currency, b.Free, b.Used, b.Total(), b.Time.Format(time.RFC3339Nano))
			case 0:
				return a.printBalances(c.Accounts.Accounts(ctx))
			}
			return a.printBalances(func(yield func(fulloncache.AccountBalances, error) bool) {
				yield(c.Accounts.Account(ctx, account))
			})
		}),
	}
}

// ownBalance is a balance with its account.
type ownBalance struct {
	fulloncache.Account
	fulloncache.Balance
	Total fulloncache.Decimal `json:"total"`
}

func balanceOf(a fulloncache.Account, b fulloncache.Balance) ownBalance {
	return ownBalance{a, b, b.Total()}
}

// printBalances prints a balance a line.
func (a *app) printBalances(accounts iter.Seq2[fulloncache.AccountBalances, error]) error {
	each := func(yield func(ownBalance, error) bool) {
		for all, err := range accounts {
			for _, b := range all.Balances {
				yield(balanceOf(all.Account, b), nil) // listing takes them all
			}
			if err != nil {
				yield(ownBalance{}, err)
			}
		}
	}
	head := []string{"USER", "EXCHANGE", "CURRENCY", "FREE", "USED", "TOTAL", "TIME"}
	return listing(a, "balances", head, each, func(b ownBalance) []string {
		return []string{
			strconv.FormatInt(b.UserID, 10), b.Exchange, b.Currency, b.Free.String(), b.Used.String(), b.Total.String(), b.Time.Format(time.RFC3339Nano),
		}
	})
}

func (a *app) accountApply() *cobra.Command {
	f := fillImport{intake: intake{app: a}}
	cmd := &cobra.Command{
		Use:   "apply USER EXCHANGE SYMBOL SIDE VOLUME PRICE --id ID | apply --file FILE",
		Short: "Apply a fill to its position, or those of an NDJSON file",
		Example: `  fulloncache account apply 7 kraken BTC/USD buy 0.5 67000 --id T-1
  fulloncache account apply --file fills.ndjson`,
		Long: `Apply a fill to its position and show what it has become; or those of an NDJSON file, or of
standard input for "-", one JSON object a line with uid, exchange, symbol, ex_trade_id,
side, volume, price, time and perhaps cost and fee. The time is RFC 3339 or seconds since
1970. Each fill counts once, by its id, however often it is applied.

A line that is malformed is reported with file, line and reason, and the rest goes on.`,
	}
	flags := cmd.Flags()
	file := flags.String("file", "", `apply the fills of a file, "-" for standard input`)
	flags.Int64Var(&f.user, "user", 0, "with --file, the user of lines that have no uid")
	flags.BoolVar(&f.strict, "strict", false, "with --file, stop at the first malformed line; what was applied before counts")
	id := flags.String("id", "", "the exchange's id of the fill")
	cost := flags.String("cost", "", "what it cost (default volume times price)")
	fee := flags.String("fee", "0", "what it cost beside")
	when := flags.String("time", "", "its time, RFC 3339 or seconds since 1970 (default now)")
	cmd.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case *file != "" && len(args) > 0:
			return errors.New("want --file or a fill, not both")
		case *file == "" && len(args) != 6:
			return errors.New("want USER EXCHANGE SYMBOL SIDE VOLUME PRICE, or --file")
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var fill fulloncache.Trade
		if *file == "" {
			account, err := accountOf(args)
			if err != nil {
				return err
			}
			fill = fulloncache.Trade{
				Market: fulloncache.Market{Exchange: account.Exchange, Symbol: args[2]}, UserID: account.UserID,
				ExTradeID: *id, Side: fulloncache.Side(args[3]), Time: time.Now(),
			}
			for _, n := range []struct {
				name, text string
				to         *fulloncache.Decimal
			}{{"VOLUME", args[4], &fill.Volume}, {"PRICE", args[5], &fill.Price}, {"--cost", *cost, &fill.Cost}, {"--fee", *fee, &fill.Fee}} {
				if n.text == "" {
					continue
				}
				if *n.to, err = fulloncache.ParseDecimal(n.text); err != nil {
					return usageError{fmt.Errorf("%s: %w", n.name, err)}
				}
			}
			if *when != "" {
				if fill.Time, err = parseWhen(*when); err != nil {
					return usageError{fmt.Errorf("--time: %w", err)}
				}
			}
		}
		return a.withClient(func(cmd *cobra.Command, _ []string, c *fulloncache.Client) error {
			if *file == "" {
				p, err := c.Accounts.ApplyTrade(cmd.Context(), fill)
				return a.printPosition(p, err)
			}
			f.accounts = c.Accounts
			return f.run(cmd.Context(), *file)
		})(cmd, args)
	}
	return cmd
}

// fillImport applies the fills of a file.
type fillImport struct {
	intake
	accounts *fulloncache.AccountCache
	user     int64
	batch    []fulloncache.Trade
	numbers  []int // of their lines
	count    struct {
		Read       int   `json:"read"`
		Applied    int   `json:"applied"`
		Duplicates int   `json:"duplicates"`
		Outdated   int   `json:"outdated"`
		Rejected   int   `json:"rejected"`
		Elapsed    int64 `json:"elapsed_ms"`
	}
}

// fillsAtOnce is how many fills are applied at once.
const fillsAtOnce = 2000

// run applies the fills and prints the summary, also of what was done before a
// failure or an interrupt.
func (f *fillImport) run(ctx context.Context, name string) error {
	begin := time.Now()
	err := f.intake.run(ctx, name, func(l line) error {
		f.count.Read++
		fill, err := parseFill(l.text, f.user)
		if err != nil {
			return f.reject(l.number, err)
		}
		f.numbers = append(f.numbers, l.number)
		if f.batch = append(f.batch, fill); len(f.batch) == fillsAtOnce {
			return f.apply(ctx)
		}
		return nil
	})
	if err == nil {
		err = f.apply(ctx)
	}
	f.count.Rejected, f.count.Elapsed = f.rejected, time.Since(begin).Milliseconds()
	if perr := f.print(f.count, "%d read: %d applied, %d counted already, %d outdated, %d rejected, in %d ms",
		f.count.Read, f.count.Applied, f.count.Duplicates, f.count.Outdated, f.count.Rejected, f.count.Elapsed); perr != nil {
		return errors.Join(err, perr)
	}
	return err
}

// parseFill reads a line.
func parseFill(text []byte, user int64) (fulloncache.Trade, error) {
	raw := struct {
		fulloncache.Trade
		Time json.RawMessage `json:"time"`
	}{Trade: fulloncache.Trade{UserID: user}}
	if err := json.Unmarshal(text, &raw); err != nil {
		return fulloncache.Trade{}, err
	}
	var err error
	if raw.Trade.Time, err = parseWhen(string(bytes.Trim(raw.Time, `"`))); err != nil {
		return fulloncache.Trade{}, err
	}
	return raw.Trade, cmp.Or(raw.Validate(), fulloncache.Account{UserID: raw.UserID, Exchange: raw.Exchange}.Validate())
}

// apply applies the batch and begins the next.
func (f *fillImport) apply(ctx context.Context) error {
	applied, err := f.accounts.ApplyTrades(ctx, f.batch)
	f.count.Applied += applied.Applied
	f.count.Duplicates += applied.Duplicates
	numbers := f.numbers
	f.batch, f.numbers = f.batch[:0], f.numbers[:0]
	var failed *fulloncache.BatchError
	if !errors.As(err, &failed) {
		return err
	}
	for i, err := range failed.Errs {
		switch {
		case err == nil:
		case errors.Is(err, fulloncache.ErrOutdated):
			f.count.Outdated++
		case errors.Is(err, fulloncache.ErrInvalid), errors.Is(err, fulloncache.ErrCorrupt):
			if err := f.reject(numbers[i], err); err != nil {
				return err
			}
		default:
			return fmt.Errorf("%s:%d: %w", f.name, numbers[i], err)
		}
	}
	return nil
}
