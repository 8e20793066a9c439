package orm_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/orm"
)

func TestUsers(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		before := time.Now().Add(-time.Second)
		ann := s.addUser(db, "ann@example.com")
		if ann.ID < 1 || ann.Created.Before(before) || ann.Created.After(time.Now().Add(time.Second)) || ann.Created.Location() != time.UTC {
			s.Errorf("added %+v, created %s", ann, ann.Created)
		}
		bob := fulloncache.User{
			ID: 99, Mail: "bob@example.com", Password: fulloncache.NewSecret(strings.Repeat("f", 64)), F2A: fulloncache.NewSecret("f2a"), Role: "admin", Name: "Bob", LastName: "Roe",
			Phone: "+1", IDNum: "id", Note: "note", ManagerID: ann.ID,
		}
		added, err := db.Users.Add(s.ctx, bob)
		must(s, err)
		bob.ID, bob.Created = added.ID, added.Created
		if bob.ID == 99 {
			s.Error("the id is the caller's")
		}
		equal(s, []fulloncache.User{added}, bob)

		other := s.open() // which has nothing in memory
		got, err := other.Users.ByID(s.ctx, bob.ID)
		must(s, err)
		equal(s, []fulloncache.User{got}, bob)
		got, err = other.Users.ByMail(s.ctx, "ann@example.com")
		must(s, err)
		equal(s, []fulloncache.User{got}, ann)

		bob.Mail, bob.ManagerID, bob.Note, bob.Active, bob.Password = "rob@example.com", 0, "", true, fulloncache.NewSecret("new")
		got, err = db.Users.Update(s.ctx, bob)
		must(s, err)
		equal(s, []fulloncache.User{got}, bob)
		got, err = other.Users.ByID(s.ctx, bob.ID)
		must(s, err)
		equal(s, []fulloncache.User{got}, bob)

		must(s, db.Users.Delete(s.ctx, bob.ID))
		_, err = other.Users.ByID(s.ctx, bob.ID)
		wantErr(s, err, fulloncache.ErrNotFound)
	})
}

func TestUsersRefused(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		ann := s.addUser(db, "ann@example.com")
		for _, id := range []int64{0, -1, 1 << 40, -1 << 63, 1<<63 - 1} {
			_, err := db.Users.ByID(s.ctx, id)
			wantNamed(s, err, fulloncache.ErrNotFound, "user ")
			wantNamed(s, db.Users.Delete(s.ctx, id), fulloncache.ErrNotFound, "delete user ")
		}
		_, err := db.Users.ByID(s.ctx, 77)
		wantNamed(s, err, fulloncache.ErrNotFound, "user 77: not found")
		for _, mail := range append(append([]string{"", "ANN@example.com", strings.Repeat("x", 10_000)}, odd...), unstorable...) {
			_, err := db.Users.ByMail(s.ctx, mail)
			wantErr(s, err, fulloncache.ErrNotFound)
			if len(err.Error()) > 200 {
				s.Errorf("error of %d bytes", len(err.Error()))
			}
		}

		_, err = db.Users.Add(s.ctx, userOf("ann@example.com"))
		wantNamed(s, err, fulloncache.ErrDuplicate, "add user ann@example.com")
		var constraint *orm.ConstraintError
		if !errors.As(err, &constraint) || constraint.Table != "users" || !strings.Contains(constraint.Constraint, "mail") {
			s.Errorf("constraint %+v", constraint)
		}
		bob := s.addUser(db, "bob@example.com")
		bob.Mail = ann.Mail
		_, err = db.Users.Update(s.ctx, bob)
		wantNamed(s, err, fulloncache.ErrDuplicate, "update user")
		bob.Mail, bob.ManagerID = "bob@example.com", 12345
		_, err = db.Users.Update(s.ctx, bob)
		wantErr(s, err, fulloncache.ErrForeignKey)
		bob.ManagerID = ann.ID
		_, err = db.Users.Update(s.ctx, bob)
		must(s, err)
		wantErr(s, db.Users.Delete(s.ctx, ann.ID), fulloncache.ErrForeignKey)
		bob.ID = 12345
		_, err = db.Users.Update(s.ctx, bob)
		wantNamed(s, err, fulloncache.ErrNotFound, "12345")

		for _, text := range unstorable {
			u := userOf("c@example.com")
			u.Note = text
			_, err := db.Users.Add(s.ctx, u)
			wantErr(s, err, fulloncache.ErrInvalid)
			u.ID = ann.ID
			_, err = db.Users.Update(s.ctx, u)
			wantErr(s, err, fulloncache.ErrInvalid)
			u.Note, u.Mail = "", text
			_, err = db.Users.Add(s.ctx, u)
			wantErr(s, err, fulloncache.ErrInvalid)
		}
		u := userOf(strings.Repeat("x", 10_000))
		_, err = db.Users.Add(s.ctx, u)
		wantErr(s, err, fulloncache.ErrInvalid)
		u = userOf("long@example.com")
		u.Note = strings.Repeat("x'", 5_000)
		u, err = db.Users.Add(s.ctx, u)
		must(s, err)
		got, err := db.Users.ByID(s.ctx, u.ID)
		must(s, err)
		equal(s, []fulloncache.User{got}, u)
		if n := s.count("SELECT count(*) FROM users"); n != 3 {
			s.Errorf("%d users, want 3", n)
		}
	})
}

