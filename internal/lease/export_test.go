package lease

import (
	"context"
	"time"
)

// Refused is what Take returns for a lease that is not given.
type Refused struct {
	Err   error
	Place int
}

// Take asks for a lease once, and keeps nothing of what it is given.
func (m *Leases) Take(ctx context.Context, r Resource, holder string, q Request, inLine bool) (Held, *Refused, error) {
	h, refused, err := m.take(ctx, r, holder, q, inLine)
	if refused != nil {
		return h, &Refused{refused.err, refused.place}, err
	}
	return h, nil, err
}

// GiveBack gives back what Take was given, and returns what the script said.
func (m *Leases) GiveBack(ctx context.Context, r Resource, token, request string) (int64, error) {
	a, err := m.release(ctx, r, token, request)
	return a.status, err
}

// Renew runs one renewal.
func (l *Lease) Renew(ctx context.Context) { l.renew(ctx) }

// Tick does what the timer does.
func (l *Lease) Tick() { l.tick() }

// Waiting is on how many channels somebody waits, or did lately.
func (m *Leases) Waiting() int {
	m.wakes.mu.Lock()
	defer m.wakes.mu.Unlock()
	return len(m.wakes.channels)
}

// SetIdle sets for how long a connection is kept that nobody waits on.
func (m *Leases) SetIdle(d time.Duration) { m.wakes.idle = d }
