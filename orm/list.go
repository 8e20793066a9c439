package orm

import (
	"strings"
)

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
