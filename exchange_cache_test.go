package fulloncache_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// exchangeTests are the conformance tests of the ExchangeCache.
var exchangeTests = map[string]metaTest{
	"account hit and miss":            {run: testAccountHitAndMiss},
	"accounts of a user":              {run: testAccountsOfAUser},
	"account unknown":                 {run: testAccountUnknown},
	"account appears":                 {tune: forgetful, run: testAccountAppears},
	"account writes":                  {run: testAccountWrites},
	"account refused":                 {run: testAccountRefused},
	"account names":                   {run: testAccountNames},
	"account invalidation":            {run: testAccountInvalidation},
	"catalogue hit and miss":          {run: testCatalogueHitAndMiss},
	"catalogue unknown":               {run: testCatalogueUnknown},
	"catalogue appears":               {tune: forgetful, run: testCatalogueAppears},
	"catalogue writes":                {run: testCatalogueWrites},
	"catalogue refused":               {run: testCatalogueRefused},
	"catalogue names":                 {run: testCatalogueNames},
	"catalogue rename":                {run: testCatalogueRename},
	"catalogue deletion":              {run: testCatalogueDeletion},
	"catalogue write seen by symbols": {run: testCatalogueWriteSeenBySymbols},
	"exchanges without a store":       {run: testExchangesWithoutStore},
}

func testAccountHitAndMiss(m *meta) {
	want := m.account(m.rec.user(m), m.list("kraken"), "main")
	if want.ID == 0 || want.CatName != "kraken" || want.Created.IsZero() {
		m.Fatalf("stored %+v", want)
	}
	m.costs(1, func() {
		before := time.Now().Add(-time.Minute)
		got, err := m.c.Exchanges.Get(m.ctx, want.ID)
		wantRow(m, got, err, want)
		m.hit("exchange.get", fulloncache.HitMiss)
		if got.Loaded.Before(before) || got.Age(time.Now()) > time.Minute {
			m.Fatalf("loaded %s", got.Loaded)
		}
	})
	m.costs(0, func() {
		// What was loaded is in Redis; the next read brings it close.
		_, err := m.c.Exchanges.Get(m.ctx, want.ID)
		must(m, err)
		for range 3 {
			got, err := m.c.Exchanges.Get(m.ctx, want.ID)
			wantRow(m, got, err, want)
			m.hit("exchange.get", fulloncache.HitNear)
		}
		for _, c := range []*fulloncache.Client{m.other, m.bare} {
			got, err := c.Exchanges.Get(m.ctx, want.ID)
			wantRow(m, got, err, want)
		}
	})
}

func testAccountsOfAUser(m *meta) {
	kraken, user := m.list("kraken"), m.rec.user(m)
	first, second := m.account(user, kraken, "b"), m.account(user, kraken, "a")
	m.account(m.rec.user(m), kraken, "a") // another user's
	m.costs(1, func() {
		got, err := m.c.Exchanges.ByUser(m.ctx, user)
		wantRows(m, got, err, first, second)
		m.hit("exchange.by_user", fulloncache.HitMiss)
		for range 2 {
			got[0].Name = "what a caller does to its list is its own affair"
			got, err = m.c.Exchanges.ByUser(m.ctx, user)
			wantRows(m, got, err, first, second)
		}
		m.hit("exchange.by_user", fulloncache.HitNear)
		if got[0].Loaded.IsZero() {
			m.Fatal("nothing tells the age")
		}
		got, err = m.other.Exchanges.ByUser(m.ctx, user)
		wantRows(m, got, err, first, second)
	})
	// None is no error, and is remembered.
	m.costs(1, func() {
		for range 3 {
			got, err := m.c.Exchanges.ByUser(m.ctx, 1<<30)
			wantRows(m, got, err)
		}
	})
}

