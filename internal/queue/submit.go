package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/kv"
)

// Message is what is submitted.
type Message struct {
	// ID names the message: the same one is added once within the window.
	ID string
	// Key is what an ordered queue keeps in order; others have none.
	Key string
	// Body is the caller's.
	Body string
}

// Fence is a lease that must be held for a submit to be done. Its key, a hash of
// symbol, token and until, shares the queue's hash tag.
type Fence struct {
	Key string
	// Symbol is whose lease it is.
	Symbol string
	// Token is under which it must be held.
	Token int64
}

// Demands are what one submit asks for beyond its messages.
type Demands struct {
	// WaitReplicas is how many replicas must have the messages. Not on the
	// in-process server.
	WaitReplicas int
	// Fence is compared in the same step that adds the messages.
	Fence *Fence
}

// Result is what became of a message.
type Result struct {
	// Duplicate says that it was added before, perhaps by an attempt of this very
	// submit whose answer was lost.
	Duplicate bool
	// Err is why it was not added: [ErrFull].
	Err error
}

// most is how many messages or operations one script call has: Lua's stack and
// the time that others wait bound it. atOnce is how many calls are sent at once.
const (
	most   = 500
	atOnce = 16
)

// Submit adds a message. Whatever the error, it may be submitted again.
func (q *Queue) Submit(ctx context.Context, m Message, d Demands) (Result, error) {
	results, err := q.SubmitMany(ctx, []Message{m}, d)
	if err != nil {
		return Result{}, err
	}
	return results[0], results[0].Err
}

// SubmitMany adds messages, in order, and returns a result for each. With an
// error, some may have been added; all may be submitted again. Single messages of
// which nothing is demanded share calls if they are submitted at the same time.
func (q *Queue) SubmitMany(ctx context.Context, messages []Message, d Demands) ([]Result, error) {
	if err := q.check(messages, d); err != nil {
		return nil, err
	}
	if len(messages) == 1 && d == (Demands{}) {
		one, err := q.submitting.Do(ctx, &messages[0])
		if err = cmp.Or(err, one.err); err != nil {
			return nil, err
		}
		return []Result{one.result}, nil
	}
	results := make([]Result, 0, len(messages))
	var uncertain error
	for some := range slices.Chunk(messages, atOnce*most) {
		part, err := q.submitAll(ctx, some, d)
		if part == nil && err != nil {
			return nil, err
		}
		results = append(results, part...)
		if err != nil {
			uncertain = err
		}
	}
	return results, uncertain
}

// outcome is what a message is told that shared a call.
type outcome struct {
	result Result
	err    error
}

// submitShared adds messages that share a call, and tells the result of each.
func (q *Queue) submitShared(ctx context.Context, some []*Message, tell func(i int, one outcome)) {
	messages := make([]Message, len(some))
	for i, m := range some {
		messages[i] = *m
	}
	results, err := q.submitAll(ctx, messages, Demands{})
	for i := range messages {
		one := outcome{err: err}
		if err == nil {
			one.result = results[i]
		}
		tell(i, one)
	}
}

// submitAll does what submitSome does, once it is said how the queue is used.
func (q *Queue) submitAll(ctx context.Context, messages []Message, d Demands) ([]Result, error) {
	results, err := q.submitSome(ctx, messages, d)
	if errors.Is(err, errOtherUse) {
		if err = q.use(ctx); err == nil {
			results, err = q.submitSome(ctx, messages, d)
		}
	}
	return results, err
}

// submitSome returns results, beside an UncertainError too.
func (q *Queue) submitSome(ctx context.Context, messages []Message, d Demands) ([]Result, error) {
	var calls []kv.ScriptCall
	for some := range slices.Chunk(messages, most) {
		calls = append(calls, q.submission(some, d.Fence))
	}
	var replies []kv.Reply
	var uncertain error
	if d.WaitReplicas > 0 {
		confirmed, err := 0, error(nil)
		replies, confirmed, err = q.confirming.run(ctx, calls, d.WaitReplicas)
		if err != nil {
			return nil, err
		}
		if confirmed < d.WaitReplicas {
			uncertain = &UncertainError{confirmed, d.WaitReplicas}
		}
	} else {
		replies = q.db.RunMulti(ctx, kv.QueueSubmit, calls)
	}
	results := make([]Result, 0, len(messages))
	for _, r := range replies {
		var err error
		if results, err = q.submitted(ctx, r, d.Fence, results); err != nil {
			return nil, err
		}
	}
	return results, uncertain
}

func (q *Queue) check(messages []Message, d Demands) error {
	if d.WaitReplicas < 0 {
		return fmt.Errorf("%w: WaitReplicas %d", ErrInvalid, d.WaitReplicas)
	}
	if d.WaitReplicas > 0 && q.db.InProcess() {
		return fmt.Errorf("%w: the in-process server has no replicas", ErrUnsupported)
	}
	if d.Fence != nil && (d.Fence.Key == "" || d.Fence.Symbol == "") {
		return fmt.Errorf("%w: a fence needs a key and a symbol", ErrInvalid)
	}
	for _, m := range messages {
		switch {
		case m.ID == "":
			return fmt.Errorf("%w: a message needs an id", ErrInvalid)
		case q.opt.Ordered && m.Key == "":
			return fmt.Errorf("%w: message %q of an ordered queue needs a key", ErrInvalid, m.ID)
		case !q.opt.Ordered && m.Key != "":
			return fmt.Errorf("%w: message %q has a key, the queue is not ordered", ErrInvalid, m.ID)
		}
	}
	return nil
}

func (q *Queue) submission(messages []Message, f *Fence) kv.ScriptCall {
	names, lease := q.submitKeys, ""
	if f != nil {
		names = append(slices.Clone(names), f.Key)
		lease = strconv.FormatInt(f.Token, 10) + " " + f.Symbol
	}
	args := append(make([]string, 0, len(q.submitArgs)+1+4*len(messages)), q.submitArgs[:]...)
	args = append(args, lease)
	for _, m := range messages {
		args = append(args, m.ID, m.Body)
		if q.opt.Ordered {
			args = append(args, strconv.Itoa(PartitionOf(m.Key)+1), m.Key)
		}
	}
	return kv.ScriptCall{Keys: names, Args: args}
}

// submitted appends the results of one script call.
func (q *Queue) submitted(ctx context.Context, r kv.Reply, f *Fence, results []Result) ([]Result, error) {
	if r.Err != nil {
		var leases []string
		if f != nil {
			leases = []string{f.Key}
		}
		return nil, fmt.Errorf("submit to %s: %w", q.keys, q.failed(ctx, r.Err, leases...))
	}
	list, _ := r.Msg.ToArray() // our script returns one
	switch whole(&list[0]) {
	case -1:
		held, _ := list[1].ToString() // it is text
		return nil, fmt.Errorf("submit to %s: %w: %q", q.keys, ErrFenced, held)
	case -2:
		return nil, errOtherUse
	}
	q.dropped(whole(&list[0]))
	if n := whole(&list[1]); n > 0 {
		q.opt.OnEvent(Displaced, strconv.FormatInt(n, 10), nil)
	}
	for _, one := range list[2:] {
		result := Result{}
		switch whole(&one) {
		case 2:
			result.Duplicate = true
		case 3:
			result.Err = ErrFull
		}
		results = append(results, result)
	}
	return results, nil
}

// whole is a number of a script's reply.
func whole(m *rueidis.RedisMessage) int64 {
	n, _ := m.AsInt64() // our scripts return numbers where one is read
	return n
}
