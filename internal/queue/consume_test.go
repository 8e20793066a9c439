package queue_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/queue"
	"github.com/fullon/fulloncache/internal/testenv"
)

// soon is a Backoff that does not hold tests up.
func soon(int) time.Duration { return time.Millisecond }

func TestWhatIsSubmittedIsHandledOnce(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{})
		s.submit(q, msgs(1000)...)
		var got record
		stop := s.consume(q, queue.ConsumeOptions{}, func(_ context.Context, d *queue.Delivery) error {
			if d.Number != 1 || d.Entry == "" || d.Token != "" || d.Key != "" {
				s.Errorf("%+v", d)
			}
			got.add(d.ID + " " + d.Body)
			return nil
		})
		all := got.await(s, 1000)
		s.empty(q)
		must(s, stop())
		slices.Sort(all)
		if len(slices.Compact(all)) != 1000 || len(got.all()) != 1000 {
			s.Errorf("%d deliveries of %d messages", len(got.all()), len(slices.Compact(all)))
		}
		if consumers := s.do(db, "XLEN", s.keys.Stream()); consumers != "0" {
			s.Errorf("%s entries are left", consumers)
		}
	})
}

func TestVerbs(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{})
		for i, id := range []string{"ack", "nak", "reject", "error", "panic", "goexit", "extend", "nil"} {
			s.submit(q, queue.Message{ID: id, Body: fmt.Sprint(i)})
		}
		var got record
		again := func(d *queue.Delivery, err error) {
			if !errors.Is(err, queue.ErrSettled) {
				s.Errorf("%s: settled twice: %v", d.ID, err)
			}
		}
		stop := s.consume(q, queue.ConsumeOptions{Backoff: soon}, func(ctx context.Context, d *queue.Delivery) error {
			got.add(fmt.Sprint(d.ID, d.Number))
			if d.Number > 1 {
				return nil
			}
			switch d.ID {
			case "ack":
				must(s, d.Ack(ctx))
				again(d, d.Ack(ctx))
				again(d, d.Nak(ctx, 0, nil))
				again(d, d.Reject(ctx, ""))
				again(d, d.Extend(ctx))
				return errors.New("settled all the same")
			case "nak":
				must(s, d.Nak(ctx, 0, errors.New("not now")))
			case "reject":
				must(s, d.Reject(ctx, "never"))
			case "error":
				return errors.New("failed")
			case "panic":
				panic("broken")
			case "goexit":
				runtime.Goexit()
			case "extend":
				must(s, d.Extend(ctx))
			}
			return nil
		})
		got.await(s, 12)
		s.empty(q)
		must(s, stop())
		all := got.all()
		slices.Sort(all)
		if want := []string{"ack1", "error1", "error2", "extend1", "goexit1", "goexit2", "nak1", "nak2", "nil1", "panic1", "panic2", "reject1"}; !slices.Equal(all, want) {
			s.Errorf("%q, want %q", all, want)
		}
		letters, err := q.Dead(s.ctx, "", 10)
		must(s, err)
		if len(letters) != 1 || letters[0].ID != "reject" || letters[0].Reason != "never" || letters[0].Deliveries != 1 {
			s.Errorf("%+v", letters)
		}
		if got := s.log.of("dead"); !slices.Equal(got, []string{"dead reject: never"}) {
			s.Errorf("%q", got)
		}
		panics := s.log.of("panicked")
		slices.Sort(panics)
		if want := []string{"panicked goexit: handler panicked: the handler ended its goroutine", "panicked panic: handler panicked: broken"}; !slices.Equal(panics, want) {
			s.Errorf("%q", panics)
		}
	})
}

func TestWhatFailsTooOftenIsADeadLetter(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{})
		s.submit(q, msg(1), msg(2))
		var got record
		stop := s.consume(q, queue.ConsumeOptions{MaxDeliveries: 3, Backoff: soon}, func(_ context.Context, d *queue.Delivery) error {
			if d.ID == "id-2" {
				return nil
			}
			got.add(fmt.Sprint(d.Number))
			return fmt.Errorf("error %d", d.Number)
		})
		s.empty(q)
		must(s, stop()) // it tells of a dead letter when the server has it
		if all := got.all(); !slices.Equal(all, []string{"1", "2", "3"}) {
			s.Errorf("deliveries %q", all)
		}
		letters, err := q.Dead(s.ctx, "", 10)
		must(s, err)
		if len(letters) != 1 || letters[0].Message != msg(1) || letters[0].Reason != "error 3" || letters[0].Deliveries != 3 ||
			time.Since(letters[0].Time).Abs() > time.Minute {
			s.Errorf("%+v", letters)
		}
		if got := s.log.of("dead"); !slices.Equal(got, []string{"dead id-1: error 3"}) {
			s.Errorf("%q", got)
		}
	})
}

func TestNakDelays(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		for _, ordered := range []bool{false, true} {
			s.keys = s.space.OrderQueue(fmt.Sprint("delay", ordered))
			q := s.queue(db, queue.Options{Ordered: ordered})
			m := msg(1)
			if ordered {
				m.Key = "k"
			}
			s.submit(q, m)
			const delay = 300 * time.Millisecond
			var first time.Time
			second := make(chan time.Duration, 1)
			h := func(ctx context.Context, d *queue.Delivery) error {
				if d.Number == 1 {
					first = time.Now()
					must(s, d.Nak(ctx, delay, nil))
				} else {
					second <- time.Since(first)
				}
				return nil
			}
			stop := s.consume(q, queue.ConsumeOptions{Poll: 50 * time.Millisecond}, h)
			select {
			case took := <-second:
				if took < delay {
					s.Errorf("again after %s", took)
				}
			case <-time.After(testenv.Patience):
				s.Fatal("it does not come again")
			}
			s.empty(q)
			must(s, stop())
		}
	})
}

