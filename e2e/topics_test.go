package e2e_test

import "testing"

// Whoever may insert a row chooses its topic, and the relay has the right to publish to
// all that it is there for.
func TestTopicThatIsNotAllowedIsRefusedBeforeItIsWritten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	relay := w.relay("OUTBOX_TOPICS_ALLOW", "oracle.orders.*")
	// The broker would take it.
	w.exec(`INSERT INTO outbox (topic, key, payload) VALUES ('oracle.salaries', 'a', '{}')`)
	w.await("the row is refused", func() bool {
		return w.count(`SELECT count(*) FROM outbox WHERE attempts > 0 AND last_error LIKE '%"oracle.salaries"%OUTBOX_TOPICS_ALLOW=oracle.orders.*%'`) == 1
	})
	w.exec(`INSERT INTO outbox (topic, key, payload) VALUES ('oracle.orders.created', 'b', '{}')`)
	w.await("the row whose topic is allowed is sent", func() bool {
		return w.count(`SELECT count(*) FROM outbox WHERE topic = 'oracle.orders.created' AND sent_at IS NOT NULL`) == 1
	})
	if n := w.stored(); n != 1 {
		t.Errorf("the stream has %d messages, want the one that is allowed", n)
	}
	relay.Terminate()

	// Once the pattern is fixed the row goes, and nothing of it is lost.
	relay = w.relay("OUTBOX_TOPICS_ALLOW", "oracle.**")
	w.awaitDrained()
	relay.Terminate()
}
