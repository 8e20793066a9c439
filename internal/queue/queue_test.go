package queue_test

import (
	"context"
	"slices"
	"testing"

	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/queue"
)

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
		if len(slices.Compact(all)) != 1000 {
			s.Errorf("%d deliveries of %d messages", len(got.all()), len(slices.Compact(all)))
		}
	})
}

func TestOrderedQueueKeepsTheOrderOfAKey(t *testing.T) {
	conformance(t, func(s *suite, db *kv.Client) {
		q := s.queue(db, queue.Options{Ordered: true})
		var list []queue.Message
		for i := range 500 {
			m := msg(i)
			m.Key = []string{"BTC/USD", "ETH/USD", "SOL/USD"}[i%3]
			list = append(list, m)
		}
		s.submit(q, list...)
		var got record
		stop := s.consume(q, queue.ConsumeOptions{}, func(_ context.Context, d *queue.Delivery) error {
			got.add(d.Key + d.ID)
			return nil
		})
		got.await(s, 500)
		s.empty(q)
		must(s, stop())
	})
}
