package fulloncache

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/fullon/fulloncache/internal/aside"
)

// Hooks watch a [Client]: every operation and every event. Both functions are
// called in line, from many goroutines at once: they must be quick and must not
// call the Client. Either may be nil. The package metrics turns them into
// Prometheus metrics.
//
//	cfg.Hooks = append(cfg.Hooks, fulloncache.Hooks{
//		Event: func(e fulloncache.Event) { alert(e.Kind.String(), e.Subject, e.Err) },
//	})
type Hooks struct {
	// Operation is called when an operation ends.
	Operation func(Operation)
	// Event is called when something happens that no caller asked for.
	Event func(Event)
}

// Operation is one finished call of a cache's method.
type Operation struct {
	Name     string        // Name is cache and method: "tick.set".
	Market   Market        // Market is what it was about; either part may be empty.
	Duration time.Duration // Duration is the time it took.
	Err      error         // Err is what it returned.
	Hit      Hit           // Hit says whether a memory close to the caller answered.
}

// Hit says whether an operation could be, and was, answered without the server.
type Hit int

// The values of [Hit].
const (
	HitNone Hit = iota // HitNone: the operation always asks the server.
	HitNear            // HitNear: the near cache or a mirror answered.
	HitMiss            // HitMiss: the near cache could not answer, the server did.
)

// String returns "", "hit" or "miss".
func (h Hit) String() string {
	return [...]string{"", "hit", "miss"}[h]
}

// Event is something that happened and that no caller, or not every caller, is
// told.
type Event struct {
	Kind    EventKind
	Subject string // Subject is what it happened to: an exchange's feed, a breaker's node, a near cache, a key, a bot's market.
	Err     error  // Err is the cause, where there is one.
	Time    time.Time
}

// EventKind is the kind of an [Event].
type EventKind int

// The kinds of events.
const (
	EventReconnected       EventKind = iota + 1 // EventReconnected: the server answers again after a transport failure.
	EventBreakerOpened                          // EventBreakerOpened: calls are refused without asking the server.
	EventBreakerClosed                          // EventBreakerClosed: a probe succeeded, calls go through again.
	EventNearFlushed                            // EventNearFlushed: the near cache lost its invalidations and was emptied.
	EventFeedDisconnected                       // EventFeedDisconnected: a subscription is cut off.
	EventFeedConnected                          // EventFeedConnected: a subscription is complete (again).
	EventLoadFailed                             // EventLoadFailed: the database could not be read; the cache may answer with older values.
	EventCorrupt                                // EventCorrupt: what Redis held cannot be read; it is read anew from the database.
	EventNotCached                              // EventNotCached: what was read from, or written to, the database could not be told to Redis.
	EventDeadLetter                             // EventDeadLetter: an order of a queue became a dead letter.
	EventDeadDropped                            // EventDeadDropped: so many of the oldest dead letters gave way to new ones, and are lost.
	EventDisplaced                              // EventDisplaced: so many of the oldest orders of a full queue became dead letters.
	EventQueueFailed                            // EventQueueFailed: a consumer could not read or settle; it goes on trying.
	EventPartitionLost                          // EventPartitionLost: a consumer of an ordered queue lost a part of the symbols to another.
	EventHandlerPanicked                        // EventHandlerPanicked: a handler panicked; its order is delivered again.
	EventLeaseLost                              // EventLeaseLost: a bot lost the right to trade a market, or could not renew it in time.
	EventHeartbeatLost                          // EventHeartbeatLost: a process registered here cannot tell that it is alive; soon it counts as dead.
	EventHeartbeatRestored                      // EventHeartbeatRestored: it can again.
	EventProcessDied                            // EventProcessDied: a process died, and this Client was the first to notice.
)

