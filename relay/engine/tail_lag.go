package engine

import (
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// lagWatch finds a tail that falls behind. The server decodes the whole log of a
// database, one transaction after the other. A bulk load into any table, or more
// commits than one process can decode, keeps it busy for minutes, and new rows wait
// behind that. A pass would see them at once.
//
// A tail that catches up stays. It was behind when it began, or was not read for a
// moment.
type lagWatch struct {
	requested time.Time // when the last inspection was asked for
	end       wal.LSN   // of the log, at the last inspection
	gap       wal.LSN   // between end and what the tail had read
	at        time.Time // when the last inspection was; zero before the first
	behind    int       // inspections in a row that found the tail behind
	from      wal.LSN   // the gap at the first of them
	retained  int64     // bytes of the log that the server keeps, at the last inspection
}

// behindLimit is how many inspections in a row have to find the tail behind before it
// is left. Behind means: it has not read what was written before the previous
// inspection. A transaction that takes a few seconds to decode is no reason to leave.
const behindLimit = 3

const (
	// inspectEvery is how often slot and publication are inspected. Together with the
	// heartbeat that is less than two statements a second.
	inspectEvery = 3 * time.Second
	// catchUp: a gap that shrinks by a quarter from one inspection to the next will
	// soon be gone.
	catchUp = 4
	// inspectBehind is how often a tail that may be falling behind is inspected. It is
	// longer than a second, because TailLag.Read may be a second old.
	inspectBehind = inspectEvery / 2
	// behindAfter is the shortest time that a tail gets to read what was written.
	behindAfter = inspectBehind * 3 / 4
)

// due is when slot and publication have to be inspected again.
func (w *lagWatch) due() time.Time { return w.requested.Add(w.pause()) }

// request notes that an inspection is asked for.
func (w *lagWatch) request(now time.Time) { w.requested = now }

// inspectNow makes the next inspection due at once.
func (w *lagWatch) inspectNow() { w.requested = time.Time{} }

// pause returns the time from one inspection to the next.
func (w *lagWatch) pause() time.Duration {
	if w.behind > 0 {
		return inspectBehind
	}
	return inspectEvery
}

// fallsBehind says whether the tail has been found behind often enough to be left.
func (w *lagWatch) fallsBehind() bool {
	return w.behind >= behindLimit
}

// inspected handles the answer to an inspection.
func (w *lagWatch) inspected(lag relay.TailLag, now time.Time) {
	gap := lag.End - min(lag.Read, lag.End)
	w.retained = lag.Retained
	switch {
	case w.at.IsZero(), lag.Read >= w.end:
		w.behind = 0
	case now.Sub(w.at) < behindAfter:
		return // too soon after the last inspection to judge
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
