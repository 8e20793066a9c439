package orm_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/orm"
)

// payload is what a message may say.
type payload struct {
	Table    string `json:"table"`
	Exchange string `json:"exchange,omitempty"`
	ID       int64  `json:"id,omitempty"`
	User     int64  `json:"user,omitempty"`
	All      bool   `json:"all,omitempty"`
}

// listen returns what the database tells while fn runs.
func (s *suite) listen(fn func()) []string {
	s.Helper()
	conn, err := pgx.Connect(s.ctx, s.dsn)
	must(s, err)
	defer conn.Close(s.ctx)
	_, err = conn.Exec(s.ctx, "LISTEN "+orm.MetadataChannel)
	must(s, err)
	fn()
	s.do("NOTIFY " + orm.MetadataChannel + ", 'end'") // they come in the order of the commits
	var got []string
	for {
		n, err := conn.WaitForNotification(s.ctx)
		must(s, err)
		if n.Payload == "end" {
			return got
		}
		got = append(got, n.Payload)
	}
}

// wantPayloads compares them as JSON, in any order.
func wantPayloads(t testing.TB, got []string, want ...string) {
	t.Helper()
	read := func(texts []string) []string {
		var list []string
		for _, text := range texts {
			var p payload
			decoder := json.NewDecoder(strings.NewReader(text))
			decoder.DisallowUnknownFields()
			if err := decoder.Decode(&p); err != nil {
				t.Errorf("%s: %v", text, err)
			}
			list = append(list, fmt.Sprintf("%+v", p))
		}
		slices.Sort(list)
		return list
	}
	if diff := cmp.Diff(read(want), read(got)); diff != "" {
		t.Error(diff)
	}
}

func TestNotify(t *testing.T) {
	t.Parallel()
	s, db := kinds[0].open(t)
	told := func(statement string, want ...string) {
		t.Helper()
		before := t.Failed()
		wantPayloads(t, s.listen(func() { s.do(statement) }), want...)
		if t.Failed() && !before {
			t.Errorf("… by %.200s", statement)
		}
	}
	symbols := func(name string) string { return `{"table":"symbols","exchange":"` + name + `"}` }
	catalogue := func(name string) string { return `{"table":"cat_exchanges","exchange":"` + name + `"}` }
	account := func(id, user int) string { return fmt.Sprintf(`{"table":"exchanges","id":%d,"user":%d}`, id, user) }
	all := func(table string) string { return `{"table":"` + table + `","all":true}` }

	told("INSERT INTO cat_exchanges (name) VALUES ('kraken'), ('binance')", catalogue("kraken"), catalogue("binance"))
	told("UPDATE cat_exchanges SET name = 'bnb' WHERE name = 'binance'", catalogue("binance"), catalogue("bnb"))
	told("UPDATE cat_exchanges SET ohlcv_view = 'v'", catalogue("kraken"), catalogue("bnb"))
	told("UPDATE cat_exchanges SET ohlcv_view = 'v' WHERE false")
	told("INSERT INTO cat_exchanges_params VALUES (1, 'a', ''), (1, 'b', ''), (2, 'a', '')", catalogue("kraken"), catalogue("bnb"))
	told("UPDATE cat_exchanges_params SET value = 'x' WHERE name = 'b'", catalogue("kraken"))
	told("UPDATE cat_exchanges_params SET cat_ex_id = 2 WHERE name = 'b'", catalogue("kraken"), catalogue("bnb"))
	told("DELETE FROM cat_exchanges_params WHERE cat_ex_id = 2", catalogue("bnb"))
	told("TRUNCATE cat_exchanges_params", all("cat_exchanges"))

	told("INSERT INTO symbols (symbol, cat_ex_id, base) SELECT n::text, 1, 'x' FROM generate_series(1, 2000) n", symbols("kraken"))
	told("UPDATE symbols SET cat_ex_id = 2 WHERE symbol = '7'", symbols("kraken"), symbols("bnb"))
	told("UPDATE symbols SET backtest = 1 WHERE false")
	told("DELETE FROM symbols WHERE cat_ex_id = 2", symbols("bnb"))
	told("BEGIN; DELETE FROM symbols; ROLLBACK")
	told("BEGIN; DELETE FROM symbols WHERE symbol = '8'; UPDATE symbols SET backtest = 1; COMMIT", symbols("kraken"))
	told("COPY symbols (symbol, cat_ex_id, base) FROM PROGRAM 'echo copied,2,x' CSV", symbols("bnb"))
	told("TRUNCATE symbols CASCADE", all("symbols"))

	ann, bob := s.addUser(db, "ann@example.com"), s.addUser(db, "bob@example.com")
	told("INSERT INTO exchanges (uid, cat_ex_id, name) VALUES (1, 1, 'a'), (1, 1, 'b'), (2, 1, 'c')", account(1, 1), account(2, 1), account(3, 2))
	told("UPDATE exchanges SET active = false WHERE uid = 1", account(1, 1), account(2, 1))
	told("UPDATE exchanges SET uid = 2 WHERE ex_id = 1", account(1, 1), account(1, 2))
	told("DELETE FROM exchanges WHERE ex_id = 1", account(1, 2))
	wantPayloads(t, s.listen(func() { must(t, db.Users.Delete(s.ctx, ann.ID)) }), account(2, 1))
	told("INSERT INTO exchanges (uid, cat_ex_id, name) SELECT 2, 1, n::text FROM generate_series(1, 1001) n", all("exchanges"))
	told("DELETE FROM exchanges WHERE name <> 'c'", all("exchanges"))
	told("UPDATE exchanges SET name = 'd'", account(3, int(bob.ID)))
	told("TRUNCATE exchanges CASCADE", all("exchanges"))

	told("INSERT INTO cat_exchanges (name) SELECT 'e' || n FROM generate_series(1, 1001) n", all("cat_exchanges"))
	told("DELETE FROM cat_exchanges WHERE name LIKE 'e%'", all("cat_exchanges"))
	told("TRUNCATE cat_exchanges CASCADE", all("cat_exchanges"), all("symbols"), all("exchanges")) // the parameters' is the same
}

