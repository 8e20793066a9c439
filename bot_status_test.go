package fulloncache_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// said is what a bot says of one feed.
func said(feed, status string) map[string]json.RawMessage {
	return map[string]json.RawMessage{feed: json.RawMessage(status)}
}

// wantFeeds checks what a bot is known to have said: feed and status, in turn.
func wantFeeds(t testing.TB, s fulloncache.BotStatus, err error, bot string, want ...string) {
	t.Helper()
	must(t, err)
	got := []string{}
	for feed, f := range s.Feeds {
		if since := time.Since(f.Time); since < -time.Minute || since > time.Minute || f.Time.Location() != time.UTC {
			t.Errorf("feed %q: time %s is not the server's", feed, f.Time)
		}
		got = append(got, feed+" "+string(f.Status))
	}
	slices.Sort(got)
	if s.Bot != bot || !slices.Equal(got, want) {
		t.Fatalf("bot %q says %q, want %q of %q", s.Bot, got, want, bot)
	}
}

// statuses are what a listing without errors says.
func statuses(t testing.TB, list iter.Seq2[fulloncache.BotStatus, error]) []string {
	t.Helper()
	got := []string{}
	for s, err := range list {
		must(t, err)
		got = append(got, fmt.Sprint(s.Bot, " ", len(s.Feeds)))
	}
	return got
}

func TestBotStatus(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		_, err := c.Bots.Bot(s.ctx, "bot_1")
		wantErr(s, err, fulloncache.ErrNotFound, "bot_1")
		wantErr(s, c.Bots.DeleteBot(s.ctx, "bot_1"), fulloncache.ErrNotFound, "bot_1")
		must(s, c.Bots.UpdateBot(s.ctx, "bot_1", said("btc", ` { "position": 1.10 } `)))
		other := s.open()
		must(s, other.Bots.UpdateBot(s.ctx, "bot_1", map[string]json.RawMessage{"eth": []byte("[1]"), "a:\n{b}": []byte(`"x"`)}))
		must(s, c.Bots.UpdateBot(s.ctx, "z:{bot} é", said("btc", "null")))
		st, err := other.Bots.Bot(s.ctx, "bot_1")
		wantFeeds(s, st, err, "bot_1", "a:\n{b} \"x\"", `btc {"position":1.10}`, "eth [1]")
		must(s, c.Bots.UpdateBot(s.ctx, "bot_1", said("eth", "2")))
		st, err = other.Bots.Bot(s.ctx, "bot_1")
		wantFeeds(s, st, err, "bot_1", "a:\n{b} \"x\"", `btc {"position":1.10}`, "eth 2")
		st, err = other.Bots.Bot(s.ctx, "z:{bot} é")
		wantFeeds(s, st, err, "z:{bot} é", "btc null")
		if got := statuses(s, c.Bots.Bots(s.ctx)); !slices.Equal(got, []string{"bot_1 3", "z:{bot} é 1"}) {
			s.Errorf("got %q", got)
		}
		for range c.Bots.Bots(s.ctx) {
			break
		}
		for what, err := range map[string]error{
			"no feed":       c.Bots.UpdateBot(s.ctx, "bot_1", nil),
			"feed is empty": c.Bots.UpdateBot(s.ctx, "bot_1", said("", "1")),
			"10000 bytes":   c.Bots.UpdateBot(s.ctx, "bot_1", said(strings.Repeat("x", 10_000), "1")),
			"not JSON":      c.Bots.UpdateBot(s.ctx, "bot_1", map[string]json.RawMessage{"a": []byte("1"), "b": []byte("{")}),
		} {
			wantErr(s, err, fulloncache.ErrInvalid, "bot_1", what)
		}
		must(s, c.Bots.DeleteBot(s.ctx, "bot_1"))
		_, err = other.Bots.Bot(s.ctx, "bot_1")
		wantErr(s, err, fulloncache.ErrNotFound)
		for i := range 5 {
			must(s, c.Bots.UpdateBot(s.ctx, fmt.Sprint("bot_", i), said("btc", "1")))
		}
		n, err := c.Bots.DeleteAll(s.ctx)
		if must(s, err); n != 6 {
			s.Errorf("%d deleted", n)
		}
		if left := statuses(s, c.Bots.Bots(s.ctx)); len(left) > 0 || len(s.keysOf(c, "bot_status:*"))+len(s.keysOf(c, "{bot_status}:*")) > 0 {
			s.Errorf("left: %q", left)
		}
	})
}

