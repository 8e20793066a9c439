// Command mutate asks whether the tests notice when a Lua script is wrong: it deletes
// each statement of the scripts, and flips each comparison, one at a time, and runs
// the tests that use the script. A mutant that no test notices survived.
//
//	go run ./scripts/mutate                  # all scripts; takes hours
//	go run ./scripts/mutate -run '^lease'    # some
//
// It ends with 1 unless at least 80 % of the mutants died. Survivors that are known,
// with the reason why none needs to notice, are in survivors.txt.
package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/yuin/gopher-lua/parse"
)

const folder = "internal/kv/scripts"

//go:embed survivors.txt
var known string

// run is a test binary and which of its tests to run.
type run struct{ pkg, tests string }

// noFault are all tests but those of faults, which take minutes.
const noFault = "^Test([^F]|F[^a])"

// ofIncludes are the tests of what scripts include.
const ofIncludes = "^TestInclude"

// ofAccounts are the tests of balances and positions.
const ofAccounts = "^Test(SetAccount|Account|Balance|Position|Fill|Apply|Replace|Watch|Wait|Upsert|Unknown|DeletePosition|Readers)"

// tests are what uses the scripts whose names begin so. Standalone alone: the scripts
// are the same everywhere.
var tests = []struct {
	prefix string
	runs   []run
}{
	{"tick", []run{{".", "^Test(Tick|Set|Stream|Mirror|Delete|Crawler|Next|Any)"}}},
	{"lease", []run{{"internal/lease", noFault}, {".", "^TestBot(Block|Lease|Open|Acq)|^TestLease|^TestBlock|^TestAcquire|^Test(Release|Renewal)"}}},
	{"times", []run{{"internal/kv", ofIncludes}}},
	{"stamp", []run{{"internal/kv", ofIncludes}}},
	{"clock", []run{{"internal/lease", noFault}}},
	{"queue", []run{{"internal/queue", noFault}}},
	{"aside", []run{{"internal/aside", noFault}}},
	{"order", []run{{".", "^TestOrder"}}},
	{"list", []run{{".", "^TestOrderQueue|^TestPushOpen|^TestGlobal|^TestWSError"}}},
	{"time_set", []run{{".", "^TestTrade.*Status"}}},
	{"hash_delete", []run{{".", "^TestTrade.*Status|^TestCrawler|^TestTickCrawler"}}},
	{"trades", []run{{".", "^Test(User)?Trade"}}},
	{"bars", []run{{".", "^Test(Bar|OHLCV|Append|Series)"}}},
	{"bot", []run{{".", "^TestBot"}}},
	{"position", []run{{".", ofAccounts}}},
	{"account", []run{{".", ofAccounts}}},
	{"process", []run{{".", "^TestProcess"}}},
	{"writers", []run{{"internal/aside", noFault}}},
	{"bury", []run{{"internal/queue", noFault}}},
	{"decimals", []run{{"internal/kv", ofIncludes}}},
	{"revision", []run{{"internal/kv", ofIncludes}, {".", "^Test(Tick|Stream|Mirror|Order)"}}},
}

// mutant is a script with one change.
type mutant struct {
	file string // relative to the folder of scripts
	line int
	what string
	text string // of the whole file
}

func (m mutant) String() string { return fmt.Sprintf("%s:%d: %s", m.file, m.line, m.what) }

