package orm

import (
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/fullon/fulloncache"
)

// storable reports whether a database can hold a text. PostgreSQL refuses null
// bytes and malformed UTF-8, so SQLite does not get them either.
func storable(text string) bool {
	return utf8.ValidString(text) && !strings.Contains(text, "\x00")
}

// checkText returns ErrInvalid if one of a statement's arguments is a text that
// databases do not take: on its way into the statement it would be altered.
func checkText(args []any) error {
	for _, arg := range args {
		if v := reflect.ValueOf(arg); v.Kind() == reflect.String && !storable(v.String()) {
			return fmt.Errorf("%w: %s: want UTF-8 without null bytes", fulloncache.ErrInvalid, printable(v.String()))
		}
	}
	return nil
}

// printable returns a name for an error: as it is if it can stand in a line of
// text, else quoted, and not endless.
func printable(s string) string {
	const long = 64
	end := ""
	if len(s) > long {
		s, end = s[:long], "…"
	}
	if q := fmt.Sprintf("%q", s); q != `"`+s+`"` {
		return q + end
	}
	return s + end
}

// null is a value that is null in the database where it is zero here.
func null[T comparable](value T) *T {
	if value == *new(T) {
		return nil
	}
	return &value
}
