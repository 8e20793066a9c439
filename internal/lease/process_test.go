package lease_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
	"github.com/fullon/fulloncache/internal/lease"
	"github.com/fullon/fulloncache/internal/testenv"
)

// desk is what a process of bots is told.
type desk struct {
	Addr    string
	Ledger  string // address of the server of the store that the bots write to
	Prefix  string
	Bots    []string
	Symbols []string
	TTL     time.Duration
	Watch   bool // one bot that does nothing but look at its lease
}

const deskVariable = "FULLON_CACHE_LEASE_DESK"

// ledger is a store that checks tokens: of each symbol it keeps the greatest that it
// has seen, whose that was, and how much was written.
type ledger struct{ redis rueidis.Client }

func openLedger(addr string) (ledger, error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, ForceSingleClient: true, DisableCache: true})
	return ledger{client}, err
}

// The store's only rule, in one step: an older token is refused. What must never
// happen is that two leases come with the same token, or that one is given no
// greater token than what was written before it was asked for.
const judge = `
local stored = redis.call('HMGET', KEYS[1], 'token', 'lease')
local greatest, token, before = tonumber(stored[1] or 0), tonumber(ARGV[1]), tonumber(ARGV[3])
if token <= before or token == greatest and stored[2] ~= ARGV[2] then
  redis.call('RPUSH', 'violations', KEYS[1] .. ': ' .. ARGV[2] .. ' with ' .. ARGV[1] .. ', asked for after ' .. ARGV[3] ..
    ', stored is ' .. (stored[2] or 'nothing') .. ' with ' .. greatest)
  return 'violation'
elseif token < greatest then
  redis.call('INCR', 'refused')
  return 'refused'
end
redis.call('HSET', KEYS[1], 'token', ARGV[1], 'lease', ARGV[2])
redis.call('HINCRBY', KEYS[1], 'count', 1)
redis.call('INCR', 'accepted')
return 'accepted'`

// write counts one up, under a lease's token. The store had seen a token, or 0, of
// the symbol before the lease was asked for.
func (l ledger) write(symbol string, token int64, holder string, before int64) (string, error) {
	return l.redis.Do(context.Background(), l.redis.B().Eval().Script(judge).Numkeys(1).Key(symbol).
		Arg(strconv.FormatInt(token, 10), holder, strconv.FormatInt(before, 10)).Build()).ToString()
}

// seen is the greatest token of a symbol, 0 if there is none.
func (l ledger) seen(symbol string) (int64, error) {
	n, err := l.redis.Do(context.Background(), l.redis.B().Hget().Key(symbol).Field("token").Build()).AsInt64()
	if rueidis.IsRedisNil(err) {
		err = nil
	}
	return n, err
}

// verdict is the error of everything that must not have happened.
func (l ledger) verdict() error {
	list, err := l.redis.Do(context.Background(), l.redis.B().Lrange().Key("violations").Start(0).Stop(-1).Build()).AsStrSlice()
	if err == nil && len(list) > 0 {
		err = fmt.Errorf("%d times two held one lease: %q", len(list), list)
	}
	return err
}

// run is the process.
func (d desk) run() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	store, err := openLedger(d.Ledger)
	if err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	defer store.redis.Close()
	opt := options(d.Addr)
	opt.CallTimeout, opt.ConnectTimeout = time.Second, time.Second
	var db *kv.Client
	for db == nil {
		// It may be started while the network is down.
		if db, err = kv.Open(ctx, opt); err != nil && ctx.Err() != nil {
			return nil
		}
	}
	defer db.Close()
	rule := rules(keys.New(d.Prefix, 0, false), &losses{})
	rule.WaiterTTL = 2 * d.TTL // of the killed
	m := lease.New(db, rule)
	defer m.Close()
	if d.Watch {
		return d.watch(ctx, m, store)
	}
	var wg sync.WaitGroup
	errs := make(chan error, len(d.Bots))
	for _, bot := range d.Bots {
		wg.Go(func() { errs <- d.trade(ctx, m, store, bot) })
	}
	wg.Wait()
	close(errs)
	for e := range errs {
		err = errors.Join(err, e)
	}
	return err
}

var leaseCount atomic.Int64

