package fulloncache_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/fullon/fulloncache"
)

func TestMarketString(t *testing.T) {
	t.Parallel()
	for m, want := range map[fulloncache.Market]string{
		btc:                                      "kraken BTC/USD",
		{Exchange: "b", Symbol: "BTC/USDT:USDT"}: "b BTC/USDT:USDT",
		{Exchange: "a\nb", Symbol: `"x"`}:        `"a\nb" "\"x\""`,
		{Exchange: "é", Symbol: "\xff"}:          `é "\xff"`,
	} {
		if got := m.String(); got != want {
			t.Errorf("%#v: %s, want %s", m, got, want)
		}
	}
}

func TestMarketValidate(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 257)
	for _, m := range []fulloncache.Market{
		btc,
		{Exchange: long[:256], Symbol: long[:256]},
		{Exchange: "a:b{c}*%", Symbol: "BTC/USDT:USDT \xff"},
	} {
		must(t, m.Validate())
	}
	wantErr(t, fulloncache.Market{Symbol: "BTC/USD"}.Validate(), fulloncache.ErrInvalid, "exchange is empty")
	wantErr(t, fulloncache.Market{Exchange: "kraken"}.Validate(), fulloncache.ErrInvalid, "symbol is empty")
	wantErr(t, fulloncache.Market{Exchange: long, Symbol: "x"}.Validate(), fulloncache.ErrInvalid, "exchange", "257 bytes", "at most 256")
	err := fulloncache.Market{Exchange: "x", Symbol: long}.Validate()
	wantErr(t, err, fulloncache.ErrInvalid, "symbol", "257 bytes")
	if len(err.Error()) > 120 {
		t.Errorf("the error quotes too much: %s", err)
	}
}

func TestMarketJSON(t *testing.T) {
	t.Parallel()
	text, err := json.Marshal(btc)
	must(t, err)
	if string(text) != `{"exchange":"kraken","symbol":"BTC/USD"}` {
		t.Errorf("JSON %s", text)
	}
}
