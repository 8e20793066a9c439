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

// plain is a lease as most bots want it.
var plain = fulloncache.LeaseOptions{}

func acquire(s *suite, c *fulloncache.Client, m fulloncache.Market, bot string, o fulloncache.LeaseOptions) *fulloncache.Lease {
	s.Helper()
	l, err := c.Bots.Acquire(s.ctx, m, bot, o)
	must(s, err)
	return l
}

// wantBlocked checks who is said to be in the way.
func wantBlocked(t testing.TB, err error, m fulloncache.Market, holder string) *fulloncache.BlockedError {
	t.Helper()
	var blocked *fulloncache.BlockedError
	if !errors.As(err, &blocked) || !errors.Is(err, fulloncache.ErrBlocked) {
		t.Fatalf("got %v, want that %s is in the way", err, holder)
	}
	if blocked.Market != m || blocked.Holder != holder || !blocked.Until.After(blocked.Since) || blocked.Since.Location() != time.UTC {
		t.Fatalf("got %+v, want %s by %s", blocked, m, holder)
	}
	if !strings.Contains(err.Error(), holder) || !strings.Contains(err.Error(), m.Symbol) {
		t.Fatalf("%q does not name %s and %s", err, holder, m)
	}
	return blocked
}

func wantFree(s *suite, c *fulloncache.Client, m fulloncache.Market) {
	s.Helper()
	if b, blocked, err := c.Bots.IsBlocked(s.ctx, m); err != nil || blocked {
		s.Fatalf("%s: %+v, %t, %v, want that it is free", m, b, blocked, err)
	}
}

func wantHeld(s *suite, c *fulloncache.Client, m fulloncache.Market, bot string) fulloncache.Block {
	s.Helper()
	b, blocked, err := c.Bots.IsBlocked(s.ctx, m)
	if err != nil || !blocked || b.Holder != bot || b.Market != m || !b.Until.After(b.Since) || b.Token < 1 {
		s.Fatalf("%s: %+v, %t, %v, want that %s has it", m, b, blocked, err, bot)
	}
	return b
}

func wantLost(t testing.TB, l *fulloncache.Lease, mentions ...string) {
	t.Helper()
	wantErr(t, l.Err(), fulloncache.ErrLeaseLost, mentions...)
	wantErr(t, context.Cause(l.Context()), fulloncache.ErrLeaseLost, mentions...)
	if l.Context().Err() == nil {
		t.Fatal("the context of a lost lease goes on")
	}
	select {
	case <-l.Context().Done():
	default:
		t.Fatal("the context of a lost lease is not done")
	}
}

