package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math/big"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
)

func (a *app) tradeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "trade",
		Short:   "Push, look at and take trades, and show until when they are known",
		Example: "  fulloncache trade peek kraken BTC/USD",
		Long: `Trades wait in lists, one per market and one per user and exchange, until somebody takes
and stores them: see "fulloncache trade drain --help".`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usageError{errors.New("trade: want a subcommand")} },
	}
	cmd.AddCommand(a.tradePush(), a.tradePeek(), a.tradeDrain(), a.tradeStatus())
	return cmd
}

// pushFlags adds the flags that say how trades are pushed.
func pushFlags(cmd *cobra.Command) func() []fulloncache.PushOption {
	unique := cmd.Flags().Duration("unique", 0, `leave out trades that were pushed with this flag within such a time ("1h")`)
	drop := cmd.Flags().Bool("drop-oldest", false, "drop the oldest trades of a full list, and count them")
	return func() (opts []fulloncache.PushOption) {
		if *unique != 0 {
			opts = append(opts, fulloncache.Unique(*unique))
		}
		if *drop {
			opts = append(opts, fulloncache.DropOldest())
		}
		return opts
	}
}

func (a *app) tradePush() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "push EXCHANGE SYMBOL SIDE VOLUME PRICE --id ID",
		Short: "Append a trade to its market's list, or with --user to the user's",
		Long: `Append a trade to its market's list, or with --user to the list of the user and the
exchange. SIDE is buy or sell. Many trades are best appended by "fulloncache replay --trades".`,
		Example: `  fulloncache trade push kraken BTC/USD buy 0.5 67123.4 --id TX-1
  fulloncache trade push kraken BTC/USD sell 0.5 67123.4 --id TX-2 --user 7 --order-id O-1 --fee 0.3`,
		Args: cobra.ExactArgs(5),
	}
	var t fulloncache.Trade
	cmd.Flags().StringVar(&t.ExTradeID, "id", "", "the exchange's id of the trade (required)")
	cmd.Flags().StringVar(&t.ExOrderID, "order-id", "", "the exchange's id of the order that it fills")
	cmd.Flags().StringVar(&t.Type, "type", "", "the order's type: market, limit")
	cmd.Flags().Int64Var(&t.UserID, "user", 0, "append to the list of the user with this id")
	cmd.Flags().Int64Var(&t.ExchangeID, "account", 0, "id of the user's account")
	cost := cmd.Flags().String("cost", "", "in units of the quote (default VOLUME × PRICE)")
	fee := cmd.Flags().String("fee", "0", "in units of the quote, negative for a rebate")
	when := cmd.Flags().String("time", "", "time of the trade, RFC 3339 or seconds since 1970 (default now)")
	options := pushFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		t.Market, t.Side, t.Time = fulloncache.Market{Exchange: args[0], Symbol: args[1]}, fulloncache.Side(args[2]), time.Now()
		for _, n := range []struct {
			name, text string
			to         *fulloncache.Decimal
		}{{"VOLUME", args[3], &t.Volume}, {"PRICE", args[4], &t.Price}, {"--fee", *fee, &t.Fee}, {"--cost", *cost, &t.Cost}} {
			var err error
			if n.name == "--cost" && n.text == "" {
				t.Cost, err = costOf(t)
			} else {
				*n.to, err = fulloncache.ParseDecimal(n.text)
			}
			if err != nil {
				return usageError{fmt.Errorf("%s: %w", n.name, err)}
			}
		}
		if *when != "" {
			var err error
			if t.Time, err = parseWhen(*when); err != nil {
				return usageError{fmt.Errorf("--time: %w", err)}
			}
		}
		if err := t.Validate(); err != nil {
			return usageError{err}
		}
		return a.withClient(func(cmd *cobra.Command, _ []string, c *fulloncache.Client) error {
			push := c.Trades.Push
			if cmd.Flags().Changed("user") {
				push = c.Trades.PushUser
			}
			pushed, err := push(cmd.Context(), t, options()...)
			if err != nil {
				return err
			}
			return a.print(pushed, "%s", pushedText(pushed))
		})(cmd, args)
	}
	return cmd
}

func pushedText(p fulloncache.Pushed) string {
	return fmt.Sprintf("%d added, %d duplicates, %d dropped", p.Added, p.Duplicates, p.Dropped)
}

// costOf is price × volume, exactly.
func costOf(t fulloncache.Trade) (fulloncache.Decimal, error) {
	price, _ := new(big.Rat).SetString(t.Price.String())
	volume, _ := new(big.Rat).SetString(t.Volume.String())
	return fulloncache.ParseDecimal(price.Mul(price, volume).FloatString(2 * fulloncache.MaxDecimalPlaces))
}