// A delay outlives the consumer that asked for it.
func TestAnotherConsumerTakesWhatIsDelayed(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		for _, ordered := range []bool{false, true} {
			s.keys = s.space.OrderQueue(fmt.Sprint("delay", ordered))
			q := s.queue(db, queue.Options{Ordered: ordered})
			var list []queue.Message
			for i := range 3 {
				m := msg(i)
				if ordered {
					m.Key = "k"
				}
				list = append(list, m)
			}
			s.submit(q, list...)
			nakked := make(chan time.Time, 3)
			stop := s.consume(q, queue.ConsumeOptions{Lease: time.Second}, func(ctx context.Context, d *queue.Delivery) error {
				must(s, d.Nak(ctx, 500*time.Millisecond, nil))
				nakked <- time.Now()
				return nil
			})
			at := <-nakked
			must(s, stop())
			var got record
			stop = s.consume(q, queue.ConsumeOptions{Lease: time.Second}, func(_ context.Context, d *queue.Delivery) error {
				if d.ID == "id-0" && time.Since(at) < 450*time.Millisecond {
					s.Errorf("again after %s", time.Since(at))
				}
				got.add(fmt.Sprint(d.ID, " ", d.Number))
				return nil
			})
			all := got.await(s, 3)
			if ordered && !slices.Equal(all, []string{"id-0 2", "id-1 1", "id-2 1"}) {
				s.Errorf("%q", all)
			}
			s.empty(q)
			must(s, stop())
		}
	})
}

func TestWhatIsNotSettledInTimeIsDeliveredAgain(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{})
		s.submit(q, msg(1))
		const visibility = time.Second
		lost, acked := make(chan error, 1), make(chan error, 1)
		second := make(chan struct{})
		opt := queue.ConsumeOptions{Visibility: visibility, Poll: 10 * time.Millisecond, Concurrency: 1}
		s.consume(q, opt, func(ctx context.Context, d *queue.Delivery) error {
			if d.Number > 1 {
				s.Errorf("delivery %d came to who has no free handler", d.Number)
			}
			<-ctx.Done()
			lost <- context.Cause(ctx)
			<-second
			acked <- d.Ack(s.ctx)
			return nil
		})
		testenv.Eventually(s, "first delivery", func() (bool, string) {
			st, err := q.Stats(s.ctx)
			return err == nil && st.Pending == 1, fmt.Sprint(st, err)
		})
		var got record
		q2 := s.queue(connect(s, s.opt), queue.Options{})
		select {
		case err := <-lost:
			if !errors.Is(err, queue.ErrLost) {
				s.Errorf("the context's cause: %v", err)
			}
		case <-time.After(testenv.Patience):
			s.Fatal("the context does not end")
		}
		s.consume(q2, opt, func(ctx context.Context, d *queue.Delivery) error {
			got.add(fmt.Sprint(d.Number))
			return d.Ack(ctx)
		})
		testenv.Eventually(s, "done", func() (bool, string) {
			st, err := q.Stats(s.ctx)
			return err == nil && st.Length == 0, fmt.Sprint(st, err)
		})
		close(second)
		if err := <-acked; !errors.Is(err, queue.ErrLost) {
			s.Errorf("acknowledged late: %v", err)
		}
	})
}

func TestExtendKeepsADelivery(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{})
		s.submit(q, msg(1))
		const visibility = 2 * time.Second
		opt := queue.ConsumeOptions{Visibility: visibility, Poll: 10 * time.Millisecond}
		var got record
		for range 2 {
			s.consume(q, opt, func(ctx context.Context, d *queue.Delivery) error {
				got.add(fmt.Sprint(d.Number))
				tick := time.NewTicker(visibility / 5)
				defer tick.Stop()
				for begun := time.Now(); time.Since(begun) < 2*visibility; {
					<-tick.C
					must(s, d.Extend(ctx))
				}
				return nil
			})
		}
		got.await(s, 1)
		s.empty(q)
		if all := got.all(); len(all) != 1 {
			s.Errorf("delivered %q", all)
		}
	})
}

func TestWhatIsNeverSettledIsADeadLetter(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{DeadCap: 1})
		s.submit(q, msg(1), msg(2))
		opt := queue.ConsumeOptions{Visibility: 50 * time.Millisecond, MaxDeliveries: 2, Poll: 10 * time.Millisecond}
		end := make(chan struct{})
		stop := s.consume(q, opt, func(ctx context.Context, _ *queue.Delivery) error {
			<-ctx.Done()
			<-end // it hangs
			return nil
		})
		testenv.Eventually(s, "an empty queue", func() (bool, string) {
			st, err := q.Stats(s.ctx)
			return err == nil && st == queue.Stats{Dead: 1}, fmt.Sprint(st, err)
		})
		letters, err := q.Dead(s.ctx, "", 10)
		must(s, err)
		if len(letters) != 1 || letters[0].Deliveries != 2 || letters[0].Reason != "delivered 2 times, the last time not acknowledged within 50ms" {
			s.Errorf("%+v", letters)
		}
		close(end)
		must(s, stop())
		if dead, dropped := s.log.of("dead"), s.log.of("dropped"); len(dead) != 2 || !slices.Equal(dropped, []string{"dropped 1"}) {
			s.Errorf("%q, %q", dead, dropped)
		}
	})
}

