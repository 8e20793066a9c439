package fulloncache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
)

var sentinels = []error{
	fulloncache.ErrNotFound, fulloncache.ErrStale, fulloncache.ErrOutdated, fulloncache.ErrDuplicate, fulloncache.ErrForeignKey, fulloncache.ErrUnavailable,
	fulloncache.ErrCorrupt, fulloncache.ErrInvalid, fulloncache.ErrUnsupported, fulloncache.ErrClosed, fulloncache.ErrQueueFull,
	fulloncache.ErrUncertain, fulloncache.ErrBlocked, fulloncache.ErrLeaseLost, fulloncache.ErrFinal,
}

func TestErrorDetails(t *testing.T) {
	t.Parallel()
	since := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		err   error
		text  string
		is    error // the only sentinel that matches
		cause error // what is below, if anything
	}{
		{
			err:  &fulloncache.StaleError{Market: btc, Age: 3*time.Second + 4*time.Microsecond, MaxAge: 2 * time.Second},
			text: "stale: kraken BTC/USD is 3s old, at most 2s is allowed",
			is:   fulloncache.ErrStale,
		},
		{
			err:  &fulloncache.StaleError{Market: btc, Age: 3 * time.Second, MaxAge: 2 * time.Second, FeedAge: -1, FeedMaxAge: time.Minute},
			text: "stale: kraken BTC/USD is 3s old, at most 2s is allowed, and its feed never gave a sign of life",
			is:   fulloncache.ErrStale,
		},
		{
			err:  &fulloncache.StaleError{Market: btc, Age: 3 * time.Second, MaxAge: 2 * time.Second, FeedAge: 90 * time.Second, FeedMaxAge: time.Minute},
			text: "stale: kraken BTC/USD is 3s old, at most 2s is allowed, and its feed was last alive 1m30s ago, at most 1m0s is allowed",
			is:   fulloncache.ErrStale,
		},
		{
			err:   &fulloncache.CorruptError{Key: "tickers:a\n:X", Err: io.ErrUnexpectedEOF},
			text:  `corrupt value: key "tickers:a\n:X": unexpected EOF`,
			is:    fulloncache.ErrCorrupt,
			cause: io.ErrUnexpectedEOF,
		},
		{
			err:   &fulloncache.CorruptError{Key: "k", Field: "price", Err: io.ErrUnexpectedEOF},
			text:  `corrupt value: key "k", field "price": unexpected EOF`,
			is:    fulloncache.ErrCorrupt,
			cause: io.ErrUnexpectedEOF,
		},
		{
			err:  &fulloncache.ConfigError{Variable: "REDIS_DB", Value: "x", Want: "a whole number"},
			text: `setting REDIS_DB="x": want a whole number`,
			is:   fulloncache.ErrInvalid,
		},
		{
			err:   &fulloncache.ConfigError{Variable: "DOTENV_FILE", Value: "x", Want: "a readable file", Err: io.ErrUnexpectedEOF},
			text:  `setting DOTENV_FILE="x": want a readable file: unexpected EOF`,
			is:    fulloncache.ErrInvalid,
			cause: io.ErrUnexpectedEOF,
		},
		{
			err:   &fulloncache.UnavailableError{Err: context.DeadlineExceeded},
			text:  "redis unavailable: context deadline exceeded",
			is:    fulloncache.ErrUnavailable,
			cause: context.DeadlineExceeded,
		},
		{
			err:   &fulloncache.UnavailableError{RetryAfter: 1500*time.Millisecond + 1, Err: io.ErrUnexpectedEOF},
			text:  "redis unavailable: unexpected EOF (try again in 1.5s)",
			is:    fulloncache.ErrUnavailable,
			cause: io.ErrUnexpectedEOF,
		},
		{
			err:   &fulloncache.LoadError{Key: "symbols:a\n:X", Err: io.ErrUnexpectedEOF},
			text:  `database unavailable: load "symbols:a\n:X": unexpected EOF`,
			is:    fulloncache.ErrUnavailable,
			cause: io.ErrUnexpectedEOF,
		},
		{
			err:  &fulloncache.BlockedError{Market: btc, Holder: "bot\n1", Since: since, Until: since.Add(time.Minute)},
			text: `blocked: kraken BTC/USD is held by bot "bot\n1" since 2026-01-02T03:04:05.000000000Z, until 2026-01-02T03:05:05.000000000Z`,
			is:   fulloncache.ErrBlocked,
		},
		{
			err:  &fulloncache.BlockedError{Market: btc, Holder: "bot_1", Since: since, Until: since.Add(time.Minute), Next: true},
			text: "blocked: kraken BTC/USD is promised to bot bot_1 since 2026-01-02T03:04:05.000000000Z, until 2026-01-02T03:05:05.000000000Z",
			is:   fulloncache.ErrBlocked,
		},
	} {
		if got := c.err.Error(); got != c.text {
			t.Errorf("got  %s\nwant %s", got, c.text)
		}
		wrapped := fmt.Errorf("operation: %w", c.err)
		for _, s := range sentinels {
			if errors.Is(wrapped, s) != (s == c.is) {
				t.Errorf("%v: matching %v is %t", c.err, s, s != c.is)
			}
		}
		if c.cause != nil && !errors.Is(wrapped, c.cause) {
			t.Errorf("%v does not lead to its cause", c.err)
		}
	}
}

func TestBatchError(t *testing.T) {
	t.Parallel()
	stale := &fulloncache.StaleError{Market: btc, MaxAge: time.Second}
	batch := &fulloncache.BatchError{Errs: []error{nil, io.EOF, nil, stale}}
	const text = "2 of 4 failed: EOF; stale: kraken BTC/USD is 0s old, at most 1s is allowed"
	if batch.Error() != text {
		t.Errorf("got %s", batch)
	}
	err := fmt.Errorf("set many: %w", batch)
	if !errors.Is(err, io.EOF) || !errors.Is(err, fulloncache.ErrStale) || errors.Is(err, fulloncache.ErrOutdated) {
		t.Error("errors.Is does not look into the elements")
	}
	var asStale *fulloncache.StaleError
	if !errors.As(err, &asStale) || asStale != stale {
		t.Error("errors.As does not look into the elements")
	}
	var asBatch *fulloncache.BatchError
	if !errors.As(err, &asBatch) || len(asBatch.Errs) != 4 || asBatch.Errs[1] != io.EOF {
		t.Error("errors.As does not find the batch")
	}
	if got := batch.Unwrap(); len(got) != 2 || got[0] != io.EOF || got[1] != error(stale) {
		t.Errorf("Unwrap is %v", got)
	}
	for n, want := range map[int]string{
		3: "3 of 3 failed: EOF; EOF; EOF",
		4: "4 of 4 failed: EOF; EOF; EOF; …",
		9: "9 of 9 failed: EOF; EOF; EOF; …",
	} {
		b := &fulloncache.BatchError{}
		for range n {
			b.Errs = append(b.Errs, io.EOF)
		}
		if b.Error() != want {
			t.Errorf("%d errors: %s", n, b)
		}
	}
}
