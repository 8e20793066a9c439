package orm_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/orm"
)

func (s *suite) users() int { s.Helper(); return s.count("SELECT count(*) FROM users") }

func TestInTx(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		must(s, db.InTx(s.ctx, func(tx *orm.Tx) error {
			ann, err := tx.Users.Add(s.ctx, userOf("ann@example.com"))
			must(s, err)
			if n := s.users(); n != 0 {
				s.Errorf("others see %d users", n)
			}
			got, err := tx.Users.ByID(s.ctx, ann.ID)
			must(s, err)
			equal(s, []fulloncache.User{got}, ann)
			n, err := tx.Symbols.Upsert(s.ctx, []fulloncache.Symbol{symbolOf("kraken", "BTC/USD")})
			must(s, err)
			if n.Added != 1 {
				s.Errorf("upserted %+v", n)
			}
			// What is not there does no harm.
			_, err = tx.Users.ByID(s.ctx, 12345)
			wantErr(s, err, fulloncache.ErrNotFound)
			wantErr(s, tx.Exchanges.DeleteCatalogue(s.ctx, 12345), fulloncache.ErrNotFound)
			_, err = tx.Exchanges.UpdateCatalogue(s.ctx, fulloncache.CatExchange{ID: 12345, Name: "x"})
			wantErr(s, err, fulloncache.ErrNotFound)
			_, err = tx.Users.Add(s.ctx, fulloncache.User{})
			wantErr(s, err, fulloncache.ErrInvalid)
			_, err = tx.Users.List(s.ctx, orm.UserFilter{Limit: -1})
			wantErr(s, err, fulloncache.ErrInvalid)
			return nil
		}))
		if n := s.users(); n != 1 {
			s.Errorf("%d users", n)
		}
		_, err := db.Symbols.One(s.ctx, fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"})
		must(s, err)
	})
}

func TestInTxRollsBack(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		none := func() {
			s.Helper()
			if n := s.users(); n != 0 {
				s.Errorf("%d users stayed", n)
			}
		}
		own := errors.New("own")
		if err := db.InTx(s.ctx, func(tx *orm.Tx) error {
			_, err := tx.Users.Add(s.ctx, userOf("ann@example.com"))
			must(s, err)
			return own
		}); err != own {
			s.Errorf("error %v", err)
		}
		none()
		func() {
			defer func() {
				if v := recover(); v != "own" {
					s.Errorf("recovered %v", v)
				}
			}()
			_ = db.InTx(s.ctx, func(tx *orm.Tx) error {
				_, err := tx.Users.Add(s.ctx, userOf("ann@example.com"))
				must(s, err)
				panic("own")
			})
		}()
		none()
		exited := make(chan struct{})
		go func() {
			defer close(exited)
			_ = db.InTx(s.ctx, func(tx *orm.Tx) error {
				_, err := tx.Users.Add(s.ctx, userOf("ann@example.com"))
				if err != nil {
					s.Error(err)
				}
				runtime.Goexit()
				return nil
			})
		}()
		<-exited
		none()
		var kept *orm.Tx
		must(s, db.InTx(s.ctx, func(tx *orm.Tx) error { kept = tx; return nil }))
		if _, err := kept.Users.Add(s.ctx, userOf("ann@example.com")); err == nil || !strings.Contains(err.Error(), "already been committed") {
			s.Errorf("after the end: %v", err)
		}
		none()
		s.addUser(db, "ann@example.com") // nothing keeps a lock
	})
}

