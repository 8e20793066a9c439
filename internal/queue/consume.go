package queue

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/fullon/fulloncache/internal/kv"
)

// Handler handles a delivery. If it returns nil without having settled it, it is
// acknowledged; with an error, or a panic, it is delivered again after
// [ConsumeOptions].Backoff. Its context ends when the delivery is lost, or when
// the consumer was to stop and has waited long enough.
type Handler func(ctx context.Context, d *Delivery) error

// ConsumeOptions say how a consumer behaves. The zero value of a field means its
// default.
type ConsumeOptions struct {
	// Name begins the consumer's name at the server. Defaults to "consumer".
	Name string
	// Concurrency is how many handlers run at the same time. Defaults to 8.
	Concurrency int
	// Batch is how many messages are read ahead at most, if handlers are so quick
	// that it takes them no more than a tenth of a second. Defaults to 256.
	Batch int
	// Visibility is how long a handler may take: the message is delivered again
	// after that, counted from [Delivery.Extend] if it was called. Defaults to 30 s.
	Visibility time.Duration
	// MaxDeliveries is how often a message is delivered before it becomes a dead
	// letter. Defaults to 5.
	MaxDeliveries int
	// Backoff is the delay after a failed delivery. Defaults to 1 s, doubled with each
	// delivery, a minute at most.
	Backoff func(delivery int) time.Duration
	// StopTimeout is how long handlers may go on after the consumer was to stop,
	// before their context ends, and how long it then goes on trying to settle what
	// they leave. Defaults to 30 s.
	StopTimeout time.Duration
	// Poll is how long one read waits for messages, and how often delayed messages
	// that others put back are looked for. Defaults to 250 ms.
	Poll time.Duration
	// ReapAfter is how long a consumer that owns nothing may be silent before it is
	// removed. Defaults to 10 minutes.
	ReapAfter time.Duration
	// Lease is how long a consumer of an ordered queue that cannot be heard keeps its
	// partitions. Defaults to 5 s.
	Lease time.Duration
}

// blocked is how many messages an ordered consumer holds behind ones that are
// being handled or delayed, before it reads no further.
const blocked = 1000

// consumer is one call of Consume.
type consumer struct {
	q        *Queue
	opt      ConsumeOptions
	handler  Handler
	name     string
	life     context.Context // of the handlers
	reading  context.Context // ends when no handler is to begin any more
	settling context.Context // ends when nothing is settled any more
	settler  settler

	workers   sync.WaitGroup
	room      chan struct{} // tells the reader, buffered
	claimRoom chan struct{} // tells the claimer of an unordered queue, buffered
	due       chan struct{} // tells the claimer that something is due earlier, buffered
	leasing   chan struct{} // tells who renews leases, buffered
	linger    *time.Timer   // the reader's
	failure   chan error    // what ends it, buffered
	claims    sync.Mutex    // one claim at a time

	mu       sync.Mutex
	work     sync.Cond
	held     map[*Delivery]struct{} // everything read and not over
	ready    []*Delivery            // to be handled, in this order
	running  int                    // handlers
	mean     time.Duration          // how long a handler takes, of late
	claiming bool                   // the claimer waits for room
	nextDue  time.Time              // when the claimer is to look again
	parts    map[int]*partition     // of an ordered queue
	lapsed   map[int]string         // partitions to be given back as from a crash, and their tokens
	astray   map[int]int            // handlers that still run under a lost lease, by partition
}

