package fulloncache

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache/internal/feed"
	"github.com/fullon/fulloncache/internal/queue"
)

// anyText is what the database can hold, at least as long as that.
func anyText(least int) *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringN(least, 15, 60).Filter(func(s string) bool { return storable(s) }),
		rapid.SampledFrom([]string{"1", "3:x", "a b", "\n", `"\`, "é€", "user_1", "{x}"}),
	)
}

var anyID = rapid.Int64Range(0, 1<<62)

func anyPositive(t *rapid.T, name string) Decimal {
	if d := anyDecimal.Draw(t, name); !d.IsZero() {
		return d
	}
	return MustDecimal("1e-19")
}

var anySide = rapid.SampledFrom([]Side{Buy, Sell})

var anyOrder = rapid.Custom(func(t *rapid.T) storedOrder {
	s := storedOrder{rev: rapid.Int64().Draw(t, "rev")}
	s.Exchange, s.Symbol = anyText(1).Draw(t, "exchange"), anyText(1).Draw(t, "symbol")
	s.ID, s.ExOrderID = anyText(1).Draw(t, "order_id"), anyText(0).Draw(t, "ex_order_id")
	for _, id := range s.ids() {
		*id.value = anyID.Draw(t, id.name)
	}
	s.Type, s.Command, s.Reason = anyText(1).Draw(t, "order_type"), anyText(0).Draw(t, "command"), anyText(0).Draw(t, "reason")
	s.Side = anySide.Draw(t, "side")
	s.Status = rapid.SampledFrom(slices.Concat(openStatuses, finalStatuses, []OrderStatus{"Open", "CANCEL"})).Draw(t, "status")
	s.Volume = anyPositive(t, "volume")
	for _, n := range s.numbers() {
		*n.value = anyNull.Draw(t, n.name)
	}
	s.Futures = rapid.Bool().Draw(t, "futures")
	s.Time, s.Cached = anyTime.Draw(t, "time"), anyTime.Draw(t, "cached")
	return s
})

// orderFields is how the scripts store an order.
func orderFields(s storedOrder) map[string]string {
	fields := map[string]string{
		"status": string(s.Status), "time": formatTime(s.Time), "cached": formatTime(s.Cached), "rev": strconv.FormatInt(s.rev, 10),
	}
	if s.ExOrderID != "" {
		fields["ex_order_id"] = s.ExOrderID
	}
	if s.FinalVolume.Valid {
		fields["final_volume"] = s.FinalVolume.String()
	}
	for pair := range slices.Chunk(s.given(), 2) {
		fields[pair[0]] = pair[1]
	}
	return fields
}

// orderText is how the scripts publish an order.
func orderText(s storedOrder) string {
	var b strings.Builder
	fmt.Fprintf(&b, "O %d ", s.rev)
	for name, value := range orderFields(s) {
		fmt.Fprintf(&b, "%d:%s%d:%s", len(name), name, len(value), value)
	}
	return b.String()
}

func orderGone(s storedOrder) string {
	return fmt.Sprintf("D %d %d %s%s", s.rev, len(s.Exchange), s.Exchange, s.ID)
}

func sameOrder(a, b storedOrder) bool {
	return a.Equal(b.Order) && a.Cached.Equal(b.Cached) && a.rev == b.rev
}

func TestOrderCodecRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := anyOrder.Draw(t, "order")
		fields := orderFields(in)
		fields["of a later version"] = "x"
		out, err := parseOrder("k", fields)
		if err != nil || !sameOrder(in, out) || out.Time.Location() != time.UTC {
			t.Fatalf("fields: %+v became %+v, %v", in, out, err)
		}
		m, err := readOrderMessage("c", orderText(in))
		if err != nil || m.kind != messageOrder || !sameOrder(in, m.order) {
			t.Fatalf("message %q: %+v became %+v, %v", orderText(in), in, m, err)
		}
		m, err = readOrderMessage("c", orderGone(in))
		if err != nil || m.kind != messageDeleted || m.order.Exchange != in.Exchange || m.order.ID != in.ID || m.order.rev != in.rev {
			t.Fatalf("message %q became %+v, %v", orderGone(in), m, err)
		}
	})
}

func goodOrder() storedOrder {
	at := time.Date(2024, 2, 29, 23, 59, 59, 1, time.UTC)
	return storedOrder{
		Order: Order{
			Market: somewhere, ID: "o-1", ExOrderID: "OX", RecordID: 1, Type: "limit", Side: Buy, Volume: MustDecimal("2"),
			FinalVolume: Some(MustDecimal("1")), Price: Some(MustDecimal("3")), Futures: true, Status: OrderPartial, Time: at, Cached: at,
		},
		rev: 7,
	}
}

func TestParseOrderRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ field, value, mention string }{
		{"exchange", "", "empty"}, {"exchange", strings.Repeat("x", 300), "300"}, {"symbol", "", "empty"},
		{"order_id", "", "empty"}, {"order_id", strings.Repeat("x", 65), "65 bytes"}, {"ex_order_id", strings.Repeat("x", 65), "65 bytes"},
		{"record_id", "x", "invalid syntax"}, {"record_id", "-1", "at least"}, {"uid", "1.5", "invalid syntax"}, {"bot_id", "", "invalid syntax"},
		{"order_type", "", "empty"}, {"reason", "\xff", "UTF-8"}, {"side", "", "side"}, {"side", "long", "side"},
		{"status", "", "status"}, {"status", "lost", "status"},
		{"volume", "", "decimal"}, {"volume", "0", "more than 0"}, {"volume", "-1", "more than 0"}, {"volume", "NaN", "decimal"},
		{"final_volume", "x", "decimal"}, {"final_volume", "-1", "at least 0"}, {"price", "1e999", "decimal"},
		{"futures", "false", "true"}, {"time", "yesterday", "time"}, {"time", "", "time"}, {"time", "1969-01-01T00:00:00.000000000Z", "1970"},
		{"cached", "", "time"}, {"rev", "", "invalid syntax"}, {"rev", "x", "invalid syntax"},
	} {
		fields := orderFields(goodOrder())
		fields[row.field] = row.value
		out, err := parseOrder("k", fields)
		wantCorrupt(t, err, "k", row.field, row.mention)
		if !sameOrder(out, storedOrder{}) {
			t.Errorf("%s=%q: something came out: %+v", row.field, row.value, out)
		}
	}
	for _, field := range []string{"exchange", "symbol", "order_id", "order_type", "side", "status", "volume", "time", "cached", "rev"} {
		fields := orderFields(goodOrder())
		delete(fields, field)
		_, err := parseOrder("k", fields)
		wantCorrupt(t, err, "k", field, "")
	}
	for _, field := range []string{"ex_order_id", "record_id", "final_volume", "price", "futures"} {
		fields := orderFields(goodOrder())
		delete(fields, field)
		if _, err := parseOrder("k", fields); err != nil {
			t.Errorf("without %s: %v", field, err)
		}
	}
}

func TestReadOrderMessageRefuses(t *testing.T) {
	t.Parallel()
	for message, mention := range map[string]string{
		"":                                 "unknown kind",
		"X 1":                              "unknown kind",
		"O":                                "no revision",
		"O x 4:name":                       "no revision",
		"D 1 x":                            "no names",
		"D 1 -1 ab":                        "no names",
		"D 1 9 ab":                         "no names",
		"O 1 4:name":                       "lengths",
		"O 1 9:name4:name":                 "lengths",
		"O 1 -1:x":                         "lengths",
		"O 1 x":                            "lengths",
		"O 8" + orderText(goodOrder())[3:]: "two revisions",
	} {
		_, err := readOrderMessage("c", message)
		wantCorrupt(t, err, "c", "", mention)
	}
	_, err := readOrderMessage("c", "O 1 ")
	wantCorrupt(t, err, "c", "rev", "")
}

func FuzzReadOrderMessage(f *testing.F) {
	f.Add(orderText(goodOrder()))
	f.Add(orderGone(goodOrder()))
	for _, s := range []string{"", "R 1", "O", "D 1 2 abc", "O 1 3:rev1:1", "O 1 99999999999999999999:x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, message string) {
		m, err := readOrderMessage("c", message)
		if err != nil {
			var ce *CorruptError
			if !errors.As(err, &ce) || ce.Key != "c" {
				t.Fatalf("%q: %v", message, err)
			}
			return
		}
		switch m.kind {
		case messageOrder:
			if err := m.order.Validate(); err != nil {
				t.Fatalf("%q: %v", message, err)
			}
			again, err := readOrderMessage("c", orderText(m.order))
			if err != nil || !sameOrder(m.order, again.order) {
				t.Fatalf("%q: %+v became %+v, %v", message, m, again, err)
			}
		case messageDeleted:
			again, err := readOrderMessage("c", orderGone(m.order))
			if err != nil || again.order.Exchange != m.order.Exchange || again.order.ID != m.order.ID || again.order.rev != m.order.rev {
				t.Fatalf("%q: %+v became %+v, %v", message, m, again, err)
			}
		case messageReset:
		default:
			t.Fatalf("%q is a %q", message, m.kind)
		}
	})
}

func FuzzParseOrder(f *testing.F) {
	for name, value := range orderFields(goodOrder()) {
		f.Add(name, value)
		f.Add(name, "")
	}
	f.Fuzz(func(t *testing.T, name, value string) {
		fields := orderFields(goodOrder())
		fields[name] = value
		got, err := parseOrder("k", fields)
		if err != nil {
			var ce *CorruptError
			if !errors.As(err, &ce) || ce.Key != "k" || ce.Field != name {
				t.Fatalf("%s=%q: %v", name, value, err)
			}
			return
		}
		again, err := parseOrder("k", orderFields(got))
		if err != nil || !sameOrder(got, again) {
			t.Fatalf("%+v became %+v, %v", got, again, err)
		}
	})
}

// What is queued is read as it was, by the quick way and by the other.
func TestQueuedOrderRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := anyOrder.Draw(t, "order").Order
		text := in.encode()
		out, err := decodeOrder(text)
		if err != nil || !in.Equal(out) || !out.Cached.IsZero() || out.Time.Location() != time.UTC {
			t.Fatalf("%s: %+v became %+v, %v", text, in, out, err)
		}
		slow := strings.Replace(text, "{", `{ "of a later version": {}, `, 1)
		if out, err = decodeOrder(slow); err != nil || !in.Equal(out) || out.Time.Location() != time.UTC {
			t.Fatalf("%s: %+v became %+v, %v", slow, in, out, err)
		}
		// As a program in another language would write it.
		in.Time, in.Cached = in.Time.UTC(), time.Time{} // JSON knows no offsets of seconds
		foreign, err := json.Marshal(in)
		if err != nil {
			t.Fatal(err)
		}
		if out, err = decodeOrder(string(foreign)); err != nil || !in.Equal(out) {
			t.Fatalf("%s: %+v became %+v, %v", foreign, in, out, err)
		}
	})
	// The quick way is taken: nothing but the record is allocated.
	o := goodOrder().Order
	if text := o.encode(); !new(Order).quick(text) {
		t.Errorf("%s is read the slow way", text)
	}
}

// A message that no submit makes is no order.
func TestQueuedOrderRefuses(t *testing.T) {
	t.Parallel()
	o := goodOrder().Order
	good := queue.Message{ID: o.ID, Key: o.Symbol, Body: o.encode()}
	var given OrderDelivery
	if err := given.read(o.Exchange, good); err != nil {
		t.Fatal(err)
	}
	if !given.Order.Equal(Order{
		Market: o.Market, ID: o.ID, ExOrderID: o.ExOrderID, RecordID: 1, Type: o.Type, Side: o.Side, Volume: o.Volume,
		FinalVolume: o.FinalVolume, Price: o.Price, Futures: true, Status: o.Status, Time: o.Time,
	}) {
		t.Fatalf("got %+v", given.Order)
	}
	for want, spoil := range map[string]func(m *queue.Message){
		`order_id "o-1" under the id "x"`:     func(m *queue.Message) { m.ID = "x" },
		`symbol "BTC/USD" under the key "x"`:  func(m *queue.Message) { m.Key = "x" },
		"unexpected end":                      func(m *queue.Message) { m.Body = "" },
		`exchange "other" in the queue of "k`: func(m *queue.Message) { m.Body = strings.Replace(m.Body, "kraken", "other", 1) },
	} {
		m := good
		spoil(&m)
		if err := given.read(o.Exchange, m); err == nil || !strings.Contains(err.Error(), want) || !given.Order.Equal(Order{}) {
			t.Errorf("got %+v, %v, want one that mentions %s", given.Order, err, want)
		}
	}
}

func FuzzDecodeOrder(f *testing.F) {
	o := goodOrder().Order
	good := o.encode()
	f.Add(good)
	for _, s := range []string{"", "{}", `{"exchange":"x"}`, strings.Replace(good, `"volume":2`, `"volume":"1e-3"`, 1), strings.Replace(good, "{", `{"x":{},`, 1)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := decodeOrder(text)
		if err != nil {
			if !got.Equal(Order{}) {
				t.Fatalf("%q: %+v, %v", text, got, err)
			}
			return
		}
		again, err := decodeOrder(got.encode())
		if err != nil || !got.Equal(again) {
			t.Fatalf("%q: %+v became %+v, %v", text, got, again, err)
		}
	})
}

// A revision that begins anew makes who watches read everything again.
func TestOrderResetIsNoOrder(t *testing.T) {
	t.Parallel()
	m, err := orderSource{}.Decode("c", "R 17")
	if err != nil || m.Kind != feed.Reset {
		t.Errorf("got %+v, %v", m, err)
	}
}
