package orm_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/orm"
)

// empty runs a test on both kinds of database, in parallel, before any migration.
func empty(t *testing.T, test func(s *suite, db *orm.DB)) {
	t.Helper()
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			s := k.suite(t)
			test(s, s.open())
		})
	}
}

func (s *suite) tables() int {
	s.Helper()
	if s.postgres() {
		return s.count("SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'")
	}
	return s.count("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")
}

func TestMigrate(t *testing.T) {
	empty(t, func(s *suite, db *orm.DB) {
		check := func(applied bool) {
			s.Helper()
			list, err := db.Migrations(s.ctx)
			must(s, err)
			if len(list) == 0 {
				s.Error("no migrations")
			}
			for i, m := range list {
				if m.Version != int64(i+1) || m.Name == "" || m.Applied.IsZero() == applied {
					s.Errorf("migration %d: %+v", i, m)
				}
				if applied && (time.Since(m.Applied).Abs() > time.Minute || m.Applied.Location() != time.UTC) {
					s.Errorf("applied at %s", m.Applied)
				}
			}
		}
		check(false)
		if n := s.tables(); n != 0 {
			s.Errorf("a look made %d tables", n)
		}
		must(s, db.Migrate(s.ctx))
		check(true)
		ann := s.addUser(db, "ann@example.com")
		must(s, s.open().Migrate(s.ctx))
		check(true)
		_, err := db.Users.ByID(s.ctx, ann.ID)
		must(s, err)
	})
}

func TestMigrateConcurrently(t *testing.T) {
	empty(t, func(s *suite, db *orm.DB) {
		const processes = 6
		errs := make(chan error)
		for range processes {
			other := s.open()
			go func() { errs <- errors.Join(other.Migrate(s.ctx), other.Seed(s.ctx)) }()
		}
		for range processes {
			must(s, <-errs)
		}
		list, err := db.Migrations(s.ctx)
		must(s, err)
		if n := s.count("SELECT count(*) FROM fulloncache_migrations WHERE version_id > 0"); n != len(list) {
			s.Errorf("%d migrations were applied, of %d", n, len(list))
		}
	})
}

// Whoever waits for another's migration can give up.
func TestMigrateWaits(t *testing.T) {
	empty(t, func(s *suite, db *orm.DB) {
		raw, err := s.other().Conn(s.ctx)
		must(s, err)
		lock, unlock := "BEGIN IMMEDIATE", "COMMIT"
		if s.postgres() {
			lock, unlock = "SELECT pg_advisory_lock(7382926377125569377)", "SELECT pg_advisory_unlock(7382926377125569377)"
		}
		_, err = raw.ExecContext(s.ctx, lock)
		must(s, err)
		ctx, cancel := context.WithTimeout(s.ctx, 100*time.Millisecond)
		defer cancel()
		wantNamed(s, db.Migrate(ctx), context.DeadlineExceeded, "migrate: version 1 (tables)")
		_, err = raw.ExecContext(s.ctx, unlock)
		must(s, err)
		must(s, db.Migrate(s.ctx))
	})
}

// A step that fails leaves nothing behind, and works once its cause is gone.
func TestMigrateFails(t *testing.T) {
	empty(t, func(s *suite, db *orm.DB) {
		s.do("CREATE VIEW trades AS SELECT 1 AS id")
		err := db.Migrate(s.ctx)
		if err == nil || !strings.Contains(err.Error(), "version 1 (tables)") || !strings.Contains(err.Error(), "trades") {
			s.Errorf("error %v", err)
		}
		if n := s.tables(); n > 1 { // goose's own may be there
			s.Errorf("%d tables are left", n)
		}
		_, err = db.Users.ByID(s.ctx, 1)
		var schema *orm.SchemaError
		if !errors.As(err, &schema) || schema.Version != 0 {
			s.Errorf("error %v", err)
		}
		s.do("DROP VIEW trades")
		must(s, db.Migrate(s.ctx))
		s.addUser(db, "ann@example.com")
	})
}

