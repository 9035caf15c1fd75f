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
	// until ends the repetitions of a message that a stream did not take for now.
	// Zero: it was not repeated.
	until time.Time
	// on has the message in flight, or had it before it is published again. There its
	// first publish had the number first, and the one before this one the number earlier
	// (0: none).
	on             *pending
	first, earlier uint64
	// due is the deadline of an earlier publish, for a message that is repeated because
	// its acknowledgement may have been lost. Zero: each publish has its own.
	due time.Time
	// proposed says that a stream may have the message from an earlier publish.
	proposed bool
	// lane is that of the message, or nil. alone says that it is published outside of the
	// lane's batch: the others of the lane wait for its outcome.
	lane  *lane
	alone bool
	// command is not for a message, but for the lane.
	command command
}

// command is what the goroutine that writes is told about a lane, between messages.
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
	number   uint64 // of the publish on this connection, from 1; 0: no message
	size     int64  // on the wire, headers and payload
	deadline time.Time
	phase    phase
	doubt    error // why nothing is decided yet, in phases repeated and undecided
	stranger bool  // something that is no stream has answered
	limited  bool  // its topic is late, and it counts against the topic's share
}

// phase is what is known of a message in flight.
type phase uint8

const (
	unanswered phase = iota // no reply yet
	unclaimed               // no responders: no stream took it; one is looked up
	repeated                // is published again soon: a stream did not take it for now
	undecided               // unclaimed, and neither look-up nor repetitions say why
)

var phaseNames = [...]string{"unanswered", "unclaimed", "repeated", "undecided"}

// String returns the phase in lower case.
func (p phase) String() string { return phaseNames[p] }

// repeat has the message published again, unless the time for that is over.
func (e *entry) repeat(now, until time.Time) bool {
	if e.limited {
		return false // the next message of the topic tells
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
