package queue_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/queue"
	"github.com/fullon/fulloncache/internal/testenv"
)

// keyed are n messages of so many keys, in turn.
func keyed(n, of int) []queue.Message {
	list := msgs(n)
	for i := range list {
		list[i].Key = fmt.Sprint("key-", i%of)
	}
	return list
}

// sameParty returns n keys of one partition.
func sameParty(n int) []string {
	var list []string
	for i := 0; len(list) < n; i++ {
		if k := fmt.Sprint("key-", i); queue.PartitionOf(k) == 5 {
			list = append(list, k)
		}
	}
	return list
}

// inOrder checks that the messages of a key were handled one after another: none
// after a later one, and each as often as its deliveries are numbered.
func inOrder(t testing.TB, handled []string) {
	t.Helper()
	last := map[string]int{}
	for i, line := range handled {
		var key string
		var n int
		if _, err := fmt.Sscanf(line, "%s id-%d", &key, &n); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if before, ok := last[key]; ok && n < before {
			t.Errorf("%d: %q after id-%d", i, line, before)
		}
		last[key] = n
	}
}

func TestPartitionOfAKeyIsForEver(t *testing.T) {
	t.Parallel()
	for key, want := range map[string]int{"BTC/USD": 15, "ETH/USD": 3, "": 5} {
		if got := queue.PartitionOf(key); got != want {
			t.Errorf("%q is in %d, not %d", key, got, want)
		}
	}
}

func TestOrderIsKeptThroughRedelivery(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{Ordered: true})
		n := 600
		if s.opt.InProcess {
			n = 150 // it is slow
		}
		s.submit(q, keyed(n, 7)...)
		var got record
		var stops []func() error
		for i := range 3 {
			stops = append(stops, s.consume(q, queue.ConsumeOptions{
				Name: fmt.Sprint("c", i), Lease: time.Second, Backoff: soon, MaxDeliveries: 1000,
			}, func(ctx context.Context, d *queue.Delivery) error {
				got.add(fmt.Sprint(d.Key, " ", d.ID, " ", d.Number))
				if d.Token == "" {
					s.Error("no token")
				}
				switch rand.IntN(10) {
				case 0:
					return errors.New("failed")
				case 1:
					return d.Nak(ctx, time.Duration(rand.IntN(3000))*time.Microsecond, nil)
				case 2:
					panic("broken")
				}
				return nil
			}))
		}
		s.empty(q)
		for _, stop := range stops {
			must(s, stop())
		}
		inOrder(s, got.all())
		first := 0
		for _, line := range got.all() {
			if strings.HasSuffix(line, " 1") {
				first++
			}
		}
		if first != n || len(got.all()) < n+n/12 {
			s.Errorf("%d first of %d deliveries", first, len(got.all()))
		}
	})
}

func TestANakBlocksItsKeyAlone(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{Ordered: true})
		keys := sameParty(2)
		var list []queue.Message
		for i, m := range msgs(200) {
			m.Key = keys[i%2]
			list = append(list, m)
		}
		s.submit(q, list...)
		var got record
		release := time.Now().Add(time.Hour)
		var mu sync.Mutex
		stop := s.consume(q, queue.ConsumeOptions{MaxDeliveries: 1000}, func(ctx context.Context, d *queue.Delivery) error {
			mu.Lock()
			defer mu.Unlock()
			if d.ID == "id-0" && time.Now().Before(release) {
				return d.Nak(ctx, 10*time.Millisecond, nil)
			}
			got.add(d.Key + " " + d.ID)
			return nil
		})
		for _, line := range got.await(s, 100) {
			if !strings.HasPrefix(line, keys[1]+" ") {
				s.Errorf("%q was not held up", line)
			}
		}
		mu.Lock()
		release = time.Time{}
		mu.Unlock()
		got.await(s, 200)
		s.empty(q)
		must(s, stop())
		inOrder(s, got.all())
	})
}

