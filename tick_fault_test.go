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

// faults is a server, a proxy before it, a reader behind the proxy that follows
// and mirrors, and a writer with a connection of its own.
type faults struct {
	*testing.T
	srv     *testenv.Server
	proxy   *testenv.Proxy
	reader  *fulloncache.Client
	writer  *fulloncache.Client
	ev      *events
	one     *updates // of btc
	all     *updates // of kraken
	mirror  *fulloncache.Mirror
	ctx     context.Context
	written int
}

const heartbeat = 100 * time.Millisecond

func newFaults(t *testing.T, tune func(*fulloncache.Config), args ...string) *faults {
	t.Helper()
	t.Parallel()
	f := &faults{T: t, srv: testenv.NewRedis(t, args...), ev: &events{}, ctx: testenv.Context(t)}
	f.proxy = testenv.NewProxy(t, f.srv.Addr())
	cfg := fulloncache.Config{
		URL: f.proxy.URL(), FeedHeartbeat: heartbeat, SocketTimeout: time.Second,
		BreakerCooldown: 20 * time.Millisecond, Hooks: []fulloncache.Hooks{f.ev.hook()},
	}
	if tune != nil {
		tune(&cfg)
	}
	f.reader = open(t, cfg)
	cfg.URL, cfg.Hooks = f.srv.URL(), nil
	f.writer = open(t, cfg)
	f.start()
	return f
}

// start follows a first tick of each market.
func (f *faults) start() {
	f.Helper()
	must(f, f.writer.Ticks.Set(f.ctx, tickOf(eth, "1", 0)))
	f.write()
	f.mirror = mirror(f, f.reader, "kraken")
	f.one, f.all = follow(f, f.reader, btc), followExchange(f, f.reader, "kraken")
	f.one.want(f.last())
	f.all.want(tickOf(eth, "1", 0))
	f.all.want(f.last())
	f.write()
	f.one.want(f.last())
	f.all.want(f.last())
}

// write writes the next tick of btc, as soon as it can be.
func (f *faults) write() {
	f.Helper()
	f.written++
	testenv.Eventually(f, "write", func() (bool, string) {
		err := f.writer.Ticks.Set(f.ctx, f.last())
		return err == nil, fmt.Sprint(err)
	})
}

func (f *faults) last() fulloncache.Tick { return tickOf(btc, fmt.Sprint(f.written), f.written) }

// cut waits until the reader knows that it is cut off, and checks that its mirror
// says so and goes on answering.
func (f *faults) cut() {
	f.Helper()
	testenv.Eventually(f, "disconnected", func() (bool, string) {
		s, err := f.mirror.Feed("kraken")
		must(f, err)
		return !s.Connected && isCut(s.Err), fmt.Sprintf("%+v", s)
	})
	q, err := f.mirror.Get(btc)
	must(f, err)
	if q.Connected() || q.Age() <= 0 || q.Price().IsZero() {
		f.Fatalf("quote %+v", q)
	}
	_, err = f.mirror.Get(fulloncache.Market{Exchange: "kraken", Symbol: "NEW/USD"})
	wantErr(f, err, fulloncache.ErrUnavailable)
}

// healed checks that both streams tell of the fault, then of the current state,
// then of every update.
func (f *faults) healed(current ...fulloncache.Tick) {
	f.Helper()
	for _, u := range []*updates{f.one, f.all} {
		x := u.next()
		if !isCut(x.Err) {
			f.Fatalf("got %+v, want that the feed is cut off", x)
		}
		seen := make(map[fulloncache.Market]bool)
		want := map[fulloncache.Market]fulloncache.Tick{btc: f.last()}
		if u == f.all {
			for _, tick := range current {
				want[tick.Market] = tick
			}
		}
		for len(seen) < len(want) {
			x := u.next()
			if isCut(x.Err) {
				clear(seen)
				continue
			}
			must(f, x.Err)
			if x.Update.Deleted {
				continue
			}
			if w, ok := want[x.Update.Tick.Market]; ok && x.Update.Tick.Equal(w) {
				seen[w.Market] = true
			}
		}
	}
	for range 3 {
		f.write()
		for _, u := range []*updates{f.one, f.all} {
			for { // the last of the current state, told again, may be under way
				x := u.next()
				must(f, x.Err)
				if x.Update.Tick.Equal(f.last()) {
					break
				}
				if x.Update.Tick.Market == btc && !x.Update.Deleted && int(x.Update.Tick.Price.Float64()) != f.written-1 {
					f.Fatalf("an update is missing: %+v, want %v", x.Update, f.last())
				}
			}
		}
	}
	testenv.Eventually(f, "connected", func() (bool, string) {
		s, err := f.mirror.Feed("kraken")
		must(f, err)
		q, err := f.mirror.Get(btc)
		must(f, err)
		return s.Connected && q.Connected() && q.Tick().Equal(f.last()), fmt.Sprintf("%+v %v", s, q.Tick())
	})
}

