package orm

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/uptrace/bun"

	"github.com/fullon/fulloncache"
)

// catalogueRow is an exchange of the catalogue with one of its parameters, or
// without where it has none.
type catalogueRow struct {
	ID        int64   `bun:"cat_ex_id"`
	Name      string  `bun:"name"`
	OHLCVView string  `bun:"ohlcv_view"`
	Param     *string `bun:"param"`
	Value     string  `bun:"value"`
}

// catalogue reads exchanges with their parameters, in one statement, so that both
// are of the same moment.
func (r *ExchangeRepository) catalogue(ctx context.Context, what, where string, args ...any) ([]fulloncache.CatExchange, error) {
	rows, err := query[catalogueRow](ctx, r.conn, what, `SELECT c.cat_ex_id, c.name, c.ohlcv_view, p.name AS param, p.value
		FROM cat_exchanges c LEFT JOIN cat_exchanges_params p ON p.cat_ex_id = c.cat_ex_id `+where+`
		ORDER BY c.name ?`, append(args, r.conn.bytewise())...)
	var list []fulloncache.CatExchange
	for _, row := range rows {
		if len(list) == 0 || list[len(list)-1].ID != row.ID {
			list = append(list, fulloncache.CatExchange{ID: row.ID, Name: row.Name, OHLCVView: row.OHLCVView})
		}
		if e := &list[len(list)-1]; row.Param != nil {
			if e.Params == nil {
				e.Params = map[string]string{}
			}
			e.Params[*row.Param] = row.Value
		}
	}
	return list, err
}

// catalogueOne is catalogue for a single exchange.
func (r *ExchangeRepository) catalogueOne(ctx context.Context, what, where string, args ...any) (fulloncache.CatExchange, error) {
	list, err := r.catalogue(ctx, what, where, args...)
	if err == nil && len(list) == 0 {
		err = notFound(what)
	}
	if err != nil {
		return fulloncache.CatExchange{}, err
	}
	return list[0], nil
}

// Catalogue returns all exchanges with their parameters, in the order of their
// names.
func (r *ExchangeRepository) Catalogue(ctx context.Context) ([]fulloncache.CatExchange, error) {
	return r.catalogue(ctx, "catalogue of exchanges", "")
}

// CatalogueByID returns an exchange of the catalogue with its parameters;
// [fulloncache.ErrNotFound] if there is none of that id.
func (r *ExchangeRepository) CatalogueByID(ctx context.Context, id int64) (fulloncache.CatExchange, error) {
	return r.catalogueOne(ctx, fmt.Sprintf("exchange %d", id), "WHERE c.cat_ex_id = ?", id)
}

// CatalogueByName returns the exchange that markets call so, with its parameters;
// [fulloncache.ErrNotFound] if there is none.
func (r *ExchangeRepository) CatalogueByName(ctx context.Context, name string) (fulloncache.CatExchange, error) {
	what := "exchange " + printable(name)
	if !storable(name) {
		return fulloncache.CatExchange{}, notFound(what)
	}
	return r.catalogueOne(ctx, what, "WHERE c.name = ?", name)
}

// AddCatalogue stores a new exchange with its parameters and returns it with the
// id that it got; an ID that e has is ignored. It returns
// [fulloncache.ErrDuplicate] if the name is taken.
func (r *ExchangeRepository) AddCatalogue(ctx context.Context, e fulloncache.CatExchange) (fulloncache.CatExchange, error) {
	return r.writeCatalogue(ctx, "add exchange "+printable(e.Name), e,
		"INSERT INTO cat_exchanges (name, ohlcv_view) VALUES (?, ?) RETURNING cat_ex_id", e.Name, null(e.OHLCVView))
}

