package fulloncache

import (
	"cmp"
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
)

// tickWriter writes the ticks of an exchange. Those that are set at the same time
// share calls.
type tickWriter struct {
	c        *TickCache
	exchange string

	symbols, rev, beat, channel, beats string // the exchange's keys and channels

	mu sync.Mutex
	// When this process last said what need not be said with every tick: that the
	// feed is alive, and that the exchange exists.
	beaten, indexed time.Time

	calls kv.Sharing[Tick, error]
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
		w.calls = kv.NewSharing(c.kv, batchTicks, w.send)
		c.writers[exchange] = w
	}
	return w
}

// set stores a tick, alone or with others.
func (w *tickWriter) set(ctx context.Context, tick *Tick) error {
	result, err := w.calls.Do(ctx, tick)
	return cmp.Or(err, result)
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

		b := appendTime(buf[:0], t.Time)
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
