package postgres

import (
	"context"
	"errors"
	"slices"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Chunk reads the next rows of a pass.
//
// Where the server fails on some small row, the chunk is asked for again with
// half as many rows, until that row is alone and becomes a defect. If keys are left
// out, the row may be one whose key the server cannot compare: see readWhole.
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
		case isRowFault(err) && (req.OnlyKey != nil || len(req.ExcludeKeys) > 0 || len(req.TopicRows) > 0):
			return s.readWhole(ctx, req)
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

// readWhole reads the next rows whatever their keys are, and leaves out here what the
// server would have left out.
//
// Schedule that stops all keys: in a database that is not UTF-8, a key has a character
// that cannot be converted. To leave keys out, the server looks at each row's key, and
// fails on that one before it comes to any row that was asked for.
func (s *readSession) readWhole(ctx context.Context, req relay.ChunkRequest) (relay.Chunk, error) {
	all := req
	all.ExcludeKeys, all.OnlyKey, all.TopicRows = nil, nil, nil
	chunk, err := s.Chunk(ctx, all)
	excluded := make(map[string]struct{}, len(req.ExcludeKeys))
	for _, name := range req.ExcludeKeys {
		excluded[name] = struct{}{}
	}
	chunk.Rows = slices.DeleteFunc(chunk.Rows, func(row relay.Row) bool {
		if req.OnlyKey != nil {
			return !row.Keyed || row.KeyName() != *req.OnlyKey
		}
		_, isExcluded := excluded[row.KeyName()]
		return row.Keyed && isExcluded
	})
	return chunk, err
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
	if err := s.findNewer(ctx, req, scan.entries); err != nil {
		return relay.Chunk{}, err
	}
	chunk := scan.assemble(req)
	if !scan.cut && scan.seen < rows && chunk.NextSize == 0 && chunk.Cursor == scan.last {
		switch {
		case scan.fenced:
			chunk.Cursor = scan.fence
		case scan.end != nil:
			chunk.Cursor = *scan.end
		default:
			chunk.Done, chunk.Cursor = true, max(req.Pass.Bound, scan.last)
		}
	}
	s.pace.observe(scan)
	return chunk, nil
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