func TestOrderedDeadLetterLetsTheNextGo(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{Ordered: true})
		s.submit(q, keyed(3, 1)...)
		var got record
		stop := s.consume(q, queue.ConsumeOptions{MaxDeliveries: 2, Backoff: soon}, func(ctx context.Context, d *queue.Delivery) error {
			got.add(fmt.Sprint(d.ID, " ", d.Number))
			switch d.ID {
			case "id-0":
				return errors.New("bad")
			case "id-1":
				must(s, d.Extend(ctx))
				return d.Reject(ctx, "worse")
			}
			return nil
		})
		s.empty(q)
		must(s, stop())
		if all := got.all(); !slices.Equal(all, []string{"id-0 1", "id-0 2", "id-1 1", "id-2 1"}) {
			s.Errorf("%q", all)
		}
		letters, err := q.Dead(s.ctx, "", 10)
		must(s, err)
		if len(letters) != 2 || letters[0].Reason != "bad" || letters[0].Deliveries != 2 || letters[1].Reason != "worse" || letters[1].Key != "key-0" {
			s.Errorf("%+v", letters)
		}
	})
}

// holders returns how many partitions each consumer holds.
func (s *suite) holders(db *kv.Client) map[string]int {
	s.Helper()
	m, err := db.Do(s.ctx, db.B().Hgetall().Key(s.keys.Leases()).Build())
	must(s, err)
	fields, err := m.AsStrMap()
	must(s, err)
	held := map[string]int{}
	for name, value := range fields {
		if _, err := strconv.Atoi(name); err != nil {
			continue
		}
		if parts := strings.Fields(value); len(parts) == 4 {
			name, _, _ := strings.Cut(parts[3], "-")
			held[name]++
		}
	}
	return held
}

// noConsumers reports consumers that have a share in the partitions.
func (s *suite) noConsumers(db *kv.Client) {
	s.Helper()
	if all := s.json(db, "HGETALL", s.keys.Leases()); strings.Contains(all, "consumer:") {
		s.Errorf("consumers that have left have a share: %s", all)
	}
}

func TestPartitionsAreShared(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{Ordered: true})
		var got record
		h := func(_ context.Context, d *queue.Delivery) error {
			got.add(d.Key + " " + d.ID)
			return nil
		}
		lease := 600 * time.Millisecond
		if s.opt.InProcess {
			lease *= 5 // it is slow
		}
		opt := func(name string) queue.ConsumeOptions {
			return queue.ConsumeOptions{Name: name, Lease: lease, Poll: 20 * time.Millisecond}
		}
		await := func(want map[string]int) {
			s.Helper()
			testenv.Eventually(s, fmt.Sprint("shares ", want), func() (bool, string) {
				held := s.holders(db)
				return fmt.Sprint(held) == fmt.Sprint(want), fmt.Sprint(held)
			})
		}
		first := s.consume(q, opt("a"), h)
		await(map[string]int{"a": 16})
		was := s.do(db, "HGET", s.keys.Leases(), "7")
		testenv.Eventually(s, "a renewal", func() (bool, string) {
			is := s.do(db, "HGET", s.keys.Leases(), "7")
			// The same token, until later: "token until kind consumer".
			a, b := strings.Fields(was), strings.Fields(is)
			return len(a) == 4 && len(b) == 4 && a[0] == b[0] && a[1] < b[1] && a[3] == b[3], was + " became " + is
		})
		list := keyed(300, 40)
		s.submit(q, list[:100]...)
		second := s.consume(q, opt("b"), h)
		s.submit(q, list[100:200]...)
		await(map[string]int{"a": 8, "b": 8})
		third := s.consume(q, opt("c"), h)
		testenv.Eventually(s, "a share for each", func() (bool, string) {
			held := s.holders(db)
			return len(held) == 3 && held["a"] <= 6 && held["b"] <= 6 && held["c"] <= 6 && held["a"]+held["b"]+held["c"] == 16, fmt.Sprint(held)
		})
		must(s, first())
		s.submit(q, list[200:]...)
		await(map[string]int{"b": 8, "c": 8})
		must(s, third())
		await(map[string]int{"b": 16})
		got.await(s, 300)
		s.empty(q)
		must(s, second())
		if held := s.holders(db); len(held) != 0 {
			s.Errorf("held after all have left: %v", held)
		}
		s.noConsumers(db)
		inOrder(s, got.all())
		if len(got.all()) != 300 {
			s.Errorf("%d deliveries", len(got.all()))
		}
		if lost := s.log.of("lease"); len(lost) != 0 {
			s.Errorf("%q", lost)
		}
	})
}

