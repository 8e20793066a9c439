package fulloncache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/puzpuzpuz/xsync/v4"

	"github.com/fullon/fulloncache/internal/aside"
	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
)

// SymbolCache knows how exactly each exchange trades what: the database's
// symbols, read once and then answered from memory. [Config].SymbolStore is the
// database.
//
//	s, err := c.Symbols.Get(ctx, btc)              // from memory, mostly
//	fmt.Println(s.Decimals, s.OrderMin)
//	all, err := c.Symbols.List(ctx, "kraken")
//
// All symbols of an exchange are cached together, under one key: one query
// brings them however many callers and processes miss at once. They are good for
// [Config].TTLSymbol; a symbol that they lack is asked for again after
// [Config].TTLNegative. Writes go through to the database and make every process
// read anew; so does a change in PostgreSQL, where a program runs orm's Listen.
// While the database is down the cache goes on answering: Symbol.Loaded tells
// the age.
//
// Reads return [ErrNotFound] for what the database does not have, [LoadError]
// (an [ErrUnavailable]) if it is not cached and the database cannot answer, and
// [ErrUnavailable] if Redis cannot: an unknown symbol never looks like an absent
// one. What lies corrupt in Redis is read anew from the database
// ([EventCorrupt] tells).
type SymbolCache struct {
	*observer
	store     SymbolStore
	keys      keys.Space
	cache     aside.Cache[*symbolTable]
	negative  time.Duration
	exchanges *ExchangeCache
	ticks     tickDeleter
	// tables are by exchange, so that a hit of the near cache allocates nothing.
	tables symbolKeys
	most   int // of them
}

// tickDeleter is what a symbol's deletion needs of the ticker cache.
type tickDeleter interface {
	Delete(ctx context.Context, m Market) error
}

// symbolKeys is an [xsync.Map], behind an interface for the reason that [kv.Bounded] gives.
type symbolKeys interface {
	Load(exchange string) (symbolKey, bool)
	Store(exchange string, key symbolKey)
	Size() int
	Clear()
}

// symbolKey is where an exchange's symbols are cached, and what fills it.
type symbolKey struct {
	key  string
	load aside.Load
}

// symbolTable is what is cached of an exchange.
type symbolTable struct {
	names   []string // sorted
	symbols []Symbol // by names
}

func newSymbolCache(cfg Config, db *kv.Client, space keys.Space, exchanges *ExchangeCache, ticks tickDeleter) *SymbolCache {
	o := newObserver("symbol", cfg)
	return &SymbolCache{
		observer: o,
		store:    cfg.SymbolStore,
		keys:     space,
		cache: aside.New(db, aside.Options[*symbolTable]{
			Name: "symbols", Generation: space.SymbolGeneration(),
			TTL: cfg.TTLSymbol, NegativeTTL: cfg.TTLNegative, LoadTimeout: cfg.LoadTimeout, NearSize: cfg.NearMaxEntries,
			Decode: func(key string, elements map[string]string) (*symbolTable, error) {
				return decodeSymbols(elements, func(exchange string) bool { return space.Symbols(exchange) == key })
			},
			OnEvent: o.aside,
		}),
		negative:  cfg.TTLNegative,
		exchanges: exchanges,
		ticks:     ticks,
		tables:    xsync.NewMap[string, symbolKey](),
		most:      cfg.NearMaxEntries,
	}
}

// decodeSymbols reads the elements of the entry of the exchange that it belongs to.
func decodeSymbols(elements map[string]string, belongs func(exchange string) bool) (*symbolTable, error) {
	t := &symbolTable{names: make([]string, 0, len(elements)), symbols: make([]Symbol, len(elements))}
	for name := range elements {
		t.names = append(t.names, name)
	}
	slices.Sort(t.names)
	exchange := "" // the one that is known to be right
	for i, name := range t.names {
		s := &t.symbols[i]
		err := s.decode(elements[name])
		if err == nil && s.Symbol != name {
			err = fmt.Errorf("it is of %q", s.Symbol)
		}
		if err == nil && s.Exchange != exchange {
			if exchange = s.Exchange; !belongs(exchange) {
				err = fmt.Errorf("it is of exchange %q", exchange)
			}
		}
		if err != nil {
			return nil, &elementError{name, err}
		}
	}
	return t, nil
}

