package engine_test

import (
	"fmt"
	"testing"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Rows that the application has scheduled are sent when they are due, also where
// the log told of them before the relay started.
func TestScheduledRowsAreSentWhenTheyAreDue(t *testing.T) {
	h := start(t, tailed, nil)
	h.insertScheduled("K", "clock_timestamp() + interval '6 s'")
	h.insertScheduled("K", "clock_timestamp() + interval '7 s'")
	h.insertScheduled("K", "'infinity'")
	h.checkScheduled()
}

// The log tells of scheduled rows too early.
func TestRowsThatTheLogTellsOfTooEarlyAreSentWhenTheyAreDue(t *testing.T) {
	h := start(t, tailed, nil)
	h.run()
	h.untilTailing()
	h.insertScheduled("K", "clock_timestamp() + interval '4 s'")
	h.insertScheduled("K", "clock_timestamp() + interval '5 s'")
	h.insertScheduled("K", "'infinity'")
	h.checkScheduled()
}

// checkScheduled wants two scheduled rows to be sent in their time, and another
// one of the key before them.
func (h *harness) checkScheduled() {
	t := h.T
	t.Helper()
	if h.relay == nil {
		h.run()
	}
	h.untilTailing()
	now := h.insertKeyed("K") // is not kept waiting
	h.untilMarked(3)
	// On a machine that stood still meanwhile, they may have been due when it came.
	inTime := h.int(fmt.Sprintf("SELECT count(*) FROM %s WHERE id = %d AND created_at < (SELECT min(available_at) - interval '2 s' FROM %[1]s)", h.table, now)) == 1
	if ids := h.sink.ids(); inTime && ids[0] != now || len(ids) != 3 {
		t.Errorf("published %v, want row %d first", ids, now)
	}
	if early := h.int("SELECT count(*) FROM " + h.table + " WHERE sent_at < available_at"); early != 0 {
		t.Errorf("%d rows were sent before their time", early)
	}
	if s := h.relay.Status(); s.Mode != relay.Tailing || s.Reconciled != 0 {
		t.Errorf("status is %+v, want tailing and nothing reconciled", s)
	}
}
