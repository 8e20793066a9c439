package fulloncache_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// mixedFills are n fills of an account and a symbol: buys and sells of many sizes
// and prices, which open, add, reduce, close and flip.
func mixedFills(a fulloncache.Account, symbol string, n int) []fulloncache.Trade {
	dice := rand.New(rand.NewPCG(1, uint64(n)))
	fills := make([]fulloncache.Trade, n)
	for i := range fills {
		side := fulloncache.Buy
		if dice.IntN(2) == 1 {
			side = fulloncache.Sell
		}
		f := of(a, symbol, fillOf(i, side, fmt.Sprintf("0.%03d", 1+dice.IntN(999)), fmt.Sprintf("%d.%02d", 50+dice.IntN(100), dice.IntN(100))))
		f.Fee = dec(fmt.Sprintf("0.00%d", dice.IntN(100)))
		fills[i] = f
	}
	return fills
}

// conserves checks that a position is what fills add up to, each counted once: the
// volume and the fees are their sums, and what came in and went out is either
// profit or the cost of what is open, to the last digit.
func conserves(t testing.TB, p fulloncache.Position, fills []fulloncache.Trade) {
	t.Helper()
	var volume, cash, fees fulloncache.Decimal
	for _, f := range fills {
		// Of few places: the product of two such floats is exact in its first digits.
		cost := dec(fmt.Sprintf("%.5f", f.Volume.Float64()*f.Price.Float64()))
		if f.Side == fulloncache.Buy {
			volume, cash = volume.Add(f.Volume), cash.Sub(cost)
		} else {
			volume, cash = volume.Sub(f.Volume), cash.Add(cost)
		}
		fees = fees.Add(f.Fee)
	}
	has, cost := p.Volume, p.Cost
	if p.Side == fulloncache.Short {
		has, cost = fulloncache.Decimal{}.Sub(has), fulloncache.Decimal{}.Sub(cost)
	}
	if flow := p.RealisedProfit.Sub(cost); !has.Equal(volume) || !p.Fees.Equal(fees) || !flow.Equal(cash) {
		t.Fatalf("position %+v of %d fills: has %s, fees %s, flow %s\nwant %s, %s, %s", p, len(fills), has, p.Fees, flow, volume, fees, cash)
	}
}

// counted applies a fill until it is known to count.
func counted(ctx context.Context, c *fulloncache.Client, f fulloncache.Trade) error {
	for {
		_, err := c.Accounts.ApplyTrade(ctx, f)
		if !errors.Is(err, fulloncache.ErrUnavailable) || ctx.Err() != nil {
			return err
		}
	}
}

// P8: the predecessor read a blob of positions, changed it and wrote it back, so
// that writers undid each other's work. Here 16 of them, each a process to Redis,
// fill the same position and positions of their own at once, every fill by two of
// them, and all sums are exact.
func TestFillsOfManyWritersP8(t *testing.T) {
	everyMode(t, func(s *suite) {
		const writers = 16
		each := 12
		if testenv.Soak() {
			each = 400
		}
		shared := mixedFills(desk, btcUSD, writers*each)
		own := make([][]fulloncache.Trade, writers)
		clients := make([]*fulloncache.Client, writers)
		for w := range writers {
			own[w] = mixedFills(desk, fmt.Sprintf("S%d/USD", w/2), each) // two of them meet in each
			for i := range own[w] {
				own[w][i].ExTradeID = fmt.Sprintf("%d-%d", w, i)
			}
			clients[w] = s.open()
		}
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				c := clients[w]
				for i := range each {
					for _, f := range []fulloncache.Trade{shared[w*each+i], own[w][i], shared[(w+1)%writers*each+i]} {
						if _, err := c.Accounts.ApplyTrade(s.ctx, f); err != nil {
							s.Error(err)
							return
						}
					}
				}
			})
		}
		wg.Wait()
		p, err := clients[0].Accounts.Position(s.ctx, desk, btcUSD)
		must(s, err)
		conserves(s, p, shared)
		for w := 0; w < writers; w += 2 {
			p, err := clients[w].Accounts.Position(s.ctx, desk, own[w][0].Symbol)
			must(s, err)
			conserves(s, p, append(own[w][:each:each], own[w+1]...))
		}
	})
}

