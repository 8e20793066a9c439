package queue

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/fullon/fulloncache/internal/kv"
)

// settlement is one operation on a delivery.
type settlement struct {
	d     *Delivery
	op    byte
	delay time.Duration
	why   string

	sent  bool       // it may have been done by an attempt without an answer
	alone bool       // it was part of a call that failed
	begun time.Time  // when the last attempt was sent
	done  chan error // buffered; nil if nobody waits
}

// settler settles what a consumer's handlers ask for, many at once: what comes
// while the server answers makes up the next call.
type settler struct {
	c *consumer

	mu      sync.Mutex
	waiting []*settlement
	asking  bool // a call is under way
	closed  bool
	wake    chan struct{}
}

// busy reports whether something is to be settled.
func (s *settler) busy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asking || len(s.waiting) > 0
}

func (s *settler) add(list ...*settlement) {
	s.mu.Lock()
	s.waiting = append(s.waiting, list...)
	s.mu.Unlock()
	signal(s.wake)
}

// close lets run end once nothing waits.
func (s *settler) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	signal(s.wake)
}

// wait asks for a settlement and waits for it.
func (c *consumer) wait(ctx context.Context, s *settlement) error {
	done := make(chan error, 1)
	s.done = done
	c.settler.add(s)
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx) // a handler's own context says that it is lost
	case <-c.settling.Done():
		return ErrLost // its consumer has stopped
	}
}

// Pauses between attempts while the server does not settle.
const shortestPause, longestPause = 20 * time.Millisecond, time.Second

