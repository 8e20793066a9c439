package fulloncache_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// updates is a stream under test: it reads with a deadline.
type updates struct {
	t      testing.TB
	ch     <-chan fulloncache.UpdateOrErr
	cancel context.CancelFunc
}

func follow(t testing.TB, c *fulloncache.Client, markets ...fulloncache.Market) *updates {
	ctx, cancel := context.WithCancel(testenv.Context(t))
	t.Cleanup(cancel)
	return &updates{t, c.Ticks.Subscribe(ctx, markets...), cancel}
}

func followExchange(t testing.TB, c *fulloncache.Client, exchange string) *updates {
	ctx, cancel := context.WithCancel(testenv.Context(t))
	t.Cleanup(cancel)
	return &updates{t, c.Ticks.SubscribeExchange(ctx, exchange), cancel}
}

func (u *updates) next() fulloncache.UpdateOrErr {
	u.t.Helper()
	deadline := time.NewTimer(testenv.Patience)
	defer deadline.Stop()
	select {
	case x, ok := <-u.ch:
		if !ok {
			u.t.Fatal("the stream ended")
		}
		return x
	case <-deadline.C:
		u.t.Fatal("no update")
		panic("unreachable")
	}
}

// want reads the next update, which must be the tick.
func (u *updates) want(tick fulloncache.Tick) fulloncache.Update {
	u.t.Helper()
	x := u.next()
	wantTick(u.t, x.Update.Tick, x.Err, tick)
	if x.Update.Deleted {
		u.t.Fatalf("deleted: %+v", x.Update)
	}
	return x.Update
}

func (u *updates) wantDeleted(m fulloncache.Market) fulloncache.Update {
	u.t.Helper()
	x := u.next()
	wantTick(u.t, x.Update.Tick, x.Err, fulloncache.Tick{Market: m})
	if !x.Update.Deleted {
		u.t.Fatalf("not deleted: %+v", x.Update)
	}
	return x.Update
}

// wantEnd reads the end of the stream.
func (u *updates) wantEnd() {
	u.t.Helper()
	deadline := time.NewTimer(testenv.Patience)
	defer deadline.Stop()
	select {
	case x, ok := <-u.ch:
		if ok {
			u.t.Fatalf("the stream goes on: %+v", x)
		}
	case <-deadline.C:
		u.t.Fatal("the stream does not end")
	}
}

func TestStreamCurrentFirst(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		ltc := fulloncache.Market{Exchange: "kraken", Symbol: "LTC/USD"}
		other := fulloncache.Market{Exchange: "bitmex", Symbol: "BTC/USD"}
		must(s, c.Ticks.SetMany(s.ctx, []fulloncache.Tick{tickOf(ltc, "1", 0), tickOf(eth, "2", 0), tickOf(other, "3", 0), tickOf(btc, "4", 0)}))
		reader := s.open()
		one, all := follow(s, reader, btc, other), followExchange(s, reader, "kraken")
		all.want(tickOf(ltc, "1", 0))
		all.want(tickOf(eth, "2", 0))
		rev := all.want(tickOf(btc, "4", 0)).Rev
		first := map[fulloncache.Market]string{}
		for range 2 { // two exchanges are in no order
			x := one.next()
			must(s, x.Err)
			first[x.Update.Tick.Market] = x.Update.Tick.Price.String()
			if x.Update.Tick.Market == btc && x.Update.Rev != rev {
				s.Errorf("revisions %d and %d of one tick", x.Update.Rev, rev)
			}
		}
		if first[btc] != "4" || first[other] != "3" {
			s.Fatalf("current state: %v", first)
		}
		for i := 1; i < 50; i++ {
			must(s, c.Ticks.Set(s.ctx, tickOf(btc, fmt.Sprint(i), i)))
			u := all.want(tickOf(btc, fmt.Sprint(i), i))
			if u.Rev <= rev || u.Conflated != 0 || u.Tick.Received.IsZero() {
				s.Fatalf("update %+v after revision %d", u, rev)
			}
			rev = u.Rev
			one.want(u.Tick)
		}
		must(s, c.Ticks.Set(s.ctx, tickOf(ltc, "9", 1))) // nobody asked one for it
		must(s, c.Ticks.Delete(s.ctx, btc))
		must(s, c.Ticks.Set(s.ctx, tickOf(btc, "7", 0)))
		all.want(tickOf(ltc, "9", 1))
		for _, u := range []*updates{all, one} {
			gone := u.wantDeleted(btc)
			back := u.want(tickOf(btc, "7", 0))
			if gone.Rev <= rev || back.Rev <= gone.Rev {
				s.Errorf("revisions %d, %d, %d", rev, gone.Rev, back.Rev)
			}
			u.cancel()
			u.wantEnd()
		}
	})
}

