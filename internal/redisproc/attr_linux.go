package redisproc

import "syscall"

// childAttributes make the server end when this process does, even by SIGKILL,
// and not by a Ctrl-C in the terminal, which is for this process to act on.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
