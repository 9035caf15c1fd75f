package engine

import "github.com/outbox-relay/outbox-relay/relay"

// admission is what became of a row that a pass or a survey brought.
type admission uint8

const (
	rowTaken       admission = iota + 1 // the dispatcher has it
	rowTakenBefore                      // it was taken before
	rowHeld                             // its key is held, or parked
	rowWaiting                          // it waits for its retry, or for its time
	rowNewer                            // the pass may have missed an earlier row of its key
	rowFull                             // its key's chain takes no more
	rowLeft                             // its topic is full
)

var admissionNames = [...]string{"", "taken", "taken before", "held", "waiting", "newer", "full", "left"}

// String returns the admission in lower case.
func (a admission) String() string { return admissionNames[a] }

// take hands one row to the dispatcher, unless it was taken before or has to wait for
// another row of its key. A row that waits, or is newer than the pass, or is left
// because its topic is full, holds its key. If the chain is full, the caller decides what becomes
// of the row: a pass comes back to it, and a survey does not.
//
// Schedule that reorders, which is why newer rows are left to the next pass: a
// transaction inserts rows 1 and 9 of a key while others insert 2 to 8 and 10, and
// commit. The pass begins, bounded by 10, and its first chunk ends with 5. The
// transaction commits. The second chunk brings 9, and the pass has missed 1.
func (in *intake) take(row relay.Row) admission {
	m := row.Message
	ordered := in.dispatcher.ordered(m)
	if in.taken.has(m.Ref) {
		return rowTakenBefore
	}
	if row.Wait == 0 {
		in.topics.meet(m.Topic) // also if the row waits for something else
	}
	switch {
	case ordered && (in.parks(m.KeyName()) || in.holds.blocks(m.KeyName())):
		return rowHeld
	case row.Left, row.Wait == 0 && !in.topics.hasRoom(m.Topic):
		if ordered {
			in.holds.leave(m.KeyName())
		}
		return rowLeft
	case ordered && row.Newer:
		in.holds.hold(m.KeyName())
		return rowNewer
	case row.Wait > 0:
		if ordered {
			in.holds.hold(m.KeyName())
		}
		return rowWaiting
	}
	it := &item{Message: m}
	if !in.dispatcher.add(it) {
		return rowFull
	}
	in.topics.take(it)
	in.taken.add(it)
	return rowTaken
}

// parks says whether the running pass has parked the key.
func (in *intake) parks(key string) bool { return in.pass != nil && in.pass.parked.has(key) }
