package fulloncache

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Side is the side of an order or a trade.
type Side string

// The sides.
const (
	Buy  Side = "buy"
	Sell Side = "sell"
)

// Validate returns [ErrInvalid] unless it is [Buy] or [Sell].
func (s Side) Validate() error {
	if s != Buy && s != Sell {
		return fmt.Errorf("%w: side %s: want buy or sell", ErrInvalid, excerpt(string(s)))
	}
	return nil
}

// OrderStatus is where an order is on its way. The database of older programs
// has other spellings ("Open"), which are kept as they are: compare with
// [OrderStatus.Is].
type OrderStatus string

// The statuses of an order. The last five are final.
const (
	OrderNew       OrderStatus = "new"              // OrderNew: not sent to the exchange yet.
	OrderPending   OrderStatus = "pending"          // OrderPending: sent, not confirmed.
	OrderOpen      OrderStatus = "open"             // OrderOpen: the exchange has it.
	OrderPartial   OrderStatus = "partially_filled" // OrderPartial: open, and filled in part.
	OrderFilled    OrderStatus = "closed"           // OrderFilled: filled to the end.
	OrderCancelled OrderStatus = "canceled"         // OrderCancelled: taken back, maybe after fills.
	OrderRejected  OrderStatus = "rejected"         // OrderRejected: the exchange refused it.
	OrderExpired   OrderStatus = "expired"          // OrderExpired: its time ran out.
	OrderError     OrderStatus = "error"            // OrderError: it failed before the exchange had it.
)

var (
	openStatuses  = []OrderStatus{OrderNew, OrderPending, OrderOpen, OrderPartial}
	finalStatuses = []OrderStatus{OrderFilled, OrderCancelled, OrderRejected, OrderExpired, OrderError}
	// What else programs write for the same.
	statusSynonyms = map[string]OrderStatus{"cancelled": OrderCancelled, "cancel": OrderCancelled, "filled": OrderFilled}
)

// OpenStatuses returns a copy of the statuses, in lower case, of orders that can
// still be filled.
func OpenStatuses() []OrderStatus { return slices.Clone(openStatuses) }

// Canonical returns the status as this package spells it; ok is false, and the
// status as it was, if it is unknown.
func (s OrderStatus) Canonical() (status OrderStatus, ok bool) {
	lower := OrderStatus(strings.ToLower(string(s)))
	if synonym, ok := statusSynonyms[string(lower)]; ok {
		return synonym, true
	}
	if slices.Contains(openStatuses, lower) || slices.Contains(finalStatuses, lower) {
		return lower, true
	}
	return s, false
}

// Spellings returns all that [OrderStatus.Canonical] takes for the status, in
// lower case, its own first. An unknown status has one.
func (s OrderStatus) Spellings() []string {
	c, ok := s.Canonical()
	if !ok {
		return []string{strings.ToLower(string(s))}
	}
	spellings := []string{string(c)}
	for _, synonym := range slices.Sorted(maps.Keys(statusSynonyms)) {
		if statusSynonyms[synonym] == c {
			spellings = append(spellings, synonym)
		}
	}
	return spellings
}

// Is reports whether both are the same status, however they are spelt.
func (s OrderStatus) Is(o OrderStatus) bool {
	a, _ := s.Canonical()
	b, _ := o.Canonical()
	return a == b
}

// Final reports whether an order of this status can be filled no more.
func (s OrderStatus) Final() bool {
	c, _ := s.Canonical()
	return slices.Contains(finalStatuses, c)
}

// Validate returns [ErrInvalid] if the status is unknown.
func (s OrderStatus) Validate() error {
	if _, ok := s.Canonical(); !ok {
		return fmt.Errorf("%w: status %s: want one of %v or %v", ErrInvalid, excerpt(string(s)), openStatuses, finalStatuses)
	}
	return nil
}

