package postgres_test

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/postgres"
	"github.com/outbox-relay/outbox-relay/schema"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// Two tables: one of which the environment is noted, and one of which it is not.
var (
	ofProduction = schema.Table{Schema: "public", Name: "outbox"}
	ofNowhere    = schema.Table{Schema: "plain", Name: "outbox"}
)

// verdict says what a relay of an environment makes of a table: fine, foreign, or in what
// it is in doubt.
func verdict(t *testing.T, url string, table schema.Table, environment string) string {
	t.Helper()
	d, err := postgres.New(postgres.Options{URL: url, Table: table, Environment: environment, Host: "test"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Connect(t.Context())
	if errors.Is(err, relay.ErrForeign) {
		return "foreign"
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	note, err := c.Note(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var doubts []string
	for doubt, words := range map[string]string{
		"database": `(database "`, "system": "system ", "nothing noted": "nothing is noted", "no environment": "no environment is noted",
	} {
		if strings.Contains(note.Doubt, words) {
			doubts = append(doubts, doubt)
		}
	}
	slices.Sort(doubts)
	if note.Doubt == "" {
		return "fine"
	}
	return "doubt: " + strings.Join(doubts, ", ")
}

// judged compares what relays of all environments make of both tables.
func judged(t *testing.T, url, original string) {
	t.Helper()
	for _, c := range []struct {
		table             schema.Table
		environment, want string
	}{
		{ofProduction, "production", original},
		{ofProduction, "test", "foreign"},
		{ofProduction, "", "foreign"},
		{ofNowhere, "", original},
	} {
		if got := verdict(t, url, c.table, c.environment); got != c.want {
			t.Errorf("a relay of environment %q, of table %s: %s, want %s", c.environment, c.table, got, c.want)
		}
	}
}

// production is a database with both tables.
func production(t *testing.T, server *pgserver.Server) *pgx.Conn {
	t.Helper()
	admin := pgtest.Connect(t, server.URL("postgres"))
	if _, err := admin.Exec(t.Context(), "CREATE DATABASE shop"); err != nil {
		t.Fatal(err)
	}
	conn := pgtest.Connect(t, server.URL("shop"))
	for table, environment := range map[schema.Table]string{ofProduction: "production", ofNowhere: ""} {
		if err := schema.Migrate(t.Context(), conn, schema.Options{Table: table, Environment: environment}); err != nil {
			t.Fatal(err)
		}
	}
	if err := conn.Close(t.Context()); err != nil { // nobody may use a template
		t.Fatal(err)
	}
	return admin
}

func program(t *testing.T, name string) string {
	t.Helper()
	path, err := pgserver.Program(name)
	if err != nil {
		t.Skip("only the server's programs are here:", err)
	}
	return path
}

// Copies of each kind, of a database in production: a relay of another environment
// publishes nothing of them. What moves a database stops no relay of its own environment.
func TestCopiesAreForeign(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"pg_dump", "pg_basebackup", "pg_upgrade", "psql"} {
		program(t, name)
	}
	server := pgtest.Own(t, nil)
	admin := production(t, server)
	judged(t, server.URL("shop"), "fine")

	// Another database of the server.
	for _, sql := range []string{"CREATE DATABASE test TEMPLATE shop", "CREATE DATABASE restored"} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	judged(t, server.URL("test"), "doubt: database")
	dump, err := exec.CommandContext(t.Context(), program(t, "pg_dump"), server.URL("shop")).Output()
	if err != nil {
		t.Fatal(err)
	}
	restore := exec.CommandContext(t.Context(), program(t, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", server.URL("restored"))
	restore.Stdin = strings.NewReader(string(dump))
	if out, err := restore.CombinedOutput(); err != nil {
		t.Fatalf("restore: %v: %s", err, out)
	}
	judged(t, server.URL("restored"), "doubt: database")

	// A physical copy, or a standby that has become the primary: only the environment
	// tells the two apart.
	standby := pgtest.Standby(t, server, pgserver.StandbyOptions{})
	until(t, "the standby has replayed all", func() bool {
		var replayed bool
		err := admin.QueryRow(t.Context(), "SELECT coalesce(bool_or(replay_lsn >= pg_current_wal_lsn()), false) FROM pg_stat_replication").Scan(&replayed)
		return err == nil && replayed
	})
	if err := server.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := standby.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	judged(t, standby.URL("shop"), "fine")

	// A major upgrade. Production goes on, and says so until it is noted.
	upgraded, err := server.Upgrade(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = upgraded.Close() }()
	judged(t, upgraded.URL("shop"), "doubt: system")
	conn := pgtest.Connect(t, upgraded.URL("shop"))
	defer conn.Close(t.Context())
	for table, environment := range map[schema.Table]string{ofProduction: "production", ofNowhere: ""} {
		if err := schema.Adopt(t.Context(), conn, table, environment); err != nil {
			t.Fatal(err)
		}
	}
	judged(t, upgraded.URL("shop"), "fine")
}

func until(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatal("not within a minute:", what)
		}
		<-time.After(20 * time.Millisecond)
	}
}

func TestWhatIsNotedDecides(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	at := func(environment string) string { t.Helper(); return verdict(t, f.url, f.table, environment) }
	want := func(environment, want string) {
		t.Helper()
		if got := at(environment); got != want {
			t.Errorf("environment %q: %s, want %s", environment, got, want)
		}
	}
	want("", "fine")
	// Set where none was noted: the owner notes it.
	want("production", "doubt: no environment")
	f.adopt("production")
	want("production", "fine")
	want("", "foreign")
	// The data of another system's note were restored into this one.
	f.exec("INSERT INTO outbox_note (system_identifier, database, environment) VALUES ('1', 'shop', 'elsewhere')")
	want("production", "foreign")
	want("elsewhere", "foreign")
	f.adopt("")
	want("", "fine")
	f.exec("UPDATE outbox_note SET system_identifier = NULL") // of a server that does not tell
	want("", "fine")
	// Of an older version.
	f.exec("DELETE FROM outbox_note")
	want("", "doubt: nothing noted")
	f.exec("DROP TABLE outbox_note")
	want("production", "doubt: nothing noted")
	f.exec("CREATE TABLE outbox_note (mine int)")
	f.exec("GRANT SELECT ON outbox_note TO " + f.role())
	want("", "doubt: nothing noted")
}

func (f *fixture) adopt(environment string) {
	f.t.Helper()
	if err := schema.Adopt(f.t.Context(), f.admin, f.table, environment); err != nil {
		f.t.Fatal(err)
	}
}

// A leader looks each second.
func TestNoteThatChangesIsSeenByASessionThatRuns(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	c, _ := f.lead()
	look := func() (relay.Note, error) { return c.Note(t.Context()) }
	if note, err := look(); err != nil || note.Doubt != "" || note.Database != f.value("SELECT current_database()") ||
		note.System != f.value("SELECT system_identifier::text FROM pg_control_system()") {
		t.Errorf("%+v, %v", note, err)
	}
	f.exec("DROP TABLE outbox_note")
	for range 2 {
		if note, err := look(); err != nil || !strings.Contains(note.Doubt, "outbox-relay migrate") {
			t.Errorf("without a note: %+v, %v", note, err)
		}
	}
	if err := schema.Migrate(t.Context(), f.admin, schema.Options{Table: f.table}); err != nil {
		t.Fatal(err)
	}
	if note, err := look(); err != nil || note.Doubt != "" {
		t.Errorf("migrated again: %+v, %v", note, err)
	}
	// Locked: it is as it was, and nobody waits.
	lock, err := f.other().Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec(t.Context(), "LOCK TABLE outbox_note"); err != nil {
		t.Fatal(err)
	}
	if note, err := look(); err != nil || note.Doubt != "" {
		t.Errorf("locked: %+v, %v", note, err)
	}
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.adopt("production")
	if _, err := look(); !errors.Is(err, relay.ErrForeign) || !errors.Is(err, relay.ErrSetup) ||
		!strings.Contains(err.Error(), `belongs to environment "production", and OUTBOX_ENVIRONMENT is not set`) ||
		!strings.Contains(err.Error(), "outbox-relay adopt") {
		t.Errorf("of another environment: %v", err)
	}
}

func TestServerThatDoesNotTellItsIdentifier(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC")
	if system, err := schema.System(t.Context(), sqltext.On(pgtest.Connect(t, f.url))); system != "" || err != nil {
		t.Errorf("%q, %v", system, err)
	}
	if got := verdict(t, f.url, f.table, ""); got != "fine" {
		t.Error(got)
	}
}

// Each relay reads the note each second, and whoever may pause writes into it: what is there
// must not be what a relay dies of, or what its log and its page are full of.
func TestTextsOfAPauseAreCut(t *testing.T) {
	t.Parallel()
	f := setup(t, shape{})
	f.exec("UPDATE outbox_note SET paused_at = now(), paused_by = repeat('b', 1000000), pause_reason = repeat('r', 50000000)")
	d, err := postgres.New(postgres.Options{URL: f.url, Table: f.table, Host: "test"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	note, err := c.Note(t.Context())
	if err != nil || !note.Pause.On() || len(note.Pause.By) > 300 || len(note.Pause.Reason) > 1000 {
		t.Errorf("%d and %d bytes, %v", len(note.Pause.By), len(note.Pause.Reason), err)
	}
}
