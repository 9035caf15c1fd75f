package postgres

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// route is how a session reaches PostgreSQL.
type route struct {
	// backend is the server's process that works for the session. A pooler tells its
	// clients another one, which it has made up.
	backend uint32
	// pooler is the address of the pooler in session mode that is in between; empty
	// where there is none.
	pooler string
	// server is PostgreSQL's own address of the connection; empty if that is a Unix
	// socket.
	server string

	asked     int64 // when, in microseconds since 1970 by the server's clock
	otherUsed bool  // the backend that was asked about has been used since
}

// findRoute runs before anything is set or locked. A pooler that lends its connections
// out for one transaction would pass both on to the application: its queries would
// run with another search_path, and the lock would stay on a connection that nobody
// can find. Such a pooler is an error. (Rule 20.)
func (d *Database) findRoute(ctx context.Context, pg *pgconn.PgConn) (route, error) {
	r, err := askRoute(ctx, pg)
	if err != nil || r.pooler == "" {
		return r, err
	}
	shared, err := d.sharesSessions(ctx, pg, r)
	switch {
	case err != nil:
		return r, fmt.Errorf("a pooler is in between, and it cannot be told whether each client keeps its connection: %w", err)
	case shared:
		return r, &flaw{
			found:  "a connection pooler in transaction mode is in between: no session can hold a lock or keep settings through it. Nothing was set or locked",
			advice: r.directly() + ", or to a pooler in session mode (PgBouncer: pool_mode = session)",
		}
	}
	return r, nil
}

// directly is what to do about a pooler.
func (r route) directly() string {
	if r.server == "" {
		return "set OUTBOX_DATABASE_URL to PostgreSQL itself and not to the pooler"
	}
	return "set OUTBOX_DATABASE_URL to PostgreSQL itself, whose own address is " + r.server
}

var routeStatement = files.Statement("route", nil)

// askRoute finds out how a session reaches PostgreSQL.
func askRoute(ctx context.Context, pg *pgconn.PgConn) (route, error) {
	return askBeside(ctx, pg, route{})
}

// askBeside is [askRoute], and looks besides whether the backend of another client
// has been used since that client asked.
func askBeside(ctx context.Context, pg *pgconn.PgConn, other route) (route, error) {
	type row struct {
		Backend   int64
		Asked     int64
		Host      *string
		Port      *int
		OtherUsed bool
	}
	r, err := sqltext.One[row](ctx, sqltext.Simple(pg), routeStatement, sqltext.Args{"other": other.backend, "other_asked": other.asked})
	if err != nil {
		return route{}, fmt.Errorf("ask for the server's process: %w", err)
	}
	found := route{backend: uint32(r.Backend), asked: r.Asked, otherUsed: r.OtherUsed}
	if r.Host != nil && r.Port != nil {
		found.server = net.JoinHostPort(*r.Host, strconv.Itoa(*r.Port))
	}
	if found.backend != pg.PID() {
		found.pooler = cmp.Or(pg.Conn().RemoteAddr().String(), "a Unix socket")
	}
	return found, nil
}

// poolerClients is how many clients are tried beside the first one. With one, a
// pooler that lends its connections out in turn, and has two, could go unnoticed.
const poolerClients = 2

// poolerDeadline is for all of them: a pooler that has no connection left lets
// its clients wait.
const poolerDeadline = 8 * time.Second

// sharesSessions says whether the pooler lends the backend of a client that is
// still there to others. In session mode no other client can have it, and the
// first one keeps it. In the other modes, that backend is the next one to be lent
// out, and either the second client gets it or somebody else has had it in
// between; or the backends take turns, and the first client gets another one when
// it asks again, or the third gets its. The clients' transactions stay open until
// the end, so that each takes a connection of its own. They set nothing.
func (d *Database) sharesSessions(ctx context.Context, first *pgconn.PgConn, owned route) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, poolerDeadline)
	defer cancel()
	dialer := newDialer()
	defer dialer.close() // the transactions end with their connections
	for range poolerClients {
		other, err := d.connectBeside(ctx, dialer, first)
		if err != nil {
			return false, fmt.Errorf("connect another client: %w", err)
		}
		shared, err := takesFrom(ctx, other, owned)
		if err != nil || shared {
			return shared, err
		}
		again, err := askRoute(ctx, first)
		if err != nil || again.backend != owned.backend {
			return err == nil, err
		}
		owned = again
	}
	return false, nil
}

