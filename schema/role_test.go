package schema_test

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/schema"
)

// asRole migrates a fresh database, grants the role and returns the superuser's
// session and one of the role.
func asRole(t *testing.T, o schema.RoleOptions) (admin, relay *pgx.Conn) {
	t.Helper()
	role(t, o.Role)
	url := pgtest.Database(t)
	admin = pgtest.Connect(t, url)
	migrate(t, admin, schema.Options{Table: o.Table, Publication: "outbox_relay"})
	run(t, admin, "REVOKE CREATE ON SCHEMA public FROM PUBLIC") // which PostgreSQL 14 grants everybody
	script(t, admin, "CREATE TABLE orders (id int); CREATE SEQUENCE numbers; CREATE SCHEMA private; CREATE TABLE private.t (id int)")
	const password = "pass'word \\ $1"
	if err := schema.GrantRole(t.Context(), admin, o, password); err != nil {
		t.Fatal(err)
	}
	database := value[string](t, admin, "SELECT current_database()")
	return admin, pgtest.Connect(t, pgtest.Server(t).URLAs(o.Role, password, database))
}

func TestRoleCanDoTheRelaysWork(t *testing.T) {
	table := mustTable(`"My Shop"."Out Box"`)
	admin, relay := asRole(t, schema.RoleOptions{Table: table, Role: `Relay "1"`})
	run(t, admin, "INSERT INTO "+table.Quoted()+" (topic, payload) VALUES ('t', '1')")
	run(t, relay, "SET row_security = off")
	run(t, relay, "SELECT * FROM "+table.Quoted()+" FOR UPDATE SKIP LOCKED")
	run(t, relay, "UPDATE "+table.Quoted()+` SET sent_at = now(), attempts = 1, first_attempt_at = now(), last_error = 'x',
		available_at = now(), dead_at = now() WHERE id = 1 RETURNING id`)
	run(t, relay, "SELECT pg_try_advisory_lock(1)")
	run(t, relay, "SELECT pg_create_logical_replication_slot('role_test', 'pgoutput', true)")
}

func TestRoleCanDoNothingElse(t *testing.T) {
	_, relay := asRole(t, schema.RoleOptions{Table: outbox.Table, Role: "relay_least"})
	for _, sql := range []string{
		insert,
		"UPDATE outbox SET payload = '2'", "UPDATE outbox SET topic = 'x'", "UPDATE outbox SET key = 'x'",
		"UPDATE outbox SET headers = '{}'", "UPDATE outbox SET message_id = gen_random_uuid()", "UPDATE outbox SET id = 1",
		"DELETE FROM outbox", "TRUNCATE outbox", "SELECT setval('outbox_id_seq', 1)",
		"SELECT * FROM orders", "INSERT INTO orders VALUES (1)", "SELECT nextval('numbers')", "SELECT * FROM private.t",
		"CREATE TABLE public.mine ()", "CREATE SCHEMA mine", "CREATE ROLE other", "COPY (SELECT 1) TO PROGRAM 'true'",
		"SET session_replication_role = replica",
	} {
		_, err := relay.Exec(t.Context(), sql)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != "42501" {
			t.Errorf("%s: %v, want permission denied", sql, err)
		}
	}
	if got := value[string](t, relay, `SELECT concat(rolsuper, rolcreaterole, rolcreatedb, rolbypassrls, rolcanlogin, rolreplication)
		FROM pg_roles WHERE rolname = current_user`); got != "fffftt" {
		t.Errorf("the role's attributes are %s, want LOGIN and REPLICATION only", got)
	}
}

func TestRoleDeletesOnlyWhereAsked(t *testing.T) {
	admin, relay := asRole(t, schema.RoleOptions{Table: outbox.Table, Role: "relay_deletes", Delete: true})
	run(t, admin, insert)
	if tag, err := relay.Exec(t.Context(), "DELETE FROM outbox"); err != nil || tag.RowsAffected() != 1 {
		t.Errorf("delete: %v, %v", tag, err)
	}
}

func TestGrantingTwiceChangesNothing(t *testing.T) {
	o := schema.RoleOptions{Table: outbox.Table, Role: role(t, "relay_twice"), Delete: true}
	conn := listen(t, pgtest.Database(t))
	migrate(t, conn.Conn, outbox)
	if err := schema.GrantRole(t.Context(), conn.Conn, o, ""); err != nil {
		t.Fatal(err)
	}
	before := values(t, conn.Conn, versions)
	conn.take()
	if err := schema.GrantRole(t.Context(), conn.Conn, o, ""); err != nil {
		t.Fatal(err)
	}
	if after := values(t, conn.Conn, versions); !slices.Equal(before, after) || len(conn.take()) != 0 {
		t.Error("the second run changed the catalogs")
	}
}