func TestSchemaErrors(t *testing.T) {
	empty(t, func(s *suite, db *orm.DB) {
		want := func(err error, version int64, says string) {
			s.Helper()
			var schema *orm.SchemaError
			if !errors.As(err, &schema) || schema.Version != version || !strings.Contains(err.Error(), says) {
				s.Errorf("error %v, want one of version %d that says %s", err, version, says)
			}
			for _, other := range []error{fulloncache.ErrNotFound, fulloncache.ErrUnavailable, fulloncache.ErrInvalid} {
				if errors.Is(err, other) {
					s.Errorf("error %v is %v", err, other)
				}
			}
		}
		_, err := db.Users.ByID(s.ctx, 1)
		want(err, 0, "run `fulloncache db migrate`")
		want(db.Seed(s.ctx), 0, "run `fulloncache db migrate`") // within a transaction
		must(s, db.Migrate(s.ctx))
		list, err := db.Migrations(s.ctx)
		must(s, err)
		latest := list[len(list)-1].Version

		s.do("ALTER TABLE symbols DROP COLUMN order_min")
		_, err = db.Symbols.ByID(s.ctx, 1)
		want(err, latest, "changed by hand")
		_, err = db.Symbols.Add(s.ctx, symbolOf("kraken", "BTC/USD"))
		want(err, latest, "changed by hand")
		s.do("UPDATE fulloncache_migrations SET version_id = 0 WHERE version_id > 0")
		_, err = db.Symbols.ByID(s.ctx, 1)
		want(err, 0, "run `fulloncache db migrate`")

		s.do("INSERT INTO fulloncache_migrations (version_id, is_applied) VALUES (99, true)")
		_, err = db.Symbols.ByID(s.ctx, 1)
		want(err, 99, "upgrade the program")
		want(db.Migrate(s.ctx), 99, "upgrade the program")
		list, err = db.Migrations(s.ctx)
		must(s, err)
		if last := list[len(list)-1]; last.Version != 99 || last.Name != "" || last.Applied.IsZero() || len(list) != int(latest)+1 {
			s.Errorf("migrations %+v", list)
		}
		s.do("ALTER TABLE fulloncache_migrations DROP COLUMN tstamp")
		_, err = db.Migrations(s.ctx)
		want(err, 99, "upgrade the program")
		s.do("ALTER TABLE fulloncache_migrations RENAME COLUMN version_id TO v")
		_, err = db.Symbols.ByID(s.ctx, 1)
		want(err, -1, "run `fulloncache db migrate`")
		_, err = db.Migrations(s.ctx)
		want(err, -1, "list migrations")
	})
}

// A schema of PostgreSQL that is not the usual one holds all of it.
func TestMigrateSchema(t *testing.T) {
	t.Parallel()
	s := kinds[0].suite(t)
	s.do("CREATE SCHEMA app")
	db := open(t, s.dsn+"&search_path=app")
	must(t, db.Migrate(s.ctx))
	must(t, db.Seed(s.ctx))
	if n := s.tables(); n != 0 {
		t.Errorf("%d tables are in public", n)
	}
	// From a session that does not look there.
	got := s.listen(func() {
		s.do("UPDATE app.symbols SET backtest = 1 WHERE base = 'BTC'", "UPDATE app.cat_exchanges_params SET value = ''",
			"INSERT INTO app.cat_exchanges_params SELECT cat_ex_id, 'a', 'b' FROM app.cat_exchanges WHERE name = 'kraken'")
	})
	wantPayloads(t, got, `{"table":"symbols","exchange":"binance"}`, `{"table":"symbols","exchange":"kraken"}`,
		`{"table":"cat_exchanges","exchange":"kraken"}`)
}

func TestSeed(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		must(s, db.Seed(s.ctx))
		rows := "SELECT (SELECT count(*) FROM users) * 1000 + (SELECT count(*) FROM exchanges) * 100 + (SELECT count(*) FROM symbols) * 10 + (SELECT count(*) FROM cat_exchanges)"
		if n := s.count(rows); n != 1142 {
			s.Errorf("rows %d", n)
		}
		btc, err := db.Symbols.One(s.ctx, fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"})
		must(s, err)
		btc.Decimals = 7
		_, err = db.Symbols.Update(s.ctx, btc)
		must(s, err)
		must(s, db.Seed(s.ctx))
		got, err := db.Symbols.ByID(s.ctx, btc.ID)
		must(s, err)
		equal(s, []fulloncache.Symbol{got}, btc)
		if n := s.count(rows); n != 1142 {
			s.Errorf("rows %d", n)
		}
		u, err := db.Users.ByMail(s.ctx, orm.SeedMail)
		must(s, err)
		accounts, err := db.Exchanges.ByUser(s.ctx, u.ID)
		must(s, err)
		if len(accounts) != 1 || accounts[0].CatName != "kraken" || !accounts[0].Test {
			s.Errorf("accounts %+v", accounts)
		}
	})
}
