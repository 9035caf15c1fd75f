package rabbitmq

import "github.com/outbox-relay/outbox-relay/relay"

// item is a message and where its outcome goes. Whoever holds the item reports it. It
// has one holder at any time: Publish, then a lane's queue, then the lane, then the
// follower of the channel to which it was written.
type item struct {
	message *relay.Message
	report  relay.Report
	sent    bool // it was written before, so a queue may have it
}

// reportNotTaken reports that the message was not written now, and why.
func (it item) reportNotTaken(t relay.ErrorType, err error) {
	if it.sent {
		it.done(relay.UnknownOutcome(t, err))
		return
	}
	it.done(relay.UnavailableOutcome(t, err))
}

func (it item) done(o relay.Outcome) { it.report(it.message, o) }
