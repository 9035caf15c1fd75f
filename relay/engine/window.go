package engine

// limits bound what the dispatcher holds.
type limits struct {
	window      int   // published messages whose outcome is not committed
	windowBytes int64 // bytes of published messages whose outcome is not reported
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

// hasRoom says whether the window has room for the message, by count and by bytes. A
// message that is larger than the whole window goes when the sink has no other. An
// acknowledged message counts no bytes, because it may wait long for its mark if
// somebody has locked the row.
func (d *dispatcher) hasRoom(m *item) bool {
	return d.uncommitted < d.window &&
		(d.unreported.rows == 0 || d.unreported.bytes+m.Size <= d.windowBytes)
}

// committed takes a message out of the window, because its outcome is in the table, or
// the message has returned to the table.
func (d *dispatcher) committed() { d.uncommitted-- }

// memory returns how much the dispatcher holds: messages that wait, and published
// messages whose outcomes are not committed.
func (d *dispatcher) memory() tally {
	return tally{d.queued.rows + d.uncommitted, d.queued.bytes + d.unreported.bytes}
}
