package e2e_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
	"github.com/outbox-relay/outbox-relay/schema"
)

// The scene of the latencies: one application that commits row after row at a
// steady rate, and the time from its INSERT until the stream has stored the
// message, by the one clock of the machine.
const (
	latencySeconds = 10
	latencyWarmUp  = 2 * time.Second // not counted
	inserters      = 32              // of pgbench
	inserterTime   = 6               // in seconds

	// A pause of the machine decides what 99 of 100 rows of some seconds take. So there are
	// many short rounds: on a quiet machine the median round has none.
	shortRounds, shortSeconds = 7, 7
)

// BenchmarkLatency prints how long a message takes, beside the floor in the same
// round: a loop as people write it by hand, in a process of its own like the relay, which
// reads the log and publishes, and does nothing else: no marks, no order, no passes. The
// figures with "second" in their names are taken for each second, and then the median of the
// seconds. They leave out the machine's pauses, and anything that the relay does in fewer
// than half of the seconds.
func BenchmarkLatency(b *testing.B) {
	w := newBenchWorld(b)
	for b.Loop() {
		for _, rate := range []int{500, 2000} {
			figures := make(map[string][]float64)
			for range shortRounds {
				floor := w.deliveredOver(b, rate, shortSeconds, w.publishByHand)
				relayed := w.deliveredOver(b, rate, shortSeconds, w.publishByRelay)
				note := func(name string, f, r float64) {
					figures["floor_"+name+"_ms"] = append(figures["floor_"+name+"_ms"], 1000*f)
					figures["relay_"+name+"_ms"] = append(figures["relay_"+name+"_ms"], 1000*r)
					figures["ratio_"+name] = append(figures["ratio_"+name], r/f)
				}
				for _, p := range []int{50, 99} {
					name := fmt.Sprintf("%d_rows_p%d", rate, p)
					note(name, percentile(sortedTimes(floor), p).Seconds(), percentile(sortedTimes(relayed), p).Seconds())
				}
				note(fmt.Sprintf("%d_rows_second_p99", rate), ofTheMedianSecond(floor, 99), ofTheMedianSecond(relayed, 99))
			}
			figureMedians(b, figures)
		}
	}
}

// publishByRelay starts a relay, and returns when it tails.
func (w *world) publishByRelay(*testing.B) (stop func()) {
	relay := w.relayOf(relaybin.Released)
	relay.AwaitLog(`"tailing"`)
	return relay.Terminate
}

func percentile(sorted []time.Duration, p int) time.Duration { return sorted[len(sorted)*p/100] }

// latencies writes at the rate while the publisher runs, and returns what each
// message took, sorted.
func (w *world) latencies(b *testing.B, rate int, publisher func(*testing.B) (stop func())) []time.Duration {
	b.Helper()
	return w.latenciesOver(b, rate, latencySeconds, publisher)
}

// latenciesOver is latencies for so many seconds.
func (w *world) latenciesOver(b *testing.B, rate, seconds int, publisher func(*testing.B) (stop func())) []time.Duration {
	b.Helper()
	return sortedTimes(w.deliveredOver(b, rate, seconds, publisher))
}

// delivery is one message: when it was written, since the first one was, and how long
// after that it was stored.
type delivery struct{ written, took time.Duration }

func sortedTimes(of []delivery) []time.Duration {
	took := make([]time.Duration, len(of))
	for i, d := range of {
		took[i] = d.took
	}
	slices.Sort(took)
	return took
}

// ofTheMedianSecond takes the percentile of each second's messages, and returns the median of
// these, in seconds.
func ofTheMedianSecond(of []delivery, p int) float64 {
	seconds := make(map[time.Duration][]delivery)
	for _, d := range of {
		second := d.written.Truncate(time.Second)
		seconds[second] = append(seconds[second], d)
	}
	var each []float64
	for _, second := range seconds {
		if len(second) > len(of)/len(seconds)/2 { // the last one may be a piece
			each = append(each, percentile(sortedTimes(second), p).Seconds())
		}
	}
	return median(each)
}

// deliveredOver writes at the rate for so many seconds while the publisher runs.
func (w *world) deliveredOver(b *testing.B, rate, seconds int, publisher func(*testing.B) (stop func())) []delivery {
	b.Helper()
	w.purge(b)
	w.exec(`TRUNCATE {outbox}`)
	stop := publisher(b)
	before, rows := w.stored(), rate*seconds
	w.writeSteadily(b, rate, rows)
	w.awaitFor(patience, "all are published", func() bool { return w.stored() >= before+rows })
	stop()
	return w.storedAfter(b, rows)
}

// writeSteadily commits rows one by one; each says when it was written.
func (w *world) writeSteadily(b *testing.B, rate, rows int) {
	b.Helper()
	conn := pgtest.Connect(b, w.url)
	insert := w.sql(`INSERT INTO {outbox} (topic, key, payload)
		VALUES ('oracle.bulk', $1, json_build_object('at', (extract(epoch FROM clock_timestamp()) * 1e6)::bigint))`)
	began := time.Now()
	for n := range rows {
		due := began.Add(time.Duration(n) * time.Second / time.Duration(rate))
		<-time.After(time.Until(due))
		if _, err := conn.Exec(b.Context(), insert, "bulk "+strconv.Itoa(n%benchKeys)); err != nil {
			b.Fatal(err)
		}
	}
}

