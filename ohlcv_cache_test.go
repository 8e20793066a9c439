package fulloncache_test

import (
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

var (
	minutes = fulloncache.Series{Market: btc, Timeframe: "1m"}
	// b0 opens the first bar of the tests: a Monday, and the first of a month.
	b0 = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
)

// barOf is bar number n of a series of minutes. Its prices tell its number and a
// version.
func barOf(n, version int) fulloncache.Bar {
	open := dec(fmt.Sprintf("%d.%03d", 1000+n, version))
	return fulloncache.Bar{
		Time: b0.Add(time.Duration(n) * time.Minute), Open: open, High: open.Add(dec("0.5")), Low: open.Sub(dec("0.25")), Close: open.Add(dec("0.1")),
		Volume: dec("0.00000001"),
	}
}

// barsOf are bars from one number up to another, without it, of version 0.
func barsOf(from, to int) []fulloncache.Bar {
	var bars []fulloncache.Bar
	for n := from; n < to; n++ {
		bars = append(bars, barOf(n, 0))
	}
	return bars
}

func wantBars(t testing.TB, got []fulloncache.Bar, err error, want []fulloncache.Bar) {
	t.Helper()
	must(t, err)
	if !slices.EqualFunc(got, want, fulloncache.Bar.Equal) {
		t.Fatalf("got %d bars %v\nwant %d %v", len(got), got, len(want), want)
	}
}

// series checks what a series holds.
func (s *suite) bars(c *fulloncache.Client, of fulloncache.Series, want []fulloncache.Bar) {
	s.Helper()
	got, err := c.OHLCV.Range(s.ctx, of, time.Time{}, time.Time{})
	wantBars(s, got, err, want)
	if n, err := c.OHLCV.Len(s.ctx, of); err != nil || n != len(want) {
		s.Fatalf("length %d (%v), want %d", n, err, len(want))
	}
	got, err = c.OHLCV.Latest(s.ctx, of, len(want)+5)
	wantBars(s, got, err, want)
}

func (s *suite) append(c *fulloncache.Client, of fulloncache.Series, bars []fulloncache.Bar, want fulloncache.Appended, opts ...fulloncache.AppendOption) {
	s.Helper()
	done, err := c.OHLCV.Append(s.ctx, of, bars, opts...)
	if must(s, err); done != want {
		s.Fatalf("appended %+v, want %+v", done, want)
	}
}

func TestBarsAppendAndRead(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		for name, err := range map[string]error{
			"latest": func() error { _, err := c.OHLCV.Latest(s.ctx, minutes, 1); return err }(),
			"last":   func() error { _, err := c.OHLCV.Last(s.ctx, minutes); return err }(),
			"range":  func() error { _, err := c.OHLCV.Range(s.ctx, minutes, b0, time.Time{}); return err }(),
			"delete": c.OHLCV.Delete(s.ctx, minutes),
		} {
			if !errors.Is(err, fulloncache.ErrNotFound) || !strings.Contains(err.Error(), "kraken BTC/USD 1m") {
				s.Errorf("%s: %v", name, err)
			}
		}
		if n, err := c.OHLCV.Len(s.ctx, minutes); err != nil || n != 0 {
			s.Fatalf("length %d (%v)", n, err)
		}
		s.append(c, minutes, nil, fulloncache.Appended{})
		s.append(c, minutes, barsOf(10, 20), fulloncache.Appended{Added: 10})
		s.bars(s.open(), minutes, barsOf(10, 20))

		last, err := c.OHLCV.Last(s.ctx, minutes)
		wantBars(s, []fulloncache.Bar{last}, err, barsOf(19, 20))
		some, err := c.OHLCV.Latest(s.ctx, minutes, 3)
		wantBars(s, some, err, barsOf(17, 20))
		for _, span := range []struct {
			from, to time.Time
			want     []fulloncache.Bar
		}{
			{barOf(12, 0).Time, barOf(15, 0).Time, barsOf(12, 15)},
			{barOf(12, 0).Time.Add(1), barOf(15, 0).Time.Add(1), barsOf(13, 16)},
			{time.Time{}, barOf(12, 0).Time, barsOf(10, 12)},
			{barOf(18, 0).Time, time.Time{}, barsOf(18, 20)},
			{barOf(20, 0).Time, time.Time{}, nil},
			{barOf(15, 0).Time, barOf(15, 0).Time, nil},
			{time.Unix(-5, 0), time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC), barsOf(10, 20)},
		} {
			got, err := c.OHLCV.Range(s.ctx, minutes, span.from, span.to)
			wantBars(s, got, err, span.want)
		}
		_, err = c.OHLCV.Range(s.ctx, minutes, b0, b0.Add(-1))
		wantErr(s, err, fulloncache.ErrInvalid, "not before the beginning")

		// Another spelling of a timeframe is the same series.
		hours := fulloncache.Series{Market: btc, Timeframe: "60m"}
		hour := barOf(0, 1)
		s.append(c, hours, []fulloncache.Bar{hour}, fulloncache.Appended{Added: 1})
		hours.Timeframe = "1h"
		s.bars(c, hours, []fulloncache.Bar{hour})
		// Other exchanges and timeframes are other series (P11).
		elsewhere := minutes
		elsewhere.Exchange = "bitmex"
		s.append(c, elsewhere, barsOf(1, 2), fulloncache.Appended{Added: 1})
		s.bars(c, elsewhere, barsOf(1, 2))
		s.bars(c, minutes, barsOf(10, 20))

		must(s, c.OHLCV.Delete(s.ctx, minutes))
		wantErr(s, c.OHLCV.Delete(s.ctx, minutes), fulloncache.ErrNotFound, "kraken BTC/USD 1m")
		_, err = c.OHLCV.Last(s.ctx, minutes)
		wantErr(s, err, fulloncache.ErrNotFound)
		s.bars(c, hours, []fulloncache.Bar{hour})
	})
}

