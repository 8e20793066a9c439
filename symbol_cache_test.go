package fulloncache_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// symbolTests are the conformance tests of the SymbolCache.
var symbolTests = map[string]metaTest{
	"symbol hit and miss":        {run: testSymbolHitAndMiss},
	"symbol every field":         {run: testSymbolEveryField},
	"symbol unknown":             {run: testSymbolUnknown},
	"symbol appears":             {tune: forgetful, run: testSymbolAppears},
	"symbol writes":              {run: testSymbolWrites},
	"symbol refused":             {run: testSymbolRefused},
	"symbol names":               {run: testSymbolNames},
	"symbol by id":               {run: testSymbolByID},
	"symbol search":              {run: testSymbolSearch},
	"symbol refresh":             {run: testSymbolRefresh},
	"symbol invalidation":        {run: testSymbolInvalidation},
	"symbol upsert":              {run: testSymbolUpsert},
	"symbol upsert refused":      {run: testSymbolUpsertRefused},
	"symbol deletion cascades":   {run: testSymbolDeletionCascades},
	"symbol precision":           {run: testSymbolPrecision},
	"symbols of an exchange":     {run: testSymbolsMany},
	"symbols of many exchanges":  {tune: func(cfg *fulloncache.Config) { cfg.NearMaxEntries = 3 }, run: testSymbolsOfManyExchanges},
	"symbols without a store":    {run: testSymbolsWithoutStore},
	"symbols outlive the record": {tune: forgetful, run: testSymbolsWithoutStoreOutdated},
}

func testSymbolHitAndMiss(m *meta) {
	m.list("kraken")
	want, second := m.symbol(btc), m.symbol(eth)
	m.costs(1, func() {
		got, err := m.c.Symbols.Get(m.ctx, btc)
		wantRow(m, got, err, want)
		m.hit("symbol.get", fulloncache.HitMiss)
		if got.Loaded.IsZero() || got.Age(time.Now()) > time.Minute {
			m.Fatalf("loaded %s", got.Loaded)
		}
	})
	m.costs(0, func() {
		// What was loaded is in Redis; the next read brings it close.
		_, err := m.c.Symbols.Get(m.ctx, btc)
		must(m, err)
		for range 3 {
			got, err := m.c.Symbols.Get(m.ctx, eth)
			wantRow(m, got, err, second)
			m.hit("symbol.get", fulloncache.HitNear)
		}
		list, err := m.c.Symbols.List(m.ctx, "kraken")
		wantRows(m, list, err, want, second)
		m.hit("symbol.list", fulloncache.HitNear)
		if list[1].Loaded.IsZero() {
			m.Fatal("nothing tells the age")
		}
		list[0].Symbol = "what a caller does to its list is its own affair"
		ok, err := m.c.Symbols.Exists(m.ctx, btc)
		must(m, err)
		if !ok {
			m.Fatal("it exists")
		}
		m.hit("symbol.exists", fulloncache.HitNear)
		for _, c := range []*fulloncache.Client{m.other, m.bare} {
			got, err := c.Symbols.Get(m.ctx, btc)
			wantRow(m, got, err, want)
			list, err := c.Symbols.List(m.ctx, "kraken")
			wantRows(m, list, err, want, second)
		}
	})
}

func testSymbolEveryField(m *meta) {
	e := m.list("kraken")
	for i, s := range []fulloncache.Symbol{
		{
			Market: btc, Base: "BTC", Quote: "USD", ExBase: "XBT", Decimals: 19, LotDecimals: 1,
			OrderMin: some("1234567890123456789.0000000000000000001"), UpdateFrame: "1d", Backtest: 32767, Futures: true, OnlyTicker: true,
		},
		{Market: eth, Base: "ETH"},
		{Market: fulloncache.Market{Exchange: "kraken", Symbol: "odd"}, Base: `"\/` + "\n\x01\u2028é", Quote: "'", OrderMin: some("0")},
	} {
		stored, err := m.c.Symbols.Add(m.ctx, s)
		must(m, err)
		if stored.ID == 0 || stored.CatExchangeID != e.ID {
			m.Fatalf("stored %+v", stored)
		}
		s.ID, s.CatExchangeID = stored.ID, stored.CatExchangeID
		wantRow(m, stored, nil, s)
		for _, c := range m.both() {
			seen(m, s, func() (fulloncache.Symbol, error) { return c.Symbols.Get(m.ctx, s.Market) })
		}
		if list, err := m.c.Symbols.List(m.ctx, "kraken"); err != nil || len(list) != i+1 {
			m.Fatalf("%v, %v", list, err)
		}
	}
}

