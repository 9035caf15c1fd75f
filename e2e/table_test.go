package e2e_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/e2e/oracle"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/schema"
)

// Ids start again and rows in flight are gone; neither may confuse the relay.
func TestTruncateRestartIdentityUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	load := w.load(oracle.Load{Rate: 2000, Seed: 40})
	relay := w.relay()
	for range 5 {
		w.awaitStored(w.stored() + 300)
		if err := oracle.Truncate(t.Context(), w.conn(), w.table); err != nil {
			t.Fatal(err)
		}
	}
	w.awaitStored(w.stored() + 300)
	w.stop(load, 1500)
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{})
}

// Acknowledged rows whose marks wait for a lock are truncated away, and new rows
// get their ids before the marks are written: these must not settle them.
func TestMarksOfTruncatedRowsDoNotTouchTheRowsThatGotTheirIDs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	const rows = 20
	for n := range rows {
		w.insert(plain(n))
	}
	tx, err := pgtest.Connect(t, w.url).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), w.sql(`SELECT FROM {outbox} FOR UPDATE`)); err != nil {
		t.Fatal(err)
	}
	// The marks are tried again long before the next pass sees the new rows.
	relay := w.relay("OUTBOX_POLL_INTERVAL", "5s")
	w.awaitStored(rows)
	if err := oracle.Truncate(t.Context(), tx, w.table); err != nil {
		t.Fatal(err)
	}
	for n := range rows {
		if _, err := oracle.Insert(t.Context(), tx, w.table, schema.PayloadJSON, 1, plain(rows+n)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{})
}

func TestAlterTableUnderLoad(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	load := w.load(oracle.Load{Rate: 1500, Seed: 41})
	relay := w.relay()
	for _, sql := range []string{
		`ALTER TABLE {outbox} ADD COLUMN note text`,
		`ALTER TABLE {outbox} ADD COLUMN region text NOT NULL DEFAULT 'eu'`,
		`ALTER TABLE {outbox} DROP COLUMN note`,
		`ALTER TABLE {outbox} ALTER COLUMN region TYPE varchar(9)`, // rewrites the table
		`ALTER TABLE {outbox} DROP COLUMN region`,
	} {
		w.awaitStored(w.stored() + 200)
		w.alter(sql)
	}
	w.awaitStored(w.stored() + 200)
	w.stop(load, 1000)
	w.awaitDrained()
	relay.Terminate()
	w.verdict(oracle.Limits{})
}

// alter runs a statement that locks the whole table, again if that ended in a
// deadlock with the writers.
func (w *world) alter(sql string) {
	w.t.Helper()
	w.await(sql, func() bool {
		_, err := w.conn().Exec(w.t.Context(), w.sql(sql))
		var refused *pgconn.PgError
		if errors.As(err, &refused) && refused.Code == "40P01" {
			return false
		}
		if err != nil {
			w.t.Fatalf("%s: %v", sql, err)
		}
		return true
	})
}

func TestNamesThatNeedQuotes(t *testing.T) {
	t.Parallel()
	for _, table := range []string{`"My Schema"."Outbox Tä""ble"`, `App.Outbox`, `"select"."order"`, `"a.b".":c'd"`} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{table: table})
			relay := w.relay()
			w.finish(w.load(oracle.Load{Rows: 200, Seed: 42}))
			w.awaitDrained()
			relay.Terminate()
			w.verdict(oracle.Limits{})
		})
	}
}

func TestPayloadTypes(t *testing.T) {
	t.Parallel()
	for _, payload := range []schema.PayloadType{schema.PayloadText, schema.PayloadBytea, schema.PayloadJSONB} {
		t.Run(string(payload), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{payload: payload})
			relay := w.relay()
			w.bulk(oracle.Bulk{Rows: 500, Keys: 10, Prefix: "bulk ", Payload: 500})
			if payload != schema.PayloadJSONB {
				w.finish(w.load(oracle.Load{Rows: 500, Seed: 43, MaxPayload: 50_000}))
			}
			w.awaitDrained()
			relay.Terminate()
			w.verdict(oracle.Limits{})
		})
	}
}

