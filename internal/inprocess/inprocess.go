// Package inprocess runs the Redis written in Go, for where there is no other.
package inprocess

import (
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// Server is a Redis inside this process.
type Server struct {
	redis   *miniredis.Miniredis
	addr    string
	stop    chan struct{} // ends the clock
	stopped sync.WaitGroup
	close   func()
}

// Start starts a server on a free port of the loopback address.
func Start() (*Server, error) {
	s := &Server{redis: miniredis.NewMiniRedis(), stop: make(chan struct{})}
	s.close = sync.OnceFunc(func() {
		close(s.stop)
		s.stopped.Wait()
		s.redis.Close()
	})
	err := s.redis.StartAddr("127.0.0.1:0")
	if err == nil {
		s.addr = s.redis.Addr()
		s.stopped.Go(s.expire)
	}
	return s, err
}

// expire lets time pass. The server's own clock would look at every key with every
// command: 10,000 ticks took minutes. What was set since the last step ages by the
// whole step; so a step is short, also after a standstill.
func (s *Server) expire() {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case now := <-tick.C:
			s.redis.FastForward(min(now.Sub(last), 500*time.Millisecond))
			last = now
		case <-s.stop:
			return
		}
	}
}

// Addr is where it listens, or did.
func (s *Server) Addr() string { return s.addr }

// Close ends the server. It can be called more than once.
func (s *Server) Close() { s.close() }
