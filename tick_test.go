package fulloncache

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache/internal/testenv"
)

// fieldsOf is how the scripts store a tick.
func fieldsOf(s storedTick) (text [len(tickFields)]string, has [len(tickFields)]bool) {
	text = [...]string{
		s.Exchange, s.Symbol, s.Price.String(), s.Bid.String(), s.Ask.String(), s.Last.String(), s.Volume.String(),
		formatTime(s.Time), strconv.FormatInt(s.rev, 10), formatTime(s.Received),
	}
	for i := range text {
		has[i] = i < 3 || i > 6
	}
	has[3], has[4], has[5], has[6] = s.Bid.Valid, s.Ask.Valid, s.Last.Valid, s.Volume.Valid
	return text, has
}

// messageOf is how the scripts publish a tick.
func messageOf(s storedTick) string {
	text, has := fieldsOf(s)
	for i := range text {
		if !has[i] {
			text[i] = "-"
		}
	}
	return fmt.Sprintf("T %s %s %s %s %s %s %s %s %d %s%s", text[8], text[9], text[7],
		text[2], text[3], text[4], text[5], text[6], len(s.Exchange), s.Exchange, s.Symbol)
}

func deletedOf(s storedTick) string {
	return fmt.Sprintf("D %d %s %d %s%s", s.rev, formatTime(s.Received), len(s.Exchange), s.Exchange, s.Symbol)
}

var anyName = rapid.OneOf(
	rapid.StringN(1, 60, 256),
	rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 40), func(b []byte) string { return string(b) }),
	rapid.SampledFrom([]string{"kraken", "BTC/USDT:USDT", "7 x", " ", "-", "3", "a:{b}*%"}),
)

var anyDecimal = rapid.Custom(func(t *rapid.T) Decimal {
	return MustDecimal(rapid.StringMatching(`[0-9]{1,19}\.[0-9]{1,19}`).Draw(t, "decimal"))
})

var anyNull = rapid.Custom(func(t *rapid.T) NullDecimal {
	if !rapid.Bool().Draw(t, "there") {
		return NullDecimal{}
	}
	return Some(anyDecimal.Draw(t, "number"))
})

var anyTime = rapid.Custom(func(t *rapid.T) time.Time {
	last := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix()
	s := rapid.Int64Range(0, last).Draw(t, "second")
	zone := time.FixedZone("", rapid.IntRange(-50_000, 50_000).Draw(t, "offset"))
	return time.Unix(s, rapid.Int64Range(0, 999_999_999).Draw(t, "nanosecond")).In(zone)
})

var anyStored = rapid.Custom(func(t *rapid.T) storedTick {
	price := anyDecimal.Draw(t, "price")
	if price.IsZero() {
		price = MustDecimal("1e-19")
	}
	return storedTick{
		Tick: Tick{
			Market: Market{Exchange: anyName.Draw(t, "exchange"), Symbol: anyName.Draw(t, "symbol")},
			Price:  price, Bid: anyNull.Draw(t, "bid"), Ask: anyNull.Draw(t, "ask"), Last: anyNull.Draw(t, "last"), Volume: anyNull.Draw(t, "volume"),
			Time: anyTime.Draw(t, "time"), Received: anyTime.Draw(t, "received"),
		},
		rev: rapid.Int64().Draw(t, "rev"),
	}
})

func same(a, b storedTick) bool {
	return a.Equal(b.Tick) && a.Received.Equal(b.Received) && a.rev == b.rev
}

func TestTickCodecRoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		in := anyStored.Draw(t, "tick")
		text, has := fieldsOf(in)
		out, err := parseTick("k", text, has)
		if err != nil || !same(in, out) || out.Time.Location() != time.UTC {
			t.Fatalf("fields: %+v became %+v, %v", in, out, err)
		}
		m, err := readMessage("c", messageOf(in))
		if err != nil || m.kind != messageTick || !same(in, m.tick) {
			t.Fatalf("message %q: %+v became %+v, %v", messageOf(in), in, m, err)
		}
		m, err = readMessage("c", deletedOf(in))
		if err != nil || m.kind != messageDeleted || m.tick.Market != in.Market || m.tick.rev != in.rev {
			t.Fatalf("message %q became %+v, %v", deletedOf(in), m, err)
		}
	})
}

