package fulloncache

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fullon/fulloncache/internal/aside"
	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
)

// ExchangeCache knows the exchanges and who has an account at which: the
// database's rows, read once and then answered from memory, and the queues of
// errors of the exchanges' WebSocket connections. [Config].ExchangeStore is the
// database.
//
//	account, err := c.Exchanges.Get(ctx, 12)           // from memory, mostly
//	mine, err := c.Exchanges.ByUser(ctx, account.UserID)
//	id, err := c.Exchanges.CatalogueID(ctx, "kraken")
//
// What it caches, what it promises and its errors are as [SymbolCache] says; the
// time is [Config].TTLExchange.
type ExchangeCache struct {
	*observer
	store     ExchangeStore
	keys      keys.Space
	accounts  aside.Cache[[]Exchange] // one each
	users     aside.Cache[[]Exchange] // a user's
	catalogue aside.Cache[*catalogue]
	ttl       time.Duration
	negative  time.Duration
	errors    errorQueue
}

// catalogue is the cached catalogue of exchanges.
type catalogue struct {
	sorted []CatExchange // by name
	byName map[string]int
	byID   map[int64]int
}

func newExchangeCache(cfg Config, db *kv.Client, space keys.Space) *ExchangeCache {
	o := newObserver("exchange", cfg)
	accounts := func(name string, decode func(key string, elements map[string]string) ([]Exchange, error)) aside.Cache[[]Exchange] {
		return aside.New(db, aside.Options[[]Exchange]{
			Name: name, Generation: space.ExchangeGeneration(),
			TTL: cfg.TTLExchange, NegativeTTL: cfg.TTLNegative, LoadTimeout: cfg.LoadTimeout, NearSize: cfg.NearMaxEntries,
			Decode: decode, OnEvent: o.aside,
		})
	}
	return &ExchangeCache{
		observer: o,
		store:    cfg.ExchangeStore,
		keys:     space,
		accounts: accounts("exchanges", func(key string, elements map[string]string) ([]Exchange, error) {
			list, err := decodeExchanges(elements, func(e Exchange) bool { return space.Exchange(e.ID) == key })
			if err == nil && len(list) == 0 {
				err = errors.New("it holds no account")
			}
			return list, err
		}),
		users: accounts("users' exchanges", func(key string, elements map[string]string) ([]Exchange, error) {
			return decodeExchanges(elements, func(e Exchange) bool { return space.UserExchanges(e.UserID) == key })
		}),
		catalogue: aside.New(db, aside.Options[*catalogue]{
			Name: "catalogue", Generation: space.ExchangeGeneration(),
			TTL: cfg.TTLExchange, NegativeTTL: cfg.TTLNegative, LoadTimeout: cfg.LoadTimeout, NearSize: 1,
			Decode: decodeCatalogue, OnEvent: o.aside,
		}),
		ttl:      cfg.TTLExchange,
		negative: cfg.TTLNegative,
		errors:   errorQueue{db, cfg.ErrorQueueCap},
	}
}

// decodeExchanges reads the elements of an entry of accounts that belong there.
func decodeExchanges(elements map[string]string, belongs func(Exchange) bool) ([]Exchange, error) {
	list := make([]Exchange, 0, len(elements))
	for id, text := range elements {
		var e Exchange
		err := json.Unmarshal([]byte(text), &e)
		if err == nil {
			err = e.Validate()
		}
		if err == nil && (strconv.FormatInt(e.ID, 10) != id || !belongs(e)) {
			err = fmt.Errorf("it is account %d of user %d", e.ID, e.UserID)
		}
		if err != nil {
			return nil, &elementError{id, err}
		}
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b Exchange) int { return cmp.Compare(a.ID, b.ID) })
	return list, nil
}

func decodeCatalogue(_ string, elements map[string]string) (*catalogue, error) {
	c := &catalogue{sorted: make([]CatExchange, 0, len(elements)), byName: make(map[string]int), byID: make(map[int64]int)}
	for name, text := range elements {
		var e CatExchange
		err := json.Unmarshal([]byte(text), &e)
		if err == nil {
			err = e.Validate()
		}
		if err == nil && e.Name != name {
			err = fmt.Errorf("it is of %q", e.Name)
		}
		if err != nil {
			return nil, &elementError{name, err}
		}
		c.sorted = append(c.sorted, e)
	}
	slices.SortFunc(c.sorted, func(a, b CatExchange) int { return strings.Compare(a.Name, b.Name) })
	for i, e := range c.sorted {
		c.byName[e.Name], c.byID[e.ID] = i, i
	}
	return c, nil
}

