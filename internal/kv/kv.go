// Package kv is the connection to Redis that every cache shares: one client for
// a standalone server, Sentinel, a cluster, a unix socket or the in-process
// server; a script runner; a circuit breaker; sessions for pub/sub; a near
// cache of decoded values. It bounds every call, tells "cannot answer" from
// "answered", and never blocks on a server beyond the caller's context.
package kv

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// Event is something that happened to the connection.
type Event int

// The events.
const (
	Reconnected   Event = iota + 1 // the server answers again after a transport failure
	BreakerOpened                  // calls are refused without asking the server
	BreakerClosed                  // a probe succeeded
	NearFlushed                    // a near cache lost its invalidations and was emptied
)

// Options say where to connect and how to behave. All fields are required but
// those whose zero value says something.
type Options struct {
	Network  string // "tcp" or "unix"
	Addrs    []string
	Username string
	Password string
	DB       int
	TLS      *tls.Config // nil: not encrypted

	Cluster        bool
	SentinelMaster string // "": Addrs are the servers themselves
	InProcess      bool   // the in-process server: RESP2, no tracking

	MaxConnections  int
	CallTimeout     time.Duration
	ConnectTimeout  time.Duration
	BreakerFailures int
	BreakerCooldown time.Duration
	NearStaleness   time.Duration

	// Unavailable makes the error for a server that cannot answer now.
	Unavailable func(retryAfter time.Duration, err error) error
	// Closed is the error of calls after Close.
	Closed error
	// OnEvent is told what no caller asked for. It must not block.
	OnEvent func(e Event, subject string, err error)
	// OnLost, if there is one, is told that a connection was lost, before another
	// takes its place: what answers next may be a server that has forgotten. It must
	// not block.
	OnLost func()
}

// Reply is what the server said to one command, or why it did not.
type Reply struct {
	Msg rueidis.RedisMessage
	Err error
}

// Client is a connection to Redis. Its methods are safe for concurrent use.
type Client struct {
	opt     Options
	redis   rueidis.Client
	scripts map[Script]script

	// extra counts the connections beside the one that carries the commands of
	// all callers: sessions and blocking waits.
	extra chan struct{}

	breakers sync.Map // slot (uint16) → *breaker
	losses   atomic.Int64
	opened   atomic.Bool // Open succeeded

	ctx    context.Context // ends at Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // goroutines that outlive a call
	mu     sync.Mutex     // guards wg.Add against Close

	near nearState
	lane lane
}

// Open connects. It fails if no server can be reached.
func Open(ctx context.Context, opt Options) (*Client, error) {
	c := &Client{
		opt:     opt,
		scripts: loaded[opt.InProcess](),
		extra:   make(chan struct{}, opt.MaxConnections-1),
	}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	c.near.init(c)
	c.lane = lane{c: c, rest: laneRest}
	connected := make(chan error, 1)
	go func() {
		var err error
		c.redis, err = rueidis.NewClient(c.clientOption())
		connected <- err
	}()
	select {
	case err := <-connected:
		if err != nil {
			c.cancel()
			return nil, c.openError(err)
		}
		c.opened.Store(true)
		return c, nil
	case <-ctx.Done():
		// NewClient knows no context; cancelling ours ends its connections.
		c.cancel()
		if err := <-connected; err == nil {
			c.redis.Close()
		}
		return nil, ctx.Err()
	}
}

// openError tells a server that cannot be reached from one that refuses.
func (c *Client) openError(err error) error {
	if _, ok := rueidis.IsRedisErr(err); ok && !unavailable(err) {
		return err
	}
	return c.opt.Unavailable(0, err)
}

