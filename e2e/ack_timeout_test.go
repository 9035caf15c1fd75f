package e2e_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// A topic that has a subscriber but no stream is acknowledged by nobody. With the
// default, which is 5 s, its first attempt would end sooner than the test demands.
func TestAckTimeoutIsHowLongAMessageWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	conn, err := nats.Connect(w.broker.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	received := make(chan struct{}, 100)
	if _, err := conn.Subscribe("mute.>", func(*nats.Msg) { received <- struct{}{} }); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	relay := w.relay("OUTBOX_ACK_TIMEOUT", "12s")
	w.insert(plain(1))
	w.awaitDrained() // the relay works, and knows the stream
	var id int64
	w.row(`INSERT INTO {outbox} (topic, payload) VALUES ('mute.x', '{}') RETURNING id`, nil, &id)
	select {
	case <-received:
	case <-time.After(patience):
		t.Fatal("the message was not published")
	}
	published := time.Now()
	w.await("the attempt is counted", func() bool {
		var attempts int
		w.row(`SELECT attempts FROM {outbox} WHERE id = $1`, []any{id}, &attempts)
		return attempts > 0
	})
	if waited := time.Since(published); waited < 9*time.Second {
		t.Errorf("the first attempt took %s, want about 12s", waited)
	}
	relay.Terminate()
}