// good are the fields of a ticker, to be spoiled one at a time.
func good() storedTick {
	at := time.Date(2024, 2, 29, 23, 59, 59, 1, time.UTC)
	return storedTick{
		Tick: Tick{Market: somewhere, Price: MustDecimal("67123.4"), Bid: Some(MustDecimal("1")), Ask: Some(MustDecimal("2")),
			Last: Some(MustDecimal("3")), Volume: Some(MustDecimal("0")), Time: at, Received: at},
		rev: 7,
	}
}

func wantCorrupt(t testing.TB, err error, key, field, mention string) {
	t.Helper()
	var ce *CorruptError
	if !errors.As(err, &ce) || !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v, want a CorruptError of %q %q", err, key, field)
		return
	}
	if ce.Key != key || ce.Field != field || !strings.Contains(err.Error(), mention) || strings.Contains(err.Error(), "%!") {
		t.Errorf("got key %q, field %q: %v; want %q, %q, %q", ce.Key, ce.Field, err, key, field, mention)
	}
}

func TestParseTickRefuses(t *testing.T) {
	t.Parallel()
	for i, name := range tickFields {
		text, has := fieldsOf(good())
		has[i] = false
		got, err := parseTick("k", text, has)
		if i >= 3 && i <= 6 {
			if err != nil {
				t.Errorf("without %s: %v", name, err)
			}
			for j, n := range got.optional() {
				if n.Valid == (j == i-3) {
					t.Errorf("without %s: %+v", name, got)
				}
			}
			continue
		}
		wantCorrupt(t, err, "k", name, "missing")
	}
	for _, c := range []struct {
		field          int
		value          string
		named, mention string
	}{
		{0, "", "", "exchange is empty"},
		{1, "", "", "symbol is empty"},
		{1, strings.Repeat("x", 257), "", "257 bytes"},
		{2, "", "price", "not a finite"},
		{2, "NaN", "price", `"NaN"`},
		{2, "0", "", "want more than 0"},
		{2, "-1", "", "want more than 0"},
		{3, "x", "bid", `"x"`},
		{4, "", "ask", `""`},
		{5, "1e99", "last", `"1e99"`},
		{6, "1,5", "volume", `"1,5"`},
		{6, "-1", "", "volume -1"},
		{7, "yesterday", "time", "want a time like"},
		{7, "1969-12-31T23:59:59.999999999Z", "", "from 1970"},
		{7, "0001-01-01T00:00:00.000000000Z", "", "from 1970"},
		{8, "1.5", "rev", "1.5"},
		{8, "", "rev", "invalid syntax"},
		{9, "", "received", "want a time like"},
		{9, "2024-02-29 23:59:59.000000000Z", "received", "want a time like"},
	} {
		text, has := fieldsOf(good())
		text[c.field] = c.value
		got, err := parseTick("k", text, has)
		wantCorrupt(t, err, "k", c.named, c.mention)
		if !got.Price.IsZero() || got.Market != (Market{}) || got.rev != 0 {
			t.Errorf("%s %q: a tick with the error: %+v", tickFields[c.field], c.value, got)
		}
	}
}

