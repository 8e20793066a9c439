package lease_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/lease"
	"github.com/fullon/fulloncache/internal/testenv"
)

// clock is a fake clock.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = now
}

// A lease is over by the clock of this machine, counted from before the server was
// asked, whatever else happened; and a little earlier than on the server.
func TestLeaseEndsByTheClock(t *testing.T) {
	conformance(t, func(s *suite) {
		begun := time.Now()
		c := &clock{now: begun}
		m := s.leases(func(o *lease.Options) { o.Now = c.Now })
		l, err := m.Acquire(s.ctx, s.btc, "a", asked(time.Hour))
		must(s, err)
		if want := begun.Add(time.Hour - time.Hour/1000); !l.Until().Equal(want) {
			s.Errorf("until %s, want %s", l.Until(), want)
		}
		c.set(l.Until().Add(-1))
		must(s, l.Err())
		must(s, l.Context().Err())
		c.set(l.Until())
		if err := l.Context().Err(); !errors.Is(err, context.Canceled) {
			s.Errorf("the context says %v", err)
		}
		wantErr(s, l.Err(), errLost, "kraken BTC/USD", `"a"`, "its time was over")
		wantErr(s, context.Cause(l.Context()), errLost)
		c.set(begun) // it does not come back
		wantErr(s, l.Err(), errLost)
		if got := s.lost.all(); len(got) != 1 || !strings.HasPrefix(got[0], "a: ") {
			s.Errorf("told %q", got)
		}
		l.Tick() // nor is it renewed
		l.Renew(s.ctx)
		wantErr(s, l.Err(), errLost)
		// Released, it is free at once all the same.
		wantErr(s, l.Release(s.ctx), errLost, "its time was over")
		if _, held, err := m.Get(s.ctx, s.btc); err != nil || held {
			s.Errorf("it is held: %v", err)
		}
	})
}

// A release that failed is tried again by another, to which the lease is not one that
// was lost.
func TestReleaseIsTriedAgain(t *testing.T) {
	conformance(t, func(s *suite) {
		m := s.leases()
		l, err := m.Acquire(s.ctx, s.btc, "a", asked(time.Minute))
		must(s, err)
		until := s.do("HGET", s.btc.Key, "until")
		s.do("HDEL", s.btc.Key, "alone")
		s.do("HSET", s.btc.Key, "until", "soon")
		wantErr(s, l.Release(s.ctx), errCorrupt)
		wantErr(s, l.Release(s.ctx), errCorrupt)
		wantErr(s, l.Err(), errLost, "it was released")
		s.do("HSET", s.btc.Key, "until", until)
		for range 2 {
			must(s, l.Release(s.ctx))
		}
		if _, held, err := m.Get(s.ctx, s.btc); err != nil || held {
			s.Errorf("it is held: %v", err)
		}
	})
}

// What is held by hand is told with its token, and prolonged by who has it.
func TestHold(t *testing.T) {
	conformance(t, func(s *suite) {
		m := s.leases()
		first, err := m.Hold(s.ctx, s.btc, "a", time.Minute)
		must(s, err)
		again, err := m.Hold(s.ctx, s.btc, "a", time.Hour)
		must(s, err)
		if first.Holder != "a" || first.Token <= 0 || again.Token != first.Token || !again.Since.Equal(first.Since) ||
			first.Until.Sub(first.Since) != time.Minute || again.Until.Sub(first.Since) < time.Hour {
			s.Errorf("got %+v, then %+v", first, again)
		}
		_, err = m.Hold(s.ctx, s.btc, "b", time.Minute)
		wantBlocked(s, err, "a")
		s.do("HSET", s.btc.Key, "until", "soon")
		_, err = m.Hold(s.ctx, s.btc, "a", time.Minute)
		wantErr(s, err, errCorrupt)
	})
}

// A machine that was suspended has a clock that stood still meanwhile, and one that
// did not.
func TestLeaseSeesEitherClock(t *testing.T) {
	t.Parallel()
	s := newSuite(t, modes[0].opt(t))
	begun := time.Now()
	c := &clock{now: begun}
	m := s.leases(func(o *lease.Options) { o.Now = c.Now })
	l, err := m.Acquire(s.ctx, s.btc, "a", asked(time.Hour))
	must(t, err)
	c.set(begun.Round(0).Add(30 * time.Minute))
	must(t, l.Err())
	// Only the wall clock went on: Round strips the other one.
	c.set(begun.Round(0).Add(time.Hour))
	wantErr(t, l.Err(), errLost)
}

