package fulloncache

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Tick is what an exchange says about a market at a moment. Price and Time are
// required; what an exchange does not send stays absent.
//
//	tick := fulloncache.Tick{
//		Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"},
//		Price:  fulloncache.MustDecimal("67123.4"),
//		Bid:    fulloncache.Some(fulloncache.MustDecimal("67123.3")),
//		Time:   time.Now(),
//	}
type Tick struct {
	Market
	// Price is what the market trades at, in units of the quote currency.
	Price Decimal `json:"price"`
	// Bid and Ask are the best offers to buy and to sell.
	Bid NullDecimal `json:"bid,omitzero"`
	Ask NullDecimal `json:"ask,omitzero"`
	// Last is the price of the last trade.
	Last NullDecimal `json:"last,omitzero"`
	// Volume is what was traded in the exchange's window, mostly 24 hours, in
	// units of the base currency.
	Volume NullDecimal `json:"volume,omitzero"`
	// Time is the exchange's time of the tick. It is stored in UTC, to the
	// nanosecond.
	Time time.Time `json:"time"`
	// Received is the Redis server's time when the tick was stored; zero on a
	// tick that was not read from the cache. Set ignores it.
	Received time.Time `json:"received,omitzero"`
}

// Age is how old the tick is at a moment: never negative, since a tick may be a
// little ahead of this machine's clock.
func (t Tick) Age(now time.Time) time.Duration { return max(now.Sub(t.Time), 0) }

// String returns market, price and time in a line for people.
func (t Tick) String() string {
	return fmt.Sprintf("%s %s at %s", t.Market, t.Price, t.Time.UTC().Format(time.RFC3339Nano))
}

// Equal reports whether both say the same about the same market, numbers
// compared as numbers and times as instants, wherever and whenever they were
// stored.
func (t Tick) Equal(o Tick) bool {
	return t.Market == o.Market && t.Price.Equal(o.Price) && t.Bid.Equal(o.Bid) && t.Ask.Equal(o.Ask) &&
		t.Last.Equal(o.Last) && t.Volume.Equal(o.Volume) && t.Time.Equal(o.Time)
}

// Validate returns [ErrInvalid], naming the field, unless the tick can be
// stored: a market, a positive price, nothing negative, a time.
func (t Tick) Validate() error {
	if err := t.Market.Validate(); err != nil {
		return err
	}
	if t.Price.Sign() <= 0 {
		return fmt.Errorf("%w: tick %s: price %s: want more than 0", ErrInvalid, t.Market, t.Price)
	}
	for i, n := range t.optional() {
		if n.Valid && n.Decimal.Sign() < 0 {
			return fmt.Errorf("%w: tick %s: %s %s: want at least 0", ErrInvalid, t.Market, optionalFields[i], *n)
		}
	}
	if y := t.Time.UTC().Year(); t.Time.IsZero() || y < 1970 || y > 9999 {
		return fmt.Errorf("%w: tick %s: time %s: want one from 1970 to 9999", ErrInvalid, t.Market, t.Time)
	}
	return nil
}

// optionalFields are the names of the fields that may be absent.
var optionalFields = [...]string{"bid", "ask", "last", "volume"}

// optional are the fields that may be absent, in the order of their names.
func (t *Tick) optional() [len(optionalFields)]*NullDecimal {
	return [...]*NullDecimal{&t.Bid, &t.Ask, &t.Last, &t.Volume}
}

// timeFormat is how Redis holds times: UTC, fixed width, sorts as text.
const timeFormat = "2006-01-02T15:04:05.000000000Z"

var errTimeFormat = errors.New("want a time like 2006-01-02T15:04:05.000000000Z")

// formatTime writes a time as Redis holds it.
func formatTime(t time.Time) string {
	var buf [len(timeFormat)]byte
	return string(appendTime(buf[:0], t))
}

// appendTime appends what formatTime writes, in a quarter of the time that
// [time.Time.AppendFormat] takes: it reads the format anew each time.
func appendTime(b []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(b, timeFormat)
	}
	hour, minute, second := t.Clock()
	b = append(appendDigits(b, year, 4), '-')
	b = append(appendDigits(b, int(month), 2), '-')
	b = append(appendDigits(b, day, 2), 'T')
	b = append(appendDigits(b, hour, 2), ':')
	b = append(appendDigits(b, minute, 2), ':')
	b = append(appendDigits(b, second, 2), '.')
	return append(appendDigits(b, t.Nanosecond(), 9), 'Z')
}

