package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/fullon/fulloncache"
)

// What the predecessor needed for 10,000 bars, at its best, see the report.
const (
	predecessorWrites = 31 * time.Millisecond
	predecessorReads  = 17 * time.Millisecond
	timesFaster       = 4
)

// barLoad is how many bars a month of minutes has.
const barLoad = 45_031

// bars are minutes of a market that wanders about, as a perpetual does.
func bars(n int) []fulloncache.Bar {
	list := make([]fulloncache.Bar, n)
	decimal := func(coef int64, places int) fulloncache.Decimal {
		d, err := fulloncache.NewDecimal(coef, places)
		if err != nil {
			panic(err)
		}
		return d
	}
	first := time.Date(2021, 12, 31, 23, 1, 0, 0, time.UTC)
	state, price := uint64(1), int64(46319)
	random := func(n int64) int64 {
		state = state*6364136223846793005 + 1442695040888963407
		return int64(state>>33) % n
	}
	for i := range list {
		open := price
		price += random(61) - 30
		list[i] = fulloncache.Bar{
			Time: first.Add(time.Duration(i) * time.Minute),
			Open: decimal(open, 0), High: decimal(max(open, price)+random(3)*random(20), 0),
			Low: decimal(min(open, price)-random(3)*random(20), 0), Close: decimal(price, 0),
			Volume: decimal(2_000_000_000+random(40_000_000_000), 4),
		}
	}
	return list
}

// barBench is a series of ours, and what a list by hand takes.
type barBench struct {
	*bench
	c      *fulloncache.Client
	series fulloncache.Series
	key    string
	hand   []*byHand
	lines  []string // the bars as they are stored
}

// withBars runs do with so many bars stored.
func withBars(n int, do func(b *barBench, list []fulloncache.Bar) error) func(*bench) error {
	return withPeers(func(b *bench, c *fulloncache.Client, peers []*byHand) error {
		m := fulloncache.Market{Exchange: fmt.Sprintf("bars%d", n), Symbol: "BTC-PERP"}
		x := &barBench{bench: b, c: c, series: fulloncache.Series{Market: m, Timeframe: "1m"}, key: "ohlcv:" + m.Exchange + ":BTC-PERP:1m", hand: peers}
		if err := peers[0].drop(b.ctx, x.key); err != nil {
			return err
		}
		list := bars(n)
		if _, err := c.OHLCV.Append(b.ctx, x.series, list, fulloncache.KeepAll()); err != nil {
			return err
		}
		r := peers[0].redis
		var err error
		if x.lines, err = r.Do(b.ctx, r.B().Lrange().Key(x.key).Start(0).Stop(-1).Build()).AsStrSlice(); err != nil {
			return err
		}
		if len(x.lines) != n {
			return fmt.Errorf("%d bars are stored of %d", len(x.lines), n)
		}
		return do(x, list)
	})
}

// pushed are the ways by hand to push lines, a command for each or for so many.
func (b *barBench) pushed(each int) []caller {
	var callers []caller
	for i, p := range b.hand {
		key := fmt.Sprintf("pushed%d", i)
		callers = append(callers, caller{rueidisConfigs[i].name, p.fresh(b.ctx, func() error { return p.rpush(b.ctx, key, b.lines, each) }, key)})
	}
	return callers
}

// goRedisPushed is a pipeline of RPUSH, one a bar.
func (b *barBench) goRedisPushed(client *redis.Client) caller {
	const key = "pushed-goredis"
	return caller{"go-redis", b.hand[0].fresh(b.ctx, func() error { return goRedisRpush(b.ctx, client, key, b.lines) }, key)}
}

// barsAppend: 10,000 new bars, and the same lines pushed by hand.
func barsAppend(b *barBench, list []fulloncache.Bar) error {
	goRedis := redis.NewClient(&redis.Options{Addr: b.addr})
	defer goRedis.Close()
	ours := caller{"fulloncache", b.hand[0].fresh(b.ctx, func() error {
		done, err := b.c.OHLCV.Append(b.ctx, b.series, list)
		if err == nil && done.Added != len(list) {
			err = fmt.Errorf("%+v", done)
		}
		return err
	}, b.key)}
	single, many := append(b.pushed(1), b.goRedisPushed(goRedis)), b.pushed(500)
	s, err := interleave(b.rounds, max(b.scale(5), 2), append([]caller{ours}, append(single, many...)...))
	if err != nil {
		return err
	}
	peer := best(s[1:1+len(single)], false)
	r := ratios(s[0], peer)
	took := time.Duration(median(s[0].figures))
	b.report.add(row{
		work: "Append of 10,000 new bars", ours: latencies(s[0]), peer: latencies(peer), peerName: peer.name + ", pipelined RPUSH of encoded bars",
		ratio: r, limit: fmt.Sprintf("≤ 1.50, and p50 ≤ %s (4 × the predecessor)", predecessorWrites/timesFaster), ok: r.median <= 1.5 && took <= predecessorWrites/timesFaster,
	})
	peer = best(s[1+len(single):], false)
	b.report.add(row{
		work: "The same", ours: latencies(s[0]), peer: latencies(peer), peerName: peer.name + ", RPUSH of 500 encoded bars each, unordered and unpublished",
		ratio: ratios(s[0], peer), limit: "stated", ok: true,
	})
	return nil
}

