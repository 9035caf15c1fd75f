package rabbitmq_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/faultproxy"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/rabbitmq"
	"github.com/outbox-relay/outbox-relay/sinks/sinktest"
)

func TestConformanceOnClassicQueues(t *testing.T) {
	sinktest.Run(t, func(t testing.TB) sinktest.Broker { return newBroker(t, amqp.QueueTypeClassic) })
}

func TestConformanceOnQuorumQueues(t *testing.T) {
	sinktest.Run(t, func(t testing.TB) sinktest.Broker { return newBroker(t, amqp.QueueTypeQuorum) })
}

var _ sinktest.Broker = (*broker)(nil)

const (
	goodTopic    = "good.orders"
	fullTopic    = "full"
	silentTopic  = "silent"
	nowhereTopic = "nowhere.at.all"
	silentQueue  = "silent"
)

// broker is one test's share of the package's node, behind a proxy of its own. A node
// takes seconds to start, so a proxy that refuses clients stands for a stopped node.
// Another test kills a node and sees that nothing is lost.
type broker struct {
	*place
	front      *faultproxy.Proxy
	good, full string          // queues
	taken      []amqp.Delivery // out of good so far
}

func newBroker(t testing.TB, kind string) *broker {
	t.Helper()
	p := newPlace(t, kind)
	b := &broker{
		place: p,
		good:  p.queue("good", "good.#", nil),
		full:  p.queue("full", fullTopic, amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"}),
	}
	p.bindSilentQueue()
	var err error
	if b.front, err = faultproxy.Start(t.Context(), server(t).Addr()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.front.Close() })
	b.fill()
	return b
}

var silence sync.Once