// Consume handles messages until ctx ends; then it waits for its handlers, hands
// back what it has not begun, and returns nil. While the server is away it waits
// for it. It fails if the server refuses, or if the queue's keys are corrupt.
func (q *Queue) Consume(ctx context.Context, opt ConsumeOptions, handler Handler) error {
	if opt.Concurrency < 0 || opt.Batch < 0 || opt.Visibility < 0 || opt.MaxDeliveries < 0 || opt.StopTimeout < 0 ||
		opt.Poll < 0 || opt.ReapAfter < 0 || opt.Lease < 0 {
		return fmt.Errorf("%w: consume %s: no option may be negative", ErrInvalid, q.keys)
	}
	orDefault(&opt.Concurrency, 8)
	orDefault(&opt.Batch, 256)
	orDefault(&opt.Visibility, 30*time.Second)
	orDefault(&opt.MaxDeliveries, 5)
	orDefault(&opt.StopTimeout, 30*time.Second)
	orDefault(&opt.Poll, 250*time.Millisecond)
	orDefault(&opt.ReapAfter, 10*time.Minute)
	orDefault(&opt.Lease, 5*time.Second)
	if opt.Name == "" {
		opt.Name = "consumer"
	}
	if opt.Backoff == nil {
		opt.Backoff = backoff
	}
	c := &consumer{
		q: q, opt: opt, handler: handler, name: opt.Name + "-" + rand.Text(),
		room: make(chan struct{}, 1), claimRoom: make(chan struct{}, 1), due: make(chan struct{}, 1),
		leasing: make(chan struct{}, 1), failure: make(chan error, 1),
		held: make(map[*Delivery]struct{}), parts: make(map[int]*partition), lapsed: make(map[int]string), astray: make(map[int]int),
	}
	c.work.L = &c.mu
	c.linger = time.NewTimer(longestLinger)
	c.linger.Stop()
	c.settler = settler{c: c, wake: make(chan struct{}, 1)}
	return c.run(ctx)
}

// backoff is a second, doubled with each delivery, a minute at most.
func backoff(delivery int) time.Duration {
	return min(time.Second<<min(delivery-1, 6), time.Minute)
}

func (c *consumer) run(ctx context.Context) error {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	settling, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	c.life, c.reading, c.settling = life, reading, settling

	var settled, readers, watch sync.WaitGroup
	settled.Go(func() { c.settler.run(settling) })
	watched, unwatch := context.WithCancel(context.WithoutCancel(ctx))
	defer unwatch()
	watch.Go(func() { c.watch(watched) })
	for range c.opt.Concurrency {
		c.workers.Go(c.worker)
	}
	readers.Go(func() { c.keepUse(reading) })
	var leave context.CancelFunc
	if c.q.opt.Ordered {
		var leasing context.Context
		leasing, leave = context.WithCancel(context.WithoutCancel(ctx))
		defer leave()
		watch.Go(func() { c.lease(leasing) })
		readers.Go(func() { c.readPartitions(reading) })
	} else {
		readers.Go(func() { c.read(reading) })
		readers.Go(func() { c.claim(reading) })
	}

	var err error
	select {
	case <-ctx.Done():
	case err = <-c.failure:
	case <-c.q.db.Done():
		_, err = c.q.db.Session(context.WithoutCancel(ctx), nil, nil)
	}
	stop()
	c.mu.Lock()
	c.work.Broadcast()
	c.mu.Unlock()
	patience := time.AfterFunc(c.opt.StopTimeout, func() { end(c.q.opt.Lost) })
	defer patience.Stop()
	late := time.AfterFunc(2*c.opt.StopTimeout, giveUp)
	defer late.Stop()
	watch.Go(func() {
		select {
		case <-c.q.db.Done():
			end(c.q.opt.Lost)
			giveUp()
		case <-watched.Done():
		}
	})
	readers.Wait()
	c.workers.Wait()
	c.handBack()
	c.settler.close()
	settled.Wait()
	if leave != nil {
		leave()
	}
	unwatch()
	watch.Wait()
	c.leave(settling)
	return err
}

// keepUse says again and again how the queue is used, and ends the consumer if
// others use it otherwise.
func (c *consumer) keepUse(ctx context.Context) {
	t := trier{c: c}
	for {
		err := c.q.use(ctx)
		if errors.Is(err, ErrInvalid) {
			c.fail(fmt.Errorf("consume: %w", err))
			return
		}
		if !t.goOn(ctx, err) {
			return
		}
		if err != nil {
			continue
		}
		select {
		case <-time.After(useEvery):
		case <-ctx.Done():
			return
		}
	}
}

// fail ends the consumer.
func (c *consumer) fail(err error) {
	select {
	case c.failure <- err:
	default: // it ends already
	}
}

// handBack gives back what no handler has begun.
func (c *consumer) handBack() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for d := range c.held {
		if d.state == buffered && d.part == nil {
			c.returnLocked(d)
		}
	}
}

