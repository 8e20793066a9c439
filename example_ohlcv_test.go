package fulloncache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fullon/fulloncache"
)

// minuteAt is a bar of the examples that opens so many minutes after noon.
func minuteAt(minutes int, open, high, low, closed, volume string) fulloncache.Bar {
	return fulloncache.Bar{
		Time: noon.Add(time.Duration(minutes) * time.Minute),
		Open: fulloncache.MustDecimal(open), High: fulloncache.MustDecimal(high),
		Low: fulloncache.MustDecimal(low), Close: fulloncache.MustDecimal(closed),
		Volume: fulloncache.MustDecimal(volume),
	}
}

func ExampleOHLCVCache_Append() {
	ctx := context.Background()
	c, end := try()
	defer end()
	series := fulloncache.Series{Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, Timeframe: "1m"}
	done, err := c.OHLCV.Append(ctx, series, []fulloncache.Bar{
		minuteAt(0, "67000", "67020", "66990", "67010", "1.5"),
		minuteAt(2, "67010", "67010", "66950", "66960", "2"),
	})
	fmt.Printf("%+v %v\n", done, err)
	// A late bar goes to its place, one of the same time replaces, the same changes nothing.
	done, err = c.OHLCV.Append(ctx, series, []fulloncache.Bar{
		minuteAt(2, "67010", "67030", "66950", "67025", "3.25"),
		minuteAt(1, "67010", "67015", "67000", "67010", "0.00000001"),
		minuteAt(0, "67000", "67020", "66990", "67010", "1.50"),
	})
	fmt.Printf("%+v %v\n", done, err)
	// One that is malformed is refused by name; the others are stored.
	done, err = c.OHLCV.Append(ctx, series, []fulloncache.Bar{
		minuteAt(3, "67025", "67000", "67010", "67020", "1"),
		minuteAt(4, "67025", "67040", "67020", "67030", "1"),
	})
	fmt.Println(done.Added, "added;", err, errors.Is(err, fulloncache.ErrInvalid))
	bars, err := c.OHLCV.Latest(ctx, series, 100)
	report(err)
	for _, b := range bars {
		fmt.Println(b)
	}
	// Output:
	// {Added:2 Replaced:0 Unchanged:0 Dropped:0} <nil>
	// {Added:1 Replaced:1 Unchanged:1 Dropped:0} <nil>
	// 1 added; 1 of 2 failed: invalid input: bars kraken BTC/USD 1m: element 0: high 67000: want at least the low, 67010 true
	// 2026-01-02T12:00:00Z open 67000 high 67020 low 66990 close 67010 volume 1.5
	// 2026-01-02T12:01:00Z open 67010 high 67015 low 67000 close 67010 volume 0.00000001
	// 2026-01-02T12:02:00Z open 67010 high 67030 low 66950 close 67025 volume 3.25
	// 2026-01-02T12:04:00Z open 67025 high 67040 low 67020 close 67030 volume 1
}

func ExampleKeep() {
	ctx := context.Background()
	c, end := try()
	defer end()
	series := fulloncache.Series{Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, Timeframe: "1m"}
	var bars []fulloncache.Bar
	for n := range 10 {
		bars = append(bars, minuteAt(n, "67000", "67000", "67000", "67000", "1"))
	}
	done, err := c.OHLCV.Append(ctx, series, bars, fulloncache.Keep(3))
	fmt.Println(done.Added, "added,", done.Dropped, "of the oldest dropped", err)
	// The series stays that short, whoever appends to it, until somebody says otherwise.
	_, err = c.OHLCV.Append(ctx, series, bars)
	report(err)
	n, err := c.OHLCV.Len(ctx, series)
	fmt.Println(n, err)
	_, err = c.OHLCV.Append(ctx, series, bars, fulloncache.KeepAll())
	report(err)
	n, err = c.OHLCV.Len(ctx, series)
	fmt.Println(n, err)
	// Output:
	// 10 added, 7 of the oldest dropped <nil>
	// 3 <nil>
	// 10 <nil>
}

func ExampleOHLCVCache_Latest() {
	ctx := context.Background()
	c, end := try()
	defer end()
	series := fulloncache.Series{Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, Timeframe: "1m"}
	_, err := c.OHLCV.Latest(ctx, series, 1)
	fmt.Println("no such series:", errors.Is(err, fulloncache.ErrNotFound))
	_, err = c.OHLCV.Append(ctx, series, []fulloncache.Bar{
		minuteAt(0, "67000", "67000", "67000", "67000", "1"),
		minuteAt(1, "67001", "67001", "67001", "67001", "1"),
		minuteAt(2, "67002", "67002", "67002", "67002", "1"),
	})
	report(err)
	bars, err := c.OHLCV.Latest(ctx, series, 2) // the oldest first
	report(err)
	for _, b := range bars {
		fmt.Println(b.Time.Format("15:04"), b.Close)
	}
	newest, err := c.OHLCV.Last(ctx, series)
	fmt.Println(newest.Time.Format("15:04"), newest.Close, err)
	_, err = c.OHLCV.Latest(ctx, series, 0)
	fmt.Println(err)
	// Output:
	// no such series: true
	// 12:01 67001
	// 12:02 67002
	// 12:02 67002 <nil>
	// invalid input: latest 0 bars: want at least 1
}

