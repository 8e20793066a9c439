package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const code = `package p

import "errors"

var hook = func() int {
	return 1
}

func (b *Box[T]) Get(n int) error {
	if n > 3 {
		// Why.

		return errors.New("too many")
	}
	if n < 0 { return errors.New("too few") }
	return nil
}

func Empty() {}
`

// parse returns code as the file p.go of the module m.
func parse(t *testing.T) *source {
	t.Helper()
	s, err := parseSource("p.go", []byte(code))
	if err != nil {
		t.Fatal(err)
	}
	s.profile = "m/p.go"
	return s
}

// The blocks of code as go test reports them, all covered.
const (
	hookRan   = "m/p.go:5.23,7.2 1 1\n"
	getRan    = "m/p.go:9.35,10.11 1 1\n"
	manyRan   = "m/p.go:10.11,14.3 1 1\n"
	fewIfRan  = "m/p.go:15.2,15.11 1 1\n"
	fewRan    = "m/p.go:15.11,15.43 1 1\n"
	returnRan = "m/p.go:16.2,16.12 1 1\n"
	emptyBody = "m/p.go:19.14,19.15 0 0\n"

	allRan = "mode: atomic\n" + hookRan + getRan + manyRan + fewIfRan + fewRan + returnRan + emptyBody
)

