package orm

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/fullon/fulloncache"
)

// BotRepository is the record of bots, their strategies, feeds and accounts.
//
// The errors of all methods: [fulloncache.ErrInvalid] for unusable input,
// [fulloncache.ErrNotFound], [fulloncache.ErrDuplicate],
// [fulloncache.ErrForeignKey] for what a row refers to and does not exist, the
// context's error, and [fulloncache.ErrUnavailable] if the database cannot answer.
// A method that returns an error has changed nothing. Writes return the row as it
// is stored.
type BotRepository struct{ conn *conn }

// BotFilter says which bots are meant: those that fit every field that is set.
type BotFilter struct {
	UserID int64
	// Active leaves out the bots that are not, Inactive those that are.
	Active, Inactive bool
	// Limit bounds the result; it defaults to [DefaultLimit].
	Limit int
	// After continues behind the id of the last bot of the page before.
	After int64
}

type botRow struct {
	bun.BaseModel `bun:"table:bots,alias:b"`

	BotID   int64   `bun:"bot_id,pk,autoincrement"`
	UserID  int64   `bun:"uid"`
	Name    string  `bun:"name"`
	DryRun  bool    `bun:"dry_run"`
	Active  bool    `bun:"active"`
	Created instant `bun:"timestamp"`
}

func (r *botRow) bot() fulloncache.Bot {
	return fulloncache.Bot{ID: r.BotID, UserID: r.UserID, Name: r.Name, DryRun: r.DryRun, Active: r.Active, Created: r.Created.Time}
}

// ByID returns a bot by the database's id.
func (r *BotRepository) ByID(ctx context.Context, id int64) (fulloncache.Bot, error) {
	return r.one(ctx, fmt.Sprintf("bot %d", id), nil, func(q *bun.SelectQuery) { q.Where("b.bot_id = ?", id) })
}

// ByName returns a user's bot by its name; the oldest one if there are several of
// that name.
func (r *BotRepository) ByName(ctx context.Context, user int64, name string) (fulloncache.Bot, error) {
	what := fmt.Sprintf("bot %s of user %d", printable(name), user)
	return r.one(ctx, what, []string{name}, func(q *bun.SelectQuery) {
		q.Where("b.uid = ? AND b.name = ?", user, name).OrderExpr("b.bot_id")
	})
}

func (r *BotRepository) one(ctx context.Context, what string, texts []string, where func(*bun.SelectQuery)) (fulloncache.Bot, error) {
	var row botRow
	q := r.conn.q.NewSelect().Model(&row).Limit(1)
	where(q)
	if err := r.conn.scanOne(ctx, what, texts, q); err != nil {
		return fulloncache.Bot{}, err
	}
	return row.bot(), nil
}

// List returns the bots that fit, in the order of their ids.
func (r *BotRepository) List(ctx context.Context, f BotFilter) ([]fulloncache.Bot, error) {
	limit, err := limitOf(f.Limit)
	if err != nil {
		return nil, err
	}
	var rows []botRow
	q := r.conn.q.NewSelect().Model(&rows).Where("b.bot_id > ?", f.After).OrderExpr("b.bot_id").Limit(limit)
	whereIDs(q, id{"b.uid", f.UserID})
	if f.Active {
		q.Where("b.active")
	}
	if f.Inactive {
		q.Where("NOT b.active")
	}
	if err := q.Scan(ctx); err != nil {
		return nil, r.conn.fail(ctx, "list bots", err)
	}
	bots := make([]fulloncache.Bot, len(rows))
	for i := range rows {
		bots[i] = rows[i].bot()
	}
	return bots, nil
}

// Add stores a new bot; an ID and a time that are given are not looked at. Names
// need not be unique.
func (r *BotRepository) Add(ctx context.Context, b fulloncache.Bot) (fulloncache.Bot, error) {
	if err := b.Validate(); err != nil {
		return fulloncache.Bot{}, err
	}
	row := botRow{UserID: b.UserID, Name: b.Name, DryRun: b.DryRun, Active: b.Active, Created: now()}
	err := r.conn.q.NewInsert().Model(&row).Returning("*").Scan(ctx)
	if err != nil {
		return fulloncache.Bot{}, r.conn.fail(ctx, "add bot "+printable(b.Name), err)
	}
	return row.bot(), nil
}

// Update changes name, dry run and activity of the bot of that ID and user.
func (r *BotRepository) Update(ctx context.Context, b fulloncache.Bot) (fulloncache.Bot, error) {
	if err := b.Validate(); err != nil {
		return fulloncache.Bot{}, err
	}
	row := botRow{BotID: b.ID, UserID: b.UserID, Name: b.Name, DryRun: b.DryRun, Active: b.Active}
	err := r.conn.q.NewUpdate().Model(&row).Column("name", "dry_run", "active").Where("b.bot_id = ? AND b.uid = ?", b.ID, b.UserID).
		Returning("*").Scan(ctx)
	if err != nil {
		return fulloncache.Bot{}, r.conn.fail(ctx, fmt.Sprintf("update bot %d of user %d", b.ID, b.UserID), err)
	}
	return row.bot(), nil
}

// SetActive says whether a bot is to run.
func (r *BotRepository) SetActive(ctx context.Context, id int64, active bool) (fulloncache.Bot, error) {
	row := botRow{BotID: id, Active: active}
	err := r.conn.q.NewUpdate().Model(&row).Column("active").WherePK().Returning("*").Scan(ctx)
	if err != nil {
		return fulloncache.Bot{}, r.conn.fail(ctx, fmt.Sprintf("update bot %d", id), err)
	}
	return row.bot(), nil
}

// Delete removes a bot with its strategies, their feeds, and its links to
// accounts; not the accounts. Its orders stay.
func (r *BotRepository) Delete(ctx context.Context, id int64) error {
	return deleteByID(ctx, r.conn, "bot", "bots", "bot_id", id)
}

type botExchangeRow struct {
	bun.BaseModel `bun:"table:bot_exchanges,alias:be"`

	BotID      int64 `bun:"bot_id"`
	ExchangeID int64 `bun:"ex_id"`
}

// ExchangesOf returns the ids of the accounts that a bot uses, in their order;
// none is no error.
func (r *BotRepository) ExchangesOf(ctx context.Context, botID int64) ([]int64, error) {
	var ids []int64
	err := r.conn.q.NewSelect().Model((*botExchangeRow)(nil)).Column("ex_id").Where("be.bot_id = ?", botID).OrderExpr("ex_id").Scan(ctx, &ids)
	if err != nil {
		return nil, r.conn.fail(ctx, fmt.Sprintf("accounts of bot %d", botID), err)
	}
	return ids, nil
}

// AddExchange lets a bot use an account; it returns [fulloncache.ErrDuplicate] if
// it does already.
func (r *BotRepository) AddExchange(ctx context.Context, botID, exchangeID int64) error {
	row := botExchangeRow{BotID: botID, ExchangeID: exchangeID}
	if _, err := r.conn.q.NewInsert().Model(&row).Exec(ctx); err != nil {
		return r.conn.fail(ctx, fmt.Sprintf("let bot %d use account %d", botID, exchangeID), err)
	}
	return nil
}

// RemoveExchange lets a bot use an account no more; it returns
// [fulloncache.ErrNotFound] if it does not.
func (r *BotRepository) RemoveExchange(ctx context.Context, botID, exchangeID int64) error {
	return r.conn.execOne(ctx, fmt.Sprintf("account %d of bot %d", exchangeID, botID),
		"DELETE FROM bot_exchanges WHERE bot_id = ? AND ex_id = ?", botID, exchangeID)
}
