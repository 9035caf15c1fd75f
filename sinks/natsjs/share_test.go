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
	t.Parallel()
	const window = 640 // 10 of it are a topic's share
	b := startBroker(t, "")
	var arrived atomic.Int64
	if _, err := connect(t, b.URL()).Subscribe("slow.>", func(*nats.Msg) { arrived.Add(1) }); err != nil {
		t.Fatal(err)
	}
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.URL(), Window: window, AckTimeout: 3 * time.Second}})
	reach(t, s)
	publish := func(topic string, n, from int) (tried int64, settled bool) {
		reach(t, s)
		before := arrived.Load()
		classes := publishAll(t, s, topic, n, from)
		tried = arrived.Load() - before
		settled = classes[relay.Refused]+classes[relay.Postponed] == n
		if settled && int64(classes[relay.Refused]) > tried {
			t.Fatalf("messages to a topic that nobody acknowledges are %v, and %d were tried", classes, tried)
		}
		t.Logf("%s: %v", topic, classes)
		return tried, settled
	}
	expectInTime(t, s, messageTo(silentTopic, 1), relay.Refused, relay.ErrorTypeTimeout, "")
	var topic string
	for n := 1; ; n++ {
		topic = fmt.Sprint("slow.", n)
		first, known := publish(topic, 100, 10_000*n+100)
		late, settled := publish(topic, window, 10_000*n+1000)
		// If the machine stands still, the sink gives its connection up and forgets what
		// is late, or the first ten are over while the others are handed over.
		if n < tries && (!known || !settled || late != 10) {
			continue
		}
		if first < 100 {
			t.Errorf("%d of 100 were tried before the topic was known to be late", first)
		}
		if !settled || late != 10 {
			t.Errorf("%d messages of a late topic were tried at once, want 10", late)
		}
		break
	}
	expectInTime(t, s, messageTo(topic, 2), relay.Refused, relay.ErrorTypeTimeout, "")
	// The first acknowledgement shows that the topic works again.
	if _, err := b.admin(t).CreateStream(t.Context(), jetstream.StreamConfig{Name: "SLOW", Subjects: []string{"slow.>"}}); err != nil {
		t.Fatal(err)
	}
	expectInTime(t, s, messageTo(topic, 3), relay.Acknowledged, "", "")
	if classes := publishAll(t, s, topic, window, 5000); classes[relay.Acknowledged] != window {
		t.Errorf("messages to a topic that is well again are %v", classes)
	}
}

// Nobody answers questions about streams, and messages of many topics wait for an
// answer.
func TestMuteAPIIsAskedOnceForAllTopics(t *testing.T) {
	t.Parallel()
	b := startBroker(t, "")
	var asked atomic.Int64
	if _, err := connect(t, b.URL()).Subscribe("$JS.mute.API.>", func(m *nats.Msg) {
		if m.Subject == "$JS.mute.API.STREAM.NAMES" {
			asked.Add(1)
		}
	}); err != nil {
		t.Fatal(err)
	}
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.URL(), AckTimeout: 3 * time.Second}, Domain: "mute"})
	reach(t, s)
	expectInTime(t, s, messageTo(goodTopic, 0), relay.Acknowledged, "", "")
	const topics = 50
	reports := make(chan report, topics)
	publish := func(i int) {
		s.Publish(messageTo(fmt.Sprint("nowhere.", i), 10+i), func(_ *relay.Message, o relay.Outcome) { reports <- report{i, o} })
	}
	for i := range topics {
		publish(i)
	}
	settled := 0
	for n := 100; settled < topics; n++ {
		expectInTime(t, s, messageTo(goodTopic, n), relay.Acknowledged, "", "")
		// It is asked again when its silence was long ago: some times on a slow machine.
		if asked := asked.Load(); asked > topics/2 {
			t.Fatalf("the API was asked %d times, and each time its answer was waited for", asked)
		}
		select {
		case r := <-reports:
			if r.Class == relay.Unavailable { // the machine stood still, and no other message was acknowledged
				publish(r.place)
				continue
			}
			settled++
			if r.Class != relay.Refused || r.Type != relay.ErrorTypeUnroutable {
				t.Errorf("outcome is %s %q (%v)", r.Class, r.Type, r.Err)
			}
		default:
		}
	}
}
