package fulloncache

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fullon/fulloncache/internal/feed"
)

// BotUpdate is one element of a watch: the status of a bot as it is now, or that it
// is gone.
type BotUpdate struct {
	Status BotStatus // Status is the whole status; of one that is gone only Bot.
	// Rev numbers the changes of all bots: a later one is greater. It never goes
	// back, and after a reconnect the same change comes with the same Rev.
	Rev int64
	// Conflated is how many older changes of this bot the consumer was too slow for;
	// this one stands for them.
	Conflated int
	// Deleted says that the status was deleted, or that its time is over: that is
	// told with the next update of a bot.
	Deleted bool
}

// Watch follows the status of bots, or of all if none is named: it as it is comes
// first, then every change, until ctx ends. A consumer that is slower than the
// changes gets the newest of each bot and the count of those it missed; nobody is
// held up. A bot that has no status yet is followed all the same.
//
// An element with an error means that the feed is disconnected ([ErrUnavailable])
// or that a stored status is corrupt ([ErrCorrupt]); the loop goes on, and once
// connected again the status of each bot comes first again. Silence, however long,
// is no error. The last element is [ErrClosed] if the Client is closed, and
// [ErrInvalid] is the only one if a name is unusable.
func (c *BotCache) Watch(ctx context.Context, bots ...string) iter.Seq2[BotUpdate, error] {
	return func(yield func(BotUpdate, error) bool) {
		topics, err := c.topics(bots)
		if err != nil {
			yield(BotUpdate{}, err)
			return
		}
		for u, err := range followed(ctx, c.hub, topics) {
			status := BotStatus{Bot: u.Key}
			if !u.Deleted {
				status.Feeds = maps.Clone(u.Value.Feeds) // others get it too
			}
			if !yield(BotUpdate{Status: status, Rev: u.Rev, Conflated: u.Conflated, Deleted: u.Deleted}, err) {
				return
			}
		}
	}
}

// botGroup is the one group that bots are followed in: their keys share a slot.
const botGroup = "bots"

// topics names the channels of bots, or that of all.
func (c *BotCache) topics(bots []string) ([]feed.Topic, error) {
	if len(bots) == 0 {
		return []feed.Topic{{Group: botGroup, Channel: c.keys.BotsChannel()}}, nil
	}
	topics := make([]feed.Topic, len(bots))
	for i, bot := range bots {
		if err := validName("bot", bot); err != nil {
			return nil, err
		}
		topics[i] = feed.Topic{Group: botGroup, Channel: c.keys.BotChannel(bot)}
	}
	return unique(topics), nil
}

// Messages on the channels of bots, as the scripts write them:
//
//	S rev fields
//	D rev bot
//	R rev
//
// Of the fields, each name and value stands behind its length in bytes and a
// colon.
const messageStatus = "S"

// botMessage is a decoded message.
type botMessage struct {
	kind string
	bot  storedBot // of a deletion, only bot and rev
}

// readBotMessage decodes a message; channel names it in errors.
func readBotMessage(channel, message string) (m botMessage, err error) {
	corrupt := func(what string) (botMessage, error) {
		return botMessage{}, &CorruptError{Key: channel, Err: fmt.Errorf("message %s: %s", excerpt(message), what)}
	}
	kind, rest, _ := strings.Cut(message, " ")
	if kind == messageReset {
		return botMessage{kind: kind}, nil
	}
	if kind != messageStatus && kind != messageDeleted {
		return corrupt("unknown kind")
	}
	number, rest, _ := strings.Cut(rest, " ")
	rev, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return corrupt("no revision")
	}
	if kind == messageDeleted {
		return botMessage{kind, storedBot{BotStatus{Bot: rest}, rev}}, nil
	}
	fields, err := countedFields(rest)
	if err != nil {
		return corrupt(err.Error())
	}
	m = botMessage{kind: kind}
	if m.bot, err = parseBot(channel, fields); err == nil && m.bot.rev != rev {
		return corrupt("two revisions")
	}
	return m, err
}

// botSource is what the feed follows: all bots are one group.
type botSource struct {
	connector
	c *BotCache
}

func (s botSource) Control(string) string { return s.c.keys.BotRevChannel() }

func (s botSource) Probe(ctx context.Context, conn feed.Conn, _ string) (int64, error) {
	return probe(ctx, conn, s.c.keys.BotRev())
}

func (s botSource) Decode(channel, message string) (feed.Message[string, storedBot], error) {
	m, err := readBotMessage(channel, message)
	if err != nil {
		return feed.Message[string, storedBot]{}, err
	}
	if m.kind == messageReset {
		return feed.Message[string, storedBot]{Kind: feed.Reset}, nil
	}
	return feed.Message[string, storedBot]{Event: botEvent(m.bot, m.kind == messageDeleted)}, nil
}

func botEvent(s storedBot, deleted bool) feed.Event[string, storedBot] {
	return feed.Event[string, storedBot]{Key: s.Bot, Value: s, Rev: s.rev, Deleted: deleted}
}

// Load reads the bots behind channels.
func (s botSource) Load(ctx context.Context, _ string, channels []string, emit func(string, feed.Event[string, storedBot], error)) (time.Time, error) {
	c := s.c
	var names, of, bots []string // keys, their channels, and bots that the index names
	for _, channel := range channels {
		if channel != c.keys.BotsChannel() {
			names, of, bots = append(names, c.keys.ChannelKey(channel)), append(of, channel), append(bots, "")
			continue
		}
		all, err := c.bots(ctx)
		if err != nil {
			return time.Time{}, err
		}
		names, of, bots = append(names, c.botKeys(all)...), append(of, slices.Repeat([]string{channel}, len(all))...), append(bots, all...)
	}
	var gone []string
	var failed error
	c.readBots(ctx, names, func(i int, b storedBot, err error) bool {
		switch {
		case errors.Is(err, ErrNotFound) && bots[i] != "":
			gone = append(gone, bots[i])
		case errors.Is(err, ErrNotFound):
		case err != nil && !errors.Is(err, ErrCorrupt):
			failed = err
		default:
			emit(of[i], botEvent(b, false), err)
		}
		return failed == nil
	})
	c.tidy(gone)
	return time.Time{}, failed
}

func (s botSource) Name(bot string) string { return bot }

func (s botSource) Own(bot string) string { return strings.Clone(bot) }

func (s botSource) Rename(b *storedBot, bot string) { b.Bot = bot }