// P5: the predecessor let a second bot take a block over, anybody end it, and a
// crashed bot keep it for ever.
func TestLeaseIsExclusive(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		other := s.open()
		wantFree(s, c, btc)
		before := time.Now()
		l := acquire(s, c, btc, "bot_1", plain)
		if l.Market() != btc || l.Bot() != "bot_1" || l.Token() < 1 || l.Err() != nil || l.Context().Err() != nil {
			s.Fatalf("got %v %q %d %v %v", l.Market(), l.Bot(), l.Token(), l.Err(), l.Context().Err())
		}
		if d := l.Until().Sub(before); d < 29*time.Second || d > 31*time.Second+time.Since(before) {
			s.Errorf("it is over in %s, want the default", d)
		}
		if d := time.Since(l.Since()); d < -time.Minute || d > time.Minute {
			s.Errorf("since %s is not the server's time", l.Since())
		}
		b := wantHeld(s, other, btc, "bot_1")
		if b.Token != l.Token() || !b.Since.Equal(l.Since()) {
			s.Errorf("%+v is not of the lease of %s, %d", b, l.Since(), l.Token())
		}
		for _, bot := range []string{"bot_2", "bot_1"} { // nor the same again
			_, err := other.Bots.Acquire(s.ctx, btc, bot, plain)
			if b := wantBlocked(s, err, btc, "bot_1"); b.Next || !b.Since.Equal(l.Since()) {
				s.Errorf("got %+v", b)
			}
		}
		_, err := other.Bots.Block(s.ctx, btc, "bot_2", fulloncache.BlockOptions{})
		wantBlocked(s, err, btc, "bot_1")
		wantBlocked(s, other.Bots.Unblock(s.ctx, btc, "bot_2", fulloncache.UnblockOptions{}), btc, "bot_1")
		must(s, other.Bots.Validate(s.ctx, btc, l.Token()))

		// Another market is another lease.
		l2 := acquire(s, other, eth, "bot_2", plain)
		if l2.Token() <= l.Token() {
			s.Errorf("tokens %d, then %d", l.Token(), l2.Token())
		}
		must(s, l.Release(s.ctx))
		wantLost(s, l, "released", "kraken BTC/USD", "bot_1")
		must(s, l.Release(s.ctx)) // again is safe
		wantFree(s, c, btc)
		wantErr(s, other.Bots.Validate(s.ctx, btc, l.Token()), fulloncache.ErrLeaseLost, "nobody")
		l3 := acquire(s, other, btc, "bot_2", plain)
		if l3.Token() <= l2.Token() {
			s.Errorf("tokens %d, then %d", l2.Token(), l3.Token())
		}
		err = other.Bots.Validate(s.ctx, btc, l.Token())
		wantErr(s, err, fulloncache.ErrLeaseLost)
		wantBlocked(s, err, btc, "bot_2")
		must(s, l.Release(s.ctx))
		wantHeld(s, c, btc, "bot_2")

		// Nobody but its holder ends it, but an operator.
		wantBlocked(s, c.Bots.Unblock(s.ctx, btc, "bot_1", fulloncache.UnblockOptions{}), btc, "bot_2")
		must(s, c.Bots.Unblock(s.ctx, btc, "operator", fulloncache.UnblockOptions{Force: true}))
		wantFree(s, c, btc)
		wantErr(s, c.Bots.Unblock(s.ctx, btc, "bot_2", fulloncache.UnblockOptions{}), fulloncache.ErrNotFound, "BTC/USD")
		must(s, l2.Release(s.ctx))
	})
}

// A lease goes on while its process lives, and ends when it does not.
func TestLeaseIsRenewed(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		const ttl = 2 * time.Second
		l := acquire(s, c, btc, "bot_1", fulloncache.LeaseOptions{TTL: ttl})
		until := wantHeld(s, c, btc, "bot_1").Until
		// Twice as long as it lasts without.
		testenv.Eventually(s, "renewals", func() (bool, string) {
			must(s, l.Err())
			b := wantHeld(s, c, btc, "bot_1")
			return b.Until.Sub(until) > ttl+ttl/4, b.Until.String()
		})
		must(s, l.Err())
		other := s.open()
		dead := acquire(s, other, eth, "bot_2", fulloncache.LeaseOptions{TTL: 300 * time.Millisecond})
		other.Close()
		wantErr(s, dead.Err(), fulloncache.ErrLeaseLost)
		wantErr(s, dead.Err(), fulloncache.ErrClosed)
		testenv.Eventually(s, "its end", func() (bool, string) {
			_, blocked, err := c.Bots.IsBlocked(s.ctx, eth)
			must(s, err)
			return !blocked, "held"
		})
		acquire(s, c, eth, "bot_1", plain)
	})
}

func TestLeaseReentrant(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		again := fulloncache.LeaseOptions{Reentrant: true}
		l := acquire(s, c, btc, "bot_1", again)
		second := acquire(s, s.open(), btc, "bot_1", again)
		if second.Token() != l.Token() || !second.Since().Equal(l.Since()) {
			s.Errorf("token %d since %s, then %d since %s", l.Token(), l.Since(), second.Token(), second.Since())
		}
		_, err := c.Bots.Acquire(s.ctx, btc, "bot_2", again)
		wantBlocked(s, err, btc, "bot_1")
		must(s, l.Release(s.ctx))
		wantHeld(s, c, btc, "bot_1")
		must(s, second.Err())
		must(s, second.Release(s.ctx))
		wantFree(s, c, btc)

		// A block is one hold beside them.
		b, err := c.Bots.Block(s.ctx, btc, "bot_1", fulloncache.BlockOptions{})
		must(s, err)
		l = acquire(s, c, btc, "bot_1", again)
		if l.Token() != b.Token {
			s.Errorf("token %d, then %d", b.Token, l.Token())
		}
		must(s, l.Release(s.ctx))
		wantHeld(s, c, btc, "bot_1")
		must(s, c.Bots.Unblock(s.ctx, btc, "bot_1", fulloncache.UnblockOptions{}))
		wantFree(s, c, btc)
	})
}

