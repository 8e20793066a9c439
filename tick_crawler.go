package fulloncache

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/kv"
)

// TickCrawler is the configuration of a crawler that feeds tickers of an
// exchange.
type TickCrawler struct {
	Exchange string `json:"exchange"`
	Name     string `json:"name"` // Name is unique per exchange.
	// Config is the crawler's own: any JSON value.
	Config json.RawMessage `json:"config"`
}

// SetCrawler stores the configuration of a crawler, replacing one of the same
// exchange and name. It returns [ErrInvalid] if a name is unusable or the
// configuration is not JSON.
func (c *TickCache) SetCrawler(ctx context.Context, crawler TickCrawler) (err error) {
	call := c.begin(ctx, "tick.set_crawler", Market{Exchange: crawler.Exchange})
	defer func() { call.end(ctx, err) }()
	if err := validCrawler(crawler.Exchange, crawler.Name); err != nil {
		return err
	}
	if !json.Valid(crawler.Config) {
		return fmt.Errorf("%w: configuration of crawler %q is not JSON", ErrInvalid, crawler.Name)
	}
	// The index first: an exchange in it without crawlers is harmless, the
	// reverse would be a crawler that nobody sees.
	index, key := c.keys.TickCrawlerExchanges(), c.keys.TickCrawlers(crawler.Exchange)
	if _, err := c.kv.Do(ctx, c.kv.B().Sadd().Key(index).Member(crawler.Exchange).Build()); err != nil {
		return redisError(index, err)
	}
	_, err = c.kv.Do(ctx, c.kv.B().Hset().Key(key).FieldValue().FieldValue(crawler.Name, string(crawler.Config)).Build())
	return redisError(key, err)
}

// DeleteCrawler deletes the configuration of a crawler. It returns [ErrNotFound]
// if there was none.
func (c *TickCache) DeleteCrawler(ctx context.Context, exchange, name string) (err error) {
	call := c.begin(ctx, "tick.delete_crawler", Market{Exchange: exchange})
	defer func() { call.end(ctx, err) }()
	if err := validCrawler(exchange, name); err != nil {
		return err
	}
	key := c.keys.TickCrawlers(exchange)
	reply, err := c.kv.Do(ctx, c.kv.B().Hdel().Key(key).Field(name).Build())
	if err != nil {
		return redisError(key, err)
	}
	if n, _ := reply.AsInt64(); n == 0 {
		return fmt.Errorf("crawler %q of %s: %w", name, printable(exchange), ErrNotFound)
	}
	return nil
}

// Crawlers yields the configured crawlers of the exchanges given, or of all,
// sorted by exchange and name. It reads through the near cache: a change by
// another process is seen within a network delay, and never later than
// [Config].NearMaxStaleness. One that cannot be read yields its error with a
// TickCrawler that carries only the names, and the listing goes on.
func (c *TickCache) Crawlers(ctx context.Context, exchanges ...string) iter.Seq2[TickCrawler, error] {
	return func(yield func(TickCrawler, error) bool) {
		var err error
		call := c.begin(ctx, "tick.crawlers", Market{})
		defer func() { call.end(ctx, err) }()
		if len(exchanges) == 0 {
			if exchanges, err = c.members(ctx, c.keys.TickCrawlerExchanges()); err != nil {
				yield(TickCrawler{}, err)
				return
			}
		}
		call.hit = HitNear
		for _, exchange := range exchanges {
			list, hit, lerr := c.crawlersOf(ctx, exchange)
			if !hit {
				call.hit = HitMiss
			}
			if lerr != nil {
				err = lerr
				if !yield(TickCrawler{Exchange: exchange}, lerr) {
					return
				}
			}
			for _, crawler := range list {
				crawler.Exchange = exchange
				var cerr error
				if !json.Valid(crawler.Config) {
					cerr = &CorruptError{Key: c.keys.TickCrawlers(exchange), Field: crawler.Name, Err: errors.New("not JSON")}
					err, crawler.Config = cerr, nil
				}
				crawler.Config = slices.Clone(crawler.Config) // what the near cache holds is shared
				if !yield(crawler, cerr) {
					return
				}
			}
		}
	}
}

func (c *TickCache) crawlersOf(ctx context.Context, exchange string) (list []TickCrawler, hit bool, err error) {
	if err := validName("exchange", exchange); err != nil {
		return nil, false, err
	}
	return c.crawlers.Get(ctx, c.keys.TickCrawlers(exchange))
}

// readCrawlers reads the crawlers of an exchange, but for its name.
var readCrawlers = kv.Read[[]TickCrawler]{
	Command: kv.HgetallCommand,
	Decode: func(key string, reply rueidis.RedisMessage, err error) ([]TickCrawler, error) {
		if err != nil {
			return nil, redisError(key, err)
		}
		fields, err := reply.AsStrMap()
		list := make([]TickCrawler, 0, len(fields))
		for name, config := range fields {
			list = append(list, TickCrawler{Name: name, Config: json.RawMessage(config)})
		}
		slices.SortFunc(list, func(a, b TickCrawler) int { return strings.Compare(a.Name, b.Name) })
		return list, err
	},
}

func validCrawler(exchange, name string) error {
	if err := validName("exchange", exchange); err != nil {
		return err
	}
	return validName("crawler", name)
}