// table is where an exchange's symbols are cached.
func (c *SymbolCache) table(exchange string) symbolKey {
	if k, ok := c.tables.Load(exchange); ok {
		return k
	}
	k := symbolKey{key: c.keys.Symbols(exchange)}
	if c.store != nil {
		k.load = func(ctx context.Context) (map[string]string, bool, error) {
			list, err := c.store.ByExchange(ctx, exchange)
			if err != nil {
				return absentRow(err)
			}
			elements := make(map[string]string, len(list))
			for _, s := range list {
				elements[s.Symbol] = s.encode()
			}
			return elements, true, nil
		}
	}
	if c.tables.Size() >= c.most {
		c.tables.Clear() // somebody asks for all kinds of names
	}
	c.tables.Store(exchange, k)
	return k
}

// read returns the entry of an exchange's symbols: one that was loaded within that
// time, if one is given and the database answers.
func (c *SymbolCache) read(ctx context.Context, call *call, exchange string, within time.Duration) (aside.Entry[*symbolTable], error) {
	if err := storedName("exchange", exchange); err != nil {
		return aside.Entry[*symbolTable]{}, err
	}
	k := c.table(exchange)
	e, err := c.cache.GetWithin(ctx, k.key, within, k.load)
	call.near(e.Hit)
	return symbolsOf(exchange, e, err)
}

// symbolsOf is what an entry says of an exchange.
func symbolsOf(exchange string, e aside.Entry[*symbolTable], err error) (aside.Entry[*symbolTable], error) {
	switch {
	case err != nil:
		return e, loadError(err, "SymbolStore")
	case e.Absent:
		return e, fmt.Errorf("exchange %s: %w", printable(exchange), ErrNotFound)
	}
	return e, nil
}

// Get returns a symbol: from memory, at most one round trip, or, on a miss, one
// query for all symbols of its exchange. It returns [ErrNotFound] if the
// database does not have it; a symbol new to the database is seen at once where
// changes are listened for, else after [Config].TTLNegative.
func (c *SymbolCache) Get(ctx context.Context, market Market) (s Symbol, err error) {
	call := c.begin(ctx, "symbol.get", market)
	defer func() { call.end(ctx, err) }()
	return c.get(ctx, &call, market)
}

func (c *SymbolCache) get(ctx context.Context, call *call, market Market) (Symbol, error) {
	if err := storedMarket(market); err != nil {
		return Symbol{}, err
	}
	// One that is not there may be new: all who ask share one query per TTLNegative.
	var e aside.Entry[*symbolTable]
	for _, within := range [...]time.Duration{0, c.negative} {
		var err error
		if e, err = c.read(ctx, call, market.Exchange, within); err != nil {
			return Symbol{}, fmt.Errorf("symbol %s: %w", market, err)
		}
		if i, ok := slices.BinarySearch(e.Value.names, market.Symbol); ok {
			s := e.Value.symbols[i]
			s.Loaded = e.Loaded
			return s, nil
		}
	}
	return Symbol{}, fmt.Errorf("symbol %s: %w", market, lacking(e.Outdated, c.keys.Symbols(market.Exchange), e.Loaded))
}

// list returns all symbols, each with when it was read.
func (t *symbolTable) list(loaded time.Time) []Symbol {
	all := slices.Clone(t.symbols)
	for i := range all {
		all[i].Loaded = loaded
	}
	return all
}

// List returns all symbols of an exchange in the order of their names: from
// memory, or in one round trip. It returns [ErrNotFound] if the catalogue does
// not have the exchange.
func (c *SymbolCache) List(ctx context.Context, exchange string) (list []Symbol, err error) {
	call := c.begin(ctx, "symbol.list", Market{Exchange: exchange})
	defer func() { call.end(ctx, err) }()
	return c.list(ctx, &call, exchange)
}

func (c *SymbolCache) list(ctx context.Context, call *call, exchange string) ([]Symbol, error) {
	e, err := c.read(ctx, call, exchange, 0)
	if err != nil {
		return nil, err
	}
	return e.Value.list(e.Loaded), nil
}

