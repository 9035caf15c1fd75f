package schema_test

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/schema"
)

// crowded makes the older table so large that its indexes are not built in the migration's
// transaction.
const crowded = older + `; ALTER TABLE outbox SET (autovacuum_enabled = off);
	INSERT INTO outbox (topic, payload) SELECT 't', to_json(repeat('x', 200)) FROM generate_series(1, 40000)`

// validIndexes counts the valid ones whose names end like those of the migration.
const validIndexes = `SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
	WHERE i.indisvalid AND c.relname ~ '_(due|scheduled|dead|dead_key)_idx$'`

// buildWaits says whether a build waits for an older transaction.
const buildWaits = `SELECT EXISTS (SELECT FROM pg_stat_progress_create_index JOIN pg_locks USING (pid)
	WHERE locktype = 'virtualxid' AND NOT granted AND datid = (SELECT oid FROM pg_database WHERE datname = current_database()))`

// await waits until a condition in SQL holds.
func await(t *testing.T, conn *pgx.Conn, what, sql string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !value[bool](t, conn, sql); {
		if time.Now().After(deadline) {
			t.Fatalf("never seen: %s", what)
		}
	}
}

// told keeps what a migration tells.
type told struct {
	mu   sync.Mutex
	said []string
}

func (l *told) options() schema.Options {
	o := outbox
	o.Tell = func(message string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.said = append(l.said, message)
	}
	return o
}

func (l *told) contains(part string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.said, func(s string) bool { return strings.Contains(s, part) })
}

// begin opens a transaction that every build has to wait for.
func begin(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn := pgtest.Connect(t, url)
	script(t, conn, "SET application_name = 'nightly report'; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1")
	return conn
}

func TestIndexesOfALargeTableAreBuiltBesideItsWriters(t *testing.T) {
	url := pgtest.Database(t)
	writer, report := pgtest.Connect(t, url), pgtest.Connect(t, url)
	script(t, writer, crowded)
	script(t, report, "BEGIN; INSERT INTO outbox (topic, payload) VALUES ('open', '1')")
	var said told
	done := make(chan error, 1)
	conn := pgtest.Connect(t, url)
	run(t, conn, "SET lock_timeout = '77ms'")
	go func() { done <- schema.Migrate(t.Context(), conn, said.options()) }()
	// The transaction part needs the report to end; the builds then wait for the next one.
	await(t, writer, "the migration waits", "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'outbox'::regclass)")
	next := begin(t, url)
	run(t, report, "COMMIT")
	await(t, writer, "a build waits for an open transaction", buildWaits)
	run(t, writer, "SET lock_timeout = '30s'")
	run(t, writer, "INSERT INTO outbox (topic, payload) VALUES ('meanwhile', '1')")
	run(t, writer, "UPDATE outbox SET sent_at = now() WHERE id = 1")
	if n := value[int](t, writer, validIndexes); n != 0 {
		t.Errorf("%d indexes are valid while the first is built", n)
	}
	run(t, next, "COMMIT")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := value[int](t, writer, validIndexes); n != 4 {
		t.Errorf("%d indexes are valid, want 4", n)
	}
	if !said.contains("building index outbox_due_idx of public.outbox") {
		t.Errorf("told %q", said.said)
	}
	if got := value[string](t, conn, "SHOW lock_timeout"); got != "77ms" {
		t.Errorf("the session came back with lock_timeout %s", got)
	}
	changesNothingMore(t, conn, writer)
}

// changesNothingMore migrates once more; other looks at the catalogs.
func changesNothingMore(t *testing.T, conn, other *pgx.Conn) {
	t.Helper()
	before := values(t, other, versions)
	migrate(t, conn, outbox)
	if !slices.Equal(before, values(t, other, versions)) {
		t.Error("migrating once more changed the catalogs")
	}
}

// The rows are not looked at under the lock, and the table is not written anew.
func TestColumnsOfALargeTableAreAddedWithoutAScan(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	script(t, conn, crowded)
	node := value[uint32](t, conn, "SELECT relfilenode FROM pg_class WHERE oid = 'outbox'::regclass")
	migrate(t, conn, outbox)
	if value[uint32](t, conn, "SELECT relfilenode FROM pg_class WHERE oid = 'outbox'::regclass") != node {
		t.Error("the table was written anew")
	}
	if value[bool](t, conn, "SELECT convalidated FROM pg_constraint WHERE conname = 'outbox_attempts_check'") {
		t.Error("the constraint was compared with each row")
	}
	if _, err := conn.Exec(t.Context(), "INSERT INTO outbox (topic, payload, attempts) VALUES ('t', '1', -1)"); err == nil {
		t.Error("a row with attempts = -1 was inserted")
	}
}

