package e2e_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// The scene of the numbers: one machine for everything, the servers included.
// The stream is a file store with one replica; neither PostgreSQL nor the broker
// waits for the disk.
const (
	benchRows    = 300_000
	benchKeys    = 1000
	benchPayload = 300
	benchWindow  = 4096
	benchRounds  = 3
	ratioRounds  = 5 // of what is compared with the broker alone
	benchBacklog = 3_000_000

	benchLargeRows, benchLargePayload = 1_000_000, 1_000 // a gigabyte in one transaction
	benchHugeRows, benchHugePayload   = 10_000, 200_000
)

// BenchmarkRelay prints, from one run: what the broker takes from a plain
// publisher alone, how fast the relay drains a backlog until all of it is marked,
// the ratio (medians of some rounds, and the worst ratio), and the relay's peak
// memory.
//
// The broker alone is a publisher as people write it: asynchronous, confirmed,
// the same window, the same bytes on the wire, no database in sight.
func BenchmarkRelay(b *testing.B) {
	w := newBenchWorld(b)
	for b.Loop() {
		beside := w.besideBroker(b)
		var drained, ratios []float64
		var peak float64
		for range ratioRounds {
			rate, ratio := beside.ratio("1,000 keys", func() float64 {
				w.exec(`TRUNCATE {outbox}`)
				w.fill(benchRows, benchPayload)
				relay, rate := w.drain(benchRows)
				peak = max(peak, peakMiB(relay))
				relay.Terminate()
				w.purge(b)
				return rate
			})
			drained, ratios = append(drained, rate), append(ratios, ratio)
		}
		figure(b, "broker_alone_msgs_per_s", median(beside.rates))
		figure(b, "relay_rows_per_s", median(drained))
		figure(b, "ratio", median(ratios))
		figure(b, "ratio_min", slices.Min(ratios))
		figure(b, "relay_peak_mib", peak)
	}
}

// median of an even number of values is the lower one of the two in the middle.
func median(values []float64) float64 {
	return slices.Sorted(slices.Values(values))[(len(values)-1)/2]
}

// BenchmarkMemory prints the relay's peak memory when idle, with a backlog of millions of
// rows, beside one transaction of a gigabyte while it tails, and with a backlog of large
// rows.
func BenchmarkMemory(b *testing.B) {
	w := newBenchWorld(b)
	for b.Loop() {
		idle := w.relayOf(relaybin.Released)
		idle.AwaitLog("leading")
		w.letPass(5 * time.Second)
		figure(b, "relay_peak_idle_mib", peakMiB(idle))
		idle.Terminate()

		w.fill(benchBacklog, 20)
		relay, rate := w.drain(benchBacklog)
		figure(b, "relay_backlog_rows_per_s", rate)
		figure(b, "relay_peak_backlog_mib", peakMiB(relay))
		relay.Terminate()

		w.exec(`TRUNCATE {outbox}`)
		w.purge(b)
		tails := w.relayOf(relaybin.Released)
		tails.AwaitLog(`"tailing"`)
		w.exec(insertKeys, benchLargeRows, benchKeys, benchLargePayload)
		w.awaitFor(10*time.Minute, "the large transaction is published", func() bool { return w.pending() == 0 })
		figure(b, "relay_peak_transaction_mib", peakMiB(tails))
		tails.Terminate()

		w.exec(`TRUNCATE {outbox}`)
		w.purge(b)
		w.exec(insertKeys, benchHugeRows, benchKeys, benchHugePayload)
		relay, _ = w.drain(benchHugeRows)
		figure(b, "relay_peak_large_rows_mib", peakMiB(relay))
		relay.Terminate()
	}
}

// newBenchWorld takes settings of the cluster as name, value, name, value.
func newBenchWorld(b *testing.B, settings ...string) *world {
	b.Helper()
	all := benchSettings()
	for i := 0; i+1 < len(settings); i += 2 {
		all[settings[i]] = settings[i+1]
	}
	w := newWorld(b, worldOptions{cluster: pgtest.Own(b, all), stream: func(c *jetstream.StreamConfig) {
		c.Duplicates = 2 * time.Minute // as by default
	}})
	w.asShipped()
	buildRelay(b, relaybin.Released) // before anything is measured
	return w
}

// benchSettings keep checkpoints out of what is measured.
func benchSettings() map[string]string {
	return map[string]string{"max_wal_size": "8GB", "checkpoint_timeout": "1h"}
}

// asShipped leaves nothing set but what a relay needs.
func (w *world) asShipped() {
	for _, name := range []string{
		"OUTBOX_MAX_IN_FLIGHT", "OUTBOX_POLL_INTERVAL", "OUTBOX_RETRY_MIN", "OUTBOX_RETRY_MAX", "OUTBOX_LOG_LEVEL",
		"OUTBOX_ACK_TIMEOUT",
	} {
		delete(w.env, name)
	}
}

func buildRelay(b *testing.B, v relaybin.Variant) {
	b.Helper()
	if _, err := relaybin.Build(b.Context(), v); err != nil {
		b.Fatal(err)
	}
}

// besideBroker compares rates with what the broker takes alone. It is asked before the first and
// after each, and a ratio is that to the mean of the two answers: a machine gets faster and
// slower within minutes, so only what is measured right before and after is comparable.
type besideBroker struct {
	alone func() float64 // messages per second
	rates []float64      // of the broker, so far
}

