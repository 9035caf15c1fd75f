package tail_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/relay/tail"
)

// Where any connection may pass for a synchronous standby, a stream would. It
// confirms at once what it reads, so commits would be told to be safe that no
// standby has.
func TestStreamDoesNotPassForASynchronousStandby(t *testing.T) {
	t.Parallel()
	f := setupAlone(t, nil)
	f.exec("SET synchronous_commit = local") // nobody confirms
	set := func(names string) {
		t.Helper()
		f.exec("ALTER SYSTEM SET synchronous_standby_names = '" + names + "'")
		f.exec("SELECT pg_reload_conf()")
		eventually(t, "the setting is in force", func() bool { return f.value("SELECT current_setting($1)", "synchronous_standby_names") == names })
	}
	s := f.stream()
	for _, names := range []string{"other", "FIRST 1 (a, b)", "ANY 2 (a, b, c)", `"a*", b`, ""} {
		set(names)
		if _, err := tail.Inspect(t.Context(), f.admin.PgConn(), "outbox_relay", f.table, s.Slot()); err != nil {
			t.Errorf("with %q: %v", names, err)
		}
		f.open().Close()
	}
	for _, names := range []string{"*", `"*"`, "a, *", "ANY 1 (*)", "FIRST 2 ( *, a)", "2(a,*)"} {
		set(names)
		second, err := tail.Open(t.Context(), f.options)
		if err == nil {
			second.Close()
		}
		_ = unavailable(t, err, tail.ReasonSynchronous)
		_, err = tail.Inspect(t.Context(), f.admin.PgConn(), "outbox_relay", f.table, s.Slot())
		_ = unavailable(t, err, tail.ReasonSynchronous)
		// This is why: PostgreSQL counts the stream that is there.
		eventually(t, "the stream is taken for a standby", func() bool {
			return f.value("SELECT max(sync_state) FROM pg_stat_replication") != "async"
		})
	}
}