func TestPrintedRoleSQLRunsThroughPsql(t *testing.T) {
	o := schema.RoleOptions{Table: mustTable(`"a $outbox$".b`), Role: role(t, `it's \ a "role"`)}
	psql, err := pgserver.Psql()
	if err != nil {
		t.Fatal(err)
	}
	url := pgtest.Database(t)
	conn := pgtest.Connect(t, url)
	migrate(t, conn, schema.Options{Table: o.Table, Publication: "p"})
	cmd := exec.CommandContext(t.Context(), psql, "-X", "-v", "ON_ERROR_STOP=1", "-d", url)
	cmd.Stdin = strings.NewReader(schema.RoleSQL(o))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("psql: %v\n%s", err, out)
	}
	if !value[bool](t, conn, "SELECT has_table_privilege($1, $2, 'SELECT')", o.Role, o.Table.Quoted()) {
		t.Error("the role may not read the table")
	}
}

func TestGrantRoleSaysWhatItCannotDo(t *testing.T) {
	owner, relay := role(t, "role_owner"), role(t, "role_relay")
	url := pgtest.Database(t)
	admin := pgtest.Connect(t, url)
	database := value[string](t, admin, "SELECT current_database()")
	o := schema.RoleOptions{Table: outbox.Table, Role: relay}

	if err := schema.GrantRole(t.Context(), admin, o, ""); err == nil ||
		!strings.Contains(err.Error(), "Run the migration first: outbox-relay migrate") {
		t.Errorf("without a table: %v", err)
	}
	script(t, admin, `CREATE ROLE role_owner LOGIN PASSWORD 'x'; GRANT CREATE ON DATABASE `+database+` TO role_owner;
		GRANT CREATE ON SCHEMA public TO role_owner`)
	conn := listen(t, pgtest.Server(t).URLAs(owner, "x", database))
	migrate(t, conn.Conn, outbox)
	conn.take()
	if err := schema.GrantRole(t.Context(), conn.Conn, o, ""); err == nil ||
		!strings.Contains(err.Error(), "As a superuser run: CREATE ROLE role_relay LOGIN REPLICATION") {
		t.Errorf("by a role that may create none: %v", err)
	}

	// With a role that exists the table's owner can do the rest, and is told what not.
	script(t, admin, "CREATE ROLE role_relay LOGIN; ALTER TABLE outbox ENABLE ROW LEVEL SECURITY")
	if err := schema.GrantRole(t.Context(), conn.Conn, o, ""); err != nil {
		t.Fatal(err)
	}
	said := strings.Join(conn.take(), "\n")
	for _, want := range []string{
		`WARNING: role "role_relay" may not read the write-ahead log: the relay will poll`,
		`WARNING: table "public"."outbox" has row-level security, which role "role_relay" does not bypass`,
		`NOTICE: granted role "role_relay" what it needs`,
	} {
		if !strings.Contains(said, want) {
			t.Errorf("said %q, want %q", said, want)
		}
	}
	if err := schema.GrantRole(t.Context(), admin, o, "pass\nword"); err == nil ||
		!strings.Contains(err.Error(), "printable ASCII") {
		t.Errorf("a password with a control character: %v", err)
	}
}

// The verifier that is computed here must be one that the server accepts.
func TestGrantRoleSetsThePassword(t *testing.T) {
	server := pgtest.Own(t, nil)
	admin := pgtest.Connect(t, server.URL("postgres"))
	migrate(t, admin, outbox)
	const password = `it's "a\ p4ss: $word`
	if err := schema.GrantRole(t.Context(), admin, schema.RoleOptions{Table: outbox.Table, Role: "relay"}, password); err != nil {
		t.Fatal(err)
	}
	file := strings.ReplaceAll(value[string](t, admin, "SHOW hba_file"), "'", "''")
	run(t, admin, "COPY (SELECT 'host all relay 127.0.0.1/32 scram-sha-256' UNION ALL SELECT 'host all all 127.0.0.1/32 trust') TO '"+file+"'")
	run(t, admin, "SELECT pg_reload_conf()")

	refused := func() bool { // at first the server may still trust everybody
		conn, err := pgx.Connect(t.Context(), server.URLAs("relay", "wrong", "postgres"))
		if err == nil {
			_ = conn.Close(t.Context())
		}
		return err != nil && strings.Contains(err.Error(), "28P01")
	}
	for deadline := time.Now().Add(time.Minute); !refused(); {
		if time.Now().After(deadline) {
			t.Fatal("the server never asked for a password")
		}
	}
	pgtest.Connect(t, server.URLAs("relay", password, "postgres"))
}
