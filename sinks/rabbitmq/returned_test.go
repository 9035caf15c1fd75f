package rabbitmq

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
)

// arrive has messages given back, in this order, and taken note of.
func (r *returned) arrive(messages ...amqp.Return) {
	from := make(chan amqp.Return, len(messages))
	for _, m := range messages {
		from <- m
	}
	r.drain(from)
}

func back(m *relay.Message, text string) amqp.Return {
	return amqp.Return{MessageId: m.MessageID.String(), RoutingKey: m.Topic, ReplyCode: amqp.NoRoute, ReplyText: text}
}

// check demands what take says of a message: the text, or "" for not given back.
func (r *returned) check(t *testing.T, m *relay.Message, want string) {
	t.Helper()
	text, ok := r.take(m)
	if text != want || ok != (want != "") {
		t.Errorf("take says %q, %t, want %q", text, ok, want)
	}
}

func (r *returned) checkEmpty(t *testing.T) {
	t.Helper()
	if len(r.texts) > 0 {
		t.Errorf("kept though all is taken: %v", r.texts)
	}
}

func row(id byte, topic string) *relay.Message {
	m := &relay.Message{Topic: topic}
	m.MessageID[15] = id
	return m
}

// Two rows may share an id, and then a topic too. Each return counts for one.
func TestReturnsAreMatchedByIDAndTopicAndCounted(t *testing.T) {
	t.Parallel()
	one, twin, elsewhere, other := row(1, "a"), row(1, "a"), row(1, "b"), row(2, "a")
	var r returned
	r.check(t, one, "")
	r.arrive(back(one, "first"), back(other, "other's"), back(twin, "second"))
	r.check(t, elsewhere, "")
	r.check(t, one, "312 first")
	r.check(t, twin, "312 second")
	r.check(t, one, "")
	r.check(t, other, "312 other's")
	r.check(t, other, "")
	r.checkEmpty(t)
}

// The channel of returns is closed with the connection; what came before counts.
func TestReturnsBeforeTheEndCount(t *testing.T) {
	t.Parallel()
	m := row(1, "a")
	from := make(chan amqp.Return, 1)
	from <- back(m, "last")
	close(from)
	var r returned
	r.drain(from)
	r.check(t, m, "312 last")
	r.checkEmpty(t)
}
