package e2e_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// insertFast inserts 2,000 rows, each in a transaction of its own that waits for no disk.
const insertFast = `DO $$ BEGIN SET synchronous_commit = off; FOR n IN 1..2000 LOOP
	INSERT INTO {outbox} (topic, payload) VALUES ('oracle.orders', '1'); COMMIT; END LOOP; END $$`

// While transactions come fast, a relay with OUTBOX_COALESCE waits before it reads the log. Its
// profile shows the wait.
func TestLogIsReadInBunchesWhileTransactionsComeFast(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	relay := w.relayOf(relaybin.Released, "OUTBOX_COALESCE", "100ms", "OUTBOX_MAX_IN_FLIGHT", "4096", "OUTBOX_ADMIN_TOKEN", adminToken)
	w.awaitTailing(relay)
	writers := make([]*pgx.Conn, 4)
	for i := range writers {
		writers[i] = pgtest.Connect(t, w.url)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	fastest := 0.0
	for deadline := time.Now().Add(patience); ; {
		began := time.Now()
		written := w.write(writers, insertFast)
		waits := false
		for ended := false; !ended; {
			_, goroutines := w.api(relay, "GET", "/debug/pprof/goroutine?debug=1", adminToken, "")
			waits = waits || strings.Contains(goroutines, "(*coalescer).wait")
			select {
			case err := <-written:
				if err != nil {
					t.Fatal(err)
				}
				ended = true
			case <-tick.C:
			}
		}
		fastest = max(fastest, float64(2000*len(writers))/time.Since(began).Seconds())
		w.awaitDrained() // a load that lasts would have the relay poll
		switch {
		case waits:
			relay.Terminate()
			return
		case time.Now().Before(deadline):
		case fastest < 8000:
			t.Skipf("this machine has %.0f transactions/s, which is hardly fast", fastest)
		default:
			t.Fatalf("the relay does not wait at %.0f transactions/s", fastest)
		}
	}
}

// write runs a statement in each of the sessions at once. The channel gets their errors when
// all have ended.
func (w *world) write(in []*pgx.Conn, statement string) (ended <-chan error) {
	errs := make([]error, len(in))
	var writing sync.WaitGroup
	for i, db := range in {
		writing.Go(func() { _, errs[i] = db.Exec(w.t.Context(), w.sql(statement)) })
	}
	all := make(chan error, 1)
	go func() {
		writing.Wait()
		all <- errors.Join(errs...)
	}()
	return all
}