func testSymbolUnknown(m *meta) {
	// Neither the exchange …
	m.costs(1, func() {
		for range 10 {
			for _, c := range m.both() {
				_, err := c.Symbols.Get(m.ctx, btc)
				wantErr(m, err, fulloncache.ErrNotFound, "kraken")
				_, err = c.Symbols.List(m.ctx, "kraken")
				wantErr(m, err, fulloncache.ErrNotFound, "kraken")
				ok, err := c.Symbols.Exists(m.ctx, btc)
				must(m, err)
				if ok {
					m.Fatal("it does not exist")
				}
			}
		}
	})
	// … nor, when that has come, the symbol.
	m.list("kraken")
	m.costs(1, func() {
		for range 10 {
			_, err := m.c.Symbols.Get(m.ctx, btc)
			wantErr(m, err, fulloncache.ErrNotFound, "kraken BTC/USD")
			list, err := m.c.Symbols.List(m.ctx, "kraken")
			wantRows(m, list, err)
		}
	})
	want := m.symbol(btc)
	got, err := m.c.Symbols.Get(m.ctx, btc)
	wantRow(m, got, err, want)
	seen(m, want, func() (fulloncache.Symbol, error) { return m.other.Symbols.Get(m.ctx, btc) })
}

// What appears in the database without the cache's doing is seen by those who
// ask for it, after one query per TTLNegative.
func testSymbolAppears(m *meta) {
	_, err := m.c.Symbols.List(m.ctx, "kraken")
	wantErr(m, err, fulloncache.ErrNotFound)
	_, err = m.rec.exchanges.AddCatalogue(m.ctx, fulloncache.CatExchange{Name: "kraken"})
	must(m, err)
	first, err := m.rec.symbols.Add(m.ctx, symbolOf(eth))
	must(m, err)
	for _, c := range m.both() {
		seen(m, first, func() (fulloncache.Symbol, error) { return c.Symbols.Get(m.ctx, eth) })
	}
	_, err = m.c.Symbols.Get(m.ctx, btc)
	wantErr(m, err, fulloncache.ErrNotFound)
	want, err := m.rec.symbols.Add(m.ctx, symbolOf(btc))
	must(m, err)
	start, before := time.Now(), m.watch.calls()
	for _, c := range m.both() {
		seen(m, want, func() (fulloncache.Symbol, error) { return c.Symbols.Get(m.ctx, btc) })
	}
	if most := 1 + int(time.Since(start)/m.cfg.TTLNegative); m.watch.calls()-before > most {
		m.Errorf("%d queries, want at most %d", m.watch.calls()-before, most)
	}
	// Those that are known are answered from memory all the same.
	m.costs(0, func() {
		got, err := m.c.Symbols.Get(m.ctx, eth)
		wantRow(m, got, err, first)
	})
}

