package natsjs_test

import (
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
)

// laneRefusal is a reason why the message in the middle of a lane is not stored.
type laneRefusal struct {
	stream jetstream.StreamConfig // but its name and its subjects
	// spoil changes the message in the middle, or the broker, once a lane is open.
	spoil func(t *testing.T, b *broker, m *relay.Message)
	class relay.Class
	kind  relay.ErrorType
	// first says that already the first message is not taken.
	first bool
}

// edited changes the stream of the test.
func edited(change func(*jetstream.StreamConfig)) func(*testing.T, *broker, *relay.Message) {
	return func(t *testing.T, b *broker, _ *relay.Message) {
		js := b.admin(t)
		stream, err := js.Stream(t.Context(), "FAST")
		if err != nil {
			t.Fatal(err)
		}
		config := stream.CachedInfo().Config
		change(&config)
		if _, err := js.UpdateStream(t.Context(), config); err != nil {
			t.Fatal(err)
		}
	}
}

func payload(n int) func(*testing.T, *broker, *relay.Message) {
	return func(_ *testing.T, _ *broker, m *relay.Message) { m.Payload = make([]byte, n) }
}

var laneRefusals = map[string]laneRefusal{
	"full by subject": {
		stream: jetstream.StreamConfig{MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true},
		spoil: func(t *testing.T, b *broker, m *relay.Message) {
			m.Topic = "fast.full"
			if _, err := b.admin(t).Publish(t.Context(), m.Topic, nil); err != nil {
				t.Fatal(err)
			}
		},
		class: relay.Refused, kind: relay.ErrorTypeFull,
	},
	"full by bytes, but not for the others": {
		stream: jetstream.StreamConfig{MaxBytes: 20_000, Discard: jetstream.DiscardNew}, spoil: payload(30_000),
		class: relay.Refused, kind: relay.ErrorTypeFull,
	},
	"larger than the stream takes": {stream: jetstream.StreamConfig{MaxMsgSize: 1000}, spoil: payload(2000), class: relay.Rejected, kind: relay.ErrorTypeTooLarge},
	"larger than the server takes": {spoil: payload(70_000), class: relay.Rejected, kind: relay.ErrorTypeTooLarge},
	"a header that expects a sequence": {
		spoil: func(_ *testing.T, _ *broker, m *relay.Message) {
			m.Headers = []relay.Header{{Name: "Nats-Expected-Last-Sequence", Value: "999"}}
		},
		class: relay.Rejected, kind: relay.ErrorTypeInvalid,
	},
	"denied": {
		spoil: func(_ *testing.T, _ *broker, m *relay.Message) { m.Topic = "fast.denied" },
		class: relay.Refused, kind: relay.ErrorTypeForbidden,
	},
	"unroutable since a moment": {
		spoil: func(t *testing.T, b *broker, m *relay.Message) {
			m.Topic = "fast.gone"
			edited(func(c *jetstream.StreamConfig) { c.Subjects = []string{"fast.good.*", "fast.warm.*"} })(t, b, m)
		},
		class: relay.Refused, kind: relay.ErrorTypeUnroutable,
	},
	"sealed": {
		spoil: edited(func(c *jetstream.StreamConfig) { c.Sealed = true }),
		class: relay.Refused, kind: relay.ErrorTypeNacked, first: true,
	},
	"deleted": {
		spoil: func(t *testing.T, b *broker, _ *relay.Message) {
			if err := b.admin(t).DeleteStream(t.Context(), "FAST"); err != nil {
				t.Fatal(err)
			}
		},
		class: relay.Refused, kind: relay.ErrorTypeUnroutable, first: true,
	},
	"batches switched off": {
		spoil: edited(func(c *jetstream.StreamConfig) { c.AllowBatchPublish = false }),
		class: relay.Acknowledged, first: true, // alone
	},
}

const laneUsers = `max_payload: 65536
authorization { users: [
	{user: admin, password: a},
	{user: relay, password: r, permissions: {publish: {deny: ["fast.denied"]}}}]}`

