package engine

import "github.com/outbox-relay/outbox-relay/relay"

// report is the outcome that the sink gave for one message.
type report struct {
	relay.Ref
	outcome relay.Outcome
}

// onReport runs on the sink's goroutines.
func (t *term) onReport(m *relay.Message, o relay.Outcome) {
	t.reports.put(report{m.Ref, o})
	t.withSink.Add(-1)
}

func (t *term) takeReports() {
	for _, r := range t.reports.take() {
		t.reported(t.taken.rows[r.Ref], r.outcome)
	}
	t.outcomes.give(t.marker)
}
