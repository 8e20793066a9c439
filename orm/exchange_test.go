package orm_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/orm"
)

func TestExchanges(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		ann, kraken, binance := s.addUser(db, "ann@example.com"), s.addCatalogue(db, "kraken"), s.addCatalogue(db, "binance")
		main := s.addExchange(db, ann.ID, kraken.ID, "main")
		if main.ID < 1 || main.CatName != "kraken" || time.Since(main.Created).Abs() > time.Minute || main.Created.Location() != time.UTC {
			s.Errorf("added %+v", main)
		}
		test, err := db.Exchanges.Add(s.ctx, fulloncache.Exchange{
			ID: 99, UserID: ann.ID, CatExchangeID: binance.ID, CatName: "nonsense", Name: "test", Test: true, Created: time.Unix(0, 0),
		})
		must(s, err)
		if test.ID == 99 || test.CatName != "binance" || test.Created.Before(main.Created) || !test.Test || test.Active {
			s.Errorf("added %+v", test)
		}
		other := s.open()
		read := func(want ...fulloncache.Exchange) {
			s.Helper()
			got, err := other.Exchanges.ByUser(s.ctx, ann.ID)
			must(s, err)
			equal(s, got, want...)
			for _, w := range want {
				e, err := other.Exchanges.ByID(s.ctx, w.ID)
				must(s, err)
				equal(s, []fulloncache.Exchange{e}, w)
			}
		}
		read(main, test)
		main.Name, main.CatExchangeID, main.Active, main.Test = "moved", binance.ID, false, true
		updated, err := db.Exchanges.Update(s.ctx, main)
		must(s, err)
		main.CatName = "binance"
		equal(s, []fulloncache.Exchange{updated}, main)
		read(main, test)
		got, err := db.Exchanges.ByName(s.ctx, ann.ID, "moved")
		must(s, err)
		equal(s, []fulloncache.Exchange{got}, main)
		must(s, db.Exchanges.Delete(s.ctx, main.ID))
		read(test)
		must(s, db.Users.Delete(s.ctx, ann.ID))
		read() // the accounts went with the user
	})
}

func TestExchangesRefused(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		ann, bob := s.addUser(db, "ann@example.com"), s.addUser(db, "bob@example.com")
		kraken, binance := s.addCatalogue(db, "kraken"), s.addCatalogue(db, "binance")
		main := s.addExchange(db, ann.ID, kraken.ID, "main")
		for _, id := range []int64{0, -1, 77, 1 << 40, -1 << 63, 1<<63 - 1} {
			_, err := db.Exchanges.ByID(s.ctx, id)
			wantNamed(s, err, fulloncache.ErrNotFound, "exchange account ")
			wantNamed(s, db.Exchanges.Delete(s.ctx, id), fulloncache.ErrNotFound, "delete exchange account ")
			list, err := db.Exchanges.ByUser(s.ctx, id)
			must(s, err)
			equal(s, list)
		}
		for _, name := range append(append([]string{"", "Main", strings.Repeat("x", 10_000)}, odd...), unstorable...) {
			_, err := db.Exchanges.ByName(s.ctx, ann.ID, name)
			wantErr(s, err, fulloncache.ErrNotFound)
		}
		_, err := db.Exchanges.Add(s.ctx, fulloncache.Exchange{UserID: ann.ID, CatExchangeID: kraken.ID, Name: "main"})
		wantNamed(s, err, fulloncache.ErrDuplicate, "main")
		_, err = db.Exchanges.Add(s.ctx, fulloncache.Exchange{UserID: 555, CatExchangeID: kraken.ID, Name: "main"})
		wantNamed(s, err, fulloncache.ErrForeignKey, "555")
		_, err = db.Exchanges.Add(s.ctx, fulloncache.Exchange{UserID: ann.ID, CatExchangeID: 555, Name: "main"})
		wantNamed(s, err, fulloncache.ErrForeignKey, "555")
		for _, name := range append([]string{"", strings.Repeat("x", 10_000)}, unstorable...) {
			_, err = db.Exchanges.Add(s.ctx, fulloncache.Exchange{UserID: ann.ID, CatExchangeID: kraken.ID, Name: name})
			wantErr(s, err, fulloncache.ErrInvalid)
		}
		stolen := main
		stolen.UserID = bob.ID
		_, err = db.Exchanges.Update(s.ctx, stolen)
		wantNamed(s, err, fulloncache.ErrNotFound, "user")
		wrong := main
		wrong.CatExchangeID = 555
		_, err = db.Exchanges.Update(s.ctx, wrong)
		wantErr(s, err, fulloncache.ErrForeignKey)
		wrong.CatExchangeID = 0
		_, err = db.Exchanges.Update(s.ctx, wrong)
		wantErr(s, err, fulloncache.ErrInvalid)

		s.addExchange(db, ann.ID, binance.ID, "main")
		_, err = db.Exchanges.ByName(s.ctx, ann.ID, "main")
		wantNamed(s, err, fulloncache.ErrInvalid, "one at kraken and one at binance")
		for _, name := range odd {
			want := s.addExchange(db, ann.ID, kraken.ID, name)
			got, err := db.Exchanges.ByName(s.ctx, ann.ID, name)
			must(s, err)
			equal(s, []fulloncache.Exchange{got}, want)
		}
		_, err = db.Exchanges.ByName(cancelled(s.ctx), ann.ID, "main")
		wantErr(s, err, cancelled(s.ctx).Err())
	})
}