func testSymbolWrites(m *meta) {
	m.list("kraken")
	other := m.symbol(eth)
	want := m.symbol(btc)
	check := func() {
		m.Helper()
		got, err := m.c.Symbols.Get(m.ctx, btc)
		wantRow(m, got, err, want)
		list, err := m.c.Symbols.List(m.ctx, "kraken")
		wantRows(m, list, err, want, other)
		seen(m, want, func() (fulloncache.Symbol, error) { return m.other.Symbols.Get(m.ctx, btc) })
	}
	check()
	for i := range 5 {
		change := want
		change.Decimals, change.OrderMin, change.Loaded = i, some(fmt.Sprint(i)), time.Now()
		var err error
		want, err = m.c.Symbols.Update(m.ctx, change)
		wantRow(m, want, err, change)
		check()
	}
	must(m, m.c.Symbols.Delete(m.ctx, btc))
	_, err := m.c.Symbols.Get(m.ctx, btc)
	wantErr(m, err, fulloncache.ErrNotFound)
	list, err := m.c.Symbols.List(m.ctx, "kraken")
	wantRows(m, list, err, other)
	gone(m, func() (fulloncache.Symbol, error) { return m.other.Symbols.Get(m.ctx, btc) })
	wantErr(m, m.c.Symbols.Delete(m.ctx, btc), fulloncache.ErrNotFound)
	_, err = m.c.Symbols.Update(m.ctx, want)
	wantErr(m, err, fulloncache.ErrNotFound)
}

func testSymbolRefused(m *meta) {
	m.list("kraken")
	want := m.symbol(btc)
	change := want
	change.Decimals = 7
	_, err := m.c.Symbols.Add(m.ctx, change)
	wantErr(m, err, fulloncache.ErrDuplicate)
	_, err = m.c.Symbols.Add(m.ctx, symbolOf(fulloncache.Market{Exchange: "nowhere", Symbol: "A/B"}))
	wantErr(m, err, fulloncache.ErrForeignKey)
	got, err := m.c.Symbols.Get(m.ctx, btc)
	wantRow(m, got, err, want)
	m.costs(0, func() {
		change.Decimals = -1
		for _, write := range []func() error{
			func() error { _, err := m.c.Symbols.Add(m.ctx, change); return err },
			func() error { _, err := m.c.Symbols.Update(m.ctx, change); return err },
		} {
			wantErr(m, write(), fulloncache.ErrInvalid, "decimals -1", "kraken BTC/USD")
		}
	})
}

func testSymbolNames(m *meta) {
	m.list("kraken")
	// Keys of tickers do not tell these apart.
	twins := []string{"BTC/USD", "BTCUSD", "BTC%2FUSD", "btc/usd", "BTC/USD "}
	for i, name := range slices.Concat(twins, oddNames) {
		s := symbolOf(fulloncache.Market{Exchange: "kraken", Symbol: name})
		s.Backtest = i
		want, err := m.c.Symbols.Add(m.ctx, s)
		must(m, err)
		got, err := m.c.Symbols.Get(m.ctx, want.Market)
		wantRow(m, got, err, want)
		if got.Symbol != name || got.Backtest != i {
			m.Errorf("%q became %+v", name, got)
		}
	}
	must(m, m.c.Symbols.Delete(m.ctx, fulloncache.Market{Exchange: "kraken", Symbol: "BTCUSD"}))
	got, err := m.c.Symbols.Get(m.ctx, btc)
	must(m, err)
	if got.Backtest != 0 {
		m.Errorf("got %+v", got)
	}
	for _, name := range oddNames {
		e := m.list(name)
		want := m.symbol(fulloncache.Market{Exchange: name, Symbol: name})
		list, err := m.c.Symbols.List(m.ctx, name)
		wantRows(m, list, err, want)
		list, err = m.c.Symbols.ListByID(m.ctx, e.ID)
		wantRows(m, list, err, want)
	}
	m.costs(0, func() {
		for name, why := range unfit {
			for part, market := range map[string]fulloncache.Market{
				"exchange": {Exchange: name, Symbol: "BTC/USD"}, "symbol": {Exchange: "kraken", Symbol: name},
			} {
				whole := symbolOf(btc)
				whole.Market = market
				for _, call := range []func() error{
					func() error { _, err := m.c.Symbols.Get(m.ctx, market); return err },
					func() error { _, err := m.c.Symbols.Exists(m.ctx, market); return err },
					func() error { _, err := m.c.Symbols.Precision(m.ctx, market); return err },
					func() error { _, err := m.c.Symbols.Add(m.ctx, whole); return err },
					func() error { _, err := m.c.Symbols.Update(m.ctx, whole); return err },
					func() error { _, err := m.c.Symbols.Upsert(m.ctx, []fulloncache.Symbol{whole}); return err },
					func() error { return m.c.Symbols.Delete(m.ctx, market) },
				} {
					wantErr(m, call(), fulloncache.ErrInvalid, part, why)
				}
			}
			_, err := m.c.Symbols.List(m.ctx, name)
			wantErr(m, err, fulloncache.ErrInvalid, "exchange", why)
			_, err = m.c.Symbols.Refresh(m.ctx, name)
			wantErr(m, err, fulloncache.ErrInvalid, "exchange", why)
			_, err = m.c.Symbols.Search(m.ctx, "", name)
			wantErr(m, err, fulloncache.ErrInvalid, "exchange", why)
		}
		for _, name := range []string{"", strings.Repeat("x", 257)} {
			wantErr(m, m.c.Symbols.Invalidate(m.ctx, "kraken", name), fulloncache.ErrInvalid, "exchange")
		}
	})
}

