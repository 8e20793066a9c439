// Package embedded gives a program a private Redis for demos, tries and its own
// tests: the redis-server on PATH, on a unix socket in a temporary folder, or
// where there is none a server inside this process. Nothing outside can reach
// it, it keeps nothing on disk, and it is gone at Close.
//
//	srv, err := embedded.Start(ctx)
//	if err != nil {
//		return err
//	}
//	defer srv.Close()
//	fmt.Println("on", srv)
//	c, err := fulloncache.New(ctx, srv.Config())
//
// The in-process server is no Redis: it is slower, has no client tracking (the
// near cache asks every time) and no cluster, and a subscriber that stops
// reading holds it up. It is for trying, not for trading.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/redisproc"
)

// Server is a private Redis.
type Server struct {
	process *redisproc.Server
	inside  *miniredis.Miniredis
	stop    chan struct{} // ends the in-process server's clock
	stopped sync.WaitGroup
	close   func() error
}

// Option changes what [Start] starts.
type Option int

// InProcess makes Start use the server inside this process even where there is
// a redis-server on PATH.
const InProcess Option = 1

// Start starts a server and waits until it answers; ctx bounds the start, not
// the server's life. It logs at INFO which kind it is.
func Start(ctx context.Context, opts ...Option) (*Server, error) {
	s := &Server{}
	s.close = sync.OnceValue(s.end)
	err := redisproc.ErrNotInstalled
	if len(opts) == 0 {
		s.process, err = redisproc.Start(ctx, redisproc.Options{Socket: true})
	}
	if errors.Is(err, redisproc.ErrNotInstalled) {
		s.inside = miniredis.NewMiniRedis()
		if err = s.inside.StartAddr("127.0.0.1:0"); err == nil {
			s.stop = make(chan struct{})
			s.stopped.Go(s.expire)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("embedded server: %w", err)
	}
	slog.InfoContext(ctx, "embedded server started", "server", s.String())
	return s, nil
}

// expire lets time pass for the in-process server. Its own clock would look at
// every key with every command: 10,000 ticks took minutes. What was set since the
// last step ages by the whole step; so a step is short, also after a standstill.
func (s *Server) expire() {
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for last := time.Now(); ; {
		select {
		case now := <-tick.C:
			s.inside.FastForward(min(now.Sub(last), 500*time.Millisecond))
			last = now
		case <-s.stop:
			return
		}
	}
}

// String says which kind of server it is.
func (s *Server) String() string {
	if s.inside != nil {
		return "in-process server"
	}
	return "private redis-server process"
}

// InProcess reports whether the server is inside this process.
func (s *Server) InProcess() bool { return s.inside != nil }

// Config reaches the server; other fields can be set.
func (s *Server) Config() fulloncache.Config {
	if s.inside != nil {
		return fulloncache.Config{URL: "redis://" + s.inside.Addr(), InProcess: true}
	}
	return fulloncache.Config{URL: "unix://" + s.process.Addr()}
}

// Close ends the server and removes its folder. It can be called more than once.
func (s *Server) Close() error { return s.close() }

func (s *Server) end() error {
	if s.inside != nil {
		close(s.stop)
		s.stopped.Wait()
		s.inside.Close()
		return nil
	}
	return s.process.Stop()
}
