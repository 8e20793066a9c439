package fulloncache

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var anyTrade = rapid.Custom(func(t *rapid.T) Trade {
	u := Trade{
		Market: Market{Exchange: anyText(1).Draw(t, "exchange"), Symbol: anyText(1).Draw(t, "symbol")},
		ID:     anyID.Draw(t, "trade_id"), ExTradeID: anyText(1).Draw(t, "ex_trade_id"), ExOrderID: anyText(0).Draw(t, "ex_order_id"),
		UserID: anyID.Draw(t, "uid"), ExchangeID: anyID.Draw(t, "ex_id"), Type: anyText(0).Draw(t, "order_type"), Side: anySide.Draw(t, "side"),
		Volume: anyPositive(t, "volume"), Price: anyPositive(t, "price"), Cost: anyDecimal.Draw(t, "cost"), Fee: anyDecimal.Draw(t, "fee"),
		Time: anyTime.Draw(t, "time"),
	}
	for _, n := range u.numbers() {
		if *n.value = anyNull.Draw(t, n.name); n.value.Valid && rapid.Bool().Draw(t, "negative") {
			n.value.Decimal = Decimal{}.Sub(n.value.Decimal)
		}
	}
	return u
})

func TestTradeCodecRoundTrip(t *testing.T) {
	t.Parallel()
	full := goodTrade()
	for i, n := range full.numbers() {
		*n.value = Some(MustDecimal(fmt.Sprintf("%d.5", i)))
	}
	tradeComesBack(t, full)
	rapid.Check(t, func(t *rapid.T) { tradeComesBack(t, anyTrade.Draw(t, "trade")) })
}

// tradeComesBack checks that nothing of a trade is lost.
func tradeComesBack(t rapid.TB, in Trade) {
	t.Helper()
	text := in.encode()
	out, err := decodeTrade(text)
	if err != nil || !in.Equal(out) || out.Time.Location() != time.UTC {
		t.Fatalf("%s: %+v became %+v, %v", text, in, out, err)
	}
	// It is the JSON that the type has, and any such JSON is read.
	var other Trade
	if err := json.Unmarshal([]byte(text), &other); err != nil || !in.Equal(other) {
		t.Fatalf("%s: JSON says %+v, %v", text, other, err)
	}
	utc := in
	utc.Time = in.Time.UTC() // JSON has times to the minute of the zone
	own, err := json.Marshal(utc)
	if err != nil {
		t.Fatal(err)
	}
	out, err = decodeTrade(string(own))
	if err != nil || !in.Equal(out) {
		t.Fatalf("%s: %+v became %+v, %v", own, in, out, err)
	}
	next := in
	next.ExTradeID = "next"
	rev, burst, err := readTrades("c", fmt.Sprintf("T 5 8\n%s\n%s", text, next.encode()))
	if err != nil || rev != 5 || burst.first != 8 || burst.last() != 9 || !burst.trades[0].Equal(in) || !burst.trades[1].Equal(next) {
		t.Fatalf("message: %d, %+v, %v", rev, burst, err)
	}
}

func goodTrade() Trade {
	return Trade{
		Market: somewhere, ID: 1, ExTradeID: "t-1", ExOrderID: "OX", UserID: 2, ExchangeID: 3, Type: "limit", Side: Buy,
		Volume: MustDecimal("2"), Price: MustDecimal("3"), Cost: MustDecimal("6"), Fee: MustDecimal("-0.1"), ROI: Some(MustDecimal("-1")),
		Time: time.Date(2024, 2, 29, 23, 59, 59, 1, time.UTC),
	}
}

