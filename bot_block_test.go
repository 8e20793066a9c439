package fulloncache_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// listed is what a listing of blocks without errors says: market, holder.
func listed(t testing.TB, list iter.Seq2[fulloncache.Block, error]) []string {
	t.Helper()
	got := []string{}
	for b, err := range list {
		must(t, err)
		if b.Token < 1 || !b.Until.After(b.Since) {
			t.Errorf("got %+v", b)
		}
		got = append(got, b.Market.String()+" "+b.Holder)
	}
	return got
}

func wantList(t testing.TB, list iter.Seq2[fulloncache.Block, error], want ...string) {
	t.Helper()
	if got := listed(t, list); !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// blocking are the two kinds of blocks, which are alike and have nothing to do with
// each other.
type blocking struct {
	block   func(ctx context.Context, m fulloncache.Market, bot string, o fulloncache.BlockOptions) (fulloncache.Block, error)
	unblock func(ctx context.Context, m fulloncache.Market, bot string, o fulloncache.UnblockOptions) error
	is      func(ctx context.Context, m fulloncache.Market) (fulloncache.Block, bool, error)
	list    func(ctx context.Context, exchanges ...string) iter.Seq2[fulloncache.Block, error]
	key     string
}

func blockings(c *fulloncache.Client) map[string]blocking {
	b := c.Bots
	return map[string]blocking{
		"block":   {b.Block, b.Unblock, b.IsBlocked, b.Blocks, "block_exchange"},
		"opening": {b.MarkOpeningPosition, b.UnmarkOpeningPosition, b.IsOpeningPosition, b.OpeningPositions, "opening_position"},
	}
}

// bothBlockings runs a test for each kind.
func bothBlockings(t *testing.T, test func(s *suite, c *fulloncache.Client, b blocking)) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		for name, b := range blockings(c) {
			s.Run(name, func(t *testing.T) {
				s := *s
				s.T = t
				test(&s, c, b)
			})
		}
	})
}

func TestBlock(t *testing.T) {
	bothBlockings(t, func(s *suite, _ *fulloncache.Client, b blocking) {
		got, err := b.block(s.ctx, btc, "bot_1", fulloncache.BlockOptions{})
		must(s, err)
		if got.Holder != "bot_1" || got.Market != btc || got.Token < 1 || got.Until.Sub(got.Since) < time.Minute {
			s.Errorf("got %+v", got)
		}
		is, blocked, err := b.is(s.ctx, btc)
		if must(s, err); !blocked || is != got {
			s.Errorf("got %+v, %t, want %+v", is, blocked, got)
		}
		_, err = b.block(s.ctx, btc, "bot_2", fulloncache.BlockOptions{})
		wantBlocked(s, err, btc, "bot_1")
		wantBlocked(s, b.unblock(s.ctx, btc, "bot_2", fulloncache.UnblockOptions{}), btc, "bot_1")

		// The same again prolongs it, and never shortens it.
		again, err := b.block(s.ctx, btc, "bot_1", fulloncache.BlockOptions{TTL: time.Second})
		if must(s, err); again != got {
			s.Errorf("got %+v, want %+v", again, got)
		}
		again, err = b.block(s.ctx, btc, "bot_1", fulloncache.BlockOptions{TTL: time.Hour})
		if must(s, err); again.Token != got.Token || !again.Since.Equal(got.Since) || again.Until.Sub(got.Until) < time.Minute {
			s.Errorf("got %+v, then %+v", got, again)
		}
		wantList(s, b.list(s.ctx, "kraken"), "kraken BTC/USD bot_1")
		must(s, b.unblock(s.ctx, btc, "bot_1", fulloncache.UnblockOptions{}))
		wantErr(s, b.unblock(s.ctx, btc, "bot_1", fulloncache.UnblockOptions{}), fulloncache.ErrNotFound)
		wantErr(s, b.unblock(s.ctx, btc, "bot_1", fulloncache.UnblockOptions{Force: true}), fulloncache.ErrNotFound)
		wantList(s, b.list(s.ctx))

		// P5: a crashed bot does not keep it for ever.
		_, err = b.block(s.ctx, btc, "bot_1", fulloncache.BlockOptions{TTL: 150 * time.Millisecond})
		must(s, err)
		testenv.Eventually(s, "its end", func() (bool, string) {
			_, blocked, err := b.is(s.ctx, btc)
			must(s, err)
			return !blocked, "held"
		})
		wantList(s, b.list(s.ctx, "kraken"))
		next, err := b.block(s.ctx, btc, "bot_2", fulloncache.BlockOptions{})
		if must(s, err); next.Token <= got.Token {
			s.Errorf("token %d after %d", next.Token, got.Token)
		}
		must(s, b.unblock(s.ctx, btc, "x", fulloncache.UnblockOptions{Force: true}))
	})
}

