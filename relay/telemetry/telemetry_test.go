package telemetry

import (
	"errors"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/outbox-relay/outbox-relay/relay"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// answering is a sink that answers at once, as told, and keeps what it was given.
type answering struct {
	relay.Sink
	outcome relay.Outcome
	sent    []*relay.Message
}

func (s *answering) Publish(m *relay.Message, report relay.Report) {
	s.sent = append(s.sent, m)
	report(m, s.outcome)
}

var acknowledged = relay.Outcome{Class: relay.Acknowledged}

func open(t *testing.T, o Options) *Telemetry {
	t.Helper()
	o.Table = "public.outbox"
	if o.Broker.System == "" {
		o.Broker = Broker{System: "nats", Server: "broker.example", Port: 4222}
	}
	got, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := got.Close(t.Context()); err != nil && !errors.Is(err, t.Context().Err()) {
			t.Error(err)
		}
	})
	return got
}

// traced is [open] with spans that are kept.
func traced(t *testing.T, o Options, sampler sdktrace.Sampler) (*Telemetry, *tracetest.InMemoryExporter) {
	t.Helper()
	got := open(t, o)
	spans := tracetest.NewInMemoryExporter()
	got.tracers = sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans), sdktrace.WithSampler(sdktrace.ParentBased(sampler)))
	return got, spans
}

// publish sends one message through and returns what the broker was given.
func publish(t *testing.T, through *Telemetry, m *relay.Message, o relay.Outcome) *relay.Message {
	t.Helper()
	inner := &answering{outcome: o}
	reports := 0
	through.Observe(inner).Publish(m, func(of *relay.Message, got relay.Outcome) {
		reports++
		if of != m || got != o {
			t.Errorf("reported %v %v, want the message that was published, and %v", of, got, o)
		}
	})
	if reports != 1 || len(inner.sent) != 1 {
		t.Fatalf("%d reports, %d messages sent, want one each", reports, len(inner.sent))
	}
	return inner.sent[0]
}

func header(m *relay.Message, name string) string {
	i := slices.IndexFunc(m.Headers, func(h relay.Header) bool { return h.Name == name })
	if i < 0 {
		return ""
	}
	return m.Headers[i].Value
}

const (
	requestTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	requestSpan  = "00f067aa0ba902b7"
	sampled      = "00-" + requestTrace + "-" + requestSpan + "-01"
	unsampled    = "00-" + requestTrace + "-" + requestSpan + "-00"
)

func rowWith(parent string) *relay.Message {
	m := &relay.Message{
		Ref: relay.Ref{ID: 7, MessageID: relay.MessageID{1}}, Topic: "orders.created", Payload: []byte("1234"), Attempts: 2,
		DueSince: time.Now().Add(-3 * time.Second),
		Headers:  []relay.Header{{Name: "baggage", Value: "a=b"}, {Name: "other", Value: "1"}},
	}
	if parent != "" {
		m.Headers = append(m.Headers, relay.Header{Name: "traceparent", Value: parent}, relay.Header{Name: "tracestate", Value: "vendor=1"})
	}
	return m
}

func TestContextOfTheRowGoesOutUnchanged(t *testing.T) {
	through, spans := traced(t, Options{}, sdktrace.AlwaysSample())
	m := rowWith(sampled)
	if sent := publish(t, through, m, acknowledged); sent != m {
		t.Errorf("another message was sent: %v", sent.Headers)
	}
	got := spans.GetSpans()
	if len(got) != 1 {
		t.Fatalf("%d spans", len(got))
	}
	span := got[0]
	if span.SpanKind != trace.SpanKindClient || span.Name != "publish" {
		t.Errorf("%s %q", span.SpanKind, span.Name)
	}
	if of := span.SpanContext.TraceID().String(); of != requestTrace {
		t.Errorf("the span is of trace %s", of)
	}
	if of := span.Parent.SpanID().String(); of != requestSpan || !span.Parent.IsRemote() {
		t.Errorf("its parent is %s", of)
	}
	if len(span.Links) != 1 || span.Links[0].SpanContext.SpanID().String() != requestSpan {
		t.Errorf("it links to %v", span.Links)
	}
	attributes := attribute.NewSet(span.Attributes...)
	for key, want := range map[attribute.Key]string{
		"messaging.system": "nats", "messaging.operation.name": "publish", "messaging.operation.type": "send",
		"messaging.destination.name": "orders.created", "messaging.message.id": m.MessageID.String(), "messaging.message.body.size": "4",
		"server.address": "broker.example", "server.port": "4222", "outbox.row.id": "7", "outbox.attempt": "3",
	} {
		if value, _ := attributes.Value(key); value.String() != want {
			t.Errorf("%s is %q, want %q", key, value.String(), want)
		}
	}
	if age, _ := attributes.Value("outbox.seconds_since_commit"); age.AsFloat64() < 3 {
		t.Errorf("%v s since the commit", age.AsFloat64())
	}
}

