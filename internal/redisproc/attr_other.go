//go:build !linux

package redisproc

import "syscall"

// childAttributes has nothing to ask for here: the server outlives a parent that
// is killed.
func childAttributes() *syscall.SysProcAttr { return nil }
