package fulloncache_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// newMetaFaults is a test of the two caches on a server of its own.
func newMetaFaults(t *testing.T, tune func(*fulloncache.Config), args ...string) (*meta, *testenv.Server) {
	t.Helper()
	t.Parallel()
	srv := testenv.NewRedis(t, args...)
	s := &suite{T: t, mode: modes[0], ctx: testenv.Context(t), cfg: fulloncache.Config{
		URL: srv.URL(), KeyPrefix: "meta", Logger: quiet, SocketTimeout: time.Second, BreakerCooldown: 20 * time.Millisecond,
	}}
	return newMeta(s, memory(t), tune), srv
}

// of returns the events of a kind.
func (e *events) of(kind fulloncache.EventKind) (list []fulloncache.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, ev := range e.list {
		if ev.Kind == kind {
			list = append(list, ev)
		}
	}
	return list
}

// wantLoadError checks that the record is to blame, and that nobody takes it for
// an absent row.
func wantLoadError(t testing.TB, err error, key string, cause error) {
	t.Helper()
	var load *fulloncache.LoadError
	if !errors.As(err, &load) || load.Key != key || !errors.Is(err, fulloncache.ErrUnavailable) || !errors.Is(err, cause) || errors.Is(err, fulloncache.ErrNotFound) {
		t.Fatalf("got %v, want that %s could not be loaded: %v", err, key, cause)
	}
}

// lookup is a read of something that is cached.
type lookup struct {
	key  string
	read func(c *fulloncache.Client) (loaded time.Time, err error)
}

// lookups are reads of an account, and of a symbol, that are there.
func (m *meta) lookups(account fulloncache.Exchange) map[string]lookup {
	return map[string]lookup{
		"Exchanges.Get": {m.key("exchange", fmt.Sprint(account.ID), ""), func(c *fulloncache.Client) (time.Time, error) {
			e, err := c.Exchanges.Get(m.ctx, account.ID)
			return e.Loaded, err
		}},
		"Exchanges.ByUser": {m.key("user_exchanges", fmt.Sprint(account.UserID), ""), func(c *fulloncache.Client) (time.Time, error) {
			list, err := c.Exchanges.ByUser(m.ctx, account.UserID)
			if err != nil {
				return time.Time{}, err
			}
			return list[0].Loaded, nil
		}},
		"Exchanges.ByName": {m.cfg.KeyPrefix + ":cat_exchanges", func(c *fulloncache.Client) (time.Time, error) {
			e, err := c.Exchanges.ByName(m.ctx, "kraken")
			return e.Loaded, err
		}},
		"Symbols.Get": {m.key("symbols", "kraken", ""), func(c *fulloncache.Client) (time.Time, error) {
			s, err := c.Symbols.Get(m.ctx, btc)
			return s.Loaded, err
		}},
	}
}

var errDown = errors.New("the record is down")

