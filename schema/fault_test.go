package schema_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/schema"
)

func TestMigrateRefusesATableOfAnotherShape(t *testing.T) {
	for sql, want := range map[string]string{
		"DROP TRIGGER outbox_guard ON outbox; ALTER TABLE outbox ALTER payload TYPE varchar, ALTER created_at TYPE timestamp, ALTER attempts TYPE bigint": `migrate public.outbox: ERROR: ` +
			`table "public"."outbox" has another shape: column payload is character varying, expected json or jsonb or text or bytea; ` +
			`column created_at is timestamp without time zone, expected timestamp with time zone; ` +
			`column attempts is bigint, expected integer (SQLSTATE 42804): Nothing is retyped for you. ` +
			`Alter these columns, or set OUTBOX_TABLE to another name.`,
		"DROP TABLE outbox; CREATE TABLE outbox (id bigint PRIMARY KEY, name text)": `column message_id is missing; column topic is missing; column payload is missing`,
		"ALTER TABLE outbox ALTER attempts DROP NOT NULL":                           `column attempts must be NOT NULL`,
		"ALTER TABLE outbox DROP CONSTRAINT outbox_pkey":                            `the primary key must begin with column id`,
		"DROP TABLE outbox; CREATE VIEW outbox AS SELECT 1 AS id":                   `"public"."outbox" is not a table`,
	} {
		conn := migrated(t, outbox)
		script(t, conn, sql)
		before := values(t, conn, versions)
		err := schema.Migrate(t.Context(), conn, outbox)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\ngot  %v\nwant %s", sql, err, want)
		}
		if after := values(t, conn, versions); !slices.Equal(before, after) {
			t.Errorf("%s: the refused migration changed the catalogs", sql)
		}
	}
	conn := migrated(t, outbox)
	o := outbox
	o.PayloadType = schema.PayloadJSONB
	if err := schema.Migrate(t.Context(), conn, o); err == nil ||
		!strings.Contains(err.Error(), "column payload is json, expected jsonb") {
		t.Errorf("payload type jsonb asked of a json table: %v", err)
	}
}

func TestMigrateRefusesASessionInATransaction(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	run(t, conn, "BEGIN")
	if err := schema.Migrate(t.Context(), conn, outbox); err == nil || !strings.Contains(err.Error(), "in a transaction") {
		t.Errorf("got %v", err)
	}
	if conn.PgConn().TxStatus() != 'T' {
		t.Error("the caller's transaction was ended")
	}
}

func TestMigrateNamesTheGrantThatItLacks(t *testing.T) {
	owner := role(t, "schema_owner")
	url := pgtest.Database(t)
	admin := pgtest.Connect(t, url)
	database := value[string](t, admin, "SELECT current_database()")
	script(t, admin, "CREATE ROLE schema_owner LOGIN PASSWORD 'x'; REVOKE ALL ON SCHEMA public FROM public")
	conn := pgtest.Connect(t, pgtest.Server(t).URLAs(owner, "x", database))

	attempt := func(o schema.Options, want string) {
		t.Helper()
		if err := schema.Migrate(t.Context(), conn, o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	attempt(outbox, `run: GRANT USAGE, CREATE ON SCHEMA public TO schema_owner`)
	run(t, admin, "GRANT USAGE ON SCHEMA public TO schema_owner")
	attempt(outbox, `run: GRANT USAGE, CREATE ON SCHEMA public TO schema_owner`)
	run(t, admin, "GRANT CREATE ON SCHEMA public TO schema_owner")
	grant := "GRANT CREATE ON DATABASE " + pgx.Identifier{database}.Sanitize() + " TO schema_owner"
	unquoted := strings.ReplaceAll(grant, `"`, "")
	attempt(outbox, "run: "+unquoted)
	attempt(schema.Options{Table: mustTable("shop.outbox"), Publication: "p"}, "run: "+unquoted)
	run(t, admin, grant)
	migrate(t, conn, outbox) // no superuser from beginning to end
}
