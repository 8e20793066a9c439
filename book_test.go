package fulloncache_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
)

// book is a record of exchanges, accounts and symbols in memory.
type book struct {
	mu        sync.Mutex
	last      int64 // id that was given
	users     map[int64]bool
	catalogue map[int64]fulloncache.CatExchange
	accounts  map[int64]fulloncache.Exchange
	symbols   map[fulloncache.Market]fulloncache.Symbol
}

func newBook() *book {
	return &book{
		users:     make(map[int64]bool),
		catalogue: make(map[int64]fulloncache.CatExchange),
		accounts:  make(map[int64]fulloncache.Exchange),
		symbols:   make(map[fulloncache.Market]fulloncache.Symbol),
	}
}

func (b *book) id() int64 { b.last++; return b.last }

// user adds a user.
func (b *book) user() int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	id := b.id()
	b.users[id] = true
	return id
}

// named returns the exchange of the catalogue of that name.
func (b *book) named(name string) (e fulloncache.CatExchange, ok bool) {
	for _, e := range b.catalogue {
		if e.Name == name {
			return e, true
		}
	}
	return e, false
}

// exchangeBook is the book as an ExchangeStore.
type exchangeBook struct{ *book }

func (b exchangeBook) ByID(_ context.Context, id int64) (fulloncache.Exchange, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.accounts[id]
	if !ok {
		return e, fmt.Errorf("account %d: %w", id, fulloncache.ErrNotFound)
	}
	return b.whole(e), nil
}

// whole fills in what is stored elsewhere.
func (b exchangeBook) whole(e fulloncache.Exchange) fulloncache.Exchange {
	e.CatName = b.catalogue[e.CatExchangeID].Name
	return e
}

func (b exchangeBook) ByUser(_ context.Context, user int64) (list []fulloncache.Exchange, _ error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.accounts {
		if e.UserID == user {
			list = append(list, b.whole(e))
		}
	}
	slices.SortFunc(list, func(x, y fulloncache.Exchange) int { return cmp.Compare(x.ID, y.ID) })
	return list, nil
}

func (b exchangeBook) Add(_ context.Context, e fulloncache.Exchange) (fulloncache.Exchange, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e.ID, e.Created = 0, time.Now().UTC().Truncate(time.Microsecond)
	if err := b.fits(e); err != nil {
		return fulloncache.Exchange{}, err
	}
	e.ID = b.id()
	b.accounts[e.ID] = e
	return b.whole(e), nil
}

// fits checks an account's references, and that its user has no other like it.
func (b exchangeBook) fits(e fulloncache.Exchange) error {
	if _, ok := b.catalogue[e.CatExchangeID]; !ok || !b.users[e.UserID] {
		return fmt.Errorf("account %q: %w", e.Name, fulloncache.ErrForeignKey)
	}
	for _, o := range b.accounts {
		if o.ID != e.ID && o.UserID == e.UserID && o.CatExchangeID == e.CatExchangeID && o.Name == e.Name {
			return fmt.Errorf("account %q: %w", e.Name, fulloncache.ErrDuplicate)
		}
	}
	return nil
}

func (b exchangeBook) Update(_ context.Context, e fulloncache.Exchange) (fulloncache.Exchange, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was, ok := b.accounts[e.ID]
	if !ok || was.UserID != e.UserID {
		return fulloncache.Exchange{}, fmt.Errorf("account %d: %w", e.ID, fulloncache.ErrNotFound)
	}
	if err := b.fits(e); err != nil {
		return fulloncache.Exchange{}, err
	}
	e.Created = was.Created
	b.accounts[e.ID] = e
	return b.whole(e), nil
}

func (b exchangeBook) Delete(_ context.Context, id int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.accounts[id]; !ok {
		return fmt.Errorf("account %d: %w", id, fulloncache.ErrNotFound)
	}
	delete(b.accounts, id)
	return nil
}

