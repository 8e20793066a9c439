package fulloncache_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

func crawlers(s *suite, c *fulloncache.Client, exchanges ...string) (list []string) {
	s.Helper()
	for crawler, err := range c.Ticks.Crawlers(s.ctx, exchanges...) {
		must(s, err)
		list = append(list, fmt.Sprintf("%s/%s %s", crawler.Exchange, crawler.Name, crawler.Config))
	}
	return list
}

func TestCrawlers(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		if got := crawlers(s, c); got != nil {
			s.Fatalf("got %q", got)
		}
		for _, crawler := range []fulloncache.TickCrawler{
			{Exchange: "kraken", Name: "b", Config: json.RawMessage(`{"depth":10}`)},
			{Exchange: "kraken", Name: "a", Config: json.RawMessage(`1`)},
			{Exchange: "bitmex", Name: "b", Config: json.RawMessage(`null`)},
			{Exchange: "kraken", Name: "a", Config: json.RawMessage(`[0.1]`)},
		} {
			must(s, c.Ticks.SetCrawler(s.ctx, crawler))
		}
		all := []string{"bitmex/b null", "kraken/a [0.1]", `kraken/b {"depth":10}`}
		if got := crawlers(s, s.open()); !slices.Equal(got, all) {
			s.Fatalf("got %q", got)
		}
		if got := crawlers(s, c, "bitmex", "nobody"); !slices.Equal(got, all[:1]) {
			s.Fatalf("got %q", got)
		}
		for range c.Ticks.Crawlers(s.ctx) {
			break // a loop may end early
		}
		// What is yielded is the caller's own.
		for crawler, err := range c.Ticks.Crawlers(s.ctx) {
			must(s, err)
			clear(crawler.Config)
		}
		if got := crawlers(s, c); !slices.Equal(got, all) {
			s.Fatalf("the cache was changed: %q", got)
		}
		must(s, c.Ticks.DeleteCrawler(s.ctx, "kraken", "b"))
		wantErr(s, c.Ticks.DeleteCrawler(s.ctx, "kraken", "b"), fulloncache.ErrNotFound, `"b"`, "kraken")
		testenv.Eventually(s, "deleted", func() (bool, string) {
			got := crawlers(s, c)
			return slices.Equal(got, all[:2]), fmt.Sprint(got)
		})
	})
}

func TestCrawlersInvalid(t *testing.T) {
	conformance(t, func(s *suite, c *fulloncache.Client) {
		for name, crawler := range map[string]fulloncache.TickCrawler{
			"exchange is empty": {Name: "a", Config: json.RawMessage(`1`)},
			"crawler is empty":  {Exchange: "kraken", Config: json.RawMessage(`1`)},
			"not JSON":          {Exchange: "kraken", Name: "a", Config: json.RawMessage(`{`)},
		} {
			wantErr(s, c.Ticks.SetCrawler(s.ctx, crawler), fulloncache.ErrInvalid, name)
		}
		wantErr(s, c.Ticks.SetCrawler(s.ctx, fulloncache.TickCrawler{Exchange: "kraken", Name: "a"}), fulloncache.ErrInvalid, "not JSON")
		wantErr(s, c.Ticks.DeleteCrawler(s.ctx, "", "a"), fulloncache.ErrInvalid)
		wantErr(s, c.Ticks.DeleteCrawler(s.ctx, "kraken", ""), fulloncache.ErrInvalid)
		n := 0
		for crawler, err := range c.Ticks.Crawlers(s.ctx, "", "kraken") {
			wantErr(s, err, fulloncache.ErrInvalid)
			if crawler.Name != "" {
				s.Error(crawler)
			}
			n++
		}
		for range c.Ticks.Crawlers(s.ctx, "") {
			break
		}
		if n != 1 {
			s.Fatalf("%d elements", n)
		}
	})
}

func TestCrawlersCorrupt(t *testing.T) {
	corruptMode(t, func(s *suite, c *fulloncache.Client) {
		must(s, c.Ticks.SetCrawler(s.ctx, fulloncache.TickCrawler{Exchange: "kraken", Name: "a", Config: json.RawMessage(`1`)}))
		key, index := s.key("tick_crawlers", "kraken", ""), s.cfg.KeyPrefix+":tick_crawlers"
		s.do("HSET", key, "b", "{", "c", "2")
		var got []string
		for crawler, err := range c.Ticks.Crawlers(s.ctx) {
			if crawler.Name == "b" {
				wantCorrupt(s, err, key, "b")
				if crawler.Config != nil || crawler.Exchange != "kraken" {
					s.Error(crawler)
				}
				continue
			}
			must(s, err)
			got = append(got, crawler.Name)
		}
		if !slices.Equal(got, []string{"a", "c"}) {
			s.Fatalf("got %q", got)
		}
		for _, bad := range []string{key, index} {
			s.do("DEL", bad)
			s.do("RPUSH", bad, "x")
			reader := s.open()
			n := 0
			for _, err := range reader.Ticks.Crawlers(s.ctx) {
				wantCorrupt(s, err, bad, "")
				n++
			}
			if n != 1 {
				s.Fatalf("%d elements", n)
			}
			wantErr(s, reader.Ticks.SetCrawler(s.ctx, fulloncache.TickCrawler{Exchange: "kraken", Name: "a", Config: json.RawMessage(`1`)}), fulloncache.ErrCorrupt, bad)
			if bad == key {
				wantCorrupt(s, reader.Ticks.DeleteCrawler(s.ctx, "kraken", "a"), bad, "")
			}
		}
	})
}

// Hooks learn whether the near cache answered, and a change by another client is
// seen.
func TestCrawlersNearCache(t *testing.T) {
	conformance(t, func(s *suite, writer *fulloncache.Client) {
		var mu sync.Mutex
		var hits []fulloncache.Hit
		s.cfg.Hooks = []fulloncache.Hooks{{Operation: func(op fulloncache.Operation) {
			mu.Lock()
			defer mu.Unlock()
			if op.Name == "tick.crawlers" {
				hits = append(hits, op.Hit)
			}
		}}}
		c := s.open()
		ctx, cancel := context.WithCancel(s.ctx)
		defer cancel()
		set := func(config string) {
			must(s, writer.Ticks.SetCrawler(ctx, fulloncache.TickCrawler{Exchange: "kraken", Name: "a", Config: json.RawMessage(config)}))
		}
		set("1")
		last := func() fulloncache.Hit {
			mu.Lock()
			defer mu.Unlock()
			return hits[len(hits)-1]
		}
		crawlers(s, c, "kraken")
		if last() != fulloncache.HitMiss {
			s.Fatalf("the first read was a %q", last())
		}
		for range 3 {
			if got := crawlers(s, c, "kraken"); !slices.Equal(got, []string{"kraken/a 1"}) {
				s.Fatalf("got %q", got)
			}
		}
		want := fulloncache.HitNear
		if s.mode.name == "embedded" {
			want = fulloncache.HitMiss // it cannot track keys
		}
		if last() != want {
			s.Fatalf("the fourth read was a %q", last())
		}
		set("2")
		testenv.Eventually(s, "the change", func() (bool, string) {
			got := crawlers(s, c, "kraken")
			return slices.Equal(got, []string{"kraken/a 2"}), fmt.Sprint(got)
		})
	})
}
