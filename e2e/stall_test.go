package e2e_test

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/natsserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/relaybin"
	"github.com/outbox-relay/outbox-relay/relay/admin"
	"github.com/outbox-relay/outbox-relay/schema"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// A relay is never green while nothing flows. Here are the stalls that a test can make by
// itself beside a working relay. Others are told in the tests that make them, which call
// awaitTold too: the pooler, the lock in strange hands, the transaction that blocks the
// tail, the role with one connection, rows that are locked, RabbitMQ's.

// stall is one story of it.
type stall struct {
	env   []string              // of the relay
	begin func(w *world) func() // begins it; what it returns ends it
	told
	counts bool // what is told are counts, which stay when it is over
}

func TestEachStallIsTold(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]stall{
		"the broker is gone": {
			begin: func(w *world) func() {
				w.killBroker()
				w.insert(plain(1))
				return w.restartBroker
			},
			told: told{
				status: func(r admin.Report) bool { return r.SinkDown != "" },
				above:  []string{"outbox_breaker_open"},
				log:    []string{`"level":"WARN"`, "the broker takes no messages"},
			},
		},
		"the broker hangs": {
			env:   []string{"OUTBOX_ACK_TIMEOUT", "5s"},
			begin: hangBroker,
			told: told{
				status: func(r admin.Report) bool { return strings.Contains(r.Stalled, "the broker") && !r.StalledHere },
				above:  []string{"outbox_breaker_open", "outbox_stalled_seconds"},
				log:    []string{`"level":"WARN"`, "no progress", "the broker"},
			},
		},
		"a row cannot be marked": {
			begin: func(w *world) func() { return failMarks(w, "WHEN (OLD.topic = 'oracle.poison')") },
			told: told{
				status: func(r admin.Report) bool {
					return r.UnmarkableRows == 1 && len(r.Unmarkable) == 1 && strings.Contains(r.Unmarkable[0].Error, noMark)
				},
				above: []string{"outbox_unmarkable_rows"},
				log:   []string{`"level":"WARN"`, "row cannot be marked", noMark},
			},
		},
		"no row can be marked": {
			begin: func(w *world) func() { return failMarks(w, "") },
			told: told{
				status: func(r admin.Report) bool { return strings.Contains(r.TableDown, noMark) },
				above:  []string{"outbox_table_breaker_open"},
				log:    []string{`"level":"WARN"`, "no row can be marked", noMark},
			},
		},
		"the table is locked": {
			// A relay that tails looks at the table every 30 seconds only.
			env:   []string{"OUTBOX_MODE", "polling"},
			begin: lockTable,
			told: told{
				status: func(r admin.Report) bool { return r.StalledHere && !r.Ready },
				above:  []string{"outbox_stalled_seconds", "outbox_stalled_here"},
				log:    []string{`"level":"WARN"`, "no progress", "cannot read the outbox table"},
			},
		},
		"the right to write is gone": {
			begin: func(w *world) func() {
				w.exec(`REVOKE UPDATE ON {outbox} FROM ` + sqltext.Identifier(w.role))
				for n := range 20 {
					w.insert(plain(1 + n))
				}
				return w.migrate
			},
			told: told{
				status: func(r admin.Report) bool { return strings.Contains(r.TableDown, "permission denied") },
				above:  []string{"outbox_table_breaker_open"},
				log:    []string{`"level":"WARN"`, "no row can be marked", "permission denied"},
			},
		},
		"a row is refused, and its key waits": {
			counts: true,
			begin:  refuseHead,
			told: told{
				status: func(r admin.Report) bool { return r.RefusedTotal > 0 },
				above:  []string{"outbox_refused_total", `outbox_publish_failures_total{error_type="unroutable"}`},
				log:    []string{`"level":"WARN"`, "message refused", "nowhere.bound"},
			},
		},
		"nobody acknowledges a topic": {
			env:   []string{"OUTBOX_ACK_TIMEOUT", "1s"},
			begin: muteTopic,
			told: told{
				status: func(r admin.Report) bool {
					return r.LateTopics == 1 && len(r.Late) == 1 && r.Late[0].Topic == "mute.topic"
				},
				above: []string{"outbox_late_topics"},
				log:   []string{`"level":"WARN"`, "messages of some topics are late", "mute.topic"},
			},
		},
		"the table is of another environment": {
			begin: func(w *world) func() {
				w.adopt("production")
				w.insert(plain(1))
				return func() { w.adopt("") }
			},
			told: told{
				status: func(r admin.Report) bool { return strings.Contains(r.Foreign, `"production"`) && !r.Ready },
				above:  []string{"outbox_foreign"},
				log:    []string{`"level":"WARN"`, "the outbox table belongs to another environment"},
			},
		},
		"the table is paused": {
			begin: func(w *world) func() {
				w.command("pause", "--reason", "the broker moves")
				w.insert(plain(1))
				return func() { w.command("resume") }
			},
			told: told{
				status: func(r admin.Report) bool {
					return r.PausedSince != nil && r.PauseReason == "the broker moves" && r.Ready
				},
				above: []string{"outbox_paused"},
				log:   []string{`"level":"INFO"`, "paused: nothing new is published", "the broker moves"},
			},
		},
		"a row can never be sent": {
			counts: true,
			begin: func(w *world) func() {
				w.exec(`INSERT INTO {outbox} (topic, payload) VALUES ('no.*.subject', '{}')`)
				return func() { w.exec(`DELETE FROM {outbox} WHERE dead_at IS NOT NULL`) }
			},
			told: told{
				status: func(r admin.Report) bool { return r.DeadTotal == 1 },
				above:  []string{"outbox_dead_total"},
				log:    []string{`"level":"WARN"`, "message dead"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{})
			relay := w.relay(s.env...)
			w.insert(plain(0))
			w.awaitDrained()
			end := s.begin(w)
			w.awaitTold(relay, s.told)
			end()
			w.awaitDrained()
			if !s.counts {
				w.awaitCalm(relay, s.told)
			}
			relay.Terminate()
		})
	}
}

