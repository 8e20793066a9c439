package fulloncache_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// mirror returns a mirror that is ready.
func mirror(t testing.TB, c *fulloncache.Client, exchanges ...string) *fulloncache.Mirror {
	t.Helper()
	ctx := testenv.Context(t)
	m, err := c.Ticks.Mirror(ctx, exchanges...)
	must(t, err)
	t.Cleanup(m.Close)
	must(t, m.Ready(ctx))
	return m
}

// shows waits until a mirror has exactly these ticks.
func shows(t testing.TB, m *fulloncache.Mirror, ticks ...fulloncache.Tick) {
	t.Helper()
	testenv.Eventually(t, "mirror", func() (bool, string) {
		var got []fulloncache.Tick
		for q := range m.All() {
			got = append(got, q.Tick())
		}
		ok := len(got) == len(ticks)
		for _, want := range ticks {
			ok = ok && slices.ContainsFunc(got, want.Equal)
		}
		return ok, fmt.Sprint(got)
	})
}

func TestMirror(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		other := fulloncache.Market{Exchange: "bitmex", Symbol: "BTC/USD"}
		must(s, c.Ticks.SetMany(s.ctx, []fulloncache.Tick{tickOf(btc, "1", 0), tickOf(eth, "2", 0), tickOf(other, "3", 0)}))
		m := mirror(s, s.open(), "kraken", "bitmex", "kraken")
		shows(s, m, tickOf(btc, "1", 0), tickOf(eth, "2", 0), tickOf(other, "3", 0))
		for range m.All() {
			break // a loop may end early
		}
		must(s, c.Ticks.Set(s.ctx, tickOf(btc, "4", 1)))
		must(s, c.Ticks.Delete(s.ctx, eth))
		shows(s, m, tickOf(btc, "4", 1), tickOf(other, "3", 0))

		q, err := m.Get(btc)
		must(s, err)
		if q.Tick().Received.IsZero() || !q.Tick().Equal(tickOf(btc, "4", 1)) || q.Market() != btc ||
			!q.Price().Equal(dec("4")) || q.Rev() < 1e15 || !q.Connected() {
			s.Fatalf("quote %+v", q)
		}
		if age := q.Age(); age < time.Minute || age > time.Hour {
			s.Fatalf("age %s", age)
		}
		if age := q.FeedAge(); age < 0 || age > time.Minute {
			s.Fatalf("feed age %s", age)
		}
		feed, err := m.Feed("kraken")
		must(s, err)
		if !feed.Connected || feed.Err != nil || time.Since(feed.Confirmed) > time.Minute || time.Since(feed.Heard) > time.Minute {
			s.Fatalf("feed %+v", feed)
		}

		_, err = m.Get(eth)
		wantErr(s, err, fulloncache.ErrNotFound, "kraken ETH/USD")
		_, err = m.Get(btc, fulloncache.MaxAge(time.Second))
		wantErr(s, err, fulloncache.ErrStale, "kraken BTC/USD")
		_, err = m.Get(btc, fulloncache.MaxAge(time.Second), fulloncache.FeedAlive(time.Minute))
		must(s, err)
		_, err = m.Get(btc, fulloncache.MaxAge(time.Hour))
		must(s, err)
		nowhere := fulloncache.Market{Exchange: "nowhere", Symbol: "BTC/USD"}
		_, err = m.Get(nowhere)
		wantErr(s, err, fulloncache.ErrInvalid, "nowhere")
		_, err = mirror(s, c, "kraken").Get(nowhere)
		wantErr(s, err, fulloncache.ErrInvalid, "nowhere")
		_, err = m.Feed("nowhere")
		wantErr(s, err, fulloncache.ErrInvalid, "nowhere")
		_, err = c.Ticks.Mirror(s.ctx)
		wantErr(s, err, fulloncache.ErrInvalid, "no exchange")
		_, err = c.Ticks.Mirror(s.ctx, "kraken", "")
		wantErr(s, err, fulloncache.ErrInvalid, "exchange is empty")
	})
}

