package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema"
)

var (
	_ relay.Database = (*Database)(nil)
	_ relay.Control  = (*control)(nil)
	_ relay.Sweep    = (*sweep)(nil)
)

// AfterSend says what becomes of a row that the broker has acknowledged.
type AfterSend uint8

// What becomes of an acknowledged row.
const (
	Mark   AfterSend = iota // sent_at is set
	Delete                  // the row is deleted
)

// Options of a [Database].
type Options struct {
	// URL is a libpq URL or keyword string. Several hosts are tried in turn.
	URL   string
	Table schema.Table
	// AfterSend is [Mark] unless set.
	AfterSend AfterSend
	// Host names this relay in pg_stat_activity.
	Host string
	// Logger gets what the server says beside its answers, at debug level. Nil:
	// nobody does.
	Logger *slog.Logger
}

// Database opens sessions for one outbox table. Safe for concurrent use.
type Database struct {
	options Options
	config  *pgx.ConnConfig
	lock    lockKey
	pace    pace
}

// New checks the URL. It does not connect.
func New(o Options) (*Database, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	config, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	return &Database{options: o, config: config, lock: newLockKey(o.Table)}, nil
}

// Connect opens the control session and checks the table.
func (d *Database) Connect(ctx context.Context) (relay.Control, error) {
	s, err := d.open(ctx, controlSettings)
	if err != nil {
		return nil, err
	}
	if err := s.checkSetup(ctx, d.options.AfterSend); err != nil {
		s.close()
		return nil, err
	}
	server, err := s.identify(ctx)
	if err != nil {
		s.close()
		return nil, err
	}
	return &control{session: s, lock: d.lock, server: server, writes: newWrites(d.options.Table, d.options.AfterSend)}, nil
}

// OpenSweep opens the session that reads rows beside a control session.
func (d *Database) OpenSweep(ctx context.Context, leader relay.Control) (relay.Sweep, error) {
	c, ok := leader.(*control)
	if !ok {
		return nil, fmt.Errorf("open sweep session: the control session is a %T, not one of this package", leader)
	}
	s, err := d.open(ctx, sweepSettings)
	if err != nil {
		return nil, err
	}
	if err := s.checkLeader(ctx, c); err != nil {
		s.close()
		return nil, err
	}
	sw := &sweep{session: s, pace: &d.pace}
	if err := sw.describe(ctx); err != nil {
		s.close()
		return nil, err
	}
	return sw, nil
}

// checkLeader looks, from the server that this session reached, whether the
// control session holds the lock there. With several hosts in the URL, or after
// a failover, the two sessions may have reached different servers.
func (s *session) checkLeader(ctx context.Context, c *control) error {
	server, err := s.identify(ctx)
	if err != nil {
		return err
	}
	if server != c.server {
		return fmt.Errorf("open sweep session: it reached another server than the control session: %w", relay.ErrNotLeader)
	}
	const held = `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted
		AND pid = $1 AND mode = 'ExclusiveLock' AND objsubid = 1 AND classid = $2::bigint::oid AND objid = $3::bigint::oid
		AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	var holds bool
	high, low := c.lock.halves()
	if err := s.conn.QueryRow(ctx, held, int64(c.pg.PID()), high, low).Scan(&holds); err != nil {
		return s.explain("look up the leadership lock", err)
	}
	if !holds {
		return fmt.Errorf("open sweep session: the control session does not hold the lock of %s: %w", s.table, relay.ErrNotLeader)
	}
	return nil
}

// server tells two servers, and two lives of one server, apart.
type server struct {
	started time.Time
	address string // database name, and the port that the server itself listens on
}

func (s *session) identify(ctx context.Context) (server, error) {
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	var id server
	err := s.conn.QueryRow(ctx,
		`SELECT pg_postmaster_start_time(), current_database() || ':' || current_setting('port')`).Scan(&id.started, &id.address)
	if err != nil {
		return id, s.explain("identify the server", err)
	}
	return id, nil
}

// errClosed: a session was used after its end, which is the caller's mistake.
var errClosed = errors.New("the session is closed")
