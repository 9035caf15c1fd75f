package natsjs_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
)

// expect publishes one message and checks its outcome.
func expect(t *testing.T, s relay.Sink, m *relay.Message, class relay.Class, errorType relay.ErrorType, text string) {
	t.Helper()
	check(t, m, await(t, s, m), class, errorType, text)
}

// tries is how often a message is published in a test that a pause of the machine can
// disturb. A fault of the sink disturbs each of them.
const tries = 5

// expectInTime does what expect does, and publishes again if the sink has given up its
// connection: a machine that stands still for seconds answers no question in time.
func expectInTime(t *testing.T, s relay.Sink, m *relay.Message, class relay.Class, errorType relay.ErrorType, text string) {
	t.Helper()
	o := await(t, s, m)
	for n := 1; n < tries && o.Type == relay.ErrorTypeUnresponsive; n++ {
		t.Logf("message to %s again: %v", m.Topic, o.Err)
		reach(t, s)
		o = await(t, s, m)
	}
	check(t, m, o, class, errorType, text)
}

func check(t *testing.T, m *relay.Message, o relay.Outcome, class relay.Class, errorType relay.ErrorType, text string) {
	t.Helper()
	if o.Class != class || o.Type != errorType {
		t.Errorf("message to %s is %s %q (%v), want %s %q", m.Topic, o.Class, o.Type, o.Err, class, errorType)
	} else if text != "" && !strings.Contains(o.Err.Error(), text) {
		t.Errorf("message to %s: error is %v, want %q in it", m.Topic, o.Err, text)
	}
}

func TestStreamsRefusalsAreTranslated(t *testing.T) {
	b := startBroker(t, "")
	js := b.admin(t)
	for _, c := range []jetstream.StreamConfig{
		{Name: "SMALL", Subjects: []string{"small"}, MaxMsgSize: 400},
		{Name: "BYTES", Subjects: []string{"bytes"}, MaxBytes: 600, Discard: jetstream.DiscardNew},
		{Name: "PERSUBJECT", Subjects: []string{"per.>"}, MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DiscardNewPerSubject: true},
		{Name: "SEALED", Subjects: []string{"sealed"}},
	} {
		if _, err := js.CreateStream(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	sealed, err := js.Stream(t.Context(), "SEALED")
	if err != nil {
		t.Fatal(err)
	}
	config := sealed.CachedInfo().Config
	config.Sealed = true
	if _, err := js.UpdateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.URL()}})
	reach(t, s)
	expect(t, s, messageTo("small", 1), relay.Rejected, relay.ErrorTypeTooLarge, "max_msg_size")
	expect(t, s, messageTo("bytes", 2), relay.Acknowledged, "", "")
	expect(t, s, messageTo("bytes", 3), relay.Refused, relay.ErrorTypeFull, `stream "BYTES"`)
	expect(t, s, messageTo("per.a", 4), relay.Acknowledged, "", "")
	expect(t, s, messageTo("per.a", 5), relay.Refused, relay.ErrorTypeFull, "maximum messages per subject")
	expect(t, s, messageTo("per.b", 6), relay.Acknowledged, "", "")
	expect(t, s, messageTo("sealed", 7), relay.Refused, relay.ErrorTypeNacked, "sealed")
}

func TestAccountLimitsAreFull(t *testing.T) {
	b := startBrokerAs(t, `accounts { A { jetstream { max_store: 2000, max_streams: 5 }, users: [{user: a, password: a}] } }`, "a:a")
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.url}})
	reach(t, s)
	for i := range 20 {
		o := await(t, s, messageTo(goodTopic, i))
		if o.Class == relay.Acknowledged {
			continue
		}
		if o.Class != relay.Refused || o.Type != relay.ErrorTypeFull || !strings.Contains(o.Err.Error(), "limits") {
			t.Errorf("outcome is %s %q (%v)", o.Class, o.Type, o.Err)
		}
		return
	}
	t.Error("the account's limit was never reached")
}