// ListByID is [SymbolCache.List] by the exchange's id in the catalogue.
func (c *SymbolCache) ListByID(ctx context.Context, catExchangeID int64) (list []Symbol, err error) {
	call := c.begin(ctx, "symbol.list_by_id", Market{})
	defer func() { call.end(ctx, err) }()
	exchange, err := c.exchanges.CatalogueName(ctx, catExchangeID)
	if err != nil {
		return nil, err
	}
	return c.list(ctx, &call, exchange)
}

// GetByID is [SymbolCache.Get] by the exchange's id in the catalogue.
func (c *SymbolCache) GetByID(ctx context.Context, catExchangeID int64, symbol string) (s Symbol, err error) {
	call := c.begin(ctx, "symbol.get_by_id", Market{Symbol: symbol})
	defer func() { call.end(ctx, err) }()
	exchange, err := c.exchanges.CatalogueName(ctx, catExchangeID)
	if err != nil {
		return Symbol{}, err
	}
	return c.get(ctx, &call, Market{Exchange: exchange, Symbol: symbol})
}

// Exists reports whether the database has a symbol. Its errors are those of
// [SymbolCache.Get], without ErrNotFound: unknown is not absent.
func (c *SymbolCache) Exists(ctx context.Context, market Market) (ok bool, err error) {
	call := c.begin(ctx, "symbol.exists", market)
	defer func() { call.end(ctx, err) }()
	_, err = c.get(ctx, &call, market)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Search returns the symbols whose name, base or quote contains text, in any
// case, of the exchanges given or of all in the catalogue, sorted by exchange and
// name. An empty text matches all. With an error it returns what it found at the
// exchanges that could be read.
func (c *SymbolCache) Search(ctx context.Context, text string, exchanges ...string) (found []Symbol, err error) {
	call := c.begin(ctx, "symbol.search", Market{Symbol: text})
	defer func() { call.end(ctx, err) }()
	if len(exchanges) == 0 {
		catalogue, err := c.exchanges.Catalogue(ctx)
		if err != nil {
			return nil, err
		}
		for _, e := range catalogue {
			exchanges = append(exchanges, e.Name)
		}
	}
	exchanges = slices.Compact(slices.Sorted(slices.Values(exchanges)))
	text = strings.ToLower(text)
	var errs []error
	for _, exchange := range exchanges {
		e, err := c.read(ctx, &call, exchange, 0)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, s := range e.Value.symbols {
			for _, name := range []string{s.Symbol, s.Base, s.Quote} {
				if strings.Contains(strings.ToLower(name), text) {
					s.Loaded = e.Loaded
					found = append(found, s)
					break
				}
			}
		}
	}
	return found, errors.Join(errs...)
}

// Refresh reads an exchange's symbols from the database, whatever is cached, and
// returns them.
func (c *SymbolCache) Refresh(ctx context.Context, exchange string) (list []Symbol, err error) {
	call := c.begin(ctx, "symbol.refresh", Market{Exchange: exchange})
	defer func() { call.end(ctx, err) }()
	if err := storedName("exchange", exchange); err != nil {
		return nil, err
	}
	k := c.table(exchange)
	if k.load == nil {
		return nil, &LoadError{Key: k.key, Err: errNoStore("SymbolStore")}
	}
	e, err := c.cache.Refresh(ctx, k.key, k.load)
	if e, err = symbolsOf(exchange, e, err); err != nil {
		return nil, err
	}
	return e.Value.list(e.Loaded), nil
}

// Add stores a new symbol in the database and returns it as stored; every
// process reads it from then on. It returns [ErrInvalid], [ErrDuplicate],
// [ErrForeignKey] if the catalogue does not have the exchange, [ErrUnsupported]
// without [Config].SymbolStore, and [ErrUnavailable]: with Redis unavailable
// nothing is written.
func (c *SymbolCache) Add(ctx context.Context, s Symbol) (stored Symbol, err error) {
	call := c.begin(ctx, "symbol.add", s.Market)
	defer func() { call.end(ctx, err) }()
	return c.write(ctx, s, SymbolStore.Add)
}

// Update changes the symbol of that market in the database and returns it as
// stored; no process reads the old one from then on. It returns [ErrNotFound] if
// there is none, else the errors of [SymbolCache.Add].
func (c *SymbolCache) Update(ctx context.Context, s Symbol) (stored Symbol, err error) {
	call := c.begin(ctx, "symbol.update", s.Market)
	defer func() { call.end(ctx, err) }()
	return c.write(ctx, s, SymbolStore.Update)
}

func (c *SymbolCache) write(ctx context.Context, s Symbol, write func(SymbolStore, context.Context, Symbol) (Symbol, error)) (stored Symbol, err error) {
	if err := s.Validate(); err != nil {
		return stored, err
	}
	if c.store == nil {
		return stored, errNoStore("SymbolStore")
	}
	err = c.cache.Write(ctx, []string{c.keys.Symbols(s.Exchange)}, func(ctx context.Context) (err error) {
		stored, err = write(c.store, ctx, s)
		return err
	})
	return stored, err
}

// Upsert stores symbols: those that are new are added, and their exchanges to
// the catalogue; the others are updated. It is one transaction of bulk
// statements: all are stored, or none. If a symbol is invalid or a market comes
// twice, it returns a [BatchError] with the error of each, and writes nothing.
func (c *SymbolCache) Upsert(ctx context.Context, symbols []Symbol) (done Upserted, err error) {
	call := c.begin(ctx, "symbol.upsert", Market{})
	defer func() { call.end(ctx, err) }()
	if c.store == nil {
		return done, errNoStore("SymbolStore")
	}
	errs := make([]error, len(symbols))
	first := make(map[Market]int, len(symbols))
	tables := make(map[string]bool)
	for i, s := range symbols {
		errs[i] = s.Validate()
		if at, twice := first[s.Market]; twice && errs[i] == nil {
			errs[i] = fmt.Errorf("%w: symbol %s comes twice: elements %d and %d", ErrInvalid, s.Market, at, i)
		}
		first[s.Market] = i
		if errs[i] == nil {
			tables[c.keys.Symbols(s.Exchange)] = true
		}
	}
	if err := batchError(errs); err != nil {
		return done, err
	}
	if len(symbols) == 0 {
		return done, nil
	}
	tables[c.keys.CatExchanges()] = true
	err = c.cache.Write(ctx, slices.Sorted(maps.Keys(tables)), func(ctx context.Context) (err error) {
		done, err = c.store.Upsert(ctx, symbols)
		return err
	})
	return done, err
}

// Delete deletes a symbol from the database and then its ticker; those who
// follow the ticker learn of it. It returns [ErrNotFound] if the database does
// not have it, and deletes the ticker all the same, so that calling again after
// any error completes it.
func (c *SymbolCache) Delete(ctx context.Context, market Market) (err error) {
	call := c.begin(ctx, "symbol.delete", market)
	defer func() { call.end(ctx, err) }()
	if err := storedMarket(market); err != nil {
		return err
	}
	if c.store == nil {
		return errNoStore("SymbolStore")
	}
	err = c.cache.Write(ctx, []string{c.keys.Symbols(market.Exchange)}, func(ctx context.Context) error {
		return c.store.Delete(ctx, market)
	})
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	if terr := c.ticks.Delete(ctx, market); terr != nil && !errors.Is(terr, ErrNotFound) {
		return fmt.Errorf("the symbol is deleted, its ticker is not: %w", terr)
	}
	return err
}

// Invalidate makes every process read the exchanges' symbols from the database
// again. It is for who changed the database by other means.
func (c *SymbolCache) Invalidate(ctx context.Context, exchanges ...string) (err error) {
	call := c.begin(ctx, "symbol.invalidate", Market{})
	defer func() { call.end(ctx, err) }()
	tables := make([]string, len(exchanges))
	for i, exchange := range exchanges {
		if err := validName("exchange", exchange); err != nil {
			return err
		}
		tables[i] = c.keys.Symbols(exchange)
	}
	return c.cache.Invalidate(ctx, tables...)
}

// InvalidateAll is [SymbolCache.Invalidate] of all exchanges.
func (c *SymbolCache) InvalidateAll(ctx context.Context) (err error) {
	call := c.begin(ctx, "symbol.invalidate_all", Market{})
	defer func() { call.end(ctx, err) }()
	return c.cache.InvalidateAll(ctx)
}

// Precision is how exactly a market is traded, for [TickCache.RoundPrice] and
// [TickCache.RoundSize], which ask this cache unless [Config].Precision is set.
func (c *SymbolCache) Precision(ctx context.Context, market Market) (Precision, error) {
	s, err := c.Get(ctx, market)
	return s.Precision(), err
}
