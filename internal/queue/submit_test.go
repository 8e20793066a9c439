package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/queue"
	"github.com/fullon/fulloncache/internal/testenv"
)

func TestSubmittedTwiceIsDeliveredOnce(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{})
		results, err := q.SubmitMany(s.ctx, []queue.Message{msg(1), msg(2), msg(1)}, queue.Demands{})
		must(s, err)
		if results[0].Duplicate || results[1].Duplicate || !results[2].Duplicate {
			s.Errorf("%+v", results)
		}
		if r, err := q.Submit(s.ctx, msg(2), queue.Demands{}); err != nil || !r.Duplicate {
			s.Errorf("%+v, %v", r, err)
		}
		var got record
		s.consume(q, queue.ConsumeOptions{}, func(_ context.Context, d *queue.Delivery) error {
			got.add(d.ID)
			return nil
		})
		s.empty(q)
		all := got.all()
		if slices.Sort(all); !slices.Equal(all, []string{"id-1", "id-2"}) {
			s.Errorf("delivered %q", all)
		}
		// It is done, and still within the window.
		if r, err := q.Submit(s.ctx, msg(1), queue.Demands{}); err != nil || !r.Duplicate {
			s.Errorf("%+v, %v", r, err)
		}
	})
}

// Most of what a submit costs, it costs once for all who share a call. Each is
// told of its own message.
func TestSubmitsShareACall(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	s := newSuite(t, options(srv.Addr()))
	s.opt.CallTimeout = 30 * time.Second
	q := s.queue(connect(t, s.opt), queue.Options{Cap: 151})
	s.submit(q, msg(0))
	const callers = 200
	results, errs := make([]queue.Result, callers), make([]error, callers)
	srv.Freeze(t)
	var wg, started sync.WaitGroup
	for i := range callers {
		started.Add(1)
		wg.Go(func() {
			started.Done()
			n := i
			if i < 25 {
				n = 0 // known already
			}
			results[i], errs[i] = q.Submit(s.ctx, msg(n), queue.Demands{})
		})
	}
	started.Wait()
	srv.Thaw(t)
	wg.Wait()
	full := 0
	for i := range callers {
		switch {
		case i < 25:
			if errs[i] != nil || !results[i].Duplicate {
				t.Errorf("caller %d: %+v, %v", i, results[i], errs[i])
			}
		case errors.Is(errs[i], queue.ErrFull):
			full++
		case errs[i] != nil || results[i].Duplicate:
			t.Errorf("caller %d: %+v, %v", i, results[i], errs[i])
		}
	}
	if full != 25 {
		t.Errorf("%d of 175 were refused by a queue that had room for 150", full)
	}
	if calls := srv.Counts(t)["evalsha"]; calls == 0 || calls > callers/4 {
		t.Errorf("%d calls of scripts for %d messages", calls, callers)
	}
}

// Those who share the first call say how the queue is used, and are all added.
func TestTheFirstSubmitsShareACall(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{})
		var wg sync.WaitGroup
		results, errs := make([]queue.Result, 20), make([]error, 20)
		for i := range errs {
			wg.Go(func() { results[i], errs[i] = q.Submit(s.ctx, msg(i), queue.Demands{}) })
		}
		wg.Wait()
		for i, err := range errs {
			if err != nil || results[i].Duplicate {
				s.Errorf("caller %d: %+v, %v", i, results[i], err)
			}
		}
		if st, err := q.Stats(s.ctx); err != nil || st.Length != 20 {
			s.Errorf("%+v, %v", st, err)
		}
	})
}

// Those who share a call share what becomes of it.
func TestSubmitsShareAnError(t *testing.T) {
	s, db := standalone(t)
	q := s.queue(db, queue.Options{})
	s.submit(q, msg(0)) // it is known how the queue is used
	s.do(db, "DEL", s.keys.Stream())
	s.do(db, "SET", s.keys.Stream(), "in the way")
	var wg sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		wg.Go(func() { _, errs[i] = q.Submit(s.ctx, msg(i+1), queue.Demands{}) })
	}
	wg.Wait()
	for i, err := range errs {
		var corrupt *queue.CorruptError
		if !errors.As(err, &corrupt) || corrupt.Key != s.keys.Stream() {
			t.Errorf("caller %d: %v", i, err)
		}
	}
}

