package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/transcript"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/engine"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
	"github.com/outbox-relay/outbox-relay/schema"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// harness is a database of this test's own with an outbox table, a broker with
// a stream, and a relay that can be run beside them.
type harness struct {
	*testing.T
	conn   *pgx.Conn
	table  string
	broker *natsserver.Server
	sink   *gateSink
	config engine.Config
	relay  *engine.Relay // the one run last
	valves []*valve      // opened when the relay is stopped, also after a failure
	log    *transcript.Text
}

// start prepares a harness; configure may change the relay's configuration, and
// before runs when everything is ready.
func start(t *testing.T, configure func(*engine.Config), before func(*harness)) *harness {
	t.Helper()
	return startOn(t, pgtest.Database(t), configure, before)
}

// startOn is start in the database given.
func startOn(t *testing.T, url string, configure func(*engine.Config), before func(*harness)) *harness {
	t.Helper()
	h := &harness{T: t, conn: pgtest.Connect(t, url), log: &transcript.Text{}}
	name := schema.Table{Schema: "public", Name: "outbox"}
	h.table = name.Quoted()
	if err := schema.Migrate(t.Context(), h.conn, schema.Options{Table: name}); err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(h.log, nil))

	var err error
	if h.broker, err = natsserver.StartInProcess(t.Context(), natsserver.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.broker.Close() })
	h.createStream()

	database, err := postgres.New(postgres.Options{URL: url, Table: name, Logger: logger})
	if err != nil {
		t.Fatal(err)
	}
	h.config = engine.Config{
		Database: database, Logger: logger,
		PollInterval: 20 * time.Millisecond, Limits: engine.Limits{MaxInFlight: 256, BufferBytes: 16 << 20},
		AttemptLimit:  relay.AttemptLimit{Attempts: 10, Age: 24 * time.Hour},
		Retry:         engine.Backoff{Min: 10 * time.Millisecond, Max: time.Second},
		ShutdownGrace: 10 * time.Second,
	}
	if configure != nil {
		configure(&h.config)
	}
	sink, err := natsjs.Open(natsjs.Options{SinkOptions: link.SinkOptions{URLs: h.broker.URL(), Window: h.config.MaxInFlight, Logger: logger, AckTimeout: ackTimeout}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sink.Close(context.Background()) })
	h.sink = &gateSink{Sink: sink}
	h.config.Sink = h.sink
	if before != nil {
		before(h)
	}
	if h.sink.holds() {
		h.config.OpenWindow()
	}
	return h
}

// ackTimeout is for brokers that stall only because the machine is busy.
const ackTimeout = 30 * time.Second

// run starts a relay and returns how to stop it; it is stopped at the end in
// any case.
func (h *harness) run() (stop func()) {
	ctx, cancel := context.WithCancel(h.Context())
	done := make(chan error, 1)
	running := engine.New(h.config)
	h.relay = running
	go func() { done <- running.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		h.sink.letGo()
		for _, v := range h.valves {
			v.open()
		}
		cancel()
		if err := <-done; err != nil {
			h.Errorf("relay: %v", err)
		}
		if log := h.log.String(); strings.Contains(log, "this is a bug") {
			h.Errorf("the relay found a mistake in itself:\n%s", log)
		}
	})
	h.Cleanup(stop)
	return stop
}

func (h *harness) createStream() {
	h.Helper()
	nc, err := natsserver.Connect(h.broker.URL())
	if err != nil {
		h.Fatal(err)
	}
	defer nc.Close()
	js, err := natsserver.JetStream(nc)
	if err != nil {
		h.Fatal(err)
	}
	_, err = js.CreateStream(h.Context(), jetstream.StreamConfig{
		Name: "ORDERS", Subjects: []string{"orders.>"}, Duplicates: 100 * time.Millisecond,
	})
	if err != nil {
		h.Fatal(err)
	}
}

