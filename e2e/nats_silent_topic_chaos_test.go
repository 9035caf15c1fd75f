//go:build chaos

package e2e_test

import (
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// One row in ten goes to a topic that nobody acknowledges: its stream is gone for five
// minutes, and somebody else listens. The others keep four fifths of their rate, and no
// attempt of theirs is counted.
func TestChaosNATSTopicThatNobodyAcknowledges(t *testing.T) {
	cluster := pgtest.Own(t, map[string]string{"max_wal_size": "8GB", "checkpoint_timeout": "1h"})
	w := newWorld(t, worldOptions{cluster: cluster, stream: func(c *jetstream.StreamConfig) { c.MaxMsgs = 10_000 }})
	conn, err := nats.Connect(w.broker.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if _, err := conn.Subscribe("mute.>", func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	const name = "MUTE"
	resume := func() {
		c := jetstream.StreamConfig{Name: name, Subjects: []string{"mute.>"}, MaxMsgs: 10_000}
		if _, err := w.js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	stop := func() {
		if err := w.js.DeleteStream(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	resume()
	n := &neighbours{world: w, good: "oracle.good", late: "mute.late", nth: 10, rate: rateOf(t)}
	n.measure(func() *relaybin.Process { return w.relayOf(relaybin.Released, "OUTBOX_ACK_TIMEOUT", "5s") }, stop, resume, suspendedFor(t))
}