func TestWhoLosesItsLeaseIsFencedOff(t *testing.T) {
	t.Parallel()
	s, db := standalone(t)
	proxy := testenv.NewProxy(t, testenv.Redis(t).Addr())
	far := s.queue(connect(t, options(proxy.Addr())), queue.Options{Ordered: true})
	q := s.queue(db, queue.Options{Ordered: true, OnEvent: func(queue.Event, string, error) {}})
	s.submit(q, keyed(3, 1)...)
	opt := queue.ConsumeOptions{Lease: 1500 * time.Millisecond, Poll: 20 * time.Millisecond}
	begun, cause, goOn, acked := make(chan string, 1), make(chan error, 1), make(chan struct{}), make(chan error, 1)
	stop := s.consume(far, opt, func(ctx context.Context, d *queue.Delivery) error {
		if d.Number > 1 {
			t.Errorf("%s %d", d.ID, d.Number)
		}
		begun <- d.Token
		<-ctx.Done()
		cause <- context.Cause(ctx)
		<-goOn
		acked <- d.Ack(s.ctx)
		return nil
	})
	token := <-begun
	proxy.Stall()
	if err := <-cause; !errors.Is(err, queue.ErrLost) {
		t.Errorf("the context's cause: %v", err)
	}
	var got record
	second := s.consume(q, opt, func(_ context.Context, d *queue.Delivery) error {
		// The token never goes back, and has as many digits for some centuries.
		if d.Token <= token {
			t.Errorf("token %s after %s", d.Token, token)
		}
		got.add(fmt.Sprint(d.Key, " ", d.ID, " ", d.Number))
		return nil
	})
	if all := got.await(t, 3); !slices.Equal(all, []string{"key-0 id-0 2", "key-0 id-1 1", "key-0 id-2 1"}) {
		t.Errorf("%q", all)
	}
	proxy.Flow()
	close(goOn)
	if err := <-acked; !errors.Is(err, queue.ErrLost) {
		t.Errorf("acknowledged under a lost lease: %v", err)
	}
	s.empty(q)
	must(t, second())
	must(t, stop())
	if len(s.log.of("lease")) == 0 {
		t.Error("nothing tells that the lease was lost")
	}
}

// What the server decides counts, also for who does not know yet.
func TestATokenThatIsNotTheLeasesIsRefused(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{Ordered: true})
		list := keyed(2, 1)
		s.submit(q, list...)
		p := queue.PartitionOf("key-0")
		verbs := []func(ctx context.Context, d *queue.Delivery) error{
			func(ctx context.Context, d *queue.Delivery) error { return d.Ack(ctx) },
			func(ctx context.Context, d *queue.Delivery) error { return d.Nak(ctx, 0, nil) },
			func(ctx context.Context, d *queue.Delivery) error { return d.Reject(ctx, "no") },
			func(ctx context.Context, d *queue.Delivery) error { return d.Extend(ctx) },
			func(ctx context.Context, d *queue.Delivery) error { <-ctx.Done(); return d.Ack(ctx) }, // the renewal finds out
		}
		var got record
		stop := s.consume(q, queue.ConsumeOptions{MaxDeliveries: 100, Lease: time.Second, Poll: 20 * time.Millisecond}, func(ctx context.Context, d *queue.Delivery) error {
			n := len(got.all())
			got.add(fmt.Sprint(d.Key, " ", d.ID, " ", d.Number))
			if n < len(verbs) {
				// Somebody else takes the lease, and is gone at once.
				s.do(db, "HSET", s.keys.Leases(), strconv.Itoa(p), "1 0 crashed other")
				if err := verbs[n](ctx, d); !errors.Is(err, queue.ErrLost) {
					s.Errorf("verb %d: %v", n, err)
				}
			}
			return nil
		})
		all := got.await(s, len(verbs)+2)
		s.empty(q)
		must(s, stop())
		inOrder(s, all)
		if want := fmt.Sprintf("key-0 id-0 %d", len(verbs)+1); all[len(verbs)] != want {
			s.Errorf("%q, want %q as the last of the first", all, want)
		}
	})
}

