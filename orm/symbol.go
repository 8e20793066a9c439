package orm

import (
	"context"
	"errors"
	"fmt"

	"github.com/fullon/fulloncache"
)

// SymbolRepository is the table of symbols. It is a [fulloncache.SymbolStore].
type SymbolRepository struct{ conn *conn }

var _ fulloncache.SymbolStore = (*SymbolRepository)(nil)

// symbolColumns are the table's own; the exchange's name comes from the catalogue:
// symbolsJoined takes it from a join, symbolStored from within a RETURNING.
const (
	symbolColumns = `symbols.symbol_id, symbols.symbol, symbols.cat_ex_id, symbols.base, symbols.quote, symbols.ex_base,
	symbols.decimals, symbols.lot_decimals, symbols.order_min, symbols.updateframe, symbols.backtest,
	symbols.futures, symbols.only_ticker`
	symbolsJoined = "SELECT " + symbolColumns + ", c.name AS exchange FROM symbols JOIN cat_exchanges c ON c.cat_ex_id = symbols.cat_ex_id "
	symbolStored  = symbolColumns + ", (SELECT c.name FROM cat_exchanges c WHERE c.cat_ex_id = symbols.cat_ex_id) AS exchange"
)

type symbolRow struct {
	ID            int64  `bun:"symbol_id"`
	Exchange      string `bun:"exchange"`
	Symbol        string `bun:"symbol"`
	CatExchangeID int64  `bun:"cat_ex_id"`
	Base          string `bun:"base"`
	Quote         string `bun:"quote"`
	ExBase        string `bun:"ex_base"`
	Decimals      int    `bun:"decimals"`
	LotDecimals   int    `bun:"lot_decimals"`
	OrderMin      number `bun:"order_min"`
	UpdateFrame   string `bun:"updateframe"`
	Backtest      int    `bun:"backtest"`
	Futures       bool   `bun:"futures"`
	OnlyTicker    bool   `bun:"only_ticker"`
}

func (r symbolRow) symbol() fulloncache.Symbol {
	return fulloncache.Symbol{
		Market: fulloncache.Market{Exchange: r.Exchange, Symbol: r.Symbol}, ID: r.ID, CatExchangeID: r.CatExchangeID,
		Base: r.Base, Quote: r.Quote, ExBase: r.ExBase, Decimals: r.Decimals, LotDecimals: r.LotDecimals,
		OrderMin: r.OrderMin.NullDecimal, UpdateFrame: r.UpdateFrame, Backtest: r.Backtest,
		Futures: r.Futures, OnlyTicker: r.OnlyTicker,
	}
}

func (r *SymbolRepository) one(ctx context.Context, what, statement string, args ...any) (fulloncache.Symbol, error) {
	row, err := one[symbolRow](ctx, r.conn, what, statement, args...)
	return row.symbol(), err
}

// ByID returns the symbol of an id; [fulloncache.ErrNotFound] if there is none.
func (r *SymbolRepository) ByID(ctx context.Context, id int64) (fulloncache.Symbol, error) {
	return r.one(ctx, fmt.Sprintf("symbol %d", id), symbolsJoined+"WHERE symbols.symbol_id = ?", id)
}

// One returns the symbol of a market; [fulloncache.ErrNotFound] if there is none.
func (r *SymbolRepository) One(ctx context.Context, m fulloncache.Market) (fulloncache.Symbol, error) {
	what := symbolName(m)
	if !storable(m.Exchange) || !storable(m.Symbol) {
		return fulloncache.Symbol{}, notFound(what)
	}
	return r.one(ctx, what, symbolsJoined+"WHERE c.name = ? AND symbols.symbol = ?", m.Exchange, m.Symbol)
}

func symbolName(m fulloncache.Market) string {
	return "symbol " + printable(m.Exchange) + " " + printable(m.Symbol)
}

// ByExchange returns all symbols of an exchange of the catalogue, in the order of
// their names; [fulloncache.ErrNotFound] if the catalogue does not have the
// exchange.
func (r *SymbolRepository) ByExchange(ctx context.Context, exchange string) ([]fulloncache.Symbol, error) {
	what := "symbols of exchange " + printable(exchange)
	if !storable(exchange) {
		return nil, notFound(what)
	}
	// An exchange without symbols is a row of nulls.
	rows, err := query[symbolRow](ctx, r.conn, what, "SELECT "+symbolColumns+`, c.name AS exchange
		FROM cat_exchanges c LEFT JOIN symbols ON symbols.cat_ex_id = c.cat_ex_id
		WHERE c.name = ? ORDER BY symbols.symbol ?`, exchange, r.conn.bytewise())
	switch {
	case err != nil:
		return nil, err
	case len(rows) == 0:
		return nil, notFound(what)
	case rows[0].ID == 0:
		return []fulloncache.Symbol{}, nil
	}
	return mapped(rows, symbolRow.symbol), nil
}