func TestMalformedEntriesAreDeadLetters(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		for _, ordered := range []bool{false, true} {
			s.keys, s.log = s.space.OrderQueue(fmt.Sprint("malformed", ordered)), &journal{}
			q := s.queue(db, queue.Options{Ordered: ordered})
			stream, want := s.keys.Stream(), "malformed: no field id"
			m := queue.Message{ID: "good"}
			if ordered {
				m.Key = "k"
				stream = s.keys.Partition(queue.PartitionOf("k"))
				s.do(db, "XADD", stream, "*", "id", "keyless")
			}
			s.do(db, "XADD", stream, "*", "foo", "bar", "body", "x")
			s.submit(q, m)
			var got record
			stop := s.consume(q, queue.ConsumeOptions{}, func(_ context.Context, d *queue.Delivery) error {
				got.add(d.ID)
				return nil
			})
			s.empty(q)
			must(s, stop())
			if all := got.all(); !slices.Equal(all, []string{"good"}) {
				s.Errorf("handled %q", all)
			}
			letters, err := q.Dead(s.ctx, "", 10)
			must(s, err)
			last := letters[len(letters)-1]
			if last.Reason != want || last.Fields["foo"] != "bar" || last.Body != "x" || last.ID != "" {
				s.Errorf("%+v", letters)
			}
			if dead := s.log.of("dead"); dead[len(dead)-1] != "dead "+last.Entry+": "+want {
				s.Errorf("%q", dead)
			}
			if ordered && (len(letters) != 2 || letters[0].Reason != "malformed: no field key") {
				s.Errorf("%+v", letters)
			}
		}
	})
}

func TestConcurrencyIsBounded(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{})
		const n = 600
		s.submit(q, msgs(n)...)
		var now, most, handled atomic.Int64
		s.consume(q, queue.ConsumeOptions{Concurrency: 3}, func(ctx context.Context, _ *queue.Delivery) error {
			at := now.Add(1)
			defer now.Add(-1)
			for m := most.Load(); at > m; m = most.Load() {
				if most.CompareAndSwap(m, at) {
					break
				}
			}
			st, err := q.Stats(ctx)
			// Of what is pending some is handled, and about to be settled.
			if unsettled := handled.Load() - (n - st.Length); err != nil || st.Pending-unsettled > 3+256 {
				s.Errorf("%+v, %v; %d unsettled", st, err, unsettled)
			}
			handled.Add(1)
			return nil
		})
		s.empty(q)
		if m := most.Load(); m != 3 {
			s.Errorf("%d handlers at the same time", m)
		}
	})
}

func TestStopFinishesWhatItHolds(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		for _, ordered := range []bool{false, true} {
			s.keys = s.space.OrderQueue(fmt.Sprint("stop", ordered))
			q := s.queue(db, queue.Options{Ordered: ordered})
			var list []queue.Message
			for i := range 100 {
				m := msg(i)
				if ordered {
					m.Key = fmt.Sprint(i % 20)
				}
				list = append(list, m)
			}
			var got record
			begun, release := make(chan struct{}, 200), make(chan struct{})
			ctx, cancel := context.WithCancel(s.ctx)
			result := make(chan error, 1)
			var fast atomic.Bool
			fast.Store(true)
			go func() {
				result <- q.Consume(ctx, queue.ConsumeOptions{Concurrency: 2}, func(ctx context.Context, d *queue.Delivery) error {
					if !fast.Load() {
						begun <- struct{}{}
						<-release
					}
					if ctx.Err() != nil {
						s.Errorf("a handler's context ended: %v", context.Cause(ctx))
					}
					got.add(fmt.Sprint(d.ID, " ", d.Number))
					return nil
				})
			}()
			// So quick that it reads ahead; then what it has read ahead waits.
			s.submit(q, list[:50]...)
			got.await(s, 50)
			fast.Store(false)
			s.submit(q, list[50:]...)
			<-begun
			<-begun
			cancel()
			close(release)
			must(s, <-result)
			if st, err := q.Stats(s.ctx); err != nil || st.Length != int64(100-len(got.all())) || len(got.all()) > 54 {
				s.Errorf("%+v, %v, handled %d", st, err, len(got.all()))
			}
			// What it had not begun is another's at once, and was not delivered.
			stop := s.consume(q, queue.ConsumeOptions{}, func(_ context.Context, d *queue.Delivery) error {
				got.add(fmt.Sprint(d.ID, " ", d.Number))
				return nil
			})
			all := got.await(s, 100)
			s.empty(q)
			must(s, stop())
			slices.Sort(all)
			if all = slices.Compact(all); len(all) != 100 || slices.ContainsFunc(all, func(e string) bool { return !strings.HasSuffix(e, " 1") }) {
				s.Errorf("%q", all)
			}
		}
	})
}

func TestHandlersThatDoNotStopAreTold(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{})
		s.submit(q, msg(1))
		begun := make(chan struct{})
		stop := s.consume(q, queue.ConsumeOptions{StopTimeout: 50 * time.Millisecond}, func(ctx context.Context, _ *queue.Delivery) error {
			close(begun)
			<-ctx.Done()
			return ctx.Err()
		})
		<-begun
		must(s, stop())
		if st, err := q.Stats(s.ctx); err != nil || st.Length != 1 || st.Delayed != 1 {
			s.Errorf("%+v, %v", st, err)
		}
	})
}

