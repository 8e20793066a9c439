package fulloncache

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
)

// Applied is what became of fills.
type Applied struct {
	Applied    int `json:"applied"`    // Applied is how many count from now on.
	Duplicates int `json:"duplicates"` // Duplicates is how many counted already.
}

// ApplyTrade counts a fill in the position of its user, exchange and symbol, once
// however often and by however many it is applied, and returns the position as it
// then is. It takes one round trip, and another one for each time that somebody
// else has changed the position meanwhile.
//
// The position is kept at average cost: a fill opens or adds, reduces, closes or
// flips it. Cost is the fill's Cost, or volume times price where that is 0. When a
// position is reduced, the released part of its cost is rounded half-even to 18
// places; released and remaining cost together are what was paid, and so the
// profits of all fills and the open cost add up exactly. Fills count in the order
// in which they come.
//
// What counts is known by ExTradeID and Side (both sides of a trade between two
// orders of one user have the same id), of the last [Config].FillsCap fills of each
// position by their times. It returns [ErrOutdated] for one of a time up to which
// no other counts: because it is older than those, or because the position was
// told as of a later time and has it. It returns [ErrInvalid] if a field is
// unusable (UserID is required), if its Time is further ahead of the server's
// clock than [Config].ClockTolerance, or if the position does not fit into
// Decimals; [ErrCorrupt] if the stored position cannot be read; and
// [ErrUnavailable] if it is unknown whether it counts: applying it again is always
// safe.
func (c *AccountCache) ApplyTrade(ctx context.Context, trade Trade) (p Position, err error) {
	call := c.begin(ctx, "account.apply_trade", trade.Market)
	defer func() { call.end(ctx, err) }()
	errs := make([]error, 1)
	groups := groupFills([]Trade{trade}, errs)
	if errs[0] != nil {
		return p, errs[0]
	}
	// Callers of this process take turns: they would only undo each other's work.
	g := groups[0]
	done, err := c.memory.turn(ctx, g.name)
	if err != nil {
		return p, err
	}
	defer done()
	if c.apply(ctx, groups, &Applied{}, errs); errs[0] != nil {
		return p, errs[0]
	}
	return g.known.Position, nil
}

// ApplyTrades counts fills as [AccountCache.ApplyTrade] does, those of a position
// in the order given, up to 500 of each in a round trip, and 16 positions at once. If
// some fail, it returns a [BatchError] with the error of each, which names the fill,
// by its place among trades where it is unusable; the others count all the same.
func (c *AccountCache) ApplyTrades(ctx context.Context, trades []Trade) (applied Applied, err error) {
	call := c.begin(ctx, "account.apply_trades", Market{})
	defer func() { call.end(ctx, err) }()
	errs := make([]error, len(trades))
	groups := groupFills(trades, errs)
	for i, err := range errs {
		if err != nil {
			errs[i] = fmt.Errorf("element %d: %w", i, err)
		}
	}
	c.apply(ctx, groups, &applied, errs)
	return applied, batchError(errs)
}

const (
	// batchFills is how many fills one call of the script counts at most.
	batchFills = 500
	// callsOfFills is how many of its calls are sent at once: a megabyte.
	callsOfFills = 16
)

// fillGroup are fills of one position that are still to be counted.
type fillGroup struct {
	name   positionName
	trades []*Trade
	at     []int // where they were given

	known storedPosition // what is believed to be stored; at last, what is
	fresh bool           // the server said so during this call
	next  Position       // what the first of them make of it
	text  string         // the same as Redis holds it, without the revision
	many  int            // so many
}

// fill is what a fill is known by.
func (t *Trade) fill() string { return string(t.Side) + " " + t.ExTradeID }

// groupFills groups fills by positions. It refuses those that are invalid.
func groupFills(trades []Trade, errs []error) []*fillGroup {
	var groups []*fillGroup
	byName := make(map[positionName]*fillGroup, 1)
	for i := range trades {
		t := &trades[i]
		if _, errs[i] = t.invalid(); errs[i] != nil {
			continue
		}
		if err := validID("uid", t.UserID, 1); err != nil {
			errs[i] = fmt.Errorf("%s: %w", namedTrade{t}, err)
			continue
		}
		name := positionName{Account{t.UserID, t.Exchange}, t.Symbol}
		g := byName[name]
		if g == nil {
			g = &fillGroup{name: name}
			byName[name], groups = g, append(groups, g)
		}
		g.trades, g.at = append(g.trades, t), append(g.at, i)
	}
	return groups
}

