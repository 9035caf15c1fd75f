package tail

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// Errors of a [Stream].
var (
	// ErrEnded: the server ended the stream: it shuts down, an administrator ended the
	// session, or the connection was closed without a reason.
	ErrEnded = errors.New("PostgreSQL ended the replication stream")
	// ErrClosed: the stream was closed by [Stream.Close].
	ErrClosed = errors.New("the replication stream is closed")
	// ErrSilent: the server did not answer for twice the sender timeout.
	ErrSilent = errors.New("no word from PostgreSQL")
)

// Stream reads the rows inserted into one table from the log. [Stream.Next] is
// for one goroutine; [Stream.Close], [Stream.Slot], [Stream.From] and
// [Stream.Position] may be called from any.
type Stream struct {
	options Options
	link    *link
	decoder decoder
	slot    SlotName
	from    wal.LSN

	mu       sync.Mutex
	pg       *pgconn.PgConn // until Start
	reporter *reporter      // from Start on
	closed   bool

	broken error // what ended the stream; Next's alone
}

// Slot is the name of the replication slot.
func (s *Stream) Slot() SlotName { return s.slot }

// From is where in the log the stream starts: transactions that commit
// afterwards are in it.
func (s *Stream) From() wal.LSN { return s.from }

// Position is how far the log has been read.
func (s *Stream) Position() wal.LSN {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.reporter == nil {
		return s.from
	}
	return wal.LSN(s.reporter.position.Load())
}

// Next returns the next event, which the caller may keep. It blocks until there is one,
// or ctx ends, or the connection is broken. Call it after [Stream.Start].
//
// If ctx ends, the stream is as it was; a row that has begun to arrive is read to its
// end, unless the stream is closed. After any other error the stream is of no use:
// close it. An [UnavailableError] names what a person has to fix.
func (s *Stream) Next(ctx context.Context) (Event, error) {
	for s.broken == nil {
		if err := ctx.Err(); err != nil {
			return Event{}, err
		}
		ev, ok, err := s.step(ctx)
		switch {
		case errors.Is(err, errInterrupted):
			return Event{}, ctx.Err()
		case err != nil:
			s.broken = s.explain(err)
		case ok:
			return ev, nil
		}
	}
	return Event{}, s.broken
}

// step reads one message. ok is false if it is not for the caller.
func (s *Stream) step(ctx context.Context) (ev Event, ok bool, err error) {
	m, err := s.link.next(ctx)
	if err != nil {
		return Event{}, false, err
	}
	if ev, ok, err = s.read(&m); err != nil {
		return Event{}, false, err
	}
	return ev, ok, s.link.done(&m)
}

// read reads a message of the protocol.
func (s *Stream) read(m *message) (Event, bool, error) {
	switch m.kind {
	case 'd':
		return s.data(&m.body)
	case 'E':
		return Event{}, false, s.refused(m)
	case 'N':
		return Event{}, false, s.noticed(m)
	case 'S':
		return Event{}, false, nil // a setting of the server has changed
	case 'c', 'C':
		return Event{}, false, ErrEnded
	}
	return Event{}, false, fmt.Errorf("%w: of the unknown kind %q within the stream", ErrProtocol, m.kind)
}

// data reads what CopyData carries.
func (s *Stream) data(in *input) (Event, bool, error) {
	switch kind := in.byte(); kind {
	case 'w':
		lsn := wal.LSN(in.uint64())
		in.skip(8 + 8) // how far the server is, and its clock
		ev, ok, err := s.decoder.decode(in, lsn)
		if ev.Kind == Commit && err == nil {
			s.reporter.confirm(ev.LSN)
		}
		if c := s.link.coalescer; c != nil {
			c.count(ev.Kind)
		}
		return ev, ok, err
	case 'k':
		ev := Event{Kind: Keepalive, LSN: wal.LSN(in.uint64())}
		in.skip(8) // its clock
		reply := in.byte() != 0
		if in.err != nil {
			return Event{}, false, in.err
		}
		s.reporter.confirm(ev.LSN)
		if reply {
			s.reporter.answer()
		}
		return ev, true, nil
	default:
		in.fail(fmt.Errorf("%w: CopyData of the unknown kind %q", ErrProtocol, kind))
		return Event{}, false, in.err
	}
}

// explain says why the stream is over.
func (s *Stream) explain(err error) error {
	s.mu.Lock()
	closed, reporter := s.closed, s.reporter
	s.mu.Unlock()
	switch {
	case closed:
		return ErrClosed
	case reporter != nil && reporter.cause() != nil:
		err = reporter.cause()
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = fmt.Errorf("%w for %s", ErrSilent, s.link.patience)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed):
		err = fmt.Errorf("%w: %w", ErrEnded, err)
	}
	return fmt.Errorf("read the log of %s: %w", s.options.Table, err)
}

// Close ends the stream, and its slot with the connection. It takes half a second at
// most, since it does not wait for the server's answer. A [Stream.Next] that blocks
// returns [ErrClosed]. Close waits for a [Stream.Start], so end that one's context
// first. Idempotent.
func (s *Stream) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.closed = true
	if s.reporter != nil {
		s.reporter.end()
	} else {
		closeSession(s.pg)
	}
	s.link.close()
}

// closeSession ends a session that the driver still has. When a statement was
// cut off, the driver is busy asking the server to give it up.
func closeSession(pg *pgconn.PgConn) {
	if pg.IsClosed() {
		timer := time.NewTimer(closeGrace)
		defer timer.Stop()
		select {
		case <-pg.CleanupDone():
		case <-timer.C:
		}
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	_ = pg.Close(ctx) // it is closed either way
}