// returnLocked gives back a delivery that no handler has begun: another consumer
// gets it, as if nobody had had it.
func (c *consumer) returnLocked(d *Delivery) {
	d.state = returned
	d.settled.Store(true)
	c.settler.add(&settlement{d: d, op: 'H'})
}

// leave removes the consumer from the group, or gives its partitions back.
func (c *consumer) leave(ctx context.Context) {
	if c.q.opt.Ordered {
		_, _ = c.leases(ctx, "leave") // they end by themselves
		return
	}
	r, err := c.q.db.Do(ctx, c.q.db.B().Xpending().Key(c.q.keys.Stream()).Group(group).Start("-").End("+").Count(1).Consumer(c.name).Build())
	if list, _ := r.ToArray(); err == nil && len(list) == 0 {
		_, _ = c.q.db.Do(ctx, c.q.db.B().XgroupDelconsumer().Key(c.q.keys.Stream()).Group(group).Consumername(c.name).Build()) // others reap it
	}
}

// watch keeps deadlines.
func (c *consumer) watch(ctx context.Context) {
	every := c.opt.Visibility / 8
	if c.q.opt.Ordered {
		every = min(every, c.opt.Lease/8)
	}
	tick := time.NewTicker(max(every, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			c.deadlines(now)
		case <-ctx.Done():
			return
		}
	}
}

// worker handles what is ready.
func (c *consumer) worker() {
	for {
		d, ctx := c.next()
		if d == nil {
			return
		}
		c.handle(ctx, d)
	}
}

// next returns what is to be handled next, or nil when the consumer stops.
func (c *consumer) next() (*Delivery, context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if c.reading.Err() != nil {
			return nil, nil
		}
		if len(c.ready) == 0 {
			c.work.Wait()
			continue
		}
		d := c.ready[0]
		c.ready[0] = nil
		c.ready = c.ready[1:]
		now := time.Now()
		if d.part != nil {
			c.lapse(d.part, now)
		}
		if d.state != buffered {
			// What was given back took up room until now. No handler may be left whose end
			// would tell who waits for it.
			signal(c.room)
			signal(c.claimRoom)
			continue
		}
		c.running++
		d.state = running
		if d.part != nil {
			d.part.running++
			d.touched = now
		}
		d.begun = now
		d.until = d.touched.Add(c.opt.Visibility)
		// What has waited for long may have been taken over, and its handler would lack
		// time.
		if d.stale = now.Sub(d.touched) > c.opt.Visibility/4; d.stale {
			d.until = now.Add(c.opt.Visibility)
		}
		var ctx context.Context
		ctx, d.cancel = context.WithCancelCause(c.life)
		return d, ctx
	}
}

// handle runs the handler for a delivery.
func (c *consumer) handle(ctx context.Context, d *Delivery) {
	if d.stale && errors.Is(c.wait(ctx, &settlement{d: d, op: 'E'}), ErrLost) {
		d.settled.Store(true)
		c.finished(d)
		return
	}
	ended := false
	defer func() {
		if !ended { // the handler ended the goroutine, as a failed test does
			c.done(d, &PanicError{Value: "the handler ended its goroutine", Stack: debug.Stack()})
			c.workers.Go(c.worker)
		}
	}()
	err := c.call(ctx, d)
	ended = true
	c.done(d, err)
}

// call runs the handler and makes a panic an error.
func (c *consumer) call(ctx context.Context, d *Delivery) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return c.handler(ctx, d)
}

// done settles what a handler has left unsettled.
func (c *consumer) done(d *Delivery, err error) {
	d.cancel(nil)
	if panicked, ok := err.(*PanicError); ok {
		c.q.opt.OnEvent(Panicked, d.ID, panicked)
	}
	if !d.settled.Swap(true) {
		if err == nil {
			c.settler.add(&settlement{d: d, op: 'A'})
		} else {
			c.settler.add(nak(d, c.opt.Backoff(d.Number), err))
		}
	}
	c.finished(d)
}

