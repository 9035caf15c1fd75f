package e2e_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
)

// insertFast inserts rows, each in a transaction of its own that waits for no disk.
const insertFast = `DO $$ BEGIN SET synchronous_commit = off; FOR n IN 1..2000 LOOP
	INSERT INTO {outbox} (topic, payload) VALUES ('oracle.orders', '1'); COMMIT; END LOOP; END $$`

// While transactions come fast, the relay waits before it reads the log, for as long as
// OUTBOX_COALESCE says. Its profile shows the wait.
func TestLogIsReadInBunchesWhileTransactionsComeFast(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	relay := w.relayOf(relaybin.Released, "OUTBOX_COALESCE", "100ms", "OUTBOX_MAX_IN_FLIGHT", "4096", "OUTBOX_ADMIN_TOKEN", adminToken)
	w.awaitTailing(relay)
	writers := make([]*pgx.Conn, 4)
	for i := range writers {
		writers[i] = pgtest.Connect(t, w.url)
	}
	w.awaitFor(tailPatience, "the relay waits before it reads", func() (waits bool) {
		var writing sync.WaitGroup
		for _, db := range writers {
			writing.Go(func() {
				if _, err := db.Exec(t.Context(), w.sql(insertFast)); err != nil {
					t.Error(err)
				}
			})
		}
		written := make(chan struct{})
		go func() {
			writing.Wait()
			close(written)
		}()
		for ended := false; !ended && !waits; {
			select {
			case <-written:
				ended = true
			default:
			}
			_, goroutines := w.api(relay, "GET", "/debug/pprof/goroutine?debug=1", adminToken, "")
			waits = strings.Contains(goroutines, "(*coalescer).wait")
		}
		<-written
		w.awaitDrained() // a load that lasts would have the relay poll
		return waits
	})
	relay.Terminate()
}
