package fulloncache

import (
	"errors"
	"fmt"
	"strings"
)

// encode writes the trade as Redis holds it: a line of JSON.
func (t *Trade) encode() string { return string(t.appendJSON(nil)) }

// appendJSON is encode to the end of a buffer.
func (t *Trade) appendJSON(b []byte) []byte {
	o := jsonObject{b, len(b)}
	o.text("exchange", t.Exchange, true)
	o.text("symbol", t.Symbol, true)
	o.whole("trade_id", t.ID, false)
	o.text("ex_trade_id", t.ExTradeID, true)
	o.text("ex_order_id", t.ExOrderID, false)
	o.whole("uid", t.UserID, false)
	o.whole("ex_id", t.ExchangeID, false)
	o.text("order_type", t.Type, false)
	o.text("side", string(t.Side), true)
	o.decimal("volume", Some(t.Volume))
	o.decimal("price", Some(t.Price))
	o.decimal("cost", Some(t.Cost))
	o.decimal("fee", Some(t.Fee))
	for _, n := range t.numbers() {
		o.decimal(n.name, *n.value)
	}
	o.moment("time", t.Time)
	return append(o.b, '}')
}

// decodeTrade reads what encode writes, and any other JSON of the same. Its
// errors name the field where one is to blame.
func decodeTrade(text string) (Trade, error) {
	var d tradeDecoder
	if !d.quick(text) {
		d = tradeDecoder{}
		if err := d.any(text); err != nil {
			return Trade{}, err
		}
	}
	// A missing one would look like a 0.
	switch {
	case !d.cost.Valid:
		return Trade{}, &elementError{name: "cost", err: errMissing}
	case !d.fee.Valid:
		return Trade{}, &elementError{name: "fee", err: errMissing}
	}
	d.trade.Cost, d.trade.Fee = d.cost.Decimal, d.fee.Decimal
	// What no write takes was not written by one: never let it look right.
	if name, err := d.trade.invalid(); err != nil {
		return Trade{}, &elementError{name: name, err: err}
	}
	return d.trade, nil
}

// tradeDecoder reads a trade.
type tradeDecoder struct {
	trade     Trade
	cost, fee NullDecimal
}

// quick reads what encode writes; it reports false for everything else.
func (d *tradeDecoder) quick(text string) bool {
	r, t := jsonReader{s: text}, &d.trade
	t.Exchange, t.Symbol = r.text("exchange"), r.text("symbol")
	t.ID = r.whole("trade_id")
	t.ExTradeID, t.ExOrderID = r.text("ex_trade_id"), r.text("ex_order_id")
	t.UserID, t.ExchangeID = r.whole("uid"), r.whole("ex_id")
	t.Type, t.Side = r.text("order_type"), Side(r.text("side"))
	t.Volume, t.Price = r.decimal("volume").Decimal, r.decimal("price").Decimal
	d.cost, d.fee = r.decimal("cost"), r.decimal("fee")
	for _, n := range t.numbers() {
		*n.value = r.decimal(n.name)
	}
	var err error
	t.Time, err = parseTime(r.text("time"))
	return err == nil && r.done()
}

// field returns where a field of a name is kept; nil if there is none.
func (d *tradeDecoder) field(name string) any {
	t := &d.trade
	switch name {
	case "exchange":
		return &t.Exchange
	case "symbol":
		return &t.Symbol
	case "trade_id":
		return &t.ID
	case "ex_trade_id":
		return &t.ExTradeID
	case "ex_order_id":
		return &t.ExOrderID
	case "uid":
		return &t.UserID
	case "ex_id":
		return &t.ExchangeID
	case "order_type":
		return &t.Type
	case "side":
		return (*string)(&t.Side)
	case "volume":
		return &t.Volume
	case "price":
		return &t.Price
	case "cost":
		return &d.cost
	case "fee":
		return &d.fee
	case "cur_volume":
		return &t.CurVolume
	case "cur_avg_price":
		return &t.CurAvgPrice
	case "cur_avg_cost":
		return &t.CurAvgCost
	case "cur_fee":
		return &t.CurFee
	case "roi":
		return &t.ROI
	case "roi_pct":
		return &t.ROIPct
	case "total_fee":
		return &t.TotalFee
	case "leverage":
		return &t.Leverage
	case "time":
		return &t.Time
	}
	return nil
}

// any reads a trade as encoding/json does, and names the field that is wrong.
func (d *tradeDecoder) any(text string) error {
	return decodeFields(text, d.field)
}

// corruptTrade says what is wrong with an element of a list of trades.
func corruptTrade(key, text string, err error) error {
	corrupt := &CorruptError{Key: key}
	var field *elementError
	if errors.As(err, &field) {
		corrupt.Field, err = field.name, field.err
	}
	corrupt.Err = fmt.Errorf("element %q: %w", text, err)
	return corrupt
}

// Messages on the channel of a market's trades, as the scripts write them:
//
//	T rev first
//	R rev
//
// first is the number, among all trades ever pushed, of the first of those that
// follow, a line each.

// tradeBurst is what one push added: trades of a market, of which the first has
// the number first. One without trades says only how many were pushed before.
type tradeBurst struct {
	first   int64
	trades  []Trade
	skipped int64 // how many trades before first it stands for, too
}

// last is the number of the last trade.
func (b tradeBurst) last() int64 { return b.first + int64(len(b.trades)) - 1 }

// since is how many trades were pushed after one and before the burst. One that is not
// before the burst is of a count that has begun anew.
func (b tradeBurst) since(last int64) int64 {
	if last >= b.first {
		last = 0
	}
	return b.first - 1 - last
}

// readTrades decodes a message; channel names it in errors.
func readTrades(channel, message string) (rev int64, burst tradeBurst, err error) {
	head, rest, _ := strings.Cut(message, "\n")
	var kind string
	if n, err := fmt.Sscanf(head, "%1s %d %d", &kind, &rev, &burst.first); kind != messageTick || n != 3 || err != nil {
		return 0, tradeBurst{}, &CorruptError{Key: channel, Err: fmt.Errorf("message %s: want a revision and a number", excerpt(message))}
	}
	for line := range strings.SplitSeq(rest, "\n") {
		t, err := decodeTrade(line)
		switch {
		case err != nil:
			return 0, tradeBurst{}, corruptTrade(channel, line, err)
		case len(burst.trades) > 0 && t.Market != burst.trades[0].Market:
			return 0, tradeBurst{}, corruptTrade(channel, line, fmt.Errorf("of %s beside %s", t.Market, burst.trades[0].Market))
		}
		burst.trades = append(burst.trades, t)
	}
	return rev, burst, nil
}
