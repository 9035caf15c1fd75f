package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/engine"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
	"github.com/outbox-relay/outbox-relay/schema"
	"github.com/outbox-relay/outbox-relay/sinks/link"
	"github.com/outbox-relay/outbox-relay/sinks/natsjs"
)

// BenchmarkDrain drains a backlog of 100,000 rows of 300 bytes with 1,000 keys,
// the relay in this process so that it can be profiled (-cpuprofile), the
// servers in theirs.
func BenchmarkDrain(b *testing.B) {
	const rows = 100_000
	ctx := b.Context()
	url := pgtest.Database(b)
	conn := pgtest.Connect(b, url)
	table := schema.Table{Schema: "public", Name: "outbox"}
	if err := schema.Migrate(ctx, conn, schema.Options{Table: table}); err != nil {
		b.Fatal(err)
	}
	broker, err := natsserver.StartProcess(ctx, natsserver.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = broker.Close() }()
	nc, err := nats.Connect(broker.URL())
	if err != nil {
		b.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}}); err != nil {
		b.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	database, err := postgres.New(postgres.Options{URL: url, Table: table})
	if err != nil {
		b.Fatal(err)
	}
	sink, err := natsjs.Open(natsjs.Options{SinkOptions: link.SinkOptions{URLs: broker.URL(), Window: 4096}})
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = sink.Close(context.Background()) }()
	for b.Loop() {
		b.StopTimer()
		_, err := conn.Exec(ctx, fmt.Sprintf(`INSERT INTO %s (topic, key, payload) SELECT 'orders.created', 'k' || n %% 1000,
			('{"n": "' || lpad(n::text, 290, 'x') || '"}')::json FROM generate_series(1, %d) n`, table.Quoted(), rows))
		if err != nil {
			b.Fatal(err)
		}
		ctx, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		b.StartTimer()
		go func() {
			done <- engine.New(engine.Config{
				Database: database, Sink: sink, Logger: logger,
				PollInterval: 200 * time.Millisecond, Limits: engine.Limits{MaxInFlight: 4096, BufferBytes: 64 << 20},
				AttemptLimit: relay.AttemptLimit{Attempts: 10, Age: time.Hour},
				Retry:        engine.Backoff{Min: time.Second, Max: time.Minute}, ShutdownGrace: time.Minute,
			}).Run(ctx)
		}()
		for pending := 1; pending > 0; <-time.After(20 * time.Millisecond) {
			err := conn.QueryRow(ctx, `SELECT count(*) FROM (SELECT FROM `+table.Quoted()+` WHERE sent_at IS NULL LIMIT 1) s`).Scan(&pending)
			if err != nil {
				b.Fatal(err)
			}
		}
		b.StopTimer()
		cancel()
		if err := <-done; err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