// UpdateCatalogue changes the exchange of that id and replaces its parameters;
// [fulloncache.ErrNotFound] if there is none, [fulloncache.ErrDuplicate] if the
// name is another's.
func (r *ExchangeRepository) UpdateCatalogue(ctx context.Context, e fulloncache.CatExchange) (fulloncache.CatExchange, error) {
	return r.writeCatalogue(ctx, fmt.Sprintf("update exchange %d", e.ID), e,
		"UPDATE cat_exchanges SET name = ?, ohlcv_view = ? WHERE cat_ex_id = ? RETURNING cat_ex_id",
		e.Name, null(e.OHLCVView), e.ID)
}

// writeCatalogue writes the exchange with a statement that returns its id, and
// then its parameters. The row that it wrote keeps other writers of the same
// exchange waiting.
func (r *ExchangeRepository) writeCatalogue(
	ctx context.Context, what string, e fulloncache.CatExchange, statement string, args ...any,
) (fulloncache.CatExchange, error) {
	if err := e.Validate(); err != nil {
		return fulloncache.CatExchange{}, fmt.Errorf("%s: %w", what, err)
	}
	stored := fulloncache.CatExchange{Name: e.Name, OHLCVView: e.OHLCVView, Params: maps.Clone(e.Params)}
	err := r.conn.atomically(ctx, what, func(c *conn) (err error) {
		if stored.ID, err = one[int64](ctx, c, what, statement, args...); err != nil {
			return err
		}
		if _, err := c.exec(ctx, what, "DELETE FROM cat_exchanges_params WHERE cat_ex_id = ?", stored.ID); err != nil {
			return err
		}
		for names := range slices.Chunk(slices.Sorted(maps.Keys(e.Params)), maxRows) {
			rows := make([]bun.TupleValues, len(names))
			for i, name := range names {
				rows[i] = bun.Tuple([]any{stored.ID, name, e.Params[name]})
			}
			if _, err := c.exec(ctx, what, "INSERT INTO cat_exchanges_params (cat_ex_id, name, value) VALUES ?", bun.List(rows)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fulloncache.CatExchange{}, err
	}
	return stored, nil
}

// DeleteCatalogue removes an exchange and its parameters;
// [fulloncache.ErrNotFound] if there is none of that id,
// [fulloncache.ErrForeignKey] while it has symbols or accounts.
func (r *ExchangeRepository) DeleteCatalogue(ctx context.Context, id int64) error {
	what := fmt.Sprintf("delete exchange %d", id)
	return r.conn.atomically(ctx, what, func(c *conn) error {
		if _, err := c.exec(ctx, what, "DELETE FROM cat_exchanges_params WHERE cat_ex_id = ?", id); err != nil {
			return err
		}
		return c.execOne(ctx, what, "DELETE FROM cat_exchanges WHERE cat_ex_id = ?", id)
	})
}

// SetParam sets a parameter of an exchange of the catalogue, new or not;
// [fulloncache.ErrForeignKey] if the exchange does not exist.
func (r *ExchangeRepository) SetParam(ctx context.Context, p fulloncache.CatExchangeParam) error {
	what := fmt.Sprintf("set parameter %s of exchange %d", printable(p.Name), p.CatExchangeID)
	// The root says what a parameter may be.
	if err := (fulloncache.CatExchange{Name: "?", Params: map[string]string{p.Name: p.Value}}).Validate(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	_, err := r.conn.exec(ctx, what, `INSERT INTO cat_exchanges_params (cat_ex_id, name, value) VALUES (?, ?, ?)
		ON CONFLICT (cat_ex_id, name) DO UPDATE SET value = excluded.value`, p.CatExchangeID, p.Name, p.Value)
	return err
}

// DeleteParam removes a parameter of an exchange of the catalogue;
// [fulloncache.ErrNotFound] if there is none of that name.
func (r *ExchangeRepository) DeleteParam(ctx context.Context, exchange int64, name string) error {
	what := fmt.Sprintf("delete parameter %s of exchange %d", printable(name), exchange)
	if !storable(name) {
		return notFound(what)
	}
	return r.conn.execOne(ctx, what, "DELETE FROM cat_exchanges_params WHERE cat_ex_id = ? AND name = ?", exchange, name)
}
