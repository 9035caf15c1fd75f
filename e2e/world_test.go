package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
	"github.com/outbox-relay/outbox-relay/schema"
)

const (
	// patience is how long a test waits for what must happen soon.
	patience = 60 * time.Second
	// longPatience is for what takes the longer the more rows a test has made.
	longPatience = 5 * time.Minute
	// window is OUTBOX_MAX_IN_FLIGHT, and with it the number of redeliveries that
	// one fault explains.
	window = 256
	// smallestWindow is the least duplicate window that the server takes, so that
	// redeliveries are stored and counted instead of swallowed.
	smallestWindow = 100 * time.Millisecond

	streamName = "ORACLE"
)

// worldOptions are what a test wants otherwise than usual.
type worldOptions struct {
	cluster   *pgserver.Server // of its own; nil for the shared one
	url       string           // the superuser's, of a database of its own that is no cluster's; empty: see cluster
	table     string           // as OUTBOX_TABLE; public.outbox if empty
	payload   schema.PayloadType
	deletes   bool                          // OUTBOX_AFTER_SEND=delete
	stream    func(*jetstream.StreamConfig) // changes the stream before it is made
	broker    string                        // more of the broker's configuration file
	admin     nats.Option                   // with which the test itself connects; nil for none
	unmigrate bool                          // leave the table to the test
	rabbitmq  bool                          // the broker is not NATS: see rabbitWorld
}

// world is an application's database with a ledger, a broker with a stream, and
// the relays that the test starts between them.
type world struct {
	t       testing.TB
	options worldOptions
	url     string // superuser
	role    string // the relay's
	table   schema.Table
	broker  *natsserver.Process
	js      jetstream.JetStream
	env     map[string]string // of every relay
	db      *pgx.Conn         // superuser; use conn()

	// What the broker has; of the stream, unless a test says otherwise.
	storedNow func() int
	collect   func(context.Context) ([]oracle.Delivery, error)
}

func newWorld(t testing.TB, o worldOptions) *world {
	t.Helper()
	if o.table == "" {
		o.table = "public.outbox"
	}
	w := &world{t: t, options: o}
	switch {
	case o.url != "":
		w.url = o.url
	case o.cluster != nil:
		w.url = o.cluster.URL("postgres")
	default:
		w.url = pgtest.Database(t)
	}
	var err error
	if w.table, err = schema.ParseTable(o.table); err != nil {
		t.Fatal(err)
	}
	w.db = pgtest.Connect(t, w.url)
	var database string
	w.row(`SELECT current_database()`, nil, &database)
	w.role = "relay_" + database
	if !o.unmigrate {
		w.migrate()
	}
	if err := oracle.Install(t.Context(), w.db); err != nil {
		t.Fatal(err)
	}
	w.env = map[string]string{
		"OUTBOX_RETENTION":     "0", // the role may not delete
		"OUTBOX_DATABASE_URL":  w.relayURL(),
		"OUTBOX_TABLE":         o.table,
		"OUTBOX_MAX_IN_FLIGHT": fmt.Sprint(window),
		"OUTBOX_POLL_INTERVAL": "50ms",
		"OUTBOX_RETRY_MIN":     "100ms",
		"OUTBOX_RETRY_MAX":     "500ms",
		"OUTBOX_LOG_FORMAT":    "json",
		"OUTBOX_LOG_LEVEL":     "debug",
	}
	if o.deletes {
		w.env["OUTBOX_AFTER_SEND"] = "delete"
	}
	if !o.rabbitmq {
		w.env["OUTBOX_ACK_TIMEOUT"] = "30s" // a machine that stands still for seconds makes no copies
		w.startBroker()
	}
	return w
}

// migrate makes the table, and the role without which nothing here runs.
func (w *world) migrate() {
	w.t.Helper()
	ctx := w.t.Context()
	err := schema.Migrate(ctx, w.conn(), schema.Options{
		Table: w.table, PayloadType: w.options.payload, Publication: "outbox_relay",
	})
	if err != nil {
		w.t.Fatal(err)
	}
	err = schema.GrantRole(ctx, w.conn(), schema.RoleOptions{Table: w.table, Role: w.role, Delete: w.options.deletes}, "relay-secret")
	if err != nil {
		w.t.Fatal(err)
	}
}

