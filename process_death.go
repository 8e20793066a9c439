package fulloncache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/kv"
)

// Nobody notices by itself that a process has died: the server runs no code of
// ours until it is asked. So whoever watches asks at the moment when the next
// process counts as dead; and whoever tells that it is alive itself, or lists
// processes, and finds that one has been silent for longer, looks after it. What
// declares a process dead is one script: the first is the one that reports it.
//
// A client that could not reach the server for a while must not believe that all
// others are dead: they could not reach it either. They get an interval from when
// the server answers again.

// touched notes whether the server answered about a type.
func (c *ProcessCache) touched(t ProcessType, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.Is(err, ErrUnavailable):
		delete(c.touch, t)
	case err == nil && c.touch[t].IsZero():
		c.touch[t] = time.Now()
	}
}

// inTouch is for how long the server has answered about a type.
func (c *ProcessCache) inTouch(t ProcessType) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if since, ok := c.touch[t]; ok {
		return time.Since(since)
	}
	return 0
}

// sweepFor says whom a sweep spares.
type sweepFor int

const (
	sweepWatching sweepFor = iota // nobody: who watches knows when the server was away
	sweepPassing                  // who has another interval left
	sweepAll                      // nobody, whatever this client knows
)

// sweepBatch is how many processes of a kind are looked after at once.
const sweepBatch = 1000

// sweep declares dead, and reports, the processes of a type that vanished, and
// forgets what is over. It returns when to look again; negative if that depends on
// new processes alone.
func (c *ProcessCache) sweep(ctx context.Context, t ProcessType, who sweepFor) (next time.Duration, err error) {
	for {
		more, next, err := c.sweepSome(ctx, t, who)
		if err != nil || !more {
			return next, err
		}
	}
}

func (c *ProcessCache) sweepSome(ctx context.Context, t ProcessType, who sweepFor) (more bool, next time.Duration, _ error) {
	kind := string(t)
	names := []string{c.keys.ProcessesDue(kind), c.keys.Processes(kind), c.keys.ProcessComponents(kind)}
	parts, err := replyParts(c.kv.Run(ctx, kv.ProcessDue, names, []string{microseconds(processTTL), strconv.Itoa(sweepBatch)}))
	c.touched(t, err)
	if err != nil {
		return false, 0, blame(ctx, c.kv, err, typedKey{names[0], "zset"}, typedKey{names[1], "zset"}, typedKey{names[2], "hash"})
	}
	next = -1
	if text, _ := parts[0].ToString(); text != "" {
		next = waitOf(text)
	}
	silent, over := named(t, parts[1]), named(t, parts[2])
	wait, died, err := c.bury(ctx, silent, who)
	if wait >= 0 && (next < 0 || wait < next) {
		next = wait
	}
	_, ferr := c.forget(ctx, over, processTTL)
	err = errors.Join(err, ferr)
	return (died == sweepBatch || len(over) == sweepBatch) && err == nil, next, err
}

// waitOf reads a wait in microseconds that a script returned. A moment more is
// sure to be enough.
func waitOf(text string) time.Duration {
	micros, _ := strconv.ParseInt(text, 10, 64)
	return time.Duration(micros)*time.Microsecond + time.Millisecond
}

// named reads ids and components.
func named(t ProcessType, reply rueidis.RedisMessage) (list []indexed) {
	texts, _ := reply.AsStrSlice()
	for pair := range slices.Chunk(texts, 2) {
		list = append(list, indexed{processKey{t, pair[0]}, pair[1]})
	}
	return list
}

