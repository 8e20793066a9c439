package fulloncache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// corruptKeys are the elements that an error names, by "key field".
func corruptKeys(t testing.TB, err error) []string {
	t.Helper()
	var list []string
	many, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("got %v, want the errors of elements", err)
	}
	for _, err := range many.Unwrap() {
		var corrupt *fulloncache.CorruptError
		if !errors.As(err, &corrupt) || !errors.Is(err, fulloncache.ErrCorrupt) {
			t.Fatalf("got %v", err)
		}
		list = append(list, corrupt.Key+" "+corrupt.Field)
	}
	return list
}

// What is no bar is reported with key, index and field, hides nothing, and is in
// nobody's way: bars go on being appended, in order.
func TestBarsCorruptElements(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		list := s.key("ohlcv", "kraken", ":BTCUSD:1m")
		when := func(n int) string { return fmt.Sprintf("%010d", barOf(n, 0).Time.Unix()) }
		damage := []struct{ text, blamed string }{
			{"garbage", "time"},
			{"", "time"},
			{"~~~~~~~~~~,1,2,1,1,1", "time"},
			{"123,1,2,1,1,1", "time"},
			{"16409916.0,1,2,1,1,1", "time"},
			{"%s", ""},
			{"%s,1,2", ""},
			{"%s,1,2,1,1,1,1", ""},
			{"%s,1,2,1,1,1,", ""},
			{"%s,,2,1,1,1", "open"},
			{"%s,1,2,1,1,", "volume"},
			{"%s,NaN,2,1,1,1", "open"},
			{"%s,1,Inf,1,1,1", "high"},
			{"%s,1,2,x,1,1", "low"},
			{"%s,1,2,1,1.2.3,1", "close"},
			{"%s,1,2,1,.,1", "close"},
			{"%s,1,2,1,1,1e999", "volume"},
			{"%s,1,2,1,1,0.00000000000000000001", "volume"},
			{"%s,1,2,1,1,-1", "volume"},
			{"%s,3,2,1,1,1", "high"},
			{"%s,1,2,1.5,1,1", "low"},
			{"%s,0,,,,1", "open"},
		}
		for i, d := range damage {
			if err := c.OHLCV.Delete(s.ctx, minutes); i > 0 {
				must(s, err)
			}
			text := strings.ReplaceAll(d.text, "%s", when(3))
			s.append(c, minutes, barsOf(0, 6), fulloncache.Appended{Added: 6})
			s.do("LSET", list, "3", text)
			good := append(barsOf(0, 3), barsOf(4, 6)...)
			field := "element 3"
			if d.blamed != "" {
				field += ", " + d.blamed
			}
			wantKeys := func(err error, index string) {
				s.Helper()
				want := list + " " + strings.Replace(field, "3", index, 1)
				if got := corruptKeys(s, err); len(got) != 1 || got[0] != want {
					s.Fatalf("%q: %q, want %q (%v)", text, got, want, err)
				}
			}
			got, err := c.OHLCV.Latest(s.ctx, minutes, 100)
			wantKeys(err, "3")
			wantBars(s, got, nil, good)
			got, err = c.OHLCV.Latest(s.ctx, minutes, 3)
			wantKeys(err, "3")
			wantBars(s, got, nil, barsOf(4, 6))
			got, err = c.OHLCV.Range(s.ctx, minutes, time.Time{}, time.Time{})
			wantKeys(err, "3")
			wantBars(s, got, nil, good)
			got, err = c.OHLCV.Range(s.ctx, minutes, barOf(2, 0).Time, barOf(5, 0).Time)
			wantKeys(err, "3")
			wantBars(s, got, nil, []fulloncache.Bar{barOf(2, 0), barOf(4, 0)})
			// Bars are merged around it.
			late := barOf(4, 2)
			s.append(c, minutes, []fulloncache.Bar{late, barOf(8, 0)}, fulloncache.Appended{Added: 1, Replaced: 1})
			s.append(c, minutes, barsOf(7, 8), fulloncache.Appended{Added: 1})
			got, err = c.OHLCV.Latest(s.ctx, minutes, 100)
			wantKeys(err, "3")
			wantBars(s, got, nil, append(barsOf(0, 3), late, barOf(5, 0), barOf(7, 0), barOf(8, 0)))
			// The last one can be it.
			s.do("LSET", list, "-1", text)
			_, err = c.OHLCV.Last(s.ctx, minutes)
			wantKeys(err, "7")
		}
	})
}