// The same within one process: its callers take turns, and may give up.
func TestFillsOfManyCallers(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		fills := mixedFills(desk, btcUSD, 64)
		var wg sync.WaitGroup
		for i := range fills {
			wg.Go(func() {
				if i%4 == 0 {
					ctx, cancel := context.WithTimeout(s.ctx, time.Duration(i)*100*time.Microsecond)
					defer cancel()
					_, err := c.Accounts.ApplyTrade(ctx, fills[i])
					if err != nil && !errors.Is(err, context.DeadlineExceeded) {
						s.Error(err)
					}
				}
				if _, err := c.Accounts.ApplyTrade(s.ctx, fills[i]); err != nil {
					s.Error(err)
				}
			})
		}
		wg.Wait()
		p, err := c.Accounts.Position(s.ctx, desk, btcUSD)
		must(s, err)
		conserves(s, p, fills)
	})
}

// fillWriter is what a writer's process is told.
type fillWriter struct {
	URL    string
	Nodes  []string
	Prefix string
	Fills  int
	Seed   uint64
}

const fillWriterVariable = "FULLON_CACHE_FILL_WRITER"

// write applies the fills in an order of its own.
func (w fillWriter) write(t *testing.T) {
	ctx := testenv.Context(t)
	var c *fulloncache.Client
	for c == nil { // it may be started while the network is down
		c, _ = fulloncache.New(ctx, fulloncache.Config{
			URL: w.URL, ClusterMode: w.Nodes != nil, ClusterNodes: w.Nodes, KeyPrefix: w.Prefix, Logger: quiet,
			SocketTimeout: time.Second, BreakerCooldown: 20 * time.Millisecond,
		})
		must(t, ctx.Err())
	}
	defer c.Close()
	fills := mixedFills(desk, btcUSD, w.Fills)
	if w.Seed > 0 {
		rand.New(rand.NewPCG(w.Seed, 0)).Shuffle(len(fills), func(i, k int) { fills[i], fills[k] = fills[k], fills[i] })
	}
	for _, f := range fills {
		must(t, counted(ctx, c, f))
	}
}

// fillProcess is a writer's process.
type fillProcess struct {
	cmd  *exec.Cmd
	out  bytes.Buffer
	done chan error
}

func (w fillWriter) start(t testing.TB) *fillProcess {
	t.Helper()
	p := &fillProcess{cmd: testenv.Command(t, fillWriterVariable, w), done: make(chan error, 1)}
	p.cmd.Args = append(p.cmd.Args, "-test.run=^TestFillsSurviveKilledWriters$")
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	must(t, p.cmd.Start())
	go func() { p.done <- p.cmd.Wait() }()
	return p
}

// kill ends it as kill -9 does.
func (p *fillProcess) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// wait waits until it has written everything.
func (p *fillProcess) wait(t testing.TB) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	select {
	case err := <-p.done:
		if err != nil {
			t.Fatalf("a writer ended with %v: %s", err, p.out.String())
		}
	case <-deadline.C:
		p.kill()
		t.Fatalf("a writer does not end: %s", p.out.String())
	}
}

