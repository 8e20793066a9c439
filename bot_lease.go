package fulloncache

import (
	"context"
	"time"

	"github.com/fullon/fulloncache/internal/lease"
)

// LeaseOptions say how a market is acquired. The zero value is what most bots
// want.
type LeaseOptions struct {
	// TTL is how long the lease outlives its process, from 100 ms to 30 days; it is
	// renewed three times as often. Defaults to [Config].TTLLease.
	TTL time.Duration
	// Reentrant lets a bot acquire again what it holds: the new lease has the same
	// token, and the market is free once each is released or over. By default it is
	// refused, as a bot that runs twice by mistake has to be. Bots go by name: two of
	// one name are one.
	Reentrant bool
	// RequestID makes it safe to try again after [ErrUnavailable], when nobody knows
	// whether the lease was given: the same bot that asks again with the same id is
	// given the same lease, with the same token. Defaults to one that nobody else
	// has; what it may have been given is then given back. It has 256 bytes at most.
	RequestID string
}

// request checks what is asked for.
func (c *BotCache) request(m Market, bot string, o LeaseOptions) (lease.Request, error) {
	if err := validBot(m, bot); err != nil {
		return lease.Request{}, err
	}
	if o.RequestID != "" {
		if err := validName("request id", o.RequestID); err != nil {
			return lease.Request{}, err
		}
	}
	ttl, err := validTTL(o.TTL, c.ttl)
	return lease.Request{TTL: ttl, Share: o.Reentrant, ID: o.RequestID}, err
}

// Acquire takes the exclusive right to trade a market, in one atomic round trip. It
// never waits, nor overtakes who does. ctx bounds the call alone: the lease lasts
// until it is released, lost, or the Client is closed.
//
// It returns a [BlockedError] if another bot has the right, this one has it
// already, or others wait for it; [ErrInvalid] if a name or the TTL is unusable,
// or if the market's key is taken by another symbol ("BTC/USD" and "BTCUSD"
// meet); [ErrCorrupt] if what is stored cannot be read; and [ErrUnavailable] if it
// is unknown whether the right was given: see [LeaseOptions].RequestID.
func (c *BotCache) Acquire(ctx context.Context, market Market, bot string, options LeaseOptions) (l *Lease, err error) {
	call := c.begin(ctx, "bots.acquire", market)
	defer func() { call.end(ctx, err) }()
	q, err := c.request(market, bot, options)
	if err != nil {
		return nil, err
	}
	return leased(c.leases.Acquire(ctx, c.resource(c.blocks, market), bot, q))
}

// AcquireWait is [BotCache.Acquire], but waits in line while the market is not
// free: first come, first served, across all processes. It waits until ctx ends,
// and returns ctx's error then, with the last [BlockedError].
//
// Only the first in line is woken when the market is free. One that gives no sign
// of life for 10 s, because it crashed or is cut off, loses its place. If the
// server cannot be asked at first, that is [ErrUnavailable]; once in line, the wait
// goes on through disconnects.
func (c *BotCache) AcquireWait(ctx context.Context, market Market, bot string, options LeaseOptions) (l *Lease, err error) {
	call := c.begin(ctx, "bots.acquire_wait", market)
	defer func() { call.end(ctx, err) }()
	q, err := c.request(market, bot, options)
	if err != nil {
		return nil, err
	}
	return leased(c.leases.Wait(ctx, c.resource(c.blocks, market), bot, q))
}

func leased(l *lease.Lease, err error) (*Lease, error) {
	if err != nil {
		return nil, err
	}
	return &Lease{l}, nil
}

// Validate asks the server whether a token is the current one of a market: a store
// does so before it takes what a bot sends it. It returns [ErrLeaseLost] if the
// token is not, with a [BlockedError] of who has the market, if somebody has;
// [ErrCorrupt] or [ErrUnavailable] if that is unknown.
//
// The answer is of the moment at which it was given. A store that keeps the
// greatest token it has seen of each market, and refuses smaller ones in the step
// in which it stores, needs no Validate and leaves no moment open.
func (c *BotCache) Validate(ctx context.Context, market Market, token int64) (err error) {
	call := c.begin(ctx, "bots.validate", market)
	defer func() { call.end(ctx, err) }()
	if err := market.Validate(); err != nil {
		return err
	}
	return c.leases.Validate(ctx, c.resource(c.blocks, market), token)
}

// Lease is the exclusive right of a bot to trade a market: [BotCache.Acquire]. It is
// renewed by itself, a third of its TTL after the last time. It is safe for
// concurrent use.
//
//	defer l.Release(ctx)
//	work(l.Context())                          // ends when the lease is lost
//	if err := l.Err(); err != nil { … }        // asked right before what counts
//	store(order, l.Token())                    // refused there if it is late
type Lease struct{ lease *lease.Lease }

// Market is what may be traded.
func (l *Lease) Market() Market { return Market{l.lease.Resource.Group, l.lease.Resource.Name} }

// Bot is who may.
func (l *Lease) Bot() string { return l.lease.Holder }

// Token is the fencing token: greater than every one before it at the exchange,
// positive and below 2⁵³.
func (l *Lease) Token() int64 { return l.lease.Token }

// Since is when the bot got the right, UTC, by the server's clock.
func (l *Lease) Since() time.Time { return l.lease.Since }

// Until is when the lease is over, by this machine's clock, unless it is renewed. It
// counts from before the server was asked.
func (l *Lease) Until() time.Time { return l.lease.Until() }

// Context ends as soon as the lease is lost, could not be renewed in time, was
// released, or the Client is closed; context.Cause then returns what [Lease.Err]
// does. It carries the values of the context given to [BotCache.Acquire], but does
// not end with it. Its own Err looks at the clock as [Lease.Err] does.
func (l *Lease) Context() context.Context { return l.lease.Context() }

// Err returns nil as long as the lease is held, going by the clock at the moment of
// the call: a process that was frozen meanwhile sees it at its first call. Else it
// returns [ErrLeaseLost] with the cause. No I/O.
func (l *Lease) Err() error { return l.lease.Err() }

// Release gives the right back, if it is still this lease's, and wakes the first
// in line. It is sent even if ctx has ended, and bounded by [Config].SocketTimeout.
// To call it again is safe.
//
// It returns [ErrLeaseLost] if the lease was lost before: what was done since is
// not covered by it. [ErrUnavailable] means that the server could not be told; the
// right then ends by itself within the TTL.
func (l *Lease) Release(ctx context.Context) error { return l.lease.Release(ctx) }