// The first update of an exchange announces its counter and is not told twice.
func TestStreamOfNewExchange(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		all, one := followExchange(s, c, "kraken"), follow(s, c, btc)
		mirror, err := c.Ticks.Mirror(s.ctx, "kraken")
		must(s, err)
		defer mirror.Close()
		must(s, mirror.Ready(s.ctx))
		for i := range 20 {
			must(s, c.Ticks.Set(s.ctx, tickOf(btc, fmt.Sprint(i+1), i)))
		}
		for _, u := range []*updates{all, one} {
			last := int64(0)
			for i := range 20 {
				x := u.next()
				must(s, x.Err)
				if x.Update.Rev <= last {
					s.Fatalf("update %d is told twice: %+v", i, x.Update)
				}
				if last = x.Update.Rev; x.Update.Tick.Equal(tickOf(btc, "20", 19)) {
					break
				}
			}
		}
		must(s, c.Ticks.Set(s.ctx, tickOf(btc, "100", 100)))
		all.want(tickOf(btc, "100", 100))
		one.want(tickOf(btc, "100", 100))
	})
}

func TestStreamInvalid(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		for name, stream := range map[string]func(func(fulloncache.Update, error) bool){
			"no market":         c.Ticks.Stream(s.ctx),
			"symbol is empty":   c.Ticks.Stream(s.ctx, btc, fulloncache.Market{Exchange: "kraken"}),
			"exchange is empty": c.Ticks.StreamExchange(s.ctx, ""),
		} {
			n := 0
			for u, err := range stream {
				wantErr(s, err, fulloncache.ErrInvalid, name)
				if u != (fulloncache.Update{}) {
					s.Errorf("%s: %+v", name, u)
				}
				n++
			}
			if n != 1 {
				s.Errorf("%s: %d elements", name, n)
			}
		}
		bad := c.Ticks.Subscribe(s.ctx)
		wantErr(s, (<-bad).Err, fulloncache.ErrInvalid)
		if _, open := <-bad; open {
			s.Fatal("the channel stays open")
		}
	})
}

func TestStreamEnds(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Ticks.Set(s.ctx, tickOf(btc, "1", 0)))
		ctx, cancel := context.WithCancel(s.ctx)
		n := 0
		for _, err := range c.Ticks.Stream(ctx, btc) {
			must(s, err)
			n++
			// Much is waiting when the context ends: nothing of it is delivered.
			for i := range 10 {
				must(s, c.Ticks.Set(s.ctx, tickOf(btc, "2", i)))
			}
			got, err := c.Ticks.Get(s.ctx, btc)
			wantTick(s, got, err, tickOf(btc, "2", 9))
			cancel()
		}
		if n != 1 {
			s.Fatalf("%d elements", n)
		}
		for range c.Ticks.Stream(s.ctx, btc) {
			break // a loop may end early
		}
		// A channel that nobody reads ends with its context too.
		ctx, cancel = context.WithCancel(s.ctx)
		unread := c.Ticks.Subscribe(ctx, btc)
		cancel()
		testenv.Eventually(s, "closed", func() (bool, string) {
			_, open := <-unread
			return !open, "open"
		})

		closing := s.open()
		waiting := follow(s, closing, btc)
		waiting.want(tickOf(btc, "2", 9))
		closing.Close()
		wantErr(s, waiting.next().Err, fulloncache.ErrClosed)
		waiting.wantEnd()
		late := follow(s, closing, btc)
		wantErr(s, late.next().Err, fulloncache.ErrClosed)
		late.wantEnd()
		_, err := closing.Ticks.Mirror(s.ctx, "kraken")
		wantErr(s, err, fulloncache.ErrClosed)
		_, err = closing.Ticks.Next(s.ctx, btc)
		wantErr(s, err, fulloncache.ErrClosed)
	})
}