// Two processes apply the same fills, each in an order of its own, and are killed
// again and again at any moment. Whatever they had computed and not written, each
// fill counts once in the end, and once more applying all of them, by two at once,
// changes nothing.
func TestFillsSurviveKilledWriters(t *testing.T) {
	if text := os.Getenv(fillWriterVariable); text != "" {
		var w fillWriter
		must(t, json.Unmarshal([]byte(text), &w))
		w.write(t)
		return
	}
	t.Parallel()
	for _, m := range modes[:2] { // nobody else reaches a server in this process
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			cfg := m.config(t)
			cfg.KeyPrefix = testenv.Prefix(t)
			c, ctx := open(t, cfg), testenv.Context(t)
			fills, kills := 300, 4
			if testenv.Soak() {
				fills, kills = 3000, 60
			}
			w := fillWriter{URL: cfg.URL, Nodes: cfg.ClusterNodes, Prefix: cfg.KeyPrefix, Fills: fills}
			dice := rand.New(rand.NewPCG(1, 2))
			start := func() *fillProcess {
				w.Seed = dice.Uint64()
				return w.start(t)
			}
			writers := []*fillProcess{start(), start()}
			for n := range kills {
				// It has done something, or is about to.
				until := time.Now().Add(time.Duration(dice.IntN(200)) * time.Millisecond)
				testenv.Eventually(t, "a fill", func() (bool, string) {
					p, err := c.Accounts.Position(ctx, desk, btcUSD)
					return p.Rev > 0 && time.Now().After(until), fmt.Sprint(p, err)
				})
				writers[n%2].kill()
				writers[n%2] = start()
			}
			all := mixedFills(desk, btcUSD, fills)
			for _, p := range writers {
				p.wait(t)
			}
			p, err := c.Accounts.Position(ctx, desk, btcUSD)
			must(t, err)
			conserves(t, p, all)
			for _, again := range []*fillProcess{start(), start()} {
				again.wait(t)
			}
			q, err := c.Accounts.Position(ctx, desk, btcUSD)
			if wantPosition(t, q, err, p); q.Rev != p.Rev {
				t.Fatalf("revision %d became %d", p.Rev, q.Rev)
			}
		})
	}
}

// A process is killed when it has computed a position and what it sent is still on
// its way; that arrives later, or never. Either way nothing is half written.
func TestFillsKilledBetweenComputingAndWriting(t *testing.T) {
	t.Parallel()
	ctx, srv := testenv.Context(t), testenv.NewRedis(t)
	proxy := testenv.NewProxy(t, srv.Addr())
	c := open(t, fulloncache.Config{URL: srv.URL()})
	rounds := 4
	if testenv.Soak() {
		rounds = 60
	}
	const endless = 8000 // fewer than are remembered
	for round := range rounds {
		w := fillWriter{URL: proxy.URL(), Fills: endless}
		p := w.start(t)
		started := c.Accounts.WatchPositions(ctx, desk, btcUSD)
		for u, err := range started { // it writes
			must(t, err)
			if !u.Deleted {
				break
			}
		}
		proxy.Stall()
		// What it waits for is on its way once nothing arrives any more.
		var last int64 = -1
		testenv.Eventually(t, "a standstill", func() (bool, string) {
			now := srv.Counts(t)["evalsha"]
			still := int64(now) == last
			last = int64(now)
			return still, fmt.Sprint(now)
		})
		p.kill()
		if round%2 == 0 {
			proxy.Cut() // it never arrives
			proxy.Restore(t)
		}
		proxy.Flow()
		before, err := c.Accounts.Position(ctx, desk, btcUSD)
		must(t, err)
		// How many count is how many are known: they came in order.
		n, err := srv.Do(t, "ZCARD", "positions:user_123:kraken:fills:BTC%2FUSD").AsInt64()
		must(t, err)
		n = min(n, endless-1)
		all := mixedFills(desk, btcUSD, endless)[:n+1]
		at, err := c.Accounts.ApplyTrade(ctx, all[n]) // perhaps the one that was on its way
		must(t, err)
		if at.Rev < before.Rev {
			t.Fatalf("%+v after %+v", at, before)
		}
		conserves(t, at, all)
		applied, err := c.Accounts.ApplyTrades(ctx, all)
		if err != nil || applied.Applied != 0 {
			t.Fatalf("%+v, %v", applied, err)
		}
		result(c.Accounts.ClearPositions(ctx, desk))(t)
	}
}

// breakConnections breaks connections so many times while work is done: those through
// a proxy and those to a server, by turns.
func breakConnections(t *testing.T, proxy *testenv.Proxy, srv *testenv.Server, times, work int, done *atomic.Int64) {
	t.Helper()
	for n := range times {
		testenv.Eventually(t, "some work", func() (bool, string) {
			d := done.Load()
			return d >= int64(work*n/(times+1)) || t.Failed(), fmt.Sprint(d)
		})
		if n%2 == 0 {
			proxy.Cut()
			proxy.Restore(t)
		} else {
			srv.KillClients(t, "normal")
		}
	}
}

