package e2e_test

import (
	"fmt"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// BenchmarkKeys prints how fast a backlog is drained whose rows all have one key, or a
// thousand, with the stream's batches and without, beside the broker alone in the same
// round.
func BenchmarkKeys(b *testing.B) {
	w := newBenchWorld(b)
	w.takeBatches()
	first := w.relayOf(relaybin.Released) // built before anything is measured
	first.AwaitLog("leading")
	first.Terminate()
	for b.Loop() {
		ratios := make(map[string][]float64)
		for range benchRounds {
			alone := w.publishAlone(b)
			for _, keys := range []int{1, benchKeys} {
				for _, ingest := range []string{"auto", "off"} {
					rows := benchRows
					if keys == 1 && ingest == "off" {
						rows /= 10 // one row each round trip
					}
					rate := w.drainKeys(b, keys, ingest, rows)
					name := fmt.Sprintf("%d_keys_fast_ingest_%s", keys, ingest)
					ratios[name] = append(ratios[name], rate/alone)
					fmt.Printf("bench: %s: broker alone %.0f msgs/s, relay %.0f rows/s\n", name, alone, rate)
				}
			}
		}
		for name, all := range ratios {
			figure(b, "ratio_"+name, median(all))
		}
	}
}

// drainKeys returns the rate at which rows of so many keys are published and marked.
func (w *world) drainKeys(b *testing.B, keys int, ingest string, rows int) float64 {
	b.Helper()
	w.purge(b)
	w.exec(`TRUNCATE {outbox}`)
	w.fillKeys(rows, keys, benchPayload)
	w.env["OUTBOX_NATS_FAST_INGEST"] = ingest
	relay, rate := w.drain(rows)
	relay.Terminate()
	w.purge(b)
	return rate
}

// takeBatches has the stream take batches.
func (w *world) takeBatches() {
	w.t.Helper()
	stream, err := w.js.Stream(w.t.Context(), streamName)
	if err != nil {
		w.t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.AllowBatchPublish = true
	if _, err := w.js.UpdateStream(w.t.Context(), config); err != nil {
		w.t.Fatal(err)
	}
}

// BenchmarkLaneLatency prints how long a message takes at several rates, with the stream's
// batches and without, in turn. Rows of ten keys: of one key some follow each other.
func BenchmarkLaneLatency(b *testing.B) {
	w := newBenchWorld(b)
	w.takeBatches()
	for b.Loop() {
		for _, rate := range []int{1, 10, 500, 2000} {
			figures := make(map[string][]float64)
			for range benchRounds {
				for _, ingest := range []string{"auto", "off"} {
					w.env["OUTBOX_NATS_FAST_INGEST"] = ingest
					took := w.latencies(b, rate, func(*testing.B) (stop func()) {
						relay := w.relayOf(relaybin.Released)
						relay.AwaitLog(`"tailing"`)
						return relay.Terminate
					})
					for _, p := range []int{50, 99} {
						name := fmt.Sprintf("%d_rows_p%d_fast_ingest_%s_ms", rate, p, ingest)
						figures[name] = append(figures[name], 1000*percentile(took, p).Seconds())
					}
				}
			}
			for name, all := range figures {
				figure(b, name, median(all))
			}
		}
	}
}
