package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/engine"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
	"github.com/outbox-relay/outbox-relay/schema"
)

// What a benchmark moves: rows of 300 bytes with a trace.
const (
	benchRows   = 100_000
	benchWindow = 4096
	benchTopic  = "orders.created"
	benchInsert = `INSERT INTO outbox (topic, key, payload, headers) SELECT '` + benchTopic + `', 'k' || n % $2,
		('{"n": "' || lpad(n::text, 290, 'x') || '"}')::json,
		'{"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}' FROM generate_series(1, $1::int) n`
)

// BenchmarkDrain moves rows with a relay in this process, so that it can be profiled
// (-cpuprofile) and its allocations counted; the servers have processes of their own. A
// pass reads a backlog from the table. A tail gets small transactions from the log. Beside
// the rate it prints what a row costs the relay: allocations, their bytes, and
// microseconds of processor time.
func BenchmarkDrain(b *testing.B) {
	for _, broker := range []struct {
		name string
		open func(b *testing.B) relay.Sink
	}{{"jetstream", openBenchStream}, {"batches", openBenchBatches}, {"rabbitmq", openBenchQueue}} {
		b.Run(broker.name, func(b *testing.B) {
			s := newBenchScene(b, broker.open(b))
			for _, keys := range []int{1000, 1} {
				b.Run(fmt.Sprintf("pass/keys=%d", keys), func(b *testing.B) { s.drain(b, func() { s.insert(b, benchRows, keys) }, nil) })
			}
			b.Run("tail", func(b *testing.B) {
				s.drain(b, nil, func() {
					for range benchRows / 100 {
						s.insert(b, 100, 1000)
					}
				})
			})
		})
	}
}

// benchScene is a table and a broker.
type benchScene struct {
	conn     *pgx.Conn
	database *postgres.Database
	sink     relay.Sink
}

func newBenchScene(b *testing.B, sink relay.Sink) *benchScene {
	b.Helper()
	url := pgtest.Database(b)
	s := &benchScene{conn: pgtest.Connect(b, url), sink: sink}
	table := schema.Table{Schema: "public", Name: "outbox"}
	if err := schema.Migrate(b.Context(), s.conn, schema.Options{Table: table}); err != nil {
		b.Fatal(err)
	}
	var err error
	if s.database, err = postgres.New(postgres.Options{URL: url, Table: table}); err != nil {
		b.Fatal(err)
	}
	return s
}

func (s *benchScene) exec(b *testing.B, sql string, arguments ...any) {
	b.Helper()
	if _, err := s.conn.Exec(context.Background(), sql, arguments...); err != nil {
		b.Fatal(err)
	}
}

func (s *benchScene) insert(b *testing.B, rows, keys int) {
	b.Helper()
	s.exec(b, benchInsert, rows, keys)
}

// drain measures a relay from when it leads, or tails, until all rows are marked. before
// makes rows before it starts, meanwhile makes them while it tails.
func (s *benchScene) drain(b *testing.B, before, meanwhile func()) {
	var cost benchCost
	for b.Loop() {
		b.StopTimer()
		s.exec(b, `TRUNCATE outbox`)
		if before != nil {
			before()
			s.exec(b, `VACUUM ANALYZE outbox`)
		}
		r := s.relay(meanwhile != nil)
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		start := costNow()
		b.StartTimer()
		go func() { done <- r.Run(ctx) }()
		if meanwhile != nil {
			s.until(b, "it tails", func() bool { return r.Status().Mode == relay.Tailing })
			start = costNow()
			meanwhile()
		}
		s.until(b, "all rows are marked", func() bool { return s.drained(b) })
		b.StopTimer()
		cost.add(start, costNow())
		if meanwhile != nil && r.Status().Mode != relay.Tailing {
			b.Fatal("the relay has left the log")
		}
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	cost.report(b, float64(benchRows)*float64(b.N))
}

func (s *benchScene) relay(tails bool) *engine.Relay {
	return engine.New(engine.Config{
		Database: s.database, Sink: s.sink, Logger: slog.New(slog.DiscardHandler),
		PollInterval: 200 * time.Millisecond, Limits: engine.Limits{MaxInFlight: benchWindow, BufferBytes: 64 << 20},
		Tail:         engine.TailConfig{Wanted: tails, ReconcileInterval: 30 * time.Second, MaxWAL: 1 << 30},
		AttemptLimit: relay.AttemptLimit{Attempts: 10, Age: time.Hour},
		Retry:        engine.Backoff{Min: time.Second, Max: time.Minute}, ShutdownGrace: time.Minute,
	})
}

// until asks rarely: what asking costs counts with the relay's.
func (s *benchScene) until(b *testing.B, what string, holds func() bool) {
	b.Helper()
	deadline := time.After(5 * time.Minute)
	for !holds() {
		select {
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			b.Fatalf("waited in vain until %s", what)
		}
	}
}

// drained asks in the words of the index of due rows. Other words make the server read the
// whole table each time.
func (s *benchScene) drained(b *testing.B) bool {
	b.Helper()
	var due bool
	if err := s.conn.QueryRow(context.Background(), `SELECT EXISTS (SELECT FROM outbox WHERE `+schema.Due+`)`).Scan(&due); err != nil {
		b.Fatal(err)
	}
	return !due
}

// benchCost is what this process has used.
type benchCost struct {
	allocations, bytes uint64
	processor          time.Duration
}

func costNow() benchCost {
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	var used syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &used) // it fails for no valid question
	return benchCost{memory.Mallocs, memory.TotalAlloc, time.Duration(used.Utime.Nano() + used.Stime.Nano())}
}

func (c *benchCost) add(start, end benchCost) {
	c.allocations += end.allocations - start.allocations
	c.bytes += end.bytes - start.bytes
	c.processor += end.processor - start.processor
}

func (c *benchCost) report(b *testing.B, rows float64) {
	b.ReportMetric(rows/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(float64(c.allocations)/rows, "allocs/row")
	b.ReportMetric(float64(c.bytes)/rows, "B/row")
	b.ReportMetric(float64(c.processor.Microseconds())/rows, "cpu-µs/row")
}
