package fulloncache_test

import (
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// barStream is a stream under test.
type barStream struct {
	*pulled[fulloncache.BarUpdate]
}

func followBars(t testing.TB, c *fulloncache.Client, series ...fulloncache.Series) barStream {
	return barStream{pull(t, func(ctx context.Context) iter.Seq2[fulloncache.BarUpdate, error] {
		return c.OHLCV.Stream(ctx, series...)
	})}
}

// want reads bars of a series.
func (f barStream) want(series fulloncache.Series, bars ...fulloncache.Bar) {
	f.t.Helper()
	for i, b := range bars {
		e := f.next()
		if e.err != nil || e.v.Deleted || e.v.Series != series || !e.v.Bar.Equal(b) || e.v.Rev == 0 {
			f.t.Fatalf("element %d: got %+v, %v; want %v of %v", i, e.v, e.err, b, series)
		}
	}
}

func (f barStream) wantDeleted(series fulloncache.Series) {
	f.t.Helper()
	if e := f.next(); e.err != nil || !e.v.Deleted || e.v.Series != series {
		f.t.Fatalf("got %+v, %v; want that %v is deleted", e.v, e.err, series)
	}
}

func TestBarStream(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		put := func(of fulloncache.Series, bars ...fulloncache.Bar) {
			s.Helper()
			_, err := c.OHLCV.Append(s.ctx, of, bars)
			must(s, err)
		}
		put(minutes, barsOf(0, 5)...)
		reader, seen := s.listen()
		hours := fulloncache.Series{Market: btc, Timeframe: "60m"} // as the caller spells it
		f := followBars(s, reader, minutes, minutes, hours)
		f.want(minutes, barOf(4, 0))
		s.connected(seen, 1)
		put(minutes, barOf(4, 1))
		f.want(minutes, barOf(4, 1))
		put(minutes, barOf(5, 0), barOf(6, 0), barOf(4, 1))
		f.want(minutes, barOf(5, 0), barOf(6, 0))
		put(minutes, barOf(6, 0)) // nothing changes
		put(minutes, barOf(1, 3))
		f.want(minutes, barOf(1, 3))
		put(hours, barOf(0, 0))
		f.want(hours, barOf(0, 0))
		// Who joins begins with the newest bar, whatever changed last.
		later := followBars(s, reader, minutes)
		later.want(minutes, barOf(6, 0))
		// More than a message takes come all the same.
		put(minutes, barsOf(7, 400)...)
		f.want(minutes, barsOf(7, 400)...)
		later.want(minutes, barsOf(7, 400)...)
		must(s, c.OHLCV.Delete(s.ctx, minutes))
		f.wantDeleted(minutes)
		later.wantDeleted(minutes)
		put(minutes, barsOf(0, 2)...)
		f.want(minutes, barsOf(0, 2)...)
		// A symbol that meets it in one channel is not followed with it.
		must(s, c.OHLCV.Delete(s.ctx, minutes))
		f.wantDeleted(minutes)
		twin := fulloncache.Series{Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTCUSD"}, Timeframe: "1m"}
		put(twin, barsOf(0, 2)...)
		must(s, c.OHLCV.Delete(s.ctx, twin))
		put(minutes, barOf(9, 0))
		f.want(minutes, barOf(9, 0))
		// What goes at once is no news, and bars that are dropped are none.
		_, err := c.OHLCV.Append(s.ctx, minutes, barsOf(7, 11), fulloncache.Keep(2))
		must(s, err)
		f.want(minutes, barOf(10, 0))
		put(minutes, barOf(3, 0))
		put(minutes, barOf(11, 0))
		f.want(minutes, barOf(11, 0))

		for _, bad := range [][]fulloncache.Series{nil, {{Market: btc, Timeframe: "1x"}}} {
			x := followBars(s, c, bad...)
			wantErr(s, x.next().err, fulloncache.ErrInvalid)
			x.wantEnd()
		}
		reader.Close()
		wantErr(s, f.next().err, fulloncache.ErrClosed)
		f.wantEnd()
		x := followBars(s, reader, minutes)
		wantErr(s, x.next().err, fulloncache.ErrClosed)
		x.wantEnd()
	})
}

