package natsjs

import (
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// item is a message and where its outcome goes.
type item struct {
	message *relay.Message
	report  relay.Report
	// tries counts the publishes that no stream took and that were repeated because a
	// stream was created for them.
	tries int
	// until is the end of the time in which a message is repeated that a stream did not
	// take for now. Zero: it was not repeated.
	until time.Time
	// on is the connection's pending messages that have this one in flight, or had it
	// before it is published again. first is the number of its first publish there, and
	// earlier that of the publish before this one (0: none).
	on             *pending
	first, earlier uint64
	// due is the deadline of an earlier publish, for a message that is repeated because
	// its acknowledgement may have been lost. Zero: each publish has a deadline of its
	// own.
	due time.Time
	// proposed says that a stream may have the message from an earlier publish.
	proposed bool
	// lane is the message's lane, or nil. alone says that the message is published
	// outside of the lane's batch; then the other messages of the lane wait for its
	// outcome.
	lane  *lane
	alone bool
	// command, if it is not commandNone, is for the lane; then there is no message.
	command command
}

// command tells the goroutine that writes what to do with a lane. It comes in the queue
// of messages.
type command uint8

const (
	commandNone   command = iota
	commandFinish         // no message follows
	commandPing           // ask the stream what it has
)

var commandNames = [...]string{"none", "finish", "ping"}

// String returns the command in lower case.
func (c command) String() string { return commandNames[c] }

func (it item) done(o relay.Outcome) {
	if it.lane != nil {
		it.lane.session.lanes.settled(it.lane, o)
		return
	}
	it.report(it.message, o)
}

// unsent reports a message that was not written, or that no stream took, because
// there is no connection.
func (it item) unsent(why error) { it.done(it.lost(why)) }

// lost is the outcome of a message that no stream took because there is no connection.
func (it item) lost(why error) relay.Outcome {
	if it.proposed {
		return relay.UnknownOutcome(relay.ErrorTypeDisconnected, why)
	}
	return unavailable(why)
}

// entry is a message in flight.
type entry struct {
	item
	slot     uint32
	number   uint64 // counts the publishes on this connection, from 1; 0: no message
	size     int64  // on the wire, headers and payload
	deadline time.Time
	phase    phase
	doubt    error // in phases repeated and undecided: why nothing is decided yet
	stranger bool  // something that is no stream has answered
	limited  bool  // its topic was late, so it counts against the topic's share
}

// phase is what is known of a message in flight.
type phase uint8

const (
	unanswered phase = iota // no reply yet
	unclaimed               // no responders: no stream took it; its stream is looked up
	repeated                // a stream did not take it for now; it is published again soon
	undecided               // no stream took it, and neither the look-up nor repetitions said why
)

var phaseNames = [...]string{"unanswered", "unclaimed", "repeated", "undecided"}

// String returns the phase in lower case.
func (p phase) String() string { return phaseNames[p] }

// repeat has the message published again, unless the time for that is over.
func (e *entry) repeat(now, until time.Time) bool {
	if e.limited {
		return false // the topic's next message shows whether the stream is back
	}
	if e.until.IsZero() {
		e.until = until
	}
	if !now.Before(e.until) {
		return false
	}
	e.phase = repeated
	return true
}
