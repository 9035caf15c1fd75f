package rabbitmq_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/rabbitserver"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/rabbitmq"
	"github.com/outbox-relay/outbox-relay/sinks/sinktest"
)

// place is an exchange of one test and its queues, on the package's node.
type place struct {
	t        testing.TB
	exchange string
	kind     string // of queues: classic or quorum
	conn     *amqp.Connection
	ch       *amqp.Channel
}

var places atomic.Int64

func newPlace(t testing.TB, kind string) *place {
	t.Helper()
	p := &place{t: t, kind: kind, exchange: fmt.Sprintf("place-%d", places.Add(1))}
	p.conn, p.ch = connect(t)
	p.declareExchange()
	t.Cleanup(func() {
		_, ch := connect(t)
		_ = ch.ExchangeDelete(p.exchange, false, false)
	})
	return p
}

func (p *place) declareExchange() {
	p.t.Helper()
	if err := p.ch.ExchangeDeclare(p.exchange, amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		p.t.Fatal(err)
	}
}

// connect opens a connection of the test's own.
func connect(t testing.TB) (*amqp.Connection, *amqp.Channel) {
	t.Helper()
	conn, err := amqp.Dial(server(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	t.Cleanup(func() {
		_ = conn.Close()
		for range closed {
		}
	})
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return conn, ch
}

// queue declares a queue and binds it.
func (p *place) queue(name, binding string, args amqp.Table) string {
	p.t.Helper()
	name = p.exchange + "-" + name
	all := amqp.Table{amqp.QueueTypeArg: p.kind}
	maps.Copy(all, args)
	if _, err := p.ch.QueueDeclare(name, true, false, false, false, all); err != nil {
		p.t.Fatal(err)
	}
	if err := p.ch.QueueBind(name, binding, p.exchange, false, nil); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		_, ch := connect(p.t)
		_, _ = ch.QueueDelete(name, false, false, false)
	})
	return name
}

// suspend stops queues: what is routed to them is confirmed after resume.
func suspend(t testing.TB, queues ...string) (resume func()) {
	t.Helper()
	process := func(do string) {
		ctl(t, "eval", `[begin {ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, N)), sys:`+do+`(amqqueue:get_pid(Q)) end ||
			N <- [<<"`+strings.Join(queues, `">>, <<"`)+`">>]].`)
	}
	process("suspend")
	resume = sync.OnceFunc(func() { process("resume") })
	t.Cleanup(resume) // it could not be deleted
	return resume
}

// take empties a queue and returns what it had at this moment. Nothing goes back: a
// quorum queue counts that, and from RabbitMQ 4 on drops a message that comes back
// often.
func take(t testing.TB, queue string) []amqp.Delivery {
	t.Helper()
	_, ch := connect(t)
	length, err := rabbitserver.QueueLength(ch, queue)
	if err != nil {
		t.Fatal(err)
	}
	if length == 0 {
		return nil
	}
	deliveries, err := ch.Consume(queue, "", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]amqp.Delivery, 0, length)
	for d := range deliveries {
		all = append(all, d)
		// Without acknowledgements a quorum queue sends 2000 messages and no more.
		if len(all)%500 == 0 || len(all) == length {
			if err := d.Ack(true); err != nil {
				t.Fatal(err)
			}
		}
		if len(all) == length {
			break
		}
	}
	if len(all) < length {
		t.Fatalf("took %d of %d messages", len(all), length)
	}
	if err := ch.Close(); err != nil {
		t.Fatal(err)
	}
	return all
}

func (p *place) options() rabbitmq.Options {
	return rabbitmq.Options{SinkOptions: link.SinkOptions{URLs: server(p.t).URL()}, Exchange: p.exchange}
}

// open opens a sink that is closed with the test.
func open(t testing.TB, o rabbitmq.Options) *rabbitmq.Sink {
	t.Helper()
	s, err := rabbitmq.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// patience bounds what has to happen soon.
const patience = 60 * time.Second

// reach probes until the broker answers.
func reach(t testing.TB, s relay.Sink) {
	t.Helper()
	eventually(t, "a probe without error", func() error { return probe(t, s) })
}

func probe(t testing.TB, s relay.Sink) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience/4)
	defer cancel()
	return s.Probe(ctx)
}

// eventually calls f until it returns nil.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	sinktest.Eventually(t, patience, what, f)
}

func messageTo(topic string, n int) *relay.Message {
	m := &relay.Message{Topic: topic, Payload: fmt.Appendf(nil, `{"n": %d}`, n), ContentType: "application/json", CreatedAt: time.Now()}
	m.ID = int64(n)
	for i := range 8 {
		m.MessageID[15-i] = byte(n >> (8 * i))
	}
	return m
}

// results gathers the outcomes of a test's messages, by their number, and finds
// what was reported twice.
type results struct {
	t  testing.TB
	mu sync.Mutex
	by map[int64]relay.Outcome

	acknowledged int
	last         string
}

func newResults(t testing.TB) *results { return &results{t: t, by: make(map[int64]relay.Outcome)} }

func (r *results) report(m *relay.Message, o relay.Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if before, twice := r.by[m.ID]; twice {
		r.t.Errorf("message %d was reported twice: %s, then %s (%v)", m.ID, before.Class, o.Class, o.Err)
	}
	r.by[m.ID] = o
	r.last = fmt.Sprintf("%s %q (%v)", o.Class, o.Type, o.Err)
	if o.Class == relay.Acknowledged {
		r.acknowledged++
	}
	// As the relay does: a sink that still reads the message is found by the race
	// detector.
	m.Payload, m.Headers = nil, nil
}

func (r *results) await(n int64) relay.Outcome {
	r.t.Helper()
	var o relay.Outcome
	eventually(r.t, fmt.Sprintf("a report of message %d", n), func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		var ok bool
		if o, ok = r.by[n]; !ok {
			return fmt.Errorf("%d reports", len(r.by))
		}
		return nil
	})
	return o
}

// await publishes one message and returns its outcome.
func await(t testing.TB, s relay.Sink, m *relay.Message) relay.Outcome {
	t.Helper()
	r := newResults(t)
	s.Publish(m, r.report)
	return r.await(m.ID)
}

// expect publishes one message and checks its outcome.
func expect(t testing.TB, s relay.Sink, m *relay.Message, class relay.Class, errorType relay.ErrorType, text string) {
	t.Helper()
	check(t, m, await(t, s, m), class, errorType, text)
}

func check(t testing.TB, m *relay.Message, o relay.Outcome, class relay.Class, errorType relay.ErrorType, text string) {
	t.Helper()
	if o.Class != class || o.Type != errorType {
		t.Errorf("message to %s is %s %q (%v), want %s %q", m.Topic, o.Class, o.Type, o.Err, class, errorType)
	} else if text != "" && !strings.Contains(o.Err.Error(), text) {
		t.Errorf("message to %s: error is %v, want %q in it", m.Topic, o.Err, text)
	}
}

// ctl runs rabbitmqctl.
func ctl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := server(t).Ctl(context.WithoutCancel(t.Context()), args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
