package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/outbox-relay/outbox-relay/schema"
)

// Deadlines of statements.
const (
	// shortDeadline is for statements that touch one row or none.
	shortDeadline = 10 * time.Second
	// writeDeadline is for a batch of outcomes. Locks cost it no more than a few
	// lock timeouts; the rest is a slow disk or a synchronous standby.
	writeDeadline = 30 * time.Second
	// sweepDeadline is for a chunk. The dead entries of an index that no vacuum
	// has reached can make the first one slow.
	sweepDeadline = 60 * time.Second
	// closeGrace is what a session's end may take when a statement was cut off: the
	// driver asks the server to give the statement up.
	closeGrace = 500 * time.Millisecond
)

// pinned are the settings of every session. Any of them could have been set for
// the role, the database or in the URL. They are set right after connecting and
// not in the startup packet, because poolers refuse most of them there.
var pinned = []setting{
	{"search_path", "pg_catalog, pg_temp"},
	{"statement_timeout", "0"},
	{"idle_in_transaction_session_timeout", "0"},
	// An error beats silently seeing no rows.
	{"row_security", "off"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_deferrable", "off"},
	{"standard_conforming_strings", "on"},
	{"bytea_output", "hex"},
	{"DateStyle", "ISO, YMD"},
	{"TimeZone", "UTC"},
	{"client_min_messages", "warning"},
	// So that a relay whose host has gone does not hold the lock for hours.
	{"tcp_keepalives_idle", "5"},
	{"tcp_keepalives_interval", "5"},
	{"tcp_keepalives_count", "3"},
	{"tcp_user_timeout", "15s"},
	// The statements are short and their plans must follow the parameters: how many
	// rows, how many keys.
	{"jit", "off"},
	{"plan_cache_mode", "force_custom_plan"},
	// The share of pending rows swings between all and none faster than statistics
	// follow. Reading the whole table is never right here.
	{"enable_seqscan", "off"},
	{"enable_bitmapscan", "off"},
	{"enable_indexscan", "on"},
	{"enable_nestloop", "on"},
}

// controlSettings: lock_timeout, because a row that somebody has locked must not
// hold up the others; idle_session_timeout ends the session of a frozen leader,
// whose kernel goes on answering keepalives; synchronous_commit, because a lost
// mark costs a duplicate, and waiting for each costs the rate.
var controlSettings = []setting{
	{"lock_timeout", "100ms"},
	{"idle_session_timeout", "5s"},
	{"synchronous_commit", "off"},
	// Marks are joined to the table by its primary key, whatever statistics say.
	{"enable_hashjoin", "off"},
	{"enable_mergejoin", "off"},
}

// sweepSettings: reading waits only for ALTER TABLE, VACUUM FULL and the like.
var sweepSettings = []setting{
	{"lock_timeout", "10s"},
	{"idle_session_timeout", "0"},
}

type setting struct{ name, value string }

// session is one connection with the pinned settings.
type session struct {
	conn     *pgx.Conn
	pg       *pgconn.PgConn // of conn
	dialer   *dialer
	table    schema.Table
	prepared map[string]*pgconn.StatementDescription
}

func (d *Database) open(ctx context.Context, settings []setting) (*session, error) {
	s := &session{dialer: newDialer(), table: d.options.Table, prepared: make(map[string]*pgconn.StatementDescription)}
	config := d.config.Copy()
	config.DialFunc = s.dialer.dial
	config.RuntimeParams["application_name"] = applicationName(d.options.Table, d.options.Host)
	config.RuntimeParams["client_encoding"] = "UTF8"
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		d.options.Logger.Debug("notice from PostgreSQL", "severity", n.Severity, "message", n.Message)
	}
	// target_session_attrs is checked here. A role with default_transaction_read_only
	// would seem to be on a standby, so the settings go first.
	accept := config.ValidateConnect
	config.ValidateConnect = func(ctx context.Context, pg *pgconn.PgConn) error {
		if err := pin(ctx, pg, settings); err != nil || accept == nil {
			return err
		}
		return accept(ctx, pg)
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		s.dialer.close()
		return nil, s.explain("connect to PostgreSQL", err)
	}
	s.conn, s.pg = conn, conn.PgConn()
	return s, nil
}