// A feed that never gave a sign of life has no age.
func TestMirrorOfSilentFeed(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		var m *fulloncache.Mirror
		testenv.Eventually(s, "a tick without a sign of life", func() (bool, string) {
			must(s, c.Ticks.Set(s.ctx, tickOf(btc, "1", 0)))
			if s.mode.admin != nil {
				s.do("DEL", s.key("ticker_rev", "kraken", ":beat"))
			} else {
				_, err := c.Base.Clear(s.ctx)
				must(s, err)
				must(s, c.Ticks.Set(s.ctx, tickOf(btc, "1", 0))) // too soon for another one
			}
			m = mirror(s, c, "kraken")
			q, err := m.Get(btc)
			must(s, err)
			return q.FeedAge() < 0, q.FeedAge().String()
		})
		_, err := m.Get(btc, fulloncache.MaxAge(time.Second), fulloncache.FeedAlive(time.Hour))
		wantErr(s, err, fulloncache.ErrStale, "never gave a sign of life")
		must(s, c.Ticks.Beat(s.ctx, "kraken"))
		testenv.Eventually(s, "sign of life", func() (bool, string) {
			_, err := m.Get(btc, fulloncache.MaxAge(time.Second), fulloncache.FeedAlive(time.Hour))
			return err == nil, fmt.Sprint(err)
		})
	})
}

func TestMirrorAllocates(t *testing.T) {
	srv := testenv.Redis(t)
	c := open(t, fulloncache.Config{URL: srv.URL(), KeyPrefix: testenv.Prefix(t)})
	must(t, c.Ticks.Set(testenv.Context(t), tickOf(btc, "1", 0)))
	for _, exchanges := range [][]string{{"kraken"}, {"bitmex", "kraken"}} {
		m := mirror(t, c, exchanges...)
		for name, get := range map[string]func() (fulloncache.Quote, error){
			"no option": func() (fulloncache.Quote, error) { return m.Get(btc) },
			"MaxAge":    func() (fulloncache.Quote, error) { return m.Get(btc, fulloncache.MaxAge(time.Hour)) },
			"FeedAlive": func() (fulloncache.Quote, error) {
				return m.Get(btc, fulloncache.MaxAge(time.Second), fulloncache.FeedAlive(time.Hour))
			},
		} {
			n := testing.AllocsPerRun(1000, func() {
				q, err := get()
				if err != nil || q.Price().Sign() <= 0 || q.Age() == 0 || !q.Connected() || q.FeedAge() < 0 {
					t.Fatalf("%+v, %v", q, err)
				}
			})
			if n != 0 {
				t.Errorf("%s of %v: %v allocations", name, exchanges, n)
			}
		}
	}
}

func TestMirrorEnds(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Ticks.Set(s.ctx, tickOf(btc, "1", 0)))
		ctx, cancel := context.WithCancel(s.ctx)
		m, err := c.Ticks.Mirror(ctx, "kraken")
		must(s, err)
		must(s, m.Ready(ctx))
		keep := follow(s, c, btc) // the exchange stays connected
		keep.want(tickOf(btc, "1", 0))
		cancel()
		testenv.Eventually(s, "the end", func() (bool, string) {
			f, err := m.Feed("kraken")
			must(s, err)
			return !f.Connected && isCut(f.Err), fmt.Sprintf("%+v", f)
		})
		q, err := m.Get(btc) // what was read last stays readable
		must(s, err)
		if q.Connected() {
			s.Fatal("connected")
		}
		_, err = m.Get(eth)
		wantErr(s, err, fulloncache.ErrUnavailable)
		m.Close()
		m.Close()

		closing := s.open()
		m = mirror(s, closing, "kraken")
		closing.Close()
		if f, err := m.Feed("kraken"); err != nil || f.Connected || !errors.Is(f.Err, fulloncache.ErrClosed) {
			s.Fatalf("feed %+v, %v", f, err)
		}
		if _, err := m.Get(btc); err != nil {
			s.Fatal(err)
		}
		_, err = m.Get(eth)
		wantErr(s, err, fulloncache.ErrClosed)
		m.Close()
	})
}