func TestAfterItsWindowAnIdIsNew(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{Window: 100 * time.Millisecond})
		long := s.queue(db, queue.Options{Window: time.Hour})
		if _, err := long.Submit(s.ctx, msg(9), queue.Demands{}); err != nil {
			s.Fatal(err)
		}
		// The ids outlive the longest window, and not by much.
		lasts := func() {
			s.Helper()
			ms, err := strconv.Atoi(s.do(db, "PTTL", s.keys.Seen()))
			if left := time.Duration(ms) * time.Millisecond; err != nil || left < 59*time.Minute || left > 70*time.Minute {
				s.Errorf("the ids last %s, %v", left, err)
			}
		}
		lasts()
		for i := range 3 {
			testenv.Eventually(s, "a new one", func() (bool, string) {
				r, err := q.Submit(s.ctx, msg(1), queue.Demands{})
				must(s, err)
				return !r.Duplicate, fmt.Sprint(i)
			})
		}
		lasts()
		// An id that is new again is remembered anew.
		testenv.Eventually(s, "the short window's end", func() (bool, string) {
			r, err := long.Submit(s.ctx, msg(1), queue.Demands{})
			must(s, err)
			return !r.Duplicate, "known"
		})
		if r, err := long.Submit(s.ctx, msg(1), queue.Demands{}); err != nil || !r.Duplicate {
			s.Errorf("%+v, %v", r, err)
		}
		// Others' ids are forgotten too, a few at a time; those of a longer window are not.
		s.submit(q, msg(2), msg(3))
		testenv.Eventually(s, "few ids", func() (bool, string) {
			_, err := q.Submit(s.ctx, msg(4), queue.Demands{})
			must(s, err)
			n := s.do(db, "ZCARD", s.keys.Seen())
			return n == "3", n
		})
		if r, err := long.Submit(s.ctx, msg(9), queue.Demands{}); err != nil || !r.Duplicate {
			s.Errorf("%+v, %v", r, err)
		}
	})
}

func TestFullQueueRefuses(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		for _, ordered := range []bool{false, true} {
			s.keys = s.space.OrderQueue(fmt.Sprint("full", ordered))
			q := s.queue(db, queue.Options{Cap: 3, Ordered: ordered})
			key := func(m queue.Message) queue.Message {
				if ordered {
					m.Key = m.ID
				}
				return m
			}
			results, err := q.SubmitMany(s.ctx, []queue.Message{key(msg(1)), key(msg(2)), key(msg(3)), key(msg(4)), key(msg(1))}, queue.Demands{})
			must(s, err)
			for i, want := range []string{"{false <nil>}", "{false <nil>}", "{false <nil>}", "{false queue is full}", "{true <nil>}"} {
				if got := fmt.Sprint(results[i]); got != want {
					s.Errorf("%d: %s, want %s", i, got, want)
				}
			}
			if _, err := q.Submit(s.ctx, key(msg(4)), queue.Demands{}); !errors.Is(err, queue.ErrFull) {
				s.Errorf("beyond the cap: %v", err)
			}
			// What is delayed or being handled counts as well; what is done does not.
			release := make(chan struct{})
			stop := s.consume(q, queue.ConsumeOptions{}, func(ctx context.Context, d *queue.Delivery) error {
				switch d.ID {
				case "id-1":
					return d.Nak(ctx, time.Hour, nil)
				case "id-2":
					<-release
				}
				return nil
			})
			testenv.Eventually(s, "one done", func() (bool, string) {
				st, err := q.Stats(s.ctx)
				must(s, err)
				return st == queue.Stats{Length: 2, Pending: 2, Delayed: 1}, fmt.Sprint(st)
			})
			if _, err := q.Submit(s.ctx, key(msg(4)), queue.Demands{}); err != nil {
				s.Errorf("with room: %v", err)
			}
			close(release)
			must(s, stop())
		}
	})
}

