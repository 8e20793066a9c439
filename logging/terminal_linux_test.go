package logging_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fullon/fulloncache/logging"
)

// What is written to the controlling side of a pseudo-terminal is echoed by its
// line discipline, which shows the escape character as "^[".
func TestColoursOnATerminal(t *testing.T) {
	t.Parallel()
	for _, noColors := range []bool{false, true} {
		terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		logger, closeIt := setup(t, logging.Config{NoColors: noColors, Stderr: terminal, Dir: dir})
		logger.Info("feed started", "exchange", "kraken")
		closeIt()
		echo := make([]byte, 4096)
		n, err := terminal.Read(echo)
		if err != nil {
			t.Fatal(err)
		}
		if err := terminal.Close(); err != nil {
			t.Fatal(err)
		}
		if got := string(echo[:n]); strings.Contains(got, "^[[92mINFO ^[[0m feed started") == noColors || strings.Contains(got, "^[") == noColors {
			t.Errorf("NoColors %t: the terminal shows %q", noColors, got)
		}
		if file := read(t, filepath.Join(dir, "fullon_cache.log")); !strings.HasSuffix(file, "Z INFO  feed started exchange=kraken\n") {
			t.Errorf("the file has %q", file)
		}
	}
}
