package fulloncache

import (
	"fmt"
	"maps"
	"time"
)

// Bot is a program that trades for a user: a row of the database's bots.
type Bot struct {
	ID     int64  `json:"bot_id,omitzero"` // ID is the database's id, 0 before it is stored.
	UserID int64  `json:"uid"`             // UserID is for whom it trades.
	Name   string `json:"name"`
	DryRun bool   `json:"dry_run"` // DryRun says that its orders go to no exchange.
	Active bool   `json:"active"`
	// Created is when it was stored first, to the microsecond. The store fills it.
	Created time.Time `json:"timestamp,omitzero"`
}

// Validate returns [ErrInvalid], naming the field, unless the bot can be stored:
// a user and a name.
func (b Bot) Validate() error {
	if err := validID("bot_id", b.ID, 0); err != nil {
		return err
	}
	if err := validID("uid", b.UserID, 1); err != nil {
		return err
	}
	return storedName("bot", b.Name)
}

// Equal reports whether both say the same about the same bot.
func (b Bot) Equal(o Bot) bool {
	same := b.Created.Equal(o.Created)
	b.Created, o.Created = time.Time{}, time.Time{}
	return same && b == o
}

// Strategy is how a bot trades: a kind of strategy and what it is set to.
// Percentages are in percent: a take profit of 5 is 5 %.
type Strategy struct {
	ID    int64 `json:"str_id,omitzero"` // ID is the database's id, 0 before it is stored.
	BotID int64 `json:"bot_id"`
	// CatStrategyID is the kind in the catalogue of strategies, Name its name
	// there. The store fills the one by the other: a kind that is new to the
	// catalogue is added to it.
	CatStrategyID int64       `json:"cat_str_id,omitzero"`
	Name          string      `json:"name"`
	TakeProfit    NullDecimal `json:"take_profit,omitzero"`
	StopLoss      NullDecimal `json:"stop_loss,omitzero"`
	TrailingStop  NullDecimal `json:"trailing_stop,omitzero"`
	Timeout       NullDecimal `json:"timeout,omitzero"` // Timeout is in minutes.
	Leverage      Decimal     `json:"leverage"`         // Leverage is 1 for none.
	SizePct       NullDecimal `json:"size_pct,omitzero"`
	Size          NullDecimal `json:"size,omitzero"` // Size is in units of SizeCurrency.
	SizeCurrency  string      `json:"size_currency,omitempty"`
	PreLoadBars   int         `json:"pre_load_bars,omitzero"`
	Feeds         int         `json:"feeds,omitzero"` // Feeds is how many feeds the kind needs.
	Pairs         bool        `json:"pairs,omitzero"`
	// Params are what else it is set to.
	Params map[string]string `json:"params,omitempty"`
}

// numbers are the fields that may be absent, with their names.
func (s *Strategy) numbers() []field {
	return []field{
		{"take_profit", &s.TakeProfit}, {"stop_loss", &s.StopLoss}, {"trailing_stop", &s.TrailingStop},
		{"timeout", &s.Timeout}, {"size_pct", &s.SizePct}, {"size", &s.Size},
	}
}

// Validate returns [ErrInvalid], naming the field, unless the strategy can be
// stored: a bot, a kind, a positive leverage and nothing negative.
func (s Strategy) Validate() error {
	if err := validID("str_id", s.ID, 0); err != nil {
		return err
	}
	if err := validID("bot_id", s.BotID, 1); err != nil {
		return err
	}
	if err := validID("cat_str_id", s.CatStrategyID, 0); err != nil {
		return err
	}
	if err := storedName("strategy", s.Name); err != nil {
		return err
	}
	what := "strategy " + printable(s.Name)
	if s.Leverage.Sign() <= 0 {
		return fmt.Errorf("%w: %s: leverage %s: want more than 0", ErrInvalid, what, s.Leverage)
	}
	if err := notNegative(what, s.numbers()); err != nil {
		return err
	}
	for _, n := range []struct {
		field string
		value int
	}{{"pre_load_bars", s.PreLoadBars}, {"feeds", s.Feeds}} {
		if n.value < 0 || n.value > maxSmallInt {
			return fmt.Errorf("%w: %s: %s %d: want from 0 to %d", ErrInvalid, what, n.field, n.value, maxSmallInt)
		}
	}
	if err := validText(what, "size_currency", s.SizeCurrency); err != nil {
		return err
	}
	return validParams(what, s.Params)
}

// Equal reports whether both say the same about the same strategy.
func (s Strategy) Equal(o Strategy) bool {
	if !equalNumbers(s.numbers(), o.numbers()) || !s.Leverage.Equal(o.Leverage) || !maps.Equal(s.Params, o.Params) {
		return false
	}
	return s.ID == o.ID && s.BotID == o.BotID && s.CatStrategyID == o.CatStrategyID && s.Name == o.Name &&
		s.SizeCurrency == o.SizeCurrency && s.PreLoadBars == o.PreLoadBars && s.Feeds == o.Feeds && s.Pairs == o.Pairs
}

// Feed is what a strategy looks at: a symbol's candles.
type Feed struct {
	ID          int64  `json:"feed_id,omitzero"` // ID is the database's id, 0 before it is stored.
	StrategyID  int64  `json:"str_id"`
	SymbolID    int64  `json:"symbol_id"`
	Period      string `json:"period"`      // Period is the unit of its candles: Minutes, Days, Ticks.
	Compression int    `json:"compression"` // Compression is how many periods a candle spans.
	Order       int    `json:"order"`       // Order is its place among the strategy's feeds, from 0.
}

// Validate returns [ErrInvalid], naming the field, unless the feed can be stored.
func (f Feed) Validate() error {
	if err := validID("feed_id", f.ID, 0); err != nil {
		return err
	}
	if err := validID("str_id", f.StrategyID, 1); err != nil {
		return err
	}
	if err := validID("symbol_id", f.SymbolID, 1); err != nil {
		return err
	}
	if err := storedName("period", f.Period); err != nil {
		return err
	}
	if f.Compression < 1 || f.Compression > maxSmallInt {
		return fmt.Errorf("%w: feed: compression %d: want from 1 to %d", ErrInvalid, f.Compression, maxSmallInt)
	}
	if f.Order < 0 || f.Order > maxSmallInt {
		return fmt.Errorf("%w: feed: order %d: want from 0 to %d", ErrInvalid, f.Order, maxSmallInt)
	}
	return nil
}