// tradeList is a list of trades that arguments name: EXCHANGE SYMBOL, or EXCHANGE
// with --user.
type tradeList struct {
	market fulloncache.Market
	user   *int64 // nil: of the market
}

// listFlags adds the flag --user to a command that takes EXCHANGE [SYMBOL], and
// returns what they name.
func listFlags(cmd *cobra.Command) func(args []string) (tradeList, error) {
	user := cmd.Flags().Int64("user", 0, "the list of the user with this id, at EXCHANGE")
	return func(args []string) (l tradeList, err error) {
		l.market.Exchange = args[0]
		if cmd.Flags().Changed("user") {
			l.user = user
		}
		if (l.user != nil) == (len(args) == 2) {
			return l, usageError{fmt.Errorf("%s: want a SYMBOL or --user", cmd.CommandPath())}
		}
		if l.user == nil {
			l.market.Symbol = args[1]
		}
		return l, nil
	}
}

func (l tradeList) peek(ctx context.Context, c *fulloncache.Client, n int) iter.Seq2[fulloncache.Trade, error] {
	if l.user != nil {
		return c.Trades.PeekUser(ctx, *l.user, l.market.Exchange, n)
	}
	return c.Trades.Peek(ctx, l.market, n)
}

func (l tradeList) drain(ctx context.Context, c *fulloncache.Client, n int) (*fulloncache.TradeBatch, error) {
	if l.user != nil {
		return c.Trades.DrainUser(ctx, *l.user, l.market.Exchange, n)
	}
	return c.Trades.Drain(ctx, l.market, n)
}

// printTrade prints a trade in a line.
func (a *app) printTrade(t fulloncache.Trade) error {
	text := fmt.Sprintf("%s  %s  %s %s @ %s  cost %s  fee %s  id %s",
		t.Time.Format(time.RFC3339Nano), t.Market, t.Side, t.Volume, t.Price, t.Cost, t.Fee, t.ExTradeID)
	if t.UserID != 0 {
		text += fmt.Sprintf("  user %d", t.UserID)
	}
	if t.ExOrderID != "" {
		text += "  order " + t.ExOrderID
	}
	return a.print(t, "%s", text)
}

func (a *app) tradePeek() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "peek EXCHANGE [SYMBOL]",
		Short: "List the oldest trades of a market, or of a user, and leave them there",
		Long: `List the oldest trades of a market, or with --user those of a user at an exchange, one a
line, and leave them there. Those that somebody has taken and not yet acknowledged are not
listed: "fulloncache trade status EXCHANGE SYMBOL" counts them.`,
		Example: `  fulloncache trade peek kraken BTC/USD --limit 20
  fulloncache trade peek kraken --user 7 --json`,
		Args: cobra.RangeArgs(1, 2),
	}
	a.ofList(cmd, 10, func(ctx context.Context, c *fulloncache.Client, l tradeList, limit int) (bad int, err error) {
		for t, err := range l.peek(ctx, c, limit) {
			if errors.Is(err, fulloncache.ErrCorrupt) {
				bad++
				a.warn(err)
				continue
			}
			if err != nil {
				return bad, err
			}
			if err := a.printTrade(t); err != nil {
				return bad, err
			}
		}
		return bad, nil
	})
	return cmd
}

// ofList makes a command take a number of a list's trades. It fails if some
// elements are bad: no trades.
func (a *app) ofList(cmd *cobra.Command, limit int, take func(ctx context.Context, c *fulloncache.Client, l tradeList, limit int) (bad int, err error)) {
	n := cmd.Flags().Int("limit", limit, "how many trades at most")
	list := listFlags(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		l, err := list(args)
		if err != nil {
			return err
		}
		if *n < 1 {
			return usageError{fmt.Errorf("--limit %d: want at least 1", *n)}
		}
		return a.withClient(func(cmd *cobra.Command, _ []string, c *fulloncache.Client) error {
			bad, err := take(cmd.Context(), c, l, *n)
			if err == nil && bad > 0 {
				err = fmt.Errorf("%d elements are no trades", bad)
			}
			return err
		})(cmd, args)
	}
}