// trade takes one symbol after another, writes under its lease, and gives it back.
func (d desk) trade(ctx context.Context, m *lease.Leases, store ledger, bot string) error {
	space := keys.New(d.Prefix, 0, false)
	for ctx.Err() == nil {
		r := resource(space, "kraken", d.Symbols[rand.IntN(len(d.Symbols))])
		before, err := store.seen(r.Name)
		if err != nil {
			return fmt.Errorf("%s: %w", bot, err)
		}
		waits, cancel := context.WithTimeout(ctx, 2*time.Second)
		l, err := m.Wait(waits, r, bot, asked(d.TTL))
		cancel()
		if err != nil {
			var blocked *blockedError
			if !errors.Is(err, errUnavailable) && !errors.As(err, &blocked) && !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
				return fmt.Errorf("%s: %w", bot, err)
			}
			continue
		}
		holder := fmt.Sprintf("%s/%d/%d", bot, os.Getpid(), leaseCount.Add(1))
		for range 1 + rand.IntN(4) {
			if l.Err() != nil {
				break
			}
			said, err := store.write(r.Name, l.Token, holder, before)
			if err != nil {
				return fmt.Errorf("%s: %w", bot, err)
			}
			if said == "refused" {
				break // somebody newer was there: the store has fenced it off
			}
		}
		_ = l.Release(ctx) // it may be lost, or the server away
	}
	return nil
}

// watch holds a lease and says when it began, and what it sees at its first look
// after its process was frozen for longer than the lease lasts.
func (d desk) watch(ctx context.Context, m *lease.Leases, store ledger) error {
	r := resource(keys.New(d.Prefix, 0, false), "kraken", d.Symbols[0])
	l, err := m.Acquire(ctx, r, d.Bots[0], asked(d.TTL))
	if err != nil {
		return err
	}
	if _, err := store.write(r.Name, l.Token, d.Bots[0], 0); err != nil {
		return err
	}
	fmt.Println("holds", l.Token)
	last := time.Now()
	for n := 0; ctx.Err() == nil; n++ {
		now := time.Now()
		frozen := now.Sub(last) > d.TTL
		last = now
		// Both ways to look at it.
		err := l.Err()
		if n%2 == 1 {
			err = l.Context().Err()
		}
		if err == nil && !frozen {
			continue
		}
		said, werr := store.write(r.Name, l.Token, d.Bots[0], 0)
		fmt.Printf("frozen %t held %t wrote %s %v because %v\n", frozen, err == nil, said, werr, l.Err())
		return nil
	}
	return nil
}

// process is a desk's process.
type process struct {
	cmd  *exec.Cmd
	out  *bufio.Reader
	errs bytes.Buffer
	done chan error
}

func (d desk) start(t testing.TB) *process {
	t.Helper()
	p := &process{cmd: testenv.Command(t, deskVariable, d), done: make(chan error, 1)}
	p.cmd.Stderr = &p.errs
	// Not StdoutPipe, which Wait would close before all is read.
	r, w, err := os.Pipe()
	must(t, err)
	p.out, p.cmd.Stdout = bufio.NewReader(r), w
	must(t, p.cmd.Start())
	must(t, w.Close())
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it has mostly ended
		_ = r.Close()
	})
	go func() { p.done <- p.cmd.Wait() }()
	return p
}

// line reads what a process says.
func (p *process) line(t testing.TB) string {
	t.Helper()
	said := make(chan string, 1)
	go func() {
		text, err := p.out.ReadString('\n')
		said <- fmt.Sprint(text, errOrNothing(err))
	}()
	select {
	case text := <-said:
		return text
	case <-time.After(testenv.Patience):
		t.Fatalf("the process says nothing: %s", p.errs.String())
		return ""
	}
}

func errOrNothing(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// kill ends it as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

func (p *process) signal(t testing.TB, s syscall.Signal) {
	t.Helper()
	must(t, p.cmd.Process.Signal(s))
}

// stop tells processes to end and waits until they have.
func stop(t testing.TB, list ...*process) {
	t.Helper()
	for _, p := range list {
		p.signal(t, syscall.SIGTERM)
	}
	for _, p := range list {
		select {
		case err := <-p.done:
			if err != nil {
				t.Errorf("a desk ended with %v: %s", err, p.errs.String())
			}
		case <-time.After(testenv.Patience):
			p.kill()
			t.Errorf("a desk does not end: %s", p.errs.String())
		}
	}
}
