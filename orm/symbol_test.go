package orm_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/orm"
)

// add stores symbols one by one and returns them as they are stored.
func (s *suite) addSymbols(db *orm.DB, symbols ...fulloncache.Symbol) []fulloncache.Symbol {
	s.Helper()
	var stored []fulloncache.Symbol
	for _, symbol := range symbols {
		got, err := db.Symbols.Add(s.ctx, symbol)
		must(s, err)
		stored = append(stored, got)
	}
	return stored
}

func TestSymbols(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		kraken := s.addCatalogue(db, "kraken")
		list, err := db.Symbols.ByExchange(s.ctx, "kraken")
		must(s, err)
		equal(s, list)
		btc := fulloncache.Symbol{
			Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, ID: 99, CatExchangeID: 99, Base: "BTC", Quote: "USD", ExBase: "XBT",
			Decimals: 19, LotDecimals: 3, OrderMin: some("0.0000000000000000001"), UpdateFrame: "1d", Backtest: 32767, Futures: true, OnlyTicker: true,
		}
		added, err := db.Symbols.Add(s.ctx, btc)
		must(s, err)
		if added.ID == 99 || added.CatExchangeID != kraken.ID {
			s.Errorf("added %+v", added)
		}
		btc.ID, btc.CatExchangeID = added.ID, kraken.ID
		equal(s, []fulloncache.Symbol{added}, btc)
		bare := s.addSymbols(db, fulloncache.Symbol{Market: fulloncache.Market{Exchange: "kraken", Symbol: "$"}, Base: "x"})[0]
		other := s.open()
		read := func(want ...fulloncache.Symbol) {
			s.Helper()
			got, err := other.Symbols.ByExchange(s.ctx, "kraken")
			must(s, err)
			equal(s, got, want...)
			for _, w := range want {
				one, err := other.Symbols.ByID(s.ctx, w.ID)
				must(s, err)
				equal(s, []fulloncache.Symbol{one}, w)
				one, err = other.Symbols.One(s.ctx, w.Market)
				must(s, err)
				equal(s, []fulloncache.Symbol{one}, w)
			}
		}
		read(bare, btc)
		btc.OrderMin, btc.ExBase, btc.Decimals, btc.Futures = fulloncache.NullDecimal{}, "", 0, false
		changed := btc
		changed.ID, changed.CatExchangeID = 0, 0
		got, err := db.Symbols.Update(s.ctx, changed)
		must(s, err)
		equal(s, []fulloncache.Symbol{got}, btc)
		read(bare, btc)
		must(s, db.Symbols.Delete(s.ctx, bare.Market))
		read(btc)
	})
}

func TestSymbolsRefused(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		s.addCatalogue(db, "kraken")
		btc := s.addSymbols(db, symbolOf("kraken", "BTC/USD"))[0]
		for _, id := range []int64{0, -1, 77, 1 << 40, -1 << 63, 1<<63 - 1} {
			_, err := db.Symbols.ByID(s.ctx, id)
			wantNamed(s, err, fulloncache.ErrNotFound, "symbol ")
		}
		for _, name := range append(append([]string{"", "Kraken", strings.Repeat("x", 10_000)}, odd...), unstorable...) {
			_, err := db.Symbols.ByExchange(s.ctx, name)
			wantNamed(s, err, fulloncache.ErrNotFound, "symbols of exchange ")
			for _, m := range []fulloncache.Market{{Exchange: "kraken", Symbol: name}, {Exchange: name, Symbol: "BTC/USD"}} {
				_, err = db.Symbols.One(s.ctx, m)
				wantNamed(s, err, fulloncache.ErrNotFound, "symbol ")
				wantNamed(s, db.Symbols.Delete(s.ctx, m), fulloncache.ErrNotFound, "delete symbol ")
			}
		}
		_, err := db.Symbols.Add(s.ctx, btc)
		wantNamed(s, err, fulloncache.ErrDuplicate, "kraken BTC/USD")
		_, err = db.Symbols.Add(s.ctx, symbolOf("nowhere", "BTC/USD"))
		wantNamed(s, err, fulloncache.ErrForeignKey, "no exchange nowhere")
		var constraint *orm.ConstraintError
		if !errors.As(err, &constraint) || constraint.Table != "symbols" {
			s.Errorf("constraint %+v", constraint)
		}
		_, err = db.Symbols.Update(s.ctx, symbolOf("kraken", "ETH/USD"))
		wantNamed(s, err, fulloncache.ErrNotFound, "update symbol kraken ETH/USD")
		for _, wrong := range []func(*fulloncache.Symbol){
			func(s *fulloncache.Symbol) { s.Symbol = "a\x00b" },
			func(s *fulloncache.Symbol) { s.Base = "\xff" },
			func(s *fulloncache.Symbol) { s.Decimals = 32768 },
			func(s *fulloncache.Symbol) { s.Backtest = -1 },
			func(s *fulloncache.Symbol) { s.OrderMin = some("-1") },
			func(s *fulloncache.Symbol) { s.Quote = strings.Repeat("x", 10_000) },
		} {
			symbol := btc
			wrong(&symbol)
			_, err := db.Symbols.Add(s.ctx, symbol)
			wantErr(s, err, fulloncache.ErrInvalid)
			_, err = db.Symbols.Update(s.ctx, symbol)
			wantErr(s, err, fulloncache.ErrInvalid)
			_, err = db.Symbols.Upsert(s.ctx, []fulloncache.Symbol{symbolOf("new", "A/B"), symbol})
			wantErr(s, err, fulloncache.ErrInvalid)
		}
		_, err = db.Symbols.ByExchange(cancelled(s.ctx), "kraken")
		wantErr(s, err, cancelled(s.ctx).Err())
		if n := s.count("SELECT count(*) FROM symbols"); n != 1 {
			s.Errorf("%d symbols, want 1", n)
		}
	})
}

