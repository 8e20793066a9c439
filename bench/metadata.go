package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
	"github.com/fullon/fulloncache/orm"
)

// metadata is a PostgreSQL with symbols, and clients that have it behind them.
type metadata struct {
	*bench
	dsn string
	db  *orm.DB
}

// withMetadata runs do with a database that has 300 symbols at "kraken" and one
// at "one".
func withMetadata(do func(m *metadata) error) func(*bench) error {
	return func(b *bench) (err error) {
		server, stop, err := testenv.StartPostgres(b.ctx)
		if err != nil {
			return err
		}
		defer stop()
		m := &metadata{bench: b, dsn: server.DSN(server.Addr(), "postgres")}
		if m.db, err = orm.Open(b.ctx, m.dsn); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, m.db.Close()) }()
		if err := m.db.Migrate(b.ctx); err != nil {
			return err
		}
		if _, err := m.db.Symbols.Upsert(b.ctx, append(symbols("kraken", 300), symbols("one", 1)...)); err != nil {
			return err
		}
		return do(m)
	}
}

// open returns a client with the database behind it.
func (m *metadata) open(symbols fulloncache.SymbolStore, hooks ...fulloncache.Hooks) (*fulloncache.Client, error) {
	return m.client(func(cfg *fulloncache.Config) {
		cfg.ExchangeStore, cfg.SymbolStore, cfg.Hooks = m.db.Exchanges, symbols, hooks
	})
}

func symbols(exchange string, n int) []fulloncache.Symbol {
	list := make([]fulloncache.Symbol, n)
	for i := range list {
		base := fmt.Sprintf("C%03d", i)
		list[i] = fulloncache.Symbol{
			Market: fulloncache.Market{Exchange: exchange, Symbol: base + "/USD"},
			Base:   base, Quote: "USD", Decimals: 2, LotDecimals: 8, OrderMin: fulloncache.Some(fulloncache.MustDecimal("0.05")),
			UpdateFrame: "1h", Backtest: 30,
		}
	}
	return list
}

// symbolNear is a symbol that the near cache has.
func symbolNear(m *metadata) error {
	c, err := m.open(m.db.Symbols)
	if err != nil {
		return err
	}
	defer c.Close()
	peers, closePeers, err := m.peers()
	if err != nil {
		return err
	}
	defer closePeers()
	const key = "peer-symbol"
	if err := peers[0].redis.Do(m.ctx, peers[0].redis.B().Set().Key(key).Value("BTC/USD").Build()).Error(); err != nil {
		return err
	}
	market := symbols("kraken", 1)[0].Market
	get := func(n int) error {
		for range n {
			if s, err := c.Symbols.Get(m.ctx, market); err != nil || s.Decimals != 2 {
				return fmt.Errorf("symbol: %+v (%w)", s, err)
			}
		}
		return nil
	}
	n := m.scale(100_000)
	contestants := []contestant{{"fulloncache", loop(n, get)}}
	for i, p := range peers {
		contestants = append(contestants, contestant{rueidisConfigs[i].name, loop(n, func(n int) error {
			for range n {
				v, err := p.redis.DoCache(m.ctx, p.redis.B().Get().Key(key).Cache(), time.Hour).ToString()
				if err != nil || v == "" {
					return fmt.Errorf("DoCache: %q (%w)", v, err)
				}
			}
			return nil
		})})
	}
	s, err := alternate(m.rounds, contestants)
	if err != nil {
		return err
	}
	if err := get(10); err != nil {
		return err
	}
	allocs := testing.AllocsPerRun(10_000, func() { _, _ = c.Symbols.Get(m.ctx, market) })
	peer := best(s[1:], false)
	r := ratios(s[0], peer)
	m.report.add(row{
		work: "Symbol from the near cache", ours: perOp(s[0]), peer: perOp(peer), peerName: peer.name + ", DoCache GET",
		ratio: r, limit: "≤ 2.00 and ≤ 1 alloc", ok: r.median <= 2 && allocs <= 1, note: fmt.Sprintf("%.0f allocs", allocs),
	})
	m.report.hit("symbol cache, near cache", s[0])
	return nil
}