// makeSilentQueue makes a queue whose process is suspended: what is routed to it
// is never confirmed, like that of a quorum queue without a quorum.
func makeSilentQueue(t testing.TB) {
	t.Helper()
	silence.Do(func() {
		_, ch := connect(t)
		if _, err := ch.QueueDeclare(silentQueue, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
		ctl(t, "eval", `{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"`+silentQueue+`">>)), sys:suspend(amqqueue:get_pid(Q)).`)
	})
}

// bindSilentQueue routes silentTopic to a queue that confirms nothing.
func (p *place) bindSilentQueue() {
	p.t.Helper()
	makeSilentQueue(p.t)
	if err := p.ch.QueueBind(silentQueue, silentTopic, p.exchange, false, nil); err != nil {
		p.t.Fatal(err)
	}
}

// fill publishes until the queue refuses: a quorum queue takes a few more than
// its limit.
func (b *broker) fill() {
	b.t.Helper()
	if err := b.ch.Confirm(false); err != nil {
		b.t.Fatal(err)
	}
	for range 1000 {
		dc, err := b.ch.PublishWithDeferredConfirm(b.exchange, fullTopic, true, false, amqp.Publishing{DeliveryMode: amqp.Persistent})
		if err != nil {
			b.t.Fatal(err)
		}
		if !dc.Wait() {
			return
		}
	}
	b.t.Fatal("the full queue takes any number of messages")
}

func (b *broker) Addr() string { return b.front.Addr() }

func (b *broker) Open(t testing.TB, o sinktest.SinkOptions) relay.Sink {
	t.Helper()
	s, err := rabbitmq.Open(rabbitmq.Options{
		SinkOptions: link.SinkOptions{
			URLs:            "amqp://" + o.Addr,
			Window:          o.Window,
			AckTimeout:      o.AckTimeout,
			MaxMessageBytes: 65536,
		},
		Exchange: b.exchange,
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (b *broker) Stop(testing.TB) {
	b.front.Refuse(true)
	b.front.Cut()
}

func (b *broker) Restart(testing.TB) { b.front.Refuse(false) }

func (b *broker) Drain(t testing.TB) {
	t.Helper()
	if _, err := b.ch.QueuePurge(b.full, false); err != nil {
		t.Fatal(err)
	}
}

func (b *broker) Topics() sinktest.Topics {
	return sinktest.Topics{
		Good: goodTopic, Full: fullTopic, FullType: relay.ErrorTypeNacked, Nowhere: nowhereTopic, Silent: silentTopic,
	}
}

func (b *broker) Stored(t testing.TB, topic string) []sinktest.Stored {
	t.Helper()
	b.taken = append(b.taken, take(t, b.good)...)
	var all []sinktest.Stored
	for _, d := range b.taken {
		if d.RoutingKey == topic {
			all = append(all, stored(d))
		}
	}
	return all
}

func stored(d amqp.Delivery) sinktest.Stored {
	s := sinktest.Stored{MessageID: d.MessageId, ContentType: d.ContentType, Headers: make(map[string]string), Payload: d.Body}
	for name, value := range d.Headers {
		switch name {
		case "Outbox-Key":
			s.Keyed, s.Key = true, fmt.Sprint(value)
		case "x-delivery-count": // of a quorum queue, into which the test has looked before
		default:
			text, ok := value.(string)
			if !ok {
				text = fmt.Sprintf("%T %v", value, value)
			}
			s.Headers[name] = text
		}
	}
	return s
}

func (b *broker) Wire() map[string]func(*relay.Message) {
	topic := func(s string) func(*relay.Message) { return func(m *relay.Message) { m.Topic = s } }
	return map[string]func(*relay.Message){
		"topic beyond ASCII":  topic("good.Zürich.注文.🧾"),
		"topic with wildcard": topic("good.*.#"), // means nothing in a routing key
		"topic with spaces":   topic("good. a b "),
		"empty words":         topic("good..a."),
		"longest topic":       topic("good." + strings.Repeat("x", 250)),
		"longest key":         func(m *relay.Message) { m.Keyed, m.Key = true, strings.Repeat("k", 255) },
		"longest type":        func(m *relay.Message) { m.ContentType = strings.Repeat("t", 255) },
		"delay": func(m *relay.Message) {
			m.Headers = []relay.Header{{Name: "x-delay", Value: "5000"}}
		},
		"delay that is over": func(m *relay.Message) {
			m.Headers = []relay.Header{{Name: "x-delay", Value: "-5000"}}
		},
		"longest header name": func(m *relay.Message) {
			m.Headers = []relay.Header{{Name: strings.Repeat("n", 255), Value: "v"}}
		},
		"headers that fill a frame": func(m *relay.Message) {
			m.ContentType = ""
			// The frame less its own 8 bytes, class to flags, type, table, mode, id, time.
			room := 131072 - 8192 - 8 - 14 - 1 - 4 - 1 - 37 - 8
			m.Headers = []relay.Header{{Name: "big", Value: strings.Repeat("v", room-1-3-1-4)}}
		},
		"message of the size limit": func(m *relay.Message) { m.Payload = make([]byte, 65536) },
	}
}

func (b *broker) Broken() map[string]func(*relay.Message) {
	header := func(name, value string) func(*relay.Message) {
		return func(m *relay.Message) { m.Headers = []relay.Header{{Name: name, Value: value}} }
	}
	return map[string]func(*relay.Message){
		"topic over a short string":       func(m *relay.Message) { m.Topic = "good." + strings.Repeat("x", 251) },
		"key over a short string":         func(m *relay.Message) { m.Keyed, m.Key = true, strings.Repeat("k", 256) },
		"type over a short string":        func(m *relay.Message) { m.ContentType = strings.Repeat("t", 256) },
		"header name over a short string": header(strings.Repeat("n", 256), "v"),
		"delay that is no number":         header("x-delay", "5s"),
		"delay of nothing":                header("x-delay", ""),
		"delay of a sign":                 header("x-delay", "-"),
		"delay with a fraction":           header("x-delay", "1.5"),
		"delay of too many digits":        header("x-delay", "12345678901"),
		"carbon copy":                     header("CC", "elsewhere"),
		"blind carbon copy":               header("BCC", "elsewhere"),
		"deaths":                          header("x-death", "queue"),
		"first death":                     header("x-first-death-queue", "queue"),
		"last death":                      header("x-last-death-reason", "expired"),
		"direct reply":                    func(m *relay.Message) { m.Topic = "amq.rabbitmq.reply-to" },
		"direct reply to somebody":        func(m *relay.Message) { m.Topic = "amq.rabbitmq.reply-to.g1h2AA5yZXBseUA" },
	}
}
