package fulloncache_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fullon/fulloncache"
)

// order is an order of the examples, so many seconds after noon.
func order(id string, seconds int) fulloncache.Order {
	return fulloncache.Order{
		Market: fulloncache.Market{Exchange: "kraken", Symbol: "BTC/USD"}, ID: id,
		Type: "limit", Side: fulloncache.Buy, Volume: fulloncache.MustDecimal("0.5"), Price: fulloncache.Some(fulloncache.MustDecimal("67000")),
		Status: fulloncache.OrderNew, Time: noon.Add(time.Duration(seconds) * time.Second),
	}
}

func ExampleOrdersCache_PushOpenOrder() {
	ctx := context.Background()
	c, end := try()
	defer end()
	// The bot stores its orders, and queues their ids.
	for i, id := range []string{"bot-1", "bot-2"} {
		report(c.Orders.Save(ctx, order(id, i)))
		report(c.Orders.PushOpenOrder(ctx, "spot", id))
	}
	waiting, err := c.Orders.PeekOpenOrders(ctx, "spot", 10)
	report(err)
	n, err := c.Orders.QueueLength(ctx, "spot")
	fmt.Println(waiting, n, err)
	// Who executes them, mostly another process, waits for the next.
	id, err := c.Orders.PopOpenOrder(ctx, "spot", time.Minute)
	report(err)
	o, err := c.Orders.Get(ctx, "kraken", id)
	fmt.Println(o.ID, o.Side, o.Volume, o.Price, err)
	// Output:
	// [bot-1 bot-2] 2 <nil>
	// bot-1 buy 0.5 67000 <nil>
}

func ExampleOrdersCache_PushOpenOrders() {
	ctx := context.Background()
	c, end := try()
	defer end()
	pushed, err := c.Orders.PushOpenOrders(ctx, "spot", []string{"bot-1", "bot-2"}, fulloncache.Unique(time.Hour))
	fmt.Println(pushed.Added, err)
	// Had the answer been lost, all of it could be pushed again.
	pushed, err = c.Orders.PushOpenOrders(ctx, "spot", []string{"bot-1", "bot-2", "bot-3"}, fulloncache.Unique(time.Hour))
	fmt.Println(pushed.Added, pushed.Duplicates, err)
	// Output:
	// 2 <nil>
	// 1 2 <nil>
}

func ExampleOrdersCache_Update() {
	ctx := context.Background()
	c, end := try()
	defer end()
	report(c.Orders.Save(ctx, order("bot-1", 0)))
	// Only what is given changes; several writers do not undo each other.
	o, err := c.Orders.Update(ctx, fulloncache.Order{
		Market: fulloncache.Market{Exchange: "kraken"}, ID: "bot-1",
		Status: fulloncache.OrderPartial, FinalVolume: fulloncache.Some(fulloncache.MustDecimal("0.2")), ExOrderID: "OX-1",
		Time: noon.Add(2 * time.Second),
	})
	fmt.Println(o.Status, o.FinalVolume, o.Volume, err)
	// What comes late changes nothing.
	late := fulloncache.Order{
		Market: o.Market, ID: o.ID, Status: fulloncache.OrderOpen, Time: noon.Add(time.Second),
	}
	_, err = c.Orders.Update(ctx, late)
	fmt.Println(errors.Is(err, fulloncache.ErrOutdated))
	// A final order stays final, but a late fill counts.
	cancelled := fulloncache.Order{Market: o.Market, ID: o.ID, Status: fulloncache.OrderCancelled, Time: noon.Add(3 * time.Second)}
	_, err = c.Orders.Update(ctx, cancelled)
	report(err)
	reopened := fulloncache.Order{Market: o.Market, ID: o.ID, Status: fulloncache.OrderOpen, Time: noon.Add(4 * time.Second)}
	_, err = c.Orders.Update(ctx, reopened)
	fmt.Println(errors.Is(err, fulloncache.ErrFinal))
	late.FinalVolume = fulloncache.Some(fulloncache.MustDecimal("0.3"))
	o, err = c.Orders.Update(ctx, late)
	fmt.Println(o.Status, o.FinalVolume, err)
	// The exchange's id finds it.
	o, err = c.Orders.ByExOrderID(ctx, "kraken", "OX-1")
	fmt.Println(o.ID, err)
	// Output:
	// partially_filled 0.2 0.5 <nil>
	// true
	// true
	// canceled 0.3 <nil>
	// bot-1 <nil>
}

func ExampleOrdersCache_List() {
	ctx := context.Background()
	c, end := try()
	defer end()
	done := order("bot-1", 0)
	done.Status = fulloncache.OrderFilled
	report(c.Orders.Save(ctx, done))
	report(c.Orders.Save(ctx, order("bot-2", 1)))
	for o, err := range c.Orders.Open(ctx, "kraken") {
		fmt.Println("open:", o.ID, err)
	}
	for o, err := range c.Orders.List(ctx, "kraken") {
		fmt.Println(o.ID, o.Status, err)
	}
	status, err := c.Orders.Status(ctx, "kraken", "bot-1")
	fmt.Println(status, status.Final(), err)
	report(c.Orders.Delete(ctx, "kraken", "bot-1"))
	_, err = c.Orders.Get(ctx, "kraken", "bot-1")
	fmt.Println(errors.Is(err, fulloncache.ErrNotFound))
	// Output:
	// open: bot-2 <nil>
	// bot-2 new <nil>
	// bot-1 closed <nil>
	// closed true <nil>
	// true
}

