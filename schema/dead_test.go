package schema_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/schema"
)

const insertDead = `INSERT INTO outbox (id, topic, payload, dead_at, available_at, attempts, first_attempt_at, last_error, error_type)
	SELECT n, 't', '1', now() - interval '1 h', now() + interval '1 h', 10, now() - interval '1 d', 'unroutable: no stream', 'unroutable'
	FROM generate_series(1, 5) n`

// withDead is a table in which row 1 was sent, 2 is pending, and 3 to 5 are dead.
func withDead(t *testing.T) *pgx.Conn {
	t.Helper()
	conn := migrated(t, outbox)
	run(t, conn, insertDead)
	run(t, conn, "UPDATE outbox SET sent_at = now(), dead_at = NULL WHERE id = 1")
	run(t, conn, "UPDATE outbox SET dead_at = NULL WHERE id = 2")
	return conn
}

func TestReplayFunctionChangesDeadRowsOnly(t *testing.T) {
	conn := withDead(t)
	if n := value[int](t, conn, "SELECT outbox_replay(1, 2, 3, 3, 99)"); n != 1 {
		t.Errorf("replayed %d rows, want row 3 alone", n)
	}
	if n := value[int](t, conn, "SELECT sum(outbox_replay(id)) FROM outbox WHERE topic LIKE 't%' AND dead_at IS NOT NULL"); n != 2 {
		t.Errorf("replayed %d rows by a WHERE, want 4 and 5", n)
	}
	if n := value[int](t, conn, `SELECT count(*) FROM outbox WHERE id > 2 AND dead_at IS NULL AND available_at IS NULL AND attempts = 0
		AND first_attempt_at IS NULL AND last_error IS NOT NULL`); n != 3 {
		t.Errorf("%d rows are as if they had never been tried, want 3", n)
	}
	if n := value[int](t, conn, "SELECT count(*) FROM outbox WHERE id < 3 AND attempts = 10"); n != 2 {
		t.Error("rows that were not dead were changed")
	}
}

func TestDiscardFunctionDeletesDeadRowsOnly(t *testing.T) {
	conn := withDead(t)
	if n := value[int](t, conn, "SELECT outbox_discard(VARIADIC ARRAY(SELECT id FROM outbox))"); n != 3 {
		t.Errorf("discarded %d rows, want 3", n)
	}
	if n := value[int](t, conn, "SELECT sum(id) FROM outbox"); n != 3 {
		t.Error("others than the dead rows are gone")
	}
}

// What others have put into a schema, or called like a column, changes nothing.
func TestFunctionsUseNothingOfOthers(t *testing.T) {
	table := mustTable(`"My $function$ Shop%s"."Out (bigint[]) 'Box' %s"`)
	conn := migrated(t, schema.Options{Table: table, Publication: "p"})
	run(t, conn, "ALTER TABLE "+table.Quoted()+" ADD ids bigint, ADD changed bigint")
	run(t, conn, "INSERT INTO "+table.Quoted()+" (topic, payload, dead_at) VALUES ('t', '1', now()), ('t', '1', now())")
	script(t, conn, `CREATE SCHEMA evil; CREATE FUNCTION evil.pg_notify(text, text) RETURNS void LANGUAGE plpgsql AS
		$$BEGIN RAISE 'evil'; END$$; SET search_path = evil, pg_catalog`)
	if n := value[int](t, conn, "SELECT "+table.ReplayFunction()+"(1)"); n != 1 {
		t.Errorf("replayed %d", n)
	}
	if n := value[int](t, conn, "SELECT "+table.DiscardFunction()+"(1, 2)"); n != 1 {
		t.Errorf("discarded %d", n)
	}
}

func TestFunctionsBelongToTheirOwnerUntilGranted(t *testing.T) {
	name := role(t, "support")
	admin := migrated(t, outbox)
	run(t, admin, insertDead)
	script(t, admin, "CREATE ROLE support LOGIN PASSWORD 'x'; GRANT SELECT, UPDATE, DELETE ON outbox TO support")
	conn := pgtest.Connect(t, pgtest.Server(t).URLAs(name, "x", value[string](t, admin, "SELECT current_database()")))
	denied := func(sql string) {
		t.Helper()
		_, err := conn.Exec(t.Context(), sql)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "42501" {
			t.Errorf("%s: %v, want permission denied", sql, err)
		}
	}
	denied("SELECT outbox_replay(1)")
	denied("SELECT outbox_discard(1)")
	run(t, admin, "GRANT EXECUTE ON FUNCTION outbox_replay(bigint[]), outbox_discard(bigint[]) TO support")
	run(t, conn, "SELECT outbox_replay(1), outbox_discard(2)")
	// With the caller's rights, not the owner's.
	run(t, admin, "REVOKE ALL ON outbox FROM support")
	denied("SELECT outbox_replay(3)")
	migrate(t, admin, outbox)
	if value[bool](t, admin, "SELECT has_function_privilege('public', 'outbox_replay(bigint[])', 'EXECUTE')") {
		t.Error("PUBLIC may call it")
	}
}

