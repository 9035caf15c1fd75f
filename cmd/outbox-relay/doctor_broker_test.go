package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/relay"
)

func TestDoctorOfABrokerThatIsNotThere(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.broker.Shutdown()
	c := p.suffers("broker", relay.Fault, "connection refused")
	if want := "start NATS at " + p.broker.Addr() + ","; !strings.HasPrefix(c.Fix[0], want) {
		t.Errorf("fix %q, want %q", c.Fix, want)
	}
	p.suffers("table", relay.Fine) // examined all the same
	if err := p.broker.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.suffers("broker", relay.Fine)
}

func TestDoctorOfABrokerThatTakesNoMessages(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	sink := func(o natsserver.Options, user string) {
		p.broker = startBroker(t, o)
		p.env["OUTBOX_SINK_URL"] = "nats://" + user + p.broker.Addr()
	}
	sink(natsserver.Options{Config: "jetstream: false"}, "")
	c := p.suffers("broker", relay.Fault, "runs without JetStream")
	if want := "start it with -js, or with jetstream: true in its configuration"; c.Fix[0] != want {
		t.Errorf("fix %q, want %q", c.Fix, want)
	}
	sink(natsserver.Options{Config: "jetstream: true"}, "")
	p.suffers("broker", relay.Fine)

	accounts := natsserver.Options{Config: `accounts {
		with: {jetstream: enabled, users: [{user: relay, password: s3cret}]}
		without: {users: [{user: other, password: s3cret}]} }`}
	sink(accounts, "other:s3cret@")
	c = p.suffers("broker", relay.Fault, "no JetStream for this account")
	if want := "or set OUTBOX_SINK_URL to another user"; !strings.Contains(c.Fix[0], want) {
		t.Errorf("fix %q, want %q", c.Fix, want)
	}
	p.env["OUTBOX_SINK_URL"] = "nats://relay:wrong-s3cret@" + p.broker.Addr()
	c = p.suffers("broker", relay.Fault, "Authorization Violation")
	if !strings.Contains(c.Fix[0], "check OUTBOX_SINK_URL") || strings.Contains(fmt.Sprint(c), "s3cret") {
		t.Errorf("%+v", c)
	}
	p.env["OUTBOX_SINK_URL"] = "nats://relay:s3cret@" + p.broker.Addr()
	p.suffers("broker", relay.Fine)
}

func TestDoctorFixesStreams(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.sql(`INSERT INTO outbox (topic, payload, sent_at) VALUES ('payments.made', '1', now())`)
	p.suffers("stream of payments.made", relay.Fault, "no stream has it") // sent ones, where none is pending
	p.sql(`INSERT INTO outbox (topic, payload, available_at) VALUES ('orders.created', '1', NULL), ('orders.paid', '1', NULL),
		('orders', '1', NULL), ('it''s.here', '1', NULL), ('shipments.sent', '1', NULL), ('shipments.lost', '1', NULL), ('no subject', '1', NULL)`)
	p.stream("nats stream add ORDERS --subjects='something.else'") // the name is taken
	p.stream("nats stream add PART --subjects='shipments.sent'")   // a part is taken

	c := p.suffers("stream of orders.created", relay.Fault, "no stream has it")
	if want := "nats stream add ORDERS_2 --subjects='orders,orders.>' --storage=file --dupe-window=2m --defaults"; c.Fix[0] != want {
		t.Errorf("fix %q, want %q", c.Fix, want)
	}
	p.recovers(c)
	p.suffers("stream of orders.paid", relay.Fine, "ORDERS_2")
	p.suffers("stream of orders", relay.Fine, "ORDERS_2")
	p.heals("stream of shipments.lost", relay.Fault)
	if d := p.find(p.doctor(), "stream of no subject"); d.Severity != "warning" {
		t.Errorf("%+v", d)
	}
	// What a row says stays one word of a shell's.
	c = p.suffers("stream of it's.here", relay.Fault)
	if want := `--subjects='it'\''s.>'`; !strings.Contains(c.Fix[0], want) {
		t.Errorf("fix %q, want %q", c.Fix, want)
	}
	p.env["OUTBOX_TOPOLOGY"] = "create"
	p.suffers("stream of it's.here", relay.Fine, "it will be added to stream OUTBOX")
}