// Who asks again with the same id, because it does not know whether the lease was
// given, is given the same.
func TestLeaseRequestID(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		o := fulloncache.LeaseOptions{RequestID: "a b\n:{1}"}
		l := acquire(s, c, btc, "bot_1", o)
		again := acquire(s, s.open(), btc, "bot_1", o)
		if again.Token() != l.Token() {
			s.Errorf("token %d, then %d", l.Token(), again.Token())
		}
		_, err := c.Bots.Acquire(s.ctx, btc, "bot_2", o)
		wantBlocked(s, err, btc, "bot_1")
		must(s, again.Release(s.ctx))
		wantFree(s, c, btc)
		wantErr(s, c.Bots.Validate(s.ctx, btc, l.Token()), fulloncache.ErrLeaseLost)
	})
}

func TestLeaseNames(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		long := strings.Repeat("x", 10_000)
		odd := fulloncache.Market{Exchange: "a:{b}*%", Symbol: "7 x/ü:9"}
		for _, bot := range []string{"a:b:{c}", "with space\n", "é€", "-1 5", "\xff\x00", strings.Repeat("x", 256)} {
			l := acquire(s, c, odd, bot, plain)
			wantHeld(s, c, odd, bot)
			_, err := c.Bots.Acquire(s.ctx, odd, "other", plain)
			var blocked *fulloncache.BlockedError
			if !errors.As(err, &blocked) || blocked.Holder != bot || blocked.Market != odd {
				s.Errorf("got %v", err)
			}
			must(s, l.Release(s.ctx))
		}
		for _, bot := range []string{"", long} {
			what := "is empty"
			if bot != "" {
				what = "10000 bytes"
			}
			errs := map[string]error{}
			_, errs["Acquire"] = c.Bots.Acquire(s.ctx, btc, bot, plain)
			_, errs["AcquireWait"] = c.Bots.AcquireWait(s.ctx, btc, bot, plain)
			_, errs["Block"] = c.Bots.Block(s.ctx, btc, bot, fulloncache.BlockOptions{})
			errs["Unblock"] = c.Bots.Unblock(s.ctx, btc, bot, fulloncache.UnblockOptions{})
			_, errs["Mark"] = c.Bots.MarkOpeningPosition(s.ctx, btc, bot, fulloncache.BlockOptions{})
			errs["Unmark"] = c.Bots.UnmarkOpeningPosition(s.ctx, btc, bot, fulloncache.UnblockOptions{Force: true})
			errs["UpdateBot"] = c.Bots.UpdateBot(s.ctx, bot, said("btc", `1`))
			_, errs["Bot"] = c.Bots.Bot(s.ctx, bot)
			errs["DeleteBot"] = c.Bots.DeleteBot(s.ctx, bot)
			for _, err := range c.Bots.Watch(s.ctx, bot) {
				errs["Watch"] = err
			}
			for name, err := range errs {
				if !errors.Is(err, fulloncache.ErrInvalid) || !strings.Contains(err.Error(), "bot") || !strings.Contains(err.Error(), what) || len(err.Error()) > 500 {
					s.Errorf("%s of a bot that %s: %v", name, what, err)
				}
			}
		}
		wantFree(s, c, btc)
		for what, err := range map[string]error{
			"exchange": second(c.Bots.Acquire(s.ctx, fulloncache.Market{Symbol: "x"}, "b", plain)),
			"symbol":   c.Bots.Validate(s.ctx, fulloncache.Market{Exchange: "x"}, 1),
			"100ms":    second(c.Bots.Acquire(s.ctx, btc, "b", fulloncache.LeaseOptions{TTL: time.Millisecond})),
			"720h":     second(c.Bots.Block(s.ctx, btc, "b", fulloncache.BlockOptions{TTL: 1000 * time.Hour})),
			"request":  second(c.Bots.AcquireWait(s.ctx, btc, "b", fulloncache.LeaseOptions{RequestID: long})),
		} {
			wantErr(s, err, fulloncache.ErrInvalid, what)
		}
		_, blocked, err := c.Bots.IsBlocked(s.ctx, fulloncache.Market{})
		if wantErr(s, err, fulloncache.ErrInvalid); !blocked {
			s.Error("an error comes with free")
		}
	})
}

