package queue_test

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"os/signal"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/queue"
	"github.com/fullon/fulloncache/internal/testenv"
)

// order is what a consumer's process is told.
type order struct {
	Addrs   []string
	Cluster bool
	Prefix  string
	Ordered bool
	Journal string        // address of the server that keeps what was handled
	Work    time.Duration // how long a handler takes
	Calm    bool          // there are no faults, so nothing has to be noticed soon
}

const orderVariable = "FULLON_CACHE_QUEUE_CONSUMER"

func (o order) options() kv.Options {
	opt := options(o.Addrs...)
	opt.Cluster, opt.CallTimeout, opt.ConnectTimeout = o.Cluster, time.Second, time.Second
	return opt
}

func (o order) queue(db *kv.Client) (*queue.Queue, error) {
	return queue.New(db, keys.New(o.Prefix, 0, o.Cluster).OrderQueue("kraken"), queue.Options{Ordered: o.Ordered, Cap: 1 << 30, Window: time.Hour})
}

// consume handles messages until the process is told to end, and writes each into
// the journal before it does anything else.
func (o order) consume() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	journal, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{o.Journal}, ForceSingleClient: true, DisableCache: true})
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	defer journal.Close()
	var db *kv.Client
	for db == nil {
		// It may be started while the network is down.
		if db, err = kv.Open(ctx, o.options()); err != nil && ctx.Err() != nil {
			return nil
		}
	}
	defer db.Close()
	q, err := o.queue(db)
	if err != nil {
		return err
	}
	visibility, lease := time.Second, 600*time.Millisecond
	if o.Calm {
		// Who gets no processor for a second is frozen, and that is a fault.
		visibility, lease = time.Minute, time.Minute
	}
	return q.Consume(ctx, queue.ConsumeOptions{
		Visibility: visibility, Lease: lease, Poll: 50 * time.Millisecond,
		MaxDeliveries: 1000, StopTimeout: 5 * time.Second, Backoff: soon,
	}, func(ctx context.Context, d *queue.Delivery) error {
		line := fmt.Sprintf("%s %s %d", d.Body, d.ID, d.Number)
		if err := journal.Do(context.Background(), journal.B().Rpush().Key("handled").Element(line).Build()).Error(); err != nil {
			return err
		}
		select {
		case <-time.After(o.Work):
		case <-ctx.Done():
		}
		return nil
	})
}

// process is a consumer's process.
type process struct {
	cmd  *exec.Cmd
	out  bytes.Buffer
	done chan error
}

func (o order) start(t testing.TB) *process {
	t.Helper()
	p := &process{cmd: testenv.Command(t, orderVariable, o), done: make(chan error, 1)}
	p.cmd.Stderr = &p.out
	must(t, p.cmd.Start())
	go func() { p.done <- p.cmd.Wait() }()
	return p
}

// kill ends it as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// stop tells it to end and waits until it has.
func (p *process) stop(t testing.TB) {
	t.Helper()
	must(t, p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-p.done:
		if err != nil {
			t.Errorf("a consumer ended with %v: %s", err, p.out.String())
		}
	case <-time.After(testenv.Patience):
		p.kill()
		t.Errorf("a consumer does not end: %s", p.out.String())
	}
}

// crew are processes that a fault replaces while others run.
type crew struct {
	mu   sync.Mutex
	list []*process
}

// replace kills one and starts another.
func (c *crew) replace(t testing.TB, o order, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := n % len(c.list)
	c.list[at].kill()
	c.list[at] = o.start(t)
}