func TestFunctionsTellTheRelayOnce(t *testing.T) {
	url := pgtest.Database(t)
	conn, relay := pgtest.Connect(t, url), pgtest.Connect(t, url)
	migrate(t, conn, outbox)
	run(t, conn, insertDead)
	run(t, relay, "LISTEN "+outbox.Table.WakeChannel())
	run(t, conn, "SELECT outbox_replay(77)") // changes nothing, tells nothing
	script(t, conn, "SELECT sum(outbox_replay(id)) FROM outbox")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := relay.WaitForNotification(ctx); err != nil {
		t.Fatal(err)
	}
	run(t, conn, "SELECT pg_notify('"+outbox.Table.WakeChannel()+"', 'last')")
	if n, err := relay.WaitForNotification(ctx); err != nil || n.Payload != "last" {
		t.Errorf("five rows told more than once: %v, %v", n, err)
	}
}

func TestMigrateLeavesTheFunctionsOfOthersAlone(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	script(t, conn, "CREATE FUNCTION outbox_replay(bigint[]) RETURNS bigint LANGUAGE sql AS 'SELECT 1'")
	err := schema.Migrate(t.Context(), conn, outbox)
	if err == nil || !strings.Contains(err.Error(), `the function "public"."outbox_replay"(bigint[]) exists and is not the one of outbox-relay`) ||
		!strings.Contains(err.Error(), "Rename that function") {
		t.Errorf("%v", err)
	}
}

// A person corrects what is wrong with a dead row and has it sent again, all or nothing.
func TestGuardLetsDeadRowsBeCorrectedAndReplayedTogether(t *testing.T) {
	conn := migrated(t, outbox)
	run(t, conn, insertDead)
	script(t, conn, `BEGIN; UPDATE outbox SET topic = 'right' WHERE id = 1; UPDATE outbox SET payload = '2' WHERE id = 1;
		SELECT outbox_replay(1); COMMIT`)
	if got := value[string](t, conn, "SELECT topic || payload FROM outbox WHERE dead_at IS NULL"); got != "right2" {
		t.Error("the row is not as corrected:", got)
	}
	// Replayed, it is a row like others: the relay may have taken it.
	script(t, conn, "BEGIN; SELECT outbox_replay(2)")
	if _, err := conn.Exec(t.Context(), "UPDATE outbox SET topic = 'late' WHERE id = 2"); !guarded(err) {
		t.Errorf("a change behind the replay: %v, want the guard's error", err)
	}
	run(t, conn, "ROLLBACK")
	// The log publishes a row that was given up by the transaction that inserted it.
	script(t, conn, "BEGIN; INSERT INTO outbox (id, topic, payload) VALUES (77, 't', '1'); UPDATE outbox SET dead_at = now() WHERE id = 77")
	if _, err := conn.Exec(t.Context(), "UPDATE outbox SET topic = 'x' WHERE id = 77"); !guarded(err) {
		t.Errorf("a row given up where it was inserted: %v, want the guard's error", err)
	}
	run(t, conn, "ROLLBACK")
	script(t, conn, "BEGIN; UPDATE outbox SET topic = 'x' WHERE id = 3; DELETE FROM outbox WHERE id = 3; COMMIT")
}

// The relay's role is not asked for again.
func TestMigrateExtendsTheGrantsOfAnOlderTable(t *testing.T) {
	name := role(t, "relay_of_old")
	conn := listen(t, pgtest.Database(t))
	migrate(t, conn.Conn, outbox)
	script(t, conn.Conn, `ALTER TABLE outbox DROP error_type, DROP dead_letter_at; CREATE ROLE relay_of_old;
		GRANT SELECT, UPDATE (sent_at, attempts, first_attempt_at, last_error, available_at, dead_at) ON outbox TO relay_of_old`)
	conn.take()
	migrate(t, conn.Conn, outbox)
	for _, column := range []string{"error_type", "dead_letter_at"} {
		if !value[bool](t, conn.Conn, "SELECT has_column_privilege($1, 'outbox', $2, 'UPDATE')", name, column) {
			t.Errorf("the role may not write %s; the migration said %q", column, conn.take())
		}
	}
	run(t, conn.Conn, "DROP OWNED BY relay_of_old")
}
