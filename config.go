package fulloncache

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"
)

// Config is everything a [Client] can be told. The zero value is valid: a Redis
// on localhost:6379. [ConfigFromEnv] fills it from the environment and .env;
// code can set the fields instead. A field left at its zero value takes its
// default; [New] validates the rest.
//
//	cfg, err := fulloncache.ConfigFromEnv()
//	if err != nil {
//		return err // names the variable, its value and what is accepted
//	}
//	cfg.KeyPrefix = "paper"
//	c, err := fulloncache.New(ctx, cfg)
//
// Durations are read as seconds ("5", "0.25") or with a unit ("250ms").
type Config struct {
	// URL names the server in one line: redis://user:password@host:6379/0,
	// rediss:// for TLS, unix:///path/to.sock?db=0. It wins over Host, Port, DB,
	// Username, Password and TLS where it says something about them.
	URL string `env:"REDIS_URL" secret:"url"`
	// Host is the server's name or address. Defaults to localhost.
	Host string `env:"REDIS_HOST"`
	// Port is the server's TCP port. Defaults to 6379.
	Port int `env:"REDIS_PORT"`
	// DB is the database number; 0 in a cluster.
	DB int `env:"REDIS_DB"`
	// Username is the ACL user; empty for the default user.
	Username string `env:"REDIS_USERNAME"`
	// Password is never shown in an error or a log.
	Password string `env:"REDIS_PASSWORD" secret:"value"`
	// TLS encrypts the connection.
	TLS bool `env:"REDIS_TLS"`
	// TLSCA is a PEM file of the authorities to trust. Defaults to the system's.
	TLSCA string `env:"REDIS_TLS_CA"`
	// TLSCert and TLSKey are the PEM files of a client certificate.
	TLSCert string `env:"REDIS_TLS_CERT"`
	TLSKey  string `env:"REDIS_TLS_KEY"`

	// MaxConnections bounds all connections of one Client to a node: one that
	// carries the commands of all callers, one per followed exchange, one per
	// blocking wait. Beyond it a call waits for its context. Defaults to 50.
	MaxConnections int `env:"REDIS_MAX_CONNECTIONS"`
	// SocketTimeout bounds a call, not a quiet subscription or a blocking wait.
	// Defaults to 5 s.
	SocketTimeout time.Duration `env:"REDIS_SOCKET_TIMEOUT"`
	// ConnectTimeout bounds connecting. Defaults to 5 s.
	ConnectTimeout time.Duration `env:"REDIS_SOCKET_CONNECT_TIMEOUT"`

	// ClusterMode says that the server is a Redis Cluster.
	ClusterMode bool `env:"REDIS_CLUSTER_MODE"`
	// ClusterNodes are some of its nodes, host:port. Defaults to Host:Port.
	ClusterNodes []string `env:"REDIS_CLUSTER_NODES"`
	// SentinelMaster is the name of the master that the Sentinels watch.
	SentinelMaster string `env:"REDIS_SENTINEL_MASTER"`
	// SentinelNodes are the Sentinels, host:port.
	SentinelNodes []string `env:"REDIS_SENTINEL_NODES"`

	// KeyPrefix keeps several systems apart on one server: letters, digits, "_",
	// "." and "-". Every key and channel begins with it.
	KeyPrefix string `env:"CACHE_KEY_PREFIX"`

	// TTLExchange is how long an exchange is good for once it was read from the
	// database, less up to a tenth, so that not all are read anew at once. Defaults
	// to 24 h.
	TTLExchange time.Duration `env:"CACHE_TTL_EXCHANGE"`
	// TTLSymbol is the same for symbols. Defaults to 24 h.
	TTLSymbol time.Duration `env:"CACHE_TTL_SYMBOL"`
	// TTLNegative is how long the cache believes that the database does not have
	// something. Defaults to 10 s.
	TTLNegative time.Duration `env:"CACHE_TTL_NEGATIVE"`
	// LoadTimeout bounds a query of the database that the cache waits for.
	// Defaults to 5 s.
	LoadTimeout time.Duration `env:"CACHE_LOAD_TIMEOUT"`
	// TTLOrder is how long a cancelled order stays. Defaults to 1 h.
	TTLOrder time.Duration `env:"CACHE_TTL_ORDER"`
	// TTLOrderFinal is how long an order that is otherwise final stays. Defaults to 24 h.
	TTLOrderFinal time.Duration `env:"CACHE_TTL_ORDER_FINAL"`
	// TTLBot is how long the status of a bot stays after its last update; 0 is for
	// ever.
	TTLBot time.Duration `env:"CACHE_TTL_BOT"`
	// TTLLease is how long a lease of [BotCache.Acquire] lasts that is not renewed,
	// unless the call says otherwise. Defaults to 30 s.
	TTLLease time.Duration `env:"CACHE_TTL_LEASE"`
	// TTLBlock is the same for [BotCache.Block], which nobody renews. Defaults to
	// 10 min.
	TTLBlock time.Duration `env:"CACHE_TTL_BLOCK"`
	// TTLOpening is the same for [BotCache.MarkOpeningPosition]. Defaults to 1 min.
	TTLOpening time.Duration `env:"CACHE_TTL_OPENING"`

	// NearMaxStaleness bounds the age of what the near cache answers when the
	// server is frozen or cut off. Defaults to 2 s.
	NearMaxStaleness time.Duration `env:"CACHE_NEAR_MAX_STALENESS"`
	// NearMaxEntries bounds each near cache. Defaults to 10,000.
	NearMaxEntries int `env:"CACHE_NEAR_MAX_ENTRIES"`
	// BreakerFailures is how many transport failures in a row open the breaker.
	// Defaults to 5.
	BreakerFailures int `env:"CACHE_BREAKER_FAILURES"`
	// BreakerCooldown is how long an open breaker refuses calls before it lets
	// one through to probe. Defaults to 1 s.
	BreakerCooldown time.Duration `env:"CACHE_BREAKER_COOLDOWN"`
	// ClockTolerance is how far a tick, an order, a fill or a snapshot of an account
	// may be ahead of the server's clock. Defaults to 5 s.
	ClockTolerance time.Duration `env:"CACHE_CLOCK_TOLERANCE"`
	// FeedHeartbeat is how often a subscription asks the server for a sign of
	// life; after two without an answer it counts as disconnected. Defaults to 1 s.
	FeedHeartbeat time.Duration `env:"CACHE_FEED_HEARTBEAT"`
	// StreamBuffer is how many updates wait for a slow consumer of a stream before
	// they are conflated per symbol. Defaults to 1,024.
	StreamBuffer int `env:"CACHE_STREAM_BUFFER"`
	// ErrorQueueCap bounds an error queue; the oldest go first. Defaults to 1,000.
	ErrorQueueCap int `env:"CACHE_ERROR_QUEUE_CAP"`
	// TradesCap bounds each list of trades, and what may be in flight of it.
	// Defaults to 100,000.
	TradesCap int `env:"CACHE_TRADES_CAP"`
	// TradesBatchTimeout is how long a batch of trades may be in flight before it
	// comes back. Defaults to 60 s.
	TradesBatchTimeout time.Duration `env:"CACHE_TRADES_BATCH_TIMEOUT"`
	// NewOrdersCap bounds each queue of [OrdersCache.PushOpenOrder]. Defaults to
	// 100,000.
	NewOrdersCap int `env:"CACHE_NEW_ORDERS_CAP"`
	// OrderQueueOrdered makes [OrdersCache.Consume] handle the orders of each symbol
	// one after another, in the order in which they were submitted. All programs that
	// submit to a queue or consume it must agree: one that does not is refused.
	// Defaults to false.
	OrderQueueOrdered bool `env:"CACHE_ORDER_QUEUE_ORDERED"`
	// OrderQueueCap bounds the queue of each exchange: orders that wait, that were
	// put back and that are being handled. Defaults to 100,000.
	OrderQueueCap int `env:"CACHE_ORDER_QUEUE_CAP"`
	// OrderQueueDisplace makes room in a full queue by moving the oldest orders that
	// wait to the dead letters, where the default is to refuse new ones. Defaults to
	// false.
	OrderQueueDisplace bool `env:"CACHE_ORDER_QUEUE_DISPLACE"`
	// OrderQueueDeadCap is how many dead letters each queue keeps; beyond it the
	// oldest go, which is an [EventDeadDropped]. Defaults to 100,000.
	OrderQueueDeadCap int `env:"CACHE_ORDER_QUEUE_DEAD_CAP"`
	// OrderQueueWindow is for how long an order's id is remembered: submitted again
	// within it, it is not added again. Defaults to 10 min.
	OrderQueueWindow time.Duration `env:"CACHE_ORDER_QUEUE_WINDOW"`
	// OrderConfirmTimeout is how long a submit with [WaitReplicas] waits for them.
	// Defaults to 1 s.
	OrderConfirmTimeout time.Duration `env:"CACHE_ORDER_CONFIRM_TIMEOUT"`
	// OHLCVCap bounds each series of bars that has no cap of its own, see [Keep]; the
	// oldest go first. Defaults to 10,000.
	OHLCVCap int `env:"CACHE_OHLCV_CAP"`
	// FillsCap is how many fills of each position [AccountCache.ApplyTrade]
	// remembers, so as to count each once; older ones it refuses. Defaults to 10,000.
	FillsCap int `env:"CACHE_FILLS_CAP"`
	// ProcessHeartbeat is how often a registered process tells that it is alive; one
	// that was not heard of for 1¾ of it counts as dead. Defaults to 15 s.
	ProcessHeartbeat time.Duration `env:"CACHE_PROCESS_HEARTBEAT"`
	// ProcessHistoryCap bounds the history of each component. Defaults to 100.
	ProcessHistoryCap int `env:"CACHE_PROCESS_HISTORY_CAP"`

	// Stablecoin is the currency that balances are valued in. Defaults to USDT.
	Stablecoin string `env:"CACHE_STABLECOIN"`
	// DustLimit is what a balance must be worth, in the stablecoin, not to count
	// as zero. Defaults to 2.
	DustLimit int `env:"CACHE_DUST_LIMIT"`

	// ExchangeStore and SymbolStore are the database behind [Client].Exchanges and
	// [Client].Symbols: repositories of the package orm. Without them the two caches
	// answer what other processes have read, and nothing else.
	ExchangeStore ExchangeStore
	SymbolStore   SymbolStore
	// QuoteDecimals overrides the decimals of currencies for [TickCache.RoundQuote].
	QuoteDecimals map[string]int
	// Logger receives what has no caller to return to, and at DEBUG one record
	// per operation. Defaults to slog.Default().
	Logger *slog.Logger
	// Hooks watch every operation and event.
	Hooks []Hooks
	// Precision tells the decimals of a symbol, for [TickCache.RoundPrice] and
	// [TickCache.RoundSize]. Defaults to the Client's [SymbolCache].
	Precision PrecisionSource
	// Now is this machine's clock, by which ages are computed. Tests set another.
	// Defaults to time.Now.
	Now func() time.Time
	// InProcess says that the server is the in-process one of the package
	// embedded, which lacks some of Redis; what cannot work there returns
	// [ErrUnsupported].
	InProcess bool
}