// Order is what a bot asks of an exchange.
type Order struct {
	Market
	// ID is the order's own id, which its bot gives it: unique per exchange, at
	// most 64 bytes. One that came into the database without has its number there.
	ID string `json:"order_id"`
	// ExOrderID is the id that the exchange gave it; "" before it has it.
	ExOrderID string `json:"ex_order_id,omitempty"`
	// RecordID is the number of its row in the database; 0 before it is stored.
	RecordID int64 `json:"record_id,omitzero"`
	// BotID, UserID, ExchangeID and CatExchangeID are whose order it is, in the
	// database: the bot, its user, the account, the exchange in the catalogue.
	BotID         int64 `json:"bot_id,omitzero"`
	UserID        int64 `json:"uid,omitzero"`
	ExchangeID    int64 `json:"ex_id,omitzero"`
	CatExchangeID int64 `json:"cat_ex_id,omitzero"`

	Type   string  `json:"order_type"` // Type is as the exchange names it: market, limit, stop-loss.
	Side   Side    `json:"side"`
	Volume Decimal `json:"volume"` // Volume is what to trade, in units of the base.
	// FinalVolume is what was filled of it; absent while nothing is known.
	FinalVolume NullDecimal `json:"final_volume,omitzero"`
	// Price is the limit; absent for an order at the market's price. PLimit is the
	// second price of orders that have one: a stop's limit.
	Price  NullDecimal `json:"price,omitzero"`
	PLimit NullDecimal `json:"plimit,omitzero"`
	// Tick is the market's price when the order was made.
	Tick     NullDecimal `json:"tick,omitzero"`
	Leverage NullDecimal `json:"leverage,omitzero"`
	Futures  bool        `json:"futures,omitzero"`
	Status   OrderStatus `json:"status"`
	Command  string      `json:"command,omitempty"` // Command is the bot's instruction to who executes it.
	Reason   string      `json:"reason,omitempty"`  // Reason is why the bot made it.
	// Time is the order's own time, kept as given, to the nanosecond.
	Time time.Time `json:"time"`
	// Cached is the Redis server's time when the order was last written to the
	// cache; zero on one that was not read from it. Writes ignore it.
	Cached time.Time `json:"cached,omitzero"`
}

// maxOrderID bounds the ids of orders and trades, in bytes, as the database does.
const maxOrderID = 64

// field is a number that may be absent, with its name.
type field struct {
	name  string
	value *NullDecimal
}

// notNegative returns ErrInvalid for the first number that is there and negative.
func notNegative(what string, fields []field) error {
	for _, f := range fields {
		if f.value.Valid && f.value.Decimal.Sign() < 0 {
			return fmt.Errorf("%w: %s: %s %s: want at least 0", ErrInvalid, what, f.name, *f.value)
		}
	}
	return nil
}

func equalNumbers(a, b []field) bool {
	for i := range a {
		if !a[i].value.Equal(*b[i].value) {
			return false
		}
	}
	return true
}

// validTime refuses times that no program means: what is missing, or in the
// wrong unit.
func validTime(what any, t time.Time) error {
	if y := t.UTC().Year(); t.IsZero() || y < 1970 || y > 9999 {
		return fmt.Errorf("%w: %s: time %s: want one from 1970 to 9999", ErrInvalid, what, t)
	}
	return nil
}

// validRef refuses an id that its maker gave as text. what names whose it is: a
// text, or what makes one where it is needed.
func validRef(what any, name, id string, required bool) error {
	switch {
	case id == "" && required:
		return fmt.Errorf("%w: %s: %s is empty", ErrInvalid, what, name)
	case len(id) > maxOrderID:
		return fmt.Errorf("%w: %s: %s has %d bytes: want at most %d", ErrInvalid, what, name, len(id), maxOrderID)
	}
	return validText(what, name, id)
}

// number is a whole number that is 0 where it is absent, with its name.
type number struct {
	name  string
	value *int64
}

// word is a text, with its name.
type word struct {
	name  string
	value *string
}

