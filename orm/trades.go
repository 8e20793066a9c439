package orm

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/fullon/fulloncache"
)

// TradeRepository is the record of the users' trades. Rows of programs of old do
// not name the exchange: their Market.Exchange is that of the account, and empty
// if the account is gone.
//
// The errors of all methods: [fulloncache.ErrInvalid] for unusable input,
// [fulloncache.ErrNotFound], [fulloncache.ErrDuplicate],
// [fulloncache.ErrForeignKey] for an account that does not exist, the context's
// error, and [fulloncache.ErrUnavailable] if the database cannot answer. A method
// that returns an error has changed nothing.
type TradeRepository struct{ conn *conn }

// TradeFilter says which trades are meant: those that fit every field that is
// set.
type TradeFilter struct {
	UserID, ExchangeID int64
	Exchange, Symbol   string
	// ExOrderID is the exchange's id of the order that they fill.
	ExOrderID string
	// Uncalculated leaves out the trades that [TradeRepository.UpdatePosition] has
	// told a volume.
	Uncalculated bool
	// From is the least time, To is the first one that is too late.
	From, To time.Time
	// Newest turns the order of the result: the latest time first.
	Newest bool
	// Limit bounds the result; it defaults to [DefaultLimit].
	Limit int
	// After continues behind the last trade of the page before.
	After Cursor
}

// Position is what a user's position is after a trade: the fields of
// [fulloncache.Trade] of these names. What is absent is left as it is.
type Position struct {
	CurVolume, CurAvgPrice, CurAvgCost, CurFee fulloncache.NullDecimal
	ROI, ROIPct, TotalFee                      fulloncache.NullDecimal
}

type tradeRow struct {
	bun.BaseModel `bun:"table:trades,alias:t"`

	TradeID     int64   `bun:"trade_id,pk,autoincrement"`
	ExTradeID   string  `bun:"ex_trade_id"`
	ExOrderID   string  `bun:"ex_order_id"`
	UserID      int64   `bun:"uid"`
	ExchangeID  int64   `bun:"ex_id"`
	Exchange    string  `bun:"exchange,nullzero"`
	Symbol      string  `bun:"symbol"`
	Type        string  `bun:"order_type"`
	Side        string  `bun:"side"`
	Volume      number  `bun:"volume"`
	Price       number  `bun:"price"`
	Cost        number  `bun:"cost"`
	Fee         number  `bun:"fee"`
	CurVolume   number  `bun:"cur_volume"`
	CurAvgPrice number  `bun:"cur_avg_price"`
	CurAvgCost  number  `bun:"cur_avg_cost"`
	CurFee      number  `bun:"cur_fee"`
	ROI         number  `bun:"roi"`
	ROIPct      number  `bun:"roi_pct"`
	TotalFee    number  `bun:"total_fee"`
	Leverage    number  `bun:"leverage"`
	Time        instant `bun:"time"`
	Nanos       int     `bun:"time_nanos"`
}

// tradeKey is what a trade is known by: exchanges give both sides of a trade
// between two orders of one user the same id.
type tradeKey struct{ trade, order string }

// Add stores a trade and returns its row, with its ID; one that is given is not
// looked at. It returns [fulloncache.ErrDuplicate] if it is stored already, and
// the errors of [TradeRepository.AddAll].
func (r *TradeRepository) Add(ctx context.Context, t fulloncache.Trade) (fulloncache.Trade, error) {
	added, err := r.AddAll(ctx, []fulloncache.Trade{t})
	if err != nil {
		return fulloncache.Trade{}, err
	}
	if added == 0 {
		return fulloncache.Trade{}, fmt.Errorf("%s: %w", nameTrade(t), fulloncache.ErrDuplicate)
	}
	return r.ByExTradeID(ctx, t.ExTradeID, t.ExOrderID)
}

