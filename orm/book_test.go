package orm_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
	"github.com/fullon/fulloncache/orm"
)

// book is a database with a user, who has an account at kraken and one at
// binance, and two bots.
type book struct {
	*testing.T
	ctx      context.Context
	db       *orm.DB
	dsn      string
	postgres bool
	raw      *sql.DB // raw writes as a program of old does, beside the repositories.

	user, other     int64
	kraken, binance int64 // accounts
	catalogue       map[string]int64
	btc, eth        int64 // symbols
	bot, botOfOther int64
}

// books runs a test with a book of its own in each database.
func books(t *testing.T, test func(b *book)) {
	t.Helper()
	t.Parallel()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			test(newBook(t, k))
		})
	}
}

// newBook opens a book in a database on which statements were run before.
func newBook(t *testing.T, k kind, before ...string) *book {
	t.Helper()
	b := &book{T: t, ctx: testenv.Context(t), postgres: k.name == "postgres", catalogue: map[string]int64{}}
	database := k.migrated
	if len(before) > 0 {
		database = k.empty
	}
	b.dsn = database(t)
	b.raw, b.db = rawDB(t, b.dsn), b.open()
	for _, statements := range before {
		b.exec(statements)
	}
	b.must(b.db.Migrate(b.ctx))
	user := `INSERT INTO users (mail, password, f2a, role, name, lastname, phone, id_num, "timestamp")
		VALUES ($1, '', '', '', '', '', '', '', $2) RETURNING uid`
	b.user, b.other = b.insert(user, "a", b.stamp("2020-01-01T00:00:00")), b.insert(user, "b", b.stamp("2020-01-01T00:00:00"))
	for _, name := range []string{"kraken", "binance"} {
		b.catalogue[name] = b.insert("INSERT INTO cat_exchanges (name) VALUES ($1) RETURNING cat_ex_id", name)
	}
	account := `INSERT INTO exchanges (uid, cat_ex_id, name, "timestamp") VALUES ($1, $2, 'main', $3) RETURNING ex_id`
	b.kraken = b.insert(account, b.user, b.catalogue["kraken"], b.stamp("2020-01-01T00:00:00"))
	b.binance = b.insert(account, b.user, b.catalogue["binance"], b.stamp("2020-01-01T00:00:00"))
	symbol := "INSERT INTO symbols (symbol, cat_ex_id, base) VALUES ($1, $2, '') RETURNING symbol_id"
	b.btc, b.eth = b.insert(symbol, "BTC/USD", b.catalogue["kraken"]), b.insert(symbol, "ETH/USD", b.catalogue["kraken"])
	for _, bot := range []struct {
		id   *int64
		user int64
	}{{&b.bot, b.user}, {&b.botOfOther, b.other}} {
		added, err := b.db.Bots.Add(b.ctx, fulloncache.Bot{UserID: bot.user, Name: "trend"})
		b.must(err)
		*bot.id = added.ID
	}
	return b
}

func (b *book) open() *orm.DB {
	b.Helper()
	return open(b.T, b.dsn)
}

// insert runs a statement that returns an id.
func (b *book) insert(query string, args ...any) (id int64) {
	b.Helper()
	if err := b.raw.QueryRowContext(b.ctx, query, args...).Scan(&id); err != nil {
		b.Fatalf("%s: %v", query, err)
	}
	return id
}

// stamp is a time as the database's columns have it; s ends at the second.
func (b *book) stamp(s string) string {
	if b.postgres {
		return s
	}
	return s + ".000000000Z"
}

func (b *book) exec(query string, args ...any) {
	b.Helper()
	if _, err := b.raw.ExecContext(b.ctx, query, args...); err != nil {
		b.Fatalf("%s: %v", query, err)
	}
}

func (b *book) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// fails wants an error that is what, and names all the words.
func (b *book) fails(err, what error, words ...string) {
	b.Helper()
	if !errors.Is(err, what) {
		b.Fatalf("got %v, want %v", err, what)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			b.Errorf("%q does not say %q", err, word)
		}
	}
	if len(err.Error()) > 1000 {
		b.Errorf("the error has %d bytes", len(err.Error()))
	}
}

// get fails the test on an error.
func get[T any](v T, err error) func(b *book) T {
	return func(b *book) T {
		b.Helper()
		b.must(err)
		return v
	}
}

