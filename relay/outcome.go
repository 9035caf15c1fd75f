package relay

import (
	"errors"
	"fmt"
)

// Class says what an outcome means for the row and for the sink.
type Class uint8

// The classes of outcome. The zero value is none of them, so that a forgotten
// outcome is not taken for an acknowledgement.
const (
	// Acknowledged: the broker has taken responsibility. Mark the row sent.
	Acknowledged Class = iota + 1
	// Refused for now: this message may succeed later (nack, stream full,
	// unroutable, not permitted). An attempt is counted and written to the table.
	Refused
	// Rejected for good: this message can never succeed (validation, size). Dead.
	Rejected
	// Unavailable: the sink cannot take any message now, and did not take this
	// one. Not the message's fault; no attempt is counted.
	Unavailable
	// Unknown: the message was written and nobody can tell whether the broker
	// has it (the connection was lost). It is sent again under the same id.
	Unknown
	// Withdrawn: the sink gives the message back, because an earlier one of its lane
	// failed, or because the lane has ended (see [Lane]). Nobody's fault: no attempt is
	// counted, and the sink takes other messages. It is published again, behind the
	// messages of its key that were handed over before it. In a strict lane the broker
	// has not stored it; elsewhere it may have.
	Withdrawn
	// Postponed: the sink takes no more messages of this topic for now, because they
	// come late and enough of them wait already. Not this message's fault; no attempt
	// is counted. It stays in the table until the topic has room, and other topics go on.
	Postponed
)

var classNames = [...]string{"invalid", "acknowledged", "refused", "rejected", "unavailable", "unknown", "withdrawn", "postponed"}

// String returns the class in lower case.
func (c Class) String() string {
	if int(c) >= len(classNames) {
		return fmt.Sprintf("class(%d)", uint8(c))
	}
	return classNames[c]
}

// ErrorType is the cause of an outcome that is not an acknowledgement, of low
// cardinality: fit for a metric's label.
type ErrorType string

// The error types that sinks report, and one of the relay's own. A sink adds none without adding it here.
const (
	ErrorTypeInvalid      ErrorType = "invalid"      // a row that breaks the rules of the wire
	ErrorTypeTooLarge     ErrorType = "too_large"    // over the broker's size limit
	ErrorTypeUnroutable   ErrorType = "unroutable"   // no stream or queue takes the topic
	ErrorTypeFull         ErrorType = "full"         // the stream or queue refuses more for now
	ErrorTypeForbidden    ErrorType = "forbidden"    // the topic is not permitted
	ErrorTypeTimeout      ErrorType = "timeout"      // not acknowledged while others were
	ErrorTypeNacked       ErrorType = "nacked"       // refused by the broker without a better name
	ErrorTypeDisconnected ErrorType = "disconnected" // no connection, or lost with the message in flight
	ErrorTypeNotReady     ErrorType = "not_ready"    // connected, but the broker takes no messages (no JetStream, no leader)
	ErrorTypeUnresponsive ErrorType = "unresponsive" // connected, and nothing comes back
	ErrorTypeExpired      ErrorType = "expired"      // the relay's own: it waited for the broker for too long
	ErrorTypeOther        ErrorType = "other"        // a sink that did not say
)

// ErrorTypes are all error types.
func ErrorTypes() []ErrorType {
	return []ErrorType{
		ErrorTypeInvalid, ErrorTypeTooLarge, ErrorTypeUnroutable, ErrorTypeFull, ErrorTypeForbidden, ErrorTypeTimeout,
		ErrorTypeNacked, ErrorTypeDisconnected, ErrorTypeNotReady, ErrorTypeUnresponsive, ErrorTypeOther,
	}
}

// Outcome is what became of one message handed to a sink.
type Outcome struct {
	Class Class
	// Duplicate says that the broker acknowledged a message id it already had.
	Duplicate bool
	// Type and Err are set unless the message was acknowledged or withdrawn. Err names the
	// thing, the value and the fix, and never contains the payload: it is
	// written to last_error.
	Type ErrorType
	Err  error
}

// RefusedOutcome says that the message may succeed later. The error is formatted
// as by [fmt.Errorf].
func RefusedOutcome(t ErrorType, format string, args ...any) Outcome {
	return Outcome{Class: Refused, Type: t, Err: fmt.Errorf(format, args...)}
}

// RejectedOutcome says that the message can never succeed. Its type is
// [ErrorTypeTooLarge] where err wraps [ErrTooLarge], else [ErrorTypeInvalid].
func RejectedOutcome(err error) Outcome {
	t := ErrorTypeInvalid
	if errors.Is(err, ErrTooLarge) {
		t = ErrorTypeTooLarge
	}
	return Outcome{Class: Rejected, Type: t, Err: err}
}

// UnavailableOutcome says that the sink took no message, and not this one.
func UnavailableOutcome(t ErrorType, err error) Outcome {
	return Outcome{Class: Unavailable, Type: t, Err: err}
}

// UnknownOutcome says that the broker may have the message.
func UnknownOutcome(t ErrorType, err error) Outcome {
	return Outcome{Class: Unknown, Type: t, Err: err}
}

// PostponedOutcome says that the topic of the message has no room now. The error is
// formatted as by [fmt.Errorf].
func PostponedOutcome(t ErrorType, format string, args ...any) Outcome {
	return Outcome{Class: Postponed, Type: t, Err: fmt.Errorf(format, args...)}
}