func (b exchangeBook) Catalogue(context.Context) ([]fulloncache.CatExchange, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := slices.Collect(maps.Values(b.catalogue))
	for i := range list {
		list[i].Params = maps.Clone(list[i].Params)
	}
	slices.SortFunc(list, func(x, y fulloncache.CatExchange) int { return cmp.Compare(x.Name, y.Name) })
	return list, nil
}

func (b exchangeBook) AddCatalogue(_ context.Context, e fulloncache.CatExchange) (fulloncache.CatExchange, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.named(e.Name); ok {
		return fulloncache.CatExchange{}, fmt.Errorf("exchange %q: %w", e.Name, fulloncache.ErrDuplicate)
	}
	e.ID, e.Params = b.id(), maps.Clone(e.Params)
	b.catalogue[e.ID] = e
	return e, nil
}

func (b exchangeBook) UpdateCatalogue(_ context.Context, e fulloncache.CatExchange) (fulloncache.CatExchange, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was, ok := b.catalogue[e.ID]
	if !ok {
		return fulloncache.CatExchange{}, fmt.Errorf("exchange %d: %w", e.ID, fulloncache.ErrNotFound)
	}
	if o, ok := b.named(e.Name); ok && o.ID != e.ID {
		return fulloncache.CatExchange{}, fmt.Errorf("exchange %q: %w", e.Name, fulloncache.ErrDuplicate)
	}
	e.Params = maps.Clone(e.Params)
	b.catalogue[e.ID] = e
	for m, s := range b.symbols {
		if m.Exchange == was.Name {
			delete(b.symbols, m)
			s.Exchange = e.Name
			b.symbols[s.Market] = s
		}
	}
	return e, nil
}

func (b exchangeBook) DeleteCatalogue(_ context.Context, id int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	was, ok := b.catalogue[id]
	if !ok {
		return fmt.Errorf("exchange %d: %w", id, fulloncache.ErrNotFound)
	}
	used := false
	for m := range b.symbols {
		used = used || m.Exchange == was.Name
	}
	for _, e := range b.accounts {
		used = used || e.CatExchangeID == id
	}
	if used {
		return fmt.Errorf("exchange %d: %w", id, fulloncache.ErrForeignKey)
	}
	delete(b.catalogue, id)
	return nil
}

// symbolBook is the book as a SymbolStore.
type symbolBook struct{ *book }

func (b symbolBook) ByExchange(_ context.Context, exchange string) (list []fulloncache.Symbol, _ error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.named(exchange); !ok {
		return nil, fmt.Errorf("exchange %q: %w", exchange, fulloncache.ErrNotFound)
	}
	for m, s := range b.symbols {
		if m.Exchange == exchange {
			list = append(list, s)
		}
	}
	slices.SortFunc(list, func(x, y fulloncache.Symbol) int { return cmp.Compare(x.Symbol, y.Symbol) })
	return list, nil
}

func (b symbolBook) Add(_ context.Context, s fulloncache.Symbol) (fulloncache.Symbol, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.named(s.Exchange)
	if !ok {
		return fulloncache.Symbol{}, fmt.Errorf("symbol %s: %w", s.Market, fulloncache.ErrForeignKey)
	}
	if _, ok := b.symbols[s.Market]; ok {
		return fulloncache.Symbol{}, fmt.Errorf("symbol %s: %w", s.Market, fulloncache.ErrDuplicate)
	}
	s.ID, s.CatExchangeID, s.Loaded = b.id(), e.ID, time.Time{}
	b.symbols[s.Market] = s
	return s, nil
}

func (b symbolBook) Update(_ context.Context, s fulloncache.Symbol) (fulloncache.Symbol, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was, ok := b.symbols[s.Market]
	if !ok {
		return fulloncache.Symbol{}, fmt.Errorf("symbol %s: %w", s.Market, fulloncache.ErrNotFound)
	}
	s.ID, s.CatExchangeID, s.Loaded = was.ID, was.CatExchangeID, time.Time{}
	b.symbols[s.Market] = s
	return s, nil
}

func (b symbolBook) Delete(_ context.Context, m fulloncache.Market) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.symbols[m]; !ok {
		return fmt.Errorf("symbol %s: %w", m, fulloncache.ErrNotFound)
	}
	delete(b.symbols, m)
	return nil
}