// String returns the kind in snake case: "breaker_opened".
func (k EventKind) String() string {
	names := [...]string{
		"", "reconnected", "breaker_opened", "breaker_closed", "near_flushed", "feed_disconnected", "feed_connected",
		"load_failed", "corrupt", "not_cached",
		"dead_letter", "dead_dropped", "displaced", "queue_failed", "partition_lost", "handler_panicked",
		"lease_lost", "heartbeat_lost", "heartbeat_restored", "process_died",
	}
	if k < 1 || int(k) >= len(names) {
		return "unknown"
	}
	return names[k]
}

// observer tells hooks and loggers what happens. Its zero cost when nobody
// listens is what the hot paths count on.
type observer struct {
	hooks []Hooks
	log   *slog.Logger
	timed bool // somebody wants operations
}

func newObserver(component string, cfg Config) *observer {
	o := &observer{
		hooks: cfg.Hooks,
		log:   cfg.Logger.With("component", "fullon.cache."+component),
	}
	for _, h := range cfg.Hooks {
		o.timed = o.timed || h.Operation != nil
	}
	return o
}

// call is an operation under way.
type call struct {
	o      *observer
	name   string
	market Market
	start  time.Time
	hit    Hit
}

// begin opens an operation; its end must be deferred.
func (o *observer) begin(ctx context.Context, name string, market Market) call {
	if !o.timed && !o.log.Enabled(ctx, slog.LevelDebug) {
		return call{}
	}
	return call{o: o, name: name, market: market, start: time.Now()}
}

// end reports the operation to the hooks and, at DEBUG, to the log.
func (c *call) end(ctx context.Context, err error) {
	if c.o == nil {
		return
	}
	took := time.Since(c.start)
	for _, h := range c.o.hooks {
		if h.Operation != nil {
			h.Operation(Operation{Name: c.name, Market: c.market, Duration: took, Err: err, Hit: c.hit})
		}
	}
	if !c.o.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	attrs := []slog.Attr{
		slog.String("operation", c.name),
		slog.String("exchange", c.market.Exchange),
		slog.String("symbol", c.market.Symbol),
		slog.Float64("latency_ms", float64(took.Microseconds())/1000),
		slog.Bool("cache_hit", c.hit == HitNear),
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	c.o.log.LogAttrs(ctx, slog.LevelDebug, c.name, attrs...)
}

// near notes whether the near cache answered; where several were asked, whether
// all did.
func (c *call) near(hit bool) {
	switch {
	case !hit:
		c.hit = HitMiss
	case c.hit == HitNone:
		c.hit = HitNear
	}
}

// asideEvents are the engine's events as the hooks see them.
var asideEvents = map[aside.Event]EventKind{
	aside.LoadFailed:  EventLoadFailed,
	aside.Corrupt:     EventCorrupt,
	aside.NotStored:   EventNotCached,
	aside.NotReleased: EventNotCached,
}

// aside reports an event of a cache of the database's rows.
func (o *observer) aside(e aside.Event, key string, err error) {
	var element *elementError
	switch {
	case e == aside.Corrupt && errors.As(err, &element):
		err = &CorruptError{Key: key, Field: element.name, Err: element.err}
	case e == aside.Corrupt:
		err = &CorruptError{Key: key, Err: err}
	}
	o.event(asideEvents[e], key, err)
}

// event reports an event to the hooks and the log.
func (o *observer) event(kind EventKind, subject string, err error) {
	for _, h := range o.hooks {
		if h.Event != nil {
			h.Event(Event{Kind: kind, Subject: subject, Err: err, Time: time.Now()})
		}
	}
	level := slog.LevelInfo
	switch kind {
	case EventBreakerOpened, EventFeedDisconnected, EventLoadFailed, EventCorrupt, EventNotCached, EventQueueFailed,
		EventPartitionLost, EventLeaseLost, EventHeartbeatLost, EventProcessDied:
		level = slog.LevelWarn
	case EventDeadLetter, EventDeadDropped, EventDisplaced, EventHandlerPanicked:
		level = slog.LevelError
	}
	attrs := []slog.Attr{slog.String("subject", subject)}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	o.log.LogAttrs(context.Background(), level, kind.String(), attrs...)
}
