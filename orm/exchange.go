package orm

// ExchangeRepository is the table of users' accounts, and the catalogue of
// exchanges.
type ExchangeRepository struct{ conn *conn }
