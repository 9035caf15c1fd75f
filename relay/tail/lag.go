package tail

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
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

var lagStatement = statements.Statement("lag", nil)

// LookUpLag asks a session, another one than the stream's, how far the slot is
// behind. The error is [ErrNoSlot] where there is none. It works on any idle
// session.
func LookUpLag(ctx context.Context, pg *pgconn.PgConn, slot SlotName) (Lag, error) {
	type row struct {
		Retained, Read, End int64
		PassesForStandby    bool
	}
	r, err := one[row](ctx, pg, lagStatement, sqltext.Args{"slot": slot})
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Lag{}, fmt.Errorf("look up slot %s: %w", slot, ErrNoSlot)
	case err != nil:
		return Lag{}, fmt.Errorf("look up slot %s: %w", slot, err)
	case r.PassesForStandby:
		return Lag{}, errPassesForStandby
	}
	return Lag{Retained: max(r.Retained, 0), Read: wal.LSN(r.Read), End: wal.LSN(r.End)}, nil
}
