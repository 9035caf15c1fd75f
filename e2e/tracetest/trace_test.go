package tracetest

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
	"github.com/outbox-relay/outbox-relay/schema"
)

// The relay is built where its own module is, with the dependencies that users get.
func TestMain(m *testing.M) {
	if err := os.Chdir("../.."); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(pgtest.Main(m))
}

// patience is how long a test waits for what must happen soon.
const patience = 90 * time.Second

// world is an application with its table, a broker, relays and a consumer, which all send
// their spans to one collector.
type world struct {
	*testing.T
	*collector
	broker broker
	db     *pgx.Conn
	env    map[string]string // of the relay
	shop   trace.Tracer      // the application's
}

// broker is what differs between the brokers.
type broker struct {
	system      string
	env         map[string]string
	host        string
	port        string
	destination func(topic string) string // messaging.destination.name
	consumer    []string                  // the program and its arguments
	accept      func(topic string)        // from now on there is a place for messages of the topic
}

func newWorld(t *testing.T, b broker, protocol string) *world {
	t.Helper()
	w := &world{T: t, collector: startCollector(t), broker: b}
	url := pgtest.Database(t)
	w.db = pgtest.Connect(t, url)
	table := schema.Table{Schema: "public", Name: "outbox"}
	if err := schema.Migrate(t.Context(), w.db, schema.Options{Table: table, Publication: "outbox_relay"}); err != nil {
		t.Fatal(err)
	}
	endpoint := map[string]string{"grpc": w.grpc, "http/protobuf": w.http}[protocol]
	w.env = map[string]string{
		"OUTBOX_DATABASE_URL": url, "OUTBOX_LOG_FORMAT": "json", "OUTBOX_RETRY_MIN": "100ms", "OUTBOX_RETRY_MAX": "500ms",
		"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_EXPORTER_OTLP_PROTOCOL": protocol, "OTEL_METRICS_EXPORTER": "none",
		"OTEL_BSP_SCHEDULE_DELAY": "200",
	}
	maps.Copy(w.env, b.env)
	w.openShop()
	w.startConsumer()
	return w
}

// openShop starts the application's tracing.
func (w *world) openShop() {
	w.Helper()
	exporter, err := otlptracegrpc.New(w.Context(), otlptracegrpc.WithEndpointURL(w.grpc), otlptracegrpc.WithInsecure())
	if err != nil {
		w.Fatal(err)
	}
	about := resource.NewSchemaless(attribute.String("service.name", "shop"))
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(exporter), sdktrace.WithResource(about))
	w.Cleanup(func() { _ = provider.Shutdown(context.WithoutCancel(w.Context())) })
	w.shop = provider.Tracer("shop")
}

// startConsumer runs the Node program.
func (w *world) startConsumer() {
	w.Helper()
	dir, err := testbed.NewDir("consumer", nil)
	if err != nil {
		w.Fatal(err)
	}
	said := &firstLine{came: make(chan struct{})}
	service, err := testbed.Start(w.Context(), testbed.Spec{
		Name: "the consumer", Dir: dir, Output: said,
		Command: func() (*exec.Cmd, error) {
			cmd := exec.Command("node", w.broker.consumer...)
			cmd.Dir = modulePath("node")
			cmd.Env = append(os.Environ(), "OTEL_SERVICE_NAME=consumer", "OTEL_EXPORTER_OTLP_ENDPOINT="+w.http, "OTEL_TRACES_EXPORTER=otlp",
				"OTEL_METRICS_EXPORTER=none", "OTEL_LOGS_EXPORTER=none", "OTEL_BSP_SCHEDULE_DELAY=200", "NODE_PATH="+modulePath(".cache/node/node_modules"))
			return cmd, nil
		},
	})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = service.Close() })
	select {
	case <-said.came:
	case <-service.Process().Done():
		w.Fatalf("the consumer has ended: %s", service.LastWords())
	case <-time.After(patience):
		w.Fatalf("the consumer does not start: %s", service.LastWords())
	}
}

