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
	if err := c.acquire(ctx); err != nil {
		return nil, err
	}
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
	return s, nil
}

// Lost delivers the error that ended the connection.
func (s *Session) Lost() <-chan error { return s.lost }

// Subscribe returns when the server has confirmed: from then on no message is
// missed.
func (s *Session) Subscribe(ctx context.Context, channels []string) error {
	b := s.conn.B()
	if s.c.opt.Cluster {
		return s.do(ctx, b.Ssubscribe().Channel(channels...).Build())
	}
	return s.do(ctx, b.Subscribe().Channel(channels...).Build())
}

// Unsubscribe ends subscriptions.
func (s *Session) Unsubscribe(ctx context.Context, channels []string) error {
	b := s.conn.B()
	if s.c.opt.Cluster {
		return s.do(ctx, b.Sunsubscribe().Channel(channels...).Build())
	}
	return s.do(ctx, b.Unsubscribe().Channel(channels...).Build())
}

// Get reads a key on the session's connection. The answer proves that the
// connection lives and that everything published before has been delivered.
func (s *Session) Get(ctx context.Context, key string) (rueidis.RedisMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, s.c.opt.CallTimeout)
	defer cancel()
	return s.conn.Do(ctx, s.conn.B().Get().Key(key).Build()).ToMessage()
}

func (s *Session) do(ctx context.Context, cmd rueidis.Completed) error {
	ctx, cancel := context.WithTimeout(ctx, s.c.opt.CallTimeout)
	defer cancel()
	return s.conn.Do(ctx, cmd).Error()
}

// Close ends the connection.
func (s *Session) Close() {
	s.conn.Close()
	s.free()
	s.c.release()
}
