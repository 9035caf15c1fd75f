package postgres

import (
	"context"
	"errors"
	"time"
)

// control is the session of leadership and outcomes.
type control struct {
	*session
	lock    lockKey
	standby lockKey
	server  server
	writes  writes

	blockers blockerReads

	leads   bool
	listens bool
	waits   bool // shares the lock of the standbys
}

// TryLead takes the lock if it is free.
func (c *control) TryLead(ctx context.Context) (bool, error) {
	if c.leads {
		// The lock counts its takers: taken twice it would have to be freed twice.
		return true, c.Heartbeat(ctx)
	}
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	err := c.conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, int64(c.lock)).Scan(&c.leads)
	if err != nil {
		return false, c.explain("take the leadership lock", err)
	}
	if !c.leads && !c.waits {
		if err := c.conn.QueryRow(ctx, `SELECT pg_try_advisory_lock_shared($1)`, int64(c.standby)).Scan(&c.waits); err != nil {
			return false, c.explain("take the lock of the standbys", err)
		}
	}
	return c.leads, nil
}

// Standbys counts the sessions that share the standbys' lock.
func (c *control) Standbys(ctx context.Context) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, heartbeatDeadline)
	defer cancel()
	var n int
	err := c.conn.QueryRow(ctx, `SELECT count(*) FROM pg_locks WHERE pid <> pg_backend_pid() AND `+c.standby.isHeld("")).Scan(&n)
	if err != nil {
		return 0, c.explain("count the standbys", err)
	}
	return n, nil
}

// AwaitHandover blocks until a leader resigned or d has passed.
func (c *control) AwaitHandover(ctx context.Context, d time.Duration) error {
	if !c.listens {
		setup, cancel := context.WithTimeout(ctx, shortDeadline)
		_, err := c.conn.Exec(setup, "LISTEN "+c.lock.channel())
		cancel()
		if err != nil {
			return c.explain("listen for a hand-over", err)
		}
		c.listens = true
	}
	wait, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for {
		n, err := c.conn.WaitForNotification(wait)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case wait.Err() != nil && errors.Is(err, context.DeadlineExceeded):
			return nil
		case err != nil:
			return c.explain("wait for a hand-over", err)
		case n.PID != c.route.backend: // not this session's own farewell
			return nil
		}
	}
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

// heartbeatDeadline bounds how long a leader believes in a session that answers
// no more: about as long as idle_session_timeout, after which the server gives its
// lock away. A write that is under way then may take up to writeDeadline; what two
// leaders publish meanwhile is sent twice, and nothing is lost.
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
