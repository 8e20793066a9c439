package fulloncache_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/joho/godotenv"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

type vars = map[string]string

// settings are the effective settings as a map.
func settings(cfg fulloncache.Config) vars {
	m := make(vars)
	for _, s := range cfg.Settings() {
		m[s.Variable] = s.Value
	}
	return m
}

// configVariables are the environment variables of Config's fields.
func configVariables() []string {
	var names []string
	for i := range reflect.TypeFor[fulloncache.Config]().NumField() {
		if name := reflect.TypeFor[fulloncache.Config]().Field(i).Tag.Get("env"); name != "" {
			names = append(names, name)
		}
	}
	return names
}

func TestConfigFromEverySetting(t *testing.T) {
	t.Parallel()
	in := vars{
		"REDIS_URL":                    "redis://a:b@example.com:7000/3",
		"REDIS_HOST":                   "db.example.com",
		"REDIS_PORT":                   "6380",
		"REDIS_DB":                     "4",
		"REDIS_USERNAME":               "trader",
		"REDIS_PASSWORD":               "hunter2",
		"REDIS_TLS":                    "yes",
		"REDIS_TLS_CA":                 "/ca.pem",
		"REDIS_TLS_CERT":               "/cert.pem",
		"REDIS_TLS_KEY":                "/key.pem",
		"REDIS_MAX_CONNECTIONS":        "60",
		"REDIS_SOCKET_TIMEOUT":         "1.5",
		"REDIS_SOCKET_CONNECT_TIMEOUT": "250ms",
		"REDIS_CLUSTER_MODE":           "false",
		"REDIS_CLUSTER_NODES":          "a:1, b:2",
		"REDIS_SENTINEL_MASTER":        "mymaster",
		"REDIS_SENTINEL_NODES":         "s1:26379,s2:26379",
		"CACHE_KEY_PREFIX":             "prod.eu-1_A",
		"CACHE_TTL_EXCHANGE":           "1",
		"CACHE_TTL_SYMBOL":             "2m",
		"CACHE_TTL_NEGATIVE":           "2.5",
		"CACHE_LOAD_TIMEOUT":           "3.5",
		"CACHE_TTL_ORDER":              "3",
		"CACHE_TTL_ORDER_FINAL":        "4",
		"CACHE_TTL_BOT":                "22",
		"CACHE_TTL_LEASE":              "23",
		"CACHE_TTL_BLOCK":              "24",
		"CACHE_TTL_OPENING":            "25",
		"CACHE_NEAR_MAX_STALENESS":     "0.5",
		"CACHE_NEAR_MAX_ENTRIES":       "11",
		"CACHE_BREAKER_FAILURES":       "12",
		"CACHE_BREAKER_COOLDOWN":       "13",
		"CACHE_CLOCK_TOLERANCE":        "14",
		"CACHE_FEED_HEARTBEAT":         "15",
		"CACHE_STREAM_BUFFER":          "16",
		"CACHE_ERROR_QUEUE_CAP":        "17",
		"CACHE_TRADES_CAP":             "19",
		"CACHE_TRADES_BATCH_TIMEOUT":   "20",
		"CACHE_NEW_ORDERS_CAP":         "21",
		"CACHE_ORDER_QUEUE_ORDERED":    "true",
		"CACHE_ORDER_QUEUE_CAP":        "22",
		"CACHE_ORDER_QUEUE_DISPLACE":   "true",
		"CACHE_ORDER_QUEUE_DEAD_CAP":   "23",
		"CACHE_ORDER_QUEUE_WINDOW":     "24",
		"CACHE_ORDER_CONFIRM_TIMEOUT":  "25",
		"CACHE_OHLCV_CAP":              "22",
		"CACHE_FILLS_CAP":              "22",
		"CACHE_PROCESS_HEARTBEAT":      "22",
		"CACHE_PROCESS_HISTORY_CAP":    "23",
		"CACHE_STABLECOIN":             "USDC",
		"CACHE_DUST_LIMIT":             "18",
	}
	if missing := slices.DeleteFunc(configVariables(), func(n string) bool { _, ok := in[n]; return ok }); len(missing) > 0 {
		t.Errorf("not tested: %v", missing)
	}
	got, err := fulloncache.ConfigFrom(in)
	must(t, err)
	want := fulloncache.Config{
		URL: "redis://a:b@example.com:7000/3", Host: "db.example.com", Port: 6380, DB: 4,
		Username: "trader", Password: "hunter2", TLS: true, TLSCA: "/ca.pem", TLSCert: "/cert.pem", TLSKey: "/key.pem",
		MaxConnections: 60, SocketTimeout: 1500 * time.Millisecond, ConnectTimeout: 250 * time.Millisecond,
		ClusterNodes: []string{"a:1", " b:2"}, SentinelMaster: "mymaster", SentinelNodes: []string{"s1:26379", "s2:26379"},
		KeyPrefix: "prod.eu-1_A", TTLExchange: time.Second, TTLSymbol: 2 * time.Minute, TTLNegative: 2500 * time.Millisecond, LoadTimeout: 3500 * time.Millisecond, TTLOrder: 3 * time.Second, TTLOrderFinal: 4 * time.Second,
		NearMaxStaleness: 500 * time.Millisecond, NearMaxEntries: 11, BreakerFailures: 12, BreakerCooldown: 13 * time.Second,
		ClockTolerance: 14 * time.Second, FeedHeartbeat: 15 * time.Second, StreamBuffer: 16, ErrorQueueCap: 17,
		TTLBot: 22 * time.Second, TTLLease: 23 * time.Second, TTLBlock: 24 * time.Second, TTLOpening: 25 * time.Second,
		TradesCap: 19, TradesBatchTimeout: 20 * time.Second, NewOrdersCap: 21,
		OrderQueueOrdered: true, OrderQueueCap: 22, OrderQueueDisplace: true, OrderQueueDeadCap: 23, OrderQueueWindow: 24 * time.Second,
		OrderConfirmTimeout: 25 * time.Second,
		OHLCVCap:            22,
		FillsCap:            22,
		ProcessHeartbeat:    22 * time.Second, ProcessHistoryCap: 23,
		Stablecoin: "USDC", DustLimit: 18,
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreFields(fulloncache.Config{}, "Logger")); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	want := vars{
		"REDIS_URL": "", "REDIS_HOST": "localhost", "REDIS_PORT": "6379", "REDIS_DB": "0", "REDIS_USERNAME": "", "REDIS_PASSWORD": "",
		"REDIS_TLS": "false", "REDIS_TLS_CA": "", "REDIS_TLS_CERT": "", "REDIS_TLS_KEY": "",
		"REDIS_MAX_CONNECTIONS": "50", "REDIS_SOCKET_TIMEOUT": "5s", "REDIS_SOCKET_CONNECT_TIMEOUT": "5s",
		"REDIS_CLUSTER_MODE": "false", "REDIS_CLUSTER_NODES": "", "REDIS_SENTINEL_MASTER": "", "REDIS_SENTINEL_NODES": "",
		"CACHE_KEY_PREFIX": "", "CACHE_TTL_EXCHANGE": "24h0m0s", "CACHE_TTL_SYMBOL": "24h0m0s", "CACHE_TTL_NEGATIVE": "10s", "CACHE_LOAD_TIMEOUT": "5s", "CACHE_TTL_ORDER": "1h0m0s", "CACHE_TTL_ORDER_FINAL": "24h0m0s",
		"CACHE_TTL_BOT": "0s", "CACHE_TTL_LEASE": "30s", "CACHE_TTL_BLOCK": "10m0s", "CACHE_TTL_OPENING": "1m0s",
		"CACHE_NEAR_MAX_STALENESS": "2s", "CACHE_NEAR_MAX_ENTRIES": "10000", "CACHE_BREAKER_FAILURES": "5", "CACHE_BREAKER_COOLDOWN": "1s",
		"CACHE_CLOCK_TOLERANCE": "5s", "CACHE_FEED_HEARTBEAT": "1s", "CACHE_STREAM_BUFFER": "1024", "CACHE_ERROR_QUEUE_CAP": "1000",
		"CACHE_TRADES_CAP": "100000", "CACHE_TRADES_BATCH_TIMEOUT": "1m0s", "CACHE_NEW_ORDERS_CAP": "100000",
		"CACHE_ORDER_QUEUE_ORDERED": "false", "CACHE_ORDER_QUEUE_CAP": "100000", "CACHE_ORDER_QUEUE_DISPLACE": "false",
		"CACHE_ORDER_QUEUE_DEAD_CAP": "100000", "CACHE_ORDER_QUEUE_WINDOW": "10m0s", "CACHE_ORDER_CONFIRM_TIMEOUT": "1s",
		"CACHE_OHLCV_CAP":         "10000",
		"CACHE_FILLS_CAP":         "10000",
		"CACHE_PROCESS_HEARTBEAT": "15s", "CACHE_PROCESS_HISTORY_CAP": "100",
		"CACHE_STABLECOIN": "USDT", "CACHE_DUST_LIMIT": "2",
	}
	if diff := cmp.Diff(want, settings(fulloncache.Config{})); diff != "" {
		t.Errorf("zero Config, -want +got:\n%s", diff)
	}
	empty := vars{"HOME": "/root", "": "no name"}
	for _, name := range configVariables() {
		empty[name] = "" // counts as unset
	}
	for _, in := range []vars{nil, {}, empty} {
		cfg, err := fulloncache.ConfigFrom(in)
		must(t, err)
		if diff := cmp.Diff(want, settings(cfg)); diff != "" {
			t.Errorf("from %v, -want +got:\n%s", in, diff)
		}
	}
	var order []string
	for _, s := range (fulloncache.Config{}).Settings() {
		order = append(order, s.Variable)
	}
	if !slices.Equal(order, configVariables()) {
		t.Errorf("the order of settings is %v", order)
	}
}

