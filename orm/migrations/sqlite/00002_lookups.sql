-- By what orders and trades are looked up and paged.

-- +goose Up
CREATE INDEX orders_ex_order_id ON orders (exchange, ex_order_id) WHERE ex_order_id IS NOT NULL;
CREATE INDEX orders_bot_time ON orders (bot_id, "timestamp", timestamp_nanos, order_id);
CREATE INDEX orders_time ON orders ("timestamp", timestamp_nanos, order_id);
CREATE INDEX trades_ex_order_id ON trades (ex_order_id);
CREATE INDEX trades_account_time ON trades (ex_id, "time", time_nanos, trade_id);
CREATE INDEX trades_time ON trades ("time", time_nanos, trade_id);