func TestBotsBeyondOnePage(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		const n = 1203
		var want []string
		for i := range n {
			bot := fmt.Sprintf("bot_%04d", i)
			must(s, c.Bots.UpdateBot(s.ctx, bot, said("btc", "1")))
			want = append(want, bot+" 1")
		}
		if got := statuses(s, c.Bots.Bots(s.ctx)); !slices.Equal(got, want) {
			s.Errorf("got %d: %q", len(got), got)
		}
	})
}

// Two processes that update different feeds of one bot do not undo each other:
// P8, for bots.
func TestBotTwoWritersOfDifferentFeeds(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		const rounds = 500 // in processes of their own: see below
		writers := []*fulloncache.Client{c, s.open()}
		var wg sync.WaitGroup
		for i, w := range writers {
			wg.Go(func() {
				for n := range rounds {
					if err := w.Bots.UpdateBot(s.ctx, "bot_1", said(fmt.Sprint("feed_", i), fmt.Sprint(n))); err != nil {
						s.Error(err)
						return
					}
					if n%100 != 0 {
						continue
					}
					st, err := w.Bots.Bot(s.ctx, "bot_1")
					if err != nil || string(st.Feeds[fmt.Sprint("feed_", i)].Status) != fmt.Sprint(n) {
						s.Errorf("round %d of writer %d: %+v, %v", n, i, st, err)
						return
					}
				}
			})
		}
		wg.Wait()
		st, err := c.Bots.Bot(s.ctx, "bot_1")
		wantFeeds(s, st, err, "bot_1", fmt.Sprint("feed_0 ", rounds-1), fmt.Sprint("feed_1 ", rounds-1))
	})
}

// feedWriter is what a process is told that says something of one feed of a bot,
// again and again.
type feedWriter struct {
	URL, Prefix string
	Nodes       []string // of a cluster, instead of URL
	Feed        string
	Rounds      int
}

const feedWriterVariable = "FULLON_CACHE_FEED_WRITER"

func (w feedWriter) run() error {
	ctx := context.Background()
	c, err := fulloncache.New(ctx, fulloncache.Config{
		URL: w.URL, ClusterMode: w.Nodes != nil, ClusterNodes: w.Nodes, KeyPrefix: w.Prefix, Logger: quiet,
	})
	if err != nil {
		return err
	}
	defer c.Close()
	for n := range w.Rounds {
		if err := c.Bots.UpdateBot(ctx, "bot_1", said(w.Feed, fmt.Sprint(n))); err != nil {
			return err
		}
		// What it said itself stands, whatever the other process said meanwhile.
		if n%100 == 0 {
			st, err := c.Bots.Bot(ctx, "bot_1")
			if err != nil || string(st.Feeds[w.Feed].Status) != fmt.Sprint(n) {
				return fmt.Errorf("round %d: %+v, %w", n, st, err)
			}
		}
	}
	return nil
}

// Two processes that update different feeds of one bot for 10,000 rounds keep both
// (P8).
func TestBotFeedsOfTwoProcesses(t *testing.T) {
	t.Parallel()
	for _, mode := range modes[:2] { // what is in this process has no other one
		t.Run(mode.name, func(t *testing.T) {
			t.Parallel()
			rounds := 10_000
			if mode.name == "cluster" && !testenv.Soak() {
				rounds = 2_000
			}
			cfg := mode.config(t)
			cfg.KeyPrefix = testenv.Prefix(t)
			ended := make(chan error, 2)
			for i := range 2 {
				cmd := testenv.Command(t, feedWriterVariable, feedWriter{cfg.URL, cfg.KeyPrefix, cfg.ClusterNodes, fmt.Sprint("feed_", i), rounds})
				cmd.Stderr = os.Stderr
				must(t, cmd.Start())
				t.Cleanup(func() { _ = cmd.Process.Kill() }) // it may have ended
				go func() { ended <- cmd.Wait() }()
			}
			for range 2 {
				must(t, <-ended)
			}
			cfg.Logger = quiet
			c, err := fulloncache.New(testenv.Context(t), cfg)
			must(t, err)
			defer c.Close()
			st, err := c.Bots.Bot(testenv.Context(t), "bot_1")
			wantFeeds(t, st, err, "bot_1", fmt.Sprint("feed_0 ", rounds-1), fmt.Sprint("feed_1 ", rounds-1))
		})
	}
}

// watchBots reads a watch in the background.
func watchBots(t testing.TB, c *fulloncache.Client, bots ...string) watchedBots {
	return watchedBots{pull(t, func(ctx context.Context) iter.Seq2[fulloncache.BotUpdate, error] {
		return c.Bots.Watch(ctx, bots...)
	})}
}

type watchedBots struct{ *pulled[fulloncache.BotUpdate] }

