package engine

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestThrottleLetsGoAtItsRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := newThrottle(Rate{PerSecond: 100})
		gone := 0
		for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(limit.until(time.Now())) {
			for limit.lets(time.Now()) {
				limit.went(time.Now())
				gone++
			}
		}
		if gone < 1000 || gone > 1011 { // a burst of ten, and what follows
			t.Errorf("%d went in 10 s at 100 a second", gone)
		}
		var none *throttle
		if none = newThrottle(Rate{}); !none.lets(time.Now()) {
			t.Error("without a limit one has to wait")
		}
		none.went(time.Now())
	})
}

// Once a term may publish again, what waits for the rate is no stall.
func TestSlowRateIsNoStall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := newThrottle(Rate{PerSecond: 0.01})
		limit.went(time.Now())
		if limit.lets(time.Now()) || limit.until(time.Now()) < 99*time.Second {
			t.Errorf("the next may go in %v, want 100 s", limit.until(time.Now()))
		}
	})
}
