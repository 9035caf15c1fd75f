package schema_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/schema"
)

const insert = "INSERT INTO outbox (topic, payload) VALUES ('t', '1')"

// guarded says whether the guard stopped err's statement.
func guarded(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && pg.Code == "55000" && strings.HasPrefix(pg.Message, "outbox-relay: ")
}

// Each script inserts a row and changes it in one transaction, in a way of its
// own; the last statement is the forbidden one.
var forbidden = map[string][]string{
	"update":                         {insert, "UPDATE outbox SET payload = '2'"},
	"delete":                         {insert, "DELETE FROM outbox"},
	"update of key to the same":      {insert, "UPDATE outbox SET key = key"},
	"reschedule":                     {insert, "UPDATE outbox SET available_at = now()"},
	"after a mark":                   {insert, "UPDATE outbox SET sent_at = now()", "DELETE FROM outbox"},
	"open savepoint":                 {"SAVEPOINT a", insert, "UPDATE outbox SET topic = 'x'"},
	"released savepoint":             {"SAVEPOINT a", insert, "RELEASE a", "DELETE FROM outbox"},
	"nested, inner released":         {"SAVEPOINT a", "SAVEPOINT b", insert, "RELEASE b", "UPDATE outbox SET headers = '{}'"},
	"nested, both released":          {"SAVEPOINT a", "SAVEPOINT b", insert, "RELEASE b", "RELEASE a", "UPDATE outbox SET headers = '{}'"},
	"inserted outside, deleted in":   {insert, "SAVEPOINT a", "DELETE FROM outbox"},
	"savepoint beside":               {"SAVEPOINT a", insert, "RELEASE a", "SAVEPOINT b", "UPDATE outbox SET created_at = now()"},
	"after another's rollback":       {"SAVEPOINT a", insert, "ROLLBACK TO a", "SAVEPOINT b", insert, "RELEASE b", "DELETE FROM outbox"},
	"exception block":                {"DO $$ BEGIN " + insert + "; EXCEPTION WHEN others THEN NULL; END $$", "DELETE FROM outbox"},
	"on conflict do update":          {"INSERT INTO outbox (id, topic, payload) VALUES (7, 't', '1')", "INSERT INTO outbox (id, topic, payload) VALUES (7, 't', '2') ON CONFLICT (id) DO UPDATE SET payload = excluded.payload"},
	"merge":                          {insert, "MERGE INTO outbox o USING (VALUES (1)) v ON true WHEN MATCHED THEN DELETE"},
	"many savepoints, an early row":  {"DO $$ BEGIN FOR i IN 1..200 LOOP BEGIN " + insert + "; EXCEPTION WHEN others THEN NULL; END; END LOOP; END $$", "DELETE FROM outbox WHERE id = (SELECT min(id) FROM outbox)"},
	"data-modifying CTE, two levels": {"WITH i AS (" + insert + " RETURNING id) SELECT id FROM i", "UPDATE outbox SET message_id = gen_random_uuid()"},
	"truncate":                       {insert, "TRUNCATE outbox"},
	"truncate of a savepoint's":      {"SAVEPOINT a", insert, "RELEASE a", "TRUNCATE outbox RESTART IDENTITY"},
	"truncate after a mark":          {insert, "UPDATE outbox SET sent_at = now()", "TRUNCATE outbox"},
	"truncate, insert, truncate":     {"TRUNCATE outbox", insert, "TRUNCATE outbox CASCADE"},
	"death before the insert":        {insert, "UPDATE outbox SET dead_at = now() - interval '1 hour'"},
	"death in the past, of a saved":  {"SAVEPOINT a", insert, "RELEASE a", "UPDATE outbox SET dead_at = '-infinity', last_error = 'x'"},
	"death moved to the past":        {insert, "UPDATE outbox SET dead_at = now()", "UPDATE outbox SET dead_at = dead_at - interval '1 s'"},
	"death by on conflict":           {"INSERT INTO outbox (id, topic, payload) VALUES (7, 't', '1')", "INSERT INTO outbox (id, topic, payload) VALUES (7, 't', '2') ON CONFLICT (id) DO UPDATE SET dead_at = '2020-01-01'"},
	"in a repeatable read":           {"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", "SAVEPOINT a", insert, "RELEASE a", "DELETE FROM outbox"},
}

func TestGuardForbidsChangesInTheInsertingTransaction(t *testing.T) {
	conn := migrated(t, outbox)
	for name, statements := range forbidden {
		t.Run(name, func(t *testing.T) {
			if name == "merge" && version(t, conn) < 15 {
				t.Skip("MERGE came with PostgreSQL 15")
			}
			run(t, conn, "BEGIN")
			defer run(t, conn, "ROLLBACK")
			last := len(statements) - 1
			for _, sql := range statements[:last] {
				run(t, conn, sql)
			}
			if _, err := conn.Exec(t.Context(), statements[last]); !guarded(err) {
				t.Errorf("%s: %v, want the guard's error", statements[last], err)
			}
		})
	}
}

func TestGuardForbidsChangesOfCopiedRows(t *testing.T) {
	conn := migrated(t, outbox)
	run(t, conn, "BEGIN")
	defer run(t, conn, "ROLLBACK")
	rows := [][]any{{"t", []byte("1")}, {"t", []byte("2")}}
	if _, err := conn.CopyFrom(t.Context(), pgx.Identifier{"outbox"}, []string{"topic", "payload"}, pgx.CopyFromRows(rows)); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "DELETE FROM outbox WHERE payload::text = '2'"); !guarded(err) {
		t.Errorf("got %v, want the guard's error", err)
	}
}