func main() {
	only := flag.String("run", "", "only scripts whose names match this regexp")
	workers := flag.Int("workers", 2*runtime.NumCPU(), "how many at once; tests mostly wait")
	limit := flag.Duration("timeout", time.Minute, "how long the tests of one mutant may take; who takes longer is dead")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := mutateAll(ctx, regexp.MustCompile(*only), *workers, *limit)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func mutateAll(ctx context.Context, only *regexp.Regexp, workers int, limit time.Duration) error {
	mutants, err := all(only)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }() // a temporary folder
	if err := build(ctx, dir, mutants); err != nil {
		return err
	}
	// What the tests say of the scripts as they are must be: nothing.
	tried := make(map[string]bool)
	for _, file := range files(mutants) {
		runs, err := runsOf(file)
		if err != nil {
			return err
		}
		which := fmt.Sprint(runs)
		if tried[which] {
			continue
		}
		tried[which] = true
		if dead, out := try(ctx, dir, mutant{file: file}, 5*limit); dead {
			return fmt.Errorf("the tests of %s fail without a change:\n%s", file, out)
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	counts := make(map[string][2]int) // dead, all
	jobs := make(chan mutant)
	var survivors []string
	for range workers {
		wg.Go(func() {
			for m := range jobs {
				dead, _ := try(ctx, dir, m, limit)
				if ctx.Err() != nil {
					return
				}
				mu.Lock()
				n := counts[m.file]
				n[1]++
				if dead {
					n[0]++
				} else {
					survivors = append(survivors, m.String())
					fmt.Println("survived:", m)
				}
				counts[m.file] = n
				mu.Unlock()
			}
		})
	}
	for _, m := range mutants {
		select {
		case jobs <- m:
		case <-ctx.Done():
		}
	}
	close(jobs)
	wg.Wait()
	return errors.Join(score(counts, survivors), ctx.Err())
}

// score prints how many died, and returns an error if those were too few.
func score(counts map[string][2]int, survivors []string) error {
	dead, n := 0, 0
	for _, file := range slices.Sorted(func(yield func(string) bool) {
		for f := range counts {
			if !yield(f) {
				return
			}
		}
	}) {
		c := counts[file]
		fmt.Printf("%-28s %3d of %3d died\n", file, c[0], c[1])
		dead += c[0]
		n += c[1]
	}
	if n == 0 {
		return errors.New("there is nothing to change")
	}
	unexplained := 0
	for _, s := range survivors {
		if !strings.Contains(known, s+"\n") {
			unexplained++
		}
	}
	fmt.Printf("%d of %d died: %.1f %%; of the %d that survived %d are not in survivors.txt\n", dead, n, 100*float64(dead)/float64(n), n-dead, unexplained)
	if dead*100 < n*80 {
		return errors.New("less than 80 % died")
	}
	return nil
}

func files(mutants []mutant) (names []string) {
	for _, m := range mutants {
		names = append(names, m.file)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// all are the mutants of the scripts.
func all(only *regexp.Regexp) (list []mutant, err error) {
	for _, pattern := range []string{"*.lua", "include/*.lua"} {
		names, err := filepath.Glob(filepath.Join(folder, pattern))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			file, err := filepath.Rel(folder, name)
			if err != nil {
				return nil, err
			}
			if !only.MatchString(filepath.Base(file)) {
				continue
			}
			text, err := os.ReadFile(name)
			if err != nil {
				return nil, err
			}
			list = append(list, mutantsOf(file, string(text))...)
		}
	}
	return list, nil
}

var (
	control    = regexp.MustCompile(`^(if|elseif|else|for|while|repeat|until|end|function|local function|do)\b|^(--|#!|$)|^[})]`)
	comparison = regexp.MustCompile(` (==|~=|<=|>=|<|>) `)
	flipped    = map[string]string{"==": "~=", "~=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
)

// mutantsOf are the mutants of a script that Lua can parse.
func mutantsOf(file, text string) (list []mutant) {
	lines := strings.Split(text, "\n")
	add := func(line int, what string, changed []string) {
		whole := strings.Join(changed, "\n")
		_, code, _ := strings.Cut(whole, "\n") // without the line "#!lua"
		if strings.HasPrefix(whole, "--") || strings.HasPrefix(file, "include/") {
			code = whole
		}
		if _, err := parse.Parse(strings.NewReader(code), file); err == nil {
			list = append(list, mutant{file, line + 1, what, whole})
		}
	}
	for i := 0; i < len(lines); i++ {
		code, _, _ := strings.Cut(lines[i], "--")
		for _, at := range comparison.FindAllStringSubmatchIndex(code, -1) {
			old := code[at[2]:at[3]]
			changed := slices.Clone(lines)
			changed[i] = lines[i][:at[2]] + flipped[old] + lines[i][at[3]:]
			add(i, fmt.Sprintf("%s becomes %s in %q", old, flipped[old], strings.TrimSpace(lines[i])), changed)
		}
		if control.MatchString(strings.TrimSpace(lines[i])) {
			continue
		}
		// A statement goes on until its brackets are closed.
		last, depth := i, 0
		for ; last < len(lines); last++ {
			code, _, _ := strings.Cut(lines[last], "--")
			depth += strings.Count(code, "(") + strings.Count(code, "{") - strings.Count(code, ")") - strings.Count(code, "}")
			if depth <= 0 {
				break
			}
		}
		if depth != 0 {
			continue // it holds a function, or is in the middle of something
		}
		changed := slices.Clone(lines)
		for k := i; k <= last; k++ {
			changed[k] = ""
		}
		add(i, fmt.Sprintf("without %q", strings.TrimSpace(lines[i])), changed)
	}
	return list
}

// build builds the test binaries. In them the scripts are read from a folder that an
// environment variable names.
func build(ctx context.Context, dir string, mutants []mutant) error {
	const source = "internal/kv/scripts.go"
	text, err := os.ReadFile(source)
	if err != nil {
		return err
	}
	changed := strings.Replace(string(text), "//go:embed scripts\nvar scriptFiles embed.FS", `var scriptFiles = os.DirFS(os.Getenv("FULLON_CACHE_SCRIPTS")).(fs.ReadFileFS)`, 1)
	changed = strings.Replace(changed, "\"embed\"\n", "\"os\"\n", 1)
	if changed == string(text) {
		return fmt.Errorf("%s does not embed the scripts as it did", source)
	}
	file, err := filepath.Abs(source)
	if err != nil {
		return err
	}
	other := filepath.Join(dir, "scripts.go")
	overlay, err := json.Marshal(map[string]map[string]string{"Replace": {file: other}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(other, []byte(changed), 0o600); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		return err
	}
	built := make(map[string]bool)
	for _, m := range mutants {
		runs, err := runsOf(m.file)
		if err != nil {
			return err
		}
		for _, r := range runs {
			if built[r.pkg] {
				continue
			}
			built[r.pkg] = true
			cmd := exec.CommandContext(ctx, "go", "test", "-c", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary(dir, r.pkg), "./"+r.pkg)
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("build the tests of %s: %w\n%s", r.pkg, err, out)
			}
		}
	}
	return nil
}

func binary(dir, pkg string) string {
	return filepath.Join(dir, strings.ReplaceAll(pkg, "/", "-")+".test")
}

func runsOf(file string) ([]run, error) {
	for _, t := range tests {
		if strings.HasPrefix(filepath.Base(file), t.prefix) {
			return t.runs, nil
		}
	}
	return nil, fmt.Errorf("nothing tells what tests %s", file)
}

// try runs the tests with a mutant, or without a change if it has no text. It reports
// whether one failed.
func try(ctx context.Context, dir string, m mutant, limit time.Duration) (dead bool, out []byte) {
	own, err := os.MkdirTemp(dir, "run")
	if err != nil {
		return true, []byte(err.Error())
	}
	defer func() { _ = os.RemoveAll(own) }() // a temporary folder
	if err := os.CopyFS(filepath.Join(own, "scripts"), os.DirFS(folder)); err != nil {
		return true, []byte(err.Error())
	}
	if m.text != "" {
		if err := os.WriteFile(filepath.Join(own, "scripts", m.file), []byte(m.text), 0o600); err != nil {
			return true, []byte(err.Error())
		}
	}
	runs, err := runsOf(m.file)
	if err != nil {
		return true, []byte(err.Error())
	}
	for _, r := range runs {
		bounded, cancel := context.WithTimeout(ctx, limit)
		args := []string{"-test.failfast", "-test.parallel", "16", "-test.run", r.tests + "/^standalone"}
		if usesRapid(r.pkg) {
			// What it keeps of one mutant would fail the tests of the next.
			args = append(args, "-rapid.nofailfile")
		}
		cmd := exec.CommandContext(bounded, binary(dir, r.pkg), args...)
		cmd.Dir, cmd.Env = r.pkg, append(os.Environ(), "FULLON_CACHE_SCRIPTS="+own)
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.WaitDelay = 5 * time.Second
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			return true, out
		}
	}
	return false, nil
}

// usesRapid reports whether some test of a package looks for counterexamples.
func usesRapid(pkg string) bool {
	files, _ := filepath.Glob(filepath.Join(pkg, "*_test.go")) // the pattern is well formed
	return slices.ContainsFunc(files, func(file string) bool {
		text, err := os.ReadFile(file)
		return err == nil && strings.Contains(string(text), `"pgregory.net/rapid"`)
	})
}
