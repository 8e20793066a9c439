package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache"
)

// tradeCount is as many trades as a recording of two and a half days of a quiet
// market has.
const tradeCount = 12_477

// trades makes up public trades of one market: ids that grow by one, prices of
// eight decimals, sizes of a few, milliseconds.
func trades(m fulloncache.Market, n int) []fulloncache.Trade {
	dice := rand.New(rand.NewPCG(5, 7))
	list := make([]fulloncache.Trade, n)
	price, when := int64(141_342), time.Date(2026, 1, 2, 0, 0, 11, 620e6, time.UTC)
	for i := range list {
		price += dice.Int64N(101) - 50
		when = when.Add(time.Duration(dice.Int64N(34_000)) * time.Millisecond)
		size := dice.Int64N(5_000) + 1
		side := fulloncache.Buy
		if dice.IntN(2) == 0 {
			side = fulloncache.Sell
		}
		list[i] = fulloncache.Trade{
			Market: m, ExTradeID: strconv.Itoa(13_519_807 + i), Side: side, Time: when,
			Price: hundredMillionths(price), Volume: fulloncache.MustDecimal(strconv.FormatInt(size, 10)), Cost: hundredMillionths(price * size),
		}
	}
	return list
}

func hundredMillionths(n int64) fulloncache.Decimal {
	d, err := fulloncache.NewDecimal(n, 8)
	if err != nil {
		panic(err)
	}
	return d
}

// byHandTrade is a trade as a careful user would write it: numbers as text, no
// field that a public trade lacks.
type byHandTrade struct {
	Exchange string `json:"exchange"`
	Symbol   string `json:"symbol"`
	ID       string `json:"ex_trade_id"`
	Side     string `json:"side"`
	Volume   string `json:"volume"`
	Price    string `json:"price"`
	Cost     string `json:"cost"`
	Fee      string `json:"fee"`
	Time     string `json:"time"`
}

func encodeByHand(trades []fulloncache.Trade) ([]string, error) {
	list := make([]string, len(trades))
	for i, t := range trades {
		text, err := json.Marshal(byHandTrade{
			t.Exchange, t.Symbol, t.ExTradeID, string(t.Side), t.Volume.String(), t.Price.String(), t.Cost.String(), t.Fee.String(),
			t.Time.Format(redisTime),
		})
		if err != nil {
			return nil, err
		}
		list[i] = string(text)
	}
	return list, nil
}

// rpush appends texts, so many to an RPUSH, all in one pipeline.
func (p *byHand) rpush(ctx context.Context, key string, texts []string, each int) error {
	cmds := make([]rueidis.Completed, 0, (len(texts)+each-1)/each)
	for some := range slices.Chunk(texts, each) {
		cmds = append(cmds, p.redis.B().Rpush().Key(key).Element(some...).Build())
	}
	for _, r := range p.redis.DoMulti(ctx, cmds...) {
		if err := r.Error(); err != nil {
			return err
		}
	}
	return nil
}

// drop deletes keys.
func (p *byHand) drop(ctx context.Context, keys ...string) error {
	return p.redis.Do(ctx, p.redis.B().Del().Key(keys...).Build()).Error()
}

// fresh times an op on keys that do not exist: what was written is gone before the
// clock starts again.
func (p *byHand) fresh(ctx context.Context, op func() error, keys ...string) func() (time.Duration, error) {
	return func() (time.Duration, error) {
		if err := p.drop(ctx, keys...); err != nil {
			return 0, err
		}
		return timed(op)()
	}
}

func goRedisRpush(ctx context.Context, client *redis.Client, key string, texts []string) error {
	pipe := client.Pipeline()
	for _, text := range texts {
		pipe.RPush(ctx, key, text)
	}
	_, err := pipe.Exec(ctx)
	return err
}

