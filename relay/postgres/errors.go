package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay"
	"github.com/outbox-relay/outbox-relay/schema"
	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// SQLSTATEs that decide something here.
const (
	codeLockNotAvailable = "55P03"
	codeDeadlock         = "40P01"

	codeUndefinedTable        = "42P01"
	codeUndefinedColumn       = "42703"
	codeUndefinedFunction     = "42883"
	codeDatatypeMismatch      = "42804"
	codeInvalidSchema         = "3F000"
	codeInvalidDatabase       = "3D000"
	codeInsufficientPrivilege = "42501"
	codeReadOnly              = "25006"
	codeInvalidPassword       = "28P01"
	codeInvalidAuthorization  = "28000"
	codeRaised                = "P0001"
	codeNotNull               = "23502"
	codeForeignKey            = "23503"
	codeUnique                = "23505"
	codeCheck                 = "23514"
	codeExclusion             = "23P01"

	codeIdleSessionTimeout = "57P05"
	codeAdminShutdown      = "57P01"
	codeTooManyConnections = "53300"
	codeProtocolViolation  = "08P01"
)

// isLocked says whether another session's lock was in the way.
func isLocked(err error) bool {
	code := sqltext.Code(err)
	return code == codeLockNotAvailable || code == codeDeadlock
}

// setup is a fault that a person has to fix; cause may be nil.
func setup(cause error, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	if cause == nil {
		return fmt.Errorf("%w: %s", relay.ErrSetup, text)
	}
	return fmt.Errorf("%w: %s: %w", relay.ErrSetup, text, cause)
}

// flaw is a setup fault that doctor reports too. In the log it is one sentence: found
// and advice.
type flaw struct {
	found  string // what is wrong, without the fix
	advice string // the fix, as part of a sentence
	// fix is the fix to be pasted: SQL ends with a semicolon, a command begins with the
	// program's name. The lines are to be run in their order.
	fix string
}

func (f *flaw) Error() string { return relay.ErrSetup.Error() + ": " + f.found + ": " + f.advice }

func (f *flaw) Unwrap() error { return relay.ErrSetup }

