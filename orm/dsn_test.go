package orm_test

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
	"github.com/fullon/fulloncache/orm"
)

// hidden fails if an error shows any part of a password.
func hidden(t testing.TB, err error, parts ...string) {
	t.Helper()
	for e := err; e != nil; e = errors.Unwrap(e) {
		for _, part := range parts {
			if strings.Contains(e.Error(), part) {
				t.Errorf("error %q shows the password", e)
			}
		}
	}
}

func TestOpenMalformed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ dsn, value string }{
		{"", ""},
		{"hunter2", "***"},
		{"mysql://user:hunter2@host/db", "***"},
		{"host=localhost user=bot password=hunter2 dbname=x", "***"},
		{"user=bot password='hunter2 postgres://' host=h", "***"},
		{"postgres:hunter2", "postgres://***"},
		{"postgres://bot:hunter2@host:port/db", "postgres://***"},
		{"postgres://bot:hunter2@host:99999/db", "postgres://***@host:99999/db"},
		{"postgres://bot:hunter%2@host/db", "postgres://***"},
		{"postgres://bot:hunter2\x7f@host/db", "postgres://***"},
		{"postgres://bot:hunter2 @host/db", "postgres://***"},
		// Special characters that are not escaped, so that what follows is elsewhere.
		{"postgres://bot:1/hunter2@host/db", "postgres://***"},
		{"postgres://bot:hunter2/x@host/db", "postgres://***"},
		{"postgres://bot:1?hunter2@host/db", "postgres://***"},
		{"postgres://bot:1/?hunter2@host/db", "postgres://***"},
		{"postgres://bot:1#hunter2@host/db", "postgres://***"},
		{"postgres://bot:1/#hunter2", "postgres://***"},
		{"postgresql://bot:hunter2@host/db?sslmode=maybe", "postgresql://***@host/db?***"},
		{"postgresql://host/db?password=hunter2&connect_timeout=x", "postgresql://host/db?***"},
		{"postgres://bot:hunter2@host/db?sslmode=verify-full&sslrootcert=/nowhere/hunter2", "postgres://***@host/db?***"},
		{"sqlite:", "sqlite:"},
		{"sqlite:a\x00b", "sqlite:a\x00b"},
	} {
		_, err := orm.Open(testenv.Context(t), c.dsn)
		var config *fulloncache.ConfigError
		if !errors.As(err, &config) || config.Variable != "DATABASE_URL" || config.Value != c.value || !errors.Is(err, fulloncache.ErrInvalid) {
			t.Errorf("%q: %v", c.dsn, err)
		}
		hidden(t, err, "hunter2", "unter")
	}
}

func TestOpenRefused(t *testing.T) {
	t.Parallel()
	server := testenv.Postgres(t)
	dsn := server.Database(t)
	edit := func(change func(u *url.URL)) string {
		u, err := url.Parse(dsn)
		must(t, err)
		change(u)
		return u.String()
	}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "text"), []byte(strings.Repeat("no database. ", 100)), 0o600))
	for name, c := range map[string]struct{ dsn, says string }{
		"password": {edit(func(u *url.URL) { u.User = url.UserPassword(testenv.PostgresUser, "hunter2@/?") }), "password authentication failed"},
		"user":     {edit(func(u *url.URL) { u.User = url.UserPassword("nobody", "hunter2") }), "password authentication failed"},
		"database": {edit(func(u *url.URL) { u.Path = "/nowhere" }), `database "nowhere" does not exist`},
		"port":     {edit(func(u *url.URL) { u.Host = "127.0.0.1:1" }), "refused"},
		"setting":  {edit(func(u *url.URL) { u.RawQuery += "&password=hunter2" }), "password authentication failed"},
		"folder":   {"sqlite:" + filepath.Join(dir, "nowhere", "a.db"), "unable to open database file"},
		"text":     {"sqlite:" + filepath.Join(dir, "text"), "not a database"},
	} {
		_, err := orm.Open(testenv.Context(t), c.dsn)
		wantNamed(t, err, fulloncache.ErrUnavailable, c.says)
		if err != nil && !strings.Contains(err.Error(), "open ") {
			t.Errorf("%s: %v", name, err)
		}
		hidden(t, err, "hunter2", testenv.PostgresPassword)
	}
	_, err := orm.Open(cancelled(testenv.Context(t)), dsn)
	wantErr(t, err, cancelled(testenv.Context(t)).Err())
	hidden(t, err, testenv.PostgresPassword)
}

// What the server, a role or a database sets for sessions changes nothing.
func TestSessionSettings(t *testing.T) {
	t.Parallel()
	server := testenv.NewPostgres(t)
	for _, setting := range []string{
		"standard_conforming_strings = off", "timezone = 'Asia/Kolkata'", "datestyle = 'SQL, DMY'", "client_encoding = 'LATIN1'",
		"extra_float_digits = -5", "bytea_output = 'escape'",
	} {
		server.Do(t, "ALTER ROLE "+testenv.PostgresUser+" SET "+setting)
	}
	db := open(t, server.Database(t)+"&application_name=test")
	s := &suite{T: t, ctx: testenv.Context(t)}
	must(t, db.Migrate(s.ctx))
	ann := s.addUser(db, `back\slash\' ☃@example.com`)
	got, err := db.Users.ByMail(s.ctx, ann.Mail)
	must(t, err)
	equal(t, []fulloncache.User{got}, ann)
}

func TestOpenNames(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	dsn := testenv.Postgres(t).Database(t)
	u, err := url.Parse(dsn)
	must(t, err)
	for dsn, want := range map[string]string{
		dsn: "postgres://***@" + u.Host + u.Path + "?***",
		"sqlite://" + filepath.Join(t.TempDir(), "a.db"): "",
		"sqlite::memory:": "sqlite::memory:",
	} {
		db := open(t, dsn)
		if want != "" && db.String() != want {
			t.Errorf("%s, want %s", db, want)
		}
		must(t, db.Migrate(ctx))
		must(t, db.Seed(ctx))
		if _, err := db.Users.ByMail(ctx, orm.SeedMail); err != nil {
			t.Error(err)
		}
	}
}

// Two in memory are two databases, whose rows stay while no connection is used.
func TestMemory(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	a, b := open(t, "sqlite::memory:"), open(t, "sqlite::memory:")
	must(t, a.Migrate(ctx))
	must(t, a.Seed(ctx))
	list, err := b.Migrations(ctx)
	must(t, err)
	if len(list) == 0 || !list[0].Applied.IsZero() {
		t.Errorf("%+v", list)
	}
	_, err = a.Users.ByMail(ctx, orm.SeedMail)
	must(t, err)
}

func TestClose(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		other := s.open()
		must(s, other.Close())
		must(s, other.Close())
		_, err := other.Users.ByID(s.ctx, 1)
		wantErr(s, err, fulloncache.ErrClosed)
		wantErr(s, other.Migrate(s.ctx), fulloncache.ErrClosed)
		_, err = other.Migrations(s.ctx)
		wantErr(s, err, fulloncache.ErrClosed)
		wantErr(s, other.InTx(s.ctx, func(*orm.Tx) error { return nil }), fulloncache.ErrClosed)
		wantErr(s, other.Seed(s.ctx), fulloncache.ErrClosed)
		s.addUser(db, "ann@example.com")
	})
}
