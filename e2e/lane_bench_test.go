package e2e_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// benchDrain is a backlog, and how it is drained.
type benchDrain struct {
	name       string
	keys, rows int
	env        map[string]string
}

var benchDrains = []benchDrain{
	{name: "1_key", keys: 1, rows: benchRows},
	// One row each round trip.
	{name: "1_key_fast_ingest_off", keys: 1, rows: benchRows / 10, env: map[string]string{"OUTBOX_NATS_FAST_INGEST": "off"}},
	{name: "1000_keys", keys: benchKeys, rows: benchRows},
	{name: "1000_keys_fast_ingest_off", keys: benchKeys, rows: benchRows, env: map[string]string{"OUTBOX_NATS_FAST_INGEST": "off"}},
	{name: "1000_keys_deleted", keys: benchKeys, rows: benchRows, env: map[string]string{"OUTBOX_AFTER_SEND": "delete"}},
	{name: "each_key_once", keys: benchRows, rows: benchRows},
}

// BenchmarkKeys prints how fast a backlog is drained whose rows all have one key, or a
// thousand, or each its own, with the stream's batches and without, marked and deleted,
// beside the broker alone before and after each.
func BenchmarkKeys(b *testing.B) {
	w := newBenchWorld(b)
	w.takeBatches()
	w.exec(`GRANT DELETE ON {outbox} TO ` + w.role)
	for b.Loop() {
		beside := w.besideBroker(b)
		ratios := make(map[string][]float64)
		for range ratioRounds {
			for _, d := range benchDrains {
				_, ratio := beside.ratio(d.name, func() float64 { return w.drainKeys(b, d) })
				ratios[d.name] = append(ratios[d.name], ratio)
			}
		}
		for _, d := range benchDrains {
			figure(b, "ratio_"+d.name, median(ratios[d.name]))
		}
	}
}

// drainKeys returns the rate at which the backlog is published, and marked or deleted.
func (w *world) drainKeys(b *testing.B, d benchDrain) float64 {
	b.Helper()
	w.exec(`TRUNCATE {outbox}`)
	w.fillKeys(d.rows, d.keys, benchPayload)
	for name, value := range d.env {
		w.env[name] = value
		defer delete(w.env, name)
	}
	relay, rate := w.drain(d.rows)
	relay.Terminate()
	w.purge(b)
	return rate
}

// BenchmarkBurst prints how fast the rows of one large transaction are published and
// marked by a relay that tails, beside the broker alone before and after each.
func BenchmarkBurst(b *testing.B) {
	w := newBenchWorld(b)
	w.takeBatches()
	for b.Loop() {
		beside := w.besideBroker(b)
		var ratios []float64
		for range ratioRounds {
			_, ratio := beside.ratio("a burst", func() float64 { return w.burst(b) })
			ratios = append(ratios, ratio)
		}
		figure(b, "ratio_burst", median(ratios))
	}
}

// burst returns the rate at which the rows of one transaction are published and marked, from
// its commit.
func (w *world) burst(b *testing.B) float64 {
	b.Helper()
	w.exec(`TRUNCATE {outbox}`)
	relay := w.relayOf(relaybin.Released)
	relay.AwaitLog(`"tailing"`)
	before := w.stored()
	tx, err := w.conn().Begin(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	if _, err := tx.Exec(b.Context(), w.sql(insertKeys), benchRows, benchKeys, benchPayload); err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	if err := tx.Commit(b.Context()); err != nil {
		b.Fatal(err)
	}
	w.awaitFor(patience, "the burst is published", func() bool { return w.stored() >= before+benchRows })
	w.awaitDrained()
	rate := benchRows / time.Since(began).Seconds()
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
					took := w.latencies(b, rate, w.publishByRelay)
					for _, p := range []int{50, 99} {
						name := fmt.Sprintf("%d_rows_p%d_fast_ingest_%s_ms", rate, p, ingest)
						figures[name] = append(figures[name], 1000*percentile(took, p).Seconds())
					}
				}
			}
			figureMedians(b, figures)
		}
	}
}