func TestFaultKilledAndRestartedEmpty(t *testing.T) {
	f := newFaults(t, nil)
	f.srv.Kill()
	f.cut()
	f.srv.Restart(t)
	f.write() // eth is gone for good
	f.healed()
	shows(t, f.mirror, f.last())
	_, err := f.mirror.Get(eth)
	wantErr(t, err, fulloncache.ErrNotFound)
	_, err = f.reader.Ticks.Get(f.ctx, eth)
	wantErr(t, err, fulloncache.ErrNotFound)
}

func TestFaultFrozen(t *testing.T) {
	f := newFaults(t, nil)
	f.srv.Freeze(t)
	frozen := time.Now()
	f.cut()
	if took := time.Since(frozen); took > 2*heartbeat+500*time.Millisecond {
		t.Errorf("noticed after %s", took)
	}
	f.srv.Thaw(t)
	f.write()
	f.healed(tickOf(eth, "1", 0))
}

func TestFaultCutOff(t *testing.T) {
	f := newFaults(t, nil)
	f.proxy.Cut()
	f.cut()
	f.write() // in the gap
	f.write()
	f.proxy.Restore(t)
	f.healed(tickOf(eth, "1", 0))
}

func TestFaultStalled(t *testing.T) {
	f := newFaults(t, nil)
	f.proxy.Stall()
	f.cut()
	f.write() // in the gap
	f.proxy.Flow()
	f.healed(tickOf(eth, "1", 0))
}

func TestFaultClientKill(t *testing.T) {
	for _, kind := range []string{"pubsub", "normal"} {
		t.Run(kind, func(t *testing.T) {
			f := newFaults(t, nil)
			n := f.ev.count(fulloncache.EventFeedDisconnected)
			f.srv.KillClients(t, kind)
			if kind == "normal" {
				// Subscriptions are no normal clients: nothing is cut off.
				for range 3 {
					f.write()
					f.one.want(f.last())
					f.all.want(f.last())
				}
				if got := f.ev.count(fulloncache.EventFeedDisconnected); got != n {
					t.Fatalf("%d disconnects", got)
				}
				return
			}
			eventually(t, f.ev, fulloncache.EventFeedDisconnected, n+1)
			f.write()
			f.healed(tickOf(eth, "1", 0))
		})
	}
}

// The server ends a subscriber that does not take what it is sent.
func TestFaultOutputBufferOverflow(t *testing.T) {
	f := newFaults(t, func(c *fulloncache.Config) { c.FeedHeartbeat = 10 * time.Second }, "--client-output-buffer-limit", "pubsub 64kb 64kb 1")
	f.proxy.Clog()
	large := "B " + strings.Repeat("x", 1<<20)
	testenv.Eventually(t, "overflow", func() (bool, string) {
		f.srv.Do(t, "PUBLISH", "db0:ticker_rev:kraken", large)
		list, err := f.srv.Do(t, "CLIENT", "LIST", "TYPE", "pubsub").ToString()
		must(t, err)
		return !strings.Contains(list, "id="), list
	})
	f.write() // in the gap
	// What is on the way would trickle for an hour: the proxy forgets it.
	f.proxy.Cut()
	f.cut()
	f.proxy.Restore(t)
	f.proxy.Unclog()
	f.healed(tickOf(eth, "1", 0))
}

