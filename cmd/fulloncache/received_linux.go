package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"
	"unsafe"
)

// received returns once what was written to w is where it stays: on disk, if it is
// a file, or with whoever reads it, if it is a pipe. It returns EPIPE if the reader
// has gone and left something unread. Of others it knows no more than that the
// writes succeeded.
func received(ctx context.Context, w io.Writer) error {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	switch {
	case info.Mode().IsRegular():
		return f.Sync()
	case info.Mode()&os.ModeNamedPipe == 0:
		return nil
	}
	for {
		unread, gone, err := pipe(f)
		switch {
		case err != nil:
			return err
		case unread == 0:
			return nil
		case gone:
			return fmt.Errorf("%d bytes were not read: %w", unread, syscall.EPIPE)
		}
		if err := sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

// pipe tells how many bytes of a pipe nobody has read yet, and whether nobody ever
// will.
func pipe(f *os.File) (unread int32, gone bool, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return 0, false, err
	}
	const pollErr = 0x8 // of <poll.h>: the reading end is closed
	asked := struct {
		fd              int32
		events, revents int16
	}{}
	var once syscall.Timespec // does not wait
	var failed syscall.Errno
	err = conn.Control(func(fd uintptr) {
		asked.fd = int32(fd)
		// Who leaves after the first question leaves what the second one counts.
		_, _, failed = syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&asked)), 1, uintptr(unsafe.Pointer(&once)), 0, 0, 0)
		if failed == 0 {
			_, _, failed = syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCINQ, uintptr(unsafe.Pointer(&unread)))
		}
	})
	if err == nil && failed != 0 {
		err = os.NewSyscallError("pipe", failed)
	}
	return unread, asked.revents&pollErr != 0, err
}
