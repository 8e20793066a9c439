package fulloncache

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"iter"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/feed"
	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
)

// ProcessCache is the register of the processes of all machines: who is alive,
// what they do, who has died.
//
//	p, err := c.Processes.Register(ctx, fulloncache.Process{Type: fulloncache.ProcessBot, Component: "bot_1"})
//	if err != nil {
//		return err
//	}
//	defer p.Stop(context.WithoutCancel(ctx), "") // or its end counts as a death
//	err = p.Update(ctx, fulloncache.ProcessRunning, "3 feeds", nil)
//
//	h, err := c.Processes.SystemHealth(ctx) // who watches
//	for e, err := range c.Processes.Watch(ctx) { … }
//
// A registered process tells by itself, every [Process].Interval, that it is
// alive. One that was not heard of for 1¾ intervals counts as dead, wherever it
// is read: the server's clock decides, and no clock of a client. Its death is
// told to those who watch, within two intervals of the crash, and pushed to the
// queue of global errors once, by the first who notices: a watch; or, later,
// another process of its type that tells that it is alive, or who lists
// processes again and again.
//
// What is known of a process stays for 24 h after it was last heard of.
type ProcessCache struct {
	*observer
	kv         *kv.Client
	keys       keys.Space
	interval   time.Duration
	historyCap string
	report     func(ctx context.Context, e GlobalError) error
	types      map[string]ProcessType // by channel
	sweeping   chores[ProcessType]
	hub        feed.Hub[processKey, storedProcess]

	mu      sync.Mutex
	touch   map[ProcessType]time.Time   // since when the server has answered about a type; zero: it does not
	watched map[ProcessType]*deathWatch // while somebody watches
}

const (
	processTTL = 24 * time.Hour
	historyTTL = 7 * 24 * time.Hour
)

func newProcessCache(cfg Config, db *kv.Client, space keys.Space, connection *observer, report func(ctx context.Context, e GlobalError) error) *ProcessCache {
	c := &ProcessCache{
		observer:   newObserver("process", cfg),
		kv:         db,
		keys:       space,
		interval:   cfg.ProcessHeartbeat,
		historyCap: strconv.Itoa(cfg.ProcessHistoryCap),
		report:     report,
		types:      make(map[string]ProcessType, len(processTypes)),
		touch:      make(map[ProcessType]time.Time),
		watched:    make(map[ProcessType]*deathWatch),
	}
	for _, t := range processTypes {
		c.types[space.ProcessesChannel(string(t))] = t
	}
	opt := feedOptions(cfg, connection, "processes ")
	tell := opt.OnState
	opt.OnState = func(kind string, err error) {
		c.touched(ProcessType(kind), feedError(err))
		tell(kind, err)
	}
	c.hub = feed.NewHub(processSource{connector{db}, c}, nil, opt)
	return c
}

func (c *ProcessCache) stop() { c.hub.Close() }

// processKeys are the keys of the scripts that change a process.
func (c *ProcessCache) processKeys(t ProcessType, id, component string) []string {
	kind := string(t)
	return []string{
		c.keys.Process(kind, id), c.keys.Processes(kind), c.keys.ProcessesDue(kind), c.keys.ProcessComponents(kind),
		c.keys.ProcessRev(kind), c.keys.ProcessComponent(kind, component), c.keys.ProcessHistory(kind, component),
	}
}

// channels are the arguments by which scripts publish.
func (c *ProcessCache) channels(t ProcessType) []string {
	return []string{c.kv.Publish(), c.keys.ProcessesChannel(string(t)), c.keys.ProcessRevChannel(string(t))}
}

// history are the arguments by which scripts write histories.
func (c *ProcessCache) history() []string {
	return []string{c.historyCap, milliseconds(historyTTL)}
}