func TestExchangeList(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		ann, bob := s.addUser(db, "ann@example.com"), s.addUser(db, "bob@example.com")
		kraken, binance := s.addCatalogue(db, "kraken"), s.addCatalogue(db, "binance")
		var all []fulloncache.Exchange
		for _, name := range []string{"a", "b", "c"} {
			all = append(all, s.addExchange(db, ann.ID, kraken.ID, name), s.addExchange(db, bob.ID, binance.ID, name))
		}
		all[0].Active = false
		_, err := db.Exchanges.Update(s.ctx, all[0])
		must(s, err)
		list := func(f orm.ExchangeFilter) []fulloncache.Exchange {
			s.Helper()
			got, err := db.Exchanges.List(s.ctx, f)
			must(s, err)
			return got
		}
		equal(s, list(orm.ExchangeFilter{}), all...)
		equal(s, list(orm.ExchangeFilter{Limit: 2}), all[:2]...)
		equal(s, list(orm.ExchangeFilter{After: all[1].ID, Limit: 3}), all[2:5]...)
		equal(s, list(orm.ExchangeFilter{UserID: ann.ID}), all[0], all[2], all[4])
		equal(s, list(orm.ExchangeFilter{UserID: ann.ID, CatExchangeID: binance.ID}))
		equal(s, list(orm.ExchangeFilter{CatExchangeID: binance.ID, After: all[1].ID}), all[3], all[5])
		equal(s, list(orm.ExchangeFilter{ActiveOnly: true}), all[1:]...)
		_, err = db.Exchanges.List(s.ctx, orm.ExchangeFilter{Limit: -7})
		wantNamed(s, err, fulloncache.ErrInvalid, "-7")
	})
}

func TestCatalogue(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		list, err := db.Exchanges.Catalogue(s.ctx)
		must(s, err)
		equal(s, list)
		var all []fulloncache.CatExchange
		for i, name := range append([]string{"kraken", "Binance", "zaif", "_", "ålesund"}, odd...) {
			e := fulloncache.CatExchange{ID: 99, Name: name, OHLCVView: name}
			if i > 0 {
				e.Params = map[string]string{}
				for _, param := range odd {
					e.Params[param] = name
				}
				e.Params["empty"] = ""
			} else {
				e.OHLCVView = ""
			}
			stored, err := db.Exchanges.AddCatalogue(s.ctx, e)
			must(s, err)
			if stored.ID == 99 || stored.ID == 0 {
				s.Errorf("id %d", stored.ID)
			}
			e.ID = stored.ID
			equal(s, []fulloncache.CatExchange{stored}, e)
			all = append(all, e)
		}
		other := s.open()
		for _, want := range all {
			got, err := other.Exchanges.CatalogueByID(s.ctx, want.ID)
			must(s, err)
			equal(s, []fulloncache.CatExchange{got}, want)
			got, err = other.Exchanges.CatalogueByName(s.ctx, want.Name)
			must(s, err)
			equal(s, []fulloncache.CatExchange{got}, want)
		}
		sorted := func() []fulloncache.CatExchange {
			return slices.SortedFunc(slices.Values(all), func(a, b fulloncache.CatExchange) int { return strings.Compare(a.Name, b.Name) })
		}
		list, err = other.Exchanges.Catalogue(s.ctx)
		must(s, err)
		equal(s, list, sorted()...)

		all[1].Name, all[1].OHLCVView, all[1].Params = "renamed", "", map[string]string{"one": "1"}
		got, err := db.Exchanges.UpdateCatalogue(s.ctx, all[1])
		must(s, err)
		equal(s, []fulloncache.CatExchange{got}, all[1])
		set := func(name, value string) {
			s.Helper()
			must(s, db.Exchanges.SetParam(s.ctx, fulloncache.CatExchangeParam{CatExchangeID: all[0].ID, Name: name, Value: value}))
		}
		set("a", "1")
		set("a", "2")
		set("b", "")
		all[0].Params = map[string]string{"a": "2", "b": ""}
		list, err = other.Exchanges.Catalogue(s.ctx)
		must(s, err)
		equal(s, list, sorted()...)
		must(s, db.Exchanges.DeleteParam(s.ctx, all[0].ID, "a"))
		delete(all[0].Params, "a")
		must(s, db.Exchanges.DeleteCatalogue(s.ctx, all[2].ID))
		all = slices.Delete(all, 2, 3)
		list, err = other.Exchanges.Catalogue(s.ctx)
		must(s, err)
		equal(s, list, sorted()...)
	})
}

