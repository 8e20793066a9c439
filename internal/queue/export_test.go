package queue

import (
	"context"
	"time"
)

// Backoff is how long a message waits that could not be handled, if nobody says else.
var Backoff = backoff

// Linger sets for how long the connection that asks replicas is kept unused.
func (q *Queue) Linger(d time.Duration) { q.confirming.linger = d }

// Recover lets a consumer that holds one entry ask what it owns, and settles the
// entry when meanwhile returns. It returns the ids of what it takes for lost.
func (q *Queue) Recover(ctx context.Context, name, entry string, meanwhile func()) ([]string, error) {
	d := &Delivery{Entry: entry}
	c := &consumer{q: q, name: name, held: map[*Delivery]struct{}{d: {}}}
	c.work.L = &c.mu
	done := make(chan error, 1)
	go func() { done <- c.recover(ctx) }()
	meanwhile()
	c.mu.Lock()
	delete(c.held, d)
	c.mu.Unlock()
	err := <-done
	var lost []string
	for _, d := range c.ready {
		lost = append(lost, d.ID)
	}
	return lost, err
}

// Batches returns how many settlements each script call gets: of acknowledgements, and
// of others. Each of ops is an operation; small letters are of another partition, and
// what ! follows was part of a call that failed.
func Batches(ops string) (acks, others []int) {
	var list []*settlement
	parts := map[bool]*partition{false: {}, true: {}}
	for _, op := range []byte(ops) {
		if op == '!' {
			list[len(list)-1].alone = true
			continue
		}
		list = append(list, &settlement{d: &Delivery{part: parts[op >= 'a']}, op: op &^ 0x20})
	}
	a, o := batches(list)
	for _, b := range a {
		acks = append(acks, len(b))
	}
	for _, b := range o {
		others = append(others, len(b))
	}
	return acks, others
}

// PassOver lets a worker pass over a delivery that was given back while it was in line.
// It reports whether the reader and the claimer are told that there is room.
func PassOver() (reader, claimer bool) {
	c := &consumer{reading: context.Background(), life: context.Background(), room: make(chan struct{}, 1), claimRoom: make(chan struct{}, 1)}
	c.work.L = &c.mu
	c.ready = []*Delivery{{state: returned}, {}}
	c.next()
	return len(c.room) == 1, len(c.claimRoom) == 1
}
