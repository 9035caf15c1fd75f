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
	Started int64  // microseconds since 1970
	Address string // database name, and the port that the server itself listens on
}

var (
	serverStatement = files.Statement("server", nil)
	leaderStatement = files.Statement("leader", nil)
)

func (s *session) identify(ctx context.Context) (server, error) {
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	id, err := sqltext.One[server](ctx, sqltext.On(s.conn), serverStatement, nil)
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
	given := c.lock.args()
	given["started"], given["address"], given["backend"] = c.server.Started, c.server.Address, c.route.backend
	there, err := sqltext.One[struct{ SameServer, Leads bool }](ctx, sqltext.Simple(pg), leaderStatement, given)
	switch {
	case err != nil:
		return c.explain("look up the leadership lock", err)
	case !there.SameServer:
		return fmt.Errorf("it reached another server than the control session: %w", relay.ErrNotLeader)
	case !there.Leads:
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
