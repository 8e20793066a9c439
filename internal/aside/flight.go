package aside

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	mathrand "math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/kv"
)

const (
	// maxLoads is how often a value is loaded that is invalidated meanwhile.
	maxLoads = 3
	// A loader that waits for one in another process asks this often.
	shortestPause, longestPause = 2 * time.Millisecond, 50 * time.Millisecond
)

// flight brings the entry of a key, for all callers of this process that wait
// for it. No caller's end is its end.
type flight[V any] struct {
	done    chan struct{}
	outcome outcome[V] // valid when done is closed
	loads   int        // that have begun; guarded by Cache.mu
}

// flightKey is what callers of one flight have in common.
type flightKey struct {
	key    string
	within time.Duration
}

type outcome[V any] struct {
	entry Entry[V]
	// load is which of the flight's loads this is from, if it did not become the
	// entry: it is only for those who asked before.
	load int
	err  error
}

type request struct {
	key        string
	within     time.Duration
	load       Load
	refresh    bool
	generation int64       // that was seen, 0 if none was
	corrupt    *corruption // what was found
}

func newFlight[V any]() *flight[V] { return &flight[V]{done: make(chan struct{})} }

func (f *flight[V]) wait(ctx context.Context) (outcome[V], error) {
	select {
	case <-f.done:
		return f.outcome, f.outcome.err
	case <-ctx.Done():
		return outcome[V]{}, ctx.Err()
	}
}

// join returns the flight for a request, and how many loads it had begun.
func (c *cache[V]) join(r request) (f *flight[V], loads int) {
	k := flightKey{r.key, r.within}
	c.mu.Lock()
	f = c.flights[k]
	if f != nil {
		defer c.mu.Unlock()
		return f, f.loads
	}
	f = newFlight[V]()
	c.flights[k] = f
	c.mu.Unlock()
	c.start(f, r)
	return f, 0
}

func (c *cache[V]) start(f *flight[V], r request) {
	land := func(o outcome[V]) {
		c.seal(f, r)
		f.outcome = o
		close(f.done)
	}
	if !c.db.Background(func(life context.Context) { land(c.fly(life, f, r)) }) {
		_, _, err := c.generation(context.Background(), "keep") // it says that the client is closed
		land(outcome[V]{err: err})
	}
}

// seal keeps further callers from joining: what the flight does next may be
// older than what they may see.
func (c *cache[V]) seal(f *flight[V], r request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := (flightKey{r.key, r.within}); c.flights[k] == f {
		delete(c.flights, k)
	}
}

// fly brings the entry: it loads it, or waits for who does. Its life ends when
// the client is closed, which its calls are told in words of the client's own.
func (c *cache[V]) fly(life context.Context, f *flight[V], r request) outcome[V] {
	o := c.bring(life, f, r)
	var failed *LoadError
	switch {
	case errors.As(o.err, &failed):
		c.failures.Set(r.key, time.Now().Add(retryAfter))
		c.opt.OnEvent(LoadFailed, r.key, failed.Err)
	case o.err == nil:
		c.failures.Delete(r.key)
	}
	return o
}

func (c *cache[V]) bring(life context.Context, f *flight[V], r request) outcome[V] {
	ctx := context.WithoutCancel(life)
	cl := claim{token: rand.Text()}
	if r.corrupt != nil {
		c.opt.OnEvent(Corrupt, r.key, r.corrupt)
		cl.unusable = r.corrupt.meta
	}
	var after int64 // when a usable entry was loaded, at the earliest
	if r.refresh {
		after = math.MaxInt64
	}
	// Whoever waits longer has met more than one loader that was lost.
	patience := time.Now().Add(c.claimTTL() + c.opt.LoadTimeout)
	pause := shortestPause
	for first := true; ; first = false {
		if !(first && c.claimAtOnce(ctx, r, &cl)) {
			generation, now, err := c.generation(ctx, "keep")
			if err != nil {
				return outcome[V]{err: err}
			}
			if first && r.within > 0 {
				after = now.Add(-r.within).UnixMicro()
			}
			cl.generation, cl.after = generation, max(after, c.trusted.Load())
			if err := c.claim(ctx, r.key, &cl); err != nil {
				return outcome[V]{err: err}
			}
		}
		if first && r.refresh {
			after = cl.now.UnixMicro()
		}
		switch cl.status {
		case "claimed", "writing":
			if o, again := c.loadAndStore(life, f, r, &cl); !again {
				return o
			}
			continue
		case "filled":
			if o, again := c.reread(ctx, f, r, &cl); !again {
				return o
			}
		case "failed":
			return outcome[V]{err: &LoadError{r.key, fmt.Errorf("another process: %s", cl.detail)}}
		default: // "busy"
			cl.awaited = cl.detail
		}
		if time.Now().After(patience) {
			return outcome[V]{err: &LoadError{r.key, fmt.Errorf("waited for other processes: %w", context.DeadlineExceeded)}}
		}
		select {
		case <-time.After(pause/2 + mathrand.N(pause)):
		case <-life.Done():
		}
		pause = min(2*pause, longestPause)
	}
}