// bury declares processes dead, if they are, and reports them. It returns after
// how long the first of the others may be, negative if there are none, and how
// many are not in the way any more.
func (c *ProcessCache) bury(ctx context.Context, silent []indexed, who sweepFor) (wait time.Duration, buried int, _ error) {
	calls := make([]kv.ScriptCall, len(silent))
	for i, p := range silent {
		touch, extra := c.inTouch(p.kind), "0"
		switch who {
		case sweepPassing:
			extra = "1"
		case sweepAll:
			touch = 2 * maxHeartbeat
		}
		calls[i] = kv.ScriptCall{
			Keys: c.processKeys(p.kind, p.id, p.component),
			Args: slices.Concat([]string{p.id, microseconds(touch), extra}, c.channels(p.kind), c.history()),
		}
	}
	wait = -1
	var errs []error
	for i, reply := range c.kv.RunMulti(ctx, kv.ProcessDie, calls) {
		p := silent[i]
		parts, err := replyParts(reply.Msg, reply.Err)
		if err != nil {
			errs = append(errs, c.blame(ctx, p.kind, p.id, p.component, err))
			continue
		}
		code, _ := parts[0].AsInt64()
		if code == 0 {
			text, _ := parts[1].ToString()
			if left := waitOf(text); wait < 0 || left < wait {
				wait = left
			}
			continue
		}
		buried++
		if code == 1 {
			c.reportDeath(ctx, p, parts[1])
		}
	}
	return wait, buried, errors.Join(errs...)
}

// reportDeath tells the hooks and the queue of global errors that a process died.
func (c *ProcessCache) reportDeath(ctx context.Context, p indexed, reply rueidis.RedisMessage) {
	fields, _ := reply.AsStrMap()
	dead := fmt.Errorf("%s process %s on %s (pid %s) died: it was last heard of at %s, status %s",
		p.kind, printable(p.id), printable(fields["host"]), fields["pid"], fields["heartbeat"], fields["status"])
	if message := fields["message"]; message != "" {
		dead = fmt.Errorf("%w: %s", dead, message)
	}
	c.event(EventProcessDied, Process{Type: p.kind, Component: p.component, ID: p.id}.String(), dead)
	if err := c.report(ctx, GlobalError{Component: cmp.Or(p.component, string(p.kind)), Message: dead.Error()}); err != nil {
		c.log.WarnContext(ctx, "death not pushed to the queue of global errors", "process_type", string(p.kind), "process_id", p.id, "error", err)
	}
}

// sweepLater sweeps a type behind the caller's back, unless that is under way. What
// fails is done after a later call.
func (c *ProcessCache) sweepLater(t ProcessType) {
	if c.inTouch(t) < c.interval {
		return // they may not have reached the server either
	}
	c.sweeping.begin(c.kv, t, func(ctx context.Context) {
		if _, err := c.sweep(ctx, t, sweepPassing); err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "processes not looked after", "process_type", string(t), "error", err)
		}
	})
}

// deathWatch looks after a type while somebody watches it.
type deathWatch struct {
	watchers int // guarded by the cache's lock
	cancel   context.CancelFunc
	news     chan struct{} // a process may be due earlier than was known; of capacity 1
}

// watchDeaths looks after types until the function it returns is called.
func (c *ProcessCache) watchDeaths(types []ProcessType) (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, t := range types {
		w := c.watched[t]
		if w == nil {
			w = &deathWatch{news: make(chan struct{}, 1)}
			var ctx context.Context
			ctx, w.cancel = context.WithCancel(context.Background())
			c.watched[t] = w
			_ = c.kv.Background(func(closed context.Context) { // after Close nobody is watched
				defer context.AfterFunc(closed, w.cancel)()
				c.watchDeath(ctx, t, w.news)
			})
		}
		w.watchers++
	}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, t := range types {
			w := c.watched[t]
			if w.watchers--; w.watchers == 0 {
				w.cancel()
				delete(c.watched, t)
			}
		}
	}
}

// watchDeath sweeps a type whenever a process of it may have died, until ctx ends.
func (c *ProcessCache) watchDeath(ctx context.Context, t ProcessType, news <-chan struct{}) {
	// What is not due is looked for now and then, whatever the news are.
	const seldom = 30 * time.Second
	failed := 50 * time.Millisecond
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-news:
		case <-timer.C:
		}
		next, err := c.sweep(ctx, t, sweepWatching)
		switch {
		case err != nil:
			next = failed
			failed = min(2*failed, time.Second)
		default:
			failed = 50 * time.Millisecond
			if next < 0 || next > seldom {
				next = seldom
			}
		}
		timer.Reset(next)
	}
}

// mayBeDue tells who looks after a type that a process of it may be due.
func (c *ProcessCache) mayBeDue(t ProcessType) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w := c.watched[t]; w != nil {
		signal(w.news)
	}
}