func TestBlockKindsAreApart(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		l := acquire(s, c, btc, "bot_1", plain)
		mark, err := c.Bots.MarkOpeningPosition(s.ctx, btc, "bot_2", fulloncache.BlockOptions{})
		must(s, err)
		if mark.Token <= l.Token() {
			s.Errorf("token %d after %d: the exchange has one counter", mark.Token, l.Token())
		}
		wantErr(s, c.Bots.Validate(s.ctx, btc, mark.Token), fulloncache.ErrLeaseLost)
		must(s, l.Release(s.ctx))
		_, opening, err := c.Bots.IsOpeningPosition(s.ctx, btc)
		if must(s, err); !opening {
			s.Error("it went with the lease")
		}
	})
}

func TestBlocks(t *testing.T) {
	bothBlockings(t, func(s *suite, c *fulloncache.Client, b blocking) {
		wantList(s, b.list(s.ctx))
		xrp := fulloncache.Market{Exchange: "bit:mex", Symbol: "XRP"}
		for i, m := range []fulloncache.Market{btc, xrp, eth} {
			_, err := b.block(s.ctx, m, fmt.Sprint("bot_", i), fulloncache.BlockOptions{})
			must(s, err)
		}
		all := []string{"bit:mex XRP bot_1", "kraken BTC/USD bot_0", "kraken ETH/USD bot_2"}
		wantList(s, b.list(s.ctx), all...)
		wantList(s, b.list(s.ctx, "kraken", "none", "kraken"), all[1:]...)
		for range b.list(s.ctx) {
			break // early
		}
		for _, err := range b.list(s.ctx, "") {
			wantErr(s, err, fulloncache.ErrInvalid, "exchange")
		}
		// Another client, after Clear: all is listed anew.
		_, err := c.Base.Clear(s.ctx)
		must(s, err)
		wantList(s, b.list(s.ctx))
		_, err = b.block(s.ctx, btc, "bot_9", fulloncache.BlockOptions{})
		must(s, err)
		wantList(s, b.list(s.ctx), "kraken BTC/USD bot_9")
		must(s, b.unblock(s.ctx, btc, "bot_9", fulloncache.UnblockOptions{}))
	})
}

// A lease that was taken just before the index was lost is listed again once it is
// renewed.
func TestBlocksAreIndexedAgain(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		if s.mode.admin == nil {
			return // it cannot be damaged
		}
		acquire(s, c, btc, "bot_1", fulloncache.LeaseOptions{TTL: 6 * time.Second})
		index := s.cfg.KeyPrefix + ":block_exchange"
		s.do("DEL", index)
		wantList(s, c.Bots.Blocks(s.ctx))
		wantList(s, c.Bots.Blocks(s.ctx, "kraken"), "kraken BTC/USD bot_1")
		testenv.Eventually(s, "the index", func() (bool, string) {
			got := listed(s, c.Bots.Blocks(s.ctx))
			return slices.Equal(got, []string{"kraken BTC/USD bot_1"}), fmt.Sprint(got)
		})
	})
}

func TestBlocksBeyondOnePage(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		const n = 1203
		var want []string
		for i := range n {
			m := fulloncache.Market{Exchange: "kraken", Symbol: fmt.Sprintf("S%04d/USD", i)}
			_, err := c.Bots.Block(s.ctx, m, "bot", fulloncache.BlockOptions{})
			must(s, err)
			want = append(want, m.String()+" bot")
		}
		wantList(s, c.Bots.Blocks(s.ctx), want...)
		got := 0
		for range c.Bots.Blocks(s.ctx) {
			if got++; got == 1100 {
				break
			}
		}
	})
}

