package telemetry

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

// What it costs to count and time one message.
func BenchmarkObservedPublish(b *testing.B) {
	t, err := Open(b.Context(), Options{Table: "public.outbox", Broker: Broker{System: "nats", Server: "localhost", Port: 4222}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = t.Close(b.Context()) })
	through, m := t.Observe(&prompt{}), rowWith("")
	b.ReportAllocs()
	for b.Loop() {
		through.Publish(m, func(*relay.Message, relay.Outcome) {})
	}
}

// prompt is a sink that acknowledges at once.
type prompt struct{ relay.Sink }

func (*prompt) Publish(m *relay.Message, report relay.Report) { report(m, acknowledged) }