// P11: the same bar twice is one bar, and a count of 0 is no way to read everything.
func TestBarsP11(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		s.append(c, minutes, barsOf(0, 5), fulloncache.Appended{Added: 5})
		s.append(c, minutes, barsOf(0, 5), fulloncache.Appended{Unchanged: 5})
		s.append(c, minutes, []fulloncache.Bar{barOf(4, 1)}, fulloncache.Appended{Replaced: 1})
		s.bars(c, minutes, append(barsOf(0, 4), barOf(4, 1)))
		for _, n := range []int{0, -1, -10_000} {
			got, err := c.OHLCV.Latest(s.ctx, minutes, n)
			wantErr(s, err, fulloncache.ErrInvalid, fmt.Sprintf("latest %d bars", n))
			if got != nil {
				s.Fatalf("%d bars came with the error", len(got))
			}
		}
	})
}

func TestBarsMerge(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		s.append(c, minutes, barsOf(100, 110), fulloncache.Appended{Added: 10})
		// The bar under way changes, and more come with it.
		s.append(c, minutes, []fulloncache.Bar{barOf(109, 1), barOf(110, 0), barOf(112, 0)}, fulloncache.Appended{Added: 2, Replaced: 1})
		// A late one near the end, and near the beginning.
		s.append(c, minutes, []fulloncache.Bar{barOf(111, 0)}, fulloncache.Appended{Added: 1})
		s.append(c, minutes, []fulloncache.Bar{barOf(99, 0), barOf(97, 0)}, fulloncache.Appended{Added: 2})
		s.append(c, minutes, []fulloncache.Bar{barOf(98, 0)}, fulloncache.Appended{Added: 1})
		// One in the middle.
		s.append(c, minutes, []fulloncache.Bar{barOf(103, 1)}, fulloncache.Appended{Replaced: 1})
		want := slices.Concat(barsOf(97, 103), []fulloncache.Bar{barOf(103, 1)}, barsOf(104, 109), []fulloncache.Bar{barOf(109, 1)}, barsOf(110, 113))
		s.bars(c, minutes, want)
		// Everything, out of order, with what is there, what has changed and what is new.
		all := barsOf(90, 120)
		all[15] = barOf(105, 2)
		rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		s.append(c, minutes, all, fulloncache.Appended{Added: 14, Replaced: 3, Unchanged: 13})
		want = barsOf(90, 120)
		want[15] = barOf(105, 2)
		s.bars(c, minutes, want)
	})
}