// run settles until it is closed and nothing waits, or ctx ends.
func (s *settler) run(ctx context.Context) {
	pause := shortestPause
	for {
		s.mu.Lock()
		list, closed := s.waiting, s.closed
		s.waiting, s.asking = nil, len(list) > 0
		s.mu.Unlock()
		if len(list) == 0 {
			if closed {
				return
			}
			select {
			case <-s.wake:
			case <-ctx.Done():
				return
			}
			continue
		}
		failed, err := s.settle(ctx, list)
		s.mu.Lock()
		s.waiting, s.asking = append(failed, s.waiting...), false
		s.mu.Unlock()
		signal(s.c.room)
		if len(failed) == 0 {
			pause = shortestPause
			continue
		}
		s.c.q.opt.OnEvent(SettleFailed, s.c.name, err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
		pause = min(2*pause, longestPause)
	}
}

// batch is what one script call settles: of one stream, acknowledgements or
// anything else.
type batch struct {
	part *partition
	acks bool
}

func batchOf(one *settlement) batch { return batch{one.d.part, one.op == 'A'} }

// batches parts what is to be settled among script calls.
func batches(list []*settlement) (acks, others [][]*settlement) {
	if len(list) == 0 {
		return nil, nil
	}
	first := batchOf(list[0])
	if first.acks && len(list) <= most && !slices.ContainsFunc(list, func(one *settlement) bool { return one.alone || batchOf(one) != first }) {
		return [][]*settlement{list}, nil // as nearly always: it need not cost much
	}
	open := map[batch]int{} // where the batch under way is
	for _, one := range list {
		b, batches := batchOf(one), &others
		if b.acks {
			batches = &acks
		}
		at, ok := open[b]
		if !ok || one.alone || len((*batches)[at]) == most {
			*batches = append(*batches, nil)
			at = len(*batches) - 1
			open[b] = at
		}
		(*batches)[at] = append((*batches)[at], one)
		if one.alone {
			delete(open, b)
		}
	}
	return acks, others
}

// settle sends what is to be settled and returns what failed, and why.
func (s *settler) settle(ctx context.Context, list []*settlement) (failed []*settlement, why error) {
	list = slices.DeleteFunc(list, func(one *settlement) bool {
		lost := s.c.isLost(one.d)
		if lost {
			s.c.outcome(one, ErrLost, 0)
		}
		return lost
	})
	acks, others := batches(list)
	for _, script := range [...]struct {
		name    kv.Script
		batches [][]*settlement
	}{{kv.QueueAck, acks}, {kv.QueueSettle, others}} {
		if len(script.batches) == 0 {
			continue
		}
		calls := make([]kv.ScriptCall, len(script.batches))
		now := time.Now()
		for i, list := range script.batches {
			calls[i] = s.c.settlementCall(list)
			for _, one := range list {
				one.begun = now
			}
		}
		for i, r := range s.c.q.db.RunMulti(ctx, script.name, calls) {
			list := script.batches[i]
			if r.Err == nil {
				s.c.settled(list, r)
				continue
			}
			why = s.c.q.failed(ctx, r.Err)
			for _, one := range list {
				one.sent, one.alone = true, kv.IsRefusal(r.Err)
				// Whoever counts a crash goes on when it is counted.
				if one.alone && one.op != 'B' {
					one.tell(why)
				}
			}
			failed = append(failed, list...)
		}
	}
	return failed, why
}

// tell tells who waits.
func (one *settlement) tell(err error) {
	if one.done != nil {
		one.done <- err
		one.done = nil
	}
}

func (c *consumer) settlementCall(list []*settlement) kv.ScriptCall {
	q, part := c.q, list[0].d.part
	stream, owner, number, token := q.keys.Stream(), c.name, "", ""
	if part != nil {
		stream, owner, number, token = part.stream, holder, strconv.Itoa(part.n), part.token
	}
	if list[0].op == 'A' {
		args := append(make([]string, 0, 3+len(list)), group, number, token)
		for _, one := range list {
			args = append(args, one.d.Entry)
		}
		return kv.ScriptCall{Keys: []string{stream, q.keys.Delayed(), q.keys.Leases()}, Args: args}
	}
	args := append(make([]string, 0, 5+2*len(list)), group, owner, number, token, strconv.Itoa(q.opt.DeadCap))
	for _, one := range list {
		count := strconv.Itoa(one.d.Number)
		args = append(args, string(one.op), one.d.Entry)
		switch one.op {
		case 'N':
			args = append(args, count, micros(one.delay), strconv.Itoa(c.opt.MaxDeliveries), one.why)
		case 'R':
			args = append(args, one.why)
		case 'H':
			args = append(args, count)
		case 'B':
			args = append(args, count, strconv.Itoa(c.opt.MaxDeliveries), one.why)
		}
	}
	return kv.ScriptCall{Keys: []string{stream, q.keys.Delayed(), q.keys.Dead(), q.keys.Leases()}, Args: args}
}

// settled hands a script's answer to those it is for.
func (c *consumer) settled(list []*settlement, r kv.Reply) {
	answer, _ := r.Msg.AsIntSlice() // our scripts return one
	if len(answer) > 0 && answer[0] < 0 {
		c.lose(list[0].d.part)
		for _, one := range list {
			c.outcome(one, ErrLost, 0)
		}
		return
	}
	if list[0].op == 'A' {
		for i, one := range list {
			var err error
			if slices.Contains(answer, int64(i+1)) && !one.sent {
				err = ErrLost
			}
			c.outcome(one, err, 1)
		}
		return
	}
	c.q.dropped(answer[0])
	for i, one := range list {
		var err error
		if answer[1+i] == 0 && !one.sent {
			err = ErrLost
		}
		c.outcome(one, err, answer[1+i])
	}
}

// outcome is what became of a settlement: 2 is a dead letter.
func (c *consumer) outcome(one *settlement, err error, code int64) {
	d := one.d
	if code == 2 {
		subject := d.ID
		if subject == "" {
			subject = d.Entry
		}
		c.q.opt.OnEvent(DeadLetter, subject, errors.New(one.why))
	}
	c.mu.Lock()
	switch {
	case one.op == 'E':
		if err == nil {
			d.touched, d.until = one.begun, one.begun.Add(c.opt.Visibility)
		} else {
			c.drop(d)
		}
	case one.op == 'B':
		if code == 1 {
			d.Number++
		} else {
			d.over = true
		}
	default:
		d.over = true
		d.again = one.op == 'N' && d.part != nil && err == nil && code != 2
		d.delay = one.delay
		if one.op == 'N' && d.part == nil {
			c.expect(time.Now().Add(one.delay))
		}
		c.advance(d)
	}
	c.mu.Unlock()
	one.tell(err)
}

// deadlines gives back what waits for a handler for long, ends what handlers have
// had for too long, and the leases that could not be renewed in time.
func (c *consumer) deadlines(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var overdue []*partition
	for d := range c.held {
		switch {
		case d.over || d.state == returned:
		case d.state == buffered && d.part == nil && now.Sub(d.touched) > c.opt.Visibility/3:
			c.returnLocked(d)
		case d.state == running && now.After(d.until):
			d.cancel(c.q.opt.Lost)
			// While the lease is held nobody else has the message, so its handler is
			// waited for, but not for ever.
			if d.part != nil && now.After(d.until.Add(c.opt.Visibility)) && !slices.Contains(overdue, d.part) {
				overdue = append(overdue, d.part)
			}
		}
	}
	for _, p := range overdue {
		c.loseLocked(p)
	}
	for _, p := range c.parts {
		c.lapse(p, now)
	}
}
