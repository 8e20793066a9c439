package orm_test

import (
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
	"github.com/fullon/fulloncache/orm"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// kind is a kind of database that every test of the suite runs on.
type kind struct {
	name     string
	empty    func(t testing.TB) string // names an empty database of the test's own
	migrated func(t testing.TB) string // names one that has the schema
}

var kinds = []kind{
	{"postgres", func(t testing.TB) string { return testenv.Postgres(t).Database(t) }, migratedPostgres},
	{"sqlite", func(t testing.TB) string { return "sqlite:" + sqliteFile(t) }, migratedSQLite},
}

// sqliteFile is where a database of the test's own is to be.
func sqliteFile(t testing.TB) string { return filepath.Join(t.TempDir(), "a ?b%20#.db") }

// The schema is made once for each kind of database, and copied: goose takes 4 MB of
// memory for every fourth line that it reads, with the race detector.
var template struct {
	sync.Mutex
	postgres string // its DSN; "" until it is made
	sqlite   []byte // the file
}

func migratedPostgres(t testing.TB) string {
	t.Helper()
	server := testenv.Postgres(t)
	template.Lock()
	defer template.Unlock()
	if template.postgres == "" {
		const name = "migrated" // it goes with the server
		server.Do(t, "CREATE DATABASE "+name)
		dsn := server.DSN(server.Addr(), name)
		migrate(t, dsn)
		template.postgres = dsn
	}
	return server.CopyOf(t, template.postgres)
}

func migratedSQLite(t testing.TB) string {
	t.Helper()
	template.Lock()
	defer template.Unlock()
	if template.sqlite == nil {
		path := sqliteFile(t)
		migrate(t, "sqlite:"+path)
		file, err := os.ReadFile(path)
		must(t, err)
		template.sqlite = file
	}
	path := sqliteFile(t)
	must(t, os.WriteFile(path, template.sqlite, 0o600))
	return "sqlite:" + path
}

// migrate makes the schema, and leaves nobody connected.
func migrate(t testing.TB, dsn string) {
	t.Helper()
	ctx := testenv.Context(t)
	db, err := orm.Open(ctx, dsn)
	must(t, err)
	must(t, errors.Join(db.Migrate(ctx), db.Close()))
}

// suite is what a test gets: a database of its own.
type suite struct {
	*testing.T
	kind kind
	dsn  string
	ctx  context.Context
	raw  *sql.DB // raw is another program's; nil until it is needed
}

// suite is a test's, with an empty database.
func (k kind) suite(t *testing.T) *suite {
	return &suite{T: t, kind: k, dsn: k.empty(t), ctx: testenv.Context(t)}
}

// open is a test's suite, and its database that has the schema.
func (k kind) open(t *testing.T) (*suite, *orm.DB) {
	t.Helper()
	s := &suite{T: t, kind: k, dsn: k.migrated(t), ctx: testenv.Context(t)}
	return s, s.open()
}

// both runs a test on both kinds of database, in parallel, each migrated.
func both(t *testing.T, test func(s *suite, db *orm.DB)) {
	t.Helper()
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			test(k.open(t))
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

// wantNamed is wantErr for an error that names what was asked for.
func wantNamed(t testing.TB, got, want error, name string) {
	t.Helper()
	wantErr(t, got, want)
	if got != nil && !strings.Contains(got.Error(), name) {
		t.Errorf("error %q does not name %q", got, name)
	}
}

// do runs statements as another program would.
func (s *suite) do(statements ...string) {
	s.Helper()
	db := s.other()
	for _, statement := range statements {
		if _, err := db.ExecContext(s.ctx, statement); err != nil {
			s.Fatalf("%s: %v", statement, err)
		}
	}
}

// count reads a number as another program would.
func (s *suite) count(statement string, args ...any) int {
	s.Helper()
	var n int
	must(s, s.other().QueryRowContext(s.ctx, statement, args...).Scan(&n))
	return n
}

func (s *suite) other() *sql.DB {
	s.Helper()
	if s.raw == nil {
		s.raw = rawDB(s.T, s.dsn)
	}
	return s.raw
}

// rawDB is a database without the package under test.
func rawDB(t testing.TB, dsn string) *sql.DB {
	t.Helper()
	driver := "pgx"
	if path, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		driver, dsn = "sqlite", "file:"+strings.NewReplacer("%", "%25", "?", "%3f", "#", "%23").Replace(path)+"?_pragma=busy_timeout(10000)"
	}
	db, err := sql.Open(driver, dsn)
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func dec(s string) fulloncache.Decimal { return fulloncache.MustDecimal(s) }

func some(s string) fulloncache.NullDecimal { return fulloncache.Some(dec(s)) }

func cancelled(ctx context.Context) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	return ctx
}

// odd are names that databases take, and careless programs do not.
var odd = []string{"O'Brien", `a"b`, `back\slash\'`, "; DROP TABLE users; --", "?0 ?", "$1", "snow ☃ 𝔘", "tab\tline\n", " blank ", "%_!", "\x01\x7f", "NULL"}

// unstorable are texts that no database takes.
var unstorable = []string{"null\x00byte", "\xff\xfe", "cut \xe2\x98"}

func userOf(mail string) fulloncache.User {
	return fulloncache.User{Mail: mail, Password: fulloncache.NewSecret("hash"), F2A: fulloncache.NewSecret("second"), Role: "trader", Name: "Ann", LastName: "Lee", Active: true}
}

func (s *suite) addUser(db *orm.DB, mail string) fulloncache.User {
	s.Helper()
	u, err := db.Users.Add(s.ctx, userOf(mail))
	must(s, err)
	return u
}

func (s *suite) addCatalogue(db *orm.DB, name string) fulloncache.CatExchange {
	s.Helper()
	e, err := db.Exchanges.AddCatalogue(s.ctx, fulloncache.CatExchange{Name: name})
	must(s, err)
	return e
}

func (s *suite) addExchange(db *orm.DB, user, catalogue int64, name string) fulloncache.Exchange {
	s.Helper()
	e, err := db.Exchanges.Add(s.ctx, fulloncache.Exchange{UserID: user, CatExchangeID: catalogue, Name: name, Active: true})
	must(s, err)
	return e
}

func symbolOf(exchange, symbol string) fulloncache.Symbol {
	base, quote, _ := strings.Cut(symbol, "/")
	return fulloncache.Symbol{
		Market: fulloncache.Market{Exchange: exchange, Symbol: symbol}, Base: base, Quote: quote,
		Decimals: 2, LotDecimals: 8, OrderMin: some("0.0001"), UpdateFrame: "1h", Backtest: 30,
	}
}

// equal compares what an Equal method compares, in order.
func equal[T interface{ Equal(T) bool }](t testing.TB, got []T, want ...T) {
	t.Helper()
	if !slices.EqualFunc(got, want, T.Equal) {
		t.Errorf("got\n%+v\nwant\n%+v", got, want)
	}
}
