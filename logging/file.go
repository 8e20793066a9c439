package logging

import (
	"errors"
	"os"
	"path/filepath"
	"sync"

	"github.com/DeRuina/timberjack"
)

const (
	fileName = "fullon_cache.log"
	fileMB   = 10
	fileDays = 7
)

// file is the log file. Many processes share one folder by default, and the
// rotator is made for one: what it creates it empties first and does not open for
// appending, and it does not see that another process rotated. So file writes for
// itself, always appending, and goes by what stands at the path now; the rotator
// renames, and removes what is old, for one process at a time.
type file struct {
	path    string
	rotator *timberjack.Logger

	mu     sync.Mutex
	f      *os.File
	info   os.FileInfo // of f, to recognise it
	closed bool
}

// openFile opens the log file of a folder, and makes the folder.
func openFile(dir string) (*file, error) {
	path := filepath.Join(dir, fileName)
	l := &file{path: path, rotator: &timberjack.Logger{Filename: path, MaxSize: fileMB, MaxAge: fileDays}}
	if err := l.open(0); err != nil {
		return nil, err
	}
	return l, nil
}

// Write appends one record. None is cut: one that is larger than a file should be
// has a file of its own.
func (l *file) Write(record []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return 0, os.ErrClosed
	}
	now, err := os.Stat(l.path)
	if err != nil || !os.SameFile(now, l.info) || full(now, len(record)) {
		_ = l.f.Close() // every record was written by its own call: nothing is pending
		if err := l.open(len(record)); err != nil {
			return 0, err
		}
	}
	return l.f.Write(record)
}

// full reports whether n more bytes are too many for a file.
func full(info os.FileInfo, n int) bool {
	return info.Size() > 0 && info.Size()+int64(n) > fileMB<<20
}

// open opens what stands at the path, after a rotation if n more bytes are too
// many for it. It makes what is missing, for folders in /tmp are cleaned away under
// programs that run for long.
func (l *file) open(n int) error {
	dir := filepath.Dir(l.path)
	err := os.MkdirAll(dir, 0o750)
	var locked *os.File
	if err == nil {
		locked, err = os.Open(dir)
	}
	if err != nil {
		return err
	}
	lock(locked)
	defer func() { _ = locked.Close() }() // which unlocks it

	if now, err := os.Stat(l.path); err == nil && full(now, n) {
		// A file that cannot be renamed grows on: better than to lose records.
		_ = l.rotator.Rotate()
	}
	f, err := os.OpenFile(l.path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	// The first time, the empty write makes the rotator remove old files: a process
	// that logs little may never rotate. If it fails, the log is none the worse.
	_, _ = l.rotator.Write(nil)
	l.f = f
	l.info, err = f.Stat()
	return err
}

// Close closes the file and ends the rotator's goroutine. Records that come later
// are refused. Closing again does nothing.
func (l *file) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	return errors.Join(l.f.Close(), l.rotator.Close())
}