// modulePath is a path of this module, from the directory in which its tests run.
func modulePath(path string) string {
	dir, err := os.Getwd()
	if err != nil {
		panic(err)
	}
	return dir + "/e2e/tracetest/" + path
}

// firstLine closes came when something is written.
type firstLine struct {
	came chan struct{}
	done bool
}

// Write implements [io.Writer].
func (f *firstLine) Write(p []byte) (int, error) {
	if !f.done {
		f.done = true
		close(f.came)
	}
	return len(p), nil
}

// order writes a row within a span of the application's, whose context goes into the
// row's headers as OpenTelemetry writes it.
func (w *world) order(topic string) trace.SpanContext {
	w.Helper()
	ctx, s := w.shop.Start(w.Context(), "place order")
	defer s.End()
	headers := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, headers)
	if _, err := w.db.Exec(ctx, `INSERT INTO outbox (topic, headers, payload) VALUES ($1, $2, '{}')`, topic, headers); err != nil {
		w.Fatal(err)
	}
	return s.SpanContext()
}

// relay starts one, with variables on top of the world's.
func (w *world) relay(variables ...string) *relaybin.Process {
	w.Helper()
	env := maps.Clone(w.env)
	for i := 0; i+1 < len(variables); i += 2 {
		env[variables[i]] = variables[i+1]
	}
	return relaybin.Start(w.T, relaybin.Released, env)
}

func (w *world) await(what string, holds func() bool) {
	w.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			w.Fatalf("waited %v in vain until %s", patience, what)
		}
	}
}

// story waits until the application's span has been followed by the relay's, of which the
// last was acknowledged, and by the consumer's, all in one trace, and returns the relay's.
func (w *world) story(what string, placed trace.SpanContext) []span {
	w.Helper()
	id := placed.TraceID().String()
	w.await(what+": the trace is whole", func() bool {
		spans := w.of(id)
		return len(sent(spans, "shop")) == 1 && len(sent(spans, "consumer")) > 0 &&
			slices.ContainsFunc(sent(spans, "outbox-relay"), func(s span) bool { return s.attribute("error.type") == "" })
	})
	spans := w.of(id)
	for _, s := range sent(spans, "consumer") {
		if s.Kind() == ptrace.SpanKindConsumer && s.ParentSpanID().String() != placed.SpanID().String() {
			w.Errorf("%s: the consumer's span %s is no child of the application's", what, s.Name())
		}
	}
	published := sent(spans, "outbox-relay")
	slices.SortFunc(published, func(a, b span) int { return int(a.StartTimestamp()) - int(b.StartTimestamp()) })
	for _, s := range published {
		if s.Kind() != ptrace.SpanKindClient || s.ParentSpanID().String() != placed.SpanID().String() {
			w.Errorf("%s: the relay's span is %s, of %s", what, s.Kind(), s.ParentSpanID())
		}
		if s.Links().Len() != 1 || s.Links().At(0).SpanID().String() != placed.SpanID().String() {
			w.Errorf("%s: the relay's span has %d links", what, s.Links().Len())
		}
	}
	return published
}

