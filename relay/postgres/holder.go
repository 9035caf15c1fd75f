package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// silenceLimit is the longest time that the control session of a working relay stays
// in one state: it sends a heartbeat each second, and gives the longest statement up
// after writeDeadline. A backend that waits for a synchronous standby does not notice
// that its relay has been killed, and keeps the lock. So does a pooler's connection.
const silenceLimit = writeDeadline + 5*time.Second

// Holder looks up who holds the leadership lock. PostgreSQL gives such a lock to
// everybody who may connect, and asks for no privilege.
func (c *control) Holder(ctx context.Context) (relay.LockHolder, error) {
	all, err := c.holders(ctx, c.lock)
	if err != nil || len(all) == 0 {
		return relay.LockHolder{}, err
	}
	return all[0], nil
}

var holdersStatement = files.Statement("holders", nil)

// holders returns who holds a lock in this database, the oldest process first.
func (s *session) holders(ctx context.Context, lock lockKey) ([]relay.LockHolder, error) {
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	type row struct {
		PID                                      int64
		Prepared, Role, Application, State, Wait string
		Quiet                                    int64 // in microseconds
		NamedRelay                               bool
	}
	given := lock.args()
	given["relays"] = cut(relaysOf(s.table), maxName)
	rows, err := sqltext.All[row](ctx, sqltext.On(s.conn), holdersStatement, given)
	if err != nil {
		return nil, s.explain("look up who holds the lock", err)
	}
	found := make([]relay.LockHolder, len(rows))
	for i, r := range rows {
		quiet := time.Duration(r.Quiet) * time.Microsecond
		found[i] = relay.LockHolder{
			PID: r.PID, Prepared: r.Prepared, Role: r.Role, Application: r.Application, State: r.State, Wait: r.Wait,
			Quiet: quiet, Relay: r.NamedRelay && quiet < silenceLimit, Release: Release(r.PID, r.Prepared),
		}
	}
	return found, nil
}

// Release is the statement that takes a lock from a session, or from a prepared
// transaction if pid is 0.
func Release(pid int64, prepared string) string {
	if pid == 0 {
		return "ROLLBACK PREPARED " + sqltext.Literal(relay.OneLine(prepared)) + ";  -- or COMMIT PREPARED"
	}
	return fmt.Sprintf("SELECT pg_terminate_backend(%d);  -- as that role or a superuser", pid)
}

// examineLock looks up who leads, and whether a session that is no relay has taken the
// leadership lock, or the lock that standbys share.
func (d *Database) examineLock(ctx context.Context, s *session, e *Examination) {
	check := relay.Check{Name: checkLock, Found: "free: no relay leads"}
	leaders, err := s.holders(ctx, d.lock)
	standbys, err2 := s.holders(ctx, d.standby)
	switch err := errors.Join(err, err2); {
	case err != nil:
		check.Severity, check.Found = relay.Warning, err.Error()
	case len(leaders) > 0 && !leaders[0].Relay:
		check.Severity = relay.Fault
		check.Found = fmt.Sprintf("held by %s, which is not a working relay: no relay can lead", leaders[0])
		check.Fix = leaders[0].Release
	case len(leaders) > 0:
		check.Found = fmt.Sprintf("held by the relay that leads (%s), %d stand by", leaders[0], len(standbys))
	}
	e.add(check)
	for _, h := range standbys {
		if !h.Relay {
			e.add(relay.Check{
				Name: checkStandbys, Severity: relay.Warning,
				Found: fmt.Sprintf("their lock is held by %s, which is no relay: a leader that makes no progress would step down for it, in vain", h),
				Fix:   h.Release,
			})
			return
		}
	}
}