func testSymbolByID(m *meta) {
	kraken := m.list("kraken")
	want := m.symbol(btc)
	for _, c := range m.both() {
		list, err := c.Symbols.ListByID(m.ctx, kraken.ID)
		wantRows(m, list, err, want)
		got, err := c.Symbols.GetByID(m.ctx, kraken.ID, "BTC/USD")
		wantRow(m, got, err, want)
		_, err = c.Symbols.GetByID(m.ctx, kraken.ID, "XRP/USD")
		wantErr(m, err, fulloncache.ErrNotFound, "XRP/USD")
		for _, id := range []int64{kraken.ID + 1<<20, -1, 0} {
			want := fulloncache.ErrNotFound
			if id < 1 {
				want = fulloncache.ErrInvalid
			}
			_, err = c.Symbols.ListByID(m.ctx, id)
			wantErr(m, err, want, fmt.Sprint(id))
			_, err = c.Symbols.GetByID(m.ctx, id, "BTC/USD")
			wantErr(m, err, want, fmt.Sprint(id))
		}
	}
	m.costs(0, func() {
		_, err := m.c.Symbols.GetByID(m.ctx, kraken.ID, "BTC/USD")
		must(m, err)
		m.hit("symbol.get_by_id", fulloncache.HitNear)
	})
}

