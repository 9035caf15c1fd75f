package postgres

import (
	"math"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
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
		v.DueSince = v.CreatedAt
		if at := row[availableAt]; at != nil && v.Attempts == 0 {
			if due := instant(int64Of(at)); due.After(v.DueSince) {
				v.DueSince = due
			}
		}
		return row[availableAt]
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