// want reads until what comes is this; what was before may be told again.
func (w watchedBots) want(bot string, feeds ...string) fulloncache.BotUpdate {
	w.t.Helper()
	e := w.next()
	wantFeeds(w.t, e.v.Status, e.err, bot, feeds...)
	if e.v.Deleted || e.v.Rev < 1 {
		w.t.Fatalf("got %+v", e.v)
	}
	return e.v
}

func (w watchedBots) wantDeleted(bot string) {
	w.t.Helper()
	e := w.next()
	must(w.t, e.err)
	if !e.v.Deleted || e.v.Status.Bot != bot || e.v.Status.Feeds != nil {
		w.t.Fatalf("got %+v, want that %s is gone", e.v, bot)
	}
}

func TestBotWatch(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Bots.UpdateBot(s.ctx, "bot:1", said("btc", "1")))
		must(s, c.Bots.UpdateBot(s.ctx, "bot:2", said("btc", "2")))
		reader := s.open()
		all, some := watchBots(s, reader), watchBots(s, reader, "bot:1", "bot:3", "bot:1")
		first := all.want("bot:1", "btc 1")
		if next := all.want("bot:2", "btc 2"); next.Rev <= first.Rev {
			s.Errorf("revision %d after %d", next.Rev, first.Rev)
		}
		some.want("bot:1", "btc 1")
		must(s, c.Bots.UpdateBot(s.ctx, "bot:1", said("e \n:5", "{}")))
		u := all.want("bot:1", "btc 1", "e \n:5 {}")
		some.want("bot:1", "btc 1", "e \n:5 {}")
		u.Status.Feeds["mine"] = fulloncache.BotFeed{} // nobody else sees that
		must(s, c.Bots.UpdateBot(s.ctx, "bot:2", said("btc", "3")))
		all.want("bot:2", "btc 3")
		must(s, c.Bots.UpdateBot(s.ctx, "bot:3", said("btc", "1")))
		all.want("bot:3", "btc 1")
		some.want("bot:3", "btc 1")
		must(s, c.Bots.DeleteBot(s.ctx, "bot:1"))
		all.wantDeleted("bot:1")
		some.wantDeleted("bot:1")
		late := watchBots(s, reader, "bot:3")
		late.want("bot:3", "btc 1")
		_, err := c.Bots.DeleteAll(s.ctx)
		must(s, err)
		all.wantDeleted("bot:2")
		all.wantDeleted("bot:3")
		some.wantDeleted("bot:3")
		_, err = c.Base.Clear(s.ctx)
		must(s, err)
		must(s, c.Bots.UpdateBot(s.ctx, "bot:1", said("btc", "9")))
		all.want("bot:1", "btc 9")
		some.want("bot:1", "btc 9")
		reader.Close()
		wantErr(s, all.next().err, fulloncache.ErrClosed)
		all.wantEnd()
	})
}

func TestFaultBotWatchCutOff(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	proxy := testenv.NewProxy(t, srv.Addr())
	cfg := fulloncache.Config{URL: proxy.URL(), FeedHeartbeat: heartbeat, SocketTimeout: time.Second, BreakerCooldown: 20 * time.Millisecond}
	reader := open(t, cfg)
	cfg.URL = srv.URL()
	writer := open(t, cfg)
	ctx := testenv.Context(t)
	must(t, writer.Bots.UpdateBot(ctx, "bot_1", said("btc", "1")))
	w := watchBots(t, reader)
	w.want("bot_1", "btc 1")
	proxy.Cut()
	if e := w.next(); !isCut(e.err) {
		t.Fatalf("got %+v", e)
	}
	must(t, writer.Bots.UpdateBot(ctx, "bot_1", said("btc", "2"))) // in the gap
	must(t, writer.Bots.UpdateBot(ctx, "bot_2", said("btc", "1")))
	proxy.Restore(t)
	seen := map[string]string{}
	for seen["bot_1"] != "2" || seen["bot_2"] != "1" {
		if e := w.next(); !isCut(e.err) {
			must(t, e.err)
			seen[e.v.Status.Bot] = string(e.v.Status.Feeds["btc"].Status)
		}
	}
}