// While the record is down, what is cached is answered with its age, beyond its
// time, and what is not is an error that is no answer.
func TestFaultRecordDown(t *testing.T) {
	const ttl = 2 * time.Second
	m, _ := newMetaFaults(t, func(cfg *fulloncache.Config) {
		forgetful(cfg)
		cfg.TTLExchange, cfg.TTLSymbol = ttl, ttl
	})
	lookups := m.lookups(m.account(m.rec.user(m), m.list("kraken"), "main"))
	m.symbol(btc)
	m.watch.fail(errDown)
	for _, l := range lookups {
		_, err := l.read(m.c)
		wantLoadError(t, err, l.key, errDown)
	}
	m.watch.fail(nil)
	first := make(map[string]time.Time)
	testenv.Eventually(t, "recovery", func() (bool, string) { // a failed load is told to all for a moment
		for name, l := range lookups {
			loaded, err := l.read(m.c)
			if err != nil {
				return false, err.Error()
			}
			first[name] = loaded
		}
		return true, ""
	})
	m.watch.fail(errDown)
	failed := len(m.ev.of(fulloncache.EventLoadFailed))
	testenv.Eventually(t, "an attempt to load each anew", func() (bool, string) {
		keys := make(map[string]bool)
		for _, ev := range m.ev.of(fulloncache.EventLoadFailed)[failed:] {
			keys[ev.Subject] = true
			if !errors.Is(ev.Err, errDown) {
				t.Errorf("event %+v", ev)
			}
		}
		for name, l := range lookups {
			loaded, err := l.read(m.c)
			must(t, err)
			if !loaded.Equal(first[name]) {
				t.Fatalf("%s: loaded %s, want %s: the record is down", name, loaded, first[name])
			}
		}
		return len(keys) == len(lookups), fmt.Sprint(keys)
	})
	// Nobody can know whether what they lack has come since.
	for _, c := range m.both() {
		_, err := c.Symbols.Get(m.ctx, eth)
		wantErr(t, err, fulloncache.ErrUnavailable, "symbols:kraken")
		_, err = c.Symbols.Exists(m.ctx, eth)
		wantErr(t, err, fulloncache.ErrUnavailable)
		_, err = c.Exchanges.CatalogueID(m.ctx, "binance")
		wantErr(t, err, fulloncache.ErrUnavailable, "cat_exchanges")
		_, err = c.Ticks.RoundPrice(m.ctx, eth, dec("1"))
		wantErr(t, err, fulloncache.ErrUnavailable)
	}
	m.watch.fail(nil)
	for name, l := range lookups {
		testenv.Eventually(t, name+" anew", func() (bool, string) {
			loaded, err := l.read(m.c)
			must(t, err)
			return loaded.After(first[name]), loaded.String()
		})
	}
}

func TestFaultRecordHangs(t *testing.T) {
	const limit = 200 * time.Millisecond
	m, _ := newMetaFaults(t, func(cfg *fulloncache.Config) { cfg.LoadTimeout = limit })
	user, kraken := m.rec.user(m), m.list("kraken")
	account, symbol := m.account(user, kraken, "main"), m.symbol(btc)
	for _, deaf := range []bool{false, true} {
		end := m.watch.hang(t, deaf)
		for name, l := range m.lookups(account) {
			start := time.Now()
			_, err := l.read(m.c)
			wantLoadError(t, err, l.key, context.DeadlineExceeded)
			if took := time.Since(start); took < limit || took > 5*time.Second {
				t.Errorf("%s: %s, want %s", name, took, limit)
			}
		}
		end()
	}
	m.watch.hang(t, false)
	for name, write := range map[string]func() error{
		"Add":             func() error { _, err := m.c.Exchanges.Add(m.ctx, account); return err },
		"Update":          func() error { _, err := m.c.Exchanges.Update(m.ctx, account); return err },
		"Delete":          func() error { return m.c.Exchanges.Delete(m.ctx, account.ID) },
		"AddCatalogue":    func() error { _, err := m.c.Exchanges.AddCatalogue(m.ctx, kraken); return err },
		"UpdateCatalogue": func() error { _, err := m.c.Exchanges.UpdateCatalogue(m.ctx, kraken); return err },
		"DeleteCatalogue": func() error { return m.c.Exchanges.DeleteCatalogue(m.ctx, kraken.ID) },
		"Symbols.Add":     func() error { _, err := m.c.Symbols.Add(m.ctx, symbol); return err },
		"Symbols.Update":  func() error { _, err := m.c.Symbols.Update(m.ctx, symbol); return err },
		"Symbols.Delete":  func() error { return m.c.Symbols.Delete(m.ctx, btc) },
		"Symbols.Upsert":  func() error { _, err := m.c.Symbols.Upsert(m.ctx, []fulloncache.Symbol{symbol}); return err },
	} {
		start := time.Now()
		wantErr(t, write(), context.DeadlineExceeded)
		if took := time.Since(start); took < limit || took > 5*time.Second {
			t.Errorf("%s: %s, want %s", name, took, limit)
		}
	}
}