func testAccountUnknown(m *meta) {
	user, kraken := m.rec.user(m), m.list("kraken")
	next := m.account(user, kraken, "main").ID + 1
	m.costs(1, func() {
		for range 10 {
			for _, c := range m.both() {
				_, err := c.Exchanges.Get(m.ctx, next)
				wantErr(m, err, fulloncache.ErrNotFound, fmt.Sprint(next))
			}
		}
	})
	want := m.account(user, kraken, "second")
	if want.ID != next {
		m.Fatalf("the id is %d, want %d", want.ID, next)
	}
	got, err := m.c.Exchanges.Get(m.ctx, next)
	wantRow(m, got, err, want)
	seen(m, want, func() (fulloncache.Exchange, error) { return m.other.Exchanges.Get(m.ctx, next) })
	m.costs(0, func() {
		for _, id := range []int64{0, -1, -1 << 63} {
			_, err := m.c.Exchanges.Get(m.ctx, id)
			wantErr(m, err, fulloncache.ErrInvalid, "ex_id", fmt.Sprint(id))
			_, err = m.c.Exchanges.ByUser(m.ctx, id)
			wantErr(m, err, fulloncache.ErrInvalid, "uid", fmt.Sprint(id))
			_, err = m.c.Exchanges.CatalogueName(m.ctx, id)
			wantErr(m, err, fulloncache.ErrInvalid, "cat_ex_id", fmt.Sprint(id))
			wantErr(m, m.c.Exchanges.Delete(m.ctx, id), fulloncache.ErrInvalid, "ex_id")
			wantErr(m, m.c.Exchanges.DeleteCatalogue(m.ctx, id), fulloncache.ErrInvalid, "cat_ex_id")
			wantErr(m, m.c.Exchanges.Invalidate(m.ctx, 1, id), fulloncache.ErrInvalid, "ex_id")
			wantErr(m, m.c.Exchanges.InvalidateUser(m.ctx, 1, id), fulloncache.ErrInvalid, "uid")
			_, err = m.c.Exchanges.Update(m.ctx, fulloncache.Exchange{ID: id, UserID: user, CatExchangeID: kraken.ID, Name: "x"})
			wantErr(m, err, fulloncache.ErrInvalid, "ex_id")
			_, err = m.c.Exchanges.UpdateCatalogue(m.ctx, fulloncache.CatExchange{ID: id, Name: "x"})
			wantErr(m, err, fulloncache.ErrInvalid, "cat_ex_id")
		}
	})
}

// What appears in the database without the cache's doing is seen when the
// negative entry's time is over.
func testAccountAppears(m *meta) {
	user, kraken := m.rec.user(m), m.list("kraken")
	next := m.account(user, kraken, "main").ID + 1
	_, err := m.c.Exchanges.Get(m.ctx, next)
	wantErr(m, err, fulloncache.ErrNotFound)
	want, err := m.rec.exchanges.Add(m.ctx, fulloncache.Exchange{UserID: user, CatExchangeID: kraken.ID, Name: "second"})
	must(m, err)
	for _, c := range m.both() {
		seen(m, want, func() (fulloncache.Exchange, error) { return c.Exchanges.Get(m.ctx, want.ID) })
	}
}

func testAccountWrites(m *meta) {
	user, kraken, binance := m.rec.user(m), m.list("kraken"), m.list("binance")
	for _, c := range m.both() { // an empty list is known
		got, err := c.Exchanges.ByUser(m.ctx, user)
		wantRows(m, got, err)
	}
	want := m.account(user, kraken, "main")
	check := func() {
		m.Helper()
		got, err := m.c.Exchanges.Get(m.ctx, want.ID)
		wantRow(m, got, err, want)
		list, err := m.c.Exchanges.ByUser(m.ctx, user)
		wantRows(m, list, err, want)
		seen(m, want, func() (fulloncache.Exchange, error) { return m.other.Exchanges.Get(m.ctx, want.ID) })
		testenv.Eventually(m, "the user's list", func() (bool, string) {
			list, err := m.other.Exchanges.ByUser(m.ctx, user)
			return err == nil && slices.EqualFunc(list, []fulloncache.Exchange{want}, fulloncache.Exchange.Equal), fmt.Sprint(list, err)
		})
	}
	check()
	for i := range 5 {
		change := want
		change.Name, change.Active, change.CatExchangeID = fmt.Sprint("main ", i), i%2 == 0, binance.ID
		change.CatName, change.Loaded = "what writes ignore", time.Now()
		var err error
		want, err = m.c.Exchanges.Update(m.ctx, change)
		must(m, err)
		if want.Name != change.Name || want.Active != change.Active || want.CatName != "binance" {
			m.Fatalf("stored %+v", want)
		}
		check()
	}
	must(m, m.c.Exchanges.Delete(m.ctx, want.ID))
	_, err := m.c.Exchanges.Get(m.ctx, want.ID)
	wantErr(m, err, fulloncache.ErrNotFound)
	list, err := m.c.Exchanges.ByUser(m.ctx, user)
	wantRows(m, list, err)
	gone(m, func() (fulloncache.Exchange, error) { return m.other.Exchanges.Get(m.ctx, want.ID) })
	wantErr(m, m.c.Exchanges.Delete(m.ctx, want.ID), fulloncache.ErrNotFound)
	_, err = m.c.Exchanges.Update(m.ctx, want)
	wantErr(m, err, fulloncache.ErrNotFound)
}

