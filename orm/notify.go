package orm

// MetadataChannel is the channel on which PostgreSQL tells, when a transaction
// commits, what it changed of the exchanges, the accounts and the symbols,
// whichever program wrote it. A payload is a JSON object:
//
//	{"table":"symbols","exchange":"kraken"}        symbols of an exchange
//	{"table":"cat_exchanges","exchange":"kraken"}  the exchange or its parameters
//	{"table":"exchanges","id":12,"user":7}         an account
//	{"table":"symbols","all":true}                 anything of the table
//
// A row that moves is told under its old and its new name. The last form stands
// for TRUNCATE, for statements that change more than 1000 subjects, and for
// subjects that do not fit or have no name.
const MetadataChannel = "fulloncache_metadata"
