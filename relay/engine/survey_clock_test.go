package engine

import (
	"math/rand/v2"
	"testing"
	"time"
)

func TestSurveysComeWhenTheyAreWanted(t *testing.T) {
	t.Parallel()
	start := time.Now()
	at := func(d time.Duration) time.Time { return start.Add(d) }
	for name, c := range map[string]struct {
		interval time.Duration
		then     func(*surveyClock)
		want     time.Duration // after the last survey began
	}{
		"at the reconcile interval":                  {100 * time.Millisecond, func(*surveyClock) {}, 30 * time.Second},
		"when a row is due":                          {100 * time.Millisecond, func(c *surveyClock) { c.wakeAt(at(7 * time.Second)) }, 7 * time.Second},
		"when the first of two is":                   {100 * time.Millisecond, func(c *surveyClock) { c.wakeAt(at(7 * time.Second)); c.wakeAt(at(9 * time.Second)) }, 7 * time.Second},
		"no later for a row that is due late":        {100 * time.Millisecond, func(c *surveyClock) { c.wakeAt(at(time.Hour)) }, 30 * time.Second},
		"not sooner than the poll interval":          {time.Second, func(c *surveyClock) { c.wakeAt(at(time.Millisecond)) }, time.Second},
		"not sooner than is affordable":              {time.Second, func(c *surveyClock) { c.ended(2 * time.Second); c.wakeAt(at(time.Millisecond)) }, 8 * time.Second},
		"affordable, where nothing is due":           {time.Second, func(c *surveyClock) { c.ended(10 * time.Second) }, 40 * time.Second},
		"at once where the log waits":                {100 * time.Millisecond, func(c *surveyClock) { c.demand() }, 100 * time.Millisecond},
		"soon where the log waits, if polled rarely": {time.Hour, func(c *surveyClock) { c.demand() }, overdueAfter},
		"affordable where the log waits":             {time.Hour, func(c *surveyClock) { c.ended(time.Second); c.demand() }, 4 * time.Second},
	} {
		clock := surveyClock{reconcile: 30 * time.Second, interval: c.interval}
		clock.wakeAt(start)
		clock.demand()
		clock.begins(start) // sees all that was wanted
		c.then(&clock)
		if got := clock.due(start).Sub(start); got != c.want {
			t.Errorf("%s: after %s, want %s", name, got, c.want)
		}
	}
}

// Whatever is wanted, and however long they take, surveys take a fifth of the time
// at most.
func TestSurveysTakeAFifthOfTheTime(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	start := time.Now()
	clock := surveyClock{reconcile: time.Second, interval: time.Millisecond}
	now, reading := start, time.Duration(0)
	var last time.Duration
	for range 1000 {
		switch random.IntN(3) {
		case 0:
			clock.demand()
		case 1:
			clock.wakeAt(now.Add(time.Duration(random.IntN(1000)) * time.Millisecond))
		}
		if due := clock.due(now); due.After(now) {
			now = due
		}
		clock.begins(now)
		last = time.Duration(random.IntN(300)) * time.Millisecond
		reading += last
		now = now.Add(last)
		clock.ended(last)
		if !clock.valid() {
			t.Fatalf("the next survey is wanted at %s, later than the reconcile interval after %s", clock.wake, clock.began)
		}
	}
	// Of the last survey the pause is still to come.
	if whole := now.Sub(start) + restFactor*last; reading > whole/4 {
		t.Errorf("%s of %s were spent in surveys", reading, whole)
	}
}
