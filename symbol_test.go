package fulloncache_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
)

func fullSymbol() fulloncache.Symbol {
	return fulloncache.Symbol{
		Market: btc, ID: 7, CatExchangeID: 3, Base: "BTC", Quote: "USD", ExBase: "XXBT", Decimals: 1, LotDecimals: 8,
		OrderMin: some("0.0001"), UpdateFrame: "1h", Backtest: 30, Futures: true, OnlyTicker: true, Loaded: t0,
	}
}

func TestSymbolValidate(t *testing.T) {
	t.Parallel()
	type symbol = fulloncache.Symbol
	long := strings.Repeat("x", mostName)
	wantValid(t, fullSymbol,
		func(s *symbol) { *s = symbol{Market: btc, Base: "BTC"} },
		func(s *symbol) {
			s.Exchange, s.Symbol, s.Base, s.Quote, s.ExBase, s.UpdateFrame = long, long, long, long, long, long
		},
		func(s *symbol) { s.Exchange, s.Symbol, s.Base, s.Quote = odd, odd, odd, odd },
		func(s *symbol) {
			s.Decimals, s.LotDecimals = fulloncache.MaxDecimalPlaces, fulloncache.MaxDecimalPlaces
			s.Backtest = mostSmall
		},
		func(s *symbol) { s.OrderMin = some("0") },
		func(s *symbol) { s.ID, s.CatExchangeID = math.MaxInt64, math.MaxInt64 },
	)
	rows := []spoiled[symbol]{
		{func(s *symbol) { s.Base = "" }, []string{"base", `""`, "a currency"}},
		{func(s *symbol) { s.OrderMin = some("-0.1") }, []string{"order_min -0.1", "at least 0"}},
	}
	for what, field := range map[string]func(s *symbol) *string{
		"base":        func(s *symbol) *string { return &s.Base },
		"quote":       func(s *symbol) *string { return &s.Quote },
		"ex_base":     func(s *symbol) *string { return &s.ExBase },
		"updateframe": func(s *symbol) *string { return &s.UpdateFrame },
	} {
		rows = append(rows,
			spoiled[symbol]{func(s *symbol) { *field(s) = long + "x" }, []string{what + " of 257 bytes", "at most 256"}},
			spoiled[symbol]{func(s *symbol) { *field(s) = notUTF8 }, []string{"kraken BTC/USD", what, `"a\xffb"`, "UTF-8"}},
			spoiled[symbol]{func(s *symbol) { *field(s) = withNull }, []string{what, `"a\x00b"`, "null"}},
			spoiled[symbol]{func(s *symbol) { *field(s) = strings.Repeat("\n", 255) + "\x00" }, []string{what, "…"}},
		)
	}
	places := func(what string, field func(s *symbol) *int) []spoiled[symbol] {
		return wrongSmall(what, "0", "19", field, -1, 20, math.MaxInt, math.MinInt)
	}
	wantInvalid(t, fullSymbol, slices.Concat(rows,
		wrongName("exchange", func(s *symbol) *string { return &s.Exchange }),
		wrongName("symbol", func(s *symbol) *string { return &s.Symbol }),
		wrongID("symbol_id", 0, func(s *symbol) *int64 { return &s.ID }),
		wrongID("cat_ex_id", 0, func(s *symbol) *int64 { return &s.CatExchangeID }),
		places("decimals", func(s *symbol) *int { return &s.Decimals }),
		places("lot_decimals", func(s *symbol) *int { return &s.LotDecimals }),
		wrongSmall("backtest", "0", "32767", func(s *symbol) *int { return &s.Backtest }, -1, mostSmall+1),
	))
}

func TestSymbolEqual(t *testing.T) {
	t.Parallel()
	wantEqual(t, fullSymbol(), "Loaded")
}

func TestSymbolJSON(t *testing.T) {
	t.Parallel()
	wantRoundTrip(t, fulloncache.Symbol.Equal)
	wantJSON(t, fulloncache.Symbol{Market: btc, Base: "BTC"},
		`{"exchange":"kraken","symbol":"BTC/USD","base":"BTC","decimals":0,"lot_decimals":0}`)
	s := fullSymbol()
	s.Loaded = time.Date(2024, 2, 29, 23, 59, 59, 1, time.UTC)
	wantJSON(t, s, `{"exchange":"kraken","symbol":"BTC/USD","symbol_id":7,"cat_ex_id":3,"base":"BTC","quote":"USD","ex_base":"XXBT",`+
		`"decimals":1,"lot_decimals":8,"order_min":"0.0001","updateframe":"1h","backtest":30,"futures":true,"only_ticker":true,`+
		`"loaded":"2024-02-29T23:59:59.000000001Z"}`)
}

func TestSymbolPrecisionAndAge(t *testing.T) {
	t.Parallel()
	s := fullSymbol()
	if p := s.Precision(); p != (fulloncache.Precision{Decimals: 1, LotDecimals: 8}) {
		t.Errorf("precision %+v", p)
	}
	wantAge(t, s.Age, func(now time.Time) time.Duration { return fulloncache.Symbol{}.Age(now) })
}

// wantAge checks the age of what was loaded at t0, and of what never was.
func wantAge(t *testing.T, loaded, never func(now time.Time) time.Duration) {
	t.Helper()
	for now, want := range map[time.Time]time.Duration{
		t0:                     0,
		t0.Add(time.Second):    time.Second,
		t0.Add(-time.Second):   0, // this machine's clock is behind the one that stamped it
		t0.Add(1).In(time.UTC): 1,
	} {
		if got := loaded(now); got != want {
			t.Errorf("at %s the age is %s, want %s", now, got, want)
		}
	}
	if got := never(t0); got < 100*365*24*time.Hour {
		t.Errorf("what was never loaded is %s old", got)
	}
}
