package orm_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
	"github.com/fullon/fulloncache/orm"
)

// desk is a database with a listener, and two processes that cache its rows.
type desk struct {
	*testing.T
	ctx              context.Context
	dsn              string // direct
	db               *orm.DB
	listening, other *fulloncache.Client
}

// newDesk opens a desk whose listener reaches the database and Redis by these.
func newDesk(t *testing.T, direct, dsn, redis string) *desk {
	t.Helper()
	d := &desk{T: t, ctx: testenv.Context(t), dsn: direct}
	var err error
	d.db, err = orm.Open(d.ctx, direct)
	must(t, err)
	t.Cleanup(func() { must(t, d.db.Close()) })
	must(t, d.db.Migrate(d.ctx))
	_, err = d.db.Symbols.Upsert(d.ctx, []fulloncache.Symbol{symbolAt("kraken", "BTC/USD"), symbolAt("kraken", "ETH/USD"), symbolAt("coinbase", "BTC/USD")})
	must(t, err)
	must(t, d.db.Seed(d.ctx))
	cfg := fulloncache.Config{
		URL: redis, KeyPrefix: testenv.Prefix(t), Logger: slog.New(slog.DiscardHandler),
		ExchangeStore: d.db.Exchanges, SymbolStore: d.db.Symbols, TTLNegative: time.Hour,
	}
	for _, c := range []**fulloncache.Client{&d.listening, &d.other} {
		*c, err = fulloncache.New(d.ctx, cfg)
		must(t, err)
		t.Cleanup((*c).Close)
	}
	listened, err := orm.Open(d.ctx, dsn)
	must(t, err)
	t.Cleanup(func() { must(t, listened.Close()) })
	ctx, stop := context.WithCancel(d.ctx)
	ended := make(chan error, 1)
	go func() { ended <- listened.Listen(ctx, d.listening) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("listen: %v", err)
		}
	})
	return d
}

func symbolAt(exchange, symbol string) fulloncache.Symbol {
	base, quote, _ := strings.Cut(symbol, "/")
	return fulloncache.Symbol{
		Market: fulloncache.Market{Exchange: exchange, Symbol: symbol}, Base: base, Quote: quote, Decimals: 1, LotDecimals: 8,
	}
}

// do changes the database behind the caches' back.
func (d *desk) do(statement string, args ...any) {
	d.Helper()
	conn, err := pgx.Connect(d.ctx, d.dsn)
	must(d, err)
	defer func() { _ = conn.Close(d.ctx) }() // what it was for is done
	if _, err := conn.Exec(d.ctx, statement, args...); err != nil {
		d.Fatalf("%s: %v", statement, err)
	}
}

// settle waits until the listener is at it and has passed on all that was changed
// before: notices come in order, so it sends one and waits for that.
func (d *desk) settle() {
	d.Helper()
	loaded := func() time.Time {
		e, err := d.other.Exchanges.ByName(d.ctx, "coinbase")
		must(d, err)
		return e.Loaded
	}
	was := loaded()
	testenv.Eventually(d, "the listener is at it", func() (bool, string) {
		d.do("SELECT pg_notify($1, $2)", orm.MetadataChannel, `{"table":"cat_exchanges","exchange":"nothing of that name"}`)
		return loaded().After(was), "a notice is not heard"
	})
}

// decimals is what the other process has cached, or reads.
func (d *desk) decimals(symbol string) int {
	d.Helper()
	s, err := d.other.Symbols.Get(d.ctx, fulloncache.Market{Exchange: "kraken", Symbol: symbol})
	if errors.Is(err, fulloncache.ErrUnavailable) {
		return -1 // Redis or the database is down
	}
	must(d, err)
	return s.Decimals
}

// shows waits until the other process sees that many decimals of BTC/USD.
func (d *desk) shows(want int) {
	d.Helper()
	testenv.Eventually(d, "the change is seen", func() (bool, string) {
		got := d.decimals("BTC/USD")
		return got == want, fmt.Sprintf("got %d decimals, want %d", got, want)
	})
}