// describes demands the attributes of the messaging conventions.
func (w *world) describes(s span, topic string) {
	w.Helper()
	for name, want := range map[string]string{
		"messaging.system": w.broker.system, "messaging.operation.name": "publish", "messaging.operation.type": "send",
		"messaging.destination.name": w.broker.destination(topic), "server.address": w.broker.host, "server.port": w.broker.port,
		"outbox.attempt": "1",
	} {
		if got := s.attribute(name); got != want {
			w.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	var rowID, messageID string
	if err := w.db.QueryRow(w.Context(), `SELECT id::text, message_id::text FROM outbox WHERE topic = $1 ORDER BY id LIMIT 1`, topic).Scan(&rowID, &messageID); err != nil {
		w.Fatal(err)
	}
	if s.attribute("outbox.row.id") != rowID || s.attribute("messaging.message.id") != messageID || s.attribute("outbox.seconds_since_commit") == "" {
		w.Errorf("the span is of row %s, message %s, %s s old; want %s, %s", s.attribute("outbox.row.id"), s.attribute("messaging.message.id"),
			s.attribute("outbox.seconds_since_commit"), rowID, messageID)
	}
	if !strings.HasPrefix(s.Name(), "publish") || strings.Contains(s.Name(), topic) {
		w.Errorf("the span is named %q", s.Name())
	}
}

// followTraces is the test, for each broker.
func followTraces(t *testing.T, w *world) {
	relay := w.relay()
	w.broker.accept("orders.placed")
	published := w.story("a row", w.order("orders.placed"))
	w.describes(published[0], "orders.placed")

	refused := w.order("orders.retried") // nothing takes it yet
	w.await("it is refused twice", func() bool { return len(sent(w.of(refused.TraceID().String()), "outbox-relay")) >= 2 })
	w.broker.accept("orders.retried")
	published = w.story("a row that was refused", refused)
	if first, last := published[0], published[len(published)-1]; first.attribute("error.type") != "unroutable" || last.attribute("outbox.attempt") < "3" {
		t.Errorf("error.type of the first attempt %q, number of the last %q", first.attribute("error.type"), last.attribute("outbox.attempt"))
	}

	relay.Terminate()
	waiting := w.order("orders.placed")
	relay = w.relay("OUTBOX_MAX_ATTEMPTS", "1", "OUTBOX_DEAD_AFTER", "1ms")
	w.story("a row that waited for a relay", waiting)

	replayed := w.order("orders.replayed")
	w.await("it is dead", func() bool {
		var dead int
		if err := w.db.QueryRow(t.Context(), `SELECT count(*) FROM outbox WHERE dead_at IS NOT NULL`).Scan(&dead); err != nil {
			t.Fatal(err)
		}
		return dead == 1
	})
	w.broker.accept("orders.replayed")
	replay := relaybin.Start(t, relaybin.Released, w.env, "dead", "replay", "--all", "--yes")
	if status := replay.Wait(patience); status != 0 {
		t.Fatalf("dead replay ends with %d: %s", status, replay.Log())
	}
	published = w.story("a row that was replayed", replayed)
	if len(published) < 2 {
		t.Errorf("%d spans of a row that was refused and replayed", len(published))
	}
	w.beginsATrace("orders.placed")
	relay.Terminate()
}

// beginsATrace demands of a row without a context that the relay's span is the producer,
// and the consumer's its child.
func (w *world) beginsATrace(topic string) {
	w.Helper()
	var id string
	err := w.db.QueryRow(w.Context(), `INSERT INTO outbox (topic, payload) VALUES ($1, '{}') RETURNING id::text`, topic).Scan(&id)
	if err != nil {
		w.Fatal(err)
	}
	var producer span
	w.await("the relay's own trace", func() bool {
		of := slices.DeleteFunc(sent(w.of(""), "outbox-relay"), func(s span) bool { return s.attribute("outbox.row.id") != id })
		if len(of) > 0 {
			producer = of[0]
		}
		return len(of) > 0 && len(sent(w.of(producer.TraceID().String()), "consumer")) > 0
	})
	if producer.Kind() != ptrace.SpanKindProducer || !producer.ParentSpanID().IsEmpty() {
		w.Errorf("%s, child of %q", producer.Kind(), producer.ParentSpanID())
	}
	for _, s := range sent(w.of(producer.TraceID().String()), "consumer") {
		if s.Kind() == ptrace.SpanKindConsumer && s.ParentSpanID() != producer.SpanID() {
			w.Errorf("the consumer's span %s is no child of the relay's", s.Name())
		}
	}
}