// defaults are the values of the fields left at zero.
func defaults() Config {
	return Config{
		Host:               "localhost",
		Port:               6379,
		MaxConnections:     50,
		SocketTimeout:      5 * time.Second,
		ConnectTimeout:     5 * time.Second,
		TTLExchange:        24 * time.Hour,
		TTLSymbol:          24 * time.Hour,
		TTLNegative:        10 * time.Second,
		LoadTimeout:        5 * time.Second,
		TTLOrder:           time.Hour,
		TTLOrderFinal:      24 * time.Hour,
		TTLLease:           30 * time.Second,
		TTLBlock:           10 * time.Minute,
		TTLOpening:         time.Minute,
		NearMaxStaleness:   2 * time.Second,
		NearMaxEntries:     10_000,
		BreakerFailures:    5,
		BreakerCooldown:    time.Second,
		ClockTolerance:     5 * time.Second,
		FeedHeartbeat:      time.Second,
		StreamBuffer:       1024,
		ErrorQueueCap:      1000,
		TradesCap:          100_000,
		TradesBatchTimeout: time.Minute,
		NewOrdersCap:       100_000,
		OHLCVCap:           10_000,
		FillsCap:           10_000,
		ProcessHeartbeat:   15 * time.Second,
		ProcessHistoryCap:  100,
		Stablecoin:         "USDT",
		DustLimit:          2,

		OrderQueueCap:       100_000,
		OrderQueueDeadCap:   100_000,
		OrderQueueWindow:    10 * time.Minute,
		OrderConfirmTimeout: time.Second,
	}
}