func testSymbolSearch(m *meta) {
	for _, market := range []fulloncache.Market{
		{Exchange: "kraken", Symbol: "BTC/USD"}, {Exchange: "kraken", Symbol: "ETH/BTC"}, {Exchange: "kraken", Symbol: "ETH/USD"},
		{Exchange: "binance", Symbol: "BTC/USDT"}, {Exchange: "binance", Symbol: "XRP/EUR"},
	} {
		_, err := m.c.Symbols.Upsert(m.ctx, []fulloncache.Symbol{symbolOf(market)})
		must(m, err)
	}
	odd := symbolOf(fulloncache.Market{Exchange: "kraken", Symbol: "PF_XBT"})
	odd.Base, odd.Quote = "Bitcoin", "Dollar"
	_, err := m.c.Symbols.Add(m.ctx, odd)
	must(m, err)
	for _, search := range []struct {
		text      string
		exchanges []string
		want      []string
	}{
		{"btc", nil, []string{"BTC/USDT", "BTC/USD", "ETH/BTC"}},
		{"BTC/USD", nil, []string{"BTC/USDT", "BTC/USD"}},
		{"usd", []string{"kraken"}, []string{"BTC/USD", "ETH/USD"}},
		{"bitC", nil, []string{"PF_XBT"}},
		{"dollar", nil, []string{"PF_XBT"}},
		{"", []string{"binance"}, []string{"BTC/USDT", "XRP/EUR"}},
		{"eth", []string{"kraken", "binance", "kraken"}, []string{"ETH/BTC", "ETH/USD"}},
		{"*", nil, nil},
		{"doge", nil, nil},
	} {
		found, err := m.c.Symbols.Search(m.ctx, search.text, search.exchanges...)
		must(m, err)
		if !slices.Equal(names(found), search.want) {
			m.Errorf("%q at %v: %v, want %v", search.text, search.exchanges, names(found), search.want)
		}
		for _, s := range found {
			if s.Loaded.IsZero() {
				m.Errorf("%s: nothing tells the age", s.Market)
			}
		}
	}
	all, err := m.other.Symbols.Search(m.ctx, "")
	must(m, err)
	if len(all) != 6 || all[0].Exchange != "binance" || all[5].Symbol != "PF_XBT" {
		m.Errorf("all: %v", names(all))
	}
	// What can be read is returned beside the error.
	found, err := m.c.Symbols.Search(m.ctx, "btc", "nowhere", "kraken", "elsewhere")
	wantErr(m, err, fulloncache.ErrNotFound, "nowhere", "elsewhere")
	if !slices.Equal(names(found), []string{"BTC/USD", "ETH/BTC"}) {
		m.Errorf("found %v", names(found))
	}
}

func testSymbolRefresh(m *meta) {
	_, err := m.c.Symbols.Refresh(m.ctx, "kraken")
	wantErr(m, err, fulloncache.ErrNotFound, "kraken")
	m.list("kraken")
	want := m.symbol(btc)
	for i := range 3 {
		for _, c := range m.both() {
			_, err := c.Symbols.Get(m.ctx, btc)
			must(m, err)
		}
		want.Decimals = i
		_, err := m.rec.symbols.Update(m.ctx, want) // behind the cache's back
		must(m, err)
		m.costs(1, func() {
			list, err := m.c.Symbols.Refresh(m.ctx, "kraken")
			wantRows(m, list, err, want)
			if list[0].Loaded.IsZero() {
				m.Fatal("nothing tells the age")
			}
			got, err := m.c.Symbols.Get(m.ctx, btc)
			wantRow(m, got, err, want)
			seen(m, want, func() (fulloncache.Symbol, error) { return m.other.Symbols.Get(m.ctx, btc) })
		})
	}
}

func testSymbolInvalidation(m *meta) {
	m.list("kraken")
	m.list("binance")
	want, second := m.symbol(btc), m.symbol(fulloncache.Market{Exchange: "binance", Symbol: "A/B"})
	fill := func() {
		for _, c := range m.both() {
			_, err := c.Symbols.Search(m.ctx, "", "binance", "kraken")
			must(m, err)
		}
	}
	fill()
	for i, invalidate := range []func() error{
		func() error { return m.c.Symbols.Invalidate(m.ctx, "kraken", "binance", "nowhere") },
		func() error { return m.c.Symbols.InvalidateAll(m.ctx) },
	} {
		want.Decimals, second.Decimals = i+2, i+2
		for _, s := range []fulloncache.Symbol{want, second} {
			_, err := m.rec.symbols.Update(m.ctx, s) // behind the cache's back
			must(m, err)
		}
		m.costs(0, fill)
		must(m, invalidate())
		for _, want := range []fulloncache.Symbol{want, second} {
			got, err := m.c.Symbols.Get(m.ctx, want.Market)
			wantRow(m, got, err, want)
			seen(m, want, func() (fulloncache.Symbol, error) { return m.other.Symbols.Get(m.ctx, want.Market) })
		}
		fill()
	}
	must(m, m.c.Symbols.Invalidate(m.ctx)) // of none
}

