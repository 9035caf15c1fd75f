package rabbitmq_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/rabbitmq"
)

func TestMissingExchangeIsAwaited(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	p.queue("all", "#", nil)
	s := open(t, p.options())
	reach(t, s)
	expect(t, s, messageTo("a", 1), relay.Acknowledged, "", "")
	for round := range 3 {
		if err := p.ch.ExchangeDelete(p.exchange, false, false); err != nil {
			t.Fatal(err)
		}
		// Alone in flight: nobody took it, that is known.
		expect(t, s, messageTo("a", 10*round+2), relay.Unavailable, relay.ErrorTypeNotReady, `exchange "`+p.exchange+`" does not exist`)
		for range 5 {
			if err := probe(t, s); err == nil || !strings.Contains(err.Error(), "does not exist") {
				t.Errorf("probe says %v", err)
			}
		}
		expect(t, s, messageTo("a", 10*round+3), relay.Unavailable, relay.ErrorTypeNotReady, "OUTBOX_TOPOLOGY=create")
		p.declareExchange()
		if err := p.ch.QueueBind(p.exchange+"-all", "#", p.exchange, false, nil); err != nil {
			t.Fatal(err)
		}
		reach(t, s)
		expect(t, s, messageTo("a", 10*round+4), relay.Acknowledged, "", "")
	}
}

func TestExchangeThatIsMissingAtTheStartIsAwaited(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	if err := p.ch.ExchangeDelete(p.exchange, false, false); err != nil {
		t.Fatal(err)
	}
	s := open(t, p.options())
	eventually(t, "a connection", func() error {
		if err := probe(t, s); err == nil || !strings.Contains(err.Error(), "does not exist") {
			return err
		}
		return nil
	})
	expect(t, s, messageTo("a", 1), relay.Unavailable, relay.ErrorTypeNotReady, "does not exist")
	p.declareExchange()
	p.queue("all", "#", nil)
	reach(t, s)
	expect(t, s, messageTo("a", 2), relay.Acknowledged, "", "")
}

// Many messages are in flight when the exchange is deleted. None is refused or reported
// twice, and each that is acknowledged is stored.
func TestExchangeDeletedUnderLoadRefusesNothing(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeQuorum)
	queue := p.queue("all", "#", nil)
	s := open(t, p.options())
	reach(t, s)
	r := newResults(t)
	const n = 4000
	for i := range n {
		if i == n/2 {
			if err := p.ch.ExchangeDelete(p.exchange, false, false); err != nil {
				t.Fatal(err)
			}
		}
		s.Publish(messageTo("a", i), r.report)
	}
	acknowledged := 0
	var unavailable []int
	for i := range n {
		switch o := r.await(int64(i)); o.Class {
		case relay.Acknowledged:
			acknowledged++
		case relay.Unavailable:
			unavailable = append(unavailable, i)
			check(t, messageTo("a", i), o, o.Class, relay.ErrorTypeNotReady, "does not exist")
		case relay.Unknown:
			check(t, messageTo("a", i), o, o.Class, relay.ErrorTypeNotReady, "does not exist")
		case relay.Refused:
			// The exchange was there, the binding was not any more.
			check(t, messageTo("a", i), o, o.Class, relay.ErrorTypeUnroutable, "")
		default:
			t.Fatalf("message %d is %s %q (%v)", i, o.Class, o.Type, o.Err)
		}
	}
	distinct := map[string]bool{}
	for _, d := range take(t, queue) {
		distinct[d.MessageId] = true
	}
	if len(distinct) < acknowledged {
		t.Errorf("%d are acknowledged and %d stored", acknowledged, len(distinct))
	}
	for _, i := range unavailable {
		if distinct[messageTo("a", i).MessageID.String()] {
			t.Fatalf("message %d was reported as not taken, and is stored", i)
		}
	}
}

// A queue has the message, and has not confirmed it when the exchange is deleted. The
// message is not reported as one that was not taken.
func TestExchangeDeletedBehindAMessageThatAQueueHas(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	queue := p.queue("slow", "slow", nil)
	o := p.options()
	o.Name, o.Channels, o.AckTimeout = "behind "+p.exchange, 1, time.Minute
	s := open(t, o)
	reach(t, s)
	resume := suspend(t, queue)
	r := newResults(t)
	s.Publish(messageTo("slow", 1), r.report)
	eventually(t, "the broker owes a confirm", func() error {
		if n := owed(t, o.Name); n != "1" {
			return errors.New(n)
		}
		return nil
	})
	if err := p.ch.ExchangeDelete(p.exchange, false, false); err != nil {
		t.Fatal(err)
	}
	s.Publish(messageTo("slow", 2), r.report)
	for i := range 2 {
		check(t, messageTo("slow", 1+i), r.await(int64(1+i)), relay.Unknown, relay.ErrorTypeNotReady, "does not exist")
	}
	resume()
	eventually(t, "the queue has the first one", func() error {
		if n := len(take(t, queue)); n != 1 {
			return fmt.Errorf("%d messages", n)
		}
		return nil
	})
}

func TestUserThatMayNotWriteToTheExchange(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	p.queue("all", "#", nil)
	user := p.restricted(".*")
	ctl(t, "set_permissions", "-p", "/", user, "", "^$", "")
	o := p.options()
	o.URLs = server(t).URLAs(user, "secret")
	s := open(t, o)
	reach(t, s) // a user without the right to write may still check the exchange
	expect(t, s, messageTo("a", 1), relay.Unavailable, relay.ErrorTypeNotReady, "grant it: rabbitmqctl eval")
	ctl(t, "set_permissions", "-p", "/", user, "", ".*", "")
	eventually(t, "a message acknowledged", func() error {
		reach(t, s)
		if o := await(t, s, messageTo("a", 2)); o.Class != relay.Acknowledged {
			return o.Err
		}
		return nil
	})
}

