package fulloncache_test

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache"
)

func fullOrder() fulloncache.Order {
	return fulloncache.Order{
		Market: btc, ID: "o-1", ExOrderID: "OX-1", RecordID: 11, BotID: 4, UserID: 2, ExchangeID: 5, CatExchangeID: 3,
		Type: "limit", Side: fulloncache.Buy, Volume: dec("0.5"), FinalVolume: some("0.25"), Price: some("67000.5"), PLimit: some("66000"),
		Tick: some("67123.4"), Leverage: some("2"), Futures: true, Status: fulloncache.OrderPartial, Command: "spread", Reason: "signal", Time: t0, Cached: t0,
	}
}

// wrongRef are the ways in which an id that its maker gave as text can be wrong.
func wrongRef[T any](what string, field func(v *T) *string) []spoiled[T] {
	set := func(text string) func(v *T) { return func(v *T) { *field(v) = text } }
	return []spoiled[T]{
		{set(strings.Repeat("x", mostRef+1)), []string{what, "65 bytes", "at most 64"}},
		{set(notUTF8), []string{what, `"a\xffb"`, "UTF-8"}},
		{set(withNull), []string{what, `"a\x00b"`, "null"}},
	}
}

// wrongMarket are the ways in which a market can be wrong.
func wrongMarket[T any](field func(v *T) *fulloncache.Market) []spoiled[T] {
	return slices.Concat(
		wrongName("exchange", func(v *T) *string { return &field(v).Exchange }),
		wrongName("symbol", func(v *T) *string { return &field(v).Symbol }),
	)
}

// wrongTime are times that no program means.
func wrongTime[T any](field func(v *T) *time.Time) []spoiled[T] {
	var rows []spoiled[T]
	for _, at := range []time.Time{
		{}, time.Unix(0, -1), time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(1970, 1, 1, 0, 0, 0, 0, time.FixedZone("ahead", 3600)), time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("behind", -3600)),
		time.Unix(1_700_000_000_000, 0), // milliseconds taken for seconds
	} {
		rows = append(rows, spoiled[T]{func(v *T) { *field(v) = at }, []string{"time " + at.String(), "from 1970 to 9999"}})
	}
	return rows
}

func TestSideValidate(t *testing.T) {
	t.Parallel()
	must(t, fulloncache.Buy.Validate())
	must(t, fulloncache.Sell.Validate())
	for side, mention := range map[fulloncache.Side]string{
		"": `""`, "Buy": `"Buy"`, " buy": `" buy"`, "long": `"long"`, "a\nb\xff": `"a\nb\xff"`, fulloncache.Side(strings.Repeat("x", 1000)): `xx"…`,
	} {
		err := side.Validate()
		wantErr(t, err, fulloncache.ErrInvalid, `side "`, mention, "want buy or sell")
		if len(err.Error()) > 150 {
			t.Errorf("the error quotes too much: %s", err)
		}
	}
}

var allStatuses = []fulloncache.OrderStatus{
	fulloncache.OrderNew, fulloncache.OrderPending, fulloncache.OrderOpen, fulloncache.OrderPartial,
	fulloncache.OrderFilled, fulloncache.OrderCancelled, fulloncache.OrderRejected, fulloncache.OrderExpired, fulloncache.OrderError,
}

func TestOrderStatus(t *testing.T) {
	t.Parallel()
	spellings := map[fulloncache.OrderStatus][]string{
		fulloncache.OrderNew:       {"new"},
		fulloncache.OrderPending:   {"pending"},
		fulloncache.OrderOpen:      {"open"},
		fulloncache.OrderPartial:   {"partially_filled"},
		fulloncache.OrderFilled:    {"closed", "filled"},
		fulloncache.OrderCancelled: {"canceled", "cancelled", "cancel"},
		fulloncache.OrderRejected:  {"rejected"},
		fulloncache.OrderExpired:   {"expired"},
		fulloncache.OrderError:     {"error"},
	}
	final := allStatuses[4:]
	for _, want := range allStatuses {
		for _, lower := range spellings[want] {
			for _, text := range []string{lower, strings.ToUpper(lower), strings.ToUpper(lower[:1]) + lower[1:], lower[:1] + strings.ToUpper(lower[1:])} {
				s := fulloncache.OrderStatus(text)
				if got, ok := s.Canonical(); got != want || !ok {
					t.Errorf("%q is canonically %q, %t, want %q", s, got, ok, want)
				}
				must(t, s.Validate())
				if s.Final() != slices.Contains(final, want) {
					t.Errorf("%q: final is %t", s, s.Final())
				}
				for _, other := range allStatuses {
					for _, o := range spellings[other] {
						if got := s.Is(fulloncache.OrderStatus(o)); got != (want == other) {
							t.Errorf("%q is %q: %t", s, o, got)
						}
					}
				}
			}
		}
	}
}

