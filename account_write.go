package fulloncache

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
)

// positionsArgs name an account's positions to the scripts, for their messages.
func (a Account) positionsArgs() string {
	return fmt.Sprintf("%d %d\n%s", a.UserID, len(a.Exchange), a.Exchange)
}

func (c *AccountCache) blame(ctx context.Context, a Account, symbols []string, err error) error {
	key := c.positionsKey(a)
	all := []typedKey{{key, "hash"}, {c.keys.PositionRev(a.UserID), "string"}, {c.positions.key, "set"}}
	for _, symbol := range symbols {
		all = append(all, typedKey{keys.PositionFills(key, symbol), "zset"})
	}
	return blame(ctx, c.kv, err, all...)
}

// UpsertPosition stores a position of an account as the exchange tells it, as of
// its Time, and tells those who follow it, in one atomic round trip. It has all
// fills up to then: such fills do not count again, later ones do. Storing the same
// again is safe.
//
// It returns [ErrOutdated] if a newer fill counts in the stored position, or if
// something newer was told; [ErrInvalid] if a field is unusable or Time is further
// ahead of the server's clock than [Config].ClockTolerance; and [ErrUnavailable]
// if it is unknown whether it was stored. A corrupt position is replaced.
func (c *AccountCache) UpsertPosition(ctx context.Context, p Position) (err error) {
	call := c.begin(ctx, "account.upsert_position", p.market(p.Symbol))
	defer func() { call.end(ctx, err) }()
	if _, err := p.complete(); err != nil {
		return err
	}
	return c.write(ctx, p.Account, p.Time, "", []Position{p})
}

// ReplacePositions stores all positions of an account as the exchange tells them
// as of a time, which becomes the Time of each, in one atomic step: no reader sees
// a part. What is not among them is flat from now on, and so is what an account
// without positions has; what it was stored with is gone. It takes a second round
// trip where symbols are stored that are not among them.
//
// Each position needs no Account; one of another account is [ErrInvalid], as is a
// symbol that comes twice. If positions are invalid, nothing is stored and the
// error is a [BatchError] that names element and field of each. Else its errors
// are those of [AccountCache.UpsertPosition], for the account as a whole.
func (c *AccountCache) ReplacePositions(ctx context.Context, account Account, asOf time.Time, positions []Position) (err error) {
	call := c.begin(ctx, "account.replace_positions", account.market(""))
	defer func() { call.end(ctx, err) }()
	if err := account.Validate(); err != nil {
		return err
	}
	if err := validTime("positions of "+account.String(), asOf); err != nil {
		return err
	}
	all := make([]Position, len(positions))
	errs := make([]error, len(positions))
	seen := make(map[string]bool, len(positions))
	for i, p := range positions {
		whose := p.Account
		p.Account, p.Time = account, asOf
		_, err := p.complete()
		switch {
		case err != nil:
		case whose != account && whose != Account{}:
			err = fmt.Errorf("%w: position in %s: account: it is of %s, not of %s", ErrInvalid, printable(p.Symbol), whose, account)
		case seen[p.Symbol]:
			err = fmt.Errorf("%w: position in %s: symbol: it comes twice", ErrInvalid, printable(p.Symbol))
		}
		if err != nil {
			errs[i] = fmt.Errorf("element %d: %w", i, err)
		}
		seen[p.Symbol], all[i] = true, p
	}
	if err := batchError(errs); err != nil {
		return err
	}
	told := positionsTold{Account: account, time: asOf, whole: true}
	return c.write(ctx, account, asOf, told.encode(), all)
}

