// Package processmonitor registers processes, follows who comes and goes, and asks
// whether the system is well.
//
// Next: fulloncache docs coordination_guide.
package processmonitor

import (
	"context"
	"fmt"
	"io"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/embedded"
)

// Run runs the example on a private server; a real program calls fulloncache.Open(ctx).
func Run(ctx context.Context, w io.Writer) error {
	srv, err := embedded.Start(ctx)
	if err != nil {
		return err
	}
	defer srv.Close()
	c, err := fulloncache.New(ctx, srv.Config())
	if err != nil {
		return err
	}
	defer c.Close()

	bot, err := c.Processes.Register(ctx, fulloncache.Process{Type: fulloncache.ProcessBot, Component: "bot_1", ID: "b1"})
	if err != nil {
		return err
	}
	feed, err := c.Processes.Register(ctx, fulloncache.Process{Type: fulloncache.ProcessTick, Component: "kraken", ID: "f1"})
	if err != nil {
		return err
	}
	if err := bot.Update(ctx, fulloncache.ProcessRunning, "3 feeds", nil); err != nil {
		return err
	}
	if err := feed.Update(ctx, fulloncache.ProcessError, "refused by the exchange", nil); err != nil {
		return err
	}
	for p, err := range c.Processes.Active(ctx, fulloncache.ProcessFilter{}) {
		if err != nil {
			return err
		}
		fmt.Fprintln(w, p.Type, p.Component, p.Status, "-", p.Message)
	}
	if err := healthy(ctx, w, c); err != nil {
		return err
	}

	// Whoever watches is told of starts, stops and deaths: here that the feed stops.
	for e, err := range c.Processes.Watch(ctx, fulloncache.ProcessTick) {
		if err != nil {
			continue // disconnected; the loop goes on
		}
		fmt.Fprintln(w, "event:", e.Process.Component, e.Change)
		if e.Change == fulloncache.ChangeStopped {
			break
		}
		if err := feed.Stop(ctx, "restarting"); err != nil { // else its end counts as a death
			return err
		}
	}
	if err := healthy(ctx, w, c); err != nil {
		return err
	}
	return bot.Stop(ctx, "done")
}

func healthy(ctx context.Context, w io.Writer, c *fulloncache.Client) error {
	h, err := c.Processes.SystemHealth(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(w, "healthy:", h.Healthy, "alive:", h.Alive, "of", h.Total)
	return nil
}