// ConfigFromEnv reads the settings from the process environment and, behind
// it, from the file that DOTENV_FILE names or the nearest .env of the working
// folder and its parents. It returns a [ConfigError] that names the variable,
// its value and what is accepted. The process environment is not changed.
func ConfigFromEnv() (Config, error) {
	vars, err := Environment()
	if err != nil {
		return Config{}, err
	}
	return ConfigFrom(vars)
}

// ConfigFrom reads the settings from vars, a map of environment variables as
// [Environment] returns it. Variables set to "" count as unset.
func ConfigFrom(vars map[string]string) (Config, error) {
	set := make(map[string]string, len(vars))
	for k, v := range vars {
		if k != "" && v != "" { // Windows has variables without a name
			set[k] = v
		}
	}
	cfg := defaults()
	err := env.ParseWithOptions(&cfg, env.Options{Environment: set, FuncMap: parsers})
	var failures env.AggregateError
	if errors.As(err, &failures) {
		return Config{}, settingError(failures.Errors[0], set)
	}
	if err := cfg.validate(); err != nil {
		return Config{}, err
	}
	return cfg, nil
}

// parsers read the kinds of settings. They accept what people write in .env
// files, and say what they accept.
var parsers = map[reflect.Type]env.ParserFunc{
	reflect.TypeFor[time.Duration](): func(s string) (any, error) {
		if n, err := strconv.ParseFloat(s, 64); err == nil {
			// NaN, infinities and what overflows a Duration compare false.
			if n > -1e9 && n < 1e9 {
				return time.Duration(n * float64(time.Second)), nil
			}
		} else if d, err := time.ParseDuration(s); err == nil {
			return d, nil
		}
		return nil, errors.New(`a number of seconds, or a duration such as "250ms"`)
	},
	reflect.TypeFor[bool](): func(s string) (any, error) {
		switch strings.ToLower(s) {
		case "1", "t", "true", "yes", "on":
			return true, nil
		case "0", "f", "false", "no", "off":
			return false, nil
		}
		return nil, errors.New("true or false")
	},
	reflect.TypeFor[int](): func(s string) (any, error) {
		n, err := strconv.Atoi(s)
		if err != nil {
			return nil, errors.New("a whole number")
		}
		return n, nil
	},
}