func (c *ProcessCache) blame(ctx context.Context, t ProcessType, id, component string, err error) error {
	names := c.processKeys(t, id, component)
	typed := make([]typedKey, len(names))
	for i, kind := range []string{"hash", "zset", "zset", "hash", "string", "zset", "list"} {
		typed[i] = typedKey{names[i], kind}
	}
	return blame(ctx, c.kv, err, typed...)
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
func microseconds(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) }

// newID returns an id that nobody has.
func newID() string { return strings.ToLower(rand.Text()) }

// Register registers a process and keeps telling that it is alive, until it is
// stopped or the Client is closed; ctx bounds this call only. The process is
// starting if it does not say otherwise.
//
// An id that another process has goes to the one that registers last: a bot that
// is started anew need not wait until its predecessor counts as dead, and the
// predecessor, should it still live, learns of it by [ProcessHandle.Err]. The id
// of another component's process is refused ([ErrInvalid]) until that one is
// cleaned up. After a restart of the server without data, or after
// [BaseCache.Clear], the process registers itself again.
//
// It returns [ErrInvalid] if a field is unusable and [ErrUnavailable] if it is
// unknown whether the process was registered.
func (c *ProcessCache) Register(ctx context.Context, p Process) (h *ProcessHandle, err error) {
	call := c.begin(ctx, "process.register", Market{})
	defer func() { call.end(ctx, err) }()
	if p.ID == "" {
		p.ID = newID()
	}
	if p.Status == "" {
		p.Status = ProcessStarting
	}
	if p.Host == "" {
		p.Host, _ = os.Hostname() // without a name it is registered all the same
	}
	if p.PID == 0 {
		p.PID = os.Getpid()
	}
	if p.Interval == 0 {
		p.Interval = c.interval
	}
	if err := p.Validate(); err != nil {
		return nil, err
	}
	if p.Status == ProcessStopped {
		return nil, fmt.Errorf("%w: process %s: status stopped: want one that is not", ErrInvalid, p)
	}
	h = newProcessHandle(c, p)
	if err := h.write(ctx); err != nil {
		return nil, err
	}
	return h, h.begin()
}

// Get returns a process, alive or not, in one round trip. It returns
// [ErrNotFound], [ErrCorrupt] or [ErrUnavailable].
func (c *ProcessCache) Get(ctx context.Context, t ProcessType, id string) (p Process, err error) {
	call := c.begin(ctx, "process.get", Market{})
	defer func() { call.end(ctx, err) }()
	if err := validProcessName(t, id); err != nil {
		return p, err
	}
	key := c.keys.Process(string(t), id)
	parts, err := replyParts(c.kv.Run(ctx, kv.ProcessGet, []string{key}, nil))
	if err != nil {
		return p, redisError(key, err)
	}
	s, err := readProcess(key, processKey{t, id}, kv.Reply{Msg: parts[1]})
	if errors.Is(err, ErrNotFound) {
		err = fmt.Errorf("process %s %s: %w", t, printable(id), err)
	}
	s.seen(serverTime(parts[0]))
	return s.Process, err
}

// serverTime reads the time that a script returned.
func serverTime(reply rueidis.RedisMessage) time.Time {
	micros, _ := reply.AsInt64()
	return time.UnixMicro(micros)
}

// readProcess reads the reply to HGETALL. It returns ErrNotFound if there is no
// hash.
func readProcess(key string, want processKey, r kv.Reply) (s storedProcess, err error) {
	if r.Err != nil {
		return s, redisError(key, r.Err)
	}
	fields, err := r.Msg.AsStrMap()
	if err == nil && len(fields) == 0 {
		return s, ErrNotFound
	}
	s, err = parseProcess(key, fields)
	if got := (processKey{s.Type, s.ID}); err == nil && got != want {
		return storedProcess{}, &CorruptError{Key: key, Err: fmt.Errorf("it holds %s %q", got.kind, got.id)}
	}
	return s, err
}

// ProcessFilter says which processes are listed; the zero value says all.
type ProcessFilter struct {
	Type      ProcessType
	Component string
	// Since lists only those that were heard of within so long, by the server's
	// clock.
	Since time.Duration
}

