package queue

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/kv"
)

// partition is a lease of one stream of an ordered queue, and what was read under
// it. A lease that is lost is never renewed: the next one is another partition.
type partition struct {
	n       int
	stream  string
	token   string
	crashed bool // who held it before may have begun what it was given

	// The reader's own.
	from    string      // the first entry to look at next
	last    string      // the last entry read
	loaded  bool        // what was given before has been read
	loading []*Delivery // it, so far

	// Guarded by the consumer's mu.
	state   leaseState
	until   time.Time // when the lease ends, at the earliest
	taken   time.Time
	running int                  // deliveries that were begun and are not over
	keys    map[string]*keyQueue // what was read and is not over
}

type leaseState int

const (
	serving  leaseState = iota
	draining            // nothing begins any more; it is given back when nothing runs
	lost
)

// keyQueue is the deliveries of one key. The first is ready, runs, or waits for
// its time.
type keyQueue struct {
	list  []*Delivery
	timer *time.Timer
}

// lapse ends a partition whose lease could not be renewed in time. From then on it
// is lost, also if the server would still renew it: nothing of it begins any more.
func (c *consumer) lapse(p *partition, now time.Time) {
	if !now.Before(p.until) {
		c.loseLocked(p)
	}
}

// enqueue puts a delivery behind the others of its key.
func (c *consumer) enqueue(d *Delivery) {
	if d.part.state != serving {
		delete(c.held, d)
		return
	}
	k := d.part.keys[d.Key]
	if k == nil {
		k = &keyQueue{}
		d.part.keys[d.Key] = k
	}
	if k.list = append(k.list, d); len(k.list) == 1 {
		c.startKey(k)
	}
}

// startKey puts the first delivery of a key in line, when it is due.
func (c *consumer) startKey(k *keyQueue) {
	d := k.list[0]
	if d.delay <= 0 {
		c.start(d)
		return
	}
	k.timer = time.AfterFunc(d.delay, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if d.state == buffered {
			c.start(d)
		}
	})
}

// advanceKey goes on with the key of a delivery that is over.
func (c *consumer) advanceKey(d *Delivery) {
	p := d.part
	k := p.keys[d.Key]
	if k == nil || k.list[0] != d {
		return // it was malformed, or the lease is lost
	}
	p.running--
	k.list[0] = nil
	k.list = k.list[1:]
	if d.again {
		next := &Delivery{Message: d.Message, Number: d.Number + 1, Entry: d.Entry, Token: d.Token, c: c, part: p, delay: d.delay}
		c.held[next] = struct{}{}
		k.list = slices.Insert(k.list, 0, next)
	}
	if len(k.list) > 0 && p.state == serving {
		c.startKey(k)
	} else {
		delete(p.keys, d.Key)
	}
	if p.state == draining && p.running == 0 {
		signal(c.leasing)
	}
}

// drain lets nothing begin in a partition any more, so that it can be given back.
func (c *consumer) drain(p *partition) {
	p.state = draining
	c.forget(p)
	if p.running == 0 {
		signal(c.leasing)
	}
}

// forget drops what a partition's handlers have not begun.
func (c *consumer) forget(p *partition) {
	for key, k := range p.keys {
		if k.timer != nil {
			k.timer.Stop()
		}
		rest := k.list[:0]
		for _, d := range k.list {
			if d.state == buffered {
				d.state = dropped
				delete(c.held, d)
			} else {
				rest = append(rest, d)
			}
		}
		if k.list = rest; len(rest) == 0 {
			delete(p.keys, key)
		}
	}
}

// lose ends a partition whose lease is another's.
func (c *consumer) lose(p *partition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loseLocked(p)
}

func (c *consumer) loseLocked(p *partition) {
	if p.state == lost {
		return
	}
	p.state = lost
	// Another lease of it has another token, if it is this consumer's again.
	c.lapsed[p.n] = p.token
	c.forget(p)
	for _, k := range p.keys {
		for _, d := range k.list {
			c.drop(d)
			if d.state == running {
				c.astray[p.n]++
			} else {
				delete(c.held, d)
			}
		}
	}
	p.keys = nil
	if c.parts[p.n] == p {
		delete(c.parts, p.n)
	}
	signal(c.room)
	signal(c.leasing)
	c.q.opt.OnEvent(LeaseLost, strconv.Itoa(p.n), nil)
}

