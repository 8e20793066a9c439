package lease_test

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/testenv"
)

// The store that judges the leases of the fault tests would see it if one was given
// twice, or a token went back.
func TestJudge(t *testing.T) {
	t.Parallel()
	store, err := openLedger(testenv.NewRedis(t).Addr())
	must(t, err)
	t.Cleanup(store.redis.Close)
	steps := []struct {
		token  int64
		lease  string
		before int64 // what was stored when the lease was asked for
		want   string
	}{
		{5, "a", 0, "accepted"},
		{5, "a", 0, "accepted"},
		{7, "b", 5, "accepted"},
		{5, "a", 0, "refused"}, // late, and fenced off
		{6, "c", 5, "refused"},
		{7, "d", 5, "violation"}, // b and d hold it
		{7, "d", 7, "violation"},
		{6, "e", 7, "violation"}, // it was given after b wrote
		{8, "e", 8, "violation"},
		{8, "e", 7, "accepted"},
	}
	said := map[string]int{}
	for i, s := range steps {
		got, err := store.write("S", s.token, s.lease, s.before)
		if must(t, err); got != s.want {
			t.Errorf("step %d: %s, want %s", i, got, s.want)
		}
		said[got]++
		if err := store.verdict(); (err != nil) != (said["violation"] > 0) {
			t.Errorf("step %d: the verdict is %v", i, err)
		}
	}
	if err := store.verdict(); err == nil || !strings.Contains(err.Error(), "4 times") || !strings.Contains(err.Error(), "S: d with 7") {
		t.Errorf("the verdict is %v", err)
	}
	seen, err := store.seen("S")
	if must(t, err); seen != 8 {
		t.Errorf("token %d", seen)
	}
	if n, err := store.redis.Do(testenv.Context(t), store.redis.B().Hget().Key("S").Field("count").Build()).AsInt64(); err != nil || int(n) != said["accepted"] {
		t.Errorf("%d counted, %v, of %v", n, err, said)
	}
}

// Fifty bots in eight processes fight for three symbols, while holders are killed
// and frozen for longer than a lease lasts, the network is cut and stalled, and the
// server loses everything. A store that compares tokens counts what they write: it
// never sees two leases with one token, nor a token that goes back, and takes
// nothing of one lease after a newer one wrote. FULLON_CACHE_SOAK=1 goes on for a
// minute.
func TestFaultMutualExclusion(t *testing.T) {
	const bots, processes = 50, 8
	srv, book := testenv.NewRedis(t), testenv.NewRedis(t)
	proxy := testenv.NewProxy(t, srv.Addr())
	store, err := openLedger(book.Addr())
	must(t, err)
	t.Cleanup(store.redis.Close)
	symbols := []string{"BTC/USD", "ETH/USD", "XRP/USD"}
	ttl, pause, lasts := 300*time.Millisecond, 100*time.Millisecond, time.Duration(0)
	if testenv.Soak() {
		ttl, pause, lasts = time.Second, 500*time.Millisecond, time.Minute
	}
	desks := make([]desk, processes)
	for i := range desks {
		desks[i] = desk{Addr: proxy.Addr(), Ledger: book.Addr(), Prefix: "fault", Symbols: symbols, TTL: ttl}
	}
	for i := range bots {
		d := &desks[i%processes]
		d.Bots = append(d.Bots, fmt.Sprint("bot_", i))
	}
	running := make([]*process, processes)
	for i, d := range desks {
		running[i] = d.start(t)
	}
	count := func(words ...string) int64 {
		n, _ := book.Do(t, words...).AsInt64() // absent is 0
		return n
	}
	// progress waits until something more was written of every symbol: whoever had
	// it, or was first in line, is gone.
	progress := func() {
		t.Helper()
		for _, symbol := range symbols {
			before := count("HGET", symbol, "count")
			testenv.Eventually(t, "progress of "+symbol, func() (bool, string) {
				n := count("HGET", symbol, "count")
				return n > before+5, fmt.Sprint(n, " after ", before)
			})
		}
	}
	// holder is the process that wrote last, and so probably has a lease.
	holder := func(n int) int {
		lease, err := book.Do(t, "HGET", symbols[n%len(symbols)], "lease").ToString()
		must(t, err)
		i := slices.IndexFunc(running, func(p *process) bool { return strings.Contains(lease, fmt.Sprint("/", p.cmd.Process.Pid, "/")) })
		return max(i, 0)
	}
	rest := func(d time.Duration) { <-time.After(d) }
	progress()
	faults := []func(n int){
		func(n int) {
			i := holder(n)
			running[i].kill()
			running[i] = desks[i].start(t)
		},
		func(n int) {
			p := running[holder(n)]
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
		faults[n%len(faults)](n)
		progress()
	}
	stop(t, running...)
	must(t, store.verdict())
	t.Logf("%d faults, %d writes accepted, %d of older tokens refused", n, count("GET", "accepted"), count("GET", "refused"))
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
		said, err := store.write(d.Symbols[0], l.Token, "next", 0)
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
