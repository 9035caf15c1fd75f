package pgserver_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/await"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgserver"
	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
)

// standby starts one and closes it at the test's end.
func standby(t *testing.T, primary *pgserver.Server, o pgserver.StandbyOptions) *pgserver.Server {
	t.Helper()
	s, err := primary.Standby(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStandbyFollowsItsPrimaryAndIsPromoted(t *testing.T) {
	primary := start(t, pgserver.Options{Settings: map[string]string{"work_mem": "7MB"}})
	conn := connect(t, primary.URL("postgres"))
	run(t, conn, "CREATE TABLE before AS SELECT 1 AS n")
	second := standby(t, primary, pgserver.StandbyOptions{Name: "second"})
	run(t, conn, "INSERT INTO before VALUES (2)")

	copied := connect(t, second.URL("postgres"))
	await.Until(t, "the second row", func() bool { return ask(t, copied, "SELECT count(*)::text FROM before") == "2" })
	if got := ask(t, copied, "SHOW transaction_read_only"); got != "on" {
		t.Errorf("transaction_read_only is %q on a standby", got)
	}
	if got := ask(t, copied, "SHOW work_mem"); got != "7MB" {
		t.Errorf("work_mem is %q, want the primary's", got)
	}

	// A synchronous one confirms what it has, and the commit returns.
	pgtest.Synchronize(t, primary.URL("postgres"), "second")
	await.Until(t, "a synchronous standby", func() bool {
		return ask(t, conn, "SELECT coalesce(max(sync_state), '') FROM pg_stat_replication WHERE application_name = 'second'") == "sync"
	})
	run(t, conn, "INSERT INTO before VALUES (3)")

	if err := primary.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := second.Promote(t.Context()); err != nil {
		t.Fatal(err)
	}
	run(t, copied, "INSERT INTO before VALUES (4)")
	if got := ask(t, copied, "SELECT string_agg(n::text, ' ' ORDER BY n) FROM before"); got != "1 2 3 4" {
		t.Errorf("the promoted server has %q", got)
	}
	if err := second.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := second.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, connect(t, second.URL("postgres")), "SELECT pg_is_in_recovery()::text"); got != "false" {
		t.Error("after a restart it is a standby again")
	}
}

func TestPromotionOfAPrimaryIsRefused(t *testing.T) {
	primary := start(t, pgserver.Options{})
	if err := primary.Promote(t.Context()); err == nil {
		t.Error("a primary was promoted")
	}
}