// lease keeps the consumer's leases until ctx ends.
func (c *consumer) lease(ctx context.Context) {
	t := trier{c: c}
	for {
		surplus, err := c.leases(ctx, "stay")
		if err == nil {
			c.shed(surplus)
		}
		if !t.goOn(ctx, err) {
			return
		}
		if err != nil {
			continue
		}
		timer := time.NewTimer(c.opt.Lease / 3)
		select {
		case <-timer.C:
		case <-c.leasing:
			timer.Stop()
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

// shed begins to give back what is more than the consumer's share.
func (c *consumer) shed(surplus int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.parts {
		if p.state == draining {
			surplus--
		}
	}
	for _, n := range slices.Sorted(maps.Keys(c.parts)) {
		if p := c.parts[n]; surplus > 0 && p.state == serving {
			c.drain(p)
			surplus--
		}
	}
}

// leases renews the consumer's leases, gives back what it can, and takes what it
// is given.
func (c *consumer) leases(ctx context.Context, mode string) (surplus int, err error) {
	args := []string{c.name, micros(c.opt.Lease), strconv.Itoa(Partitions), mode}
	c.mu.Lock()
	var back []*partition
	for n, p := range c.parts {
		if p.running == 0 && (p.state == draining || mode == "leave") {
			p.state = draining
			c.forget(p)
			back = append(back, p)
			args = append(args, strconv.Itoa(n), p.token, "clean")
		}
	}
	lapsed := maps.Clone(c.lapsed)
	for n, token := range lapsed {
		args = append(args, strconv.Itoa(n), token, "crashed")
	}
	c.mu.Unlock()
	begun := time.Now()
	msg, err := c.q.db.Run(ctx, kv.QueueLease, []string{c.q.keys.Leases()}, args)
	if err != nil {
		return 0, err
	}
	list, _ := msg.ToArray() // our script returns one
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range back {
		p.state = lost
		delete(c.parts, p.n)
	}
	for n, token := range lapsed {
		if c.lapsed[n] == token {
			delete(c.lapsed, n)
		}
	}
	held := map[int]bool{}
	fresh := false
	for _, one := range list[1:] {
		lease, _ := one.AsStrSlice() // our script returns one
		n, _ := strconv.Atoi(lease[0])
		held[n] = true
		p := c.parts[n]
		if c.lapsed[n] == lease[1] {
			continue // it was lost meanwhile; the next call gives it back
		}
		if p != nil && p.token != lease[1] {
			c.loseLocked(p)
			p = nil
		}
		if p == nil {
			p = &partition{n: n, stream: c.q.streams[n], token: lease[1], crashed: lease[2] == "crashed", taken: begun, from: "0-0", last: "0-0", keys: map[string]*keyQueue{}}
			c.parts[n] = p
			fresh = true
		}
		p.until = begun.Add(c.opt.Lease)
	}
	for n, p := range c.parts {
		if !held[n] {
			c.loseLocked(p)
		}
	}
	if fresh {
		signal(c.room)
	}
	return int(whole(&list[0])), nil
}

// readPartitions reads what comes next in the consumer's partitions.
func (c *consumer) readPartitions(ctx context.Context) {
	t := trier{c: c}
	var audited time.Time
	for woken := false; ; {
		n := c.awaitRoom(ctx, true)
		if n == 0 {
			return
		}
		got, err := 0, error(nil)
		parts := c.serving()
		if time.Since(audited) > c.opt.Visibility/2 {
			if err = c.audit(ctx, parts); err == nil {
				audited = time.Now()
			}
		}
		if len(parts) > 0 && err == nil {
			got, err = c.readSome(ctx, parts, min(n, readMost))
		}
		switch {
		case err != nil || got > 0:
			woken = false
		case len(parts) == 0 || woken:
			// Nothing is the consumer's, or what is there is nothing to read.
			woken = false
			select {
			case <-time.After(c.opt.Poll):
			case <-c.room:
			case <-ctx.Done():
			}
		default:
			woken, err = c.awaitNews(ctx, parts)
		}
		if err != nil {
			audited = time.Time{} // it may be another server, or the same with older data
		}
		if !t.goOn(ctx, err) {
			return
		}
	}
}

// audit gives up the partitions in which the server holds something to be with
// this consumer that the consumer knows nothing of: a server that has lost its
// last moments has lost acknowledgements too. The next lease reads it anew.
func (c *consumer) audit(ctx context.Context, parts []*partition) error {
	parts = slices.DeleteFunc(slices.Clone(parts), func(p *partition) bool { return !p.loaded })
	cmds := make([]rueidis.Completed, len(parts))
	for i, p := range parts {
		cmds[i] = c.q.db.B().Xpending().Key(p.stream).Group(group).Start("-").End(p.last).Count(auditMost).Consumer(holder).Build()
	}
	known := c.entries()
	for i, r := range c.q.db.DoMulti(ctx, cmds) {
		if r.Err != nil && !kv.IsNoGroup(r.Err) {
			return r.Err
		}
		entries, _ := r.Msg.ToArray() // none if there is no group
		if slices.ContainsFunc(entries, func(e rueidis.RedisMessage) bool {
			fields, _ := e.ToArray() // the server returns one
			id, _ := fields[0].ToString()
			return !known[parts[i].stream+id]
		}) {
			c.lose(parts[i])
		}
	}
	return nil
}

// auditMost is more than a consumer holds of one partition.
const auditMost = 10_000

// readMost is how many messages are read of one partition at once.
const readMost = 64

func (c *consumer) serving() []*partition {
	c.mu.Lock()
	defer c.mu.Unlock()
	var parts []*partition
	for _, n := range slices.Sorted(maps.Keys(c.parts)) {
		p := c.parts[n]
		// Handlers of a lease that was lost are to return before its messages are
		// handled anew here; one that does not is not waited for for ever.
		if p.state == serving && (c.astray[n] == 0 || time.Since(p.taken) > c.opt.Visibility) {
			parts = append(parts, p)
		}
	}
	return parts
}

// awaitNews waits until there is something to read, or for a while.
func (c *consumer) awaitNews(ctx context.Context, parts []*partition) (bool, error) {
	streams, ids := make([]string, len(parts)), make([]string, len(parts))
	for i, p := range parts {
		streams[i], ids[i] = p.stream, p.last
	}
	cmd := c.q.db.B().Xread().Count(1).Block(c.opt.Poll.Milliseconds()).Streams().Key(streams...).Id(ids...).Build()
	_, err := c.q.db.Block(ctx, c.opt.Poll, cmd)
	if kv.IsNil(err) {
		return false, nil
	}
	return err == nil, err
}

// readSome reads up to so many messages of each partition, and returns how many
// it was given.
func (c *consumer) readSome(ctx context.Context, parts []*partition, count int) (got int, err error) {
	names, args := []string{c.q.keys.Leases(), c.q.keys.Delayed()}, []string{group, holder}
	for _, p := range parts {
		names = append(names, p.stream)
		args = append(args, strconv.Itoa(p.n), p.token, p.from, strconv.Itoa(count))
	}
	begun := time.Now()
	msg, err := c.q.db.Run(ctx, kv.QueueRead, names, args)
	if err != nil {
		return 0, err
	}
	reply, _ := msg.ToArray() // our script returns one
	for i, p := range parts {
		one, _ := reply[i].ToArray() // our script returns one
		kind := whole(&one[0])
		if kind < 0 {
			c.lose(p)
			continue
		}
		var list []*Delivery
		for _, entry := range one[1:] {
			d := c.delivery(&entry, begun)
			d.part, d.Token = p, p.token
			list = append(list, d)
		}
		got += len(list)
		if len(list) > 0 {
			p.last = list[len(list)-1].Entry
			p.from = after(p.last)
		}
		if !p.loaded {
			p.loading = append(p.loading, list...)
			if kind == 0 {
				got++ // there may be more
				continue
			}
			p.loaded = true
			// What is new is not among them: its number is 1, and no handler began it.
			old := p.loading[:len(p.loading)-len(list)]
			if p.crashed && !c.punish(ctx, old) {
				p.loaded = false // the next holder is to
				continue
			}
			list = slices.DeleteFunc(p.loading, func(d *Delivery) bool { return d.over })
			p.loading = nil
		}
		c.add(list)
	}
	return got, nil
}

// punish counts a delivery of what the holder before may have begun, which is the
// first of each key. It reports false if that cannot be done any more.
func (c *consumer) punish(ctx context.Context, list []*Delivery) bool {
	seen := map[string]bool{}
	var heads []*settlement
	var answers []chan error
	for _, d := range list {
		if !seen[d.Key] && d.delay == 0 {
			answers = append(answers, make(chan error, 1))
			heads = append(heads, &settlement{d: d, op: 'B', done: answers[len(heads)],
				why: fmt.Sprintf("delivered %d times, the last time to a consumer that died", d.Number)})
		}
		seen[d.Key] = true
	}
	c.settler.add(heads...)
	for _, answer := range answers {
		select {
		case err := <-answer:
			_ = err // what is lost was dropped where that was learnt
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// after returns the least id of a stream after one.
func after(id string) string {
	ms, seq, _ := strings.Cut(id, "-")
	n, err := strconv.ParseUint(seq, 10, 64)
	if err != nil || n == math.MaxUint64 {
		t, _ := strconv.ParseUint(ms, 10, 64) // the server made it
		return strconv.FormatUint(t+1, 10) + "-0"
	}
	return ms + "-" + strconv.FormatUint(n+1, 10)
}
