// Package lease gives exclusive rights that end by themselves: leases, each with
// a fencing token that is greater than every one before it, a fair line of those
// who wait, and a holder that knows when it holds no more.
package lease

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
)

// Resource is what can be leased. Two of them can meet in one key: while one is
// held or waited for, the other cannot be.
type Resource struct {
	Group string // an exchange
	Name  string // a symbol

	Key    string // the lease itself
	Fence  string // the group's last token
	Index  string // the group's leases
	Groups string // the index of groups; in a cluster in another slot
}

// shared are the keys of the scripts that give a lease and take it back.
func (r Resource) shared() []string {
	return []string{r.Key, r.Fence, r.Index, keys.LeaseLine(r.Key), keys.LeaseWaiting(r.Key)}
}

// Held is who has a lease.
type Held struct {
	Holder       string
	Token        int64
	Since, Until time.Time // by the server's clock
}

// Options are how leases behave and which errors they return. All are required.
type Options struct {
	// Now is this machine's clock.
	Now func() time.Time
	// WaiterTTL is for how long who waits keeps its place without a sign of life.
	// It gives one ten times as often.
	WaiterTTL time.Duration
	// Title names a resource for people.
	Title func(r Resource) string
	// Wakes is the channel on which a client is told whose turn it is in a group.
	Wakes func(group, client string) string
	// Lost is what the errors of a lease that is not held any more match.
	Lost error
	// Unavailable is what the errors of a server match that cannot be asked.
	Unavailable error
	// Closed is the cause where that is because of Close.
	Closed error
	// Blocked makes the error for a lease that somebody has or, if next, is to have
	// next.
	Blocked func(r Resource, h Held, next bool) error
	// Taken makes the error for a key that the resource of another name has.
	Taken func(r Resource, name string) error
	// Corrupt makes the error for what cannot be read.
	Corrupt func(key, field string, err error) error
	// Blame names the key in an error that says that one is of another type.
	Blame func(ctx context.Context, r Resource, err error) error
	// OnLost is told of a lease that was lost, and why. It must not block.
	OnLost func(l *Lease, err error)
}

// Leases takes leases and keeps them. Its methods are safe for concurrent use.
type Leases struct {
	db    *kv.Client
	opt   Options
	id    string // of this client
	count atomic.Int64
	wakes wakes

	mu     sync.Mutex
	closed bool
	held   schedule
	alarm  *time.Timer           // for the first of them to be renewed
	alarms time.Time             // when it goes off; zero: it is not set
	tokens map[string]int64      // by fence, the greatest seen
	listed map[listing]time.Time // when this client last put a group into an index
}

// listing is a group in an index of groups.
type listing struct{ groups, group string }

// A group is put into its index again and again, so that one that was cleared or
// lost comes back.
const listEvery = 2 * time.Second

// New returns leases that nobody has yet.
func New(db *kv.Client, opt Options) *Leases {
	m := &Leases{db: db, opt: opt, id: rand.Text(), tokens: make(map[string]int64), listed: make(map[listing]time.Time)}
	m.wakes = wakes{m: m, idle: 10 * time.Second, channels: make(map[string]*wakeChannel)}
	return m
}

// Close ends all leases of this client here. On the server they end by themselves,
// each in its time: who is told by Close that it holds no more may still be at it.
func (m *Leases) Close() {
	m.mu.Lock()
	m.closed = true
	held := slices.Clone(m.held)
	if m.alarm != nil {
		m.alarm.Stop()
	}
	m.mu.Unlock()
	for _, l := range held {
		l.lose(m.opt.Closed)
	}
}

// Request is how a lease is asked for.
type Request struct {
	// TTL is for how long it lasts unless it is renewed, whole milliseconds.
	TTL time.Duration
	// Share takes part in what the same holder has.
	Share bool
	// ID names the request: asked again, it is given the same. "" makes one up.
	ID string
}

// name sees to it that a request has an id, which must not hold a space. It reports
// whether it made one up.
func (m *Leases) name(q *Request) (made bool) {
	if q.ID != "" {
		q.ID = "id:" + keys.Escape(q.ID)
		return false
	}
	q.ID = m.id + "-" + strconv.FormatInt(m.count.Add(1), 10)
	return true
}

// Acquire takes a lease, or returns the error of who has it.
func (m *Leases) Acquire(ctx context.Context, r Resource, holder string, q Request) (*Lease, error) {
	made := m.name(&q)
	l, refused, err := m.attempt(ctx, r, holder, q, false)
	if err != nil {
		return nil, m.failed(r, q, made && m.unknown(ctx, err), err)
	}
	if refused != nil {
		return nil, refused.err
	}
	return l, nil
}

// failed gives back, behind the caller's back, what a request may have been given,
// and its place in line, if nobody is to ask with it again. If that cannot be
// done, they end by themselves.
func (m *Leases) failed(r Resource, q Request, leave bool, err error) error {
	if leave {
		_ = m.db.Background(func(ctx context.Context) { _, _ = m.release(ctx, r, "", q.ID) })
	}
	return err
}

