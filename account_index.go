package fulloncache

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/kv"
)

// accountIndex is a set of accounts that have something. The script that stores
// it adds to the set where both share a slot. In a cluster they do not: an account
// is added before something is stored, again with later writes, and by everybody
// who wrote when the server was away, so that what was cleared or lost comes back.
// It may name accounts that have nothing; those are passed over.
type accountIndex struct {
	kv  *kv.Client
	log *slog.Logger
	key string
	// hash is where an account's things are.
	hash func(Account) string

	mu sync.Mutex
	// In a cluster, the accounts that this process wrote, and when it last added
	// them; zero if that failed.
	added          map[Account]time.Time
	renewing, anew bool // all are being added; and are to be once more
}

func newAccountIndex(db *kv.Client, log *slog.Logger, key string, hash func(Account) string) *accountIndex {
	return &accountIndex{kv: db, log: log, key: key, hash: hash, added: make(map[Account]time.Time)}
}

// declare adds the index to the keys of a script that stores something of an
// account, or sees to it that the account is in the index.
func (x *accountIndex) declare(ctx context.Context, a Account, names []string) []string {
	if !x.kv.Cluster() {
		return append(names, x.key)
	}
	now := time.Now()
	x.mu.Lock()
	last, known := x.added[a]
	if due := now.Sub(last) >= indexEvery; due {
		x.added[a] = now
	}
	x.mu.Unlock()
	switch {
	case !known:
		_ = x.add(ctx, a) // it was logged, and the next write tries again
	case now.Sub(last) >= indexEvery:
		_ = x.kv.Background(func(ctx context.Context) { _ = x.add(ctx, a) }) // likewise; after Close nothing is indexed
	}
	return names
}

// wrote is told whether a script created what it stored, where the index is
// elsewhere: somebody may have taken the account out meanwhile.
func (x *accountIndex) wrote(ctx context.Context, a Account, created rueidis.RedisMessage) {
	if n, _ := created.AsInt64(); n == 1 {
		_ = x.add(ctx, a) // it was logged, and the next write tries again
	}
}

// add adds accounts. If that fails, the next write tries again: what is stored
// matters more than that it is listed.
func (x *accountIndex) add(ctx context.Context, accounts ...Account) error {
	err := x.put(ctx, accounts)
	if err != nil {
		x.warn(ctx, err)
	}
	return err
}

func (x *accountIndex) warn(ctx context.Context, err error) {
	x.log.WarnContext(ctx, "accounts not indexed", "index", x.key, "error", err)
}

func (x *accountIndex) put(ctx context.Context, accounts []Account) error {
	members := make([]string, len(accounts))
	for i, a := range accounts {
		members[i] = a.member()
	}
	_, err := x.kv.Do(ctx, x.kv.B().Sadd().Key(x.key).Member(members...).Build())
	if err != nil {
		x.mu.Lock()
		defer x.mu.Unlock()
		for _, a := range accounts {
			x.added[a] = time.Time{}
		}
	}
	return err
}

// renew adds, behind the caller's back, all accounts that this process wrote,
// until that succeeds: the node that has the index may have come back without.
func (x *accountIndex) renew() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.anew = true
	if !x.renewing && len(x.added) > 0 {
		x.renewing = x.kv.Background(x.addAll)
	}
}

// addAllAgain is how soon adding all accounts is tried again.
const addAllAgain = 500 * time.Millisecond

// addAll adds all accounts, until that has succeeded since renew was last called.
// It warns of the first of failures that follow each other.
func (x *accountIndex) addAll(ctx context.Context) {
	warned := false
	for {
		x.mu.Lock()
		if !x.anew {
			x.renewing = false
			x.mu.Unlock()
			return
		}
		x.anew = false
		accounts := slices.Collect(maps.Keys(x.added))
		x.mu.Unlock()
		var failed error
		for some := range slices.Chunk(accounts, kv.Pipelined) {
			failed = cmp.Or(failed, x.put(ctx, some))
		}
		if failed == nil {
			warned = false
			continue
		}
		if !warned {
			x.warn(ctx, failed)
			warned = true
		}
		x.mu.Lock()
		x.anew = true
		x.mu.Unlock()
		again := time.NewTimer(addAllAgain)
		select {
		case <-again.C:
		case <-ctx.Done():
			again.Stop()
			return
		}
	}
}

// remove takes an account out that has nothing any more. One that got something
// meanwhile is put back.
func (x *accountIndex) remove(ctx context.Context, a Account) error {
	if _, err := x.kv.Do(ctx, x.kv.B().Srem().Key(x.key).Member(a.member()).Build()); err != nil {
		return redisError(x.key, err)
	}
	x.mu.Lock()
	delete(x.added, a)
	x.mu.Unlock()
	reply, err := x.kv.Do(ctx, x.kv.B().Exists().Key(x.hash(a)).Build())
	if has, _ := reply.AsInt64(); has == 1 || err != nil { // or it may have
		return x.add(ctx, a)
	}
	return nil
}

// each yields what the hash of every account in the index holds, sorted by user
// and exchange, in two round trips (more beyond 1,000 accounts). Accounts without
// one are passed over. An error stands for an account, or for all if the index
// cannot be read.
func (x *accountIndex) each(ctx context.Context, yield func(a Account, fields map[string]string, err error) bool) {
	reply, err := x.kv.Do(ctx, x.kv.B().Smembers().Key(x.key).Build())
	if err != nil {
		yield(Account{}, nil, redisError(x.key, err))
		return
	}
	members, _ := reply.AsStrSlice()
	accounts := make([]Account, 0, len(members))
	for _, member := range members {
		a, err := accountOf(x.key, member)
		if err == nil {
			accounts = append(accounts, a)
		} else if !yield(a, nil, err) {
			return
		}
	}
	slices.SortFunc(accounts, compareAccounts)
	for some := range slices.Chunk(accounts, kv.Pipelined) {
		cmds := make([]rueidis.Completed, len(some))
		for i, a := range some {
			cmds[i] = x.kv.B().Hgetall().Key(x.hash(a)).Build()
		}
		for i, reply := range x.kv.DoMulti(ctx, cmds) {
			fields, err := hashOf(x.hash(some[i]), reply)
			if err == nil && len(fields) == 0 {
				continue
			}
			if !yield(some[i], fields, err) {
				return
			}
		}
	}
}

// hashOf reads the reply to HGETALL.
func hashOf(key string, r kv.Reply) (map[string]string, error) {
	if r.Err != nil {
		return nil, redisError(key, r.Err)
	}
	return r.Msg.AsStrMap()
}
