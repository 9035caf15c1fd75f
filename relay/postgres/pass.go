package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// readSession is the session that reads the table.
type readSession struct {
	*session
	pace        *pace
	unreadable  *unreadable
	publication string
	deadPolicy  DeadPolicy
	payload     payloadKind
	layout      layout
	statements  reads
	// expansion is by what factor large payloads are longer than they are stored, from
	// the last ones read.
	expansion float64
	// dense says that at least half of the rows were of the key that was asked for last.
	dense bool

	wake   listener
	rested time.Time // the next wake comes after this
}

// payloadKind is how the payload's column is measured.
type payloadKind struct {
	// Length is the SQL of the exact length in bytes.
	Length string
	// Stored is the SQL of a length that costs nothing to know: exact where
	// PostgreSQL keeps it, else what the value takes on disk.
	Stored string
	// Spread is by how much the stored length can exceed the exact one. A jsonb
	// spends up to 12 bytes on what is written in 3, such as "1, ".
	Spread int64
	// Weight counts a stored byte towards smallRow. A number such as 1e131071 takes
	// 12 bytes in a jsonb and 128 KiB as text, so a jsonb has to be smaller to be
	// small.
	Weight int64
}

// describe learns the payload's type from the table as it is now.
func (s *readSession) describe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	// Prepared without a name, so it is never stale.
	d, err := s.pg.Prepare(ctx, "", `SELECT payload FROM `+s.table.Quoted(), nil)
	if err != nil {
		return s.explain("look up the payload's type", err)
	}
	const exact, stored, text = `octet_length(o.payload)`, `pg_column_size(o.payload)`, `octet_length(o.payload::text)`
	switch oid := d.Fields[0].DataTypeOID; oid {
	case oidBytea, oidText, oidVarchar:
		s.payload = payloadKind{Length: exact, Stored: exact, Spread: 1, Weight: 1}
	case oidJSON:
		s.payload = payloadKind{Length: text, Stored: stored, Spread: 1, Weight: 1}
	case oidJSONB:
		s.payload = payloadKind{Length: text, Stored: stored, Spread: 6, Weight: jsonbWeight}
	default:
		return setup(nil, "column payload of table %s has a type (oid %d) that the relay cannot publish: "+
			"make it json, jsonb, text or bytea", s.table, oid)
	}
	s.expansion = 1
	if s.layout, err = s.lookUpLayout(ctx); err != nil {
		return err
	}
	s.statements = newReads(s.table, s.payload, s.pg.ParameterStatus("server_encoding"), s.layout, s.deadPolicy)
	return s.planOnce(ctx, s.layout)
}

// Begin starts a pass. Each question is answered from one end of an index, so an idle
// table costs next to nothing.
func (s *readSession) Begin(ctx context.Context) (relay.Pass, error) {
	var p relay.Pass
	var parseErr error
	err := s.query(ctx, readDeadline, s.statements.begin, args{"most": int8Param(maxScheduled)}, func(c *columns) func([][]byte) {
		pass := readPass(c, &parseErr)
		return func(row [][]byte) { p = pass(row) }
	})
	if err = errors.Join(err, parseErr); err != nil {
		return p, s.explain("begin a pass", err)
	}
	return p, nil
}

// Close ends the session.
func (s *readSession) Close() { s.close() }

// readPass reads what begin.sql and frame.sql have in common.
func readPass(c *columns, parseErr *error) func(row [][]byte) relay.Pass {
	bound, start, scheduled, snapshot := c.at("bound"), c.at("start"), c.at("scheduled"), c.at("snapshot")
	return func(row [][]byte) relay.Pass {
		p := relay.Pass{Bound: int64Of(row[bound]), Start: instant(int64Of(row[start])), Scheduled: int8sOf(row[scheduled])}
		p.Snapshot, *parseErr = wal.ParseSnapshot(string(row[snapshot]))
		return p
	}
}
