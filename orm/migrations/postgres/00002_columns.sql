-- What fullon's tables lack. No column that was there changes its type, and no
-- row what it says.

-- +goose Up
ALTER TABLE symbols ADD COLUMN IF NOT EXISTS quote text NOT NULL DEFAULT '';
ALTER TABLE symbols ADD COLUMN IF NOT EXISTS lot_decimals smallint NOT NULL DEFAULT 8;
ALTER TABLE symbols ADD COLUMN IF NOT EXISTS order_min numeric;

-- BTC/USD and BTC/USD:USD are quoted in USD.
UPDATE symbols SET quote = split_part(split_part(symbol, '/', 2), ':', 1) WHERE quote = '' AND symbol LIKE '%/%';

-- The id that a bot gave its order; null on those that came without. An exchange's
-- name is what markets go by.
ALTER TABLE orders ADD COLUMN IF NOT EXISTS client_order_id text;
ALTER TABLE orders ADD COLUMN IF NOT EXISTS leverage numeric;
CREATE UNIQUE INDEX IF NOT EXISTS orders_client_order_id ON orders (exchange, client_order_id)
    WHERE client_order_id IS NOT NULL;

-- A timestamp ends at the microsecond; these are the nanoseconds beyond it, from
-- 0 to 999.
ALTER TABLE orders ADD COLUMN IF NOT EXISTS timestamp_nanos smallint NOT NULL DEFAULT 0;
ALTER TABLE trades ADD COLUMN IF NOT EXISTS time_nanos smallint NOT NULL DEFAULT 0;

-- Where a trade was made; null on older ones, whose account tells it.
ALTER TABLE trades ADD COLUMN IF NOT EXISTS exchange text;

-- By what rows are looked up, and by what references are checked.
CREATE INDEX IF NOT EXISTS symbols_cat_ex_id ON symbols (cat_ex_id);
CREATE INDEX IF NOT EXISTS exchanges_cat_ex_id ON exchanges (cat_ex_id);
CREATE INDEX IF NOT EXISTS bots_uid ON bots (uid);
CREATE INDEX IF NOT EXISTS strategies_bot_id ON strategies (bot_id);
CREATE INDEX IF NOT EXISTS feeds_str_id ON feeds (str_id);
CREATE INDEX IF NOT EXISTS feeds_symbol_id ON feeds (symbol_id);