func TestTokensNeverGoBack(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{Ordered: true})
		last := int64(0)
		for i, spoil := range []func(){
			func() {},
			func() { s.do(db, "DEL", s.keys.Leases()) },
			func() {
				s.do(db, "HSET", s.keys.Leases(), "token", "9007199254740000", "0", "garbage", "1", "1 x crashed y", "consumer:x", "y")
			},
			func() {},
			func() { s.do(db, "HSET", s.keys.Leases(), "token", "99999999999999999999") },
			func() { s.do(db, "HSET", s.keys.Leases(), "token", "-5") },
		} {
			spoil()
			tokens := make(chan string, 1)
			m := queue.Message{ID: fmt.Sprint(i), Key: "k"}
			s.submit(q, m)
			stop := s.consume(q, queue.ConsumeOptions{}, func(_ context.Context, d *queue.Delivery) error {
				tokens <- d.Token
				return nil
			})
			var text string
			select {
			case text = <-tokens:
			case <-time.After(testenv.Patience):
				s.Fatalf("%d: no delivery: %v, %q", i, stop(), s.json(db, "HGETALL", s.keys.Leases()))
			}
			token, err := strconv.ParseInt(text, 10, 64)
			must(s, err)
			switch i {
			case 2:
				last = 9007199254740000
			case 4:
				last = 0 // what was there is no token
			}
			if token <= last || token < time.Now().Add(-time.Minute).UnixMicro() {
				s.Errorf("%d: token %d after %d", i, token, last)
			}
			last = token
			s.empty(q)
			must(s, stop())
			s.noConsumers(db)
		}
	})
}

func TestAHandlerThatHangsLosesItsPartition(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{Ordered: true})
		s.submit(q, keyed(2, 1)...)
		release := make(chan struct{})
		var got record
		acked := make(chan error, 1)
		var mu sync.Mutex
		begun := map[int]time.Time{}
		opt := queue.ConsumeOptions{Visibility: time.Second, Poll: 20 * time.Millisecond, Concurrency: 2, Lease: 2 * time.Second}
		stop := s.consume(q, opt, func(ctx context.Context, d *queue.Delivery) error {
			mu.Lock()
			if d.ID == "id-0" {
				begun[d.Number] = time.Now()
			}
			mu.Unlock()
			got.add(fmt.Sprint(d.Key, " ", d.ID, " ", d.Number))
			if d.Number == 1 && d.ID == "id-0" {
				<-ctx.Done()
				<-release
				acked <- d.Ack(s.ctx)
			}
			return nil
		})
		if all := got.await(s, 3); !slices.Equal(all, []string{"key-0 id-0 1", "key-0 id-0 2", "key-0 id-1 1"}) {
			s.Errorf("%q", all)
		}
		s.empty(q)
		// It has its time, as long again until its lease is given up, and once more until
		// its message is handled beside it.
		if waited := begun[2].Sub(begun[1]); waited < 2500*time.Millisecond {
			s.Errorf("delivered anew after %s", waited)
		}
		close(release)
		if err := <-acked; !errors.Is(err, queue.ErrLost) {
			s.Errorf("%v", err)
		}
		must(s, stop())
	})
}

