package queue_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/queue"
)

// bury makes dead letters of messages.
func (s *suite) bury(q *queue.Queue, list ...queue.Message) []queue.Letter {
	s.Helper()
	s.submit(q, list...)
	stop := s.consume(q, queue.ConsumeOptions{Concurrency: 1}, func(ctx context.Context, d *queue.Delivery) error {
		return d.Reject(ctx, "no "+d.ID)
	})
	s.empty(q)
	must(s, stop())
	letters, err := q.Dead(s.ctx, "", 1000)
	must(s, err)
	return letters
}

func TestDeadLettersAreListedRequeuedAndPurged(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		for _, ordered := range []bool{false, true} {
			s.keys = s.space.OrderQueue(fmt.Sprint("dead", ordered))
			q := s.queue(db, queue.Options{Ordered: ordered, Cap: 7})
			var list []queue.Message
			for i := range 7 {
				m := msg(i)
				if ordered {
					m.Key = "k"
				}
				list = append(list, m)
			}
			letters := s.bury(q, list...)
			if len(letters) != 7 {
				s.Fatalf("%+v", letters)
			}
			for i, l := range letters {
				if l.Message != list[i] || l.Reason != "no "+l.ID || l.Deliveries != 1 || l.Entry == "" || l.Time.IsZero() || l.Fields["body"] != l.Body {
					s.Errorf("%+v", l)
				}
			}
			page, err := q.Dead(s.ctx, letters[2].Letter, 2)
			must(s, err)
			if len(page) != 2 || page[0].ID != "id-3" || page[1].ID != "id-4" {
				s.Errorf("%+v", page)
			}
			if n, err := q.Purge(s.ctx, letters[6].Letter, "1-1"); n != 1 || err != nil {
				s.Errorf("purged %d, %v", n, err)
			}
			if n, err := q.Requeue(s.ctx, letters[0].Letter, letters[3].Letter, letters[6].Letter, "1-1"); n != 2 || err != nil {
				s.Errorf("requeued %d, %v", n, err)
			}
			// They are delivered like new ones, although their ids are known.
			var got record
			stop := s.consume(q, queue.ConsumeOptions{Concurrency: 1}, func(_ context.Context, d *queue.Delivery) error {
				got.add(fmt.Sprint(d.ID, d.Key, d.Body, d.Number))
				return nil
			})
			s.empty(q)
			must(s, stop())
			if all := got.all(); !slices.Equal(all, []string{"id-0" + list[0].Key + "body 01", "id-3" + list[0].Key + "body 31"}) {
				s.Errorf("%q", all)
			}
			// A full queue takes as many as it has room for.
			for i := range 5 {
				m := list[0]
				m.ID = fmt.Sprint("new", i)
				s.submit(q, m)
			}
			n, err := q.Requeue(s.ctx, letters[1].Letter, letters[2].Letter, letters[4].Letter)
			if n != 2 || !errors.Is(err, queue.ErrFull) || !strings.Contains(err.Error(), letters[4].Letter) {
				s.Errorf("requeued %d, %v", n, err)
			}
			if st, err := q.Stats(s.ctx); err != nil || st.Length != 7 || st.Dead != 2 {
				s.Errorf("%+v, %v", st, err)
			}
			other, err := queue.New(db, s.keys, queue.Options{Ordered: !ordered})
			must(s, err)
			if n, err := other.Requeue(s.ctx, letters[4].Letter); n != 0 || !errors.Is(err, queue.ErrInvalid) {
				s.Errorf("requeued %d, %v", n, err)
			}
			// What is none of ours.
			s.do(db, "XADD", s.keys.Dead(), "9999999999999-1", "foo", "bar")
			page, err = q.Dead(s.ctx, "9999999999998", 10)
			must(s, err)
			if len(page) != 1 || page[0].Reason != "" || page[0].Fields["foo"] != "bar" {
				s.Errorf("%+v", page)
			}
			if n, err := q.Requeue(s.ctx, page[0].Letter); n != 0 || !errors.Is(err, queue.ErrInvalid) {
				s.Errorf("requeued %d, %v", n, err)
			}
		}
	})
}

func TestDeadLettersAreCapped(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{DeadCap: 3})
		letters := s.bury(q, msgs(5)...)
		if len(letters) != 3 || letters[0].ID != "id-2" {
			s.Errorf("%+v", letters)
		}
		if got := s.log.of("dropped"); !slices.Equal(got, []string{"dropped 1", "dropped 1"}) {
			s.Errorf("%q", got)
		}
	})
}