func TestDeadConsumersAreRemoved(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{})
		s.submit(q, msg(0))
		s.do(db, "XGROUP CREATE", s.keys.Stream(), "consumers", "0")
		s.do(db, "XREADGROUP GROUP consumers ghost STREAMS", s.keys.Stream(), ">")
		m, err := db.Do(s.ctx, db.B().Xrange().Key(s.keys.Stream()).Start("-").End("+").Build())
		must(s, err)
		entries, err := m.AsXRange()
		must(s, err)
		s.do(db, "XACK", s.keys.Stream(), "consumers", entries[0].ID)
		s.do(db, "XDEL", s.keys.Stream(), entries[0].ID)
		s.submit(q, msg(1))
		// One that was given a message and died.
		s.do(db, "XREADGROUP GROUP consumers owner COUNT 1 STREAMS", s.keys.Stream(), ">")
		names := func() string {
			var list []string
			for _, name := range []string{"ghost", "owner"} {
				if strings.Contains(s.json(db, "XINFO CONSUMERS", s.keys.Stream(), "consumers"), `"`+name+`"`) {
					list = append(list, name)
				}
			}
			return strings.Join(list, " ")
		}
		if got := names(); got != "ghost owner" {
			s.Fatal(got)
		}
		var got record
		opt := queue.ConsumeOptions{Visibility: 2 * time.Second, ReapAfter: time.Millisecond}
		stop := s.consume(q, opt, func(_ context.Context, d *queue.Delivery) error {
			got.add(fmt.Sprint(d.ID, " ", d.Number))
			return nil
		})
		if s.opt.InProcess {
			// It does not say since when a consumer is silent.
			got.await(s, 1)
			s.empty(q)
			must(s, stop())
			return
		}
		testenv.Eventually(s, "removal of the idle one", func() (bool, string) { return !strings.Contains(names(), "ghost"), names() })
		if all := got.await(s, 1); all[0] != "id-1 2" {
			s.Errorf("%q", all)
		}
		testenv.Eventually(s, "removal of the owner", func() (bool, string) { return names() == "", names() })
		s.empty(q)
		must(s, stop())
	})
}

// Who stops leaves the group, unless it was given what it does not know of: that would
// be lost with it.
func TestStopLeavesTheGroup(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		names := func() []string {
			s.Helper()
			reply, err := db.Do(s.ctx, db.B().XinfoConsumers().Key(s.keys.Stream()).Group("consumers").Build())
			must(s, err)
			list, err := reply.ToArray()
			must(s, err)
			names := make([]string, len(list))
			for i, one := range list {
				fields, err := one.AsMap()
				must(s, err)
				name := fields["name"]
				names[i], err = name.ToString()
				must(s, err)
			}
			return names
		}
		var got record
		handler := func(_ context.Context, d *queue.Delivery) error {
			got.add(d.ID)
			return nil
		}
		q := s.queue(db, queue.Options{})
		stop := s.consume(q, queue.ConsumeOptions{}, handler)
		s.submit(q, msg(1))
		s.empty(q)
		must(s, stop())
		if left := names(); len(left) != 0 {
			s.Errorf("%q are left", left)
		}

		s.keys = s.space.OrderQueue("given")
		q = s.queue(db, queue.Options{})
		s.submit(q, msg(2))
		lost := s.given(db, s.keys.Stream(), "another", 1)
		stop = s.consume(q, queue.ConsumeOptions{}, handler)
		s.submit(q, msg(3))
		got.await(s, 2)
		at := slices.IndexFunc(names(), func(name string) bool { return name != "another" })
		s.do(db, "XCLAIM", s.keys.Stream(), "consumers", names()[at], "0", lost[0])
		must(s, stop())
		stop = s.consume(q, queue.ConsumeOptions{Visibility: 50 * time.Millisecond}, handler)
		if all := got.await(s, 3); all[2] != "id-2" {
			s.Errorf("%q", all)
		}
		s.empty(q)
		must(s, stop())
	})
}

// Who waits for messages asks the server once a poll whether there are any. Whatever
// else it asks does not come ten times as often, and what it asks when it begins, and
// after an error, never again.
func TestWhoWaitsAsksLittle(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	s := newSuite(t, options(srv.Addr()))
	for _, ordered := range []bool{false, true} {
		s.keys = s.space.OrderQueue(fmt.Sprint("waits", ordered))
		q := s.queue(connect(t, s.opt), queue.Options{Ordered: ordered})
		stop := s.consume(q, queue.ConsumeOptions{Poll: 20 * time.Millisecond}, func(context.Context, *queue.Delivery) error { return nil })
		s.submit(q, queue.Message{ID: "1", Key: map[bool]string{true: "k"}[ordered]})
		s.empty(q)
		read := map[bool]string{false: "xreadgroup", true: "xread"}[ordered]
		before := srv.Counts(t)
		var after map[string]int
		testenv.Eventually(t, "polls", func() (bool, string) {
			after = srv.Counts(t)
			return after[read] >= before[read]+20, fmt.Sprint(after)
		})
		polls := after[read] - before[read]
		if calls := after["evalsha"] - before["evalsha"]; calls > 10*polls {
			t.Errorf("ordered %t: %d scripts in %d polls", ordered, calls, polls)
		}
		// It looks for who died four times as often as a handler may take, at most.
		if scans := after["xinfo|consumers"] - before["xinfo|consumers"]; scans > polls/2 {
			t.Errorf("ordered %t: it looked for other consumers %d times in %d polls", ordered, scans, polls)
		}
		groups, owned := after["xgroup|create"]-before["xgroup|create"], after["xpending"]-before["xpending"]
		if !ordered && groups+owned > 0 {
			t.Errorf("the group was made %d times more, and it asked %d times what it owns", groups, owned)
		}
		// Each reading of an ordered queue asks that; beyond it, it is asked twice in the
		// time that a handler may take.
		if ordered && owned > queue.Partitions*polls*3/2 {
			t.Errorf("it asked %d times what it owns of a partition in %d polls", owned, polls)
		}
		must(t, stop())
	}
	if failed := s.log.of("read"); len(failed) != 0 {
		t.Errorf("that nothing comes is no failure: %q", failed)
	}
}

