package redisproc

import "syscall"

// childAttributes make the server end when this process does, even by SIGKILL.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
