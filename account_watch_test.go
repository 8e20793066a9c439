package fulloncache_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// watchedPositions is a watch under test.
type watchedPositions struct {
	*pulled[fulloncache.PositionUpdate]
}

func watchPositions(t testing.TB, c *fulloncache.Client, a fulloncache.Account, symbols ...string) watchedPositions {
	return watchedPositions{pull(t, func(ctx context.Context) iter.Seq2[fulloncache.PositionUpdate, error] {
		return c.Accounts.WatchPositions(ctx, a, symbols...)
	})}
}

func (w watchedPositions) want(p fulloncache.Position) fulloncache.PositionUpdate {
	w.t.Helper()
	e := w.next()
	wantPosition(w.t, e.v.Position, e.err, p)
	if e.v.Deleted {
		w.t.Fatalf("deleted: %+v", e.v)
	}
	return e.v
}

func (w watchedPositions) wantDeleted(a fulloncache.Account, symbol string) fulloncache.PositionUpdate {
	w.t.Helper()
	e := w.next()
	must(w.t, e.err)
	if p := e.v.Position; !e.v.Deleted || p.Account != a || p.Symbol != symbol || p.Side != "" || p.Rev <= 0 {
		w.t.Fatalf("not deleted: %+v", e.v)
	}
	return e.v
}

func TestWatchPositions(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		one, two := positionOf(0, fulloncache.Long, "1", "100"), in(desk, ethUSD, positionOf(0, fulloncache.Short, "2", "10"))
		must(s, c.Accounts.UpsertPosition(s.ctx, one))
		must(s, c.Accounts.UpsertPosition(s.ctx, two))
		reader := s.open()
		all, some := watchPositions(s, reader, desk), watchPositions(s, reader, desk, btcUSD, "XRP/USD", btcUSD)
		neighbour := watchPositions(s, reader, desk2) // of the same user
		rev := all.want(one).Position.Rev
		if u := all.want(two); u.Position.Rev <= rev {
			s.Fatalf("update %+v after revision %d", u, rev)
		}
		some.want(one)
		for n := 1; n < 20; n++ {
			p, err := c.Accounts.ApplyTrade(s.ctx, fillOf(n, fulloncache.Buy, "1", "100"))
			must(s, err)
			if u := all.want(p); u.Position.Rev != p.Rev || u.Conflated != 0 {
				s.Fatalf("update %+v of revision %d", u, p.Rev)
			}
			some.want(p)
		}
		// What is refused is not told, nor what counts already, and nobody asked for ETH.
		_, err := c.Accounts.ApplyTrade(s.ctx, fillOf(1, fulloncache.Buy, "1", "100"))
		must(s, err)
		wantErr(s, c.Accounts.UpsertPosition(s.ctx, two), nil)
		all.want(two)
		// All are told: some go, one comes.
		xrp := in(desk, "XRP/USD", positionOf(30, fulloncache.Long, "1", "1"))
		must(s, c.Accounts.ReplacePositions(s.ctx, desk, at(30), []fulloncache.Position{xrp}))
		some.want(xrp)
		gone := map[string]bool{}
		for range 3 {
			e := all.next()
			must(s, e.err)
			if !e.v.Deleted {
				wantPosition(s, e.v.Position, nil, xrp)
				continue
			}
			gone[e.v.Position.Symbol] = true
		}
		if !gone[btcUSD] || !gone[ethUSD] {
			s.Fatalf("gone: %v", gone)
		}
		some.wantDeleted(desk, btcUSD)
		must(s, c.Accounts.DeletePosition(s.ctx, desk, "XRP/USD"))
		some.wantDeleted(desk, "XRP/USD")
		all.wantDeleted(desk, "XRP/USD")
		p, err := c.Accounts.ApplyTrade(s.ctx, of(desk2, btcUSD, fillOf(1, fulloncache.Buy, "1", "100")))
		must(s, err)
		neighbour.want(p)
		result(c.Accounts.ClearPositions(s.ctx, desk2))(s)
		neighbour.wantDeleted(desk2, btcUSD)
		// It ends with its context, or with the Client, which it says.
		some.cancel()
		some.wantEnd()
		reader.Close()
		wantErr(s, all.next().err, fulloncache.ErrClosed)
		all.wantEnd()
		wantErr(s, watchPositions(s, reader, desk).next().err, fulloncache.ErrClosed)
		_, err = reader.Accounts.WaitPosition(s.ctx, desk, btcUSD, 0)
		wantErr(s, err, fulloncache.ErrClosed)
	})
}

