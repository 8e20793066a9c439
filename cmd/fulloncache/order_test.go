package main

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/fullon/fulloncache"
	"github.com/fullon/fulloncache/internal/testenv"
)

func TestOrderQueueCommands(t *testing.T) {
	s := newShell(t)
	out, _ := s.call(0, "", "order", "queue", "push", "spot", "a", "b", "c")
	if out != "3 pushed\n" {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "order", "queue", "peek", "spot", "--limit", "2", "--json")
	if out != `{"order_id":"a"}`+"\n"+`{"order_id":"b"}`+"\n" {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "order", "queue", "length", "spot", "--json")
	if out != `{"length":3,"queue":"spot"}`+"\n" {
		t.Errorf("got %s", out)
	}
	for _, want := range []string{"a\n", "b\n", "c\n"} {
		if out, _ = s.call(0, "", "order", "queue", "pop", "spot", "--wait", "10s"); out != want {
			t.Errorf("got %s, want %s", out, want)
		}
	}
	_, errs := s.call(1, "", "order", "queue", "pop", "spot")
	if !strings.Contains(errs, "queue spot: not found") {
		t.Errorf("got %s", errs)
	}
	s.call(2, "", "order")
	s.call(2, "", "order", "queue")
	s.call(2, "", "order", "queue", "push", "spot")
	s.call(1, "", "order", "queue", "peek", "spot", "--limit", "0")
}

func TestOrderSubmitAndConsumeCommands(t *testing.T) {
	s := newShell(t)
	out, _ := s.call(0, "", "order", "submit", "kraken", "BTC/USD", "buy", "0.50", "--id", "o-1", "--price", "67000.10", "--reason", "signal", "--bot", "4", "--user", "2", "--save", "--json")
	o := decode[fulloncache.Order](t, out)
	if o.ID != "o-1" || o.Type != "limit" || o.Price.String() != "67000.1" || o.Volume.String() != "0.5" || o.Status != fulloncache.OrderNew || o.BotID != 4 {
		t.Errorf("got %s", out)
	}
	s.call(0, "", "order", "submit", "kraken", "BTC/USD", "buy", "0.50", "--id", "o-1", "--price", "67000.10") // twice is once
	out, _ = s.call(0, "", "order", "submit", "kraken", "ETH/USD", "sell", "2")
	if !strings.HasPrefix(out, "kraken ETH/USD  cli-") || !strings.Contains(out, "  new  market sell 2  ") {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "order", "queue", "stats", "kraken", "--json")
	if out != `{"length":2,"pending":0,"delayed":0,"dead":0}`+"\n" {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "order", "queue", "stats", "kraken")
	if out != "2 in the queue, 0 of them with consumers or delayed (0), 0 dead letters\n" {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "order", "consume", "kraken", "--count", "1", "--nak", "0s")
	if !strings.HasPrefix(out, "kraken BTC/USD  o-1  new  limit buy 0.5  at 67000.1  reason signal  ") {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "order", "consume", "kraken", "--count", "2", "--json")
	var deliveries []int
	for line := range strings.Lines(out) {
		deliveries = append(deliveries, decode[struct{ Delivery int }](t, line).Delivery)
	}
	if slices.Sort(deliveries); !slices.Equal(deliveries, []int{1, 2}) {
		t.Errorf("got %s", out)
	}

	out, _ = s.call(0, "", "order", "status", "kraken", "o-1")
	if !strings.HasPrefix(out, "kraken BTC/USD  o-1  new  limit buy 0.5  at 67000.1") {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "order", "list", "kraken", "--open", "--json")
	if decode[fulloncache.Order](t, out).ID != "o-1" {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "order", "list", "kraken")
	if lines := strings.Split(out, "\n"); len(lines) != 3 || !strings.HasPrefix(lines[0], "ORDER_ID") || !strings.HasPrefix(lines[1], "o-1 ") {
		t.Errorf("got %s", out)
	}
	s.call(1, "", "order", "status", "kraken", "o-2")
	s.call(1, "", "order", "status", "kraken", "o-1", "--ex")

	for _, mistake := range [][]string{
		{"submit", "kraken", "BTC/USD", "long", "1"}, {"submit", "kraken", "BTC/USD", "buy", "much"}, {"submit", "kraken", "BTC/USD", "buy", "1", "--price", "x"},
		{"submit", "kraken"}, {"consume"}, {"consume", "kraken", "--nak", "x"}, {"consume", "kraken", "--nak", "1s", "--reject", "x"}, {"dead", "purge", "kraken"}, {"dead", "requeue", "kraken", "1-1", "--all"},
	} {
		s.call(2, "", append([]string{"order"}, mistake...)...)
	}
	_, errs := s.call(1, "", "order", "submit", "kraken", "BTC/USD", "buy", "1", "--under-lease", "7")
	if !strings.Contains(errs, "lease lost") {
		t.Errorf("got %s", errs)
	}
	_, errs = s.call(1, "", "order", "submit", "kraken", "BTC/USD", "buy", "1", "--wait-replicas", "1")
	if !strings.Contains(errs, "0 of 1 replicas") {
		t.Errorf("got %s", errs)
	}
}

