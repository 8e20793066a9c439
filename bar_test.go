package fulloncache_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache"
)

func utc(text string) time.Time {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		panic(err)
	}
	return t.UTC()
}

func TestTimeframes(t *testing.T) {
	t.Parallel()
	at := utc("2024-05-15T13:47:31Z") // a Wednesday
	for _, c := range []struct{ text, canonical, opens, closes string }{
		{"1m", "1m", "2024-05-15T13:47:00Z", "2024-05-15T13:48:00Z"},
		{"5m", "5m", "2024-05-15T13:45:00Z", "2024-05-15T13:50:00Z"},
		{"7m", "7m", "2024-05-15T13:44:00Z", "2024-05-15T13:51:00Z"},
		{"90m", "90m", "2024-05-15T13:30:00Z", "2024-05-15T15:00:00Z"},
		{"60m", "1h", "2024-05-15T13:00:00Z", "2024-05-15T14:00:00Z"},
		{"4h", "4h", "2024-05-15T12:00:00Z", "2024-05-15T16:00:00Z"},
		{"24h", "1d", "2024-05-15T00:00:00Z", "2024-05-16T00:00:00Z"},
		{"1440m", "1d", "2024-05-15T00:00:00Z", "2024-05-16T00:00:00Z"},
		{"36h", "36h", "2024-05-15T12:00:00Z", "2024-05-17T00:00:00Z"},
		{"3d", "3d", "2024-05-14T00:00:00Z", "2024-05-17T00:00:00Z"},
		{"7d", "7d", "2024-05-09T00:00:00Z", "2024-05-16T00:00:00Z"}, // Thursdays
		{"1w", "1w", "2024-05-13T00:00:00Z", "2024-05-20T00:00:00Z"},
		{"2w", "2w", "2024-05-13T00:00:00Z", "2024-05-27T00:00:00Z"},
		{"1M", "1M", "2024-05-01T00:00:00Z", "2024-06-01T00:00:00Z"},
		{"3M", "3M", "2024-04-01T00:00:00Z", "2024-07-01T00:00:00Z"},
		{"12M", "12M", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z"},
	} {
		tf, err := fulloncache.ParseTimeframe(c.text)
		if err != nil || string(tf) != c.canonical {
			t.Errorf("%s is %s (%v), want %s", c.text, tf, err, c.canonical)
		}
		opens, closes, err := fulloncache.Timeframe(c.text).Span(at)
		if err != nil || !opens.Equal(utc(c.opens)) || !closes.Equal(utc(c.closes)) || opens.Location() != time.UTC {
			t.Errorf("%s: from %s to %s (%v), want %s to %s", c.text, opens, closes, err, c.opens, c.closes)
		}
	}
	// Before 1970, too.
	opens, closes, err := fulloncache.Timeframe("5M").Span(utc("1969-12-31T23:59:59Z"))
	if err != nil || !opens.Equal(utc("1969-08-01T00:00:00Z")) || !closes.Equal(utc("1970-01-01T00:00:00Z")) {
		t.Errorf("from %s to %s (%v)", opens, closes, err)
	}
	for _, text := range []string{
		"", "m", "1", "0m", "01m", "-1m", "+1m", "1.5h", "1s", "1y", "1H", "1D", "1W", "1mo", "10000m", "99999999999999999999m", "1 m", " 1m", "1m ", "１m", strings.Repeat("1", 100) + "m",
	} {
		_, err := fulloncache.ParseTimeframe(text)
		wantErr(t, err, fulloncache.ErrInvalid, "timeframe")
		wantErr(t, fulloncache.Timeframe(text).Validate(), fulloncache.ErrInvalid)
		_, _, err = fulloncache.Timeframe(text).Span(at)
		wantErr(t, err, fulloncache.ErrInvalid)
	}
}

// The bars of a timeframe follow each other without a gap, and each moment is in one.
func TestTimeframeSpansAreSeamless(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tf := fulloncache.Timeframe(fmt.Sprint(rapid.IntRange(1, 9999).Draw(t, "n")) + rapid.SampledFrom([]string{"m", "h", "d", "w", "M"}).Draw(t, "unit"))
		at := time.Unix(rapid.Int64Range(-1e10, 1e11).Draw(t, "at"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns"))
		opens, closes, err := tf.Span(at)
		if err != nil || opens.After(at) || !closes.After(at) {
			t.Fatalf("%s: %s is not from %s to %s (%v)", tf, at, opens, closes, err)
		}
		if next, _, _ := tf.Span(closes); !next.Equal(closes) {
			t.Fatalf("%s: after %s comes %s", tf, closes, next)
		}
		if again, _, _ := tf.Span(closes.Add(-1)); !again.Equal(opens) {
			t.Fatalf("%s: the last moment before %s is of %s, want %s", tf, closes, again, opens)
		}
	})
}

func TestBarSaysWhatItIs(t *testing.T) {
	t.Parallel()
	b := barOf(1, 5)
	if got, want := b.String(), "2024-01-01T00:01:00Z open 1001.005 high 1001.505 low 1000.755 close 1001.105 volume 0.00000001"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	text, err := json.Marshal(b)
	must(t, err)
	if got, want := string(text), `{"time":"2024-01-01T00:01:00Z","open":"1001.005","high":"1001.505","low":"1000.755","close":"1001.105","volume":"0.00000001"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	var back fulloncache.Bar
	if must(t, json.Unmarshal(text, &back)); !back.Equal(b) {
		t.Errorf("back comes %v", back)
	}
	if got := minutes.String(); got != "kraken BTC/USD 1m" {
		t.Error(got)
	}
	must(t, b.Validate("1m"))
	wantErr(t, b.Validate("5m"), fulloncache.ErrInvalid, "time", "2024-01-01T00:00:00Z")
	wantErr(t, b.Validate("5x"), fulloncache.ErrInvalid, "timeframe")
	must(t, minutes.Validate())
	wantErr(t, fulloncache.Series{Market: btc}.Validate(), fulloncache.ErrInvalid, "timeframe")
	for _, change := range []func(b *fulloncache.Bar){
		func(b *fulloncache.Bar) { b.Time = b.Time.Add(1) },
		func(b *fulloncache.Bar) { b.Open = dec("1") },
		func(b *fulloncache.Bar) { b.High = dec("1") },
		func(b *fulloncache.Bar) { b.Low = dec("1") },
		func(b *fulloncache.Bar) { b.Close = dec("1") },
		func(b *fulloncache.Bar) { b.Volume = dec("1") },
	} {
		other := b
		if change(&other); other.Equal(b) {
			t.Errorf("%v equals %v", other, b)
		}
	}
}

// anyBar draws a sound bar of minutes; some of its numbers are long.
func anyBar(t *rapid.T) fulloncache.Bar {
	places := rapid.IntRange(0, 19)
	number := func(name string) fulloncache.Decimal {
		if rapid.IntRange(0, 9).Draw(t, name+" long") == 0 {
			return dec(rapid.StringMatching(`[1-9][0-9]{18}\.[0-9]{18}[1-9]`).Draw(t, name))
		}
		d, err := fulloncache.NewDecimal(rapid.Int64Range(1, 1e18).Draw(t, name), places.Draw(t, name+" places"))
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	four := []fulloncache.Decimal{number("a"), number("b"), number("c"), number("d")}
	for i := range four { // equal ones are frequent
		if rapid.Bool().Draw(t, "same") {
			four[i] = four[0]
		}
	}
	slices.SortFunc(four, fulloncache.Decimal.Cmp)
	b := fulloncache.Bar{
		Time: time.Unix(60*rapid.Int64Range(0, 9_999_999_999/60).Draw(t, "minute"), 0).UTC(),
		Low:  four[0], Open: four[1], Close: four[2], High: four[3], Volume: number("volume"),
	}
	if rapid.Bool().Draw(t, "falls") {
		b.Open, b.Close = b.Close, b.Open
	}
	if rapid.Bool().Draw(t, "quiet") {
		b.Volume = fulloncache.Decimal{}
	}
	return b
}

// resampled is Resample, naively: for each longer bar, all shorter ones of its span.
func resampled(bars []fulloncache.Bar, to fulloncache.Timeframe) []fulloncache.Bar {
	var list []fulloncache.Bar
	spans := make(map[time.Time][]fulloncache.Bar)
	var order []time.Time
	for _, b := range bars {
		opens, _, _ := to.Span(b.Time)
		if spans[opens] == nil {
			order = append(order, opens)
		}
		spans[opens] = append(spans[opens], b)
	}
	for _, opens := range order {
		part := spans[opens]
		l := fulloncache.Bar{Time: opens, Open: part[0].Open, Close: part[len(part)-1].Close}
		l.High = slices.MaxFunc(part, func(a, b fulloncache.Bar) int { return a.High.Cmp(b.High) }).High
		l.Low = slices.MinFunc(part, func(a, b fulloncache.Bar) int { return a.Low.Cmp(b.Low) }).Low
		for _, b := range part {
			l.Volume = l.Volume.Add(b.Volume)
		}
		list = append(list, l)
	}
	return list
}

func TestResampleIsExact(t *testing.T) {
	t.Parallel()
	frames := []fulloncache.Timeframe{"1m", "2m", "5m", "7m", "15m", "1h", "4h", "1d", "3d", "1w", "1M", "3M"}
	rapid.Check(t, func(t *rapid.T) {
		var bars []fulloncache.Bar
		at := b0.Add(time.Duration(rapid.IntRange(0, 100_000).Draw(t, "first")) * time.Minute)
		for range rapid.IntRange(0, 60).Draw(t, "bars") {
			b := anyBar(t)
			b.Time = at
			if digits := b.Volume.String(); len(digits) > 30 {
				b.Volume = dec("1")
			}
			bars = append(bars, b)
			at = at.Add(time.Duration(rapid.SampledFrom([]int{1, 1, 1, 2, 60, 1440}).Draw(t, "step")) * time.Minute)
		}
		to := rapid.SampledFrom(frames).Draw(t, "to")
		got, err := fulloncache.Resample(bars, "1m", to)
		want := resampled(bars, to)
		if err != nil || !slices.EqualFunc(got, want, fulloncache.Bar.Equal) {
			t.Fatalf("to %s: got %v (%v)\nwant %v", to, got, err, want)
		}
		for _, b := range got {
			if err := b.Validate(to); err != nil {
				t.Fatal(err)
			}
		}
		// In two steps it is the same.
		if to == "1h" || to == "1d" {
			half, err := fulloncache.Resample(bars, "1m", "15m")
			if err != nil {
				t.Fatal(err)
			}
			got, err := fulloncache.Resample(half, "15m", to)
			if err != nil || !slices.EqualFunc(got, want, fulloncache.Bar.Equal) {
				t.Fatalf("over 15m to %s: got %v (%v)\nwant %v", to, got, err, want)
			}
		}
	})
}

func TestResampleRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		from, to fulloncache.Timeframe
		fits     bool
	}{
		{"1m", "1m", true},
		{"5m", "1h", true},
		{"7m", "1h", false},
		{"1h", "5m", false},
		{"7m", "1M", false},
		{"1d", "1w", true},
		{"12h", "1w", true},
		{"1d", "1M", true},
		{"2d", "1M", false},
		{"1w", "1M", false},
		{"1w", "2w", true},
		{"1w", "7d", false},
		{"7d", "1w", false},
		{"1M", "3M", true},
		{"2M", "3M", false},
		{"1M", "1w", false},
	} {
		if _, err := fulloncache.Resample(nil, c.from, c.to); c.fits != (err == nil) {
			t.Errorf("%s to %s: %v", c.from, c.to, err)
		} else if err != nil {
			wantErr(t, err, fulloncache.ErrInvalid, "whole bars of "+string(c.from))
		}
	}
	_, err := fulloncache.Resample(nil, "x", "1m")
	wantErr(t, err, fulloncache.ErrInvalid, "timeframe")
	_, err = fulloncache.Resample(nil, "1m", "x")
	wantErr(t, err, fulloncache.ErrInvalid, "timeframe")
	bad := barsOf(0, 3)
	bad[1].High = dec("1")
	_, err = fulloncache.Resample(bad, "1m", "5m")
	wantErr(t, err, fulloncache.ErrInvalid, "bar 1: high 1")
	_, err = fulloncache.Resample([]fulloncache.Bar{barOf(1, 0), barOf(1, 0)}, "1m", "5m")
	wantErr(t, err, fulloncache.ErrInvalid, "bar 1: time")
	_, err = fulloncache.Resample([]fulloncache.Bar{barOf(2, 0), barOf(1, 0)}, "1m", "5m")
	wantErr(t, err, fulloncache.ErrInvalid, "bar 1: time")
}

// read collects what ReadBars yields.
func readBars(r io.Reader) (bars []fulloncache.Bar, errs []error) {
	for b, err := range fulloncache.ReadBars(r, "1m") {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		bars = append(bars, b)
	}
	return bars, errs
}

func TestReadBars(t *testing.T) {
	t.Parallel()
	want := fulloncache.Bar{Time: utc("2021-12-31T23:01:00Z"), Open: dec("46319"), High: dec("46385"), Low: dec("46319"), Close: dec("46377"), Volume: dec("2300413.7295")}
	for _, text := range []string{
		"timestamp,open,high,low,close,volume\n1640991660,46319.0,46385.0,46319.0,46377.0,2300413.7295\n",
		"\ufeffDate,Open,High,Low,Close,Volume\r\n2021-12-31T23:01:00Z,46319,46385,46319,46377,2300413.7295",
		"volume, symbol ,close,low,high,open,time\n2.3004137295e6,\"BTC,USD\", 46377,46319,46385,46319,1640991660.000\n\n",
	} {
		bars, errs := readBars(strings.NewReader(text))
		if len(errs) > 0 {
			t.Errorf("%q: %v", text, errs)
		}
		wantBars(t, bars, nil, []fulloncache.Bar{want})
	}
	for _, c := range []struct{ text, says string }{
		{"", "it is empty"},
		{"time,open,high,low,close\n", "line 1: the column volume is missing"},
		{"time,open,high,low,close,volume,timestamp\n", "line 1: the column time is there twice"},
		{"time,\"open\n", "line 1"},
	} {
		bars, errs := readBars(strings.NewReader(c.text))
		if len(bars) != 0 || len(errs) != 1 || !errors.Is(errs[0], fulloncache.ErrInvalid) || !strings.Contains(errs[0].Error(), c.says) {
			t.Errorf("%q: %v, %v", c.text, bars, errs)
		}
	}
	// One that is malformed is reported and hides no other.
	good := "1640991660,1,2,1,1,0\n"
	for line, field := range map[string]string{
		"x,1,2,1,1,0":              "time",
		"1640991660.5,1,2,1,1,0":   "time",
		"-60,1,2,1,1,0":            "time",
		"1640991660,,2,1,1,0":      "open",
		"1640991660,1,Inf,1,1,0":   "high",
		"1640991660,1,2,NaN,1,0":   "low",
		"1640991660,1,2,1,1e999,0": "close",
		"1640991660,1,2,1,1":       "volume: missing",
		"1640991661,1,2,1,1,0":     "time 2021-12-31T23:01:01Z: want when a bar of 1m opens",
		"1640991660123,1,2,1,1,0":  "time",
		"1640991660,1,2,3,1,0":     "high 2: want at least the low, 3",
		`1640991660,1,2,1,1,"0`:    "line 3",
		`1640991660,1,2,1,1,0"`:    "line 3",
	} {
		bars, errs := readBars(strings.NewReader("time,open,high,low,close,volume\n" + good + line + "\n" + good))
		if len(errs) != 1 || !errors.Is(errs[0], fulloncache.ErrInvalid) || !strings.Contains(errs[0].Error(), "line 3") || !strings.Contains(errs[0].Error(), field) {
			t.Errorf("%q: %v", line, errs)
		}
		if want := 2; len(bars) != want && !strings.Contains(line, `"0`) {
			t.Errorf("%q: %d bars, want %d", line, len(bars), want)
		}
	}
	// What cannot be read is told as it is.
	broken := errors.New("broken")
	_, errs := readBars(io.MultiReader(strings.NewReader("time,open,high,low,close,volume\n"+good), iotest.ErrReader(broken)))
	if len(errs) != 1 || !errors.Is(errs[0], broken) {
		t.Errorf("got %v", errs)
	}
	_, errs = readBars(iotest.ErrReader(broken))
	if len(errs) != 1 || !errors.Is(errs[0], broken) {
		t.Errorf("got %v", errs)
	}
	for _, err := range fulloncache.ReadBars(strings.NewReader("time,open,high,low,close,volume\n"), "1x") {
		wantErr(t, err, fulloncache.ErrInvalid, "timeframe")
	}
	for range fulloncache.ReadBars(strings.NewReader("time,open,high,low,close,volume\n"+good+good), "1m") {
		break
	}
}

func FuzzReadBars(f *testing.F) {
	f.Add("timestamp,open,high,low,close,volume\n1640991660,46319.0,46385.0,46319.0,46377.0,2300413.7295\n")
	f.Add("volume,close,low,high,open,date\n1e-8,1,1,1,1,2021-12-31T23:01:00Z\nx\n\"")
	f.Fuzz(func(t *testing.T, text string) {
		bars, errs := readBars(strings.NewReader(text))
		for _, err := range errs {
			if !errors.Is(err, fulloncache.ErrInvalid) {
				t.Errorf("%v is no mistake of the text", err)
			}
		}
		if len(bars)+len(errs) > strings.Count(text, "\n")+1 {
			t.Errorf("%d bars and %d errors of %q", len(bars), len(errs), text)
		}
		for _, b := range bars {
			if err := b.Validate("1m"); err != nil || b.Time.Location() != time.UTC {
				t.Errorf("%v is no bar (%v)", b, err)
			}
		}
	})
}