// explain adds to an error of the driver what was being done, and how to fix it if a
// person has to.
func (s *session) explain(doing string, err error) error {
	switch code := sqltext.Code(err); code {
	case codeUndefinedTable, codeInvalidSchema:
		err = setup(err, "table %s does not exist: run outbox-relay migrate", s.table)
	case codeUndefinedColumn, codeUndefinedFunction, codeDatatypeMismatch:
		err = setup(err, "table %s has another shape: run outbox-relay migrate", s.table)
	case codeInsufficientPrivilege:
		err = setup(err, "the role lacks a privilege on %s: run outbox-relay migrate --role NAME", s.table)
	case codeReadOnly:
		err = setup(err, "%s", readOnlyFix)
	case codeInvalidDatabase:
		err = setup(err, "the database of OUTBOX_DATABASE_URL does not exist")
	case codeInvalidPassword, codeInvalidAuthorization:
		err = setup(err, "PostgreSQL refuses the role or the password of OUTBOX_DATABASE_URL")
	case codeRaised:
		err = setup(err, "a trigger on %s refuses what the relay writes", s.table)
	case codeNotNull, codeForeignKey, codeUnique, codeCheck, codeExclusion:
		err = setup(err, "a constraint on %s refuses what the relay writes", s.table)
	case codeLockNotAvailable:
		err = fmt.Errorf("%s is locked (ALTER TABLE, VACUUM FULL, LOCK TABLE?): %w", s.table, err)
	case codeIdleSessionTimeout:
		err = fmt.Errorf("the session was silent for too long and PostgreSQL ended it: %w", err)
	case codeAdminShutdown:
		err = fmt.Errorf("PostgreSQL ended the session: %w", err)
	case "":
		err = explainTLS(err)
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer from PostgreSQL in time: %w", err)
		}
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// refusedWrite is the explanation of a write that the server refused on a session
// that goes on.
type refusedWrite struct {
	error
	tableLocked bool // somebody has the whole table locked
}

func (e refusedWrite) Unwrap() error { return e.error }

func (e refusedWrite) Is(target error) bool {
	return target == relay.ErrWriteRefused || e.tableLocked && target == relay.ErrTableLocked
}

// explainWrite is explain for the writes of outcomes. An error inside a trigger is the
// trigger's: a table that it misses, or may not use, is not the outbox.
//
// A server that has become read-only has been replaced by another: the session ends,
// and the next one looks for the primary.
func (c *control) explainWrite(doing string, err error) error {
	explained := c.explain(doing, err)
	if where := functionIn(err); where != "" {
		explained = fmt.Errorf("%s: %w", doing, setup(err, "a trigger on %s fails in %s", c.table, where))
	}
	var refused *pgconn.PgError
	if !errors.As(err, &refused) || refused.Severity != "ERROR" || refused.Code == codeReadOnly || c.pg.IsClosed() {
		return explained
	}
	// A lock on a row, or one that a trigger asks for, comes with a context.
	return refusedWrite{explained, isLocked(err) && refused.Where == ""}
}

// functionIn names the function in which the server failed; empty where it failed
// in the relay's own statement. Other lines of the context may have values of rows.
func functionIn(err error) string {
	var failed *pgconn.PgError
	if !errors.As(err, &failed) {
		return ""
	}
	for line := range strings.Lines(failed.Where) {
		for _, language := range []string{"PL/pgSQL function ", "SQL function "} {
			if strings.HasPrefix(line, language) {
				return cut(strings.TrimSpace(line), maxContext)
			}
		}
	}
	return ""
}

// maxContext bounds how much an error says about where the server failed, in bytes.
const maxContext = 200

// fixMigrate needs a URL with the table's owner as the user.
const fixMigrate = "outbox-relay migrate  # with OUTBOX_DATABASE_URL of the table's owner"

const readOnlyFix = "the server is read-only: name the primary in OUTBOX_DATABASE_URL, " +
	"or all hosts with target_session_attrs=read-write"

var similarTableStatement = files.Statement("similar_table", nil)

// missingTable is what Connect says before any statement has failed. Where only
// the case of the name differs, or its schema, it names the table that is there:
// without quotes SQL folds a name to lower case.
func (s *session) missingTable(ctx context.Context) error {
	missing := &flaw{
		found:  fmt.Sprintf("table %s does not exist", s.table),
		advice: "run outbox-relay migrate",
		fix:    fixMigrate,
	}
	other, err := sqltext.One[schema.Table](ctx, sqltext.On(s.conn), similarTableStatement, s.named())
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return missing
	case err != nil:
		return s.explain("look for tables of that name", err)
	}
	missing.found += ", but " + other.String() + " does"
	missing.fix = "set OUTBOX_TABLE=" + other.String()
	if strings.Contains(other.String(), `"`) {
		missing.fix = "set OUTBOX_TABLE=" + relay.ShellQuote(other.String()) + "  # the inner quotes are part of the name"
	}
	missing.advice = missing.fix
	return missing
}

// isStale: "cached plan must not change result type", or an unknown statement.
func isStale(err error) bool {
	code := sqltext.Code(err)
	return code == "0A000" || code == "26000"
}

// isOutdated says whether the cause may be that a statement of the read session is out
// of date, because the payload's column has got another type. If that is not the
// cause, the new statement fails too.
func isOutdated(err error) bool {
	switch sqltext.Code(err) {
	case codeUndefinedFunction, codeDatatypeMismatch, "42846": // cannot coerce
		return true
	}
	return isStale(err)
}

// isRowFault says whether the server failed on what a row contains, while the
// session is as good as before: the row is too long after conversion, has
// characters that the client's encoding lacks, or is corrupt on disk.
func isRowFault(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Severity != "ERROR" {
		return false
	}
	switch pgErr.Code[:2] {
	case "22": // data exception
		return true
	case "54": // program limit exceeded
		return true
	case "XX": // internal error: a length beyond 1 GB; data corrupted
		return true
	}
	return false
}

// serverWords is the server's message alone, which never contains a payload.
func serverWords(err error) string {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr.Message + " (SQLSTATE " + pgErr.Code + ")"
	}
	return err.Error()
}
