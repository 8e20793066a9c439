package fulloncache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/fullon/fulloncache/internal/kv"
)

// ProcessHandle is a registered process, seen from within: it tells by itself
// that the process is alive.
//
//	p, err := c.Processes.Register(ctx, fulloncache.Process{Type: fulloncache.ProcessTick, Component: "kraken"})
//	if err != nil {
//		return err
//	}
//	defer p.Stop(context.WithoutCancel(ctx), "")
//	for batch := range work {
//		err := handle(batch)
//		if err != nil {
//			err = p.Update(ctx, fulloncache.ProcessError, err.Error(), nil) // told at once
//		} else {
//			err = p.Update(ctx, fulloncache.ProcessRunning, batch.Name, nil) // told soon
//		}
//		…
//	}
//
// Its methods are safe for concurrent use.
type ProcessHandle struct {
	c         *ProcessCache
	instance  string
	keys      []string
	turn      chan struct{} // who is in it writes; of capacity 1
	soon      chan struct{} // something is to be written before the next beat; of capacity 1
	ended     chan struct{} // closed when there is nothing to tell any more
	heartbeat time.Duration

	mu      sync.Mutex
	p       Process // as it is to be told
	version int     // counts the changes of p
	told    int     // the version that the server has
	carried bool    // the last write carried a change
	started string  // when the server registered the instance, microseconds
	writes  int64   // counts them
	heard   time.Time
	err     error // why the last write failed
	over    bool  // ended is closed
	final   error // why it is over, unless it was stopped
}

func newProcessHandle(c *ProcessCache, p Process) *ProcessHandle {
	p.Params = maps.Clone(p.Params)
	return &ProcessHandle{
		c: c, p: p, instance: newID(), heartbeat: p.Interval,
		keys: c.processKeys(p.Type, p.ID, p.Component),
		turn: make(chan struct{}, 1), soon: make(chan struct{}, 1), ended: make(chan struct{}),
	}
}

// ID is the process's id.
func (h *ProcessHandle) ID() string { return h.p.ID }

// Update says what the process does: its status ("" leaves that as it is), a
// message, and parameters, which are merged by name into those that it told
// before. It does not wait for the server: what was quiet for an interval is told
// at once, and then the newest of what comes, with the next heartbeat, so that a
// process that has much to tell costs no more than one that has not. A change to
// [ProcessError] or [ProcessStopped] is told before it returns; the latter is
// what [ProcessHandle.Stop] does.
//
// It returns [ErrInvalid] if something is unusable, and then changes nothing, or
// if the process was stopped; [ErrOutdated] if another instance took its id over;
// [ErrClosed]; and of what is told at once [ErrUnavailable], after which it is
// told with the next heartbeat. Whether the rest arrives, [ProcessHandle.Err]
// knows.
func (h *ProcessHandle) Update(ctx context.Context, status ProcessStatus, message string, params map[string]string) (err error) {
	call := h.c.begin(ctx, "process.update", Market{})
	defer func() { call.end(ctx, err) }()
	if err := ctx.Err(); err != nil {
		return err
	}
	urgent, err := h.set(status, message, params)
	switch {
	case err != nil:
		return err
	case status == ProcessStopped:
		return h.stop(ctx)
	case urgent:
		if err = h.write(ctx); err != nil {
			signal(h.soon)
		}
	}
	return err
}

// signal wakes whoever waits on a channel of capacity 1.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// set changes what is to be told, and reports whether that is urgent.
func (h *ProcessHandle) set(status ProcessStatus, message string, params map[string]string) (urgent bool, _ error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	next := h.p
	if status != "" {
		if err := status.Validate(); err != nil {
			return false, err
		}
		next.Status = status
	}
	next.Message = message
	next.Params = maps.Clone(h.p.Params)
	if next.Params == nil {
		next.Params = make(map[string]string, len(params))
	}
	maps.Copy(next.Params, params)
	if err := next.validTold(); err != nil {
		return false, err
	}
	switch {
	case h.final != nil:
		return false, h.final
	case h.p.Status == ProcessStopped && status != ProcessStopped:
		return false, fmt.Errorf("%w: process %s was stopped", ErrInvalid, h.p)
	}
	urgent = next.Status != h.p.Status && (next.Status == ProcessError || next.Status == ProcessStopped)
	h.p = next
	h.version++
	if !h.carried && !urgent {
		h.carried = true // one goes ahead
		signal(h.soon)
	}
	return urgent, nil
}

