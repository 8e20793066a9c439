package orm

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/uptrace/bun"

	"github.com/fullon/fulloncache"
)

type strategyRow struct {
	bun.BaseModel `bun:"table:strategies,alias:s"`

	StrategyID    int64  `bun:"str_id,pk,autoincrement"`
	BotID         int64  `bun:"bot_id"`
	CatStrategyID int64  `bun:"cat_str_id"`
	TakeProfit    number `bun:"take_profit"`
	StopLoss      number `bun:"stop_loss"`
	TrailingStop  number `bun:"trailing_stop"`
	Timeout       number `bun:"timeout"`
	Leverage      number `bun:"leverage"`
	SizePct       number `bun:"size_pct"`
	Size          number `bun:"size"`
	SizeCurrency  string `bun:"size_currency,nullzero"`
	PreLoadBars   int    `bun:"pre_load_bars"`
	Feeds         int    `bun:"feeds"`
	Pairs         bool   `bun:"pairs"`

	// Name comes from the catalogue.
	Name string `bun:"name,scanonly"`
}

// strategyColumns are those that an update changes.
var strategyColumns = []string{
	"cat_str_id", "take_profit", "stop_loss", "trailing_stop", "timeout", "leverage", "size_pct", "size", "size_currency",
	"pre_load_bars", "feeds", "pairs",
}

type strategyParamRow struct {
	bun.BaseModel `bun:"table:strategies_params,alias:sp"`

	StrategyID int64  `bun:"str_id"`
	Name       string `bun:"name"`
	Value      string `bun:"value"`
}

func newStrategyRow(s fulloncache.Strategy) strategyRow {
	return strategyRow{
		StrategyID: s.ID, BotID: s.BotID, CatStrategyID: s.CatStrategyID, TakeProfit: number{s.TakeProfit},
		StopLoss: number{s.StopLoss}, TrailingStop: number{s.TrailingStop}, Timeout: number{s.Timeout},
		Leverage: number{fulloncache.Some(s.Leverage)}, SizePct: number{s.SizePct}, Size: number{s.Size}, SizeCurrency: s.SizeCurrency,
		PreLoadBars: s.PreLoadBars, Feeds: s.Feeds, Pairs: s.Pairs,
	}
}

func (r *strategyRow) strategy() fulloncache.Strategy {
	return fulloncache.Strategy{
		ID: r.StrategyID, BotID: r.BotID, CatStrategyID: r.CatStrategyID, Name: r.Name,
		TakeProfit: r.TakeProfit.NullDecimal, StopLoss: r.StopLoss.NullDecimal,
		TrailingStop: r.TrailingStop.NullDecimal, Timeout: r.Timeout.NullDecimal,
		Leverage: r.Leverage.Decimal, SizePct: r.SizePct.NullDecimal, Size: r.Size.NullDecimal,
		SizeCurrency: r.SizeCurrency, PreLoadBars: r.PreLoadBars, Feeds: r.Feeds, Pairs: r.Pairs,
	}
}

// Strategies returns a bot's strategies with their parameters, in the order of
// their ids; none is no error.
func (r *BotRepository) Strategies(ctx context.Context, botID int64) ([]fulloncache.Strategy, error) {
	return r.strategies(ctx, r.conn, "s.bot_id = ?", botID)
}

func (r *BotRepository) strategies(ctx context.Context, c *conn, where string, id int64) ([]fulloncache.Strategy, error) {
	// One statement, so that parameters and strategy are of the same moment.
	var rows []struct {
		strategyRow
		ParamName  string `bun:"param_name"`
		ParamValue string `bun:"param_value"`
	}
	err := c.q.NewSelect().TableExpr("strategies AS s").ColumnExpr("s.*").ColumnExpr("c.name AS name, sp.name AS param_name, sp.value AS param_value").
		Join("JOIN cat_strategies AS c ON c.cat_str_id = s.cat_str_id").Join("LEFT JOIN strategies_params AS sp ON sp.str_id = s.str_id").
		Where(where, id).OrderExpr("s.str_id").Scan(ctx, &rows)
	if err != nil {
		return nil, c.fail(ctx, "read strategies", err)
	}
	var all []fulloncache.Strategy
	for i := range rows {
		if len(all) == 0 || all[len(all)-1].ID != rows[i].StrategyID {
			all = append(all, rows[i].strategy())
		}
		if rows[i].ParamName != "" { // parameters have names: one without is none
			s := &all[len(all)-1]
			if s.Params == nil {
				s.Params = map[string]string{}
			}
			s.Params[rows[i].ParamName] = rows[i].ParamValue
		}
	}
	return all, nil
}

