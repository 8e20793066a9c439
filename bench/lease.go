package main

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"

	"github.com/fullon/fulloncache"
)

// acquireRelease is a bot that takes and gives back a market that nobody wants.
func acquireRelease(b *bench, c *fulloncache.Client) func() (time.Duration, error) {
	m := markets("lease", 1)[0]
	return timed(func() error {
		l, err := c.Bots.Acquire(b.ctx, m, "bot", fulloncache.LeaseOptions{})
		if err != nil {
			return err
		}
		return l.Release(b.ctx)
	})
}

// leaseTrips counts the round trips of Acquire and Release.
func leaseTrips(b *bench) error {
	return trips(b, "Acquire + Release", func(c *fulloncache.Client) func() (time.Duration, error) { return acquireRelease(b, c) })
}

// leaseOne: one bot takes and gives back a market that nobody wants.
func leaseOne(b *bench) error {
	c, err := b.client()
	if err != nil {
		return err
	}
	defer c.Close()
	callers := []caller{{"fulloncache", acquireRelease(b, c)}, {"round trip", timed(func() error { return c.Base.Ping(b.ctx) })}}

	n := atomic.Int64{}
	var ends []func()
	defer func() {
		for _, end := range ends {
			end()
		}
	}()
	for _, o := range []struct {
		name string
		set  func(*rueidislock.LockerOption)
	}{
		{"rueidislock", func(*rueidislock.LockerOption) {}},
		{"rueidislock (no loop tracking)", func(o *rueidislock.LockerOption) { o.NoLoopTracking = true }},
		{"rueidislock (AlwaysPipelining)", func(o *rueidislock.LockerOption) { o.NoLoopTracking = true; o.ClientOption.AlwaysPipelining = true }},
	} {
		option := rueidislock.LockerOption{
			ClientOption: rueidis.ClientOption{InitAddress: []string{b.addr}}, KeyMajority: 1, KeyValidity: 30 * time.Second,
		}
		o.set(&option)
		locker, err := rueidislock.NewLocker(option)
		if err != nil {
			return fmt.Errorf("rueidislock: %w", err)
		}
		ends = append(ends, locker.Close)
		name := fmt.Sprint("rueidislock-", n.Add(1))
		callers = append(callers, caller{o.name, timed(func() error {
			_, cancel, err := locker.TryWithContext(b.ctx, name)
			if err == nil {
				cancel()
			}
			return err
		})})
	}
	plain := redis.NewClient(&redis.Options{Addr: b.addr})
	defer plain.Close()
	locks := redislock.New(plain)
	callers = append(callers, caller{"redislock", timed(func() error {
		l, err := locks.Obtain(b.ctx, "redislock", 30*time.Second, nil)
		if err != nil {
			return err
		}
		return l.Release(context.WithoutCancel(b.ctx))
	})})
	s, err := interleave(b.rounds, b.scale(200), callers)
	if err != nil {
		return err
	}
	peer := best(s[2:], false)
	r := ratios(s[0], peer)
	b.report.add(row{
		work: "Acquire + Release, one caller", ours: latencies(s[0]), peer: latencies(peer), peerName: peer.name,
		ratio: r, limit: "≤ 1.10", ok: r.median <= 1.1,
	})
	return nil
}

const (
	contenders     = 64
	contendClients = 8
)

// leaseContended: bots of several clients stand in line for one market, again and
// again.
func leaseContended(b *bench) error {
	var clients []*fulloncache.Client
	defer func() {
		for _, c := range clients {
			c.Close()
		}
	}()
	for range contendClients {
		c, err := b.client()
		if err != nil {
			return err
		}
		clients = append(clients, c)
	}
	admin, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{b.addr}, ForceSingleClient: true, DisableCache: true})
	if err != nil {
		return err
	}
	defer admin.Close()
	m := markets("contend", 1)[0]
	take := func(bot int) (*fulloncache.Lease, error) {
		return clients[bot%contendClients].Bots.AcquireWait(b.ctx, m, fmt.Sprint("bot_", bot), fulloncache.LeaseOptions{})
	}
	for range min(b.rounds, 10) {
		if err := leaseOrder(b.ctx, admin, take); err != nil {
			return err
		}
	}
	var grants [contenders]int
	// By the server's books: nothing else is published meanwhile.
	books := &byHand{redis: admin}
	done := make([]int, 4)
	count := func(to []int) (err error) {
		for i, name := range []string{"publish", "evalsha"} {
			if to[i], err = books.calls(b, name); err != nil {
				return err
			}
		}
		return nil
	}
	if err := count(done[:2]); err != nil {
		return err
	}
	s, err := alternate(b.rounds, []contestant{{"fulloncache", throughput(contenders, b.window(), func(bot int) error {
		l, err := take(bot)
		if err != nil {
			return err
		}
		grants[bot]++
		return l.Release(b.ctx)
	})}})
	if err != nil {
		return err
	}
	if err := count(done[2:]); err != nil {
		return err
	}
	total := 0
	for _, n := range grants {
		total += n
	}
	woken, calls := float64(done[2]-done[0])/float64(total), float64(done[3]-done[1])/float64(total)
	b.report.add(row{
		work: "AcquireWait + Release, 64 bots on one market", ours: rates(s[0]), limit: "≤ 2 wake-ups per hand-over, in order", ok: woken <= 2,
		note: fmt.Sprintf("%.2f wake-ups and %.2f calls per hand-over; %d to %d turns of each bot; all in the order in which they came",
			woken, calls, slices.Min(grants[:]), slices.Max(grants[:])),
	})
	return nil
}

// leaseOrder lets all bots stand in line, one after the other, and fails if they
// have their turns in another order.
func leaseOrder(ctx context.Context, admin rueidis.Client, take func(bot int) (*fulloncache.Lease, error)) error {
	holder, err := take(contenders)
	if err != nil {
		return err
	}
	turns, failed := make(chan int, contenders), make(chan error, contenders)
	for bot := range contenders {
		go func() {
			l, err := take(bot)
			if err == nil {
				turns <- bot
				err = l.Release(ctx)
			}
			failed <- err
		}()
		for n := int64(-1); n != int64(bot+1); {
			if n, err = admin.Do(ctx, admin.B().Zcard().Key("block_exchange:contend:COIN0USD:line").Build()).AsInt64(); err != nil {
				return err
			}
		}
	}
	if err := holder.Release(ctx); err != nil {
		return err
	}
	for want := range contenders {
		if err := <-failed; err != nil {
			return err
		}
		if bot := <-turns; bot != want {
			return fmt.Errorf("bot %d had the turn of bot %d", bot, want)
		}
	}
	return nil
}
