package fulloncache

import (
	"fmt"
	"time"
)

// Trade is a fill: part of an order of a user, executed. A public trade of a
// market has neither user nor order.
type Trade struct {
	Market
	ID         int64  `json:"trade_id,omitzero"`     // ID is the database's id, 0 before it is stored.
	ExTradeID  string `json:"ex_trade_id"`           // ExTradeID is the exchange's id of the trade.
	ExOrderID  string `json:"ex_order_id,omitempty"` // ExOrderID is the exchange's id of the order it fills.
	UserID     int64  `json:"uid,omitzero"`
	ExchangeID int64  `json:"ex_id,omitzero"` // ExchangeID is the user's account.

	Type   string  `json:"order_type,omitempty"` // Type is the order's: market, limit.
	Side   Side    `json:"side"`
	Volume Decimal `json:"volume"` // Volume is in units of the base.
	Price  Decimal `json:"price"`
	Cost   Decimal `json:"cost"` // Cost is in units of the quote.
	Fee    Decimal `json:"fee"`  // Fee is negative where it is a rebate.

	// What the position was after it, as the database has it. CurFee and TotalFee
	// are fees; ROI is the realised profit, ROIPct the same in percent.
	CurVolume   NullDecimal `json:"cur_volume,omitzero"`
	CurAvgPrice NullDecimal `json:"cur_avg_price,omitzero"`
	CurAvgCost  NullDecimal `json:"cur_avg_cost,omitzero"`
	CurFee      NullDecimal `json:"cur_fee,omitzero"`
	ROI         NullDecimal `json:"roi,omitzero"`
	ROIPct      NullDecimal `json:"roi_pct,omitzero"`
	TotalFee    NullDecimal `json:"total_fee,omitzero"`
	Leverage    NullDecimal `json:"leverage,omitzero"`
	// Time is the exchange's time of the trade, to the nanosecond.
	Time time.Time `json:"time"`
}

func (t *Trade) numbers() []field {
	return []field{
		{"cur_volume", &t.CurVolume}, {"cur_avg_price", &t.CurAvgPrice}, {"cur_avg_cost", &t.CurAvgCost}, {"cur_fee", &t.CurFee},
		{"roi", &t.ROI}, {"roi_pct", &t.ROIPct}, {"total_fee", &t.TotalFee}, {"leverage", &t.Leverage},
	}
}

// Validate returns [ErrInvalid], naming the field, unless the trade can be
// stored: a market, the exchange's id, a side, a positive volume and price, a
// cost that is not negative, a time.
func (t Trade) Validate() error {
	_, err := t.invalid()
	return err
}

// namedTrade makes the text that names a trade in an error: thousands of trades
// are validated at once, and few are wrong.
type namedTrade struct{ *Trade }

func (t namedTrade) String() string {
	if t.ExTradeID == "" || len(t.ExTradeID) > maxOrderID {
		return "trade " + t.Market.String()
	}
	return "trade " + t.Market.String() + " " + printable(t.ExTradeID)
}

// invalid is what Validate returns, and the name of the field.
func (t *Trade) invalid() (name string, err error) {
	if err := validName("exchange", t.Exchange); err != nil {
		return "exchange", err
	}
	if err := validName("symbol", t.Symbol); err != nil {
		return "symbol", err
	}
	what := namedTrade{t}
	if err := validRef(what, "ex_trade_id", t.ExTradeID, true); err != nil {
		return "ex_trade_id", err
	}
	if err := validRef(what, "ex_order_id", t.ExOrderID, false); err != nil {
		return "ex_order_id", err
	}
	for _, id := range [...]number{{"trade_id", &t.ID}, {"uid", &t.UserID}, {"ex_id", &t.ExchangeID}} {
		if err := validID(id.name, *id.value, 0); err != nil {
			return id.name, fmt.Errorf("%s: %w", what, err)
		}
	}
	for _, text := range [...]struct{ name, value string }{{"exchange", t.Exchange}, {"symbol", t.Symbol}, {"order_type", t.Type}} {
		if err := validText(what, text.name, text.value); err != nil {
			return text.name, err
		}
	}
	if err := t.Side.Validate(); err != nil {
		return "side", fmt.Errorf("%s: %w", what, err)
	}
	for _, n := range [...]struct {
		name  string
		value Decimal
		want  string
		ok    bool
	}{
		{"volume", t.Volume, "more than 0", t.Volume.Sign() > 0},
		{"price", t.Price, "more than 0", t.Price.Sign() > 0},
		{"cost", t.Cost, "at least 0", t.Cost.Sign() >= 0},
	} {
		if !n.ok {
			return n.name, fmt.Errorf("%w: %s: %s %s: want %s", ErrInvalid, what, n.name, n.value, n.want)
		}
	}
	if err := validTime(what, t.Time); err != nil {
		return "time", err
	}
	return "", nil
}

// Equal reports whether both say the same about the same trade, numbers compared
// as numbers and times as instants.
func (t Trade) Equal(u Trade) bool {
	if !equalNumbers(t.numbers(), u.numbers()) || !t.Time.Equal(u.Time) ||
		!t.Volume.Equal(u.Volume) || !t.Price.Equal(u.Price) || !t.Cost.Equal(u.Cost) || !t.Fee.Equal(u.Fee) {
		return false
	}
	for _, x := range []*Trade{&t, &u} {
		for _, f := range x.numbers() {
			*f.value = NullDecimal{}
		}
		x.Volume, x.Price, x.Cost, x.Fee, x.Time = Decimal{}, Decimal{}, Decimal{}, Decimal{}, time.Time{}
	}
	return t == u
}
