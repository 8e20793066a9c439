package fulloncache_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
)

func TestHookNames(t *testing.T) {
	t.Parallel()
	for kind, want := range map[fulloncache.EventKind]string{
		fulloncache.EventReconnected:      "reconnected",
		fulloncache.EventBreakerOpened:    "breaker_opened",
		fulloncache.EventBreakerClosed:    "breaker_closed",
		fulloncache.EventNearFlushed:      "near_flushed",
		fulloncache.EventFeedDisconnected: "feed_disconnected",
		fulloncache.EventFeedConnected:    "feed_connected",
		fulloncache.EventDeadLetter:       "dead_letter",
		fulloncache.EventHandlerPanicked:  "handler_panicked",
		0:                                 "unknown",
		-1:                                "unknown",
		99:                                "unknown",
	} {
		if got := kind.String(); got != want {
			t.Errorf("kind %d is %q, want %q", int(kind), got, want)
		}
	}
	for hit, want := range map[fulloncache.Hit]string{
		fulloncache.HitNone: "", fulloncache.HitNear: "hit", fulloncache.HitMiss: "miss",
	} {
		if got := hit.String(); got != want {
			t.Errorf("hit %d is %q, want %q", int(hit), got, want)
		}
	}
}

// Every operation reaches every hook, with what it was about, how it ended and
// how long it took.
func TestHooksSeeOperations(t *testing.T) {
	everyMode(t, func(s *suite) {
		var mu sync.Mutex
		var seen [2][]fulloncache.Operation
		cfg := s.cfg
		for i := range seen {
			cfg.Hooks = append(cfg.Hooks, fulloncache.Hooks{Operation: func(o fulloncache.Operation) {
				mu.Lock()
				defer mu.Unlock()
				seen[i] = append(seen[i], o)
			}}, fulloncache.Hooks{})
		}
		c := open(s.T, cfg)
		_, missing := c.Ticks.Get(s.ctx, btc)
		wantErr(s, missing, fulloncache.ErrNotFound)
		must(s, c.Ticks.Set(s.ctx, tickOf(btc, "1", 0)))
		must(s, c.Base.Ping(s.ctx))
		mu.Lock()
		defer mu.Unlock()
		for _, ops := range seen {
			var got []string
			for _, o := range ops {
				got = append(got, fmt.Sprint(o.Name, "|", o.Market, "|", o.Err, "|", o.Hit))
				if o.Duration <= 0 || o.Duration > time.Minute {
					s.Errorf("%s took %s", o.Name, o.Duration)
				}
			}
			want := []string{
				fmt.Sprint("tick.get|kraken BTC/USD|", missing, "|"),
				"tick.set|kraken BTC/USD|<nil>|",
				`base.ping|` + fulloncache.Market{}.String() + `|<nil>|`,
			}
			if !slices.Equal(got, want) {
				s.Errorf("got %q, want %q", got, want)
			}
		}
	})
}
