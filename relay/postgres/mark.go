package postgres

import (
	"context"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema"
)

const markBatch = `unnest($1::bigint[], $2::uuid[], $3::text[]) AS m (id, message_id, note)`

// markUpdate sets sent_at. Acknowledged is acknowledged: a row that somebody has
// declared dead meanwhile is sent, and dead no more. last_error keeps the last
// refusal unless there is a note.
func markUpdate(table schema.Table) write {
	set := `UPDATE ` + table.Quoted() + ` AS o SET sent_at = now(), dead_at = NULL, last_error = coalesce(m.note, o.last_error) `
	plain, patient := writeName("mark")
	return write{
		plain: statement{
			name: plain, formats: binaryFormat,
			sql: set + `FROM ` + markBatch + ` WHERE ` + matching + ` AND o.sent_at IS NULL` + returningRefs,
		},
		patient: statement{
			name: patient, formats: binaryFormat,
			sql: `WITH free AS MATERIALIZED (SELECT o.id, o.message_id, m.note FROM ` + markBatch +
				` JOIN ` + table.Quoted() + ` AS o ON ` + matching + ` AND o.sent_at IS NULL FOR NO KEY UPDATE OF o SKIP LOCKED) ` +
				set + `FROM free AS m WHERE ` + matching + ` AND o.sent_at IS NULL` + returningRefs,
		},
	}
}

// markDelete deletes acknowledged rows, sent ones of an earlier configuration
// included. The notes go with them.
func markDelete(table schema.Table) write {
	plain, patient := writeName("delete")
	from := `DELETE FROM ` + table.Quoted() + ` AS o USING `
	return write{
		plain: statement{
			name: plain, formats: binaryFormat,
			sql: from + markBatch + ` WHERE ` + matching + returningRefs,
		},
		patient: statement{
			name: patient, formats: binaryFormat,
			sql: `WITH free AS MATERIALIZED (SELECT o.id, o.message_id FROM ` + markBatch +
				` JOIN ` + table.Quoted() + ` AS o ON ` + matching + ` FOR UPDATE OF o SKIP LOCKED) ` +
				from + `free AS m WHERE ` + matching + returningRefs,
		},
	}
}

// Mark records acknowledged rows as sent, or deletes them.
func (c *control) Mark(ctx context.Context, marks []relay.Mark) ([]relay.Ref, error) {
	return c.markAgain(ctx, marks, false)
}

func (c *control) markAgain(ctx context.Context, marks []relay.Mark, again bool) ([]relay.Ref, error) {
	if len(marks) == 0 {
		return nil, nil
	}
	row := func(i int) absent { return absent{marks[i].Ref, marks[i].XID} }
	settled, leftOut, err := execute(ctx, c, c.writes.mark, c.markParams(marks), refOf)
	if err != nil {
		return nil, c.explain("mark rows sent", err)
	}
	if len(settled) == len(marks) {
		return settled, nil
	}
	missing := missingFrom(len(marks), row, setOf(settled))
	gone, kept, err := c.settled(ctx, missing, leftOut, again)
	if err != nil {
		return nil, c.explain("look up rows that were not marked", err)
	}
	settled = append(settled, gone...)
	if len(kept) == 0 {
		return settled, nil
	}
	more, err := c.markAgain(ctx, pick(marks, setOf(kept), func(m relay.Mark) relay.Ref { return m.Ref }), true)
	return append(settled, more...), err
}

func (c *control) markParams(marks []relay.Mark) [][]byte {
	notes := newArray(oidText, len(marks), 0)
	for _, m := range marks {
		if m.Note == "" {
			notes.null()
		} else {
			notes.text(c.clean(m.Note))
		}
	}
	return append(refParamsOf(len(marks), func(i int) relay.Ref { return marks[i].Ref }), notes.buf)
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
