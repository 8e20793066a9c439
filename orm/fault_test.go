package orm_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
	"github.com/fullon/fulloncache/orm"
)

// blocked returns the result of an update of a user whose row somebody else holds,
// once it waits; release lets go of the row.
func (s *suite) blocked(ctx context.Context, db *orm.DB, u fulloncache.User) (result <-chan error, release func()) {
	s.Helper()
	raw, err := s.other().Conn(s.ctx)
	must(s, err)
	begin := "BEGIN IMMEDIATE"
	if s.postgres() {
		begin = fmt.Sprintf("BEGIN; SELECT FROM users WHERE uid = %d FOR UPDATE", u.ID)
	}
	_, err = raw.ExecContext(s.ctx, begin)
	must(s, err)
	errs := make(chan error, 1)
	go func() {
		_, err := db.Users.Update(ctx, u)
		errs <- err
	}()
	if s.postgres() {
		s.waiting(1, errs)
	}
	return errs, func() {
		_, err := raw.ExecContext(s.ctx, "ROLLBACK")
		must(s, err)
	}
}

// waiting waits until so many sessions wait for a lock, or the one that was to has
// given up already.
func (s *suite) waiting(n int, ended <-chan error) {
	s.Helper()
	testenv.Eventually(s, "sessions that wait for a lock", func() (bool, string) {
		got := s.count("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
		return got == n || len(ended) > 0, fmt.Sprint(got)
	})
}

func TestCancelledInQuery(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		ann := s.addUser(db, "ann@example.com")
		ctx, cancel := context.WithCancel(s.ctx)
		result, release := s.blocked(ctx, db, ann)
		cancel()
		err := <-result
		wantNamed(s, err, context.Canceled, "update user")
		if errors.Is(err, fulloncache.ErrUnavailable) {
			s.Errorf("%v says that the database is unavailable", err)
		}
		release()
		ctx, cancel = context.WithTimeout(s.ctx, 50*time.Millisecond)
		defer cancel()
		result, release = s.blocked(ctx, db, ann)
		wantErr(s, <-result, context.DeadlineExceeded)
		release()
		result, release = s.blocked(s.ctx, db, ann)
		release()
		must(s, <-result)
	})
}

// A server of the test's own, to be broken, and a user in its database.
func broken(t *testing.T) (*suite, *testenv.PostgresServer, *orm.DB, fulloncache.User) {
	t.Helper()
	server := testenv.NewPostgres(t)
	s := &suite{T: t, kind: kinds[0], dsn: server.Database(t), ctx: testenv.Context(t)}
	db := s.open()
	must(t, db.Migrate(s.ctx))
	return s, server, db, s.addUser(db, "ann@example.com")
}

func TestServerEndsInQuery(t *testing.T) {
	t.Parallel()
	s, server, db, ann := broken(t)
	for name, end := range map[string]func(){
		"crash": server.Kill,
		"stop":  server.Stop,
		// Of that session alone: the end of the one that holds the row would let it go on.
		"session": func() {
			s.count("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
		},
	} {
		result, release := s.blocked(s.ctx, db, ann)
		end()
		err := <-result
		// A server that is stopped may end the session that holds the row first.
		if name != "stop" || err != nil {
			wantNamed(t, err, fulloncache.ErrUnavailable, "update user 1")
			hidden(t, err, testenv.PostgresPassword)
		}
		if name == "session" {
			release()
		} else {
			_, err = db.Users.ByID(s.ctx, ann.ID)
			wantNamed(t, err, fulloncache.ErrUnavailable, "user 1")
			hidden(t, err, testenv.PostgresPassword)
			_, err = orm.Open(s.ctx, s.dsn)
			wantErr(t, err, fulloncache.ErrUnavailable)
			hidden(t, err, testenv.PostgresPassword)
			server.Restart(t)
		}
		// The pool mends itself.
		testenv.Eventually(t, "the database answers again", func() (bool, string) {
			got, err := db.Users.ByID(s.ctx, ann.ID)
			return err == nil && got.Equal(ann), fmt.Sprint(err)
		})
	}
}

// The server ends between the statements of a transaction.
func TestServerEndsInTx(t *testing.T) {
	t.Parallel()
	s, server, db, ann := broken(t)
	for _, last := range []func(tx *orm.Tx) error{
		func(tx *orm.Tx) error { return tx.Users.Delete(s.ctx, ann.ID) },
		func(*orm.Tx) error { return nil }, // the commit finds out
	} {
		err := db.InTx(s.ctx, func(tx *orm.Tx) error {
			_, err := tx.Users.Add(s.ctx, userOf("bob@example.com"))
			must(t, err)
			server.Kill()
			return last(tx)
		})
		wantErr(t, err, fulloncache.ErrUnavailable)
		server.Restart(t)
		if n := s.users(); n != 1 {
			t.Errorf("%d users, want 1", n)
		}
	}
}

// An answer that does not come.
func TestServerStalls(t *testing.T) {
	t.Parallel()
	server := testenv.Postgres(t)
	proxy := testenv.NewProxy(t, server.Addr())
	db := open(t, proxy.DSN(t, server.Database(t)))
	ctx := testenv.Context(t)
	must(t, db.Migrate(ctx))
	proxy.Stall()
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_, err := db.Exchanges.Catalogue(short)
	wantNamed(t, err, context.DeadlineExceeded, "catalogue")
	proxy.Flow()
	_, err = db.Exchanges.Catalogue(ctx)
	must(t, err)
}

// What the server refuses because of what it is set to.
func TestServerRefuses(t *testing.T) {
	t.Parallel()
	const lock = "LOCK TABLE users IN EXCLUSIVE MODE"
	for name, c := range map[string]struct{ meanwhile, setting, code string }{
		"statement timeout": {lock, "statement_timeout=100", "57014"},
		"lock timeout":      {lock, "lock_timeout=100", "55P03"},
		"read-only":         {"", "default_transaction_read_only=on", "25006"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, db := kinds[0].open(t)
			ann := s.addUser(db, "ann@example.com")
			raw, err := s.other().Conn(s.ctx)
			must(t, err)
			_, err = raw.ExecContext(s.ctx, "BEGIN; "+c.meanwhile)
			must(t, err)
			_, err = open(t, s.dsn+"&"+c.setting).Users.Update(s.ctx, ann)
			wantErr(t, err, fulloncache.ErrUnavailable)
			var pg *pgconn.PgError
			if !errors.As(err, &pg) || pg.Code != c.code {
				t.Errorf("error %v, want one of code %s", err, c.code)
			}
		})
	}
}

