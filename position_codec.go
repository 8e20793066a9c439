package fulloncache

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A position in Redis is JSON whose first member is its revision, which the
// scripts give it:
//
//	{"rev":1764115200000000,"time":"…","uid":123,"exchange":"kraken","symbol":"BTC/USD",
//	 "side":"long","volume":0.5,"cost":33500,"fees":1.5,"realised_profit":0}
//
// Beside the positions, under "", stands as of when all of an account's were told:
//
//	{"rev":1764115200000000,"time":"…","uid":123,"exchange":"kraken","whole":true}
//
// It is whole until one of them is deleted.

// storedPosition is a position as the cache holds it.
type storedPosition struct {
	Position
	text string // what Redis holds
}

// positionsTold is as of when all positions of an account were told.
type positionsTold struct {
	Account
	rev   int64
	time  time.Time
	whole bool // what is not stored is flat
}

// encode writes the position as Redis holds it, without the revision.
func (p *Position) encode() string {
	o := jsonObject{b: make([]byte, 0, 256)}
	o.text("time", formatTime(p.Time), true)
	o.whole("uid", p.UserID, true)
	o.text("exchange", p.Exchange, true)
	o.text("symbol", p.Symbol, true)
	o.text("side", string(p.Side), true)
	o.decimal("volume", Some(p.Volume))
	o.decimal("cost", Some(p.Cost))
	o.decimal("fees", Some(p.Fees))
	o.decimal("realised_profit", Some(p.RealisedProfit))
	return afterRevision(o)
}

// encode writes it as Redis holds it, without the revision.
func (w *positionsTold) encode() string {
	o := jsonObject{b: make([]byte, 0, 128)}
	o.text("time", formatTime(w.time), true)
	o.whole("uid", w.UserID, true)
	o.text("exchange", w.Exchange, true)
	o.flag("whole", w.whole)
	return afterRevision(o)
}

// afterRevision is what follows the first member of an object.
func afterRevision(o jsonObject) string { return "," + o.String()[1:] }

// withRevision puts the revision in front, as the scripts do.
func withRevision(rev int64, rest string) string {
	return `{"rev":` + strconv.FormatInt(rev, 10) + rest
}

// positionDecoder reads a position, or when all were told.
type positionDecoder struct {
	p                          Position
	volume, cost, fees, profit NullDecimal
	whole                      bool
}

// numbers are required: a missing one would look like a 0.
func (d *positionDecoder) numbers() [4]field {
	return [...]field{{"volume", &d.volume}, {"cost", &d.cost}, {"fees", &d.fees}, {"realised_profit", &d.profit}}
}

// quick reads what encode writes; it reports false for everything else.
func (d *positionDecoder) quick(text string) bool {
	r, p := jsonReader{s: text}, &d.p
	p.Rev = r.whole("rev")
	var err error
	p.Time, err = parseTime(r.text("time"))
	p.UserID, p.Exchange, p.Symbol = r.whole("uid"), r.text("exchange"), r.text("symbol")
	p.Side = PositionSide(r.text("side"))
	for _, n := range d.numbers() {
		*n.value = r.decimal(n.name)
	}
	d.whole = r.flag("whole")
	return err == nil && r.done()
}

// any reads it as encoding/json does, and names the field that is wrong.
func (d *positionDecoder) any(text string) error {
	p := &d.p
	to := map[string]any{
		"rev": &p.Rev, "time": &p.Time, "uid": &p.UserID, "exchange": &p.Exchange, "symbol": &p.Symbol,
		"side": (*string)(&p.Side), "whole": &d.whole,
	}
	for _, n := range d.numbers() {
		to[n.name] = n.value
	}
	return decodeFields(text, func(name string) any { return to[name] })
}

// read reads what encode writes, and any other JSON of the same.
func (d *positionDecoder) read(text string) error {
	if d.quick(text) {
		return nil
	}
	*d = positionDecoder{}
	return d.any(text)
}

// readPosition reads a position of an account and a symbol. Its errors are
// CorruptErrors of the key and the symbol.
func readPosition(key string, a Account, symbol, text string) (storedPosition, error) {
	s, err := decodePosition(text)
	if err == nil && (s.Account != a || s.Symbol != symbol) {
		err = fmt.Errorf("it is of %s in %s", s.Account, printable(s.Symbol))
	}
	if err != nil {
		return storedPosition{}, &CorruptError{Key: key, Field: symbol, Err: err}
	}
	return s, nil
}