func TestBarsCap(t *testing.T) {
	everyMode(t, func(s *suite) {
		s.cfg.OHLCVCap = 10
		c := s.open()
		s.append(c, minutes, barsOf(0, 8), fulloncache.Appended{Added: 8})
		s.append(c, minutes, barsOf(8, 15), fulloncache.Appended{Added: 7, Dropped: 5})
		s.bars(c, minutes, barsOf(5, 15))
		// Older than all there is room for: it goes at once.
		s.append(c, minutes, []fulloncache.Bar{barOf(2, 0)}, fulloncache.Appended{Added: 1, Dropped: 1})
		s.bars(c, minutes, barsOf(5, 15))
		// A series with a cap of its own keeps it, whoever appends.
		s.append(c, minutes, barsOf(0, 5), fulloncache.Appended{Added: 5}, fulloncache.Keep(1000))
		s.append(s.open(), minutes, barsOf(15, 900), fulloncache.Appended{Added: 885})
		s.bars(c, minutes, barsOf(0, 900))
		s.append(c, minutes, []fulloncache.Bar{barOf(899, 0)}, fulloncache.Appended{Unchanged: 1, Dropped: 895}, fulloncache.Keep(5))
		s.bars(c, minutes, barsOf(895, 900))
		// It can be told to grow with what it is given.
		s.append(c, minutes, barsOf(890, 895), fulloncache.Appended{Added: 5}, fulloncache.KeepAll())
		s.append(c, minutes, barsOf(895, 900), fulloncache.Appended{Unchanged: 5}, fulloncache.KeepAll())
		s.append(c, minutes, barsOf(900, 902), fulloncache.Appended{Added: 2, Dropped: 2})
		s.bars(c, minutes, barsOf(892, 902))
		// One that is made anew has none, unless it needs one.
		must(s, c.OHLCV.Delete(s.ctx, minutes))
		s.append(c, minutes, barsOf(0, 12), fulloncache.Appended{Added: 12, Dropped: 2})
		for _, n := range []int{0, -1, 100_000_001} {
			_, err := c.OHLCV.Append(s.ctx, minutes, barsOf(20, 21), fulloncache.Keep(n))
			wantErr(s, err, fulloncache.ErrInvalid, fmt.Sprintf("keep %d bars", n))
		}
		s.bars(c, minutes, barsOf(2, 12))
	})
}

// Ten thousand bars at once, and a late one among them: nothing depends on how many
// a script can take.
func TestBarsTenThousand(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		n := 10_000
		if s.mode.admin == nil {
			n = 2500 // it is slow
		}
		all := barsOf(0, n)
		s.append(c, minutes, all, fulloncache.Appended{Added: n})
		s.append(c, minutes, all, fulloncache.Appended{Unchanged: n})
		got, err := c.OHLCV.Latest(s.ctx, minutes, n)
		wantBars(s, got, err, all)
		must(s, c.OHLCV.Delete(s.ctx, minutes))
		// All but every third; then those.
		var thirds, rest []fulloncache.Bar
		for i, b := range all {
			if i%3 == 1 {
				thirds = append(thirds, b)
			} else {
				rest = append(rest, b)
			}
		}
		s.append(c, minutes, rest, fulloncache.Appended{Added: len(rest)})
		s.append(c, minutes, thirds, fulloncache.Appended{Added: len(thirds)})
		got, err = c.OHLCV.Latest(s.ctx, minutes, n)
		wantBars(s, got, err, all)
	})
}

