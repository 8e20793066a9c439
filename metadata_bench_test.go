package fulloncache_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// benchSymbols is a client whose record holds n symbols of kraken, all cached.
func benchSymbols(tb testing.TB, n int) (c *fulloncache.Client, key string) {
	tb.Helper()
	ctx, prefix := testenv.Context(tb), testenv.Prefix(tb)
	cfg := fulloncache.Config{URL: testenv.Redis(tb).URL(), KeyPrefix: prefix}
	memory(tb).set(&cfg)
	c = open(tb, cfg)
	batch := []fulloncache.Symbol{symbolOf(btc)}
	for i := 1; i < n; i++ {
		batch = append(batch, symbolOf(fulloncache.Market{Exchange: "kraken", Symbol: fmt.Sprintf("C%03d/USDT", i)}))
	}
	_, err := c.Symbols.Upsert(ctx, batch)
	must(tb, err)
	for range 2 {
		_, err = c.Symbols.List(ctx, "kraken")
		must(tb, err)
	}
	return c, prefix + ":symbols:kraken"
}

func benchRueidis(tb testing.TB) rueidis.Client {
	tb.Helper()
	opt, err := rueidis.ParseURL(testenv.Redis(tb).URL())
	must(tb, err)
	opt.ForceSingleClient = true
	client, err := rueidis.NewClient(opt)
	must(tb, err)
	tb.Cleanup(client.Close)
	return client
}

// A symbol that is known costs no more than one allocation.
func TestSymbolGetNearAllocations(t *testing.T) {
	ctx := testenv.Context(t)
	c, _ := benchSymbols(t, 300)
	if n := testing.AllocsPerRun(1000, func() {
		if _, err := c.Symbols.Get(ctx, btc); err != nil {
			t.Error(err)
		}
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkSymbolGetNear(b *testing.B) {
	ctx := testenv.Context(b)
	c, _ := benchSymbols(b, 300)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := c.Symbols.Get(ctx, btc); err != nil {
			b.Fatal(err)
		}
	}
}

// What BenchmarkSymbolGetNear is measured by.
func BenchmarkSymbolGetNearBare(b *testing.B) {
	ctx := testenv.Context(b)
	client := benchRueidis(b)
	key := testenv.Prefix(b)
	must(b, client.Do(ctx, client.B().Set().Key(key).Value("value").Build()).Error())
	b.ReportAllocs()
	for b.Loop() {
		if err := client.DoCache(ctx, client.B().Get().Key(key).Cache(), time.Hour).Error(); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSymbolList300(b *testing.B) {
	ctx := testenv.Context(b)
	c, _ := benchSymbols(b, 300)
	b.ReportAllocs()
	for b.Loop() {
		fulloncache.ForgetSymbols(c, "kraken")
		if list, err := c.Symbols.List(ctx, "kraken"); err != nil || len(list) != 300 {
			b.Fatal(len(list), err)
		}
	}
}

// What BenchmarkSymbolList300 is measured by.
func BenchmarkSymbolList300Bare(b *testing.B) {
	ctx := testenv.Context(b)
	_, key := benchSymbols(b, 300)
	client := benchRueidis(b)
	b.ReportAllocs()
	for b.Loop() {
		if m, err := client.Do(ctx, client.B().Hgetall().Key(key).Build()).AsStrMap(); err != nil || len(m) != 301 {
			b.Fatal(len(m), err)
		}
	}
}