// What cannot be read looks neither free nor held, wherever it shows, and hides no
// other; force mends it.
func TestBlockCorrupt(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		for kind, b := range blockings(c) {
			key := s.key(b.key, "kraken", ":BTCUSD")
			_, err := b.block(s.ctx, eth, "bot_2", fulloncache.BlockOptions{})
			must(s, err)
			for _, damage := range []struct{ field, value string }{
				{"holder", ""}, {"token", ""}, {"token", "x"}, {"token", "12345678901234567"}, {"since", ""}, {"since", "now"},
				{"until", ""}, {"until", "never"}, {"symbol", ""},
				{"since", "2026-19-01T00:00:00.000000000Z"}, {"until", "9999-19-01T00:00:00.000000000Z"},
			} {
				was, err := b.block(s.ctx, btc, "bot_1", fulloncache.BlockOptions{})
				must(s, err)
				if damage.value == "" {
					s.do("HDEL", key, damage.field)
				} else {
					s.do("HSET", key, damage.field, damage.value)
				}
				_, err = b.block(s.ctx, btc, "bot_2", fulloncache.BlockOptions{})
				wantCorrupt(s, err, key, damage.field)
				_, blocked, err := b.is(s.ctx, btc)
				if wantCorrupt(s, err, key, damage.field); !blocked {
					s.Errorf("%s: it looks free", damage.field)
				}
				var seen []string
				for found, err := range b.list(s.ctx, "kraken") {
					if seen = append(seen, found.Symbol+found.Holder); found.Symbol == "BTC/USD" {
						wantCorrupt(s, err, key, damage.field)
					} else {
						must(s, err)
					}
				}
				if fmt.Sprint(seen) != "[BTC/USD ETH/USDbot_2]" {
					s.Errorf("%s: listed %q", damage.field, seen)
				}
				bot := "bot_1"
				if strings.Contains(damage.value, "-19-") {
					bot = "bot_2" // the server sees nothing wrong, and does not tell its holder
				}
				wantCorrupt(s, b.unblock(s.ctx, btc, bot, fulloncache.UnblockOptions{}), key, damage.field)
				if kind == "block" {
					wantCorrupt(s, c.Bots.Validate(s.ctx, btc, was.Token), key, damage.field)
					_, err := c.Bots.AcquireWait(s.ctx, btc, "bot_2", plain)
					wantCorrupt(s, err, key, damage.field)
					s.inLine(btc, 0) // its place is given back behind its back
				}
				must(s, b.unblock(s.ctx, btc, "operator", fulloncache.UnblockOptions{Force: true}))
			}
			// Keys of other types.
			for _, other := range []string{key, s.key("fence", "kraken", ""), s.key(b.key, "kraken", ""), key + ":line", s.cfg.KeyPrefix + ":" + b.key} {
				must(s, b.unblock(s.ctx, eth, "x", fulloncache.UnblockOptions{Force: true}))
				s.do("DEL", other)
				s.do("LPUSH", other, "x")
				_, err := b.block(s.ctx, btc, "bot_1", fulloncache.BlockOptions{})
				wantCorrupt(s, err, other, "")
				if err := b.unblock(s.ctx, btc, "x", fulloncache.UnblockOptions{}); other == key {
					wantCorrupt(s, err, key, "")
					_, blocked, err := b.is(s.ctx, btc)
					if wantCorrupt(s, err, key, ""); !blocked {
						s.Error("it looks free")
					}
					must(s, b.unblock(s.ctx, btc, "operator", fulloncache.UnblockOptions{Force: true}))
				}
				for _, err := range b.list(s.ctx) {
					if !strings.HasSuffix(other, ":"+b.key) && other != s.key(b.key, "kraken", "") {
						continue
					}
					wantCorrupt(s, err, other, "")
					break
				}
				s.do("DEL", other)
				_, err = b.block(s.ctx, eth, "bot_2", fulloncache.BlockOptions{})
				must(s, err)
			}
			for _, fence := range []string{"x", "9007199254740991", "123456789012345678"} {
				must(s, b.unblock(s.ctx, eth, "x", fulloncache.UnblockOptions{Force: true}))
				s.do("SET", s.key("fence", "kraken", ""), fence)
				_, err := b.block(s.ctx, eth, "bot_2", fulloncache.BlockOptions{})
				wantCorrupt(s, err, s.key("fence", "kraken", ""), "")
				wantErr(s, err, fulloncache.ErrCorrupt, fence)
				_, err = b.block(s.ctx, eth, "bot_2", fulloncache.BlockOptions{}) // it is still there
				wantErr(s, err, fulloncache.ErrCorrupt, fence)
				s.do("DEL", s.key("fence", "kraken", ""))
				_, err = b.block(s.ctx, eth, "bot_2", fulloncache.BlockOptions{})
				must(s, err)
			}
			must(s, b.unblock(s.ctx, eth, "x", fulloncache.UnblockOptions{Force: true}))
		}
		// A token beyond the time is followed by the next.
		s.do("SET", s.key("fence", "kraken", ""), "9007199254740000")
		if l := acquire(s, c, btc, "bot_1", plain); l.Token() != 9007199254740001 {
			s.Errorf("token %d", l.Token())
		}
	})
}

