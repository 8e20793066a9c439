package fulloncache_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

// orderTests are the conformance tests of what may happen at once, and in which
// order it is seen.
var orderTests = map[string]metaTest{
	"order misses at once":            {run: testMissesAtOnce},
	"order load before write":         {run: testLoadBeforeWrite},
	"order load during write":         {run: testLoadDuringWrite},
	"order lost answers":              {run: testLostAnswers},
	"order caller gives up":           {run: testCallerGivesUp},
	"order rounds of writes":          {run: testRoundsOfWrites},
	"order rounds of account writes":  {run: testRoundsOfAccountWrites},
	"order account load before write": {run: testAccountLoadBeforeWrite},
}

// later runs a call and returns what waits for its result.
func later[T any](t testing.TB, call func() (T, error)) func() (T, error) {
	type result struct {
		v   T
		err error
	}
	done := make(chan result, 1)
	go func() {
		v, err := call()
		done <- result{v, err}
	}()
	return func() (T, error) {
		t.Helper()
		select {
		case r := <-done:
			return r.v, r.err
		case <-time.After(testenv.Patience):
			t.Fatal("the call does not return")
			panic("unreachable")
		}
	}
}

func testMissesAtOnce(m *meta) {
	want := m.account(m.rec.user(m), m.list("kraken"), "main")
	wantSymbol := m.symbol(btc)
	clients := []*fulloncache.Client{m.c, m.other, m.open(), m.open()}
	const each = 250
	run := func(call func(c *fulloncache.Client) error) {
		var all sync.WaitGroup
		start := make(chan struct{})
		for _, c := range clients {
			for range each {
				all.Go(func() {
					<-start
					if err := call(c); err != nil {
						m.Error(err)
					}
				})
			}
		}
		close(start)
		all.Wait()
	}
	m.costs(1, func() {
		run(func(c *fulloncache.Client) error {
			got, err := c.Symbols.Get(m.ctx, btc)
			if err == nil && !got.Equal(wantSymbol) {
				err = fmt.Errorf("got %+v", got)
			}
			return err
		})
	})
	m.costs(1, func() {
		run(func(c *fulloncache.Client) error {
			got, err := c.Exchanges.Get(m.ctx, want.ID)
			if err == nil && !got.Equal(want) {
				err = fmt.Errorf("got %+v", got)
			}
			return err
		})
	})
	// What is not there is asked for as seldom.
	m.costs(1, func() {
		run(func(c *fulloncache.Client) error {
			if ok, err := c.Symbols.Exists(m.ctx, fulloncache.Market{Exchange: "nowhere", Symbol: "A/B"}); ok || err != nil {
				return fmt.Errorf("%v, %v", ok, err)
			}
			return nil
		})
	})
}

// A row that was read before a write never covers what was written, however long
// its answer takes.
func testLoadBeforeWrite(m *meta) {
	m.list("kraken")
	was := m.symbol(btc)
	now := was
	now.Decimals = 9
	for _, reader := range []*fulloncache.Client{m.c, m.open()} {
		g := m.watch.stop("by exchange", true)
		old := later(m, func() (fulloncache.Symbol, error) { return reader.Symbols.Get(m.ctx, btc) })
		g.await(m)
		_, err := m.c.Symbols.Update(m.ctx, now)
		must(m, err)
		// Other processes do not wait for the one under way.
		seen(m, now, func() (fulloncache.Symbol, error) { return m.other.Symbols.Get(m.ctx, btc) })
		close(g.open)
		_, err = old() // it began before: either will do
		must(m, err)
		for _, c := range m.both() {
			seen(m, now, func() (fulloncache.Symbol, error) { return c.Symbols.Get(m.ctx, btc) })
		}
		now.Decimals++
		_, err = m.c.Symbols.Update(m.ctx, now)
		must(m, err)
		seen(m, now, func() (fulloncache.Symbol, error) { return m.other.Symbols.Get(m.ctx, btc) })
		must(m, m.c.Symbols.InvalidateAll(m.ctx))
		now.Decimals++
	}
}

