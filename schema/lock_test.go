package schema_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/schema"
)

func TestConcurrentMigrationsBothSucceed(t *testing.T) {
	url := pgtest.Database(t)
	group, ctx := errgroup.WithContext(t.Context())
	for range 4 {
		conn := pgtest.Connect(t, url)
		group.Go(func() error { return schema.Migrate(ctx, conn, outbox) })
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	want := values(t, migrated(t, outbox), definitions, "outbox")
	if got := values(t, pgtest.Connect(t, url), definitions, "outbox"); !slices.Equal(got, want) {
		t.Errorf("four migrations made\n%s\none makes\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestMigrateOnACurrentTableTakesNoLockOnIt(t *testing.T) {
	url := pgtest.Database(t)
	conn := pgtest.Connect(t, url)
	migrate(t, conn, outbox)
	other := pgtest.Connect(t, url)
	script(t, other, "BEGIN; LOCK TABLE outbox IN EXCLUSIVE MODE") // conflicts with all but reading
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := schema.Migrate(ctx, conn, outbox); err != nil {
		t.Error(err)
	}
}

func TestMigrateWaitingForALockDoesNotStopInserts(t *testing.T) {
	url := pgtest.Database(t)
	holder, writer := pgtest.Connect(t, url), pgtest.Connect(t, url)
	script(t, holder, older)
	script(t, holder, "BEGIN; INSERT INTO outbox (topic, payload) VALUES ('open', '1')")

	done := make(chan error, 1)
	conn := pgtest.Connect(t, url)
	go func() { done <- schema.Migrate(t.Context(), conn, outbox) }()

	// Until the migration has waited, given up and waited again, every insert of
	// the application gets through, if after a moment.
	insertWhileWaitedFor(t, writer, 2)
	script(t, holder, "COMMIT")
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := value[int](t, writer, "SELECT count(*) FROM outbox WHERE attempts = 0"); n != 6 {
		t.Errorf("the upgraded table has %d rows, want 6", n)
	}
}

func TestMigrateThatNeverGetsTheLockNamesTheHolder(t *testing.T) {
	url := pgtest.Database(t)
	holder := pgtest.Connect(t, url)
	script(t, holder, "SET application_name = 'nightly report'; "+older)
	script(t, holder, "BEGIN; LOCK TABLE outbox IN SHARE MODE")
	conn := pgtest.Connect(t, url)
	before := values(t, conn, versions)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	other := pgtest.Connect(t, url)
	go func() { // it has waited and given up twice
		defer cancel()
		for waits, waiting := 0, false; waits < 2 && ctx.Err() == nil; {
			var now bool
			if err := other.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'outbox'::regclass)").Scan(&now); err != nil {
				return
			}
			if waiting && !now {
				waits++
			}
			waiting = now
		}
	}()
	err := schema.Migrate(ctx, conn, outbox)
	if err == nil {
		t.Fatal("the table was changed under a lock")
	}
	if !strings.Contains(err.Error(), "nightly report") {
		t.Errorf("%v, want the holder's application_name", err)
	}
	if after := values(t, pgtest.Connect(t, url), versions); !slices.Equal(before, after) {
		t.Error("a migration that failed changed the catalogs")
	}
}

// insertWhileWaitedFor inserts a row each time that somebody begins to wait for a lock on the
// table, so many times. Each has to get through.
func insertWhileWaitedFor(t *testing.T, writer *pgx.Conn, times int) {
	t.Helper()
	run(t, writer, "SET lock_timeout = '30s'")
	waits, waiting := 0, false
	for deadline := time.Now().Add(time.Minute); waits < times; {
		if time.Now().After(deadline) {
			t.Fatalf("a lock was waited for %d times, want %d", waits, times)
		}
		now := value[bool](t, writer, "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'outbox'::regclass)")
		if now && !waiting {
			waits++
			run(t, writer, "INSERT INTO outbox (topic, payload) VALUES ('meanwhile', '1')")
		}
		waiting = now
	}
}
