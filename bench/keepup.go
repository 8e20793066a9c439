package main

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache"
)

const (
	keepUpSymbols = 2000
	keepUpRate    = 50_000 // updates per second
	keepUpBatch   = 1000   // at most that many at once
	// A mirror that keeps up shows an update soon after it was sent, all the time:
	// one that does not is further behind with every second.
	keepUpLag = 250 * time.Millisecond
)

// keepUp: a mirror of 2,000 symbols under 50,000 updates per second.
func keepUp(b *bench) error {
	var cuts atomic.Int64
	hooks := fulloncache.Hooks{Event: func(e fulloncache.Event) {
		if e.Kind == fulloncache.EventFeedDisconnected {
			cuts.Add(1)
		}
	}}
	full, err := keepUpRun(b, "keepup", hooks, func(c *fulloncache.Client, _ []fulloncache.Market) func([]fulloncache.Tick) error {
		return func(ticks []fulloncache.Tick) error { return c.Ticks.SetMany(b.ctx, ticks) }
	})
	if err != nil {
		return err
	}
	// Writers, server and mirror share this machine's cores: whether the writers
	// get to the rate is not the mirror's doing.
	full.add(b, "Mirror of 2,000 symbols, fed by SetMany", &cuts, 0)
	// So feed it with ready-made messages too, as if other machines wrote them.
	cuts.Store(0)
	peer, err := newByHand(b.ctx, b.addr, func(o *rueidis.ClientOption) { o.AlwaysPipelining = true })
	if err != nil {
		return err
	}
	defer peer.redis.Close()
	// The counter moves with the messages, or the feed would find its state wrong.
	publish := rueidis.NewLuaScript(`#!lua
for i = 2, #ARGV - 1 do
  redis.call('PUBLISH', ARGV[1], ARGV[i])
end
redis.call('SET', KEYS[1], ARGV[#ARGV])
return 1`)
	raw, err := keepUpRun(b, "keepup-raw", hooks, func(_ *fulloncache.Client, list []fulloncache.Market) func([]fulloncache.Tick) error {
		counter := "ticker_rev:" + list[0].Exchange
		return func(ticks []fulloncache.Tick) error {
			rev := time.Now().UnixMicro()
			args := make([]string, len(ticks), len(ticks)+1)
			for i, t := range ticks {
				when := t.Time.UTC().Format(redisTime)
				args[i] = fmt.Sprintf("T %d %s %s %s %s %s %s %s %d %s%s", rev+int64(i), when, when, price, bid, ask, price, volume, len(t.Exchange), t.Exchange, t.Symbol)
			}
			args = append(args, fmt.Sprint(rev+int64(len(ticks))-1))
			return publish.Exec(b.ctx, peer.redis, []string{counter}, append([]string{"db0:tickers:" + list[0].Exchange}, args...)).Error()
		}
	})
	if err != nil {
		return err
	}
	raw.add(b, "Mirror of 2,000 symbols, fed by ready-made messages", &cuts, 0.99*keepUpRate)
	return nil
}

// kept is how a mirror kept up.
type kept struct {
	rate    float64 // updates per second that were sent
	lags    []time.Duration
	settled time.Duration // from the last update sent to a mirror that shows all
	missing int           // symbols whose last update the mirror never showed
}

func (k kept) add(b *bench, work string, cuts *atomic.Int64, rate float64) {
	slices.Sort(k.lags)
	p50, p99, worst := quantile(k.lags, 0.5), quantile(k.lags, 0.99), quantile(k.lags, 1)
	ok := k.rate >= rate && p99 < keepUpLag && k.missing == 0 && cuts.Load() == 0
	limit := fmt.Sprintf("lag p99 < %s, complete, no disconnect", keepUpLag)
	if rate > 0 {
		limit = fmt.Sprintf("≥ %s /s, ", thousands(rate)) + limit
	}
	b.report.add(row{
		work: work, ours: fmt.Sprintf("%s /s, lag p50 %s p99 %s", thousands(k.rate), short(p50), short(p99)),
		limit: limit, ok: ok,
		note: fmt.Sprintf("lag max %s; complete %s after the last update, %d missing, %d disconnects", short(worst), short(k.settled), k.missing, cuts.Load()),
	})
}

