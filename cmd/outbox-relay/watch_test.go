package main

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/await"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/rabbitserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/transcript"
)

// watching runs the command beside the test.
type watching struct {
	stdout, stderr transcript.Text
	interrupt      context.CancelFunc
	status         chan int
}

func watch(t *testing.T, url string, args ...string) *watching {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w := &watching{interrupt: cancel, status: make(chan int, 1)}
	go func() {
		w.status <- dispatch(ctx, []string{"OUTBOX_SINK_URL=" + url}, append([]string{"watch"}, args...), &w.stdout, &w.stderr)
	}()
	t.Cleanup(cancel)
	return w
}

func (w *watching) await(t *testing.T, says string) {
	t.Helper()
	await.Until(t, "watch says "+says, func() bool { return strings.Contains(w.stderr.String(), says) })
}

func TestWatchShowsWhatStreamsGetAndHave(t *testing.T) {
	t.Parallel()
	broker := startBroker(t, natsserver.Options{})
	w := watch(t, broker.URL(), "orders.*", "--count", "2")
	w.await(t, "no stream has subjects like orders.* yet: waiting for one")
	js := (&patient{t: t, broker: broker}).js()
	for name, subject := range map[string]string{"ORDERS": "orders.>", "BILLS": "bills.>"} {
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{subject}}); err != nil {
			t.Fatal(err)
		}
	}
	w.await(t, "watching orders.* in stream ORDERS; this takes nothing from other consumers")
	for _, m := range []*nats.Msg{
		{Subject: "bills.a", Data: []byte("1")},
		{Subject: "orders.created", Data: []byte("{\n1}"), Header: nats.Header{"Nats-Msg-Id": {"id-1"}, "Outbox-Key": {"42"}, "X": {"y"}}},
		{Subject: "orders.created.deep", Data: []byte("2")},
		{Subject: "orders.bytes", Data: []byte{0xff}},
	} {
		if _, err := js.PublishMsg(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	const line = "orders.created key=42 message_id=id-1 X=y { 1}\n"
	if status := <-w.status; status != 0 || w.stdout.String() != line+"orders.bytes (1 bytes that are not text)\n" {
		t.Errorf("status %d, %q", status, w.stdout.String())
	}

	all := watch(t, broker.URL(), "--all", "--json")
	await.Until(t, "all stored messages are shown", func() bool { return strings.Count(all.stdout.String(), "\n") == 4 })
	all.interrupt()
	if status := <-all.status; status != 0 {
		t.Errorf("interrupted: status %d, %s", status, all.stderr.String())
	}
	topics := map[string]arrivalView{}
	for text := range strings.Lines(all.stdout.String()) {
		var v arrivalView
		if err := json.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		topics[v.Topic] = v
	}
	if v := topics["orders.created"]; v.MessageID != "id-1" || v.Key == nil || *v.Key != "42" || v.Headers["X"] != "y" || v.Payload == nil || *v.Payload != "{\n1}" || v.ArrivedAt == nil {
		t.Errorf("%+v", v)
	}
	if v := topics["orders.bytes"]; len(v.PayloadBase64) != 1 || v.Payload != nil || v.Key != nil {
		t.Errorf("%+v", v)
	}

	short := watch(t, broker.URL(), "orders.>", "--all", "--count", "9", "--timeout", "2s")
	if status := <-short.status; status != 1 || !strings.Contains(short.stderr.String(), "in 2s, and not 9") {
		t.Errorf("status %d, %s", status, short.stderr.String())
	}
	if gone := watch(t, "nats://127.0.0.1:1"); <-gone.status != 1 || !strings.Contains(gone.stderr.String(), "connect to NATS at") {
		t.Errorf("no broker: %s", gone.stderr.String())
	}
}

func TestWatchShowsWhatAnExchangeGets(t *testing.T) {
	t.Parallel()
	server, err := rabbitserver.Start(t.Context(), rabbitserver.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
	w := watch(t, server.URL(), "orders.#", "--count", "1")
	w.await(t, `exchange "outbox" does not exist yet: waiting for it`)
	conn, err := amqp.Dial(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.ExchangeDeclare("outbox", amqp.ExchangeTopic, true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	w.await(t, "watching orders.# on exchange outbox, by a queue that ends with this")
	for key, body := range map[string]string{"bills.a": "1", "orders.created": "2"} {
		m := amqp.Publishing{MessageId: "id-1", Body: []byte(body), Headers: amqp.Table{"Outbox-Key": "42", "n": 7}}
		if err := ch.PublishWithContext(t.Context(), "outbox", key, false, false, m); err != nil {
			t.Fatal(err)
		}
	}
	if status := <-w.status; status != 0 || w.stdout.String() != "orders.created key=42 message_id=id-1 n=7 2\n" {
		t.Errorf("status %d, %q, %s", status, w.stdout.String(), w.stderr.String())
	}
	await.Until(t, "the queue has gone", func() bool {
		listed, err := server.Ctl(t.Context(), "list_queues", "--no-table-headers", "name")
		if err != nil {
			t.Fatal(err)
		}
		return listed == ""
	})
	quiet := watch(t, server.URL())
	quiet.await(t, "watching # on exchange")
	quiet.interrupt()
	if status := <-quiet.status; status != 0 || strings.Count(quiet.stderr.String(), "\n") != 1 {
		t.Errorf("interrupted: status %d, %s", status, quiet.stderr.String())
	}
	if stored := watch(t, server.URL(), "--all"); <-stored.status != 1 || !strings.Contains(stored.stderr.String(), "leave --all out") {
		t.Errorf("--all: %s", stored.stderr.String())
	}
}

func TestWatchSaysWhichRightsItLacks(t *testing.T) {
	t.Parallel()
	broker := startBroker(t, natsserver.Options{Config: `authorization: { users: [
		{user: admin, password: a},
		{user: blind, password: b, permissions: {publish: ["orders.>"], subscribe: ["_INBOX.>"]}},
		{user: halfblind, password: c, permissions: {publish: ["$JS.API.STREAM.>"], subscribe: ["_INBOX.>"]}}] }`})
	url := func(user string) string { return strings.Replace(broker.URL(), "//", "//"+user+"@", 1) }
	conn, err := natsserver.Connect(url("admin:a"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := natsserver.JetStream(conn)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}}); err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]string{
		"blind:b":     "the user may not look for streams: allow it to publish to $JS.API.STREAM.NAMES",
		"halfblind:c": "the user may not read stream ORDERS: allow it to publish to $JS.API.CONSUMER.>",
	} {
		w := watch(t, url(user))
		if status := <-w.status; status != 1 || !strings.Contains(w.stderr.String(), want) {
			t.Errorf("%s: status %d, %s, want %q", user, status, w.stderr.String(), want)
		}
	}
}
