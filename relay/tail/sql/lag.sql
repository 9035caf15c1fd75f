-- How far a slot is behind the log. Positions are bytes from the log's beginning.
SELECT
	coalesce(pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), restart_lsn), 0)::bigint AS retained,
	(coalesce(confirmed_flush_lsn, '0/0') - '0/0'::pg_lsn)::bigint AS read,
	(pg_catalog.pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint AS "end",
	{{template "passes_for_standby"}} AS passes_for_standby
FROM pg_catalog.pg_replication_slots WHERE slot_name = @slot
