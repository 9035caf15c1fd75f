package tail

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay/wal"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// SQLSTATEs that decide something here.
const (
	codeLockNotAvailable = "55P03"
	codeQueryCanceled    = "57014"
	codeNotInState       = "55000" // object not in prerequisite state
	codeLimitExceeded    = "53400" // configuration limit exceeded
	codeTooMany          = "53300" // too many connections
	codeNoPrivilege      = "42501"
	codeUndefinedObject  = "42704"
	codeReadOnly         = "25006"
	codeAdminShutdown    = "57P01"
	codeCrashShutdown    = "57P02"
)

// createSlot creates the temporary slot. Rows that are in the table already come by a
// survey, so the slot's snapshot is not needed.
func createSlot(ctx context.Context, pg *pgconn.PgConn, o Options, name SlotName) (wal.LSN, error) {
	snapshot := "NOEXPORT_SNAPSHOT"
	if majorVersion(pg) >= 15 {
		snapshot = "(SNAPSHOT 'nothing')"
	}
	limited, cancel := context.WithTimeout(ctx, o.CreateTimeout)
	defer cancel()
	if err := watchClient(limited, pg); err != nil {
		return 0, err
	}
	results, err := pg.Exec(limited, "CREATE_REPLICATION_SLOT "+name.quoted()+" TEMPORARY LOGICAL pgoutput "+snapshot).ReadAll()
	if err != nil {
		return 0, refusedSlot(ctx, pg, o, err)
	}
	// slot_name, consistent_point, snapshot_name, output_plugin
	if len(results) != 1 || len(results[0].Rows) != 1 || len(results[0].Rows[0]) < 2 {
		return 0, fmt.Errorf("create replication slot: %w: an answer without the slot", ErrProtocol)
	}
	lsn, err := wal.ParseLSN(string(results[0].Rows[0][1]))
	if err != nil {
		return 0, fmt.Errorf("create replication slot: %w", err)
	}
	return lsn, nil
}

// refusedSlot says why there is no slot.
func refusedSlot(ctx context.Context, pg *pgconn.PgConn, o Options, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("create replication slot: %w", ctx.Err())
	}
	// Canceled by us, most likely.
	late := errors.Is(err, context.DeadlineExceeded)
	switch code := sqltext.Code(err); {
	case code == codeLockNotAvailable, code == codeQueryCanceled, late && !pg.IsClosed():
		err = blocked(ctx, pg, err)
	case code == codeLimitExceeded:
		err = &UnavailableError{
			Reason: ReasonSlots, Cause: err,
			Text: "no free replication slot: raise max_replication_slots, or drop slots that nobody uses (SELECT * FROM pg_replication_slots)",
		}
	case code == codeNotInState:
		err = missingPrerequisite(ctx, pg, err)
	case code == codeNoPrivilege:
		err = lacksReplication(o.Config.User, err)
	case code == codeReadOnly:
		err = standby(err)
	case late:
		err = fmt.Errorf("no answer from PostgreSQL in time: %w", err)
	}
	return fmt.Errorf("create replication slot: %w", err)
}

// missingPrerequisite finds which of the server's settings forbids slots.
func missingPrerequisite(ctx context.Context, pg *pgconn.PgConn, cause error) error {
	s, err := one[serverSettings](ctx, pg, settingsStatement, nil)
	if err != nil {
		return errors.Join(cause, err)
	}
	if s.MostSlots == 0 {
		return &UnavailableError{
			Reason: ReasonSlots, Cause: cause,
			Text: "max_replication_slots is 0: run ALTER SYSTEM SET max_replication_slots = 10, and restart PostgreSQL",
		}
	}
	if s.WALLevel != "logical" {
		return &UnavailableError{
			Reason: ReasonWALLevel, Cause: cause,
			Text: fmt.Sprintf("wal_level is %q, needs %q: run ALTER SYSTEM SET wal_level = 'logical', and restart PostgreSQL", s.WALLevel, "logical"),
		}
	}
	return cause
}

// refusedConnection says why there is no session.
func refusedConnection(role string, err error) error {
	switch sqltext.Code(err) {
	case codeNoPrivilege:
		return lacksReplication(role, err)
	case codeTooMany:
		return &UnavailableError{
			Reason: ReasonSenders, Cause: err,
			Text: "no free walsender or connection: raise max_wal_senders (or max_connections), or look for who has them (SELECT * FROM pg_stat_activity)",
		}
	case codeReadOnly:
		return standby(err)
	}
	return err
}

func lacksReplication(role string, cause error) error {
	return &UnavailableError{
		Reason: ReasonRole, Cause: cause,
		Text: fmt.Sprintf("role %s may not replicate: as a superuser run ALTER ROLE %[1]s REPLICATION (Amazon RDS: GRANT rds_replication TO %[1]s)",
			sqltext.Identifier(role)),
	}
}

func standby(cause error) error {
	return &UnavailableError{
		Reason: ReasonStandby, Cause: cause,
		Text: "the server is a standby: name the primary in OUTBOX_DATABASE_URL, or all hosts with target_session_attrs=read-write",
	}
}
