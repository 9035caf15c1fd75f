package tail

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/schema"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// Options of a [Stream].
type Options struct {
	// Config says where to connect; [Open] copies it.
	Config *pgconn.Config
	Table  schema.Table
	// Publication is the publication's name, unquoted. Empty:
	// [schema.DefaultPublication].
	Publication string
	// ApplicationName is what pg_stat_activity shows.
	ApplicationName string
	// SlotPrefix begins the slot's name; a random suffix follows. Characters that a
	// slot's name cannot have become underscores. Empty: outbox_relay.
	SlotPrefix string
	// LockTimeout is how long the slot's creation waits for one open transaction,
	// CreateTimeout how long it may take in all. 0: 5 s and 10 s.
	LockTimeout, CreateTimeout time.Duration
	// SenderTimeout is wal_sender_timeout: after how long of silence the server ends the
	// stream. 0: 15 s.
	SenderTimeout time.Duration
	// Coalesce is how long the stream waits before it reads, while transactions that insert
	// into the table come fast (from 4,000 a second on), so that it reads many at once. 0: it
	// never waits.
	Coalesce time.Duration
	// MaxMessageBytes is the longest payload that is read, asked for each row; 0 is
	// no limit. Nil: there is none.
	MaxMessageBytes func() int64
	// Accept checks the session before anything else is done with it, for example
	// whether it reached the server on which the leader holds its lock. It can use
	// only the simple protocol. Nil: every session is accepted.
	Accept func(context.Context, *pgconn.PgConn) error
}

func (o Options) withDefaults() Options {
	set := func(d *time.Duration, standard time.Duration) {
		if *d <= 0 {
			*d = standard
		}
	}
	set(&o.LockTimeout, 5*time.Second)
	set(&o.CreateTimeout, 10*time.Second)
	set(&o.SenderTimeout, 15*time.Second)
	if o.Publication == "" {
		o.Publication = schema.DefaultPublication
	}
	if o.SlotPrefix == "" {
		o.SlotPrefix = "outbox_relay"
	}
	if o.MaxMessageBytes == nil {
		o.MaxMessageBytes = func() int64 { return 0 }
	}
	return o
}

// updateInterval is how often a status update says how far the log was read. That is
// often enough to keep the connection alive, and so that the slot retains no more than
// a second of the log.
func (o Options) updateInterval() time.Duration {
	return min(time.Second, o.SenderTimeout/4)
}

// Open connects, checks that the log will have the table's rows, and creates a temporary
// replication slot, which goes with its connection. It blocks until the
// transactions that are open at that moment have ended, at most for the options'
// timeouts, or ctx ends. No rows come before [Stream.Start]; those of
// transactions that commit in between come then.
//
// An [UnavailableError] says why the log cannot be read. After any error nothing
// is left, neither here nor, as soon as it notices, on the server.
func Open(ctx context.Context, o Options) (*Stream, error) {
	o = o.withDefaults()
	l := newLink()
	pg, err := connect(ctx, o, l)
	if err != nil {
		l.close()
		return nil, fmt.Errorf("connect for replication: %w", err)
	}
	s := &Stream{options: o, link: l, pg: pg, slot: newSlotName(o.SlotPrefix)}
	if err := s.prepare(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// prepare does everything that comes before Start.
func (s *Stream) prepare(ctx context.Context) error {
	if s.options.Accept != nil {
		if err := s.options.Accept(ctx, s.pg); err != nil {
			return err
		}
	}
	if err := checkStandby(ctx, s.pg); err != nil {
		return err
	}
	if err := checkSynchronous(ctx, s.pg); err != nil {
		return err
	}
	if err := CheckPublication(ctx, s.pg, s.options.Publication, s.options.Table); err != nil {
		return err
	}
	domains, err := lookUpDomains(ctx, s.pg, s.options.Table)
	if err != nil {
		return err
	}
	s.decoder = decoder{table: s.options.Table, domains: domains, limit: s.options.MaxMessageBytes}
	s.from, err = createSlot(ctx, s.pg, s.options, s.slot)
	return err
}

var (
	standbyStatement = statements.Statement("standby", nil)
	domainsStatement = statements.Statement("domains", nil)
)

func checkStandby(ctx context.Context, pg *pgconn.PgConn) error {
	server, err := one[struct{ Standby bool }](ctx, pg, standbyStatement, nil)
	if err != nil {
		return fmt.Errorf("look up the server's state: %w", err)
	}
	if server.Standby {
		return standby(nil)
	}
	return nil
}

// lookUpDomains returns the base types of the domains among the table's columns.
func lookUpDomains(ctx context.Context, pg *pgconn.PgConn, table schema.Table) (map[typeID]typeID, error) {
	rows, err := all[struct{ Domain, Base uint32 }](ctx, pg, domainsStatement, named(table))
	if err != nil {
		return nil, fmt.Errorf("look up the types of %s: %w", table, err)
	}
	domains := make(map[typeID]typeID, len(rows))
	for _, r := range rows {
		domains[typeID(r.Domain)] = typeID(r.Base)
	}
	return domains, nil
}

// SlotName is the name of a replication slot: lower-case letters, digits and
// underscores, 1 to 63 of them.
type SlotName string

// maxSlotName is PostgreSQL's NAMEDATALEN - 1.
const maxSlotName = 63

// newSlotName adds a random suffix: a relay that was killed may have left a
// session, and with it a slot, behind for a moment.
func newSlotName(prefix string) SlotName {
	var random [8]byte
	_, _ = rand.Read(random[:]) // never fails
	suffix := "_" + hex.EncodeToString(random[:])
	clean := strings.Map(func(r rune) rune {
		switch {
		case 'a' <= r && r <= 'z', '0' <= r && r <= '9', r == '_':
			return r
		case 'A' <= r && r <= 'Z':
			return r + 'a' - 'A'
		}
		return '_'
	}, prefix)
	return SlotName(clean[:min(len(clean), maxSlotName-len(suffix))] + suffix)
}

// valid checks what is written at the type.
func (n SlotName) valid() bool {
	return len(n) >= 1 && len(n) <= maxSlotName &&
		strings.Trim(string(n), "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

func (n SlotName) quoted() string { return sqltext.Identifier(string(n)) }