// barsLatest: 10,000 bars read and decoded, and the bare list.
func barsLatest(b *barBench, list []fulloncache.Bar) error {
	callers := []caller{{"fulloncache", timed(func() error {
		got, err := b.c.OHLCV.Latest(b.ctx, b.series, len(list))
		if err == nil && (len(got) != len(list) || !got[len(got)-1].Equal(list[len(list)-1])) {
			err = fmt.Errorf("%d bars", len(got))
		}
		return err
	})}}
	for i, p := range b.hand {
		callers = append(callers, caller{rueidisConfigs[i].name, timed(func() error {
			got, err := p.redis.Do(b.ctx, p.redis.B().Lrange().Key(b.key).Start(int64(-len(list))).Stop(-1).Build()).AsStrSlice()
			if err == nil && len(got) != len(list) {
				err = fmt.Errorf("%d elements", len(got))
			}
			return err
		})})
	}
	s, err := interleave(b.rounds, b.scale(10), callers)
	if err != nil {
		return err
	}
	peer := best(s[1:], false)
	r := ratios(s[0], peer)
	took := time.Duration(median(s[0].figures))
	b.report.add(row{
		work: "Latest 10,000 bars, decoded", ours: latencies(s[0]), peer: latencies(peer), peerName: peer.name + ", LRANGE to strings",
		ratio: r, limit: fmt.Sprintf("≤ 2.00, and p50 ≤ %s (4 × the predecessor)", predecessorReads/timesFaster), ok: r.median <= 2 && took <= predecessorReads/timesFaster,
	})
	last, err := interleave(b.rounds, b.scale(100), []caller{{"fulloncache", timed(func() error {
		_, err := b.c.OHLCV.Last(b.ctx, b.series)
		return err
	})}})
	if err != nil {
		return err
	}
	b.report.hit("bars, server", last[0])
	admin := b.hand[0].redis
	used, err := admin.Do(b.ctx, admin.B().MemoryUsage().Key(b.key).Samples(0).Build()).AsInt64()
	if err != nil {
		return err
	}
	b.report.add(row{
		work: "Memory per bar in Redis", ours: fmt.Sprintf("%.1f bytes", float64(used)/float64(len(list))), limit: "stated", ok: true,
		note: fmt.Sprintf("%.1f of them text", float64(len(strings.Join(b.lines, "")))/float64(len(list))),
	})
	return nil
}

// barsTail: a bar at the end of a series, however long it is.
func barsTail(b *barBench, list []fulloncache.Bar) error {
	const few = 100
	short := b.series
	short.Symbol = "SHORT"
	if _, err := b.c.OHLCV.Append(b.ctx, short, list[len(list)-few:]); err != nil {
		return err
	}
	next := list[len(list)-1]
	tail := func(series fulloncache.Series) func() (time.Duration, error) {
		bar := next
		return timed(func() error {
			bar.Time = bar.Time.Add(time.Minute)
			_, err := b.c.OHLCV.Append(b.ctx, series, []fulloncache.Bar{bar}, fulloncache.KeepAll())
			return err
		})
	}
	s, err := interleave(b.rounds, b.scale(200), []caller{{"fulloncache", tail(b.series)}, {"short", tail(short)}})
	if err != nil {
		return err
	}
	r := ratios(s[0], s[1])
	b.report.add(row{
		work: "Append of a bar to a series of 45,031", ours: latencies(s[0]), peer: latencies(s[1]), peerName: "to one of 100", ratio: r,
		limit: "≤ 1.10: it does not grow", ok: r.median <= 1.1,
	})
	return nil
}

// barsLoad: 45,031 bars from CSV into a series, and their lines pushed by hand.
func barsLoad(b *barBench, list []fulloncache.Bar) error {
	var text strings.Builder
	text.WriteString("timestamp,open,high,low,close,volume\n")
	for _, bar := range list {
		fmt.Fprintf(&text, "%d,%s,%s,%s,%s,%s\n", bar.Time.Unix(), bar.Open, bar.High, bar.Low, bar.Close, bar.Volume)
	}
	load := func(ctx context.Context) error {
		var batch []fulloncache.Bar
		added := 0
		store := func() error {
			done, err := b.c.OHLCV.Append(ctx, b.series, batch, fulloncache.KeepAll())
			added += done.Added
			batch = batch[:0]
			return err
		}
		for bar, err := range fulloncache.ReadBars(strings.NewReader(text.String()), "1m") {
			if err != nil {
				return err
			}
			if batch = append(batch, bar); len(batch) == 10_000 {
				if err := store(); err != nil {
					return err
				}
			}
		}
		err := store()
		if err == nil && added != len(list) {
			err = errors.New("bars are missing")
		}
		return err
	}
	ours := caller{"fulloncache", b.hand[0].fresh(b.ctx, func() error { return load(b.ctx) }, b.key)}
	s, err := interleave(max(b.rounds/2, 2), 2, append([]caller{ours}, b.pushed(1)...))
	if err != nil {
		return err
	}
	peer := best(s[1:], false)
	r := ratios(s[0], peer)
	b.report.add(row{
		work: "Load of 45,031 bars from CSV", ours: latencies(s[0]), peer: latencies(peer), peerName: peer.name + ", pipelined RPUSH of encoded bars",
		ratio: r, limit: "≤ 2.00", ok: r.median <= 2,
	})
	return nil
}
