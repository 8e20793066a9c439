package kv

import (
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"github.com/sony/gobreaker/v2"
)

// breaker refuses calls to a server that does not answer. There is one for a
// standalone server and one per slot in use of a cluster, which is finer than
// one per node and needs no topology of its own: see docs/decisions.
type breaker struct {
	circuit *gobreaker.TwoStepCircuitBreaker[any]
	retryAt atomic.Int64 // when an open one lets a probe through, Unix nanoseconds
	failed  atomic.Bool  // the last call that counts was a transport failure
	seen    atomic.Int64 // losses of connections at the last success
}

// slot returns the slot that names a command's breaker.
func (c *Client) slot(slot uint16) uint16 {
	if !c.opt.Cluster {
		return 0
	}
	return slot
}

func (c *Client) breaker(slot uint16) *breaker {
	slot = c.slot(slot)
	if b, ok := c.breakers.Load(slot); ok {
		return b.(*breaker)
	}
	subject := c.opt.Addrs[0]
	if c.opt.Cluster {
		subject = "slot " + strconv.Itoa(int(slot))
	}
	b := &breaker{}
	b.seen.Store(-1) // its node may never have been connected to
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[any](gobreaker.Settings{
		Timeout:     c.opt.BreakerCooldown,
		ReadyToTrip: func(n gobreaker.Counts) bool { return int(n.ConsecutiveFailures) >= c.opt.BreakerFailures },
		IsExcluded:  func(err error) bool { return errors.Is(err, errExcluded) },
		OnStateChange: func(_ string, _, to gobreaker.State) {
			switch to {
			case gobreaker.StateOpen:
				b.retryAt.Store(time.Now().Add(c.opt.BreakerCooldown).UnixNano())
				c.opt.OnEvent(BreakerOpened, subject, nil)
			case gobreaker.StateClosed:
				c.opt.OnEvent(BreakerClosed, subject, nil)
			}
		},
	})
	kept, _ := c.breakers.LoadOrStore(slot, b)
	return kept.(*breaker)
}

// BreakerState is "closed", "half-open" or "open": the worst of all breakers.
func (c *Client) BreakerState() string {
	worst := gobreaker.StateClosed
	c.breakers.Range(func(_, b any) bool {
		worst = max(worst, b.(*breaker).circuit.State())
		return true
	})
	return worst.String()
}

// errExcluded marks outcomes that say nothing about the server: the caller gave
// up, or the client is closed.
var errExcluded = errors.New("says nothing about the server")

// silence is after how long a connection without an answer has been given up:
// it is pinged every half second, and a ping may take a second.
const silence = 2 * time.Second

// request says how a call is to be treated.
type request struct {
	slot  uint16
	again bool          // it may be sent again if the connection broke meanwhile
	own   bool          // it has a connection of its own
	wait  time.Duration // what the server may take beyond the call timeout
}

// call runs do behind the slot's breaker, bounded by the call timeout, and maps
// its error. If the connection broke while do waited and it may be sent again,
// it is, once.
func call[T any](ctx context.Context, c *Client, req request, do func(context.Context) (T, error)) (v T, err error) {
	if err := ctx.Err(); err != nil {
		return v, err
	}
	if c.ctx.Err() != nil {
		return v, c.opt.Closed
	}
	b := c.breaker(req.slot)
	done, err := b.circuit.Allow()
	if err != nil {
		return v, c.opt.Unavailable(max(time.Until(time.Unix(0, b.retryAt.Load())), time.Millisecond), err)
	}
	begun, losses := time.Now(), c.losses.Load()
	direct := b.seen.Load() == losses && !req.own
	expired := false
	if direct && c.opt.CallTimeout >= silence && !c.opt.InProcess {
		// The connection lives, or is given up with all calls on it before the
		// timeout: no timer of the call's own is needed, which costs more than all
		// else here.
		v, err = do(ctx)
		settle(ctx, err)
	} else {
		v, expired, err = timed(ctx, c, req, begun, direct, do)
	}
	if req.again && broken(err) && !expired && ctx.Err() == nil {
		losses = c.losses.Load()
		v, expired, err = timed(ctx, c, req, begun, false, do)
	}
	switch {
	case isAnswer(err):
		done(nil)
		b.seen.Store(losses)
		if b.failed.CompareAndSwap(true, false) {
			c.opt.OnEvent(Reconnected, c.opt.Addrs[0], nil)
		}
		return v, c.answered(err)
	case c.ctx.Err() != nil:
		done(errExcluded)
		return v, c.opt.Closed
	case ctx.Err() != nil:
		done(errExcluded)
		return v, ctx.Err()
	case expired:
		err = errTimeout
	}
	b.failed.Store(true)
	done(err)
	return v, c.opt.Unavailable(0, err)
}

// timed runs do within the call timeout since the call began; expired says that it, or the caller's
// own deadline, has passed.
func timed[T any](ctx context.Context, c *Client, req request, begun time.Time, direct bool, do func(context.Context) (T, error)) (v T, expired bool, err error) {
	bounded, cancel := context.WithDeadline(ctx, begun.Add(req.wait+c.opt.CallTimeout))
	defer cancel()
	if req.own {
		// It would keep Close waiting for as long as the server blocks.
		defer context.AfterFunc(c.ctx, cancel)()
	}
	if direct {
		v, err = do(bounded)
	} else {
		v, err = detached(bounded, c, req, do)
	}
	settle(bounded, err)
	return v, bounded.Err() != nil, err
}

// settle waits until the context has ended where err says that its deadline has
// passed: a connection's deadline, also that of one being made, can come before
// its context's timer.
func settle(ctx context.Context, err error) {
	passed := errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded)
	if late, ok := ctx.Deadline(); ok && passed && !time.Now().Before(late) {
		<-ctx.Done()
	}
}

// detached runs do in a goroutine that is left behind when the context ends.
// It is for calls that may have to connect first: connecting is shared by all
// callers, so it can neither be cut short by one of them nor be waited for
// beyond a caller's context.
func detached[T any](ctx context.Context, c *Client, req request, do func(context.Context) (T, error)) (v T, err error) {
	type outcome struct {
		v   T
		err error
	}
	result := make(chan outcome, 1)
	inner, cancel := ctx, context.CancelFunc(func() {})
	if !req.own {
		inner, cancel = context.WithTimeout(context.WithoutCancel(ctx), c.opt.CallTimeout)
	}
	started := c.goroutine(func() {
		defer cancel()
		v, err := do(inner)
		result <- outcome{v, err}
	})
	if !started {
		cancel()
		return v, c.opt.Closed
	}
	select {
	case r := <-result:
		return r.v, r.err
	case <-ctx.Done():
		return v, ctx.Err()
	}
}

// isAnswer reports whether the server answered, be it with an error or that
// there is nothing.
func isAnswer(err error) bool {
	_, refusal := rueidis.IsRedisErr(err)
	return err == nil || refusal || rueidis.IsRedisNil(err)
}

// broken reports whether err is that of a connection that ended under a call,
// rather than of one that could not be made or did not answer.
func broken(err error) bool {
	if isAnswer(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var network interface{ Timeout() bool }
	if !errors.As(err, &network) {
		return true
	}
	// A connection that the server ends with data still unread is reset.
	var op *net.OpError
	return errors.As(err, &op) && op.Op != "dial" && !op.Timeout()
}
