package natsjs_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
	"github.com/outbox-relay/outbox-relay/sinks/sinktest"
)

// keyed publishes messages of one key as the relay does: many at a time while they go
// in one lane, otherwise one at a time. After a failure it begins again with the first
// message that is not acknowledged.
type keyed struct {
	*testing.T
	sink    *natsjs.Sink
	topic   string
	reports chan report
	message func(place int) *relay.Message

	acknowledged int // messages, from the first on
	next         int // the message to hand over
	lane         relay.Lane
	failed       bool         // a message came back: the others are awaited
	batched      atomic.Int64 // messages handed over while others were in flight
}

func newKeyed(t *testing.T, s *natsjs.Sink, topic string, from int) *keyed {
	return &keyed{T: t, sink: s, topic: topic, reports: make(chan report, 10_000), message: func(place int) *relay.Message {
		m := messageTo(topic, from+place)
		m.Payload = fmt.Append(nil, place)
		return m
	}}
}

// run publishes until ctx ends and all is reported.
func (k *keyed) run(ctx context.Context, window int) {
	for ctx.Err() == nil || k.next > k.acknowledged {
		for ctx.Err() == nil && k.next-k.acknowledged < window && k.handOver() {
		}
		k.sink.Flush()
		if k.next > k.acknowledged && !k.take() {
			return
		}
	}
}

// handOver hands the next message over, if it may go now.
func (k *keyed) handOver() bool {
	if k.failed {
		return false
	}
	place, m := k.next, k.message(k.next)
	l := k.sink.Lane(m)
	if alone := k.next == k.acknowledged; !alone && (l == (relay.Lane{}) || l != k.lane) {
		return false
	}
	report := func(_ *relay.Message, o relay.Outcome) { k.reports <- report{place, o} }
	if k.lane = l; l == (relay.Lane{}) {
		k.sink.Publish(m, report)
	} else {
		k.sink.PublishIn(l, m, report)
	}
	if k.next > k.acknowledged {
		k.batched.Add(1)
	}
	k.next++
	return true
}

// take waits for a report, and acts on it.
func (k *keyed) take() bool {
	var r report
	select {
	case r = <-k.reports:
	case <-time.After(60 * time.Second):
		k.Errorf("%d messages were not reported", k.next-k.acknowledged)
		return false
	}
	switch {
	case k.failed:
		if r.Class == relay.Acknowledged {
			k.Errorf("message %d is acknowledged after one before it was not", r.place)
		}
	case r.Class == relay.Acknowledged && r.place == k.acknowledged:
		k.acknowledged++
		return true
	case r.place != k.acknowledged:
		k.Errorf("message %d is %s before message %d was reported", r.place, r.Class, k.acknowledged)
		return false
	}
	k.failed = true
	if r.place == k.next-1 { // the last one, so all have come back
		k.failed, k.next = false, k.acknowledged
	}
	return true
}

// awaitBatched returns when so many more messages were handed over while others were in
// flight.
func (k *keyed) awaitBatched(n int64) {
	k.Helper()
	before := k.batched.Load()
	sinktest.Eventually(k, 60*time.Second, "messages in flight together", func() error {
		if got := k.batched.Load() - before; got < n {
			return fmt.Errorf("%d of %d", got, n)
		}
		return nil
	})
}

func TestOneKeyKeepsItsOrderWhileConnectionsAreLost(t *testing.T) {
	t.Parallel()
	b := startBroker(t, "")
	js := b.admin(t)
	makeStream(t, js, jetstream.StreamConfig{Name: "FAST", Subjects: []string{"fast.>"}})
	proxy, err := faultproxy.Start(t.Context(), b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer proxy.Close()
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://" + proxy.Addr(), Window: 512}})
	reach(t, s)
	k := newKeyed(t, s, "fast.key", 1)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.run(ctx, 512)
	}()
	for i := range 6 {
		k.awaitBatched(100)
		if i%2 == 0 {
			proxy.StallReplies(true)
			sinktest.Eventually(t, 60*time.Second, "acknowledgements that are held back", func() error {
				if proxy.HeldReplies() == 0 {
					return errors.New("none")
				}
				return nil
			})
		}
		proxy.Cut()
		proxy.StallReplies(false)
	}
	k.awaitBatched(100)
	stop()
	<-done
	stored := read(t, js, "FAST", "fast.key")
	if len(stored) < k.acknowledged {
		t.Errorf("%d messages were acknowledged, the stream has %d", k.acknowledged, len(stored))
	}
	for i, m := range stored {
		if string(m.Data()) != fmt.Sprint(i) {
			t.Fatalf("message %s is the %dth", m.Data(), i)
		}
	}
}

