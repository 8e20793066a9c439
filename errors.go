package fulloncache

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// The errors to branch on with errors.Is. Those with details come as a type
// that matches: see [StaleError], [CorruptError], [ConfigError],
// [UnavailableError], [LoadError], [BlockedError] and [BatchError].
var (
	// ErrNotFound says that the value is absent: the server answered, and it is not there.
	ErrNotFound = errors.New("not found")
	// ErrStale says that the value is older than the caller allows. See [StaleError].
	ErrStale = errors.New("stale")
	// ErrOutdated says that the write is older than what is stored; nothing was changed.
	ErrOutdated = errors.New("outdated: a newer value is stored")
	// ErrFinal says that an order is closed, canceled, rejected, expired or failed,
	// and stays so; nothing was changed.
	ErrFinal = errors.New("final: the order can no longer change")
	// ErrQueueFull says that a queue holds as much as it may; nothing was added. Try
	// again once its consumers have caught up.
	ErrQueueFull = errors.New("queue is full")
	// ErrUncertain says that an order was written, but that fewer replicas than
	// demanded are known to have it: a failover may lose it. Submit it again, which
	// cannot add it twice.
	ErrUncertain = errors.New("uncertain: written, but not confirmed by enough replicas: submit it again")
	// ErrBlocked says that another bot has the right to trade the market, or opens a
	// position in it. See [BlockedError].
	ErrBlocked = errors.New("blocked by another bot")
	// ErrLeaseLost says that the caller does not hold what it acts under: the lease
	// or its token is not the current one any more, or a delivery's time is over and
	// the order another's. Stop what was to be done under it.
	ErrLeaseLost = errors.New("lease lost")
	// ErrDuplicate says that the database has such a row already; nothing was
	// changed.
	ErrDuplicate = errors.New("already exists")
	// ErrForeignKey says that a row refers to one that does not exist, or cannot be
	// deleted while others refer to it; nothing was changed.
	ErrForeignKey = errors.New("violates a reference")
	// ErrUnavailable says that Redis, or the database behind it, cannot answer now;
	// whether the value exists is unknown. See [UnavailableError] and [LoadError].
	ErrUnavailable = errors.New("unavailable")
	// ErrCorrupt says that what is stored cannot be read. See [CorruptError].
	ErrCorrupt = errors.New("corrupt value")
	// ErrInvalid says that the caller's input is unusable; nothing was written.
	ErrInvalid = errors.New("invalid input")
	// ErrUnsupported says that this server or configuration cannot do it.
	ErrUnsupported = errors.New("unsupported")
	// ErrClosed says that the Client was closed.
	ErrClosed = errors.New("client is closed")
)

// StaleError is the [ErrStale] of a read with [MaxAge]: Get the next update, or
// allow more age.
type StaleError struct {
	Market Market
	// Age is how old the price is: now minus its time.
	Age time.Duration
	// MaxAge is what the caller allowed.
	MaxAge time.Duration
	// FeedAge is how long ago the exchange's feed last gave a sign of life, where
	// the caller asked with [FeedAlive]; negative if it never did.
	FeedAge time.Duration
	// FeedMaxAge is what the caller allowed of the feed; 0 if it did not ask.
	FeedMaxAge time.Duration
}

// Error says how old the value is and what was allowed.
func (e *StaleError) Error() string {
	s := fmt.Sprintf("stale: %s is %s old, at most %s is allowed", e.Market, e.Age.Round(time.Millisecond), e.MaxAge)
	switch {
	case e.FeedMaxAge == 0:
		return s
	case e.FeedAge < 0:
		return s + ", and its feed never gave a sign of life"
	}
	return fmt.Sprintf("%s, and its feed was last alive %s ago, at most %s is allowed", s, e.FeedAge.Round(time.Millisecond), e.FeedMaxAge)
}

// Is matches [ErrStale].
func (e *StaleError) Is(target error) bool { return target == ErrStale }

// CorruptError is the [ErrCorrupt] that names the key and, where one is to
// blame, the field. Inspect the key with redis-cli; writing the value anew or
// deleting the key mends it.
type CorruptError struct {
	Key   string
	Field string
	Err   error
}

// Error names the key, the field and the cause.
func (e *CorruptError) Error() string {
	if e.Field == "" {
		return fmt.Sprintf("corrupt value: key %q: %v", e.Key, e.Err)
	}
	return fmt.Sprintf("corrupt value: key %q, field %q: %v", e.Key, e.Field, e.Err)
}

