package testenv

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/fullon/fulloncache/internal/redisproc"
)

// NewReplicatedCluster starts a cluster of the test's own in which the master of
// a key has a replica that is in sync. A dead master is replaced within a second
// or two.
func NewReplicatedCluster(t testing.TB, key string) (c *Cluster, master, replica *Server) {
	t.Helper()
	c = NewCluster(t)
	master = c.Owner(t, c.Slot(t, key))
	bus, err := redisproc.FreePort()
	must(t, err)
	replica = newServer(t, redisproc.Options{Args: []string{
		"--cluster-enabled", "yes", "--cluster-port", strconv.Itoa(bus), "--cluster-require-full-coverage", "no",
		"--repl-diskless-sync-delay", "0",
	}})
	for _, n := range append([]*Server{replica}, c.Nodes...) {
		n.Do(t, "CONFIG", "SET", "cluster-node-timeout", "500")
		n.Do(t, "CONFIG", "SET", "repl-diskless-sync-delay", "0")
	}
	port, err := master.Do(t, "CONFIG", "GET", "cluster-port").AsStrMap()
	must(t, err)
	replica.Do(t, "CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(master.Port()), port["cluster-port"])
	id, err := master.Do(t, "CLUSTER", "MYID").ToString()
	must(t, err)
	Eventually(t, "replica", func() (bool, string) {
		_, err := replica.Try(t, "CLUSTER", "REPLICATE", id)
		return err == nil, fmt.Sprint(err)
	})
	Eventually(t, "replication", func() (bool, string) {
		info, err := replica.Do(t, "INFO", "replication").ToString()
		must(t, err)
		return strings.Contains(info, "master_link_status:up"), info
	})
	// Who is to vote must know it.
	replicaID, err := replica.Do(t, "CLUSTER", "MYID").ToString()
	must(t, err)
	for _, n := range c.Nodes {
		Eventually(t, "a known replica", func() (bool, string) {
			nodes, err := n.Do(t, "CLUSTER", "NODES").ToString()
			must(t, err)
			for line := range strings.Lines(nodes) {
				if strings.Contains(line, replicaID+" ") && strings.Contains(line, "slave "+id) {
					return true, ""
				}
			}
			return false, nodes
		})
	}
	return c, master, replica
}

// Failover kills the master, waits until the cluster has made the replica one,
// and lets the former master come back as its replica.
func (c *Cluster) Failover(t testing.TB, master, replica *Server) {
	t.Helper()
	master.Kill()
	Eventually(t, "failover", func() (bool, string) {
		role, err := replica.Do(t, "ROLE").ToArray()
		must(t, err)
		kind, err := role[0].ToString()
		must(t, err)
		return kind == "master", kind
	})
	master.Restart(t)
}
