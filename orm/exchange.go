package orm

import (
	"context"
	"fmt"

	"github.com/fullon/fulloncache"
)

// ExchangeRepository is the table of users' accounts at exchanges, and the
// catalogue of exchanges with their parameters. It is a
// [fulloncache.ExchangeStore].
type ExchangeRepository struct{ conn *conn }

var _ fulloncache.ExchangeStore = (*ExchangeRepository)(nil)

const exchangeColumns = `ex_id, uid, cat_ex_id, name, test, active, "timestamp",
	(SELECT c.name FROM cat_exchanges c WHERE c.cat_ex_id = exchanges.cat_ex_id) AS cat_name`

type exchangeRow struct {
	ID            int64   `bun:"ex_id"`
	UserID        int64   `bun:"uid"`
	CatExchangeID int64   `bun:"cat_ex_id"`
	CatName       string  `bun:"cat_name"`
	Name          string  `bun:"name"`
	Test          bool    `bun:"test"`
	Active        bool    `bun:"active"`
	Created       instant `bun:"timestamp"`
}

func (r exchangeRow) exchange() fulloncache.Exchange {
	return fulloncache.Exchange{
		ID: r.ID, UserID: r.UserID, CatExchangeID: r.CatExchangeID, CatName: r.CatName, Name: r.Name,
		Test: r.Test, Active: r.Active, Created: r.Created.Time,
	}
}

func (r *ExchangeRepository) one(ctx context.Context, what, statement string, args ...any) (fulloncache.Exchange, error) {
	row, err := one[exchangeRow](ctx, r.conn, what, statement, args...)
	return row.exchange(), err
}

// ByID returns a user's account; [fulloncache.ErrNotFound] if there is none of
// that id.
func (r *ExchangeRepository) ByID(ctx context.Context, id int64) (fulloncache.Exchange, error) {
	return r.one(ctx, fmt.Sprintf("exchange account %d", id),
		"SELECT "+exchangeColumns+" FROM exchanges WHERE ex_id = ?", id)
}

// ByName returns a user's account by what the user calls it;
// [fulloncache.ErrNotFound] if there is none. A user may have accounts of one
// name at several exchanges: then it is [fulloncache.ErrInvalid].
func (r *ExchangeRepository) ByName(ctx context.Context, user int64, name string) (fulloncache.Exchange, error) {
	what := fmt.Sprintf("exchange account %s of user %d", printable(name), user)
	if !storable(name) {
		return fulloncache.Exchange{}, notFound(what)
	}
	rows, err := query[exchangeRow](ctx, r.conn, what,
		"SELECT "+exchangeColumns+" FROM exchanges WHERE uid = ? AND name = ? ORDER BY ex_id LIMIT 2", user, name)
	switch {
	case err != nil:
		return fulloncache.Exchange{}, err
	case len(rows) == 0:
		return fulloncache.Exchange{}, notFound(what)
	case len(rows) > 1:
		return fulloncache.Exchange{}, fmt.Errorf("%s: %w: there is one at %s and one at %s: ask by id", what,
			fulloncache.ErrInvalid, printable(rows[0].CatName), printable(rows[1].CatName))
	}
	return rows[0].exchange(), nil
}

// ByUser returns a user's accounts in the order of their ids; none is no error.
func (r *ExchangeRepository) ByUser(ctx context.Context, user int64) ([]fulloncache.Exchange, error) {
	rows, err := query[exchangeRow](ctx, r.conn, fmt.Sprintf("exchange accounts of user %d", user),
		"SELECT "+exchangeColumns+" FROM exchanges WHERE uid = ? ORDER BY ex_id", user)
	return mapped(rows, exchangeRow.exchange), err
}

// ExchangeFilter says which accounts [ExchangeRepository.List] returns: all that
// fit every field that is set.
type ExchangeFilter struct {
	UserID        int64
	CatExchangeID int64
	ActiveOnly    bool
	// After is the ID of the last account of the page before; 0 for the first page.
	After int64
	Limit int // Limit is how many at most; 0 means [DefaultLimit]; [MaxLimit] is the most.
}

// List returns a page of accounts in the order of their ids; none is no error.
func (r *ExchangeRepository) List(ctx context.Context, f ExchangeFilter) ([]fulloncache.Exchange, error) {
	const what = "list exchange accounts"
	var where conditions
	where.and("ex_id > ?", f.After)
	if f.UserID != 0 {
		where.and("uid = ?", f.UserID)
	}
	if f.CatExchangeID != 0 {
		where.and("cat_ex_id = ?", f.CatExchangeID)
	}
	if f.ActiveOnly {
		where.and("active")
	}
	limit, err := limitOf(f.Limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	rows, err := query[exchangeRow](ctx, r.conn, what,
		"SELECT "+exchangeColumns+" FROM exchanges "+where.String()+" ORDER BY ex_id LIMIT ?", append(where.args, limit)...)
	return mapped(rows, exchangeRow.exchange), err
}

// Add stores a new account and returns the row. ID, CatName and Created are the
// database's to give: what e has of them is ignored. It returns
// [fulloncache.ErrDuplicate] if the user has an account of that name at that
// exchange, and [fulloncache.ErrForeignKey] if user or exchange do not exist.
func (r *ExchangeRepository) Add(ctx context.Context, e fulloncache.Exchange) (fulloncache.Exchange, error) {
	what := fmt.Sprintf("add exchange account %s of user %d at exchange %d", printable(e.Name), e.UserID, e.CatExchangeID)
	if err := e.Validate(); err != nil {
		return fulloncache.Exchange{}, fmt.Errorf("%s: %w", what, err)
	}
	return r.one(ctx, what, `INSERT INTO exchanges (uid, cat_ex_id, name, test, active, "timestamp")
		VALUES (?, ?, ?, ?, ?, ?) RETURNING `+exchangeColumns,
		e.UserID, e.CatExchangeID, e.Name, e.Test, e.Active, now())
}

// Update changes the account of that id and user, all but Created, and returns
// the row; [fulloncache.ErrNotFound] if there is none, or it is another user's.
// Its other errors are those of Add.
func (r *ExchangeRepository) Update(ctx context.Context, e fulloncache.Exchange) (fulloncache.Exchange, error) {
	what := fmt.Sprintf("update exchange account %d of user %d", e.ID, e.UserID)
	if err := e.Validate(); err != nil {
		return fulloncache.Exchange{}, fmt.Errorf("%s: %w", what, err)
	}
	return r.one(ctx, what, `UPDATE exchanges SET cat_ex_id = ?, name = ?, test = ?, active = ?
		WHERE ex_id = ? AND uid = ? RETURNING `+exchangeColumns,
		e.CatExchangeID, e.Name, e.Test, e.Active, e.ID, e.UserID)
}

// Delete removes an account; [fulloncache.ErrNotFound] if there is none of that
// id.
func (r *ExchangeRepository) Delete(ctx context.Context, id int64) error {
	return r.conn.execOne(ctx, fmt.Sprintf("delete exchange account %d", id), "DELETE FROM exchanges WHERE ex_id = ?", id)
}
