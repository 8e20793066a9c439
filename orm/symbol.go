package orm

// SymbolRepository is the table of symbols.
type SymbolRepository struct{ conn *conn }
