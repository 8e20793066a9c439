package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/sim"
)

// What the demo's bots trade: three of them want one of two markets.
var (
	demoAccount = fulloncache.Account{UserID: 1, Exchange: sim.Exchanges[0]}
	demoMarkets = []fulloncache.Market{
		{Exchange: demoAccount.Exchange, Symbol: sim.Symbols()[0]},
		{Exchange: demoAccount.Exchange, Symbol: sim.Symbols()[1]},
	}
)

const (
	demoBots       = 3
	demoTurn       = 8 * time.Second         // how long a bot trades before it lets another
	demoLease      = 1500 * time.Millisecond // what a killed bot's lease outlives it
	demoVisibility = 2 * time.Second         // after what its orders go to another
	demoHeartbeat  = time.Second
	demoRestart    = 4 * time.Second // when a killed bot is started anew
)

// demoEvent is what a bot tells the demo, a line each.
type demoEvent struct {
	Bot       string `json:"bot"`
	Leased    string `json:"leased,omitempty"` // symbol
	Submitted string `json:"submitted,omitempty"`
	Handled   string `json:"handled,omitempty"`
	Delivery  int    `json:"delivery,omitempty"` // of Handled
	Error     string `json:"error,omitempty"`
}

// demoBotCommand is a bot of the demo, in a process of its own so that it can be
// killed. It ends when its standard input does.
func (a *app) demoBotCommand() *cobra.Command {
	b := &demoBot{out: json.NewEncoder(a.stdout)}
	var cfg fulloncache.Config
	cmd := &cobra.Command{
		Use:    "demo-bot NAME",
		Hidden: true,
		Args:   cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithCancel(cmd.Context())
			defer cancel()
			go func() {
				_, _ = io.Copy(io.Discard, a.stdin) // its end is what counts
				cancel()
			}()
			b.name = args[0]
			cfg.KeyPrefix = demoPrefix
			// That it was to end before it was there is no failure.
			return ignore(b.connect(ctx, cfg), context.Canceled)
		},
	}
	cmd.Flags().StringVar(&cfg.URL, "url", "", "of the demo's server")
	cmd.Flags().BoolVar(&cfg.InProcess, "in-process", false, "the server is inside the demo's process")
	return cmd
}

// demoBot takes a market, sends orders while it holds it, and executes orders of
// all bots as a connector to the exchange would.
type demoBot struct {
	name    string
	c       *fulloncache.Client
	process *fulloncache.ProcessHandle

	mu  sync.Mutex
	out *json.Encoder
}

