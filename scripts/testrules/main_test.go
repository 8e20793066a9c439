package main

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestRun(t *testing.T) {
	const header = "package p\nimport \"time\"\nfunc TestX(t *testing.T) {\n"
	for _, tc := range []struct {
		name, file, text string
		allowed          map[string]string
		want             string // "" when nothing is wrong
	}{
		{"a clean test", "a_test.go", header + "poll(t, time.Second)\n}", nil, ""},
		{"a sleep", "a_test.go", header + "time.Sleep(1)\n}", nil, "a_test.go:4:1: in TestX: time.Sleep"},
		{"a sleep handed on", "a_test.go", header + "wait(time.Sleep)\n}", nil, "time.Sleep"},
		{"a sleep under another name", "a_test.go", "package p\nimport clock \"time\"\nfunc f() { clock.Sleep(1) }", nil, "time.Sleep"},
		{"a sleep by another means", "a_test.go", header + "<-time.After(1)\n}", nil, "waits for nothing but time"},
		{"a timeout", "a_test.go", header + "select {\ncase <-done:\ncase <-time.After(1):\n}\n}", nil, ""},
		{"a clock of the project's own", "a_test.go", "package p\nfunc f(time clock) { time.Sleep(1) }", nil, ""},
		{"a sleep that is allowed", "x/a_test.go", header + "time.Sleep(1)\n}", map[string]string{"x/a_test.go:TestX": "paces a feed"}, ""},
		{"a sleep allowed elsewhere", "x/a_test.go", header + "time.Sleep(1)\n}", map[string]string{"x/a_test.go:TestY": "paces a feed"}, "in TestX"},
		{"an allowance for nothing", "a_test.go", header + "}", map[string]string{"a_test.go:TestX": "paces a feed"}, "take it off the list"},
		{"a skip", "a_test.go", header + "t.Skip()\n}", nil, "Skip: a test that cannot run has failed"},
		{"a skip of another kind", "a_test.go", header + "t.Run(\"\", func(tb *testing.T) { tb.Skipf(\"no redis\") })\n}", nil, "Skipf"},
		{"a skip is never allowed", "a_test.go", header + "t.SkipNow()\n}", map[string]string{"a_test.go:TestX": "?"}, "SkipNow"},
		{"not a test", "a.go", header + "time.Sleep(1)\n}", nil, ""},
		{"test data", "testdata/a_test.go", header + "time.Sleep(1)\n}", nil, ""},
		{"not Go", "a_test.go", "package", nil, "expected 'IDENT'"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := run(fstest.MapFS{tc.file: {Data: []byte(tc.text)}}, tc.allowed)
			if tc.want == "" && err != nil {
				t.Errorf("refused: %v", err)
			}
			if tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want it to say %q", err, tc.want)
			}
		})
	}
}