func TestFullQueueDisplacesTheOldestThatWait(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		for _, ordered := range []bool{false, true} {
			s.keys = s.space.OrderQueue(fmt.Sprint("full", ordered))
			q := s.queue(db, queue.Options{Cap: 3, Displace: true, Ordered: ordered})
			var list []queue.Message
			for i := range 5 {
				m := msg(i)
				if ordered {
					m.Key = m.ID
				}
				list = append(list, m)
				s.submit(q, m)
				// Partitions tell what is older by the millisecond.
				added := time.Now().Add(time.Millisecond)
				testenv.Eventually(s, "another millisecond", func() (bool, string) { return time.Now().After(added), "" })
			}
			letters, err := q.Dead(s.ctx, "", 10)
			must(s, err)
			if len(letters) != 2 || letters[0].Message != list[0] || letters[1].Message != list[1] ||
				letters[0].Reason != "displaced: the queue was full" || letters[0].Deliveries != 0 || letters[0].Entry == "" {
				s.Errorf("%+v", letters)
			}
			if got := s.log.of("displaced"); !slices.Equal(got, []string{"displaced 1", "displaced 1"}) {
				s.Errorf("%q", got)
			}
			s.log = &journal{}
			// What a consumer has is not taken from it.
			q = s.queue(db, queue.Options{Cap: 3, Displace: true, Ordered: ordered})
			var got record
			release := make(chan struct{})
			stop := s.consume(q, queue.ConsumeOptions{}, func(_ context.Context, d *queue.Delivery) error {
				got.add(d.ID)
				<-release
				return nil
			})
			got.await(s, 3)
			m := msg(7)
			if ordered {
				m.Key = "k"
			}
			if _, err := q.Submit(s.ctx, m, queue.Demands{}); !errors.Is(err, queue.ErrFull) {
				s.Errorf("nothing to displace: %v", err)
			}
			close(release)
			s.empty(q)
			must(s, stop())
			// What was displaced can be handled yet.
			if n, err := q.Requeue(s.ctx, letters[0].Letter, letters[1].Letter); err != nil || n != 2 {
				s.Errorf("requeued %d, %v", n, err)
			}
			var back record
			stop = s.consume(q, queue.ConsumeOptions{}, func(_ context.Context, d *queue.Delivery) error {
				back.add(d.ID + " " + d.Key)
				return nil
			})
			back.await(s, 2)
			s.empty(q)
			must(s, stop())
			all := back.all()
			if slices.Sort(all); !slices.Equal(all, []string{"id-0 " + list[0].Key, "id-1 " + list[1].Key}) {
				s.Errorf("%q", all)
			}
			m.ID = "again"
			s.submit(q, m)
		}
	})
}

func TestFenceIsComparedWithTheSubmit(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{})
		key := s.space.Block("kraken", "BTC/USD")
		fence := &queue.Fence{Key: key, Symbol: "BTC/USD", Token: 7}
		later, earlier := "2999-01-01T00:00:00.000000000Z", "2001-01-01T00:00:00.000000000Z"
		for _, c := range []struct {
			lease []string
			held  string
			want  error
		}{
			{nil, "", queue.ErrFenced},
			{[]string{"symbol", "BTC/USD", "token", "8", "until", later}, "8", queue.ErrFenced},
			{[]string{"symbol", "BTC/USD", "token", "7", "until", earlier}, "", queue.ErrFenced},
			{[]string{"symbol", "BTC/USD", "token", "7"}, "", queue.ErrFenced},
			{[]string{"symbol", "BTC/USD", "until", later}, "", queue.ErrFenced},
			{[]string{"symbol", "BTCUSD", "token", "7", "until", later}, "", queue.ErrFenced},
			{[]string{"token", "7", "until", later}, "", queue.ErrFenced},
			{[]string{"symbol", "BTC/USD", "token", "7", "until", later}, "", nil},
		} {
			s.do(db, "DEL", key)
			s.do(db, "DEL", s.keys.Stream(), s.keys.Seen())
			if c.lease != nil {
				s.do(db, append([]string{"HSET", key}, c.lease...)...)
			}
			_, err := q.Submit(s.ctx, msg(1), queue.Demands{Fence: fence})
			if !errors.Is(err, c.want) {
				s.Errorf("%+v: %v", c, err)
			}
			if c.want != nil && !strings.Contains(err.Error(), fmt.Sprintf("%q", c.held)) {
				s.Errorf("%v does not say %q", err, c.held)
			}
			st, err := q.Stats(s.ctx)
			must(s, err)
			if (st.Length == 1) != (c.want == nil) {
				s.Errorf("%+v: %+v", c, st)
			}
		}
		// A lease of another type.
		s.do(db, "DEL", key)
		s.do(db, "RPUSH", key, "x")
		_, err := q.Submit(s.ctx, msg(2), queue.Demands{Fence: fence})
		var corrupt *queue.CorruptError
		if !errors.As(err, &corrupt) || corrupt.Key != key {
			s.Errorf("a list as lease: %v", err)
		}
	})
}