func TestReadMessageRefuses(t *testing.T) {
	t.Parallel()
	const received = "2024-02-29T23:59:59.000000001Z"
	for _, c := range []struct{ message, field, mention string }{
		{"", "", "unknown kind"},
		{"X 1 2", "", "unknown kind"},
		{"t 1", "", "unknown kind"},
		{"T", "", "no names"},
		{"T 1 2 3", "", "no names"},
		{"D", "", "no names"},
		{"D 7 " + received + " 9 krakenX", "", "no names"},
		{"D 7 " + received + " -1 krakenX", "", "no names"},
		{"D seven " + received + " 6 krakenX", "", "no revision"},
		{"D  " + received + " 6 krakenX", "", "no revision"},
		{strings.Replace(messageOf(good()), "67123.4", "NaN", 1), "price", "NaN"},
		{strings.Replace(messageOf(good()), "67123.4", "-", 1), "price", `"-"`},
		{strings.Replace(messageOf(good()), "T 7", "T x", 1), "rev", "x"},
		{strings.Replace(messageOf(good()), " 6 kraken", " 0 kraken", 1), "", "exchange is empty"},
		{strings.Replace(messageOf(good()), " 6 kraken", " 13 kraken", 1), "", "symbol is empty"},
		{"T " + strings.Repeat("9", 5000), "", "…"},
	} {
		m, err := readMessage("db0:c", c.message)
		wantCorrupt(t, err, "db0:c", c.field, c.mention)
		if err != nil && len(err.Error()) > 400 {
			t.Errorf("the error quotes %d bytes", len(err.Error()))
		}
		if m.tick.Market != (Market{}) || m.tick.rev != 0 {
			t.Errorf("%q: a message with the error: %+v", c.message, m)
		}
	}
	for message, kind := range map[string]string{"R 12": messageReset, "B " + received: messageBeat, "R": messageReset} {
		if m, err := readMessage("c", message); err != nil || m.kind != kind {
			t.Errorf("%q is %+v, %v", message, m, err)
		}
	}
}

func TestReadTickReply(t *testing.T) {
	t.Parallel()
	srv, key := testenv.Redis(t), testenv.Prefix(t)
	hmget := append([]string{"HMGET", key}, tickFields[:]...)
	if _, err := readTick(key, *srv.Do(t, hmget...)); err != ErrNotFound {
		t.Errorf("no hash: %v", err)
	}
	in := good()
	text, _ := fieldsOf(in)
	set := []string{"HSET", key}
	for i, name := range tickFields {
		set = append(set, name, text[i])
	}
	srv.Do(t, set...)
	got, err := readTick(key, *srv.Do(t, hmget...))
	if err != nil || !same(in, got) {
		t.Errorf("%+v became %+v, %v", in, got, err)
	}
	srv.Do(t, "HDEL", key, "bid", "volume")
	in.Bid, in.Volume = NullDecimal{}, NullDecimal{}
	if got, err = readTick(key, *srv.Do(t, hmget...)); err != nil || !same(in, got) {
		t.Errorf("%+v became %+v, %v", in, got, err)
	}
	srv.Do(t, "HDEL", key, "time")
	_, err = readTick(key, *srv.Do(t, hmget...))
	wantCorrupt(t, err, key, "time", "missing")
	srv.Do(t, "DEL", key)

	_, err = readTick(key, *srv.Do(t, "PING"))
	wantCorrupt(t, err, key, "", "unexpected reply")
	_, err = readTick(key, *srv.Do(t, hmget[:5]...))
	wantCorrupt(t, err, key, "", "3 values, want 10")
	_, err = readTick(key, *srv.Do(t, "EVAL", "return {'a', 2, '3', '4', '5', '6', '7', '8', '9', '10'}", "0"))
	wantCorrupt(t, err, key, "symbol", "")
}

func TestTimeSortsAsText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		a, b := anyTime.Draw(t, "a"), anyTime.Draw(t, "b")
		if rapid.Bool().Draw(t, "close") {
			b = a.Add(time.Duration(rapid.IntRange(-2, 2).Draw(t, "nanoseconds")))
		}
		if b.UTC().Year() < 1970 || b.UTC().Year() > 9999 {
			return
		}
		x, y := formatTime(a), formatTime(b)
		if len(x) != len(timeFormat) || strings.Compare(x, y) != a.Compare(b) {
			t.Fatalf("%s and %s", x, y)
		}
		back, err := parseTime(x)
		if err != nil || !back.Equal(a) || back.Location() != time.UTC {
			t.Fatalf("%s became %s, %v", x, back, err)
		}
	})
}

func TestParseTimeRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "2024-02-29T23:59:59Z", "2024-02-29T23:59:59.00000000Z", "2024-02-29T23:59:59.0000000000Z",
		"2024-02-30T23:59:59.000000000Z", "2024-02-29T24:00:00.000000000Z", "2024-02-29T23:59:60.000000000Z",
		"2024-02-29T23:59:59.000000000z", "2024-02-29T23:59:59.0000+00:00", "2024-02-29 23:59:59.000000000Z",
		"2024-02-29T23:59:59,000000000Z", "2024-02-29T3:59:59.0000000000Z", "2024-02-29T23:59:59.00000000xZ",
	} {
		if got, err := parseTime(s); err != errTimeFormat || !got.IsZero() {
			t.Errorf("%q is %s, %v", s, got, err)
		}
	}
}

func TestTickValidate(t *testing.T) {
	t.Parallel()
	bare := Tick{Market: somewhere, Price: MustDecimal("1e-19"), Time: time.Unix(0, 0)}
	if err := bare.Validate(); err != nil {
		t.Errorf("%s: %v", bare, err)
	}
	full := good().Tick
	full.Volume = Some(Decimal{})
	if err := full.Validate(); err != nil {
		t.Errorf("%s: %v", full, err)
	}
	minus := Some(MustDecimal("-0.1"))
	for want, spoil := range map[string]func(*Tick){
		"exchange is empty":                        func(t *Tick) { t.Exchange = "" },
		"symbol is empty":                          func(t *Tick) { t.Symbol = "" },
		"price 0: want more than 0":                func(t *Tick) { t.Price = Decimal{} },
		"price -1: want more than 0":               func(t *Tick) { t.Price = MustDecimal("-1") },
		"bid -0.1: want at least 0":                func(t *Tick) { t.Bid = minus },
		"ask -0.1: want at least 0":                func(t *Tick) { t.Ask = minus },
		"last -0.1: want at least 0":               func(t *Tick) { t.Last = minus },
		"volume -0.1: want at least 0":             func(t *Tick) { t.Volume = minus },
		"time 0001-01-01 00:00:00":                 func(t *Tick) { t.Time = time.Time{} },
		"time 1969-12-31 23:59:59":                 func(t *Tick) { t.Time = time.Unix(-1, 0).UTC() },
		"10000-01-01 00:00:00 +0000 UTC: want one": func(t *Tick) { t.Time = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		tick := good().Tick
		spoil(&tick)
		if err := tick.Validate(); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestTickValues(t *testing.T) {
	t.Parallel()
	tick := good().Tick
	if got := tick.String(); got != "kraken BTC/USD 67123.4 at 2024-02-29T23:59:59.000000001Z" {
		t.Error(got)
	}
	if got := tick.Age(tick.Time.Add(3 * time.Second)); got != 3*time.Second {
		t.Errorf("age %s", got)
	}
	if got := tick.Age(tick.Time.Add(-time.Second)); got != 0 {
		t.Errorf("age of one that is ahead: %s", got)
	}
	other := tick
	other.Received, other.Time = time.Time{}, tick.Time.In(time.FixedZone("", 3600))
	other.Price = MustDecimal("67123.400")
	if !tick.Equal(other) {
		t.Error("the same tick elsewhere is not equal")
	}
	for name, change := range map[string]func(*Tick){
		"market": func(t *Tick) { t.Symbol = "ETH/USD" },
		"price":  func(t *Tick) { t.Price = MustDecimal("1") },
		"bid":    func(t *Tick) { t.Bid = NullDecimal{} },
		"ask":    func(t *Tick) { t.Ask = Some(MustDecimal("9")) },
		"last":   func(t *Tick) { t.Last = NullDecimal{} },
		"volume": func(t *Tick) { t.Volume = NullDecimal{} }, // absent is not 0
		"time":   func(t *Tick) { t.Time = t.Time.Add(1) },
	} {
		other := tick
		if change(&other); tick.Equal(other) {
			t.Errorf("another %s is equal", name)
		}
	}
}

func FuzzReadMessage(f *testing.F) {
	f.Add(messageOf(good()))
	f.Add(deletedOf(good()))
	for _, s := range []string{"", "R 1", "B x", "T", "D 1 2 3 abc", "T 1 2 3 4 5 6 7 8 -9 x", "T 1 2 3 4 5 6 7 8 99999999999999999999 x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, message string) {
		m, err := readMessage("c", message)
		if err != nil {
			var ce *CorruptError
			if !errors.As(err, &ce) || ce.Key != "c" {
				t.Fatalf("%q: %v", message, err)
			}
			return
		}
		switch m.kind {
		case messageTick:
			if err := m.tick.Validate(); err != nil {
				t.Fatalf("%q: %v", message, err)
			}
			again, err := readMessage("c", messageOf(m.tick))
			if err != nil || !same(m.tick, again.tick) {
				t.Fatalf("%q: %+v became %+v, %v", message, m, again, err)
			}
		case messageDeleted:
			again, err := readMessage("c", deletedOf(m.tick))
			if err != nil || again.tick.Market != m.tick.Market || again.tick.rev != m.tick.rev {
				t.Fatalf("%q: %+v became %+v, %v", message, m, again, err)
			}
		case messageReset, messageBeat:
		default:
			t.Fatalf("%q is a %q", message, m.kind)
		}
	})
}

func FuzzParseTick(f *testing.F) {
	text, _ := fieldsOf(good())
	for _, mask := range []uint16{0x3ff, 0x387, 0, 1} {
		f.Add(text[0], text[1], text[2], text[3], text[4], text[5], text[6], text[7], text[8], text[9], mask)
	}
	f.Fuzz(func(t *testing.T, a, b, c, d, e, g, h, i, j, k string, mask uint16) {
		text := [len(tickFields)]string{a, b, c, d, e, g, h, i, j, k}
		var has [len(tickFields)]bool
		for n := range has {
			has[n] = mask>>n&1 == 1
		}
		got, err := parseTick("k", text, has)
		if err != nil {
			var ce *CorruptError
			if !errors.As(err, &ce) || ce.Key != "k" {
				t.Fatal(err)
			}
			return
		}
		if err := got.Validate(); err != nil {
			t.Fatal(err)
		}
		// Times have one form only, names are as they were.
		out, present := fieldsOf(got)
		if out[0] != a || out[1] != b || out[7] != i || out[9] != k || present != has {
			t.Fatalf("%q became %q", text, out)
		}
		again, err := parseTick("k", out, present)
		if err != nil || !same(got, again) {
			t.Fatalf("%+v became %+v, %v", got, again, err)
		}
	})
}

func TestTimesAreWrittenAsTheirFormatSays(t *testing.T) {
	t.Parallel()
	for _, year := range []int{-1, 0, 9999, 10_000} {
		when := time.Date(year, time.March, 4, 5, 6, 7, 8, time.UTC)
		if got, want := formatTime(when), when.Format(timeFormat); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		when := time.Unix(rapid.Int64Range(-100_000_000_000, 300_000_000_000).Draw(t, "seconds"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).
			In(time.FixedZone("", rapid.IntRange(-12*3600, 14*3600).Draw(t, "zone")))
		if got, want := formatTime(when), when.UTC().Format(timeFormat); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func BenchmarkFormatTime(b *testing.B) {
	when, buf := time.Unix(1_767_322_811, 620_000_000), make([]byte, 0, 64)
	for b.Loop() {
		buf = appendTime(buf[:0], when)
	}
}

func BenchmarkFormatTimeByLayout(b *testing.B) {
	when, buf := time.Unix(1_767_322_811, 620_000_000), make([]byte, 0, 64)
	for b.Loop() {
		buf = when.UTC().AppendFormat(buf[:0], timeFormat)
	}
}