// apply counts fills until all count or are refused.
func (c *AccountCache) apply(ctx context.Context, groups []*fillGroup, applied *Applied, errs []error) {
	for _, g := range groups {
		g.known = c.memory.recall(g.name)
	}
	for {
		groups = slices.DeleteFunc(groups, func(g *fillGroup) bool {
			c.compute(ctx, g, errs)
			return g.many == 0
		})
		if len(groups) == 0 {
			return
		}
		for some := range slices.Chunk(groups, callsOfFills) {
			calls := make([]kv.ScriptCall, len(some))
			for i, g := range some {
				calls[i] = c.applyCall(ctx, g)
			}
			for i, reply := range c.runFills(ctx, calls) {
				c.applyResult(ctx, some[i], reply, applied, errs)
			}
		}
	}
}

// runFills runs the script position_apply. A single call is sent again if the
// connection breaks.
func (c *AccountCache) runFills(ctx context.Context, calls []kv.ScriptCall) []kv.Reply {
	if len(calls) > 1 {
		return c.kv.RunMulti(ctx, kv.PositionApply, calls)
	}
	msg, err := c.kv.Run(ctx, kv.PositionApply, calls[0].Keys, calls[0].Args)
	return []kv.Reply{{Msg: msg, Err: err}}
}

// compute makes the next position of the known one and the first fills. Those that
// do not fit are refused.
func (c *AccountCache) compute(ctx context.Context, g *fillGroup, errs []error) {
	g.next, g.many = g.known.Position, 0
	g.next.Account, g.next.Symbol = g.name.Account, g.name.symbol
	for g.many < min(batchFills, len(g.trades)) {
		next, err := g.next.apply(g.trades[g.many])
		switch {
		case err == nil:
			g.next = next
			g.many++
		case g.fresh:
			errs[g.at[g.many]] = err
			g.drop(g.many)
		default: // what is remembered may be to blame
			c.look(ctx, g, errs)
			c.compute(ctx, g, errs)
			return
		}
	}
	g.text = g.next.encode()
}

// look reads what is stored.
func (c *AccountCache) look(ctx context.Context, g *fillGroup, errs []error) {
	key := c.positionsKey(g.name.Account)
	reply, err := c.kv.Do(ctx, c.kv.B().Hget().Key(key).Field(g.name.symbol).Build())
	if err != nil && !kv.IsNil(err) {
		c.fail(g, redisError(key, err), errs)
		return
	}
	text, _ := reply.ToString() // nil if it is not there
	c.found(g, text, errs)
}

// found notes what is stored.
func (c *AccountCache) found(g *fillGroup, text string, errs []error) (ok bool) {
	g.known, g.fresh = storedPosition{}, true
	if text != "" {
		var err error
		if g.known, err = readPosition(c.positionsKey(g.name.Account), g.name.Account, g.name.symbol, text); err != nil {
			c.fail(g, err, errs)
			return false
		}
	}
	c.memory.remember(g.name, g.known)
	return true
}

// fail gives up all fills that are left.
func (c *AccountCache) fail(g *fillGroup, err error, errs []error) {
	c.memory.forget(g.name)
	for _, at := range g.at {
		errs[at] = err
	}
	g.trades, g.at = nil, nil
}

// drop takes a fill out.
func (g *fillGroup) drop(i int) {
	g.trades, g.at = slices.Delete(g.trades, i, i+1), slices.Delete(g.at, i, i+1)
}