func TestInterruptedBuildIsBegunAnew(t *testing.T) {
	url := pgtest.Database(t)
	admin := pgtest.Connect(t, url)
	script(t, admin, crowded)
	older := begin(t, url)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	conn := pgtest.Connect(t, url)
	done := make(chan error, 1)
	go func() { done <- schema.Migrate(ctx, conn, outbox) }()
	await(t, admin, "a build waits", buildWaits)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "migrate again") {
		t.Errorf("%v", err)
	}
	if n := value[int](t, admin, "SELECT count(*) FROM pg_stat_progress_create_index"); n != 0 {
		t.Error("the server goes on building")
	}
	if n := value[int](t, admin, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"); n != 1 {
		t.Fatalf("%d indexes are not valid, want the one that was begun", n)
	}
	run(t, older, "COMMIT")
	// The session is as good as before.
	ctx, cancel = context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := schema.Migrate(ctx, conn, outbox); err != nil {
		t.Fatal(err)
	}
	if n := value[int](t, admin, validIndexes); n != 4 {
		t.Errorf("%d indexes are valid, want 4", n)
	}
	if n := value[int](t, admin, "SELECT count(*) FROM pg_index WHERE NOT indisvalid"); n != 0 {
		t.Errorf("%d indexes are not valid", n)
	}
}

// Neither builds what the other one does, and none is ended as a deadlock's victim.
func TestConcurrentMigrationsOfALargeTable(t *testing.T) {
	url := pgtest.Database(t)
	admin := pgtest.Connect(t, url)
	script(t, admin, crowded)
	older := begin(t, url)
	group, ctx := errgroup.WithContext(t.Context())
	var said told
	for range 3 {
		conn := pgtest.Connect(t, url)
		group.Go(func() error { return schema.Migrate(ctx, conn, said.options()) })
	}
	await(t, admin, "a build waits", buildWaits)
	for deadline := time.Now().Add(time.Minute); !said.contains("another "); {
		if time.Now().After(deadline) {
			t.Fatal("the others do not say what they wait for")
		}
	}
	run(t, older, "COMMIT")
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if n := value[int](t, admin, validIndexes); n != 4 {
		t.Errorf("%d indexes are valid, want 4", n)
	}
	if said.contains("was not built") {
		t.Errorf("told %q", said.said)
	}
}

