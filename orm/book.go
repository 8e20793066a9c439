package orm

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/uptrace/bun"

	"github.com/fullon/fulloncache"
)

const (
	// DefaultLimit is how many rows a List returns that was given no limit.
	DefaultLimit = 1000
	// MaxLimit is how many rows a List can be asked for.
	MaxLimit = 100_000

	// chunkSize is how many rows one statement writes at most.
	chunkSize = 1000
)

// Cursor is the place behind a row in a list that is ordered by time: its time
// and its id. The zero value is the beginning.
type Cursor struct {
	Time time.Time
	ID   int64
}

func limitOf(limit int) (int64, error) {
	switch {
	case limit == 0:
		return DefaultLimit, nil
	case limit < 0 || limit > MaxLimit:
		return 0, fmt.Errorf("%w: limit %d: want from 0 to %d", fulloncache.ErrInvalid, limit, MaxLimit)
	}
	return int64(limit), nil
}

// text is a text that is looked up, with the name of its field or column, and
// how many bytes it has at most.
type text struct {
	name, value string
	most        int
}

// A name is an exchange, a symbol or the like; a ref is an id that its maker gave
// as text.
func nameText(name, value string) text { return text{name, value, 256} }
func refText(name, value string) text  { return text{name, value, 64} }

// validTexts refuses texts that no row can have.
func validTexts(what string, texts ...text) error {
	for _, t := range texts {
		switch {
		case t.value == "":
			return fmt.Errorf("%w: %s: %s is empty", fulloncache.ErrInvalid, what, t.name)
		case len(t.value) > t.most:
			return fmt.Errorf("%w: %s: %s has %d bytes: want at most %d", fulloncache.ErrInvalid, what, t.name, len(t.value), t.most)
		case !utf8.ValidString(t.value) || strings.Contains(t.value, "\x00"):
			return fmt.Errorf("%w: %s: %s %q: want UTF-8 without null bytes", fulloncache.ErrInvalid, what, t.name, t.value)
		}
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
func whereText(q *bun.SelectQuery, expr string, t text) error {
	if t.value == "" {
		return nil
	}
	q.Where(expr+" = ?", t.value)
	return validTexts("filter", t)
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
		s := newStamp(t)
		q.Where("(?, ?) "+op+" (?, ?)", append(slices.Clone(key), s.Timestamp, s.Nanos)...)
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
		s := newStamp(p.after.Time)
		q.Where("(?, ?, ?) "+beyond+" (?, ?, ?)", append(slices.Clone(key), bun.Ident(idColumn), s.Timestamp, s.Nanos, p.after.ID)...)
	}
	for _, column := range append(key, bun.Ident(idColumn)) {
		q.OrderExpr("? "+direction, column)
	}
	q.Limit(limit)
	return nil
}

// deleteByID deletes one row.
func deleteByID(ctx context.Context, db *DB, what, table, column string, id int64) error {
	what = fmt.Sprintf("delete %s %d", what, id)
	res, err := db.idb.NewDelete().Table(table).Where("? = ?", bun.Ident(column), id).Exec(ctx)
	n, err := db.affected(what, res, err)
	if err == nil && n == 0 {
		err = fmt.Errorf("%w: %s", fulloncache.ErrNotFound, what)
	}
	return err
}

// affected is how many rows a statement wrote.
func (db *DB) affected(what string, res sql.Result, err error) (int, error) {
	if err != nil {
		return 0, db.failed(what, err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}

func quoted(s string) string {
	if len(s) > 64 {
		s = s[:64] + "…"
	}
	return strconv.Quote(s)
}
