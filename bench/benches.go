package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/kv"
)

// bench is what all benchmarks share.
type bench struct {
	ctx    context.Context
	addr   string
	quick  bool
	rounds int
	report *report
}

// scale shortens work in a quick run.
func (b *bench) scale(n int) int {
	if b.quick {
		return max(n/5, 1)
	}
	return n
}

func (b *bench) window() time.Duration { return time.Duration(b.scale(120)) * time.Millisecond }

func (b *bench) client(options ...func(*fulloncache.Config)) (*fulloncache.Client, error) {
	cfg := fulloncache.Config{
		URL:    "redis://" + b.addr,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}
	for _, set := range options {
		set(&cfg)
	}
	return fulloncache.New(b.ctx, cfg)
}

// peers opens the connections that a careful user of rueidis would try.
func (b *bench) peers() (list []*byHand, closeAll func(), err error) {
	closeAll = func() {
		for _, p := range list {
			p.redis.Close()
		}
	}
	for _, c := range rueidisConfigs {
		p, err := newByHand(b.ctx, b.addr, c.set)
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		list = append(list, p)
	}
	return list, closeAll, nil
}

// withPeers runs do with a client of ours, and with the connections of peers.
func withPeers(do func(b *bench, c *fulloncache.Client, peers []*byHand) error) func(*bench) error {
	return func(b *bench) error {
		c, err := b.client()
		if err != nil {
			return err
		}
		defer c.Close()
		peers, closePeers, err := b.peers()
		if err != nil {
			return err
		}
		defer closePeers()
		return do(b, c, peers)
	}
}

// benchmarks in the order of the table.
var benchmarks = []struct {
	name string
	run  func(*bench) error
}{
	{"set-1", withPeers(setOne)},
	{"set-64", withPeers(setMany)},
	{"get", withPeers(getOne)},
	{"near", nearHit},
	{"mirror", mirrorRead},
	{"stream", streamDelivery},
	{"keepup", keepUp},
	{"memory", memory},
	{"trades-push", withPeers(tradesPush)},
	{"trades-drain", withPeers(tradesDrain)},
	{"lease-trips", leaseTrips},
	{"lease-1", leaseOne},
	{"lease-64", leaseContended},
	{"orders-flow", withPeers(ordersFlow)},
	{"orders-ids", withPeers(orderIDs)},
	{"orders-memory", withPeers(orderMemory)},
	{"symbol-near", withMetadata(symbolNear)},
	{"symbol-list", withMetadata(symbolList)},
	{"symbol-misses", withMetadata(symbolMisses)},
	{"symbol-import", withMetadata(symbolImport)},
	{"symbol-change", withMetadata(symbolChange)},
	{"heartbeats", heartbeats},
	{"apply-trade", withPeers(applyTrade)},
	{"position", withPeers(positionGet)},
	{"bars-append", withBars(10_000, barsAppend)},
	{"bars-latest", withBars(10_000, barsLatest)},
	{"bars-tail", withBars(barLoad, barsTail)},
	{"bars-load", withBars(barLoad, barsLoad)},
}

// setOne: one caller stores and publishes a tick.
func setOne(b *bench, c *fulloncache.Client, peers []*byHand) error {
	m := markets("ours1", 1)[0]
	callers := []caller{{"fulloncache", timed(func() error { return c.Ticks.Set(b.ctx, tick(m)) })}}
	for i, p := range peers {
		m := markets(fmt.Sprintf("peer1-%d", i), 1)[0]
		callers = append(callers, caller{rueidisConfigs[i].name, timed(func() error { return p.set(b.ctx, tick(m)) })})
	}
	s, err := interleave(b.rounds, b.scale(200), callers)
	if err != nil {
		return err
	}
	peer := best(s[1:], false)
	r := ratios(s[0], peer)
	b.report.add(row{
		work: "Set, one caller", ours: latencies(s[0]), peer: latencies(peer), peerName: peer.name + ", one script",
		ratio: r, limit: "≤ 1.15", ok: r.median <= 1.15,
	})
	return nil
}

