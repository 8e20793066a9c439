// Package queue is an acknowledged queue on Redis Streams with a consumer group:
// what was accepted is handled at least once.
package queue

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
)

// The errors of this package; what the server cannot answer is the error of
// [kv.Client].
var (
	// ErrFull says that the queue holds as many messages as it may; the message was
	// not added.
	ErrFull = errors.New("queue is full")
	// ErrFenced says that the lease is not held under the token: nothing was added.
	ErrFenced = errors.New("fenced off: the lease is free, or held under another token")
	// ErrLost says that the delivery is not the caller's any more: its time was
	// over, its partition was taken over, or it was settled elsewhere. The message is
	// handled again, if it was not settled.
	ErrLost = errors.New("delivery lost")
	// ErrSettled says that the delivery was settled before.
	ErrSettled = errors.New("delivery is settled")
	// ErrInvalid says that the caller's input is unusable; nothing was done.
	ErrInvalid = errors.New("invalid input")
	// ErrUnsupported says that this server cannot do it.
	ErrUnsupported = errors.New("unsupported")
)

// UncertainError says that a message was added, but that fewer replicas than
// demanded are known to have it: a failover may lose it. Submit it again with the
// same id, which cannot add it twice.
type UncertainError struct{ Confirmed, Demanded int }

func (e *UncertainError) Error() string {
	return fmt.Sprintf("written, but confirmed by %d of %d replicas: submit it again", e.Confirmed, e.Demanded)
}

// CorruptError says that a key of the queue holds what is not of it.
type CorruptError struct {
	Key string
	Err error
}

func (e *CorruptError) Error() string { return fmt.Sprintf("corrupt queue: key %q: %v", e.Key, e.Err) }

// Unwrap returns the cause.
func (e *CorruptError) Unwrap() error { return e.Err }

// Event is something that no caller is told.
type Event int

// The events.
const (
	DeadLetter   Event = iota + 1 // a message became a dead letter; the subject is its id or entry, the error why
	DeadDropped                   // the oldest dead letters gave way to new ones; the subject is how many
	Displaced                     // the oldest messages became dead letters, the queue being full; the subject is how many
	ReadFailed                    // a consumer could not read; it goes on trying
	SettleFailed                  // deliveries could not be settled; the consumer goes on trying
	LeaseLost                     // a consumer lost a partition, which is the subject
	Panicked                      // a handler panicked; the subject is the message's id, the error a *PanicError
)

// Partitions is how many streams an ordered queue has.
const Partitions = 16

// Options say how a queue behaves. The zero value of a field means its default;
// all who use a queue must agree on Ordered.
type Options struct {
	// Ordered handles the messages of one key one after another, in the order in
	// which they were submitted.
	Ordered bool
	// Cap is how many messages the queue holds: waiting, delayed and being handled.
	// Defaults to 100,000.
	Cap int
	// Displace makes room for new messages by moving the oldest that wait to the
	// dead letters, where the default is to refuse new ones.
	Displace bool
	// DeadCap is how many dead letters are kept. Defaults to 100,000.
	DeadCap int
	// Window is for how long a message's id is remembered: submitted again, it is
	// not added again. Defaults to 10 minutes.
	Window time.Duration
	// ConfirmTimeout is how long a submit waits for replicas. Defaults to 1 s.
	ConfirmTimeout time.Duration
	// Lost is the cause with which the context of a handler ends whose delivery is
	// lost. It matches [ErrLost]. Defaults to it.
	Lost error
	// OnEvent must not block. Defaults to nothing.
	OnEvent func(e Event, subject string, err error)
}

// Queue is an acknowledged queue. Its methods are safe for concurrent use.
type Queue struct {
	db      *kv.Client
	keys    keys.Queue
	opt     Options
	streams []string // one, or one per partition

	submitKeys []string // of the script queue_submit, but for a lease
	submitArgs [4]string

	submitting kv.Sharing[Message, outcome]
	confirming confirmer
}

// group is the consumer group's name; holder is the group's one consumer in a
// partition, delayed the one that holds what waits for its time.
const (
	group  = "consumers"
	holder = "holder"
)

