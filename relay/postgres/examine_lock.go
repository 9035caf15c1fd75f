package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay"
)

// holder is who has an advisory lock. PostgreSQL gives such a lock to everybody who
// may connect, and asks for no privilege.
type holder struct {
	PID         uint32 // 0: a prepared transaction
	Prepared    string // its name
	Application string
	Role        string
	State       string // empty where this role may not know
}

// isRelay goes by the name that relays give themselves.
func (h holder) isRelay() bool {
	return h.PID != 0 && strings.HasPrefix(h.Application, "outbox-relay ")
}

func (h holder) String() string {
	if h.PID == 0 {
		return fmt.Sprintf("prepared transaction %q", h.Prepared)
	}
	state := ""
	if h.State != "" {
		state = ", " + h.State
	}
	return fmt.Sprintf("pid %d, application %q, role %q%s", h.PID, h.Application, h.Role, state)
}

// fix is the statement that ends it.
func (h holder) fix() string {
	if h.PID == 0 {
		return fmt.Sprintf("ROLLBACK PREPARED %s;  -- or COMMIT PREPARED", quoteLiteral(relay.OneLine(h.Prepared)))
	}
	return fmt.Sprintf("SELECT pg_terminate_backend(%d);  -- as that role or a superuser", h.PID)
}

// holders are those of a lock in this database, the oldest process first.
func (s *session) holders(ctx context.Context, key lockKey) ([]holder, error) {
	rows, err := s.conn.Query(ctx, `SELECT coalesce(l.pid, 0)::bigint,
			CASE WHEN l.pid IS NULL THEN coalesce((SELECT min(p.gid) FROM pg_locks x JOIN pg_prepared_xacts p ON p.transaction = x.transactionid
				WHERE x.pid IS NULL AND x.virtualtransaction = l.virtualtransaction), '') ELSE '' END,
			coalesce(a.application_name, ''),
			coalesce(a.usename::text, ''), coalesce(a.state, '')
		FROM pg_locks l LEFT JOIN pg_stat_activity a ON a.pid = l.pid
		WHERE `+key.isHeld("l.")+` ORDER BY a.backend_start, 1`)
	if err != nil {
		return nil, s.explain("look up who holds the lock", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[holder])
	if err != nil {
		return nil, s.explain("look up who holds the lock", err)
	}
	return found, nil
}

// examineLock looks who leads, and whether somebody else has taken the lock of
// leaders, or that of the relays that stand by.
func (d *Database) examineLock(ctx context.Context, s *session, e *Examination) {
	check := relay.Check{Name: checkLock, Found: "free: no relay leads"}
	leaders, err := s.holders(ctx, d.lock)
	standbys, err2 := s.holders(ctx, d.standby)
	switch err := errors.Join(err, err2); {
	case err != nil:
		check.Severity, check.Found = relay.Warning, err.Error()
	case len(leaders) > 0 && !leaders[0].isRelay():
		check.Severity = relay.Fault
		check.Found = fmt.Sprintf("held by %s, which is no relay: none can lead", leaders[0])
		check.Fix = leaders[0].fix()
	case len(leaders) > 0:
		check.Found = fmt.Sprintf("held by the relay that leads (%s), %d stand by", leaders[0], len(standbys))
	}
	e.add(check)
	for _, h := range standbys {
		if !h.isRelay() {
			e.add(relay.Check{
				Name: checkStandbys, Severity: relay.Warning,
				Found: fmt.Sprintf("their lock is held by %s, which is no relay: a leader that cannot work gives way to it, for nothing", h),
				Fix:   h.fix(),
			})
			return
		}
	}
}
