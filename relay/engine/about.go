package engine

import (
	"context"
	"encoding/hex"
	"log/slog"

	"github.com/outbox-relay/outbox-relay/relay"
)

// What a line of the log says of the message that it concerns: which row it is and which
// trace, and at level debug its headers. Never its payload.

// about are the attributes of a line that concerns the message, and others.
func (m *item) about(more ...slog.Attr) []slog.Attr {
	attrs := append(make([]slog.Attr, 0, 3+len(more)), slog.Int64("id", m.ID), slog.String("message_id", m.MessageID.String()))
	if m.Trace != (relay.TraceID{}) {
		attrs = append(attrs, slog.String("trace_id", hex.EncodeToString(m.Trace[:])))
	}
	return append(attrs, more...)
}

// logFailure logs at level debug that a message was not acknowledged. Its headers are
// still there.
func (t *term) logFailure(m *item, o relay.Outcome) {
	ctx := context.Background()
	if o.Class == relay.Acknowledged || !t.log.Enabled(ctx, slog.LevelDebug) {
		return
	}
	headers := make([]any, len(m.Headers))
	for i, h := range m.Headers {
		headers[i] = slog.String(h.Name, t.config.LogRedact.Show(h))
	}
	t.log.LogAttrs(ctx, slog.LevelDebug, "message not acknowledged", m.about(
		slog.String("topic", m.Topic), slog.String("outcome", o.Class.String()), slog.String("error_type", string(o.Type)),
		slog.Any("error", o.Err), slog.Int("payload_bytes", len(m.Payload)), slog.Group("headers", headers...),
	)...)
}