// unknown reports whether what was asked may have been done for all that is known.
func (m *Leases) unknown(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, m.opt.Unavailable)
}

// Hold takes a lease that nobody renews, or prolongs that of the same holder.
func (m *Leases) Hold(ctx context.Context, r Resource, holder string, ttl time.Duration) (Held, error) {
	// Nothing else would put it into the index again.
	m.forget(r)
	// All that a holder has in this way is one request: asked again it is prolonged.
	h, refused, err := m.take(ctx, r, holder, Request{TTL: ttl, Share: true, ID: "hold"}, false)
	if err != nil {
		return Held{}, err
	}
	if refused != nil {
		return Held{}, refused.err
	}
	return h, nil
}

// Drop ends a lease that a holder has, whatever it has it for. With force anybody's
// is ended, and what cannot be read goes too. It reports false if nobody had it.
func (m *Leases) Drop(ctx context.Context, r Resource, holder string, force bool) (bool, error) {
	word := ""
	if force {
		word = "force"
	}
	a, err := m.run(ctx, r, kv.LeaseDrop,
		[]string{r.Key, r.Index, keys.LeaseLine(r.Key), keys.LeaseWaiting(r.Key)}, []string{r.Name, holder, word, m.db.Publish()})
	if err != nil {
		return false, err
	}
	if a.status == 0 {
		return false, m.blocked(r, a)
	}
	return a.status == 1, nil
}

// Get tells who has a lease. It reports false if nobody does.
func (m *Leases) Get(ctx context.Context, r Resource) (Held, bool, error) {
	a, err := m.run(ctx, r, kv.LeaseGet, []string{r.Key}, []string{r.Name})
	return m.got(r, a, err)
}

// Lookup is what is known of one of many leases.
type Lookup struct {
	Held Held
	OK   bool // somebody has it
	Err  error
}

// GetMany is Get for many, in one round trip per 1,000.
func (m *Leases) GetMany(ctx context.Context, list []Resource) []Lookup {
	calls := make([]kv.ScriptCall, len(list))
	for i, r := range list {
		calls[i] = kv.ScriptCall{Keys: []string{r.Key}, Args: []string{r.Name}}
	}
	found := make([]Lookup, len(list))
	for i, reply := range m.db.RunMulti(ctx, kv.LeaseGet, calls) {
		a, err := m.read(ctx, list[i], reply.Msg, reply.Err)
		found[i].Held, found[i].OK, found[i].Err = m.got(list[i], a, err)
	}
	return found
}

func (m *Leases) got(r Resource, a answer, err error) (Held, bool, error) {
	if err != nil || a.status != 1 {
		return Held{}, false, err
	}
	h, err := m.heldBy(r, a)
	if err != nil {
		return Held{}, false, err
	}
	h.Token = number(a.text(3)) // the script has looked at it
	return h, true, nil
}

// Validate returns nil if the token is that of the lease as it is now.
func (m *Leases) Validate(ctx context.Context, r Resource, token int64) error {
	h, ok, err := m.Get(ctx, r)
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("token %d of %s: %w: nobody holds it", token, m.opt.Title(r), m.opt.Lost)
	case h.Token != token:
		return fmt.Errorf("token %d of %s: %w: the current one is %d: %w", token, m.opt.Title(r), m.opt.Lost, h.Token, m.opt.Blocked(r, h, false))
	}
	return nil
}

// attempt asks for a lease once. In line, it is given a place or gives a sign of
// life.
func (m *Leases) attempt(ctx context.Context, r Resource, holder string, q Request, inLine bool) (*Lease, *refusal, error) {
	begun := m.opt.Now()
	h, refused, err := m.take(ctx, r, holder, q, inLine)
	if err != nil || refused != nil {
		return nil, refused, err
	}
	l := m.keep(ctx, r, h, q, begun)
	if l == nil {
		return nil, nil, m.opt.Closed
	}
	return l, nil, nil
}

// refusal is why a lease is not given.
type refusal struct {
	err   error
	left  time.Duration // until it ends as things are, or 0
	place int           // in line, from 0
}

func (m *Leases) take(ctx context.Context, r Resource, holder string, q Request, inLine bool) (Held, *refusal, error) {
	seen, due := m.known(r)
	names := r.shared()
	args := make([]string, 6, 10)
	args[0], args[1], args[2] = r.Name, holder, q.ID
	args[3], args[4], args[5] = strconv.FormatInt(q.TTL.Milliseconds(), 10), strconv.FormatInt(seen, 10), m.db.Publish()
	if q.Share || inLine || due {
		mode, group, patience := "refuse", "", ""
		if q.Share {
			mode = "share"
		}
		if inLine {
			patience = micros(m.opt.WaiterTTL)
		}
		if due {
			var err error
			if names, err = m.index(ctx, r, names); err != nil {
				return Held{}, nil, err
			}
			group = r.Group
		}
		args = append(args, mode, group, patience, m.opt.Wakes(r.Group, m.id))
	}
	run := m.db.RunAlone
	if inLine {
		run = m.db.Run
	}
	msg, err := run(ctx, kv.LeaseAcquire, names, args)
	a, err := m.read(ctx, r, msg, err)
	if err != nil {
		m.forget(r)
		return Held{}, nil, err
	}
	token, times, given := strings.Cut(a.given, " ")
	since, until, _ := strings.Cut(times, " ")
	if !given {
		since, until = a.text(1), a.text(2)
	}
	h := Held{Holder: holder}
	if h.Since, h.Until, err = m.times(r, since, until); err != nil {
		return Held{}, nil, err
	}
	if !given {
		h.Holder = a.text(0)
		left := time.Duration(number(a.text(3))) * time.Microsecond
		return Held{}, &refusal{m.opt.Blocked(r, h, a.status == 2), left, int(number(a.text(4)))}, nil
	}
	h.Token = number(token)
	m.mu.Lock()
	m.tokens[r.Fence] = max(m.tokens[r.Fence], h.Token)
	m.mu.Unlock()
	return h, nil, nil
}

