package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/orm"
)

func (a *app) symbolCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "symbol",
		Short:   "Show, refresh, delete and import symbols",
		Example: "  fulloncache symbol list kraken",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return usageError{errors.New("symbol: want a subcommand")} },
	}
	cmd.AddCommand(a.symbolList(), a.symbolGet(), a.symbolRefresh(), a.symbolDelete(), a.symbolImport())
	return cmd
}

func (a *app) symbolList() *cobra.Command {
	cmd := &cobra.Command{Use: "list EXCHANGE", Short: "List the symbols of an exchange", Example: "  fulloncache symbol list kraken --search BTC", Args: cobra.ExactArgs(1)}
	search := cmd.Flags().String("search", "", "only those whose name, base or quote contains it")
	cmd.RunE = a.withMetadata(func(cmd *cobra.Command, args []string, c *fulloncache.Client, _ *orm.DB) error {
		list, err := c.Symbols.Search(cmd.Context(), *search, args[0])
		if err != nil {
			return err
		}
		return a.printSymbols(list)
	})
	return cmd
}

func (a *app) printSymbols(list []fulloncache.Symbol) error {
	return table(a, []string{"SYMBOL", "BASE", "QUOTE", "DECIMALS", "LOT", "MINIMUM", "ID"}, list, func(s fulloncache.Symbol) []string {
		return []string{s.Symbol, s.Base, s.Quote, strconv.Itoa(s.Decimals), strconv.Itoa(s.LotDecimals), dash(s.OrderMin), strconv.FormatInt(s.ID, 10)}
	})
}

func (a *app) symbolGet() *cobra.Command {
	return &cobra.Command{
		Use:     "get EXCHANGE SYMBOL",
		Short:   "Show a symbol",
		Example: "  fulloncache symbol get kraken BTC/USD",
		Args:    cobra.ExactArgs(2),
		RunE: a.withMetadata(func(cmd *cobra.Command, args []string, c *fulloncache.Client, _ *orm.DB) error {
			s, err := c.Symbols.Get(cmd.Context(), fulloncache.Market{Exchange: args[0], Symbol: args[1]})
			if err != nil {
				return err
			}
			return a.print(s, "%s  base %s  quote %s  decimals %d  lot decimals %d  minimum %s  (read %s ago)",
				s.Market, s.Base, s.Quote, s.Decimals, s.LotDecimals, dash(s.OrderMin), people(s.Age(time.Now())))
		}),
	}
}

