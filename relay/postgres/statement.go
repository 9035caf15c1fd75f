package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// statement is prepared at its first use and then known by its name.
type statement struct {
	name    string
	sql     string
	formats []int16 // of the result's columns
}

// query runs a statement with binary parameters and calls row for each row of
// its result, whose values are valid only during the call.
//
// A statement that the server cannot run any more because the table's shape has
// changed since it was prepared is prepared again, once.
func (s *session) query(ctx context.Context, d time.Duration, st statement, params [][]byte, row func([][]byte)) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	err := s.try(ctx, st, params, row)
	if isStale(err) {
		s.forget(ctx)
		err = s.try(ctx, st, params, row)
	}
	return err
}

func (s *session) try(ctx context.Context, st statement, params [][]byte, row func([][]byte)) error {
	if s.pg.IsClosed() {
		return errClosed
	}
	if _, err := s.prepare(ctx, st); err != nil {
		return err
	}
	result := s.pg.ExecPrepared(ctx, st.name, params, binaryFormat, st.formats)
	for result.NextRow() {
		row(result.Values())
	}
	_, err := result.Close()
	return err
}

// binaryFormat, alone, stands for all parameters.
var binaryFormat = []int16{1}

func (s *session) prepare(ctx context.Context, st statement) (*pgconn.StatementDescription, error) {
	if description, ok := s.prepared[st.name]; ok {
		return description, nil
	}
	description, err := s.pg.Prepare(ctx, st.name, st.sql, nil)
	if err != nil {
		return nil, err
	}
	s.prepared[st.name] = description
	return description, nil
}

// forget drops all prepared statements, here and on the server.
func (s *session) forget(ctx context.Context) {
	for name := range s.prepared {
		// One that the server does not know either is no error; a connection that is
		// gone will be one at the next statement.
		_ = s.pg.Deallocate(ctx, name)
	}
	clear(s.prepared)
}
