package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/fullon/fulloncache"
)

func (a *app) orderCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "order",
		Short:   "Queue, submit, consume and show orders",
		Example: "  fulloncache order list kraken --open",
		Args:    cobra.NoArgs,
		RunE:    func(*cobra.Command, []string) error { return usageError{errors.New("order: want a subcommand")} },
	}
	cmd.AddCommand(a.orderQueue(), a.orderSubmit(), a.orderConsume(), a.orderStatus(), a.orderList(), a.orderDead())
	return cmd
}

func (a *app) orderQueue() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "queue",
		Short:   "Push, pop, peek at and count the ids of orders to execute",
		Example: "  fulloncache order queue length spot",
		Long: `Push, pop, peek at and count the ids of orders to execute: simple queues, first in,
first out. "stats" counts the orders that were submitted to an exchange's queue.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return usageError{errors.New("order queue: want a subcommand")} },
	}
	push := &cobra.Command{
		Use:     "push QUEUE ORDER_ID...",
		Short:   "Append ids to a queue",
		Example: "  fulloncache order queue push spot o-1 o-2",
		Args:    cobra.MinimumNArgs(2),
		RunE: a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
			for _, id := range args[1:] {
				if err := c.Orders.PushOpenOrder(cmd.Context(), args[0], id); err != nil {
					return err
				}
			}
			return a.print(map[string]int{"pushed": len(args) - 1}, "%d pushed", len(args)-1)
		}),
	}
	pop := &cobra.Command{Use: "pop QUEUE", Short: "Take the oldest id off a queue", Example: "  fulloncache order queue pop spot --wait 10s", Args: cobra.ExactArgs(1)}
	wait := pop.Flags().Duration("wait", 0, `wait so long for one, such as "10s"`)
	pop.RunE = a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
		id, err := c.Orders.PopOpenOrder(cmd.Context(), args[0], *wait)
		if err != nil {
			return fmt.Errorf("queue %s: %w", args[0], err)
		}
		return a.printIDs(id)
	})
	peek := &cobra.Command{Use: "peek QUEUE", Short: "Show the oldest ids of a queue, and leave them there", Example: "  fulloncache order queue peek spot --limit 10", Args: cobra.ExactArgs(1)}
	limit := peek.Flags().Int("limit", 10, "so many at most")
	peek.RunE = a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
		ids, err := c.Orders.PeekOpenOrders(cmd.Context(), args[0], *limit)
		return errors.Join(a.printIDs(ids...), err)
	})
	length := &cobra.Command{
		Use:     "length QUEUE",
		Short:   "Count the ids of a queue",
		Example: "  fulloncache order queue length spot",
		Args:    cobra.ExactArgs(1),
		RunE: a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
			n, err := c.Orders.QueueLength(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(map[string]any{"queue": args[0], "length": n}, "%d", n)
		}),
	}
	stats := &cobra.Command{
		Use:     "stats EXCHANGE",
		Short:   "Count the orders that were submitted to an exchange's queue",
		Example: "  fulloncache order queue stats kraken",
		Args:    cobra.ExactArgs(1),
		RunE: a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
			s, err := c.Orders.QueueStats(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(s, "%d in the queue, %d of them with consumers or delayed (%d), %d dead letters", s.Length, s.Pending, s.Delayed, s.Dead)
		}),
	}
	cmd.AddCommand(push, pop, peek, length, stats)
	return cmd
}

func (a *app) printIDs(ids ...string) error {
	for _, id := range ids {
		if err := a.print(map[string]string{"order_id": id}, "%s", id); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) orderSubmit() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "submit EXCHANGE SYMBOL SIDE VOLUME",
		Short:   "Submit an order to its exchange's queue",
		Example: "  fulloncache order submit kraken BTC/USD buy 0.5 --price 67000 --id o-1 --save",
		Long: `Submit an order to its exchange's queue, from which "order consume" takes it. Submitted