// What lies corrupt in Redis is reported, read anew from the record, and mended.
func TestMetadataCorrupt(t *testing.T) {
	everyMode(t, func(s *suite) {
		m := newMeta(s, memory(s), nil)
		account := m.account(m.rec.user(m), m.list("kraken"), "main")
		m.symbol(btc)
		m.symbol(eth)
		lookups := m.lookups(account)
		if m.mode.admin == nil {
			// Nobody else reaches the server in this process: there it can only be
			// checked that all is well.
			for _, l := range lookups {
				_, err := l.read(m.c)
				must(m, err)
			}
			return
		}
		if m.mode.name == "cluster" {
			l := lookups["Exchanges.ByName"]
			l.key = m.cfg.KeyPrefix + ":{cat_exchanges}"
			lookups["Exchanges.ByName"] = l
		}
		const set, unset, text = "HSET", "HDEL", "SET"
		id := fmt.Sprint(account.ID)
		foreignAccount := fmt.Sprintf(`{"ex_id":%d,"uid":%d,"cat_ex_id":1,"name":"x","test":false,"active":false}`, account.ID, account.UserID+1)
		otherAccount := fmt.Sprintf(`{"ex_id":%d,"uid":%d,"cat_ex_id":1,"name":"x","test":false,"active":false}`, account.ID+1, account.UserID)
		for _, damage := range []struct{ lookup, command, field, value, blamed string }{
			{"Symbols.Get", set, "BTC/USD", "{", "BTC/USD"},
			{"Symbols.Get", set, "BTC/USD", "", "BTC/USD"},
			{"Symbols.Get", set, "BTC/USD", "null", "BTC/USD"},
			{"Symbols.Get", set, "BTC/USD", `{"exchange":"kraken","symbol":"BTC/USD","base":"BTC","decimals":"1","lot_decimals":1}`, "BTC/USD"},
			{"Symbols.Get", set, "BTC/USD", `{"exchange":"kraken","symbol":"BTC/USD","base":"BTC","decimals":99,"lot_decimals":1}`, "BTC/USD"},
			{"Symbols.Get", set, "BTC/USD", `{"exchange":"kraken","symbol":"BTC/USD","base":"BTC","decimals":1,"lot_decimals":1,"order_min":1e999}`, "BTC/USD"},
			{"Symbols.Get", set, "BTC/USD", `{"exchange":"kraken","symbol":"BTC/USD","decimals":1,"lot_decimals":1}`, "BTC/USD"},
			{"Symbols.Get", set, "BTC/USD", `{"exchange":"kraken","symbol":"ETH/USD","base":"ETH","decimals":1,"lot_decimals":1}`, "BTC/USD"},
			{"Symbols.Get", set, "BTC/USD", `{"exchange":"bitmex","symbol":"BTC/USD","base":"BTC","decimals":1,"lot_decimals":1}`, "BTC/USD"},
			{"Symbols.Get", set, "XRP/USD", "[]", "XRP/USD"},
			{"Symbols.Get", set, "", "now", ""},
			{"Symbols.Get", set, "", "", ""},
			{"Symbols.Get", unset, "", "", ""},
			{"Symbols.Get", text, "", "text", ""},
			{"Exchanges.Get", set, id, "{", id},
			{"Exchanges.Get", set, id, otherAccount, id},
			{"Exchanges.Get", set, id, `{"ex_id":` + id + `,"uid":0}`, id},
			{"Exchanges.Get", set, "7777777", otherAccount, "7777777"},
			{"Exchanges.Get", unset, id, "", ""},
			{"Exchanges.Get", set, "", "2026", ""},
			{"Exchanges.Get", text, "", "text", ""},
			{"Exchanges.ByUser", set, id, "[1]", id},
			{"Exchanges.ByUser", set, id, foreignAccount, id},
			{"Exchanges.ByUser", set, id, otherAccount, id},
			{"Exchanges.ByUser", text, "", "text", ""},
			{"Exchanges.ByName", set, "kraken", `"kraken"`, "kraken"},
			{"Exchanges.ByName", set, "kraken", `{"cat_ex_id":1,"name":"binance"}`, "kraken"},
			{"Exchanges.ByName", set, "binance", `{"cat_ex_id":1,"name":""}`, "binance"},
			{"Exchanges.ByName", text, "", "text", ""},
		} {
			l := lookups[damage.lookup]
			must(m, m.c.Symbols.InvalidateAll(m.ctx))
			must(m, m.c.Exchanges.InvalidateAll(m.ctx))
			var seen events
			cfg := m.cfg
			cfg.Hooks = []fulloncache.Hooks{seen.hook()}
			reader := open(m.T, cfg) // it has heard nothing yet
			_, err := l.read(m.c)
			must(m, err)
			switch damage.command {
			case set:
				m.do(set, l.key, damage.field, damage.value)
			case unset:
				m.do(unset, l.key, damage.field)
			case text:
				m.do("DEL", l.key)
				m.do(text, l.key, damage.value)
			}
			what := fmt.Sprintf("%s with %s %q=%q", damage.lookup, damage.command, damage.field, damage.value)
			m.costs(1, func() {
				for range 3 {
					if _, err := l.read(reader); err != nil {
						m.Fatalf("%s: %v", what, err)
					}
				}
			})
			told := seen.of(fulloncache.EventCorrupt)
			if len(told) != 1 || told[0].Subject != l.key {
				m.Fatalf("%s: events %+v", what, told)
			}
			wantCorrupt(m, told[0].Err, l.key, damage.blamed)
			reader.Close()
		}
		// A process that cannot mend it says so.
		l := lookups["Symbols.Get"]
		m.do("HSET", l.key, "BTC/USD", "{")
		var seen events
		cfg := m.cfg
		cfg.SymbolStore, cfg.Hooks = nil, []fulloncache.Hooks{seen.hook()}
		_, err := l.read(open(m.T, cfg))
		wantLoadError(m, err, l.key, fulloncache.ErrUnsupported)
		wantCorrupt(m, seen.of(fulloncache.EventCorrupt)[0].Err, l.key, "BTC/USD")
	})
}