// decodePosition reads a position. Its errors name the field where one is to
// blame.
func decodePosition(text string) (storedPosition, error) {
	var d positionDecoder
	if err := d.read(text); err != nil {
		return storedPosition{}, err
	}
	for _, n := range d.numbers() {
		if !n.value.Valid {
			return storedPosition{}, &elementError{name: n.name, err: errMissing}
		}
	}
	d.p.Volume, d.p.Cost, d.p.Fees, d.p.RealisedProfit = d.volume.Decimal, d.cost.Decimal, d.fees.Decimal, d.profit.Decimal
	// What no write takes was not written by one: never let it look right.
	if d.p.Rev < 1 {
		return storedPosition{}, &elementError{name: "rev", err: errMissing}
	}
	if name, err := d.p.complete(); err != nil {
		return storedPosition{}, &elementError{name: name, err: err}
	}
	return storedPosition{d.p, text}, nil
}

// readTold reads as of when all positions of an account were told; "" if they
// never were. Its errors are CorruptErrors of the key.
func readTold(key string, a Account, text string) (positionsTold, error) {
	if text == "" {
		return positionsTold{}, nil
	}
	w, err := decodeTold(text)
	if err == nil && w.Account != a {
		err = fmt.Errorf("it is of %s", w.Account)
	}
	if err != nil {
		return positionsTold{}, &CorruptError{Key: key, Err: fmt.Errorf("as of when all positions were told: %w", err)}
	}
	return w, nil
}

// decodeTold reads as of when all positions of an account were told. Its errors
// name the field where one is to blame.
func decodeTold(text string) (positionsTold, error) {
	var d positionDecoder
	if err := d.read(text); err != nil {
		return positionsTold{}, err
	}
	w := positionsTold{Account: d.p.Account, rev: d.p.Rev, time: d.p.Time, whole: d.whole}
	name, err := w.invalid()
	switch {
	case err != nil:
	case w.rev < 1:
		name, err = "rev", errMissing
	default:
		name, err = "time", validTime(w.Account, w.time)
	}
	if err != nil {
		return positionsTold{}, &elementError{name: name, err: err}
	}
	return w, nil
}

// flat is the position in a symbol that was not among those that were told.
func (w positionsTold) flat(symbol string) Position {
	return Position{Account: w.Account, Symbol: symbol, Side: Flat, Time: w.time, Rev: w.rev}
}

// Messages on the channel of an account's positions, as the scripts write them:
//
//	P position
//	S what was told of all
//	D rev user n, a new line, exchange+symbol
//	R rev
//
// n is the length of the exchange in bytes.
const (
	messagePosition  = "P"
	messagePositions = "S"
)

// positionMessage is a decoded message.
type positionMessage struct {
	kind string
	// position is the new one; of a deletion only account, symbol and revision, and
	// without the symbol if all were told.
	position Position
}

// readPositionMessage decodes a message; channel names it in errors.
func readPositionMessage(channel, message string) (m positionMessage, err error) {
	kind, rest, _ := strings.Cut(message, " ")
	m.kind = kind
	switch kind {
	case messageReset:
	case messagePosition:
		var s storedPosition
		s, err = decodePosition(rest)
		m.position = s.Position
	case messagePositions:
		var told positionsTold
		told, err = decodeTold(rest)
		m.position = Position{Account: told.Account, Rev: told.rev}
	case messageDeleted:
		m.position, err = decodeDeleted(rest)
	default:
		err = errors.New("unknown kind")
	}
	if err != nil {
		return positionMessage{}, &CorruptError{Key: channel, Err: fmt.Errorf("message %s: %w", excerpt(message), err)}
	}
	return m, nil
}

// decodeDeleted reads which position was deleted.
func decodeDeleted(text string) (p Position, err error) {
	var length int
	head, names, _ := strings.Cut(text, "\n")
	if _, err := fmt.Sscanf(head, "%d %d %d", &p.Rev, &p.UserID, &length); err != nil || length < 0 || length > len(names) {
		return Position{}, errCounted
	}
	p.Exchange, p.Symbol = names[:length], names[length:]
	return p, validPosition(p.Account, p.Symbol)
}
