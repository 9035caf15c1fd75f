package natsjs_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
)

func TestCreateAddsTopicsToOneStreamAndPublishes(t *testing.T) {
	b := startBroker(t, "")
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.URL(), Window: 100, Topology: natsjs.Create}, StreamName: "MADE"})
	reach(t, s)
	var all sync.WaitGroup
	for i, topic := range []string{"clicks", "clicks.eu.created", "orders.placed", "orders", goodTopic, "clicks", "orders.placed"} {
		all.Add(1)
		s.Publish(messageTo(topic, i), func(m *relay.Message, o relay.Outcome) {
			defer all.Done()
			if o.Class != relay.Acknowledged || o.Duplicate {
				t.Errorf("message %d to %s is %s %q (%v), duplicate %v", m.ID, m.Topic, o.Class, o.Type, o.Err, o.Duplicate)
			}
		})
	}
	all.Wait()
	js := b.admin(t)
	made, err := js.Stream(t.Context(), "MADE")
	if err != nil {
		t.Fatal(err)
	}
	config := made.CachedInfo().Config
	slices.Sort(config.Subjects)
	if want := []string{"clicks", "clicks.>", "orders", "orders.>"}; !slices.Equal(config.Subjects, want) {
		t.Errorf("subjects are %q, want %q", config.Subjects, want)
	}
	if config.Storage != jetstream.FileStorage {
		t.Errorf("storage is %s", config.Storage)
	}
	if n := made.CachedInfo().State.Msgs; n != 6 {
		t.Errorf("the stream has %d messages, want 6: the topic of another stream stays there", n)
	}
}

func TestCreateRefusesWhatOverlapsAnotherStream(t *testing.T) {
	b := startBroker(t, "")
	if _, err := b.admin(t).CreateStream(t.Context(), jetstream.StreamConfig{Name: "PART", Subjects: []string{"orders.new"}}); err != nil {
		t.Fatal(err)
	}
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.URL(), Topology: natsjs.Create}})
	reach(t, s)
	got := await(t, s, messageTo("orders.old", 1))
	if got.Class != relay.Refused || got.Type != relay.ErrorTypeUnroutable || !strings.Contains(got.Err.Error(), "overlap") {
		t.Errorf("outcome is %s %q (%v)", got.Class, got.Type, got.Err)
	}
	if got := await(t, s, messageTo("orders.new", 2)); got.Class != relay.Acknowledged {
		t.Errorf("outcome is %s %q (%v)", got.Class, got.Type, got.Err)
	}
}

func TestVerifyNeverCreates(t *testing.T) {
	b := startBroker(t, "")
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.URL()}})
	reach(t, s)
	if got := await(t, s, messageTo("orders.old", 1)); got.Type != relay.ErrorTypeUnroutable {
		t.Errorf("outcome is %s %q (%v)", got.Class, got.Type, got.Err)
	}
	var names []string
	for name := range b.admin(t).StreamNames(t.Context()).Name() {
		names = append(names, name)
	}
	slices.Sort(names)
	if !slices.Equal(names, []string{"FULL", "GOOD"}) {
		t.Errorf("streams are %q", names)
	}
}
