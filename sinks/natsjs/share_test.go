package natsjs_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
)

// publishAll publishes n messages to the topic, and returns how many outcomes there
// were of each class.
func publishAll(t *testing.T, s relay.Sink, topic string, n, from int) map[relay.Class]int {
	t.Helper()
	reports := make(chan relay.Outcome, n)
	for i := range n {
		s.Publish(messageTo(topic, from+i), func(_ *relay.Message, o relay.Outcome) { reports <- o })
	}
	classes := make(map[relay.Class]int)
	for range n {
		select {
		case o := <-reports:
			classes[o.Class]++
		case <-time.After(time.Minute):
			t.Fatalf("%v of %d messages to %s were reported", classes, n, topic)
		}
	}
	return classes
}

func TestLateTopicHasASmallShareOfTheWindow(t *testing.T) {
	const window = 640 // 10 of it are a topic's share
	b := startBroker(t, "")
	var arrived atomic.Int64
	if _, err := connect(t, b.URL()).Subscribe("slow.>", func(*nats.Msg) { arrived.Add(1) }); err != nil {
		t.Fatal(err)
	}
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.URL(), Window: window, AckTimeout: time.Second}})
	reach(t, s)
	publish := func(n, from int) (tried int64) {
		before := arrived.Load()
		classes := publishAll(t, s, "slow.topic", n, from)
		tried = arrived.Load() - before
		if classes[relay.Refused]+classes[relay.Postponed] != n || int64(classes[relay.Refused]) > tried {
			t.Fatalf("messages to a topic that nobody acknowledges are %v, and %d were tried", classes, tried)
		}
		return tried
	}
	expect(t, s, messageTo(silentTopic, 1), relay.Refused, relay.ErrorTypeTimeout, "")
	if n := publish(100, 100); n < 100 {
		t.Errorf("%d of 100 were tried before the topic was known to be late", n)
	}
	if n := publish(window, 1000); n != 10 {
		t.Errorf("%d messages of a late topic were tried at once, want 10", n)
	}
	expect(t, s, messageTo("slow.topic", 2), relay.Refused, relay.ErrorTypeTimeout, "")
	// The first acknowledgement shows that the topic works again.
	if _, err := b.admin(t).CreateStream(t.Context(), jetstream.StreamConfig{Name: "SLOW", Subjects: []string{"slow.>"}}); err != nil {
		t.Fatal(err)
	}
	expect(t, s, messageTo("slow.topic", 3), relay.Acknowledged, "", "")
	if classes := publishAll(t, s, "slow.topic", window, 5000); classes[relay.Acknowledged] != window {
		t.Errorf("messages to a topic that is well again are %v", classes)
	}
}

// Nobody answers questions about streams, and messages of many topics wait for an
// answer.
func TestMuteAPIIsAskedOnceForAllTopics(t *testing.T) {
	b := startBroker(t, "")
	var asked atomic.Int64
	if _, err := connect(t, b.URL()).Subscribe("$JS.mute.API.>", func(m *nats.Msg) {
		if m.Subject == "$JS.mute.API.STREAM.NAMES" {
			asked.Add(1)
		}
	}); err != nil {
		t.Fatal(err)
	}
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.URL(), AckTimeout: time.Second}, Domain: "mute"})
	reach(t, s)
	expect(t, s, messageTo(goodTopic, 0), relay.Acknowledged, "", "")
	const topics = 50
	reports := make(chan relay.Outcome, topics)
	for i := range topics {
		s.Publish(messageTo(fmt.Sprint("nowhere.", i), 10+i), func(_ *relay.Message, o relay.Outcome) { reports <- o })
	}
	settled := 0
	for n := 100; settled < topics; n++ {
		expect(t, s, messageTo(goodTopic, n), relay.Acknowledged, "", "")
		select {
		case o := <-reports:
			settled++
			if o.Class != relay.Refused || o.Type != relay.ErrorTypeUnroutable {
				t.Errorf("outcome is %s %q (%v)", o.Class, o.Type, o.Err)
			}
		default:
		}
	}
	if n := asked.Load(); n > 5 {
		t.Errorf("the API was asked %d times, and each time its answer was waited for", n)
	}
}