// What the repositories write is told, and what they leave alone is not.
func TestNotifyRepositories(t *testing.T) {
	t.Parallel()
	s, db := kinds[0].open(t)
	for i, name := range append([]string{strings.Repeat("☃", 85), strings.Repeat("\x01", 256)}, odd...) {
		quoted, err := json.Marshal(name)
		must(t, err)
		symbols := []fulloncache.Symbol{symbolOf(name, "BTC/USD"), symbolOf(name, "ETH/USD")}
		wantPayloads(t, s.listen(func() {
			_, err := db.Symbols.Upsert(s.ctx, symbols)
			must(t, err)
		}), `{"table":"cat_exchanges","exchange":`+string(quoted)+`}`, `{"table":"symbols","exchange":`+string(quoted)+`}`)
		wantPayloads(t, s.listen(func() {
			_, err := db.Symbols.Upsert(s.ctx, symbols)
			must(t, err)
		}))
		wantPayloads(t, s.listen(func() {
			must(t, db.Exchanges.SetParam(s.ctx, fulloncache.CatExchangeParam{CatExchangeID: int64(i + 1), Name: "a"}))
		}), `{"table":"cat_exchanges","exchange":`+string(quoted)+`}`)
	}
	// A name that does not fit, as only another program could store it.
	s.do("ALTER TABLE cat_exchanges DROP CONSTRAINT cat_exchanges_name_size")
	wantPayloads(t, s.listen(func() {
		s.do("INSERT INTO cat_exchanges (name) VALUES (repeat('x', 7957))", "INSERT INTO cat_exchanges (name) VALUES (repeat('y', 8000))",
			"INSERT INTO symbols (symbol, cat_ex_id, base) SELECT 'x', cat_ex_id, 'x' FROM cat_exchanges WHERE name LIKE 'yy%'")
	}), `{"table":"cat_exchanges","all":true}`, `{"table":"cat_exchanges","all":true}`, `{"table":"symbols","all":true}`)
}
