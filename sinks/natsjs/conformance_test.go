package natsjs_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
	"github.com/outbox-relay/outbox-relay/sinks/sinktest"
)

func TestConformance(t *testing.T) {
	sinktest.Run(t, func(t testing.TB) sinktest.Broker { return startBroker(t, "max_payload: 65536") })
}

var _ sinktest.Broker = (*broker)(nil)

// broker is a NATS server with the streams of the tests.
type broker struct {
	*natsserver.Server
	url string // with credentials, if the configuration wants any
}

// Streams and topics that every broker of the tests has.
const (
	goodTopic    = "good.orders"
	fullTopic    = "full"
	silentTopic  = "silent"
	nowhereTopic = "nowhere.at.all"
)

func startBroker(t testing.TB, config string) *broker {
	t.Helper()
	return startBrokerAs(t, config, "")
}

// startBrokerAs names the user, as in a URL, that may make streams.
func startBrokerAs(t testing.TB, config, user string) *broker {
	t.Helper()
	s, err := natsserver.StartInProcess(t.Context(), natsserver.Options{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	b := &broker{Server: s, url: s.URL()}
	if user != "" {
		b.url = "nats://" + user + "@" + s.Addr()
	}
	b.makeStreams(t)
	b.listenSilently(t)
	return b
}

func (b *broker) makeStreams(t testing.TB) {
	t.Helper()
	js := b.admin(t)
	for _, c := range []jetstream.StreamConfig{
		{Name: "GOOD", Subjects: []string{"good.>"}},
		{Name: "FULL", Subjects: []string{fullTopic}, MaxMsgs: 1, Discard: jetstream.DiscardNew},
	} {
		if _, err := js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.Publish(t.Context(), fullTopic, nil); err != nil {
		t.Fatal(err)
	}
}

// listenSilently subscribes to the silent topic, so that its messages are taken
// and never acknowledged. It is gone with the server's first stop.
func (b *broker) listenSilently(t testing.TB) {
	t.Helper()
	conn := connect(t, b.url)
	if _, err := conn.Subscribe(silentTopic, func(*nats.Msg) {}); err != nil {
		t.Fatal(err)
	}
	if err := conn.FlushTimeout(time.Minute); err != nil {
		t.Fatal(err)
	}
}

// connect opens a connection of the test's own.
func connect(t testing.TB, url string, options ...nats.Option) *nats.Conn {
	t.Helper()
	closed := make(chan struct{})
	conn, err := natsserver.Connect(url, append(options, nats.NoReconnect(), nats.ClosedHandler(func(*nats.Conn) { close(closed) }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		<-closed
	})
	return conn
}

func (b *broker) admin(t testing.TB) jetstream.JetStream {
	t.Helper()
	js, err := natsserver.JetStream(connect(t, b.url))
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func (b *broker) Open(t testing.TB, o sinktest.SinkOptions) relay.Sink {
	t.Helper()
	s, err := natsjs.Open(natsjs.Options{
		SinkOptions: link.SinkOptions{
			URLs:       "nats://" + o.Addr,
			Window:     o.Window,
			AckTimeout: o.AckTimeout,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return mutated(s)
}

func (b *broker) Stop(testing.TB) { b.Shutdown() }

func (b *broker) Restart(t testing.TB) {
	t.Helper()
	if err := b.Server.Restart(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}

func (b *broker) Drain(t testing.TB) {
	t.Helper()
	s, err := b.admin(t).Stream(t.Context(), "FULL")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Purge(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func (b *broker) Topics() sinktest.Topics {
	return sinktest.Topics{Good: goodTopic, Full: fullTopic, FullType: relay.ErrorTypeFull, Nowhere: nowhereTopic, Silent: silentTopic}
}

func (b *broker) Stored(t testing.TB, topic string) []sinktest.Stored {
	t.Helper()
	js := b.admin(t)
	name, err := js.StreamNameBySubject(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	var all []sinktest.Stored
	for _, m := range read(t, js, name, topic) {
		all = append(all, stored(m.Headers(), m.Data()))
	}
	return all
}

// read returns what a stream has for a subject.
func read(t testing.TB, js jetstream.JetStream, name, subject string) []jetstream.Msg {
	t.Helper()
	c, err := js.CreateConsumer(t.Context(), name, jetstream.ConsumerConfig{
		FilterSubject: subject, AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := js.DeleteConsumer(t.Context(), name, c.CachedInfo().Name); err != nil {
			t.Error(err)
		}
	}()
	var all []jetstream.Msg
	for n := c.CachedInfo().NumPending; uint64(len(all)) < n; {
		batch, err := c.Fetch(1000, jetstream.FetchMaxWait(30*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		before := len(all)
		for m := range batch.Messages() {
			all = append(all, m)
			if uint64(len(all)) == n {
				break
			}
		}
		if batch.Error() != nil || len(all) == before {
			t.Fatalf("read %d of %d messages: %v", len(all), n, batch.Error())
		}
	}
	return all
}

func stored(h nats.Header, payload []byte) sinktest.Stored {
	s := sinktest.Stored{Headers: make(map[string]string), Payload: payload}
	for name, values := range h {
		switch name {
		case "Nats-Msg-Id":
			s.MessageID = values[0]
		case "Content-Type":
			s.ContentType = values[0]
		case "Outbox-Key":
			s.Keyed, s.Key = true, values[0]
		default:
			s.Headers[name] = strings.Join(values, " AND ")
		}
	}
	return s
}

func (b *broker) Wire() map[string]func(*relay.Message) {
	topic := func(s string) func(*relay.Message) { return func(m *relay.Message) { m.Topic = s } }
	return map[string]func(*relay.Message){
		"topic beyond ASCII":     topic("good.Zürich.注文.🧾"),
		"topic with punctuation": topic(`good.a-b_c:d/e\f"g'h{i}%j$k#l@m!n(o)`),
		"topic of many tokens":   topic("good" + strings.Repeat(".x", 100)),
		"topic with late dollar": topic("good.$JS"),
		"longest topic":          topic("good." + strings.Repeat("x", 3950)),
		"headers near the limit of a stream": func(m *relay.Message) {
			m.Payload = nil
			m.Headers = []relay.Header{{Name: "big", Value: strings.Repeat("v", 60000)}}
		},
		"message of the size limit": func(m *relay.Message) {
			m.ContentType = ""
			m.Payload = make([]byte, 65536-len("NATS/1.0\r\nNats-Msg-Id: \r\n\r\n")-36)
		},
	}
}

func (b *broker) Broken() map[string]func(*relay.Message) {
	topic := func(s string) func(*relay.Message) { return func(m *relay.Message) { m.Topic = s } }
	header := func(name, value string) func(*relay.Message) {
		return func(m *relay.Message) { m.Headers = []relay.Header{{Name: name, Value: value}} }
	}
	return map[string]func(*relay.Message){
		"wildcard token":          topic("good.*"),
		"full wildcard":           topic("good.>"),
		"wildcard within a token": topic("good.a*b"),
		"space in topic":          topic("good.a b"),
		"leading dot":             topic(".good"),
		"trailing dot":            topic("good."),
		"empty token":             topic("good..a"),
		"single dot":              topic("."),
		"JetStream API":           topic("$JS.API.STREAM.DELETE.GOOD"),
		"system":                  topic("$SYS.REQ.SERVER.PING"),
		"dollar":                  topic("$"),
		"somebody's inbox":        topic("_INBOX.abc"),
		"topic over the line":     topic("good." + strings.Repeat("x", 4091)),
		"status":                  header("Status", "404"),
		"status in small letters": header("status", "404"),
		"description":             header("DESCRIPTION", "No Messages"),
		"header name with colon":  header("a:b", "v"),
		"header name with space":  header("a b", "v"),
		"header name not ASCII":   header("naïve", "v"),
		"value begins with space": header("a", " v"),
		"value ends with space":   header("a", "v "),
		"value is a space":        header("a", " "),
		"key ends with space":     func(m *relay.Message) { m.Keyed, m.Key = true, "k " },
		"type begins with space":  func(m *relay.Message) { m.ContentType = " text/plain" },
	}
}

// await waits for the report of one message.
func await(t testing.TB, s relay.Sink, m *relay.Message) relay.Outcome {
	t.Helper()
	reports := make(chan relay.Outcome, 2)
	s.Publish(m, func(_ *relay.Message, o relay.Outcome) { reports <- o })
	select {
	case o := <-reports:
		return o
	case <-time.After(time.Minute):
		t.Fatalf("message to %q was not reported", m.Topic)
		return relay.Outcome{}
	}
}

// reach probes until the broker answers.
func reach(t testing.TB, s relay.Sink) {
	t.Helper()
	sinktest.Eventually(t, time.Minute, "a probe without error", func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		return s.Probe(ctx)
	})
}

// open opens a sink that is closed with the test.
func open(t testing.TB, o natsjs.Options) *natsjs.Sink {
	t.Helper()
	s, err := natsjs.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}