func (a *app) tradeDrain() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "drain EXCHANGE [SYMBOL]",
		Short: "Take the oldest trades of a market, or of a user, off and print them",
		Long: `Take the oldest trades of a market, or with --user those of a user at an exchange, print
them, one a line, and only then let them go. If they cannot be printed, because the disk is
full or nobody reads the pipe to its end, they go back to where they were; if the command is
killed, they come back by themselves after CACHE_TRADES_BATCH_TIMEOUT. A trade can thus be
printed twice, and none is lost. A file they are written to is on disk before they go.

What is no trade is reported to standard error and the global error queue, and goes.`,
		Example: `  fulloncache trade drain kraken BTC/USD --json >> trades.ndjson
  fulloncache trade drain kraken --user 7 --limit 100`,
		Args: cobra.RangeArgs(1, 2),
	}
	a.ofList(cmd, 1000, func(ctx context.Context, c *fulloncache.Client, l tradeList, limit int) (bad int, err error) {
		// A pipe that breaks is an error of a write, and not the end of the process.
		signal.Ignore(syscall.SIGPIPE)
		defer signal.Reset(syscall.SIGPIPE)
		batch, err := l.drain(ctx, c, limit)
		if err != nil {
			return 0, err
		}
		for _, err := range batch.Corrupt {
			a.warn(err)
		}
		err = a.handOver(ctx, batch.Trades)
		// Whoever interrupts now has what was printed.
		ctx = context.WithoutCancel(ctx)
		if err != nil {
			return 0, errors.Join(fmt.Errorf("the trades go back: %w", err), batch.Return(ctx))
		}
		if err := batch.Ack(ctx); err != nil {
			return 0, fmt.Errorf("these trades will be delivered again: %w", err)
		}
		return len(batch.Corrupt), nil
	})
	return cmd
}

// handOver prints trades and returns once whoever reads them has them.
func (a *app) handOver(ctx context.Context, trades []fulloncache.Trade) error {
	for _, t := range trades {
		if err := a.printTrade(t); err != nil {
			return err
		}
	}
	return received(ctx, a.stdout)
}

func (a *app) tradeStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [EXCHANGE [SYMBOL]]",
		Short: "Show until when trades are known, or how many wait",
		Long: `Show until when the trades of exchanges are known, with --users those of users: a crawler
goes on from there. Of a market, or of an exchange with --user, show how many trades wait
and how many somebody has taken and not yet acknowledged.`,
		Example: `  fulloncache trade status
  fulloncache trade status kraken --set 2026-01-02T03:04:05Z
  fulloncache trade status kraken BTC/USD
  fulloncache trade status kraken --user 7
  fulloncache trade status --users`,
		Args: cobra.MaximumNArgs(2),
	}
	user := cmd.Flags().Int64("user", 0, "the user with this id")
	users := cmd.Flags().Bool("users", false, "list users")
	set := cmd.Flags().String("set", "", "note a time, RFC 3339 or seconds since 1970, unless a later one is known")
	forget := cmd.Flags().Bool("delete", false, "forget the time")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		byUser := cmd.Flags().Changed("user")
		lengths := len(args) == 2 || byUser && len(args) == 1
		single := !lengths && (byUser || len(args) == 1)
		if *users && (byUser || len(args) > 0) || byUser && len(args) == 2 || (*set != "" || *forget) && !single || *set != "" && *forget {
			return usageError{errors.New("trade status: these arguments do not go together: see its --help")}
		}
		var when time.Time
		if *set != "" {
			var err error
			if when, err = parseWhen(*set); err != nil {
				return usageError{fmt.Errorf("--set: %w", err)}
			}
		}
		return a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
			ctx := cmd.Context()
			switch {
			case lengths:
				return a.printLength(ctx, c, args, *user)
			case !single && *users:
				return printStatuses(a, "USER", c.Trades.UserStatuses(ctx), func(s fulloncache.UserTradeStatus) (string, time.Time) {
					return strconv.FormatInt(s.UserID, 10), s.Time
				})
			case !single:
				return printStatuses(a, "EXCHANGE", c.Trades.Statuses(ctx), func(s fulloncache.TradeStatus) (string, time.Time) { return s.Exchange, s.Time })
			}
			var subject statusSubject
			if byUser {
				subject = userSubject(c.Trades, *user)
			} else {
				subject = exchangeSubject(c.Trades, args[0])
			}
			return a.status(ctx, subject, when, *forget)
		})(cmd, args)
	}
	return cmd
}

// statusSubject is an exchange or a user that has a status.
type statusSubject struct {
	name   string
	get    func(context.Context) (time.Time, error)
	set    func(context.Context, time.Time) error
	delete func(context.Context) (int, error)
	line   func(time.Time) any // for programs
}

func exchangeSubject(c *fulloncache.TradesCache, exchange string) statusSubject {
	return statusSubject{
		name:   exchange,
		get:    func(ctx context.Context) (time.Time, error) { return c.Status(ctx, exchange) },
		set:    func(ctx context.Context, t time.Time) error { return c.UpdateStatus(ctx, exchange, t) },
		delete: func(ctx context.Context) (int, error) { return c.DeleteStatuses(ctx, exchange) },
		line:   func(t time.Time) any { return fulloncache.TradeStatus{Exchange: exchange, Time: t} },
	}
}

