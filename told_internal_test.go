package fulloncache

import (
	"testing"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/testenv"
)

// newClient opens a client of the shared server, with keys of its own.
func newClient(t testing.TB) *Client {
	t.Helper()
	c, err := New(testenv.Context(t), Config{URL: testenv.Redis(t).URL(), KeyPrefix: testenv.Prefix(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// toldOn are the messages that came on channels of the shared server while something
// was done, in their order, as a subscriber heard them who knows nothing of this
// package.
func toldOn(t testing.TB, channels []string, do func()) (messages []string) {
	t.Helper()
	ctx := testenv.Context(t)
	conn, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{testenv.Redis(t).Addr()}, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	subscriber, release := conn.Dedicate()
	defer release()
	heard := make(chan string, 100)
	subscriber.SetPubSubHooks(rueidis.PubSubHooks{
		OnSubscription: func(s rueidis.PubSubSubscription) { heard <- s.Kind },
		OnMessage:      func(m rueidis.PubSubMessage) { heard <- m.Message },
	})
	end := "end:" + channels[0]
	for _, channel := range append(channels, end) {
		if err := subscriber.Do(ctx, subscriber.B().Subscribe().Channel(channel).Build()).Error(); err != nil {
			t.Fatal(err)
		}
		<-heard
	}
	do()
	if err := conn.Do(ctx, conn.B().Publish().Channel(end).Message("end").Build()).Error(); err != nil {
		t.Fatal(err)
	}
	for {
		select {
		case m := <-heard:
			if m == "end" {
				return messages
			}
			messages = append(messages, m)
		case <-ctx.Done():
			t.Fatal(ctx.Err())
		}
	}
}