// storedAfter looks the messages up in the stream.
func (w *world) storedAfter(b *testing.B, rows int) []delivery {
	b.Helper()
	stream, err := w.js.Stream(b.Context(), streamName)
	if err != nil {
		b.Fatal(err)
	}
	consumer, err := stream.OrderedConsumer(b.Context(), jetstream.OrderedConsumerConfig{})
	if err != nil {
		b.Fatal(err)
	}
	messages, err := consumer.Messages()
	if err != nil {
		b.Fatal(err)
	}
	defer messages.Stop()
	var first time.Time
	all := make([]delivery, 0, rows)
	for range rows {
		m, err := messages.Next(jetstream.NextMaxWait(patience))
		if err != nil {
			b.Fatal(err)
		}
		var row struct{ At int64 }
		if err := json.Unmarshal(m.Data(), &row); err != nil {
			b.Fatal(err)
		}
		meta, err := m.Metadata()
		if err != nil {
			b.Fatal(err)
		}
		written := time.UnixMicro(row.At)
		if first.IsZero() {
			first = written
		}
		if since := written.Sub(first); since > latencyWarmUp {
			all = append(all, delivery{since, meta.Timestamp.Sub(written)})
		}
	}
	return all
}

// BenchmarkInserters prints how much slower many clients insert, as fast as they can and
// one row in a transaction, with a relay beside them, and how old the oldest pending row
// gets. Beside it: how much slower with a loop that is written by hand, which marks nothing.
// The commits are durable, as an application's are.
func BenchmarkInserters(b *testing.B) {
	w := newBenchWorld(b, "fsync", "on", "full_page_writes", "on")
	for b.Loop() {
		figures := make(map[string][]float64)
		note := func(name string, value float64) { figures[name] = append(figures[name], value) }
		for range shortRounds {
			w.exec(`TRUNCATE {outbox}`)
			alone := tps(b, w.pgbench(b))
			w.exec(`TRUNCATE {outbox}`)
			w.purge(b)
			stop := w.publishByHand(b)
			byHand := tps(b, w.pgbench(b))
			stop()
			w.exec(`TRUNCATE {outbox}`)
			w.purge(b)
			relay := w.relayOf(relaybin.Released)
			relay.AwaitLog(`"tailing"`)
			cpu := relay.CPUTime()
			with, oldest := w.insertersBeside(b)
			w.awaitDrained()
			cpu = relay.CPUTime() - cpu
			note("inserters_alone_rows_per_s", alone)
			note("inserters_rows_per_s", with)
			note("inserters_by_hand_ratio", byHand/alone)
			note("inserters_cpu_us", float64(cpu.Microseconds())/(with*inserterTime))
			note("inserters_ratio", with/alone)
			note("inserters_oldest_pending_s", oldest)
			note("inserters_modes_left", float64(relay.CountLog(`"polling"`)-1)) // besides the beginning
			relay.Terminate()
		}
		figureMedians(b, figures)
	}
}

// insertersBeside returns the rate of the inserters, and how old the oldest pending row
// got meanwhile, in seconds.
func (w *world) insertersBeside(b *testing.B) (rate, oldest float64) {
	b.Helper()
	done := make(chan string, 1)
	go func() { done <- w.pgbench(b) }()
	for {
		select {
		case out := <-done:
			return tps(b, out), oldest
		case <-time.After(50 * time.Millisecond):
			var age float64
			// By the condition of the index of due rows: without it the whole table is read, 20 times a second.
			w.row(`SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8 FROM {outbox} WHERE `+schema.Due, nil, &age)
			oldest = max(oldest, age)
		}
	}
}

// pgbench inserts, and returns what it prints.
func (w *world) pgbench(b *testing.B) string {
	bin, err := pgserver.Binaries()
	if err != nil {
		b.Error(err)
		return "-"
	}
	script := filepath.Join(b.TempDir(), "insert.sql")
	sql := w.sql(`\set k random(1, 1000)` + "\n" + `INSERT INTO {outbox} (topic, key, payload) VALUES ('oracle.bulk', 'bulk ' || :k, '{"n": 1}');` + "\n")
	if err := os.WriteFile(script, []byte(sql), 0o600); err != nil {
		b.Error(err)
		return "-"
	}
	out, err := exec.CommandContext(b.Context(), filepath.Join(bin, "pgbench"), "-n", "-M", "prepared", "-c", strconv.Itoa(inserters), "-j", "1",
		"-T", strconv.Itoa(inserterTime), "-f", script, w.url).CombinedOutput()
	if err != nil {
		b.Errorf("pgbench: %v\n%s", err, out)
		return "-"
	}
	return string(out)
}

func tps(b *testing.B, out string) float64 {
	b.Helper()
	for line := range strings.Lines(out) {
		if value, ok := strings.CutPrefix(line, "tps = "); ok {
			number, _, _ := strings.Cut(value, " ")
			v, err := strconv.ParseFloat(number, 64)
			if err != nil {
				b.Fatal(err)
			}
			return v
		}
	}
	b.Fatalf("pgbench does not tell its rate:\n%s", out)
	return 0
}