func (c *Client) clientOption() rueidis.ClientOption {
	o := rueidis.ClientOption{
		InitAddress: c.opt.Addrs,
		Username:    c.opt.Username,
		Password:    c.opt.Password,
		SelectDB:    c.opt.DB,
		TLSConfig:   c.opt.TLS,
		ClientName:  "fulloncache",
		DialCtxFn:   c.dial,
		Dialer: net.Dialer{
			Timeout: c.opt.ConnectTimeout,
			// It is also how often an idle connection is pinged; with the time the
			// ping may take, a frozen server is noticed within 2 s.
			KeepAlive: 500 * time.Millisecond,
		},
		ConnWriteTimeout: time.Second,
		// One connection that is always pipelined: it carries more than several
		// (fewer system calls), a cancelled context ends a call at once, and what
		// it has answered proves that its invalidations have arrived.
		AlwaysPipelining:  true,
		PipelineMultiplex: -1,
		// Callers that come at the same time share a system call; one alone does not wait.
		MaxFlushDelay:    20 * time.Microsecond,
		BlockingPipeline: -1,
		BlockingPoolSize: c.opt.MaxConnections - 1,
		// Retries are decided here, by what may be sent twice and how long it may take.
		DisableRetry:        true,
		ForceSingleClient:   !c.opt.Cluster,
		NewCacheStoreFn:     c.near.store,
		ReadBufferEachConn:  128 << 10,
		WriteBufferEachConn: 128 << 10,
	}
	if c.opt.Cluster {
		o.ClusterOption.ShardsRefreshInterval = 5 * time.Second
		// Slots that move back and forth must not hold a call for ever.
		o.ClusterOption.MaxMovedRedirections = 16
	}
	if c.opt.SentinelMaster != "" {
		o.Sentinel = rueidis.SentinelOption{
			MasterSet: c.opt.SentinelMaster,
			Dialer:    o.Dialer,
			TLSConfig: o.TLSConfig,
			// A missed +switch-master would bind the client to a demoted master.
			TopologyRefreshInterval: 5 * time.Second,
		}
	}
	if c.opt.InProcess {
		o.DisableCache, o.AlwaysRESP2 = true, true
		// It cannot freeze, but it is slow and answers a pipeline as a whole.
		o.ConnWriteTimeout = c.opt.CallTimeout
	}
	return o
}

// dial connects, and counts the connection's loss so that the next call does
// not wait for a new one beyond its context.
func (c *Client) dial(ctx context.Context, addr string, d *net.Dialer, conf *tls.Config) (net.Conn, error) {
	return c.connect(ctx, addr, d, conf, false)
}

// connect is dial. Alone, nobody but a caller reads from the connection, and Close
// has to end it.
func (c *Client) connect(ctx context.Context, addr string, d *net.Dialer, conf *tls.Config, alone bool) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	var (
		conn net.Conn
		err  error
	)
	if conf != nil {
		conn, err = (&tls.Dialer{NetDialer: d, Config: conf}).DialContext(ctx, c.opt.Network, addr)
	} else {
		conn, err = d.DialContext(ctx, c.opt.Network, addr)
	}
	if err != nil {
		return nil, err
	}
	counted := &countedConn{Conn: conn, losses: &c.losses, onLost: c.opt.OnLost}
	counted.stop = context.AfterFunc(c.ctx, func() {
		// Who gave up opening does not wait for the handshake either.
		if alone || !c.opened.Load() {
			_ = conn.Close() // nobody is left to be told
		}
	})
	return counted, nil
}

// countedConn is a connection that tells when it is lost: it broke, or was given
// up while the server owed an answer. One that is closed for want of use is not.
type countedConn struct {
	net.Conn
	losses *atomic.Int64
	onLost func()
	stop   func() bool
	asked  atomic.Bool // something was sent, and nothing came since
	ended  atomic.Bool
}

func (c *countedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.end(true)
	} else {
		c.asked.Store(false)
	}
	return n, err
}

func (c *countedConn) Write(b []byte) (int, error) {
	c.asked.Store(true)
	n, err := c.Conn.Write(b)
	if err != nil {
		c.end(true)
	}
	return n, err
}

func (c *countedConn) Close() error {
	c.losses.Add(1)
	c.stop()
	c.end(c.asked.Load())
	return c.Conn.Close()
}

// end notes how the connection ended, the first time.
func (c *countedConn) end(lost bool) {
	if !c.ended.Swap(true) && lost && c.onLost != nil {
		c.onLost()
	}
}