func (b symbolBook) Upsert(ctx context.Context, symbols []fulloncache.Symbol) (done fulloncache.Upserted, err error) {
	for _, s := range symbols {
		b.mu.Lock()
		if _, ok := b.named(s.Exchange); !ok {
			id := b.id()
			b.catalogue[id] = fulloncache.CatExchange{ID: id, Name: s.Exchange}
		}
		was, had := b.symbols[s.Market]
		b.mu.Unlock()
		s.ID, s.CatExchangeID = was.ID, was.CatExchangeID
		switch {
		case !had:
			_, err = b.Add(ctx, s)
			done.Added++
		case !s.Equal(was):
			_, err = b.Update(ctx, s)
			done.Updated++
		}
		if err != nil {
			return fulloncache.Upserted{}, err
		}
	}
	return done, nil
}

// watch counts the calls of stores and breaks them on demand.
type watch struct {
	mu     sync.Mutex
	counts map[string]int
	err    error
	lost   error
	hung   *hang
	gates  []*gate
}

// gate stops one call: on its way to the store, or with the answer on its way
// back.
type gate struct {
	method  string
	back    bool
	arrived chan struct{} // closed when the call is there
	open    chan struct{} // close it to let the call go on
}

// stop stops the next call of a method.
func (w *watch) stop(method string, back bool) *gate {
	w.mu.Lock()
	defer w.mu.Unlock()
	g := &gate{method, back, make(chan struct{}), make(chan struct{})}
	w.gates = append(w.gates, g)
	return g
}

// await waits until a call has arrived.
func (g *gate) await(t testing.TB) {
	t.Helper()
	select {
	case <-g.arrived:
	case <-time.After(10 * time.Second):
		t.Fatalf("nobody called %s", g.method)
	}
}

// pass is a call's passage of the gates at one end of its way.
func (w *watch) pass(method string, back bool) {
	w.mu.Lock()
	i := slices.IndexFunc(w.gates, func(g *gate) bool { return g.method == method && g.back == back })
	if i < 0 {
		w.mu.Unlock()
		return
	}
	g := w.gates[i]
	w.gates = slices.Delete(w.gates, i, i+1)
	w.mu.Unlock()
	close(g.arrived)
	<-g.open
}

// fail makes all calls fail; nil mends it.
func (w *watch) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = err
}

// lose makes all calls do what they do and then fail: the answer is lost. nil
// mends it.
func (w *watch) lose(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lost = err
}

// hang is that calls do not come back.
type hang struct {
	over chan struct{} // closed when it is over
	deaf bool          // to the end of contexts
}

func (h *hang) heeds(ctx context.Context) <-chan struct{} {
	if h.deaf {
		return nil
	}
	return ctx.Done()
}

// hang makes all calls hang until the function that it returns is called, or
// until their context ends, unless they are deaf to it.
func (w *watch) hang(t testing.TB, deaf bool) (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := &hang{make(chan struct{}), deaf}
	w.hung = h
	end = sync.OnceFunc(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.hung = nil
		close(h.over)
	})
	t.Cleanup(end)
	return end
}

// count is how often methods were called.
func (w *watch) count(methods ...string) (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, m := range methods {
		n += w.counts[m]
	}
	return n
}

// calls is how often any method was called.
func (w *watch) calls() (n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.counts {
		n += c
	}
	return n
}

func watched[T any](ctx context.Context, w *watch, method string, do func() (T, error)) (v T, err error) {
	w.mu.Lock()
	w.counts[method]++
	broken, hung := w.err, w.hung
	w.mu.Unlock()
	if hung != nil {
		select {
		case <-hung.over:
			return v, errors.New("the store hung")
		case <-hung.heeds(ctx):
			return v, ctx.Err()
		}
	}
	w.pass(method, false)
	if broken != nil {
		return v, broken
	}
	v, err = do()
	w.pass(method, true)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err == nil {
		err = w.lost
	}
	return v, err
}

