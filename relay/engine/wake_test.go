package engine_test

import (
	"slices"
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/engine"
)

// A relay that reads the log does not see a replay there. Without the notification the
// row would wait for the next survey, which is an hour away here.
func TestReplayIsSentWhileTheLogIsRead(t *testing.T) {
	h := start(t, func(c *engine.Config) {
		tailed(c)
		c.Tail.ReconcileInterval = time.Hour
	}, nil)
	h.exec(`INSERT INTO ` + h.table + ` (topic, key, payload, dead_at, attempts, last_error) SELECT 'orders.created', 'K', '{}', now(), 10, 'nacked: full'
		FROM generate_series(1, 5)`)
	h.run()
	h.untilTailing()
	h.exec("SELECT public.outbox_replay(2, 1)")
	h.untilMarked(2)
	h.exec("SELECT public.outbox_replay(5, 4)")
	h.untilMarked(4)
	pending, later := h.insertKeyed("K"), h.insertKeyed("K") // the log goes on behind the surveys
	h.untilMarked(6)
	h.until("all are counted", func() bool { return h.relay.Status().Published == 6 })
	if got, want := h.sink.ids(), []int64{1, 2, 4, 5, pending, later}; !slices.Equal(got, want) {
		t.Errorf("published %v, want %v", got, want)
	}
	if s := h.relay.Status(); s.Mode != relay.Tailing || s.Reconciled != 0 {
		t.Errorf("status is %+v, want tailing, and no replayed row taken for one that the log has missed", s)
	}
}