// One block by hand, or one of another program, that never gets its expiry from
// Redis is over when it says so.
func TestBlockWithoutTTL(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		key := s.key("block_exchange", "kraken", ":BTCUSD")
		s.do("HSET", key, "symbol", "BTC/USD", "holder", "old", "token", "7", "since", "2020-01-01T00:00:00.000000000Z", "until", "2020-01-01T00:00:01.000000000Z")
		wantFree(s, c, btc)
		must(s, acquire(s, c, btc, "bot_1", plain).Release(s.ctx))
		s.do("HSET", key, "symbol", "BTC/USD", "holder", "hand", "token", "7", "since", "2020-01-01T00:00:00.000000000Z", "until", "9999-01-01T00:00:01.000000000Z")
		wantHeld(s, c, btc, "hand")
		_, err := c.Bots.Acquire(s.ctx, btc, "bot_1", plain)
		wantBlocked(s, err, btc, "hand")
		short, cancel := context.WithTimeout(s.ctx, 100*time.Millisecond)
		defer cancel()
		_, err = c.Bots.AcquireWait(short, btc, "bot_1", plain)
		wantErr(s, err, context.DeadlineExceeded)
		wantBlocked(s, err, btc, "hand")
		must(s, c.Bots.Unblock(s.ctx, btc, "hand", fulloncache.UnblockOptions{}))
		wantFree(s, c, btc)
	})
}