// What is settled at the same time shares calls, as far as a call may have it.
func TestSettlementsShareCalls(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ops          string
		acks, others []int
	}{
		{"", nil, nil},
		{"A", []int{1}, nil},
		{strings.Repeat("A", 500), []int{500}, nil},
		{strings.Repeat("A", 1001), []int{500, 500, 1}, nil},
		{strings.Repeat("N", 1001), nil, []int{500, 500, 1}},
		{"AaNAnRaaE", []int{2, 3}, []int{3, 1}},
		{"AA!ANN!N", []int{1, 1, 1}, []int{1, 1, 1}},
	} {
		acks, others := queue.Batches(c.ops)
		if !slices.Equal(acks, c.acks) || !slices.Equal(others, c.others) {
			t.Errorf("%.10s… of %d: calls of %v and %v, want %v and %v", c.ops, len(c.ops), acks, others, c.acks, c.others)
		}
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for delivery, want := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 6: 32 * time.Second, 7: time.Minute, 1000: time.Minute} {
		if got := queue.Backoff(delivery); got != want {
			t.Errorf("after delivery %d: %s, want %s", delivery, got, want)
		}
	}
}

func TestAStreamThatIsRemovedIsMadeAnew(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		for _, ordered := range []bool{false, true} {
			s.keys = s.space.OrderQueue(fmt.Sprint("removed", ordered))
			q := s.queue(db, queue.Options{Ordered: ordered})
			var got record
			stop := s.consume(q, queue.ConsumeOptions{Poll: 20 * time.Millisecond, Lease: time.Second, Visibility: time.Second}, func(_ context.Context, d *queue.Delivery) error {
				got.add(d.ID)
				return nil
			})
			for i := range 3 {
				m := msg(i)
				if ordered {
					m.Key = "k"
				}
				s.submit(q, m)
				got.await(s, i+1)
				s.empty(q)
				names := []string{s.keys.Delayed(), s.keys.Seen(), s.keys.Leases(), s.keys.Stream()}
				for p := range queue.Partitions {
					names = append(names, s.keys.Partition(p))
				}
				s.do(db, append([]string{"DEL"}, names...)...)
			}
			must(s, stop())
		}
	})
}

func TestWhatIsParkedWithoutATimeIsDue(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{})
		s.submit(q, msg(1))
		var got record
		stop := s.consume(q, queue.ConsumeOptions{Visibility: 2 * time.Second}, func(ctx context.Context, d *queue.Delivery) error {
			got.add(fmt.Sprint(d.Number))
			if d.Number == 1 {
				must(s, d.Nak(ctx, time.Hour, nil))
				s.do(db, "DEL", s.keys.Delayed())
				// A time without an entry is harmless.
				s.do(db, "ZADD", s.keys.Delayed(), "1", "1-1")
			}
			return nil
		})
		got.await(s, 2)
		s.empty(q)
		must(s, stop())
	})
}

func TestWhatWaitsForAHandlerIsNotTakenOver(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{})
		visibility := time.Second
		if s.opt.InProcess {
			visibility = 3 * time.Second // it is slow
		}
		opt := queue.ConsumeOptions{Concurrency: 1, Visibility: visibility, Poll: 10 * time.Millisecond}
		var got record
		var slow atomic.Bool
		stop := s.consume(q, opt, func(ctx context.Context, d *queue.Delivery) error {
			got.add(fmt.Sprint(d.ID, " ", d.Number))
			if slow.CompareAndSwap(true, false) {
				// The others that were read ahead wait for twice as long as they may.
				tick := time.NewTicker(visibility / 5)
				defer tick.Stop()
				for begun := time.Now(); time.Since(begun) < 2*visibility; {
					<-tick.C
					must(s, d.Extend(ctx))
				}
			}
			return nil
		})
		s.submit(q, msgs(300)...)
		got.await(s, 300)
		slow.Store(true)
		for i := range 100 {
			s.submit(q, msg(300+i))
		}
		second := s.consume(q, queue.ConsumeOptions{Concurrency: 1, Visibility: visibility, Poll: 10 * time.Millisecond}, func(_ context.Context, d *queue.Delivery) error {
			got.add(fmt.Sprint(d.ID, " ", d.Number))
			return nil
		})
		all := got.await(s, 400)
		s.empty(q)
		must(s, stop())
		must(s, second())
		if slices.ContainsFunc(all, func(e string) bool { return !strings.HasSuffix(e, " 1") }) || len(got.all()) != 400 {
			s.Errorf("%d deliveries: %q", len(got.all()), got.all()[300:])
		}
	})
}

// What was given back while it was in line takes up room until a worker passes over it,
// after it has told that its handler returned. If that is not told again, and no other
// handler runs, the consumer reads nothing any more.
func TestWhatWasGivenBackMakesRoom(t *testing.T) {
	t.Parallel()
	if reader, claimer := queue.PassOver(); !reader || !claimer {
		t.Errorf("the reader is told: %t, the claimer: %t", reader, claimer)
	}
}

