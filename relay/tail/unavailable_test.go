package tail_test

import (
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay/tail"
)

// refused opens a stream in vain.
func (f *fixture) refused(want tail.Reason, words ...string) {
	f.t.Helper()
	s, err := tail.Open(f.t.Context(), f.options)
	if err == nil {
		s.Close()
	}
	_ = unavailable(f.t, err, want)
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			f.t.Errorf("%q does not contain %q", err, w)
		}
	}
	f.gone()
}

func TestPublicationThatDoesNotSendEverythingIsNamed(t *testing.T) {
	f := setup(t)
	version := f.value("SELECT current_setting('server_version_num')::int / 10000")
	for _, c := range []struct {
		name, sql, says string
	}{
		{"missing", "DROP PUBLICATION outbox_relay", `publication "outbox_relay" does not exist: run outbox-relay migrate`},
		{
			"without the table", "CREATE PUBLICATION outbox_relay WITH (publish = 'insert')",
			`publication "outbox_relay" lacks table public.outbox: run outbox-relay migrate, or ALTER PUBLICATION "outbox_relay" ADD TABLE "public"."outbox"`,
		},
		{
			"without INSERT", "ALTER PUBLICATION outbox_relay SET TABLE outbox; ALTER PUBLICATION outbox_relay SET (publish = 'update')",
			`publication "outbox_relay" does not publish INSERT: run ALTER PUBLICATION "outbox_relay" SET (publish = 'insert')`,
		},
		{
			"with a row filter", "ALTER PUBLICATION outbox_relay SET (publish = 'insert'); ALTER PUBLICATION outbox_relay SET TABLE outbox WHERE (topic <> 'x')",
			`has a row filter or a column list for table public.outbox`,
		},
		{
			"with a column list", "ALTER PUBLICATION outbox_relay SET TABLE outbox (id, message_id, topic, payload)",
			`has a row filter or a column list for table public.outbox`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if version == "14" && strings.HasPrefix(c.name, "with a ") {
				t.Skip("came with PostgreSQL 15")
			}
			f.exec(c.sql)
			f.refused(tail.ReasonPublication, c.says)
			// Sessions of other kinds may ask too.
			_ = unavailable(t, tail.CheckPublication(t.Context(), f.admin.PgConn(), "outbox_relay", f.table), tail.ReasonPublication)
		})
	}
	for _, sql := range []string{
		"DROP PUBLICATION outbox_relay; CREATE PUBLICATION outbox_relay FOR ALL TABLES",
		"DROP PUBLICATION outbox_relay; CREATE PUBLICATION outbox_relay FOR TABLE outbox",
	} {
		f.exec(sql)
		s := f.stream()
		f.exec(insert, "a")
		rowsAmongOthers(t, s, 1)
		s.Close()
	}
}

func TestPartitionsSentUnderTheirOwnNamesAreRefused(t *testing.T) {
	f := setup(t)
	f.exec(`DROP TABLE {t}; CREATE TABLE outbox (id bigint, topic text) PARTITION BY RANGE (id); CREATE TABLE outbox_all PARTITION OF outbox DEFAULT;
		DROP PUBLICATION outbox_relay; CREATE PUBLICATION outbox_relay FOR TABLE outbox WITH (publish = 'insert')`)
	f.refused(tail.ReasonPublication, `run ALTER PUBLICATION "outbox_relay" SET (publish_via_partition_root = true)`)
}

func TestPublicationDroppedWhileItIsReadEndsTheStream(t *testing.T) {
	f := setup(t)
	s := f.stream()
	f.exec(insert, "a")
	rows(t, s, 1)
	f.exec("DROP PUBLICATION outbox_relay")
	f.exec(insert, "b")
	_ = unavailable(t, failure(t, s, patience), tail.ReasonPublication)
	s.Close()
	f.gone()
}

func TestRoleThatMayNotReplicateIsNamed(t *testing.T) {
	f := setup(t)
	role := f.options.Config.User
	f.exec("ALTER ROLE " + role + " NOREPLICATION")
	f.refused(tail.ReasonRole, `run ALTER ROLE "`+role+`" REPLICATION`)
}

func TestServerWithoutLogicalDecodingIsNamed(t *testing.T) {
	t.Parallel()
	f := setupAlone(t, map[string]string{"wal_level": "replica"})
	f.refused(tail.ReasonWALLevel, `wal_level is "replica", needs "logical"`)
}

func TestServerWithoutRoomIsNamed(t *testing.T) {
	t.Parallel()
	f := setupAlone(t, map[string]string{"max_replication_slots": "1", "max_wal_senders": "2"})
	f.exec("SELECT pg_create_physical_replication_slot('somebodys')")
	f.refused(tail.ReasonSlots, "no free replication slot: raise max_replication_slots")
	f.exec("SELECT pg_drop_replication_slot('somebodys')")
	f.open()
	other := f.options
	other.Config = f.config(f.options.Config.User)
	other.Config.RuntimeParams["replication"] = "database"
	pgtest.Connect(t, f.url+"&replication=database")
	if _, err := tail.Open(t.Context(), other); err == nil {
		t.Fatal("a third session of two")
	} else {
		_ = unavailable(t, err, tail.ReasonSenders)
	}
}

func TestStandbyIsNamed(t *testing.T) {
	t.Parallel()
	f := setupAlone(t, nil)
	// A standby without a primary is one all the same.
	f.serverFile("standby.signal", nil)
	if err := f.server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.admin = f.other()
	f.refused(tail.ReasonStandby, "the server is a standby")
}
