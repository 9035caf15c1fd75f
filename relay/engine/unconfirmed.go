package engine

import (
	"math"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// unconfirmed are rows that a survey brought before the tail has told of them.
// Mostly the survey was just faster. A row that the tail still has not told of
// when it has read past the survey's position, it will never tell of: it was
// reconciled. That is how a tail is found out that does not tell all, since
// PostgreSQL sends nothing of a table that its publication has lost.
type unconfirmed struct {
	rows map[relay.Ref]wal.LSN // the position of the survey
	// least is above no position in rows: most events of the log are before it, and
	// cost nothing.
	least wal.LSN
}

func newUnconfirmed() *unconfirmed {
	return &unconfirmed{rows: make(map[relay.Ref]wal.LSN), least: math.MaxUint64}
}

// brought notes a row of a survey.
func (u *unconfirmed) brought(r relay.Ref, survey wal.LSN) {
	u.rows[r] = survey
	u.least = min(u.least, survey)
}

// told notes that the tail has told of the row.
func (u *unconfirmed) told(r relay.Ref) { delete(u.rows, r) }

// passed takes out the rows that the tail has missed, now that it has read up to
// position, and returns how many there were.
func (u *unconfirmed) passed(position wal.LSN) int {
	if position < u.least {
		return 0
	}
	missed := 0
	u.least = math.MaxUint64
	for r, survey := range u.rows {
		if survey <= position {
			delete(u.rows, r)
			missed++
		} else {
			u.least = min(u.least, survey)
		}
	}
	return missed
}

func (u *unconfirmed) clear() {
	clear(u.rows)
	u.least = math.MaxUint64
}

// valid checks what is written at the fields.
func (u *unconfirmed) valid() bool {
	for _, survey := range u.rows {
		if survey < u.least {
			return false
		}
	}
	return true
}
