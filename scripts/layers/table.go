package main

// module is the path of the module whose layers these are.
const module = "github.com/fullon/fulloncache"

// layer is a row of the layer table: a package, what it holds, and the packages
// of this module that it may import. A row covers the packages below its own,
// but for the root's. A row may come before its package does.
type layer struct {
	path    string // relative to the module; "." is the root
	holds   string
	imports []string
}

// layers is the whole of the module, from the bottom up. Nothing depends
// upward: a package imports only what its row names. Tests may import anything.
var layers = []layer{
	{"internal/clock", "real and fake clock", nil},
	{"internal/keys", "every key and channel: builder, Redis type, fields, TTL", nil},
	{"internal/redisproc", "private redis-server processes", nil},
	{"internal/inprocess", "the Redis written in Go, inside a process", nil},
	{"internal/kv", "connection, script runner, breaker, near cache", []string{"internal/clock", "internal/keys"}},
	{"internal/feed", "pub/sub: resubscribe, resync, conflation", []string{"internal/clock", "internal/keys", "internal/kv"}},
	{"internal/queue", "acknowledged queues on Streams", []string{"internal/clock", "internal/keys", "internal/kv"}},
	{"internal/lease", "leases with fencing tokens", []string{"internal/clock", "internal/keys", "internal/kv"}},
	{"internal/aside", "cache-aside with stampede guard", []string{"internal/clock", "internal/keys", "internal/kv"}},
	{".", "the public vocabulary: Client, the caches, the domain types", []string{
		"internal/aside", "internal/clock", "internal/feed", "internal/keys", "internal/kv", "internal/lease", "internal/queue",
	}},
	{"logging", "slog set-up: formats, components, rotation", nil},
	{"metrics", "Prometheus collector over the hooks", []string{"."}},
	{"embedded", "a private Redis for demo and tries", []string{".", "internal/inprocess", "internal/redisproc"}},
	{"orm", "PostgreSQL and SQLite repositories, migrations", []string{"."}},
	{"docs", "the guides, also as Go strings", nil},
	{"internal/sim", "seeded market simulator", []string{"."}},
	{"internal/legacy", "moves what the Python library stored", []string{"."}},
	{"internal/testenv", "real servers and faults for tests", []string{"internal/clock", "internal/inprocess", "internal/redisproc"}},
	{"examples", "one program per subject, also as Go strings", []string{".", "embedded", "internal/sim", "logging", "metrics", "orm"}},
	{"cmd/fulloncache", "the command, one file per subcommand", []string{
		".", "docs", "embedded", "examples", "internal/legacy", "internal/sim", "logging", "metrics", "orm",
	}},
	{"scripts", "what the Makefile calls", []string{"internal/keys"}},
}

// confinement keeps modules that weigh much within the packages that need them,
// so that a bot links only what it uses.
type confinement struct {
	modules []string
	to      []string // rows of the layer table
}

var confined = []confinement{
	{[]string{"github.com/jackc/pgx"}, []string{"orm", "internal/testenv"}},
	{[]string{"github.com/uptrace/bun", "github.com/pressly/goose", "modernc.org/sqlite"}, []string{"orm"}},
	{[]string{"github.com/alicebob/miniredis"}, []string{"internal/inprocess"}},
	{[]string{"github.com/prometheus"}, []string{"metrics", "cmd/fulloncache", "examples"}},
	{[]string{"github.com/lmittmann/tint", "github.com/DeRuina/timberjack"}, []string{"logging"}},
	{[]string{"github.com/spf13/cobra", "charm.land"}, []string{"cmd/fulloncache"}},
	{[]string{"go.uber.org/goleak", "pgregory.net/rapid", "github.com/google/go-cmp"}, []string{"internal/testenv"}},
}
