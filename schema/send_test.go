package schema_test

import (
	"strings"
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/schema"
)

func TestSendInsertsARowWithTheCallersRightsAlone(t *testing.T) {
	shop, stranger := role(t, "send_shop"), role(t, "send_stranger")
	conn := migrated(t, outbox)
	script(t, conn, "CREATE ROLE send_shop; GRANT INSERT ON outbox TO send_shop; CREATE ROLE send_stranger; GRANT CREATE ON SCHEMA public TO send_shop")

	run(t, conn, "SET ROLE "+shop)
	id := value[string](t, conn, `SELECT outbox_send('orders.created', '{"total": 9.90}')::text`)
	all := value[string](t, conn, `SELECT outbox_send('orders.created', payload => json_build_object('a', 1), key => '42',
		headers => '{"traceparent": "x"}', available_at => '2030-01-01 00:00Z')::text`)
	// What is in the way of names in another schema is not used.
	script(t, conn, "CREATE TABLE pg_temp.outbox (message_id uuid, topic text, key text, payload json, headers jsonb, available_at timestamptz); SET search_path = pg_temp, public")
	third := value[string](t, conn, `SELECT public.outbox_send('third', '3', NULL, NULL, NULL)::text`)
	script(t, conn, "RESET search_path; RESET ROLE")

	got := strings.Join(values(t, conn, `SELECT concat_ws('|', message_id, topic, key, payload, headers, available_at AT TIME ZONE 'UTC') FROM public.outbox ORDER BY id`), "\n")
	want := id + `|orders.created|{"total": 9.90}|{}` + "\n" +
		all + `|orders.created|42|{"a" : 1}|{"traceparent": "x"}|2030-01-01 00:00:00` + "\n" + third + `|third|3|{}`
	if got != want {
		t.Errorf("the table has\n%s\nwant\n%s", got, want)
	}
	run(t, conn, "SET ROLE "+stranger)
	if _, err := conn.Exec(t.Context(), `SELECT outbox_send('a', '1')`); err == nil || !strings.Contains(err.Error(), "permission denied for table outbox") {
		t.Errorf("a role without INSERT: %v", err)
	}
}

func TestSendTakesThePayloadsType(t *testing.T) {
	for payload, argument := range map[schema.PayloadType]any{
		schema.PayloadJSON: `{"b":1,"a":2}`, schema.PayloadJSONB: `{"a": 2, "b": 1}`, schema.PayloadText: "plain, it's", schema.PayloadBytea: []byte{0, 255},
	} {
		o := schema.Options{Table: mustTable(`"it's $function$ %s"`), PayloadType: payload}
		conn := migrated(t, o)
		migrate(t, conn, o) // again: nothing to do
		run(t, conn, "SELECT "+o.Table.SendFunction()+"('t', $1)", argument)
		same := value[bool](t, conn, "SELECT payload::text = $1::"+string(payload)+"::text FROM "+o.Table.Quoted(), argument)
		if !same {
			t.Errorf("%s: the payload is another", payload)
		}
	}
}

func TestSendOfOthersIsLeftAlone(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	run(t, conn, "CREATE FUNCTION public.outbox_send(text, json, text, jsonb, timestamptz) RETURNS int LANGUAGE sql AS 'SELECT 1'")
	if err := schema.Migrate(t.Context(), conn, outbox); err == nil ||
		!strings.Contains(err.Error(), `the function "public"."outbox_send"(text, json, text, jsonb, timestamptz) exists and is not the one of outbox-relay`) {
		t.Errorf("a function of the application in the way: %v", err)
	}
	if n := value[int](t, conn, "SELECT count(*) FROM pg_tables WHERE tablename = 'outbox'"); n != 0 {
		t.Error("a failed migration has made the table")
	}
}
