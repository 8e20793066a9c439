package aside_test

import (
	"context"
	"testing"
	"time"

	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/testenv"
)

// The loader of a caller that keeps one costs nothing; one that holds something
// of its caller's is an allocation of the caller's.
func BenchmarkNearHit(b *testing.B) {
	ctx := testenv.Context(b)
	m := newMode(b, kv.Options{Addrs: []string{testenv.Redis(b).Addr()}})
	p, key := m.process(b, short(time.Hour)), m.key("k")
	rows := things{"x": "1"}
	load := func(context.Context) (map[string]string, bool, error) { return rows, true, nil }
	testenv.Eventually(b, "a hit", func() (bool, string) {
		e, err := p.Get(ctx, key, load)
		must(b, err)
		return e.Hit, "none"
	})
	b.ReportAllocs()
	for b.Loop() {
		if e, err := p.Get(ctx, key, load); err != nil || !e.Hit {
			b.Fatal(e, err)
		}
	}
}
