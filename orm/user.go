package orm

// UserRepository is the table of users.
type UserRepository struct{ conn *conn }
