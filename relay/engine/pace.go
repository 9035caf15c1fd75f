package engine

import "time"

// pacer decides when the next pass begins: one poll interval after the last one began,
// or later if passes cost more than they bring.
//
// A pass that reads a million rows, all of which wait for their retries, takes a second
// of the database's time and finds nothing. The next pass then waits for four times the
// wasted time, so passes never take more than a fifth of one of the database's cores.
// Time counts as wasted if the rows that came into memory do not account for it, and if
// the pass was complete. A pass that was cut short in a backlog is followed by the next
// one at once.
type pacer struct {
	interval time.Duration
	began    time.Time
	reading  time.Duration // time spent in the statements of this pass
	taken    int           // rows this pass brought into memory
	next     time.Time
}

// worthPerRow is the reading time that one row in memory accounts for. 20 µs is slow: a
// row of 370 bytes takes 1 to 2 µs.
const worthPerRow = 20 * time.Microsecond

// restFactor: the pause is so many times as long as the wasted time.
const restFactor = 4

func (p *pacer) passBegins(now time.Time) {
	p.began, p.reading, p.taken = now, 0, 0
}

func (p *pacer) read(took time.Duration, taken int) {
	p.reading += took
	p.taken += taken
}

func (p *pacer) passEnded(now time.Time, complete bool) {
	p.next = p.began.Add(p.interval)
	if rested := now.Add(p.rest()); complete && rested.After(p.next) {
		p.next = rested
	}
}

// rest is the pause that the reading so far calls for.
func (p *pacer) rest() time.Duration {
	wasted := max(0, p.reading-time.Duration(p.taken)*worthPerRow)
	if wasted <= p.interval/restFactor {
		return 0
	}
	return restFactor * wasted
}

// until is how long to wait for the next pass; 0 when it may begin.
func (p *pacer) until(now time.Time) time.Duration { return max(0, p.next.Sub(now)) }
