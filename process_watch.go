package fulloncache

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/feed"
)

// ProcessEvent is one element of a watch: a process that started, stopped or died.
type ProcessEvent struct {
	Change  ProcessChange
	Process Process // Process is as it was then.
	// Rev numbers the events of a type: a later one is greater. It never goes back.
	Rev int64
	// Conflated is how many older events of this process the consumer was too slow
	// for; this one stands for them.
	Conflated int
}

// Watch follows the processes of some types, or of all if none is named, until ctx
// ends: those that are alive come first, as started; then every process that
// starts, stops or dies. It looks for deaths by itself, at the moment when a
// process has been silent for too long, so that they are told within two
// intervals even if nobody else is alive. One that is heard of again afterwards
// is told as started again. A consumer that is slower gets the newest event of
// each process, and the count of those it missed.
//
// An element with an error means that the feed is disconnected ([ErrUnavailable])
// or that a stored process is corrupt ([ErrCorrupt]); the loop goes on, and once
// connected again what has happened meanwhile is told. Processes that may not
// have been able to reach the server either get an interval before they count as
// dead; and of those that a restarted server has forgotten, the ones that do not
// register themselves again are told as died. The last element is [ErrClosed] if the
// Client is closed, and [ErrInvalid] is the only one if there is no such type.
func (c *ProcessCache) Watch(ctx context.Context, types ...ProcessType) iter.Seq2[ProcessEvent, error] {
	return func(yield func(ProcessEvent, error) bool) {
		topics, types, err := c.topics(types)
		if err != nil {
			yield(ProcessEvent{}, err)
			return
		}
		sub, err := c.hub.Subscribe(topics)
		if err != nil {
			yield(ProcessEvent{}, err)
			return
		}
		defer sub.Close()
		w := newProcessWatcher()
		if w.since, err = c.revisions(ctx, types, yield); err != nil {
			return
		}
		defer c.watchDeaths(types)()
		for {
			u, err := w.next(ctx, sub)
			if ctx.Err() != nil {
				return
			}
			var events []ProcessEvent
			switch {
			case errors.Is(err, context.DeadlineExceeded):
				events = w.overdue(time.Now())
			case err != nil:
				if !yield(ProcessEvent{}, feedError(err)) || errors.Is(err, ErrClosed) {
					return
				}
			default:
				events = w.update(u, time.Now())
			}
			for _, e := range events {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// topics names the channels of types, and the types.
func (c *ProcessCache) topics(types []ProcessType) ([]feed.Topic, []ProcessType, error) {
	if len(types) == 0 {
		types = processTypes[:]
	}
	for _, t := range types {
		if err := t.Validate(); err != nil {
			return nil, nil, err
		}
	}
	types = slices.Compact(slices.Sorted(slices.Values(types)))
	topics := make([]feed.Topic, len(types))
	for i, t := range types {
		topics[i] = feed.Topic{Group: string(t), Channel: c.keys.ProcessesChannel(string(t))}
	}
	return topics, types, nil
}

// revisions returns the last revisions of types: what is told later is news. It
// waits for the server, and yields why it must. An error says that it is over.
func (c *ProcessCache) revisions(ctx context.Context, types []ProcessType, yield func(ProcessEvent, error) bool) (map[ProcessType]int64, error) {
	const pause = 100 * time.Millisecond
	for told := false; ; told = true {
		revs, err := c.revisionsNow(ctx, types)
		switch {
		case err == nil:
			return revs, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case !told || errors.Is(err, ErrClosed):
			if !yield(ProcessEvent{}, err) || errors.Is(err, ErrClosed) {
				return nil, err
			}
		}
		again := time.NewTimer(pause)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
		}
	}
}

func (c *ProcessCache) revisionsNow(ctx context.Context, types []ProcessType) (map[ProcessType]int64, error) {
	cmds := make([]rueidis.Completed, len(types))
	for i, t := range types {
		cmds[i] = c.kv.B().Get().Key(c.keys.ProcessRev(string(t))).Build()
	}
	revs := make(map[ProcessType]int64, len(types))
	for i, reply := range c.kv.DoMulti(ctx, cmds) {
		rev, err := readRevision(c.keys.ProcessRev(string(types[i])), reply.Msg, reply.Err)
		if err != nil {
			return nil, err
		}
		revs[types[i]] = rev
	}
	return revs, nil
}

// processWatcher knows what a consumer knows, and so what is news to it.
type processWatcher struct {
	since map[ProcessType]int64 // the revisions at its begin
	alive map[processKey]storedProcess
	// gone are those of them that the server has forgotten, and until when they may
	// register themselves again.
	gone map[processKey]time.Time
	over map[processKey]processEnd // the ends that the consumer was told last
}

// processEnd is how an instance ended.
type processEnd struct {
	instance string
	change   ProcessChange
}

func newProcessWatcher() *processWatcher {
	return &processWatcher{alive: make(map[processKey]storedProcess), gone: make(map[processKey]time.Time), over: make(map[processKey]processEnd)}
}

// next waits for an update, or until the first of those that are gone is overdue.
func (w *processWatcher) next(ctx context.Context, sub feed.Sub[processKey, storedProcess]) (feed.Update[processKey, storedProcess], error) {
	var first time.Time
	for _, at := range w.gone {
		if first.IsZero() || at.Before(first) {
			first = at
		}
	}
	if first.IsZero() {
		return sub.Next(ctx)
	}
	bounded, cancel := context.WithDeadline(ctx, first)
	defer cancel()
	return sub.Next(bounded)
}

// overdue returns the deaths of those that the server has forgotten and that have
// not come back.
func (w *processWatcher) overdue(now time.Time) (events []ProcessEvent) {
	for key, at := range w.gone {
		if at.After(now) {
			continue
		}
		p := w.alive[key]
		p.Alive = false
		delete(w.gone, key)
		delete(w.alive, key)
		events = append(events, ProcessEvent{Change: ChangeDied, Process: p.Process, Rev: p.rev})
	}
	return events
}

// update returns what is news of an update.
func (w *processWatcher) update(u feed.Update[processKey, storedProcess], now time.Time) []ProcessEvent {
	key := u.Key
	known, alive := w.alive[key]
	if u.Deleted {
		delete(w.over, key)
		if alive && w.gone[key].IsZero() {
			w.gone[key] = now.Add(2 * known.Interval)
		}
		return nil
	}
	p := u.Value
	e := ProcessEvent{Process: p.Process, Rev: u.Rev, Conflated: u.Conflated}
	switch {
	case p.Alive:
		delete(w.gone, key)
		delete(w.over, key)
		w.alive[key] = p
		if alive && known.instance == p.instance && u.Conflated == 0 {
			return nil // told anew after a disconnect
		}
		e.Change = ChangeStarted
	case p.Status != ProcessStopped && p.Died.IsZero():
		// It is silent, and not yet declared dead: that is told if it is.
		return nil
	default:
		e.Change = ChangeDied
		if p.Status == ProcessStopped {
			e.Change = ChangeStopped
		}
		end := processEnd{p.instance, e.Change}
		if !alive && (u.Rev <= w.since[key.kind] || w.over[key] == end) {
			return nil // it was over before, or that was told
		}
		delete(w.gone, key)
		delete(w.alive, key)
		w.over[key] = end
	}
	return []ProcessEvent{e}
}

// processSource is what the feed follows: one group per type.
type processSource struct {
	connector
	c *ProcessCache
}

func (s processSource) Control(kind string) string { return s.c.keys.ProcessRevChannel(kind) }

func (s processSource) Probe(ctx context.Context, conn feed.Conn, kind string) (int64, error) {
	return probe(ctx, conn, s.c.keys.ProcessRev(kind))
}

func (s processSource) Decode(channel, message string) (feed.Message[processKey, storedProcess], error) {
	m, err := readProcessMessage(channel, message)
	if err != nil {
		return feed.Message[processKey, storedProcess]{}, err
	}
	if m.kind == messageReset {
		return feed.Message[processKey, storedProcess]{Kind: feed.Reset}, nil
	}
	t, ok := s.c.types[channel]
	switch {
	case m.kind == messageDeleted && ok:
		m.process.Type = t
	case !ok || m.process.Type != t:
		return feed.Message[processKey, storedProcess]{}, &CorruptError{Key: channel, Err: fmt.Errorf("message %s: it is of another channel", excerpt(message))}
	default:
		s.c.mayBeDue(t)
	}
	return feed.Message[processKey, storedProcess]{Event: processEvent(m.process, m.kind == messageDeleted)}, nil
}

func processEvent(s storedProcess, deleted bool) feed.Event[processKey, storedProcess] {
	return feed.Event[processKey, storedProcess]{Key: processKey{s.Type, s.ID}, Value: s, Rev: s.rev, Deleted: deleted}
}

// Load reads the processes of a type.
func (s processSource) Load(ctx context.Context, kind string, channels []string, emit func(string, feed.Event[processKey, storedProcess], error)) (time.Time, error) {
	var failed error
	// A type has one channel.
	_, _ = s.c.read(ctx, ProcessFilter{Type: ProcessType(kind)}, func(p storedProcess, err error) bool {
		if err != nil && !errors.Is(err, ErrCorrupt) {
			failed = err
			return false
		}
		emit(channels[0], processEvent(p, false), err)
		return true
	})
	s.c.mayBeDue(ProcessType(kind))
	return time.Time{}, failed
}

func (s processSource) Name(key processKey) string { return key.id }

func (s processSource) Own(key processKey) processKey {
	return processKey{key.kind, strings.Clone(key.id)}
}

func (s processSource) Rename(p *storedProcess, key processKey) { p.Type, p.ID = key.kind, key.id }