func testSymbolUpsert(m *meta) {
	m.list("kraken")
	old := m.symbol(eth)
	for _, c := range m.both() { // both know that the rest is not there
		_, err := c.Symbols.Get(m.ctx, btc)
		wantErr(m, err, fulloncache.ErrNotFound)
		_, err = c.Exchanges.CatalogueID(m.ctx, "binance")
		wantErr(m, err, fulloncache.ErrNotFound)
	}
	changed := old
	changed.Decimals = 5
	far := fulloncache.Market{Exchange: "binance", Symbol: "A/B"}
	batch := []fulloncache.Symbol{symbolOf(btc), changed, symbolOf(far)}
	for i, want := range []fulloncache.Upserted{{Added: 2, Updated: 1}, {}} {
		done, err := m.c.Symbols.Upsert(m.ctx, batch)
		must(m, err)
		if done != want {
			m.Errorf("upsert %d: %+v, want %+v", i, done, want)
		}
		list, err := m.c.Symbols.List(m.ctx, "kraken")
		must(m, err)
		if len(list) != 2 || list[0].ID == 0 || !list[1].Equal(changed) {
			m.Fatalf("got %+v", list)
		}
		id, err := m.c.Exchanges.CatalogueID(m.ctx, "binance")
		must(m, err)
		got, err := m.c.Symbols.GetByID(m.ctx, id, "A/B")
		must(m, err)
		if got.CatExchangeID != id {
			m.Fatalf("got %+v", got)
		}
		seen(m, got, func() (fulloncache.Symbol, error) { return m.other.Symbols.Get(m.ctx, far) })
		seen(m, changed, func() (fulloncache.Symbol, error) { return m.other.Symbols.Get(m.ctx, eth) })
		testenv.Eventually(m, "the catalogue", func() (bool, string) {
			got, err := m.other.Exchanges.CatalogueID(m.ctx, "binance")
			return got == id, fmt.Sprint(got, err)
		})
	}
}

func testSymbolUpsertRefused(m *meta) {
	m.costs(0, func() {
		done, err := m.c.Symbols.Upsert(m.ctx, nil)
		must(m, err)
		if done != (fulloncache.Upserted{}) {
			m.Errorf("nothing made %+v", done)
		}
		wrong := symbolOf(eth)
		wrong.LotDecimals = 99
		_, err = m.c.Symbols.Upsert(m.ctx, []fulloncache.Symbol{symbolOf(btc), wrong, symbolOf(btc), {}})
		var batch *fulloncache.BatchError
		if !errors.As(err, &batch) || len(batch.Errs) != 4 || batch.Errs[0] != nil {
			m.Fatalf("got %v", err)
		}
		wantErr(m, batch.Errs[1], fulloncache.ErrInvalid, "lot_decimals", "ETH/USD")
		wantErr(m, batch.Errs[2], fulloncache.ErrInvalid, "twice", "BTC/USD", "0", "2")
		wantErr(m, batch.Errs[3], fulloncache.ErrInvalid, "exchange is empty")
	})
	ok, err := m.c.Symbols.Exists(m.ctx, btc)
	must(m, err)
	if ok {
		m.Error("a part was stored")
	}
}