func second[T any](_ T, err error) error { return err }

// Two symbols that meet in one key never answer for each other.
func TestLeaseSymbolsMeet(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		joined := fulloncache.Market{Exchange: "kraken", Symbol: "BTCUSD"}
		l := acquire(s, c, btc, "bot_1", plain)
		for name, err := range map[string]error{
			"Acquire":     second(c.Bots.Acquire(s.ctx, joined, "bot_1", fulloncache.LeaseOptions{Reentrant: true})),
			"AcquireWait": second(c.Bots.AcquireWait(s.ctx, joined, "bot_1", plain)),
			"Block":       second(c.Bots.Block(s.ctx, joined, "bot_1", fulloncache.BlockOptions{})),
			"Unblock":     c.Bots.Unblock(s.ctx, joined, "bot_1", fulloncache.UnblockOptions{}),
			"by force":    c.Bots.Unblock(s.ctx, joined, "bot_1", fulloncache.UnblockOptions{Force: true}),
			"Validate":    c.Bots.Validate(s.ctx, joined, l.Token()),
		} {
			if !errors.Is(err, fulloncache.ErrInvalid) || !strings.Contains(err.Error(), `"BTCUSD"`) || !strings.Contains(err.Error(), `"BTC/USD"`) {
				s.Errorf("%s: %v", name, err)
			}
		}
		_, blocked, err := c.Bots.IsBlocked(s.ctx, joined)
		if wantErr(s, err, fulloncache.ErrInvalid); !blocked {
			s.Error("the other symbol looks free")
		}
		must(s, l.Err())
		wantHeld(s, c, btc, "bot_1")
		must(s, l.Release(s.ctx))
		wantFree(s, c, joined)
		must(s, acquire(s, c, joined, "bot_2", plain).Release(s.ctx))
	})
}

// Orders are taken only under the lease that is held: not before, not after, and not
// from who does not know yet that another has it.
func TestLeaseCoversOrders(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		n := 0
		submit := func(token int64) error {
			n++
			return c.Orders.Submit(s.ctx, orderAt(fmt.Sprint(n), n), fulloncache.UnderLease(token))
		}
		l := acquire(s, c, btc, "bot_1", plain)
		must(s, submit(l.Token()))
		wantErr(s, submit(l.Token()+1), fulloncache.ErrLeaseLost)
		other := s.open()
		must(s, other.Bots.Unblock(s.ctx, btc, "operator", fulloncache.UnblockOptions{Force: true}))
		wantErr(s, submit(l.Token()), fulloncache.ErrLeaseLost)
		l2 := acquire(s, other, btc, "bot_2", plain)
		must(s, l.Err()) // it has not renewed since
		wantErr(s, submit(l.Token()), fulloncache.ErrLeaseLost)
		must(s, submit(l2.Token()))
		must(s, l2.Release(s.ctx))
		wantErr(s, submit(l2.Token()), fulloncache.ErrLeaseLost)
		wantStats(s, c, fulloncache.QueueStats{Length: 2})
	})
}

// waiting starts to wait for a market; the result comes over the channel.
type waited struct {
	l   *fulloncache.Lease
	err error
}

func wait(ctx context.Context, c *fulloncache.Client, m fulloncache.Market, bot string, o fulloncache.LeaseOptions) <-chan waited {
	done := make(chan waited, 1)
	go func() {
		l, err := c.Bots.AcquireWait(ctx, m, bot, o)
		done <- waited{l, err}
	}()
	return done
}