// In an ordered queue a late handler has the message for as long as the lease is
// held: its context ends, and what it says counts.
func TestALateHandlerOfAnOrderedQueueIsWaitedFor(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{Ordered: true})
		s.submit(q, keyed(2, 1)...)
		var got record
		opt := queue.ConsumeOptions{Visibility: 200 * time.Millisecond, Poll: 20 * time.Millisecond}
		stop := s.consume(q, opt, func(ctx context.Context, d *queue.Delivery) error {
			got.add(fmt.Sprint(d.ID, " ", d.Number))
			if d.ID == "id-0" {
				<-ctx.Done()
				if !errors.Is(context.Cause(ctx), queue.ErrLost) {
					s.Errorf("%v", context.Cause(ctx))
				}
			}
			return nil
		})
		s.empty(q)
		must(s, stop())
		if all := got.all(); !slices.Equal(all, []string{"id-0 1", "id-1 1"}) {
			s.Errorf("%q", all)
		}
	})
}

// A consumer that dies again and again over one message ends with it among the
// dead letters; what waits behind it is untouched.
func TestWhatKillsItsConsumersIsADeadLetter(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{Ordered: true})
		keys := sameParty(2)
		for i := range 300 {
			s.submit(q, queue.Message{ID: fmt.Sprint("id-", i), Key: keys[0]})
		}
		// What the holder was given, as a consumer leaves it that dies three times.
		stream := s.keys.Partition(5)
		s.do(db, "XGROUP CREATE", stream, "consumers", "0")
		s.do(db, "XREADGROUP GROUP consumers holder COUNT 200 STREAMS", stream, ">")
		var got record
		die := func() { s.do(db, "HSET", s.keys.Leases(), "5", "1 0 crashed other-x") }
		die()
		stop := s.consume(q, queue.ConsumeOptions{MaxDeliveries: 3}, func(ctx context.Context, d *queue.Delivery) error {
			got.add(fmt.Sprint(d.ID, " ", d.Number))
			die()
			if err := d.Ack(ctx); !errors.Is(err, queue.ErrLost) {
				s.Errorf("%v", err)
			}
			return nil
		})
		testenv.Eventually(s, "a dead letter", func() (bool, string) {
			letters, err := q.Dead(s.ctx, "", 10)
			must(s, err)
			return len(letters) >= 1 && letters[0].ID == "id-0" && letters[0].Reason == "delivered 3 times, the last time to a consumer that died", fmt.Sprint(letters)
		})
		must(s, stop())
		if all := got.all(); !slices.Equal(all[:2], []string{"id-0 2", "id-0 3"}) {
			s.Errorf("%q", all)
		}
		var rest record
		stop = s.consume(q, queue.ConsumeOptions{}, func(_ context.Context, d *queue.Delivery) error {
			rest.add(fmt.Sprint(d.Key, " ", d.ID, " ", d.Number))
			return nil
		})
		s.empty(q)
		must(s, stop())
		inOrder(s, rest.all())
	})
}

func TestWhatIsBlockedIsReadAheadWithinBounds(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{Ordered: true})
		n, pause := 3000, 20*time.Millisecond
		if s.opt.InProcess {
			n, pause = 1500, time.Second // it is slow
		}
		s.submit(q, keyed(n, 1)...)
		var got record
		var free atomic.Bool
		stop := s.consume(q, queue.ConsumeOptions{Concurrency: 1, MaxDeliveries: 1 << 30}, func(ctx context.Context, d *queue.Delivery) error {
			if !free.Load() {
				return d.Nak(ctx, pause, nil)
			}
			got.add(d.Key + " " + d.ID)
			return nil
		})
		testenv.Eventually(s, "it reads ahead", func() (bool, string) {
			st, err := q.Stats(s.ctx)
			return err == nil && st.Pending >= 1000, fmt.Sprint(st, err)
		})
		if st, err := q.Stats(s.ctx); err != nil || st.Pending > 2500 {
			s.Errorf("%+v, %v", st, err)
		}
		if s.opt.InProcess {
			must(s, stop())
			return // handling them all takes it half a minute
		}
		free.Store(true)
		s.empty(q)
		must(s, stop())
		inOrder(s, got.all())
		if len(got.all()) != n {
			s.Errorf("%d deliveries", len(got.all()))
		}
	})
}