// besideBroker compares with a plain publisher.
func (w *world) besideBroker(b *testing.B) *besideBroker {
	return &besideBroker{alone: func() float64 {
		defer w.purge(b)
		return w.publishAlone(b)
	}}
}

// ratio measures a rate, and what it is of the broker's. The two are printed under the name.
func (m *besideBroker) ratio(name string, measure func() float64) (rate, ratio float64) {
	if len(m.rates) == 0 {
		m.rates = append(m.rates, m.alone())
	}
	before := m.rates[len(m.rates)-1]
	rate = measure()
	after := m.alone()
	m.rates = append(m.rates, after)
	ratio = rate / ((before + after) / 2)
	fmt.Printf("bench: %s: broker alone %.0f and %.0f msgs/s, relay %.0f rows/s: %.2f\n", name, before, after, rate, ratio)
	return rate, ratio
}

// figure prints one number for machines, and reports it as the benchmark's.
func figure(b *testing.B, name string, value float64) {
	fmt.Printf("bench: %s=%.2f\n", name, value)
	b.ReportMetric(value, name)
}

// figureMedians prints the median of each figure's rounds.
func figureMedians(b *testing.B, rounds map[string][]float64) {
	for _, name := range slices.Sorted(maps.Keys(rounds)) {
		figure(b, name, median(rounds[name]))
	}
}

func peakMiB(relay *relaybin.Process) float64 { return float64(relay.PeakMemory()) / (1 << 20) }

// publishAlone returns messages per second.
func (w *world) publishAlone(b *testing.B) float64 {
	b.Helper()
	conn, err := nats.Connect(w.broker.URL())
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn, jetstream.WithPublishAsyncMaxPending(benchWindow))
	if err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, benchPayload)
	for i := range payload {
		payload[i] = 'x'
	}
	// Of this round alone: the broker remembers the ids of the last one.
	before := w.stored()
	ids, keys := numbered(fmt.Sprintf("%08d-0000-4000-8000-%%012d", before), benchRows), numbered("bulk %d", benchKeys)
	began := time.Now()
	for n, id := range ids {
		m := &nats.Msg{Subject: "oracle.bulk", Data: payload, Header: nats.Header{
			"Nats-Msg-Id":  {id},
			"Content-Type": {"application/json"},
			"Outbox-Key":   {keys[n%benchKeys]},
		}}
		if _, err := js.PublishMsgAsync(m, jetstream.WithStallWait(time.Minute)); err != nil {
			b.Fatal(err)
		}
	}
	select {
	case <-js.PublishAsyncComplete():
	case <-time.After(patience):
		b.Fatal("the plain publisher is not done")
	}
	took := time.Since(began)
	if stored := w.stored() - before; stored != benchRows {
		b.Fatalf("the plain publisher stored %d messages, want %d", stored, benchRows)
	}
	return benchRows / took.Seconds()
}

// numbered makes strings ahead of time: what they cost is not the publisher's.
func numbered(format string, n int) []string {
	texts := make([]string, n)
	for i := range texts {
		texts[i] = fmt.Sprintf(format, i)
	}
	return texts
}

func (w *world) purge(b *testing.B) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	stream, err := w.js.Stream(ctx, streamName)
	if err != nil {
		b.Fatal(err)
	}
	if err := stream.Purge(ctx); err != nil {
		b.Fatal(err)
	}
}

// fill commits a backlog and lets PostgreSQL settle, so that what is measured is
// not the aftermath of the INSERT.
func (w *world) fill(rows, payload int) {
	w.t.Helper()
	w.fillKeys(rows, benchKeys, payload)
}

// insertKeys takes how many rows, of how many keys, and how long a payload is.
const insertKeys = `INSERT INTO {outbox} (topic, key, payload)
	SELECT 'oracle.bulk', 'bulk ' || n % $2, ('{"n": "' || lpad(n::text, $3::int - 9, 'x') || '"}')::json
	FROM generate_series(1, $1::int) AS n`

// fillKeys is fill with rows of so many keys.
func (w *world) fillKeys(rows, keys, payload int) {
	w.t.Helper()
	w.exec(insertKeys, rows, keys, payload)
	w.exec(`VACUUM ANALYZE {outbox}`)
	w.exec(`CHECKPOINT`)
}

// drain starts a relay on the backlog and returns it and its rate, from its start
// until the last row is marked or deleted.
func (w *world) drain(rows int) (*relaybin.Process, float64) {
	w.t.Helper()
	before := w.stored()
	began := time.Now()
	relay := w.relayOf(relaybin.Released)
	w.awaitFor(10*time.Minute, "the backlog is published", func() bool {
		select {
		case <-relay.Exited():
			w.t.Fatalf("the relay has ended:\n%s", relay.Log())
		default:
		}
		return w.stored() >= before+rows
	})
	w.awaitDrained()
	took := time.Since(began)
	want := rows
	if w.env["OUTBOX_AFTER_SEND"] == "delete" {
		want = 0
	}
	if marked := w.count(`SELECT count(*) FROM {outbox} WHERE sent_at IS NOT NULL`); marked < want {
		w.t.Fatalf("%d rows are marked, want %d", marked, want)
	}
	return relay, float64(rows) / took.Seconds()
}