// A slow consumer gets the newest of each market, and learns how many it missed.
func TestStreamConflates(t *testing.T) {
	everyMode(t, func(s *suite) {
		s.cfg.StreamBuffer = 4
		c := s.open()
		const n = 100
		must(s, c.Ticks.SetMany(s.ctx, []fulloncache.Tick{tickOf(btc, "1", 0), tickOf(eth, "1", 0)}))
		ctx, cancel := context.WithCancel(s.ctx)
		defer cancel()
		counts, last := map[fulloncache.Market]int{}, map[fulloncache.Market]fulloncache.Tick{}
		for u, err := range c.Ticks.StreamExchange(ctx, "kraken") {
			must(s, err)
			m := u.Tick.Market
			if counts[m] += 1 + u.Conflated; u.Tick.Time.Before(last[m].Time) {
				s.Fatalf("went back: %+v after %+v", u, last[m])
			}
			last[m] = u.Tick
			if len(last) == 1 && counts[m] == 1 { // stop reading, until all has arrived
				witness := follow(s, c, btc)
				witness.want(tickOf(btc, "1", 0))
				for i := 1; i <= n; i++ {
					must(s, c.Ticks.SetMany(s.ctx, []fulloncache.Tick{tickOf(eth, fmt.Sprint(i+1), i), tickOf(btc, fmt.Sprint(i+1), i)}))
				}
				for {
					if x := witness.next(); x.Update.Tick.Equal(tickOf(btc, fmt.Sprint(n+1), n)) {
						break
					}
				}
				witness.cancel()
			}
			if counts[btc] == n+1 && counts[eth] == n+1 {
				break
			}
		}
		for _, m := range []fulloncache.Market{btc, eth} {
			wantTick(s, last[m], nil, tickOf(m, fmt.Sprint(n+1), n))
		}
	})
}

// A subscriber that stops reading holds nobody up.
func TestStreamOfOneWhoStopsReading(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		idle := follow(s, c, btc)
		busy := follow(s, c, btc)
		const n = 3000
		for i := range n {
			must(s, c.Ticks.Set(s.ctx, tickOf(btc, fmt.Sprint(i+1), i)))
		}
		for {
			x := busy.next()
			must(s, x.Err)
			if x.Update.Tick.Equal(tickOf(btc, fmt.Sprint(n), n-1)) {
				break
			}
		}
		total := 0
		for total < n {
			x := idle.next()
			must(s, x.Err)
			total += 1 + x.Update.Conflated
			if x.Update.Tick.Equal(tickOf(btc, fmt.Sprint(n), n-1)) {
				break
			}
		}
		if total > n {
			s.Fatalf("%d updates of %d", total, n)
		}
	})
}

// P1: a subscription dies after silence of the socket timeout.
func TestStreamSurvivesSilenceP1(t *testing.T) {
	t.Parallel()
	cfg := fulloncache.Config{
		URL: testenv.Redis(t).URL(), KeyPrefix: testenv.Prefix(t),
		SocketTimeout: 100 * time.Millisecond, FeedHeartbeat: 100 * time.Millisecond,
	}
	ev := &events{}
	cfg.Hooks = append(cfg.Hooks, ev.hook())
	c, writer := open(t, cfg), open(t, fulloncache.Config{URL: cfg.URL, KeyPrefix: cfg.KeyPrefix})
	ctx := testenv.Context(t)
	mirror, err := c.Ticks.Mirror(ctx, "kraken")
	must(t, err)
	defer mirror.Close()
	must(t, mirror.Ready(ctx))
	s := follow(t, c, btc)
	quiet := time.Now()
	testenv.Eventually(t, "the server's word after the silence", func() (bool, string) {
		f, err := mirror.Feed("kraken")
		must(t, err)
		return f.Confirmed.After(quiet.Add(500 * time.Millisecond)), f.Confirmed.String()
	})
	must(t, writer.Ticks.Set(ctx, tickOf(btc, "1", 0)))
	s.want(tickOf(btc, "1", 0))
	if n := ev.count(fulloncache.EventFeedDisconnected); n != 0 {
		t.Fatalf("%d disconnects in silence", n)
	}
}