// finished frees the handler's place.
func (c *consumer) finished(d *Delivery) {
	took := time.Since(d.begun)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running--
	c.mean += (took - c.mean) / 8
	d.state = returned
	if d.part != nil && d.part.state == lost {
		c.astray[d.part.n]--
	}
	c.advance(d)
	signal(c.room)
	signal(c.claimRoom)
}

// advance removes what is both over and returned, and lets what waited for it go.
func (c *consumer) advance(d *Delivery) {
	if !d.over || d.state == running {
		return
	}
	delete(c.held, d)
	if d.part != nil {
		c.advanceKey(d)
	}
	signal(c.room)
}

// drop forgets a delivery that is another's.
func (c *consumer) drop(d *Delivery) {
	d.over = true
	if d.state == running {
		d.cancel(c.q.opt.Lost)
	}
}

// isLost reports whether a delivery's partition is another's.
func (c *consumer) isLost(d *Delivery) bool {
	if d.part == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return d.part.state == lost
}

// add puts what was read in line. What cannot be read becomes a dead letter.
func (c *consumer) add(list []*Delivery) {
	var malformed []*settlement
	c.mu.Lock()
	for _, d := range list {
		c.held[d] = struct{}{}
		if why := d.malformed(); why != "" {
			d.settled.Store(true)
			d.state = returned
			malformed = append(malformed, &settlement{d: d, op: 'R', why: why})
		} else if d.part != nil {
			c.enqueue(d)
		} else {
			c.start(d)
		}
	}
	c.mu.Unlock()
	if len(malformed) > 0 {
		c.settler.add(malformed...)
	}
}

// start puts a delivery in line for a handler.
func (c *consumer) start(d *Delivery) {
	c.ready = append(c.ready, d)
	c.work.Signal()
}

func (d *Delivery) malformed() string {
	switch {
	case d.ID == "":
		return "malformed: no field id"
	case d.part != nil && d.Key == "":
		return "malformed: no field key"
	}
	return ""
}

// ahead is how many deliveries the consumer may hold ready beside those being
// handled: as many as are handled in a tenth of a second.
func (c *consumer) ahead() int {
	if c.mean <= 0 {
		return 0
	}
	return int(min(int64(c.opt.Batch), int64(c.opt.Concurrency)*int64(100*time.Millisecond)/int64(c.mean)))
}

// free is how many more messages the consumer has use for.
func (c *consumer) free() int { return c.opt.Concurrency + c.ahead() - len(c.ready) - c.running }

// awaitRoom waits until enough can be read to be worth a call, and returns how
// much; 0 when ctx has ended. What is due again goes first. There is a backlog if
// the last read left something behind.
func (c *consumer) awaitRoom(ctx context.Context, backlog bool) int {
	lingering, lingered := false, false
	defer c.linger.Stop()
	for {
		c.mu.Lock()
		free, ahead := c.free(), c.ahead()
		quick := !backlog && c.mean < time.Millisecond && !lingered
		handling := len(c.ready)+c.running > 0
		unsettled := 4 * (c.opt.Concurrency + ahead)
		if c.q.opt.Ordered {
			unsettled += blocked
		}
		if len(c.held) >= unsettled || c.claiming {
			free = 0
		}
		c.mu.Unlock()
		if ctx.Err() != nil {
			return 0
		}
		if free >= max(1, ahead/2) {
			// Who handles more than comes reads when what it had is settled: more has
			// come meanwhile, and a call is given more of it. It does not wait for long.
			if !quick || !handling && !c.settler.busy() {
				return free
			}
			if !lingering {
				lingering = true
				c.linger.Reset(longestLinger)
			}
		}
		select {
		case <-c.room:
		case <-c.linger.C:
			lingered = true
		case <-ctx.Done():
		}
	}
}

const longestLinger = 2 * time.Millisecond

// awaitClaimRoom waits until there is use for a message that is due again, and
// returns for how many; 0 when ctx has ended.
func (c *consumer) awaitClaimRoom(ctx context.Context) int {
	for {
		c.mu.Lock()
		free := c.free()
		c.claiming = free <= 0
		c.mu.Unlock()
		if ctx.Err() != nil {
			return 0
		}
		if free > 0 {
			signal(c.room)
			return min(free, most)
		}
		select {
		case <-c.claimRoom:
		case <-ctx.Done():
		}
	}
}