// An exchange that takes messages from other exchanges only: no topic is to blame,
// and no attempt is counted.
func TestInternalExchangeIsNoMessagesFault(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	if err := p.ch.ExchangeDelete(p.exchange, false, false); err != nil {
		t.Fatal(err)
	}
	if err := p.ch.ExchangeDeclare(p.exchange, amqp.ExchangeTopic, true, false, true, false, nil); err != nil {
		t.Fatal(err)
	}
	s := open(t, p.options())
	reach(t, s) // a user without the right to publish may still check the exchange
	for i := range 3 {
		reach(t, s)
		expect(t, s, messageTo("a", i), relay.Unavailable, relay.ErrorTypeNotReady, "name another exchange in OUTBOX_RABBITMQ_EXCHANGE")
	}
	if err := p.ch.ExchangeDelete(p.exchange, false, false); err != nil {
		t.Fatal(err)
	}
	p.declareExchange()
	p.queue("all", "#", nil)
	eventually(t, "a message acknowledged", func() error {
		reach(t, s)
		if o := await(t, s, messageTo("a", 3)); o.Class != relay.Acknowledged {
			return o.Err
		}
		return nil
	})
}

func TestDefaultExchangeRoutesByQueueName(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	queue := p.queue("named", "x", nil)
	o := p.options()
	o.Exchange = ""
	s := open(t, o)
	reach(t, s)
	expect(t, s, messageTo(queue, 1), relay.Acknowledged, "", "")
	expect(t, s, messageTo("no-such-queue", 2), relay.Refused, relay.ErrorTypeUnroutable, "no-such-queue")
}

// Not parallel: the queue's name is fixed.
func TestTopologyIsCreated(t *testing.T) {
	o := rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: server(t).URL(), Topology: rabbitmq.Create}, Exchange: "created"}
	_, ch := connect(t)
	t.Cleanup(func() {
		_ = ch.ExchangeDelete("created", false, false)
		_, _ = ch.QueueDelete("outbox", false, false, false)
	})
	for range 2 { // what is there is left
		s := open(t, o)
		reach(t, s)
		expect(t, s, messageTo("any.topic", 1), relay.Acknowledged, "", "")
	}
	if got := ctl(t, "list_queues", "name", "type", "durable"); !strings.Contains(got, "outbox\tquorum\ttrue") && !strings.Contains(got, "outbox\trabbit_quorum_queue\ttrue") {
		t.Errorf("queues: %s", got)
	}
	if got := ctl(t, "list_exchanges", "name", "type", "durable"); !strings.Contains(got, "created\ttopic\ttrue") {
		t.Errorf("exchanges: %s", got)
	}
	// An existing exchange of another kind is not changed.
	if err := ch.ExchangeDelete("created", false, false); err != nil {
		t.Fatal(err)
	}
	if err := ch.ExchangeDeclare("created", "fanout", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	s := open(t, o)
	eventually(t, "the mismatch is told", func() error {
		if err := probe(t, s); err == nil || !strings.Contains(err.Error(), "inequivalent arg 'type'") {
			return err
		}
		return nil
	})
}

// Not parallel: the queue's name is fixed.
func TestCreatedQueueDropsNoMessageThatComesBackOften(t *testing.T) {
	_, ch := connect(t)
	t.Cleanup(func() {
		_ = ch.ExchangeDelete("created", false, false)
		_, _ = ch.QueueDelete("outbox", false, false, false)
	})
	s := open(t, rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: server(t).URL(), Topology: rabbitmq.Create}, Exchange: "created"})
	reach(t, s)
	expect(t, s, messageTo("any.topic", 1), relay.Acknowledged, "", "")
	messages, err := ch.Consume("outbox", "", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	const enough = 25 // more than the limit of 20 that RabbitMQ 4 has by itself
	for i := range enough {
		select {
		case m := <-messages:
			if err := m.Nack(false, true); err != nil {
				t.Fatal(err)
			}
		case <-time.After(patience):
			t.Fatalf("the message did not come again after it was put back %d times", i)
		}
	}
	// RabbitMQ 3.13 has no limit by itself: there the argument has to be seen.
	if got, want := queueArguments(t, "outbox"), `{<<"x-delivery-limit">>,signedint,2147483647}`; !strings.Contains(got, want) {
		t.Errorf("the queue has the arguments %s, want %s among them", got, want)
	}
}

// queueArguments asks for one queue alone: list_queues waits for those that tests have
// suspended.
func queueArguments(t *testing.T, queue string) string {
	t.Helper()
	return ctl(t, "eval", `{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"`+queue+`">>)), amqqueue:get_arguments(Q).`)
}

// Not parallel: the queue's name is fixed.
func TestQueueThatExistsIsLeftAsItIs(t *testing.T) {
	for _, kind := range []string{amqp.QueueTypeQuorum, amqp.QueueTypeClassic} {
		_, ch := connect(t)
		if _, err := ch.QueueDeclare("outbox", true, false, false, false, amqp.Table{amqp.QueueTypeArg: kind}); err != nil {
			t.Fatal(err)
		}
		s := open(t, rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: server(t).URL(), Topology: rabbitmq.Create}, Exchange: "created"})
		reach(t, s)
		expect(t, s, messageTo("any.topic", 1), relay.Acknowledged, "", "")
		if got := queueArguments(t, "outbox"); strings.Contains(got, "x-delivery-limit") {
			t.Errorf("the %s queue that existed has a limit now: %s", kind, got)
		}
		if err := ch.ExchangeDelete("created", false, false); err != nil {
			t.Fatal(err)
		}
		if _, err := ch.QueueDelete("outbox", false, false, false); err != nil {
			t.Fatal(err)
		}
	}
}