func TestUnusableInputIsRefused(t *testing.T) {
	t.Parallel()
	s, db := standalone(t)
	plain, ordered := s.queue(db, queue.Options{}), s.queue(db, queue.Options{Ordered: true})
	for want, err := range map[string]error{
		"needs an id":               submitErr(s, plain, queue.Message{Body: "x"}, queue.Demands{}),
		"has a key":                 submitErr(s, plain, queue.Message{ID: "i", Key: "k"}, queue.Demands{}),
		"needs a key":               submitErr(s, ordered, queue.Message{ID: "i"}, queue.Demands{}),
		"WaitReplicas -1":           submitErr(s, plain, msg(1), queue.Demands{WaitReplicas: -1}),
		"a key and a symbol":        submitErr(s, plain, msg(1), queue.Demands{Fence: &queue.Fence{Key: "k"}}),
		"must not be negative":      newErr(db, s, queue.Options{Cap: -1}),
		"no option may be negative": plain.Consume(s.ctx, queue.ConsumeOptions{Poll: -1}, nil),
	} {
		if !errors.Is(err, queue.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	if st, err := plain.Stats(s.ctx); err != nil || st != (queue.Stats{}) {
		t.Errorf("%+v, %v", st, err)
	}
}

func submitErr(s *suite, q *queue.Queue, m queue.Message, d queue.Demands) error {
	_, err := q.Submit(s.ctx, m, d)
	return err
}

func newErr(db *kv.Client, s *suite, opt queue.Options) error {
	_, err := queue.New(db, s.keys, opt)
	return err
}

func TestManyAreSubmittedInOrder(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{})
		s.submit(q, msgs(1200)...)
		var got record
		s.consume(q, queue.ConsumeOptions{Concurrency: 1}, func(_ context.Context, d *queue.Delivery) error {
			got.add(d.ID)
			return nil
		})
		for i, id := range got.await(s, 1200) {
			if id != msg(i).ID {
				s.Fatalf("%d is %s", i, id)
			}
		}
	})
}

