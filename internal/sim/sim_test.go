package sim_test

import (
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/sim"
)

func TestSeedDetermines(t *testing.T) {
	t.Parallel()
	a, b, other := sim.New(1), sim.New(1), sim.New(2)
	now, same := time.Unix(1_800_000_000, 0), 0
	for i := range 1000 {
		now = now.Add(time.Millisecond)
		x, y, z := a.Next(now), b.Next(now), other.Next(now)
		if !x.Equal(y) {
			t.Fatalf("tick %d: %v and %v of the same seed", i, x, y)
		}
		if x.Equal(z) {
			same++
		}
	}
	if same > 10 {
		t.Fatalf("%d ticks of another seed are the same", same)
	}
}

func TestLooksLikeMarkets(t *testing.T) {
	t.Parallel()
	m := sim.New(7)
	seen := make(map[fulloncache.Market]fulloncache.Tick)
	now := time.Unix(1_800_000_000, 0)
	for range 200_000 {
		tick := m.Next(now)
		if err := tick.Validate(); err != nil {
			t.Fatal(err)
		}
		if tick.Bid.Decimal.Cmp(tick.Ask.Decimal) > 0 {
			t.Fatalf("bid %s above ask %s", tick.Bid, tick.Ask)
		}
		if tick.Last.Valid == (tick.Exchange == "binance") {
			t.Fatalf("last of %s: %v", tick.Market, tick.Last)
		}
		if old, ok := seen[tick.Market]; ok && tick.Volume.Valid && tick.Volume.Decimal.Cmp(old.Volume.Decimal) < 0 {
			t.Fatalf("volume of %s fell from %s to %s", tick.Market, old.Volume, tick.Volume)
		}
		seen[tick.Market] = tick
	}
	if want := len(sim.Exchanges) * len(sim.Symbols()); len(seen) != want {
		t.Fatalf("%d markets, want %d", len(seen), want)
	}
}