func TestConfigBooleans(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"1": true, "t": true, "TRUE": true, "Yes": true, "on": true,
		"0": false, "f": false, "False": false, "no": false, "OFF": false,
	} {
		cfg, err := fulloncache.ConfigFrom(vars{"REDIS_TLS": text})
		if err != nil || cfg.TLS != want {
			t.Errorf("%q is %t, %v", text, cfg.TLS, err)
		}
	}
}

// wantConfigError checks the three things that such an error must tell.
func wantConfigError(t testing.TB, err error, variable, value, want string) {
	t.Helper()
	var ce *fulloncache.ConfigError
	if !errors.As(err, &ce) || !errors.Is(err, fulloncache.ErrInvalid) {
		t.Errorf("got error %v, want one about %s", err, variable)
		return
	}
	if ce.Variable != variable || ce.Value != value || !strings.Contains(ce.Want, want) {
		t.Errorf("got %q=%q, want %q; expected %q=%q, %q", ce.Variable, ce.Value, ce.Want, variable, value, want)
	}
	for _, part := range []string{variable, value, want} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not name %q", err, part)
		}
	}
}

func TestConfigMalformed(t *testing.T) {
	t.Parallel()
	const (
		url      = "redis://[user:password@]host[:port][/db], rediss:// for TLS, or unix:///path[?db=n]"
		whole    = "a whole number"
		duration = `a number of seconds, or a duration such as "250ms"`
		boolean  = "true or false"
		hostPort = "host:port[,host:port…]"
		host     = "a name or an address alone; the port is REDIS_PORT"
	)
	for _, c := range []struct {
		in                    vars
		variable, value, want string
	}{
		{vars{"REDIS_PORT": "http"}, "REDIS_PORT", "http", whole},
		{vars{"REDIS_PORT": "6379.0"}, "REDIS_PORT", "6379.0", whole},
		{vars{"REDIS_PORT": "0"}, "REDIS_PORT", "0", "a port from 1 to 65535"},
		{vars{"REDIS_PORT": "65536"}, "REDIS_PORT", "65536", "a port from 1 to 65535"},
		{vars{"REDIS_PORT": "99999999999999999999"}, "REDIS_PORT", "99999999999999999999", whole},
		{vars{"REDIS_HOST": "localhost:6379"}, "REDIS_HOST", "localhost:6379", host},
		{vars{"REDIS_HOST": "redis://:hunter2@h"}, "REDIS_HOST", "redis://***@h", host},
		{vars{"REDIS_DB": "first"}, "REDIS_DB", "first", whole},
		{vars{"REDIS_DB": "-1"}, "REDIS_DB", "-1", "a whole number from 0"},
		{vars{"REDIS_TLS": "maybe"}, "REDIS_TLS", "maybe", boolean},
		{vars{"REDIS_TLS_CERT": "/c.pem"}, "REDIS_TLS_CERT", "/c.pem", "REDIS_TLS_CERT and REDIS_TLS_KEY together"},
		{vars{"REDIS_TLS_KEY": "/k.pem"}, "REDIS_TLS_CERT", "", "REDIS_TLS_CERT and REDIS_TLS_KEY together"},
		{vars{"REDIS_MAX_CONNECTIONS": "1"}, "REDIS_MAX_CONNECTIONS", "1", "a whole number from 2 to 10000"},
		{vars{"REDIS_MAX_CONNECTIONS": "10001"}, "REDIS_MAX_CONNECTIONS", "10001", "a whole number from 2 to 10000"},
		{vars{"REDIS_SOCKET_TIMEOUT": "soon"}, "REDIS_SOCKET_TIMEOUT", "soon", duration},
		{vars{"REDIS_SOCKET_TIMEOUT": "NaN"}, "REDIS_SOCKET_TIMEOUT", "NaN", duration},
		{vars{"REDIS_SOCKET_TIMEOUT": "1e300"}, "REDIS_SOCKET_TIMEOUT", "1e300", duration},
		{vars{"REDIS_SOCKET_TIMEOUT": "-Inf"}, "REDIS_SOCKET_TIMEOUT", "-Inf", duration},
		{vars{"REDIS_SOCKET_TIMEOUT": "0"}, "REDIS_SOCKET_TIMEOUT", "0s", "from 10ms to 1h0m0s"},
		{vars{"REDIS_SOCKET_TIMEOUT": "-5"}, "REDIS_SOCKET_TIMEOUT", "-5s", "from 10ms to 1h0m0s"},
		{vars{"REDIS_SOCKET_CONNECT_TIMEOUT": "2h"}, "REDIS_SOCKET_CONNECT_TIMEOUT", "2h0m0s", "from 10ms to 1h0m0s"},
		{vars{"REDIS_CLUSTER_MODE": "2"}, "REDIS_CLUSTER_MODE", "2", boolean},
		{vars{"REDIS_CLUSTER_MODE": "1", "REDIS_CLUSTER_NODES": "a:1,b"}, "REDIS_CLUSTER_NODES", "a:1,b", hostPort},
		{vars{"REDIS_CLUSTER_MODE": "1", "REDIS_CLUSTER_NODES": "a:1,"}, "REDIS_CLUSTER_NODES", "a:1,", hostPort},
		{vars{"REDIS_CLUSTER_MODE": "1", "REDIS_CLUSTER_NODES": "a:http"}, "REDIS_CLUSTER_NODES", "a:http", hostPort},
		{vars{"REDIS_CLUSTER_MODE": "1", "REDIS_CLUSTER_NODES": "a:0"}, "REDIS_CLUSTER_NODES", "a:0", hostPort},
		{vars{"REDIS_CLUSTER_MODE": "1", "REDIS_CLUSTER_NODES": "a:65536"}, "REDIS_CLUSTER_NODES", "a:65536", hostPort},
		{vars{"REDIS_CLUSTER_MODE": "1", "REDIS_DB": "1"}, "REDIS_DB", "1", "0 with REDIS_CLUSTER_MODE"},
		{vars{"REDIS_CLUSTER_MODE": "1", "REDIS_URL": "redis://h/1"}, "REDIS_DB", "1", "0 with REDIS_CLUSTER_MODE"},
		{vars{"REDIS_CLUSTER_MODE": "1", "REDIS_URL": "unix:///s"}, "REDIS_CLUSTER_MODE", "true", "a TCP address"},
		{vars{"REDIS_CLUSTER_MODE": "1", "REDIS_SENTINEL_MASTER": "m", "REDIS_SENTINEL_NODES": "s:1"}, "REDIS_SENTINEL_MASTER", "m", "unset with REDIS_CLUSTER_MODE"},
		{vars{"REDIS_SENTINEL_MASTER": "m"}, "REDIS_SENTINEL_NODES", "", "with REDIS_SENTINEL_MASTER"},
		{vars{"REDIS_SENTINEL_NODES": "s:1"}, "REDIS_SENTINEL_MASTER", "", "with REDIS_SENTINEL_NODES"},
		{vars{"REDIS_SENTINEL_MASTER": "m", "REDIS_SENTINEL_NODES": "s"}, "REDIS_SENTINEL_NODES", "s", hostPort},
		{vars{"CACHE_KEY_PREFIX": "a:b"}, "CACHE_KEY_PREFIX", "a:b", `letters, digits, "_", "." and "-"`},
		{vars{"CACHE_KEY_PREFIX": "prod*"}, "CACHE_KEY_PREFIX", "prod*", "letters"},
		{vars{"CACHE_KEY_PREFIX": "é"}, "CACHE_KEY_PREFIX", "é", "letters"},
		{vars{"CACHE_TTL_EXCHANGE": "0"}, "CACHE_TTL_EXCHANGE", "0s", "from 1s to 87600h0m0s"},
		{vars{"CACHE_TTL_SYMBOL": "1ms"}, "CACHE_TTL_SYMBOL", "1ms", "from 1s"},
		{vars{"CACHE_TTL_NEGATIVE": "2h"}, "CACHE_TTL_NEGATIVE", "2h0m0s", "from 10ms to 1h"},
		{vars{"CACHE_LOAD_TIMEOUT": "0.001"}, "CACHE_LOAD_TIMEOUT", "1ms", "from 10ms to 1h"},
		{vars{"CACHE_TTL_ORDER": "1e9"}, "CACHE_TTL_ORDER", "1e9", duration},
		{vars{"CACHE_TTL_ORDER_FINAL": "999999999"}, "CACHE_TTL_ORDER_FINAL", "277777h46m39s", "from 1s to 87600h0m0s"},
		{vars{"CACHE_NEAR_MAX_STALENESS": "0.01"}, "CACHE_NEAR_MAX_STALENESS", "10ms", "from 100ms"},
		{vars{"CACHE_NEAR_MAX_ENTRIES": "0"}, "CACHE_NEAR_MAX_ENTRIES", "0", "from 1 to 100000000"},
		{vars{"CACHE_BREAKER_FAILURES": "0"}, "CACHE_BREAKER_FAILURES", "0", "from 1 to 1000000"},
		{vars{"CACHE_BREAKER_COOLDOWN": "0"}, "CACHE_BREAKER_COOLDOWN", "0s", "from 10ms"},
		{vars{"CACHE_CLOCK_TOLERANCE": "48h"}, "CACHE_CLOCK_TOLERANCE", "48h0m0s", "from 1ms to 24h0m0s"},
		{vars{"CACHE_FEED_HEARTBEAT": "1ms"}, "CACHE_FEED_HEARTBEAT", "1ms", "from 10ms"},
		{vars{"CACHE_STREAM_BUFFER": "0"}, "CACHE_STREAM_BUFFER", "0", "from 1"},
		{vars{"CACHE_ERROR_QUEUE_CAP": "-3"}, "CACHE_ERROR_QUEUE_CAP", "-3", "from 1"},
		{vars{"CACHE_TRADES_CAP": "-1"}, "CACHE_TRADES_CAP", "-1", "from 1"},
		{vars{"CACHE_TRADES_BATCH_TIMEOUT": "0.001"}, "CACHE_TRADES_BATCH_TIMEOUT", "1ms", "from 10ms"},
		{vars{"CACHE_NEW_ORDERS_CAP": "0"}, "CACHE_NEW_ORDERS_CAP", "0", "from 1"},
		{vars{"CACHE_ORDER_QUEUE_CAP": "-1"}, "CACHE_ORDER_QUEUE_CAP", "-1", "from 1"},
		{vars{"CACHE_ORDER_QUEUE_DEAD_CAP": "0"}, "CACHE_ORDER_QUEUE_DEAD_CAP", "0", "from 1"},
		{vars{"CACHE_ORDER_QUEUE_ORDERED": "maybe"}, "CACHE_ORDER_QUEUE_ORDERED", "maybe", "true or false"},
		{vars{"CACHE_ORDER_QUEUE_WINDOW": "0"}, "CACHE_ORDER_QUEUE_WINDOW", "0s", "from"},
		{vars{"CACHE_ORDER_CONFIRM_TIMEOUT": "2h"}, "CACHE_ORDER_CONFIRM_TIMEOUT", "2h0m0s", "from"},
		{vars{"CACHE_PROCESS_HEARTBEAT": "0.01"}, "CACHE_PROCESS_HEARTBEAT", "10ms", "from 50ms to 1h"},
		{vars{"CACHE_PROCESS_HISTORY_CAP": "100001"}, "CACHE_PROCESS_HISTORY_CAP", "100001", "from 1 to 100000"},
		{vars{"CACHE_DUST_LIMIT": "0.5"}, "CACHE_DUST_LIMIT", "0.5", whole},
		{vars{"REDIS_URL": "http://h"}, "REDIS_URL", "http://h", url},
		{vars{"REDIS_URL": "localhost:6379"}, "REDIS_URL", "localhost:6379", url},
		{vars{"REDIS_URL": "redis://"}, "REDIS_URL", "redis://", url},
		{vars{"REDIS_URL": "redis://:6379"}, "REDIS_URL", "redis://:6379", url},
		{vars{"REDIS_URL": "redis://h:0"}, "REDIS_URL", "redis://h:0", url},
		{vars{"REDIS_URL": "redis://h:65536"}, "REDIS_URL", "redis://h:65536", url},
		{vars{"REDIS_URL": "redis://h/x"}, "REDIS_URL", "redis://h/x", url},
		{vars{"REDIS_URL": "redis://h/-1"}, "REDIS_URL", "redis://h/-1", url},
		{vars{"REDIS_URL": "redis://h?db=x"}, "REDIS_URL", "redis://h?db=x", url},
		{vars{"REDIS_URL": "redis://h?db=%zz"}, "REDIS_URL", "redis://h?db=%zz", url},
		{vars{"REDIS_URL": "redis://h?timeout=1"}, "REDIS_URL", "redis://h?***", url},
		{vars{"REDIS_URL": "redis://h#1"}, "REDIS_URL", "redis://h#1", url},
		{vars{"REDIS_URL": "unix://"}, "REDIS_URL", "unix://", url},
		{vars{"REDIS_URL": "unix://tmp/redis.sock"}, "REDIS_URL", "unix://tmp/redis.sock", url},
	} {
		cfg, err := fulloncache.ConfigFrom(c.in)
		wantConfigError(t, err, c.variable, c.value, c.want)
		if diff := cmp.Diff(fulloncache.Config{}, cfg); diff != "" {
			t.Errorf("%v: a Config with the error: %s", c.in, diff)
		}
	}
}