// symbolList is the list of 300 symbols that are in Redis and not near.
func symbolList(m *metadata) error {
	var misses atomic.Int64
	c, err := m.open(m.db.Symbols, fulloncache.Hooks{Operation: func(op fulloncache.Operation) {
		if op.Hit == fulloncache.HitMiss {
			misses.Add(1)
		}
	}})
	if err != nil {
		return err
	}
	defer c.Close()
	peers, closePeers, err := m.peers()
	if err != nil {
		return err
	}
	defer closePeers()
	const key = "symbols:kraken"
	redis := peers[0].redis
	callers := []caller{{"fulloncache", func() (time.Duration, error) {
		// Whatever touches the key makes the near cache forget it.
		if err := redis.Do(m.ctx, redis.B().Persist().Key(key).Build()).Error(); err != nil {
			return 0, err
		}
		if err := redis.Do(m.ctx, redis.B().Pexpire().Key(key).Milliseconds(3_600_000).Build()).Error(); err != nil {
			return 0, err
		}
		for was := misses.Load(); ; {
			start := time.Now()
			list, err := c.Symbols.List(m.ctx, "kraken")
			took := time.Since(start)
			if err != nil || len(list) != 300 {
				return 0, fmt.Errorf("%d symbols (%w)", len(list), err)
			}
			if misses.Load() > was {
				return took, nil
			}
		}
	}}}
	for i, p := range peers {
		callers = append(callers, caller{rueidisConfigs[i].name, timed(func() error {
			all, err := p.redis.Do(m.ctx, p.redis.B().Hgetall().Key(key).Build()).AsStrMap()
			if err == nil && len(all) != 301 {
				err = fmt.Errorf("%d fields", len(all))
			}
			return err
		})})
	}
	if _, err := c.Symbols.List(m.ctx, "kraken"); err != nil {
		return err
	}
	s, err := interleave(m.rounds, m.scale(50), callers)
	if err != nil {
		return err
	}
	peer := best(s[1:], false)
	r := ratios(s[0], peer)
	m.report.add(row{
		work: "List of 300 symbols from Redis, decoded", ours: latencies(s[0]), peer: latencies(peer), peerName: peer.name + ", HGETALL to a map of strings",
		ratio: r, limit: "≤ 2.00", ok: r.median <= 2,
	})
	return nil
}

// counted counts the queries of a store.
type counted struct {
	fulloncache.SymbolStore
	queries atomic.Int64
}

func (s *counted) ByExchange(ctx context.Context, exchange string) ([]fulloncache.Symbol, error) {
	s.queries.Add(1)
	return s.SymbolStore.ByExchange(ctx, exchange)
}

// What a process that asks for symbols is told by its environment.
const (
	childRedis    = "FULLONCACHE_BENCH_REDIS"
	childDatabase = "FULLONCACHE_BENCH_DATABASE"
)

const missProcesses, missCallers = 4, 250

