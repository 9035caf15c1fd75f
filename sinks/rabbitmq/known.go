package rabbitmq

import (
	"errors"
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay"
)

// KnownErrors lists the outcomes that are no acknowledgement.
func KnownErrors() []relay.KnownError {
	const topic, exchange = "orders.created", "outbox"
	plain := &relay.Message{Topic: topic}
	delayed := &relay.Message{Topic: topic, Headers: []relay.Header{{Name: headerDelay, Value: "1000"}}}
	const returned = "312 NO_ROUTE"
	missing := noExchange(exchange)
	return []relay.KnownError{
		{Cause: "the row breaks the rules of the wire: routing key, key, header or content type", Outcome: relay.RejectedOutcome(invalidf("topic %s is longer than 255 bytes: shorten it", relay.Quote(topic))), Test: "TestConformanceOnQuorumQueues"},
		{Cause: "the payload is over max_message_size of the broker, or OUTBOX_MAX_MESSAGE_BYTES", Outcome: relay.RejectedOutcome(fmt.Errorf("%w: payload of %d bytes, the limit is %d", relay.ErrTooLarge, 17<<20, 16<<20)), Test: "TestBrokersSizeLimitIsLearned"},
		{Cause: "the exchange routes the topic to no queue (basic.return)", Outcome: unroutable(exchange, plain, returned), Test: "TestUnroutableMessageSaysWhatToDo"},
		{Cause: "the same, for the default exchange", Outcome: unroutable("", plain, returned), Test: "TestDefaultExchangeRoutesByQueueName"},
		{Cause: "the same, for a message with the header of the delay plugin", Outcome: unroutable(exchange, delayed, returned), Test: "TestUnroutableMessageSaysWhatToDo"},
		{Cause: "a queue refuses the message (basic.nack): it is full with overflow=reject-publish, or it fails", Outcome: nacked(exchange, topic), Test: "TestConformanceOnQuorumQueues"},
		{Cause: "the user may not write to the topic (403)", Outcome: forbidden(topic, errors.New("ACCESS_REFUSED - write access to topic refused")), Test: "TestForbiddenTopicIsRefusedAndTheOthersFlow"},
		{Cause: "the broker closes the channel because of the message", Outcome: relay.RefusedOutcome(relay.ErrorTypeNacked, "the broker closed the channel because of %s: %w", relay.Quote(topic), errors.New("exception (406)")), Test: "TestTopicThatClosedAChannelDisturbsNobody"},
		{Cause: "no confirm comes in time, while other messages are confirmed", Outcome: timedOut(topic), Test: "TestConformanceOnQuorumQueues"},
		{Cause: "the topic's share of the window is full of messages that are late", Outcome: crowds(topic), Test: "TestQueueThatTakesNoCommandsStopsNoOtherTopic"},
		{Cause: "the exchange is missing, internal, or forbidden to the user", Outcome: relay.UnavailableOutcome(relay.ErrorTypeNotReady, missing), Test: "TestMissingExchangeIsAwaited"},
		{Cause: "the same, while several messages were in flight", Outcome: relay.UnknownOutcome(relay.ErrorTypeNotReady, missing), Test: "TestExchangeDeletedUnderLoadRefusesNothing"},
		{Cause: "the broker blocks publishers (a memory or disk alarm)", Outcome: relay.UnavailableOutcome(relay.ErrorTypeNotReady, errBlocked), Test: "TestMemoryAlarmPausesAndResumes"},
		{Cause: "there is no connection", Outcome: relay.UnavailableOutcome(relay.ErrorTypeDisconnected, errors.New("connection refused")), Test: "TestConformanceOnQuorumQueues"},
		{Cause: "the connection is lost while the message is in flight", Outcome: relay.UnknownOutcome(relay.ErrorTypeDisconnected, errors.New("the connection was lost")), Test: "TestConformanceOnQuorumQueues"},
		{Cause: "the broker stops answering, so the relay ends the connection", Outcome: relay.UnknownOutcome(relay.ErrorTypeUnresponsive, errUnresponsive), Test: "TestConformanceOnQuorumQueues"},
	}
}