func testAccountLoadBeforeWrite(m *meta) {
	user, kraken := m.rec.user(m), m.list("kraken")
	now := m.account(user, kraken, "main")
	for i, read := range map[string]func(c *fulloncache.Client) (fulloncache.Exchange, error){
		"by id": func(c *fulloncache.Client) (fulloncache.Exchange, error) { return c.Exchanges.Get(m.ctx, now.ID) },
		"by user": func(c *fulloncache.Client) (e fulloncache.Exchange, _ error) {
			list, err := c.Exchanges.ByUser(m.ctx, user)
			if len(list) == 1 {
				e = list[0]
			}
			return e, err
		},
	} {
		g := m.watch.stop(i, true)
		old := later(m, func() (fulloncache.Exchange, error) { return read(m.open()) })
		g.await(m)
		now.Name = "renamed while " + i
		_, err := m.c.Exchanges.Update(m.ctx, now)
		must(m, err)
		close(g.open)
		_, err = old()
		must(m, err)
		got, err := read(m.c)
		wantRow(m, got, err, now)
		seen(m, now, func() (fulloncache.Exchange, error) { return read(m.other) })

		// The exchange's new name is as good as a new row.
		must(m, m.c.Exchanges.InvalidateAll(m.ctx))
		g = m.watch.stop(i, true)
		old = later(m, func() (fulloncache.Exchange, error) { return read(m.open()) })
		g.await(m)
		kraken.Name += "!"
		_, err = m.c.Exchanges.UpdateCatalogue(m.ctx, kraken)
		must(m, err)
		now.CatName = kraken.Name
		close(g.open)
		_, err = old()
		must(m, err)
		got, err = read(m.c)
		wantRow(m, got, err, now)
		seen(m, now, func() (fulloncache.Exchange, error) { return read(m.other) })
		must(m, m.c.Exchanges.InvalidateAll(m.ctx))
	}
}

// What is read while a write is under way is of use to those who read it then.
func testLoadDuringWrite(m *meta) {
	m.list("kraken")
	was := m.symbol(btc)
	now := was
	now.Decimals = 9
	for _, committed := range []bool{false, true} {
		write := m.watch.stop("update symbol", committed)
		writing := later(m, func() (fulloncache.Symbol, error) { return m.c.Symbols.Update(m.ctx, now) })
		write.await(m)
		want := was
		if committed {
			want = now
		}
		seen(m, want, func() (fulloncache.Symbol, error) { return m.other.Symbols.Get(m.ctx, btc) })
		load := m.watch.stop("by exchange", true)
		old := later(m, func() (fulloncache.Symbol, error) { return m.c.Symbols.Get(m.ctx, btc) })
		load.await(m)
		close(write.open)
		_, err := writing()
		must(m, err)
		close(load.open)
		got, err := old() // it began before the write had ended
		must(m, err)
		if !got.Equal(was) && !got.Equal(now) {
			m.Errorf("got %+v", got)
		}
		got, err = m.c.Symbols.Get(m.ctx, btc)
		wantRow(m, got, err, now)
		seen(m, now, func() (fulloncache.Symbol, error) { return m.other.Symbols.Get(m.ctx, btc) })
		was = now
		now.Decimals++
	}
}

