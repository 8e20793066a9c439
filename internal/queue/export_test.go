package queue

import "time"

// Linger sets for how long the connection that asks replicas is kept unused.
func (q *Queue) Linger(d time.Duration) { q.confirming.linger = d }
