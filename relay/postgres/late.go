package postgres

import (
	"context"
	"slices"

	"github.com/outbox-relay/outbox-relay/relay"
)

// findLate marks the rows whose transactions may have ended since the pass began.
// In the first chunk there is nothing that the pass has gone by, and a survey has
// one snapshot.
//
// A snapshot lists transactions, and a row may be a savepoint's, whose id is
// larger. So whatever was written from the first transaction on that has ended
// meanwhile counts as late. One that stays open for long makes no row late.
func (s *sweep) findLate(ctx context.Context, req relay.ChunkRequest, entries []entry) error {
	began, ok := req.Pass.Snapshot.(snapshot)
	if !ok || req.After == beforeAllIDs {
		return nil
	}
	// Nearly always all is older than what was running then, and nothing is asked.
	recent := func(e entry) bool { return !began.Precedes(e.writer) }
	if !slices.ContainsFunc(entries, recent) {
		return nil
	}
	now, err := s.takeSnapshot(ctx)
	if err != nil {
		return err
	}
	first := began.FirstEnded(now.Snapshot)
	for i := range entries {
		entries[i].row.Late = now.Within(entries[i].writer, first)
	}
	return nil
}
