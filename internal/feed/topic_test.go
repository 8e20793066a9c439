package feed

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Whatever way readings, events, resets, disconnects and consumers interleave,
// what a consumer makes of its updates is in the end what the publisher has.
func TestAnyInterleavingAgrees(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMemory()
		hub := NewHub(m, nil, Options{Heartbeat: time.Hour, Now: time.Now, Buffer: rapid.IntRange(1, 5).Draw(t, "buffer"), Closed: errClosed}).(*hub[string, string])
		defer hub.Close()
		top := newTopic(newGroup(hub, "g"), "g")

		// The publisher, and what is on its way.
		state := make(map[string]Event[string, string])
		var wire []Event[string, string]
		var snapshot []Event[string, string] // of a reading under way
		rev := int64(0)
		connected, reading := false, false

		type consumer struct {
			sub   *sub[string, string]
			model map[string]string
			revs  map[string]int64
		}
		var consumers []*consumer
		take := func(c *consumer) bool {
			u, ok, err := c.sub.pop()
			if !ok || err != nil {
				return ok
			}
			if u.Rev < c.revs[u.Key] {
				t.Fatalf("%s went back from revision %d to %d", u.Key, c.revs[u.Key], u.Rev)
			}
			c.revs[u.Key] = u.Rev
			if c.model[u.Key] = u.Value; u.Deleted {
				delete(c.model, u.Key)
			}
			return true
		}
		attach := func() {
			c := &consumer{
				sub:   &sub[string, string]{hub: hub, wake: make(chan struct{}, 1), last: make(map[string]int), errs: make(map[string]int)},
				model: make(map[string]string), revs: make(map[string]int64),
			}
			consumers = append(consumers, c)
			top.attach(c.sub)
		}
		begin := func() {
			// A reading sees at least what was delivered, at most what was done.
			top.begin()
			reading, snapshot = true, nil
		}
		finish := func() {
			if snapshot == nil {
				for _, e := range state {
					snapshot = append(snapshot, e)
				}
			}
			top.complete(snapshot)
			reading = false
		}
		deliver := func() {
			top.apply(wire[0])
			wire = wire[1:]
		}
		attach()
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				rev++
				key := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
				e := Event[string, string]{Key: key, Rev: rev}
				if e.Deleted = rapid.Bool().Draw(t, "delete"); e.Deleted {
					delete(state, key)
				} else {
					e.Value = fmt.Sprint(rev)
					state[key] = e
				}
				if connected {
					wire = append(wire, e)
				}
			},
			"lose all": func(*rapid.T) {
				// A flush, which is announced with the next write.
				clear(state)
				if connected && !reading {
					for len(wire) > 0 {
						deliver()
					}
					begin()
				} else {
					connected, reading, wire = false, false, nil
					top.disconnected(errors.New("restarted"))
				}
			},
			"deliver": func(*rapid.T) {
				if len(wire) > 0 {
					deliver()
				}
			},
			"connect": func(*rapid.T) {
				if !connected {
					connected = true
					begin()
				}
			},
			"read": func(*rapid.T) {
				if reading && snapshot == nil {
					snapshot = []Event[string, string]{}
					for _, e := range state {
						snapshot = append(snapshot, e)
					}
				}
			},
			"complete": func(*rapid.T) {
				if reading {
					finish()
				}
			},
			"disconnect": func(*rapid.T) {
				connected, reading, wire = false, false, nil
				top.disconnected(errors.New("pulled"))
			},
			"reset": func(*rapid.T) {
				if connected && !reading {
					begin()
				}
			},
			"attach": func(*rapid.T) {
				if len(consumers) < 3 {
					attach()
				}
			},
			"take": func(t *rapid.T) { take(rapid.SampledFrom(consumers).Draw(t, "consumer")) },
		})
		if !connected {
			connected = true
			begin()
		}
		if reading {
			finish()
		}
		for len(wire) > 0 {
			deliver()
		}
		want := make(map[string]string)
		for k, e := range state {
			want[k] = e.Value
		}
		seen := make(map[string]string)
		view := &view[string, string]{hub: hub, topic: top, table: top.table}
		view.All(func(e *Entry[string, string]) bool { seen[e.Key] = e.Value; return true })
		if !maps.Equal(seen, want) {
			t.Fatalf("the view shows %v, want %v", seen, want)
		}
		for i, c := range consumers {
			if n := len(c.sub.queue) - c.sub.head; n > hub.opt.Buffer+3+2 {
				t.Fatalf("%d items wait", n)
			}
			for take(c) {
			}
			if !maps.Equal(c.model, want) {
				t.Fatalf("consumer %d has %v, want %v", i, c.model, want)
			}
		}
	})
}

// Nothing is lost without being counted: what is delivered and what it stands
// for is what was published.
func TestConflationCounts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hub := NewHub(newMemory(), nil, Options{Buffer: rapid.IntRange(1, 8).Draw(t, "buffer"), Closed: errClosed}).(*hub[string, string])
		defer hub.Close()
		s := &sub[string, string]{hub: hub, wake: make(chan struct{}, 1), last: make(map[string]int), errs: make(map[string]int)}
		published, got, newest := make(map[string]int), make(map[string]int), make(map[string]int64)
		rev := int64(0)
		take := func() bool {
			u, ok, _ := s.pop()
			if ok {
				got[u.Key] += 1 + u.Conflated
				newest[u.Key] = u.Rev
			}
			return ok
		}
		last := make(map[string]int64)
		t.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) {
				rev++
				key := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(t, "key")
				s.offer(Update[string, string]{Event: Event[string, string]{Key: key, Rev: rev}})
				published[key]++
				last[key] = rev
			},
			"take": func(*rapid.T) { take() },
		})
		for take() {
		}
		if !maps.Equal(published, got) || !maps.Equal(newest, last) {
			t.Fatalf("published %v, delivered %v; newest %v, delivered %v", published, got, last, newest)
		}
	})
}

func TestStateBeforeTheFirstConnection(t *testing.T) {
	s := &State{}
	if s.Connected() || s.Err() != nil || !s.Confirmed().IsZero() || !s.Heard().IsZero() {
		t.Fatalf("%+v", s)
	}
}

func TestNextWithoutAnything(t *testing.T) {
	r := newRig(t)
	s := r.subscribe(whole)
	r.states.wait(t, true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}
