package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Somebody has 5,000 unsent rows locked: they are published and leave the window,
// whoever has them locked is named, and rows that nobody has locked go on. (Rule 19.)
func TestLockedRowsAreNamedAndStopNoOther(t *testing.T) {
	const locked = 5000
	h := start(t, nil, nil)
	h.insert(locked)
	tx := h.begin()
	if _, err := tx.Exec(t.Context(), "SELECT FROM "+h.table+" FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	h.insert(100)
	h.run()
	h.untilMarked(100)
	pid := int(tx.Conn().PgConn().PID())
	h.until("the status names the lock", func() bool {
		s := h.relay.Status()
		return s.Locked == locked && len(s.LockedBy) == 1 && s.LockedBy[0].PID == pid && time.Since(s.LockedSince) > time.Second &&
			s.InFlight == 0 && s.TableDown == ""
	})
	h.untilLogged("rows are locked by others")
	if log := h.log.String(); !strings.Contains(log, fmt.Sprintf("pid %d", pid)) {
		t.Errorf("the log does not name pid %d:\n%s", pid, log)
	}
	h.insert(100)
	h.untilMarked(200)
	h.commit(tx)
	h.untilMarked(locked + 200)
	h.until("the fault is over", func() bool { s := h.relay.Status(); return s.Locked == 0 && len(s.LockedBy) == 0 })
	if n := len(h.sink.ids()); n != locked+200 {
		t.Errorf("%d rows were published, want each of %d once", n, locked+200)
	}
}

// Somebody builds an index of the table, and marks wait: who it is is told beside the
// fault, and nothing is published meanwhile. (Rules 17 and 19.)
func TestLockedTableIsToldWithItsHolder(t *testing.T) {
	h := start(t, nil, nil)
	h.insert(1000)
	tx := h.begin()
	if _, err := tx.Exec(t.Context(), "LOCK TABLE "+h.table+" IN SHARE MODE"); err != nil {
		t.Fatal(err)
	}
	h.run()
	h.untilTableDown("is locked")
	pid := int(tx.Conn().PgConn().PID())
	h.until("the status names the lock", func() bool {
		by := h.relay.Status().LockedBy
		return len(by) == 1 && by[0].PID == pid
	})
	if n := len(h.sink.ids()); n > 10 {
		t.Errorf("%d rows were published behind the lock", n)
	}
	h.commit(tx)
	h.untilMarked(1000)
	if n := len(h.sink.ids()); n != 1000 {
		t.Errorf("%d rows were published, want each of 1000 once", n)
	}
}

// Somebody alters the table for a moment while rows are acknowledged. All their marks
// run into the lock, and none of the rows is to blame: they are marked when it is gone.
// (Rule 17.)
func TestLockOnTheWholeTableBlamesNoRow(t *testing.T) {
	h := start(t, nil, nil)
	h.insert(5) // so that the term has written something
	h.run()
	h.untilMarked(5)
	h.sink.hold()
	h.insert(5)
	h.until("the rows are published", func() bool { return h.sink.holding() == 5 })
	tx := h.begin()
	if _, err := tx.Exec(t.Context(), "LOCK TABLE "+h.table+" IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	h.sink.letGo()
	h.untilTableDown("is locked")
	h.commit(tx)
	h.untilMarked(10)
	h.until("the fault is over", func() bool { return h.relay.Status().TableDown == "" })
	if log := h.log.String(); strings.Contains(log, "cannot be marked: it was published") {
		t.Errorf("a row is said to be at fault:\n%s", log)
	}
}