// spoil replaces a field of a trade's JSON; "" removes it.
func spoil(t testing.TB, field, value string) string {
	t.Helper()
	trade := goodTrade()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(trade.encode()), &fields); err != nil {
		t.Fatal(err)
	}
	if delete(fields, field); value != "" {
		fields[field] = json.RawMessage(value)
	}
	text, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDecodeTradeRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ field, value string }{
		{"exchange", ""}, {"exchange", `""`}, {"exchange", "1"}, {"symbol", ""}, {"symbol", "null"},
		{"ex_trade_id", ""}, {"ex_trade_id", `"` + strings.Repeat("x", 65) + `"`}, {"ex_order_id", `"` + strings.Repeat("x", 65) + `"`},
		{"trade_id", "-1"}, {"uid", "1.5"}, {"uid", `"1"`}, {"ex_id", "1e99"}, {"order_type", `"\u0000"`}, {"side", ""}, {"side", `"long"`},
		{"volume", ""}, {"volume", "0"}, {"volume", "null"}, {"volume", `"NaN"`}, {"price", ""}, {"price", "-1"}, {"price", "[]"},
		{"cost", ""}, {"cost", "-1"}, {"fee", ""}, {"fee", "true"}, {"roi", `"x"`}, {"roi", "1e999"},
		{"time", ""}, {"time", "1"}, {"time", `"now"`}, {"time", `"1969-01-01T00:00:00.000000000Z"`},
	} {
		text := spoil(t, row.field, row.value)
		out, err := decodeTrade(text)
		wantCorrupt(t, corruptTrade("k", text, err), "k", row.field, "element")
		if !out.Equal(Trade{}) {
			t.Errorf("%s=%s: something came out: %+v", row.field, row.value, out)
		}
	}
	for _, text := range []string{"", "x", "[]", "{", `{"a":1} `, "{}x"} {
		_, err := decodeTrade(text)
		if err == nil {
			t.Errorf("%q was read", text)
		}
	}
	// What is written otherwise, or is of a later version, is read.
	for field, value := range map[string]string{
		"volume": `"2.0"`, "roi": `"-1"`, "fee": "-1e-1", "time": `"2024-03-01T00:59:59.000000001+01:00"`, "later": `{"a":[1]}`, "later still": "1", "side": `"b\u0075y"`,
	} {
		got, err := decodeTrade(spoil(t, field, value))
		if err != nil || !got.Equal(goodTrade()) {
			t.Errorf("%s=%s: %+v, %v", field, value, got, err)
		}
	}
}

func TestReadTradesRefuses(t *testing.T) {
	t.Parallel()
	trade, other := goodTrade(), goodTrade()
	other.Symbol = "other"
	for message, field := range map[string]string{
		"":                                "",
		"T":                               "",
		"T 1":                             "",
		"T x 1\n":                         "",
		"X 1 1\n":                         "",
		"T 1 1":                           "",
		"T 1 1\n":                         "",
		"T 1 1\n" + spoil(t, "side", ""):  "side",
		"T 1 1\n" + trade.encode() + "\n": "",
		"T 1 1\n" + trade.encode() + "\n" + other.encode(): "",
	} {
		_, burst, err := readTrades("c", message)
		wantCorrupt(t, err, "c", field, "")
		if len(burst.trades) != 0 {
			t.Errorf("%q: something came out: %+v", message, burst)
		}
	}
}

func FuzzDecodeTrade(f *testing.F) {
	trade := goodTrade()
	f.Add(trade.encode())
	for _, s := range []string{"", "{}", `{"exchange":"x"}`, spoil(f, "volume", `"1"`), spoil(f, "fee", "1e-3"), spoil(f, "x", "{}")} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := decodeTrade(text)
		if err != nil {
			var ce *CorruptError
			if !errors.As(corruptTrade("k", text, err), &ce) || ce.Key != "k" || !got.Equal(Trade{}) {
				t.Fatalf("%q: %+v, %v", text, got, err)
			}
			return
		}
		again, err := decodeTrade(got.encode())
		if err != nil || !got.Equal(again) {
			t.Fatalf("%q: %+v became %+v, %v", text, got, again, err)
		}
	})
}

func FuzzReadTrades(f *testing.F) {
	trade := goodTrade()
	for _, s := range []string{"", "T 1 1\n" + trade.encode(), "T 1 1\n" + trade.encode() + "\n" + trade.encode(), "T 9 9", "T 1 1 1\n{}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, message string) {
		_, burst, err := readTrades("c", message)
		if err != nil {
			var ce *CorruptError
			if !errors.As(err, &ce) || ce.Key != "c" {
				t.Fatalf("%q: %v", message, err)
			}
			return
		}
		for _, u := range burst.trades {
			if err := u.Validate(); err != nil || u.Market != burst.trades[0].Market {
				t.Fatalf("%q: %+v, %v", message, u, err)
			}
		}
	})
}
