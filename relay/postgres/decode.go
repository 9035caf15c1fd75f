package postgres

import (
	"math"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
)

// decoder turns the rows of a statement into entries of a chunk.
type decoder struct {
	slab  slab
	rows  relay.RowReader
	start int64 // of the pass, in PostgreSQL's microseconds
	limit int64 // of the payload
}

func newDecoder(req relay.ChunkRequest) *decoder {
	return &decoder{start: microseconds(req.Pass.Start), limit: relay.PayloadLimit(req.MaxMessageBytes)}
}

// head reads what names a row and what is said of it.
func (d *decoder) head(c *columns) func(row [][]byte, v *relay.RowValues) (available []byte) {
	ref, createdAt, attempts, availableAt := readRef(c), c.at("created_at"), c.at("attempts"), c.at("available_at")
	return func(row [][]byte, v *relay.RowValues) []byte {
		v.Ref = ref(row)
		if created := row[createdAt]; created != nil {
			v.CreatedAt = instant(int64Of(created))
		}
		if n := row[attempts]; n != nil {
			v.Attempts = int(int32Of(n))
		}
		return row[availableAt]
	}
}

// scanned reads the rows of scan.sql. weight is what a stored byte of a payload
// counts there, expansion how much longer payloads are than they are stored.
func (d *decoder) scanned(c *columns, weight int64, expansion float64) func(row [][]byte) entry {
	head := d.head(c)
	topic, key, contentType, headers, payload := c.at("topic"), c.at("key"), c.at("content_type"), c.at("headers"), c.at("payload")
	weighed, writer := c.at("weight"), c.at("writer")
	var v relay.RowValues // one for all rows, which is one allocation less for each
	return func(row [][]byte) entry {
		v = relay.RowValues{}
		available := head(row, &v)
		m := d.slab.message()
		e := entry{row: relay.Row{Message: m, Scheduled: available != nil}, writer: wal.XID(int32Of(row[writer]))}
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
		d.rows.Read(m, &v, e.row.Wait == 0, d.limit)
		e.size = m.Size
		return e
	}
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

// kept is a value that outlives the statement.
func (d *decoder) kept(b []byte) relay.Value {
	return relay.Value{Set: b != nil, Bytes: d.slab.copy(b), Length: int64(len(b))}
}

// wait is how long after the start of the pass the row may be tried.
func (d *decoder) wait(available []byte) time.Duration {
	if available == nil {
		return 0
	}
	at := int64Of(available)
	if at <= d.start {
		return 0
	}
	if at-d.start > int64(math.MaxInt64/time.Microsecond) || at-d.start < 0 {
		return math.MaxInt64 // infinity
	}
	return time.Duration(at-d.start) * time.Microsecond
}
