package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.41.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/outbox-relay/outbox-relay/relay"
)

// operation is what the relay does with a message, in the words of the messaging
// conventions (https://opentelemetry.io/docs/specs/semconv/messaging/).
const operation = "publish"

// tracer makes the spans.
type tracer struct {
	trace.Tracer
	broker  Broker
	context TraceContext
}

// begin starts the span of a message, and returns the message to send: the same, or a
// copy with the span's context.
func (t *tracer) begin(m *relay.Message, now time.Time) (*relay.Message, trace.Span) {
	creation, given := creationContext(m.Headers)
	options := []trace.SpanStartOption{trace.WithTimestamp(now), trace.WithSpanKind(trace.SpanKindProducer)}
	ctx := context.Background()
	if given {
		options[1] = trace.WithSpanKind(trace.SpanKindClient)
	}
	if creation.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, creation)
		options = append(options, trace.WithLinks(trace.Link{SpanContext: creation}))
	}
	_, span := t.Start(ctx, t.name(), options...)
	if span.IsRecording() {
		span.SetAttributes(t.describe(m, now)...)
	}
	if own := span.SpanContext(); own.IsValid() && (!given || t.context == FromRelay) {
		return carrying(m, own), span
	}
	return m, span
}

// name is of low cardinality: topics may hold ids, and an exchange does not.
func (t *tracer) name() string {
	if t.broker.Exchange == "" {
		return operation
	}
	return operation + " " + t.broker.Exchange
}

func (t *tracer) describe(m *relay.Message, now time.Time) []attribute.KeyValue {
	destination := m.Topic
	attributes := []attribute.KeyValue{
		semconv.MessagingSystemKey.String(t.broker.System),
		semconv.MessagingOperationName(operation), semconv.MessagingOperationTypeSend,
		semconv.MessagingMessageID(m.MessageID.String()), semconv.MessagingMessageBodySize(len(m.Payload)),
		semconv.ServerAddress(t.broker.Server), semconv.ServerPort(t.broker.Port),
		attribute.Int64("outbox.row.id", m.ID), attribute.Int("outbox.attempt", m.Attempts+1),
		attribute.Float64("outbox.seconds_since_commit", sinceDue(m, now).Seconds()),
	}
	if t.broker.System == rabbitMQ {
		// The conventions join the two; the default exchange has no name.
		destination = join(t.broker.Exchange, m.Topic)
		attributes = append(attributes, semconv.MessagingRabbitMQDestinationRoutingKey(m.Topic))
	}
	return append(attributes, semconv.MessagingDestinationName(destination))
}

// rabbitMQ is the messaging.system of RabbitMQ.
const rabbitMQ = "rabbitmq"

func join(exchange, routingKey string) string {
	if exchange == "" {
		return routingKey
	}
	return exchange + ":" + routingKey
}

// sinceDue is how long the row has been due. The clocks of PostgreSQL's host and of this
// one may differ: never negative.
func sinceDue(m *relay.Message, now time.Time) time.Duration {
	if m.DueSince.IsZero() {
		return 0
	}
	return max(0, now.Sub(m.DueSince))
}

// end ends a span with the outcome. The error's text holds no payload.
func end(span trace.Span, o relay.Outcome, now time.Time) {
	if o.Class == relay.Withdrawn || o.Class == relay.Postponed {
		span.SetAttributes(attribute.Bool("outbox.withdrawn", true))
		span.End(trace.WithTimestamp(now))
		return
	}
	if o.Class != relay.Acknowledged && span.IsRecording() {
		span.SetAttributes(semconv.ErrorTypeKey.String(string(errorType(o))))
		text := o.Class.String()
		if o.Err != nil {
			text = o.Err.Error()
		}
		span.SetStatus(codes.Error, text)
	}
	if o.Duplicate {
		span.SetAttributes(attribute.Bool("outbox.duplicate", true))
	}
	span.End(trace.WithTimestamp(now))
}
