package fulloncache

import (
	"fmt"
	"time"
)

// Symbol is what an exchange trades, and how exactly: a row of the database's
// symbols. Its Market identifies it.
type Symbol struct {
	Market
	// ID is the database's id, 0 before it is stored.
	ID int64 `json:"symbol_id,omitzero"`
	// CatExchangeID is the id of the exchange in the catalogue. The store fills it
	// by the exchange's name.
	CatExchangeID int64 `json:"cat_ex_id,omitzero"`
	// Base and Quote are the currencies: BTC and USD of BTC/USD.
	Base  string `json:"base"`
	Quote string `json:"quote,omitempty"`
	// ExBase is what the exchange calls the base, where it differs.
	ExBase string `json:"ex_base,omitempty"`
	// Decimals is how many places a price has, LotDecimals how many a size has.
	Decimals    int `json:"decimals"`
	LotDecimals int `json:"lot_decimals"`
	// OrderMin is the least size of an order, in units of the base.
	OrderMin NullDecimal `json:"order_min,omitzero"`
	// UpdateFrame is the time frame in which candles are kept ("1h" if empty), and
	// Backtest how many days of them.
	UpdateFrame string `json:"updateframe,omitempty"`
	Backtest    int    `json:"backtest,omitzero"`
	// Futures says that it is a derivative, OnlyTicker that no candles are kept.
	Futures    bool `json:"futures,omitzero"`
	OnlyTicker bool `json:"only_ticker,omitzero"`
	// Loaded is when it was read from the database; zero on a symbol that was not
	// read from the cache. Writes ignore it.
	Loaded time.Time `json:"loaded,omitzero"`
}

// maxPlaces bounds decimals and lot decimals: a Decimal has no more.
const maxPlaces = MaxDecimalPlaces

// Validate returns [ErrInvalid], naming the field, unless the symbol can be
// stored: a market, a base, decimals from 0 to [MaxDecimalPlaces], nothing
// negative.
func (s Symbol) Validate() error {
	if err := s.Market.Validate(); err != nil {
		return err
	}
	wrong := func(field string, value any, want string) error {
		return fmt.Errorf("%w: symbol %s: %s %v: want %s", ErrInvalid, s.Market, field, value, want)
	}
	for _, id := range []struct {
		field string
		value int64
	}{{"symbol_id", s.ID}, {"cat_ex_id", s.CatExchangeID}} {
		if err := validID(id.field, id.value, 0); err != nil {
			return fmt.Errorf("symbol %s: %w", s.Market, err)
		}
	}
	for _, name := range []struct{ field, value string }{
		{"exchange", s.Exchange}, {"symbol", s.Symbol},
		{"base", s.Base}, {"quote", s.Quote}, {"ex_base", s.ExBase}, {"updateframe", s.UpdateFrame},
	} {
		switch {
		case name.value == "" && name.field == "base":
			return wrong(name.field, `""`, "a currency")
		case len(name.value) > maxName:
			return wrong(name.field, fmt.Sprintf("of %d bytes", len(name.value)), fmt.Sprintf("at most %d", maxName))
		case !storable(name.value):
			return validText("symbol "+s.Market.String(), name.field, name.value)
		}
	}
	for _, n := range []struct {
		field    string
		value    int
		min, max int
	}{
		{"decimals", s.Decimals, 0, maxPlaces},
		{"lot_decimals", s.LotDecimals, 0, maxPlaces},
		{"backtest", s.Backtest, 0, maxSmallInt},
	} {
		if n.value < n.min || n.value > n.max {
			return wrong(n.field, n.value, fmt.Sprintf("from %d to %d", n.min, n.max))
		}
	}
	if s.OrderMin.Valid && s.OrderMin.Decimal.Sign() < 0 {
		return wrong("order_min", s.OrderMin, "at least 0")
	}
	return nil
}

// Precision is how exactly the symbol is traded.
func (s Symbol) Precision() Precision {
	return Precision{Decimals: s.Decimals, LotDecimals: s.LotDecimals}
}

// Age is how long ago the symbol was read from the database.
func (s Symbol) Age(now time.Time) time.Duration { return max(now.Sub(s.Loaded), 0) }

// Equal reports whether both say the same about the same row, whenever they were
// read.
func (s Symbol) Equal(o Symbol) bool {
	same := s.OrderMin.Equal(o.OrderMin)
	s.OrderMin, o.OrderMin = NullDecimal{}, NullDecimal{}
	s.Loaded, o.Loaded = time.Time{}, time.Time{}
	return same && s == o
}
