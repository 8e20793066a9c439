-- The tables of the record in SQLite. They are those of PostgreSQL but for the
-- types: amounts are text, because SQLite would turn a NUMERIC into a REAL, and so
-- are times, as fixed-width RFC 3339 in UTC, which sorts as time does. Ids are
-- never given twice (AUTOINCREMENT): who cached a row must not meet another.

-- +goose Up
CREATE TABLE users (
    uid         INTEGER PRIMARY KEY AUTOINCREMENT,
    mail        TEXT    NOT NULL UNIQUE CHECK (length(CAST(mail AS BLOB)) BETWEEN 1 AND 256),
    password    TEXT    NOT NULL,
    f2a         TEXT    NOT NULL,
    role        TEXT    NOT NULL,
    name        TEXT    NOT NULL,
    lastname    TEXT    NOT NULL,
    phone       TEXT    NOT NULL,
    id_num      TEXT    NOT NULL,
    note        TEXT,
    manager     INTEGER REFERENCES users (uid) ON DELETE RESTRICT ON UPDATE RESTRICT,
    "timestamp" TEXT    NOT NULL,
    active      INTEGER NOT NULL DEFAULT 1
);

CREATE TABLE cat_exchanges (
    cat_ex_id  INTEGER PRIMARY KEY AUTOINCREMENT,
    name       TEXT NOT NULL UNIQUE CHECK (length(CAST(name AS BLOB)) BETWEEN 1 AND 256),
    ohlcv_view TEXT
);

CREATE TABLE cat_exchanges_params (
    cat_ex_id INTEGER NOT NULL REFERENCES cat_exchanges (cat_ex_id),
    name      TEXT    NOT NULL CHECK (length(CAST(name AS BLOB)) BETWEEN 1 AND 256),
    value     TEXT    NOT NULL,
    UNIQUE (cat_ex_id, name)
);

CREATE TABLE exchanges (
    ex_id       INTEGER PRIMARY KEY AUTOINCREMENT,
    uid         INTEGER NOT NULL REFERENCES users (uid) ON DELETE CASCADE ON UPDATE CASCADE,
    cat_ex_id   INTEGER NOT NULL REFERENCES cat_exchanges (cat_ex_id) ON DELETE RESTRICT ON UPDATE RESTRICT,
    name        TEXT    NOT NULL CHECK (length(CAST(name AS BLOB)) BETWEEN 1 AND 256),
    test        INTEGER NOT NULL DEFAULT 0,
    active      INTEGER NOT NULL DEFAULT 1,
    "timestamp" TEXT    NOT NULL,
    UNIQUE (uid, cat_ex_id, name)
);
CREATE INDEX exchanges_cat_ex_id ON exchanges (cat_ex_id);

CREATE TABLE symbols (
    symbol_id    INTEGER PRIMARY KEY AUTOINCREMENT,
    symbol       TEXT    NOT NULL CHECK (length(CAST(symbol AS BLOB)) BETWEEN 1 AND 256),
    cat_ex_id    INTEGER NOT NULL REFERENCES cat_exchanges (cat_ex_id) ON DELETE RESTRICT ON UPDATE RESTRICT,
    updateframe  TEXT    NOT NULL DEFAULT '1h',
    backtest     INTEGER NOT NULL DEFAULT 30,
    decimals     INTEGER NOT NULL DEFAULT 8,
    lot_decimals INTEGER NOT NULL DEFAULT 8,
    order_min    TEXT,
    base         TEXT    NOT NULL,
    quote        TEXT    NOT NULL DEFAULT '',
    ex_base      TEXT,
    futures      INTEGER NOT NULL DEFAULT 0,
    only_ticker  INTEGER NOT NULL DEFAULT 0,
    UNIQUE (symbol, cat_ex_id)
);
CREATE INDEX symbols_cat_ex_id ON symbols (cat_ex_id);

CREATE TABLE bots (
    bot_id      INTEGER PRIMARY KEY AUTOINCREMENT,
    uid         INTEGER NOT NULL REFERENCES users (uid) ON DELETE CASCADE ON UPDATE CASCADE,
    name        TEXT    NOT NULL CHECK (length(CAST(name AS BLOB)) BETWEEN 1 AND 256),
    dry_run     INTEGER DEFAULT 0,
    active      INTEGER NOT NULL DEFAULT 0,
    "timestamp" TEXT    NOT NULL
);
CREATE INDEX bots_uid ON bots (uid);

CREATE TABLE bot_exchanges (
    bot_id INTEGER NOT NULL REFERENCES bots (bot_id) ON DELETE CASCADE ON UPDATE CASCADE,
    ex_id  INTEGER NOT NULL REFERENCES exchanges (ex_id) ON DELETE CASCADE ON UPDATE CASCADE,
    UNIQUE (bot_id, ex_id)
);