// steal makes another the holder of a partition, as the server sees it.
func (s *suite) steal(db *kv.Client, key string, until time.Time) {
	s.Helper()
	s.do(db, "HSET", s.keys.Leases(), strconv.Itoa(queue.PartitionOf(key)), fmt.Sprintf("1 %d clean other-x", until.UnixMicro()))
}

func TestTheRenewalTellsThatALeaseIsLost(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		for name, lasts := range map[string]time.Duration{
			"is free again": -time.Hour, // so that the consumer takes it anew
			"is another's":  time.Second,
		} {
			s.keys, s.log = s.space.OrderQueue(name), &journal{}
			q := s.queue(db, queue.Options{Ordered: true})
			s.submit(q, queue.Message{ID: "1", Key: "k"})
			var got record
			stop := s.consume(q, queue.ConsumeOptions{Poll: 3 * time.Second, Lease: 1500 * time.Millisecond}, func(ctx context.Context, d *queue.Delivery) error {
				got.add(fmt.Sprint(d.ID, d.Number))
				if d.Number == 1 {
					// The reader waits for news meanwhile, and asks nothing.
					testenv.Eventually(s, "it is read", func() (bool, string) {
						st, err := q.Stats(ctx)
						return err == nil && st.Pending == 1, fmt.Sprint(st, err)
					})
					s.steal(db, "k", time.Now().Add(lasts))
					<-ctx.Done()
					if !errors.Is(context.Cause(ctx), queue.ErrLost) {
						s.Errorf("%s: %v", name, context.Cause(ctx))
					}
				}
				return nil
			})
			if all := got.await(s, 2); all[1] != "12" && all[1] != "11" {
				s.Errorf("%s: %q", name, all)
			}
			s.empty(q)
			must(s, stop())
			if lost := s.log.of("lease"); !slices.Contains(lost, "lease "+strconv.Itoa(queue.PartitionOf("k"))) {
				s.Errorf("%s: %q", name, lost)
			}
		}
	})
}

// An answer that comes after the lease's end renews nothing.
func TestARenewalThatIsAnsweredLateIsNone(t *testing.T) {
	t.Parallel()
	s, db := standalone(t)
	proxy := testenv.NewProxy(t, testenv.Redis(t).Addr())
	far, q := s.queue(connect(t, options(proxy.Addr())), queue.Options{Ordered: true}), s.queue(db, queue.Options{Ordered: true})
	var got record
	tokens := make(chan string, 2)
	stop := s.consume(far, queue.ConsumeOptions{Lease: 400 * time.Millisecond, Poll: 50 * time.Millisecond}, func(_ context.Context, d *queue.Delivery) error {
		tokens <- d.Token
		got.add(d.ID)
		return nil
	})
	s.submit(q, queue.Message{ID: "1", Key: "k"})
	got.await(t, 1)
	s.empty(q)
	proxy.Slow(900 * time.Millisecond)
	testenv.Eventually(t, "loss", func() (bool, string) { return len(s.log.of("lease")) >= 16, "" })
	lost := time.Now().Add(900 * time.Millisecond)
	testenv.Eventually(t, "the answer", func() (bool, string) { return time.Now().After(lost), "" })
	proxy.Slow(0)
	s.submit(q, queue.Message{ID: "2", Key: "k"})
	got.await(t, 2)
	if a, b := <-tokens, <-tokens; b <= a {
		t.Errorf("token %s after %s", b, a)
	}
	s.empty(q)
	must(t, stop())
}

