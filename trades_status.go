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

	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
)

// TradeStatus says until when the trades of an exchange are known: a crawler goes
// on from there.
type TradeStatus struct {
	Exchange string    `json:"exchange"`
	Time     time.Time `json:"time"`
}

// UserTradeStatus says until when the trades of a user are known.
type UserTradeStatus struct {
	UserID int64     `json:"uid"`
	Time   time.Time `json:"time"`
}

// UpdateStatus notes until when the trades of an exchange are known. It returns
// [ErrOutdated] if a later time is stored: delete it first to begin again.
func (c *TradesCache) UpdateStatus(ctx context.Context, exchange string, t time.Time) (err error) {
	call := c.begin(ctx, "trades.update_status", Market{Exchange: exchange})
	defer func() { call.end(ctx, err) }()
	if err := validName("exchange", exchange); err != nil {
		return err
	}
	return c.setStatus(ctx, c.keys.TradeStatus(), exchange, t)
}

// UpdateUserStatus is [TradesCache.UpdateStatus] for a user.
func (c *TradesCache) UpdateUserStatus(ctx context.Context, user int64, t time.Time) (err error) {
	call := c.begin(ctx, "trades.update_user_status", Market{})
	defer func() { call.end(ctx, err) }()
	if err := validID("uid", user, 1); err != nil {
		return err
	}
	return c.setStatus(ctx, c.keys.UserTradeStatus(), keys.User(user), t)
}

// UpdateStatuses does what [TradesCache.UpdateStatus] does for many exchanges, in
// one round trip. If some fail, it returns a [BatchError]; the others are noted.
func (c *TradesCache) UpdateStatuses(ctx context.Context, statuses []TradeStatus) (err error) {
	call := c.begin(ctx, "trades.update_statuses", Market{})
	defer func() { call.end(ctx, err) }()
	return batchError(c.setStatuses(ctx, c.keys.TradeStatus(), len(statuses), func(i int) (string, time.Time, error) {
		return statuses[i].Exchange, statuses[i].Time, validName("exchange", statuses[i].Exchange)
	}))
}

// UpdateUserStatuses is [TradesCache.UpdateStatuses] for users.
func (c *TradesCache) UpdateUserStatuses(ctx context.Context, statuses []UserTradeStatus) (err error) {
	call := c.begin(ctx, "trades.update_user_statuses", Market{})
	defer func() { call.end(ctx, err) }()
	return batchError(c.setStatuses(ctx, c.keys.UserTradeStatus(), len(statuses), func(i int) (string, time.Time, error) {
		return keys.User(statuses[i].UserID), statuses[i].Time, validID("uid", statuses[i].UserID, 1)
	}))
}

func (c *TradesCache) setStatus(ctx context.Context, key, field string, t time.Time) error {
	if err := validTime("trade status of "+printable(field), t); err != nil {
		return err
	}
	at := formatTime(t)
	msg, err := c.kv.Run(ctx, kv.TimeSet, []string{key}, []string{field, at})
	return statusResult(key, field, at, kv.Reply{Msg: msg, Err: err})
}

// statusResult reads the reply of the script time_set.
func statusResult(key, field, at string, reply kv.Reply) error {
	if reply.Err != nil {
		return redisError(key, reply.Err)
	}
	if later, _ := reply.Msg.ToString(); later != "" {
		return fmt.Errorf("trade status of %s at %s: %w: of %s", printable(field), at, ErrOutdated, later)
	}
	return nil
}

// setStatuses sets n times of a hash and returns the error of each.
func (c *TradesCache) setStatuses(ctx context.Context, key string, n int, status func(i int) (field string, t time.Time, err error)) []error {
	errs := make([]error, n)
	var calls []kv.ScriptCall
	var indexes []int
	for i := range n {
		field, t, err := status(i)
		if err == nil {
			err = validTime("trade status of "+printable(field), t)
		}
		if errs[i] = err; err == nil {
			calls = append(calls, kv.ScriptCall{Keys: []string{key}, Args: []string{field, formatTime(t)}})
			indexes = append(indexes, i)
		}
	}
	for n, reply := range c.kv.RunMulti(ctx, kv.TimeSet, calls) {
		errs[indexes[n]] = statusResult(key, calls[n].Args[0], calls[n].Args[1], reply)
	}
	return errs
}

