package feed

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/puzpuzpuz/xsync/v4"
)

// topic is the state behind a channel, and who follows it. Readers look into
// the table without a lock; changes come one at a time.
type topic[K comparable, V any] struct {
	group     *group[K, V]
	channel   string
	followers int // guarded by the hub's lock

	table *xsync.Map[string, *slot[K, V]] // by the keys' names
	tombs map[K]int64                     // keys that were deleted while the state is read, and when

	mu    sync.Mutex
	epoch uint64 // counts the readings of the state; entries of an older one are unconfirmed
	ready chan struct{}
	whole bool                // the table is complete for the epoch
	cut   error               // why it is not
	renew bool                // followers were cut off: the reading tells them all anew
	subs  map[*sub[K, V]]bool // whether the state was complete once since they began
	// late are events, published while the state is read, that are older than
	// unconfirmed entries: only the reading tells whether revisions went back.
	late []Event[K, V]
}

// slot is where the newest event of a key is found. It stays while the key does.
type slot[K comparable, V any] = atomic.Pointer[Entry[K, V]]

// Entry is the newest event of a key. It never changes.
type Entry[K comparable, V any] struct {
	Event[K, V]
	epoch uint64
}

func newTopic[K comparable, V any](g *group[K, V], channel string) *topic[K, V] {
	return &topic[K, V]{
		group: g, channel: channel,
		table: xsync.NewMap[string, *slot[K, V]](),
		ready: make(chan struct{}),
		subs:  make(map[*sub[K, V]]bool),
	}
}

// begin opens a new reading of the state: every entry must be confirmed by it or
// by a message that arrives from now on.
func (t *topic[K, V]) begin() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.epoch++
	t.tombs, t.late = nil, nil
	t.whole, t.renew = false, t.cut != nil
}

// complete closes the reading: its events are applied in order, and what was not
// confirmed is gone.
func (t *topic[K, V]) complete(events []Event[K, V]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	events = append(events, t.late...)
	slices.SortFunc(events, func(a, b Event[K, V]) int { return cmp.Compare(a.Rev, b.Rev) })
	newest := make(map[K]int64, len(events))
	for _, e := range events {
		newest[e.Key] = e.Rev
	}
	for _, e := range events {
		if e.Rev == newest[e.Key] {
			t.put(e)
		}
	}
	t.table.Range(func(name string, s *slot[K, V]) bool {
		if old := s.Load(); old.epoch < t.epoch {
			t.table.Delete(name)
			t.tell(Event[K, V]{Key: old.Key, Rev: old.Rev, Deleted: true})
		}
		return true
	})
	t.whole, t.cut, t.tombs, t.late = true, nil, nil, nil
	for s := range t.subs {
		t.subs[s] = true
	}
	select {
	case <-t.ready:
	default:
		close(t.ready)
	}
}

// apply handles an event that was published.
func (t *topic[K, V]) apply(e Event[K, V]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s, ok := t.table.Load(t.group.hub.src.Name(e.Key)); ok {
		if known := s.Load(); known.epoch < t.epoch && e.Rev <= known.Rev {
			t.late = append(t.late, e)
			return
		}
	}
	t.put(e)
}

// put stores an event unless a newer one of its key is there, and tells the
// followers. An entry of an older epoch gives way whatever its revision: the
// server may have been replaced by one that knows less.
func (t *topic[K, V]) put(e Event[K, V]) {
	var known *Entry[K, V]
	src := t.group.hub.src
	s, _ := t.table.Load(src.Name(e.Key))
	if s != nil {
		known = s.Load()
		if known.epoch == t.epoch && e.Rev <= known.Rev {
			return
		}
		e.Key = known.Key
	}
	if e.Deleted {
		if !t.whole {
			// What is being read may be older, and must not bring the key back.
			if t.tombs == nil {
				t.tombs = make(map[K]int64)
			}
			t.tombs[src.Own(e.Key)] = e.Rev
		}
		if known != nil {
			t.table.Delete(src.Name(e.Key))
			t.tell(e)
		}
		return
	}
	if died, ok := t.tombs[e.Key]; ok && e.Rev <= died {
		return
	}
	if known == nil {
		e.Key = src.Own(e.Key)
		s = &slot[K, V]{}
	}
	src.Rename(&e.Value, e.Key)
	s.Store(&Entry[K, V]{Event: e, epoch: t.epoch})
	if known == nil {
		t.table.Store(src.Name(e.Key), s)
	}
	// After a disconnect the followers are told anew what they knew.
	if known == nil || known.Rev != e.Rev || t.renew {
		t.tell(e)
	}
}

func (t *topic[K, V]) tell(e Event[K, V]) {
	for s, later := range t.subs {
		s.offer(Update[K, V]{Event: e, Later: later})
	}
}

// fail tells the followers of something that cannot be read.
func (t *topic[K, V]) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := range t.subs {
		s.fail(t.channel, err)
	}
}

// disconnected tells the followers.
func (t *topic[K, V]) disconnected(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.whole, t.cut, t.renew = false, err, false
	for s := range t.subs {
		s.fail(t.group.name, err)
	}
}

// attach lets a consumer follow, beginning with the state as far as it is known.
func (t *topic[K, V]) attach(s *sub[K, V]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.subs[s] = t.whole
	if t.cut != nil {
		s.fail(t.group.name, t.cut)
	}
	// While a reset makes the state be read again, entries are not confirmed yet:
	// the reading tells what has changed, and nothing of what has not. After a
	// disconnect it tells everything but what was confirmed before it ended.
	var known []*Entry[K, V]
	t.table.Range(func(_ string, slot *slot[K, V]) bool {
		if e := slot.Load(); t.cut == nil || t.renew && e.epoch == t.epoch {
			known = append(known, e)
		}
		return true
	})
	slices.SortFunc(known, func(a, b *Entry[K, V]) int { return cmp.Compare(a.Rev, b.Rev) })
	for _, e := range known {
		s.offer(Update[K, V]{Event: e.Event, Known: true})
	}
}

func (t *topic[K, V]) detach(s *sub[K, V]) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.subs, s)
}