func testAccountRefused(m *meta) {
	user, kraken := m.rec.user(m), m.list("kraken")
	want := m.account(user, kraken, "main")
	second := m.account(user, kraken, "second")
	for name, refused := range map[string]struct {
		e    fulloncache.Exchange
		want error
	}{
		"duplicate":           {fulloncache.Exchange{UserID: user, CatExchangeID: kraken.ID, Name: "main"}, fulloncache.ErrDuplicate},
		"unknown user":        {fulloncache.Exchange{UserID: 1 << 30, CatExchangeID: kraken.ID, Name: "x"}, fulloncache.ErrForeignKey},
		"unknown exchange":    {fulloncache.Exchange{UserID: user, CatExchangeID: 1 << 30, Name: "x"}, fulloncache.ErrForeignKey},
		"invalid user":        {fulloncache.Exchange{UserID: 0, CatExchangeID: kraken.ID, Name: "x"}, fulloncache.ErrInvalid},
		"invalid exchange":    {fulloncache.Exchange{UserID: user, CatExchangeID: -1, Name: "x"}, fulloncache.ErrInvalid},
		"rename to duplicate": {fulloncache.Exchange{ID: second.ID, UserID: user, CatExchangeID: kraken.ID, Name: "main"}, fulloncache.ErrDuplicate},
		"another user's":      {fulloncache.Exchange{ID: want.ID, UserID: m.rec.user(m), CatExchangeID: kraken.ID, Name: "main"}, fulloncache.ErrNotFound},
	} {
		write := m.c.Exchanges.Add
		if refused.e.ID != 0 {
			write = m.c.Exchanges.Update
		}
		if stored, err := write(m.ctx, refused.e); !errors.Is(err, refused.want) || stored != (fulloncache.Exchange{}) {
			m.Errorf("%s: %+v, %v", name, stored, err)
		}
		got, err := m.c.Exchanges.ByUser(m.ctx, user)
		wantRows(m, got, err, want, second)
	}
}

func testAccountNames(m *meta) {
	user, kraken := m.rec.user(m), m.list("kraken")
	var all []fulloncache.Exchange
	for _, name := range oddNames {
		want := m.account(user, kraken, name)
		got, err := m.c.Exchanges.Get(m.ctx, want.ID)
		wantRow(m, got, err, want)
		if got.Name != name {
			m.Errorf("%q became %q", name, got.Name)
		}
		all = append(all, want)
	}
	got, err := m.c.Exchanges.ByUser(m.ctx, user)
	wantRows(m, got, err, all...)
	m.costs(0, func() {
		for name, why := range unfit {
			e := fulloncache.Exchange{UserID: user, CatExchangeID: kraken.ID, Name: name}
			_, err := m.c.Exchanges.Add(m.ctx, e)
			wantErr(m, err, fulloncache.ErrInvalid, "account", why)
			e.ID = all[0].ID
			_, err = m.c.Exchanges.Update(m.ctx, e)
			wantErr(m, err, fulloncache.ErrInvalid, "account", why)
		}
	})
}