// What waits to be settled when the lease is lost is handled by the next holder.
func TestWhatIsUnsettledWhenTheLeaseIsLost(t *testing.T) {
	t.Parallel()
	s, db := standalone(t)
	proxy := testenv.NewProxy(t, testenv.Redis(t).Addr())
	far, q := s.queue(connect(t, options(proxy.Addr())), queue.Options{Ordered: true}), s.queue(db, queue.Options{Ordered: true})
	var got record
	begun, stalled := make(chan struct{}, 1), make(chan struct{})
	h := func(_ context.Context, d *queue.Delivery) error {
		got.add(fmt.Sprint(d.Key, " ", d.ID, " ", d.Number))
		if d.ID == "id-0" && d.Number == 1 {
			begun <- struct{}{}
			<-stalled
		}
		return nil
	}
	opt := queue.ConsumeOptions{Lease: 1500 * time.Millisecond, Poll: 50 * time.Millisecond}
	stop := s.consume(far, opt, h)
	s.submit(q, keyed(3, 1)...)
	<-begun
	proxy.Stall()
	close(stalled)
	testenv.Eventually(t, "loss", func() (bool, string) { return len(s.log.of("lease")) >= 16, "" })
	second := s.consume(q, opt, h)
	got.await(t, 4)
	s.empty(q)
	proxy.Flow()
	must(t, second())
	must(t, stop())
	if all := got.all(); !slices.Equal(all, []string{"key-0 id-0 1", "key-0 id-0 2", "key-0 id-1 1", "key-0 id-2 1"}) {
		t.Errorf("%q", all)
	}
}

// The count of a crash's delivery is written before anything is handled.
func TestACrashIsCountedBeforeAnythingIsHandled(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		for _, end := range []string{"stopped", "stolen"} {
			s.keys, s.log = s.space.OrderQueue(end), &journal{}
			q := s.queue(db, queue.Options{Ordered: true})
			s.submit(q, queue.Message{ID: "1", Key: "k"}, queue.Message{ID: "2", Key: "k"})
			stream := s.keys.Partition(queue.PartitionOf("k"))
			s.do(db, "XGROUP CREATE", stream, "consumers", "0")
			s.do(db, "XREADGROUP GROUP consumers holder COUNT 1 STREAMS", stream, ">")
			s.do(db, "HSET", s.keys.Leases(), strconv.Itoa(queue.PartitionOf("k")), "1 0 crashed other-x")
			s.do(db, "SET", s.keys.Dead(), "x") // it cannot be made a dead letter
			var got record
			stop := s.consume(q, queue.ConsumeOptions{MaxDeliveries: 1, Poll: 20 * time.Millisecond, StopTimeout: 100 * time.Millisecond}, func(_ context.Context, d *queue.Delivery) error {
				got.add(d.ID)
				return nil
			})
			testenv.Eventually(s, "failure", func() (bool, string) { return len(s.log.of("settle")) > 1, fmt.Sprint(got.all()) })
			if end == "stolen" {
				s.steal(db, "k", time.Now().Add(500*time.Millisecond))
				testenv.Eventually(s, "loss", func() (bool, string) { return len(s.log.of("lease")) > 0, "" })
			} else {
				must(s, stop())
			}
			if all := got.all(); len(all) != 0 {
				s.Errorf("%s: handled %q", end, all)
			}
			s.do(db, "DEL", s.keys.Dead())
			if end == "stolen" {
				// The thief did not give it back: what it may have begun was delivered.
				s.empty(q)
				must(s, stop())
				letters, err := q.Dead(s.ctx, "", 10)
				must(s, err)
				if all := got.all(); len(letters) != 1 || letters[0].ID != "1" || !slices.Equal(all, []string{"2"}) {
					s.Errorf("%+v, handled %q", letters, all)
				}
			}
		}
	})
}

