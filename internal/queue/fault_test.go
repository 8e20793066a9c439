package queue_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/queue"
	"github.com/fullon/fulloncache/internal/testenv"
)

// trial is numbered messages from producers to consumers of other processes,
// counted, while faults happen.
type trial struct {
	testing.TB
	ctx      context.Context
	order    order
	demands  queue.Demands
	messages int
	crew     crew
	journal  *testenv.Server
	db       *kv.Client
	q        *queue.Queue

	accepted []atomic.Bool // by number
	refused  atomic.Int64  // submits that failed and were tried again
	produced sync.WaitGroup
	finished atomic.Int64 // producers that are through
}

const producers, consumers = 4, 4

// quick handlers keep up with the producers.
const quick = 4 * time.Millisecond

// newTrial begins to consume. In its short form there are fewer messages.
func newTrial(t testing.TB, o order, addrs ...string) *trial {
	t.Helper()
	tr := &trial{TB: t, ctx: testenv.Context(t), journal: testenv.NewRedis(t), messages: 5000}
	if testenv.Soak() {
		tr.messages = 100_000
	}
	tr.accepted = make([]atomic.Bool, tr.messages)
	o.Addrs, o.Prefix, o.Journal = addrs, testenv.Prefix(t), tr.journal.Addr()
	tr.order = o
	tr.db = connect(t, o.options())
	var err error
	tr.q, err = o.queue(tr.db)
	must(t, err)
	for range consumers {
		tr.crew.list = append(tr.crew.list, o.start(t))
	}
	t.Cleanup(func() {
		for _, p := range tr.crew.list {
			_ = p.cmd.Process.Kill() // most have ended
		}
	})
	return tr
}

// produce submits all messages, each again until it is accepted.
func (tr *trial) produce() {
	const batch = 25
	each := tr.messages / producers
	for p := range producers {
		tr.produced.Go(func() {
			defer tr.finished.Add(1)
			// So slowly that faults happen to producers too.
			for first := p * each; first < (p+1)*each; first += batch {
				list := make([]queue.Message, batch)
				for i := range list {
					n := first + i
					key := fmt.Sprintf("key-%d-%d", p, n%16)
					list[i] = queue.Message{ID: fmt.Sprint("id-", n), Body: key}
					if tr.order.Ordered {
						list[i].Key = key
					}
				}
				tr.wait(15 * time.Millisecond)
				for tr.ctx.Err() == nil {
					results, err := tr.q.SubmitMany(tr.ctx, list, tr.demands)
					if err == nil {
						for i := range results {
							tr.accepted[first+i].Store(true)
						}
						break
					}
					tr.refused.Add(1)
					var uncertain *queue.UncertainError
					if !isUnavailable(err) && !errors.As(err, &uncertain) {
						tr.Errorf("submit: %v", err)
						return
					}
					tr.wait(5 * time.Millisecond)
				}
			}
		})
	}
}

// handled returns the journal's lines.
func (tr *trial) handled() []string {
	tr.Helper()
	lines, err := tr.journal.Do(tr, "LRANGE", "handled", "0", "-1").AsStrSlice()
	must(tr, err)
	return lines
}

// count is what became of the messages.
type count struct{ lost, duplicates int }

// finish waits until the queue is empty and the consumers have stopped, and
// counts.
func (tr *trial) finish() (count, []string) {
	tr.Helper()
	tr.produced.Wait()
	deadline := time.Now().Add(testenv.Patience)
	if testenv.Soak() {
		deadline = time.Now().Add(10 * time.Minute)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := tr.q.Stats(tr.ctx)
		if err == nil && st.Length == 0 && st.Pending == 0 && st.Delayed == 0 {
			break
		}
		if time.Now().After(deadline) {
			tr.Fatalf("not handled: %+v, %v", st, err)
		}
		<-tick.C
	}
	for _, p := range tr.crew.list {
		p.stop(tr)
	}
	st, err := tr.q.Stats(tr.ctx)
	if err != nil || st != (queue.Stats{}) {
		tr.Errorf("left at the end: %+v, %v", st, err)
	}
	lines := tr.handled()
	times := make([]int, tr.messages)
	for _, line := range lines {
		var key string
		var n, number int
		if _, err := fmt.Sscanf(line, "%s id-%d %d", &key, &n, &number); err != nil {
			tr.Fatalf("%q: %v", line, err)
		}
		times[n]++
	}
	var c count
	accepted := 0
	for n, times := range times {
		if tr.accepted[n].Load() {
			accepted++
			if times == 0 {
				c.lost++
			}
		}
		c.duplicates += max(times-1, 0)
	}
	if accepted != tr.messages {
		tr.Errorf("%d of %d accepted", accepted, tr.messages)
	}
	tr.Logf("%d accepted, %d lost, %d duplicates, %d submits tried again", accepted, c.lost, c.duplicates, tr.refused.Load())
	return c, lines
}