// rows encodes rows of the database as elements of an entry.
func rows[T any](list []T, name func(T) string) (map[string]string, bool, error) {
	m := make(map[string]string, len(list))
	for _, row := range list {
		text, err := json.Marshal(row)
		if err != nil {
			return nil, false, err
		}
		m[name(row)] = string(text)
	}
	return m, true, nil
}

// loader makes a load of a query that returns rows; nil without a store.
func loader[T any](c *ExchangeCache, query func(ctx context.Context) ([]T, error), name func(T) string) aside.Load {
	if c.store == nil {
		return nil
	}
	return func(ctx context.Context) (map[string]string, bool, error) {
		list, err := query(ctx)
		if err != nil {
			return absentRow(err)
		}
		return rows(list, name)
	}
}

// read returns an entry of accounts.
func (c *ExchangeCache) read(ctx context.Context, call *call, from aside.Cache[[]Exchange], key string, query func(ctx context.Context) ([]Exchange, error)) ([]Exchange, error) {
	e, err := from.Get(ctx, key, loader(c, query, func(e Exchange) string { return strconv.FormatInt(e.ID, 10) }))
	call.near(e.Hit)
	switch {
	case err != nil:
		return nil, loadError(err, "ExchangeStore")
	case e.Absent:
		return nil, ErrNotFound
	}
	list := slices.Clone(e.Value)
	for i := range list {
		list[i].Loaded = e.Loaded
	}
	return list, nil
}

// Get returns a user's account at an exchange by its id. It returns
// [ErrNotFound] if the database does not have it.
func (c *ExchangeCache) Get(ctx context.Context, id int64) (e Exchange, err error) {
	call := c.begin(ctx, "exchange.get", Market{})
	defer func() { call.end(ctx, err) }()
	if err := validID("ex_id", id, 1); err != nil {
		return e, err
	}
	list, err := c.read(ctx, &call, c.accounts, c.keys.Exchange(id), func(ctx context.Context) ([]Exchange, error) {
		e, err := c.store.ByID(ctx, id)
		return []Exchange{e}, err
	})
	if err != nil {
		return e, fmt.Errorf("exchange account %d: %w", id, err)
	}
	return list[0], nil
}

// ByUser returns a user's accounts in the order of their ids; none is no error.
func (c *ExchangeCache) ByUser(ctx context.Context, user int64) (list []Exchange, err error) {
	call := c.begin(ctx, "exchange.by_user", Market{})
	defer func() { call.end(ctx, err) }()
	if err := validID("uid", user, 1); err != nil {
		return nil, err
	}
	list, err = c.read(ctx, &call, c.users, c.keys.UserExchanges(user), func(ctx context.Context) ([]Exchange, error) {
		return c.store.ByUser(ctx, user)
	})
	if err != nil {
		return nil, fmt.Errorf("exchange accounts of user %d: %w", user, err)
	}
	return list, nil
}

// all returns the catalogue's entry: one that was loaded within that time, if one
// is given and the database answers.
func (c *ExchangeCache) all(ctx context.Context, call *call, within time.Duration) (aside.Entry[*catalogue], error) {
	load := loader(c, func(ctx context.Context) ([]CatExchange, error) { return c.store.Catalogue(ctx) },
		func(e CatExchange) string { return e.Name })
	e, err := c.catalogue.GetWithin(ctx, c.keys.CatExchanges(), within, load)
	call.near(e.Hit)
	switch {
	case err != nil:
		return e, fmt.Errorf("catalogue of exchanges: %w", loadError(err, "ExchangeStore"))
	case e.Absent:
		e.Value = &catalogue{}
	}
	return e, nil
}

// find returns the exchange of the catalogue that index finds. One that is not
// there may be new: all who ask share one query per TTLNegative.
func (c *ExchangeCache) find(ctx context.Context, call *call, index func(*catalogue) (int, bool)) (CatExchange, error) {
	var all aside.Entry[*catalogue]
	for _, within := range [...]time.Duration{0, c.negative} {
		var err error
		if all, err = c.all(ctx, call, within); err != nil {
			return CatExchange{}, err
		}
		if i, ok := index(all.Value); ok {
			e := all.Value.sorted[i]
			e.Loaded = all.Loaded
			return e, nil
		}
	}
	return CatExchange{}, lacking(all.Outdated, c.keys.CatExchanges(), all.Loaded)
}