func TestListen(t *testing.T) {
	t.Parallel()
	dsn := kinds[0].migrated(t)
	d := newDesk(t, dsn, dsn, testenv.Redis(t).URL())
	d.settle()
	c := d.other

	// Rows of every table that is cached, changed in every way.
	accounts, err := c.Exchanges.ByUser(d.ctx, 1)
	must(t, err)
	if len(accounts) == 0 {
		t.Fatal("the demo user has no account")
	}
	account := accounts[0]
	seen := func(what string, see func() (bool, error)) {
		t.Helper()
		testenv.Eventually(t, what, func() (bool, string) {
			ok, err := see()
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			return ok, "not seen"
		})
	}
	d.do("UPDATE exchanges SET name = 'renamed' WHERE ex_id = $1", account.ID)
	seen("an account", func() (bool, error) {
		e, err := c.Exchanges.Get(d.ctx, account.ID)
		return e.Name == "renamed", err
	})
	seen("a user's accounts", func() (bool, error) {
		list, err := c.Exchanges.ByUser(d.ctx, 1)
		return list[0].Name == "renamed", err
	})
	d.do("INSERT INTO symbols (symbol, cat_ex_id, base, decimals) SELECT 'NEW/USD', cat_ex_id, 'NEW', 3 FROM cat_exchanges WHERE name = 'kraken'")
	seen("a new symbol", func() (bool, error) {
		return c.Symbols.Exists(d.ctx, fulloncache.Market{Exchange: "kraken", Symbol: "NEW/USD"})
	})
	d.do("DELETE FROM symbols WHERE symbol = 'NEW/USD'")
	seen("a deleted symbol", func() (bool, error) {
		ok, err := c.Symbols.Exists(d.ctx, fulloncache.Market{Exchange: "kraken", Symbol: "NEW/USD"})
		return !ok, err
	})
	d.do("INSERT INTO cat_exchanges (name) VALUES ('bitstamp')")
	seen("a new exchange", func() (bool, error) {
		_, err := c.Exchanges.CatalogueID(d.ctx, "bitstamp")
		if errors.Is(err, fulloncache.ErrNotFound) {
			return false, nil
		}
		return true, err
	})
	d.do("INSERT INTO cat_exchanges_params (cat_ex_id, name, value) SELECT cat_ex_id, 'rate', '15' FROM cat_exchanges WHERE name = 'bitstamp'")
	seen("a parameter", func() (bool, error) {
		params, err := c.Exchanges.Params(d.ctx, "bitstamp")
		return params["rate"] == "15", err
	})
	if _, err := c.Symbols.List(d.ctx, "kraken"); err != nil {
		t.Fatal(err)
	}
	d.do("UPDATE cat_exchanges SET name = 'kraken2' WHERE name = 'kraken'")
	seen("the new name's symbols", func() (bool, error) {
		list, err := c.Symbols.List(d.ctx, "kraken2")
		if errors.Is(err, fulloncache.ErrNotFound) {
			return false, nil
		}
		return len(list) == 2, err
	})
	seen("the old name's symbols", func() (bool, error) {
		_, err := c.Symbols.List(d.ctx, "kraken")
		if errors.Is(err, fulloncache.ErrNotFound) {
			return true, nil
		}
		return false, err
	})
	d.do("TRUNCATE symbols CASCADE")
	seen("no symbols", func() (bool, error) {
		list, err := c.Symbols.List(d.ctx, "kraken2")
		return len(list) == 0, err
	})
	d.do("TRUNCATE exchanges CASCADE")
	seen("no accounts", func() (bool, error) {
		list, err := c.Exchanges.ByUser(d.ctx, 1)
		return len(list) == 0, err
	})

	// What is no notice of ours makes the caches forget everything, to be safe.
	for _, payload := range []string{"not JSON", `{"table":"unknown"}`} {
		e, err := c.Exchanges.ByName(d.ctx, "bitstamp")
		must(t, err)
		was := e.Loaded
		d.do("SELECT pg_notify($1, $2)", orm.MetadataChannel, payload)
		seen("a notice "+payload, func() (bool, error) {
			e, err := c.Exchanges.ByName(d.ctx, "bitstamp")
			return e.Loaded.After(was), err
		})
	}
}

