package postgres

import (
	"context"
	"encoding/binary"

	"github.com/outbox-relay/outbox-relay/relay"
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

// settled looks after the rows that a write has not returned: it returns those
// that wait for no write any more. The others are locked, and the caller's to
// try again.
//
// Where none can have been locked, a row that is as it was has kept its state
// against the write: a trigger or a rule of the application suppresses it. That
// would be tried again for ever, so it is an error. again says that the write has
// been repeated for such rows: the first time they may have been restored by
// somebody in between.
func (c *control) settled(ctx context.Context, missing []relay.Ref, leftOut, again bool) (gone, kept []relay.Ref, err error) {
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

// missingFrom returns the refs of a batch of n that are not in done.
func missingFrom(n int, ref func(int) relay.Ref, done map[relay.Ref]struct{}) []relay.Ref {
	var missing []relay.Ref
	for i := range n {
		if _, ok := done[ref(i)]; !ok {
			missing = append(missing, ref(i))
		}
	}
	return missing
}

// matching is the join of a batch, known as m, with the table, known as o.
const matching = `o.id = m.id AND o.message_id = m.message_id`

// returningRefs is what a write answers for each row.
const returningRefs = ` RETURNING o.id, o.message_id`

func writeName(kind string) (plain, patient string) { return kind, kind + "_patient" }