// loadAndStore asks the record, and makes what it says the entry. again says
// that it was invalidated meanwhile.
func (c *cache[V]) loadAndStore(life context.Context, f *flight[V], r request, cl *claim) (o outcome[V], again bool) {
	ctx := context.WithoutCancel(life)
	c.mu.Lock()
	f.loads++
	o.load = f.loads
	c.mu.Unlock()
	l := c.load(life, r.key, r.load)
	if l.err != nil {
		o.err = &LoadError{r.key, l.err}
		_, err := c.db.Run(ctx, kv.AsideFail, []string{guard(r.key)}, []string{cl.token, l.err.Error(), millis(retryAfter)})
		switch {
		case life.Err() != nil:
			o.err = err // that the client is closed
		case err != nil:
			c.opt.OnEvent(NotReleased, r.key, err)
		}
		return o, false
	}
	o.entry = Entry[V]{Value: l.value, Loaded: cl.now, Absent: !l.found}
	if cl.status == "writing" {
		return o, false
	}
	c.seal(f, r)
	stored, err := c.store(ctx, r.key, cl, l)
	switch {
	case err != nil:
		c.opt.OnEvent(NotStored, r.key, err)
	case stored:
		o.load = 0
	default:
		again = o.load < maxLoads
	}
	return o, again
}

// loaded is what the record said.
type loaded[V any] struct {
	elements map[string]string
	found    bool
	value    V
	err      error
}

// load asks the record. A loader that does not heed its context is left behind.
func (c *cache[V]) load(ctx context.Context, key string, load Load) loaded[V] {
	ctx, cancel := context.WithTimeout(ctx, c.opt.LoadTimeout)
	defer cancel()
	result := make(chan loaded[V], 1)
	go func() {
		var l loaded[V]
		defer func() {
			if p := recover(); p != nil {
				l.err = fmt.Errorf("the loader panicked: %v", p)
			}
			result <- l
		}()
		l.elements, l.found, l.err = load(ctx)
		if _, ok := l.elements[metaField]; ok {
			l.err = errors.New("an element has no name")
		}
		if l.err == nil && l.found {
			l.value, l.err = c.opt.Decode(key, l.elements)
		}
	}()
	select {
	case l := <-result:
		return l
	case <-ctx.Done():
		return loaded[V]{err: fmt.Errorf("the loader has not answered within %s: %w", c.opt.LoadTimeout, ctx.Err())}
	}
}

// claim is what is asked for and answered by aside_claim.
type claim struct {
	token      string
	generation int64
	unusable   string // meta text of a corrupt entry
	after      int64  // microseconds
	awaited    string // token of the loader that is waited for

	status, detail string
	now            time.Time
}

// claimAtOnce claims in the generation that the caller has seen, while it asks for
// the one in force: mostly they are the same, and a round trip is spared. It
// reports false if they are not, or if the claim takes more than that to know;
// claiming again with the same token does no harm.
func (c *cache[V]) claimAtOnce(ctx context.Context, r request, cl *claim) bool {
	cl.generation, cl.after = r.generation, c.trusted.Load()
	if r.generation == 0 || r.within > 0 || stamp(cl.after) == "~" {
		return false
	}
	trusted := cl.after
	claimed, asked := c.db.RunBoth(ctx, kv.AsideClaim, kv.AsideGeneration, c.claimCall(r.key, cl), c.generationCall("keep"))
	generation, _, unknown := c.generationIs(trusted, asked.Msg, asked.Err)
	err := c.claimIs(r.key, cl, claimed.Msg, claimed.Err)
	return err == nil && unknown == nil && generation == r.generation
}

func (c *cache[V]) claim(ctx context.Context, key string, cl *claim) error {
	call := c.claimCall(key, cl)
	reply, err := c.db.Run(ctx, kv.AsideClaim, call.Keys, call.Args)
	return c.claimIs(key, cl, reply, err)
}

