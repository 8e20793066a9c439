package fulloncache

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fullon/fulloncache/internal/keys"
	"github.com/fullon/fulloncache/internal/kv"
)

// Client is a connection to the shared state; its fields are the caches. It is
// safe for concurrent use. A program opens one and closes it when it ends.
//
//	c, err := fulloncache.Open(ctx)
//	if err != nil {
//		return err
//	}
//	defer c.Close()
//	tick, err := c.Ticks.Get(ctx, btc, fulloncache.MaxAge(2*time.Second))
type Client struct {
	// Base tells how the server is, lists and clears keys, and holds the queue of
	// errors of all components.
	Base *BaseCache
	// Exchanges knows the exchanges, and who has an account where.
	Exchanges *ExchangeCache
	// Symbols knows how exactly each exchange trades what.
	Symbols *SymbolCache
	// Ticks holds the live prices.
	Ticks *TickCache
	// Orders holds the orders of all bots, and queues of those to execute.
	Orders *OrdersCache
	// Trades hands trades from who sees them to who stores them.
	Trades *TradesCache
	// OHLCV holds the bars of every market, in every timeframe.
	OHLCV *OHLCVCache
	// Bots keeps bots from trading one market at once, and tells what each says of
	// itself.
	Bots *BotCache
	// Accounts holds what the accounts of users own: positions and balances.
	Accounts *AccountCache
	// Processes knows which processes are alive.
	Processes *ProcessCache

	cfg   Config
	kv    *kv.Client
	close sync.Once
}

// Open connects with the settings of the environment and .env, as
// [ConfigFromEnv] reads them. It returns a [ConfigError] for a malformed setting
// and [ErrUnavailable] if no server answers.
func Open(ctx context.Context) (*Client, error) {
	cfg, err := ConfigFromEnv()
	if err != nil {
		return nil, err
	}
	return New(ctx, cfg)
}

// New connects with the settings of cfg. Its errors are those of [Open].
func New(ctx context.Context, cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	to, _ := cfg.server() // validate has found nothing wrong with it
	var encryption *tls.Config
	if to.tls {
		var err error
		if encryption, err = cfg.tlsConfig(); err != nil {
			return nil, err
		}
	}
	connection := newObserver("connection", cfg)
	var c atomic.Pointer[Client] // events and losses come before it is there
	// A server that was away may have come back with older data, or another in its
	// place. Nobody needs to have missed it.
	distrust := func() {
		if c := c.Load(); c != nil {
			c.Exchanges.distrust()
			c.Symbols.cache.Distrust()
			c.Bots.distrust()
			c.Accounts.renew()
		}
	}
	db, err := kv.Open(ctx, kv.Options{
		Network: to.network, Addrs: to.addrs,
		Username: to.username, Password: to.password, DB: to.db, TLS: encryption,
		Cluster: cfg.ClusterMode, SentinelMaster: cfg.SentinelMaster, InProcess: cfg.InProcess,
		MaxConnections: cfg.MaxConnections, CallTimeout: cfg.SocketTimeout, ConnectTimeout: cfg.ConnectTimeout,
		BreakerFailures: cfg.BreakerFailures, BreakerCooldown: cfg.BreakerCooldown,
		NearStaleness: cfg.NearMaxStaleness,
		Unavailable: func(retryAfter time.Duration, err error) error {
			return &UnavailableError{RetryAfter: retryAfter, Err: err}
		},
		Closed: ErrClosed,
		OnEvent: func(e kv.Event, subject string, err error) {
			if e == kv.Reconnected {
				distrust()
			}
			connection.event(eventKinds[e], subject, err)
		},
		OnLost: distrust,
	})
	if err != nil {
		return nil, fmt.Errorf("connect to redis at %v: %w", to.addrs, err)
	}
	space := keys.New(cfg.KeyPrefix, to.db, cfg.ClusterMode)
	exchanges, ticks := newExchangeCache(cfg, db, space), newTickCache(cfg, db, space, connection)
	symbols := newSymbolCache(cfg, db, space, exchanges, ticks)
	if ticks.precision == nil {
		ticks.precision = symbols
	}
	base := newBaseCache(cfg, db, space)
	c.Store(&Client{
		Base:      base,
		Exchanges: exchanges,
		Symbols:   symbols,
		Ticks:     ticks,
		Orders:    newOrdersCache(cfg, db, space, connection),
		Trades:    newTradesCache(cfg, db, space, connection),
		OHLCV:     newOHLCVCache(cfg, db, space, connection),
		Bots:      newBotCache(cfg, db, space, connection),
		Accounts:  newAccountCache(cfg, db, space, connection),
		Processes: newProcessCache(cfg, db, space, connection, base.PushGlobalError),
		cfg:       cfg,
		kv:        db,
	})
	return c.Load(), nil
}

var eventKinds = map[kv.Event]EventKind{
	kv.Reconnected:   EventReconnected,
	kv.BreakerOpened: EventBreakerOpened,
	kv.BreakerClosed: EventBreakerClosed,
	kv.NearFlushed:   EventNearFlushed,
}

// Close ends all subscriptions and the connection. Calls in flight return their
// result or [ErrClosed], as do all later ones. No goroutine of the Client is
// left when it returns, but for one of the Redis client that sleeps up to 5 s
// after a cluster's topology has changed. It can be called more than once.
func (c *Client) Close() {
	c.close.Do(func() {
		c.Ticks.stop()
		c.Orders.stop()
		c.Trades.stop()
		c.OHLCV.stop()
		c.Bots.stop()
		c.Accounts.stop()
		c.Processes.stop()
		c.kv.Close()
	})
}

// tlsConfig reads the certificates.
func (c Config) tlsConfig() (*tls.Config, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.TLSCA != "" {
		pem, err := os.ReadFile(c.TLSCA)
		if err != nil {
			return nil, &ConfigError{Variable: "REDIS_TLS_CA", Value: c.TLSCA, Want: "a readable PEM file", Err: errors.Unwrap(err)}
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, &ConfigError{Variable: "REDIS_TLS_CA", Value: c.TLSCA, Want: "a PEM file with certificates"}
		}
	}
	if c.TLSCert != "" {
		cert, err := tls.LoadX509KeyPair(c.TLSCert, c.TLSKey)
		if err != nil {
			return nil, &ConfigError{Variable: "REDIS_TLS_CERT", Value: c.TLSCert, Want: "a PEM certificate that fits REDIS_TLS_KEY", Err: err}
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return conf, nil
}