// result takes what a call returns beside its error.
func result[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		must(t, err)
		return v
	}
}

// A slow consumer gets the newest of each position and the count of the others.
func TestWatchPositionsConflates(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		result(c.Accounts.ApplyTrade(s.ctx, fillOf(0, fulloncache.Buy, "1", "100")))(s)
		s.cfg.StreamBuffer = 1
		reader := s.open()
		const n = 40
		sum := 0
		for u, err := range reader.Accounts.WatchPositions(s.ctx, desk, btcUSD) {
			must(s, err)
			if sum == 0 {
				for i := 1; i <= n; i++ {
					result(c.Accounts.ApplyTrade(s.ctx, fillOf(i, fulloncache.Buy, "1", "100")))(s)
				}
			}
			sum += 1 + u.Conflated
			if u.Position.Time.Equal(at(n)) {
				break
			}
		}
		if sum != n+1 {
			s.Errorf("%d changes are accounted for, of %d", sum, n+1)
		}
	})
}

func TestWaitPosition(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		reader := s.open()
		type waited struct {
			p   fulloncache.Position
			err error
		}
		wait := func(symbol string, rev int64) <-chan waited {
			ch := make(chan waited, 1)
			go func() {
				p, err := reader.Accounts.WaitPosition(s.ctx, desk, symbol, rev)
				ch <- waited{p, err}
			}()
			return ch
		}
		came := func(ch <-chan waited) fulloncache.Position {
			s.Helper()
			deadline := time.NewTimer(testenv.Patience)
			defer deadline.Stop()
			select {
			case w := <-ch:
				must(s, w.err)
				return w.p
			case <-deadline.C:
				s.Fatal("it waits for ever")
				panic("unreachable")
			}
		}
		// Nothing is known of it yet.
		first := wait(btcUSD, 0)
		p := result(c.Accounts.ApplyTrade(s.ctx, fillOf(1, fulloncache.Buy, "1", "100")))(s)
		if got := came(first); got.Rev < p.Rev {
			s.Fatalf("got %+v, want %+v", got, p)
		}
		wantPosition(s, came(wait(btcUSD, 0)), nil, p)
		wantPosition(s, came(wait(btcUSD, p.Rev-1)), nil, p)
		// Never the one that is known, whatever happens elsewhere: only a newer one.
		next := wait(btcUSD, p.Rev)
		result(c.Accounts.ApplyTrade(s.ctx, of(desk, ethUSD, fillOf(1, fulloncache.Buy, "1", "100"))))(s)
		result(c.Accounts.ApplyTrade(s.ctx, fillOf(1, fulloncache.Buy, "1", "100")))(s) // counts already
		late := fillOf(2, fulloncache.Buy, "1", "100")
		late.Time = at(1) // of the same time
		q := result(c.Accounts.ApplyTrade(s.ctx, late))(s)
		wantPosition(s, came(next), nil, q)
		// Deleted, nothing is known; told without, it is flat.
		next = wait(btcUSD, q.Rev)
		must(s, c.Accounts.DeletePosition(s.ctx, desk, btcUSD))
		must(s, c.Accounts.ReplacePositions(s.ctx, desk, at(5), nil))
		got := came(next)
		if got.Rev <= q.Rev {
			s.Fatalf("got %+v", got)
		}
		wantPosition(s, got, nil, positionOf(5, fulloncache.Flat, "0", "0"))
		wantPosition(s, came(wait("XRP/USD", 0)), nil, in(desk, "XRP/USD", positionOf(5, fulloncache.Flat, "0", "0")))
		// It ends with its context.
		ctx, cancel := context.WithTimeout(s.ctx, 50*time.Millisecond)
		defer cancel()
		_, err := reader.Accounts.WaitPosition(ctx, desk, btcUSD, got.Rev)
		wantErr(s, err, context.DeadlineExceeded, "kraken", "BTC/USD")
	})
}

