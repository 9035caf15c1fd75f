package postgres

import (
	"context"
	"fmt"
	"time"
)

// reader is called once for each run of a statement. It looks the columns up, and
// returns the function that is called for each row. A row's values are valid only
// during that call.
type reader func(c *columns) func(row [][]byte)

// query runs a statement. If the table's shape has changed since it was prepared, so
// that the server no longer runs it, query prepares it again, once.
func (s *session) query(ctx context.Context, d time.Duration, st statement, given args, read reader) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	err := s.try(ctx, st, given, read)
	if isStale(err) {
		s.forget(ctx)
		err = s.try(ctx, st, given, read)
	}
	return err
}

func (s *session) try(ctx context.Context, st statement, given args, read reader) error {
	if s.pg.IsClosed() {
		return errClosed
	}
	params, err := st.order(given)
	if err != nil {
		return err
	}
	p, err := s.prepare(ctx, st)
	if err != nil {
		return err
	}
	c := columns{positions: p.positions}
	row := read(&c)
	if c.unknown != "" {
		return fmt.Errorf("statement %s has no column %s", st.name, c.unknown)
	}
	result := s.pg.ExecPrepared(ctx, st.name, params, binaryFormat, p.formats)
	for result.NextRow() {
		row(result.Values())
	}
	_, err = result.Close()
	return err
}

// binaryFormat, alone, stands for all parameters.
var binaryFormat = []int16{1}

// prepared is what the server has told of a statement's result.
type prepared struct {
	formats   []int16
	positions map[string]int
}

// columns tells where a result's columns are.
type columns struct {
	positions map[string]int
	unknown   string
}

// at is the position of a column.
func (c *columns) at(name string) int {
	position, ok := c.positions[name]
	if !ok {
		c.unknown = name
	}
	return position
}

func (s *session) prepare(ctx context.Context, st statement) (prepared, error) {
	if p, ok := s.prepared[st.name]; ok {
		return p, nil
	}
	description, err := s.pg.Prepare(ctx, st.name, st.sql, nil)
	if err != nil {
		return prepared{}, err
	}
	p := prepared{formats: make([]int16, len(description.Fields)), positions: make(map[string]int, len(description.Fields))}
	for i, field := range description.Fields {
		p.positions[field.Name] = i
		// The binary format of text and json is the text. That of a jsonb has a byte more.
		if field.DataTypeOID != oidJSONB {
			p.formats[i] = 1
		}
	}
	s.prepared[st.name] = p
	return p, nil
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

// queryRows does not prepare a stale statement again, as query does. [readSession.Chunk]
// does, since the payload may have got another type.
func (s *readSession) queryRows(ctx context.Context, st statement, given args, read reader) error {
	ctx, cancel := context.WithTimeout(ctx, readDeadline)
	defer cancel()
	return s.try(ctx, st, given, read)
}