// keepUpRun sends batches at the rate for some seconds, and watches how long
// after the call a mirror shows the last tick of each.
func keepUpRun(b *bench, exchange string, hooks fulloncache.Hooks, sender func(*fulloncache.Client, []fulloncache.Market) func([]fulloncache.Tick) error) (k kept, err error) {
	writer, err := b.client()
	if err != nil {
		return k, err
	}
	defer writer.Close()
	reader, err := b.client(func(cfg *fulloncache.Config) { cfg.Hooks = []fulloncache.Hooks{hooks} })
	if err != nil {
		return k, err
	}
	defer reader.Close()
	list := markets(exchange, keepUpSymbols)
	last := make([]fulloncache.Tick, len(list))
	for i, m := range list {
		last[i] = tick(m)
	}
	if err := writer.Ticks.SetMany(b.ctx, last); err != nil {
		return k, err
	}
	mirror, err := reader.Ticks.Mirror(b.ctx, exchange)
	if err != nil {
		return k, err
	}
	defer mirror.Close()
	if err := mirror.Ready(b.ctx); err != nil {
		return k, err
	}

	type probe struct {
		tick fulloncache.Tick
		sent time.Time
	}
	probes := make(chan probe, 100_000)
	var watching sync.WaitGroup
	watching.Go(func() {
		for p := range probes {
			for {
				q, err := mirror.Get(p.tick.Market)
				if err == nil && !q.Tick().Time.Before(p.tick.Time) {
					break
				}
				if time.Since(p.sent) > 10*time.Second {
					break
				}
				time.Sleep(100 * time.Microsecond)
			}
			k.lags = append(k.lags, time.Since(p.sent))
		}
	})
	send := sender(writer, list)
	length := time.Duration(b.scale(10)) * time.Second
	sent, at := 0, 0
	start := time.Now()
	for time.Since(start) < length {
		due := int(time.Since(start).Seconds()*keepUpRate) - sent
		if due < 50 {
			time.Sleep(time.Millisecond)
			continue
		}
		batch := make([]fulloncache.Tick, min(due, keepUpBatch))
		now := time.Now()
		for i := range batch {
			batch[i] = last[at]
			batch[i].Time = now
			last[at] = batch[i]
			at = (at + 1) % len(list)
		}
		probes <- probe{batch[len(batch)-1], now}
		if err := send(batch); err != nil {
			close(probes)
			watching.Wait()
			return k, err
		}
		sent += len(batch)
	}
	k.rate = float64(sent) / time.Since(start).Seconds()
	end := time.Now()
	for {
		k.missing = 0
		for _, t := range last {
			if q, err := mirror.Get(t.Market); err != nil || q.Tick().Time.Before(t.Time) {
				k.missing++
			}
		}
		if k.settled = time.Since(end); k.missing == 0 || k.settled > 10*time.Second {
			break
		}
		time.Sleep(100 * time.Microsecond)
	}
	close(probes)
	watching.Wait()
	return k, nil
}

// memory: what a mirrored symbol takes.
func memory(b *bench) error {
	const symbols = 10_000
	writer, err := b.client()
	if err != nil {
		return err
	}
	list := markets("memory", symbols)
	ticks := make([]fulloncache.Tick, symbols)
	for i, m := range list {
		ticks[i] = tick(m)
	}
	err = writer.Ticks.SetMany(b.ctx, ticks)
	writer.Close()
	if err != nil {
		return err
	}
	c, err := b.client()
	if err != nil {
		return err
	}
	defer c.Close()
	// A mirror of another exchange first, so that connection and feed are there.
	if err := c.Ticks.Set(b.ctx, tick(fulloncache.Market{Exchange: "memory0", Symbol: "BTC/USD"})); err != nil {
		return err
	}
	before, err := heapWith(b.ctx, c, "memory0")
	if err != nil {
		return err
	}
	after, err := heapWith(b.ctx, c, "memory")
	if err != nil {
		return err
	}
	// And once every symbol was updated by a message.
	updated, err := heapUpdated(b.ctx, c, "memory", ticks)
	if err != nil {
		return err
	}
	loaded, live := float64(after-before)/symbols, float64(updated-before)/symbols
	runtime.KeepAlive(list)
	runtime.KeepAlive(ticks)
	b.report.add(row{
		work: "Memory per mirrored symbol, 10,000 symbols", ours: fmt.Sprintf("%.0f bytes", max(loaded, live)), limit: "stated", ok: true,
		note: fmt.Sprintf("%.0f bytes as loaded, %.0f once updated, table included", loaded, live),
	})
	return nil
}

// heapWith is the heap in use while an exchange is mirrored.
func heapWith(ctx context.Context, c *fulloncache.Client, exchange string) (int64, error) {
	m, err := c.Ticks.Mirror(ctx, exchange)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	if err := m.Ready(ctx); err != nil {
		return 0, err
	}
	return heap(), nil
}

func heapUpdated(ctx context.Context, c *fulloncache.Client, exchange string, ticks []fulloncache.Tick) (int64, error) {
	m, err := c.Ticks.Mirror(ctx, exchange)
	if err != nil {
		return 0, err
	}
	defer m.Close()
	if err := m.Ready(ctx); err != nil {
		return 0, err
	}
	now := time.Now()
	for i := range ticks {
		ticks[i].Time = now
	}
	if err := c.Ticks.SetMany(ctx, ticks); err != nil {
		return 0, err
	}
	for _, t := range ticks {
		for {
			if q, err := m.Get(t.Market); err == nil && q.Tick().Time.Equal(now) {
				break
			}
			if time.Since(now) > 10*time.Second {
				return 0, fmt.Errorf("the mirror never showed the update of %s", t.Market)
			}
			time.Sleep(time.Millisecond)
		}
	}
	return heap(), nil
}

func heap() int64 {
	var s runtime.MemStats
	// What is not reachable must not count; the second run frees what the first
	// one finalised.
	//revive:disable-next-line:call-to-gc
	runtime.GC()
	//revive:disable-next-line:call-to-gc
	runtime.GC()
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}