again with the same --id, it is not added again.`,
		Args: cobra.ExactArgs(4),
	}
	id := cmd.Flags().String("id", "", "the order's id (default: the time)")
	kind := cmd.Flags().String("type", "", "the order's type (default limit with --price, else market)")
	price := cmd.Flags().String("price", "", "the limit")
	command := cmd.Flags().String("command", "", "the instruction to who executes it")
	reason := cmd.Flags().String("reason", "", "why it was made")
	bot := cmd.Flags().Int64("bot", 0, "the id of the bot that made it")
	user := cmd.Flags().Int64("user", 0, "the id of the bot's user")
	replicas := cmd.Flags().Int("wait-replicas", 0, "return when so many replicas have it")
	token := cmd.Flags().Int64("under-lease", 0, "submit it only while the market's lease is held under this token")
	save := cmd.Flags().Bool("save", false, "store its status too, so that \"order status\" shows it")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		now := time.Now().UTC()
		o := fulloncache.Order{
			Market: fulloncache.Market{Exchange: args[0], Symbol: args[1]}, ID: *id, Side: fulloncache.Side(args[2]),
			Type: *kind, Command: *command, Reason: *reason, BotID: *bot, UserID: *user, Status: fulloncache.OrderNew, Time: now,
		}
		var err error
		if o.Volume, err = fulloncache.ParseDecimal(args[3]); err != nil {
			return usageError{fmt.Errorf("VOLUME: %w", err)}
		}
		if o.ID == "" {
			o.ID = "cli-" + strconv.FormatInt(now.UnixNano(), 36)
		}
		if *price != "" {
			d, err := fulloncache.ParseDecimal(*price)
			if err != nil {
				return usageError{fmt.Errorf("--price: %w", err)}
			}
			o.Price = fulloncache.Some(d)
		}
		switch {
		case o.Type == "" && o.Price.Valid:
			o.Type = "limit"
		case o.Type == "":
			o.Type = "market"
		}
		if err := o.Validate(); err != nil {
			return usageError{err}
		}
		var opts []fulloncache.SubmitOption
		if *replicas != 0 {
			opts = append(opts, fulloncache.WaitReplicas(*replicas))
		}
		if cmd.Flags().Changed("under-lease") {
			opts = append(opts, fulloncache.UnderLease(*token))
		}
		return a.withClient(func(cmd *cobra.Command, _ []string, c *fulloncache.Client) error {
			if *save {
				if err := c.Orders.Save(cmd.Context(), o); err != nil {
					return err
				}
			}
			if err := c.Orders.Submit(cmd.Context(), o, opts...); err != nil {
				return err
			}
			return a.printOrder(o)
		})(cmd, args)
	}
	return cmd
}

// printOrder prints an order as a line.
func (a *app) printOrder(o fulloncache.Order) error {
	return a.print(o, "%s", orderText(o))
}

func orderText(o fulloncache.Order) string {
	text := fmt.Sprintf("%s  %s  %s  %s %s %s", o.Market, o.ID, o.Status, o.Type, o.Side, o.Volume)
	for _, f := range []struct {
		name  string
		value string
	}{
		{"at", o.Price.String()}, {"filled", o.FinalVolume.String()}, {"exchange's id", o.ExOrderID}, {"command", o.Command}, {"reason", o.Reason},
	} {
		if f.value != "" {
			text += "  " + f.name + " " + f.value
		}
	}
	return text + "  " + o.Time.Format(time.RFC3339Nano)
}

func (a *app) orderConsume() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "consume EXCHANGE",
		Short: "Take submitted orders, print and acknowledge them, until interrupted",
		Example: `  fulloncache order consume kraken
  fulloncache order consume kraken --count 1 --json`,
		Long: `Take the orders that were submitted to an exchange's queue, one after another, print and
