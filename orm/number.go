package orm

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/uptrace/bun/dialect"
	"github.com/uptrace/bun/schema"

	"github.com/fullon/fulloncache"
)

// number is an amount in a column of any type that databases keep amounts in:
// numeric, double precision, integer or text.
type number struct{ fulloncache.NullDecimal }

// Scan reads a column. Null is absent. Only a double is rounded, where it has
// more places than a Decimal: its last digits mean nothing. The error of a number
// that a Decimal cannot hold is ErrCorrupt; database/sql adds the column's name.
func (n *number) Scan(src any) error {
	var text string
	switch src := src.(type) {
	case nil:
		*n = number{}
		return nil
	case string:
		text = src
	case []byte:
		text = string(src)
	case int64:
		text = strconv.FormatInt(src, 10)
	case float64:
		if math.IsNaN(src) || math.IsInf(src, 0) {
			return fmt.Errorf("%w: %v: want a finite number", fulloncache.ErrCorrupt, src)
		}
		text = strconv.FormatFloat(src, 'f', -1, 64)
		if point := strings.IndexByte(text, '.'); point >= 0 && len(text)-point-1 > fulloncache.MaxDecimalPlaces {
			text = strconv.FormatFloat(src, 'f', fulloncache.MaxDecimalPlaces, 64)
		}
	default:
		return fmt.Errorf("%w: a %T: want a number", fulloncache.ErrCorrupt, src)
	}
	d, err := fulloncache.ParseDecimal(text)
	if err != nil {
		return fmt.Errorf("%w: %w", fulloncache.ErrCorrupt, err)
	}
	n.NullDecimal = fulloncache.Some(d)
	return nil
}

// AppendQuery writes the number as a literal without a type, which becomes the
// column's.
func (n number) AppendQuery(_ schema.QueryGen, b []byte) ([]byte, error) {
	if !n.Valid {
		return dialect.AppendNull(b), nil
	}
	return append(append(append(b, '\''), n.String()...), '\''), nil
}
