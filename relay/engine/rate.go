package engine

import (
	"math"
	"time"

	"golang.org/x/time/rate"
)

// Rate is how many messages may be published.
type Rate struct {
	PerSecond float64 // 0: no limit
	Burst     int     // how many at once; 0: a tenth of PerSecond, at least one
}

// throttle limits the rate of messages. The loop owns it, and it outlives terms. A nil
// throttle lets every message go.
type throttle struct {
	limiter *rate.Limiter
}

func newThrottle(r Rate) *throttle {
	if r.PerSecond <= 0 {
		return nil
	}
	burst := r.Burst
	if burst == 0 {
		burst = max(1, int(math.Ceil(r.PerSecond/10)))
	}
	return &throttle{limiter: rate.NewLimiter(rate.Limit(r.PerSecond), burst)}
}

// lets says whether a message may go now.
func (t *throttle) lets(now time.Time) bool { return t == nil || t.limiter.TokensAt(now) >= 1 }

// went notes that a message has gone.
func (t *throttle) went(now time.Time) {
	if t != nil {
		t.limiter.AllowN(now, 1)
	}
}

// until returns how long it is until a message may go.
func (t *throttle) until(now time.Time) time.Duration {
	if t == nil {
		return turn
	}
	missing := 1 - t.limiter.TokensAt(now)
	if missing <= 0 {
		return turn
	}
	return time.Duration(missing / float64(t.limiter.Limit()) * float64(time.Second))
}