func (a *app) symbolRefresh() *cobra.Command {
	return &cobra.Command{
		Use:     "refresh EXCHANGE",
		Short:   "Read the symbols of an exchange from the database, whatever is cached",
		Example: "  fulloncache symbol refresh kraken",
		Args:    cobra.ExactArgs(1),
		RunE: a.withMetadata(func(cmd *cobra.Command, args []string, c *fulloncache.Client, _ *orm.DB) error {
			list, err := c.Symbols.Refresh(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(map[string]any{"exchange": args[0], "symbols": len(list)}, "%d symbols of %s", len(list), args[0])
		}),
	}
}

func (a *app) symbolDelete() *cobra.Command {
	return &cobra.Command{
		Use:     "delete EXCHANGE SYMBOL",
		Short:   "Delete a symbol from the database and the caches, and its ticker",
		Example: "  fulloncache symbol delete kraken SOL/USD",
		Args:    cobra.ExactArgs(2),
		RunE: a.withMetadata(func(cmd *cobra.Command, args []string, c *fulloncache.Client, _ *orm.DB) error {
			m := fulloncache.Market{Exchange: args[0], Symbol: args[1]}
			if err := c.Symbols.Delete(cmd.Context(), m); err != nil {
				return err
			}
			return a.print(map[string]any{"exchange": m.Exchange, "symbol": m.Symbol, "deleted": true}, "%s deleted", m)
		}),
	}
}

func (a *app) symbolImport() *cobra.Command {
	i := symbolImport{intake: intake{app: a}}
	cmd := &cobra.Command{
		Use:     "import FILE",
		Short:   "Add or update symbols from an NDJSON file or standard input",
		Example: "  fulloncache symbol import symbols.ndjson",
		Long: `Add or update symbols in the database, and make the caches forget the old ones: from an
NDJSON file, or from standard input for "-", one JSON object a line with exchange, symbol,
base, decimals, lot_decimals and perhaps quote, order_min, ex_base, updateframe, backtest,
futures, only_ticker. Exchanges that the catalogue lacks are added to it. Where a symbol
comes twice, the later line counts.

A line that is malformed is reported with file, line and reason, and the rest goes on.`,
		Args: cobra.ExactArgs(1),
		RunE: a.withMetadata(func(cmd *cobra.Command, args []string, c *fulloncache.Client, _ *orm.DB) error {
			i.symbols = c.Symbols
			return i.run(cmd.Context(), args[0])
		}),
	}
	cmd.Flags().BoolVar(&i.strict, "strict", false, "stop at the first malformed line; what was imported before stays")
	return cmd
}

// symbolImport reads a file of symbols.
type symbolImport struct {
	intake
	symbols *fulloncache.SymbolCache
	batch   []fulloncache.Symbol
	at      map[fulloncache.Market]int // in the batch
	count   struct {
		Read     int   `json:"read"`
		Added    int   `json:"added"`
		Updated  int   `json:"updated"`
		Rejected int   `json:"rejected"`
		Elapsed  int64 `json:"elapsed_ms"`
	}
}

// importSize is how many symbols are stored at once.
const importSize = 5000

// run imports the file and prints the summary, also of what was done before a
// failure or an interrupt.
func (i *symbolImport) run(ctx context.Context, name string) error {
	begin := time.Now()
	i.at = make(map[fulloncache.Market]int)
	err := i.intake.run(ctx, name, func(l line) error { return i.take(ctx, l) })
	if err == nil {
		err = i.store(ctx)
	}
	i.count.Rejected, i.count.Elapsed = i.rejected, time.Since(begin).Milliseconds()
	if perr := i.print(i.count, "%d read: %d added, %d updated, %d rejected, in %d ms",
		i.count.Read, i.count.Added, i.count.Updated, i.count.Rejected, i.count.Elapsed); perr != nil {
		return errors.Join(err, perr)
	}
	return err
}

// take puts a symbol into the batch, and stores that when it is full.
func (i *symbolImport) take(ctx context.Context, l line) error {
	i.count.Read++
	s, err := parseSymbol(l.text)
	if err != nil {
		return i.reject(l.number, err)
	}
	if at, twice := i.at[s.Market]; twice {
		i.batch[at] = s
		return nil
	}
	i.at[s.Market] = len(i.batch)
	if i.batch = append(i.batch, s); len(i.batch) == importSize {
		return i.store(ctx)
	}
	return nil
}

// parseSymbol reads a line. Decimals that are missing are not none: an order
// would be rounded to whole units.
func parseSymbol(text []byte) (fulloncache.Symbol, error) {
	var raw struct {
		fulloncache.Symbol
		Decimals    *int `json:"decimals"`
		LotDecimals *int `json:"lot_decimals"`
	}
	if err := json.Unmarshal(text, &raw); err != nil {
		return fulloncache.Symbol{}, err
	}
	for _, f := range []struct {
		name     string
		from, to *int
	}{{"decimals", raw.Decimals, &raw.Symbol.Decimals}, {"lot_decimals", raw.LotDecimals, &raw.Symbol.LotDecimals}} {
		if f.from == nil {
			return fulloncache.Symbol{}, fmt.Errorf("symbol %s: %s is missing", raw.Market, f.name)
		}
		*f.to = *f.from
	}
	return raw.Symbol, raw.Validate()
}

// store stores the batch and begins the next.
func (i *symbolImport) store(ctx context.Context) error {
	if len(i.batch) == 0 {
		return nil
	}
	done, err := i.symbols.Upsert(ctx, i.batch)
	i.count.Added += done.Added
	i.count.Updated += done.Updated
	i.batch = i.batch[:0]
	clear(i.at)
	return err
}