func TestSubmitWaitsForReplicas(t *testing.T) {
	t.Parallel()
	r := testenv.NewReplicas(t, 2)
	s := newSuite(t, options(r.Master.Addr()))
	db := connect(t, s.opt)
	q := s.queue(db, queue.Options{ConfirmTimeout: 5 * time.Second})
	two := queue.Demands{WaitReplicas: 2}
	if res, err := q.Submit(s.ctx, msg(1), two); err != nil || res.Duplicate {
		t.Fatalf("%+v, %v", res, err)
	}
	for _, one := range r.Replicas {
		if n, err := one.Do(t, "XLEN", s.keys.Stream()).AsInt64(); err != nil || n != 1 {
			t.Errorf("a replica has %d, %v", n, err)
		}
	}

	// A replica that does not answer: written, not confirmed. To submit again adds
	// nothing and confirms no more than is so.
	q = s.queue(db, queue.Options{ConfirmTimeout: 300 * time.Millisecond})
	r.Replicas[0].Freeze(t)
	var uncertain *queue.UncertainError
	for range 2 {
		_, err := q.Submit(s.ctx, msg(2), two)
		if !errors.As(err, &uncertain) || *uncertain != (queue.UncertainError{Confirmed: 1, Demanded: 2}) ||
			!strings.Contains(err.Error(), "1 of 2 replicas") {
			t.Errorf("with a frozen replica: %v", err)
		}
	}
	// What became of each is told all the same.
	results, err := q.SubmitMany(s.ctx, []queue.Message{msg(2), msg(3)}, two)
	if !errors.As(err, &uncertain) || !slices.Equal(results, []queue.Result{{Duplicate: true}, {}}) {
		t.Errorf("with a frozen replica: %+v, %v", results, err)
	}
	if _, err := q.Submit(s.ctx, msg(3), queue.Demands{WaitReplicas: 1}); err != nil {
		t.Errorf("one replica is enough: %v", err)
	}
	r.Replicas[0].Thaw(t)
	testenv.Eventually(t, "confirmation", func() (bool, string) {
		res, err := q.Submit(s.ctx, msg(2), two)
		return err == nil && res.Duplicate, fmt.Sprint(res, err)
	})
	if st, err := q.Stats(s.ctx); err != nil || st.Length != 3 {
		t.Errorf("%+v, %v", st, err)
	}

	// The connection that asks the replicas is lost, or given up for a while.
	r.Master.KillClients(t, "normal")
	testenv.Eventually(t, "another connection", func() (bool, string) {
		_, err := q.Submit(s.ctx, msg(4), two)
		return err == nil, fmt.Sprint(err)
	})
	q = s.queue(db, queue.Options{})
	q.Linger(time.Millisecond)
	for i := range 20 {
		if _, err := q.Submit(s.ctx, msg(5+i), two); err != nil {
			t.Fatal(err)
		}
	}
	// A script that the server has forgotten.
	r.Master.Do(t, "SCRIPT", "FLUSH")
	if _, err := q.Submit(s.ctx, msg(30), two); err != nil {
		t.Error(err)
	}
	// What the server refuses.
	r.Master.Do(t, "SET", s.space.OrderQueue("bad").Seen(), "x")
	bad, err := queue.New(db, s.space.OrderQueue("bad"), queue.Options{})
	must(t, err)
	var corrupt *queue.CorruptError
	if _, err := bad.Submit(s.ctx, msg(1), two); !errors.As(err, &corrupt) || corrupt.Key != s.space.OrderQueue("bad").Seen() {
		t.Errorf("a string as %s: %v", s.space.OrderQueue("bad").Seen(), err)
	}
}

func TestWhoWaitsForReplicasAtTheSameTimeSharesATurn(t *testing.T) {
	t.Parallel()
	r := testenv.NewReplicas(t, 1)
	s := newSuite(t, options(r.Master.Addr()))
	q := s.queue(connect(t, s.opt), queue.Options{ConfirmTimeout: testenv.Patience})
	var wg sync.WaitGroup
	for p := range 20 {
		wg.Go(func() {
			for i := range 50 {
				if res, err := q.Submit(s.ctx, msg(100*p+i), queue.Demands{WaitReplicas: 1}); err != nil || res.Duplicate {
					t.Errorf("%+v, %v", res, err)
				}
			}
		})
	}
	wg.Wait()
	if st, err := q.Stats(s.ctx); err != nil || st.Length != 1000 {
		t.Errorf("%+v, %v", st, err)
	}
}

// The connection that asks replicas is kept until nobody has used it for a while.
func TestTheConnectionThatAsksReplicasIsLeft(t *testing.T) {
	t.Parallel()
	r := testenv.NewReplicas(t, 1)
	s := newSuite(t, options(r.Master.Addr()))
	db := connect(t, s.opt)
	connections := func() (n int, list string) {
		t.Helper()
		list, err := r.Master.Do(t, "CLIENT", "LIST", "TYPE", "normal").ToString()
		must(t, err)
		return strings.Count(list, "\n"), list
	}
	s.submit(s.queue(db, queue.Options{}), msgs(2)...)
	if asked := r.Master.Counts(t)["wait"]; asked != 0 {
		t.Errorf("replicas were asked %d times, which nobody demanded", asked)
	}
	others, _ := connections()
	for _, linger := range []time.Duration{time.Millisecond, time.Minute} {
		q := s.queue(db, queue.Options{ConfirmTimeout: testenv.Patience})
		q.Linger(linger)
		for i := range 2 {
			if _, err := q.Submit(s.ctx, msg(i), queue.Demands{WaitReplicas: 1}); err != nil {
				t.Fatal(err)
			}
		}
		want := others
		if linger == time.Minute {
			want++
		}
		testenv.Eventually(t, "the connection is left", func() (bool, string) {
			n, list := connections()
			return n == want, list
		})
	}
}

