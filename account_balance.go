package fulloncache

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/fullon/fulloncache/internal/kv"
)

// SetAccount stores all balances of an account as they are at their time, in one
// atomic round trip: no reader sees a part, and what is not among them is 0 from
// now on. Balances need no Time of their own. Storing the same again is safe.
//
// It returns [ErrOutdated] if later ones are stored; [ErrInvalid] if a field is
// unusable, if balances are a [BatchError] that names element and field of each,
// or if the time is further ahead of the server's clock than
// [Config].ClockTolerance, and then nothing is stored; and [ErrUnavailable] if it
// is unknown whether they were. Corrupt balances are replaced.
func (c *AccountCache) SetAccount(ctx context.Context, balances AccountBalances) (err error) {
	call := c.begin(ctx, "account.set_account", balances.market(""))
	defer func() { call.end(ctx, err) }()
	if err := balances.Validate(); err != nil {
		return err
	}
	args := make([]string, 0, 2*len(balances.Balances))
	for i := range balances.Balances {
		b := &balances.Balances[i]
		args = append(args, b.Currency, b.encode())
	}
	return c.setAccount(ctx, balances.Account, balances.Time, "", args)
}

// Touch says that the balances of an account are still the same at a time: it
// becomes theirs. It returns [ErrNotFound] if none are stored, [ErrCorrupt] if
// those that are have no time, and else the errors of [AccountCache.SetAccount].
func (c *AccountCache) Touch(ctx context.Context, account Account, asOf time.Time) (err error) {
	call := c.begin(ctx, "account.touch", account.market(""))
	defer func() { call.end(ctx, err) }()
	if err := (AccountBalances{Account: account, Time: asOf}).Validate(); err != nil {
		return err
	}
	return c.setAccount(ctx, account, asOf, "touch", nil)
}

// setAccount runs the script account_set.
func (c *AccountCache) setAccount(ctx context.Context, a Account, asOf time.Time, how string, balances []string) error {
	key := c.balancesKey(a)
	args := append([]string{formatTime(asOf), strconv.FormatInt(asOf.UnixMicro(), 10), c.tolerated, how, a.member()}, balances...)
	parts, err := replyParts(c.kv.Run(ctx, kv.AccountSet, c.balances.declare(ctx, a, []string{key}), args))
	if err != nil {
		return blame(ctx, c.kv, err, typedKey{key, "hash"}, typedKey{c.balances.key, "set"})
	}
	detail := ""
	if len(parts) > 1 {
		detail, _ = parts[1].ToString()
	}
	switch status, _ := parts[0].AsInt64(); status {
	case 1:
		c.balances.wrote(ctx, a, parts[1])
		return nil
	case 2:
		return fmt.Errorf("balances of %s at %s: %w: of %s", a, formatTime(asOf), ErrOutdated, detail)
	case 3:
		return &CorruptError{Key: key, Err: errNoTime}
	case 4:
		return fmt.Errorf("%w: balances of %s: time %s is more than %s ahead of the server's clock, %s", ErrInvalid, a, formatTime(asOf), c.tolerance, detail)
	default:
		return fmt.Errorf("balances of %s: %w", a, ErrNotFound)
	}
}

// Account returns all balances of an account, as they were at one moment, in one
// round trip. It returns [ErrNotFound] if none are stored. If some cannot be read,
// it returns their errors beside the others.
func (c *AccountCache) Account(ctx context.Context, account Account) (balances AccountBalances, err error) {
	call := c.begin(ctx, "account.account", account.market(""))
	defer func() { call.end(ctx, err) }()
	if err := account.Validate(); err != nil {
		return balances, err
	}
	key := c.balancesKey(account)
	reply, err := c.kv.Do(ctx, c.kv.B().Hgetall().Key(key).Build())
	fields, err := hashOf(key, kv.Reply{Msg: reply, Err: err})
	if err == nil && len(fields) == 0 {
		err = fmt.Errorf("balances of %s: %w", account, ErrNotFound)
	}
	if err != nil {
		return balances, err
	}
	return readBalances(key, account, fields)
}

