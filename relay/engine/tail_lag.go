package engine

import (
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// lagWatch finds a tail that falls behind. A server decodes the whole log of a
// database, one transaction after the other: a bulk load into any of its tables,
// or more commits than one process decodes, keep a tail at work for minutes, and
// new rows wait behind that. Passes see them at once.
//
// A tail that catches up by itself is let alone: it has begun behind, or has not
// been read for a moment.
type lagWatch struct {
	requested time.Time // when the last inspection was asked for
	end       wal.LSN   // of the log, at the last inspection
	gap       wal.LSN   // between that and what the tail had read
	at        time.Time // of that; zero before the first
	behind    int       // inspections in a row that found the tail behind
	from      wal.LSN   // the gap at the first of them
}

// behindLimit is at how many inspections in a row a tail may not have read what
// was written at the one before. A transaction that takes a few seconds to
// decode is not worth a change.
const behindLimit = 3

const (
	// inspectEvery is how often slot and publication are looked at. With the
	// heartbeat it makes less than two statements a second.
	inspectEvery = 3 * time.Second
	// catchUp: a gap that shrinks by this part from one inspection to the next is
	// gone soon.
	catchUp = 4
	// inspectBehind is how often a tail that may be falling behind is looked at. It
	// is longer than the second by which Read may be late.
	inspectBehind = inspectEvery / 2
	// behindAfter is how long the tail has, at the least, to read what was written.
	behindAfter = inspectBehind * 3 / 4
)

// due is when slot and publication have to be inspected again.
func (w *lagWatch) due() time.Time { return w.requested.Add(w.pause()) }

// request notes that an inspection is asked for.
func (w *lagWatch) request(now time.Time) { w.requested = now }

// inspectNow has the next inspection made at once.
func (w *lagWatch) inspectNow() { w.requested = time.Time{} }

// pause until the next inspection.
func (w *lagWatch) pause() time.Duration {
	if w.behind > 0 {
		return inspectBehind
	}
	return inspectEvery
}

// fallsBehind says whether the tail does.
func (w *lagWatch) fallsBehind() bool {
	return w.behind >= behindLimit
}

// inspected takes in the answer to an inspection.
func (w *lagWatch) inspected(lag relay.TailLag, now time.Time) {
	gap := lag.End - min(lag.Read, lag.End)
	switch {
	case w.at.IsZero(), lag.Read >= w.end:
		w.behind = 0
	case now.Sub(w.at) < behindAfter:
		return // an inspection out of turn
	case gap < w.gap-w.gap/catchUp && (w.behind == 0 || gap < w.from):
		w.behind = 0
	default:
		if w.behind == 0 {
			w.from = gap
		}
		w.behind++
	}
	w.end, w.gap, w.at = lag.End, gap, now
}