func (c *AccountCache) applyCall(ctx context.Context, g *fillGroup) kv.ScriptCall {
	key := c.positionsKey(g.name.Account)
	args := make([]string, 0, 9+3*g.many)
	args = append(args, g.name.symbol, g.known.text, g.text, c.cap, c.tolerated,
		c.kv.Publish(), c.keys.PositionsChannel(g.name.UserID, g.name.Exchange), c.keys.PositionRevChannel(g.name.UserID), g.name.member())
	for _, t := range g.trades[:g.many] {
		args = append(args, t.fill(), formatTime(t.Time), strconv.FormatInt(t.Time.UnixMicro(), 10))
	}
	names := []string{key, keys.PositionFills(key, g.name.symbol), c.keys.PositionRev(g.name.UserID)}
	return kv.ScriptCall{Keys: c.positions.declare(ctx, g.name.Account, names), Args: args}
}

// applyResult reads what the script position_apply returned.
func (c *AccountCache) applyResult(ctx context.Context, g *fillGroup, reply kv.Reply, applied *Applied, errs []error) {
	parts, err := replyParts(reply.Msg, reply.Err)
	if err != nil {
		c.fail(g, c.blame(ctx, g.name.Account, []string{g.name.symbol}, err), errs)
		return
	}
	text, _ := parts[1].ToString()
	switch status, _ := parts[0].AsInt64(); status {
	case 1:
		g.next.Rev, _ = parts[1].AsInt64()
		g.known, g.fresh = storedPosition{g.next, withRevision(g.next.Rev, g.text)}, true
		applied.Applied += g.many
		g.trades, g.at = g.trades[g.many:], g.at[g.many:]
		c.memory.remember(g.name, g.known)
		c.positions.wrote(ctx, g.name.Account, parts[2])
		return
	case 3:
		c.fail(g, &CorruptError{Key: c.positionsKey(g.name.Account), Field: text, Err: errTold}, errs)
		return
	}
	if !c.found(g, text, errs) {
		return
	}
	codes, _ := parts[2].ToString()
	until, _ := parts[3].ToString()
	now, _ := parts[4].ToString()
	for i := len(codes) - 1; i >= 0; i-- {
		t := g.trades[i]
		switch codes[i] {
		case 'n':
			continue
		case 'd':
			applied.Duplicates++
		case 'o':
			errs[g.at[i]] = fmt.Errorf("%s at %s: %w: all fills up to %s that count are known", namedTrade{t}, formatTime(t.Time), ErrOutdated, until)
		default:
			errs[g.at[i]] = fmt.Errorf("%w: %s: time %s is more than %s ahead of the server's clock, %s", ErrInvalid, namedTrade{t}, formatTime(t.Time), c.tolerance, now)
		}
		g.drop(i)
	}
}

var errTold = errors.New("as of when positions were told cannot be read, or is yet to come: tell them anew")

// positionMemory remembers what positions were last seen as, so that a fill needs
// no read: the script compares it with what is stored. And it lets callers take
// turns.
type positionMemory struct {
	mu    sync.Mutex
	known map[positionName]storedPosition
	turns map[positionName]*turn // of positions that are being changed
}

// turn is whose turn it is.
type turn struct {
	taken   chan struct{} // of capacity 1
	callers int           // who has it or waits for it
}

// maxRemembered bounds the memory. Forgetting costs a round trip.
const maxRemembered = 10_000

func newPositionMemory() *positionMemory {
	return &positionMemory{known: make(map[positionName]storedPosition), turns: make(map[positionName]*turn)}
}

func (m *positionMemory) recall(name positionName) storedPosition {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known[name]
}

func (m *positionMemory) remember(name positionName, s storedPosition) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, has := m.known[name]; !has && len(m.known) >= maxRemembered {
		for some := range m.known {
			delete(m.known, some)
			break
		}
	}
	m.known[name] = s
}

func (m *positionMemory) forget(name positionName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.known, name)
}

// turn waits for the caller's turn, which done ends.
func (m *positionMemory) turn(ctx context.Context, name positionName) (done func(), err error) {
	m.mu.Lock()
	t := m.turns[name]
	if t == nil {
		t = &turn{taken: make(chan struct{}, 1)}
		m.turns[name] = t
	}
	t.callers++
	m.mu.Unlock()
	leave := func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if t.callers--; t.callers == 0 {
			delete(m.turns, name)
		}
	}
	select {
	case t.taken <- struct{}{}:
		return func() { <-t.taken; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