// Close ends the connection. Calls in flight end with their result or with the
// closed error; goroutines of the client have ended when it returns.
func (c *Client) Close() {
	c.mu.Lock()
	c.cancel()
	c.mu.Unlock()
	c.lane.close()
	c.redis.Close()
	c.wg.Wait()
}

// goroutine runs f in a goroutine that Close waits for; it reports false, and
// does not, after Close.
func (c *Client) goroutine(f func()) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return false
	}
	c.wg.Go(f)
	return true
}

// Background runs f in a goroutine that Close waits for, with a context that
// ends then. It reports false, and does not, after Close.
func (c *Client) Background(f func(ctx context.Context)) bool {
	return c.goroutine(func() { f(c.ctx) })
}

// Done is closed when the client is.
func (c *Client) Done() <-chan struct{} { return c.ctx.Done() }

// B builds commands. A command is used for one call only.
func (c *Client) B() rueidis.Builder { return c.redis.B() }

// Cluster reports whether the server is a cluster.
func (c *Client) Cluster() bool { return c.opt.Cluster }

// InProcess reports whether the server is the in-process one.
func (c *Client) InProcess() bool { return c.opt.InProcess }

// Publish returns the command by which scripts publish.
func (c *Client) Publish() string {
	if c.opt.Cluster {
		return "SPUBLISH"
	}
	return "PUBLISH"
}

// Do sends one command. An absent value is an error that [IsNil] knows. A read
// whose connection breaks is sent once more.
func (c *Client) Do(ctx context.Context, cmd rueidis.Completed) (rueidis.RedisMessage, error) {
	return call(ctx, c, request{slot: cmd.Slot(), again: cmd.IsReadOnly()}, func(ctx context.Context) (rueidis.RedisMessage, error) {
		return c.redis.Do(ctx, cmd.Pin()).ToMessage()
	})
}

// DoMulti sends commands in one go and returns a reply for each. Commands for
// slots whose breaker is open are not sent.
func (c *Client) DoMulti(ctx context.Context, cmds []rueidis.Completed) []Reply {
	replies := make([]Reply, len(cmds))
	bySlot := make(map[uint16][]int, 1)
	for i := range cmds {
		cmds[i] = cmds[i].Pin()
		s := c.slot(cmds[i].Slot())
		bySlot[s] = append(bySlot[s], i)
	}
	// One batch per slot, at the same time: a node that hangs does not hold up
	// the others, and each slot's breaker sees its own outcome.
	var wg sync.WaitGroup
	for slot, indexes := range bySlot {
		if len(bySlot) == 1 {
			c.doSlot(ctx, slot, cmds, replies, indexes)
			break
		}
		wg.Go(func() { c.doSlot(ctx, slot, cmds, replies, indexes) })
	}
	wg.Wait()
	return replies
}

// doSlot sends the commands at the indexes, which share a slot.
func (c *Client) doSlot(ctx context.Context, slot uint16, cmds []rueidis.Completed, replies []Reply, indexes []int) {
	req := request{slot: slot, again: true}
	batch := make([]rueidis.Completed, len(indexes))
	for i, at := range indexes {
		batch[i] = cmds[at]
		req.again = req.again && batch[i].IsReadOnly()
	}
	results, err := call(ctx, c, req, func(ctx context.Context) ([]rueidis.RedisResult, error) {
		results := c.redis.DoMulti(ctx, batch...)
		for _, r := range results {
			if err := r.NonRedisError(); err != nil {
				return results, err
			}
		}
		return results, nil
	})
	for i, at := range indexes {
		if err != nil && (results == nil || results[i].NonRedisError() != nil) {
			replies[at].Err = err
			continue
		}
		msg, err := results[i].ToMessage()
		replies[at] = Reply{Msg: msg, Err: c.answered(err)}
	}
}

// Run runs a script. All its keys share a slot.
func (c *Client) Run(ctx context.Context, name Script, keys, args []string) (rueidis.RedisMessage, error) {
	return c.run(ctx, c.scripts[name], keys, args, c.do)
}

