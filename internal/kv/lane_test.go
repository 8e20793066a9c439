package kv_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/testenv"
)

// alone runs a script alone that may be sent again.
func alone(ctx context.Context, c *kv.Client) error {
	_, err := c.RunAlone(ctx, kv.TickBeat, []string{"{k}beat"}, []string{"100000", "PUBLISH", "k"})
	return err
}

// lanes lists the connections of a server's one client, and how many of them are
// lanes: they run scripts, and track nothing.
func lanes(t testing.TB, srv *testenv.Server) (n int, list string) {
	t.Helper()
	list, err := srv.Do(t, "CLIENT", "LIST").ToString()
	must(t, err)
	for line := range strings.Lines(list) {
		if strings.Contains(line, "name=fulloncache") && strings.Contains(line, "flags=N ") && strings.Contains(line, "cmd=eval") {
			n++
		}
	}
	return n, list
}

// onLane calls until there is a lane, and it is used.
func onLane(t testing.TB, c *kv.Client, srv *testenv.Server) {
	t.Helper()
	testenv.Eventually(t, "a lane", func() (bool, string) {
		must(t, alone(testenv.Context(t), c))
		n, list := lanes(t, srv)
		return n == 1, list
	})
}

func TestLaneIsOpenedForCallsInQuickSuccession(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	c, _ := connect(t, []string{srv.Addr()})
	onLane(t, c, srv)
	// A script that the server does not know is sent whole.
	srv.Do(t, "SCRIPT", "FLUSH")
	must(t, alone(testenv.Context(t), c))
	// One that cannot be run is an answer, and the lane stays.
	srv.Do(t, "LPUSH", "list", "x")
	_, err := c.RunAlone(testenv.Context(t), kv.LeaseGet, []string{"list"}, []string{"BTC/USD"})
	if !kv.IsWrongType(err) {
		t.Errorf("got %v", err)
	}
	if n, list := lanes(t, srv); n != 1 {
		t.Errorf("connections: %s", list)
	}
}

// After a rest nobody knows whether the lane leads anywhere: it is closed, and opened
// anew for calls in quick succession.
func TestLaneAfterARest(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	c, j := connect(t, []string{srv.Addr()})
	onLane(t, c, srv)
	c.SetLaneRest(0)
	must(t, alone(testenv.Context(t), c))
	if n, list := lanes(t, srv); n != 0 {
		t.Errorf("connections: %s", list)
	}
	must(t, alone(testenv.Context(t), c)) // nothing is quick enough
	c.SetLaneRest(time.Minute)
	onLane(t, c, srv)
	if got := j.events(); len(got) != 0 {
		t.Errorf("events %q", got)
	}
}

// Whoever finds somebody on the lane goes by the shared connection.
func TestLaneIsForOne(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	c, _ := connect(t, []string{srv.Addr()}, func(o *kv.Options) { o.CallTimeout = time.Minute })
	c.SetLaneRest(time.Minute)
	onLane(t, c, srv)
	const callers, calls = 8, 200
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range calls {
				if _, err := c.RunAlone(testenv.Context(t), kv.ListPush, []string{"list"}, []string{"1000000", "x"}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n, err := srv.Do(t, "LLEN", "list").AsInt64(); err != nil || n != callers*calls {
		t.Errorf("%d were pushed, %v", n, err)
	}
	if n, list := lanes(t, srv); n > 1 {
		t.Errorf("connections: %s", list)
	}
}

// A lane that breaks is no error of a script that may be sent again.
func TestLaneThatBreaks(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	c, _ := connect(t, []string{srv.Addr()})
	c.SetLaneRest(time.Minute)
	for range 3 {
		onLane(t, c, srv)
		srv.KillClients(t, "normal")
		must(t, alone(testenv.Context(t), c))
	}
}

// Who gives up need not wait for the server; nor does Close.
func TestLaneGivenUp(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	c, _ := connect(t, []string{srv.Addr()}, func(o *kv.Options) { o.CallTimeout = time.Minute })
	c.SetLaneRest(time.Minute)
	onLane(t, c, srv)
	srv.Freeze(t)
	short, cancel := context.WithTimeout(testenv.Context(t), 50*time.Millisecond)
	defer cancel()
	if err := alone(short, c); err != context.DeadlineExceeded {
		t.Errorf("got %v", err)
	}
	srv.Thaw(t)
	onLane(t, c, srv)
	srv.Freeze(t)
	done := make(chan error, 1)
	go func() { done <- alone(testenv.Context(t), c) }()
	c.Close()
	select {
	case err := <-done:
		if err != errClosed && !isUnavailable(err) {
			t.Errorf("got %v", err)
		}
	case <-time.After(testenv.Patience):
		t.Fatal("it waits for the server")
	}
	srv.Thaw(t)
	if err := alone(testenv.Context(t), c); err != errClosed {
		t.Errorf("got %v", err)
	}
}

// Where no connection can be had beside the shared one, that is used.
func TestLaneThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	srv := testenv.NewRedis(t)
	ctx := testenv.Context(t)
	c, _ := connect(t, []string{srv.Addr()}, func(o *kv.Options) { o.MaxConnections = 2 })
	c.SetLaneRest(time.Minute)
	// Another has the second one.
	s, err := c.Session(ctx, func(string, string) {}, func(string) {})
	must(t, err)
	for range 20 {
		must(t, alone(ctx, c))
	}
	s.Close()
	// The server takes no more: its one client, and who asks.
	must(t, alone(ctx, c))
	clients := func() int64 {
		n, err := srv.Do(t, "EVAL", "return tonumber(redis.call('INFO', 'clients'):match('connected_clients:(%d+)'))", "0").AsInt64()
		must(t, err)
		return n
	}
	onLane(t, c, srv)
	srv.Do(t, "CONFIG", "SET", "maxclients", fmt.Sprint(clients()-1))
	srv.KillClients(t, "normal")
	refused := func() int64 {
		n, err := srv.Do(t, "EVAL", "return tonumber(redis.call('INFO', 'stats'):match('rejected_connections:(%d+)'))", "0").AsInt64()
		must(t, err)
		return n
	}
	testenv.Eventually(t, "a refusal", func() (bool, string) {
		_ = alone(ctx, c)
		// The shared connection is refused where the lane came before it.
		_, _ = c.Do(ctx, c.B().Ping().Build())
		n := refused()
		_, list := lanes(t, srv)
		return n > 2, fmt.Sprint(n, list)
	})
	srv.Do(t, "CONFIG", "SET", "maxclients", "100")
	testenv.Eventually(t, "a lane", func() (bool, string) {
		err := alone(ctx, c)
		n, list := lanes(t, srv)
		return n == 1, fmt.Sprint(err, list)
	})
}

// In a cluster and in process there is none.
func TestNoLane(t *testing.T) {
	t.Parallel()
	cl := testenv.SharedCluster(t)
	c, _ := connect(t, cl.Addrs(), inCluster)
	c.SetLaneRest(time.Minute)
	for range 50 {
		must(t, alone(testenv.Context(t), c))
	}
}
