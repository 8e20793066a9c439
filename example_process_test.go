package fulloncache_test

import (
	"context"
	"fmt"
	"time"

	"github.com/fullon/fulloncache"
)

// bot registers a process, as most programs do when they start.
func bot(ctx context.Context, c *fulloncache.Client, component string) *fulloncache.ProcessHandle {
	p, err := c.Processes.Register(ctx, fulloncache.Process{
		Type: fulloncache.ProcessBot, Component: component, Params: map[string]string{"feeds": "3"},
	})
	report(err)
	return p
}

func ExampleProcessCache_Register() {
	ctx := context.Background()
	c, end := try() // a real program: fulloncache.Open(ctx)
	defer end()

	p, err := c.Processes.Register(ctx, fulloncache.Process{Type: fulloncache.ProcessBot, Component: "bot_1"})
	if err != nil {
		fmt.Println(err)
		return
	}
	// From now on it tells by itself that it is alive, until it is stopped: without
	// that, its end counts as a death.
	defer p.Stop(context.WithoutCancel(ctx), "")

	// Others, mostly in other processes, see it.
	seen, err := c.Processes.Component(ctx, fulloncache.ProcessBot, "bot_1")
	report(err)
	fmt.Println(seen.Status, seen.Alive, seen.ID == p.ID())
	// Output: starting true true
}

func ExampleProcessHandle_Update() {
	ctx := context.Background()
	c, end := try()
	defer end()
	p := bot(ctx, c, "bot_1")

	// It may say what it does as often as it likes: what must not wait is told at
	// once, the rest with the next heartbeat.
	report(p.Update(ctx, fulloncache.ProcessRunning, "warming up", nil))
	report(p.Update(ctx, fulloncache.ProcessError, "exchange refuses orders", map[string]string{"open": "2"}))

	seen, err := c.Processes.Get(ctx, fulloncache.ProcessBot, p.ID())
	report(err)
	fmt.Println(seen.Status, seen.Message, seen.Params["feeds"], seen.Params["open"])

	// Whether others can know that it is alive, it knows.
	fmt.Println(p.Err())
	// Output:
	// error exchange refuses orders 3 2
	// <nil>
}

func ExampleProcessHandle_Stop() {
	ctx := context.Background()
	c, end := try()
	defer end()
	old := bot(ctx, c, "bot_1")
	fresh := bot(ctx, c, "bot_1") // started before the old one ended

	report(old.Stop(ctx, "replaced"))
	<-old.Done()
	seen, err := c.Processes.Component(ctx, fulloncache.ProcessBot, "bot_1")
	report(err)
	fmt.Println(seen.ID == fresh.ID())

	for r, err := range c.Processes.History(ctx, fulloncache.ProcessBot, "bot_1", 10) {
		report(err)
		fmt.Println(r.Change)
	}
	// Output:
	// true
	// stopped
	// started
	// started
}

func ExampleProcessCache_Active() {
	ctx := context.Background()
	c, end := try()
	defer end()
	bot(ctx, c, "bot_1")
	report(bot(ctx, c, "bot_2").Stop(ctx, ""))

	for p, err := range c.Processes.Active(ctx, fulloncache.ProcessFilter{Type: fulloncache.ProcessBot, Since: time.Minute}) {
		report(err)
		fmt.Println(p.Component, p.Status)
	}
	for p, err := range c.Processes.List(ctx, fulloncache.ProcessFilter{Component: "bot_2"}) {
		report(err)
		fmt.Println(p.Component, p.Status)
	}
	// Output:
	// bot_1 starting
	// bot_2 stopped
}

func ExampleProcessCache_SystemHealth() {
	ctx := context.Background()
	c, end := try()
	defer end()
	bot(ctx, c, "bot_1")
	report(bot(ctx, c, "bot_2").Update(ctx, fulloncache.ProcessError, "no answer", nil))

	h, err := c.Processes.SystemHealth(ctx)
	report(err)
	fmt.Println(h.Healthy, h.Alive, h.Types, h.Statuses)
	for _, p := range h.Failed {
		fmt.Println(p.Component, p.Message)
	}
	// Output:
	// false 2 map[bot:2] map[error:1 starting:1]
	// bot_2 no answer
}

func ExampleProcessCache_Watch() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c, end := try()
	defer end()
	p := bot(ctx, c, "bot_1")

	// Those that are alive come first, as started.
	for e, err := range c.Processes.Watch(ctx, fulloncache.ProcessBot) {
		if err != nil {
			continue // disconnected; the loop goes on
		}
		fmt.Println(e.Change, e.Process.Component)
		if e.Change != fulloncache.ChangeStarted {
			break
		}
		report(p.Stop(ctx, "")) // a crash would be told as died
	}
	// Output:
	// started bot_1
	// stopped bot_1
}

func ExampleProcessCache_CleanupStale() {
	ctx := context.Background()
	c, end := try()
	defer end()
	bot(ctx, c, "bot_1")
	report(bot(ctx, c, "bot_2").Stop(ctx, ""))
	n, err := c.Processes.CleanupStale(ctx, 0)
	report(err)
	fmt.Println(n)
	// Output: 1
}

func ExampleBaseCache_GlobalErrors() {
	ctx := context.Background()
	c, end := try()
	defer end()
	report(c.Base.PushGlobalError(ctx, fulloncache.GlobalError{Component: "bot_1", Message: "out of margin"}))
	for range 2 { // looking takes nothing away
		for e, err := range c.Base.GlobalErrors(ctx) {
			report(err)
			fmt.Println(e.Component, e.Message)
		}
	}
	// Output:
	// bot_1 out of margin
	// bot_1 out of margin
}
