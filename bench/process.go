package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/redisproc"
)

const (
	// As many processes as a desk may have, on connections of which each carries few:
	// no heartbeat shares a system call of the server with another.
	beating        = 1000
	beatingClients = 100
)

// heartbeats: what 1,000 processes cost a server of their own by telling that they
// are alive, beyond what their idle connections cost it.
func heartbeats(b *bench) (err error) {
	server, err := redisproc.Start(b.ctx, redisproc.Options{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	own := *b
	own.addr = server.Addr()
	var clients []*fulloncache.Client
	defer func() {
		var all sync.WaitGroup
		for _, c := range clients {
			all.Go(c.Close)
		}
		all.Wait()
	}()
	for range beatingClients {
		c, err := own.client()
		if err != nil {
			return err
		}
		clients = append(clients, c)
	}
	admin, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{own.addr}, ForceSingleClient: true, DisableCache: true})
	if err != nil {
		return err
	}
	defer admin.Close()
	length := time.Duration(b.scale(60)) * time.Second // four heartbeats of each
	idle, _, err := serverLoad(b.ctx, admin, length)
	if err != nil {
		return err
	}
	handles := make([]*fulloncache.ProcessHandle, beating)
	for i := range handles {
		handles[i], err = clients[i%beatingClients].Processes.Register(b.ctx, fulloncache.Process{
			Type: fulloncache.ProcessBot, Component: fmt.Sprint("bot_", i), Message: "3 feeds", Params: map[string]string{"strategy": "trend"},
		})
		if err != nil {
			return err
		}
	}
	// The first heartbeats come sooner, so that they spread.
	time.Sleep(time.Duration(b.scale(15)) * time.Second)
	busy, beats, err := serverLoad(b.ctx, admin, length)
	if err != nil {
		return err
	}
	h, err := clients[0].Processes.SystemHealth(b.ctx)
	if err != nil || !h.Healthy || h.Alive != beating {
		return fmt.Errorf("not all are alive: %d (%w)", h.Alive, err)
	}
	for _, h := range handles {
		if err := h.Stop(b.ctx, ""); err != nil {
			return err
		}
	}
	// What else the machine does changes with time: idle before and after.
	after, _, err := serverLoad(b.ctx, admin, length)
	if err != nil {
		return err
	}
	idle = (idle + after) / 2
	cost, least := busy-idle, 0.9*beating/15
	b.report.add(row{
		work: "1,000 processes beating every 15 s", ours: fmt.Sprintf("%.2f %% of a core", 100*cost),
		limit: "< 1 % of a core", ok: cost < 0.01 && beats >= least,
		note: fmt.Sprintf("%.0f beats/s of %.0f µs each, INFO cpu over %s; %d idle connections cost another %.2f %%", beats, 1e6*cost/beats, length, beatingClients, 100*idle),
	})
	return nil
}

// serverLoad is the part of a core that the server takes, and how many heartbeats
// it gets a second.
func serverLoad(ctx context.Context, admin rueidis.Client, length time.Duration) (load, beats float64, _ error) {
	cpu, calls, err := serverWork(ctx, admin)
	if err != nil {
		return 0, 0, err
	}
	start := time.Now()
	select {
	case <-time.After(length):
	case <-ctx.Done():
		return 0, 0, ctx.Err()
	}
	took := time.Since(start).Seconds()
	cpu2, calls2, err := serverWork(ctx, admin)
	return (cpu2 - cpu) / took, (calls2 - calls) / took, err
}

// serverWork is how many seconds of CPU the server has taken, and how many scripts
// it has run.
func serverWork(ctx context.Context, admin rueidis.Client) (cpu, scripts float64, err error) {
	text, err := admin.Do(ctx, admin.B().Info().Section("cpu", "commandstats").Build()).ToString()
	if err != nil {
		return 0, 0, err
	}
	found := 0
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		to := &cpu
		switch name {
		case "used_cpu_sys", "used_cpu_user":
			found++
		case "cmdstat_evalsha":
			value, _, _ = strings.Cut(strings.TrimPrefix(value, "calls="), ",")
			to = &scripts
		default:
			continue
		}
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, 0, err
		}
		*to += n
	}
	if found != 2 {
		return 0, 0, fmt.Errorf("INFO cpu tells %d of two figures", found)
	}
	return cpu, scripts, nil
}