// A bar whose time can be read is mended by the next one of that time.
func TestBarsCorruptElementIsMended(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		list := s.key("ohlcv", "kraken", ":BTCUSD:1m")
		s.append(c, minutes, barsOf(0, 5), fulloncache.Appended{Added: 5})
		s.do("LSET", list, "2", fmt.Sprintf("%d,broken", barOf(2, 0).Time.Unix()))
		s.append(c, minutes, barsOf(2, 3), fulloncache.Appended{Replaced: 1})
		s.bars(c, minutes, barsOf(0, 5))
		// Many that are no bars, one after the other and everywhere.
		for _, at := range []string{"0", "1", "2", "4"} {
			s.do("LSET", list, at, "garbage")
		}
		s.append(c, minutes, barsOf(5, 7), fulloncache.Appended{Added: 2})
		s.append(c, minutes, barsOf(1, 3), fulloncache.Appended{Added: 2})
		got, err := c.OHLCV.Latest(s.ctx, minutes, 100)
		if n := len(corruptKeys(s, err)); n != 4 {
			s.Errorf("%d elements are corrupt: %v", n, err)
		}
		wantBars(s, got, nil, append(barsOf(1, 4), barsOf(5, 7)...))
	})
}

// Keys of another type are corrupt, each by its name, and nothing is half appended;
// deleting mends the list.
func TestBarsCorruptKeys(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		list, index, rev := s.key("ohlcv", "kraken", ":BTCUSD:1m"), s.key("ohlcv_series", "kraken", ""), s.key("ohlcv_rev", "kraken", "")
		check := func(key string, reads bool) {
			s.Helper()
			_, err := c.OHLCV.Append(s.ctx, minutes, barsOf(1, 9))
			wantCorrupt(s, err, key, "")
			if !reads {
				return
			}
			_, err = c.OHLCV.Latest(s.ctx, minutes, 1)
			wantCorrupt(s, err, key, "")
			_, err = c.OHLCV.Last(s.ctx, minutes)
			wantCorrupt(s, err, key, "")
			_, err = c.OHLCV.Range(s.ctx, minutes, b0, time.Time{})
			wantCorrupt(s, err, key, "")
			_, err = c.OHLCV.Len(s.ctx, minutes)
			wantCorrupt(s, err, key, "")
		}
		s.do("SET", list, "x")
		check(list, true)
		must(s, c.OHLCV.Delete(s.ctx, minutes))
		s.append(c, minutes, barsOf(0, 2), fulloncache.Appended{Added: 2})
		s.do("DEL", index)
		s.do("SET", index, "x")
		check(index, true)
		_, err := c.OHLCV.Series(s.ctx, "kraken")
		wantCorrupt(s, err, index, "")
		wantCorrupt(s, c.OHLCV.Delete(s.ctx, minutes), index, "")
		s.do("DEL", index)
		s.do("DEL", rev)
		s.do("RPUSH", rev, "x")
		check(rev, false)
		wantCorrupt(s, c.OHLCV.Delete(s.ctx, minutes), rev, "")
		s.do("DEL", rev)
		// A series whose entry in the index was lost is there all the same, and the next
		// bar puts it back; so it is with one that cannot be read.
		s.bars(c, minutes, barsOf(0, 2))
		s.append(c, minutes, barsOf(2, 3), fulloncache.Appended{Added: 1})
		s.do("HSET", index, "BTCUSD:1m", "garbage")
		s.do("HSET", index, "ETHUSD:1x", "1 - ETH/USD")
		s.bars(c, minutes, barsOf(0, 3))
		series, err := c.OHLCV.Series(s.ctx, "kraken")
		if got := corruptKeys(s, err); len(got) != 2 || len(series) != 0 {
			s.Errorf("%v, %q", series, got)
		}
		s.append(c, minutes, barsOf(3, 4), fulloncache.Appended{Added: 1})
		series, err = c.OHLCV.Series(s.ctx, "kraken")
		if got := corruptKeys(s, err); len(got) != 1 || got[0] != index+" ETHUSD:1x" || len(series) != 1 || series[0] != minutes {
			s.Errorf("%v, %q", series, got)
		}

		exchanges := s.cfg.KeyPrefix + ":ohlcv_exchanges"
		s.do("DEL", exchanges)
		s.do("SET", exchanges, "x")
		_, err = c.OHLCV.Exchanges(s.ctx)
		wantCorrupt(s, err, exchanges, "")
		if s.mode.name == "standalone" {
			check(exchanges, false)
			wantCorrupt(s, c.OHLCV.Delete(s.ctx, minutes), exchanges, "")
			s.bars(c, minutes, barsOf(0, 4))
		}
	})
}

// Bars that are there already change nothing, not even the revision; but an entry of
// the index that was lost comes back with them.
func TestBarsThatAreThere(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		index, rev := s.key("ohlcv_series", "kraken", ""), s.key("ohlcv_rev", "kraken", "")
		s.append(c, minutes, barsOf(0, 5), fulloncache.Appended{Added: 5})
		s.do("SET", rev, "9007199254740000")
		s.append(c, minutes, barsOf(1, 5), fulloncache.Appended{Unchanged: 4})
		if got, err := s.mode.admin(s, rev).Do(s, "GET", rev).ToString(); err != nil || got != "9007199254740000" {
			s.Errorf("revision %s (%v)", got, err)
		}
		s.do("DEL", index)
		s.append(c, minutes, barsOf(1, 5), fulloncache.Appended{Unchanged: 4})
		if list, err := c.OHLCV.Series(s.ctx, "kraken"); err != nil || len(list) != 1 || list[0] != minutes {
			s.Errorf("%v, %v", list, err)
		}
	})
}

