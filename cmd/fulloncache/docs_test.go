package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/fullon/fulloncache/docs"
)

func TestDocsCommand(t *testing.T) {
	s := newShell(t)
	list, _ := s.call(0, "", "docs")
	for _, want := range []string{"quickstart ", "api_reference tick ", docs.QueueGuide.About()} {
		if !strings.Contains(list, want) {
			t.Errorf("the list lacks %q:\n%s", want, list)
		}
	}
	if out, _ := s.call(0, "", "docs", "queue_guide"); out != docs.QueueGuide.Text() {
		t.Errorf("queue_guide: got %.80q", out)
	}
	if out, _ := s.call(0, "", "docs", "api_reference", "tick"); out != docs.APITick.Text() || !strings.Contains(out, "func (c *TickCache) Mirror(") {
		t.Errorf("api_reference tick: got %.80q", out)
	}
	if out, _ := s.call(0, "", "docs", "--all"); !strings.HasPrefix(out, docs.Whole()) {
		t.Errorf("--all: got %.80q", out)
	}
	g := decode[guide](t, first(s.call(0, "", "docs", "errors", "--json")))
	if g != (guide{"errors", docs.Errors.About(), docs.Errors.Text()}) {
		t.Errorf("got %+v", g)
	}
	lines, _ := s.call(0, "", "docs", "--all", "--json")
	n := 0
	for line := range strings.Lines(lines) {
		var g guide
		if err := json.Unmarshal([]byte(line), &g); err != nil || g.Text == "" {
			t.Errorf("%.80q: %v", line, err)
		}
		n++
	}
	if want := len(docs.Topics()) + 1; n != want { // and the commands
		t.Errorf("%d guides, want %d", n, want)
	}
	for _, tc := range []struct {
		args []string
		says string
	}{
		{[]string{"docs", "nonsense"}, "one of quickstart, "},
		{[]string{"docs", "api_reference", "nonsense"}, "one of client, base, tick, "},
		{[]string{"docs", "quickstart", "--all"}, `leave "quickstart" out`},
	} {
		if _, errs := s.call(2, "", tc.args...); !strings.Contains(errs, tc.says) {
			t.Errorf("%v: got %q, want it to say %q", tc.args, errs, tc.says)
		}
	}
	if out, _ := s.call(0, "", "__complete", "docs", "api_reference", ""); !strings.Contains(out, "ohlcv\n") || strings.Contains(out, "quickstart") {
		t.Errorf("completion: %s", out)
	}
}