// The server gives messages to a connection that is cut before they arrive.
func TestWhatWasLostOnTheWayIsReadAnew(t *testing.T) {
	t.Parallel()
	for _, ordered := range []bool{false, true} {
		t.Run(fmt.Sprint("ordered ", ordered), func(t *testing.T) {
			t.Parallel()
			s, _ := standalone(t)
			srv := testenv.NewRedis(t)
			db, proxy := connect(t, options(srv.Addr())), testenv.NewProxy(t, srv.Addr())
			q, far := s.queue(db, queue.Options{Ordered: ordered}), s.queue(connect(t, options(proxy.Addr())), queue.Options{Ordered: ordered})
			var got record
			opt := queue.ConsumeOptions{Poll: time.Second, Lease: time.Minute, Visibility: time.Minute}
			stop := s.consume(far, opt, func(_ context.Context, d *queue.Delivery) error {
				got.add(fmt.Sprint(d.ID, " ", d.Number))
				return nil
			})
			m := msg(1)
			if ordered {
				m.Key = "k"
			}
			s.submit(q, m)
			got.await(t, 1)
			s.empty(q)
			if !ordered {
				testenv.Eventually(t, "it waits at the server", func() (bool, string) {
					clients := fmt.Sprint(srv.Do(t, "INFO", "clients"))
					return strings.Contains(clients, "blocked_clients:1"), clients
				})
			}
			proxy.Stall()
			m.ID = "id-2"
			s.submit(q, m)
			if !ordered {
				testenv.Eventually(t, "it is given", func() (bool, string) {
					st, err := q.Stats(s.ctx)
					return err == nil && st.Pending == 1, fmt.Sprint(st, err)
				})
			}
			proxy.Cut()
			proxy.Flow()
			proxy.Restore(t)
			if all := got.await(t, 2); all[1] != "id-2 1" {
				t.Errorf("%q", all)
			}
			s.empty(q)
			must(t, stop())
			if len(s.log.of("read")) == 0 {
				t.Error("nothing tells that it could not be read")
			}
		})
	}
}

func TestWhatCannotBeSettledIsTriedAgain(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{})
		s.submit(q, msg(1), msg(2), msg(3))
		s.do(db, "SET", s.keys.Dead(), "x")
		var got record
		refused := make(chan error, 1)
		stop := s.consume(q, queue.ConsumeOptions{}, func(ctx context.Context, d *queue.Delivery) error {
			got.add(d.ID)
			if d.ID == "id-2" {
				refused <- d.Reject(ctx, "no")
			}
			return nil
		})
		var corrupt *queue.CorruptError
		if err := <-refused; !errors.As(err, &corrupt) || corrupt.Key != s.keys.Dead() {
			s.Errorf("rejected: %v", err)
		}
		s.do(db, "DEL", s.keys.Dead())
		s.empty(q)
		must(s, stop())
		if st, err := q.Stats(s.ctx); err != nil || st.Dead != 1 || len(got.all()) != 3 {
			s.Errorf("%+v, %v, %q", st, err, got.all())
		}
		if len(s.log.of("settle")) == 0 {
			s.Error("nothing tells that it could not be settled")
		}
	})
}

func TestHandlerSettlesWhileTheServerIsAway(t *testing.T) {
	t.Parallel()
	for _, ordered := range []bool{false, true} {
		t.Run(fmt.Sprint("ordered ", ordered), func(t *testing.T) {
			t.Parallel()
			s, db := standalone(t)
			proxy := testenv.NewProxy(t, testenv.Redis(t).Addr())
			q := s.queue(connect(t, options(proxy.Addr())), queue.Options{Ordered: ordered})
			near := s.queue(db, queue.Options{Ordered: ordered})
			for i, id := range []string{"ack", "nak", "reject"} {
				m := queue.Message{ID: id}
				if ordered {
					m.Key = fmt.Sprint(i)
				}
				s.submit(near, m)
			}
			begun, cut := make(chan struct{}, 10), make(chan struct{})
			var got record
			stop := s.consume(q, queue.ConsumeOptions{}, func(ctx context.Context, d *queue.Delivery) error {
				got.add(fmt.Sprint(d.ID, d.Number))
				begun <- struct{}{}
				<-cut
				if d.Number > 1 {
					return nil
				}
				short, cancel := context.WithTimeout(ctx, time.Millisecond)
				defer cancel()
				var err error
				switch d.ID {
				case "ack":
					err = d.Ack(short)
				case "nak":
					err = d.Nak(short, 0, nil)
				case "reject":
					err = d.Reject(short, "no")
				}
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v", d.ID, err)
				}
				return nil
			})
			for range 3 {
				<-begun
			}
			proxy.Cut()
			close(cut)
			testenv.Eventually(t, "failure", func() (bool, string) { return len(s.log.of("settle")) > 0, "" })
			proxy.Restore(t)
			s.empty(near)
			must(t, stop())
			all := got.all()
			if slices.Sort(all); !slices.Equal(all, []string{"ack1", "nak1", "nak2", "reject1"}) {
				t.Errorf("%q", all)
			}
		})
	}
}

// What is settled between the server's answer and its reading was not lost.
func TestWhatIsSettledMeanwhileWasNotLost(t *testing.T) {
	t.Parallel()
	s, _ := standalone(t)
	srv := testenv.NewRedis(t)
	db, proxy := connect(t, options(srv.Addr())), testenv.NewProxy(t, srv.Addr())
	far := s.queue(connect(t, options(proxy.Addr())), queue.Options{})
	s.submit(far, msg(1), msg(2))
	entries := s.given(db, s.keys.Stream(), "me", 2)
	proxy.Slow(300 * time.Millisecond)
	lost, err := far.Recover(s.ctx, "me", entries[0], func() {
		testenv.Eventually(t, "it was asked", func() (bool, string) {
			asked := srv.Counts(t)
			return asked["xpending"] > 0, fmt.Sprint(asked)
		})
	})
	if must(t, err); !slices.Equal(lost, []string{"id-2"}) {
		t.Errorf("%q were lost, want the second alone", lost)
	}
}

// What an operator has deleted from the stream is owned no more.
func TestWhatWasDeletedIsNotRecovered(t *testing.T) {
	t.Parallel()
	s, db := standalone(t)
	q := s.queue(db, queue.Options{})
	s.submit(q, msg(1), msg(2))
	entries := s.given(db, s.keys.Stream(), "me", 2)
	s.do(db, "XDEL", s.keys.Stream(), entries[0])
	lost, err := q.Recover(s.ctx, "me", "", func() {})
	if must(t, err); !slices.Equal(lost, []string{"id-2"}) {
		t.Errorf("%q were lost, want what is left", lost)
	}
	if st, err := q.Stats(s.ctx); err != nil || st.Pending != 1 {
		t.Errorf("%+v, %v", st, err)
	}
}

