package main

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Each fault of table and role: what spoils, what the doctor says, and the fix
// that it prints is run.
func TestDoctorFixesTheTable(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		spoil    []string
		check    string
		severity relay.Severity
		says     []string
		env      string // a variable that is set beside it
	}{
		{"table missing", []string{"DROP TABLE outbox"}, "table", relay.Fault, []string{"public.outbox does not exist"}, ""},
		{
			"column missing",
			[]string{"ALTER TABLE outbox DROP COLUMN last_error"},
			"columns", relay.Fault,
			[]string{"column last_error is missing"},
			"",
		},
		{
			"column of another type",
			[]string{"ALTER TABLE outbox ALTER COLUMN last_error TYPE varchar(9)"},
			"columns", relay.Fault,
			[]string{"last_error is character varying, expected text"},
			"",
		},
		{
			"column of another type that the guard names",
			[]string{"DROP TRIGGER outbox_guard ON outbox", "ALTER TABLE outbox ALTER COLUMN created_at TYPE timestamp"},
			"columns", relay.Fault,
			[]string{"created_at is timestamp without time zone"},
			"",
		},
		{
			"guarded column of another type below the guard",
			[]string{
				"DROP TRIGGER outbox_guard ON outbox", "ALTER TABLE outbox ALTER COLUMN content_type TYPE name",
				"CREATE TRIGGER outbox_guard BEFORE DELETE OR UPDATE OF content_type ON outbox FOR EACH ROW EXECUTE FUNCTION outbox_guard()",
			},
			"columns", relay.Fault,
			[]string{"content_type is name, expected text"},
			"",
		},
		{
			"column that may be empty",
			[]string{"ALTER TABLE outbox ALTER COLUMN attempts DROP NOT NULL"},
			"columns", relay.Fault,
			[]string{"attempts must be NOT NULL"},
			"",
		},
		{
			"privileges",
			[]string{"REVOKE ALL ON outbox FROM {role}", "REVOKE UPDATE (sent_at, attempts) ON outbox FROM {role}", "REVOKE USAGE ON SCHEMA public FROM PUBLIC"},
			"privileges", relay.Fault,
			[]string{"lacks privileges on table public.outbox"},
			"",
		},
		{
			"privilege to delete",
			[]string{"REVOKE DELETE ON outbox FROM {role}"},
			"privileges", relay.Fault,
			[]string{"lacks privileges on table public.outbox"},
			"OUTBOX_AFTER_SEND=delete",
		},
		{
			"row-level security",
			[]string{"ALTER TABLE outbox ENABLE ROW LEVEL SECURITY"},
			"row-level security", relay.Fault,
			[]string{"hides rows from role"},
			"",
		},
		{
			"index missing",
			[]string{"DROP INDEX outbox_due_idx", "DROP INDEX outbox_dead_idx"},
			"indexes", relay.Warning,
			[]string{`"outbox_due_idx" is missing, "outbox_dead_idx" is missing`},
			"",
		},
		{
			"index broken",
			[]string{"UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'outbox_scheduled_idx'::regclass"},
			"indexes", relay.Warning,
			[]string{`"outbox_scheduled_idx" is not valid`},
			"",
		},
		{
			"guard missing",
			[]string{"DROP TRIGGER outbox_guard ON outbox"},
			"guard", relay.Warning,
			[]string{`trigger "outbox_guard" is missing`},
			"",
		},
		{
			"guard against TRUNCATE missing",
			[]string{"DROP TRIGGER outbox_truncate_guard ON outbox"},
			"guard", relay.Warning,
			[]string{`trigger "outbox_truncate_guard" is missing`},
			"",
		},
		{
			"guard disabled",
			[]string{"ALTER TABLE outbox DISABLE TRIGGER outbox_guard"},
			"guard", relay.Warning,
			[]string{`trigger "outbox_guard" is disabled`},
			"",
		},
		{
			"ids in blocks",
			[]string{"ALTER TABLE outbox ALTER COLUMN id SET CACHE 20"},
			"sequence", relay.Warning,
			[]string{"cache of 20"},
			"",
		},
		{
			"a database that was renamed, or a copy",
			[]string{"UPDATE outbox_note SET database = 'shop', system_identifier = '4711'"},
			"origin", relay.Warning,
			[]string{`was noted elsewhere (database "shop", and this is `, "system 4711, and this is "},
			"",
		},
		{
			"an environment that is not noted",
			nil,
			"origin", relay.Warning,
			[]string{`OUTBOX_ENVIRONMENT is "production", and no environment is noted beside table public.outbox`},
			"OUTBOX_ENVIRONMENT=production",
		},
		{
			"no note",
			[]string{"DROP TABLE outbox_note"},
			"origin", relay.Warning,
			[]string{"nothing is noted of where table public.outbox belongs"},
			"",
		},
		{
			"message ids used twice",
			[]string{
				"INSERT INTO outbox (topic, payload, message_id) SELECT 'x', '1', ('00000000-0000-0000-0000-00000000000' || i % 2)::uuid FROM generate_series(1, 5) AS i",
				"INSERT INTO outbox (topic, payload, message_id, available_at) VALUES ('x', '1', '00000000-0000-0000-0000-000000000001', now() + interval '1 h')",
			},
			"message ids", relay.Warning,
			[]string{"00000000-0000-0000-0000-000000000000, 00000000-0000-0000-0000-000000000001"},
			"",
		},
		{
			"the empty key",
			[]string{
				"INSERT INTO outbox (topic, key, payload) VALUES ('x', '', '1'), ('x', NULL, '1'), ('x', 'k', '1')",
				"INSERT INTO outbox (topic, key, payload, available_at) VALUES ('x', '', '1', now() + interval '1 h')",
			},
			"keys", relay.Warning,
			[]string{"2 pending rows have the empty key ''"},
			"",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t)
			for _, s := range c.spoil {
				p.sql(roleIn(s, p.role))
			}
			if c.env != "" {
				p.follow("set " + c.env)
			}
			p.heals(c.check, c.severity, c.says...)
		})
	}
}