func TestUserList(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		var all []fulloncache.User
		for i, name := range append([]string{"Ann", "Bob"}, odd...) {
			u := userOf(name + "@example.com")
			u.Name, u.Role, u.Active = name, "trader", i%2 == 0
			if i > 0 {
				u.ManagerID = all[0].ID
			}
			u, err := db.Users.Add(s.ctx, u)
			must(s, err)
			all = append(all, u)
		}
		list := func(f orm.UserFilter) []fulloncache.User {
			s.Helper()
			got, err := db.Users.List(s.ctx, f)
			must(s, err)
			return got
		}
		equal(s, list(orm.UserFilter{}), all...)
		var paged []fulloncache.User
		for after, pages := int64(0), 0; ; pages++ {
			page := list(orm.UserFilter{After: after, Limit: 3})
			if len(page) == 0 {
				break
			}
			if len(page) > 3 || pages > len(all) {
				s.Fatalf("page %d has %d", pages, len(page))
			}
			paged = append(paged, page...)
			after = page[len(page)-1].ID
		}
		equal(s, paged, all...)
		for i, name := range odd {
			// By a letter, unless there is none, so that the case can differ.
			equal(s, list(orm.UserFilter{Search: strings.ToLower(name) + "@EXAMPLE"}), all[i+2])
		}
		equal(s, list(orm.UserFilter{Search: "LEE", Limit: 2}), all[:2]...)
		equal(s, list(orm.UserFilter{Role: "admin"}))
		for _, text := range unstorable {
			equal(s, list(orm.UserFilter{Search: text}))
			equal(s, list(orm.UserFilter{Role: text}))
		}
		equal(s, list(orm.UserFilter{Role: "trader", Limit: 1}), all[0])
		equal(s, list(orm.UserFilter{ManagerID: all[0].ID}), all[1:]...)
		equal(s, list(orm.UserFilter{ActiveOnly: true, Limit: 2}), all[0], all[2])
		equal(s, list(orm.UserFilter{After: 1 << 62}))
		_, err := db.Users.List(s.ctx, orm.UserFilter{Limit: -1})
		wantErr(s, err, fulloncache.ErrInvalid)
		_, err = db.Users.List(s.ctx, orm.UserFilter{Limit: orm.MaxLimit + 1})
		wantNamed(s, err, fulloncache.ErrInvalid, "list users")
		_, err = db.Users.List(cancelled(s.ctx), orm.UserFilter{})
		wantErr(s, err, cancelled(s.ctx).Err())
	})
}