// What cannot be read at the moment is read later: the wait goes on, unless it is given
// up.
func TestWaitPositionOfServerThatCannotAnswer(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c := open(t, fulloncache.Config{URL: srv.URL(), FeedHeartbeat: time.Hour})
	long := positionOf(0, fulloncache.Long, "1", "100")
	must(t, c.Accounts.ReplacePositions(ctx, desk, long.Time, []fulloncache.Position{long}))
	p := result(c.Accounts.Position(ctx, desk, btcUSD))(t)
	// That all were told is news of each: whoever begins to wait while somebody watches,
	// so that all is known, reads the position.
	w := watchPositions(t, c, desk)
	w.want(p)
	type waited struct {
		p   fulloncache.Position
		err error
	}
	// unanswered waits for a position while the server is a replica of nobody, which
	// tells nothing.
	unanswered := func(ctx context.Context) <-chan waited {
		t.Helper()
		srv.Do(t, "CONFIG", "RESETSTAT")
		srv.Do(t, "CONFIG", "SET", "replica-serve-stale-data", "no")
		srv.Do(t, "REPLICAOF", "127.0.0.1", "1")
		waiting := make(chan waited, 1)
		go func() {
			p, err := c.Accounts.WaitPosition(ctx, desk, btcUSD, p.Rev)
			waiting <- waited{p, err}
		}()
		testenv.Eventually(t, "a read that is refused", func() (bool, string) {
			info, err := srv.Do(t, "INFO", "errorstats").ToString()
			must(t, err)
			return strings.Contains(info, "MASTERDOWN"), info
		})
		return waiting
	}

	bounded, cancel := context.WithCancel(ctx)
	waiting := unanswered(bounded)
	cancel()
	wantErr(t, (<-waiting).err, context.Canceled, "kraken", "BTC/USD")
	srv.Do(t, "REPLICAOF", "NO", "ONE")

	waiting = unanswered(ctx)
	srv.Do(t, "REPLICAOF", "NO", "ONE")
	now := result(c.Accounts.ApplyTrade(ctx, fillOf(1, fulloncache.Buy, "1", "100")))(t)
	came := <-waiting
	wantPosition(t, came.p, came.err, now)
	w.want(now)
}

// Whoever ends a watch takes what it followed off the connection, and those who follow
// the rest see every change and no disconnect.
func TestWatchEndsBesideAnother(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		first := positionOf(0, fulloncache.Long, "1", "100")
		must(s, c.Accounts.UpsertPosition(s.ctx, first))
		must(s, c.Accounts.UpsertPosition(s.ctx, in(desk2, btcUSD, first)))
		reader := s.open()
		stay := watchPositions(s, reader, desk)
		stay.want(first)
		for n := range 2 {
			for u, err := range reader.Accounts.WatchPositions(s.ctx, desk2) { // of the same user
				wantPosition(s, u.Position, err, in(desk2, btcUSD, first))
				break
			}
			if s.mode.admin != nil { // one can ask the server
				key := s.userKey("positions", ":bitmex")
				testenv.Eventually(s, "end of the subscription", func() (bool, string) {
					left := subscribers(s, s.mode.admin(s, key), "db0:"+key)
					rest := subscribers(s, s.mode.admin(s, key), "db0:"+s.userKey("positions", ":kraken"))
					return left == 0 && rest == 1, fmt.Sprint(left, rest)
				})
			}
			stay.want(result(c.Accounts.ApplyTrade(s.ctx, fillOf(n+1, fulloncache.Buy, "1", "100")))(s))
		}
	})
}