// Whatever is appended by whomever, a series is the sorted set of its bars, each as it
// was appended last.
func TestBarsEqualTheSortedSet(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		other := s.open()
		s.property(func(t *rapid.T) {
			if err := c.OHLCV.Delete(s.ctx, minutes); err != nil && !errors.Is(err, fulloncache.ErrNotFound) {
				t.Fatal(err)
			}
			room := rapid.IntRange(1, 40).Draw(t, "cap")
			model := make(map[int]int) // number → version
			for round := range rapid.IntRange(1, 6).Draw(t, "rounds") {
				numbers := rapid.SliceOfNDistinct(rapid.IntRange(0, 60), 1, 30, rapid.ID[int]).Draw(t, "numbers")
				var bars []fulloncache.Bar
				was := fulloncache.Appended{}
				before := len(model)
				for _, n := range numbers {
					version := rapid.IntRange(0, 1).Draw(t, "version")
					bars = append(bars, barOf(n, version))
					switch v, known := model[n]; {
					case !known:
						was.Added++
					case v != version:
						was.Replaced++
					default:
						was.Unchanged++
					}
					model[n] = version
				}
				for len(model) > room {
					oldest := 1000
					for n := range model {
						oldest = min(oldest, n)
					}
					delete(model, oldest)
				}
				was.Dropped = before + was.Added - len(model)
				who := []*fulloncache.Client{c, other}[round%2]
				done, err := who.OHLCV.Append(s.ctx, minutes, bars, fulloncache.Keep(room))
				if err != nil || done != was {
					t.Fatalf("appended %+v (%v), want %+v", done, err, was)
				}
				var want []fulloncache.Bar
				for n := range 61 {
					if version, ok := model[n]; ok {
						want = append(want, barOf(n, version))
					}
				}
				got, err := c.OHLCV.Latest(s.ctx, minutes, 100)
				if err != nil || !slices.EqualFunc(got, want, fulloncache.Bar.Equal) {
					t.Fatalf("got %v (%v)\nwant %v", got, err, want)
				}
				from, to := rapid.IntRange(0, 60).Draw(t, "from"), rapid.IntRange(0, 60).Draw(t, "to")
				from, to = min(from, to), max(from, to)
				got, err = c.OHLCV.Range(s.ctx, minutes, barOf(from, 0).Time, barOf(to, 0).Time)
				want = slices.DeleteFunc(want, func(b fulloncache.Bar) bool {
					return b.Time.Before(barOf(from, 0).Time) || !b.Time.Before(barOf(to, 0).Time)
				})
				if err != nil || !slices.EqualFunc(got, want, fulloncache.Bar.Equal) {
					t.Fatalf("from %d to %d: got %v (%v)\nwant %v", from, to, got, err, want)
				}
			}
		})
	})
}

// Malformed bars are refused, each naming element and field; the others are stored.
func TestBarsMalformed(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		bad := func(change func(b *fulloncache.Bar)) fulloncache.Bar {
			b := barOf(7, 0)
			change(&b)
			return b
		}
		huge := dec("99999999999999999999999999999999999999")
		cases := []struct {
			bar   fulloncache.Bar
			field string
		}{
			{bad(func(b *fulloncache.Bar) { b.High, b.Low = b.Low, b.High }), "high"},
			{bad(func(b *fulloncache.Bar) { b.High = b.Open.Sub(dec("0.01")) }), "high"},
			{bad(func(b *fulloncache.Bar) { b.High = b.Close.Sub(dec("0.01")) }), "high"},
			{bad(func(b *fulloncache.Bar) { b.Low = b.Open.Add(dec("0.01")) }), "low"},
			{bad(func(b *fulloncache.Bar) { b.Open, b.Low = b.High, b.Close.Add(dec("0.01")) }), "low"},
			{bad(func(b *fulloncache.Bar) { b.Open = dec("0") }), "open"},
			{bad(func(b *fulloncache.Bar) { b.Low = dec("-1") }), "low"},
			{bad(func(b *fulloncache.Bar) { b.Close = fulloncache.Decimal{} }), "close"},
			{bad(func(b *fulloncache.Bar) { b.High = huge.Add(huge) }), "high"},
			{bad(func(b *fulloncache.Bar) { b.Volume = dec("-0.1") }), "volume"},
			{bad(func(b *fulloncache.Bar) { b.Volume = huge.Add(huge) }), "volume"},
			{bad(func(b *fulloncache.Bar) { b.Time = b.Time.Add(time.Second) }), "time"},
			{bad(func(b *fulloncache.Bar) { b.Time = b.Time.Add(1) }), "time"},
			{bad(func(b *fulloncache.Bar) { b.Time = time.Time{} }), "time"},
			{bad(func(b *fulloncache.Bar) { b.Time = time.Unix(-60, 0) }), "time"},
			{bad(func(b *fulloncache.Bar) { b.Time = time.UnixMilli(1_640_991_660_000 * 1000) }), "time"}, // milliseconds read as seconds
			{barOf(2, 5), "time"}, // a second one of its time
		}
		bars := barsOf(0, 5)
		for _, x := range cases {
			bars = append(bars, x.bar)
		}
		tiny := fulloncache.Bar{Time: barOf(6, 0).Time, Open: dec("1e-8"), High: dec("1e-8"), Low: dec("1e-8"), Close: dec("1e-8")}
		bars = append(bars, tiny)
		done, err := c.OHLCV.Append(s.ctx, minutes, bars)
		var batch *fulloncache.BatchError
		if !errors.As(err, &batch) || len(batch.Errs) != len(bars) {
			s.Fatalf("got %v", err)
		}
		if done != (fulloncache.Appended{Added: 6}) {
			s.Errorf("appended %+v", done)
		}
		for i, err := range batch.Errs {
			if i < 5 || i == len(bars)-1 {
				must(s, err)
				continue
			}
			wantErr(s, err, fulloncache.ErrInvalid, fmt.Sprintf("bars kraken BTC/USD 1m: element %d: %s ", i, cases[i-5].field))
		}
		s.bars(c, minutes, append(barsOf(0, 5), tiny))
		for name, x := range map[string]fulloncache.Series{
			"timeframe": {Market: btc, Timeframe: "1y"},
			"exchange":  {Market: fulloncache.Market{Symbol: "BTC/USD"}, Timeframe: "1m"},
			"symbol":    {Market: fulloncache.Market{Exchange: "kraken"}, Timeframe: "1m"},
		} {
			_, err := c.OHLCV.Append(s.ctx, x, barsOf(5, 6))
			wantErr(s, err, fulloncache.ErrInvalid, name)
			_, err = c.OHLCV.Latest(s.ctx, x, 1)
			wantErr(s, err, fulloncache.ErrInvalid, name)
			_, err = c.OHLCV.Last(s.ctx, x)
			wantErr(s, err, fulloncache.ErrInvalid, name)
			_, err = c.OHLCV.Range(s.ctx, x, time.Time{}, time.Time{})
			wantErr(s, err, fulloncache.ErrInvalid, name)
			_, err = c.OHLCV.Len(s.ctx, x)
			wantErr(s, err, fulloncache.ErrInvalid, name)
			wantErr(s, c.OHLCV.Delete(s.ctx, x), fulloncache.ErrInvalid, name)
		}
		_, err = c.OHLCV.Series(s.ctx, "")
		wantErr(s, err, fulloncache.ErrInvalid, "exchange")
	})
}