func TestFaultSlotMoves(t *testing.T) {
	t.Parallel()
	cluster := testenv.NewCluster(t)
	f := &faults{T: t, ev: &events{}, ctx: testenv.Context(t)}
	cfg := fulloncache.Config{
		ClusterMode: true, ClusterNodes: cluster.Addrs(), FeedHeartbeat: heartbeat, SocketTimeout: time.Second,
		BreakerCooldown: 20 * time.Millisecond, Hooks: []fulloncache.Hooks{f.ev.hook()},
	}
	f.reader = open(t, cfg)
	cfg.Hooks = nil
	f.writer = open(t, cfg)
	f.start()
	slot := cluster.Slot(t, "ticker_rev:{kraken}")
	from := cluster.Owner(t, slot)
	for _, to := range cluster.Nodes {
		if to == from {
			continue
		}
		n := f.ev.count(fulloncache.EventFeedDisconnected)
		cluster.MoveSlot(t, slot, to)
		eventually(t, f.ev, fulloncache.EventFeedDisconnected, n+1)
		f.write()
		f.healed(tickOf(eth, "1", 0))
	}
}

// Faults one after the other under a running writer: in the end everybody
// agrees. FULLON_CACHE_SOAK=1 goes on for three minutes.
func TestFaultSoak(t *testing.T) {
	long := testenv.Soak()
	f := newFaults(t, nil)
	stream := newModel(f.all)
	f.one.cancel()
	markets := make([]fulloncache.Market, 40)
	for i := range markets {
		markets[i] = fulloncache.Market{Exchange: "kraken", Symbol: fmt.Sprintf("S%02d/USD", i)}
	}
	feeding, stop := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	wg.Go(func() {
		pause := time.NewTicker(time.Millisecond)
		defer pause.Stop()
		for i := 1; feeding.Err() == nil; i++ {
			m := markets[i%len(markets)]
			switch {
			case i%97 == 0:
				_ = f.writer.Ticks.Delete(feeding, m) // it may be down
			default:
				_ = f.writer.Ticks.Set(feeding, tickOf(m, fmt.Sprint(i), i))
			}
			<-pause.C
		}
	})
	shaken := 0
	for start := time.Now(); shaken < 5 || long && time.Since(start) < 3*time.Minute; shaken++ {
		errorsBefore, cutsBefore := stream.errors(), f.ev.count(fulloncache.EventFeedDisconnected)
		switch shaken % 5 {
		case 0:
			f.srv.KillClients(t, "pubsub")
		case 1:
			f.proxy.Cut()
			eventually(t, f.ev, fulloncache.EventFeedDisconnected, cutsBefore+1)
			f.proxy.Restore(t)
		case 2:
			f.srv.Kill()
			eventually(t, f.ev, fulloncache.EventFeedDisconnected, cutsBefore+1)
			f.srv.Restart(t)
		case 3:
			f.srv.Freeze(t)
			eventually(t, f.ev, fulloncache.EventFeedDisconnected, cutsBefore+1)
			f.srv.Thaw(t)
		case 4:
			f.proxy.Stall()
			eventually(t, f.ev, fulloncache.EventFeedDisconnected, cutsBefore+1)
			f.proxy.Flow()
		}
		testenv.Eventually(t, "an error element and a reconnect", func() (bool, string) {
			s, err := f.mirror.Feed("kraken")
			must(t, err)
			cuts := f.ev.count(fulloncache.EventFeedDisconnected)
			return cuts > cutsBefore && s.Connected && stream.errors() > errorsBefore, fmt.Sprintf("fault %d: %+v", shaken, s)
		})
	}
	stop()
	wg.Wait()
	// The last write may still be under way on the server.
	var want []fulloncache.Tick
	testenv.Eventually(t, "the final state", func() (bool, string) {
		want = nil
		for tick, err := range f.writer.Ticks.List(f.ctx, "kraken") {
			if err != nil {
				return false, err.Error()
			}
			want = append(want, tick)
		}
		return len(want) > 0, "nothing is stored"
	})
	shows(t, f.mirror, want...)
	stream.agrees(t, want...)
	for _, tick := range want {
		got, err := f.reader.Ticks.Get(f.ctx, tick.Market)
		if errors.Is(err, fulloncache.ErrUnavailable) {
			got, err = f.reader.Ticks.Get(f.ctx, tick.Market) // the first call after a fault
		}
		wantTick(t, got, err, tick)
	}
}
