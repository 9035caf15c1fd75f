package postgres

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// sweep is the session that reads.
type sweep struct {
	*session
	pace        *pace
	publication string
	payload     payloadKind
	// expansion is how much longer large payloads turned out than they are stored,
	// by the last ones read.
	expansion float64
}

// payloadKind is how the payload's column is read: its bytes come as they are,
// in the binary format where that adds nothing (json, text, bytea) and in the
// text format for jsonb.
type payloadKind struct {
	format int16
	// length is the SQL of the exact length in bytes.
	length string
	// stored is the SQL of a length that costs nothing to know: exact where
	// PostgreSQL keeps it, else what the value takes on disk.
	stored string
	// spread is by how much the stored length can exceed the exact one. A jsonb
	// spends up to 12 bytes on what is written in 3, such as "1, ".
	spread int64
	// weight counts a stored byte towards smallRow. A number such as 1e131071 takes
	// 12 bytes in a jsonb and 128 KiB as text, so a jsonb has to be smaller to be
	// small.
	weight int64
}

// isPending is true of rows that are neither sent nor dead, in the words of the
// partial indexes.
const isPending = `sent_at IS NULL AND dead_at IS NULL`

// isScheduled is true of rows that the application has scheduled and nobody has
// tried; isDue of the other pending ones, those that wait for a retry included.
const (
	isScheduled = isPending + ` AND available_at IS NOT NULL AND attempts = 0`
	isDue       = isPending + ` AND (available_at IS NULL OR attempts > 0)`
)

// describe learns the payload's type from the table as it is now.
func (s *sweep) describe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, shortDeadline)
	defer cancel()
	// Prepared without a name, so it is never stale.
	d, err := s.pg.Prepare(ctx, "", `SELECT payload FROM `+s.table.Quoted(), nil)
	if err != nil {
		return s.explain("look up the payload's type", err)
	}
	const exact = `octet_length(payload)`
	switch oid := d.Fields[0].DataTypeOID; oid {
	case oidBytea, oidText, oidVarchar:
		s.payload = payloadKind{format: 1, length: exact, stored: exact, spread: 1, weight: 1}
	case oidJSON:
		s.payload = payloadKind{format: 1, length: `octet_length(payload::text)`, stored: `pg_column_size(payload)`, spread: 1, weight: 1}
	case oidJSONB:
		s.payload = payloadKind{format: 0, length: `octet_length(payload::text)`, stored: `pg_column_size(payload)`, spread: 6, weight: jsonbWeight}
	default:
		return setup(nil, "column payload of table %s has a type (oid %d) that the relay cannot publish: "+
			"make it json, jsonb, text or bytea", s.table, oid)
	}
	s.expansion = 1
	return nil
}

// Begin starts a pass. Both questions are answered by the end of an index, so
// that an idle table costs next to nothing.
func (s *sweep) Begin(ctx context.Context) (relay.Pass, error) {
	table := s.table.Quoted()
	begin := statement{name: "begin", formats: binaryFormat, sql: `SELECT
		coalesce((SELECT max(id) FROM ` + table + `), 0), statement_timestamp(),
		EXISTS (SELECT FROM ` + table + ` WHERE ` + isScheduled + ` AND available_at <= statement_timestamp()),
		pg_current_snapshot()::text`}
	var p relay.Pass
	var parseErr error
	err := s.query(ctx, sweepDeadline, begin, nil, func(row [][]byte) {
		p.Bound = int64(binary.BigEndian.Uint64(row[0]))
		p.Start = instant(int64(binary.BigEndian.Uint64(row[1])))
		p.Scheduled = row[2][0] != 0
		p.Snapshot, parseErr = wal.ParseSnapshot(string(row[3]))
	})
	if err = errors.Join(err, parseErr); err != nil {
		return p, s.explain("begin a sweep", err)
	}
	return p, nil
}

// Close ends the session.
func (s *sweep) Close() { s.close() }

// keyFilter chooses rows by their keys. The collation is the one by which the
// relay compares keys: bytes.
type keyFilter struct{ name, condition string }

