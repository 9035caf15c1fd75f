package rabbitmq_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/rabbitmq"
)

// beside publishes messages one after the other, while the test does something else.
type beside struct {
	t    *testing.T
	sink relay.Sink
	next int
}

// send publishes a message to the topic and returns what became of it.
func (b *beside) send(topic, payload string) relay.Outcome {
	b.t.Helper()
	b.next++
	m := messageTo(topic, 1_000_000+b.next)
	if payload != "" {
		m.Payload = []byte(payload)
	}
	outcomes := make(chan relay.Outcome, 1)
	b.sink.Publish(m, func(_ *relay.Message, o relay.Outcome) { outcomes <- o })
	select {
	case o := <-outcomes:
		return o
	case <-time.After(60 * time.Second):
		b.t.Fatalf("no outcome of a message to %q", topic)
		return relay.Outcome{}
	}
}

// good checks that a message to the topic good is acknowledged. Its connection may be
// given up once, before the late topics have their own. If a message of it was in flight
// then, it counts as late too until its first confirm.
func (b *beside) good() {
	b.t.Helper()
	eventually(b.t, "a message to the other topic is acknowledged", func() error {
		switch o := b.send("good", ""); o.Class {
		case relay.Acknowledged:
			return nil
		case relay.Unknown, relay.Unavailable, relay.Postponed:
			return o.Err
		default:
			b.t.Fatalf("a message to the other topic is %s %q (%v)", o.Class, o.Type, o.Err)
			return nil
		}
	})
}

// withLateTopic returns a sink with one late topic, which has a connection of its own.
func withLateTopic(t *testing.T) (p *place, s *rabbitmq.Sink, proxy *faultproxy.Proxy, b *beside, resume func()) {
	t.Helper()
	p = newPlace(t, amqp.QueueTypeQuorum)
	p.queue("good", "good", amqp.Table{"x-max-length": 1000})
	resume = suspend(t, p.queue("stopped", "stopped", nil))
	proxy, err := faultproxy.Start(t.Context(), server(t).Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	o := p.options()
	o.URLs, o.Name, o.AckTimeout = "amqp://"+proxy.Addr(), "late topic "+p.exchange, 6*time.Second
	s = open(t, o)
	reach(t, s)
	b = &beside{t: t, sink: s}
	r := newResults(t)
	s.Publish(messageTo("stopped", 1), r.report)
	eventually(t, "the late topic has a connection of its own", func() error {
		b.good()
		if !hasLateConnection(t, o.Name) {
			return errors.New("not yet")
		}
		return nil
	})
	r.await(1)
	return p, s, proxy, b, resume
}

// hasLateConnection says whether the sink with this name has a connection for late topics.
func hasLateConnection(t *testing.T, name string) bool {
	t.Helper()
	return ctl(t, "eval", `length([C || {C, Of} <- ets:tab2list(connection_created), {client_properties, Ps} <- [lists:keyfind(client_properties, 1, Of)],
		lists:keymember(<<"`+name+`, late topics">>, 3, Ps)]).`) != "0"
}

// The connection of the late topics is lost with several messages in flight, and the
// main connection is not. Nobody knows whether these messages are to blame.
func TestLossOfTheLateTopicsConnectionCountsNoAttempt(t *testing.T) {
	t.Parallel()
	_, s, proxy, b, resume := withLateTopic(t)
	const last = "the-last-message"
	proxy.CutOn([]byte(last))
	r := newResults(t)
	for n := 2; n < 5; n++ {
		m := messageTo("stopped", n)
		if n == 4 {
			m.Payload = []byte(last)
		}
		s.Publish(m, r.report)
	}
	for n := 2; n < 5; n++ {
		check(t, messageTo("stopped", n), r.await(int64(n)), relay.Postponed, relay.ErrorTypeDisconnected, "")
	}
	proxy.CutOn(nil)
	b.good()
	resume()
	eventually(t, "the topic is well again", func() error {
		if o := b.send("stopped", ""); o.Class != relay.Acknowledged {
			return fmt.Errorf("%s: %w", o.Class, o.Err)
		}
		return nil
	})
}

// A message of a late topic that ends its connection is found: at the third loss it is
// alone, and takes an attempt. The others do not notice. One that is too long for the
// sockets ends the connection while it is being written.
func TestMessageThatEndsTheLateTopicsConnectionTakesAnAttempt(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]int{"short": 0, "long": 15 << 20} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, s, proxy, b, _ := withLateTopic(t)
			const poison = "poison-of-late-topics"
			proxy.CutOn([]byte(poison))
			for n := range 4 {
				want := relay.Postponed
				if n >= 2 {
					want = relay.Refused
				}
				r := newResults(t)
				m := messageTo("stopped", 77)
				m.Payload = append([]byte(poison), bytes.Repeat([]byte("x"), more)...)
				s.Publish(m, r.report)
				check(t, m, r.await(77), want, relay.ErrorTypeDisconnected, "")
				b.good()
			}
		})
	}
}

// Seven topics are late at once, each with a queue of its own that takes no commands,
// and that stops its channel at the first message. The other topics go on. When the
// queues take commands again, the seven topics go on too.
func TestManyLateTopicsStopNoOther(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeQuorum)
	p.queue("good", "good", amqp.Table{"x-max-length": 1000})
	const topics, each = 7, 10
	topic := func(i int) string { return fmt.Sprint("stopped.", i) }
	var queues []string
	for i := range topics {
		queues = append(queues, p.queue(topic(i), topic(i), nil))
	}
	resume := suspend(t, queues...)
	o := p.options()
	o.AckTimeout = 6 * time.Second
	s := open(t, o)
	reach(t, s)
	b := &beside{t: t, sink: s}
	isLate := func(topic string) bool { // such a topic has no lane
		return s.Lane(&relay.Message{Topic: topic, Key: "k", Keyed: true}) == (relay.Lane{})
	}
	for round := 0; ; round++ {
		late := 0
		for i := range topics {
			if isLate(topic(i)) {
				late++
			}
		}
		judged := late == topics && !isLate("good")
		classes := make(map[relay.Class]int)
		r := newResults(t)
		for n := range each {
			for i := range topics {
				s.Publish(messageTo(topic(i), round*1000+i*each+n), r.report)
			}
		}
		for n := range topics * each {
			eventually(t, "a report", func() error {
				b.good()
				r.mu.Lock()
				defer r.mu.Unlock()
				o, ok := r.by[int64(round*1000+n)]
				if !ok {
					return errors.New("none")
				}
				classes[o.Class]++
				if o.Class == relay.Acknowledged {
					return errors.New("acknowledged by a queue that takes no commands")
				}
				return nil
			})
		}
		t.Logf("%d topics were late before, outcomes: %v", late, classes)
		if judged {
			if classes[relay.Postponed] < topics*(each-4) { // of each, four are tried
				t.Error("most messages of late topics were tried")
			}
			break
		}
		if round == 4 {
			t.Fatal("not all topics count as late")
		}
	}
	resume()
	for i := range topics {
		eventually(t, topic(i)+" is well again", func() error {
			if o := b.send(topic(i), ""); o.Class != relay.Acknowledged {
				return fmt.Errorf("%s: %w", o.Class, o.Err)
			}
			return nil
		})
	}
}