// The connection breaks at any moment, also between a write and its answer: what
// is applied again until it is known to count, counts once.
func TestFillsThroughBrokenConnections(t *testing.T) {
	t.Parallel()
	ctx, srv := testenv.Context(t), testenv.NewRedis(t)
	proxy := testenv.NewProxy(t, srv.Addr())
	c := open(t, fulloncache.Config{URL: srv.URL()})
	const writers = 4
	each, cuts := 60, 4
	if testenv.Soak() {
		each, cuts = 3000, 100
	}
	fills := mixedFills(desk, btcUSD, writers*each)
	var (
		wg   sync.WaitGroup
		done atomic.Int64
	)
	for w := range writers {
		mine := open(t, fulloncache.Config{URL: proxy.URL(), SocketTimeout: time.Second, BreakerCooldown: 10 * time.Millisecond})
		wg.Go(func() {
			for _, f := range fills[w*each : (w+1)*each] {
				if err := counted(ctx, mine, f); err != nil {
					t.Error(err)
					return
				}
				done.Add(1)
			}
		})
	}
	breakConnections(t, proxy, srv, cuts, writers*each, &done)
	wg.Wait()
	p, err := c.Accounts.Position(ctx, desk, btcUSD)
	must(t, err)
	conserves(t, p, fills)
}

// A reader sees all that was told at once, or nothing of it: P8 for whole accounts.
func TestReadersSeeWholeAccountsP8(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		rounds := 40
		if testenv.Soak() {
			rounds = 3000
		}
		// Generation n has 5 to 44 of everything, all of which say n.
		size := func(n int) int { return 5 + n*7%40 }
		tell := func(n int) {
			var positions []fulloncache.Position
			balances := fulloncache.AccountBalances{Account: desk, Time: at(n)}
			for i := range size(n) {
				name := fmt.Sprintf("S%d", (i+n)%60)
				positions = append(positions, fulloncache.Position{Symbol: name, Side: fulloncache.Long, Volume: dec(fmt.Sprint(n + 1)), AvgPrice: dec("1")})
				balances.Balances = append(balances.Balances, fulloncache.Balance{Currency: name, Free: dec(fmt.Sprint(n + 1))})
			}
			must(s, c.Accounts.ReplacePositions(s.ctx, desk, at(n), positions))
			must(s, c.Accounts.SetAccount(s.ctx, balances))
		}
		tell(0)
		ctx, stop := context.WithCancel(s.ctx)
		defer stop()
		var wg sync.WaitGroup
		var reads atomic.Int64
		for range 4 {
			reader := s.open()
			wg.Go(func() {
				for ctx.Err() == nil {
					seen := 0
					var first fulloncache.Position
					for p, err := range reader.Accounts.Positions(s.ctx, desk) {
						if seen == 0 {
							first = p
						}
						seen++
						if err != nil || !p.Time.Equal(first.Time) || !p.Volume.Equal(first.Volume) {
							s.Errorf("%+v, %v beside %+v", p, err, first)
						}
					}
					n := int(first.Volume.Float64()) - 1
					if seen != size(n) || !first.Time.Equal(at(n)) {
						s.Errorf("%d positions of generation %d, want %d", seen, n, size(n))
					}
					all, err := reader.Accounts.Account(s.ctx, desk)
					if err != nil {
						s.Error(err)
						return
					}
					for _, b := range all.Balances {
						if n = int(b.Free.Float64()) - 1; !b.Free.Equal(all.Balances[0].Free) || !all.Time.Equal(at(n)) {
							s.Errorf("%+v beside %+v", b, all.Balances[0])
						}
					}
					if len(all.Balances) != size(n) {
						s.Errorf("%d balances of generation %d, want %d", len(all.Balances), n, size(n))
					}
					reads.Add(1)
				}
			})
		}
		for n := 1; n < rounds && !s.Failed(); n++ {
			tell(n)
		}
		testenv.Eventually(s, "reads", func() (bool, string) { return reads.Load() >= 8 || s.Failed(), fmt.Sprint(reads.Load()) })
		stop()
		wg.Wait()
	})
}