func (s *suite) awaited(done <-chan waited) *fulloncache.Lease {
	s.Helper()
	select {
	case w := <-done:
		must(s, w.err)
		return w.l
	case <-time.After(testenv.Patience):
		s.Fatal("the wait does not end")
		return nil
	}
}

// inLine waits until so many wait for a market.
func (s *suite) inLine(m fulloncache.Market, n int) {
	s.Helper()
	key := s.key("block_exchange", m.Exchange, ":"+strings.ReplaceAll(m.Symbol, "/", "")+":line")
	testenv.Eventually(s, fmt.Sprintf("%d in line", n), func() (bool, string) {
		got, err := s.mode.admin(s, key).Do(s, "ZCARD", key).ToInt64()
		must(s, err)
		return int(got) == n, fmt.Sprint(got)
	})
}

func TestLeaseWaitIsFair(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		must(s, s.awaited(wait(s.ctx, c, btc, "first", plain)).Release(s.ctx)) // at once
		l := acquire(s, c, btc, "bot_0", plain)
		other := s.open()
		var turns []<-chan waited
		for i := range 4 {
			turns = append(turns, wait(s.ctx, []*fulloncache.Client{c, other}[i%2], btc, fmt.Sprint("bot_", i+1), plain))
			if s.mode.admin != nil {
				s.inLine(btc, i+1)
				continue
			}
			testenv.Eventually(s, "its place", func() (bool, string) { return len(s.keysOf(other, "*:waiting")) > 0, "" })
			if i == 0 {
				break // whom the line is of cannot be seen here
			}
		}
		for i, turn := range turns {
			must(s, l.Release(s.ctx))
			if i < len(turns)-1 || len(turns) == 1 {
				// It is free, and promised: who does not wait never overtakes.
				_, err := c.Bots.Acquire(s.ctx, btc, "hasty", plain)
				if !errors.Is(err, fulloncache.ErrBlocked) {
					s.Fatalf("got %v", err)
				}
			}
			l = s.awaited(turn)
			if want := fmt.Sprint("bot_", i+1); l.Bot() != want {
				s.Fatalf("%s has it, want %s", l.Bot(), want)
			}
		}
		must(s, l.Release(s.ctx))
		wantFree(s, c, btc)
		if left := s.keysOf(c, "block_exchange*BTCUSD*"); len(left) > 0 {
			s.Errorf("left behind: %q", left)
		}
	})
}

// keysOf lists keys.
func (s *suite) keysOf(c *fulloncache.Client, pattern string) (list []string) {
	s.Helper()
	for key, err := range c.Base.Keys(s.ctx, pattern) {
		must(s, err)
		list = append(list, key)
	}
	return list
}

// Who gives up waiting stands in nobody's way.
func TestLeaseWaitGivenUp(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		l := acquire(s, c, btc, "bot_1", plain)
		short, cancel := context.WithCancel(s.ctx)
		gone := wait(short, c, btc, "bot_2", plain)
		testenv.Eventually(s, "a place in line", func() (bool, string) { return len(s.keysOf(c, "*:waiting")) > 0, "" })
		stays := wait(s.ctx, s.open(), btc, "bot_3", fulloncache.LeaseOptions{RequestID: "mine"})
		cancel()
		w := <-gone
		wantErr(s, w.err, context.Canceled, "kraken BTC/USD")
		wantBlocked(s, w.err, btc, "bot_1")
		must(s, l.Release(s.ctx))
		l = s.awaited(stays)
		must(s, l.Release(s.ctx))
		wantFree(s, c, btc)
		ended, cancel := context.WithCancel(s.ctx)
		cancel()
		for _, err := range []error{second(c.Bots.AcquireWait(ended, btc, "bot_1", plain)), second(c.Bots.Acquire(ended, btc, "bot_1", plain))} {
			wantErr(s, err, context.Canceled)
		}
		// A lease outlives the context of the call; Release works without one.
		short, cancel = context.WithCancel(context.WithValue(s.ctx, ctxKey{}, "v"))
		l, err := c.Bots.Acquire(short, btc, "bot_1", plain)
		must(s, err)
		cancel()
		must(s, l.Err())
		if must(s, l.Context().Err()); l.Context().Value(ctxKey{}) != "v" {
			s.Error("the context's values are lost")
		}
		must(s, l.Release(short))
		wantFree(s, c, btc)
	})
}