// Two symbols that meet in one key neither overwrite nor answer for each other.
func TestBarsOfSymbolsThatMeet(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		twin := fulloncache.Series{Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTCUSD"}, Timeframe: "1m"}
		s.append(c, minutes, barsOf(0, 3), fulloncache.Appended{Added: 3})
		_, err := c.OHLCV.Append(s.ctx, twin, barsOf(5, 7))
		wantErr(s, err, fulloncache.ErrInvalid, `"BTCUSD"`, `"BTC/USD"`)
		_, err = c.OHLCV.Latest(s.ctx, twin, 1)
		wantErr(s, err, fulloncache.ErrNotFound, `holds "BTC/USD"`)
		_, err = c.OHLCV.Range(s.ctx, twin, time.Time{}, time.Time{})
		wantErr(s, err, fulloncache.ErrNotFound, `holds "BTC/USD"`)
		if n, err := c.OHLCV.Len(s.ctx, twin); err != nil || n != 0 {
			s.Fatalf("length %d (%v)", n, err)
		}
		wantErr(s, c.OHLCV.Delete(s.ctx, twin), fulloncache.ErrNotFound, `holds "BTC/USD"`)
		s.bars(c, minutes, barsOf(0, 3))
		must(s, c.OHLCV.Delete(s.ctx, minutes))
		s.append(c, twin, barsOf(5, 7), fulloncache.Appended{Added: 2})
		s.bars(c, twin, barsOf(5, 7))
	})
}

