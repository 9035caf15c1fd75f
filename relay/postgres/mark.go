package postgres

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/outbox-relay/outbox-relay/relay"
)

// Mark records acknowledged rows as sent, or deletes them.
func (c *control) Mark(ctx context.Context, marks []relay.Mark) ([]relay.Ref, error) {
	return c.markAgain(ctx, marks, false)
}

// markAgain marks the rows; again says that an earlier write has left them unmarked. Once
// is no error: somebody may have reset them after the write.
func (c *control) markAgain(ctx context.Context, marks []relay.Mark, again bool) ([]relay.Ref, error) {
	if len(marks) == 0 {
		return nil, nil
	}
	row := func(i int) absent { return absent{marks[i].Ref, marks[i].XID} }
	settled, leftOut, err := c.writeMarks(ctx, marks, again)
	if err != nil {
		return nil, c.explainWrite("mark rows sent", err)
	}
	if len(settled) == len(marks) {
		return settled, nil
	}
	gone, free, err := c.settled(ctx, c.writes.unmarked, missingFrom(len(marks), row, setOf(settled)), leftOut)
	if err != nil {
		return settled, c.explainWrite("look up rows that were not marked", err)
	}
	settled = append(settled, gone...)
	switch {
	case len(free) == 0:
		return settled, nil
	case again:
		return settled, c.suppressed(free)
	}
	more, err := c.markAgain(ctx, pick(marks, setOf(free), func(m relay.Mark) relay.Ref { return m.Ref }), true)
	return append(settled, more...), err
}

// writeMarks runs the form of the statement that fits the batch.
func (c *control) writeMarks(ctx context.Context, marks []relay.Mark, again bool) (settled []relay.Ref, leftOut bool, err error) {
	if again {
		return execute(ctx, c, c.writes.markAnywhere, c.markArgs(marks), readRef)
	}
	given, near := c.rangeArgs(marks)
	if !near {
		// In the order of their ids they are found on the same pages, for half the cost.
		marks = slices.SortedFunc(slices.Values(marks), func(a, b relay.Mark) int { return cmp.Compare(a.ID, b.ID) })
		return execute(ctx, c, c.writes.mark, c.markArgs(marks), readRef)
	}
	settled, err = answersOf(ctx, c, c.writes.markRange, given, readRef)
	if !isLocked(err) {
		return settled, false, err
	}
	settled, err = answersOf(ctx, c, c.writes.mark.patient, c.markArgs(marks), readRef)
	return settled, true, err
}

func (c *control) markArgs(marks []relay.Mark) args {
	notes := newArray(oidText, len(marks), 0)
	for _, m := range marks {
		if m.Note == "" {
			notes.null()
		} else {
			notes.text(c.clean(m.Note))
		}
	}
	batch := batchArgs(len(marks), func(i int) relay.Ref { return marks[i].Ref })
	batch["notes"] = notes.buf
	if c.layout.partitioned {
		batch.addLocation(len(marks), func(i int) int64 { return marks[i].ID }, func(i int) time.Time { return marks[i].CreatedAt })
	}
	return batch
}

func setOf(refs []relay.Ref) map[relay.Ref]struct{} {
	set := make(map[relay.Ref]struct{}, len(refs))
	for _, r := range refs {
		set[r] = struct{}{}
	}
	return set
}

// pick returns the items whose row is in the set.
func pick[T any](items []T, set map[relay.Ref]struct{}, ref func(T) relay.Ref) []T {
	var picked []T
	for _, item := range items {
		if _, ok := set[ref(item)]; ok {
			picked = append(picked, item)
		}
	}
	return picked
}