// Errors that no program of this package provokes stay what they are.
func TestUnknownErrors(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		if s.postgres() {
			s.do("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$",
				"CREATE TRIGGER refuse BEFORE INSERT ON users FOR EACH ROW EXECUTE FUNCTION refuse()")
		} else {
			s.do("CREATE TRIGGER refuse BEFORE INSERT ON users BEGIN SELECT json('{') AS \"not today\"; END")
		}
		_, err := db.Users.Add(s.ctx, userOf("ann@example.com"))
		if err == nil {
			s.Error("no error")
		}
		for _, known := range []error{
			fulloncache.ErrNotFound, fulloncache.ErrDuplicate, fulloncache.ErrForeignKey, fulloncache.ErrInvalid,
			fulloncache.ErrUnavailable, fulloncache.ErrCorrupt, fulloncache.ErrClosed,
		} {
			if errors.Is(err, known) {
				s.Errorf("error %v is %v", err, known)
			}
		}
	})
}

// conflict runs two transactions that get in each other's way, and returns the
// error of the one that lost.
func conflict(s *suite, a, b func(first bool, tx *orm.Tx) error) error {
	s.Helper()
	reached, errs := make(chan struct{}), make(chan error)
	for i, fn := range []func(bool, *orm.Tx) error{a, b} {
		db := s.open()
		go func() {
			errs <- db.InTx(s.ctx, func(tx *orm.Tx) error {
				if err := fn(true, tx); err != nil {
					return err
				}
				if i == 0 {
					reached <- struct{}{}
				} else {
					<-reached
				}
				return fn(false, tx)
			})
		}()
	}
	return errors.Join(<-errs, <-errs)
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	s, db := kinds[0].open(t)
	ann, bob := s.addUser(db, "ann@example.com"), s.addUser(db, "bob@example.com")
	update := func(u, v fulloncache.User) func(bool, *orm.Tx) error {
		return func(first bool, tx *orm.Tx) error {
			if !first {
				u = v
			}
			_, err := tx.Users.Update(s.ctx, u)
			return err
		}
	}
	check := func(err error, code string) {
		t.Helper()
		wantErr(t, err, fulloncache.ErrUnavailable)
		var lost *orm.ConflictError
		var pg *pgconn.PgError
		if !errors.As(err, &lost) || !lost.Temporary() || !errors.As(lost, &pg) || pg.Code != code {
			t.Errorf("error %v, want a conflict of code %s", err, code)
		}
	}
	check(conflict(s, update(ann, bob), update(bob, ann)), "40P01")

	s.do("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation = ''serializable''', current_database()); END $$")
	skew := func(u fulloncache.User) func(bool, *orm.Tx) error {
		return func(first bool, tx *orm.Tx) error {
			if first {
				_, err := tx.Users.List(s.ctx, orm.UserFilter{})
				return err
			}
			_, err := tx.Users.Update(s.ctx, u)
			return err
		}
	}
	check(conflict(s, skew(ann), skew(bob)), "40001")
}

