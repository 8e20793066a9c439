package fulloncache

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/fullon/fulloncache/internal/kv"
)

// errorQueue is a capped list of reports, oldest first.
type errorQueue struct {
	kv  *kv.Client
	cap int
}

// push appends a report, atomically dropping the oldest beyond the cap.
func (q errorQueue) push(ctx context.Context, key string, report any) error {
	text, err := json.Marshal(report)
	if err != nil {
		return fmt.Errorf("%w: report for %s: %w", ErrInvalid, key, err)
	}
	_, err = q.kv.Run(ctx, kv.ListPush, []string{key}, []string{strconv.Itoa(q.cap), string(text)})
	return redisError(key, err)
}

// pop takes the oldest report off, waiting up to wait for one. It returns
// ErrNotFound if there is none in time.
func (q errorQueue) pop(ctx context.Context, key string, wait time.Duration, report any) error {
	text, err := pop(ctx, q.kv, key, wait)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(text), report); err != nil {
		return &CorruptError{Key: key, Err: fmt.Errorf("element %q: %w", text, err)}
	}
	return nil
}

// pop takes the first element off a list. A blocking pop whose caller gives up
// can lose the element it was just given, so the wait moves the head to where it
// is, which changes nothing, and the pop itself does not wait.
func pop(ctx context.Context, db *kv.Client, key string, wait time.Duration) (string, error) {
	if wait < 0 {
		return "", fmt.Errorf("%w: wait %s: want at least 0", ErrInvalid, wait)
	}
	for deadline := time.Now().Add(wait); ; {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		// Once sent, the pop is awaited whatever the caller does meanwhile.
		reply, err := db.Do(context.WithoutCancel(ctx), db.B().Lpop().Key(key).Build())
		if !kv.IsNil(err) {
			text, _ := reply.ToString()
			return text, redisError(key, err)
		}
		left := time.Until(deadline)
		if left <= 0 {
			return "", ErrNotFound
		}
		// Redis takes a wait of 0 as for ever; a millisecond is its least.
		left = max(left, time.Millisecond)
		cmd := db.B().Blmove().Source(key).Destination(key).Left().Left().Timeout(left.Seconds()).Build()
		// It looks for waits that are over ten times a second.
		const late = 200 * time.Millisecond
		if _, err := db.Block(ctx, left+late, cmd); err != nil && !kv.IsNil(err) {
			return "", redisError(key, err)
		}
	}
}
