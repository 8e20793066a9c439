package fulloncache_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// record is a database of exchanges and symbols, empty at first.
type record struct {
	exchanges fulloncache.ExchangeStore
	symbols   fulloncache.SymbolStore
	user      func(t testing.TB) int64 // adds a user
	rounds    int                      // of tests that write again and again: a database is slow
}

// roundsOf is how often tests write, unless they have time.
func roundsOf(short int) int {
	if testenv.Soak() {
		return 10_000
	}
	return short
}

// memory is a record in memory.
func memory(testing.TB) record {
	b := newBook()
	return record{exchangeBook{b}, symbolBook{b}, func(testing.TB) int64 { return b.user() }, roundsOf(60)}
}

// under returns the record under a watch.
func (r record) under() (record, *watch) {
	w := &watch{counts: make(map[string]int)}
	r.exchanges, r.symbols = watchedExchanges{r.exchanges, w}, watchedSymbols{r.symbols, w}
	return r, w
}

// set makes the record the one of a configuration.
func (r record) set(cfg *fulloncache.Config) {
	cfg.ExchangeStore, cfg.SymbolStore = r.exchanges, r.symbols
}

// operations collects a client's operations.
type operations struct {
	mu   sync.Mutex
	list []fulloncache.Operation
}

func (o *operations) hook() fulloncache.Hooks {
	return fulloncache.Hooks{Operation: func(op fulloncache.Operation) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.list = append(o.list, op)
	}}
}

func (o *operations) last() fulloncache.Operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.list[len(o.list)-1]
}

// meta is what a test of the two caches gets.
type meta struct {
	*suite
	rec   record
	watch *watch
	bare  *fulloncache.Client // a process without a record
	c     *fulloncache.Client
	other *fulloncache.Client // another process
	ops   *operations         // of c
	ev    *events             // of c
}

// newMeta opens the processes of a test, with settings of its own.
func newMeta(s *suite, rec record, tune func(*fulloncache.Config)) *meta {
	s.Helper()
	m := &meta{suite: s, ops: &operations{}, ev: &events{}}
	// Beside other tests a database is slow, and so are signs of life.
	m.cfg.LoadTimeout, m.cfg.NearMaxStaleness = 30*time.Second, 30*time.Second
	if tune != nil {
		tune(&m.cfg)
	}
	m.bare = m.open()
	m.rec, m.watch = rec.under()
	m.rec.set(&m.cfg)
	m.other = m.open()
	cfg := m.cfg
	cfg.Hooks = []fulloncache.Hooks{m.ops.hook(), m.ev.hook()}
	m.c = open(m.T, cfg)
	return m
}

// both are the two processes, the one that writes first.
func (m *meta) both() []*fulloncache.Client { return []*fulloncache.Client{m.c, m.other} }

// costs checks how many queries of the record a call makes.
func (m *meta) costs(queries int, call func()) {
	m.Helper()
	before := m.watch.calls()
	call()
	if got := m.watch.calls() - before; got != queries {
		m.Fatalf("%d queries, want %d", got, queries)
	}
}

// hit checks whether the last operation of c was answered from memory.
func (m *meta) hit(name string, want fulloncache.Hit) {
	m.Helper()
	if want == fulloncache.HitNear && m.mode.name == "embedded" {
		want = fulloncache.HitMiss // it has no near cache
	}
	if op := m.ops.last(); op.Name != name || op.Hit != want {
		m.Fatalf("%s was a %q, want %s to be a %q", op.Name, op.Hit, name, want)
	}
}

// list adds an exchange to the catalogue.
func (m *meta) list(name string) fulloncache.CatExchange {
	m.Helper()
	e, err := m.c.Exchanges.AddCatalogue(m.ctx, fulloncache.CatExchange{Name: name})
	must(m, err)
	return e
}

// account adds an account.
func (m *meta) account(user int64, at fulloncache.CatExchange, name string) fulloncache.Exchange {
	m.Helper()
	e, err := m.c.Exchanges.Add(m.ctx, fulloncache.Exchange{UserID: user, CatExchangeID: at.ID, Name: name, Active: true})
	must(m, err)
	return e
}

