package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestMutantsOf(t *testing.T) {
	t.Parallel()
	const script = `#!lua
-- Contract: a < b
local a, b = tonumber(ARGV[1]), 2
if a < b then -- not a > b
  redis.call('SET',
    KEYS[1], a)
  return 1
end
local function f()
  return 2
end
return f()
`
	var got []string
	for _, m := range mutantsOf("s.lua", script) {
		got = append(got, m.String())
		if strings.Count(m.text, "\n") != strings.Count(script, "\n") || m.text == script {
			t.Errorf("%s: lines moved, or nothing changed:\n%s", m, m.text)
		}
	}
	want := []string{
		`s.lua:3: without "local a, b = tonumber(ARGV[1]), 2"`,
		`s.lua:4: < becomes >= in "if a < b then -- not a > b"`,
		`s.lua:5: without "redis.call('SET',"`,
		`s.lua:7: without "return 1"`,
		`s.lua:10: without "return 2"`,
		`s.lua:12: without "return f()"`,
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Every script has mutants, and tests that use it; what is said to survive is a mutant
// still.
func TestEveryScriptIsTested(t *testing.T) {
	t.Chdir("../..")
	mutants, err := all(regexp.MustCompile(""))
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	names := files(mutants)
	for _, e := range entries {
		if !e.IsDir() && !slices.Contains(names, e.Name()) {
			t.Errorf("%s has no mutant", e.Name())
		}
	}
	var texts []string
	for _, m := range mutants {
		texts = append(texts, m.String())
		if _, err := runsOf(m.file); err != nil {
			t.Error(err)
		}
	}
	for line := range strings.Lines(known) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' && !slices.Contains(texts, line) {
			t.Errorf("survivors.txt names what is no mutant: %s", line)
		}
	}
}

func TestScore(t *testing.T) {
	t.Parallel()
	if err := score(map[string][2]int{"a.lua": {8, 10}}, []string{"x", "y"}); err != nil {
		t.Error(err)
	}
	if err := score(map[string][2]int{"a.lua": {7, 10}}, nil); err == nil {
		t.Error("70 % are enough")
	}
	if err := score(nil, nil); err == nil {
		t.Error("nothing is enough")
	}
}
