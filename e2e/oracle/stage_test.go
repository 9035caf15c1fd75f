package oracle_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/schema"
)

// smallestWindow is the least duplicate window that the server takes. Copies
// that come later are stored, and so seen.
const smallestWindow = 100 * time.Millisecond

// stage is a database, a broker and a naive relay between them.
type stage struct {
	url    string
	table  schema.Table
	broker *natsserver.Server
	js     jetstream.JetStream
	relay  *naive
	limits oracle.Limits
	load   oracle.Load
	// ending runs after the last row has been moved.
	ending func(t *testing.T)
	// enough ends a load without a number of rows; nil: it has one.
	enough func() bool
}

func newStage(t *testing.T) *stage {
	t.Helper()
	ctx := t.Context()
	s := &stage{url: pgtest.Database(t), table: schema.Table{Schema: "public", Name: "outbox"}}
	db := pgtest.Connect(t, s.url)
	if err := schema.Migrate(ctx, db, schema.Options{Table: s.table, Publication: "outbox_relay"}); err != nil {
		t.Fatal(err)
	}
	if err := oracle.Install(ctx, db); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.broker, err = natsserver.StartInProcess(ctx, natsserver.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.broker.Close() })
	conn, err := natsserver.Connect(s.broker.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	if s.js, err = natsserver.JetStream(conn); err != nil {
		t.Fatal(err)
	}
	_, err = s.js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "ORACLE", Subjects: []string{"oracle.>"}, Duplicates: smallestWindow,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.relay = &naive{db: db, js: s.js, table: s.table, sent: map[string]bool{}}
	s.load = oracle.Load{URL: s.url, Table: s.table, Rows: 400, Keys: 8, Seed: 1}
	return s
}

// play runs the load with the relay beside it until both are done.
func (s *stage) play(t *testing.T) oracle.Stats {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	running := s.load.Start(ctx)
	for ended := false; ; {
		moved, err := s.relay.poll(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if ended && !moved {
			break
		}
		if s.enough != nil && s.enough() {
			if _, err := running.Stop(); err != nil {
				t.Fatal(err)
			}
		}
		select {
		case <-running.Done():
			ended = true
		default:
		}
	}
	stats, err := running.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if s.ending != nil {
		s.ending(t)
	}
	return stats
}

func (s *stage) judge(t *testing.T) ([]oracle.Written, []oracle.Finding) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	committed, err := oracle.Committed(ctx, s.relay.db)
	if err != nil {
		t.Fatal(err)
	}
	table, err := oracle.ReadTable(ctx, s.relay.db, s.table)
	if err != nil {
		t.Fatal(err)
	}
	received, err := oracle.Collect(ctx, s.broker.URL(), "ORACLE")
	if err != nil {
		t.Fatal(err)
	}
	return committed, oracle.Judge(committed, received, table, s.limits)
}