// A write whose answer is lost may have happened: nothing from before it stays.
func testLostAnswers(m *meta) {
	user, kraken := m.rec.user(m), m.list("kraken")
	account, symbol := m.account(user, kraken, "main"), m.symbol(btc)
	fill := func() {
		for _, c := range m.both() {
			_, err := c.Exchanges.Get(m.ctx, account.ID)
			must(m, err)
			_, err = c.Exchanges.ByUser(m.ctx, user)
			must(m, err)
			_, err = c.Symbols.Search(m.ctx, "")
			must(m, err)
		}
	}
	lost := errors.New("the answer is lost")
	write := func(call func() error) {
		m.Helper()
		fill()
		m.watch.lose(lost)
		err := call()
		m.watch.lose(nil)
		wantErr(m, err, lost)
	}
	account.Name, symbol.Decimals, kraken.Params = "renamed", 9, map[string]string{"a": "b"}
	write(func() error { _, err := m.c.Exchanges.Update(m.ctx, account); return err })
	got, err := m.c.Exchanges.Get(m.ctx, account.ID)
	wantRow(m, got, err, account)
	list, err := m.c.Exchanges.ByUser(m.ctx, user)
	wantRows(m, list, err, account)
	write(func() error { _, err := m.c.Symbols.Update(m.ctx, symbol); return err })
	gotSymbol, err := m.c.Symbols.Get(m.ctx, btc)
	wantRow(m, gotSymbol, err, symbol)
	write(func() error {
		_, err := m.c.Symbols.Upsert(m.ctx, []fulloncache.Symbol{symbolOf(fulloncache.Market{Exchange: "binance", Symbol: "A/B"})})
		return err
	})
	_, err = m.c.Exchanges.CatalogueID(m.ctx, "binance")
	must(m, err)

	// The queries that a change of the catalogue begins with fail first: lose the
	// answer of the change alone.
	for _, name := range []string{"kraken", "payward"} {
		fill()
		kraken.Name = name
		g := m.watch.stop("update exchange", false)
		renaming := later(m, func() (fulloncache.CatExchange, error) { return m.c.Exchanges.UpdateCatalogue(m.ctx, kraken) })
		g.await(m)
		m.watch.lose(lost)
		close(g.open)
		_, err := renaming()
		m.watch.lose(nil)
		wantErr(m, err, lost)
		gotExchange, err := m.c.Exchanges.ByName(m.ctx, name)
		wantRow(m, gotExchange, err, kraken)
		account.CatName, symbol.Exchange = name, name
		got, err := m.c.Exchanges.Get(m.ctx, account.ID)
		wantRow(m, got, err, account)
		gotSymbol, err := m.c.Symbols.Get(m.ctx, symbol.Market)
		wantRow(m, gotSymbol, err, symbol)
		seen(m, account, func() (fulloncache.Exchange, error) { return m.other.Exchanges.Get(m.ctx, account.ID) })
	}
}

// A caller who gives up while the database writes leaves nothing stale behind.
func testCallerGivesUp(m *meta) {
	user, kraken := m.rec.user(m), m.list("kraken")
	symbol := m.symbol(btc)
	_, err := m.c.Symbols.Get(m.ctx, btc)
	must(m, err)
	next := m.account(user, kraken, "main").ID + 1
	_, err = m.c.Exchanges.Get(m.ctx, next) // known to be absent
	wantErr(m, err, fulloncache.ErrNotFound)
	during := func(method string, call func(ctx context.Context) error) {
		m.Helper()
		ctx, cancel := context.WithCancel(m.ctx)
		g := m.watch.stop(method, true)
		writing := later(m, func() (struct{}, error) { return struct{}{}, call(ctx) })
		g.await(m)
		cancel()
		close(g.open)
		_, err := writing()
		must(m, err) // it was done
	}
	symbol.Decimals = 9
	during("update symbol", func(ctx context.Context) error { _, err := m.c.Symbols.Update(ctx, symbol); return err })
	got, err := m.c.Symbols.Get(m.ctx, btc)
	wantRow(m, got, err, symbol)
	during("add account", func(ctx context.Context) error {
		_, err := m.c.Exchanges.Add(ctx, fulloncache.Exchange{UserID: user, CatExchangeID: kraken.ID, Name: "second"})
		return err
	})
	account, err := m.c.Exchanges.Get(m.ctx, next)
	must(m, err)
	kraken.Name = "payward"
	during("update exchange", func(ctx context.Context) error { _, err := m.c.Exchanges.UpdateCatalogue(ctx, kraken); return err })
	account.CatName = "payward"
	again, err := m.c.Exchanges.Get(m.ctx, next)
	wantRow(m, again, err, account)
}

// history is what a writer has done so far: state n is that of its n-th write,
// and odd ones are those in which the row is there.
type history struct{ begun, ended atomic.Int64 }

// write does the next write.
func (h *history) write(do func(n int64) error) error {
	n := h.begun.Add(1)
	if err := do(n); err != nil {
		return fmt.Errorf("write %d: %w", n, err)
	}
	h.ended.Store(n)
	return nil
}

// read checks that a read sees a state that was, or became, current during it.
func (h *history) read(look func() (state int64, there bool, err error)) error {
	first := h.ended.Load()
	state, there, err := look()
	last := h.begun.Load()
	switch {
	case err != nil:
		return err
	case there && (state < first || state > last):
		return fmt.Errorf("state %d, while it went from %d to %d", state, first, last)
	case !there && first == last && first%2 == 1:
		return fmt.Errorf("not there in state %d", first)
	}
	return nil
}