// What is left of a series in the index does not bind one of another symbol whose name
// is the same there: neither its name nor its cap.
func TestBarsOfForgottenTwin(t *testing.T) {
	corruptMode(t, func(s *suite, _ *fulloncache.Client) {
		s.cfg.OHLCVCap = 10
		c := s.open()
		twin := fulloncache.Series{Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTCUSD"}, Timeframe: "1m"}
		s.append(c, minutes, barsOf(0, 5), fulloncache.Appended{Added: 5}, fulloncache.Keep(5))
		s.do("DEL", s.key("ohlcv", "kraken", ":BTCUSD:1m"))
		s.append(c, twin, barsOf(0, 12), fulloncache.Appended{Added: 12, Dropped: 2})
		s.bars(c, twin, barsOf(2, 12))
	})
}

// In a cluster the index of exchanges lives elsewhere: it comes back by itself, and a
// node of it that is down holds nobody up.
func TestBarExchangesAreIndexedAgain(t *testing.T) {
	t.Parallel()
	cfg := modes[1].config(t)
	cfg.KeyPrefix = testenv.Prefix(t)
	s := &suite{T: t, mode: modes[1], cfg: cfg, ctx: testenv.Context(t)}
	c := s.open()
	s.append(c, minutes, barsOf(0, 1), fulloncache.Appended{Added: 1})
	exchanges := cfg.KeyPrefix + ":ohlcv_exchanges"
	listed := func() bool {
		list, err := c.OHLCV.Exchanges(s.ctx)
		must(t, err)
		return len(list) == 1
	}
	if !listed() {
		t.Error("not listed")
	}
	s.do("DEL", exchanges)
	n := 1
	testenv.Eventually(t, "the index", func() (bool, string) {
		s.append(c, minutes, barsOf(n, n+1), fulloncache.Appended{Added: 1})
		n++
		return listed(), ""
	})
	// Another process deleted all: a series that is new puts its exchange back before
	// Append returns.
	must(t, s.open().OHLCV.Delete(s.ctx, minutes))
	s.append(c, minutes, barsOf(0, 1), fulloncache.Appended{Added: 1})
	if !listed() {
		t.Error("not listed again")
	}
	// It cannot be added to: what was appended is, and the last deletion says so.
	s.do("DEL", exchanges)
	s.do("SET", exchanges, "x")
	wantCorrupt(t, c.OHLCV.Delete(s.ctx, minutes), exchanges, "")
	wantErr(t, c.OHLCV.Delete(s.ctx, minutes), fulloncache.ErrNotFound)
	s.append(c, minutes, barsOf(0, 1), fulloncache.Appended{Added: 1})
}

func TestBarsUnavailable(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c := open(t, fulloncache.Config{URL: srv.URL(), SocketTimeout: time.Second})
	_, err := c.OHLCV.Append(ctx, minutes, barsOf(0, 5))
	must(t, err)
	srv.Kill()
	for name, do := range map[string]func(ctx context.Context) error{
		"append":    func(ctx context.Context) error { _, err := c.OHLCV.Append(ctx, minutes, barsOf(0, 5)); return err },
		"latest":    func(ctx context.Context) error { _, err := c.OHLCV.Latest(ctx, minutes, 5); return err },
		"last":      func(ctx context.Context) error { _, err := c.OHLCV.Last(ctx, minutes); return err },
		"range":     func(ctx context.Context) error { _, err := c.OHLCV.Range(ctx, minutes, b0, b0); return err },
		"len":       func(ctx context.Context) error { _, err := c.OHLCV.Len(ctx, minutes); return err },
		"delete":    func(ctx context.Context) error { return c.OHLCV.Delete(ctx, minutes) },
		"series":    func(ctx context.Context) error { _, err := c.OHLCV.Series(ctx, "kraken"); return err },
		"exchanges": func(ctx context.Context) error { _, err := c.OHLCV.Exchanges(ctx); return err },
	} {
		if err := do(ctx); !errors.Is(err, fulloncache.ErrUnavailable) || errors.Is(err, fulloncache.ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var batch *fulloncache.BatchError
	bars := append(barsOf(0, 2), fulloncache.Bar{})
	if _, err := c.OHLCV.Append(ctx, minutes, bars); !errors.As(err, &batch) || !errors.Is(batch.Errs[1], fulloncache.ErrUnavailable) ||
		!errors.Is(batch.Errs[2], fulloncache.ErrInvalid) {
		t.Errorf("got %v", err)
	}
	c.Close()
	_, err = c.OHLCV.Last(ctx, minutes)
	wantErr(t, err, fulloncache.ErrClosed)
}
