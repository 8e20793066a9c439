-- The tables of the record, as a new database gets them. A database that fullon
-- made has them already and keeps them as they are, with its narrower types.
-- Times are UTC, without a zone.

-- +goose Up
CREATE TABLE IF NOT EXISTS users (
    uid         bigserial PRIMARY KEY,
    mail        text      NOT NULL UNIQUE,
    password    text      NOT NULL,
    f2a         text      NOT NULL,
    role        text      NOT NULL,
    name        text      NOT NULL,
    lastname    text      NOT NULL,
    phone       text      NOT NULL,
    id_num      text      NOT NULL,
    note        text,
    manager     bigint    REFERENCES users (uid) ON DELETE RESTRICT ON UPDATE RESTRICT,
    "timestamp" timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    active      boolean   NOT NULL DEFAULT true,
    CONSTRAINT users_mail_size CHECK (octet_length(mail) BETWEEN 1 AND 256)
);

CREATE TABLE IF NOT EXISTS cat_exchanges (
    cat_ex_id  bigserial PRIMARY KEY,
    name       text      NOT NULL UNIQUE,
    ohlcv_view text,
    CONSTRAINT cat_exchanges_name_size CHECK (octet_length(name) BETWEEN 1 AND 256)
);

CREATE TABLE IF NOT EXISTS cat_exchanges_params (
    cat_ex_id bigint NOT NULL REFERENCES cat_exchanges (cat_ex_id),
    name      text   NOT NULL,
    value     text   NOT NULL,
    UNIQUE (cat_ex_id, name),
    CONSTRAINT cat_exchanges_params_name_size CHECK (octet_length(name) BETWEEN 1 AND 256)
);

CREATE TABLE IF NOT EXISTS exchanges (
    ex_id       bigserial PRIMARY KEY,
    uid         bigint    NOT NULL REFERENCES users (uid) ON DELETE CASCADE ON UPDATE CASCADE,
    cat_ex_id   bigint    NOT NULL REFERENCES cat_exchanges (cat_ex_id) ON DELETE RESTRICT ON UPDATE RESTRICT,
    name        text      NOT NULL,
    test        boolean   NOT NULL DEFAULT false,
    active      boolean   NOT NULL DEFAULT true,
    "timestamp" timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    UNIQUE (uid, cat_ex_id, name),
    CONSTRAINT exchanges_name_size CHECK (octet_length(name) BETWEEN 1 AND 256)
);

CREATE TABLE IF NOT EXISTS symbols (
    symbol_id   bigserial PRIMARY KEY,
    symbol      text      NOT NULL,
    cat_ex_id   bigint    NOT NULL REFERENCES cat_exchanges (cat_ex_id) ON DELETE RESTRICT ON UPDATE RESTRICT,
    updateframe text      NOT NULL DEFAULT '1h',
    backtest    smallint  NOT NULL DEFAULT 30,
    decimals    smallint  NOT NULL DEFAULT 8,
    base        text      NOT NULL,
    ex_base     text,
    futures     boolean   NOT NULL DEFAULT false,
    only_ticker boolean   NOT NULL DEFAULT false,
    UNIQUE (symbol, cat_ex_id),
    CONSTRAINT symbols_symbol_size CHECK (octet_length(symbol) BETWEEN 1 AND 256)
);

CREATE TABLE IF NOT EXISTS bots (
    bot_id      bigserial PRIMARY KEY,
    uid         bigint    NOT NULL REFERENCES users (uid) ON DELETE CASCADE ON UPDATE CASCADE,
    name        text      NOT NULL,
    dry_run     boolean   DEFAULT false,
    active      boolean   NOT NULL DEFAULT false,
    "timestamp" timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    CONSTRAINT bots_name_size CHECK (octet_length(name) BETWEEN 1 AND 256)
);

CREATE TABLE IF NOT EXISTS bot_exchanges (
    bot_id bigint NOT NULL REFERENCES bots (bot_id) ON DELETE CASCADE ON UPDATE CASCADE,
    ex_id  bigint NOT NULL REFERENCES exchanges (ex_id) ON DELETE CASCADE ON UPDATE CASCADE,
    UNIQUE (bot_id, ex_id)
);