func TestBarsSeries(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		list, err := c.OHLCV.Series(s.ctx, "kraken")
		if err != nil || len(list) != 0 {
			s.Fatalf("%v (%v)", list, err)
		}
		odd := fulloncache.Market{Exchange: "kra:ken {x}", Symbol: "A:B*/C\n D"}
		bar := barOf(0, 0)
		for _, x := range []fulloncache.Series{
			{Market: eth, Timeframe: "1m"}, {Market: btc, Timeframe: "1M"}, {Market: btc, Timeframe: "1w"}, {Market: btc, Timeframe: "1440m"},
			{Market: btc, Timeframe: "4h"}, {Market: btc, Timeframe: "5m"}, {Market: odd, Timeframe: "1m"},
		} {
			s.append(c, x, []fulloncache.Bar{bar}, fulloncache.Appended{Added: 1})
			s.bars(c, x, []fulloncache.Bar{bar})
		}
		list, err = s.open().OHLCV.Series(s.ctx, "kraken")
		must(s, err)
		want := "[kraken BTC/USD 5m kraken BTC/USD 4h kraken BTC/USD 1d kraken BTC/USD 1w kraken BTC/USD 1M kraken ETH/USD 1m]"
		if got := fmt.Sprint(list); got != want {
			s.Fatalf("got %s, want %s", got, want)
		}
		list, err = c.OHLCV.Series(s.ctx, odd.Exchange)
		if must(s, err); len(list) != 1 || list[0].Market != odd {
			s.Fatalf("got %q", list)
		}
		exchanges, err := c.OHLCV.Exchanges(s.ctx)
		if must(s, err); !slices.Equal(exchanges, []string{odd.Exchange, "kraken"}) {
			s.Fatalf("got %q", exchanges)
		}
		must(s, c.OHLCV.Delete(s.ctx, fulloncache.Series{Market: odd, Timeframe: "1m"}))
		exchanges, err = c.OHLCV.Exchanges(s.ctx)
		if must(s, err); !slices.Equal(exchanges, []string{"kraken"}) {
			s.Fatalf("got %q", exchanges)
		}
	})
}

// shuffledBars are the bars up to a number, some of them twice, in no order and a few
// at a time.
func shuffledBars(n int) iter.Seq[[]fulloncache.Bar] {
	order := append(rand.Perm(n), rand.Perm(n)[:n/2]...)
	return func(yield func([]fulloncache.Bar) bool) {
		for some := range slices.Chunk(order, 7) {
			slices.Sort(some)
			some = slices.Compact(some) // within a call twice is a mistake
			rand.Shuffle(len(some), func(i, j int) { some[i], some[j] = some[j], some[i] })
			bars := make([]fulloncache.Bar, len(some))
			for i, number := range some {
				bars[i] = barOf(number, 0)
			}
			if !yield(bars) {
				return
			}
		}
	}
}

// Two writers append the same bars, out of order and again: each is there once, in its
// place.
func TestBarsOfTwoWriters(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		n := 300
		if s.soak() {
			n = 3000
		}
		var wg sync.WaitGroup
		for range 2 {
			writer := s.open()
			wg.Go(func() {
				for bars := range shuffledBars(n) {
					if _, err := writer.OHLCV.Append(s.ctx, minutes, bars); err != nil {
						s.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
		s.bars(c, minutes, barsOf(0, n))
	})
}

// The same while connections break at any moment, also between a write and its answer:
// what is appended again until there is no error is there once.
func TestBarsThroughBrokenConnections(t *testing.T) {
	t.Parallel()
	ctx, srv := testenv.Context(t), testenv.NewRedis(t)
	proxy := testenv.NewProxy(t, srv.Addr())
	n, cuts := 300, 4
	if testenv.Soak() {
		n, cuts = 5000, 60
	}
	const writers = 2
	var (
		wg   sync.WaitGroup
		done atomic.Int64
	)
	for range writers {
		writer := open(t, fulloncache.Config{URL: proxy.URL(), SocketTimeout: time.Second, BreakerCooldown: 10 * time.Millisecond})
		wg.Go(func() {
			for bars := range shuffledBars(n) {
				for {
					_, err := writer.OHLCV.Append(ctx, minutes, bars)
					if err == nil {
						break
					}
					if !errors.Is(err, fulloncache.ErrUnavailable) {
						t.Error(err)
						return
					}
				}
				done.Add(1)
			}
		})
	}
	breakConnections(t, proxy, srv, cuts, writers*(n+n/2)/7, &done)
	wg.Wait()
	got, err := open(t, fulloncache.Config{URL: srv.URL()}).OHLCV.Range(ctx, minutes, time.Time{}, time.Time{})
	wantBars(t, got, err, barsOf(0, n))
}
