package postgres

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Bounds of a verdict about a row that the server cannot read.
const (
	// unreadableTries are failures in a row, and unreadableFor how long they go on,
	// before a row is given up whose failure may be passing: a block that could not
	// be read, a limit that was too low for a moment.
	unreadableTries = 3
	unreadableFor   = 10 * time.Second
	// unreadablePause is how long such a row waits for the next try.
	unreadablePause = time.Second
	// maxUnreadable bounds the memory. Beyond it, and there the trouble is not one of
	// rows, all wait.
	maxUnreadable = 1000
)

// unreadable remembers the rows that the server has failed to read. It outlives a
// session. Safe for concurrent use.
type unreadable struct {
	mu   sync.Mutex
	rows map[relay.Ref]failure
}

type failure struct {
	tries int
	since time.Time
}

// isFinal notes that the server failed on a row, and says whether that is the last
// word. What a row contains stays as it is (SQLSTATE class 22); an internal error or
// a limit may pass, and a row that is declared dead stays dead.
func (u *unreadable) isFinal(ref relay.Ref, cause error, now time.Time) bool {
	if strings.HasPrefix(codeOf(cause), "22") {
		return true
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	f, known := u.rows[ref]
	// Failures long ago are another trouble's.
	if !known || now.Sub(f.since) > time.Duration(unreadableTries)*time.Minute {
		if len(u.rows) >= maxUnreadable && !known {
			u.forgetBefore(now.Add(-time.Minute))
			return false
		}
		f = failure{since: now}
	}
	f.tries++
	if u.rows == nil {
		u.rows = make(map[relay.Ref]failure)
	}
	u.rows[ref] = f
	if f.tries < unreadableTries || now.Sub(f.since) < unreadableFor {
		return false
	}
	delete(u.rows, ref)
	return true
}

func (u *unreadable) forgetBefore(t time.Time) {
	for ref, f := range u.rows {
		if f.since.Before(t) {
			delete(u.rows, ref)
		}
	}
}

// judge makes the row a defect, or has it wait for another try. What stands behind it
// waits with it.
func (u *unreadable) judge(row *relay.Row, cause error, now time.Time) {
	row.Size = relay.MessageOverhead
	if u.isFinal(row.Ref, cause, now) {
		row.Defect = fmt.Errorf("PostgreSQL cannot read the row: %s", serverWords(cause))
		return
	}
	row.Wait = unreadablePause
	row.Key = row.KeyName()
}