// Stop says that the process stops, and ends what tells that it is alive; an empty
// message leaves the last one. If another instance took its id over, that one's
// entry stays, and there is nothing to stop. If it returns an error, the stop is
// unknown to others, to whom the process will count as dead; calling it again
// tries again.
func (h *ProcessHandle) Stop(ctx context.Context, message string) (err error) {
	call := h.c.begin(ctx, "process.stop", Market{})
	defer func() { call.end(ctx, err) }()
	h.mu.Lock()
	if message == "" {
		message = h.p.Message
	}
	h.mu.Unlock()
	if _, err := h.set(ProcessStopped, message, nil); err != nil {
		if errors.Is(err, ErrOutdated) {
			return nil
		}
		return err
	}
	return h.stop(ctx)
}

// stop ends the beating and tells the stop.
func (h *ProcessHandle) stop(ctx context.Context) error {
	h.end(nil)
	err := h.write(ctx)
	if errors.Is(err, ErrOutdated) {
		return nil
	}
	return err
}

// end ends the beating.
func (h *ProcessHandle) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.over {
		h.over, h.final = true, err
		close(h.ended)
	}
}

// Err tells why others cannot know that the process is alive; nil if they do, and
// of a process that was stopped. It is [ErrUnavailable] while the server cannot
// be told, or was not for so long that the process counts as dead, as after it was
// frozen: that is noticed at the first call. Both end with the next heartbeat that
// arrives. [ErrOutdated] says that another instance took the id over, for good,
// and [ErrClosed] that the Client was closed.
func (h *ProcessHandle) Err() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.final != nil:
		return h.final
	case h.err != nil || h.over:
		return h.err
	}
	if silent := time.Since(h.heard); silent > silence(h.heartbeat) {
		return &UnavailableError{Err: fmt.Errorf("process %s: the server last heard of it %s ago: it counts as dead", h.p, silent.Round(time.Millisecond))}
	}
	return nil
}

// Done is closed when nothing is told any more: the process was stopped, the
// Client closed, or the id taken over by another instance, which a program that
// must run alone takes as the order to end. [ProcessHandle.Err] says which.
func (h *ProcessHandle) Done() <-chan struct{} { return h.ended }

// begin starts the beating.
func (h *ProcessHandle) begin() error {
	if !h.c.kv.Background(h.beat) {
		h.end(ErrClosed)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.final
}

// beat tells that the process is alive, until it is over.
func (h *ProcessHandle) beat(ctx context.Context) {
	// Those that start together do not beat together.
	next := time.NewTimer(h.heartbeat/2 + rand.N(h.heartbeat/2))
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			h.end(ErrClosed)
			return
		case <-h.ended:
			return
		case <-h.soon:
		case <-next.C:
		}
		wait := h.heartbeat
		if h.write(ctx) != nil {
			// A few more times before it counts as dead. The error is in h.err.
			wait /= 10
		}
		next.Reset(wait)
	}
}

// write tells the server what is to be told, and that the process is alive.
func (h *ProcessHandle) write(ctx context.Context) error {
	select {
	case h.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-h.turn }()
	h.mu.Lock()
	h.writes++
	p, version, writes := h.p, h.version, h.writes
	changed := version != h.told
	registered := h.started != ""
	over := h.over
	h.mu.Unlock()
	if over && p.Status != ProcessStopped {
		return nil // a beat that comes late
	}

	asked := time.Now()
	code := int64(0)
	var detail string
	var err error
	if registered {
		code, detail, err = h.tell(ctx, p, writes, changed)
	}
	if err == nil && code == 0 && (!registered || p.Status != ProcessStopped) {
		code, detail, err = h.register(ctx, p, writes)
	}
	switch {
	case err != nil:
	case code == 2:
		err = fmt.Errorf("process %s: %w: another instance of that id started at %s", p, ErrOutdated, detail)
	case code == 3 && registered:
		err = fmt.Errorf("process %s: %w: a process of component %s has the id now", p, ErrOutdated, printable(detail))
	case code == 3:
		err = fmt.Errorf("%w: process %s: the id is that of a process of component %s", ErrInvalid, p, printable(detail))
	}
	h.wrote(ctx, err, asked, version, changed)
	return err
}