func TestUnknownOrderStatus(t *testing.T) {
	t.Parallel()
	for status, mention := range map[fulloncache.OrderStatus]string{
		"": `""`, " open": `" open"`, "Done": `"Done"`, "partially filled": `"partially filled"`, "a\nb\xff": `"a\nb\xff"`,
		fulloncache.OrderStatus(strings.Repeat("X", 1000)): `XX"…`,
	} {
		if got, ok := status.Canonical(); got != status || ok {
			t.Errorf("%q is canonically %q, %t", status, got, ok)
		}
		if status.Final() || !status.Is(status) || status.Is(status+"x") || status.Is(fulloncache.OrderOpen) {
			t.Errorf("%q: final %t, is open %t", status, status.Final(), status.Is(fulloncache.OrderOpen))
		}
		err := status.Validate()
		wantErr(t, err, fulloncache.ErrInvalid, `status "`, mention, "partially_filled", "canceled")
		if len(err.Error()) > 250 {
			t.Errorf("the error quotes too much: %s", err)
		}
	}
}

func TestOpenStatuses(t *testing.T) {
	t.Parallel()
	got := fulloncache.OpenStatuses()
	if !slices.Equal(got, allStatuses[:4]) {
		t.Errorf("open are %q", got)
	}
	got[0] = "spoiled"
	if again := fulloncache.OpenStatuses(); !slices.Equal(again, allStatuses[:4]) {
		t.Errorf("a caller changed what is open: %q", again)
	}
}

func TestOrderValidate(t *testing.T) {
	t.Parallel()
	type order = fulloncache.Order
	const most = math.MaxInt64
	wantValid(t, fullOrder,
		func(o *order) {
			*o = order{Market: btc, ID: "o", Type: "market", Side: fulloncache.Sell, Volume: dec("1e-19"), Status: "Filled", Time: time.Unix(0, 0)}
		},
		func(o *order) { o.ID, o.ExOrderID = strings.Repeat("x", mostRef), strings.Repeat("x", mostRef) },
		func(o *order) {
			o.Exchange, o.Symbol, o.ID, o.ExOrderID, o.Type, o.Command, o.Reason = odd, odd, odd, odd, odd, odd, odd
		},
		func(o *order) { o.Reason = strings.Repeat("x", 10_000) },
		func(o *order) {
			o.RecordID, o.BotID, o.UserID, o.ExchangeID, o.CatExchangeID = most, most, most, most, most
		},
		func(o *order) {
			o.FinalVolume, o.Price, o.PLimit, o.Tick, o.Leverage = some("0"), some("0"), some("0"), some("0"), some("0")
		},
		func(o *order) { o.Time = time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC) },
	)
	const who = "order kraken BTC/USD o-1: "
	rows := []spoiled[order]{
		{func(o *order) { o.ID = "" }, []string{"order kraken BTC/USD: order_id is empty"}},
		{func(o *order) { o.Type = "" }, []string{who + "order_type is empty"}},
		{func(o *order) { o.Side = "long" }, []string{"order kraken BTC/USD o-1", `side "long"`, "buy or sell"}},
		{func(o *order) { o.Status = "Done" }, []string{"order kraken BTC/USD o-1", `status "Done"`, "want one of"}},
		{func(o *order) { o.Volume = dec("0") }, []string{who + "volume 0", "more than 0"}},
		{func(o *order) { o.Volume = dec("-0.5") }, []string{who + "volume -0.5", "more than 0"}},
		{func(o *order) { o.ID, o.Volume = "a\nb", dec("0") }, []string{`order kraken BTC/USD "a\nb": volume 0`}},
	}
	for what, field := range map[string]func(o *order) *fulloncache.NullDecimal{
		"final_volume": func(o *order) *fulloncache.NullDecimal { return &o.FinalVolume },
		"price":        func(o *order) *fulloncache.NullDecimal { return &o.Price },
		"plimit":       func(o *order) *fulloncache.NullDecimal { return &o.PLimit },
		"tick":         func(o *order) *fulloncache.NullDecimal { return &o.Tick },
		"leverage":     func(o *order) *fulloncache.NullDecimal { return &o.Leverage },
	} {
		rows = append(rows, spoiled[order]{func(o *order) { *field(o) = some("-0.01") }, []string{who + what + " -0.01", "at least 0"}})
	}
	wantInvalid(t, fullOrder, slices.Concat(rows,
		wrongMarket(func(o *order) *fulloncache.Market { return &o.Market }),
		wrongRef("order_id", func(o *order) *string { return &o.ID }),
		wrongRef(who+"ex_order_id", func(o *order) *string { return &o.ExOrderID }),
		wrongID("record_id", 0, func(o *order) *int64 { return &o.RecordID }),
		wrongID("bot_id", 0, func(o *order) *int64 { return &o.BotID }),
		wrongID("uid", 0, func(o *order) *int64 { return &o.UserID }),
		wrongID("ex_id", 0, func(o *order) *int64 { return &o.ExchangeID }),
		wrongID("cat_ex_id", 0, func(o *order) *int64 { return &o.CatExchangeID }),
		wrongText(who+"order_type", func(o *order) *string { return &o.Type }),
		wrongText(who+"command", func(o *order) *string { return &o.Command }),
		wrongText(who+"reason", func(o *order) *string { return &o.Reason }),
		wrongTime(func(o *order) *time.Time { return &o.Time }),
	))
}

