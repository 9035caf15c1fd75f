package tracetest

import (
	"fmt"
	"testing"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer/consumertest"
	"go.opentelemetry.io/collector/pdata/pcommon"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"

	"github.com/outbox-relay/outbox-relay/e2e/testbed"
)

// collector is the OpenTelemetry Collector's receiver of OTLP, configured as in the
// Collector's file. It keeps the spans.
type collector struct {
	spans      *consumertest.TracesSink
	grpc, http string // URLs
}

func startCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{spans: new(consumertest.TracesSink)}
	endpoint := func() string {
		port, err := testbed.ReservePort(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		port.Close()
		return fmt.Sprintf("127.0.0.1:%d", port.Number)
	}
	grpc, http := endpoint(), endpoint()
	factory := otlpreceiver.NewFactory()
	config := factory.CreateDefaultConfig()
	written := confmap.NewFromStringMap(map[string]any{"protocols": map[string]any{
		"grpc": map[string]any{"endpoint": grpc}, "http": map[string]any{"endpoint": http},
	}})
	if err := written.Unmarshal(config); err != nil {
		t.Fatal(err)
	}
	receiver, err := factory.CreateTraces(t.Context(), receivertest.NewNopSettings(factory.Type()), config, c.spans)
	if err != nil {
		t.Fatal(err)
	}
	if err := receiver.Start(t.Context(), componenttest.NewNopHost()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := receiver.Shutdown(t.Context()); err != nil {
			t.Errorf("stop the collector: %v", err)
		}
	})
	c.grpc, c.http = "http://"+grpc, "http://"+http
	return c
}

// span is one, and the name of the service that sent it.
type span struct {
	ptrace.Span
	service string
}

// of are the spans of a trace that have come so far.
func (c *collector) of(trace string) (spans []span) {
	for _, batch := range c.spans.AllTraces() {
		for _, resource := range batch.ResourceSpans().All() {
			service, _ := resource.Resource().Attributes().Get("service.name")
			for _, scope := range resource.ScopeSpans().All() {
				for _, s := range scope.Spans().All() {
					if trace == "" || s.TraceID().String() == trace {
						spans = append(spans, span{s, service.AsString()})
					}
				}
			}
		}
	}
	return spans
}

// sent are the spans of a service.
func sent(spans []span, service string) (of []span) {
	for _, s := range spans {
		if s.service == service {
			of = append(of, s)
		}
	}
	return of
}

// attribute is the text of an attribute.
func (s span) attribute(name string) string {
	value, ok := s.Attributes().Get(name)
	if !ok || value.Type() == pcommon.ValueTypeEmpty {
		return ""
	}
	return value.AsString()
}
