-- A database as fullon made it: 32-bit ids, bounded names, double precision
-- amounts, times in UTC that do not say so. Only the tables that are migrated.
CREATE TABLE users (
    uid serial PRIMARY KEY, mail varchar(80) NOT NULL UNIQUE, password char(64) NOT NULL, f2a varchar(16) NOT NULL,
    role varchar(10) NOT NULL, name varchar(50) NOT NULL, lastname varchar(50) NOT NULL, phone varchar(12) NOT NULL,
    id_num varchar(15) NOT NULL, note text, manager integer REFERENCES users (uid) ON DELETE RESTRICT,
    "timestamp" timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'), active bool NOT NULL DEFAULT true);
CREATE TABLE cat_exchanges (cat_ex_id serial PRIMARY KEY, name varchar(30) NOT NULL UNIQUE, ohlcv_view text);
CREATE TABLE cat_exchanges_params (
    cat_ex_id integer NOT NULL REFERENCES cat_exchanges (cat_ex_id), name varchar(20) NOT NULL, value varchar(20) NOT NULL,
    UNIQUE (cat_ex_id, name));
CREATE TABLE exchanges (
    ex_id serial PRIMARY KEY, uid integer NOT NULL REFERENCES users (uid) ON DELETE CASCADE,
    cat_ex_id integer NOT NULL REFERENCES cat_exchanges (cat_ex_id) ON DELETE RESTRICT, name varchar(50) NOT NULL,
    test bool NOT NULL DEFAULT false, active bool NOT NULL DEFAULT true,
    "timestamp" timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'), UNIQUE (uid, cat_ex_id, name));
CREATE TABLE symbols (
    symbol_id serial PRIMARY KEY, symbol varchar(20) NOT NULL, cat_ex_id integer NOT NULL REFERENCES cat_exchanges (cat_ex_id),
    updateframe varchar(2) NOT NULL DEFAULT '1h', backtest smallint NOT NULL DEFAULT 30, decimals smallint NOT NULL DEFAULT 8,
    base varchar(6) NOT NULL, ex_base varchar(6), futures bool NOT NULL DEFAULT false, only_ticker bool NOT NULL DEFAULT false,
    UNIQUE (symbol, cat_ex_id));
CREATE TABLE bots (
    bot_id serial PRIMARY KEY, uid integer NOT NULL REFERENCES users (uid) ON DELETE CASCADE, name varchar(50) NOT NULL,
    dry_run bool DEFAULT false, active bool NOT NULL DEFAULT false,
    "timestamp" timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'), UNIQUE (bot_id, name));
CREATE TABLE bot_exchanges (
    bot_id integer NOT NULL REFERENCES bots (bot_id) ON DELETE CASCADE, ex_id integer NOT NULL REFERENCES exchanges (ex_id) ON DELETE CASCADE,
    UNIQUE (bot_id, ex_id));
CREATE TABLE cat_strategies (
    cat_str_id serial PRIMARY KEY, name varchar(50) NOT NULL UNIQUE, take_profit float, stop_loss float, trailing_stop float, timeout float,
    pre_load_bars smallint NOT NULL DEFAULT 200, feeds smallint NOT NULL DEFAULT 2, pairs bool DEFAULT false);
CREATE TABLE cat_strategies_params (
    cat_str_id integer NOT NULL REFERENCES cat_strategies (cat_str_id) ON DELETE CASCADE, name text NOT NULL, value text NOT NULL,
    UNIQUE (cat_str_id, name));
CREATE TABLE strategies (
    str_id serial PRIMARY KEY, bot_id integer REFERENCES bots (bot_id) ON DELETE CASCADE,
    cat_str_id integer NOT NULL REFERENCES cat_strategies (cat_str_id) ON DELETE CASCADE, take_profit float, stop_loss float,
    trailing_stop float, timeout float, leverage float NOT NULL DEFAULT 1, size_pct float, size float, size_currency varchar(5),
    pre_load_bars smallint, feeds smallint DEFAULT 2, pairs bool DEFAULT false);
CREATE TABLE strategies_params (
    str_id integer NOT NULL REFERENCES strategies (str_id) ON DELETE CASCADE, name text NOT NULL, value text NOT NULL, UNIQUE (str_id, name));
CREATE TABLE feeds (
    feed_id serial PRIMARY KEY, str_id integer NOT NULL REFERENCES strategies (str_id) ON DELETE CASCADE,
    symbol_id integer NOT NULL REFERENCES symbols (symbol_id) ON DELETE CASCADE, period varchar(10) NOT NULL,
    compression smallint NOT NULL, "order" smallint NOT NULL);
CREATE TABLE orders (
    order_id serial PRIMARY KEY, bot_id integer NOT NULL, uid integer NOT NULL, ex_id integer NOT NULL, ex_order_id varchar(64),
    cat_ex_id integer NOT NULL, exchange varchar(50) NOT NULL, symbol varchar(20) NOT NULL, order_type varchar(15) NOT NULL,
    side varchar(4) NOT NULL, volume double precision NOT NULL, final_volume double precision, price double precision,
    plimit double precision, tick double precision, futures bool NOT NULL DEFAULT false, status varchar(20) NOT NULL,
    command varchar(64), reason varchar(35) NOT NULL, "timestamp" timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'));
CREATE INDEX uid_ex_id ON orders (uid, ex_id, status);
CREATE TABLE trades (
    trade_id serial PRIMARY KEY, ex_trade_id varchar(64) NOT NULL, ex_order_id varchar(64) NOT NULL, uid integer NOT NULL,
    ex_id integer NOT NULL, symbol varchar(20) NOT NULL, order_type varchar(15) NOT NULL, side varchar(4) NOT NULL,
    volume double precision NOT NULL, price double precision NOT NULL, cost double precision NOT NULL, fee double precision NOT NULL,
    cur_volume double precision, cur_avg_price double precision, cur_avg_cost double precision, cur_fee double precision,
    roi double precision, roi_pct double precision, total_fee double precision, leverage float,
    "time" timestamp NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'), UNIQUE (ex_trade_id, ex_order_id));

INSERT INTO users (mail, password, f2a, role, name, lastname, phone, id_num, manager, "timestamp") VALUES
    ('boss@example.com', repeat('f', 64), 'f2a', 'admin', 'Boss', 'Roe', '', '', NULL, '2020-01-01 00:00:00'),
    ('ann@example.com', 'short', '', 'user', 'Ann', 'Lee', '+1', '7', 1, '2024-07-01 12:30:45.123456');
INSERT INTO cat_exchanges (name, ohlcv_view) VALUES ('kraken', 'kraken_ohlcv'), ('binance', NULL);
INSERT INTO cat_exchanges_params VALUES (1, 'a', '1'), (1, 'b', '');
INSERT INTO exchanges (uid, cat_ex_id, name, "timestamp") VALUES (2, 1, 'main', '2024-11-03 01:30:00');
INSERT INTO symbols (symbol, cat_ex_id, base, ex_base, futures) VALUES
    ('BTC/USD', 1, 'BTC', 'XBT', false), ('BTC/USD:USD', 1, 'BTC', NULL, true), ('XBTUSD', 1, 'XBT', '', false);
INSERT INTO bots (uid, name) VALUES (2, 'bot');
INSERT INTO cat_strategies (name, take_profit) VALUES ('llm', 0.1);
INSERT INTO strategies (bot_id, cat_str_id, take_profit, leverage) VALUES (1, 1, 5.5, 2);
INSERT INTO feeds (str_id, symbol_id, period, compression, "order") VALUES (1, 1, 'Minutes', 1, 0);
INSERT INTO orders (bot_id, uid, ex_id, ex_order_id, cat_ex_id, exchange, symbol, order_type, side, volume, price, status, reason, "timestamp") VALUES
    (1, 2, 1, 'OABC', 1, 'kraken', 'BTC/USD', 'limit', 'Buy', 0.1, 67123.45, 'Open', 'signal', '2024-03-10 02:30:00.000001'),
    (1, 2, 1, NULL, 1, 'kraken', 'BTC/USD', 'market', 'Sell', 1e-8, NULL, 'New', 'signal', '2024-03-10 02:30:00');
INSERT INTO trades (ex_trade_id, ex_order_id, uid, ex_id, symbol, order_type, side, volume, price, cost, fee, roi, "time") VALUES
    ('T1', 'OABC', 2, 1, 'BTC/USD', 'limit', 'Buy', 0.1, 67123.45, 6712.345, 1.2345678901234567e-5, -0.30000000000000004, '2024-03-10 02:30:01');