// A context that is derived from the lease's ends with it.
func TestLeaseContext(t *testing.T) {
	t.Parallel()
	s := newSuite(t, modes[0].opt(t))
	m := s.leases()
	l, err := m.Acquire(s.ctx, s.btc, "a", asked(time.Hour))
	must(t, err)
	child, cancel := context.WithCancel(l.Context())
	defer cancel()
	must(t, child.Err())
	must(t, l.Release(s.ctx))
	<-child.Done()
	wantErr(t, context.Cause(child), errLost, "released")
	late, cancel := context.WithCancel(l.Context())
	defer cancel()
	<-late.Done()
}

func TestLeaseAfterClose(t *testing.T) {
	conformance(t, func(s *suite) {
		m := s.leases()
		l, err := m.Acquire(s.ctx, s.btc, "a", asked(time.Hour))
		must(s, err)
		m.Close()
		wantErr(s, l.Err(), errLost)
		wantErr(s, l.Err(), errClosed)
		if got := s.lost.all(); len(got) != 0 {
			s.Errorf("told %q of what was meant", got)
		}
		eth := resource(s.space, "kraken", "ETH/USD")
		_, err = m.Acquire(s.ctx, eth, "a", asked(time.Hour))
		wantErr(s, err, errClosed)
		// The client ends while a lease is kept.
		db := s.connect()
		other := lease.New(db, rules(s.space, s.lost))
		xrp := resource(s.space, "kraken", "XRP/USD")
		l, err = other.Acquire(s.ctx, xrp, "a", asked(time.Hour))
		must(s, err)
		db.Close()
		l.Tick()
		wantErr(s, l.Err(), errClosed)
		_, err = other.Wait(s.ctx, xrp, "a", asked(time.Hour))
		wantErr(s, err, errClosed)
	})
}

// Renewals that cannot be sent are tried again until the time is over; then the
// lease is lost, and says what stood in the way.
func TestLeaseCannotBeRenewed(t *testing.T) {
	for name, fault := range map[string]struct {
		begin, end func(*testenv.Proxy, testing.TB)
	}{
		"cut": {func(p *testenv.Proxy, _ testing.TB) { p.Cut() }, func(p *testenv.Proxy, t testing.TB) { p.Restore(t) }},
		"stalled": {
			func(p *testenv.Proxy, _ testing.TB) { p.Stall() },
			func(p *testenv.Proxy, _ testing.TB) { p.Flow() },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy := testenv.NewProxy(t, testenv.Redis(t).Addr())
			s := newSuite(t, options(proxy.Addr()))
			m := s.leases()
			lasting, err := m.Acquire(s.ctx, s.btc, "a", asked(20*time.Second))
			must(t, err)
			// A short cut is ridden out.
			fault.begin(proxy, t)
			lasting.Tick()
			fault.end(proxy, t)
			until := lasting.Until()
			testenv.Eventually(t, "a renewal", func() (bool, string) {
				must(t, lasting.Err())
				return lasting.Until().After(until), until.String()
			})
			eth := resource(s.space, "kraken", "ETH/USD")
			short, err := m.Acquire(s.ctx, eth, "a", asked(400*time.Millisecond))
			must(t, err)
			fault.begin(proxy, t)
			defer fault.end(proxy, t)
			select {
			case <-short.Context().Done():
			case <-time.After(testenv.Patience):
				t.Fatal("it goes on")
			}
			if err := short.Err(); !errors.Is(err, errLost) || !errors.Is(err, errUnavailable) && !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v", err)
			}
			ended, cancel := context.WithTimeout(s.ctx, 100*time.Millisecond)
			defer cancel()
			if _, err := m.Acquire(ended, eth, "b", asked(time.Second)); err == nil {
				t.Error("a lease without a server")
			}
		})
	}
}