// P6: with Redis down the predecessor answered "is it blocked?" and "is a position
// being opened?" with no. Here every question is answered with an error, and with
// yes for whoever ignores it.
func TestFaultBotsRedisDown(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	ev := &events{}
	c := open(t, fulloncache.Config{
		URL: srv.URL(), SocketTimeout: 500 * time.Millisecond, BreakerCooldown: 20 * time.Millisecond, Hooks: []fulloncache.Hooks{ev.hook()},
	})
	ctx := testenv.Context(t)
	l, err := c.Bots.Acquire(ctx, btc, "bot_1", fulloncache.LeaseOptions{TTL: time.Second})
	must(t, err)
	must(t, c.Bots.UpdateBot(ctx, "bot_1", said("btc", "1")))
	other := open(t, fulloncache.Config{URL: srv.URL(), SocketTimeout: 500 * time.Millisecond, BreakerCooldown: 20 * time.Millisecond})
	l2, err := other.Bots.Acquire(ctx, eth, "bot_2", fulloncache.LeaseOptions{TTL: time.Second})
	must(t, err)
	srv.Kill()
	unavailable := func() {
		t.Helper()
		for name, ask := range map[string]func() error{
			"Acquire":     func() error { return second(c.Bots.Acquire(ctx, eth, "bot_1", plain)) },
			"AcquireWait": func() error { return second(c.Bots.AcquireWait(ctx, eth, "bot_1", plain)) },
			"Reentrant": func() error {
				return second(c.Bots.Acquire(ctx, btc, "bot_1", fulloncache.LeaseOptions{Reentrant: true}))
			},
			"Block":     func() error { return second(c.Bots.Block(ctx, eth, "bot_1", fulloncache.BlockOptions{})) },
			"Unblock":   func() error { return c.Bots.Unblock(ctx, btc, "bot_1", fulloncache.UnblockOptions{Force: true}) },
			"Validate":  func() error { return c.Bots.Validate(ctx, btc, l.Token()) },
			"IsBlocked": func() error { return yes(t)(c.Bots.IsBlocked(ctx, eth)) },
			"Mark": func() error {
				return second(c.Bots.MarkOpeningPosition(ctx, eth, "bot_1", fulloncache.BlockOptions{}))
			},
			"Unmark":    func() error { return c.Bots.UnmarkOpeningPosition(ctx, eth, "bot_1", fulloncache.UnblockOptions{}) },
			"IsOpening": func() error { return yes(t)(c.Bots.IsOpeningPosition(ctx, eth)) },
			"Blocks":    func() error { return only(c.Bots.Blocks(ctx)) },
			"Openings":  func() error { return only(c.Bots.OpeningPositions(ctx, "kraken")) },
			"UpdateBot": func() error { return c.Bots.UpdateBot(ctx, "bot_1", said("btc", "1")) },
			"Bot":       func() error { return second(c.Bots.Bot(ctx, "bot_1")) },
			"Bots":      func() error { return only(c.Bots.Bots(ctx)) },
			"DeleteBot": func() error { return c.Bots.DeleteBot(ctx, "bot_1") },
			"DeleteAll": func() error { return second(c.Bots.DeleteAll(ctx)) },
		} {
			if err := ask(); !errors.Is(err, fulloncache.ErrUnavailable) || errors.Is(err, fulloncache.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	unavailable()
	// The lease cannot be renewed: it is lost in time, and says why.
	select {
	case <-l.Context().Done():
	case <-time.After(testenv.Patience):
		t.Fatal("the lease goes on")
	}
	wantLost(t, l, "kraken BTC/USD", "bot_1")
	if !errors.Is(l.Err(), fulloncache.ErrUnavailable) && !errors.Is(l.Err(), context.DeadlineExceeded) {
		t.Errorf("the cause is not told: %v", l.Err())
	}
	eventually(t, ev, fulloncache.EventLeaseLost, 1)
	wantErr(t, l.Release(ctx), fulloncache.ErrLeaseLost)
	unavailable()
	// A report that cannot be pushed is tried for a minute, but Close does not wait.
	<-l2.Context().Done()
	wantErr(t, l2.Err(), fulloncache.ErrLeaseLost)
	closed := make(chan struct{})
	go func() { other.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(testenv.Patience):
		t.Fatal("Close waits for a report")
	}
	// Once the server can be told, whoever looks after the system is.
	srv.Restart(t)
	testenv.Eventually(t, "a report", func() (bool, string) {
		e, err := c.Base.PopGlobalError(ctx, 0)
		return err == nil && strings.Contains(e.Message, "kraken BTC/USD"), fmt.Sprint(e, err)
	})
	wait := wait(ctx, c, btc, "bot_1", plain)
	select {
	case w := <-wait:
		must(t, w.err)
		if w.l.Token() <= l.Token() {
			t.Errorf("token %d after %d, though the server forgot", w.l.Token(), l.Token())
		}
	case <-time.After(testenv.Patience):
		t.Fatal("no lease after a restart")
	}
}

// yes checks that an error comes with yes.
func yes(t testing.TB) func(fulloncache.Block, bool, error) error {
	return func(_ fulloncache.Block, yes bool, err error) error {
		if !yes {
			t.Errorf("no, with %v", err)
		}
		return err
	}
}

// only is the error of a listing's only element.
func only[T any](list iter.Seq2[T, error]) error {
	n, last := 0, error(nil)
	for _, err := range list {
		n, last = n+1, err
	}
	if n != 1 {
		return fmt.Errorf("%d elements, the last with %w", n, last)
	}
	return last
}

// One who stands in line and is to have the market next keeps it: from others, also
// those of another symbol of the same key, and from itself while no token can be made.
func TestAcquireBesideALine(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		key := s.key("block_exchange", "kraken", ":BTCUSD")
		stand := func() {
			s.Helper()
			alive := time.Now().Add(time.Minute).UnixMicro()
			s.do("ZADD", key+":line", "1", "id:mine")
			s.do("HSET", key+":waiting", "id:mine", fmt.Sprintf("%d 2026-01-01T00:00:00.000000000Z 1 7 cBTC/USDbot_1", alive))
		}
		stand()
		_, err := c.Bots.Acquire(s.ctx, fulloncache.Market{Exchange: "kraken", Symbol: "BTCUSD"}, "bot_2", plain)
		wantErr(s, err, fulloncache.ErrInvalid, "BTC/USD")
		_, err = c.Bots.Acquire(s.ctx, btc, "bot_2", plain)
		wantBlocked(s, err, btc, "bot_1")

		mine := fulloncache.LeaseOptions{RequestID: "mine"}
		s.do("SET", s.key("fence", "kraken", ""), "x")
		_, err = c.Bots.Acquire(s.ctx, btc, "bot_1", mine)
		wantCorrupt(s, err, s.key("fence", "kraken", ""), "")
		s.do("DEL", s.key("fence", "kraken", ""))
		must(s, acquire(s, c, btc, "bot_1", mine).Release(s.ctx))
		// It is gone from the line: the market is free for all.
		must(s, acquire(s, c, btc, "bot_2", plain).Release(s.ctx))
	})
}

// What cannot be read, or is another symbol's by now, is not given back as if all
// were well.
func TestReleaseOfWhatChanged(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		key := s.key("block_exchange", "kraken", ":BTCUSD")
		l := acquire(s, c, btc, "bot_1", plain)
		s.do("HDEL", key, "alone")
		s.do("HSET", key, "until", "soon")
		wantCorrupt(s, l.Release(s.ctx), key, "until")
		s.do("DEL", key)

		l = acquire(s, c, btc, "bot_1", plain)
		s.do("HDEL", key, "alone")
		s.do("HSET", key, "symbol", "BTCUSD")
		wantErr(s, l.Release(s.ctx), fulloncache.ErrInvalid, "BTCUSD")
		_, blocked, err := c.Bots.IsBlocked(s.ctx, fulloncache.Market{Exchange: "kraken", Symbol: "BTCUSD"})
		if must(s, err); !blocked {
			s.Error("the other symbol's lease is gone")
		}
	})
}