// AddStrategy stores a new strategy of a bot with its parameters, in one
// transaction; an ID that is given is not looked at. The kind is told by Name: one
// that is new is added to the catalogue, with bars, feeds and pairs of this
// strategy. It may be told by CatStrategyID instead; told by both it must be one
// and the same, or that is [fulloncache.ErrInvalid].
func (r *BotRepository) AddStrategy(ctx context.Context, s fulloncache.Strategy) (fulloncache.Strategy, error) {
	return r.putStrategy(ctx, s, func(c *conn, row *strategyRow) error {
		row.StrategyID = 0
		return c.q.NewInsert().Model(row).Returning("str_id").Scan(ctx)
	})
}

// UpdateStrategy changes the strategy of that ID and bot, and replaces its
// parameters, in one transaction. The kind is told as in
// [BotRepository.AddStrategy].
func (r *BotRepository) UpdateStrategy(ctx context.Context, s fulloncache.Strategy) (fulloncache.Strategy, error) {
	return r.putStrategy(ctx, s, func(c *conn, row *strategyRow) error {
		err := c.q.NewUpdate().Model(row).Column(strategyColumns...).Where("s.str_id = ? AND s.bot_id = ?", s.ID, s.BotID).
			Returning("str_id").Scan(ctx)
		if err != nil {
			return err
		}
		_, err = c.q.NewDelete().Model((*strategyParamRow)(nil)).Where("sp.str_id = ?", s.ID).Exec(ctx)
		return err
	})
}

// putStrategy writes a strategy by put, which sets the row's id, and then its
// parameters.
func (r *BotRepository) putStrategy(ctx context.Context, s fulloncache.Strategy, put func(*conn, *strategyRow) error) (fulloncache.Strategy, error) {
	var stored fulloncache.Strategy
	err := r.conn.atomically(ctx, "store a strategy", func(c *conn) error {
		s, err := r.withKind(ctx, c, s)
		if err != nil {
			return err
		}
		what := fmt.Sprintf("strategy %s of bot %d", printable(s.Name), s.BotID)
		row := newStrategyRow(s)
		if err := put(c, &row); err != nil {
			return c.fail(ctx, what, err)
		}
		var params []strategyParamRow
		for _, name := range slices.Sorted(maps.Keys(s.Params)) {
			params = append(params, strategyParamRow{StrategyID: row.StrategyID, Name: name, Value: s.Params[name]})
		}
		if len(params) > 0 {
			if _, err := c.q.NewInsert().Model(&params).Exec(ctx); err != nil {
				return c.fail(ctx, "parameters of "+what, err)
			}
		}
		all, err := r.strategies(ctx, c, "s.str_id = ?", row.StrategyID)
		if err != nil {
			return err
		}
		stored = all[0]
		return nil
	})
	return stored, err
}

type catStrategyRow struct {
	bun.BaseModel `bun:"table:cat_strategies,alias:c"`

	CatStrategyID int64  `bun:"cat_str_id,pk,autoincrement"`
	Name          string `bun:"name"`
	PreLoadBars   int    `bun:"pre_load_bars"`
	Feeds         int    `bun:"feeds"`
	Pairs         bool   `bun:"pairs"`
}

// withKind returns the strategy, valid, with name and id of its kind.
func (r *BotRepository) withKind(ctx context.Context, c *conn, s fulloncache.Strategy) (fulloncache.Strategy, error) {
	var kind catStrategyRow
	if s.CatStrategyID != 0 {
		err := c.q.NewSelect().Model(&kind).Column("cat_str_id", "name").Where("c.cat_str_id = ?", s.CatStrategyID).Scan(ctx)
		if errors.Is(err, sql.ErrNoRows) {
			return s, fmt.Errorf("strategy: %w: cat_str_id %d does not exist", fulloncache.ErrForeignKey, s.CatStrategyID)
		}
		if err != nil {
			return s, c.fail(ctx, fmt.Sprintf("strategy %d of the catalogue", s.CatStrategyID), err)
		}
		if s.Name != "" && s.Name != kind.Name {
			return s, fmt.Errorf("strategy: %w: cat_str_id %d is %s, not %s", fulloncache.ErrInvalid, s.CatStrategyID, printable(kind.Name), printable(s.Name))
		}
		s.Name = kind.Name
		return s, s.Validate()
	}
	if err := s.Validate(); err != nil {
		return s, err
	}
	kind = catStrategyRow{Name: s.Name, PreLoadBars: s.PreLoadBars, Feeds: s.Feeds, Pairs: s.Pairs}
	// The update that changes nothing makes the statement return a kind that is there.
	err := c.q.NewInsert().Model(&kind).On("CONFLICT (name) DO UPDATE").Set("name = EXCLUDED.name").Returning("cat_str_id").Scan(ctx)
	if err != nil {
		return s, c.fail(ctx, "strategy "+printable(s.Name)+" of the catalogue", err)
	}
	s.CatStrategyID = kind.CatStrategyID
	return s, nil
}