// appendDigits appends a number as so many digits.
func appendDigits(b []byte, n, digits int) []byte {
	b = append(b, "000000000"[:digits]...)
	for i := len(b) - 1; n > 0; i-- {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return b
}

// parseTime reads a time as formatTime writes it, and nothing else.
func parseTime(s string) (time.Time, error) {
	// time.Parse takes a comma for the point and an hour of one digit, too.
	if len(s) != len(timeFormat) || s[13] != ':' || s[19] != '.' || s[len(s)-1] != 'Z' {
		return time.Time{}, errTimeFormat
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, errTimeFormat
	}
	return t.UTC(), nil
}

// storedTick is a tick as the cache holds it.
type storedTick struct {
	Tick
	rev int64
}

// tickFields are the fields of a ticker's hash, in the order of HMGET.
var tickFields = [...]string{"exchange", "symbol", "price", "bid", "ask", "last", "volume", "time", "rev", "received"}

// readTick decodes the reply to HMGET key tickFields… It returns ErrNotFound if
// there is no hash and a CorruptError for what cannot be a ticker.
func readTick(key string, reply rueidis.RedisMessage) (s storedTick, err error) {
	values, err := reply.ToArray()
	if err != nil {
		return s, &CorruptError{Key: key, Err: fmt.Errorf("unexpected reply: %w", err)}
	}
	if len(values) != len(tickFields) {
		return s, &CorruptError{Key: key, Err: fmt.Errorf("unexpected reply: %d values, want %d", len(values), len(tickFields))}
	}
	var text [len(tickFields)]string
	absent := 0
	for i, v := range values {
		if v.IsNil() {
			absent++
			continue
		}
		if text[i], err = v.ToString(); err != nil {
			return s, &CorruptError{Key: key, Field: tickFields[i], Err: err}
		}
	}
	if absent == len(tickFields) {
		return s, ErrNotFound
	}
	var has [len(tickFields)]bool
	for i, v := range values {
		has[i] = !v.IsNil()
	}
	return parseTick(key, text, has)
}

// parseTick reads the fields of a ticker.
func parseTick(key string, text [len(tickFields)]string, has [len(tickFields)]bool) (s storedTick, err error) {
	for i, name := range tickFields {
		if !has[i] && (i < 3 || i > 6) {
			return s, &CorruptError{Key: key, Field: name, Err: errors.New("missing")}
		}
	}
	corrupt := func(i int, err error) (storedTick, error) {
		return storedTick{}, &CorruptError{Key: key, Field: tickFields[i], Err: err}
	}
	s.Exchange, s.Symbol = text[0], text[1]
	if s.Price, err = ParseDecimal(text[2]); err != nil {
		return corrupt(2, err)
	}
	for i, n := range s.optional() {
		if has[3+i] {
			if n.Decimal, err = ParseDecimal(text[3+i]); err != nil {
				return corrupt(3+i, err)
			}
			n.Valid = true
		}
	}
	if s.Time, err = parseTime(text[7]); err != nil {
		return corrupt(7, err)
	}
	if s.rev, err = strconv.ParseInt(text[8], 10, 64); err != nil {
		return corrupt(8, err)
	}
	if s.Received, err = parseTime(text[9]); err != nil {
		return corrupt(9, err)
	}
	// What Set refuses cannot have been stored by it: never let it look right.
	if err := s.Validate(); err != nil {
		return storedTick{}, &CorruptError{Key: key, Err: err}
	}
	return s, nil
}

// Messages on the ticker channels, as the scripts write them:
//
//	T rev received time price bid ask last volume n exchange+symbol
//	D rev received n exchange+symbol
//	R rev
//	B received
//
// An absent number is "-"; n is the length of the exchange in bytes, so that
// names may hold anything.
const (
	messageTick    = "T"
	messageDeleted = "D"
	messageReset   = "R"
	messageBeat    = "B"
)

// tickMessage is a decoded message.
type tickMessage struct {
	kind string
	tick storedTick // of a deletion, only market and rev
}

// readMessage decodes a message; channel names it in errors.
func readMessage(channel, message string) (m tickMessage, err error) {
	corrupt := func(what string) (tickMessage, error) {
		if len(message) > 200 {
			message = message[:200] + "…"
		}
		return tickMessage{}, &CorruptError{Key: channel, Err: fmt.Errorf("message %q: %s", message, what)}
	}
	rest := message
	word := func() (w string) {
		w, rest, _ = strings.Cut(rest, " ")
		return w
	}
	switch m.kind = word(); m.kind {
	case messageReset, messageBeat:
		return m, nil
	case messageTick, messageDeleted:
	default:
		return corrupt("unknown kind")
	}
	var text [len(tickFields)]string
	has := [len(tickFields)]bool{0: true, 1: true, 2: true, 7: true, 8: true, 9: true}
	text[8], text[9] = word(), word()
	if m.kind == messageTick {
		text[7] = word()
		for i := 2; i < 7; i++ {
			if text[i] = word(); i > 2 {
				has[i] = text[i] != "-"
			}
		}
	}
	n, err := strconv.Atoi(word())
	if err != nil || n < 0 || n > len(rest) {
		return corrupt("no names")
	}
	text[0], text[1] = rest[:n], rest[n:]
	if m.kind == messageTick {
		m.tick, err = parseTick(channel, text, has)
		return m, err
	}
	m.tick.Market = Market{Exchange: text[0], Symbol: text[1]}
	if m.tick.rev, err = strconv.ParseInt(text[8], 10, 64); err != nil {
		return corrupt("no revision")
	}
	return m, nil
}