// setMany: 64 callers store and publish ticks.
func setMany(b *bench, c *fulloncache.Client, peers []*byHand) error {
	const callers = 64
	plain := redis.NewClient(&redis.Options{Addr: b.addr})
	defer plain.Close()
	wide := redis.NewClient(&redis.Options{Addr: b.addr, PoolSize: callers})
	defer wide.Close()

	ours := markets("ours64", callers)
	contestants := []contestant{{"fulloncache", throughput(callers, b.window(), func(i int) error { return c.Ticks.Set(b.ctx, tick(ours[i])) })}}
	for k, p := range peers {
		list := markets(fmt.Sprintf("peer64-%d", k), callers)
		contestants = append(contestants, contestant{rueidisConfigs[k].name, throughput(callers, b.window(), func(i int) error { return p.set(b.ctx, tick(list[i])) })})
	}
	for _, g := range []struct {
		name   string
		client *redis.Client
	}{{"go-redis (defaults)", plain}, {"go-redis (a connection per caller)", wide}} {
		list := markets("goredis64", callers)
		contestants = append(contestants, contestant{g.name, throughput(callers, b.window(), func(i int) error { return goRedisSet(b.ctx, g.client, tick(list[i])) })})
	}
	s, err := alternate(b.rounds, contestants)
	if err != nil {
		return err
	}
	hand, gor := best(s[1:1+len(peers)], true), best(s[1+len(peers):], true)
	r := ratios(s[0], hand)
	b.report.add(row{
		work: "Set, 64 callers, throughput", ours: rates(s[0]), peer: rates(hand), peerName: hand.name + ", one script",
		ratio: r, limit: "≥ 0.90", ok: r.median >= 0.9,
	})
	r = ratios(s[0], gor)
	b.report.add(row{
		work: "Set, 64 callers, throughput", ours: rates(s[0]), peer: rates(gor), peerName: gor.name + ", HSET + PUBLISH",
		ratio: r, limit: "≥ 1.30", ok: r.median >= 1.3,
	})
	return nil
}

// getOne: one caller reads a tick from the server.
func getOne(b *bench, c *fulloncache.Client, peers []*byHand) error {
	m := markets("get", 1)[0]
	if err := c.Ticks.Set(b.ctx, tick(m)); err != nil {
		return err
	}
	callers := []caller{{"fulloncache", timed(func() error {
		_, err := c.Ticks.Get(b.ctx, m)
		return err
	})}}
	for i, p := range peers {
		callers = append(callers, caller{rueidisConfigs[i].name, timed(func() error { return p.get(b.ctx, m) })})
	}
	s, err := interleave(b.rounds, b.scale(200), callers)
	if err != nil {
		return err
	}
	peer := best(s[1:], false)
	r := ratios(s[0], peer)
	b.report.add(row{
		work: "Get over the network, one caller", ours: latencies(s[0]), peer: latencies(peer), peerName: peer.name + ", HMGET to strings",
		ratio: r, limit: "≤ 1.10", ok: r.median <= 1.1,
	})
	b.report.hit("ticker cache, server", s[0])
	return nil
}

// precision is a decoded value, as the near cache holds them.
type precision struct {
	symbol          string
	price, lot      int
	smallest, limit fulloncache.Decimal
}