func testSymbolDeletionCascades(m *meta) {
	m.list("kraken")
	m.symbol(btc)
	m.symbol(eth)
	must(m, m.c.Ticks.Set(m.ctx, tickOf(btc, "1", 0)))
	must(m, m.c.Ticks.Set(m.ctx, tickOf(eth, "2", 0)))
	follower := follow(m, m.other, btc)
	follower.want(tickOf(btc, "1", 0))
	must(m, m.c.Symbols.Delete(m.ctx, btc))
	if u := follower.next(); u.Err != nil || !u.Update.Deleted || u.Update.Tick.Market != btc {
		m.Errorf("got %+v, want that it was deleted", u)
	}
	for _, c := range m.both() {
		_, err := c.Ticks.Get(m.ctx, btc)
		wantErr(m, err, fulloncache.ErrNotFound)
		got, err := c.Ticks.Get(m.ctx, eth)
		wantTick(m, got, err, tickOf(eth, "2", 0))
	}
	// A ticker whose symbol is gone already goes too: a deletion that broke off is
	// completed by the next.
	must(m, m.c.Ticks.Set(m.ctx, tickOf(btc, "3", 1)))
	wantErr(m, m.c.Symbols.Delete(m.ctx, btc), fulloncache.ErrNotFound)
	_, err := m.c.Ticks.Get(m.ctx, btc)
	wantErr(m, err, fulloncache.ErrNotFound)
	// While the record cannot tell, the ticker stays.
	broken := errors.New("the record is down")
	m.watch.fail(broken)
	wantErr(m, m.c.Symbols.Delete(m.ctx, eth), broken)
	_, err = m.c.Ticks.Get(m.ctx, eth)
	must(m, err)
	m.watch.fail(nil)
	must(m, m.c.Symbols.Delete(m.ctx, eth))
	_, err = m.c.Ticks.Get(m.ctx, eth)
	wantErr(m, err, fulloncache.ErrNotFound)
}

func testSymbolPrecision(m *meta) {
	m.list("kraken")
	s := symbolOf(btc)
	s.Decimals, s.LotDecimals = 1, 4
	_, err := m.c.Symbols.Add(m.ctx, s)
	must(m, err)
	p, err := m.c.Symbols.Precision(m.ctx, btc)
	must(m, err)
	if p != (fulloncache.Precision{Decimals: 1, LotDecimals: 4}) {
		m.Errorf("got %+v", p)
	}
	check := func(price, size string) {
		m.Helper()
		got, err := m.c.Ticks.RoundPrice(m.ctx, btc, dec("67123.456"))
		must(m, err)
		if got.String() != price {
			m.Errorf("price %s, want %s", got, price)
		}
		got, err = m.c.Ticks.RoundSize(m.ctx, btc, dec("0.12349"))
		must(m, err)
		if got.String() != size {
			m.Errorf("size %s, want %s", got, size)
		}
	}
	check("67123.5", "0.1234")
	s.Decimals, s.LotDecimals = 0, 2
	_, err = m.c.Symbols.Update(m.ctx, s)
	must(m, err)
	check("67123", "0.12")
	_, err = m.c.Ticks.RoundPrice(m.ctx, eth, dec("1"))
	wantErr(m, err, fulloncache.ErrNotFound, "ETH/USD")
}

func testSymbolsMany(m *meta) {
	const n = 3_000
	batch := make([]fulloncache.Symbol, n)
	for i := range batch {
		batch[i] = symbolOf(fulloncache.Market{Exchange: "kraken", Symbol: fmt.Sprintf("C%04d/USD", i)})
	}
	done, err := m.c.Symbols.Upsert(m.ctx, batch)
	must(m, err)
	if done.Added != n {
		m.Fatalf("%+v", done)
	}
	m.costs(1, func() {
		for _, c := range m.both() {
			list, err := c.Symbols.List(m.ctx, "kraken")
			must(m, err)
			if len(list) != n {
				m.Fatalf("%d symbols", len(list))
			}
			for i, s := range list {
				if s.Market != batch[i].Market || s.Base != batch[i].Base || !s.OrderMin.Equal(batch[i].OrderMin) {
					m.Fatalf("symbol %d is %+v", i, s)
				}
			}
			s, err := c.Symbols.Get(m.ctx, batch[n-1].Market)
			wantRow(m, s, err, list[n-1])
		}
	})
}

// More exchanges than are remembered, most of which do not exist.
func testSymbolsOfManyExchanges(m *meta) {
	m.list("kraken")
	want := m.symbol(btc)
	for i := range 20 {
		_, err := m.c.Symbols.List(m.ctx, fmt.Sprint("nowhere ", i))
		wantErr(m, err, fulloncache.ErrNotFound, fmt.Sprint("nowhere ", i))
		got, err := m.c.Symbols.Get(m.ctx, btc)
		wantRow(m, got, err, want)
	}
}