func testAccountInvalidation(m *meta) {
	user, kraken := m.rec.user(m), m.list("kraken")
	want := m.account(user, kraken, "0")
	fill := func() {
		for _, c := range m.both() {
			_, err := c.Exchanges.Get(m.ctx, want.ID)
			must(m, err)
			_, err = c.Exchanges.ByUser(m.ctx, user)
			must(m, err)
			_, err = c.Exchanges.Catalogue(m.ctx)
			must(m, err)
		}
	}
	fill()
	for i, invalidate := range []func() error{
		func() error {
			return errors.Join(m.c.Exchanges.Invalidate(m.ctx, want.ID, 1<<30), m.c.Exchanges.InvalidateUser(m.ctx, user))
		},
		func() error { return m.c.Exchanges.InvalidateAll(m.ctx) },
	} {
		change := want
		change.Name = fmt.Sprint(i + 1)
		var err error
		want, err = m.rec.exchanges.Update(m.ctx, change) // behind the cache's back
		must(m, err)
		m.costs(0, fill)
		must(m, invalidate())
		got, err := m.c.Exchanges.Get(m.ctx, want.ID)
		wantRow(m, got, err, want)
		list, err := m.c.Exchanges.ByUser(m.ctx, user)
		wantRows(m, list, err, want)
		seen(m, want, func() (fulloncache.Exchange, error) { return m.other.Exchanges.Get(m.ctx, want.ID) })
		fill()
	}
	kraken.OHLCVView = "view"
	_, err := m.rec.exchanges.UpdateCatalogue(m.ctx, kraken)
	must(m, err)
	must(m, m.c.Exchanges.InvalidateAll(m.ctx))
	got, err := m.c.Exchanges.ByName(m.ctx, "kraken")
	wantRow(m, got, err, kraken)
	must(m, m.c.Exchanges.Invalidate(m.ctx)) // of none
}

func testCatalogueHitAndMiss(m *meta) {
	want := fulloncache.CatExchange{Name: "kraken", OHLCVView: "kraken_view", Params: map[string]string{"rate": "1", "empty": "", "odd": "'\"\\\n"}}
	want, err := m.c.Exchanges.AddCatalogue(m.ctx, want)
	must(m, err)
	binance := m.list("binance")
	check := func(c *fulloncache.Client) {
		m.Helper()
		list, err := c.Exchanges.Catalogue(m.ctx)
		wantRows(m, list, err, binance, want)
		got, err := c.Exchanges.ByName(m.ctx, "kraken")
		wantRow(m, got, err, want)
		if got.Loaded.IsZero() || !list[0].Loaded.Equal(got.Loaded) {
			m.Fatalf("loaded %s and %s", list[0].Loaded, got.Loaded)
		}
		id, err := c.Exchanges.CatalogueID(m.ctx, "kraken")
		must(m, err)
		name, err := c.Exchanges.CatalogueName(m.ctx, want.ID)
		must(m, err)
		if id != want.ID || name != "kraken" {
			m.Fatalf("%s is %d, want %d", name, id, want.ID)
		}
		params, err := c.Exchanges.Params(m.ctx, "kraken")
		must(m, err)
		if !want.Equal(fulloncache.CatExchange{ID: id, Name: name, OHLCVView: want.OHLCVView, Params: params}) {
			m.Fatalf("parameters %v", params)
		}
		params["rate"] = "what a caller does to its map is its own affair"
		list[0].Name = "likewise"
	}
	m.costs(1, func() {
		_, err := m.c.Exchanges.Catalogue(m.ctx)
		must(m, err)
		m.hit("exchange.catalogue", fulloncache.HitMiss)
		_, err = m.c.Exchanges.Catalogue(m.ctx)
		must(m, err)
		for range 3 {
			check(m.c)
			m.hit("exchange.params", fulloncache.HitNear)
		}
		check(m.other)
		check(m.bare)
	})
	params, err := m.c.Exchanges.Params(m.ctx, "binance")
	must(m, err)
	if len(params) != 0 {
		m.Fatalf("parameters %v", params)
	}
}

func testCatalogueUnknown(m *meta) {
	m.costs(1, func() {
		for range 10 {
			for _, c := range m.both() {
				_, err := c.Exchanges.ByName(m.ctx, "kraken")
				wantErr(m, err, fulloncache.ErrNotFound, "kraken")
				_, err = c.Exchanges.CatalogueID(m.ctx, "kraken")
				wantErr(m, err, fulloncache.ErrNotFound)
				_, err = c.Exchanges.Params(m.ctx, "kraken")
				wantErr(m, err, fulloncache.ErrNotFound)
				_, err = c.Exchanges.CatalogueName(m.ctx, 1<<30)
				wantErr(m, err, fulloncache.ErrNotFound, "1073741824")
				list, err := c.Exchanges.Catalogue(m.ctx)
				wantRows(m, list, err)
			}
		}
	})
	want := m.list("kraken")
	got, err := m.c.Exchanges.ByName(m.ctx, "kraken")
	wantRow(m, got, err, want)
	seen(m, want, func() (fulloncache.CatExchange, error) { return m.other.Exchanges.ByName(m.ctx, "kraken") })
}

