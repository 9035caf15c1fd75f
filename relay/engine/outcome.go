package engine

import "github.com/outbox-relay/outbox-relay/relay"

// outcome is what has to be written for a published row: a mark if it was acknowledged,
// or a refusal.
type outcome struct {
	mark    relay.Mark     // for a refused row only its Ref is set
	refusal *relay.Refusal // nil for an acknowledged row
}

func (o outcome) ref() relay.Ref { return o.mark.Ref }

// byKind splits a batch into what is marked and what is refused.
func byKind(batch []outcome) (marks, refusals []outcome) {
	for i, o := range batch {
		if (o.refusal == nil) == (batch[0].refusal == nil) {
			continue
		}
		marks, refusals = append(marks, batch[:i]...), nil
		for _, o := range batch[i:] {
			if (o.refusal == nil) == (batch[0].refusal == nil) {
				marks = append(marks, o)
			} else {
				refusals = append(refusals, o)
			}
		}
		break
	}
	if refusals == nil {
		marks = batch // nearly always all are of one kind
	}
	if len(marks) > 0 && marks[0].refusal != nil {
		marks, refusals = refusals, marks
	}
	return marks, refusals
}

// place is where a row waits for its outcome to be committed.
type place uint8

const (
	inWindow    place = iota // it counts against the window
	behindALock              // somebody has it locked
	setAside                 // the server refuses its outcome
)

var placeNames = [...]string{"in the window", "behind a lock", "set aside"}

// String returns the place in lower case.
func (p place) String() string { return placeNames[p] }

// settlement says that the outcome of a row is committed, or why it is not yet.
type settlement struct {
	relay.Ref
	place    place      // where the row goes on waiting; inWindow: it is committed
	err      error      // for setAside
	fate     relay.Fate // 0 for a row that was marked
	attempts int
}

// outside counts the rows that have left the window without a committed outcome, so
// that rows that cannot be written stop no others. It is bounded, because the next term
// publishes each of them again. Further ones stay in the window, and stop the
// publishing when they fill it.
type outside struct {
	limit tally
	sum   tally
	rows  [setAside + 1]int // by place
}

// Bounds of outside. Payloads and headers are gone by then; a key may be large.
const (
	maxOutside   = 100_000
	outsideBytes = 512 // of a row, beside its key and topic
)

func newOutside(bytes int64) *outside { return &outside{limit: tally{maxOutside, bytes}} }

func weight(m *item) int64 { return outsideBytes + int64(len(m.Key)+len(m.Topic)) }

// move notes where a row waits, and says whether that takes it out of the window.
func (o *outside) move(m *item, to place) (left bool) {
	if m.place == inWindow {
		if o.sum.rows >= o.limit.rows || o.sum.bytes+weight(m) > o.limit.bytes {
			return false
		}
		o.sum.rows++
		o.sum.bytes += weight(m)
		left = true
	} else {
		o.rows[m.place]--
	}
	o.rows[to]++
	m.place = to
	return left
}

// remove forgets a row whose outcome is committed, and says whether it was outside.
func (o *outside) remove(m *item) bool {
	if m.place == inWindow {
		return false
	}
	o.sum.rows--
	o.sum.bytes -= weight(m)
	o.rows[m.place]--
	return true
}