func TestSymbolList(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		for _, exchange := range []string{"kraken", "Binance", "ålesund"} {
			s.addCatalogue(db, exchange)
		}
		perp := symbolOf("kraken", "BTC/USD:USD")
		perp.Quote, perp.Futures = "USD", true
		// In the order of bytes, which is no language's.
		all := s.addSymbols(db, symbolOf("Binance", "BTC/USDT"), symbolOf("Binance", "ETH/USDT"), symbolOf("kraken", "BTC/EUR"),
			symbolOf("kraken", "BTC/USD"), perp, symbolOf("kraken", "btc/usd"), symbolOf("ålesund", "A_B%C"), symbolOf("ålesund", "ABBAC"))
		all[6], all[7] = all[7], all[6]
		list := func(f orm.SymbolFilter) []fulloncache.Symbol {
			s.Helper()
			got, err := db.Symbols.List(s.ctx, f)
			must(s, err)
			return got
		}
		equal(s, list(orm.SymbolFilter{}), all...)
		var paged []fulloncache.Symbol
		for f := (orm.SymbolFilter{Limit: 3}); ; {
			page := list(f)
			paged = append(paged, page...)
			if len(page) < 3 {
				break
			}
			f.After = page[2].Market
		}
		equal(s, paged, all...)
		no, yes := false, true
		equal(s, list(orm.SymbolFilter{Exchange: "kraken"}), all[2:6]...)
		equal(s, list(orm.SymbolFilter{Exchange: "nowhere"}))
		equal(s, list(orm.SymbolFilter{Base: "\xff"}))
		equal(s, list(orm.SymbolFilter{Search: "eth"}), all[1])
		equal(s, list(orm.SymbolFilter{Search: "BTC/usd"}), all[0], all[3], all[4], all[5])
		equal(s, list(orm.SymbolFilter{Search: "_b%"}), all[7])
		equal(s, list(orm.SymbolFilter{Base: "BTC", Quote: "USD"}), all[3], all[4])
		equal(s, list(orm.SymbolFilter{Futures: &yes}), all[4])
		equal(s, list(orm.SymbolFilter{Futures: &no, Base: "BTC", Exchange: "kraken"}), all[2], all[3])
		_, err := db.Symbols.List(s.ctx, orm.SymbolFilter{Limit: -1})
		wantErr(s, err, fulloncache.ErrInvalid)
	})
}

