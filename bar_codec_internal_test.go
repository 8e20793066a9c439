package fulloncache

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache/internal/feed"
	"github.com/fullon/fulloncache/internal/testenv"
)

var minute = func() *period { p, _ := Timeframe("1m").period(); return &p }()

func TestBarText(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"1640991660,46319,46385,,46377,2300413.7295",
		"1640991660,46377,46385,46300,46319,0",
		"1640991660,46377,,46300,46319,1",
		"1640991660,5,,,,1",
		"1640991660,5,6,,,1",
		"1640991660,5,,4,,1",
		"0000000000,0.00000001,,,,0.0000000000000000001",
		"9999999960,1234567890123456789.1234567890123456789,,,,20000000000000000000",
		"9999999960,1234567890123456789.123,,,1234567890123456789.124,1",
		"9999999960,1234567890123456789.124,,,1234567890123456789.123,1",
	} {
		var b Bar
		if err := readBar(text, minute, &b); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if got := string(b.append(nil)); got != text {
			t.Errorf("%s becomes %s", text, got)
		}
	}
	// What can be left out may be there.
	var b, c Bar
	if err := readBar("1640991660,5.0,6.00,5,05,1e0", minute, &b); err != nil {
		t.Error(err)
	}
	if err := readBar("1640991660,5,6,,,1", minute, &c); err != nil || !b.Equal(c) {
		t.Errorf("%v is not %v (%v)", b, c, err)
	}
}

func TestShortNumbersCompare(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"5", "5.00", 0}, {"0.5", "0.49", 1}, {"7", "7.1", -1},
		{"18446744073709551615", "0.0000000000000000001", 1}, {"1844674407370955161.5", "0.01", 1},
	} {
		a, okA := MustDecimal(c.a).short()
		b, okB := MustDecimal(c.b).short()
		if got, back := a.compare(b), b.compare(a); !okA || !okB || got != c.want || back != -c.want {
			t.Errorf("%s and %s: %d and %d, want %d", c.a, c.b, got, back, c.want)
		}
	}
}

// Nothing of a bar is lost, texts sort as times do, and short numbers are written and
// read as all others are.
func TestBarTextRoundTrip(t *testing.T) {
	t.Parallel()
	number := rapid.Custom(func(t *rapid.T) Decimal {
		places := rapid.IntRange(0, MaxDecimalPlaces).Draw(t, "places")
		d, _ := NewDecimal(rapid.Int64Range(1, math.MaxInt64).Draw(t, "digits"), places)
		if rapid.IntRange(0, 3).Draw(t, "long") == 0 {
			d = d.Add(MustDecimal("1000000000000000000"))
		}
		return d
	})
	bars := rapid.Custom(func(t *rapid.T) Bar {
		four := rapid.SliceOfN(number, 4, 4).Draw(t, "prices")
		for i := range four {
			if rapid.Bool().Draw(t, "same") {
				four[i] = four[0]
			}
		}
		slices.SortFunc(four, Decimal.Cmp)
		b := Bar{Time: unixUTC(60 * rapid.Int64Range(0, maxBarTime/60).Draw(t, "minute")), Low: four[0], Open: four[1], Close: four[2], High: four[3]}
		if rapid.Bool().Draw(t, "falls") {
			b.Open, b.Close = b.Close, b.Open
		}
		if rapid.Bool().Draw(t, "traded") {
			b.Volume = number.Draw(t, "volume")
		}
		return b
	})
	rapid.Check(t, func(t *rapid.T) {
		b, c := bars.Draw(t, "bar"), bars.Draw(t, "other")
		if err := b.Validate("1m"); err != nil {
			t.Fatal(err)
		}
		text := string(b.append(nil))
		var back Bar
		if err := readBar(text, minute, &back); err != nil || !back.Equal(b) {
			t.Fatalf("%v becomes %s and %v (%v)", b, text, back, err)
		}
		if again := string(back.append(nil)); again != text {
			t.Fatalf("%s becomes %s", text, again)
		}
		if order := strings.Compare(text[:10], string(c.append(nil))[:10]); order != b.Time.Compare(c.Time) {
			t.Fatalf("%v and %v sort otherwise", b.Time, c.Time)
		}
		for _, d := range []Decimal{b.Open, b.Volume} {
			if got := string(appendNumber(nil, d)); got != d.String() {
				t.Fatalf("%s is written as %s", d, got)
			}
		}
	})
}

func FuzzReadBar(f *testing.F) {
	f.Add("1640991660,46319,46385,,46377,2300413.7295")
	f.Add("1640991660,5,,,,1e-8")
	f.Fuzz(func(t *testing.T, text string) {
		var b Bar
		if err := readBar(text, minute, &b); err != nil {
			return
		}
		if err := b.Validate("1m"); err != nil {
			t.Fatalf("%q is read as a bar that is none: %v", text, err)
		}
		var back Bar
		if err := readBar(string(b.append(nil)), minute, &back); err != nil || !back.Equal(b) {
			t.Fatalf("%q is %v, which becomes %v (%v)", text, b, back, err)
		}
	})
}

