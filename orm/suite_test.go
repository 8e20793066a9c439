package orm_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/fullon/fulloncache/internal/testenv"
	"github.com/fullon/fulloncache/orm"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// kind is a kind of database that every test of the suite runs on.
type kind struct {
	name string
	dsn  func(t testing.TB) string // dsn names an empty database of the test's own
}

var kinds = []kind{
	{"postgres", func(t testing.TB) string { return testenv.Postgres(t).Database(t) }},
	{"sqlite", func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "a ?b%20#.db") }},
}

// suite is what a test gets: a database of its own.
type suite struct {
	*testing.T
	kind kind
	dsn  string
	ctx  context.Context
}

// both runs a test on both kinds of database, in parallel, each migrated.
func both(t *testing.T, test func(s *suite, db *orm.DB)) {
	t.Helper()
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			s := &suite{T: t, kind: k, dsn: k.dsn(t), ctx: testenv.Context(t)}
			db := s.open()
			must(s, db.Migrate(s.ctx))
			test(s, db)
		})
	}
}

func (s *suite) postgres() bool { return s.kind.name == "postgres" }

// open returns a pool of its own: another process, to the database.
func (s *suite) open() *orm.DB {
	s.Helper()
	return open(s.T, s.dsn)
}

func open(t testing.TB, dsn string) *orm.DB {
	t.Helper()
	db, err := orm.Open(testenv.Context(t), dsn)
	must(t, err)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("error %v, want one that is %v", got, want)
	}
}
