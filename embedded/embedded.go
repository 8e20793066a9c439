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

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/inprocess"
	"github.com/fullon/fulloncache/internal/redisproc"
)

// Server is a private Redis.
type Server struct {
	process *redisproc.Server
	inside  *inprocess.Server
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
	err := redisproc.ErrNotInstalled
	if len(opts) == 0 {
		s.process, err = redisproc.Start(ctx, redisproc.Options{Socket: true})
	}
	if errors.Is(err, redisproc.ErrNotInstalled) {
		s.inside, err = inprocess.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("embedded server: %w", err)
	}
	slog.InfoContext(ctx, "embedded server started", "server", s.String())
	return s, nil
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
func (s *Server) Close() error {
	if s.inside != nil {
		s.inside.Close()
		return nil
	}
	return s.process.Stop()
}
