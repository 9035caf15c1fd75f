package engine

import (
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// deferral knows which rows have waited for the broker for too long. Only the time
// counts in which the relay has seen that the broker takes nothing. The time in which
// the relay was down does not count. Neither does a pause, nor the time in which a row
// waited for its retry, for other rows of its key, or for its transaction to end.
//
// A row has no column for that. So the relay notes frames: which rows the table had,
// and what the counted time was then. If a row that a frame has seen is still there
// when the counted time has grown by the limit, the row has waited for all of that
// time. If the broker comes and goes, the time of earlier outages still counts.
//
// It outlives terms, and belongs to the goroutine in Run. It is arithmetic, without I/O.
type deferral struct {
	most   time.Duration // 0: no row waits for too long
	down   time.Duration // for how long the broker was seen to be down, in all
	seen   time.Time     // when it was last seen down; zero: it was not, when last looked at
	frames []deferFrame  // in the order in which they were noted
	// unknown are rows that the broker may have.
	unknown map[relay.Ref]struct{}
}

// deferFrame is the frame of a pass, and the counted time when it was noted.
type deferFrame struct {
	pass relay.Pass
	at   time.Duration
}

const (
	// deferFrames is how many frames are noted within the limit. So a row may wait for a
	// sixteenth longer.
	deferFrames = 16
	// deferGap is the longest time between two looks at the broker that counts. After a
	// longer time the relay was frozen, and has not seen the broker.
	deferGap = 10 * time.Second
	// mostUnknown bounds the memory. If the broker may have more rows, no row is given up.
	mostUnknown = 100_000
)

func newDeferral(most time.Duration) *deferral {
	return &deferral{most: most, unknown: make(map[relay.Ref]struct{})}
}

// look notes whether the broker is down now.
func (d *deferral) look(now time.Time, down bool) {
	if !down {
		d.seen = time.Time{}
		return
	}
	if gap := now.Sub(d.seen); !d.seen.IsZero() && gap > 0 && gap <= deferGap {
		d.down += gap
	}
	d.seen = now
}

// wantsFrame says whether it is time to note another frame.
func (d *deferral) wantsFrame() bool {
	if d.most == 0 || d.seen.IsZero() {
		return false
	}
	n := len(d.frames)
	return n == 0 || d.down-d.frames[n-1].at >= max(d.most/deferFrames, time.Millisecond)
}

// note keeps a frame. It is at least as old as the answer that brought it.
func (d *deferral) note(p relay.Pass) {
	d.frames = append(d.frames, deferFrame{pass: p, at: d.down})
}

// due returns the newest frame whose remaining rows have all waited for too long. It
// drops the older frames, which are not needed any more.
func (d *deferral) due() (relay.Pass, bool) {
	n := 0
	for n < len(d.frames) && d.down-d.frames[n].at >= d.most {
		n++
	}
	if n == 0 || len(d.unknown) >= mostUnknown {
		return relay.Pass{}, false
	}
	d.frames = d.frames[n-1:]
	return d.frames[0].pass, true
}

// done drops the frame that was due, because none of its rows is left.
func (d *deferral) done() { d.frames = d.frames[1:] }

// forget drops all frames: the server may be another one.
func (d *deferral) forget() { d.frames = nil }

// lost notes that the broker may have the row.
func (d *deferral) lost(r relay.Ref) {
	if d.most > 0 && len(d.unknown) < mostUnknown {
		d.unknown[r] = struct{}{}
	}
}

// settled notes that the outcome of the row is known.
func (d *deferral) settled(r relay.Ref) {
	if len(d.unknown) > 0 {
		delete(d.unknown, r)
	}
}

// isUnknown says whether the broker may have the row.
func (d *deferral) isUnknown(r relay.Ref) bool {
	_, unknown := d.unknown[r]
	return unknown
}

// valid checks that the frames are in order and that there are few.
func (d *deferral) valid() bool {
	for i := 1; i < len(d.frames); i++ {
		if d.frames[i].at < d.frames[i-1].at {
			return false
		}
	}
	return len(d.unknown) <= mostUnknown
}