// write runs the script position_write; told is that all positions are told, or "".
func (c *AccountCache) write(ctx context.Context, a Account, asOf time.Time, told string, positions []Position) error {
	symbols := make([]string, len(positions))
	args := []string{
		formatTime(asOf), strconv.FormatInt(asOf.UnixMicro(), 10), c.tolerated,
		c.kv.Publish(), c.keys.PositionsChannel(a.UserID, a.Exchange), c.keys.PositionRevChannel(a.UserID),
		a.member(), a.positionsArgs(), told,
	}
	for i := range positions {
		symbols[i] = positions[i].Symbol
		args = append(args, positions[i].Symbol, positions[i].encode())
	}
	for {
		names := c.positions.declare(ctx, a, c.fillKeys(a, symbols))
		parts, err := replyParts(c.kv.Run(ctx, kv.PositionWrite, names, args))
		if err != nil {
			return c.blame(ctx, a, symbols, err)
		}
		switch status, _ := parts[0].AsInt64(); status {
		case 1:
			c.positions.wrote(ctx, a, parts[1])
			return nil
		case 2:
			newer, _ := parts[1].ToString()
			return fmt.Errorf("positions of %s as of %s: %w: of %s", a, formatTime(asOf), ErrOutdated, newer)
		case 4:
			now, _ := parts[1].ToString()
			return fmt.Errorf("%w: positions of %s: time %s is more than %s ahead of the server's clock, %s", ErrInvalid, a, formatTime(asOf), c.tolerance, now)
		default: // what else is stored is to go
			others, _ := parts[1].AsStrSlice()
			for _, symbol := range others {
				symbols, args = append(symbols, symbol), append(args, symbol, "")
			}
		}
	}
}

// fillKeys are the keys of the scripts that write positions: the positions, the
// user's revision, and the fills of each symbol.
func (c *AccountCache) fillKeys(a Account, symbols []string) []string {
	key := c.positionsKey(a)
	names := make([]string, 0, len(symbols)+3)
	names = append(names, key, c.keys.PositionRev(a.UserID))
	for _, symbol := range symbols {
		names = append(names, keys.PositionFills(key, symbol))
	}
	return names
}

// DeletePosition forgets the position of an account in a symbol, and which fills
// counted in it, and tells those who follow it. Nothing is known of it then: it is
// not flat, and fills count in a new one, all that come. It returns [ErrNotFound]
// if nothing was stored. A corrupt position is deleted too.
func (c *AccountCache) DeletePosition(ctx context.Context, account Account, symbol string) (err error) {
	call := c.begin(ctx, "account.delete_position", account.market(symbol))
	defer func() { call.end(ctx, err) }()
	if err := validPosition(account, symbol); err != nil {
		return err
	}
	deleted, err := c.delete(ctx, account, "", []string{symbol})
	if err == nil && deleted == 0 {
		err = fmt.Errorf("position of %s in %s: %w", account, printable(symbol), ErrNotFound)
	}
	return err
}

// ClearPositions forgets all positions of an account as
// [AccountCache.DeletePosition] does, in one atomic step. Balances stay. It
// returns how many positions it deleted.
func (c *AccountCache) ClearPositions(ctx context.Context, account Account) (deleted int, err error) {
	call := c.begin(ctx, "account.clear_positions", account.market(""))
	defer func() { call.end(ctx, err) }()
	if err := account.Validate(); err != nil {
		return 0, err
	}
	return c.delete(ctx, account, "all", nil)
}

// delete runs the script position_delete.
func (c *AccountCache) delete(ctx context.Context, a Account, how string, symbols []string) (deleted int, err error) {
	for {
		args := append([]string{
			how, c.kv.Publish(), c.keys.PositionsChannel(a.UserID, a.Exchange), c.keys.PositionRevChannel(a.UserID), a.positionsArgs(),
		}, symbols...)
		parts, err := replyParts(c.kv.Run(ctx, kv.PositionDelete, c.fillKeys(a, symbols), args))
		if err != nil {
			return 0, c.blame(ctx, a, nil, err)
		}
		if status, _ := parts[0].AsInt64(); status != 1 {
			others, _ := parts[1].AsStrSlice()
			symbols = append(symbols, others...)
			continue
		}
		many, _ := parts[1].AsInt64()
		if left, _ := parts[2].AsInt64(); left == 0 {
			err = c.positions.remove(ctx, a)
		}
		return int(many), err
	}
}
