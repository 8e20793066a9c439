package kv

import "time"

// SetLaneRest sets after what rest a lane is not used any more.
func (c *Client) SetLaneRest(d time.Duration) {
	c.lane.mu.Lock()
	defer c.lane.mu.Unlock()
	c.lane.rest = d
}

// Waiting returns how many callers wait for the next call.
func Waiting[T, R any](of Sharing[T, R]) int {
	s := of.(*sharing[T, R])
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting)
}
