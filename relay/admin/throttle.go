package admin

import (
	"sync"
	"time"
)

// throttle lets something pass once in a while, and counts it. The zero value is ready.
type throttle struct {
	mu    sync.Mutex
	last  time.Time
	times int
}

// pass tells whether it is time, and how often that was asked since the last time.
func (t *throttle) pass(every time.Duration) (times int, now bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.times++
	if !t.last.IsZero() && time.Since(t.last) < every {
		return 0, false
	}
	times, t.times, t.last = t.times, 0, time.Now()
	return times, true
}