// What is unknown is given back if nobody can ask for it again, and kept if
// somebody can.
func TestLeaseUnknownOutcome(t *testing.T) {
	t.Parallel()
	for _, id := range []string{"", "mine"} {
		t.Run("id "+id, func(t *testing.T) {
			t.Parallel()
			proxy := testenv.NewProxy(t, testenv.Redis(t).Addr())
			s := newSuite(t, options(proxy.Addr()))
			m := s.leases()
			must(t, second(m.Hold(s.ctx, resource(s.space, "kraken", "X"), "a", time.Minute))) // connected, and the script is there
			// The lease is given, and the answer under way: on a busy machine it may be
			// faster than who gives up.
			there := func() string { return text(t, testenv.Redis(t), "HGET", s.btc.Key, "token") }
			try := func() (token string, err error) {
				ended, cancel := context.WithCancel(s.ctx)
				defer cancel()
				proxy.Slow(500 * time.Millisecond)
				defer proxy.Slow(0)
				given := make(chan *lease.Lease, 1)
				go func() {
					var l *lease.Lease
					l, err = m.Acquire(ended, s.btc, "a", lease.Request{TTL: time.Hour, ID: id})
					given <- l
				}()
				testenv.Eventually(t, "the lease", func() (bool, string) { token = there(); return token != "", "" })
				cancel()
				if l := <-given; l != nil {
					must(t, l.Release(s.ctx))
				}
				return token, err
			}
			token, err := try()
			for err == nil {
				token, err = try()
			}
			wantErr(t, err, context.Canceled)
			if id == "" {
				testenv.Eventually(t, "its return", func() (bool, string) { return there() == "", there() })
				return
			}
			l, err := m.Acquire(s.ctx, s.btc, "a", lease.Request{TTL: time.Hour, ID: id})
			must(t, err)
			if fmt.Sprint(l.Token) != token {
				t.Errorf("token %d, then %s", l.Token, token)
			}
		})
	}
}

func second[T any](_ T, err error) error { return err }

func text(t testing.TB, srv *testenv.Server, words ...string) string {
	t.Helper()
	msg, err := srv.Try(t, words...)
	if err != nil {
		return ""
	}
	text, _ := msg.ToString()
	return text
}

// Release can be tried again when the server could not be told.
func TestLeaseReleaseAgain(t *testing.T) {
	t.Parallel()
	proxy := testenv.NewProxy(t, testenv.Redis(t).Addr())
	s := newSuite(t, options(proxy.Addr()))
	m := s.leases()
	l, err := m.Acquire(s.ctx, s.btc, "a", asked(time.Hour))
	must(t, err)
	proxy.Cut()
	wantErr(t, l.Release(s.ctx), errUnavailable)
	wantErr(t, l.Err(), errLost, "released")
	proxy.Restore(t)
	testenv.Eventually(t, "the release", func() (bool, string) {
		err := l.Release(s.ctx)
		return err == nil, fmt.Sprint(err)
	})
	must(t, l.Release(s.ctx))
	if _, held, err := m.Get(s.ctx, s.btc); err != nil || held {
		t.Errorf("it is held: %v", err)
	}
}

// A token never goes back: not when the server forgets, nor when a client has seen a
// greater one than the server's clock tells.
func TestTokenNeverGoesBack(t *testing.T) {
	conformance(t, func(s *suite) {
		m := s.leases()
		var last int64
		take := func() {
			s.Helper()
			l, err := m.Acquire(s.ctx, s.btc, "a", asked(time.Hour))
			must(s, err)
			if l.Token <= last {
				s.Fatalf("token %d after %d", l.Token, last)
			}
			last = l.Token
			must(s, l.Release(s.ctx))
		}
		for range 50 {
			take()
		}
		if now := time.Now().Add(-time.Minute).UnixMicro(); last < now {
			s.Errorf("token %d is below the time, %d", last, now)
		}
		s.do("DEL", s.btc.Fence)
		take()
		s.do("SET", s.btc.Fence, fmt.Sprint(last+1_000_000_000_000)) // a server ahead
		take()
		m = s.leases() // of another client, which has seen none
		take()
		s.do("DEL", s.btc.Fence) // which then fails
		take()
	})
}