// What changes while the listener is cut off, for however long, is seen once it
// is back; operators are told of the loss, once.
func TestListenerCutOff(t *testing.T) {
	t.Parallel()
	for _, cut := range []struct {
		name string
		down func(*testing.T, *testenv.Proxy)
		up   func(*testing.T, *testenv.Proxy)
	}{
		{"refused", func(_ *testing.T, p *testenv.Proxy) { p.Cut() }, func(t *testing.T, p *testenv.Proxy) { p.Restore(t) }},
		// A connection that is dead and does not say so.
		{"silent", func(_ *testing.T, p *testenv.Proxy) { p.Stall() }, func(_ *testing.T, p *testenv.Proxy) { p.Flow() }},
	} {
		t.Run(cut.name, func(t *testing.T) {
			t.Parallel()
			server := testenv.Postgres(t)
			proxy := testenv.NewProxy(t, server.Addr())
			dsn := kinds[0].migrated(t)
			d := newDesk(t, dsn, proxy.DSN(t, dsn), testenv.Redis(t).URL())
			d.settle()
			for round := range 3 {
				cut.down(t, proxy)
				d.do("UPDATE symbols SET decimals = $1 WHERE symbol = 'BTC/USD'", 5+round)
				// The loss is noticed, or nothing would be made good.
				e, err := d.other.Base.PopGlobalError(d.ctx, time.Minute)
				must(t, err)
				if e.Component != "fullon.cache.listener" || !strings.Contains(e.Message, "changes in the database are not seen") {
					t.Errorf("got %+v", e)
				}
				if round == 2 && testenv.Soak() {
					// A minute, while rows change.
					for end := time.Now().Add(time.Minute); time.Now().Before(end); {
						d.do("UPDATE symbols SET decimals = 18 - decimals WHERE symbol = 'BTC/USD'")
					}
					d.do("UPDATE symbols SET decimals = $1 WHERE symbol = 'BTC/USD'", 5+round)
				}
				cut.up(t, proxy)
				d.shows(5 + round)
				d.settle()
			}
			if e, err := d.other.Base.PopGlobalError(d.ctx, 0); !errors.Is(err, fulloncache.ErrNotFound) {
				t.Errorf("a loss is told twice: %+v (%v)", e, err)
			}
		})
	}
}

func TestListenerOutlivesTheDatabase(t *testing.T) {
	t.Parallel()
	server := testenv.NewPostgres(t)
	dsn := server.Database(t)
	d := newDesk(t, dsn, dsn, testenv.Redis(t).URL())
	d.settle()
	was := d.decimals("BTC/USD")
	server.Kill()
	// The cache goes on answering.
	if got := d.decimals("BTC/USD"); got != was {
		t.Errorf("got %d, want %d", got, was)
	}
	server.Restart(t)
	d.do("UPDATE symbols SET decimals = $1 WHERE symbol = 'BTC/USD'", was+1)
	d.shows(was + 1)
}

// Changes that come while Redis is down are made good when it is back.
func TestListenerOutlivesRedis(t *testing.T) {
	t.Parallel()
	redis := testenv.NewRedis(t)
	dsn := kinds[0].migrated(t)
	d := newDesk(t, dsn, dsn, redis.URL())
	d.settle()
	redis.Freeze(t)
	for n := range 5 {
		d.do("UPDATE symbols SET decimals = $1 WHERE symbol = 'BTC/USD'", 5+n)
	}
	d.shows(-1) // the near cache believes it for 2 s
	redis.Thaw(t)
	d.shows(9)
	d.settle()
}

// A quiet database is asked for a sign of life, and goes on being heard.
func TestListenerInSilence(t *testing.T) {
	t.Parallel()
	server := testenv.NewPostgres(t)
	dsn := server.Database(t)
	d := newDesk(t, dsn, dsn, testenv.Redis(t).URL())
	d.settle()
	conn, err := pgx.Connect(d.ctx, dsn)
	must(t, err)
	defer func() { must(t, conn.Close(d.ctx)) }()
	testenv.Eventually(t, "a sign of life", func() (bool, string) {
		var n int
		must(t, conn.QueryRow(d.ctx, "SELECT count(*) FROM pg_stat_activity WHERE query = '-- ping'").Scan(&n))
		return n > 0, "nobody asked"
	})
	d.do("UPDATE symbols SET decimals = 7 WHERE symbol = 'BTC/USD'")
	d.shows(7)
}

