package telemetry

import (
	"fmt"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/trace"

	"github.com/outbox-relay/outbox-relay/relay"
)

// TraceContext says which trace context a message carries.
type TraceContext uint8

// The choices.
const (
	// FromRow: the row's own, unchanged; the relay's where the row has none.
	FromRow TraceContext = iota
	// FromRelay: always the relay's span, so that a trace reads from top to bottom. The
	// messaging conventions ask an intermediary not to do that.
	FromRelay
)

var traceContextNames = [...]string{"row", "relay"}

// String returns the choice as OUTBOX_TRACE_CONTEXT has it.
func (c TraceContext) String() string {
	if int(c) >= len(traceContextNames) {
		return fmt.Sprintf("context(%d)", uint8(c))
	}
	return traceContextNames[c]
}

// The headers of W3C Trace Context. Baggage is never touched.
const (
	traceparent = relay.Traceparent
	tracestate  = "tracestate"
)

// creationContext is the trace context of the row. given says that the row has a
// traceparent at all, which may be malformed.
func creationContext(headers []relay.Header) (creation trace.SpanContext, given bool) {
	parent, state := "", ""
	for _, h := range headers {
		switch {
		case h.IsTraceparent():
			parent, given = h.Value, true
		case strings.EqualFold(h.Name, tracestate):
			state = h.Value
		}
	}
	if !given {
		return trace.SpanContext{}, false
	}
	traceID, spanID, flags, ok := relay.ParseTraceparent(parent)
	if !ok {
		return trace.SpanContext{}, true
	}
	config := trace.SpanContextConfig{TraceID: traceID, SpanID: spanID, TraceFlags: trace.TraceFlags(flags), Remote: true}
	// A malformed state is dropped here, as the standard says, and forwarded all the same.
	config.TraceState, _ = trace.ParseTraceState(state)
	return trace.NewSpanContext(config), true
}

// carrying is a copy of the message that carries this context in the place of its own.
func carrying(m *relay.Message, c trace.SpanContext) *relay.Message {
	sent := *m
	sent.Headers = slices.DeleteFunc(slices.Clone(m.Headers), func(h relay.Header) bool {
		return h.IsTraceparent() || strings.EqualFold(h.Name, tracestate)
	})
	sent.Headers = append(sent.Headers, relay.Header{
		Name: traceparent, Value: fmt.Sprintf("00-%s-%s-%s", c.TraceID(), c.SpanID(), c.TraceFlags()),
	})
	if state := c.TraceState().String(); state != "" {
		sent.Headers = append(sent.Headers, relay.Header{Name: tracestate, Value: state})
	}
	slices.SortFunc(sent.Headers, func(a, b relay.Header) int { return strings.Compare(a.Name, b.Name) })
	return &sent
}