func testSymbolsWithoutStore(m *meta) {
	for name, call := range map[string]func() error{
		"Get":     func() error { _, err := m.bare.Symbols.Get(m.ctx, btc); return err },
		"Exists":  func() error { _, err := m.bare.Symbols.Exists(m.ctx, btc); return err },
		"List":    func() error { _, err := m.bare.Symbols.List(m.ctx, "kraken"); return err },
		"Search":  func() error { _, err := m.bare.Symbols.Search(m.ctx, "", "kraken"); return err },
		"Refresh": func() error { _, err := m.bare.Symbols.Refresh(m.ctx, "kraken"); return err },
		"Round":   func() error { _, err := m.bare.Ticks.RoundPrice(m.ctx, btc, dec("1")); return err },
	} {
		err := call()
		var load *fulloncache.LoadError
		if !errors.Is(err, fulloncache.ErrUnavailable) || errors.Is(err, fulloncache.ErrNotFound) || !errors.As(err, &load) || load.Key == "" {
			m.Errorf("%s: %v", name, err)
		}
		wantErr(m, err, fulloncache.ErrUnsupported, "Config.SymbolStore")
	}
	for _, call := range []func() error{
		func() error { _, err := m.bare.Symbols.Search(m.ctx, ""); return err },
		func() error { _, err := m.bare.Symbols.ListByID(m.ctx, 1); return err },
		func() error { _, err := m.bare.Symbols.GetByID(m.ctx, 1, "BTC/USD"); return err },
	} {
		wantErr(m, call(), fulloncache.ErrUnsupported, "Config.ExchangeStore")
	}
	for name, call := range map[string]func() error{
		"Add":    func() error { _, err := m.bare.Symbols.Add(m.ctx, symbolOf(btc)); return err },
		"Update": func() error { _, err := m.bare.Symbols.Update(m.ctx, symbolOf(btc)); return err },
		"Delete": func() error { return m.bare.Symbols.Delete(m.ctx, btc) },
		"Upsert": func() error {
			_, err := m.bare.Symbols.Upsert(m.ctx, []fulloncache.Symbol{symbolOf(btc)})
			return err
		},
	} {
		if err := call(); errors.Is(err, fulloncache.ErrUnavailable) {
			m.Errorf("%s: %v", name, err)
		}
		wantErr(m, call(), fulloncache.ErrUnsupported, "Config.SymbolStore")
	}
	// What others have filled is answered, also when its time is over, but not that
	// something is not there.
	m.list("kraken")
	want := m.symbol(btc)
	_, err := m.c.Symbols.List(m.ctx, "kraken")
	must(m, err)
	got, err := m.bare.Symbols.Get(m.ctx, btc)
	wantRow(m, got, err, want)
	_, err = m.bare.Symbols.Get(m.ctx, eth)
	wantErr(m, err, fulloncache.ErrNotFound)
	must(m, m.bare.Symbols.Invalidate(m.ctx, "kraken")) // that needs no record
	_, err = m.bare.Symbols.Get(m.ctx, btc)
	wantErr(m, err, fulloncache.ErrUnsupported)
}

// A process without a record knows what others have read, and that it may have
// grown since.
func testSymbolsWithoutStoreOutdated(m *meta) {
	m.list("kraken")
	want := m.symbol(btc)
	_, err := m.c.Symbols.List(m.ctx, "kraken")
	must(m, err)
	testenv.Eventually(m, "doubt", func() (bool, string) {
		_, err := m.bare.Symbols.Get(m.ctx, eth)
		return errors.Is(err, fulloncache.ErrUnavailable) && !errors.Is(err, fulloncache.ErrNotFound), fmt.Sprint(err)
	})
	got, err := m.bare.Symbols.Get(m.ctx, btc)
	wantRow(m, got, err, want)
	if m.ev.count(fulloncache.EventLoadFailed) != 0 {
		m.Error("a process that cannot load has claimed a load")
	}
}
