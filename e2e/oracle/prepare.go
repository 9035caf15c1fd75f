package oracle

import (
	"context"
	"encoding/hex"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// end commits the transaction or rolls it back, in two phases where the load
// says so.
func (w *writer) end(ctx context.Context, tx pgx.Tx, commit bool) error {
	switch {
	case w.chance(w.load.Prepare):
		return w.endPrepared(ctx, tx, commit)
	case commit:
		return tx.Commit(ctx)
	}
	return tx.Rollback(ctx)
}

// endPrepared ends the transaction as a transaction manager does. Between the two
// phases it belongs to no session.
func (w *writer) endPrepared(ctx context.Context, tx pgx.Tx, commit bool) error {
	name := "'oracle " + hex.EncodeToString(w.bytes(8)) + "'"
	second := "ROLLBACK PREPARED "
	if commit {
		second = "COMMIT PREPARED "
	}
	// tx is at its end after the first statement, and has nothing more to do.
	for _, sql := range []string{"PREPARE TRANSACTION " + name, second + name} {
		if _, err := tx.Conn().Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			return fmt.Errorf("%s: %w", sql, err)
		}
	}
	w.tally.prepared.Add(1)
	return nil
}

// chance is true so many times out of a hundred. Nothing is drawn for 0, so that
// the plans of loads that do without stay as they were.
func (w *writer) chance(percent int) bool {
	return percent > 0 && w.rand.IntN(100) < percent
}