// Ready waits while there is nothing to be ready with; what is unknown is not
// absent.
func TestMirrorWithoutServer(t *testing.T) {
	t.Parallel()
	srv, ctx := testenv.NewRedis(t), testenv.Context(t)
	proxy := testenv.NewProxy(t, srv.Addr())
	c := open(t, fulloncache.Config{URL: proxy.URL(), FeedHeartbeat: 100 * time.Millisecond})
	must(t, c.Ticks.Set(ctx, tickOf(btc, "1", 0)))
	proxy.Cut()
	m, err := c.Ticks.Mirror(ctx, "kraken")
	must(t, err)
	defer m.Close()
	_, err = m.Get(btc)
	wantErr(t, err, fulloncache.ErrUnavailable, "kraken BTC/USD")
	if errors.Is(err, fulloncache.ErrNotFound) {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	wantErr(t, m.Ready(short), context.DeadlineExceeded)
	f, err := m.Feed("kraken")
	must(t, err)
	if f.Connected || !isCut(f.Err) || !f.Confirmed.IsZero() || !f.Heard.IsZero() {
		t.Fatalf("feed %+v", f)
	}
	proxy.Restore(t)
	must(t, m.Ready(ctx))
	shows(t, m, tickOf(btc, "1", 0))
}

// Many read while a feed writes and the connection breaks.
func TestMirrorManyReaders(t *testing.T) {
	t.Parallel()
	srv, ctx := testenv.NewRedis(t), testenv.Context(t)
	cfg := fulloncache.Config{URL: srv.URL(), FeedHeartbeat: 100 * time.Millisecond, BreakerCooldown: 20 * time.Millisecond}
	c, writer := open(t, cfg), open(t, cfg)
	must(t, writer.Ticks.Set(ctx, tickOf(btc, "1", 0)))
	m := mirror(t, c, "kraken")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			last := int64(0)
			for {
				select {
				case <-stop:
					return
				default:
				}
				q, err := m.Get(btc)
				if err != nil {
					t.Error(err)
					return
				}
				if q.Rev() < last || q.Tick().Market != btc || !q.Tick().Time.Equal(at(int(q.Price().Float64()))) && q.Price().Float64() > 1 {
					t.Errorf("torn or older: %+v after %d", q.Tick(), last)
					return
				}
				last = q.Rev()
				for range m.All() {
				}
			}
		})
	}
	for i := 2; i < 500; i++ {
		if i%100 == 0 {
			srv.KillClients(t, "pubsub")
		}
		must(t, writer.Ticks.Set(ctx, tickOf(btc, fmt.Sprint(i), i)))
	}
	shows(t, m, tickOf(btc, "499", 499))
	close(stop)
	wg.Wait()
}

// Clear, DeleteExchange and an operator's FLUSHALL under a running feed: what it
// writes afterwards is everywhere, what it does not write is nowhere.
func TestDeletionUnderARunningFeed(t *testing.T) {
	ltc := fulloncache.Market{Exchange: "kraken", Symbol: "LTC/USD"}
	for name, wipe := range map[string]func(s *suite, c *fulloncache.Client){
		"Clear": func(s *suite, c *fulloncache.Client) {
			n, err := c.Base.Clear(s.ctx)
			must(s, err)
			if n == 0 {
				s.Error("nothing was cleared")
			}
		},
		"DeleteExchange": func(s *suite, c *fulloncache.Client) {
			n, err := c.Ticks.DeleteExchange(s.ctx, "kraken")
			must(s, err)
			if n == 0 {
				s.Error("nothing was deleted")
			}
		},
		"FLUSHALL": func(s *suite, _ *fulloncache.Client) {
			if s.mode.admin == nil { // in process: nobody else can reach it
				must(s, errors.Join(flushInProcess(s)))
				return
			}
			flushPrefix(s)
		},
	} {
		t.Run(name, func(t *testing.T) {
			everyMode(t, func(s *suite) {
				s.cfg.FeedHeartbeat = 100 * time.Millisecond
				c, writer := s.open(), s.open()
				must(s, writer.Ticks.SetMany(s.ctx, []fulloncache.Tick{tickOf(btc, "1", 0), tickOf(eth, "1", 0), tickOf(ltc, "1", 0)}))
				m := mirror(s, c, "kraken")
				stream := followExchange(s, c, "kraken")
				model := newModel(stream)
				feeding, stop := context.WithCancel(s.ctx)
				var wg sync.WaitGroup
				defer wg.Wait()
				defer stop()
				var n int
				wg.Go(func() {
					for i := 1; feeding.Err() == nil; i++ {
						for _, market := range []fulloncache.Market{btc, eth} { // ltc has no news
							if err := writer.Ticks.Set(s.ctx, tickOf(market, fmt.Sprint(i), i)); err != nil {
								s.Error(err)
							}
						}
						n = i
					}
				})
				shows := func(m fulloncache.Market) bool { return model.has(m) }
				testenv.Eventually(s, "all three", func() (bool, string) {
					return shows(btc) && shows(eth) && shows(ltc), model.String()
				})
				wipe(s, c)
				wiped := time.Now()
				testenv.Eventually(s, "healed", func() (bool, string) {
					var symbols []string
					for q := range m.All() {
						symbols = append(symbols, q.Market().Symbol)
					}
					slices.Sort(symbols)
					var listed []string
					for tick, err := range c.Ticks.List(s.ctx, "kraken") {
						must(s, err)
						listed = append(listed, tick.Symbol)
					}
					exchanges, err := c.Ticks.Exchanges(s.ctx)
					must(s, err)
					ok := strings.Join(symbols, " ") == "BTC/USD ETH/USD" && slices.Equal(listed, symbols) &&
						slices.Equal(exchanges, []string{"kraken"}) && !shows(ltc) && shows(btc) && shows(eth)
					return ok, fmt.Sprint(symbols, listed, exchanges, model)
				})
				if took := time.Since(wiped); took > 4*time.Second { // 2 s, and a slow machine's
					s.Errorf("healed after %s", took)
				}
				stop()
				wg.Wait()
				last := []fulloncache.Tick{tickOf(btc, fmt.Sprint(n), n), tickOf(eth, fmt.Sprint(n), n)}
				model.agrees(s, last...)
			})
		})
	}
}