func TestWhoWaitsForReplicasCanGiveUp(t *testing.T) {
	t.Parallel()
	r := testenv.NewReplicas(t, 1)
	s := newSuite(t, options(r.Master.Addr()))
	db := connect(t, s.opt)
	q := s.queue(db, queue.Options{ConfirmTimeout: time.Minute})
	one := queue.Demands{WaitReplicas: 1}
	s.submit(q) // nothing is no error
	if _, err := q.Submit(s.ctx, msg(1), one); err != nil {
		t.Fatal(err)
	}
	r.Replicas[0].Freeze(t)
	ctx, cancel := context.WithCancel(s.ctx)
	results := make(chan error, 3)
	submit := func(ctx context.Context, n int) {
		_, err := q.Submit(ctx, msg(n), one)
		results <- err
	}
	go submit(ctx, 2)
	testenv.Eventually(t, "it is written", func() (bool, string) {
		st, err := q.Stats(s.ctx)
		return err == nil && st.Length == 2, fmt.Sprint(st, err)
	})
	go submit(ctx, 3) // it never has its turn
	cancel()
	for range 2 {
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("given up: %v", err)
		}
	}
	go submit(s.ctx, 4)
	db.Close()
	if err := <-results; !errors.Is(err, errClosed) {
		t.Errorf("closed meanwhile: %v", err)
	}
	if _, err := q.Submit(s.ctx, msg(5), one); !errors.Is(err, errClosed) {
		t.Errorf("after Close: %v", err)
	}
	r.Replicas[0].Thaw(t)
}

func TestReplicasInOtherModes(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{ConfirmTimeout: time.Millisecond})
		_, err := q.Submit(s.ctx, msg(1), queue.Demands{WaitReplicas: 1})
		var uncertain *queue.UncertainError
		if s.opt.InProcess {
			if !errors.Is(err, queue.ErrUnsupported) {
				s.Errorf("in process: %v", err)
			}
		} else if !errors.As(err, &uncertain) || uncertain.Confirmed != 0 {
			s.Errorf("without replicas: %v", err)
		}
	})
}

func TestSubmitToAServerThatIsAway(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	s := newSuite(t, options(srv.Addr()))
	q := s.queue(connect(t, s.opt), queue.Options{})
	srv.Kill()
	for _, d := range []queue.Demands{{}, {WaitReplicas: 1}} {
		if _, err := q.Submit(s.ctx, msg(1), d); !isUnavailable(err) {
			t.Errorf("%+v: %v", d, err)
		}
		if results, err := q.SubmitMany(s.ctx, msgs(2), d); results != nil || !isUnavailable(err) {
			t.Errorf("%+v: %v, %v", d, results, err)
		}
	}
	if _, err := q.Stats(s.ctx); !isUnavailable(err) {
		t.Errorf("stats: %v", err)
	}
	if _, err := q.Dead(s.ctx, "", 1); !isUnavailable(err) {
		t.Errorf("dead: %v", err)
	}
	if _, err := q.Requeue(s.ctx, "1-1"); !isUnavailable(err) {
		t.Errorf("requeue: %v", err)
	}
	if _, err := q.Purge(s.ctx, "1-1"); !isUnavailable(err) {
		t.Errorf("purge: %v", err)
	}
}

