package fulloncache_test

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache"
)

// filled is a public trade of btc, so many seconds after b0.
func filled(id int, seconds float64, price, volume string) fulloncache.Trade {
	return fulloncache.Trade{
		Market: btc, ExTradeID: strconv.Itoa(id), Side: fulloncache.Buy, Price: dec(price), Volume: dec(volume),
		Time: b0.Add(time.Duration(seconds * float64(time.Second))),
	}
}

func candle(minute int, open, high, low, closed, volume string) fulloncache.Bar {
	return fulloncache.Bar{
		Time: b0.Add(time.Duration(minute) * time.Minute), Open: dec(open), High: dec(high), Low: dec(low), Close: dec(closed), Volume: dec(volume),
	}
}

func wantClosed(t *testing.T, got []fulloncache.ClosedBar, err error, want ...fulloncache.ClosedBar) {
	t.Helper()
	must(t, err)
	if !slices.EqualFunc(got, want, func(a, b fulloncache.ClosedBar) bool {
		return a.Equal(b.Bar) && a.Missing == b.Missing && a.Invented == b.Invented
	}) {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func newAggregator(t *testing.T, opts ...fulloncache.AggregatorOption) *fulloncache.Aggregator {
	t.Helper()
	agg, err := fulloncache.NewAggregator(minutes, opts...)
	must(t, err)
	return agg
}

func TestAggregatorOfTrades(t *testing.T) {
	t.Parallel()
	agg := newAggregator(t)
	if _, ok := agg.Current(); ok {
		t.Error("a bar is under way")
	}
	if got := agg.Advance(b0); got != nil {
		t.Errorf("closed %v", got)
	}
	add := func(u fulloncache.Trade, want ...fulloncache.ClosedBar) {
		t.Helper()
		got, err := agg.Trade(u)
		wantClosed(t, got, err, want...)
	}
	// Out of order within the bar, and one of them again.
	add(filled(1, 10, "100", "1"))
	add(filled(2, 5, "98", "0.5"))
	add(filled(3, 20, "103", "0.25"))
	add(filled(4, 15, "97", "0.00000001"))
	add(filled(3, 20, "103", "0.25"))
	first := candle(0, "98", "103", "97", "103", "1.75000001")
	if b, ok := agg.Current(); !ok || !b.Equal(first) {
		t.Errorf("under way is %v", b)
	}
	// The next one's minute closes it; one of the same moment counts later.
	add(filled(5, 60, "103", "1"), fulloncache.ClosedBar{Bar: first})
	add(filled(6, 60, "104", "1"))
	// Where nothing is traded there is no bar, and the next one tells.
	add(filled(7, 300, "110", "2"), fulloncache.ClosedBar{Bar: candle(1, "103", "104", "103", "104", "2")})
	// Late ones are told, and not counted.
	_, err := agg.Trade(filled(8, 299, "1", "1"))
	wantErr(t, err, fulloncache.ErrOutdated, "kraken BTC/USD 1m", "its bar is closed")
	wantClosed(t, agg.Advance(b0.Add(359*time.Second)), nil)
	wantClosed(t, agg.Advance(b0.Add(360*time.Second)), nil, fulloncache.ClosedBar{Bar: candle(5, "110", "110", "110", "110", "2"), Missing: 3})
	wantClosed(t, agg.Advance(b0.Add(3600*time.Second)), nil)
	if _, ok := agg.Current(); ok {
		t.Error("a bar is under way")
	}
	_, err = agg.Trade(filled(9, 301, "1", "1"))
	wantErr(t, err, fulloncache.ErrOutdated)
	add(filled(10, 420, "111", "1"))
	add(filled(11, 480, "112", "1"), fulloncache.ClosedBar{Bar: candle(7, "111", "111", "111", "111", "1"), Missing: 1})

	bad := filled(12, 490, "1", "1")
	bad.Market = eth
	_, err = agg.Trade(bad)
	wantErr(t, err, fulloncache.ErrInvalid, "kraken ETH/USD")
	bad = filled(12, 490, "1", "1")
	bad.ExTradeID = ""
	_, err = agg.Trade(bad)
	wantErr(t, err, fulloncache.ErrInvalid, "ex_trade_id")
	if b, ok := agg.Current(); !ok || !b.Equal(candle(8, "112", "112", "112", "112", "1")) {
		t.Errorf("under way is %v", b)
	}
}

func TestAggregatorOfTicks(t *testing.T) {
	t.Parallel()
	agg := newAggregator(t)
	tick := func(seconds int, price string) ([]fulloncache.ClosedBar, error) {
		return agg.Tick(fulloncache.Tick{Market: btc, Price: dec(price), Volume: some("1000"), Time: b0.Add(time.Duration(seconds) * time.Second)})
	}
	for i, price := range []string{"5", "7", "3", "4"} {
		got, err := tick(i, price)
		wantClosed(t, got, err)
	}
	got, err := tick(60, "9")
	wantClosed(t, got, err, fulloncache.ClosedBar{Bar: candle(0, "5", "7", "3", "4", "0")})
	_, err = tick(59, "9")
	wantErr(t, err, fulloncache.ErrOutdated)
	_, err = tick(70, "0")
	wantErr(t, err, fulloncache.ErrInvalid, "price")
}

func TestAggregatorFillsGaps(t *testing.T) {
	t.Parallel()
	agg := newAggregator(t, fulloncache.FillGaps(2))
	flat := func(minute int, price string) fulloncache.ClosedBar {
		return fulloncache.ClosedBar{Bar: candle(minute, price, price, price, price, "0"), Invented: true}
	}
	traded := func(minute int, price string, missing int) fulloncache.ClosedBar {
		return fulloncache.ClosedBar{Bar: candle(minute, price, price, price, price, "1"), Missing: missing}
	}
	add := func(minute int, price string, want ...fulloncache.ClosedBar) {
		t.Helper()
		got, err := agg.Trade(filled(minute, float64(minute*60), price, "1"))
		wantClosed(t, got, err, want...)
	}
	add(0, "5")
	add(2, "6", traded(0, "5", 0), flat(1, "5"))
	// A gap that is longer is filled as far as that goes, at once or by and by.
	add(6, "7", traded(2, "6", 0), flat(3, "6"), flat(4, "6"))
	wantClosed(t, agg.Advance(b0.Add(7*time.Minute)), nil, traded(6, "7", 1))
	wantClosed(t, agg.Advance(b0.Add(8*time.Minute)), nil, flat(7, "7"))
	wantClosed(t, agg.Advance(b0.Add(8*time.Minute)), nil)
	wantClosed(t, agg.Advance(b0.Add(20*time.Minute)), nil, flat(8, "7"))
	_, err := agg.Trade(filled(99, 8*60, "1", "1"))
	wantErr(t, err, fulloncache.ErrOutdated)
	add(20, "8")
	add(21, "9", traded(20, "8", 11))

	for _, n := range []int{0, -1, 100_000_001} {
		_, err := fulloncache.NewAggregator(minutes, fulloncache.FillGaps(n))
		wantErr(t, err, fulloncache.ErrInvalid, "fill gaps")
	}
	_, err = fulloncache.NewAggregator(fulloncache.Series{Market: btc, Timeframe: "1x"})
	wantErr(t, err, fulloncache.ErrInvalid, "timeframe")
}

// Bars of trades are what a naive model makes of them, whatever the timeframe; none is
// invented, and what is missing is told.
func TestAggregatorEqualsTheModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		tf := rapid.SampledFrom([]fulloncache.Timeframe{"1m", "5m", "7m", "1h", "1d", "1w", "1M"}).Draw(t, "timeframe")
		agg, err := fulloncache.NewAggregator(fulloncache.Series{Market: btc, Timeframe: tf})
		if err != nil {
			t.Fatal(err)
		}
		var got []fulloncache.ClosedBar
		var singles []fulloncache.Bar // of each trade, as if it were alone
		at := 0.0
		for i := range rapid.IntRange(1, 60).Draw(t, "trades") {
			at += rapid.SampledFrom([]float64{0, 1, 20, 61, 1000, 90_000, 3e6}).Draw(t, "after")
			u := filled(i, at, fmt.Sprint(rapid.IntRange(1, 100).Draw(t, "price")), "0.1")
			closed, err := agg.Trade(u)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, closed...)
			singles = append(singles, fulloncache.Bar{Time: u.Time, Open: u.Price, High: u.Price, Low: u.Price, Close: u.Price, Volume: u.Volume})
		}
		got = append(got, agg.Advance(b0.Add(100*365*24*time.Hour))...)
		want := resampled(singles, tf)
		if len(got) != len(want) {
			t.Fatalf("%d bars, want %d", len(got), len(want))
		}
		for i := range got {
			if !got[i].Equal(want[i]) || got[i].Invented {
				t.Fatalf("got %v, want %v", got[i], want[i])
			}
			missing := 0
			if i > 0 {
				_, next, _ := tf.Span(got[i-1].Time)
				for ; next.Before(got[i].Time); missing++ {
					_, next, _ = tf.Span(next)
				}
			}
			if got[i].Missing != missing {
				t.Fatalf("%d are missing before %v, want %d", got[i].Missing, got[i], missing)
			}
		}
	})
}
