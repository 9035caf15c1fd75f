package rabbitmq_test

import (
	"fmt"
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/faultproxy"
	"github.com/outbox-relay/outbox-relay/relay"
)

// Two messages in flight on one channel, of which one is given back: the return
// must never be taken for the other's, nor come too late for its own confirm.
func TestReturnIsNeverTakenForAnotherMessages(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	queue := p.queue("good", "good", nil)
	o := p.options()
	o.Channels = 1
	s := open(t, o)
	reach(t, s)
	const rounds = 5000
	r := newResults(t)
	for i := range rounds {
		good, lost := messageTo("good", 2*i), messageTo("nowhere", 2*i+1)
		pair := []*relay.Message{good, lost}
		if i%2 == 1 {
			pair = []*relay.Message{lost, good}
		}
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
	for i := range rounds {
		if o := r.await(int64(2 * i)); o.Class != relay.Acknowledged {
			t.Fatalf("good message %d is %s %q (%v)", i, o.Class, o.Type, o.Err)
		}
		if o := r.await(int64(2*i + 1)); o.Class != relay.Refused || o.Type != relay.ErrorTypeUnroutable {
			t.Fatalf("unroutable message %d is %s %q (%v)", i, o.Class, o.Type, o.Err)
		}
	}
	q, err := p.ch.QueueDeclarePassive(queue, true, false, false, false, nil)
	if err != nil || q.Messages != rounds {
		t.Errorf("the queue has %d messages, want %d: %v", q.Messages, rounds, err)
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

// A whole window is given back before the first confirm comes: a return that found
// no room would leave its message acknowledged.
func TestWholeWindowIsGivenBackAtOnce(t *testing.T) {
	p := newPlace(t, amqp.QueueTypeClassic)
	o := p.options()
	o.Name, o.Channels, o.Window = "back "+p.exchange, 1, 301
	s := open(t, o)
	reach(t, s)
	resume := suspendChannel(t, o.Name)
	r := newResults(t)
	for i := range o.Window {
		s.Publish(messageTo("nowhere", i), r.report)
	}
	resume()
	for i := range o.Window {
		check(t, messageTo("nowhere", i), r.await(int64(i)), relay.Refused, relay.ErrorTypeUnroutable, "")
	}
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
	makeSilentQueue(t)
	p := newPlace(t, amqp.QueueTypeQuorum)
	p.queue("quorum", "quorum", nil)
	p.queue("full", "full", amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"})
	if err := p.ch.QueueBind(silentQueue, "silent", p.exchange, false, nil); err != nil {
		t.Fatal(err)
	}
	p.kind = amqp.QueueTypeClassic
	p.queue("classic", "classic", nil)
	o := p.options()
	o.Channels, o.AckTimeout = 1, 2_000_000_000
	s := open(t, o)
	reach(t, s)
	const each = 400
	topics := []string{"quorum", "classic", "full", "silent", "nowhere"}
	r := newResults(t)
	for i := range each * len(topics) {
		s.Publish(messageTo(topics[i%len(topics)], i), r.report)
	}
	count := map[string]map[string]int{}
	for i := range each * len(topics) {
		topic, o := topics[i%len(topics)], r.await(int64(i))
		if count[topic] == nil {
			count[topic] = map[string]int{}
		}
		count[topic][fmt.Sprint(o.Class, " ", o.Type)]++
	}
	for topic, want := range map[string]string{
		"quorum": "acknowledged ", "classic": "acknowledged ", "silent": "refused timeout", "nowhere": "refused unroutable",
	} {
		if count[topic][want] != each {
			t.Errorf("%s: %v, want %d times %q", topic, count[topic], each, want)
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

// restricted makes a user that may publish to the place's exchange only topics
// that match.
func (p *place) restricted(topics string) (user string) {
	p.t.Helper()
	user = "user-" + p.exchange
	ctl(p.t, "add_user", user, "secret")
	p.t.Cleanup(func() { ctl(p.t, "delete_user", user) })
	ctl(p.t, "set_permissions", "-p", "/", user, "", ".*", ".*")
	ctl(p.t, "set_topic_permissions", "-p", "/", user, p.exchange, topics, ".*")
	return user
}

func TestForbiddenTopicIsRefusedAndTheOthersFlow(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	queue := p.queue("all", "#", nil)
	o := p.options()
	user := p.restricted(`^public\.`)
	o.URLs = server(t).URLAs(user, "secret")
	s := open(t, o)
	reach(t, s)
	// The second one is so long that the broker's reason does not hold it.
	long := "secret." + strings.Repeat("x", 248)
	r := newResults(t)
	const n = 3000
	topic := func(i int) string {
		switch i % 100 {
		case 50:
			return "secret.a"
		case 75:
			return long
		}
		return "public.a"
	}
	for i := range n {
		s.Publish(messageTo(topic(i), i), r.report)
	}
	good := 0
	for i := range n {
		o := r.await(int64(i))
		if topic(i) == "public.a" {
			good++
			if o.Class != relay.Acknowledged {
				t.Fatalf("permitted message %d is %s %q (%v)", i, o.Class, o.Type, o.Err)
			}
			continue
		}
		check(t, messageTo(topic(i), i), o, relay.Refused, relay.ErrorTypeForbidden, "set_topic_permissions")
	}
	distinct := map[string]bool{}
	for _, d := range take(t, queue) {
		distinct[d.MessageId] = true
	}
	if len(distinct) != good {
		t.Errorf("%d messages are stored, want the %d permitted ones", len(distinct), good)
	}
	// Once granted, it flows again.
	ctl(t, "set_topic_permissions", "-p", "/", user, p.exchange, ".*", ".*")
	eventually(t, "the granted topic is acknowledged", func() error {
		if o := await(t, s, messageTo(long, n)); o.Class != relay.Acknowledged {
			return o.Err
		}
		return nil
	})
}

// Once a message of a topic has closed a channel, the next ones of the topic have
// a channel to themselves: what else is in flight is not sent again.
func TestTopicThatClosedAChannelDisturbsNobody(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	queue := p.queue("slow", "public.slow", nil)
	o := p.options()
	o.URLs, o.Channels = server(t).URLAs(p.restricted(`^public\.`), "secret"), 1
	s := open(t, o)
	reach(t, s)
	expect(t, s, messageTo("secret.a", 1), relay.Refused, relay.ErrorTypeForbidden, "")
	resume := suspend(t, queue)
	r := newResults(t)
	s.Publish(messageTo("public.slow", 2), r.report)
	for i := range 3 {
		expect(t, s, messageTo("secret.a", 3+i), relay.Refused, relay.ErrorTypeForbidden, "")
	}
	resume()
	check(t, messageTo("public.slow", 2), r.await(2), relay.Acknowledged, "", "")
	if stored := take(t, queue); len(stored) != 1 {
		t.Errorf("the message beside them was sent %d times", len(stored))
	}
}
