package fulloncache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// drainer is what a process that stores trades is told.
type drainer struct {
	URL, Prefix string
	Journal     string // the server that keeps what was stored
	// Crash is the batch with which it dies, counted from 1: before it is stored,
	// or after it was stored and before it is acknowledged. 0: it does not.
	Crash  int
	Stored bool
}

const drainerVariable = "FULLON_CACHE_TEST_DRAINER"

// run stores batches in the journal until the process is killed.
func (d drainer) run() error {
	ctx := context.Background()
	opt, err := rueidis.ParseURL(d.Journal)
	if err != nil {
		return err
	}
	opt.ForceSingleClient, opt.DisableCache = true, true
	journal, err := rueidis.NewClient(opt)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer journal.Close()
	c, err := fulloncache.New(ctx, fulloncache.Config{URL: d.URL, KeyPrefix: d.Prefix, Logger: quiet, TradesBatchTimeout: 300 * time.Millisecond})
	if err != nil {
		return err
	}
	defer c.Close()
	die := func() { _ = syscall.Kill(os.Getpid(), syscall.SIGKILL) }
	for number := 0; ; {
		batch, err := c.Trades.Drain(ctx, btc, 10)
		if err != nil {
			return err
		}
		if len(batch.Trades) == 0 {
			continue
		}
		if number++; number == d.Crash && !d.Stored {
			die()
		}
		ids := make([]string, len(batch.Trades))
		for i, u := range batch.Trades {
			ids[i] = u.ExTradeID
		}
		if err := journal.Do(ctx, journal.B().Rpush().Key(d.Prefix+":stored").Element(ids...).Build()).Error(); err != nil {
			return err
		}
		if number == d.Crash {
			die()
		}
		// Too late is no failure: it is delivered again.
		if err := batch.Ack(ctx); err != nil && !errors.Is(err, fulloncache.ErrNotFound) {
			return err
		}
	}
}

// start starts the process; ended gets what became of it.
func (d drainer) start(t testing.TB, ended chan<- error) *os.Process {
	t.Helper()
	var output bytes.Buffer
	cmd := testenv.Command(t, drainerVariable, d)
	cmd.Stderr = &output
	must(t, cmd.Start())
	go func() {
		err := cmd.Wait()
		if output.Len() > 0 {
			err = fmt.Errorf("%w: %s", err, output.String())
		}
		ended <- err
	}()
	return cmd.Process
}

// killed reports whether a process ended as kill -9 ends one.
func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signal() == syscall.SIGKILL
}

// wantAll checks that every trade from 0 on is among those that were stored, and
// returns how many were stored again.
func wantAll(t testing.TB, stored []string, n int) (again int) {
	t.Helper()
	times := make(map[string]int)
	for _, id := range stored {
		times[id]++
	}
	for i := range n {
		if times[strconv.Itoa(i)] == 0 {
			t.Fatalf("trade %d is lost", i)
		}
	}
	if len(times) != n {
		t.Fatalf("%d trades were stored, want %d", len(times), n)
	}
	return len(stored) - n
}