// New returns the queue of these keys.
func New(db *kv.Client, names keys.Queue, opt Options) (*Queue, error) {
	if opt.Cap < 0 || opt.DeadCap < 0 || opt.Window < 0 || opt.ConfirmTimeout < 0 {
		return nil, fmt.Errorf("%w: queue %s: Cap, DeadCap, Window and ConfirmTimeout must not be negative", ErrInvalid, names)
	}
	orDefault(&opt.Cap, 100_000)
	orDefault(&opt.DeadCap, 100_000)
	orDefault(&opt.Window, 10*time.Minute)
	orDefault(&opt.ConfirmTimeout, time.Second)
	if opt.Lost == nil {
		opt.Lost = ErrLost
	}
	if opt.OnEvent == nil {
		opt.OnEvent = func(Event, string, error) {}
	}
	q := &Queue{db: db, keys: names, opt: opt, streams: []string{names.Stream()}}
	if opt.Ordered {
		q.streams = make([]string, Partitions)
		for i := range q.streams {
			q.streams[i] = names.Partition(i)
		}
	}
	displace := ""
	if opt.Displace {
		displace = strconv.Itoa(opt.DeadCap) + " " + group
	}
	q.submitKeys = append([]string{names.Seen(), names.Use(), names.Dead()}, q.streams...)
	q.submitArgs = [4]string{q.usage(), strconv.Itoa(opt.Cap), micros(opt.Window), displace}
	q.submitting = kv.NewSharing(db, most, q.submitShared)
	q.confirming.q, q.confirming.linger = q, 10*time.Second
	return q, nil
}

func orDefault[T int | time.Duration](v *T, or T) {
	if *v == 0 {
		*v = or
	}
}

// PartitionOf returns the partition of a key in an ordered queue: its 32-bit
// FNV-1a hash modulo the number of partitions.
func PartitionOf(key string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(key)) // it returns no error
	return int(h.Sum32() % Partitions)
}

// failed maps an error of the server: one that says that a key is of another type
// names the key, one of the queue's or a lease.
func (q *Queue) failed(ctx context.Context, err error, leases ...string) error {
	if !kv.IsWrongType(err) {
		return err
	}
	names := append([]string{q.keys.Delayed(), q.keys.Seen(), q.keys.Dead(), q.keys.Leases(), q.keys.Use()}, q.streams...)
	kinds := append([]string{"zset", "zset", "stream", "hash", "string"}, slices.Repeat([]string{"stream"}, len(q.streams))...)
	names, kinds = append(names, leases...), append(kinds, slices.Repeat([]string{"hash"}, len(leases))...)
	cmds := make([]rueidis.Completed, len(names))
	for i, name := range names {
		cmds[i] = q.db.B().Type().Key(name).Build()
	}
	corrupt := &CorruptError{string(q.keys), err} // if it is mended meanwhile
	for i, r := range q.db.DoMulti(ctx, cmds) {
		if kind, _ := r.Msg.ToString(); r.Err == nil && kind != "none" && kind != kinds[i] {
			corrupt = &CorruptError{names[i], fmt.Errorf("it is a %s, not a %s: remove it: %w", kind, kinds[i], err)}
		}
	}
	return corrupt
}

// errOtherUse is what a script says of a queue that is not marked as used like this.
var errOtherUse = errors.New("the queue is used otherwise")

// usage is how this queue is used.
func (q *Queue) usage() string {
	if q.opt.Ordered {
		return "ordered"
	}
	return "plain"
}

// useFor is how long it is known how a queue is used, beyond the last who used it
// like this; useEvery is how often consumers say so.
const useFor, useEvery = time.Minute, time.Second

// use says how this queue is used. Otherwise its messages would wait for consumers
// that look elsewhere. It fails if others use it otherwise.
func (q *Queue) use(ctx context.Context) error {
	names := []string{q.keys.Use()}
	if q.opt.Ordered {
		names = append(names, q.keys.Stream())
	} else {
		for i := range Partitions {
			names = append(names, q.keys.Partition(i))
		}
	}
	msg, err := q.db.Run(ctx, kv.QueueUse, names, []string{q.usage(), millis(useFor)})
	if err != nil {
		return q.failed(ctx, err)
	}
	if answer, _ := msg.AsIntSlice(); answer[0] == 0 { // our script returns two
		return fmt.Errorf("%w: queue %s is not %s: others use it otherwise, or have left %d messages in it", ErrInvalid, q.keys, q.usage(), answer[1])
	}
	return nil
}

func micros(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) }

func millis(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }

// dropped tells that dead letters gave way to new ones.
func (q *Queue) dropped(n int64) {
	if n > 0 {
		q.opt.OnEvent(DeadDropped, strconv.FormatInt(n, 10), nil)
	}
}