// Only the first in line is woken, once for each time that the lease is free.
func TestWaitWakesOne(t *testing.T) {
	conformance(t, func(s *suite) {
		const waiters = 16
		m := s.leases(func(o *lease.Options) { o.WaiterTTL = time.Minute })
		m.SetIdle(time.Millisecond) // it is in use
		l, err := m.Acquire(s.ctx, s.btc, "holder", asked(time.Minute))
		must(s, err)
		turns := make(chan *lease.Lease, waiters)
		for i := range waiters {
			go func() {
				l, err := m.Wait(s.ctx, s.btc, fmt.Sprint("bot_", i), asked(time.Minute))
				if err != nil {
					s.Error(err)
				}
				turns <- l
			}()
			testenv.Eventually(s, "its place", func() (bool, string) {
				n := s.do("ZCARD", keys.LeaseLine(s.btc.Key))
				return n == fmt.Sprint(i+1), n
			})
		}
		for i := range waiters {
			must(s, l.Release(s.ctx))
			select {
			case l = <-turns:
			case <-time.After(testenv.Patience):
				s.Fatal("nobody's turn")
			}
			if want := fmt.Sprint("bot_", i); l == nil || l.Holder != want {
				s.Fatalf("it is the turn of %+v, want %s", l, want)
			}
			if n := m.Wakes(); n > int64(i+1) {
				s.Fatalf("%d were woken for %d turns", n, i+1)
			}
		}
		// A sign of life may have been there first.
		if n := m.Wakes(); n < waiters/2 {
			s.Errorf("%d were woken for %d turns", n, waiters)
		}
		must(s, l.Release(s.ctx))
	})
}

// Who waits and dies loses its place; the next is told when it is free.
func TestWaitDropsTheDead(t *testing.T) {
	conformance(t, func(s *suite) {
		m := s.leases(func(o *lease.Options) { o.WaiterTTL = 500 * time.Millisecond })
		l, err := m.Acquire(s.ctx, s.btc, "holder", asked(time.Minute))
		must(s, err)
		db := s.connect()
		gone := lease.New(db, func() lease.Options {
			o := rules(s.space, s.lost)
			o.WaiterTTL = 500 * time.Millisecond
			return o
		}())
		died := make(chan error, 1)
		go func() { died <- second(gone.Wait(s.ctx, s.btc, "dead", asked(time.Minute))) }()
		line := keys.LeaseLine(s.btc.Key)
		testenv.Eventually(s, "its place", func() (bool, string) { return s.do("ZCARD", line) == "1", "" })
		turn := make(chan error, 1)
		go func() { turn <- second(m.Wait(s.ctx, s.btc, "next", asked(time.Minute))) }()
		testenv.Eventually(s, "its place", func() (bool, string) { return s.do("ZCARD", line) == "2", "" })
		db.Close()
		wantErr(s, <-died, errClosed)
		must(s, l.Release(s.ctx)) // it may be the dead that is told
		select {
		case err := <-turn:
			must(s, err)
		case <-time.After(testenv.Patience):
			s.Fatal("nobody's turn")
		}
	})
}

// In the middle of the line one dies, then the first does: who finds that it is free
// though it is not the first tells who is.
func TestWaitPassesTheWordOn(t *testing.T) {
	conformance(t, func(s *suite) {
		m := s.leases(func(o *lease.Options) { o.WaiterTTL = time.Minute })
		take := func(holder, id string) *lease.Refused {
			s.Helper()
			_, refused, err := m.Take(s.ctx, s.btc, holder, lease.Request{TTL: time.Minute, ID: id}, true)
			must(s, err)
			return refused
		}
		l, err := m.Acquire(s.ctx, s.btc, "holder", asked(time.Minute))
		must(s, err)
		take("dead", "1")
		turn := make(chan error, 1)
		go func() { turn <- second(m.Wait(s.ctx, s.btc, "next", asked(time.Minute))) }()
		testenv.Eventually(s, "its place", func() (bool, string) {
			n := s.do("ZCARD", keys.LeaseLine(s.btc.Key))
			return n == "2", n
		})
		testenv.Eventually(s, "that it listens", func() (bool, string) { return m.Waiting() == 1, "" })
		must(s, l.Release(s.ctx)) // the dead is told
		waiting := keys.LeaseWaiting(s.btc.Key)
		_, rest, _ := strings.Cut(s.do("HGET", waiting, "1"), " ")
		s.do("HSET", waiting, "1", "1 "+rest)
		testenv.Eventually(s, "the next one's turn", func() (bool, string) {
			select {
			case err := <-turn:
				must(s, err)
				return true, ""
			default:
			}
			refused := take("last", "3")
			if refused == nil {
				s.Fatal("the last overtook the next")
			}
			return false, refused.Err.Error()
		})
	})
}