// All positions are told while fills come for symbols that nobody has named yet:
// either the fill counts on top, or the snapshot is refused. No fill is lost.
func TestReplacePositionsBesideFills(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		rounds := 30
		if testenv.Soak() {
			rounds = 1000
		}
		writer := s.open()
		for n := range rounds {
			fill := of(desk, fmt.Sprintf("S%d", n%5), fillOf(10*n+5, fulloncache.Buy, "1", "100"))
			done := make(chan error, 1)
			go func() {
				_, err := writer.Accounts.ApplyTrade(s.ctx, fill)
				done <- err
			}()
			// Of before the fill: it must not undo it.
			err := c.Accounts.ReplacePositions(s.ctx, desk, at(10*n), nil)
			must(s, <-done)
			if err != nil {
				wantErr(s, err, fulloncache.ErrOutdated)
			}
			p, err := c.Accounts.Position(s.ctx, desk, fill.Symbol)
			if must(s, err); p.Flat() || !p.Time.Equal(fill.Time) {
				s.Fatalf("round %d: %+v", n, p)
			}
			// Of after it: it counts no more.
			must(s, c.Accounts.ReplacePositions(s.ctx, desk, at(10*n+9), nil))
			wantPositions(s, c.Accounts.Positions(s.ctx, desk))
		}
	})
}

// In a cluster the index lives elsewhere: it comes back when it is lost, and is
// not missed where it cannot be reached.
func TestAccountIndexComesBack(t *testing.T) {
	t.Parallel()
	ctx, cluster := testenv.Context(t), testenv.SharedCluster(t)
	cfg := fulloncache.Config{ClusterMode: true, ClusterNodes: cluster.Addrs(), KeyPrefix: testenv.Prefix(t)}
	c := open(t, cfg)
	p := positionOf(0, fulloncache.Long, "1", "100")
	must(t, c.Accounts.UpsertPosition(ctx, p))
	must(t, c.Accounts.SetAccount(ctx, balancesOf(desk, 0, "USD", "1")))
	lose := func() {
		for _, index := range []string{cfg.KeyPrefix + ":positions", cfg.KeyPrefix + ":accounts"} {
			cluster.Owner(t, cluster.Slot(t, index)).Do(t, "DEL", index)
		}
		wantPositions(t, c.Accounts.AllPositions(ctx))
	}
	lose()
	// With a later write.
	testenv.Eventually(t, "the index", func() (bool, string) {
		must(t, c.Accounts.UpsertPosition(ctx, p))
		must(t, c.Accounts.SetAccount(ctx, balancesOf(desk, 0, "USD", "1")))
		n := 0
		for range c.Accounts.AllPositions(ctx) {
			n++
		}
		all, _ := listBalances(c.Accounts.Accounts(ctx))
		return n == 1 && len(all) == 1, fmt.Sprint(n, all)
	})
	// Who deletes the last position takes the account out, unless another was stored.
	for range 20 {
		stored := make(chan error, 1)
		go func() { stored <- c.Accounts.UpsertPosition(ctx, in(desk, ethUSD, p)) }()
		result(c.Accounts.ClearPositions(ctx, desk))(t)
		must(t, <-stored)
		var want []fulloncache.Position
		for p, err := range c.Accounts.Positions(ctx, desk) {
			if err == nil {
				want = append(want, p)
			}
		}
		wantPositions(t, c.Accounts.AllPositions(ctx), want...)
	}
}