func testCatalogueAppears(m *meta) {
	_, err := m.c.Exchanges.CatalogueID(m.ctx, "kraken")
	wantErr(m, err, fulloncache.ErrNotFound)
	want, err := m.rec.exchanges.AddCatalogue(m.ctx, fulloncache.CatExchange{Name: "kraken"})
	must(m, err)
	for _, c := range m.both() {
		seen(m, want, func() (fulloncache.CatExchange, error) { return c.Exchanges.ByName(m.ctx, "kraken") })
	}
	// Whoever lists does not miss anything, and is not told before its time.
	m.costs(0, func() {
		_, err = m.c.Exchanges.Catalogue(m.ctx)
		must(m, err)
	})
}

func testCatalogueWrites(m *meta) {
	want := m.list("kraken")
	for i := range 5 {
		change := want
		change.OHLCVView, change.Params = fmt.Sprint(i), map[string]string{fmt.Sprint("p", i): fmt.Sprint(i)}
		change.Loaded = time.Now()
		var err error
		want, err = m.c.Exchanges.UpdateCatalogue(m.ctx, change)
		wantRow(m, want, err, change)
		got, err := m.c.Exchanges.ByName(m.ctx, "kraken")
		wantRow(m, got, err, want)
		seen(m, want, func() (fulloncache.CatExchange, error) { return m.other.Exchanges.ByName(m.ctx, "kraken") })
	}
	must(m, m.c.Exchanges.DeleteCatalogue(m.ctx, want.ID))
	_, err := m.c.Exchanges.ByName(m.ctx, "kraken")
	wantErr(m, err, fulloncache.ErrNotFound)
	gone(m, func() (string, error) { return m.other.Exchanges.CatalogueName(m.ctx, want.ID) })
	wantErr(m, m.c.Exchanges.DeleteCatalogue(m.ctx, want.ID), fulloncache.ErrNotFound, fmt.Sprint(want.ID))
	_, err = m.c.Exchanges.UpdateCatalogue(m.ctx, want)
	wantErr(m, err, fulloncache.ErrNotFound, fmt.Sprint(want.ID))
}

func testCatalogueRefused(m *meta) {
	kraken, binance := m.list("kraken"), m.list("binance")
	_, err := m.c.Exchanges.AddCatalogue(m.ctx, fulloncache.CatExchange{Name: "kraken"})
	wantErr(m, err, fulloncache.ErrDuplicate)
	_, err = m.c.Exchanges.UpdateCatalogue(m.ctx, fulloncache.CatExchange{ID: binance.ID, Name: "kraken"})
	wantErr(m, err, fulloncache.ErrDuplicate)
	account := m.account(m.rec.user(m), kraken, "main")
	wantErr(m, m.c.Exchanges.DeleteCatalogue(m.ctx, kraken.ID), fulloncache.ErrForeignKey)
	must(m, m.c.Exchanges.Delete(m.ctx, account.ID))
	m.symbol(btc)
	wantErr(m, m.c.Exchanges.DeleteCatalogue(m.ctx, kraken.ID), fulloncache.ErrForeignKey)
	list, err := m.c.Exchanges.Catalogue(m.ctx)
	wantRows(m, list, err, binance, kraken)
	must(m, m.c.Symbols.Delete(m.ctx, btc))
	must(m, m.c.Exchanges.DeleteCatalogue(m.ctx, kraken.ID))
}