// readBalances reads the hash of an account's balances.
func readBalances(key string, a Account, fields map[string]string) (AccountBalances, error) {
	t, err := balanceTime(key, fields[""])
	if err != nil {
		return AccountBalances{}, err
	}
	all := AccountBalances{Account: a, Time: t, Balances: make([]Balance, 0, len(fields)-1)}
	var errs []error
	for _, currency := range slices.Sorted(maps.Keys(fields)) {
		if currency == "" {
			continue
		}
		b, err := readBalance(key, currency, fields[currency], t)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		all.Balances = append(all.Balances, b)
	}
	return all, errors.Join(errs...)
}

func balanceTime(key, text string) (time.Time, error) {
	t, err := parseTime(text)
	if err != nil {
		return t, &CorruptError{Key: key, Err: errNoTime}
	}
	return t, nil
}

func readBalance(key, currency, text string, t time.Time) (Balance, error) {
	b, err := decodeBalance(currency, text, t)
	if err != nil {
		return b, &CorruptError{Key: key, Field: currency, Err: err}
	}
	return b, nil
}

// Balance returns the balance of an account in a currency, in one round trip: 0 of
// one that is not among those that are stored, for they are all. It returns
// [ErrNotFound] if none are.
func (c *AccountCache) Balance(ctx context.Context, account Account, currency string) (b Balance, err error) {
	call := c.begin(ctx, "account.balance", account.market(""))
	defer func() { call.end(ctx, err) }()
	if err := account.Validate(); err != nil {
		return b, err
	}
	if err := validName("currency", currency); err != nil {
		return b, err
	}
	key := c.balancesKey(account)
	values, err := replyParts(c.kv.Do(ctx, c.kv.B().Hmget().Key(key).Field(currency, "").Build()))
	if err != nil {
		return b, redisError(key, err)
	}
	if values[0].IsNil() && values[1].IsNil() {
		return b, fmt.Errorf("balances of %s: %w", account, ErrNotFound)
	}
	when, _ := values[1].ToString() // nil if it is not there
	t, err := balanceTime(key, when)
	if err != nil {
		return b, err
	}
	if values[0].IsNil() {
		return Balance{Currency: currency, Time: t}, nil
	}
	text, _ := values[0].ToString()
	return readBalance(key, currency, text, t)
}

// Accounts yields the balances of all accounts, by users and exchanges, in two
// round trips (more beyond 1,000 accounts). An account of which something cannot
// be read yields the error beside what can, and the listing goes on; if the index
// cannot be read, that error is the only element. It is no snapshot of all
// accounts: they may change meanwhile.
func (c *AccountCache) Accounts(ctx context.Context) iter.Seq2[AccountBalances, error] {
	return func(yield func(AccountBalances, error) bool) {
		var err error
		call := c.begin(ctx, "account.accounts", Market{})
		defer func() { call.end(ctx, err) }()
		c.balances.each(ctx, func(a Account, fields map[string]string, aerr error) bool {
			all := AccountBalances{}
			if aerr == nil {
				all, aerr = readBalances(c.balancesKey(a), a, fields)
			}
			if aerr != nil {
				err = aerr
			}
			all.Account = a
			return yield(all, aerr)
		})
	}
}

// DeleteAccount forgets the balances of an account. Positions stay. It returns
// [ErrNotFound] if none were stored. Corrupt ones are deleted too.
func (c *AccountCache) DeleteAccount(ctx context.Context, account Account) (err error) {
	call := c.begin(ctx, "account.delete_account", account.market(""))
	defer func() { call.end(ctx, err) }()
	if err := account.Validate(); err != nil {
		return err
	}
	reply, err := c.kv.Do(ctx, c.kv.B().Del().Key(c.balancesKey(account)).Build())
	if err != nil {
		return err
	}
	if err := c.balances.remove(ctx, account); err != nil {
		return err
	}
	if deleted, _ := reply.AsInt64(); deleted == 0 {
		return fmt.Errorf("balances of %s: %w", account, ErrNotFound)
	}
	return nil
}