func (b *demoBot) connect(ctx context.Context, cfg fulloncache.Config) error {
	c, err := fulloncache.New(ctx, cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	b.c = c
	return b.run(ctx)
}

func (b *demoBot) run(ctx context.Context) (err error) {
	b.process, err = b.c.Processes.Register(ctx, fulloncache.Process{
		Type: fulloncache.ProcessBot, Component: b.name, Interval: demoHeartbeat, Status: fulloncache.ProcessRunning,
	})
	if err != nil {
		return err
	}
	mirror, err := b.c.Ticks.Mirror(ctx, demoAccount.Exchange)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	executed := make(chan error, 1)
	go func() {
		executed <- b.c.Orders.Consume(ctx, fulloncache.ConsumeOptions{
			Exchange: demoAccount.Exchange, Name: b.name, Concurrency: 2, Batch: 2, Visibility: demoVisibility,
		}, b.execute)
	}()
	err = b.trade(ctx, mirror)
	cancel()
	return errors.Join(err, <-executed, b.process.Stop(context.WithoutCancel(ctx), ""))
}

// tell tells the demo, if there is one. Who cannot be told any more has ended, and
// so will the bot.
func (b *demoBot) tell(e demoEvent) {
	if b.out == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e.Bot = b.name
	_ = b.out.Encode(e)
}

// trade takes turns at whichever market is free.
func (b *demoBot) trade(ctx context.Context, mirror *fulloncache.Mirror) error {
	for {
		if err := b.process.Update(ctx, fulloncache.ProcessIdle, "waits in line for a market", nil); err != nil && ctx.Err() == nil {
			return err
		}
		lease, err := b.lease(ctx)
		if ctx.Err() != nil {
			if lease != nil {
				err = lease.Release(context.WithoutCancel(ctx))
			}
			return ignore(err, context.Canceled)
		}
		if err != nil {
			return err
		}
		b.tell(demoEvent{Leased: lease.Market().Symbol})
		if err := b.process.Update(ctx, fulloncache.ProcessRunning, "trades "+lease.Market().Symbol, nil); err != nil && ctx.Err() == nil {
			return err
		}
		err = b.turn(ctx, lease, mirror)
		if err = errors.Join(err, ignore(lease.Release(context.WithoutCancel(ctx)), fulloncache.ErrLeaseLost)); err != nil {
			return err
		}
	}
}

// lease waits in line at all markets, and takes the first that is free.
func (b *demoBot) lease(ctx context.Context) (first *fulloncache.Lease, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		lease *fulloncache.Lease
		err   error
	}
	answers := make(chan answer, len(demoMarkets))
	for _, m := range demoMarkets {
		go func() {
			l, err := b.c.Bots.AcquireWait(ctx, m, b.name, fulloncache.LeaseOptions{TTL: demoLease})
			answers <- answer{l, err}
		}()
	}
	for range demoMarkets {
		a := <-answers
		cancel()
		switch {
		case a.lease == nil && first == nil:
			err = a.err
		case a.lease != nil && first == nil:
			first, err = a.lease, nil
		case a.lease != nil: // both were free at once
			if rerr := ignore(a.lease.Release(context.WithoutCancel(ctx)), fulloncache.ErrLeaseLost); rerr != nil {
				return first, rerr
			}
		}
	}
	return first, err
}

// ignore returns err unless it is what is expected.
func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// turn sends orders while the lease lasts, and the turn.
func (b *demoBot) turn(ctx context.Context, lease *fulloncache.Lease, mirror *fulloncache.Mirror) error {
	market := lease.Market()
	over := time.After(demoTurn)
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return nil
		case <-lease.Context().Done():
			return nil // another bot has the market by now
		case <-over:
			return nil
		case <-time.After(100*time.Millisecond + rand.N(200*time.Millisecond)):
		}
		quote, err := mirror.Get(market, fulloncache.MaxAge(5*time.Second))
		if err != nil {
			continue // no price, no order
		}
		volume, err := fulloncache.NewDecimal(1+rand.Int64N(50), 3)
		if err != nil {
			return err
		}
		order := fulloncache.Order{
			Market: market, ID: fmt.Sprintf("%s-%d-%d", b.name, lease.Token(), n), UserID: demoAccount.UserID,
			Type: "limit", Side: []fulloncache.Side{fulloncache.Buy, fulloncache.Sell}[rand.IntN(2)], Volume: volume,
			Price: fulloncache.NullDecimal{Decimal: quote.Price(), Valid: true}, Status: fulloncache.OrderNew, Time: time.Now(),
		}
		err = b.c.Orders.Save(ctx, order)
		if err == nil {
			err = b.c.Orders.Submit(ctx, order, fulloncache.UnderLease(lease.Token()))
		}
		switch {
		case errors.Is(err, fulloncache.ErrLeaseLost):
			_, err = b.c.Orders.Update(context.WithoutCancel(ctx), fulloncache.Order{
				Market: market, ID: order.ID, Status: fulloncache.OrderCancelled, Reason: "the lease was lost", Time: time.Now(),
			})
			return err
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		b.tell(demoEvent{Submitted: order.ID})
	}
}

