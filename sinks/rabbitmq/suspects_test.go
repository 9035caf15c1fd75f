package rabbitmq_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/rabbitmq"
)

// Where each message is alone there is no throughput: a topic that was forbidden,
// and is granted, does not stay there.
func TestGrantedTopicIsNoSuspectAnyMore(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	p.queue("all", "#", nil)
	proxy, err := faultproxy.Start(t.Context(), server(t).Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	o := p.options()
	user := p.restricted(`^public\.`)
	o.URLs, o.Name, o.Channels, o.AckTimeout = "amqp://"+user+":secret@"+proxy.Addr(), "granted "+p.exchange, 1, time.Minute
	s := open(t, o)
	reach(t, s)
	expect(t, s, messageTo("secret.a", 1), relay.Refused, relay.ErrorTypeForbidden, "")
	ctl(t, "set_topic_permissions", "-p", "/", user, p.exchange, ".*", ".*")
	eventually(t, "the granted topic is acknowledged", func() error {
		if o := await(t, s, messageTo("secret.a", 2)); o.Class != relay.Acknowledged {
			return o.Err
		}
		return nil
	})
	proxy.StallOn(suspectsQuestion) // and what comes after it
	for n := range 2 {
		expect(t, s, messageTo("secret.a", 3+n), relay.Acknowledged, "", "")
	}
}

// suspectsQuestion is what each suspect is followed by: size, confirm.select, end.
var suspectsQuestion = []byte{0, 0, 0, 5, 0, 85, 0, 10, 0, 0xCE}

// Suspects have been written before, and a queue may have them. So a suspect that waits
// for its turn when the sink is closed is not reported as unavailable.
func TestSuspectThatWaitsForItsTurnIsUnknown(t *testing.T) {
	t.Parallel()
	p := newPlace(t, amqp.QueueTypeClassic)
	suspend(t, p.queue("slow", "public.slow", nil))
	proxy, err := faultproxy.Start(t.Context(), server(t).Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	o := p.options()
	o.URLs, o.Name = "amqp://"+p.restricted(`^public\.`)+":secret@"+proxy.Addr(), "suspects "+p.exchange
	o.Channels, o.AckTimeout = 1, time.Hour
	s, err := rabbitmq.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	reach(t, s)
	proxy.StallOn(suspectsQuestion)
	r := newResults(t)
	s.Publish(messageTo("public.slow", 0), r.report)
	s.Publish(messageTo("public.slow", 1), r.report)
	s.Publish(messageTo("secret."+strings.Repeat("x", 248), 2), r.report) // not named by the broker's reason
	eventually(t, "the first one is sent again, alone", func() error {
		if n := owedBy(t, o.Name, "{number, 2}"); n != "1" {
			return errors.New(n)
		}
		return nil
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
	for i := range 3 {
		check(t, messageTo("public.slow", i), r.await(int64(i)), relay.Unknown, relay.ErrorTypeDisconnected, "")
	}
}