// symbolMisses are 1,000 callers in four processes that miss one key at once.
func symbolMisses(m *metadata) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	c, err := m.open(m.db.Symbols)
	if err != nil {
		return err
	}
	defer c.Close()
	type process struct {
		*exec.Cmd
		in  *os.File
		out *bufio.Reader
	}
	var all []process
	defer func() {
		for _, p := range all {
			_ = p.in.Close() // ends it
			_ = p.Wait()
		}
	}()
	for range missProcesses {
		cmd := exec.CommandContext(m.ctx, self)
		cmd.Env = append(os.Environ(), childRedis+"="+m.addr, childDatabase+"="+m.dsn)
		cmd.Stderr = os.Stderr
		in, to, err := os.Pipe()
		if err != nil {
			return err
		}
		cmd.Stdin = in
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		_ = in.Close() // the child has it
		all = append(all, process{cmd, to, bufio.NewReader(out)})
	}
	answer := func(p process) (int, time.Duration, error) {
		line, err := p.out.ReadString('\n')
		if err != nil {
			return 0, 0, err
		}
		queries, took, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.Atoi(queries)
		d, derr := time.ParseDuration(took)
		return n, d, errors.Join(err, derr)
	}
	for _, p := range all { // they are connected
		if _, _, err := answer(p); err != nil {
			return err
		}
	}
	result := series{name: "fulloncache"}
	wrong := 0
	for range m.rounds {
		if err := c.Symbols.Invalidate(m.ctx, "kraken"); err != nil {
			return err
		}
		for _, p := range all {
			if _, err := p.in.WriteString("go\n"); err != nil {
				return err
			}
		}
		queries, longest := 0, time.Duration(0)
		for _, p := range all {
			n, took, err := answer(p)
			if err != nil {
				return err
			}
			queries += n
			longest = max(longest, took)
		}
		if queries != 1 {
			wrong++
		}
		result.figures = append(result.figures, float64(longest))
		result.samples = append(result.samples, longest)
	}
	finish([]series{result})
	m.report.add(row{
		work: "1,000 concurrent misses of one key, four processes", ours: "until all have it: " + latencies(result),
		limit: "exactly 1 query", ok: wrong == 0, note: fmt.Sprintf("%d of %d rounds with more than one query", wrong, m.rounds),
	})
	return nil
}

// child is a process of symbolMisses: for each line it is sent, all its callers
// ask at once; it answers with the queries that made, and the time.
func child(ctx context.Context) error {
	db, err := orm.Open(ctx, os.Getenv(childDatabase))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }() // it was only read
	store := &counted{SymbolStore: db.Symbols}
	b := &bench{ctx: ctx, addr: os.Getenv(childRedis)}
	c, err := b.client(func(cfg *fulloncache.Config) { cfg.SymbolStore = store })
	if err != nil {
		return err
	}
	defer c.Close()
	market := symbols("kraken", 1)[0].Market
	if _, err := c.Symbols.Get(ctx, market); err != nil {
		return err
	}
	fmt.Println("0 0s")
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		store.queries.Store(0)
		errs := make([]error, missCallers)
		start := time.Now()
		var wg sync.WaitGroup
		for i := range errs {
			wg.Go(func() { _, errs[i] = c.Symbols.Get(ctx, market) })
		}
		wg.Wait()
		took := time.Since(start)
		if err := errors.Join(errs...); err != nil {
			return err
		}
		fmt.Println(store.queries.Load(), took)
	}
	return nil
}

// symbolImport stores 3,000 symbols in bulk, and one by one.
func symbolImport(m *metadata) error {
	list := symbols("import", 3000)
	clear := func() error {
		conn, err := pgx.Connect(m.ctx, m.dsn)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(m.ctx) }() // it was only for this
		_, err = conn.Exec(m.ctx, "DELETE FROM symbols WHERE cat_ex_id = (SELECT cat_ex_id FROM cat_exchanges WHERE name = 'import')")
		return err
	}
	c, err := m.open(m.db.Symbols)
	if err != nil {
		return err
	}
	defer c.Close()
	work := func(f func() error) func() (float64, []time.Duration, error) {
		return func() (float64, []time.Duration, error) {
			if err := clear(); err != nil {
				return 0, nil, err
			}
			start := time.Now()
			err := f()
			took := time.Since(start)
			return float64(took), []time.Duration{took}, err
		}
	}
	s, err := alternate(max(m.rounds/10, 2), []contestant{
		{"fulloncache", work(func() error {
			done, err := c.Symbols.Upsert(m.ctx, list)
			if err == nil && done.Added != len(list) {
				err = fmt.Errorf("%d added", done.Added)
			}
			return err
		})},
		{"one by one", work(func() error {
			for _, s := range list {
				if _, err := m.db.Symbols.Add(m.ctx, s); err != nil {
					return err
				}
			}
			return nil
		})},
	})
	if err != nil {
		return err
	}
	m.report.add(row{
		work: "Import of 3,000 symbols into PostgreSQL", ours: latencies(s[0]), peer: latencies(s[1]), peerName: "an INSERT per symbol",
		ratio: ratios(s[0], s[1]), limit: "stated", ok: true,
	})
	return nil
}

