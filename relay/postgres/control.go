package postgres

import (
	"context"
	"time"

	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// control is the session of leadership and outcomes.
type control struct {
	*session
	lock    lockKey
	standby lockKey
	server  server
	layout  layout
	writes  writes
	noted   noted

	blockers blockerReads

	leads bool
	waits bool // shares the lock of the standbys

	handover listener
}

// TryLead takes the lock if it is free.
func (c *control) TryLead(ctx context.Context) (bool, error) {
	if c.leads {
		// Taken twice, the lock would have to be freed twice.
		return true, c.Heartbeat(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	err := c.conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, int64(c.lock)).Scan(&c.leads)
	if err != nil {
		return false, c.explain("take the leadership lock", err)
	}
	if c.leads { // notifications would be in the way of its answers
		return true, c.unlisten(ctx, &c.handover)
	}
	if !c.waits {
		if err := c.conn.QueryRow(ctx, `SELECT pg_try_advisory_lock_shared($1)`, int64(c.standby)).Scan(&c.waits); err != nil {
			return false, c.explain("take the lock of the standbys", err)
		}
	}
	return false, nil
}

var standbysStatement = files.Statement("standbys", nil)

// Standbys counts the sessions that share the standbys' lock.
func (c *control) Standbys(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, heartbeatDeadline)
	defer cancel()
	standbys, err := sqltext.One[struct{ Sessions int }](ctx, sqltext.On(c.conn), standbysStatement, c.standby.args())
	if err != nil {
		return 0, c.explain("count the standbys", err)
	}
	return standbys.Sessions, nil
}

// AwaitHandover blocks until a notification comes or d has passed, and for rest at
// least. A notification that came since the last call counts.
func (c *control) AwaitHandover(ctx context.Context, rest, d time.Duration) error {
	_, err := c.await(ctx, ctx, &c.handover, rest, d)
	if err != nil && ctx.Err() == nil {
		return c.explain("wait for a hand-over", err)
	}
	return err
}

// Resign frees the lock and wakes the standbys, who find it free: the lock goes
// when the statement runs, the notification when it commits.
func (c *control) Resign(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	_, err := c.conn.Exec(ctx, `SELECT pg_advisory_unlock_all(), pg_notify($1, '')`, c.lock.channel())
	if err != nil {
		return c.explain("resign", err)
	}
	c.leads, c.waits = false, false
	return nil
}

// heartbeatDeadline bounds how long a leader believes in a session that no longer
// answers. It is about as long as idle_session_timeout, after which the server frees
// the lock. A write that has begun may take up to writeDeadline; what two leaders
// publish meanwhile is sent twice, and nothing is lost.
const heartbeatDeadline = 4 * time.Second

// Heartbeat is one round trip.
func (c *control) Heartbeat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, heartbeatDeadline)
	defer cancel()
	if err := c.conn.Ping(ctx); err != nil {
		return c.explain("send a heartbeat", err)
	}
	return nil
}

// Close ends the session, and with it the leadership.
func (c *control) Close() {
	c.leads = false
	c.close()
}