// A consumer that is slower than the changes loses no bar: in the end it has seen each,
// as it is.
func TestBarStreamOfSlowConsumer(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		s.cfg.StreamBuffer = 2
		reader := s.open()
		const n = 60
		_, err := c.OHLCV.Append(s.ctx, minutes, barsOf(0, 1))
		must(s, err)
		got := make(map[time.Time]fulloncache.Bar)
		ctx, cancel := context.WithCancel(s.ctx)
		defer cancel()
		for u, err := range reader.OHLCV.Stream(ctx, minutes) {
			must(s, err)
			if len(got) == 0 { // meanwhile nobody listens
				for i := 1; i < n; i++ {
					_, err := c.OHLCV.Append(s.ctx, minutes, []fulloncache.Bar{barOf(i-1, 1), barOf(i, 0)})
					must(s, err)
				}
				_, err := c.OHLCV.Append(s.ctx, minutes, []fulloncache.Bar{barOf(n-1, 1), barOf(3, 2)})
				must(s, err)
			}
			got[u.Bar.Time] = u.Bar
			if u.Bar.Equal(barOf(n-1, 1)) {
				break
			}
		}
		for i := range n {
			want := barOf(i, 1)
			if i == 3 {
				want = barOf(3, 2)
			}
			if !got[want.Time].Equal(want) {
				s.Errorf("bar %d is %v, want %v", i, got[want.Time], want)
			}
		}
	})
}

// What a stream begins with, and changes that come before it is taken: none is lost.
func TestBarStreamConflatesWhatItBeginsWith(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		s.cfg.StreamBuffer = 1
		reader := s.open()
		hours := fulloncache.Series{Market: btc, Timeframe: "1h"}
		put := func(of fulloncache.Series, bars ...fulloncache.Bar) {
			s.Helper()
			_, err := c.OHLCV.Append(s.ctx, of, bars)
			must(s, err)
		}
		put(hours, barOf(0, 0))
		put(minutes, barsOf(0, 3)...)
		other := followBars(s, reader, minutes, hours) // what is followed is known at once
		seen := make(map[fulloncache.Series]bool)
		for range 2 {
			e := other.next()
			must(s, e.err)
			seen[e.v.Series] = true
		}
		if len(seen) != 2 {
			s.Fatalf("got %v", seen)
		}
		var got []fulloncache.Bar
		for u, err := range reader.OHLCV.Stream(s.ctx, hours, minutes) {
			if must(s, err); u.Series == hours {
				put(minutes, barOf(3, 0), barOf(4, 0))
				other.want(minutes, barOf(3, 0), barOf(4, 0))
				continue
			}
			if got = append(got, u.Bar); u.Bar.Equal(barOf(4, 0)) {
				break
			}
		}
		wantBars(s, got, nil, barsOf(2, 5))
	})
}

// A series that is gone without a word is found to be gone.
func TestBarStreamNoticesWhatIsCleared(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		s.cfg.FeedHeartbeat = 500 * time.Millisecond // in which the server has to answer, too
		s.append(c, minutes, barsOf(0, 3), fulloncache.Appended{Added: 3})
		f := followBars(s, s.open(), minutes)
		f.want(minutes, barOf(2, 0))
		_, err := c.Base.Clear(s.ctx)
		must(s, err)
		f.wantDeleted(minutes)
		s.append(c, minutes, barsOf(0, 2), fulloncache.Appended{Added: 2})
		f.want(minutes, barsOf(0, 2)...)
	})
}

// The server has forgotten what the stream would read once more: the newest bar is what
// the message of it tells.
func TestBarStreamOfForgottenBars(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		s.append(c, minutes, barsOf(0, 1), fulloncache.Appended{Added: 1})
		var got []fulloncache.Bar
		for u, err := range c.OHLCV.Stream(s.ctx, minutes) {
			must(s, err)
			if got = append(got, u.Bar); len(got) > 1 {
				break
			}
			// More than a message takes, and gone before the stream can look.
			s.append(c, minutes, barsOf(1, 400), fulloncache.Appended{Added: 399})
			s.do("DEL", s.key("ohlcv", "kraken", ":BTCUSD:1m"))
		}
		wantBars(s, got, nil, []fulloncache.Bar{barOf(0, 0), barOf(399, 0)})
	})
}