type ctxKey struct{}

// An owner that died is waited for until its lease ends.
func TestLeaseWaitBehindTheDead(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		holder := s.open()
		acquire(s, holder, btc, "bot_1", fulloncache.LeaseOptions{TTL: time.Second})
		turn := wait(s.ctx, c, btc, "bot_2", plain)
		holder.Close()
		if l := s.awaited(turn); l.Bot() != "bot_2" {
			s.Errorf("%s has it", l.Bot())
		}
	})
}

// A force-ended lease is lost at the next renewal, and not released any more.
func TestLeaseTakenAway(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		ev := &events{}
		s.cfg.Hooks = []fulloncache.Hooks{ev.hook()}
		holder := s.open()
		force := fulloncache.UnblockOptions{Force: true}
		for _, next := range []string{"", "bot_2"} {
			had := ev.count(fulloncache.EventLeaseLost)
			l := acquire(s, holder, btc, "bot_1", fulloncache.LeaseOptions{TTL: time.Second})
			kept := acquire(s, holder, btc, "bot_1", fulloncache.LeaseOptions{Reentrant: true})
			must(s, c.Bots.Unblock(s.ctx, btc, "operator", force))
			if next != "" {
				acquire(s, c, btc, next, plain)
			}
			wantErr(s, c.Bots.Validate(s.ctx, btc, l.Token()), fulloncache.ErrLeaseLost)
			select {
			case <-l.Context().Done():
			case <-time.After(testenv.Patience):
				s.Fatal("the context goes on")
			}
			wantLost(s, l, next)
			wantErr(s, l.Release(s.ctx), fulloncache.ErrLeaseLost)
			err := kept.Release(s.ctx) // it does not know yet
			if next == "" {
				must(s, err) // nobody has had it since
			} else {
				wantErr(s, err, fulloncache.ErrLeaseLost, next)
			}
			eventually(s, ev, fulloncache.EventLeaseLost, had+1)
			testenv.Eventually(s, "a report to the operator", func() (bool, string) {
				e, err := c.Base.PopGlobalError(s.ctx, 0)
				return err == nil && e.Component == "fullon.cache.bots" && strings.Contains(e.Message, "kraken BTC/USD"), fmt.Sprint(e, err)
			})
		}
		must(s, c.Bots.Unblock(s.ctx, btc, "bot_2", fulloncache.UnblockOptions{}))
		// Somebody had another market in between: for all that is known it was this one.
		l := acquire(s, holder, btc, "bot_1", plain)
		must(s, c.Bots.Unblock(s.ctx, btc, "operator", force))
		acquire(s, c, eth, "bot_2", plain)
		wantErr(s, l.Release(s.ctx), fulloncache.ErrLeaseLost)
	})
}

func TestLeaseManyAtOnce(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		const bots, rounds = 8, 5
		clients := []*fulloncache.Client{c, s.open()}
		var (
			wg   sync.WaitGroup
			mu   sync.Mutex
			has  string
			last int64
		)
		for i := range bots {
			wg.Go(func() {
				bot := fmt.Sprint("bot_", i)
				for range rounds {
					l, err := clients[i%2].Bots.AcquireWait(s.ctx, btc, bot, plain)
					if err != nil {
						s.Error(err)
						return
					}
					mu.Lock()
					if has != "" || l.Token() <= last {
						s.Errorf("%s has it with %d, and %s had it with %d", bot, l.Token(), has, last)
					}
					has, last = bot, l.Token()
					mu.Unlock()
					if err := l.Err(); err != nil {
						s.Error(err)
					}
					mu.Lock()
					has = ""
					mu.Unlock()
					if err := l.Release(s.ctx); err != nil {
						s.Error(err)
					}
				}
			})
		}
		wg.Wait()
	})
}
