package main

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fullon/fulloncache"
)

//go:embed peer_apply.lua
var peerApply string

var benchAccount = fulloncache.Account{UserID: 1, Exchange: "bench"}

// benchFill is the nth fill of the account: buys and sells by turns.
func benchFill(n int) fulloncache.Trade {
	side := fulloncache.Buy
	if n%2 == 1 {
		side = fulloncache.Sell
	}
	return fulloncache.Trade{
		Market: fulloncache.Market{Exchange: benchAccount.Exchange, Symbol: "BTC/USD"}, UserID: benchAccount.UserID,
		ExTradeID: strconv.Itoa(n), Side: side, Volume: volume, Price: price, Time: time.Now(),
	}
}

// calls returns how often the server ran commands so far.
func (p *byHand) calls(b *bench, names ...string) (total int, err error) {
	info, err := p.redis.Do(b.ctx, p.redis.B().Info().Section("commandstats").Build()).ToString()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(info) {
		for _, name := range names {
			rest, ok := strings.CutPrefix(line, "cmdstat_"+name+":calls=")
			if !ok {
				continue
			}
			count, _, _ := strings.Cut(rest, ",")
			n, err := strconv.Atoi(count)
			if err != nil {
				return 0, fmt.Errorf("%q: %w", line, err)
			}
			total += n
		}
	}
	return total, nil
}

// applyTrade: one caller counts fills of one position.
func applyTrade(b *bench, c *fulloncache.Client, peers []*byHand) error {
	n := 0
	apply := func() error {
		n++
		_, err := c.Accounts.ApplyTrade(b.ctx, benchFill(n))
		return err
	}
	if err := apply(); err != nil { // loads the script
		return err
	}
	// Top-level commands only: the script itself reads with HMGET.
	sent := []string{"evalsha", "eval", "hget", "hgetall"}
	before, err := peers[0].calls(b, sent...)
	if err != nil {
		return err
	}
	const counted = 1000
	for range counted {
		if err := apply(); err != nil {
			return err
		}
	}
	after, err := peers[0].calls(b, sent...)
	if err != nil {
		return err
	}
	trips := float64(after-before) / counted

	callers := []caller{{"fulloncache", timed(apply)}}
	for i, p := range peers {
		sha, err := p.redis.Do(b.ctx, p.redis.B().ScriptLoad().Script(peerApply).Build()).ToString()
		if err != nil {
			return fmt.Errorf("load the peer's script: %w", err)
		}
		key := fmt.Sprintf("peer_positions:%d", i)
		k, stored := 0, ""
		callers = append(callers, caller{rueidisConfigs[i].name, timed(func() error {
			k++
			now := time.Now()
			next := `{"rev":` + strconv.Itoa(k) + `,"time":"` + now.UTC().Format(redisTime) +
				`","uid":1,"exchange":"bench","symbol":"BTC/USD","side":"long","volume":1834.20491733,"cost":123117921.9,"fees":0,"realised_profit":0}`
			status, err := p.redis.Do(b.ctx, p.redis.B().Evalsha().Sha1(sha).Numkeys(3).
				Key(key, key+":fills", key+":rev").
				Arg("BTC/USD", stored, next, strconv.Itoa(k), strconv.FormatInt(now.UnixMicro(), 10), "db0:"+key, "10000").Build()).AsInt64()
			if err == nil && status != 1 {
				err = fmt.Errorf("the peer's script refused a fill: %d", status)
			}
			stored = next
			return err
		})})
	}
	s, err := interleave(b.rounds, b.scale(200), callers)
	if err != nil {
		return err
	}
	peer := best(s[1:], false)
	b.report.add(row{
		work: "ApplyTrade, one caller", ours: latencies(s[0]), peer: latencies(peer), peerName: peer.name + ", one script, nothing computed",
		ratio: ratios(s[0], peer), limit: "1 round trip", ok: trips == 1, note: fmt.Sprintf("%.3f round trips", trips),
	})
	return nil
}

// positionGet: one caller reads a position from the server.
func positionGet(b *bench, c *fulloncache.Client, peers []*byHand) error {
	if _, err := c.Accounts.ApplyTrade(b.ctx, benchFill(1_000_000_000)); err != nil {
		return err
	}
	callers := []caller{{"fulloncache", timed(func() error {
		_, err := c.Accounts.Position(b.ctx, benchAccount, "BTC/USD")
		return err
	})}}
	for i, p := range peers {
		callers = append(callers, caller{rueidisConfigs[i].name, timed(func() error {
			return p.redis.Do(b.ctx, p.redis.B().Hget().Key("positions:user_1:bench").Field("BTC/USD").Build()).Error()
		})})
	}
	s, err := interleave(b.rounds, b.scale(200), callers)
	if err != nil {
		return err
	}
	peer := best(s[1:], false)
	b.report.add(row{
		work: "Position over the network, one caller", ours: latencies(s[0]), peer: latencies(peer), peerName: peer.name + ", bare HGET",
		ratio: ratios(s[0], peer), limit: "stated", ok: true,
	})
	b.report.hit("account cache, server", s[0])
	return nil
}