// P3, counted: 20 push to one list while 5 processes drain it and are killed
// between take and ack, some before they have stored the batch and some after.
// Nothing is lost.
func TestTradesKilledDrainersLoseNothing(t *testing.T) {
	t.Parallel()
	const pushers, drainers = 20, 5
	each, deaths := 30, 2
	if testenv.Soak() {
		each, deaths = 1000, 20
	}
	ctx := testenv.Context(t)
	srv, journal := testenv.NewRedis(t), testenv.Redis(t)
	prefix := testenv.Prefix(t)
	c := open(t, fulloncache.Config{URL: srv.URL(), KeyPrefix: prefix})

	var pushing, draining sync.WaitGroup
	for p := range pushers {
		pushing.Go(func() {
			for n := range each {
				if _, err := c.Trades.Push(ctx, tradeOf(btc, p*each+n)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	stop, done := context.WithCancel(ctx)
	defer draining.Wait()
	defer done()
	for d := range drainers {
		draining.Go(func() {
			ended := make(chan error, 1)
			for life := range deaths {
				drainer{URL: srv.URL(), Prefix: prefix, Journal: journal.URL(), Crash: 1 + (d+life)%3, Stored: (d+life)%2 == 0}.start(t, ended)
				// There is something to take until all have died.
				for dead := false; !dead; {
					select {
					case err := <-ended:
						if dead = true; !killed(err) {
							t.Errorf("a drainer was to be killed, and ended with %v", err)
						}
					case <-time.After(20 * time.Millisecond):
						if _, err := c.Trades.Push(ctx, tradeOf(btc, 0)); err != nil {
							t.Error(err)
							return
						}
					}
				}
			}
			process := drainer{URL: srv.URL(), Prefix: prefix, Journal: journal.URL()}.start(t, ended)
			<-stop.Done()
			_ = process.Kill() // if it has ended, that is the error
			if err := <-ended; !killed(err) {
				t.Errorf("a drainer ended with %v", err)
			}
		})
	}
	pushing.Wait()
	stored := func() []string {
		ids, err := journal.Do(t, "LRANGE", prefix+":stored", "0", "-1").AsStrSlice()
		must(t, err)
		return ids
	}
	testenv.Eventually(t, "everything to be stored", func() (bool, string) {
		ids := stored()
		slices.Sort(ids)
		different := len(slices.Compact(ids))
		waiting, flying, err := c.Trades.Len(ctx, btc)
		return different == pushers*each && waiting == 0 && flying == 0, fmt.Sprint(different, " stored, ", waiting, " wait, ", flying, " in flight ", err)
	})
	done()
	draining.Wait()
	again := wantAll(t, stored(), pushers*each)
	t.Logf("%d trades and %d killed drainers: %d stored again", pushers*each, drainers*deaths, again)
}

// The same in every mode, with drainers that crash, fail or are slow in between.
func TestTradesCrashingDrainersLoseNothing(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		const pushers, drainers = 20, 5
		each := 40
		if s.soak() {
			each = 2000
		}
		s.cfg.TradesBatchTimeout = 200 * time.Millisecond
		var st store
		var wg sync.WaitGroup
		ctx, stop := context.WithCancel(s.ctx)
		defer wg.Wait()
		defer stop()
		for d := range drainers {
			mine := s.open()
			wg.Go(func() {
				dice := rand.New(rand.NewPCG(1, uint64(d)))
				for ctx.Err() == nil {
					b, err := mine.Trades.Drain(ctx, btc, 1+dice.IntN(50))
					if errors.Is(err, fulloncache.ErrUnavailable) { // what it was given comes back
						continue
					}
					if err != nil {
						if ctx.Err() == nil {
							s.Error(err)
						}
						return
					}
					settle := b.Ack
					switch dice.IntN(4) {
					case 0: // crash before it is stored
						continue
					case 1: // fail to store
						settle = b.Return
					default:
						if st.add(b.Trades); dice.IntN(4) == 0 { // crash before it is acknowledged
							continue
						}
					}
					err = settle(ctx)
					if err != nil && ctx.Err() == nil && !errors.Is(err, fulloncache.ErrNotFound) && !errors.Is(err, fulloncache.ErrUnavailable) {
						s.Error(err)
					}
				}
			})
		}
		var pushing sync.WaitGroup
		for p := range pushers {
			pushing.Go(func() {
				for n := 0; n < each; {
					switch _, err := c.Trades.Push(s.ctx, tradeOf(btc, p*each+n)); {
					case err == nil:
						n++
					case !errors.Is(err, fulloncache.ErrUnavailable): // else it may be there twice
						s.Error(err)
						return
					}
				}
			})
		}
		pushing.Wait()
		st.wait(s, c, pushers*each)
		stop()
		wg.Wait()
		again := wantAll(s, st.list(), pushers*each)
		s.Logf("%d trades, %d stored again", pushers*each, again)
	})
}

// store is who stores trades, in memory.
type store struct {
	mu  sync.Mutex
	ids []string
	set map[string]bool
}

func (s *store) add(trades []fulloncache.Trade) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == nil {
		s.set = make(map[string]bool)
	}
	for _, u := range trades {
		s.ids = append(s.ids, u.ExTradeID)
		s.set[u.ExTradeID] = true
	}
}

func (s *store) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ids)
}

