package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// smallRow is the largest weight, in bytes as stored, with which a row is read in the
// scan itself. As received it may be longer, a compressed one by 255 times at most
// (lz4); what does not fit is dropped while it is being read.
const smallRow = 8192

// jsonbWeight is how much one stored byte of a jsonb adds to a row's weight.
const jsonbWeight = 8

// entry is a row of a chunk that is being put together.
type entry struct {
	row  relay.Row
	size int64
	// large rows are fetched after the scan; size is then what to expect.
	large bool
	// writer is the transaction, or the savepoint, that wrote the row.
	writer wal.XID
	// absent: gone since the scan. excess: too large for the chunk, size is known.
	absent, excess bool
}

// Chunk reads the next rows of a pass.
//
// Where the server fails on some small row, the chunk is asked for again with
// half as many rows, until that row is alone and becomes a defect.
func (s *readSession) Chunk(ctx context.Context, req relay.ChunkRequest) (relay.Chunk, error) {
	if req.Rows <= 0 {
		return relay.Chunk{Cursor: req.After}, nil
	}
	rows := s.pace.rows(req)
	for again := false; ; {
		chunk, err := s.read(ctx, req, rows)
		switch {
		case err == nil:
			return chunk, nil
		case isOutdated(err) && !again:
			again = true
			s.forget(ctx)
			if err := s.describe(ctx); err != nil {
				return relay.Chunk{}, err
			}
		case isRowFault(err) && rows > 1:
			rows /= 2
		case isRowFault(err):
			return s.readDefect(ctx, req, err)
		default:
			if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
				s.pace.tooSlow()
			}
			return relay.Chunk{}, s.explain("read rows", err)
		}
	}
}

// read scans, fetches what is large, and puts the chunk together.
func (s *readSession) read(ctx context.Context, req relay.ChunkRequest, rows int) (relay.Chunk, error) {
	scan, err := s.scan(ctx, req, rows)
	if err != nil {
		return relay.Chunk{}, err
	}
	if err := s.fetch(ctx, req, scan.entries); err != nil {
		return relay.Chunk{}, err
	}
	if err := s.findLate(ctx, req, scan.entries); err != nil {
		return relay.Chunk{}, err
	}
	chunk := scan.assemble(req)
	if !scan.cut && scan.seen < rows && chunk.NextSize == 0 && chunk.Cursor == scan.last {
		if scan.fenced {
			chunk.Cursor = scan.fence
		} else {
			chunk.Done, chunk.Cursor = true, max(req.Pass.Bound, scan.last)
		}
	}
	s.pace.observe(scan)
	return chunk, nil
}

// scanned is what a scan has brought.
type scanned struct {
	entries []entry
	seen    int   // rows that came, more than entries where it was cut
	last    int64 // id of the last entry
	cut     bool  // there are rows that did not fit
	// fenced: the statement has looked at no row after the one with the id fence.
	fenced bool
	fence  int64
	bytes  int64 // of the entries
}

// scan reads rows until they no longer fit. It drops the rows that still arrive then:
// the statement ends soon.
func (s *readSession) scan(ctx context.Context, req relay.ChunkRequest, rows int) (*scanned, error) {
	kind, given := scanArgs(req, rows)
	result := &scanned{last: req.After}
	d := newDecoder(req)
	err := s.queryRows(ctx, s.statements.scan[kind], given, func(c *columns) func([][]byte) {
		read, id, fence := d.scanned(c, s.payload.Weight, s.expansion), c.at("id"), c.at("fence")
		return func(row [][]byte) {
			if f := row[fence]; f != nil {
				result.fence, result.fenced = int64Of(f), true
			}
			if row[id] == nil {
				return // only the fence
			}
			result.seen++
			if !result.cut {
				result.add(read(row), req.Bytes)
			}
		}
	})
	return result, err
}

// add takes an entry in, unless it no longer fits into so many bytes.
func (r *scanned) add(e entry, bytes int64) {
	if r.bytes+e.size > bytes && len(r.entries) > 0 {
		r.cut = true
		return
	}
	if !e.large {
		e.excess = e.size > bytes
	}
	r.bytes += e.size
	r.last = e.row.ID
	r.entries = append(r.entries, e)
}

// queryRows does not prepare a stale statement again, as query does. [readSession.Chunk]
// does, since the payload may have got another type.
func (s *readSession) queryRows(ctx context.Context, st statement, given args, read reader) error {
	ctx, cancel := context.WithTimeout(ctx, readDeadline)
	defer cancel()
	return s.try(ctx, st, given, read)
}

// assemble takes the entries in order until they no longer fit.
func (r *scanned) assemble(req relay.ChunkRequest) relay.Chunk {
	chunk := relay.Chunk{Rows: make([]relay.Row, 0, len(r.entries)), Cursor: req.After}
	var total int64
	for i := range r.entries {
		e := &r.entries[i]
		if e.absent {
			chunk.Cursor = e.row.ID
			continue
		}
		if e.excess || total+e.size > req.Bytes {
			if len(chunk.Rows) == 0 {
				chunk.NextSize = e.size
			}
			return chunk
		}
		total += e.size
		chunk.Rows = append(chunk.Rows, e.row)
		chunk.Cursor = e.row.ID
	}
	return chunk
}

// readDefect reads the id of the row that the server fails on, and its key if the
// server can read that: the rows behind it have to wait until it is dead.
func (s *readSession) readDefect(ctx context.Context, req relay.ChunkRequest, cause error) (relay.Chunk, error) {
	kind, given := scanArgs(req, 1)
	chunk, err := s.readName(ctx, req, s.statements.name[kind], given, cause)
	if isRowFault(err) {
		chunk, err = s.readName(ctx, req, s.statements.nameless[kind], given, cause)
	}
	if err != nil {
		return relay.Chunk{}, s.explain("read the row that PostgreSQL fails on", err)
	}
	if len(chunk.Rows) == 0 { // gone meanwhile
		chunk.Done, chunk.Cursor = true, req.Pass.Bound
	}
	return chunk, nil
}

func (s *readSession) readName(ctx context.Context, req relay.ChunkRequest, st statement, given args, cause error) (relay.Chunk, error) {
	chunk := relay.Chunk{Cursor: req.After}
	err := s.queryRows(ctx, st, given, func(c *columns) func([][]byte) {
		head, key := newDecoder(req).head(c), c.at("key")
		return func(row [][]byte) {
			var v relay.RowValues
			head(row, &v)
			m := &relay.Message{Ref: v.Ref, CreatedAt: v.CreatedAt, Attempts: v.Attempts, Key: string(row[key]), Keyed: row[key] != nil}
			found := relay.Row{Message: m}
			s.unreadable.judge(&found, cause, time.Now())
			chunk.Rows = append(chunk.Rows, found)
			chunk.Cursor = m.ID
		}
	})
	return chunk, err
}
