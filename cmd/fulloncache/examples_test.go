package main

import (
	"strings"
	"testing"

	"github.com/fullon/fulloncache/examples"
)

func TestExamplesCommand(t *testing.T) {
	s := newShell(t)
	list, _ := s.call(0, "", "examples")
	for _, e := range examples.List() {
		if !strings.Contains(list, e.Name+" ") || !strings.Contains(list, e.About) {
			t.Errorf("the list lacks %s:\n%s", e.Name, list)
		}
	}
	source, _ := s.call(0, "", "examples", "positions")
	if source != examples.All()["positions"] {
		t.Errorf("got %.80q", source)
	}
	if got := decode[map[string]string](t, first(s.call(0, "", "examples", "positions", "--json"))); got["source"] != source {
		t.Errorf("got %.80q", got)
	}
	if out, _ := s.call(0, "", "examples", "run", "positions"); !strings.Contains(out, "t3: flat 0 cost 0, profit 69.999, fees 0.3") {
		t.Errorf("ran to %s", out)
	}
	for _, args := range [][]string{{"examples", "nonsense"}, {"examples", "run", "nonsense"}, {"examples", "run"}} {
		if _, errs := s.call(2, "", args...); errs == "" {
			t.Errorf("%v: no error is shown", args)
		}
	}
}
