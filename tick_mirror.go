package fulloncache

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"time"

	"github.com/fullon/fulloncache/internal/feed"
)

// Mirror is a view of whole exchanges in this process's memory, kept by the
// feed. Reading it takes no I/O, no lock and no allocation, and it goes on
// answering when Redis does not: each [Quote] tells its age and whether the feed
// is connected.
//
//	m, err := c.Ticks.Mirror(ctx, "kraken", "coinbase")
//	if err != nil {
//		return err
//	}
//	defer m.Close()
//	if err := m.Ready(ctx); err != nil {
//		return err
//	}
//	q, err := m.Get(btc, fulloncache.MaxAge(2*time.Second))
//	if err != nil {
//		return err // ErrNotFound, ErrStale, or ErrUnavailable before the first full state
//	}
//	fmt.Println(q.Price(), q.Age(), q.Connected())
//
// Its methods are safe for concurrent use.
type Mirror struct {
	exchanges []string
	views     []feed.View[Market, Tick]
	stop      func() bool // undoes the wait for the context
	once      sync.Once
}

// Mirror starts a view of exchanges, at least one. It returns at once:
// [Mirror.Ready] waits for the first full state. The view lives until ctx ends,
// Close is called or the Client is closed; what was read last stays readable.
func (c *TickCache) Mirror(ctx context.Context, exchanges ...string) (*Mirror, error) {
	if len(exchanges) == 0 {
		return nil, fmt.Errorf("%w: no exchange to mirror", ErrInvalid)
	}
	topics, err := c.exchangeTopics(exchanges)
	if err != nil {
		return nil, err
	}
	m := &Mirror{}
	for _, t := range topics {
		view, err := c.hub.View(t)
		if err != nil {
			m.release()
			return nil, err
		}
		m.exchanges = append(m.exchanges, t.Group)
		m.views = append(m.views, view)
	}
	m.stop = context.AfterFunc(ctx, func() { m.once.Do(m.release) })
	return m, nil
}

// Close ends the view. It can be called more than once.
func (m *Mirror) Close() {
	m.stop()
	m.once.Do(m.release)
}

func (m *Mirror) release() {
	for _, v := range m.views {
		v.Close()
	}
}

// Ready waits until the state of every exchange has been complete once. It
// returns ctx's error or [ErrClosed].
func (m *Mirror) Ready(ctx context.Context) error {
	for _, v := range m.views {
		if err := v.Ready(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mirror) view(exchange string) feed.View[Market, Tick] {
	// Few exchanges are mirrored at once: comparing beats hashing.
	for i, e := range m.exchanges {
		if e == exchange {
			return m.views[i]
		}
	}
	return nil
}

// Get returns the newest tick of a market. It returns [ErrNotFound] if the
// market has none; a [StaleError] if it is older than [MaxAge] allows, with
// [FeedAlive] as for [TickCache.Get]; [ErrUnavailable] if there is none while
// the feed is not connected, so that it is unknown; and [ErrInvalid] if the
// exchange is not mirrored.
func (m *Mirror) Get(market Market, opts ...ReadOption) (Quote, error) {
	v := m.view(market.Exchange)
	if v == nil {
		return Quote{}, notMirrored(market.Exchange)
	}
	e := v.Get(market.Symbol)
	if e == nil {
		return Quote{}, absent(v, market)
	}
	q := Quote{entry: e, view: v}
	if len(opts) > 0 {
		return q.checked(reading(opts))
	}
	return q, nil
}

// checked returns the quote if it is fresh enough.
func (q Quote) checked(want ReadOption) (Quote, error) {
	if err := want.check(&q.entry.Value, q.view.Now(), q.view.State().Heard()); err != nil {
		return Quote{}, err
	}
	return q, nil
}

func notMirrored(exchange string) error {
	return fmt.Errorf("%w: exchange %q is not mirrored", ErrInvalid, exchange)
}

// absent tells a market without a tick from one that is unknown.
func absent(v feed.View[Market, Tick], market Market) error {
	if err := v.Err(); err != nil {
		return fmt.Errorf("tick %s: %w", market, feedError(err))
	}
	return fmt.Errorf("tick %s: %w", market, ErrNotFound)
}

// All yields the newest tick of every market, in no order.
func (m *Mirror) All() iter.Seq[Quote] {
	return func(yield func(Quote) bool) {
		more := true
		for _, v := range m.views {
			v.All(func(e *feed.Entry[Market, Tick]) bool {
				more = yield(Quote{entry: e, view: v})
				return more
			})
			if !more {
				return
			}
		}
	}
}

// FeedState is how the feed of an exchange is.
type FeedState struct {
	// Connected says that the view is complete and current.
	Connected bool
	// Confirmed is when the server last proved that nothing is missing; zero if it
	// never did.
	Confirmed time.Time
	// Heard is when the exchange's feed last gave a sign of life; zero if it is
	// not known to have.
	Heard time.Time
	// Err is why the feed is not connected.
	Err error
}

// Feed tells how the feed of an exchange is. It returns [ErrInvalid] if the
// exchange is not mirrored.
func (m *Mirror) Feed(exchange string) (FeedState, error) {
	v := m.view(exchange)
	if v == nil {
		return FeedState{}, notMirrored(exchange)
	}
	s := v.State()
	err := v.Err()
	return FeedState{Connected: err == nil, Confirmed: s.Confirmed(), Heard: s.Heard(), Err: feedError(err)}, nil
}

// Quote is a tick of a [Mirror]. It does not change; read another for the next.
type Quote struct {
	entry *feed.Entry[Market, Tick]
	view  feed.View[Market, Tick]
}

// Tick returns the tick.
func (q Quote) Tick() Tick { return q.entry.Value }

// Market returns the tick's market.
func (q Quote) Market() Market { return q.entry.Key }

// Price returns the tick's price.
func (q Quote) Price() Decimal { return q.entry.Value.Price }

// Rev returns the number of the update.
func (q Quote) Rev() int64 { return q.entry.Rev }

// Age returns how old the tick is now, by this machine's clock.
func (q Quote) Age() time.Duration { return q.entry.Value.Age(q.view.Now()) }

// Connected reports whether the feed of the exchange is connected now. While it
// is not, newer ticks may exist.
func (q Quote) Connected() bool { return q.view.Connected() }

// FeedAge returns how long ago the exchange's feed gave a sign of life;
// negative if it is not known to have.
func (q Quote) FeedAge() time.Duration {
	heard := q.view.State().Heard()
	if heard.IsZero() {
		return -1
	}
	return max(q.view.Now().Sub(heard), 0)
}