// blocksOf reads profiles.
func blocksOf(t *testing.T, texts ...string) []block {
	t.Helper()
	var p profile
	for _, text := range texts {
		if err := p.read(strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	return p.blocks
}

func missed(ran string) string { return strings.TrimSuffix(ran, "1\n") + "0\n" }

func TestJudge(t *testing.T) {
	many := strings.Replace(allRan, manyRan, missed(manyRan), 1)
	for _, tc := range []struct {
		name, profile, exempt string
		limit                 int
		out, err              string
	}{
		{"all ran", allRan, "", 0, "6 of 6 statements, 100.00 %; 0 exempt", ""},
		{"ran in another binary only", many + manyRan, "", 0, "6 of 6", ""},
		{"ran in an earlier binary only", allRan + missed(manyRan), "", 0, "6 of 6", ""},
		{"a block missed", many, "", 0, `p.go:13: in (*Box).Get: return errors.New("too many")`, "not covered: 1 blocks"},
		{"a block missed within a line", strings.Replace(allRan, fewRan, missed(fewRan), 1), "", 0,
			"p.go:15: in (*Box).Get: if n < 0 {", "not covered: 1 blocks"},
		{"a block missed outside functions", strings.Replace(allRan, hookRan, missed(hookRan), 1), "", 0,
			"p.go:6: in hook: return 1", "not covered: 1 blocks"},
		{"exempt by its condition", many, "p.go (*Box).Get: if n > 3 {\n  Cannot be.", 1, "Cannot be.", ""},
		{"exempt by its statement", many, "p.go (*Box).Get: return errors.New(\"too many\")\n  Cannot be.", 1, "5 of 6 statements, 83.33 %; 1 exempt", ""},
		{"more exempt than allowed", many, "p.go (*Box).Get: if n > 3 {\n  Cannot be.", 0, "", "1 blocks are exempt, at most 0"},
		{"exempt and yet it ran", allRan, "p.go (*Box).Get: if n > 3 {\n  Cannot be.", 1, "", "line 1 is stale"},
		{"exempt in another function", many, "p.go Box.Get: if n > 3 {\n  Cannot be.", 1, "", "stale"},
		{"exempt in another file", many, "q.go (*Box).Get: if n > 3 {\n  Cannot be.", 1, "", "stale"},
		{"exempt twice", many, "p.go (*Box).Get: if n > 3 {\n  One.\np.go (*Box).Get: if n > 3 {\n  Two.", 2, "", "line 3 is stale"},
		{"a file unknown to the profile", "mode: set\nm/q.go:1.1,2.2 1 1\n", "", 0, "", "no statement of the library"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			blocks := blocksOf(t, tc.profile)
			entries, err := parseExemptions(tc.exempt)
			if err != nil {
				t.Fatal(err)
			}
			var out strings.Builder
			err = survey([]*source{parse(t)}, blocks, entries).judge(&out, entries, tc.limit)
			if tc.err == "" && err != nil {
				t.Errorf("failed: %v", err)
			}
			if tc.err != "" && (err == nil || !strings.Contains(err.Error(), tc.err)) {
				t.Errorf("got error %v, want it to say %q", err, tc.err)
			}
			if !strings.Contains(out.String(), tc.out) {
				t.Errorf("printed\n%s\nwant it to say %q", out.String(), tc.out)
			}
		})
	}
}

// What one run of the tests missed, another may have run.
func TestProfilesTogether(t *testing.T) {
	many, few := strings.Replace(allRan, manyRan, missed(manyRan), 1), strings.Replace(allRan, fewRan, missed(fewRan), 1)
	for _, tc := range []struct {
		name     string
		profiles []string
		want     []string
	}{
		{"neither ran it", []string{many, many}, []string{"."}},
		{"the second ran it", []string{many, few}, nil},
		{"the first ran it", []string{few, many}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := survey([]*source{parse(t)}, blocksOf(t, tc.profiles...), nil)
			if got := c.missed(); !slices.Equal(got, tc.want) {
				t.Errorf("missed in %q, want %q", got, tc.want)
			}
			if err := c.judge(io.Discard, nil, 0); (err == nil) != (tc.want == nil) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestJudgeWithoutAFile(t *testing.T) {
	blocks := blocksOf(t, allRan)
	other := parse(t)
	other.name, other.profile = "q.go", "m/q.go"
	var out strings.Builder
	err := survey([]*source{parse(t), other}, blocks, nil).judge(&out, nil, 0)
	if err == nil || !strings.Contains(out.String(), "q.go: the profile does not know this file") {
		t.Errorf("got %v and\n%s", err, out.String())
	}
}

func TestPercentIsNeverRoundedUp(t *testing.T) {
	profile := "mode: set\nm/p.go:5.23,7.2 999999 1\n" + missed(manyRan)
	blocks := blocksOf(t, profile)
	var out strings.Builder
	if err := survey([]*source{parse(t)}, blocks, nil).judge(&out, nil, 0); err == nil {
		t.Error("one statement of a million is missing, and the gate passed")
	}
	if !strings.Contains(out.String(), "99.99 %") {
		t.Errorf("printed %s", out.String())
	}
}

func TestReadProfileRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":      "",
		"no mode":      "m/p.go:1.2,3.4 1 1\n",
		"no position":  "mode: set\nm/p.go\n",
		"half a block": "mode: set\nm/p.go:1.2,3.4 1\n",
		"not a number": "mode: set\nm/p.go:1.2,3.4 1 x\n",
	} {
		t.Run(name, func(t *testing.T) {
			var p profile
			if err := p.read(strings.NewReader(text)); err == nil {
				t.Errorf("accepted as %v", p.blocks)
			}
		})
	}
}

func TestParseExemptions(t *testing.T) {
	got, err := parseExemptions("# Head.\n\na/b.go F: x := \"a: b\"\n\tOne\n    two.\n# Between.\nc.go (*T).M: return err\n  Three.\n")
	if err != nil {
		t.Fatal(err)
	}
	want := []exemption{
		{at: 3, file: "a/b.go", function: "F", text: `x := "a: b"`, reason: "One two."},
		{at: 7, file: "c.go", function: "(*T).M", text: "return err", reason: "Three."},
	}
	if len(got) != len(want) {
		t.Fatalf("got %+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("got %+v, want %+v", got[i], want[i])
		}
	}
	for text, want := range map[string]string{
		"  A reason.":              "a reason without an entry",
		"a.go F: return":           "no reason",
		"a.go: return\n  Why.":     "want",
		"a.go F return\n  Why.":    "want",
		"a.go F: x\nb.go F: y\n w": "line 1: no reason",
	} {
		if _, err := parseExemptions(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want it to say %q", text, err, want)
		}
	}
}

func TestFuncNames(t *testing.T) {
	s, err := parseSource("p.go", []byte(`package p
func F() {}
func (T) A() {}
func (t T[K]) B() {}
func (t *T[K, V]) C() {}
func (t (T)) D() {}
var x, y = 1, 2
`))
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"", "F", "T.A", "T.B", "(*T).C", "T.D", "x"} {
		if got := s.declAt(i + 1); got != want {
			t.Errorf("line %d: got %q, want %q", i+1, got, want)
		}
	}
	if s.runs {
		t.Error("empty bodies run no statement")
	}
}

func TestIsLibrary(t *testing.T) {
	for folder, want := range map[string]bool{
		"": true, "internal/kv": true, "embedded": true, "internal/testenvoy": true, "commands": true,
		"cmd/fulloncache": false, "examples": false, "internal/testenv": false, "internal/testenv/proxy": false, "scripts/layers": false,
	} {
		if got := isLibrary(folder); got != want {
			t.Errorf("%q: got %v", folder, got)
		}
	}
}

// TestModule judges a real profile of a small module.
func TestModule(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, text := range map[string]string{
		"go.mod":          "module m\n\ngo 1.26\n",
		"p.go":            "package p\n\nfunc Abs(n int) int {\n\tif n < 0 {\n\t\treturn -n\n\t}\n\treturn n\n}\n",
		"p_test.go":       "package p\n\nimport \"testing\"\n\nfunc TestAbs(t *testing.T) {\n\tif Abs(1) != 1 {\n\t\tt.Fail()\n\t}\n}\n",
		"cmd/x/main.go":   "package main\n\nfunc main() {}\n",
		"sub/sub.go":      "package sub\n\nfunc One() int { return 1 }\n",
		"types/types.go":  "package types\n\ntype T int\n",
		"coverage.exempt": "# Nothing.\n",
	} {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	var out strings.Builder
	if err := run(&out, options{packages: true}, nil); err != nil {
		t.Fatal(err)
	}
	packages := strings.TrimSpace(out.String())
	if packages != "m,m/sub,m/types" {
		t.Errorf("the library is %q", packages)
	}
	test := exec.Command("go", "test", "-coverpkg="+packages, "-coverprofile=c.out", "./...")
	if text, err := test.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}

	out.Reset()
	judging := options{exempt: "coverage.exempt", limit: 10}
	err := run(&out, judging, []string{"c.out"})
	if err == nil || !strings.Contains(err.Error(), "not covered: 2 blocks") {
		t.Errorf("got error %v", err)
	}
	for _, want := range []string{"2 of 4 statements, 50.00 %", "  p.go:5: in Abs: return -n\n", "  sub/sub.go:3: in One: func One() int { return 1 }\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("printed\n%s\nwant it to say %q", out.String(), want)
		}
	}

	out.Reset()
	judging.missed = true
	if err := run(&out, judging, []string{"c.out"}); err != nil {
		t.Fatal(err)
	}
	if out.String() != ". ./sub\n" {
		t.Errorf("missed in %q", out.String())
	}
}