func (f ProcessFilter) validate() error {
	if f.Type != "" {
		if err := f.Type.Validate(); err != nil {
			return err
		}
	}
	if f.Component != "" {
		if err := validComponent(f.Component); err != nil {
			return err
		}
	}
	if f.Since < 0 {
		return fmt.Errorf("%w: since %s: want at least 0", ErrInvalid, f.Since)
	}
	return nil
}

// types are those that the filter lets through.
func (f ProcessFilter) types() []ProcessType {
	if f.Type != "" {
		return []ProcessType{f.Type}
	}
	return processTypes[:]
}

func (f ProcessFilter) fits(p Process) bool {
	return (f.Component == "" || p.Component == f.Component) && (f.Since == 0 || p.Age <= f.Since)
}

// Active yields the processes that are alive, by type and then by when they were
// last heard of, in two round trips (more beyond 1,000). One that cannot be read
// yields its error with a Process that carries only type, component and id, and
// the listing goes on; if an index cannot be read, that error is an element with
// the type. It is not a snapshot: processes may change meanwhile.
func (c *ProcessCache) Active(ctx context.Context, f ProcessFilter) iter.Seq2[Process, error] {
	return c.listing(ctx, "process.active", f, true)
}

// List yields processes as [ProcessCache.Active] does, also those that stopped or
// vanished within 24 h and were not cleaned up.
func (c *ProcessCache) List(ctx context.Context, f ProcessFilter) iter.Seq2[Process, error] {
	return c.listing(ctx, "process.list", f, false)
}

func (c *ProcessCache) listing(ctx context.Context, name string, f ProcessFilter, alive bool) iter.Seq2[Process, error] {
	return func(yield func(Process, error) bool) {
		var err error
		call := c.begin(ctx, name, Market{})
		defer func() { call.end(ctx, err) }()
		if err = f.validate(); err != nil {
			yield(Process{}, err)
			return
		}
		_, err = c.read(ctx, f, func(s storedProcess, rerr error) bool {
			if rerr == nil && (alive && !s.Alive || !f.fits(s.Process)) {
				return true
			}
			return yield(s.Process, rerr)
		})
	}
}

// indexed is an entry of an index.
type indexed struct {
	processKey
	component string
}

// index lists the processes of types whose scores in an index are of the last so
// many microseconds, "" for any.
func (c *ProcessCache) index(ctx context.Context, types []ProcessType, key func(kind string) string, least, most string) (now time.Time, all []indexed, errs []error) {
	calls := make([]kv.ScriptCall, len(types))
	for i, t := range types {
		calls[i] = kv.ScriptCall{Keys: []string{key(string(t)), c.keys.ProcessComponents(string(t))}, Args: []string{least, most}}
	}
	errs = make([]error, len(types))
	for i, reply := range c.kv.RunMulti(ctx, kv.ProcessIndex, calls) {
		t := types[i]
		c.touched(t, reply.Err)
		parts, err := replyParts(reply.Msg, reply.Err)
		if err != nil {
			errs[i] = blame(ctx, c.kv, err, typedKey{calls[i].Keys[0], "zset"}, typedKey{calls[i].Keys[1], "hash"})
			continue
		}
		now = latest(now, serverTime(parts[0]))
		list, _ := parts[1].AsStrSlice()
		for pair := range slices.Chunk(list, 2) {
			all = append(all, indexed{processKey{t, pair[0]}, pair[1]})
		}
	}
	return now, all, errs
}

// read yields the processes that a filter may let through, and returns the
// server's time and the last error. Those that vanished or are gone are looked
// after.
func (c *ProcessCache) read(ctx context.Context, f ProcessFilter, yield func(s storedProcess, err error) bool) (now time.Time, last error) {
	least := ""
	if f.Since > 0 {
		least = microseconds(f.Since)
	}
	types := f.types()
	now, all, errs := c.index(ctx, types, c.keys.Processes, least, "")
	for i, err := range errs {
		if err != nil {
			last = err
			if !yield(storedProcess{Process: Process{Type: types[i]}}, err) {
				return now, last
			}
		}
	}
	err := c.readAll(ctx, now, all, yield)
	if err != nil {
		last = err
	}
	return now, last
}