func userSubject(c *fulloncache.TradesCache, user int64) statusSubject {
	return statusSubject{
		name:   fmt.Sprintf("user %d", user),
		get:    func(ctx context.Context) (time.Time, error) { return c.UserStatus(ctx, user) },
		set:    func(ctx context.Context, t time.Time) error { return c.UpdateUserStatus(ctx, user, t) },
		delete: func(ctx context.Context) (int, error) { return c.DeleteUserStatuses(ctx, user) },
		line:   func(t time.Time) any { return fulloncache.UserTradeStatus{UserID: user, Time: t} },
	}
}

// status shows a status, once it is set, or deletes it.
func (a *app) status(ctx context.Context, s statusSubject, set time.Time, forget bool) error {
	if forget {
		deleted, err := s.delete(ctx)
		if err != nil {
			return err
		}
		return a.print(map[string]int{"deleted": deleted}, "%d deleted", deleted)
	}
	if !set.IsZero() {
		if err := s.set(ctx, set); err != nil {
			return err
		}
	}
	t, err := s.get(ctx)
	if err != nil {
		return err
	}
	return a.print(s.line(t), "%s  known until %s (%s ago)", s.name, t.Format(time.RFC3339Nano), people(time.Since(t)))
}

// printStatuses prints what can be read, reports what cannot, and fails if there
// was such a thing.
func printStatuses[T any](a *app, subject string, statuses iter.Seq2[T, error], parts func(T) (string, time.Time)) error {
	var list []T
	bad := 0
	for s, err := range statuses {
		if err != nil {
			bad++
			a.warn(err)
			continue
		}
		list = append(list, s)
	}
	if err := table(a, []string{subject, "KNOWN UNTIL", "AGE"}, list, func(s T) []string {
		name, t := parts(s)
		return []string{name, t.Format(time.RFC3339Nano), people(time.Since(t))}
	}); err != nil {
		return err
	}
	if bad > 0 {
		return fmt.Errorf("%d statuses could not be listed", bad)
	}
	return nil
}

// printLength prints how many trades wait: of a market, or of a user.
func (a *app) printLength(ctx context.Context, c *fulloncache.Client, args []string, user int64) error {
	length := struct {
		Exchange string `json:"exchange"`
		Symbol   string `json:"symbol,omitempty"`
		UserID   int64  `json:"uid,omitzero"`
		Waiting  int    `json:"waiting"`
		InFlight int    `json:"in_flight"`
	}{Exchange: args[0]}
	var name string
	var err error
	if len(args) == 2 {
		m := fulloncache.Market{Exchange: args[0], Symbol: args[1]}
		length.Symbol, name = m.Symbol, m.String()
		length.Waiting, length.InFlight, err = c.Trades.Len(ctx, m)
	} else {
		length.UserID, name = user, fmt.Sprintf("user %d at %s", user, args[0])
		length.Waiting, length.InFlight, err = c.Trades.LenUser(ctx, user, args[0])
	}
	if err != nil {
		return err
	}
	return a.print(length, "%s  %d wait, %d in flight", name, length.Waiting, length.InFlight)
}

// tradeSource feeds trades to the lists of their markets.
func tradeSource(trades *fulloncache.TradesCache, opts []fulloncache.PushOption) source[fulloncache.Trade] {
	return source[fulloncache.Trade]{
		parse: parseTrade,
		when:  func(t *fulloncache.Trade) *time.Time { return &t.Time },
		push: func(ctx context.Context, list []fulloncache.Trade, count *counts) error {
			pushed, err := trades.PushMany(ctx, list, opts...)
			count.pushed.Added += pushed.Added
			count.pushed.Duplicates += pushed.Duplicates
			count.pushed.Dropped += pushed.Dropped
			return err
		},
		sum: func(c counts) (any, string) {
			return struct {
				Read int `json:"read"`
				fulloncache.Pushed
				Rejected int   `json:"rejected"`
				Elapsed  int64 `json:"elapsed_ms"`
			}{c.Read, c.pushed, c.Rejected, c.Elapsed}, fmt.Sprintf("%d read: %s, %d rejected, in %d ms", c.Read, pushedText(c.pushed), c.Rejected, c.Elapsed)
		},
	}
}

// parseTrade reads a line.
func parseTrade(text []byte) (t fulloncache.Trade, err error) {
	// What stands here takes the place of the trade's own.
	var raw struct {
		fulloncache.Trade
		Cost fulloncache.NullDecimal `json:"cost"`
		Time json.RawMessage         `json:"time"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return t, err
	}
	t = raw.Trade
	if t.Time, err = parseJSONTime(raw.Time); err != nil {
		return t, err
	}
	if t.Cost = raw.Cost.Decimal; !raw.Cost.Valid {
		if t.Cost, err = costOf(t); err != nil {
			return t, fmt.Errorf("cost is missing, and price × volume is no decimal: %w", err)
		}
	}
	return t, t.Validate()
}