// The ticks of a second database on the same server never arrive.
func TestStreamOfAnotherDatabase(t *testing.T) {
	t.Parallel()
	srv, ctx, prefix := testenv.NewRedis(t), testenv.Context(t), testenv.Prefix(t)
	c0 := open(t, fulloncache.Config{URL: srv.URL(), KeyPrefix: prefix})
	c1 := open(t, fulloncache.Config{URL: srv.URL() + "/1", KeyPrefix: prefix})
	s, all := follow(t, c0, btc), followExchange(t, c0, "kraken")
	other := follow(t, c1, btc)
	for i := range 100 {
		must(t, c1.Ticks.Set(ctx, tickOf(btc, "2", i)))
	}
	for range 100 {
		x := other.next()
		must(t, x.Err)
		if x.Update.Tick.Equal(tickOf(btc, "2", 99)) {
			break
		}
	}
	must(t, c0.Ticks.Set(ctx, tickOf(btc, "1", 0)))
	s.want(tickOf(btc, "1", 0))
	all.want(tickOf(btc, "1", 0))
}

// However many follow an exchange, it takes one connection.
func TestStreamsShareAConnection(t *testing.T) {
	t.Parallel()
	srv, ctx := testenv.NewRedis(t), testenv.Context(t)
	c := open(t, fulloncache.Config{URL: srv.URL()})
	must(t, c.Ticks.Set(ctx, tickOf(btc, "1", 0)))
	var wg sync.WaitGroup
	for range 100 {
		s, all := follow(t, c, btc), followExchange(t, c, "kraken")
		wg.Go(func() {
			s.want(tickOf(btc, "1", 0))
			all.want(tickOf(btc, "1", 0))
		})
	}
	wg.Wait()
	list, err := srv.Do(t, "CLIENT", "LIST", "TYPE", "pubsub").ToString()
	must(t, err)
	if n := strings.Count(list, "\n"); n != 1 {
		t.Fatalf("%d connections:\n%s", n, list)
	}
}

// P12: waiting for the next ticker returns the old one, or waits for ever.
func TestNextP12(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Ticks.Set(s.ctx, tickOf(btc, "1", 0)))
		short, cancel := context.WithTimeout(s.ctx, 50*time.Millisecond)
		defer cancel()
		_, err := c.Ticks.Next(short, btc)
		wantErr(s, err, context.DeadlineExceeded, "kraken BTC/USD")
		_, err = c.Ticks.Next(s.ctx, fulloncache.Market{})
		wantErr(s, err, fulloncache.ErrInvalid)

		ended, cancel := context.WithCancel(s.ctx)
		cancel()
		_, err = c.Ticks.Next(ended, btc)
		wantErr(s, err, context.Canceled)

		// Deletions and other markets are no tick of it; twins meet in the channel.
		keep := follow(s, c, btc)
		keep.want(tickOf(btc, "1", 0))
		got := make(chan fulloncache.Tick, 1)
		calling := make(chan struct{})
		go func() {
			close(calling)
			tick, err := c.Ticks.Next(s.ctx, btc)
			if err != nil {
				s.Error(err)
			}
			got <- tick
		}()
		<-calling
		for i := 1; ; i++ {
			must(s, c.Ticks.Set(s.ctx, tickOf(eth, "5", i)))
			must(s, c.Ticks.Delete(s.ctx, btc))
			must(s, c.Ticks.Set(s.ctx, tickOf(btc, "2", i)))
			select {
			case tick := <-got:
				if !tick.Price.Equal(dec("2")) || tick.Market != btc {
					s.Fatalf("got %v", tick)
				}
				return
			default:
			}
		}
	})
}

// A tick published while Next is subscribing is not missed: each caller sees one
// of a revision after its call, however both interleave.
func TestNextMissesNothing(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		writer := s.open()
		rounds := 150
		if s.mode.name != "standalone" {
			rounds = 30
		}
		for i := range rounds {
			m := fulloncache.Market{Exchange: fmt.Sprint("x", i%7), Symbol: "BTC/USD"}
			must(s, writer.Ticks.Set(s.ctx, tickOf(m, "1", i)))
			type result struct {
				tick fulloncache.Tick
				err  error
			}
			results := make(chan result, 3)
			for range 3 {
				go func() {
					tick, err := c.Ticks.Next(s.ctx, m)
					results <- result{tick, err}
				}()
			}
			for left, n := 3, 0; left > 0; {
				select {
				case r := <-results:
					must(s, r.err)
					if r.tick.Price.Equal(dec("1")) && n > 0 && r.tick.Time.Equal(at(i)) && r.tick.Received.IsZero() {
						s.Fatalf("the old one: %v", r.tick)
					}
					left--
				default:
					n++
					must(s, writer.Ticks.Set(s.ctx, tickOf(m, "2", i)))
				}
			}
		}
	})
}

