package relay_test

import (
	"testing"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// tailed is the configuration of a relay that reads the log.
func tailed(c *relay.Config) {
	c.Tail = true
	c.ReconcileInterval = 30 * time.Second
	c.MaxWAL = 1 << 30
	c.TailRetry = relay.Backoff{Min: 10 * time.Millisecond, Max: time.Second}
}

// untilTailing waits until the log is read.
func (h *harness) untilTailing() {
	h.Helper()
	h.until("the relay is tailing", func() bool { return h.relay.Status().Mode == relay.Tailing })
}

// Rows come by the log, in the order of the commits, and no survey has to find
// them.
func TestRowsComeByTheTail(t *testing.T) {
	h := start(t, tailed, nil)
	h.run()
	h.untilTailing()
	const rows = 500
	for i := range rows {
		h.insertKeyed([]string{"a", "b", "c"}[i%3])
	}
	h.untilMarked(rows)
	s := h.relay.Status()
	if s.Mode != relay.Tailing || s.Reconciled != 0 || s.Published != rows {
		t.Errorf("status is %+v, want tailing, nothing reconciled, %d published", s, rows)
	}
}