// symbolChange is the time from a change in PostgreSQL, by other means, until
// another process reads it.
func symbolChange(m *metadata) error {
	listening, err := m.open(m.db.Symbols)
	if err != nil {
		return err
	}
	defer listening.Close()
	reading, err := m.open(m.db.Symbols)
	if err != nil {
		return err
	}
	defer reading.Close()
	ctx, stop := context.WithCancel(m.ctx)
	ended := make(chan error, 1)
	go func() { ended <- m.db.Listen(ctx, listening) }()
	defer func() { stop(); <-ended }()

	conn, err := pgx.Connect(m.ctx, m.dsn)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(m.ctx)) }() // it was only for this
	bare, err := pgx.Connect(m.ctx, m.dsn)
	if err != nil {
		return err
	}
	defer func() { _ = bare.Close(context.WithoutCancel(m.ctx)) }()
	if _, err := bare.Exec(m.ctx, "LISTEN bench"); err != nil {
		return err
	}
	peers, closePeers, err := m.peers()
	if err != nil {
		return err
	}
	defer closePeers()
	redis := peers[0].redis
	change := func(exchange string) func() (time.Duration, error) {
		market := symbols(exchange, 1)[0].Market
		decimals := 2
		return func() (time.Duration, error) {
			if _, err := reading.Symbols.Get(m.ctx, market); err != nil { // it is near
				return 0, err
			}
			decimals = decimals%9 + 1
			start := time.Now()
			if _, err := conn.Exec(m.ctx, "UPDATE symbols SET decimals = $1 WHERE symbol = $2 AND cat_ex_id = (SELECT cat_ex_id FROM cat_exchanges WHERE name = $3)", decimals, market.Symbol, exchange); err != nil {
				return 0, err
			}
			for time.Since(start) < 10*time.Second {
				s, err := reading.Symbols.Get(m.ctx, market)
				if err != nil {
					return 0, err
				}
				if s.Decimals == decimals {
					return time.Since(start), nil
				}
				// A reader that does nothing else would take a core from the servers.
				time.Sleep(20 * time.Microsecond)
			}
			return 0, errors.New("the change was not seen within 10 s")
		}
	}
	payload := 0
	s, err := interleave(m.rounds, m.scale(20), []caller{
		{"fulloncache", change("one")},
		{"fulloncache, 300 symbols", change("kraken")},
		{"NOTIFY to a listener, and a PING of Redis", timed(func() error {
			payload++
			if _, err := conn.Exec(m.ctx, "SELECT pg_notify('bench', $1)", strconv.Itoa(payload)); err != nil {
				return err
			}
			if _, err := bare.WaitForNotification(m.ctx); err != nil {
				return err
			}
			return redis.Do(m.ctx, redis.B().Ping().Build()).Error()
		})},
	})
	if err != nil {
		return err
	}
	for i, work := range []string{"Change in PostgreSQL until another process reads it", "The same at an exchange of 300 symbols"} {
		r := ratios(s[i], s[2])
		line := row{work: work, ours: latencies(s[i]), peer: latencies(s[2]), peerName: s[2].name, ratio: r, limit: "≤ 3.00", ok: r.median <= 3}
		if i == 1 {
			line.limit, line.ok = "stated", true
		}
		m.report.add(line)
	}
	return nil
}