var (
	anyKey = keyFilter{}
	// Hashed, and so no slower for 20,000 keys than for one.
	exceptKeys = keyFilter{"_excluding", ` AND (key IS NULL OR key COLLATE "C" NOT IN (SELECT unnest($5::text[])))`}
	onlyKey    = keyFilter{"_of_key", ` AND key COLLATE "C" = $5::text`}
)

// scanOf is the scan that a request calls for, and its parameters.
func (s *sweep) scanOf(req relay.ChunkRequest, rows int) (statement, [][]byte) {
	params := [][]byte{int8Param(req.After), int8Param(req.Pass.Bound), instantParam(req.Pass.Start), int8Param(int64(rows))}
	switch {
	case req.OnlyKey != nil:
		return s.scanStatement(req.Pass.Scheduled, onlyKey), append(params, []byte(*req.OnlyKey))
	case len(req.ExcludeKeys) > 0:
		return s.scanStatement(req.Pass.Scheduled, exceptKeys), append(params, textArray(req.ExcludeKeys))
	}
	return s.scanStatement(req.Pass.Scheduled, anyKey), params
}

// scanStatement reads the pending rows of a pass after a cursor, in id order.
// Rows that are small are there whole; of a row that is stored in more than
// smallRow bytes there is only the name, and [sweep.fetch] gets the rest.
//
// $1 after, $2 bound, $3 start of the pass, $4 limit, $5 the keys of the filter.
func (s *sweep) scanStatement(scheduled bool, f keyFilter) statement {
	columns, writer := columnsOf("outbox"), `, outbox.xmin AS writer`
	within := ` AND id > $1::bigint AND id <= $2::bigint`
	name := "scan" + f.name
	within += f.condition
	table := s.table.Quoted()
	rows := table + ` AS outbox WHERE ` + isDue + within
	if scheduled {
		name += "_scheduled"
		branch := func(condition string) string {
			return `(SELECT ` + columns + `, outbox.xmin AS writer FROM ` + table + ` AS outbox WHERE ` + condition + within + ` ORDER BY id LIMIT $4::bigint)`
		}
		rows = `(` + branch(isDue) + ` UNION ALL ` + branch(isScheduled+` AND available_at <= $3::timestamptz`) + `) AS outbox`
		writer = `, outbox.writer`
	}
	small := fmt.Sprintf("weight <= %d", smallRow)
	sql := `SELECT id, message_id, created_at, attempts, available_at, weight,
			CASE WHEN ` + small + ` THEN topic END, CASE WHEN ` + small + ` THEN key END,
			CASE WHEN ` + small + ` THEN content_type END,
			CASE WHEN ` + small + ` AND due THEN nullif(headers, '{}') END, CASE WHEN ` + small + ` AND due THEN payload END, writer
		FROM (SELECT ` + columns + writer + `, ` + dueNow + ` AS due,
			` + plainLength + ` + CASE WHEN ` + dueNow + ` THEN
				` + fmt.Sprintf("%d::bigint * coalesce(pg_column_size(headers), 0) + %d::bigint * coalesce(%s, 0)",
		jsonbWeight, s.payload.weight, s.payload.stored) + ` ELSE 0 END AS weight
			FROM ` + rows + ` ORDER BY id LIMIT $4::bigint) AS s`
	return statement{name: name, sql: sql, formats: []int16{1, 1, 1, 1, 1, 1, 0, 0, 0, 0, s.payload.format, 1}}
}

// dueNow judges by the start of the pass; what is not due waits for its retry.
const dueNow = `(available_at IS NULL OR available_at <= $3::timestamptz)`

// plainLength is the length of the columns of text, which PostgreSQL knows
// without reading them.
const plainLength = `(octet_length(topic)::bigint + coalesce(octet_length(key), 0) + coalesce(octet_length(content_type), 0))`

// columnsOf lists what a sweep reads, and no more: a table may have columns of
// the application's that the role may not see.
func columnsOf(alias string) string {
	columns := []string{"id", "message_id", "created_at", "attempts", "available_at", "topic", "key", "content_type", "headers", "payload"}
	for i, c := range columns {
		columns[i] = alias + "." + c
	}
	return strings.Join(columns, ", ")
}
