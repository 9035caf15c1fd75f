//go:build chaos

package e2e_test

import (
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
)

func TestChaosBrokerDownForTwoMinutesWhileTailing(t *testing.T) {
	t.Parallel()
	brokerDownWhileTailing(t, 2*time.Minute)
}

// A bulk load into a table of the application's keeps the server's decoding busy
// for as long as it takes, and longer: the rows of the outbox do not wait for it.
func TestChaosBulkLoadBesideTheTail(t *testing.T) {
	w := newTailWorld(t, worldOptions{cluster: pgtest.Own(t, nil)})
	load := w.load(oracle.Load{Rate: 100, Seed: 70})
	relay, _ := w.tailing("OUTBOX_MAX_WAL", "100GiB")
	application := pgtest.Connect(t, w.url)
	done := make(chan error, 1)
	go func() {
		_, err := application.Exec(t.Context(), "CREATE TABLE bulk AS SELECT g AS id, md5(g::text) AS x FROM generate_series(1, 10000000) g")
		done <- err
	}()
	const oldest = `SELECT coalesce(extract(epoch FROM now() - min(created_at)), 0)::float8 FROM {outbox} WHERE sent_at IS NULL AND dead_at IS NULL`
	var worst float64
	loaded, left := false, false
	w.awaitFor(5*time.Minute, "the load is done, and the log is read again", func() bool {
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			loaded = true
		default:
		}
		var age float64
		w.row(oldest, nil, &age)
		worst = max(worst, age)
		tailing := w.status(relay).Mode == "tailing"
		left = left || !tailing
		return loaded && tailing
	})
	w.stop(load, 1000)
	w.awaitDrained()
	t.Logf("the oldest pending row was %.1f s old; the tail was left: %t", worst, left)
	if worst > 30 {
		t.Errorf("a row waited %.1f s: the tail falls behind, and the table is not read", worst)
	}
	relay.Terminate()
	w.verdict(oracle.Limits{})
}
