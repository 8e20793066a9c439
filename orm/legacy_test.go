package orm_test

import (
	"encoding/json"
	"errors"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/orm"
)

// newLegacy makes a database as fullon left it, with further statements of its
// owner, whose sessions are in yet another time zone and cut doubles short.
func newLegacy(t *testing.T, statements ...string) *suite {
	t.Helper()
	s := kinds[0].suite(t)
	script, err := os.ReadFile("testdata/legacy.sql")
	must(t, err)
	s.do(string(script))
	s.do(statements...)
	s.do("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = ''Asia/Tokyo''', current_database()); END $$",
		"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET extra_float_digits = -5', current_database()); END $$")
	return s
}

// snapshot is every column's definition and every row, as JSON by table.
func (s *suite) snapshot() (columns map[string]string, rows map[string][]map[string]any) {
	s.Helper()
	db := rawDB(s.T, s.dsn)
	columns, rows = map[string]string{}, map[string][]map[string]any{}
	names, err := db.QueryContext(s.ctx, `SELECT table_name, column_name, concat_ws(' ', ordinal_position, data_type,
		character_maximum_length, is_nullable, column_default) FROM information_schema.columns
		WHERE table_schema = 'public' AND table_name NOT LIKE 'fulloncache%'`)
	must(s, err)
	defer names.Close()
	for names.Next() {
		var table, column, definition string
		must(s, names.Scan(&table, &column, &definition))
		columns[table+"."+column] = definition
		if _, ok := rows[table]; ok {
			continue
		}
		var text string
		must(s, db.QueryRowContext(s.ctx, "SELECT coalesce(json_agg(t ORDER BY t::text), '[]') FROM "+table+" t").Scan(&text))
		var list []map[string]any
		must(s, json.Unmarshal([]byte(text), &list))
		rows[table] = list
	}
	must(s, names.Err())
	return columns, rows
}

func TestLegacyIsKept(t *testing.T) {
	t.Parallel()
	s := newLegacy(t)
	columns, rows := s.snapshot()
	must(t, s.open().Migrate(s.ctx))
	columnsAfter, rowsAfter := s.snapshot()
	for name, definition := range columns {
		if columnsAfter[name] != definition {
			t.Errorf("%s was %q and is %q", name, definition, columnsAfter[name])
		}
	}
	for table, list := range rowsAfter {
		for _, row := range list {
			maps.DeleteFunc(row, func(column string, _ any) bool { _, had := columns[table+"."+column]; return !had })
		}
	}
	if diff := cmp.Diff(rows, rowsAfter); diff != "" {
		t.Error(diff)
	}
	if len(rows) != 14 || len(columnsAfter) <= len(columns) {
		t.Errorf("%d tables; %d columns, were %d", len(rows), len(columnsAfter), len(columns))
	}
}

