package tail

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay/wal"
	"github.com/outbox-relay/outbox-relay/schema"
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

type lagFacts struct {
	Retained, Read, End int64
	PassesForStandby    bool
}

// Inspect asks a session, another one than the stream's, in one round trip, whether the
// publication still sends all rows, as [CheckPublication] does, and how far the slot is
// behind. The error is an [UnavailableError] if the publication does not, or if the relay
// would pass for a synchronous standby, and [ErrNoSlot] where there is no slot. The
// publication is judged first. It works on any idle session.
func Inspect(ctx context.Context, pg *pgconn.PgConn, publication string, table schema.Table, slot SlotName) (Lag, error) {
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	given := namedPublication(publication, table)
	given["slot"] = slot
	publications, slots, err := sqltext.Both[publicationFacts, lagFacts](ctx, pg, publicationStatement, lagStatement, given)
	if err != nil {
		return Lag{}, fmt.Errorf("look up publication %s and slot %s: %w", sqltext.Identifier(publication), slot, err)
	}
	if err := judgePublication(publications, publication, table); err != nil {
		return Lag{}, err
	}
	if len(slots) == 0 {
		return Lag{}, fmt.Errorf("look up slot %s: %w", slot, ErrNoSlot)
	}
	l := slots[0]
	if l.PassesForStandby {
		return Lag{}, errPassesForStandby
	}
	return Lag{Retained: max(l.Retained, 0), Read: wal.LSN(l.Read), End: wal.LSN(l.End)}, nil
}
