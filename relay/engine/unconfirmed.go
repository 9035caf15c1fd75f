package engine

import (
	"math"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// unconfirmed are rows that a survey brought before they came by the log. Mostly the
// survey was just faster. If the log has been read past the survey's position and the
// row has not come, it never will: the log has missed it. This finds a log that lacks
// rows: PostgreSQL sends no rows of a table that was taken out of the publication.
type unconfirmed struct {
	rows map[relay.Ref]wal.LSN // by row: the position of the survey
	// least is not above any position in rows. Most events of the log are before it,
	// and cost no search.
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

// confirmed notes that the row has come by the log.
func (u *unconfirmed) confirmed(r relay.Ref) { delete(u.rows, r) }

// passed notes that the log has been read up to the position. It takes out the rows
// that the log has missed, and returns how many there were.
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

// valid checks what the comments of the fields say.
func (u *unconfirmed) valid() bool {
	for _, survey := range u.rows {
		if survey < u.least {
			return false
		}
	}
	return true
}
