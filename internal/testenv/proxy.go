package testenv

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Proxy stands between a client and a server and breaks what passes.
type Proxy struct{ proxy *toxiproxy.Proxy }

// NewProxy starts a proxy before a TCP address.
func NewProxy(t testing.TB, upstream string) *Proxy {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	p := &Proxy{toxiproxy.NewProxy(server, t.Name(), "127.0.0.1:0", upstream)}
	must(t, p.proxy.Start())
	t.Cleanup(p.proxy.Stop)
	return p
}

// Addr is where clients connect.
func (p *Proxy) Addr() string { return p.proxy.Listen }

// URL is what REDIS_URL takes to connect through the proxy.
func (p *Proxy) URL() string { return "redis://" + p.Addr() }

// Cut closes all connections and refuses new ones.
func (p *Proxy) Cut() { p.proxy.Stop() }

// Restore lets connections through again.
func (p *Proxy) Restore(t testing.TB) { t.Helper(); must(t, p.proxy.Start()) }

// Stall swallows everything in both directions; connections stay open, and new
// ones are accepted. Flow ends it, closing them.
func (p *Proxy) Stall(t testing.TB) {
	t.Helper()
	p.add(t, "stall_up", "timeout", "upstream", `"timeout": 0`)
	p.add(t, "stall_down", "timeout", "downstream", `"timeout": 0`)
}

// Flow ends Stall.
func (p *Proxy) Flow(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	must(t, p.proxy.Toxics.RemoveToxic(ctx, "stall_up"))
	must(t, p.proxy.Toxics.RemoveToxic(ctx, "stall_down"))
}

// Slow delays every answer.
func (p *Proxy) Slow(t testing.TB, by time.Duration) {
	t.Helper()
	p.add(t, "slow", "latency", "downstream", fmt.Sprintf(`"latency": %d`, by.Milliseconds()))
}

func (p *Proxy) add(t testing.TB, name, kind, stream, attributes string) {
	t.Helper()
	_, err := p.proxy.Toxics.AddToxicJson(strings.NewReader(fmt.Sprintf(
		`{"name": %q, "type": %q, "stream": %q, "toxicity": 1, "attributes": {%s}}`, name, kind, stream, attributes)))
	must(t, err)
}

// Clog lets answers through at a kilobyte a second, as to a client that has
// stopped reading: what the server sends piles up on its side.
func (p *Proxy) Clog(t testing.TB) {
	t.Helper()
	p.add(t, "clog", "bandwidth", "downstream", `"rate": 1`)
}

// Unclog ends Clog.
func (p *Proxy) Unclog(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	must(t, p.proxy.Toxics.RemoveToxic(ctx, "clog"))
}
