package rabbitserver_test

import (
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/rabbitserver"
)

// The leader of a quorum queue is busy with something else: the broker calls the
// queue empty.
func TestQueueThatIsCalledEmptyIsNot(t *testing.T) {
	s, err := rabbitserver.Start(t.Context(), rabbitserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	const queue, messages = "busy", 3
	ch := channel(t, s.URL())
	if _, err := ch.QueueDeclare(queue, true, false, false, false, amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum}); err != nil {
		t.Fatal(err)
	}
	if n, err := rabbitserver.QueueLength(ch, queue); err != nil || n != 0 {
		t.Errorf("an empty queue has %d messages (%v)", n, err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	for range messages {
		dc, err := ch.PublishWithDeferredConfirm("", queue, true, false, amqp.Publishing{DeliveryMode: amqp.Persistent})
		if err != nil {
			t.Fatal(err)
		}
		if ok, err := dc.WaitContext(t.Context()); err != nil || !ok {
			t.Fatalf("confirmed %v: %v", ok, err)
		}
	}
	ctl := func(expr string) {
		t.Helper()
		if _, err := s.Ctl(t.Context(), "eval", expr); err != nil {
			t.Fatal(err)
		}
	}
	ctl("sys:suspend('%2F_" + queue + "').")
	q, err := ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil || q.Messages != 0 {
		t.Errorf("the broker says that there are %d messages (%v): nothing is tested", q.Messages, err)
	}
	// It goes on while it is being asked.
	ctl("timer:apply_after(2000, sys, resume, ['%2F_" + queue + "']).")
	if n, err := rabbitserver.QueueLength(ch, queue); err != nil || n != messages {
		t.Errorf("the queue has %d messages (%v), want %d", n, err, messages)
	}
}
