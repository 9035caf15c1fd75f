package engine

import "time"

// opening is the window of a term that has not written an outcome yet: one row. So
// a relay that is started again and again beside a table that takes no marks
// publishes one row a start, and not a window.
type opening struct {
	full   int
	rows   int
	proven bool // an outcome was committed
}

// prove notes that an outcome was committed.
func (o *opening) prove() { o.proven = true }

// widen notes that a row has left the window because somebody has it locked, which
// tells nothing of the others. Without it each locked row in front would have to be
// tried by itself.
func (o *opening) widen() { o.rows = min(2*o.rows, o.full) }

// size is how many rows may be published without a committed outcome.
func (o *opening) size() int {
	if o.proven {
		return o.full
	}
	return o.rows
}

// room is how many rows may be published without a committed outcome now. While the
// table's breaker is open, it is one more than there are whenever another row is to
// be tried: the bad rows of a full window must not stop the good ones behind them.
func (t *term) room(now time.Time) int {
	w := t.marker.told.Load()
	if !w.table.isOpen() {
		return t.window.size()
	}
	underWay := w.received != t.handed || len(t.outcomes) > 0 || t.dispatcher.unreported.rows > 0
	if underWay || now.Before(w.table.probeAt()) || t.dispatcher.uncommitted > maxOutside {
		return 0
	}
	return t.dispatcher.uncommitted + 1
}

// untilProbe is how long it is until another row is to be tried.
func (t *term) untilProbe(now time.Time) time.Duration {
	w := t.marker.told.Load()
	if !w.table.isOpen() || t.dispatcher.queued.rows == 0 || !now.Before(w.table.probeAt()) {
		return turn
	}
	return w.table.probeAt().Sub(now)
}