// run runs a script by what sends a command.
func (c *Client) run(ctx context.Context, s script, keys, args []string, do func(context.Context, rueidis.Completed) (rueidis.RedisMessage, error)) (rueidis.RedisMessage, error) {
	// A command that is not kept for a second time costs fewer allocations.
	cmd := c.evalsha(s, keys, args)
	next := &cmd
	return call(ctx, c, request{slot: cmd.Slot(), again: s.retry}, func(ctx context.Context) (rueidis.RedisMessage, error) {
		if next == nil {
			cmd = c.evalsha(s, keys, args)
		}
		next = nil
		msg, err := do(ctx, cmd)
		if isNoScript(err) {
			msg, err = do(ctx, c.eval(s, keys, args))
		}
		return msg, err
	})
}

// do sends a command over the shared connection.
func (c *Client) do(ctx context.Context, cmd rueidis.Completed) (rueidis.RedisMessage, error) {
	return c.redis.Do(ctx, cmd).ToMessage()
}

func (c *Client) evalsha(s script, keys, args []string) rueidis.Completed {
	return c.redis.B().Evalsha().Sha1(s.sha).Numkeys(int64(len(keys))).Key(keys...).Arg(args...).Build()
}

func (c *Client) eval(s script, keys, args []string) rueidis.Completed {
	return c.redis.B().Eval().Script(s.body).Numkeys(int64(len(keys))).Key(keys...).Arg(args...).Build()
}

// ScriptCall is one call of a script in a batch.
type ScriptCall struct {
	Keys, Args []string
	// Whole sends the script itself and not its name, so that the calls behind it
	// in the batch find it loaded. Without it a call that does not, and is sent
	// again, can come after those that did because somebody loaded it meanwhile.
	Whole bool
}

// Pipelined is how many commands are best sent at once: more would hold up the
// calls of others, and take longer than one call may.
const Pipelined = 1000

// RunMulti runs a script many times, in order for keys that share a slot, and
// returns a reply for each.
func (c *Client) RunMulti(ctx context.Context, name Script, calls []ScriptCall) []Reply {
	if len(calls) == 1 { // sparing it what many need
		msg, err := c.Run(ctx, name, calls[0].Keys, calls[0].Args)
		return []Reply{{msg, err}}
	}
	replies := make([]Reply, 0, len(calls))
	for some := range slices.Chunk(calls, Pipelined) {
		replies = append(replies, c.runMulti(ctx, c.scripts[name], some)...)
	}
	return replies
}

// RunBoth runs two scripts, maybe of different slots, at once, and returns a reply
// for each. Neither waits for the other, nor is sent again if the connection
// breaks.
func (c *Client) RunBoth(ctx context.Context, first, second Script, a, b ScriptCall) (ra, rb Reply) {
	s := [...]script{c.scripts[first], c.scripts[second]}
	calls := [...]ScriptCall{a, b}
	cmds := make([]rueidis.Completed, len(calls))
	for i, call := range calls {
		cmds[i] = c.evalsha(s[i], call.Keys, call.Args)
	}
	replies := c.DoMulti(ctx, cmds)
	for i, call := range calls {
		if isNoScript(replies[i].Err) {
			replies[i].Msg, replies[i].Err = c.Do(ctx, c.eval(s[i], call.Keys, call.Args))
		}
	}
	return replies[0], replies[1]
}

func (c *Client) runMulti(ctx context.Context, s script, calls []ScriptCall) []Reply {
	cmds := make([]rueidis.Completed, len(calls))
	for i, call := range calls {
		if cmds[i] = c.evalsha(s, call.Keys, call.Args); call.Whole {
			cmds[i] = c.eval(s, call.Keys, call.Args)
		}
	}
	replies := c.DoMulti(ctx, cmds)
	first := slices.IndexFunc(replies, func(r Reply) bool { return isNoScript(r.Err) })
	if first < 0 {
		return replies
	}
	// From there on everything that may be is sent again, also what was done
	// because somebody loaded the script meanwhile: what comes later in the batch
	// must not happen earlier.
	cmds = nil
	var at []int
	for i := first; i < len(calls); i++ {
		if s.retry || isNoScript(replies[i].Err) {
			cmds = append(cmds, c.eval(s, calls[i].Keys, calls[i].Args))
			at = append(at, i)
		}
	}
	for i, r := range c.DoMulti(ctx, cmds) {
		replies[at[i]] = r
	}
	return replies
}