// respond answers each message to the subject with the text.
func respond(t *testing.T, conn *nats.Conn, subject, text string) *nats.Subscription {
	t.Helper()
	sub, err := conn.Subscribe(subject, func(m *nats.Msg) {
		if err := m.Respond([]byte(text)); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.FlushTimeout(time.Minute); err != nil {
		t.Fatal(err)
	}
	return sub
}

func TestAnswerThatIsNoStreamsAcknowledgesNothing(t *testing.T) {
	b := startBroker(t, "")
	conn := connect(t, b.URL())
	const ackTimeout = 4 * time.Second
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.URL(), AckTimeout: ackTimeout}})
	answers := []string{
		"", "OK", "{}", `{"stream":"X"}`, `{"stream":"","seq":1}`, `{"stream":"X","seq":0}`, `[1]`, `{"seq":"1","stream":"X"}`,
		`{"error":"no"}`, `{"error":{"code":404,"message":"no such order"}}`,
	}
	// Each answer has a topic of its own, and all messages wait at the same time.
	var waiting []int
	for i, answer := range answers {
		respond(t, conn, fmt.Sprint("service.", i), answer)
		waiting = append(waiting, i)
	}
	for n := 1; len(waiting) > 0; n++ {
		reach(t, s)
		reports := make(chan report, len(waiting))
		for _, i := range waiting {
			begin := time.Now()
			s.Publish(messageTo(fmt.Sprint("service.", i), i), func(_ *relay.Message, o relay.Outcome) {
				if d := time.Since(begin); o.Class == relay.Refused && d < ackTimeout {
					t.Errorf("answer %q settles the message after %s, before a stream's answer could have come", answers[i], d)
				}
				reports <- report{i, o}
			})
		}
		published := len(waiting)
		waiting = nil
		for _, r := range collect(t, reports, published) {
			if n < tries && r.Type == relay.ErrorTypeUnresponsive {
				waiting = append(waiting, r.place)
				continue
			}
			check(t, messageTo(fmt.Sprint("service.", r.place), r.place), r.Outcome, relay.Refused, relay.ErrorTypeNacked, "not a stream")
		}
	}
}

// A service listens on a topic that a stream has, and is mostly the first to answer.
func TestServiceThatAnswersFirstRefusesNothingThatIsStored(t *testing.T) {
	b := startBroker(t, "")
	respond(t, connect(t, b.URL()), goodTopic, "OK")
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.URL(), AckTimeout: 10 * time.Second}})
	reach(t, s)
	for i := range 100 {
		expect(t, s, messageTo(goodTopic, i), relay.Acknowledged, "", "")
	}
	if n := len(b.Stored(t, goodTopic)); n != 100 {
		t.Errorf("%d messages are stored, want 100", n)
	}
}

func TestSecondAnswerForOnePublishAcknowledgesNothingElse(t *testing.T) {
	b := startBroker(t, "")
	conn := connect(t, b.URL())
	inboxes := make(chan string, 10)
	if _, err := conn.Subscribe("twice", func(m *nats.Msg) {
		inboxes <- m.Reply
		if err := m.Respond([]byte(`{"stream":"A","seq":1}`)); err != nil {
			t.Error(err)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := conn.FlushTimeout(time.Minute); err != nil {
		t.Fatal(err)
	}
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.URL(), AckTimeout: 3 * time.Second}})
	reach(t, s)
	expect(t, s, messageTo("twice", 1), relay.Acknowledged, "", "")
	// The next message uses the same slot, and is answered by nobody.
	reports := make(chan relay.Outcome, 1)
	s.Publish(messageTo(silentTopic, 2), func(_ *relay.Message, o relay.Outcome) { reports <- o })
	if err := conn.Publish(<-inboxes, []byte(`{"stream":"B","seq":1}`)); err != nil {
		t.Fatal(err)
	}
	if o := <-reports; o.Class != relay.Refused || o.Type != relay.ErrorTypeTimeout {
		t.Errorf("the message of the silent topic is %s %q (%v)", o.Class, o.Type, o.Err)
	}
}

func TestServerWithoutJetStreamIsNotReady(t *testing.T) {
	b := startBroker(t, "")
	b.Shutdown()
	plain := startPlain(t, "jetstream: false")
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: plain.URL()}})
	err := probe(t, s)
	if err == nil || !strings.Contains(err.Error(), "without JetStream") {
		t.Errorf("probe says %v", err)
	}
	expect(t, s, messageTo(goodTopic, 1), relay.Unavailable, relay.ErrorTypeNotReady, "JetStream")
}

func TestAccountWithoutJetStreamIsNotReady(t *testing.T) {
	plain := startPlain(t, `accounts { A { users: [{user: a, password: a}] }, J { jetstream: enabled } }`)
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: "nats://a:a@" + plain.Addr()}})
	err := probe(t, s)
	if err == nil || !strings.Contains(err.Error(), "no JetStream for this account") {
		t.Errorf("probe says %v", err)
	}
	expect(t, s, messageTo(goodTopic, 1), relay.Unavailable, relay.ErrorTypeNotReady, "JetStream")
}

func TestOwnLimitLowersTheServers(t *testing.T) {
	b := startBroker(t, "")
	s := open(t, natsjs.Options{SinkOptions: link.SinkOptions{URLs: b.URL(), MaxMessageBytes: 299}})
	if n := s.MaxMessageBytes(); n != 299 {
		t.Errorf("limit before the connection is %d", n)
	}
	reach(t, s)
	if n := s.MaxMessageBytes(); n != 299 {
		t.Errorf("limit is %d", n)
	}
	expect(t, s, messageTo(goodTopic, 1), relay.Rejected, relay.ErrorTypeTooLarge, "the limit is 299")
}
