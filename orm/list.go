package orm

import (
	"fmt"
	"strings"

	"github.com/fullon/fulloncache"
)

const (
	// DefaultLimit is how many rows a List returns that was given no limit.
	DefaultLimit = 1000
	// MaxLimit is how many rows a List can be asked for.
	MaxLimit = 100_000
)

// limitOf is the limit of a filter.
func limitOf(limit int) (int64, error) {
	switch {
	case limit == 0:
		return DefaultLimit, nil
	case limit < 0 || limit > MaxLimit:
		return 0, fmt.Errorf("%w: limit %d: want from 0 to %d", fulloncache.ErrInvalid, limit, MaxLimit)
	}
	return int64(limit), nil
}

// conditions are what a list's rows fit, all of them.
type conditions struct {
	parts []string
	args  []any
}

func (c *conditions) and(condition string, args ...any) {
	if checkText(args) != nil {
		condition, args = "1 = 0", nil // no row has it
	}
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
