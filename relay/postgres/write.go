package postgres

import (
	"context"

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
	// markRange is mark for rows whose ids are close together.
	markRange statement
	// These find rows that have another created_at than was read.
	markAnywhere, refuseAnywhere write
	// unmarked and unrefused ask which rows of a batch still wait for the write; the
	// patient ones leave out those that somebody has locked.
	unmarked, unrefused write
}

// writeBlanks fill in the files of the writes.
type writeBlanks struct {
	Table   string // quoted
	Delete  bool   // acknowledged rows are deleted
	Patient bool   // see [write]

	ErrorType bool // the table has the column

	pruning
}

func newWrites(table schema.Table, after AfterSend, has later, l layout) writes {
	blanks := writeBlanks{Table: table.Quoted(), Delete: after == Delete, ErrorType: has.errorType}
	mark := "mark"
	if blanks.Delete {
		mark = "delete"
	}
	w := writes{
		markAnywhere:   newWrite(mark, "", blanks),
		refuseAnywhere: newWrite("refuse", "", blanks),
		unmarked:       newWrite("pending", mark, blanks),
		unrefused:      newWrite("pending", "refuse", writeBlanks{Table: blanks.Table}),
	}
	located := blanks
	located.pruning = l.forPlan()
	w.markRange = newStatement(mark+"_range", "", located)
	w.mark, w.refuse = w.markAnywhere, w.refuseAnywhere
	if l.partitioned {
		w.mark, w.refuse = newWrite(mark, "_partition", located), newWrite("refuse", "_partition", located)
	}
	return w
}

func newWrite(file, variant string, blanks writeBlanks) write {
	w := write{plain: newStatement(file, variant, blanks)}
	blanks.Patient = true
	w.patient = newStatement(file, variant+"_patient", blanks)
	return w
}

// execute runs a write, returns its answers, and says whether locked rows may have
// been left out. If the write fails there are no answers, even if it fails only in its
// commit, where the application's deferred triggers run.
func execute[T any](
	ctx context.Context, c *control, w write, given args, read func(*columns) func([][]byte) T,
) (answers []T, leftOut bool, err error) {
	answers, err = answersOf(ctx, c, w.plain, given, read)
	if !isLocked(err) {
		return answers, false, err
	}
	answers, err = answersOf(ctx, c, w.patient, given, read) // fails for a lock on the whole table, or on what a trigger asks for
	return answers, true, err
}

// answersOf runs one form of a write.
func answersOf[T any](ctx context.Context, c *control, st statement, given args, read func(*columns) func([][]byte) T) ([]T, error) {
	var answers []T
	if err := c.query(ctx, writeDeadline, st, given, collect(&answers, read)); err != nil {
		return nil, err
	}
	return answers, nil
}

// absent is a row that a write has not returned.
type absent struct {
	relay.Ref
	xid wal.XID // of [relay.Mark]
}

// visible leaves out the rows whose transaction is not visible yet. The log has a
// commit before others see it. How long before depends on the server: it may wait for
// a synchronous standby, or just for a processor.
//
// Schedule that doubles a message: a row of the log is published and
// acknowledged; the mark does not find it, and it is taken for gone; then its
// transaction becomes visible, and a pass finds it unsent.
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

// settled sorts the rows that a write has not returned. gone need no further write.
// free still wait for one, as the statement kept finds, and where rows were left out
// nobody has them locked. The others are locked, or not visible yet, and the caller
// tries them again, as it does all of them if the look-up meets a lock.
func (c *control) settled(ctx context.Context, kept write, rows []absent, leftOut bool) (gone, free []relay.Ref, err error) {
	missing, err := c.visible(ctx, rows)
	if err != nil {
		return nil, nil, err
	}
	pending, err := c.among(ctx, kept.plain, missing)
	if isLocked(err) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	for _, ref := range missing {
		if isIn(pending, ref) {
			free = append(free, ref)
		} else {
			gone = append(gone, ref)
		}
	}
	if !leftOut || len(free) == 0 {
		return gone, free, nil
	}
	unlocked, err := c.among(ctx, kept.patient, free)
	if isLocked(err) {
		return gone, nil, nil
	}
	return gone, pick(free, unlocked, func(r relay.Ref) relay.Ref { return r }), err
}

// among returns those of the rows that a statement finds.
func (c *control) among(ctx context.Context, st statement, refs []relay.Ref) (map[relay.Ref]struct{}, error) {
	found := make(map[relay.Ref]struct{})
	batch := batchArgs(len(refs), func(i int) relay.Ref { return refs[i] })
	err := c.query(ctx, writeDeadline, st, batch, func(c *columns) func([][]byte) {
		ref := readRef(c)
		return func(row [][]byte) { found[ref(row)] = struct{}{} }
	})
	return found, err
}

// suppressed is the error for rows that nobody has locked and that two writes have not
// changed, without an error.
func (c *control) suppressed(rows []relay.Ref) error {
	return refusedWrite{error: setup(nil, "a trigger or rule on %s suppresses the write to row %d without an error: "+
		"let it pass what changes sent_at, attempts and dead_at", c.table, rows[0].ID)}
}

// collect appends what is read of each row.
func collect[T any](list *[]T, read func(*columns) func([][]byte) T) reader {
	return func(c *columns) func([][]byte) {
		one := read(c)
		return func(row [][]byte) { *list = append(*list, one(row)) }
	}
}

// batchArgs are the ids and the message ids of n rows.
func batchArgs(n int, ref func(int) relay.Ref) args {
	ids, messageIDs := newArray(oidInt8, n, 8), newArray(oidUUID, n, 16)
	for i := range n {
		r := ref(i)
		ids.int8(r.ID)
		messageIDs.bytes(r.MessageID[:])
	}
	return args{"ids": ids.buf, "message_ids": messageIDs.buf}
}

// readRef reads what names a row.
func readRef(c *columns) func([][]byte) relay.Ref {
	id, messageID := c.at("id"), c.at("message_id")
	return func(row [][]byte) relay.Ref {
		return relay.Ref{ID: int64Of(row[id]), MessageID: relay.MessageID(row[messageID])}
	}
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