// What others took out of it is in it again with the first thing that is stored anew, not
// only with a later one.
func TestAccountIndexHasWhatIsStoredAnew(t *testing.T) {
	t.Parallel()
	ctx, cluster := testenv.Context(t), testenv.SharedCluster(t)
	cfg := fulloncache.Config{ClusterMode: true, ClusterNodes: cluster.Addrs(), KeyPrefix: testenv.Prefix(t)}
	c, other := open(t, cfg), open(t, cfg)
	p := positionOf(0, fulloncache.Long, "1", "100")
	for name, store := range map[string]func() error{
		"fill":     func() error { _, err := c.Accounts.ApplyTrade(ctx, fillOf(0, fulloncache.Buy, "1", "100")); return err },
		"position": func() error { return c.Accounts.UpsertPosition(ctx, p) },
		"snapshot": func() error { return c.Accounts.ReplacePositions(ctx, desk, at(0), []fulloncache.Position{p}) },
	} {
		must(t, store())
		result(other.Accounts.ClearPositions(ctx, desk))(t)
		must(t, store())
		t.Log(name)
		wantPositions(t, other.Accounts.AllPositions(ctx), p)
		result(other.Accounts.ClearPositions(ctx, desk))(t)
	}
	for range 2 {
		must(t, c.Accounts.SetAccount(ctx, balancesOf(desk, 0, "USD", "1")))
		all, errs := listBalances(other.Accounts.Accounts(ctx))
		if len(all) != 1 || errs[0] != nil {
			t.Errorf("%v, %v are listed", all, errs)
		}
		result(other.Base.Clear(ctx))(t)
	}
}

// indexed waits until the index leads to one position.
func indexed(t testing.TB, c *fulloncache.Client, p fulloncache.Position) {
	t.Helper()
	ctx := testenv.Context(t)
	testenv.Eventually(t, "the index", func() (bool, string) {
		var got []fulloncache.Position
		for p, err := range c.Accounts.AllPositions(ctx) {
			if err != nil {
				return false, err.Error()
			}
			got = append(got, p)
		}
		return len(got) == 1 && got[0].Equal(p), fmt.Sprint(got)
	})
}

// The index is lost with the connection: who wrote adds its accounts, though it
// writes no more. What is in the way is tried again, until the client is closed.
func TestAccountIndexComesBackByItself(t *testing.T) {
	t.Parallel()
	ctx, cluster := testenv.Context(t), testenv.NewCluster(t)
	var log syncBuffer
	cfg := fulloncache.Config{ClusterMode: true, ClusterNodes: cluster.Addrs()}
	reader := open(t, cfg)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	c := open(t, cfg)
	p := positionOf(0, fulloncache.Long, "1", "100")
	must(t, c.Accounts.UpsertPosition(ctx, p))
	index := cluster.Owner(t, cluster.Slot(t, "positions"))
	lose := func(with ...string) {
		index.Do(t, with...)
		index.KillClients(t, "normal")
	}
	lose("DEL", "positions")
	indexed(t, reader, p)
	// block waits for the one warning of failures that follow each other.
	block := func() {
		t.Helper()
		failures := func() int { return strings.Count(log.String(), "accounts not indexed") }
		before := failures()
		lose("SET", "positions", "in the way")
		testenv.Eventually(t, "a warning", func() (bool, string) { return failures() > before, log.String() })
	}
	block()
	index.Do(t, "DEL", "positions")
	indexed(t, reader, p)
	block()
	c.Close() // it waits for no index
}

// The node with the index dies and comes back without it.
func TestAccountIndexOutlivesItsNode(t *testing.T) {
	t.Parallel()
	ctx, cluster := testenv.Context(t), testenv.NewCluster(t)
	index := cluster.Owner(t, cluster.Slot(t, "positions"))
	a := desk // one whose positions are elsewhere
	for cluster.Owner(t, cluster.Slot(t, fmt.Sprintf("positions:{user_%d}:kraken", a.UserID))) == index {
		a.UserID++
	}
	cfg := fulloncache.Config{ClusterMode: true, ClusterNodes: cluster.Addrs(), SocketTimeout: time.Second, BreakerCooldown: 20 * time.Millisecond}
	c, reader := open(t, cfg), open(t, cfg)
	p := in(a, btcUSD, positionOf(0, fulloncache.Long, "1", "100"))
	must(t, c.Accounts.UpsertPosition(ctx, p))
	wantPositions(t, reader.Accounts.AllPositions(ctx), p)
	index.Kill()
	for _, err := range c.Accounts.AllPositions(ctx) {
		wantErr(t, err, fulloncache.ErrUnavailable)
	}
	// Fills do not wait for it.
	p, err := c.Accounts.ApplyTrade(ctx, of(a, btcUSD, fillOf(1, fulloncache.Sell, "1", "100")))
	must(t, err)
	index.Restart(t)
	indexed(t, reader, p)
}