func testCatalogueNames(m *meta) {
	for _, name := range oddNames {
		want, err := m.c.Exchanges.AddCatalogue(m.ctx, fulloncache.CatExchange{Name: name, Params: map[string]string{name: name}})
		must(m, err)
		got, err := m.c.Exchanges.ByName(m.ctx, name)
		wantRow(m, got, err, want)
		if back, err := m.c.Exchanges.CatalogueName(m.ctx, want.ID); err != nil || back != name {
			m.Errorf("%q became %q, %v", name, back, err)
		}
	}
	list, err := m.c.Exchanges.Catalogue(m.ctx)
	must(m, err)
	if len(list) != len(oddNames) || !slices.IsSortedFunc(list, func(a, b fulloncache.CatExchange) int { return slices.Compare([]byte(a.Name), []byte(b.Name)) }) {
		m.Errorf("%d exchanges, sorted by name: %v", len(list), list)
	}
	m.costs(0, func() {
		for name, why := range unfit {
			for method, call := range map[string]func() error{
				"ByName":      func() error { _, err := m.c.Exchanges.ByName(m.ctx, name); return err },
				"CatalogueID": func() error { _, err := m.c.Exchanges.CatalogueID(m.ctx, name); return err },
				"Params":      func() error { _, err := m.c.Exchanges.Params(m.ctx, name); return err },
				"AddCatalogue": func() error {
					_, err := m.c.Exchanges.AddCatalogue(m.ctx, fulloncache.CatExchange{Name: name})
					return err
				},
				"UpdateCatalogue": func() error {
					_, err := m.c.Exchanges.UpdateCatalogue(m.ctx, fulloncache.CatExchange{ID: list[0].ID, Name: name})
					return err
				},
			} {
				wantErr(m, call(), fulloncache.ErrInvalid, "exchange", why)
				_ = method
			}
			_, err := m.c.Exchanges.AddCatalogue(m.ctx, fulloncache.CatExchange{Name: "new", Params: map[string]string{name: "1"}})
			wantErr(m, err, fulloncache.ErrInvalid, "new", "parameter", why)
		}
	})
}

// Accounts and symbols carry the name of their exchange.
func testCatalogueRename(m *meta) {
	user, kraken := m.rec.user(m), m.list("kraken")
	account, symbol := m.account(user, kraken, "main"), m.symbol(btc)
	for _, c := range m.both() { // all is cached, the new name's absence included
		_, err := c.Exchanges.Get(m.ctx, account.ID)
		must(m, err)
		_, err = c.Exchanges.ByUser(m.ctx, user)
		must(m, err)
		_, err = c.Symbols.Get(m.ctx, btc)
		must(m, err)
		_, err = c.Symbols.List(m.ctx, "payward")
		wantErr(m, err, fulloncache.ErrNotFound)
	}
	kraken.Name = "payward"
	stored, err := m.c.Exchanges.UpdateCatalogue(m.ctx, kraken)
	wantRow(m, stored, err, kraken)
	account.CatName, symbol.Exchange = "payward", "payward"

	got, err := m.c.Exchanges.Get(m.ctx, account.ID)
	wantRow(m, got, err, account)
	list, err := m.c.Exchanges.ByUser(m.ctx, user)
	wantRows(m, list, err, account)
	symbols, err := m.c.Symbols.List(m.ctx, "payward")
	wantRows(m, symbols, err, symbol)
	_, err = m.c.Symbols.Get(m.ctx, btc)
	wantErr(m, err, fulloncache.ErrNotFound)
	_, err = m.c.Exchanges.CatalogueID(m.ctx, "kraken")
	wantErr(m, err, fulloncache.ErrNotFound)

	seen(m, account, func() (fulloncache.Exchange, error) { return m.other.Exchanges.Get(m.ctx, account.ID) })
	seen(m, symbol, func() (fulloncache.Symbol, error) { return m.other.Symbols.Get(m.ctx, symbol.Market) })
	gone(m, func() (fulloncache.Symbol, error) { return m.other.Symbols.Get(m.ctx, btc) })
	testenv.Eventually(m, "the user's list", func() (bool, string) {
		list, err := m.other.Exchanges.ByUser(m.ctx, user)
		return err == nil && list[0].CatName == "payward", fmt.Sprint(list, err)
	})
}

func testCatalogueDeletion(m *meta) {
	kraken := m.list("kraken")
	for _, c := range m.both() { // an empty list of symbols is cached
		list, err := c.Symbols.List(m.ctx, "kraken")
		wantRows(m, list, err)
	}
	must(m, m.c.Exchanges.DeleteCatalogue(m.ctx, kraken.ID))
	_, err := m.c.Symbols.List(m.ctx, "kraken")
	wantErr(m, err, fulloncache.ErrNotFound, "kraken")
	gone(m, func() ([]fulloncache.Symbol, error) { return m.other.Symbols.List(m.ctx, "kraken") })
}

