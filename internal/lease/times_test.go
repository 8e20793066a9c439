package lease

import (
	"context"
	"errors"
	"testing"
	"time"
)

// about checks that a lease is to be looked after so long from now.
func about(t *testing.T, l *Lease, begun time.Time, in time.Duration) {
	t.Helper()
	if from, upto := begun.Add(in), time.Now().Add(in); l.due.Before(from) || l.due.After(upto) {
		t.Errorf("due at %s, want from %s to %s", l.due, from, upto)
	}
}

// Whoever is due first is looked after first, whatever happens to the others; who is
// given back is not looked after any more.
func TestSchedule(t *testing.T) {
	t.Parallel()
	m := &Leases{}
	t.Cleanup(func() { m.alarm.Stop() })
	a, b := &Lease{m: m}, &Lease{m: m}
	begun := time.Now()
	if !m.hold(a, time.Hour) || !m.hold(b, 2*time.Hour) || m.held[0] != a {
		t.Fatal("the first is not the first")
	}
	about(t, a, begun, time.Hour)
	begun = time.Now()
	m.again(a, 3*time.Hour)
	if about(t, a, begun, 3*time.Hour); m.held[0] != b {
		t.Error("who is due later is still the first")
	}
	m.drop(b)
	m.drop(b)
	m.again(b, time.Minute)
	if len(m.held) != 1 || m.held[0] != a || b.place != -1 {
		t.Errorf("%d are looked after", len(m.held))
	}
	m.drop(a)
	if len(m.held) != 0 {
		t.Error("who is given back is looked after")
	}
	m.closed = true
	if m.hold(a, time.Hour) {
		t.Error("held after Close")
	}
}

// A renewal that worked counts from when it was asked for; one that failed is tried
// again soon, and once more when the time is over.
func TestRenewed(t *testing.T) {
	t.Parallel()
	now := time.Now()
	m := &Leases{opt: Options{Now: func() time.Time { return now }}}
	t.Cleanup(func() { m.alarm.Stop() })
	l := &Lease{m: m, ttl: 30 * time.Second}
	m.hold(l, time.Hour)
	begun := time.Now()
	l.renewed(now.Add(-time.Second), nil)
	about(t, l, begun, 10*time.Second)
	if want := now.Add(29*time.Second - 30*time.Millisecond); !l.deadline.Equal(want) || l.failed != nil {
		t.Errorf("until %s, want %s; %v", l.deadline, want, l.failed)
	}
	cut := errors.New("cut off")
	until := l.deadline
	begun = time.Now()
	l.renewed(now, cut)
	about(t, l, begun, 1500*time.Millisecond)
	now = until.Add(-400 * time.Millisecond)
	begun = time.Now()
	l.renewed(now, context.DeadlineExceeded)
	about(t, l, begun, 400*time.Millisecond)
	if !l.deadline.Equal(until) || l.failed != cut {
		t.Errorf("until %s, want %s; %v", l.deadline, until, l.failed)
	}
}

// Who waits asks again ten times in the time for which it keeps its place, not all at
// once; the first in line as soon as what it waits for ends.
func TestPause(t *testing.T) {
	t.Parallel()
	m := &Leases{opt: Options{WaiterTTL: 10 * time.Second}}
	for range 100 {
		for r, want := range map[refusal][2]time.Duration{
			{place: 0}:                               {800 * time.Millisecond, time.Second},
			{place: 1, left: 100 * time.Millisecond}: {800 * time.Millisecond, time.Second},
			{place: 0, left: 5 * time.Second}:        {800 * time.Millisecond, time.Second},
			{place: 0, left: 100 * time.Millisecond}: {101 * time.Millisecond, 101 * time.Millisecond},
		} {
			if got := m.pause(&r); got < want[0] || got > want[1] {
				t.Errorf("%+v: got %s, want from %s to %s", r, got, want[0], want[1])
			}
		}
	}
}