// readAll yields processes as they were at a moment, or later; the error it
// returns is the last one.
func (c *ProcessCache) readAll(ctx context.Context, now time.Time, all []indexed, yield func(s storedProcess, err error) bool) (last error) {
	for some := range slices.Chunk(all, kv.Pipelined) {
		cmds := make([]rueidis.Completed, len(some))
		for i, p := range some {
			cmds[i] = c.kv.B().Hgetall().Key(c.keys.Process(string(p.kind), p.id)).Build()
		}
		for i, reply := range c.kv.DoMulti(ctx, cmds) {
			p := some[i]
			s, err := readProcess(c.keys.Process(string(p.kind), p.id), p.processKey, reply)
			if errors.Is(err, ErrNotFound) {
				c.sweepLater(p.kind)
				continue
			}
			if err != nil {
				last = err
				s.Process = Process{Type: p.kind, Component: p.component, ID: p.id}
			} else if s.seen(now); s.Stale() && s.Died.IsZero() {
				c.sweepLater(p.kind)
			}
			if !yield(s, err) {
				return last
			}
		}
	}
	return last
}

// Component returns the newest process of a component that is alive, in two round
// trips: of several the one that started last, until it stops or vanishes. It
// returns [ErrNotFound] if none is alive, [ErrCorrupt] if the newest cannot be
// read, and [ErrUnavailable].
func (c *ProcessCache) Component(ctx context.Context, t ProcessType, component string) (p Process, err error) {
	call := c.begin(ctx, "process.component", Market{})
	defer func() { call.end(ctx, err) }()
	if err := errors.Join(t.Validate(), validComponent(component)); err != nil {
		return p, err
	}
	now, all, errs := c.index(ctx, []ProcessType{t}, func(kind string) string { return c.keys.ProcessComponent(kind, component) }, "", "")
	if errs[0] != nil {
		return p, errs[0]
	}
	slices.Reverse(all)
	err = fmt.Errorf("living process of %s %s: %w", t, printable(component), ErrNotFound)
	_ = c.readAll(ctx, now, all, func(s storedProcess, rerr error) bool { // its error is that of an element
		if rerr == nil && !s.Alive {
			return true
		}
		p, err = s.Process, rerr
		return false
	})
	if err != nil {
		return Process{}, err
	}
	return p, nil
}

// History yields what happened to the processes of a component, the newest of it
// first, at most n events: starts, stops, deaths and changes of status. The last
// [Config].ProcessHistoryCap are kept, for 7 days after the last one. One that
// cannot be read yields its error, and the listing goes on.
func (c *ProcessCache) History(ctx context.Context, t ProcessType, component string, n int) iter.Seq2[ProcessRecord, error] {
	return func(yield func(ProcessRecord, error) bool) {
		var err error
		call := c.begin(ctx, "process.history", Market{})
		defer func() { call.end(ctx, err) }()
		if err = errors.Join(t.Validate(), validComponent(component)); err == nil && n < 1 {
			err = fmt.Errorf("%w: %d events: want at least 1", ErrInvalid, n)
		}
		if err != nil {
			yield(ProcessRecord{}, err)
			return
		}
		key := c.keys.ProcessHistory(string(t), component)
		err = listed(ctx, c.kv, key, int64(n), func(text string) (ProcessRecord, error) { return readProcessRecord(key, text) }, yield)
	}
}