CREATE TABLE IF NOT EXISTS cat_strategies (
    cat_str_id    bigserial PRIMARY KEY,
    name          text      NOT NULL UNIQUE,
    take_profit   numeric,
    stop_loss     numeric,
    trailing_stop numeric,
    timeout       numeric,
    pre_load_bars smallint  NOT NULL DEFAULT 200,
    feeds         smallint  NOT NULL DEFAULT 2,
    pairs         boolean   DEFAULT false,
    CONSTRAINT cat_strategies_name_size CHECK (octet_length(name) BETWEEN 1 AND 256)
);

CREATE TABLE IF NOT EXISTS cat_strategies_params (
    cat_str_id bigint NOT NULL REFERENCES cat_strategies (cat_str_id) ON DELETE CASCADE ON UPDATE CASCADE,
    name       text   NOT NULL,
    value      text   NOT NULL,
    UNIQUE (cat_str_id, name)
);

CREATE TABLE IF NOT EXISTS strategies (
    str_id        bigserial PRIMARY KEY,
    bot_id        bigint    REFERENCES bots (bot_id) ON DELETE CASCADE ON UPDATE CASCADE,
    cat_str_id    bigint    NOT NULL REFERENCES cat_strategies (cat_str_id) ON DELETE CASCADE ON UPDATE CASCADE,
    take_profit   numeric,
    stop_loss     numeric,
    trailing_stop numeric,
    timeout       numeric,
    leverage      numeric   NOT NULL DEFAULT 1,
    size_pct      numeric,
    size          numeric,
    size_currency text,
    pre_load_bars smallint,
    feeds         smallint  DEFAULT 2,
    pairs         boolean   DEFAULT false
);

CREATE TABLE IF NOT EXISTS strategies_params (
    str_id bigint NOT NULL REFERENCES strategies (str_id) ON DELETE CASCADE ON UPDATE CASCADE,
    name   text   NOT NULL,
    value  text   NOT NULL,
    UNIQUE (str_id, name)
);

CREATE TABLE IF NOT EXISTS feeds (
    feed_id     bigserial PRIMARY KEY,
    str_id      bigint    NOT NULL REFERENCES strategies (str_id) ON DELETE CASCADE ON UPDATE CASCADE,
    symbol_id   bigint    NOT NULL REFERENCES symbols (symbol_id) ON DELETE CASCADE ON UPDATE CASCADE,
    period      text      NOT NULL,
    compression smallint  NOT NULL,
    "order"     smallint  NOT NULL
);

-- Orders and trades outlive the bots and accounts that made them: they refer to
-- them by number alone.
CREATE TABLE IF NOT EXISTS orders (
    order_id     bigserial PRIMARY KEY,
    bot_id       bigint    NOT NULL,
    uid          bigint    NOT NULL,
    ex_id        bigint    NOT NULL,
    ex_order_id  text,
    cat_ex_id    bigint    NOT NULL,
    exchange     text      NOT NULL,
    symbol       text      NOT NULL,
    order_type   text      NOT NULL,
    side         text      NOT NULL,
    volume       numeric   NOT NULL,
    final_volume numeric,
    price        numeric,
    plimit       numeric,
    tick         numeric,
    futures      boolean   NOT NULL DEFAULT false,
    status       text      NOT NULL,
    command      text,
    reason       text      NOT NULL,
    "timestamp"  timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC')
);
CREATE INDEX IF NOT EXISTS uid_ex_id ON orders (uid, ex_id, status);
CREATE INDEX IF NOT EXISTS bot_symbol_index ON orders (bot_id, status, symbol);

CREATE TABLE IF NOT EXISTS trades (
    trade_id      bigserial PRIMARY KEY,
    ex_trade_id   text      NOT NULL,
    ex_order_id   text      NOT NULL,
    uid           bigint    NOT NULL,
    ex_id         bigint    NOT NULL,
    symbol        text      NOT NULL,
    order_type    text      NOT NULL,
    side          text      NOT NULL,
    volume        numeric   NOT NULL,
    price         numeric   NOT NULL,
    cost          numeric   NOT NULL,
    fee           numeric   NOT NULL,
    cur_volume    numeric,
    cur_avg_price numeric,
    cur_avg_cost  numeric,
    cur_fee       numeric,
    roi           numeric,
    roi_pct       numeric,
    total_fee     numeric,
    leverage      numeric,
    "time"        timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    UNIQUE (ex_trade_id, ex_order_id)
);
CREATE INDEX IF NOT EXISTS uid_ex_id_trades ON trades (uid, ex_id);
