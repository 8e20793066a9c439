package fulloncache

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fullon/fulloncache/internal/keys"
)

// Account names a user's account at an exchange. It can be a map's key.
//
//	desk := fulloncache.Account{UserID: 123, Exchange: "kraken"}
type Account struct {
	UserID   int64  `json:"uid"`
	Exchange string `json:"exchange"`
}

// String returns "user 123 at kraken".
func (a Account) String() string {
	return fmt.Sprintf("user %d at %s", a.UserID, printable(a.Exchange))
}

// Validate returns [ErrInvalid], naming the part, unless the account can have
// positions and balances: a user's id of at least 1, an exchange.
func (a Account) Validate() error {
	_, err := a.invalid()
	return err
}

// invalid is what Validate returns, and the name of the field.
func (a Account) invalid() (name string, err error) {
	if err := validID("uid", a.UserID, 1); err != nil {
		return "uid", err
	}
	if err := validName("exchange", a.Exchange); err != nil {
		return "exchange", err
	}
	return "exchange", validText(a, "exchange", a.Exchange)
}

// market is what hooks are told of a call.
func (a Account) market(symbol string) Market { return Market{Exchange: a.Exchange, Symbol: symbol} }

// member is the account as an index names it.
func (a Account) member() string { return keys.User(a.UserID) + ":" + a.Exchange }

var errAccountMember = errors.New("want a member like user_123:kraken")

// compareAccounts orders accounts by user and exchange.
func compareAccounts(a, b Account) int {
	return cmp.Or(cmp.Compare(a.UserID, b.UserID), strings.Compare(a.Exchange, b.Exchange))
}

// accountOf reads what member writes.
func accountOf(index, member string) (a Account, err error) {
	user, exchange, _ := strings.Cut(member, ":")
	users, bad := usersOf(index, []string{user})
	if len(bad) > 0 {
		return a, &CorruptError{Key: index, Field: member, Err: errAccountMember}
	}
	a = Account{UserID: users[0], Exchange: exchange}
	if err := a.Validate(); err != nil {
		return Account{}, &CorruptError{Key: index, Field: member, Err: err}
	}
	return a, nil
}

// PositionSide is the side of a position.
type PositionSide string

// The sides of a position.
const (
	Long  PositionSide = "long"  // Long: it was bought, and gains when the price rises.
	Short PositionSide = "short" // Short: it was sold, and gains when the price falls.
	Flat  PositionSide = "flat"  // Flat: it is known that there is none.
)

// Validate returns [ErrInvalid] unless it is [Long], [Short] or [Flat].
func (s PositionSide) Validate() error {
	if s != Long && s != Short && s != Flat {
		return fmt.Errorf("%w: side %s: want long, short or flat", ErrInvalid, excerpt(string(s)))
	}
	return nil
}

// Position is what an account owns of a symbol, or owes. One is net: fills of both
// sides make one position.
type Position struct {
	Account
	Symbol string       `json:"symbol"`
	Side   PositionSide `json:"side"`
	// Volume is how much it is, in units of the base: positive, 0 where it is flat.
	Volume Decimal `json:"volume"`
	// AvgPrice is Cost divided by Volume, rounded half-even to 18 places; 0 where it
	// is flat. Reads and fills derive it. A position that is written with an AvgPrice
	// and without a Cost costs their product.
	AvgPrice Decimal `json:"avg_price"`
	// Cost is what was paid for the volume that is open, or received for it where it
	// is short, in units of the quote.
	Cost Decimal `json:"cost"`
	// Fees are what all fills cost beside; negative if rebates prevail.
	Fees Decimal `json:"fees"`
	// RealisedProfit is what the volume brought that is closed, before fees.
	RealisedProfit Decimal `json:"realised_profit"`
	// Time is the exchange's time of the newest fill that counts in it, or as of when
	// it was told, to the nanosecond.
	Time time.Time `json:"time"`
	// Rev numbers the changes of a user's positions: a later one is greater. It never
	// goes back. Writes ignore it.
	Rev int64 `json:"rev,omitzero"`
}

// Flat reports whether it is known that there is no position. Of a zero Position
// nothing is known.
func (p Position) Flat() bool { return p.Side == Flat }

// String returns account, symbol, side, volume and price in a line for people.
func (p Position) String() string {
	what := p.Account.String() + ": " + printable(p.Symbol)
	if p.Flat() {
		return what + " flat"
	}
	return fmt.Sprintf("%s %s %s at %s", what, p.Side, p.Volume, p.AvgPrice)
}

// Equal reports whether both say the same about the same position, numbers
// compared as numbers and times as instants, whatever their revisions.
func (p Position) Equal(q Position) bool {
	return p.Account == q.Account && p.Symbol == q.Symbol && p.Side == q.Side && p.Volume.Equal(q.Volume) &&
		p.AvgPrice.Equal(q.AvgPrice) && p.Cost.Equal(q.Cost) && p.Fees.Equal(q.Fees) &&
		p.RealisedProfit.Equal(q.RealisedProfit) && p.Time.Equal(q.Time)
}

// Validate returns [ErrInvalid], naming the field, unless the position can be
// stored: an account, a symbol, a side, a volume that is positive, or 0 as is the
// cost where it is flat, nothing negative but fees and profit, a time.
func (p Position) Validate() error {
	_, err := p.complete()
	return err
}

// complete makes cost and price fit, and returns ErrInvalid and the name of the
// field that is wrong.
func (p *Position) complete() (name string, err error) {
	if name, err := p.Account.invalid(); err != nil {
		return name, err
	}
	if err := validName("symbol", p.Symbol); err != nil {
		return "symbol", fmt.Errorf("position of %s: %w", p.Account, err)
	}
	what := fmt.Sprintf("position of %s in %s", p.Account, printable(p.Symbol))
	if err := validText(what, "symbol", p.Symbol); err != nil {
		return "symbol", err
	}
	if err := p.Side.Validate(); err != nil {
		return "side", fmt.Errorf("%s: %w", what, err)
	}
	flat := p.Flat()
	for _, n := range [...]struct {
		name  string
		value Decimal
		least int // its sign, where the position is not flat; where it is, 0 is the most
	}{
		{"volume", p.Volume, 1}, {"avg_price", p.AvgPrice, 0}, {"cost", p.Cost, 0},
		{"fees", p.Fees, -1}, {"realised_profit", p.RealisedProfit, -1},
	} {
		switch sign := n.value.Sign(); {
		case !n.value.fits():
			return n.name, fmt.Errorf("%w: %s: %s %s: want at most %d digits", ErrInvalid, what, n.name, n.value, MaxDecimalDigits)
		case n.least < 0:
		case flat && sign != 0:
			return n.name, fmt.Errorf("%w: %s: %s %s: want 0, as it is flat", ErrInvalid, what, n.name, n.value)
		case !flat && sign < n.least:
			return n.name, fmt.Errorf("%w: %s: %s %s: want %s", ErrInvalid, what, n.name, n.value, [...]string{"at least 0", "more than 0"}[n.least])
		}
	}
	if err := validTime(what, p.Time); err != nil {
		return "time", err
	}
	if p.Cost.IsZero() && !flat {
		if p.Cost, err = product(p.Volume, p.AvgPrice); err != nil {
			return "cost", fmt.Errorf("%s: cost: %w", what, err)
		}
	}
	if err := p.price(); err != nil {
		return "avg_price", fmt.Errorf("%s: %w", what, err)
	}
	return "", nil
}
