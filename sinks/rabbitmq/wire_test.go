package rabbitmq_test

import (
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
)

func TestPropertiesOfAMessage(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	queue := p.queue("all", "#", nil)
	s := open(t, p.options())
	reach(t, s)
	m := messageTo("a", 1)
	m.CreatedAt = time.Date(2024, 2, 29, 23, 59, 59, 999_999_999, time.UTC)
	expect(t, s, m, relay.Acknowledged, "", "")
	stored := take(t, queue)
	if len(stored) != 1 {
		t.Fatalf("%d messages are stored", len(stored))
	}
	d := stored[0]
	if d.DeliveryMode != amqp.Persistent {
		t.Errorf("delivery mode is %d: the message does not outlast the broker", d.DeliveryMode)
	}
	if want := m.CreatedAt.Truncate(time.Second); !d.Timestamp.Equal(want) {
		t.Errorf("timestamp is %v, want %v", d.Timestamp, want)
	}
	if d.MessageId != m.MessageID.String() {
		t.Errorf("message id is %q, want %q", d.MessageId, m.MessageID)
	}
}

// The protocol's timestamp counts seconds from 1970 on, without a sign.
func TestTimeThatATimestampCannotCarryIsLeftOut(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	queue := p.queue("all", "#", nil)
	s := open(t, p.options())
	reach(t, s)
	times := []time.Time{
		time.Unix(-1, 0), time.Date(-4712, 1, 1, 0, 0, 0, 0, time.UTC), // PostgreSQL's first one
		time.Unix(0, 0), time.Date(294276, 12, 31, 23, 59, 59, 0, time.UTC), // and its last one
	}
	for i, at := range times {
		m := messageTo("a", i)
		m.CreatedAt = at
		expect(t, s, m, relay.Acknowledged, "", "")
	}
	stored := take(t, queue)
	if len(stored) != len(times) {
		t.Fatalf("%d messages are stored", len(stored))
	}
	for i, at := range times {
		want := at
		if i < 2 {
			want = time.Time{}
		}
		if got := stored[i].Timestamp; !got.Equal(want) {
			t.Errorf("of %v the timestamp is %v, want %v", at, got, want)
		}
	}
}

func TestMessagesOfOneKeyKeepTheirOrder(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	queue := p.queue("all", "#", nil)
	s := open(t, p.options())
	reach(t, s)
	const n = 2000
	r := newResults(t)
	for i := range n {
		m := messageTo("a", i)
		m.Keyed, m.Key = true, "k"
		s.Publish(m, r.report)
	}
	for i := range n {
		check(t, messageTo("a", i), r.await(int64(i)), relay.Acknowledged, "", "")
	}
	stored := take(t, queue)
	if len(stored) != n {
		t.Fatalf("%d messages are stored, want %d", len(stored), n)
	}
	for i, d := range stored {
		if want := messageTo("a", i).MessageID.String(); d.MessageId != want {
			t.Fatalf("at place %d is message %s, want %s", i, d.MessageId, want)
		}
	}
}

// The properties fit one frame, and what the broker adds for consumers fits too:
// one byte more is not written.
func TestHeadersThatLeaveNoRoomInAFrameAreRejected(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	p.queue("all", "#", nil)
	s := open(t, p.options())
	reach(t, s)
	// Frame, class to flags, type, table, mode, id, time; name, kind and length.
	const room = 131072 - 8192 - 8 - 14 - 1 - 4 - 1 - 37 - 8 - 1 - 3 - 1 - 4
	for size, class := range map[int]relay.Class{room: relay.Acknowledged, room + 1: relay.Rejected, 200_000: relay.Rejected} {
		m := messageTo("a", size)
		m.ContentType = ""
		m.Headers = []relay.Header{{Name: "big", Value: strings.Repeat("v", size)}}
		o := await(t, s, m)
		if class == relay.Acknowledged {
			check(t, m, o, class, "", "")
		} else {
			check(t, m, o, class, relay.ErrorTypeTooLarge, "frame_max")
		}
	}
}
