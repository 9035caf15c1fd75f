package rabbitmq_test

import (
	"fmt"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
	"github.com/outbox-relay/outbox-relay/relay"
)

// Two messages in flight on one channel, of which one or both are given back: a
// return must never be taken for the other's, nor come too late for its own
// confirm.
func TestReturnIsNeverTakenForAnotherMessages(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	queue := p.queue("good", "good", nil)
	o := p.options()
	o.Channels = 1
	s := open(t, o)
	reach(t, s)
	const rounds = 5000
	topic := func(round, place int) string {
		if round%3 == place {
			return "good"
		}
		return "nowhere"
	}
	r := newResults(t)
	for i := range rounds {
		pair := []*relay.Message{messageTo(topic(i, 0), 2*i), messageTo(topic(i, 1), 2*i+1)}
		left := make(chan struct{}, 2)
		for _, m := range pair {
			s.Publish(m, func(m *relay.Message, o relay.Outcome) {
				r.report(m, o)
				left <- struct{}{}
			})
		}
		for range pair {
			<-left
		}
	}
	good := 0
	for i := range 2 * rounds {
		m, o := messageTo(topic(i/2, i%2), i), r.await(int64(i))
		if m.Topic == "good" {
			good++
			check(t, m, o, relay.Acknowledged, "", "")
		} else {
			check(t, m, o, relay.Refused, relay.ErrorTypeUnroutable, "")
		}
	}
	q, err := p.ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil || q.Messages != good {
		t.Errorf("the queue has %d messages, want %d: %v", q.Messages, good, err)
	}
}

func TestUnroutableMessageSaysWhatToDo(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	s := open(t, p.options())
	reach(t, s)
	expect(t, s, messageTo("a", 1), relay.Refused, relay.ErrorTypeUnroutable, `exchange "`+p.exchange+`" routes "a" to no queue (312 NO_ROUTE): bind a queue`)
	delayed := messageTo("a", 2)
	delayed.Headers = []relay.Header{{Name: "x-delay", Value: "5000"}}
	expect(t, s, delayed, relay.Refused, relay.ErrorTypeUnroutable, "use available_at instead of header x-delay")
	o := p.options()
	o.Exchange = ""
	s = open(t, o)
	reach(t, s)
	expect(t, s, messageTo(p.exchange+" has no queue", 3), relay.Refused, relay.ErrorTypeUnroutable, "the default exchange routes by queue name")
}

// Two rows that share a message id and topic are told apart by count.
func TestReturnsOfOneMessageIDAreCounted(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	p.queue("good", "good", nil)
	o := p.options()
	o.Channels = 1
	s := open(t, o)
	reach(t, s)
	outcomes := make(chan relay.Outcome, 3)
	report := func(_ *relay.Message, o relay.Outcome) { outcomes <- o }
	s.Publish(messageTo("nowhere", 1), report)
	s.Publish(messageTo("good", 1), report)
	s.Publish(messageTo("nowhere", 1), report)
	count := map[relay.Class]int{}
	for range 3 {
		count[(<-outcomes).Class]++
	}
	if count[relay.Acknowledged] != 1 || count[relay.Refused] != 2 {
		t.Errorf("outcomes are %v, want one acknowledged and two refused", count)
	}
}

// Confirms come out of order and several at once: queues of both kinds, one that
// refuses, one that never answers, and no queue at all, on one channel.
func TestConfirmsInAnyOrder(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeQuorum)
	p.queue("quorum", "quorum", nil)
	p.queue("full", "full", amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"})
	p.bindSilentQueue()
	p.kind = amqp.QueueTypeClassic
	p.queue("classic", "classic", nil)
	o := p.options()
	o.Channels, o.AckTimeout = 1, 10*time.Second
	s := open(t, o)
	reach(t, s)
	const each, fewSilent = 400, 20 // for more of them the broker stops reading the connection
	topics := []string{"quorum", "classic", "full", "silent", "nowhere"}
	topicOf := func(i int) string {
		if topic := topics[i%len(topics)]; topic != "silent" || i < fewSilent*len(topics) {
			return topic
		}
		return "quorum"
	}
	r := newResults(t)
	for i := range each * len(topics) {
		s.Publish(messageTo(topicOf(i), i), r.report)
	}
	count := map[string]map[string]int{}
	for i := range each * len(topics) {
		topic, o := topicOf(i), r.await(int64(i))
		if count[topic] == nil {
			count[topic] = map[string]int{}
		}
		count[topic][fmt.Sprint(o.Class, " ", o.Type)]++
	}
	for topic, want := range map[string]string{
		"quorum": "acknowledged ", "classic": "acknowledged ", "silent": "refused timeout", "nowhere": "refused unroutable",
	} {
		times := map[string]int{"quorum": 2*each - fewSilent, "silent": fewSilent, "classic": each, "nowhere": each}[topic]
		if count[topic][want] != times {
			t.Errorf("%s: %v, want %d times %q", topic, count[topic], times, want)
		}
	}
	if full := count["full"]; full["acknowledged "] == 0 || full["refused nacked"] == 0 || full["acknowledged "]+full["refused nacked"] != each {
		t.Errorf("full: %v, want a few acknowledged and the others nacked", full)
	}
}

// A message over the broker's own limit closes its channel. It alone is given
// up, the limit is learned, and the next one is not even written. With another
// connection it is learned anew: it may have been raised.
func TestBrokersSizeLimitIsLearned(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	queue := p.queue("good", "good", nil)
	proxy, err := faultproxy.Start(t.Context(), server(t).Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	o := p.options()
	o.URLs, o.Channels = "amqp://"+proxy.Addr(), 1
	s := open(t, o)
	reach(t, s)
	if n := s.MaxMessageBytes(); n != 16<<20 {
		t.Errorf("limit is %d before the broker told its own", n)
	}
	r := newResults(t)
	const around = 200
	large := messageTo("good", around)
	large.Payload = make([]byte, 4<<20+1)
	for i := range around {
		s.Publish(messageTo("good", i), r.report)
	}
	s.Publish(large, r.report)
	for i := range around {
		s.Publish(messageTo("good", around+1+i), r.report)
	}
	check(t, large, r.await(around), relay.Rejected, relay.ErrorTypeTooLarge, "4194304")
	for i := range 2*around + 1 {
		if o := r.await(int64(i)); i != around && o.Class != relay.Acknowledged {
			t.Fatalf("neighbour %d is %s %q (%v)", i, o.Class, o.Type, o.Err)
		}
	}
	if n := s.MaxMessageBytes(); n != 4<<20 {
		t.Errorf("limit is %d, want the broker's", n)
	}
	again := messageTo("good", 9999)
	again.Payload = make([]byte, 4<<20+1)
	expect(t, s, again, relay.Rejected, relay.ErrorTypeTooLarge, "the limit is 4194304")
	distinct := map[string]bool{}
	for _, d := range take(t, queue) {
		distinct[d.MessageId] = true
	}
	if len(distinct) != 2*around {
		t.Errorf("%d messages are stored, want %d", len(distinct), 2*around)
	}
	proxy.Cut()
	reach(t, s)
	if n := s.MaxMessageBytes(); n != 16<<20 {
		t.Errorf("on the next connection the limit is %d", n)
	}
}