// An error of the database is the transaction's end, whether fn heeds it or not.
func TestInTxFails(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		s.addCatalogue(db, "kraken")
		for _, fail := range []func(tx *orm.Tx) error{
			func(tx *orm.Tx) error {
				_, err := tx.Exchanges.AddCatalogue(s.ctx, fulloncache.CatExchange{Name: "kraken"})
				return err
			},
			func(tx *orm.Tx) error {
				if _, err := tx.Symbols.Add(s.ctx, symbolOf("kraken", "A/B")); err != nil {
					return err
				}
				_, err := tx.Symbols.Add(s.ctx, symbolOf("kraken", "A/B"))
				return err
			},
		} {
			err := db.InTx(s.ctx, func(tx *orm.Tx) error {
				_, err := tx.Users.Add(s.ctx, userOf("ann@example.com"))
				must(s, err)
				wantErr(s, fail(tx), fulloncache.ErrDuplicate)
				_, err = tx.Users.ByID(s.ctx, 1)
				wantNamed(s, err, fulloncache.ErrDuplicate, "user 1: the transaction failed before: ")
				wantNamed(s, tx.Users.Delete(s.ctx, 1), fulloncache.ErrDuplicate, "the transaction failed before: ")
				_, err = tx.Symbols.Upsert(s.ctx, []fulloncache.Symbol{symbolOf("kraken", "C/D")})
				wantNamed(s, err, fulloncache.ErrDuplicate, "the transaction failed before: ")
				return nil
			})
			wantErr(s, err, fulloncache.ErrDuplicate)
			if n := s.users(); n != 0 {
				s.Errorf("%d users stayed", n)
			}
		}
		// On SQLite it ends some transactions at once; what came then would stay.
		for range 20 {
			ctx, cancel := context.WithCancel(s.ctx)
			err := db.InTx(s.ctx, func(tx *orm.Tx) error {
				_, err := tx.Users.Add(s.ctx, userOf("ann@example.com"))
				must(s, err)
				go cancel()
				for err == nil {
					_, err = tx.Symbols.Upsert(ctx, []fulloncache.Symbol{symbolOf("kraken", "A/B")})
				}
				wantErr(s, err, context.Canceled)
				_, err = tx.Users.Add(s.ctx, userOf("bob@example.com"))
				wantErr(s, err, context.Canceled)
				return nil
			})
			wantErr(s, err, context.Canceled)
			cancel()
		}
		if n := s.users() + s.count("SELECT count(*) FROM symbols"); n != 0 {
			s.Errorf("%d rows stayed", n)
		}
	})
}

// The context of InTx itself.
func TestInTxCancelled(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		wantErr(s, db.InTx(cancelled(s.ctx), func(*orm.Tx) error { s.Error("it ran"); return nil }), context.Canceled)
		ctx, cancel := context.WithCancel(s.ctx)
		err := db.InTx(ctx, func(tx *orm.Tx) error {
			_, err := tx.Users.Add(ctx, userOf("ann@example.com"))
			must(s, err)
			cancel()
			return nil
		})
		wantNamed(s, err, context.Canceled, "transaction: ")
		// It ends the transaction also for statements of another context.
		ctx, cancel = context.WithCancel(s.ctx)
		err = db.InTx(ctx, func(tx *orm.Tx) error {
			cancel()
			var err error
			for err == nil {
				_, err = tx.Users.List(s.ctx, orm.UserFilter{})
			}
			wantNamed(s, err, context.Canceled, "list users: ")
			return nil
		})
		wantErr(s, err, context.Canceled)
		if n := s.users(); n != 0 {
			s.Errorf("%d users stayed", n)
		}
	})
}

// PostgreSQL may check as late as at the commit.
func TestInTxDeferred(t *testing.T) {
	t.Parallel()
	s, db := kinds[0].open(t)
	s.do("ALTER TABLE exchanges ADD CONSTRAINT late FOREIGN KEY (cat_ex_id) REFERENCES symbols (symbol_id) DEFERRABLE INITIALLY DEFERRED")
	ann, kraken := s.addUser(db, "ann@example.com"), s.addCatalogue(db, "kraken")
	err := db.InTx(s.ctx, func(tx *orm.Tx) error {
		_, err := tx.Exchanges.Add(s.ctx, fulloncache.Exchange{UserID: ann.ID, CatExchangeID: kraken.ID, Name: "main"})
		must(s, err)
		return nil
	})
	wantErr(s, err, fulloncache.ErrForeignKey)
	var constraint *orm.ConstraintError
	if !errors.As(err, &constraint) || constraint.Constraint != "late" || constraint.Table != "exchanges" {
		s.Errorf("constraint %+v", constraint)
	}
}

// What a method of several statements began is undone, also where the caller's
// transaction goes on.
func TestSavepoint(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		// Parameters without an exchange, as a database without references can have.
		if s.postgres() {
			s.do("ALTER TABLE cat_exchanges_params DROP CONSTRAINT cat_exchanges_params_cat_ex_id_fkey")
		}
		s.do("INSERT INTO cat_exchanges_params (cat_ex_id, name, value) VALUES (77, 'a', 'b')")
		must(s, db.InTx(s.ctx, func(tx *orm.Tx) error {
			wantErr(s, tx.Exchanges.DeleteCatalogue(s.ctx, 77), fulloncache.ErrNotFound)
			_, err := tx.Users.Add(s.ctx, userOf("ann@example.com"))
			return err
		}))
		if n := s.count("SELECT count(*) FROM cat_exchanges_params"); n != 1 {
			s.Errorf("%d parameters, want 1", n)
		}
		if n := s.users(); n != 1 {
			s.Errorf("%d users, want 1", n)
		}
	})
}