// Who has the turn may be between two indexes, or waits for a lock of the first.
func TestBuildsOfATableTakeTurns(t *testing.T) {
	url := pgtest.Database(t)
	admin := pgtest.Connect(t, url)
	script(t, admin, crowded)
	run(t, admin, "SELECT pg_advisory_lock(hashtextextended('outbox-relay indexes of ' || $1, 0))", outbox.Table.Quoted())
	var said told
	done := make(chan error, 1)
	conn := pgtest.Connect(t, url)
	go func() { done <- schema.Migrate(t.Context(), conn, said.options()) }()
	for deadline := time.Now().Add(time.Minute); !said.contains("another migration builds the indexes"); {
		if time.Now().After(deadline) {
			t.Fatal("it does not say what it waits for")
		}
	}
	if n := value[int](t, admin, "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = indexrelid WHERE relname ~ '_idx$' AND indrelid = 'outbox'::regclass"); n != 0 {
		t.Errorf("%d indexes are there out of turn", n)
	}
	run(t, admin, "SELECT pg_advisory_unlock_all()")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A person's own build, under the name that the migration uses, is not dropped.
func TestBuildOfAnotherSessionIsAwaited(t *testing.T) {
	url := pgtest.Database(t)
	admin := pgtest.Connect(t, url)
	script(t, admin, crowded)
	run(t, admin, "ALTER TABLE outbox ADD available_at timestamptz, ADD attempts integer NOT NULL DEFAULT 0, ADD dead_at timestamptz")
	older := begin(t, url)
	own := pgtest.Connect(t, url)
	built := make(chan error, 1)
	go func() {
		_, err := own.Exec(t.Context(), "CREATE INDEX CONCURRENTLY outbox_due_idx ON outbox (id) WHERE "+due)
		built <- err
	}()
	await(t, admin, "the build waits", buildWaits)
	oid := value[uint32](t, admin, "SELECT 'outbox_due_idx'::regclass::oid")
	var said told
	done := make(chan error, 1)
	conn := pgtest.Connect(t, url)
	go func() { done <- schema.Migrate(t.Context(), conn, said.options()) }()
	// The columns need a lock that the build has: the migration is not through before it.
	await(t, admin, "the migration waits", "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'outbox'::regclass)")
	run(t, older, "COMMIT")
	if err := errors.Join(<-built, <-done); err != nil {
		t.Fatal(err)
	}
	if value[uint32](t, admin, "SELECT 'outbox_due_idx'::regclass::oid") != oid {
		t.Error("the index of the other session was dropped")
	}
	if n := value[int](t, admin, validIndexes); n != 4 {
		t.Errorf("%d indexes are valid, want 4", n)
	}
}

func TestIndexesOfALargePartitionedTable(t *testing.T) {
	url := pgtest.Database(t)
	admin := pgtest.Connect(t, url)
	script(t, admin, `CREATE SCHEMA old; CREATE TABLE outbox (id bigint GENERATED BY DEFAULT AS IDENTITY, message_id uuid NOT NULL DEFAULT gen_random_uuid(),
		topic text NOT NULL, payload json NOT NULL, created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (id, created_at)) PARTITION BY RANGE (created_at);
		CREATE TABLE old."p ""1""" PARTITION OF outbox FOR VALUES FROM (MINVALUE) TO ('2025-01-01');
		CREATE TABLE p2 PARTITION OF outbox FOR VALUES FROM ('2025-01-01') TO ('2026-01-01') PARTITION BY HASH (id);
		CREATE TABLE p20 PARTITION OF p2 FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE p21 PARTITION OF p2 FOR VALUES WITH (MODULUS 2, REMAINDER 1);
		CREATE TABLE rest PARTITION OF outbox DEFAULT;
		INSERT INTO outbox (topic, payload, created_at) SELECT 't', to_json(repeat('x', 200)), '2024-05-05'::timestamptz + n % 3 * interval '1 year'
			FROM generate_series(1, 40000) n`)
	older := begin(t, url)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	conn := pgtest.Connect(t, url)
	go func() { done <- schema.Migrate(ctx, conn, outbox) }()
	await(t, admin, "a partition's build waits", buildWaits)
	run(t, admin, "INSERT INTO outbox (topic, payload) VALUES ('meanwhile', '1')")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	run(t, older, "COMMIT")
	// One made meanwhile gets its part by itself.
	run(t, admin, "CREATE TABLE p3 PARTITION OF outbox FOR VALUES FROM ('2030-01-01') TO ('2031-01-01')")
	migrate(t, conn, outbox)
	// The table's, of p2 and of five leaves.
	if n := value[int](t, admin, `SELECT count(*) FROM pg_index i, pg_partition_tree('outbox') WHERE indrelid = relid AND indisvalid AND indpred IS NOT NULL`); n != 4*7 {
		t.Errorf("%d indexes are valid, want %d", n, 4*7)
	}
	if n := value[int](t, admin, `SELECT count(*) FROM pg_index WHERE NOT indisvalid`); n != 0 {
		t.Errorf("%d indexes are not valid", n)
	}
	changesNothingMore(t, conn, admin)
}

// What is printed for a migration tool makes the same of a large table, in two parts.
func TestPrintedIndexesAreThoseOfTheMigration(t *testing.T) {
	psql, err := pgserver.Psql()
	if err != nil {
		t.Fatal(err)
	}
	url, other := pgtest.Database(t), pgtest.Connect(t, pgtest.Database(t))
	printed := pgtest.Connect(t, url)
	script(t, printed, crowded)
	script(t, other, crowded)
	migrate(t, other, outbox)
	for range 2 {
		for _, text := range []string{schema.SQL(outbox), schema.IndexSQL(outbox.Table)} {
			cmd := exec.CommandContext(t.Context(), psql, "-X", "-v", "ON_ERROR_STOP=1", "-d", url)
			cmd.Stdin = strings.NewReader(text)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("psql: %v\n%s", err, out)
			}
		}
	}
	if got, want := values(t, printed, definitions, "outbox"), values(t, other, definitions, "outbox"); !slices.Equal(got, want) {
		t.Errorf("psql made\n%s\nMigrate made\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Autovacuum gives up a table that somebody waits for, but only after deadlock_timeout.
func TestMigrateDoesNotWaitForAutovacuum(t *testing.T) {
	server := pgtest.Own(t, map[string]string{"autovacuum_naptime": "1s", "autovacuum_vacuum_cost_delay": "100ms", "autovacuum_vacuum_cost_limit": "1"})
	conn := pgtest.Connect(t, server.URL("postgres"))
	script(t, conn, strings.Replace(crowded, "autovacuum_enabled = off", "autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0", 1))
	run(t, conn, "UPDATE outbox SET key = 'k' WHERE id % 2 = 0")
	// It takes as long as the table has pages, in tenths of a second.
	await(t, conn, "autovacuum has begun", "SELECT EXISTS (SELECT FROM pg_stat_progress_vacuum WHERE relid = 'outbox'::regclass)")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := schema.Migrate(ctx, conn, outbox); err != nil {
		t.Error(err)
	}
}
