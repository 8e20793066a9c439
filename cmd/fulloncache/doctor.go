package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
)

// finding is what one check of the doctor found.
type finding struct {
	Status string `json:"status"` // Status is ok, warning or bad.
	Check  string `json:"check"`
	Node   string `json:"node,omitempty"`
	Found  string `json:"found"`
	Advice string `json:"advice,omitempty"`
}

// The statuses of findings.
const (
	well    = "ok"
	warning = "warning"
	bad     = "bad"
)

func (a *app) doctorCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "doctor",
		Short: "Check settings and servers, and say what to do",
		Long: `Checks the settings, whether the servers can be reached and how fast, their version and
clock, and those of their settings that can lose orders or slow bots down.

Ends with exit code 1 if something is bad; a warning is for you to judge.`,
		Example: `  fulloncache doctor
  fulloncache doctor --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list := a.examine(cmd.Context())
			err := table(a, []string{"", "CHECK", "FOUND", "ADVICE"}, list, func(f finding) []string {
				check := f.Check
				if f.Node != "" {
					check += " of " + f.Node
				}
				return []string{f.Status, check, f.Found, f.Advice}
			})
			if err != nil {
				return err
			}
			if n := count(list, bad); n > 0 {
				return fmt.Errorf("%d of %d checks are bad", n, len(list))
			}
			return nil
		},
	}
}

func count(list []finding, status string) (n int) {
	for _, f := range list {
		if f.Status == status {
			n++
		}
	}
	return n
}

// examine does all checks that can be done.
func (a *app) examine(ctx context.Context) (list []finding) {
	cfg, done, err := a.config()
	if err != nil {
		return []finding{{bad, "settings", "", err.Error(), `mend what it names; "fulloncache config" shows the rest`}}
	}
	defer done()
	list = append(list, finding{well, "settings", "", fmt.Sprintf("%d, none malformed", len(cfg.Settings())), ""})
	c, err := fulloncache.New(ctx, cfg)
	if err != nil {
		return append(list, finding{bad, "connection", "", err.Error(), "start the server, or let REDIS_URL name another"})
	}
	defer c.Close()
	h, err := c.Base.Health(ctx)
	if err != nil {
		return append(list, finding{bad, "connection", "", err.Error(), "see whether this user may run PING, TIME and INFO there"})
	}
	list = append(list, finding{well, "connection", "", fmt.Sprintf("%s, masters: %d", h.Mode, len(h.Nodes)), ""})
	queues, err := queuesIn(ctx, c)
	if err != nil {
		list = append(list, finding{warning, "queues", "", err.Error(), "let this user SCAN, to learn whether there are queues that a restart can cost"})
	}
	for _, n := range h.Nodes {
		list = append(list, examineNode(n, queues)...)
	}
	return append(list, examineLatency(ctx, c), examineErrors(ctx, c))
}

// queuesIn counts the queues of orders and the lists of trades, each once: what
// lies beside one has its name and more.
func queuesIn(ctx context.Context, c *fulloncache.Client) (int, error) {
	found := make(map[string]struct{})
	for kind, parts := range map[string]int{"order_queue": 2, "new_orders": 2, "trades": 3, "user_trades": 3} {
		for key, err := range c.Base.Keys(ctx, kind+":*") {
			if err != nil {
				return 0, err
			}
			name := strings.Split(key, ":")
			found[strings.Join(name[:min(parts, len(name))], ":")] = struct{}{}
		}
	}
	return len(found), nil
}

// The doctor's limits.
const (
	oldestVersion = 7
	slowPing      = 2 * time.Millisecond
	clockWarning  = 100 * time.Millisecond
	clockBad      = time.Second
	fullMemory    = 80 // percent
)

// examineNode judges a server by what it tells of itself.
func examineNode(n fulloncache.NodeHealth, queues int) (list []finding) {
	add := func(status, check, found, advice string) {
		list = append(list, finding{status, check, n.Addr, found, advice})
	}
	major, _ := strconv.Atoi(strings.SplitN(n.Version, ".", 2)[0])
	switch {
	case n.Version == "":
		add(warning, "version", "not told", "let this user run INFO")
	case major < oldestVersion:
		add(bad, "version", n.Version, "use Redis 7.0 or later: scripts and sharded channels need it")
	default:
		add(well, "version", n.Version, "")
	}
	switch offset := n.ClockOffset.Abs(); {
	case offset >= clockBad:
		add(bad, "clock", fmt.Sprintf("%s apart from this machine's", offset.Round(time.Millisecond)), "keep the clocks in step (NTP): ages are wrong by that much")
	case offset >= clockWarning:
		add(warning, "clock", fmt.Sprintf("%s apart from this machine's", offset.Round(time.Millisecond)), "keep the clocks in step (NTP)")
	default:
		add(well, "clock", fmt.Sprintf("%s apart from this machine's", offset.Round(time.Microsecond)), "")
	}
	switch {
	case n.Evicted > 0:
		add(bad, "eviction", fmt.Sprintf("%d keys were evicted, policy %s", n.Evicted, n.Policy), "CONFIG SET maxmemory-policy noeviction, and look for what is missing")
	case n.Policy != "" && n.Policy != "noeviction":
		add(bad, "eviction", "policy "+n.Policy, "CONFIG SET maxmemory-policy noeviction: queues and leases can be evicted")
	default:
		add(well, "eviction", "none", "")
	}
	switch {
	case n.MaxMemory == 0:
		add(well, "memory", mebibytes(n.UsedMemory)+", no limit", "")
	case n.UsedMemory*100 >= n.MaxMemory*fullMemory:
		add(warning, "memory", fmt.Sprintf("%s of %s", mebibytes(n.UsedMemory), mebibytes(n.MaxMemory)), "make room: at the limit every write is ErrUnavailable")
	default:
		add(well, "memory", fmt.Sprintf("%s of %s", mebibytes(n.UsedMemory), mebibytes(n.MaxMemory)), "")
	}
	use := fmt.Sprintf("%s, queues in use: %d", n.Persistence, queues)
	switch n.Persistence {
	case "":
		add(warning, "persistence", "not told", "let this user run CONFIG GET, or see to appendonly yourself")
	case "none", "rdb":
		status := warning
		if queues > 0 {
			status = bad
		}
		add(status, "persistence", use, "CONFIG SET appendonly yes: a restart forgets orders and trades")
	case "no":
		add(warning, "persistence", use, "CONFIG SET appendfsync everysec, or always to lose nothing")
	default:
		add(well, "persistence", use, "")
	}
	if n.Tracking == 0 && n.Version != "" {
		add(warning, "tracking", "off", "let this user run CLIENT TRACKING: without it the near cache asks the server every time")
	} else if n.Version != "" {
		add(well, "tracking", fmt.Sprintf("on, clients: %d", n.Tracking), "")
	}
	if n.SlowLog > 0 {
		add(warning, "slow log", fmt.Sprintf("%d entries", n.SlowLog), "SLOWLOG GET shows what held everybody up, SLOWLOG RESET forgets it")
	} else {
		add(well, "slow log", "empty", "")
	}
	return list
}

// examineLatency asks for signs of life and judges their median.
func examineLatency(ctx context.Context, c *fulloncache.Client) finding {
	const pings = 50
	took := make([]time.Duration, pings)
	for i := range took {
		start := time.Now()
		if err := c.Base.Ping(ctx); err != nil {
			return finding{bad, "latency", "", err.Error(), "see whether the server or the network fails now and then"}
		}
		took[i] = time.Since(start)
	}
	slices.Sort(took)
	f := finding{well, "latency", "", fmt.Sprintf("median %s, worst of %d %s", took[pings/2].Round(time.Microsecond), pings, took[pings-1].Round(time.Microsecond)), ""}
	if took[pings/2] > slowPing {
		f.Status, f.Advice = warning, "run bots near the server, or read prices from a Mirror"
	}
	return f
}

// examineErrors looks into the queue of errors of all components.
func examineErrors(ctx context.Context, c *fulloncache.Client) finding {
	n := 0
	for _, err := range c.Base.GlobalErrors(ctx) {
		if err != nil && !errors.Is(err, fulloncache.ErrCorrupt) {
			return finding{bad, "reported errors", "", err.Error(), ""}
		}
		n++
	}
	if n > 0 {
		return finding{warning, "reported errors", "", strconv.Itoa(n), `"fulloncache error list" shows them, "error pop" takes them off`}
	}
	return finding{well, "reported errors", "", "none", ""}
}