// wrote notes how a write ended.
func (h *ProcessHandle) wrote(ctx context.Context, err error, asked time.Time, version int, changed bool) {
	h.mu.Lock()
	was, registered := h.err, h.started != ""
	if err == nil {
		h.told, h.carried, h.heard, h.err = version, changed, asked, nil
	} else if registered && ctx.Err() == nil {
		h.err = err
	}
	now, p := h.err, h.p
	h.mu.Unlock()
	switch {
	case errors.Is(now, ErrOutdated):
		h.end(now)
		h.c.event(EventHeartbeatLost, p.String(), now)
	case was == nil && now != nil:
		h.c.event(EventHeartbeatLost, p.String(), now)
	case was != nil && now == nil:
		h.c.event(EventHeartbeatRestored, p.String(), nil)
	}
	h.c.touched(p.Type, err)
}

// args are the first arguments of the scripts.
func (h *ProcessHandle) args(p Process) []string {
	return slices.Concat(
		[]string{p.ID, h.instance, microseconds(silence(p.Interval)), milliseconds(processTTL)},
		h.c.channels(p.Type), h.c.history(), []string{p.Component, h.started})
}

// wholeEvery is how many heartbeats there are to one that puts right what may be
// missing.
const wholeEvery = 6

// tell runs the script process_beat, or process_alive where that is enough.
func (h *ProcessHandle) tell(ctx context.Context, p Process, writes int64, changed bool) (code int64, detail string, err error) {
	if !changed && p.Status != ProcessStopped && writes%wholeEvery != 0 {
		reply, err := h.c.kv.Run(ctx, kv.ProcessAlive, h.keys[:3], []string{
			p.ID, h.instance, microseconds(silence(p.Interval)), strconv.FormatInt(writes, 10), milliseconds(processTTL),
		})
		if err != nil {
			return 0, "", h.c.blame(ctx, p.Type, p.ID, p.Component, err)
		}
		if done, _ := reply.AsInt64(); done == 1 {
			return 1, "", nil
		}
	}
	args := append(h.args(p), strconv.FormatInt(writes, 10), "")
	if p.Status == ProcessStopped {
		args[len(args)-1] = "stop"
	}
	if changed {
		args = append(args, p.told()...)
	}
	code, detail, err = h.run(ctx, kv.ProcessBeat, p, args)
	if code == 1 && detail == "1" {
		h.c.sweepLater(p.Type)
	}
	return code, detail, err
}

// register runs the script process_register.
func (h *ProcessHandle) register(ctx context.Context, p Process, writes int64) (code int64, detail string, err error) {
	code, detail, err = h.run(ctx, kv.ProcessRegister, p, slices.Concat(h.args(p), p.told(), []string{
		"process_type", string(p.Type), "process_id", p.ID, "host", p.Host, "pid", strconv.Itoa(p.PID),
		"interval", microseconds(p.Interval), "seq", strconv.FormatInt(writes, 10),
	}))
	if code == 1 {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.started = detail
	}
	return code, detail, err
}

// run runs a script that returns a code and what it is about.
func (h *ProcessHandle) run(ctx context.Context, script kv.Script, p Process, args []string) (code int64, detail string, _ error) {
	parts, err := replyParts(h.c.kv.Run(ctx, script, h.keys, args))
	if err != nil {
		return 0, "", h.c.blame(ctx, p.Type, p.ID, p.Component, err)
	}
	code, _ = parts[0].AsInt64()
	if detail, err = parts[1].ToString(); err != nil {
		n, _ := parts[1].AsInt64()
		detail = strconv.FormatInt(n, 10)
	}
	return code, detail, nil
}
