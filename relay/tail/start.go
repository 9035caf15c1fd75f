package tail

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// Start has the server begin to send. It blocks until the server has agreed or
// ctx ends. Call it once; after an error the stream is of no use.
func (s *Stream) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	err := s.takeOver(ctx)
	if err == nil {
		err = s.begin(ctx)
	}
	if err != nil {
		return fmt.Errorf("start replication: %w", err)
	}
	return nil
}

// takeOver takes the connection from the driver, which does not support COPY in both
// directions at once.
func (s *Stream) takeOver(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return ErrClosed
	case s.reporter != nil:
		return errors.New("it has been started before")
	}
	if err := watchClient(ctx, s.pg); err != nil {
		return err
	}
	hijacked, err := s.pg.Hijack()
	if err != nil {
		return fmt.Errorf("take over the connection: %w", err)
	}
	s.link.takeOver(hijacked.Conn, 2*s.options.SenderTimeout, s.options.Coalesce)
	if err := hijacked.Conn.SetWriteDeadline(time.Now().Add(writeDeadline)); err != nil {
		return err
	}
	s.reporter = newReporter(hijacked.Conn, &s.link.heard, s.options.updateInterval())
	s.reporter.confirm(s.from)
	// A status update that comes before the server has agreed means nothing to it.
	go s.reporter.run()
	return nil
}

// begin asks for the stream and waits for the server to agree.
func (s *Stream) begin(ctx context.Context) error {
	sql := fmt.Sprintf("START_REPLICATION SLOT %s LOGICAL 0/0 (proto_version '1', publication_names %s)",
		s.slot.quoted(), sqltext.ReplicationLiteral(sqltext.Identifier(s.options.Publication)))
	b := binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(4+len(sql)+1))
	b = append(append(b, sql...), 0)
	if _, err := s.link.conn.Write(b); err != nil {
		return err
	}
	for {
		m, err := s.link.next(ctx)
		if errors.Is(err, errInterrupted) {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		agreed := m.kind == 'W'
		if m.kind == 'E' {
			return s.refused(&m)
		}
		if err := s.link.done(&m); err != nil || agreed {
			return err
		}
	}
}

// refused reads an ErrorResponse.
func (s *Stream) refused(m *message) error {
	b, err := m.all()
	if err != nil {
		return err
	}
	var response pgproto3.ErrorResponse
	if err := response.Decode(b); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	pgErr := pgconn.ErrorResponseToPgError(&response)
	switch pgErr.Code {
	case codeUndefinedObject:
		return s.publicationGone(pgErr)
	case codeAdminShutdown, codeCrashShutdown:
		return fmt.Errorf("%w: %w", ErrEnded, pgErr)
	}
	return pgErr
}

// noticed reads a NoticeResponse. PostgreSQL 18 goes on without a publication
// that is missing, and only says so.
func (s *Stream) noticed(m *message) error {
	b, err := m.all()
	if err != nil {
		return err
	}
	var response pgproto3.NoticeResponse
	if err := response.Decode(b); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if response.Code != codeNotInState {
		return nil
	}
	notice := pgproto3.ErrorResponse(response)
	return s.publicationGone(pgconn.ErrorResponseToPgError(&notice))
}

func (s *Stream) publicationGone(cause error) error {
	return &UnavailableError{
		Reason: ReasonPublication, Cause: cause,
		Text: fmt.Sprintf("publication %s is missing from the log: run outbox-relay migrate", sqltext.Identifier(s.options.Publication)),
	}
}