// Bars that may not be read are no bars: the stream says so.
func TestBarStreamThatMayNotBeRead(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	srv.Do(t, "ACL", "SETUSER", "blind", "on", ">secret", "~*", "&*", "+@all", "-lindex")
	_, err := open(t, fulloncache.Config{URL: srv.URL()}).OHLCV.Append(testenv.Context(t), minutes, barsOf(0, 3))
	must(t, err)
	blind := open(t, fulloncache.Config{URL: "redis://blind:secret@" + srv.Addr()})
	wantErr(t, followBars(t, blind, minutes).next().err, fulloncache.ErrUnavailable, "NOPERM")
}

// What is published and is no change of a series is an error of its own; so are an
// entry of the index and a newest bar that cannot be read.
func TestBarStreamCorrupt(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		list, index := s.key("ohlcv", "kraken", ":BTCUSD:1m"), s.key("ohlcv_series", "kraken", "")
		put := func(bars ...fulloncache.Bar) {
			s.Helper()
			_, err := c.OHLCV.Append(s.ctx, minutes, bars)
			must(s, err)
		}
		put(barsOf(0, 3)...)
		reader, seen := s.listen()
		f := followBars(s, reader, minutes)
		f.want(minutes, barOf(2, 0))
		s.connected(seen, 1)
		publish := "PUBLISH"
		if s.mode.name == "cluster" {
			publish = "SPUBLISH"
		}
		channel := "db0:" + list
		s.mode.admin(s, list).Do(s, publish, channel, "garbage")
		wantCorrupt(s, f.next().err, channel, "")
		put(barOf(3, 0))
		f.want(minutes, barOf(3, 0))

		// The series is there, though its newest bar is not one.
		s.do("RPUSH", list, "garbage")
		f = followBars(s, s.open(), minutes)
		wantCorrupt(s, f.next().err, list, "element -1, time")
		put(barOf(4, 0))
		f.want(minutes, barOf(4, 0))
		// And so is one among those that are read again.
		put(barOf(6, 0))
		f.want(minutes, barOf(6, 0))
		s.do("RPUSH", list, "garbage")
		put(barsOf(5, 300)...)
		wantCorrupt(s, f.next().err, list, "element 8, time")
		f.want(minutes, barsOf(5, 300)...)
		// A change before it says nothing of it.
		s.do("RPUSH", list, "no bar")
		put(barOf(298, 1))
		f.want(minutes, barOf(298, 1))

		s.do("HSET", index, "BTCUSD:1m", "garbage")
		wantCorrupt(s, followBars(s, s.open(), minutes).next().err, index, "BTCUSD:1m")
		s.do("DEL", list)
		s.do("SET", list, "x")
		s.do("HSET", index, "BTCUSD:1m", "1 - BTC/USD")
		wantCorrupt(s, followBars(s, s.open(), minutes).next().err, list, "")
		s.do("DEL", index)
		s.do("SET", index, "x")
		wantCorrupt(s, followBars(s, s.open(), minutes).next().err, index, "")
	})
}

// barFaults is a server, a proxy before it, a reader behind the proxy that follows, and
// a writer with a connection of its own.
type barFaults struct {
	*testing.T
	ctx            context.Context
	srv            *testenv.Server
	proxy          *testenv.Proxy
	seen           *events
	reader, writer *fulloncache.Client
	stream         barStream
}

