package fulloncache

import (
	"context"
	"encoding/json"
	"errors"
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
	return unmarshalReport(key, text, report)
}

func unmarshalReport(key, text string, report any) error {
	if err := json.Unmarshal([]byte(text), report); err != nil {
		return &CorruptError{Key: key, Err: fmt.Errorf("element %q: %w", text, err)}
	}
	return nil
}

// pop takes the first element off a list, waiting up to wait for one. It returns
// ErrNotFound if there is none in time.
func pop(ctx context.Context, db *kv.Client, key string, wait time.Duration) (string, error) {
	return await(ctx, db, key, wait, func(ctx context.Context) (string, time.Duration, error) {
		reply, err := db.Do(ctx, db.B().Lpop().Key(key).Build())
		if kv.IsNil(err) {
			return "", -1, ErrNotFound
		}
		text, _ := reply.ToString()
		return text, 0, redisError(key, err)
	})
}

// await calls take until it returns something else than ErrNotFound, at once and
// then whenever the list at key has something, or after the time that take names
// unless that is negative. A blocking pop whose caller gives up can lose the
// element it was just given, so the wait moves the head to where it is, which
// changes nothing, and take itself does not wait.
func await(ctx context.Context, db *kv.Client, key string, wait time.Duration, take func(ctx context.Context) (text string, next time.Duration, err error)) (string, error) {
	if wait < 0 {
		return "", fmt.Errorf("%w: wait %s: want at least 0", ErrInvalid, wait)
	}
	for deadline := time.Now().Add(wait); ; {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		// Once sent, it is awaited whatever the caller does meanwhile.
		text, next, err := take(context.WithoutCancel(ctx))
		if !errors.Is(err, ErrNotFound) {
			return text, err
		}
		left := time.Until(deadline)
		if left <= 0 {
			return "", ErrNotFound
		}
		if next >= 0 {
			left = min(left, next)
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

// listed yields the first n elements of a list, or with 0 all, as they are at one
// moment, and leaves them there. The error it returns is the last one.
func listed[T any](ctx context.Context, db *kv.Client, key string, n int64, read func(text string) (T, error), yield func(T, error) bool) (last error) {
	reply, err := db.Do(ctx, db.B().Lrange().Key(key).Start(0).Stop(n-1).Build())
	if err != nil {
		var none T
		err = redisError(key, err)
		yield(none, err)
		return err
	}
	elements, _ := reply.AsStrSlice()
	for _, text := range elements {
		v, err := read(text)
		if err != nil {
			last = err
		}
		if !yield(v, err) {
			break
		}
	}
	return last
}
