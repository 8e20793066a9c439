package queue

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// Delivery is a message that was given to a handler. Its methods are safe for
// concurrent use; one of Ack, Nak and Reject settles it, the first one counts.
// Each of them waits for the server; if ctx ends before, the settling goes on.
type Delivery struct {
	Message
	// Number is which delivery of the message this is, from 1.
	Number int
	// Entry is the message's id in the stream.
	Entry string
	// Token is the fencing token of the partition's lease in an ordered queue: a
	// later holder's is greater. Empty in others.
	Token string

	c    *consumer
	part *partition // of an ordered queue

	// Set before its handler runs.
	begun  time.Time
	stale  bool
	cancel context.CancelCauseFunc

	settled atomic.Bool // somebody settles it, or has

	// Guarded by the consumer's mu.
	state   state
	touched time.Time     // when its time began at the server, or a moment before
	until   time.Time     // when its time is over, once it is handled
	delay   time.Duration // until it may be handled
	over    bool          // it is settled, or lost, at the server
	again   bool          // it is to be handled again by this consumer
}

type state int

const (
	buffered state = iota
	running        // a handler has it
	returned       // the handler has returned
	dropped        // it is not this consumer's any more
)

// Ack says that the message is done.
func (d *Delivery) Ack(ctx context.Context) error {
	return d.settle(ctx, &settlement{d: d, op: 'A'})
}

// Nak says that the message was not handled: it is delivered again after the
// delay, or becomes a dead letter if it was delivered as often as it may. In an
// ordered queue the later messages of its key wait for it.
func (d *Delivery) Nak(ctx context.Context, delay time.Duration, why error) error {
	return d.settle(ctx, nak(d, delay, why))
}

func nak(d *Delivery, delay time.Duration, why error) *settlement {
	s := &settlement{d: d, op: 'N', delay: max(delay, 0), why: "not acknowledged"}
	if why != nil {
		s.why = why.Error()
	}
	return s
}

// Reject makes the message a dead letter.
func (d *Delivery) Reject(ctx context.Context, reason string) error {
	return d.settle(ctx, &settlement{d: d, op: 'R', why: reason})
}

// Extend begins the delivery's time anew: it is the handler's for another
// visibility timeout.
func (d *Delivery) Extend(ctx context.Context) error {
	if d.settled.Load() {
		return ErrSettled
	}
	return d.c.wait(ctx, &settlement{d: d, op: 'E'})
}

func (d *Delivery) settle(ctx context.Context, s *settlement) error {
	if d.settled.Swap(true) {
		return ErrSettled
	}
	return d.c.wait(ctx, s)
}

// PanicError is the error of a handler that panicked, or that ended its goroutine.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("handler panicked: %v", e.Value) }
