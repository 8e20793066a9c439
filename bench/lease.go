package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/bsm/redislock"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"

	"github.com/fullon/fulloncache"
)

// leaseOne: one bot takes and gives back a market that nobody wants.
func leaseOne(b *bench) error {
	c, err := b.client()
	if err != nil {
		return err
	}
	defer c.Close()
	m := markets("lease", 1)[0]
	callers := []caller{{"fulloncache", timed(func() error {
		l, err := c.Bots.Acquire(b.ctx, m, "bot", fulloncache.LeaseOptions{})
		if err != nil {
			return err
		}
		return l.Release(b.ctx)
	})}, {"round trip", timed(func() error { return c.Base.Ping(b.ctx) })}}

	n := atomic.Int64{}
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
		defer locker.Close()
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