func TestCatalogueRefused(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		kraken, binance := s.addCatalogue(db, "kraken"), s.addCatalogue(db, "binance")
		for _, id := range []int64{0, -1, 77, 1 << 40, -1 << 63, 1<<63 - 1} {
			_, err := db.Exchanges.CatalogueByID(s.ctx, id)
			wantNamed(s, err, fulloncache.ErrNotFound, "exchange ")
			_, err = db.Exchanges.UpdateCatalogue(s.ctx, fulloncache.CatExchange{ID: id, Name: "x"})
			want := fulloncache.ErrNotFound
			if id < 0 {
				want = fulloncache.ErrInvalid
			}
			wantNamed(s, err, want, "update exchange ")
			wantNamed(s, db.Exchanges.DeleteCatalogue(s.ctx, id), fulloncache.ErrNotFound, "delete exchange ")
			wantNamed(s, db.Exchanges.DeleteParam(s.ctx, id, "x"), fulloncache.ErrNotFound, "parameter x")
		}
		for _, name := range append(append([]string{"", "Kraken", strings.Repeat("x", 10_000)}, odd...), unstorable...) {
			_, err := db.Exchanges.CatalogueByName(s.ctx, name)
			wantErr(s, err, fulloncache.ErrNotFound)
			wantErr(s, db.Exchanges.DeleteParam(s.ctx, kraken.ID, name), fulloncache.ErrNotFound)
		}
		_, err := db.Exchanges.AddCatalogue(s.ctx, fulloncache.CatExchange{Name: "kraken", Params: map[string]string{"a": "b"}})
		wantNamed(s, err, fulloncache.ErrDuplicate, "kraken")
		_, err = db.Exchanges.UpdateCatalogue(s.ctx, fulloncache.CatExchange{ID: binance.ID, Name: "kraken"})
		wantErr(s, err, fulloncache.ErrDuplicate)
		for _, text := range append([]string{strings.Repeat("x", 10_000)}, unstorable...) {
			param := fulloncache.CatExchangeParam{CatExchangeID: kraken.ID, Name: text}
			wantErr(s, db.Exchanges.SetParam(s.ctx, param), fulloncache.ErrInvalid)
			_, err := db.Exchanges.AddCatalogue(s.ctx, fulloncache.CatExchange{Name: text})
			wantErr(s, err, fulloncache.ErrInvalid)
			_, err = db.Exchanges.UpdateCatalogue(s.ctx, fulloncache.CatExchange{ID: kraken.ID, Name: "k", Params: map[string]string{text: ""}})
			wantErr(s, err, fulloncache.ErrInvalid)
		}
		param := fulloncache.CatExchangeParam{CatExchangeID: 555, Name: "x"}
		wantNamed(s, db.Exchanges.SetParam(s.ctx, param), fulloncache.ErrForeignKey, "555")

		must(s, db.Exchanges.SetParam(s.ctx, fulloncache.CatExchangeParam{CatExchangeID: kraken.ID, Name: "a", Value: "b"}))
		_, err = db.Symbols.Add(s.ctx, symbolOf("kraken", "BTC/USD"))
		must(s, err)
		wantErr(s, db.Exchanges.DeleteCatalogue(s.ctx, kraken.ID), fulloncache.ErrForeignKey)
		got, err := db.Exchanges.CatalogueByID(s.ctx, kraken.ID) // whole, with its parameters
		must(s, err)
		equal(s, []fulloncache.CatExchange{got}, fulloncache.CatExchange{ID: kraken.ID, Name: "kraken", Params: map[string]string{"a": "b"}})
		_, err = db.Exchanges.Catalogue(cancelled(s.ctx))
		wantErr(s, err, cancelled(s.ctx).Err())
	})
}