func TestDoctorWantsATable(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.sql("ALTER TABLE outbox RENAME TO events", "CREATE VIEW outbox AS SELECT * FROM events")
	c := p.suffers("table", relay.Fault, "public.outbox is not a table")
	if want := "set OUTBOX_TABLE to the outbox table's name"; len(c.Fix) != 1 || c.Fix[0] != want {
		t.Fatalf("fix %q, want %q", c.Fix, want)
	}
	p.env["OUTBOX_TABLE"] = "events"
	p.suffers("table", relay.Fine)
}

func TestDoctorKnowsThePublication(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil []string
		says  string
	}{
		{"missing", []string{"DROP PUBLICATION outbox_relay"}, "does not exist"},
		{"without the table", []string{"ALTER PUBLICATION outbox_relay DROP TABLE outbox"}, "lacks table public.outbox"},
		{"without INSERT", []string{"ALTER PUBLICATION outbox_relay SET (publish = 'update')"}, "does not publish INSERT"},
		{"with a filter", []string{"ALTER PUBLICATION outbox_relay SET TABLE outbox WHERE (topic <> 'x')"}, "row filter or a column list"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPatient(t)
			if c.name == "with a filter" && p.value("SELECT (current_setting('server_version_num')::int < 150000)::text") == "true" {
				t.Skip("came with PostgreSQL 15")
			}
			p.sql(c.spoil...)
			p.suffers("publication", relay.Warning, c.says) // it can poll
			p.env["OUTBOX_MODE"] = "replication"
			p.heals("publication", relay.Fault, c.says)
		})
	}
}

func TestDoctorNamesARoleThatMayNotReplicate(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.sql("ALTER ROLE " + p.role + " NOREPLICATION")
	p.suffers("replication role", relay.Warning)
	p.env["OUTBOX_MODE"] = "replication"
	p.heals("replication role", relay.Fault, `role "`+p.role+`" may not replicate`)
	p.suffers("replication session", relay.Fine)
	p.env["OUTBOX_MODE"] = "polling"
	p.suffers("log", relay.Fine, "not read")
}