func TestRowWithoutContextGetsTheRelays(t *testing.T) {
	through, spans := traced(t, Options{}, sdktrace.AlwaysSample())
	m := rowWith("")
	sent := publish(t, through, m, acknowledged)
	span := spans.GetSpans()[0]
	if span.SpanKind != trace.SpanKindProducer || span.Parent.IsValid() || len(span.Links) != 0 {
		t.Errorf("%s, parent %v, links %v", span.SpanKind, span.Parent, span.Links)
	}
	if want := "00-" + span.SpanContext.TraceID().String() + "-" + span.SpanContext.SpanID().String() + "-01"; header(sent, "traceparent") != want {
		t.Errorf("the message carries %q, want %q", header(sent, "traceparent"), want)
	}
	if header(sent, "other") != "1" || header(sent, "baggage") != "a=b" || len(m.Headers) != 2 {
		t.Errorf("sent %v, of a row with %v", sent.Headers, m.Headers)
	}
}

func TestContextOfTheRelayIsSentWhereThatIsAskedFor(t *testing.T) {
	through, spans := traced(t, Options{Context: FromRelay}, sdktrace.AlwaysSample())
	sent := publish(t, through, rowWith(sampled), acknowledged)
	span := spans.GetSpans()[0]
	if want := "00-" + requestTrace + "-" + span.SpanContext.SpanID().String() + "-01"; header(sent, "traceparent") != want {
		t.Errorf("the message carries %q, want %q", header(sent, "traceparent"), want)
	}
	if header(sent, "tracestate") != "vendor=1" || header(sent, "baggage") != "a=b" {
		t.Errorf("sent %v", sent.Headers)
	}
}

func TestUnsampledAndMalformedContextsAreHarmless(t *testing.T) {
	for name, c := range map[string]struct {
		parent string
		spans  int
	}{
		"unsampled": {unsampled, 0},
		"malformed": {"00-nonsense", 1}, // of a trace of its own
		"empty":     {" ", 1},
	} {
		through, spans := traced(t, Options{}, sdktrace.AlwaysSample())
		m := rowWith(c.parent)
		if sent := publish(t, through, m, acknowledged); sent != m {
			t.Errorf("%s: sent %v", name, sent.Headers)
		}
		if got := spans.GetSpans(); len(got) != c.spans {
			t.Errorf("%s: %d spans, want %d", name, len(got), c.spans)
		}
	}
	// The relay's own sampler decides over rows without a context, and the consumer is told.
	through, spans := traced(t, Options{}, sdktrace.NeverSample())
	if sent := publish(t, through, rowWith(""), acknowledged); !strings.HasSuffix(header(sent, "traceparent"), "-00") || len(spans.GetSpans()) != 0 {
		t.Errorf("sent %v, %d spans", sent.Headers, len(spans.GetSpans()))
	}
}

func TestSpanOfARefusedMessageSaysWhy(t *testing.T) {
	rabbit := Broker{System: "rabbitmq", Exchange: "outbox", Server: "r", Port: 5672}
	through, spans := traced(t, Options{Broker: rabbit}, sdktrace.AlwaysSample())
	publish(t, through, rowWith(sampled), relay.RefusedOutcome(relay.ErrorTypeUnroutable, "no queue is bound"))
	span := spans.GetSpans()[0]
	attributes := attribute.NewSet(span.Attributes...)
	for key, want := range map[attribute.Key]string{
		"error.type": "unroutable", "messaging.destination.name": "outbox:orders.created", "messaging.rabbitmq.destination.routing_key": "orders.created",
	} {
		if value, _ := attributes.Value(key); value.String() != want {
			t.Errorf("%s is %q, want %q", key, value.String(), want)
		}
	}
	if span.Name != "publish outbox" || span.Status.Description != "no queue is bound" {
		t.Errorf("%q, %+v", span.Name, span.Status)
	}
}

// scrape is what Prometheus would get.
func scrape(t *testing.T, from *Telemetry) string {
	t.Helper()
	answer := httptest.NewRecorder()
	from.Handler().ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	return answer.Body.String()
}

func TestEachSeriesIsThereFromTheStart(t *testing.T) {
	through := open(t, Options{})
	if err := through.Watch(func() relay.Status { return relay.Status{} }, func() relay.Census { return relay.Census{} }); err != nil {
		t.Fatal(err)
	}
	got := scrape(t, through)
	for _, series := range []string{
		`outbox_pending_rows`, `outbox_scheduled_rows`, `outbox_oldest_pending_age_seconds`, `outbox_dead_rows`, `outbox_retrying_rows`,
		`outbox_published_total`, `outbox_in_flight`, `outbox_leader`, `outbox_foreign`, `outbox_origin_doubtful`, `outbox_paused`, `outbox_breaker_open`, `outbox_reconciled_rows_total`,
		`outbox_duplicate_acks_total`, `outbox_replication_lag_bytes`, `outbox_retained_wal_bytes`, `outbox_stalled_seconds`,
		`outbox_unmarkable_rows`, `outbox_table_breaker_open`, `outbox_locked_rows`, `outbox_late_topics`, `outbox_last_acknowledged_timestamp_seconds`,
		`outbox_counted_timestamp_seconds`, `outbox_refused_total`, `outbox_dead_total`, `outbox_expired_total`, `outbox_stalled_here`, `outbox_purged_total`, `outbox_purge_failing`,
	} {
		if want := series + `{table="public.outbox"} 0`; !strings.Contains(got, want+"\n") {
			t.Errorf("there is no %s", want)
		}
	}
	if want := `outbox_delivery_latency_seconds_count{table="public.outbox"} 0`; !strings.Contains(got, want) {
		t.Errorf("there is no %s", want)
	}
	for _, cause := range relay.ErrorTypes() {
		if want := `outbox_publish_failures_total{error_type="` + string(cause) + `",table="public.outbox"} 0`; !strings.Contains(got, want) {
			t.Errorf("there is no %s", want)
		}
	}
	for _, mode := range relay.Modes() {
		if want := `outbox_mode{mode="` + mode.String() + `",table="public.outbox"}`; !strings.Contains(got, want) {
			t.Errorf("there is no %s", want)
		}
	}
	if t.Failed() {
		t.Log(got)
	}
}