// read reads what no consumer was given.
func (c *consumer) read(ctx context.Context) {
	t := trier{c: c}
	// Busy: the last read left something behind, so that the next need not wait.
	busy, lost, made := false, false, false
	for {
		n := c.awaitRoom(ctx, busy)
		if n == 0 {
			return
		}
		var err error
		if !made {
			err = c.makeGroup(ctx)
			made = err == nil
		}
		if err == nil && lost {
			err = c.recover(ctx)
			lost = err != nil
		}
		if err == nil {
			var got int
			got, err = c.readNew(ctx, n, busy)
			busy = got == n
			lost = err != nil
		}
		if kv.IsNoGroup(err) {
			made, lost, err = false, false, nil
		}
		if !t.goOn(ctx, err) {
			return
		}
	}
}

// trier tries again while the server cannot answer.
type trier struct {
	c     *consumer
	pause time.Duration
}

// goOn reports whether to try again, after a pause if there was an error.
func (t *trier) goOn(ctx context.Context, err error) bool {
	if err == nil {
		t.pause = 0
		return ctx.Err() == nil
	}
	if ctx.Err() != nil {
		return false
	}
	err = t.c.q.failed(ctx, err)
	var corrupt *CorruptError
	if errors.As(err, &corrupt) || kv.IsRefusal(err) {
		t.c.fail(fmt.Errorf("consume %s: %w", t.c.q.keys, err))
		return false
	}
	t.c.q.opt.OnEvent(ReadFailed, t.c.name, err)
	t.pause = min(max(2*t.pause, shortestPause), longestPause)
	select {
	case <-time.After(t.pause):
		return true
	case <-ctx.Done():
		return false
	}
}

func (c *consumer) makeGroup(ctx context.Context) error {
	_, err := c.q.db.Do(ctx, c.q.db.B().XgroupCreate().Key(c.q.keys.Stream()).Group(group).Id("0").Mkstream().Build())
	if re, ok := rueidis.IsRedisErr(err); ok && re.IsBusyGroup() {
		return nil
	}
	return err
}

// readNew reads up to n messages, and returns how many it was given.
func (c *consumer) readNew(ctx context.Context, n int, busy bool) (int, error) {
	begun := time.Now()
	cmd := c.q.db.B().Xreadgroup().Group(group, c.name).Count(int64(n))
	// It is not cut short: what a server gives to who has gone is handled late.
	ctx = context.WithoutCancel(ctx)
	var msg rueidis.RedisMessage
	var err error
	if busy {
		msg, err = c.q.db.Do(ctx, cmd.Streams().Key(c.q.keys.Stream()).Id(">").Build())
	} else {
		msg, err = c.q.db.Block(ctx, c.opt.Poll, cmd.Block(c.opt.Poll.Milliseconds()).Streams().Key(c.q.keys.Stream()).Id(">").Build())
	}
	if kv.IsNil(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	streams, _ := msg.AsXReadSlices() // the server returns them
	var list []*Delivery
	for _, entries := range streams {
		for _, e := range entries {
			d := &Delivery{c: c, Entry: e.ID, Number: 1, touched: begun}
			for _, f := range e.FieldValues {
				d.field(f.Field, f.Value)
			}
			list = append(list, d)
		}
	}
	c.add(list)
	return len(list), nil
}

func (d *Delivery) field(name, value string) {
	switch name {
	case "id":
		d.ID = value
	case "key":
		d.Key = value
	case "body":
		d.Body = value
	}
}

// delivery reads one of a script's entries: id, which delivery, µs until it is due
// if that is told, fields.
func (c *consumer) delivery(m *rueidis.RedisMessage, begun time.Time) *Delivery {
	list, _ := m.ToArray() // our script returns one
	d := &Delivery{c: c, touched: begun}
	d.Entry, _ = list[0].ToString()
	d.Number = int(whole(&list[1]))
	if len(list) == 4 {
		d.delay = time.Duration(whole(&list[2])) * time.Microsecond
	}
	fields, _ := list[len(list)-1].AsStrSlice()
	for i := 0; i+1 < len(fields); i += 2 {
		d.field(fields[i], fields[i+1])
	}
	return d
}

// expect makes the claimer look at a time, or before.
func (c *consumer) expect(at time.Time) {
	if c.nextDue.IsZero() || at.Before(c.nextDue) {
		c.nextDue = at
		signal(c.due)
	}
}

// forgetDue is called before a claim: it takes what is due by then. What is delayed
// from then on cuts the pause after it short.
func (c *consumer) forgetDue() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.nextDue = time.Time{}
	select {
	case <-c.due:
	default:
	}
}

