package postgres

import (
	"context"
	"slices"

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

// scanned is what a scan has brought.
type scanned struct {
	entries []entry
	seen    int   // rows that came, more than entries where it was cut
	last    int64 // id of the last entry
	cut     bool  // there are rows that did not fit
	// fenced: the statement has looked at no row after the one with the id fence.
	fenced bool
	fence  int64
	end    *int64 // the id that the statement ends with; nil for that of the pass
	bytes  int64  // of the entries
}

// scan reads rows until they no longer fit. It drops the rows that still arrive then:
// the statement ends soon.
func (s *readSession) scan(ctx context.Context, req relay.ChunkRequest, rows int) (*scanned, error) {
	kind, given, end := scanArgs(req, rows)
	kind.near = kind.keys == onlyKey && s.dense
	result := &scanned{last: req.After, end: end}
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
	if kind.keys == onlyKey && err == nil {
		s.dense = result.isDense(req.After, rows)
	}
	return result, err
}

// isDense says whether at least half of the ids that a scan of one key has passed are of
// that key. Ids that no row has make it seem less.
func (r *scanned) isDense(after int64, rows int) bool {
	passed := r.last
	if r.fenced && r.seen < rows {
		passed = r.fence
	}
	return r.seen > 0 && uint64(passed)-uint64(after) <= 2*uint64(r.seen)
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

// scanArgs says which scan a request calls for, and with which parameters. end is the id
// that the scan ends with, where that is before the pass's bound.
//
// Schedule that goes by a row: 5,000 scheduled rows are listed, and a statement that asks
// for 1,000 rows is given the first 1,000 of the list. Some of those have been sent
// meanwhile. The statement fills up with rows that have larger ids than the listed ones
// that it was not given, and the next one begins after them. So it ends with the last id
// that it was given.
func scanArgs(req relay.ChunkRequest, rows int) (kind scanKind, given args, end *int64) {
	// The lowest id of all is after no other: it belongs to the first chunk.
	from := req.After
	if from != beforeAllIDs {
		from++
	}
	// Those after the cursor, and no more than are asked for.
	next, _ := slices.BinarySearch(req.Pass.Scheduled, from)
	scheduled := req.Pass.Scheduled[next:]
	bound := req.Pass.Bound
	if len(scheduled) > rows && scheduled[rows-1] < bound {
		scheduled = scheduled[:rows]
		bound = scheduled[rows-1]
		end = &bound
	}
	kind = scanKind{keys: anyKey, scheduled: len(scheduled) > 0}
	given = args{
		"from": int8Param(from), "bound": int8Param(bound),
		"start": instantParam(req.Pass.Start), "rows": int8Param(int64(rows)),
	}
	if kind.scheduled {
		given["scheduled"] = int8Array(scheduled)
	}
	switch {
	case req.OnlyKey != nil:
		kind.keys, given["key"] = onlyKey, []byte(*req.OnlyKey)
	case len(req.ExcludeKeys) > 0:
		kind.keys, given["keys"] = exceptKeys, textArray(req.ExcludeKeys)
	}
	if topics := unwanted(req); len(topics) > 0 && req.OnlyKey == nil {
		kind.topics, given["topics"], given["unordered"] = true, textArray(topics), boolParam(req.Unordered)
	}
	return kind, given, end
}

// unwanted are the topics of which no more rows are wanted.
func unwanted(req relay.ChunkRequest) []string {
	var topics []string
	for topic, rows := range req.TopicRows {
		if rows <= 0 {
			topics = append(topics, topic)
		}
	}
	return topics
}

// scanned reads the rows of scan.sql. weight is what a stored byte of a payload
// counts there, expansion how much longer payloads are than they are stored.
func (d *decoder) scanned(c *columns, weight int64, expansion float64) func(row [][]byte) entry {
	head := d.head(c)
	topic, key, contentType, headers, payload := c.at("topic"), c.at("key"), c.at("content_type"), c.at("headers"), c.at("payload")
	weighed, writer, refused, stays := c.at("weight"), c.at("writer"), c.at("refused"), c.at("stays")
	var v relay.RowValues // one for all rows, which is one allocation less for each
	return func(row [][]byte) entry {
		v = relay.RowValues{}
		available := head(row, &v)
		m := d.slab.message()
		e := entry{row: relay.Row{Message: m, Scheduled: available != nil, Refused: boolOf(row[refused])}, writer: wal.XID(int32Of(row[writer]))}
		if w := int64Of(row[weighed]); w > smallRow {
			// A payload over the limit will not be fetched and takes no room, but that is
			// known for sure only once it has been measured.
			m.Ref, m.CreatedAt, m.Attempts = v.Ref, v.CreatedAt, v.Attempts
			m.Key, m.Keyed = string(row[key]), row[key] != nil // stays where the row cannot be fetched
			e.large, e.size = true, relay.MessageOverhead+int64(float64(min(w/weight, d.limit))*expansion)
			return e
		}
		v.Topic, v.Key, v.ContentType = relay.NewValue(row[topic]), relay.NewValue(row[key]), relay.NewValue(row[contentType])
		v.Headers, v.Payload = relay.NewValue(row[headers]), d.kept(row[payload])
		e.row.Wait = d.wait(available)
		e.row.Left = e.row.Wait == 0 && boolOf(row[stays])
		d.rows.Read(m, &v, e.row.Wait == 0 && !e.row.Left, d.limit)
		e.size = m.Size
		return e
	}
}
