package postgres

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/tail"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// OpenTail opens the session that reads the log beside a control session.
func (d *Database) OpenTail(ctx context.Context, leader relay.Control, limit func() int64) (relay.Tail, error) {
	c, ok := leader.(*control)
	if !ok {
		return nil, fmt.Errorf("open the tail: the control session is a %T, not one of this package", leader)
	}
	config, err := d.connConfig()
	if err != nil {
		return nil, err
	}
	stream, err := tail.Open(ctx, tail.Options{
		Config:          &config.Config,
		Table:           d.options.Table,
		Publication:     d.options.Publication,
		ApplicationName: d.applicationName(),
		MaxMessageBytes: limit,
		Coalesce:        d.options.Coalesce,
		Accept: func(ctx context.Context, pg *pgconn.PgConn) error {
			return c.checkLeader(ctx, pg)
		},
	})
	if err != nil {
		return nil, asNoTail(err)
	}
	if err := stream.Fence(ctx); err != nil {
		stream.Close()
		return nil, asNoTail(err)
	}
	return &logReader{Stream: stream}, nil
}

// logReader is a [tail.Stream] as a [relay.Tail].
type logReader struct{ *tail.Stream }

// Slot is the name of the replication slot.
func (r *logReader) Slot() string { return string(r.Stream.Slot()) }

// Start has the stream begin.
func (r *logReader) Start(ctx context.Context) error { return asNoTail(r.Stream.Start(ctx)) }

// Next returns what the log tells next.
func (r *logReader) Next(ctx context.Context) (relay.TailEvent, error) {
	ev, err := r.Stream.Next(ctx)
	for err == nil && ev.Kind == tail.Begin { // it tells nothing yet
		ev, err = r.Stream.Next(ctx)
	}
	if err != nil {
		return relay.TailEvent{}, asNoTail(err)
	}
	told := relay.TailEvent{Position: r.Position(), XID: ev.XID}
	if ev.Kind != tail.Row {
		return told, nil
	}
	told.Message, told.Pending, told.Due = ev.Message, ev.Pending, ev.Due
	switch {
	case ev.Due:
	case ev.AvailableAt.IsZero():
		told.Wait = -1
	default:
		told.Wait = ev.AvailableAt.Sub(ev.CommitTime)
	}
	return told, nil
}

// noTail is an error that a person has to fix before there is a tail.
type noTail struct{ error }

func (e noTail) Unwrap() error        { return e.error }
func (e noTail) Is(target error) bool { return target == relay.ErrNoTail }

func asNoTail(err error) error {
	if _, ok := errors.AsType[*tail.UnavailableError](err); ok {
		return noTail{err}
	}
	return err
}

var snapshotStatement = newStatement("snapshot", "", nil)

// Snapshot is what a statement sees now.
func (s *session) Snapshot(ctx context.Context) (wal.Snapshot, error) {
	var taken wal.Snapshot
	var parseErr error
	err := s.query(ctx, shortDeadline, snapshotStatement, nil, func(c *columns) func([][]byte) {
		at := c.at("snapshot")
		return func(row [][]byte) { taken, parseErr = wal.ParseSnapshot(string(row[at])) }
	})
	if err := errors.Join(err, parseErr); err != nil {
		return wal.Snapshot{}, s.explain("take a snapshot", err)
	}
	return taken, nil
}

// InspectTail looks at the publication and at the slot.
func (s *readSession) InspectTail(ctx context.Context, t relay.Tail) (relay.TailLag, error) {
	lag, err := tail.Inspect(ctx, s.pg, s.publication, s.table, tail.SlotName(t.Slot()))
	if errors.Is(err, tail.ErrNoSlot) {
		return relay.TailLag{}, noTail{err}
	}
	return relay.TailLag{Retained: lag.Retained, Read: lag.Read, End: lag.End}, asNoTail(err)
}
