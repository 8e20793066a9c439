package testenv

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"

	"github.com/fullon/fulloncache/internal/redisproc"
)

func dialUnix(ctx context.Context, addr string, d *net.Dialer, _ *tlsConfig) (net.Conn, error) {
	return d.DialContext(ctx, "unix", addr)
}

// Cluster is a cluster of three masters without replicas.
type Cluster struct{ Nodes []*Server }

const slots = 16384

// SharedCluster returns the cluster that the binary's tests share.
func SharedCluster(t testing.TB) *Cluster {
	t.Helper()
	return shared.cluster.get(func() *Cluster { return startCluster(t) })
}

// NewCluster starts a cluster of the test's own.
func NewCluster(t testing.TB) *Cluster {
	t.Helper()
	c := startCluster(t)
	t.Cleanup(c.stop)
	return c
}

func startCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{}
	for range 3 {
		bus, err := redisproc.FreePort()
		must(t, err)
		c.Nodes = append(c.Nodes, start(t, redisproc.Options{Args: []string{
			"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus),
			"--cluster-node-timeout", "3000", "--cluster-require-full-coverage", "no",
		}}))
	}
	for i, n := range c.Nodes {
		n.Do(t, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		n.Do(t, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*slots/3), strconv.Itoa((i+1)*slots/3-1))
		bus, err := n.Do(t, "CONFIG", "GET", "cluster-port").AsStrMap()
		must(t, err)
		for _, other := range c.Nodes[:i] {
			other.Do(t, "CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(n.Port()), bus["cluster-port"])
		}
	}
	for _, n := range c.Nodes {
		Eventually(t, "cluster", func() (bool, string) {
			info, err := n.Do(t, "CLUSTER", "INFO").ToString()
			must(t, err)
			return strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3") &&
				strings.Contains(info, "cluster_slots_ok:16384"), info
		})
	}
	return c
}

func (c *Cluster) stop() {
	for _, n := range c.Nodes {
		n.stop()
	}
}

// Addrs are the nodes' addresses.
func (c *Cluster) Addrs() []string {
	var addrs []string
	for _, n := range c.Nodes {
		addrs = append(addrs, n.Addr())
	}
	return addrs
}

// Slot returns the slot of a key.
func (c *Cluster) Slot(t testing.TB, key string) int {
	t.Helper()
	n, err := c.Nodes[0].Do(t, "CLUSTER", "KEYSLOT", key).AsInt64()
	must(t, err)
	return int(n)
}

// Owner returns the node that holds a slot.
func (c *Cluster) Owner(t testing.TB, slot int) *Server {
	t.Helper()
	for _, n := range c.Nodes {
		list, err := n.Do(t, "CLUSTER", "NODES").ToString()
		must(t, err)
		for line := range strings.Lines(list) {
			fields := strings.Fields(line)
			if len(fields) < 9 || !strings.Contains(fields[2], "myself") {
				continue
			}
			for _, span := range fields[8:] {
				from, to, _ := strings.Cut(span, "-")
				a, err1 := strconv.Atoi(from)
				b, err2 := strconv.Atoi(to)
				if to == "" {
					b, err2 = a, nil
				}
				if err1 == nil && err2 == nil && a <= slot && slot <= b {
					return n
				}
			}
		}
	}
	t.Fatalf("nobody holds slot %d", slot)
	return nil
}

// MoveSlot moves a slot to another node while clients use it.
func (c *Cluster) MoveSlot(t testing.TB, slot int, to *Server) {
	t.Helper()
	from, number := c.Owner(t, slot), strconv.Itoa(slot)
	id := func(s *Server) string {
		text, err := s.Do(t, "CLUSTER", "MYID").ToString()
		must(t, err)
		return text
	}
	to.Do(t, "CLUSTER", "SETSLOT", number, "IMPORTING", id(from))
	from.Do(t, "CLUSTER", "SETSLOT", number, "MIGRATING", id(to))
	for {
		keys, err := from.Do(t, "CLUSTER", "GETKEYSINSLOT", number, "100").AsStrSlice()
		must(t, err)
		if len(keys) == 0 {
			break
		}
		from.Do(t, append([]string{"MIGRATE", "127.0.0.1", fmt.Sprint(to.Port()), "", "0", "5000", "KEYS"}, keys...)...)
	}
	for _, n := range append([]*Server{to, from}, c.Nodes...) {
		n.Do(t, "CLUSTER", "SETSLOT", number, "NODE", id(to))
	}
}