// Catalogue returns all exchanges of the catalogue in the order of their names.
func (c *ExchangeCache) Catalogue(ctx context.Context) (list []CatExchange, err error) {
	call := c.begin(ctx, "exchange.catalogue", Market{})
	defer func() { call.end(ctx, err) }()
	all, err := c.all(ctx, &call, 0)
	if err != nil {
		return nil, err
	}
	list = slices.Clone(all.Value.sorted)
	for i := range list {
		list[i].Loaded = all.Loaded
	}
	return list, nil
}

// ByName returns an exchange of the catalogue, with its parameters, by its name.
// It returns [ErrNotFound] if the catalogue does not have it.
func (c *ExchangeCache) ByName(ctx context.Context, name string) (e CatExchange, err error) {
	call := c.begin(ctx, "exchange.by_name", Market{Exchange: name})
	defer func() { call.end(ctx, err) }()
	return c.byName(ctx, &call, name)
}

func (c *ExchangeCache) byName(ctx context.Context, call *call, name string) (CatExchange, error) {
	if err := storedName("exchange", name); err != nil {
		return CatExchange{}, err
	}
	e, err := c.find(ctx, call, func(all *catalogue) (int, bool) { i, ok := all.byName[name]; return i, ok })
	if err != nil {
		return CatExchange{}, fmt.Errorf("exchange %s: %w", printable(name), err)
	}
	return e, nil
}

// CatalogueID returns the id that an exchange has in the catalogue. It returns
// [ErrNotFound] if it has none.
func (c *ExchangeCache) CatalogueID(ctx context.Context, name string) (id int64, err error) {
	call := c.begin(ctx, "exchange.catalogue_id", Market{Exchange: name})
	defer func() { call.end(ctx, err) }()
	e, err := c.byName(ctx, &call, name)
	return e.ID, err
}

// CatalogueName returns the name of an exchange by its id in the catalogue. It
// returns [ErrNotFound] if there is none.
func (c *ExchangeCache) CatalogueName(ctx context.Context, id int64) (name string, err error) {
	call := c.begin(ctx, "exchange.catalogue_name", Market{})
	defer func() { call.end(ctx, err) }()
	if err := validID("cat_ex_id", id, 1); err != nil {
		return "", err
	}
	e, err := c.find(ctx, &call, func(all *catalogue) (int, bool) { i, ok := all.byID[id]; return i, ok })
	if err != nil {
		return "", fmt.Errorf("exchange %d: %w", id, err)
	}
	return e.Name, nil
}

// Params returns the parameters of an exchange of the catalogue by their names.
// It returns [ErrNotFound] if the catalogue does not have the exchange.
func (c *ExchangeCache) Params(ctx context.Context, exchange string) (params map[string]string, err error) {
	call := c.begin(ctx, "exchange.params", Market{Exchange: exchange})
	defer func() { call.end(ctx, err) }()
	e, err := c.byName(ctx, &call, exchange)
	return maps.Clone(e.Params), err // what the near cache holds is shared
}

// Add stores a new account in the database and returns it as stored; every
// process reads it from then on. It returns [ErrInvalid], [ErrDuplicate],
// [ErrForeignKey] if there is no such user or exchange of the catalogue,
// [ErrUnsupported] without [Config].ExchangeStore, and [ErrUnavailable]: with
// Redis unavailable nothing is written.
func (c *ExchangeCache) Add(ctx context.Context, e Exchange) (stored Exchange, err error) {
	call := c.begin(ctx, "exchange.add", Market{})
	defer func() { call.end(ctx, err) }()
	if err := e.Validate(); err != nil {
		return stored, err
	}
	if c.store == nil {
		return stored, errNoStore("ExchangeStore")
	}
	err = c.accounts.Write(ctx, []string{c.keys.UserExchanges(e.UserID)}, func(ctx context.Context) (err error) {
		stored, err = c.store.Add(ctx, e)
		return err
	})
	if err != nil {
		return stored, err
	}
	// Somebody may have asked for its id when nobody had it. Whoever added it may
	// have given up meanwhile.
	if err := c.accounts.Invalidate(context.WithoutCancel(ctx), c.keys.Exchange(stored.ID)); err != nil {
		return stored, fmt.Errorf("account %d is stored, but may be unknown for %s: %w", stored.ID, c.negative, err)
	}
	return stored, nil
}