// flushPrefix removes the suite's keys behind the library's back, on every node,
// as FLUSHALL would: the server is shared with other tests.
func flushPrefix(s *suite) {
	s.Helper()
	nodes := []*testenv.Server{testenv.Redis(s)}
	if s.mode.name == "cluster" {
		nodes = testenv.SharedCluster(s).Nodes
	}
	// In one step: with its keys one after the other, an update in between would make
	// followers read what is then deleted without a word.
	const wipe = "for _, key in ipairs(redis.call('KEYS', ARGV[1])) do redis.call('DEL', key) end"
	for _, n := range nodes {
		n.Do(s, "EVAL", wipe, "0", s.cfg.KeyPrefix+":*")
	}
}

func flushInProcess(s *suite) error {
	_, err := s.open().Base.Clear(s.ctx)
	return err
}

// model is what a consumer makes of a stream.
type model struct {
	mu    sync.Mutex
	ticks map[fulloncache.Market]fulloncache.Tick
	revs  map[string]int64 // by exchange
	cuts  int              // error elements
	bad   []string
}

// newModel follows a stream until it ends.
func newModel(u *updates) *model {
	m := &model{ticks: make(map[fulloncache.Market]fulloncache.Tick), revs: make(map[string]int64)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for x := range u.ch {
			m.add(x)
		}
	}()
	u.t.Cleanup(func() { u.cancel(); <-done })
	return m
}

func (m *model) add(x fulloncache.UpdateOrErr) {
	m.mu.Lock()
	defer m.mu.Unlock()
	market := x.Update.Tick.Market
	switch {
	case isCut(x.Err):
		m.cuts++
	case x.Err != nil:
		m.bad = append(m.bad, x.Err.Error())
	case x.Update.Deleted:
		delete(m.ticks, market)
	default:
		if before, ok := m.ticks[market]; ok && x.Update.Tick.Time.Before(before.Time) {
			m.bad = append(m.bad, fmt.Sprintf("%v after %v", x.Update.Tick, before))
		}
		m.ticks[market] = x.Update.Tick
	}
}

func (m *model) has(market fulloncache.Market) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.ticks[market]
	return ok
}

func (m *model) errors() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cuts
}

func (m *model) String() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return fmt.Sprint(m.ticks, m.cuts, m.bad)
}

// agrees waits until the model is exactly these ticks.
func (m *model) agrees(t testing.TB, ticks ...fulloncache.Tick) {
	t.Helper()
	testenv.Eventually(t, "stream", func() (bool, string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		ok := len(m.ticks) == len(ticks) && len(m.bad) == 0
		for _, want := range ticks {
			got, has := m.ticks[want.Market]
			ok = ok && has && got.Equal(want)
		}
		return ok, fmt.Sprint(m.ticks, m.bad)
	})
}

// A mirror that is ready is connected.
func TestMirrorReadyIsConnected(t *testing.T) {
	t.Parallel()
	srv, ctx := testenv.Redis(t), testenv.Context(t)
	c := open(t, fulloncache.Config{URL: srv.URL(), KeyPrefix: testenv.Prefix(t)})
	for i := range 200 {
		m, err := c.Ticks.Mirror(ctx, fmt.Sprint("x", i))
		must(t, err)
		must(t, m.Ready(ctx))
		f, err := m.Feed(fmt.Sprint("x", i))
		must(t, err)
		if !f.Connected || f.Err != nil {
			t.Fatalf("round %d: %+v", i, f)
		}
		m.Close()
	}
}
