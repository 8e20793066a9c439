//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package logging

import (
	"os"
	"syscall"
)

// lock waits until no other process, or other file of this one, holds the folder;
// closing it unlocks. A file system without locks is for one process at a time.
func lock(dir *os.File) {
	_ = syscall.Flock(int(dir.Fd()), syscall.LOCK_EX)
}