func FuzzParseBars(f *testing.F) {
	f.Add("C 5 1640991660 1 1640991660,5,,,,1 1640991720,5,,,,1 1m 6 krakenBTC/USD")
	f.Add("C 5 1640991660 0 - 1h 6 krakenBTC/USD")
	f.Add("D 5 1M 6 krakenBTC/USD")
	f.Add("R 5")
	f.Fuzz(func(t *testing.T, message string) {
		m, err := parseBars(message)
		if err != nil {
			return
		}
		e := m.Event
		if message[0] != 'R' && (e.Key.Validate() != nil || len(e.Value.newest) > 1) {
			t.Fatalf("%q is read as %+v", message, e)
		}
		for _, b := range append(e.Value.bars, e.Value.newest...) {
			if err := b.Validate(e.Key.Timeframe); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestParseBars(t *testing.T) {
	t.Parallel()
	m, err := parseBars("C 5 1640991660 2 1640991660,5,,,,1 1640991720,6,,,,1 1640991780,7,,,,1 1m 6 krakenBTC USD\n")
	e := m.Event
	if err != nil || e.Rev != 5 || e.Deleted || e.Key != (Series{Market{"kraken", "BTC USD\n"}, "1m"}) || e.Value.from != 1640991660 ||
		len(e.Value.bars) != 2 || len(e.Value.newest) != 1 || e.Value.newest[0].Time != time.Unix(1640991780, 0).UTC() {
		t.Errorf("got %+v (%v)", e, err)
	}
	// The newest bar is somebody else's: that it cannot be read hides no other.
	for _, newest := range []string{"-", "", "1640991780", "1640991781,7,,,,1"} {
		m, err := parseBars("C 5 1640991660 1 1640991660,5,,,,1 " + newest + " 1m 6 krakenBTC")
		if e := m.Event; err != nil || len(e.Value.bars) != 1 || e.Value.newest != nil || e.Key.Symbol != "BTC" {
			t.Errorf("%q: got %+v (%v)", newest, e, err)
		}
	}
	for _, message := range []string{
		"", "X 1", "C", "C x 1 0 - 1m 6 krakenBTC", "C 5 x 0 - 1m 6 krakenBTC", "C 5 1 x - 1m 6 krakenBTC", "C 5 1 -1 - 1m 6 krakenBTC", "C 5 1 99 - 1m 6 krakenBTC",
		"C 5 1 1 - - 1m 6 krakenBTC", "C 5 1 1 garbage - 1m 6 krakenBTC", "C 5 1 0 - 1x 6 krakenBTC",
		"C 5 1 0 - 1m 99 krakenBTC", "C 5 1 0 - 1m -1 krakenBTC", "C 5 1 0 - 1m 9 krakenBTC", "C 5 1 0 - 1m x krakenBTC", "D 5 1m 6 kraken", "D x 1m 6 krakenBTC",
	} {
		if m, err := parseBars(message); err == nil {
			t.Errorf("%q is read as %+v", message, m)
		}
	}
}

// minuteBar is a bar of nothing in particular.
func minuteBar(minute int) Bar {
	one := MustDecimal("1")
	return Bar{Time: time.Unix(1640991660, 0).UTC().Add(time.Duration(minute) * time.Minute), Open: one, High: one, Low: one, Close: one}
}

// delivered are the minutes of the bars that a follower delivers of a burst.
func delivered(t *testing.T, f *barFollower, c *OHLCVCache, burst barBurst) (minutes []int) {
	t.Helper()
	f.deliver(t.Context(), c, feed.Update[Series, barBurst]{Event: feed.Event[Series, barBurst]{Value: burst}}, func(u BarUpdate, err error) bool {
		if err != nil {
			t.Error(err)
		}
		minutes = append(minutes, int(u.Bar.Time.Sub(minuteBar(0).Time).Minutes()))
		return true
	})
	return minutes
}

// A stream that begins while a late bar comes yields the newest one first all the same.
func TestBarStreamBeginsWithTheNewest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		newest []Bar
		want   []int
	}{
		{[]Bar{minuteBar(9)}, []int{9, 3, 4}}, {[]Bar{minuteBar(4)}, []int{3, 4}}, {nil, []int{3, 4}},
	} {
		f := &barFollower{}
		got := delivered(t, f, nil, barBurst{from: minuteBar(3).Time.Unix(), bars: []Bar{minuteBar(3), minuteBar(4)}, newest: c.newest})
		if !slices.Equal(got, c.want) || f.newest != minuteBar(slices.Max(c.want)).Time.Unix() {
			t.Errorf("newest %v: got %v, then %d", c.newest, got, f.newest)
		}
	}
}

// What comes by another connection makes a stream read again from the newest bar that
// it has delivered, or from before: one error can stand for several disconnects.
func TestBarStreamAfterAnotherConnection(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	client := newClient(t)
	c, series := client.OHLCV, Series{Market{"kraken", "BTC/USD"}, "1m"}
	var bars []Bar
	for n := range 10 {
		bars = append(bars, minuteBar(n))
	}
	if _, err := c.Append(ctx, series, bars); err != nil {
		t.Fatal(err)
	}
	s, err := c.series(series)
	if err != nil {
		t.Fatal(err)
	}
	f := &barFollower{barSeries: s}
	for _, step := range []struct {
		link  int64
		from  int
		bars  []Bar
		wants []int
	}{
		{1, 4, bars[4:5], []int{9, 4}},
		{1, 2, bars[2:4], []int{2, 3}},
		{2, 9, bars[9:], []int{9}},
		{2, 9, bars[9:], []int{9}},
		{3, 7, bars[7:8], []int{7, 8, 9}},
	} {
		got := delivered(t, f, c, barBurst{link: step.link, from: minuteBar(step.from).Time.Unix(), bars: step.bars, newest: bars[9:]})
		if !slices.Equal(got, step.wants) {
			t.Errorf("connection %d, from %d: got %v, want %v", step.link, step.from, got, step.wants)
		}
	}
	f.newest = minuteBar(6).Time.Unix()
	if got := delivered(t, f, c, barBurst{link: 4, from: minuteBar(9).Time.Unix(), bars: bars[9:]}); !slices.Equal(got, []int{6, 7, 8, 9}) {
		t.Errorf("got %v", got)
	}
}