func (c *cache[V]) claimCall(key string, cl *claim) kv.ScriptCall {
	return kv.ScriptCall{Keys: []string{key, guard(key)}, Args: []string{
		cl.token, millis(c.claimTTL()), strconv.FormatInt(cl.generation, 10), cl.unusable, stamp(cl.after), cl.awaited,
	}}
}

// claimIs reads what aside_claim returned.
func (c *cache[V]) claimIs(key string, cl *claim, reply rueidis.RedisMessage, err error) error {
	words, err := texts(reply, err)
	if err != nil {
		return fmt.Errorf("claim %s: %w", key, err)
	}
	cl.status, cl.detail = words[0], words[2]
	cl.now, err = parseStamp(words[1])
	if cl.status == "claimed" && cl.detail != "" {
		c.opt.OnEvent(Corrupt, guard(key), errors.New(cl.detail))
	}
	return err
}

// store makes what was loaded the entry, if the claim and the generation still
// hold.
func (c *cache[V]) store(ctx context.Context, key string, cl *claim, l loaded[V]) (bool, error) {
	ttl, kind := c.opt.TTL, "present"
	if !l.found {
		ttl, kind = c.opt.NegativeTTL, "absent"
	}
	fresh := ttl - mathrand.N(ttl/10+1)
	lasts := fresh
	if l.found {
		// A record that cannot be asked does not take its entries along.
		lasts = 2 * ttl
	}
	args := make([]string, 0, 6+2*len(l.elements))
	args = append(args, cl.token, stamp(cl.now.UnixMicro()), strconv.FormatInt(fresh.Microseconds(), 10),
		strconv.FormatInt(cl.generation, 10), kind, millis(lasts))
	if l.found {
		for id, element := range l.elements {
			args = append(args, id, element)
		}
	}
	// An entry of an old generation is void on arrival, but those who wait for it
	// would not know. It is stored all the same, which gives the claim back.
	fill := kv.ScriptCall{Keys: []string{key, guard(key)}, Args: args}
	trusted := c.trusted.Load()
	reply, asked := c.db.RunBoth(ctx, kv.AsideFill, kv.AsideGeneration, fill, c.generationCall("keep"))
	generation, _, err := c.generationIs(trusted, asked.Msg, asked.Err)
	if err = cmp.Or(reply.Err, err); err != nil {
		return false, err
	}
	stored, err := reply.Msg.AsInt64()
	c.entries.Forget(key)
	return stored == 1 && generation == cl.generation, err
}

// reread reads the entry that the server said is there. again says that it is
// not any more, or that it is corrupt.
func (c *cache[V]) reread(ctx context.Context, f *flight[V], r request, cl *claim) (o outcome[V], again bool) {
	c.seal(f, r)
	c.generations.Forget(c.opt.Generation)
	c.entries.Forget(r.key)
	r.corrupt = nil
	e, generation, _, err := c.look(ctx, &r)
	if r.corrupt != nil {
		c.opt.OnEvent(Corrupt, r.key, r.corrupt)
		cl.unusable = r.corrupt.meta
	}
	if err != nil || e == nil || e.generation != generation || e.loaded.UnixMicro() <= cl.after {
		return outcome[V]{err: err}, err == nil
	}
	return outcome[V]{entry: e.answer(false)}, false
}

// generation returns the generation in force, or begins a new one, and the
// server's time.
func (c *cache[V]) generation(ctx context.Context, mode string) (int64, time.Time, error) {
	trusted := c.trusted.Load()
	call := c.generationCall(mode)
	reply, err := c.db.Run(ctx, kv.AsideGeneration, call.Keys, call.Args)
	return c.generationIs(trusted, reply, err)
}

func (c *cache[V]) generationCall(mode string) kv.ScriptCall {
	return kv.ScriptCall{Keys: []string{c.opt.Generation}, Args: []string{mode}}
}

// generationIs reads what aside_generation returned, which was asked when this
// was what was trusted.
func (c *cache[V]) generationIs(trusted int64, reply rueidis.RedisMessage, err error) (int64, time.Time, error) {
	words, err := texts(reply, err)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("generation %s: %w", c.opt.Generation, err)
	}
	g, err := strconv.ParseInt(words[0], 10, 64)
	now, terr := parseStamp(words[1])
	if words[2] != "" {
		c.opt.OnEvent(Corrupt, c.opt.Generation, errors.New(words[2]))
	}
	if stamp(trusted) == "~" {
		// The server is one again; what it holds from before is not trusted.
		c.trusted.CompareAndSwap(trusted, now.UnixMicro())
	}
	return g, now, errors.Join(err, terr)
}

// texts reads the three texts that a script returned.
func texts(m rueidis.RedisMessage, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	return m.AsStrSlice()
}
