package fulloncache

import (
	"context"
	"fmt"
	"time"

	"github.com/fullon/fulloncache/internal/feed"
	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/lease"
)

// BotCache lets many bots share one account: the right to trade a market belongs
// to one bot at a time, and everybody sees who is at what.
//
//	l, err := c.Bots.Acquire(ctx, btc, "bot_1", fulloncache.LeaseOptions{})
//	if errors.Is(err, fulloncache.ErrBlocked) { … } // errors.As: by whom, until when
//	defer l.Release(ctx)
//	for tick := range ticks(l.Context()) {
//		if err := l.Err(); err != nil { // before each order: a lease can be lost
//			return err
//		}
//		…
//	}
//
// A lease is renewed by itself while its process lives, and ends by itself when
// it does not. Its token is greater than every one before it at its exchange, so
// that whoever stores what a bot does can refuse what comes late from one that
// does not know yet that it lost its lease: [BotCache.Validate].
//
// # What a lease does not promise
//
// It is kept by one Redis server. As long as that neither loses data nor fails
// over, and no clock jumps, no two bots hold a market at once. A failover can
// lose the last moments of writes, and a server without appendonly loses
// everything with a restart: then a second bot may be given what the first still
// believes to hold, until its next renewal tells it, within a third of the TTL,
// and after the TTL at the latest. So may a bot that is frozen after it asked
// [Lease.Err] and before it acts.
//
// The token covers that wherever it is compared: the second bot's is greater,
// also after a restart without data or a failover, provided that the servers'
// clocks are apart by less than the failover took. It cannot cover an exchange
// that takes no token: an order that was sent a moment too late is executed. What
// helps there is a TTL that is short beside the time an order takes to do harm,
// and to cancel what is open before a new holder begins.
//
// None of the questions "may I?" is answered with yes where the server cannot be
// asked or what it holds cannot be read: they return [ErrUnavailable] or
// [ErrCorrupt].
type BotCache struct {
	*observer
	kv       *kv.Client
	keys     keys.Space
	blocks   leaseKind
	openings leaseKind
	ttl      time.Duration // of a lease
	leases   *lease.Leases
	errors   errorQueue
	status   time.Duration // how long a bot's status stays, or 0
	hub      feed.Hub[string, storedBot]
}

// leaseKind is what can be leased of a market.
type leaseKind struct {
	ttl    time.Duration // of what nobody renews
	key    func(exchange, symbol string) string
	index  func(exchange string) string
	groups string
}

// The bounds of a lease's TTL.
const (
	leastTTL = 100 * time.Millisecond
	mostTTL  = 30 * 24 * time.Hour
)

// waiterTTL is for how long a bot that waits keeps its place without a sign of
// life.
const waiterTTL = 10 * time.Second

func newBotCache(cfg Config, db *kv.Client, space keys.Space, connection *observer) *BotCache {
	c := &BotCache{
		observer: newObserver("bots", cfg),
		kv:       db,
		keys:     space,
		blocks:   leaseKind{cfg.TTLBlock, space.Block, space.Blocks, space.BlockExchanges()},
		openings: leaseKind{cfg.TTLOpening, space.OpeningPosition, space.OpeningPositions, space.OpeningExchanges()},
		ttl:      cfg.TTLLease,
		errors:   errorQueue{db, cfg.ErrorQueueCap},
		status:   cfg.TTLBot,
	}
	c.leases = lease.New(db, lease.Options{
		Now:       cfg.Now,
		WaiterTTL: waiterTTL,
		Title:     func(r lease.Resource) string { return Market{r.Group, r.Name}.String() },
		Wakes:     space.WakeChannel,
		Lost:      ErrLeaseLost, Closed: ErrClosed, Unavailable: ErrUnavailable,
		Blocked: func(r lease.Resource, h lease.Held, next bool) error {
			return &BlockedError{Market: Market{r.Group, r.Name}, Holder: h.Holder, Since: h.Since, Until: h.Until, Next: next}
		},
		Taken: func(r lease.Resource, name string) error {
			return takenError(Market{r.Group, r.Name}, r.Key, name)
		},
		Corrupt: func(key, field string, err error) error { return &CorruptError{Key: key, Field: field, Err: err} },
		Blame:   c.blame,
		OnLost:  c.lost,
	})
	c.hub = feed.NewHub(botSource{connector{db}, c}, nil, feedOptions(cfg, connection, ""))
	return c
}

func (c *BotCache) stop() {
	c.leases.Close()
	c.hub.Close()
}

// distrust forgets what the server was told: it may be another.
func (c *BotCache) distrust() { c.leases.Distrust() }

// resource is what a bot wants of a market.
func (c *BotCache) resource(kind leaseKind, m Market) lease.Resource {
	return lease.Resource{
		Group: m.Exchange, Name: m.Symbol,
		Key: kind.key(m.Exchange, m.Symbol), Index: kind.index(m.Exchange), Groups: kind.groups,
		Fence: c.keys.Fence(m.Exchange),
	}
}

func (c *BotCache) blame(ctx context.Context, r lease.Resource, err error) error {
	return blame(ctx, c.kv, err, typedKey{r.Key, "hash"}, typedKey{r.Fence, "string"}, typedKey{r.Index, "zset"},
		typedKey{keys.LeaseLine(r.Key), "zset"}, typedKey{keys.LeaseWaiting(r.Key), "hash"}, typedKey{r.Groups, "set"})
}

// lost tells who looks after the system that a bot lost a lease, best effort: the
// server that cannot be asked to renew one cannot be told either, for a while.
func (c *BotCache) lost(l *lease.Lease, err error) {
	c.event(EventLeaseLost, Market{l.Resource.Group, l.Resource.Name}.String()+" "+printable(l.Holder), err)
	report := GlobalError{Component: "fullon.cache.bots", Message: err.Error(), Time: time.Now().UTC()}
	_ = c.kv.Background(func(ctx context.Context) { // after Close nothing is told
		const attempts, pause = 60, time.Second
		for i := 0; i < attempts && ctx.Err() == nil && c.errors.push(ctx, c.keys.GlobalError(), report) != nil; i++ {
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
		}
	})
}

// validBot refuses what cannot name a market and a bot.
func validBot(m Market, bot string) error {
	if err := m.Validate(); err != nil {
		return err
	}
	return validName("bot", bot)
}

// validTTL returns how long something lasts, in whole milliseconds.
func validTTL(ttl, standard time.Duration) (time.Duration, error) {
	if ttl == 0 {
		ttl = standard
	}
	if ttl < leastTTL || ttl > mostTTL {
		return 0, fmt.Errorf("%w: TTL %s: want from %s to %s", ErrInvalid, ttl, leastTTL, mostTTL)
	}
	return (ttl + time.Millisecond - 1).Truncate(time.Millisecond), nil
}