// A write of one cache is a write of the other: whoever wrote reads it at once,
// whatever the server has told it by then.
func testCatalogueWriteSeenBySymbols(m *meta) {
	for i := range min(m.rec.rounds, 2_000) {
		name := fmt.Sprint("exchange ", i)
		_, err := m.c.Symbols.List(m.ctx, name)
		wantErr(m, err, fulloncache.ErrNotFound)
		e := m.list(name)
		list, err := m.c.Symbols.List(m.ctx, name)
		wantRows(m, list, err)
		must(m, m.c.Exchanges.DeleteCatalogue(m.ctx, e.ID))
		_, err = m.c.Symbols.List(m.ctx, name)
		wantErr(m, err, fulloncache.ErrNotFound)
		_, err = m.c.Exchanges.CatalogueID(m.ctx, name)
		wantErr(m, err, fulloncache.ErrNotFound)
		// Upserting adds the exchange.
		_, err = m.c.Symbols.Upsert(m.ctx, []fulloncache.Symbol{symbolOf(fulloncache.Market{Exchange: name, Symbol: "A/B"})})
		must(m, err)
		_, err = m.c.Exchanges.CatalogueID(m.ctx, name)
		must(m, err)
	}
}

func testExchangesWithoutStore(m *meta) {
	user := m.rec.user(m)
	for name, call := range map[string]func() error{
		"Get":           func() error { _, err := m.bare.Exchanges.Get(m.ctx, 1); return err },
		"ByUser":        func() error { _, err := m.bare.Exchanges.ByUser(m.ctx, user); return err },
		"Catalogue":     func() error { _, err := m.bare.Exchanges.Catalogue(m.ctx); return err },
		"ByName":        func() error { _, err := m.bare.Exchanges.ByName(m.ctx, "kraken"); return err },
		"CatalogueID":   func() error { _, err := m.bare.Exchanges.CatalogueID(m.ctx, "kraken"); return err },
		"CatalogueName": func() error { _, err := m.bare.Exchanges.CatalogueName(m.ctx, 1); return err },
		"Params":        func() error { _, err := m.bare.Exchanges.Params(m.ctx, "kraken"); return err },
	} {
		err := call()
		var load *fulloncache.LoadError
		if !errors.Is(err, fulloncache.ErrUnavailable) || errors.Is(err, fulloncache.ErrNotFound) || !errors.As(err, &load) || load.Key == "" {
			m.Errorf("%s: %v", name, err)
		}
		wantErr(m, err, fulloncache.ErrUnsupported, "Config.ExchangeStore")
	}
	kraken := m.list("kraken")
	account := m.account(user, kraken, "main")
	for name, call := range map[string]func() error{
		"Add":             func() error { _, err := m.bare.Exchanges.Add(m.ctx, account); return err },
		"Update":          func() error { _, err := m.bare.Exchanges.Update(m.ctx, account); return err },
		"Delete":          func() error { return m.bare.Exchanges.Delete(m.ctx, account.ID) },
		"AddCatalogue":    func() error { _, err := m.bare.Exchanges.AddCatalogue(m.ctx, kraken); return err },
		"UpdateCatalogue": func() error { _, err := m.bare.Exchanges.UpdateCatalogue(m.ctx, kraken); return err },
		"DeleteCatalogue": func() error { return m.bare.Exchanges.DeleteCatalogue(m.ctx, kraken.ID) },
	} {
		if err := call(); errors.Is(err, fulloncache.ErrUnavailable) {
			m.Errorf("%s: %v", name, err)
		}
		wantErr(m, call(), fulloncache.ErrUnsupported, "Config.ExchangeStore")
	}
	// What others have filled is answered, but not that something is not there for
	// longer than it is known.
	_, err := m.c.Exchanges.Catalogue(m.ctx)
	must(m, err)
	got, err := m.bare.Exchanges.ByName(m.ctx, "kraken")
	wantRow(m, got, err, kraken)
	_, err = m.bare.Exchanges.ByName(m.ctx, "binance")
	wantErr(m, err, fulloncache.ErrNotFound)
}