// Is matches [ErrCorrupt].
func (e *CorruptError) Is(target error) bool { return target == ErrCorrupt }

// Unwrap returns the cause.
func (e *CorruptError) Unwrap() error { return e.Err }

// ConfigError is the [ErrInvalid] of a setting. Value is masked where it is a
// secret.
type ConfigError struct {
	Variable string // Variable is the environment variable's name.
	Value    string // Value is what it was set to.
	Want     string // Want says what is accepted.
	Err      error  // Err is the cause, if there is one beyond the value.
}

// Error names the variable, its value and what is accepted.
func (e *ConfigError) Error() string {
	s := fmt.Sprintf("setting %s=%q: want %s", e.Variable, e.Value, e.Want)
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Is matches [ErrInvalid].
func (e *ConfigError) Is(target error) bool { return target == ErrInvalid }

// Unwrap returns the cause.
func (e *ConfigError) Unwrap() error { return e.Err }

// UnavailableError is the [ErrUnavailable] that says when to try again.
type UnavailableError struct {
	// RetryAfter is how long the breaker stays open; 0 if it is closed and a
	// retry is welcome at once.
	RetryAfter time.Duration
	Err        error
}

// Error says what failed and when a retry can succeed.
func (e *UnavailableError) Error() string {
	if e.RetryAfter > 0 {
		return fmt.Sprintf("redis unavailable: %v (try again in %s)", e.Err, e.RetryAfter.Round(time.Millisecond))
	}
	return fmt.Sprintf("redis unavailable: %v", e.Err)
}

// Is matches [ErrUnavailable].
func (e *UnavailableError) Is(target error) bool { return target == ErrUnavailable }

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }

// BlockedError is the [ErrBlocked] that says who is in the way. Wait until then, or
// in line with [BotCache.AcquireWait]; an operator can end it with
// [BotCache.Unblock] and [UnblockOptions].Force.
type BlockedError struct {
	Market Market
	// Holder is the bot that has it, by its own name.
	Holder string
	// Since and Until are by the server's clock; Until is later each time that the
	// holder renews.
	Since, Until time.Time
	// Next says that nobody has it, but that Holder is first in line for it, since
	// then; it is waited for until then.
	Next bool
}

// Error names the market, the holder and the times.
func (e *BlockedError) Error() string {
	what := "held by"
	if e.Next {
		what = "promised to"
	}
	return fmt.Sprintf("blocked: %s is %s bot %s since %s, until %s", e.Market, what, printable(e.Holder), formatTime(e.Since), formatTime(e.Until))
}

// Is matches [ErrBlocked].
func (e *BlockedError) Is(target error) bool { return target == ErrBlocked }

// LoadError is the [ErrUnavailable] of a value that is not cached and could not be
// read from the database.
type LoadError struct {
	Key string // Key is the value's key in Redis.
	Err error  // Err is what the database said.
}

// Error names the key and the cause.
func (e *LoadError) Error() string {
	return fmt.Sprintf("database unavailable: load %q: %v", e.Key, e.Err)
}

// Is matches [ErrUnavailable].
func (e *LoadError) Is(target error) bool { return target == ErrUnavailable }

// Unwrap returns the cause.
func (e *LoadError) Unwrap() error { return e.Err }

// BatchError is what a call on many elements returns if some failed. Errs has
// one entry per element, in the order given, nil for those that succeeded.
// errors.Is and errors.As look into all of them.
//
//	var batch *fulloncache.BatchError
//	if errors.As(err, &batch) {
//		for i, err := range batch.Errs { … }
//	}
type BatchError struct{ Errs []error }

// Error counts the failures and quotes the first ones.
func (e *BatchError) Error() string {
	const quoted = 3
	var b strings.Builder
	failed := e.Unwrap()
	fmt.Fprintf(&b, "%d of %d failed: ", len(failed), len(e.Errs))
	for i, err := range failed {
		if i == quoted {
			b.WriteString("; …")
			break
		}
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(err.Error())
	}
	return b.String()
}

// Unwrap returns the errors of the elements that failed.
func (e *BatchError) Unwrap() []error {
	var failed []error
	for _, err := range e.Errs {
		if err != nil {
			failed = append(failed, err)
		}
	}
	return failed
}

// batchError returns a BatchError if any of errs is one, else nil.
func batchError(errs []error) error {
	for _, err := range errs {
		if err != nil {
			return &BatchError{Errs: errs}
		}
	}
	return nil
}
