package kv

import (
	"context"

	"github.com/redis/rueidis"
)

// Session is a connection of its own for pub/sub and what must travel with it.
// In a cluster all it touches shares a slot.
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

// Unsubscribe ends subscriptions.
func (s *Session) Unsubscribe(ctx context.Context, channels []string) error {
	cmd := s.conn.B().Unsubscribe().Channel(channels...).Build()
	if s.c.opt.Cluster {
		cmd = s.conn.B().Sunsubscribe().Channel(channels...).Build()
	}
	_, err := s.do(ctx, cmd)
	return err
}

// Get reads a key on the session's connection. The answer proves that the
// connection lives and that everything published before has been delivered.
func (s *Session) Get(ctx context.Context, key string) (rueidis.RedisMessage, error) {
	return s.do(ctx, s.conn.B().Get().Key(key).Build())
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
