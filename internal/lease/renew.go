package lease

import (
	"container/heap"
	"context"
	"errors"
	"time"

	"github.com/fullon/fulloncache/internal/kv"
)

// Most leases are given back long before they are to be renewed. So none has a
// timer of its own: the client has an alarm for the first that is due, and who
// gives a lease back leaves it as it is.

// schedule is a heap of leases by when they are to be looked after.
type schedule []*Lease

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, k int) bool { return s[i].due.Before(s[k].due) }
func (s schedule) Swap(i, k int) {
	s[i], s[k] = s[k], s[i]
	s[i].place, s[k].place = i, k
}

// Push is of the heap's interface.
func (s *schedule) Push(l any) {
	held := l.(*Lease)
	held.place = len(*s)
	*s = append(*s, held)
}

// Pop is of the heap's interface.
func (s *schedule) Pop() any {
	last := len(*s) - 1
	l := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	l.place = -1
	return l
}

// hold takes a new lease into the schedule; false after Close.
func (m *Leases) hold(l *Lease, in time.Duration) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	l.due = time.Now().Add(in)
	heap.Push(&m.held, l)
	m.setAlarm()
	return true
}

// again has a lease looked after once more, if it is still held.
func (m *Leases) again(l *Lease, in time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.place >= 0 {
		l.due = time.Now().Add(in)
		heap.Fix(&m.held, l.place)
		m.setAlarm()
	}
}

// drop takes a lease out.
func (m *Leases) drop(l *Lease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if l.place >= 0 {
		heap.Remove(&m.held, l.place)
	}
}

// setAlarm sees to it that the alarm goes off for the first in the schedule. One
// that goes off too early does no harm. The lock is held.
func (m *Leases) setAlarm() {
	first := m.held[0].due
	if !m.alarms.IsZero() && !first.Before(m.alarms) {
		return
	}
	m.alarms = first
	if m.alarm == nil {
		m.alarm = time.AfterFunc(time.Until(first), m.look)
	} else {
		m.alarm.Reset(time.Until(first))
	}
}

// look looks after the leases that are due.
func (m *Leases) look() {
	for _, l := range m.due() {
		l.tick()
	}
}

// due returns the leases that are. Each is looked after anew by the end of its
// time, whatever becomes of its renewal.
func (m *Leases) due() (list []*Lease) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	m.alarms = time.Time{}
	for len(m.held) > 0 && !m.held[0].due.After(now) {
		l := m.held[0]
		list = append(list, l)
		l.due = now.Add(l.ttl)
		heap.Fix(&m.held, 0)
	}
	if len(m.held) > 0 {
		m.setAlarm()
	}
	return list
}

// tick renews, unless that is under way.
func (l *Lease) tick() {
	if l.Err() == nil && !l.m.db.Background(l.renew) {
		l.lose(l.m.opt.Closed)
	}
}

func (l *Lease) renew(ctx context.Context) {
	begun := l.m.opt.Now()
	// One that hangs must leave time for another.
	ctx, cancel := context.WithTimeout(ctx, min(l.Until().Sub(begun), l.ttl/3))
	defer cancel()
	r := l.Resource
	names := []string{r.Key, r.Index}
	if _, due := l.m.known(r); due {
		names, _ = l.m.index(ctx, r, names) // it is tried again with the next renewal
	}
	a, err := l.m.run(ctx, r, kv.LeaseRenew, names, []string{r.Name, l.token(), l.request, micros(l.ttl), r.Group})
	switch {
	case err == nil && a.status == 0:
		l.lose(l.m.blocked(r, a))
	case err == nil && a.status == 2:
		l.lose(errGone)
	default:
		l.renewed(begun, err)
	}
}

// renewed notes how a renewal ended. One that failed is tried again soon, until
// the time is over.
func (l *Lease) renewed(begun time.Time, err error) {
	l.mu.Lock()
	next := l.ttl / 3
	if err == nil {
		l.deadline = begun.Add(l.ttl - l.ttl/drift)
	} else {
		next = min(l.ttl/20, l.deadline.Sub(l.m.opt.Now()))
	}
	// That there was no time left for the last one tells less than what went before.
	if l.failed == nil || !errors.Is(err, context.DeadlineExceeded) {
		l.failed = err
	}
	l.mu.Unlock()
	l.m.again(l, next)
}