func (o *Order) texts() []word {
	return []word{
		{"exchange", &o.Exchange}, {"symbol", &o.Symbol}, {"order_id", &o.ID}, {"ex_order_id", &o.ExOrderID},
		{"order_type", &o.Type}, {"side", (*string)(&o.Side)}, {"status", (*string)(&o.Status)},
		{"command", &o.Command}, {"reason", &o.Reason},
	}
}

func (o *Order) ids() []number {
	return []number{
		{"record_id", &o.RecordID}, {"bot_id", &o.BotID}, {"uid", &o.UserID}, {"ex_id", &o.ExchangeID}, {"cat_ex_id", &o.CatExchangeID},
	}
}

func (o *Order) numbers() []field {
	return []field{
		{"final_volume", &o.FinalVolume}, {"price", &o.Price}, {"plimit", &o.PLimit}, {"tick", &o.Tick}, {"leverage", &o.Leverage},
	}
}

// Validate returns [ErrInvalid], naming the field, unless the order can be
// stored: a market, an id, a type, a side, a status, a positive volume, nothing
// negative, a time.
func (o Order) Validate() error {
	_, err := o.invalid()
	return err
}

// namedOrder makes the text that names an order in an error: that takes longer
// than all checks.
type namedOrder struct{ *Order }

func (o namedOrder) String() string {
	if o.ID == "" || len(o.ID) > maxOrderID {
		return "order " + o.Market.String()
	}
	return "order " + o.Market.String() + " " + printable(o.ID)
}

// invalid is what Validate returns, and the name of the field.
func (o *Order) invalid() (name string, err error) {
	if err := validName("exchange", o.Exchange); err != nil {
		return "exchange", err
	}
	if err := validName("symbol", o.Symbol); err != nil {
		return "symbol", err
	}
	what := namedOrder{o}
	if err := validRef(what, "order_id", o.ID, true); err != nil {
		return "order_id", err
	}
	if err := validRef(what, "ex_order_id", o.ExOrderID, false); err != nil {
		return "ex_order_id", err
	}
	for _, id := range o.ids() {
		if err := validID(id.name, *id.value, 0); err != nil {
			return id.name, fmt.Errorf("%s: %w", what, err)
		}
	}
	for _, text := range [...]struct{ name, value string }{
		{"exchange", o.Exchange}, {"symbol", o.Symbol}, {"order_type", o.Type}, {"command", o.Command}, {"reason", o.Reason},
	} {
		if err := validText(what, text.name, text.value); err != nil {
			return text.name, err
		}
	}
	if o.Type == "" {
		return "order_type", fmt.Errorf("%w: %s: order_type is empty", ErrInvalid, what)
	}
	if err := o.Side.Validate(); err != nil {
		return "side", fmt.Errorf("%s: %w", what, err)
	}
	if err := o.Status.Validate(); err != nil {
		return "status", fmt.Errorf("%s: %w", what, err)
	}
	if o.Volume.Sign() <= 0 {
		return "volume", fmt.Errorf("%w: %s: volume %s: want more than 0", ErrInvalid, what, o.Volume)
	}
	for _, n := range o.numbers() {
		if n.value.Valid && n.value.Decimal.Sign() < 0 {
			return n.name, fmt.Errorf("%w: %s: %s %s: want at least 0", ErrInvalid, what, n.name, *n.value)
		}
	}
	if err := validTime(what, o.Time); err != nil {
		return "time", err
	}
	return "", nil
}

// Equal reports whether both say the same about the same order, numbers compared
// as numbers and times as instants, whenever they were cached.
func (o Order) Equal(p Order) bool {
	if !equalNumbers(o.numbers(), p.numbers()) || !o.Volume.Equal(p.Volume) || !o.Time.Equal(p.Time) {
		return false
	}
	for _, x := range []*Order{&o, &p} {
		for _, f := range x.numbers() {
			*f.value = NullDecimal{}
		}
		x.Volume, x.Time, x.Cached = Decimal{}, time.Time{}, time.Time{}
	}
	return o == p
}
