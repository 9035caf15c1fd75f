package engine

// limits bound what the dispatcher holds.
type limits struct {
	window      int   // messages published whose outcome is not committed
	windowBytes int64 // of messages published whose outcome is not reported
	chain       int   // messages of one key held in memory
	keyWindow   int   // messages of one key with the sink, in a lane that is not strict
}

// tally counts messages and their bytes.
type tally struct {
	rows  int
	bytes int64
}

func (t *tally) add(m *item) { t.rows++; t.bytes += m.Size }
func (t *tally) sub(m *item) { t.rows--; t.bytes -= m.Size }

// hasRoom says whether the window, which is bounded by count and by bytes, takes the
// message. One that is larger than the whole window goes when nothing else is with the
// sink. An acknowledged message takes no bytes: it may wait long for its mark, where
// somebody has the row locked.
func (d *dispatcher) hasRoom(m *item) bool {
	return d.uncommitted < d.window &&
		(d.unreported.rows == 0 || d.unreported.bytes+m.Size <= d.windowBytes)
}

// committed takes a message out of the window: its outcome is in the table, or
// it has returned to the table.
func (d *dispatcher) committed() { d.uncommitted-- }

// memory is how much the dispatcher holds: what waits, and what was published but is
// not committed.
func (d *dispatcher) memory() tally {
	return tally{d.queued.rows + d.uncommitted, d.queued.bytes + d.unreported.bytes}
}
