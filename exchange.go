package fulloncache

import (
	"fmt"
	"maps"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

// CatExchange is an exchange of the catalogue: kraken, binance.
type CatExchange struct {
	ID   int64  `json:"cat_ex_id,omitzero"` // ID is the database's id, 0 before it is stored.
	Name string `json:"name"`               // Name is what markets call it.
	// OHLCVView names the database's view of its candles, where there is one.
	OHLCVView string `json:"ohlcv_view,omitempty"`
	// Params are its parameters by name. What a read returns is shared: do not
	// change it.
	Params map[string]string `json:"params,omitempty"`
	// Loaded is when it was read from the database; zero on one that was not read
	// from the cache. Writes ignore it.
	Loaded time.Time `json:"loaded,omitzero"`
}

// Validate returns [ErrInvalid], naming the field, unless the exchange can be
// stored: a name, and parameters with names.
func (e CatExchange) Validate() error {
	if err := validID("cat_ex_id", e.ID, 0); err != nil {
		return err
	}
	if err := storedName("exchange", e.Name); err != nil {
		return err
	}
	what := "exchange " + printable(e.Name)
	if err := validText(what, "ohlcv_view", e.OHLCVView); err != nil {
		return err
	}
	return validParams(what, e.Params)
}

// Equal reports whether both say the same, whenever they were read.
func (e CatExchange) Equal(o CatExchange) bool {
	return e.ID == o.ID && e.Name == o.Name && e.OHLCVView == o.OHLCVView && maps.Equal(e.Params, o.Params)
}

// CatExchangeParam is one parameter of an exchange of the catalogue.
type CatExchangeParam struct {
	CatExchangeID int64  `json:"cat_ex_id"`
	Name          string `json:"name"`
	Value         string `json:"value"`
}

// Exchange is a user's account at an exchange.
type Exchange struct {
	ID     int64 `json:"ex_id,omitzero"` // ID is the database's id, 0 before it is stored.
	UserID int64 `json:"uid"`            // UserID is whose account it is. It never changes.
	// CatExchangeID is the exchange in the catalogue, and CatName its name there,
	// which markets use. The store fills CatName.
	CatExchangeID int64  `json:"cat_ex_id"`
	CatName       string `json:"cat_name,omitempty"`
	Name          string `json:"name"`   // Name is what the user calls the account.
	Test          bool   `json:"test"`   // Test says that it is one of the exchange's test net.
	Active        bool   `json:"active"` // Active says that it is to be used.
	// Created is when it was stored first, to the microsecond. The store fills it.
	Created time.Time `json:"timestamp,omitzero"`
	// Loaded is when it was read from the database; zero on one that was not read
	// from the cache. Writes ignore it.
	Loaded time.Time `json:"loaded,omitzero"`
}

// Validate returns [ErrInvalid], naming the field, unless the account can be
// stored: a user, an exchange of the catalogue and a name.
func (e Exchange) Validate() error {
	if err := validID("ex_id", e.ID, 0); err != nil {
		return err
	}
	if err := validID("uid", e.UserID, 1); err != nil {
		return err
	}
	if err := validID("cat_ex_id", e.CatExchangeID, 1); err != nil {
		return err
	}
	return storedName("exchange account", e.Name)
}

// Age is how long ago the account was read from the database.
func (e Exchange) Age(now time.Time) time.Duration { return max(now.Sub(e.Loaded), 0) }

// Equal reports whether both say the same about the same account, whenever they
// were read.
func (e Exchange) Equal(o Exchange) bool {
	same := e.Created.Equal(o.Created)
	e.Created, o.Created = time.Time{}, time.Time{}
	e.Loaded, o.Loaded = time.Time{}, time.Time{}
	return same && e == o
}

// maxSmallInt is the most that the database's small columns hold.
const maxSmallInt = math.MaxInt16

// validID refuses what can be no id; least is 1, or 0 where a row may be new.
func validID(what string, id, least int64) error {
	if id < least {
		return fmt.Errorf("%w: %s %d: want at least %d", ErrInvalid, what, id, least)
	}
	return nil
}

// storedName refuses a name that the database cannot hold.
func storedName(what, name string) error {
	if err := validName(what, name); err != nil {
		return err
	}
	if !storable(name) {
		return fmt.Errorf("%w: %s %s: %s", ErrInvalid, what, excerpt(name), wantStorable)
	}
	return nil
}

// validText refuses a text that the database cannot hold; it may be empty.
func validText(what any, field, text string) error {
	if !storable(text) {
		return fmt.Errorf("%w: %s: %s %s: %s", ErrInvalid, what, field, excerpt(text), wantStorable)
	}
	return nil
}

// validParams refuses parameters that the database cannot hold.
func validParams(what string, params map[string]string) error {
	for name, value := range params {
		if err := storedName("parameter", name); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if err := validText(what, "parameter "+printable(name), value); err != nil {
			return err
		}
	}
	return nil
}

const wantStorable = "want UTF-8 without null bytes, as the database takes it"

// excerpt quotes a text that is refused, of a long one the beginning: it may be
// of any length, and an error ends up in a log.
func excerpt(text string) string {
	const most = 64
	if len(text) > most {
		return fmt.Sprintf("%q…", text[:most])
	}
	return fmt.Sprintf("%q", text)
}

// storedMarket refuses a market that the database cannot hold.
func storedMarket(m Market) error {
	if err := storedName("exchange", m.Exchange); err != nil {
		return err
	}
	return storedName("symbol", m.Symbol)
}

// storable reports whether the database can hold a text.
func storable(text string) bool {
	for i := range len(text) {
		if c := text[i]; c == 0 || c >= utf8.RuneSelf {
			return utf8.ValidString(text) && !strings.Contains(text, "\x00")
		}
	}
	return true
}