// settle asks for one operation as the consumer "me", or as the holder of a partition.
func (s *suite) settle(db *kv.Client, partition, token string, op ...string) []int64 {
	s.Helper()
	answer, err := db.Run(s.ctx, kv.QueueSettle, []string{s.keys.Stream(), s.keys.Delayed(), s.keys.Dead(), s.keys.Leases()},
		append([]string{"consumers", "me", partition, token, "10"}, op...))
	must(s, err)
	got, err := answer.AsIntSlice()
	must(s, err)
	return got
}

// Whatever is asked for a delivery that is another's by now leaves it alone.
func TestSettlingWhatIsAnothersDoesNothing(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{})
		s.submit(q, msg(1))
		id := s.given(db, s.keys.Stream(), "other", 1)[0]
		s.do(db, "HSET", s.keys.Leases(), "5", "7 0 clean me")
		for _, op := range [][]string{
			{"N", id, "1", "1000000", "5", "why"}, {"N", id, "1", "1000000", "1", "why"}, {"R", id, "why"}, {"E", id}, {"H", id, "1"},
			{"B", id, "1", "5", "why"}, {"B", id, "1", "1", "why"}, {"B", id, "0", "5", "why"},
		} {
			for _, part := range [][2]string{{"", ""}, {"5", "7"}} { // as a consumer of its own, and as the holder of a partition
				if got := s.settle(db, part[0], part[1], op...); !slices.Equal(got, []int64{0, 0}) {
					s.Errorf("%q, partition %q: %v", op, part[0], got)
				}
			}
		}
		st, err := q.Stats(s.ctx)
		must(s, err)
		owned := s.json(db, "XPENDING", s.keys.Stream(), "consumers", "-", "+", "10", "other")
		if st.Pending != 1 || st.Delayed != 0 || st.Dead != 0 || st.Length != 1 || !strings.Contains(owned, id) {
			s.Errorf("%+v, pending %s", st, owned)
		}
	})
}

// A crash whose counting got no answer is counted once, also if that makes it the
// last delivery there may be.
func TestACrashIsCountedOnce(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{})
		s.submit(q, msg(1))
		id := s.given(db, s.keys.Stream(), "me", 1)[0]
		s.do(db, "HSET", s.keys.Leases(), "5", "7 0 clean me")
		for range 2 {
			if got := s.settle(db, "5", "7", "B", id, "1", "2", "why"); !slices.Equal(got, []int64{0, 1}) {
				s.Errorf("%v", got)
			}
		}
		if st, err := q.Stats(s.ctx); err != nil || st.Pending != 1 || st.Dead != 0 {
			s.Errorf("%+v, %v", st, err)
		}
	})
}

// An answer that is lost leaves it open whether the settling was done.
func TestWhatMayHaveBeenSettledIsNoError(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		settle func(ctx context.Context, d *queue.Delivery) error
		done   func(st queue.Stats) bool
	}{
		"ack":    {func(ctx context.Context, d *queue.Delivery) error { return d.Ack(ctx) }, func(st queue.Stats) bool { return st.Length == 0 }},
		"nak":    {func(ctx context.Context, d *queue.Delivery) error { return d.Nak(ctx, 2*time.Second, nil) }, func(st queue.Stats) bool { return st.Delayed == 1 }},
		"reject": {func(ctx context.Context, d *queue.Delivery) error { return d.Reject(ctx, "no") }, func(st queue.Stats) bool { return st.Dead == 1 }},
	} {
		for _, ordered := range []bool{false, true} {
			t.Run(fmt.Sprint(name, " ordered ", ordered), func(t *testing.T) {
				t.Parallel()
				s, db := standalone(t)
				proxy := testenv.NewProxy(t, testenv.Redis(t).Addr())
				q := s.queue(connect(t, options(proxy.Addr())), queue.Options{Ordered: ordered})
				near := s.queue(db, queue.Options{Ordered: ordered})
				m := queue.Message{ID: name}
				if ordered {
					m.Key = "a"
				}
				s.submit(near, m)
				begun, cut, settled := make(chan struct{}, 1), make(chan struct{}), make(chan error, 1)
				var again atomic.Bool
				stop := s.consume(q, queue.ConsumeOptions{Lease: time.Minute}, func(ctx context.Context, d *queue.Delivery) error {
					if d.Number > 1 {
						again.Store(true)
						return nil
					}
					begun <- struct{}{}
					<-cut
					settled <- c.settle(ctx, d)
					return nil
				})
				<-begun
				proxy.Slow(time.Second) // requests pass, answers do not in time
				close(cut)
				testenv.Eventually(t, "the server has settled", func() (bool, string) {
					st, err := near.Stats(s.ctx)
					return err == nil && c.done(st) || again.Load(), fmt.Sprint(st, err)
				})
				proxy.Cut()
				proxy.Slow(0)
				proxy.Restore(t)
				if err := <-settled; err != nil {
					t.Errorf("settled: %v", err)
				}
				s.empty(near)
				must(t, stop())
				if again.Load() != (name == "nak") {
					t.Errorf("delivered again: %t", again.Load())
				}
			})
		}
	}
}

