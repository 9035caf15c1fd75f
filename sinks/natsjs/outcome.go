package natsjs

import (
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Error codes of JetStream that are handled differently. See errors.json of the server.
const (
	codeAccountResources      jetstream.ErrorCode = 10002
	codeClusterNoPeers        jetstream.ErrorCode = 10005
	codeSystemUnavailable     jetstream.ErrorCode = 10008
	codeNotLeader             jetstream.ErrorCode = 10009
	codeInsufficientResources jetstream.ErrorCode = 10023
	codeMemoryResources       jetstream.ErrorCode = 10028
	codeStorageResources      jetstream.ErrorCode = 10047
	codeStoreFailed           jetstream.ErrorCode = 10077 // maximum messages, bytes, messages per subject exceeded
	codeHeaderTooLarge        jetstream.ErrorCode = 10097
	codeSubjectsOverlap       jetstream.ErrorCode = 10065
	codeTooManyRequests       jetstream.ErrorCode = 10167 // the stream's queue of messages that it has not stored yet is full
	codeDuplicateInProcess    jetstream.ErrorCode = 10158 // an earlier publish of the message id is not committed
	codeBatchDisabled         jetstream.ErrorCode = 10205 // the stream takes no batches (any more)
	codeBatchUnknown          jetstream.ErrorCode = 10208 // the stream's leader does not know the batch, or not any more
)

// refusal translates a stream's error. An error that concerns one stream or one message
// refuses only this message, so that it does not stop the others.
func refusal(stream string, topic string, err *jetstream.APIError) relay.Outcome {
	switch err.ErrorCode {
	case codeStoreFailed, codeTooManyRequests:
		return relay.RefusedOutcome(relay.ErrorTypeFull,
			"stream %q takes no more: %s (error %d): consume or purge it, or raise its limits", stream, err.Description, err.ErrorCode)
	case codeAccountResources, codeInsufficientResources, codeMemoryResources, codeStorageResources:
		return relay.RefusedOutcome(relay.ErrorTypeFull,
			"no room for stream %q: %s (error %d): raise the limits of the account or the server, or free storage",
			stream, err.Description, err.ErrorCode)
	case jetstream.JSErrCodeStreamMessageExceedsMaximum, codeHeaderTooLarge:
		return relay.RejectedOutcome(fmt.Errorf("%w for stream %q: %s (error %d): make it smaller, or raise max_msg_size of the stream",
			relay.ErrTooLarge, stream, err.Description, err.ErrorCode))
	case jetstream.JSErrCodeJetStreamNotEnabled, jetstream.JSErrCodeJetStreamNotEnabledForAccount,
		codeSystemUnavailable, codeNotLeader, codeClusterNoPeers:
		return relay.UnavailableOutcome(relay.ErrorTypeNotReady, fmt.Errorf("JetStream: %s (error %d)", err.Description, err.ErrorCode))
	}
	return relay.RefusedOutcome(relay.ErrorTypeNacked,
		"stream %q refuses subject %s: %s (error %d)", stream, relay.Quote(topic), err.Description, err.ErrorCode)
}

func unroutable(topic string) relay.Outcome {
	return relay.RefusedOutcome(relay.ErrorTypeUnroutable,
		"no stream has subject %s: add it to the subjects of a stream (or, for development, set OUTBOX_TOPOLOGY=create)", relay.Quote(topic))
}

// unclaimedRefused is for a message that no stream took while others were taken.
func unclaimedRefused(topic string, doubt error) relay.Outcome {
	return relay.RefusedOutcome(relay.ErrorTypeUnroutable, "no stream takes subject %s, while other messages are acknowledged (%w): "+
		"see that a stream has it and is up", relay.Quote(topic), doubt)
}

// notReady is for a message that no stream took while nothing else was taken either.
func (it item) notReady(doubt error) relay.Outcome {
	err := fmt.Errorf("no stream takes subject %s: %w", relay.Quote(it.message.Topic), doubt)
	if it.proposed {
		return relay.UnknownOutcome(relay.ErrorTypeNotReady, err)
	}
	return relay.UnavailableOutcome(relay.ErrorTypeNotReady, err)
}

func forbidden(topic string) relay.Outcome {
	return relay.RefusedOutcome(relay.ErrorTypeForbidden,
		"not permitted to publish to subject %s: grant it to the relay's NATS user", relay.Quote(topic))
}

func timedOut(topic string) relay.Outcome {
	return relay.RefusedOutcome(relay.ErrorTypeTimeout,
		"no acknowledgement for subject %s in time, while the broker works: see that its stream has a leader and a quorum", relay.Quote(topic))
}

// crowds is for a message that was not written, because its topic is late and has its
// share in flight.
func crowds(topic string) relay.Outcome {
	return relay.PostponedOutcome(relay.ErrorTypeTimeout,
		"messages of subject %s were not acknowledged in time, so few are tried at once: "+
			"see that its stream has a leader and a quorum", relay.Quote(topic))
}

func notAStream(topic string) relay.Outcome {
	return relay.RefusedOutcome(relay.ErrorTypeNacked,
		"subject %s was answered by something that is not a stream, and by no stream in time: find who subscribes to it and replies, "+
			"and see that a stream has the subject", relay.Quote(topic))
}

func unavailable(err error) relay.Outcome {
	return relay.UnavailableOutcome(relay.ErrorTypeDisconnected, err)
}