func hangBroker(w *world) func() {
	w.t.Helper()
	if err := w.broker.Pause(); err != nil {
		w.t.Fatal(err)
	}
	w.insert(plain(1))
	return func() {
		if err := w.broker.Resume(); err != nil {
			w.t.Fatal(err)
		}
	}
}

// noMark is the error of the trigger that failMarks makes.
const noMark = "the audit log is full"

// failMarks has a trigger fail, for the rows for which the condition holds, and inserts
// some that it fails for, and others.
func failMarks(w *world, when string) func() {
	w.t.Helper()
	w.exec(`CREATE FUNCTION audit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE '` + noMark + `'; END $$`)
	w.exec(`CREATE TRIGGER audit BEFORE UPDATE ON {outbox} FOR EACH ROW ` + when + ` EXECUTE FUNCTION audit()`)
	poison := plain(1)
	poison.Topic = "oracle.poison"
	w.insert(poison)
	for n := range 20 {
		w.insert(plain(2 + n))
	}
	return func() { w.exec(`DROP TRIGGER audit ON {outbox}`) }
}

func lockTable(w *world) func() {
	w.t.Helper()
	tx, err := pgtest.Connect(w.t, w.url).Begin(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if _, err := tx.Exec(w.t.Context(), w.sql(`LOCK TABLE {outbox} IN ACCESS EXCLUSIVE MODE`)); err != nil {
		w.t.Fatal(err)
	}
	return func() { w.commit(tx) }
}

// refuseHead inserts a row to a topic that no stream has, and others behind it.
func refuseHead(w *world) func() {
	w.t.Helper()
	head, next := plain(1), plain(2)
	head.Topic = "nowhere.bound"
	head.Key, head.Keyed, next.Key, next.Keyed = "k", true, "k", true
	w.insert(head)
	w.insert(next)
	return func() { w.addSubject("nowhere.>") }
}

// muteTopic has somebody listen on a topic that no stream has: NATS does not say that
// nobody is there, and nobody acknowledges. Rows of others flow beside it.
func muteTopic(w *world) func() {
	w.t.Helper()
	conn, err := natsserver.Connect(w.broker.URL())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(conn.Close)
	if _, err := conn.Subscribe("mute.>", func(*nats.Msg) {}); err != nil {
		w.t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		w.t.Fatal(err)
	}
	err = pgx.BeginFunc(w.t.Context(), w.conn(), func(tx pgx.Tx) error {
		_, err := tx.Exec(w.t.Context(), w.sql(`INSERT INTO {outbox} (topic, payload)
			SELECT CASE n % 2 WHEN 0 THEN 'mute.topic' ELSE 'oracle.good' END, '1' FROM generate_series(1, $1::int) AS n`), 8*window)
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return func() { w.addSubject("mute.>") }
}

// command runs one of the relay's commands.
func (w *world) command(args ...string) {
	w.t.Helper()
	if p := relaybin.Start(w.t, relaybin.Tested, w.env, args...); p.Wait(patience) != 0 {
		w.t.Fatal(p.Log())
	}
}

// adopt notes to which environment the table belongs.
func (w *world) adopt(environment string) {
	w.t.Helper()
	if err := schema.Adopt(w.t.Context(), w.conn(), w.table, environment); err != nil {
		w.t.Fatal(err)
	}
}
