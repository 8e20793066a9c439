package orm_test

import (
	"bytes"
	"errors"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/orm"
)

// cutter is a proxy that drops a connection to PostgreSQL as soon as the client
// sends a word, and returns the DSN by way of it.
func cutter(t *testing.T, dsn, word string) string {
	t.Helper()
	u, err := url.Parse(dsn)
	if err != nil {
		t.Fatal(err)
	}
	upstream := u.Host
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	pass := func(from, to net.Conn, until string) {
		defer func() { _, _ = from.Close(), to.Close() }()
		buf := make([]byte, 64<<10)
		for {
			n, err := from.Read(buf)
			if err != nil || until != "" && bytes.Contains(buf[:n], []byte(until)) {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	wg.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", upstream)
			if err != nil {
				t.Error(err, client.Close())
				return
			}
			wg.Go(func() { pass(client, server, word) })
			wg.Go(func() { pass(server, client, "") })
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	})
	u.Host = l.Addr().String()
	return u.String()
}

// Whatever statement the connection breaks at, the call says so and has changed
// nothing.
func TestBookConnectionBreaks(t *testing.T) {
	t.Parallel()
	b := newBook(t, kinds[0])
	order := get(b.db.Orders.Add(b.ctx, b.order("a")))(b)
	trade := get(b.db.Trades.Add(b.ctx, b.trade("a")))(b)
	strategy := get(b.db.Bots.AddStrategy(b.ctx, fulloncache.Strategy{BotID: b.bot, Name: "kind", Leverage: dec("1"), Params: map[string]string{"a": "1"}}))(b)
	open := order
	open.Status = fulloncache.OrderOpen
	changed := strategy
	changed.Params = map[string]string{"b": "2"}
	byName := changed
	byName.CatStrategyID = 0
	addTrade := func(db *orm.DB) error {
		_, err := db.Trades.AddAll(b.ctx, []fulloncache.Trade{b.trade("b"), b.trade("a")})
		return err
	}
	save := func(db *orm.DB) error { _, err := db.Orders.Save(b.ctx, open); return err }
	update := func(db *orm.DB) error { _, err := db.Bots.UpdateStrategy(b.ctx, changed); return err }
	for _, c := range []struct {
		word string
		call func(db *orm.DB) error
	}{
		{`FOR UPDATE`, save},
		{`FOR UPDATE`, func(db *orm.DB) error {
			_, err := db.Orders.UpdateStatus(b.ctx, "kraken", "a", fulloncache.OrderOpen)
			return err
		}},
		{`INSERT INTO "orders"`, func(db *orm.DB) error { _, err := db.Orders.Save(b.ctx, b.order("b")); return err }},
		{`EXCLUDED."status"`, save},
		{`UPDATE orders`, func(db *orm.DB) error {
			_, err := db.Orders.UpdateStatuses(b.ctx, b.bot, fulloncache.OrderNew, fulloncache.OrderOpen)
			return err
		}},
		{`DELETE FROM "orders"`, func(db *orm.DB) error { return db.Orders.Delete(b.ctx, order.RecordID) }},
		{`FROM exchanges`, addTrade},
		{`INSERT INTO "trades"`, addTrade},
		{`SELECT "ex_trade_id"`, addTrade},
		{`UPDATE trades`, func(db *orm.DB) error {
			_, err := db.Trades.UpdatePosition(b.ctx, trade.ID, orm.Position{ROI: some("1")})
			return err
		}},
		{`FROM "cat_strategies"`, update},
		{`UPDATE "strategies"`, update},
		{`DELETE FROM "strategies_params"`, update},
		{`INSERT INTO "strategies_params"`, update},
		{`FROM strategies AS`, update},
		{`INSERT INTO "cat_strategies"`, func(db *orm.DB) error { _, err := db.Bots.UpdateStrategy(b.ctx, byName); return err }},
		{`commit`, update},
	} {
		db, err := orm.Open(b.ctx, cutter(t, b.dsn, c.word))
		b.must(err)
		if err := c.call(db); !errors.Is(err, fulloncache.ErrUnavailable) {
			t.Errorf("%s: %v", c.word, err)
		}
		b.must(db.Close())
	}
	b.wantOrder(order)
	b.wantTrade(trade)
	if n := b.insert("SELECT (SELECT count(*) FROM orders) + (SELECT count(*) FROM trades)"); n != 2 {
		t.Errorf("%d rows", n)
	}
	if all := get(b.db.Bots.Strategies(b.ctx, b.bot))(b); len(all) != 1 || !all[0].Equal(strategy) {
		t.Errorf("strategies: %+v", all)
	}
}
