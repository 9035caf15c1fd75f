package natsjs_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
	"github.com/outbox-relay/outbox-relay/sinks/sinktest"
)

// makeStream makes a stream that takes batches.
func makeStream(t testing.TB, js jetstream.JetStream, c jetstream.StreamConfig) jetstream.Stream {
	t.Helper()
	c.AllowBatchPublish = true
	stream, err := js.CreateStream(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// nextID makes message ids that no other message of the package has.
var nextID = struct {
	sync.Mutex
	n int
}{n: 1_000_000}

func newMessage(topic string) *relay.Message {
	nextID.Lock()
	defer nextID.Unlock()
	nextID.n++
	return messageTo(topic, nextID.n)
}

// lane publishes messages one by one, to topics below the one given, until one would go
// in a lane, which it returns.
func lane(t testing.TB, s *natsjs.Sink, under string) relay.Lane {
	t.Helper()
	var l relay.Lane
	sinktest.Eventually(t, 60*time.Second, "a lane", func() error {
		m := newMessage("")
		m.Topic = fmt.Sprintf("%s.%d", under, m.ID)
		if l = s.Lane(m); l != (relay.Lane{}) {
			return nil
		}
		return fmt.Errorf("no lane; a message alone is %s", await(t, s, m).Class)
	})
	return l
}

// report is the outcome of the message with that place.
type report struct {
	place int
	relay.Outcome
}

// run hands messages over in one lane, and returns their outcomes in the order in which
// they were reported.
func run(t testing.TB, s *natsjs.Sink, l relay.Lane, messages ...*relay.Message) []report {
	t.Helper()
	reports := make(chan report, 2*len(messages))
	for place, m := range messages {
		s.PublishIn(l, m, func(_ *relay.Message, o relay.Outcome) { reports <- report{place, o} })
	}
	s.Flush()
	return collect(t, reports, len(messages))
}

func collect(t testing.TB, reports <-chan report, n int) []report {
	t.Helper()
	var all []report
	for len(all) < n {
		select {
		case r := <-reports:
			all = append(all, r)
		case <-time.After(60 * time.Second):
			t.Fatalf("reported are %d of %d messages: %v", len(all), n, all)
		}
	}
	return all
}

// messagesTo makes n messages, all to the topic.
func messagesTo(topic string, n int) []*relay.Message {
	all := make([]*relay.Message, n)
	for i := range all {
		all[i] = newMessage(topic)
	}
	return all
}

// inOrder checks that the outcomes were reported in the order of the messages, and that
// the classes follow each other: so many of each.
func inOrder(t testing.TB, reports []report, want ...any) {
	t.Helper()
	place := 0
	for i := 0; i < len(want); i += 2 {
		for range want[i].(int) {
			r := reports[place]
			if r.place != place {
				t.Fatalf("the outcome of message %d was reported as the %dth", r.place, place)
			}
			if class := want[i+1].(relay.Class); r.Class != class {
				t.Fatalf("message %d of %d is %s %q (%v), want %s", place, len(reports), r.Class, r.Type, r.Err, class)
			}
			place++
		}
	}
	if place != len(reports) {
		t.Fatalf("%d outcomes, want %d", len(reports), place)
	}
}

// storedIDs are the ids that the stream has for the subject, in order.
func storedIDs(t testing.TB, js jetstream.JetStream, stream, subject string) []string {
	t.Helper()
	var ids []string
	for _, m := range read(t, js, stream, subject) {
		ids = append(ids, m.Headers().Get("Nats-Msg-Id"))
	}
	return ids
}