// execute is the exchange: it takes its time, then the order is filled. That may be
// done twice, if the bot is killed in between; the fill counts once.
func (b *demoBot) execute(ctx context.Context, d *fulloncache.OrderDelivery) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(50*time.Millisecond + rand.N(350*time.Millisecond)):
	}
	o := d.Order
	now := time.Now()
	_, err := b.c.Accounts.ApplyTrade(ctx, fulloncache.Trade{
		Market: o.Market, ExTradeID: "fill-" + o.ID, ExOrderID: "ex-" + o.ID, UserID: o.UserID, Type: o.Type, Side: o.Side,
		Volume: o.Volume, Price: o.Price.Decimal, Time: now,
	})
	if err != nil {
		return err
	}
	_, err = b.c.Orders.Update(ctx, fulloncache.Order{
		Market: o.Market, ID: o.ID, ExOrderID: "ex-" + o.ID, Status: fulloncache.OrderFilled,
		FinalVolume: fulloncache.NullDecimal{Decimal: o.Volume, Valid: true}, Time: now,
	})
	if err != nil && !errors.Is(err, fulloncache.ErrFinal) && !errors.Is(err, fulloncache.ErrOutdated) {
		return err
	}
	if err := d.Ack(ctx); err != nil {
		return err
	}
	b.tell(demoEvent{Handled: o.ID, Delivery: d.Number})
	return nil
}

// demoDesk starts the bots, restarts those that are killed, and counts what they
// tell.
type demoDesk struct {
	cfg fulloncache.Config

	submitted, handled, again, leases, kills atomic.Int64

	mu   sync.Mutex
	bots map[string]*exec.Cmd // that run
}

// run keeps the bots running until the context ends; then they finish what they
// hold.
func (d *demoDesk) run(ctx context.Context) error {
	var wg sync.WaitGroup
	failures := make([]error, demoBots)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i := range demoBots {
		wg.Go(func() {
			if failures[i] = d.keep(ctx, fmt.Sprintf("bot_%d", i+1)); failures[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	return errors.Join(failures...)
}

// keep runs a bot, again and again.
func (d *demoDesk) keep(ctx context.Context, name string) error {
	for ctx.Err() == nil {
		killed, err := d.bot(ctx, name)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if killed {
			select {
			case <-ctx.Done():
			case <-time.After(demoRestart):
			}
		}
	}
	return nil
}

// bot runs a bot until it ends. killed says that it was killed.
func (d *demoDesk) bot(ctx context.Context, name string) (killed bool, err error) {
	program, err := os.Executable()
	if err != nil {
		return false, err
	}
	args := []string{"demo-bot", name, "--url", d.cfg.URL}
	if d.cfg.InProcess {
		args = append(args, "--in-process")
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), demoBotEnv+"=1")
	var complaint strings.Builder
	cmd.Stderr = &complaint
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return false, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return false, err
	}
	if err := cmd.Start(); err != nil {
		return false, err
	}
	d.set(name, cmd)
	stop := context.AfterFunc(ctx, func() { _ = stdin.Close() }) // it ends then
	defer stop()
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		var e demoEvent
		if json.Unmarshal(lines.Bytes(), &e) == nil { // a killed bot's last line may be torn
			d.count(e)
		}
	}
	err = cmd.Wait()
	if d.set(name, nil) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("%w: %s", err, strings.TrimSpace(complaint.String()))
	}
	return false, nil
}

// demoBotEnv is set for the bots, so that a test binary knows that it is one.
const demoBotEnv = "FULLONCACHE_DEMO_BOT"

func (d *demoDesk) count(e demoEvent) {
	switch {
	case e.Leased != "":
		d.leases.Add(1)
	case e.Submitted != "":
		d.submitted.Add(1)
	case e.Handled != "":
		d.handled.Add(1)
		if e.Delivery > 1 {
			d.again.Add(1)
		}
	}
}

// set notes that a bot runs, or does not any more; gone reports whether it was
// killed.
func (d *demoDesk) set(name string, cmd *exec.Cmd) (gone bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if cmd != nil {
		d.bots[name] = cmd
		return false
	}
	_, running := d.bots[name]
	delete(d.bots, name)
	return !running
}

// kill kills a bot, the way a machine does: it gets no chance to give anything
// back. Where some are named it is one of them. The name is empty if none runs.
func (d *demoDesk) kill(among ...string) (name string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, cmd := range d.bots {
		if len(among) == 0 || slices.Contains(among, name) {
			delete(d.bots, name)
			d.kills.Add(1)
			return name, cmd.Process.Kill()
		}
	}
	return "", nil
}
