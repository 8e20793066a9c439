package orm

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/uptrace/bun"

	"github.com/fullon/fulloncache"
)

// Upsert adds the symbols that are new, and their exchanges to the catalogue, and
// updates those that differ, in one transaction of bulk statements; rows that are
// as asked for are not written. What symbols have of ID and CatExchangeID is
// ignored.
//
// A symbol that is not valid, or a market that comes twice, is
// [fulloncache.ErrInvalid], and nothing is written. The counts are exact, whoever
// else writes at the same time.
func (r *SymbolRepository) Upsert(ctx context.Context, symbols []fulloncache.Symbol) (fulloncache.Upserted, error) {
	what := fmt.Sprintf("upsert %d symbols", len(symbols))
	var done fulloncache.Upserted
	sorted, err := upsertable(symbols)
	if err != nil {
		return done, fmt.Errorf("%s: %w", what, err)
	}
	if len(sorted) == 0 {
		return done, nil
	}
	err = r.conn.atomically(ctx, what, func(c *conn) error {
		ids, err := c.catalogueIDs(ctx, what, sorted)
		if err != nil {
			return err
		}
		for chunk := range slices.Chunk(sorted, maxRows) {
			n, err := c.upsertSymbols(ctx, what, chunk, ids)
			if err != nil {
				return err
			}
			done.Added += n.Added
			done.Updated += n.Updated
		}
		return nil
	})
	if err != nil {
		return fulloncache.Upserted{}, err
	}
	return done, nil
}

// upsertable checks the symbols and sorts them by market.
func upsertable(symbols []fulloncache.Symbol) ([]fulloncache.Symbol, error) {
	for _, s := range symbols {
		if err := s.Validate(); err != nil {
			return nil, err
		}
	}
	sorted := slices.SortedFunc(slices.Values(symbols), func(a, b fulloncache.Symbol) int {
		return cmp.Or(cmp.Compare(a.Exchange, b.Exchange), cmp.Compare(a.Symbol, b.Symbol))
	})
	for i := 1; i < len(sorted); i++ {
		if sorted[i].Market == sorted[i-1].Market {
			return nil, fmt.Errorf("%w: %s comes twice", fulloncache.ErrInvalid, symbolName(sorted[i].Market))
		}
	}
	return sorted, nil
}

// catalogueIDs returns the ids of the symbols' exchanges by name, after adding to
// the catalogue those that it lacks.
func (c *conn) catalogueIDs(ctx context.Context, what string, sorted []fulloncache.Symbol) (map[string]int64, error) {
	var names []string
	for _, s := range sorted {
		names = append(names, s.Exchange)
	}
	names = slices.Compact(names)
	ids := make(map[string]int64, len(names))
	read := func(names []string) error {
		for chunk := range slices.Chunk(names, maxRows) {
			rows, err := query[catalogueRow](ctx, c, what, "SELECT cat_ex_id, name FROM cat_exchanges WHERE name IN (?)", bun.List(chunk))
			if err != nil {
				return err
			}
			for _, row := range rows {
				ids[row.Name] = row.ID
			}
		}
		return nil
	}
	if err := read(names); err != nil {
		return nil, err
	}
	// Only those that are missing: an insert takes an id even where it has nothing to
	// insert, and fullon's ids are 32 bits wide.
	missing := slices.DeleteFunc(names, func(name string) bool { _, ok := ids[name]; return ok })
	for chunk := range slices.Chunk(missing, maxRows) {
		rows := make([]bun.TupleValues, len(chunk))
		for i, name := range chunk {
			rows[i] = bun.Tuple([]any{name})
		}
		if _, err := c.exec(ctx, what, "INSERT INTO cat_exchanges (name) VALUES ? ON CONFLICT (name) DO NOTHING", bun.List(rows)); err != nil {
			return nil, err
		}
	}
	return ids, read(missing)
}

// upsertSymbols writes a chunk of symbols that are not as they are stored.
func (c *conn) upsertSymbols(
	ctx context.Context, what string, chunk []fulloncache.Symbol, ids map[string]int64,
) (done fulloncache.Upserted, err error) {
	markets := make([]bun.TupleValues, len(chunk))
	for i, s := range chunk {
		markets[i] = bun.Tuple([]any{ids[s.Exchange], s.Symbol})
	}
	stored, err := query[symbolRow](ctx, c, what,
		symbolsJoined+"WHERE (symbols.cat_ex_id, symbols.symbol) IN (VALUES ?)", bun.List(markets))
	if err != nil {
		return done, err
	}
	known := make(map[fulloncache.Market]fulloncache.Symbol, len(stored))
	for _, row := range stored {
		s := row.symbol()
		known[s.Market] = s
	}
	var rows []bun.TupleValues
	var planned fulloncache.Upserted
	for _, s := range chunk {
		old, exists := known[s.Market]
		s.ID, s.CatExchangeID = old.ID, ids[s.Exchange]
		if exists && s.Equal(old) {
			continue
		}
		if exists {
			planned.Updated++
		} else {
			planned.Added++
		}
		rows = append(rows, bun.Tuple([]any{
			c.symbolID(s.ID), s.CatExchangeID, s.Symbol, s.Base, s.Quote, null(s.ExBase), s.Decimals, s.LotDecimals,
			number{s.OrderMin}, s.UpdateFrame, s.Backtest, s.Futures, s.OnlyTicker,
		}))
	}
	if len(rows) == 0 {
		return done, nil
	}
	const statement = `INSERT INTO symbols (symbol_id, cat_ex_id, symbol, base, quote, ex_base, decimals, lot_decimals,
			order_min, updateframe, backtest, futures, only_ticker)
		VALUES ? ON CONFLICT (symbol, cat_ex_id) DO UPDATE SET
			base = excluded.base, quote = excluded.quote, ex_base = excluded.ex_base, decimals = excluded.decimals,
			lot_decimals = excluded.lot_decimals, order_min = excluded.order_min, updateframe = excluded.updateframe,
			backtest = excluded.backtest, futures = excluded.futures, only_ticker = excluded.only_ticker`
	if !c.postgres {
		// The transaction is the only one that writes: what was planned is what happens.
		_, err := c.exec(ctx, what, statement, bun.List(rows))
		return planned, err
	}
	// Somebody else may have written meanwhile. A row that was inserted has no older
	// version (xmax).
	inserted, err := query[bool](ctx, c, what, statement+`
		WHERE (symbols.base, symbols.quote, symbols.ex_base, symbols.decimals, symbols.lot_decimals, symbols.order_min,
			symbols.updateframe, symbols.backtest, symbols.futures, symbols.only_ticker)
		IS DISTINCT FROM (excluded.base, excluded.quote, excluded.ex_base, excluded.decimals, excluded.lot_decimals,
			excluded.order_min, excluded.updateframe, excluded.backtest, excluded.futures, excluded.only_ticker)
		RETURNING symbols.xmax = 0`, bun.List(rows))
	for _, added := range inserted {
		if added {
			done.Added++
		} else {
			done.Updated++
		}
	}
	return done, err
}

// symbolID is the id in an upsert. On PostgreSQL a row that exists comes with its
// id: else the insert would take a new one, every time, and fullon's ids are 32
// bits wide. On SQLite that would be a second conflict, and ids are 64 bits wide.
func (c *conn) symbolID(id int64) any {
	switch {
	case !c.postgres:
		return bun.Safe("NULL")
	case id == 0:
		return bun.Safe("DEFAULT")
	}
	return id
}