// A server that cannot save answers a PING with an error: no reason to fall for whoever
// ends a watch meanwhile.
func TestWatchEndsWhileTheServerCannotSave(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	c := open(t, fulloncache.Config{URL: srv.URL()})
	first := positionOf(0, fulloncache.Long, "1", "100")
	must(t, c.Accounts.UpsertPosition(ctx, first))
	must(t, c.Accounts.UpsertPosition(ctx, in(desk2, btcUSD, first)))
	stay := watchPositions(t, c, desk)
	stay.want(first)
	srv.FailToSave(t)
	wantErr(t, c.Accounts.UpsertPosition(ctx, first), fulloncache.ErrUnavailable, "MISCONF")
	for u, err := range c.Accounts.WatchPositions(ctx, desk2) { // of the same user
		wantPosition(t, u.Position, err, in(desk2, btcUSD, first))
		break
	}
	const channels = "db0:positions:user_123:"
	testenv.Eventually(t, "end of the subscription", func() (bool, string) {
		left, rest := subscribers(t, srv, channels+"bitmex"), subscribers(t, srv, channels+"kraken")
		return left == 0 && rest == 1, fmt.Sprint(left, rest)
	})
	srv.Do(t, "CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
	stay.want(result(c.Accounts.ApplyTrade(ctx, fillOf(1, fulloncache.Buy, "1", "100")))(t))
}

// Cut off and connected again, the positions as they are come first.
func TestWatchPositionsFault(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	srv := testenv.NewRedis(t)
	proxy := testenv.NewProxy(t, srv.Addr())
	c := open(t, fulloncache.Config{URL: srv.URL()})
	reader := open(t, fulloncache.Config{URL: proxy.URL(), FeedHeartbeat: 200 * time.Millisecond, SocketTimeout: time.Second})
	p := result(c.Accounts.ApplyTrade(ctx, fillOf(0, fulloncache.Buy, "1", "100")))(t)
	result(c.Accounts.ApplyTrade(ctx, of(desk, ethUSD, fillOf(0, fulloncache.Buy, "1", "100"))))(t)
	w, one := watchPositions(t, reader, desk), watchPositions(t, reader, desk, btcUSD)
	for range 2 {
		must(t, w.next().err)
	}
	one.want(p)
	waiting := make(chan fulloncache.Position, 1)
	go func() {
		p, err := reader.Accounts.WaitPosition(ctx, desk, btcUSD, p.Rev) // through the disconnect
		if err != nil {
			t.Error(err)
		}
		waiting <- p
	}()
	proxy.Cut()
	wantErr(t, w.next().err, fulloncache.ErrUnavailable)
	wantErr(t, one.next().err, fulloncache.ErrUnavailable)
	now := result(c.Accounts.ApplyTrade(ctx, fillOf(1, fulloncache.Sell, "1", "100")))(t)
	must(t, c.Accounts.DeletePosition(ctx, desk, ethUSD))
	proxy.Restore(t)
	// More errors may come until it is connected.
	settle := func(w watchedPositions) fulloncache.PositionUpdate {
		for {
			if e := w.next(); e.err == nil {
				return e.v
			} else if !errors.Is(e.err, fulloncache.ErrUnavailable) {
				t.Fatal(e.err)
			}
		}
	}
	wantPosition(t, settle(w).Position, nil, now)
	w.wantDeleted(desk, ethUSD)
	wantPosition(t, settle(one).Position, nil, now)
	wantPosition(t, <-waiting, nil, now)

	// A server that forgot everything, whose revisions begin anew.
	srv.Kill()
	srv.Restart(t)
	xrp := in(desk, "XRP/USD", positionOf(3, fulloncache.Short, "1", "100"))
	testenv.Eventually(t, "a write", func() (bool, string) {
		err := c.Accounts.UpsertPosition(ctx, xrp)
		return err == nil, fmt.Sprint(err)
	})
	gone, came := false, false
	for !gone || !came {
		u := settle(w)
		gone = gone || u.Deleted && u.Position.Symbol == btcUSD
		came = came || !u.Deleted && u.Position.Symbol == "XRP/USD"
	}
}

// What was cleared is told, and messages of nobody's are reported.
func TestWatchPositionsNoticesWhatIsCleared(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		s.cfg.FeedHeartbeat = 500 * time.Millisecond // in which the server has to answer, too
		p := result(c.Accounts.ApplyTrade(s.ctx, fillOf(0, fulloncache.Buy, "1", "100")))(s)
		w := watchPositions(s, s.open(), desk)
		w.want(p)
		if s.mode.admin != nil {
			channel := "db0:" + s.userKey("positions", ":kraken")
			publish := "PUBLISH"
			if s.mode.name == "cluster" {
				publish = "SPUBLISH"
			}
			s.mode.admin(s, s.userKey("positions", ":kraken")).Do(s, publish, channel, "nonsense")
			wantCorrupt(s, w.next().err, channel, "")
		}
		_, err := c.Base.Clear(s.ctx)
		must(s, err)
		w.wantDeleted(desk, btcUSD)
		q := result(c.Accounts.ApplyTrade(s.ctx, fillOf(0, fulloncache.Buy, "1", "100")))(s)
		w.want(q)
	})
}

// Positions that may not be read are no positions: the watch says so.
func TestWatchPositionsThatMayNotBeRead(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	srv.Do(t, "ACL", "SETUSER", "blind", "on", ">secret", "~*", "&*", "+@all", "-hgetall")
	c := open(t, fulloncache.Config{URL: "redis://blind:secret@" + srv.Addr()})
	wantErr(t, watchPositions(t, c, desk).next().err, fulloncache.ErrUnavailable, "NOPERM")
}