// startFastCluster starts three servers with a stream of three replicas that takes
// batches.
func startFastCluster(t *testing.T) (*natsserver.Cluster, *nats.Conn, jetstream.JetStream) {
	t.Helper()
	c, _ := startCluster(t, 3)
	conn := connect(t, c.URLs())
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	sinktest.Eventually(t, 60*time.Second, "a stream that takes batches", func() error {
		stream, err := js.Stream(t.Context(), "GOOD")
		if err != nil {
			return err
		}
		config := stream.CachedInfo().Config
		config.AllowBatchPublish = true
		_, err = js.UpdateStream(t.Context(), config)
		return err
	})
	return c, conn, js
}

func TestOneKeyKeepsItsOrderWhileTheLeaderOfItsStreamStepsDown(t *testing.T) {
	t.Parallel()
	c, conn, _ := startFastCluster(t)
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: c.URLs(), Window: 512}})
	reach(t, s)
	k := newKeyed(t, s, "good.key", 1)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.run(ctx, 512)
	}()
	for range 3 {
		k.awaitBatched(100)
		stepDown(t, conn)
	}
	stop()
	<-done
	payloads := readCluster(t, conn)["good.key"]
	// The last ones may be stored without an acknowledgement.
	if len(payloads) < k.acknowledged {
		t.Errorf("%d messages were acknowledged, the stream has %d", k.acknowledged, len(payloads))
	}
	for i, payload := range payloads {
		if payload != fmt.Sprint(i) {
			t.Fatalf("message %s is the %dth", payload, i)
		}
	}
}

// Two of the stream's three servers are gone, so the messages that the third one takes
// stay in process. If such a message comes again in a batch, that server answers as if
// it had stored the message. If that server is then gone for good, nobody has the
// message.
func TestWhatIsInProcessIsNotAcknowledgedByABatch(t *testing.T) {
	t.Parallel()
	c, conn, js := startFastCluster(t)
	// The server that answers questions, which the sink asks, leads the stream too.
	var home *natsserver.Server
	sinktest.Eventually(t, 60*time.Second, "a server that leads all", func() error {
		var name string
		home, name = c.Leader()
		stream, err := js.Stream(t.Context(), "GOOD")
		if err != nil {
			return err
		}
		if leader := stream.CachedInfo().Cluster.Leader; home == nil || leader != name {
			_, err := conn.Request("$JS.API.STREAM.LEADER.STEPDOWN.GOOD", fmt.Appendf(nil, `{"placement": {"preferred": %q}}`, name), 5*time.Second)
			return fmt.Errorf("%s leads the stream, and %s all: %w", leader, name, err)
		}
		return nil
	})
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: home.URL(), AckTimeout: 4 * time.Second}})
	reach(t, s)
	l := lane(t, s, "good.warm")
	for _, s := range c.Servers {
		if s != home {
			s.Shutdown()
		}
	}
	all := messagesTo("", 20)
	for i, m := range all {
		m.Topic = fmt.Sprint("good.", i) // the topic of one that is refused goes in no batch
	}
	reports := run(t, s, l, all...)
	inOrder(t, reports, 1, relay.Refused, len(all)-1, relay.Withdrawn)
	if got := reports[0].Type; got != relay.ErrorTypeTimeout {
		t.Errorf("the refusal is %q (%v)", got, reports[0].Err)
	}
	again := make(chan report, len(all))
	for place, m := range all[1:] {
		sinktest.HandOver(s, m, func(_ *relay.Message, o relay.Outcome) { again <- report{place, o} })
	}
	s.Flush()
	for _, r := range collect(t, again, len(all)-1) {
		if r.Class == relay.Acknowledged {
			t.Fatalf("message %d is acknowledged, and one server of three has it", r.place)
		}
	}
}