func TestLegacy(t *testing.T) {
	t.Parallel()
	s := newLegacy(t)
	db := s.open()
	_, err := db.Symbols.ByExchange(s.ctx, "kraken")
	var schema *orm.SchemaError
	if !errors.As(err, &schema) || schema.Version != 0 || !strings.Contains(err.Error(), "fulloncache db migrate") {
		t.Errorf("before the migration: %v", err)
	}
	must(t, db.Migrate(s.ctx))

	ann, err := db.Users.ByMail(s.ctx, "ann@example.com")
	must(t, err)
	want := fulloncache.User{
		ID: 2, Mail: "ann@example.com", Password: fulloncache.NewSecret("short"), Role: "user", Name: "Ann", LastName: "Lee", Phone: "+1", IDNum: "7",
		ManagerID: 1, Active: true, Created: time.Date(2024, 7, 1, 12, 30, 45, 123456000, time.UTC),
	}
	equal(t, []fulloncache.User{ann}, want)
	if ann.Created != want.Created {
		t.Errorf("created %s", ann.Created)
	}
	ann.Password = fulloncache.NewSecret(strings.Repeat("a", 64))
	ann, err = db.Users.Update(s.ctx, ann)
	must(t, err)
	for _, wrong := range []func(*fulloncache.User){
		func(u *fulloncache.User) { u.Name = strings.Repeat("x", 51) },
		func(u *fulloncache.User) { u.Password = fulloncache.NewSecret(strings.Repeat("x", 10_000)) },
		func(u *fulloncache.User) { u.ManagerID = 1 << 40 },
	} {
		u := ann
		wrong(&u)
		_, err = db.Users.Update(s.ctx, u)
		wantNamed(t, err, fulloncache.ErrInvalid, "update user 2")
		var constraint *orm.ConstraintError
		if !errors.As(err, &constraint) || constraint.Unwrap() == nil {
			t.Errorf("constraint %+v", constraint)
		}
	}
	_, err = db.Users.ByID(s.ctx, 1<<40)
	wantErr(t, err, fulloncache.ErrNotFound)

	catalogue, err := db.Exchanges.Catalogue(s.ctx)
	must(t, err)
	equal(t, catalogue, fulloncache.CatExchange{ID: 2, Name: "binance"},
		fulloncache.CatExchange{ID: 1, Name: "kraken", OHLCVView: "kraken_ohlcv", Params: map[string]string{"a": "1", "b": ""}})
	accounts, err := db.Exchanges.ByUser(s.ctx, 2)
	must(t, err)
	equal(t, accounts, fulloncache.Exchange{
		ID: 1, UserID: 2, CatExchangeID: 1, CatName: "kraken", Name: "main", Active: true,
		Created: time.Date(2024, 11, 3, 1, 30, 0, 0, time.UTC), // which New York had twice
	})
	// A time that the package gives, as every other session reads it.
	added := s.addExchange(db, 2, 2, "new")
	var text string
	must(t, rawDB(t, s.dsn).QueryRowContext(s.ctx, `SELECT "timestamp"::text FROM exchanges WHERE ex_id = $1`, added.ID).Scan(&text))
	if stored, err := time.Parse("2006-01-02 15:04:05.999999", text); err != nil || !stored.Equal(added.Created) {
		t.Errorf("stored %s, want %s", text, added.Created)
	}

	symbols, err := db.Symbols.ByExchange(s.ctx, "kraken")
	must(t, err)
	symbol := func(id int64, name, base, quote, exBase string, futures bool) fulloncache.Symbol {
		return fulloncache.Symbol{
			Market: fulloncache.Market{Exchange: "kraken", Symbol: name}, ID: id, CatExchangeID: 1, Base: base, Quote: quote, ExBase: exBase,
			Decimals: 8, LotDecimals: 8, UpdateFrame: "1h", Backtest: 30, Futures: futures,
		}
	}
	equal(t, symbols, symbol(1, "BTC/USD", "BTC", "USD", "XBT", false), symbol(2, "BTC/USD:USD", "BTC", "USD", "", true),
		symbol(3, "XBTUSD", "XBT", "", "", false))
	symbols[0].OrderMin, symbols[0].Decimals = some("0.0001"), 1
	n, err := db.Symbols.Upsert(s.ctx, append(symbols, symbolOf("kraken", "ETH/USD"), symbolOf("fresh", "A/B")))
	must(t, err)
	if n != (fulloncache.Upserted{Added: 2, Updated: 1}) {
		t.Errorf("upserted %+v", n)
	}
	_, err = db.Symbols.Upsert(s.ctx, []fulloncache.Symbol{symbolOf("other", strings.Repeat("x", 21)+"/Y")})
	wantErr(t, err, fulloncache.ErrInvalid)
	_, err = db.Exchanges.CatalogueByName(s.ctx, "other")
	wantErr(t, err, fulloncache.ErrNotFound)
	must(t, db.Migrate(s.ctx))
	must(t, db.Seed(s.ctx))
}

// Somebody else added columns of these names, with types of his own.
func TestLegacyColumns(t *testing.T) {
	t.Parallel()
	s := newLegacy(t, "ALTER TABLE symbols ADD quote varchar(6), ADD order_min double precision, ADD lot_decimals integer")
	db := s.open()
	must(t, db.Migrate(s.ctx))
	btc, err := db.Symbols.One(s.ctx, fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"})
	must(t, err)
	if btc.Quote != "" || btc.OrderMin.Valid || btc.LotDecimals != 0 {
		t.Errorf("nulls became %+v", btc)
	}
	for text, want := range map[string]string{
		"0.1": "0.1", "0.30000000000000004": "0.30000000000000004", "1e-8": "0.00000001", "1.2345678901234567e-5": "0.0000123456789012346",
		"5e-324": "0", "9007199254740993": "9007199254740992",
	} {
		s.do("UPDATE symbols SET order_min = '" + text + "'")
		btc, err = db.Symbols.ByID(s.ctx, btc.ID)
		must(t, err)
		if btc.OrderMin.String() != want {
			t.Errorf("%s became %s, want %s", text, btc.OrderMin, want)
		}
	}
	for _, text := range []string{"NaN", "Infinity", "-Infinity", "1e300"} {
		s.do("UPDATE symbols SET order_min = '" + text + "'")
		_, err = db.Symbols.ByID(s.ctx, btc.ID)
		wantNamed(t, err, fulloncache.ErrCorrupt, `"order_min"`)
	}
	btc.OrderMin = some("0.0000000000000000001")
	_, err = db.Symbols.Update(s.ctx, btc)
	must(t, err)
	n, err := db.Symbols.Upsert(s.ctx, []fulloncache.Symbol{btc})
	must(t, err)
	if n != (fulloncache.Upserted{}) {
		t.Errorf("upserted %+v", n)
	}
}
