package admin

import "time"

// rateWindow is the time over which the rate is taken: long enough not to jump
// with every batch, short enough to show a stall.
const rateWindow = 30 * time.Second

// meter computes a rate from readings of a counter. It is not safe for concurrent use.
type meter struct {
	// readings are in the order of time. The first is the newest that is as old as
	// the window, or the oldest there is.
	readings []reading
}

type reading struct {
	at    time.Time
	count uint64
}

// add takes a reading. One that follows within a second replaces the last one, so
// there are never many.
func (m *meter) add(now time.Time, count uint64) {
	r := reading{now, count}
	if n := len(m.readings); n > 1 && m.readings[n-1].at.Sub(m.readings[n-2].at) < time.Second {
		m.readings[n-1] = r
	} else {
		m.readings = append(m.readings, r)
	}
	for len(m.readings) > 2 && now.Sub(m.readings[1].at) >= rateWindow {
		m.readings = m.readings[1:]
	}
}

// rate returns the count per second, and over how many seconds it was taken.
func (m *meter) rate() (perSecond, seconds float64) {
	if len(m.readings) < 2 {
		return 0, 0
	}
	first, last := m.readings[0], m.readings[len(m.readings)-1]
	seconds = last.at.Sub(first.at).Seconds()
	if seconds <= 0 || last.count < first.count {
		return 0, max(seconds, 0)
	}
	return float64(last.count-first.count) / seconds, seconds
}