func TestOrderEqual(t *testing.T) {
	t.Parallel()
	wantEqual(t, fullOrder(), "Cached")
	// Comparing spoils neither.
	a, b := fullOrder(), fullOrder()
	if !a.Equal(b) || a != fullOrder() || b != fullOrder() {
		t.Errorf("compared, they are %+v and %+v", a, b)
	}
	// A number that is absent has no value.
	b.Price = fulloncache.NullDecimal{Decimal: dec("3")}
	a.Price = fulloncache.NullDecimal{}
	if !a.Equal(b) {
		t.Error("absent prices differ")
	}
}

func TestOrderJSON(t *testing.T) {
	t.Parallel()
	wantRoundTrip(t, fulloncache.Order.Equal)
	o := fullOrder()
	o.Cached, o.Time = time.Time{}, time.Date(2024, 2, 29, 23, 59, 59, 1, time.UTC)
	wantJSON(t, o, `{"exchange":"kraken","symbol":"BTC/USD","order_id":"o-1","ex_order_id":"OX-1","record_id":11,"bot_id":4,"uid":2,"ex_id":5,"cat_ex_id":3,`+
		`"order_type":"limit","side":"buy","volume":"0.5","final_volume":"0.25","price":"67000.5","plimit":"66000","tick":"67123.4","leverage":"2",`+
		`"futures":true,"status":"partially_filled","command":"spread","reason":"signal","time":"2024-02-29T23:59:59.000000001Z"}`)
	wantJSON(t, fulloncache.Order{Market: btc}, `{"exchange":"kraken","symbol":"BTC/USD","order_id":"","order_type":"","side":"","volume":"0",`+
		`"status":"","time":"0001-01-01T00:00:00Z"}`)
}

// A status stays as it was spelt, and means one thing however it is spelt.
func TestOrderStatusProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := fulloncache.OrderStatus(rapid.OneOf(
			rapid.String(), rapid.StringMatching(`(?i:new|open|closed|filled|cancel|cancell?ed|partially_filled|error)`),
		).Draw(t, "status"))
		c, ok := s.Canonical()
		again, okAgain := c.Canonical()
		if again != c || okAgain != ok || ok != slices.Contains(allStatuses, c) || ok != (s.Validate() == nil) {
			t.Fatalf("%q is canonically %q, %t, and that %q, %t", s, c, ok, again, okAgain)
		}
		if !s.Is(c) || !c.Is(s) || s.Final() != c.Final() || s.Final() && slices.Contains(fulloncache.OpenStatuses(), c) {
			t.Fatalf("%q and %q differ", s, c)
		}
	})
}
func TestOrderStatusSpellings(t *testing.T) {
	t.Parallel()
	for status, want := range map[fulloncache.OrderStatus][]string{
		fulloncache.OrderNew:    {"new"},
		"Open":                  {"open"},
		fulloncache.OrderFilled: {"closed", "filled"},
		"Cancel":                {"canceled", "cancel", "cancelled"},
		"LOST":                  {"lost"},
	} {
		got := status.Spellings()
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", status, got, want)
		}
		for _, s := range got {
			if !fulloncache.OrderStatus(strings.ToUpper(s)).Is(status) && s != "lost" {
				t.Errorf("%s is not %s", s, status)
			}
		}
	}
}
