package tail

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// errPassesForStandby: every replication connection, this one included, counts as a
// synchronous standby.
//
// Schedule that loses a commit: the setting is '*'. A transaction commits and waits.
// The stream, which confirms what it has read, answers before the real standby. The
// application is told that the commit is safe. The primary is lost, and the standby
// that replaces it never had the transaction. The row may be published too: the
// visibility gate waits for that same answer. (Tested on 15.)
var errPassesForStandby = &UnavailableError{
	Reason: ReasonSynchronous,
	Text: "synchronous_standby_names has a *, which would count the relay's own connection as a synchronous standby, " +
		"and commits as safe that no standby has: name the standbys in it one by one",
}

var synchronousStatement = statements.Statement("synchronous", nil)

// checkSynchronous refuses a server that would take the relay for a standby.
func checkSynchronous(ctx context.Context, pg *pgconn.PgConn) error {
	setting, err := one[struct{ PassesForStandby bool }](ctx, pg, synchronousStatement, nil)
	if err != nil {
		return fmt.Errorf("look up the synchronous standbys: %w", err)
	}
	if setting.PassesForStandby {
		return errPassesForStandby
	}
	return nil
}
