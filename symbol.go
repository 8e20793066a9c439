package fulloncache

import (
	"encoding/json"
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

// encode writes the symbol as Redis holds it.
func (s Symbol) encode() string {
	o := jsonObject{b: make([]byte, 0, 256)}
	o.text("exchange", s.Exchange, true)
	o.text("symbol", s.Symbol, true)
	o.whole("symbol_id", s.ID, false)
	o.whole("cat_ex_id", s.CatExchangeID, false)
	o.text("base", s.Base, true)
	o.text("quote", s.Quote, false)
	o.text("ex_base", s.ExBase, false)
	o.whole("decimals", int64(s.Decimals), true)
	o.whole("lot_decimals", int64(s.LotDecimals), true)
	o.decimal("order_min", s.OrderMin)
	o.text("updateframe", s.UpdateFrame, false)
	o.whole("backtest", int64(s.Backtest), false)
	o.flag("futures", s.Futures)
	o.flag("only_ticker", s.OnlyTicker)
	return o.String()
}

// decode reads into an empty symbol what encode writes, and any other JSON of the
// same.
func (s *Symbol) decode(text string) error {
	if !s.decodeFast(text) {
		*s = Symbol{}
		if err := json.Unmarshal([]byte(text), s); err != nil {
			return err
		}
	}
	// What no write takes was not written by one: never let it look right.
	return s.Validate()
}

// decodeFast reads what encode writes, in the same order; false if it is
// something else.
func (s *Symbol) decodeFast(text string) bool {
	r := jsonReader{s: text}
	s.Exchange = r.text("exchange")
	s.Symbol = r.text("symbol")
	s.ID = r.whole("symbol_id")
	s.CatExchangeID = r.whole("cat_ex_id")
	s.Base = r.text("base")
	s.Quote = r.text("quote")
	s.ExBase = r.text("ex_base")
	s.Decimals = int(r.whole("decimals"))
	s.LotDecimals = int(r.whole("lot_decimals"))
	s.OrderMin = r.decimal("order_min")
	s.UpdateFrame = r.text("updateframe")
	s.Backtest = int(r.whole("backtest"))
	s.Futures = r.flag("futures")
	s.OnlyTicker = r.flag("only_ticker")
	return r.done()
}
