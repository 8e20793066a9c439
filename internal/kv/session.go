package kv

import (
	"context"
	"slices"
	"time"

	"github.com/redis/rueidis"
)

// Session is a connection of its own for pub/sub and what must travel with it.
// In a cluster all it touches shares a slot. Subscriptions end with it: rueidis sends a
// PING after an UNSUBSCRIBE and panics unless it is answered with PONG, but a server that
// cannot save (MISCONF) or a replica that lost its master (MASTERDOWN) answers otherwise.
type Session struct {
	c    *Client
	conn rueidis.DedicatedClient
	free func()
	lost <-chan error
}

// Session opens a session. onMessage is called for each message, in the order
// of the server, and must not block; onDrop when the server ends a
// subscription by itself, as it does when a slot moves.
func (c *Client) Session(ctx context.Context, onMessage func(channel, message string), onDrop func(channel string)) (*Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	// Connecting knows no context: who gives up leaves it behind.
	opened := make(chan *Session)
	c.goroutine(func() {
		if c.acquire(ctx) != nil {
			return // whoever waits sees the same
		}
		s := c.dedicate(onMessage, onDrop)
		select {
		case opened <- s:
		case <-ctx.Done():
			s.Close()
		case <-c.ctx.Done():
			s.Close()
		}
	})
	select {
	case s := <-opened:
		return s, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.ctx.Done():
		return nil, c.opt.Closed
	}
}

func (c *Client) dedicate(onMessage func(channel, message string), onDrop func(channel string)) *Session {
	s := &Session{c: c}
	s.conn, s.free = c.redis.Dedicate()
	s.lost = s.conn.SetPubSubHooks(rueidis.PubSubHooks{
		OnMessage: func(m rueidis.PubSubMessage) { onMessage(m.Channel, m.Message) },
		OnSubscription: func(sub rueidis.PubSubSubscription) {
			if sub.Kind == "unsubscribe" || sub.Kind == "sunsubscribe" {
				onDrop(sub.Channel)
			}
		},
	})
	return s
}

// Lost delivers the error that ended the connection.
func (s *Session) Lost() <-chan error { return s.lost }

// Subscribe returns when the server has confirmed: from then on no message is
// missed.
func (s *Session) Subscribe(ctx context.Context, channels []string) error {
	cmd := s.conn.B().Subscribe().Channel(channels...).Build()
	if s.c.opt.Cluster {
		cmd = s.conn.B().Ssubscribe().Channel(channels...).Build()
	}
	_, err := s.do(ctx, cmd)
	return err
}

// Get reads a key on the session's connection. The answer proves that the
// connection lives and that everything published before has been delivered.
func (s *Session) Get(ctx context.Context, key string) (rueidis.RedisMessage, error) {
	return s.do(ctx, s.conn.B().Get().Key(key).Build())
}

// RunConfirmed runs a script many times and then asks how many replicas have what
// the session wrote, waiting for so many of them, for so long. That they have it
// is only known of what was sent on the same connection.
func (s *Session) RunConfirmed(ctx context.Context, name Script, calls []ScriptCall, replicas int, wait time.Duration) ([]Reply, int, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+s.c.opt.CallTimeout)
	defer cancel()
	defer context.AfterFunc(s.c.ctx, cancel)() // or Close would wait for the replicas
	type outcome struct {
		replies  []Reply
		replicas int
	}
	o, err := detached(ctx, s.c, request{own: true}, func(ctx context.Context) (o outcome, err error) {
		o.replies, o.replicas, err = s.runConfirmed(ctx, s.c.scripts[name], calls, replicas, wait, s.c.evalsha)
		if slices.ContainsFunc(o.replies, func(r Reply) bool { return isNoScript(r.Err) }) {
			o.replies, o.replicas, err = s.runConfirmed(ctx, s.c.scripts[name], calls, replicas, wait, s.c.eval)
		}
		return o, err
	})
	switch {
	case err == nil:
		return o.replies, o.replicas, nil
	case s.c.ctx.Err() != nil:
		return nil, 0, s.c.opt.Closed
	}
	return nil, 0, s.c.opt.Unavailable(0, err)
}

func (s *Session) runConfirmed(ctx context.Context, script script, calls []ScriptCall, replicas int, wait time.Duration, eval func(script, []string, []string) rueidis.Completed) ([]Reply, int, error) {
	cmds := make([]rueidis.Completed, 0, len(calls)+1)
	for _, call := range calls {
		cmds = append(cmds, eval(script, call.Keys, call.Args).Pin())
	}
	cmds = append(cmds, s.conn.B().Wait().Numreplicas(int64(replicas)).Timeout(wait.Milliseconds()).Build().Pin())
	replies := make([]Reply, len(calls))
	results := s.conn.DoMulti(ctx, cmds...)
	for i := range replies {
		msg, err := results[i].ToMessage()
		re, refused := rueidis.IsRedisErr(err)
		if !isAnswer(err) {
			return nil, 0, err
		} else if refused {
			// The session stays with a node that has lost the slot.
			if _, moved := re.IsMoved(); moved {
				return nil, 0, err
			}
		}
		replies[i] = Reply{Msg: msg, Err: s.c.answered(err)}
	}
	confirmed, err := results[len(calls)].AsInt64()
	return replies, int(confirmed), err
}

// do bounds a command. In a cluster the first one connects, so it is left
// behind by who gives up.
func (s *Session) do(ctx context.Context, cmd rueidis.Completed) (rueidis.RedisMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, s.c.opt.CallTimeout)
	defer cancel()
	return detached(ctx, s.c, request{own: true}, func(ctx context.Context) (rueidis.RedisMessage, error) {
		return s.conn.Do(ctx, cmd.Pin()).ToMessage()
	})
}

// Close ends the connection. It waits a second at most for a server that is silent.
func (s *Session) Close() {
	s.conn.Close()
	s.free()
	s.c.release()
}