// nearHit: a decoded value of the near cache.
func nearHit(b *bench) error {
	near, err := kv.Open(b.ctx, kv.Options{
		Network: "tcp", Addrs: []string{b.addr}, MaxConnections: 50,
		CallTimeout: 5 * time.Second, ConnectTimeout: 5 * time.Second,
		BreakerFailures: 5, BreakerCooldown: time.Second, NearStaleness: 2 * time.Second,
		Unavailable: func(_ time.Duration, err error) error { return err },
		Closed:      errors.New("closed"),
		OnEvent:     func(kv.Event, string, error) {},
	})
	if err != nil {
		return err
	}
	defer near.Close()
	peers, closePeers, err := b.peers()
	if err != nil {
		return err
	}
	defer closePeers()
	const key = "near"
	if err := peers[0].redis.Do(b.ctx, peers[0].redis.B().Set().Key(key).Value("BTC/USD").Build()).Error(); err != nil {
		return err
	}
	cache := kv.NewNear(near, "bench", 10_000, kv.Read[precision]{
		Command: kv.GetCommand,
		Decode: func(key string, msg rueidis.RedisMessage, err error) (precision, error) {
			if err != nil {
				return precision{}, fmt.Errorf("key %s: %w", key, err)
			}
			symbol, err := msg.ToString()
			return precision{symbol: symbol, price: 2, lot: 8, smallest: bid, limit: volume}, err
		},
	})
	var misses atomic.Int64
	hits := func(n int) error {
		for range n {
			v, hit, err := cache.Get(b.ctx, key)
			if err != nil || v.price != 2 {
				return fmt.Errorf("near cache: %v (%w)", v, err)
			}
			if !hit {
				misses.Add(1)
			}
		}
		return nil
	}
	n := b.scale(100_000)
	contestants := []contestant{{"fulloncache", loop(n, hits)}}
	for i, p := range peers {
		contestants = append(contestants, contestant{rueidisConfigs[i].name, loop(n, func(n int) error {
			for range n {
				v, err := p.redis.DoCache(b.ctx, p.redis.B().Get().Key(key).Cache(), time.Hour).ToString()
				if err != nil || v == "" {
					return fmt.Errorf("DoCache: %q (%w)", v, err)
				}
			}
			return nil
		})})
	}
	s, err := alternate(b.rounds, contestants)
	if err != nil {
		return err
	}
	if err := hits(10); err != nil {
		return err
	}
	allocs := testing.AllocsPerRun(10_000, func() { _, _, _ = cache.Get(b.ctx, key) })
	peer := best(s[1:], false)
	r := ratios(s[0], peer)
	b.report.add(row{
		work: "Near-cache hit, decoded value", ours: perOp(s[0]), peer: perOp(peer), peerName: peer.name + ", DoCache GET",
		ratio: r, limit: "≤ 2.00 and ≤ 1 alloc", ok: r.median <= 2 && allocs <= 1,
		note: fmt.Sprintf("%.0f allocs, %d misses", allocs, misses.Load()),
	})
	b.report.hit("ticker cache, near cache", s[0])
	return nil
}

// mirrorRead: a price from memory.
func mirrorRead(b *bench) error {
	c, err := b.client()
	if err != nil {
		return err
	}
	defer c.Close()
	list := markets("mirror", 1000)
	ticks := make([]fulloncache.Tick, len(list))
	bare := make(map[fulloncache.Market]*atomic.Pointer[fulloncache.Tick], len(list))
	for i, m := range list {
		ticks[i] = tick(m)
		bare[m] = &atomic.Pointer[fulloncache.Tick]{}
		bare[m].Store(&ticks[i])
	}
	if err := c.Ticks.SetMany(b.ctx, ticks); err != nil {
		return err
	}
	mirror, err := c.Ticks.Mirror(b.ctx, "mirror")
	if err != nil {
		return err
	}
	defer mirror.Close()
	if err := mirror.Ready(b.ctx); err != nil {
		return err
	}
	var sum fulloncache.Decimal
	n := b.scale(200_000)
	at, bareAt := 0, 0
	s, err := alternate(b.rounds, []contestant{
		{"fulloncache", loop(n, func(n int) error {
			for range n {
				q, err := mirror.Get(list[at])
				if err != nil {
					return err
				}
				sum = q.Price()
				if at++; at == len(list) {
					at = 0
				}
			}
			return nil
		})},
		{"map of atomic pointers", loop(n, func(n int) error {
			for range n {
				p := bare[list[bareAt]]
				if p == nil {
					return fmt.Errorf("no tick of %s", list[bareAt])
				}
				sum = p.Load().Price
				if bareAt++; bareAt == len(list) {
					bareAt = 0
				}
			}
			return nil
		})},
	})
	if err != nil {
		return err
	}
	if sum.IsZero() {
		return errors.New("no price was read")
	}
	allocs := testing.AllocsPerRun(100_000, func() { _, _ = mirror.Get(list[7]) })
	aged := testing.AllocsPerRun(100_000, func() { _, _ = mirror.Get(list[7], fulloncache.MaxAge(time.Hour)) })
	r := ratios(s[0], s[1])
	b.report.add(row{
		work: "Mirror read, 1,000 symbols", ours: perOp(s[0]), peer: perOp(s[1]), peerName: "Go map of atomic pointers",
		ratio: r, limit: "≤ 1.50 and 0 allocs", ok: r.median <= 1.5 && allocs == 0,
		note: fmt.Sprintf("%.0f allocs, %.0f with MaxAge", allocs, aged),
	})
	b.report.hit("ticker cache, mirror", s[0])
	return nil
}

