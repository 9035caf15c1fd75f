package postgres

import (
	"context"
	"encoding/binary"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/relay/wal"
	"github.com/outbox-relay/outbox-relay/schema"
)

// write is a statement over a batch of rows, in two forms. The plain one is
// faster; where it meets a row that somebody has locked, lock_timeout ends it
// with nothing written, and the patient one leaves the locked rows out.
type write struct {
	plain, patient statement
}

// writes are the statements of one table.
type writes struct {
	mark, refuse write
	// pending asks which rows of a batch still wait for a write.
	pending statement
}

func newWrites(table schema.Table, after AfterSend) writes {
	w := writes{mark: markUpdate(table), refuse: refuseUpdate(table)}
	unsent := " AND o.sent_at IS NULL"
	if after == Delete {
		w.mark, unsent = markDelete(table), ""
	}
	w.pending = statement{name: "pending", formats: binaryFormat, sql: `SELECT o.id, o.message_id
		FROM unnest($1::bigint[], $2::uuid[]) AS m (id, message_id)
		JOIN ` + table.Quoted() + ` AS o ON o.id = m.id AND o.message_id = m.message_id` + unsent}
	return w
}

// execute runs a write, returns what it answers, and says whether locked rows
// may have been left out. The answers of a write that fails in the end, perhaps
// only in its commit, where deferred triggers of the application run, are none.
func execute[T any](ctx context.Context, c *control, w write, params [][]byte, read func([][]byte) T) (answers []T, leftOut bool, err error) {
	attempt := func(st statement) ([]T, error) {
		var answers []T
		err := c.query(ctx, writeDeadline, st, params, func(row [][]byte) { answers = append(answers, read(row)) })
		if err != nil {
			return nil, err
		}
		return answers, nil
	}
	answers, err = attempt(w.plain)
	if !isLocked(err) {
		return answers, false, err
	}
	answers, err = attempt(w.patient)
	if isLocked(err) { // the whole table is locked, or what a deferred trigger asks for
		return nil, true, nil
	}
	return answers, true, err
}

// absent is a row that a write has not returned.
type absent struct {
	relay.Ref
	xid wal.XID // of [relay.Mark]
}

// visible leaves out the rows whose transaction cannot be seen yet. The log tells
// of a commit before others see it, and how long before is up to the server: it
// may wait for a synchronous standby, or for its turn on a processor.
//
// Schedule that doubles a message: a row of the log is published and
// acknowledged; the mark does not find it, and it is taken for gone; then its
// transaction becomes visible, and a sweep finds it unsent.
func (c *control) visible(ctx context.Context, missing []absent) ([]relay.Ref, error) {
	var seen wal.Snapshot
	refs := make([]relay.Ref, 0, len(missing))
	for _, m := range missing {
		if m.xid != 0 && seen.IsZero() {
			var err error
			if seen, err = c.Snapshot(ctx); err != nil {
				return nil, err
			}
		}
		if m.xid == 0 || seen.Sees(m.xid) {
			refs = append(refs, m.Ref)
		}
	}
	return refs, nil
}

// settled looks after the rows that a write has not returned: it returns those
// that wait for no write any more. The others are locked, or not visible yet,
// and the caller's to try again.
//
// Where none can have been locked, a row that is as it was has kept its state
// against the write: a trigger or a rule of the application suppresses it. That
// would be tried again for ever, so it is an error. again says that the write has
// been repeated for such rows: the first time they may have been restored by
// somebody in between.
func (c *control) settled(ctx context.Context, rows []absent, leftOut, again bool) (gone, kept []relay.Ref, err error) {
	missing, err := c.visible(ctx, rows)
	if err != nil {
		return nil, nil, err
	}
	pending := make(map[relay.Ref]struct{})
	err = c.query(ctx, writeDeadline, c.writes.pending, refParams(missing), func(row [][]byte) {
		pending[refOf(row)] = struct{}{}
	})
	if isLocked(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, ref := range missing {
		if _, ok := pending[ref]; ok {
			kept = append(kept, ref)
		} else {
			gone = append(gone, ref)
		}
	}
	if leftOut {
		return gone, nil, nil
	}
	if len(kept) > 0 && again {
		return nil, nil, setup(nil, "a trigger or rule on %s suppresses the write to row %d without an error: "+
			"let it pass what changes sent_at, attempts and dead_at", c.table, kept[0].ID)
	}
	return gone, kept, nil
}

// refParams are the ids and the message ids of rows, as two arrays.
func refParams(refs []relay.Ref) [][]byte {
	return refParamsOf(len(refs), func(i int) relay.Ref { return refs[i] })
}

func refParamsOf(n int, ref func(int) relay.Ref) [][]byte {
	ids, messageIDs := newArray(oidInt8, n, 8), newArray(oidUUID, n, 16)
	for i := range n {
		r := ref(i)
		ids.int8(r.ID)
		messageIDs.bytes(r.MessageID[:])
	}
	return [][]byte{ids.buf, messageIDs.buf}
}

// refOf reads the first two columns of a result.
func refOf(row [][]byte) relay.Ref {
	return relay.Ref{ID: int64(binary.BigEndian.Uint64(row[0])), MessageID: relay.MessageID(row[1])}
}

// missingFrom returns the rows of a batch of n that are not in done.
func missingFrom(n int, row func(int) absent, done map[relay.Ref]struct{}) []absent {
	var missing []absent
	for i := range n {
		if r := row(i); !isIn(done, r.Ref) {
			missing = append(missing, r)
		}
	}
	return missing
}

func isIn(set map[relay.Ref]struct{}, r relay.Ref) bool {
	_, ok := set[r]
	return ok
}

// matching is the join of a batch, known as m, with the table, known as o.
const matching = `o.id = m.id AND o.message_id = m.message_id`

// returningRefs is what a write answers for each row.
const returningRefs = ` RETURNING o.id, o.message_id`

func writeName(kind string) (plain, patient string) { return kind, kind + "_patient" }