// Ids that foreign hands made are read on from.
func TestTheGreatestIdsAreReadOnFrom(t *testing.T) {
	t.Parallel()
	s, db := standalone(t)
	q := s.queue(db, queue.Options{Ordered: true})
	stream := s.keys.Partition(queue.PartitionOf("k"))
	for i, id := range []string{"5-18446744073709551615", "6-0", "6-18446744073709551615"} {
		s.do(db, "XADD", stream, id, "id", fmt.Sprint("id-", i), "key", "k", "body", "x")
	}
	var got record
	stop := s.consume(q, queue.ConsumeOptions{Poll: 20 * time.Millisecond}, func(_ context.Context, d *queue.Delivery) error {
		got.add(d.Key + " " + d.ID)
		return nil
	})
	got.await(t, 3)
	s.submit(q, queue.Message{ID: "id-3", Key: "k"})
	got.await(t, 4)
	s.empty(q)
	must(t, stop())
	inOrder(t, got.all())
}

// What an operator has deleted from a partition, though its holder before was given
// it, holds up nothing.
func TestWhatWasDeletedHoldsUpNothing(t *testing.T) {
	t.Parallel()
	s, db := standalone(t)
	q := s.queue(db, queue.Options{Ordered: true})
	list := keyed(3, 1)
	s.submit(q, list...)
	stream := s.keys.Partition(queue.PartitionOf(list[0].Key))
	s.do(db, "XDEL", stream, s.given(db, stream, "holder", 2)[0])
	var got record
	s.consume(q, queue.ConsumeOptions{}, func(_ context.Context, d *queue.Delivery) error {
		got.add(d.ID)
		return nil
	})
	if all := got.await(t, 2); !slices.Equal(all, []string{list[1].ID, list[2].ID}) {
		t.Errorf("%q", all)
	}
	s.empty(q)
}

// What foreign hands have read of a partition, nobody is given any more. Whoever serves
// the partition sees that something is there, again and again, but not without pause.
func TestWhatCannotBeReadIsAskedForWithPauses(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	s := newSuite(t, options(srv.Addr()))
	db := connect(t, s.opt)
	q := s.queue(db, queue.Options{Ordered: true})
	s.submit(q, keyed(1, 1)...)
	s.given(db, s.keys.Partition(queue.PartitionOf("key-0")), "foreign", 1)
	const poll = 50 * time.Millisecond
	begun := time.Now()
	s.consume(q, queue.ConsumeOptions{Poll: poll}, func(_ context.Context, d *queue.Delivery) error {
		t.Errorf("given %s", d.ID)
		return nil
	})
	asked := 0
	testenv.Eventually(t, "it asks", func() (bool, string) {
		asked = srv.Counts(t)["xread"]
		return asked >= 10, fmt.Sprint(asked)
	})
	if polls := int(time.Since(begun) / poll); asked > polls+2 {
		t.Errorf("asked %d times in the time of %d polls", asked, polls)
	}
}

// A server that comes back with older data, as after a failover, has forgotten
// acknowledgements: what is pending again is handled again, in order, although
// its consumer was never away.
func TestForgottenAcknowledgementsAreNoticed(t *testing.T) {
	t.Parallel()
	for _, m := range modes[:2] {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			s := newSuite(t, m.opt(t))
			db := connect(t, s.opt)
			q := s.queue(db, queue.Options{Ordered: true})
			stream := s.keys.Partition(queue.PartitionOf("key-0"))
			var got record
			var before atomic.Value
			stop := s.consume(q, queue.ConsumeOptions{Visibility: 400 * time.Millisecond, Poll: 20 * time.Millisecond}, func(_ context.Context, d *queue.Delivery) error {
				if d.ID == "id-1" && before.Load() == nil {
					before.Store(s.do(db, "DUMP", stream))
				}
				got.add(fmt.Sprint(d.Key, " ", d.ID, " ", d.Number))
				return nil
			})
			s.submit(q, keyed(4, 1)...)
			got.await(t, 4)
			s.empty(q)
			s.do(db, "RESTORE", stream, "0", before.Load().(string), "REPLACE")
			all := got.await(t, 7)
			s.empty(q)
			must(t, stop())
			if !slices.Equal(all[4:], []string{"key-0 id-1 2", "key-0 id-2 1", "key-0 id-3 1"}) {
				t.Errorf("%q", all[4:])
			}
		})
	}
}