func TestOrderDeadCommands(t *testing.T) {
	s := newShell(t)
	for _, id := range []string{"a", "b", "c"} {
		s.call(0, "", "order", "submit", "kraken", "BTC/USD", "buy", "1", "--id", id)
	}
	s.call(0, "", "order", "consume", "kraken", "--count", "3", "--reject", "no such symbol")
	out, _ := s.call(0, "", "order", "dead", "kraken", "--json")
	var dead []fulloncache.DeadOrder
	for line := range strings.Lines(out) {
		dead = append(dead, decode[fulloncache.DeadOrder](t, line))
	}
	if len(dead) != 3 || dead[0].Reason != "no such symbol" || dead[0].Order == nil || dead[0].Order.ID != dead[0].OrderID {
		t.Fatalf("got %s", out)
	}
	out, _ = s.call(0, "", "order", "dead", "kraken")
	if lines := strings.Split(out, "\n"); len(lines) != 5 || !strings.HasPrefix(lines[0], "DEAD_ID") || !strings.Contains(lines[1], "no such symbol") {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "order", "dead", "requeue", "kraken", dead[0].DeadID)
	if out != "1 requeued\n" {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "order", "consume", "kraken", "--count", "1", "--json")
	if decode[fulloncache.Order](t, out).ID != dead[0].OrderID {
		t.Errorf("got %s", out)
	}
	out, _ = s.call(0, "", "order", "dead", "purge", "kraken", "--all", "--json")
	if out != `{"purged":2}`+"\n" {
		t.Errorf("got %s", out)
	}
	if out, _ = s.call(0, "", "order", "dead", "kraken", "--json"); out != "" {
		t.Errorf("got %s", out)
	}
	s.call(1, "", "order", "dead", "purge", "kraken", "x")
}

// Two terminals: one submits and changes, the other follows and consumes.
func TestOrderCommandsAcrossTerminals(t *testing.T) {
	s := newShell(t)
	terminal := func(args ...string) (*bufio.Scanner, func() int) {
		r, w := io.Pipe()
		ctx, cancel := context.WithCancel(s.ctx)
		done := make(chan int, 1)
		go func() {
			code := run(ctx, append([]string{"order"}, args...), nil, w, io.Discard)
			w.Close()
			done <- code
		}()
		return bufio.NewScanner(r), func() int { cancel(); return <-done }
	}
	line := func(sc *bufio.Scanner) (o fulloncache.Order) {
		t.Helper()
		if !sc.Scan() {
			t.Fatal("no line")
		}
		if err := json.Unmarshal(sc.Bytes(), &o); err != nil {
			t.Fatalf("%q: %v", sc.Text(), err)
		}
		return o
	}
	consumer, interrupt := terminal("consume", "kraken", "--json")
	s.call(0, "", "order", "submit", "kraken", "BTC/USD", "buy", "1", "--id", "a", "--save")
	if o := line(consumer); o.ID != "a" {
		t.Errorf("consumed %+v", o)
	}
	watch, _ := terminal("status", "kraken", "a", "--watch", "--json")
	if o := line(watch); o.Status != fulloncache.OrderNew {
		t.Errorf("watched %+v", o)
	}
	cfg, err := fulloncache.ConfigFromEnv()
	if err != nil {
		t.Fatal(err)
	}
	c, err := fulloncache.New(s.ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Orders.Update(s.ctx, fulloncache.Order{Market: fulloncache.Market{Exchange: "kraken"}, ID: "a", Status: fulloncache.OrderFilled}); err != nil {
		t.Fatal(err)
	}
	if o := line(watch); o.Status != fulloncache.OrderFilled {
		t.Errorf("watched %+v", o)
	}
	if watch.Scan() {
		t.Errorf("a final order is followed further: %s", watch.Text())
	}
	// It was acknowledged before the consumer is interrupted.
	testenv.Eventually(t, "an empty queue", func() (bool, string) {
		stats, err := c.Orders.QueueStats(s.ctx, "kraken")
		return err == nil && stats == fulloncache.QueueStats{}, ""
	})
	go func() {
		for consumer.Scan() {
		}
	}()
	if code := interrupt(); code != 0 {
		t.Errorf("interrupted, it exits with %d", code)
	}
}
