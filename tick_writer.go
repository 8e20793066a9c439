package fulloncache

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/kv"
)

const (
	// A tick is a sign of life of its exchange's feed, told at most this often.
	beatEvery = 250 * time.Millisecond
	// The exchange is put into the index of exchanges again and again, so that
	// one that was cleared or lost comes back.
	indexEvery = 2 * time.Second
	// A feed without a sign of life for so long is forgotten.
	beatTTL     = 24 * time.Hour
	beatTTLText = "86400000" // in milliseconds

	// batchTicks is how many ticks one call of the script stores at most: it
	// holds up everybody else meanwhile, some 4 µs a tick.
	batchTicks = 500
	// batchesAtOnce is how many calls of the script are under way for an exchange
	// before ticks wait for the next: while the server works on one, the next is
	// made.
	batchesAtOnce = 2
)

// tickWriter writes the ticks of an exchange. Ticks that come while its calls are
// under way share the next one: most of what a call costs, it costs once.
type tickWriter struct {
	c        *TickCache
	exchange string

	symbols, rev, beat, channel, beats string // the exchange's keys and channels

	mu sync.Mutex
	// When this process last said what need not be said with every tick: that the
	// feed is alive, and that the exchange exists.
	beaten, indexed time.Time
	busy            int // calls under way
	waiting         []*waitingTick
}

// waitingTick is a tick that shares a call.
type waitingTick struct {
	tick *Tick
	done chan error // of capacity 1: nobody may be waiting any more
}

func (c *TickCache) writer(exchange string) *tickWriter {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := c.writers[exchange]
	if w == nil {
		w = &tickWriter{
			c: c, exchange: exchange,
			symbols: c.keys.TickerSymbols(exchange), rev: c.keys.TickerRev(exchange), beat: c.keys.TickerBeat(exchange),
			channel: c.keys.ExchangeChannel(exchange), beats: c.keys.BeatChannel(exchange),
		}
		c.writers[exchange] = w
	}
	return w
}