// AddAll stores the trades that are not stored yet, all or none, and returns how
// many were new. It may be repeated: it is the sink of a queue that delivers at
// least once. A trade is known by ExTradeID and ExOrderID; a stored one stays as
// it is. A statement holds at most 1000 rows; all are in one transaction.
//
// The account of each trade must exist ([fulloncache.ErrForeignKey]) and be one at
// the trade's Market.Exchange ([fulloncache.ErrInvalid]). If another account has a
// trade of the same two ids, that is [fulloncache.ErrDuplicate], lest the trade be
// lost.
func (r *TradeRepository) AddAll(ctx context.Context, trades []fulloncache.Trade) (int, error) {
	want := map[tradeKey]fulloncache.Trade{}
	for i, t := range trades {
		if err := t.Validate(); err != nil {
			return 0, fmt.Errorf("trade %d of %d: %w", i+1, len(trades), err)
		}
		key := tradeKey{t.ExTradeID, t.ExOrderID}
		if before, ok := want[key]; !ok {
			want[key] = t
		} else if before.ExchangeID != t.ExchangeID {
			return 0, otherAccount(t, before.ExchangeID)
		}
	}
	// Writers that add the same trades do it in the same order, or each would wait
	// for the other.
	rows := make([]tradeRow, 0, len(want))
	for _, t := range want {
		rows = append(rows, newTradeRow(t))
	}
	slices.SortFunc(rows, func(a, b tradeRow) int {
		return cmp.Or(cmp.Compare(a.ExTradeID, b.ExTradeID), cmp.Compare(a.ExOrderID, b.ExOrderID))
	})
	added := 0
	err := r.conn.atomically(ctx, "add trades", func(c *conn) error {
		if err := r.checkAccounts(ctx, c, trades); err != nil {
			return err
		}
		added = 0
		for chunk := range slices.Chunk(rows, maxRows) {
			result, err := c.q.NewInsert().Model(&chunk).On("CONFLICT (ex_trade_id, ex_order_id) DO NOTHING").Returning("NULL").Exec(ctx)
			if err != nil {
				return c.fail(ctx, "add trades", err)
			}
			n, _ := result.RowsAffected() // both drivers know
			added += int(n)
			if int(n) < len(chunk) {
				if err := r.checkStored(ctx, c, chunk, want); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return added, nil
}

// checkAccounts refuses trades whose account does not exist, or is one at another
// exchange, with one query for all of them.
func (r *TradeRepository) checkAccounts(ctx context.Context, c *conn, trades []fulloncache.Trade) error {
	ids := map[int64]bool{}
	for _, t := range trades {
		ids[t.ExchangeID] = true
	}
	var accounts []struct {
		ExID int64
		Name string
	}
	if len(ids) > 0 {
		err := c.q.NewSelect().TableExpr("exchanges AS e").Join("JOIN cat_exchanges AS c USING (cat_ex_id)").
			ColumnExpr("e.ex_id, c.name").Where("e.ex_id IN (?)", bun.List(slices.Sorted(maps.Keys(ids)))).Scan(ctx, &accounts)
		if err != nil {
			return c.fail(ctx, "read the trades' accounts", err)
		}
	}
	names := make(map[int64]string, len(accounts))
	for _, a := range accounts {
		names[a.ExID] = a.Name
	}
	for _, t := range trades {
		switch name, ok := names[t.ExchangeID]; {
		case !ok:
			return fmt.Errorf("%s: %w: there is no account %d", nameTrade(t), fulloncache.ErrForeignKey, t.ExchangeID)
		case name != t.Exchange:
			return fmt.Errorf("%s: %w: account %d is at %s, not %s", nameTrade(t), fulloncache.ErrInvalid, t.ExchangeID, printable(name), printable(t.Exchange))
		}
	}
	return nil
}

// checkStored refuses trades whose ids another account's trade has.
func (r *TradeRepository) checkStored(ctx context.Context, c *conn, rows []tradeRow, want map[tradeKey]fulloncache.Trade) error {
	ids := make([]string, len(rows))
	for i := range rows {
		ids[i] = rows[i].ExTradeID
	}
	var stored []struct {
		ExTradeID string
		ExOrderID string
		ExID      int64
	}
	err := c.q.NewSelect().TableExpr("trades").Column("ex_trade_id", "ex_order_id", "ex_id").
		Where("ex_trade_id IN (?)", bun.List(ids)).Scan(ctx, &stored)
	if err != nil {
		return c.fail(ctx, "read trades", err)
	}
	for _, s := range stored {
		if t, ok := want[tradeKey{s.ExTradeID, s.ExOrderID}]; ok && t.ExchangeID != s.ExID {
			return otherAccount(t, s.ExID)
		}
	}
	return nil
}

func otherAccount(t fulloncache.Trade, account int64) error {
	return fmt.Errorf("%s of account %d: %w: account %d has one of these ids", nameTrade(t), t.ExchangeID, fulloncache.ErrDuplicate, account)
}

func nameTrade(t fulloncache.Trade) string {
	return fmt.Sprintf("trade %s of order %s", printable(t.ExTradeID), printable(t.ExOrderID))
}

// ByID returns a trade by the database's id.
func (r *TradeRepository) ByID(ctx context.Context, id int64) (fulloncache.Trade, error) {
	return tradeByID(ctx, r.conn, id)
}

func tradeByID(ctx context.Context, c *conn, id int64) (fulloncache.Trade, error) {
	return oneTrade(ctx, c, fmt.Sprintf("trade %d", id), nil, func(q *bun.SelectQuery) { q.Where("t.trade_id = ?", id) })
}

// ByExTradeID returns a trade by the exchange's ids: its own, and that of the
// order it fills ("" if it has none).
func (r *TradeRepository) ByExTradeID(ctx context.Context, exTradeID, exOrderID string) (fulloncache.Trade, error) {
	what := nameTrade(fulloncache.Trade{ExTradeID: exTradeID, ExOrderID: exOrderID})
	return oneTrade(ctx, r.conn, what, []string{exTradeID, exOrderID}, func(q *bun.SelectQuery) {
		q.Where("t.ex_trade_id = ? AND t.ex_order_id = ?", exTradeID, exOrderID)
	})
}

// Last returns the latest of the trades that fit, by time.
func (r *TradeRepository) Last(ctx context.Context, f TradeFilter) (fulloncache.Trade, error) {
	f.Newest, f.Limit = true, 1
	found, err := r.List(ctx, f)
	if err != nil {
		return fulloncache.Trade{}, err
	}
	if len(found) == 0 {
		return fulloncache.Trade{}, r.conn.fail(ctx, "last trade", sql.ErrNoRows)
	}
	return found[0], nil
}

// List returns the trades that fit, in the order of their times and, for the same
// time, of their ids. It is paged as [OrderRepository.List] is.
func (r *TradeRepository) List(ctx context.Context, f TradeFilter) ([]fulloncache.Trade, error) {
	var rows []tradeRow
	q := selectTrades(r.conn, &rows)
	whereIDs(q, id{"t.uid", f.UserID}, id{"t.ex_id", f.ExchangeID})
	if f.Uncalculated {
		q.Where("t.cur_volume IS NULL")
	}
	whereText(q, tradeExchange, f.Exchange)
	whereText(q, "t.symbol", f.Symbol)
	whereText(q, "t.ex_order_id", f.ExOrderID)
	err := paged(q, "t.time", "t.time_nanos", "t.trade_id", page{f.From, f.To, f.Newest, f.Limit, f.After})
	if err != nil {
		return nil, err
	}
	if err := q.Scan(ctx); err != nil {
		return nil, r.conn.fail(ctx, "list trades", err)
	}
	trades := make([]fulloncache.Trade, len(rows))
	for i := range rows {
		trades[i] = rows[i].trade()
	}
	return trades, nil
}

// tradeExchange is the name of a trade's exchange.
const tradeExchange = "COALESCE(t.exchange, c.name)"

// selectTrades reads trades with the names of their exchanges.
func selectTrades(c *conn, rows any) *bun.SelectQuery {
	return c.q.NewSelect().Model(rows).ExcludeColumn("exchange").ColumnExpr(tradeExchange + " AS exchange").
		Join("LEFT JOIN exchanges AS e ON e.ex_id = t.ex_id").Join("LEFT JOIN cat_exchanges AS c ON c.cat_ex_id = e.cat_ex_id")
}

// oneTrade returns the trade that fits; texts are those it is looked up by.
func oneTrade(ctx context.Context, c *conn, what string, texts []string, where func(*bun.SelectQuery)) (fulloncache.Trade, error) {
	var row tradeRow
	q := selectTrades(c, &row).Limit(1)
	where(q)
	if err := c.scanOne(ctx, what, texts, q); err != nil {
		return fulloncache.Trade{}, err
	}
	return row.trade(), nil
}

// UpdatePosition says what a trade made of the position, and returns its row.
func (r *TradeRepository) UpdatePosition(ctx context.Context, id int64, p Position) (fulloncache.Trade, error) {
	var t fulloncache.Trade
	what := fmt.Sprintf("update trade %d", id)
	err := r.conn.atomically(ctx, what, func(c *conn) error {
		err := c.execOne(ctx, what, `UPDATE trades SET
			cur_volume = COALESCE(?, cur_volume), cur_avg_price = COALESCE(?, cur_avg_price), cur_avg_cost = COALESCE(?, cur_avg_cost),
			cur_fee = COALESCE(?, cur_fee), roi = COALESCE(?, roi), roi_pct = COALESCE(?, roi_pct), total_fee = COALESCE(?, total_fee)
			WHERE trade_id = ?`, number{p.CurVolume}, number{p.CurAvgPrice}, number{p.CurAvgCost}, number{p.CurFee},
			number{p.ROI}, number{p.ROIPct}, number{p.TotalFee}, id)
		if err != nil {
			return err
		}
		t, err = tradeByID(ctx, c, id)
		return err
	})
	return t, err
}

// Delete removes a trade by the database's id.
func (r *TradeRepository) Delete(ctx context.Context, id int64) error {
	return deleteByID(ctx, r.conn, "trade", "trades", "trade_id", id)
}

func newTradeRow(t fulloncache.Trade) tradeRow {
	return tradeRow{
		ExTradeID: t.ExTradeID, ExOrderID: t.ExOrderID, UserID: t.UserID, ExchangeID: t.ExchangeID, Exchange: t.Exchange, Symbol: t.Symbol,
		Type: t.Type, Side: string(t.Side), Volume: number{fulloncache.Some(t.Volume)}, Price: number{fulloncache.Some(t.Price)}, Cost: number{fulloncache.Some(t.Cost)}, Fee: number{fulloncache.Some(t.Fee)},
		CurVolume: number{t.CurVolume}, CurAvgPrice: number{t.CurAvgPrice}, CurAvgCost: number{t.CurAvgCost},
		CurFee: number{t.CurFee}, ROI: number{t.ROI}, ROIPct: number{t.ROIPct}, TotalFee: number{t.TotalFee},
		Leverage: number{t.Leverage}, Time: instant{t.Time}, Nanos: nanosOf(t.Time),
	}
}

func (r *tradeRow) trade() fulloncache.Trade {
	return fulloncache.Trade{
		Market: fulloncache.Market{Exchange: r.Exchange, Symbol: r.Symbol}, ID: r.TradeID,
		ExTradeID: r.ExTradeID, ExOrderID: r.ExOrderID, UserID: r.UserID, ExchangeID: r.ExchangeID, Type: r.Type, Side: sideOf(r.Side),
		Volume: r.Volume.Decimal, Price: r.Price.Decimal, Cost: r.Cost.Decimal, Fee: r.Fee.Decimal,
		CurVolume: r.CurVolume.NullDecimal, CurAvgPrice: r.CurAvgPrice.NullDecimal,
		CurAvgCost: r.CurAvgCost.NullDecimal, CurFee: r.CurFee.NullDecimal, ROI: r.ROI.NullDecimal,
		ROIPct: r.ROIPct.NullDecimal, TotalFee: r.TotalFee.NullDecimal, Leverage: r.Leverage.NullDecimal,
		Time: r.Time.withNanos(r.Nanos),
	}
}
