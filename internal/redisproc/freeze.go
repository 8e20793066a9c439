//go:build !windows

package redisproc

import "syscall"

// Freeze stops the process without ending it: connections stay, nothing answers.
func (s *Server) Freeze() error { return s.process().Signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (s *Server) Thaw() error { return s.process().Signal(syscall.SIGCONT) }