func TestUpsert(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		upsert := func(added, updated int, symbols ...fulloncache.Symbol) {
			s.Helper()
			got, err := db.Symbols.Upsert(s.ctx, symbols)
			must(s, err)
			if want := (fulloncache.Upserted{Added: added, Updated: updated}); got != want {
				s.Errorf("upserted %+v, want %+v", got, want)
			}
		}
		stored := func(exchange string, want ...fulloncache.Symbol) {
			s.Helper()
			got, err := db.Symbols.ByExchange(s.ctx, exchange)
			must(s, err)
			if len(got) == len(want) {
				for i := range want {
					want[i].ID, want[i].CatExchangeID = got[i].ID, got[i].CatExchangeID
				}
			}
			equal(s, got, want...)
		}
		upsert(0, 0)
		kraken := s.addCatalogue(db, "kraken")
		btc, eth, bnb := symbolOf("kraken", "BTC/USD"), symbolOf("kraken", "ETH/USD"), symbolOf("binance", "BNB/USDT")
		upsert(2, 0, eth, btc)
		upsert(0, 0, btc, eth)
		before, err := db.Symbols.One(s.ctx, btc.Market)
		must(s, err)
		btc.Decimals, btc.ExBase = 5, "XBT"
		bnb.OrderMin = fulloncache.NullDecimal{}
		upsert(1, 1, bnb, eth, btc)
		upsert(0, 0, bnb, eth, btc)
		after, err := db.Symbols.One(s.ctx, btc.Market)
		must(s, err)
		if after.ID != before.ID || after.CatExchangeID != kraken.ID {
			s.Errorf("the id went from %d to %d", before.ID, after.ID)
		}
		stored("kraken", btc, eth)
		stored("binance", bnb)
		bnb.OrderMin = some("0.10")
		upsert(0, 1, bnb)
		bnb.OrderMin = some("0.1")
		upsert(0, 0, bnb)
		bnb.ID, bnb.CatExchangeID = 4711, 4711 // are ignored
		upsert(0, 0, bnb)
		stored("binance", bnb)

		_, err = db.Symbols.Upsert(s.ctx, []fulloncache.Symbol{symbolOf("fresh", "A/B"), btc, symbolOf("fresh", "A/B")})
		wantNamed(s, err, fulloncache.ErrInvalid, "fresh A/B comes twice")
		_, err = db.Exchanges.CatalogueByName(s.ctx, "fresh")
		wantErr(s, err, fulloncache.ErrNotFound)
		_, err = db.Symbols.Upsert(cancelled(s.ctx), []fulloncache.Symbol{btc})
		wantErr(s, err, cancelled(s.ctx).Err())
	})
}

// More than a statement takes, with names that need care.
func TestUpsertBulk(t *testing.T) {
	both(t, func(s *suite, db *orm.DB) {
		var symbols []fulloncache.Symbol
		for i := range 2100 {
			exchange, name := fmt.Sprintf("exchange %d", i%1050), fmt.Sprintf("%d %s", i, odd[i%len(odd)])
			symbol := symbolOf(exchange, name)
			symbol.Base = strings.Repeat("☃", 85)
			symbols = append(symbols, symbol)
		}
		upsert := func(want fulloncache.Upserted) {
			s.Helper()
			got, err := db.Symbols.Upsert(s.ctx, symbols)
			must(s, err)
			if got != want {
				s.Errorf("upserted %+v, want %+v", got, want)
			}
		}
		upsert(fulloncache.Upserted{Added: 2100})
		for i := range 700 {
			symbols[i*3].Backtest++
		}
		extra := symbolOf("exchange 7", "extra")
		symbols = append(symbols, extra)
		upsert(fulloncache.Upserted{Added: 1, Updated: 700})
		upsert(fulloncache.Upserted{})
		got, err := db.Symbols.List(s.ctx, orm.SymbolFilter{Limit: 5000})
		must(s, err)
		for i := range got {
			got[i].ID, got[i].CatExchangeID = 0, 0
		}
		slices.SortFunc(symbols, func(a, b fulloncache.Symbol) int {
			return strings.Compare(a.Exchange+"\x00"+a.Symbol, b.Exchange+"\x00"+b.Symbol)
		})
		equal(s, got, symbols...)
		if s.postgres() {
			// The updates, and those with nothing to do, took no ids.
			if n := s.count("SELECT last_value FROM symbols_symbol_id_seq"); n != 2101 {
				s.Errorf("%d ids were taken for 2101 symbols", n)
			}
			if n := s.count("SELECT last_value FROM cat_exchanges_cat_ex_id_seq"); n != 1050 {
				s.Errorf("%d ids were taken for 1050 exchanges", n)
			}
		}
	})
}

// However many write the same, each row is counted as added once.
func TestUpsertConcurrently(t *testing.T) {
	both(t, func(s *suite, _ *orm.DB) {
		const writers = 4
		symbols := make([]fulloncache.Symbol, 300)
		for i := range symbols {
			symbols[i] = symbolOf(fmt.Sprintf("exchange %d", i%7), fmt.Sprintf("%d/USD", i))
		}
		type result struct {
			n   fulloncache.Upserted
			err error
		}
		results := make(chan result)
		for i := range writers {
			mine := slices.Clone(symbols)
			for j := range mine {
				if j%2 == 0 {
					mine[j].Backtest = i // the others want another
				}
			}
			go func() {
				n, err := s.open().Symbols.Upsert(s.ctx, mine)
				results <- result{n, err}
			}()
		}
		var sum fulloncache.Upserted
		for range writers {
			r := <-results
			must(s, r.err)
			sum.Added += r.n.Added
			sum.Updated += r.n.Updated
		}
		// Who comes second finds the first's rows, and changes half of them.
		if want := (fulloncache.Upserted{Added: 300, Updated: 150 * (writers - 1)}); sum != want {
			s.Errorf("upserted %+v, want %+v", sum, want)
		}
	})
}
