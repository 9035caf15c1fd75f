package natsjs

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// lane is a sequence of messages in one batch of one stream (ADR-50, fast-ingest). The
// stream stores them in the order in which they were written, and stores nothing after
// a message that it did not store. An acknowledgement has a sequence in the batch, and
// is for all messages up to that sequence.
//
// A batch ends with its last message, or with the first message that the stream does
// not take. That message is then published alone, outside of any batch. Its outcome
// says why, and the later messages come back withdrawn. So each batch that ends early
// settles at least one message.
//
// The outcomes are reported in the order of the messages, while the lock of the session's
// lanes is held. A lane has no I/O and no clock. Its fields are guarded by that lock,
// except newest.
type lane struct {
	number  uint64 // of the lane, and of its batch
	route   *route
	session *session

	newest newest // only the goroutine that writes uses it
	// handed counts the messages that were handed over for the lane.
	handed atomic.Uint64

	state laneState
	// entries are the messages that are not reported yet, oldest first: those that were
	// written, with the batch's sequences above base, then those that were not written.
	entries    []laneEntry
	array      []laneEntry // empty: the array of which entries are a part, for push
	base, sent uint64      // sequences in the batch: all up to base is reported, all up to sent is written
	refused    uint64      // the sequence of the first message that the stream did not take; 0: none
	flow       flow
	named      bool // join has returned the lane since the last flush, so a message may follow

	stranger bool      // something that is no stream has answered
	moved    time.Time // when the last answer about the batch came, or its last message was written
	pinged   time.Time
}

// laneState is how far a lane has got.
type laneState uint8

const (
	laneOpen   laneState = iota // messages are written
	laneClosed                  // the last message was written; the stream's answer is awaited
	laneBroken                  // the stream did not take a message; its answer about those before it is awaited
	laneAlone                   // the first message is published outside of a batch
	laneEnded                   // all is settled; messages that still come are withdrawn
)

var laneStateNames = [...]string{"open", "closed", "broken", "alone", "ended"}

// String returns the state in lower case.
func (s laneState) String() string {
	if int(s) >= len(laneStateNames) {
		return fmt.Sprintf("state(%d)", uint8(s))
	}
	return laneStateNames[s]
}

// sized is a message with its size on the wire.
type sized struct {
	item
	size int64
}

// laneEntry is a message of a lane that is not reported yet.
type laneEntry struct {
	sized
	number uint64 // counts the publishes on the connection; 0: it was not written
	began  time.Time
	// own is the outcome of a message that was not written because of what it holds. It
	// is reported if all messages before it were acknowledged; otherwise the message is
	// withdrawn. Nil: withdrawn in any case.
	own *relay.Outcome
}

var withdrawn = relay.Outcome{Class: relay.Withdrawn}

// newest is the message that came last, if there is one. It is not written yet, because
// it may have to end the batch.
type newest struct {
	message sized
	some    bool
}

// follow makes a message the newest, and returns the one before it.
func (n *newest) follow(it sized) (before sized, some bool) {
	before, some = n.message, n.some
	n.message, n.some = it, true
	return before, some
}

// take takes the message out.
func (n *newest) take() (it sized, some bool) {
	it, some = n.message, n.some
	*n = newest{}
	return it, some
}

// flow is what the stream acknowledges of a batch without being asked.
type flow struct {
	upTo  uint64 // it has acknowledged everything up to this sequence
	every uint64 // it does so again after so many more messages
}

// note notes an acknowledgement.
func (f *flow) note(sequence, every uint64) { f.upTo, f.every = max(f.upTo, sequence), max(1, every) }

// comes returns whether another acknowledgement comes by itself, if the batch gets so
// many messages.
func (f *flow) comes(handed uint64) bool { return handed > f.upTo+f.every }

// add adds the message that is written next, and returns its sequence in the batch.
func (l *lane) add(e laneEntry, last bool) uint64 {
	l.push(e)
	l.sent++
	l.moved = e.began
	if last {
		l.state = laneClosed
	}
	return l.sent
}