// symbol adds a symbol.
func (m *meta) symbol(market fulloncache.Market) fulloncache.Symbol {
	m.Helper()
	s, err := m.c.Symbols.Add(m.ctx, symbolOf(market))
	must(m, err)
	return s
}

func symbolOf(market fulloncache.Market) fulloncache.Symbol {
	base, quote, _ := strings.Cut(market.Symbol, "/")
	if base == "" {
		base = market.Symbol
	}
	return fulloncache.Symbol{Market: market, Base: base, Quote: quote, Decimals: 1, LotDecimals: 8, OrderMin: some("0.0001"), UpdateFrame: "1h", Backtest: 30}
}

func names(list []fulloncache.Symbol) []string {
	names := make([]string, len(list))
	for i, s := range list {
		names[i] = s.Symbol
	}
	return names
}

// wantRow checks a row that was read from a cache.
func wantRow[T interface{ Equal(T) bool }](t testing.TB, got T, err error, want T) {
	t.Helper()
	must(t, err)
	if !got.Equal(want) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

// wantRows checks rows that were read from a cache.
func wantRows[T interface{ Equal(T) bool }](t testing.TB, got []T, err error, want ...T) {
	t.Helper()
	must(t, err)
	if !slices.EqualFunc(got, want, T.Equal) {
		t.Fatalf("got %+v, want %+v", got, want)
	}
}

// seen waits until a process shows what another has written.
func seen[T interface{ Equal(T) bool }](t testing.TB, want T, read func() (T, error)) {
	t.Helper()
	testenv.Eventually(t, "the write", func() (bool, string) {
		got, err := read()
		return err == nil && got.Equal(want), fmt.Sprintf("%+v, %v", got, err)
	})
}

// gone waits until a process shows that another has deleted it.
func gone[T any](t testing.TB, read func() (T, error)) {
	t.Helper()
	testenv.Eventually(t, "the deletion", func() (bool, string) {
		got, err := read()
		return errors.Is(err, fulloncache.ErrNotFound), fmt.Sprintf("%+v, %v", got, err)
	})
}

// oddNames are names that must come through as they are.
var oddNames = []string{
	"it's", `"quoted"`, `back\slash`, "BTC/USD:USDT", "{a}{b}", "50%", "*", " ", "a b", "line\nbreak", "\ttab\x01", "é", "日本", "\u2028", "<&>",
	"'; DROP TABLE symbols; --", "\ufffd", strings.Repeat("x", 256),
}

// unfit are names that no database holds, with what the error says.
var unfit = map[string]string{
	"":                         "is empty",
	"null\x00byte":             "null bytes",
	"not \xff UTF-8":           "UTF-8",
	strings.Repeat("x", 257):   "at most 256",
	strings.Repeat("é", 5_000): "10000 bytes",
}

// TestMetadata runs the conformance suite of the two caches over a record in
// memory.
func TestMetadata(t *testing.T) { metadataSuite(t, memory) }

// metadataSuite runs the conformance suite over a kind of record.
func metadataSuite(t *testing.T, open func(t testing.TB) record) {
	t.Helper()
	t.Parallel()
	tests := make(map[string]metaTest)
	maps.Copy(tests, exchangeTests)
	maps.Copy(tests, symbolTests)
	maps.Copy(tests, orderTests)
	for _, name := range slices.Sorted(maps.Keys(tests)) {
		t.Run(name, func(t *testing.T) {
			everyMode(t, func(s *suite) {
				test := tests[name]
				test.run(newMeta(s, open(s), test.tune))
			})
		})
	}
}

// metaTest is a test of the suite, and its settings.
type metaTest struct {
	tune func(*fulloncache.Config)
	run  func(m *meta)
}

// forgetful are settings with which the cache asks the record again soon.
func forgetful(cfg *fulloncache.Config) { cfg.TTLNegative = 300 * time.Millisecond }