// What New is given by code is held to the same rules.
func TestNewValidates(t *testing.T) {
	t.Parallel()
	_, err := fulloncache.New(testenv.Context(t), fulloncache.Config{KeyPrefix: "a b"})
	wantConfigError(t, err, "CACHE_KEY_PREFIX", "a b", "letters")
	_, err = fulloncache.New(testenv.Context(t), fulloncache.Config{Port: 70000})
	wantConfigError(t, err, "REDIS_PORT", "70000", "a port")
}

func TestConfigNeverShowsPasswords(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"redis://:hunter2@h:6379/0",
		"redis://user:hunter2@h",
		"rediss://hunter2@h",
		"redis://user:hunter2@h:99999",
		"redis://user:hunter2@h/x",
		"redis://h?password=hunter2",
		"redis://h?db=1&password=hunter2",
		"redis://h?db=x&password=hunter2",
		"redis://user:hunter2@h%zz",
		"redis://user:hun ter2@h:port",
		"redis://user:12#hunter2@h", // parses as host "user", port 12
		"redis://user:12/hunter2@h",
		"redis://user:12?hunter2@h",
		"redis://user:a@hunter2@h",
		"http://user:hunter2@h",
		"user:hunter2@h:6379",
		"user:hunter2@redis://h",
		"hunter2@h",
		":hunter2@h",
		"unix://user:hunter2@/s",
		"unix://user:hunter2@h/s",
		"//user:hunter2@h",
		"redis://user:hunter2@h\x7f",
	} {
		cfg := fulloncache.Config{URL: url, Password: "hunter2"}
		_, err := fulloncache.ConfigFrom(vars{"REDIS_URL": url, "REDIS_PASSWORD": "hunter2"})
		shown := settings(cfg)
		for _, text := range append(slices.Collect(maps.Values(shown)), errorText(err)) {
			if strings.Contains(text, "hunter2") || strings.Contains(text, "ter2") {
				t.Errorf("%s: %s", url, text)
			}
		}
		if shown["REDIS_PASSWORD"] != "***" {
			t.Errorf("REDIS_PASSWORD is shown as %q", shown["REDIS_PASSWORD"])
		}
	}
	for url, want := range map[string]string{
		"redis://user:pw@h:7/1": "redis://***@h:7/1",
		"redis://h:7/1":         "redis://h:7/1",
		"unix:///s?db=2":        "unix:///s?db=2",
		"redis://h:x":           "(not a URL)",
		"":                      "",
	} {
		if got := settings(fulloncache.Config{URL: url})["REDIS_URL"]; got != want {
			t.Errorf("%s is shown as %q, want %q", url, got, want)
		}
	}
	// A password of another setting is not repeated by its error.
	_, err := fulloncache.ConfigFrom(vars{"REDIS_PASSWORD": "hunter2", "REDIS_DB": "x"})
	wantConfigError(t, err, "REDIS_DB", "x", "a whole number")
	if strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestSettingsJoinsNodes(t *testing.T) {
	t.Parallel()
	if got := settings(fulloncache.Config{ClusterNodes: []string{"a:1", "b:2"}})["REDIS_CLUSTER_NODES"]; got != "a:1,b:2" {
		t.Errorf("nodes are shown as %q", got)
	}
}

