package fulloncache

import (
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// decodeSymbol reads a symbol.
func decodeSymbol(text string) (s Symbol, err error) {
	err = s.decode(text)
	return s, err
}

// anySymbol draws a symbol that can be stored.
func anySymbol(t *rapid.T) Symbol {
	text := func(least int) *rapid.Generator[string] {
		plain := rapid.StringMatching(`[A-Za-z0-9/_. -]*`)
		return rapid.OneOf(plain, rapid.String(), rapid.SampledFrom([]string{`"`, `\`, "\n", "\x7f", "\u2028", "<>&", "{}", "[1,2]", "null", "😀"})).
			Filter(func(s string) bool { return len(s) >= least && len(s) <= maxName && storable(s) })
	}
	places := rapid.IntRange(0, maxPlaces)
	s := Symbol{
		Market: Market{Exchange: text(1).Draw(t, "exchange"), Symbol: text(1).Draw(t, "symbol")},
		ID:     rapid.Int64Min(0).Draw(t, "id"), CatExchangeID: rapid.Int64Min(0).Draw(t, "catalogue"),
		Base: text(1).Draw(t, "base"), Quote: text(0).Draw(t, "quote"), ExBase: text(0).Draw(t, "ex base"),
		Decimals: places.Draw(t, "decimals"), LotDecimals: places.Draw(t, "lot decimals"),
		UpdateFrame: text(0).Draw(t, "update frame"), Backtest: rapid.IntRange(0, maxSmallInt).Draw(t, "backtest"),
		Futures: rapid.Bool().Draw(t, "futures"), OnlyTicker: rapid.Bool().Draw(t, "only ticker"),
	}
	if rapid.Bool().Draw(t, "has a least order") {
		least, err := NewDecimal(rapid.Int64Range(0, 1<<62).Draw(t, "least order"), rapid.IntRange(0, MaxDecimalPlaces).Draw(t, "its places"))
		if err != nil {
			t.Fatal(err)
		}
		s.OrderMin = Some(least)
	}
	return s
}

// What is written is read, by this codec and by encoding/json.
func TestSymbolCodec(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := anySymbol(t)
		text := want.encode()
		got, err := decodeSymbol(text)
		if err != nil || !got.Equal(want) {
			t.Fatalf("%s: got %+v, %v, want %+v", text, got, err, want)
		}
		var other Symbol
		if err := json.Unmarshal([]byte(text), &other); err != nil || !other.Equal(want) {
			t.Fatalf("%s: encoding/json got %+v, %v", text, other, err)
		}
		theirs, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decodeSymbol(string(theirs)); err != nil || !got.Equal(want) {
			t.Fatalf("%s: got %+v, %v, want %+v", theirs, got, err, want)
		}
		// Without escapes, and with ids as databases count, it is read the fast way.
		var fast Symbol
		common := !strings.Contains(text, `\`) && max(want.ID, want.CatExchangeID) < 1e18
		if ok := fast.decodeFast(text); ok != common || ok && !fast.Equal(want) {
			t.Fatalf("%s: %v, %+v", text, ok, fast)
		}
	})
}

// Whatever is read is what encoding/json reads, and is written as what it is.
func FuzzDecodeSymbol(f *testing.F) {
	for _, s := range []string{
		Symbol{Market: Market{"kraken", "BTC/USD"}, Base: "BTC"}.encode(),
		Symbol{Market: Market{"a", `"`}, ID: -1, CatExchangeID: 1 << 60, Base: "\n", Quote: "q", OrderMin: Some(MustDecimal("0.1")), Futures: true, OnlyTicker: true}.encode(),
		`{}`, `{`, `}`, ``, `null`, `[]`, `{"}`, `{"a":}`, `{"a":1,}`, `{"a":"b"}x}`, `{"a":1"b":2}`, `{"decimals":{}}`, `{"decimals":01}`, `{"decimals":+1}`,
		`{"exchange":"e","symbol":"s","base":"b","decimals":1,"decimals":2,"Decimals":3}`,
		`{"exchange":"e","symbol":"s","base":"b","order_min":.5}`, `{"exchange":"e","symbol":"s","base":"b","order_min":-0}`,
		`{"exchange":"e","symbol":"s","base":"b","order_min":"1e3","futures":false,"loaded":"2026-01-01T00:00:00Z"}`,
		"{\"exchange\":\"\xff\",\"symbol\":\"s\",\"base\":\"b\"}", "{\"exchange\":\"e\n\",\"symbol\":\"s\",\"base\":\"b\"}",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := decodeSymbol(text)
		var theirs Symbol
		terr := json.Unmarshal([]byte(text), &theirs)
		if terr == nil {
			terr = theirs.Validate()
		}
		if (err == nil) != (terr == nil) || err == nil && !got.Equal(theirs) {
			t.Fatalf("%q is %+v, %v; to encoding/json %+v, %v", text, got, err, theirs, terr)
		}
		if err != nil {
			return
		}
		again, err := decodeSymbol(got.encode())
		if err != nil || !again.Equal(got) {
			t.Fatalf("%q is %+v, written and read again %+v, %v", text, got, again, err)
		}
	})
}

func BenchmarkDecodeSymbol(b *testing.B) {
	text := Symbol{
		Market: Market{"kraken", "BTC/USD"}, ID: 1234, CatExchangeID: 12, Base: "BTC", Quote: "USD", Decimals: 1, LotDecimals: 8,
		OrderMin: Some(MustDecimal("0.0001")), UpdateFrame: "1h", Backtest: 30,
	}.encode()
	b.ReportAllocs()
	var s Symbol
	for b.Loop() {
		if err := s.decode(text); err != nil {
			b.Fatal(err)
		}
	}
}
