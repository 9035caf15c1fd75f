package engine

import "time"

// overdueAfter is the longest pause before a survey that the log waits for, whatever
// the poll interval. It is much shorter than unreadLimit, so the tail is not left.
const overdueAfter = unreadLimit / 5

// surveyClock says when the next survey is due: after the reconcile interval, or when a
// row that waits in the table is due, or a hold can end. If the log waits for the
// survey, it is due as soon as it is affordable. It is arithmetic, without a clock of
// its own.
//
// Surveys take no more than a fifth of the time.
type surveyClock struct {
	reconcile time.Duration // the longest pause between two surveys
	interval  time.Duration // the shortest
	wake      time.Time     // when the next survey is wanted
	began     time.Time     // when the last one began
	took      time.Duration // how long it took
	// overdue says that the log waits until the next survey is complete.
	overdue bool
}

// begins notes that a survey begins. It will see everything for which a survey was
// wanted.
func (c *surveyClock) begins(now time.Time) {
	c.began, c.wake, c.overdue = now, now.Add(c.reconcile), false
}

// ended notes how long it took.
func (c *surveyClock) ended(took time.Duration) { c.took = took }

// wakeAt wants a survey at that time, or before.
func (c *surveyClock) wakeAt(at time.Time) {
	if at.Before(c.wake) {
		c.wake = at
	}
}

// demand makes the log wait for the next survey. A survey that is out does not count,
// because it may have begun too early.
func (c *surveyClock) demand() { c.overdue = true }

// due returns when the next survey is wanted and affordable.
func (c *surveyClock) due(now time.Time) time.Time {
	wanted, pause := c.wake, c.interval
	if c.overdue {
		wanted, pause = now, min(pause, overdueAfter)
	}
	if affordable := c.began.Add(max(pause, restFactor*c.took)); affordable.After(wanted) {
		return affordable
	}
	return wanted
}

// valid checks that a survey comes at the reconcile interval at the latest.
func (c *surveyClock) valid() bool { return !c.wake.After(c.began.Add(c.reconcile)) }
