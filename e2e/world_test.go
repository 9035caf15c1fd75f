package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/natsserver"
	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/relaybin"
	"github.com/outbox-relay/outbox-relay/schema"
)

const (
	// patience is how long a test waits for what must happen soon.
	patience = 60 * time.Second
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
	table     string           // as OUTBOX_TABLE; public.outbox if empty
	payload   schema.PayloadType
	deletes   bool                          // OUTBOX_AFTER_SEND=delete
	stream    func(*jetstream.StreamConfig) // changes the stream before it is made
	unmigrate bool                          // leave the table to the test
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
}

func newWorld(t testing.TB, o worldOptions) *world {
	t.Helper()
	if o.table == "" {
		o.table = "public.outbox"
	}
	w := &world{t: t, options: o}
	if o.cluster != nil {
		w.url = o.cluster.URL("postgres")
	} else {
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
	w.startBroker()
	w.env = map[string]string{
		"OUTBOX_DATABASE_URL":  w.relayURL(),
		"OUTBOX_SINK_URL":      w.broker.URL(),
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
	if w.broker, err = natsserver.StartProcess(ctx, natsserver.Options{}); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := w.broker.Close(); err != nil {
			w.t.Errorf("close broker: %v", err)
		}
	})
	conn, err := nats.Connect(w.broker.URL(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(conn.Close)
	if w.js, err = jetstream.New(conn); err != nil {
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

// stop ends a load and demands that it wrote at least so many rows.
func (w *world) stop(running *oracle.Running, atLeast int) oracle.Stats {
	w.t.Helper()
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

// conn is the superuser's connection, made anew when its server was stopped.
func (w *world) conn() *pgx.Conn {
	w.t.Helper()
	if w.db.IsClosed() {
		w.db = pgtest.Connect(w.t, w.url)
	}
	return w.db
}

// exec runs a statement; in it, {outbox} stands for the table.
func (w *world) exec(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.conn().Exec(w.t.Context(), w.sql(sql), args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// row reads one row into dest.
func (w *world) row(sql string, args []any, dest ...any) {
	w.t.Helper()
	if err := w.conn().QueryRow(w.t.Context(), w.sql(sql), args...).Scan(dest...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

func (w *world) sql(sql string) string { return strings.ReplaceAll(sql, "{outbox}", w.table.Quoted()) }

// count is a number from the database.
func (w *world) count(sql string, args ...any) int {
	w.t.Helper()
	var n int
	w.row(sql, args, &n)
	return n
}

// pending is the number of rows that the relay still has to do something about.
func (w *world) pending() int {
	w.t.Helper()
	return w.count(`SELECT count(*) FROM {outbox} WHERE sent_at IS NULL AND dead_at IS NULL`)
}

// stored is the number of messages that the stream ever took.
func (w *world) stored() int {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	stream, err := w.js.Stream(ctx, streamName)
	if err != nil {
		w.t.Fatalf("look up stream: %v", err)
	}
	return int(stream.CachedInfo().State.LastSeq)
}

// awaitDrained waits until no row is pending.
func (w *world) awaitDrained() {
	w.t.Helper()
	w.await("all rows are settled", func() bool { return w.pending() == 0 })
}

// awaitStored waits until the stream has taken so many messages.
func (w *world) awaitStored(n int) {
	w.t.Helper()
	w.await(fmt.Sprintf("the stream has %d messages", n), func() bool { return w.stored() >= n })
}

// await polls a condition.
func (w *world) await(what string, condition func() bool) {
	w.t.Helper()
	w.awaitFor(patience, what, condition)
}

func (w *world) awaitFor(d time.Duration, what string, condition func() bool) {
	w.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(d); !condition(); <-tick.C {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited %v in vain until %s; %s", d, what, w.state())
		}
	}
}

// letPass holds a condition, such as a broker that is down, for some time.
func (w *world) letPass(d time.Duration) {
	w.t.Helper()
	began := time.Now()
	w.await("time has passed", func() bool { return time.Since(began) >= d })
}

// state says where the rows are, for the message of a failed test.
func (w *world) state() string {
	var sent, dead, waiting, pending int
	w.row(`SELECT count(*) FILTER (WHERE sent_at IS NOT NULL), count(*) FILTER (WHERE dead_at IS NOT NULL),
		count(*) FILTER (WHERE sent_at IS NULL AND dead_at IS NULL AND attempts > 0),
		count(*) FILTER (WHERE sent_at IS NULL AND dead_at IS NULL) FROM {outbox}`, nil, &sent, &dead, &waiting, &pending)
	return fmt.Sprintf("rows: %d sent, %d dead, %d pending, of these %d with attempts", sent, dead, pending, waiting)
}

// verdict lets the oracle judge, and returns how many redeliveries there were.
func (w *world) verdict(limits oracle.Limits) int {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	limits.Deletes = w.options.deletes
	committed, err := oracle.Committed(ctx, w.conn())
	if err != nil {
		w.t.Fatal(err)
	}
	table, err := oracle.ReadTable(ctx, w.conn(), w.table)
	if err != nil {
		w.t.Fatal(err)
	}
	received, err := oracle.Collect(ctx, w.broker.URL(), streamName)
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

// insert commits one row outside any load and enters it in the ledger.
func (w *world) insert(c oracle.Content) oracle.Row {
	w.t.Helper()
	return w.insertAs(oracle.Delivered, c)[0]
}

// insertAs commits rows, in one transaction, with what is expected of them.
// Keyed rows number themselves, so a key must not be inserted twice.
func (w *world) insertAs(expect oracle.Expectation, contents ...oracle.Content) []oracle.Row {
	w.t.Helper()
	var rows []oracle.Row
	err := pgx.BeginFunc(w.t.Context(), w.conn(), func(tx pgx.Tx) error {
		var err error
		payload := w.options.payload
		if payload == "" {
			payload = schema.PayloadJSON
		}
		if rows, err = oracle.Insert(w.t.Context(), tx, w.table, payload, 1, contents...); err != nil {
			return err
		}
		for _, r := range rows {
			if err := oracle.Expect(w.t.Context(), tx, expect, r.MessageID); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return rows
}

// plain is a row that nothing is wrong with.
func plain(n int) oracle.Content {
	return oracle.Content{
		Topic: "oracle.plain", ContentType: "application/json", Payload: fmt.Appendf(nil, `{"plain": %d}`, n),
	}
}

// sent says whether a row is marked.
func (w *world) sent(r oracle.Row) bool {
	w.t.Helper()
	return w.count(`SELECT count(*) FROM {outbox} WHERE id = $1 AND sent_at IS NOT NULL`, r.ID) == 1
}
