package postgres

import (
	"context"
	"slices"

	"github.com/outbox-relay/outbox-relay/relay"
)

// findNewer notes which rows are newer than the pass: their transactions may have ended
// since it began. No row of the first chunk counts as newer, because there the pass has
// gone by no row but scheduled ones, and no row of a survey, which has one snapshot.
//
// A snapshot lists transactions, and a row may be a savepoint's, whose id is
// larger. So whatever was written from the first transaction on that has ended
// meanwhile counts as newer. One that stays open for long makes no row newer.
func (s *readSession) findNewer(ctx context.Context, req relay.ChunkRequest, entries []entry) error {
	began := req.Pass.Snapshot
	first := req.After == beforeAllIDs
	if began.IsZero() || first && len(req.Pass.Scheduled) > 0 {
		return nil
	}
	// Nearly always all is older than what was running then, and nothing is asked.
	recent := func(e entry) bool { return !began.Precedes(e.writer) }
	if !slices.ContainsFunc(entries, recent) {
		return nil
	}
	if first {
		if due, err := s.isScheduledDue(ctx, req.Pass); err != nil || !due {
			return err
		}
	}
	now, err := s.Snapshot(ctx)
	if err != nil {
		return err
	}
	from := began.FirstEnded(now)
	for i := range entries {
		entries[i].row.Newer = now.Within(entries[i].writer, from)
	}
	return nil
}

// isScheduledDue says whether there is a row by now that was scheduled for a time
// before the pass, which began without looking for such rows: it may be the first
// of its key.
func (s *readSession) isScheduledDue(ctx context.Context, pass relay.Pass) (due bool, err error) {
	given := args{"start": instantParam(pass.Start)}
	err = s.query(ctx, readDeadline, s.statements.scheduled, given, func(c *columns) func([][]byte) {
		at := c.at("due")
		return func(row [][]byte) { due = boolOf(row[at]) }
	})
	return due, err
}