// lie is what a record answers, whatever it is asked.
type lie struct {
	account   fulloncache.Exchange
	catalogue []fulloncache.CatExchange
	symbols   []fulloncache.Symbol
	err       error
}

type lyingExchanges struct {
	fulloncache.ExchangeStore // its writes are not called
	*lie
}

func (l lyingExchanges) ByID(context.Context, int64) (fulloncache.Exchange, error) {
	return l.account, l.err
}

func (l lyingExchanges) ByUser(context.Context, int64) ([]fulloncache.Exchange, error) {
	return []fulloncache.Exchange{l.account}, l.err
}

func (l lyingExchanges) Catalogue(context.Context) ([]fulloncache.CatExchange, error) {
	return l.catalogue, l.err
}

type lyingSymbols struct {
	fulloncache.SymbolStore // its writes are not called
	*lie
}

func (l lyingSymbols) ByExchange(context.Context, string) ([]fulloncache.Symbol, error) {
	return l.symbols, l.err
}

// A record that answers something else than it was asked is not believed.
func TestRecordThatAnswersSomethingElse(t *testing.T) {
	t.Parallel()
	ctx := testenv.Context(t)
	l := &lie{}
	c := func() *fulloncache.Client {
		return open(t, fulloncache.Config{
			URL: testenv.Redis(t).URL(), KeyPrefix: testenv.Prefix(t),
			ExchangeStore: lyingExchanges{lie: l}, SymbolStore: lyingSymbols{lie: l},
		})
	}
	good := fulloncache.Exchange{ID: 7, UserID: 1, CatExchangeID: 1, Name: "x"}
	for name, change := range map[string]func(e *fulloncache.Exchange){
		"another account": func(e *fulloncache.Exchange) { e.ID = 8 },
		"no account":      func(e *fulloncache.Exchange) { *e = fulloncache.Exchange{} },
		"no name":         func(e *fulloncache.Exchange) { e.Name = "" },
		"no such time":    func(e *fulloncache.Exchange) { e.Created = time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		l.account = good
		change(&l.account)
		if e, err := c().Exchanges.Get(ctx, 7); !errors.Is(err, fulloncache.ErrUnavailable) || e != (fulloncache.Exchange{}) {
			t.Errorf("%s: %+v, %v", name, e, err)
		}
	}
	l.account = good
	_, err := c().Exchanges.ByUser(ctx, 2)
	wantErr(t, err, fulloncache.ErrUnavailable, "account 7 of user 1")
	l.catalogue = []fulloncache.CatExchange{{ID: 1}}
	_, err = c().Exchanges.Catalogue(ctx)
	wantErr(t, err, fulloncache.ErrUnavailable)
	for _, wrong := range []fulloncache.Symbol{{}, symbolOf(fulloncache.Market{Exchange: "bitmex", Symbol: "A/B"})} {
		l.symbols = []fulloncache.Symbol{symbolOf(btc), wrong}
		_, err = c().Symbols.List(ctx, "kraken")
		wantErr(t, err, fulloncache.ErrUnavailable)
	}
	// Lists that are not found are none.
	l.err = fulloncache.ErrNotFound
	list, err := c().Exchanges.Catalogue(ctx)
	wantRows(t, list, err)
	_, err = c().Exchanges.ByName(ctx, "kraken")
	wantErr(t, err, fulloncache.ErrNotFound)
	_, err = c().Exchanges.ByUser(ctx, 1)
	wantErr(t, err, fulloncache.ErrNotFound)
}

// Redis dies while the record answers: those who asked have their answer all the
// same, and the next load is cached.
func TestFaultRedisKilledMidFill(t *testing.T) {
	m, srv := newMetaFaults(t, nil)
	m.list("kraken")
	want := m.symbol(btc)
	g := m.watch.stop("by exchange", true)
	reading := later(m, func() (fulloncache.Symbol, error) { return m.c.Symbols.Get(m.ctx, btc) })
	g.await(m)
	srv.Kill()
	close(g.open)
	got, err := reading()
	wantRow(m, got, err, want)
	if told := m.ev.of(fulloncache.EventNotCached); len(told) == 0 || told[0].Subject != "meta:symbols:kraken" || !errors.Is(told[0].Err, fulloncache.ErrUnavailable) {
		t.Errorf("events %+v", told)
	}
	srv.Restart(t)
	seen(m, want, func() (fulloncache.Symbol, error) { return m.c.Symbols.Get(m.ctx, btc) })
	m.costs(0, func() {
		got, err := m.bare.Symbols.Get(m.ctx, btc)
		for errors.Is(err, fulloncache.ErrUnavailable) && m.ctx.Err() == nil { // it reconnects
			got, err = m.bare.Symbols.Get(m.ctx, btc)
		}
		wantRow(m, got, err, want)
	})
}

// everyWrite calls each write of both caches.
func (m *meta) everyWrite(account fulloncache.Exchange, kraken fulloncache.CatExchange) map[string]error {
	got := make(map[string]error)
	x, y := m.c.Exchanges, m.c.Symbols
	_, got["Exchanges.Add"] = x.Add(m.ctx, account)
	_, got["Exchanges.Update"] = x.Update(m.ctx, account)
	got["Exchanges.Delete"] = x.Delete(m.ctx, account.ID)
	_, got["Exchanges.AddCatalogue"] = x.AddCatalogue(m.ctx, kraken)
	_, got["Exchanges.UpdateCatalogue"] = x.UpdateCatalogue(m.ctx, kraken)
	got["Exchanges.DeleteCatalogue"] = x.DeleteCatalogue(m.ctx, kraken.ID)
	_, got["Symbols.Add"] = y.Add(m.ctx, symbolOf(btc))
	_, got["Symbols.Update"] = y.Update(m.ctx, symbolOf(btc))
	_, got["Symbols.Upsert"] = y.Upsert(m.ctx, []fulloncache.Symbol{symbolOf(btc)})
	got["Symbols.Delete"] = y.Delete(m.ctx, btc)
	got["Exchanges.Invalidate"] = x.Invalidate(m.ctx, 1)
	got["Exchanges.InvalidateUser"] = x.InvalidateUser(m.ctx, 1)
	got["Exchanges.InvalidateAll"] = x.InvalidateAll(m.ctx)
	got["Symbols.Invalidate"] = y.Invalidate(m.ctx, "kraken")
	got["Symbols.InvalidateAll"] = y.InvalidateAll(m.ctx)
	_, got["Symbols.Refresh"] = y.Refresh(m.ctx, "kraken")
	return got
}

// With Redis down nobody could be told of a change: nothing is written, nor is
// the record asked by those who cannot cache what it says.
func TestFaultRedisDown(t *testing.T) {
	m, srv := newMetaFaults(t, nil)
	kraken := m.list("kraken")
	account := m.account(m.rec.user(m), kraken, "main")
	m.symbol(btc)
	srv.Kill()
	m.costs(0, func() {
		for name, l := range m.lookups(account) {
			if _, err := l.read(m.c); !errors.Is(err, fulloncache.ErrUnavailable) || errors.Is(err, fulloncache.ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for name, err := range m.everyWrite(account, kraken) {
			if !errors.Is(err, fulloncache.ErrUnavailable) {
				t.Errorf("%s: %v", name, err)
			}
		}
		found, err := m.c.Symbols.Search(m.ctx, "", "kraken", "binance")
		if wantErr(t, err, fulloncache.ErrUnavailable); len(found) != 0 {
			t.Errorf("found %v", found)
		}
	})
	got, err := m.rec.exchanges.ByID(m.ctx, account.ID)
	wantRow(m, got, err, account)
}

// Redis dies after the record has committed: the caller is told what that means.
func TestFaultRedisKilledAfterCommit(t *testing.T) {
	for name, test := range map[string]struct {
		method string
		write  func(m *meta, kraken fulloncache.CatExchange, user int64) error
		says   string
	}{
		"Add": {"add account", func(m *meta, kraken fulloncache.CatExchange, user int64) error {
			e, err := m.c.Exchanges.Add(m.ctx, fulloncache.Exchange{UserID: user, CatExchangeID: kraken.ID, Name: "new"})
			if e.ID == 0 {
				m.Errorf("the account is stored, and its id is not told: %+v", e)
			}
			return err
		}, "is stored, but may be unknown for 10s"},
		"UpdateCatalogue": {"update exchange", func(m *meta, kraken fulloncache.CatExchange, _ int64) error {
			kraken.Name = "payward"
			e, err := m.c.Exchanges.UpdateCatalogue(m.ctx, kraken)
			if !e.Equal(kraken) {
				m.Errorf("the exchange is renamed, and that is not told: %+v", e)
			}
			return err
		}, "may carry the old name"},
		"Symbols.Delete": {"delete symbol", func(m *meta, _ fulloncache.CatExchange, _ int64) error {
			return m.c.Symbols.Delete(m.ctx, btc)
		}, "the symbol is deleted, its ticker is not"},
	} {
		t.Run(name, func(t *testing.T) {
			m, srv := newMetaFaults(t, nil)
			kraken, user := m.list("kraken"), m.rec.user(m)
			m.symbol(btc)
			g := m.watch.stop(test.method, true)
			writing := later(m, func() (struct{}, error) { return struct{}{}, test.write(m, kraken, user) })
			g.await(m)
			srv.Kill()
			close(g.open)
			_, err := writing()
			wantErr(t, err, fulloncache.ErrUnavailable, test.says)
			if told := m.ev.of(fulloncache.EventNotCached); len(told) == 0 {
				t.Error("nobody was told that the claim could not be given back")
			}
		})
	}
}

// A deletion that broke off between symbol and ticker is completed by the next.
func TestFaultDeletionBrokenOff(t *testing.T) {
	m, srv := newMetaFaults(t, nil, "--appendonly", "yes", "--appendfsync", "always")
	m.list("kraken")
	m.symbol(btc)
	must(t, m.c.Ticks.Set(m.ctx, tickOf(btc, "1", 0)))
	g := m.watch.stop("delete symbol", true)
	deleting := later(m, func() (struct{}, error) { return struct{}{}, m.c.Symbols.Delete(m.ctx, btc) })
	g.await(m)
	srv.Kill()
	close(g.open)
	_, err := deleting()
	wantErr(t, err, fulloncache.ErrUnavailable)
	srv.Restart(t)
	testenv.Eventually(t, "the server", func() (bool, string) {
		_, err := m.c.Ticks.Get(m.ctx, btc)
		if err != nil && !errors.Is(err, fulloncache.ErrUnavailable) {
			t.Fatal(err)
		}
		return err == nil, fmt.Sprint(err)
	})
	wantErr(t, m.c.Symbols.Delete(m.ctx, btc), fulloncache.ErrNotFound)
	_, err = m.c.Ticks.Get(m.ctx, btc)
	wantErr(t, err, fulloncache.ErrNotFound)
}

// A server that comes back with the data of a while ago is not believed.
func TestFaultRestartWithOlderData(t *testing.T) {
	m, srv := newMetaFaults(t, nil)
	user, kraken := m.rec.user(m), m.list("kraken")
	account, symbol := m.account(user, kraken, "old"), m.symbol(btc)
	for _, l := range m.lookups(account) {
		_, err := l.read(m.c)
		must(t, err)
	}
	srv.Do(t, "SAVE")
	var err error
	account.Name, symbol.Decimals, kraken.OHLCVView = "new", 9, "new"
	account, err = m.c.Exchanges.Update(m.ctx, account)
	must(t, err)
	_, err = m.c.Symbols.Update(m.ctx, symbol)
	must(t, err)
	_, err = m.c.Exchanges.UpdateCatalogue(m.ctx, kraken)
	must(t, err)
	srv.Kill()
	srv.Restart(t)
	if held, err := srv.Do(t, "HGET", "meta:symbols:kraken", "BTC/USD").ToString(); err != nil || !strings.Contains(held, `"decimals":1`) {
		t.Fatalf("the server holds %q, %v, want what it had saved", held, err)
	}
	back := func(read func() error) {
		t.Helper()
		testenv.Eventually(t, "the server", func() (bool, string) {
			err := read()
			if err != nil && !errors.Is(err, fulloncache.ErrUnavailable) {
				t.Fatal(err)
			}
			return err == nil, fmt.Sprint(err)
		})
	}
	for _, c := range m.both() {
		back(func() error {
			got, err := c.Symbols.Get(m.ctx, btc)
			if err == nil && !got.Equal(symbol) {
				t.Fatalf("got %+v", got)
			}
			return err
		})
		back(func() error {
			got, err := c.Exchanges.Get(m.ctx, account.ID)
			if err == nil && !got.Equal(account) {
				t.Fatalf("got %+v", got)
			}
			return err
		})
		back(func() error {
			list, err := c.Exchanges.ByUser(m.ctx, user)
			if err == nil && !slices.EqualFunc(list, []fulloncache.Exchange{account}, fulloncache.Exchange.Equal) {
				t.Fatalf("got %+v", list)
			}
			return err
		})
		back(func() error {
			got, err := c.Exchanges.ByName(m.ctx, "kraken")
			if err == nil && !got.Equal(kraken) {
				t.Fatalf("got %+v", got)
			}
			return err
		})
	}
}