// known tells the greatest token that was seen, and whether the group is to be put
// into its index.
func (m *Leases) known(r Resource) (token int64, due bool) {
	now, l := time.Now(), listing{r.Groups, r.Group}
	m.mu.Lock()
	defer m.mu.Unlock()
	if due = now.Sub(m.listed[l]) >= listEvery; due {
		m.listed[l] = now
	}
	return m.tokens[r.Fence], due
}

// forget makes the next call put the group into its index.
func (m *Leases) forget(r Resource) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.listed, listing{r.Groups, r.Group})
}

// Distrust makes the next calls put all groups into their indexes: the server may
// have forgotten them.
func (m *Leases) Distrust() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.listed)
}

// index puts a group into its index: as one more key of the script, or where that
// is in another slot, before it: a group without leases in it is harmless, the
// reverse would be a lease that no listing shows.
func (m *Leases) index(ctx context.Context, r Resource, names []string) ([]string, error) {
	if !m.db.Cluster() {
		return append(names, r.Groups), nil
	}
	_, err := m.db.Do(ctx, m.db.B().Sadd().Key(r.Groups).Member(r.Group).Build())
	if err != nil {
		m.forget(r)
	}
	if kv.IsWrongType(err) {
		err = m.opt.Corrupt(r.Groups, "", err)
	}
	return names, err
}

func (m *Leases) release(ctx context.Context, r Resource, token, request string) (answer, error) {
	msg, err := m.db.RunAlone(ctx, kv.LeaseRelease, r.shared(), []string{r.Name, token, request, m.db.Publish()})
	return m.read(ctx, r, msg, err)
}

// answer is what a script returned: a status, and what belongs to it.
type answer struct {
	status int64
	given  string // token, since and until of a lease that is given
	parts  []rueidis.RedisMessage
}

func (a answer) text(i int) string {
	text, _ := a.parts[i].ToString() // our scripts return texts
	return text
}

// number reads a text that a script has made, or looked at.
func number(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

func (m *Leases) run(ctx context.Context, r Resource, script kv.Script, names, args []string) (answer, error) {
	msg, err := m.db.Run(ctx, script, names, args)
	return m.read(ctx, r, msg, err)
}

// read reads an answer. What is wrong with the key, whatever was asked, is an
// error.
func (m *Leases) read(ctx context.Context, r Resource, msg rueidis.RedisMessage, err error) (a answer, _ error) {
	if err != nil {
		return a, m.opt.Blame(ctx, r, err)
	}
	switch {
	case msg.IsString():
		a.status = 1
		a.given, _ = msg.ToString()
		return a, nil
	case msg.IsInt64():
		a.status, _ = msg.AsInt64()
		return a, nil
	}
	parts, _ := msg.ToArray()
	a.status, _ = parts[0].AsInt64()
	a.parts = parts[1:]
	switch a.status {
	case 4:
		return a, m.opt.Taken(r, a.text(0))
	case 5:
		return a, m.opt.Corrupt(r.Key, a.text(0), errUnreadable)
	case 6:
		return a, m.opt.Corrupt(r.Fence, "", fmt.Errorf("%q is no token that another can follow: %w", a.text(0), errUnreadable))
	}
	return a, nil
}

var errUnreadable = errors.New("it looks neither free nor held: delete it")

func (m *Leases) blocked(r Resource, a answer) error {
	h, err := m.heldBy(r, a)
	if err != nil {
		return err
	}
	return m.opt.Blocked(r, h, false)
}

// heldBy reads holder, since and until.
func (m *Leases) heldBy(r Resource, a answer) (h Held, err error) {
	h.Holder = a.text(0)
	h.Since, h.Until, err = m.times(r, a.text(1), a.text(2))
	return h, err
}

// times reads since and until. The script has seen to it that both have the form of
// the times that the cache stores.
func (m *Leases) times(r Resource, since, until string) (a, b time.Time, err error) {
	if a, err = time.Parse(time.RFC3339Nano, since); err != nil {
		return a, b, m.opt.Corrupt(r.Key, "since", err)
	}
	if b, err = time.Parse(time.RFC3339Nano, until); err != nil {
		return a, b, m.opt.Corrupt(r.Key, "until", err)
	}
	return a, b, nil
}

func micros(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) }
