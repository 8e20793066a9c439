package logging_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullon/fulloncache/logging"
)

const limit = 10 << 20

// files returns the files of a folder, and in how many lines of them each word of
// the form "id=…" stands.
func files(t *testing.T, dir string) (names []string, seen map[string]int) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	seen = make(map[string]int)
	for _, name := range names {
		for line := range strings.Lines(read(t, name)) {
			if !strings.HasSuffix(line, "end=end\n") {
				t.Fatalf("%s has a torn record: %.80q", name, line)
			}
			for _, word := range strings.Fields(line) {
				if strings.HasPrefix(word, "id=") {
					seen[word]++
				}
			}
		}
	}
	return names, seen
}

func wantOnce(t *testing.T, seen map[string]int, records int) {
	t.Helper()
	for id, n := range seen {
		if n != 1 {
			t.Errorf("%s stands %d times", id, n)
		}
	}
	if len(seen) != records {
		t.Errorf("%d records are there, want %d", len(seen), records)
	}
}

func TestFileRotatesAt10MB(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	logger, closeIt := setup(t, logging.Config{Format: logging.Detailed, NoConsole: true, Dir: dir})
	const writers, each = 4, 3000
	payload := strings.Repeat("x", 1000) // 12,000 records of a good thousand bytes
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				logger.Info(payload, "id", fmt.Sprintf("%d-%d", w, i), "end", "end")
			}
		})
	}
	wg.Wait()
	closeIt()
	names, seen := files(t, dir)
	wantOnce(t, seen, writers*each)
	if len(names) != 2 {
		t.Errorf("files %v, want two", names)
	}
	for _, name := range names {
		if info, err := os.Stat(name); err != nil || info.Size() > limit {
			t.Errorf("%s: %d bytes, %v", name, info.Size(), err)
		}
	}
}

// Processes that share the folder find the file full at the same moment. A second
// Setup is like a second process: it has the file open on its own.
func TestProcessesShareAFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const processes, each = 8, 60
	payload := strings.Repeat("x", 64<<10) // 30 MB altogether
	var wg sync.WaitGroup
	for p := range processes {
		logger, closeIt := setup(t, logging.Config{NoConsole: true, Dir: dir})
		wg.Go(func() {
			defer closeIt()
			for i := range each {
				logger.Info(payload, "id", fmt.Sprintf("%d-%d", p, i), "end", "end")
			}
		})
	}
	wg.Wait()
	_, seen := files(t, dir)
	wantOnce(t, seen, processes*each)
}

func TestHugeRecordStaysWhole(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	logger, closeIt := setup(t, logging.Config{NoConsole: true, Dir: dir})
	for i, size := range []int{1, limit + 1, 1} {
		logger.Info(strings.Repeat("x", size), "id", i, "end", "end")
	}
	closeIt()
	names, seen := files(t, dir)
	wantOnce(t, seen, 3)
	if len(names) != 3 {
		t.Errorf("files %v, want one per record", names)
	}
}

func TestOldFilesAreRemoved(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	backup := func(age time.Duration) string {
		name := filepath.Join(dir, "fullon_cache-"+time.Now().UTC().Add(-age).Format("2006-01-02T15-04-05.000")+"-size.log")
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const day = 24 * time.Hour
	kept, old := backup(7*day-time.Hour), backup(7*day+time.Hour)
	_, closeIt := setup(t, logging.Config{NoConsole: true, Dir: dir})
	closeIt() // waits for the rotator
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("a file of less than seven days: %v", err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file of more than seven days: %v", err)
	}
}

func TestFolderThatVanishesIsMadeAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "logs")
	logger, _ := setup(t, logging.Config{NoConsole: true, Dir: dir})
	logger.Info("before", "id", 1, "end", "end")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	logger.Info("after", "id", 2, "end", "end")
	if _, seen := files(t, dir); len(seen) != 1 || seen["id=2"] != 1 {
		t.Errorf("got %v", seen)
	}
}

func TestConsoleOutlivesTheFile(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "logs")
	var console bytes.Buffer
	logger, closer, err := logging.Setup(logging.Config{Format: logging.Minimal, Stderr: &console, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // where the folder was
		t.Fatal(err)
	}
	record := slog.NewRecord(time.Now(), slog.LevelInfo, "lost to the file", 0)
	if err := logger.Handler().Handle(context.Background(), record); err == nil {
		t.Error("no error for a record that the file cannot take")
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	logger.Info("back")
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
	if err := logger.Handler().Handle(context.Background(), record); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after Close: %v, want %v", err, os.ErrClosed)
	}
	if got, want := console.String(), "INFO  lost to the file\nINFO  back\nINFO  lost to the file\n"; got != want {
		t.Errorf("console %q, want %q", got, want)
	}
	if got := read(t, filepath.Join(dir, "fullon_cache.log")); !strings.HasSuffix(got, "INFO  back\n") || strings.Count(got, "\n") != 1 {
		t.Errorf("file %q", got)
	}
}
