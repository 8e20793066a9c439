package orm

import (
	"fmt"
	"strings"

	"github.com/fullon/fulloncache"
)

// DefaultLimit is how many rows a page has at most, where its filter does not say.
const DefaultLimit = 1000

// limitOf is the limit of a filter.
func limitOf(what string, limit int) (int, error) {
	switch {
	case limit < 0:
		return 0, fmt.Errorf("%s: %w: limit %d: want at least 0", what, fulloncache.ErrInvalid, limit)
	case limit == 0:
		return DefaultLimit, nil
	}
	return limit, nil
}

// conditions are what a list's rows fit, all of them.
type conditions struct {
	parts []string
	args  []any
}

func (c *conditions) and(condition string, args ...any) {
	c.parts = append(c.parts, condition)
	c.args = append(c.args, args...)
}

// search wants a text in one of the columns, whatever its case.
func (c *conditions) search(text string, columns ...string) {
	pattern := "%" + strings.NewReplacer("!", "!!", "%", "!%", "_", "!_").Replace(text) + "%"
	parts, args := make([]string, len(columns)), make([]any, len(columns))
	for i, column := range columns {
		parts[i], args[i] = "lower("+column+") LIKE lower(?) ESCAPE '!'", pattern
	}
	c.and("("+strings.Join(parts, " OR ")+")", args...)
}

// String is the WHERE clause.
func (c *conditions) String() string {
	if len(c.parts) == 0 {
		return ""
	}
	return "WHERE " + strings.Join(c.parts, " AND ")
}

// mapped turns rows into the root's types.
func mapped[R, T any](rows []R, to func(R) T) []T {
	list := make([]T, len(rows))
	for i, row := range rows {
		list[i] = to(row)
	}
	return list
}