acknowledge them, until interrupted. Several share the queue. With --nak or --reject they are
put back for later, or become dead letters.`,
		Args: cobra.ExactArgs(1),
	}
	count := cmd.Flags().Int("count", 0, "end after so many orders (0: never)")
	nak := cmd.Flags().Duration("nak", 0, `put each back, to be delivered again after so long, such as "5s"`)
	reject := cmd.Flags().String("reject", "", "make each a dead letter, for this reason")
	opts := fulloncache.ConsumeOptions{Concurrency: 1}
	cmd.Flags().DurationVar(&opts.Visibility, "visibility", 0, "deliver an order again if it is not acknowledged for so long (default 30s)")
	cmd.Flags().IntVar(&opts.MaxDeliveries, "max-deliveries", 0, "make an order a dead letter after so many deliveries (default 5)")
	consume := a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
		ctx, stop := context.WithCancelCause(cmd.Context())
		defer stop(nil)
		opts.Exchange = args[0]
		seen := 0
		err := c.Orders.Consume(ctx, opts, func(ctx context.Context, d *fulloncache.OrderDelivery) error {
			if err := a.printDelivery(d); err != nil {
				stop(err) // nobody reads any more: the order is delivered again
				return err
			}
			if seen++; seen == *count {
				defer stop(nil)
			}
			switch {
			case cmd.Flags().Changed("nak"):
				return d.Nak(ctx, *nak, errors.New("put back by hand"))
			case *reject != "":
				return d.Reject(ctx, *reject)
			}
			return d.Ack(ctx)
		})
		if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
			err = cause
		}
		return err
	})
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if cmd.Flags().Changed("nak") && *reject != "" {
			return usageError{errors.New("order consume: want --nak or --reject, not both")}
		}
		return consume(cmd, args)
	}
	return cmd
}

func (a *app) printDelivery(d *fulloncache.OrderDelivery) error {
	again := ""
	if d.Number > 1 {
		again = fmt.Sprintf("  (delivery %d)", d.Number)
	}
	return a.print(struct {
		fulloncache.Order
		Delivery int    `json:"delivery"`
		Token    string `json:"token,omitempty"`
	}{d.Order, d.Number, d.Token}, "%s%s", orderText(d.Order), again)
}

func (a *app) orderStatus() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status EXCHANGE ORDER_ID",
		Short: "Show an order as it is now, or follow it",
		Example: `  fulloncache order status kraken o-1
  fulloncache order status kraken OX-1 --ex`,
		Args: cobra.ExactArgs(2),
	}
	watch := cmd.Flags().Bool("watch", false, "follow it until it is final or deleted, or until interrupted")
	byExchange := cmd.Flags().Bool("ex", false, "ORDER_ID is the id that the exchange gave it")
	cmd.RunE = a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
		get := c.Orders.Get
		if *byExchange {
			get = c.Orders.ByExOrderID
		}
		o, err := get(cmd.Context(), args[0], args[1])
		if err != nil {
			return err
		}
		if !*watch {
			return a.printOrder(o)
		}
		for u, err := range c.Orders.Watch(cmd.Context(), args[0], o.ID) {
			if err != nil {
				a.warn(err)
				continue
			}
			if u.Deleted {
				return a.print(map[string]any{"exchange": u.Order.Exchange, "order_id": u.Order.ID, "deleted": true}, "%s  %s  deleted", u.Order.Exchange, u.Order.ID)
			}
			if err := a.printOrder(u.Order); err != nil || u.Order.Status.Final() {
				return err
			}
		}
		return nil
	})
	return cmd
}

func (a *app) orderList() *cobra.Command {
	cmd := &cobra.Command{Use: "list EXCHANGE", Short: "List the orders of an exchange", Example: `  fulloncache order list kraken
  fulloncache order list kraken --open --json`, Args: cobra.ExactArgs(1)}
	open := cmd.Flags().Bool("open", false, "only those that can still be filled")
	cmd.RunE = a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
		list := c.Orders.List
		if *open {
			list = c.Orders.Open
		}
		return listing(a, "orders", []string{"ORDER_ID", "SYMBOL", "STATUS", "TYPE", "SIDE", "VOLUME", "FILLED", "PRICE", "TIME"},
			list(cmd.Context(), args[0]), func(o fulloncache.Order) []string {
				return []string{
					o.ID, o.Symbol, string(o.Status), o.Type, string(o.Side), o.Volume.String(), dash(o.FinalVolume), dash(o.Price),
					o.Time.Format(time.RFC3339),
				}
			})
	})
	return cmd
}

func (a *app) orderDead() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "dead EXCHANGE",
		Short:   "List, requeue and purge the dead letters of an exchange's queue",
		Example: "  fulloncache order dead kraken",
		Args:    cobra.ExactArgs(1),
		RunE: a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
			return listing(a, "dead letters", []string{"DEAD_ID", "ORDER_ID", "SYMBOL", "DELIVERIES", "TIME", "REASON"},
				c.Orders.DeadOrders(cmd.Context(), args[0]), func(d fulloncache.DeadOrder) []string {
					symbol := "-"
					if d.Order != nil {
						symbol = d.Order.Symbol
					}
					return []string{d.DeadID, d.OrderID, symbol, strconv.Itoa(d.Deliveries), d.Time.Format(time.RFC3339), d.Reason}
				})
		}),
	}
	cmd.AddCommand(
		a.deadWork("requeue", "requeued", "Move dead letters to the end of the queue", (*fulloncache.OrdersCache).RequeueDead),
		a.deadWork("purge", "purged", "Delete dead letters for good", (*fulloncache.OrdersCache).PurgeDead),
	)
	return cmd
}

// deadWork is a command that does something to dead letters.
func (a *app) deadWork(name, done, short string, do func(c *fulloncache.OrdersCache, ctx context.Context, exchange string, deadIDs ...string) (int, error)) *cobra.Command {
	cmd := &cobra.Command{
		Use: name + " EXCHANGE [DEAD_ID...]", Short: short + ", or all with --all", Args: cobra.MinimumNArgs(1),
		Example: "  fulloncache order dead " + name + " kraken --all",
	}
	all := cmd.Flags().Bool("all", false, "all that are there now")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if *all == (len(args) > 1) {
			return usageError{fmt.Errorf("order dead %s: want DEAD_IDs or --all", name)}
		}
		return a.withClient(func(cmd *cobra.Command, args []string, c *fulloncache.Client) error {
			ids := args[1:]
			if *all {
				for d, err := range c.Orders.DeadOrders(cmd.Context(), args[0]) {
					if err != nil {
						return err
					}
					ids = append(ids, d.DeadID)
				}
			}
			n, err := do(c.Orders, cmd.Context(), args[0], ids...)
			return errors.Join(a.print(map[string]int{done: n}, "%d %s", n, done), err)
		})(cmd, args)
	}
	return cmd
}
