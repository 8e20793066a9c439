package queue_test

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/queue"
	"github.com/fullon/fulloncache/internal/testenv"
)

// body is an order of the usual size.
var body = strings.Repeat(`{"price":"50000.12","volume":"0.5"},`, 8)

func benchQueue(b *testing.B) (*queue.Queue, *kv.Client, keys.Queue) {
	db := connect(b, options(testenv.Redis(b).Addr()))
	names := keys.New(testenv.Prefix(b), 0, false).OrderQueue("kraken")
	q, err := queue.New(db, names, queue.Options{Cap: 1 << 30})
	must(b, err)
	return q, db, names
}

func BenchmarkSubmit(b *testing.B) {
	q, _, _ := benchQueue(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := q.Submit(b.Context(), queue.Message{ID: strconv.Itoa(i), Body: body}, queue.Demands{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSubmitMany100(b *testing.B) {
	q, _, _ := benchQueue(b)
	list := make([]queue.Message, 100)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		for j := range list {
			n++
			list[j] = queue.Message{ID: strconv.Itoa(n), Body: body}
		}
		if _, err := q.SubmitMany(b.Context(), list, queue.Demands{}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n), "ns/message")
}

// BenchmarkConsumeAck handles and acknowledges what was submitted before.
func BenchmarkConsumeAck(b *testing.B) {
	q, _, _ := benchQueue(b)
	list := make([]queue.Message, b.N)
	for i := range list {
		list[i] = queue.Message{ID: strconv.Itoa(i), Body: body}
	}
	_, err := q.SubmitMany(b.Context(), list, queue.Demands{})
	must(b, err)
	b.ReportAllocs()
	b.ResetTimer()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var n atomic.Int64
	must(b, q.Consume(ctx, queue.ConsumeOptions{}, func(context.Context, *queue.Delivery) error {
		if n.Add(1) == int64(b.N) {
			cancel()
		}
		return nil
	}))
}

// flow is one way to submit and to consume.
type flow struct {
	// submit adds b.N messages in batches, consume ends when all are acknowledged.
	submit  func(ctx context.Context, first, n int) error
	consume func(ctx context.Context, one func()) error
}

// BenchmarkThroughput is 8 producers and 8 consumers, at the same batch size, by
// this package and by hand with scripts that do the same.
func BenchmarkThroughput(b *testing.B) {
	const workers, batch = 8, 100
	for _, name := range []string{"queue", "by-hand"} {
		b.Run(name, func(b *testing.B) {
			q, _, names := benchQueue(b)
			f := flow{
				submit: func(ctx context.Context, first, n int) error {
					list := make([]queue.Message, n)
					for i := range list {
						list[i] = queue.Message{ID: strconv.Itoa(first + i), Body: body}
					}
					_, err := q.SubmitMany(ctx, list, queue.Demands{})
					return err
				},
				consume: func(ctx context.Context, one func()) error {
					return q.Consume(ctx, queue.ConsumeOptions{Concurrency: 1, Batch: batch}, func(context.Context, *queue.Delivery) error {
						one()
						return nil
					})
				},
			}
			if name == "by-hand" {
				f = byHand(b, names, batch)
			}
			b.ReportAllocs()
			b.ResetTimer()
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			var handled atomic.Int64
			begun, took := time.Now(), time.Duration(0) // stopping is not counted
			var wg sync.WaitGroup
			var next atomic.Int64
			for range workers {
				wg.Go(func() {
					for {
						first := int(next.Add(batch)) - batch
						if first >= b.N {
							return
						}
						if err := f.submit(b.Context(), first, min(batch, b.N-first)); err != nil {
							b.Error(err)
							return
						}
					}
				})
				wg.Go(func() {
					err := f.consume(ctx, func() {
						if handled.Add(1) == int64(b.N) {
							took = time.Since(begun)
							cancel()
						}
					})
					if err != nil {
						b.Error(err)
					}
				})
			}
			wg.Wait()
			b.ReportMetric(float64(b.N)/took.Seconds(), "messages/s")
		})
	}
}

var handSubmit = rueidis.NewLuaScript(`#!lua
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local length = redis.call('XLEN', KEYS[1])
local added = 0
local ends = string.format('%.0f', now + 600000000)
for i = 2, #ARGV, 2 do
  if length < tonumber(ARGV[1]) and redis.call('ZADD', KEYS[2], 'NX', ends, ARGV[i]) == 1 then
    redis.call('XADD', KEYS[1], '*', 'id', ARGV[i], 'body', ARGV[i + 1])
    length = length + 1
    added = added + 1
  end
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
return added`)

var handAck = rueidis.NewLuaScript(`#!lua
redis.call('XACK', KEYS[1], 'consumers', unpack(ARGV))
return redis.call('XDEL', KEYS[1], unpack(ARGV))`)

// byHand is what one would write with rueidis.
func byHand(b *testing.B, names keys.Queue, batch int) flow {
	db, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{testenv.Redis(b).Addr()}, DisableCache: true})
	must(b, err)
	b.Cleanup(db.Close)
	stream := names.Stream() + "-by-hand"
	must(b, db.Do(b.Context(), db.B().XgroupCreate().Key(stream).Group("consumers").Id("0").Mkstream().Build()).Error())
	var consumers atomic.Int64
	return flow{
		submit: func(ctx context.Context, first, n int) error {
			args := []string{"1000000000"}
			for i := range n {
				args = append(args, strconv.Itoa(first+i), body)
			}
			return handSubmit.Exec(ctx, db, []string{stream, stream + ":seen"}, args).Error()
		},
		consume: func(ctx context.Context, one func()) error {
			name := fmt.Sprint("c", consumers.Add(1))
			for ctx.Err() == nil {
				got, err := db.Do(context.Background(), db.B().Xreadgroup().Group("consumers", name).Count(int64(batch)).Block(50).Streams().Key(stream).Id(">").Build()).AsXRead()
				if rueidis.IsRedisNil(err) {
					continue
				}
				if err != nil {
					return err
				}
				var ids []string
				for _, e := range got[stream] {
					_ = queue.Message{ID: e.FieldValues["id"], Body: e.FieldValues["body"]}
					one()
					ids = append(ids, e.ID)
				}
				if err := handAck.Exec(context.Background(), db, []string{stream}, ids).Error(); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
