//go:build !linux

package testenv

import "syscall"

// postgresAttributes make a program run as an owner, and not end by a Ctrl-C in
// the terminal. The server outlives a parent that is killed.
func postgresAttributes(owner *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: owner, Setpgid: true}
}

// postgresRoom is where a server's folder should be: where temporary files are.
func postgresRoom() string { return "" }

// childrenOf names none here: the children of a server that was killed end by
// themselves, when they look up from what they do.
func childrenOf(int) []int { return nil }
