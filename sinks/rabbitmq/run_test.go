package rabbitmq_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/rabbitmq"
)

// keyLoad has many messages of one key in flight, as the relay does: in one lane at a
// time, and what comes back is published again, in order, once nothing is in flight.
type keyLoad struct {
	t         testing.TB
	sink      *rabbitmq.Sink
	topic     string
	outcomes  chan keyOutcome
	with      int
	lane      relay.Lane
	waiting   []int // ascending
	back      []int
	withdrawn int
	losses    int
	lost      bool // since nothing was in flight
}

type keyOutcome struct {
	n int
	o relay.Outcome
}

// keyWindow is more than channelWindow, so that messages are queued too.
const (
	keyWindow     = 64
	channelWindow = 24
)

// publish publishes n messages, and calls disturb now and then until all are acknowledged.
func (k *keyLoad) publish(n int, disturb func(published int)) {
	k.outcomes = make(chan keyOutcome, keyWindow)
	for i := range n {
		k.waiting = append(k.waiting, i)
	}
	for published := 0; len(k.waiting)+k.with+len(k.back) > 0; {
		for k.mayGoOn() && k.next() {
			if published++; published%300 == 0 {
				disturb(published)
			}
		}
		k.take(<-k.outcomes)
	}
}

func (k *keyLoad) mayGoOn() bool { return len(k.waiting) > 0 && len(k.back) == 0 && k.with < keyWindow }

// next publishes a message, unless it has to wait for those in flight.
func (k *keyLoad) next() bool {
	m := messageTo(k.topic, k.waiting[0])
	m.Key, m.Keyed = "k", true
	l := k.sink.Lane(m)
	if k.with > 0 && (l != k.lane || l.Number == 0) {
		return false
	}
	k.lane, k.waiting = l, k.waiting[1:]
	k.with++
	report := func(m *relay.Message, o relay.Outcome) { k.outcomes <- keyOutcome{int(m.ID), o} }
	if l.Number == 0 {
		k.sink.Publish(m, report)
	} else {
		k.sink.PublishIn(l, m, report)
	}
	return true
}

func (k *keyLoad) take(r keyOutcome) {
	k.with--
	switch r.o.Class {
	case relay.Acknowledged:
	case relay.Withdrawn:
		k.withdrawn++
		k.back = append(k.back, r.n)
	case relay.Unknown, relay.Unavailable:
		k.losses++
		k.lost = true
		k.back = append(k.back, r.n)
	default:
		k.t.Fatalf("message %d is %s: %v", r.n, r.o.Class, r.o.Err)
	}
	if k.with > 0 {
		return
	}
	slices.Sort(k.back)
	k.waiting, k.back = append(k.back, k.waiting...), nil
	if k.lost {
		reach(k.t, k.sink)
		k.lost = false
	}
}

// checkFirstDeliveries checks that n messages are stored, in order but for copies.
func checkFirstDeliveries(t *testing.T, queue string, n int) {
	t.Helper()
	number := make(map[string]int)
	for i := range n {
		number[messageTo("", i).MessageID.String()] = i
	}
	next := 0
	for _, d := range take(t, queue) {
		switch i := number[d.MessageId]; {
		case i > next:
			t.Fatalf("message %d is stored before message %d", i, next)
		case i == next:
			next++
		}
	}
	if next != n {
		t.Fatalf("%d messages are stored, want %d", next, n)
	}
}

// A message of another key closes the channel while many of a key are in flight and
// queued behind it. Its neighbours are given back, and keep their order: no message of
// their key was refused.
func TestMessagesOfOneKeyKeepTheirOrderWhenAnotherClosesTheChannel(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeQuorum)
	queue := p.queue("all", "#", nil)
	o := p.options()
	o.URLs, o.Channels = server(t).URLAs(p.restricted(`^public\.`), "secret"), 1
	o.Window = channelWindow
	s := open(t, o)
	reach(t, s)
	const n = 5000
	k := &keyLoad{t: t, sink: s, topic: "public.a"}
	refused := newResults(t)
	k.publish(n, func(published int) {
		topic := "secret." // each another one, or it would go by itself
		if published%600 == 0 {
			topic += strings.Repeat("x", 240) // the broker's reason does not hold it
		}
		topic += string(rune('a' + published/300))
		s.Publish(messageTo(topic, n+published), refused.report)
	})
	if k.withdrawn == 0 || k.losses > 0 {
		t.Errorf("%d messages were given back, and %d counted as lost with a connection; want some, and none", k.withdrawn, k.losses)
	}
	checkFirstDeliveries(t, queue, n)
}

// behindAProxy is a sink whose connections can be cut, and the queue of all its messages.
func behindAProxy(t *testing.T, queueType string) (s *rabbitmq.Sink, queue string, front *faultproxy.Proxy) {
	t.Helper()
	p := newPlace(t, queueType)
	queue = p.queue("all", "#", nil)
	front, err := faultproxy.Start(t.Context(), server(t).Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { front.Close() })
	o := p.options()
	o.URLs, o.Window = "amqp://"+front.Addr(), channelWindow
	s = open(t, o)
	reach(t, s)
	return s, queue, front
}

// The connection is lost while many messages of a key are in flight and queued. None
// of them is written to the next connection before those of the last one.
func TestMessagesOfOneKeyKeepTheirOrderWhenConnectionsAreLost(t *testing.T) {
	t.Parallel()
	s, queue, front := behindAProxy(t, amqp.QueueTypeQuorum)
	const n = 6000
	k := &keyLoad{t: t, sink: s, topic: "a"}
	k.publish(n, func(int) { front.Cut() })
	checkFirstDeliveries(t, queue, n)
}

// A lane is of one connection: what is handed over for it afterwards is not written.
func TestLaneEndsWithItsConnection(t *testing.T) {
	t.Parallel()
	s, queue, front := behindAProxy(t, amqp.QueueTypeClassic)
	in := func(l relay.Lane, n int) relay.Outcome {
		m := messageTo("a", n)
		m.Key, m.Keyed = "k", true
		r := newResults(t)
		s.PublishIn(l, m, r.report)
		return r.await(m.ID)
	}
	first := s.Lane(&relay.Message{Key: "k", Keyed: true, Topic: "a"})
	if o := in(first, 1); o.Class != relay.Acknowledged || first.Number == 0 || first.Strict {
		t.Fatalf("in lane %+v: %s (%v)", first, o.Class, o.Err)
	}
	front.Cut()
	eventually(t, "the loss is noticed", func() error { return probeAgain(t, s, front) })
	if o := in(first, 2); o.Class != relay.Withdrawn {
		t.Fatalf("in the lane of the lost connection: %s (%v)", o.Class, o.Err)
	}
	second := s.Lane(&relay.Message{Key: "k", Keyed: true, Topic: "a"})
	if o := in(second, 3); o.Class != relay.Acknowledged || second == first {
		t.Fatalf("in lane %+v after %+v: %s (%v)", second, first, o.Class, o.Err)
	}
	if stored := take(t, queue); len(stored) != 2 {
		t.Errorf("%d messages are stored, want those of the two lanes", len(stored))
	}
}

var errNotYet = errors.New("there is one connection so far")

// probeAgain returns nil once the sink works on a second connection.
func probeAgain(t testing.TB, s relay.Sink, front *faultproxy.Proxy) error {
	if front.Accepted() < 2 {
		return errNotYet
	}
	return probe(t, s)
}