func TestDoctorFixesTheStreamsConfiguration(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.sql(`INSERT INTO outbox (topic, payload) VALUES ('orders.created', '1')`)
	config := streamConfig()
	config.Duplicates, config.NoAck = time.Second, true
	if _, err := p.js().CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	p.heals("stream ORDERS", relay.Fault, "acknowledges nothing", "for 1s only")
}

// The stream keeps ids no longer than messages, so advice for one needs the other.
func TestDoctorSaysWhetherMessagesGoInBatches(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.sql(`INSERT INTO outbox (topic, payload) VALUES ('orders.created', '1')`)
	p.stream("nats stream add ORDERS --subjects='orders.>' --dupe-window=2m")
	c := p.suffers("fast-ingest of ORDERS", relay.Fine, "one message is on its way", "nats stream edit 'ORDERS' --force --allow-fast switches it on")
	p.recovers(c)
	p.suffers("fast-ingest of ORDERS", relay.Fine, "on: of a key many messages")
	p.env["OUTBOX_NATS_FAST_INGEST"] = "off"
	p.suffers("fast-ingest of ORDERS", relay.Fine, "OUTBOX_NATS_FAST_INGEST=off")
}

func TestDoctorFixesAStreamThatKeepsMessagesBriefly(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.sql(`INSERT INTO outbox (topic, payload) VALUES ('orders.created', '1')`)
	config := streamConfig()
	config.MaxAge = time.Minute
	if _, err := p.js().CreateStream(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	p.heals("stream ORDERS", relay.Warning, "for 1m0s only")
}

func TestDoctorFixesAStreamThatDropsWhatItHas(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.sql(`INSERT INTO outbox (topic, payload) VALUES ('orders.created', '1')`)
	for name, limit := range map[string]func(*jetstream.StreamConfig){
		"messages":              func(c *jetstream.StreamConfig) { c.MaxMsgs = 10 },
		"bytes":                 func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 },
		"messages of a subject": func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject = 10 },
		"both":                  func(c *jetstream.StreamConfig) { c.MaxMsgs, c.MaxMsgsPerSubject = 10, 10 },
	} {
		config := streamConfig()
		limit(&config)
		if _, err := p.js().CreateStream(t.Context(), config); err != nil {
			t.Fatal(name, err)
		}
		p.heals("stream ORDERS", relay.Warning, "dropping the oldest")
		if err := p.js().DeleteStream(t.Context(), config.Name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDoctorFindsAStreamThatKeepsNothing(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.sql(`INSERT INTO outbox (topic, payload, available_at) VALUES ('orders.created', '1', NULL), ('orders.paid', '1', NULL)`)
	config := streamConfig()
	config.Retention = jetstream.InterestPolicy
	stream, err := p.js().CreateStream(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	// It is as the check says: the server acknowledges and stores nothing.
	if _, err := p.js().Publish(t.Context(), "orders.created", nil); err != nil {
		t.Fatal(err)
	}
	if info, err := stream.Info(t.Context()); err != nil || info.State.Msgs != 0 {
		t.Fatalf("%+v, %v", info, err)
	}
	p.suffers("stream of orders.created", relay.Fault, "drops them")
	if _, err := stream.CreateConsumer(t.Context(), jetstream.ConsumerConfig{Durable: "created", FilterSubjects: []string{"orders.created", "orders.*.new"}}); err != nil {
		t.Fatal(err)
	}
	p.suffers("stream of orders.created", relay.Fine)
	p.heals("stream of orders.paid", relay.Fault, "drops them")
}

func TestDoctorSaysWhatItMayNotLookUp(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.sql(`INSERT INTO outbox (topic, payload) VALUES ('orders.created', '1')`)
	p.broker = startBroker(t, natsserver.Options{Config: `authorization { users: [
		{user: relay, password: s3cret, permissions: {publish: ["orders.>"], subscribe: ["_INBOX.>"]}}] }`})
	p.env["OUTBOX_SINK_URL"] = "nats://relay:s3cret@" + p.broker.Addr()
	p.suffers("broker", relay.Fine)
	p.suffers("broker's rights", relay.Warning, "may not look up streams")
	p.env["OUTBOX_SINK_URL"], p.env["OUTBOX_NATS_CREDS_FILE"] = "nats://"+p.broker.Addr(), "/nowhere/relay.creds"
	p.suffers("broker", relay.Fault, "/nowhere/relay.creds")
}