// relayURL is the database as the relay's role sees it.
func (w *world) relayURL() string {
	u, err := url.Parse(w.url)
	if err != nil {
		w.t.Fatal(err)
	}
	u.User = url.UserPassword(w.role, "relay-secret")
	return u.String()
}

func (w *world) startBroker() {
	w.t.Helper()
	ctx := w.t.Context()
	var err error
	if w.broker, err = natsserver.StartProcess(ctx, natsserver.Options{Config: w.options.broker}); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := w.broker.Close(); err != nil {
			w.t.Errorf("close broker: %v", err)
		}
	})
	conn, err := natsserver.Connect(w.broker.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), w.options.admin)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(conn.Close)
	if w.js, err = natsserver.JetStream(conn); err != nil {
		w.t.Fatal(err)
	}
	config := jetstream.StreamConfig{
		Name: streamName, Subjects: []string{"oracle.>"}, Storage: jetstream.FileStorage, Duplicates: smallestWindow,
	}
	if w.options.stream != nil {
		w.options.stream(&config)
	}
	if _, err := w.js.CreateStream(ctx, config); err != nil {
		w.t.Fatal(err)
	}
	w.env["OUTBOX_SINK_URL"] = w.broker.URL()
	w.storedNow = w.inStream
	w.collect = func(ctx context.Context) ([]oracle.Delivery, error) {
		return oracle.Collect(ctx, w.broker.URL(), streamName)
	}
}

// relay starts the relay, with variables on top of the world's, given as
// name, value, name, value.
func (w *world) relay(variables ...string) *relaybin.Process {
	w.t.Helper()
	return w.relayOf(relaybin.Tested, variables...)
}

func (w *world) relayOf(v relaybin.Variant, variables ...string) *relaybin.Process {
	w.t.Helper()
	env := maps.Clone(w.env)
	for i := 0; i+1 < len(variables); i += 2 {
		env[variables[i]] = variables[i+1]
	}
	return relaybin.Start(w.t, v, env)
}

// load starts writers; the world knows where they write.
func (w *world) load(l oracle.Load) *oracle.Running {
	l.URL, l.Table, l.Payload = w.url, w.table, w.options.payload
	running := l.Start(context.WithoutCancel(w.t.Context()))
	w.t.Cleanup(func() { _, _ = running.Stop() })
	return running
}

// stop ends a load when it has written so many rows, for which a slow machine needs longer than
// what the test does meanwhile.
func (w *world) stop(running *oracle.Running, atLeast int) oracle.Stats {
	w.t.Helper()
	w.awaitFor(longPatience, fmt.Sprintf("the load has committed %d rows", atLeast), func() bool {
		select {
		case <-running.Done(): // by itself, or by an error
			return true
		default:
			return running.Committed() >= atLeast
		}
	})
	stats, err := running.Stop()
	return w.checkLoad(stats, err, atLeast)
}

// finish waits for a load of a given size.
func (w *world) finish(running *oracle.Running) oracle.Stats {
	w.t.Helper()
	stats, err := running.Wait()
	return w.checkLoad(stats, err, 1)
}

func (w *world) checkLoad(stats oracle.Stats, err error, atLeast int) oracle.Stats {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
	if stats.Committed < atLeast {
		w.t.Fatalf("the load committed %d rows, want at least %d", stats.Committed, atLeast)
	}
	return stats
}

// verdict lets the oracle judge, and returns how many redeliveries there were.
func (w *world) verdict(limits oracle.Limits) int {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), longPatience)
	defer cancel()
	limits.Deletes = limits.Deletes || w.options.deletes
	committed, err := oracle.Committed(ctx, w.conn())
	if err != nil {
		w.t.Fatal(err)
	}
	table, err := oracle.ReadTable(ctx, w.conn(), w.table)
	if err != nil {
		w.t.Fatal(err)
	}
	received, err := w.collect(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	if len(committed) == 0 {
		w.t.Fatal("nothing was committed, so nothing was tested")
	}
	if findings := oracle.Judge(committed, received, table, limits); len(findings) > 0 {
		w.t.Errorf("of %d rows and %d messages:\n%s", len(committed), len(received), oracle.Report(findings))
	}
	distinct := map[string]struct{}{}
	for _, d := range received {
		distinct[d.MessageID] = struct{}{}
	}
	copies := len(received) - len(distinct)
	w.t.Logf("%d rows, %d messages, %d redeliveries (at most %d)", len(committed), len(received), copies, limits.Redeliveries)
	return copies
}