// Next that was called before one single tick returns it.
func TestNextSingleTick(t *testing.T) {
	t.Parallel()
	cfg := fulloncache.Config{URL: testenv.Redis(t).URL(), KeyPrefix: testenv.Prefix(t)}
	asked := make(chan struct{}, 1)
	ctx := testenv.Context(t)
	c, writer := open(t, cfg), open(t, cfg)
	for i := range 100 {
		must(t, writer.Ticks.Set(ctx, tickOf(btc, "1", 2*i)))
		got := make(chan error, 1)
		go func() {
			asked <- struct{}{}
			short, cancel := context.WithTimeout(ctx, testenv.Patience)
			defer cancel()
			tick, err := c.Ticks.Next(short, btc)
			if err == nil && !tick.Equal(tickOf(btc, "2", 2*i+1)) {
				err = fmt.Errorf("the old one: %v", tick)
			}
			got <- err
		}()
		<-asked
		// The server has served Next's question for the revision once it served more
		// commands than ours, or Next is subscribed.
		testenv.Eventually(t, "question", func() (bool, string) {
			n := subscribers(t, testenv.Redis(t), "db0:"+cfg.KeyPrefix+":tickers:kraken:BTCUSD")
			return n > 0, fmt.Sprint(n)
		})
		must(t, writer.Ticks.Set(ctx, tickOf(btc, "2", 2*i+1)))
		must(t, <-got)
		testenv.Eventually(t, "the end", func() (bool, string) {
			n := subscribers(t, testenv.Redis(t), "db0:"+cfg.KeyPrefix+":tickers:kraken:BTCUSD")
			return n == 0, fmt.Sprint(n)
		})
	}
}

func TestNextSurvivesReconnect(t *testing.T) {
	t.Parallel()
	srv, ctx := testenv.NewRedis(t), testenv.Context(t)
	proxy := testenv.NewProxy(t, srv.Addr())
	ev := &events{}
	c := open(t, fulloncache.Config{URL: proxy.URL(), FeedHeartbeat: 100 * time.Millisecond, Hooks: []fulloncache.Hooks{ev.hook()}})
	writer := open(t, fulloncache.Config{URL: srv.URL()})
	must(t, writer.Ticks.Set(ctx, tickOf(btc, "1", 0)))
	got := make(chan error, 1)
	go func() {
		tick, err := c.Ticks.Next(ctx, btc)
		if err == nil && !tick.Equal(tickOf(btc, "2", 1)) {
			err = fmt.Errorf("got %v", tick)
		}
		got <- err
	}()
	eventually(t, ev, fulloncache.EventFeedConnected, 1)
	proxy.Cut()
	eventually(t, ev, fulloncache.EventFeedDisconnected, 1)
	must(t, writer.Ticks.Set(ctx, tickOf(btc, "2", 1))) // in the gap
	proxy.Restore(t)
	must(t, <-got)

	// And with Redis gone the question itself cannot be asked.
	proxy.Cut()
	_, err := c.Ticks.Next(ctx, btc)
	wantErr(t, err, fulloncache.ErrUnavailable)
}

func eventually(t testing.TB, ev *events, kind fulloncache.EventKind, n int) {
	t.Helper()
	testenv.Eventually(t, kind.String(), func() (bool, string) {
		got := ev.count(kind)
		return got >= n, fmt.Sprint(got)
	})
}

func isCut(err error) bool { return errors.Is(err, fulloncache.ErrUnavailable) }

// Markets named twice, or that meet in one channel, are told once.
func TestStreamNamesAMarketTwice(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		twin := fulloncache.Market{Exchange: "kraken", Symbol: "BTCUSD"}
		must(s, c.Ticks.Set(s.ctx, tickOf(btc, "1", 0)))
		witness := follow(s, c, btc) // the state is known already
		witness.want(tickOf(btc, "1", 0))
		twice := follow(s, c, btc, twin, btc)
		twice.want(tickOf(btc, "1", 0))
		must(s, c.Ticks.Set(s.ctx, tickOf(btc, "2", 1)))
		twice.want(tickOf(btc, "2", 1))
		must(s, c.Ticks.Set(s.ctx, tickOf(btc, "3", 2)))
		twice.want(tickOf(btc, "3", 2))
	})
}
