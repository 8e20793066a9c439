package fulloncache_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/fullon/fulloncache"
)

func TestOrderStatusSpellings(t *testing.T) {
	t.Parallel()
	for status, want := range map[fulloncache.OrderStatus][]string{
		fulloncache.OrderNew:    {"new"},
		"Open":                  {"open"},
		fulloncache.OrderFilled: {"closed", "filled"},
		"Cancel":                {"canceled", "cancel", "cancelled"},
		"LOST":                  {"lost"},
	} {
		got := status.Spellings()
		if !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", status, got, want)
		}
		for _, s := range got {
			if !fulloncache.OrderStatus(strings.ToUpper(s)).Is(status) && s != "lost" {
				t.Errorf("%s is not %s", s, status)
			}
		}
	}
}