func newBarFaults(t *testing.T) *barFaults {
	t.Helper()
	t.Parallel()
	f := &barFaults{T: t, ctx: testenv.Context(t), srv: testenv.NewRedis(t), seen: &events{}}
	f.proxy = testenv.NewProxy(t, f.srv.Addr())
	f.writer = open(t, fulloncache.Config{URL: f.srv.URL(), BreakerCooldown: 20 * time.Millisecond})
	f.reader = open(t, fulloncache.Config{
		URL: f.proxy.URL(), FeedHeartbeat: heartbeat, SocketTimeout: time.Second, BreakerCooldown: 20 * time.Millisecond,
		Hooks: []fulloncache.Hooks{f.seen.hook()},
	})
	f.put(barsOf(0, 3)...)
	f.stream = followBars(t, f.reader, minutes)
	f.stream.want(minutes, barOf(2, 0))
	f.put(barOf(3, 0))
	f.stream.want(minutes, barOf(3, 0))
	return f
}

// cut cuts the reader off, and waits until it knows.
func (f *barFaults) cut() {
	f.Helper()
	before := f.seen.count(fulloncache.EventFeedDisconnected)
	f.proxy.Cut()
	eventually(f, f.seen, fulloncache.EventFeedDisconnected, before+1)
}

// put appends bars, as soon as it can be.
func (f *barFaults) put(bars ...fulloncache.Bar) {
	f.Helper()
	testenv.Eventually(f, "append", func() (bool, string) {
		_, err := f.writer.OHLCV.Append(f.ctx, minutes, bars)
		return err == nil, ""
	})
}

// until reads the stream until a bar comes, and returns what came, by time.
func (f *barFaults) until(last fulloncache.Bar) (got map[time.Time]fulloncache.Bar, cuts, deleted int) {
	f.Helper()
	got = make(map[time.Time]fulloncache.Bar)
	for {
		switch e := f.stream.next(); {
		case errors.Is(e.err, fulloncache.ErrUnavailable):
			cuts++
		case e.err != nil:
			f.Fatal(e.err)
		case e.v.Deleted:
			deleted++
		default:
			got[e.v.Bar.Time] = e.v.Bar
			if e.v.Bar.Equal(last) {
				return got, cuts, deleted
			}
		}
	}
}

// Every bar that was appended while the stream was cut off comes once it is not.
func TestBarStreamFaultCutOff(t *testing.T) {
	f := newBarFaults(t)
	rounds := 1
	if testenv.Soak() {
		rounds = 20
	}
	for round := range rounds {
		n := 4 + round*150
		f.cut()
		f.put(barOf(n-1, 1)) // the bar under way changes in the gap
		f.put(barsOf(n, n+3)...)
		f.put(barsOf(n+3, n+149)...)
		f.proxy.Restore(t)
		f.put(barOf(n+149, 0))
		got, cuts, deleted := f.until(barOf(n+149, 0))
		if cuts == 0 || deleted != 0 {
			t.Errorf("%d disconnects were told, %d deletions", cuts, deleted)
		}
		if b := barOf(n-1, 1); !got[b.Time].Equal(b) {
			t.Errorf("bar %d is %v, want %v", n-1, got[b.Time], b)
		}
		for i := n; i < n+150; i++ {
			if b := barOf(i, 0); !got[b.Time].Equal(b) {
				t.Fatalf("round %d: bar %d is %v, want %v", round, i, got[b.Time], b)
			}
		}
		f.put(barOf(n+149, 2))
		f.stream.want(minutes, barOf(n+149, 2))
		f.put(barOf(n+149, 0))
		f.stream.want(minutes, barOf(n+149, 0))
	}
	// Of a series that is gone, all that is there afterwards is new.
	must(t, f.writer.OHLCV.Delete(f.ctx, minutes))
	f.stream.wantDeleted(minutes)
	f.cut()
	f.put(barsOf(0, 4)...)
	f.proxy.Restore(t)
	got, _, _ := f.until(barOf(3, 0))
	for _, b := range barsOf(0, 4) {
		if !got[b.Time].Equal(b) {
			t.Errorf("got %v, want %v", got[b.Time], b)
		}
	}
}

