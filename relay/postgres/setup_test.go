package postgres_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
	"github.com/outbox-relay/outbox-relay/schema"
)

// fault connects and returns the fault of the setup.
func (f *fixture) fault() string {
	f.t.Helper()
	c, err := f.database().Connect(f.t.Context())
	if err == nil {
		c.Close()
		return ""
	}
	if !errors.Is(err, relay.ErrSetup) {
		f.t.Errorf("%v is not ErrSetup", err)
	}
	if strings.Contains(err.Error(), "s3cret") {
		f.t.Errorf("%v contains the password", err)
	}
	return err.Error()
}

func (f *fixture) wantFault(parts ...string) string {
	f.t.Helper()
	got := f.fault()
	for _, p := range parts {
		if !strings.Contains(got, p) {
			f.t.Errorf("the fault %q does not say %q", got, p)
		}
	}
	return got
}

func TestMissingTableIsNamed(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`DROP TABLE {t}`)
	f.wantFault("table public.outbox does not exist", "run outbox-relay migrate")
	f.exec(`CREATE VIEW {t} AS SELECT 1 AS id`)
	f.wantFault("public.outbox is not a table", "OUTBOX_TABLE")
}

func TestEveryWrongColumnIsNamed(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`DROP TABLE {t}`)
	f.exec(`CREATE TABLE {t} (id integer NOT NULL, message_id text, topic text, key text, payload xml NOT NULL, headers json, attempts int)`)
	f.wantFault("table public.outbox has another shape",
		"column id is integer, expected bigint", "column message_id is text, expected uuid",
		"column payload is xml, expected json or jsonb or text or character varying or bytea", "column headers is json, expected jsonb",
		"column attempts must be NOT NULL", "column content_type is missing", "column sent_at is missing", "column dead_at is missing",
		"column last_error is missing", "column first_attempt_at is missing", "run outbox-relay migrate")
}

func TestDomainsAndVarcharAreAccepted(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`DROP TRIGGER outbox_guard ON {t}`)
	f.exec(`CREATE DOMAIN topic_name AS text CHECK (VALUE <> '')`)
	f.exec(`CREATE DOMAIN document AS json`)
	f.exec(`CREATE DOMAIN body AS document`)
	f.exec(`ALTER TABLE {t} ALTER topic TYPE topic_name, ALTER key TYPE varchar(100), ALTER payload TYPE body`)
	f.exec(`INSERT INTO {t} (topic, key, payload) VALUES ('t', 'k', '[1, 2]')`)
	_, s := f.lead()
	if rows := f.readPass(s); len(rows) != 1 || string(rows[0].Payload) != "[1, 2]" || rows[0].Key != "k" {
		t.Errorf("%+v", rows)
	}
}

var grantInText = regexp.MustCompile(`run (GRANT .*;)$`)

// The fix that is printed is run, and then all is well.
func TestMissingPrivilegesNameTheGrant(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{table: `"My Shop"."Out Box"`, after: postgres.Delete})
	for _, c := range []struct{ revoke, want string }{
		{`REVOKE SELECT ON {t} FROM `, "GRANT SELECT ON"},
		{`REVOKE UPDATE (dead_at), UPDATE (first_attempt_at) ON {t} FROM `, "GRANT UPDATE (first_attempt_at, dead_at) ON"},
		{`REVOKE DELETE ON {t} FROM `, "GRANT DELETE ON"},
		{`REVOKE ALL ON "My Shop"."Out Box_note" FROM `, `GRANT SELECT ON "My Shop"."Out Box_note" TO`},
		{`REVOKE USAGE ON SCHEMA "My Shop" FROM `, `GRANT USAGE ON SCHEMA "My Shop" TO`},
		{`REVOKE ALL ON {t} FROM `, "GRANT SELECT, UPDATE (available_at, sent_at, attempts, first_attempt_at, last_error, error_type, dead_at, dead_letter_at), DELETE ON"},
	} {
		f.exec(c.revoke + f.role())
		fault := f.wantFault("lacks privileges", c.want)
		fix := grantInText.FindStringSubmatch(fault)
		if fix == nil {
			t.Fatalf("no statement to run in %q", fault)
		}
		f.exec(fix[1])
		if rest := f.fault(); rest != "" {
			t.Errorf("after %s: %s", fix[1], rest)
		}
	}
}