// wait waits until n different trades of btc are stored and none is left.
func (s *store) wait(t testing.TB, c *fulloncache.Client, n int) {
	t.Helper()
	ctx := testenv.Context(t)
	testenv.Eventually(t, "everything to be stored", func() (bool, string) {
		s.mu.Lock()
		different := len(s.set)
		s.mu.Unlock()
		waiting, flying, err := c.Trades.Len(ctx, btc)
		return different == n && waiting == 0 && flying == 0, fmt.Sprint(different, " stored, ", waiting, " wait, ", flying, " in flight ", err)
	})
}

// Servers that are killed and started again, networks that are cut and that
// answer too late: whoever pushes with Unique until it is accepted, and
// acknowledges what is stored, has every trade, and each was appended once.
func TestTradesFaultsLoseNothing(t *testing.T) {
	for name, fault := range map[string]func(t testing.TB, srv *testenv.Server, proxy *testenv.Proxy){
		"restart": func(t testing.TB, srv *testenv.Server, _ *testenv.Proxy) {
			srv.Kill()
			srv.Restart(t)
			srv.Rewrite(t)
		},
		"cut": func(t testing.TB, _ *testenv.Server, proxy *testenv.Proxy) {
			proxy.Cut()
			proxy.Restore(t)
		},
		"late answers": func(_ testing.TB, _ *testenv.Server, proxy *testenv.Proxy) {
			proxy.Slow(400 * time.Millisecond)
			<-time.After(300 * time.Millisecond)
			proxy.Slow(0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const pushers, drainers = 4, 3
			each, faults := 100, 3
			if testenv.Soak() {
				each, faults = 5000, 30
			}
			ctx, stop := context.WithCancel(testenv.Context(t))
			srv := testenv.NewRedis(t, "--appendonly", "yes", "--appendfsync", "always")
			proxy := testenv.NewProxy(t, srv.Addr())
			cfg := fulloncache.Config{
				URL: proxy.URL(), SocketTimeout: 200 * time.Millisecond, BreakerCooldown: 10 * time.Millisecond,
				TradesBatchTimeout: 300 * time.Millisecond,
			}
			var st store
			var pushing, draining sync.WaitGroup
			defer draining.Wait()
			defer pushing.Wait()
			defer stop()
			again := func(err error) bool { // a fault, and not a defect
				if err == nil || ctx.Err() != nil {
					return false
				}
				if !errors.Is(err, fulloncache.ErrUnavailable) {
					t.Error(err)
				}
				<-time.After(5 * time.Millisecond)
				return true
			}
			for range drainers {
				mine := open(t, cfg)
				draining.Go(func() {
					for ctx.Err() == nil {
						b, err := mine.Trades.Drain(ctx, btc, 20)
						if err != nil {
							again(err)
							continue
						}
						st.add(b.Trades)
						for err := b.Ack(ctx); !errors.Is(err, fulloncache.ErrNotFound) && again(err); {
							err = b.Ack(ctx)
						}
					}
				})
			}
			round := make(chan struct{}, pushers*each)
			for p := range pushers {
				mine := open(t, cfg)
				pushing.Go(func() {
					for from := p * each; from < (p+1)*each; from += 5 {
						push := func() error {
							_, err := mine.Trades.PushMany(ctx, tradesOf(btc, from, from+5), fulloncache.Unique(time.Hour))
							return err
						}
						for err := push(); again(err); {
							err = push()
						}
						round <- struct{}{}
					}
				})
			}
			total := pushers * each / 5
			for range faults {
				// It comes while they push.
				for range total / (faults + 1) {
					<-round
				}
				fault(t, srv, proxy)
			}
			pushing.Wait()
			direct := open(t, fulloncache.Config{URL: srv.URL()})
			st.wait(t, direct, pushers*each)
			stop()
			draining.Wait()
			twice := wantAll(t, st.list(), pushers*each)
			count, err := srv.Do(t, "HGET", "trades:kraken:BTCUSD:info", "count").ToString()
			if must(t, err); count != strconv.Itoa(pushers*each) {
				t.Errorf("%s trades were appended, want %d: each once", count, pushers*each)
			}
			t.Logf("%d trades and %d faults: %d stored again", pushers*each, faults, twice)
		})
	}
}

