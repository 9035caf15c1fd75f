package schema_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/schema"
)

// definitions describes everything that belongs to the table, by names: equal
// for two tables that were made alike in two databases.
const definitions = `
	SELECT format('column %s %s %s %s', attname, format_type(atttypid, atttypmod), attnotnull,
		attidentity::text || coalesce(pg_get_expr(adbin, adrelid), ''))
	FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
	WHERE attrelid = $1::regclass AND attnum > 0 AND NOT attisdropped
	UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = $1::regclass
	UNION ALL SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = $1::regclass
	UNION ALL SELECT pg_get_functiondef(tgfoid) FROM pg_trigger WHERE tgrelid = $1::regclass
	UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = $1::regclass
	UNION ALL SELECT unnest(reloptions) FROM pg_class WHERE oid = $1::regclass
	UNION ALL SELECT coalesce(obj_description($1::regclass, 'pg_class'), '')
	UNION ALL SELECT format('publication %s %s %s%s%s%s', pubname, pubviaroot, pubinsert, pubupdate, pubdelete, pubtruncate)
	FROM pg_publication JOIN pg_publication_rel ON prpubid = pg_publication.oid AND prrelid = $1::regclass
	ORDER BY 1`

// versions lists every row version of the catalogs that DDL writes.
const versions = `
	SELECT 'class ' || oid || ' ' || xmin || ' ' || relfilenode FROM pg_class
	UNION ALL SELECT 'attribute ' || attrelid || ' ' || attnum || ' ' || xmin FROM pg_attribute
	UNION ALL SELECT 'index ' || indexrelid || ' ' || xmin FROM pg_index
	UNION ALL SELECT 'proc ' || oid || ' ' || xmin FROM pg_proc
	UNION ALL SELECT 'trigger ' || oid || ' ' || xmin FROM pg_trigger
	UNION ALL SELECT 'constraint ' || oid || ' ' || xmin FROM pg_constraint
	UNION ALL SELECT 'description ' || objoid || ' ' || xmin FROM pg_description
	UNION ALL SELECT 'namespace ' || oid || ' ' || xmin FROM pg_namespace
	UNION ALL SELECT 'publication ' || oid || ' ' || xmin FROM pg_publication
	UNION ALL SELECT 'publication_rel ' || oid || ' ' || xmin FROM pg_publication_rel
	ORDER BY 1`

var awkwardNames = []string{
	`outbox`, `shop.outbox`, `"Shop"."Out Box"`, `"say ""hi"", 100%"."it's \ a $outbox$ {{table}}"`, `"Größe"."ärger"`,
	`"` + strings.Repeat("long ", 12) + `one"`, `public."SELECT"`,
}

func TestMigrateMakesAWorkingTableOfAnyName(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	for _, name := range awkwardNames {
		t.Run(name, func(t *testing.T) {
			o := schema.Options{Table: mustTable(name), Publication: `relay "of" it's $outbox$_`}
			migrate(t, conn, o)
			table := o.Table.Quoted()
			run(t, conn, "INSERT INTO "+table+" (topic, payload) VALUES ('t', '{}')")
			if n := value[int](t, conn, "SELECT count(*) FROM "+table+` WHERE message_id IS NOT NULL AND attempts = 0
				AND content_type = 'application/json' AND headers = '{}' AND created_at IS NOT NULL AND id = 1
				AND num_nulls(key, available_at, sent_at, first_attempt_at, last_error, dead_at) = 6`); n != 1 {
				t.Errorf("the defaults of a new row are not those of the contract")
			}
			if n := value[int](t, conn, "SELECT count(*) FROM pg_index WHERE indrelid = $1::regclass", table); n != 5 {
				t.Errorf("the table has %d indexes, want the primary key and four more", n)
			}
			if n := value[int](t, conn, "SELECT count(*) FROM pg_publication_tables WHERE pubname = $1 AND schemaname = $2 AND tablename = $3",
				o.Publication, o.Table.Schema, o.Table.Name); n != 1 {
				t.Errorf("the table is not in the publication")
			}
			before := values(t, conn, versions)
			migrate(t, conn, o)
			if after := values(t, conn, versions); !slices.Equal(before, after) {
				t.Errorf("the second run changed the catalogs")
			}
		})
	}
}

func TestLongNamesThatDifferAtTheEndGetIndexesOfTheirOwn(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	for _, last := range []string{"1", "2"} {
		o := schema.Options{Table: mustTable(strings.Repeat("x", 62) + last), Publication: "p"}
		migrate(t, conn, o)
		if n := value[int](t, conn, "SELECT count(*) FROM pg_index WHERE indrelid = $1::regclass", o.Table.Quoted()); n != 5 {
			t.Errorf("%s has %d indexes, want 5", o.Table, n)
		}
	}
}