// clean makes the working folder a new one without .env, and returns it.
func clean(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	t.Chdir(dir)
	return dir
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestConfigFromEnvNearestFile(t *testing.T) {
	dir := clean(t)
	cfg, err := fulloncache.ConfigFromEnv() // no file at all is fine
	must(t, err)
	if cfg.Host != "localhost" {
		t.Errorf("host %q", cfg.Host)
	}
	write(t, filepath.Join(dir, ".env"), `# a comment
REDIS_HOST=from-file   # with a trailing comment
export REDIS_PORT="6390"
CACHE_KEY_PREFIX='file' # and quotes
CACHE_DUST_LIMIT=7
REDIS_PASSWORD="with # inside"
`)
	below := filepath.Join(dir, "a", "b")
	must(t, os.MkdirAll(filepath.Join(below, ".env"), 0o700)) // a folder of that name is not the file
	t.Chdir(below)
	t.Setenv("CACHE_KEY_PREFIX", "process")
	t.Setenv("CACHE_DUST_LIMIT", "") // set in the process, if only to nothing
	before := os.Environ()
	cfg, err = fulloncache.ConfigFromEnv()
	must(t, err)
	if cfg.Host != "from-file" || cfg.Port != 6390 || cfg.KeyPrefix != "process" || cfg.DustLimit != 2 || cfg.Password != "with # inside" {
		t.Errorf("got %+v", cfg)
	}
	if !slices.Equal(before, os.Environ()) {
		t.Error("the process environment was changed")
	}
	env, err := fulloncache.Environment()
	must(t, err)
	if env["REDIS_HOST"] != "from-file" || env["CACHE_KEY_PREFIX"] != "process" || env["PATH"] != os.Getenv("PATH") {
		t.Errorf("environment: host %q, prefix %q", env["REDIS_HOST"], env["CACHE_KEY_PREFIX"])
	}

	// A nearer file hides the farther one.
	write(t, filepath.Join(dir, "a", ".env"), "REDIS_PORT=6391\n")
	cfg, err = fulloncache.ConfigFromEnv()
	must(t, err)
	if cfg.Host != "localhost" || cfg.Port != 6391 {
		t.Errorf("host %q, port %d", cfg.Host, cfg.Port)
	}
}

func TestConfigFromEnvNamedFile(t *testing.T) {
	dir := clean(t)
	write(t, filepath.Join(dir, ".env"), "REDIS_HOST=nearest\nREDIS_DB=3\n")
	t.Setenv("DOTENV_FILE", write(t, filepath.Join(dir, "x", "paper.env"), "REDIS_HOST=named\n"))
	cfg, err := fulloncache.ConfigFromEnv()
	must(t, err)
	if cfg.Host != "named" || cfg.DB != 0 {
		t.Errorf("host %q, database %d", cfg.Host, cfg.DB)
	}
	missing := filepath.Join(dir, "missing.env")
	t.Setenv("DOTENV_FILE", missing)
	_, err = fulloncache.ConfigFromEnv()
	wantConfigError(t, err, "DOTENV_FILE", missing, "a readable file")
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v does not lead to its cause", err)
	}
	t.Setenv("DOTENV_FILE", dir)
	_, err = fulloncache.ConfigFromEnv()
	wantConfigError(t, err, "DOTENV_FILE", dir, "a readable file")
}

