package fulloncache

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/fullon/fulloncache/internal/feed"
	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
)

// AccountCache holds what the accounts of users own: their positions, which every
// fill changes once, and their balances.
//
//	desk := fulloncache.Account{UserID: 123, Exchange: "kraken"}
//	p, err := c.Accounts.ApplyTrade(ctx, fill)               // who sees the fills
//	p, err = c.Accounts.Position(ctx, desk, "BTC/USD")       // a bot
//	p, err = c.Accounts.WaitPosition(ctx, desk, "BTC/USD", p.Rev) // or it waits for the next
//
//	err = c.Accounts.ReplacePositions(ctx, desk, time, positions) // what the exchange says
//	err = c.Accounts.SetAccount(ctx, balances)
//	b, err := c.Accounts.Balance(ctx, desk, "USD")
//
// A position is flat ([Position.Flat]) only where that is known: where fills
// closed it, where it was told so, or where all positions of the account were
// told and it was not among them. Where nothing is known, reads return
// [ErrNotFound]; where Redis cannot answer, [ErrUnavailable]; what cannot be read
// is [ErrCorrupt]. None looks flat.
//
// Fills and what the exchange tells fit together by their times: a position that
// was told as of a time has all fills up to then, so such fills do not count
// again ([ErrOutdated]), and one that lacks a fill that counts already is refused
// ([ErrOutdated]).
type AccountCache struct {
	*observer
	kv        *kv.Client
	keys      keys.Space
	tolerance time.Duration
	tolerated string // the same in microseconds
	cap       string // of the fills that are remembered
	positions *accountIndex
	balances  *accountIndex
	hub       feed.Hub[positionName, Position]
	memory    *positionMemory
}

// positionName is what identifies a position.
type positionName struct {
	Account
	symbol string
}

func newAccountCache(cfg Config, db *kv.Client, space keys.Space, connection *observer) *AccountCache {
	c := &AccountCache{
		observer:  newObserver("account", cfg),
		kv:        db,
		keys:      space,
		tolerance: cfg.ClockTolerance,
		tolerated: strconv.FormatInt(cfg.ClockTolerance.Microseconds(), 10),
		cap:       strconv.Itoa(cfg.FillsCap),
		memory:    newPositionMemory(),
	}
	c.positions = newAccountIndex(db, c.log, space.PositionAccounts(), c.positionsKey)
	c.balances = newAccountIndex(db, c.log, space.Accounts(), c.balancesKey)
	c.hub = feed.NewHub(positionSource{connector{db}, c}, nil, feedOptions(cfg, connection, "positions "))
	return c
}

func (c *AccountCache) stop() { c.hub.Close() }

// renew is told that a server may have forgotten.
func (c *AccountCache) renew() {
	if c.kv.Cluster() {
		c.positions.renew()
		c.balances.renew()
	}
}

func (c *AccountCache) positionsKey(a Account) string { return c.keys.Positions(a.UserID, a.Exchange) }

func (c *AccountCache) balancesKey(a Account) string { return c.keys.Account(a.UserID, a.Exchange) }

// validPosition refuses what cannot name a position.
func validPosition(a Account, symbol string) error {
	if err := a.Validate(); err != nil {
		return err
	}
	return validName("symbol", symbol)
}

// Position returns the position of an account in a symbol, in one round trip. It
// returns a flat one if all positions of the account were told without it
// ([AccountCache.ReplacePositions]), and [ErrNotFound] if nothing is known of it,
// which is not flat.
func (c *AccountCache) Position(ctx context.Context, account Account, symbol string) (p Position, err error) {
	call := c.begin(ctx, "account.position", account.market(symbol))
	defer func() { call.end(ctx, err) }()
	if err := validPosition(account, symbol); err != nil {
		return p, err
	}
	return c.position(ctx, account, symbol)
}

func (c *AccountCache) position(ctx context.Context, a Account, symbol string) (Position, error) {
	key := c.positionsKey(a)
	values, err := replyParts(c.kv.Do(ctx, c.kv.B().Hmget().Key(key).Field(symbol, "").Build()))
	if err != nil {
		return Position{}, redisError(key, err)
	}
	if text, err := values[0].ToString(); err == nil {
		s, err := readPosition(key, a, symbol, text)
		return s.Position, err
	}
	text, _ := values[1].ToString() // nil if it is not there
	told, err := readTold(key, a, text)
	switch {
	case err != nil:
		return Position{}, err
	case !told.whole:
		return Position{}, fmt.Errorf("position of %s in %s: %w: it is unknown, which is not flat", a, printable(symbol), ErrNotFound)
	}
	return told.flat(symbol), nil
}

// Positions yields the positions of an account, and of no other, in the order of
// their symbols: all as they were at one moment, flat ones included, in one round
// trip. One that cannot be read yields its error with a Position that carries only
// account and symbol, and the listing goes on. If nothing is known of the account
// ([ErrNotFound]) or nothing can be, that error is the only element.
func (c *AccountCache) Positions(ctx context.Context, account Account) iter.Seq2[Position, error] {
	return func(yield func(Position, error) bool) {
		var err error
		call := c.begin(ctx, "account.positions", account.market(""))
		defer func() { call.end(ctx, err) }()
		if err = account.Validate(); err != nil {
			yield(Position{Account: account}, err)
			return
		}
		key := c.positionsKey(account)
		reply, err := c.kv.Do(ctx, c.kv.B().Hgetall().Key(key).Build())
		fields, err := hashOf(key, kv.Reply{Msg: reply, Err: err})
		if err == nil && len(fields) == 0 {
			err = fmt.Errorf("positions of %s: %w: they are unknown", account, ErrNotFound)
		}
		if err != nil {
			yield(Position{Account: account}, err)
			return
		}
		_, err = listPositions(key, account, fields, yield)
	}
}

// listPositions yields the positions of a hash. It reports whether yield wants
// more; the error is the last one.
func listPositions(key string, a Account, fields map[string]string, yield func(Position, error) bool) (more bool, last error) {
	if _, err := readTold(key, a, fields[""]); err != nil {
		last = err
		if !yield(Position{Account: a}, err) {
			return false, last
		}
	}
	for _, symbol := range slices.Sorted(maps.Keys(fields)) {
		if symbol == "" {
			continue
		}
		s, err := readPosition(key, a, symbol, fields[symbol])
		if err != nil {
			last = err
			s.Position = Position{Account: a, Symbol: symbol}
		}
		if !yield(s.Position, err) {
			return false, last
		}
	}
	return true, last
}

// AllPositions yields the positions of all accounts, by users and exchanges, those
// of each as [AccountCache.Positions] does, in two round trips (more beyond 1,000
// accounts). It is no snapshot of all accounts: they may change meanwhile.
func (c *AccountCache) AllPositions(ctx context.Context) iter.Seq2[Position, error] {
	return func(yield func(Position, error) bool) {
		var err error
		call := c.begin(ctx, "account.all_positions", Market{})
		defer func() { call.end(ctx, err) }()
		c.positions.each(ctx, func(a Account, fields map[string]string, aerr error) (more bool) {
			if aerr != nil {
				err = aerr
				return yield(Position{Account: a}, aerr)
			}
			more, aerr = listPositions(c.positionsKey(a), a, fields, yield)
			if aerr != nil {
				err = aerr
			}
			return more
		})
	}
}