func TestWrongTypesAreNamed(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		for name, try := range map[string]func(q *queue.Queue) error{
			"stream": func(q *queue.Queue) error {
				_, err := q.Submit(s.ctx, msg(1), queue.Demands{})
				return err
			},
			"seen":    func(q *queue.Queue) error { return submitErr(s, q, msg(1), queue.Demands{}) },
			"delayed": func(q *queue.Queue) error { _, err := q.Stats(s.ctx); return err },
			"dead":    func(q *queue.Queue) error { _, err := q.Dead(s.ctx, "", 1); return err },
			"requeue": func(q *queue.Queue) error { _, err := q.Requeue(s.ctx, "1-1"); return err },
			"purge":   func(q *queue.Queue) error { _, err := q.Purge(s.ctx, "1-1"); return err },
			"consume": func(q *queue.Queue) error { return q.Consume(s.ctx, queue.ConsumeOptions{}, nil) },
		} {
			names := s.space.OrderQueue("bad-" + name)
			key := map[string]string{"stream": names.Stream(), "consume": names.Stream(), "seen": names.Seen(), "delayed": names.Delayed()}[name]
			if key == "" {
				key = names.Dead()
			}
			s.do(db, "SET", key, "x")
			q, err := queue.New(db, names, queue.Options{})
			must(s, err)
			var corrupt *queue.CorruptError
			if err := try(q); !errors.As(err, &corrupt) || corrupt.Key != key || !strings.Contains(err.Error(), "WRONGTYPE") {
				s.Errorf("%s: %v, want one that names %s", name, err, key)
			}
		}
		names := s.space.OrderQueue("bad-leases")
		s.do(db, "SET", names.Leases(), "x")
		q, err := queue.New(db, names, queue.Options{Ordered: true})
		must(s, err)
		var corrupt *queue.CorruptError
		if err := q.Consume(s.ctx, queue.ConsumeOptions{}, nil); !errors.As(err, &corrupt) || corrupt.Key != names.Leases() {
			s.Errorf("leases: %v", err)
		}
		if cause := errors.Unwrap(corrupt); !strings.Contains(corrupt.Error(), names.Leases()) || !strings.Contains(cause.Error(), "WRONGTYPE") {
			s.Errorf("%v does not name the key and the cause", corrupt)
		}
	})
}

// A queue is ordered for all who use it, or for nobody: else messages would wait
// where no consumer looks.
func TestQueueIsUsedInOneWay(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		plain, ordered := s.queue(db, queue.Options{}), s.queue(db, queue.Options{Ordered: true})
		keyed := queue.Message{ID: "keyed", Key: "a", Body: "b"}
		refused := func(err error, mentions string) {
			s.Helper()
			if !errors.Is(err, queue.ErrInvalid) || !strings.Contains(err.Error(), mentions) {
				s.Fatalf("%v, want one that mentions %q", err, mentions)
			}
		}
		s.submit(plain, msg(1))
		refused(submitErr(s, ordered, keyed, queue.Demands{}), "is not ordered: others use it otherwise, or have left 1 messages")
		refused(ordered.Consume(s.ctx, queue.ConsumeOptions{}, nil), "is not ordered")
		// Those who used it are gone, but a message is left.
		s.do(db, "DEL", s.keys.Use())
		refused(submitErr(s, ordered, keyed, queue.Demands{}), "left 1 messages")
		var got record
		stop := s.consume(plain, queue.ConsumeOptions{}, func(_ context.Context, d *queue.Delivery) error {
			got.add(d.ID)
			return nil
		})
		got.await(s, 1)
		s.empty(plain)
		// A consumer is at it.
		refused(submitErr(s, ordered, keyed, queue.Demands{}), "is not ordered")
		must(s, stop())
		s.do(db, "DEL", s.keys.Use())
		s.submit(ordered, keyed)
		refused(submitErr(s, plain, msg(2), queue.Demands{}), "is not plain")
		// One that is at it when others take it over ends.
		s.do(db, "DEL", s.keys.Partition(queue.PartitionOf("a")), s.keys.Use())
		result := make(chan error, 1)
		go func() { result <- plain.Consume(s.ctx, queue.ConsumeOptions{}, nil) }()
		testenv.Eventually(s, "a mark", func() (bool, string) {
			use := s.do(db, "GET", s.keys.Use())
			return use == "plain", use
		})
		s.do(db, "SET", s.keys.Use(), "ordered")
		refused(<-result, "is not plain")
	})
}