func TestConfigFromEnvMalformedFile(t *testing.T) {
	dir := clean(t)
	path := filepath.Join(dir, ".env")
	for _, text := range []string{
		"REDIS_PASSWORD hunter2\n",
		"REDIS_HOST=a\nREDIS_PASSWORD=\"hunter2\n",
		"hunter2",
		"REDIS PASSWORD=hunter2\n",
	} {
		write(t, path, text)
		_, err := fulloncache.ConfigFromEnv()
		wantConfigError(t, err, "DOTENV_FILE", path, "lines of the form NAME=value")
		if strings.Contains(errorText(err), "hunter2") {
			t.Errorf("the error quotes the file: %v", err)
		}
		_, err = fulloncache.Open(testenv.Context(t))
		wantConfigError(t, err, "DOTENV_FILE", path, "lines of the form NAME=value")
	}
	write(t, path, "REDIS_DB=x\n")
	_, err := fulloncache.ConfigFromEnv()
	wantConfigError(t, err, "REDIS_DB", "x", "a whole number")
}

func TestConfigFromEnvWithoutWorkingFolder(t *testing.T) {
	dir := clean(t)
	must(t, os.Remove(dir))
	_, err := fulloncache.ConfigFromEnv()
	wantConfigError(t, err, "DOTENV_FILE", "", "the working folder is unknown")
}