// settingError turns the parser's complaint about a field into a ConfigError
// about its variable.
func settingError(err error, vars map[string]string) error {
	var parse env.ParseError
	errors.As(err, &parse) // the only kind there is: no field is required or read from a file
	field, _ := reflect.TypeFor[Config]().FieldByName(parse.Name)
	name := field.Tag.Get("env")
	return &ConfigError{Variable: name, Value: vars[name], Want: parse.Err.Error()}
}

// withDefaults fills the fields left at zero.
func (c Config) withDefaults() Config {
	to, from := reflect.ValueOf(&c).Elem(), reflect.ValueOf(defaults())
	for i := range to.NumField() {
		if to.Field(i).IsZero() {
			to.Field(i).Set(from.Field(i))
		}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

// validate returns a ConfigError for the first setting that cannot work.
func (c Config) validate() error {
	if _, err := c.server(); err != nil {
		return err
	}
	wrong := func(name string, value any, want string) error {
		return &ConfigError{Variable: name, Value: fmt.Sprint(value), Want: want}
	}
	for _, n := range []struct {
		name     string
		value    int
		min, max int
	}{
		{"REDIS_MAX_CONNECTIONS", c.MaxConnections, 2, 10_000},
		{"CACHE_NEAR_MAX_ENTRIES", c.NearMaxEntries, 1, 100_000_000},
		{"CACHE_BREAKER_FAILURES", c.BreakerFailures, 1, 1_000_000},
		{"CACHE_STREAM_BUFFER", c.StreamBuffer, 1, 100_000_000},
		{"CACHE_ERROR_QUEUE_CAP", c.ErrorQueueCap, 1, 100_000_000},
		{"CACHE_TRADES_CAP", c.TradesCap, 1, 100_000_000},
		{"CACHE_NEW_ORDERS_CAP", c.NewOrdersCap, 1, 100_000_000},
		{"CACHE_ORDER_QUEUE_CAP", c.OrderQueueCap, 1, 100_000_000},
		{"CACHE_ORDER_QUEUE_DEAD_CAP", c.OrderQueueDeadCap, 1, 100_000_000},
		{"CACHE_OHLCV_CAP", c.OHLCVCap, 1, maxBars},
		{"CACHE_FILLS_CAP", c.FillsCap, 1, 100_000_000},
		{"CACHE_PROCESS_HISTORY_CAP", c.ProcessHistoryCap, 1, 100_000},
		{"CACHE_DUST_LIMIT", c.DustLimit, 1, 1_000_000},
	} {
		if n.value < n.min || n.value > n.max {
			return wrong(n.name, n.value, fmt.Sprintf("a whole number from %d to %d", n.min, n.max))
		}
	}
	for _, d := range []struct {
		name     string
		value    time.Duration
		min, max time.Duration
	}{
		{"REDIS_SOCKET_TIMEOUT", c.SocketTimeout, 10 * time.Millisecond, time.Hour},
		{"REDIS_SOCKET_CONNECT_TIMEOUT", c.ConnectTimeout, 10 * time.Millisecond, time.Hour},
		{"CACHE_TTL_EXCHANGE", c.TTLExchange, time.Second, 10 * 365 * 24 * time.Hour},
		{"CACHE_TTL_SYMBOL", c.TTLSymbol, time.Second, 10 * 365 * 24 * time.Hour},
		{"CACHE_TTL_NEGATIVE", c.TTLNegative, 10 * time.Millisecond, time.Hour},
		{"CACHE_LOAD_TIMEOUT", c.LoadTimeout, 10 * time.Millisecond, time.Hour},
		{"CACHE_TTL_ORDER", c.TTLOrder, time.Second, 10 * 365 * 24 * time.Hour},
		{"CACHE_TTL_ORDER_FINAL", c.TTLOrderFinal, time.Second, 10 * 365 * 24 * time.Hour},
		{"CACHE_TTL_BOT", c.TTLBot, 0, 10 * 365 * 24 * time.Hour},
		{"CACHE_TTL_LEASE", c.TTLLease, leastTTL, mostTTL},
		{"CACHE_TTL_BLOCK", c.TTLBlock, leastTTL, mostTTL},
		{"CACHE_TTL_OPENING", c.TTLOpening, leastTTL, mostTTL},
		{"CACHE_NEAR_MAX_STALENESS", c.NearMaxStaleness, 100 * time.Millisecond, time.Hour},
		{"CACHE_BREAKER_COOLDOWN", c.BreakerCooldown, 10 * time.Millisecond, time.Hour},
		{"CACHE_CLOCK_TOLERANCE", c.ClockTolerance, time.Millisecond, 24 * time.Hour},
		{"CACHE_FEED_HEARTBEAT", c.FeedHeartbeat, 10 * time.Millisecond, time.Hour},
		{"CACHE_TRADES_BATCH_TIMEOUT", c.TradesBatchTimeout, 10 * time.Millisecond, 24 * time.Hour},
		{"CACHE_ORDER_QUEUE_WINDOW", c.OrderQueueWindow, time.Millisecond, 365 * 24 * time.Hour},
		{"CACHE_ORDER_CONFIRM_TIMEOUT", c.OrderConfirmTimeout, time.Millisecond, time.Hour},
		{"CACHE_PROCESS_HEARTBEAT", c.ProcessHeartbeat, minHeartbeat, maxHeartbeat},
	} {
		if d.value < d.min || d.value > d.max {
			return wrong(d.name, d.value, fmt.Sprintf("from %s to %s", d.min, d.max))
		}
	}
	for _, r := range c.KeyPrefix {
		if !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-", r) {
			return wrong("CACHE_KEY_PREFIX", c.KeyPrefix, `letters, digits, "_", "." and "-"`)
		}
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		return wrong("REDIS_TLS_CERT", c.TLSCert, "REDIS_TLS_CERT and REDIS_TLS_KEY together")
	}
	return nil
}

// server is where to connect and as whom: what URL, Host and their companions
// amount to.
type server struct {
	network            string // "tcp" or "unix"
	addrs              []string
	username, password string
	db                 int
	tls                bool
}

func (c Config) server() (server, error) {
	s := server{
		network:  "tcp",
		addrs:    []string{net.JoinHostPort(c.Host, strconv.Itoa(c.Port))},
		username: c.Username, password: c.Password, db: c.DB, tls: c.TLS,
	}
	if c.Port < 1 || c.Port > 65535 {
		return s, &ConfigError{Variable: "REDIS_PORT", Value: strconv.Itoa(c.Port), Want: "a port from 1 to 65535"}
	}
	if _, err := netip.ParseAddr(c.Host); err != nil && strings.ContainsAny(c.Host, ":/@[] ") {
		return s, &ConfigError{Variable: "REDIS_HOST", Value: maskURL(c.Host), Want: "a name or an address alone; the port is REDIS_PORT"}
	}
	if c.URL != "" {
		if err := s.fromURL(c.URL); err != nil {
			return s, err
		}
	}
	switch {
	case c.ClusterMode && c.SentinelMaster != "":
		return s, &ConfigError{Variable: "REDIS_SENTINEL_MASTER", Value: c.SentinelMaster, Want: "to be unset with REDIS_CLUSTER_MODE"}
	case c.ClusterMode && s.network == "unix":
		return s, &ConfigError{Variable: "REDIS_CLUSTER_MODE", Value: "true", Want: "a TCP address: a unix socket reaches one node only"}
	case c.ClusterMode && s.db != 0:
		return s, &ConfigError{Variable: "REDIS_DB", Value: strconv.Itoa(s.db), Want: "0 with REDIS_CLUSTER_MODE"}
	case s.db < 0:
		return s, &ConfigError{Variable: "REDIS_DB", Value: strconv.Itoa(s.db), Want: "a whole number from 0"}
	case c.SentinelMaster != "" && len(c.SentinelNodes) == 0:
		return s, &ConfigError{Variable: "REDIS_SENTINEL_NODES", Want: "host:port[,host:port…] with REDIS_SENTINEL_MASTER"}
	case c.SentinelMaster == "" && len(c.SentinelNodes) != 0:
		return s, &ConfigError{Variable: "REDIS_SENTINEL_MASTER", Want: "the master's name with REDIS_SENTINEL_NODES"}
	}
	var err error
	if c.ClusterMode && len(c.ClusterNodes) > 0 {
		s.addrs, err = nodes("REDIS_CLUSTER_NODES", c.ClusterNodes)
	}
	if c.SentinelMaster != "" {
		s.addrs, err = nodes("REDIS_SENTINEL_NODES", c.SentinelNodes)
	}
	return s, err
}

// nodes checks a list of host:port.
func nodes(variable string, list []string) ([]string, error) {
	addrs := make([]string, len(list))
	for i, a := range list {
		addrs[i] = strings.TrimSpace(a)
		_, port, err := net.SplitHostPort(addrs[i])
		if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 1 || n > 65535 {
			return nil, &ConfigError{Variable: variable, Value: strings.Join(list, ","), Want: "host:port[,host:port…]"}
		}
	}
	return addrs, nil
}

// fromURL overrides what the URL says something about.
func (s *server) fromURL(raw string) error {
	const want = "redis://[user:password@]host[:port][/db], rediss:// for TLS, or unix:///path[?db=n]"
	u, err := url.Parse(raw)
	if err != nil {
		// The parser quotes the URL, and with it the password.
		return &ConfigError{Variable: "REDIS_URL", Value: "(not a URL)", Want: want}
	}
	wrong := &ConfigError{Variable: "REDIS_URL", Value: maskURL(raw), Want: want}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil || u.Fragment != "" {
		return wrong // a "#" or "?" in a password that is not escaped, for one
	}
	db := ""
	switch u.Scheme {
	case "redis", "rediss":
		s.tls = s.tls || u.Scheme == "rediss"
		port := u.Port()
		if port == "" {
			port = "6379"
		}
		if n, err := strconv.Atoi(port); u.Hostname() == "" || err != nil || n < 1 || n > 65535 {
			return wrong
		}
		s.addrs = []string{net.JoinHostPort(u.Hostname(), port)}
		db = strings.Trim(u.Path, "/")
	case "unix":
		if u.Path == "" || u.Host != "" {
			return wrong
		}
		s.network, s.addrs = "unix", []string{u.Path}
	default:
		return wrong
	}
	for name, values := range query {
		if name != "db" {
			return wrong
		}
		db = values[0]
	}
	if db != "" {
		if s.db, err = strconv.Atoi(db); err != nil || s.db < 0 {
			return wrong
		}
	}
	if u.User.Username() != "" {
		s.username = u.User.Username()
	}
	if p, ok := u.User.Password(); ok {
		s.password = p
	}
	return nil
}

// maskURL returns a URL without what is or, where it is malformed, may be a
// secret: all before the last "@", and a query that names more than a database.
func maskURL(raw string) string {
	if _, err := url.Parse(raw); err != nil {
		return "(not a URL)"
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	if ok && !strings.Contains(scheme, "@") {
		scheme += "://"
	} else {
		scheme, rest = "", raw
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		rest = "***" + rest[at:]
	}
	if base, query, ok := strings.Cut(rest, "?"); ok && (!strings.HasPrefix(query, "db=") || strings.Contains(query, "&")) {
		rest = base + "?***"
	}
	return scheme + rest
}

// Setting is one effective setting, as the command's config prints it.
type Setting struct {
	Variable string // Variable is the environment variable.
	Value    string // Value is its effective value; a secret is "***" if it is set.
}

// Settings lists the effective settings in the order of Config's fields, with
// secrets masked.
func (c Config) Settings() []Setting {
	c = c.withDefaults()
	v := reflect.ValueOf(c)
	var list []Setting
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name := field.Tag.Get("env")
		if name == "" {
			continue
		}
		value := fmt.Sprint(v.Field(i).Interface())
		if nodes, ok := v.Field(i).Interface().([]string); ok {
			value = strings.Join(nodes, ",")
		}
		switch secret := field.Tag.Get("secret"); {
		case value == "":
		case secret == "value":
			value = "***"
		case secret == "url":
			value = maskURL(value)
		}
		list = append(list, Setting{Variable: name, Value: value})
	}
	return list
}
