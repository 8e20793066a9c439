package testenv

import (
	"net"
	"sync"
	"time"
)

// link is one client's connection through a proxy.
type link struct {
	proxy  *Proxy
	client net.Conn

	mu     sync.Mutex
	server net.Conn // nil until dialled
	closed chan struct{}
}

func newLink(p *Proxy, client net.Conn) *link {
	return &link{proxy: p, client: client, closed: make(chan struct{})}
}

// close ends both connections. It may be called again.
func (k *link) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.closed:
		return
	default:
	}
	close(k.closed)
	k.client.Close()
	if k.server != nil {
		k.server.Close()
	}
}

// run forwards both ways until one side ends or the link is closed.
func (k *link) run() {
	defer k.close()
	if !k.passes() || !k.dial() {
		return
	}
	var both sync.WaitGroup
	both.Go(func() { k.forward(up, k.server, k.client) })
	both.Go(func() { k.forward(down, k.client, k.server) })
	both.Wait()
}

func (k *link) dial() bool {
	server, err := net.DialTimeout("tcp", k.proxy.upstream, Patience)
	if err != nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	select {
	case <-k.closed:
		server.Close()
		return false
	default:
		k.server = server
		return true
	}
}

// A piece is what one read brought, and when.
type piece struct {
	data []byte
	at   time.Time
}

// The pieces under way bound what a slow link holds, as a network's buffers
// do; beyond it the sender waits.
const (
	pieceSize       = 16 << 10
	piecesUnderWay  = 64
	piecesPerSecond = 50 // of a link of limited bandwidth, for an even flow
)

// forward copies one direction. Reading and writing are apart, so that
// latency delays the pieces and does not slow them down.
func (k *link) forward(d direction, dst, src net.Conn) {
	underWay := make(chan piece, piecesUnderWay)
	var reader sync.WaitGroup
	reader.Go(func() {
		defer close(underWay)
		for {
			data := make([]byte, pieceSize)
			n, err := src.Read(data)
			if n > 0 {
				select {
				case underWay <- piece{data[:n], time.Now()}:
				case <-k.closed:
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	for p := range underWay {
		if !k.deliver(d, dst, p) {
			break
		}
	}
	// The end of a stream passes as its bytes do: not through a partition.
	k.passes()
	k.close()
	reader.Wait()
}

// deliver writes one piece when the faults in force allow it, and tells
// whether it did.
func (k *link) deliver(d direction, dst net.Conn, p piece) bool {
	f, _ := k.proxy.state()
	if d == down && !k.wait(time.Until(p.at.Add(f.latency))) {
		return false
	}
	for len(p.data) > 0 {
		n := len(p.data)
		f, _ := k.proxy.state()
		if d == down && f.bandwidth > 0 {
			n = min(n, max(1, f.bandwidth/piecesPerSecond))
			if !k.wait(time.Duration(n) * time.Second / time.Duration(f.bandwidth)) {
				return false
			}
		}
		// Last, so that nothing passes that was sent after a stall began.
		if !k.passes() {
			return false
		}
		if _, err := dst.Write(p.data[:n]); err != nil {
			return false
		}
		p.data = p.data[n:]
	}
	return true
}

// passes returns once nothing is stalled; false: the link was closed.
func (k *link) passes() bool {
	for {
		f, changed := k.proxy.state()
		if !f.stalled {
			return true
		}
		select {
		case <-changed:
		case <-k.closed:
			return false
		}
	}
}

// wait lets time pass; false: the link was closed.
func (k *link) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-k.closed:
		return false
	}
}