// stored returns the ids of the rows in the stream, in its order; the payload
// of each row is told apart by the message id.
func (h *harness) stored() []int64 {
	h.Helper()
	ids := make(map[string]int64)
	rows, _ := h.conn.Query(h.Context(), "SELECT message_id::text, id FROM "+h.table)
	var messageID string
	var id int64
	if _, err := pgx.ForEachRow(rows, []any{&messageID, &id}, func() error { ids[messageID] = id; return nil }); err != nil {
		h.Fatal(err)
	}
	nc, err := natsserver.Connect(h.broker.URL())
	if err != nil {
		h.Fatal(err)
	}
	defer nc.Close()
	js, err := natsserver.JetStream(nc)
	if err != nil {
		h.Fatal(err)
	}
	stream, err := js.Stream(h.Context(), "ORDERS")
	if err != nil {
		h.Fatal(err)
	}
	var stored []int64
	for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
		m, err := stream.GetMsg(h.Context(), seq)
		if err != nil {
			h.Fatal(err)
		}
		stored = append(stored, ids[m.Header.Get("Nats-Msg-Id")])
	}
	return stored
}

func (h *harness) begin() pgx.Tx {
	h.Helper()
	tx, err := pgtest.Connect(h.T, h.conn.Config().ConnString()).Begin(h.Context())
	if err != nil {
		h.Fatal(err)
	}
	return tx
}

func (h *harness) commit(tx pgx.Tx) {
	h.Helper()
	if err := tx.Commit(h.Context()); err != nil {
		h.Fatal(err)
	}
}

// insertIn inserts one row of the key in the transaction and returns its id.
func (h *harness) insertIn(db querier, key, availableAt string) (id int64) {
	h.Helper()
	err := db.QueryRow(h.Context(), "INSERT INTO "+h.table+
		" (topic, key, payload, available_at) VALUES ('orders.created', $1, '{}', "+availableAt+") RETURNING id", key).Scan(&id)
	if err != nil {
		h.Fatal(err)
	}
	return id
}

// insertKeyed commits one row of the key and returns its id.
func (h *harness) insertKeyed(key string) int64 { return h.insertScheduled(key, "NULL") }

// insertScheduled commits one row of the key that is not to be sent before the
// time that the SQL expression says.
func (h *harness) insertScheduled(key, availableAt string) int64 {
	h.Helper()
	return h.insertIn(h.conn, key, availableAt)
}

// querier is a connection, or a transaction on one.
type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// insert commits n rows without a key.
func (h *harness) insert(n int) {
	h.Helper()
	h.exec("INSERT INTO " + h.table + " (topic, payload) SELECT 'orders.created', '{}' FROM generate_series(1, " + strconv.Itoa(n) + ")")
}

func (h *harness) exec(sql string) {
	h.Helper()
	if _, err := h.conn.Exec(h.Context(), sql); err != nil {
		h.Fatal(err)
	}
}

func (h *harness) int(sql string) (n int64) {
	h.Helper()
	if err := h.conn.QueryRow(h.Context(), "SELECT ("+sql+")::bigint").Scan(&n); err != nil {
		h.Fatal(err)
	}
	return n
}

func (h *harness) text(sql string) (text string) {
	h.Helper()
	var value any
	if err := h.conn.QueryRow(h.Context(), sql).Scan(&value); err != nil {
		h.Fatal(err)
	}
	return fmt.Sprint(value)
}

// patience is how long a condition may take before the test fails. It bounds a
// test that is broken, and is no measure of speed.
const patience = 60 * time.Second

func (h *harness) until(what string, condition func() bool) {
	h.Helper()
	deadline := time.Now().Add(patience)
	for !condition() {
		if time.Now().After(deadline) {
			h.Fatalf("not within %v: %s; the relay's log:\n%s", patience, what, h.log)
		}
		<-time.After(2 * time.Millisecond)
	}
}

func (h *harness) untilMarked(n int64) {
	h.Helper()
	h.until(fmt.Sprintf("%d rows are marked", n), func() bool {
		return h.int("SELECT count(*) FROM "+h.table+" WHERE sent_at IS NOT NULL") == n
	})
}

func (h *harness) untilLogged(message string) {
	h.Helper()
	h.until("log line "+message, func() bool { return strings.Contains(h.log.String(), message) })
}