// Nor is half of it given back where the index is of another type.
func TestReleaseFailsAsAWhole(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		key, index := s.key("block_exchange", "kraken", ":BTCUSD"), s.key("block_exchange", "kraken", "")
		l := acquire(s, c, btc, "bot_1", plain)
		s.do("HDEL", key, "alone")
		for name, give := range map[string]func() error{
			"release": func() error { return l.Release(s.ctx) },
			"unblock": func() error { return c.Bots.Unblock(s.ctx, btc, "bot_1", fulloncache.UnblockOptions{}) },
		} {
			s.do("DEL", index)
			s.do("SET", index, "x")
			s.untouched(index, func() { wantCorrupt(s, give(), index, "") })
			if _, blocked, err := c.Bots.IsBlocked(s.ctx, btc); err != nil || !blocked {
				s.Errorf("%s: blocked %v, %v", name, blocked, err)
			}
		}
		s.do("DEL", index)
		must(s, c.Bots.Unblock(s.ctx, btc, "bot_1", fulloncache.UnblockOptions{}))
		wantFree(s, c, btc)
	})
}

// Who takes part in a lease prolongs it, and puts it into the index anew.
func TestLeaseThatIsProlonged(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		key, index := s.key("block_exchange", "kraken", ":BTCUSD"), s.key("block_exchange", "kraken", "")
		again := fulloncache.LeaseOptions{Reentrant: true, TTL: time.Minute}
		acquire(s, c, btc, "bot_1", again)
		s.do("DEL", index)
		s.do("PEXPIRE", key, "5000")
		acquire(s, s.open(), btc, "bot_1", again)
		wantList(s, c.Bots.Blocks(s.ctx), btc.String()+" bot_1")
		ttl, err := s.mode.admin(s, key).Do(s, "PTTL", key).AsInt64()
		if must(s, err); ttl < 50_000 || ttl > 60_000 {
			s.Errorf("it expires in %d ms", ttl)
		}
	})
}

// A renewal finds out that the server has forgotten the lease, and says so; one of
// what cannot be read, or is another symbol's, says that, and is tried until the time
// is over.
func TestRenewalOfWhatChanged(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		key := s.key("block_exchange", "kraken", ":BTCUSD")
		for _, change := range []struct {
			words []string
			says  string
		}{
			{[]string{"DEL"}, "does not know of it any more"},
			{[]string{"HSET", "until", "soon"}, key},
			{[]string{"HSET", "symbol", "BTCUSD"}, "BTCUSD"},
		} {
			s.do("DEL", key)
			l := acquire(s, c, btc, "bot_1", fulloncache.LeaseOptions{TTL: 600 * time.Millisecond})
			s.do("PERSIST", key)
			s.do(change.words[0], key, change.words[1:]...)
			<-l.Context().Done()
			wantErr(s, l.Err(), fulloncache.ErrLeaseLost, change.says)
		}
		s.do("DEL", key)
	})
}