// Update changes the account of that id and user in the database and returns it
// as stored; no process reads the old one from then on. It returns [ErrNotFound]
// if the user has no such account, else the errors of [ExchangeCache.Add].
func (c *ExchangeCache) Update(ctx context.Context, e Exchange) (stored Exchange, err error) {
	call := c.begin(ctx, "exchange.update", Market{})
	defer func() { call.end(ctx, err) }()
	if err := validID("ex_id", e.ID, 1); err != nil {
		return stored, err
	}
	if err := e.Validate(); err != nil {
		return stored, err
	}
	if c.store == nil {
		return stored, errNoStore("ExchangeStore")
	}
	err = c.accounts.Write(ctx, []string{c.keys.Exchange(e.ID), c.keys.UserExchanges(e.UserID)}, func(ctx context.Context) (err error) {
		stored, err = c.store.Update(ctx, e)
		return err
	})
	return stored, err
}

// Delete deletes an account from the database; no process reads it from then on.
// It returns [ErrNotFound] if there is none, [ErrForeignKey] while others refer
// to it, else the errors of [ExchangeCache.Add].
func (c *ExchangeCache) Delete(ctx context.Context, id int64) (err error) {
	call := c.begin(ctx, "exchange.delete", Market{})
	defer func() { call.end(ctx, err) }()
	if err := validID("ex_id", id, 1); err != nil {
		return err
	}
	if c.store == nil {
		return errNoStore("ExchangeStore")
	}
	return c.accounts.Write(ctx, []string{c.keys.Exchange(id)}, func(ctx context.Context) error {
		e, err := c.store.ByID(ctx, id) // whose it is
		if err != nil {
			return err
		}
		return c.users.Write(ctx, []string{c.keys.UserExchanges(e.UserID)}, func(ctx context.Context) error {
			return c.store.Delete(ctx, id)
		})
	})
}

// AddCatalogue stores a new exchange, with its parameters, in the database's
// catalogue and returns it as stored. Its errors are those of
// [ExchangeCache.Add].
func (c *ExchangeCache) AddCatalogue(ctx context.Context, e CatExchange) (stored CatExchange, err error) {
	call := c.begin(ctx, "exchange.add_catalogue", Market{Exchange: e.Name})
	defer func() { call.end(ctx, err) }()
	if err := e.Validate(); err != nil {
		return stored, err
	}
	if c.store == nil {
		return stored, errNoStore("ExchangeStore")
	}
	// Somebody may have asked for its symbols when nobody had it.
	err = c.catalogue.Write(ctx, []string{c.keys.CatExchanges(), c.keys.Symbols(e.Name)}, func(ctx context.Context) (err error) {
		stored, err = c.store.AddCatalogue(ctx, e)
		return err
	})
	return stored, err
}

// UpdateCatalogue changes the exchange of that id in the database's catalogue,
// replaces its parameters, and returns it as stored. A new name makes all cached
// accounts void, since they carry it. Its errors are those of
// [ExchangeCache.Update].
func (c *ExchangeCache) UpdateCatalogue(ctx context.Context, e CatExchange) (stored CatExchange, err error) {
	call := c.begin(ctx, "exchange.update_catalogue", Market{Exchange: e.Name})
	defer func() { call.end(ctx, err) }()
	if err := e.Validate(); err != nil {
		return stored, err
	}
	update := func(ctx context.Context) (err error) {
		stored, err = c.store.UpdateCatalogue(ctx, e)
		return err
	}
	renamed := false
	err = c.writeCatalogue(ctx, e.ID, func(ctx context.Context, was string) error {
		if renamed = was != e.Name; !renamed {
			return update(ctx)
		}
		return c.catalogue.Write(ctx, []string{c.keys.Symbols(e.Name)}, update)
	})
	if !renamed {
		return stored, err
	}
	// The outcome of a write that fails may be unknown, and whoever wanted it may
	// have given up: the accounts go all the same.
	if all := c.accounts.InvalidateAll(context.WithoutCancel(ctx)); all != nil {
		err = errors.Join(err, fmt.Errorf("accounts may carry the old name of exchange %d for %s: %w", e.ID, c.ttl, all))
	}
	return stored, err
}

// writeCatalogue runs write, which changes or deletes an exchange of the
// catalogue. Meanwhile nothing is cached of the catalogue, nor of the symbols of
// the name that the exchange had.
func (c *ExchangeCache) writeCatalogue(ctx context.Context, id int64, write func(ctx context.Context, was string) error) error {
	if err := validID("cat_ex_id", id, 1); err != nil {
		return err
	}
	if c.store == nil {
		return errNoStore("ExchangeStore")
	}
	return c.catalogue.Write(ctx, []string{c.keys.CatExchanges()}, func(ctx context.Context) error {
		list, err := c.store.Catalogue(ctx)
		if err != nil {
			return err
		}
		i := slices.IndexFunc(list, func(e CatExchange) bool { return e.ID == id })
		if i < 0 {
			return fmt.Errorf("exchange %d: %w", id, ErrNotFound)
		}
		was := list[i].Name
		return c.catalogue.Write(ctx, []string{c.keys.Symbols(was)}, func(ctx context.Context) error {
			return write(ctx, was)
		})
	})
}

