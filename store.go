package fulloncache

import "context"

// ExchangeStore is the record of exchanges and accounts behind the
// [ExchangeCache]: the package orm's ExchangeRepository, or a program's own.
//
// Lookups return [ErrNotFound] for what does not exist; writes return the row as
// it is stored, [ErrDuplicate], [ErrForeignKey] or [ErrNotFound]. Any other error
// means that the answer is unknown. A write that returned is seen by every read
// that starts afterwards.
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
