package schema_test

import (
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/schema"
)

// functionsOf lists who owns the migration's functions, and what else could change what they do.
const functionsOf = `SELECT format('%s %s %s %s', proname, pg_get_userbyid(proowner), prosecdef, proconfig) FROM pg_proc
	WHERE proname IN ('outbox_guard', 'outbox_replay', 'outbox_discard', 'outbox_send') AND pronamespace = 'public'::regnamespace ORDER BY 1`

// Who owns a function can put anything into it later, whatever it says now.
func TestMigrateTrustsNoFunctionOfOthers(t *testing.T) {
	mallory, owner := role(t, "mallory"), role(t, "table_owner")
	url := pgtest.Database(t)
	admin := pgtest.Connect(t, url)
	database := value[string](t, admin, "SELECT current_database()")
	script(t, admin, `CREATE ROLE mallory; CREATE ROLE table_owner LOGIN PASSWORD 'x'; GRANT CREATE ON SCHEMA public TO mallory, table_owner;
		GRANT CREATE ON DATABASE `+database+` TO table_owner`)
	conn := pgtest.Connect(t, pgtest.Server(t).URLAs(owner, "x", database))
	migrate(t, conn, outbox)
	want := strings.Join(values(t, admin, functionsOf), "\n")

	spoil := "ALTER FUNCTION outbox_guard() OWNER TO " + mallory + "; ALTER FUNCTION outbox_replay(bigint[]) OWNER TO " + mallory +
		"; ALTER FUNCTION outbox_send OWNER TO " + mallory
	script(t, admin, spoil)
	err := schema.Migrate(t.Context(), conn, outbox)
	if err == nil || !strings.Contains(err.Error(), "outbox_guard() belongs to mallory, who could make it do anything") ||
		!strings.Contains(err.Error(), "As a superuser run: ALTER FUNCTION public.outbox_guard() OWNER TO table_owner") {
		t.Errorf("%v", err)
	}
	migrate(t, admin, outbox) // who may take it
	if got := strings.Join(values(t, admin, functionsOf), "\n"); got != want {
		t.Errorf("the functions are\n%s\nwant\n%s", got, want)
	}
	// A role with the table owner's rights may own them: it could change the table itself.
	script(t, admin, "GRANT table_owner TO mallory; "+spoil)
	migrate(t, conn, outbox)
	script(t, admin, "DROP OWNED BY mallory, table_owner")
}

func TestMigrateTakesRightsAndSettingsFromItsFunctions(t *testing.T) {
	conn := migrated(t, outbox)
	want := strings.Join(values(t, conn, functionsOf), "\n")
	script(t, conn, "ALTER FUNCTION outbox_guard() SECURITY DEFINER SET search_path = public; ALTER FUNCTION outbox_discard(bigint[]) RESET ALL SET work_mem = '1MB'; ALTER FUNCTION outbox_send SECURITY DEFINER")
	migrate(t, conn, outbox)
	if got := strings.Join(values(t, conn, functionsOf), "\n"); got != want {
		t.Errorf("the functions are\n%s\nwant\n%s", got, want)
	}
}