// takesFrom says whether another client gets the backend of the first one, or
// sees it used. It leaves the other client's transaction open.
func takesFrom(ctx context.Context, other *pgconn.PgConn, owned route) (bool, error) {
	for _, begin := range []bool{false, true} {
		if begin {
			err := other.Exec(ctx, "BEGIN").Close()
			if sqltext.Code(err) == codeProtocolViolation {
				return true, nil // a pooler that refuses transactions is in statement mode
			}
			if err != nil {
				return false, fmt.Errorf("begin a transaction: %w", err)
			}
		}
		r, err := askBeside(ctx, other, owned)
		if err != nil || r.backend == owned.backend || r.otherUsed {
			return err == nil, err
		}
	}
	return false, nil
}

// connectBeside connects another client to where the first one is, whichever of
// several hosts that is.
func (d *Database) connectBeside(ctx context.Context, dialer *dialer, first *pgconn.PgConn) (*pgconn.PgConn, error) {
	current, err := d.connConfig()
	if err != nil {
		return nil, err
	}
	config := &current.Config
	config.RuntimeParams["application_name"] = d.applicationName()
	config.ValidateConnect = nil
	at := first.Conn().RemoteAddr()
	config.DialFunc = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.dial(ctx, at.Network(), at.String())
	}
	config.TLSConfig = tlsOf(config, first)
	config.Fallbacks = nil
	if host, _, err := net.SplitHostPort(at.String()); err == nil && at.Network() != "unix" {
		config.Host = host
	} else {
		config.Host = filepath.Dir(at.String())
	}
	return pgconn.ConnectConfig(ctx, config)
}

// tlsOf is how to secure a connection to the host that pg has reached.
func tlsOf(config *pgconn.Config, pg *pgconn.PgConn) *tls.Config {
	conn, ok := pg.Conn().(*tls.Conn)
	if !ok {
		return nil
	}
	name := conn.ConnectionState().ServerName
	candidates := []*tls.Config{config.TLSConfig}
	for _, f := range config.Fallbacks {
		candidates = append(candidates, f.TLSConfig)
	}
	for _, c := range candidates {
		if c != nil && c.ServerName == name {
			return c
		}
	}
	return config.TLSConfig
}

// examinePooler is called where the server's process is not the one that the
// client was told of: somebody in between answers for it.
func (d *Database) examinePooler(ctx context.Context, first *session, r route) relay.Check {
	product := d.namePooler(ctx)
	shared, err := d.sharesSessions(ctx, first.pg, r)
	check := relay.Check{Name: checkPooler, Severity: relay.Warning, Fix: r.directly()}
	switch {
	case err != nil:
		check.Severity = relay.Fault
		check.Found = fmt.Sprintf("%s is in between, and whether each client keeps its connection cannot be told: %v. "+
			"Nothing more of the database was examined through it", product, err)
	case shared:
		check.Severity = relay.Fault
		check.Found = product + " is in between, in transaction mode: the lock of the leader and the settings of a session " +
			"would go to other clients' transactions. Nothing more of the database was examined through it"
	default:
		check.Found = product + " is in between, in session mode: the relay polls through it, and reads the log only if " +
			"it passes replication on (PgBouncer 1.23 and later). It has to reset the connections that it takes back " +
			"(PgBouncer: server_reset_query = DISCARD ALL, the default), or a relay that is killed leaves its settings and its lock to other clients"
	}
	return check
}

// namePooler connects with a setting that PostgreSQL takes from any extension and
// PgBouncer does not pass on: it refuses the setting in words of its own, before
// authentication.
func (d *Database) namePooler(ctx context.Context) string {
	config := d.config.Copy()
	config.RuntimeParams["outbox_relay.probe"] = "on"
	s, err := d.openAs(ctx, config, untouched)
	if err == nil {
		s.close()
	}
	refused, ok := errors.AsType[*pgconn.PgError](err)
	if ok && refused.Code == codeProtocolViolation && strings.Contains(refused.Message, "unsupported startup parameter") {
		return "PgBouncer"
	}
	return "a connection pooler"
}

// untouched leaves a connection as it is.
func untouched(context.Context, *pgconn.PgConn) error { return nil }

// reset removes the relay's settings from a connection that goes back to a pooler. One
// without a server_reset_query would lend it to others with those settings.
func (s *session) reset(ctx context.Context) {
	if s.route.pooler != "" && !s.conn.IsClosed() {
		_, _ = s.conn.Exec(ctx, "DISCARD ALL", pgx.QueryExecModeSimpleProtocol) // the pooler resets it in most cases
	}
}