// Each form reaches the server, the password and the database that it names.
func TestURLForms(t *testing.T) {
	t.Parallel()
	tcp := testenv.NewRedis(t, "--requirepass", "p@ss/#?", "--bind", "127.0.0.1", "-::1")
	unix := testenv.NewSocket(t)
	port := strings.TrimPrefix(tcp.Addr(), "127.0.0.1:")
	const password = "p%40ss%2F%23%3F"
	for _, c := range []struct {
		cfg fulloncache.Config
		db  string
	}{
		{fulloncache.Config{URL: "redis://:" + password + "@127.0.0.1:" + port}, "0"},
		{fulloncache.Config{URL: "redis://default:" + password + "@localhost:" + port + "/3"}, "3"},
		{fulloncache.Config{URL: "redis://:" + password + "@127.0.0.1:" + port + "/?db=4"}, "4"},
		{fulloncache.Config{URL: "redis://:" + password + "@127.0.0.1:" + port + "/", DB: 5}, "5"},
		{fulloncache.Config{URL: "redis://127.0.0.1:" + port, Password: "p@ss/#?", Host: "nowhere.invalid", Port: 1}, "0"},
		{fulloncache.Config{URL: "redis://[::1]:" + port, Password: "p@ss/#?", DB: 2}, "2"},
		{fulloncache.Config{Host: "::1", Port: tcp.Port(), Password: "p@ss/#?", DB: 6}, "6"},
		{fulloncache.Config{URL: unix.URL()}, "0"},
		{fulloncache.Config{URL: unix.URL() + "?db=7"}, "7"},
	} {
		prefix := testenv.Prefix(t)
		c.cfg.KeyPrefix = prefix
		client := open(t, c.cfg)
		must(t, client.Base.PushGlobalError(testenv.Context(t), fulloncache.GlobalError{Component: "a", Message: "b"}))
		client.Close()
		client.Close() // may be called again
		wantErr(t, client.Base.Ping(testenv.Context(t)), fulloncache.ErrClosed)
		check := fulloncache.Config{URL: unix.URL()}
		if !strings.HasPrefix(c.cfg.URL, "unix:") {
			check = fulloncache.Config{URL: "redis://:" + password + "@127.0.0.1:" + port}
		}
		check.URL += "?db=" + c.db
		check.KeyPrefix = prefix
		_, err := open(t, check).Base.PopGlobalError(testenv.Context(t), 0)
		if err != nil {
			t.Errorf("%s: nothing in database %s: %v", c.cfg.URL, c.db, err)
		}
	}
}