// set stores a tick, alone or with others.
func (w *tickWriter) set(ctx context.Context, tick *Tick) error {
	w.mu.Lock()
	if w.busy < batchesAtOnce {
		w.busy++
		w.mu.Unlock()
		defer w.next()
		var err error
		w.send(ctx, []*Tick{tick}, func(_ int, result error) { err = result })
		return err
	}
	// A copy: the caller may be gone before the call is made.
	own := *tick
	me := &waitingTick{tick: &own, done: make(chan error, 1)}
	w.waiting = append(w.waiting, me)
	w.mu.Unlock()
	select {
	case err := <-me.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// next gives up a call's turn, or passes it on to those that wait.
func (w *tickWriter) next() {
	w.mu.Lock()
	idle := len(w.waiting) == 0
	if idle {
		w.busy--
	}
	w.mu.Unlock()
	if idle {
		return
	}
	if !w.c.kv.Background(w.sendWaiting) {
		w.sendWaiting(context.Background()) // closed: the calls fail at once
	}
}

// sendWaiting stores the ticks that wait, until none does. Its context may be
// that of the client: once closed, it is the calls that say so.
func (w *tickWriter) sendWaiting(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	for {
		w.mu.Lock()
		batch := w.waiting[:min(batchTicks, len(w.waiting))]
		w.waiting = w.waiting[len(batch):]
		if len(batch) == 0 {
			w.waiting = nil
			w.busy--
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		ticks := make([]*Tick, len(batch))
		for i, b := range batch {
			ticks[i] = b.tick
		}
		w.send(ctx, ticks, func(i int, err error) { batch[i].done <- err })
	}
}

// send stores ticks in one call and tells the result of each.
func (w *tickWriter) send(ctx context.Context, ticks []*Tick, tell func(i int, err error)) {
	call := w.call(ticks)
	reply, err := w.c.kv.Run(ctx, kv.TickSet, call.Keys, call.Args)
	w.results(ctx, kv.Reply{Msg: reply, Err: err}, len(ticks), func(i int, result rueidis.RedisMessage, err error) bool {
		created, err := w.c.setResult(ticks[i], result, err)
		tell(i, err)
		return created
	})
}

// results calls each for every tick of a call, with what the script returned of
// it, and sees to what is said with it.
func (w *tickWriter) results(ctx context.Context, reply kv.Reply, n int, each func(i int, result rueidis.RedisMessage, err error) (created bool)) {
	var list []rueidis.RedisMessage
	err := reply.Err
	if err == nil {
		list, err = reply.Msg.ToArray()
	}
	if err != nil {
		// What was said with this call may not have arrived.
		w.forget()
		err = w.c.blame(ctx, w.exchange, err)
		list = make([]rueidis.RedisMessage, n)
	}
	created := false
	for i := range n {
		created = each(i, list[i], err) || created
	}
	if created && w.c.kv.Cluster() {
		w.index(ctx)
	}
}

// call builds the arguments of the script tick_set. All text that is made of a
// tick's numbers is one piece, of which the arguments are parts.
func (w *tickWriter) call(ticks []*Tick) kv.ScriptCall {
	const header, each = 6, 10
	c := w.c
	beat, index := w.due()
	names := make([]string, 0, 4+len(ticks))
	names = append(names, w.symbols, w.rev, w.beat)
	args := make([]string, 0, header+each*len(ticks))
	args = append(args, c.tolerated, beat, c.kv.Publish(), w.channel, w.beats, w.exchange)
	var buf [256]byte
	for _, t := range ticks {
		channel := c.keys.TickerChannel(w.exchange, t.Symbol)
		names = append(names, c.keys.ChannelKey(channel))

		b := t.Time.UTC().AppendFormat(buf[:0], timeFormat)
		b = strconv.AppendInt(b, t.Time.UnixMicro(), 10)
		numbers := len(b)
		b = t.Price.append(b)
		optional := t.optional()
		ends := [1 + len(optionalFields)]int{0: len(b)}
		for i, n := range optional {
			b = append(b, ' ')
			if n.Valid {
				b = n.Decimal.append(b)
			} else {
				b = append(b, '-')
			}
			ends[i+1] = len(b)
		}
		text := string(b)
		args = append(args, text[:len(timeFormat)], text[len(timeFormat):numbers], channel, t.Symbol,
			text[numbers:], text[numbers:ends[0]])
		for i, n := range optional {
			value := ""
			if n.Valid {
				value = text[ends[i]+1 : ends[i+1]]
			}
			args = append(args, value)
		}
	}
	if index {
		names = append(names, c.keys.Exchanges())
	}
	return kv.ScriptCall{Keys: names, Args: args}
}

// due returns what is to be said with the next call: the TTL of the feed's sign
// of life, or "", and whether to index the exchange.
func (w *tickWriter) due() (beat string, index bool) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(w.beaten) >= beatEvery {
		w.beaten, beat = now, beatTTLText
	}
	if now.Sub(w.indexed) < indexEvery {
		return beat, false
	}
	w.indexed = now
	if !w.c.kv.Cluster() {
		return beat, true
	}
	// In a cluster the index lives in another slot, where the script cannot reach.
	_ = w.c.kv.Background(w.index) // after Close nothing is indexed
	return beat, false
}

// index puts the exchange into the index of exchanges, where the script cannot.
// If that fails, the next tick tries again.
func (w *tickWriter) index(ctx context.Context) {
	key := w.c.keys.Exchanges()
	if _, err := w.c.kv.Do(ctx, w.c.kv.B().Sadd().Key(key).Member(w.exchange).Build()); err != nil {
		w.forget()
		w.c.log.WarnContext(ctx, "exchange not indexed", "exchange", w.exchange, "error", err)
	}
}

// forget makes the next tick say everything.
func (w *tickWriter) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.beaten, w.indexed = time.Time{}, time.Time{}
}
