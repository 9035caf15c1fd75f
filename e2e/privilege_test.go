package e2e_test

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
)

// What docs/security.md says is enough for the relay is enough, and no more than it
// says. The servers are set up with the blocks of the page.

// documented is the block of docs/security.md with that info string.
func documented(t testing.TB, info string) string {
	t.Helper()
	page, err := os.ReadFile("../docs/security.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile("(?ms)^```" + regexp.QuoteMeta(info) + "\n(.*?)^```$").FindSubmatch(page)
	if found == nil {
		t.Fatalf("docs/security.md has no block %q", info)
	}
	return string(found[1])
}

// edited is a text in which something stands once, and is replaced.
func edited(t testing.TB, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i+1 < len(pairs); i += 2 {
		if strings.Count(text, pairs[i]) != 1 {
			t.Fatalf("%q stands %d times in docs/security.md's block, want once:\n%s", pairs[i], strings.Count(text, pairs[i]), text)
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return text
}

// deliver inserts a row of the topic and waits until it is marked.
func (w *world) deliver(topic string) {
	w.t.Helper()
	w.exec(`INSERT INTO outbox (topic, payload) VALUES ('` + topic + `', '{}')`)
	w.await("the row is sent", func() bool { return w.count(`SELECT count(*) FROM outbox WHERE sent_at IS NULL`) == 0 })
}

func TestDocumentedNATSPermissionsAreEnoughAndNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{rabbitmq: true}) // of which only the broker is made here
	config := edited(t, documented(t, "text nats-server.conf"), "users: [", "users: [{user: admin, password: admin}")
	server, err := natsserver.StartProcess(t.Context(), natsserver.Options{Config: config})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	as := func(user string) string { return "nats://" + user + "@" + server.Addr() }

	admin, err := natsserver.Connect(as("admin:admin"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	js, err := natsserver.JetStream(admin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}}); err != nil {
		t.Fatal(err)
	}
	w.env["OUTBOX_SINK_URL"] = as("relay:change-me")
	w.env["OUTBOX_NATS_INBOX_PREFIX"] = "_INBOX_relay"
	relay := w.relay()
	w.deliver("orders.created")
	relay.Terminate()

	denied := make(chan error, 10)
	user, err := natsserver.Connect(as("relay:change-me"), nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(user.Close)
	for what, try := range map[string]func() error{
		"publish elsewhere":              func() error { return user.Publish("billing.paid", nil) },
		"ask JetStream":                  func() error { return user.Publish("$JS.API.STREAM.NAMES", nil) },
		"read the topics":                func() error { _, err := user.SubscribeSync("orders.>"); return err },
		"read the answers to its fellow": func() error { _, err := user.SubscribeSync("_INBOX.>"); return err },
	} {
		if err := errors.Join(try(), user.Flush()); err != nil {
			t.Fatal(err)
		}
		if err := receive(t, denied); !errors.Is(err, nats.ErrPermissionViolation) {
			t.Errorf("the relay's user may %s: %v", what, err)
		}
	}
}

func TestDocumentedRabbitMQPermissionsAreEnoughAndNoMore(t *testing.T) {
	t.Parallel()
	server := ownNode(t)
	w := newRabbitWorld(t, server, nil)
	w.exchange = "outbox" // as the page has it
	w.declareExchange()
	w.admin(func(ch *amqp.Channel) error { return ch.QueueBind(w.queue, "#", w.exchange, false, nil) })
	if _, err := server.Shell(t.Context(), documented(t, "sh rabbitmqctl")); err != nil {
		t.Fatal(err)
	}
	w.env["OUTBOX_SINK_URL"] = server.URLAs("relay", "change-me")
	w.env["OUTBOX_RABBITMQ_EXCHANGE"] = "outbox"
	relay := w.relay()
	w.deliver("orders.created")
	relay.Terminate()

	conn, err := amqp.Dial(server.URLAs("relay", "change-me"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	publish := func(exchange, key string) func(*amqp.Channel) error {
		return func(ch *amqp.Channel) error {
			closed := ch.NotifyClose(make(chan *amqp.Error, 1))
			if err := ch.PublishWithContext(t.Context(), exchange, key, false, false, amqp.Publishing{}); err != nil {
				return err
			}
			return receive(t, closed)
		}
	}
	for what, try := range map[string]func(*amqp.Channel) error{
		"publish to another exchange": publish("amq.topic", "orders.created"),
		"publish to another topic":    publish("outbox", "billing.paid"),
		"publish to a queue":          publish("", w.queue),
		"declare a queue": func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare("own", true, false, false, false, nil)
			return err
		},
		"read a queue": func(ch *amqp.Channel) error { _, _, err := ch.Get(w.queue, true); return err },
	} {
		ch, err := conn.Channel()
		if err != nil {
			t.Fatal(err)
		}
		var refused *amqp.Error
		if err := try(ch); !errors.As(err, &refused) || refused.Code != amqp.AccessRefused {
			t.Errorf("the relay's user may %s: %v", what, err)
		}
	}
}

// receive waits for something that comes soon.
func receive[T any](t testing.TB, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("nothing came within %v", patience)
	}
	panic("not reached")
}

func TestDocumentedDatabasePrivilegesAreEnoughAndNoMore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{cluster: pgtest.Own(t, nil)})
	url := w.secureDatabase()
	hba := edited(t, documented(t, "text pg_hba.conf"), "10.0.0.0/8", "127.0.0.1/32", " shop ", " postgres ", " relay ", " "+w.role+" ")
	w.replaceHBA("host all "+pgserver.Superuser+" 127.0.0.1/32 trust", hba)
	w.env["OUTBOX_DATABASE_URL"] = url

	// With REPLICATION, from the log.
	relay := w.relay()
	w.awaitTailing(relay)
	w.deliver("oracle.log")
	relay.Terminate()
	for what, url := range map[string]string{
		"enter another database": strings.Replace(url, "/postgres?", "/template1?", 1),
		"stream the whole log":   url + "&replication=true",
		"come without TLS":       w.relayURL(),
	} {
		var refused *pgconn.PgError
		conn, err := pgconn.Connect(t.Context(), url)
		if err == nil {
			_ = conn.Close(t.Context())
		}
		if !errors.As(err, &refused) || refused.Code != "28000" {
			t.Errorf("the relay's role may %s: %v", what, err)
		}
	}

	// Without, by polling.
	w.exec(edited(t, documented(t, "sql polling only"), "ROLE relay ", "ROLE "+w.role+" "))
	relay = w.relay()
	w.deliver("oracle.poll")
	if mode := w.status(relay).Mode; mode != "polling" {
		t.Errorf("without REPLICATION the relay is %s", mode)
	}
	relay.Terminate()

	// The application.
	w.exec(`CREATE ROLE shop`)
	w.exec(documented(t, "sql application"))
	w.exec(`SET ROLE shop`)
	w.exec(`INSERT INTO outbox (topic, payload) VALUES ('oracle.shop', '{}')`)
	if _, err := w.conn().Exec(t.Context(), `SELECT FROM outbox`); err == nil {
		t.Error("the application may read the outbox")
	}
}