func watchedVoid(ctx context.Context, w *watch, method string, do func() error) error {
	_, err := watched(ctx, w, method, func() (struct{}, error) { return struct{}{}, do() })
	return err
}

// watchedExchanges is an ExchangeStore under watch.
type watchedExchanges struct {
	s fulloncache.ExchangeStore
	w *watch
}

func (x watchedExchanges) ByID(ctx context.Context, id int64) (fulloncache.Exchange, error) {
	return watched(ctx, x.w, "by id", func() (fulloncache.Exchange, error) { return x.s.ByID(ctx, id) })
}

func (x watchedExchanges) ByUser(ctx context.Context, user int64) ([]fulloncache.Exchange, error) {
	return watched(ctx, x.w, "by user", func() ([]fulloncache.Exchange, error) { return x.s.ByUser(ctx, user) })
}

func (x watchedExchanges) Add(ctx context.Context, e fulloncache.Exchange) (fulloncache.Exchange, error) {
	return watched(ctx, x.w, "add account", func() (fulloncache.Exchange, error) { return x.s.Add(ctx, e) })
}

func (x watchedExchanges) Update(ctx context.Context, e fulloncache.Exchange) (fulloncache.Exchange, error) {
	return watched(ctx, x.w, "update account", func() (fulloncache.Exchange, error) { return x.s.Update(ctx, e) })
}

func (x watchedExchanges) Delete(ctx context.Context, id int64) error {
	return watchedVoid(ctx, x.w, "delete account", func() error { return x.s.Delete(ctx, id) })
}

func (x watchedExchanges) Catalogue(ctx context.Context) ([]fulloncache.CatExchange, error) {
	return watched(ctx, x.w, "catalogue", func() ([]fulloncache.CatExchange, error) { return x.s.Catalogue(ctx) })
}

func (x watchedExchanges) AddCatalogue(ctx context.Context, e fulloncache.CatExchange) (fulloncache.CatExchange, error) {
	return watched(ctx, x.w, "add exchange", func() (fulloncache.CatExchange, error) { return x.s.AddCatalogue(ctx, e) })
}

func (x watchedExchanges) UpdateCatalogue(ctx context.Context, e fulloncache.CatExchange) (fulloncache.CatExchange, error) {
	return watched(ctx, x.w, "update exchange", func() (fulloncache.CatExchange, error) { return x.s.UpdateCatalogue(ctx, e) })
}

func (x watchedExchanges) DeleteCatalogue(ctx context.Context, id int64) error {
	return watchedVoid(ctx, x.w, "delete exchange", func() error { return x.s.DeleteCatalogue(ctx, id) })
}

// watchedSymbols is a SymbolStore under watch.
type watchedSymbols struct {
	s fulloncache.SymbolStore
	w *watch
}

func (x watchedSymbols) ByExchange(ctx context.Context, exchange string) ([]fulloncache.Symbol, error) {
	return watched(ctx, x.w, "by exchange", func() ([]fulloncache.Symbol, error) { return x.s.ByExchange(ctx, exchange) })
}

func (x watchedSymbols) Add(ctx context.Context, s fulloncache.Symbol) (fulloncache.Symbol, error) {
	return watched(ctx, x.w, "add symbol", func() (fulloncache.Symbol, error) { return x.s.Add(ctx, s) })
}

func (x watchedSymbols) Update(ctx context.Context, s fulloncache.Symbol) (fulloncache.Symbol, error) {
	return watched(ctx, x.w, "update symbol", func() (fulloncache.Symbol, error) { return x.s.Update(ctx, s) })
}

func (x watchedSymbols) Delete(ctx context.Context, m fulloncache.Market) error {
	return watchedVoid(ctx, x.w, "delete symbol", func() error { return x.s.Delete(ctx, m) })
}

func (x watchedSymbols) Upsert(ctx context.Context, symbols []fulloncache.Symbol) (fulloncache.Upserted, error) {
	return watched(ctx, x.w, "upsert", func() (fulloncache.Upserted, error) { return x.s.Upsert(ctx, symbols) })
}