func TestMessagesAreCountedAndTimed(t *testing.T) {
	through := open(t, Options{Topics: true})
	for range 3 {
		publish(t, through, rowWith(""), acknowledged)
	}
	publish(t, through, rowWith(""), relay.RefusedOutcome(relay.ErrorTypeFull, "full"))
	publish(t, through, rowWith(""), relay.Outcome{Class: relay.Unknown, Type: "new", Err: errors.New("x")})
	got := scrape(t, through)
	for _, want := range []string{
		`outbox_published_total{table="public.outbox",topic="orders.created"} 3`,
		`outbox_publish_failures_total{error_type="full",table="public.outbox"} 1`,
		`outbox_publish_failures_total{error_type="other",table="public.outbox"} 1`,
		`outbox_delivery_latency_seconds_count{table="public.outbox",topic="orders.created"} 3`,
		`outbox_delivery_latency_seconds_bucket{table="public.outbox",topic="orders.created",le="2.5"} 0`,
		`outbox_delivery_latency_seconds_bucket{table="public.outbox",topic="orders.created",le="30"} 3`, // they were due 3 s ago; the machine may be slow
		`messaging_client_operation_duration_seconds_count{`, `messaging_client_sent_messages_total{`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("there is no %s in\n%s", want, got)
		}
	}
}

func TestTopicsAreBounded(t *testing.T) {
	through := open(t, Options{Topics: true})
	for n := range 10 * maxTopics {
		m := rowWith("")
		m.Topic = strings.Repeat("x", n+1)
		publish(t, through, m, acknowledged)
	}
	got := scrape(t, through)
	if n := strings.Count(got, "\noutbox_published_total{"); n > maxTopics+2 {
		t.Errorf("%d series", n)
	}
	if want := `outbox_published_total{table="public.outbox",topic="other"} 900`; !strings.Contains(got, want) {
		t.Errorf("there is no %s", want)
	}
}

func TestAgeGoesOnWhileTheTableCannotBeCounted(t *testing.T) {
	at := time.Now()
	c := relay.Census{At: at}
	c.Due.Rows, c.OldestAge = 1, 10*time.Second
	if got := c.OldestAgeAt(at.Add(time.Minute)); got != 10*time.Second {
		t.Errorf("%v", got)
	}
	c.Err = errors.New("the database is away")
	if got := c.OldestAgeAt(at.Add(time.Minute)); got != 70*time.Second {
		t.Errorf("%v while counting fails", got)
	}
	c.Due.Rows, c.OldestAge = 0, 0
	if got := c.OldestAgeAt(at.Add(time.Minute)); got != 0 {
		t.Errorf("%v where nothing waited", got)
	}
}

// The standard variables decide. Nothing is sent, and no port is opened, unless they ask.
func TestExportersAreThoseOfTheEnvironment(t *testing.T) {
	for _, c := range []struct {
		set             string
		traces, metrics bool
	}{
		{"", false, false},
		{"OTEL_TRACES_EXPORTER=console", true, false},
		{"OTEL_METRICS_EXPORTER=prometheus", false, false},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", true, true},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1 OTEL_METRICS_EXPORTER=none", true, false},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://127.0.0.1:1", true, false},
		{"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1 OTEL_SDK_DISABLED=true", false, false},
	} {
		t.Run(c.set, func(t *testing.T) {
			for pair := range strings.FieldsSeq(c.set) {
				name, value, _ := strings.Cut(pair, "=")
				t.Setenv(name, value)
			}
			if got := exported(signalTraces); got != c.traces {
				t.Errorf("traces: %v", got)
			}
			if got := exported(signalMetrics); got != c.metrics {
				t.Errorf("metrics: %v", got)
			}
		})
	}
}

func TestUnknownExporterIsNamed(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "nonsense")
	_, err := Open(t.Context(), Options{Table: "t", Broker: Broker{System: "nats"}})
	if err == nil || !strings.Contains(err.Error(), "OTEL_TRACES_EXPORTER") || !strings.Contains(err.Error(), "nonsense") {
		t.Errorf("error %v", err)
	}
}