// push appends an entry. If that fills the array, and the acknowledged entries have left
// half of it or more, the others move to its beginning. A slice that is cut in front
// otherwise gets a new array again and again.
func (l *lane) push(e laneEntry) {
	full := len(l.entries) == cap(l.entries)
	if full && cap(l.array) > 2*len(l.entries) {
		moved := append(l.array, l.entries...)
		clear(l.entries)
		l.entries, full = moved, false
	}
	l.entries = append(l.entries, e)
	if full {
		l.array = l.entries[:0]
	}
}

// covered returns whether another acknowledgement will come without the end of the
// batch. Then the batch may wait for further messages.
func (l *lane) covered() bool {
	return l.state == laneOpen && l.flow.comes(l.handed.Load())
}

// waits returns whether a message waits for the stream's answer.
func (l *lane) waits() bool { return l.state < laneAlone && l.base < l.sent }

// addUnwritten adds a message that is not written. It is reported when those before it
// are.
func (l *lane) addUnwritten(it item, own *relay.Outcome) {
	l.push(laneEntry{sized: sized{item: it}, own: own})
	l.proceed()
}

// isolate makes the message the lane's only one. The caller publishes it outside of a
// batch.
func (l *lane) isolate(it item) {
	l.push(laneEntry{sized: sized{item: it}})
	l.state = laneAlone
}

// acknowledge takes out the messages that the stream has stored, up to a sequence. The
// caller reports them, and then calls proceed.
func (l *lane) acknowledge(upTo uint64) []laneEntry {
	if l.refused > 0 {
		upTo = min(upTo, l.refused-1)
	}
	if upTo = min(upTo, l.sent); upTo <= l.base || l.state >= laneAlone {
		return nil
	}
	taken := l.entries[:upTo-l.base]
	l.entries, l.base = l.entries[upTo-l.base:], upTo
	return taken
}

// refuse notes that the stream did not take the message with that sequence. It returns
// whether the stream may have to be asked about the messages before it.
func (l *lane) refuse(sequence uint64) (ask bool) {
	if l.state >= laneAlone || sequence <= l.base || sequence > l.sent || l.refused > 0 && l.refused <= sequence {
		return false
	}
	l.refused, l.state = sequence, laneBroken
	return sequence > l.base+1 && sequence == l.sent // a later message would make the stream end the batch, and then it answers unasked
}

// proceed moves the lane to its next state, if what is known allows that. It returns
// whether the caller has to publish the first message alone.
func (l *lane) proceed() (alone bool) {
	switch {
	case l.state == laneAlone:
	case l.state == laneEnded:
		l.end(false)
	case l.base == l.sent && l.state != laneOpen:
		l.end(true)
	case l.refused == l.base+1:
		l.state = laneAlone
		return true
	}
	return false
}

// conclude notes that the stream has ended the batch and stores nothing more of it. It
// returns whether the caller has to publish the first message alone.
func (l *lane) conclude() (alone bool) {
	switch {
	case l.state >= laneAlone:
		return false
	case l.base == l.sent:
		l.end(true)
		return false
	}
	l.state = laneAlone
	return true
}

// settle reports the first message, which was published alone or is late, and then all
// others.
func (l *lane) settle(o relay.Outcome) {
	first := l.entries[0]
	clear(l.entries[:1])
	l.entries = l.entries[1:]
	first.report(first.message, o)
	l.end(o.Class == relay.Acknowledged && l.sent <= l.base+1)
}

// end reports all messages that are left as withdrawn. If everything before them was
// acknowledged, the first one may have an outcome of its own.
func (l *lane) end(acknowledged bool) {
	l.state = laneEnded
	for _, e := range l.entries {
		o := withdrawn
		if acknowledged && e.own != nil && e.number == 0 {
			o = *e.own
		}
		acknowledged = false
		e.report(e.message, o)
	}
	clear(l.entries)
	l.entries = nil
}