// An answer that comes too late is no answer: the batch that it held comes back.
func TestTradesLateAnswerComesBack(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	proxy := testenv.NewProxy(t, srv.Addr())
	direct := open(t, fulloncache.Config{URL: srv.URL(), TradesBatchTimeout: time.Second})
	far := open(t, fulloncache.Config{URL: proxy.URL(), SocketTimeout: 200 * time.Millisecond, TradesBatchTimeout: time.Second})
	_, err := direct.Trades.PushMany(ctx, tradesOf(btc, 0, 5))
	must(t, err)
	proxy.Slow(20 * time.Second)
	_, err = far.Trades.Drain(ctx, btc, 5)
	wantErr(t, err, fulloncache.ErrUnavailable)
	testenv.Eventually(t, "the return", func() (bool, string) {
		waiting, flying, err := direct.Trades.Len(ctx, btc)
		return waiting == 5 && flying == 0, fmt.Sprint(waiting, flying, err)
	})
	wantNumbers(t, peeked(t, direct.Trades.Peek(ctx, btc, 10)), counting(0, 5))
	// A push whose answer is late was made: Unique lets it be made again.
	_, err = far.Trades.Push(ctx, tradeOf(btc, 5), fulloncache.Unique(time.Hour))
	wantErr(t, err, fulloncache.ErrUnavailable)
	testenv.Eventually(t, "the push", func() (bool, string) {
		waiting, _, err := direct.Trades.Len(ctx, btc)
		return waiting == 6, fmt.Sprint(waiting, err)
	})
	pushed, err := direct.Trades.Push(ctx, tradeOf(btc, 5), fulloncache.Unique(time.Hour))
	if must(t, err); pushed.Duplicates != 1 {
		t.Errorf("pushed %+v", pushed)
	}
}

// A connection that breaks with the answer costs no batch: asked again, the server
// gives the one that it gave.
func TestTradesDrainAskedTwice(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	var lost atomic.Bool
	c := open(t, fulloncache.Config{URL: cutting(t, srv.Addr(), func(data []byte, asked bool) bool {
		return !asked && bytes.Contains(data, []byte("ex_trade_id")) && !lost.Swap(true)
	})})
	_, err := c.Trades.PushMany(ctx, tradesOf(btc, 0, 10))
	must(t, err)
	b, err := c.Trades.Drain(ctx, btc, 5)
	must(t, err)
	wantNumbers(t, b.Trades, counting(0, 5))
	waiting, flying, err := c.Trades.Len(ctx, btc)
	if must(t, err); !lost.Load() || waiting != 5 || flying != 5 {
		t.Errorf("an answer was lost: %t; %d wait and %d are in flight", lost.Load(), waiting, flying)
	}
	must(t, b.Ack(ctx))
	wantNumbers(t, peeked(t, c.Trades.Peek(ctx, btc, 10)), counting(5, 10))
}

