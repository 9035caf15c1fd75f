package e2e_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// BenchmarkTelemetry prints what it costs to see: how fast a backlog is drained with
// metrics that are scraped every second, with a span of every row that is sent by OTLP,
// and with both, each as a ratio to a binary that counts, times and traces nothing. The
// rounds are interleaved, and the medians count. The bar for metrics is 0.97.
func BenchmarkTelemetry(b *testing.B) {
	w := newBenchWorld(b)
	buildRelay(b, relaybin.Unobserved)
	spans := startSpanCounter(b)
	cases := []struct {
		name            string
		variant         relaybin.Variant
		scraped, traced bool
	}{
		{name: "without", variant: relaybin.Unobserved},
		{name: "metrics", scraped: true},
		{name: "traces", traced: true},
		{name: "both", scraped: true, traced: true},
	}
	for b.Loop() {
		figures := make(map[string][]float64)
		for range benchRounds {
			var without float64
			for _, c := range cases {
				w.exec(`TRUNCATE {outbox}`)
				w.purge(b)
				w.fill(benchRows, benchPayload)
				before := spans.seen.Load()
				rate := w.drainSeen(c.variant, c.scraped, c.traced, spans.url)
				figures["telemetry_"+c.name+"_rows_per_s"] = append(figures["telemetry_"+c.name+"_rows_per_s"], rate)
				if c.variant == relaybin.Unobserved {
					without = rate
					continue
				}
				figures["telemetry_ratio_"+c.name] = append(figures["telemetry_ratio_"+c.name], rate/without)
				if c.traced {
					share := float64(spans.seen.Load()-before) / benchRows
					figures["telemetry_spans_sent_"+c.name] = append(figures["telemetry_spans_sent_"+c.name], share)
				}
			}
		}
		figureMedians(b, figures)
	}
}

// drainSeen is [world.drain] by a relay that is looked at. Its end sends the last spans.
func (w *world) drainSeen(v relaybin.Variant, scraped, traced bool, collector string) (rate float64) {
	w.t.Helper()
	before := w.stored()
	var variables []string
	if traced {
		variables = []string{
			"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", collector, "OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf",
			// The SDK's own queue of 2,048 spans is a tenth of a second's, and drops the rest.
			"OTEL_BSP_MAX_QUEUE_SIZE", "200000", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5000",
		}
	}
	began := time.Now()
	relay := w.relayOf(v, variables...)
	scrapes := time.Now()
	w.awaitFor(10*time.Minute, "the backlog is published", func() bool {
		if scraped && time.Since(scrapes) >= time.Second {
			scrape(w.t, relay)
			scrapes = time.Now()
		}
		return w.stored() >= before+benchRows
	})
	w.awaitDrained()
	rate = benchRows / time.Since(began).Seconds()
	relay.Terminate()
	return rate
}

// spanCounter takes spans by OTLP over HTTP, and only counts them.
type spanCounter struct {
	url  string
	seen atomic.Int64
}

func startSpanCounter(b *testing.B) *spanCounter {
	b.Helper()
	c := &spanCounter{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		c.seen.Add(int64(bytes.Count(body, []byte("outbox.row.id")))) // each span has one
	}))
	b.Cleanup(server.Close)
	c.url = server.URL + "/v1/traces"
	return c
}