// Status tells until when the trades of an exchange are known. It returns
// [ErrNotFound] if nobody said so.
func (c *TradesCache) Status(ctx context.Context, exchange string) (t time.Time, err error) {
	call := c.begin(ctx, "trades.status", Market{Exchange: exchange})
	defer func() { call.end(ctx, err) }()
	if err := validName("exchange", exchange); err != nil {
		return t, err
	}
	return c.getStatus(ctx, c.keys.TradeStatus(), exchange)
}

// UserStatus is [TradesCache.Status] for a user.
func (c *TradesCache) UserStatus(ctx context.Context, user int64) (t time.Time, err error) {
	call := c.begin(ctx, "trades.user_status", Market{})
	defer func() { call.end(ctx, err) }()
	if err := validID("uid", user, 1); err != nil {
		return t, err
	}
	return c.getStatus(ctx, c.keys.UserTradeStatus(), keys.User(user))
}

func (c *TradesCache) getStatus(ctx context.Context, key, field string) (t time.Time, err error) {
	reply, err := c.kv.Do(ctx, c.kv.B().Hget().Key(key).Field(field).Build())
	if kv.IsNil(err) {
		return t, fmt.Errorf("trade status of %s: %w", printable(field), ErrNotFound)
	}
	if err != nil {
		return t, redisError(key, err)
	}
	text, _ := reply.ToString()
	return statusTime(key, field, text)
}

// Statuses yields the status of each exchange that has one, sorted, in one round
// trip. One that cannot be read yields its error with a TradeStatus that carries
// only the exchange, and the listing goes on; if none can be read, that error is
// the only element.
func (c *TradesCache) Statuses(ctx context.Context) iter.Seq2[TradeStatus, error] {
	return func(yield func(TradeStatus, error) bool) {
		var err error
		call := c.begin(ctx, "trades.statuses", Market{})
		defer func() { call.end(ctx, err) }()
		key := c.keys.TradeStatus()
		all, err := c.statuses(ctx, key)
		if err != nil {
			yield(TradeStatus{}, err)
			return
		}
		for _, exchange := range slices.Sorted(maps.Keys(all)) {
			t, terr := statusTime(key, exchange, all[exchange])
			if terr != nil {
				err = terr
			}
			if !yield(TradeStatus{Exchange: exchange, Time: t}, terr) {
				return
			}
		}
	}
}

// UserStatuses is [TradesCache.Statuses] for users.
func (c *TradesCache) UserStatuses(ctx context.Context) iter.Seq2[UserTradeStatus, error] {
	return func(yield func(UserTradeStatus, error) bool) {
		var err error
		call := c.begin(ctx, "trades.user_statuses", Market{})
		defer func() { call.end(ctx, err) }()
		key := c.keys.UserTradeStatus()
		all, err := c.statuses(ctx, key)
		if err != nil {
			yield(UserTradeStatus{}, err)
			return
		}
		users, bad := usersOf(key, slices.Collect(maps.Keys(all)))
		for _, berr := range bad {
			err = berr
			if !yield(UserTradeStatus{}, berr) {
				return
			}
		}
		for _, user := range users {
			t, terr := statusTime(key, keys.User(user), all[keys.User(user)])
			if terr != nil {
				err = terr
			}
			if !yield(UserTradeStatus{UserID: user, Time: t}, terr) {
				return
			}
		}
	}
}

// statuses reads a hash of times.
func (c *TradesCache) statuses(ctx context.Context, key string) (map[string]string, error) {
	reply, err := c.kv.Do(ctx, c.kv.B().Hgetall().Key(key).Build())
	if err != nil {
		return nil, redisError(key, err)
	}
	return reply.AsStrMap()
}