func TestOpenFromEnvironment(t *testing.T) {
	clean(t)
	t.Setenv("REDIS_URL", testenv.Redis(t).URL())
	t.Setenv("CACHE_KEY_PREFIX", testenv.Prefix(t))
	c, err := fulloncache.Open(testenv.Context(t))
	must(t, err)
	defer c.Close()
	must(t, c.Base.Ping(testenv.Context(t)))
}

// Certificates that cannot be read are the fault of a setting, which is told
// before anything is connected to; with good ones it is the server that is away.
func TestTLSFiles(t *testing.T) {
	t.Parallel()
	server := testenv.NewTLS(t, "")
	dir := t.TempDir()
	garbage, missing := write(t, filepath.Join(dir, "garbage.pem"), "garbage"), filepath.Join(dir, "missing.pem")
	nobody := fulloncache.Config{Host: "127.0.0.1", Port: 1, TLS: true, Logger: quiet}
	for _, c := range []struct {
		ca, cert, key   string
		variable, value string
		want            string
	}{
		{missing, "", "", "REDIS_TLS_CA", missing, "a readable PEM file"},
		{garbage, "", "", "REDIS_TLS_CA", garbage, "a PEM file with certificates"},
		{"", missing, garbage, "REDIS_TLS_CERT", missing, "a PEM certificate that fits REDIS_TLS_KEY"},
		{server.CA, garbage, garbage, "REDIS_TLS_CERT", garbage, "a PEM certificate that fits REDIS_TLS_KEY"},
		{"", server.Cert, garbage, "REDIS_TLS_CERT", server.Cert, "a PEM certificate that fits REDIS_TLS_KEY"},
	} {
		cfg := nobody
		cfg.TLSCA, cfg.TLSCert, cfg.TLSKey = c.ca, c.cert, c.key
		_, err := fulloncache.New(testenv.Context(t), cfg)
		wantConfigError(t, err, c.variable, c.value, c.want)
		cfg.TLS, cfg.URL = false, "rediss://127.0.0.1:1"
		_, err = fulloncache.New(testenv.Context(t), cfg)
		wantConfigError(t, err, c.variable, c.value, c.want)
	}
	nobody.TLSCA, nobody.TLSCert, nobody.TLSKey = server.CA, server.Cert, server.Key
	_, err := fulloncache.New(testenv.Context(t), nobody)
	wantErr(t, err, fulloncache.ErrUnavailable, "127.0.0.1:1")
}