// faults runs one again and again, at least once, until the producers are through
// and the consumers have little to do, and returns how often.
func (tr *trial) faults(every time.Duration, fault func(n int)) int {
	tick := time.NewTicker(every)
	defer tick.Stop()
	n := 0
	for {
		<-tick.C
		fault(n)
		n++
		st, err := tr.q.Stats(tr.ctx)
		if tr.finished.Load() == producers && err == nil && st.Length < int64(tr.messages/10) || tr.ctx.Err() != nil {
			return n
		}
	}
}

// pace is how often a fault happens.
func pace() time.Duration {
	if testenv.Soak() {
		return time.Second
	}
	return 150 * time.Millisecond
}

// both runs a test with an ordered queue and one that is not.
func both(t *testing.T, test func(t *testing.T, o order)) {
	t.Helper()
	for _, o := range []order{{Work: quick}, {Work: quick, Ordered: true}} {
		t.Run(fmt.Sprint("ordered ", o.Ordered), func(t *testing.T) { test(t, o) })
	}
}

func (tr *trial) check(duplicates bool) {
	tr.Helper()
	c, lines := tr.finish()
	if c.lost > 0 {
		tr.Errorf("%d messages are lost", c.lost)
	}
	if c.duplicates > 0 && !duplicates {
		tr.Errorf("%d duplicates without a fault", c.duplicates)
	}
	if tr.order.Ordered {
		var keyed []string
		for _, line := range lines {
			keyed = append(keyed, line[:strings.LastIndexByte(line, ' ')])
		}
		inOrder(tr, keyed)
	}
}

func TestFaultNone(t *testing.T) {
	both(t, func(t *testing.T, o order) {
		o.Calm = true
		tr := newTrial(t, o, testenv.Redis(t).Addr())
		tr.produce()
		tr.check(false)
	})
}

func TestFaultKilledConsumers(t *testing.T) {
	both(t, func(t *testing.T, o order) {
		tr := newTrial(t, o, testenv.Redis(t).Addr())
		tr.produce()
		n := tr.faults(pace(), func(n int) { tr.crew.replace(t, tr.order, n) })
		tr.check(true)
		t.Logf("%d consumers were killed", n)
	})
}

func TestFaultCutNetwork(t *testing.T) {
	both(t, func(t *testing.T, o order) {
		proxy := testenv.NewProxy(t, testenv.Redis(t).Addr())
		tr := newTrial(t, o, proxy.Addr())
		tr.produce()
		n := tr.faults(2*pace(), func(n int) {
			if n%2 == 0 {
				proxy.Cut()
			} else {
				proxy.Stall()
			}
			tr.wait(pace())
			if n%2 == 0 {
				proxy.Restore(t)
			} else {
				proxy.Flow()
			}
		})
		tr.check(true)
		t.Logf("the network was cut or stalled %d times", n)
	})
}

// wait lets a fault last.
func (tr *trial) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-tr.ctx.Done():
	}
}

func TestFaultServerRestarts(t *testing.T) {
	both(t, func(t *testing.T, o order) {
		// With everysec, a busy disk makes Redis answer up to two seconds before it
		// writes: a crash then takes back what it has confirmed.
		srv := testenv.NewRedis(t, "--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")
		tr := newTrial(t, o, srv.Addr())
		tr.produce()
		n := tr.faults(3*pace(), func(int) {
			srv.Kill()
			srv.Restart(t)
			srv.Rewrite(t)
		})
		tr.check(true)
		t.Logf("the server was restarted %d times", n)
	})
}

// failover fails the queue's master over while messages flow.
func failover(t *testing.T, demands queue.Demands) count {
	c, master, replica := testenv.NewReplicatedCluster(t, "{kraken}")
	// Its handlers do not keep up, so that messages wait when the master dies.
	tr := newTrial(t, order{Cluster: true, Work: 5 * quick}, append(c.Addrs(), replica.Addr())...)
	tr.demands = demands
	tr.produce()
	testenv.Eventually(t, "a flow", func() (bool, string) {
		n := 0
		for i := range tr.accepted {
			if tr.accepted[i].Load() {
				n++
			}
		}
		return n > tr.messages/10, fmt.Sprint(n)
	})
	// The replica falls behind for a moment, as one does over a network.
	replica.Freeze(t)
	master.KillClients(t, "replica")
	tr.wait(100 * time.Millisecond)
	master.Freeze(t)
	replica.Thaw(t)
	c.Failover(t, master, replica)
	got, _ := tr.finish()
	return got
}

func TestFaultFailover(t *testing.T) {
	if got := failover(t, queue.Demands{WaitReplicas: 1}); got.lost > 0 {
		t.Errorf("%d messages are lost that a replica had confirmed", got.lost)
	}
}

// Without confirmation, what the master had not sent yet is lost with it. The
// number is what the documentation states.
func TestFaultFailoverUnconfirmed(t *testing.T) {
	got := failover(t, queue.Demands{})
	t.Logf("lost in a failover without confirmation: %d", got.lost)
	if got.lost == 0 {
		t.Error("nothing is lost: the test above proves nothing")
	}
}
