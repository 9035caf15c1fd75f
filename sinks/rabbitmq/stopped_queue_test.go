package rabbitmq_test

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/transcript"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/rabbitmq"
)

// load publishes to two topics in turn, a window of messages at a time, and does with
// the outcomes what the relay does.
type load struct {
	t      *testing.T
	sink   *rabbitmq.Sink
	slots  chan struct{}
	good   string
	silent string

	mu       sync.Mutex
	counts   map[string]int // outcomes, by topic and class
	refusals []string       // of the good topic
	again    []*relay.Message
}

func newLoad(t *testing.T, s *rabbitmq.Sink, window int, good, silent string) *load {
	return &load{t: t, sink: s, slots: make(chan struct{}, window), good: good, silent: silent, counts: map[string]int{}}
}

// run publishes for as long as it is told, and returns how many messages of the good
// topic were acknowledged meanwhile.
func (l *load) run(first int, d time.Duration) (acknowledged, next int) {
	l.t.Helper()
	before := l.count(l.good, relay.Acknowledged)
	end := time.NewTimer(d)
	defer end.Stop()
	for n := first; ; n++ {
		select {
		case <-end.C:
			return l.count(l.good, relay.Acknowledged) - before, n
		case l.slots <- struct{}{}:
		}
		topic := l.good
		if n%2 == 0 {
			topic = l.silent
		}
		l.sink.Publish(l.next(messageTo(topic, n)), l.report)
	}
}

// next is a message whose outcome was not known, or else this one.
func (l *load) next(m *relay.Message) *relay.Message {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.again); n > 0 {
		m = l.again[n-1]
		l.again = l.again[:n-1]
	}
	return m
}

func (l *load) report(m *relay.Message, o relay.Outcome) {
	l.mu.Lock()
	l.counts[m.Topic+" "+o.Class.String()]++
	switch {
	case o.Class == relay.Unknown || o.Class == relay.Unavailable:
		l.again = append(l.again, m)
	case m.Topic == l.good && o.Class != relay.Acknowledged && o.Class != relay.Postponed && len(l.refusals) < 3:
		l.refusals = append(l.refusals, fmt.Sprint(o.Type, ": ", o.Err))
	}
	l.mu.Unlock()
	if o.Class == relay.Acknowledged {
		<-l.slots
		return
	}
	// The relay pauses after a refusal and after a loss. Without that, this would be
	// a loop without a broker in it.
	time.AfterFunc(50*time.Millisecond, func() { <-l.slots })
}

// untilLane publishes until messages of the topic have a lane: a topic that works goes with
// the others, and a late one has no lane.
func (l *load) untilLane(topic string, n int) (next int) {
	l.t.Helper()
	keyed := &relay.Message{Topic: topic, Key: "k", Keyed: true}
	for deadline := time.Now().Add(time.Minute); l.sink.Lane(keyed) == (relay.Lane{}); {
		if time.Now().After(deadline) {
			l.t.Fatalf("topic %q is still late, a minute after its queue takes messages", topic)
		}
		_, n = l.run(n, time.Second)
	}
	return n
}

func (l *load) count(topic string, class relay.Class) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.counts[topic+" "+class.String()]
}

// check demands that no message of the good topic was refused.
func (l *load) check() {
	l.t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.t.Logf("outcomes: %v", l.counts)
	if len(l.refusals) > 0 {
		l.t.Errorf("messages of the other topic were refused: %q", l.refusals)
	}
}

// The leader of a quorum queue takes no commands, and half of the traffic goes to it. A
// few dozen unconfirmed messages make the broker stop reading the connection, which says
// nothing of that. The other topic pauses once, until that is found. If messages of it were
// in flight on the lost connection, it counts as late too until its first confirm, and is
// postponed meanwhile. No message of it is refused. When the queue goes on, so does its
// topic.
func TestQueueThatTakesNoCommandsStopsNoOtherTopic(t *testing.T) {
	t.Parallel()
	stoppedQueue(t, 6*time.Second, 30*time.Second)
}

func stoppedQueue(t *testing.T, ackTimeout, suspended time.Duration) {
	t.Helper()
	p := newPlace(t, amqp.QueueTypeQuorum)
	p.queue("good", "good", amqp.Table{"x-max-length": 1000})
	queue := p.queue("stopped", "stopped", amqp.Table{"x-max-length": 1000})
	log := &transcript.Text{}
	o := p.options()
	o.AckTimeout, o.Window, o.Logger = ackTimeout, 1000, slog.New(slog.NewTextHandler(log, nil))
	s := open(t, o)
	reach(t, s)
	l := newLoad(t, s, o.Window, "good", "stopped")
	healthy, n := l.run(0, 5*time.Second)
	resume := suspend(t, queue)
	during, n := l.run(n, suspended)
	rate := float64(healthy) / 5
	share := float64(during) / suspended.Seconds() / rate
	t.Logf("the other topic: %.0f/s before, %.0f/s during (%.2f)", rate, float64(during)/suspended.Seconds(), share)
	// Over one connection 0.06 was seen. A busy machine halves the rest; the benchmark and the
	// campaign judge the rate.
	if share < 0.2 {
		t.Errorf("the other topic keeps %.2f of its rate", share)
	}
	if l.count("stopped", relay.Refused) == 0 {
		t.Error("no message of the stopped queue was refused: nothing was tested")
	}
	n = l.untilLane("good", n)
	resume()
	l.untilLane("stopped", n)
	l.check()
	if t.Failed() {
		t.Log(log.String())
	}
}
