package postgres

import (
	"context"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// fetch fills in the large rows of a chunk. The server measures each one exactly, and
// sends those that fit beside the small rows that are here already, in order. Each row
// is read whole in one snapshot, which may be newer than the scan's: a row that was
// sent or deleted in between is left out.
func (s *readSession) fetch(ctx context.Context, req relay.ChunkRequest, entries []entry) error {
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
	err := s.fetchBatch(ctx, req, large, before, false)
	if isRowFault(err) {
		return s.fetchSingly(ctx, req, large, before)
	}
	return err
}

// fetchSingly finds the rows that the server fails on. Such a row may take the server
// seconds, so no row is tried more than twice.
func (s *readSession) fetchSingly(ctx context.Context, req relay.ChunkRequest, large []*entry, before []int64) error {
	var taken int64
	for i, e := range large {
		switch err := s.fetchBatch(ctx, req, large[i:i+1], []int64{before[i] + taken}, false); {
		case isRowFault(err):
			s.unreadable.judge(&e.row, err, time.Now())
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

// fetchBatch fetches large rows. before has, for each of them, how many bytes the
// small rows before it take in the chunk.
//
// A row that is not in its partition may be in another one: somebody has changed its
// created_at since the scan, or that is a time that Go does not have. Taken for gone, it
// would be overtaken by the later rows of its key. So it is looked for anywhere.
func (s *readSession) fetchBatch(ctx context.Context, req relay.ChunkRequest, large []*entry, before []int64, anywhere bool) error {
	offsets := newArray(oidInt8, len(before), 8)
	var expected, exact int64
	for i, e := range large {
		e.absent = true // unless it is found
		offsets.int8(before[i])
	}
	batch := batchArgs(len(large), func(i int) relay.Ref { return large[i].row.Ref })
	batch["before"] = offsets.buf
	batch.addLocation(len(large), func(i int) int64 { return large[i].row.ID }, func(i int) time.Time { return large[i].row.CreatedAt })
	batch["start"] = instantParam(req.Pass.Start)
	batch["longest"], batch["bytes"] = int8Param(relay.PayloadLimit(req.MaxMessageBytes)), int8Param(req.Bytes)
	d := newDecoder(req)
	st, seen := s.statements.fetch, 0
	if anywhere {
		st = s.statements.fetchAnywhere
	}
	err := s.queryRows(ctx, st, batch, func(c *columns) func([][]byte) {
		n, read := c.at("n"), d.fetched(c)
		return func(row [][]byte) {
			seen++
			e := large[int64Of(row[n])-1]
			found := read(row)
			expected, exact = expected+e.size, exact+found.size
			found.writer = e.writer
			*e = found
		}
	})
	if err == nil && seen < len(large) && s.layout.byTime && !anywhere {
		return s.fetchBatch(ctx, req, large, before, true)
	}
	if expected > 0 && err == nil {
		s.expansion = max(1, s.expansion*float64(exact)/float64(expected))
	}
	return err
}

// fetched reads the rows of fetch.sql.
func (d *decoder) fetched(c *columns) func(row [][]byte) entry {
	head := d.head(c)
	value := func(name string) func(row [][]byte) relay.Value {
		bytes, length := c.at(name), c.at(name+"_length")
		return func(row [][]byte) relay.Value {
			v := relay.Value{Set: row[bytes] != nil, Bytes: row[bytes], Length: int64Of(row[length])}
			v.Set = v.Set || v.Length > 0
			return v
		}
	}
	topic, key, contentType, headers, payload := value("topic"), value("key"), value("content_type"), value("headers"), value("payload")
	fits := c.at("fetched")
	var v relay.RowValues // one for all rows, which is one allocation less for each
	return func(row [][]byte) entry {
		v = relay.RowValues{}
		available := head(row, &v)
		v.Topic, v.Key, v.ContentType, v.Headers, v.Payload = topic(row), key(row), contentType(row), headers(row), payload(row)
		v.Payload.Bytes = d.slab.copy(v.Payload.Bytes)
		m, wait := d.slab.message(), d.wait(available)
		d.rows.Read(m, &v, wait == 0, d.limit)
		return entry{
			row:  relay.Row{Message: m, Wait: wait, Scheduled: available != nil},
			size: m.Size, excess: !boolOf(row[fits]),
			absent: wait > 0 && m.Attempts == 0, // rescheduled by the application since the scan
		}
	}
}
