package e2e_test

import (
	"strings"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/admin"
)

// With OUTBOX_MAX_DEFER rows that have waited for the broker for too long are dead, while
// it is still away, and what was committed later is not. Their copies go when it is back. A
// replay brings them too.
func TestRowsThatWaitTooLongForTheBrokerAreDead(t *testing.T) {
	onBothBrokers(t, func(t *testing.T, w *deadWorld) {
		const rows, deferred = 300, 20 * time.Second
		proxy := w.proxy()
		relay := w.relay("OUTBOX_MAX_DEFER", deferred.String(), "OUTBOX_DEAD_LETTER_TOPIC", "oracle.dead")
		w.exec(`INSERT INTO {outbox} (topic, payload) VALUES ('oracle.orders', '0')`)
		w.await("the broker is seen to work", func() bool { return w.marked() == 1 })
		proxy.Refuse(true)
		proxy.Cut()
		w.exec(`INSERT INTO {outbox} (topic, payload) VALUES ('oracle.orders', '0')`) // by which the outage is seen; the broker may have it
		w.await("the outage is told", func() bool { return w.status(relay).SinkDown != "" })

		w.exec(`INSERT INTO {outbox} (topic, key, payload) SELECT 'oracle.orders', 'k' || n % 7, to_json(n) FROM generate_series(1, $1) AS n`, rows)
		w.exec(`INSERT INTO {outbox} (topic, payload, available_at) VALUES ('oracle.orders', '0', now() + interval '1 hour')`)
		late, err := pgtest.Connect(t, w.url).Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		// Its transaction begins behind those of the others, and ends so long after them that
		// nothing but a mistake has it die with them, on a slow machine too.
		if _, err := late.Exec(t.Context(), w.sql(`INSERT INTO {outbox} (topic, key, payload) VALUES ('oracle.orders', 'late', '0')`)); err != nil {
			t.Fatal(err)
		}
		w.exec(`INSERT INTO {outbox} (topic, payload) VALUES ('oracle.orders', '0')`) // so that the relay looks as far as that row
		w.letPass(deferred * 2 / 3)
		var committed time.Time
		w.row(`SELECT clock_timestamp()`, nil, &committed)
		if err := late.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.await("what has waited is dead", func() bool {
			return w.count(`SELECT count(*) FROM {outbox} WHERE key LIKE 'k%' AND dead_at IS NOT NULL`) == rows
		})
		w.letPass(deferred / 4) // for passes that begin with that row
		proxy.Refuse(false)
		if n := w.count(`SELECT count(*) FROM {outbox} WHERE key = 'late' AND dead_at < $1`, committed.Add(deferred)); n > 0 {
			t.Error("a row whose transaction has ended later is dead too soon")
		}
		if n := w.count(`SELECT count(*) FROM {outbox} WHERE error_type = 'expired' AND key LIKE 'k%' AND attempts = 0 AND first_attempt_at IS NULL
			AND last_error LIKE $1`, "expired: the broker took no messages for "+deferred.String()+"%"); n != rows {
			t.Errorf("%d rows say why they are dead", n)
		}
		w.await("the dead rows are copied", func() bool {
			return w.count(`SELECT count(*) FROM {outbox} WHERE dead_at IS NOT NULL AND dead_letter_at IS NULL`) == 0
		})
		w.awaitTold(relay, told{
			status: func(r admin.Report) bool { return r.ExpiredTotal >= rows },
			above:  []string{"outbox_expired_total"}, log: []string{"rows have waited for the broker"},
		})
		if said := w.dead("replay", "--type", "expired", "--yes"); !strings.Contains(said, "replayed 30") {
			t.Errorf("dead replay says %q", said)
		}
		w.await("all but the scheduled one are sent", func() bool { return w.marked() == rows+4 })
		relay.Terminate()
	})
}