// documented are the settings that belong to other packages.
var documented = []string{
	"DATABASE_URL", "LOG_LEVEL", "LOG_FORMAT", "LOG_CONSOLE", "LOG_COLORS", "FULLON_CACHE_LOG_DIR", "DOTENV_FILE",
}

func TestEnvExample(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(".env.example")
	must(t, err)
	setting := regexp.MustCompile(`^#?([A-Z_]+)=(.*)$`)
	var listed []string
	var plain strings.Builder
	lines := strings.Split(string(text), "\n")
	for i, line := range lines {
		m := setting.FindStringSubmatch(line)
		if m == nil {
			if line != "" && !strings.HasPrefix(line, "# ") {
				t.Errorf("line %d is neither comment nor setting: %s", i+1, line)
			}
			continue
		}
		listed = append(listed, m[1])
		comment := ""
		for j := i - 1; j >= 0 && strings.HasPrefix(lines[j], "# ") && !strings.HasPrefix(lines[j], "# ---"); j-- {
			comment = lines[j] + " " + comment
		}
		if !strings.Contains(comment, "Default: ") || m[2] != "" && !strings.Contains(comment, "Default: "+m[2]) {
			t.Errorf("the comment of %s does not tell its default %q: %s", m[1], m[2], comment)
		}
		plain.WriteString(m[1] + "=" + m[2] + "\n")
	}
	want := append(configVariables(), documented...)
	slices.Sort(want)
	slices.Sort(listed)
	if diff := cmp.Diff(want, listed); diff != "" {
		t.Errorf("variables, -want +listed:\n%s", diff)
	}
	// Uncommented it changes nothing: what stands there are the defaults.
	file, err := godotenv.Unmarshal(plain.String())
	must(t, err)
	cfg, err := fulloncache.ConfigFrom(file)
	must(t, err)
	if diff := cmp.Diff(settings(fulloncache.Config{}), settings(cfg)); diff != "" {
		t.Errorf("-default +listed:\n%s", diff)
	}
	if file, err = godotenv.Unmarshal(string(text)); err != nil || len(file) != 0 {
		t.Errorf("as it is it sets %v, %v", file, err)
	}
}

func FuzzConfigFrom(f *testing.F) {
	names := configVariables()
	for i, n := range names {
		for _, v := range []string{"1", "true", "250ms", "1e300", "a:1,b:2", "redis://u:secret@h:1/2?db=3", "unix:///s", "\x00", "é"} {
			f.Add(uint8(i), v, uint8(len(n)), v)
		}
	}
	f.Fuzz(func(t *testing.T, n1 uint8, v1 string, n2 uint8, v2 string) {
		in := vars{names[int(n1)%len(names)]: v1, names[int(n2)%len(names)]: v2, "REDIS_PASSWORD": "hunter2-hunter2"}
		cfg, err := fulloncache.ConfigFrom(in)
		if err != nil {
			var ce *fulloncache.ConfigError
			if !errors.As(err, &ce) || ce.Variable == "" || ce.Want == "" {
				t.Fatalf("%q: %v", in, err)
			}
			if strings.Contains(err.Error(), "hunter2-hunter2") {
				t.Fatalf("%q: %v", in, err)
			}
			return
		}
		// What is shown, but for secrets, is what was understood.
		shown := settings(cfg)
		again := maps.Clone(shown)
		again["REDIS_URL"], again["REDIS_PASSWORD"] = in["REDIS_URL"], in["REDIS_PASSWORD"]
		cfg, err = fulloncache.ConfigFrom(again)
		if err != nil {
			t.Fatalf("%q is shown as %q, which is refused: %v", in, again, err)
		}
		if diff := cmp.Diff(shown, settings(cfg)); diff != "" {
			t.Fatalf("%q: %s", in, diff)
		}
	})
}