// SymbolFilter says which symbols [SymbolRepository.List] returns: all that fit
// every field that is set.
type SymbolFilter struct {
	Exchange    string // Exchange is its name in the catalogue.
	Search      string // Search is part of the symbol; case is ignored.
	Base, Quote string
	// Futures, if not nil, asks for derivatives alone, or for none.
	Futures *bool
	// After is the Market of the last symbol of the page before; zero for the first
	// page.
	After fulloncache.Market
	Limit int // Limit is how many at most; 0 means [DefaultLimit]; [MaxLimit] is the most.
}

// List returns a page of symbols in the order of their exchanges' and their own
// names; none is no error, and neither is an exchange that does not exist.
func (r *SymbolRepository) List(ctx context.Context, f SymbolFilter) ([]fulloncache.Symbol, error) {
	const what = "list symbols"
	bytewise := r.conn.bytewise()
	var where conditions
	if f.After != (fulloncache.Market{}) {
		where.and("(c.name ?, symbols.symbol ?) > (?, ?)", bytewise, bytewise, f.After.Exchange, f.After.Symbol)
	}
	for _, equal := range []struct{ column, value string }{
		{"c.name", f.Exchange}, {"symbols.base", f.Base}, {"symbols.quote", f.Quote},
	} {
		if equal.value != "" {
			where.and(equal.column+" = ?", equal.value)
		}
	}
	if f.Search != "" {
		where.search(f.Search, "symbols.symbol")
	}
	if f.Futures != nil {
		where.and("symbols.futures = ?", *f.Futures)
	}
	limit, err := limitOf(f.Limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	rows, err := query[symbolRow](ctx, r.conn, what,
		symbolsJoined+where.String()+" ORDER BY c.name ?, symbols.symbol ? LIMIT ?", append(where.args, bytewise, bytewise, limit)...)
	return mapped(rows, symbolRow.symbol), err
}

// Add stores a new symbol and returns the row. ID and CatExchangeID are the
// database's to give: what s has of them is ignored. It returns
// [fulloncache.ErrDuplicate] if there is one of that market, and
// [fulloncache.ErrForeignKey] if the catalogue does not have the exchange.
func (r *SymbolRepository) Add(ctx context.Context, s fulloncache.Symbol) (fulloncache.Symbol, error) {
	what := "add " + symbolName(s.Market)
	if err := s.Validate(); err != nil {
		return fulloncache.Symbol{}, fmt.Errorf("%s: %w", what, err)
	}
	stored, err := r.one(ctx, what, `INSERT INTO symbols (cat_ex_id, symbol, base, quote, ex_base, decimals, lot_decimals,
		order_min, updateframe, backtest, futures, only_ticker)
		SELECT c.cat_ex_id, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM cat_exchanges c WHERE c.name = ? RETURNING `+symbolStored,
		s.Symbol, s.Base, s.Quote, null(s.ExBase), s.Decimals, s.LotDecimals,
		number{s.OrderMin}, s.UpdateFrame, s.Backtest, s.Futures, s.OnlyTicker, s.Exchange)
	if errors.Is(err, fulloncache.ErrNotFound) {
		return stored, fmt.Errorf("%s: %w", what, &ConstraintError{
			Kind: fulloncache.ErrForeignKey, Table: "symbols", Constraint: "cat_ex_id",
			Err: fmt.Errorf("the catalogue has no exchange %s", printable(s.Exchange)),
		})
	}
	return stored, err
}

// Update changes the symbol of that market and returns the row;
// [fulloncache.ErrNotFound] if there is none. What s has of ID and CatExchangeID
// is ignored.
func (r *SymbolRepository) Update(ctx context.Context, s fulloncache.Symbol) (fulloncache.Symbol, error) {
	what := "update " + symbolName(s.Market)
	if err := s.Validate(); err != nil {
		return fulloncache.Symbol{}, fmt.Errorf("%s: %w", what, err)
	}
	return r.one(ctx, what, `UPDATE symbols SET base = ?, quote = ?, ex_base = ?, decimals = ?, lot_decimals = ?,
		order_min = ?, updateframe = ?, backtest = ?, futures = ?, only_ticker = ?
		WHERE symbol = ? AND cat_ex_id = (SELECT c.cat_ex_id FROM cat_exchanges c WHERE c.name = ?) RETURNING `+symbolStored,
		s.Base, s.Quote, null(s.ExBase), s.Decimals, s.LotDecimals,
		number{s.OrderMin}, s.UpdateFrame, s.Backtest, s.Futures, s.OnlyTicker, s.Symbol, s.Exchange)
}

// Delete removes the symbol of a market, and the feeds of it;
// [fulloncache.ErrNotFound] if there is none.
func (r *SymbolRepository) Delete(ctx context.Context, m fulloncache.Market) error {
	what := "delete " + symbolName(m)
	if !storable(m.Exchange) || !storable(m.Symbol) {
		return notFound(what)
	}
	return r.conn.execOne(ctx, what, `DELETE FROM symbols
		WHERE symbol = ? AND cat_ex_id = (SELECT c.cat_ex_id FROM cat_exchanges c WHERE c.name = ?)`, m.Symbol, m.Exchange)
}