// Block sends a blocking command, which may take as long as wait, on a
// connection of its own.
func (c *Client) Block(ctx context.Context, wait time.Duration, cmd rueidis.Completed) (rueidis.RedisMessage, error) {
	if err := c.acquire(ctx); err != nil {
		return rueidis.RedisMessage{}, err
	}
	defer c.release()
	req := request{slot: cmd.Slot(), wait: wait, own: true}
	return call(ctx, c, req, func(ctx context.Context) (rueidis.RedisMessage, error) {
		return c.redis.Do(ctx, cmd).ToMessage()
	})
}

// acquire takes one of the connections beside the shared one.
func (c *Client) acquire(ctx context.Context) error {
	select {
	case c.extra <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-c.ctx.Done():
		return c.opt.Closed
	}
}

func (c *Client) release() { <-c.extra }

// Nodes returns the masters by address, each as a client of its own; a
// standalone server is the only one.
func (c *Client) Nodes(ctx context.Context) (map[string]rueidis.Client, error) {
	if !c.opt.Cluster {
		return c.redis.Nodes(), nil
	}
	nodes := make(map[string]rueidis.Client)
	for addr, node := range c.redis.Nodes() {
		role, err := c.DoNode(ctx, node, node.B().Role().Build())
		if err != nil {
			return nil, err
		}
		if fields, _ := role.ToArray(); len(fields) > 0 {
			if kind, _ := fields[0].ToString(); kind != "master" {
				continue
			}
		}
		nodes[addr] = node
	}
	return nodes, nil
}

// DoNode sends a command to one of the nodes.
func (c *Client) DoNode(ctx context.Context, node rueidis.Client, cmd rueidis.Completed) (rueidis.RedisMessage, error) {
	return call(ctx, c, request{slot: cmd.Slot()}, func(ctx context.Context) (rueidis.RedisMessage, error) {
		return node.Do(ctx, cmd).ToMessage()
	})
}

// IsNil reports whether err says that the value is absent.
func IsNil(err error) bool { return rueidis.IsRedisNil(err) }

// IsWrongType reports whether err says that the key holds another Redis type.
func IsWrongType(err error) bool {
	// A script reports it behind its own prefix.
	re, ok := rueidis.IsRedisErr(err)
	return ok && strings.Contains(re.Error(), "WRONGTYPE")
}

// IsRefusal reports whether err is the server's answer that it does not do such a
// thing, as opposed to not now.
func IsRefusal(err error) bool {
	_, ok := rueidis.IsRedisErr(err)
	return ok && !unavailable(err)
}

// IsNoGroup reports whether err says that a stream has no such consumer group, or
// that the stream went away under who waited for it.
func IsNoGroup(err error) bool {
	re, ok := rueidis.IsRedisErr(err)
	return ok && (strings.Contains(re.Error(), "NOGROUP") || strings.HasPrefix(re.Error(), "UNBLOCKED"))
}

func isNoScript(err error) bool {
	re, ok := rueidis.IsRedisErr(err)
	return ok && re.IsNoScript()
}

// unavailable reports whether the server said that it cannot answer now.
func unavailable(err error) bool {
	re, ok := rueidis.IsRedisErr(err)
	if !ok {
		return false
	}
	word, _, _ := strings.Cut(re.Error(), " ")
	switch word {
	case "LOADING", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "OOM", "MISCONF", "TRYAGAIN", "NOREPLICAS", "BUSY", "UNKILLABLE":
		return true
	}
	return false
}

// answered maps what the server answered: its "not now" is unavailability.
func (c *Client) answered(err error) error {
	if unavailable(err) {
		return c.opt.Unavailable(0, err)
	}
	return err
}

var errTimeout = errors.New("no answer in time")
