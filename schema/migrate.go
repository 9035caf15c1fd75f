package schema

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// Pauses between two attempts to get the locks. Each attempt may keep the
// application's statements waiting for the script's lock_timeout, so the pause
// is longer than that: they get through in between.
const (
	firstPause = 500 * time.Millisecond
	lastPause  = 5 * time.Second
)

// Migrate makes the outbox table what this version of the relay needs: in one transaction,
// or it changes nothing; and then, if the table has many rows, it builds the indexes that
// are missing, one after the other, beside the application's writes. While another session
// holds a lock that the transaction needs, it tries again until o.Patience or ctx ends; on a
// table that is up to date it needs no lock. The server sends a notice for each change
// (pgx's OnNotice).
//
// Building ends with ctx only. What was interrupted, the next call begins anew.
//
// conn must not be in a transaction, and stays the caller's.
func Migrate(ctx context.Context, conn *pgx.Conn, o Options) error {
	if err := migrate(ctx, conn, o); err != nil {
		return fmt.Errorf("migrate %s: %w", o.Table, err)
	}
	return nil
}

// migrate runs the transaction again after each build that did not get to its end: it
// drops what is left of it.
func migrate(ctx context.Context, conn *pgx.Conn, o Options) error {
	say := newTeller(o.Tell)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		if err := runScript(ctx, conn, SQL(o), o.Table, o.Patience); err != nil {
			return err
		}
		err := buildIndexes(ctx, conn, o, say)
		busy, ok := errors.AsType[*busyError](err)
		if !ok {
			return err
		}
		say.tell(busy.Error())
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", busy, ctx.Err())
		}
	}
}

// runScript runs a script that has its own BEGIN and COMMIT until it got the
// locks that it needs, and leaves the session outside any transaction.
func runScript(ctx context.Context, conn *pgx.Conn, script string, table Table, patience time.Duration) error {
	if conn.PgConn().TxStatus() != 'I' {
		return errors.New("the session is in a transaction: end it first")
	}
	if patience > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	var holder string // of a lock, when the last attempt failed for one
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		now, err := attempt(ctx, conn, script, table)
		holder = cmp.Or(now, holder)
		switch {
		case ctx.Err() != nil && holder != "":
			return fmt.Errorf("get a lock on the table, held by %s: %w", holder, ctx.Err())
		case err != nil:
			return err
		case now == "":
			return nil
		}
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-ctx.Done():
		}
	}
}

// attempt runs the script once. If somebody has a lock that it needs, the script has changed
// nothing, and attempt says who that is.
func attempt(ctx context.Context, conn *pgx.Conn, script string, table Table) (holder string, err error) {
	err = conn.PgConn().Exec(ctx, script).Close()
	if err == nil || conn.IsClosed() {
		return "", err
	}
	if err := conn.PgConn().Exec(ctx, "ROLLBACK").Close(); err != nil {
		return "", fmt.Errorf("roll back: %w", err)
	}
	if sqltext.Code(err) == codeReadOnly {
		return "", explainReadOnly(ctx, conn, err)
	}
	if !isLockConflict(err) {
		return "", describe(err)
	}
	holder, err = blockers(ctx, conn, table)
	if err != nil {
		return "", fmt.Errorf("find who holds a lock on the table: %w", err)
	}
	return holder, nil
}

// isLockConflict says whether the same script may succeed a moment later.
func isLockConflict(err error) bool {
	code := sqltext.Code(err)
	return code == "55P03" || code == "40P01" // lock_not_available, deadlock_detected
}

const (
	codeReadOnly              = "25006"
	codeInsufficientPrivilege = "42501"
)

// describe adds the server's hint, which says what to run.
func describe(err error) error {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case ok && pg.Hint != "":
		return fmt.Errorf("%w: %s", err, pg.Hint)
	case ok && pg.Code == codeInsufficientPrivilege:
		return fmt.Errorf("%w: set OUTBOX_DATABASE_URL to the owner or to a superuser", err)
	}
	return err
}

// explainReadOnly says why nothing can be changed in this session.
func explainReadOnly(ctx context.Context, conn *pgx.Conn, cause error) error {
	var standby bool
	if err := conn.QueryRow(ctx, "SELECT pg_catalog.pg_is_in_recovery()").Scan(&standby); err != nil {
		return errors.Join(cause, err)
	}
	if standby {
		return fmt.Errorf("the server is a standby: name the primary in OUTBOX_DATABASE_URL, "+
			"or all hosts with target_session_attrs=read-write: %w", cause)
	}
	return fmt.Errorf("the session is read-only, since default_transaction_read_only is on for the role, the database or the server: "+
		"for this command, give OUTBOX_DATABASE_URL the parameter default_transaction_read_only=off: %w", cause)
}

var (
	lookUpFiles       = sqltext.Parse(lookUps, "lookup/*.sql")
	blockersStatement = lookUpFiles.Statement("blockers", nil)
)

// blockers names the sessions that hold locks on the table, oldest transaction
// first.
func blockers(ctx context.Context, conn *pgx.Conn, table Table) (string, error) {
	names, err := sqltext.Column[string](ctx, sqltext.On(conn), blockersStatement, sqltext.Args{"table": table.Quoted()})
	if err != nil {
		return "", err
	}
	if len(names) == 0 {
		return "another migration, or a session that has ended meanwhile", nil
	}
	return strings.Join(names, ", "), nil
}
