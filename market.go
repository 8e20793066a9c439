package fulloncache

import (
	"fmt"
)

// maxName bounds an exchange's or a symbol's name, in bytes.
const maxName = 256

// Market names what is traded: a symbol at an exchange. Any bytes are allowed
// in both names (keys are escaped, values carry the name as given); neither may
// be empty or longer than 256 bytes. It can be a map's key.
//
//	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
type Market struct {
	Exchange string `json:"exchange"`
	Symbol   string `json:"symbol"`
}

// String returns "exchange symbol", quoted where a name has odd characters.
func (m Market) String() string {
	return printable(m.Exchange) + " " + printable(m.Symbol)
}

// Validate returns [ErrInvalid], naming the part, unless both names are usable.
func (m Market) Validate() error {
	if err := validName("exchange", m.Exchange); err != nil {
		return err
	}
	return validName("symbol", m.Symbol)
}

func validName(what, name string) error {
	switch {
	case name == "":
		return fmt.Errorf("%w: %s is empty", ErrInvalid, what)
	case len(name) > maxName:
		return fmt.Errorf("%w: %s %q… has %d bytes: want at most %d", ErrInvalid, what, name[:32], len(name), maxName)
	}
	return nil
}

// printable returns s as it is if it can stand in a line of text, else quoted.
func printable(s string) string {
	if q := fmt.Sprintf("%q", s); q != `"`+s+`"` {
		return q
	}
	return s
}
