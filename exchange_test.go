package fulloncache_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
)

func fullCatExchange() fulloncache.CatExchange {
	return fulloncache.CatExchange{ID: 3, Name: "kraken", OHLCVView: "kraken_1m", Params: map[string]string{"rate": "15", "empty": ""}, Loaded: t0}
}

func fullExchange() fulloncache.Exchange {
	return fulloncache.Exchange{
		ID: 5, UserID: 2, CatExchangeID: 3, CatName: "kraken", Name: "mine", Test: true, Active: true, Created: t0, Loaded: t0.Add(time.Minute),
	}
}

func TestCatExchangeValidate(t *testing.T) {
	t.Parallel()
	type exchange = fulloncache.CatExchange
	long := strings.Repeat("x", mostName)
	param := func(name, value string) func(e *exchange) {
		return func(e *exchange) { e.Params = map[string]string{name: value} }
	}
	wantValid(t, fullCatExchange,
		func(e *exchange) { *e = exchange{Name: "k"} },
		func(e *exchange) { e.Name = long },
		func(e *exchange) { e.Name, e.OHLCVView = odd, odd },
		func(e *exchange) { e.Params = map[string]string{} },
		param(long, strings.Repeat("x", 10_000)),
		param(odd, odd),
	)
	wantInvalid(t, fullCatExchange, slices.Concat(
		wrongID("cat_ex_id", 0, func(e *exchange) *int64 { return &e.ID }),
		wrongName("exchange", func(e *exchange) *string { return &e.Name }),
		wrongText("exchange kraken: ohlcv_view", func(e *exchange) *string { return &e.OHLCVView }),
		[]spoiled[exchange]{
			{param("", "x"), []string{"exchange kraken", "parameter is empty"}},
			{param(long+"x", ""), []string{"exchange kraken", "parameter", "257 bytes", "at most 256"}},
			{param(notUTF8, ""), []string{"exchange kraken", "parameter", `"a\xffb"`, "UTF-8"}},
			{param("a\nb", withNull), []string{"exchange kraken", `parameter "a\nb"`, `"a\x00b"`, "null"}},
			{param("secret", strings.Repeat("x", 10_000)+"\x00"), []string{"parameter secret", "xxx", "…"}},
		},
	))
}

func TestCatExchangeEqual(t *testing.T) {
	t.Parallel()
	wantEqual(t, fullCatExchange(), "Loaded")
	a, b := fulloncache.CatExchange{Params: map[string]string{}}, fulloncache.CatExchange{}
	if !a.Equal(b) || !b.Equal(a) {
		t.Error("no parameters are not equal to none")
	}
}

func TestExchangeValidate(t *testing.T) {
	t.Parallel()
	type exchange = fulloncache.Exchange
	wantValid(t, fullExchange,
		func(e *exchange) { *e = exchange{UserID: 1, CatExchangeID: 1, Name: "k"} },
		func(e *exchange) { e.Name = strings.Repeat("x", mostName) },
		func(e *exchange) { e.Name = odd },
		func(e *exchange) { e.ID, e.UserID, e.CatExchangeID = math.MaxInt64, math.MaxInt64, math.MaxInt64 },
	)
	wantInvalid(t, fullExchange, slices.Concat(
		wrongID("ex_id", 0, func(e *exchange) *int64 { return &e.ID }),
		wrongID("uid", 1, func(e *exchange) *int64 { return &e.UserID }),
		wrongID("cat_ex_id", 1, func(e *exchange) *int64 { return &e.CatExchangeID }),
		wrongName("exchange account", func(e *exchange) *string { return &e.Name }),
	))
}

func TestExchangeEqual(t *testing.T) {
	t.Parallel()
	wantEqual(t, fullExchange(), "Loaded")
}

func TestExchangeAge(t *testing.T) {
	t.Parallel()
	wantAge(t, fulloncache.Exchange{Loaded: t0}.Age, fulloncache.Exchange{}.Age)
}

func TestExchangeJSON(t *testing.T) {
	t.Parallel()
	wantRoundTrip(t, fulloncache.CatExchange.Equal)
	wantRoundTrip(t, fulloncache.Exchange.Equal)
	wantRoundTrip(t, func(a, b fulloncache.CatExchangeParam) bool { return a == b })
	moment := time.Date(2024, 2, 29, 23, 59, 59, 1, time.UTC)
	cat := fullCatExchange()
	cat.Loaded = moment
	wantJSON(t, cat, `{"cat_ex_id":3,"name":"kraken","ohlcv_view":"kraken_1m","params":{"empty":"","rate":"15"},"loaded":"2024-02-29T23:59:59.000000001Z"}`)
	wantJSON(t, fulloncache.CatExchange{Name: "kraken"}, `{"name":"kraken"}`)
	wantJSON(t, fulloncache.CatExchangeParam{CatExchangeID: 3, Name: "rate"}, `{"cat_ex_id":3,"name":"rate","value":""}`)
	account := fullExchange()
	account.Created, account.Loaded = moment, moment
	wantJSON(t, account, `{"ex_id":5,"uid":2,"cat_ex_id":3,"cat_name":"kraken","name":"mine","test":true,"active":true,`+
		`"timestamp":"2024-02-29T23:59:59.000000001Z","loaded":"2024-02-29T23:59:59.000000001Z"}`)
	wantJSON(t, fulloncache.Exchange{UserID: 2, CatExchangeID: 3, Name: "mine"}, `{"uid":2,"cat_ex_id":3,"name":"mine","test":false,"active":false}`)
}
