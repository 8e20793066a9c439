package fulloncache

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/kv"
)

// BotStatus is what a bot says of itself, feed by feed.
type BotStatus struct {
	Bot   string             `json:"bot"`
	Feeds map[string]BotFeed `json:"feeds"`
}

// BotFeed is what a bot says of one of its feeds.
type BotFeed struct {
	// Status is the bot's own: any JSON value.
	Status json.RawMessage `json:"status"`
	// Time is when it was said, UTC, by the server's clock. UpdateBot fills it.
	Time time.Time `json:"time"`
}

// storedBot is a bot's status as the cache holds it.
type storedBot struct {
	BotStatus
	rev int64
}

// UpdateBot stores what a bot says of some of its feeds, by name, and tells those
// who follow it, in one atomic round trip. What is stored of its other feeds stays,
// also if other processes write them at the same time. Doing it again is safe.
//
// It returns [ErrInvalid] if a name is unusable, a status is not JSON, or there is
// none, and nothing is stored then.
func (c *BotCache) UpdateBot(ctx context.Context, bot string, feeds map[string]json.RawMessage) (err error) {
	call := c.begin(ctx, "bots.update_bot", Market{})
	defer func() { call.end(ctx, err) }()
	if err := validName("bot", bot); err != nil {
		return err
	}
	if len(feeds) == 0 {
		return fmt.Errorf("%w: bot %s: no feed", ErrInvalid, printable(bot))
	}
	ttl := ""
	if c.status > 0 {
		ttl = strconv.FormatInt(max(c.status.Milliseconds(), 1), 10)
	}
	args := []string{bot, ttl, c.kv.Publish(), c.keys.BotChannel(bot), c.keys.BotsChannel(), c.keys.BotRevChannel()}
	for _, feed := range slices.Sorted(maps.Keys(feeds)) {
		if err := validName("feed", feed); err != nil {
			return fmt.Errorf("bot %s: %w", printable(bot), err)
		}
		var status bytes.Buffer
		if err := json.Compact(&status, feeds[feed]); err != nil {
			return fmt.Errorf("%w: bot %s: status of feed %s is not JSON: %w", ErrInvalid, printable(bot), printable(feed), err)
		}
		args = append(args, feed, status.String())
	}
	reply, err := c.kv.Run(ctx, kv.BotUpdate, c.scriptKeys(bot), args)
	if err != nil {
		return c.blameBot(ctx, bot, err)
	}
	over, _ := reply.AsStrSlice()
	c.tidy(over)
	return nil
}

// scriptKeys are the keys of the scripts bot_update and bot_delete.
func (c *BotCache) scriptKeys(bot string) []string {
	return []string{c.keys.BotStatus(bot), c.keys.Bots(), c.keys.BotRev()}
}

func (c *BotCache) blameBot(ctx context.Context, bot string, err error) error {
	return blame(ctx, c.kv, err, typedKey{c.keys.BotStatus(bot), "hash"}, typedKey{c.keys.Bots(), "zset"}, typedKey{c.keys.BotRev(), "string"})
}

// Bot returns the status of a bot. It returns [ErrNotFound], [ErrCorrupt] or
// [ErrUnavailable].
func (c *BotCache) Bot(ctx context.Context, bot string) (s BotStatus, err error) {
	call := c.begin(ctx, "bots.bot", Market{})
	defer func() { call.end(ctx, err) }()
	if err := validName("bot", bot); err != nil {
		return s, err
	}
	key := c.keys.BotStatus(bot)
	reply, err := c.kv.Do(ctx, c.kv.B().Hgetall().Key(key).Build())
	stored, err := c.readBot(key, kv.Reply{Msg: reply, Err: err})
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("bot %s: %w", printable(bot), err)
	}
	if err != nil {
		return BotStatus{}, err
	}
	return stored.BotStatus, nil
}

// Bots yields the status of each bot that has one, sorted, in two round trips (more
// beyond 1,000). One that cannot be read yields its error with a BotStatus that
// carries only the bot, and the listing goes on; if the index cannot be read, that
// error is the only element.
func (c *BotCache) Bots(ctx context.Context) iter.Seq2[BotStatus, error] {
	return func(yield func(BotStatus, error) bool) {
		var err error
		call := c.begin(ctx, "bots.bots", Market{})
		defer func() { call.end(ctx, err) }()
		bots, err := c.bots(ctx)
		if err != nil {
			yield(BotStatus{}, err)
			return
		}
		var gone []string
		c.readBots(ctx, c.botKeys(bots), func(i int, s storedBot, rerr error) bool {
			switch {
			case errors.Is(rerr, ErrNotFound):
				gone = append(gone, bots[i])
				return true
			case rerr != nil:
				err, s = rerr, storedBot{BotStatus: BotStatus{Bot: bots[i]}}
			}
			return yield(s.BotStatus, rerr)
		})
		c.tidy(gone)
	}
}

// bots lists the bots that have a status, sorted.
func (c *BotCache) bots(ctx context.Context) ([]string, error) {
	key := c.keys.Bots()
	reply, err := c.kv.Do(ctx, c.kv.B().Zrange().Key(key).Min("0").Max("-1").Build())
	if err != nil {
		return nil, redisError(key, err)
	}
	bots, _ := reply.AsStrSlice()
	return slices.Sorted(slices.Values(bots)), nil
}

