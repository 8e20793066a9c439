package docs_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fullon/fulloncache/docs"
	"github.com/fullon/fulloncache/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// block is a code block of a guide.
type block struct {
	name   string // of the guide, and its line
	file   string
	line   int // of its first line of code
	kind   string
	code   string
	output string // of the block "output" behind it
	checks bool   // there is one
}

// A guide's code blocks are Go: a program, or what stands in a function that has ctx,
// c, an open Client, and the market btc; or sh, commands as they are typed. A block
// "output" behind one is what it prints.
func blocksOf(t *testing.T, file, text string) (list []block) {
	t.Helper()
	var open *block
	for i, line := range strings.Split(text, "\n") {
		kind, fence := strings.CutPrefix(line, "```")
		switch {
		case fence && open == nil:
			open = &block{name: fmt.Sprintf("%s_%d", strings.TrimSuffix(filepath.Base(file), ".md"), i+1), file: file, line: i + 2, kind: kind}
		case fence:
			if open.kind == "output" {
				if len(list) == 0 || list[len(list)-1].checks {
					t.Errorf("%s:%d: the output of what?", file, open.line)
					return list
				}
				list[len(list)-1].output, list[len(list)-1].checks = open.code, true
			} else if open.kind == "go" || open.kind == "sh" {
				list = append(list, *open)
			} else if open.kind != "" {
				t.Errorf("%s:%d: a block of %q", file, open.line, open.kind)
			}
			open = nil
		case open != nil:
			open.code += line + "\n"
		}
	}
	return list
}

func (b block) program() bool { return strings.HasPrefix(b.code, "package ") }

// imports are what blocks may use, by the names of packages.
var imports = map[string]string{
	"bytes": "bytes", "context": "context", "errors": "errors", "fmt": "fmt", "json": "encoding/json", "log": "log", "maps": "maps", "os": "os",
	"slices": "slices", "slog": "log/slog", "strings": "strings", "time": "time", "http": "net/http", "httptest": "net/http/httptest",
	"fulloncache": "github.com/fullon/fulloncache", "embedded": "github.com/fullon/fulloncache/embedded",
	"orm": "github.com/fullon/fulloncache/orm", "logging": "github.com/fullon/fulloncache/logging", "metrics": "github.com/fullon/fulloncache/metrics",
	"prometheus": "github.com/prometheus/client_golang/prometheus", "promhttp": "github.com/prometheus/client_golang/prometheus/promhttp",
}

const frame = `
var btc = fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := fulloncache.Open(ctx)
	if err == nil {
		err = blocks[os.Args[1]](ctx, c)
		c.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
`

// fragments makes one program of all that are no programs.
func fragments(list []block) string {
	var body strings.Builder
	body.WriteString(frame + "\nvar blocks = map[string]func(context.Context, *fulloncache.Client) error{\n")
	for _, b := range list {
		fmt.Fprintf(&body, "%q: %s,\n", b.name, b.name)
	}
	body.WriteString("}\n")
	for _, b := range list {
		fmt.Fprintf(&body, "\nfunc %s(ctx context.Context, c *fulloncache.Client) error {\n//line %s:%d\n%s\n//line end:1\nreturn nil\n}\n", b.name, b.file, b.line, b.code)
	}
	code := regexp.MustCompile(`//.*`).ReplaceAllString(body.String(), "")
	var head strings.Builder
	head.WriteString("package main\n\nimport (\n")
	for name, path := range imports {
		if regexp.MustCompile(`\b` + name + `\.[A-Z]`).MatchString(code) {
			fmt.Fprintf(&head, "%q\n", path)
		}
	}
	return head.String() + ")\n" + body.String()
}

// TestBlocks builds and runs every code block of the guides and of the README.
func TestBlocks(t *testing.T) {
	var list, loose []block
	for _, topic := range docs.Topics() {
		list = append(list, blocksOf(t, string(topic)+".md", topic.Text())...)
	}
	readme, err := os.ReadFile("../README.md")
	must(t, err)
	list = append(list, blocksOf(t, "../README.md", string(readme))...)
	if t.Failed() {
		t.FailNow()
	}

	// The sources are nowhere but in an overlay, so that nothing is left behind.
	dir, folder := t.TempDir(), must1(filepath.Abs("."))(t)
	overlay := map[string]map[string]string{"Replace": {}}
	// They run for a moment: to compile them as make lint does takes less than to optimise.
	build := []string{"build", "-gcflags=github.com/fullon/fulloncache/...=-N -l", "-overlay", filepath.Join(dir, "overlay.json"), "-o", dir + "/", "../cmd/fulloncache", "./fragments"}
	add := func(name, source string) {
		file := filepath.Join(dir, name+".go")
		must(t, os.WriteFile(file, []byte(source), 0o600))
		overlay["Replace"][filepath.Join(folder, name, "main.go")] = file
	}
	for _, b := range list {
		switch {
		case b.kind == "go" && b.program():
			add(b.name, fmt.Sprintf("//line %s:%d\n%s", b.file, b.line, b.code))
			build = append(build, "./"+b.name)
		case b.kind == "go":
			loose = append(loose, b)
		}
	}
	add("fragments", fragments(loose))
	must(t, os.WriteFile(filepath.Join(dir, "overlay.json"), must1(json.Marshal(overlay))(t), 0o600))
	if out, err := exec.CommandContext(testenv.Context(t), "go", build...).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}

	prefix, redis := testenv.Prefix(t), testenv.Redis(t).URL()
	homes := make(map[string]string) // of guides: what one block leaves, the next one finds
	for _, b := range list {
		if homes[b.file] == "" {
			homes[b.file] = t.TempDir()
		}
		t.Run(b.name, func(t *testing.T) {
			args := []string{filepath.Join(dir, "fragments"), b.name}
			name := prefix + b.name
			switch {
			case b.kind == "sh":
				args = []string{"bash", "-euo", "pipefail", "-c", b.code}
				name = prefix + filepath.Base(b.file)
			case b.program():
				args = []string{filepath.Join(dir, b.name)}
			}
			home := homes[b.file]
			cmd := exec.CommandContext(testenv.Context(t), args[0], args[1:]...)
			cmd.Dir = home
			cmd.Env = append(os.Environ(), "HOME="+home, "PATH="+dir+":"+os.Getenv("PATH"), "REDIS_URL="+redis, "CACHE_KEY_PREFIX="+name,
				"DATABASE_URL=sqlite://"+filepath.Join(home, "desk.db"), "FULLON_CACHE_LOG_DIR="+home)
			var out, errs bytes.Buffer
			cmd.Stdout, cmd.Stderr = &out, &errs
			if err := cmd.Run(); err != nil {
				t.Fatalf("%s:%d: %v\n%s%s", b.file, b.line, err, &out, &errs)
			}
			if b.checks && out.String() != b.output {
				t.Errorf("%s:%d prints\n%s\nand not\n%s", b.file, b.line, &out, b.output)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func must1[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		must(t, err)
		return v
	}
}
