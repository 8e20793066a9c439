package lease_test

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/testenv"
)

// Fifty bots in eight processes fight for three symbols, while processes are killed
// and frozen for longer than a lease lasts, the network is cut and stalled, and the
// server loses everything. A store that compares tokens counts what they write: it
// never sees two leases with one token, and takes nothing of one after a newer one
// wrote. FULLON_CACHE_SOAK=1 goes on for a minute.
func TestFaultMutualExclusion(t *testing.T) {
	const bots, processes = 50, 8
	srv, book := testenv.NewRedis(t), testenv.NewRedis(t)
	proxy := testenv.NewProxy(t, srv.Addr())
	ttl, pause, lasts := 300*time.Millisecond, 100*time.Millisecond, time.Duration(0)
	if testenv.Soak() {
		ttl, pause, lasts = time.Second, 500*time.Millisecond, time.Minute
	}
	desks := make([]desk, processes)
	for i := range desks {
		desks[i] = desk{Addr: proxy.Addr(), Ledger: book.Addr(), Prefix: "fault", Symbols: []string{"BTC/USD", "ETH/USD", "XRP/USD"}, TTL: ttl}
	}
	for i := range bots {
		d := &desks[i%processes]
		d.Bots = append(d.Bots, fmt.Sprint("bot_", i))
	}
	running := make([]*process, processes)
	for i, d := range desks {
		running[i] = d.start(t)
	}
	count := func(key string) int64 {
		n, _ := book.Do(t, "GET", key).AsInt64() // absent is 0
		return n
	}
	// progress waits until something more was written.
	progress := func() {
		t.Helper()
		before := count("accepted")
		testenv.Eventually(t, "progress", func() (bool, string) { return count("accepted") > before+20, fmt.Sprint(before) })
	}
	rest := func(d time.Duration) { <-time.After(d) }
	progress()
	faults := []func(n int){
		func(n int) {
			running[n%processes].kill()
			running[n%processes] = desks[n%processes].start(t)
		},
		func(n int) {
			p := running[n%processes]
			p.signal(t, syscall.SIGSTOP)
			rest(2 * ttl)
			p.signal(t, syscall.SIGCONT)
		},
		func(int) {
			proxy.Cut()
			rest(pause)
			proxy.Restore(t)
		},
		func(int) {
			proxy.Stall()
			rest(2 * ttl)
			proxy.Flow()
		},
		func(int) {
			srv.Kill()
			srv.Restart(t)
		},
	}
	n := 0
	for begun := time.Now(); n < len(faults) || time.Since(begun) < lasts; n++ {
		faults[n%len(faults)](n / 2)
		progress()
	}
	for _, p := range running {
		p.stop(t)
	}
	violations, err := book.Do(t, "LRANGE", "violations", "0", "-1").AsStrSlice()
	must(t, err)
	if len(violations) > 0 {
		t.Errorf("%d times two leases had one token: %q", len(violations), violations)
	}
	t.Logf("%d faults, %d writes accepted, %d of older tokens refused", n, count("accepted"), count("refused"))
}

// A holder that was frozen for longer than its lease lasts sees at its first look
// that it is lost; and where it writes without looking, its token is refused.
func TestFaultFrozenHolder(t *testing.T) {
	srv, book := testenv.NewRedis(t), testenv.NewRedis(t)
	store, err := openLedger(book.Addr())
	must(t, err)
	t.Cleanup(store.redis.Close)
	rounds := 1
	if testenv.Soak() {
		rounds = 10
	}
	for round := range rounds {
		d := desk{Addr: srv.Addr(), Ledger: book.Addr(), Prefix: "frozen", Bots: []string{"frozen"}, Symbols: []string{fmt.Sprint("S", round)}, TTL: time.Second, Watch: true}
		p := d.start(t)
		if said := p.line(t); !strings.HasPrefix(said, "holds ") {
			t.Fatalf("%q, %s", said, p.errs.String())
		}
		p.signal(t, syscall.SIGSTOP)
		s := newSuite(t, options(srv.Addr()))
		s.btc = resource(keys.New("frozen", 0, false), "kraken", d.Symbols[0])
		l, err := s.leases().Wait(s.ctx, s.btc, "next", asked(time.Minute))
		must(t, err)
		said, err := store.write(d.Symbols[0], l.Token, "next")
		if must(t, err); said != "accepted" {
			t.Fatalf("the next holder's write: %s", said)
		}
		// It stays frozen until its own clock says so too.
		<-time.After(d.TTL)
		p.signal(t, syscall.SIGCONT)
		if said := p.line(t); !strings.Contains(said, "held false wrote refused <nil> because ") || !strings.Contains(said, errLost.Error()) {
			t.Errorf("got %q", said)
		}
		must(t, l.Err())
		must(t, l.Release(s.ctx))
		must(t, <-p.done)
	}
}
