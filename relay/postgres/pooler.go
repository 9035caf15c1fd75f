package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/relay"
)

// poolerClients is how many clients at once are tried on a pooler: one that
// lends its connections out in turn has to be caught.
const poolerClients = 8

// poolerDeadline is for all of them: a pooler that has no connection left lets
// its clients wait.
const poolerDeadline = 10 * time.Second

// examinePooler is called where the server's process is not the one that the
// client was told of: somebody in between answers for it. A pooler in session
// mode gives each client a connection of its own; then no second client can have
// the first one's while that is still there.
func (d *Database) examinePooler(ctx context.Context, first *session, behind *string) relay.Check {
	product := d.namePooler(ctx)
	direct := "its own address"
	if behind != nil {
		direct = *behind
	}
	shared, err := d.sharesSessions(ctx, first)
	check := relay.Check{Name: checkPooler, Severity: relay.Warning}
	switch {
	case err != nil:
		check.Found = fmt.Sprintf("%s is in between, and refuses further clients: %v", product, err)
	case shared:
		check.Severity = relay.Fault
		check.Found = product + " is in between, in transaction mode: the lock of the leader and the settings of a session " +
			"would go to other clients' transactions. Nothing more of the database was examined through it"
	default:
		check.Found = product + " is in between, in session mode: the relay can poll through it, but not read the log"
	}
	check.Fix = "set OUTBOX_DATABASE_URL to PostgreSQL itself, which sees itself at " + direct
	return check
}

// sharesSessions says whether a client gets another backend than before, or one
// that a client which is still there was given. The transactions of all stay open
// until the end, so that each takes a connection of its own.
func (d *Database) sharesSessions(ctx context.Context, first *session) (bool, error) {
	const ask = `SELECT pg_backend_pid()`
	ctx, cancel := context.WithTimeout(ctx, poolerDeadline)
	defer cancel()
	var owned uint32
	if err := first.conn.QueryRow(ctx, ask).Scan(&owned); err != nil {
		return false, err
	}
	for range poolerClients {
		s, err := d.connectPlain(ctx)
		if err != nil {
			return false, err
		}
		defer s.close()
		tx, err := s.conn.Begin(ctx)
		if err != nil {
			return false, s.explain("begin a transaction", err)
		}
		defer func() { _ = tx.Rollback(ctx) }() // the session is closed next
		var other, again uint32
		if err := tx.QueryRow(ctx, ask).Scan(&other); err != nil {
			return false, s.explain("ask for the backend", err)
		}
		if other == owned {
			return true, nil // before the first one asks for what may be the only one
		}
		if err := first.conn.QueryRow(ctx, ask).Scan(&again); err != nil {
			return false, first.explain("ask for the backend", err)
		}
		if again != owned {
			return true, nil
		}
	}
	return false, nil
}

// namePooler connects with a setting that PostgreSQL takes from any extension and
// PgBouncer does not pass on: it refuses it in words of its own, before it asks
// who comes.
func (d *Database) namePooler(ctx context.Context) string {
	config := d.config.Copy()
	config.RuntimeParams["outbox_relay.probe"] = "on"
	s, err := d.openAs(ctx, config, untouched)
	if err == nil {
		s.close()
	}
	refused, ok := errors.AsType[*pgconn.PgError](err)
	if ok && refused.Code == codeProtocolViolation && strings.Contains(refused.Message, "unsupported startup parameter") {
		return "PgBouncer"
	}
	return "a connection pooler"
}

// untouched leaves a connection as it is.
func untouched(context.Context, *pgconn.PgConn) error { return nil }