// botKeys are where bots' status is.
func (c *BotCache) botKeys(bots []string) []string {
	names := make([]string, len(bots))
	for i, bot := range bots {
		names[i] = c.keys.BotStatus(bot)
	}
	return names
}

// readBots yields what is stored at keys, or ErrNotFound.
func (c *BotCache) readBots(ctx context.Context, names []string, yield func(i int, s storedBot, err error) bool) {
	first := 0
	for some := range slices.Chunk(names, kv.Pipelined) {
		cmds := make([]rueidis.Completed, len(some))
		for i, key := range some {
			cmds[i] = c.kv.B().Hgetall().Key(key).Build()
		}
		for i, reply := range c.kv.DoMulti(ctx, cmds) {
			s, err := c.readBot(some[i], reply)
			if !yield(first+i, s, err) {
				return
			}
		}
		first += len(some)
	}
}

// DeleteBot deletes the status of a bot and tells those who follow it. It returns
// [ErrNotFound] if there was none. A corrupt one is deleted too.
func (c *BotCache) DeleteBot(ctx context.Context, bot string) (err error) {
	call := c.begin(ctx, "bots.delete_bot", Market{})
	defer func() { call.end(ctx, err) }()
	if err := validName("bot", bot); err != nil {
		return err
	}
	deleted, err := c.deleteBots(ctx, []string{bot}, "")
	if err == nil && deleted == 0 {
		err = fmt.Errorf("bot %s: %w", printable(bot), ErrNotFound)
	}
	return err
}

// DeleteAll deletes the status of all bots, each as [BotCache.DeleteBot] does, and
// returns how many it deleted, also with an error. A bot that is alive says
// something new, and is there again. Blocks are not touched.
func (c *BotCache) DeleteAll(ctx context.Context) (deleted int, err error) {
	call := c.begin(ctx, "bots.delete_all", Market{})
	defer func() { call.end(ctx, err) }()
	bots, err := c.bots(ctx)
	if err != nil {
		return 0, err
	}
	return c.deleteBots(ctx, bots, "")
}

func (c *BotCache) deleteBots(ctx context.Context, bots []string, how string) (deleted int, _ error) {
	calls := make([]kv.ScriptCall, len(bots))
	for i, bot := range bots {
		calls[i] = kv.ScriptCall{Keys: c.scriptKeys(bot), Args: []string{
			bot, how, c.kv.Publish(), c.keys.BotChannel(bot), c.keys.BotsChannel(), c.keys.BotRevChannel(),
		}}
	}
	var errs []error
	for i, reply := range c.kv.RunMulti(ctx, kv.BotDelete, calls) {
		if reply.Err != nil {
			errs = append(errs, c.blameBot(ctx, bots[i], reply.Err))
		}
		n, _ := reply.Msg.AsInt64()
		deleted += int(n)
	}
	return deleted, errors.Join(errs...)
}

// tidy forgets, behind the caller's back, bots whose time is over, and tells those
// who follow them. What fails is done after a later update.
func (c *BotCache) tidy(bots []string) {
	if len(bots) == 0 {
		return
	}
	_ = c.kv.Background(func(ctx context.Context) { // after Close nothing is forgotten
		if _, err := c.deleteBots(ctx, bots, "absent"); err != nil && ctx.Err() == nil {
			c.log.WarnContext(ctx, "expired bots are still indexed", "error", err)
		}
	})
}

// readBot reads the reply to HGETALL.
func (c *BotCache) readBot(key string, r kv.Reply) (storedBot, error) {
	if r.Err != nil {
		return storedBot{}, redisError(key, r.Err)
	}
	fields, _ := r.Msg.AsStrMap()
	if len(fields) == 0 {
		return storedBot{}, ErrNotFound
	}
	s, err := parseBot(key, fields)
	if err == nil && c.keys.BotStatus(s.Bot) != key {
		return storedBot{}, &CorruptError{Key: key, Err: fmt.Errorf("it is of bot %s", excerpt(s.Bot))}
	}
	return s, err
}

// parseBot reads the fields of a bot's status, as Redis holds them: feed → JSON of
// time and status, and "" → revision and bot.
func parseBot(key string, fields map[string]string) (storedBot, error) {
	rev, bot, _ := strings.Cut(fields[""], " ")
	s := storedBot{BotStatus: BotStatus{Bot: bot, Feeds: make(map[string]BotFeed, len(fields))}}
	var err error
	if s.rev, err = strconv.ParseInt(rev, 10, 64); err != nil {
		return storedBot{}, &CorruptError{Key: key, Err: err}
	}
	for feed, text := range fields {
		if feed == "" {
			continue
		}
		var stored struct {
			Time   string          `json:"time"`
			Status json.RawMessage `json:"status"`
		}
		err := json.Unmarshal([]byte(text), &stored)
		f := BotFeed{Status: stored.Status}
		if err == nil {
			f.Time, err = parseTime(stored.Time)
		}
		if err == nil && f.Status == nil {
			err = errNoStatus
		}
		if err != nil {
			return storedBot{}, &CorruptError{Key: key, Field: feed, Err: err}
		}
		s.Feeds[feed] = f
	}
	return s, nil
}

var errNoStatus = errors.New("no status")
