package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// server tells two servers, and two lives of one server, apart.
type server struct {
	started int64  // microseconds since 1970
	address string // database name, and the port that the server itself listens on
}

// Expressions of the two, for the simple protocol and the other one alike.
const (
	serverStarted = `(extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint`
	serverAddress = `current_database() || ':' || current_setting('port')`
)

func (s *session) identify(ctx context.Context) (server, error) {
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	var id server
	err := s.conn.QueryRow(ctx, `SELECT `+serverStarted+`, `+serverAddress).Scan(&id.started, &id.address)
	if err != nil {
		return id, s.explain("identify the server", err)
	}
	return id, nil
}

// checkLeader looks, from the server that a second session has reached, whether
// the control session holds the lock there. With several hosts in the URL, or
// after a failover, the two may have reached different servers. It uses the simple
// protocol, the only one of replication sessions, and the server's process id: a
// pooler gives its clients another one.
func (c *control) checkLeader(ctx context.Context, pg *pgconn.PgConn) error {
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	sql := fmt.Sprintf(`SELECT %s = %d AND %s = %s, EXISTS (SELECT FROM pg_locks WHERE mode = 'ExclusiveLock' AND pid = %d AND %s)`,
		serverStarted, c.server.started, serverAddress, sqltext.Literal(c.server.address), c.route.backend, c.lock.isHeld(""))
	results, err := pg.Exec(ctx, sql).ReadAll()
	if err != nil {
		return c.explain("look up the leadership lock", err)
	}
	row := results[0].Rows[0]
	switch {
	case string(row[0]) != "t":
		return fmt.Errorf("it reached another server than the control session: %w", relay.ErrNotLeader)
	case string(row[1]) != "t":
		return fmt.Errorf("the control session does not hold the lock of %s: %w", c.table, relay.ErrNotLeader)
	}
	return nil
}

// sameRoute finds the route of a second session. The control session has tested its
// pooler; another pooler may share its connections among clients.
func (c *control) sameRoute(ctx context.Context, pg *pgconn.PgConn) (route, error) {
	r, err := askRoute(ctx, pg)
	if err == nil && r.pooler != "" && r.pooler != c.route.pooler {
		err = fmt.Errorf("a pooler is in between at %s, which the control session did not reach: %w", r.pooler, relay.ErrNotLeader)
	}
	return r, err
}