// DeleteCatalogue deletes an exchange and its parameters from the database's
// catalogue. It returns [ErrNotFound] if there is none and [ErrForeignKey] while
// accounts or symbols refer to it, else the errors of [ExchangeCache.Add].
func (c *ExchangeCache) DeleteCatalogue(ctx context.Context, id int64) (err error) {
	call := c.begin(ctx, "exchange.delete_catalogue", Market{})
	defer func() { call.end(ctx, err) }()
	return c.writeCatalogue(ctx, id, func(ctx context.Context, _ string) error {
		return c.store.DeleteCatalogue(ctx, id)
	})
}

// Invalidate makes every process read an account from the database again. It is
// for who changed the database by other means.
func (c *ExchangeCache) Invalidate(ctx context.Context, ids ...int64) (err error) {
	call := c.begin(ctx, "exchange.invalidate", Market{})
	defer func() { call.end(ctx, err) }()
	return c.invalidate(ctx, "ex_id", ids, c.keys.Exchange)
}

// InvalidateUser makes every process read the users' accounts from the database
// again.
func (c *ExchangeCache) InvalidateUser(ctx context.Context, users ...int64) (err error) {
	call := c.begin(ctx, "exchange.invalidate_user", Market{})
	defer func() { call.end(ctx, err) }()
	return c.invalidate(ctx, "uid", users, c.keys.UserExchanges)
}

func (c *ExchangeCache) invalidate(ctx context.Context, what string, ids []int64, key func(int64) string) error {
	names := make([]string, len(ids))
	for i, id := range ids {
		if err := validID(what, id, 1); err != nil {
			return err
		}
		names[i] = key(id)
	}
	return c.accounts.Invalidate(ctx, names...)
}

// InvalidateAll makes every process read all accounts and the catalogue from the
// database again.
func (c *ExchangeCache) InvalidateAll(ctx context.Context) (err error) {
	call := c.begin(ctx, "exchange.invalidate_all", Market{})
	defer func() { call.end(ctx, err) }()
	return c.accounts.InvalidateAll(ctx) // all are of one generation
}

// distrust makes what is cached due for a reload.
func (c *ExchangeCache) distrust() {
	c.accounts.Distrust()
	c.users.Distrust()
	c.catalogue.Distrust()
}

// WSError is an error of a WebSocket connection to an exchange.
type WSError struct {
	Exchange string    `json:"exchange"`
	Message  string    `json:"message"` // Message says what happened.
	Time     time.Time `json:"time"`    // Time is when, UTC; PushWSError fills it if zero.
}

// PushWSError appends an error to the queue of its exchange, atomically dropping
// the oldest beyond [Config].ErrorQueueCap. Exchange and message must not be
// empty ([ErrInvalid]).
func (c *ExchangeCache) PushWSError(ctx context.Context, e WSError) (err error) {
	call := c.begin(ctx, "exchange.push_ws_error", Market{Exchange: e.Exchange})
	defer func() { call.end(ctx, err) }()
	if err := validName("exchange", e.Exchange); err != nil {
		return err
	}
	if e.Message == "" {
		return fmt.Errorf("%w: error of %s: message is empty", ErrInvalid, printable(e.Exchange))
	}
	if e.Time.IsZero() {
		e.Time = time.Now()
	}
	e.Time = e.Time.UTC()
	return c.errors.push(ctx, c.keys.WSError(e.Exchange), e)
}

// PopWSError takes the oldest error off an exchange's queue, waiting up to wait
// for one; a wait of 0 does not wait. It returns [ErrNotFound] if there is none
// in time. Cancelling the context loses no error. Each error goes to one caller.
func (c *ExchangeCache) PopWSError(ctx context.Context, exchange string, wait time.Duration) (e WSError, err error) {
	call := c.begin(ctx, "exchange.pop_ws_error", Market{Exchange: exchange})
	defer func() { call.end(ctx, err) }()
	if err := validName("exchange", exchange); err != nil {
		return e, err
	}
	if err := c.errors.pop(ctx, c.keys.WSError(exchange), wait, &e); err != nil {
		return WSError{}, err
	}
	return e, nil
}
