package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema"
)

var (
	_ relay.Database = (*Database)(nil)
	_ relay.Control  = (*control)(nil)
	_ relay.Reader   = (*readSession)(nil)
)

// AfterSend says what becomes of a row that the broker has acknowledged.
type AfterSend uint8

// What becomes of an acknowledged row.
const (
	Mark   AfterSend = iota // sent_at is set
	Delete                  // the row is deleted
)

var afterSendNames = [...]string{"mark", "delete"}

// String returns the setting in lower case.
func (a AfterSend) String() string { return afterSendNames[a] }

// DeadPolicy says whether the rows behind a dead row of their key wait for it.
type DeadPolicy uint8

// What becomes of the rows behind a dead one.
const (
	SkipDead  DeadPolicy = iota // they are published
	BlockDead                   // they wait until it is replayed or gone
)

var deadPolicyNames = [...]string{"skip", "block"}

// String returns the setting in lower case.
func (p DeadPolicy) String() string { return deadPolicyNames[p] }

// Options of a [Database].
type Options struct {
	// URL is a libpq URL or keyword string. Several hosts are tried in turn.
	URL string
	// ReadURL returns the URL for one connection: its password may have been rotated.
	// It blocks no longer than reading a file takes. Nil: the URL stays.
	ReadURL func() (string, error)
	Table   schema.Table
	// Publication is the name, unquoted, of the publication that a tail reads. Empty:
	// [schema.DefaultPublication].
	Publication string
	// Coalesce is how long a tail waits before it reads, while transactions come fast:
	// [tail.Options].
	Coalesce time.Duration
	// AfterSend is [Mark] unless set.
	AfterSend AfterSend
	// Retention of sent rows. Zero: they are kept.
	Retention Retention
	// DeadPolicy is [SkipDead] unless set.
	DeadPolicy DeadPolicy
	// Environment is where this relay works, compared with what is noted beside the table.
	// Empty: it is not said.
	Environment string
	// Host names this relay in pg_stat_activity.
	Host string
	// Encryption judges each connection; nil: all are well.
	Encryption *relay.Encryption
	// Logger gets the server's notices, at debug level. Nil: they are dropped.
	Logger *slog.Logger
}

// Database opens sessions for one outbox table. Safe for concurrent use.
type Database struct {
	options Options
	config  *pgx.ConnConfig
	lock    lockKey
	standby lockKey
	pace    pace
	// unreadable rows are remembered over sessions.
	unreadable unreadable
	toldLater  sync.Once
}

// New checks the URL. It does not connect.
func New(o Options) (*Database, error) {
	if o.Publication == "" {
		o.Publication = schema.DefaultPublication
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	config, err := ParseURL(o.URL)
	if err != nil {
		return nil, err
	}
	Guard(&config.Config, o.Encryption)
	return &Database{options: o, config: config, lock: newLockKey(o.Table), standby: newStandbyKey(o.Table)}, nil
}

// connConfig returns the configuration of one new connection. The URL, and the files
// that it names (certificates, a password file), are read again for each connection:
// after a rotation the next one works without a restart.
func (d *Database) connConfig() (*pgx.ConnConfig, error) {
	url := d.options.URL
	if d.options.ReadURL != nil {
		var err error
		if url, err = d.options.ReadURL(); err != nil {
			return nil, setup(err, "read OUTBOX_DATABASE_URL")
		}
	}
	config, err := ParseURL(url)
	if err != nil {
		return nil, setup(err, "connect to PostgreSQL")
	}
	Guard(&config.Config, d.options.Encryption)
	return config, nil
}

// Connect opens the control session and checks the table.
func (d *Database) Connect(ctx context.Context) (relay.Control, error) {
	s, err := d.open(ctx, controlSettings)
	if err != nil {
		return nil, err
	}
	t, columns, err := s.checkSetup(ctx, d.options.AfterSend)
	if err != nil {
		s.close()
		return nil, err
	}
	if err := d.tellLater(ctx, s, t, columns); err != nil {
		s.close()
		return nil, err
	}
	if err := s.checkDeadPolicy(ctx, d.options.DeadPolicy); err != nil {
		s.close()
		return nil, err
	}
	server, err := s.identify(ctx)
	if err != nil {
		s.close()
		return nil, err
	}
	layout, err := s.lookUpLayout(ctx)
	if err != nil {
		s.close()
		return nil, err
	}
	c := &control{
		session: s, lock: d.lock, standby: d.standby, server: server, layout: layout,
		handover: listener{channel: d.lock.channel()},
		writes:   newWrites(d.options.Table, d.options.AfterSend, newLater(columns), layout),
		blockers: newBlockerReads(d.options.Table),
	}
	if c.noted, err = s.lookHere(ctx, d.options.Environment); err == nil {
		_, err = c.Note(ctx) // a relay that may not publish does not stand in the way of one that may
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return c, nil
}

// OpenReader opens the session that reads rows beside a control session.
func (d *Database) OpenReader(ctx context.Context, leader relay.Control) (relay.Reader, error) {
	c, ok := leader.(*control)
	if !ok {
		return nil, fmt.Errorf("open the read session: the control session is a %T, not one of this package", leader)
	}
	s, err := d.openVia(ctx, c.sameRoute, readSettings)
	if err != nil {
		return nil, err
	}
	if err := c.checkLeader(ctx, s.pg); err != nil {
		s.close()
		return nil, fmt.Errorf("open the read session: %w", err)
	}
	sw := &readSession{
		session: s, pace: &d.pace, unreadable: &d.unreadable, publication: d.options.Publication, deadPolicy: d.options.DeadPolicy,
		wake: listener{channel: d.options.Table.WakeChannel()},
	}
	if err := sw.describe(ctx); err != nil {
		s.close()
		return nil, err
	}
	return sw, nil
}

// errClosed: a session was used after its end, which is the caller's mistake.
var errClosed = errors.New("the session is closed")
