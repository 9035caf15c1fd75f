package e2e_test

import (
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
	"github.com/outbox-relay/outbox-relay/schema"
)

const (
	retentionRows  = 5_000_000
	retentionBatch = 100_000 // of one INSERT
	retentionStep  = 1_000_000
)

// BenchmarkRetention moves millions of rows through a table whose sent rows are deleted after
// some seconds, as fast as they go: BENCH_RETENTION_ROWS of them. It prints for each million
// how fast it was drained, how large table and indexes are, how many dead tuples they have,
// and how long it takes to find the first due row. All should be as flat at the end as after
// the first millions.
func BenchmarkRetention(b *testing.B) {
	rows := retentionRows
	if n, err := strconv.Atoi(os.Getenv("BENCH_RETENTION_ROWS")); err == nil {
		rows = n
	}
	w := newBenchWorld(b)
	role := schema.RoleOptions{Table: w.table, Role: w.role, Delete: true}
	if err := schema.GrantRole(b.Context(), w.conn(), role, ""); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		relay := w.relayOf(relaybin.Released, "OUTBOX_RETENTION", "5s")
		relay.AwaitLog("leading")
		var first, last float64
		for done := 0; done < rows; {
			began, begin, until := time.Now(), done, min(done+retentionStep, rows)
			for from := done; done < until; {
				n := min(retentionBatch, until-done)
				w.exec(`INSERT INTO {outbox} (topic, key, payload) SELECT 'oracle.bulk', 'bulk ' || n % 1000, ('{"n": "' || repeat('x', 280) || '"}')::json
					FROM generate_series(1, $1::int) AS n`, n)
				done += n
				// At most two batches wait.
				w.awaitFor(patience, "rows are sent", func() bool { return w.stored() >= max(from, done-2*retentionBatch) })
			}
			w.awaitDrained()
			last = float64(done-begin) / time.Since(began).Seconds()
			if first == 0 {
				first = last
			}
			w.printSizes(done, last)
			w.purge(b) // of the broker: its disk is not the subject
		}
		figure(b, "retention_first_million_rows_per_s", first)
		figure(b, "retention_last_million_rows_per_s", last)
		relay.Terminate()
	}
}

// printSizes prints how the table is after so many rows.
func (w *world) printSizes(rows int, rate float64) {
	w.t.Helper()
	var table, indexes, dead, kept int64
	w.row(`SELECT pg_table_size('{outbox}'), pg_indexes_size('{outbox}'), n_dead_tup, n_live_tup FROM pg_stat_user_tables WHERE relid = '{outbox}'::regclass`,
		nil, &table, &indexes, &dead, &kept)
	began := time.Now()
	w.count(`SELECT count(*) FROM (SELECT FROM {outbox} WHERE ` + schema.Due + ` ORDER BY id LIMIT 1) AS o`)
	fmt.Printf("bench: %d rows: %.0f rows/s, table %d MiB, indexes %d MiB, %d live and %d dead tuples, first due row found in %v\n",
		rows, rate, table>>20, indexes>>20, kept, dead, time.Since(began).Round(10*time.Microsecond))
}