// CleanupStale forgets the processes that stopped or vanished and were last heard
// of at least so long ago; 0 forgets all that are not alive. It tells and reports
// deaths that nobody has noticed, and keeps a process whose death cannot be told. It
// forgets what cannot be read, and returns how many it forgot, also with an error.
// One that lives after all registers itself again.
func (c *ProcessCache) CleanupStale(ctx context.Context, olderThan time.Duration) (forgotten int, err error) {
	call := c.begin(ctx, "process.cleanup_stale", Market{})
	defer func() { call.end(ctx, err) }()
	if olderThan < 0 {
		return 0, fmt.Errorf("%w: older than %s: want at least 0", ErrInvalid, olderThan)
	}
	var errs []error
	for _, t := range processTypes {
		_, err := c.sweep(ctx, t, sweepAll)
		errs = append(errs, err)
	}
	_, old, ierrs := c.index(ctx, processTypes[:], c.keys.Processes, "", microseconds(olderThan))
	errs = append(errs, ierrs...)
	forgotten, err = c.forget(ctx, old, olderThan)
	return forgotten, errors.Join(append(errs, err)...)
}

// forget forgets processes that have been silent for so long.
func (c *ProcessCache) forget(ctx context.Context, list []indexed, silent time.Duration) (forgotten int, _ error) {
	calls := make([]kv.ScriptCall, len(list))
	for i, p := range list {
		calls[i] = kv.ScriptCall{
			Keys: c.processKeys(p.kind, p.id, p.component),
			Args: slices.Concat([]string{p.id, microseconds(silent)}, c.channels(p.kind)),
		}
	}
	var errs []error
	for i, reply := range c.kv.RunMulti(ctx, kv.ProcessForget, calls) {
		if reply.Err != nil {
			errs = append(errs, c.blame(ctx, list[i].kind, list[i].id, list[i].component, reply.Err))
			continue
		}
		n, _ := reply.Msg.AsInt64()
		forgotten += int(n)
	}
	return forgotten, errors.Join(errs...)
}

// SystemHealth is how all processes are. Of those that are stale, the status is
// what they last said: they are not counted by it.
type SystemHealth struct {
	// Healthy says that no process is stale or in error, and that all can be read.
	// Where there is no process, nothing is wrong.
	Healthy bool `json:"healthy"`
	// Time is when, by the server's clock.
	Time time.Time `json:"time"`
	// Total counts all processes, Alive those that are alive.
	Total int `json:"total"`
	Alive int `json:"alive"`
	// Types counts all processes by type, Statuses those that are alive or stopped
	// by status.
	Types    map[ProcessType]int   `json:"types"`
	Statuses map[ProcessStatus]int `json:"statuses"`
	// Stale are the processes that vanished: [ProcessCache.CleanupStale] forgets
	// them.
	Stale []Process `json:"stale"`
	// Failed are those that are alive and in error.
	Failed []Process `json:"failed"`
}

// SystemHealth tells how all processes are, in two round trips (more beyond
// 1,000 processes). If some cannot be read, it returns their errors beside what is
// known of the others, which is not healthy.
func (c *ProcessCache) SystemHealth(ctx context.Context) (h SystemHealth, err error) {
	call := c.begin(ctx, "process.system_health", Market{})
	defer func() { call.end(ctx, err) }()
	h = SystemHealth{Types: make(map[ProcessType]int), Statuses: make(map[ProcessStatus]int), Stale: []Process{}, Failed: []Process{}}
	var errs []error
	h.Time, _ = c.read(ctx, ProcessFilter{}, func(s storedProcess, err error) bool {
		if err != nil {
			errs = append(errs, err)
			return true
		}
		h.Total++
		h.Types[s.Type]++
		switch {
		case s.Stale():
			h.Stale = append(h.Stale, s.Process)
			return true
		case s.Status == ProcessError:
			h.Failed = append(h.Failed, s.Process)
		}
		if s.Alive {
			h.Alive++
		}
		h.Statuses[s.Status]++
		return true
	})
	h.Healthy = len(h.Stale)+len(h.Failed)+len(errs) == 0
	return h, errors.Join(errs...)
}