func ExampleOHLCVCache_Range() {
	ctx := context.Background()
	c, end := try()
	defer end()
	series := fulloncache.Series{Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, Timeframe: "1m"}
	var bars []fulloncache.Bar
	for n := range 180 {
		bars = append(bars, minuteAt(n, "67000", "67000", "67000", "67000", "1"))
	}
	_, err := c.OHLCV.Append(ctx, series, bars)
	report(err)
	// The end of a span is not part of it, so that spans follow each other.
	hour, err := c.OHLCV.Range(ctx, series, noon.Add(time.Hour), noon.Add(2*time.Hour))
	fmt.Println(len(hour), hour[0].Time.Format("15:04"), hour[59].Time.Format("15:04"), err)
	// Without an end it goes up to the newest bar.
	rest, err := c.OHLCV.Range(ctx, series, noon.Add(175*time.Minute), time.Time{})
	fmt.Println(len(rest), err)
	// A span without bars is no error.
	none, err := c.OHLCV.Range(ctx, series, noon.Add(-time.Hour), noon)
	fmt.Println(len(none), err)
	// Output:
	// 60 13:00 13:59 <nil>
	// 5 <nil>
	// 0 <nil>
}

func ExampleOHLCVCache_Series() {
	ctx := context.Background()
	c, end := try()
	defer end()
	bar := []fulloncache.Bar{minuteAt(0, "67000", "67000", "67000", "67000", "1")}
	for _, timeframe := range []fulloncache.Timeframe{"1m", "60m", "5m"} {
		for _, symbol := range []string{"ETH/USD", "BTC/USD"} {
			series := fulloncache.Series{Market: fulloncache.Market{Exchange: "kraken", Symbol: symbol}, Timeframe: timeframe}
			_, err := c.OHLCV.Append(ctx, series, bar)
			report(err)
		}
	}
	exchanges, err := c.OHLCV.Exchanges(ctx)
	fmt.Println(exchanges, err)
	list, err := c.OHLCV.Series(ctx, "kraken")
	report(err)
	for _, series := range list {
		n, err := c.OHLCV.Len(ctx, series)
		fmt.Println(series, n, err)
		report(c.OHLCV.Delete(ctx, series))
	}
	err = c.OHLCV.Delete(ctx, list[0])
	fmt.Println("gone:", errors.Is(err, fulloncache.ErrNotFound))
	// Output:
	// [kraken] <nil>
	// kraken BTC/USD 1m 1 <nil>
	// kraken BTC/USD 5m 1 <nil>
	// kraken BTC/USD 1h 1 <nil>
	// kraken ETH/USD 1m 1 <nil>
	// kraken ETH/USD 5m 1 <nil>
	// kraken ETH/USD 1h 1 <nil>
	// gone: true
}

func ExampleOHLCVCache_Stream() {
	ctx := context.Background()
	c, end := try()
	defer end()
	series := fulloncache.Series{Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, Timeframe: "1m"}
	_, err := c.OHLCV.Append(ctx, series, []fulloncache.Bar{minuteAt(0, "67000", "67000", "67000", "67000", "1")})
	report(err)
	for u, err := range c.OHLCV.Stream(ctx, series) {
		if err != nil {
			continue // disconnected; the loop goes on
		}
		if u.Deleted {
			fmt.Println("deleted")
			break
		}
		fmt.Println(u.Bar.Time.Format("15:04"), u.Bar.Close)
		switch minute := int(u.Bar.Time.Sub(noon).Minutes()); minute {
		case 0: // somebody appends, mostly in another process
			_, err = c.OHLCV.Append(ctx, series, []fulloncache.Bar{
				minuteAt(1, "67000", "67100", "67000", "67100", "1"),
				minuteAt(2, "67100", "67200", "67100", "67200", "1"),
			})
			report(err)
		case 2:
			report(c.OHLCV.Delete(ctx, series))
		}
	}
	// Output:
	// 12:00 67000
	// 12:01 67100
	// 12:02 67200
	// deleted
}

