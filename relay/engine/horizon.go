package engine

import (
	"slices"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// verdict says what is to be done with an event of the log.
type verdict uint8

const (
	eventSkip  verdict = iota + 1 // nothing: a survey has seen the row, or it is sent, or was taken
	eventWait                     // it waits until its transaction is visible, and the events after it wait too
	eventLeave                    // the row is left to the table, for a later survey
	eventTake                     // the row may go to the dispatcher
)

var verdictNames = [...]string{"", "skip", "wait", "leave to the table", "take"}

// String returns the verdict in lower case.
func (v verdict) String() string { return verdictNames[v] }

// horizon joins the log to the table: it knows what the newest survey saw, and
// judges each event of the log by it. It is arithmetic, without I/O, clock and
// goroutine.
//
// Joining. The slot is created while passes go on. When it is there, and everything
// that committed before it is visible, a survey reads all due rows as one snapshot sees
// them. Then the log is read. If the snapshot sees a transaction, the survey has read
// its rows, and they are skipped when they come by the log. All other transactions are
// in the log. So nothing is missed, and nothing is taken twice. While the log is read,
// further surveys move the horizon on. From then on the log is judged by the newer
// snapshot, row by row: a survey may come in the middle of a transaction.
//
// Schedule that reorders, which is why only a complete survey moves the horizon:
// rows 1 and 2 of a key are committed. The survey ends early, with 2 unread. Its
// snapshot sees both, the log's 2 is skipped, and 3 goes before 2.
//
// Schedule that reorders, which is why its snapshot has to see all rows that were left
// to the table: row 1 comes by the log a moment before its transaction is visible to
// others. Its key is held, so the row is left to the next survey. That survey does not
// see row 1 yet, and ends the hold. 2 goes before 1.
type horizon struct {
	seen wal.Snapshot // of the newest complete survey
	// left are the transactions of rows that came by the log since then and were left
	// to the table.
	left []wal.XID
	gate gate
	// unconfirmed are rows that surveys have brought and that have not come by the log.
	unconfirmed *unconfirmed
	// restores says that the next survey brings rows that were returned or left to the
	// table. They may have come by the log before, and do not come again.
	restores bool
	// restored is what restores was when the survey that is out began. Rows that were
	// left after that come with the survey after it.
	restored bool
	// reconciles says that what the newest survey brought should come by the log too.
	reconciles bool
}

func newHorizon(g VisibilityGate) horizon {
	return horizon{gate: gate{setting: g}, unconfirmed: newUnconfirmed()}
}

// judge says what is to be done with an event. The row may have been taken, and
// its key may be held.
func (h *horizon) judge(ev relay.TailEvent, taken, held bool) verdict {
	switch {
	case ev.Message == nil:
		return eventSkip
	case h.seen.Sees(ev.XID):
		return eventSkip
	case !ev.Pending, taken:
		return eventSkip
	case !ev.Due:
		return eventLeave
	case !h.gate.passes(ev.XID):
		return eventWait
	case held:
		return eventLeave
	}
	return eventTake
}

// passed notes how far the log has been read, and returns how many rows the log has
// missed up to there.
func (h *horizon) passed(position wal.LSN) int { return h.unconfirmed.passed(position) }

// confirmed notes that a row that a survey brought has come by the log too.
func (h *horizon) confirmed(r relay.Ref) { h.unconfirmed.confirmed(r) }

// keep keeps back an event that has to wait.
func (h *horizon) keep(ev relay.TailEvent, now time.Time) { h.gate.keep(ev, now) }

// leave notes that a row of the transaction is left to the table.
func (h *horizon) leave(x wal.XID) {
	if n := len(h.left); n > 0 && h.left[n-1] == x {
		return // mostly the row before it was of the same transaction
	}
	h.left = append(h.left, x)
}

// leaveAll notes that all rows in memory have been returned to the table. They will
// not come by the log again.
func (h *horizon) leaveAll() {
	h.restores = true
	if ev, ok := h.gate.giveOut(); ok {
		h.leave(ev.XID)
	}
	h.unconfirmed.clear()
}

// covers says whether the snapshot sees all rows that were left to the table.
func (h *horizon) covers(s wal.Snapshot) bool {
	return !slices.ContainsFunc(h.left, func(x wal.XID) bool { return !s.Sees(x) })
}

// surveyBegins notes that a survey is asked for.
func (h *horizon) surveyBegins() { h.restored = h.restores }

// moveTo moves the horizon to a survey. The survey is complete and covers the rows that
// were left to the table.
func (h *horizon) moveTo(s relay.Survey) {
	h.reconciles = !h.seen.IsZero() && !h.restores
	h.restores, h.left = h.restores && !h.restored, nil
	h.seen, h.gate.visible, h.gate.synchronous = s.Snapshot, s.Snapshot, s.Synchronous
}

// brought notes that the survey, made at the position, has brought a row. The row
// should come by the log too.
func (h *horizon) brought(r relay.Ref, position wal.LSN) {
	if h.reconciles {
		h.unconfirmed.brought(r, position)
	}
}

// valid checks what is true once an event that the gate gave out has been judged.
func (h *horizon) valid() bool {
	if ev := h.gate.waiting; ev != nil && h.gate.passes(ev.XID) {
		return false
	}
	if h.gate.visible.Xmin() < h.seen.Xmin() { // a look at what is visible is newer than the survey
		return false
	}
	return h.unconfirmed.valid() && (len(h.unconfirmed.rows) == 0 || !h.seen.IsZero())
}
