package postgres

import (
	"context"
	"log/slog"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/schema"
)

// Deadlines of statements.
const (
	// shortDeadline is for statements that touch one row or none.
	shortDeadline = 10 * time.Second
	// writeDeadline is for a batch of outcomes. Locks cost it no more than a few
	// lock timeouts; the rest is a slow disk or a synchronous standby. It also
	// bounds how long a leader that is cut off can go on believing in its session.
	writeDeadline = 15 * time.Second
	// readDeadline is for a chunk. The dead entries of an index that no vacuum
	// has reached can make the first one slow.
	readDeadline = 60 * time.Second
	// closeGrace is how long closing may take after a statement was cut off: the driver
	// asks the server to cancel it.
	closeGrace = 500 * time.Millisecond
)

// session is one connection with the pinned settings.
type session struct {
	conn     *pgx.Conn
	pg       *pgconn.PgConn // of conn
	dialer   *dialer
	route    route
	notified int // notifications of other sessions since this was last reset
	table    schema.Table
	prepared map[string]prepared
}

func (d *Database) open(ctx context.Context, settings []setting) (*session, error) {
	return d.openVia(ctx, d.findRoute, settings)
}

// openVia makes the settings after find has accepted the route to the server.
func (d *Database) openVia(ctx context.Context, find func(context.Context, *pgconn.PgConn) (route, error), settings []setting) (*session, error) {
	config, err := d.connConfig()
	if err != nil {
		return nil, err
	}
	var found route
	s, err := d.openAs(ctx, config, func(ctx context.Context, pg *pgconn.PgConn) error {
		var err error
		if found, err = find(ctx, pg); err != nil {
			return err
		}
		return pin(ctx, pg, settings)
	})
	if err != nil {
		return nil, err
	}
	s.route = found
	return s, nil
}

// openAs connects as config says, and runs prepare on the connection before anything
// else.
func (d *Database) openAs(ctx context.Context, config *pgx.ConnConfig, prepare func(context.Context, *pgconn.PgConn) error) (*session, error) {
	s := &session{dialer: newDialer(), table: d.options.Table, prepared: make(map[string]prepared)}
	config.DialFunc = s.dialer.dial
	config.RuntimeParams["application_name"] = d.applicationName()
	config.RuntimeParams["client_encoding"] = "UTF8"
	config.OnNotice = d.logNotice
	// The driver would collect all that come until somebody asks for them.
	config.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) {
		if n.PID != s.route.backend { // not this session's own, from Resign
			s.notified++
		}
	}
	// target_session_attrs is checked here. A role with default_transaction_read_only
	// would seem to be on a standby, so the settings go first.
	accept := config.ValidateConnect
	config.ValidateConnect = func(ctx context.Context, pg *pgconn.PgConn) error {
		if err := prepare(ctx, pg); err != nil || accept == nil {
			return err
		}
		return accept(ctx, pg)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		s.dialer.close()
		return nil, s.explain("connect to PostgreSQL", err)
	}
	s.conn, s.pg = conn, conn.PgConn()
	return s, nil
}

// maxName is PostgreSQL's NAMEDATALEN - 1.
const maxName = 63

func (d *Database) applicationName() string {
	return cut(relaysOf(d.options.Table)+d.options.Host, maxName)
}

// relaysOf begins the application_name of the sessions of all relays of a table.
func relaysOf(table schema.Table) string { return "outbox-relay " + table.String() + " " }

// cut returns the first n bytes of s, fewer where a character would be split.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// close ends the session. It sends a farewell but waits for no answer; when a
// statement was cut off, or a pooler is in between, it takes at most closeGrace.
func (s *session) close() {
	if s.pg.IsClosed() {
		timer := time.NewTimer(closeGrace)
		defer timer.Stop()
		select {
		case <-s.pg.CleanupDone():
		case <-timer.C:
		}
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
		s.reset(ctx)
		_ = s.conn.Close(ctx) // it is closed either way
		cancel()
	}
	s.dialer.close()
}

// logNotice logs the server's words. Those of a function, such as an application's trigger,
// may quote the row, so only its place is told.
func (d *Database) logNotice(_ *pgconn.PgConn, n *pgconn.Notice) {
	words := slog.String("message", n.Message)
	if n.Where != "" {
		place, _, _ := strings.Cut(n.Where, "\n")
		words = slog.String("where", place)
	}
	d.options.Logger.LogAttrs(context.Background(), slog.LevelDebug, "notice from PostgreSQL", slog.String("severity", n.Severity), words)
}
