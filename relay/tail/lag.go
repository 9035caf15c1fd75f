package tail

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay/wal"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// ErrNoSlot: the slot is gone, or is on another server.
var ErrNoSlot = errors.New("the replication slot does not exist")

// Lag is how far a slot is behind the log.
type Lag struct {
	// Retained is how many bytes of the log the server keeps for the slot. It grows
	// while the stream is not read, and while any transaction is open or prepared.
	Retained int64
	// Read is how far the stream had read the log at its last status update, and End
	// how far the log is written.
	Read, End wal.LSN
}

// LookUpLag asks a session, another one than the stream's, how far the slot is
// behind. The error is [ErrNoSlot] where there is none. It works on any idle
// session.
func LookUpLag(ctx context.Context, pg *pgconn.PgConn, slot SlotName) (Lag, error) {
	rows, err := query(ctx, pg, `SELECT
			coalesce(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn), 0)::bigint,
			coalesce(confirmed_flush_lsn, '0/0'), pg_catalog.pg_current_wal_lsn(),
			`+passesForStandby+`
		FROM pg_catalog.pg_replication_slots WHERE slot_name = `+sqltext.Literal(string(slot)))
	if err != nil {
		return Lag{}, fmt.Errorf("look up slot %s: %w", slot, err)
	}
	if len(rows) == 0 {
		return Lag{}, fmt.Errorf("look up slot %s: %w", slot, ErrNoSlot)
	}
	if string(rows[0][3]) == "t" {
		return Lag{}, errPassesForStandby
	}
	retained, err1 := strconv.ParseInt(string(rows[0][0]), 10, 64)
	read, err2 := wal.ParseLSN(string(rows[0][1]))
	end, err3 := wal.ParseLSN(string(rows[0][2]))
	if err := errors.Join(err1, err2, err3); err != nil {
		return Lag{}, fmt.Errorf("look up slot %s: %w", slot, err)
	}
	return Lag{Retained: max(retained, 0), Read: read, End: end}, nil
}