// delivery sets a tick and awaits it at the subscriber: the time from the call
// of set to the arrival.
func delivery(m fulloncache.Market, set func(fulloncache.Tick) error, arrivals <-chan arrival) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		start := time.Now()
		t := tick(m)
		if err := set(t); err != nil {
			return 0, err
		}
		for {
			a := <-arrivals
			if a.err != nil {
				return 0, a.err
			}
			if a.tick.Equal(t.Time) { // not what came before
				return a.at.Sub(start), nil
			}
		}
	}
}

type arrival struct {
	tick, at time.Time
	err      error
}

// ownClient marks a peer whose subscriber has another client than its writer.
const ownClient = ", client of its own"

// streamDelivery: from the call of Set to the subscriber.
func streamDelivery(b *bench) error {
	c, err := b.client()
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()

	m := markets("stream", 1)[0]
	arrivals := make(chan arrival, 16)
	go func() {
		for u, err := range c.Ticks.Stream(ctx, m) {
			arrivals <- arrival{u.Tick.Time, time.Now(), err}
		}
	}()
	if err := awaitSubscriber(b, "db0:"+tickerKey(m)); err != nil {
		return err
	}
	callers := []caller{{"fulloncache", delivery(m, func(t fulloncache.Tick) error { return c.Ticks.Set(b.ctx, t) }, arrivals)}}

	// The subscriber by hand shares the writer's client, or has one of its own.
	writers, closeWriters, err := b.peers()
	if err != nil {
		return err
	}
	defer closeWriters()
	readers, closeReaders, err := b.peers()
	if err != nil {
		return err
	}
	defer closeReaders()
	for i, p := range writers {
		for k, reader := range []*byHand{p, readers[i]} {
			m := markets(fmt.Sprintf("streampeer%d-%d", i, k), 1)[0]
			arrivals := make(chan arrival, 16)
			go func() {
				_ = reader.follow(ctx, m, func(fields []string) {
					at := time.Now()
					when, err := time.Parse(time.RFC3339Nano, fields[3])
					arrivals <- arrival{when, at, err}
				})
			}()
			if err := awaitSubscriber(b, "db0:"+tickerKey(m)); err != nil {
				return err
			}
			name := rueidisConfigs[i].name + [...]string{", same client", ownClient}[k]
			callers = append(callers, caller{name, delivery(m, func(t fulloncache.Tick) error { return p.set(b.ctx, t) }, arrivals)})
		}
	}
	s, err := interleave(b.rounds, b.scale(200), callers)
	if err != nil {
		return err
	}
	peer := best(s[1:], false)
	r := ratios(s[0], peer)
	b.report.add(row{
		work: "Publish to delivery through Stream", ours: latencies(s[0]), peer: latencies(peer), peerName: peer.name + ", script + Receive",
		ratio: r, limit: "≤ 1.20", ok: r.median <= 1.2,
	})
	// A subscriber that shares the writer's connection gets the reply and the
	// message in one read; across processes, as the cache is used, there is no
	// such thing.
	var apart []series
	for _, p := range s[1:] {
		if strings.HasSuffix(p.name, ownClient) {
			apart = append(apart, p)
		}
	}
	peer = best(apart, false)
	b.report.add(row{
		work: "The same, subscriber apart from the writer", ours: latencies(s[0]), peer: latencies(peer), peerName: peer.name + ", script + Receive",
		ratio: ratios(s[0], peer), limit: "stated", ok: true,
	})
	return nil
}

// awaitSubscriber waits until the server knows a subscriber of the channel.
func awaitSubscriber(b *bench, channel string) error {
	admin := redis.NewClient(&redis.Options{Addr: b.addr})
	defer admin.Close()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		n, err := admin.PubSubNumSub(b.ctx, channel).Result()
		if err != nil {
			return err
		}
		if n[channel] > 0 {
			return nil
		}
	}
	return fmt.Errorf("nobody subscribed to %s", channel)
}
