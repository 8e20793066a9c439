package testenv

import (
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/fullon/fulloncache/internal/redisproc"
)

// direction is one of the two ways through a [Proxy].
type direction int

const (
	up   direction = iota // from the client to the server: requests
	down                  // from the server to the client: replies and messages
)

// Proxy is a TCP network between clients and a server that fails on demand.
//
// It is written for this and not toxiproxy, whose stall drops what it holds
// back and closes the connection when it is lifted. A partition of a real
// network does neither: what was sent arrives, late, on the same connection,
// and that is the case that finds defects.
type Proxy struct {
	upstream string
	addr     string
	done     sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil while cut
	links    map[*link]struct{}
	faults   faults
	changed  chan struct{} // closed, and replaced, when faults change
}

// faults are what a proxy does to what passes. The zero value is a good
// network.
type faults struct {
	stalled   bool
	latency   time.Duration // of answers
	bandwidth int           // of answers, bytes a second; 0: unlimited
}

// NewProxy starts a proxy in front of the server at an address, host:port,
// that ends with the test.
func NewProxy(t testing.TB, upstream string) *Proxy {
	t.Helper()
	port, err := redisproc.FreePort()
	must(t, err)
	p := &Proxy{
		upstream: upstream,
		addr:     net.JoinHostPort("127.0.0.1", strconv.Itoa(port)),
		links:    make(map[*link]struct{}),
		changed:  make(chan struct{}),
	}
	p.Restore(t)
	t.Cleanup(p.close)
	return p
}

// Addr is the proxy's own host:port.
func (p *Proxy) Addr() string { return p.addr }

// URL is what REDIS_URL takes to connect through the proxy.
func (p *Proxy) URL() string { return "redis://" + p.addr }

// Cut closes all connections and refuses new ones, as a host does whose
// server has crashed. It returns once that is so.
func (p *Proxy) Cut() {
	p.mu.Lock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
	for l := range p.links {
		l.close()
		delete(p.links, l)
	}
	p.mu.Unlock()
}

// Restore lets connections through again after Cut.
func (p *Proxy) Restore(t testing.TB) {
	t.Helper()
	// A connection of before may linger on the port.
	Eventually(t, "the proxy's port", func() (bool, string) {
		l, err := net.Listen("tcp", p.addr)
		if err != nil {
			return false, err.Error()
		}
		p.mu.Lock()
		p.listener = l
		p.mu.Unlock()
		p.accept(l)
		return true, ""
	})
}

// Stall is a silent partition: connections stay open, new ones are accepted,
// and nothing passes. What was sent meanwhile passes when Flow ends it.
func (p *Proxy) Stall() { p.change(func(f *faults) { f.stalled = true }) }

// Flow ends Stall.
func (p *Proxy) Flow() { p.change(func(f *faults) { f.stalled = false }) }

// Slow delays every answer.
func (p *Proxy) Slow(by time.Duration) { p.change(func(f *faults) { f.latency = by }) }

// Clog lets answers through at a kilobyte a second, as to a client that has
// stopped reading: what the server sends piles up on its side.
func (p *Proxy) Clog() { p.change(func(f *faults) { f.bandwidth = 1 << 10 }) }

// Unclog ends Clog.
func (p *Proxy) Unclog() { p.change(func(f *faults) { f.bandwidth = 0 }) }

func (p *Proxy) change(edit func(*faults)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	edit(&p.faults)
	close(p.changed)
	p.changed = make(chan struct{})
}

// state returns the faults in force and what tells that they have changed.
func (p *Proxy) state() (faults, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults, p.changed
}

// accept serves a listener until it is closed.
func (p *Proxy) accept(l net.Listener) {
	p.done.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			p.serve(l, client)
		}
	})
}

// serve forwards one client's connection, unless its listener was cut while it
// was being accepted.
func (p *Proxy) serve(l net.Listener, client net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != l {
		client.Close()
		return
	}
	k := newLink(p, client)
	p.links[k] = struct{}{}
	p.done.Go(func() {
		k.run()
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.links, k)
	})
}

// close ends the proxy and returns once its goroutines have.
func (p *Proxy) close() {
	p.Cut()
	p.done.Wait()
}
