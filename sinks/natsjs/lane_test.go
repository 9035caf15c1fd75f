package natsjs_test

import (
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
)

func TestMessagesOfALaneAreStoredAndReportedInOrder(t *testing.T) {
	b := startBroker(t, "")
	js := b.admin(t)
	makeStream(t, js, jetstream.StreamConfig{Name: "FAST", Subjects: []string{"fast.>"}})
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.URL()}})
	reach(t, s)
	for _, n := range []int{1, 2, 3, 63, 64, 65, 1000} {
		topic := "fast.a"
		l := lane(t, s, "fast.warm")
		before := len(storedIDs(t, js, "FAST", topic))
		all := messagesTo(topic, n)
		inOrder(t, run(t, s, l, all...), n, relay.Acknowledged)
		stored := storedIDs(t, js, "FAST", topic)[before:]
		var want []string
		for _, m := range all {
			want = append(want, m.MessageID.String())
		}
		if !slices.Equal(stored, want) {
			t.Fatalf("stored are %v, want %v", stored, want)
		}
		if next := lane(t, s, "fast.warm"); next == l {
			t.Fatal("a lane goes on after it was flushed")
		}
	}
}
