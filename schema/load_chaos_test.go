//go:build chaos

package schema_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
)

const (
	loadWriters  = 4
	loadInterval = loadWriters * time.Millisecond // of one writer: 1,000 INSERTs/s of all
	// longestWait is what an INSERT may wait for a lock: lock_timeout, and what it takes to
	// notice that it is over, on a machine that has other work.
	longestWait = time.Second
)

// TestMigrationBesideWriters migrates a table of ROWS rows, as an older version would have
// made it, beside 1,000 INSERTs a second and transactions of a second. What an INSERT waits
// for a lock is read from pg_locks; the latencies, which the machine and the disk have their
// part in, are only printed.
func TestMigrationBesideWriters(t *testing.T) {
	rows := 5_000_000
	if n, err := strconv.Atoi(os.Getenv("ROWS")); err == nil {
		rows = n
	}
	server := pgtest.Own(t, map[string]string{"max_wal_size": "8GB", "checkpoint_timeout": "1h"})
	url := server.URL("postgres")
	conn := pgtest.Connect(t, url)
	script(t, conn, older)
	began := time.Now()
	run(t, conn, `INSERT INTO outbox (topic, payload, sent_at) SELECT 't', '{"n": 1}', CASE WHEN n % 1000 > 0 THEN now() END FROM generate_series(1, $1::int) n`, rows)
	t.Logf("%d rows made in %v", rows, time.Since(began).Round(time.Second))

	besideWriters(t, url, "migrated", func() {
		o := outbox
		o.Tell = func(message string) { t.Log(message) }
		migrate(t, conn, o)
	})
	if n := value[int](t, conn, validIndexes); n != 4 {
		t.Errorf("%d indexes are valid, want 4", n)
	}
}

// TestPartitionDropBesideWriters drops 30 partitions of ROWS rows, which is 5 million, as
// TestMigrationBesideWriters migrates.
func TestPartitionDropBesideWriters(t *testing.T) {
	const partitions = 30
	rows := 5_000_000
	if n, err := strconv.Atoi(os.Getenv("ROWS")); err == nil {
		rows = n
	}
	server := pgtest.Own(t, map[string]string{"max_wal_size": "8GB", "checkpoint_timeout": "1h"})
	url := server.URL("postgres")
	conn := pgtest.Connect(t, url)
	list := []string{part("now", "FOR VALUES FROM ('2020-02-01') TO ('2099-01-01')")}
	for day := 1; day <= partitions; day++ {
		list = append(list, part(fmt.Sprintf("day_%d", day), fmt.Sprintf("FOR VALUES FROM ('2020-01-%02d') TO ('2020-01-%02d')", day, day+1)))
	}
	divided(t, conn, "RANGE (created_at)", list...)
	run(t, conn, `INSERT INTO outbox (topic, payload, created_at, sent_at) SELECT 't', '{"n": 1}', timestamptz '2020-01-01 12:00' + n % $2::int * interval '1 day', '2020-03-01'
		FROM generate_series(1, $1::int) n`, rows, partitions)
	for calls := 1; value[int](t, conn, "SELECT count(*) FROM pg_inherits WHERE inhparent = 'outbox'::regclass") > 1; calls++ {
		besideWriters(t, url, "dropped", func() { t.Log(values(t, conn, dropOld)) })
		if calls == 10 {
			t.Fatal("partitions are left after ten calls")
		}
	}
}

// besideWriters does something beside 1,000 INSERTs a second and transactions of a second, and
// says what these waited.
func besideWriters(t *testing.T, url, done string, do func()) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var tasks sync.WaitGroup
	var mu sync.Mutex
	var latencies []time.Duration
	for range loadWriters {
		writer := pgtest.Connect(t, url)
		tasks.Go(func() {
			took := insertEvery(ctx, t, writer, loadInterval)
			mu.Lock()
			defer mu.Unlock()
			latencies = append(latencies, took...)
		})
	}
	long, watcher := pgtest.Connect(t, url), pgtest.Connect(t, url)
	tasks.Go(func() { openForASecond(ctx, t, long) })
	var longest time.Duration
	tasks.Go(func() { longest = watchWaits(ctx, t, watcher) })

	began := time.Now()
	do()
	took := time.Since(began)
	stop()
	tasks.Wait()
	slices.Sort(latencies)
	t.Logf("%s in %v beside %d INSERTs (%.0f/s): the longest waited %v for a lock; latency median %v, 99.9 %% %v, longest %v", done, took.Round(time.Millisecond),
		len(latencies), float64(len(latencies))/took.Seconds(), longest, latencies[len(latencies)/2], latencies[len(latencies)*999/1000], latencies[len(latencies)-1])
	if longest > longestWait {
		t.Errorf("an INSERT waited %v for a lock", longest)
	}
}

func insertEvery(ctx context.Context, t *testing.T, conn *pgx.Conn, interval time.Duration) (latencies []time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return latencies
		case <-ticker.C:
		}
		began := time.Now()
		if _, err := conn.Exec(t.Context(), "INSERT INTO outbox (topic, payload) VALUES ('t', '1')"); err != nil {
			t.Error(err)
			return latencies
		}
		latencies = append(latencies, time.Since(began))
	}
}

// openForASecond is an application with a transaction that takes its time, again and again.
func openForASecond(ctx context.Context, t *testing.T, conn *pgx.Conn) {
	for ctx.Err() == nil {
		if _, err := conn.Exec(t.Context(), "BEGIN; INSERT INTO outbox (topic, payload) VALUES ('t', '1'); SELECT pg_sleep(1); COMMIT; SELECT pg_sleep(0.3)",
			pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Error(err)
			return
		}
	}
}

// watchWaits returns how long an INSERT has waited for a lock on the table, at most.
func watchWaits(ctx context.Context, t *testing.T, conn *pgx.Conn) (longest time.Duration) {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for ctx.Err() == nil {
		var micros int64
		err := conn.QueryRow(t.Context(), `SELECT coalesce(max(extract(epoch FROM clock_timestamp() - waitstart) * 1000000), 0)::bigint FROM pg_locks
			WHERE NOT granted AND relation = 'outbox'::regclass AND mode = 'RowExclusiveLock'`).Scan(&micros)
		if err != nil {
			t.Error(err)
			return longest
		}
		longest = max(longest, time.Duration(micros)*time.Microsecond)
		<-ticker.C
	}
	return longest
}
