package tail

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// Blocker is an open or prepared transaction that keeps a slot from being
// created.
type Blocker struct {
	XID wal.XID
	// PID and Application are the session's; 0 and empty for a prepared
	// transaction.
	PID         uint32
	Application string
	// Prepared is the name under which it was prepared (PREPARE TRANSACTION), or
	// empty.
	Prepared string
	Database string
	// Age is how long it has been open, or prepared, by the server's clock. 0 if the
	// role may not know: for others' sessions it needs pg_read_all_stats.
	Age time.Duration
}

// String describes it for a sentence: transaction 4711 of application "x" (pid 12,
// database shop) for 3m0s.
func (b Blocker) String() string {
	var s strings.Builder
	if b.Prepared != "" {
		fmt.Fprintf(&s, "prepared transaction %q (xid %d, database %s)", b.Prepared, b.XID, b.Database)
	} else {
		fmt.Fprintf(&s, "transaction %d of application %q (pid %d, database %s)", b.XID, b.Application, b.PID, b.Database)
	}
	if b.Age > 0 {
		fmt.Fprintf(&s, " for %s", b.Age.Truncate(time.Second))
	}
	return s.String()
}

// fix is how a person ends it.
func (b Blocker) fix() string {
	if b.Prepared != "" {
		return "ROLLBACK PREPARED " + sqltext.Literal(relay.OneLine(b.Prepared)) + " or COMMIT PREPARED, in its database"
	}
	return fmt.Sprintf("SELECT pg_terminate_backend(%d)", b.PID)
}

// blocked names the transactions that the slot has waited for. The session's own locks
// no longer show that. So it names the oldest transactions that have an id: the slot
// waits for all of those, in any database.
func blocked(ctx context.Context, pg *pgconn.PgConn, cause error) error {
	blockers, err := lookUpBlockers(ctx, pg)
	if err != nil {
		cause = errors.Join(cause, err)
	}
	e := &UnavailableError{Reason: ReasonBlocked, Blockers: blockers, Cause: cause}
	if len(blockers) == 0 {
		e.Text = "blocked by a transaction that has ended meanwhile"
		return e
	}
	e.Text = "blocked by " + blockers[0].String()
	if more := len(blockers) - 1; more > 0 {
		e.Text += fmt.Sprintf(" and %d more", more)
	}
	e.Text += ": end it (" + blockers[0].fix() + ")"
	return e
}

var blockersStatement = statements.Statement("blockers", nil)

func lookUpBlockers(ctx context.Context, pg *pgconn.PgConn) ([]Blocker, error) {
	type row struct {
		XID         wal.XID
		PID         int64
		Application string
		Prepared    string
		Database    string
		Age         int64 // in seconds
	}
	rows, err := all[row](ctx, pg, blockersStatement, nil)
	if err != nil {
		return nil, fmt.Errorf("look up open transactions: %w", err)
	}
	blockers := make([]Blocker, len(rows))
	for i, r := range rows {
		blockers[i] = Blocker{
			XID: r.XID, PID: uint32(r.PID), Application: r.Application, Prepared: r.Prepared,
			Database: r.Database, Age: time.Duration(max(r.Age, 0)) * time.Second,
		}
	}
	return blockers, nil
}