// A number that is none, which PostgreSQL takes for one.
func TestCorruptNumber(t *testing.T) {
	t.Parallel()
	s, db := kinds[0].open(t)
	must(t, db.Seed(s.ctx))
	s.do("UPDATE symbols SET order_min = 'NaN'")
	_, err := db.Symbols.ByExchange(s.ctx, "kraken")
	wantNamed(t, err, fulloncache.ErrCorrupt, `"order_min"`)
}

// Rows that another program spoilt.
func TestCorruptRows(t *testing.T) {
	t.Parallel()
	s, db := kinds[1].open(t)
	must(t, db.Seed(s.ctx))
	s.do("UPDATE symbols SET order_min = 'much'", "UPDATE users SET timestamp = 'early'")
	_, err := db.Symbols.ByExchange(s.ctx, "kraken")
	wantNamed(t, err, fulloncache.ErrCorrupt, `"order_min"`)
	must(t, db.InTx(s.ctx, func(tx *orm.Tx) error {
		_, err = tx.Users.ByMail(s.ctx, orm.SeedMail)
		wantNamed(t, err, fulloncache.ErrCorrupt, `"timestamp"`)
		_, err = tx.Users.Add(s.ctx, userOf("ann@example.com")) // reading it did no harm
		return err
	}))
}

// Each statement of a method of several can fail; then none of them happened. The
// methods are the same on both kinds of database.
func TestFailsHalfway(t *testing.T) {
	t.Parallel()
	kraken := fulloncache.CatExchange{Name: "kraken", Params: map[string]string{"a": "b"}}
	symbols := []fulloncache.Symbol{symbolOf("kraken", "BTC/USD")}
	addCatalogue := func(s *suite, db *orm.DB) error {
		_, err := db.Exchanges.AddCatalogue(s.ctx, kraken)
		return err
	}
	upsert := func(s *suite, db *orm.DB) error {
		_, err := db.Symbols.Upsert(s.ctx, symbols)
		return err
	}
	seed := func(s *suite, db *orm.DB) error { return db.Seed(s.ctx) }
	drop := func(table string) func(*suite) {
		return func(s *suite) { s.do("DROP TABLE " + table) }
	}
	refuse := func(table string) func(*suite) {
		return func(s *suite) {
			s.do("CREATE TRIGGER never BEFORE INSERT ON " + table + " BEGIN SELECT RAISE(ABORT, 'never'); END")
		}
	}
	for name, c := range map[string]struct {
		spoil func(*suite)
		do    func(*suite, *orm.DB) error
	}{
		"catalogue without params":        {drop("cat_exchanges_params"), addCatalogue},
		"catalogue, params refused":       {refuse("cat_exchanges_params"), addCatalogue},
		"delete catalogue without params": {drop("cat_exchanges_params"), func(s *suite, db *orm.DB) error { return db.Exchanges.DeleteCatalogue(s.ctx, 1) }},
		"upsert without catalogue":        {drop("cat_exchanges"), upsert},
		"upsert, catalogue refused":       {refuse("cat_exchanges"), upsert},
		"upsert without symbols":          {drop("symbols"), upsert},
		"upsert, symbols refused":         {refuse("symbols"), upsert},
		"seed, symbols refused":           {refuse("symbols"), seed},
		"seed, users refused":             {refuse("users"), seed},
		"seed, accounts refused":          {refuse("exchanges"), seed},
		"seed without params":             {drop("cat_exchanges_params"), seed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, db := kinds[1].open(t)
			c.spoil(s)
			if err := c.do(s, db); err == nil || errors.Is(err, fulloncache.ErrUnavailable) {
				t.Errorf("error %v", err)
			}
			raw := rawDB(t, s.dsn)
			for _, table := range []string{"cat_exchanges", "symbols", "users", "exchanges"} {
				var n int
				err := raw.QueryRowContext(s.ctx, "SELECT count(*) FROM "+table).Scan(&n)
				if err == nil && n != 0 {
					t.Errorf("%d rows are in %s", n, table)
				}
			}
		})
	}
}

// A SQLite file that another program keeps locked.
func TestBusy(t *testing.T) {
	t.Parallel()
	s, db := kinds[1].open(t)
	raw, err := s.other().Conn(s.ctx)
	must(t, err)
	_, err = raw.ExecContext(s.ctx, "BEGIN IMMEDIATE")
	must(t, err)
	_, err = db.Exchanges.Catalogue(s.ctx) // readers do not mind
	must(t, err)
	start := time.Now()
	_, err = db.Users.Add(s.ctx, userOf("ann@example.com"))
	wantNamed(t, err, fulloncache.ErrUnavailable, "locked")
	if waited := time.Since(start); waited < 4*time.Second {
		t.Errorf("it waited %s", waited)
	}
	_, err = raw.ExecContext(s.ctx, "ROLLBACK")
	must(t, err)
	s.addUser(db, "ann@example.com")
}