// A server whose memory is full refuses pushes. What is there can be looked at,
// taken and acknowledged, or it would stay full.
func TestTradesLeaveAFullServer(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c := open(t, fulloncache.Config{URL: srv.URL()})
	_, err := c.Trades.PushMany(ctx, tradesOf(btc, 0, 10))
	must(t, err)
	_, err = c.Trades.PushManyUser(ctx, tradesOf(btc, 0, 10))
	must(t, err)
	srv.Do(t, "CONFIG", "SET", "maxmemory", "1")
	_, err = c.Trades.Push(ctx, tradeOf(btc, 10))
	wantErr(t, err, fulloncache.ErrUnavailable, "OOM")
	wantNumbers(t, peeked(t, c.Trades.Peek(ctx, btc, 10)), counting(0, 10))
	u, err := c.Trades.PopUser(ctx, 7, "kraken", 0)
	must(t, err)
	wantNumbers(t, []fulloncache.Trade{u}, []int{0})
	for _, drain := range []func() (*fulloncache.TradeBatch, error){
		func() (*fulloncache.TradeBatch, error) { return c.Trades.Drain(ctx, btc, 100) },
		func() (*fulloncache.TradeBatch, error) { return c.Trades.DrainUser(ctx, 7, "kraken", 100) },
	} {
		b, err := drain()
		must(t, err)
		must(t, b.Return(ctx))
		b, err = drain()
		must(t, err)
		must(t, b.Ack(ctx))
	}
	srv.Do(t, "CONFIG", "SET", "maxmemory", "0")
	_, err = c.Trades.Push(ctx, tradeOf(btc, 10))
	must(t, err)
	wantNumbers(t, peeked(t, c.Trades.Peek(ctx, btc, 10)), []int{10})
}

// P1: a wait for a trade outlasts the time that a call may take.
func TestTradesPopOutlastsTheSocketTimeout(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.Redis(t)
	c := open(t, fulloncache.Config{URL: srv.URL(), KeyPrefix: testenv.Prefix(t), SocketTimeout: time.Second})
	start := time.Now()
	_, err := c.Trades.PopUser(ctx, 7, "kraken", 1500*time.Millisecond)
	wantErr(t, err, fulloncache.ErrNotFound)
	if took := time.Since(start); took < 1500*time.Millisecond {
		t.Errorf("it waited %s", took)
	}
}

// Who gives up waiting loses no trade to nobody.
func TestTradesPopCancelledLosesNothing(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		n := 100
		if s.soak() {
			n = 5000
		}
		var mu sync.Mutex
		var popped []fulloncache.Trade
		ctx, stop := context.WithCancel(s.ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer stop()
		for p := range 4 {
			mine := s.open()
			wg.Go(func() {
				dice := rand.New(rand.NewPCG(2, uint64(p)))
				for ctx.Err() == nil {
					short, cancel := context.WithTimeout(ctx, time.Duration(dice.IntN(2000))*time.Microsecond)
					u, err := mine.Trades.PopUser(short, 7, "kraken", time.Minute)
					cancel()
					switch {
					case err == nil:
						mu.Lock()
						popped = append(popped, u)
						mu.Unlock()
					case !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
						s.Error(err)
						return
					}
				}
			})
		}
		for i := range n {
			_, err := c.Trades.PushUser(s.ctx, tradeOf(btc, i))
			must(s, err)
		}
		testenv.Eventually(s, "all trades", func() (bool, string) {
			mu.Lock()
			defer mu.Unlock()
			return len(popped) >= n, fmt.Sprint(len(popped))
		})
		stop()
		wg.Wait()
		ids := make([]string, len(popped))
		for i, u := range popped {
			ids[i] = u.ExTradeID
		}
		if again := wantAll(s, ids, n); again != 0 {
			s.Errorf("%d were popped twice: %s", again, strings.Join(ids, " "))
		}
	})
}
