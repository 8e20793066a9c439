package fulloncache

import (
	"errors"
	"fmt"
	"time"
)

// Balance is what an account has of a currency.
type Balance struct {
	Currency string  `json:"currency"`
	Free     Decimal `json:"free"` // Free can be used now.
	Used     Decimal `json:"used"` // Used is held: by open orders, as margin.
	// Time is as of when it is; a snapshot sets it.
	Time time.Time `json:"time,omitzero"`
}

// Total is what is free and what is used.
func (b Balance) Total() Decimal { return b.Free.Add(b.Used) }

// Equal reports whether both say the same, numbers compared as numbers and times
// as instants.
func (b Balance) Equal(o Balance) bool {
	return b.Currency == o.Currency && b.Free.Equal(o.Free) && b.Used.Equal(o.Used) && b.Time.Equal(o.Time)
}

func (b *Balance) numbers() [2]field {
	return [...]field{{"free", &NullDecimal{b.Free, true}}, {"used", &NullDecimal{b.Used, true}}}
}

// invalid returns ErrInvalid and the name of the field that is wrong.
func (b *Balance) invalid() (name string, err error) {
	if err := validName("currency", b.Currency); err != nil {
		return "currency", err
	}
	what := "balance in " + printable(b.Currency)
	if err := validText(what, "currency", b.Currency); err != nil {
		return "currency", err
	}
	for _, n := range b.numbers() {
		if err := notNegative(what, []field{n}); err != nil {
			return n.name, err
		}
		if !n.value.Decimal.fits() {
			return n.name, fmt.Errorf("%w: %s: %s %s: want at most %d digits", ErrInvalid, what, n.name, n.value, MaxDecimalDigits)
		}
	}
	return "", nil
}

// encode writes the balance as Redis holds it: its currency and time stand beside
// it.
func (b *Balance) encode() string {
	o := jsonObject{b: make([]byte, 0, 64)}
	for _, n := range b.numbers() {
		o.decimal(n.name, *n.value)
	}
	return o.String()
}

// decodeBalance reads what encode writes, and any other JSON of the same. Its
// errors name the field where one is to blame.
func decodeBalance(currency, text string, t time.Time) (Balance, error) {
	var free, used NullDecimal
	r := jsonReader{s: text}
	free, used = r.decimal("free"), r.decimal("used")
	if !r.done() {
		free, used = NullDecimal{}, NullDecimal{}
		to := map[string]any{"free": &free, "used": &used}
		if err := decodeFields(text, func(name string) any { return to[name] }); err != nil {
			return Balance{}, err
		}
	}
	// A missing one would look like a 0.
	switch {
	case !free.Valid:
		return Balance{}, &elementError{name: "free", err: errMissing}
	case !used.Valid:
		return Balance{}, &elementError{name: "used", err: errMissing}
	}
	b := Balance{Currency: currency, Free: free.Decimal, Used: used.Decimal, Time: t}
	// What no write takes was not written by one: never let it look right.
	if name, err := b.invalid(); err != nil {
		return Balance{}, &elementError{name: name, err: err}
	}
	return b, nil
}

// AccountBalances are all balances of an account, as they were at a time.
type AccountBalances struct {
	Account
	Time     time.Time `json:"time"`
	Balances []Balance `json:"balances"` // Balances are in the order of their currencies where they were read.
}

// Balance returns the balance in a currency: 0 of one that is not among them, for
// they are all.
func (a AccountBalances) Balance(currency string) Balance {
	for _, b := range a.Balances {
		if b.Currency == currency {
			return b
		}
	}
	return Balance{Currency: currency, Time: a.Time}
}

// Validate returns [ErrInvalid] unless the balances can be stored: an account, a
// time, and of each currency one balance at most, of which nothing is negative. If
// balances are wrong it is a [BatchError] that names element and field of each.
func (a AccountBalances) Validate() error {
	if err := a.Account.Validate(); err != nil {
		return err
	}
	if err := validTime("balances of "+a.Account.String(), a.Time); err != nil {
		return err
	}
	errs := make([]error, len(a.Balances))
	seen := make(map[string]bool, len(a.Balances))
	for i := range a.Balances {
		b := &a.Balances[i]
		_, err := b.invalid()
		if err == nil && seen[b.Currency] {
			err = fmt.Errorf("%w: balance in %s: currency: it comes twice", ErrInvalid, printable(b.Currency))
		}
		if err != nil {
			errs[i] = fmt.Errorf("element %d: %w", i, err)
		}
		seen[b.Currency] = true
	}
	return batchError(errs)
}

var errNoTime = errors.New("no time: set the balances anew")
