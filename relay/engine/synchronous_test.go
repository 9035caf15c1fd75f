package engine_test

import (
	"testing"

	"github.com/outbox-relay/outbox-relay/e2e/testbed/pgtest"
)

// PostgreSQL is told that any connection is a synchronous standby. The relay,
// which confirms at once what it reads, would be one: a commit that nobody else
// has would be taken as safe, published, and lost with the primary. So it polls,
// and the commit waits for a standby as it should. (Rule 8.)
func TestRelayDoesNotPassForASynchronousStandby(t *testing.T) {
	h, url := stalled(t, tailed, nil)
	h.run()
	h.untilTailing()
	pgtest.Synchronize(t, url, "*")
	h.untilPolling("synchronous_standby_names has a *")

	app := h.application()
	committed := make(chan int64, 1)
	go func() { committed <- h.insertIn(app, "K", "NULL") }()
	pgtest.AwaitStalled(t, url, 1)
	other := h.insertKeyed("L") // by a session that waits for no standby
	h.untilMarked(1)
	if ids := h.sink.ids(); len(ids) != 1 || ids[0] != other {
		t.Errorf("published %v, want row %d alone", ids, other)
	}
	h.exec("ALTER SYSTEM RESET synchronous_standby_names")
	h.exec("SELECT pg_reload_conf()")
	<-committed
	h.untilMarked(2)
	h.untilTailing()
}
