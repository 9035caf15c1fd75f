package natsjs

import (
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/relay"
)

// KnownErrors lists the outcomes that are no acknowledgement.
func KnownErrors() []relay.KnownError {
	const topic, stream = "orders.created", "ORDERS"
	api := func(code jetstream.ErrorCode, text string) relay.Outcome {
		return refusal(stream, topic, &jetstream.APIError{ErrorCode: code, Description: text})
	}
	row := item{message: &relay.Message{Topic: topic}}
	lost := row
	lost.proposed = true
	doubt := errors.New("the look-up of its stream was not answered")
	return []relay.KnownError{
		{Cause: "the row breaks the rules of the wire: subject, key, header or content type", Outcome: relay.RejectedOutcome(fmt.Errorf("%w: topic %s: %w", relay.ErrInvalid, relay.Quote("orders.*"), errWildcard)), Test: "TestConformance"},
		{Cause: "payload and headers are over max_payload of the server, or OUTBOX_MAX_MESSAGE_BYTES", Outcome: relay.RejectedOutcome(fmt.Errorf("%w: payload of %d bytes, the limit is %d", relay.ErrTooLarge, 2_000_000, 1<<20)), Test: "TestConformance"},
		{Cause: "the message is over max_msg_size of the stream", Outcome: api(jetstream.JSErrCodeStreamMessageExceedsMaximum, "message size exceeds maximum allowed"), Test: "TestStreamsRefusalsAreTranslated"},
		{Cause: "no stream has the subject", Outcome: unroutable(topic), Test: "TestConformance"},
		{Cause: "no stream takes the subject, while other messages are acknowledged", Outcome: unclaimedRefused(topic, doubt), Test: "TestMuteAPIIsAskedOnceForAllTopics"},
		{Cause: "the stream is full (discard=new), or its queue of messages that it has not stored yet is", Outcome: api(codeStoreFailed, "maximum messages exceeded"), Test: "TestConformance"},
		{Cause: "the account or the server has no room", Outcome: api(codeAccountResources, "resource limits exceeded for account"), Test: "TestAccountLimitsAreFull"},
		{Cause: "the user may not publish to the subject", Outcome: forbidden(topic), Test: "TestTopicThatIsNotPermittedIsForbidden"},
		{Cause: "the stream acknowledges nothing in time, while other messages are acknowledged", Outcome: timedOut(topic), Test: "TestConformance"},
		{Cause: "the topic's share of the window is full of messages that are late", Outcome: crowds(topic), Test: "TestLateTopicHasASmallShareOfTheWindow"},
		{Cause: "the stream refuses the message for a reason of its own, such as an expected sequence", Outcome: api(10071, "wrong last sequence: 7"), Test: "TestStreamsRefusalsAreTranslated"},
		{Cause: "something that is no stream, such as a service, answers on the subject, and no stream does", Outcome: notAStream(topic), Test: "TestAnswerThatIsNoStreamsAcknowledgesNothing"},
		{Cause: "JetStream is off, for the server or the account, or has no leader", Outcome: api(jetstream.JSErrCodeJetStreamNotEnabledForAccount, "jetstream not enabled for account"), Test: "TestAccountWithoutJetStreamIsNotReady"},
		{Cause: "no stream takes the subject, and no other message is acknowledged", Outcome: row.notReady(doubt), Test: "TestServerWithoutJetStreamIsNotReady"},
		{Cause: "the same, but a stream may have begun to store the message", Outcome: lost.notReady(doubt), Test: "TestLeaderOfAStreamStepsDownUnderLoad"},
		{Cause: "there is no connection", Outcome: unavailable(errors.New("connection refused")), Test: "TestConformance"},
		{Cause: "the connection is lost while the message is in flight", Outcome: relay.UnknownOutcome(relay.ErrorTypeDisconnected, errors.New("the connection was lost")), Test: "TestConformance"},
		{Cause: "the broker stops answering, so the relay ends the connection", Outcome: relay.UnknownOutcome(relay.ErrorTypeUnresponsive, errUnresponsive), Test: "TestConformance"},
	}
}