// A bot whose time is over is told to be gone with the next update, or listing.
func TestBotStatusExpires(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		s.cfg.TTLBot = time.Second
		short := s.open()
		w := watchBots(s, c)
		must(s, short.Bots.UpdateBot(s.ctx, "bot_1", said("btc", "1")))
		w.want("bot_1", "btc 1")
		gone := func(bot string) {
			s.Helper()
			last := time.Now()
			testenv.Eventually(s, "its end", func() (bool, string) {
				_, err := c.Bots.Bot(s.ctx, bot)
				// The in-process server's time moves in steps: it may end too early there.
				return errors.Is(err, fulloncache.ErrNotFound) && time.Since(last) > s.cfg.TTLBot, fmt.Sprint(err)
			})
		}
		gone("bot_1")
		must(s, c.Bots.UpdateBot(s.ctx, "bot_2", said("btc", "1")))
		w.want("bot_2", "btc 1")
		w.wantDeleted("bot_1")
		must(s, short.Bots.UpdateBot(s.ctx, "bot_1", said("btc", "2")))
		w.want("bot_1", "btc 2")
		gone("bot_1")
		if got := statuses(s, c.Bots.Bots(s.ctx)); !slices.Equal(got, []string{"bot_2 1"}) {
			s.Errorf("got %q", got)
		}
		w.wantDeleted("bot_1")
		// One without a TTL stays.
		must(s, short.Bots.UpdateBot(s.ctx, "bot_1", said("btc", "2")))
		w.want("bot_1", "btc 2")
		must(s, c.Bots.UpdateBot(s.ctx, "bot_1", said("eth", "2")))
		w.want("bot_1", "btc 2", "eth 2")
		// A watch that begins finds nobody of those whose time is over.
		must(s, short.Bots.UpdateBot(s.ctx, "bot_3", said("btc", "2")))
		w.want("bot_3", "btc 2")
		gone("bot_3")
		late := watchBots(s, s.open())
		late.want("bot_2", "btc 1")
		late.want("bot_1", "btc 2", "eth 2")
		w.wantDeleted("bot_3")
	})
}

// A bot that the index takes for gone, and that has said something meanwhile, stays;
// and of one that never was nobody hears that it is deleted.
func TestBotThatIsNotGone(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		index := s.cfg.KeyPrefix + ":bot_status"
		if s.mode.name == "cluster" {
			index = s.cfg.KeyPrefix + ":{bot_status}"
		}
		// The first revision makes a watch read all again, whenever that is.
		must(s, c.Bots.UpdateBot(s.ctx, "bot_1", said("btc", "1")))
		w := watchBots(s, c)
		w.want("bot_1", "btc 1")
		must(s, c.Bots.UpdateBot(s.ctx, "bot_2", said("btc", "2")))
		w.want("bot_2", "btc 2")
		s.do("DEL", index+":bot_2")
		s.do("ZADD", index, "1", "bot_1")
		s.do("ZADD", index, "1", "bot_2")
		wantErr(s, c.Bots.DeleteBot(s.ctx, "bot_3"), fulloncache.ErrNotFound)
		must(s, c.Bots.UpdateBot(s.ctx, "bot_4", said("btc", "4")))
		w.want("bot_4", "btc 4")
		w.wantDeleted("bot_2") // and neither bot_1 nor bot_3
		st, err := c.Bots.Bot(s.ctx, "bot_1")
		wantFeeds(s, st, err, "bot_1", "btc 1")
	})
}

