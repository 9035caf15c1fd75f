package rabbitmq

import (
	"errors"

	"github.com/outbox-relay/outbox-relay/relay"
)

var errLostWriting = errors.New("the connection was lost while the message was written")

// item is a message and where its outcome goes. The holder of the item reports it. It
// has one holder at any time: Publish, then a writer's queue, then the writer, then the
// follower of the channel to which it was written.
type item struct {
	message *relay.Message
	report  relay.Report
	run     uint64 // the run that it belongs to; 0: none
	sent    bool   // it was written before, so a queue may have it
}

// reportNotTaken reports that the message was not written now, and why.
func (it item) reportNotTaken(t relay.ErrorType, err error) {
	if it.sent {
		it.done(relay.UnknownOutcome(t, err))
		return
	}
	it.done(relay.UnavailableOutcome(t, err))
}

// withdraw gives back a message of a run that has ended. If the message was written
// before, it may have ended the connection. Then it is unknown instead, so that the
// relay can find it.
func (it item) withdraw() {
	if !it.sent {
		it.done(relay.Outcome{Class: relay.Withdrawn})
		return
	}
	it.reportNotTaken(relay.ErrorTypeDisconnected, errLostWriting)
}

func (it item) done(o relay.Outcome) { it.report(it.message, o) }