// logged collects what the default logger is told.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logged) waitFor(t testing.TB, what string, times int) {
	t.Helper()
	testenv.Eventually(t, "the log says "+what, func() (bool, string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		return strings.Count(l.text.String(), what) >= times, l.text.String()
	})
}

// Neither a database nor a Redis that is down keeps a listener from ending, nor
// what happens from the log. It changes the default logger: it is not parallel.
func TestListenerEndsWhateverIsDown(t *testing.T) {
	var log logged
	was := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(was)

	ctx := testenv.Context(t)
	server, redis := testenv.Postgres(t), testenv.NewRedis(t)
	proxy := testenv.NewProxy(t, server.Addr())
	dsn := server.Database(t)
	db, err := orm.Open(ctx, proxy.DSN(t, dsn))
	must(t, err)
	defer func() { must(t, db.Close()) }()
	must(t, db.Migrate(ctx))
	c, err := fulloncache.New(ctx, fulloncache.Config{URL: redis.URL(), SymbolStore: db.Symbols, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	defer c.Close()
	listen := func() (end func()) {
		ctx, stop := context.WithCancel(ctx)
		ended := make(chan error, 1)
		go func() { ended <- db.Listen(ctx, c) }()
		return func() {
			t.Helper()
			stop()
			if err := <-ended; !errors.Is(err, context.Canceled) {
				t.Errorf("listen: %v", err)
			}
		}
	}

	end := listen()
	testenv.Eventually(t, "it listens", func() (bool, string) {
		n, err := redis.Do(t, "EXISTS", "exchange_generation").AsInt64()
		must(t, err)
		return n == 1, "the caches were told nothing yet"
	})
	redis.Kill()
	notify := func() {
		conn, err := pgx.Connect(ctx, dsn)
		must(t, err)
		_, err = conn.Exec(ctx, "SELECT pg_notify($1, '{}')", orm.MetadataChannel)
		must(t, err)
		must(t, conn.Close(ctx))
	}
	notify()
	log.waitFor(t, "the caches cannot be told of changes", 1)
	end()

	end = listen() // which begins with telling them
	log.waitFor(t, "the caches cannot be told of changes", 2)
	end()

	proxy.Cut()
	end = listen()
	log.waitFor(t, "the loss of the listener could not be reported", 1)
	log.waitFor(t, "changes in the database are not seen", 6) // it pauses longer each time
	end()
}

func TestListenRefuses(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	c, err := fulloncache.New(ctx, fulloncache.Config{URL: testenv.Redis(t).URL(), KeyPrefix: testenv.Prefix(t), Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	t.Cleanup(c.Close)
	open := func(dsn string) *orm.DB {
		db, err := orm.Open(ctx, dsn)
		must(t, err)
		return db
	}
	lite := open("sqlite::memory:")
	defer func() { must(t, lite.Close()) }()
	if err := lite.Listen(ctx, c); !errors.Is(err, fulloncache.ErrUnsupported) {
		t.Errorf("SQLite: %v", err)
	}
	db := open(testenv.Postgres(t).Database(t))
	var schema *orm.SchemaError
	if err := db.Listen(ctx, c); !errors.As(err, &schema) || !strings.Contains(err.Error(), "fulloncache db migrate") {
		t.Errorf("an empty database: %v", err)
	}
	must(t, db.Migrate(ctx))
	// A client that is closed listens no more.
	closed, err := fulloncache.New(ctx, fulloncache.Config{URL: testenv.Redis(t).URL(), KeyPrefix: testenv.Prefix(t), Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	closed.Close()
	if err := db.Listen(ctx, closed); !errors.Is(err, fulloncache.ErrClosed) {
		t.Errorf("a closed client: %v", err)
	}
	must(t, db.Close())
	if err := db.Listen(ctx, c); !errors.Is(err, fulloncache.ErrClosed) {
		t.Errorf("a closed database: %v", err)
	}
}