// The connection that tells whose turn it is may break; signs of life find out
// meanwhile, and it comes back. Unused, it is given up.
func TestWaitListensAgain(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	s := newSuite(t, options(srv.Addr()))
	m := s.leases(func(o *lease.Options) { o.WaiterTTL = 2 * time.Second })
	m.SetIdle(50 * time.Millisecond)
	listeners := func() int {
		list, err := srv.Do(t, "CLIENT", "LIST", "TYPE", "pubsub").ToString()
		must(t, err)
		return strings.Count(list, "id=")
	}
	listens := func(n int) {
		t.Helper()
		testenv.Eventually(t, fmt.Sprint(n, " connections"), func() (bool, string) { return listeners() == n, fmt.Sprint(listeners()) })
	}
	for _, fault := range []func(){
		func() {},
		func() { srv.KillClients(t, "pubsub") },
	} {
		l, err := m.Acquire(s.ctx, s.btc, "holder", asked(time.Minute))
		must(t, err)
		turn := make(chan error, 1)
		go func() {
			l, err := m.Wait(s.ctx, s.btc, "next", asked(time.Minute))
			if err == nil {
				err = l.Release(s.ctx)
			}
			turn <- err
		}()
		listens(1)
		fault()
		listens(1)
		must(t, l.Release(s.ctx))
		select {
		case err := <-turn:
			must(t, err)
		case <-time.After(testenv.Patience):
			t.Fatal("nobody's turn")
		}
		listens(0)
		testenv.Eventually(t, "nobody waits", func() (bool, string) { return m.Waiting() == 0, "" })
	}
}

// Who waits finds out by its signs of life where no connection is left to listen.
func TestWaitWithoutListening(t *testing.T) {
	t.Parallel()
	opt := modes[0].opt(t)
	opt.MaxConnections = 1
	s := newSuite(t, opt)
	m := s.leases(func(o *lease.Options) { o.WaiterTTL = time.Second })
	l, err := m.Acquire(s.ctx, s.btc, "holder", asked(time.Minute))
	must(t, err)
	turn := make(chan error, 1)
	wait := func(bot string) {
		t.Helper()
		go func() { turn <- second(m.Wait(s.ctx, s.btc, bot, asked(time.Minute))) }()
		testenv.Eventually(t, "its place", func() (bool, string) { return s.do("ZCARD", keys.LeaseLine(s.btc.Key)) == "1", "" })
	}
	wait("next")
	must(t, l.Release(s.ctx))
	must(t, s.ended(turn))
	if n := m.Wakes(); n != 0 {
		t.Errorf("%d were told", n)
	}
	wait("last")
	s.db.Close()
	wantErr(t, s.ended(turn), errClosed)
}

// ended waits for the end of what must end.
func (s *suite) ended(done <-chan error) error {
	s.Helper()
	select {
	case err := <-done:
		return err
	case <-time.After(testenv.Patience):
		s.Fatal("it does not end")
		return nil
	}
}

// When a slot moves, the server ends the subscription: it is made anew where the
// slot is now.
func TestWaitWhileASlotMoves(t *testing.T) {
	t.Parallel()
	cluster := testenv.NewCluster(t)
	opt := options(cluster.Addrs()...)
	opt.Cluster = true
	s := newSuite(t, opt)
	m := s.leases(func(o *lease.Options) { o.WaiterTTL = time.Hour })
	l, err := m.Acquire(s.ctx, s.btc, "holder", asked(time.Minute))
	must(t, err)
	turn := make(chan error, 1)
	go func() { turn <- second(m.Wait(s.ctx, s.btc, "next", asked(time.Minute))) }()
	listens := func(node *testenv.Server) {
		t.Helper()
		testenv.Eventually(t, "a subscription", func() (bool, string) {
			channels, err := node.Do(t, "PUBSUB", "SHARDCHANNELS").AsStrSlice()
			must(t, err)
			return len(channels) == 1, fmt.Sprint(channels)
		})
	}
	slot := cluster.Slot(t, s.btc.Key)
	from := cluster.Owner(t, slot)
	listens(from)
	to := cluster.Nodes[0]
	if to == from {
		to = cluster.Nodes[1]
	}
	cluster.MoveSlot(t, slot, to)
	listens(to)
	must(t, l.Release(s.ctx))
	must(t, s.ended(turn))
	if n := m.Wakes(); n != 1 {
		t.Errorf("%d were told", n)
	}
}