// noon is a time to the nanosecond, in a zone of its own.
var noon = time.Date(2026, 3, 29, 12, 0, 0, 123_456_789, time.FixedZone("here", 5400))

// Texts that no row has.
var strange = []string{"", "x", "a\x00b", "\xff", strings.Repeat("x", 10_000)}

// What is drawn at random.
var (
	anyDecimal = rapid.Custom(func(t *rapid.T) fulloncache.Decimal {
		digits := rapid.StringMatching(`[0-9]{1,38}`).Draw(t, "digits")
		if places := rapid.IntRange(0, min(19, len(digits)-1)).Draw(t, "places"); places > 0 {
			digits = digits[:len(digits)-places] + "." + digits[len(digits)-places:]
		}
		return dec(digits)
	})
	positiveDecimal = anyDecimal.Filter(func(d fulloncache.Decimal) bool { return d.Sign() > 0 })
	signedDecimal   = rapid.Custom(func(t *rapid.T) fulloncache.Decimal {
		d := anyDecimal.Draw(t, "decimal")
		if rapid.Bool().Draw(t, "negative") {
			d = dec("0").Sub(d)
		}
		return d
	})
	anyTime = rapid.Custom(func(t *rapid.T) time.Time {
		seconds := rapid.Int64Range(0, time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC).Unix()).Draw(t, "seconds")
		zone := time.FixedZone("", 900*rapid.IntRange(-40, 40).Draw(t, "zone"))
		return time.Unix(seconds, rapid.Int64Range(0, 999_999_999).Draw(t, "nanos")).In(zone)
	})
)

func maybe(g *rapid.Generator[fulloncache.Decimal]) *rapid.Generator[fulloncache.NullDecimal] {
	return rapid.Custom(func(t *rapid.T) fulloncache.NullDecimal {
		if rapid.Bool().Draw(t, "absent") {
			return fulloncache.NullDecimal{}
		}
		return fulloncache.Some(g.Draw(t, "number"))
	})
}

// anyText draws what a column of so many characters holds: quotes, backslashes,
// other scripts, and what SQL or its parameters are made of.
func anyText(least, most int) *rapid.Generator[string] {
	return rapid.StringOfN(rapid.SampledFrom([]rune(`abcXYZ019 '"\;-?$%_{}()/*é漢😀`+"\t\n")), least, most, 64)
}

var uniques atomic.Int64

// unique draws an id that no other draw has.
func unique(t *rapid.T) string {
	return fmt.Sprintf("%s%d", anyText(0, 10).Draw(t, "id"), uniques.Add(1))
}

// What a transaction does to any of the tables happens as a whole or not at all.
func TestBookInOneTransaction(t *testing.T) {
	books(t, func(b *book) {
		broken := errors.New("broken")
		all := func(end error) error {
			return b.db.InTx(b.ctx, func(tx *orm.Tx) error {
				order := get(tx.Orders.Save(b.ctx, b.order("a")))(b)
				get(tx.Orders.UpdateStatus(b.ctx, "kraken", "a", fulloncache.OrderOpen))(b)
				get(tx.Trades.AddAll(b.ctx, []fulloncache.Trade{b.trade("a"), b.trade("b")}))(b)
				strategy := get(tx.Bots.AddStrategy(b.ctx, fulloncache.Strategy{BotID: b.bot, Name: "kind", Leverage: dec("1")}))(b)
				get(tx.Bots.AddFeed(b.ctx, fulloncache.Feed{StrategyID: strategy.ID, SymbolID: b.btc, Period: "Days", Compression: 1}))(b)
				if got := get(tx.Orders.ByRecord(b.ctx, order.RecordID))(b); got.Status != fulloncache.OrderOpen {
					b.Errorf("within: %+v", got)
				}
				return end
			})
		}
		count := func(want int64) {
			b.Helper()
			n := b.insert(`SELECT (SELECT count(*) FROM orders) + (SELECT count(*) FROM trades) + (SELECT count(*) FROM strategies)
				+ (SELECT count(*) FROM feeds) + (SELECT count(*) FROM cat_strategies)`)
			if n != want {
				b.Errorf("%d rows, want %d", n, want)
			}
		}
		b.fails(all(broken), broken)
		count(0)
		b.must(all(nil))
		count(6)
	})
}