func ExampleOrdersCache_Watch() {
	ctx := context.Background()
	c, end := try()
	defer end()
	report(c.Orders.Save(ctx, order("bot-1", 0)))
	for u, err := range c.Orders.Watch(ctx, "kraken", "bot-1") {
		if err != nil {
			continue // disconnected; the loop goes on
		}
		fmt.Println(u.Order.Status)
		if u.Order.Status.Final() {
			break
		}
		// Somebody else, mostly in another process:
		filled := order("bot-1", 1)
		filled.Status = fulloncache.OrderFilled
		report(c.Orders.Save(ctx, filled))
	}
	// Output:
	// new
	// closed
}

func ExampleOrdersCache_Consume() {
	ctx, stop := context.WithCancel(context.Background())
	c, end := try()
	defer end()
	// The bots. What is submitted twice, because nobody knows whether it arrived, is
	// delivered once.
	report(c.Orders.Submit(ctx, order("bot-1", 0)))
	report(c.Orders.Submit(ctx, order("bot-1", 0)))
	report(c.Orders.SubmitMany(ctx, []fulloncache.Order{order("bot-2", 1), order("bot-3", 2)}))
	stats, err := c.Orders.QueueStats(ctx, "kraken")
	fmt.Println(stats.Length, err)

	// Who executes them, mostly several processes. What one does not acknowledge,
	// another gets.
	busy := errors.New("the exchange is busy")
	err = c.Orders.Consume(ctx, fulloncache.ConsumeOptions{Exchange: "kraken", Concurrency: 1}, func(ctx context.Context, d *fulloncache.OrderDelivery) error {
		fmt.Println(d.Order.ID, d.Order.Side, d.Order.Volume, "delivery", d.Number)
		switch {
		case d.Order.ID == "bot-1":
			report(d.Extend(ctx)) // this takes long
			return d.Ack(ctx)
		case d.Order.ID == "bot-2":
			return d.Reject(ctx, "insufficient funds")
		case d.Number == 1:
			return d.Nak(ctx, time.Millisecond, busy)
		}
		stop()
		return nil // acknowledges it
	})
	fmt.Println(err)
	// Output:
	// 3 <nil>
	// bot-1 buy 0.5 delivery 1
	// bot-2 buy 0.5 delivery 1
	// bot-3 buy 0.5 delivery 1
	// bot-3 buy 0.5 delivery 2
	// <nil>
}

func ExampleOrdersCache_DeadOrders() {
	ctx, stop := context.WithCancel(context.Background())
	c, end := try()
	defer end()
	report(c.Orders.SubmitMany(ctx, []fulloncache.Order{order("bot-1", 0), order("bot-2", 1)}))
	handled := 0
	report(c.Orders.Consume(ctx, fulloncache.ConsumeOptions{Exchange: "kraken", Concurrency: 1}, func(ctx context.Context, d *fulloncache.OrderDelivery) error {
		if handled++; handled == 2 {
			stop()
		}
		return d.Reject(ctx, "insufficient funds")
	}))
	ctx = context.Background()
	var dead []string
	for d, err := range c.Orders.DeadOrders(ctx, "kraken") {
		fmt.Println(d.OrderID, d.Order.Volume, d.Deliveries, d.Reason, err)
		dead = append(dead, d.DeadID)
	}
	// The first one is tried again, as if it were new; the other one is given up.
	moved, err := c.Orders.RequeueDead(ctx, "kraken", dead[0])
	fmt.Println(moved, err)
	purged, err := c.Orders.PurgeDead(ctx, "kraken", dead[1])
	fmt.Println(purged, err)
	stats, err := c.Orders.QueueStats(ctx, "kraken")
	fmt.Println(stats.Length, stats.Dead, err)
	// Output:
	// bot-1 0.5 1 insufficient funds <nil>
	// bot-2 0.5 1 insufficient funds <nil>
	// 1 <nil>
	// 1 <nil>
	// 1 0 <nil>
}

func ExampleWaitReplicas() {
	ctx := context.Background()
	c, end := try()
	defer end()
	// A server without replicas cannot confirm that a failover will not lose it. The
	// order is there, and submitting it again is safe.
	err := c.Orders.Submit(ctx, order("bot-1", 0), fulloncache.WaitReplicas(1))
	fmt.Println(errors.Is(err, fulloncache.ErrUncertain))
	// An order under a lease that is not held is refused.
	err = c.Orders.Submit(ctx, order("bot-2", 0), fulloncache.UnderLease(7))
	fmt.Println(errors.Is(err, fulloncache.ErrLeaseLost))
	// Output:
	// true
	// true
}