// countsFailures is a suite on a server of its own, and how many calls found that away.
func countsFailures(t *testing.T, srv *testenv.Server) (*suite, *atomic.Int64) {
	opt, failed := options(srv.Addr()), &atomic.Int64{}
	unavailable := opt.Unavailable
	opt.Unavailable = func(after time.Duration, err error) error {
		failed.Add(1)
		return unavailable(after, err)
	}
	return newSuite(t, opt), failed
}

// Who gives up in line while the server is away is told that it was.
func TestWaitEndsInAnOutage(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	s, failed := countsFailures(t, srv)
	m := s.leases(func(o *lease.Options) { o.WaiterTTL = time.Second })
	must(t, second(m.Acquire(s.ctx, s.btc, "holder", asked(time.Hour))))
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	turn := make(chan error, 1)
	go func() { turn <- second(m.Wait(ctx, s.btc, "next", asked(time.Minute))) }()
	testenv.Eventually(t, "its place", func() (bool, string) { return s.do("ZCARD", keys.LeaseLine(s.btc.Key)) == "1", "" })
	srv.Kill()
	testenv.Eventually(t, "signs of life that fail", func() (bool, string) { n := failed.Load(); return n > 2, fmt.Sprint(n) })
	cancel()
	err := s.ended(turn)
	wantErr(t, err, context.Canceled)
	wantErr(t, err, errUnavailable)
}

// A group that could not be put into its index is with the next lease: one that no
// listing shows is nobody's to find.
func TestGroupIsIndexedAfterAFailure(t *testing.T) {
	conformance(t, func(s *suite) {
		m := s.leases()
		s.do("SET", s.btc.Groups, "text")
		wantErr(s, second(m.Acquire(s.ctx, s.btc, "a", asked(time.Minute))), errCorrupt)
		s.do("DEL", s.btc.Groups)
		must(s, second(m.Acquire(s.ctx, s.btc, "a", asked(time.Minute))))
		if got := s.do("SISMEMBER", s.btc.Groups, s.btc.Group); got != "1" {
			s.Errorf("indexed: %s", got)
		}
	})
}

// One that waits rides a restart of the server out, and stands in line again.
func TestWaitThroughARestart(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	s, failed := countsFailures(t, srv)
	m := s.leases(func(o *lease.Options) { o.WaiterTTL = time.Second })
	before, err := m.Acquire(s.ctx, s.btc, "holder", asked(time.Minute))
	must(t, err)
	type result struct {
		l   *lease.Lease
		err error
	}
	turn := make(chan result, 1)
	go func() {
		l, err := m.Wait(s.ctx, s.btc, "next", asked(time.Minute))
		turn <- result{l, err}
	}()
	testenv.Eventually(t, "its place", func() (bool, string) { return s.do("ZCARD", keys.LeaseLine(s.btc.Key)) == "1", "" })
	srv.Kill()
	hopeless, cancel := context.WithTimeout(s.ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := m.Wait(hopeless, s.btc, "hasty", asked(time.Minute)); err == nil {
		t.Error("a lease without a server")
	}
	// The hasty one asks, and gives back; the rest are signs of life.
	testenv.Eventually(t, "signs of life that fail", func() (bool, string) { n := failed.Load(); return n > 3, fmt.Sprint(n) })
	srv.Restart(t)
	m.Distrust()
	select {
	case r := <-turn:
		must(t, r.err)
		if r.l.Token <= before.Token {
			t.Errorf("token %d after %d", r.l.Token, before.Token)
		}
	case <-time.After(testenv.Patience):
		t.Fatal("nobody's turn")
	}
	before.Renew(s.ctx)
	wantErr(t, before.Err(), errLost)
	wantBlocked(t, before.Err(), "next")
}