// Errors of WebSocket connections queue per exchange.
func TestWSErrors(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		_, err := c.Exchanges.PopWSError(s.ctx, "kraken", 0)
		wantErr(s, err, fulloncache.ErrNotFound)
		for i := range 3 {
			must(s, c.Exchanges.PushWSError(s.ctx, fulloncache.WSError{Exchange: "kraken", Message: fmt.Sprint(i), Time: at(i)}))
		}
		must(s, c.Exchanges.PushWSError(s.ctx, fulloncache.WSError{Exchange: "binance", Message: "another's"}))
		other := s.open()
		for i := range 3 {
			e, err := other.Exchanges.PopWSError(s.ctx, "kraken", time.Second)
			must(s, err)
			if want := (fulloncache.WSError{Exchange: "kraken", Message: fmt.Sprint(i), Time: at(i).UTC()}); e != want {
				s.Errorf("got %+v, want %+v", e, want)
			}
		}
		e, err := other.Exchanges.PopWSError(s.ctx, "binance", 0)
		must(s, err)
		if since := time.Since(e.Time); since < 0 || since > time.Minute || e.Time.Location() != time.UTC {
			s.Errorf("time %s", e.Time)
		}
		// One that waits gets what comes.
		var waiting sync.WaitGroup
		waiting.Go(func() {
			e, err := other.Exchanges.PopWSError(s.ctx, "kraken", testenv.Patience)
			if err != nil || e.Message != "late" {
				s.Errorf("got %+v, %v", e, err)
			}
		})
		must(s, c.Exchanges.PushWSError(s.ctx, fulloncache.WSError{Exchange: "kraken", Message: "late"}))
		waiting.Wait()

		wantErr(s, c.Exchanges.PushWSError(s.ctx, fulloncache.WSError{Message: "x"}), fulloncache.ErrInvalid, "exchange")
		wantErr(s, c.Exchanges.PushWSError(s.ctx, fulloncache.WSError{Exchange: "kraken"}), fulloncache.ErrInvalid, "message", "kraken")
		_, err = c.Exchanges.PopWSError(s.ctx, "", 0)
		wantErr(s, err, fulloncache.ErrInvalid, "exchange")
		_, err = c.Exchanges.PopWSError(s.ctx, "kraken", -1)
		wantErr(s, err, fulloncache.ErrInvalid, "wait")
		err = c.Exchanges.PushWSError(s.ctx, fulloncache.WSError{Exchange: "kraken", Message: "x", Time: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)})
		wantErr(s, err, fulloncache.ErrInvalid)
	})
}

func TestWSErrorsAreCapped(t *testing.T) {
	everyMode(t, func(s *suite) {
		s.cfg.ErrorQueueCap = 3
		c := s.open()
		for i := range 10 {
			must(s, c.Exchanges.PushWSError(s.ctx, fulloncache.WSError{Exchange: "kraken", Message: fmt.Sprint(i)}))
		}
		for i := 7; i < 10; i++ {
			e, err := c.Exchanges.PopWSError(s.ctx, "kraken", 0)
			must(s, err)
			if e.Message != fmt.Sprint(i) {
				s.Errorf("got %+v, want %d", e, i)
			}
		}
		_, err := c.Exchanges.PopWSError(s.ctx, "kraken", 0)
		wantErr(s, err, fulloncache.ErrNotFound)
	})
}

func TestWSErrorsCorrupt(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		if s.mode.admin == nil {
			must(s, c.Exchanges.PushWSError(s.ctx, fulloncache.WSError{Exchange: "kraken", Message: "x"}))
			return
		}
		key := s.key("ws_error", "kraken", "")
		s.do("RPUSH", key, "{")
		must(s, c.Exchanges.PushWSError(s.ctx, fulloncache.WSError{Exchange: "kraken", Message: "next"}))
		e, err := c.Exchanges.PopWSError(s.ctx, "kraken", 0)
		wantCorrupt(s, err, key, "")
		if e != (fulloncache.WSError{}) {
			s.Errorf("got %+v", e)
		}
		_, err = c.Exchanges.PopWSError(s.ctx, "kraken", 0)
		must(s, err)
		s.do("SET", key, "text")
		_, err = c.Exchanges.PopWSError(s.ctx, "kraken", 0)
		wantCorrupt(s, err, key, "")
		cancelled, cancel := context.WithCancel(s.ctx)
		cancel()
		_, err = c.Exchanges.PopWSError(cancelled, "kraken", time.Hour)
		wantErr(s, err, context.Canceled)
	})
}
