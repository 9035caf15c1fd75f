package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
)

// foreignSettings are what a role or a database may have set for all its
// sessions, and each would change what one of our statements or checks sees.
var foreignSettings = map[string]string{
	"quote_all_identifiers": "on", "exit_on_error": "on", "array_nulls": "off", "standard_conforming_strings": "off",
	"client_min_messages": "error", "search_path": "nowhere", "DateStyle": "'German'",
	"bytea_output": "escape", "client_encoding": "LATIN1",
}

func TestForeignSettingsDisturbNoCommand(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	database := p.value("SELECT quote_ident(current_database())")
	for setting, value := range foreignSettings {
		p.sql(fmt.Sprintf("ALTER DATABASE %s SET %s = %s", database, setting, value))
	}
	// Through the sessions that have the settings: from nothing, and once more.
	p.sqlPlain("DROP TABLE public.outbox; DROP FUNCTION public.outbox_guard")
	env := p.environ("OUTBOX_DATABASE_URL="+p.url, `OUTBOX_TABLE=public."Out\Box"`)
	got := do(t, env, "migrate", "--role", p.role)
	if got.status != 0 || !strings.Contains(got.stdout, `created table "public"."Out\Box"`) || got.stderr != "" {
		t.Fatalf("migrate: %+v", got)
	}
	if got := do(t, env, "migrate", "--role", p.role); got.status != 0 || got.stdout != "public.\"Out\\Box\" is up to date\n" {
		t.Errorf("migrate again: %+v", got)
	}
	p.env["OUTBOX_TABLE"], p.env["OUTBOX_MODE"] = `public."Out\Box"`, "replication"
	for _, c := range p.doctor().Checks {
		if c.Severity != "ok" && c.Name != "transactions" { // tests beside this one have some open
			t.Errorf("%+v", c)
		}
	}
	if got := do(t, p.environ(nowhere(t)), "status"); !strings.Contains(got.stdout, "  oldest pending") {
		t.Errorf("status: %+v", got)
	}
}

// sqlPlain runs a script as the superuser whatever the database has set.
func (p *patient) sqlPlain(script string) {
	p.t.Helper()
	config, err := pgconn.ParseConfig(p.url)
	if err != nil {
		p.t.Fatal(err)
	}
	config.RuntimeParams["client_encoding"] = "UTF8"
	conn, err := pgconn.ConnectConfig(p.t.Context(), config)
	if err != nil {
		p.t.Fatal(err)
	}
	defer conn.Close(p.t.Context())
	if err := conn.Exec(p.t.Context(), script).Close(); err != nil {
		p.t.Fatal(err)
	}
}

func TestLibpqParametersDisturbNoCommand(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	const parameters = "gssencmode=prefer&requiressl=0&client_encoding=auto&keepalives=1&tcp_user_timeout=1000&" +
		"fallback_application_name=x&load_balance_hosts=random&ssl_min_protocol_version=TLSv1.2&gssdelegation=0&sslcompression=0"
	with := func(url string) string {
		if strings.Contains(url, "?") {
			return url + "&" + parameters
		}
		return url + "?" + parameters
	}
	if got := do(t, p.environ("OUTBOX_DATABASE_URL="+with(p.url)), "migrate"); got.status != 0 {
		t.Errorf("migrate: %+v", got)
	}
	p.env["OUTBOX_DATABASE_URL"] = with(p.env["OUTBOX_DATABASE_URL"])
	for _, check := range []string{"connection", "replication session"} {
		if c := p.find(p.doctor(), check); c.Severity != "ok" {
			t.Errorf("%+v", c)
		}
	}
	got := do(t, p.environ("OUTBOX_DATABASE_URL="+p.url+"&gssencmode=require"), "doctor")
	if got.status != 2 || !strings.Contains(got.stderr, "its parameter gssencmode is not supported: use sslmode=verify-full") {
		t.Errorf("gssencmode=require: %+v", got)
	}
}

func TestTableOfAnotherCaseIsNamedWithItsQuotes(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.sql("DROP TABLE outbox")
	p.env["OUTBOX_TABLE"] = `"Outbox"`
	p.run("outbox-relay migrate --role " + p.role)
	p.env["OUTBOX_TABLE"] = "Outbox"
	c := p.suffers("table", relay.Fault, `table public.outbox does not exist, but public."Outbox" does`)
	if want := `set OUTBOX_TABLE='public."Outbox"'  # the inner quotes are part of the name`; len(c.Fix) != 1 || c.Fix[0] != want {
		t.Errorf("fix %q, want %q", c.Fix, want)
	}
	// migrate makes the other one, since it may be meant, and says so.
	got := do(t, p.environ("OUTBOX_DATABASE_URL="+p.url), "migrate")
	if want := `there is also a table public."Outbox"`; got.status != 0 || !strings.Contains(got.stderr, want) ||
		!strings.Contains(got.stderr, `set OUTBOX_TABLE with the quotes: 'public."Outbox"'`) {
		t.Errorf("migrate: %+v, want %q", got, want)
	}
	p.sql("DROP TABLE outbox")
	p.recovers(c)
}

func TestMigrateOnAReadOnlySessionSaysWhatToDo(t *testing.T) {
	t.Parallel()
	url := pgtest.Database(t)
	conn := pgtest.Connect(t, url)
	var database string
	if err := conn.QueryRow(t.Context(), "SELECT quote_ident(current_database())").Scan(&database); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(t.Context(), "ALTER DATABASE "+database+" SET default_transaction_read_only = on"); err != nil {
		t.Fatal(err)
	}
	got := do(t, []string{"OUTBOX_DATABASE_URL=" + url}, "migrate")
	if got.status != 1 || !strings.Contains(got.stderr, "the session is read-only") ||
		!strings.Contains(got.stderr, "the parameter default_transaction_read_only=off: ") {
		t.Fatalf("%+v", got)
	}
	got = do(t, []string{"OUTBOX_DATABASE_URL=" + url + "&default_transaction_read_only=off"}, "migrate")
	if got.status != 0 {
		t.Errorf("with what it says to do: %+v", got)
	}
}

func TestMigrateNamesTheOwnerOfAnOutdatedGuard(t *testing.T) {
	t.Parallel()
	p := newPatient(t)
	p.sql(`CREATE OR REPLACE FUNCTION outbox_guard() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE NOTICE ''outbox-relay: old''; RETURN NEW; END'`,
		"GRANT CREATE ON SCHEMA public TO "+p.role, "ALTER TABLE outbox OWNER TO "+p.role, "GRANT SELECT, UPDATE ON outbox TO "+p.role)
	own := []string{"OUTBOX_DATABASE_URL=" + p.env["OUTBOX_DATABASE_URL"]}
	got := do(t, own, "migrate")
	const want = "is out of date and belongs to "
	_, fix, found := strings.Cut(strings.TrimSpace(got.stderr), " run: ")
	if got.status != 1 || !strings.Contains(got.stderr, want) || !found {
		t.Fatalf("%+v, want %q", got, want)
	}
	p.sql(fix)
	if got := do(t, own, "migrate"); !strings.Contains(got.stdout, "wrote function") {
		t.Errorf("after %s: %+v", fix, got)
	}
}