func ExampleAggregator() {
	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	agg, err := fulloncache.NewAggregator(fulloncache.Series{Market: btc, Timeframe: "1m"})
	report(err)
	for _, t := range []fulloncache.Trade{
		fillAt("t1", 1, fulloncache.Buy, "0.5", "67000"),
		fillAt("t3", 59, fulloncache.Sell, "0.25", "66990"),
		fillAt("t2", 30, fulloncache.Buy, "0.1", "67020"), // late, within its bar
		fillAt("t2", 30, fulloncache.Buy, "0.1", "67020"), // twice, and counts once
		fillAt("t4", 190, fulloncache.Buy, "1", "67100"),  // closes the bar; two are missing
		fillAt("t5", 58, fulloncache.Buy, "1", "67100"),   // too late for its bar
	} {
		closed, err := agg.Trade(t)
		if errors.Is(err, fulloncache.ErrOutdated) {
			fmt.Println(t.ExTradeID, "is too late")
			continue
		}
		report(err)
		for _, bar := range closed {
			fmt.Println(bar.Bar, "missing before:", bar.Missing)
		}
	}
	if bar, ok := agg.Current(); ok {
		fmt.Println("under way:", bar)
	}
	// A quiet market's bar is closed by the clock.
	for _, bar := range agg.Advance(noon.Add(4 * time.Minute)) {
		fmt.Println(bar.Bar, "missing before:", bar.Missing)
	}
	// Output:
	// 2026-01-02T12:00:00Z open 67000 high 67020 low 66990 close 66990 volume 0.85 missing before: 0
	// t5 is too late
	// under way: 2026-01-02T12:03:00Z open 67100 high 67100 low 67100 close 67100 volume 1
	// 2026-01-02T12:03:00Z open 67100 high 67100 low 67100 close 67100 volume 1 missing before: 2
}

func ExampleFillGaps() {
	btc := fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}
	agg, err := fulloncache.NewAggregator(fulloncache.Series{Market: btc, Timeframe: "1m"}, fulloncache.FillGaps(10))
	report(err)
	for _, t := range []fulloncache.Tick{price("kraken", "BTC/USD", "67000", 0), price("kraken", "BTC/USD", "67050", 30), price("kraken", "BTC/USD", "67100", 190)} {
		closed, err := agg.Tick(t)
		report(err)
		for _, bar := range closed {
			fmt.Println(bar.Time.Format("15:04"), bar.Open, bar.Close, "invented:", bar.Invented)
		}
	}
	// Output:
	// 12:00 67000 67050 invented: false
	// 12:01 67050 67050 invented: true
	// 12:02 67050 67050 invented: true
}

func ExampleResample() {
	var minutes []fulloncache.Bar
	for n := range 7 {
		p := fmt.Sprint(67000 + n)
		minutes = append(minutes, minuteAt(n, p, fmt.Sprint(67010+n), "66990", p, "0.1"))
	}
	longer, err := fulloncache.Resample(minutes, "1m", "5m")
	report(err)
	for _, b := range longer {
		fmt.Println(b)
	}
	_, err = fulloncache.Resample(longer, "5m", "7m")
	fmt.Println(err)
	// Output:
	// 2026-01-02T12:00:00Z open 67000 high 67014 low 66990 close 67004 volume 0.5
	// 2026-01-02T12:05:00Z open 67005 high 67016 low 66990 close 67006 volume 0.2
	// invalid input: resample 5m to 7m: want a timeframe made of whole bars of 5m
}

func ExampleReadBars() {
	file := strings.NewReader(`timestamp,open,high,low,close,volume
2026-01-02T12:00:00Z,67000,67010,66990,67005,1.5
1767355260,67005,67005,67000,67000,1e-8
1767355290,67000,67000,67000,67000,1
1767355320,67000,66000,67000,67000,1
`)
	for bar, err := range fulloncache.ReadBars(file, "1m") {
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(bar)
	}
	// Output:
	// 2026-01-02T12:00:00Z open 67000 high 67010 low 66990 close 67005 volume 1.5
	// 2026-01-02T12:01:00Z open 67005 high 67005 low 67000 close 67000 volume 0.00000001
	// invalid input: line 4: time 2026-01-02T12:01:30Z: want when a bar of 1m opens, such as 2026-01-02T12:01:00Z
	// invalid input: line 5: high 66000: want at least the low, 67000
}

func ExampleTimeframe_Span() {
	timeframe, err := fulloncache.ParseTimeframe("60m")
	report(err)
	opens, closes, err := timeframe.Span(noon.Add(75 * time.Minute))
	fmt.Println(timeframe, opens.Format(time.DateTime), closes.Format(time.DateTime), err)
	opens, closes, err = fulloncache.Timeframe("1M").Span(noon)
	fmt.Println(opens.Format(time.DateOnly), closes.Format(time.DateOnly), err)
	// Output:
	// 1h 2026-01-02 13:00:00 2026-01-02 14:00:00 <nil>
	// 2026-01-01 2026-02-01 <nil>
}