// The order of a pass rests on which transaction wrote a row, which is no column
// that can be granted beside others.
func TestSelectOnTheColumnsAloneIsNotEnough(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec(`REVOKE SELECT ON {t} FROM ` + f.role())
	f.exec(`GRANT SELECT (id, message_id, topic, key, payload, content_type, headers, created_at, available_at, sent_at, attempts,
		first_attempt_at, last_error, dead_at) ON {t} TO ` + f.role())
	f.wantFault("lacks privileges", "GRANT SELECT ON")
}

var alterInText = regexp.MustCompile(`run: (ALTER ROLE .*)$`)

func TestRowLevelSecurityThatHidesRowsIsAnError(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.insert(1)
	c, s := f.lead()
	f.exec(`ALTER TABLE {t} ENABLE ROW LEVEL SECURITY`)
	fault := f.wantFault("row-level security of table public.outbox hides rows")
	if _, err := s.Chunk(t.Context(), request(relay.Pass{Bound: 10})); !errors.Is(err, relay.ErrSetup) {
		t.Error("a running session sees:", err)
	}
	fix := alterInText.FindStringSubmatch(fault)
	if fix == nil {
		t.Fatalf("no statement to run in %q", fault)
	}
	f.exec(fix[1])
	if err := c.Resign(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, s = f.lead()
	if rows := f.readPass(s); len(rows) != 1 {
		t.Errorf("after %s: %d rows", fix[1], len(rows))
	}
}

func TestStandbyServerIsRefused(t *testing.T) {
	t.Parallel()
	server := pgtest.Own(t, nil)
	admin := pgtest.Connect(t, server.URL("postgres"))
	table, err := schema.ParseTable("outbox")
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Migrate(t.Context(), admin, schema.Options{Table: table, Publication: "p"}); err != nil {
		t.Fatal(err)
	}
	var dir string
	if err := admin.QueryRow(t.Context(), "SHOW data_directory").Scan(&dir); err != nil {
		t.Fatal(err)
	}
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	signal := filepath.Join(dir, "standby.signal")
	if err := os.WriteFile(signal, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := server.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, options: postgres.Options{URL: server.URL("postgres"), Table: table}}
	f.wantFault("the server is a standby", "target_session_attrs=read-write")
	// That attribute looks for another host instead.
	f.options.URL += separator(f.options.URL) + "target_session_attrs=read-write"
	if _, err := f.database().Connect(t.Context()); err == nil || errors.Is(err, relay.ErrSetup) {
		t.Error("with target_session_attrs:", err)
	}
}

func separator(url string) string {
	if strings.Contains(url, "?") {
		return "&"
	}
	return "?"
}

// Whatever a role, a database or the URL has set, the sessions work as designed.
func TestSettingsArePinned(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.insert(3)
	// A mark takes longer than the timeouts below, on a fast machine too.
	f.exec(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM pg_sleep(0.02); RETURN NEW; END$$`)
	f.exec(`CREATE TRIGGER slow BEFORE UPDATE ON {t} FOR EACH ROW EXECUTE FUNCTION slow()`)
	database := f.value(`SELECT current_database()`).(string)
	for setting, value := range map[string]string{
		"statement_timeout": "'1ms'", "idle_in_transaction_session_timeout": "'1ms'", "lock_timeout": "'1ms'",
		"bytea_output": "escape", "DateStyle": "'German'", "TimeZone": "'Asia/Kathmandu'", "row_security": "on",
		"default_transaction_isolation": "serializable", "default_transaction_read_only": "on", "default_transaction_deferrable": "on",
		"search_path": "nowhere", "standard_conforming_strings": "off", "client_encoding": "LATIN1", "synchronous_commit": "remote_apply",
		"application_name": "mine", "idle_session_timeout": "'100s'", "enable_indexscan": "off", "jit": "on", "plan_cache_mode": "force_generic_plan",
		"quote_all_identifiers": "on", "exit_on_error": "on", "array_nulls": "off",
	} {
		f.exec(fmt.Sprintf("ALTER ROLE %s SET %s = %s", f.role(), setting, value))
		f.exec(fmt.Sprintf("ALTER DATABASE %s SET %s = %s", database, setting, value))
	}
	f.options.URL += separator(f.url) + "statement_timeout=1&application_name=theirs&keepalives_idle=3&target_session_attrs=read-write"
	c, s := f.lead()
	rows := f.readPass(s)
	if len(rows) != 3 {
		t.Fatalf("%d rows", len(rows))
	}
	if done := mark(t, c, refs(rows)...); len(done) != 3 || f.count(`sent_at IS NOT NULL`) != 3 {
		t.Error("marked", len(done))
	}
	if n := f.sessions(); n != 2 {
		t.Errorf("%d sessions have the relay's name", n)
	}
}

func TestConnectTriesTheNextHost(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	config, err := pgx.ParseConfig(f.url)
	if err != nil {
		t.Fatal(err)
	}
	good := fmt.Sprintf("@%s:%d/", config.Host, config.Port)
	f.options.URL = strings.Replace(f.url, good, fmt.Sprintf("@127.0.0.1:1,%s:%d/", config.Host, config.Port), 1)
	if f.options.URL == f.url {
		t.Fatal("the URL has another form: no second host")
	}
	if !tryLead(t, f.connect()) {
		t.Error("not connected")
	}
}

func TestUnknownRoleAndDatabaseAreSetupFaults(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	config, err := pgx.ParseConfig(f.url)
	if err != nil {
		t.Fatal(err)
	}
	f.options.URL = pgtest.Server(t).URLAs("nobody", "s3cret", config.Database)
	f.wantFault("PostgreSQL refuses the role or the password of OUTBOX_DATABASE_URL")
	f.options.URL = pgtest.Server(t).URLAs(config.User, config.Password, "nowhere")
	f.wantFault("the database of OUTBOX_DATABASE_URL does not exist")
}

func TestUnreachableServerIsNoSetupFault(t *testing.T) {
	t.Parallel()
	f := &fixture{t: t, options: postgres.Options{URL: "postgres://u:s3cret@127.0.0.1:1/d", Table: schema.Table{Schema: "public", Name: "outbox"}}}
	_, err := f.database().Connect(t.Context())
	if err == nil || errors.Is(err, relay.ErrSetup) || strings.Contains(err.Error(), "s3cret") {
		t.Error(err)
	}
}

func TestBadURLsDoNotShowThePassword(t *testing.T) {
	t.Parallel()
	for _, url := range []string{
		"postgres://u:s3cret@h:port/d", "postgres://u:s3cret@h:99999/d", "postgres://u:s3%zzcret@h/d", "postgres://u:s3cret@[::1/d",
		"postgres://u:s3cret@h/d?sslmode=sometimes", "postgres://u:s3cret@h/d?connect_timeout=s3cret", "host=h password='s3cret sslmode=x",
		"host=h password=s3cret port=s3cret", "postgres://u:s3cret:5432@h:x/d?sslrootcert=/s3cret", "mysql://u:s3cret@h/d", "s3cret",
		"postgres://u:s3cret@h/d?sslcert=/s3cret/a&sslkey=/s3cret/b",
	} {
		_, err := postgres.New(postgres.Options{URL: url, Table: schema.Table{Schema: "public", Name: "outbox"}})
		if err == nil {
			t.Errorf("%s is accepted", url)
			continue
		}
		if text := err.Error(); strings.Contains(text, "s3") || !strings.Contains(text, "OUTBOX_DATABASE_URL") {
			t.Errorf("%s: %s", url, text)
		}
	}
}