func TestConsumeEndsWithTheClient(t *testing.T) {
	conformance(t, func(s *suite, _ *kv.Client) {
		for _, ordered := range []bool{false, true} {
			opt := s.opt
			db, err := kv.Open(s.ctx, opt)
			must(s, err)
			s.keys = s.space.OrderQueue(fmt.Sprint("closed", ordered))
			q := s.queue(db, queue.Options{Ordered: ordered})
			m := msg(1)
			if ordered {
				m.Key = "k"
			}
			s.submit(q, m)
			begun, ack := make(chan struct{}), make(chan error, 1)
			result := make(chan error, 1)
			go func() {
				result <- q.Consume(s.ctx, queue.ConsumeOptions{}, func(ctx context.Context, d *queue.Delivery) error {
					close(begun)
					<-ctx.Done()
					ack <- d.Ack(context.Background())
					return nil
				})
			}()
			<-begun
			db.Close()
			if err := <-result; !errors.Is(err, errClosed) {
				s.Errorf("consume: %v", err)
			}
			if err := <-ack; !errors.Is(err, queue.ErrLost) {
				s.Errorf("ack: %v", err)
			}
			if err := q.Consume(s.ctx, queue.ConsumeOptions{}, nil); !errors.Is(err, errClosed) {
				s.Errorf("consume after Close: %v", err)
			}
		}
	})
}

func TestConsumeWaitsForTheServer(t *testing.T) {
	t.Parallel()
	for _, ordered := range []bool{false, true} {
		t.Run(fmt.Sprint("ordered ", ordered), func(t *testing.T) {
			t.Parallel()
			srv := testenv.NewRedis(t)
			s := newSuite(t, options(srv.Addr()))
			q := s.queue(connect(t, s.opt), queue.Options{Ordered: ordered})
			srv.Kill()
			var got record
			stop := s.consume(q, queue.ConsumeOptions{}, func(_ context.Context, d *queue.Delivery) error {
				got.add(d.ID)
				return nil
			})
			testenv.Eventually(t, "failure", func() (bool, string) { return len(s.log.of("read")) > 2, "" })
			srv.Restart(t)
			m := msg(1)
			if ordered {
				m.Key = "k"
			}
			testenv.Eventually(t, "submit", func() (bool, string) {
				_, err := q.Submit(s.ctx, m, queue.Demands{})
				return err == nil, fmt.Sprint(err)
			})
			got.await(t, 1)
			s.empty(q)
			srv.Kill()
			must(t, stop()) // also without the server
		})
	}
}

// What it cannot settle in time is left to others.
func TestStopWithoutTheServer(t *testing.T) {
	t.Parallel()
	for _, ordered := range []bool{false, true} {
		t.Run(fmt.Sprint("ordered ", ordered), func(t *testing.T) {
			t.Parallel()
			s, db := standalone(t)
			proxy := testenv.NewProxy(t, testenv.Redis(t).Addr())
			q := s.queue(connect(t, options(proxy.Addr())), queue.Options{Ordered: ordered})
			near := s.queue(db, queue.Options{Ordered: ordered})
			for i := range 2 {
				m := msg(i)
				if ordered {
					m.Key = fmt.Sprint(i)
				}
				s.submit(near, m)
			}
			begun, cut, acked := make(chan struct{}, 2), make(chan struct{}), make(chan error, 1)
			stop := s.consume(q, queue.ConsumeOptions{StopTimeout: 50 * time.Millisecond}, func(_ context.Context, d *queue.Delivery) error {
				begun <- struct{}{}
				<-cut
				if d.ID == "id-0" {
					acked <- d.Ack(context.Background())
				}
				return nil
			})
			<-begun
			<-begun
			proxy.Cut()
			close(cut)
			must(t, stop())
			if err := <-acked; !errors.Is(err, queue.ErrLost) {
				t.Errorf("acknowledged without the server: %v", err)
			}
			if st, err := near.Stats(s.ctx); err != nil || st.Length != 2 || st.Pending != 2 {
				t.Errorf("%+v, %v", st, err)
			}
			proxy.Restore(t)
		})
	}
}

// What was read ahead may have been taken over before its handler begins.
func TestWhatWasTakenOverMeanwhileIsNotHandled(t *testing.T) {
	t.Parallel()
	s, db := standalone(t)
	q := s.queue(db, queue.Options{})
	const visibility = 8 * time.Second
	var got record
	var slow atomic.Bool
	taken := make(chan struct{})
	stop := s.consume(q, queue.ConsumeOptions{Concurrency: 1, Visibility: visibility}, func(_ context.Context, d *queue.Delivery) error {
		got.add(d.ID)
		if slow.Load() {
			<-taken
		}
		return nil
	})
	s.submit(q, msgs(300)...)
	got.await(t, 300)
	s.empty(q)
	slow.Store(true)
	s.submit(q, msg(300))
	got.await(t, 301)
	s.submit(q, msg(301))
	// It is read ahead; another consumer takes it, and this one's handler is free
	// after more than a quarter of the visibility timeout.
	testenv.Eventually(t, "it is read ahead", func() (bool, string) {
		st, err := q.Stats(s.ctx)
		return err == nil && st.Pending == 2, fmt.Sprint(st, err)
	})
	m, err := db.Do(s.ctx, db.B().Xrange().Key(s.keys.Stream()).Start("-").End("+").Build())
	must(t, err)
	entries, err := m.AsXRange()
	must(t, err)
	s.json(db, "XCLAIM", s.keys.Stream(), "consumers", "other", "0", entries[1].ID, "JUSTID")
	late := time.Now().Add(visibility * 26 / 100)
	testenv.Eventually(t, "a quarter of its time", func() (bool, string) { return time.Now().After(late), "" })
	close(taken)
	testenv.Eventually(t, "the first is done", func() (bool, string) {
		st, err := q.Stats(s.ctx)
		return err == nil && st.Length == 1, fmt.Sprint(st, err)
	})
	must(t, stop())
	if all := got.all(); len(all) != 301 {
		t.Errorf("handled %q", all[300:])
	}
}
