package kv

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// A lane is a connection beside the shared one, for who runs one script after the
// other alone: taking a lease and giving it back. On the shared connection each call
// has to wake two goroutines, one that writes and one that reads. On the lane the
// caller does both, which takes a quarter off a call to a server nearby. It is
// opened behind the back of calls in quick succession, and whoever finds somebody
// on it goes by the shared connection.
//
// What the near cache holds must not be written over it: the answer does not prove
// that invalidations have arrived, as it does on the shared connection.
type lane struct {
	c    *Client
	rest time.Duration // after what rest it is not used any more

	mu      sync.Mutex
	idle    *link     // nobody is on it; nil: there is none, or somebody is
	opening bool      // or open
	last    time.Time // when somebody last wanted it
}

// link is the lane's connection.
type link struct {
	redis rueidis.Client
	conn  net.Conn
	used  time.Time
}

// laneRest is the rest of a lane. Nothing is sent over it meanwhile, so that nobody
// knows whether it still leads anywhere.
const laneRest = time.Second

// RunAlone is Run for scripts that many callers run one after the other. What their
// keys hold must not be near-cached.
func (c *Client) RunAlone(ctx context.Context, name Script, keys, args []string) (rueidis.RedisMessage, error) {
	s := c.scripts[name]
	return c.run(ctx, s, keys, args, func(ctx context.Context, cmd rueidis.Completed) (rueidis.RedisMessage, error) {
		k := c.lane.take()
		if k == nil {
			return c.do(ctx, cmd)
		}
		msg, err := k.do(ctx, cmd)
		c.lane.put(k, isAnswer(err))
		if broken(err) && s.retry {
			// What broke the lane may have broken the other connection too, and that has
			// an attempt of its own.
			return c.do(ctx, c.evalsha(s, keys, args))
		}
		return msg, err
	})
}

// do sends a command.
func (k *link) do(ctx context.Context, cmd rueidis.Completed) (msg rueidis.RedisMessage, err error) {
	if ctx.Done() != nil {
		// Were it told of ctx, the client would wake goroutines after all. So the call is
		// ended by ending the connection.
		stop := context.AfterFunc(ctx, func() { _ = k.conn.Close() })
		defer func() {
			if !stop() {
				err = ctx.Err()
			}
		}()
	}
	return k.redis.Do(context.WithoutCancel(ctx), cmd).ToMessage()
}

// take returns the lane's connection for one call, or nil. If it is wanted often, it
// is opened for calls to come.
func (l *lane) take() *link {
	now := time.Now()
	l.mu.Lock()
	k, often := l.idle, now.Sub(l.last) < l.rest
	l.idle, l.last = nil, now
	open := k == nil && often && !l.opening && l.c.straight()
	l.opening = l.opening || open
	l.mu.Unlock()
	if open {
		_ = l.c.goroutine(l.open) // after Close, every call says so
	}
	if k != nil && now.Sub(k.used) >= l.rest {
		l.put(k, false)
		return nil
	}
	return k
}

// put gives it back, or closes it.
func (l *lane) put(k *link, good bool) {
	k.used = time.Now()
	l.mu.Lock()
	good = good && l.c.ctx.Err() == nil
	if good {
		l.idle = k
	}
	l.opening = good
	l.mu.Unlock()
	if !good {
		k.close()
		l.c.release()
	}
}

// close ends a lane that nobody is on. The client is closed.
func (l *lane) close() {
	l.mu.Lock()
	k := l.idle
	l.idle = nil
	l.mu.Unlock()
	if k != nil {
		l.put(k, false)
	}
}

// straight reports whether a second connection leads where the shared one does.
func (c *Client) straight() bool {
	return !c.opt.Cluster && !c.opt.InProcess && c.opt.SentinelMaster == ""
}

// open opens the lane, if a connection may be had at once.
func (l *lane) open() {
	k := l.connect()
	if k != nil {
		l.put(k, true)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.opening = false
}

func (l *lane) connect() *link {
	c := l.c
	select {
	case c.extra <- struct{}{}:
	default:
		return nil
	}
	k := &link{}
	o := c.clientOption()
	o.AlwaysPipelining = false
	o.DisableCache = true
	o.Dialer.KeepAlive = -1 // its pings would make it pipeline
	o.DialCtxFn = func(ctx context.Context, addr string, d *net.Dialer, conf *tls.Config) (conn net.Conn, err error) {
		k.conn, err = c.connect(ctx, addr, d, conf, true)
		return k.conn, err
	}
	var err error
	if k.redis, err = rueidis.NewClient(o); err != nil {
		c.release()
		return nil
	}
	return k
}

// close ends the connection. It is broken first: to end it politely, a server is
// asked that may be silent.
func (k *link) close() {
	_ = k.conn.Close()
	k.redis.Close()
}
