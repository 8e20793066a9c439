package main

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/fullon/fulloncache"
)

// delay is a proxy on loopback that makes a server look far away: what passes
// arrives, in order, a fixed time later, either way. It delays and does not slow:
// what is sent at once arrives at once. So a call costs what its round trips do.
type delay struct {
	listener net.Listener
	server   string
	oneWay   time.Duration
	wg       sync.WaitGroup

	mu     sync.Mutex
	closed bool
	conns  []net.Conn
}

// newDelay starts a proxy for the server at addr.
func newDelay(addr string, oneWay time.Duration) (*delay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &delay{listener: listener, server: addr, oneWay: oneWay}
	d.wg.Go(d.accept)
	return d, nil
}

// addr is where to connect instead of to the server.
func (d *delay) addr() string { return d.listener.Addr().String() }

// Close ends the proxy with all its connections.
func (d *delay) Close() {
	d.mu.Lock()
	d.closed = true
	conns := d.conns
	d.mu.Unlock()
	_ = d.listener.Close() // it is open: nothing else closes it
	for _, c := range conns {
		_ = c.Close() // its other side may have been faster
	}
	d.wg.Wait()
}

// keep notes a connection for Close; false after it.
func (d *delay) keep(c net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		_ = c.Close() // nothing was sent over it
		return false
	}
	d.conns = append(d.conns, c)
	return true
}

func (d *delay) accept() {
	for {
		client, err := d.listener.Accept()
		if errors.Is(err, net.ErrClosed) || err == nil && !d.keep(client) {
			return
		}
		if err != nil {
			continue
		}
		server, err := net.Dial("tcp", d.server)
		if err != nil || !d.keep(server) {
			_ = client.Close() // whoever dialled sees that it ends
			continue
		}
		d.pass(client, server)
		d.pass(server, client)
	}
}

// chunk is what was read at once, and when it arrives. An empty one is the end.
type chunk struct {
	data []byte
	due  time.Time
}

// queued is how many chunks are on their way at most: more than are read within
// the delay, or reading would wait and the delays add up.
const queued = 1 << 14

// pass carries one direction.
func (d *delay) pass(from, to net.Conn) {
	way := make(chan chunk, queued)
	d.wg.Go(func() {
		defer close(way)
		buffer := make([]byte, 64<<10)
		for {
			n, err := from.Read(buffer)
			if n > 0 {
				way <- chunk{bytes.Clone(buffer[:n]), time.Now().Add(d.oneWay)}
			}
			if err != nil {
				way <- chunk{due: time.Now().Add(d.oneWay)}
				return
			}
		}
	})
	d.wg.Go(func() {
		for c := range way {
			time.Sleep(time.Until(c.due))
			if len(c.data) == 0 {
				_ = to.Close() // the other direction may have been first
				return
			}
			// What fails here has ended the other direction too, and that ends this one.
			_, _ = to.Write(c.data)
		}
	})
}

// trips counts the network round trips of a piece of work, where one takes so long
// that all else is small beside it.
func trips(b *bench, work string, op func(c *fulloncache.Client) func() (time.Duration, error)) error {
	d, err := newDelay(b.addr, time.Millisecond)
	if err != nil {
		return err
	}
	defer d.Close()
	c, err := b.client(func(cfg *fulloncache.Config) { cfg.URL = "redis://" + d.addr() })
	if err != nil {
		return err
	}
	defer c.Close()
	s, err := interleave(b.rounds, b.scale(20), []caller{
		{"fulloncache", op(c)},
		{"round trip", timed(func() error { return c.Base.Ping(b.ctx) })},
	})
	if err != nil {
		return err
	}
	r := ratios(s[0], s[1])
	b.report.add(row{
		work: work + ", in network round trips of 2 ms", ours: latencies(s[0]), peer: latencies(s[1]), peerName: "PING",
		ratio: r, limit: "≤ 2.20", ok: r.median <= 2.2,
	})
	return nil
}
