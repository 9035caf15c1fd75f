package schema_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
	"github.com/outbox-relay/outbox-relay/schema"
)

func TestInboxTakesAnIDOnceAndIsPurged(t *testing.T) {
	conn := pgtest.Connect(t, pgtest.Database(t))
	run(t, conn, `CREATE SCHEMA "Bill"`)
	inbox, err := schema.ParseInbox(`"Bill"."it's an $outbox$ inbox"`)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // it may be run again
		script(t, conn, schema.InboxSQL(inbox))
	}
	const id = "00000000-0000-0000-0000-000000000001"
	for i, want := range []int64{1, 0} {
		tag, err := conn.Exec(t.Context(), "INSERT INTO "+inbox.Quoted()+" (message_id) VALUES ($1) ON CONFLICT DO NOTHING", id)
		if err != nil || tag.RowsAffected() != want {
			t.Errorf("insert %d: %v, %v, want %d rows", i, tag, err, want)
		}
	}
	run(t, conn, "INSERT INTO "+inbox.Quoted()+" SELECT gen_random_uuid(), now() - interval '31 days' FROM generate_series(1, 5)")
	purge := `"Bill"."it's an $outbox$ inbox_purge"`
	for _, c := range []struct {
		arguments string
		want      int64
	}{{"most => 3", 3}, {"", 2}, {"", 0}, {"interval '40 days'", 0}, {"interval '0'", 1}} {
		if got := value[int64](t, conn, "SELECT "+purge+"("+c.arguments+")"); got != c.want {
			t.Errorf("purge(%s) deleted %d rows, want %d", c.arguments, got, c.want)
		}
	}
}