// claim takes over what is due again, from the delayed and from consumers that
// did not settle in time.
func (c *consumer) claim(ctx context.Context) {
	t := trier{c: c}
	var scanned time.Time
	for {
		scan := ""
		if time.Since(scanned) >= c.opt.Visibility/4 {
			scan = millis(c.opt.Visibility)
		}
		limit := c.awaitClaimRoom(ctx)
		if limit == 0 {
			return
		}
		c.forgetDue()
		wait, got, err := c.claimSome(ctx, scan, limit, "")
		if err == nil && scan != "" {
			scanned = time.Now()
		}
		if kv.IsNoGroup(err) {
			err = nil // the reader makes it
		}
		if !t.goOn(ctx, err) {
			return
		}
		if got == limit {
			continue
		}
		pause := c.opt.Poll
		if wait >= 0 {
			pause = min(pause, wait)
		}
		c.pause(ctx, pause)
	}
}

// pause waits, or until something is due earlier.
func (c *consumer) pause(ctx context.Context, d time.Duration) {
	end := time.Now().Add(d)
	timer := time.NewTimer(max(d, time.Millisecond))
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		case <-c.due:
			c.mu.Lock()
			due := c.nextDue
			c.mu.Unlock()
			timer.Reset(max(min(time.Until(end), time.Until(due)), time.Millisecond))
		}
	}
}

// recover takes what the server gave this consumer in an answer that was lost.
func (c *consumer) recover(ctx context.Context) error {
	_, _, err := c.claimSome(ctx, "", most, "recover")
	return err
}

func (c *consumer) claimSome(ctx context.Context, scan string, limit int, mode string) (wait time.Duration, got int, err error) {
	// What another claim is given meanwhile would look like an answer that was lost.
	c.claims.Lock()
	defer c.claims.Unlock()
	var known map[string]bool
	if mode == "recover" {
		known = c.entries()
	}
	begun := time.Now()
	why := fmt.Sprintf("delivered %d times, the last time not acknowledged within %s", c.opt.MaxDeliveries, c.opt.Visibility)
	msg, err := c.q.db.Run(ctx, kv.QueueClaim, []string{c.q.keys.Stream(), c.q.keys.Delayed(), c.q.keys.Dead()}, []string{
		group, c.name, strconv.Itoa(limit), scan, strconv.Itoa(c.opt.MaxDeliveries), why, strconv.Itoa(c.q.opt.DeadCap), millis(c.opt.ReapAfter), mode,
	})
	if err != nil {
		return 0, 0, err
	}
	reply, _ := msg.ToArray() // our script returns one
	c.q.dropped(whole(&reply[1]))
	buried, _ := reply[2].AsStrSlice() // our script returns one
	for _, entry := range buried {
		c.q.opt.OnEvent(DeadLetter, entry, errors.New(why))
	}
	var list []*Delivery
	for _, one := range reply[3:] {
		if d := c.delivery(&one, begun); !known[d.Entry] {
			list = append(list, d)
		}
	}
	c.add(list)
	return time.Duration(whole(&reply[0])) * time.Microsecond, len(list), nil
}

// entries are what the consumer holds, each after the stream if that is a
// partition's. What it holds when the server is asked what it owns was not lost,
// also if it is settled when the answer arrives.
func (c *consumer) entries() map[string]bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := make(map[string]bool, len(c.held))
	for d := range c.held {
		if d.part != nil {
			known[d.part.stream+d.Entry] = true
		} else {
			known[d.Entry] = true
		}
	}
	return known
}