// Of a series that was empty when the stream began, bars that come while it is cut off
// are new, all of them.
func TestBarStreamFaultFirstBars(t *testing.T) {
	f := newBarFaults(t)
	hours := fulloncache.Series{Market: btc, Timeframe: "1h"}
	read := f.srv.Counts(t)["lindex"]
	stream := followBars(t, f.reader, minutes, hours)
	stream.want(minutes, barOf(3, 0))
	// Signs of life are asked for once the state is read.
	testenv.Eventually(t, "the state", func() (bool, string) { return f.srv.Counts(t)["lindex"] > read, "" })
	alive := f.srv.Counts(t)["get"]
	testenv.Eventually(t, "signs of life", func() (bool, string) { return f.srv.Counts(t)["get"] > alive+1, "" })

	f.cut()
	want := []fulloncache.Bar{barOf(0, 0), barOf(60, 0), barOf(120, 0)}
	for _, b := range want {
		_, err := f.writer.OHLCV.Append(f.ctx, hours, []fulloncache.Bar{b})
		must(t, err)
	}
	f.proxy.Restore(t)
	var got []fulloncache.Bar
	for len(got) < len(want) {
		e := stream.next()
		if e.err != nil {
			wantErr(t, e.err, fulloncache.ErrUnavailable)
		} else if e.v.Series == hours {
			got = append(got, e.v.Bar)
		}
	}
	wantBars(t, got, nil, want)
}

// The connection breaks when a stream is about to read what was too much for a
// message: it says so and tries again, until it can, its consumer stops, or its
// context ends.
func TestBarStreamFaultReadingAgain(t *testing.T) {
	for _, end := range []string{"restored", "stopped", "cancelled", "stopped at once"} {
		t.Run(end, func(t *testing.T) {
			f := newBarFaults(t)
			ctx, cancel := context.WithCancel(f.ctx)
			defer cancel()
			began, errs, got := false, 0, make(map[time.Time]fulloncache.Bar)
			for u, err := range f.reader.OHLCV.Stream(ctx, minutes) {
				switch {
				case !began:
					must(t, err)
					began = true
					if end != "stopped at once" {
						f.put(barsOf(4, 304)...)
						f.stream.want(minutes, barsOf(4, 304)...) // it was told, as all are
					}
					f.proxy.Cut()
					continue
				case err != nil:
					wantErr(t, err, fulloncache.ErrUnavailable)
					if errs++; errs == 2 {
						f.proxy.Restore(t)
					}
				default:
					got[u.Bar.Time] = u.Bar
				}
				if end == "cancelled" {
					cancel()
				} else if end != "restored" || len(got) == 300 {
					break
				}
			}
			if end != "restored" {
				if errs != 1 || len(got) != 0 {
					t.Errorf("%d errors, %d bars", errs, len(got))
				}
				return
			}
			for _, b := range barsOf(4, 304) {
				if !got[b.Time].Equal(b) {
					t.Errorf("got %v, want %v", got[b.Time], b)
				}
			}
		})
	}
}

// A server that comes back without data says so: the series is gone, and what is
// appended then comes.
func TestBarStreamFaultRestartedEmpty(t *testing.T) {
	f := newBarFaults(t)
	rounds := 1
	if testenv.Soak() {
		rounds = 5
	}
	for range rounds {
		before := f.seen.count(fulloncache.EventFeedDisconnected)
		f.srv.Kill()
		eventually(t, f.seen, fulloncache.EventFeedDisconnected, before+1)
		if _, err := f.writer.OHLCV.Last(f.ctx, minutes); !errors.Is(err, fulloncache.ErrUnavailable) {
			t.Errorf("a server that is down: %v", err)
		}
		f.srv.Restart(t)
		f.put(barOf(1, 0))
		got, cuts, _ := f.until(barOf(1, 0))
		if cuts == 0 || len(got) != 1 {
			t.Errorf("%d disconnects were told, %v", cuts, got)
		}
		f.put(barsOf(2, 5)...)
		f.until(barOf(4, 0))
		list, err := f.reader.OHLCV.Range(f.ctx, minutes, time.Time{}, time.Time{})
		wantBars(t, list, err, barsOf(1, 5))
		series, err := f.reader.OHLCV.Series(f.ctx, "kraken")
		if err != nil || len(series) != 1 {
			t.Errorf("%v (%v)", series, err)
		}
	}
}
