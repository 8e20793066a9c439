package kv_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/testenv"
)

// sharedCalls is what a test sees of shared calls: each is told, waits to be let
// go, and doubles its numbers.
type sharedCalls struct {
	kv.Sharing[int, int]
	made chan []int
	let  chan struct{}
}

func newSharedCalls(db *kv.Client, most int) *sharedCalls {
	s := &sharedCalls{made: make(chan []int), let: make(chan struct{})}
	s.Sharing = kv.NewSharing(db, most, func(_ context.Context, some []*int, tell func(i, result int)) {
		list := make([]int, len(some))
		for i, n := range some {
			list[i] = *n
		}
		s.made <- list
		<-s.let
		for i, n := range list {
			tell(i, 2*n)
		}
	})
	return s
}

// client is one of the shared server.
func client(t *testing.T) *kv.Client {
	t.Helper()
	db, _ := connect(t, []string{testenv.Redis(t).Addr()})
	return db
}

// caller asks for a number to be doubled.
func (s *sharedCalls) caller(ctx context.Context, n int) <-chan error {
	done := make(chan error, 1)
	go func() {
		got, err := s.Do(ctx, &n)
		if err == nil && got != 2*n {
			err = fmt.Errorf("got %d of %d", got, n)
		}
		done <- err
	}()
	return done
}

// waiting waits until so many callers do.
func (s *sharedCalls) waiting(t *testing.T, n int) {
	t.Helper()
	testenv.Eventually(t, "callers that wait", func() (bool, string) {
		waiting := kv.Waiting(s.Sharing)
		return waiting == n, fmt.Sprint(waiting)
	})
}

func TestCallersShareCalls(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	db := client(t)
	s := newSharedCalls(db, 3)
	// Two are under way, each with its own.
	var done []<-chan error
	for i := range 2 {
		done = append(done, s.caller(ctx, i))
		if got := <-s.made; !slices.Equal(got, []int{i}) {
			t.Fatalf("call %v", got)
		}
	}
	// What comes meanwhile waits, and what is given up is not sent.
	hasty, cancel := context.WithCancel(ctx)
	var givenUp []<-chan error
	for i := range 7 {
		if i%3 == 1 {
			givenUp = append(givenUp, s.caller(hasty, 10+i))
		} else {
			done = append(done, s.caller(ctx, 10+i))
		}
		s.waiting(t, i+1)
	}
	cancel()
	for _, c := range givenUp {
		if err := <-c; !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
	}
	s.let <- struct{}{}
	if got := <-s.made; !slices.Equal(got, []int{10, 12, 13}) {
		t.Errorf("call %v", got)
	}
	s.let <- struct{}{}
	if got := <-s.made; !slices.Equal(got, []int{15, 16}) {
		t.Errorf("call %v", got)
	}
	s.let <- struct{}{}
	s.let <- struct{}{}
	for _, c := range done {
		if err := <-c; err != nil {
			t.Error(err)
		}
	}
	// All turns are given up: again two go at once.
	for i := range 2 {
		done[i] = s.caller(ctx, i)
		<-s.made
	}
	close(s.let)
	for i := range 2 {
		if err := <-done[i]; err != nil {
			t.Error(err)
		}
	}
}

// If all who waited have gone, nothing is sent for them.
func TestNobodyIsLeftToShare(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	s := newSharedCalls(client(t), 3)
	done := []<-chan error{s.caller(ctx, 1), s.caller(ctx, 2)}
	<-s.made
	<-s.made
	hasty, cancel := context.WithCancel(ctx)
	gone := s.caller(hasty, 3)
	s.waiting(t, 1)
	cancel()
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(s.let)
	for _, c := range done {
		if err := <-c; err != nil {
			t.Error(err)
		}
	}
	done[0] = s.caller(ctx, 4)
	if got := <-s.made; !slices.Equal(got, []int{4}) {
		t.Errorf("call %v", got)
	}
	if err := <-done[0]; err != nil {
		t.Error(err)
	}
}

// Who waits while the client is closed is answered by its calls, as all are.
func TestSharingGoesOnToTheEnd(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	db := client(t)
	first, let := make(chan struct{}, 2), make(chan struct{})
	s := kv.NewSharing(db, 2, func(ctx context.Context, some []*int, tell func(i int, err error)) {
		if *some[0] == 0 {
			first <- struct{}{}
			<-let
		}
		_, err := db.Do(ctx, db.B().Ping().Build())
		for i := range some {
			tell(i, err)
		}
	})
	var wg sync.WaitGroup
	errs := make([]error, 5)
	call := func(i, n int) {
		wg.Go(func() {
			err, waited := s.Do(ctx, &n)
			errs[i] = errors.Join(err, waited)
		})
	}
	for i := range 2 {
		call(i, 0)
		<-first
	}
	for i := range 3 {
		call(2+i, 1)
	}
	testenv.Eventually(t, "callers that wait", func() (bool, string) { return kv.Waiting(s) == 3, fmt.Sprint(kv.Waiting(s)) })
	db.Close()
	close(let)
	wg.Wait()
	for i, err := range errs {
		if !errors.Is(err, errClosed) {
			t.Errorf("caller %d: %v", i, err)
		}
	}
}