// pin makes the settings in one round trip. SET needs no snapshot and looks up
// no function, so nothing that was set before can get in its way.
func pin(ctx context.Context, pg *pgconn.PgConn, settings []setting) error {
	var sql strings.Builder
	set := func(list []setting) {
		for _, s := range list {
			fmt.Fprintf(&sql, "SET %s = %s;", s.name, quoteSetting(s))
		}
	}
	set(pinned)
	set(settings)
	if serverVersion(pg) >= 17 {
		set([]setting{{"transaction_timeout", "0"}})
	}
	// Such a database stores bytes, not characters: converting, which is checking,
	// them would be an error of a row in the middle of a sweep.
	if pg.ParameterStatus("server_encoding") == "SQL_ASCII" {
		set([]setting{{"client_encoding", "SQL_ASCII"}})
	}
	if err := pg.Exec(ctx, sql.String()).Close(); err != nil {
		return fmt.Errorf("set session parameters: %w", err)
	}
	return nil
}

// quoteSetting leaves search_path, a list, alone: quoted it would be one name.
func quoteSetting(s setting) string {
	if s.name == "search_path" {
		return s.value
	}
	return "'" + s.value + "'"
}

// serverVersion is the major version, 0 if the server does not tell.
func serverVersion(pg *pgconn.PgConn) int {
	version := pg.ParameterStatus("server_version")
	end := strings.IndexFunc(version, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		end = len(version)
	}
	major, err := strconv.Atoi(version[:end])
	if err != nil {
		return 0
	}
	return major
}

// maxName is PostgreSQL's NAMEDATALEN - 1.
const maxName = 63

func applicationName(table schema.Table, host string) string {
	return cut("outbox-relay "+table.String()+" "+host, maxName)
}

// cut returns the first n bytes of s, fewer where a character would be split.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// close ends the session. It sends a farewell but waits for no answer; when a
// statement was cut off, it takes at most closeGrace.
func (s *session) close() {
	if s.pg.IsClosed() {
		timer := time.NewTimer(closeGrace)
		defer timer.Stop()
		select {
		case <-s.pg.CleanupDone():
		case <-timer.C:
		}
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
		_ = s.conn.Close(ctx) // it is closed either way
		cancel()
	}
	s.dialer.close()
}

// statement is prepared at its first use and then known by its name.
type statement struct {
	name    string
	sql     string
	formats []int16 // of the result's columns
}

// query runs a statement with binary parameters and calls row for each row of
// its result, whose values are valid only during the call.
//
// A statement that the server cannot run any more because the table's shape has
// changed since it was prepared is prepared again, once.
func (s *session) query(ctx context.Context, d time.Duration, st statement, params [][]byte, row func([][]byte)) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	err := s.try(ctx, st, params, row)
	if isStale(err) {
		s.forget(ctx)
		err = s.try(ctx, st, params, row)
	}
	return err
}

func (s *session) try(ctx context.Context, st statement, params [][]byte, row func([][]byte)) error {
	if s.pg.IsClosed() {
		return errClosed
	}
	if _, err := s.prepare(ctx, st); err != nil {
		return err
	}
	result := s.pg.ExecPrepared(ctx, st.name, params, binaryFormat, st.formats)
	for result.NextRow() {
		row(result.Values())
	}
	_, err := result.Close()
	return err
}

// binaryFormat, alone, stands for all parameters.
var binaryFormat = []int16{1}

func (s *session) prepare(ctx context.Context, st statement) (*pgconn.StatementDescription, error) {
	if description, ok := s.prepared[st.name]; ok {
		return description, nil
	}
	description, err := s.pg.Prepare(ctx, st.name, st.sql, nil)
	if err != nil {
		return nil, err
	}
	s.prepared[st.name] = description
	return description, nil
}

// forget drops all prepared statements, here and on the server.
func (s *session) forget(ctx context.Context) {
	for name := range s.prepared {
		// One that the server does not know either is no error; a connection that is
		// gone will be one at the next statement.
		_ = s.pg.Deallocate(ctx, name)
	}
	clear(s.prepared)
}

// isStale: "cached plan must not change result type", or an unknown statement.
func isStale(err error) bool {
	var pgErr *pgconn.PgError
	return errors.As(err, &pgErr) && (pgErr.Code == "0A000" || pgErr.Code == "26000")
}