// tradesPush: a day's trades at once.
func tradesPush(b *bench, c *fulloncache.Client, peers []*byHand) error {
	gor := redis.NewClient(&redis.Options{Addr: b.addr})
	defer gor.Close()

	m := fulloncache.Market{Exchange: "trades", Symbol: "XRP/ETH"}
	list := trades(m, tradeCount)
	ready, err := encodeByHand(list)
	if err != nil {
		return err
	}
	emptied := func(op func() error, keys ...string) func() (time.Duration, error) {
		return peers[0].fresh(b.ctx, op, keys...)
	}
	push := func(opts ...fulloncache.PushOption) func() (time.Duration, error) {
		return emptied(func() error {
			pushed, err := c.Trades.PushMany(b.ctx, list, opts...)
			if err == nil && pushed.Added != len(list) {
				err = fmt.Errorf("pushed %+v", pushed)
			}
			return err
		}, "trades:trades:XRPETH", "trades:trades:XRPETH:info", "trades:trades:XRPETH:seen")
	}
	callers := []caller{
		{"fulloncache", push()},
		{"fulloncache, each trade once within an hour", push(fulloncache.Unique(time.Hour))},
	}
	for i, p := range peers {
		key := fmt.Sprintf("peertrades-%d", i)
		callers = append(callers, caller{rueidisConfigs[i].name, emptied(func() error {
			texts, err := encodeByHand(list)
			if err != nil {
				return err
			}
			return p.rpush(b.ctx, key, texts, 1)
		}, key)})
	}
	callers = append(callers, caller{"go-redis", emptied(func() error {
		texts, err := encodeByHand(list)
		if err != nil {
			return err
		}
		return goRedisRpush(b.ctx, gor, "peertrades-go", texts)
	}, "peertrades-go")})
	coded := len(callers)
	for i, p := range peers {
		key := fmt.Sprintf("peertexts-%d", i)
		callers = append(callers, caller{rueidisConfigs[i].name, emptied(func() error { return p.rpush(b.ctx, key, ready, 1) }, key)})
	}
	s, err := interleave(b.rounds, b.scale(5), callers)
	if err != nil {
		return err
	}
	work := fmt.Sprintf("PushMany of %s trades", thousands(tradeCount))
	peer := best(s[2:coded], false)
	r := ratios(s[0], peer)
	b.report.add(row{
		work: work, ours: latencies(s[0]), peer: latencies(peer), peerName: peer.name + ", JSON, pipelined RPUSH",
		ratio: r, limit: "≤ 1.30", ok: r.median <= 1.3, note: perTrade(s[0]),
	})
	b.report.add(row{
		work: "The same, each trade once within an hour", ours: latencies(s[1]), peer: latencies(peer), peerName: peer.name + ", JSON, pipelined RPUSH",
		ratio: ratios(s[1], peer), limit: "stated", ok: true, note: perTrade(s[1]),
	})
	peer = best(s[coded:], false)
	b.report.add(row{
		work: work, ours: latencies(s[0]), peer: latencies(peer), peerName: peer.name + ", pipelined RPUSH of texts made before",
		ratio: ratios(s[0], peer), limit: "stated", ok: true,
	})
	return nil
}

func perTrade(s series) string {
	return fmt.Sprintf("%s trades/s", thousands(tradeCount/(median(s.figures)/1e9)))
}

// tradesDrain: ten thousand trades in one call, and their acknowledgement.
func tradesDrain(b *bench, c *fulloncache.Client, peers []*byHand) error {
	const n = 10_000
	m := fulloncache.Market{Exchange: "drain", Symbol: "XRP/ETH"}
	list := trades(m, n)
	texts, err := encodeByHand(list)
	if err != nil {
		return err
	}
	var acks []time.Duration
	callers := []caller{{"fulloncache", func() (time.Duration, error) {
		if _, err := c.Trades.PushMany(b.ctx, list); err != nil {
			return 0, err
		}
		start := time.Now()
		batch, err := c.Trades.Drain(b.ctx, m, n)
		took := time.Since(start)
		if err == nil && len(batch.Trades) != n {
			err = fmt.Errorf("drained %d trades", len(batch.Trades))
		}
		if err != nil {
			return 0, err
		}
		start = time.Now()
		err = batch.Ack(b.ctx)
		acks = append(acks, time.Since(start))
		return took, err
	}}}
	for i, p := range peers {
		key := fmt.Sprintf("peerdrain-%d", i)
		callers = append(callers, caller{rueidisConfigs[i].name, func() (time.Duration, error) {
			if err := p.rpush(b.ctx, key, texts, 1); err != nil {
				return 0, err
			}
			// As the predecessor does it, and loses what is pushed in between.
			return timed(func() error {
				got, err := p.redis.Do(b.ctx, p.redis.B().Lrange().Key(key).Start(0).Stop(-1).Build()).AsStrSlice()
				if err != nil {
					return err
				}
				for _, text := range got {
					var t fulloncache.Trade
					if err := json.Unmarshal([]byte(text), &t); err != nil {
						return err
					}
				}
				if len(got) != n {
					return errors.New("not all were read")
				}
				return p.redis.Do(b.ctx, p.redis.B().Del().Key(key).Build()).Error()
			})()
		}})
	}
	s, err := interleave(b.rounds, b.scale(5), callers)
	if err != nil {
		return err
	}
	slices.Sort(acks)
	peer := best(s[1:], false)
	b.report.add(row{
		work: "Drain of 10,000 trades in one call, decoded", ours: latencies(s[0]), peer: latencies(peer), peerName: peer.name + ", LRANGE, decode, DEL (loses trades)",
		ratio: ratios(s[0], peer), limit: "in one call", ok: true, note: fmt.Sprintf("Ack of it: p50 %s, p99 %s", short(quantile(acks, 0.5)), short(quantile(acks, 0.99))),
	})
	return nil
}
