package postgres

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// pinned are the settings of every session. Any of them could have been set for
// the role, the database or in the URL. They are set right after connecting and
// not in the startup packet, because poolers refuse most of them there.
var pinned = []setting{
	// First: until then the one of the role may end the settings.
	{"statement_timeout", "0"},
	{"search_path", "pg_catalog, pg_temp"},
	// A relay that is frozen in the middle of a survey would keep its lock on the
	// table: an ALTER TABLE waits behind that, and every INSERT behind it. (Rule 21.)
	{"idle_in_transaction_session_timeout", "10s"},
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
	// Names of types and roles are compared as the catalogs print them.
	{"quote_all_identifiers", "off"},
	// An error, such as a lock timeout, must not end the session.
	{"exit_on_error", "off"},
	// NULL in an array is no text.
	{"array_nulls", "on"},
	// So that a relay whose host has gone does not hold the lock for hours. The last
	// one also ends a session whose relay is frozen while it is sent a result: its
	// kernel goes on answering, and no timeout of SQL applies. (Rule 21. Over a Unix
	// socket nothing does.)
	{"tcp_keepalives_idle", "5"},
	{"tcp_keepalives_interval", "5"},
	{"tcp_keepalives_count", "3"},
	{"tcp_user_timeout", "15s"},
	// The statements are short and their plans must follow the parameters: how many
	// rows, how many keys.
	{"jit", "off"},
	{"plan_cache_mode", "force_custom_plan"},
	{"max_parallel_workers_per_gather", "0"},
	// The share of pending rows swings between all and none faster than statistics
	// follow, so no plan may depend on them: the due rows are read from their index in
	// its order, and a batch is joined by the primary key.
	{"enable_seqscan", "off"},
	{"enable_bitmapscan", "off"},
	{"enable_hashjoin", "off"},
	{"enable_mergejoin", "off"},
	{"enable_memoize", "off"},
	{"enable_indexscan", "on"},
	{"enable_indexonlyscan", "on"},
	{"enable_nestloop", "on"},
	{"enable_sort", "on"},
	{"enable_incremental_sort", "on"},
	{"enable_material", "on"},
	{"enable_partition_pruning", "on"},
	{"enable_partitionwise_join", "off"},
	{"geqo", "off"},
	{"from_collapse_limit", "8"},
	{"join_collapse_limit", "8"},
	{"random_page_cost", "4"},
	{"seq_page_cost", "1"},
	{"cpu_tuple_cost", "0.01"},
	{"cpu_index_tuple_cost", "0.005"},
	{"cpu_operator_cost", "0.0025"},
	// A list of keys that does not fit is searched from its beginning for each row.
	{"work_mem", "16MB"},
	{"hash_mem_multiplier", "2"},
}

// controlSettings: lock_timeout, because a row that somebody has locked must not
// hold up the others; idle_session_timeout ends the session of a frozen leader,
// whose kernel goes on answering keepalives; synchronous_commit, because a lost
// mark costs a duplicate, and waiting for each costs the rate.
var controlSettings = []setting{
	{"lock_timeout", "100ms"},
	{"idle_session_timeout", "5s"},
	{"synchronous_commit", "off"},
}

// readSettings: reading waits only for ALTER TABLE, VACUUM FULL and the like.
var readSettings = []setting{
	{"lock_timeout", "10s"},
	{"idle_session_timeout", "0"},
	unsorted,
}

// unsorted: rows are read in the order of an index that has them so. An index of the
// application's, of sent_at for example, has all unsent rows together, and a planner that
// takes these for few would read and sort them all.
var unsorted = setting{"enable_sort", "off"}

type setting struct{ name, value string }

// minVersion is the oldest PostgreSQL with idle_session_timeout.
const minVersion = 14

// pin makes the settings in one round trip. SET needs no snapshot and looks up
// no function, so nothing that was set before can get in its way.
func pin(ctx context.Context, pg *pgconn.PgConn, settings []setting) error {
	version := serverVersion(pg)
	if version != 0 && version < minVersion {
		return setup(nil, "the server is PostgreSQL %s: the relay needs version %d or later",
			pg.ParameterStatus("server_version"), minVersion)
	}
	var sql strings.Builder
	set := func(list []setting) {
		for _, s := range list {
			fmt.Fprintf(&sql, "SET %s = %s;", s.name, quoteSetting(s))
		}
	}
	set(pinned)
	set(settings)
	if version >= 17 {
		set([]setting{{"transaction_timeout", "0"}})
	}
	// Such a database stores bytes, not characters: converting, which is checking,
	// them would be an error of a row in the middle of a pass.
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