// bulk commits many rows in one transaction.
func (w *world) bulk(b oracle.Bulk) {
	w.t.Helper()
	b.Table, b.Topic = w.table, "oracle.bulk"
	payload := w.options.payload
	if payload == "" {
		payload = schema.PayloadJSON
	}
	err := pgx.BeginFunc(w.t.Context(), w.conn(), func(tx pgx.Tx) error {
		return b.Insert(w.t.Context(), tx, payload)
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestSentRowsAreDeletedWhereToldSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{deletes: true})
	load := w.load(oracle.Load{Rate: 1500, Seed: 44})
	for range 3 {
		relay := w.relay()
		w.awaitStored(w.stored() + 300)
		relay.Kill()
	}
	relay := w.relay()
	w.stop(load, 500)
	w.awaitDrained()
	relay.Terminate()
	if left := w.count(`SELECT count(*) FROM {outbox}`); left > 0 {
		t.Errorf("%d rows are left in the table", left)
	}
	w.verdict(oracle.Limits{Redeliveries: 3 * window})
}

// A row refused for now holds back its key's later rows, unless the relay was
// told to keep no order.
func TestRefusedHeadHoldsItsKeyBackOnlyWhereOrderIsKept(t *testing.T) {
	t.Parallel()
	for ordering, flows := range map[string]bool{"key": false, "none": true} {
		t.Run(ordering, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, worldOptions{})
			head, next, other := plain(1), plain(2), plain(3)
			head.Topic = "nowhere.yet" // no stream has it
			head.Key, head.Keyed, next.Key, next.Keyed = "k", true, "k", true
			other.Key, other.Keyed = "l", true
			var rows []oracle.Row
			err := pgx.BeginFunc(t.Context(), w.conn(), func(tx pgx.Tx) error {
				var err error
				rows, err = oracle.Insert(t.Context(), tx, w.table, schema.PayloadJSON, 1, head, next, other)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			relay := w.relay("OUTBOX_ORDERING", ordering)
			w.await("the head was refused three times and another key's row is sent", func() bool {
				return w.sent(rows[2]) && w.count(`SELECT attempts FROM {outbox} WHERE id = $1`, rows[0].ID) >= 3
			})
			if flows {
				w.await("the head's follower is sent before it", func() bool { return w.sent(rows[1]) })
			} else if w.sent(rows[1]) {
				t.Error("a row was sent before the refused head of its key")
			}
			w.addSubject("nowhere.>")
			w.awaitDrained()
			relay.Terminate()
			w.verdict(oracle.Limits{Unordered: flows})
		})
	}
}

// addSubject makes the stream take more.
func (w *world) addSubject(subject string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	stream, err := w.js.Stream(ctx, streamName)
	if err != nil {
		w.t.Fatal(err)
	}
	config := stream.CachedInfo().Config
	config.Subjects = append(config.Subjects, subject)
	if _, err := w.js.UpdateStream(ctx, config); err != nil {
		w.t.Fatal(err)
	}
}

// Scheduled rows come at their time, not before, not much later, and hold
// nobody back meanwhile.
func TestScheduledRowsComeAtTheirTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t, worldOptions{})
	relay := w.relay()
	relay.AwaitLog("leading")
	var id int64
	w.row(`INSERT INTO {outbox} (topic, key, payload, available_at)
		VALUES ('oracle.plain', 'k', '{"scheduled": true}', now() + interval '10 s') RETURNING id`, nil, &id)
	next := plain(1)
	next.Key, next.Keyed = "k", true
	following := w.insert(next)
	w.await("the row after the scheduled one is sent", func() bool { return w.sent(following) })
	w.awaitDrained()
	relay.Terminate()
	// The bounds are wide, since a machine may stand still for seconds.
	var late, early time.Duration
	w.row(`SELECT s.sent_at - s.available_at, s.available_at - f.sent_at FROM {outbox} AS s, {outbox} AS f WHERE s.id = $1 AND f.id = $2`,
		[]any{id, following.ID}, &late, &early)
	if late < 0 || late > 20*time.Second {
		t.Errorf("the scheduled row was sent %v after its time, want within a poll interval of 50ms", late)
	}
	if early < 0 {
		t.Errorf("the row after the scheduled one was sent %v after that one's time, want at once", -early)
	}
}
