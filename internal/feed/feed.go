// Package feed follows what others publish, and never loses track: after each
// subscription, and each new one after a disconnect, the current state comes
// first and is put in order with what arrives meanwhile; a slow consumer gets
// the newest event of each key and the count of those it missed; a counter that
// began anew (a restart without data, a clear) makes the state be read again.
//
// A [Hub] holds one connection per group of channels that share a hash tag. A
// [Sub] is a queue of events for one consumer, a [View] the current state for
// readers that cannot wait.
package feed

import (
	"context"
	"errors"
	"time"
)

// Event is a change of one key.
type Event[K comparable, V any] struct {
	Key     K
	Value   V     // the new value; of a deletion, the zero value
	Rev     int64 // orders the events of a group
	Deleted bool
}

// Kind is what a message says.
type Kind int

// The kinds of messages.
const (
	Changed Kind = iota // an event
	Alive               // the group's writer gave a sign of life
	Reset               // revisions began anew: read the state again
)

// Message is what a publisher sent.
type Message[K comparable, V any] struct {
	Kind  Kind
	Event Event[K, V]
}

// Source is what a hub follows.
type Source[K comparable, V any] interface {
	// Connect opens the connection of a group. The callbacks must not be called
	// before Connect returns; onMessage is called in the order of publication.
	Connect(ctx context.Context, group string, onMessage func(channel, message string), onDrop func(channel string)) (Conn, error)
	// Control is the channel that carries a group's signs of life and resets.
	Control(group string) string
	// Probe asks over the connection for the group's last revision; 0 if it has none.
	Probe(ctx context.Context, conn Conn, group string) (rev int64, err error)
	// Decode reads a message.
	Decode(channel, message string) (Message[K, V], error)
	// Load reads the current state behind the channels of a group. It emits every
	// event or, for what cannot be read, an error; it returns when the group's
	// writer last gave a sign of life, or an error if the state cannot be known.
	Load(ctx context.Context, group string, channels []string, emit func(channel string, e Event[K, V], err error)) (heard time.Time, err error)
	// Name is the key within its topic. Readers look it up: the shorter, the better.
	Name(key K) string
	// Own returns a copy of key that shares no memory with a message.
	Own(key K) K
	// Rename makes the value carry the memory of the key.
	Rename(v *V, key K)
}

// Conn is a pub/sub connection. It has no way to leave a channel: one that carries
// channels that nobody follows any more is replaced.
type Conn interface {
	Subscribe(ctx context.Context, channels []string) error
	Lost() <-chan error
	Close()
}

// Options tune a hub.
type Options struct {
	// Heartbeat is how often a connection is probed, and how long an answer may take.
	Heartbeat time.Duration
	// Buffer is how many events wait for a consumer before they are conflated.
	Buffer int
	// OnState is told when a group is complete (err is nil) and when it is cut off.
	OnState func(group string, err error)
	// Now is the clock by which signs of life are dated.
	Now func() time.Time
	// Closed is the error of consumers after Close.
	Closed error
}

// Update is what a consumer gets.
type Update[K comparable, V any] struct {
	Event[K, V]
	// Conflated is how many older events of the key it stands for.
	Conflated int
	// Known says that the event was known before the consumer began.
	Known bool
	// Later says that the state was complete once since the consumer began: a key of
	// which it has heard nothing was not there.
	Later bool
}

// Conflate makes the value that stands for a waiting update and the one that takes
// its place. If it is nil, that is the new one as it is.
type Conflate[K comparable, V any] func(waiting Update[K, V], value V) V

// Disconnected is the error element of a consumer: what it follows is cut off,
// and the hub is connecting anew.
type Disconnected struct {
	Group string
	Err   error
}

// Error names the group and the cause.
func (e *Disconnected) Error() string {
	return "feed of " + e.Group + " is disconnected: " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *Disconnected) Unwrap() error { return e.Err }

var (
	errSilent  = errors.New("no sign of life from the server")
	errEnded   = errors.New("it is not followed any more")
	errUnknown = errors.New("the first full state is not here yet")
	errDropped = errors.New("the server ended the subscription")

	errReplaced = errors.New("a connection without what nobody follows takes its place") // which nobody is told
)
