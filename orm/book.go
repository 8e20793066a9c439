package orm

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"
)

// maxRef bounds ids that their makers give as text, in bytes.
const maxRef = 64

// Cursor is the place behind a row in a list that is ordered by time: its time
// and its id. The zero value is the beginning.
type Cursor struct {
	Time time.Time
	ID   int64
}

// mayExist returns ErrNotFound for what is looked up by a text that no row has.
func (c *conn) mayExist(ctx context.Context, what string, texts ...string) error {
	for _, text := range texts {
		if !storable(text) {
			return c.fail(ctx, what, sql.ErrNoRows)
		}
	}
	return nil
}

// scanOne reads the row of a query, which looks it up by texts.
func (c *conn) scanOne(ctx context.Context, what string, texts []string, q *bun.SelectQuery) error {
	if err := c.mayExist(ctx, what, texts...); err != nil {
		return err
	}
	if err := q.Scan(ctx); err != nil {
		return c.fail(ctx, what, err)
	}
	return nil
}

// id is an id that rows are filtered by, with the name of its column; 0 does not
// filter.
type id struct {
	column string
	value  int64
}

func whereIDs(q *bun.SelectQuery, ids ...id) {
	for _, id := range ids {
		if id.value != 0 {
			q.Where("? = ?", bun.Ident(id.column), id.value)
		}
	}
}

// whereText restricts a query to rows of which an expression is a text, if one is
// given.
func whereText(q *bun.SelectQuery, expr, text string) {
	switch {
	case !storable(text):
		q.Where("1 = 0") // no row has it
	case text != "":
		q.Where(expr+" = ?", text)
	}
}

// page is the part of a list, ordered by time, that is asked for.
type page struct {
	from, to time.Time
	newest   bool
	limit    int
	after    Cursor
}

// paged restricts and orders a query: column and nanos tell the time, idColumn the
// row.
func paged(q *bun.SelectQuery, column, nanos, idColumn string, p page) error {
	limit, err := limitOf(p.limit)
	if err != nil {
		return err
	}
	key := []any{bun.Ident(column), bun.Ident(nanos)}
	compare := func(op string, t time.Time) {
		q.Where("(?, ?) "+op+" (?, ?)", append(slices.Clone(key), instant{t}, nanosOf(t))...)
	}
	if !p.from.IsZero() {
		compare(">=", p.from)
	}
	if !p.to.IsZero() {
		compare("<", p.to)
	}
	direction, beyond := "ASC", ">"
	if p.newest {
		direction, beyond = "DESC", "<"
	}
	if p.after != (Cursor{}) {
		q.Where("(?, ?, ?) "+beyond+" (?, ?, ?)", append(slices.Clone(key), bun.Ident(idColumn), instant{p.after.Time}, nanosOf(p.after.Time), p.after.ID)...)
	}
	for _, column := range append(key, bun.Ident(idColumn)) {
		q.OrderExpr("? "+direction, column)
	}
	q.Limit(limit)
	return nil
}

// deleteByID deletes one row.
func deleteByID(ctx context.Context, c *conn, what, table, column string, id int64) error {
	return c.execOne(ctx, fmt.Sprintf("delete %s %d", what, id), "DELETE FROM ? WHERE ? = ?", bun.Ident(table), bun.Ident(column), id)
}