func TestNothingOfALaneIsStoredAfterARefusal(t *testing.T) {
	for name, r := range laneRefusals {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := startBrokerAs(t, laneUsers, "admin:a")
			js := b.admin(t)
			r.stream.Name, r.stream.Subjects = "FAST", []string{"fast.>"}
			makeStream(t, js, r.stream)
			s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://relay:r@" + b.Addr()}})
			reach(t, s)
			l := lane(t, s, "fast.warm")
			all := make([]*relay.Message, 9)
			for i := range all {
				all[i] = newMessage("fast.good." + string(rune('a'+i)))
			}
			const middle = 4
			r.spoil(t, b, all[middle])
			before := middle
			if r.first {
				before = 0
			}
			reports := run(t, s, l, all...)
			inOrder(t, reports, before, relay.Acknowledged, 1, r.class, len(all)-before-1, relay.Withdrawn)
			if got := reports[before].Type; got != r.kind {
				t.Errorf("the refusal is %q (%v), want %q", got, reports[before].Err, r.kind)
			}
			var want []string
			for i := range before {
				want = append(want, all[i].MessageID.String())
			}
			if r.class == relay.Acknowledged {
				want = append(want, all[before].MessageID.String())
			}
			if name != "deleted" && !slices.Equal(storedIDs(t, js, "FAST", "fast.good.*"), want) {
				t.Errorf("stored are %q, want %q", storedIDs(t, js, "FAST", "fast.good.*"), want)
			}
			if r.first {
				return
			}
			// The others get through, behind it.
			for _, m := range all[middle+1:] {
				if o := await(t, s, m); o.Class != relay.Acknowledged {
					t.Errorf("a withdrawn message again is %s %q (%v)", o.Class, o.Type, o.Err)
				}
			}
		})
	}
}

func TestTopicThatWasRefusedEndsNoFurtherBatch(t *testing.T) {
	b := startBroker(t, "")
	js := b.admin(t)
	stream := makeStream(t, js, jetstream.StreamConfig{
		Name: "FAST", Subjects: []string{"fast.>"}, MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true,
	})
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.URL()}})
	reach(t, s)
	l := lane(t, s, "fast.warm")
	all := []*relay.Message{newMessage("fast.a"), newMessage("fast.full"), newMessage("fast.full")}
	inOrder(t, run(t, s, l, all...), 2, relay.Acknowledged, 1, relay.Refused)
	lane(t, s, "fast.warm") // the stream takes batches again
	if got := s.Lane(newMessage("fast.full")); got != (relay.Lane{}) {
		t.Error("a topic that was just refused goes in a batch")
	}
	if s.Lane(newMessage("fast.b")) == (relay.Lane{}) {
		t.Error("another topic goes in no batch")
	}
	s.Flush()
	if err := stream.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(t, s, newMessage("fast.full"), relay.Acknowledged, "", "")
	lane(t, s, "fast.warm")
	if s.Lane(newMessage("fast.full")) == (relay.Lane{}) {
		t.Error("a topic that is acknowledged again goes in no batch")
	}
	s.Flush()
}

func TestRetryGoesInNoBatch(t *testing.T) {
	b := startBroker(t, "")
	makeStream(t, b.admin(t), jetstream.StreamConfig{Name: "FAST", Subjects: []string{"fast.>"}})
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.URL()}})
	reach(t, s)
	lane(t, s, "fast.warm")
	m := newMessage("fast.a")
	m.Attempts = 1
	if s.Lane(m) != (relay.Lane{}) {
		t.Error("a message that was refused before would take others with it")
	}
	s.Flush()
}

func TestNoBatchesWhereTheyAreOffOrNotAllowed(t *testing.T) {
	b := startBrokerAs(t, `authorization { users: [
		{user: admin, password: a},
		{user: blind, password: r, permissions: {publish: {deny: ["$JS.API.>"]}}},
		{user: deaf, password: r, permissions: {subscribe: ["_INBOX.*.*"]}}]}`, "admin:a")
	makeStream(t, b.admin(t), jetstream.StreamConfig{Name: "FAST", Subjects: []string{"fast.>"}})
	for name, o := range map[string]natsjs.Options{
		"switched off":                   {SinkOptions: link.SinkOptions{URLs: b.url}, FastIngest: natsjs.FastIngestOff},
		"look-ups are denied":            {SinkOptions: link.SinkOptions{URLs: "nats://blind:r@" + b.Addr()}},
		"acknowledgements are not heard": {SinkOptions: link.SinkOptions{URLs: "nats://deaf:r@" + b.Addr()}},
		"the stream does not allow them": {SinkOptions: link.SinkOptions{URLs: b.url}},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, o)
			reach(t, s)
			topic := "fast.a"
			if name == "the stream does not allow them" {
				topic = goodTopic
			}
			inNoBatch := func(messages int) {
				for range messages {
					m := newMessage(topic)
					if s.Lane(m) != (relay.Lane{}) {
						t.Fatal("a lane")
					}
					expect(t, s, m, relay.Acknowledged, "", "")
				}
			}
			inNoBatch(50)
			// By now the streams have been looked up: they have been for a sink that came later.
			other := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.url}})
			reach(t, other)
			lane(t, other, "fast.warm")
			other.Flush()
			inNoBatch(50)
		})
	}
}
