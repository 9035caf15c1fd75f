package postgres

import (
	"context"
	"fmt"

	"github.com/outbox-relay/outbox-relay/relay"
)

// fetch fills in the large rows of a chunk. The server measures each exactly and
// sends those that fit, in order, between the small rows that are there already:
// what would not fit is never sent. The rows are read whole, so each is of one
// snapshot, which may be newer than the scan's: a row that was sent or deleted
// in between is left out.
func (s *sweep) fetch(ctx context.Context, req relay.ChunkRequest, entries []entry) error {
	var large []*entry
	var before []int64
	var small int64
	for i := range entries {
		if e := &entries[i]; e.large {
			large, before = append(large, e), append(before, small)
		} else {
			small += e.size
		}
	}
	if len(large) == 0 {
		return nil
	}
	err := s.fetchBatch(ctx, req, large, before)
	if isRowFault(err) {
		return s.fetchSingly(ctx, req, large, before)
	}
	return err
}

// fetchSingly finds the rows that the server fails on. To try such a row may
// take the server seconds, so this way it is tried no more than twice.
func (s *sweep) fetchSingly(ctx context.Context, req relay.ChunkRequest, large []*entry, before []int64) error {
	var taken int64
	for i, e := range large {
		switch err := s.fetchBatch(ctx, req, large[i:i+1], []int64{before[i] + taken}); {
		case isRowFault(err):
			unreadable(e.row.Message, err)
			*e = entry{row: e.row, size: e.row.Size, writer: e.writer}
		case err != nil:
			return err
		case e.excess: // the chunk ends here
			return nil
		}
		if !e.absent {
			taken += e.size
		}
	}
	return nil
}

// fetchBatch fetches rows, before each of which so many bytes of the chunk are
// taken by small ones.
func (s *sweep) fetchBatch(ctx context.Context, req relay.ChunkRequest, large []*entry, before []int64) error {
	offsets := newArray(oidInt8, len(before), 8)
	var expected, exact int64
	for i, e := range large {
		e.absent = true // unless it is found
		offsets.int8(before[i])
	}
	params := append(refParamsOf(len(large), func(i int) relay.Ref { return large[i].row.Ref }), instantParam(req.Pass.Start),
		offsets.buf, int8Param(payloadLimit(req)), int8Param(req.Bytes))
	d := newDecoder(req)
	err := s.querySweep(ctx, s.fetchStatement(), params, func(row [][]byte) {
		e := large[int64Of(row[8])-1]
		expected, exact = expected+e.size, exact+int64Of(row[5])
		writer := e.writer
		*e = d.largeEntry(row)
		e.writer = writer
	})
	if expected > 0 && err == nil {
		s.expansion = max(1, s.expansion*float64(exact)/float64(expected))
	}
	return err
}

// fetchStatement measures large rows and reads those that fit.
//
// $1 ids, $2 message ids, $3 start of the pass, $4 bytes of small rows before
// each, $5 the longest payload, $6 bytes of the chunk.
func (s *sweep) fetchStatement() statement {
	// OFFSET 0 keeps the planner from merging the levels, which would measure each
	// row several times. The guards come before the conversions that they guard.
	measured := `SELECT w.n, w.before, ` + columnsOf("o") + `, ` + dueNow + ` AS due,
			` + plainLength + ` + CASE WHEN NOT ` + dueNow + ` THEN 0
				WHEN pg_column_size(headers) > ` + fmt.Sprint(relay.MaxPlain) + ` THEN pg_column_size(headers)
				ELSE coalesce(octet_length(headers::text), 0) * ` + fmt.Sprint(relay.HeaderCost) + ` END AS plain,
			CASE WHEN NOT ` + dueNow + ` THEN 0
				WHEN ` + s.payload.stored + ` / ` + fmt.Sprint(s.payload.spread) + ` > $5::bigint THEN ` + s.payload.stored + `
				ELSE coalesce(` + s.payload.length + `, 0) END::bigint AS body
		FROM unnest($1::bigint[], $2::uuid[], $4::bigint[]) WITH ORDINALITY AS w (id, message_id, before, n)
		JOIN ` + s.table.Quoted() + ` AS o ON o.id = w.id AND o.message_id = w.message_id AND ` + isPending + ` OFFSET 0`
	judged := `SELECT *, plain > ` + fmt.Sprint(relay.MaxPlain) + ` AS bloated, body > $5::bigint AS over FROM (` + measured + `) AS m OFFSET 0`
	cost := fmt.Sprintf(`%d + CASE WHEN bloated THEN 0 ELSE plain END + CASE WHEN bloated OR over THEN 0 ELSE body END`, relay.MessageOverhead)
	// A sum of bigint is numeric, which is slow; a double counts up to 2^53.
	placed := `SELECT *, before + sum((` + cost + `)::float8) OVER (ORDER BY n ROWS UNBOUNDED PRECEDING) <= $6::bigint AS fits FROM (` + judged + `) AS j`
	sql := `SELECT id, message_id, created_at, attempts, available_at, ` + cost + `, plain, body, n, bloated, over,
			fits OR bloated OR over OR NOT due,
			CASE WHEN NOT bloated THEN topic END, CASE WHEN NOT bloated OR octet_length(key) <= ` + fmt.Sprint(smallRow) + ` THEN key END,
			CASE WHEN NOT bloated THEN content_type END,
			CASE WHEN fits AND due AND NOT bloated THEN headers END,
			CASE WHEN fits AND due AND NOT bloated AND NOT over THEN payload END
		FROM (` + placed + `) AS p`
	return statement{
		name: "fetch", sql: sql,
		formats: []int16{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, s.payload.format},
	}
}

func payloadLimit(req relay.ChunkRequest) int64 {
	if req.MaxMessageBytes <= 0 {
		return relay.MaxPayload
	}
	return min(req.MaxMessageBytes, relay.MaxPayload)
}