func statusTime(key, field, text string) (time.Time, error) {
	t, err := parseTime(text)
	if err != nil {
		return t, &CorruptError{Key: key, Field: field, Err: err}
	}
	return t, nil
}

// usersOf reads names of users as keys.User writes them; both results are sorted.
func usersOf(key string, fields []string) (users []int64, bad []error) {
	slices.Sort(fields)
	for _, field := range fields {
		text, ok := strings.CutPrefix(field, "user_")
		user, err := strconv.ParseInt(text, 10, 64)
		if !ok || err != nil || keys.User(user) != field {
			bad = append(bad, &CorruptError{Key: key, Field: field, Err: errors.New("want a field like user_123")})
			continue
		}
		users = append(users, user)
	}
	slices.Sort(users)
	return users, bad
}

// StatusKeys lists the exchanges that have a status, sorted.
func (c *TradesCache) StatusKeys(ctx context.Context) (exchanges []string, err error) {
	call := c.begin(ctx, "trades.status_keys", Market{})
	defer func() { call.end(ctx, err) }()
	exchanges, err = c.statusFields(ctx, c.keys.TradeStatus())
	slices.Sort(exchanges)
	return exchanges, err
}

// UserStatusKeys lists the users that have a status, sorted. If there are fields
// that name no user, it returns their errors beside the others.
func (c *TradesCache) UserStatusKeys(ctx context.Context) (users []int64, err error) {
	call := c.begin(ctx, "trades.user_status_keys", Market{})
	defer func() { call.end(ctx, err) }()
	key := c.keys.UserTradeStatus()
	fields, err := c.statusFields(ctx, key)
	if err != nil {
		return nil, err
	}
	users, bad := usersOf(key, fields)
	return users, errors.Join(bad...)
}

func (c *TradesCache) statusFields(ctx context.Context, key string) ([]string, error) {
	reply, err := c.kv.Do(ctx, c.kv.B().Hkeys().Key(key).Build())
	if err != nil {
		return nil, redisError(key, err)
	}
	return reply.AsStrSlice()
}

// DeleteStatuses forgets the statuses of the exchanges that are named, or of all
// if none is, in one round trip. It returns how many there were.
func (c *TradesCache) DeleteStatuses(ctx context.Context, exchanges ...string) (deleted int, err error) {
	call := c.begin(ctx, "trades.delete_statuses", Market{})
	defer func() { call.end(ctx, err) }()
	for _, exchange := range exchanges {
		if err := validName("exchange", exchange); err != nil {
			return 0, err
		}
	}
	return c.deleteStatuses(ctx, c.keys.TradeStatus(), exchanges)
}

// DeleteUserStatuses is [TradesCache.DeleteStatuses] for users.
func (c *TradesCache) DeleteUserStatuses(ctx context.Context, users ...int64) (deleted int, err error) {
	call := c.begin(ctx, "trades.delete_user_statuses", Market{})
	defer func() { call.end(ctx, err) }()
	fields := make([]string, len(users))
	for i, user := range users {
		if err := validID("uid", user, 1); err != nil {
			return 0, err
		}
		fields[i] = keys.User(user)
	}
	return c.deleteStatuses(ctx, c.keys.UserTradeStatus(), fields)
}

func (c *TradesCache) deleteStatuses(ctx context.Context, key string, fields []string) (int, error) {
	if len(fields) > 0 {
		reply, err := c.kv.Do(ctx, c.kv.B().Hdel().Key(key).Field(fields...).Build())
		if err != nil {
			return 0, redisError(key, err)
		}
		deleted, err := reply.AsInt64()
		return int(deleted), err
	}
	// Both go together: what is counted is what is deleted. A key of another type
	// is deleted too, which mends it.
	reply, err := c.kv.Run(ctx, kv.HashDelete, []string{key}, nil)
	if err != nil {
		return 0, err
	}
	deleted, err := reply.AsInt64()
	return int(deleted), err
}
