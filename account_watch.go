package fulloncache

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/feed"
	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
)

// PositionUpdate is one element of a watch: a position as it is now, or that it is
// gone.
type PositionUpdate struct {
	// Position is the whole position; of one that is gone only Account, Symbol and
	// Rev.
	Position Position
	// Conflated is how many older changes of this position the consumer was too slow
	// for; this one stands for them.
	Conflated int
	// Deleted says that nothing is stored of it any more: it was deleted, or all
	// positions of the account were told without it. [AccountCache.Position] tells
	// which: then it is flat.
	Deleted bool
}

// WatchPositions follows positions of an account in some symbols, or all of them
// if none is named: the positions as they are come first, then every change, until
// ctx ends. A consumer that is slower than the changes gets the newest of each
// position and the count of those it missed; nobody is held up. A position that
// does not exist is followed all the same.
//
// An element with an error means that the feed is disconnected ([ErrUnavailable])
// or that a stored position is corrupt ([ErrCorrupt]); the loop goes on, and once
// connected again the positions as they are come first again. Silence, however
// long, is no error. The last element is [ErrClosed] if the Client is closed, and
// [ErrInvalid] is the only one if the account or a symbol is unusable.
func (c *AccountCache) WatchPositions(ctx context.Context, account Account, symbols ...string) iter.Seq2[PositionUpdate, error] {
	return func(yield func(PositionUpdate, error) bool) {
		err := account.Validate()
		for _, symbol := range symbols {
			err = errors.Join(err, validName("symbol", symbol))
		}
		if err != nil {
			yield(PositionUpdate{}, err)
			return
		}
		for u, err := range c.followed(ctx, account) {
			if err == nil && (u.Key.symbol == "" || len(symbols) > 0 && !slices.Contains(symbols, u.Key.symbol)) {
				continue
			}
			if u.Deleted {
				u.Value = Position{Account: account, Symbol: u.Key.symbol, Rev: u.Rev}
			}
			if !yield(PositionUpdate{Position: u.Value, Conflated: u.Conflated, Deleted: u.Deleted}, err) {
				return
			}
		}
	}
}

// followed yields the changes of an account's positions and, without a symbol, that
// all were told.
func (c *AccountCache) followed(ctx context.Context, a Account) iter.Seq2[feed.Update[positionName, Position], error] {
	return followed(ctx, c.hub, []feed.Topic{{Group: keys.User(a.UserID), Channel: c.keys.PositionsChannel(a.UserID, a.Exchange)}})
}

// WaitPosition waits until the position of an account in a symbol is newer than a
// revision, and returns it: pass the Rev of the one that is known, and it is the
// one after a later fill or snapshot; pass 0, and it is the first that is known,
// maybe at once. It waits through disconnects until ctx ends, and returns ctx's
// error then. If what is stored cannot be read it returns the errors of
// [AccountCache.Position].
func (c *AccountCache) WaitPosition(ctx context.Context, account Account, symbol string, rev int64) (p Position, err error) {
	call := c.begin(ctx, "account.wait_position", account.market(symbol))
	defer func() { call.end(ctx, err) }()
	if err := validPosition(account, symbol); err != nil {
		return p, err
	}
	if err := validID("rev", rev, 0); err != nil {
		return p, err
	}
	for u, err := range c.followed(ctx, account) {
		switch {
		case errors.Is(err, ErrClosed):
			return p, err
		case err == nil && u.Key.symbol == symbol && !u.Deleted:
			p = u.Value
		case err == nil && u.Key.symbol != symbol && u.Key.symbol != "", errors.Is(err, ErrUnavailable):
			continue
		default:
			// It may be unknown, flat or corrupt.
			if p, err = c.positionAtLast(ctx, account, symbol); err != nil && ctx.Err() != nil {
				continue // with ctx, the changes end
			}
			if err != nil && !errors.Is(err, ErrNotFound) {
				return Position{}, err
			}
		}
		if p.Rev > rev {
			return p, nil
		}
	}
	return Position{}, fmt.Errorf("position of %s in %s: %w", account, printable(symbol), ctx.Err())
}

// positionAtLast reads a position as soon as the server can answer.
func (c *AccountCache) positionAtLast(ctx context.Context, a Account, symbol string) (Position, error) {
	for {
		p, err := c.position(ctx, a, symbol)
		if !errors.Is(err, ErrUnavailable) || kv.IsRefusal(err) || ctx.Err() != nil {
			return p, err
		}
		beforeReread(ctx)
	}
}

// positionSource is what the feed follows: one group per user.
type positionSource struct {
	connector
	c *AccountCache
}

// user reads the name of a group.
func (s positionSource) user(group string) int64 {
	users, _ := usersOf("", []string{group}) // it names one
	return users[0]
}

func (s positionSource) Control(group string) string {
	return s.c.keys.PositionRevChannel(s.user(group))
}

func (s positionSource) Probe(ctx context.Context, conn feed.Conn, group string) (int64, error) {
	return probe(ctx, conn, s.c.keys.PositionRev(s.user(group)))
}

func (s positionSource) Decode(channel, message string) (feed.Message[positionName, Position], error) {
	m, err := readPositionMessage(channel, message)
	if err != nil {
		return feed.Message[positionName, Position]{}, err
	}
	if m.kind == messageReset {
		return feed.Message[positionName, Position]{Kind: feed.Reset}, nil
	}
	return feed.Message[positionName, Position]{Event: positionEvent(m.position, m.kind == messageDeleted)}, nil
}

func positionEvent(p Position, deleted bool) feed.Event[positionName, Position] {
	return feed.Event[positionName, Position]{Key: positionName{p.Account, p.Symbol}, Value: p, Rev: p.Rev, Deleted: deleted}
}

// Load reads the positions behind channels: those of accounts of a user.
func (s positionSource) Load(ctx context.Context, _ string, channels []string, emit func(string, feed.Event[positionName, Position], error)) (time.Time, error) {
	c := s.c
	cmds := make([]rueidis.Completed, len(channels))
	for i, channel := range channels {
		cmds[i] = c.kv.B().Hgetall().Key(c.keys.ChannelKey(channel)).Build()
	}
	for i, reply := range c.kv.DoMulti(ctx, cmds) {
		channel, key := channels[i], c.keys.ChannelKey(channels[i])
		fields, err := hashOf(key, reply)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return time.Time{}, err
		}
		if err != nil {
			emit(channel, feed.Event[positionName, Position]{}, err)
			continue
		}
		a := c.whose(key, fields)
		if told, err := readTold(key, a, fields[""]); err == nil && told.rev > 0 {
			emit(channel, positionEvent(Position{Account: a, Rev: told.rev}, false), nil)
		}
		_, _ = listPositions(key, a, fields, func(p Position, err error) bool { // it yields its errors
			emit(channel, positionEvent(p, false), err)
			return true
		})
	}
	return time.Time{}, nil
}

// whose tells the account of positions, as they do; none if none can be read.
func (c *AccountCache) whose(key string, fields map[string]string) Account {
	for _, text := range fields {
		var d positionDecoder
		if d.read(text) == nil && c.positionsKey(d.p.Account) == key {
			return d.p.Account
		}
	}
	return Account{}
}

func (s positionSource) Name(name positionName) string { return name.symbol }

func (s positionSource) Own(name positionName) positionName {
	return positionName{Account{name.UserID, strings.Clone(name.Exchange)}, strings.Clone(name.symbol)}
}

func (s positionSource) Rename(p *Position, name positionName) {
	p.Account, p.Symbol = name.Account, name.symbol
}
