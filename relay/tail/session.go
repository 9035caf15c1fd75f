package tail

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"

	"github.com/outbox-relay/outbox-relay/schema/sqltext"
)

// Deadlines.
const (
	// connectDeadline is for a connection with all hosts tried, and its settings.
	connectDeadline = 15 * time.Second
	// shortDeadline is for looking something up.
	shortDeadline = 5 * time.Second
	// closeGrace is what the end of a connection may take.
	closeGrace = 500 * time.Millisecond
)

// pinned are the settings of the session. Any of them could have been set for the role,
// the database or in the URL. The session itself decodes the log, so the settings that
// decide how values are written are here too.
var pinned = []string{
	"statement_timeout = 0", // first: until then the one of the role may end the settings
	"search_path = pg_catalog, pg_temp",
	"idle_in_transaction_session_timeout = '10s'",
	// Between the slot's creation and the stream's start a survey runs.
	"idle_session_timeout = 0",
	// The fence's own transaction must not wait for a standby.
	"synchronous_commit = off",
	"default_transaction_isolation = 'read committed'",
	"default_transaction_read_only = off",
	"default_transaction_deferrable = off",
	"standard_conforming_strings = on",
	"bytea_output = 'hex'",
	"DateStyle = 'ISO, YMD'",
	"TimeZone = 'UTC'",
	"client_min_messages = warning",
	"quote_all_identifiers = off",
	"exit_on_error = off",
	// So that the server notices a host that has gone, and frees the slot.
	"tcp_keepalives_idle = 5",
	"tcp_keepalives_interval = 5",
	"tcp_keepalives_count = 3",
	"tcp_user_timeout = '15s'",
}

// connect opens a session that reads the log. It runs SQL too, but only in the simple
// protocol.
func connect(ctx context.Context, o Options, l *link) (*pgconn.PgConn, error) {
	config := o.Config.Copy()
	config.RuntimeParams["replication"] = "database"
	config.RuntimeParams["application_name"] = o.ApplicationName
	config.RuntimeParams["client_encoding"] = "UTF8"
	config.DialFunc = l.dialer(config.DialFunc)
	config.BuildFrontend = l.frontend
	// A statement that is given up is canceled, not abandoned: the server would go on
	// with it, and keep its slot, for as long as something blocks it.
	config.BuildContextWatcherHandler = func(pg *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: pg, DeadlineDelay: closeGrace}
	}
	// target_session_attrs is checked here. A role with default_transaction_read_only
	// would seem to be on a standby, so the settings go first.
	accept := config.ValidateConnect
	config.ValidateConnect = func(ctx context.Context, pg *pgconn.PgConn) error {
		if err := pin(ctx, pg, o); err != nil || accept == nil {
			return err
		}
		return accept(ctx, pg)
	}
	ctx, cancel := context.WithTimeout(ctx, connectDeadline)
	defer cancel()
	pg, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, refusedConnection(config.User, err)
	}
	return pg, nil
}

func pin(ctx context.Context, pg *pgconn.PgConn, o Options) error {
	settings := append(slices.Clone(pinned),
		fmt.Sprintf("lock_timeout = %d", o.LockTimeout.Milliseconds()),
		fmt.Sprintf("wal_sender_timeout = %d", o.SenderTimeout.Milliseconds()))
	if majorVersion(pg) >= 17 {
		settings = append(settings, "transaction_timeout = 0")
	}
	// Such a database stores bytes, not characters: they cannot be converted.
	if pg.ParameterStatus("server_encoding") == "SQL_ASCII" {
		settings = append(settings, "client_encoding = 'SQL_ASCII'")
	}
	if err := pg.Exec(ctx, "SET "+strings.Join(settings, "; SET ")).Close(); err != nil {
		return fmt.Errorf("set session parameters: %w", err)
	}
	return nil
}

// watchClient has the server check once a second whether its client is still there. So
// the session of a killed relay ends, also while it waits for a transaction or decodes
// a long one. It works for the next command: PostgreSQL starts that timer for an SQL
// statement and not for a replication command, but lets a running timer go on through
// both. (Tested on 14 to 18.) Servers on other systems than Linux and macOS refuse the
// setting.
func watchClient(ctx context.Context, pg *pgconn.PgConn) error {
	for _, sql := range []string{"SET client_connection_check_interval = '1s'", "SELECT"} {
		if err := pg.Exec(ctx, sql).Close(); err != nil && sqltext.Code(err) == "" {
			return fmt.Errorf("set session parameters: %w", err)
		}
	}
	return nil
}

// majorVersion is 0 if the server does not tell.
func majorVersion(pg *pgconn.PgConn) int {
	version := 0
	for _, c := range []byte(pg.ParameterStatus("server_version")) {
		if c < '0' || c > '9' {
			break
		}
		version = version*10 + int(c-'0')
	}
	return version
}