func TestPrintedSQLDoesWhatMigrateDoes(t *testing.T) {
	psql, err := pgserver.Psql()
	if err != nil {
		t.Fatal(err)
	}
	url := pgtest.Database(t)
	printed, migrated := pgtest.Connect(t, url), pgtest.Connect(t, pgtest.Database(t))
	for _, name := range awkwardNames {
		o := schema.Options{Table: mustTable(name), PayloadType: schema.PayloadBytea, Publication: "outbox_relay"}
		migrate(t, migrated, o)
		for range 2 {
			cmd := exec.CommandContext(t.Context(), psql, "-X", "-v", "ON_ERROR_STOP=1", "-d", url)
			cmd.Stdin = strings.NewReader(schema.SQL(o))
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("psql: %v\n%s", err, out)
			}
		}
		got, want := values(t, printed, definitions, o.Table.Quoted()), values(t, migrated, definitions, o.Table.Quoted())
		if !slices.Equal(got, want) {
			t.Errorf("%s: psql made\n%s\nMigrate made\n%s", name, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func TestMigrateTellsWhatItChanged(t *testing.T) {
	conn := listen(t, pgtest.Database(t))
	migrate(t, conn.Conn, outbox)
	said := conn.take()
	if !slices.Contains(said, `NOTICE: created table "public"."outbox"`) ||
		!slices.Contains(said, `NOTICE: created publication "outbox_relay"`) {
		t.Errorf("said %q", said)
	}
	migrate(t, conn.Conn, outbox)
	if said := conn.take(); len(said) != 0 {
		t.Errorf("the second run said %q", said)
	}
}

func TestPayloadTypes(t *testing.T) {
	for _, p := range []schema.PayloadType{schema.PayloadJSON, schema.PayloadJSONB, schema.PayloadText, schema.PayloadBytea} {
		o := outbox
		o.PayloadType = p
		conn := migrated(t, o)
		const typeOf = "SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = 'outbox'::regclass AND attname = 'payload'"
		if got := value[string](t, conn, typeOf); got != string(p) {
			t.Errorf("payload type %s made a column of type %s", p, got)
		}
		migrate(t, conn, outbox) // without a wish: it keeps what it has
		if got := value[string](t, conn, typeOf); got != string(p) {
			t.Errorf("a second run made %s of %s", got, p)
		}
	}
}

// older is the table as a first version might have made it.
const older = `CREATE TABLE outbox (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
	message_id uuid NOT NULL DEFAULT gen_random_uuid(), topic text NOT NULL, key text, payload json NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(), sent_at timestamptz);
	INSERT INTO outbox (topic, payload) SELECT 't', '1' FROM generate_series(1, 3)`

func TestMigrateAddsWhatAnOlderTableLacks(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	script(t, conn, older)
	migrate(t, conn, outbox)
	if n := value[int](t, conn, `SELECT count(*) FROM outbox WHERE attempts = 0 AND headers = '{}' AND available_at IS NULL
		AND content_type = 'application/json' AND first_attempt_at IS NULL`); n != 3 {
		t.Errorf("%d of 3 rows have the defaults of the new columns", n)
	}
	want := values(t, migrated(t, outbox), definitions, "outbox")
	got := values(t, conn, definitions, "outbox")
	want = slices.DeleteFunc(want, func(s string) bool { return strings.HasPrefix(s, "Messages on their way") })
	got = slices.DeleteFunc(got, func(s string) bool { return s == "" })
	if !slices.Equal(got, want) {
		t.Errorf("upgraded:\n%s\nnew:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestMigrateKeepsWhatIsNotItsOwn(t *testing.T) {
	conn := migrated(t, outbox)
	script(t, conn, `ALTER TABLE outbox ADD COLUMN tenant text, RESET (autovacuum_vacuum_cost_limit),
		SET (autovacuum_vacuum_threshold = 7); CREATE INDEX tenant_idx ON outbox (tenant)`)
	migrate(t, conn, outbox)
	got := value[string](t, conn, "SELECT array_to_string(array_agg(o ORDER BY o), ' ') FROM pg_class, unnest(reloptions) o WHERE oid = 'outbox'::regclass")
	if want := "autovacuum_analyze_scale_factor=0.02 autovacuum_analyze_threshold=1000 autovacuum_vacuum_cost_limit=2000 " +
		"autovacuum_vacuum_scale_factor=0.01 autovacuum_vacuum_threshold=7"; got != want {
		t.Errorf("storage parameters %s, want %s", got, want)
	}
	run(t, conn, "SELECT tenant FROM outbox")

	fresh := pgtest.Connect(t, pgtest.Database(t))
	run(t, fresh, "CREATE FUNCTION public.outbox_guard() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
	if err := schema.Migrate(t.Context(), fresh, outbox); err == nil ||
		!strings.Contains(err.Error(), `the function "public"."outbox_guard"() exists and is not the guard of outbox-relay`) {
		t.Errorf("a function of the application in the way: %v", err)
	}
}
