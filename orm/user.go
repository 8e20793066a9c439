package orm

import (
	"context"
	"fmt"

	"github.com/fullon/fulloncache"
)

// UserRepository is the table of users. Its methods return
// [fulloncache.ErrNotFound] for who does not exist.
type UserRepository struct{ conn *conn }

// userColumns casts the password: fullon's column pads it with blanks, which the
// cast takes off.
const userColumns = `uid, mail, CAST(password AS text) AS password, f2a, role, name, lastname, phone, id_num, note,
	manager, active, "timestamp"`

type userRow struct {
	ID        int64   `bun:"uid"`
	Mail      string  `bun:"mail"`
	Password  string  `bun:"password"`
	F2A       string  `bun:"f2a"`
	Role      string  `bun:"role"`
	Name      string  `bun:"name"`
	LastName  string  `bun:"lastname"`
	Phone     string  `bun:"phone"`
	IDNum     string  `bun:"id_num"`
	Note      string  `bun:"note"`
	ManagerID int64   `bun:"manager"`
	Active    bool    `bun:"active"`
	Created   instant `bun:"timestamp"`
}

func (r userRow) user() fulloncache.User {
	return fulloncache.User{
		ID: r.ID, Mail: r.Mail, Password: fulloncache.NewSecret(r.Password), F2A: fulloncache.NewSecret(r.F2A), Role: r.Role, Name: r.Name, LastName: r.LastName,
		Phone: r.Phone, IDNum: r.IDNum, Note: r.Note, ManagerID: r.ManagerID, Active: r.Active, Created: r.Created.Time,
	}
}

func (r *UserRepository) one(ctx context.Context, what, statement string, args ...any) (fulloncache.User, error) {
	row, err := one[userRow](ctx, r.conn, what, statement, args...)
	return row.user(), err
}

// ByID returns the user of an id.
func (r *UserRepository) ByID(ctx context.Context, id int64) (fulloncache.User, error) {
	return r.one(ctx, fmt.Sprintf("user %d", id), "SELECT "+userColumns+" FROM users WHERE uid = ?", id)
}

// ByMail returns the user of a mail address, whose case matters.
func (r *UserRepository) ByMail(ctx context.Context, mail string) (fulloncache.User, error) {
	what := "user " + printable(mail)
	if !storable(mail) {
		return fulloncache.User{}, notFound(what)
	}
	return r.one(ctx, what, "SELECT "+userColumns+" FROM users WHERE mail = ?", mail)
}

// UserFilter says which users [UserRepository.List] returns: all that fit every
// field that is set.
type UserFilter struct {
	Search     string // Search is part of the mail address, the name or the last name; case is ignored.
	Role       string
	ManagerID  int64 // ManagerID is who looks after them.
	ActiveOnly bool
	// After is the ID of the last user of the page before; 0 for the first page.
	After int64
	Limit int // Limit is how many at most; 0 means [DefaultLimit]; [MaxLimit] is the most.
}

// List returns a page of users in the order of their ids; none is no error.
func (r *UserRepository) List(ctx context.Context, f UserFilter) ([]fulloncache.User, error) {
	const what = "list users"
	var where conditions
	where.and("uid > ?", f.After)
	if f.Search != "" {
		where.search(f.Search, "mail", "name", "lastname")
	}
	if f.Role != "" {
		where.and("role = ?", f.Role)
	}
	if f.ManagerID != 0 {
		where.and("manager = ?", f.ManagerID)
	}
	if f.ActiveOnly {
		where.and("active")
	}
	limit, err := limitOf(f.Limit)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	rows, err := query[userRow](ctx, r.conn, what,
		"SELECT "+userColumns+" FROM users "+where.String()+" ORDER BY uid LIMIT ?", append(where.args, limit)...)
	return mapped(rows, userRow.user), err
}

// Add stores a new user and returns the row. The ID and Created are the
// database's to give: what u has of them is ignored. It returns
// [fulloncache.ErrDuplicate] if the mail address is taken, and
// [fulloncache.ErrForeignKey] if the manager does not exist.
func (r *UserRepository) Add(ctx context.Context, u fulloncache.User) (fulloncache.User, error) {
	what := "add user " + printable(u.Mail)
	if err := u.Validate(); err != nil {
		return fulloncache.User{}, fmt.Errorf("%s: %w", what, err)
	}
	return r.one(ctx, what, `INSERT INTO users
		(mail, password, f2a, role, name, lastname, phone, id_num, note, manager, active, "timestamp")
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING `+userColumns,
		u.Mail, u.Password.Reveal(), u.F2A.Reveal(), u.Role, u.Name, u.LastName, u.Phone, u.IDNum, null(u.Note), null(u.ManagerID), u.Active, now())
}

// Update changes the user of that id, all but Created, and returns the row. Its
// errors are those of Add.
func (r *UserRepository) Update(ctx context.Context, u fulloncache.User) (fulloncache.User, error) {
	what := fmt.Sprintf("update user %d", u.ID)
	if err := u.Validate(); err != nil {
		return fulloncache.User{}, fmt.Errorf("%s: %w", what, err)
	}
	return r.one(ctx, what, `UPDATE users SET mail = ?, password = ?, f2a = ?, role = ?, name = ?, lastname = ?, phone = ?,
		id_num = ?, note = ?, manager = ?, active = ? WHERE uid = ? RETURNING `+userColumns,
		u.Mail, u.Password.Reveal(), u.F2A.Reveal(), u.Role, u.Name, u.LastName, u.Phone, u.IDNum, null(u.Note), null(u.ManagerID), u.Active, u.ID)
}

// Delete removes a user, and with the user the accounts and bots. It returns
// [fulloncache.ErrForeignKey] while the user manages others.
func (r *UserRepository) Delete(ctx context.Context, id int64) error {
	return r.conn.execOne(ctx, fmt.Sprintf("delete user %d", id), "DELETE FROM users WHERE uid = ?", id)
}
