package main

import (
	"context"
	"crypto/sha1" // EVALSHA names scripts by it
	_ "embed"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache"
)

//go:embed peer_set.lua
var peerScript string

var peerFields = []string{"exchange", "symbol", "price", "bid", "ask", "last", "volume", "time", "rev", "received"}

// byHand is what a careful user would write with rueidis alone.
type byHand struct {
	redis rueidis.Client
	sha   string
}

// rueidisConfigs are the connections that such a user would try; the fastest is
// the peer.
var rueidisConfigs = []struct {
	name string
	set  func(*rueidis.ClientOption)
}{
	{"rueidis (defaults)", func(*rueidis.ClientOption) {}},
	{"rueidis (AlwaysPipelining)", func(o *rueidis.ClientOption) { o.AlwaysPipelining = true }},
	{"rueidis (AlwaysPipelining, one connection)", func(o *rueidis.ClientOption) {
		o.AlwaysPipelining, o.PipelineMultiplex = true, -1
	}},
	{"rueidis (one connection, flushes delayed by 20 µs)", func(o *rueidis.ClientOption) {
		o.AlwaysPipelining, o.PipelineMultiplex, o.MaxFlushDelay = true, -1, 20*time.Microsecond
	}},
}

func newByHand(ctx context.Context, addr string, set func(*rueidis.ClientOption)) (*byHand, error) {
	opt := rueidis.ClientOption{InitAddress: []string{addr}}
	set(&opt)
	client, err := rueidis.NewClient(opt)
	if err != nil {
		return nil, fmt.Errorf("rueidis: %w", err)
	}
	sum := sha1.Sum([]byte(peerScript))
	p := &byHand{redis: client, sha: hex.EncodeToString(sum[:])}
	if err := client.Do(ctx, client.B().ScriptLoad().Script(peerScript).Build()).Error(); err != nil {
		client.Close()
		return nil, fmt.Errorf("load the peer's script: %w", err)
	}
	return p, nil
}

func tickerKey(m fulloncache.Market) string {
	return "tickers:" + m.Exchange + ":" + strings.Replace(m.Symbol, "/", "", 1)
}

func text(d fulloncache.NullDecimal) string {
	if !d.Valid {
		return "-"
	}
	return d.Decimal.String()
}

const redisTime = "2006-01-02T15:04:05.000000000Z"

// set stores a tick by one call of the script.
func (p *byHand) set(ctx context.Context, t fulloncache.Tick) error {
	key := tickerKey(t.Market)
	price, bid, ask, last, volume := t.Price.String(), text(t.Bid), text(t.Ask), text(t.Last), text(t.Volume)
	reply, err := p.redis.Do(ctx, p.redis.B().Evalsha().Sha1(p.sha).Numkeys(4).
		Key(key, "ticker_symbols:"+t.Exchange, "ticker_rev:"+t.Exchange, "ticker_rev:"+t.Exchange+":beat").
		Arg(t.Time.UTC().Format(redisTime), strconv.FormatInt(t.Time.UnixMicro(), 10), "5000000",
			"0", "86400000", "PUBLISH", "db0:"+key, "db0:tickers:"+t.Exchange, "db0:ticker_rev:"+t.Exchange,
			t.Exchange, t.Symbol, price+" "+bid+" "+ask+" "+last+" "+volume, "10",
			"price", price, "bid", bid, "ask", ask, "last", last, "volume", volume).Build()).ToArray()
	if err != nil {
		return fmt.Errorf("peer's script: %w", err)
	}
	if status, err := reply[0].AsInt64(); err != nil || status != 1 {
		return fmt.Errorf("peer's script refused the tick: status %d (%w)", status, err)
	}
	return nil
}

// get reads a tick's fields as strings.
func (p *byHand) get(ctx context.Context, m fulloncache.Market) error {
	fields, err := p.redis.Do(ctx, p.redis.B().Hmget().Key(tickerKey(m)).Field(peerFields...).Build()).AsStrSlice()
	if err == nil && fields[2] == "" {
		err = errors.New("no price")
	}
	return err
}

// follow calls arrived for every message of a ticker, as strings, until ctx ends.
func (p *byHand) follow(ctx context.Context, m fulloncache.Market, arrived func([]string)) error {
	return p.redis.Receive(ctx, p.redis.B().Subscribe().Channel("db0:"+tickerKey(m)).Build(), func(msg rueidis.PubSubMessage) {
		arrived(strings.SplitN(msg.Message, " ", 10))
	})
}

// goRedisSet is HSET and PUBLISH in one pipeline.
func goRedisSet(ctx context.Context, client *redis.Client, t fulloncache.Tick) error {
	key := tickerKey(t.Market)
	price, bid, ask, last, volume := t.Price.String(), text(t.Bid), text(t.Ask), text(t.Last), text(t.Volume)
	when := t.Time.UTC().Format(redisTime)
	pipe := client.Pipeline()
	pipe.HSet(ctx, key, "exchange", t.Exchange, "symbol", t.Symbol, "price", price, "bid", bid, "ask", ask,
		"last", last, "volume", volume, "time", when)
	pipe.Publish(ctx, "db0:"+key, strings.Join([]string{"T", when, price, bid, ask, last, volume, t.Exchange, t.Symbol}, " "))
	_, err := pipe.Exec(ctx)
	return err
}

// tick is a full tick of now.
func tick(m fulloncache.Market) fulloncache.Tick {
	return fulloncache.Tick{
		Market: m,
		Price:  price, Bid: fulloncache.Some(bid), Ask: fulloncache.Some(ask), Last: fulloncache.Some(price),
		Volume: fulloncache.Some(volume),
		Time:   time.Now(),
	}
}

var (
	price  = fulloncache.MustDecimal("67123.45")
	bid    = fulloncache.MustDecimal("67123.4")
	ask    = fulloncache.MustDecimal("67123.5")
	volume = fulloncache.MustDecimal("1834.20491733")
)

func markets(exchange string, n int) []fulloncache.Market {
	list := make([]fulloncache.Market, n)
	for i := range list {
		list[i] = fulloncache.Market{Exchange: exchange, Symbol: fmt.Sprintf("COIN%d/USD", i)}
	}
	return list
}