func TestBotStatusCorrupt(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		key := s.cfg.KeyPrefix + ":bot_status"
		if s.mode.name == "cluster" {
			key = s.cfg.KeyPrefix + ":{bot_status}"
		}
		one := key + ":bot_1"
		must(s, c.Bots.UpdateBot(s.ctx, "bot_2", said("btc", "1")))
		for _, damage := range []struct{ field, value, blamed string }{
			{"btc", "x", "btc"}, {"btc", `{"status":1}`, "btc"}, {"btc", `{"time":"2026-01-01T00:00:00.000000000Z"}`, "btc"},
			{"", "x bot_1", ""}, {"", "5 bot_2", ""}, {"", "", ""},
		} {
			must(s, c.Bots.UpdateBot(s.ctx, "bot_1", said("btc", "1")))
			s.do("HSET", one, damage.field, damage.value)
			_, err := c.Bots.Bot(s.ctx, "bot_1")
			wantCorrupt(s, err, one, damage.blamed)
			var seen []string
			for st, err := range c.Bots.Bots(s.ctx) {
				if seen = append(seen, st.Bot); st.Bot == "bot_1" {
					wantCorrupt(s, err, one, damage.blamed)
				} else {
					must(s, err)
				}
			}
			if !slices.Equal(seen, []string{"bot_1", "bot_2"}) {
				s.Errorf("listed %q", seen)
			}
			reader := s.open()
			w := watchBots(s, reader)
			wantCorrupt(s, w.next().err, one, damage.blamed)
			w.want("bot_2", "btc 1")
			// What is said anew mends only its own feed.
			must(s, c.Bots.UpdateBot(s.ctx, "bot_1", said("eth", "1")))
			if damage.field == "" {
				w.want("bot_1", "btc 1", "eth 1")
			} else if err := w.next().err; !errors.Is(err, fulloncache.ErrCorrupt) {
				s.Errorf("got %v", err)
			}
			w.cancel()
			w.wantEnd()
			reader.Close()
			must(s, c.Bots.DeleteBot(s.ctx, "bot_1"))
		}
		for _, other := range []string{one, key, key + "_rev"} {
			s.do("DEL", other)
			s.do("LPUSH", other, "x")
			wantCorrupt(s, c.Bots.UpdateBot(s.ctx, "bot_1", said("btc", "1")), other, "")
			switch other {
			case one:
				_, err := c.Bots.Bot(s.ctx, "bot_1")
				wantCorrupt(s, err, one, "")
				must(s, c.Bots.DeleteBot(s.ctx, "bot_1"))
			case key:
				wantCorrupt(s, only(c.Bots.Bots(s.ctx)), key, "")
				wantCorrupt(s, c.Bots.DeleteBot(s.ctx, "bot_1"), key, "")
				_, err := c.Bots.DeleteAll(s.ctx)
				wantCorrupt(s, err, key, "")
				w := watchBots(s, s.open())
				if e := w.next(); !isCut(e.err) || !errors.Is(e.err, fulloncache.ErrCorrupt) {
					s.Errorf("got %v", e.err)
				}
			}
			s.do("DEL", other)
		}
		// Messages that are none.
		w := watchBots(s, s.open(), "bot_9")
		must(s, c.Bots.UpdateBot(s.ctx, "bot_9", said("btc", "1")))
		w.want("bot_9", "btc 1")
		channel := "db0:" + key + ":bot_9"
		publish := "PUBLISH"
		if s.mode.name == "cluster" {
			publish = "SPUBLISH"
		}
		for _, message := range []string{"", "X 1", "S", "S x", "S 1 x", "S 1 3:abc", "S 1 0:7:5 bot_9", "D x bot_9"} {
			s.mode.admin(s, key).Do(s, publish, channel, message)
			e := w.next()
			wantCorrupt(s, e.err, channel, "")
		}
		must(s, c.Bots.UpdateBot(s.ctx, "bot_9", said("btc", "2")))
		w.want("bot_9", "btc 2")
	})
}

// A bot whose status is gone but that cannot be forgotten is logged, and forgotten
// by a later listing.
func TestBotsThatCannotBeForgotten(t *testing.T) {
	t.Parallel()
	srv, ctx := testenv.NewRedis(t), testenv.Context(t)
	var log syncBuffer
	c := open(t, fulloncache.Config{URL: srv.URL(), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	must(t, c.Bots.UpdateBot(ctx, "bot_1", said("btc", "1")))
	srv.Do(t, "DEL", "bot_status:bot_1", "bot_status_rev")
	srv.Do(t, "LPUSH", "bot_status_rev", "in the way")
	if got := statuses(t, c.Bots.Bots(ctx)); len(got) != 0 {
		t.Errorf("got %q", got)
	}
	testenv.Eventually(t, "a warning", func() (bool, string) {
		return strings.Contains(log.String(), "expired bots are still indexed") && strings.Contains(log.String(), "bot_status_rev"), log.String()
	})
	srv.Do(t, "DEL", "bot_status_rev")
	testenv.Eventually(t, "an empty index", func() (bool, string) {
		statuses(t, c.Bots.Bots(ctx))
		n, err := srv.Do(t, "EXISTS", "bot_status").AsInt64()
		return err == nil && n == 0, fmt.Sprint(n, err)
	})
}

// Bots that may not be read are no bots: the watch says so, and begins once they
// may be.
func TestBotWatchThatMayNotRead(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	srv.Do(t, "ACL", "SETUSER", "blind", "on", ">secret", "~*", "&*", "+@all", "-hgetall")
	must(t, open(t, fulloncache.Config{URL: srv.URL()}).Bots.UpdateBot(testenv.Context(t), "bot_1", said("btc", "1")))
	w := watchBots(t, open(t, fulloncache.Config{URL: "redis://blind:secret@" + srv.Addr()}))
	wantErr(t, w.next().err, fulloncache.ErrUnavailable, "NOPERM")
	srv.Do(t, "ACL", "SETUSER", "blind", "+hgetall")
	e := w.next()
	for isCut(e.err) {
		e = w.next()
	}
	wantFeeds(t, e.v.Status, e.err, "bot_1", "btc 1")
}
