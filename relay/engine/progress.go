package engine

import "time"

// part is one of the three things that a leader does again and again.
type part uint8

const (
	partWriting    part = iota // outcomes, to the table
	partReading                // rows, from the table
	partPublishing             // messages, to the broker
	parts
)

var partNames = [parts]string{"writing", "reading", "publishing"}

// String returns the part in lower case.
func (p part) String() string { return partNames[p] }

// isOwn says whether a stall of the part is on the relay's side: its sessions, its
// privileges, locks, marks. Others are the broker's.
func (p part) isOwn() bool { return p != partPublishing }

// progress judges by results and not by causes: a part stalls if it has work and gets
// none of it done. progress outlives terms, because a relay that fails in each of its
// terms stalls too.
//
// It is arithmetic: look is given whether a part has work, and how much it has done.
type progress [parts]watch

// watch is what is known of one part.
type watch struct {
	done   uint64
	awaits bool
	seen   time.Time // when the part last had something to do
	since  time.Time // when the part last did something, or began to have something to do
}

// watchForgets: a part that had nothing to do for this long starts afresh. A shorter
// gap may be the time between two terms.
const watchForgets = 30 * time.Second

// look notes whether a part has something to do and how much it has done.
func (p *progress) look(now time.Time, of part, awaits bool, done uint64) {
	w := &p[of]
	if done != w.done || awaits && now.Sub(w.seen) > watchForgets {
		w.done, w.since = done, now
	}
	if awaits {
		w.seen = now
	}
	w.awaits = awaits
}

// stalledFor returns for how long a part with something to do has done nothing.
func (w *watch) stalledFor(now time.Time) time.Duration {
	if !w.awaits {
		return 0
	}
	return now.Sub(w.since)
}

// stall returns a part that has stalled for longer than the limit. It looks at the
// relay's own parts first, because nothing is published if nothing can be marked.
func (p *progress) stall(now time.Time, limit time.Duration) (of part, since time.Time) {
	for of := range parts {
		if w := &p[of]; w.stalledFor(now) > limit {
			return of, w.since
		}
	}
	return 0, time.Time{}
}
