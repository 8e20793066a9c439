package lease

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"
)

// Lease is one that this process holds, and renews until it is released, lost, or
// the client is closed.
type Lease struct {
	Resource Resource
	Holder   string
	Token    int64
	Since    time.Time // by the server's clock

	m       *Leases
	request string
	ttl     time.Duration
	values  context.Context // of who acquired it

	place int       // in the schedule, guarded by the lock of m, as is due
	due   time.Time // when it is to be looked after

	mu       sync.Mutex
	deadline time.Time // by this machine's clock
	err      error     // why it is not held any more
	failed   error     // why it was not renewed, last
	ctx      context.Context
	cancel   context.CancelCauseFunc
	given    bool // released here
	back     bool // and on the server
}

// drift is the part by which clocks may run apart: a lease ends here so much
// earlier than on the server.
const drift = 1000

// keep makes a lease of what the server has granted, counted from before it was
// asked; nil after Close.
func (m *Leases) keep(ctx context.Context, r Resource, h Held, q Request, begun time.Time) *Lease {
	l := &Lease{Resource: r, Holder: h.Holder, Token: h.Token, Since: h.Since, m: m, request: q.ID, ttl: q.TTL, values: ctx}
	l.deadline = begun.Add(l.ttl - l.ttl/drift)
	if !m.hold(l, min(l.ttl/3, l.deadline.Sub(m.opt.Now()))) {
		return nil
	}
	return l
}

// checked is a context that looks at the clock.
type checked struct {
	context.Context
	l *Lease
}

func (c checked) Err() error {
	_ = c.l.Err() // it cancels the context
	return c.Context.Err()
}

// Context ends when the lease is not held any more; its cause is Err. Its own Err
// looks at the clock as Err does. It is made for who asks for it: many do not.
func (l *Lease) Context() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil {
		inner, cancel := context.WithCancelCause(context.WithoutCancel(l.values))
		l.ctx, l.cancel = checked{inner, l}, cancel
		if l.err != nil {
			cancel(l.err)
		}
	}
	return l.ctx
}

// Until is when the lease ends, by this machine's clock, if it is not renewed.
func (l *Lease) Until() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.deadline
}

// Err returns nil while the lease is held, going by the clock at the moment of the
// call; else why it is not.
func (l *Lease) Err() error {
	l.mu.Lock()
	err, over, failed := l.err, l.over(), l.failed
	l.mu.Unlock()
	if err != nil || !over {
		return err
	}
	if failed == nil {
		failed = errOver
	}
	l.lose(failed)
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

var (
	errOver     = errors.New("its time was over before it was renewed")
	errGone     = errors.New("the server does not know of it any more")
	errReleased = errors.New("it was released")
)

// over looks at both clocks of the machine: the one that only goes forward stands
// still while the machine is suspended.
func (l *Lease) over() bool {
	now := l.m.opt.Now()
	return !now.Before(l.deadline) || !now.Round(0).Before(l.deadline.Round(0))
}

func (l *Lease) token() string { return strconv.FormatInt(l.Token, 10) }

// lose ends the lease here and tells of it, if nothing did before.
func (l *Lease) lose(cause error) {
	err := l.because(cause)
	if l.end(err) && !errors.Is(cause, l.m.opt.Closed) {
		l.m.opt.OnLost(l, err)
	}
}

// end reports whether it was this call that ended the lease here.
func (l *Lease) end(err error) bool {
	l.mu.Lock()
	ended := l.err == nil
	if ended {
		l.err = err
	}
	cancel := l.cancel
	l.mu.Unlock()
	if !ended {
		return false
	}
	if cancel != nil {
		cancel(err)
	}
	l.m.drop(l)
	return true
}

// Release gives the lease back, also if ctx has ended. It returns an error if the
// lease was lost before, and that of a server that cannot be asked: it then ends
// by itself, or with another Release.
func (l *Lease) Release(ctx context.Context) error {
	lost := l.Err()
	l.mu.Lock()
	given, back := l.given, l.back
	l.given = given || lost == nil
	l.mu.Unlock()
	if back {
		return nil
	}
	l.end(l.because(errReleased))
	// What is lost by this machine's clock may still keep others out.
	a, err := l.m.release(context.WithoutCancel(ctx), l.Resource, l.token(), l.request)
	switch {
	case lost != nil && !given:
		return lost
	case err != nil:
		return err
	case a.status == 0:
		return l.because(l.m.blocked(l.Resource, a))
	case a.status == 2:
		return l.because(errGone)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.back = true
	return nil
}

// because says why the lease is not held any more.
func (l *Lease) because(cause error) error { return &endError{l, cause} }

// endError says why a lease is not held any more. Its text is made for who reads
// it: most end by a release.
type endError struct {
	lease *Lease
	cause error
}

func (e *endError) Error() string {
	opt := &e.lease.m.opt
	return fmt.Sprintf("lease of %s for %q: %s: %s", opt.Title(e.lease.Resource), e.lease.Holder, opt.Lost, e.cause)
}

func (e *endError) Unwrap() []error { return []error{e.lease.m.opt.Lost, e.cause} }