CREATE TABLE cat_strategies (
    cat_str_id    INTEGER PRIMARY KEY AUTOINCREMENT,
    name          TEXT    NOT NULL UNIQUE CHECK (length(CAST(name AS BLOB)) BETWEEN 1 AND 256),
    take_profit   TEXT,
    stop_loss     TEXT,
    trailing_stop TEXT,
    timeout       TEXT,
    pre_load_bars INTEGER NOT NULL DEFAULT 200,
    feeds         INTEGER NOT NULL DEFAULT 2,
    pairs         INTEGER DEFAULT 0
);

CREATE TABLE cat_strategies_params (
    cat_str_id INTEGER NOT NULL REFERENCES cat_strategies (cat_str_id) ON DELETE CASCADE ON UPDATE CASCADE,
    name       TEXT    NOT NULL,
    value      TEXT    NOT NULL,
    UNIQUE (cat_str_id, name)
);

CREATE TABLE strategies (
    str_id        INTEGER PRIMARY KEY AUTOINCREMENT,
    bot_id        INTEGER REFERENCES bots (bot_id) ON DELETE CASCADE ON UPDATE CASCADE,
    cat_str_id    INTEGER NOT NULL REFERENCES cat_strategies (cat_str_id) ON DELETE CASCADE ON UPDATE CASCADE,
    take_profit   TEXT,
    stop_loss     TEXT,
    trailing_stop TEXT,
    timeout       TEXT,
    leverage      TEXT    NOT NULL DEFAULT '1',
    size_pct      TEXT,
    size          TEXT,
    size_currency TEXT,
    pre_load_bars INTEGER,
    feeds         INTEGER DEFAULT 2,
    pairs         INTEGER DEFAULT 0
);
CREATE INDEX strategies_bot_id ON strategies (bot_id);

CREATE TABLE strategies_params (
    str_id INTEGER NOT NULL REFERENCES strategies (str_id) ON DELETE CASCADE ON UPDATE CASCADE,
    name   TEXT    NOT NULL,
    value  TEXT    NOT NULL,
    UNIQUE (str_id, name)
);

CREATE TABLE feeds (
    feed_id     INTEGER PRIMARY KEY AUTOINCREMENT,
    str_id      INTEGER NOT NULL REFERENCES strategies (str_id) ON DELETE CASCADE ON UPDATE CASCADE,
    symbol_id   INTEGER NOT NULL REFERENCES symbols (symbol_id) ON DELETE CASCADE ON UPDATE CASCADE,
    period      TEXT    NOT NULL,
    compression INTEGER NOT NULL,
    "order"     INTEGER NOT NULL
);
CREATE INDEX feeds_str_id ON feeds (str_id);
CREATE INDEX feeds_symbol_id ON feeds (symbol_id);

-- Orders and trades outlive the bots and accounts that made them: they refer to
-- them by number alone.
CREATE TABLE orders (
    order_id        INTEGER PRIMARY KEY AUTOINCREMENT,
    client_order_id TEXT,
    bot_id          INTEGER NOT NULL,
    uid             INTEGER NOT NULL,
    ex_id           INTEGER NOT NULL,
    ex_order_id     TEXT,
    cat_ex_id       INTEGER NOT NULL,
    exchange        TEXT    NOT NULL,
    symbol          TEXT    NOT NULL,
    order_type      TEXT    NOT NULL,
    side            TEXT    NOT NULL,
    volume          TEXT    NOT NULL,
    final_volume    TEXT,
    price           TEXT,
    plimit          TEXT,
    tick            TEXT,
    leverage        TEXT,
    futures         INTEGER NOT NULL DEFAULT 0,
    status          TEXT    NOT NULL,
    command         TEXT,
    reason          TEXT    NOT NULL,
    "timestamp"     TEXT    NOT NULL,
    timestamp_nanos INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX uid_ex_id ON orders (uid, ex_id, status);
CREATE INDEX bot_symbol_index ON orders (bot_id, status, symbol);
CREATE UNIQUE INDEX orders_client_order_id ON orders (exchange, client_order_id)
    WHERE client_order_id IS NOT NULL;

CREATE TABLE trades (
    trade_id      INTEGER PRIMARY KEY AUTOINCREMENT,
    ex_trade_id   TEXT    NOT NULL,
    ex_order_id   TEXT    NOT NULL,
    uid           INTEGER NOT NULL,
    ex_id         INTEGER NOT NULL,
    exchange      TEXT,
    symbol        TEXT    NOT NULL,
    order_type    TEXT    NOT NULL,
    side          TEXT    NOT NULL,
    volume        TEXT    NOT NULL,
    price         TEXT    NOT NULL,
    cost          TEXT    NOT NULL,
    fee           TEXT    NOT NULL,
    cur_volume    TEXT,
    cur_avg_price TEXT,
    cur_avg_cost  TEXT,
    cur_fee       TEXT,
    roi           TEXT,
    roi_pct       TEXT,
    total_fee     TEXT,
    leverage      TEXT,
    "time"        TEXT    NOT NULL,
    time_nanos    INTEGER NOT NULL DEFAULT 0,
    UNIQUE (ex_trade_id, ex_order_id)
);
CREATE INDEX uid_ex_id_trades ON trades (uid, ex_id);
