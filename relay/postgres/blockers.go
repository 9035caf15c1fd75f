package postgres

import (
	"context"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema"
)

// blockerReads ask who has a lock that is in a write's way.
type blockerReads struct {
	table, row, group statement
}

func newBlockerReads(table schema.Table) blockerReads {
	type blanks struct {
		Table string // quoted
		Group bool   // the rows name groups of transactions
	}
	return blockerReads{
		table: newStatement("table_blockers", "", blanks{}),
		row:   newStatement("row_blockers", "", blanks{Table: table.Quoted()}),
		group: newStatement("row_blockers", "_group", blanks{Table: table.Quoted(), Group: true}),
	}
}

// Blockers looks up who has the rows locked, or the whole table. The table is looked
// up first: reading the rows of a locked table would wait for its lock.
func (c *control) Blockers(ctx context.Context, refs []relay.Ref) ([]relay.Blocker, error) {
	given := batchArgs(len(refs), func(i int) relay.Ref { return refs[i] })
	given["table"] = []byte(c.table.Quoted())
	var found []relay.Blocker
	for _, st := range []statement{c.blockers.table, c.blockers.row, c.blockers.group} {
		// The last one fails if what a row names is no group of transactions.
		err := c.query(ctx, shortDeadline, st, given, collect(&found, readBlocker))
		switch {
		case err != nil:
			return found, c.explainWrite("look up who has rows locked", err)
		case len(found) > 0:
			return found, nil
		}
	}
	return nil, nil
}

func readBlocker(c *columns) func([][]byte) relay.Blocker {
	pid, application, prepared := c.at("pid"), c.at("application"), c.at("prepared")
	return func(row [][]byte) relay.Blocker {
		return relay.Blocker{PID: int(int64Of(row[pid])), Application: string(row[application]), Prepared: string(row[prepared])}
	}
}
