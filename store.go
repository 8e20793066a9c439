package fulloncache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fullon/fulloncache/internal/aside"
)

// ExchangeStore is the record of exchanges and accounts behind the
// [ExchangeCache]: the package orm's ExchangeRepository, or a program's own.
//
// Lookups return [ErrNotFound] for what does not exist; writes return the row as
// it is stored, [ErrDuplicate], [ErrForeignKey] or [ErrNotFound]. Any other error
// means that the answer is unknown. A write that returned is seen by every read
// that starts afterwards, and none that returned goes on: it heeds its context.
type ExchangeStore interface {
	// ByID returns a user's account.
	ByID(ctx context.Context, id int64) (Exchange, error)
	// ByUser returns a user's accounts in the order of their ids; none is no error.
	ByUser(ctx context.Context, user int64) ([]Exchange, error)
	Add(ctx context.Context, e Exchange) (Exchange, error)
	// Update changes the account of that id and user.
	Update(ctx context.Context, e Exchange) (Exchange, error)
	Delete(ctx context.Context, id int64) error

	// Catalogue returns all exchanges with their parameters, in the order of their
	// names.
	Catalogue(ctx context.Context) ([]CatExchange, error)
	AddCatalogue(ctx context.Context, e CatExchange) (CatExchange, error)
	// UpdateCatalogue changes the exchange of that id, and replaces its parameters.
	UpdateCatalogue(ctx context.Context, e CatExchange) (CatExchange, error)
	DeleteCatalogue(ctx context.Context, id int64) error
}

// SymbolStore is the record of symbols behind the [SymbolCache]: the package
// orm's SymbolRepository, or a program's own. Its errors are those of
// [ExchangeStore].
type SymbolStore interface {
	// ByExchange returns all symbols of an exchange of the catalogue, in the order
	// of their names; [ErrNotFound] if the catalogue does not have the exchange.
	ByExchange(ctx context.Context, exchange string) ([]Symbol, error)
	Add(ctx context.Context, s Symbol) (Symbol, error)
	// Update changes the symbol of that market.
	Update(ctx context.Context, s Symbol) (Symbol, error)
	Delete(ctx context.Context, m Market) error
	// Upsert adds the symbols that are new, and their exchanges to the catalogue,
	// and updates the others, in one transaction of bulk statements. A market comes
	// once at most.
	Upsert(ctx context.Context, symbols []Symbol) (Upserted, error)
}

// Upserted counts what an upsert did; rows that were as asked for count as
// neither.
type Upserted struct {
	Added   int `json:"added"`
	Updated int `json:"updated"`
}

// errNoStore says that there is no database to ask.
func errNoStore(setting string) error {
	return fmt.Errorf("%w: no database is configured: set Config.%s", ErrUnsupported, setting)
}

// absentRow is what a load returns after an error: what does not exist is none.
func absentRow(err error) (elements map[string]string, found bool, _ error) {
	if errors.Is(err, ErrNotFound) {
		return nil, false, nil
	}
	return nil, false, err
}

// loadError is the public form of an engine's error; setting is the store's.
func loadError(err error, setting string) error {
	var failed *aside.LoadError
	switch {
	case !errors.As(err, &failed):
		return err
	case errors.Is(err, aside.ErrNoLoad):
		return &LoadError{Key: failed.Key, Err: errNoStore(setting)}
	}
	return &LoadError{Key: failed.Key, Err: failed.Err}
}

// lacking is the error of a read that misses something in an entry: it does not
// exist, unless the entry is an old one that could not be loaded anew.
func lacking(outdated bool, key string, loaded time.Time) error {
	if outdated {
		return &LoadError{Key: key, Err: fmt.Errorf("it was not there at %s, and may have come since", loaded.UTC().Format(time.RFC3339))}
	}
	return ErrNotFound
}

// elementError is what is wrong with one element of an entry.
type elementError struct {
	name string
	err  error
}

func (e *elementError) Error() string { return fmt.Sprintf("element %q: %v", e.name, e.err) }

// Unwrap returns the cause.
func (e *elementError) Unwrap() error { return e.err }