func TestGuardNamesTableRowAndFix(t *testing.T) {
	conn := migrated(t, schema.Options{Table: mustTable(`"My Shop"."Out Box"`), Publication: "p"})
	run(t, conn, "BEGIN")
	run(t, conn, `INSERT INTO "My Shop"."Out Box" (topic, payload) VALUES ('t', '1')`)
	_, err := conn.Exec(t.Context(), `DELETE FROM "My Shop"."Out Box"`)
	var pg *pgconn.PgError
	if !errors.As(err, &pg) || pg.Message != `outbox-relay: DELETE of row id=1 of table "My Shop"."Out Box" `+
		`in the transaction that inserted or last changed it` || !strings.Contains(pg.Hint, "with its final values") {
		t.Errorf("got %v", err)
	}
}

func TestGuardLetsOtherTransactionsChangeRows(t *testing.T) {
	url := pgtest.Database(t)
	conn, other := pgtest.Connect(t, url), pgtest.Connect(t, url)
	migrate(t, conn, outbox)

	// Rows of transactions that ended before, also of released savepoints.
	script(t, conn, "BEGIN; SAVEPOINT a; "+insert+"; RELEASE a; "+insert+"; COMMIT")
	run(t, conn, "UPDATE outbox SET payload = '2', available_at = now()")
	// Once more in a transaction that has marked nothing before: a retry, as the relay writes it.
	run(t, conn, "UPDATE outbox SET attempts = 1, last_error = 'full', available_at = now()")

	// Rows with an xid higher than the one that changes them, which committed meanwhile.
	run(t, conn, "BEGIN")
	run(t, conn, "SELECT pg_current_xact_id()")
	script(t, other, "BEGIN; "+insert+"; SAVEPOINT a; "+insert+"; RELEASE a; COMMIT")
	if tag, err := conn.Exec(t.Context(), "UPDATE outbox SET topic = 'x'"); err != nil || tag.RowsAffected() != 4 {
		t.Errorf("rows committed by another session meanwhile: %v, %v", tag, err)
	}
	run(t, conn, "COMMIT")

	// While the inserting transaction is open its rows are nobody's; afterwards anybody's.
	script(t, other, "BEGIN; "+insert)
	if tag, err := conn.Exec(t.Context(), "DELETE FROM outbox"); err != nil || tag.RowsAffected() != 4 {
		t.Errorf("delete beside an open transaction: %v, %v", tag, err)
	}
	run(t, other, "COMMIT")
	run(t, conn, "VACUUM (FREEZE) outbox")
	if tag, err := conn.Exec(t.Context(), "DELETE FROM outbox"); err != nil || tag.RowsAffected() != 1 {
		t.Errorf("delete of a frozen row: %v, %v", tag, err)
	}
}

func TestGuardNeverSeesTheRelaysMarks(t *testing.T) {
	conn := migrated(t, outbox)
	script(t, conn, "BEGIN; "+insert)
	// In the inserting transaction itself, where the guard would raise.
	run(t, conn, "UPDATE outbox SET sent_at = now(), attempts = 1, last_error = 'x', dead_at = now(), first_attempt_at = now()")
	run(t, conn, "COMMIT")
}

func TestGuardLetsRowsOfAPreparedTransactionBeChangedLater(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Own(t, map[string]string{"max_prepared_transactions": "2"}).URL("postgres"))
	migrate(t, conn, outbox)
	script(t, conn, "BEGIN; SAVEPOINT a; "+insert+"; RELEASE a; PREPARE TRANSACTION 'p'")
	if tag, err := conn.Exec(t.Context(), "DELETE FROM outbox"); err != nil || tag.RowsAffected() != 0 {
		t.Errorf("while prepared: %v, %v", tag, err)
	}
	run(t, conn, "COMMIT PREPARED 'p'")
	if tag, err := conn.Exec(t.Context(), "DELETE FROM outbox"); err != nil || tag.RowsAffected() != 1 {
		t.Errorf("after COMMIT PREPARED: %v, %v", tag, err)
	}
	script(t, conn, "BEGIN; "+insert)
	if _, err := conn.Exec(t.Context(), "DELETE FROM outbox"); !guarded(err) {
		t.Errorf("before PREPARE: %v, want the guard's error", err)
	}
}

// A test's or a person's TRUNCATE comes in a transaction of its own, or first.
func TestGuardLetsOtherTransactionsTruncate(t *testing.T) {
	conn := migrated(t, outbox)
	for range 3 {
		run(t, conn, insert) // in this session, and so among its counters
		run(t, conn, "TRUNCATE outbox")
	}
	run(t, conn, "BEGIN")
	run(t, conn, "TRUNCATE outbox")
	run(t, conn, insert)
	run(t, conn, "COMMIT")
	run(t, conn, "BEGIN")
	run(t, conn, "SAVEPOINT a")
	run(t, conn, insert)
	run(t, conn, "ROLLBACK TO a")
	run(t, conn, "TRUNCATE outbox")
	run(t, conn, "COMMIT")
	run(t, conn, "SET track_counts = off")
	run(t, conn, "BEGIN")
	run(t, conn, insert)
	if _, err := conn.Exec(t.Context(), "TRUNCATE outbox"); !guarded(err) {
		t.Errorf("without counters: %v, want the guard's error", err)
	}
	run(t, conn, "ROLLBACK")
}
