package oracle_test

import "testing"

// The ledger is exact also of rows that came by COPY, and of transactions that
// end in two phases.
func TestLoadCopiesAndCommitsInTwoPhasesAndTheLedgerStaysExact(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.load.Copy, s.load.Prepare = 40, 40
	stats := s.play(t)
	if stats.Copied == 0 || stats.Prepared == 0 || stats.RolledBack == 0 || stats.SavepointRolledBack == 0 {
		t.Errorf("the load was %+v, want something of each", stats)
	}
	committed, findings := s.judge(t)
	if len(committed) != stats.Committed {
		t.Errorf("the ledger has %d rows, %d were committed", len(committed), stats.Committed)
	}
	for _, f := range findings {
		t.Error(f)
	}
	var left int
	if err := s.relay.db.QueryRow(t.Context(), `SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()`).Scan(&left); err != nil {
		t.Fatal(err)
	}
	if left > 0 {
		t.Errorf("%d prepared transactions are left", left)
	}
}