// again returns what calls a function again and again beside others, and what ends
// that. Who asks what is near-cached would take all of a processor: each asks some
// thousand times a second.
func (m *meta) again() (call func(func() error), stop func()) {
	ctx, cancel := context.WithCancel(m.ctx)
	var others sync.WaitGroup
	call = func(do func() error) {
		others.Go(func() {
			pace := time.NewTicker(200 * time.Microsecond)
			defer pace.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-pace.C:
				}
				if err := do(); err != nil {
					m.Error(err)
					return
				}
			}
		})
	}
	return call, func() {
		cancel()
		others.Wait()
	}
}

// Two processes refresh, one adds and deletes the same symbol: who reads after a
// write has returned, in the process that wrote, sees it or a later one, and in
// the end all see what the record holds.
func testRoundsOfWrites(m *meta) {
	m.list("kraken")
	var h history
	again, stop := m.again()
	look := func() (int64, bool, error) {
		s, err := m.c.Symbols.Get(m.ctx, btc)
		if errors.Is(err, fulloncache.ErrNotFound) {
			return 0, false, nil
		}
		return int64(s.Backtest), true, err
	}
	for range 2 {
		again(func() error { return h.read(look) })
	}
	third := m.open()
	for _, c := range []*fulloncache.Client{m.other, third} {
		again(func() error { _, err := c.Symbols.Refresh(m.ctx, "kraken"); return err })
	}
	again(func() error { _, err := third.Symbols.List(m.ctx, "kraken"); return err })
	for range m.rec.rounds {
		err := h.write(func(n int64) error {
			if n%2 == 0 {
				return m.c.Symbols.Delete(m.ctx, btc)
			}
			s := symbolOf(btc)
			s.Backtest = int(n)
			_, err := m.c.Symbols.Add(m.ctx, s)
			return err
		})
		must(m, err)
		must(m, h.read(look))
		if m.Failed() {
			break
		}
	}
	stop()
	want, err := m.rec.symbols.ByExchange(m.ctx, "kraken")
	must(m, err)
	for _, c := range []*fulloncache.Client{m.c, m.other, third} {
		testenv.Eventually(m, "the record's state", func() (bool, string) {
			list, err := c.Symbols.List(m.ctx, "kraken")
			return err == nil && fmt.Sprint(names(list)) == fmt.Sprint(names(want)), fmt.Sprint(list, err)
		})
	}
}

// The same with accounts, whose two entries are of two caches.
func testRoundsOfAccountWrites(m *meta) {
	user, kraken := m.rec.user(m), m.list("kraken")
	account := m.account(user, kraken, "0")
	var h history
	again, stop := m.again()
	look := map[string]func() (int64, bool, error){
		"Get": func() (n int64, _ bool, err error) {
			e, err := m.c.Exchanges.Get(m.ctx, account.ID)
			if err == nil {
				_, err = fmt.Sscan(e.Name, &n)
			}
			return n, true, err
		},
		"ByUser": func() (n int64, _ bool, err error) {
			list, err := m.c.Exchanges.ByUser(m.ctx, user)
			if err == nil {
				_, err = fmt.Sscan(list[0].Name, &n)
			}
			return n, true, err
		},
	}
	for name, look := range look {
		again(func() error {
			if err := h.read(look); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
		again(func() error {
			if err := errors.Join(m.other.Exchanges.Invalidate(m.ctx, account.ID), m.other.Exchanges.InvalidateUser(m.ctx, user)); err != nil {
				return err
			}
			_, err := m.other.Exchanges.Get(m.ctx, account.ID)
			return err
		})
	}
	for range m.rec.rounds {
		err := h.write(func(n int64) error {
			account.Name = fmt.Sprint(n)
			_, err := m.c.Exchanges.Update(m.ctx, account)
			return err
		})
		must(m, err)
		for _, look := range look {
			must(m, h.read(look))
		}
		if m.Failed() {
			break
		}
	}
	stop()
	for _, c := range m.both() {
		seen(m, account, func() (fulloncache.Exchange, error) { return c.Exchanges.Get(m.ctx, account.ID) })
	}
}
