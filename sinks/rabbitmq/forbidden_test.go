package rabbitmq_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/relay"
)

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
	// The second topic is so long that the broker's reason cuts it off.
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
	// Once the topic is granted, its messages are acknowledged again.
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
	o.URLs, o.Channels, o.AckTimeout = server(t).URLAs(p.restricted(`^public\.`), "secret"), 1, time.Minute
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

// A message closes the channel, the broker does not name it, and all that was in
// flight is sent one at a time. Many of them go to a queue that never confirms:
// what is behind them waits for none of these.
func TestSilentTopicHoldsUpNoOtherSuspect(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	queue := p.queue("good", "good", nil)
	p.bindSilentQueue()
	o := p.options()
	o.URLs = server(t).URLAs(p.restricted(`^(good|`+silentTopic+`)$`), "secret")
	o.Channels, o.AckTimeout = 1, 20*time.Second
	s := open(t, o)
	reach(t, s)
	r := newResults(t)
	const silent = 6 // two minutes, one after the other
	for i := range silent {
		s.Publish(messageTo(silentTopic, 100+i), r.report)
	}
	long := "secret." + strings.Repeat("x", 248) // the broker's reason does not hold it
	s.Publish(messageTo(long, 1), r.report)
	s.Publish(messageTo("good", 2), r.report)
	check(t, messageTo("good", 2), r.await(2), relay.Acknowledged, "", "")
	r.mu.Lock()
	_, waited := r.by[100]
	r.mu.Unlock()
	if waited {
		t.Error("the other suspects have waited for the silent topic")
	}
	check(t, messageTo(long, 1), r.await(1), relay.Refused, relay.ErrorTypeForbidden, "")
	for i := range silent {
		check(t, messageTo(silentTopic, i), r.await(int64(100+i)), relay.Refused, relay.ErrorTypeTimeout, "")
	}
	if stored := take(t, queue); len(stored) != 1 {
		t.Errorf("the message behind them is stored %d times", len(stored))
	}
}

// When a channel closes, the library gives a negative confirm to all that was in flight.
// A follower that is busy then may see these before it sees that the channel is closed.
func TestClosedChannelRefusesNothingInFlight(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	p.queue("good", "public.good", nil)
	o := p.options()
	o.URLs, o.Channels = server(t).URLAs(p.restricted(`^public\.`), "secret"), 1
	s := open(t, o)
	reach(t, s)
	for i := range 20 {
		busy, release := make(chan struct{}), make(chan struct{})
		s.Publish(messageTo("public.good", 0), func(*relay.Message, relay.Outcome) {
			close(busy)
			<-release
		})
		<-busy
		r := newResults(t)
		secret := fmt.Sprint("secret.", i)
		s.Publish(messageTo(secret, 1), r.report)
		s.Publish(messageTo("public.good", 2), r.report)
		reach(t, s) // by when the channel is closed
		close(release)
		check(t, messageTo(secret, 1), r.await(1), relay.Refused, relay.ErrorTypeForbidden, "")
		check(t, messageTo("public.good", 2), r.await(2), relay.Acknowledged, "", "")
	}
}