// DeleteStrategy removes a strategy with its parameters and feeds. Its kind stays
// in the catalogue.
func (r *BotRepository) DeleteStrategy(ctx context.Context, id int64) error {
	return deleteByID(ctx, r.conn, "strategy", "strategies", "str_id", id)
}

type feedRow struct {
	bun.BaseModel `bun:"table:feeds,alias:f"`

	FeedID      int64  `bun:"feed_id,pk,autoincrement"`
	StrategyID  int64  `bun:"str_id"`
	SymbolID    int64  `bun:"symbol_id"`
	Period      string `bun:"period"`
	Compression int    `bun:"compression"`
	Order       int    `bun:"order"`
}

// Feeds returns a strategy's feeds in their order; none is no error.
func (r *BotRepository) Feeds(ctx context.Context, strategyID int64) ([]fulloncache.Feed, error) {
	var rows []feedRow
	err := r.conn.q.NewSelect().Model(&rows).Where("f.str_id = ?", strategyID).OrderExpr("f.?, f.feed_id", bun.Ident("order")).Scan(ctx)
	if err != nil {
		return nil, r.conn.fail(ctx, fmt.Sprintf("feeds of strategy %d", strategyID), err)
	}
	feeds := make([]fulloncache.Feed, len(rows))
	for i := range rows {
		feeds[i] = rows[i].feed()
	}
	return feeds, nil
}

func (r *feedRow) feed() fulloncache.Feed {
	return fulloncache.Feed{
		ID: r.FeedID, StrategyID: r.StrategyID, SymbolID: r.SymbolID, Period: r.Period, Compression: r.Compression, Order: r.Order,
	}
}

func newFeedRow(f fulloncache.Feed) feedRow {
	return feedRow{
		FeedID: f.ID, StrategyID: f.StrategyID, SymbolID: f.SymbolID, Period: f.Period, Compression: f.Compression, Order: f.Order,
	}
}

// AddFeed stores a new feed of a strategy; an ID that is given is not looked at.
func (r *BotRepository) AddFeed(ctx context.Context, f fulloncache.Feed) (fulloncache.Feed, error) {
	if err := f.Validate(); err != nil {
		return fulloncache.Feed{}, err
	}
	row := newFeedRow(f)
	row.FeedID = 0
	if err := r.conn.q.NewInsert().Model(&row).Returning("feed_id").Scan(ctx); err != nil {
		return fulloncache.Feed{}, r.conn.fail(ctx, fmt.Sprintf("add feed of strategy %d", f.StrategyID), err)
	}
	return row.feed(), nil
}

// UpdateFeed changes the feed of that ID and strategy.
func (r *BotRepository) UpdateFeed(ctx context.Context, f fulloncache.Feed) (fulloncache.Feed, error) {
	if err := f.Validate(); err != nil {
		return fulloncache.Feed{}, err
	}
	row := newFeedRow(f)
	err := r.conn.q.NewUpdate().Model(&row).Column("symbol_id", "period", "compression", "order").
		Where("f.feed_id = ? AND f.str_id = ?", f.ID, f.StrategyID).Returning("*").Scan(ctx)
	if err != nil {
		return fulloncache.Feed{}, r.conn.fail(ctx, fmt.Sprintf("update feed %d of strategy %d", f.ID, f.StrategyID), err)
	}
	return row.feed(), nil
}

// DeleteFeed removes a feed.
func (r *BotRepository) DeleteFeed(ctx context.Context, id int64) error {
	return deleteByID(ctx, r.conn, "feed", "feeds", "feed_id", id)
}
