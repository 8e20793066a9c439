package queue

import (
	"context"
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

// Fence is what must be so for a submit to be done. Its key shares the queue's
// hash tag.
type Fence struct {
	Key string
	// Field is the field of a hash, or empty if the key is a string.
	Field string
	// Token is what it must hold.
	Token string
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
// the time that others wait bound it.
const most = 500

// Submit adds a message. Whatever the error, it may be submitted again.
func (q *Queue) Submit(ctx context.Context, m Message, d Demands) (Result, error) {
	results, err := q.SubmitMany(ctx, []Message{m}, d)
	if err != nil {
		return Result{}, err
	}
	return results[0], results[0].Err
}

// SubmitMany adds messages, in order, and returns a result for each. With an
// error, some may have been added; all may be submitted again.
func (q *Queue) SubmitMany(ctx context.Context, messages []Message, d Demands) ([]Result, error) {
	if err := q.check(messages, d); err != nil {
		return nil, err
	}
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
		if results, err = q.submitted(ctx, r, results); err != nil {
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
	if d.Fence != nil && (d.Fence.Key == "" || d.Fence.Token == "") {
		return fmt.Errorf("%w: a fence needs a key and a token", ErrInvalid)
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
	policy, token, field := "refuse", "", ""
	if q.opt.Displace {
		policy = "displace"
	}
	names := append(make([]string, 0, len(q.streams)+3), q.keys.Seen(), q.keys.Dead())
	names = append(names, q.streams...)
	if f != nil {
		token, field = f.Token, f.Field
		names = append(names, f.Key)
	}
	args := append(make([]string, 0, 8+4*len(messages)), strconv.Itoa(len(q.streams)), strconv.Itoa(q.opt.Cap), policy,
		strconv.Itoa(q.opt.DeadCap), micros(q.opt.Window), group, token, field)
	for _, m := range messages {
		stream := "1"
		if q.opt.Ordered {
			stream = strconv.Itoa(PartitionOf(m.Key) + 1)
		}
		args = append(args, stream, m.ID, m.Key, m.Body)
	}
	return kv.ScriptCall{Keys: names, Args: args}
}

// submitted appends the results of one script call.
func (q *Queue) submitted(ctx context.Context, r kv.Reply, results []Result) ([]Result, error) {
	if r.Err != nil {
		return nil, fmt.Errorf("submit to %s: %w", q.keys, q.failed(ctx, r.Err))
	}
	list, _ := r.Msg.ToArray() // our script returns one
	if whole(&list[0]) < 0 {
		held, _ := list[1].ToString() // it is text
		return nil, fmt.Errorf("submit to %s: %w: %q", q.keys, ErrFenced, held)
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
