package rabbitmq_test

import (
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
)

// The guarantees name queues that drop messages that they have acknowledged, and a
// topic with a queue that rejects and one that does not. RabbitMQ does that by itself,
// and does not tell the sink.
func TestQueueWithoutTimeToLiveDropsWhatItAcknowledges(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	queue := p.queue("now-or-never", "a", amqp.Table{"x-message-ttl": 0})
	s := open(t, p.options())
	reach(t, s)
	expect(t, s, messageTo("a", 1), relay.Acknowledged, "", "")
	if stored := take(t, queue); len(stored) != 0 {
		t.Errorf("%d messages are stored", len(stored))
	}
}

func TestQueueThatRejectsHasEachAttemptStoredBesideIt(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	p.queue("full", "a", amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"})
	sibling := p.queue("sibling", "a", nil)
	s := open(t, p.options())
	reach(t, s)
	expect(t, s, messageTo("a", 1), relay.Acknowledged, "", "")
	const attempts = 3
	for range attempts {
		expect(t, s, messageTo("a", 2), relay.Refused, relay.ErrorTypeNacked, "")
	}
	eventually(t, "each attempt is in the queue beside the full one", func() error {
		q, err := p.ch.QueueDeclarePassive(sibling, true, false, false, false, nil)
		if err == nil && q.Messages != 1+attempts {
			return fmt.Errorf("%d messages", q.Messages)
		}
		return err
	})
}
